"""Counts verified evaluations a minute: the judge against a plain harness, in one run. `python benchmarks/throughput.py`.

Both evaluate the same correct softmax kernels over the same workloads, one after the other, candidate by candidate and
taking turns at going first, so that what the machine does meanwhile meets both. The judge answers at its `gate`
profile; the other side is `plain_harness.py`, whose docstring says what it leaves out.

- cold: no object lies built. The judge's program starts anew over an empty folder; its start (loading torch, preparing
  and timing the baselines, torch.compile's among them) is counted with its evaluations. The plain harness has none.
- warm: the same candidates once more. The objects lie built, and the judge runs.

A verdict counts when it is PASSED; the time of the others counts all the same. A ratio's interval is the 95 % bootstrap
over candidates. The two spend unlike time on timing (a plain loop of 20 + 100 calls of two arms; the judge 8 to 14
rounds on a processor, 12 to 24 on a card, of three arms). So a second ratio stands beside each, "timed alike", reckoned
from the same run: the plain harness with its timing replaced, candidate by candidate, by the seconds the judge spent on
its own. `--out FILE` keeps every figure as JSON.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from math import exp, log
from pathlib import Path
from random import Random
from statistics import mean

from machine import compiler_of, machine
from throughput_candidates import SOFTMAX, distinct_candidates

from deep_agent.bootstrap import open_judge
from deep_agent.harness.builds.compilers import Compiler
from deep_agent.harness.client import JudgeProcess
from deep_agent.harness.folders import PROGRAM_PATH
from deep_agent.problem.evaluation import EvaluationRequest
from deep_agent.problem.solution import Solution

PLAIN = Path(__file__).with_name("plain_harness.py")
KEPT_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "-1"}
"""As the judge sets for its own program. Without it, the library's call on a processor gets new pages for its result in
each of the plain harness's calls, which can triple its seconds and multiply the speed-ups it finds."""
N_RESAMPLES = 2000


@dataclass(frozen=True)
class Evaluated:
    """One evaluation by one harness."""

    passed: bool
    message: str
    wall_s: float
    """From asking to knowing, on this process's clock."""
    spent_s: dict[str, float]
    """What the harness itself says the time went into; `rest` is the difference to the wall."""
    speedup: float | None
    """Over the library, as this harness found it; geometric mean over workloads."""


Evaluate = Callable[[Solution], Evaluated]


@dataclass(frozen=True)
class Judged:
    """The product's judge as a harness."""

    judge: JudgeProcess
    device: str

    def start(self) -> float:
        """Start its program and prepare the problem, as a job does before its first candidate; give the seconds."""
        started_s = time.perf_counter()
        self.judge.characterize(str(SOFTMAX), self.device)
        return time.perf_counter() - started_s

    def __call__(self, solution: Solution) -> Evaluated:
        """Judge a candidate."""
        started_s = time.perf_counter()
        found = self.judge.evaluate(
            EvaluationRequest(problem_dir=str(SOFTMAX), solution=solution, device=self.device, profile="gate")
        )
        wall_s = time.perf_counter() - started_s
        spent_s = {"build": found.build_s, "fixed": found.device_s - found.timed_s, "timing": found.timed_s}
        return Evaluated(
            passed=found.passed,
            message=found.message,
            wall_s=wall_s,
            spent_s={**spent_s, "rest": wall_s - sum(spent_s.values())},
            speedup=found.speedup.value if found.speedup else None,
        )


@dataclass(frozen=True)
class Plain:
    """The plain harness: a process a candidate, believed."""

    folder: Path
    """Of its sources and objects."""
    device: str
    compiler: Compiler
    """The judge's, so that both compile alike."""

    def __call__(self, solution: Solution) -> Evaluated:
        """Write the job, run the program, read its last line."""
        started_s = time.perf_counter()
        said = subprocess.run(
            [sys.executable, PLAIN, self._job(solution)],
            env={"PATH": PROGRAM_PATH, "PYTHONPATH": str(PLAIN.parents[1]), "OMP_NUM_THREADS": "1", **KEPT_MEMORY},
            capture_output=True,
            text=True,
            check=False,
        )
        wall_s = time.perf_counter() - started_s
        if said.returncode != 0:
            return Evaluated(False, said.stderr[-500:], wall_s, {"rest": wall_s}, None)  # noqa: FBT003
        found = json.loads(said.stdout.splitlines()[-1])
        logs = [log(one) for one in found.get("speedups", ())]
        return Evaluated(
            passed=found["passed"],
            message=found["message"],
            wall_s=wall_s,
            spent_s={**found["spent_s"], "rest": wall_s - sum(found["spent_s"].values())},
            speedup=exp(mean(logs)) if logs else None,
        )

    def _job(self, solution: Solution) -> Path:
        source = self.folder / solution.content_hash / solution.spec.entry_file
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text(solution.sources[0].content)
        library = source.with_name("solution.so")
        workloads = "workload.jsonl" if self.device.startswith("cuda") else "workload.cpu.jsonl"
        job = {
            "definition": str(SOFTMAX / "definition.json"),
            "workloads": str(SOFTMAX / workloads),
            "command": [
                *self.compiler.flags(solution.spec), str(source), "-o", str(library), *self.compiler.libraries(solution.spec),
            ],
            "library": str(library),
            "function": solution.spec.entry_function,
            "device": self.device,
            "n_threads": 1,
        }  # fmt: skip
        path = source.with_name("job.json")
        path.write_text(json.dumps(job))
        return path


@dataclass(frozen=True)
class Pair:
    """One candidate, evaluated by both."""

    name: str
    judge: Evaluated
    plain: Evaluated


