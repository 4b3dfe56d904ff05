"""Owns reading what a CUDA build takes, as `nvcc -Xptxas -v` tells it. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from deep_agent.problem.profile import Figure

PTXAS_FLAGS: Final = ("-Xptxas", "-v")
_ENTRY: Final = re.compile(r"Compiling entry function '(?P<name>[^']+)' for '(?P<arch>[^']+)'")
_SPILLS: Final = re.compile(
    r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads"
)
_USED: Final = re.compile(r"Used (?P<registers>\d+) registers(?:.*?, (?P<shared>\d+) bytes smem)?")


@dataclass(frozen=True, slots=True)
class CudaResources:
    """What one GPU function takes."""

    name: str
    """Mangled."""
    registers: int
    """A thread."""
    stack_bytes: int
    """A thread."""
    shared_bytes: int
    """Static, a block."""
    spill_bytes: int
    """Stores and loads of registers that did not fit, as the assembler counts them."""


def parse_ptxas(text: str) -> tuple[CudaResources, ...]:
    """Read `ptxas info` lines: an entry function, its spills, then its registers and shared memory."""
    found, name, stack_bytes, spill_bytes = [], "", 0, 0
    for line in text.splitlines():
        if started := _ENTRY.search(line):
            name, stack_bytes, spill_bytes = started["name"], 0, 0
        elif spilled := _SPILLS.search(line):
            stack_bytes, spill_bytes = int(spilled["stack"]), int(spilled["stores"]) + int(spilled["loads"])
        elif name and (used := _USED.search(line)):
            shared_bytes = int(used["shared"] or 0)
            found.append(CudaResources(name, int(used["registers"]), stack_bytes, shared_bytes, spill_bytes))
            name = ""
    return tuple(found)


def cuda_resource_figures(resources: Sequence[CudaResources]) -> tuple[Figure, ...]:
    """Give the most any function of a build takes, figure by figure; empty without functions."""
    if not resources:
        return ()
    return (
        Figure(name="registers a thread", value=max(one.registers for one in resources), unit=""),
        Figure(name="stack a thread", value=max(one.stack_bytes for one in resources), unit="bytes"),
        Figure(name="static shared memory a block", value=max(one.shared_bytes for one in resources), unit="bytes"),
        Figure(name="spilled", value=max(one.spill_bytes for one in resources), unit="bytes"),
    )
