"""Owns the specs of known devices and finding one by name; figures and their sources, nothing else.

A multiply-add is two operations: 2 x `mac_per_clk_per_sm` x `sm_count` x the sheet's clock is the sheet's dense peak.
"""

import re
from difflib import get_close_matches

from deep_agent.errors import InvalidInput
from deep_agent.problem.device import DeviceModel
from deep_agent.problem.spec import DeviceSpec, MacPath, SheetRate

KIB, MIB, GIB = 2**10, 2**20, 2**30
_H200_SEEN = "an H200 host, November 2026"
_H100_SEEN = "an H100 80GB HBM3 host"


def _rates(clock_hz: float, **tflops: float) -> tuple[SheetRate, ...]:
    """Write rows of a sheet that share a clock."""
    return tuple(
        SheetRate.model_validate({"path": path, "tflops": t, "clock_hz": clock_hz}) for path, t in tflops.items()
    )


def _sources(told: str, **special: str) -> dict[str, str]:
    """Give every field the same source, save those named."""
    return {**dict.fromkeys(_TOLD, told), **special}


_TOLD = (
    "sm_count",
    "mac_per_clk_per_sm",
    "sm_clock_max_hz",
    "dram_bytes_per_s",
    "memory_clock_hz",
    "memory_bus_bits",
    "dram_bytes",
    "l2_bytes",
    "smem_bytes_per_sm",
    "sfu_per_clk_per_sm",
    "sheet",
)
_HOPPER_MACS: dict[MacPath, int] = {
    "fp16": 2048,
    "bf16": 2048,
    "tf32": 1024,
    "fp8": 4096,
    "int8": 4096,
    "fp32": 128,
    "fp64": 128,
}
_HOPPER_SHEET = (
    *_rates(1.83e9, fp16=989.5, bf16=989.5, tf32=494.7, fp8=1979, int8=1979),
    *_rates(1.98e9, fp32=66.9, fp64=66.9),
)
_HOPPER_WORDS = "NVIDIA H100 architecture white paper: rates of the SM, full and SXM5 product tables"

H200 = DeviceSpec(
    name="H200",
    aliases=("h200", "h200sxm", "h200141gb"),
    cards=("NVIDIA H200",),
    sm_count=132,
    mac_per_clk_per_sm=_HOPPER_MACS,
    sm_clock_max_hz=1.98e9,
    dram_bytes_per_s=4.8e12,
    memory_clock_hz=3201e6,
    memory_bus_bits=6144,
    dram_bytes=141 * GIB,
    l2_bytes=60 * MIB,
    smem_bytes_per_sm=228 * KIB,
    sfu_per_clk_per_sm=16,
    sheet=_HOPPER_SHEET,
    source=_sources(
        "NVIDIA H200 data sheet",
        mac_per_clk_per_sm=_HOPPER_WORDS,
        smem_bytes_per_sm=_HOPPER_WORDS,
        sfu_per_clk_per_sm="CUDA programming guide, arithmetic throughput of compute capability 9.0",
        sm_clock_max_hz="the driver's maximum SM clock",
        memory_clock_hz="the driver's maximum memory clock, two transfers a clock on 6144 pins",
        l2_bytes="torch device properties",
    ),
    verified_on=dict.fromkeys(
        ("sm_count", "sm_clock_max_hz", "memory_clock_hz", "memory_bus_bits", "l2_bytes"), _H200_SEEN
    ),
)

H100 = DeviceSpec(
    name="H100 SXM",
    aliases=("h100", "h100sxm", "h100sxm5", "h10080gbhbm3"),
    cards=("NVIDIA H100 80GB HBM3",),
    sm_count=132,
    mac_per_clk_per_sm=_HOPPER_MACS,
    sm_clock_max_hz=1.98e9,
    dram_bytes_per_s=3.35e12,
    memory_clock_hz=2619e6,
    memory_bus_bits=5120,
    dram_bytes=80 * GIB,
    l2_bytes=50 * MIB,
    smem_bytes_per_sm=228 * KIB,
    sfu_per_clk_per_sm=16,
    sheet=_HOPPER_SHEET,
    source=_sources(
        "NVIDIA H100 data sheet, SXM column",
        mac_per_clk_per_sm=_HOPPER_WORDS,
        smem_bytes_per_sm=_HOPPER_WORDS,
        sfu_per_clk_per_sm="CUDA programming guide, arithmetic throughput of compute capability 9.0",
        sm_clock_max_hz="the driver's maximum SM clock",
        memory_clock_hz="the driver's maximum memory clock, two transfers a clock on 5120 pins",
        l2_bytes=_HOPPER_WORDS,
    ),
    verified_on=dict.fromkeys(
        ("sm_count", "sm_clock_max_hz", "memory_clock_hz", "memory_bus_bits", "l2_bytes"), _H100_SEEN
    ),
)

