"""Judges one loaded solution on a bench: answers first, then times. Loads torch through the bench; reads a clock.

The candidate's arm is new for every verdict and never serves another.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from deep_agent.harness.answers.compare import Comparison
from deep_agent.harness.answers.examination import examine_hidden
from deep_agent.harness.answers.inputs import DISTRIBUTIONS
from deep_agent.harness.answers.stage import CALL_TIMEOUT_S, FIRST_CALL_TIMEOUT_S, Desk, Stage, refusal
from deep_agent.harness.arms.arm import Arm, ArmFailed, blaming
from deep_agent.harness.arms.loading import load
from deep_agent.harness.baseline_arms import BaselineArm, Workplace
from deep_agent.harness.bench import Bench
from deep_agent.harness.findings import correct, not_run, timed, wrong
from deep_agent.harness.timing.rounds import HOPELESS_BELOW, Protocol, Rounds, protocol_of
from deep_agent.harness.timing.statistics import MIN_RESOLUTION, LogRatios, is_hopeless, log_ratios, ratio
from deep_agent.harness.timing.timers import audit_children
from deep_agent.problem.evaluation import Ratio, WorkloadEvaluation
from deep_agent.problem.solution import Solution
from deep_agent.problem.trace import EvaluationStatus

LOAD_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Prepared:
    """A solution ready to load: the built object, or None for Python."""

    solution: Solution
    artefact: bytes | None
    machine_code_hash: str = ""
    """Of the object; empty for Python."""
    from_cache: bool = False

    @property
    def collects(self) -> bool:
        """Whether results are returned instead of written."""
        return not self.solution.spec.destination_passing_style

    @property
    def first_call_timeout_s(self) -> float:
        """Time for a call that may be the first at its shape."""
        return FIRST_CALL_TIMEOUT_S if self.solution.spec.is_python else CALL_TIMEOUT_S


@dataclass(frozen=True, slots=True)
class Contestant:
    """An arm that takes part in a timing, and how it is called."""

    arm: Arm
    collects: bool
    call_timeout_s: float

    @classmethod
    def of(cls, arm: Arm, prepared: Prepared) -> "Contestant":
        """Enter a solution's arm."""
        return cls(arm, prepared.collects, prepared.first_call_timeout_s)

    @classmethod
    def trusted(cls, entry: BaselineArm) -> "Contestant":
        """Enter a baseline's arm."""
        return cls(entry.arm, entry.collects, FIRST_CALL_TIMEOUT_S)

    def seat(self, stage: Stage) -> Desk:
        """Give the arm new outputs at a stage; raises ArmFailed."""
        return stage.seat(self.arm, collects=self.collects, call_timeout_s=self.call_timeout_s)


@dataclass(slots=True)
class Findings:
    """What one verdict collects on its way."""

    workloads: list[WorkloadEvaluation] = field(default_factory=list)
    speedups: list[LogRatios] = field(default_factory=list)
    gains: list[LogRatios] = field(default_factory=list)
    noises: list[LogRatios] = field(default_factory=list)
    confinement: tuple[str, ...] = ()
    resolution: float = MIN_RESOLUTION
    """Log ratio that two arms with the same code may differ by."""
    timed_s: float = 0.0
    """Wall seconds that timing took."""
    log: str = ""

    def overall(self) -> tuple[Ratio | None, Ratio | None, Ratio | None]:
        """Speed-up, gain and noise over the workloads that were timed; None where none was."""
        speedup, gain, noise = (
            ratio(samples, resolution=self.resolution) if samples else None
            for samples in (self.speedups, self.gains, self.noises)
        )
        return speedup, gain, noise


