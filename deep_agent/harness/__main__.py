"""The judge's own program: `python -m deep_agent.harness FD`. Starts the zygote, then the judge, which loads torch.

Both need seconds to load, so they load side by side; this module imports neither.
"""

import importlib
import json
import os
import resource
import socket
import sys
from pathlib import Path
from typing import Final

from deep_agent.harness.arms.arm import Zygote
from deep_agent.harness.folders import Folders, claimed_scratch

_FILES: Final = 2**16
"""Files the judge wants to hold open at once: buffers of every workload, for every arm. 1024 is a usual limit, and 16 workloads
on a device may take 512 for one bench."""


def main(channel_fd: int) -> None:
    """Read the settings line, then serve until the client is gone."""
    channel = socket.socket(fileno=channel_fd)
    first = b""
    while not first.endswith(b"\n"):
        received = channel.recv(1)
        if not received:
            return
        first += received
    settings = json.loads(first)
    folders = Folders.under(Path(settings["home"]), hidden=tuple(settings["hidden"]))
    _allow_files(_FILES)
    zygote = Zygote(claimed_scratch(folders.scratch), folders.hidden, folders.baselines)
    try:
        importlib.import_module("deep_agent.harness.program").serve(channel, zygote, folders, settings)
    finally:
        zygote.close()
        # Threads may still wait for a device or an arm; nobody is left to answer to.
        os._exit(0)


def _allow_files(wanted: int) -> None:
    """Raise the limit on open files as far as the system lets everybody; arms of candidates have one of their own."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    reachable = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < reachable:
        resource.setrlimit(resource.RLIMIT_NOFILE, (reachable, hard))


if __name__ == "__main__":
    main(int(sys.argv[1]))
