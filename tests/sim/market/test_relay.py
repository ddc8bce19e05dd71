"""Another exchange's market, relayed: what comes through, what fills, and what happens while the source is away."""

from __future__ import annotations

import functools
import io
import itertools
import json
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

import tetrio.net.line
from tests.scenarios.referee import Verdict, judge
from tests.scenarios.runs import CAPTURES, REPLAY, raw_lines
from tests.sim.served import KEYS, SIGNER, SYMBOL, Client, Line, Served, quiet, record, top, trade
from tetrio import config
from tetrio.errors import ConfigError, LinkLost, Timeout
from tetrio.journal import Journal, StreamSink
from tetrio.live.bot import Bot, Setup
from tetrio.net import simnet, virtual
from tetrio.net.clock import NS, AnchoredClock
from tetrio.net.dial import Address, dial
from tetrio.sim.exchange import Clocks, Exchange, ExchangeConfig, Urls
from tetrio.sim.market.relay import Relay, Source, open_relay
from tetrio.sim.market.tape import Market, open_market
from tetrio.status import Status
from tetrio.wire import sbe
from tetrio.wire.frames import text_frame
from tetrio.wire.stream import server_shutdown

FUNDS = {"ETH": "4.25", "FDUSD": "25000"}
AHEAD_NS = 40_000_000
"""By how much our clock is ahead of the source's."""
Frame = dict[str, Any]


class SourceLine(trio.abc.Stream):
    """The relay's end of its line to the source."""

    def __init__(self, inner: trio.SocketStream, wire: Wire) -> None:
        self.inner, self._wire = inner, wire

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        data = bytes(await self.inner.receive_some(max_bytes))
        if self._wire.mute:
            await trio.sleep_forever()
        said, self._wire.inject = self._wire.inject, b""
        return data + said if data else data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.inner.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self.inner.aclose()


class Wire:
    """What lies between the relay and the source."""

    def __init__(self) -> None:
        self.port = 0
        self.down = self.mute = False
        self.inject = b""
        """Comes after what comes next."""
        self.dialled = 0
        self._line: SourceLine | None = None

    async def dial(self, address: Address, within_s: float, *, in_bulk: bool = False) -> trio.abc.Stream:
        """In the place of `net.dial.dial`."""
        if address.port != self.port:
            return await dial(address, within_s, in_bulk=in_bulk)
        self.dialled += 1
        if self.down:
            raise LinkLost(f"{address}: no route")
        stream = await dial(address, within_s, in_bulk=in_bulk)
        assert isinstance(stream, trio.SocketStream)
        self._line = SourceLine(stream, self)
        return self._line

    def cut(self) -> None:
        assert self._line is not None
        self._line.inner.socket.reset()  # type: ignore[attr-defined]  # a simulated socket's


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    made = Wire()
    monkeypatch.setattr(tetrio.net.line, "dial", made.dial)
    yield made


@attrs.define
class World:
    """A source, and the exchange that relays its market."""

    source: Served
    relay: Served
    market: Relay
    urls: Urls
    said: list[Frame]
    spoken: trio.lowlevel.ParkingLot
    audit: io.StringIO

    def states(self) -> list[str]:
        return [each["state"] for each in self.said]

    async def until(self, state: str, times: int = 1) -> None:
        with trio.fail_after(600):
            while self.states().count(state) < times:
                await self.spoken.park()


@asynccontextmanager
async def running(market: Market, wire: Wire) -> AsyncIterator[tuple[Urls, AnchoredClock, Exchange]]:
    """The source, and our clock."""
    async with simnet.with_simnet(), trio.open_nursery() as nursery:
        there = AnchoredClock(market.first_ns)
        source = Exchange(ExchangeConfig(market=market, clocks=Clocks(there.now_ns, joined=True), keys={}))
        urls = await nursery.start(source.run)
        wire.port = Address.parse(urls.stream).port
        yield urls, AnchoredClock(market.first_ns + AHEAD_NS), source
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def relaying(path: Path, wire: Wire, lines: list[Line] | None = None) -> AsyncIterator[World]:
    """A source that plays `lines`, and its relay, both up."""
    market = open_market(record(path / "market", quiet() if lines is None else lines), SYMBOL)
    said, spoken, audit = list[Frame](), trio.lowlevel.ParkingLot(), io.StringIO()

    def say(state: str, **fields: object) -> None:
        said.append({"state": state, **fields})
        spoken.unpark_all()

    async with running(market, wire) as (urls, here, source), trio.open_nursery() as nursery:
        relay = await open_relay(Source(urls.rest, urls.stream), SYMBOL, clock=here, say=say, within_s=30)
        exchange = Exchange(
            ExchangeConfig(market=relay, clocks=Clocks(here.now_ns, joined=True), keys=KEYS, funds=FUNDS, audit=audit)
        )
        await nursery.start(exchange.run)
        async with trio.open_nursery() as clients:
            served = Served(exchange, here, clients)
            world = World(Served(source, here, clients), served, relay, urls, said, spoken, audit)
            await world.until("up")
            yield world
            clients.cancel_scope.cancel()
        nursery.cancel_scope.cancel()


