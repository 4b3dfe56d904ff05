"""Owns the Workload: one binding of a definition's axes, inputs and tolerance."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, StrictBool, StrictFloat, StrictInt, Tag, model_validator

from deep_agent.problem.definition import NonEmptyStr
from deep_agent.problem.value import PublicRecord


class RandomInput(PublicRecord):
    """The judge draws the input."""

    type: Literal["random"] = "random"


class ScalarInput(PublicRecord):
    """A Python number, passed with its type preserved."""

    type: Literal["scalar"] = "scalar"
    value: StrictBool | StrictInt | StrictFloat


class SafetensorsInput(PublicRecord):
    """A tensor read from a safetensors file; relative paths are tried under each data root."""

    type: Literal["safetensors"] = "safetensors"
    path: NonEmptyStr
    tensor_key: NonEmptyStr


class CustomInput(PublicRecord):
    """The definition's own generator makes the input."""

    type: Literal["custom"] = "custom"


def _input_tag(raw: object) -> str:
    if isinstance(raw, PublicRecord):
        return str(getattr(raw, "type", "random"))
    if not isinstance(raw, Mapping):
        return "random"
    declared = raw.get("type")
    if declared in {"random", "scalar", "safetensors", "custom"}:
        return str(declared)
    if "tensor_key" in raw:
        return "safetensors"
    return "scalar" if "value" in raw else "random"


InputDescriptor = Annotated[
    Annotated[RandomInput, Tag("random")]
    | Annotated[ScalarInput, Tag("scalar")]
    | Annotated[SafetensorsInput, Tag("safetensors")]
    | Annotated[CustomInput, Tag("custom")],
    Discriminator(_input_tag),
]


class ToleranceSpec(PublicRecord):
    """When an output counts as equal to the reference's.

    An element matches if |x - y| <= max_atol + max_rtol * |y|.
    """

    max_atol: Annotated[float, Field(ge=0)] = 1e-2
    max_rtol: Annotated[float, Field(ge=0)] = 1e-2
    required_matched_ratio: Annotated[float, Field(ge=0, le=1)] = 0.99
    max_error_cap: Annotated[float, Field(ge=0)] | None = None
    allow_negative_inf: bool = False


class Workload(PublicRecord):
    """One concrete case of a definition."""

    uuid: NonEmptyStr
    axes: dict[str, Annotated[StrictInt, Field(ge=0)]]
    inputs: dict[str, InputDescriptor] = Field(default_factory=dict)
    """Inputs missing here are random."""
    tolerance: ToleranceSpec = ToleranceSpec()

    @model_validator(mode="after")
    def _custom_is_all_or_none(self) -> Self:
        kinds = {descriptor.type for descriptor in self.inputs.values()}
        if "custom" in kinds and kinds != {"custom"}:
            raise ValueError("inputs: if one input is custom, all must be")
        return self
