"""Owns the device catalogue of this machine: compiles and runs the probe once, and caches what it found.

Touches files and processes: g++, the probe, and the cache folder it is given.
"""

import hashlib
import json
import re
import subprocess
import threading
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory

from pydantic import ValidationError
from typing_extensions import override

from deep_agent.errors import HarnessFailed, InvalidInput, MissingTool, ResourceExhausted
from deep_agent.ports import DeviceCatalog
from deep_agent.problem.device import Bandwidth, DeviceModel
from deep_agent.problem.dtype import DType
from deep_agent.sol.machine import Machine, this_machine

PROBE_SOURCE = Path(__file__).parent / "probe" / "cpu.cpp"
PROBE_FLAGS = ("-O3", "-march=native", "-std=c++17", "-pthread", "-ffp-contract=fast")
PROBE_SECONDS = 0.8
"""Time the repetitions are spread over; with compiling and touching pages, under three seconds."""
PROBE_TIMEOUT_S = 60.0
CACHES_PER_BUFFER = 4
LARGEST_BUFFER_BYTES = 2**30
MISSING_COMPILER = MissingTool(
    "g++ is not on the PATH, and the CPU probe and every C++ solution need it.",
    remedy="Install it: apt install g++ (Debian, Ubuntu), dnf install gcc-c++ (Fedora), xcode-select --install (macOS).",
)


class CpuCatalog(DeviceCatalog):
    """Models of this machine's processor, by number of threads; safe to call from several threads."""

    def __init__(self, cache_dir: Path, *, compiler: str = "g++") -> None:
        """Keep where models are cached and which compiler builds the probe; nothing is measured yet."""
        self._cache_dir = cache_dir
        self._compiler = compiler
        # Two probes at once would measure each other.
        self._probing = threading.Lock()

    @override
    def resolve(self, name: str) -> DeviceModel:
        """Give the model of `auto`, `cpu` or `cpu:N`, probing at the first call.

        Raises:
            InvalidInput: another name, or more threads than this machine has processors.
            MissingTool: g++ is absent.
            HarnessFailed: the probe does not build or run.
            ResourceExhausted: the model cannot be written to the cache folder.
        """
        machine = this_machine()
        n_threads = _threads(name, machine)
        with self._probing:
            version = self._compiler_version()
            source = hashlib.sha256(PROBE_SOURCE.read_bytes()).hexdigest()
            fingerprint = machine.fingerprint(n_threads=n_threads, probe=source, compiler=version)
            cached = self._cache_dir / f"cpu-{n_threads}-{fingerprint[:16]}.json"
            found = _read(cached, fingerprint)
            if found is None:
                rates = self._probe(machine, n_threads)
                found = _model(machine, n_threads, rates, fingerprint)
                _write(cached, found)
        return found

    @override
    def check(self, name: str) -> None:
        """Refuse another name, or more threads than this machine has processors; probes nothing."""
        _threads(name, this_machine())

    @override
    def known(self) -> tuple[DeviceModel, ...]:
        """Give the readable models of the cache folder, by name; one of another machine is among them if it was cached."""
        found = (_parsed(path) for path in sorted(self._cache_dir.glob("cpu-*.json")))
        return tuple(model for model in found if model is not None)

    def _compiler_version(self) -> str:
        try:
            asked = subprocess.run(
                [self._compiler, "--version"], capture_output=True, text=True, timeout=30, check=False
            )
        except FileNotFoundError as error:
            raise MISSING_COMPILER from error
        return asked.stdout.partition("\n")[0]

    def _probe(self, machine: Machine, n_threads: int) -> dict[str, float]:
        buffer_bytes = min(
            max(CACHES_PER_BUFFER * machine.last_level_cache_bytes, 64 * 2**20),
            LARGEST_BUFFER_BYTES,
            machine.memory_bytes // 8,
        )
        with TemporaryDirectory(prefix="deep-agent-probe-") as folder:
            program = Path(folder) / "probe"
            _run([self._compiler, *PROBE_FLAGS, str(PROBE_SOURCE), "-o", str(program)], "compile the CPU probe")
            said = _run([str(program), str(n_threads), str(buffer_bytes), str(PROBE_SECONDS)], "run the CPU probe")
        try:
            return {str(key): float(value) for key, value in json.loads(said).items()}
        except (ValueError, AttributeError) as error:
            raise HarnessFailed(f"the CPU probe wrote {said[:200]!r} instead of its rates.") from error


def _threads(name: str, machine: Machine) -> int:
    if name in {"auto", "cpu"}:
        return 1
    asked = re.fullmatch(r"cpu:([1-9][0-9]{0,5})", name)
    if asked is None:
        raise InvalidInput(
            f"device {name!r} is unknown; known here: auto, cpu, cpu:1 to cpu:{machine.n_cores}.",
            remedy="Choose one of these.",
        )
    n_threads = int(asked[1])
    if n_threads > machine.n_cores:
        raise InvalidInput(
            f"device {name!r} asks for {n_threads} threads, but this machine gives {machine.n_cores} processors.",
            remedy=f"Choose cpu:{machine.n_cores} or less.",
        )
    return n_threads