async def frames(line: Client, seconds: float) -> list[str]:
    """What comes within some time, as it came."""
    found: list[str] = []
    with trio.move_on_after(seconds):
        while True:
            found.append(str(await line.ws.get_message()))
    return found


async def next_kline(line: Client, interval: str, *, closed: bool = False) -> Frame:
    with trio.fail_after(600):
        while True:
            frame = await line.receive()
            if frame.get("e") == "kline" and frame["k"]["i"] == interval and (frame["k"]["x"] or not closed):
                return frame


def busy(seconds: int) -> list[Line]:
    """A market that moves: a new ask and a trade ten times a second."""
    moves: list[Line] = []
    for at in range(10, seconds * 10):
        cents = 37 + at % 7
        moves.append(top(at / 10, "3412.36", "1.8420", f"3412.{cents}", "0.7714"))
        moves.append(trade(at / 10 + 0.01, f"3412.{cents}", "0.0100", buyer_is_maker=False))
    return [*quiet(), *moves]


async def test_what_the_source_tells_is_passed_on_byte_for_byte(
    autojump_clock: MockClock, tmp_path: Path, wire: Wire
) -> None:
    async with relaying(tmp_path, wire, busy(30)) as world:
        got: list[list[str]] = []
        channels = ("bookTicker", "trade", "kline_1s", "kline_5m", "aggTrade")
        async with trio.open_nursery() as nursery:
            for side in (world.source, world.relay):
                line = await side.line(*channels, combined=True)
                nursery.start_soon(_kept, line, got)
        theirs, ours = sorted(got, key=len, reverse=True)
        ours = ours[: len(ours) - 20]  # the last ones are on their way
        begin = theirs.index(ours[100])  # what is asked for once it is wanted comes a moment later
        assert {json.loads(each)["stream"].partition("@")[2] for each in ours[100:]} == set(channels)
        assert all(mine == told for mine, told in zip(ours[100:], theirs[begin:], strict=False))
        assert len(ours) > 300


async def _kept(line: Client, into: list[list[str]]) -> None:
    into.append(await frames(line, 20))


async def test_an_order_fills_behind_what_the_source_shows_at_its_price(
    autojump_clock: MockClock, tmp_path: Path, wire: Wire
) -> None:
    eats = [trade(8, "3412.37", "0.7000", buyer_is_maker=False), trade(9, "3412.37", "0.2000", buyer_is_maker=False)]
    async with relaying(tmp_path, wire, [*quiet(), top(2, "3412.36", "1", "3412.37", "0.7714"), *eats]) as world:
        await trio.sleep(4)
        trader = await world.relay.trader()
        assert (await trader.maker("SELL", "3412.37", "0.1000"))["status"] == 200
        filled = await trader.event("executionReport")
        while filled["event"]["x"] != "TRADE":
            filled = await trader.event("executionReport")
        assert filled["event"]["m"] is True
        assert filled["event"]["l"] == "0.10000000"
    (fill,) = [line for line in map(json.loads, world.audit.getvalue().splitlines()) if line["ev"] == "fill"]
    began_ns = world.market.first_ns // NS * NS
    assert 8 <= (fill["ts"] - began_ns) / NS <= 10


async def test_a_cut_line_is_dialled_again_and_orders_are_served_meanwhile(
    autojump_clock: MockClock, tmp_path: Path, wire: Wire
) -> None:
    async with relaying(tmp_path, wire, busy(200)) as world:
        line, trader = await world.relay.line("kline_1s", "kline_1m"), await world.relay.trader()
        before = await next_kline(line, "1s")
        wire.down = True
        wire.cut()
        await world.until("lost")
        assert [json.loads(each) for each in await frames(line, 70)] == [], "the beat stops"
        assert (await trader.maker("SELL", "3412.99", "0.1000"))["status"] == 200
        assert wire.dialled > 4, "it was dialled again and again"
        (last,) = (await world.relay.get("/api/v3/klines", f"symbol={SYMBOL}&interval=1s&limit=1"))["body"]
        assert last[0] <= before["E"] + 1000, "no candle is made up"
        wire.down = False
        await world.until("up", 2)
        missed = await next_kline(line, "1m", closed=True)
        assert missed["k"]["t"] % 60_000 == 0
        after = await next_kline(line, "1s")
        assert after["E"] - before["E"] > 70_000
        query = f"symbol={SYMBOL}&interval=1m&limit=4"
        ours, theirs = [(await side.get("/api/v3/klines", query))["body"] for side in (world.relay, world.source)]
        assert [kline[:4] for kline in ours] == [kline[:4] for kline in theirs], "open times, open, high, low"
        assert ours[-2] == theirs[-2], "what was traded in the gap is in"
    waits = [each["retry_s"] for each in world.said if each["state"] == "lost"]
    assert waits[0] <= 0.5
    assert max(waits) <= 30
    assert waits[3] > waits[0]


