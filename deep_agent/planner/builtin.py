"""Owns the list of built-in methods; a new one is one file and one line here."""

from collections.abc import Mapping

from deep_agent.planner.evolve import EvolveMethod
from deep_agent.planner.goal import GoalMethod
from deep_agent.planner.method import Method
from deep_agent.planner.optimize import OptimizeMethod
from deep_agent.ports import SearchPolicy


def builtin_methods(policy: SearchPolicy) -> Mapping[str, Method]:
    """Give the methods by name.

    Args:
        policy: decides whether a search goes on.
    """
    return {"goal": GoalMethod(), "optimize": OptimizeMethod(), "evolve": EvolveMethod(policy)}
