"""Verifies the answer to a problem on unseen inputs in fresh processes. Asks the judge; reads the lineage.

The champion of the search is judged again, from nothing: what the search measured does not count. Where there is
no champion that beats the library, or the judge refutes it, the library's own call is the answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deep_agent.evolution.lineage import Lineage, lineage_path
from deep_agent.evolution.version import VersionRef
from deep_agent.executor.action import ActionContext
from deep_agent.executor.actions.waiting import while_wanted
from deep_agent.executor.findings import (
    CharacterizeFinding,
    VerifyFinding,
    best_baseline,
    best_figures,
    library_solution,
)
from deep_agent.executor.physics import held
from deep_agent.executor.scoring import scored
from deep_agent.htdag.goal import Spend
from deep_agent.htdag.job import VersionView
from deep_agent.htdag.node import JsonObject
from deep_agent.htdag.outcome import Announcement, Outcome
from deep_agent.ports import JobReads, Judge
from deep_agent.problem.evaluation import Evaluation, EvaluationRequest
from deep_agent.problem.solution import Solution

LEAST_DEADLINE_S = 45.0
"""What the judge is given at least: a goal that overruns by seconds is worth more than a winner left unproved."""


@dataclass(frozen=True, kw_only=True)
class Verify:
    """The `verify` action."""

    judge: Judge
    reads: JobReads
    lineages: Path
    """Folder of all lineages."""

    def run(self, inputs: Mapping[str, JsonObject], ctx: ActionContext) -> Outcome:
        """Judge the champion, the runner-up or the library, as the node asks.

        Raises:
            Interrupted: it stopped as asked.
            HarnessFailed: the judge broke.
        """
        ctx.check()
        started_s = ctx.now_s()
        known = CharacterizeFinding.model_validate(inputs["characterize"])
        versions = self._versions(ctx)
        chosen = _choose(versions, refuted=_refuted(ctx), wanted=str(ctx.params.get("candidate", "champion")))
        solution = library_solution(known.characterization) if chosen is None else self._read(versions, chosen)
        first = self._read(versions, versions[0]) if versions else None
        evaluation = None if solution is None else self._judge(solution, known, ctx)
        finding = _find(known, chosen, solution, first, evaluation)
        return Outcome(
            outputs=finding.as_outputs(),
            reason=finding.message,
            spend=Spend(
                wall_s=max(ctx.now_s() - started_s, 0.0),
                device_s=0.0 if evaluation is None else evaluation.device_s,
                evaluations=0 if evaluation is None else 1,
            ),
            announcements=(_announce(known, finding),) if finding.verdict == "verified" else (),
        )

    def _versions(self, ctx: ActionContext) -> tuple[VersionView, ...]:
        """Give this branch's versions, oldest first."""
        branch = ctx.node_id.rsplit(".", 1)[0]
        return tuple(one for one in self.reads.versions(ctx.job_id) if one.node_id.startswith(f"{branch}."))

    def _read(self, versions: tuple[VersionView, ...], wanted: VersionView) -> Solution:
        lineage = Lineage(lineage_path(self.lineages, wanted.search))
        lineage.repair([VersionRef(seq=one.seq, kind=one.kind, sha=one.commit_sha) for one in versions])
        return lineage.read(wanted.seq).solution

    def _judge(self, solution: Solution, known: CharacterizeFinding, ctx: ActionContext) -> Evaluation:
        request = EvaluationRequest(
            problem_dir=str(ctx.params["problem"]),
            solution=solution,
            device=known.device.name,
            profile="verify",
            deadline_s=max(ctx.job_deadline_s - ctx.now_s(), LEAST_DEADLINE_S),
        )
        found = while_wanted(
            ctx,
            lambda: self.judge.evaluate(request, lambda step: ctx.progress("verify.step", {"step": step})),
        )
        return scored(held(found, known.bounds), known.bounds)


def _refuted(ctx: ActionContext) -> frozenset[str]:
    raw = ctx.params.get("refuted", [])
    return frozenset(str(one) for one in raw) if isinstance(raw, list | tuple) else frozenset()


def _choose(versions: tuple[VersionView, ...], *, refuted: frozenset[str], wanted: str) -> VersionView | None:
    """Pick the version to judge; None is the library.

    The champion is the last version that moved; the runner-up is the fastest one not refuted yet. Either must
    have been measured faster than the library, or there is nothing to verify.
    """
    if wanted == "library":
        return None
    able = [one for one in versions if one.solution_hash not in refuted and _speedup(one) > 1.0]
    moved = [one for one in able if one.kind != "match"]
    if wanted == "champion" and moved and moved[-1].seq == max(v.seq for v in versions if v.kind != "match"):
        return moved[-1]
    return max(able, key=_speedup, default=None)


def _speedup(version: VersionView) -> float:
    ratio = version.evaluation.get("speedup")
    value = ratio.get("value") if isinstance(ratio, dict) else None
    return float(value) if isinstance(value, int | float) else 0.0


def _find(
    known: CharacterizeFinding,
    chosen: VersionView | None,
    solution: Solution | None,
    first: Solution | None,
    evaluation: Evaluation | None,
) -> VerifyFinding:
    """Word the verdict."""
    solution_hash = "" if solution is None else solution.content_hash
    best = None if evaluation is None else best_figures(evaluation, known.bounds)
    if chosen is None:
        library = best_baseline(known.characterization)
        return VerifyFinding(
            verdict="library",
            solution_hash=solution_hash,
            solution=solution,
            first=first,
            evaluation=evaluation,
            best=best,
            message=f"No faster kernel found; the library's call ({library}) is the answer.",
        )
    assert evaluation is not None, "a version always has a solution"
    refusal = _refusal(evaluation, known)
    return VerifyFinding(
        verdict="refuted" if refusal else "verified",
        solution_hash=solution_hash,
        solution=solution,
        first=first,
        evaluation=evaluation,
        best=best,
        message=refusal or _remark(evaluation, known),
    )


def _refusal(evaluation: Evaluation, known: CharacterizeFinding) -> str:
    """Say why the candidate is not accepted; empty when it is.

    Accepted means: correct everywhere, the whole interval above 1 and above what the machine shows between
    equals, and no time below what the device allows.
    """
    if not evaluation.passed:
        return f"{evaluation.status}: {evaluation.message}"
    speedup = evaluation.speedup
    if speedup is None or any(one.speedup is None for one in evaluation.workloads):
        return "Time ran out before every workload was timed."
    if evaluation.quarantined:
        return f"Quarantined: {evaluation.quarantined}."
    if not evaluation.is_faster:
        return f"Not faster beyond doubt: {speedup.value:.3f} [{speedup.low:.3f}, {speedup.high:.3f}] on fresh inputs."
    return ""


def _remark(evaluation: Evaluation, known: CharacterizeFinding) -> str:
    """Say of an accepted candidate which bounds it refutes; empty when none."""
    bounds_us = {bound.workload: bound.time_us for bound in known.bounds}
    timed = ((one.uuid, one.candidate.time_us) for one in evaluation.workloads if one.candidate is not None)
    names = ", ".join(uuid for uuid, time_us in timed if time_us < bounds_us.get(uuid, 0.0))
    return (
        f"Faster than the bound measured here ({names}), so the machine was probed in a busy moment." if names else ""
    )


def _announce(known: CharacterizeFinding, finding: VerifyFinding) -> Announcement:
    return Announcement(
        type="kernel.verified",
        payload={
            "problem": known.problem.name,
            "device": known.device.name,
            "solution": finding.solution_hash,
            "best": None if finding.best is None else finding.best.model_dump(mode="json"),
        },
    )
