"""The `profile` action: of what it asks, and what it leaves."""

import pytest
from builders import (
    make_bound,
    make_characterization,
    make_device,
    make_evaluation,
    make_goal,
    make_problem,
    make_python_solution,
    make_solution,
)

from deep_agent.executor.action import ActionContext, Interrupted
from deep_agent.executor.actions.profile import ProfileAction
from deep_agent.executor.findings import CharacterizeFinding, ProfileFinding, VerifyFinding
from deep_agent.htdag.goal import Spend
from deep_agent.htdag.node import JobId, NodeId
from deep_agent.problem.profile import Figure, NotProfiled, Profile
from deep_agent.problem.trace import EvaluationStatus

FIGURES = tuple(Figure(name=name, value=1.5, unit="%") for name in ("a", "b", "c"))


class OneProfile:
    """A `Profiler` with one answer."""

    def __init__(self, answer) -> None:
        self.answer = answer
        self.asked = []

    def profile(self, request, progress=None):
        self.asked.append(request)
        return self.answer


def context(*, cancelled: bool = False) -> ActionContext:
    return ActionContext(
        job_id=JobId("job"),
        node_id=NodeId("job.goal.profile"),
        attempt=1,
        goal=make_goal(),
        params={"problem": "problems/double"},
        deadline_s=60.0,
        job_deadline_s=90.0,
        job_spend=Spend(),
        now_s=lambda: 0.0,
        cancelled=lambda: cancelled,
        progress=lambda kind, payload: None,
        siblings=tuple,
        owner_inputs=dict,
    )


def inputs(**characterization) -> dict:
    known = CharacterizeFinding(
        problem=make_problem(),
        characterization=make_characterization(**characterization),
        bounds=(make_bound("other"), make_bound("w1")),
        device=make_device(),
    )
    return {"characterize": known.as_outputs()}


def verified(solution) -> dict:
    return VerifyFinding(
        verdict="verified", solution_hash=solution.content_hash, solution=solution, evaluation=make_evaluation()
    ).as_outputs()


def test_what_was_verified_is_profiled_with_its_workloads_bound():
    profiler = OneProfile(Profile(workload="w1", bottleneck="memory", evidence=FIGURES))
    outcome = ProfileAction(profiler).run(inputs() | {"verify": verified(make_solution())}, context())
    (asked,) = profiler.asked
    assert (asked.solution, asked.workload, asked.bound) == (make_solution(), "w1", make_bound("w1"))
    finding = ProfileFinding.model_validate(outcome.outputs)
    assert finding.answer == profiler.answer
    assert outcome.reason == "bottleneck: memory"


def test_without_a_winner_the_librarys_call_is_profiled():
    profiler = OneProfile(NotProfiled(status=EvaluationStatus.RUNTIME_ERROR, reason="it raised"))
    outcome = ProfileAction(profiler).run(inputs(), context())
    assert profiler.asked[0].solution == make_python_solution()
    assert ProfileFinding.model_validate(outcome.outputs).answer == profiler.answer
    assert outcome.reason == "not profiled: RUNTIME_ERROR: it raised"


def test_without_any_solution_nothing_is_asked():
    profiler = OneProfile(None)
    outcome = ProfileAction(profiler).run(inputs(baselines=(), best={}), context())
    assert profiler.asked == []
    assert ProfileFinding.model_validate(outcome.outputs).answer is None


def test_a_cancelled_profile_does_not_start():
    with pytest.raises(Interrupted):
        ProfileAction(OneProfile(None)).run(inputs(), context(cancelled=True))
