"""What reports and counters say, on recorded output of the tools, and the rules that name a bottleneck."""

from pathlib import Path

import pytest
from builders import make_bound, make_device

from deep_agent.harness.profiling import ncu
from deep_agent.harness.profiling.compiler_report import largest_stack_bytes, loop_remarks
from deep_agent.harness.profiling.cpu_rules import CpuObservation, diagnose, resource_figures
from deep_agent.harness.profiling.cuda_resources import cuda_resource_figures, parse_ptxas
from deep_agent.harness.profiling.disassembly import InstructionMix, instruction_mix
from deep_agent.harness.profiling.gpu_rules import diagnose_launch, heaviest
from deep_agent.harness.profiling.ncu import Counter, Launch, ncu_command, parse_ncu
from deep_agent.harness.profiling.perf import EVENTS, Counts, parse_perf, perf_command
from deep_agent.problem.bound import Work
from deep_agent.problem.dtype import DType

RECORDED = Path(__file__).parent / "profiles"


def recorded(name: str) -> str:
    return (RECORDED / name).read_text()


def test_only_innermost_loops_of_the_solutions_own_functions_are_counted():
    mix = instruction_mix(recorded("objdump.txt"))
    assert (mix.n_loops, mix.n_instructions) == (2, 12)
    assert (mix.n_packed, mix.n_scalar, mix.n_stack_moves, mix.n_calls) == (2, 1, 1, 1)
    assert mix.vector_bits == 512
    assert mix.packed_share == pytest.approx(2 / 3)


def test_an_object_without_loops_has_no_share():
    mix = instruction_mix("0000000000001100 <f>:\n    1100:\tret\n")
    assert (mix.n_loops, mix.packed_share, mix.vector_bits) == (0, None, 0)


VECTORS = """\
k.cpp:17:29: optimized: loop vectorized using 16 byte vectors
k.cpp:17:29: optimized: loop vectorized using 64 byte vectors
k.cpp:17:29: missed: couldn't vectorize loop
k.cpp:9:3: missed: couldn't vectorize loop
k.cpp:10:5: missed:   not vectorized: complicated access pattern.
/usr/include/c++/12/bits/stl_vector.h:3:3: missed: couldn't vectorize loop
k.cpp:12:5: missed: statement clobbers memory: _5 = expf (_4);
"""


def test_each_loop_of_the_solution_is_told_once_with_its_width_or_its_reason():
    found = loop_remarks(VECTORS, ["k.cpp"])
    assert [(one.place, one.vector_bytes) for one in found] == [("k.cpp:9", 0), ("k.cpp:17", 64)]
    assert found[0].reason == "not vectorized: complicated access pattern."


def test_the_largest_stack_frame_counts():
    assert largest_stack_bytes(["a.cpp:2:16:int f()\t32\tstatic\n", "b.cpp:1:1:int g()\t192\tdynamic,bounded\n"]) == 192
    assert largest_stack_bytes([]) is None


PERF = """\
# started on Wed Nov 25 09:00:00 2026

38.57,msec,task-clock,38570000,100.00,0.105,CPUs utilized
<not supported>,,cycles,0,100.00,,
49,,page-faults,38570000,100.00,87.368,K/sec
1200,,instructions:u,38570000,100.00,,
<not counted>,,cache-misses,0,0.00,,
"""


def test_counters_that_a_machine_lacks_are_named_as_missing():
    counts = parse_perf(PERF)
    assert counts.values == {"task-clock": 38.57, "page-faults": 49.0, "instructions": 1200.0}
    assert {"cycles", "cache-misses", "branch-misses"} <= set(counts.missing)
    assert counts.instructions_per_cycle is None
    assert Counts({"cycles": 100.0, "instructions": 250.0}, ()).instructions_per_cycle == 2.5


def test_perf_is_asked_for_what_is_read():
    command = perf_command("perf", 7, "r.csv")
    assert command[command.index("-e") + 1].split(",") == list(EVENTS)
    assert command[-2:] == ["-p", "7"]


def mix(packed: int, scalar: int, calls: int = 0) -> InstructionMix:
    return InstructionMix(1, packed + scalar, packed, scalar, 0, 0, calls, 256 if packed else 0)


def observed(bandwidth_share: float, found: InstructionMix | None, counts: Counts | None = None) -> CpuObservation:
    """100 us of calls; the device moves 1.6e10 bytes a second at best."""
    return CpuObservation(100.0, bandwidth_share * 1.6e10 * 1e-4, found, counts)


@pytest.mark.parametrize(
    ("seen", "bottleneck", "deciding"),
    [
        (observed(0.8, mix(10, 0)), "memory", "share of the measured bandwidth"),
        (observed(0.1, mix(1, 9)), "scalar", "packed share of floating-point arithmetic in loops"),
        (observed(0.1, mix(9, 1)), "latency", "share of the measured bandwidth"),
        (
            observed(0.1, mix(9, 1), Counts({"cycles": 1e3, "instructions": 4e2}, ())),
            "latency",
            "instructions per cycle",
        ),
        (observed(0.1, mix(0, 0)), "latency", "share of the measured bandwidth"),
        (observed(0.1, None), "unknown", "share of the measured bandwidth"),
        (observed(0.9, None), "memory", "share of the measured bandwidth"),
    ],
)
def test_a_cpu_bottleneck_comes_with_the_figure_that_decided(seen, bottleneck, deciding):
    found, evidence = diagnose(seen, make_device(), None)
    assert found == bottleneck
    assert evidence[0].name == deciding
    assert len({figure.name for figure in evidence}) == 3


