"""Whatever bytes come on any socket, and whatever JSON: an answer of Binance's form or a close, never a fault of ours.

After each example the exchange still answers, its log has no fault, and the books add up.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import tempfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock
from trio_websocket import ConnectionClosed

from tests.sim.served import ED_KEY, HMAC_KEY, SIGNER, SYMBOL, UPGRADE, Client, Served, served
from tetrio.sim.face import wsapi
from tetrio.wire.frames import client_frame

FUNDS = {"ETH": "4.25", "FDUSD": "25000"}


def fuzz(examples: int) -> settings:
    """So many examples: the same ones each time where a build must not fail by chance, others each time elsewhere."""
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize="CI" in os.environ,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


# --- what is sent ----------------------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
numbers = st.sampled_from(
    [
        "0",
        "0.0000",
        "1",
        "0.01",
        "0.5000",
        "3412.36",
        "3412.37",
        "3400.00",
        "3500",
        "0.00000001",
        "-1",
        "1e3",
        "9" * 21,
        "+1",
    ]
) | st.integers(-5, 10**20)
ids = st.sampled_from(["a", "b", "a b", "x" * 37, "", "ä"]) | st.integers(-1, 30)
words: dict[str, st.SearchStrategy[Any]] = {
    "symbol": st.sampled_from([SYMBOL, SYMBOL, SYMBOL, "ethfdusd", "NOPE", "", "Ä"]),
    "symbols": st.sampled_from([[SYMBOL], f'["{SYMBOL}"]', "[]", "[", [SYMBOL, SYMBOL], [1], {}]),
    "side": st.sampled_from(["BUY", "SELL", "BOTH"]),
    "type": st.sampled_from(
        [
            "LIMIT",
            "LIMIT_MAKER",
            "MARKET",
            "STOP_LOSS",
            "STOP_LOSS_LIMIT",
            "TAKE_PROFIT",
            "TAKE_PROFIT_LIMIT",
            "X",
            "FULL",
        ]
    ),
    "timeInForce": st.sampled_from(["GTC", "IOC", "FOK", "GTX"]),
    "newOrderRespType": st.sampled_from(["ACK", "RESULT", "FULL", "?"]),
    "selfTradePreventionMode": st.sampled_from(
        ["NONE", "EXPIRE_MAKER", "EXPIRE_TAKER", "EXPIRE_BOTH", "DECREMENT", "TRANSFER", "?"]
    ),
    "cancelReplaceMode": st.sampled_from(["STOP_ON_FAILURE", "ALLOW_FAILURE", "?"]),
    "cancelRestrictions": st.sampled_from(["ONLY_NEW", "ONLY_PARTIALLY_FILLED", "?"]),
    "orderRateLimitExceededMode": st.sampled_from(["DO_NOTHING", "CANCEL_ONLY", "?"]),
    "pegPriceType": st.sampled_from(["PRIMARY_PEG", "MARKET_PEG", "?"]),
    "pegOffsetType": st.sampled_from(["PRICE_LEVEL", "?"]),
    "interval": st.sampled_from(["1s", "1m", "1M", "1w", "2m", ""]),
    "timeZone": st.sampled_from(["0", "+08:00", "-12:00", "14", "15", "x"]),
    "windowSize": st.sampled_from(["1m", "59m", "60m", "7d", "x"]),
    "symbolStatus": st.sampled_from(["TRADING", "HALT", "?"]),
    "returnRateLimits": st.sampled_from([True, False, "true", "no"]),
    "omitZeroBalances": st.sampled_from([True, "false", 3]),
    "computeCommissionRates": st.sampled_from([True, "false", 3]),
    "recvWindow": st.sampled_from([5000, "60000", "60001", "0.5", "-1", "x"]),
}
NUMBERS = (
    *("quantity", "price", "quoteOrderQty", "stopPrice", "trailingDelta", "icebergQty", "pegOffsetValue", "newQty"),
    *("strategyId", "strategyType", "limit", "startTime", "endTime", "fromId", "fromAllocationId", "preventedMatchId"),
    *(
        "fromPreventedMatchId",
        "fromExecutionId",
        "subscriptionId",
        "stopLimitPrice",
        "limitIcebergQty",
        "stopIcebergQty",
    ),
)
IDS = (
    *("orderId", "origClientOrderId", "newClientOrderId", "cancelOrderId", "cancelOrigClientOrderId", "orderListId"),
    *("cancelNewClientOrderId", "listClientOrderId", "limitClientOrderId", "stopClientOrderId"),
)
LEGS = ("above", "below", "working", "pending", "pendingAbove", "pendingBelow")
words |= dict.fromkeys(NUMBERS, numbers) | dict.fromkeys(IDS, ids)
for leg in LEGS:
    for name in ("type", "side", "timeInForce", "price", "stopPrice", "quantity", "trailingDelta", "icebergQty"):
        words[leg + name[0].upper() + name[1:]] = words[name]
    words[f"{leg}ClientOrderId"] = ids
odd: st.SearchStrategy[Any] = st.sampled_from([None, [], {}, "", 0, True, "null"])


@st.composite
def parameters(draw: st.DrawFn) -> dict[str, Any]:
    """Parameters as a client might send them, some of them wrong."""
    names = draw(st.lists(st.sampled_from(sorted(words)), max_size=8, unique=True))
    params = {name: draw(odd if draw(st.integers(0, 15)) == 0 else words[name]) for name in names}
    if draw(st.integers(0, 3)):
        params["symbol"] = SYMBOL
    return params


@st.composite
def orders(draw: st.DrawFn) -> dict[str, Any]:
    """Parameters that are often those of an order that is accepted."""
    kind = draw(st.sampled_from(["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "STOP_LOSS"]))
    params: dict[str, Any] = {"symbol": SYMBOL, "side": draw(st.sampled_from(["BUY", "SELL"])), "type": kind}
    params["quantity"] = draw(st.sampled_from(["0.0100", "0.5000", "1"]))
    if kind in {"LIMIT", "LIMIT_MAKER", "STOP_LOSS_LIMIT"}:
        params["price"] = draw(st.sampled_from(["3412.36", "3412.37", "3400.00", "3450.00"]))
    if kind in {"LIMIT", "STOP_LOSS_LIMIT"}:
        params["timeInForce"] = draw(st.sampled_from(["GTC", "GTC", "IOC", "FOK"]))
    if kind in {"STOP_LOSS_LIMIT", "TAKE_PROFIT", "STOP_LOSS"}:
        params["stopPrice"] = draw(st.sampled_from(["3300.00", "3500.00"]))
    return params | draw(st.just({}) | parameters())


methods = st.sampled_from(sorted(wsapi.METHODS)) | st.sampled_from(
    ["order.place", "order.cancelReplace", "v3/ping", "", "x"]
)
requests = st.one_of(
    st.tuples(methods, parameters()),
    st.tuples(st.sampled_from(["order.place", "order.test", "order.cancelReplace"]), orders()),
)
frames = st.tuples(st.sampled_from([0, 1, 2, 3, 8, 9, 10, 15]), st.binary(max_size=300))
controls = st.one_of(
    json_values.map(json.dumps),
    st.text(max_size=60),
    st.builds(
        lambda method, params, number: json.dumps({"method": method, "params": params, "id": number}),
        st.sampled_from(["SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY", "?"]),
        st.lists(
            st.sampled_from([f"{SYMBOL.lower()}@trade", "!miniTicker@arr", "combined", True, 1, "x@"]), max_size=3
        ),
        st.integers(-1, 2**64) | st.text(max_size=40) | st.none(),
    ),
)


# --- how it is answered ----------------------------------------------------------------------------------------------


class Watched:
    """A running exchange of which nothing may be lost."""

    def __init__(self, exchange: Served) -> None:
        self.served = exchange
        self.engine = exchange.exchange.venue.engine
        self.totals = {asset: self.engine.total(asset) for asset in FUNDS}

    async def check(self) -> None:
        """It answers, and the books add up."""
        assert (await (await self.served.client()).call("time"))["status"] == 200
        assert {asset: self.engine.total(asset) for asset in FUNDS} == self.totals
        for asset, held in self.engine.balances("main").items():
            assert held.free >= 0 and held.locked >= 0, asset

    async def started(self) -> None:
        """The market runs."""
        line = await self.served.line("trade")
        await line.receive()


def run(chapter: Any, *arguments: Any) -> None:
    """`chapter` on an exchange of its own, in virtual time; our faults fail it."""
    faults = _Faults()
    logging.getLogger().addHandler(faults)
    try:
        with tempfile.TemporaryDirectory() as folder:
            trio.run(_main, Path(folder), chapter, arguments, clock=MockClock(autojump_threshold=0))
    finally:
        logging.getLogger().removeHandler(faults)
    assert not faults.said, faults.said


async def _main(folder: Path, chapter: Any, arguments: tuple[Any, ...]) -> None:
    async with served(folder, funds=FUNDS, maker=Decimal("0.001"), taker=Decimal("0.001")) as exchange:
        watched = Watched(exchange)
        await watched.started()
        with trio.fail_after(600):
            await chapter(watched, *arguments)
            await watched.check()


class _Faults(logging.Handler):
    """Keeps what the log says of our own faults."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(f"{record.getMessage()}: {record.exc_info and record.exc_info[1]!r}")


