"""A server that runs jobs of cheap actions until it is killed; started as a program by the chaos test.

Usage: `python -m tests.integration.engine_chaos HOME`.
"""

import random
import sys
import time
from pathlib import Path

from deep_agent.executor.action import ActionContext
from deep_agent.htdag.outcome import Outcome
from tests.integration.engine_builders import ToyVary, Wired, toy_actions


class Jittery(ToyVary):
    """Takes a few milliseconds, now and then many."""

    def run(self, inputs, ctx: ActionContext) -> Outcome:
        time.sleep(random.random() * 0.05)
        return super().run(inputs, ctx)


def main() -> None:
    home = Path(sys.argv[1])
    with Wired(home, actions=toy_actions(sleep_s=0.02) | {"vary": Jittery()}, n_steps=6) as wired:
        print("serving", flush=True)
        while wired.storage.store.running_jobs():
            time.sleep(0.05)
        wired.engine.flush(timeout_s=20)
    print("ended", flush=True)


if __name__ == "__main__":
    main()
