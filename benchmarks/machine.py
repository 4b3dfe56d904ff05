"""Says what figures come from: the card or the processor, and the versions beside it. Reads only; loads no torch."""

import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version

from deep_agent.harness.builds.compilers import Compiler, Gxx, Nvcc
from deep_agent.sol.machine import this_machine

CARD_FIELDS = (
    "name,driver_version,clocks.sm,clocks.mem,power.draw,power.limit,temperature.gpu,clocks_throttle_reasons.active"
)


def machine(device: str) -> dict[str, object]:
    """Describe a device as it is now: clocks of a card, load of a processor."""
    said = compiler_of(device).version().splitlines()
    return {
        **({"card": card(card_index(device))} if device.startswith("cuda") else {}),
        "processor": this_machine().model,
        "n_cores": this_machine().n_cores,
        "load_average": os.getloadavg()[0],
        "python": platform.python_version(),
        "torch": _version("torch"),
        "apache-tvm-ffi": _version("apache-tvm-ffi"),
        "compiler": next((line for line in said if re.search(r"\d+\.\d+", line)), "unknown"),
    }


def compiler_of(device: str) -> Compiler:
    """Give the compiler the judge uses for `cpu`, `cuda` or `cuda:N`."""
    if not device.startswith("cuda"):
        return Gxx()
    return Nvcc(_asked_of_card("compute_cap", card_index(device))[0].replace(".", ""))


def card_index(device: str) -> int:
    """Read the number off `cuda:N`; `cuda` is the first."""
    return int(device.partition(":")[2] or 0)


def _version(package: str) -> str:
    """Read an installed package's version; `unknown` for one that was put there without its metadata."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def card(index: int = 0) -> dict[str, str]:
    """Read what a card does now: clocks, power, temperature, what throttles it."""
    return dict(zip(CARD_FIELDS.split(","), _asked_of_card(CARD_FIELDS, index), strict=True))


def _asked_of_card(fields: str, index: int) -> list[str]:
    asked = subprocess.run(
        ["nvidia-smi", "-i", str(index), f"--query-gpu={fields}", "--format=csv,noheader"],
        capture_output=True,
        text=True,
        check=True,
    )
    return [field.strip() for field in asked.stdout.splitlines()[0].split(",")]
