"""Owns the way from a problem to the space of its schedules: trace, recognise, lower. Asks the analyst; remembers.

Tracing needs a process that loads torch and takes seconds, so what it found is kept for the life of this process.
"""

import threading
from typing import Final

from typing_extensions import override

from deep_agent.errors import InvalidInput
from deep_agent.evolution.candidates import CandidateSpace, NoSpace
from deep_agent.evolution.space import Point
from deep_agent.lowering.cpp import lower
from deep_agent.lowering.expression import CannotLower, RowProgram
from deep_agent.lowering.rows import recognise
from deep_agent.lowering.schedule import default_points, schedule_from, search_space
from deep_agent.ports import Analyst
from deep_agent.problem.analysis import Analysis
from deep_agent.problem.bound import SolBound
from deep_agent.problem.device import DeviceModel
from deep_agent.problem.opgraph import OpGraph
from deep_agent.problem.problem import Problem
from deep_agent.problem.solution import Solution

_MOST_KEPT: Final = 64


class RememberingAnalyst(Analyst):
    """An analyst that asks another once a problem and device; safe to use from several threads."""

    def __init__(self, analyst: Analyst) -> None:
        """Keep the one that works."""
        self._analyst = analyst
        self._state = threading.Lock()
        self._known: dict[str, Analysis] = {}

    @override
    def graph(self, problem: Problem) -> OpGraph:
        with self._state:
            found = next((one for key, one in self._known.items() if key.startswith(problem.model_dump_json())), None)
        if found is not None and found.graph is not None:
            return found.graph
        return self._analyst.graph(problem)

    @override
    def bounds(self, problem: Problem, device: DeviceModel) -> tuple[SolBound, ...]:
        return self.analyse(problem, device).bounds

    @override
    def analyse(self, problem: Problem, device: DeviceModel) -> Analysis:
        key = problem.model_dump_json() + device.fingerprint
        with self._state:
            found = self._known.get(key)
        if found is None:
            found = self._analyst.analyse(problem, device)
            with self._state:
                while len(self._known) >= _MOST_KEPT:
                    self._known.pop(next(iter(self._known)))
                self._known[key] = found
        return found

    @override
    def survey(self, problem: Problem, device: DeviceModel) -> Analysis:
        # A set has more problems than are kept, and asks for each once.
        return self._analyst.survey(problem, device)

    @override
    def cancel(self) -> None:
        self._analyst.cancel()


class LoweredSpaces:
    """Finds what can be tried for a problem; a function of problem and device, as `SpaceOf` asks."""

    def __init__(self, analyst: Analyst) -> None:
        """Keep the analyst."""
        self._analyst = analyst

    def __call__(self, problem: Problem, device: DeviceModel) -> CandidateSpace | NoSpace:
        """Trace the reference and offer every schedule of it, or say what stands in the way.

        Raises:
            HarnessFailed: the analyst broke.
        """
        try:
            program = recognise(self._analyst.graph(problem))
        except InvalidInput as error:
            return NoSpace(error.message)
        if isinstance(program, CannotLower):
            return NoSpace(f"{problem.name} cannot be lowered: {program.reason}")
        return _space(program, problem, device)


def _space(program: RowProgram, problem: Problem, device: DeviceModel) -> CandidateSpace:
    def build(point: Point) -> Solution:
        return lower(
            program,
            schedule_from({name: choice for name, choice in point.items() if not isinstance(choice, float)}),
            definition=problem.definition,
            name=problem.name,
        )

    return CandidateSpace(parameters=search_space(program, device), seeds=default_points(program, device), build=build)
