"""The CPU's device model: probed once, cached by fingerprint, refused by name."""

import shutil

import pytest

from deep_agent.errors import InvalidInput, MissingTool, ResourceExhausted
from deep_agent.problem.dtype import DType
from deep_agent.sol.devices import CpuCatalog
from deep_agent.sol.machine import this_machine

pytestmark = pytest.mark.integration
needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")


@pytest.fixture(scope="module")
def probed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("devices")
    return folder, CpuCatalog(folder).resolve("cpu")


@needs_compiler
def test_the_probe_gives_every_rate_and_says_how(probed):
    _, model = probed
    bandwidth = model.bandwidth
    for rate in (bandwidth.read_bytes_per_s, bandwidth.copy_bytes_per_s, bandwidth.triad_bytes_per_s):
        assert 1e8 < rate < 1e13
    # A vector holds half as many doubles; a busy machine may blur the two, never reverse them far.
    assert 1.3 < model.mac_per_s[DType.FLOAT32] / model.mac_per_s[DType.FLOAT64] < 3
    assert model.bound_kind == "measured"
    assert {"read", "copy", "triad", "float32", "float64"} <= set(model.how)


@needs_compiler
def test_a_cached_model_is_not_probed_again(probed):
    folder, model = probed
    assert CpuCatalog(folder).resolve("auto") == model
    assert len(list(folder.iterdir())) == 1


@needs_compiler
def test_a_broken_or_foreign_cache_file_is_not_believed(probed, tmp_path):
    folder, model = probed
    (cached,) = folder.iterdir()
    foreign = tmp_path / cached.name
    foreign.write_text(model.model_copy(update={"fingerprint": "other"}).model_dump_json())
    again = CpuCatalog(tmp_path).resolve("cpu")
    assert again.fingerprint == model.fingerprint
    assert CpuCatalog(tmp_path).resolve("cpu") == again


@pytest.mark.parametrize("name", ["cuda:0", "gpu", "cpu:0", "cpu:-1", "cpu:x", ""])
def test_an_unknown_device_is_refused_with_the_known_ones(tmp_path, name):
    with pytest.raises(InvalidInput, match=r"known here: auto, cpu, cpu:1"):
        CpuCatalog(tmp_path).resolve(name)


def test_more_threads_than_processors_are_refused(tmp_path):
    with pytest.raises(InvalidInput, match="processors"):
        CpuCatalog(tmp_path).resolve(f"cpu:{this_machine().n_cores + 1}")


def test_a_missing_compiler_says_how_to_get_it(tmp_path):
    with pytest.raises(MissingTool, match=r"apt install g\+\+.*dnf.*xcode-select"):
        CpuCatalog(tmp_path, compiler="no-such-compiler").resolve("cpu")
    assert not list(tmp_path.iterdir())


@needs_compiler
def test_a_cache_folder_that_cannot_be_written_is_named(probed, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(ResourceExhausted, match="file"):
        CpuCatalog(blocked).resolve("cpu")
