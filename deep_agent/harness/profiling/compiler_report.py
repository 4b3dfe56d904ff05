"""Owns reading what g++ says of a build: `-fopt-info-vec-optimized-missed` and `-fstack-usage`. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

REPORT_FILE: Final = "vectors.txt"
REPORT_FLAGS: Final = (f"-fopt-info-vec-optimized-missed={REPORT_FILE}", "-fstack-usage")
_REMARK: Final = re.compile(r"^(?P<file>[^:\s][^:]*):(?P<line>\d+):\d+: (?P<kind>optimized|missed):\s+(?P<words>.*)$")
_VECTORISED: Final = re.compile(r"loop vectorized using (?P<bytes>\d+) byte vectors")
_STACK: Final = re.compile(r"\t(?P<bytes>\d+)\t\S+$")
_GAVE_UP: Final = "couldn't vectorize loop"


@dataclass(frozen=True, slots=True)
class LoopRemark:
    """What became of one loop."""

    place: str
    """`file:line`."""
    vector_bytes: int
    """Of the vectors it was turned into; 0 when it was not."""
    reason: str
    """Why not, in the compiler's words; empty when it was, or when it gave none."""


def loop_remarks(report: str, sources: Sequence[str]) -> tuple[LoopRemark, ...]:
    """Read one remark a loop of the solution's own files, in the order of its files' lines.

    A loop is often reported several times (as it is, unrolled, as a remainder); the widest vectors count, and a
    failure counts only when nothing succeeded on its line.
    """
    found: dict[str, LoopRemark] = {}
    pending: str | None = None
    for line in report.splitlines():
        remark = _REMARK.match(line)
        if remark is None or remark["file"] not in sources:
            continue
        place = f"{remark['file']}:{remark['line']}"
        if vectorised := _VECTORISED.search(remark["words"]):
            known = found.get(place)
            width = max(int(vectorised["bytes"]), known.vector_bytes if known else 0)
            found[place] = LoopRemark(place, width, "")
        elif remark["words"].startswith(_GAVE_UP):
            pending = place
            found.setdefault(place, LoopRemark(place, 0, ""))
        elif pending is not None and remark["kind"] == "missed":
            known = found[pending]
            if not known.vector_bytes and not known.reason:
                found[pending] = LoopRemark(pending, 0, remark["words"].strip()[:200])
            pending = None
    return tuple(sorted(found.values(), key=lambda one: _by_line(one.place)))


def _by_line(place: str) -> tuple[str, int]:
    file, _, line = place.rpartition(":")
    return file, int(line)


def largest_stack_bytes(reports: Sequence[str]) -> int | None:
    """Read the largest stack frame off the `.su` files; None when they name none."""
    sizes = [int(found["bytes"]) for text in reports for line in text.splitlines() if (found := _STACK.search(line))]
    return max(sizes, default=None)
