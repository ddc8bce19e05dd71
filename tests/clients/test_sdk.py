"""Binance's own client, `binance-sdk-spot`: REST with either kind of key, the WebSocket API on a session, streams."""

from __future__ import annotations

import pytest

from tests.clients.conftest import ED_KEY, Told, is_book, is_kline, near_now
from tests.clients.steps import SYMBOL

CLIENT = "with_sdk"
FACES = ("rest", "ws")


def test_every_step_works(told: Told) -> None:
    assert told.broken() == {}


def test_the_clients_strict_models_take_every_answer_as_it_is(told: Told) -> None:
    assert told.got("end") == []


@pytest.mark.parametrize(
    ("step", "kind", "code", "text"),
    [
        ("rest.no.balance", "BadRequestError", -2010, "Account has insufficient balance for requested action."),
        ("rest.no.symbol", "BadRequestError", -1121, "Invalid symbol."),
        ("rest.no.post_only", "BadRequestError", -2010, "Order would immediately match and take."),
        ("rest.no.filter", "BadRequestError", -1013, "Filter failure: PRICE_FILTER"),
        ("rest.no.cancel", "BadRequestError", -2011, "Unknown order sent."),
        ("rest.no.query", "BadRequestError", -2013, "Order does not exist."),
        (
            "rest.no.parameter", "BadRequestError", -1102,
            "Mandatory parameter 'timeInForce' was not sent, was empty/null, or malformed.",
        ),
        ("ws.no.balance", "Refusal", -2010, "Account has insufficient balance for requested action."),
        ("ws.no.symbol", "Refusal", -1121, "Invalid symbol."),
        ("ws.no.post_only", "Refusal", -2010, "Order would immediately match and take."),
        ("ws.no.cancel", "Refusal", -2011, "Unknown order sent."),
        ("ws.no.query", "Refusal", -2013, "Order does not exist."),
        ("ws.no.cancel_replace", "Refusal", -2022, "Order cancel-replace failed."),
    ],
)  # fmt: skip
def test_what_it_raises(told: Told, step: str, kind: str, code: int, text: str) -> None:
    refusal = told.refused(step)
    assert (refusal["type"], refusal["code"], refusal["msg"]) == (kind, code, text)


def test_a_failed_cancel_replace_says_what_became_of_either_half(told: Told) -> None:
    data = told.refused("ws.no.cancel_replace")["data"]
    assert (data["cancelResult"], data["newOrderResult"]) == ("FAILURE", "NOT_ATTEMPTED")
    assert data["cancelResponse"] == {"code": -2011, "msg": "Unknown order sent."}
    assert data["newOrderResponse"] is None


def test_logging_on_and_out(told: Told) -> None:
    on, off = (told.got(f"ws.{step}")["result"] for step in ("logon", "logout"))
    assert on["apiKey"] == ED_KEY
    assert "apiKey" not in off  # null: the client leaves it out
    assert near_now(on["serverTime"])


@pytest.mark.parametrize("face", FACES)
def test_the_life_of_an_order(told: Told, face: str) -> None:
    def got(step: str) -> dict[str, object]:
        value: dict[str, object] = told.got(f"{face}.{step}")
        result = value.get("result", value)
        assert isinstance(result, dict)
        return result

    placed, queried, amended = got("place"), got("query"), got("amend")["amendedOrder"]
    assert isinstance(amended, dict)
    assert (placed["status"], placed["origQty"], placed["executedQty"]) == ("NEW", "0.02000000", "0.00000000")
    assert (queried["orderId"], queried["clientOrderId"]) == (placed["orderId"], placed["clientOrderId"])
    assert (amended["orderId"], amended["qty"], amended["status"]) == (placed["orderId"], "0.01000000", "NEW")
    replaced = got("cancel_replace")
    assert (replaced["cancelResult"], replaced["newOrderResult"]) == ("SUCCESS", "SUCCESS")
    old, new = replaced["cancelResponse"], replaced["newOrderResponse"]
    assert isinstance(old, dict) and isinstance(new, dict)
    assert (old["orderId"], old["status"], new["status"]) == (placed["orderId"], "CANCELED", "NEW")
    opened = told.got(f"{face}.open_orders")
    assert [each["orderId"] for each in (opened if face == "rest" else opened["result"])] == [new["orderId"]]
    canceled = got("cancel")
    assert (canceled["orderId"], canceled["status"]) == (new["orderId"], "CANCELED")


