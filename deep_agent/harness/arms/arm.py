"""Owns the judge's side of an arm: fork it, ask it, time it, kill it. Starts processes; reads clocks.

Times are taken here, on the judge's monotonic clock; processor time comes from the kernel's account of the
arm's process. Nothing the arm says is a figure.
"""

import contextlib
import itertools
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from deep_agent.errors import HarnessFailed
from deep_agent.harness.arms.processes import census, may_run
from deep_agent.harness.folders import PROGRAM_PATH
from deep_agent.harness.sandbox.wire import NONCE_BYTES, Finding, Verb, receive_reply, send_request

START_TIMEOUT_S: Final = 120.0
STOP_TIMEOUT_S: Final = 5.0
_STOPPING_S: Final = 1e-4
_FINDINGS: Final = frozenset(Finding)
_LOG_BYTES: Final = 16 * 1024
_THREAD_VARIABLES: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_OPENMP: Final = {"GOMP_SPINCOUNT": "10000"}
"""Threads of a team wait for work in a loop for tens of microseconds, not for milliseconds after a call has ended."""


@dataclass(frozen=True, slots=True)
class ArmLimits:
    """What an arm may use."""

    memory_bytes: int | None
    """Address space beyond what the preloaded libraries map; None on a CUDA device, whose driver maps terabytes."""
    cpu_s: int = 600
    file_bytes: int = 256 * 2**20
    n_files: int = 256


@dataclass(frozen=True, slots=True)
class CallTiming:
    """One call, seen from outside."""

    wall_us: float
    cpu_us: float
    """Processor time within the call, over all threads of the arm."""
    others_us: float = 0.0
    """What other threads than the calling one used from the previous request to this one; below 0 by rounding only."""
    idle_us: float = 0.0
    """Processor time since the previous request's answer, when nothing was asked of it."""
    second_us: float = 0.0
    """The call by the judge's clock over a whole burst, where `wall_us` is by events on the device."""
    whole_us: float = 0.0
    """The call's share, by events, of a burst with all that ran in it, less the emptyings of the cache."""
    new_us: float = 0.0
    """The call with inputs new to a burst, where `wall_us` is with inputs that came often in it; both by events."""
    copy_us: float = 0.0
    """Processor time of copying out what the call returned; 0 where results are written in place."""
    late_us: float = 0.0
    """What a tiny kernel of the judge's took right after the answer to a burst: long while the arm's device work goes on."""


class ArmFailed(Exception):
    """The arm raised, died, hung or answered out of turn."""

    def __init__(self, reason: str, *, finding: Finding | None = None, timed_out: bool = False) -> None:
        """Keep the reason in words; `finding` when the arm itself reported it."""
        super().__init__(reason)
        self.reason = reason
        self.finding = finding
        self.timed_out = timed_out


@contextlib.contextmanager
def blaming(arm: str) -> Iterator[None]:
    """Let the candidate's failures through as they are; any other arm's are the judge's, as HarnessFailed."""
    try:
        yield
    except ArmFailed as failure:
        if arm == "candidate":
            raise
        raise HarnessFailed(f"the {arm}'s arm broke: {failure.reason}") from failure


