"""Raw JSON of a valid definition, workload, solution and trace; a test overrides only what it is about."""

import json
from pathlib import Path

REFERENCE = "import torch\n\n\ndef run(x, weight):\n    return x * weight\n"


def raw_definition(**changes):
    return {
        "name": "scale",
        "axes": {"rows": {"type": "var"}, "hidden": {"type": "const", "value": 8}},
        "inputs": {
            "x": {"shape": ["rows", "hidden"], "dtype": "float32"},
            "weight": {"shape": ["hidden"], "dtype": "float32"},
        },
        "outputs": {"y": {"shape": ["rows", "hidden"], "dtype": "float32"}},
        "reference": REFERENCE,
    } | changes


def raw_workload(**changes):
    return {
        "uuid": "w1",
        "axes": {"rows": 4},
        "inputs": {"x": {"type": "random"}, "weight": {"type": "random"}},
    } | changes


def raw_solution(*, spec=None, **changes):
    return {
        "name": "fast",
        "definition": "scale",
        "author": "someone",
        "spec": {"languages": ["pytorch"], "target_hardware": ["LOCAL"], "entry_point": "main.py::run"} | (spec or {}),
        "sources": [{"path": "main.py", "content": "def run(x, weight, y):\n    y.copy_(x * weight)\n"}],
    } | changes


def raw_trace(**changes):
    return {
        "definition": "scale",
        "workload": raw_workload(),
        "solution": "fast",
        "evaluation": {
            "status": "PASSED",
            "environment": {"hardware": "cpu", "libs": {"torch": "2.0"}},
            "timestamp": "2026-01-01T00:00:00",
            "log": "",
            "correctness": {"max_relative_error": 0.0, "max_absolute_error": 0.0},
            "performance": {"latency_ms": 1.0, "reference_latency_ms": 2.0, "speedup_factor": 2.0},
        },
    } | changes


def write_problem(directory: Path, *, definition=None, workloads=None, kind=None) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "definition.json").write_text(json.dumps(definition or raw_definition()))
    name = f"workload.{kind}.jsonl" if kind else "workload.jsonl"
    lines = [json.dumps(workload) for workload in ([raw_workload()] if workloads is None else workloads)]
    (directory / name).write_text("\n".join(lines) + "\n")
    return directory
