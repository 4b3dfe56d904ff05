"""Owns what each language needs, whether it is here, and how to get it; looks at files, starts nothing, loads nothing."""

import importlib.machinery
import importlib.util
import shutil
import sys
import sysconfig
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

from deep_agent.errors import MissingTool
from deep_agent.harness.folders import PROGRAM_PATH
from deep_agent.problem.solution import Binding, Language
from deep_agent.problem.value import FrozenValue

DeviceKind = Literal["cpu", "cuda"]
NeedKind = Literal["program", "package", "header", "file of torch"]

HEADER_FOLDERS: Final = (
    "/usr/include",
    "/usr/include/x86_64-linux-gnu",
    "/usr/include/aarch64-linux-gnu",
    "/usr/local/include",
    "/usr/local/cuda/include",
    "/opt/cuda/include",
    "/opt/cutlass/include",
    "/usr/local/cutlass/include",
)
"""Where builds look for headers of libraries."""


class Need(FrozenValue):
    """One program, importable package, header or file in torch's folder that a language cannot do without."""

    kind: NeedKind
    name: str
    remedy: str
    """How to get it, as an imperative sentence."""


class Obstacle(FrozenValue):
    """Why a solution in some languages cannot be built or run here."""

    message: str
    remedy: str

    @property
    def words(self) -> str:
        """Both, as one diagnostic."""
        return f"{self.message} {self.remedy}"


_GXX = Need(
    kind="program",
    name="g++",
    remedy="Install it: `apt-get install g++`, `dnf install gcc-c++` or your system's equivalent.",
)
_NVCC = Need(kind="program", name="nvcc", remedy="Install the CUDA toolkit, so that nvcc is in /usr/local/cuda/bin.")
_TORCH = Need(kind="package", name="torch", remedy="Install it: `pip install 'deep-agent[worker]'`.")
_PYTHON_H = Need(kind="header", name="Python.h", remedy="Install Python's headers, such as `python3-dev`.")
_TORCH_H = Need(
    kind="file of torch",
    name="include/torch/extension.h",
    remedy="Install torch from a wheel, which brings its headers: `pip install --force-reinstall torch`.",
)
_TORCH_CUDA = Need(
    kind="file of torch",
    name="lib/libtorch_cuda.so",
    remedy="Install a build of torch for CUDA, as https://pytorch.org/get-started says.",
)
_CUDA_ONLY: Final[tuple[DeviceKind, ...]] = ("cuda",)


class Toolchain(FrozenValue):
    """What one language needs."""

    language: Language
    devices: tuple[DeviceKind, ...]
    """Kinds of device its solutions run on."""
    needs: tuple[Need, ...]


def _package(name: str, distribution: str) -> Need:
    return Need(kind="package", name=name, remedy=f"Install it: `pip install {distribution}`.")


def _cuda(language: Language, *needs: Need) -> Toolchain:
    return Toolchain(language=language, devices=_CUDA_ONLY, needs=needs)


_CUTLASS_H = Need(kind="header", name="cutlass/cutlass.h", remedy="Unpack CUTLASS into /opt/cutlass.")
_CUDNN_H = Need(
    kind="header", name="cudnn.h", remedy="Install cuDNN with its headers, such as `libcudnn9-dev-cuda-13`."
)
_CUBLAS_H = Need(kind="header", name="cublas_v2.h", remedy="Install the CUDA toolkit with cuBLAS's headers.")

TOOLCHAINS: Final[Mapping[Language, Toolchain]] = MappingProxyType(
    {
        one.language: one
        for one in (
            Toolchain(language=Language.CPP, devices=("cpu",), needs=(_GXX,)),
            Toolchain(language=Language.PYTORCH, devices=("cpu", "cuda"), needs=(_TORCH,)),
            _cuda(Language.CUDA_CPP, _NVCC, _GXX),
            _cuda(Language.CUTLASS, _NVCC, _GXX, _CUTLASS_H),
            _cuda(Language.CUDNN, _NVCC, _GXX, _CUDNN_H),
            _cuda(Language.CUBLAS, _NVCC, _GXX, _CUBLAS_H),
            _cuda(Language.TRITON, _TORCH, _package("triton", "triton")),
            _cuda(Language.CUTE_DSL, _TORCH, _package("cutlass", "nvidia-cutlass-dsl")),
            _cuda(Language.CUTILE, _TORCH, _package("cuda.tile", "cuda-tile")),
            _cuda(Language.CUDNN_FRONTEND, _TORCH, _package("cudnn", "nvidia-cudnn-frontend")),
        )
    }
)
"""Every language's needs."""

