"""The WebSocket API as a client meets it: envelope, keys, parameters, limits, order of frames, unbroken by junk."""

from __future__ import annotations

import io
import json
import logging
import tempfile
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock
from trio_websocket import ConnectionRejected, wrap_client_stream

from tests.sim.served import (
    ED_KEY,
    HMAC_KEY,
    HMAC_SECRET,
    SIGNER,
    START_MS,
    SYMBOL,
    UPGRADE,
    Client,
    Served,
    quiet,
    served,
    top,
    trade,
)
from tetrio.sim.face.auth import KeyRights
from tetrio.sim.face.latency import parse_latency
from tetrio.sim.face.limits import FrameCounter, MessageRate
from tetrio.wire.frames import client_frame
from tetrio.wire.rules import PRODUCTION_LIMITS, RateLimit
from tetrio.wire.sign import payload

LIMIT = {"type": "LIMIT", "timeInForce": "GTC"}


@pytest.fixture
async def exchange(autojump_clock: MockClock, tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path) as running:
        yield running


def limits(kind: str, interval: str, limit: int) -> list[RateLimit]:
    return [
        msgspec.structs.replace(each, limit=limit)
        if (each.rate_limit_type, each.interval) == (kind, interval)
        else each
        for each in PRODUCTION_LIMITS
    ]


def code(reply: dict[str, Any]) -> int:
    number: int = reply["error"]["code"]
    return number


async def play(exchange: Served) -> Client:
    """Start the market, and wait for its first prices."""
    line = await exchange.line("bookTicker", "trade")
    await line.receive()
    await line.receive()
    return line


# -- envelope ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("request_id", [0, -5, 2**63 - 1, 10**40, "x", "", "ä" * 100, None])
async def test_an_id_is_echoed_as_it_came(exchange: Served, autojump_clock: MockClock, request_id: object) -> None:
    reply = await (await exchange.client()).ask(json.dumps({"id": request_id, "method": "ping"}))
    assert reply["id"] == request_id
    assert reply["status"] == 200


async def test_a_method_may_carry_its_version(exchange: Served, autojump_clock: MockClock) -> None:
    assert (await (await exchange.client()).call("v3/time"))["result"] == {"serverTime": START_MS}


JUNK = [
    *("", "nonsense", "[]", "7", "null", "{}", '{"id":1}', '{"id":[],"method":"ping"}', '{"id":1,"method":7}'),
    *('{"id":1,"method":"ping","params":[]}', '{"id":"\\ud800","method":"ping"}', "[" * 5000, "\x00"),
    *('{"id":1e999,"method":"ping"}', '{"id":true,"method":"ping"}', '{"id":1,"id":2,"method":"ping"}'),
    *('{"id":1,"method":"nothing.of.ours"}', '{"id":1,"method":"klines","params":{"symbol":"\\ud800"}}'),
    b"\x00\xff",
    b'{"id":1,"method":"ping"}',
]


