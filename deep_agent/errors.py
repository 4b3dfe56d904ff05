"""Owns the one error tree of the product; does not decide what a door answers.

DeepAgentError
├─ InvalidInput      the caller can correct it: goal, definition, plan, cycle
├─ NotFound          no such job, node, problem or blob
├─ Conflict          illegal move, stale version, taken key
├─ BudgetExceeded    tokens, dollars, device seconds or wall time
├─ ModelFailed       a language model is unavailable, or its reply cannot be parsed
├─ MissingTool       a program or library this machine lacks; the message says how to get it
├─ ResourceExhausted disk, memory or a port that is in use
└─ HarnessFailed     device lost, sandbox broken; never "the candidate is bad"

A wrong, slow, crashing or cheating candidate is no error: it is an `EvaluationStatus`.
Every message names the thing, and `remedy` names the next step.
"""

from typing_extensions import override


class DeepAgentError(Exception):
    """Something Deep Agent could not do."""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        """Keep what went wrong, and what the reader can do next.

        Args:
            message: names the thing (file, field, device) that failed.
            remedy: the next step, as an imperative sentence; empty when there is none.
        """
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    @override
    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


class InvalidInput(DeepAgentError):
    """The caller gave something that can be corrected."""


class NotFound(DeepAgentError):
    """The named thing does not exist."""


class Conflict(DeepAgentError):
    """The move is illegal in the present state, or the state has moved on."""


class BudgetExceeded(DeepAgentError):
    """A budget would be overspent."""


class ModelFailed(DeepAgentError):
    """A language model was unavailable, or its reply could not be parsed."""


class MissingTool(DeepAgentError):
    """This machine lacks a program or library that the step needs."""


class ResourceExhausted(DeepAgentError):
    """The machine ran out of disk, memory, or the port is taken."""


class HarnessFailed(DeepAgentError):
    """The judge, its sandbox or its device broke; says nothing about a candidate."""
