"""What a build's identity is, and which failures are remembered; runs the real compiler."""

import shutil
import subprocess

import pytest
import torch
from builders import DOUBLE_CPP, make_solution
from torch.utils.cpp_extension import COMMON_NVCC_FLAGS, include_paths

from deep_agent.harness.builds import build as build_module
from deep_agent.harness.builds import compilers, torch_extension
from deep_agent.harness.builds.build import Builder, Built, NotBuilt, build_key
from deep_agent.harness.builds.compile_sandbox import Limits
from deep_agent.harness.builds.compilers import Gxx, Nvcc
from deep_agent.harness.builds.machinecode import machine_code_hash
from deep_agent.problem.solution import BuildSpec, CompileOptions, Language, SourceFile

PLAIN = """#include <math.h>
extern "C" int __tvm_ffi_run(void*, const void* args, int, void*) {
  const float* from = (const float*)args;
  float sum = 0;
  for (int i = 0; i < 64; ++i) sum += FUNCTION(from[i]) * 3.25f;
  return sum > 4.0f;
}
"""
EXPF = PLAIN.replace("FUNCTION", "expf")


def plain(text: str, entry: str = "run"):
    spec = BuildSpec(languages=(Language.CPP,), entry_point=f"k.cpp::{entry}", binding="tvm-ffi")
    return make_solution(spec=spec, sources=(SourceFile(path="k.cpp", content=text),))


@pytest.fixture
def builder(tmp_path):
    return Builder(tmp_path / "builds")


def code(builder, text: str, entry: str = "run") -> str:
    built = builder.build(plain(text, entry))
    assert isinstance(built, Built), built.diagnostics
    return built.machine_code_hash


def test_names_and_comments_do_not_change_the_machine_code(builder):
    renamed = "// another day, another kernel\n" + EXPF.replace("sum", "accumulated_in_a_long_name").replace(
        "from", "x"
    )
    first, second = builder.build(plain(EXPF)), builder.build(plain(renamed))
    assert first.machine_code_hash == second.machine_code_hash
    assert not second.from_cache


def test_the_entrys_own_name_does_not_change_the_machine_code(builder):
    long = "a_name_so_long_that_the_string_table_grows_" * 100
    assert code(builder, EXPF) == code(builder, EXPF.replace("_run", f"_{long}"), long)


@pytest.mark.parametrize(
    "changed",
    [
        EXPF.replace("3.25f", "3.5f"),
        EXPF.replace("64", "65"),
        PLAIN.replace("FUNCTION", "logf"),
        EXPF.replace("> 4.0f", "< 4.0f"),
    ],
    ids=["a constant", "a bound", "another library function", "a comparison"],
)
def test_what_is_computed_changes_the_machine_code(builder, changed):
    assert code(builder, changed) != code(builder, EXPF)


def test_another_entry_of_the_same_object_is_another_kernel(builder):
    both = EXPF + EXPF.replace("_run", "_other").replace("#include <math.h>", "").replace("3.25f", "0.5f")
    assert code(builder, both, "run") != code(builder, both, "other")


def test_what_is_no_object_is_told_apart_by_its_bytes():
    assert machine_code_hash(b"PTX one", "run") != machine_code_hash(b"PTX two", "run")
    assert machine_code_hash(b"\x7fELF\x02\x01", "run") != machine_code_hash(b"\x7fELF\x02\x01\x00", "run")
    assert machine_code_hash(b"same", "a") == machine_code_hash(b"same", "a")


def test_a_copy_without_its_build_id_and_symbols_is_the_same_code(builder, tmp_path):
    if shutil.which("objcopy") is None:
        pytest.fail("objcopy comes with g++'s binutils and is missing")
    built = builder.build(plain(EXPF))
    (tmp_path / "full.so").write_bytes(built.artefact)
    command = ["objcopy", "--strip-all", "--remove-section=.note.gnu.build-id", "--remove-section=.comment"]
    subprocess.run([*command, tmp_path / "full.so", tmp_path / "bare.so"], check=True)
    bare = (tmp_path / "bare.so").read_bytes()
    assert bare != built.artefact
    assert machine_code_hash(bare, "__tvm_ffi_run") == built.machine_code_hash


def test_a_kernel_over_the_calling_convention_has_twins_too(builder):
    twin = DOUBLE_CPP.replace("from", "source").replace("to[i]", "target[i]").replace("* to =", "* target =")
    twin = twin.replace("float* to ", "float* target ")
    found = [builder.build(make_solution(text)) for text in (DOUBLE_CPP, twin)]
    assert found[0].machine_code_hash == found[1].machine_code_hash


