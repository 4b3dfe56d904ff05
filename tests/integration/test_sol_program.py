"""The analyst's program: round trips, its limits, and that nothing of it stays behind."""

import json
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from deep_agent.errors import HarnessFailed, InvalidInput
from deep_agent.problem.device import Bandwidth, DeviceModel
from deep_agent.problem.dtype import DType
from deep_agent.problem.problem import Problem
from deep_agent.sol.client import SubprocessAnalyst

pytestmark = pytest.mark.integration

DEVICE = DeviceModel(
    name="cpu",
    kind="cpu",
    bandwidth=Bandwidth(read_bytes_per_s=10e9, copy_bytes_per_s=10e9, triad_bytes_per_s=10e9),
    mac_per_s={DType.FLOAT32: 50e9},
    last_level_cache_bytes=2**20,
    memory_bytes=2**34,
    bound_kind="sheet",
    how={},
    fingerprint="f",
)


def make_problem(reference, rows=(4, 8)):
    tensor = {"shape": ["rows", "10"], "dtype": "float32"}
    return Problem.model_validate(
        {
            "definition": {
                "name": "probe",
                "axes": {"rows": {"type": "var"}},
                "inputs": {"x": tensor},
                "outputs": {"y": tensor},
                "reference": reference,
            },
            "workloads": [{"uuid": f"rows-{size}", "axes": {"rows": size}} for size in rows],
        }
    )


def test_graph_and_bounds_come_back_in_one_call_whatever_the_reference_prints():
    problem = make_problem("import sys\nprint('hello')\ndef run(x):\n    print('{', flush=True)\n    return x * 2")
    analysis = SubprocessAnalyst().analyse(problem, DEVICE)
    assert analysis.graph is not None
    assert analysis.graph.symbolic
    assert [operation.name for operation in analysis.graph.operations] == ["aten.mul.Tensor"]
    assert [bound.workload for bound in analysis.bounds] == ["rows-4", "rows-8"]
    assert [bound.time_us for bound in analysis.bounds] == pytest.approx([320 / 1e4, 640 / 1e4])


def test_a_reference_without_a_graph_still_has_bounds():
    analysis = SubprocessAnalyst().analyse(make_problem("def run(x): return x * x.max().item()"), DEVICE)
    assert analysis.graph is None
    assert "data" in analysis.graph_missing.lower()
    assert [bound.tier for bound in analysis.bounds] == [2, 2]


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("def run(x):\n    raise ValueError('rows must be odd')", "workload 'rows-4'.*ValueError: rows must be odd"),
        ("def run(x): return x / 0 * 0", "workload 'rows-4': the reference returns NaN"),
    ],
)
def test_a_broken_reference_is_the_callers_to_correct(reference, said):
    with pytest.raises(InvalidInput, match=said):
        SubprocessAnalyst().bounds(make_problem(reference), DEVICE)


def test_a_reference_that_never_ends_is_stopped_with_everything_it_started():
    marker = f"sleep {1000 + time.monotonic_ns() % 100000}"
    reference = f"import subprocess\nsubprocess.Popen({marker.split()!r})\nwhile True: pass\ndef run(x): return x"
    with pytest.raises(InvalidInput, match="took longer than"):
        SubprocessAnalyst(time_limit_s=12).graph(make_problem(reference))
    running = [process.info["cmdline"] for process in psutil.process_iter(["cmdline"])]
    assert marker.split() not in running


def test_a_reference_that_ends_the_process_is_no_reply():
    with pytest.raises(HarnessFailed, match="ended with exit 3"):
        SubprocessAnalyst().graph(make_problem("import os\nos._exit(3)\ndef run(x): return x"))


def test_a_reference_sees_none_of_our_environment(monkeypatch):
    monkeypatch.setenv("DEEP_AGENT_SECRET", "hush")
    reference = "import os\nraise ValueError(os.environ.get('DEEP_AGENT_SECRET', 'nothing'))\ndef run(x): return x"
    with pytest.raises(InvalidInput, match="ValueError: nothing"):
        SubprocessAnalyst().graph(make_problem(reference))


def test_the_client_loads_no_torch():
    code = "import sys, deep_agent.sol.client, deep_agent.sol.devices; print(any(m.split('.')[0] == 'torch' for m in sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(said.stdout.strip().lower()) is False


def test_a_survey_comes_back_with_bounds_their_parts_and_the_reasons_of_the_rest():
    reference = "def run(x):\n    assert x.shape[0] != 8, 'eight'\n    return x * 2"
    found = SubprocessAnalyst().survey(make_problem(reference), DEVICE)
    assert [bound.workload for bound in found.bounds] == ["rows-4"]
    assert [tensor.name for tensor in found.breakdowns[0].tensors] == ["x", "y"]
    assert found.bounds[0].bounds is not None
    assert found.bounds[0].bounds.strict_us == found.bounds[0].time_us
    assert "eight" in found.failures["rows-8"]
    assert found.graph is None


ENDLESS = "def run(x):\n    while True:\n        pass"


def analysts_of(process):
    return [one for one in process.children(recursive=True) if "deep_agent.sol" in one.cmdline()]


def once(found, within_s=30.0):
    until_s = time.monotonic() + within_s
    while not (seen := found()):
        assert time.monotonic() < until_s
        time.sleep(0.05)
    return seen


def test_what_is_traced_ends_when_it_is_cancelled():
    analyst = SubprocessAnalyst()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(analyst.survey, make_problem(ENDLESS), DEVICE)
        (child,) = once(lambda: analysts_of(psutil.Process()))
        analyst.cancel()
        with pytest.raises(HarnessFailed, match="signal 9"):
            asked.result(timeout=20)
    assert not child.is_running()


def test_what_is_traced_ends_with_who_asked_however_that_ends(tmp_path):
    (tmp_path / "ask.py").write_text(
        "import sys\nfrom test_sol_program import DEVICE, ENDLESS, make_problem\n"
        "from deep_agent.sol.client import SubprocessAnalyst\n"
        "SubprocessAnalyst().survey(make_problem(ENDLESS), DEVICE)\n"
    )
    asking = subprocess.Popen([sys.executable, tmp_path / "ask.py"], env={"PYTHONPATH": ":".join(map(str, sys.path))})
    (child,) = once(lambda: analysts_of(psutil.Process(asking.pid)))
    # Before it has asked the kernel for it, nothing can be promised.
    once(lambda: child.cpu_times().user > 2.0)
    asking.send_signal(signal.SIGKILL)
    asking.wait()
    once(lambda: not child.is_running(), within_s=5.0)


def test_a_reference_that_ends_its_process_quietly_is_refused_in_words():
    with pytest.raises(InvalidInput, match="ended the process that traced it"):
        SubprocessAnalyst().graph(make_problem("import os\ndef run(x): os._exit(0)"))
