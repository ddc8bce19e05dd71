"""What the executor relies on: states that end whatever the exchange calls them, ids that are never used twice."""

from __future__ import annotations

import ast
from decimal import Decimal
from pathlib import Path

import pytest

import tetrio
from tests.live.test_sleeve import NAME, Told, make, report, sent, trade
from tetrio.core.market import Side
from tetrio.core.orders import Names, OrderState, account_tag
from tetrio.live.guardian import effect
from tetrio.wire.request import OrderStatus
from tetrio.wire.user import ExecutionReport, fill_of

STOP = {"type": "STOP_LOSS_LIMIT", "stop_price": "2580.00000000", "price": "2570.00000000"}
ROOT = Path(tetrio.__file__).parent


@pytest.mark.fault("F55")
def test_a_cancel_replace_never_goes_on_after_a_cancel_that_failed() -> None:
    """Only our exchange, which has to answer it, may know the mode that would leave two orders."""
    texts = [
        (path, node.value)
        for path in ROOT.rglob("*.py")
        if "sim" not in path.relative_to(ROOT).parts
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant)
    ]
    assert [path for path, text in texts if text == "ALLOW_FAILURE"] == []
    assert any(text == "STOP_ON_FAILURE" for _, text in texts)


@pytest.mark.fault("F64", "F70", "F73")
@pytest.mark.parametrize(("status", "reason"), [
    ("EXPIRED", "EXCHANGE_CANCELED"), ("EXPIRED", "EXECUTION_RULE_PRICE_RANGE_EXCEEDED"), ("EXPIRED_IN_MATCH", ""),
])  # fmt: skip
def test_whatever_ends_an_order_makes_room_for_the_next(status: str, reason: str) -> None:
    sleeve = make()
    sent(sleeve)
    sleeve.take_report(report("NEW"))
    sleeve.take_report(report(status, "0.4", execution_type="EXPIRED", expiry_reason=reason))
    known = sleeve.get(NAME)
    assert known is not None
    assert (known.state, known.filled_lots, sleeve.unfinished()) == (OrderState.EXPIRED, 4_000, [])


@pytest.mark.fault("F65")
def test_a_report_of_a_rejection_is_the_end_and_comes_twice_for_nothing() -> None:
    told = Told()
    sleeve = make(told)
    sent(sleeve)
    for _ in range(2):
        sleeve.take_report(report("REJECTED", order_id=-1, working=False, reject_reason="WOULD_MATCH_IMMEDIATELY"))
    assert told.states == [(NAME, OrderState.SENT), (NAME, OrderState.REJECTED)]


@pytest.mark.fault("F66")
def test_a_stop_that_is_accepted_waits_until_it_is_on_the_book() -> None:
    sleeve = make()
    sent(sleeve, reason="h", price_ticks=257_000, stop_ticks=258_000)
    sleeve.take_report(report("NEW", working=False, **STOP))
    (stop,) = sleeve.unfinished()
    assert (stop.waits, sleeve.take_stopped()) == (True, False)
    sleeve.take_report(report("NEW", working=True, **STOP))
    (stop,) = sleeve.unfinished()
    assert (stop.waits, sleeve.take_stopped(), sleeve.take_stopped()) == (False, True, False)
    sleeve.take_report(report("NEW", working=False, **STOP))
    assert not sleeve.unfinished()[0].waits, "told late: what has triggered has triggered"


def test_a_stop_that_filled_before_its_trigger_was_told_has_triggered() -> None:
    sleeve = make()
    sent(sleeve, reason="h", price_ticks=257_000, stop_ticks=258_000)
    sleeve.take_report(trade("FILLED", "1", "1", 5))
    assert sleeve.take_stopped()


@pytest.mark.parametrize("trailing", [None, 50])
def test_a_stop_of_an_earlier_process_is_adopted_as_what_it_is(trailing: int | None) -> None:
    sleeve = make()
    fields = STOP if trailing is None else {**STOP, "stop_price": "0.00000000", "trailing_delta": trailing}
    name = "tt-a1b2c3-zzzzz-7h-3"
    sleeve.take_report(report("NEW", client_order_id=name, working=False, **fields))
    (stop,) = sleeve.unfinished()
    assert (stop.waits, stop.stop_ticks, stop.trail_bps) == (True, 0 if trailing else 258_000, trailing or 0)


@pytest.mark.fault("F60", "F61")
def test_no_id_is_made_twice_by_any_process() -> None:
    tag = account_tag("key", "ETHUSDT")
    first, second = Names(tag, "aaaaa"), Names(tag, "bbbbb")
    made = [names.next(episode, reason) for names in (first, second) for episode in (1, 1, 2) for reason in "thm"]
    assert len(set(made)) == len(made)


@pytest.mark.fault("F76")
@pytest.mark.parametrize(("asset", "base", "quote"), [
    ("ETH", "-1.001", "2600"), ("USDT", "-1", "2599.999"), ("BNB", "-1", "2600"),
])  # fmt: skip
def test_a_commission_counts_in_the_asset_that_it_was_taken_in(asset: str, base: str, quote: str) -> None:
    sold = fill_of(_sold(asset))
    assert sold is not None
    assert sold.side is Side.SELL
    assert effect(sold, make()) == (Decimal(base), Decimal(quote))


def _sold(asset: str) -> ExecutionReport:
    return report(
        "FILLED", "1", execution_type="TRADE", last_qty="1", last_price="2600.00", trade_id=9, maker=True,
        commission="0.001", commission_asset=asset,
    )  # fmt: skip


@pytest.mark.fault("F92")
@pytest.mark.parametrize(("price", "qty", "off"), [
    ("2600.05000000", "1.00000000", False), ("2600.05500000", "1.00000000", True),
    ("2600.05000000", "1.00005000", True),
])  # fmt: skip
def test_an_order_that_todays_rules_cannot_express_is_known(price: str, qty: str, off: bool) -> None:
    sleeve = make()
    status = OrderStatus(
        symbol="ETHUSDT", order_id=77, client_order_id="tt-a1b2c3-zzzzz-7t-3", price=price, orig_qty=qty,
        executed_qty="0", cummulative_quote_qty="0", status="NEW", time_in_force="GTC", type="LIMIT_MAKER", side="SELL",
        time=1, update_time=1, is_working=True,
    )  # fmt: skip
    assert sleeve.off_grid(status) is off
    sleeve.drop(77)
    told = report("CANCELED", client_order_id="tt-a1b2c3-zzzzz-7t-3", price=price, qty=qty)
    assert sleeve.take_report(told) is None, "what is told of one that makes way is not read"
