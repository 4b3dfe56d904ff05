"""Wires settings into an application; the only module that names an adapter. Opens the database, starts nothing."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import SystemRandom

from deep_agent.evolution.candidates import CandidateSpace, NoSpace
from deep_agent.evolution.operators.operator import VariationOperator
from deep_agent.evolution.operators.random import RandomOperator
from deep_agent.evolution.operators.schedule import ScheduleOperator
from deep_agent.evolution.supervisor import next_step
from deep_agent.executor.action import Action
from deep_agent.executor.actions.characterize import Characterize
from deep_agent.executor.actions.package import Package
from deep_agent.executor.actions.profile import ProfileAction
from deep_agent.executor.actions.report import Report
from deep_agent.executor.actions.vary import Vary
from deep_agent.executor.actions.verify import Verify
from deep_agent.executor.application import ApplicationParts, DeepAgent
from deep_agent.executor.egress import AllowList, Egress, check_url
from deep_agent.executor.engine import Engine, EngineParts
from deep_agent.executor.notify import WebhookNotifier, signing_secret
from deep_agent.executor.spaces import LoweredSpaces, RememberingAnalyst
from deep_agent.harness.client import JudgeProcess
from deep_agent.planner.builtin import builtin_methods
from deep_agent.ports import Analyst, Blobs, Clock, Judge
from deep_agent.problem.device import DeviceModel
from deep_agent.problem.readers import read_problem
from deep_agent.queues.home_lock import FileHomeLock
from deep_agent.queues.lanes import InProcessLanes
from deep_agent.settings import Settings
from deep_agent.sol.catalog import Catalog
from deep_agent.sol.client import SubprocessAnalyst
from deep_agent.sol.devices import CpuCatalog
from deep_agent.sol.machine import this_machine
from deep_agent.storage.blobs import FileBlobs
from deep_agent.storage.open import Storage, open_storage

STORED_PROBLEMS = Path(__file__).resolve().parents[1] / "problems"
"""Problems known by name: those of the checkout this package runs from."""


class SystemClock:
    """The machine's clock; the `Clock` port."""

    def now_s(self) -> float:
        """Seconds since the epoch."""
        return time.time()  # noqa: TID251 - the clock adapter

    def sleep(self, duration_s: float) -> None:
        """Block the calling thread."""
        time.sleep(duration_s)


def build(settings: Settings) -> DeepAgent:
    """Wire the application of a home folder.

    Raises:
        ResourceExhausted: the home folder cannot be written, or the disk is full.
        Conflict: a later version made its database.
        InvalidInput: `webhook_allow` holds something that is neither host nor network.
    """
    home = settings.home_path
    storage = open_storage(home, synchronous=settings.sqlite_synchronous)
    clock, blobs = SystemClock(), FileBlobs(home / "blobs")
    judge, analyst = open_judge(home, memory_bytes=settings.judge_memory_bytes), RememberingAnalyst(SubprocessAnalyst())
    devices = Catalog(CpuCatalog(home / "devices"))
    allow, lock = AllowList(settings.webhook_allow), FileHomeLock(home)
    parts = EngineParts(
        store=storage.store,
        deliveries=storage.deliveries,
        transport=InProcessLanes({"think": settings.think_threads, "cpu": settings.cpu_threads}),
        clock=clock,
        lock=lock,
        notifier=_notifier(storage, home, allow, clock),
        actions={
            "characterize": Characterize(judge=judge, analyst=analyst, devices=devices),
            **_search_actions(storage, home, judge, analyst, blobs),
            "package": Package(home),
            "report": Report(home, storage.reads),
            "profile": ProfileAction(judge),
        },
        methods=builtin_methods(next_step),
    )
    return DeepAgent(
        ApplicationParts(
            store=storage.store,
            reads=storage.reads,
            deliveries=storage.deliveries,
            clock=clock,
            engine=Engine(parts),
            judge=judge,
            profiler=judge,
            analyst=analyst,
            devices=devices,
            blobs=blobs,
            home=home,
            problems=STORED_PROBLEMS,
            lock=lock,
            check_webhook=partial(_check_webhook, allow=allow),
            webhook_secret=partial(signing_secret, home),
        )
    )


def open_judge(home: Path, *, memory_bytes: int | None = None) -> JudgeProcess:
    """Wire the judge of a home folder; its program starts at the first request."""
    machine = this_machine().fingerprint(n_threads=1, probe="", compiler="")
    return JudgeProcess(home / "judge", fingerprint=machine, hidden=(str(home),), memory_bytes=memory_bytes)


def _search_actions(storage: Storage, home: Path, judge: Judge, analyst: Analyst, blobs: Blobs) -> dict[str, Action]:
    lineages = home / "lineages"
    return {
        "vary": Vary(
            judge=judge, blobs=blobs, space_of=LoweredSpaces(analyst), operators=operators(), lineages=lineages
        ),
        "verify": Verify(judge=judge, reads=storage.reads, lineages=lineages),
    }


def operators() -> dict[str, VariationOperator]:
    """Give the variation operators by the names a goal may use."""
    schedule = ScheduleOperator()
    return {"auto": schedule, "schedule": schedule, "random": RandomOperator()}


def _notifier(storage: Storage, home: Path, allow: AllowList, clock: Clock) -> WebhookNotifier:
    return WebhookNotifier(
        storage.deliveries,
        Egress(allow, monotonic_s=time.monotonic),
        secret=partial(signing_secret, home),
        clock=clock,
        monotonic_s=time.monotonic,
        rng=SystemRandom(),
    )


def _check_webhook(url: str, *, allow: AllowList) -> None:
    check_url(url, allow)


@dataclass(frozen=True, kw_only=True)
class SearchBench:
    """What a benchmark of the search needs, without jobs."""

    judge: Judge
    device: DeviceModel
    spaces: LoweredSpaces

    def space(self, folder: Path) -> CandidateSpace | NoSpace:
        """Find the space of a problem."""
        return self.spaces(read_problem(folder, self.device.kind), self.device)


@contextmanager
def open_search_bench(home: Path, device: str) -> Iterator[SearchBench]:
    """Wire judge and lowering over a folder, and end the judge's processes afterwards."""
    judge = open_judge(home)
    try:
        model = CpuCatalog(home / "devices").resolve(device)
        yield SearchBench(judge=judge, device=model, spaces=LoweredSpaces(RememberingAnalyst(SubprocessAnalyst())))
    finally:
        judge.close()
