"""Loads torch. Owns the analyst's program: one request on stdin, one reply on stdout; runs the user's reference."""

import os
import resource
import sys
import warnings
from typing import BinaryIO

import torch

from deep_agent.errors import InvalidInput
from deep_agent.problem.analysis import Analysis
from deep_agent.problem.bound import SolBound
from deep_agent.problem.device import DeviceModel
from deep_agent.problem.problem import Problem
from deep_agent.problem.workload import Workload
from deep_agent.sol.counting import declared, tally
from deep_agent.sol.roofline import bound
from deep_agent.sol.tracing import ReferenceTracer, Traced
from deep_agent.sol.wire import Analysed, AnalysisRequest, Refused, Reply


def analyse(problem: Problem, device: DeviceModel | None, *, want_graph: bool) -> Analysis:
    """Trace every workload that is asked about; `Analysis.bounds` is empty without a device.

    Raises:
        InvalidInput: the reference raises or returns NaN, or a shape overflows.
    """
    first = problem.workloads[0]
    with ReferenceTracer(problem) as tracer:
        workloads = problem.workloads if device is not None else (first,)
        traced = [tracer.trace(workload) for workload in workloads]
        tracer.refuse_nan(problem.workloads)
        graph = tracer.graph(first, traced[0]) if want_graph else None
    why = "; ".join(traced[0].notes) if want_graph and graph is None else ""
    pairs = zip(workloads, traced, strict=True)
    bounds = () if device is None else tuple(_bound(problem, device, workload, found) for workload, found in pairs)
    return Analysis(graph=graph, graph_missing=why, bounds=bounds)


def _bound(problem: Problem, device: DeviceModel, workload: Workload, traced: Traced) -> SolBound:
    graph = traced.concrete_graph(problem.name)
    counted = declared(problem.definition, traced.case.sizes) if graph is None else tally(graph)
    notes = (*traced.notes, *counted.notes)
    return bound(counted.work, device, workload=workload.uuid, tier=traced.counted_tier, notes=notes)


def answer(raw: bytes) -> Reply:
    """Turn one request into one reply."""
    request = AnalysisRequest.model_validate_json(raw)
    resource.setrlimit(resource.RLIMIT_AS, (request.memory_limit_bytes, request.memory_limit_bytes))
    try:
        analysis = analyse(request.problem, request.device, want_graph=request.want_graph)
    except InvalidInput as error:
        return Reply(answer=Refused(message=error.message, remedy=error.remedy))
    return Reply(answer=Analysed(analysis=analysis))


def _private_stdout() -> BinaryIO:
    """Keep the real stdout for the reply and send everything the reference prints to stderr."""
    kept = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return kept


def main() -> None:
    """Answer the request on stdin."""
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
