"""Profiles one solution on a CUDA device: one call under Nsight Compute, and what its build takes. Starts processes.

The call that is counted runs in a process of its own, after another has shown that the solution is right. Times
under a profiler explain; none of them is a score.
"""

import functools
import json
import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import torch

from deep_agent.errors import ResourceExhausted
from deep_agent.harness.answers.stage import Desk, Stage
from deep_agent.harness.arms.loading import load_request
from deep_agent.harness.arms.places import CudaDevice
from deep_agent.harness.baseline_arms import Workplace
from deep_agent.harness.builds.build import WORDS_FILE, NotBuilt, compile_in
from deep_agent.harness.builds.compilers import Nvcc
from deep_agent.harness.profiling.counting import MOST_LAUNCHES, TIMEOUT_S, Counted, count
from deep_agent.harness.profiling.cuda_resources import PTXAS_FLAGS, cuda_resource_figures, parse_ptxas
from deep_agent.harness.profiling.gpu_rules import counter_figures, diagnose_launch, heaviest, launch_resource_figures
from deep_agent.harness.profiling.ncu import Launch
from deep_agent.harness.profiling.trial import Trial
from deep_agent.harness.sandbox.wire import CALL_FILE, INPUTS_FILE
from deep_agent.harness.verdict import Prepared
from deep_agent.problem.problem import Problem
from deep_agent.problem.profile import Figure, NotProfiled, Profile, ProfileRequest
from deep_agent.problem.solution import Solution
from deep_agent.problem.trace import EvaluationStatus

LEAST_WARM_CALLS: Final = 3
"""Before the one that is counted: what compiles or tunes itself does so on its first calls."""
_NAME_CHARS: Final = 120
_WORDS_CHARS: Final = 2000


class CudaProfiling:
    """One profile: `with` sets up what needs no device, `run` does the rest."""

    def __init__(
        self, ncu: str, workplace: Workplace, problem: Problem, request: ProfileRequest, prepared: Prepared
    ) -> None:
        """Keep the tool and what to profile; raises InvalidInput for an unknown workload."""
        self._ncu = ncu
        self._trial = Trial(workplace, problem, prepared, request.workload)
        self._notes: list[str] = []
        self._built: tuple[Figure, ...] = ()

    def __enter__(self) -> Self:
        """Build for the profile and make the inputs; raises InvalidInput when they do not fit or are refused."""
        prepared, place = self._trial.prepared, self._trial.workplace.place
        if isinstance(place, CudaDevice) and not prepared.solution.spec.is_python:
            self._built = _build_figures(prepared.solution, place.architecture, self._notes)
        self._trial.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the inputs back."""
        self._trial.__exit__(kind, error, trace)

    def run(self) -> Profile | NotProfiled:
        """Check, count and conclude; needs the device.

        Raises:
            MissingTool: the tool may not read this device's counters.
            HarnessFailed: the tool failed.
            ResourceExhausted: no room on disk for the inputs.
        """
        trial = self._trial
        with tempfile.TemporaryDirectory(prefix="deep-agent-counted-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            refused = trial.run(trial.prepared.artefact, functools.partial(self._lay_out, folder))
            if refused is not None:
                return refused
            counted = count(self._ncu, folder, trial.workplace)
        if counted is None:
            words = f"Nsight Compute had not counted one call of it after {TIMEOUT_S:.0f} s."
            return NotProfiled(status=EvaluationStatus.TIMEOUT, reason=words)
        if not counted.launches and counted.status != 0:
            words = (
                f"it was right, and ended with {counted.status} under Nsight Compute: {counted.said[-_WORDS_CHARS:]}"
            )
            return NotProfiled(status=EvaluationStatus.RUNTIME_ERROR, reason=words)
        return self._conclude(counted)

    def _lay_out(self, folder: Path, stage: Stage, desk: Desk) -> None:
        """Write down how to load and call the solution, and with what; the folder is this judge's alone."""
        prepared, workplace = self._trial.prepared, self._trial.workplace
        layout, inputs = stage.snapshot(desk, 0)
        definition = self._trial.problem.definition
        request, contents = load_request(prepared.solution, definition, workplace.n_threads, artefact=prepared.artefact)
        files = [f"file-{number}" for number in range(len(contents))]
        call = {
            "load": request,
            "files": files,
            "device": workplace.place.torch_device,
            "n_warm": max(LEAST_WARM_CALLS, desk.n_warm_calls),
            **layout,
        }
        for file, content in zip(files, contents, strict=True):
            (folder / file).write_bytes(content)
        (folder / CALL_FILE).write_text(json.dumps(call))
        _write(folder / INPUTS_FILE, inputs)

    def _conclude(self, counted: Counted) -> Profile:
        found = heaviest(counted.launches)
        launch, share = found or (Launch("", {}), 0.0)
        bottleneck, evidence = diagnose_launch(launch)
        by_name = {one.name: one for one in (*self._built, *launch_resource_figures(launch))}
        told = {one.name for one in evidence} | set(by_name)
        return Profile(
            workload=self._trial.workload.uuid,
            bottleneck=bottleneck,
            evidence=evidence,
            resources=tuple(by_name.values()),
            counters=tuple(one for one in counter_figures(launch) if one.name not in told),
            notes=(*self._notes, *_counting_notes(counted, launch, share)),
        )


def _counting_notes(counted: Counted, launch: Launch, share: float) -> list[str]:
    """Say what was explained, and what there is to doubt about it."""
    n_launches = len(counted.launches)
    if not n_launches:
        notes = ["one call launched no kernel on the device that Nsight Compute could count."]
    else:
        name = launch.name if len(launch.name) <= _NAME_CHARS else f"{launch.name[:_NAME_CHARS]}..."
        launches = "launch" if n_launches == 1 else "launches"
        notes = [f"explained is {name}: {share:.0%} of the device time of a call with {n_launches} {launches}."]
    if n_launches >= MOST_LAUNCHES:
        notes.append(f"only the first {MOST_LAUNCHES} launches of the call were counted.")
    if counted.status != 0:
        notes.append(
            f"the counted program ended with status {counted.status}: the counters may lack its last launches."
        )
    return notes + [f"missing while it was counted: {step}" for step in counted.unconfined]


def _write(path: Path, content: torch.Tensor) -> None:
    """Write bytes, uint8 of shape (n,), to a new file; raises ResourceExhausted when there is no room."""
    n_bytes = content.numel()
    try:
        with path.open("xb") as file:
            # A mapping of a file that the disk has no room for would end the process.
            os.posix_fallocate(file.fileno(), 0, n_bytes)
    except OSError as error:
        raise ResourceExhausted(
            f"no room for {n_bytes / 2**20:.0f} MiB of inputs in {path.parent.parent}: {error.strerror}.",
            remedy="Free some space there, or profile a smaller workload.",
        ) from error
    torch.from_file(str(path), shared=True, size=n_bytes, dtype=torch.uint8).copy_(content)


def _build_figures(solution: Solution, architecture: str, notes: list[str]) -> tuple[Figure, ...]:
    """Build once more with the assembler's account; what cannot be read is said in the notes."""
    with tempfile.TemporaryDirectory(prefix="deep-agent-profile-") as folder:
        made = compile_in(solution, Nvcc(architecture), Path(folder), PTXAS_FLAGS)
        if isinstance(made, NotBuilt):
            notes.append(f"what the build takes is unknown: {made.diagnostics[-_WORDS_CHARS:]}")
            return ()
        return cuda_resource_figures(parse_ptxas((Path(folder) / WORDS_FILE).read_text(errors="replace")))
