"""Owns the command lines of the compilers: what each takes, which flags it may be given. Asks them their version.

Flags come from a short list, because a compiler that may load plugins or read option files runs what it is told.
"""

import hashlib
import os
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Final, Protocol

import tvm_ffi

from deep_agent.errors import MissingTool
from deep_agent.harness.builds import torch_extension
from deep_agent.harness.builds.compile_sandbox import Limits
from deep_agent.harness.folders import PROGRAM_PATH
from deep_agent.problem.solution import BuildSpec, CompileOptions, Language

CXX_FLAGS: Final = frozenset(
    {"-O1", "-O2", "-O3", "-Ofast", "-ffast-math", "-funroll-loops", "-fno-math-errno", "-fopenmp"}
    | {"-march=native", "-std=c++17", "-std=c++20"}
)
"""Extra flags a solution may ask for; none of them reads files or runs programs."""
CUDA_FLAGS: Final = frozenset(
    {"-O1", "-O2", "-O3", "--use_fast_math", "-use_fast_math", "-lineinfo", "--expt-relaxed-constexpr"}
    | {"--expt-extended-lambda", "--fmad=true", "--fmad=false", "--ftz=true", "--prec-div=false", "--prec-sqrt=false"}
    | {f"--maxrregcount={count}" for count in range(16, 256, 8)}
    | {"-std=c++17", "-std=c++20"}
)
CUDA_LIBRARIES: Final = ("-lcuda", "-lcudart", "-lcublas", "-lcublasLt")
_LIMITS: Final = Limits(memory_bytes=4 * 2**30, wall_s=120.0)
_TORCH_LIMITS: Final = Limits(memory_bytes=8 * 2**30, wall_s=300.0)
"""With torch's headers nvcc took 3 GiB and 48 to 55 s of processor time a file, g++ 1.5 GiB and 17 s: room for several."""
_ACCELERATED: Final = 90
"""From this architecture on, the accelerated features (wgmma, setmaxnreg) need a target of their own."""
_CUDA_LANGUAGES: Final = frozenset({Language.CUDA_CPP, Language.CUTLASS, Language.CUBLAS, Language.CUDNN})


class Compiler(Protocol):
    """A compiler of native solutions."""

    suffixes: ClassVar[frozenset[str]]
    """Of the files it is given; the others are headers."""

    def refuses(self, spec: BuildSpec) -> str:
        """Say why a solution is not for this compiler, or nothing."""

    def version(self) -> str:
        """Name the compiler and its version; raises MissingTool when there is none."""

    def surroundings(self, spec: BuildSpec) -> tuple[str, ...]:
        """Tell what of this machine shapes an object beside the command line: versions, headers, processor."""

    def flags(self, spec: BuildSpec) -> tuple[str, ...]:
        """Give the command up to the sources."""

    def libraries(self, spec: BuildSpec) -> tuple[str, ...]:
        """Give what follows the sources."""


class Gxx:
    """g++, for this processor."""

    suffixes: ClassVar[frozenset[str]] = frozenset({".cpp", ".cc", ".cxx", ".c"})

    def refuses(self, spec: BuildSpec) -> str:
        """Take `cpp` with flags from the list."""
        if set(spec.languages) != {Language.CPP}:
            wanted = ", ".join(spec.languages)
            return f"{wanted} needs a CUDA device; on a CPU device use `cpp` or `pytorch`."
        options = _options(spec)
        return _denied((*options.cflags, *(flag for flag in options.ld_flags if flag != "-lcuda")), CXX_FLAGS)

    def version(self) -> str:
        """Ask g++."""
        return _version("g++", "Install it: `apt-get install g++`, `dnf install gcc-c++` or your system's equivalent.")

    def surroundings(self, spec: BuildSpec) -> tuple[str, ...]:
        """Tell g++'s version, what `native` means here, and the headers."""
        return (self.version(), _native_target(), _headers(spec))

    def flags(self, spec: BuildSpec) -> tuple[str, ...]:
        """Optimise for this very processor."""
        fixed = ("-O3", "-march=native", _standard(spec), "-fPIC", "-shared", "-fopenmp")
        return ("g++", *fixed, *_options(spec).cflags, *_binding_flags(spec, for_cuda=False))

    def libraries(self, spec: BuildSpec) -> tuple[str, ...]:
        """Link torch for its binding; nothing else."""
        return torch_extension.libraries(for_cuda=False) if spec.binding == "torch" else ()


