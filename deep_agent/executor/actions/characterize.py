"""Finds out what is known of a problem before the search: baselines, noise, bounds, device. Asks judge and analyst."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from deep_agent.errors import InvalidInput
from deep_agent.executor.action import ActionContext
from deep_agent.executor.actions.waiting import while_wanted
from deep_agent.executor.findings import CharacterizeFinding
from deep_agent.htdag.goal import Spend
from deep_agent.htdag.node import JsonObject
from deep_agent.htdag.outcome import Outcome
from deep_agent.ports import Analyst, DeviceCatalog, Judge
from deep_agent.problem.bound import SolBound
from deep_agent.problem.device import DeviceModel
from deep_agent.problem.evaluation import Characterization
from deep_agent.problem.problem import Problem
from deep_agent.problem.readers import read_problem


@dataclass(frozen=True, kw_only=True)
class Characterize:
    """The `characterize` action."""

    judge: Judge
    analyst: Analyst
    devices: DeviceCatalog

    def run(self, inputs: Mapping[str, JsonObject], ctx: ActionContext) -> Outcome:
        """Measure the library and this machine, and compute the bounds meanwhile.

        Raises:
            Interrupted: it stopped as asked.
            InvalidInput: the reference raises or is not finite, a workload does not fit, the device is unknown.
            MissingTool: torch or a compiler is absent.
            HarnessFailed: the judge or the analyst broke.
        """
        ctx.check()
        started_s = ctx.now_s()
        self.judge.prepare()
        ctx.progress("characterize.step", {"step": "measuring what this machine can do"})
        device = while_wanted(ctx, lambda: self.devices.resolve(ctx.goal.device))
        problem_dir = str(ctx.params["problem"])
        problem = read_problem(Path(problem_dir), device.kind)
        characterization, bounds, notes = while_wanted(ctx, lambda: self._measure(problem, problem_dir, device, ctx))
        kept = tuple(bound for bound in bounds if not _is_refuted(bound, characterization))
        refuted = [bound.workload for bound in bounds if _is_refuted(bound, characterization)]
        if refuted:
            notes = (*notes, f"The bounds of {', '.join(refuted)} lie above a measured time, so they are not used.")
        finding = CharacterizeFinding(
            problem=problem, characterization=characterization, bounds=kept, device=device, notes=notes
        )
        return Outcome(
            outputs=finding.as_outputs(),
            reason=" ".join(notes),
            spend=Spend(wall_s=max(ctx.now_s() - started_s, 0.0), device_s=characterization.device_s),
        )

    def _measure(
        self, problem: Problem, problem_dir: str, device: DeviceModel, ctx: ActionContext
    ) -> tuple[Characterization, tuple[SolBound, ...], tuple[str, ...]]:
        """Compute the bounds beside the measurements: the analyst needs no device."""
        with ThreadPoolExecutor(max_workers=1) as beside:
            pending = beside.submit(self.analyst.bounds, problem, device)
            characterization = self.judge.characterize(
                problem_dir, device.name, lambda step: ctx.progress("characterize.step", {"step": step})
            )
            try:
                return characterization, pending.result(), ()
            except InvalidInput as error:
                # The reference ran under the judge; a tracer that cannot follow it costs the bound, not the job.
                return characterization, (), (f"There is no bound: {error.message}",)


def _is_refuted(bound: SolBound, characterization: Characterization) -> bool:
    measured_us = [one.time_us[bound.workload] for one in characterization.baselines if bound.workload in one.time_us]
    return bool(measured_us) and bound.time_us > min(measured_us)
