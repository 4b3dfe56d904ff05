"""Compares outputs with the reference's, by the published rule and by ours. Uses torch; pure otherwise.

Published: an element matches if |x - y| <= atol + rtol * |y|; a share of elements may miss, none by more than a cap where
there is one. Ours adds that no element may miss by far, so that a dropped tile never hides in the allowed share.
"""

from dataclasses import dataclass
from typing import Final

import torch

from deep_agent.problem.trace import Correctness, EvaluationStatus
from deep_agent.problem.workload import ToleranceSpec

FAR_FACTOR: Final = 8.0
"""No element may be off by more than this many tolerances, whatever share is allowed to miss. What is quantised is off by a
step at least, which says nothing about how far that is: there a cap decides, where a problem has one."""
_QUANTISED: Final = (torch.int8, torch.uint8)
"""Wider whole numbers are indices and counts, which are near nothing."""


_CHUNK_ELEMENTS: Final = 2**17
"""Elements compared at a time in double precision: small enough for a core's own cache."""
_CHUNK_ELEMENTS_ON_DEVICE: Final = 2**25
"""On a CUDA device the launches count."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What comparing one output found."""

    status: EvaluationStatus
    correctness: Correctness
    message: str = ""

    @property
    def matches(self) -> bool:
        """Whether the output counts as equal."""
        return self.status is EvaluationStatus.PASSED


@dataclass(slots=True)
class _Tally:
    """What was seen so far, over all chunks."""

    n_missed: int = 0
    first_missed: str = ""
    first_far: str = ""
    largest: float = 0.0
    largest_relative: float = 0.0
    all_zero: bool = True
    truth_all_zero: bool = True


def agrees(actual: torch.Tensor, expected: torch.Tensor, tolerance: ToleranceSpec) -> bool:
    """Whether every single element matches, at the outputs' own precision: quick, and stricter than `compare`.

    False says nothing yet: `compare` then decides.
    """
    # The library does not compute in floats of 8 bits.
    if actual.dtype != expected.dtype or not actual.is_floating_point() or actual.element_size() == 1:
        return bool(torch.equal(actual, expected))
    x_all, y_all = actual.reshape(-1), expected.reshape(-1)
    chunk = _chunk(actual)
    for start in range(0, x_all.numel(), chunk):
        x = x_all[start : start + chunk]
        y = y_all[start : start + chunk]
        allowed = y.abs().mul_(tolerance.max_rtol).add_(tolerance.max_atol)
        # Written so that NaN does not agree with anything.
        if not bool(((x - y).abs_() <= allowed).all()):
            return False
    return bool(x_all.any()) or not bool(y_all.any())


def _chunk(values: torch.Tensor) -> int:
    return _CHUNK_ELEMENTS_ON_DEVICE if values.is_cuda else _CHUNK_ELEMENTS


def compare(name: str, actual: torch.Tensor, expected: torch.Tensor, tolerance: ToleranceSpec) -> Comparison:
    """Compare one output; `expected` may be of higher precision. Shapes are equal by construction."""
    x_all, y_all = actual.reshape(-1), expected.reshape(-1)
    tally = _Tally()
    spared = (tolerance.max_error_cap or 0.0) if actual.dtype in _QUANTISED else 0.0
    chunk = _chunk(actual)
    for start in range(0, x_all.numel(), chunk):
        x = x_all[start : start + chunk].double()
        y = y_all[start : start + chunk].double()
        refused = _not_finite(name, start, x, y, tolerance)
        if refused is not None:
            return refused
        _count(tally, start, x, y, tolerance, spared=spared)
    return _conclude(name, tally, x_all.numel(), tolerance)


def _not_finite(name: str, start: int, x: torch.Tensor, y: torch.Tensor, tolerance: ToleranceSpec) -> Comparison | None:
    """Refuse values that are not finite, on either side, but a mutual -inf where that is allowed."""
    strange = ~(torch.isfinite(x) & torch.isfinite(y))
    if tolerance.allow_negative_inf:
        strange &= ~((x == -torch.inf) & (y == -torch.inf))
    if not bool(strange.any()):
        return None
    first = int(torch.nonzero(strange)[0])
    has_nan = bool(torch.isnan(x[first]))
    return _mismatch(Correctness(has_nan=has_nan, has_inf=not has_nan), f"{name}: {_element(start, first, x, y)}")


def _element(start: int, index: int, x: torch.Tensor, y: torch.Tensor) -> str:
    return f"element {start + index} is {x[index].item():.6g}, expected {y[index].item():.6g}"


def _count(
    tally: _Tally, start: int, x: torch.Tensor, y: torch.Tensor, tolerance: ToleranceSpec, *, spared: float
) -> None:
    error = (x - y).abs_().nan_to_num_(nan=0.0)
    allowed = y.abs().mul_(tolerance.max_rtol).add_(tolerance.max_atol)
    missed = error > allowed
    n_missed = int(missed.sum())
    if n_missed:
        tally.n_missed += n_missed
        tally.first_missed = tally.first_missed or _element(start, int(torch.nonzero(missed)[0]), x, y)
        far = error > allowed.mul_(FAR_FACTOR).add_(1e-30).clamp_min_(spared)
        if bool(far.any()):
            tally.first_far = tally.first_far or _element(start, int(torch.nonzero(far)[0]), x, y)
    tally.largest = max(tally.largest, float(error.max()))
    relative = error.div_(y.abs().clamp_min_(max(tolerance.max_atol, 1e-12)))
    tally.largest_relative = max(tally.largest_relative, float(relative.nan_to_num_(nan=0.0).max()))
    tally.all_zero &= not bool(x.any())
    tally.truth_all_zero &= not bool(y.any())


def _conclude(name: str, tally: _Tally, n_elements: int, tolerance: ToleranceSpec) -> Comparison:
    correctness = Correctness(max_absolute_error=tally.largest, max_relative_error=tally.largest_relative)
    cap = tolerance.max_error_cap
    if tally.all_zero and not tally.truth_all_zero:
        return _mismatch(correctness, f"{name}: all zeros, the reference is not")
    if n_elements and 1.0 - tally.n_missed / n_elements < tolerance.required_matched_ratio:
        counted = f"{tally.n_missed} of {n_elements} elements are off"
        return _mismatch(correctness, f"{name}: {counted} (the first: {tally.first_missed})")
    if cap is not None and tally.largest > cap:
        return _mismatch(correctness, f"{name}: largest error {tally.largest:.3g} is above the cap {cap:.3g}")
    if tally.first_far:
        why = f"more than {FAR_FACTOR:.0f} tolerances off, so the share that may miss does not cover it"
        return _mismatch(correctness, f"{name}: {tally.first_far}: {why}")
    return Comparison(EvaluationStatus.PASSED, correctness)


def _mismatch(correctness: Correctness, message: str) -> Comparison:
    return Comparison(EvaluationStatus.INCORRECT_NUMERICAL, correctness, message)
