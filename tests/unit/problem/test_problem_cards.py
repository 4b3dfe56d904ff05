"""Device specs: every figure has a source, agrees with its sheet, and is found by the names people use."""

import pytest

from deep_agent.errors import InvalidInput
from deep_agent.problem.cards import A100, B200, H100, H200, RTX_4090, SPECS, known_names, spec_for_card, spec_named
from deep_agent.problem.dtype import DType
from deep_agent.problem.spec import PERMITTED_PATHS

every_spec = pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)


@every_spec
def test_multipliers_times_clock_give_the_sheets_dense_peak(spec):
    assert {rate.path for rate in spec.sheet} == set(spec.mac_per_clk_per_sm)
    for rate in spec.sheet:
        tflops = 2 * spec.mac_per_clk_per_sm[rate.path] * spec.sm_count * rate.clock_hz / 1e12
        assert tflops == pytest.approx(rate.tflops, rel=0.05), rate


@every_spec
def test_a_bound_divides_by_no_less_than_the_sheet(spec):
    model = spec.model()
    assert model.bound_kind == "sheet"
    assert model.fastest_bytes_per_s() >= spec.dram_bytes_per_s
    assert all(spec.sm_clock_max_hz >= rate.clock_hz for rate in spec.sheet)
    for dtype, rate in model.mac_per_s.items():
        best = max(spec.mac_per_s(path) for path in PERMITTED_PATHS[dtype] if path in spec.mac_per_clk_per_sm)
        assert rate == best


@every_spec
def test_every_figure_names_its_source(spec):
    silent = {"name", "aliases", "cards", "source", "verified_on", "launch_floor_s"}
    assert set(type(spec).model_fields) - silent <= set(spec.source)
    assert set(spec.verified_on) <= set(spec.source)
    assert all(spec.source.values())


@every_spec
def test_memory_clock_and_bus_agree_with_the_sheets_bandwidth(spec):
    clocked = spec.clocked_bytes_per_s()
    assert clocked is None or clocked == pytest.approx(spec.dram_bytes_per_s, rel=0.03)


def test_the_h200_takes_the_higher_clock_and_bandwidth():
    model = H200.model()
    assert model.mac_per_s[DType.BFLOAT16] * 2 / 1e12 == pytest.approx(1070, abs=1)
    assert model.fastest_bytes_per_s() == pytest.approx(4.917e12, rel=1e-3)
    assert model.last_level_cache_bytes == 60 * 2**20


def test_a_type_takes_its_fastest_permitted_path():
    assert H200.path_of(DType.FLOAT32) == "tf32"
    assert A100.path_of(DType.FLOAT8_E4M3FN) == "fp16"
    assert H200.path_of(DType.FLOAT4_E2M1) == "fp8"
    assert B200.path_of(DType.FLOAT4_E2M1) == "nvfp4"
    assert H200.path_of(DType.INT64) is None


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("H200", H200),
        ("h200", H200),
        ("nvidia-h200", H200),
        ("NVIDIA H200", H200),
        ("h100", H100),
        ("H100-SXM", H100),
        ("NVIDIA H100 80GB HBM3", H100),
        ("rtx 4090", RTX_4090),
        ("NVIDIA GeForce RTX 4090", RTX_4090),
        ("h100 pcie", None),
        ("h20", None),
        ("", None),
    ],
)
def test_a_device_is_found_by_the_spellings_people_use(name, found):
    assert spec_named(name) is found


def test_every_known_name_and_card_finds_its_own_spec():
    assert [spec_named(name) for name in known_names()] == list(SPECS)
    for spec in SPECS:
        assert spec_named(spec.name) is spec
        for card in spec.cards:
            assert spec_for_card(card) == spec.model()


@pytest.mark.parametrize("card", ["NVIDIA H100 PCIe", "NVIDIA GeForce RTX 4090 Laptop GPU", "NVIDIA H200 NVL", "x"])
def test_a_sibling_with_other_rates_is_not_taken_for_the_card(card):
    with pytest.raises(InvalidInput, match="known cards: NVIDIA H200"):
        spec_for_card(card)


def test_two_specs_never_share_a_name_or_a_fingerprint():
    names = [name for spec in SPECS for name in (*spec.aliases, *(card.lower() for card in spec.cards))]
    assert len(set(names)) == len(names)
    assert len({spec.model().fingerprint for spec in SPECS}) == len(SPECS)
