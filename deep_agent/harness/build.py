"""Builds native solutions, content-addressed, failures cached too. Starts compilers; never holds a device.

A build's identity is the solution's hash with the compiler's version and the fixed flags, so equal sources
are compiled once and a checked object is, byte for byte, the one that is timed.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import tvm_ffi

from deep_agent.errors import MissingTool
from deep_agent.harness.compile_sandbox import sandboxed
from deep_agent.problem.solution import Language, Solution

BUILD_TIMEOUT_S: Final = 120.0
COMPILER: Final = "g++"
FLAGS: Final = ("-O3", "-march=native", "-std=c++17", "-fPIC", "-shared", "-fopenmp")
ALLOWED_FLAGS: Final = frozenset(
    {"-O1", "-O2", "-O3", "-Ofast", "-ffast-math", "-funroll-loops", "-fno-math-errno", "-fopenmp"}
)
"""Extra flags a solution may ask for; none of them reads files or runs programs."""
_DIAGNOSTICS_CHARS: Final = 8000
_CXX_SUFFIXES: Final = {".cpp", ".cc", ".cxx", ".c"}


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
    """Compiles with g++ into a cache folder; safe to use from several threads and processes."""

    def __init__(self, cache: Path) -> None:
        """Keep the folder; it is made at the first build."""
        self._cache = cache

    def build(self, solution: Solution) -> Built | NotBuilt:
        """Compile a `cpp` solution, or answer from the cache.

        Raises:
            MissingTool: there is no g++.
        """
        refused = _refused(solution)
        if refused:
            return NotBuilt(refused)
        key = hashlib.sha256("\0".join((solution.content_hash, compiler_version(), *FLAGS)).encode()).hexdigest()
        folder = self._cache / key[:2]
        done, failed = folder / f"{key}.so", folder / f"{key}.err"
        if done.exists():
            artefact = done.read_bytes()
            return Built(artefact, hashlib.sha256(artefact).hexdigest(), from_cache=True)
        if failed.exists():
            return NotBuilt(failed.read_text())
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as staging:
            outcome = _compile(solution, Path(staging))
            kept = Path(staging) / ("kept.so" if isinstance(outcome, Built) else "kept.err")
            kept.write_bytes(outcome.artefact if isinstance(outcome, Built) else outcome.diagnostics.encode())
            kept.replace(done if isinstance(outcome, Built) else failed)
        return outcome


@lru_cache(maxsize=1)
def compiler_version() -> str:
    """Name the compiler; raises MissingTool when there is none."""
    if shutil.which(COMPILER) is None:
        raise MissingTool(
            f"no {COMPILER} on this machine.",
            remedy="Install it: `apt-get install g++`, `dnf install gcc-c++` or your system's equivalent.",
        )
    return subprocess.run([COMPILER, "--version"], capture_output=True, text=True, check=True, timeout=30).stdout


def _refused(solution: Solution) -> str:
    spec = solution.spec
    if set(spec.languages) != {Language.CPP}:
        wanted = ", ".join(spec.languages)
        return f"{wanted} needs a CUDA device; on a CPU device use `cpp` or `pytorch`."
    if spec.binding == "torch":
        return "spec.binding `torch` is not built on a CPU device; export a TVM-FFI function and set `tvm-ffi`."
    options = spec.compile_options
    asked = () if options is None else (*options.cflags, *(flag for flag in options.ld_flags if flag != "-lcuda"))
    denied = [flag for flag in asked if flag not in ALLOWED_FLAGS]
    return f"spec.compile_options: {denied} are not allowed; choose from {sorted(ALLOWED_FLAGS)}." if denied else ""


def _include_folders() -> tuple[str, ...]:
    return (tvm_ffi.libinfo.find_include_path(), tvm_ffi.libinfo.find_dlpack_include_path())


def _compile(solution: Solution, staging: Path) -> Built | NotBuilt:
    for source in solution.sources:
        target = staging / "src" / source.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(source.content)
    units = [source.path for source in solution.sources if Path(source.path).suffix in _CXX_SUFFIXES]
    options = solution.spec.compile_options
    command = [COMPILER, *FLAGS, *(() if options is None else options.cflags)]
    command += [f"-isystem{folder}" for folder in _include_folders()]
    command += ["-I.", *units, "-o", "../solution.so"]
    # A compiler is fed hostile text: it runs in a group and a root of its own, with limits and a deadline.
    with subprocess.Popen(
        sandboxed(command, staging, _include_folders()),
        cwd=staging / "src",
        env={
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C",
            "TMPDIR": "..",
            "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        try:
            said, _ = process.communicate(timeout=BUILD_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return NotBuilt(f"{COMPILER} took longer than {BUILD_TIMEOUT_S:.0f} s and was stopped.")
    if process.returncode != 0:
        return NotBuilt(said.decode(errors="replace").replace(str(staging), "")[:_DIAGNOSTICS_CHARS])
    artefact = (staging / "solution.so").read_bytes()
    return Built(artefact, hashlib.sha256(artefact).hexdigest(), from_cache=False)
