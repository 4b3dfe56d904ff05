"""Extensions of torch in C++: built as torch's own builder would, loaded and called in the arm, judged like any other."""

import pytest
from builders import make_solution
from sets_on_disk import write_set

from deep_agent.harness.builds.build import Builder, Built, NotBuilt
from deep_agent.harness.client import JudgeProcess
from deep_agent.harness.profiling.cpu import _report
from deep_agent.problem.evaluation import EvaluationRequest
from deep_agent.problem.solution import BuildSpec, Language, Solution, SourceFile

pytestmark = pytest.mark.integration

ROWS = """#include <torch/extension.h>
#include <cmath>
static void rows_of(const torch::Tensor& x, torch::Tensor& y) {
  const int64_t rows = x.size(0), n = x.size(1);
  for (int64_t i = 0; i < rows; ++i) {
    const float* from = x.data_ptr<float>() + i * n;
    float *to = y.data_ptr<float>() + i * n, peak = -INFINITY, sum = 0.0f;
    for (int64_t j = 0; j < n; ++j) peak = std::fmax(peak, from[j]);
    for (int64_t j = 0; j < n; ++j) sum += to[j] = std::exp(from[j] - peak);
    for (int64_t j = 0; j < n; ++j) to[j] /= sum;
  }
}
"""
WRITES = (
    ROWS
    + """void run(torch::Tensor x, torch::Tensor y) { rows_of(x, y); }
PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) { m.def("run", &run); }
"""
)
RETURNS = (
    ROWS
    + """torch::Tensor run(torch::Tensor x) {
  torch::Tensor y = torch::empty_like(x);
  rows_of(x, y);
  return y;
}
PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) { m.def("run", &run); }
"""
)
BARE = """#include <Python.h>
#define JOINED(a, b) a##b
#define INIT(name) JOINED(PyInit_, name)
static PyObject* run(PyObject*, PyObject*) { return PyFloat_FromDouble(1.5); }
static PyMethodDef methods[] = {{"run", run, METH_VARARGS, ""}, {"other", run, METH_VARARGS, ""}, {}};
static PyModuleDef module = {PyModuleDef_HEAD_INIT, "m", "", -1, methods};
PyMODINIT_FUNC INIT(TORCH_EXTENSION_NAME)() { return PyModule_Create(&module); }
"""
"""A module without torch's headers, which compiles in a second."""


def extension(text: str, entry: str = "run", **spec: object) -> Solution:
    spec = BuildSpec(languages=(Language.CPP,), entry_point=f"k.cpp::{entry}", **{"binding": "torch", **spec})
    return make_solution(definition="softmax", spec=spec, sources=(SourceFile(path="k.cpp", content=text),))


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    judge = JudgeProcess(tmp_path_factory.mktemp("judge"), fingerprint="test", hidden=())
    yield judge
    judge.close()


@pytest.fixture(scope="module")
def evaluate(judge, tmp_path_factory):
    problems, _ = write_set(tmp_path_factory.mktemp("set"))

    def evaluated(solution):
        request = EvaluationRequest(
            problem_dir=str(problems / "L1" / "softmax"), solution=solution, device="cpu", profile="screen"
        )
        return judge.evaluate(request)

    return evaluated


@pytest.mark.slow
@pytest.mark.parametrize(("text", "writes"), [(WRITES, True), (RETURNS, False)], ids=["writes", "returns"])
def test_a_right_extension_passes_and_is_built_once(judge, evaluate, text, writes):
    # The public format may leave the binding out.
    solution = extension(text, binding="torch" if writes else None, destination_passing_style=writes)
    found = evaluate(solution)
    assert found.status == "PASSED", found.message + found.log
    assert found.speedup is not None
    again = judge.build(solution, "cpu")
    assert (again.is_built, again.from_cache) == (True, True)


def test_an_entry_that_the_module_lacks_is_a_status_that_names_what_it_has(evaluate):
    found = evaluate(extension(BARE, "softmax"))
    assert found.status == "RUNTIME_ERROR"
    assert "the module defines ['other', 'run'], and no 'softmax': correct spec.entry_point" in found.log


def test_sources_without_a_module_do_not_build_and_say_what_is_missing(evaluate):
    found = evaluate(extension("int run() { return 1; }"))
    assert found.status == "COMPILE_ERROR"
    assert "no source defines the module" in found.message
    assert "PYBIND11_MODULE(TORCH_EXTENSION_NAME, m)" in found.log


def test_a_syntax_error_shows_the_compilers_words(evaluate):
    found = evaluate(extension("int run( {"))
    assert found.status == "COMPILE_ERROR"
    assert "k.cpp:1:11: error: expected" in found.message


def test_extensions_are_twins_by_machine_code_and_entry(tmp_path):
    builder = Builder(tmp_path)
    twin = "// names differ\n" + BARE.replace("methods", "table").replace("PyObject* run(", "PyObject* longer_name(")
    twin = twin.replace(", run, ", ", longer_name, ")
    codes = []
    for text, entry in ((BARE, "run"), (twin, "run"), (BARE, "other"), (BARE.replace("1.5", "2.5"), "run")):
        built = builder.build(extension(text, entry))
        assert isinstance(built, Built), built.diagnostics
        codes.append(built.machine_code_hash)
    assert codes[0] == codes[1]
    assert len(set(codes)) == 3


def test_the_compiler_of_an_extension_sees_no_file_of_the_machine(tmp_path):
    found = Builder(tmp_path).build(extension('asm(".incbin \\"/etc/passwd\\"");' + BARE))
    assert isinstance(found, NotBuilt)
    assert "/etc/passwd" in found.diagnostics


def test_a_profile_does_not_pass_the_bindings_instructions_off_as_the_kernels():
    report = _report(extension(BARE))
    assert (report.mix, report.stack_bytes) == (None, None)
    assert any("mostly its binding's" in note for note in report.notes)
