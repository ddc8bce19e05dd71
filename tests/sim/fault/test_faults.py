"""Each fault as a client meets it, in virtual time."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock
from trio_websocket import ConnectionClosed

from tests.sim.served import SYMBOL, UPGRADE, Client, Served, quiet, served, top, trade
from tetrio.errors import ConfigError
from tetrio.sim.fault.faults import FaultError
from tetrio.wire.frames import TEXT, FrameError, FrameReader, client_frame

ORDER: dict[str, Any] = {"type": "LIMIT_MAKER", "side": "BUY", "price": "3400.00", "quantity": "0.1000"}


@pytest.fixture
async def exchange(autojump_clock: MockClock, tmp_path: Path) -> AsyncIterator[Served]:
    lines = [*quiet(), *(top(at, f"{3400 + at}.00", "1", f"{3400 + at}.01", "1") for at in range(10, 60))]
    async with served(tmp_path, lines) as exchange:
        yield exchange


def arm(exchange: Served, text: str) -> int:
    return exchange.exchange.mishaps.arm(text).id


def heal(exchange: Served, fault_id: int) -> None:
    exchange.exchange.mishaps.heal(fault_id)


def counts(exchange: Served) -> dict[str, int]:
    return dict(exchange.exchange.mishaps.counts)


def code(reply: dict[str, Any]) -> int:
    value: int = reply["error"]["code"]
    return value


async def send(client: Client, method: str, **params: Any) -> None:
    """A request whose answer nobody waits for."""
    await client.ws.send_message(json.dumps({"id": 77, "method": method, "params": params}))


async def send_order(client: Client) -> None:
    await send(client, "order.place", symbol=SYMBOL, timestamp=client.served.now_ms(), **ORDER)


async def silent(client: Client, for_s: float) -> bool:
    """Whether nothing comes for so long; what comes is kept."""
    with trio.move_on_after(for_s):
        client.events.append(await client.receive())
        return False
    return True


# -- connections ------------------------------------------------------------------------------------------------------


async def test_a_stalled_stream_catches_up_and_the_other_face_is_as_ever(
    exchange: Served, autojump_clock: MockClock
) -> None:
    line, api = await exchange.line("bookTicker"), await exchange.client()
    await line.receive()
    arm(exchange, "stall:stream:30s@5s")
    await trio.sleep(6)
    assert await silent(line, 25)
    assert (await api.call("ping"))["status"] == 200
    await trio.sleep(6)
    updates = [(await line.receive())["u"] for _ in range(25)]
    assert updates == sorted(updates)
    assert counts(exchange) == {"stall": 1}


async def test_a_handshake_into_a_stall_is_not_answered_before_its_end(
    exchange: Served, autojump_clock: MockClock
) -> None:
    arm(exchange, "stall:ws_api:5s")
    began = trio.current_time()
    client = await exchange.client()
    assert trio.current_time() - began == pytest.approx(5)
    assert (await client.call("ping"))["status"] == 200


async def test_a_half_open_connection_is_given_up_by_the_exchange_and_not_heard_of(
    exchange: Served, autojump_clock: MockClock
) -> None:
    client = await exchange.trader()
    dead = arm(exchange, "half-open:ws_api")
    await send_order(client)
    assert await silent(client, 3600)
    assert len(exchange.exchange.mishaps.guests) == 0  # no pong: closed, and the client cannot know
    other = await exchange.trader()
    assert (await other.order("openOrders.status"))["result"] == []
    heal(exchange, dead)
    with pytest.raises(ConnectionClosed):
        await client.receive()


@pytest.mark.parametrize("short", [0, 1])
async def test_a_request_cut_by_one_byte_is_not_executed(
    short: int, exchange: Served, autojump_clock: MockClock
) -> None:
    watching, client = await exchange.trader(), await exchange.trader()
    text = json.dumps({"id": 1, "method": "order.place",
                       "params": {"symbol": SYMBOL, "timestamp": exchange.now_ms(), **ORDER}})  # fmt: skip
    frame = client_frame(TEXT, text.encode(), b"mask")
    arm(exchange, f"cut:ws_api#2:in:{len(frame) - short}")
    await client.ws._stream.send_all(frame)
    with pytest.raises(ConnectionClosed):
        await client.receive()
    resting = (await watching.order("openOrders.status"))["result"]
    assert len(resting) == 1 - short
    assert counts(exchange) == {"cut": 1}


@pytest.mark.parametrize("after", [0, 1, 100, 129, 150, 200])
async def test_a_handshake_is_cut_at_the_byte(after: int, exchange: Served, autojump_clock: MockClock) -> None:
    arm(exchange, f"cut:ws_api:out:{after}")
    stream = exchange.raw()
    await stream.send_all(UPGRADE % b"/ws-api/v3")
    got = b""
    with trio.move_on_after(10):
        while more := await stream.receive_some():
            got += more
    assert len(got) == after or (after > 140 and b"\r\n\r\n" in got)


@pytest.mark.parametrize("status", [418, 429, 403, 503])
async def test_a_handshake_is_refused_by_an_http_status(
    status: int, exchange: Served, autojump_clock: MockClock
) -> None:
    armed = arm(exchange, f"refuse:all:{status}:60s")
    stream = exchange.raw()
    await stream.send_all(UPGRADE % b"/ws-api/v3")
    assert (await stream.receive_some()).startswith(b"HTTP/1.1 %d " % status)
    assert (await exchange.get("/api/v3/time"))["status"] == status
    heal(exchange, armed)
    assert (await exchange.get("/api/v3/time"))["status"] == 200
    assert counts(exchange) == {"refuse": 2}


async def test_a_killed_exchange_comes_back(exchange: Served, autojump_clock: MockClock) -> None:
    trader, line = await exchange.trader(), await exchange.line("bookTicker")
    arm(exchange, "kill:all:10s")
    for client in (trader, line):
        with pytest.raises(ConnectionClosed):
            while True:
                await client.receive()
    newcomer = exchange.raw()
    assert await newcomer.receive_some() == b""
    await trio.sleep(10)
    assert (await (await exchange.client()).call("ping"))["status"] == 200


async def test_all_are_disconnected_with_a_code(exchange: Served, autojump_clock: MockClock) -> None:
    api, line = await exchange.client(), await exchange.line("bookTicker")
    arm(exchange, "disconnect:stream:1008")
    assert await line.closed() == (1008, "disconnected")
    assert (await api.call("ping"))["status"] == 200
    arm(exchange, "disconnect")
    assert await api.closed() == (1001, "disconnected")


async def test_a_shutdown_is_told_in_each_shape_before_the_close(exchange: Served, autojump_clock: MockClock) -> None:
    api = await exchange.client()
    raw, combined = await exchange.line("trade"), await exchange.line("trade", combined=True)
    await trio.sleep(1)
    arm(exchange, "server-shutdown:all:5s")
    now_ms = exchange.now_ms()
    told = {"e": "serverShutdown", "E": now_ms}
    began = trio.current_time()
    assert await api.receive() == {"event": told}
    assert [frame async for frame in until(raw, "serverShutdown")] == [told]
    shapes = [frame async for frame in until(combined, "serverShutdown")]
    assert shapes == [{"stream": "!serverShutdown", "data": told}]
    for client in (api, raw, combined):
        assert await client.closed() == (1001, "the server is shutting down")
    assert trio.current_time() - began == pytest.approx(5, abs=1.1)


async def until(client: Client, word: str) -> AsyncIterator[dict[str, Any]]:
    """The one frame with `word`, after others."""
    while word not in json.dumps(frame := await client.receive()):
        pass
    yield frame


async def test_pings_are_not_sent_and_not_answered(exchange: Served, autojump_clock: MockClock) -> None:
    arm(exchange, "no-ping:ws_api")
    arm(exchange, "no-pong:ws_api:100s")
    stream, reader = exchange.raw(), FrameReader()
    await stream.send_all(UPGRADE % b"/ws-api/v3")
    assert b"101" in await stream.receive_some()
    await stream.send_all(client_frame(0x9, b"hello?", b"mask"))
    with trio.move_on_after(101) as patience:
        await stream.receive_some()
    assert patience.cancelled_caught
    await stream.send_all(client_frame(0x9, b"hello!", b"mask"))
    assert reader.feed(await stream.receive_some()) == [(0xA, b"hello!")]
    assert counts(exchange)["no-pong"] == 1
    assert counts(exchange)["no-ping"] >= 4


# -- requests ---------------------------------------------------------------------------------------------------------


async def test_a_lost_reply_leaves_an_order(exchange: Served, autojump_clock: MockClock) -> None:
    client = await exchange.trader()
    arm(exchange, "lose-reply:order.place")
    await send_order(client)
    assert (await client.event("executionReport"))["event"]["x"] == "NEW"
    assert len((await client.order("openOrders.status"))["result"]) == 1
    assert not [reply for reply in client.replies if reply["id"] == 77]
    assert (await client.order(**ORDER))["status"] == 200
    assert counts(exchange) == {"lose-reply": 1}


async def test_a_lost_request_leaves_nothing(exchange: Served, autojump_clock: MockClock) -> None:
    client = await exchange.trader()
    arm(exchange, "lose-request:order.*:2")
    await send_order(client)
    await send_order(client)
    assert (await client.order("openOrders.status"))["result"] == []
    await send_order(client)
    assert (await client.reply())["status"] == 200


@pytest.mark.parametrize("executed", ["executed", "not"])
async def test_a_backend_timeout_comes_after_10_s_and_does_not_tell_whether_it_was_done(
    executed: str, exchange: Served, autojump_clock: MockClock
) -> None:
    client = await exchange.trader()
    arm(exchange, f"fail:order.place:-1007:{executed}")
    began = trio.current_time()
    reply = await client.order(**ORDER)
    assert trio.current_time() - began == pytest.approx(10)
    assert (reply["status"], code(reply)) == (504, -1007)
    assert reply["error"]["msg"].startswith("Timeout waiting for response from backend server.")
    assert bool((await client.order("openOrders.status"))["result"]) is (executed == "executed")


@pytest.mark.parametrize(
    ("error", "status", "number"),
    [("-1000", 500, -1000), ("-1001", 500, -1001), ("-1006", 500, -1006), ("-1008", 503, -1008),
     ("503-unknown", 503, -1000), ("403", 403, -1000)],
)  # fmt: skip
async def test_a_request_fails(
    error: str, status: int, number: int, exchange: Served, autojump_clock: MockClock
) -> None:
    client = await exchange.trader()
    arm(exchange, f"fail:order.place:{error}")
    reply = await client.order(**ORDER)
    assert (reply["status"], code(reply)) == (status, number)
    assert (await client.order(**ORDER))["status"] == 200


async def test_rest_requests_are_lost_and_fail_too(exchange: Served, autojump_clock: MockClock) -> None:
    arm(exchange, "lose-reply:time")
    with trio.move_on_after(50) as patience:
        await exchange.get("/api/v3/time")
    assert patience.cancelled_caught
    arm(exchange, "fail:ticker.book:-1007")
    began = trio.current_time()
    reply = await exchange.get("/api/v3/ticker/bookTicker", f"symbol={SYMBOL}")
    assert (reply["status"], reply["body"]["code"]) == (504, -1007)
    assert trio.current_time() - began == pytest.approx(10)
    arm(exchange, "fail:klines:451")
    reply = await exchange.get("/api/v3/klines", f"symbol={SYMBOL}&interval=1m")
    assert reply["status"] == 451
    assert reply["body"].startswith(b"<html>")
    assert (await exchange.get("/api/v3/time"))["status"] == 200


# -- events -----------------------------------------------------------------------------------------------------------


async def kinds(client: Client, count: int) -> list[str]:
    """Kinds of the next user events."""
    return [(await client.event())["event"]["e"] for _ in range(count)]


async def test_user_events_are_lost_doubled_and_late(exchange: Served, autojump_clock: MockClock) -> None:
    client = await exchange.trader()
    arm(exchange, "lose-event:executionReport")
    await client.order(**ORDER)
    assert await kinds(client, 1) == ["outboundAccountPosition"]
    arm(exchange, "duplicate-event:executionReport")
    await client.order(**ORDER)
    assert await kinds(client, 3) == ["executionReport", "executionReport", "outboundAccountPosition"]
    arm(exchange, "delay-event:executionReport:3s")
    began = trio.current_time()
    await client.order(**ORDER)
    assert await kinds(client, 2) == ["outboundAccountPosition", "executionReport"]
    assert trio.current_time() - began == pytest.approx(3)
    arm(exchange, "reorder-events:executionReport")
    await client.order(**ORDER)
    assert await kinds(client, 2) == ["outboundAccountPosition", "executionReport"]
    await client.order(**ORDER)
    assert await kinds(client, 2) == ["executionReport", "outboundAccountPosition"]


async def test_an_event_that_waits_for_the_next_one_does_not_wait_for_ever(
    exchange: Served, autojump_clock: MockClock
) -> None:
    client = await exchange.trader()
    arm(exchange, "reorder-events:outboundAccountPosition")
    began = trio.current_time()
    await client.order(**ORDER)
    assert await kinds(client, 2) == ["executionReport", "outboundAccountPosition"]
    assert trio.current_time() - began == pytest.approx(10)


async def test_user_events_are_withheld_while_requests_go_on(exchange: Served, autojump_clock: MockClock) -> None:
    client = await exchange.trader()
    armed = arm(exchange, "lose-event:*:all")
    for _ in range(3):
        assert (await client.order(**ORDER))["status"] == 200
    assert client.events == []
    heal(exchange, armed)
    await client.order(**ORDER)
    assert (await client.event("executionReport"))["event"]["i"] == 4
    assert counts(exchange) == {"lose-event": 6}


@pytest.mark.parametrize("combined", [True, False])
async def test_market_frames_are_lost_by_channel(combined: bool, autojump_clock: MockClock, tmp_path: Path) -> None:
    lines = [*quiet(), *(trade(at, "3412.36", "0.1") for at in (10, 20, 30)), top(25, "3412.30", "1", "3412.37", "1")]
    async with served(tmp_path, lines) as exchange:
        line = await exchange.line("trade", "bookTicker", "kline_1m", combined=combined)
        arm(exchange, "lose-event:@bookTicker:all@5s")
        arm(exchange, "lose-event:@kline:all")
        arm(exchange, "lose-event:@trade@15s")
        frames = []
        while trio.current_time() < 40:
            with trio.move_on_at(40):
                frames.append(await line.receive())
        payloads = [frame["data"] if combined else frame for frame in frames]
        assert [payload.get("e", "bookTicker") for payload in payloads] == ["bookTicker", "trade", "trade", "trade"]
        assert [(payload["T"] // 1000) % 60 for payload in payloads[2:]] == [10, 30]
        assert counts(exchange)["lose-event"] > 10


@pytest.mark.parametrize(
    "how", ["truncated", "utf8", "empty", "binary", "huge", "nan", "deep", "junk", "stale", "crossed", "zero"]
)
async def test_market_frames_make_no_sense(how: str, exchange: Served, autojump_clock: MockClock) -> None:
    stream, reader = exchange.raw(), FrameReader(max_message=32 << 20)
    await stream.send_all(UPGRADE % f"/ws/{SYMBOL.lower()}@bookTicker".encode())
    assert b"101" in await stream.receive_some()
    arm(exchange, f"garble-event:@bookTicker:{how}:all@5s")
    await trio.sleep(15)
    frames = []
    with trio.move_on_after(1):
        while data := await stream.receive_some():
            try:
                frames += reader.feed(data)
            except FrameError as error:
                frames += error.before
                assert how == "utf8"
                break
    plain, *made = frames
    assert plain[1].startswith(b'{"u":')
    assert all(payload != plain[1] for _, payload in made[1:])
    if how == "crossed":
        book = json.loads(made[0][1])
        assert float(book["b"]) > float(book["a"])
    if how == "stale":
        assert len({payload for _, payload in made}) == 1


# -- the account, the symbol, the clock -------------------------------------------------------------------------------


async def test_funds_come_and_go_and_are_told_and_recorded(autojump_clock: MockClock, tmp_path: Path) -> None:
    record = io.StringIO()
    async with served(tmp_path, audit=record) as exchange:
        client = await exchange.trader()
        arm(exchange, "deposit:BNB:1.5")
        update, position = await client.event(), await client.event()
        assert update["event"] == {"e": "balanceUpdate", "E": update["event"]["E"], "a": "BNB", "d": "1.50000000",
                                   "T": update["event"]["T"]}  # fmt: skip
        assert {"a": "BNB", "f": "1.50000000", "l": "0.00000000"} in position["event"]["B"]
        arm(exchange, "withdraw:BNB:0.5")
        assert (await client.event("balanceUpdate"))["event"]["d"] == "-0.50000000"
        with pytest.raises(FaultError, match="insufficient balance"):
            arm(exchange, "withdraw:BNB:1.1")
        with pytest.raises(FaultError, match="multiple"):
            arm(exchange, "deposit:BNB:0.000000001")
        assert counts(exchange) == {"deposit": 1, "withdraw": 1}
    moves = [line for line in map(json.loads, record.getvalue().splitlines()) if line.get("asset") == "BNB"]
    assert [(line["ev"], line["amount"]) for line in moves] == [("deposit", "1.50000000"), ("withdraw", "0.50000000")]


async def test_a_symbol_that_is_gone_is_gone_for_whoever_asks(exchange: Served, autojump_clock: MockClock) -> None:
    client = await exchange.trader()
    placed = await client.order(**ORDER)
    arm(exchange, "delist")
    told = [await client.event("executionReport") for _ in range(2)]
    assert [each["event"]["X"] for each in told] == ["NEW", "EXPIRED"]
    params = {"symbol": SYMBOL, "timestamp": exchange.now_ms()}
    replies = [
        await client.order(**ORDER),
        await client.call("order.cancel", orderId=placed["result"]["orderId"], **params),
        await client.call("openOrders.status", **params),
        await client.call("exchangeInfo", symbol=SYMBOL),
        await client.call("klines", symbol=SYMBOL, interval="1m"),
    ]
    assert [code(reply) for reply in replies] == [-1121] * 5
    assert (await client.call("exchangeInfo"))["result"]["symbols"] == []
    assert (await client.call("account.status", timestamp=exchange.now_ms()))["status"] == 200


async def test_queries_lag_and_the_engine_does_not(exchange: Served, autojump_clock: MockClock) -> None:
    client = await exchange.trader()
    early = (await client.order(**ORDER))["result"]["orderId"]
    lag = arm(exchange, "replica-lag:5s")
    updated_ms = (await client.signed("account.status"))["result"]["updateTime"]
    await trio.sleep(1)
    assert len((await client.order("openOrders.status"))["result"]) == 1
    order_id = (await client.order(**ORDER))["result"]["orderId"]
    assert code(await client.order("order.status", orderId=order_id)) == -2013
    status = (await client.signed("account.status"))["result"]
    assert status["balances"][1]["locked"] == "340.00000000"
    assert status["updateTime"] == updated_ms
    await client.order("order.cancel", orderId=early)
    assert code(await client.order("order.cancel", orderId=early)) == -2011
    assert (await client.order("order.status", orderId=early))["result"]["status"] == "NEW"
    await trio.sleep(5)
    assert (await client.order("order.status", orderId=order_id))["result"]["status"] == "NEW"
    assert (await client.order("order.status", orderId=early))["result"]["status"] == "CANCELED"
    await client.order("order.cancel", orderId=order_id)
    assert len((await client.order("openOrders.status"))["result"]) == 1
    heal(exchange, lag)
    assert (await client.order("openOrders.status"))["result"] == []


async def test_trades_lag_as_orders_do(exchange: Served, autojump_clock: MockClock) -> None:
    client, line = await exchange.trader(), await exchange.line("bookTicker")
    await line.receive()
    arm(exchange, "replica-lag:2s:60s")
    await client.order(type="MARKET", side="BUY", quantity="0.1")
    assert (await client.order("myTrades"))["result"] == []
    await trio.sleep(2)
    assert len((await client.order("myTrades"))["result"]) == 1
    with pytest.raises(FaultError, match="there is one already"):
        arm(exchange, "replica-lag:1s")
    await trio.sleep(60)
    arm(exchange, "replica-lag:1s")
    assert len((await client.order("myTrades"))["result"]) == 1


async def test_the_clock_is_off_for_a_time(exchange: Served, autojump_clock: MockClock) -> None:
    client = await exchange.trader()
    before_ms = (await client.call("time"))["result"]["serverTime"]
    arm(exchange, "clock-offset:+10s:30s")
    assert (await client.call("time"))["result"]["serverTime"] == before_ms + 10_000
    assert code(await client.order(**ORDER)) == -1021
    await trio.sleep(31)
    assert (await client.order(**ORDER))["status"] == 200


# -- arming -----------------------------------------------------------------------------------------------------------


async def test_faults_are_listed_from_waiting_to_over(exchange: Served, autojump_clock: MockClock) -> None:
    mishaps = exchange.exchange.mishaps
    one, two = arm(exchange, "lose-reply:ping:2@5s"), arm(exchange, "half-open:rest@1h")
    assert [(line["state"], line["count"]) for line in mishaps.listing()] == [("waiting", 0), ("waiting", 0)]
    client = await exchange.client()
    await trio.sleep(6)
    await send(client, "ping")
    heal(exchange, two)
    await trio.testing.wait_all_tasks_blocked()
    assert mishaps.listing() == [
        {"id": one, "fault": "lose-reply", "spec": "lose-reply:ping:2@5s", "state": "active", "count": 1},
        {"id": two, "fault": "half-open", "spec": "half-open:rest@1h", "state": "over", "count": 0},
    ]
    await send(client, "ping")
    assert (await client.call("ping"))["status"] == 200
    assert mishaps.listing()[0]["state"] == "over"
    await trio.sleep(7200)  # what was called off does not begin
    assert counts(exchange) == {"lose-reply": 2}
    with pytest.raises(FaultError, match="there is no fault 99"):
        heal(exchange, 99)


async def test_faults_may_be_given_from_the_start(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path, faults=["lose-reply:ping", "deposit:ETH:1"]) as exchange:
        client = await exchange.trader()
        await send(client, "ping")
        account = (await client.signed("account.status"))["result"]
        assert account["balances"][0]["free"] == "5.25000000"
        assert counts(exchange) == {"deposit": 1, "lose-reply": 1}


async def test_a_fault_that_cannot_be_is_told_at_the_start(autojump_clock: MockClock, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--fault stal: 'stal' is no fault; did you mean stall"):
        async with served(tmp_path, faults=["stal"]):
            pass


async def test_only_a_process_of_its_own_can_exit(autojump_clock: MockClock, tmp_path: Path) -> None:
    ended: list[str] = []
    async with served(tmp_path, on_exit=lambda: ended.append("now")) as exchange:
        arm(exchange, "exit")
        assert ended == ["now"]
    async with served(tmp_path) as exchange:
        with pytest.raises(FaultError, match="no process of its own"):
            arm(exchange, "exit")


async def test_an_exchange_ends_whatever_is_armed(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path) as exchange:
        client = await exchange.trader()
        for text in ("half-open:all", "stall:all:1h", "delay:all:1h", "dribble:all:1:1h", "lose-reply:*:all"):
            arm(exchange, text)
        await send_order(client)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(exchange.get, "/api/v3/time")
            await trio.sleep(5)
            nursery.cancel_scope.cancel()
    assert trio.current_time() < 100


async def test_a_grid_becomes_coarser_and_what_rests_stays(exchange: Served, autojump_clock: MockClock) -> None:
    client = await exchange.trader()
    resting = await client.order(**ORDER | {"price": "3400.01", "quantity": "0.1234"})
    arm(exchange, "change-filters:tick_size=0.1,step_size=0.01")
    replies = [await client.order(**ORDER | change) for change in ({"price": "3400.01"}, {"quantity": "0.1234"}, {})]
    assert [reply.get("error", {}).get("msg") for reply in replies] == [
        "Filter failure: PRICE_FILTER", "Filter failure: LOT_SIZE", None,
    ]  # fmt: skip
    (symbol,) = (await client.call("exchangeInfo", symbol=SYMBOL))["result"]["symbols"]
    told = {each["filterType"]: each for each in symbol["filters"]}
    assert told["PRICE_FILTER"]["tickSize"] == "0.10000000"
    assert (told["LOT_SIZE"]["stepSize"], told["LOT_SIZE"]["minQty"]) == ("0.01000000", "0.01000000")
    still = await client.call(
        "order.status", symbol=SYMBOL, timestamp=exchange.now_ms(), orderId=resting["result"]["orderId"]
    )
    assert (still["result"]["status"], still["result"]["price"]) == ("NEW", "3400.01000000")
    with pytest.raises(FaultError, match="must be a multiple of"):
        arm(exchange, "change-filters:tick_size=0.001")
