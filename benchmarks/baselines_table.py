"""Times the library's ways of every problem beside its bounds, and writes the table. `python benchmarks/baselines_table.py`.

One JSON object a line, problem, workload and set of baselines, written as soon as it is known: a run may be cut at
any time and goes on where the file ends. Rows that are there are kept, failed ones too; delete a line to have it made
again. The page beside the file is written at the end, and alone with `--render`.

On a card several rows are set up side by side, because max-autotune searches for minutes, and then measured one after
another with nothing else on the device; `side_by_side.py` says what that costs. On a processor each row is alone.

    python benchmarks/baselines_table.py --device cuda:1 --workloads 1
    python benchmarks/baselines_table.py --device cpu --problems softmax,swiglu --workloads 1
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil
import torch
from baselines_page import page, violations
from library_calls import library_call
from machine import card
from side_by_side import Wanted, Workshop, is_crowded_out, names_crowding

from deep_agent.errors import DeepAgentError, HarnessFailed, InvalidInput
from deep_agent.harness.baselines import BASELINE_NAMES, MAX_AUTOTUNE
from deep_agent.harness.bench import Bench
from deep_agent.problem.bound import SolBound
from deep_agent.problem.device import Bandwidth, DeviceModel
from deep_agent.problem.dtype import DType
from deep_agent.problem.evaluation import BaselineChoice, Characterization
from deep_agent.problem.problem import Problem
from deep_agent.problem.readers import problem_directories, read_problem
from deep_agent.sol.catalog import Catalog
from deep_agent.sol.client import SubprocessAnalyst
from deep_agent.sol.devices import CpuCatalog
from deep_agent.sol.machine import this_machine
from deep_agent.sol.score import sol_score
from services.cli.rowfile import RowFile

ROOT: Final = Path(__file__).parents[1]
MADE: Final = (*BASELINE_NAMES, MAX_AUTOTUNE)
LIBRARY: Final = "library"
_MISTUNED: Final = 1.05
"""A self-tuned kernel this many times slower than the untuned one was tuned beside others too busy to tell."""
PROBE_TIMEOUT_S: Final = 180.0
N_ANALYSTS: Final = 4
"""Bounds computed at once, each in a process of its own."""


@dataclass(frozen=True)
class Devices:
    """The device of the table by its own rates and by those probed on it."""

    asked: str
    """As the judge names it: `cpu`, `cpu:N`, `cuda` or `cuda:N`."""
    model: DeviceModel
    """What strict bounds are computed from: the sheet of a card, probed rates of a processor."""
    probed: DeviceModel
    """What ceilings are computed from; the same as `model` on a processor."""

    @property
    def index(self) -> int | None:
        """The card's number; None on a processor."""
        return int(self.asked.partition(":")[2] or 0) if self.model.kind == "cuda" else None


def open_devices(asked: str, home: Path) -> Devices:
    """Find a device and probe it; raises InvalidInput where there is none, HarnessFailed where the probe fails."""
    model = Catalog(CpuCatalog(home / "devices")).resolve(asked)
    if model.kind == "cpu":
        return Devices(asked, model, model)
    tell("probing the card")
    index = asked.partition(":")[2] or "0"
    try:
        asked_probe = subprocess.run(
            [sys.executable, str(ROOT / "benchmarks" / "card_probe.py"), index],
            capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, check=True,
        )  # fmt: skip
        rates = json.loads(asked_probe.stdout.strip().splitlines()[-1])
    except subprocess.CalledProcessError as error:
        raise HarnessFailed(f"the card's probe failed: {error.stderr.strip()[-500:]}") from error
    except (subprocess.TimeoutExpired, ValueError, IndexError) as error:
        raise HarnessFailed(f"the card's probe gave no rates: {error}.") from error
    return Devices(asked, model, probed_model(model, rates))


def probed_model(model: DeviceModel, rates: Mapping[str, Mapping[str, float]]) -> DeviceModel:
    """Give a card's model under probed rates; operand types that were not probed have none and are not charged."""
    bandwidth = Bandwidth(**{f"{kind}_bytes_per_s": rate for kind, rate in rates["memory"].items()})
    macs = {DType(name): rate for name, rate in rates["products"].items()}
    return model.model_copy(update={"bandwidth": bandwidth, "mac_per_s": macs, "bound_kind": "measured"})


