"""Tries one candidate of a search: propose, lower, judge, gate, commit. Asks the judge and writes files.

Sources that compile to machine code already judged are recorded with its result and not measured again.

Nothing is remembered between two runs: the search is rebuilt from the finished siblings, and chance is seeded
by the node's place in it, so a repeated attempt makes the same candidate. Only the row stored with the outcome
makes a version; a commit left by a lost attempt stays unreferenced.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal

from deep_agent.errors import InvalidInput
from deep_agent.evolution.candidates import Candidate, NoSpace, SpaceOf, next_candidate
from deep_agent.evolution.gate import PROMISING_GAIN, Reject, decide, is_better_than_library, is_promising
from deep_agent.evolution.lineage import Lineage, lineage_path
from deep_agent.evolution.operators.operator import Trial, VariationOperator
from deep_agent.evolution.step import VaryStep, champion_of, search_state, version_refs
from deep_agent.evolution.version import VersionRef
from deep_agent.executor.action import ActionContext
from deep_agent.executor.actions.vary_values import Attempt, Judged, Search
from deep_agent.executor.actions.waiting import while_wanted
from deep_agent.executor.findings import VaryFinding
from deep_agent.executor.scoring import scored
from deep_agent.htdag.goal import Spend
from deep_agent.htdag.node import JsonObject
from deep_agent.htdag.outcome import Outcome
from deep_agent.ports import Blobs, Judge
from deep_agent.problem.evaluation import Evaluation, EvaluationRequest
from deep_agent.problem.solution import Solution
from deep_agent.problem.trace import EvaluationStatus

LEAST_DEADLINE_S = 1.0
"""What the judge is given at least, even when the attempt's time is nearly gone."""


