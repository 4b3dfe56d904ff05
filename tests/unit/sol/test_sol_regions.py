"""Regions: unions and reshapes agree with numpy, and err low where positions are unknown."""

from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deep_agent.sol.regions import Span, interval_boxes, is_known, reshaped, union_size, volume, whole
from deep_agent.sol.windows import Window


@st.composite
def boxes(draw, shape, steps=(1, 2)):
    spans = []
    for size in shape:
        step = draw(st.sampled_from(steps))
        start = draw(st.integers(0, size - 1))
        spans.append(Span(start, draw(st.integers(1, (size - 1 - start) // step + 1)), step))
    return tuple(spans)


def mask_of(box, shape):
    mask = np.zeros(shape, dtype=bool)
    mask[np.ix_(*(np.arange(s.count) * s.step + s.start for s in box))] = True
    return mask


shapes = st.lists(st.integers(1, 6), min_size=1, max_size=3)


@given(st.data(), shapes)
@settings(max_examples=60)
def test_a_union_counts_each_element_once(data, shape):
    parts = data.draw(st.lists(boxes(shape), min_size=1, max_size=4))
    expected = np.logical_or.reduce([mask_of(part, shape) for part in parts]).sum()
    assert union_size(parts, shape) == expected


@given(st.data(), shapes)
def test_a_box_at_an_unknown_place_never_adds_to_what_may_contain_it(data, shape):
    known = data.draw(boxes(shape))
    hidden = tuple(Span(None, span.count) for span in data.draw(boxes(shape)))
    assert union_size([known, hidden], shape) == max(volume(known), volume(hidden))


@given(
    st.data(),
    st.sampled_from(
        [
            ([4, 6], [24]),
            ([24], [4, 6]),
            ([2, 3, 4], [6, 4]),
            ([6, 4], [2, 3, 2, 2]),
            ([1, 5], [5]),
            ([5], [1, 5, 1]),
            ([4, 6], [6, 4]),
        ]
    ),
)
@settings(max_examples=150)
def test_a_reshaped_box_holds_the_same_elements_or_admits_it_does_not_know(data, case):
    old, new = case
    box = data.draw(boxes(old))
    result = reshaped(box, old, new)
    assert len(result) == len(new)
    if is_known(result):
        assert (mask_of(box, old).reshape(new) == mask_of(result, new)).all()
    else:
        assert volume(result) <= volume(box)


def test_the_whole_of_a_tensor_reshapes_to_the_whole():
    assert reshaped(whole([2, 3, 4]), [2, 3, 4], [4, 6]) == whole([4, 6])
    assert reshaped((), [], [1, 1]) == whole([1, 1])
    assert union_size([()], []) == prod([])


@given(st.data(), st.integers(2, 40), st.integers(1, 4))
def test_picked_positions_share_what_they_share(data, size, width):
    parts = data.draw(st.lists(st.sets(st.integers(0, size - 1), min_size=1), min_size=1, max_size=4))
    boxes = [(Span(None, len(part), picked=tuple(sorted(part))), Span(0, width)) for part in parts]
    assert union_size([*boxes, (Span(0, 1), Span(0, 1))], (size, width)) == len(
        {(row, column) for part in parts for row in part for column in range(width)} | {(0, 0)}
    )


@given(st.data(), shapes)
def test_a_run_of_the_flattened_tensor_is_cut_into_boxes_that_are_it(data, shape):
    total = prod(shape)
    start = data.draw(st.integers(0, total - 1))
    count = data.draw(st.integers(1, total - start))
    masks = [mask_of(box, shape) for box in interval_boxes(start, count, shape)]
    flat = np.sum(masks, axis=0).ravel()
    assert flat.tolist() == [int(start <= place < start + count) for place in range(total)]


@given(st.integers(1, 9), st.integers(1, 4), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2))
def test_a_window_meets_the_places_a_convolution_of_ones_counts(size, taps, stride, padding, dilation):
    steps = (size + 2 * padding - dilation * (taps - 1) - 1) // stride + 1
    if steps < 1:
        return
    met = [
        step * stride - padding + tap * dilation
        for step in range(steps)
        for tap in range(taps)
        if 0 <= step * stride - padding + tap * dilation < size
    ]
    window = Window(steps, taps, size, stride, padding, dilation)
    assert window.pairs() == len(met)
    assert window.touched(Span(0, steps)).count == len(set(met))


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_long_windows_touch_what_short_ones_do(stride):
    for steps in (1000, 2**22):
        size = (steps - 1) * stride + 3
        assert Window(steps, 3, size, stride).touched(Span(0, steps)) == Span(0, size)
        assert Window(steps, 3, size - 2, stride, 1).touched(Span(0, steps)) == Span(0, size - 2)
