"""REST as a client meets it, and the whole exchange on real sockets."""

from __future__ import annotations

import json
import logging
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import msgspec
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock
from trio_websocket import open_websocket_url

from tests.sim.served import (
    ED_KEY,
    HMAC_KEY,
    KEYS,
    SIGNER,
    START_MS,
    SYMBOL,
    UPGRADE,
    Served,
    quiet,
    record,
    served,
)
from tetrio.errors import ConfigError
from tetrio.net import simnet
from tetrio.sim.exchange import Clocks, Exchange, ExchangeConfig, Urls
from tetrio.sim.face.latency import parse_latency
from tetrio.sim.face.limits import parse_limits
from tetrio.sim.face.methods import ENDPOINTS
from tetrio.sim.face.rest import PATHS
from tetrio.sim.market.tape import open_market
from tetrio.wire.rules import PRODUCTION_LIMITS, symbol_rules


def exchange_of(tmp_path: Path, **settings: Any) -> Exchange:
    market = open_market(record(tmp_path / "market", quiet()), SYMBOL)
    config: dict[str, Any] = {"keys": KEYS, "clocks": Clocks(time.time_ns)} | settings
    return Exchange(ExchangeConfig(market=market, **config))


@asynccontextmanager
async def listening(exchange: Exchange) -> AsyncIterator[Urls]:
    async with trio.open_nursery() as nursery:
        yield await nursery.start(exchange.run)
        nursery.cancel_scope.cancel()


# -- over streams in memory -------------------------------------------------------------------------------------------


async def test_what_anyone_may_ask(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path) as exchange:
        await (await exchange.line("trade")).receive()
        assert (await exchange.get("/api/v3/ping"))["body"] == {}
        assert (await exchange.get("/api/v3/time"))["body"] == {"serverTime": exchange.now_ms()}
        klines = await exchange.get("/api/v3/klines", f"symbol={SYMBOL}&interval=1m&limit=1")
        assert klines["body"][0][:2] == [START_MS, "3412.36000000"]
        top = (await exchange.get("/api/v3/ticker/bookTicker"))["body"]
        assert [each["askPrice"] for each in top] == ["3412.37000000"]
        price = (await exchange.get("/api/v3/ticker/price", f"symbol={SYMBOL}"))["body"]
        assert price == {"symbol": SYMBOL, "price": "3412.36000000"}
        depth = (await exchange.get("/api/v3/depth", f"symbol={SYMBOL}"))["body"]
        assert depth["bids"][0] == ["3412.36000000", "1.84200000"]


@pytest.mark.parametrize("query", ["", f"symbol={SYMBOL}", f"symbols=%5B%22{SYMBOL}%22%5D", f'symbols=["{SYMBOL}"]'])
async def test_symbol_rules_can_be_read_by_our_own_reader(
    autojump_clock: MockClock, tmp_path: Path, query: str
) -> None:
    async with served(tmp_path) as exchange:
        info = await exchange.get("/api/v3/exchangeInfo", query)
        rules = exchange.exchange.venue.rules
        assert symbol_rules(msgspec.json.encode(info["body"]), SYMBOL).tick_size == rules.tick_size
        kinds = {limit["rateLimitType"] for limit in info["body"]["rateLimits"]}
        assert kinds == {"REQUEST_WEIGHT", "ORDERS", "RAW_REQUESTS"}


@pytest.mark.parametrize(
    ("target", "status", "answer"),
    [
        ("/api/v3/klines?symbol=NOPE&interval=1m", 400, -1121),
        (f"/api/v3/klines?symbol={SYMBOL}", 400, -1102),
        (f"/api/v3/klines?symbol={SYMBOL}&interval=9m", 400, -1120),
        (f"/api/v3/depth?symbol={SYMBOL}&symbol={SYMBOL}", 400, -1101),
        ("/api/v3/time?x=1", 400, -1104),
        ("/api/v3/depth?symbol=%FF%FE", 400, -1121),
        ("/api/v3/account", 401, -2014),
        ("/sapi/v1/account/nothing", 404, -1000),
        ("/api/v1/ping", 404, -1000),
        ("/", 404, -1000),
    ],
)
async def test_a_bad_request_gets_code_and_text(
    autojump_clock: MockClock, tmp_path: Path, target: str, status: int, answer: int
) -> None:
    async with served(tmp_path) as exchange:
        reply = await exchange.http("GET", target)
        assert (reply["status"], reply["body"]["code"]) == (status, answer)
        assert set(reply["body"]) == {"code", "msg"}


