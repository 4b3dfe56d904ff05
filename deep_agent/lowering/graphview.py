"""Owns reading the operands of one ATen call; does not interpret the call."""

from deep_agent.lowering.expression import Unsupported
from deep_agent.lowering.size import Size
from deep_agent.problem.opgraph import Arg, ListArg, LiteralArg, Operation, SizeArg, TensorArg


class Call:
    """An operation with its operands by position or keyword."""

    def __init__(self, operation: Operation, index: int) -> None:
        """Wrap the operation at this position of the graph."""
        self.operation = operation
        self.index = index

    @property
    def base(self) -> str:
        """The ATen name without namespace and overload."""
        parts = self.operation.name.split(".")
        return parts[1] if parts[0] == "aten" and len(parts) > 1 else self.operation.name

    def arg(self, position: int, name: str) -> Arg | None:
        """Give an operand, or None where it was left out."""
        if name in self.operation.kwargs:
            return self.operation.kwargs[name]
        return self.operation.args[position] if position < len(self.operation.args) else None

    def tensor(self, position: int, name: str = "") -> int | None:
        """Give the id of a tensor operand, or None where it is absent or None."""
        arg = self.arg(position, name)
        return arg.id if isinstance(arg, TensorArg) else None

    def literal(self, position: int, name: str, default: float | str | None) -> bool | int | float | str | None:
        """Give a constant operand."""
        arg = self.arg(position, name)
        if arg is None:
            return default
        if isinstance(arg, LiteralArg):
            return arg.value
        if isinstance(arg, SizeArg):
            return arg.value
        raise Unsupported(f"{self.operation.name} has an operand {name!r} that is no constant")

    def integer(self, position: int, name: str, default: int) -> int:
        """Give a constant integer operand, such as a dimension."""
        value = self.literal(position, name, default)
        if not isinstance(value, int):
            raise Unsupported(f"{self.operation.name} has an operand {name!r} that is no whole number")
        return value

    def integers(self, position: int, name: str) -> tuple[int, ...] | None:
        """Give a list of constant integers, such as dimensions; None where absent."""
        arg = self.arg(position, name)
        if isinstance(arg, ListArg):
            return tuple(
                int(item.value)
                for item in arg.items
                if isinstance(item, (LiteralArg, SizeArg)) and item.value is not None
            )
        if isinstance(arg, LiteralArg) and isinstance(arg.value, int) and not isinstance(arg.value, bool):
            return (arg.value,)
        return None

    def size(self, position: int, name: str, default: Size) -> Size:
        """Give an operand that is a number of elements."""
        arg = self.arg(position, name)
        return default if arg is None else as_size(arg, default)


def as_size(arg: Arg, default: Size) -> Size:
    """Read a number of elements; a literal None means the default."""
    if isinstance(arg, SizeArg):
        return Size(arg.expression, arg.value)
    if isinstance(arg, LiteralArg) and isinstance(arg.value, int):
        return Size.of(arg.value) if arg.value >= 0 else Size(str(arg.value), arg.value)
    return default
