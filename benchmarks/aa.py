"""Judges copies of the library's own call: how often does the judge call equals faster? `python benchmarks/aa.py`.

Each copy is the baseline's own source, handed in as a candidate and judged by the gate's protocol in a fresh,
confined process. A judge that calls more than a few of them faster cannot be believed about anything else.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from deep_agent.bootstrap import open_judge
from deep_agent.problem.evaluation import Baseline, Evaluation, EvaluationRequest
from deep_agent.problem.solution import Solution

ROOT = Path(__file__).resolve().parents[1]
PROBLEMS = ("rmsnorm", "softmax", "swiglu", "add_rmsnorm", "layernorm_backward")


def best_solution(baselines: Sequence[Baseline]) -> Solution:
    """Give the fastest baseline's call, by the sum over workloads."""
    running = [one for one in baselines if one.solution is not None and one.time_us]
    fastest = min(running, key=lambda one: sum(one.time_us.values()))
    assert fastest.solution is not None
    return fastest.solution


def line(number: int, problem: str, found: Evaluation) -> str:
    """Word one verdict."""
    speedup, noise = found.speedup, found.noise
    if speedup is None or noise is None:
        return f"{number:3} {problem:20} {found.status}: {found.message}"
    called = "FASTER" if found.is_faster else "not faster"
    return (
        f"{number:3} {problem:20} {called:10} {speedup.value:.3f} [{speedup.low:.3f}, {speedup.high:.3f}]  "
        f"A/A {noise.value:.3f} [{noise.low:.3f}, {noise.high:.3f}]"
    )


def main() -> None:
    """Judge the copies and count."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--copies", type=int, default=50)
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="deep-agent-aa-") as home:
        judge = open_judge(Path(home))
        faster = above_one = judged = 0
        try:
            sources = {
                name: best_solution(judge.characterize(str(ROOT / "problems" / name), "cpu").baselines)
                for name in PROBLEMS
            }
            for number in range(given.copies):
                problem = PROBLEMS[number % len(PROBLEMS)]
                request = EvaluationRequest(
                    problem_dir=str(ROOT / "problems" / problem),
                    solution=sources[problem],
                    device="cpu",
                )
                found = judge.evaluate(request)
                print(line(number + 1, problem, found), flush=True)
                judged += found.passed
                faster += found.is_faster
                above_one += found.speedup is not None and found.speedup.is_faster
        finally:
            judge.close()
    print(f"{judged} of {given.copies} judged, {faster} called faster ({above_one} have an interval above 1 alone)")


if __name__ == "__main__":
    main()
