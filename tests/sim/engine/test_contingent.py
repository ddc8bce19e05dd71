from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.sim.markets import Pit, bought, depth, executions, fills, only_reports, sold, top, with_rules
from tetrio.core.market import Side
from tetrio.sim.engine.contingent import Waiting, waits_above
from tetrio.sim.engine.orders import Order, Rejected, Report
from tetrio.sim.market.events import PublicTrade

BUY, SELL = Side.BUY, Side.SELL
D = Decimal
TICK = D("0.01")


def waiting_order(kind: str, side: Side, stop: int = 0, delta: int = 0) -> Order:
    return Order(
        account="a",
        symbol="X",
        order_id=1,
        client_order_id="c",
        side=side,
        type=kind,
        time_in_force="GTC",
        price=0,
        qty=1,
        stop_price=stop,
        trailing_delta=delta,
    )


def first_due(order: Order, prices: list[int], last: int | None = None) -> int | None:
    """The price at which it is due."""
    waiting = Waiting()
    waiting.add(order, last)
    for price in prices:
        waiting.see(price)
        if waiting.next_due() is not None:
            assert order.order_id not in waiting
            return price
    assert order.order_id in waiting
    return None


# --- what a price does ---


@pytest.mark.parametrize(
    ("kind", "side", "prices", "due"),
    [
        ("STOP_LOSS", SELL, [101, 102, 100], 100),
        ("STOP_LOSS_LIMIT", SELL, [101, 99], 99),
        ("STOP_LOSS", BUY, [99, 98, 100], 100),
        ("STOP_LOSS_LIMIT", BUY, [99, 101], 101),
        ("TAKE_PROFIT", SELL, [99, 100], 100),
        ("TAKE_PROFIT_LIMIT", BUY, [101, 100], 100),
        ("TAKE_PROFIT_LIMIT", BUY, [101, 102], None),
    ],
)
def test_a_stop_price_is_reached_at_equality_or_beyond(
    kind: str, side: Side, prices: list[int], due: int | None
) -> None:
    assert first_due(waiting_order(kind, side, 100), prices) == due


def test_where_a_stop_price_stands() -> None:
    assert waits_above("STOP_LOSS", BUY) and waits_above("TAKE_PROFIT_LIMIT", SELL)
    assert not waits_above("STOP_LOSS_LIMIT", SELL) and not waits_above("TAKE_PROFIT", BUY)


@pytest.mark.parametrize("kind", ["TAKE_PROFIT", "STOP_LOSS"])
def test_trailing_buy_from_a_stop_price_follows_the_low(kind: str) -> None:
    order = waiting_order(kind, BUY, 44_000, 500)
    lead = [44_500, 44_000] if kind == "TAKE_PROFIT" else [43_500, 44_000]
    assert first_due(order, [*lead, 42_000, 44_099]) is None
    assert first_due(order, [*lead, 42_000, 44_099, 44_100]) == 44_100


def test_trailing_sell_from_a_stop_price_follows_the_high() -> None:
    order = waiting_order("STOP_LOSS", SELL, 39_000, 1000)
    assert first_due(order, [40_000, 30_000]) is None, "the first trade beyond begins it, at its own price"
    assert first_due(order, [39_000, 41_000, 36_901]) is None
    assert first_due(order, [39_000, 41_000, 36_900]) == 36_900


def test_trailing_without_a_stop_price_begins_at_the_last_price() -> None:
    order = waiting_order("STOP_LOSS", SELL, 0, 700)
    assert first_due(order, [45_500, 42_316], 40_000) is None
    assert first_due(order, [45_500, 42_315], 40_000) == 42_315
    assert first_due(order, [37_200], 40_000) == 37_200, "the price at placement is the first extreme"
    assert first_due(order, [37_200], None) is None, "without one the next trade's is"


def test_what_has_begun_is_told_once() -> None:
    waiting = Waiting()
    assert not waiting.add(waiting_order("STOP_LOSS", SELL, 39_000, 1000), 40_000)
    waiting.see(39_500)
    assert waiting.began() == []
    waiting.see(38_900)
    assert waiting.began() == [1] and waiting.began() == []
    waiting.remove(1)
    with pytest.raises(KeyError):
        waiting.remove(1)
    assert Waiting().add(waiting_order("STOP_LOSS", SELL, 0, 1000), 40_000)


# --- in the engine ---


def stop(pit: Pit, side: Side, price: int | None, at: int | None, kind: str = "STOP_LOSS_LIMIT", **more: Any) -> Order:
    stop_price = None if at is None else at * TICK
    return pit.place(side, more.pop("qty", 5000), price, kind, stop_price=stop_price, **more).order