class Verdict:
    """One candidate before one bench."""

    def __init__(self, workplace: Workplace, bench: Bench, protocol: str, out_of_time: Callable[[], bool]) -> None:
        """Keep what the verdict needs; `out_of_time` ends timing early, never examination."""
        self._workplace = workplace
        self._bench = bench
        self._protocol: Protocol = protocol_of(protocol, on_device=workplace.place.index is not None)
        self._in_double = protocol == "verify"
        self._out_of_time = out_of_time

    def reach(self, candidate: Prepared, incumbent: Prepared | None) -> Findings:
        """Examine and time.

        Raises:
            HarnessFailed: a trusted arm or the zygote broke.
        """
        findings = Findings(resolution=self._workplace.timer.resolution)
        self._bench.restore()
        names = ["candidate"]
        if incumbent is not None:
            names += ["incumbent", "twin"] if self._protocol.with_twin else ["incumbent"]
        # The older of two processes may be the faster one by some thousandths, so all are of one age, in random order.
        self._bench.chance.shuffle(names)
        crew = dict(zip(names, self._workplace.fork_crew(len(names)), strict=True))
        arm = crew["candidate"]
        findings.confinement = arm.confinement
        try:
            if self._admit(arm, candidate, findings) and self._examine(arm, candidate, findings):
                started_s = time.perf_counter()
                self._time(self._contestants(crew, candidate, incumbent), findings)
                findings.timed_s = time.perf_counter() - started_s
        finally:
            findings.log = arm.last_words()
            for one in crew.values():
                one.close()
        return findings

    def _contestants(
        self, crew: Mapping[str, Arm], candidate: Prepared, incumbent: Prepared | None
    ) -> dict[str, Contestant]:
        """Load the arms beside the candidate's, and enter all of them."""
        entered = {"candidate": Contestant.of(crew["candidate"], candidate)}
        for name, arm in crew.items():
            if name != "candidate" and incumbent is not None:
                with blaming(name):
                    self._load(arm, incumbent)
                entered[name] = Contestant.of(arm, incumbent)
        return entered

    def _load(self, arm: Arm, prepared: Prepared) -> None:
        load(
            arm,
            prepared.solution,
            self._bench.problem.definition,
            self._workplace.n_threads,
            artefact=prepared.artefact,
            timeout_s=LOAD_TIMEOUT_S,
        )

    def _admit(self, arm: Arm, candidate: Prepared, findings: Findings) -> bool:
        try:
            self._load(arm, candidate)
        except ArmFailed as failure:
            self._fail_all(findings, refusal(failure), "loading")
            return False
        if self._bench.is_baseline(candidate.solution):
            # The library's own call is what the reference does; compiling it for hidden shapes proves nothing.
            return True
        failed = examine_hidden(
            arm,
            self._bench.hidden,
            collects=candidate.collects,
            call_timeout_s=candidate.first_call_timeout_s,
        )
        if failed is not None:
            self._fail_all(findings, failed[1], f"on {failed[0]}")
            return False
        return True

    def _fail_all(self, findings: Findings, found: Comparison, where: str) -> None:
        findings.workloads = [wrong(workload, found, where) for workload in self._bench.problem.workloads]

    def _examine(self, arm: Arm, candidate: Prepared, findings: Findings) -> bool:
        """Check every visible workload once on inputs made for this moment; stop at the first failure."""
        for workload in self._bench.problem.workloads:
            if findings.workloads and findings.workloads[-1].status is not EvaluationStatus.PASSED:
                failed = findings.workloads[-1]
                findings.workloads.append(not_run(workload, failed.status, f"not run: {failed.uuid} failed"))
                continue
            found = self._answer(workload.uuid, arm, candidate)
            passed = found.matches
            findings.workloads.append(correct(workload, found.correctness) if passed else wrong(workload, found))
        return all(one.status is EvaluationStatus.PASSED for one in findings.workloads)

    def _answer(self, uuid: str, arm: Arm, candidate: Prepared) -> Comparison:
        """Check one call on values as they are timed, and some on hard ones: small sizes alone do not show who bears them."""
        stage = self._bench.stages[uuid]
        try:
            desk = Contestant.of(arm, candidate).seat(stage)
        except ArmFailed as failure:
            return refusal(failure)
        try:
            _, chosen = stage.call(desk, None)
            found = self._checked(stage, desk, chosen)
            return self._hard_failure(stage, desk, chosen, candidate) or found if found.matches else found
        except ArmFailed as failure:
            return refusal(failure)
        finally:
            stage.leave(desk)

    def _hard_failure(self, stage: Stage, desk: Desk, chosen: int, candidate: Prepared) -> Comparison | None:
        if self._bench.is_baseline(candidate.solution):
            return None
        for distribution in self._bench.hard_values(
            stage.workload.uuid, at_most=len(DISTRIBUTIONS) if self._in_double else 1
        ):
            with stage.under(distribution, chosen):
                stage.call(desk, None, index=chosen)
                found = self._checked(stage, desk, chosen)
            if not found.matches:
                return replace(found, message=f"with {distribution} values: {found.message}")
        return None

    def _checked(self, stage: Stage, desk: Desk, chosen: int) -> Comparison:
        return stage.check(desk, chosen, expected=stage.truth(chosen) if self._in_double else None)

    def _time(self, contestants: dict[str, Contestant], findings: Findings) -> None:
        for index in range(len(findings.workloads)):
            if self._is_lost(findings) or (index and self._out_of_time()):
                break
            found = self._time_workload(index, contestants, findings)
            if found is not None:
                findings.workloads[index] = wrong(self._bench.problem.workloads[index], found, "while timed")
                break

    def _time_workload(self, index: int, contestants: dict[str, Contestant], findings: Findings) -> Comparison | None:
        """Time one workload; what the candidate did wrong meanwhile, or None."""
        uuid = findings.workloads[index].uuid
        stage = self._bench.stages[uuid]
        entered = {"baseline": Contestant.trusted(self._bench.best[uuid]), **contestants}
        if self._protocol.with_twin and "twin" not in entered:
            entered["twin"] = Contestant.trusted(self._bench.twin(uuid))
        # Where the system places an arm's outputs in physical memory is worth some per cent, and old memory lies
        # better than new: equal chances need memory of equal age, so all are seated now, in random order.
        names = list(entered)
        self._bench.chance.shuffle(names)
        seated: dict[str, Desk] = {}
        try:
            for name in names:
                with blaming(name):
                    seated[name] = entered[name].seat(stage)
            return self._measure(stage, index, seated, findings)
        except ArmFailed as failure:
            return refusal(failure)
        finally:
            for desk in seated.values():
                stage.leave(desk)

    def _is_lost(self, findings: Findings) -> bool:
        """Whether what was timed so far already shows a clear loss to the incumbent."""
        return bool(findings.gains) and is_hopeless(
            ratio(findings.gains, resolution=findings.resolution), floor=HOPELESS_BELOW
        )

    def _measure(self, stage: Stage, index: int, seated: dict[str, Desk], findings: Findings) -> Comparison | None:
        rounds = Rounds(stage, seated, self._workplace.timer, self._bench.chance, self._out_of_time)
        rounds.warm()
        against = ["baseline", *(["incumbent"] if "incumbent" in seated else [])]
        arm = seated["candidate"].arm
        _, children_before_us = arm.census()
        samples, found = rounds.measure(self._protocol, against)
        n_children, children_us = arm.census()
        found = found or audit_children(samples, n_children, children_us - children_before_us)
        if found is not None:
            return found
        examined = findings.workloads[index]
        findings.workloads[index] = timed(examined, samples, self._bench.best[examined.uuid].source.name)
        for arm_name, kept in (("baseline", findings.speedups), ("incumbent", findings.gains)):
            if arm_name in seated:
                kept.append(log_ratios(samples.wall_us(arm_name), samples.wall_us("candidate")))
        if "twin" in seated:
            findings.noises.append(log_ratios(samples.wall_us(against[-1]), samples.wall_us("twin")))
        return None
