"""Runs a compiler where it sees only its sources and the system's headers.

`python -S -m deep_agent.harness.builds.compile_sandbox MEMORY_BYTES CPU_S STAGING READABLE... -- COMMAND`.

A compiler is fed hostile text that includes, embeds and instantiates what it likes. Where the kernel allows
namespaces it gets a root folder of its own; limits hold everywhere.
"""

import ctypes
import os
import resource
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deep_agent.harness.sandbox.confine import drop_capabilities, enter_namespaces, make_read_only

_SYSTEM: Final = ("/usr", "/bin", "/lib", "/lib64", "/etc/alternatives", "/dev/null")
BROKEN: Final = "the compiler's own root folder cannot be made"
"""What the program says when the machine is to blame, not the source."""
_FILE_BYTES: Final = 256 * 2**20
_MS_BIND: Final = 4096 | 0x4000
"""With what is mounted below: a namespace may not show a folder without it."""
_MS_PRIVATE: Final = 0x4000 | 0x40000

_CPU_SHARE: Final = 0.9
"""Of the wall limit: a compiler that spins ends by itself, with words, before its group is killed."""

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one build may take."""

    memory_bytes: int
    """Address space of each of its processes."""
    wall_s: float
    """Until the whole group is killed; a process gets nine tenths of it in processor time."""


def sandboxed(command: Sequence[str], staging: Path, readable: Sequence[str], limits: Limits) -> list[str]:
    """Wrap a command that runs in `staging/src`; `readable` are folders it may read beside the system's."""
    return [
        sys.executable,
        "-S",
        "-m",
        "deep_agent.harness.builds.compile_sandbox",
        str(limits.memory_bytes),
        str(int(_CPU_SHARE * limits.wall_s)),
        str(staging),
        *readable,
        "--",
        *command,
    ]


def main(arguments: Sequence[str]) -> int:
    """Confine, run, and give the command's exit status."""
    end = arguments.index("--")
    (memory_bytes, cpu_s, staging, *readable), command = arguments[:end], arguments[end + 1 :]
    for kind, value in (
        (resource.RLIMIT_AS, int(memory_bytes)),
        (resource.RLIMIT_CPU, int(cpu_s)),
        (resource.RLIMIT_FSIZE, _FILE_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (value, value))
    confined = enter_namespaces()
    pid = os.fork()
    if pid == 0:
        if confined:
            try:
                _enter_root(Path(staging), (*_SYSTEM, *readable))
            except OSError as error:
                os.write(2, f"{BROKEN}: {error}".encode())
                os._exit(1)
        drop_capabilities()
        os.execvp(command[0], list(command))  # noqa: S606 - the command is the judge's own
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 0xFF


def _enter_root(staging: Path, readable: Sequence[str]) -> None:
    """Build a root of read-only system folders and the writable staging folder, and move there."""
    root = staging / "root"
    root.mkdir()
    _mount(b"none", Path("/"), None, _MS_PRIVATE)
    _mount(b"tmpfs", root, b"tmpfs", 0)
    for name in readable:
        _show(Path(name), root)
    (root / "build").mkdir()
    make_read_only(root)
    _mount(str(staging).encode(), root / "build", None, _MS_BIND)
    os.chroot(root)
    os.chdir("/build/src")


def _show(path: Path, root: Path) -> None:
    target = root / path.relative_to("/")
    if not path.exists() or target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        target.symlink_to(path.readlink())
    elif path.is_dir():
        target.mkdir()
        _mount(str(path).encode(), target, None, _MS_BIND)
    else:
        target.touch()
        _mount(str(path).encode(), target, None, _MS_BIND)


def _mount(source: bytes, target: Path, kind: bytes | None, flags: int) -> None:
    if _libc.mount(source, str(target).encode(), kind, flags, None) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot mount {target}: {os.strerror(number)}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
