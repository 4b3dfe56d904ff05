"""Owns reading `objdump -d -M intel` of an x86-64 object: what its innermost loops are made of. Pure."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

_FUNCTION: Final = re.compile(r"^([0-9a-f]+) <(.+)>:$")
_INSTRUCTION: Final = re.compile(r"^\s+([0-9a-f]+):\t(\S+)\s*(.*)$")
_JUMP_TARGET: Final = re.compile(r"^([0-9a-f]+) <")
_ARITHMETIC: Final = re.compile(
    r"^v?(?:add|sub|mul|div|min|max|sqrt|rsqrt14|rcp14|fn?m(?:add|sub)(?:132|213|231)|fmaddsub\d+|fmsubadd\d+)(?P<kind>[ps][sdh])$"
)
_STACK: Final = re.compile(r"\[(?:rsp|rbp)(?:[+-]|\])")
_STARTUP: Final = frozenset(
    {"_init", "_fini", "deregister_tm_clones", "register_tm_clones", "__do_global_dtors_aux", "frame_dummy"}
)
"""What every object holds, whatever its sources."""
_REGISTER_BITS: Final = {"zmm": 512, "ymm": 256, "xmm": 128}


@dataclass(frozen=True, slots=True)
class Instruction:
    """One line of a disassembly."""

    address: int
    mnemonic: str
    operands: str


@dataclass(frozen=True, slots=True)
class InstructionMix:
    """Counts over the innermost loops of an object; a loop is a jump back within its function."""

    n_loops: int
    n_instructions: int
    n_packed: int
    """Floating-point arithmetic on whole vectors."""
    n_scalar: int
    """Floating-point arithmetic on single elements."""
    n_stack_moves: int
    """Moves to and from the stack: values that did not fit in registers."""
    n_gathers: int
    n_calls: int
    vector_bits: int
    """Widest register of any packed arithmetic; 0 without."""

    @property
    def packed_share(self) -> float | None:
        """Share of floating-point arithmetic that works on whole vectors; None without any."""
        n_arithmetic = self.n_packed + self.n_scalar
        return self.n_packed / n_arithmetic if n_arithmetic else None


def instruction_mix(disassembly: str) -> InstructionMix:
    """Count what the innermost loops are made of."""
    loops = [loop for body in _functions(disassembly) for loop in innermost_loops(body)]
    instructions = [one for loop in loops for one in loop]
    arithmetic = [(one, found) for one in instructions if (found := _ARITHMETIC.match(one.mnemonic))]
    packed = [one for one, found in arithmetic if found["kind"].startswith("p")]
    return InstructionMix(
        n_loops=len(loops),
        n_instructions=len(instructions),
        n_packed=len(packed),
        n_scalar=len(arithmetic) - len(packed),
        n_stack_moves=sum("mov" in one.mnemonic and bool(_STACK.search(one.operands)) for one in instructions),
        n_gathers=sum("gather" in one.mnemonic for one in instructions),
        n_calls=sum(one.mnemonic == "call" for one in instructions),
        vector_bits=max((_bits(one.operands) for one in packed), default=0),
    )


def innermost_loops(body: Sequence[Instruction]) -> list[list[Instruction]]:
    """Find the loops of one function that hold no other loop."""
    if not body:
        return []
    first = body[0].address
    ranges = sorted(
        {
            (target, one.address)
            for one in body
            if one.mnemonic.startswith("j")
            and (target := _target(one.operands)) is not None
            and first <= target <= one.address
        }
    )
    innermost = [
        (low, high)
        for low, high in ranges
        if not any((low, high) != other and low <= other[0] and other[1] <= high for other in ranges)
    ]
    return [[one for one in body if low <= one.address <= high] for low, high in innermost]


def _functions(disassembly: str) -> Iterator[list[Instruction]]:
    name, body = "", list[Instruction]()
    for line in disassembly.splitlines():
        if started := _FUNCTION.match(line):
            yield body
            name, body = started[2], []
        elif (found := _INSTRUCTION.match(line)) and name not in _STARTUP and not name.endswith("@plt"):
            body.append(Instruction(int(found[1], 16), found[2], found[3].partition("#")[0].strip()))
    yield body


def _target(operands: str) -> int | None:
    found = _JUMP_TARGET.match(operands)
    return int(found[1], 16) if found else None


def _bits(operands: str) -> int:
    return max((bits for register, bits in _REGISTER_BITS.items() if register in operands), default=0)
