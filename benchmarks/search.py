"""Compares the schedule operator with random search at equal evaluations, and says what it found.

Part one is live: the real judge, three seeds, each arm the same number of evaluations; the two kernels an arm pair
ends with are then timed against each other in the same rounds. Part two measures every point of a (thinned) space
once into a table, and replays both operators over it with many more seeds.

    python benchmarks/search.py                          both parts, minutes
    python benchmarks/search.py problems/softmax --part replay --table softmax.json
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import exp, log
from pathlib import Path
from random import Random
from typing import Literal

from search_replay import (
    Measured,
    Spread,
    Table,
    advantage,
    evaluations_to_reach,
    load_tables,
    replay,
    save_tables,
    spread,
    thinned,
)

from deep_agent.evolution.candidates import CandidateSpace, NoSpace, next_candidate
from deep_agent.evolution.operators.operator import SearchState, Trial, VariationOperator
from deep_agent.evolution.operators.random import RandomOperator
from deep_agent.evolution.operators.schedule import ScheduleOperator
from deep_agent.evolution.space import all_indices, point_at, space_size
from deep_agent.ports import Judge
from deep_agent.problem.evaluation import Evaluation, EvaluationRequest, Ratio
from deep_agent.problem.solution import Solution

ROOT = Path(__file__).parents[1]
PROBLEMS = ("softmax", "rmsnorm", "swiglu")
LIVE_SEEDS = 3
SHOWN = (1, 2, 3, 5, 8, 12, 16, 20, 25)


@dataclass(frozen=True)
class Subject:
    """One problem on one device, ready to be searched."""

    folder: str
    device: str
    space: CandidateSpace
    judge: Judge

    def judged(
        self, solution: Solution, profile: Literal["screen", "gate"], incumbent: Solution | None = None
    ) -> Evaluation:
        """Ask the judge."""
        return self.judge.evaluate(
            EvaluationRequest(
                problem_dir=self.folder, solution=solution, device=self.device, profile=profile, incumbent=incumbent
            )
        )


@dataclass(frozen=True)
class LiveRun:
    """What one arm left after one live search."""

    curve: tuple[float, ...]
    """Best measured log speed-up after each evaluation; the library's 0 until something passed."""
    best: Solution | None


def live_run(operator: VariationOperator, subject: Subject, n_evaluations: int, seed: int) -> LiveRun:
    """Search with the real judge, a screen an evaluation."""
    trials: list[Trial] = []
    best: tuple[float, Solution] | None = None
    curve: list[float] = []
    for step in range(n_evaluations):
        state = SearchState(subject.space.parameters, subject.space.seeds, tuple(trials))
        candidate, skipped = next_candidate(operator, subject.space, state, Random(f"{seed} {step}"))
        trials.extend(skipped)
        if candidate is None:
            break
        fitness = fitness_of(subject.judged(candidate.solution, "screen"))
        trials.append(
            Trial(
                point=candidate.proposal.point,
                outcome="failed" if fitness is None else "rejected",
                fitness=fitness,
                solution_hash=candidate.solution.content_hash,
            )
        )
        if fitness is not None and (best is None or fitness > best[0]):
            best = (fitness, candidate.solution)
        curve.append(best[0] if best else 0.0)
        said = f"seed {seed}, {type(operator).__name__}: {step + 1} of {n_evaluations} evaluations"
        print(f"\r  {said:<60}", end="", file=sys.stderr, flush=True)
    curve += [curve[-1]] * (n_evaluations - len(curve))
    return LiveRun(tuple(curve), best[1] if best else None)


def fitness_of(evaluation: Evaluation) -> float | None:
    """Log speed-up over the library; None when it failed."""
    return log(evaluation.speedup.value) if evaluation.passed and evaluation.speedup is not None else None