async def test_other_methods_and_browsers(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path) as exchange:
        assert (await exchange.http("DELETE", "/api/v3/time"))["status"] == 405
        assert (await exchange.http("PATCH", "/api/v3/time"))["status"] == 405
        html = await exchange.http("GET", "/api/v3/nothing", {"Accept": "text/html"})
        assert (html["status"], html["body"][:6]) == (404, b"<html>")
        bad = await exchange.http("GET", "/api/v3/time", {"X-MBX-TIME-UNIT": "hours"})
        assert (bad["status"], bad["body"]["code"]) == (400, -1194)


async def test_weight_is_counted_together_with_the_websocket_api_and_told_in_headers(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    limits = [msgspec.structs.replace(each, limit=60) for each in PRODUCTION_LIMITS]
    async with served(tmp_path, limits=limits) as exchange:
        assert (await exchange.get("/api/v3/exchangeInfo"))["headers"]["X-MBX-USED-WEIGHT-1M"] == "20"
        assert (await exchange.get("/api/v3/exchangeInfo"))["headers"]["X-MBX-USED-WEIGHT"] == "40"
        await exchange.get("/api/v3/exchangeInfo")
        reply = await exchange.get("/api/v3/ping")
        assert (reply["status"], reply["body"]["code"]) == (429, -1003)
        assert reply["headers"]["Retry-After"] == "60"
        await trio.sleep(60)
        assert (await exchange.get("/api/v3/ping"))["status"] == 200


@pytest.mark.parametrize(
    "junk", [b"\x16\x03\x01\x02\x00", b"nonsense\r\n\r\n", b"GET / HTTP/9\r\n\r\n", b"\x00" * 70_000, b"GET /"]
)
async def test_bytes_that_are_no_http_end_their_connection_only(
    autojump_clock: MockClock, tmp_path: Path, junk: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(tmp_path) as exchange:
        ours, theirs = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(exchange.exchange.serve_rest_stream, theirs)
            with trio.fail_after(100):
                await ours.send_all(junk)
                await ours.send_eof()
                while await ours.receive_some():
                    pass
            await ours.aclose()
        assert (await exchange.get("/api/v3/ping"))["status"] == 200
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


# -- orders -----------------------------------------------------------------------------------------------------------

MAKER: dict[str, Any] = {
    "symbol": SYMBOL,
    "side": "BUY",
    "type": "LIMIT_MAKER",
    "price": "3400.00",
    "quantity": "0.5000",
    "newOrderRespType": "RESULT",
}


async def play(exchange: Served) -> None:
    """Start the market, and wait for its first prices."""
    line = await exchange.line("bookTicker", "trade")
    await line.receive()
    await line.receive()


@pytest.mark.parametrize("key", [ED_KEY, HMAC_KEY])
@pytest.mark.parametrize("form", [False, True])
async def test_the_life_of_an_order(autojump_clock: MockClock, tmp_path: Path, form: bool, key: str) -> None:
    async with served(tmp_path) as exchange:
        placed = await exchange.rest("POST", "order", form=form, key=key, **MAKER, newClientOrderId="mine")
        assert placed["status"] == 200
        assert (placed["body"]["status"], placed["body"]["clientOrderId"]) == ("NEW", "mine")
        assert placed["headers"]["X-MBX-ORDER-COUNT-10S"] == placed["headers"]["X-MBX-ORDER-COUNT-1D"] == "1"
        named: dict[str, Any] = {"symbol": SYMBOL, "origClientOrderId": "mine"}
        found = await exchange.rest("GET", "order", key=key, **named)
        assert (found["body"]["status"], found["body"]["orderId"]) == ("NEW", placed["body"]["orderId"])
        canceled = await exchange.rest("DELETE", "order", form=form, key=key, **named)
        assert (canceled["status"], canceled["body"]["status"]) == (200, "CANCELED")
        assert "X-MBX-ORDER-COUNT-10S" not in canceled["headers"]
        again = await exchange.rest("DELETE", "order", form=form, key=key, **named)
        assert (again["status"], again["body"]) == (400, {"code": -2011, "msg": "Unknown order sent."})
        weight = int(again["headers"]["X-MBX-USED-WEIGHT"])
        assert weight == 4 + 1  # the query, and the cancel that failed


async def test_parameters_may_be_in_query_and_form_and_the_query_wins(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with served(tmp_path) as exchange:
        query = urlencode({"symbol": SYMBOL, "side": "BUY", "price": "3401.00"})
        form = urlencode(MAKER | {"timestamp": exchange.now_ms()})
        signature = quote(SIGNER.sign(query + form), safe="")
        headers = {"X-MBX-APIKEY": ED_KEY, "Content-Type": "application/x-www-form-urlencoded;charset=UTF-8"}
        body = f"{form}&signature={signature}".encode()
        reply = await exchange.http("POST", f"/api/v3/order?{query}", headers, body)
        assert (reply["status"], reply["body"]["price"]) == (200, "3401.00000000")
        other = await exchange.http("POST", f"/api/v3/order?signature={signature}&{query}", headers, form.encode())
        assert (other["status"], other["body"]["orderId"]) == (200, 2)


async def test_a_body_that_is_no_form_is_not_read(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path) as exchange:
        headers = {"X-MBX-APIKEY": ED_KEY, "Content-Type": "application/json"}
        reply = await exchange.http("POST", "/api/v3/order", headers, json.dumps(MAKER).encode())
        assert (reply["status"], reply["body"]["code"]) == (400, -1102)
        assert (await exchange.http("GET", "/api/v3/time", {}, b"symbol=X"))["status"] == 200
        long = await exchange.http("POST", "/api/v3/order", {}, b"x" * 70_000)
        assert long["status"] == 413


async def test_events_follow_the_reply_in_the_order_of_what_happened(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path) as exchange:
        await play(exchange)
        trader = await exchange.trader()
        async with trio.open_nursery() as nursery:
            for number in range(5):
                order = MAKER | {"newClientOrderId": f"n{number}"}
                nursery.start_soon(lambda order=order: exchange.rest("POST", "order", **order))  # type: ignore[misc]
        events = [(await trader.event("executionReport"))["event"] for _ in range(5)]
        assert [event["i"] for event in events] == [1, 2, 3, 4, 5]
        assert sorted(event["c"] for event in events) == [f"n{number}" for number in range(5)]
        await exchange.rest("POST", "order", **MAKER, newClientOrderId="last")
        await trader.maker("BUY", "3401.00")
        assert [(await trader.event("executionReport"))["event"]["i"] for _ in range(2)] == [6, 7]


async def test_a_market_order_over_rest_is_told_to_the_public(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path) as exchange:
        await play(exchange)
        line = await exchange.line("trade")
        reply = await exchange.rest("POST", "order", symbol=SYMBOL, side="SELL", type="MARKET", quantity="0.1")
        assert reply["body"]["status"] == "FILLED"
        assert reply["headers"]["X-MBX-ORDER-COUNT-10S"] == "0"  # one order, and its first fill
        frame = await line.receive()
        assert (frame["p"], frame["q"], frame["m"]) == ("3412.36000000", "0.10000000", True)


async def test_cancel_replace_tells_both_halves_at_the_top(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path) as exchange:
        await play(exchange)
        await exchange.rest("POST", "order", **MAKER)

        async def replace(order_id: int, price: str, mode: str = "STOP_ON_FAILURE") -> dict[str, Any]:
            params = MAKER | {"price": price, "cancelOrderId": order_id, "cancelReplaceMode": mode}
            return await exchange.rest("POST", "order/cancelReplace", **params)

        good = await replace(1, "3401.00")
        assert (good["status"], good["body"]["newOrderResult"]) == (200, "SUCCESS")
        half = await replace(2, "3412.90")
        assert (half["status"], half["body"]["code"]) == (409, -2021)
        assert half["body"]["data"]["newOrderResponse"]["code"] == -2010
        none = await replace(99, "3401.00")
        assert (none["status"], none["body"]["code"], none["body"]["data"]["newOrderResponse"]) == (400, -2022, None)


async def test_too_many_orders_is_429_with_when_to_come_back(autojump_clock: MockClock, tmp_path: Path) -> None:
    limits = parse_limits("ORDERS:10s=2")
    async with served(tmp_path, limits=limits) as exchange:
        await trio.sleep(3)
        for _ in range(2):
            await exchange.rest("POST", "order", **MAKER)
        full = await exchange.rest("POST", "order", **MAKER)
        assert (full["status"], full["headers"]["Retry-After"]) == (429, "7")
        assert full["body"] == {"code": -1015, "msg": "Too many new orders; current limit is 2 orders per 10 SECOND."}
        assert full["headers"]["X-MBX-ORDER-COUNT-10S"] == "2"
        replace = MAKER | {"cancelOrderId": 1, "cancelReplaceMode": "STOP_ON_FAILURE"}
        refused = await exchange.rest("POST", "order/cancelReplace", **replace)
        assert (refused["status"], refused["headers"]["Retry-After"]) == (429, "7")
        await trio.sleep(7)
        assert (await exchange.rest("POST", "order", **MAKER))["status"] == 200


# -- what HTTP adds ---------------------------------------------------------------------------------------------------


def test_every_path_names_a_method_and_every_method_has_a_path() -> None:
    named = [method for verbs in PATHS.values() for method in verbs.values()]
    assert len(named) == len(set(named))
    assert set(ENDPOINTS) <= set(named)


@pytest.mark.parametrize("verb", ["GET", "POST", "PUT", "DELETE"])
async def test_a_verb_that_a_path_does_not_have(autojump_clock: MockClock, tmp_path: Path, verb: str) -> None:
    async with served(tmp_path) as exchange:
        for path, verbs in PATHS.items():
            if verb not in verbs:
                reply = await exchange.http(verb, f"/api/v3/{path}")
                assert (path, reply["status"]) == (path, 405)


async def test_listen_keys_are_gone(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path) as exchange:
        for verb in ("POST", "PUT", "DELETE"):
            reply = await exchange.http(verb, "/api/v3/userDataStream", {"X-MBX-APIKEY": HMAC_KEY})
            assert (reply["status"], reply["headers"]) == (410, {"Content-Type": "text/html"})
            assert b"410 Gone" in reply["body"]


@pytest.mark.parametrize(
    "text",
    ["symbol=X'%20UNION%20SELECT%201", "x=select+a+from+b", "x=drop%20table%20orders", "a=1;delete%0afrom%20orders"],
)
async def test_what_looks_like_sql_meets_the_firewall(autojump_clock: MockClock, tmp_path: Path, text: str) -> None:
    async with served(tmp_path) as exchange:
        query = await exchange.get("/api/v3/time", text)
        form = await exchange.http("POST", "/api/v3/order", {}, text.encode())
        assert query["status"] == form["status"] == 403
        assert query["headers"] == {"Content-Type": "text/html"}
        honest = MAKER | {"newClientOrderId": "select-from-union-drop_table"}
        assert (await exchange.rest("POST", "order", **honest))["status"] == 200


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/sbe", 406),
        ("application/sbe, application/json", 200),
        ("application/sbe;q=0.9,*/*", 200),
        ("text/plain", 200),
        ("application/json", 200),
    ],
)
async def test_sbe_alone_is_not_acceptable(autojump_clock: MockClock, tmp_path: Path, accept: str, status: int) -> None:
    async with served(tmp_path) as exchange:
        reply = await exchange.get("/api/v3/time", "", {"Accept": accept, "X-MBX-SBE": "3:5"})
        assert reply["status"] == status
        assert reply["headers"]["Content-Type"] == "application/json;charset=UTF-8"
        assert ("code" in reply["body"]) is (status == 406)


async def test_microseconds(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path) as exchange:
        micros = {"X-MBX-TIME-UNIT": "microsecond", "X-MBX-APIKEY": ED_KEY}
        now = (await exchange.get("/api/v3/time", "", micros))["body"]["serverTime"]
        assert now == exchange.now_ms() * 1000
        text = urlencode(MAKER | {"timestamp": now})
        signed = f"{text}&signature={quote(SIGNER.sign(text), safe='')}"
        placed = await exchange.http("POST", f"/api/v3/order?{signed}", micros)
        assert placed["body"]["transactTime"] == now


async def test_going_on_over_the_weight_is_a_ban_for_every_face(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path, limits=parse_limits("REQUEST_WEIGHT:1m=100")) as exchange:
        idle, line = await exchange.trader(), await exchange.line("bookTicker")
        while (reply := await exchange.get("/api/v3/exchangeInfo"))["status"] != 418:
            assert reply["status"] in {200, 429}
        until_ms = exchange.now_ms() + 120_000
        assert reply["body"]["msg"].startswith(f"Way too much request weight used; IP banned until {until_ms}. ")
        assert reply["headers"]["Retry-After"] == "120"
        assert await idle.closed() == (1008, "IP banned")
        for target in ("/api/v3/ping", "/nothing"):
            assert (await exchange.http("GET", target))["status"] == 418
        assert (await exchange.rest("POST", "order", **MAKER))["status"] == 418
        assert await exchange.refused("/ws-api/v3") == (418, "120")
        assert (await line.receive())["s"] == SYMBOL  # the market streams go on
        await trio.sleep(120)
        assert (await exchange.get("/api/v3/ping"))["status"] == 200
        await (await exchange.trader()).call("ping")


async def test_requests_are_counted_whatever_they_ask(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path, limits=parse_limits("RAW_REQUESTS:5m=3")) as exchange:
        for target in ("/api/v3/ping", "/nothing", "/api/v3/time?x=1"):
            assert (await exchange.http("GET", target))["status"] != 429
        reply = await exchange.get("/api/v3/ping")
        assert (reply["status"], reply["headers"]["Retry-After"]) == (429, "300")
        await trio.sleep(300)
        assert (await exchange.get("/api/v3/exchangeInfo"))["body"]["rateLimits"][-1] == {
            "rateLimitType": "RAW_REQUESTS",
            "interval": "MINUTE",
            "intervalNum": 5,
            "limit": 3,
        }


async def test_a_request_that_becomes_too_old_inside_costs_weight_and_an_order(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with served(tmp_path, latency=parse_latency("300")) as exchange:
        late = await exchange.rest("POST", "order", **MAKER, recvWindow=299)
        assert (late["status"], late["body"]["code"]) == (400, -1021)
        assert late["headers"]["X-MBX-USED-WEIGHT"] == "1"
        placed = await exchange.rest("POST", "order", **MAKER, recvWindow=300)
        assert (placed["status"], placed["headers"]["X-MBX-ORDER-COUNT-10S"]) == (200, "2")
        old = await exchange.rest("POST", "order", **MAKER, timestamp=exchange.now_ms() - 5001)
        assert old["body"]["code"] == -1021  # at the door: no order
        counts = (await exchange.rest("GET", "rateLimit/order"))["body"]
        assert [each["count"] for each in counts] == [2, 2]


async def test_a_revoked_key_is_refused(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path) as exchange:
        assert (await exchange.rest("GET", "account"))["status"] == 200
        exchange.exchange.venue.keys.revoke(ED_KEY)
        reply = await exchange.rest("GET", "account")
        assert (reply["status"], reply["body"]["code"]) == (401, -2015)
        assert (await exchange.rest("GET", "account", key=HMAC_KEY))["status"] == 200


async def test_a_websocket_at_the_wrong_port_is_turned_away(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path) as exchange:
        ours, theirs = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(exchange.exchange.serve_rest_stream, theirs)
            await ours.send_all(UPGRADE % b"/ws-api/v3")
            with trio.fail_after(60):
                assert bytes(await ours.receive_some()).startswith(b"HTTP/1.1 403")
            await ours.aclose()


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"]),
            st.sampled_from(["/api/v3/order", "/api/v3/klines", "/sapi/v1/account/apiRestrictions", "/%00", "//"]),
            st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="#"), max_size=60),
            st.binary(max_size=60),
        ),
        max_size=8,
    )
)
def test_no_request_breaks_the_exchange(requests: list[tuple[str, str, str, bytes]]) -> None:
    async def main(folder: str) -> None:
        async with served(Path(folder)) as exchange:
            for verb, path, query, body in requests:
                reply = await exchange.http(verb, f"{path}?{query}", {"X-MBX-APIKEY": ED_KEY}, body)
                assert reply["status"] in {200, 400, 401, 404, 405}
            assert (await exchange.get("/api/v3/ping"))["status"] == 200

    with tempfile.TemporaryDirectory() as folder:
        trio.run(main, folder, clock=MockClock(autojump_threshold=0))


