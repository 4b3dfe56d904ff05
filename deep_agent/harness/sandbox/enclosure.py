"""Runs one program, and whatever it starts, in namespaces of their own, and tells what it left behind.

`python -S -m deep_agent.harness.sandbox.enclosure`, with the order as JSON on its input and the answer on its output.
Unlike an arm the program is another's, such as a profiler that starts the candidate's process and speaks with it
over the loopback, which is the only network there is inside.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from deep_agent.harness.sandbox.confine import confine, die_with_parent, enter_namespaces, raise_loopback

MAX_SAID_BYTES: Final = 16 * 1024
"""Of the end of what the program printed."""


def main() -> int:
    """Enter the namespaces, and let process 1 of them do the rest; ends when it does."""
    die_with_parent()
    order = json.load(sys.stdin)
    namespaces = enter_namespaces()
    pid = os.fork()
    if pid == 0:
        die_with_parent()
        sys.stdout.write(json.dumps(_run(order, namespaces=namespaces)))
        sys.stdout.flush()
        # Process 1 of a namespace takes all others with it.
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 0xFF


def _run(order: dict[str, Any], *, namespaces: bool) -> dict[str, object]:
    """Confine and run.

    Args:
        order: limits, hidden, fresh and scratch as `confine` takes them; needed folders; environment; command;
            report, a file in the scratch that the program writes; report_bytes, how much of it is read at most.
        namespaces: whether this process is in its own.
    """
    # With the namespace's privileges, which the next step gives up.
    has_loopback = not namespaces or raise_loopback()
    held, failed = confine(order, tuple(order["needed"]), namespaces=namespaces)
    if not has_loopback:
        failed.append("a loopback")
    environment = order["environment"] | dict.fromkeys(order["scratch_variables"], str(Path.cwd()))
    with tempfile.TemporaryFile(dir=".") as said:
        done = subprocess.run(
            order["command"], stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=environment, check=False
        )
        end = said.seek(0, os.SEEK_END)
        said.seek(max(0, end - MAX_SAID_BYTES))
        words = said.read(MAX_SAID_BYTES).decode(errors="replace")
    return {
        "held": held,
        "failed": failed,
        "status": done.returncode,
        "said": words,
        "report": _read(Path(order["report"]), order["report_bytes"]),
    }


def _read(path: Path, most_bytes: int) -> str:
    """Read what stands there, which a candidate may have replaced by anything."""
    if path.is_symlink() or not path.is_file():
        return ""
    with path.open("rb") as stream:
        return stream.read(most_bytes).decode(errors="replace")


if __name__ == "__main__":
    sys.exit(main())