def live_part(name: str, subject: Subject, n_evaluations: int) -> str:
    """Run both arms live, print their curves and duels, and return the finding in one sentence."""
    arms: dict[str, list[LiveRun]] = {"schedule": [], "random": []}
    duels: list[Ratio] = []
    for seed in range(LIVE_SEEDS):
        for arm, operator in (("schedule", ScheduleOperator()), ("random", RandomOperator())):
            arms[arm].append(live_run(operator, subject, n_evaluations, seed))
        duel = duelled(subject, arms["schedule"][-1].best, arms["random"][-1].best)
        duels += [duel] if duel is not None else []
    print(file=sys.stderr)
    print(f"\n{name}: live, {LIVE_SEEDS} seeds, {n_evaluations} evaluations an arm (least and most over seeds)")
    print_curves({arm: [run.curve for run in runs] for arm, runs in arms.items()}, n_evaluations)
    if not duels:
        return f"{name}, live: no pair of kernels to compare; see the curves"
    for seed, duel in enumerate(duels):
        print(f"  seed {seed}: schedule's kernel runs {duel.value:.3f} [{duel.low:.3f}, {duel.high:.3f}] x random's")
    won, lost = sum(duel.low > 1 for duel in duels), sum(duel.high < 1 for duel in duels)
    mean = spread([log(duel.value) for duel in duels]).mean
    return (
        f"{name}, live: schedule's kernel is {mean:.3f} x as fast as random's over {len(duels)} paired timings; "
        f"clearly faster in {won}, clearly slower in {lost}"
    )


def duelled(subject: Subject, schedule: Solution | None, control: Solution | None) -> Ratio | None:
    """Time two kernels in the same rounds; None when an arm has none, a ratio of 1 when they are one kernel."""
    if schedule is None or control is None:
        return None
    if schedule.content_hash == control.content_hash:
        return Ratio(value=1.0, low=1.0, high=1.0, n_rounds=1)
    return subject.judged(schedule, "gate", control).gain


