"""A card's state: what the library's numbers become. The library is a small one of our own, where no card is."""

import subprocess
import time
from pathlib import Path

import pytest

from deep_agent.harness.timing.card_watch import CardReader, CardWatch, Sample, card_watch, summary

NVML = r"""
#include <string.h>
static int looks = 0;
int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetHandleByUUID(const char* uuid, void** card) { *card = (void*)&looks; return strcmp(uuid, "GPU-1") ? 6 : 0; }
int nvmlDeviceGetClockInfo(void* card, int which, unsigned* mhz) { *mhz = which == 1 ? 1980 - 10 * looks : 3201; return card ? 0 : 1; }
int nvmlDeviceGetPowerUsage(void* card, unsigned* mw) { *mw = 441460; return card ? 0 : 1; }
int nvmlDeviceGetTemperature(void* card, int which, unsigned* c) { *c = which ? 0 : 51; return card ? 0 : 1; }
int nvmlDeviceGetCurrentClocksThrottleReasons(void* card, unsigned long long* bits) { *bits = looks++ ? 0x4 : 0x1; return card ? 0 : 1; }
int nvmlDeviceGetTotalEnergyConsumption(void* card, unsigned long long* mj) { *mj = 1ull << 33; return card ? 0 : 1; }
int nvmlDeviceGetPcieThroughput(void* card, int way, unsigned* kib) { *kib = way ? 5000 : 2000; return card ? 0 : 1; }
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("nvml") / "libnvidia-ml.so.1"
    subprocess.run(["g++", "-xc", "-shared", "-fPIC", "-", "-o", str(made)], input=NVML.encode(), check=True)
    return made


def sample(at_s: float = 0.0, sm_mhz: int = 1980, throttles: int = 0, celsius: int = 50) -> Sample:
    return Sample(at_s=at_s, sm_mhz=sm_mhz, memory_mhz=3201, power_w=400.0, celsius=celsius, throttles=throttles)


def test_a_sample_is_read_in_the_units_it_names(library: Path):
    reader = CardReader("GPU-1", str(library))
    found = reader.read()
    assert (found.memory_mhz, found.power_w, found.celsius) == (3201, 441.46, 51)
    assert reader.energy_j() == pytest.approx(2**33 / 1e3)


def test_traffic_counts_to_the_host_and_from_it(library: Path):
    assert CardWatch(CardReader("GPU-1", str(library))).traffic_bytes_per_s() == (2000 * 1024, 5000 * 1024)


def test_a_card_that_is_not_there_is_an_error(library: Path):
    with pytest.raises(OSError, match="NVML says 6"):
        CardReader("GPU-2", str(library))


def test_a_machine_without_the_library_is_not_watched():
    assert card_watch("GPU-0") is None


def test_a_watch_samples_while_somebody_is_interested(library: Path):
    watch = CardWatch(CardReader("GPU-1", str(library)))
    assert watch.since(0.0) is None
    start_s = time.monotonic()
    watch.attend()
    deadline_s = start_s + 10
    while ((found := watch.since(start_s)) is None or found.n_samples < 3) and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert found is not None
    assert found.n_samples >= 3
    assert found.sm_clock_low_mhz < found.sm_clock_mhz < found.sm_clock_high_mhz
    assert watch.since(time.monotonic() + 1) is None


def test_samples_become_means_extremes_and_words():
    found = summary([sample(sm_mhz=1900, throttles=0x1 | 0x4), sample(sm_mhz=1980, throttles=0x20, celsius=61)])
    assert found is not None
    assert (found.sm_clock_mhz, found.sm_clock_low_mhz, found.sm_clock_high_mhz) == (1940, 1900, 1980)
    assert found.temperature_c == 61
    assert found.throttled_by == ("power cap", "software thermal")
    assert found.n_samples == 2


def test_an_idle_card_is_not_throttled():
    found = summary([sample(throttles=0x1), sample(throttles=0x2)])
    assert found is not None
    assert found.throttled_by == ()
