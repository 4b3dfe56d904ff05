"""Loads torch. Owns the analyst's program: one request on stdin, one reply on stdout; runs the user's reference."""

import ctypes
import os
import resource
import signal
import sys
import warnings
from typing import BinaryIO

import torch

from deep_agent.errors import InvalidInput
from deep_agent.problem.analysis import Analysis
from deep_agent.problem.bound import SolBound
from deep_agent.problem.breakdown import Breakdown
from deep_agent.problem.device import DeviceModel
from deep_agent.problem.problem import Problem
from deep_agent.problem.workload import Workload
from deep_agent.sol.breakdown import breakdown, declared_breakdown
from deep_agent.sol.counting import declared, tally
from deep_agent.sol.demand import demands
from deep_agent.sol.figures import figures
from deep_agent.sol.ledger import ledger
from deep_agent.sol.roofline import bound
from deep_agent.sol.tracing import ReferenceTracer, Traced
from deep_agent.sol.wire import Analysed, AnalysisRequest, Refused, Reply

_PR_SET_PDEATHSIG = 1


def analyse(problem: Problem, device: DeviceModel | None, *, want_graph: bool, keep_going: bool = False) -> Analysis:
    """Trace every workload that is asked about; `Analysis.bounds` is empty without a device.

    Args:
        problem: the reference runs in this process.
        device: what bounds are computed for.
        want_graph: whether the first workload's graph is made.
        keep_going: collect workloads that cannot be traced in `failures`, unless that is all of them.

    Raises:
        InvalidInput: the reference raises or returns NaN, or a shape overflows.
    """
    asked = problem.workloads if device is not None else problem.workloads[:1]
    with ReferenceTracer(problem) as tracer:
        traced, failures = _traced(tracer, asked, keep_going=keep_going)
        tracer.refuse_nan([workload for workload in problem.workloads if workload.uuid not in failures])
        first = problem.workloads[0]
        graph = tracer.graph(first, traced[0][1]) if want_graph else None
    why = "; ".join(traced[0][1].notes) if want_graph and graph is None else ""
    if device is None:
        return Analysis(graph=graph, graph_missing=why, bounds=())
    found = [_bound(problem, device, workload, one) for workload, one in traced]
    return Analysis(
        graph=graph,
        graph_missing=why,
        bounds=tuple(bound for bound, _ in found),
        breakdowns=tuple(parts for _, parts in found),
        failures=failures,
    )


def _traced(
    tracer: ReferenceTracer, workloads: tuple[Workload, ...], *, keep_going: bool
) -> tuple[list[tuple[Workload, Traced]], dict[str, str]]:
    traced, failures = [], {}
    for workload in workloads:
        try:
            traced.append((workload, tracer.trace(workload)))
        except InvalidInput as error:
            if not keep_going:
                raise
            failures[workload.uuid] = str(error)
            if len(failures) == len(workloads):
                raise
    return traced, failures


def _bound(problem: Problem, device: DeviceModel, workload: Workload, traced: Traced) -> tuple[SolBound, Breakdown]:
    graph, sizes = traced.concrete_graph(problem.name), dict(traced.case.sizes)
    counted = declared(problem.definition, sizes) if graph is None else tally(graph)
    notes = (*traced.notes, *counted.notes)
    strict = bound(counted.work, device, workload=workload.uuid, tier=traced.counted_tier, notes=notes)
    if graph is None:
        parts = declared_breakdown(strict, device, problem.definition, sizes)
        return strict.model_copy(update={"bounds": figures(strict, device, None)}), parts
    needs = demands(graph)
    entries = ledger(graph, needs)
    parts = breakdown(strict, device, graph, needs, entries)
    return strict.model_copy(update={"bounds": figures(strict, device, entries)}), parts


def answer(raw: bytes) -> Reply:
    """Turn one request into one reply."""
    request = AnalysisRequest.model_validate_json(raw)
    resource.setrlimit(resource.RLIMIT_AS, (request.memory_limit_bytes, request.memory_limit_bytes))
    try:
        analysis = analyse(
            request.problem, request.device, want_graph=request.want_graph, keep_going=request.keep_going
        )
    except InvalidInput as error:
        return Reply(answer=Refused(message=error.message, remedy=error.remedy))
    return Reply(answer=Analysed(analysis=analysis))


def _private_stdout() -> BinaryIO:
    """Keep the real stdout for the reply and send everything the reference prints to stderr."""
    kept = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return kept


def _end_with_parent() -> None:
    """Have the kernel kill this process when the one that asked is gone, where the kernel can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def main() -> None:
    """Answer the request on stdin."""
    _end_with_parent()
    reply_to = _private_stdout()
    raw = sys.stdin.buffer.read()
    # A reference is written for its numbers; its warnings are its author's affair.
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    reply = answer(raw)
    reply_to.write(reply.model_dump_json().encode())
    reply_to.close()


if __name__ == "__main__":
    main()
