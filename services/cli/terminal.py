"""Owns what goes to the terminal: results to standard output, everything else to standard error."""

import json
import sys
from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deep_agent.errors import DeepAgentError, HarnessFailed, ModelFailed

UNWRAPPED_COLUMNS = 200
OK, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


def out() -> Console:
    """Standard output: tables, unwrapped where no terminal sets a width."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=UNWRAPPED_COLUMNS)


def err() -> Console:
    """Standard error: progress, hints, errors."""
    return Console(stderr=True, highlight=False)


def print_json(value: Mapping[str, object]) -> None:
    """Print exactly one JSON object."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def plain_table(*columns: str) -> Table:
    """Make a table in the house's look; columns whose heading starts with `>` hold figures."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for column in columns:
        figures = column.startswith(">")
        table.add_column(column.removeprefix(">"), justify="right" if figures else "left", no_wrap=figures)
    return table


def print_error(error: DeepAgentError) -> None:
    """Say what went wrong, and on the next line what to do."""
    console = err()
    console.print(f"[bold red]error:[/] {escape(error.message)}", soft_wrap=True)
    if error.remedy:
        console.print(f"       {escape(error.remedy)}", soft_wrap=True)


def exit_code(error: DeepAgentError) -> int:
    """Give 1 where the product itself or what it rests on broke, else 2: the caller can correct it."""
    broken = isinstance(error, HarnessFailed | ModelFailed) or type(error) is DeepAgentError
    return FAILED if broken else BAD_INPUT
