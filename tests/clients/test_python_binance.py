"""`python-binance`: in step with an HMAC key, asynchronously with an Ed25519 one, sockets and local order book."""

from __future__ import annotations

import pytest

from tests.clients.conftest import Told, is_book, is_kline, near_now
from tests.clients.steps import SYMBOL

CLIENT = "with_python_binance"


def test_every_step_works(told: Told) -> None:
    assert told.broken() == {}


def test_the_client_complains_of_nothing(told: Told) -> None:
    assert told.got("end") == []


@pytest.mark.parametrize(
    ("step", "status", "code", "text"),
    [
        ("sync.no.balance", 400, -2010, "Account has insufficient balance for requested action."),
        ("sync.no.symbol", 400, -1121, "Invalid symbol."),
        ("sync.no.post_only", 400, -2010, "Order would immediately match and take."),
        ("sync.no.lot", 400, -1013, "Filter failure: LOT_SIZE"),
        ("sync.no.cancel", 400, -2011, "Unknown order sent."),
        ("sync.no.query", 400, -2013, "Order does not exist."),
        ("sync.no.signature", 400, -1022, "Signature for this request is not valid."),
        ("async.ws.no.cancel", 400, -2011, "Unknown order sent."),
    ],
)
def test_what_it_raises(told: Told, step: str, status: int, code: int, text: str) -> None:
    refusal = told.refused(step)
    assert (refusal["type"], refusal["status"]) == ("BinanceAPIException", status)
    assert (refusal["code"], refusal["msg"]) == (code, text)


def test_the_life_of_an_order(told: Told) -> None:
    placed, queried, replaced = (told.got(f"sync.{step}") for step in ("place", "query", "cancel_replace"))
    assert placed["status"] == queried["status"] == "NEW"
    assert placed["clientOrderId"].startswith("x-HNA2TXFJ")
    assert queried["clientOrderId"] == placed["clientOrderId"]
    assert [each["orderId"] for each in told.got("sync.open_orders")] == [placed["orderId"]]
    assert (replaced["cancelResult"], replaced["newOrderResult"]) == ("SUCCESS", "SUCCESS")
    assert told.got("sync.cancel")["orderId"] == replaced["newOrderResponse"]["orderId"]
    assert [each["status"] for each in told.got("sync.cancel_all")] == ["CANCELED"]


def test_orders_that_take(told: Told) -> None:
    bought, sold = told.got("sync.take"), told.got("sync.take_quote")
    assert (bought["status"], bought["executedQty"]) == ("FILLED", "0.02000000")
    assert sold["status"] == "FILLED"
    assert 45 < float(sold["cummulativeQuoteQty"]) <= 50
    mine = {each["orderId"] for each in told.got("sync.my_trades")}
    assert {bought["orderId"], sold["orderId"]} <= mine


def test_an_order_list(told: Told) -> None:
    placed, canceled = told.got("sync.oco"), told.got("sync.cancel_list")
    assert {each["type"] for each in placed["orderReports"]} == {"LIMIT_MAKER", "STOP_LOSS_LIMIT"}
    assert [each["orderListId"] for each in told.got("sync.open_lists")] == [placed["orderListId"]]
    assert (canceled["orderListId"], canceled["listStatusType"]) == (placed["orderListId"], "ALL_DONE")


def test_the_user_socket_tells_of_orders_of_either_face(told: Told) -> None:
    assert told.got("async.user.new")["i"] == told.got("async.place")["orderId"]
    assert told.got("async.user.canceled")["C"] == told.got("async.place")["clientOrderId"]
    assert told.got("async.user.fill")["z"] == "0.02000000"
    assert {"ETH", "FDUSD"} <= {each["a"] for each in told.got("async.user.position")["B"]}
    assert told.got("async.user.ws_new")["i"] == told.got("async.ws.place")["orderId"]


def test_the_market_is_of_now(told: Told) -> None:
    assert all(is_kline(each) for each in told.got("sync.klines"))
    assert len(told.got("sync.historical_klines")) >= 10
    assert near_now(told.got("sync.klines")[-1][0])
    assert near_now(told.got("sync.ticker")["closeTime"])
    assert all(near_now(each["time"]) for each in told.got("sync.trades"))
    assert is_book(told.got("sync.depth"), 5)
    assert told.got("sync.symbol_info")["symbol"] == SYMBOL


def test_sockets(told: Told) -> None:
    kline = told.got("async.socket.kline")
    assert near_now(kline["k"]["T"])  # the candle of now, or the one that closes as we come
    assert kline["k"]["x"] is (kline["E"] > kline["k"]["T"])
    assert told.got("async.socket.multiplex")["stream"].startswith("ethfdusd@")
    assert is_book(told.got("async.socket.depth_10"), 10)
    for name in ("trade", "agg_trade", "ticker", "mini_ticker", "depth"):
        assert near_now(told.got(f"async.socket.{name}")["E"])


def test_a_local_order_book_is_kept(told: Told) -> None:
    assert is_book(told.got("async.local_book"), 3)
