"""Loads torch. Owns tracing a reference: which inputs, which sizes, which tier; runs the user's reference.

Tier 1 runs on fake tensors and costs milliseconds at any size. Tier 2 runs on real, generated inputs when
the reference looks at values. Tier 3 knows only what the definition declares, and has no graph.
"""

import logging
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType, TracebackType
from typing import Literal, Self

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from deep_agent.errors import InvalidInput
from deep_agent.problem.opgraph import OpGraph
from deep_agent.problem.problem import Problem
from deep_agent.problem.workload import Workload
from deep_agent.sol.agreement import check_outputs, trace_notes
from deep_agent.sol.bindings import Axes, checked_workloads, further_bindings
from deep_agent.sol.counting import count
from deep_agent.sol.inputs import (
    Case,
    Draw,
    GeneratorFailed,
    describe,
    load_reference,
    make_case,
    make_inputs,
    make_known_inputs,
    shared_storage,
)
from deep_agent.sol.knownvalues import KnownValues
from deep_agent.sol.rawtrace import RawTrace, Scalar
from deep_agent.sol.recording import record
from deep_agent.sol.symbols import Binding, ScalarVariant, concrete, same_structure, unify
from deep_agent.sol.typenames import Untraceable
from deep_agent.sol.watching import FAKE_LIMITS

MAX_REAL_BYTES = 256 * 2**20
"""Declared bytes up to which a reference is run on real tensors."""
MAX_CHECKED_BYTES = 64 * 2**20
"""Declared bytes up to which a reference is run to look for NaN."""
NAN_CHECK_S = 20.0
"""How long a reference may run for that."""
LONG_RUN = 4000
"""Operations above which only two seeds are run: each costs seconds."""
SEEDS = (0, 1, 2)
"""Seeds whose least work counts where values decide."""

_LIMITS = (Untraceable, GeneratorFailed, *FAKE_LIMITS)
"""Failures that say nothing against the reference."""


@dataclass(frozen=True)
class Traced:
    """What one workload's run left."""

    case: Case
    tier: Literal[1, 2, 3]
    trace: RawTrace | None
    """None at tier 3."""
    notes: tuple[str, ...] = ()
    saw_indices: bool = False
    """Whether the rows that gathers touch were counted on real, generated indices."""

    @property
    def counted_tier(self) -> Literal[1, 2, 3]:
        """The tier of the bound: counting rows took real inputs, even where the graph did not."""
        return 2 if self.saw_indices else self.tier

    def concrete_graph(self, name: str) -> OpGraph | None:
        """Give the graph of this run alone, for counting; None at tier 3."""
        return None if self.trace is None else concrete(name, Binding(self.case.sizes, self.trace))


