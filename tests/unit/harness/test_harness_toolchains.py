import pytest

from deep_agent.harness.builds.toolchains import TOOLCHAINS, Need, find, missing, obstacle
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