class Zygote:
    """The preloaded process that arms are forked from; one a judge, safe to use from several threads."""

    def __init__(self, scratch: Path, hidden: Sequence[str], cache: Path) -> None:
        """Start it; it gets ready while the caller goes on.

        Args:
            scratch: folder for the scratch files of unconfined arms.
            hidden: folders that confined arms must not see.
            cache: where the baseline arms' compiler keeps its results.
        """
        self._scratch = scratch
        self.hidden = tuple(hidden)
        """Folders that confined processes must not see."""
        self._cache = cache
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = {
            "PATH": PROGRAM_PATH,
            "LANG": "C.UTF-8",
            # Asking whether there is a device must not open it: a child of an opened one cannot use it.
            "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
            # Freed memory stays mapped, so that results which a library allocates cost no page faults.
            "MALLOC_MMAP_MAX_": "0",
            "MALLOC_TRIM_THRESHOLD_": "-1",
            "MALLOC_TOP_PAD_": str(64 * 2**20),
            **_OPENMP,
            "PYTHONPATH": str(Path(__file__).resolve().parents[3]),
            # A process that forks must have one thread.
            **dict.fromkeys(_THREAD_VARIABLES, "1"),
            "TORCHINDUCTOR_CACHE_DIR": str(cache),
            "TORCHINDUCTOR_COMPILE_THREADS": "1",
        }
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "deep_agent.harness.sandbox.zygote", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=environment,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._ready = False
        self.is_broken = False
        """Whether an answer failed to come: it might come late, and be read as the next one."""
        self._asking = threading.Lock()

    def fork(self, limits: ArmLimits, *, confine: bool, n_threads: int, on_device: bool = False) -> "Arm":
        """Fork an arm; confined ones may run candidate code, those on a device may open a CUDA context.

        A confined arm on a device rests: it runs only while it is asked, because a device serves all arms in turn.

        Raises:
            HarnessFailed: the zygote is gone or did not answer.
        """
        channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        log_fd = os.memfd_create("deep-agent-arm-log", os.MFD_CLOEXEC)
        caches = "/tmp" if confine else str(self._cache)  # noqa: S108 - a scratch of the arm's own
        order = {
            "confine": confine,
            "limits": asdict(limits),
            "hidden": self.hidden,
            "fresh": (),
            "scratch": str(self._scratch),
            "environment": {
                "LANG": "C.UTF-8",
                "PATH": PROGRAM_PATH,
                **_OPENMP,
                "TORCHINDUCTOR_COMPILE_THREADS": "1",
                **dict.fromkeys(_THREAD_VARIABLES, str(n_threads)),
                **({} if confine else {"TORCHINDUCTOR_CACHE_DIR": caches}),
                **({"HOME": caches, "TRITON_CACHE_DIR": f"{caches}/triton"} if on_device else {}),
            },
        }
        with contextlib.ExitStack() as unused:
            unused.callback(channel.close)
            unused.callback(os.close, log_fd)
            with theirs:
                answer = self._ask(order, [theirs.fileno(), log_fd])
            pid, group = answer["pid"], answer["group"]
            # A signal to 0 would end the judge and all beside it.
            if not isinstance(pid, int) or not isinstance(group, int) or min(pid, group) <= 0:
                raise HarnessFailed(
                    "the judge's zygote could not fork an arm.", remedy="Check memory and process limits."
                )
            unused.pop_all()
        held, failed = answer["held"], answer["failed"]
        assert isinstance(held, list)
        assert isinstance(failed, list)
        confinement = tuple(str(step) for step in held) + tuple(f"missing: {step}" for step in failed)
        return Arm(channel, pid, group, log_fd, confinement, rests=confine and on_device)

    def _ask(self, order: Mapping[str, object], fds: list[int]) -> dict[str, object]:
        packet = b""
        try:
            with self._asking:
                if self.is_broken:
                    raise BrokenPipeError("it failed before")
                try:
                    self._control.settimeout(START_TIMEOUT_S)
                    if not self._ready:
                        self._control.recv(4096)
                        self._ready = True
                    socket.send_fds(self._control, [json.dumps(order).encode()], fds)
                    packet = self._control.recv(64 * 1024)
                finally:
                    # Before whoever waits may ask.
                    self.is_broken = not packet
        except OSError as error:
            raise HarnessFailed(f"the judge's zygote is gone: {error}.", remedy="Run the evaluation again.") from error
        if not packet:
            raise HarnessFailed("the judge's zygote ended early.", remedy="Run `deep-agent doctor`.")
        return {"group": 0, **json.loads(packet)}

    def close(self) -> None:
        """End the zygote and every arm; idempotent."""
        self._control.close()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class Arm:
    """One forked arm; used by one thread at a time."""

    def __init__(
        self,
        channel: socket.socket,
        pid: int,
        group: int,
        log_fd: int,
        confinement: tuple[str, ...],
        *,
        rests: bool,
    ) -> None:
        """Take over the channel and the log; `pid` is the host's number of the arm; one that rests is frozen but when asked."""
        self._channel = channel
        self._pid = pid
        self._group = group
        self._log_fd = log_fd
        self.confinement = confinement
        # Linux: clock id of another process's processor time, as clock_getcpuclockid(3) computes it.
        self._cpu_clock = (~pid << 3) | 2
        self._schedstat = Path(f"/proc/{pid}/task/{pid}/schedstat")
        self._asked_ns: tuple[int, int] | None = None
        """Processor time of the arm and of its calling thread, when the latest request was sent."""
        self._answered_ns: int | None = None
        """Processor time of the arm when the latest request was answered."""
        self._rests = rests
        self._is_frozen = False
        self._binding_numbers = itertools.count()
        self._end: ArmFailed | None = None
        """What ended the arm."""

    @property
    def pid(self) -> int:
        """The host's number of the process."""
        return self._pid

    def next_binding(self) -> int:
        """Number a binding: no other of this arm ever has it, since one arm sits at the stages of many workloads."""
        return next(self._binding_numbers)

    def ask(
        self, verb: Verb, payload: Mapping[str, object], fds: Sequence[int] = (), *, timeout_s: float
    ) -> CallTiming:
        """Make one request and wait for its answer.

        Raises:
            ArmFailed: any answer but DONE, in words the user can act on.
        """
        if self._end is not None:
            # Whoever gave up on the arm may have kept silent about it: its own end is what the next one hears.
            raise ArmFailed(self._end.reason, timed_out=self._end.timed_out)
        self._go_on()
        try:
            return self._asked(verb, payload, fds, timeout_s)
        finally:
            if self._rests:
                self.freeze()

    def _asked(self, verb: Verb, payload: Mapping[str, object], fds: Sequence[int], timeout_s: float) -> CallTiming:
        nonce = secrets.token_bytes(NONCE_BYTES)
        self._channel.settimeout(timeout_s)
        try:
            before_ns = (time.clock_gettime_ns(self._cpu_clock), self._main_thread_ns())
            started_ns = time.perf_counter_ns()
            send_request(self._channel, nonce, verb, payload, fds)
            answered, finding = receive_reply(self._channel)
            ended_ns = time.perf_counter_ns()
        except TimeoutError as error:
            words = f"{verb.name} took longer than {timeout_s:.0f} s and was killed."
            raise self._ended(ArmFailed(words, timed_out=True)) from error
        except OSError as error:
            raise self._ended(ArmFailed(self._how_it_died())) from error
        if answered != nonce or finding not in _FINDINGS:
            words = self._how_it_died() if finding < 0 else "the arm answered out of turn."
            raise self._ended(ArmFailed(words))
        if finding != Finding.DONE:
            raise ArmFailed(self.last_words() or "it failed without a word.", finding=Finding(finding))
        return self._account((ended_ns - started_ns) / 1e3, before_ns)

    def _account(self, wall_us: float, before_ns: tuple[int, int]) -> CallTiming:
        """Put the kernel's account of the arm beside the wall time of a request that was just answered.

        A thread's own account is exact only while the thread sleeps, and just after an answer it may still be on
        its way there. So threads are told apart between one request and the next, when it has long been asleep.
        """
        cpu_before_ns, main_before_ns = before_ns
        asked_cpu_ns, asked_main_ns = self._asked_ns or before_ns
        answered_ns = self._answered_ns or cpu_before_ns
        self._asked_ns, self._answered_ns = before_ns, self._cpu_ns(cpu_before_ns)
        return CallTiming(
            wall_us,
            cpu_us=(self._answered_ns - cpu_before_ns) / 1e3,
            others_us=((cpu_before_ns - asked_cpu_ns) - (main_before_ns - asked_main_ns)) / 1e3,
            idle_us=(cpu_before_ns - answered_ns) / 1e3,
        )

    def _main_thread_ns(self) -> int:
        """Read the processor time of the thread that takes requests; OSError when the arm is gone."""
        return int(self._schedstat.read_text().split(maxsplit=1)[0])

    def _cpu_ns(self, otherwise: int) -> int:
        try:
            return time.clock_gettime_ns(self._cpu_clock)
        except OSError:
            return otherwise

    def _how_it_died(self) -> str:
        return "the process died: a write to a read-only input, an address out of bounds, or a limit does that."

    def freeze(self) -> None:
        """Stop whatever an untrusted arm still does: what it owes when it says done, it owes for good."""
        self._signal_group(signal.SIGSTOP)
        self._is_frozen = True

    def stand_still(self) -> None:
        """Freeze an untrusted arm and wait until nothing of it runs: on a busy machine the signal takes milliseconds.

        Raises:
            ArmFailed: something of it would not stop; the arm is ended.
        """
        self.freeze()
        until_s = time.monotonic() + STOP_TIMEOUT_S
        while self.confinement and may_run(self._pid, self._group):
            if time.monotonic() > until_s:
                raise self._ended(
                    ArmFailed(f"it would not stop within {STOP_TIMEOUT_S:.0f} s and was killed.", timed_out=True)
                )
            time.sleep(_STOPPING_S)

    def thaw(self) -> None:
        """Let a frozen arm go on; one that rests goes on when it is asked."""
        if not self._rests:
            self._go_on()

    def _go_on(self) -> None:
        if self._is_frozen:
            self._signal_group(signal.SIGCONT)
            self._is_frozen = False

    def census(self) -> tuple[int, float]:
        """Count the processes below the arm that live, and the processor time, in us, of those that ended."""
        return census(self._pid)

    def _signal_group(self, number: signal.Signals) -> None:
        if not self.confinement or self._end is not None:
            return
        # The arm itself as well: it may have left its group.
        for send, target in ((os.kill, self._pid), (os.killpg, self._group)):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                send(target, number)

    def last_words(self) -> str:
        """What the arm wrote to its output, at most 16 KiB of the end; data, never evidence."""
        size = os.fstat(self._log_fd).st_size
        return os.pread(self._log_fd, _LOG_BYTES, max(0, size - _LOG_BYTES)).decode(errors="replace").strip()

    def close(self) -> None:
        """Kill the arm with everything it started; idempotent."""
        if self._log_fd < 0:
            return
        self._kill()
        os.close(self._log_fd)
        self._log_fd = -1

    def _ended(self, failure: ArmFailed) -> ArmFailed:
        """Kill the arm, and keep what ended it."""
        self._kill()
        self._end = failure
        return failure

    def _kill(self) -> None:
        """End the process, its group and, where it has one, its process namespace. A late answer meets a closed channel."""
        self._end = self._end or ArmFailed("the arm was closed.")
        self._channel.close()
        for kill, target in ((os.kill, self._pid), (os.killpg, self._group)):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(target, signal.SIGKILL)
