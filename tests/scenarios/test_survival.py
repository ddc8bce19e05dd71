"""A few of the kills and troubles of `survival`, whose whole takes a quarter of an hour (`make chaos`)."""

from __future__ import annotations

import pytest

from tests.scenarios.survival import kills, network, stops


@pytest.mark.fault("F101", "F68")
def test_a_bot_that_is_killed_anywhere_leaves_one_exit_at_most_and_goes_on() -> None:
    seen = kills(6, seed=2)
    assert seen.verdict is not None
    assert (seen.verdict.most_live, seen.verdict.left_open) == (1, [])


@pytest.mark.fault("F1", "F9", "F15")
def test_a_network_that_misbehaves_and_heals_costs_neither_an_order_nor_half_a_minute() -> None:
    seen = network(12, seed=3)
    assert seen.verdict is not None
    assert (seen.verdict.most_live, seen.verdict.left_open) == (1, [])


@pytest.mark.fault("F100", "F102")
def test_a_stop_at_any_moment_ends_in_time_and_leaves_nothing_untold() -> None:
    seen = stops(6, seed=4)
    assert seen.verdict is not None
    assert (seen.verdict.most_live, seen.verdict.left_open) == (1, [])
