"""A zygote that does not answer: what comes late must never be read as the answer to somebody else."""

import os
import signal
import threading

import pytest

from deep_agent.errors import HarnessFailed
from deep_agent.harness.arms import arm
from deep_agent.harness.arms.arm import ArmLimits, Zygote

pytestmark = pytest.mark.integration


class Turns:
    """A lock that notes whether the zygote was known to be broken each time that it was let go."""

    def __init__(self, zygote):
        self._lock, self._zygote, self.let_go = threading.Lock(), zygote, []

    def __enter__(self):
        self._lock.acquire()

    def __exit__(self, *error):
        self.let_go.append(self._zygote.is_broken)
        self._lock.release()


def test_whoever_waits_knows_that_the_answer_before_did_not_come(tmp_path, monkeypatch):
    zygote = Zygote(tmp_path, (), tmp_path)
    zygote._asking = turns = Turns(zygote)

    def fork():
        return zygote.fork(ArmLimits(memory_bytes=None, n_files=1024), confine=False, n_threads=1)

    try:
        fork().close()
        monkeypatch.setattr(arm, "START_TIMEOUT_S", 0.3)
        os.kill(zygote._process.pid, signal.SIGSTOP)
        with pytest.raises(HarnessFailed, match="timed out"):
            fork()
        os.kill(zygote._process.pid, signal.SIGCONT)
        for _ in range(2):
            with pytest.raises(HarnessFailed, match="it failed before"):
                fork()
        assert turns.let_go == [False, True, True, True]
    finally:
        zygote.close()
