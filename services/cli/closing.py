"""Owns how a finished or interrupted job is told: the closing table, the JSON object, the exit code, copies."""

import shutil
from pathlib import Path

from deep_agent.errors import InvalidInput, ResourceExhausted
from deep_agent.htdag.job import JobStatus
from services.cli import terminal
from services.views import JobView, ProblemResult

SOLUTION_FILE = "solution.json"
WORDS = {"verified": "verified", "library": "no faster kernel found", "failed": "failed", "unfinished": "unfinished"}


def check_out(out: Path | None) -> None:
    """Refuse a folder that cannot receive results, before any work is done; makes nothing.

    Raises:
        InvalidInput: the path is a file, or lies below one.
    """
    if out is None:
        return
    standing = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    if not standing.is_dir():
        raise InvalidInput(f"--out {out}: {standing} is not a folder.", remedy="Name a folder, existing or not.")


def copy_out(job: JobView, out: Path | None) -> dict[str, Path]:
    """Copy artefacts and report to `out`; give each problem's artefact folder, copied or not.

    Raises:
        ResourceExhausted: the disk is full, or the folder cannot be written.
    """
    kept = {one.problem: Path(one.artefact) for one in job.problems if one.artefact}
    if out is None:
        return kept
    try:
        out.mkdir(parents=True, exist_ok=True)
        if job.report:
            shutil.copy2(job.report, out / "report.html")
        return {
            problem: Path(shutil.copytree(folder, out / folder.name, dirs_exist_ok=True))
            for problem, folder in kept.items()
        }
    except OSError as error:
        raise ResourceExhausted(
            f"results cannot be copied to {out}: {error.strerror or error}.",
            remedy=f"They are kept in {job.report or 'the home folder'}; free space or name another --out.",
        ) from error


def as_json(job: JobView, artefacts: dict[str, Path]) -> dict[str, object]:
    """Give the published object of one job; `best.solution` is the solution's file where it was packed."""
    return {
        "job": job.id,
        "status": job.status.value,
        "problems": [_problem_json(one, artefacts.get(one.problem)) for one in job.problems],
        "spend": job.spend.model_dump(mode="json"),
        "report": job.report,
    }


def _problem_json(result: ProblemResult, artefact: Path | None) -> dict[str, object]:
    best = None
    if result.best is not None:
        best = result.best.model_dump(mode="json")
        if artefact is not None and (artefact / SOLUTION_FILE).is_file():
            best["solution"] = str((artefact / SOLUTION_FILE).absolute())
    return {
        "problem": result.problem,
        "device": result.device,
        "baseline": None if result.baseline is None else result.baseline.model_dump(mode="json"),
        "best": best,
        "versions": result.versions,
        "evaluations": result.evaluations,
        "verdict": WORDS[result.verdict],
        "message": result.message,
    }


def print_closing(job: JobView, artefacts: dict[str, Path]) -> None:
    """Print the closing table and where everything lies."""
    console = terminal.out()
    columns = ("Problem", "Verdict", ">Baseline", ">Best", ">Speed-up", ">95 % interval", ">Of the bound")
    table = terminal.plain_table(*columns)
    for one in job.problems:
        table.add_row(*_cells(one))
    console.print(table)
    for one in job.problems:
        if one.message:
            console.print(f"{one.problem}: {one.message}", markup=False, soft_wrap=True)
    for problem, folder in artefacts.items():
        console.print(f"{problem}: {folder}", markup=False, soft_wrap=True)
    if job.report:
        console.print(f"report: {job.report}", markup=False, soft_wrap=True)


def _cells(one: ProblemResult) -> tuple[str, ...]:
    baseline = f"{one.baseline.time_us:,.1f} us" if one.baseline else "-"
    if one.best is None:
        return one.problem, WORDS[one.verdict], baseline, "-", "-", "-", "-"
    low, high = one.best.speedup_ci
    share = "-" if one.best.percent_of_sol is None else f"{one.best.percent_of_sol:.0f} %"
    speedup = f"{one.best.speedup:.2f}x"
    return (
        one.problem,
        WORDS[one.verdict],
        baseline,
        f"{one.best.time_us:,.1f} us",
        speedup,
        f"{low:.2f}-{high:.2f}",
        share,
    )


def close(job: JobView, *, out: Path | None, json_out: bool) -> int:
    """Tell how the job went and give the exit code."""
    artefacts = copy_out(job, out)
    if json_out:
        terminal.print_json(as_json(job, artefacts))
    else:
        print_closing(job, artefacts)
    if job.is_over:
        return terminal.OK if job.status is JobStatus.SUCCEEDED and job.is_answered else terminal.FAILED
    versions = sum(one.versions for one in job.problems)
    what = f"{versions} version{'' if versions == 1 else 's'} kept" if versions else "nothing found yet"
    terminal.err().print(f"stopped, {what}. Go on with: deep-agent jobs resume {job.id}", markup=False, soft_wrap=True)
    return terminal.INTERRUPTED
