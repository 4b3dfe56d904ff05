"""Explains what holds the answer to a problem back. Asks the profiler; nothing it does is part of a timing."""

from collections.abc import Mapping

from deep_agent.executor.action import ActionContext
from deep_agent.executor.actions.waiting import while_wanted
from deep_agent.executor.findings import (
    CharacterizeFinding,
    ProfileFinding,
    VerifyFinding,
    library_solution,
    verify_outputs,
)
from deep_agent.htdag.goal import Spend
from deep_agent.htdag.node import JsonObject
from deep_agent.htdag.outcome import Outcome
from deep_agent.ports import Profiler
from deep_agent.problem.profile import NotProfiled, ProfileRequest
from deep_agent.problem.solution import Solution


class ProfileAction:
    """The `profile` action: of what `verify` judged, else of the library's call."""

    def __init__(self, profiler: Profiler) -> None:
        """Keep the profiler."""
        self._profiler = profiler

    def run(self, inputs: Mapping[str, JsonObject], ctx: ActionContext) -> Outcome:
        """Profile the first workload of the problem.

        Raises:
            Interrupted: it stopped as asked.
            InvalidInput: the reference fails on the workload.
            HarnessFailed: the judge broke.
        """
        ctx.check()
        started_s = ctx.now_s()
        known = CharacterizeFinding.model_validate(inputs["characterize"])
        solution = _solution(inputs, known)
        if solution is None:
            finding = ProfileFinding(solution_hash="", answer=None)
            return Outcome(outputs=finding.as_outputs(), reason="There is no solution to profile.")
        workload = known.problem.workloads[0].uuid
        request = ProfileRequest(
            problem_dir=str(ctx.params["problem"]),
            solution=solution,
            device=known.device,
            workload=workload,
            bound=next((one for one in known.bounds if one.workload == workload), None),
        )
        answer = while_wanted(ctx, lambda: self._profiler.profile(request))
        finding = ProfileFinding(solution_hash=solution.content_hash, answer=answer)
        if isinstance(answer, NotProfiled):
            reason = f"not profiled: {answer.status}: {answer.reason}"
        else:
            reason = f"bottleneck: {answer.bottleneck}"
        return Outcome(
            outputs=finding.as_outputs(),
            reason=reason,
            spend=Spend(wall_s=max(ctx.now_s() - started_s, 0.0)),
        )


def _solution(inputs: Mapping[str, JsonObject], known: CharacterizeFinding) -> Solution | None:
    outputs = verify_outputs(inputs)
    verified = None if outputs is None else VerifyFinding.model_validate(outputs).solution
    return verified or library_solution(known.characterization)
