"""Owns putting files and directories in place by a rename; touches files; knows nothing of versions.

A reader sees the whole file or none, and a killed writer leaves a stray temporary file, never a lock.
"""

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import fsync
from pathlib import Path

from deep_agent.errors import ResourceExhausted


def put_atomically(path: Path, content: bytes, *, scratch: Path) -> None:
    """Write a file durably, replacing an older one; parents are made.

    Args:
        path: the file.
        content: all of it.
        scratch: directory of the same file system in which a killed writer may leave its stray file.

    Raises:
        ResourceExhausted: the disk is full.
    """
    with _disk_full_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=scratch, prefix="tmp_")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
                stream.flush()
                fsync(stream.fileno())
            Path(temporary).replace(path)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise


def put_directory(path: Path, fill: Callable[[str], None]) -> None:
    """Make a directory whole: fill an empty one beside it, then rename; a directory already there wins.

    Raises:
        ResourceExhausted: the disk is full.
    """
    with _disk_full_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.mkdtemp(dir=path.parent, prefix="tmp_")
        try:
            fill(temporary)
            Path(temporary).chmod(0o755)
            Path(temporary).rename(path)
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise


@contextmanager
def _disk_full_named(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise ResourceExhausted(
            f"the disk is full, so {path} could not be written.", remedy="Free some space, then resume the job."
        ) from error
