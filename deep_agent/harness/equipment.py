"""Tells devices apart by name and opens them: where buffers lie, and how arms are timed. Loads torch."""

import os
import secrets
from random import Random
from typing import Final, Literal

from deep_agent.errors import InvalidInput
from deep_agent.harness.answers.stage import CacheFlush
from deep_agent.harness.arms.places import CudaDevice, Host, Place
from deep_agent.harness.timing.burst_timer import BurstTimer
from deep_agent.harness.timing.timers import CallTimer, Timer

_DEFAULT_CACHE_BYTES: Final = 32 * 2**20


def device_kind(device: str) -> Literal["cpu", "cuda"]:
    """Tell a processor from a CUDA device by its name; raises InvalidInput for anything else."""
    if cuda_index(device) is not None:
        return "cuda"
    thread_count(device)
    return "cpu"


def cuda_index(device: str) -> int | None:
    """Read the number off `cuda` (the first) or `cuda:N`; None when it names something else."""
    kind, _, number = device.partition(":")
    return int(number or 0) if kind == "cuda" and (not number or number.isdecimal()) else None


def equipment(device: str) -> tuple[Place, Timer]:
    """Open a device by its name.

    Raises:
        InvalidInput: there is no such device here.
    """
    index = cuda_index(device)
    if index is None:
        flush, chance = CacheFlush(_last_level_cache_bytes()), Random(secrets.randbits(64))
        return Host(), CallTimer(flush, thread_count(device), chance)
    try:
        place = CudaDevice(index)
    except (RuntimeError, AssertionError) as error:
        raise InvalidInput(
            f"device {device!r}: no such CUDA device here: {str(error).splitlines()[0]}",
            remedy="Check `nvidia-smi`, or use `cpu`.",
        ) from error
    return place, BurstTimer(place, Random(secrets.randbits(64)))


def thread_count(device: str) -> int:
    """Read the threads off a CPU device's name: `cpu` is one, `cpu:N` is N.

    Raises:
        InvalidInput: the device is not a CPU.
    """
    kind, _, count = device.partition(":")
    if kind != "cpu" or (count and not count.isdecimal()):
        raise InvalidInput(f"unknown device {device!r}.", remedy="Use `cpu` (one thread), `cpu:N`, `cuda` or `cuda:N`.")
    return int(count or 1)


def _last_level_cache_bytes() -> int:
    sizes = [os.sysconf(name) for name in ("SC_LEVEL3_CACHE_SIZE", "SC_LEVEL2_CACHE_SIZE") if name in os.sysconf_names]
    return max((size for size in sizes if size > 0), default=_DEFAULT_CACHE_BYTES)
