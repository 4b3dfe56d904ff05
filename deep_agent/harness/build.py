"""Builds native solutions, content-addressed, failures cached too. Starts compilers; never holds a device.

A build's identity is the solution's hash (sources, paths, entry, language, binding, calling style, flags, target)
with the fixed flags and everything of this machine that shapes an object, so equal sources are compiled once and a
checked object is, byte for byte, the one that is timed. A failure is kept only when the sources are to blame.
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
from deep_agent.harness.machinecode import machine_code_hash
from deep_agent.problem.solution import Language, Solution

BUILD_TIMEOUT_S: Final = 120.0
COMPILER: Final = "g++"
FLAGS: Final = ("-O3", "-march=native", "-std=c++17", "-fPIC", "-shared", "-fopenmp")
ALLOWED_FLAGS: Final = frozenset(
    {"-O1", "-O2", "-O3", "-Ofast", "-ffast-math", "-funroll-loops", "-fno-math-errno", "-fopenmp"}
)
"""Extra flags a solution may ask for; none of them reads files or runs programs."""
NATIVE_PREFIX: Final = "__tvm_ffi_"
"""What the calling convention puts before an entry's name."""
_DIAGNOSTICS_CHARS: Final = 8000
_HINDRANCES: Final = (
    "fatal error: Killed signal",
    "No space left on device",
    "Cannot allocate memory",
    "out of memory",
)
"""What a compiler says when the machine, not the source, stopped it."""
_CXX_SUFFIXES: Final = {".cpp", ".cc", ".cxx", ".c"}


@dataclass(frozen=True, slots=True)
class Built:
    """A shared object, ready to load."""

    artefact: bytes
    artefact_hash: str
    """SHA-256 of the object's bytes."""
    machine_code_hash: str
    """Fingerprint without names and paths: equal ones compute the same, whatever their sources look like."""
    from_cache: bool


@dataclass(frozen=True, slots=True)
class NotBuilt:
    """Why there is none: the compiler's words, a refused flag or an absent toolchain."""

    diagnostics: str
    is_final: bool = True
    """Whether the same sources fail again; a deadline or a killed compiler says nothing about them."""


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
        key = build_key(solution)
        folder = self._cache / key[:2]
        done, failed = folder / f"{key}.so", folder / f"{key}.err"
        if done.exists():
            return _built(solution, done.read_bytes(), from_cache=True)
        if failed.exists():
            return NotBuilt(failed.read_text())
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as staging:
            outcome = _compile(solution, Path(staging))
            if isinstance(outcome, NotBuilt) and not outcome.is_final:
                return outcome
            kept = Path(staging) / ("kept.so" if isinstance(outcome, Built) else "kept.err")
            kept.write_bytes(outcome.artefact if isinstance(outcome, Built) else outcome.diagnostics.encode())
            kept.replace(done if isinstance(outcome, Built) else failed)
        return outcome


def build_key(solution: Solution) -> str:
    """Name a build: SHA-256 over the solution and all that shapes its object on this machine."""
    parts = (solution.content_hash, *FLAGS, compiler_version(), compiler_target(), headers_hash())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@lru_cache(maxsize=1)
def compiler_target() -> str:
    """Spell out what `-march=native` means here, so that a cache on a shared disk serves each machine its own."""
    command = [COMPILER, *FLAGS[:2], "-Q", "--help=target"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout


@lru_cache(maxsize=1)
def headers_hash() -> str:
    """Hash the headers that solutions are compiled with, and name the C library."""
    digest = hashlib.sha256((os.confstr("CS_GNU_LIBC_VERSION") or "").encode())
    for folder in _include_folders():
        for header in sorted(Path(folder).rglob("*.h")):
            digest.update(str(header.relative_to(folder)).encode() + b"\0" + header.read_bytes())
    return digest.hexdigest()


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
        return f"{', '.join(spec.languages)} is not built with {COMPILER}."
    if spec.binding == "torch":
        return "spec.binding `torch` is not built on a CPU device; export a TVM-FFI function and set `tvm-ffi`."
    options = spec.compile_options
    asked = () if options is None else (*options.cflags, *(flag for flag in options.ld_flags if flag != "-lcuda"))
    denied = [flag for flag in asked if flag not in ALLOWED_FLAGS]
    return f"spec.compile_options: {denied} are not allowed; choose from {sorted(ALLOWED_FLAGS)}." if denied else ""


def _include_folders() -> tuple[str, ...]:
    return (tvm_ffi.libinfo.find_include_path(), tvm_ffi.libinfo.find_dlpack_include_path())


def _compile(solution: Solution, staging: Path) -> Built | NotBuilt:
    made = compile_in(solution, staging)
    return made if isinstance(made, NotBuilt) else _built(solution, made, from_cache=False)


def compile_in(solution: Solution, staging: Path, extra_flags: tuple[str, ...] = ()) -> bytes | NotBuilt:
    """Compile a solution in a folder of its own and give the object; reports of extra flags stay in the folder.

    Raises:
        MissingTool: there is no g++.
    """
    refused = _refused(solution)
    if refused:
        return NotBuilt(refused)
    compiler_version()
    for source in solution.sources:
        target = staging / "src" / source.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(source.content)
    units = [source.path for source in solution.sources if Path(source.path).suffix in _CXX_SUFFIXES]
    options = solution.spec.compile_options
    command = [COMPILER, *FLAGS, *(() if options is None else options.cflags), *extra_flags]
    command += [f"-isystem{folder}" for folder in _include_folders()]
    command += ["-I.", *units, "-o", "../solution.so"]
    # A compiler is fed hostile text: it runs in a group of its own, with an empty environment and a deadline.
    with subprocess.Popen(
        command,
        cwd=staging / "src",
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C", "TMPDIR": str(staging)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        try:
            said, _ = process.communicate(timeout=BUILD_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return NotBuilt(f"{COMPILER} took longer than {BUILD_TIMEOUT_S:.0f} s and was stopped.", is_final=False)
    if process.returncode != 0:
        words = said.decode(errors="replace").replace(str(staging), "")[:_DIAGNOSTICS_CHARS]
        return NotBuilt(words, is_final=not _was_hindered(process.returncode, words))
    return (staging / "solution.so").read_bytes()


def _built(solution: Solution, artefact: bytes, *, from_cache: bool) -> Built:
    code = machine_code_hash(artefact, NATIVE_PREFIX + solution.spec.entry_function)
    return Built(artefact, hashlib.sha256(artefact).hexdigest(), code, from_cache)


def _was_hindered(returncode: int, words: str) -> bool:
    """Whether the machine stopped the compiler: it was killed, or memory or disk ran out."""
    return returncode < 0 or any(sign in words for sign in _HINDRANCES)
