"""The referee on what is held, and what may rest.

A record that breaks an invariant is named by it, one that nearly breaks it by nothing.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.chaos.record import JUMPSTART, NAME, Record

# -- S1, S2: what is held ---------------------------------------------------------------------------------------------


def test_an_order_for_more_than_is_held_is_seen() -> None:
    record = Record()
    record.rested(qty="1.0001")
    assert record.named == ["S1"]


def test_an_order_for_all_that_is_held_is_fine() -> None:
    record = Record()
    record.rested(qty="1")
    record.filled(NAME.format(1), "1", status="FILLED")
    assert record.named == []


def test_a_reserve_is_nobody_s_to_sell() -> None:
    record = Record(reserve_base=Decimal("0.1"))
    record.rested(qty="0.9")
    assert record.named == []
    record.line("cancel", client_order_id=NAME.format(1))
    record.rested(2, qty="0.9001")
    assert record.named == ["S1"]


@pytest.mark.parametrize(("reserve", "later_s", "named"), [("0.1", 5, []), ("0.1", 7, ["S1"]), ("0.01", 5, ["S1"])])
def test_what_was_withdrawn_while_an_order_was_under_way_is_excused(
    reserve: str, later_s: float, named: list[str]
) -> None:
    record = Record(reserve_base=Decimal(reserve))
    record.line("withdraw", asset="ETH", amount="0.05")
    record.at += later_s
    record.rested(qty=str(1 - Decimal(reserve)))
    assert record.named == named


def test_more_filled_than_sent_is_seen() -> None:
    record = Record()
    record.rested(qty="0.5")
    record.filled(NAME.format(1), "0.3")
    record.filled(NAME.format(1), "0.3")
    assert record.named == ["S1"]


def test_an_order_for_more_than_the_quote_is_seen() -> None:
    record = Record(reserve_quote=Decimal(100))
    record.rested(side="BUY", qty="1", price="900")
    assert record.named == []
    record.line("cancel", client_order_id=NAME.format(1))
    record.rested(2, side="BUY", qty="1", price="900.01")
    assert record.named == ["S2"]


def test_what_was_sold_is_held_no_more() -> None:
    record = Record()
    record.rested(1, qty="0.6")
    record.filled(NAME.format(1), "0.6", status="FILLED")
    record.rested(2, qty="0.4")
    assert record.named == []
    record.line("cancel", client_order_id=NAME.format(2))
    record.rested(3, qty="0.4001")
    assert record.named == ["S1"]


def test_an_order_that_was_amended_fills_to_its_new_size_at_most() -> None:
    record = Record()
    record.rested(1, qty="0.5")
    record.line("amend", client_order_id=NAME.format(1), qty="0.2")
    record.filled(NAME.format(1), "0.2")
    assert record.named == []
    record.filled(NAME.format(1), "0.1")
    assert record.named == ["S1"]


def test_a_jumpstart_may_lean_on_the_reserve_but_not_on_what_is_not_there() -> None:
    for price, named in (("1000", []), ("1000.01", ["S2"])):
        record = Record(reserve_quote=Decimal(1000))
        record.accepted(JUMPSTART, side="BUY", qty="1", price=price)
        assert record.named == named


# -- S3: one live order -----------------------------------------------------------------------------------------------


def test_two_live_orders_are_seen() -> None:
    record = Record()
    record.rested(1, qty="0.1")
    record.rested(2, qty="0.1")
    assert record.named == ["S3"]
    assert record.referee.most_live == 2


def test_one_after_the_other_is_fine_and_so_is_somebody_else_s() -> None:
    record = Record()
    record.accepted("web_1", qty="0.1")
    record.rested(1, qty="0.1")
    record.line("cancel", client_order_id=NAME.format(1))
    record.rested(2, qty="0.1")
    assert record.named == []


def test_the_mode_that_may_leave_two_orders_is_seen() -> None:
    record = Record()
    record.rested(1, qty="0.1")
    replace: dict[str, Any] = {"cancelOrigClientOrderId": NAME.format(1), "newClientOrderId": NAME.format(2)}
    record.sent("order.cancelReplace", 1, **replace, cancelReplaceMode="ALLOW_FAILURE")
    assert record.named == ["S3"]


def test_an_order_that_has_ended_is_no_live_one() -> None:
    for ending in ("cancel", "expire"):
        record = Record()
        record.rested(1, qty="0.5")
        record.line(ending, client_order_id=NAME.format(1))
        record.rested(2, qty="0.5")
        assert record.named == []


# -- S1, S2: what is asked for ----------------------------------------------------------------------------------------


def _asked(record: Record, number: int, qty: str) -> None:
    """A SELL that the exchange refuses for want of funds."""
    name = NAME.format(number)
    asked = record.sent("order.place", newClientOrderId=name, side="SELL", quantity=qty, price="900")
    record.line("reject", client_order_id=name)
    record.replied(asked, 400, code=-2010, msg="Account has insufficient balance for requested action.")


def test_asking_for_more_than_has_been_held_of_late_is_seen() -> None:
    record = Record()
    _asked(record, 1, "1.1")
    assert record.named == ["S1"]


def test_a_late_copy_excuses_one_order_and_not_the_next() -> None:
    record = Record()
    record.referee.copies_lag(record.at, lag=True)
    _asked(record, 1, "1.1")
    assert record.named == []
    record.at += 5
    _asked(record, 2, "1.1")
    assert record.named == ["S1"]


def test_a_copy_that_has_caught_up_long_ago_excuses_nothing() -> None:
    for after_s, named in ((50, []), (70, ["S1"])):
        record = Record()
        record.referee.copies_lag(record.at, lag=True)
        record.at += 10
        record.referee.copies_lag(record.at, lag=False)
        record.at += after_s
        _asked(record, 1, "1.1")
        assert record.named == named


def test_asking_for_what_has_just_been_traded_away_is_fine() -> None:
    record = Record()
    name = record.rested(qty="1")
    record.filled(name, "1", status="FILLED")
    for number in (2, 3):
        record.at += 10
        _asked(record, number, "1")
    assert record.named == []


def test_a_late_copy_excuses_one_order_for_each_sum_that_is_held() -> None:
    record = Record()
    record.referee.copies_lag(record.at, lag=True)
    _asked(record, 1, "1.1")
    record.line("deposit", asset="ETH", amount="0.01")
    record.at += 60
    _asked(record, 2, "1.1")
    assert record.named == []
