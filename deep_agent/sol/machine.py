"""Owns what this machine's processor is: model, ISA, cores, cache, memory; reads the system's own tables."""

import hashlib
import json
import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

import psutil

DEFAULT_CACHE_BYTES = 32 * 2**20
"""Assumed last-level cache where the system does not say."""


@dataclass(frozen=True)
class Machine:
    """The processor as the system describes it."""

    model: str
    isa: tuple[str, ...]
    """Feature flags, sorted; the architecture's name where the system lists none."""
    n_cores: int
    """Processors this process may run on."""
    last_level_cache_bytes: int
    memory_bytes: int

    def fingerprint(self, *, n_threads: int, probe: str, compiler: str) -> str:
        """Hash everything that makes two measurements comparable, in hex."""
        identity = [self.model, self.isa, self.n_cores, n_threads, probe, compiler]
        return hashlib.sha256(json.dumps(identity).encode()).hexdigest()


def this_machine() -> Machine:
    """Read the processor's description; never fails, names what it cannot find `unknown`."""
    table = _cpu_table()
    flags = table.get("flags") or table.get("Features") or ""
    return Machine(
        model=table.get("model name") or platform.processor() or "unknown",
        isa=tuple(sorted(flags.split())) or (platform.machine(),),
        n_cores=_usable_cores(),
        last_level_cache_bytes=_last_level_cache_bytes(),
        memory_bytes=psutil.virtual_memory().total,
    )


def _cpu_table() -> dict[str, str]:
    """Read the first processor's fields from /proc; empty elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _last_level_cache_bytes() -> int:
    sizes = []
    for entry in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        found = re.fullmatch(r"(\d+)([KMG])", entry.read_text(encoding="ascii").strip())
        if found:
            sizes.append(int(found[1]) * {"K": 2**10, "M": 2**20, "G": 2**30}[found[2]])
    return max(sizes, default=DEFAULT_CACHE_BYTES)
