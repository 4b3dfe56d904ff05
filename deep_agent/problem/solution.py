"""Owns the Solution: source files and a build spec, known by their content hash."""

import hashlib
import json
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from deep_agent.errors import InvalidInput
from deep_agent.problem.definition import NonEmptyStr
from deep_agent.problem.value import PublicRecord


class Language(StrEnum):
    """What a solution is written in; `cpp` is ours, for CPU devices."""

    PYTORCH = "pytorch"
    TRITON = "triton"
    CUTE_DSL = "cute_dsl"
    CUTILE = "cutile"
    CUDNN_FRONTEND = "cudnn_frontend"
    CUTLASS = "cutlass"
    CUDNN = "cudnn"
    CUBLAS = "cublas"
    CUDA_CPP = "cuda_cpp"
    CPP = "cpp"

    @property
    def is_python(self) -> bool:
        """Whether the solution is imported rather than compiled."""
        return self in _PYTHON_LANGUAGES


_PYTHON_LANGUAGES = {Language.PYTORCH, Language.TRITON, Language.CUTE_DSL, Language.CUTILE, Language.CUDNN_FRONTEND}
_NATIVE_SUFFIXES = {".cu", ".cpp", ".cc", ".cxx", ".c", ".h", ".hpp", ".cuh"}


Binding = Literal["torch", "tvm-ffi"]
"""How a native solution's entry is called: a module of torch's own extensions, or a TVM-FFI function."""


class SourceFile(PublicRecord):
    """One file of a solution."""

    path: NonEmptyStr
    """Relative, without `..`."""
    content: str

    @field_validator("path")
    @classmethod
    def _stays_inside(cls, path: str) -> str:
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts or "\\" in path or "\0" in path:
            raise ValueError(f"sources.path: {path!r} must be relative and stay inside the solution")
        return path


class CompileOptions(PublicRecord):
    """Extra flags of a native build."""

    cflags: tuple[str, ...] = ()
    cuda_cflags: tuple[str, ...] = ("-O3", "--use_fast_math")
    ld_flags: tuple[str, ...] = ("-lcuda",)


class BuildSpec(PublicRecord):
    """How to build and call a solution."""

    languages: tuple[Language, ...]
    target_hardware: Annotated[tuple[Literal["B200", "LOCAL"], ...], Field(min_length=1)] = ("LOCAL",)
    entry_point: NonEmptyStr
    """`<path>::<function>`."""
    dependencies: tuple[str, ...] = ()
    destination_passing_style: bool = True
    """True: `f(*inputs, *outputs)`, return ignored. False: `f(*inputs)` returns the outputs."""
    binding: Binding | None = None
    """None: `torch` for a native solution whose sources name `torch/extension.h`, else `tvm-ffi`."""
    compile_options: CompileOptions | None = None

    @property
    def is_python(self) -> bool:
        """Whether the entry point is Python; an empty language list counts as Python, as upstream."""
        return all(language.is_python for language in self.languages)

    @property
    def entry_file(self) -> str:
        """The path before `::`."""
        return self.entry_point.partition("::")[0]

    @property
    def entry_function(self) -> str:
        """The function after `::`."""
        return self.entry_point.partition("::")[2]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.entry_point.count("::") != 1 or not self.entry_file or not self.entry_function:
            raise ValueError(f"spec.entry_point: {self.entry_point!r} must read '<path>::<function>'")
        if len({language.is_python for language in self.languages}) > 1:
            raise ValueError("spec.languages: Python and native languages cannot be mixed")
        suffix = PurePosixPath(self.entry_file).suffix
        allowed = {".py"} if self.is_python else _NATIVE_SUFFIXES
        if suffix not in allowed:
            raise ValueError(f"spec.entry_point: {self.entry_file!r} must end in one of {sorted(allowed)}")
        return self


class Solution(PublicRecord):
    """A complete answer to a definition, ready to build."""

    name: NonEmptyStr
    definition: NonEmptyStr
    author: NonEmptyStr
    description: str | None = None
    spec: BuildSpec
    sources: Annotated[tuple[SourceFile, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        paths = [source.path for source in self.sources]
        if len(set(paths)) != len(paths):
            raise ValueError("sources: two files have the same path")
        if self.spec.entry_file not in paths:
            raise ValueError(f"spec.entry_point: {self.spec.entry_file!r} is not among the sources")
        return self

    def require_local(self) -> None:
        """Refuse a solution built for another device only.

        Upstream compiles a `["B200"]` solution for sm_100a, which leaves nothing to run elsewhere.

        Raises:
            InvalidInput: `LOCAL` is not among the targets.
        """
        if "LOCAL" not in self.spec.target_hardware:
            raise InvalidInput(
                f"solution {self.name!r} targets {', '.join(self.spec.target_hardware)} only.",
                remedy="Add LOCAL to spec.target_hardware to run it on this machine.",
            )

    def with_binding(self) -> "Solution":
        """Give the solution with its binding spelt out; Python has none.

        Upstream's two harnesses read an absent binding differently; what the sources include tells them apart.
        """
        if self.spec.is_python or self.spec.binding is not None:
            return self
        is_extension = any("torch/extension.h" in source.content for source in self.sources)
        binding: Binding = "torch" if is_extension else "tvm-ffi"
        return self.model_copy(update={"spec": self.spec.model_copy(update={"binding": binding})})

    @property
    def content_hash(self) -> str:
        """SHA-256 (hex) over everything that decides behaviour: definition, spec and sources.

        Names, author and description do not count. Upstream leaves compile options, target and
        calling style out of its hash; here they are in.
        """
        identity = {
            "definition": self.definition,
            "spec": self.spec.model_dump(mode="json"),
            "sources": sorted((source.path, source.content) for source in self.sources),
        }
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
