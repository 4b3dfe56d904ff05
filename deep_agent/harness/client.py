"""Starts the judge's program and speaks with it. Implements `Judge` and `Profiler` without torch; starts processes.

The program starts at the first request and again after it broke. It ends when this process does, however that
happens, because its only input then closes.
"""

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

from pydantic import TypeAdapter

from deep_agent import errors
from deep_agent.ports import ignore_progress
from deep_agent.problem.evaluation import BaselineChoice, Build, Characterization, Evaluation, EvaluationRequest
from deep_agent.problem.profile import NotProfiled, Profile, ProfileAnswer, ProfileRequest
from deep_agent.problem.solution import Solution

_ERRORS: Final[Mapping[str, type[errors.DeepAgentError]]] = {
    "InvalidInput": errors.InvalidInput,
    "NotFound": errors.NotFound,
    "MissingTool": errors.MissingTool,
    "ResourceExhausted": errors.ResourceExhausted,
}

_Answer = dict[str, Any]
_DEFAULT_CHOICE: Final = BaselineChoice()
_PROFILES: Final[TypeAdapter[Profile | NotProfiled]] = TypeAdapter(ProfileAnswer)


class JudgeProcess:
    """The `Judge` port over a program of its own; safe to use from several threads."""

    def __init__(
        self, cache: Path, *, fingerprint: str, hidden: tuple[str, ...], memory_bytes: int | None = None
    ) -> None:
        """Keep what the program is told; nothing starts yet.

        Args:
            cache: folder for builds and compiled baselines.
            fingerprint: of the processor, stored with every evaluation on it.
            hidden: folders that candidates must not see.
            memory_bytes: address space of a candidate; None lets the judge choose by workload.
        """
        self._settings = {
            "home": str(cache),
            "fingerprint": fingerprint,
            "hidden": list(hidden),
            "memory_bytes": memory_bytes,
        }
        self._numbers = itertools.count(1)
        self._state = threading.Lock()
        self._running: _Program | None = None
        self._closed = False

    def prepare(self) -> None:
        """Start the program unless it runs; see the port."""
        self._program()

    def characterize(
        self,
        problem_dir: str,
        device: str,
        progress: Callable[[str], None] = ignore_progress,
        *,
        choice: BaselineChoice = _DEFAULT_CHOICE,
    ) -> Characterization:
        """See the port; `progress` is told each step in a few words, `choice` says which baselines to try."""
        request = {
            "verb": "characterize",
            "problem_dir": problem_dir,
            "device": device,
            "choice": choice.model_dump(mode="json"),
        }
        return Characterization.model_validate(self._ask(request, progress))

    def build(self, solution: Solution, device: str) -> Build:
        """See the port."""
        asked = {"verb": "build", "solution": solution.model_dump(mode="json"), "device": device}
        return Build.model_validate(self._ask(asked, ignore_progress))

    def evaluate(self, request: EvaluationRequest, progress: Callable[[str], None] = ignore_progress) -> Evaluation:
        """See the port; `progress` is told each step in a few words."""
        asked = {"verb": "evaluate", "request": request.model_dump(mode="json")}
        return Evaluation.model_validate(self._ask(asked, progress))

    def profile(
        self, request: ProfileRequest, progress: Callable[[str], None] = ignore_progress
    ) -> Profile | NotProfiled:
        """See the `Profiler` port."""
        asked = {"verb": "profile", "request": request.model_dump(mode="json")}
        return _PROFILES.validate_python(self._ask(asked, progress))

    def _ask(self, request: _Answer, progress: Callable[[str], None]) -> _Answer:
        number = next(self._numbers)
        program = self._program()
        answers = program.send({"id": number, **request})
        while True:
            answer = answers.get()
            if "event" in answer:
                progress(answer["event"])
            elif "result" in answer:
                result: _Answer = answer["result"]
                return result
            else:
                told = answer["error"]
                raise _ERRORS.get(told["kind"], errors.HarnessFailed)(told["message"], remedy=told["remedy"])

    def _program(self) -> "_Program":
        with self._state:
            if self._closed:
                raise errors.HarnessFailed("the judge is closed.")
            if self._running is None or not self._running.is_alive:
                self._running = _Program(self._settings)
            return self._running

    def close(self) -> None:
        """End the program; requests under way raise HarnessFailed. Idempotent."""
        with self._state:
            self._closed = True
            if self._running is not None:
                self._running.close()


class _Program:
    """One life of the judge's program."""

    def __init__(self, settings: Mapping[str, object]) -> None:
        self._channel, theirs = socket.socketpair()
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
            "OMP_NUM_THREADS": "1",
            # Freed memory stays mapped: the oracle's large results would otherwise cost page faults each time.
            "MALLOC_MMAP_MAX_": "0",
            "MALLOC_TRIM_THRESHOLD_": "-1",
        }
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "deep_agent.harness", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=environment,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._waiting: dict[int, SimpleQueue[_Answer]] = {}
        self._state = threading.Lock()
        self.is_alive = True
        self._channel.sendall((json.dumps(settings) + "\n").encode())
        threading.Thread(target=self._read, name="judge-answers", daemon=True).start()

    def send(self, request: _Answer) -> SimpleQueue[_Answer]:
        """Send a request; its answers arrive in the queue, an error last if the program ends."""
        answers: SimpleQueue[_Answer] = SimpleQueue()
        with self._state:
            self._waiting[request["id"]] = answers
            if not self.is_alive:
                answers.put(_ENDED)
                return answers
            try:
                self._channel.sendall((json.dumps(request) + "\n").encode())
            except OSError:
                answers.put(_ENDED)
        return answers

    def _read(self) -> None:
        try:
            with self._channel.makefile("r", encoding="utf-8") as lines:
                for line in lines:
                    answer = json.loads(line)
                    with self._state:
                        waiting = self._waiting.get(answer["id"])
                        if "event" not in answer:
                            self._waiting.pop(answer["id"], None)
                    if waiting is not None:
                        waiting.put(answer)
        except OSError:
            # The channel was closed under the reader: the same as the program's end.
            pass
        finally:
            with self._state:
                self.is_alive = False
                for waiting in self._waiting.values():
                    waiting.put(_ENDED)
                self._waiting.clear()
            self._process.wait()
            self._channel.close()

    def close(self) -> None:
        """Kill the program and its zygote; the arms die with the zygote."""
        try:
            self._channel.shutdown(socket.SHUT_RDWR)
        except OSError:
            return
        try:
            self._process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            # It may end just now.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)


_ENDED: Final[_Answer] = {
    "error": {"kind": "HarnessFailed", "message": "the judge's program ended.", "remedy": "The step is tried again."}
}
