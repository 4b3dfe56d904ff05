"""Owns immutable bytes by content hash, as files: the `Blobs` port on a folder; touches the disk."""

import contextlib
import errno
import hashlib
import os
import secrets
from pathlib import Path

from deep_agent.errors import HarnessFailed, InvalidInput, NotFound, ResourceExhausted

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class FileBlobs:
    """Blobs under `<folder>/<first two hex digits>/<digest>`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, content: bytes) -> str:
        """See `Blobs.put`; the file is whole and on disk before its name exists."""
        digest = hashlib.sha256(content).hexdigest()
        path = self._path(digest)
        if path.exists():
            return digest
        draft = path.with_name(f".{digest}.{secrets.token_hex(6)}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_through(draft, content)
            draft.replace(path)
            _sync_folder(path.parent)
        except OSError as error:
            # What failed may be the very folder; the draft is worth nothing either way.
            with contextlib.suppress(OSError):
                draft.unlink()
            raise _explained(error, path) from error
        return digest

    def get(self, digest: str) -> bytes:
        """See `Blobs.get`; what is read is checked against its name."""
        try:
            content = self._path(digest).read_bytes()
        except FileNotFoundError as error:
            raise NotFound(f"there is no blob {digest} in {self._folder}.") from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise HarnessFailed(f"the blob {digest} in {self._folder} is damaged.", remedy="Check the disk.")
        return content

    def _path(self, digest: str) -> Path:
        if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
            raise InvalidInput(f"{digest!r} is no SHA-256 in hex.")
        return self._folder / digest[:2] / digest


def _write_through(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _explained(error: OSError, path: Path) -> ResourceExhausted:
    if error.errno in _FULL:
        return ResourceExhausted(f"the disk of {path.parent} is full.", remedy="Free space and start again.")
    return ResourceExhausted(
        f"{path} cannot be written: {error.strerror}.", remedy="Make the folder writable for this user."
    )
