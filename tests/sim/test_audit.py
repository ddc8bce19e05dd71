from __future__ import annotations

import io
import json
from decimal import Decimal
from typing import Any

import attrs
import pytest

from tests.sim.markets import MS, SYMBOL, Pit, bought, request
from tetrio.core.market import Side
from tetrio.sim.audit import Audit
from tetrio.sim.engine.orders import Rejected


class Record(io.StringIO):
    """A stream that counts how often it was flushed."""

    flushed = 0

    def flush(self) -> None:
        self.flushed += 1

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


def start(**options: Any) -> tuple[Pit, Record, Audit]:
    pit, record = Pit(**options), Record()
    return pit, record, Audit(record, pit.engine)


def test_an_accepted_order_is_a_line_with_its_balances() -> None:
    pit, record, audit = start()
    audit.events(pit.place(Side.SELL, 5000, 340_010, client_order_id="x").events)
    assert record.lines() == [
        {
            "seq": 1,
            "ts": 1002 * MS,
            "ev": "accept",
            "account": "a",
            "balances": {"ETH": ["9.50000000", "0.50000000"], "FDUSD": ["50000.00000000", "0.00000000"]},
            "symbol": SYMBOL,
            "order_id": 1,
            "client_order_id": "x",
            "side": "SELL",
            "type": "LIMIT_MAKER",
            "price": "3400.10000000",
            "qty": "0.50000000",
            "filled": "0.00000000",
            "status": "NEW",
        }
    ]


def test_a_fill_tells_the_trade_the_charge_and_why() -> None:
    pit, record, audit = start(maker=Decimal("0.001"))
    audit.events(pit.place(Side.SELL, 5000, 340_010).events)
    audit.events(pit.outcome(bought(340_020, 3000)).events)
    line = record.lines()[1]
    assert (line["ev"], line["filled"], line["status"]) == ("fill", "0.30000000", "PARTIALLY_FILLED")
    assert {name: line[name] for name in ("trade_id", "last_price", "last_qty", "commission", "commission_asset")} == {
        "trade_id": 2,
        "last_price": "3400.10000000",
        "last_qty": "0.30000000",
        "commission": "1.02003000",
        "commission_asset": "FDUSD",
    }
    assert (line["maker"], line["why"]) == (True, "trade through")
    assert line["balances"] == {"ETH": ["9.50000000", "0.20000000"], "FDUSD": ["51019.00997000", "0.00000000"]}


def test_a_replacement_writes_the_cancel_before_the_accept() -> None:
    pit, record, audit = start()
    old = pit.place(Side.SELL, 5000, 340_010, client_order_id="old")
    audit.events(old.events)
    audit.events(pit.replace(old.order, Side.SELL, 5000, 340_020, client_order_id="new").events)
    assert [(line["ev"], line["client_order_id"]) for line in record.lines()] == [
        ("accept", "old"),
        ("cancel", "old"),
        ("accept", "new"),
    ]
    assert record.lines()[1]["reason"] == "cancelReplace"


def test_a_replacement_that_fails_half_way_writes_cancel_and_reject() -> None:
    pit, record, audit = start()
    old = pit.place(Side.SELL, 5000, 340_010).order
    audit.events(pit.replace(old, Side.SELL, 5000, 340_000, client_order_id="new").events)
    cancel, reject = record.lines()
    assert (cancel["ev"], cancel["status"]) == ("cancel", "CANCELED")
    assert (reject["ev"], reject["status"], reject["client_order_id"]) == ("reject", "REJECTED", "new")
    assert reject["reason"] == "-2010 Order would immediately match and take."
    assert "order_id" not in reject and "filled" not in reject
    assert reject["balances"] == {"ETH": ["10.00000000", "0.00000000"], "FDUSD": ["50000.00000000", "0.00000000"]}