# -- over sockets -----------------------------------------------------------------------------------------------------


async def test_rest_and_websocket_on_real_sockets(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with listening(exchange_of(tmp_path)) as urls, httpx.AsyncClient(base_url=urls.rest) as http:
            reply = await http.get("/api/v3/time")
            assert abs(reply.json()["serverTime"] - time.time() * 1000) < 5000
            assert reply.headers["content-type"] == "application/json;charset=UTF-8"
            assert abs(parsedate_to_datetime(reply.headers["date"]).timestamp() - time.time()) < 5
            assert (await http.get("/api/v3/exchangeInfo", params={"symbol": SYMBOL})).json()["symbols"]
            async with open_websocket_url(urls.ws_api) as api:
                await api.send_message('{"id":1,"method":"ping"}')
                assert json.loads(await api.get_message())["status"] == 200
            async with open_websocket_url(f"{urls.stream}/ws/{SYMBOL.lower()}@bookTicker") as line:
                assert json.loads(await line.get_message())["s"] == SYMBOL


@pytest.mark.parametrize("setting", ["rest_port", "ws_port"])
async def test_a_port_in_use_is_a_clear_error(tmp_path: Path, setting: str) -> None:
    (taken,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = taken.socket.getsockname()[1]
    async with taken:
        with pytest.raises(ConfigError, match=f"port {port} of 127.0.0.1 is in use"):
            await exchange_of(tmp_path, **{setting: port}).run()


async def test_a_port_in_use_is_as_clear_when_started_in_a_nursery(tmp_path: Path) -> None:
    (taken,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with taken:
        port = taken.socket.getsockname()[1]
        with pytest.RaisesGroup(ConfigError, flatten_subgroups=True):
            async with listening(exchange_of(tmp_path, ws_port=port)):
                pass


async def test_it_runs_on_a_simulated_network_unmodified(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with simnet.with_simnet(), listening(exchange_of(tmp_path)) as urls:
        async with httpx.AsyncClient(base_url=urls.rest) as http:
            assert (await http.get("/api/v3/ping")).json() == {}
        async with open_websocket_url(urls.ws_api) as api:
            await api.send_message('{"id":1,"method":"ping"}')
            assert json.loads(await api.get_message())["status"] == 200


def test_funds_that_cannot_be_are_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="funds of ETH"):
        exchange_of(tmp_path, funds={"ETH": "much"})


async def test_stopping_closes_the_ports(tmp_path: Path) -> None:
    async with listening(exchange_of(tmp_path)) as urls:
        port = int(urls.rest.rpartition(":")[2])
    with pytest.raises(OSError, match="failed"):
        await trio.open_tcp_stream("127.0.0.1", port)
