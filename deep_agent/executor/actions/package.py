"""Packs the answer to a problem into a folder that loads without this project. Writes files; reads versions."""

from collections.abc import Mapping
from pathlib import Path

from deep_agent.executor.action import ActionContext
from deep_agent.executor.artefact.circumstances import libraries, made_at
from deep_agent.executor.artefact.files import Artefact, artefact_files
from deep_agent.executor.findings import (
    CharacterizeFinding,
    PackageFinding,
    VerifyFinding,
    best_figures,
    library_solution,
    verify_outputs,
)
from deep_agent.executor.folder import JobFolder, put
from deep_agent.htdag.node import JsonObject
from deep_agent.htdag.outcome import Outcome


class Package:
    """The `package` action."""

    def __init__(self, home: Path) -> None:
        """Keep the folder under which everything of a run lies."""
        self._home = home

    def run(self, inputs: Mapping[str, JsonObject], ctx: ActionContext) -> Outcome:
        """Write the artefact; writing again gives the same files.

        Raises:
            Interrupted: the job was cancelled, or the process is stopping.
            ResourceExhausted: the disk is full.
        """
        ctx.check()
        artefact = _artefact(inputs, now_s=ctx.now_s())
        if artefact is None:
            finding = PackageFinding(path="", files=())
            return Outcome(outputs=finding.as_outputs(), reason="There is no solution to pack.")
        folder = JobFolder(self._home, ctx.job_id).problem(
            ctx.goal, str(ctx.params["problem"]), artefact.known.problem.name
        )
        made = artefact_files(artefact)
        for path, text in made.items():
            ctx.check()
            put(folder / path, text)
        finding = PackageFinding(path=str(folder), files=tuple(sorted(made)))
        return Outcome(outputs=finding.as_outputs())


def _artefact(inputs: Mapping[str, JsonObject], *, now_s: float) -> Artefact | None:
    """Gather what is packed: the verified winner, else the library's call; None when neither exists."""
    known = CharacterizeFinding.model_validate(inputs["characterize"])
    outputs = verify_outputs(inputs)
    verified = VerifyFinding.model_validate(outputs) if outputs is not None else None
    if verified is not None and (verified.verdict == "refuted" or verified.solution is None):
        verified = None
    solution = verified.solution if verified is not None else library_solution(known.characterization)
    if solution is None:
        return None
    evaluation = verified.evaluation if verified is not None else None
    return Artefact(
        known=known,
        solution=solution,
        evaluation=evaluation,
        figures=best_figures(evaluation, known.bounds) if evaluation is not None else None,
        is_library=verified is None or verified.verdict != "verified",
        made_at=made_at(now_s),
        libs=libraries(),
    )
