"""Lanes inside the process."""

import threading

from deep_agent.htdag.hop import Hint, Verb
from deep_agent.queues.lanes import InProcessLanes


def a_hint(name: str, lane="think", priority=0.0, attempt=1) -> Hint:
    return Hint(verb=Verb.RUN, node_id=name, job_id="j", attempt=attempt, lane=lane, priority=priority)


class Gate:
    """Handles one hint at a time, when it is let."""

    def __init__(self):
        self.seen = []
        self.let = threading.Semaphore(0)
        self.entered = threading.Semaphore(0)

    def __call__(self, hint):
        self.entered.release()
        self.let.acquire()
        self.seen.append(hint.node_id)


def test_lower_priority_goes_first_and_a_waiting_hint_is_not_doubled():
    lanes, gate = InProcessLanes({"think": 1}), Gate()
    lanes.publish((a_hint("first"),))
    lanes.start(gate)
    gate.entered.acquire()
    lanes.publish(
        (a_hint("late", priority=5), a_hint("soon", priority=1), a_hint("soon", priority=1), a_hint("now", priority=-1))
    )
    for _ in range(4):
        gate.let.release()
    for _ in range(3):
        gate.entered.acquire()
    while len(gate.seen) < 4:
        threading.Event().wait(0.01)
    assert lanes.stop(timeout_s=5)
    assert gate.seen == ["first", "now", "soon", "late"]


def test_a_full_lane_does_not_hold_up_another():
    lanes, gate = InProcessLanes({"think": 1, "cpu": 1}), Gate()
    lanes.start(gate)
    lanes.publish((a_hint("slow"), a_hint("quick", lane="cpu")))
    gate.entered.acquire()
    gate.entered.acquire()
    gate.let.release()
    gate.let.release()
    assert lanes.stop(timeout_s=5)
    assert sorted(gate.seen) == ["quick", "slow"]


def test_stopping_takes_no_further_hint_and_says_when_one_does_not_end():
    lanes, gate = InProcessLanes({"think": 1}), Gate()
    lanes.start(gate)
    lanes.publish((a_hint("a"), a_hint("b")))
    gate.entered.acquire()
    assert not lanes.stop(timeout_s=0.05)
    gate.let.release()
    assert lanes.stop(timeout_s=5)
    assert gate.seen == ["a"]


def test_a_stop_while_the_lanes_start_waits_for_no_thread_that_never_ran():
    for _ in range(30):
        lanes = InProcessLanes({"think": 4, "cpu": 4})
        starting = threading.Thread(target=lanes.start, args=(lambda _hint: None,))
        starting.start()
        assert lanes.stop(timeout_s=5.0)
        starting.join()