@pytest.mark.parametrize(
    "changes",
    [
        {"sources": (SourceFile(path="k.cpp", content=EXPF + " "),)},
        {"sources": (SourceFile(path="k.cpp", content=EXPF), SourceFile(path="extra.h", content=""))},
        {"spec": {"entry_point": "k.cpp::other"}},
        {"spec": {"binding": None}},
        {"spec": {"destination_passing_style": False}},
        {"spec": {"target_hardware": ("LOCAL", "B200")}},
        {"spec": {"compile_options": CompileOptions(cflags=("-ffast-math",))}},
    ],
    ids=["source", "paths", "entry", "binding", "calling style", "target", "flags"],
)
def test_the_key_covers_what_shapes_the_object(changes):
    solution = plain(EXPF)
    if "spec" in changes:
        changes = {"spec": solution.spec.model_copy(update=changes["spec"])}
    assert build_key(solution.model_copy(update=changes), Gxx()) != build_key(solution, Gxx())


@pytest.mark.parametrize("part", ["_version", "_native_target", "headers_hash"])
def test_the_key_covers_the_toolchain_the_processor_and_the_headers(monkeypatch, part):
    before = build_key(plain(EXPF), Gxx())
    monkeypatch.setattr(compilers, part, lambda *_: "another")
    assert build_key(plain(EXPF), Gxx()) != before


def test_a_cuda_builds_key_covers_its_architecture_and_the_hosts_compiler(monkeypatch):
    versions = {"nvcc": "13.0", "g++": "12.2"}
    monkeypatch.setattr(compilers, "_version", lambda program, _remedy: versions[program])
    keys = {build_key(plain(EXPF), Nvcc(architecture)) for architecture in ("80", "90")}
    for program in versions:
        versions[program] = "another"
        keys.add(build_key(plain(EXPF), Nvcc("90")))
    assert len(keys) == 4


def test_a_name_or_an_author_does_not_compile_again(builder):
    builder.build(plain(EXPF))
    again = builder.build(plain(EXPF).model_copy(update={"name": "renamed", "author": "another"}))
    assert again.from_cache


def test_a_failure_is_remembered_with_its_diagnostics(builder, monkeypatch):
    broken = plain("int f( {")
    first = builder.build(broken)
    assert isinstance(first, NotBuilt)
    assert "error" in first.diagnostics
    monkeypatch.setattr(build_module, "_compile", None)
    assert builder.build(broken).diagnostics == first.diagnostics


def test_a_build_that_the_machine_stopped_is_tried_again(builder, monkeypatch):
    monkeypatch.setattr(build_module, "limits", lambda _spec: Limits(memory_bytes=2**32, wall_s=0.001))
    stopped = builder.build(plain(EXPF))
    assert isinstance(stopped, NotBuilt)
    assert not stopped.is_final
    monkeypatch.undo()
    assert isinstance(builder.build(plain(EXPF)), Built)


def extension(**spec):
    given = {"languages": (Language.CUDA_CPP,), "entry_point": "k.cu::run", "binding": "torch"}
    return BuildSpec.model_validate(given | spec)


def test_an_extension_of_torch_is_compiled_as_torch_itself_says():
    # Torch is asked here what the builder reads off its files.
    command = Nvcc("90").flags(extension())
    assert {"-DTORCH_EXTENSION_NAME=solution", "-DTORCH_API_INCLUDE_EXTENSION_H", *COMMON_NVCC_FLAGS} <= set(command)
    assert f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}" in command
    assert set(include_paths()) <= set(command)
    assert torch_extension.standard() in command
    linked = Gxx().libraries(extension(languages=(Language.CPP,), entry_point="k.cpp::run"))
    assert linked[1:] == ("-lc10", "-ltorch_cpu", "-ltorch", "-ltorch_python")


def test_nvcc_and_its_host_compiler_get_one_standard_the_solutions_first():
    options = CompileOptions(cflags=("-std=c++20", "-O2"), cuda_cflags=("-std=c++17",))
    command = Nvcc("90").flags(extension(compile_options=options))
    assert [flag for flag in command if flag.startswith("-std=")] == ["-std=c++17"]
    assert "-O2" in command


def test_an_extension_gets_more_memory_and_time_than_a_bare_function():
    assert compilers.limits(extension()).memory_bytes > compilers.limits(extension(binding="tvm-ffi")).memory_bytes
    assert compilers.limits(extension()).wall_s > compilers.limits(extension(binding="tvm-ffi")).wall_s


def test_an_extensions_key_covers_torchs_build(monkeypatch):
    solution = plain(EXPF).model_copy(update={"spec": extension()})
    before = build_key(solution, Nvcc("90"))
    monkeypatch.setattr(torch_extension, "identity", lambda: "another")
    assert build_key(solution, Nvcc("90")) != before