async def test_a_source_that_is_about_to_restart_is_left_for_a_new_line(
    autojump_clock: MockClock, tmp_path: Path, wire: Wire
) -> None:
    async with relaying(tmp_path, wire) as world:
        line = await world.relay.line("kline_1s")
        wire.inject = text_frame(server_shutdown(1))
        await world.until("up", 2)
        assert "about to restart" in next(each["why"] for each in world.said if each["state"] == "lost")
        told = await frames(line, 5)
        assert len(told) >= 4
        assert not any("serverShutdown" in each for each in told), "we do not restart"


async def test_a_silent_source_is_dialled_again(autojump_clock: MockClock, tmp_path: Path, wire: Wire) -> None:
    async with relaying(tmp_path, wire) as world:
        wire.mute = True
        await world.until("lost")
        wire.mute = False
        await world.until("up", 2)
        assert "overdue" in next(each["why"] for each in world.said if each["state"] == "lost")


MALFORMED = [
    b"no json",
    b'{"stream":"ethfdusd@bookTicker","data":{"u":1}}',
    b'{"stream":"ethfdusd@bookTicker","data":{"u":1,"s":"ETHFDUSD","b":"1.005","B":"1","a":"2","A":"1"}}',
    b'{"stream":"ethfdusd@bookTicker","data":{"u":1,"s":"ETHFDUSD","b":"-1","B":"1","a":"2","A":"1"}}',
    b'{"stream":"ethfdusd@trade","data":{"e":"trade","t":1,"p":"0","q":"1","T":1,"m":true}}',
    b'{"stream":"ethfdusd@kline_1s","data":{"e":"kline"}}',
]


async def test_frames_that_cannot_be_read_are_counted_and_go_nowhere(
    autojump_clock: MockClock, tmp_path: Path, wire: Wire
) -> None:
    async with relaying(tmp_path, wire, busy(30)) as world:
        line = await world.relay.line("bookTicker", "trade", "kline_1s", combined=True)
        wire.inject = b"".join(map(text_frame, MALFORMED))
        told = await frames(line, 5)
        assert world.market.skipped == len(MALFORMED)
        assert not {each.encode() for each in told} & set(MALFORMED)
        assert len(told) > 50
        assert [each["count"] for each in world.said if each["state"] == "malformed"] == [1, 2, 4]
        assert "lost" not in world.states()
        best = (await world.relay.get("/api/v3/ticker/bookTicker", f"symbol={SYMBOL}"))["body"]
        assert best["bidPrice"] == "3412.36000000"


async def test_a_symbol_that_the_source_does_not_list_is_named(
    autojump_clock: MockClock, tmp_path: Path, wire: Wire
) -> None:
    market = open_market(record(tmp_path / "market", quiet()), SYMBOL)
    async with running(market, wire) as (urls, here, _):
        with pytest.raises(ConfigError, match="no symbol BTCUSDT"):
            await open_relay(
                Source(urls.rest, urls.stream), "BTCUSDT", clock=here, say=lambda state, **_: None, within_s=30
            )


async def test_a_source_that_cannot_be_reached_ends_the_start_in_time(autojump_clock: MockClock, wire: Wire) -> None:
    said: list[str] = []
    async with simnet.with_simnet():
        began = trio.current_time()
        with pytest.raises(Timeout, match=r"no market from http://127\.0\.0\.1:9 .* within 30 s; last: .*:9 failed"):
            await open_relay(
                Source("http://127.0.0.1:9", "ws://127.0.0.1:9"),
                SYMBOL,
                clock=AnchoredClock(NS),
                say=lambda state, **_: said.append(state),
                within_s=30,
            )
        assert trio.current_time() - began <= 30
    assert set(said) == {"lost"}
    assert len(said) >= 5


# -- with the bot -----------------------------------------------------------------------------------------------------