@pytest.mark.parametrize("text", JUNK, ids=range(len(JUNK)))
async def test_junk_gets_an_error_and_the_connection_goes_on(
    exchange: Served, autojump_clock: MockClock, text: str | bytes, caplog: pytest.LogCaptureFixture
) -> None:
    client = await exchange.client()
    reply = await client.ask(text)
    assert reply["status"] == 400
    assert code(reply) < 0
    assert (await client.call("ping"))["status"] == 200
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize(
    "bytes_",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /ws-api/v3 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /ws-api/v3 HTTP/1.1\r\nHost: \xff\xfe\r\nUpgrade: websocket\r\n\r\n",
        b"\r\n\r\n",
        b"x" * 100_000,
        b"",
    ],
)
async def test_bytes_that_are_no_websocket_end_their_connection_only(
    exchange: Served, autojump_clock: MockClock, bytes_: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    stream = exchange.raw()
    with trio.fail_after(60):
        if bytes_:
            await stream.send_all(bytes_)
        else:
            await stream.send_eof()
        while await stream.receive_some():
            pass
    assert (await (await exchange.client()).call("ping"))["status"] == 200
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0, 1, 2, 3, 8, 9, 10, 15]), st.binary(max_size=200)), max_size=6))
def test_no_frames_of_a_client_break_the_exchange(frames: list[tuple[int, bytes]]) -> None:
    async def main(folder: str) -> None:
        async with served(Path(folder)) as exchange:
            stream = exchange.raw()
            await stream.send_all(UPGRADE % b"/ws-api/v3")
            await stream.receive_some()
            sent = b"".join(
                client_frame(opcode, data[:125] if opcode >= 8 else data, b"mask") for opcode, data in frames
            )
            await stream.send_all(sent)
            await stream.send_eof()
            with trio.fail_after(100):
                while await stream.receive_some():
                    pass
            assert (await (await exchange.client()).call("ping"))["status"] == 200

    with tempfile.TemporaryDirectory() as folder:
        trio.run(main, folder, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize(
    ("target", "status"),
    [("/", 404), ("/ws-api/v4", 404), ("/wsx", 404), ("/ws-api/v3?timeUnit=hours", 400), ("/stream/x", 404)],
)
async def test_other_paths_are_turned_away(
    exchange: Served, autojump_clock: MockClock, target: str, status: int
) -> None:
    with pytest.RaisesGroup(ConnectionRejected, flatten_subgroups=True) as refused:
        async with trio.open_nursery() as nursery:
            await wrap_client_stream(nursery, exchange.raw(), "exchange", target)  # type: ignore[arg-type]
    assert str(status) in str(refused.value.exceptions)


async def test_rate_limits_are_told_unless_the_url_or_the_request_says_no(
    exchange: Served, autojump_clock: MockClock
) -> None:
    silent = await exchange.client("/ws-api/v3?returnRateLimits=false")
    assert "rateLimits" not in await silent.call("ping")
    assert "rateLimits" in await silent.call("ping", returnRateLimits=True)
    assert (await silent.call("session.status"))["result"]["returnRateLimits"] is False
    talking = await exchange.client()
    assert "rateLimits" in await talking.call("ping")
    assert "rateLimits" not in await talking.call("ping", returnRateLimits="false")
    assert code(await talking.call("ping", returnRateLimits="perhaps")) == -1100


async def test_microseconds_in_replies_and_events(exchange: Served, autojump_clock: MockClock) -> None:
    await play(exchange)
    client = await exchange.client("/ws-api/v3?timeUnit=microsecond")
    await client.signed("session.logon")
    await client.call("userDataStream.subscribe")
    reply = await client.maker("BUY", "3400.00", newOrderRespType="RESULT")
    event = (await client.event("executionReport"))["event"]
    assert reply["result"]["transactTime"] == reply["result"]["workingTime"] == event["T"] == event["O"]
    assert event["T"] // 10**6 == exchange.now_ms() // 1000
    assert event["t"] == -1
    kline = (await client.call("klines", symbol=SYMBOL, interval="1m"))["result"][0]
    assert (kline[0], kline[6]) == (START_MS * 1000, START_MS * 1000 + 59_999_999)


# -- who is asking ----------------------------------------------------------------------------------------------------


async def test_a_session_needs_no_signature_but_a_timestamp(exchange: Served, autojump_clock: MockClock) -> None:
    client = await exchange.client()
    assert code(await client.order("openOrders.status")) == -1102
    await client.signed("session.logon")
    assert (await client.order("openOrders.status"))["result"] == []
    assert code(await client.call("openOrders.status")) == -1102
    await client.call("session.logout")
    assert code(await client.order("openOrders.status")) == -1102


async def test_only_ed25519_keys_log_on(exchange: Served, autojump_clock: MockClock) -> None:
    reply = await (await exchange.client()).signed_hmac("session.logon")
    assert (reply["status"], code(reply)) == (401, -2015)


async def test_a_signature_on_one_request_overrides_the_session(exchange: Served, autojump_clock: MockClock) -> None:
    client = await exchange.trader()
    assert (await client.signed_hmac("account.status"))["status"] == 200
    bad = await client.call("account.status", timestamp=exchange.now_ms(), apiKey=HMAC_KEY, signature="0" * 64)
    assert code(bad) == -1022
    assert (await client.call("session.status"))["result"]["apiKey"] == ED_KEY


async def test_signatures_are_over_the_text_that_was_sent(exchange: Served, autojump_clock: MockClock) -> None:
    client = await exchange.client()
    text = f'"omitZeroBalances":true,"timestamp":{exchange.now_ms()}.0e0,"apiKey":"{ED_KEY}"'
    signature = SIGNER.sign(f"apiKey={ED_KEY}&omitZeroBalances=true&timestamp={exchange.now_ms()}.0e0")
    frame = f'{{"id":1,"method":"account.status","params":{{{text},"signature":"{signature}"}}}}'
    assert code(await client.ask(frame)) == -1100  # the timestamp is none, but the signature came through the parser
    frame = frame.replace(".0e0", "").replace(
        signature, SIGNER.sign(f"apiKey={ED_KEY}&omitZeroBalances=true&timestamp={exchange.now_ms()}")
    )
    assert (await client.ask(frame))["status"] == 200


@pytest.mark.parametrize(
    ("offset_ms", "window", "answer"),
    [
        (999, None, 200),
        (1000, None, -1021),
        (-5000, None, 200),
        (-5001, None, -1021),
        (-1, "0.5", -1021),
        (-59_000, 60_000, 200),
        (0, 60_001, -1131),
        (0, "1,5", -1100),
    ],
)
async def test_when_a_timestamp_is_accepted(
    exchange: Served, autojump_clock: MockClock, offset_ms: int, window: int | str | None, answer: int
) -> None:
    params: dict[str, Any] = {} if window is None else {"recvWindow": window}
    client = await exchange.client()
    reply = await client.signed("account.status", timestamp=exchange.now_ms() + offset_ms, **params)
    assert (reply["status"] if reply["status"] == 200 else code(reply)) == answer


async def test_timestamps_may_be_microseconds(exchange: Served, autojump_clock: MockClock) -> None:
    reply = await (await exchange.client()).signed("account.status", timestamp=exchange.now_ms() * 1000)
    assert reply["status"] == 200


async def test_no_secret_is_logged(
    exchange: Served, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client = await exchange.trader()
    await client.signed_hmac("account.status")
    await client.call("account.status", timestamp=1, apiKey=HMAC_KEY, signature=HMAC_SECRET)
    ours = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("tetrio"))
    assert HMAC_SECRET not in ours + repr(exchange.exchange.venue.keys.__dict__)


async def test_a_session_whose_key_is_revoked_is_told_so_once_without_an_id(
    exchange: Served, autojump_clock: MockClock
) -> None:
    client, other = await exchange.trader(), await exchange.client()
    await other.signed_hmac("userDataStream.subscribe.signature")
    exchange.exchange.venue.keys.revoke(ED_KEY)
    reply = await client.call("ping")
    assert reply == {
        "id": None,
        "status": 401,
        "error": {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."},
    }
    assert (await client.event())["event"]["e"] == "eventStreamTerminated"
    status = (await client.call("session.status"))["result"]
    assert (status["apiKey"], status["authorizedSince"], status["userDataStream"]) == (None, None, False)
    assert code(await client.signed("session.logon")) == -2015
    assert (await client.signed_hmac("account.status"))["status"] == 200
    await other.signed_hmac("order.place", symbol=SYMBOL, **ORDER)
    assert (await other.event("executionReport"))["event"]["x"] == "NEW"


async def test_a_subscription_ends_with_the_key_that_signed_it(exchange: Served, autojump_clock: MockClock) -> None:
    client, trader = await exchange.client(), await exchange.trader()
    await client.signed_hmac("userDataStream.subscribe.signature")
    exchange.exchange.venue.keys.revoke(HMAC_KEY)
    await trader.maker("BUY", "3400.00")
    assert (await client.event())["event"]["e"] == "eventStreamTerminated"
    await client.call("ping")
    assert client.events == []


async def test_a_key_without_trading_logs_on_and_does_not_trade(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path, rights={ED_KEY: KeyRights(spot=False)}) as exchange:
        client = await exchange.trader()
        assert (await client.order("openOrders.status"))["status"] == 200
        reply = await client.order(**ORDER)
        assert (reply["status"], code(reply)) == (401, -2015)
        assert code(await client.order("order.cancel", orderId=1)) == -2015
        exchange.exchange.venue.keys.grant(ED_KEY, KeyRights())
        assert (await client.order(**ORDER))["status"] == 200


# -- parameters -------------------------------------------------------------------------------------------------------

ORDER = {"side": "BUY", "type": "LIMIT_MAKER", "price": "3400", "quantity": "0.5"}


@pytest.mark.parametrize(
    ("params", "answer"),
    [
        ({"side": "buy"}, -1117),
        ({"type": "LIMITED"}, -1116),
        ({"type": "LIMIT"}, -1102),
        ({"type": "LIMIT", "timeInForce": "GTX"}, -1115),
        ({"type": "LIMIT", "timeInForce": ""}, -1105),
        ({"timeInForce": "GTC"}, -1106),
        ({"price": "1e3"}, -1100),
        ({"price": "-1"}, -1100),
        ({"price": None}, -1102),
        ({"quantity": "1" * 21}, -1100),
        ({"quantity": ["1"]}, -1100),
        ({"quantity": "0.00000001"}, -1013),
        ({"quantity": "0.000000001"}, -1111),
        ({"quoteOrderQty": "1"}, -1106),
        ({"newClientOrderId": "a b"}, -1100),
        ({"newClientOrderId": "a" * 37}, -1100),
        ({"newClientOrderId": "ä"}, -1100),
        ({"newOrderRespType": "SHORT"}, -1136),
        ({"iceberg": "0.1"}, -1104),
        ({"type": "STOP_LOSS", "price": None, "stopPrice": "3000"}, -1013),
        ({"symbol": "ETHUSDT"}, -1121),
        ({"symbol": "eth/fdusd"}, -1100),
        ({"symbol": None}, -1102),
    ],
)
async def test_a_bad_parameter_of_an_order(
    exchange: Served, autojump_clock: MockClock, params: dict[str, Any], answer: int
) -> None:
    client = await exchange.trader()
    reply = await client.call("order.place", **{"symbol": SYMBOL, "timestamp": exchange.now_ms()} | ORDER | params)
    assert code(reply) == answer
    assert (await client.order("openOrders.status"))["result"] == []


@pytest.mark.parametrize(
    ("method", "params", "answer"),
    [
        ("klines", {"interval": "1m"}, -1102),
        ("klines", {"symbol": SYMBOL}, -1102),
        ("klines", {"symbol": SYMBOL, "interval": "1M", "limit": "x"}, -1100),
        ("klines", {"symbol": SYMBOL, "interval": "1m", "limit": 0}, -1100),
        ("klines", {"symbol": SYMBOL, "interval": "1m", "timeZone": "15"}, -1100),
        ("klines", {"symbol": SYMBOL, "interval": "1m", "timeZone": "-12:01"}, -1100),
        ("klines", {"symbol": SYMBOL, "interval": "1m", "timeZone": "8:60"}, -1100),
        ("exchangeInfo", {"symbol": SYMBOL, "symbols": [SYMBOL]}, -1128),
        ("exchangeInfo", {"symbols": [SYMBOL, SYMBOL]}, -1151),
        ("exchangeInfo", {"symbols": "["}, -1100),
        ("exchangeInfo", {"symbols": [1]}, -1130),
        ("exchangeInfo", {"symbols": ["NOPE"]}, -1121),
        ("exchangeInfo", {"symbol": SYMBOL, "permissions": "SPOT"}, -1128),
        ("exchangeInfo", {"symbol": SYMBOL, "symbolStatus": "TRADING"}, -1128),
        ("exchangeInfo", {"permissions": ["SPOT", 1]}, -1130),
        ("exchangeInfo", {"permissions": "["}, -1130),
        ("exchangeInfo", {"permissions": "spot"}, -1130),
        ("executionRules", {"symbol": SYMBOL, "symbols": [SYMBOL]}, -1128),
        ("ticker.book", {"symbolStatus": "ASLEEP"}, -1122),
        ("depth", {"symbol": SYMBOL, "symbolStatus": "BREAK"}, -1220),
        ("ticker.24hr", {"symbol": SYMBOL, "type": "SHORT"}, -1139),
        ("ticker.24hr", {"symbol": SYMBOL, "symbolStatus": "HALT"}, -1220),
        ("ticker.tradingDay", {}, -1102),
        ("ticker.tradingDay", {"symbol": SYMBOL, "timeZone": "x"}, -1100),
        ("ticker", {}, -1102),
        ("ticker", {"symbol": SYMBOL, "windowSize": "24h"}, -1130),
        ("ticker", {"symbols": [SYMBOL, SYMBOL]}, -1151),
        ("ticker", {"symbols": [f"S{number}" for number in range(101)]}, -1101),
        ("trades.historical", {"fromId": 1}, -1102),
        ("trades.historical", {"symbol": SYMBOL, "fromId": "x"}, -1100),
        ("trades.aggregate", {"symbol": SYMBOL, "fromId": 1, "startTime": 1}, -1128),
        ("blockTrades.historical", {"symbol": SYMBOL}, -1102),
        ("referencePrice", {}, -1102),
        ("referencePrice.calculation", {"symbol": SYMBOL}, -2043),
        ("referencePrice.calculation", {"symbol": SYMBOL, "symbolStatus": "HALT"}, -1220),
        ("ping", {"x": 1}, -1104),
        ("depth", {"symbol": SYMBOL, "limit": "9" * 30}, -1100),
        ("depth", {"symbol": SYMBOL, "limit": "9" * 20}, -1108),
    ],
)
async def test_a_bad_parameter_of_a_query(
    exchange: Served, autojump_clock: MockClock, method: str, params: dict[str, Any], answer: int
) -> None:
    assert code(await (await exchange.client()).call(method, **params)) == answer


async def test_numbers_may_be_numbers_and_flags_texts(exchange: Served, autojump_clock: MockClock) -> None:
    client = await exchange.trader()
    numbers: dict[str, Any] = {"price": 3400.5, "quantity": 1}
    reply = await client.order(**ORDER | numbers)
    assert reply["status"] == 200
    status = await client.call("account.status", timestamp=str(exchange.now_ms()), omitZeroBalances="true")
    assert {each["asset"] for each in status["result"]["balances"]} == {"ETH", "FDUSD"}
    assert (await client.call("klines", symbol=SYMBOL, interval="1m", limit="5"))["status"] == 200


# -- orders -----------------------------------------------------------------------------------------------------------


async def test_replies_come_before_the_events_they_cause_and_events_in_order(
    exchange: Served, autojump_clock: MockClock
) -> None:
    await play(exchange)
    client = await exchange.trader()
    reply = await client.order(**LIMIT | {"side": "BUY", "price": "3412.40", "quantity": "1.0"})
    assert client.events == []
    kinds = [(await client.event())["event"] for _ in range(3)]
    assert [event.get("x", event["e"]) for event in kinds] == ["NEW", "TRADE", "outboundAccountPosition"]
    assert kinds[1]["z"] == reply["result"]["executedQty"] == "0.77140000"
    assert [fill["price"] for fill in reply["result"]["fills"]] == ["3412.37000000"]
    assert reply["result"]["status"] == "PARTIALLY_FILLED"


async def test_every_subscribed_connection_hears_and_others_do_not(exchange: Served, autojump_clock: MockClock) -> None:
    one, other, silent = await exchange.trader(), await exchange.trader(), await exchange.client()
    await silent.signed("session.logon")
    await one.maker("BUY", "3400.00")
    assert (await other.event("executionReport"))["event"]["x"] == "NEW"
    await silent.call("ping")
    assert silent.events == []


async def test_unsubscribing_ends_the_events(exchange: Served, autojump_clock: MockClock) -> None:
    client = await exchange.trader()
    assert (await client.call("userDataStream.unsubscribe"))["result"] == {}
    assert (await client.event())["event"] == {"e": "eventStreamTerminated", "E": exchange.now_ms()}
    await client.maker("BUY", "3400.00")
    await client.call("ping")
    assert client.events == []
    assert (await client.call("userDataStream.subscribe"))["result"] == {"subscriptionId": 1}


async def test_logging_out_ends_the_sessions_subscription_only(exchange: Served, autojump_clock: MockClock) -> None:
    client = await exchange.client()
    await client.signed_hmac("userDataStream.subscribe.signature")
    await client.signed("session.logon")
    await client.call("session.logout")
    assert (await client.call("session.subscriptions"))["result"] == [{"subscriptionId": 0}]
    trader = await exchange.trader()
    await trader.call("session.logout")
    assert (await trader.event())["event"]["e"] == "eventStreamTerminated"
    assert (await trader.call("session.subscriptions"))["result"] == []


async def test_subscribing_needs_a_session(exchange: Served, autojump_clock: MockClock) -> None:
    assert code(await (await exchange.client()).call("userDataStream.subscribe")) == -2015


async def test_a_client_may_cancel_by_either_id(exchange: Served, autojump_clock: MockClock) -> None:
    client = await exchange.trader()
    await client.maker("BUY", "3400.00", newClientOrderId="mine")
    reply = await client.order("order.cancel", origClientOrderId="mine", newClientOrderId="gone")
    assert (reply["result"]["origClientOrderId"], reply["result"]["clientOrderId"]) == ("mine", "gone")
    events = [await client.event() for _ in range(4)]
    event = next(each for each in events if each["event"].get("x") == "CANCELED")
    assert (event["event"]["c"], event["event"]["C"], event["event"]["w"]) == ("gone", "mine", False)
    assert code(await client.order("order.cancel", origClientOrderId="mine")) == -2011


async def test_all_orders_and_trades_are_found_as_asked(autojump_clock: MockClock, tmp_path: Path) -> None:
    fills = [trade(at_s, "3400.00", "1.0000") for at_s in (10, 20, 30)]
    async with served(tmp_path, [*quiet(), *fills], fills="touch") as exchange:
        await play(exchange)
        client = await exchange.trader()
        for _ in range(3):
            await client.maker("BUY", "3400.00", "0.5000")
        await trio.sleep(60)
        everything = (await client.order("myTrades"))["result"]
        assert len(everything) == 3
        newest = (await client.order("myTrades", limit=1))["result"]
        assert newest == everything[-1:]
        oldest = (await client.order("myTrades", fromId=everything[1]["id"]))["result"]
        assert oldest == everything[1:]
        by_order = (await client.order("myTrades", orderId=2))["result"]
        assert [each["orderId"] for each in by_order] == [2]
        times = [each["time"] for each in everything]
        assert (await client.order("myTrades", startTime=times[0] + 1, endTime=times[2]))["result"] == [
            each for each in everything if each["time"] > times[0]
        ]
        orders = (await client.order("allOrders"))["result"]
        assert [each["orderId"] for each in orders] == [1, 2, 3]
        assert [each["orderId"] for each in (await client.order("allOrders", orderId=2))["result"]] == [2, 3]
        assert [each["orderId"] for each in (await client.order("allOrders", limit=1))["result"]] == [3]
        since = (await client.order("allOrders", startTime=orders[2]["updateTime"], orderId=1))["result"]
        assert [each["updateTime"] for each in since] == [orders[2]["updateTime"]] * len(since)
        assert code(await client.order("allOrders", startTime=1, endTime=86_400_002)) == -1127


async def test_an_order_of_one_side_fills_one_of_the_other_by_price_and_time(
    exchange: Served, autojump_clock: MockClock
) -> None:
    """Both are of the one account, so the resting one expires instead (EXPIRE_MAKER)."""
    client = await exchange.trader()
    await client.maker("SELL", "3400.00", newClientOrderId="resting")
    await client.order(**LIMIT | {"side": "BUY", "price": "3400.00", "quantity": "0.5"})
    status = (await client.order("order.status", origClientOrderId="resting"))["result"]
    assert (status["status"], status["preventedQuantity"]) == ("EXPIRED_IN_MATCH", "0.50000000")


# -- limits -----------------------------------------------------------------------------------------------------------


async def test_success_of_order_calls_costs_no_weight_and_failure_does(
    exchange: Served, autojump_clock: MockClock
) -> None:
    client = await exchange.trader()

    async def weight() -> int:
        used: int = (await client.call("ping"))["rateLimits"][-1]["count"]
        return used

    before = await weight()
    await client.maker("BUY", "3400.00")
    await client.order("order.cancel", orderId=1)
    assert await weight() == before + 1
    await client.order("order.cancel", orderId=1)
    assert await weight() == before + 3


async def test_weight_is_one_budget_an_address_and_rolls_with_the_minute(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with served(tmp_path, limits=limits("REQUEST_WEIGHT", "MINUTE", 50)) as exchange:
        one, other = await exchange.client(), await exchange.client()
        await one.call("exchangeInfo")
        await one.call("exchangeInfo")
        reply = await other.call("exchangeInfo")
        assert (reply["status"], code(reply)) == (429, -1003)
        assert reply["error"]["data"] == {"serverTime": START_MS, "retryAfter": START_MS + 60_000}
        await trio.sleep(60)
        assert (await other.call("exchangeInfo"))["status"] == 200


async def test_the_order_count_grows_with_orders_and_falls_with_first_fills(
    exchange: Served, autojump_clock: MockClock
) -> None:
    await play(exchange)
    client = await exchange.trader()

    async def counts() -> list[int]:
        rows = (await client.call("account.rateLimits.orders", timestamp=exchange.now_ms()))["result"]
        return [row["count"] for row in rows]

    for number in range(1, 4):
        await client.maker("BUY", "3400.00", "0.1")
        assert await counts() == [number, number]
    await client.maker("BUY", "3412.37", "0.1")  # refused: not counted
    assert await counts() == [3, 3]
    await client.order(type="MARKET", side="SELL", quantity="0.1")  # +1, and its first fill as a taker -1
    assert await counts() == [3, 3]
    await trio.sleep(10)
    assert await counts() == [0, 3]
    failed = {"side": "BUY", "type": "LIMIT_MAKER", "price": "3400", "quantity": "0.1", "cancelOrderId": 99}
    await client.order("order.cancelReplace", **failed, cancelReplaceMode="STOP_ON_FAILURE")  # not attempted: counted
    assert await counts() == [1, 4]


async def test_going_on_over_the_weight_shuts_an_address_out(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path, limits=limits("REQUEST_WEIGHT", "MINUTE", 100)) as exchange:
        one, other = await exchange.client(), await exchange.client()
        while (reply := await one.call("exchangeInfo"))["status"] != 418:
            assert reply["status"] in {200, 429}
        until_ms = START_MS + 120_000
        assert code(reply) == -1003
        assert reply["error"]["msg"].startswith(f"Way too much request weight used; IP banned until {until_ms}. ")
        assert reply["error"]["data"] == {"serverTime": START_MS, "retryAfter": until_ms}
        assert reply["rateLimits"][-1]["count"] > 150
        assert [await one.closed(), await other.closed()] == [(1008, "IP banned")] * 2
        assert await exchange.refused("/ws-api/v3") == (418, "120")
        assert (await exchange.get("/api/v3/ping"))["status"] == 418
        await trio.sleep(120)
        assert (await (await exchange.client()).call("ping"))["status"] == 200


async def test_junk_has_its_weight_too(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path, limits=limits("REQUEST_WEIGHT", "MINUTE", 4)) as exchange:
        client = await exchange.client()
        answers = [(await client.ask("junk"))["status"] for _ in range(5)]
        assert answers == [400, 400, 429, 429, 418]
        assert (await client.closed())[0] == 1008


async def test_a_ban_by_hand(exchange: Served, autojump_clock: MockClock) -> None:
    client, addresses = await exchange.client(), exchange.exchange.venue.addresses
    addresses.ban("memory", exchange.now_ms() + 5000)
    assert await client.closed() == (1008, "IP banned")
    assert await exchange.refused("/ws-api/v3") == (418, "5")
    addresses.unban("memory")
    assert (await (await exchange.client()).call("ping"))["status"] == 200


@pytest.mark.parametrize("target", ["/ws-api/v3", "/ws/ethfdusd@trade"])
async def test_connection_attempts_are_limited_for_each_service(
    autojump_clock: MockClock, tmp_path: Path, target: str
) -> None:
    async with served(tmp_path, limits=limits("CONNECTIONS", "MINUTE", 2)) as exchange:
        for _ in range(2):
            await (await exchange.client(target)).ws.aclose()
        assert await exchange.refused(target) == (429, "300")
        await exchange.client("/ws" if target.startswith("/ws-api") else "/ws-api/v3")
        await trio.sleep(300)
        await exchange.client(target)


async def test_a_request_that_becomes_too_old_inside_counts_as_an_order(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with served(tmp_path, latency=parse_latency("300")) as exchange:
        client = await exchange.trader()
        late = await client.order(**ORDER, recvWindow=299)
        assert (code(late), [row["count"] for row in late["rateLimits"]][:2]) == (-1021, [1, 1])
        early = await client.call("order.place", symbol=SYMBOL, **ORDER, timestamp=exchange.now_ms() - 5001)
        assert (code(early), [row["count"] for row in early["rateLimits"]][:2]) == (-1021, [1, 1])
        query = await client.order("openOrders.status", recvWindow=299)
        assert code(query) == -1021
        assert code(await client.signed("session.logon", recvWindow=299)) == -1021


def test_five_messages_a_second_and_not_six() -> None:
    rate = MessageRate(5)
    assert [rate.admit(at_s / 10) for at_s in range(6)] == [True] * 5 + [False]
    assert [rate.admit(10 + at_s * 0.25) for at_s in range(20)] == [True] * 20


@given(
    st.lists(st.tuples(st.sampled_from([0, 1, 2, 8, 9, 10]), st.integers(0, 70_000)), max_size=8),
    st.integers(1, 5000),
)
@settings(max_examples=30, deadline=None)
def test_frames_are_counted_however_they_are_cut(frames: list[tuple[int, int]], chunk: int) -> None:
    data = b"".join(
        client_frame(opcode, b"x" * (size % 126 if opcode >= 8 else size), b"mask") for opcode, size in frames
    )
    counter = FrameCounter()
    begun = sum(counter.feed(data[at : at + chunk]) for at in range(0, len(data), chunk))
    assert begun == sum(opcode != 0 for opcode, _ in frames)


# -- the connection ---------------------------------------------------------------------------------------------------


async def test_latency_delays_requests_and_events_each(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path, latency=parse_latency("40")) as exchange:
        client = await exchange.trader()
        began = trio.current_time()
        reply = await client.maker("BUY", "3400.00")
        assert trio.current_time() - began == pytest.approx(0.04)
        assert reply["status"] == 200
        await client.event("executionReport")
        assert trio.current_time() - began == pytest.approx(0.08)


async def test_latency_does_not_queue_requests_behind_each_other(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path, latency=parse_latency("100")) as exchange:
        client = await exchange.client()
        began = trio.current_time()
        for number in range(10):
            await client.ws.send_message(json.dumps({"id": number, "method": "ping"}))
        assert [(await client.reply())["id"] for _ in range(10)] == list(range(10))
        assert trio.current_time() - began == pytest.approx(0.1)


async def test_a_request_that_latency_makes_late_is_refused(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path, latency=parse_latency("300")) as exchange:
        client = await exchange.trader()
        assert code(await client.order(**ORDER, recvWindow=299)) == -1021
        assert (await client.order(**ORDER, recvWindow=300))["status"] == 200


async def test_a_connection_lasts_a_day(exchange: Served, autojump_clock: MockClock) -> None:
    client = await exchange.client()
    assert await client.closed() == (1001, "connected for 86400 s, which is the limit")
    assert trio.current_time() == pytest.approx(86400, abs=1)


async def test_a_client_that_does_not_answer_pings_is_cut(exchange: Served, autojump_clock: MockClock) -> None:
    stream = exchange.raw()
    await stream.send_all(UPGRADE % b"/ws-api/v3")
    with trio.fail_after(100):
        while await stream.receive_some():
            pass
    assert trio.current_time() == pytest.approx(81, abs=1)  # 20 s, 60 s, and 1 s for the close that is not answered


async def test_a_client_that_closes_or_vanishes_leaves_the_others_alone(
    exchange: Served, autojump_clock: MockClock
) -> None:
    staying = await exchange.trader()
    closing, vanishing = await exchange.trader(), await exchange.trader()
    await closing.ws.aclose()
    await trio.aclose_forcefully(vanishing.ws._stream)
    for _ in range(3):
        await staying.maker("BUY", "3400.00", "0.1")
    assert (await staying.event("executionReport"))["event"]["x"] == "NEW"


async def test_the_record_tells_of_connections_orders_and_the_end(autojump_clock: MockClock, tmp_path: Path) -> None:
    record = io.StringIO()
    async with served(tmp_path, audit=record, taker=Decimal("0.001")) as exchange:
        await play(exchange)
        client = await exchange.trader()
        await client.maker("BUY", "3412.37")
        await client.order(type="MARKET", side="BUY", quantity="0.1")
        await client.maker("BUY", "3400.00")
        await client.order("openOrders.cancelAll")
        await client.ws.aclose()
    lines = [json.loads(line) for line in record.getvalue().splitlines()]
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    stamps = [line["ts"] for line in lines]
    assert stamps == sorted(stamps)
    assert [line["ev"] for line in lines] == [
        *("deposit", "deposit", "connect", "connect", "logon", "reject", "accept", "fill", "accept", "cancel"),
        *("disconnect", "disconnect", "end"),
    ]
    assert lines[-1]["frames"] == 3
    assert [line["why"] for line in lines if line["ev"] == "disconnect"] == [
        "closed by the client: 1000",
        "the exchange stopped",
    ]


async def test_the_market_stands_still_until_somebody_listens(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path, [*quiet(), top(1, "3413.00", "1", "3413.01", "1")]) as exchange:
        client = await exchange.client()
        await trio.sleep(1000)
        assert (await client.call("ticker.book", symbol=SYMBOL))["result"]["bidPrice"] == "0.00000000"
        line = await exchange.line("bookTicker")
        began = trio.current_time()
        await line.receive()
        await line.receive()
        assert trio.current_time() - began == pytest.approx(1)
        assert (await client.call("ticker.book", symbol=SYMBOL))["result"]["bidPrice"] == "3413.00000000"


def test_a_signed_payload_is_what_the_tests_sign() -> None:
    """The helper and the exchange share `payload`: this holds it against the documented vector."""
    text = payload({"timestamp": 1645423376532, "apiKey": "k", "symbol": "１２３４５６"})
    assert text == "apiKey=k&symbol=１２３４５６&timestamp=1645423376532"