def _run(command: list[str], purpose: str) -> str:
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise HarnessFailed(f"could not {purpose} within {PROBE_TIMEOUT_S:.0f} s.") from error
    if ended.returncode:
        raise HarnessFailed(f"could not {purpose}: exit {ended.returncode}: {ended.stderr.strip()[:500]}")
    return ended.stdout


def _read(cached: Path, fingerprint: str) -> DeviceModel | None:
    """Read a cached model; None when there is none, or it is broken or of another machine."""
    found = _parsed(cached)
    return found if found is not None and found.fingerprint == fingerprint else None


def _parsed(cached: Path) -> DeviceModel | None:
    try:
        return DeviceModel.model_validate_json(cached.read_bytes())
    except (OSError, ValidationError):
        return None


def _write(cached: Path, model: DeviceModel) -> None:
    """Put the file in place in one step, so that no reader sees half of it."""
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile("w", dir=cached.parent, suffix=".part", delete=False, encoding="utf-8") as part:
            part.write(model.model_dump_json(indent=1))
        Path(part.name).replace(cached)
    except OSError as error:
        raise ResourceExhausted(
            f"the device model cannot be written to {cached}: {error.strerror}.",
            remedy="Free space there, or choose another folder with DEEP_AGENT_HOME.",
        ) from error


def _model(machine: Machine, n_threads: int, rates: dict[str, float], fingerprint: str) -> DeviceModel:
    best = f"best of {rates['rounds']:.0f} repetitions over {PROBE_SECONDS:g} s on {n_threads} thread(s)"
    macs, how_macs = _mac_rates(machine, rates, best)
    streamed = "stores that bypass the cache"
    return DeviceModel(
        name="cpu" if n_threads == 1 else f"cpu:{n_threads}",
        kind="cpu",
        n_threads=n_threads,
        vector_bytes=int(rates["vector_bytes"]),
        bandwidth=Bandwidth(
            read_bytes_per_s=rates["read"],
            copy_bytes_per_s=rates["copy"],
            triad_bytes_per_s=rates["triad"],
            write_bytes_per_s=rates["write"],
        ),
        mac_per_s=macs,
        last_level_cache_bytes=machine.last_level_cache_bytes,
        memory_bytes=machine.memory_bytes,
        bound_kind="measured",
        how={
            "read": f"sum of a buffer well above the last-level cache, {best}",
            "write": f"fill with {streamed}, {best}",
            "copy": f"copy with {streamed}, bytes read plus written, {best}",
            "triad": f"a = b + s * c with {streamed}, bytes read plus written, {best}",
            "processor": f"{machine.model}, {machine.n_cores} processors, {rates['vector_bytes'] * 8:.0f}-bit vectors",
            **how_macs,
        },
        fingerprint=fingerprint,
    )


def _mac_rates(machine: Machine, rates: dict[str, float], best: str) -> tuple[dict[DType, float], dict[str, str]]:
    """Derive a ceiling for each operand type from the two measured peaks.

    Where the processor has matrix tiles that were not measured, the narrow types have no rate at all:
    a bound without them is low, a bound with a guess may be wrong.
    """
    single, double = rates["fma32"], rates["fma64"]
    macs = {DType.FLOAT32: single, DType.FLOAT64: double, DType.INT32: single, DType.INT64: double}
    fma = f"multiply-adds on 12 independent vector sums, {best}"
    how = {"float32": fma, "float64": fma, "int32": "the float32 rate", "int64": "the float64 rate"}
    tiles = [flag for flag in machine.isa if flag.startswith("amx")]
    if tiles:
        return macs, {**how, "narrow types": f"no rate: {', '.join(tiles)} is not measured"}
    native16 = {"avx512_bf16", "avx512_fp16", "asimdhp", "bf16"}.intersection(machine.isa)
    half = 2 * single if native16 else single
    said = (
        f"twice the float32 rate, for {', '.join(sorted(native16))}"
        if native16
        else "the float32 rate: converted in registers"
    )
    narrow = (DType.FLOAT16, DType.BFLOAT16, DType.FLOAT8_E4M3FN, DType.FLOAT8_E5M2)
    macs.update(dict.fromkeys(narrow, half))
    how.update(dict.fromkeys((dtype.value for dtype in narrow), said))
    macs.update({DType.INT16: 2 * single, DType.INT8: 4 * single})
    how.update(
        {
            "int16": "twice the float32 rate: lanes are half as wide",
            "int8": "four times the float32 rate: lanes are a quarter as wide",
        }
    )
    return macs, how
