"""Owns the way from content to HTML; reads this package's own template and style, and nothing else.

Escaping is on for every value; the page forbids scripts and any request to elsewhere by its own policy.
"""

import json
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from deep_agent.executor.findings import best_baseline, mean_sol_score, percent_of_sol
from deep_agent.executor.report import figures
from deep_agent.executor.report.content import ProblemContent, ReportContent
from deep_agent.executor.report.roofline import roofline, roofline_points
from deep_agent.executor.report.source import FailureGroup, SourceLine, difference, failure_groups, listing
from deep_agent.executor.report.trajectory import trajectory
from deep_agent.problem.bound import SolBound
from deep_agent.problem.device import DeviceModel
from deep_agent.problem.dtype import DType
from deep_agent.problem.evaluation import WorkloadEvaluation
from deep_agent.problem.problem import Problem
from deep_agent.problem.value import FrozenValue
from deep_agent.problem.workload import Workload


class WorkloadRow(FrozenValue):
    """One line of the verification table."""

    workload: Workload
    bound: SolBound | None
    baselines_us: dict[str, float]
    """Baseline name -> its time in characterization."""
    found: WorkloadEvaluation | None

    @property
    def sizes(self) -> str:
        """The workload's axes, as the table heads its line."""
        return ", ".join(f"{name} {size}" for name, size in self.workload.axes.items()) or self.workload.uuid


@dataclass(frozen=True, kw_only=True)
class ProblemSection:
    """A problem with everything the template needs worked out."""

    content: ProblemContent
    rows: tuple[WorkloadRow, ...]
    baseline_names: tuple[str, ...]
    """Baselines that ran anywhere, in the order they were tried."""
    best_baseline: str
    sol_score: float | None
    percent_of_sol: float | None
    trajectory: Markup | None
    roofline: Markup | None
    answer_lines: tuple[SourceLine, ...]
    difference_lines: tuple[SourceLine, ...]
    failures: tuple[FailureGroup, ...]


def render(content: ReportContent) -> str:
    """Write the whole report as one HTML document that needs no other file."""
    environment = _environment()
    style = environment.get_template("style.css").render()
    return environment.get_template("report.html.j2").render(
        content=content,
        goal_json=json.dumps(content.goal.model_dump(mode="json"), indent=2),
        sections=tuple(_section(problem, content.device) for problem in content.problems),
        style=Markup(style),  # noqa: S704 - our own file, no input in it
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("deep_agent.executor.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        time=figures.time,
        quantity=figures.quantity,
        significant=figures.significant,
        tiny=figures.tiny,
        interval=figures.interval,
    )
    return environment


def _section(content: ProblemContent, device: DeviceModel | None) -> ProblemSection:
    evaluation, known = content.verification, content.characterization
    baselines = known.baselines if known is not None else ()
    return ProblemSection(
        content=content,
        rows=_rows(content),
        baseline_names=tuple(baseline.name for baseline in baselines if baseline.time_us),
        best_baseline=best_baseline(known) if known is not None else "none",
        sol_score=mean_sol_score(evaluation) if evaluation is not None else None,
        percent_of_sol=percent_of_sol(evaluation, content.bounds) if evaluation is not None else None,
        trajectory=trajectory(content.steps),
        roofline=_roofline(content, device),
        answer_lines=listing(content.answer) if content.answer is not None else (),
        difference_lines=_difference(content),
        failures=failure_groups(content.steps),
    )


def _rows(content: ProblemContent) -> tuple[WorkloadRow, ...]:
    """Line up what is known of each workload; hidden shapes of the verification follow the listed ones."""
    bounds = {bound.workload: bound for bound in content.bounds}
    found = {one.uuid: one for one in content.verification.workloads} if content.verification is not None else {}
    baselines = content.characterization.baselines if content.characterization is not None else ()
    listed = {workload.uuid: workload for workload in content.problem.workloads} if content.problem is not None else {}
    hidden = {uuid: Workload(uuid=uuid, axes={}) for uuid in found if uuid not in listed}
    return tuple(
        WorkloadRow(
            workload=workload,
            bound=bounds.get(uuid),
            baselines_us={one.name: one.time_us[uuid] for one in baselines if uuid in one.time_us},
            found=found.get(uuid),
        )
        for uuid, workload in {**listed, **hidden}.items()
    )


def _roofline(content: ProblemContent, device: DeviceModel | None) -> Markup | None:
    if device is None or content.verification is None or content.problem is None:
        return None
    dtype = _dtype(content.problem, content.bounds)
    return roofline(roofline_points(content.bounds, content.verification.workloads), device, dtype)


def _dtype(problem: Problem, bounds: tuple[SolBound, ...]) -> DType:
    """Choose whose peak the flat roof is: the type with the most multiply-adds, else the first input's."""
    macs = {dtype: count for bound in bounds for dtype, count in bound.work.macs.items() if count > 0}
    if macs:
        return max(macs, key=lambda dtype: macs[dtype])
    return next(iter(problem.definition.inputs.values())).dtype


def _difference(content: ProblemContent) -> tuple[SourceLine, ...]:
    if content.first is None or content.answer is None or content.ending != "faster":
        return ()
    return difference(content.first, content.answer)