A100 = DeviceSpec(
    name="A100 SXM 80GB",
    aliases=("a100", "a100sxm", "a100sxm4", "a10080gb", "a100sxm480gb", "a100sxm80gb"),
    cards=("NVIDIA A100-SXM4-80GB", "A100-SXM4-80GB"),
    sm_count=108,
    mac_per_clk_per_sm={"fp16": 1024, "bf16": 1024, "tf32": 512, "int8": 2048, "fp32": 64, "fp64": 64},
    sm_clock_max_hz=1.41e9,
    dram_bytes_per_s=2.039e12,
    memory_clock_hz=1593e6,
    memory_bus_bits=5120,
    dram_bytes=80 * GIB,
    l2_bytes=40 * MIB,
    smem_bytes_per_sm=164 * KIB,
    sfu_per_clk_per_sm=16,
    sheet=_rates(1.41e9, fp16=312, bf16=312, tf32=156, int8=624, fp32=19.5, fp64=19.5),
    source=_sources(
        "NVIDIA A100 data sheet, 80GB SXM column",
        mac_per_clk_per_sm="NVIDIA A100 architecture white paper",
        smem_bytes_per_sm="NVIDIA A100 architecture white paper",
        l2_bytes="NVIDIA A100 architecture white paper",
        sfu_per_clk_per_sm="CUDA programming guide, arithmetic throughput of compute capability 8.0",
        memory_clock_hz="the driver's maximum memory clock as users print it, two transfers a clock on 5120 pins",
    ),
    verified_on={},
)

B200 = DeviceSpec(
    name="B200",
    aliases=("b200", "b200sxm", "b200180gb"),
    cards=("NVIDIA B200",),
    sm_count=148,
    mac_per_clk_per_sm={
        "fp16": 4096,
        "bf16": 4096,
        "tf32": 2048,
        "fp8": 8192,
        "int8": 8192,
        "nvfp4": 16384,
        "fp32": 128,
        "fp64": 64,
    },
    sm_clock_max_hz=1.965e9,
    dram_bytes_per_s=8.0e12,
    dram_bytes=180 * GIB,
    l2_bytes=126 * MIB,
    smem_bytes_per_sm=228 * KIB,
    sfu_per_clk_per_sm=16,
    sheet=(
        *_rates(1.86e9, fp16=2250, bf16=2250, tf32=1125, fp8=4500, int8=4500, nvfp4=9000),
        *_rates(1.965e9, fp32=75, fp64=37),
    ),
    source=_sources(
        "NVIDIA HGX B200 data sheet, an eighth of the board, dense",
        mac_per_clk_per_sm="derived from the sheet's dense peaks, 148 SMs and 1.86 GHz",
        sm_clock_max_hz="the driver's maximum SM clock as users print it",
        l2_bytes="device properties as users print them; a public bound model says 192 MB",
        smem_bytes_per_sm="CUDA programming guide, compute capability 10.0",
        sfu_per_clk_per_sm="CUDA programming guide, arithmetic throughput of compute capability 10.0",
    ),
    verified_on={},
)

L40S = DeviceSpec(
    name="L40S",
    aliases=("l40s",),
    cards=("NVIDIA L40S",),
    sm_count=142,
    mac_per_clk_per_sm={"fp16": 512, "bf16": 512, "tf32": 256, "fp8": 1024, "int8": 1024, "fp32": 128, "fp64": 2},
    sm_clock_max_hz=2.52e9,
    dram_bytes_per_s=864e9,
    memory_clock_hz=9001e6,
    memory_bus_bits=384,
    dram_bytes=48 * GIB,
    l2_bytes=96 * MIB,
    smem_bytes_per_sm=100 * KIB,
    sfu_per_clk_per_sm=16,
    sheet=_rates(2.52e9, fp16=362.05, bf16=362.05, tf32=183, fp8=733, int8=733, fp32=91.6, fp64=1.431),
    source=_sources(
        "NVIDIA L40S data sheet; of each pair of tensor figures the dense one",
        mac_per_clk_per_sm="NVIDIA Ada architecture white paper, professional products: fp32 sums at full rate",
        l2_bytes="NVIDIA Ada architecture white paper, full AD102; some lists say 48 MB, and a gate wants the larger",
        smem_bytes_per_sm="CUDA programming guide, compute capability 8.9",
        sfu_per_clk_per_sm="CUDA programming guide, arithmetic throughput of compute capability 8.9",
        memory_clock_hz="18 Gbit/s GDDR6 as the driver reports it, two transfers a clock on 384 pins",
    ),
    verified_on={},
)

