"""Texts about a running bot: what they say, what they leave out, and that half a status is no trouble."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tetrio import words
from tetrio.status import FillLine, LiveOrder, Status

NS = 10**9
TEXTS = (
    words.status_text, words.why_text, words.balance_text, words.profit_text, words.orders_text, words.fills_text,
    words.health_text,
)  # fmt: skip


def running() -> Status:
    status = Status(
        venue="sim", symbol="ETHUSDT", base_asset="ETH", quote_asset="USDT", phase="ready", alive=True,
        began_ns=1_750_000_000 * NS, market_ns=1_750_003_661 * NS, bid="2000.10", ask="2000.20", regime="QUOTE",
        balances={"BNB": "1.50", "USDT": "812.5000", "ETH": "0.00000000"},
        holding={"ETH": Decimal(0), "USDT": Decimal("800.5")}, gain=0.01234, why="buys at 1990.00",
    )  # fmt: skip
    status.trading.base, status.trading.quote, status.trading.fills = Decimal("-0.4"), Decimal("812.50"), 3
    status.trading.fees = {"USDT": Decimal("0.8"), "BNB": Decimal("0.001"), "ETH": Decimal(0)}
    return status


@pytest.mark.parametrize("text", TEXTS)
def test_a_status_that_knows_nothing_yet_has_its_text(text: object) -> None:
    assert callable(text)
    assert text(Status()).strip()


def test_the_status_says_what_is_held_unless_others_read_along() -> None:
    status = running()
    assert "holds 0 ETH, 812.5 USDT, 1.5 BNB" in words.status_text(status)
    assert "812" not in words.status_text(status, amounts=False)
    assert "gain 1.234 %" in words.status_text(status)


def test_what_the_operator_said_is_in_force_until_taken_back() -> None:
    status = running()
    status.halted = status.paused = True
    for text in (words.status_text(status), words.why_text(status)):
        assert "halted: nothing is sent but cancels" in text
        assert "paused: nothing new is armed" in text


def test_not_alive_says_why() -> None:
    status = running()
    status.alive, status.ailing = False, ("not logged on", "the market's beat is 12 s old")
    assert "latency p50/p99: nothing was timed yet" in words.health_text(status)
    status.latency.clock(offset_ms=1.5, error_ms=0.5, rate=1.0)
    status.latency.sample("whole", 0.003)
    assert "latency p50/p99: whole 3/3 ms, clock +1.5 ±0.5 ms" in words.health_text(status)
    assert "not alive: not logged on; the market's beat is 12 s old" in words.health_text(status)


def test_profit_is_marked_at_the_bid_and_says_what_it_counts() -> None:
    text = words.profit_text(running())
    assert "-0.4 ETH, +812.5 USDT" in text
    assert "+12.46 USDT at the bid of 2000.1" in text
    assert "commissions, taken off above: 0.8 USDT" in text
    assert "not taken off: 0.001 BNB" in text
    assert "deposits" in text


def test_balances_are_worth_something() -> None:
    assert "worth 800.5 USDT" in words.balance_text(running())


def test_an_order_and_its_age() -> None:
    status = running()
    status.order = LiveOrder(
        side="BUY", price="1999.00", qty="0.4000", filled="0.1000", client_order_id="tt-1",
        placed_ns=status.market_ns - 90 * NS, state="open",
    )  # fmt: skip
    assert words.orders_text(status).startswith("BUY 0.4 ETH @ 1999, filled 0.1\nopen, 1 min 30 s old, tt-1\n")


def test_fills_newest_first() -> None:
    status = running()
    for number in range(12):
        status.told_fills.append(
            FillLine(
                at_ms=1_750_000_000_000 + number * 1000,
                side="SELL",
                price="2000.00",
                qty=f"0.{number + 10}",
                maker=True,
                commission="0.01",
                commission_asset="USDT",
                client_order_id="x",
                trade_id=number,
            )
        )
    lines = words.fills_text(status).splitlines()
    assert len(lines) == 10
    assert lines[0] == "06-15 15:06:51 sold 0.21 ETH @ 2000 (maker, fee 0.01 USDT)"


@pytest.mark.parametrize(
    "value, text",
    [
        ("0.40000000", "0.4"),
        ("1E+3", "1000"),
        ("1E-12", "0"),
        ("-0.000000001", "0"),
        ("100", "100"),
        ("", ""),
        ("x", "x"),
    ],
)
def test_amounts_have_no_exponent_and_no_tail(value: str, text: str) -> None:
    assert words.amount(value) == text


@pytest.mark.parametrize(
    "seconds, text",
    [
        (0, "0.0 s"),
        (59.4, "59.4 s"),
        (59.96, "1 min 0 s"),
        (61, "1 min 1 s"),
        (3600, "1 h 0 min"),
        (100_000, "1 d 3 h"),
    ],
)
def test_spans_are_for_people(seconds: float, text: str) -> None:
    assert words.age_text(seconds) == text
