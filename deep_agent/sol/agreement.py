"""Loads torch. Owns whether a trace agrees with what its definition declares, and what a reader should know of it."""

from deep_agent.errors import InvalidInput
from deep_agent.sol.inputs import Case
from deep_agent.sol.rawtrace import RawTrace


def check_outputs(case: Case, trace: RawTrace) -> None:
    """Compare the shapes a run gave with the declared ones.

    Raises:
        InvalidInput: they differ.
    """
    for name, value_id in trace.outputs.items():
        declared = case.definition.shape(name, case.sizes)
        made = trace.values[value_id].shape
        if made != declared and case.definition.outputs[name].dtype.bits >= 8:
            raise InvalidInput(
                f"definition {case.definition.name!r}, workload {case.uuid!r}: the reference returns "
                f"{name!r} with shape {list(made)}, but {list(declared)} is declared.",
                remedy="Make the declared shape and the reference agree.",
            )


def trace_notes(trace: RawTrace) -> tuple[str, ...]:
    """Say what was not looked at, and which types stand in for others."""
    notes = [f"indices of {reason}" for reason in trace.unseen]
    if trace.stand_ins:
        notes.append(f"{', '.join(trace.stand_ins)} inside the run: arithmetic counted as of real numbers, no graph")
    return tuple(notes)