def test_a_refusal_shows_what_was_asked_for_even_off_the_grid() -> None:
    pit, record, audit = start()
    wanted = request(Side.SELL, "LIMIT_MAKER", 5000)
    with pytest.raises(Rejected) as caught:
        pit.place(Side.SELL, 1, 340_010)
    audit.rejected(caught.value)
    for price in ("3400.105", "-1"):
        with pytest.raises(Rejected) as caught:
            pit.engine.place("a", attrs.evolve(wanted, price=Decimal(price)), 1, 5)
        audit.rejected(caught.value)
    assert [(line["price"], line["qty"], line["reason"]) for line in record.lines()] == [
        ("3400.10000000", "0.00010000", "-1013 Filter failure: NOTIONAL"),
        ("3400.10500000", "0.50000000", "-1013 Filter failure: PRICE_FILTER"),
        ("-1.00000000", "0.50000000", "-1013 Filter failure: PRICE_FILTER"),
    ]


def test_a_refused_cancel_is_no_line() -> None:
    pit, record, audit = start()
    with pytest.raises(Rejected) as caught:
        pit.engine.cancel("a", SYMBOL, 1, 1, order_id=7)
    audit.rejected(caught.value)
    assert record.lines() == []


def test_quantity_is_absent_only_for_an_order_by_quote_amount() -> None:
    pit, record, audit = start()
    audit.events(pit.place(Side.BUY, None, None, "MARKET", quote_order_qty=Decimal(150)).events)
    audit.events(pit.place(Side.BUY, 441, None, "MARKET").events)
    accept, fill, accept_by_qty, _ = record.lines()
    assert "qty" not in accept and "qty" not in fill and "price" not in accept
    assert (fill["last_qty"], fill["maker"]) == ("0.04410000", False)
    assert accept_by_qty["qty"] == "0.04410000"


def test_what_expires_says_why() -> None:
    pit, record, audit = start()
    audit.events(pit.place(Side.BUY, 40_000, 340_010, "LIMIT", time_in_force="IOC").events)
    line = record.lines()[-1]
    assert (line["ev"], line["status"], line["reason"]) == ("expire", "EXPIRED", "UNFILLED_IOC_QUANTITY_EXPIRED")
    pit.place(Side.SELL, 5000, 340_005)
    audit.events(pit.place(Side.BUY, 5000, 340_005, "LIMIT").events)
    line = record.lines()[-1]
    assert (line["ev"], line["status"]) == ("expire", "EXPIRED_IN_MATCH")


def test_everything_else_that_happens() -> None:
    pit, record, audit = start()
    units = pit.engine.deposit("a", "BNB", Decimal("1.5"))
    audit.deposit("a", "BNB", units, 10)
    audit.withdraw("a", "ETH", pit.engine.withdraw("a", "ETH", Decimal(1)), 11)
    audit.connect(12, connection=1, face="ws_api")
    audit.logon("a", 13, connection=1)
    audit.disconnect(14, connection=1)
    audit.end(15, frames=33_618, market_from=1, market_to=15)
    deposit, withdraw, connect, logon, disconnect, end = record.lines()
    assert (deposit["ev"], deposit["asset"], deposit["amount"]) == ("deposit", "BNB", "1.50000000")
    assert deposit["balances"]["BNB"] == ["1.50000000", "0.00000000"]
    assert (withdraw["ev"], withdraw["balances"]["ETH"]) == ("withdraw", ["9.00000000", "0.00000000"])
    assert connect == {"seq": 3, "ts": 12, "ev": "connect", "connection": 1, "face": "ws_api"}
    assert logon["account"] == "a" and set(logon["balances"]) == {"ETH", "FDUSD", "BNB"}
    assert disconnect["ev"] == "disconnect" and "account" not in disconnect
    assert end == {"seq": 6, "ts": 15, "ev": "end", "frames": 33_618, "market_from": 1, "market_to": 15}
    assert record.flushed == 6


def test_two_runs_write_the_same_bytes() -> None:
    texts = []
    for _ in range(2):
        pit, record, audit = start(maker=Decimal("0.001"))
        order = pit.place(Side.SELL, 5000, 340_010)
        audit.events(order.events)
        audit.events(pit.outcome(bought(340_020, 3000)).events)
        audit.events(pit.cancel(order.order))
        audit.end(9, 1, 2, 3)
        texts.append(record.getvalue())
    assert texts[0] == texts[1]
