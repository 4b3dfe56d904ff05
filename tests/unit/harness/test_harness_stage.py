"""What a stage holds against results beside their values: when they came."""

import zlib
from dataclasses import dataclass, field, replace
from random import Random

import pytest
import torch
from test_harness_inputs import reference_of

from deep_agent.harness.answers.input_sets import Case, make_input_set
from deep_agent.harness.answers.stage import Stage, Witnessed
from deep_agent.harness.arms.arm import CallTiming
from deep_agent.harness.arms.places import Host
from deep_agent.harness.sandbox.wire import Verb
from deep_agent.problem.trace import EvaluationStatus
from deep_agent.problem.workload import Workload


class OnDevice(Host):
    """Memory in which each input set has outputs of its own, as on a card."""

    index = 0


@dataclass
class Answering:
    """An arm that does nothing itself: its results are written for it."""

    confinement: tuple[str, ...] = ()
    asked: list[Verb | str] = field(default_factory=list)
    inputs: torch.Tensor | None = None
    """Those of the checked set, to see whether it may run while they are there."""
    n_bindings: int = 0

    def next_binding(self):
        self.n_bindings += 1
        return self.n_bindings

    def ask(self, verb, payload, fds=(), *, timeout_s):
        self.asked.append(verb)
        return CallTiming(1.0, 1.0)

    def stand_still(self) -> None:
        gone = self.inputs is not None and not self.inputs.any()
        self.asked.append("stands without inputs" if gone else "stands")

    def thaw(self) -> None:
        self.asked.append("thaw")


@pytest.fixture
def stage():
    reference = reference_of({"x": {"shape": ["n", "m"], "dtype": "float32"}}, body="    return x * 2")
    workload, place, chance = Workload(uuid="w", axes={"n": 5}), OnDevice(), Random(1)
    sets = [make_input_set(reference, Case(workload), chance, place) for _ in range(3)]
    stage = Stage(reference, workload, sets, chance, place)
    yield stage
    stage.close()


def digest(results):
    return [zlib.crc32(b"".join(tensor.numpy().tobytes() for tensor in tensors)) for tensors in results]


def told_otherwise(desk, number, claim=None):
    """Let the arm have told another digest of a result."""
    other = desk.witnessed.digests[number] ^ 1 if claim is None else claim
    desk.witnessed = replace(desk.witnessed, digests={**desk.witnessed.digests, number: other})


def answered(stage, *, collects=False):
    """Give a desk with the right results of a burst over all sets, and what is told of them."""
    desk = stage.seat(Answering(), collects=collects)
    for inputs, slot in zip(stage._sets, desk.slots, strict=True):
        torch.mul(inputs.region.tensors["x"], 2, out=next(iter(slot.outputs.tensors.values())))
    digests = digest([list(slot.outputs.tensors.values()) for slot in desk.slots])
    desk.witnessed = Witnessed(dict(enumerate(digests)), digest)
    return desk


@pytest.mark.parametrize("collects", [False, True])
def test_results_that_were_there_in_time_pass(stage, collects):
    assert stage.check(answered(stage, collects=collects), 1, quick=True).matches


def test_an_arm_that_has_copied_its_results_out_stands_still_before_its_inputs_are_back(stage):
    desk = answered(stage, collects=True)
    desk.arm.confinement = ("user namespace",)
    desk.arm.inputs = stage._sets[1].region.tensors["x"]
    desk.arm.asked.clear()
    assert stage.check(desk, 1, quick=True).matches
    assert desk.arm.asked == ["stands", Verb.COLLECT, "stands without inputs", "thaw", Verb.INSPECT]


@pytest.mark.parametrize("late", [0, 1, 2])
def test_right_results_that_came_late_are_refused_whichever_is_checked(stage, late):
    desk = answered(stage)
    told_otherwise(desk, late)
    found = stage.check(desk, 1, quick=True)
    assert found.status is EvaluationStatus.REWARD_HACK
    assert "1 of 3 results changed after their burst was over" in found.message


@pytest.mark.parametrize(("late", "is_refused"), [(0, False), (1, True)])
def test_of_returned_results_only_the_checked_one_is_at_hand(stage, late, is_refused):
    desk = answered(stage, collects=True)
    told_otherwise(desk, late)
    assert stage.check(desk, 1, quick=True).matches != is_refused


def test_wrong_results_are_wrong_before_they_are_late(stage):
    desk = answered(stage)
    told_otherwise(desk, 1)
    next(iter(desk.slots[1].outputs.tensors.values())).zero_()
    assert stage.check(desk, 1, quick=True).status is EvaluationStatus.INCORRECT_NUMERICAL


@pytest.mark.parametrize("claim", [float("nan"), float("inf"), -1.0])
def test_a_digest_that_is_none_is_late(stage, claim):
    desk = answered(stage)
    told_otherwise(desk, 1, claim)
    assert stage.check(desk, 1, quick=True).status is EvaluationStatus.REWARD_HACK


def test_a_single_call_has_no_witness(stage):
    desk = answered(stage)
    told_otherwise(desk, 1)
    _, chosen = stage.call(desk, None)
    assert desk.witnessed is None
    torch.mul(stage._sets[chosen].region.tensors["x"], 2, out=next(iter(desk.slots[chosen].outputs.tensors.values())))
    assert stage.check(desk, chosen, quick=True).matches