def test_a_stop_limit_waits_then_works_at_its_price() -> None:
    pit = Pit()
    pit.market(bought(340_010, 1))
    placed = pit.place(SELL, 5000, 339_900, "STOP_LOSS_LIMIT", stop_price=D("3399.50"))
    accepted = only_reports(placed.events)[0]
    assert (placed.order.status, placed.order.working_ms, accepted.on_book) == ("NEW", -1, False)
    assert pit.amounts()["ETH"] == (D("9.5"), D("0.5")), "it is locked at once"
    assert pit.market(sold(339_951, 1)) == []
    reports = pit.market(sold(339_950, 1))
    assert [(each.execution.value, each.activated) for each in reports] == [("NEW", True), ("TRADE", False)]
    assert reports[0].on_book and reports[0].order.working_ms == pit.now_ms
    assert fills(reports) == [(placed.order.order_id, 5000, "took what is displayed")]
    assert pit.order(placed.order).status == "FILLED"


def test_a_triggered_limit_that_takes_nothing_rests() -> None:
    pit = Pit()
    pit.market(bought(340_010, 1))
    order = stop(pit, BUY, 340_000, 340_020)
    assert executions(pit.market(bought(340_020, 1))) == ["NEW"]
    assert pit.order(order).is_working
    assert pit.engine.resting_levels("ETHFDUSD", BUY) == {340_000: 5000}
    pit.cancel(order)
    assert pit.amounts()["FDUSD"] == (D(50_000), D(0))


def test_a_stop_at_market_takes_and_ends() -> None:
    pit = Pit(top(340_000, 2000, 340_010, 30_000))
    pit.market(bought(340_010, 1))
    order = stop(pit, SELL, None, 339_000, "STOP_LOSS")
    assert executions(pit.market(sold(338_990, 1))) == ["NEW", "TRADE", "EXPIRED"]
    ended = pit.order(order)
    assert (ended.status, ended.filled, ended.expiry_reason) == ("EXPIRED", 2000, "INSUFFICIENT_LIQUIDITY")
    assert pit.amounts()["ETH"] == (D("9.8"), D(0))


def test_a_buy_stop_at_market_locks_its_stop_price_and_pays_what_the_book_asks() -> None:
    pit = Pit()
    pit.market(bought(340_010, 1))
    order = stop(pit, BUY, None, 345_000, "STOP_LOSS")
    assert pit.amounts()["FDUSD"] == (D(48_275), D(1725))
    pit.market(top(345_990, 1, 346_000, 9000), bought(346_000, 1, 2))
    assert pit.order(order).status == "FILLED"
    assert pit.amounts()["FDUSD"] == (D(48_270), D(0))


def test_a_triggered_order_that_cannot_be_paid_ends_as_rejected() -> None:
    pit = Pit()
    pit.market(bought(340_010, 1))
    order = stop(pit, BUY, None, 345_000, "STOP_LOSS", qty=144_900)
    reports = pit.market(top(400_000, 1, 400_010, 150_000), bought(400_010, 1, 2))
    assert executions(reports) == ["EXPIRED"]
    assert pit.order(order).expiry_reason == "REJECTED"
    assert pit.amounts()["FDUSD"] == (D(50_000), D(0))


def test_one_stop_may_trigger_the_next() -> None:
    pit = Pit(top(340_000, 2000, 340_010, 30_000))
    pit.market(depth(bids=[(339_000, 9000)]), bought(340_010, 1))
    second = stop(pit, SELL, None, 339_500, "STOP_LOSS", qty=1000)
    first = stop(pit, SELL, None, 340_000, "STOP_LOSS", qty=4000)
    traded = [order_id for order_id, _, _ in fills(pit.market(sold(340_000, 1, 2)))]
    assert traded == [first.order_id, first.order_id, second.order_id]


def test_a_taker_who_trades_triggers_stops_after_its_own_phase() -> None:
    pit = Pit()
    pit.market(sold(340_000, 1))
    order = stop(pit, SELL, 340_100, 340_010, "TAKE_PROFIT_LIMIT")
    placed = pit.place(BUY, 100, None, "MARKET", account="b")
    assert executions(placed.events) == ["NEW", "TRADE", "NEW", "POSITION", "POSITION"]
    assert pit.order(order).is_working