@pytest.mark.parametrize("face", FACES)
def test_an_order_that_takes(told: Told, face: str) -> None:
    value = told.got(f"{face}.take")
    taken = value.get("result", value)
    fills = taken["fills"]
    assert (taken["status"], taken["executedQty"]) == ("FILLED", "0.02000000")
    assert sum(float(each["qty"]) for each in fills) == pytest.approx(0.02)
    assert {each["commissionAsset"] for each in fills} == {"ETH"}
    assert sum(float(each["commission"]) for each in fills) == pytest.approx(0.02 * 0.001)


def test_my_trades_are_those_of_my_orders(told: Told) -> None:
    trades = told.got("rest.my_trades")
    taken = told.got("rest.take")
    assert {each["tradeId"] for each in taken["fills"]} == {
        each["id"] for each in trades if each["orderId"] == taken["orderId"]
    }
    assert all(near_now(each["time"]) for each in trades)


@pytest.mark.parametrize("face", FACES)
def test_an_order_list(told: Told, face: str) -> None:
    placed, canceled = (told.got(f"{face}.{step}") for step in ("oco", "cancel_list"))
    placed, canceled = (each.get("result", each) for each in (placed, canceled))
    assert (placed["contingencyType"], placed["listOrderStatus"]) == ("OCO", "EXECUTING")
    assert {each["type"] for each in placed["orderReports"]} == {"LIMIT_MAKER", "STOP_LOSS"}
    assert canceled["listOrderStatus"] == "ALL_DONE"


def test_the_user_stream_tells_of_each_change(told: Told) -> None:
    order_id = told.got("ws.place")["result"]["orderId"]
    assert told.got("ws.event.new")["i"] == told.got("ws.event.replaced")["i"] == order_id
    assert told.got("ws.event.replaced")["q"] == "0.01000000"
    fill = told.got("ws.event.fill")
    assert (fill["X"], fill["z"], fill["N"], fill["m"]) == ("FILLED", "0.02000000", "ETH", False)
    position = {each["a"]: each for each in told.got("ws.event.position")["B"]}
    assert float(position["FDUSD"]["l"]) > 0
    assert told.got("ws.event.list")["L"] == "EXECUTING"
    assert told.got("ws.event.list_done")["L"] == "ALL_DONE"


def test_limits_are_told_as_the_client_reads_them(told: Told) -> None:
    rows = {(each["rateLimitType"], each["interval"], each["intervalNum"]) for each in told.got("rest.limits")}
    assert rows == {("REQUEST_WEIGHT", "MINUTE", 1), ("ORDERS", "SECOND", 10), ("ORDERS", "DAY", 1)}
    assert told.got("ws.place")["rateLimits"] == ["ORDERS", "ORDERS", "REQUEST_WEIGHT"]
    assert told.got("ws.cancel")["rateLimits"] == ["REQUEST_WEIGHT"]


@pytest.mark.parametrize("face", FACES)
def test_the_market_is_of_now(told: Told, face: str) -> None:
    def got(step: str) -> object:
        value = told.got(f"{face}.{step}")
        return value["result"] if face == "ws" else value

    klines, trades, book = got("klines"), got("trades"), got("depth")
    assert isinstance(klines, list) and isinstance(trades, list) and isinstance(book, dict)
    assert len(klines) == 3 and all(is_kline(each) for each in klines)
    assert near_now(klines[-1][0])
    assert all(near_now(each["time"]) for each in trades)
    assert is_book(book, 5)


def test_either_kind_of_key_sees_the_same_account(told: Told) -> None:
    by_ed25519, by_hmac = (
        {each["asset"]: each for each in told.got(f"{prefix}.account")["balances"]} for prefix in ("rest", "hmac")
    )
    assert by_ed25519 == by_hmac
    assert {"ETH", "FDUSD"} <= by_hmac.keys()


def test_streams(told: Told) -> None:
    assert told.got("stream.kline")["k"]["i"] == "1m"
    assert told.got("stream.book_ticker")["s"] == told.got("stream.ticker")["s"] == SYMBOL
    assert is_book(told.got("stream.depth_5"), 5)
    depth = told.got("stream.depth")
    assert depth["U"] <= depth["u"]
    assert "ethfdusd@depth@100ms" in told.got("stream.list")["result"]
