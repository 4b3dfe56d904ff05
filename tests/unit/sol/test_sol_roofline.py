"""The roofline: which resource limits, what rate a mix of accesses is held to, and monotony."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sol_builders import make_device, make_work

from deep_agent.problem.device import Bandwidth
from deep_agent.problem.dtype import DType
from deep_agent.sol.roofline import MEASURED_MARGIN, bound

amounts = st.floats(0, 1e15, allow_nan=False)
rates = st.floats(1e9, 1e12)


def test_reading_alone_is_held_to_the_read_rate():
    assert bound(make_work(read_bytes=10e9), make_device(), workload="w", tier=1).time_us == pytest.approx(1e6)


@pytest.mark.parametrize(
    ("read", "written", "rate"),
    [(1, 0, 10e9), (1, 1, 16e9), (2, 1, 15e9), (0, 1, 16e9), (5, 1, 12e9)],
    ids=["reading alone", "a copy", "the triad", "writing alone, unmeasured", "half-way from triad to reading"],
)
def test_a_mix_of_accesses_is_held_to_the_rate_of_that_mix(read, written, rate):
    found = bound(make_work(read_bytes=read * 1e9, written_bytes=written * 1e9), make_device(), workload="w", tier=1)
    assert found.time_us == pytest.approx((read + written) * 1e9 / rate * 1e6)
    assert found.limiter == "memory"


def test_the_types_share_the_multipliers():
    found = bound(make_work(macs={DType.FLOAT32: 50e9, DType.FLOAT64: 25e9}), make_device(), workload="w", tier=1)
    assert (found.time_us, found.limiter) == (pytest.approx(2e6), "compute")


def test_a_type_without_a_rate_is_named_and_not_charged():
    found = bound(make_work(macs={DType.BFLOAT16: 1e12}, written_bytes=1), make_device(), workload="w", tier=1)
    assert found.limiter == "memory"
    assert any("bfloat16" in note for note in found.notes)


def test_probed_rates_leave_a_margin():
    sheet = bound(make_work(read_bytes=1e9), make_device(), workload="w", tier=1)
    probed = bound(make_work(read_bytes=1e9), make_device(bound_kind="measured"), workload="w", tier=1)
    assert probed.time_us == pytest.approx(sheet.time_us / MEASURED_MARGIN)


def test_work_below_a_cycle_still_takes_time():
    assert bound(make_work(written_bytes=1), make_device(), workload="w", tier=1).time_us > 0


@given(
    read=amounts, written=amounts, macs=amounts, more=st.tuples(*[st.floats(1, 10)] * 3), rates=st.tuples(*[rates] * 4)
)
def test_more_work_never_takes_less_time(read, written, macs, more, rates):
    kinds = ("read_bytes_per_s", "copy_bytes_per_s", "triad_bytes_per_s", "write_bytes_per_s")
    device = make_device(bandwidth=Bandwidth(**dict(zip(kinds, rates, strict=True))))

    def time_us(of_read, of_written, of_macs):
        amounts = {"read_bytes": read * of_read, "written_bytes": written * of_written}
        return bound(make_work(**amounts, macs={DType.FLOAT32: macs * of_macs}), device, workload="w", tier=1).time_us

    assert time_us(*more) >= time_us(1, 1, 1) * (1 - 1e-9)
