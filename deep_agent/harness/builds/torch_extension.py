"""Owns how sources are compiled as an extension of the installed torch: folders, macros, libraries.

Looks at files only: the process that builds need not load torch, and what torch would say of itself stands in them.
"""

import hashlib
import re
import sys
import sysconfig
from functools import lru_cache
from pathlib import Path
from typing import Final

from deep_agent.harness.builds.toolchains import torch_folder

MODULE_NAME: Final = "solution"
"""TORCH_EXTENSION_NAME of every build: objects embed it, and equal code is to stay equal."""
INIT_SYMBOL: Final = f"PyInit_{MODULE_NAME}"
"""What the interpreter calls to get the module; PYBIND11_MODULE defines it."""
NO_MODULE: Final = (
    "error: no source defines the module of a `torch` binding.\n"
    'End one with: PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) { m.def("<entry function>", &<function>); }'
)
_LIBRARIES: Final = ("c10", "torch_cpu", "torch", "torch_python")
_CUDA_LIBRARIES: Final = ("c10_cuda", "torch_cuda")
_OLD_STRINGS: Final = b"torchCheckFailEPKcS2_jRKSs"
"""Part of a symbol of libc10 where torch was built with libstdc++'s strings of before C++11."""
_STANDARD: Final = re.compile(r"-std=c\+\+\d\d")
_OLDEST_STANDARD: Final = "-std=c++17"
_CUDA_FLAGS: Final = (
    "-D__CUDA_NO_HALF_OPERATORS__",
    "-D__CUDA_NO_HALF_CONVERSIONS__",
    "-D__CUDA_NO_BFLOAT16_CONVERSIONS__",
    "-D__CUDA_NO_HALF2_OPERATORS__",
    "--expt-relaxed-constexpr",
)
"""What torch's own builder gives nvcc; sources written for it rely on them."""


def include_folders() -> tuple[str, ...]:
    """Give the folders of torch's headers and of Python's."""
    include = torch_folder() / "include"
    return (str(include), str(include / "torch" / "csrc" / "api" / "include"), sysconfig.get_path("include"))


def readable_folders() -> tuple[str, ...]:
    """Give the folders that a compiler and its linker read."""
    return (str(torch_folder() / "include"), str(_library_folder()), sysconfig.get_path("include"))


@lru_cache(maxsize=1)
def standard() -> str:
    """Give the flag for the C++ standard that torch's own builder asks for."""
    builder = torch_folder() / "utils" / "cpp_extension.py"
    found = _STANDARD.search(builder.read_text(encoding="utf-8")) if builder.is_file() else None
    return found.group() if found else _OLDEST_STANDARD


@lru_cache(maxsize=2)
def flags(*, for_cuda: bool) -> tuple[str, ...]:
    """Give the macros that torch's headers want, and nvcc's part of them."""
    c10 = _library_folder() / "libc10.so"
    new_strings = int(not c10.is_file() or _OLD_STRINGS not in c10.read_bytes())
    named = (f"-DTORCH_EXTENSION_NAME={MODULE_NAME}", "-DTORCH_API_INCLUDE_EXTENSION_H")
    return (*named, f"-D_GLIBCXX_USE_CXX11_ABI={new_strings}", *(_CUDA_FLAGS if for_cuda else ()))


def libraries(*, for_cuda: bool) -> tuple[str, ...]:
    """Give the linker torch's libraries, as many of them as lie here; the arm that loads an object has them open."""
    folder = _library_folder()
    wanted = (*_LIBRARIES, *(_CUDA_LIBRARIES if for_cuda else ()))
    return (f"-L{folder}", *(f"-l{name}" for name in wanted if (folder / f"lib{name}.so").is_file()))


@lru_cache(maxsize=1)
def identity() -> str:
    """Tell torch's build and the interpreter's apart from others: thousands of headers change with these alone."""
    version = torch_folder() / "version.py"
    digest = hashlib.sha256(version.read_bytes() if version.is_file() else b"")
    digest.update(f"{sys.version} {sysconfig.get_config_var('SOABI')}".encode())
    return digest.hexdigest()


def _library_folder() -> Path:
    return torch_folder() / "lib"
