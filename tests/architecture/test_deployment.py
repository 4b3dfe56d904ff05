"""What the container files name exists."""

import json
import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]


def test_the_compose_file_builds_this_folder_and_keeps_the_home_in_a_volume():
    composed = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert set(composed) == {"services", "volumes"}
    service = composed["services"]["deep-agent"]
    assert (ROOT / service["build"]["context"] / "Dockerfile").is_file()
    volume, _, mounted = service["volumes"][0].partition(":")
    assert volume in composed["volumes"]
    assert f"DEEP_AGENT_HOME={mounted} " in (ROOT / "Dockerfile").read_text()
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_the_image_copies_only_what_exists_and_what_is_let_in():
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for copied in re.findall(r"^COPY (.+)$", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE):
        for source in copied.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert source in let_in, source


def test_the_image_starts_a_program_of_ours():
    (command,) = re.findall(r"^CMD (.+)$", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert json.loads(command)[0] in scripts


def test_every_requirement_is_pinned_exactly():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert [line for line in pins if not re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.!]+", line)] == []
    pinned = {line.partition("==")[0].lower().replace("_", "-") for line in pins}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    names = {re.split(r"[<>=~ \[]", one)[0].lower().replace("_", "-") for one in asked}
    assert names - pinned == set()