def test_multiply_adds_near_the_peak_are_compute_bound():
    work = Work(macs={DType.FLOAT32: 0.9 * 4.5e10 * 1e-4}, other_flop=0, special_flop=0, read_bytes=1, written_bytes=1)
    found, evidence = diagnose(observed(0.2, mix(9, 1)), make_device(), make_bound(work=work))
    assert found == "compute"
    assert evidence[1].value == pytest.approx(90.0)


def test_an_unknown_amount_of_arithmetic_has_no_share():
    _, evidence = diagnose(observed(0.8, None), make_device(), None)
    assert [figure.value is None for figure in evidence] == [False, True, False]


def test_resources_are_told_as_far_as_they_are_known():
    assert resource_figures(observed(0.1, None), None) == ()
    names = {one.name: one.value for one in resource_figures(observed(0.1, mix(3, 1, calls=2)), 64)}
    assert (names["largest stack frame"], names["widest packed arithmetic"], names["calls in them"]) == (64, 256, 2)


def test_a_table_of_a_line_a_metric_is_read_launch_by_launch():
    launches = parse_ncu(recorded("ncu_details.csv"))
    assert [one.name.partition("(")[0] for one in launches] == ["copy_kernel", "tail_kernel", "copy_kernel"]
    assert launches[0].time_us == pytest.approx(41.12)
    assert launches[0].counters[ncu.DRAM] == Counter(91.25, "%")
    assert ncu.TENSOR not in launches[0].counters


def test_a_table_of_a_line_a_launch_is_read_with_its_units():
    (launch,) = parse_ncu(recorded("ncu_raw.csv"))
    assert launch.time_us == pytest.approx(1204.5)
    assert launch.counters[ncu.TENSOR] == Counter(78.9, "%")
    assert diagnose_launch(launch)[0] == "compute"


@pytest.mark.parametrize("text", ["", "==ERROR== No kernels were profiled\n", '"ID","Kernel Name"\n'])
def test_a_report_without_launches_has_none(text):
    assert parse_ncu(text) == ()
    assert heaviest(()) is None


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "1e308", "n/a", "", "9" * 200_000])
def test_a_table_that_a_candidate_wrote_over_gives_no_figure_that_is_none(value):
    heading = '"ID","Kernel Name","Metric Name","Metric Unit","Metric Value"'
    row = f'"0","f","{ncu.DRAM}","{"%" * 99}","{value}"'
    launches = parse_ncu(f"{heading}\n{row}\n")
    assert [dict(one.counters) for one in launches] in ([], [{}])
    (launch,) = parse_ncu(f'{heading}\n{row[: -len(value) - 1]}5"\n')
    assert launch.counters[ncu.DRAM] == Counter(5, "%" * 24)


def test_the_launch_that_takes_most_time_is_explained_weighted_by_time():
    launch, share = heaviest(parse_ncu(recorded("ncu_details.csv")))
    assert launch.name.startswith("copy_kernel")
    assert share == pytest.approx(82.24 / 84.544)
    bottleneck, evidence = diagnose_launch(launch)
    assert bottleneck == "memory"
    assert (evidence[0].name, evidence[0].unit) == ("DRAM throughput of peak", "%")
    assert evidence[0].value == pytest.approx(90.25)


def launched(**counters: float) -> Launch:
    return Launch("f", {getattr(ncu, name): Counter(value, "%") for name, value in counters.items()})


@pytest.mark.parametrize(
    ("launch", "bottleneck", "deciding"),
    [
        (launched(DRAM=85, L2=40, SM=30, WARPS=70), "memory", "DRAM throughput of peak"),
        (launched(DRAM=20, L2=75, SM=30, WARPS=70), "memory", "L2 throughput of peak"),
        (launched(DRAM=20, L1=81, SM=60, WARPS=70), "memory", "L1 and shared memory throughput of peak"),
        (launched(DRAM=20, SM=70, TENSOR=82, WARPS=20), "compute", "tensor pipe busy"),
        (launched(DRAM=20, SM=25, WARPS=60, WAVES=0.4), "occupancy", "waves of blocks over the SMs"),
        (launched(DRAM=20, SM=25, WARPS=12, WAVES=8), "occupancy", "warps active of what an SM holds"),
        (launched(DRAM=20, SM=25, WARPS=60, ISSUE=9, WAIT_MEMORY=11), "latency", "cycles that issue an instruction"),
        (launched(WARPS=60), "unknown", "DRAM throughput of peak"),
    ],
)
def test_a_gpu_bottleneck_comes_with_the_figure_that_decided(launch, bottleneck, deciding):
    found, evidence = diagnose_launch(launch)
    assert (found, evidence[0].name) == (bottleneck, deciding)
    assert len({figure.name for figure in evidence}) == 3


def test_a_counter_that_was_not_read_has_no_value():
    _, evidence = diagnose_launch(launched(DRAM=85, SM=30))
    assert [figure.value for figure in evidence] == [85, 30, None]


def test_everything_the_rules_read_is_collected_and_clocks_are_left_alone():
    command = ncu_command("ncu", ["python", "x.py"], report="r.csv", n_launches=2)
    asked = set(command[command.index("--metrics") + 1].split(","))
    read = {value for name, value in vars(ncu).items() if name.isupper() and isinstance(value, str)}
    assert read == asked
    assert command[command.index("--clock-control") + 1] == "none"
    assert command[command.index("--log-file") + 1] == "r.csv"
    assert command[command.index("--profile-from-start") + 1] == "off"
    assert command[-2:] == ["python", "x.py"]


def test_the_most_that_any_function_of_a_build_takes_is_told():
    told = parse_ptxas(recorded("ptxas.txt"))
    figures = {one.name: one.value for one in cuda_resource_figures(told)}
    assert figures == {
        "registers a thread": 32,
        "stack a thread": 1424,
        "static shared memory a block": 4096,
        "spilled": 4348,
    }
    assert cuda_resource_figures(()) == ()
