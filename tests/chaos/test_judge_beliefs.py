"""The referee on what the bot takes for so, against what is.

A record that breaks an invariant is named by it, one that nearly breaks it by nothing.
"""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.chaos.record import Record

# -- S10, S11: what the bot takes for so ------------------------------------------------------------------------------


def _traded(record: Record, *, connected: bool = False) -> None:
    name = record.rested(qty="1")
    if not connected:
        record.line("disconnect", connection=1, face="ws_api")
    record.held["ETH"] -= Decimal("0.5")
    record.held["FDUSD"] += 450
    record.line(
        "fill", client_order_id=name, trade_id=7, side="SELL", last_qty="0.5", last_price="900", commission="0",
        commission_asset="FDUSD", maker=True, status="PARTIALLY_FILLED", balances=record.balances(),
    )  # fmt: skip


def test_a_fill_that_is_told_twice_is_seen() -> None:
    record = Record()
    _traded(record)
    record.referee.fill_told(record.at, 1, 7)
    record.referee.fill_told(record.at, 1, 7)
    assert record.named == ["S10"]


def test_a_fill_that_is_never_told_is_seen() -> None:
    record = Record()
    _traded(record)
    record.referee.fills_due(record.at + 16)
    assert record.named == ["S10"]


def test_a_fill_that_each_process_tells_once_is_fine() -> None:
    record = Record()
    _traded(record)
    record.referee.fill_told(record.at, 1, 7)
    record.referee.fill_told(record.at, 2, 7)
    record.referee.fills_due(record.at + 16)
    assert record.named == []


def test_a_fill_whose_report_a_living_session_has_lost_is_not_asked_for() -> None:
    record = Record()
    _traded(record, connected=True)
    record.referee.fills_due(record.at + 16)
    assert record.named == []


@pytest.mark.parametrize(
    ("begun_s", "over_s", "named"),
    [(-5, 1e9, []), (30, 40, []), (-20, -1, ["S10"]), (61, 70, ["S10"])],
    ids=["at the time", "soon after", "before", "long after"],
)
def test_a_fill_that_late_copies_keep_back_need_not_be_told(begun_s: float, over_s: float, named: list[str]) -> None:
    record = Record()
    record.at += 100
    record.referee.copies_lag(record.at + begun_s, lag=True)
    record.referee.copies_lag(record.at + over_s, lag=False)
    _traded(record)
    record.referee.fills_due(record.at + 90)
    assert record.named == named


def test_a_fill_of_a_moment_ago_need_not_be_told_yet() -> None:
    record = Record()
    _traded(record)
    record.referee.fills_due(record.at + 14)
    assert record.named == []


def test_a_belief_that_is_wrong_is_told() -> None:
    record = Record()
    name = record.rested(qty="1")
    assert "taken for 0 and 1000" in record.referee.disagreement(Decimal(0), Decimal(1000), [name])
    assert "taken for []" in record.referee.disagreement(Decimal(1), Decimal(1000), [])
    assert record.referee.disagreement(Decimal(1), Decimal(1000), [name]) == ""


def test_a_flow_that_nobody_sent_is_seen() -> None:
    record = Record()
    record.at += 301  # since the opening funds
    record.referee.flow_told(record.at, {"ETH": "-1", "FDUSD": "0"})
    assert record.named == ["S14"]


def test_a_deposit_is_a_flow() -> None:
    record = Record()
    record.at += 301
    record.line("deposit", asset="ETH", amount="0.01")
    record.referee.flow_told(record.at, {"ETH": "0.01", "FDUSD": "0"})
    assert record.named == []


def test_late_copies_may_make_a_flow_up_for_a_while() -> None:
    for after_s, named in ((50, []), (70, ["S14"])):
        record = Record()
        record.at += 301
        record.referee.copies_lag(record.at, lag=True)
        record.referee.flow_told(record.at, {"FDUSD": "5"})
        record.referee.copies_lag(record.at, lag=False)
        record.at += after_s
        record.referee.flow_told(record.at, {"FDUSD": "5"})
        assert record.named == named
