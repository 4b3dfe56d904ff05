"""Owns turning a KernelBench-style file into a problem folder, source to source; never runs it in this process.

Such a file holds `Model(torch.nn.Module)`, `get_inputs()` and `get_init_inputs()`. Its parameters and
buffers become inputs of the definition, drawn from the seeded model: only so can a solution in
another language have them, and only so are their bytes part of the bound.
"""

import ast
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from string import Template

from pydantic import JsonValue as Json
from pydantic import TypeAdapter

from deep_agent.errors import InvalidInput, MissingTool
from deep_agent.problem import kernelbench_probe
from deep_agent.problem.definition import Definition
from deep_agent.problem.kernelbench_probe import Probed, Seen
from deep_agent.problem.strict_json import dump_line, read_text
from deep_agent.problem.validation import validated
from deep_agent.problem.workload import Workload

PROBE_LIMIT_S = 120.0
"""Longest a file may take to build its model and run once."""
_NEEDED = ("Model", "get_inputs")
_OURS = ("run", "kernelbench_inputs")
_LOOSE, _STRICT = 1e-2, 1e-4
_NARROW = {"float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"}

_TAIL = Template("""

import torch as _torch

_ARGUMENTS = $arguments
_STATE = $state


def _build():
    with _torch.random.fork_rng(devices=[]):
        _torch.random.default_generator.manual_seed($seed)
        return Model($init)


_MODEL = _build()


def kernelbench_inputs(axes_and_scalars, device):
    for constant in $free:
        globals()[constant] = axes_and_scalars[constant]
    state = {**dict(_MODEL.named_parameters()), **dict(_MODEL.named_buffers())}
    drawn = dict(zip(_ARGUMENTS, get_inputs()))
    drawn.update({name: state[path].detach().clone() for name, path in _STATE.items()})
    return {name: value.to(device) if isinstance(value, _torch.Tensor) else value for name, value in drawn.items()}


def run($parameters):
    with _torch.no_grad():
        return _torch.func.functional_call(_MODEL, {$bound}, ($positional))
""")


def import_kernelbench(file: Path, out: Path) -> Path:
    """Write a problem folder for a KernelBench-style file.

    Top-level integer constants that only `get_inputs` reads, and that sizes follow one to one,
    become `var` axes; all other sizes are fixed.

    Args:
        file: Python source; it is run once in a process of its own, with shapes only where possible.
        out: folder that receives `<name>/`, named after the file.

    Returns:
        The new problem folder.

    Raises:
        InvalidInput: the file is not of this form, raises, takes longer than PROBE_LIMIT_S, or the
            folder exists already.
        MissingTool: torch is not installed here.
    """
    source = read_text(file)
    constants = _size_constants(file, source)
    name = re.sub(r"[^0-9A-Za-z_]+", "_", file.stem).strip("_").lower() or "kernelbench"
    target = out / name
    if target.exists():
        raise InvalidInput(f"{target}: exists already.", remedy="Remove it, or import into another folder.")
    probed = _run_probe(file, constants)
    definition = _definition(name, file, source, probed)
    inputs = validated(Definition, definition, where=str(file)).inputs
    workload = _workload(name, tuple(inputs), probed)
    validated(Workload, workload, where=str(file))
    _write(target, definition, workload)
    return target


