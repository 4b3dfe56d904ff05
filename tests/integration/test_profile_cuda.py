"""A profile under Nsight Compute: the real process that is counted, confined, around a stand-in for the tool.

The stand-in starts its target as the tool does and writes the tool's recorded table. With a device, the tool itself
is asked through the real command line.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from builders import make_device, make_problem, make_python_solution, make_solution, make_workload

from deep_agent.errors import HarnessFailed, MissingTool
from deep_agent.harness.arms.arm import ArmLimits, Zygote
from deep_agent.harness.baseline_arms import Workplace
from deep_agent.harness.builds.build import Builder, Built
from deep_agent.harness.client import JudgeProcess
from deep_agent.harness.equipment import equipment
from deep_agent.harness.folders import PROGRAM_PATH, find_ncu
from deep_agent.harness.profiling.cuda import CudaProfiling
from deep_agent.harness.verdict import Prepared
from deep_agent.problem.profile import NotProfiled, Profile, ProfileRequest
from deep_agent.problem.solution import BuildSpec, Language, SourceFile
from deep_agent.problem.trace import EvaluationStatus

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / "tests/unit/harness/profiles/ncu_details.csv").read_text()
STAND_IN = """#!{python}
import subprocess, sys
at = sys.argv.index("--log-file")
{before}
done = subprocess.run(sys.argv[at + 2:])
open(sys.argv[at + 1], "w").write({report!r})
sys.exit(done.returncode)
"""
COUNTS_ITS_CALLS = """import os

calls = 0


def run(x, y):
    global calls
    calls += 1
    y.copy_(x * 2)
    if "TMPDIR" in os.environ and calls == {last}:
        raise ValueError(f"call {{calls}} of {{tuple(x.shape)}}: {{x.abs().sum() > 0}}")
"""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    zygote = Zygote(tmp_path_factory.mktemp("scratch"), (), tmp_path_factory.mktemp("cache"))
    place, timer = equipment("cpu")
    yield Workplace(zygote, place, timer, 1, ArmLimits(memory_bytes=None, n_files=1024))
    zygote.close()


def stand_in(folder: Path, report: str = TABLE, before: str = "") -> str:
    tool = folder / "tool" / "ncu"
    tool.parent.mkdir()
    tool.write_text(STAND_IN.format(python=sys.executable, report=report, before=before))
    tool.chmod(0o755)
    return str(tool)


def profile(workplace: Workplace, ncu: str, prepared: Prepared) -> Profile | NotProfiled:
    request = ProfileRequest(problem_dir="", solution=prepared.solution, device=make_device())
    problem = make_problem(make_workload(rows=33))
    with CudaProfiling(ncu, workplace, problem, request, prepared) as profiling:
        return profiling.run()


def python(content: str) -> Prepared:
    return Prepared(make_python_solution(sources=(SourceFile(path="main.py", content=content),)), None)


def test_the_counters_of_one_call_become_a_bottleneck_with_three_figures(workplace, tmp_path):
    found = profile(workplace, stand_in(tmp_path), Prepared(make_python_solution(), None))
    assert isinstance(found, Profile), found
    assert (found.workload, found.bottleneck) == ("w1", "memory")
    assert [one.value is not None for one in found.evidence] == [True] * 3
    assert found.evidence[0].name == "DRAM throughput of peak"
    assert {one.name: one.value for one in found.resources}["registers a thread"] == 18
    assert not {one.name for one in found.counters} & {one.name for one in (*found.evidence, *found.resources)}
    assert any("copy_kernel" in note and "3 launches" in note for note in found.notes)
    assert not any("missing" in note for note in found.notes), found.notes


def test_an_object_is_loaded_and_called_in_the_counted_process(workplace, tmp_path):
    built = Builder(tmp_path / "builds").build(make_solution())
    assert isinstance(built, Built), built
    found = profile(workplace, stand_in(tmp_path), Prepared(make_solution(), built.artefact))
    assert isinstance(found, Profile), found


@pytest.mark.parametrize(("last", "reached"), [(4, True), (5, False)])
def test_three_calls_warm_it_up_and_one_is_counted(workplace, tmp_path, last, reached):
    found = profile(workplace, stand_in(tmp_path, report=""), python(COUNTS_ITS_CALLS.format(last=last)))
    assert isinstance(found, NotProfiled) == reached, found
    if isinstance(found, NotProfiled):
        assert found.status is EvaluationStatus.RUNTIME_ERROR
        assert "right, and ended with 1 under Nsight Compute" in found.reason
        assert "call 4 of (33, 64): True" in found.reason
    else:
        assert found.bottleneck == "unknown"
        assert [one.value for one in found.evidence] == [None] * 3
        assert any("launched no kernel" in note for note in found.notes)


def test_a_wrong_solution_never_meets_the_tool(workplace, tmp_path):
    found = profile(workplace, str(tmp_path / "no-ncu"), python("def run(x, y):\n    y.copy_(x * 3)\n"))
    assert isinstance(found, NotProfiled)
    assert found.status is EvaluationStatus.INCORRECT_NUMERICAL


def test_a_device_whose_counters_nobody_may_read_is_told_with_the_drivers_option(workplace, tmp_path):
    said = "==ERROR== ERR_NVGPUCTRPERM - The user does not have permission to access NVIDIA GPU Performance Counters\n"
    with pytest.raises(MissingTool) as raised:
        profile(workplace, stand_in(tmp_path, report=said), Prepared(make_python_solution(), None))
    assert "NVreg_RestrictProfilingToAdminUsers=0" in raised.value.remedy


def test_a_tool_that_fails_is_the_machines_fault_in_its_own_words(workplace, tmp_path):
    before = "sys.exit(print('==ERROR== Failed to find metric nothing__at_all') or 1)"
    with pytest.raises(HarnessFailed, match="Failed to find metric nothing__at_all"):
        profile(workplace, stand_in(tmp_path, before=before), Prepared(make_python_solution(), None))


def test_the_newest_unpacked_tool_is_found_and_a_missing_one_is_told_before_anything_is_built(tmp_path):
    for version in ("2024.3.2", "2025.10.0", "2025.9.1"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "ncu").touch()
    assert find_ncu("", tmp_path) == str(tmp_path / "2025.10.0/ncu")
    with pytest.raises(MissingTool, match="no ncu") as raised:
        find_ncu("", tmp_path / "nowhere")
    assert "Install it" in raised.value.remedy


@pytest.mark.skipif(
    any((Path(folder) / "ncu").exists() for folder in PROGRAM_PATH.split(":")) or Path("/opt/nvidia").exists(),
    reason="this machine has Nsight Compute",
)
def test_the_judge_asks_for_the_tool_it_lacks(tmp_path):
    judge = JudgeProcess(tmp_path, fingerprint="test", hidden=())
    request = ProfileRequest(problem_dir="", solution=make_solution(), device=make_device(name="cuda", kind="cuda"))
    try:
        with pytest.raises(MissingTool, match="Nsight Compute"):
            judge.profile(request)
    finally:
        judge.close()


COPY_CUDA = """#include <cuda_runtime.h>
#include <tvm/ffi/extra/c_env_api.h>
#include <tvm/ffi/tvm_ffi.h>
#include <cstdint>

