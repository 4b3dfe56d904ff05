"""When an arm runs: one that rests only while it is asked, any other but while it is frozen."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from deep_agent.harness.arms import arm as arm_module
from deep_agent.harness.arms.arm import Arm, ArmFailed
from deep_agent.harness.baseline_arms import error_line
from deep_agent.harness.sandbox import child as child_module
from deep_agent.harness.sandbox.artefact import load_function
from deep_agent.harness.sandbox.child import _of_form, _told
from deep_agent.harness.sandbox.wire import Verb

ANSWERS = """
import socket, sys
from deep_agent.harness.sandbox.wire import Finding, receive_request, send_reply
channel = socket.socket(fileno=int(sys.argv[1]))
while (request := receive_request(channel)) is not None:
    send_reply(channel, request[0], Finding.DONE)
"""


@pytest.fixture
def forked():
    arms = []

    def fork(*, rests: bool, before: str = "") -> tuple[Arm, psutil.Process]:
        channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            child = subprocess.Popen(
                [sys.executable, "-c", before + ANSWERS, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        arm = Arm(channel, child.pid, child.pid, os.memfd_create("log"), ("user namespace",), rests=rests)
        arms.append((arm, child))
        ask(arm)
        return arm, psutil.Process(child.pid)

    yield fork
    for arm, child in arms:
        arm.close()
        child.wait(10)


def ask(arm: Arm) -> None:
    arm.ask(Verb.INSPECT, {}, timeout_s=30)


def tasks(process: psutil.Process) -> list[str]:
    return [f"/proc/{process.pid}/task/{thread.id}" for thread in process.threads()]


def is_frozen(process: psutil.Process) -> bool:
    """A signal takes a moment to arrive."""
    time.sleep(0.05)
    return process.status() == psutil.STATUS_STOPPED


def test_an_arm_that_rests_runs_only_while_it_is_asked(forked):
    arm, process = forked(rests=True)
    for _ in range(3):
        assert is_frozen(process)
        ask(arm)
    arm.freeze()
    arm.thaw()
    assert is_frozen(process)


BUSY = """
import os, threading
def work():
    while True:
        pass
for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
if os.fork() == 0:
    work()
"""
LEAVES = """
import os
told, tell = os.pipe()
if os.fork() == 0:
    os.setsid()
    os.write(tell, b"x")
    while True:
        pass
os.read(told, 1)
"""


def test_an_arm_stands_still_with_all_its_threads_and_children(forked):
    arm, process = forked(rests=False, before=BUSY)
    for _ in range(20):
        arm.stand_still()
        family = [process, *process.children()]
        states = [
            (Path(task) / "stat").read_text().rpartition(")")[2].split()[0] for one in family for task in tasks(one)
        ]
        assert len(states) >= 5
        assert set(states) == {"T"}
        arm.thaw()


def test_nobody_waits_for_who_has_left_the_arms_group(forked):
    arm, process = forked(rests=False, before=LEAVES)
    (child,) = process.children()
    try:
        arm.stand_still()
        assert is_frozen(process)
        assert not is_frozen(child)
    finally:
        child.kill()


def test_an_arm_that_does_not_stop_is_ended(forked, monkeypatch):
    arm, process = forked(rests=False)
    monkeypatch.setattr(arm_module, "STOP_TIMEOUT_S", 0.05)
    monkeypatch.setattr(arm, "freeze", lambda: None)
    with pytest.raises(ArmFailed, match="would not stop"):
        arm.stand_still()
    assert process.wait(10) is None or not process.is_running()


def test_an_arm_that_is_gone_stands_still(forked):
    arm, process = forked(rests=False)
    process.kill()
    process.wait(10)
    arm.stand_still()


def test_any_other_arm_runs_until_it_is_frozen_and_again_when_it_is_thawed_or_asked(forked):
    arm, process = forked(rests=False)
    assert not is_frozen(process)
    for go_on in (arm.thaw, lambda: ask(arm)):
        arm.freeze()
        assert is_frozen(process)
        go_on()
        assert not is_frozen(process)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.int64, torch.bool])
def test_a_number_that_is_returned_is_taken_in_the_declared_type(dtype):
    given = {torch.bool: True, torch.int64: 2**53 + 1}.get(dtype, 1.1)
    assert torch.equal(_of_form(torch.zeros((), dtype=dtype), given), torch.tensor(given, dtype=dtype))


def test_running_out_of_memory_is_named_where_torch_names_another_fault():
    masked = RuntimeError(
        "NVML_SUCCESS == DriverAPI::get()->nvmlInit_v2_() INTERNAL ASSERT FAILED at "
        '"/pytorch/c10/cuda/CUDACachingAllocator.cpp":1135, please report a bug to PyTorch.'
    )
    assert "out of memory" in error_line(_told(masked))
    assert "INTERNAL ASSERT" in _told(masked)
    other = RuntimeError('INTERNAL ASSERT FAILED at "/pytorch/c10/cuda/CUDACachingAllocator.cpp":402')
    assert "out of memory" not in _told(other)


def test_a_number_of_a_process_may_come_again_where_its_scratch_was_left(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", sys.dont_write_bytecode)
    monkeypatch.setitem(sys.modules, "solution_entry", None)
    payload = {"kind": "python", "function": "run", "entry": "s.py", "paths": ["s.py"]}
    for answer in (1, 2):
        source = os.memfd_create("source")
        os.write(source, f"def run():\n    return {answer}\n".encode())
        assert load_function(payload, [source])() == answer
        os.close(source)


def test_a_burst_lets_go_of_what_calls_of_other_workloads_left(monkeypatch):
    made = child_module.ArmProcess(None)
    made._bindings = {number: child_module._Binding([], [], ()) for number in range(4)}
    for number, binding in made._bindings.items():
        binding.returned = number
    made._bursts = SimpleNamespace(run=lambda *_, **__: b"")
    monkeypatch.setattr(child_module, "persisting_bytes", lambda: 0)
    payload = {"bindings": [2, None, 0, 2], "witnessed": False, "empties": True, "hold_us": 0.0}
    made._burst(payload, [os.memfd_create("claims")])
    assert [binding.returned for binding in made._bindings.values()] == [0, None, 2, None]


def test_the_judge_may_hold_as_many_files_open_as_the_system_lets_everybody():
    program = (
        "import resource; from deep_agent.harness.__main__ import _allow_files; "
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, {hard})); _allow_files(1000); "
        "print(resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    for hard, soft in ((400, 400), (2000, 1000)):
        told = subprocess.run(
            [sys.executable, "-c", program.format(hard=hard)], capture_output=True, text=True, check=True, timeout=60
        )
        assert told.stdout.strip() == str((soft, hard))