def software(commit: str) -> dict[str, str]:
    """Name what the figures depend on beside the device; an empty commit is asked of git."""
    try:
        import triton  # noqa: PLC0415 - absent where torch came without it

        triton_version = str(triton.__version__)
    except ImportError:
        triton_version = "absent"
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "triton": triton_version,
        "cuda": str(torch.version.cuda or "none"),
        "git commit": commit or _commit(),
    }


def _commit() -> str:
    """Name the commit, and whether anything but results differs from it; `unknown` outside a repository."""
    head = _git("rev-parse", "HEAD")
    differs = _git("status", "--porcelain", "-uno", "--", ".", ":!benchmarks/results")
    return "unknown" if not head else f"{head}-dirty" if differs else head


def _git(*words: str) -> str:
    """Give what git says; nothing where it or the repository is missing."""
    try:
        asked = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return asked.stdout.strip()


def machine(devices: Devices) -> dict[str, str]:
    """Say the state of the device now: clocks, power and throttling of a card, clock and load of a processor; read only."""
    load = f"{psutil.getloadavg()[0]:.2f}"
    if devices.index is None:
        clock = psutil.cpu_freq()
        found = this_machine()
        return {
            "processor": found.model,
            "cores": str(found.n_cores),
            "clock": "unknown" if clock is None else f"{clock.current:.0f} MHz",
            "load average": load,
        }
    return {**card(devices.index), "load average": load}


@dataclass(frozen=True)
class Entry:
    """What a row of the table is about."""

    problem: Problem
    """With this row's workload alone."""

    @property
    def uuid(self) -> str:
        """Of the workload."""
        return self.problem.workloads[0].uuid

    @property
    def key(self) -> tuple[str, str]:
        """Names of problem and workload."""
        return self.problem.name, self.uuid


class Table:
    """Makes rows on one device."""

    def __init__(
        self, devices: Devices, workshop: Workshop, without: frozenset[str], *, at_once: int = 1, commit: str = ""
    ) -> None:
        self._devices = devices
        self._workshop = workshop
        self._made = tuple(name for name in MADE if name not in without)
        self._library = LIBRARY not in without
        self._at_once = at_once
        self._software = software(commit)
        self._analyst = SubprocessAnalyst(time_limit_s=300.0)

    def baseline_set(self, problem: str) -> str:
        """Name the baselines that a row of this problem tries."""
        library = self._library and library_call(problem) is not None
        return ",".join((*self._made, LIBRARY) if library else self._made)

    def rows(self, entries: Sequence[Entry]) -> Iterator[dict[str, object]]:
        """Make rows in order; whatever goes wrong in one stands in its `error`. Raises HarnessFailed for a lost device."""
        if not entries:
            return
        with ThreadPoolExecutor(N_ANALYSTS) as analysts:
            bounds = [analysts.submit(self._bounds, entry) for entry in entries]
            wanted = [self._wanted(entry) for entry in entries]
            for batch in self._workshop.batches(wanted, most=self._at_once):
                tell(f"setting up {', '.join(entries[one].problem.name for one in batch)}")
                benches = self._workshop.set_up([wanted[one] for one in batch], tell_step)
                # They are computed on the processor, beside the first batch; from here on nothing else works.
                wait(bounds)
                alone = [number for number, bench in zip(batch, benches, strict=True) if is_crowded_out(bench)]
                alone = alone if len(batch) > 1 else []
                for number, bench in zip(batch, benches, strict=True):
                    if number in alone:
                        continue
                    row = self._row(entries[number], bench, bounds[number], n_beside=len(batch) - 1)
                    if len(batch) > 1 and owes_to_neighbours(row):
                        alone.append(number)
                    else:
                        yield row
                self._workshop.close(benches)
                if alone:
                    self._workshop.forget_tuning()
                for number in alone:
                    tell(f"setting up {entries[number].problem.name} once more, alone")
                    benches = self._workshop.set_up([wanted[number]], tell_step)
                    yield self._row(entries[number], benches[0], bounds[number], n_beside=0)
                    self._workshop.close(benches)

    def _wanted(self, entry: Entry) -> Wanted:
        library = library_call(entry.problem.name) if self._library else None
        return Wanted(entry.problem, BaselineChoice(names=self._made, library=library))

    def _bounds(self, entry: Entry) -> tuple[SolBound, SolBound]:
        """Compute the strict bound and the ceiling."""
        strict = self._analyst.bounds(entry.problem, self._devices.model)[0]
        same = self._devices.probed == self._devices.model
        return strict, strict if same else self._analyst.bounds(entry.problem, self._devices.probed)[0]

    def _row(
        self, entry: Entry, bench: Bench | Exception, bounds: "Future[tuple[SolBound, SolBound]]", *, n_beside: int
    ) -> dict[str, object]:
        problem = entry.problem
        tell(f"measuring {problem.name} {entry.uuid}")
        made: dict[str, object] = {
            **_no_result(problem.name, entry.uuid, self.baseline_set(problem.name), self._devices),
            "software": self._software,
            "set_up_beside": n_beside,
            "before": machine(self._devices),
        }
        try:
            found = self._workshop.measure(bench, tell_step)
            strict, ceiling = bounds.result()
            made |= {"axes": dict(problem.workloads[0].axes), **measured(found, entry.uuid, strict, ceiling)}
        except DeepAgentError as error:
            made["error"] = str(error)
        # A table of hours must not end because one row met something nobody thought of; the row says what it was.
        except Exception as error:  # noqa: BLE001
            made["error"] = f"{type(error).__name__}: {error}"
        return {**made, "after": machine(self._devices)}


