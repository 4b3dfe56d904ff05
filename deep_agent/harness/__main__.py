"""The judge's own program: `python -m deep_agent.harness FD`. Starts the zygote, then the judge, which loads torch.

Both need seconds to load, so they load side by side; this module imports neither.
"""

import importlib
import json
import os
import socket
import sys
from pathlib import Path

from deep_agent.harness.arms.arm import Zygote
from deep_agent.harness.folders import Folders


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
    zygote = Zygote(folders.scratch, folders.hidden, folders.baselines)
    try:
        importlib.import_module("deep_agent.harness.program").serve(channel, zygote, folders, settings)
    finally:
        zygote.close()
        # Threads may still wait for a device or an arm; nobody is left to answer to.
        os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