TORCH_BINDING: Final[Mapping[DeviceKind, tuple[Need, ...]]] = MappingProxyType(
    {"cpu": (_TORCH, _TORCH_H, _PYTHON_H), "cuda": (_TORCH, _TORCH_H, _PYTHON_H, _TORCH_CUDA)}
)
"""What a native solution's `torch` binding needs beside its language."""

Find = Callable[[Need], str | None]
"""Tells where a need is met on a machine; None where it is not."""


def find(need: Need) -> str | None:
    """Look for a need on this machine; gives the path, or the package's place."""
    match need.kind:
        case "program":
            return shutil.which(need.name, path=PROGRAM_PATH)
        case "package":
            return _find_package(need.name)
        case "header":
            versions = sorted(str(folder / "include") for folder in Path("/usr/local").glob("cuda-*"))
            folders = (Path(folder) for folder in (*HEADER_FOLDERS, *versions, sysconfig.get_path("include")))
            return next((str(folder / need.name) for folder in folders if (folder / need.name).is_file()), None)
        case "file of torch":
            found = _find_package("torch")
            path = None if found is None else Path(found).parent / need.name
            return str(path) if path is not None and path.is_file() else None


def torch_folder() -> Path:
    """Give the folder of the installed torch, without loading it; raises MissingTool when there is none."""
    found = _find_package("torch")
    if found is None:
        raise MissingTool("no torch on this machine.", remedy=_TORCH.remedy)
    return Path(found).parent


def missing(language: Language, here: Find = find) -> tuple[Need, ...]:
    """List what a language needs and this machine lacks; empty when its toolchain is here."""
    return tuple(need for need in TOOLCHAINS[language].needs if here(need) is None)


def obstacle(
    languages: tuple[Language, ...], device: DeviceKind, here: Find = find, *, binding: Binding | None = None
) -> Obstacle | None:
    """Say why a solution in these languages cannot be built for a device on this machine; None when it can.

    An empty list counts as `pytorch`, as upstream.
    """
    spoken = languages or (Language.PYTORCH,)
    elsewhere = [language for language in spoken if device not in TOOLCHAINS[language].devices]
    if elsewhere:
        able = sorted(language for language, one in TOOLCHAINS.items() if device in one.devices)
        names = " and ".join(f"`{language}`" for language in elsewhere)
        return Obstacle(
            message=f"{names} does not run on a {_DEVICE_WORDS[device]} device.",
            remedy=f"Use {' or '.join(f'`{language}`' for language in able)}, or another device.",
        )
    is_extension = binding == "torch" and not all(language.is_python for language in spoken)
    lacking = {need.name: need for language in spoken for need in missing(language, here)}
    lacking |= {need.name: need for need in TORCH_BINDING[device] if is_extension and here(need) is None}
    if not lacking:
        return None
    names = " and ".join(f"{need.kind} {need.name}" for need in lacking.values())
    spoken_words = " and ".join(f"`{language}`" for language in spoken) + (" with `torch`" if is_extension else "")
    return Obstacle(
        message=f"{spoken_words} needs {names}, which this machine lacks.",
        remedy=" ".join(need.remedy for need in lacking.values()),
    )


_DEVICE_WORDS: Final[Mapping[DeviceKind, str]] = MappingProxyType({"cpu": "CPU", "cuda": "CUDA"})


def _find_package(name: str) -> str | None:
    """Find a package without running its code: `find_spec` would import the parents of a dotted name."""
    folders: list[str] | None = None
    found: importlib.machinery.ModuleSpec | None = None
    for part in name.split("."):
        found = importlib.machinery.PathFinder.find_spec(part, folders)
        if found is None:
            return None
        folders = list(found.submodule_search_locations or ())
    assert found is not None
    return found.origin or next(iter(folders or ()), sys.prefix)
