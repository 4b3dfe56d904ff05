"""Owns the check of this machine: what works, what is missing, how to get it; runs programs to ask their version."""

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
from rich.text import Text

from deep_agent.errors import DeepAgentError, InvalidInput, MissingTool
from deep_agent.harness.builds.toolchains import TOOLCHAINS, TORCH_BINDING, Find, Need, Toolchain, find
from deep_agent.harness.folders import find_ncu
from deep_agent.problem.cardfacts import CardFacts, compare
from deep_agent.problem.cards import spec_of_card
from deep_agent.problem.value import FrozenValue
from deep_agent.settings import Settings, load
from deep_agent.sol.driver import found_cards
from services.cli import terminal
from services.cli.opening import opened

ASK_TIMEOUT_S = 10.0
LEAST_MEMORY_BYTES = 2 << 30
LEAST_DISK_BYTES = 2 << 30
GIB = float(1 << 30)


class Check(FrozenValue):
    """One thing the product rests on."""

    name: str
    ok: bool
    needed: bool
    """Whether the main job cannot do without."""
    found: str
    remedy: str = ""
    """How to get it, when it is missing."""


def run(*, json_out: bool) -> int:
    """Check everything and tell; gives 1 when something needed is missing."""
    settings = load()
    found = found_cards()
    machine = [*_machine(settings.home_path), *cards(found), *([_counters()] if found else [])]
    checks = [*_programs(), _python(), _torch(), *_languages(), *machine, *_home(settings)]
    works = all(check.ok for check in checks if check.needed)
    if json_out:
        terminal.print_json({"ok": works, "checks": [check.model_dump() for check in checks]})
    else:
        _print(checks, works=works)
    return terminal.OK if works else terminal.FAILED


def _print(checks: list[Check], *, works: bool) -> None:
    table = terminal.plain_table("", "What", "Found", "How to get it")
    for check in checks:
        mark = Text("ok", style="green") if check.ok else Text("missing" if check.needed else "optional", style="red")
        table.add_row(mark, check.name, Text(check.found), Text("" if check.ok else check.remedy))
    console = terminal.out()
    console.print(table)
    console.print("ready" if works else "not ready: see what is missing above", markup=False)


def _programs() -> list[Check]:
    return [
        _program("g++", needed=True, remedy="apt install g++ (Debian), dnf install gcc-c++ (Fedora)"),
        _program("git", needed=False, remedy="apt install git; lineages can then be looked at with it"),
        _program("bwrap", needed=False, remedy="apt install bubblewrap; candidates are then confined more tightly"),
        _program("objdump", needed=False, remedy="apt install binutils; profiles then read a build's instructions"),
        _program("perf", needed=False, remedy="apt install linux-perf; profiles then hold counters"),
        _program("chromium", needed=False, remedy="apt install chromium; only the browser tests use it"),
    ]


def _counters() -> Check:
    try:
        path = find_ncu()
    except MissingTool as error:
        return Check(name="ncu", ok=False, needed=False, found="not found", remedy=error.remedy)
    return Check(name="ncu", ok=True, needed=False, found=path)


def _program(name: str, *, needed: bool, remedy: str) -> Check:
    path = shutil.which(name)
    if path is None:
        return Check(name=name, ok=False, needed=needed, found="not on the PATH", remedy=remedy)
    try:
        asked = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=ASK_TIMEOUT_S, check=False, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check(name=name, ok=False, needed=needed, found=f"{path} does not run: {error}", remedy=remedy)
    said = (asked.stdout or asked.stderr).strip().splitlines()
    ok = asked.returncode == 0
    return Check(name=name, ok=ok, needed=needed, found=said[0] if said else path, remedy=remedy)


def _python() -> Check:
    return Check(
        name="python",
        ok=sys.version_info >= (3, 11),
        needed=True,
        found=f"{platform.python_version()} at {sys.executable}",
        remedy="install Python 3.11 or later",
    )


def _torch() -> Check:
    # Looked up in the installed packages' records: loading it would take seconds and prove little more.
    try:
        found, ok = importlib.metadata.version("torch"), True
    except importlib.metadata.PackageNotFoundError:
        found, ok = "not installed", False
    return Check(name="torch", ok=ok, needed=True, found=found, remedy="pip install 'deep-agent[worker]'")


