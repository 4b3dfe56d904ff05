"""Owns reading an operation's operands as tensors, integers and axes."""

from deep_agent.problem.opgraph import Arg, ListArg, LiteralArg, Operation, OpGraph, SizeArg, TensorArg, TensorValue


def base_name(operation: Operation) -> str:
    """Give the operation without namespace and overload: `aten.sum.dim_IntList` is `sum`."""
    return operation.name.split(".")[1]


def tensor_at(graph: OpGraph, operation: Operation, place: int) -> TensorValue | None:
    """Give the tensor at a position; None when it is absent or no tensor."""
    if place >= len(operation.args):
        return None
    arg = operation.args[place]
    return graph.value(arg.id) if isinstance(arg, TensorArg) else None


def needed_tensor(graph: OpGraph, operation: Operation, place: int) -> TensorValue:
    """Give the tensor at a position where the schema requires one."""
    found = tensor_at(graph, operation, place)
    assert found is not None, f"{operation.name} has no tensor at {place}"
    return found


def tensors_in(graph: OpGraph, operation: Operation) -> tuple[TensorValue, ...]:
    """Give every tensor operand, lists flattened, positional ones first."""
    given = (*operation.args, *operation.kwargs.values())
    flat = [item for arg in given for item in (arg.items if isinstance(arg, ListArg) else (arg,))]
    return tuple(graph.value(item.id) for item in flat if isinstance(item, TensorArg))


def integer_at(operation: Operation, place: int, default: int | None) -> int | None:
    """Give the integer at a position; the default when it is absent or None."""
    if place >= len(operation.args):
        return default
    found = _integer(operation.args[place])
    return default if found is None else found


def integers_at(operation: Operation, place: int) -> tuple[int, ...] | None:
    """Give a list of integers, or one integer as a list; None when absent."""
    if place >= len(operation.args):
        return None
    arg = operation.args[place]
    if isinstance(arg, ListArg):
        return tuple(number for number in map(_integer, arg.items) if number is not None)
    one = _integer(arg)
    return None if one is None else (one,)


def flag_at(operation: Operation, place: int, name: str) -> bool:
    """Give a truth value by position or keyword; absent means False."""
    arg = operation.args[place] if place < len(operation.args) else operation.kwargs.get(name)
    return isinstance(arg, LiteralArg) and arg.value is True


def axis_of(axis: int, rank: int) -> int:
    """Count an axis from the front."""
    return axis + rank if axis < 0 else axis


def number_of(arg: Arg | None) -> float | None:
    """Give a literal or size as a number; None for everything else."""
    if isinstance(arg, SizeArg):
        return float(arg.value)
    if isinstance(arg, LiteralArg) and isinstance(arg.value, bool | int | float):
        return float(arg.value)
    return None


def _integer(arg: Arg) -> int | None:
    if isinstance(arg, SizeArg):
        return arg.value
    if isinstance(arg, LiteralArg) and isinstance(arg.value, int):
        return int(arg.value)
    return None