def of_binances_form(reply: dict[str, Any]) -> None:
    """A result, or an error with code and text; never the one of a fault of ours."""
    assert isinstance(reply["status"], int)
    if reply["status"] == 200:
        assert "result" in reply and "error" not in reply
        return
    error = reply["error"]
    assert isinstance(error["code"], int) and error["code"] < 0
    assert isinstance(error["msg"], str) and error["msg"]
    assert error["code"] != -1000, error


async def replies(client: Client, text: str) -> None:
    """Send a text; whatever is answered is of the right form."""
    try:
        await client.ws.send_message(text)
        with trio.move_on_after(5):
            of_binances_form(await client.reply())
    except ConnectionClosed:
        pass  # a close is an answer too


# --- the tests -------------------------------------------------------------------------------------------------------


async def ask_all(watched: Watched, asked: list[tuple[str, dict[str, Any]]]) -> None:
    client = await watched.served.trader()
    for number, (method, params) in enumerate(asked):
        sent = {"timestamp": watched.served.now_ms()} | params
        await replies(client, json.dumps({"id": number, "method": method, "params": sent}))
        if method == "session.logout":
            await client.signed("session.logon")


@fuzz(120)
@given(st.lists(requests, min_size=1, max_size=12))
def test_any_request_of_the_websocket_api(asked: list[tuple[str, dict[str, Any]]]) -> None:
    run(ask_all, asked)


