"""The same on a CUDA device: every cheat is refused for its own reason, or gains nothing; every honest oddity is accepted.

Specimens are judged several at once: what they build, they build side by side, and the device takes them in turn.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from judge_problem import Court, specimens

from deep_agent.problem.trace import EvaluationStatus

pytestmark = [pytest.mark.adversarial, pytest.mark.gpu]

BUILDS_AT_ONCE = 12


IN_VAIN = {
    "finishes_on_a_side_stream": ("kHonest = false", "kHonest = true"),
    "works_beside_the_emptying": (
        "// An honest one waits here.",
        "cudaEventRecord(begun, stream), cudaStreamWaitEvent(side, begun, 0);",
    ),
}
"""By specimen, what makes it honest."""
UNCOUNTED_US = 2.0
"""What runs beside a call may take so long before it counts."""


def honest_twin(cheat):
    """Give the same candidate without the cheat."""
    before, after = IN_VAIN[cheat.name]
    source = cheat.solution.sources[0]
    assert before in source.content
    honest = source.model_copy(update={"content": source.content.replace(before, after)})
    return replace(cheat, solution=cheat.solution.model_copy(update={"sources": (honest,)}))


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    court = Court(tmp_path_factory.mktemp("judge"))
    with ThreadPoolExecutor(BUILDS_AT_ONCE) as pool:
        chosen = [*specimens("cuda_gallery"), *specimens("cuda_honest")]
        chosen += [one for cheat in specimens("cuda_in_vain") for one in (cheat, honest_twin(cheat))]
        yield {one.solution.content_hash: pool.submit(court.judge_it, one) for one in chosen}
    court.judge.close()


@pytest.mark.parametrize("cheat", specimens("cuda_gallery"), ids=lambda one: one.name)
def test_a_cheat_on_the_device_is_refused_for_its_own_reason(verdicts, cheat):
    found = verdicts[cheat.solution.content_hash].result()
    assert cheat.is_refused_by(found), found.message


@pytest.mark.parametrize("oddity", specimens("cuda_honest"), ids=lambda one: one.name)
def test_an_honest_oddity_on_the_device_is_accepted(verdicts, oddity):
    found = verdicts[oddity.solution.content_hash].result()
    assert found.passed, found.message
    assert found.speedup is not None


@pytest.mark.parametrize("cheat", specimens("cuda_in_vain"), ids=lambda one: one.name)
def test_a_cheat_in_vain_takes_as_long_as_the_honest_way(verdicts, cheat):
    found, honest = (verdicts[one.solution.content_hash].result() for one in (cheat, honest_twin(cheat)))
    assert honest.passed, honest.message
    if not found.passed:
        assert found.status is EvaluationStatus.REWARD_HACK, found.message
        return
    for one, other in zip(found.workloads, honest.workloads, strict=True):
        assert one.candidate.time_us + UNCOUNTED_US > 0.85 * other.candidate.time_us
