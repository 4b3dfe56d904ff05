"""Measures what a CUDA card reaches: rates of memory and of matrix products. `python benchmarks/card_probe.py [N]`.

Prints one JSON object: bytes a second by kind of access, multiply-adds a second by operand type. Each is the best of
many repetitions by events of the device, on buffers far above its cache. A ceiling by example, never a proof. Clocks
are left as they are. Loads torch, and makes a context that ends with this process.
"""

import json
import sys
from collections.abc import Callable
from typing import Final

import torch

BUFFER_BYTES: Final = 4 * 2**30
REPETITIONS: Final = 20
PRODUCT_SIZES: Final = (4096, 8192)
PRODUCT_TYPES: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def best_s(work: Callable[[], object]) -> float:
    """Give the least time of REPETITIONS calls in seconds, after three to warm up."""
    for _ in range(3):
        work()
    best_ms = float("inf")
    for _ in range(REPETITIONS):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        work()
        end.record()
        end.synchronize()
        best_ms = min(best_ms, begin.elapsed_time(end))
    return best_ms * 1e-3


def memory_rates() -> dict[str, float]:
    """Read, copy, triad and write, in bytes a second; copies and triads count what they read and what they write."""
    a, b, c = (torch.randn(BUFFER_BYTES // 4, device="cuda") for _ in range(3))
    return {
        "read": BUFFER_BYTES / best_s(a.sum),
        "copy": 2 * BUFFER_BYTES / best_s(lambda: a.copy_(b)),
        "triad": 3 * BUFFER_BYTES / best_s(lambda: torch.add(b, c, alpha=1.5, out=a)),
        "write": BUFFER_BYTES / best_s(lambda: a.fill_(1.0)),
    }


def product_rates() -> dict[str, float]:
    """Multiply-adds a second of square products on normal data; float32 through the tensor cores, as tf32."""
    torch.set_float32_matmul_precision("high")
    rates = {}
    for name, dtype in PRODUCT_TYPES.items():
        reached = []
        for size in PRODUCT_SIZES:
            left, right = (torch.randn(size, size, device="cuda", dtype=dtype) for _ in range(2))
            out = torch.empty_like(left)
            reached.append(size**3 / best_s(lambda x=left, y=right, z=out: torch.mm(x, y, out=z)))
        rates[name] = max(reached)
    return rates


if __name__ == "__main__":
    torch.cuda.set_device(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    print(json.dumps({"memory": memory_rates(), "products": product_rates()}))
