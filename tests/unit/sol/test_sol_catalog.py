"""Names of devices: what resolves to what, what can be judged on, and how a spec is held against a card."""

import pytest
from sol_builders import make_device

from deep_agent.errors import InvalidInput
from deep_agent.problem.cardfacts import CardFacts, compare
from deep_agent.problem.cards import H100, H200, known_names, spec_of_card
from deep_agent.sol.catalog import Catalog
from deep_agent.sol.driver import found_cards, listed

H200_FACTS = CardFacts(
    name="NVIDIA H200",
    sm_count=132,
    sm_clock_max_hz=1980e6,
    memory_clock_hz=3201e6,
    memory_bus_bits=6144,
    l2_bytes=60 * 2**20,
    dram_bytes=143_771 * 2**20,
)
H100_FACTS = CardFacts(
    name="NVIDIA H100 80GB HBM3",
    sm_count=132,
    sm_clock_max_hz=1980e6,
    memory_clock_hz=2619e6,
    memory_bus_bits=5120,
    l2_bytes=50 * 2**20,
    dram_bytes=81_559 * 2**20,
)


class OneProcessor:
    """A catalogue that knows one processor."""

    def resolve(self, name):
        self.check(name)
        return make_device(bound_kind="measured")

    def check(self, name):
        if name not in {"auto", "cpu", "cpu:2"}:
            raise InvalidInput(f"device {name!r} asks for too many threads.")

    def known(self):
        return ()


def catalog(*cards):
    return Catalog(OneProcessor(), cards=lambda: cards)


@pytest.mark.parametrize("name", ["h200", "H200", "nvidia-h200", "NVIDIA H200"])
def test_a_data_sheet_device_has_a_model_on_any_machine(name):
    model = catalog().resolve(name)
    assert (model.name, model.bound_kind, model.kind) == ("H200", "sheet", "cuda")


@pytest.mark.parametrize("name", ["cpu", "auto", "CPU", "cpu:2"])
def test_the_processor_is_asked_of_its_own_catalogue(name):
    assert catalog().resolve(name).bound_kind == "measured"
    catalog().check(name)


@pytest.mark.parametrize("name", ["", "h20", "cuda:x", "gpu", "sh200"])
def test_an_unknown_device_is_refused_with_every_known_one(name):
    for ask in (catalog().resolve, catalog().check):
        with pytest.raises(InvalidInput, match="unknown; known: auto") as caught:
            ask(name)
        assert all(known in caught.value.message for known in known_names())


def test_nothing_is_judged_on_a_device_known_by_its_sheet():
    with pytest.raises(InvalidInput, match="known by its data sheet, which runs nothing"):
        catalog(H200_FACTS).check("h200")


def test_the_card_of_this_machine_is_judged_on():
    catalog(H200_FACTS).check("cuda")
    with pytest.raises(InvalidInput, match="only 1 here"):
        catalog(H200_FACTS).check("cuda:1")


def test_cuda_is_the_card_of_this_machine_under_the_name_that_was_asked():
    both = catalog(H200_FACTS, H100_FACTS)
    for name, spec in (("cuda", H200), ("cuda:1", H100)):
        found = both.resolve(name)
        assert found.name == name
        assert spec_of_card(found.hardware) == spec
        assert found.mac_per_s == spec.model().mac_per_s
        assert found.fingerprint == spec.model().fingerprint


def test_cuda_without_a_card_says_so():
    with pytest.raises(InvalidInput, match="lists none here"):
        catalog().resolve("cuda")
    with pytest.raises(InvalidInput, match="only 1 here"):
        catalog(H200_FACTS).resolve("cuda:1")


def test_a_card_without_a_spec_is_refused_and_never_guessed():
    with pytest.raises(InvalidInput, match="has no device spec"):
        catalog(CardFacts(name="NVIDIA H100 PCIe")).resolve("cuda")


@pytest.mark.parametrize("facts", [H200_FACTS, H100_FACTS], ids=lambda facts: facts.name)
def test_recorded_cards_agree_with_their_specs(facts):
    found = compare(facts, spec_of_card(facts.name))
    assert found.differs == ()
    assert found.unknown == ()
    assert len(found.agrees) == 7


def test_a_card_that_differs_is_told_with_both_figures():
    found = compare(H100_FACTS.model_copy(update={"sm_count": 114, "sm_clock_max_hz": 1755e6}), H100)
    assert found.differs == (
        "multiprocessors 114 here, 132 in the spec",
        "SM clock 1,755 MHz here, 1,980 MHz in the spec",
    )


def test_another_card_differs_in_memory():
    differs = " ".join(compare(H200_FACTS, H100).differs)
    assert "memory clock" in differs
    assert "L2 60 MiB here, 50 MiB in the spec" in differs
    assert "SM clock" not in differs


def test_what_the_driver_does_not_say_is_unknown_and_no_difference():
    found = compare(CardFacts(name="NVIDIA H200", sm_count=132), H200)
    assert found.agrees == ("multiprocessors",)
    assert found.differs == ()
    assert "SM clock" in found.unknown


def test_the_drivers_list_is_read_with_its_gaps():
    text = "NVIDIA H200, 00000000:1A:00.0, 1980, 3201, 143771\nNVIDIA X, 00000000:1B:00.0, [N/A], [N/A], 100\nnoise\n"
    (first, address), (second, _) = listed(text)
    assert (first.name, first.sm_clock_max_hz, first.memory_clock_hz, first.dram_bytes, address) == (
        "NVIDIA H200",
        1980e6,
        3201e6,
        143771 * 2**20,
        "00000000:1A:00.0",
    )
    assert second.sm_clock_max_hz is None


def test_a_machine_without_a_driver_has_no_cards(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert found_cards() == ()
