"""Serves the judge on a socket until the client hangs up. Loads torch; started by `__main__`.

One JSON object a line: `{"id", "verb", ...}` in; `{"id", "event" | "result" | "error"}` out. Requests run in
threads of their own; the device's lock puts them in a row. When the client is gone, however it went, the
judge and everything it started ends.
"""

import json
import socket
import threading
from typing import Any, Final

import torch

from deep_agent import errors
from deep_agent.harness.arms.arm import Zygote
from deep_agent.harness.folders import Folders
from deep_agent.harness.judge import DeviceJudge
from deep_agent.problem.evaluation import BaselineChoice, EvaluationRequest
from deep_agent.problem.profile import ProfileRequest
from deep_agent.problem.solution import Solution

_KINDS: Final = ("InvalidInput", "NotFound", "MissingTool", "ResourceExhausted", "HarnessFailed")


class JudgeProgram:
    """Reads requests, starts threads, writes answers."""

    def __init__(self, channel: socket.socket, judge: DeviceJudge) -> None:
        """Keep the channel; answers of different threads are written one at a time."""
        self._channel = channel
        self._judge = judge
        self._writing = threading.Lock()

    def serve(self) -> None:
        """Answer until the client hangs up."""
        with self._channel.makefile("r", encoding="utf-8") as lines:
            for line in lines:
                threading.Thread(target=self._answer, args=(json.loads(line),), daemon=True).start()

    def _answer(self, request: dict[str, Any]) -> None:
        number = request["id"]
        try:
            self._write({"id": number, "result": self._result(request)})
        except errors.DeepAgentError as error:
            self._write_error(number, type(error).__name__, error.message, error.remedy)
        # The judge's own door: whatever breaks in here is the judge's fault, never the candidate's.
        except BaseException as error:  # noqa: BLE001 - becomes HarnessFailed at the client
            self._write_error(number, "HarnessFailed", f"the judge broke: {type(error).__name__}: {error}.", "")
        if self._judge.is_broken:
            # No arm starts here again: the client starts another program.
            self._channel.shutdown(socket.SHUT_RD)

    def _result(self, request: dict[str, Any]) -> dict[str, Any]:
        def progress(step: str) -> None:
            self._write({"id": request["id"], "event": step})

        if request["verb"] == "characterize":
            choice = BaselineChoice.model_validate(request["choice"])
            characterized = self._judge.characterize(request["problem_dir"], request["device"], progress, choice=choice)
            return characterized.model_dump(mode="json")
        if request["verb"] == "build":
            built = self._judge.build(Solution.model_validate(request["solution"]), request["device"])
            return built.model_dump(mode="json")
        if request["verb"] == "profile":
            found = self._judge.profile(ProfileRequest.model_validate(request["request"]), progress)
            return found.model_dump(mode="json")
        evaluated = self._judge.evaluate(EvaluationRequest.model_validate(request["request"]), progress)
        return evaluated.model_dump(mode="json")

    def _write_error(self, number: int, kind: str, message: str, remedy: str) -> None:
        known = kind if kind in _KINDS else "HarnessFailed"
        self._write({"id": number, "error": {"kind": known, "message": message, "remedy": remedy}})

    def _write(self, answer: dict[str, Any]) -> None:
        line = (json.dumps(answer) + "\n").encode()
        with self._writing:
            try:
                self._channel.sendall(line)
            except OSError:
                # Nobody listens any more; the reading thread is about to end the program.
                return


def serve(channel: socket.socket, zygote: Zygote, folders: Folders, settings: dict[str, Any]) -> None:
    """Judge for one client; returns when it is gone, with every arm ended."""
    torch.set_num_threads(1)
    judge = DeviceJudge(zygote, folders, settings["fingerprint"], memory_bytes=settings["memory_bytes"])
    try:
        JudgeProgram(channel, judge).serve()
    finally:
        judge.close()