class ReferenceTracer:
    """A problem's reference, imported once; use as a context, which owns the file it was imported from."""

    def __init__(self, problem: Problem) -> None:
        """Keep the problem; the reference is imported when the context opens."""
        self._problem = problem
        self._open = ExitStack()
        self._module: ModuleType | None = None

    def __enter__(self) -> Self:
        # Probing sizes makes references raise on purpose; torch would log each one as an error.
        logging.getLogger("torch._subclasses.fake_tensor").setLevel(logging.CRITICAL)
        with ExitStack() as opening:
            folder = opening.enter_context(TemporaryDirectory(prefix="deep-agent-reference-"))
            self._module = load_reference(self._problem.definition, Path(folder))
            # Only now is the folder the context's to keep; until here a failure removes it.
            self._open = opening.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._open.close()

    def trace(self, workload: Workload) -> Traced:
        """Run the reference at a workload, at the lowest tier that works.

        Raises:
            InvalidInput: the reference raises, or a shape overflows or differs from its declaration.
        """
        case = make_case(self._problem.definition, workload)
        try:
            traced = self._trace_fake(case)
        except Exception as error:  # noqa: BLE001 - the reference may raise anything; a real run says whether it is at fault
            traced = self._trace_real(case, error)
        if traced.trace is not None:
            check_outputs(case, traced.trace)
            traced = replace(traced, notes=(*traced.notes, *trace_notes(traced.trace)))
        return traced

    def _trace_fake(self, case: Case) -> Traced:
        """Run on fake tensors, looking at real values where they decide.

        Values come from the definition's own generator. Without one they would be ours and say nothing about
        rows, so they are drawn only for a reference that cannot run without.
        """
        if case.definition.custom_inputs_entrypoint is not None:
            return self._with_seeds(case, self._record_known(case, seed=SEEDS[0]), ())
        try:
            return Traced(case, 1, self._record(case, fake=True))
        except (Untraceable, *FAKE_LIMITS) as error:
            reason = f"fake tensors did not do: {describe(error)}"
        return self._with_seeds(case, self._record_known(case, seed=SEEDS[0]), (reason,))

    def _with_seeds(self, case: Case, first: RawTrace, notes: tuple[str, ...]) -> Traced:
        """Keep the least work of several seeds, if values decide anything."""
        if first.looked_at == "nothing":
            return Traced(case, 1, first, notes)
        seeds = SEEDS if len(first.operations) <= LONG_RUN else SEEDS[:2]
        found = [first, *(self._record_known(case, seed=seed) for seed in seeds[1:])]
        kind = f"the least of {len(seeds)} seeds of generated inputs, looked at where they decide"
        if not all(same_structure(first, other) for other in found):
            kind = f"{kind}; the course of the run differs between seeds"
        least = min(found, key=lambda trace: _work_order(case, trace))
        return Traced(case, 2 if first.looked_at == "values" else 1, least, (*notes, kind), saw_indices=True)

    def _record_known(self, case: Case, *, seed: int) -> RawTrace:
        assert self._module is not None
        mode, known = FakeTensorMode(allow_non_fake_inputs=True), KnownValues()
        inputs = make_known_inputs(case, self._module, mode=mode, known=known, seed=seed)
        trace = record(self._module.run, inputs, tuple(case.definition.outputs), mode, known)
        input_bytes, aliases = shared_storage(inputs)
        return replace(trace, input_bytes=input_bytes, aliases=aliases)

    def refuse_nan(self, workloads: Sequence[Workload]) -> None:
        """Run the smallest workload for real and refuse a reference that returns NaN.

        A NaN counts only when inputs drawn between 0.1 and 0.9 give it too: a negative variance is the
        draw's fault. Workloads above MAX_CHECKED_BYTES, and those that take longer than NAN_CHECK_S, are left to the
        judge, which runs them all: a processor may have no fast way of computing what a card has.

        Raises:
            InvalidInput: the reference returns NaN on both draws.
        """
        cases = [make_case(self._problem.definition, workload) for workload in workloads]
        case = min(cases, key=lambda candidate: candidate.declared_bytes)
        if case.declared_bytes > MAX_CHECKED_BYTES:
            return
        draws: tuple[Draw, ...] = ("normal", "positive")
        if _says_yes(lambda: all(self._has_nan(case, draw) for draw in draws), within_s=NAN_CHECK_S):
            raise InvalidInput(
                f"definition {case.definition.name!r}, workload {case.uuid!r}: the reference returns NaN.",
                remedy="Correct the reference, or generate inputs it is defined on with custom_inputs_entrypoint.",
            )

    def _has_nan(self, case: Case, draw: Draw) -> bool:
        assert self._module is not None
        try:
            result = self._module.run(*make_inputs(case, self._module, mode=None, draw=draw).values())
        except Exception:  # noqa: BLE001 - our draw may be illegal for it, an index out of range say; the judge's is not
            return False
        parts = (
            result.values() if isinstance(result, dict) else result if isinstance(result, list | tuple) else (result,)
        )
        return any(
            part.isnan().any().item() for part in parts if isinstance(part, torch.Tensor) and part.is_floating_point()
        )

    def _trace_real(self, case: Case, why: Exception) -> Traced:
        reason = f"fake tensors did not do: {describe(why)}"
        if case.declared_bytes > MAX_REAL_BYTES:
            if isinstance(why, _LIMITS):
                return Traced(case, 3, None, (reason, "inputs are too large for a run on real tensors"))
            raise self._refused(case, why)
        try:
            return Traced(case, 2, self._record(case, fake=False), (reason, "traced on real, generated inputs"))
        except Untraceable as error:
            return Traced(case, 3, None, (reason, f"a run on real inputs did not do: {error}"))
        except Exception as error:
            raise self._refused(case, error) from error

    def _refused(self, case: Case, error: BaseException) -> InvalidInput:
        return InvalidInput(
            f"definition {case.definition.name!r}, workload {case.uuid!r}: the reference raised {describe(error)}.",
            remedy="Correct the reference or the workload.",
        )

    def _record(self, case: Case, *, fake: bool, seed: int = 0) -> RawTrace:
        assert self._module is not None
        mode = FakeTensorMode(allow_non_fake_inputs=True) if fake else None
        inputs = make_inputs(case, self._module, mode=mode, seed=seed, draw=None if fake else "normal")
        trace = record(self._module.run, inputs, tuple(case.definition.outputs), mode)
        input_bytes, aliases = shared_storage(inputs)
        return replace(trace, input_bytes=input_bytes, aliases=aliases)

    def graph(self, workload: Workload, traced: Traced | None = None) -> OpGraph | None:
        """Give the operation graph, symbolic where further bindings confirm it.

        Only tier 1 has one: a run that looked at values has them baked into its literals. Nor has a run with
        element types that the format cannot name.
        """
        base = traced or self.trace(workload)
        if base.trace is None or base.tier != 1 or base.trace.stand_ins:
            return None
        here = Binding(base.case.sizes, base.trace)
        return self._symbolic(workload, base, here) or concrete(self._problem.name, here)

    def _symbolic(self, workload: Workload, base: Traced, here: Binding) -> OpGraph | None:
        elsewhere = self._at([dict(other.axes) for other in checked_workloads(self._problem, workload)], base)
        if any(not same_structure(here.trace, other.trace) for other in elsewhere):
            return None
        variants = self._scalar_variants(base, here)
        free = tuple(self._problem.definition.axes)
        groups = list(further_bindings(self._problem, workload))
        for group in groups or [()]:
            others = [other for other in self._at(group, base) if same_structure(here.trace, other.trace)]
            if group and not _all_vary(group[0], [here, *others]):
                continue
            found = unify(self._problem.name, here, [*others, *elsewhere], variants, free)
            if found is not None:
                return found
        return None

    def _at(self, axes: Sequence[Axes], base: Traced) -> list[Binding]:
        """Trace at further sizes with the base's scalars; sizes the reference refuses are left out."""
        kept = []
        for sizes in axes:
            try:
                bound = self._problem.definition.sizes(sizes)
                case = replace(base.case, sizes=bound)
                kept.append(Binding(bound, self._record(case, fake=True)))
            except Exception:  # noqa: BLE001, S112 - a probe size may be illegal in any way; it only loses the probe
                continue
        return kept

    def _scalar_variants(self, base: Traced, here: Binding) -> list[ScalarVariant]:
        """Run again with each scalar changed; scalars that steer the run keep their value as a constant."""
        variants = []
        for name, value in base.case.scalars.items():
            changed = _other_value(value)
            case = replace(base.case, scalars={**base.case.scalars, name: changed})
            try:
                trace = self._record(case, fake=True)
            except Exception:  # noqa: BLE001, S112 - a changed scalar may be illegal in any way; then it is no free operand
                continue
            if same_structure(here.trace, trace):
                variants.append(ScalarVariant(name, value, changed, trace))
        return variants