async def say_all(watched: Watched, target: str, texts: list[str]) -> None:
    client = await watched.served.client(target)
    for text in texts:
        await replies(client, text) if target.startswith("/ws-api") else await heard(client, text)


async def heard(client: Client, text: str) -> None:
    """A control message of a stream: a reply, an error or a close."""
    try:
        await client.ws.send_message(text)
        with trio.move_on_after(0.5):
            reply = json.loads(await client.ws.get_message())
            assert isinstance(reply, dict | list)  # `!miniTicker@arr` is a list
        await trio.sleep(0.3)  # five messages a second
    except ConnectionClosed:
        pass


@fuzz(60)
@given(st.lists(json_values.map(json.dumps) | st.text(max_size=80), min_size=1, max_size=6))
def test_any_json_on_the_websocket_api(texts: list[str]) -> None:
    run(say_all, "/ws-api/v3", texts)


@fuzz(60)
@given(st.sampled_from(["/ws", "/stream", f"/ws/{SYMBOL.lower()}@trade"]), st.lists(controls, min_size=1, max_size=6))
def test_any_control_message_on_a_stream(target: str, texts: list[str]) -> None:
    run(say_all, target, texts)


async def pour(watched: Watched, target: bytes | None, data: bytes) -> None:
    stream = watched.served.raw()
    try:
        if target is not None:
            await stream.send_all(UPGRADE % target)
            await stream.receive_some()
        await stream.send_all(data)
        await stream.send_eof()
    except trio.BrokenResourceError:
        return  # closed at once
    with trio.fail_after(120):
        while await stream.receive_some():
            pass


@fuzz(60)
@given(
    st.sampled_from([b"/ws-api/v3", b"/ws", b"/stream?streams=ethfdusd@trade"]),
    st.lists(frames, max_size=8) | st.binary(max_size=200),
)
def test_any_frames_after_the_handshake(target: bytes, sent: list[tuple[int, bytes]] | bytes) -> None:
    if not isinstance(sent, bytes):
        sent = b"".join(client_frame(code, data[:125] if code >= 8 else data, b"mask") for code, data in sent)
    run(pour, target, sent)


@fuzz(40)
@given(st.binary(max_size=300) | st.binary(max_size=100).map(lambda junk: b"GET /ws HTTP/1.1\r\n" + junk + b"\r\n\r\n"))
def test_any_bytes_instead_of_a_handshake(data: bytes) -> None:
    run(pour, None, data)


async def pour_sbe(watched: Watched, target: bytes, key: bytes, data: bytes) -> None:
    stream = watched.served.raw_sbe()
    with contextlib.suppress(trio.BrokenResourceError):  # closed at once
        head, _, rest = (UPGRADE % target).partition(b"\r\n")
        await stream.send_all(b"%b\r\nX-MBX-APIKEY: %b\r\n%b" % (head, key, rest))
        with trio.move_on_after(1):
            await stream.receive_some()
        await stream.send_all(data)
        await stream.send_eof()
        with trio.fail_after(120):
            while await stream.receive_some():
                pass


