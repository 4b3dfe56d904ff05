"""Confines a forked process before candidate code enters it: namespaces, read-only files, limits.

Owns the system calls; runs in the zygote's children, so it imports nothing of the judge. Each step reports
whether it held; the judge puts the report into the verdict.
"""

import contextlib
import ctypes
import fcntl
import os
import resource
import signal
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

_CLONE_NEWNS: Final = 0x00020000
_CLONE_NEWIPC: Final = 0x08000000
_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWPID: Final = 0x20000000
_CLONE_NEWNET: Final = 0x40000000
_MS_REC_PRIVATE: Final = 0x4000 | 0x40000
_MS_NOSUID_NODEV: Final = 2 | 4
_MS_BIND: Final = 4096
_SCRATCH: Final = "/tmp"  # noqa: S108 - a scratch of its own in the namespace
_SYS_MOUNT_SETATTR: Final = 442
_AT_FDCWD: Final = -100
_AT_RECURSIVE: Final = 0x8000
_MOUNT_ATTR_RDONLY: Final = 1
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_NO_NEW_PRIVS: Final = 38

_PR_CAPBSET_DROP: Final = 24
_N_CAPABILITIES: Final = 64
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 1
_CAPABILITY_VERSION: Final = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


class _MountAttributes(ctypes.Structure):
    _fields_ = (
        ("set", ctypes.c_uint64),
        ("clear", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("user_namespace_fd", ctypes.c_uint64),
    )


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def enter_namespaces() -> bool:
    """Leave the host's network, processes, mounts and users; the next fork is process 1 of its own world.

    Works for root and, where the kernel allows user namespaces, for everyone. Returns whether it held.
    """
    uid, gid = os.getuid(), os.getgid()
    if _libc.unshare(_CLONE_NEWUSER | _CLONE_NEWPID | _CLONE_NEWNET | _CLONE_NEWNS | _CLONE_NEWIPC) != 0:
        return False
    try:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    except OSError:
        return False
    return True


def confine(order: Mapping[str, Any], needed: tuple[str, ...], *, namespaces: bool) -> tuple[list[str], list[str]]:
    """Take every step that follows the namespaces, and move into the scratch.

    Args:
        order: limits as `limit_resources` takes them; hidden and fresh folders as for `seal_files`; scratch, for
            where there is no namespace.
        needed: folders that stay visible, as for `seal_files`.
        namespaces: whether this process is in its own.

    Returns:
        What held and what did not, in words.
    """
    held: list[str] = []
    failed: list[str] = []
    if namespaces:
        held.append("no network")
        file_bytes, fresh = order["limits"]["file_bytes"], tuple(order["fresh"])
        sealed, open_ = seal_files(file_bytes, tuple(order["hidden"]), needed, fresh=fresh)
        held += sealed
        failed += open_
    else:
        failed += ["no network", "read-only files", "other processes invisible"]
    os.chdir(_SCRATCH if namespaces else order["scratch"])
    limit_resources(order["limits"])
    forbid_dumps()
    memory = "" if order["limits"]["memory_bytes"] is None else "memory, "
    held.append(f"limits on {memory}processor time, file size and open files")
    (held if drop_capabilities() else failed).append("no capabilities")
    return held, failed


def raise_loopback() -> bool:
    """Let processes of this network namespace reach each other over 127.0.0.1; returns whether it held."""
    request = struct.pack("16sH22x", b"lo", _IFF_UP)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            fcntl.ioctl(asking, _SIOCSIFFLAGS, request)
    except OSError:
        return False
    return True


def seal_files(
    scratch_bytes: int, hidden: tuple[str, ...], needed: tuple[str, ...] = (), *, fresh: tuple[str, ...] = ()
) -> tuple[list[str], list[str]]:
    """Make every file read-only but a fresh scratch in /tmp, and hide the judge's own folders.

    Args:
        scratch_bytes: size of the scratch file system.
        hidden: folders that become empty.
        needed: folders that stay visible although they may lie where the scratch goes, such as Python's own.
        fresh: folders that become empty and can be written, each of the scratch's size.

    Returns:
        What held and what did not, in words.
    """
    held: list[str] = []
    failed: list[str] = []
    _libc.mount(b"none", b"/", None, _MS_REC_PRIVATE, None)
    (held if make_read_only(Path("/")) else failed).append("read-only files")
    options = f"size={scratch_bytes},mode=700".encode()
    with _kept_visible(_SCRATCH, needed):
        made = [_libc.mount(b"tmpfs", one.encode(), b"tmpfs", _MS_NOSUID_NODEV, options) for one in (_SCRATCH, *fresh)]
    (failed if any(made) else held).append("scratch folder of its own")
    own_proc = _libc.mount(b"proc", b"/proc", b"proc", _MS_NOSUID_NODEV, None)
    (held if own_proc == 0 else failed).append("other processes invisible")
    covered = [
        _libc.mount(b"tmpfs", folder.encode(), b"tmpfs", _MS_NOSUID_NODEV, b"size=4k,mode=500")
        for folder in hidden
        if Path(folder).is_dir()
    ]
    (failed if any(covered) else held).append("judge's folders hidden")
    return held, failed


@contextlib.contextmanager
def _kept_visible(covered: str, folders: Iterable[str]) -> Iterator[None]:
    """Show those folders that lie in one about to be covered again, read-only: libraries are loaded late."""
    inside = [folder for folder in folders if Path(covered) in Path(folder).parents and Path(folder).is_dir()]
    opened = {folder: os.open(folder, os.O_PATH) for folder in inside}
    yield
    for folder, fd in opened.items():
        Path(folder).mkdir(parents=True, exist_ok=True)
        if _libc.mount(f"/proc/self/fd/{fd}".encode(), folder.encode(), None, _MS_BIND, None) == 0:
            make_read_only(Path(folder))
        os.close(fd)


def make_read_only(folder: Path) -> bool:
    """Make a mount and everything below it read-only; returns whether it held."""
    attributes = _MountAttributes(_MOUNT_ATTR_RDONLY, 0, 0, 0)
    path, size = str(folder).encode(), ctypes.sizeof(attributes)
    made = _libc.syscall(_SYS_MOUNT_SETATTR, _AT_FDCWD, path, _AT_RECURSIVE, ctypes.byref(attributes), size)
    return bool(made == 0)


def limit_resources(limits: Mapping[str, int | None]) -> None:
    """Apply hard limits; `limits` has memory_bytes, cpu_s, file_bytes, n_files. None is no limit.

    The address space is limited on top of what the preloaded libraries already map.
    """
    mapped_bytes = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    memory_bytes = limits["memory_bytes"]
    for kind, value in (
        (resource.RLIMIT_AS, None if memory_bytes is None else mapped_bytes + memory_bytes),
        (resource.RLIMIT_CPU, limits["cpu_s"]),
        (resource.RLIMIT_FSIZE, limits["file_bytes"]),
        (resource.RLIMIT_NOFILE, limits["n_files"]),
        (resource.RLIMIT_CORE, 0),
    ):
        if value is not None:
            resource.setrlimit(kind, (value, value))
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def forbid_dumps() -> None:
    """Keep other processes of the same user from reading this one's memory."""
    _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def drop_capabilities() -> bool:
    """Give up every capability, for good: in its own namespaces a process could undo what seals them.

    Returns whether it held.
    """
    for capability in range(_N_CAPABILITIES):
        _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    none = (ctypes.c_uint32 * 6)()
    return bool(_libc.capset(ctypes.byref(header), ctypes.byref(none)) == 0)
