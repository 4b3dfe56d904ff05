import json
import subprocess
import sys
import textwrap

import pytest

from deep_agent.errors import InvalidInput
from deep_agent.problem import kernelbench, kernelbench_probe
from deep_agent.problem.axes import VarAxis
from deep_agent.problem.kernelbench import import_kernelbench
from deep_agent.problem.readers import read_problem

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.integration

PLAIN = """
import torch
import torch.nn as nn

batch = 6
width = 2 * 8


class Model(nn.Module):
    def forward(self, a, b):
        return torch.relu(a @ b), (a * 2).sum(-1)


def get_inputs():
    return [torch.randn(batch, width), torch.randn(width, 4)]


def get_init_inputs():
    return []
"""

WITH_STATE = """
import torch
import torch.nn as nn

batch_size = 5
features = 12


class Model(nn.Module):
    def __init__(self, features, slope):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(features, features), nn.BatchNorm1d(features))
        self.slope = slope

    def forward(self, state, factor):
        return nn.functional.leaky_relu(self.net(state), self.slope) * factor


def get_inputs():
    return [torch.randn(batch_size, features), 0.5]


def get_init_inputs():
    return [features, 0.1]
"""

VALUE_DEPENDENT = """
import torch

length = 9


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(20, 3, dtype=torch.bfloat16)

    def forward(self, tokens):
        if tokens.max().item() >= 20:
            raise ValueError("token out of range")
        return self.table(tokens)


def get_inputs():
    return [torch.randint(0, 20, (length,))]
"""


def imported(tmp_path, source, name="Case"):
    file = tmp_path / f"{name}.py"
    file.write_text(textwrap.dedent(source))
    return read_problem(import_kernelbench(file, tmp_path / "out"), "cpu", strict=True)


@pytest.fixture(scope="module")
def with_state(tmp_path_factory):
    return imported(tmp_path_factory.mktemp("state"), WITH_STATE)


def run_once(problem, axes=None, seed=0):
    definition = problem.definition
    sizes = definition.sizes(axes or problem.workloads[0].axes)
    scope = {}
    exec(compile(definition.reference, definition.name, "exec"), scope)
    torch.manual_seed(seed)
    made = scope[definition.custom_inputs_entrypoint](sizes, "cpu")
    outputs = scope["run"](*(made[name] for name in definition.inputs))
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    for name, output in zip(definition.outputs, outputs, strict=True):
        assert tuple(output.shape) == definition.shape(name, sizes)
        assert output.dtype == getattr(torch, definition.outputs[name].dtype.value)
    return made, outputs


def test_a_plain_file_becomes_a_problem_with_its_batch_as_a_free_axis(tmp_path):
    problem = imported(tmp_path, PLAIN, "1_Plain Case")
    assert problem.name == "1_plain_case"
    assert list(problem.definition.inputs) == ["a", "b"]
    assert [axis for axis, kind in problem.definition.axes.items() if isinstance(kind, VarAxis)] == ["batch"]
    assert problem.definition.inputs["a"].shape == ("batch", "16")
    assert problem.definition.outputs["output_1"].shape == ("batch",)
    run_once(problem)
    run_once(problem, {"batch": 3})


def test_parameters_and_buffers_become_seeded_inputs(with_state):
    problem = with_state
    assert list(problem.definition.inputs)[:4] == ["state", "factor", "net_0_weight", "net_0_bias"]
    assert problem.definition.inputs["factor"].is_scalar
    assert problem.definition.inputs["state"].shape == ("batch_size", "12")
    first, _ = run_once(problem, seed=1)
    second, _ = run_once(problem, seed=2)
    assert torch.equal(first["net_0_weight"], second["net_0_weight"])
    assert not torch.equal(first["state"], second["state"])


def test_a_call_leaves_its_buffers_as_they_were_and_agrees_with_the_model(with_state):
    made, (output,) = run_once(with_state, seed=1)
    assert torch.equal(made["net_1_running_mean"], torch.zeros(12))
    scope = {}
    exec(WITH_STATE, scope)
    torch.manual_seed(42)
    model = scope["Model"](*scope["get_init_inputs"]())
    torch.testing.assert_close(model(made["state"], made["factor"]), output)


def test_a_file_that_looks_at_values_is_run_for_real(tmp_path):
    problem = imported(tmp_path, VALUE_DEPENDENT)
    assert problem.definition.inputs["tokens"].dtype == "int64"
    assert problem.definition.outputs["output"].dtype == "bfloat16"
    assert problem.workloads[0].tolerance.max_rtol == 1e-2
    run_once(problem)


@pytest.mark.parametrize(
    ("source", "match"),
    [
        ("def get_inputs(:", "is not Python"),
        ("x = 1", "no top-level Model and no get_inputs"),
        (PLAIN + "\n\ndef run(a):\n    return a\n", "defines 'run'"),
        ("import sys\nsys.exit(3)\n" + PLAIN, "ended early"),
        ("1 / 0\n" + PLAIN, "ZeroDivisionError"),
    ],
)
def test_an_unsuitable_file_is_refused_and_leaves_nothing(tmp_path, source, match):
    with pytest.raises(InvalidInput, match=match) as caught:
        imported(tmp_path, source)
    assert caught.value.remedy
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("source", "match"),
    [
        (PLAIN.replace("a @ b", "b @ b"), "RuntimeError"),
        (PLAIN.replace("(a * 2).sum(-1)", "3"), "int as output_1"),
        (PLAIN.replace("torch.relu(a @ b), (a * 2).sum(-1)", "{'y': a}"), "returns dict"),
        (PLAIN.replace("torch.randn(width, 4)]", "'text']"), "gives str for 'b'"),
        (PLAIN.replace("class Model(nn.Module)", "class Model"), "no torch.nn.Module"),
        (WITH_STATE.replace("nn.BatchNorm1d(features)", "nn.Dropout(0.5)"), "net.1 drops at random"),
    ],
)
def test_the_probe_says_why_a_model_is_unsuitable(tmp_path, source, match):
    file, result = tmp_path / "source.py", tmp_path / "result.json"
    file.write_text(source)
    kernelbench_probe.main(file, result, [])
    assert match in json.loads(result.read_text())["error"]


def test_a_size_that_follows_a_constant_by_a_factor_stays_fixed(tmp_path):
    file, result = tmp_path / "source.py", tmp_path / "result.json"
    file.write_text(PLAIN.replace("torch.randn(batch, width)", "torch.randn(2 * batch, width)"))
    kernelbench_probe.main(file, result, ["batch"])
    probed = json.loads(result.read_text())["probed"]
    assert (probed["free"], probed["inputs"][0]["shape"]) == ({}, [12, 16])


def test_an_existing_folder_is_never_overwritten(tmp_path):
    (tmp_path / "out" / "case").mkdir(parents=True)
    with pytest.raises(InvalidInput, match="exists already"):
        imported(tmp_path, PLAIN)


def test_a_file_that_hangs_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(kernelbench, "PROBE_LIMIT_S", 1.0)
    with pytest.raises(InvalidInput, match="over 1 s"):
        imported(tmp_path, "import time\ntime.sleep(60)\n" + PLAIN)


def test_importing_the_room_loads_no_torch():
    code = (
        "import sys, deep_agent.problem.kernelbench, deep_agent.problem.readers, deep_agent.problem.export;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