@fuzz(40)
@given(
    st.sampled_from([b"/ws", b"/stream?streams=ethfdusd@trade/ethfdusd@depth", b"/ws/ethfdusd@bestBidAsk", b"/x"]),
    st.sampled_from([ED_KEY.encode(), HMAC_KEY.encode(), b"short", b""]),
    st.lists(frames, max_size=6).map(
        lambda sent: b"".join(client_frame(code, data[:125] if code >= 8 else data, b"mask") for code, data in sent)
    )
    | st.lists(controls, max_size=5).map(
        lambda texts: b"".join(client_frame(1, text.encode(), b"mask") for text in texts)
    )
    | st.binary(max_size=200),
)
def test_any_bytes_on_the_sbe_port(target: bytes, key: bytes, data: bytes) -> None:
    run(pour_sbe, target, key, data)


# --- REST ------------------------------------------------------------------------------------------------------------

PATHS = (
    *("ping", "time", "exchangeInfo", "depth", "trades", "aggTrades", "klines", "avgPrice", "ticker/24hr", "ticker"),
    *("order", "order/test", "order/cancelReplace", "order/amend/keepPriority", "openOrders", "allOrders", "account"),
    *("myTrades", "orderList", "orderList/oco", "orderList/otoco", "userDataStream", "account/commission", "nothing"),
)
asks = st.tuples(
    st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH"]),
    st.sampled_from(PATHS),
    parameters() | orders(),
    st.sampled_from(["signed", "unsigned", "garbled"]),
    st.sampled_from([ED_KEY, HMAC_KEY, "short", ""]),
)


def queried(params: dict[str, Any]) -> Iterator[str]:
    """As a query's parts, percent-encoded."""
    for name, value in params.items():
        text = value if isinstance(value, str) else json.dumps(value)
        yield f"{quote(name, safe='')}={quote(text, safe='')}"


async def get_all(watched: Watched, asked: list[tuple[str, str, dict[str, Any], str, str]]) -> None:
    for verb, path, params, how, key in asked:
        query = "&".join(queried({"timestamp": watched.served.now_ms()} | params))
        if how == "signed":
            query += f"&signature={quote(SIGNER.sign(query), safe='')}"
        elif how == "garbled":
            query += "&signature=%zz&%00=\xa0&&=".encode("latin-1").decode("latin-1").replace("\xa0", "%A0")
        headers = {"X-MBX-APIKEY": key, "X-MBX-TIME-UNIT": "MICROSECOND"} if key else {}
        reply = await watched.served.http(verb, f"/api/v3/{path}?{query}", headers)
        assert reply["status"] != 500, reply
        if reply["status"] != 200 and isinstance(reply["body"], dict):
            assert reply["body"]["code"] < 0 and reply["body"]["msg"]


@fuzz(60)
@given(st.lists(asks, min_size=1, max_size=6))
def test_any_request_over_rest(asked: list[tuple[str, str, dict[str, Any], str, str]]) -> None:
    run(get_all, asked)


async def pour_http(watched: Watched, data: bytes) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watched.served.exchange.serve_rest_stream, theirs)
        try:
            await ours.send_all(data)
            await ours.send_eof()
            with trio.move_on_after(120):
                while await ours.receive_some():
                    pass
        except trio.BrokenResourceError:
            pass  # closed at once
        await ours.aclose()


@fuzz(50)
@given(
    st.binary(max_size=300)
    | st.tuples(st.sampled_from([b"GET", b"POST", b"\xff"]), st.binary(max_size=60), st.binary(max_size=60)).map(
        lambda parts: b"%b /api/v3/%b HTTP/1.1\r\nHost: x\r\n%b\r\n\r\n" % parts
    )
)
def test_any_bytes_on_the_rest_port(data: bytes) -> None:
    run(pour_http, data)


async def test_a_fault_of_ours_would_be_seen(tmp_path: Path, autojump_clock: MockClock) -> None:
    """The tests above can fail: what the log says of a fault is kept."""
    faults = _Faults()
    logging.getLogger().addHandler(faults)
    try:
        async with served(tmp_path) as exchange:
            exchange.exchange.venue.shapes = None  # type: ignore[assignment]  # breaks it on purpose
            client = await exchange.client()
            with pytest.raises(AssertionError, match="-1000"):
                of_binances_form(await client.call("ticker.book", symbol=SYMBOL))
    finally:
        logging.getLogger().removeHandler(faults)
    assert faults.said
