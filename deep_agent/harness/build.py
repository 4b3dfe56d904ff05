"""Builds native solutions, content-addressed, failures cached too. Starts compilers; never holds a device.

A build's identity is the solution's hash with the compiler's version and the fixed flags, so equal sources
are compiled once and a checked object is, byte for byte, the one that is timed.
"""

import hashlib
import os
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deep_agent.harness.compilers import PROGRAMS, Compiler, Gxx, Nvcc
from deep_agent.problem.solution import Solution

BUILD_TIMEOUT_S: Final = 120.0
_DIAGNOSTICS_CHARS: Final = 8000


@dataclass(frozen=True, slots=True)
class Built:
    """A shared object, ready to load."""

    artefact: bytes
    artefact_hash: str
    """SHA-256 of the object: equal ones compute the same."""
    from_cache: bool


@dataclass(frozen=True, slots=True)
class NotBuilt:
    """Why there is none: the compiler's words or a refused flag."""

    diagnostics: str


class Builder:
    """Compiles into a cache folder; safe to use from several threads and processes."""

    def __init__(self, cache: Path) -> None:
        """Keep the folder; it is made at the first build."""
        self._cache = cache

    def build(self, solution: Solution, target: str | None = None) -> Built | NotBuilt:
        """Compile a native solution, or answer from the cache.

        Args:
            solution: `cpp` for this processor, `cuda_cpp` and its kin for a CUDA device.
            target: architecture of the CUDA device, such as `90`; None for this processor.

        Raises:
            MissingTool: the compiler is absent.
        """
        compiler = Gxx() if target is None else Nvcc(target)
        refused = compiler.refuses(solution.spec)
        if refused:
            return NotBuilt(refused)
        identity = (solution.content_hash, compiler.version(), *compiler.flags(solution.spec))
        key = hashlib.sha256("\0".join(identity).encode()).hexdigest()
        folder = self._cache / key[:2]
        done, failed = folder / f"{key}.so", folder / f"{key}.err"
        if done.exists():
            artefact = done.read_bytes()
            return Built(artefact, hashlib.sha256(artefact).hexdigest(), from_cache=True)
        if failed.exists():
            return NotBuilt(failed.read_text())
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as staging:
            outcome = _compile(solution, compiler, Path(staging))
            kept = Path(staging) / ("kept.so" if isinstance(outcome, Built) else "kept.err")
            kept.write_bytes(outcome.artefact if isinstance(outcome, Built) else outcome.diagnostics.encode())
            kept.replace(done if isinstance(outcome, Built) else failed)
        return outcome


def _compile(solution: Solution, compiler: Compiler, staging: Path) -> Built | NotBuilt:
    for source in solution.sources:
        target = staging / "src" / source.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(source.content)
    units = [source.path for source in solution.sources if Path(source.path).suffix in compiler.suffixes]
    command = [
        *compiler.flags(solution.spec),
        "-I.",
        *units,
        "-o",
        "../solution.so",
        *compiler.libraries(solution.spec),
    ]
    # A compiler is fed hostile text: it runs in a group of its own, with an empty environment and a deadline.
    with subprocess.Popen(
        command,
        cwd=staging / "src",
        env={"PATH": PROGRAMS, "LANG": "C", "TMPDIR": str(staging)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        try:
            said, _ = process.communicate(timeout=BUILD_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return NotBuilt(f"{command[0]} took longer than {BUILD_TIMEOUT_S:.0f} s and was stopped.")
    if process.returncode != 0:
        return NotBuilt(said.decode(errors="replace").replace(str(staging), "")[:_DIAGNOSTICS_CHARS])
    artefact = (staging / "solution.so").read_bytes()
    return Built(artefact, hashlib.sha256(artefact).hexdigest(), from_cache=False)