def owes_to_neighbours(row: Mapping[str, Any]) -> bool:
    """Whether a row that was set up beside others would look otherwise had it been alone."""
    return is_mistuned(row) or names_crowding(row["error"] or "")


def is_mistuned(row: Mapping[str, Any]) -> bool:
    """Whether the compiler tuned itself into something slower than it makes untuned: its neighbours misled it."""
    times = row["time_us"]
    tuned, plain = times.get(MAX_AUTOTUNE), times.get("torch_compile")
    return tuned is not None and plain is not None and tuned > _MISTUNED * plain


def _no_result(problem: str, uuid: str | None, baseline_set: str, devices: Devices) -> dict[str, object]:
    return {
        "problem": problem, "workload": uuid, "baseline_set": baseline_set, "device": devices.asked,
        "device_name": device_name(devices), "axes": None, "time_us": {}, "failures": {}, "best": None, "noise": None,
        "bounds": None, "sol_score": {}, "best_over_strict": None, "best_over_ceiling": None, "error": None,
    }  # fmt: skip


def device_name(devices: Devices) -> str:
    """Name the device as its maker does."""
    return devices.model.hardware or f"{devices.asked}, {this_machine().model}"


def measured(found: Characterization, uuid: str, strict: SolBound, ceiling: SolBound) -> dict[str, object]:
    """Give the part of a row that was measured and computed.

    Scores take the workload's best baseline, as the judge names it, for reference, and the strict bound.
    """
    times = {one.name: one.time_us[uuid] for one in found.baselines if uuid in one.time_us}
    best_us = times[found.best[uuid]]
    noise = max(abs(found.noise.high - 1), abs(found.noise.low - 1), 0.0)
    scores = {
        name: sol_score(time_us=time_us, baseline_us=best_us, bound_us=strict.time_us, noise=min(noise, 0.5))
        for name, time_us in times.items()
    }
    return {
        "time_us": times,
        "failures": {one.name: one.failure for one in found.baselines if one.failure},
        "best": found.best[uuid],
        "noise": found.noise.model_dump(mode="json"),
        "bounds": {
            "kind": strict.bound_kind,
            "strict_us": strict.time_us,
            "gate_us": None if strict.bounds is None else strict.bounds.gate_us,
            "ceiling_us": ceiling.time_us,
            "limiter": strict.limiter,
            "tier": strict.tier,
        },
        "sol_score": {name: score.model_dump(mode="json") for name, score in scores.items()},
        "best_over_strict": best_us / strict.time_us if strict.time_us else None,
        "best_over_ceiling": best_us / ceiling.time_us if ceiling.time_us else None,
    }