def alternated(candidates: Sequence[Solution], judged: Evaluate, plain: Evaluate, words: str) -> list[Pair]:
    """Evaluate every candidate with both harnesses, which take turns at going first."""
    pairs = []
    for number, candidate in enumerate(candidates):
        if number % 2:
            theirs = plain(candidate)
            ours = judged(candidate)
        else:
            ours = judged(candidate)
            theirs = plain(candidate)
        pairs.append(Pair(f"{candidate.name} {candidate.content_hash[:12]}", ours, theirs))
        print(f"\r  {words}: {number + 1} of {len(candidates)} candidates", end="", file=sys.stderr, flush=True)
        for harness, found in (("judge", ours), ("plain harness", theirs)):
            if not found.passed:
                print(f"\n{candidate.name}, {harness}: not passed: {found.message}", file=sys.stderr)
    print(file=sys.stderr)
    return pairs


def per_minute(evaluated: Sequence[Evaluated], start_s: float = 0.0) -> float:
    """Count what passed by the minutes that all of it took."""
    return 60 * sum(one.passed for one in evaluated) / (start_s + sum(one.wall_s for one in evaluated))


def rates(pairs: Sequence[Pair], words: str, start_s: float = 0.0) -> dict[str, object]:
    """Give and print both rates, and their ratio with its interval."""

    def ratio(some: Sequence[Pair]) -> float:
        theirs = per_minute([pair.plain for pair in some])
        return per_minute([pair.judge for pair in some], start_s) / theirs if theirs else float("inf")

    rng = Random(0)
    drawn = sorted(ratio(rng.choices(pairs, k=len(pairs))) for _ in range(N_RESAMPLES))
    low, high = drawn[N_RESAMPLES // 40], drawn[-N_RESAMPLES // 40 - 1]
    ours, theirs = per_minute([pair.judge for pair in pairs], start_s), per_minute([pair.plain for pair in pairs])
    print(
        f"{words:<44} judge {ours:6.2f} a minute, plain harness {theirs:6.2f}; "
        f"ratio {ratio(pairs):.3f} [{low:.3f}, {high:.3f}]"
    )
    return {"judge_per_min": ours, "plain_per_min": theirs, "ratio": ratio(pairs), "low": low, "high": high}


def timed_alike(pair: Pair) -> Pair:
    """Give the pair as if the plain harness had timed as long as the judge did."""
    spared_s = pair.plain.spent_s.get("timing", 0.0) - pair.judge.spent_s["timing"]
    return replace(pair, plain=replace(pair.plain, wall_s=pair.plain.wall_s - spared_s))


def shares(evaluated: Sequence[Evaluated], words: str) -> dict[str, float]:
    """Give and print the mean seconds of an evaluation by what they went into."""
    parts = list(dict.fromkeys(part for one in evaluated for part in one.spent_s))
    spent_s = {part: mean(one.spent_s.get(part, 0.0) for one in evaluated) for part in parts}
    whole_s = sum(spent_s.values())
    told = ", ".join(f"{part} {one_s:.2f} s ({100 * one_s / whole_s:.0f} %)" for part, one_s in spent_s.items())
    logs = [log(one.speedup) for one in evaluated if one.speedup is not None]
    found = f"; mean speed-up found {exp(mean(logs)):.2f}" if logs else ""
    print(f"  {words}: {whole_s:.2f} s an evaluation: {told}{found}")
    return spent_s


def measured(candidates: Sequence[Solution], device: str, home: Path) -> dict[str, object]:
    """Evaluate cold, then warm, and give every figure."""
    judge = open_judge(home / "ours")
    ours, plain = Judged(judge, device), Plain(home / "plain", device, compiler_of(device))
    try:
        start_s = ours.start()
        cold = alternated(candidates, ours, plain, "cold")
        warm = alternated(candidates, ours, plain, "warm")
    finally:
        judge.close()
    gained_s = mean(pair.plain.wall_s - pair.judge.wall_s for pair in cold)
    after = f"made up for after {start_s / gained_s:.1f} cold candidates" if gained_s > 0 else "never made up for"
    print(f"the judge's start: {start_s:.1f} s, {after}")
    found: dict[str, object] = {
        "start_s": start_s,
        "cold": rates(cold, f"cold, the start over {len(candidates)} candidates:", start_s),
        "cold_after_start": rates(cold, "cold, after the start:"),
        "warm": rates(warm, "warm:"),
        "cold_after_start_timed_alike": rates(list(map(timed_alike, cold)), "cold, after the start, timed alike:"),
        "warm_timed_alike": rates(list(map(timed_alike, warm)), "warm, timed alike:"),
    }
    for words, pairs in (("cold", cold), ("warm", warm)):
        found[f"{words}_mean_spent_s"] = {
            "judge": shares([pair.judge for pair in pairs], f"{words}, judge"),
            "plain": shares([pair.plain for pair in pairs], f"{words}, plain harness"),
        }
    return {**found, "pairs": {"cold": [asdict(pair) for pair in cold], "warm": [asdict(pair) for pair in warm]}}


def one_device(named: str) -> str:
    """Take `cpu`, `cuda` or `cuda:N`; a processor's candidates have one thread each."""
    if not re.fullmatch(r"cpu|cuda(:\d+)?", named):
        raise argparse.ArgumentTypeError(f"{named!r} is none of cpu, cuda and cuda:N")
    return named


def main() -> int:
    """Make the candidates, measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", type=one_device, default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--candidates", type=int, default=16)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    candidates = distinct_candidates(options.device, options.candidates)
    before = machine(options.device)
    with tempfile.TemporaryDirectory(prefix="throughput-") as home:
        found = measured(candidates, options.device, Path(home))
    found = {
        "device": options.device,
        "n": len(candidates),
        "before": before,
        "after": machine(options.device),
        **found,
    }
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