@dataclass(frozen=True, kw_only=True)
class Vary:
    """The `vary` action."""

    judge: Judge
    blobs: Blobs
    space_of: SpaceOf
    operators: Mapping[str, VariationOperator]
    """By the names a goal may give, `auto` among them."""
    lineages: Path
    """Folder of all lineages, one repository a search."""

    def run(self, inputs: Mapping[str, JsonObject], ctx: ActionContext) -> Outcome:
        """Try the next candidate; `nothing_left` when there is none.

        Raises:
            Interrupted: it stopped as asked; the judge's answer, if it still comes, is dropped.
            InvalidInput: the reference itself failed under judgement.
            HarnessFailed: the judge broke.
        """
        ctx.check()
        started_s = ctx.now_s()
        search = Search.read(ctx)
        lineage = Lineage(lineage_path(self.lineages, search.name))
        # Refs follow the rows: a version's own attempt cannot know whether its row was accepted.
        lineage.repair(version_refs(search.steps))
        space = while_wanted(ctx, lambda: self.space_of(search.known.problem, search.known.device))
        if isinstance(space, NoSpace):
            return _nothing_left(space.reason, search, ctx.now_s() - started_s)
        candidate, skipped = next_candidate(
            self.operators[ctx.goal.operator],
            space,
            search_state(space.parameters, space.seeds, search.steps),
            Random(f"{ctx.params['seed']} {ctx.params['problem']} {ctx.params['index']}"),
            code_of=lambda solution: self._machine_code(solution, search, ctx),
        )
        if candidate is None:
            return _nothing_left("every schedule of this problem was tried", search, ctx.now_s() - started_s, skipped)
        ctx.progress("search.candidate", {"note": candidate.note, "solution": candidate.solution.content_hash})
        judged = self._judge(candidate, search, ctx)
        attempt = Attempt(
            search, candidate, skipped, judged, node=ctx.node_id, started_s=started_s, ended_s=ctx.now_s()
        )
        return self._conclude(attempt, lineage)

    def _machine_code(self, solution: Solution, search: Search, ctx: ActionContext) -> str:
        """Build it, which the judge has to do anyway; equal code was judged before and is not measured again."""
        return while_wanted(ctx, lambda: self.judge.build(solution, search.known.device.name)).machine_code_hash

    def _judge(self, candidate: Candidate, search: Search, ctx: ActionContext) -> Judged:
        """Screen against the champion, then confirm what is promising; the first correct candidate goes straight on."""
        champion = champion_of(search.steps)
        noise = search.known.characterization.noise
        if champion is None:
            first = self._ask(candidate, "gate", None, search, ctx)
            return Judged((first,), decide(first, champion=None, noise=noise))
        incumbent = Solution.model_validate_json(self.blobs.get(champion.solution_blob))
        screen = self._ask(candidate, "screen", incumbent, search, ctx)
        if not is_promising(screen):
            return Judged((screen,), _unpromising(screen))
        gain = screen.gain.value if screen.gain is not None else None
        ctx.progress("search.promising", {"note": candidate.note, "gain": gain})
        final = self._ask(candidate, "gate", incumbent, search, ctx)
        return Judged((screen, final), decide(final, champion=champion.champion, noise=noise))

    def _ask(
        self,
        candidate: Candidate,
        profile: Literal["screen", "gate"],
        incumbent: Solution | None,
        search: Search,
        ctx: ActionContext,
    ) -> Evaluation:
        request = EvaluationRequest(
            problem_dir=str(ctx.params["problem"]),
            solution=candidate.solution,
            device=search.known.device.name,
            profile=profile,
            incumbent=incumbent,
            deadline_s=max(ctx.deadline_s - ctx.now_s(), LEAST_DEADLINE_S),
        )
        found = while_wanted(ctx, lambda: self.judge.evaluate(request))
        if found.status is EvaluationStatus.INVALID_REFERENCE:
            raise InvalidInput(
                f"the reference of {search.known.problem.name} failed under judgement: {found.message}",
                remedy="Correct the reference, or the workload it fails on.",
            )
        return scored(found, search.known.bounds)

    def _conclude(self, attempt: Attempt, lineage: Lineage) -> Outcome:
        """Keep the evidence, write the commit if the gate let the candidate in, and say how it went."""
        solution_blob = self.blobs.put(attempt.candidate.solution.model_dump_json().encode())
        evaluation_blobs = tuple(self.blobs.put(one.model_dump_json().encode()) for one in attempt.judged.evaluations)
        version = attempt.version()
        ref = VersionRef(seq=version.seq, kind=version.kind, sha=lineage.write(version)) if version else None
        step = VaryStep(
            trials=(*attempt.skipped, attempt.trial()),
            solution_blob=solution_blob,
            evaluation_blobs=evaluation_blobs,
            better_than_library=is_better_than_library(
                attempt.judged.last, attempt.search.known.characterization.noise
            ),
            version=ref,
        )
        return Outcome(
            outputs=attempt.finding(step).as_outputs(),
            reason=attempt.judged.decision.reason,
            spend=Spend(
                wall_s=max(attempt.ended_s - attempt.started_s, 0.0),
                device_s=sum(one.device_s for one in attempt.judged.evaluations),
                evaluations=1,
            ),
            evidence=(solution_blob, *evaluation_blobs),
            versions=(attempt.entry(ref),) if ref else (),
        )


def _unpromising(screen: Evaluation) -> Reject:
    """Word why a screened candidate is not confirmed."""
    if not screen.passed:
        return Reject(reason=f"{screen.status}: {screen.message or 'the judge gave no further words'}")
    if screen.gain is None:
        return Reject(reason="it is correct, but time ran out before it was compared with the champion")
    least = PROMISING_GAIN - 1
    return Reject(
        reason=f"{screen.gain.value:.3f} of the champion's speed in the screen; confirming needs +{least:.1%}"
    )


def _nothing_left(reason: str, search: Search, wall_s: float, skipped: tuple[Trial, ...] = ()) -> Outcome:
    finding = VaryFinding(
        outcome="nothing_left",
        fingerprint="",
        sol_score=search.sol_score,
        message=reason,
        step=VaryStep(trials=skipped),
    )
    return Outcome(outputs=finding.as_outputs(), reason=reason, spend=Spend(wall_s=max(wall_s, 0.0)))
