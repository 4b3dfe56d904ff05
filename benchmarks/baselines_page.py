"""Writes the page of a table of baselines from its rows. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

Row = Mapping[str, Any]
COLUMNS: Final = {
    "eager": "eager",
    "eager_out": "eager, out=",
    "torch_compile": "torch.compile",
    "torch_compile_max_autotune": "max-autotune",
    "library": "library call",
}


def violations(rows: Sequence[Row]) -> list[str]:
    """Name each measured time that does not lie above its strict bound: bound or measurement is wrong there."""
    return [
        f"{row['problem']} {row['workload']}: {name} took {time_us:.3f} us, its strict bound is {strict_us:.3f} us"
        for row in rows
        if row["bounds"] is not None
        for strict_us in (row["bounds"]["strict_us"],)
        for name, time_us in row["time_us"].items()
        if time_us <= strict_us
    ]


def page(rows: Sequence[Row], *, title: str) -> str:
    """Give the Markdown page of a table; rows without a result are listed under it with their reasons."""
    measured = [row for row in rows if row["error"] is None]
    failed = [f"- {row['problem']} {row['workload'] or ''}: {row['error']}" for row in rows if row["error"] is not None]
    broken = violations(measured)
    parts = [f"# {title}", _introduction(rows)]
    parts.append("\n".join(_table(measured)))
    if broken:
        parts.append("## Times below their bound\n\n" + "\n".join(f"- **{line}**" for line in broken))
    missing = _missing(measured)
    if missing:
        parts.append("## Baselines that did not run\n\n" + "\n".join(missing))
    if failed:
        parts.append("## Rows without a result\n\n" + "\n".join(failed))
    parts.append("## Where these figures come from\n\n" + "\n".join(_origins(rows)))
    return "\n\n".join(parts) + "\n"


def _introduction(rows: Sequence[Row]) -> str:
    names = ", ".join(sorted({row["device_name"] for row in rows}))
    n_beside = max((row.get("set_up_beside", 0) for row in rows), default=0)
    tuned = (
        f"\nTimes were taken alone, but the compiler tuned itself beside that of up to {n_beside} other problems, so that its\n"
        "choice of configurations may be worse than on an idle device: where it is slower than torch.compile, it is."
    )
    return (
        f"Measured on: {names}. Times are medians in microseconds, baselines timed side by side; in brackets the SOL Score\n"
        "against the strict bound, with the workload's best baseline as reference (0.5 by definition, in bold).\n"
        "`strict` and `gate` are computed; `ceiling` is the same bound under rates probed on this device, 5 % higher.\n"
        "On a processor `strict` is computed from probed rates, so it is the ceiling, and there is no gate. The load average\n"
        "stands below: on a machine that others use too, times are what they were, and no statement about the library.\n"
        "The best is the judge's choice, by lower quartiles, so that another median may lie just below its own. `noise` is the\n"
        "95 % interval of the best baseline's time over that of its twin: where it is wide, so is every ratio of the row."
        + (tuned if n_beside else "")
    )


def _table(rows: Sequence[Row]) -> list[str]:
    used = [name for name in COLUMNS if any(name in row["time_us"] or name in row["failures"] for row in rows)]
    heads = ["problem", "workload", *(COLUMNS[name] for name in used)]
    heads += ["strict", "gate", "ceiling", "limited by", "best / strict", "best / ceiling", "noise"]
    lines = [_line(heads), "|" + "---|" * len(heads)]
    for row in rows:
        bounds = row["bounds"] or {}
        cells = [row["problem"], row["workload"], *(_cell(row, name) for name in used)]
        cells += [_number(bounds.get(key)) for key in ("strict_us", "gate_us", "ceiling_us")]
        cells += [bounds.get("limiter", "-"), _number(row["best_over_strict"]), _number(row["best_over_ceiling"])]
        cells.append(f"{row['noise']['low']:.3f} to {row['noise']['high']:.3f}")
        lines.append(_line(cells))
    return lines


def _cell(row: Row, name: str) -> str:
    if name not in row["time_us"]:
        return "-"
    score = row["sol_score"].get(name)
    shown = f"{_number(row['time_us'][name])} ({'-' if score is None else _number(score['clamped'])})"
    return f"**{shown}**" if name == row["best"] else shown


def _missing(rows: Sequence[Row]) -> list[str]:
    """One line for each baseline and reason, naming the rows it holds for."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        for name, reason in row["failures"].items():
            found.setdefault((row["problem"], name, reason), []).append(row["workload"])
    return [
        f"- {problem}, {COLUMNS[name]} ({', '.join(workloads)}): {reason}"
        for (problem, name, reason), workloads in found.items()
    ]


def _origins(rows: Sequence[Row]) -> list[str]:
    """The versions, and the range of clocks and loads over all rows."""
    software = {key: sorted({str(row["software"].get(key)) for row in rows}) for key in rows[0]["software"]}
    lines = [f"- {key}: {', '.join(values)}" for key, values in software.items()]
    states = [state for row in rows for state in (row["before"], row["after"]) if state]
    for key in sorted({key for state in states for key in state}):
        values = sorted({str(state[key]) for state in states if key in state}, key=_by_number)
        lines.append(f"- {key}: {values[0]} to {values[-1]}" if len(values) > 1 else f"- {key}: {values[0]}")
    return lines


def _by_number(text: str) -> tuple[float, str]:
    """Order readings by their number, so that 120 MHz comes before 1980 MHz."""
    try:
        return float(text.split(maxsplit=1)[0]), text
    except (ValueError, IndexError):
        return float("inf"), text


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 1000 else f"{value:.1f}" if value >= 100 else f"{value:.2f}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
