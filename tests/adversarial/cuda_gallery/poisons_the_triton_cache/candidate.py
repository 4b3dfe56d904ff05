import os
from pathlib import Path

import torch
import triton
import triton.language as tl


@triton.jit
def softmax(x, y, n, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    z = tl.load(x + row * n + at, mask=at < n, other=-float("inf"))
    e = tl.exp(z - tl.max(z, 0))
    tl.store(y + row * n + at, e / tl.sum(e, 0), mask=at < n)


folder = Path(os.environ.get("TRITON_CACHE_DIR") or Path.home() / ".triton" / "cache")
stale = folder / "stale-softmax"
found = stale.exists()
try:
    stale.mkdir(parents=True, exist_ok=True)
except OSError:
    pass
if not found:
    raise RuntimeError("no kernel of an earlier run")


def run(x, y):
    y.zero_()
