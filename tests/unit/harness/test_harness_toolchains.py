import pytest

from deep_agent.errors import MissingTool
from deep_agent.harness.builds import toolchains
from deep_agent.harness.builds.toolchains import TOOLCHAINS, TORCH_BINDING, Need, find, missing, obstacle, torch_folder
from deep_agent.problem.solution import Language


def nothing(_need: Need) -> None:
    return None


def everything(need: Need) -> str:
    return f"/here/{need.name}"


def test_every_language_has_a_toolchain():
    assert set(TOOLCHAINS) == set(Language)


@pytest.mark.parametrize("language", sorted(Language))
def test_every_absent_need_has_a_remedy(language):
    lacking = missing(language, nothing)
    assert lacking
    assert all(need.remedy.endswith(".") for need in lacking)
    assert missing(language, everything) == ()


@pytest.mark.parametrize("language", sorted(set(Language) - {Language.CPP, Language.PYTORCH}))
def test_a_cuda_language_is_refused_on_a_cpu_even_where_its_toolchain_is_installed(language):
    found = obstacle((language,), "cpu", everything)
    assert found is not None
    assert language in found.message
    assert "`cpp` or `pytorch`" in found.remedy


@pytest.mark.parametrize("language", sorted(set(Language) - {Language.CPP}))
def test_an_absent_toolchain_is_named_with_its_remedy(language):
    found = obstacle((language,), "cuda", nothing)
    assert found is not None
    assert all(need.name in found.message for need in TOOLCHAINS[language].needs)
    assert "nstall" in found.remedy or "npack" in found.remedy
    assert obstacle((language,), "cuda", everything) is None


def test_no_language_counts_as_pytorch():
    assert obstacle((), "cpu", everything) is None
    assert "`pytorch`" in obstacle((), "cpu", nothing).words


def test_several_languages_need_what_each_of_them_needs():
    found = obstacle((Language.PYTORCH, Language.TRITON), "cuda", nothing)
    assert "torch and package triton" in found.message


def test_packages_are_found_without_running_them(tmp_path, monkeypatch):
    package = tmp_path / "explosive" / "tile"
    package.mkdir(parents=True)
    (tmp_path / "explosive/__init__.py").write_text("raise SystemExit\n")
    (package / "__init__.py").write_text("raise SystemExit\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    here = find(Need(kind="package", name="explosive.tile", remedy="."))
    assert here == str(package / "__init__.py")
    assert find(Need(kind="package", name="explosive.absent", remedy=".")) is None
    assert find(Need(kind="package", name="absent_altogether.tile", remedy=".")) is None


def test_programs_and_headers_are_found_where_builds_look():
    assert find(Need(kind="program", name="sh", remedy=".")) is not None
    assert find(Need(kind="program", name="no-such-program", remedy=".")) is None
    assert find(Need(kind="header", name="no/such/header.h", remedy=".")) is None


def without(*absent: str):
    return lambda need: None if need.name in absent else "here"


@pytest.mark.parametrize("absent", ["include/torch/extension.h", "Python.h", "torch"])
def test_what_an_extension_of_torch_lacks_is_named_with_a_remedy(absent):
    found = obstacle((Language.CPP,), "cpu", without(absent), binding="torch")
    assert found is not None
    assert found.message.startswith("`cpp` with `torch` needs ")
    assert absent in found.message
    assert found.remedy.startswith("Install")
    assert obstacle((Language.CPP,), "cpu", without(absent), binding="tvm-ffi") is None


def test_an_extension_for_a_cuda_device_needs_a_torch_for_it():
    found = obstacle((Language.CUDA_CPP,), "cuda", without("lib/libtorch_cuda.so"), binding="torch")
    assert "file of torch lib/libtorch_cuda.so" in found.message
    assert obstacle((Language.CPP,), "cpu", without("lib/libtorch_cuda.so"), binding="torch") is None
    assert obstacle((Language.PYTORCH,), "cuda", without("lib/libtorch_cuda.so"), binding="torch") is None


def test_the_files_of_an_extension_are_found_in_torchs_folder_without_loading_it():
    assert [need.name for need in TORCH_BINDING["cpu"] if find(need) is None] == []
    assert find(Need(kind="file of torch", name="no/such/file", remedy=".")) is None
    assert (torch_folder() / "version.py").is_file()


def test_a_machine_without_torch_is_told_how_to_get_it(monkeypatch):
    monkeypatch.setattr(toolchains, "_find_package", lambda _name: None)
    assert find(Need(kind="file of torch", name="version.py", remedy=".")) is None
    with pytest.raises(MissingTool, match="no torch"):
        torch_folder()
