"""Times arms in interleaved, randomised rounds. Loads torch through the stage; reads no clock itself.

A round visits every arm once, in random order, on the same stage. Looking early inflates false wins, so a
protocol fixes in advance when it looks, and a clear loser is let go only far from the line.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from statistics import median
from typing import Final

from deep_agent.errors import HarnessFailed
from deep_agent.harness.answers.compare import Comparison
from deep_agent.harness.answers.stage import Change, Desk, Stage, refusal
from deep_agent.harness.arms.arm import ArmFailed, blaming
from deep_agent.harness.sandbox.wire import Finding
from deep_agent.harness.timing.samples import Samples
from deep_agent.harness.timing.statistics import is_hopeless, is_precise
from deep_agent.harness.timing.timers import Overhead, Timer, refused_as_hack
from deep_agent.problem.trace import EvaluationStatus

HOPELESS_BELOW: Final = 0.97
_NEWS_PAIRS: Final = 7
_NEWS_LOOKS: Final = 2
"""So often must an audit find it: on a busy machine one look in a hundred errs."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """How long to measure one workload."""

    looks: tuple[int, ...]
    """Numbers of rounds after which to stop if precise or hopeless; the last is the most."""
    checked_share: float
    """Share of the candidate's timed calls whose outputs are checked in full; at least one is."""
    precise_at: float
    """Half-width of the log interval that is good enough."""
    with_twin: bool
    """Whether a twin of what the candidate must beat takes part, to show the noise."""
    sustained_s: float = 0.0
    """How long each arm runs without a pause afterwards, for a figure of its own."""


PROTOCOLS: Final[Mapping[str, Protocol]] = {
    "screen": Protocol(looks=(5,), checked_share=0.2, precise_at=0.02, with_twin=False),
    "gate": Protocol(looks=(8, 14), checked_share=0.2, precise_at=0.004, with_twin=True),
    "verify": Protocol(looks=(16, 30), checked_share=0.3, precise_at=0.03, with_twin=True),
}
DEVICE_PROTOCOLS: Final[Mapping[str, Protocol]] = {
    "screen": Protocol(looks=(8,), checked_share=0.2, precise_at=0.005, with_twin=False),
    "gate": Protocol(looks=(12, 24), checked_share=0.2, precise_at=0.0035, with_twin=True),
    "verify": Protocol(looks=(30, 60), checked_share=0.3, precise_at=0.0035, with_twin=True, sustained_s=2.0),
}
"""On a CUDA device a visit is quick and precise, but now and then a whole burst is slow: more of them, then."""


def protocol_of(profile: str, *, on_device: bool) -> Protocol:
    """Give the protocol of a profile on a kind of device."""
    return (DEVICE_PROTOCOLS if on_device else PROTOCOLS)[profile]


