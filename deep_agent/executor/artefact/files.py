"""Owns what stands in an artefact, file by file, as text; writes nothing."""

import json
from importlib.resources import files

from deep_agent.executor.artefact.traces import render_traces
from deep_agent.executor.findings import BestFigures, CharacterizeFinding, best_baseline
from deep_agent.problem.evaluation import Evaluation
from deep_agent.problem.problem import Problem
from deep_agent.problem.solution import Solution
from deep_agent.problem.value import FrozenValue
from deep_agent.problem.workload import CustomInput, ScalarInput

FLAGS = ("-O3", "-march=native", "-std=c++17", "-fPIC", "-shared", "-fopenmp")
"""The judge's own flags; other flags are another kernel."""


class Artefact(FrozenValue):
    """What is packed."""

    known: CharacterizeFinding
    solution: Solution
    evaluation: Evaluation | None
    figures: BestFigures | None
    is_library: bool
    """The answer is the library's own call."""
    made_at: str
    """ISO 8601, local and naive, as the public trace format has it."""
    libs: dict[str, str]
    """Library name -> version that the evaluation ran with."""


def artefact_files(artefact: Artefact) -> dict[str, str]:
    """Give every file of the artefact: path inside the folder -> text."""
    problem, evaluation = artefact.known.problem, artefact.evaluation
    made = {
        "solution.json": artefact.solution.model_dump_json(indent=2) + "\n",
        "reference.py": problem.definition.reference.rstrip() + "\n",
        "definition.json": problem.definition.model_dump_json(indent=2) + "\n",
        "example.json": json.dumps(_example(problem, artefact.known.device.n_threads), indent=2) + "\n",
        "load.py": (files("deep_agent.executor.artefact") / "load.py.txt").read_text(encoding="utf-8"),
        "README.txt": _readme(artefact),
    }
    made |= {f"source/{source.path}": source.content for source in artefact.solution.sources}
    if evaluation is not None:
        made["evaluation.json"] = evaluation.model_dump_json(indent=2) + "\n"
        made["traces.jsonl"] = render_traces(
            problem, artefact.solution, evaluation, made_at=artefact.made_at, libs=artefact.libs
        )
    return made


def _example(problem: Problem, n_threads: int) -> dict[str, object]:
    """Describe the first workload with its shapes worked out, so that loading needs none of our code."""
    definition, workload = problem.definition, problem.workloads[0]
    sizes = definition.sizes(workload.axes)
    inputs: list[dict[str, object]] = []
    for name, spec in definition.inputs.items():
        entry: dict[str, object] = {"name": name, "dtype": spec.dtype.value, "shape": definition.shape(name, sizes)}
        match workload.inputs.get(name):
            case ScalarInput(value=value):
                entry["scalar"] = value
            case _ if spec.is_scalar:
                entry["scalar"] = 1.0 if spec.dtype.is_floating else 1
            case _:
                pass
        inputs.append(entry)
    scalars = {name: one.value for name, one in workload.inputs.items() if isinstance(one, ScalarInput)}
    is_custom = any(isinstance(one, CustomInput) for one in workload.inputs.values())
    return {
        "workload": workload.uuid,
        "n_threads": n_threads,
        "flags": FLAGS,
        "axes": {**sizes, **scalars},
        "custom_inputs": definition.custom_inputs_entrypoint if is_custom else None,
        "inputs": inputs,
        "outputs": [
            {"name": name, "dtype": spec.dtype.value, "shape": definition.shape(name, sizes)}
            for name, spec in definition.outputs.items()
        ],
        "rtol": workload.tolerance.max_rtol,
        "atol": workload.tolerance.max_atol,
        "matched": workload.tolerance.required_matched_ratio,
    }


def _readme(artefact: Artefact) -> str:
    problem, figures = artefact.known.problem, artefact.figures
    lines = [f"{problem.name}: {artefact.solution.name}", ""]
    if artefact.is_library:
        lines.append("No faster kernel was found; this is the library's own call.")
    elif figures is not None:
        low, high = figures.speedup_ci
        lines.append(
            f"{figures.speedup:.2f} times as fast as {best_baseline(artefact.known.characterization)} (95 % interval {low:.3f} to {high:.3f}), "
            f"measured on {artefact.known.device.name}."
        )
    return "\n".join(
        (
            *lines,
            "",
            "python load.py       calls it next to the PyTorch reference and compares the two",
            "from load import kernel; kernel(*inputs, *outputs)       uses it",
            "",
            "source/          the solution's files",
            "solution.json    the same in the public format, with its build spec",
            "definition.json  what it computes; reference.py is its PyTorch reference",
            "example.json     shapes and tolerances that load.py uses",
            "evaluation.json  everything the judge measured, if it was judged",
            "traces.jsonl     the same in the public trace format",
            "",
        )
    )