def traded(path: Path, outage_s: tuple[float, float] | None) -> tuple[Verdict, list[Frame]]:
    """The bot on a relayed capture for half a minute; what the relay's audit shows, and the journal."""
    audit, journal, wire = io.StringIO(), io.StringIO(), Wire()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tetrio.net.line, "dial", wire.dial)
        virtual.run(functools.partial(_trade, path, wire, audit, journal, outage_s), 1)
    verdict = judge(json.loads(line) for line in audit.getvalue().splitlines())
    return verdict, [json.loads(line) for line in journal.getvalue().splitlines()]


async def _trade(
    path: Path, wire: Wire, audit: io.StringIO, journal: io.StringIO, outage_s: tuple[float, float] | None
) -> None:
    given = config.load(REPLAY, {}, [])
    async with running(open_market(path), wire) as (urls, here, _), trio.open_nursery() as nursery:
        told = Journal([StreamSink(journal)], here.now_ns)
        relay = await open_relay(
            Source(urls.rest, urls.stream), "ETHUSDT", clock=here, within_s=30,
            say=lambda state, **fields: told.write("link", name="source", state=state, **fields),
            klines={given.strategy.kline_interval: given.strategy.kline_history},
        )  # fmt: skip
        exchange = Exchange(
            ExchangeConfig(
                market=relay, clocks=Clocks(here.now_ns, joined=True), keys={"key": SIGNER.verifier}, audit=audit,
                funds={"ETH": "1", "USDT": "0"},
            )
        )  # fmt: skip
        ours = await nursery.start(exchange.run)
        setup = Setup(
            rest=ours.rest, ws_api=ours.ws_api, stream=ours.stream, symbol="ETHUSDT", api_key="key", signer=SIGNER,
            strategy=given.strategy, exit=given.exit, risk=given.risk, check_rights=False,
        )  # fmt: skip
        bot = Bot(setup, clock=here, journal=told, status=Status(), rng=random.Random(1))
        nursery.start_soon(_happens, bot, wire, outage_s)
        assert await bot.run()
        nursery.cancel_scope.cancel()


async def _happens(bot: Bot, wire: Wire, outage_s: tuple[float, float] | None) -> None:
    if outage_s is not None:
        await trio.sleep(outage_s[0])
        wire.down = True
        wire.cut()
        await trio.sleep(outage_s[1])
        wire.down = False
    await trio.sleep(120)
    bot.stop.set()


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two minutes and a half of a capture."""
    path = tmp_path_factory.mktemp("market") / "ethusdt.txt"
    path.write_text("".join(raw_lines(CAPTURES[0], 25_000)))
    return path


def test_the_bot_trades_a_relayed_market(market: Path) -> None:
    verdict, facts = traded(market, None)
    assert verdict.most_live == 1
    assert verdict.left_open == []
    assert len(verdict.exits) >= 3
    assert [fact["state"] for fact in facts if fact.get("name") == "source"] == ["offset", "up"]


def test_the_bot_sees_a_stale_market_while_the_source_is_away_and_trades_on_after(market: Path) -> None:
    verdict, facts = traded(market, (20.0, 12.0))
    links = [(fact["name"], fact["state"]) for fact in facts if fact["kind"] == "link"]
    lost = links.index(("source", "lost"))
    assert ("market", "lost") in links[lost:]
    back = links.index(("source", "up"), lost)
    assert ("market", "lost") not in links[back:]
    assert verdict.most_live == 1
    assert verdict.left_open == []
    up_ns = [fact["ts"] for fact in facts if fact.get("name") == "source" and fact["state"] == "up"][-1]
    assert any(fact["kind"] == "fill" and fact["ts"] > up_ns for fact in facts)


async def test_sbe_depth_is_made_of_the_sources_and_shows_what_a_cut_has_cost(
    autojump_clock: MockClock, tmp_path: Path, wire: Wire
) -> None:
    """One difference follows the other, apart from the updates that were missed while there was no line."""
    async with relaying(tmp_path, wire, busy(60)) as world:
        name = f"{SYMBOL.lower()}@depth"
        line = await world.relay.sbe(f"/ws/{name}/{name}20/{SYMBOL.lower()}@bestBidAsk")
        seen: list[sbe.Event] = []

        async def read(seconds: float) -> None:
            with trio.move_on_after(seconds):
                while True:
                    message = await line.get_message()
                    assert isinstance(message, bytes)
                    seen.append(sbe.decode(message))

        await read(10)
        wire.cut()
        await world.until("up", 2)
        await read(20)
        assert {type(event) for event in seen} == {sbe.DepthDiff, sbe.DepthSnapshot, sbe.BestBidAsk}
        diffs = [event for event in seen if isinstance(event, sbe.DepthDiff)]
        gaps = [after.first_id - before.last_id - 1 for before, after in itertools.pairwise(diffs)]
        assert len(diffs) > 100
        assert sum(gap != 0 for gap in gaps) == 1
        assert min(gaps) == 0