@dataclass(frozen=True, slots=True)
class Rounds:
    """Everything a measurement of one workload needs."""

    stage: Stage
    desks: Mapping[str, Desk]
    """Arm name -> desk; `candidate` is the one under judgement, the others are trusted to be right."""
    timer: Timer
    chance: Random
    out_of_time: Callable[[], bool]

    def warm(self) -> None:
        """Call every arm a few times, unmeasured, and on every input set: whoever keeps answers keeps one of each.

        So no timed call meets contents for the first time, and any that is checked shows a kept answer. The library's arms
        then show that they are still right: in rounds only the candidate has to, and a figure over what computes something
        else, or elsewhere, is none.

        Raises:
            ArmFailed: the candidate's arm failed, or damaged what all arms share.
            HarnessFailed: another failed, or the library's answers were wrong.
        """
        for name, desk in self.desks.items():
            with blaming(name):
                for turn in range(max(desk.n_warm_calls, self.stage.n_sets)):
                    self.stage.call(desk, None, index=turn % self.stage.n_sets)
            if not desk.arm.confinement:
                self._require_right(name, desk)

    def _require_right(self, name: str, desk: Desk) -> None:
        # Twice: whoever misses its tolerance once in a hundred calls was right to start with.
        found = self._answer_of(name, desk)
        found = found if found.matches else self._answer_of(name, desk)
        if found.matches:
            return
        if found.status is EvaluationStatus.REWARD_HACK and any(one.arm.confinement for one in self.desks.values()):
            raise ArmFailed(f"it damaged memory of other arms: {found.message}", finding=Finding.CHANGED_SETTINGS)
        raise HarnessFailed(
            f"the library's own call is wrong on {self.stage.workload.uuid!r}: {found.message}.",
            remedy="Ask again: what is wrong from the start is left out.",
        )

    def _answer_of(self, name: str, desk: Desk) -> Comparison:
        with blaming(name):
            _, chosen = self.stage.call(desk, None)
            return self.stage.check(desk, chosen, quick=True)

    def measure(self, protocol: Protocol, against: Sequence[str]) -> tuple[Samples, Comparison | None]:
        """Measure until the protocol is content.

        Args:
            protocol: how long.
            against: the arms the candidate must beat; hopeless only if it loses to the last of them.

        Returns:
            Samples, and the first wrong result or hidden work of the candidate, if any.

        Raises:
            HarnessFailed: an arm other than the candidate's failed.
        """
        samples = Samples.of(self.desks, self.timer.resolution)
        with blaming("baseline"):
            overhead = self.timer.overhead(self.desks["baseline"])
        checks_due = {self.chance.randrange(protocol.looks[0])}
        for n_round in range(protocol.looks[-1]):
            wrong = self._round(
                samples, overhead, check=n_round in checks_due or self.chance.random() < protocol.checked_share
            )
            if wrong is not None:
                return samples, wrong
            done = n_round + 1
            if done in protocol.looks and self._enough(samples, protocol, against):
                break
            if done >= protocol.looks[0] // 2 and self.out_of_time():
                break
        try:
            samples, wrong = self.timer.conclude(samples, self.stage, self.desks, overhead)
            wrong = wrong or self._audit_news(samples, overhead)
            if wrong is None and protocol.sustained_s and not self.out_of_time():
                wrong = self.timer.sustain(samples, self.stage, self.desks, overhead, protocol.sustained_s)
        except ArmFailed as failure:
            wrong = refusal(failure)
        return samples, wrong

    def _audit_news(self, samples: Samples, overhead: Overhead) -> Comparison | None:
        """Refuse a candidate that is slower where inputs change as a whole: it works on what has changed since it last saw them."""
        candidate = self.desks["candidate"]
        new_us, index = self.timer.look(self.stage, candidate, overhead, change="all")
        found = self.stage.check(candidate, index, quick=True)
        if not found.matches:
            return found
        if new_us < self.timer.news_factor * median(samples.wall_us("candidate")):
            return None
        # The machine may have been busy just then: only pairs tell, and the library's beside them.
        factor, slower = self.timer.news_factor, 0.0
        for _ in range(_NEWS_LOOKS):
            slower = self._news_ratio("candidate", overhead)
            if slower < factor or slower < factor * self._news_ratio("baseline", overhead):
                return None
        return refused_as_hack(
            f"it takes {slower:.1f} times as long where all of its inputs are new as where a block of them is: "
            "it goes by answers that it has kept"
        )

    def _news_ratio(self, name: str, overhead: Overhead) -> float:
        """Time an arm on inputs that are new over inputs that are mostly not, in pairs of random order.

        No other arm works meanwhile: what its turn changes would be new to this one. The least times count, since whatever
        else the machine does only adds.
        """
        changes: tuple[Change, ...] = ("all", "a_block")
        took_us: dict[Change, list[float]] = {change: [] for change in changes}
        with blaming(name):
            for _ in range(_NEWS_PAIRS):
                for change in self.chance.sample(changes, k=2):
                    took_us[change].append(self.timer.look(self.stage, self.desks[name], overhead, change=change)[0])
        return min(took_us["all"]) / min(took_us["a_block"])

    def _enough(self, samples: Samples, protocol: Protocol, against: Sequence[str]) -> bool:
        if not against:
            return False
        found = samples.ratio(against[-1], "candidate")
        return is_hopeless(found, floor=HOPELESS_BELOW) or is_precise(found, half_width=protocol.precise_at)

    def _round(self, samples: Samples, overhead: Overhead, *, check: bool) -> Comparison | None:
        order = list(self.desks)
        self.chance.shuffle(order)
        for name in order:
            try:
                with blaming(name):
                    timing, wrong = self.timer.visit(
                        self.stage, self.desks[name], overhead, check=check and name == "candidate"
                    )
            except ArmFailed as failure:
                return refusal(failure)
            if wrong is not None:
                return wrong
            samples.add(name, timing)
        return None
