"""Watches a card while arms are timed: clocks, power, temperature, throttling, traffic. Only reads; loads libnvidia-ml."""

import contextlib
import ctypes
import time
from collections import deque
from dataclasses import dataclass
from threading import Thread
from typing import Final

from deep_agent.problem.evaluation import DeviceState

LIBRARY: Final = "libnvidia-ml.so.1"
PERIOD_S: Final = 0.025
"""Between samples; the library itself renews its figures about this often, or less."""
_UNATTENDED_S: Final = 5.0
"""After the last sign of interest the watch ends by itself."""
_KEPT: Final = 8192
_SM_CLOCK, _MEMORY_CLOCK = 1, 2
_DIE = 0
_LEAVING, _ENTERING = 0, 1
_SUCCESS = 0

THROTTLES: Final = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "software thermal",
    0x40: "hardware thermal",
    0x80: "power brake",
}
"""Bits of nvmlClocksEventReasons that say the card was held back; idling and chosen clocks (0x1, 0x2, 0x100) do not."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a card."""

    at_s: float
    """On the monotonic clock."""
    sm_mhz: int
    memory_mhz: int
    power_w: float
    celsius: int
    throttles: int
    """Bits as the library gives them."""


class CardReader:
    """Reads one card's state. Every figure is a call into the driver, some tens of microseconds each."""

    def __init__(self, uuid: str, library: str = LIBRARY) -> None:
        """Find the card by its UUID, `GPU-...`; raises OSError where library or card is missing."""
        self._library = ctypes.CDLL(library)
        self._card = ctypes.c_void_p()
        self._must(self._library.nvmlInit_v2())
        self._must(self._library.nvmlDeviceGetHandleByUUID(uuid.encode(), ctypes.byref(self._card)))

    def read(self) -> Sample:
        """Look once; raises OSError where the card no longer answers."""
        return Sample(
            at_s=time.monotonic(),
            sm_mhz=self._number("nvmlDeviceGetClockInfo", _SM_CLOCK),
            memory_mhz=self._number("nvmlDeviceGetClockInfo", _MEMORY_CLOCK),
            power_w=self._number("nvmlDeviceGetPowerUsage") / 1e3,
            celsius=self._number("nvmlDeviceGetTemperature", _DIE),
            throttles=self._number("nvmlDeviceGetCurrentClocksThrottleReasons", wide=True),
        )

    def energy_j(self) -> float:
        """Energy the card has used since its driver was loaded, in joules; raises OSError."""
        return self._number("nvmlDeviceGetTotalEnergyConsumption", wide=True) / 1e3

    def traffic_bytes_per_s(self) -> tuple[float, float]:
        """Traffic to the host and from it, each over 20 ms from now on; raises OSError where it is not counted."""
        leaving, entering = (self._number("nvmlDeviceGetPcieThroughput", way) for way in (_LEAVING, _ENTERING))
        return 1024.0 * leaving, 1024.0 * entering

    def _number(self, function: str, *which: int, wide: bool = False) -> int:
        found = ctypes.c_ulonglong() if wide else ctypes.c_uint()
        self._must(getattr(self._library, function)(self._card, *which, ctypes.byref(found)))
        return found.value

    @staticmethod
    def _must(code: int) -> None:
        if code != _SUCCESS:
            raise OSError(f"the card's state cannot be read: NVML says {code}")


class CardWatch:
    """Samples a card on a thread of its own, for as long as somebody shows interest."""

    def __init__(self, reader: CardReader) -> None:
        """Watch nothing yet."""
        self._reader = reader
        self._samples: deque[Sample] = deque(maxlen=_KEPT)
        self._attended_s = 0.0
        self._thread: Thread | None = None

    def attend(self) -> None:
        """Go on watching, or begin to."""
        self._attended_s = time.monotonic()
        if self._thread is None or not self._thread.is_alive():
            self._thread = Thread(target=self._run, name="card-watch", daemon=True)
            self._thread.start()

    def since(self, start_s: float) -> DeviceState | None:
        """Sum up the samples from `start_s` on the monotonic clock until now; None where there are none."""
        return summary([sample for sample in list(self._samples) if sample.at_s >= start_s])

    def energy_j(self) -> float | None:
        """Energy the card has used so far, in joules; None where it does not count."""
        try:
            return self._reader.energy_j()
        except OSError:
            return None

    def traffic_bytes_per_s(self) -> tuple[float, float] | None:
        """Traffic to the host and from it, each over 20 ms from now on; None where it is not counted."""
        try:
            return self._reader.traffic_bytes_per_s()
        except (OSError, AttributeError):
            return None

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while time.monotonic() - self._attended_s < _UNATTENDED_S:
                self._samples.append(self._reader.read())
                time.sleep(PERIOD_S)


def summary(samples: list[Sample]) -> DeviceState | None:
    """Put samples into one value; None where there are none."""
    if not samples:
        return None
    n, seen = len(samples), 0
    for sample in samples:
        seen |= sample.throttles
    return DeviceState(
        sm_clock_mhz=sum(sample.sm_mhz for sample in samples) / n,
        sm_clock_low_mhz=min(sample.sm_mhz for sample in samples),
        sm_clock_high_mhz=max(sample.sm_mhz for sample in samples),
        memory_clock_mhz=sum(sample.memory_mhz for sample in samples) / n,
        power_w=sum(sample.power_w for sample in samples) / n,
        temperature_c=max(sample.celsius for sample in samples),
        throttled_by=tuple(words for bit, words in THROTTLES.items() if seen & bit),
        n_samples=n,
    )


def card_watch(uuid: str) -> CardWatch | None:
    """Open a watch over a card; None where its state cannot be read here, which costs no verdict."""
    try:
        return CardWatch(CardReader(uuid))
    except (OSError, AttributeError):
        return None