def chosen(names: tuple[str, ...], devices: Devices, n_workloads: int | None) -> Iterator[Entry]:
    """Go through what the table covers; raises InvalidInput for an unknown problem."""
    folders = {folder.name: folder for folder in problem_directories(ROOT / "problems")}
    unknown = [name for name in names if name not in folders]
    if unknown:
        raise InvalidInput(f"no problem {', '.join(unknown)}; there are {', '.join(folders)}.")
    for name in names or tuple(folders):
        yield from entries_of(read_problem(folders[name], devices.model.kind), n_workloads)


def entries_of(problem: Problem, n_workloads: int | None = None) -> Iterator[Entry]:
    """Give an entry for each of a problem's first workloads."""
    for workload in problem.workloads[:n_workloads]:
        yield Entry(problem.model_copy(update={"workloads": (workload,)}))


def fill(table: Table, file: RowFile, devices: Devices, todo: Sequence[Entry]) -> None:
    """Make the rows that the file lacks, each written as it is known; refuses a file of another device."""
    others = {row["device_name"] for row in file.kept} - {device_name(devices)}
    if others:
        raise InvalidInput(f"--out holds rows of {', '.join(map(str, others))}.", remedy="Name another --out.")
    done = {(row["problem"], row["workload"], row["baseline_set"]) for row in file.kept}
    missing = [entry for entry in todo if (*entry.key, table.baseline_set(entry.problem.name)) not in done]
    tell(f"{len(todo)} rows, {len(todo) - len(missing)} of them kept")
    for row in table.rows(missing):
        file.add([row])
        tell(f"  {row['error']}" if row["error"] else f"  best {row['best']}, {row['best_over_strict']:.2f} x strict")


def render(out: Path) -> int:
    """Write the page beside the rows; 1 when a time lies below its strict bound."""
    rows: list[dict[str, Any]] = [json.loads(line) for line in out.read_text().splitlines() if line.strip()]
    if not rows:
        raise InvalidInput(f"{out}: holds no rows.")
    out.with_suffix(".md").write_text(page(rows, title=f"Baselines and bounds on {rows[0]['device_name']}"))
    broken = violations(rows)
    for line in broken:
        tell(f"BELOW ITS BOUND: {line}")
    tell(f"{len(rows)} rows, {sum(row['error'] is not None for row in rows)} failed, {len(broken)} times below a bound")
    return 1 if broken else 0


def tell(words: str) -> None:
    """Say how far the table is, on standard error."""
    print(words, file=sys.stderr, flush=True)


def tell_step(step: str) -> None:
    """Say what the judge does."""
    tell(f"    {step}")


def main(words: list[str] | None = None) -> int:
    """Fill and render the table that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--problems", default="", help="names, separated by commas; all when left out")
    parser.add_argument("--workloads", type=int, help="only the first N of each problem")
    parser.add_argument("--without", default="", help="baselines left out: max_autotune, library, eager_out, ...")
    parser.add_argument("--at-once", type=int, default=4, help="rows set up side by side, on a card")
    parser.add_argument("--commit", default="", help="its name, where a copy of the tree has no repository")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--render", action="store_true", help="write the page of what the file holds, measure nothing")
    options = parser.parse_args(words)
    out = options.out or ROOT / "benchmarks" / "results" / f"table_{options.device.replace(':', '')}.jsonl"
    without = frozenset(MAX_AUTOTUNE if one == "max_autotune" else one for one in options.without.split(",") if one)
    try:
        if without - {*MADE, LIBRARY}:
            raise InvalidInput(f"--without takes {', '.join((*MADE, LIBRARY))}, not {options.without}.")
        if not options.render:
            with (
                tempfile.TemporaryDirectory(prefix="baselines-table-") as home,
                Workshop(options.device, Path(home) / "judge") as workshop,
            ):
                devices = open_devices(options.device, Path(home))
                names = tuple(one for one in options.problems.split(",") if one)
                todo = list(chosen(names, devices, options.workloads))
                at_once = options.at_once if devices.index is not None else 1
                table = Table(devices, workshop, without, at_once=at_once, commit=options.commit)
                with RowFile(out) as file:
                    fill(table, file, devices, todo)
        return render(out)
    except DeepAgentError as error:
        tell(str(error))
        return 2


if __name__ == "__main__":
    sys.exit(main())
