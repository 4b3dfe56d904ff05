"""Builds native solutions, content-addressed, failures cached too. Starts compilers; never holds a device.

A build's identity is the solution's hash (sources, paths, entry, language, binding, calling style, flags, target)
with the whole command line and everything of this machine that shapes an object, so equal sources are compiled once
and a checked object is, byte for byte, the one that is timed. A failure is kept only when the sources are to blame.
"""

import hashlib
import os
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deep_agent.errors import HarnessFailed
from deep_agent.harness.builds.compile_sandbox import BROKEN, sandboxed
from deep_agent.harness.builds.compilers import Compiler, Gxx, Nvcc, limits, readable_folders
from deep_agent.harness.builds.machinecode import defines, machine_code_hash
from deep_agent.harness.builds.torch_extension import INIT_SYMBOL, NO_MODULE
from deep_agent.harness.folders import PROGRAM_PATH
from deep_agent.problem.solution import Solution

NATIVE_PREFIX: Final = "__tvm_ffi_"
"""What the calling convention puts before an entry's name."""
WORDS_FILE: Final = "words.txt"
"""What a compiler printed, beside the object."""
_DIAGNOSTICS_CHARS: Final = 8000
_HINDRANCES: Final = (
    "fatal error: Killed signal",
    "No space left on device",
    "Cannot allocate memory",
    "out of memory",
)
"""What a compiler says when the machine, not the source, stopped it."""


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
        key = build_key(solution, compiler)
        folder = self._cache / key[:2]
        done, failed = folder / f"{key}.so", folder / f"{key}.err"
        if done.exists():
            return _built(solution, done.read_bytes(), from_cache=True)
        if failed.exists():
            return NotBuilt(failed.read_text())
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as staging:
            outcome = _compile(solution, compiler, Path(staging))
            if isinstance(outcome, NotBuilt) and not outcome.is_final:
                return outcome
            kept = Path(staging) / ("kept.so" if isinstance(outcome, Built) else "kept.err")
            kept.write_bytes(outcome.artefact if isinstance(outcome, Built) else outcome.diagnostics.encode())
            kept.replace(done if isinstance(outcome, Built) else failed)
        return outcome


def build_key(solution: Solution, compiler: Compiler) -> str:
    """Name a build: SHA-256 over the solution and all that shapes its object on this machine."""
    spec = solution.spec
    parts = (solution.content_hash, *compiler.flags(spec), *compiler.libraries(spec), *compiler.surroundings(spec))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _compile(solution: Solution, compiler: Compiler, staging: Path) -> Built | NotBuilt:
    made = compile_in(solution, compiler, staging)
    if isinstance(made, NotBuilt):
        return made
    if solution.spec.binding == "torch" and not defines(made, INIT_SYMBOL):
        return NotBuilt(NO_MODULE)
    return _built(solution, made, from_cache=False)


def _built(solution: Solution, artefact: bytes, *, from_cache: bool) -> Built:
    entry = solution.spec.entry_function
    if solution.spec.binding == "torch":
        # Which function of the module is called is no symbol's place; its name has to stand for it.
        code = hashlib.sha256(f"{machine_code_hash(artefact, INIT_SYMBOL)} {entry}".encode()).hexdigest()
    else:
        code = machine_code_hash(artefact, NATIVE_PREFIX + entry)
    return Built(artefact, hashlib.sha256(artefact).hexdigest(), code, from_cache)


def compile_in(
    solution: Solution, compiler: Compiler, staging: Path, extra_flags: tuple[str, ...] = ()
) -> bytes | NotBuilt:
    """Compile a solution in a folder of its own and give the object; what extra flags have reported stays in the folder.

    What the compiler said stands in WORDS_FILE there, wherever it made an object.

    Raises:
        MissingTool: the compiler is absent.
        HarnessFailed: its sandbox cannot be set up.
    """
    refused = compiler.refuses(solution.spec)
    if refused:
        return NotBuilt(refused)
    compiler.version()
    for source in solution.sources:
        target = staging / "src" / source.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(source.content)
    units = [source.path for source in solution.sources if Path(source.path).suffix in compiler.suffixes]
    command = [
        *compiler.flags(solution.spec),
        *extra_flags,
        "-I.",
        *units,
        "-o",
        "../solution.so",
        *compiler.libraries(solution.spec),
    ]
    allowed = limits(solution.spec)
    # A compiler is fed hostile text: it runs in a group and a root of its own, with limits and a deadline.
    with subprocess.Popen(
        sandboxed(command, staging, readable_folders(solution.spec), allowed),
        cwd=staging / "src",
        env={
            "PATH": PROGRAM_PATH,
            "LANG": "C",
            "TMPDIR": "..",
            "PYTHONPATH": str(Path(__file__).resolve().parents[3]),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        try:
            said, _ = process.communicate(timeout=allowed.wall_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            words = f"{command[0]} took longer than {allowed.wall_s:.0f} s and was stopped."
            return NotBuilt(words, is_final=False)
    if process.returncode != 0:
        words = said.decode(errors="replace").replace(str(staging), "")[:_DIAGNOSTICS_CHARS]
        if words.startswith(BROKEN):
            raise HarnessFailed(
                f"a solution cannot be compiled safely here: {words}.", remedy="Run `deep-agent doctor`."
            )
        return NotBuilt(words, is_final=not _was_hindered(process.returncode, words))
    (staging / WORDS_FILE).write_bytes(said)
    return (staging / "solution.so").read_bytes()


def _was_hindered(returncode: int, words: str) -> bool:
    """Whether the machine stopped the compiler: it was killed, or memory or disk ran out."""
    return returncode < 0 or any(sign in words for sign in _HINDRANCES)