class Nvcc:
    """nvcc, for one architecture."""

    suffixes: ClassVar[frozenset[str]] = frozenset({".cu", ".cpp", ".cc", ".cxx", ".c"})

    def __init__(self, architecture: str) -> None:
        """Keep the architecture, such as `90`."""
        accelerated = "a" if int(architecture) >= _ACCELERATED else ""
        self._architecture = architecture + accelerated

    def refuses(self, spec: BuildSpec) -> str:
        """Take CUDA C++ with flags from the list."""
        if not set(spec.languages) <= _CUDA_LANGUAGES:
            return f"{', '.join(spec.languages)} is not built for a CUDA device; use `cuda_cpp`, `triton` or `pytorch`."
        options = _options(spec)
        return (
            _denied(options.cflags, CXX_FLAGS)
            or _denied(options.cuda_cflags, CUDA_FLAGS)
            or _denied(options.ld_flags, frozenset(CUDA_LIBRARIES))
        )

    def version(self) -> str:
        """Ask nvcc."""
        return _version("nvcc", "Install the CUDA toolkit, and put its bin folder on the PATH or at /usr/local/cuda.")

    def surroundings(self, spec: BuildSpec) -> tuple[str, ...]:
        """Tell the versions of nvcc and of the host's compiler that it calls, and the headers."""
        return (self.version(), Gxx().version(), _headers(spec))

    def flags(self, spec: BuildSpec) -> tuple[str, ...]:
        """Compile for the one architecture, accelerated features included; by default as the public format says."""
        own = f"-gencode=arch=compute_{self._architecture},code=sm_{self._architecture}"
        asked = _options(spec)
        # The host's compiler must read what nvcc reads: one standard for both, the solution's own first.
        host = tuple(part for flag in asked.cflags if not flag.startswith("-std=") for part in ("-Xcompiler", flag))
        standard = () if any(flag.startswith("-std=") for flag in asked.cuda_cflags) else (_standard(spec),)
        fixed = ("nvcc", own, *standard, "-shared", "-Xcompiler", "-fPIC")
        return (*fixed, *asked.cuda_cflags, *host, *_binding_flags(spec, for_cuda=True))

    def libraries(self, spec: BuildSpec) -> tuple[str, ...]:
        """Link what was asked for from the list, and torch for its binding."""
        bound = torch_extension.libraries(for_cuda=True) if spec.binding == "torch" else ()
        return (*_options(spec).ld_flags, *bound)


def _options(spec: BuildSpec) -> CompileOptions:
    """Without options, upstream gives the compiler none at all."""
    return spec.compile_options or CompileOptions(cuda_cflags=(), ld_flags=())


def _denied(asked: tuple[str, ...], allowed: frozenset[str]) -> str:
    denied = [flag for flag in asked if flag not in allowed]
    return f"spec.compile_options: {denied} are not allowed; choose from {sorted(allowed)}." if denied else ""


def limits(spec: BuildSpec) -> Limits:
    """Give what a build may take."""
    return _TORCH_LIMITS if spec.binding == "torch" else _LIMITS


def readable_folders(spec: BuildSpec) -> tuple[str, ...]:
    """Give the folders that a build reads beside the system's."""
    return torch_extension.readable_folders() if spec.binding == "torch" else _include_folders()


def _standard(spec: BuildSpec) -> str:
    return torch_extension.standard() if spec.binding == "torch" else "-std=c++17"


def _headers(spec: BuildSpec) -> str:
    return torch_extension.identity() if spec.binding == "torch" else headers_hash()


def _binding_flags(spec: BuildSpec, *, for_cuda: bool) -> tuple[str, ...]:
    """Give the macros and header folders of a solution's calling convention."""
    is_extension = spec.binding == "torch"
    folders = torch_extension.include_folders() if is_extension else _include_folders()
    macros = torch_extension.flags(for_cuda=for_cuda) if is_extension else ()
    return (*macros, *(part for folder in folders for part in ("-isystem", folder)))


@lru_cache(maxsize=1)
def _include_folders() -> tuple[str, ...]:
    return (tvm_ffi.libinfo.find_include_path(), tvm_ffi.libinfo.find_dlpack_include_path())


@lru_cache(maxsize=1)
def headers_hash() -> str:
    """Hash the headers that solutions are compiled with, and name the C library."""
    digest = hashlib.sha256((os.confstr("CS_GNU_LIBC_VERSION") or "").encode())
    for folder in _include_folders():
        for header in sorted(Path(folder).rglob("*.h")):
            digest.update(str(header.relative_to(folder)).encode() + b"\0" + header.read_bytes())
    return digest.hexdigest()


@lru_cache(maxsize=1)
def _native_target() -> str:
    """Spell out what `-march=native` means here, so that a cache on a shared disk serves each machine its own."""
    command = ["g++", "-O3", "-march=native", "-Q", "--help=target"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout


@lru_cache(maxsize=4)
def _version(program: str, remedy: str) -> str:
    found = shutil.which(program, path=PROGRAM_PATH)
    if found is None:
        raise MissingTool(f"no {program} on this machine.", remedy=remedy)
    return subprocess.run([found, "--version"], capture_output=True, text=True, check=True, timeout=30).stdout