def _size_constants(file: Path, source: str) -> list[str]:
    """Check the file's form; list integer constants that nothing but `get_inputs` reads."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError) as error:
        raise InvalidInput(f"{file}: is not Python: {error}.", remedy="Correct it and import again.") from error
    names = {node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        raise InvalidInput(
            f"{file}: has no top-level {' and no '.join(missing)}.",
            remedy="A KernelBench-style file defines class Model, get_inputs() and get_init_inputs().",
        )
    taken = [name for name in _OURS if name in names]
    if taken:
        raise InvalidInput(f"{file}: defines {taken[0]!r}, a name the problem needs.", remedy="Rename it.")
    assigned = [
        node.targets[0].id
        for node in tree.body
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant) and type(node.value.value) is int and node.value.value > 0
    ]  # fmt: skip
    drawing = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "get_inputs"]
    inside = _names_read(drawing)
    outside = _names_read(node for node in tree.body if node not in drawing)
    return [name for name in assigned if assigned.count(name) == 1 and name in inside and name not in outside]


def _names_read(nodes: Iterable[ast.AST]) -> set[str]:
    return {
        part.id
        for node in nodes
        for part in ast.walk(node)
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load)
    }


def _run_probe(file: Path, constants: list[str]) -> Probed:
    with tempfile.TemporaryDirectory(prefix="kernelbench-") as folder:
        result = Path(folder) / "result.json"
        command = [sys.executable, "-P", kernelbench_probe.__file__, str(file.resolve()), str(result), *constants]
        try:
            ended = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=PROBE_LIMIT_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise InvalidInput(
                f"{file}: building and running it once took over {PROBE_LIMIT_S:.0f} s.", remedy="Use smaller sizes."
            ) from error
        if not result.is_file():
            last = (ended.stderr.strip().splitlines() or [f"exit status {ended.returncode}"])[-1]
            raise InvalidInput(f"{file}: its process ended early: {last}.", remedy="Run the file by itself first.")
        answer = json.loads(result.read_text(encoding="utf-8"))
    if "No module named 'torch'" in answer.get("error", ""):
        raise MissingTool(f"{file}: importing it needs torch.", remedy="Install deep-agent[worker].")
    if "error" in answer:
        raise InvalidInput(f"{file}: {answer['error']}.", remedy="Correct the file and import again.")
    return TypeAdapter(Probed).validate_python(answer["probed"])


def _definition(name: str, file: Path, source: str, probed: Probed) -> dict[str, Json]:
    taken = set(probed["free"])
    inputs = {_free_name(seen["name"], taken): seen for seen in probed["inputs"]}
    parameters = {_free_name(seen["name"], taken): seen for seen in probed["parameters"]}
    buffers = {_free_name(seen["name"], taken): seen for seen in probed["buffers"]}
    outputs = {_free_name(seen["name"], taken): seen for seen in probed["outputs"]}
    # A buffer may be updated by the call, as batch statistics are; the caller's stays as it was.
    bound = [f"{path['name']!r}: {own}" for own, path in parameters.items()]
    bound += [f"{path['name']!r}: {own}.clone()" for own, path in buffers.items()]
    init = "*get_init_inputs()" if re.search(r"^def get_init_inputs\(", source, re.MULTILINE) else ""
    state = {own: seen["name"] for own, seen in (*parameters.items(), *buffers.items())}
    tail = _TAIL.substitute(
        arguments=repr(tuple(inputs)), state=repr(state), seed=kernelbench_probe.SEED, init=init,
        free=repr(tuple(probed["free"])), parameters=", ".join((*inputs, *parameters, *buffers)),
        bound=", ".join(bound), positional="".join(f"{own}, " for own in inputs).rstrip(),
    )  # fmt: skip
    return {
        "name": name,
        "description": f"Imported from {file.name}.",
        "axes": {axis: {"type": "var"} for axis in probed["free"]},
        "inputs": {own: _spec(seen) for own, seen in (*inputs.items(), *parameters.items(), *buffers.items())},
        "outputs": {own: _spec(seen) for own, seen in outputs.items()},
        "custom_inputs_entrypoint": "kernelbench_inputs",
        "reference": source.rstrip() + "\n" + tail,
    }


def _free_name(wanted: str, taken: set[str]) -> str:
    name = re.sub(r"\W|^(?=\d)", "_", wanted)
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _spec(seen: Seen) -> dict[str, Json]:
    shape = seen["shape"]
    return {"shape": None if shape is None else [str(token) for token in shape], "dtype": seen["dtype"]}


def _workload(name: str, inputs: tuple[str, ...], probed: Probed) -> dict[str, Json]:
    narrow = any(seen["dtype"] in _NARROW for seen in (*probed["inputs"], *probed["outputs"]))
    error = _LOOSE if narrow else _STRICT
    return {
        "uuid": f"{name}-given",
        "axes": dict(probed["free"]),
        "inputs": {own: {"type": "custom"} for own in inputs},
        "tolerance": {"max_atol": error, "max_rtol": error, "required_matched_ratio": 1.0},
    }


def _write(target: Path, definition: dict[str, Json], workload: dict[str, Json]) -> None:
    """Put both files in place at once; a failure leaves nothing behind."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        (partial / "definition.json").write_text(json.dumps(definition, indent=2) + "\n", encoding="utf-8")
        (partial / "workload.jsonl").write_text(dump_line(workload, where=str(target)), encoding="utf-8")
        partial.chmod(0o755)
        partial.rename(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
