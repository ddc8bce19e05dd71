"""The sleeve merges what replies, events and queries tell, in any order and any number of times."""

from __future__ import annotations

import itertools
from decimal import Decimal
from typing import Any

import attrs
import pytest

from tetrio.core.market import Fill, Side
from tetrio.core.money import SymbolRules
from tetrio.core.orders import OrderState, OwnOrder
from tetrio.errors import LinkStale, UnsafeError
from tetrio.live.sleeve import DATED, STRAGGLES_MS, Sleeve
from tetrio.wire.request import AccountStatus, MyTrade
from tetrio.wire.results import Balance
from tetrio.wire.user import AssetPosition, ExecutionReport, OutboundAccountPosition

RULES = SymbolRules(
    name="ETHUSDT", base_asset="ETH", quote_asset="USDT", tick_size=Decimal("0.01"), step_size=Decimal("0.0001"),
    min_notional=Decimal(5),
)  # fmt: skip
NAME = "tt-a1b2c3-k3x9z-1t-1"


@attrs.define
class Told:
    states: list[tuple[str, OrderState]] = attrs.field(factory=list)
    fills: list[Fill] = attrs.field(factory=list)


def make(told: Told | None = None, **reserves: Decimal) -> Sleeve:
    told = told or Told()
    return Sleeve(
        RULES,
        "a1b2c3",
        "k3x9z",
        told=lambda order, before, code: told.states.append((order.client_order_id, order.state)),
        filled=told.fills.append,
        **reserves,
    )


def sent(sleeve: Sleeve, **changed: Any) -> OwnOrder:
    order = OwnOrder(
        client_order_id=NAME, side=Side.SELL, reason="t", episode=1, price_ticks=260_000, qty_lots=10_000, sent_ns=0
    )
    order = attrs.evolve(order, **changed)
    sleeve.sent(order)
    return order


def report(status: str, filled: str = "0", **changed: Any) -> ExecutionReport:
    told: dict[str, Any] = {
        "event_ms": 5, "symbol": "ETHUSDT", "client_order_id": NAME, "side": "SELL", "type": "LIMIT_MAKER",
        "time_in_force": "GTC", "qty": "1.00000000", "price": "2600.00000000", "execution_type": status,
        "status": status, "order_id": 77, "filled_qty": filled, "transact_ms": 5, "execution_id": 9, "working": True,
        "created_ms": 1,
    }  # fmt: skip
    return ExecutionReport(**{**told, **changed})


def trade(status: str, filled: str, last: str, trade_id: int) -> ExecutionReport:
    return report(
        status, filled, execution_type="TRADE", last_qty=last, last_price="2600.00", trade_id=trade_id, maker=True,
        commission="0", commission_asset="USDT",
    )  # fmt: skip


def position(at_ms: int, **assets: tuple[str, str]) -> OutboundAccountPosition:
    balances = [AssetPosition(asset, free, locked) for asset, (free, locked) in assets.items()]
    return OutboundAccountPosition(event_ms=at_ms, updated_ms=at_ms, balances=balances)


@pytest.mark.fault("F48", "F49", "F52")
def test_reports_in_any_order_and_twice_end_the_same() -> None:
    reports = [report("NEW"), trade("PARTIALLY_FILLED", "0.4", "0.4", 1), trade("FILLED", "1", "0.6", 2)]
    for order in itertools.permutations(reports):
        told = Told()
        sleeve = make(told)
        sent(sleeve)
        for each in (*order, *order):
            sleeve.take_report(each)
        known = sleeve.get(NAME)
        assert known is not None
        assert (known.state, known.filled_lots) == (OrderState.FILLED, 10_000)
        assert sorted(fill.trade_id for fill in told.fills) == [1, 2]
        assert sleeve.unfinished() == []


@pytest.mark.fault("F67")
def test_an_order_of_somebody_else_is_left_alone() -> None:
    sleeve = make()
    sleeve.sync_ended(0)
    assert sleeve.take_report(report("NEW", client_order_id="web_1")) is None
    assert sleeve.take_report(report("NEW", client_order_id="tt-ffffff-k3x9z-1t-1")) is None
    assert sleeve.unfinished() == []


def test_an_own_order_of_an_earlier_process_is_adopted_before_the_sync() -> None:
    sleeve = make()
    sleeve.take_report(report("PARTIALLY_FILLED", "0.4", client_order_id="tt-a1b2c3-zzzzz-7h-3"))
    (adopted,) = sleeve.unfinished()
    assert (adopted.reason, adopted.episode, adopted.remaining_lots, adopted.order_id) == ("h", 7, 6_000, 77)


def test_an_own_order_of_another_process_after_the_sync_is_a_second_instance() -> None:
    sleeve = make()
    sleeve.sync_ended(1000)
    with pytest.raises(UnsafeError, match="second tetrio"):
        sleeve.take_report(report("NEW", client_order_id="tt-a1b2c3-zzzzz-1t-1", created_ms=1000 + STRAGGLES_MS + 1))


@pytest.mark.fault("F57", "F101")
def test_an_order_that_a_late_copy_did_not_show_at_the_sync_is_an_earlier_process_s() -> None:
    sleeve = make()
    sleeve.sync_ended(1000)
    for number in range(3):
        sleeve.take_report(report("NEW", client_order_id=f"tt-a1b2c3-zzzzz-1t-{number}", created_ms=1000))
    assert len(sleeve.unfinished()) == 3


