"""Owns where a judge keeps things on disk, and where it looks for programs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROGRAM_PATH: Final = "/usr/local/cuda/bin:/usr/local/bin:/usr/bin:/bin"
"""Where the judge looks for programs; its own environment is empty."""


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
