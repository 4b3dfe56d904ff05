"""Owns reading what a CUDA build takes: `cuobjdump --dump-resource-usage` and `nvcc -Xptxas -v`. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from deep_agent.problem.profile import Figure

PTXAS_FLAGS: Final = ("-Xptxas", "-v")
_FUNCTION: Final = re.compile(r"^\s*Function (?P<name>\S+):\s*$")
_USAGE: Final = re.compile(r"\b(?P<key>REG|STACK|SHARED|LOCAL):(?P<value>\d+)")
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
    spill_bytes: int | None = None
    """Stores and loads of registers that did not fit, as the assembler counts them; None where it did not say."""


def parse_resource_usage(text: str) -> tuple[CudaResources, ...]:
    """Read `cuobjdump --dump-resource-usage`: a function's name, then its figures on the next line."""
    found, name = [], ""
    for line in text.splitlines():
        if started := _FUNCTION.match(line):
            name = started["name"]
            continue
        used = {one["key"]: int(one["value"]) for one in _USAGE.finditer(line)}
        if name and "REG" in used:
            found.append(CudaResources(name, used["REG"], used.get("STACK", 0), used.get("SHARED", 0)))
            name = ""
    return tuple(found)


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
    spills = [one.spill_bytes for one in resources if one.spill_bytes is not None]
    return (
        Figure(name="registers a thread", value=max(one.registers for one in resources), unit=""),
        Figure(name="stack a thread", value=max(one.stack_bytes for one in resources), unit="bytes"),
        Figure(name="static shared memory a block", value=max(one.shared_bytes for one in resources), unit="bytes"),
        *([Figure(name="spilled", value=max(spills), unit="bytes")] if spills else []),
    )
