"""What the doctor says of languages: each one, whether it can be built here, and how to get it."""

from deep_agent.harness.builds.toolchains import Need
from deep_agent.problem.solution import Language
from services.cli.doctor import _languages


def has_only_compilers(need: Need) -> str | None:
    return f"/usr/bin/{need.name}" if need.kind == "program" else None


def test_every_language_is_told_with_what_it_lacks_and_how_to_get_it():
    checks = {check.name: check for check in _languages(has_only_compilers)}
    bindings = {"torch binding on cpu", "torch binding on cuda"}
    assert set(checks) == {f"language {language}" for language in Language} | bindings
    assert "lib/libtorch_cuda.so" in checks["torch binding on cuda"].found
    assert "Python.h" in checks["torch binding on cpu"].found
    assert checks["language cuda_cpp"].ok
    triton = checks["language triton"]
    assert (triton.ok, triton.needed) == (False, False)
    assert triton.found == "lacks torch, triton; for cuda devices"
    assert "pip install triton" in triton.remedy
