"""Owns the ways the library offers to do an operation, as sources that an arm loads like any solution.

Three are tried, on a CUDA device a fourth: the reference in eager mode, the same with its last operations writing into the given outputs
where the library has such a form, and torch.compile with the outputs given, there also in its self-tuning mode. In all of them results cost no page
faults, because the arm's allocator keeps freed memory mapped.
"""

from dataclasses import dataclass
from typing import Final

from deep_agent.problem.definition import Definition
from deep_agent.problem.evaluation import BaselineChoice, BaselineName
from deep_agent.problem.solution import BuildSpec, Language, Solution, SourceFile

BASELINE_NAMES: Final[tuple[BaselineName, ...]] = ("eager", "eager_out", "torch_compile")
MAX_AUTOTUNE: Final[BaselineName] = "torch_compile_max_autotune"

_EAGER: Final = '''"""The library in eager mode."""
import torch
from reference import run as reference_run


def run(*arguments):
    with torch.inference_mode():
        return reference_run(*arguments)
'''

_EAGER_OUT: Final = '''"""The library in eager mode; the operations that make the outputs write into the given buffers."""
import torch
from torch.fx.experimental.proxy_tensor import make_fx
from reference import run as reference_run

N_INPUTS = {n_inputs}
_made = {{}}


def _with_outputs(inputs, outputs):
    """Trace once a shape, then turn each output's last operation into its form with an out argument."""
    tensors = [x for x in inputs if isinstance(x, torch.Tensor)]

    def over_tensors(*given):
        left = list(given)
        merged = [left.pop(0) if isinstance(x, torch.Tensor) else x for x in inputs]
        results = reference_run(*merged)
        results = list(results.values()) if isinstance(results, dict) else results
        return list(results) if isinstance(results, (tuple, list)) else [results]

    traced = make_fx(over_tensors, tracing_mode="real")(*tensors)
    graph = traced.graph
    order = list(graph.nodes)
    last = order[-1]
    found = 0
    destinations = []
    for index, node in enumerate(last.args[0]):
        with graph.inserting_before(order[0]):
            destinations.append(graph.placeholder("destination_%d" % index))
    for index, node in enumerate(last.args[0]):
        overload = getattr(getattr(node.target, "overloadpacket", None), "out", None)
        schema = getattr(node.target, "_schema", None)
        if overload is None or schema is None or len(schema.returns) != 1 or len(node.users) != 1:
            continue
        names = [argument.name for argument in overload._schema.arguments]
        if names[: len(node.args)] != [argument.name for argument in schema.arguments[: len(node.args)]] or "out" not in names:
            continue
        if node.meta.get("tensor_meta") is not None and not node.meta["tensor_meta"].memory_format:
            continue
        kwargs = {{key: value for key, value in node.kwargs.items() if key in names}}
        with graph.inserting_after(node):
            replacement = graph.call_function(overload, node.args, {{**kwargs, "out": destinations[index]}})
        node.replace_all_uses_with(replacement)
        graph.erase_node(node)
        found += 1
    if not found:
        raise RuntimeError("no output of this reference has a form with an out argument")
    for index, node in enumerate(last.args[0]):
        if "out" not in node.kwargs:
            with graph.inserting_before(last):
                graph.call_function(torch.ops.aten.copy_.default, (destinations[index], node))
    traced.recompile()
    call = traced.forward
    return lambda ins, outs: call(*outs, *[x for x in ins if isinstance(x, torch.Tensor)])


def run(*arguments):
    inputs, outputs = arguments[:N_INPUTS], arguments[N_INPUTS:]
    key = tuple(tuple(x.shape) if isinstance(x, torch.Tensor) else (type(x), x) for x in inputs)
    with torch.inference_mode():
        if key not in _made:
            _made[key] = _with_outputs(inputs, outputs)
        _made[key](inputs, outputs)
'''

_COMPILED: Final = '''"""The library through torch.compile, a graph of static shapes for each workload, writing into the given outputs."""
import torch
from reference import run as reference_run

N_INPUTS = {n_inputs}
# One for each workload, and where scalars are drawn for each of its input sets.
torch._dynamo.config.recompile_limit = 4096
torch._dynamo.config.accumulated_recompile_limit = 4096


@torch.compile(dynamic=False, fullgraph=True{mode})
def _compiled(inputs, outputs):
    results = reference_run(*inputs)
    if isinstance(results, dict):
        results = list(results.values())
    if not isinstance(results, (tuple, list)):
        results = [results]
    for destination, result in zip(outputs, results):
        destination.copy_(result)


def run(*arguments):
    with torch.no_grad():
        _compiled(arguments[:N_INPUTS], arguments[N_INPUTS:])
'''


@dataclass(frozen=True, slots=True)
class BaselineSource:
    """A baseline as a loadable solution."""

    name: BaselineName
    solution: Solution


def baseline_sources(
    definition: Definition, *, on_device: bool = False, choice: BaselineChoice | None = None
) -> tuple[BaselineSource, ...]:
    """Write the baselines of a definition; unless a choice says otherwise, torch.compile tunes itself on a CUDA device."""
    made = (*BASELINE_NAMES, MAX_AUTOTUNE)
    names = made if on_device else BASELINE_NAMES
    library: tuple[BaselineSource, ...] = ()
    if choice is not None:
        names = names if choice.names is None else tuple(name for name in made if name in choice.names)
        library = () if choice.library is None else (BaselineSource("library", choice.library),)
    return (*(BaselineSource(name, _solution(definition, name)) for name in names), *library)


def _solution(definition: Definition, name: BaselineName) -> Solution:
    n_inputs = len(definition.inputs)
    text = {
        "eager": _EAGER,
        "eager_out": _EAGER_OUT.format(n_inputs=n_inputs),
        "torch_compile": _COMPILED.format(n_inputs=n_inputs, mode=""),
        MAX_AUTOTUNE: _COMPILED.format(n_inputs=n_inputs, mode=', mode="max-autotune-no-cudagraphs"'),
    }
    return Solution(
        name=f"{definition.name}_{name}",
        definition=definition.name,
        author="pytorch",
        description=f"The library's own way: {name}.",
        spec=BuildSpec(
            languages=(Language.PYTORCH,),
            entry_point="solution.py::run",
            destination_passing_style=name != "eager",
        ),
        sources=(
            SourceFile(path="solution.py", content=text[name]),
            SourceFile(path="reference.py", content=definition.reference),
        ),
    )
