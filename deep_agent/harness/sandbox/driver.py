"""Speaks to the CUDA driver: memory that two processes share, kernels given as text. Loads libcuda at the first use, never before.

Virtual-memory allocations are exported as file descriptors, each a block of its own: what the judge does not
export has no neighbour in what it does. Runs in arms too, so it imports nothing of the judge.
"""

import ctypes
import os
from collections.abc import Sequence
from ctypes import POINTER, byref, c_int, c_size_t, c_uint, c_uint64, c_ushort, c_void_p
from functools import lru_cache
from typing import Any, Final

_PINNED: Final = 1
_POSIX_FD: Final = 1
_ON_DEVICE: Final = 1
_READ: Final = 1
_READ_WRITE: Final = 3
_PERSISTING_L2_LIMIT: Final = 0x06
_OUT_OF_MEMORY: Final = 2
_BLOCKING_SYNC: Final = 4
_PTX_INPUT: Final = 1


class DriverError(Exception):
    """A driver call failed; `is_out_of_memory` when there was no room."""

    def __init__(self, call: str, code: int) -> None:
        """Name the call and the driver's code."""
        super().__init__(f"{call} failed with CUDA driver error {code}")
        self.is_out_of_memory = code == _OUT_OF_MEMORY


class _Location(ctypes.Structure):
    _fields_ = (("type", c_int), ("id", c_int))


class _AllocationFlags(ctypes.Structure):
    _fields_ = (
        ("compression", ctypes.c_ubyte),
        ("rdma", ctypes.c_ubyte),
        ("usage", c_ushort),
        ("reserved", ctypes.c_ubyte * 4),
    )


class _AllocationProperties(ctypes.Structure):
    _fields_ = (
        ("type", c_int),
        ("handle_types", c_int),
        ("location", _Location),
        ("win32", c_void_p),
        ("flags", _AllocationFlags),
    )


class _AccessDescription(ctypes.Structure):
    _fields_ = (("location", _Location), ("flags", c_int))


@lru_cache(maxsize=1)
def _library() -> Any:  # noqa: ANN401 - ctypes makes functions by name
    library = ctypes.CDLL("libcuda.so.1")
    library.cuMemImportFromShareableHandle.argtypes = [POINTER(c_uint64), c_void_p, c_int]
    library.cuMemMap.argtypes = [c_uint64, c_size_t, c_size_t, c_uint64, c_uint64]
    library.cuMemSetAccess.argtypes = [c_uint64, c_size_t, POINTER(_AccessDescription), c_size_t]
    library.cuMemAddressReserve.argtypes = [POINTER(c_uint64), c_size_t, c_size_t, c_uint64, c_uint64]
    library.cuMemCreate.argtypes = [POINTER(c_uint64), c_size_t, POINTER(_AllocationProperties), c_uint64]
    library.cuMemExportToShareableHandle.argtypes = [c_void_p, c_uint64, c_int, c_uint64]
    library.cuMemUnmap.argtypes = [c_uint64, c_size_t]
    library.cuMemAddressFree.argtypes = [c_uint64, c_size_t]
    library.cuMemRelease.argtypes = [c_uint64]
    library.cuLinkAddData_v2.argtypes = [
        c_void_p,
        c_int,
        ctypes.c_char_p,
        c_size_t,
        ctypes.c_char_p,
        c_uint,
        c_void_p,
        c_void_p,
    ]
    library.cuModuleLoadData.argtypes = [POINTER(c_void_p), ctypes.c_char_p]
    library.cuModuleGetFunction.argtypes = [POINTER(c_void_p), c_void_p, ctypes.c_char_p]
    library.cuLaunchKernel.argtypes = [c_void_p, *[c_uint] * 7, c_void_p, POINTER(c_void_p), POINTER(c_void_p)]
    library.cuCtxSetLimit.argtypes = [c_int, c_size_t]
    library.cuCtxGetLimit.argtypes = [POINTER(c_size_t), c_int]
    return library


def _call(name: str, *arguments: object) -> None:
    code = getattr(_library(), name)(*arguments)
    if code:
        raise DriverError(name, code)


class _Bytes:
    """Device memory as bytes, in the form that torch takes over without a copy."""

    def __init__(self, pointer: int, n_bytes: int) -> None:
        self.__cuda_array_interface__ = {
            "shape": (n_bytes,),
            "typestr": "|u1",
            "data": (pointer, False),
            "version": 3,
        }