def _work_order(case: Case, trace: RawTrace) -> tuple[float, float]:
    work = count(concrete(case.definition.name, Binding(case.sizes, trace)))
    return work.moved_bytes, sum(work.macs.values())


def _other_value(value: Scalar) -> Scalar:
    if isinstance(value, bool):
        return not value
    return value * 2 + 1 if isinstance(value, int) else value * 1.375 + 0.25


def _all_vary(axes: Axes, bindings: Sequence[Binding]) -> bool:
    return len(bindings) > 2 and all(len({binding.sizes[name] for binding in bindings}) > 1 for name in axes)


def trace_reference(problem: Problem, workload: Workload) -> OpGraph:
    """Trace a problem's reference at one workload into a graph, symbolic where it can be confirmed.

    Raises:
        InvalidInput: the reference raises, a shape overflows, or the run has no graph at all.
    """
    with ReferenceTracer(problem) as tracer:
        traced = tracer.trace(workload)
        graph = tracer.graph(workload, traced)
    if graph is None:
        raise InvalidInput(
            f"definition {problem.name!r}: its reference cannot be written as a graph: {'; '.join(traced.notes)}.",
            remedy="Search from the reference as it stands, or rewrite it without looking at values.",
        )
    return graph


def _says_yes(question: Callable[[], bool], *, within_s: float) -> bool:
    """Ask in a child process, which can be ended whatever it computes; no answer in time is a no."""
    child = os.fork()
    if child == 0:
        code = 0
        try:
            # A team of threads does not outlive a fork.
            torch.set_num_threads(1)
            code = int(question())
        finally:
            os._exit(code)
    until_s = time.monotonic() + within_s
    while time.monotonic() < until_s:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status) == 1
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False
