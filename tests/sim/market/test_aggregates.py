"""Aggregate trades that can be asked for: by id, by time, the newest; bounded."""

from __future__ import annotations

from tetrio.sim.market.aggregates import Aggregates
from tetrio.sim.market.events import AggTrade


def filled(count: int, *, kept: int = 1000, step_ms: int = 10) -> Aggregates:
    held = Aggregates(kept)
    for at in range(count):
        held.append(AggTrade(100 + at, 7, 50 + at, 2 * at, 2 * at + 1, at * step_ms, bool(at % 2)))
    return held


def ids(found: list[AggTrade]) -> list[int]:
    return [each.agg_id for each in found]


def test_they_come_back_as_they_went_in() -> None:
    assert filled(3).newest(1) == [AggTrade(102, 7, 52, 4, 5, 20, False)]
    assert filled(0).newest(5) == []


def test_by_id_by_time_and_the_newest() -> None:
    held = filled(10)
    assert ids(held.from_id(57, 2)) == [57, 58]
    assert ids(held.from_id(1, 2)) == [50, 51], "from the oldest there is"
    assert ids(held.from_id(70, 2)) == []
    assert ids(held.within(30, None, 3)) == [53, 54, 55]
    assert ids(held.within(31, 50, 9)) == [54, 55]
    assert ids(held.within(None, 50, 2)) == [54, 55], "without a start the newest"
    assert ids(held.newest(2)) == [58, 59]


def test_times_that_step_back_are_found() -> None:
    held = Aggregates()
    for number, at_ms in enumerate((10, 30, 20, 40)):
        held.append(AggTrade(1, 1, number, number, number, at_ms, False))
    assert ids(held.within(15, None, 9)) == [1, 2, 3]
    assert ids(held.within(25, None, 9)) == [1, 3]


def test_memory_is_bounded() -> None:
    held = filled(5000, kept=100)
    assert 100 <= len(held) <= 113
    assert ids(held.newest(1)) == [5049]
    assert ids(held.from_id(0, 1))[0] >= 4937
