import pytest
from problem_builders import raw_solution
from pydantic import ValidationError

from deep_agent.errors import InvalidInput
from deep_agent.problem.export import solution_for_export
from deep_agent.problem.solution import Language, Solution

NATIVE = [{"path": "k.cpp", "content": "int x;"}]
UPSTREAM_LANGUAGES = set(Language) - {Language.CPP}


def native(**spec):
    return raw_solution(spec={"languages": ["cuda_cpp"], "entry_point": "k.cpp::run"} | spec, sources=NATIVE)


def refused(match, raw):
    with pytest.raises(ValidationError, match=match):
        Solution.model_validate(raw)


@pytest.mark.parametrize("field", ["name", "definition", "author", "spec", "sources"])
def test_required_fields_are_required(field):
    raw = raw_solution()
    del raw[field]
    refused(field, raw)


def test_python_and_native_languages_are_never_mixed():
    refused("mixed", raw_solution(spec={"languages": ["pytorch", "cuda_cpp"]}))


def test_an_empty_language_list_counts_as_python():
    assert Solution.model_validate(raw_solution(spec={"languages": []})).spec.is_python


@pytest.mark.parametrize("target", [[], ["local"], ["H200"]])
def test_targets_are_the_public_ones(target):
    refused("target_hardware", raw_solution(spec={"target_hardware": target}))


@pytest.mark.parametrize("entry", ["main.py", "main.py::a::b", "::run", "main.py::"])
def test_an_entry_point_is_a_path_and_a_function(entry):
    refused("entry_point", raw_solution(spec={"entry_point": entry}))


def test_the_entry_file_is_among_the_sources():
    refused("not among", raw_solution(spec={"entry_point": "other.py::run"}))


@pytest.mark.parametrize("suffix", [".cu", ".cpp", ".cc", ".cxx", ".c", ".h", ".hpp", ".cuh"])
def test_native_entry_files_have_native_suffixes(suffix):
    raw = native(entry_point=f"k{suffix}::run") | {"sources": [{"path": f"k{suffix}", "content": ""}]}
    assert Solution.model_validate(raw).spec.entry_file == f"k{suffix}"


def test_the_suffix_follows_the_language_group():
    refused("must end in", raw_solution(spec={"languages": ["cuda_cpp"]}))
    refused("must end in", raw_solution(spec={"entry_point": "k.cpp::run"}, sources=NATIVE))


@pytest.mark.parametrize("path", ["/etc/passwd", "../x.py", "a/../../x.py", "a\\b.py", ""])
def test_sources_stay_inside_the_solution(path):
    refused("path", raw_solution(sources=[{"path": path, "content": ""}]))


def test_source_paths_are_unique_and_there_is_one():
    refused("same path", raw_solution(sources=[{"path": "main.py", "content": ""}] * 2))
    refused("sources", raw_solution(sources=[]))


def test_destination_passing_is_the_default():
    assert Solution.model_validate(raw_solution()).spec.destination_passing_style


def test_trap_3_absent_compile_options_differ_from_empty_ones():
    absent = Solution.model_validate(native())
    empty = Solution.model_validate(native(compile_options={}))
    assert absent.spec.compile_options is None
    assert empty.spec.compile_options is not None
    assert empty.spec.compile_options.cuda_cflags == ("-O3", "--use_fast_math")
    assert empty.spec.compile_options.ld_flags == ("-lcuda",)


@pytest.mark.parametrize(
    "spec",
    [
        {"compile_options": {"cflags": ["-O1"]}},
        {"target_hardware": ["LOCAL", "B200"]},
        {"destination_passing_style": False},
        {"binding": "torch"},
    ],
)
def test_trap_4_the_hash_covers_what_upstream_leaves_out(spec):
    assert Solution.model_validate(native()).content_hash != Solution.model_validate(native(**spec)).content_hash


def test_names_and_order_of_sources_do_not_change_the_hash():
    more = [*NATIVE, {"path": "z.h", "content": "//"}]
    one = Solution.model_validate(native() | {"sources": more})
    two = Solution.model_validate(native() | {"sources": more[::-1], "name": "other", "author": "else"})
    assert one.content_hash == two.content_hash


def test_trap_13_both_bindings_are_read_and_export_knows_only_torch():
    raw = native(languages=["cpp"], binding="tvm-ffi")
    exported = solution_for_export(Solution.model_validate(raw))
    assert set(exported.spec.languages) <= UPSTREAM_LANGUAGES
    assert exported.spec.binding == "torch"
    assert exported.spec.entry_file in {source.path for source in exported.sources}
    assert exported.spec.entry_function == "run"
    assert "apache-tvm-ffi" in exported.spec.dependencies
    assert "__tvm_ffi_run" in exported.sources[-1].content
    assert Solution.model_validate_json(exported.model_dump_json()) == exported


def test_a_shim_never_replaces_a_source_of_that_name():
    sources = [*NATIVE, {"path": "torch_shim.cpp", "content": "mine"}]
    exported = solution_for_export(Solution.model_validate(native(binding="tvm-ffi") | {"sources": sources}))
    assert len({source.path for source in exported.sources}) == 3


def test_export_leaves_a_public_solution_as_it_is():
    solution = Solution.model_validate(raw_solution())
    assert solution_for_export(solution) is solution


def test_a_python_solution_needs_no_shim():
    exported = solution_for_export(Solution.model_validate(raw_solution(spec={"binding": "tvm-ffi"})))
    assert (exported.spec.binding, len(exported.sources)) == ("torch", 1)


def test_a_returning_tvm_ffi_solution_cannot_be_exported():
    solution = Solution.model_validate(native(binding="tvm-ffi", destination_passing_style=False))
    with pytest.raises(InvalidInput, match="destination"):
        solution_for_export(solution)


def test_trap_17_a_solution_for_another_device_alone_is_refused_here():
    Solution.model_validate(native(target_hardware=["B200", "LOCAL"])).require_local()
    with pytest.raises(InvalidInput, match="Add LOCAL"):
        Solution.model_validate(native(target_hardware=["B200"])).require_local()


@pytest.mark.parametrize(
    ("text", "given", "expected"),
    [
        ("#include <torch/extension.h>", None, "torch"),
        ("#include <tvm/ffi/tvm_ffi.h>", None, "tvm-ffi"),
        ("#include <torch/extension.h>", "tvm-ffi", "tvm-ffi"),
        ("", "torch", "torch"),
    ],
)
def test_an_absent_binding_is_read_off_the_sources(text, given, expected):
    raw = native(binding=given)
    raw["sources"] = [raw["sources"][0] | {"content": text}]
    assert Solution.model_validate(raw).with_binding().spec.binding == expected


def test_python_has_no_binding():
    solution = Solution.model_validate(raw_solution())
    assert solution.with_binding() is solution