__global__ void twice(const float* x, float* y, int64_t n) {
  const int64_t i = blockIdx.x * static_cast<int64_t>(blockDim.x) + threadIdx.x;
  if (i < n) y[i] = 2.0f * x[i];
}

static void Run(tvm::ffi::TensorView x, tvm::ffi::TensorView y) {
  const int64_t n = x.numel();
  auto stream = static_cast<cudaStream_t>(TVMFFIEnvGetStream(x.device().device_type, x.device().device_id));
  twice<<<(n + 255) / 256, 256, 0, stream>>>(
      static_cast<const float*>(x.data_ptr()), static_cast<float*>(y.data_ptr()), n);
}

TVM_FFI_DLL_EXPORT_TYPED_FUNC(run, Run);
"""
COPY_TRITON = """import triton
import triton.language as tl


@triton.jit
def twice(x, y, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + at, 2 * tl.load(x + at, mask=at < n), mask=at < n)


def run(x, y):
    twice[(triton.cdiv(x.numel(), 1024),)](x, y, x.numel(), BLOCK=1024)
"""


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("language", "file", "source"),
    [(Language.CUDA_CPP, "k.cu", COPY_CUDA), (Language.TRITON, "k.py", COPY_TRITON)],
    ids=["cuda", "triton"],
)
def test_a_kernel_on_a_device_is_explained_by_its_counters(tmp_path, language, file, source):
    problem = make_problem(make_workload(rows=2**18))
    (tmp_path / "double").mkdir()
    (tmp_path / "double/definition.json").write_text(problem.definition.model_dump_json())
    (tmp_path / "double/workload.jsonl").write_text(problem.workloads[0].model_dump_json() + "\n")
    binding = "tvm-ffi" if language is Language.CUDA_CPP else None
    spec = BuildSpec(languages=(language,), entry_point=f"{file}::run", binding=binding)
    solution = make_solution(spec=spec, sources=(SourceFile(path=file, content=source),))
    (tmp_path / "one.json").write_text(solution.model_dump_json())
    command = [sys.executable, "-m", "services.cli.main", "profile", str(tmp_path / "double"), "--device", "cuda"]
    done = subprocess.run(
        [*command, "--solution", str(tmp_path / "one.json"), "--json"],
        check=False,
        env={key: value for key, value in os.environ.items() if not key.startswith("DEEP_AGENT_")}
        | {"DEEP_AGENT_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=400,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = Profile.model_validate({key: json.loads(done.stdout)[key] for key in Profile.model_fields})
    assert found.bottleneck != "unknown", found
    assert all(figure.value is not None for figure in found.evidence), found
    registers = {one.name: one.value for one in found.resources}["registers a thread"]
    assert registers is not None
    assert 0 < registers < 256
    assert ("spilled" in {one.name for one in found.resources}) == (language is Language.CUDA_CPP)
    assert any("twice" in note for note in found.notes), found.notes
    assert not any("missing" in note for note in found.notes), found.notes
