"""Owns the Problem: a definition with its workloads."""

from typing import Annotated

from pydantic import Field

from deep_agent.problem.definition import Definition
from deep_agent.problem.value import FrozenValue
from deep_agent.problem.workload import Workload


class Problem(FrozenValue):
    """A definition and the workloads it is judged on."""

    definition: Definition
    workloads: Annotated[tuple[Workload, ...], Field(min_length=1)]

    @property
    def name(self) -> str:
        """The definition's name."""
        return self.definition.name
