"""Writes the report of a job. Reads the store; writes one file."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from deep_agent.executor.action import ActionContext
from deep_agent.executor.findings import ReportFinding
from deep_agent.executor.folder import JobFolder, put
from deep_agent.executor.report.collect import report_content
from deep_agent.executor.report.render import render
from deep_agent.htdag.goal import Spend
from deep_agent.htdag.node import JsonObject
from deep_agent.htdag.outcome import Outcome
from deep_agent.ports import JobReads


class Report:
    """The `report` action."""

    def __init__(self, home: Path, reads: JobReads) -> None:
        """Keep the folder under which everything of a run lies, and the store's reading side."""
        self._home = home
        self._reads = reads

    def run(self, inputs: Mapping[str, JsonObject], ctx: ActionContext) -> Outcome:
        """Write `report.html`; a second writing replaces the first.

        Raises:
            Interrupted: the job was cancelled, or the process is stopping.
            ResourceExhausted: the disk is full.
        """
        ctx.check()
        content = report_content(
            self._reads.graph(ctx.job_id),
            ctx.goal,
            spend=_spend(ctx),
            written_at=datetime.fromtimestamp(ctx.now_s(), tz=UTC).isoformat(timespec="seconds"),
        )
        path = JobFolder(self._home, ctx.job_id).report
        put(path, render(content))
        return Outcome(outputs=ReportFinding(report=str(path)).as_outputs())


def _spend(ctx: ActionContext) -> Spend:
    """Give what the job used, its wall time by its own clock; steps that ran beside each other count once there."""
    wall_s = max(0.0, ctx.now_s() - (ctx.job_deadline_s - ctx.goal.budget.wall_s))
    return ctx.job_spend.model_copy(update={"wall_s": wall_s})
