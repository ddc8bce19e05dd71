"""REST as a client meets it, and the whole exchange on real sockets."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import trio
from trio.testing import MockClock
from trio_websocket import open_websocket_url

from tests.sim.served import KEYS, START_MS, SYMBOL, quiet, record, served
from tetrio.errors import ConfigError
from tetrio.net import simnet
from tetrio.sim.exchange import Clocks, Exchange, ExchangeConfig, Urls
from tetrio.sim.tape import open_market
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
        ("/sapi/v1/account/status", 404, -1000),
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


# -- over sockets -----------------------------------------------------------------------------------------------------


async def test_rest_and_websocket_on_real_sockets(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with listening(exchange_of(tmp_path)) as urls, httpx.AsyncClient(base_url=urls.rest) as http:
            reply = await http.get("/api/v3/time")
            assert abs(reply.json()["serverTime"] - time.time() * 1000) < 5000
            assert reply.headers["content-type"] == "application/json;charset=UTF-8"
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