def _languages(here: Find = find) -> list[Check]:
    """One check a language, one a kind of torch extension: whether such solutions can be built here."""
    languages = [_language(toolchain, here) for toolchain in TOOLCHAINS.values()]
    return languages + [_buildable(f"torch binding on {kind}", needs, here) for kind, needs in TORCH_BINDING.items()]


def _language(toolchain: Toolchain, here: Find) -> Check:
    kinds = " and ".join(toolchain.devices)
    made = _buildable(f"language {toolchain.language}", toolchain.needs, here)
    return made.model_copy(update={"found": f"{made.found}; for {kinds} devices"})


def _buildable(name: str, needs: tuple[Need, ...], here: Find) -> Check:
    lacking = tuple(need for need in needs if here(need) is None)
    found = f"lacks {', '.join(need.name for need in lacking)}" if lacking else "toolchain is here"
    return Check(name=name, ok=not lacking, needed=False, found=found, remedy=" ".join(need.remedy for need in lacking))


def _machine(home: Path) -> list[Check]:
    standing = next(path for path in (home, *home.parents) if path.exists())
    memory, disk = psutil.virtual_memory(), shutil.disk_usage(standing)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else psutil.cpu_count() or 1
    return [
        Check(name="cores", ok=True, needed=True, found=f"{cores} usable, {platform.machine()}"),
        Check(
            name="memory",
            ok=memory.available >= LEAST_MEMORY_BYTES,
            needed=True,
            found=f"{memory.available / GIB:.1f} of {memory.total / GIB:.1f} GiB free",
            remedy="close other programs; two GiB are needed",
        ),
        Check(
            name="disk",
            ok=disk.free >= LEAST_DISK_BYTES,
            needed=True,
            found=f"{disk.free / GIB:.1f} GiB free at {standing}",
            remedy="free space, or set DEEP_AGENT_HOME to another disk",
        ),
    ]


def cards(found: tuple[CardFacts, ...]) -> list[Check]:
    """Hold each card's spec against what its driver says; a machine without a card lacks nothing it needs."""
    if not found:
        remedy = "none is needed; with an NVIDIA card, its driver brings nvidia-smi"
        return [Check(name="gpu", ok=False, needed=False, found="the driver lists no card here", remedy=remedy)]
    return [_card(facts, "gpu" if len(found) == 1 else f"gpu {place}") for place, facts in enumerate(found)]


def _card(facts: CardFacts, name: str) -> Check:
    try:
        spec = spec_of_card(facts.name)
    except InvalidInput as error:
        said = f"{facts.name}, which has no device spec: it has no bounds"
        return Check(name=name, ok=False, needed=False, found=said, remedy=error.remedy)
    result = compare(facts, spec)
    unknown = f"; not compared: {', '.join(result.unknown)}" if result.unknown else ""
    if result.differs:
        said = f"{facts.name} differs from its spec: {'; '.join(result.differs)}{unknown}"
        remedy = "clocks may be limited by the administrator; else correct the spec before trusting its bounds"
        return Check(name=name, ok=False, needed=False, found=said, remedy=remedy)
    agrees = f" ({', '.join(result.agrees)})" if result.agrees else ""
    return Check(name=name, ok=True, needed=False, found=f"{facts.name}, as its spec says{agrees}{unknown}")


def _home(settings: Settings) -> list[Check]:
    home = settings.home_path
    if not home.exists():
        return [Check(name="home", ok=True, needed=True, found=f"{home} will be made by the first job")]
    size_bytes = sum(path.stat().st_size for path in home.rglob("*") if path.is_file() and not path.is_symlink())
    kept = Check(name="home", ok=True, needed=True, found=f"{home}, {size_bytes / 1e6:.1f} MB kept")
    return [kept, _asked("dispatcher", lambda: _dispatcher(settings))]


def _dispatcher(settings: Settings) -> str:
    with opened(settings) as application:
        if application.is_led_elsewhere():
            return "another process works on this home folder's jobs; commands here follow it"
        return "no other process works on this home folder"


def _asked(name: str, ask: Callable[[], str]) -> Check:
    try:
        return Check(name=name, ok=True, needed=True, found=ask())
    except DeepAgentError as error:
        return Check(name=name, ok=False, needed=True, found=error.message, remedy=error.remedy)
