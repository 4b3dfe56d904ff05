"""What an arm's process says of a burst. It is believed in nothing, so what is no time or digest at all ends the arm."""

import array
import os
from dataclasses import dataclass
from math import isfinite
from typing import Self

from deep_agent.harness.arms.arm import ArmFailed
from deep_agent.harness.sandbox.witness import SALT_VALUES


@dataclass(frozen=True, slots=True)
class Claims:
    """What an arm's events and its witness say of a burst."""

    calls_us: list[float]
    whole_us: float
    """From the end of the hold to the end of an emptying that follows the last call; there is one more of them than calls."""
    salt: int
    digests: list[float]
    """What the witness found then of each binding's results, in the order of their first calls."""

    @classmethod
    def read(cls, fd: int, n_calls: int, n_results: int) -> Self:
        """Read the doubles that `bursts` wrote; raises ArmFailed where they are none of those that are due."""
        try:
            claimed = array.array("d", os.pread(fd, 8 * (n_calls + 2 + n_results), 0))
        except ValueError as error:
            raise ArmFailed("the times it claims for a burst are torn.") from error
        if len(claimed) != n_calls + 2 + n_results:
            raise ArmFailed("what it claims of a burst is not all of the times and digests that are due.")
        *times_us, salt = claimed[: n_calls + 2]
        are_times = all(isfinite(one) and one > 0 for one in times_us)
        if not are_times or not 0 <= salt < SALT_VALUES or not salt.is_integer():
            raise ArmFailed("what it claims of a burst is none of the times and salts that there are.")
        return cls(times_us[:n_calls], times_us[n_calls], int(salt), claimed[n_calls + 2 :].tolist())
