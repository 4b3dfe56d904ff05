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


def copied(job: JobView, out: Path | None) -> JobView:
    """Copy artefacts and report to `out`; give the job with the paths of the copies.

    Raises:
        ResourceExhausted: the disk is full, or the folder cannot be written.
    """
    if out is None:
        return job
    try:
        out.mkdir(parents=True, exist_ok=True)
        problems = tuple(_copied(one, out.absolute()) for one in job.problems)
        report = None if job.report is None else str(shutil.copy2(job.report, out.absolute() / "report.html"))
    except OSError as error:
        raise ResourceExhausted(
            f"results cannot be copied to {out}: {error.strerror or error}.",
            remedy=f"They are kept in {job.report or 'the home folder'}; free space or name another --out.",
        ) from error
    return job.model_copy(update={"problems": problems, "report": report})


def _copied(one: ProblemResult, out: Path) -> ProblemResult:
    if one.artefact is None:
        return one
    folder = shutil.copytree(one.artefact, out / Path(one.artefact).name, dirs_exist_ok=True)
    return one.model_copy(update={"artefact": str(folder)})


def as_json(job: JobView) -> dict[str, object]:
    """Give the published object of one job; `best.solution` is the solution's file where it was packed."""
    return {
        "job": job.id,
        "status": job.status.value,
        "problems": [_problem_json(one) for one in job.problems],
        "spend": job.spend.model_dump(mode="json"),
        "report": job.report,
    }


def _problem_json(result: ProblemResult) -> dict[str, object]:
    best = None
    if result.best is not None:
        best = result.best.model_dump(mode="json")
        if result.artefact is not None and (packed := Path(result.artefact) / SOLUTION_FILE).is_file():
            best["solution"] = str(packed)
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


def print_closing(job: JobView) -> None:
    """Print the closing table and where everything lies."""
    console = terminal.out()
    table = terminal.plain_table("Problem", ">Baseline", ">Best", ">Speed-up (95 %)", ">Bound", "Verdict")
    for one in job.problems:
        table.add_row(*_cells(one))
    console.print(table)
    notes = [f"{one.problem}: {one.message}" for one in job.problems if one.message]
    kept = [f"{one.problem}: {one.artefact}" for one in job.problems if one.artefact]
    for line in (*notes, *kept, *([f"report: {job.report}"] if job.report else [])):
        console.print(line, markup=False, soft_wrap=True)


def _cells(one: ProblemResult) -> tuple[str, ...]:
    baseline = _time(one.baseline.time_us) if one.baseline else "-"
    if one.best is None:
        return one.problem, baseline, "-", "-", "-", WORDS[one.verdict]
    low, high = one.best.speedup_ci
    share = "-" if one.best.percent_of_sol is None else f"{one.best.percent_of_sol:.0f} %"
    speedup = f"{one.best.speedup:.2f}x ({low:.2f}-{high:.2f})"
    return one.problem, baseline, _time(one.best.time_us), speedup, share, WORDS[one.verdict]


def _time(time_us: float) -> str:
    return f"{time_us:,.1f} us" if time_us < 1e5 else f"{time_us / 1e3:,.1f} ms"


def close(job: JobView, *, out: Path | None, json_out: bool) -> int:
    """Tell how the job went and give the exit code."""
    job = copied(job, out)
    if json_out:
        terminal.print_json(as_json(job))
    else:
        print_closing(job)
    if job.is_over:
        return _ended_code(job)
    versions = sum(one.versions for one in job.problems)
    what = f"{versions} version{'' if versions == 1 else 's'} kept" if versions else "nothing found yet"
    terminal.err().print(f"stopped, {what}. Go on with: deep-agent jobs resume {job.id}", markup=False, soft_wrap=True)
    return terminal.INTERRUPTED


def _ended_code(job: JobView) -> int:
    if job.status is JobStatus.SUCCEEDED and job.is_answered:
        return terminal.OK
    failed = [one for one in job.problems if one.verdict == "failed"]
    return terminal.BAD_INPUT if failed and all(one.refused for one in failed) else terminal.FAILED
