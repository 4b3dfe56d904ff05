"""Owns waiting for a slow call without going deaf to a stop; starts a thread, reads no clock."""

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TypeVar

from deep_agent.executor.action import ActionContext

ASK_EVERY_S = 0.2
"""How long a stop may go unnoticed."""

Answer = TypeVar("Answer")


def while_wanted(ctx: ActionContext, call: Callable[[], Answer]) -> Answer:
    """Make a call that cannot be interrupted, and stop waiting for it once the attempt is no longer wanted.

    The abandoned call runs on in its thread until it returns by itself; its answer is dropped.

    Raises:
        Interrupted: the attempt should stop.
        BaseException: whatever the call raised.
    """
    answers: SimpleQueue[tuple[Answer, None] | tuple[None, BaseException]] = SimpleQueue()

    def work() -> None:
        try:
            answers.put((call(), None))
        except BaseException as error:  # noqa: BLE001 - carried to the waiting thread, which raises it
            answers.put((None, error))

    threading.Thread(target=work, name="waited-for", daemon=True).start()
    while True:
        try:
            answer, error = answers.get(timeout=ASK_EVERY_S)
        except Empty:
            ctx.check()
            continue
        if error is not None:
            raise error
        return answer  # type: ignore[return-value]
