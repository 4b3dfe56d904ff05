"""Writes docs/problems.md from the problems themselves: work, bytes and what bounds each.

Run `python benchmarks/problem_table.py` after a change of `problems/`; a test fails until then.
"""

from pathlib import Path

from deep_agent.problem.bound import Work
from deep_agent.problem.definition import Definition, TensorSpec
from deep_agent.problem.problem import Problem
from deep_agent.problem.readers import problem_directories, read_problem
from deep_agent.sol.counting import count
from deep_agent.sol.tracing import trace_reference

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "problems.md"
CORE_MACS_PER_BYTE = 4.0
"""Multiply-adds a core does while one byte arrives: 16 a cycle at 3 GHz, beside 12 GB/s."""

_INTRODUCTION = """\
# Problems

Sixteen operations that models spend their time in, each a folder under `problems/` with a PyTorch reference and two sets
of sizes: `workload.cpu.jsonl` for a laptop, `workload.jsonl` for a data-centre GPU. Every set has one workload whose sizes
are multiples of nothing. References hold at any positive size of their `var` axes, so that a judge can try sizes nobody saw.

This page is written by `python benchmarks/problem_table.py` from the traced references; do not edit it.

## What each computes

"""
_WORK = f"""
## Work at laptop sizes

Counts are those of the first laptop workload. Bytes are what must cross memory, however the work is done: each input
element that is needed once, each output once. Intensity is arithmetic (two operations a multiply-add) over those bytes.
Above {CORE_MACS_PER_BYTE:.0f} multiply-adds a byte, a processor core is busy longer than its memory; `exp` and its kin count as one
operation each, and can still keep one core busier than its memory.

"""
_CLOSING = """
Bounds in microseconds depend on the machine: `deep-agent bound problems/softmax --device cpu` measures this machine once
and prints them.

## Choices

- The normalisations, `softmax`, `swiglu`, `layernorm_backward`, `gelu_bias` and the convolution are float32, where one
  processor thread can reach the speed of its memory. `rmsnorm_backward`, `rope`, `cross_entropy` and
  `int8_block_quantize` are bfloat16 with float32 arithmetic inside, as models have them. Matrix products and attention are
  float32: bfloat16 products on a processor say more about its instruction set than about a kernel.
- Tolerances leave room for another order of sums and a fast `exp`, not for a narrower type: 1e-5 to 1e-4 in float32,
  where PyTorch's own rounding takes a few hundredths of that, and 1e-2 after one rounding to bfloat16. Every element must
  match. Only `int8_block_quantize` allows one element in a hundred to differ by one step, because a value midway between
  two steps may go either way. `argmax` is exact; of equal entries the first wins.
- `layernorm_backward` takes 1e-3 (5e-3 at GPU sizes) because its weight gradients are sums over thousands of rows of
  either sign, whose rounding depends on the order.
"""


def render() -> str:
    """Give the page's text; traces every reference once for each laptop workload."""
    problems = [read_problem(directory, "cpu", strict=True) for directory in problem_directories(ROOT / "problems")]
    described = [_row("problem", "computes", "inputs", "outputs"), _rule(4)]
    described += [_row(f"`{p.name}`", *_described(p.definition)) for p in problems]
    counted = [_row("problem", "first sizes", "MAC", "other FLOP", "exp etc.", "MB moved", "FLOP a byte", "bound by")]
    counted += [_rule(8), *(_row(f"`{p.name}`", *_counted(p)) for p in problems)]
    return _INTRODUCTION + "\n".join(described) + "\n" + _WORK + "\n".join(counted) + "\n" + _CLOSING


def _described(definition: Definition) -> tuple[str, str, str]:
    inputs = ", ".join(_tensor(name, spec) for name, spec in definition.inputs.items())
    outputs = ", ".join(_tensor(name, spec) for name, spec in definition.outputs.items())
    return (definition.description or "").split(" Tolerance:")[0], inputs, outputs


def _tensor(name: str, spec: TensorSpec) -> str:
    return f"{name} ({', '.join(spec.shape or ())}) {spec.dtype.value}"


def _counted(problem: Problem) -> tuple[str, ...]:
    works = [count(trace_reference(problem, workload)) for workload in problem.workloads]
    first = works[0]
    macs = sum(first.macs.values())
    flop = 2 * macs + first.other_flop + first.special_flop
    return (
        ", ".join(f"{name} {size}" for name, size in problem.workloads[0].axes.items()),
        _short(macs),
        _short(first.other_flop),
        _short(first.special_flop),
        " / ".join(f"{work.moved_bytes / 1e6:.0f}" for work in works),
        _short(flop / first.moved_bytes),
        _limiter(first),
    )


def _limiter(work: Work) -> str:
    return "compute" if sum(work.macs.values()) > CORE_MACS_PER_BYTE * work.moved_bytes else "memory"


def _short(number: float) -> str:
    if number == 0:
        return "0"
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.0f}" if number >= 10 else f"{number:.2g}"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _rule(n_columns: int) -> str:
    return "|" + "---|" * n_columns


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
    print(f"wrote {PAGE}")