class DeviceBlock:
    """A block of device memory that can be handed to another process; a context must be current.

    `close` unmaps it here; the memory goes when every process has let go of it.
    """

    def __init__(self, handle: int, n_bytes: int, device: int, *, read_only: bool) -> None:
        """Map an allocation that is held by handle; n_bytes is a multiple of the granularity."""
        self.n_bytes = n_bytes
        self.fd = -1
        pointer = c_uint64()
        try:
            _call("cuMemAddressReserve", byref(pointer), n_bytes, 0, 0, 0)
            _call("cuMemMap", pointer.value, n_bytes, 0, handle, 0)
            access = _AccessDescription(_Location(_ON_DEVICE, device), _READ if read_only else _READ_WRITE)
            _call("cuMemSetAccess", pointer.value, n_bytes, byref(access), 1)
        finally:
            # The mapping keeps the memory; the handle has done its work.
            _call("cuMemRelease", handle)
        self.pointer = pointer.value

    @classmethod
    def allocate(cls, n_bytes: int, device: int) -> "DeviceBlock":
        """Allocate at least n_bytes, exported under `fd`, which the caller may pass on.

        Raises:
            DriverError: no memory, or no support for exported allocations.
        """
        properties = _AllocationProperties(_PINNED, _POSIX_FD, _Location(_ON_DEVICE, device))
        granularity = c_size_t()
        _call("cuMemGetAllocationGranularity", byref(granularity), byref(properties), 0)
        rounded = -(-n_bytes // granularity.value) * granularity.value
        handle, fd = c_uint64(), c_int(-1)
        _call("cuMemCreate", byref(handle), rounded, byref(properties), 0)
        _call("cuMemExportToShareableHandle", byref(fd), handle.value, _POSIX_FD, 0)
        block = cls(handle.value, rounded, device, read_only=False)
        block.fd = fd.value
        return block

    @classmethod
    def adopt(cls, fd: int, n_bytes: int, device: int, *, read_only: bool) -> "DeviceBlock":
        """Map a block that another process exported; n_bytes as it was allocated there."""
        handle = c_uint64()
        _call("cuMemImportFromShareableHandle", byref(handle), c_void_p(fd), _POSIX_FD)
        return cls(handle.value, n_bytes, device, read_only=read_only)

    def part(self, offset: int, n_bytes: int) -> _Bytes:
        """Give some of the bytes for `torch.as_tensor`, which makes a storage of its own of each part."""
        return _Bytes(self.pointer + offset, n_bytes)

    def close(self) -> None:
        """Unmap it and close the descriptor; idempotent. Nothing may use its tensors any more."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
        if self.pointer:
            _call("cuMemUnmap", self.pointer, self.n_bytes)
            _call("cuMemAddressFree", self.pointer, self.n_bytes)
            self.pointer = 0


def compiled(ptx: str) -> bytes:
    """Compile PTX to machine code of the current context's device; raises DriverError."""
    text, link, code, n_bytes = ptx.encode(), c_void_p(), c_void_p(), c_size_t()
    _call("cuLinkCreate_v2", 0, None, None, byref(link))
    try:
        _call("cuLinkAddData_v2", link, _PTX_INPUT, text, len(text) + 1, b"kernel", 0, None, None)
        _call("cuLinkComplete", link, byref(code), byref(n_bytes))
        return ctypes.string_at(code, n_bytes.value)
    finally:
        _call("cuLinkDestroy", link)


class DeviceFunction:
    """A kernel of some machine code, in the current context; never unloaded."""

    def __init__(self, code: bytes, name: str) -> None:
        """Load it; raises DriverError."""
        module, function = c_void_p(), c_void_p()
        _call("cuModuleLoadData", byref(module), code)
        _call("cuModuleGetFunction", byref(function), module, name.encode())
        self._function = function

    def launch(self, n_blocks: int, n_threads: int, *values: int) -> "Launch":
        """Prepare launches of a flat grid; every parameter of the kernel is a 64-bit integer."""
        return Launch(self._function, n_blocks, n_threads, values)


class Launch:
    """A kernel with its grid and parameters, prepared once because a launch is to cost its host little."""

    def __init__(self, function: c_void_p, n_blocks: int, n_threads: int, values: Sequence[int]) -> None:
        """Lay the parameters out as the driver reads them."""
        self._function, self._n_blocks, self._n_threads = function, n_blocks, n_threads
        self._values = (c_uint64 * len(values))(*values)
        first = ctypes.addressof(self._values)
        self._pointers = (c_void_p * len(values))(*range(first, first + ctypes.sizeof(self._values), 8))

    def __call__(self, stream: int) -> None:
        """Queue one launch on the stream with this handle; raises DriverError."""
        grid = self._n_blocks, 1, 1, self._n_threads, 1, 1
        _call("cuLaunchKernel", self._function, *grid, 0, stream, self._pointers, None)


def wait_by_sleeping(device: int) -> None:
    """Let threads that wait for the device sleep: their processor time is then work. Before the context is made."""
    number = c_int()
    _call("cuInit", 0)
    _call("cuDeviceGet", byref(number), device)
    _call("cuDevicePrimaryCtxSetFlags_v2", number.value, _BLOCKING_SYNC)


def forbid_persisting_lines() -> None:
    """Give persisting L2 lines back and allow none: a reserved part of the cache would survive a flush."""
    _call("cuCtxResetPersistingL2Cache")
    _call("cuCtxSetLimit", _PERSISTING_L2_LIMIT, 0)


def persisting_bytes() -> int:
    """Give how much of the L2 may be kept back for persisting lines now."""
    found = c_size_t()
    _call("cuCtxGetLimit", byref(found), _PERSISTING_L2_LIMIT)
    return found.value
