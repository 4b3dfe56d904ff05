"""Evaluates one candidate as many harnesses do: the program that `throughput.py` compares the judge with.

    python benchmarks/plain_harness.py JOB.json

It defends against nothing. The candidate runs in the process that checks and times it, on inputs it could keep, and
the caller believes the line this prints. There are no hidden shapes, red zones, twins, rounds or intervals, and the
library is its eager call alone. That is less work than the judge does, which is to be kept in mind with every figure.

Each candidate costs a new process that imports torch. It compiles the source, unless the object lies there, then for
every workload makes inputs, compares with the reference by `allclose`, and times the candidate and the reference:
20 calls to warm up and 100 that count, of each, in a loop with one clock around it.

It takes float tensors with variable axes, and one output. A job is an object with `definition` and `workloads` (paths of a problem's files), `command` (what compiles the
library), `library`, `function`, `device` (`cpu`, `cuda` or `cuda:N`) and `n_threads`.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

N_WARM_UPS = 20
N_CALLS = 100


class Clock:
    """Sums wall seconds by what they were spent on."""

    def __init__(self) -> None:
        self.spent_s: dict[str, float] = {}
        self._last_s = time.perf_counter()

    def add(self, part: str) -> None:
        """Put what passed since the last call down to a part."""
        now_s = time.perf_counter()
        self.spent_s[part] = self.spent_s.get(part, 0.0) + now_s - self._last_s
        self._last_s = now_s


def time_us(call: Callable[[], object], settle: Callable[[], None]) -> float:
    """Time a call by a loop of them."""
    for _ in range(N_WARM_UPS):
        call()
    settle()
    started_s = time.perf_counter()
    for _ in range(N_CALLS):
        call()
    settle()
    return 1e6 * (time.perf_counter() - started_s) / N_CALLS


def tensors(specs: dict[str, Any], axes: dict[str, int], make: Callable[..., Any], device: str) -> list[Any]:
    """Make a tensor for each declared one."""
    import torch  # noqa: PLC0415

    return [
        make([axes[axis] for axis in spec["shape"]], dtype=getattr(torch, spec["dtype"]), device=device)
        for spec in specs.values()
    ]


def evaluate(job: dict[str, Any], clock: Clock) -> dict[str, Any]:
    """Build, check and time the candidate of a job."""
    import torch  # noqa: PLC0415 - its import is what each candidate pays for
    import tvm_ffi  # noqa: PLC0415

    torch.set_num_threads(job["n_threads"])
    clock.add("import")
    if not Path(job["library"]).exists():
        subprocess.run(job["command"], check=True)
    kernel = getattr(tvm_ffi.load_module(job["library"]), job["function"])
    clock.add("build")
    definition = json.loads(Path(job["definition"]).read_text())
    scope: dict[str, Any] = {}
    exec(definition["reference"], scope)
    reference = scope["run"]
    on_card = job["device"].startswith("cuda")
    settle = torch.cuda.synchronize if on_card else lambda: None
    if on_card:
        # A kernel that names no device runs on the current one.
        torch.cuda.set_device(torch.device(job["device"]).index or 0)
    speedups = []
    for line in Path(job["workloads"]).read_text().splitlines():
        workload = json.loads(line)
        inputs = tensors(definition["inputs"], workload["axes"], torch.randn, job["device"])
        (output,) = tensors(definition["outputs"], workload["axes"], torch.empty, job["device"])
        kernel(*inputs, output)
        tolerance = workload["tolerance"]
        if not torch.allclose(output, reference(*inputs), rtol=tolerance["max_rtol"], atol=tolerance["max_atol"]):
            return {"passed": False, "message": f"{workload['uuid']}: differs from the reference"}
        clock.add("check")
        candidate_us = time_us(partial(kernel, *inputs, output), settle)
        speedups.append(time_us(partial(reference, *inputs), settle) / candidate_us)
        clock.add("timing")
    return {"passed": True, "message": "", "speedups": speedups}


def main() -> None:
    """Evaluate the job named on the command line and print one line of JSON."""
    clock = Clock()
    job = json.loads(Path(sys.argv[1]).read_text())
    found = evaluate(job, clock)
    print(json.dumps({**found, "spent_s": clock.spent_s}))


if __name__ == "__main__":
    main()
