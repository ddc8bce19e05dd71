"""`ccxt`: the unified methods over REST with an HMAC key, and its `pro` half with an Ed25519 one."""

from __future__ import annotations

import pytest

from tests.clients.conftest import Told, is_book, near_now

CLIENT = "with_ccxt"


def test_every_step_works(told: Told) -> None:
    assert told.broken() == {}


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        ("rest.no.balance", "InsufficientFunds"),
        ("rest.no.post_only", "OrderImmediatelyFillable"),
        ("rest.no.notional", "BadRequest"),
        ("rest.no.cancel", "OrderNotFound"),
        ("rest.no.query", "OrderNotFound"),
        ("rest.no.symbol", "BadSymbol"),
        ("pro.no.balance", "InsufficientFunds"),
        ("pro.no.cancel", "OrderNotFound"),
    ],
)
def test_what_it_raises(told: Told, step: str, kind: str) -> None:
    assert told.refused(step)["type"] == kind


@pytest.mark.parametrize("half", ["rest", "pro"])
def test_the_market_is_loaded(told: Told, half: str) -> None:
    market = told.got(f"{half}.load_markets")
    assert (market["id"], market["type"], market["active"]) == ("ETHFDUSD", "spot", True)
    assert (market["precision"]["price"], market["precision"]["amount"]) == (0.01, 0.0001)
    assert market["limits"]["cost"]["min"] == 5


@pytest.mark.parametrize("half", ["rest", "pro"])
def test_the_life_of_an_order(told: Told, half: str) -> None:
    placed, queried, edited, canceled = (told.got(f"{half}.{step}") for step in ("place", "query", "edit", "cancel"))
    assert (placed["status"], placed["filled"], placed["remaining"]) == ("open", 0, 0.02)
    assert queried["id"] == placed["id"]
    assert [each["id"] for each in told.got(f"{half}.open_orders")] == [placed["id"]]
    assert (edited["status"], canceled["id"], canceled["status"]) == ("open", edited["id"], "canceled")
    assert edited["id"] != placed["id"]


def test_a_stop_order(told: Told) -> None:
    stop, canceled = told.got("rest.stop"), told.got("rest.cancel_stop")
    assert (stop["type"], canceled["status"]) == ("limit", "canceled")
    assert stop["info"]["type"] == "STOP_LOSS_LIMIT"
    assert told.got("rest.post_only")["postOnly"] is True
    assert [each["status"] for each in told.got("rest.cancel_all")] == ["canceled"]


def test_orders_that_take(told: Told) -> None:
    taken = told.got("rest.take")
    assert (taken["status"], taken["filled"], taken["fee"]["currency"]) == ("closed", 0.02, "ETH")
    assert told.got("rest.take_cost")["cost"] == pytest.approx(50, abs=5)
    mine = [each for each in told.got("rest.my_trades") if each["order"] == taken["id"]]
    assert sum(each["amount"] for each in mine) == pytest.approx(0.02)
    assert taken["id"] in {each["id"] for each in told.got("rest.closed_orders")}


def test_what_is_watched_of_the_account(told: Told) -> None:
    assert told.got("pro.watch_orders")[-1]["id"] == told.got("pro.place")["id"]
    assert told.got("pro.watch_my_trades")[-1]["order"] == told.got("pro.take")["id"]
    assert told.got("pro.watch_balance")["ETH"]["total"] > 0
    free = {each["asset"]: float(each["free"]) for each in told.got("pro.balance")["info"]["balances"]}
    assert free["FDUSD"] > 0


def test_the_market_is_of_now(told: Told) -> None:
    assert is_book(told.got("rest.order_book"), 5)
    assert [len(each) for each in told.got("rest.ohlcv")] == [6, 6, 6]
    assert near_now(told.got("rest.ohlcv")[-1][0])
    assert near_now(told.got("rest.trades")[-1]["timestamp"])
    assert near_now(told.got("rest.ticker")["timestamp"])
    assert told.got("rest.tickers")["ETH/FDUSD"]["last"] > 0


def test_what_is_watched_of_the_market(told: Told) -> None:
    assert is_book(told.got("pro.watch_order_book"), 1000)
    assert near_now(told.got("pro.watch_trades")[-1]["timestamp"])
    assert near_now(told.got("pro.watch_ohlcv")[-1][0])
    assert told.got("pro.watch_ticker")["last"] > 0
    assert told.got("pro.watch_bids_asks")["ETH/FDUSD"]["bid"] > 0
