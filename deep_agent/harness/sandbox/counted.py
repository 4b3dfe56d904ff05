"""Calls a solution under a profiler: loads it as an arm does, warms it up, and has one call counted.

`python -m deep_agent.harness.sandbox.counted FOLDER`. The folder holds `call.json`, the files of the artefact and the
bytes of the inputs. Nobody asks this process for an answer; what is counted is the profiler's.
"""

import json
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.cuda.profiler

from deep_agent.harness.sandbox.artefact import argument, load_function
from deep_agent.harness.sandbox.wire import CALL_FILE, INPUTS_FILE


def main(folder: Path) -> None:
    """Load, warm up, and call once between the profiler's start and stop."""
    call = json.loads((folder / CALL_FILE).read_text())
    torch.set_num_threads(call["load"]["n_threads"])
    function = load_function(call["load"], [os.open(folder / name, os.O_RDONLY) for name in call["files"]])
    settle, counted = _on_device(call["device"]) if call["device"] != "cpu" else (_nothing, nullcontext)
    arguments = _arguments(call, folder)
    for _ in range(call["n_warm"]):
        function(*arguments)
    settle()
    with counted():
        function(*arguments)
        settle()


def _on_device(device: str) -> tuple[Callable[[], None], Callable[[], AbstractContextManager[object]]]:
    torch.cuda.set_device(device)
    torch.cuda.init()
    return torch.cuda.synchronize, torch.cuda.profiler.profile


def _nothing() -> None:
    pass


def _arguments(call: dict[str, Any], folder: Path) -> list[Any]:
    """Make the inputs, and for a solution that writes its results the outputs."""
    inputs_bytes, outputs_bytes = call["region_bytes"]
    inputs = torch.from_file(str(folder / INPUTS_FILE), shared=False, size=inputs_bytes, dtype=torch.uint8)
    inputs = inputs.to(call["device"])
    arguments = [argument(spec, partial(_part, inputs)) for spec in call["inputs"]]
    if call["load"]["destination_passing"]:
        outputs = torch.empty(outputs_bytes, dtype=torch.uint8, device=call["device"])
        arguments += [argument(spec, partial(_part, outputs)) for spec in call["outputs"]]
    return arguments


def _part(region: torch.Tensor, offset: int, n_bytes: int) -> torch.Tensor:
    return region[offset : offset + n_bytes]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
