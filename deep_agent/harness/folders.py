"""Owns where a judge keeps things on disk, and where it looks for programs."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deep_agent.errors import MissingTool

PROGRAM_PATH: Final = "/usr/local/cuda/bin:/usr/local/bin:/usr/bin:/bin"
"""Where the judge looks for programs; its own environment is empty."""
_INSTALLED: Final = Path("/opt/nvidia/nsight-compute")
"""Where the tool's own packages unpack it, a folder a version."""


@dataclass(frozen=True, slots=True)
class Folders:
    """A judge's folders; all exist."""

    builds: Path
    """Compiled solutions."""
    baselines: Path
    """What torch.compile keeps between runs."""
    scratch: Path
    """Scratch files of trusted arms."""
    hidden: tuple[str, ...]
    """Folders no candidate may see."""

    @classmethod
    def under(cls, home: Path, *, hidden: tuple[str, ...]) -> "Folders":
        """Make them under one folder."""
        made = cls(builds=home / "builds", baselines=home / "baselines", scratch=home / "scratch", hidden=hidden)
        for folder in (made.builds, made.baselines, made.scratch):
            folder.mkdir(parents=True, exist_ok=True)
        return made


def claimed_scratch(parent: Path) -> Path:
    """Make a folder that is this process's as long as it lives, and remove those whose process is gone.

    Processes end by being killed, too, and their numbers come again; a lock ends with its process in any case.
    """
    with _locked(parent):
        for old in parent.iterdir():
            held = _lock(old)
            if held is not None:
                shutil.rmtree(old, ignore_errors=True)
                os.close(held)
        made = Path(tempfile.mkdtemp(dir=parent))
        _lock(made)
    return made


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def _lock(folder: Path) -> int | None:
    """Lock a folder until the descriptor is closed or the process ends; None where another process has it."""
    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        return None
    return held


def find_ncu(path: str = PROGRAM_PATH, installed: Path = _INSTALLED) -> str:
    """Look for Nsight Compute on the judge's path, then for the newest one that is unpacked.

    Raises:
        MissingTool: there is none.
    """
    unpacked = sorted(installed.glob("*/ncu"), key=lambda one: _version(one.parent.name))
    found = shutil.which("ncu", path=path) or (str(unpacked[-1]) if unpacked else None)
    if found is None:
        raise MissingTool(
            "profiling on a CUDA device needs Nsight Compute, and there is no ncu on this machine.",
            remedy="Install it, such as `apt-get install cuda-nsight-compute-13-0`, so that ncu is in /usr/local/cuda/bin.",
        )
    return found


def _version(name: str) -> tuple[int, ...]:
    return tuple(int(part) for part in name.split(".") if part.isdecimal())