@pytest.mark.parametrize(
    ("side", "kind", "at"),
    [
        (SELL, "STOP_LOSS", 340_000),
        (SELL, "STOP_LOSS", 340_001),
        (BUY, "STOP_LOSS", 340_000),
        (SELL, "TAKE_PROFIT", 340_000),
        (BUY, "TAKE_PROFIT", 340_000),
        (BUY, "TAKE_PROFIT", 340_001),
    ],
)
def test_a_stop_price_that_is_reached_already_is_refused(side: Side, kind: str, at: int) -> None:
    pit = Pit()
    pit.market(sold(340_000, 1))
    with pytest.raises(Rejected, match="-2010 Order would trigger immediately") as caught:
        stop(pit, side, None, at, kind)
    assert caught.value.report is not None
    assert caught.value.report.reject_reason == "STOP_PRICE_WOULD_TRIGGER_IMMEDIATELY"
    assert pit.engine.open_orders("a") == []


def test_a_trailing_order_tells_from_when_it_tracks() -> None:
    pit = Pit()
    pit.market(sold(340_000, 1))
    at_once = stop(pit, SELL, None, None, "STOP_LOSS", trailing_delta=100)
    later = stop(pit, SELL, None, 339_000, "STOP_LOSS", trailing_delta=100)
    assert at_once.trailing_ms == at_once.time_ms and later.trailing_ms == -1
    pit.market(sold(339_000, 1, 2))
    assert pit.order(later).trailing_ms == pit.now_ms
    reports = pit.market(bought(350_000, 1, 3), sold(346_500, 1, 4))
    assert {report.order.order_id for report in reports} == {at_once.order_id, later.order_id}
    assert pit.order(at_once).status == pit.order(later).status == "FILLED"


@pytest.mark.parametrize("delta", [9, 2001, 0])
def test_a_trailing_delta_has_bounds(delta: int) -> None:
    with pytest.raises(Rejected, match="-1013 Filter failure: TRAILING_DELTA"):
        stop(Pit(), SELL, None, None, "STOP_LOSS", trailing_delta=delta)


def test_what_waits_can_be_cancelled_and_triggers_no_more() -> None:
    pit = Pit()
    pit.market(bought(340_010, 1))
    order = stop(pit, SELL, None, 339_000, "STOP_LOSS")
    assert executions(pit.cancel(order)) == ["CANCELED", "POSITION"]
    assert pit.market(sold(338_000, 1, 2)) == []
    assert pit.amounts()["ETH"] == (D(10), D(0))


def test_a_halt_is_no_time_for_stops() -> None:
    pit = Pit()
    pit.market(bought(340_010, 1))
    order, resting = stop(pit, SELL, None, 339_000, "STOP_LOSS"), pit.place(BUY, 5000, 339_990).order
    pit.engine.set_status("ETHFDUSD", "HALT")
    halted = [PublicTrade(338_000, 9, trade_id, 0, buyer_is_maker=True) for trade_id in range(2, 5)]
    assert pit.market(*halted, top(338_000, 1, 338_010, 1)) == []
    assert pit.order(order).waits and pit.order(resting).filled == 0
    assert pit.engine.last_trade("ETHFDUSD") == (338_000, pit.now_ms - 1), "market data go on"
    with pytest.raises(Rejected, match="-1013 Market is closed"):
        stop(pit, SELL, None, 330_000, "STOP_LOSS")
    pit.engine.set_status("ETHFDUSD", "TRADING")
    assert [report.order.order_id for report in pit.market(top(338_000, 9000, 338_010, 1))] == [resting.order_id]
    assert pit.order(order).waits, "the next trade triggers it"
    pit.market(sold(338_000, 1, 5))
    assert pit.order(order).status == "FILLED"


def test_only_five_orders_may_wait_for_a_price() -> None:
    pit = Pit(rules=with_rules(max_num_orders=20))
    pit.market(bought(340_010, 1))
    waiting = [stop(pit, SELL, None, 339_000 - at, "STOP_LOSS") for at in range(5)]
    with pytest.raises(Rejected, match="-2010 Filter failure: MAX_NUM_ALGO_ORDERS"):
        stop(pit, SELL, None, 338_000, "STOP_LOSS")
    pit.cancel(waiting[0])
    stop(pit, SELL, None, 338_000, "STOP_LOSS")


def test_a_trigger_is_told_with_the_position_after_it() -> None:
    pit = Pit()
    pit.market(bought(340_010, 1))
    stop(pit, SELL, None, 339_000, "STOP_LOSS")
    outcome = pit.outcome(sold(339_000, 1, 2))
    assert executions(outcome.events) == ["NEW", "TRADE", "POSITION"]
    first, *_ = outcome.events
    assert isinstance(first, Report) and first.activated
    assert len(outcome.prints) == 1
