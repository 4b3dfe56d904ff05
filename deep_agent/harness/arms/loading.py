"""Hands a solution to an arm. Owns the LOAD request; the arm learns how to call, and nothing else."""

import os

from deep_agent.harness.arms.arm import Arm
from deep_agent.harness.arms.memory import sealed_file
from deep_agent.harness.builds.torch_extension import MODULE_NAME
from deep_agent.harness.sandbox.wire import Verb
from deep_agent.problem.definition import Definition
from deep_agent.problem.solution import Solution


def load(
    arm: Arm, solution: Solution, definition: Definition, n_threads: int, *, artefact: bytes | None, timeout_s: float
) -> None:
    """Send the built object, or the Python sources, in sealed files.

    Raises:
        ArmFailed: it does not load.
    """
    payload, contents = load_request(solution, definition, n_threads, artefact=artefact)
    fds = [sealed_file(content) for content in contents]
    try:
        arm.ask(Verb.LOAD, payload, fds, timeout_s=timeout_s)
    finally:
        for fd in fds:
            os.close(fd)


def load_request(
    solution: Solution, definition: Definition, n_threads: int, *, artefact: bytes | None
) -> tuple[dict[str, object], list[bytes]]:
    """Give the payload of the request and the contents of its files; an artefact of None is Python's sources."""
    spec = solution.spec
    contents = [source.content.encode() for source in solution.sources] if artefact is None else [artefact]
    native = "extension" if spec.binding == "torch" else "native"
    payload: dict[str, object] = {
        "kind": "python" if artefact is None else native,
        "entry": spec.entry_file,
        "module": MODULE_NAME,
        "function": spec.entry_function,
        "paths": [source.path for source in solution.sources],
        "destination_passing": spec.destination_passing_style,
        "outputs": list(definition.outputs),
        "n_threads": n_threads,
    }
    return payload, contents
