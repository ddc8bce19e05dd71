"""What may be sent now: order counts, back-off, the breaker."""

from __future__ import annotations

import pytest

from tetrio.core.limits import DAY, SECOND, Breakers, DailyOrders, OrderBudget, Refusals

MS = 1_000_000


def budget() -> OrderBudget:
    made = OrderBudget()
    made.limit("SECOND", 10, 100)
    made.limit("DAY", 1, 200_000)
    return made


@pytest.mark.fault("F118", "F39")
def test_a_fifth_of_the_order_count_is_held_back() -> None:
    spent = budget()
    now = 1_000_003 * SECOND
    for _ in range(80):
        assert spent.free_at(now) <= now
        spent.sent(now)
    assert spent.free_at(now) == 1_000_010 * SECOND, "windows are aligned to the clock"
    assert spent.free_at(1_000_010 * SECOND) <= 1_000_010 * SECOND


def test_the_exchanges_count_replaces_ours() -> None:
    spent = budget()
    now = 5 * SECOND
    spent.sent(now)
    spent.reported("SECOND", 10, 90, now)
    assert spent.free_at(now) == 10 * SECOND
    spent.reported("SECOND", 10, 3, now)
    assert spent.free_at(now) <= now


@pytest.mark.fault("F39")
def test_a_refusal_for_too_many_orders_closes_the_shortest_window() -> None:
    spent = budget()
    spent.exceeded(12 * SECOND)
    assert spent.free_at(12 * SECOND) == 20 * SECOND


@pytest.mark.fault("F59")
def test_post_only_rejections_back_off_from_50_to_800_ms() -> None:
    refusals, waits = Refusals(), []
    for _ in range(7):
        refusals.would_match(0)
        waits.append(refusals.not_before_ns // MS)
    assert waits == [50, 100, 200, 400, 800, 800, 800]
    refusals.accepted()
    assert refusals.not_before_ns == 0


@pytest.mark.fault("F58", "F62")
def test_three_identical_refusals_leave_one_probe_a_minute() -> None:
    refusals = Refusals()
    assert not refusals.refused(-2010, "no money", 0)
    assert not refusals.refused(-2010, "no money", SECOND)
    assert refusals.refused(-2010, "no money", 2 * SECOND)
    assert refusals.not_before_ns == 62 * SECOND
    assert not refusals.refused(-1013, "another", 62 * SECOND), "another refusal counts anew"


def test_the_daily_bound_ends_with_the_day() -> None:
    daily = DailyOrders(2)
    daily.sent(DAY + 1)
    assert daily.free_at(DAY + 1) == 0
    daily.sent(DAY + 2)
    assert daily.free_at(DAY + 3) == 2 * DAY
    assert daily.free_at(2 * DAY) == 0


@pytest.mark.fault("F58")
def test_a_stop_tries_once_although_a_take_profit_has_opened_the_breaker() -> None:
    breakers = Breakers()
    told = [breakers.refused("exit", -2010, "no money", second * SECOND) for second in range(3)]
    assert [bool(why) for why in told] == [False, False, True]
    assert breakers.free_at("exit", urgent=False)[0] == 62 * SECOND
    assert breakers.free_at("stop", urgent=True)[0] == 0
    assert breakers.refused("stop", -2010, "no money", 3 * SECOND)
    assert [breakers.free_at(kind, urgent=True)[0] for kind in ("stop", "take")] == [63 * SECOND, 63 * SECOND]
    breakers.accepted("stop")
    assert breakers.free_at("take", urgent=True)[0] == 0


def test_a_fifth_of_every_bound_is_left_for_what_is_urgent() -> None:
    spent, daily = budget(), DailyOrders(10)
    for _ in range(80):
        spent.sent(SECOND)
    for _ in range(8):
        daily.sent(SECOND)
    assert (spent.free_at(SECOND), daily.free_at(SECOND)) == (10 * SECOND, DAY)
    assert (spent.free_at(SECOND, urgent=True), daily.free_at(SECOND, urgent=True)) == (0, 0)
    daily.found(10, SECOND)
    assert daily.free_at(SECOND, urgent=True) == DAY
