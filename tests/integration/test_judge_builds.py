"""Builds over the judge's socket: twins by machine code, and languages that cannot be built here."""

import pytest
from builders import DOUBLE_CPP, make_python_solution, make_solution

from deep_agent.errors import InvalidInput
from deep_agent.harness.builds.build import Builder
from deep_agent.harness.builds.toolchains import TOOLCHAINS, find
from deep_agent.harness.client import JudgeProcess
from deep_agent.problem.evaluation import EvaluationRequest
from deep_agent.problem.problem import Problem
from deep_agent.problem.solution import BuildSpec, Language, SourceFile

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


TWICE_CU = """#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/function.h>
__global__ void twice(const float* x, float* y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = 2.0f * x[i];
}
void double_it(tvm::ffi::TensorView x, tvm::ffi::TensorView y) {
  int n = x.numel();
  twice<<<(n + 255) / 256, 256>>>((const float*)x.data_ptr(), (float*)y.data_ptr(), n);
}
TVM_FFI_DLL_EXPORT_TYPED_FUNC(double_it, double_it);
"""
NVCC = next(need for need in TOOLCHAINS[Language.CUDA_CPP].needs if need.name == "nvcc")


@pytest.mark.slow
@pytest.mark.skipif(find(NVCC) is None, reason="there is no nvcc on this machine")
def test_cuda_sources_are_twins_by_host_and_device_code(tmp_path):
    builder = Builder(tmp_path)
    twin = "// names differ\n" + TWICE_CU.replace(" i ", " index ").replace("[i]", "[index]").replace("(i ", "(index ")
    codes = []
    for text in (TWICE_CU, twin, TWICE_CU.replace("2.0f", "3.0f")):
        spec = BuildSpec(languages=(Language.CUDA_CPP,), entry_point="k.cu::double_it", binding="tvm-ffi")
        built = builder.build(make_solution(spec=spec, sources=(SourceFile(path="k.cu", content=text),)), "90")
        codes.append(built.machine_code_hash)
    assert codes[0] == codes[1] != codes[2]
