"""Every specimen's folder is well-formed, and no two of a folder try the same thing."""

import json
import re

import pytest
from judge_problem import HERE, specimens

FOLDERS = ("gallery", "honest", "cuda_gallery", "cuda_in_vain", "cuda_honest")
STATUSES = {
    "INCORRECT_NUMERICAL",
    "INCORRECT_SHAPE",
    "INCORRECT_DTYPE",
    "RUNTIME_ERROR",
    "REWARD_HACK",
    "COMPILE_ERROR",
    "TIMEOUT",
}
LEAST = {"gallery": 50, "honest": 18, "cuda_gallery": 25, "cuda_in_vain": 1, "cuda_honest": 14}
FIELDS = {
    "why",
    "status",
    "message_contains",
    "binding",
    "destination_passing_style",
    "language",
    "device",
    "problem",
    "times",
    "compile_options",
}


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_folder_holds_one_candidate_and_what_must_become_of_it(folder):
    for path in (HERE / folder).iterdir():
        assert len(list(path.glob("candidate.*"))) == 1, path
        assert set(json.loads((path / "expected.json").read_text())) <= FIELDS, path


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_two_specimens_try_the_same_thing(folder):
    found = specimens(folder)
    assert len(found) >= LEAST[folder]
    assert len({one.why for one in found}) == len(found)
    assert len({one.solution.content_hash for one in found}) == len(found)


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_specimen_says_where_it_runs_and_how_it_ends(folder):
    on_cuda = folder.startswith("cuda")
    for one in specimens(folder):
        assert one.device.startswith("cuda" if on_cuda else "cpu"), one.name
        allowed = {"PASSED"} if folder.endswith(("honest", "in_vain")) else STATUSES
        assert set(one.refusals) <= allowed, one.name
        assert one.language in ({"cuda_cpp", "triton", "cute_dsl", "pytorch"} if on_cuda else {"cpp", "pytorch"}), (
            one.name
        )


def test_the_threat_model_names_every_specimen_that_it_should_and_none_that_is_missing():
    page = (HERE.parents[1] / "docs" / "threat-model.md").read_text(encoding="utf-8")
    for line in page.splitlines():
        cells = line.split("|")
        if len(cells) != 6 or cells[1].strip() in {"threat", "---"}:
            continue
        for folders, cell in ((("gallery",), cells[3]), (("cuda_gallery", "cuda_in_vain"), cells[4])):
            for name in re.findall(r"`(\w+)`", cell):
                assert any((HERE / folder / name).is_dir() for folder in folders), name
    named = set(re.findall(r"`(\w+)`", page))
    cheats = ("gallery", "cuda_gallery", "cuda_in_vain")
    assert {one.name for folder in cheats for one in specimens(folder)} <= named
