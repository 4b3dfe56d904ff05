"""Owns one attempt of a search as values: the search so far, what the judge found, what is stored of it; pure."""

from dataclasses import dataclass
from math import log

from deep_agent.evolution.candidates import Candidate
from deep_agent.evolution.gate import Improve, Match, Reject
from deep_agent.evolution.operators.operator import Trial, TrialOutcome
from deep_agent.evolution.step import ChampionStep, VaryStep, champion_of, version_refs
from deep_agent.evolution.version import Version, VersionKind, VersionRef
from deep_agent.executor.action import ActionContext
from deep_agent.executor.findings import CharacterizeFinding, VaryFinding, mean_sol_score
from deep_agent.htdag.outcome import VersionEntry
from deep_agent.problem.evaluation import Evaluation


@dataclass(frozen=True)
class Search:
    """The search so far, as the finished siblings tell it."""

    name: str
    """Of its lineage."""
    known: CharacterizeFinding
    findings: tuple[VaryFinding, ...]
    """Oldest first."""

    @classmethod
    def read(cls, ctx: ActionContext) -> "Search":
        """Gather it from the finished siblings and what the owner got."""
        findings = [
            VaryFinding.model_validate(node.outputs)
            for node in ctx.siblings()
            if node.spec.handler == "vary" and node.outputs
        ]
        known = CharacterizeFinding.model_validate(ctx.owner_inputs()["characterize"])
        return cls(name=str(ctx.params["search"]), known=known, findings=tuple(findings))

    @property
    def steps(self) -> tuple[VaryStep, ...]:
        """What the operator and the gate need of each finding."""
        return tuple(finding.step for finding in self.findings)

    @property
    def sol_score(self) -> float | None:
        """The champion's."""
        return next((one.sol_score for one in reversed(self.findings) if one.sol_score is not None), None)

    @property
    def next_seq(self) -> int:
        """The place of the next version."""
        return max((ref.seq for ref in version_refs(self.steps)), default=-1) + 1


@dataclass(frozen=True)
class Judged:
    """What the judge found about one candidate, in the order of asking."""

    evaluations: tuple[Evaluation, ...]
    """At least one."""
    decision: Improve | Match | Reject

    @property
    def last(self) -> Evaluation:
        """The finding that counts."""
        return self.evaluations[-1]

    @property
    def outcome(self) -> TrialOutcome:
        """The verdict in the words of a search's history."""
        if not self.last.passed:
            return "failed"
        return "rejected" if self.decision.verdict == "reject" else self.decision.verdict

    @property
    def kind(self) -> VersionKind | None:
        """As what it enters the lineage; None when it does not."""
        match self.decision:
            case Improve(kind=kind):
                return kind
            case Match(enters_lineage=True):
                return "match"
            case _:
                return None


@dataclass(frozen=True)
class Attempt:
    """One judged candidate and its place in the search; draws from them what is stored."""

    search: Search
    candidate: Candidate
    skipped: tuple[Trial, ...]
    judged: Judged
    node: str
    """The `vary` node's id."""
    started_s: float
    ended_s: float

    def trial(self) -> Trial:
        """What the operator learns from it."""
        return Trial(
            point=self.candidate.proposal.point,
            outcome=self.judged.outcome,
            fitness=log_fitness(self.judged.last, champion_of(self.search.steps)),
            solution_hash=self.candidate.solution.content_hash,
            machine_code_hash=self.candidate.machine_code_hash,
        )

    def sol_score(self) -> float | None:
        """The champion's after this step."""
        moved = self.judged.decision.verdict == "improve"
        return mean_sol_score(self.judged.last) if moved else self.search.sol_score

    def version(self) -> Version | None:
        """What is committed to the lineage; None when the gate kept it out."""
        champion = champion_of(self.search.steps)
        if self.judged.kind is None:
            return None
        return Version(
            seq=self.search.next_seq,
            kind=self.judged.kind,
            node=self.node,
            parent_sha=champion.sha if champion else None,
            solution=self.candidate.solution,
            evaluation=self.judged.last,
            sol_score=mean_sol_score(self.judged.last),
            timestamp_s=int(self.ended_s),
        )

    def entry(self, ref: VersionRef) -> VersionEntry:
        """The row of its version."""
        champion = champion_of(self.search.steps)
        return VersionEntry(
            search=self.search.name,
            seq=ref.seq,
            commit_sha=ref.sha,
            kind=ref.kind,
            solution_hash=self.candidate.solution.content_hash,
            parent_seq=champion.champion.seq if champion else None,
            # The log is the one field without a limit; the blob of the evaluation keeps it.
            evaluation=self.judged.last.model_copy(update={"log": ""}).model_dump(mode="json"),
            sol_score=mean_sol_score(self.judged.last),
        )

    def finding(self, step: VaryStep) -> VaryFinding:
        """The outputs of its node."""
        last = self.judged.last
        return VaryFinding(
            outcome=self.judged.outcome,
            fingerprint=self.candidate.solution.content_hash,
            sol_score=self.sol_score(),
            seq=step.version.seq if step.version else None,
            solution_hash=self.candidate.solution.content_hash,
            speedup=last.speedup.value if last.speedup else None,
            status=last.status,
            message=self.judged.decision.reason,
            note=self.candidate.note,
            step=step,
        )


def log_fitness(evaluation: Evaluation, champion: ChampionStep | None) -> float | None:
    """Grade a candidate for the operator: log speed-up over the library; None when it failed or was not timed.

    A screen that stops early has timed only some workloads, whose mean speed-up is no grade of the whole; the
    gain over the champion on the same workloads, added to the champion's grade, is a fairer guess.
    """
    if not evaluation.passed or evaluation.speedup is None:
        return None
    if all(one.speedup is not None for one in evaluation.workloads):
        return log(evaluation.speedup.value)
    if champion is None or evaluation.gain is None:
        return None
    return champion.fitness + log(evaluation.gain.value)
