"""Forks arms from a process that has torch loaded and holds no secret. Imports only wire, confine and child.

Started by the judge before it opens a problem; it sees neither definitions nor inputs. The judge sends one
JSON packet an arm, with the arm's channel and log descriptors; the answer is the arm's process id and how
it is confined. When the judge hangs up, the zygote and with it every arm ends.
"""

import array
import gc
import json
import os
import signal
import socket
import sys
import warnings
from typing import Any, Final

import torch
import torch._dynamo
import torch._inductor.compile_fx  # loaded once here, so that no arm pays for it

from deep_agent.harness.sandbox.child import ArmProcess
from deep_agent.harness.sandbox.confine import confine, die_with_parent, enter_namespaces

_PACKET_BYTES: Final = 16 * 1024
_NEEDED: Final = tuple(dict.fromkeys((sys.prefix, sys.base_prefix, *(path for path in sys.path if path))))
"""Where Python and its packages lie; modules are still imported when the arm is confined."""


def main(control_fd: int) -> None:
    """Preload, say ready, then fork on request until the judge hangs up."""
    control = socket.socket(fileno=control_fd)
    _preload()
    control.sendall(json.dumps({"ready": True}).encode())
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        fds = array.array("i")
        packet, ancillary, _flags, _address = control.recvmsg(_PACKET_BYTES, socket.CMSG_SPACE(8 * fds.itemsize))
        if not packet:
            return
        for _level, _kind, content in ancillary:
            fds.frombytes(content)
        control.sendall(json.dumps(_fork_arm(json.loads(packet), list(fds), control)).encode())
        for fd in fds:
            os.close(fd)


def _preload() -> None:
    warnings.filterwarnings("ignore", message="The given buffer is not writable")
    # A confined arm cannot reach the management library; the device is another matter.
    warnings.filterwarnings("ignore", message="Can't initialize NVML")
    torch.set_num_threads(1)
    # One tiny call of each kind touches the lazily set up parts of the library.
    torch.frombuffer(bytearray(64), dtype=torch.float32).add(1.0)
    gc.freeze()


def _fork_arm(order: dict[str, Any], fds: list[int], control: socket.socket) -> dict[str, Any]:
    """Fork through a middle process that enters the namespaces; report the arm's host process id."""
    report_read, report_write = os.pipe()
    try:
        middle = os.fork()
    except OSError as error:
        os.close(report_read)
        os.close(report_write)
        return {"pid": 0, "held": [], "failed": [f"fork: {error}"]}
    if middle == 0:
        os.close(report_read)
        control.close()
        _become_middle(order, fds, report_write)
    os.close(report_write)
    with os.fdopen(report_read, "rb") as stream:
        report = stream.read()
    return json.loads(report) if report else {"pid": 0, "held": [], "failed": ["fork"]}


def _become_middle(order: dict[str, Any], fds: list[int], report_write: int) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    die_with_parent()
    os.setsid()
    namespaces = order["confine"] and enter_namespaces()
    ready_read, ready_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ready_read)
        os.close(report_write)
        _become_arm(order, fds, ready_write, namespaces=namespaces)
    os.close(ready_write)
    with os.fdopen(ready_read, "rb") as stream:
        report = {
            "pid": pid,
            "group": os.getpid(),
            **json.loads(stream.read() or b'{"held": [], "failed": ["confinement"]}'),
        }
    os.write(report_write, json.dumps(report).encode())
    os.close(report_write)
    for fd in fds:
        os.close(fd)
    os.waitpid(pid, 0)
    os._exit(0)


def _become_arm(order: dict[str, Any], fds: list[int], ready_write: int, *, namespaces: bool) -> None:
    channel_fd, log_fd = fds
    die_with_parent()
    held, failed = confine(order, _NEEDED, namespaces=namespaces) if order["confine"] else ([], [])
    os.write(ready_write, json.dumps({"held": held, "failed": failed}).encode())
    os.close(ready_write)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(log_fd, 1)
    os.dup2(log_fd, 2)
    os.dup2(channel_fd, 3)
    os.closerange(4, 1024)
    environ = os.environ  # noqa: TID251 - the arm's own, replaced as a whole
    environ.clear()
    environ.update(order["environment"])
    if not order["confine"]:
        os.chdir(order["scratch"])
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - lives as long as the process
    ArmProcess(socket.socket(fileno=3)).serve()
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