def measured_table(name: str, subject: Subject, limit: int) -> Table:
    """Measure every point of the thinned space, a screen each; sources met before are not measured again."""
    axes = thinned(subject.space.parameters, subject.space.seeds, limit)
    known: dict[str, float | None] = {}
    measured = []
    total = space_size(axes)
    for number, indices in enumerate(all_indices(axes), start=1):
        point = point_at(axes, indices)
        solution = subject.space.build(point)
        if solution.content_hash not in known:
            known[solution.content_hash] = fitness_of(subject.judged(solution, "screen"))
        measured.append(Measured(point=point, log_speedup=known[solution.content_hash]))
        print(f"\r  measuring {name}: {number} of {total} points", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return Table(
        problem=name,
        device=subject.device,
        axes=axes,
        seeds=tuple(dict(seed) for seed in subject.space.seeds),
        measured=tuple(measured),
    )


def replay_part(table: Table, n_seeds: int, n_evaluations: int) -> str:
    """Replay both operators over a table, print their curves, and return the finding in one sentence."""
    passing = table.passing()
    if not passing:
        return f"{table.problem}, replay: no point of the table passed, so there is nothing to compare"
    n = min(n_evaluations, len(table.measured))
    arms: dict[str, tuple[VariationOperator, bool]] = {
        "schedule": (ScheduleOperator(), True),
        "unseeded": (ScheduleOperator(), False),
        "random": (RandomOperator(), False),
    }
    curves = {
        arm: [replay(operator, table, with_seeds=seeds, n_trials=n, seed=seed) for seed in range(n_seeds)]
        for arm, (operator, seeds) in arms.items()
    }
    print(
        f"\n{table.problem}: replay of a table of {len(table.measured)} points ({len(passing)} passed, best "
        f"{exp(passing[-1]):.3f} x the library), {n_seeds} seeds (10th and 90th percentile over seeds)"
    )
    print_curves(curves, n)
    ends = {arm: [curve[-1] for curve in runs] for arm, runs in curves.items()}
    for arm in ("schedule", "unseeded"):
        print(f"  {arm} over random after {n}: {in_words(advantage(ends[arm], ends['random']))}")
    return f"{table.problem}, replay: {verdict(curves, ends, n)}"


def verdict(curves: dict[str, list[list[float]]], ends: dict[str, list[float]], n: int) -> str:
    """Say plainly which arm is ahead, and by how many evaluations."""
    ratio = advantage(ends["schedule"], ends["random"])
    if ratio.low <= 1 <= ratio.high:
        return f"no difference shown after {n} evaluations ({in_words(ratio)})"
    ahead, behind = ("schedule", "random") if ratio.low > 1 else ("random", "schedule")
    level = sum(ends[behind]) / len(ends[behind])
    needed = evaluations_to_reach(curves[ahead], level)
    return f"{ahead} is ahead after {n} evaluations ({in_words(ratio)}); it needs {needed} to get where {behind} ends"


def in_words(ratio: Spread) -> str:
    """Write a ratio with its interval."""
    return f"{ratio.mean:.3f} x [{ratio.low:.3f}, {ratio.high:.3f}]"


def print_curves(curves: Mapping[str, Sequence[Sequence[float]]], n: int) -> None:
    """Print the best speed-up over the library so far, by evaluations."""
    shown = sorted({step for step in SHOWN if step < n} | {n})
    print("  after          " + "".join(f"{step:>21}" for step in shown))
    for arm, runs in curves.items():
        cells = [spread([run[step - 1] for run in runs]) for step in shown]
        print(f"  {arm:<15}" + "".join(f"{f'{one.mean:.3f} [{one.low:.2f}, {one.high:.2f}]':>21}" for one in cells))


@contextmanager
def real_subjects(device: str) -> Iterator[Callable[[Path], Subject | NoSpace]]:
    """Wire the real judge and lowering; yields how to open a problem."""
    from deep_agent.bootstrap import open_search_bench  # noqa: PLC0415 - replaying a table needs none of it

    with tempfile.TemporaryDirectory(prefix="search-") as home, open_search_bench(Path(home), device) as bench:

        def opened(folder: Path) -> Subject | NoSpace:
            space = bench.space(folder)
            return space if isinstance(space, NoSpace) else Subject(str(folder), bench.device.name, space, bench.judge)

        yield opened


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts asked for, and close with the findings."""
    options = parsed(arguments)
    findings: list[str] = []
    tables = list(load_tables(options.table)) if options.table and options.table.exists() else []
    if options.part != "replay" or not tables:
        with real_subjects(options.device) as opened:
            for folder in options.problems:
                subject = opened(folder.absolute())
                if isinstance(subject, NoSpace):
                    findings.append(f"{folder.name}: {subject.reason}")
                    continue
                if options.part != "replay":
                    findings.append(live_part(folder.name, subject, options.evaluations))
                if options.part != "live" and folder.name not in {table.problem for table in tables}:
                    tables.append(measured_table(folder.name, subject, options.points))
                    save_tables(options.table, tables) if options.table else None
    if options.part != "live":
        findings += [replay_part(table, options.seeds, options.evaluations) for table in tables]
    print("\nFound:")
    for finding in findings:
        print(f"- {finding.rstrip('.')}.")
    return 0


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Compare the schedule operator with random search.")
    parser.add_argument("problems", nargs="*", type=Path, default=[ROOT / "problems" / name for name in PROBLEMS])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--part", choices=("both", "live", "replay"), default="both")
    parser.add_argument("--evaluations", type=int, default=12, help="evaluations an arm")
    parser.add_argument("--seeds", type=int, default=100, help="seeds of the replay")
    parser.add_argument(
        "--points", type=int, default=64, help="most points a table measures; the space is thinned to it"
    )
    parser.add_argument("--table", type=Path, help="read tables from this JSON file, and keep new ones in it")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
