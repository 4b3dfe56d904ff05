"""Owns the lock that keeps dispatchers to one a home folder; touches a file."""

import fcntl
import os
from pathlib import Path

from deep_agent.errors import ResourceExhausted

LOCK_FILE = "dispatcher.lock"


class FileHomeLock:
    """An advisory lock on a file: the system takes it back when the process ends, however it ends."""

    def __init__(self, home: Path) -> None:
        self._path = home / LOCK_FILE
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """See `HomeLock.acquire`.

        Raises:
            ResourceExhausted: the file cannot be made.
        """
        if self._descriptor is not None:
            return True
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # Not inherited: a child that outlives this process must not hold the lock.
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise ResourceExhausted(
                f"the lock file {self._path} cannot be made: {error.strerror}.",
                remedy="Make the folder writable.",
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """See `HomeLock.release`."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
