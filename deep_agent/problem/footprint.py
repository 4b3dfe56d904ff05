"""Owns how many elements and bytes a workload needs; does not measure what memory there is."""

from math import prod

from deep_agent.errors import InvalidInput
from deep_agent.problem.definition import Definition
from deep_agent.problem.workload import Workload

MAX_ELEMENTS = 2**48
"""Elements of one tensor above which a size is a mistake: over 10**14, far beyond any memory."""


def check_sizes(definition: Definition, workload: Workload) -> None:
    """Bind the workload's axes and refuse shapes that overflow.

    Raises:
        InvalidInput: an axis has no size, an expression cannot be computed, or a tensor would have
            more than MAX_ELEMENTS elements; names workload, tensor and the largest axis.
    """
    try:
        sizes = definition.sizes(workload.axes)
    except InvalidInput as error:
        raise InvalidInput(f"workload {workload.uuid!r}: {error.message}", remedy=error.remedy) from error
    for tensor, spec in (*definition.inputs.items(), *definition.outputs.items()):
        shape = definition.shape(tensor, sizes)
        if prod(shape) > MAX_ELEMENTS:
            size, axis = max(zip(shape, spec.shape or (), strict=True))
            raise InvalidInput(
                f"workload {workload.uuid!r}: {tensor} would have about 2**{prod(shape).bit_length() - 1} elements; "
                f"its largest axis is {axis!r} = {size}.",
                remedy="Correct the axis.",
            )


def workload_bytes(definition: Definition, workload: Workload) -> int:
    """Count the bytes of one dense copy of every input and output.

    What the reference allocates in between is not counted: it is known only by running it.

    Raises:
        InvalidInput: as `check_sizes`.
    """
    check_sizes(definition, workload)
    sizes = definition.sizes(workload.axes)
    return sum(definition.storage_bytes(tensor, sizes) for tensor in (*definition.inputs, *definition.outputs))


def check_fits(definition: Definition, workload: Workload, *, available_bytes: int, copies: int = 1) -> None:
    """Refuse a workload whose inputs and outputs exceed the memory.

    Args:
        definition: declares the tensors.
        workload: binds their sizes.
        available_bytes: memory the run may use.
        copies: how many sets of inputs and outputs the run holds at once.

    Raises:
        InvalidInput: it does not fit; names the uuid and both sizes in GiB.
    """
    needed_bytes = copies * workload_bytes(definition, workload)
    if needed_bytes > available_bytes:
        raise InvalidInput(
            f"workload {workload.uuid!r} of {definition.name!r} needs {needed_bytes / 2**30:.2f} GiB for inputs and "
            f"outputs; {available_bytes / 2**30:.2f} GiB are available.",
            remedy="Use smaller axes, leave this workload out, or run on a device with more memory.",
        )
