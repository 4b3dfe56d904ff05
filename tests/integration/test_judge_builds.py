"""Builds over the judge's socket: twins by machine code, and languages that cannot be built here."""

import pytest
from builders import DOUBLE_CPP, make_python_solution, make_solution

from deep_agent.errors import InvalidInput
from deep_agent.harness.client import JudgeProcess
from deep_agent.problem.evaluation import EvaluationRequest
from deep_agent.problem.problem import Problem
from deep_agent.problem.solution import BuildSpec, Language

from builders import make_problem  # isort: skip

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    judge = JudgeProcess(tmp_path_factory.mktemp("judge"), fingerprint="test", hidden=())
    yield judge
    judge.close()


def written(problem: Problem, folder) -> str:
    (folder / "definition.json").write_text(problem.definition.model_dump_json())
    (folder / "workload.jsonl").write_text("".join(one.model_dump_json() + "\n" for one in problem.workloads))
    return str(folder)


def test_twins_are_known_before_either_is_run(judge):
    twin = "// nothing but names differs\n" + DOUBLE_CPP.replace("from[", "source[").replace("* from", "* source")
    first, second = (judge.build(make_solution(text), "cpu") for text in (DOUBLE_CPP, twin))
    assert first.is_built
    assert first.machine_code_hash == second.machine_code_hash != ""
    assert judge.build(make_solution(DOUBLE_CPP.replace("2.0f", "3.0f")), "cpu").machine_code_hash not in {
        "",
        first.machine_code_hash,
    }
    assert judge.build(make_solution(), "cpu").from_cache


def test_python_has_no_machine_code_of_its_own(judge):
    built = judge.build(make_python_solution(), "cpu")
    assert (built.is_built, built.machine_code_hash) == (True, "")


@pytest.mark.parametrize("language", [Language.TRITON, Language.CUTE_DSL, Language.CUDA_CPP, Language.CUTLASS])
def test_a_language_of_another_device_is_a_status_with_a_remedy(judge, tmp_path, language):
    entry = "main.py::run" if language.is_python else "kernel.cpp::double_it"
    given = make_python_solution() if language.is_python else make_solution()
    solution = given.model_copy(update={"spec": BuildSpec(languages=(language,), entry_point=entry)})
    built = judge.build(solution, "cpu")
    assert not built.is_built
    folder = written(make_problem(), tmp_path)
    found = judge.evaluate(EvaluationRequest(problem_dir=folder, solution=solution, device="cpu"))
    assert found.status == "COMPILE_ERROR"
    assert found.message == built.diagnostics
    assert found.message == f"`{language}` does not run on a CPU device. Use `cpp` or `pytorch`, or another device."


def test_a_build_for_an_unknown_device_is_refused(judge):
    with pytest.raises(InvalidInput, match="tpu"):
        judge.build(make_solution(), "tpu")
