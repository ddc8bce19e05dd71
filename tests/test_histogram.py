"""A histogram says what sorted values say, as nearly as it promises."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrio.histogram import MOST_NS, Histogram

VALUES = st.lists(st.one_of(st.integers(0, 200), st.integers(0, MOST_NS)), min_size=1, max_size=300)
OFF = 1 / 64


def recorded(values: list[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


@given(VALUES, st.floats(0, 1))
def test_a_percentile_is_that_of_the_sorted_values(values: list[int], q: float) -> None:
    true = sorted(values)[max(1, math.ceil(q * len(values))) - 1]
    assert abs(recorded(values).percentile(q) - true) <= true * OFF


@given(VALUES, VALUES)
def test_two_merged_are_one_that_was_told_all(some: list[int], others: list[int]) -> None:
    merged, whole = recorded(some), recorded(some + others)
    merged.merge(recorded(others))
    assert merged.count == whole.count
    assert merged.most_ns == whole.most_ns
    assert [merged.percentile(q / 10) for q in range(11)] == [whole.percentile(q / 10) for q in range(11)]


def test_what_is_out_of_bounds_counts_as_the_bound() -> None:
    histogram = recorded([-5, MOST_NS * 1000])
    assert histogram.percentile(0.5) == 0
    assert histogram.percentile(1) == pytest.approx(MOST_NS, rel=OFF)
    assert histogram.most_ns == MOST_NS


def test_the_longest_is_told_exactly_and_nothing_beyond_it() -> None:
    histogram = recorded([1_000_001] * 3)
    assert histogram.percentile(0.99) <= histogram.most_ns == 1_000_001


def test_after_a_reset_nothing_was_recorded() -> None:
    histogram = recorded([1, 2, 3])
    histogram.reset()
    assert (histogram.count, histogram.most_ns) == (0, 0)
    with pytest.raises(ValueError, match="nothing was recorded"):
        histogram.percentile(0.5)
