"""Owns the frames between the judge and a single-use arm; imports nothing of the judge.

A request is `nonce (16 bytes) | verb (1) | payload (JSON)`, with file descriptors beside it. A reply is
`nonce (16) | finding (1)` and nothing else: an arm can say that it is done or that it failed, never a
figure. A reply with another nonce ends the arm, so a late answer is never read as the next one.
"""

import array
import json
import socket
import struct
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Final

NONCE_BYTES: Final = 16
MAX_FRAME_BYTES: Final = 128 * 1024
MAX_FDS: Final = 64
CALL_FILE: Final = "call.json"
"""Of a call that is counted: how to load and make it."""
INPUTS_FILE: Final = "inputs.bin"
"""Of a call that is counted: the bytes of its inputs."""

_HEADER = struct.Struct(f"!{NONCE_BYTES}sB")


class Verb(IntEnum):
    """What the judge asks of an arm."""

    LOAD = 1
    """Load the artefact; payload: how to call it; descriptors: the artefact."""
    BIND = 2
    """Map buffers and keep them under a number; descriptors: the buffers."""
    CALL = 3
    """Call once with the buffers of a binding."""
    COLLECT = 4
    """Copy what a return-style call returned into the bound outputs, after checking its form."""
    UNBIND = 5
    """Forget a binding."""
    NOTHING = 6
    """Answer at once; what a request costs by itself."""
    BURST = 7
    """Call once with each of several bindings, back to back, and wait for the device; descriptors: a file for what it claims of it."""
    INSPECT = 8
    """Say whether the process-wide settings are as they were before the artefact was loaded."""
    OPEN = 9
    """Open a context on a device; payload: its number."""
    EQUIP = 10
    """Get ready for bursts; payload: the kernels that empty the L2 and digest results, and how much the first reads."""


class Finding(IntEnum):
    """What an arm answers; everything but DONE counts against the arm alone."""

    DONE = 0
    RAISED = 1
    WRONG_SHAPE = 2
    WRONG_DTYPE = 3
    WRONG_TYPE = 4
    CHANGED_SETTINGS = 5


def send_request(
    channel: socket.socket, nonce: bytes, verb: Verb, payload: Mapping[str, object], fds: Sequence[int] = ()
) -> None:
    """Send one request; raises OSError when the peer is gone."""
    frame = _HEADER.pack(nonce, verb) + json.dumps(payload).encode()
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    channel.sendmsg([frame], ancillary)


def receive_request(channel: socket.socket) -> tuple[bytes, Verb, dict[str, object], list[int]] | None:
    """Wait for a request; None when the judge is gone."""
    fds = array.array("i")
    frame, ancillary, _flags, _address = channel.recvmsg(MAX_FRAME_BYTES, socket.CMSG_SPACE(MAX_FDS * fds.itemsize))
    if not frame:
        return None
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    nonce, verb = _HEADER.unpack_from(frame)
    return nonce, Verb(verb), json.loads(frame[_HEADER.size :]), list(fds)


def send_reply(channel: socket.socket, nonce: bytes, finding: Finding) -> None:
    """Answer one request."""
    channel.sendall(_HEADER.pack(nonce, finding))


def receive_reply(channel: socket.socket) -> tuple[bytes, int]:
    """Wait for a reply within the socket's timeout; `(b"", -1)` when the arm is gone or babbles."""
    frame = channel.recv(_HEADER.size + 1)
    if len(frame) != _HEADER.size:
        return b"", -1
    nonce, finding = _HEADER.unpack(frame)
    return nonce, finding
