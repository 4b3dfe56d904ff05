"""Owns the Definition: an operation with named axes and its PyTorch reference."""

import ast
import keyword
import logging
from collections.abc import Mapping
from math import prod
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from deep_agent.errors import InvalidInput
from deep_agent.problem.axes import Axis, ConstAxis, ExprAxis, VarAxis, evaluate_expression
from deep_agent.problem.dtype import DType
from deep_agent.problem.value import PublicRecord

_log = logging.getLogger(__name__)

NonEmptyStr = Annotated[str, Field(min_length=1)]


class TensorSpec(PublicRecord):
    """Shape and element type of one input or output."""

    shape: tuple[str, ...] | None
    """Axis names or decimal literals, outermost first; `()` is a 0-d tensor, None a Python scalar."""
    dtype: DType
    description: str | None = None

    @property
    def is_scalar(self) -> bool:
        """Whether the argument is a Python number rather than a tensor."""
        return self.shape is None


class Definition(PublicRecord):
    """What is computed: axes, inputs, outputs and a return-style reference `run(*inputs)`."""

    name: NonEmptyStr
    description: str | None = None
    op_type: NonEmptyStr | None = None
    hf_id: NonEmptyStr | None = None
    axes: dict[str, Axis]
    inputs: dict[str, TensorSpec]
    """Ordered: positional arguments of `run`."""
    outputs: dict[str, TensorSpec]
    """Ordered: the results of `run`, and the trailing destination arguments of a solution."""
    reference: NonEmptyStr
    """Python source with a top-level `def run`."""
    custom_inputs_entrypoint: str | None = None
    """A top-level function of `reference`: `(axes_and_scalars, device) -> {name: input}`."""

    @field_validator("hf_id", mode="before")
    @classmethod
    def _empty_hf_id_is_absent(cls, raw: object) -> object:
        # The public FlashInfer rows carry "", which the published model itself would refuse.
        return None if raw == "" else raw

    @model_validator(mode="after")
    def _check(self) -> Self:
        functions = _top_level_functions(self.reference)
        if "run" not in functions:
            raise ValueError("reference: needs a top-level `def run(...)`; a lambda or `async def` does not count")
        if functions["run"] != tuple(self.inputs):
            raise ValueError(
                f"reference: run takes {list(functions['run'])}, but inputs declares {list(self.inputs)}; "
                "make them the same names in the same order"
            )
        entry = self.custom_inputs_entrypoint
        if entry is not None and (not entry.isidentifier() or keyword.iskeyword(entry) or entry not in functions):
            raise ValueError(f"custom_inputs_entrypoint: reference has no top-level function {entry!r}")
        _check_names(self)
        return self

    def sizes(self, axes: Mapping[str, int]) -> dict[str, int]:
        """Bind every axis: const values, then the workload's sizes on top, then expressions in order.

        Args:
            axes: sizes of the `var` axes.

        Raises:
            InvalidInput: a `var` axis has no size, or an expression cannot be computed.
        """
        bound = {name: axis.value for name, axis in self.axes.items() if isinstance(axis, ConstAxis)}
        bound.update(axes)
        for name, axis in self.axes.items():
            if isinstance(axis, ExprAxis):
                bound[name] = _evaluated(self.name, name, axis, bound)
            elif isinstance(axis, VarAxis) and name not in bound:
                raise InvalidInput(
                    f"definition {self.name!r}: axis {name!r} has no size.", remedy="Add it to the workload's axes."
                )
        return bound

    def shape(self, tensor: str, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """Give the concrete shape of an input or output; `sizes` as `sizes()` returns them.

        A Python scalar has shape `()`.
        """
        spec = self.inputs.get(tensor) or self.outputs[tensor]
        return tuple(int(token) if token.isdecimal() else sizes[token] for token in spec.shape or ())

    def storage_bytes(self, tensor: str, sizes: Mapping[str, int]) -> int:
        """Give the bytes one dense copy of the tensor takes; 0 for a Python scalar."""
        spec = self.inputs.get(tensor) or self.outputs[tensor]
        if spec.is_scalar:
            return 0
        return -(-prod(self.shape(tensor, sizes)) * spec.dtype.bits // 8)


def _evaluated(definition: str, name: str, axis: ExprAxis, bound: Mapping[str, int]) -> int:
    try:
        return evaluate_expression(axis.expression, bound)
    except InvalidInput as error:
        raise InvalidInput(
            f"definition {definition!r}, axis {name!r}: {error.message}",
            remedy="Correct the expression, or the sizes it is given.",
        ) from error


def _top_level_functions(source: str) -> dict[str, tuple[str, ...]]:
    """Map each top-level `def` to its positional parameter names."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        raise ValueError(f"reference: is not Python (line {line}): {error}") from error
    return {
        node.name: tuple(argument.arg for argument in (*node.args.posonlyargs, *node.args.args))
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
    }


def _check_names(definition: Definition) -> None:
    both = set(definition.inputs) & set(definition.outputs)
    if both:
        raise ValueError(f"outputs: {sorted(both)} are inputs too; an output needs a name of its own")
    shadowed = set(definition.inputs) & set(definition.axes)
    if shadowed:
        raise ValueError(f"inputs: {sorted(shadowed)} are axes too; rename the inputs")
    if not definition.outputs:
        raise ValueError("outputs: at least one is needed")
    for name, spec in (*definition.inputs.items(), *definition.outputs.items()):
        for token in spec.shape or ():
            if not token.isdecimal() and token not in definition.axes:
                raise ValueError(f"{name}.shape: {token!r} is no declared axis; add it to axes or correct the name")
