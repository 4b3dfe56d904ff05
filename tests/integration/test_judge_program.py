"""The judge's program as its users meet it: over its socket, with real arms and a real compiler."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest

from deep_agent.errors import HarnessFailed, InvalidInput
from deep_agent.harness.client import JudgeProcess
from deep_agent.problem.evaluation import BaselineChoice, EvaluationRequest
from deep_agent.problem.solution import BuildSpec, Solution, SourceFile
from deep_agent.problem.trace import EvaluationStatus

pytestmark = pytest.mark.integration

SOFTMAX = "import torch\n\n\ndef run(x):\n    return torch.softmax(x, -1)\n"


def problem(folder: Path, reference=SOFTMAX, rows=300, cols=700, outputs=()) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    tensor = {"shape": ["rows", "cols"], "dtype": "float32"}
    definition = {
        "name": "made",
        "axes": {"rows": {"type": "var"}, "cols": {"type": "var"}},
        "inputs": {"x": tensor},
        "outputs": dict(outputs) or {"y": tensor},
        "reference": reference,
    }
    (folder / "definition.json").write_text(json.dumps(definition))
    workload = {"uuid": "one", "axes": {"rows": rows, "cols": cols}, "inputs": {}, "tolerance": {"max_rtol": 1e-4}}
    (folder / "workload.jsonl").write_text(json.dumps(workload) + "\n")
    return str(folder)


def python_solution(source=SOFTMAX, definition="made") -> Solution:
    return Solution(
        name="made",
        definition=definition,
        author="test",
        spec=BuildSpec(languages=("pytorch",), entry_point="s.py::run", destination_passing_style=False),
        sources=(SourceFile(path="s.py", content=source),),
    )


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    judge = JudgeProcess(tmp_path_factory.mktemp("judge"), fingerprint="test", hidden=())
    yield judge
    judge.close()


def test_a_problem_is_characterised_with_every_baseline_and_the_noise(judge, tmp_path):
    steps = []
    found = judge.characterize(problem(tmp_path), "cpu", steps.append)
    assert {one.name for one in found.baselines} == {"eager", "eager_out", "torch_compile"}
    assert all(one.time_us["one"] > 0 and not one.failure for one in found.baselines)
    assert found.best["one"] in {"eager", "eager_out", "torch_compile"}
    assert found.noise.low <= found.noise.value <= found.noise.high
    assert any("baseline" in step for step in steps)


def test_a_reference_that_exits_is_answered(judge, tmp_path):
    reference = "import sys\n\n\ndef run(x):\n    sys.exit(3)\n"
    request = EvaluationRequest(problem_dir=problem(tmp_path, reference), solution=python_solution(), device="cpu")
    with pytest.raises(InvalidInput, match="SystemExit"):
        judge.evaluate(request)


def test_a_solution_for_another_device_alone_is_refused(judge, tmp_path):
    solution = python_solution()
    solution = solution.model_copy(update={"spec": solution.spec.model_copy(update={"target_hardware": ("B200",)})})
    with pytest.raises(InvalidInput, match="targets B200 only"):
        judge.evaluate(EvaluationRequest(problem_dir=problem(tmp_path), solution=solution, device="cpu"))


def test_a_reference_that_writes_to_its_input_is_refused_in_words(judge, tmp_path):
    folder = problem(tmp_path, "def run(x):\n    return x.mul_(2)\n")
    with pytest.raises(InvalidInput, match="the reference ends the process"):
        judge.evaluate(EvaluationRequest(problem_dir=folder, solution=python_solution(), device="cpu"))


def test_a_verification_believes_the_library_where_double_precision_chooses_otherwise(judge, tmp_path):
    reference = "import torch\n\n\ndef run(x):\n    return (x.bfloat16() + 100.0).argmax(-1)\n"
    outputs = {"y": {"shape": ["rows"], "dtype": "int64"}}
    folder = problem(tmp_path, reference, rows=256, cols=512, outputs=outputs)
    found = judge.evaluate(
        EvaluationRequest(problem_dir=folder, solution=python_solution(reference), device="cpu", profile="verify")
    )
    assert found.passed, found.message


def test_where_no_arm_starts_any_more_another_program_is_started(tmp_path):
    with closing(JudgeProcess(tmp_path / "judge", fingerprint="test", hidden=())) as judge:
        request = EvaluationRequest(
            problem_dir=problem(tmp_path / "p"), solution=python_solution(), device="cpu", profile="screen"
        )
        before = set(psutil.Process().children())
        assert judge.evaluate(request).passed
        (program,) = set(psutil.Process().children()) - before
        (zygote,) = program.children()
        zygote.kill()
        with pytest.raises(HarnessFailed, match="zygote"):
            judge.evaluate(request)
        program.wait(20)
        assert judge.evaluate(request).passed


def test_outputs_of_eight_bit_floats_can_be_judged(judge, tmp_path):
    outputs = {"y": {"shape": ["rows", "cols"], "dtype": "float8_e4m3fn"}}
    rounded = "import torch\n\n\ndef run(x):\n    return (x * {factor}).to(torch.float8_e4m3fn)\n"
    folder = problem(tmp_path, reference=rounded.format(factor=1.0), outputs=outputs)
    right, wrong = (
        judge.evaluate(
            EvaluationRequest(
                problem_dir=folder,
                solution=python_solution(rounded.format(factor=factor)),
                device="cpu",
                profile="screen",
            )
        )
        for factor in (1.0, 1.5)
    )
    assert right.status is EvaluationStatus.PASSED, right.message
    assert wrong.status is EvaluationStatus.INCORRECT_NUMERICAL


def test_scratch_of_a_judge_that_was_killed_goes_and_that_of_one_that_lives_stays(tmp_path):
    home, where = tmp_path / "home", problem(tmp_path / "problem")
    choice = BaselineChoice(names=("eager",))
    killed, alive, last = (JudgeProcess(home, fingerprint="test", hidden=()) for _ in range(3))
    with closing(killed), closing(alive), closing(last):
        killed.characterize(where, "cpu", choice=choice)
        (left,) = (home / "scratch").iterdir()
        os.kill(killed._running._process.pid, signal.SIGKILL)
        killed._running._process.wait(30)
        alive.characterize(where, "cpu", choice=choice)
        (kept,) = (home / "scratch").iterdir()
        assert kept != left
        last.characterize(where, "cpu", choice=choice)
        assert len(list((home / "scratch").iterdir())) == 2
        assert list(kept.iterdir())


def test_every_output_goes_where_it_belongs_when_the_library_writes_into_given_buffers(judge, tmp_path):
    reference = "def run(x):\n    return {'total': x.sum(0), 'twice': x * 2.0, 'same': x.clone()}\n"
    outputs = {
        "total": {"shape": ["cols"], "dtype": "float32"},
        "twice": {"shape": ["rows", "cols"], "dtype": "float32"},
        "same": {"shape": ["rows", "cols"], "dtype": "float32"},
    }
    where = problem(tmp_path, reference, outputs=outputs)
    found = judge.characterize(where, "cpu", choice=BaselineChoice(names=("eager", "eager_out")))
    assert {one.name: one.failure for one in found.baselines} == {"eager": "", "eager_out": ""}


def test_the_librarys_compiler_takes_outputs_of_several_types(judge, tmp_path):
    reference = "import torch\n\n\ndef run(x):\n    return x.round().to(torch.int8), x.sum(-1)\n"
    outputs = {"small": {"shape": ["rows", "cols"], "dtype": "int8"}, "total": {"shape": ["rows"], "dtype": "float32"}}
    where = problem(tmp_path, reference, outputs=outputs)
    found = judge.characterize(where, "cpu", choice=BaselineChoice(names=("eager", "torch_compile")))
    assert {one.name: one.failure for one in found.baselines} == {"eager": "", "torch_compile": ""}


def test_results_that_are_single_numbers_are_judged_as_any_other(judge, tmp_path):
    reference = "def run(x):\n    return x.square().mean(), (x > 0).sum()\n"
    outputs = {"mean": {"shape": [], "dtype": "float32"}, "above": {"shape": [], "dtype": "int64"}}
    folder = problem(tmp_path, reference, outputs=outputs)
    same = "def run(x):\n    return x.square().mean(), int((x > 0).sum())\n"
    request = EvaluationRequest(problem_dir=folder, solution=python_solution(same), device="cpu")
    found = judge.evaluate(request)
    assert found.passed, found.message
    wrong = "def run(x):\n    return x.square().mean(), int((x > 0).sum()) + 1\n"
    assert not judge.evaluate(request.model_copy(update={"solution": python_solution(wrong)})).passed


def test_a_choice_of_baselines_is_kept_and_a_wrong_library_call_is_told(judge, tmp_path):
    wrong = python_solution(SOFTMAX.replace("(x, -1)", "(x, 0)"))
    found = judge.characterize(problem(tmp_path), "cpu", choice=BaselineChoice(names=("eager",), library=wrong))
    times = {one.name: one.time_us for one in found.baselines}
    assert set(times) == {"eager", "library"}
    assert times["library"] == {}
    assert "differs" in found.baselines[1].failure
    assert found.best == {"one": "eager"}


def test_the_librarys_own_call_passes_and_is_not_called_faster_beyond_doubt(judge, tmp_path):
    request = EvaluationRequest(problem_dir=problem(tmp_path), solution=python_solution(), device="cpu")
    found = judge.evaluate(request)
    assert found.passed, found.message
    # Beyond doubt is what a verification confirms: one verdict in a hundred may call equals different.
    confirmed = found.is_faster and judge.evaluate(request.model_copy(update={"profile": "verify"})).is_faster
    assert not confirmed
    assert found.noise is not None
    assert found.seed
    assert found.confinement


def test_verification_uses_another_seed_than_the_search(judge, tmp_path):
    where = problem(tmp_path)
    seeds = {
        judge.evaluate(
            EvaluationRequest(problem_dir=where, solution=python_solution(), device="cpu", profile=profile)
        ).seed
        for profile in ("screen", "verify")
    }
    assert len(seeds) == 2


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("import torch\n\n\ndef run(x):\n    raise ValueError('no such thing')\n", "no such thing"),
        ("import torch\n\n\ndef run(x):\n    return torch.log(-x * x - 1)\n", "NaN"),
        ("import torch\n\n\ndef run(x):\n    return x.sum(-1)\n", "declared"),
        ("import no_such_module\n\n\ndef run(x):\n    return x\n", "no_such_module"),
    ],
)
def test_a_reference_that_cannot_be_trusted_is_the_callers_error(judge, tmp_path, reference, words):
    with pytest.raises(InvalidInput, match=words):
        judge.characterize(problem(tmp_path, reference), "cpu")


def test_a_workload_that_does_not_fit_names_what_it_needs(judge, tmp_path):
    with pytest.raises(InvalidInput, match="GiB"):
        judge.characterize(problem(tmp_path, rows=2**20, cols=2**20), "cpu")


def test_a_solution_for_another_definition_is_refused(judge, tmp_path):
    request = EvaluationRequest(
        problem_dir=problem(tmp_path), solution=python_solution(definition="other"), device="cpu"
    )
    with pytest.raises(InvalidInput, match="'other'"):
        judge.evaluate(request)


def test_an_unknown_device_is_refused(judge, tmp_path):
    with pytest.raises(InvalidInput, match="tpu"):
        judge.characterize(problem(tmp_path), "tpu")


def test_the_judge_starts_again_after_its_program_died(tmp_path):
    judge = JudgeProcess(tmp_path / "cache", fingerprint="test", hidden=())
    where = problem(tmp_path / "problem")
    request = EvaluationRequest(problem_dir=where, solution=python_solution(), device="cpu", profile="screen")
    assert judge.evaluate(request).passed
    running = judge._running
    assert running is not None
    running._process.kill()
    running._process.wait()
    while running.is_alive:
        time.sleep(0.01)
    assert judge.evaluate(request).passed
    judge.close()
    with pytest.raises(HarnessFailed, match="closed"):
        judge.evaluate(request)


def test_arms_that_were_killed_cost_one_verdict(tmp_path):
    others = psutil.Process().children()
    where = problem(tmp_path / "problem")
    request = EvaluationRequest(problem_dir=where, solution=python_solution(), device="cpu", profile="screen")
    with closing(JudgeProcess(tmp_path / "cache", fingerprint="test", hidden=())) as judge:
        assert judge.evaluate(request).passed
        (program,) = [one for one in psutil.Process().children() if one not in others]
        zygotes = program.children()
        arms = [arm for zygote in zygotes for arm in zygote.children(recursive=True)]
        assert len(arms) >= 3
        for arm in arms:
            # The end of one may be that of others.
            with suppress(psutil.NoSuchProcess):
                arm.kill()
        with pytest.raises(HarnessFailed, match="baseline's arm broke"):
            judge.evaluate(request)
        assert judge.evaluate(request).passed
        assert judge.characterize(where, "cpu").noise.n_rounds
        assert program.is_running()
        assert program.children() == zygotes


def test_who_asks_about_one_problem_at_once_disturbs_nobody(tmp_path):
    fused = "import torch\n\n\ndef run(x):\n    y = torch.tanh(x * 2.0 + 1.0) * x - x\n    return torch.relu(y * 0.5 + y * y) + x\n"
    where = problem(tmp_path / "problem", fused, rows=2000, cols=2000)
    request = EvaluationRequest(problem_dir=where, solution=python_solution(fused), device="cpu", profile="screen")
    with (
        closing(JudgeProcess(tmp_path / "cache", fingerprint="test", hidden=())) as judge,
        ThreadPoolExecutor(4) as pool,
    ):
        assert judge.evaluate(request).passed
        characterized = [pool.submit(judge.characterize, where, "cpu") for _ in range(2)]
        judged = [pool.submit(lambda: [judge.evaluate(request).status for _ in range(3)]) for _ in range(2)]
        assert all(one.result().noise.n_rounds for one in characterized)
        assert {status for one in judged for status in one.result()} == {EvaluationStatus.PASSED}


def test_nothing_outlives_a_client_that_was_killed(tmp_path):
    where = problem(tmp_path / "problem")
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom deep_agent.harness.client import JudgeProcess\n"
        f"judge = JudgeProcess(Path({str(tmp_path / 'cache')!r}), fingerprint='t', hidden=())\n"
        f"judge.characterize({where!r}, 'cpu')\nprint('ready', flush=True)\ntime.sleep(600)\n"
    )
    client = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert client.stdout is not None
    assert client.stdout.readline() == b"ready\n"
    family = psutil.Process(client.pid).children(recursive=True)
    assert len(family) >= 3
    os.kill(client.pid, signal.SIGKILL)
    client.wait()
    client.stdout.close()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []
