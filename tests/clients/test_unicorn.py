"""`unicorn-binance-websocket-api` and `unicorn-binance-rest-api`, with an HMAC key, user data included."""

from __future__ import annotations

import pytest

from tests.clients.conftest import Told, is_book, is_kline, near_now

CLIENT = "with_unicorn"


def test_every_step_works(told: Told) -> None:
    assert told.broken() == {}


@pytest.mark.parametrize(
    ("step", "kind", "code", "text"),
    [
        ("rest.no.balance", "BinanceAPIException", -2010, "Account has insufficient balance for requested action."),
        ("rest.no.symbol", "BinanceAPIException", -1121, "Invalid symbol."),
        ("rest.no.cancel", "BinanceAPIException", -2011, "Unknown order sent."),
        ("ws.no.balance", "Refusal", -2010, "Account has insufficient balance for requested action."),
        ("ws.no.cancel", "Refusal", -2011, "Unknown order sent."),
    ],
)
def test_what_it_raises(told: Told, step: str, kind: str, code: int, text: str) -> None:
    refusal = told.refused(step)
    assert (refusal["type"], refusal["code"], refusal["msg"]) == (kind, code, text)


@pytest.mark.parametrize("half", ["rest", "ws"])
def test_the_life_of_an_order(told: Told, half: str) -> None:
    placed, queried, canceled = (told.got(f"{half}.{step}") for step in ("place", "query", "cancel"))
    assert placed["status"] == queried["status"] == "NEW"
    assert placed["orderId"] == queried["orderId"] == canceled["orderId"]
    assert placed["orderId"] in {each["orderId"] for each in told.got(f"{half}.open_orders")}
    assert canceled["status"] == "CANCELED"


@pytest.mark.parametrize("half", ["rest", "ws"])
def test_an_order_that_takes(told: Told, half: str) -> None:
    taken = told.got(f"{half}.take")
    assert (taken["status"], taken["executedQty"]) == ("FILLED", "0.02000000")


def test_the_user_stream_tells_of_each_change(told: Told) -> None:
    placed, taken = told.got("ws.place"), told.got("ws.take")
    assert told.got("user.new")["i"] == told.got("user.canceled")["i"] == placed["orderId"]
    assert (told.got("user.fill")["i"], told.got("user.fill")["X"]) == (taken["orderId"], "FILLED")
    assert {"ETH", "FDUSD"} <= {each["a"] for each in told.got("user.position")["B"]}


def test_the_market_is_of_now(told: Told) -> None:
    for half in ("rest", "ws"):
        assert is_book(told.got(f"{half}.depth"), 5)
        assert all(is_kline(each) for each in told.got(f"{half}.klines"))
        assert near_now(told.got(f"{half}.klines")[-1][0])
    assert told.got("rest.used_weight") is not None


def test_streams(told: Told) -> None:
    kline = told.got("stream.kline_1m")
    assert near_now(kline["k"]["T"])  # the candle of now, or the one that closes as we come
    assert kline["k"]["x"] is (kline["E"] > kline["k"]["T"])
    assert is_book(told.got("stream.depth5@100ms"), 5)
    for channel in ("trade", "aggTrade", "ticker", "miniTicker", "depth@100ms"):
        assert near_now(told.got(f"stream.{channel}")["E"])
