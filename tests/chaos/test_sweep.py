"""A few points of the sweeps: died at a step, cut behind a byte, and all is well again."""

from __future__ import annotations

import collections

import pytest

from tetrio.chaos import sweep
from tetrio.chaos.states import STATES

SEED, SECONDS = 1, sweep.KILLED_S


@pytest.fixture(scope="module")
def length() -> sweep.Length:
    return sweep.measure(SEED, SECONDS)


def test_an_episode_visits_the_states_that_one_can_die_in(length: sweep.Length) -> None:
    assert set(length.states.values()) == set(STATES)


@pytest.mark.fault("F68", "F84", "F100", "F101")
@pytest.mark.parametrize("state", STATES)
def test_a_bot_that_dies_in_that_state_is_mended_by_the_next(length: sweep.Length, state: str) -> None:
    """S12, as far as the exchange can see it: F68, F84, F101."""
    step = next(step for step, seen in length.states.items() if seen == state)
    point = sweep.kill_at(SEED, SECONDS, step, state)
    assert point.violations == [], point.last


@pytest.mark.fault("F9", "F23", "F43")
@pytest.mark.parametrize("direction", ["in", "out"])
@pytest.mark.parametrize("byte", [1, 700, 1800])
def test_a_link_that_is_cut_behind_a_byte_is_mended(direction: str, byte: int) -> None:
    """F9, F23, F43."""
    point = sweep.cut_at(SEED, byte, direction)
    assert point.state == direction, "the cut has struck"
    assert point.violations == [], point.last


def test_points_are_spread_evenly_over_the_states() -> None:
    counts = collections.Counter(each.state for each in sweep.steps(SEED, 50, SECONDS))
    assert counts == dict.fromkeys(STATES, 5)