RTX_4090 = DeviceSpec(
    name="RTX 4090",
    aliases=("rtx4090", "4090", "geforcertx4090"),
    cards=("NVIDIA GeForce RTX 4090",),
    sm_count=128,
    mac_per_clk_per_sm={"fp16": 512, "bf16": 256, "tf32": 128, "fp8": 1024, "int8": 1024, "fp32": 128, "fp64": 2},
    sm_clock_max_hz=3.105e9,
    dram_bytes_per_s=1.008e12,
    memory_clock_hz=10501e6,
    memory_bus_bits=384,
    dram_bytes=24 * GIB,
    l2_bytes=72 * MIB,
    smem_bytes_per_sm=100 * KIB,
    sfu_per_clk_per_sm=16,
    sheet=_rates(2.52e9, fp16=330.3, bf16=165.2, tf32=82.6, fp8=660.6, int8=660.6, fp32=82.6, fp64=1.29),
    source=_sources(
        "NVIDIA Ada architecture white paper, table of the GeForce RTX 4090",
        mac_per_clk_per_sm="NVIDIA Ada architecture white paper; fp16 and fp8 with fp16 sums, the fastest path they have",
        sm_clock_max_hz="the driver's maximum SM clock as users print it; boards run above the sheet's 2.52 GHz boost",
        smem_bytes_per_sm="CUDA programming guide, compute capability 8.9",
        sfu_per_clk_per_sm="CUDA programming guide, arithmetic throughput of compute capability 8.9",
        memory_clock_hz="the driver's memory clock as a public benchmark log prints it, 384 pins",
    ),
    verified_on={},
)

MI300X = DeviceSpec(
    name="MI300X",
    aliases=("mi300x", "instinctmi300x"),
    cards=("AMD Instinct MI300X", "AMD Instinct MI300X OAM"),
    sm_count=304,
    mac_per_clk_per_sm={
        "fp16": 1024,
        "bf16": 1024,
        "tf32": 512,
        "fp8": 2048,
        "int8": 2048,
        "fp32": 128,
        "fp64": 128,
    },
    sm_clock_max_hz=2.1e9,
    dram_bytes_per_s=5.325e12,
    dram_bytes=192 * GIB,
    l2_bytes=256 * MIB,
    smem_bytes_per_sm=64 * KIB,
    sheet=_rates(2.1e9, fp16=1307.4, bf16=1307.4, tf32=653.7, fp8=2614.9, int8=2614.9, fp32=163.4, fp64=163.4),
    source=_sources(
        "AMD Instinct MI300X data sheet",
        mac_per_clk_per_sm="AMD CDNA 3 white paper, operations a clock and compute unit, halved",
        dram_bytes_per_s="AMD Instinct MI300X data sheet: 5.2 Gbit/s on 8192 pins, which it rounds to 5.3 TB/s",
        l2_bytes="AMD CDNA 3 white paper: the shared Infinity Cache, the last before DRAM; the L2s hold 4 MB a die",
        smem_bytes_per_sm="AMD CDNA 3 white paper: local data share",
    ),
    verified_on={},
)

SPECS = (H200, H100, A100, B200, L40S, RTX_4090, MI300X)


def known_names() -> tuple[str, ...]:
    """List the devices that have a spec, as `spec_named` takes them."""
    return tuple(spec.aliases[0] for spec in SPECS)


def spec_named(name: str) -> DeviceSpec | None:
    """Find a spec by any usual spelling, such as `H200`, `nvidia-h200`, `RTX 4090`; None when there is none."""
    plain = re.sub(r"^(nvidia|amd)", "", re.sub(r"[^a-z0-9]", "", name.lower()))
    return next((spec for spec in SPECS if plain in spec.aliases), None)


def spec_of_card(name: str) -> DeviceSpec:
    """Find the spec of a card by the name its driver gives it.

    Raises:
        InvalidInput: no spec is of this very card; a PCIe or laptop sibling has other rates and is not taken for it.
    """
    wanted = " ".join(name.split()).lower()
    found = next((spec for spec in SPECS if wanted in {card.lower() for card in spec.cards}), None)
    if found is None:
        cards = [card for spec in SPECS for card in spec.cards]
        close = get_close_matches(name, cards, n=1, cutoff=0.6)
        near = f" The nearest is {close[0]!r}, which is another card." if close else ""
        raise InvalidInput(
            f"card {name!r} has no device spec; known cards: {', '.join(cards)}.{near}",
            remedy="Add a spec to deep_agent/problem/cards.py, with a source for every figure.",
        )
    return found


def spec_for_card(name: str) -> DeviceModel:
    """Give the rates of a card by the name its driver gives it; raises as `spec_of_card`."""
    return spec_of_card(name).model()