@pytest.mark.fault("F101")
def test_of_an_earlier_process_one_order_may_still_have_been_under_way() -> None:
    sleeve = make()
    sleeve.sync_ended(1000)
    straggler, second = "tt-a1b2c3-zzzzz-1t-8", "tt-a1b2c3-zzzzz-1t-9"
    sleeve.take_report(report("NEW", client_order_id=straggler, created_ms=3000))
    sleeve.take_report(report("PARTIALLY_FILLED", "0.4", client_order_id=straggler, created_ms=3000))
    (adopted,) = sleeve.unfinished()
    assert (adopted.client_order_id, adopted.remaining_lots) == (straggler, 6_000)
    with pytest.raises(UnsafeError, match="second tetrio"):
        sleeve.take_report(report("NEW", client_order_id=second, created_ms=3000))


@pytest.mark.fault("F83")
def test_a_later_sync_of_the_same_process_leaves_nothing_to_an_earlier_one() -> None:
    sleeve = make()
    sleeve.sync_ended(1000)
    sleeve.synced = False
    sleeve.sync_ended(100_000)
    with pytest.raises(UnsafeError, match="second tetrio"):
        sleeve.take_report(report("NEW", client_order_id="tt-a1b2c3-zzzzz-1t-1", created_ms=101_000))


def test_a_contradiction_asks_for_a_new_epoch() -> None:
    sleeve = make()
    sent(sleeve)
    with pytest.raises(LinkStale, match="12000 lots filled of 10000"):
        sleeve.take_report(report("PARTIALLY_FILLED", "1.2"))


def test_what_may_be_sold_is_free_and_what_our_order_locks_less_the_reserve() -> None:
    sleeve = make(reserve_base=Decimal("0.25"))
    sent(sleeve, qty_lots=5_000)
    sleeve.take_report(report("NEW", qty="0.5"))
    sleeve.take_position(position(6, ETH=("0.20000000", "0.90000000"), USDT=("3.00000000", "0")))
    assert sleeve.spendable(Side.SELL) == 7_000, "0.4 of the locked 0.9 belong to somebody else's order"
    assert sleeve.holdings().base == 8_500
    assert sleeve.spendable(Side.BUY) == 3_000_000


@pytest.mark.fault("F51", "F80")
def test_an_older_position_changes_nothing_back() -> None:
    sleeve = make()
    sleeve.take_position(position(9, ETH=("2", "0")))
    sleeve.take_position(position(8, ETH=("1", "0")))
    assert sleeve.holdings().base == 20_000


@pytest.mark.fault("F79")
def test_balances_are_stale_between_a_fill_and_what_it_did_to_them() -> None:
    sleeve = make()
    sleeve.take_position(position(1, ETH=("1", "0")))
    sent(sleeve)
    sleeve.take_report(report("NEW"))
    seen = [sleeve.fresh]
    sleeve.take_position(position(5, ETH=("0", "1")))
    seen.append(sleeve.fresh)
    sleeve.doubt_balances()
    seen.append(sleeve.fresh)
    assert seen == [False, True, False]


def test_two_fills_of_one_millisecond_need_two_positions() -> None:
    sleeve = make()
    sent(sleeve)
    sleeve.take_report(report("NEW"))
    seen = []
    for event in (
        trade("PARTIALLY_FILLED", "0.4", "0.4", 1),
        position(5, ETH=("0", "0.6")),
        trade("FILLED", "1", "0.6", 2),
        position(5, ETH=("0", "0")),
    ):
        if isinstance(event, ExecutionReport):
            sleeve.take_report(event)
        else:
            sleeve.take_position(event)
        seen.append(sleeve.fresh)
    assert seen == [False, True, False, True]


def test_a_remnant_is_dated() -> None:
    sleeve = make()
    sleeve.reckon_time_by(lambda: 123)
    sent(sleeve)
    sleeve.take_report(report("PARTIALLY_FILLED", "0.9985"))
    (left,) = sleeve.unfinished()
    assert left.remnant_since_ns == 123


def test_a_fill_that_fell_between_two_links_is_told_once() -> None:
    told = Told()
    sleeve = make(told)
    sent(sleeve)
    sleeve.take_report(trade("PARTIALLY_FILLED", "0.4", "0.4", 11))
    missed = [
        MyTrade(
            symbol="ETHUSDT", id=number, order_id=order_id, price="2600.00", qty="0.1", quote_qty="260", commission="0",
            commission_asset="USDT", time=6, is_buyer=False, is_maker=True,
        )
        for number, order_id in ((11, 77), (12, 77), (13, 99))
    ]  # fmt: skip
    for _ in range(2):
        sleeve.take_trades(missed)
    assert [(fill.trade_id, fill.client_order_id) for fill in told.fills] == [(11, NAME), (12, NAME)]
    assert sleeve.last_trade_id == 13


def snapshot(at_ms: int, free: str) -> AccountStatus:
    return AccountStatus(can_trade=True, update_time=at_ms, balances=[Balance("ETH", free, "0")])


@pytest.mark.fault("F51", "F96")
def test_an_exchange_whose_clock_was_set_back_is_believed_in_the_end_and_a_late_copy_is_not() -> None:
    sleeve = make()
    sleeve.take_position(position(1_000, ETH=("1", "0")))
    sleeve.doubt_balances()
    believed = []
    for _ in range(DATED):
        sleeve.take_account(snapshot(300, "2"), sleeve.changes)
        believed.append((sleeve.fresh, sleeve.holdings().base))
    assert believed[:-1] == [(False, 10_000)] * (DATED - 1)
    assert believed[-1] == (True, 20_000)
