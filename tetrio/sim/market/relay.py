"""A market that is another exchange's, as it happens: its public streams relayed, its orders and account our own.

    market = await open_relay(Source(rest, stream), "ETHUSDT", clock=clock, say=say, within_s=30)
    Exchange(ExchangeConfig(market=market, …))     # follows it with a `Follower` in the place of the player

What the source sends goes on to our subscribers byte for byte (trade ids apart, where our clients' trades have shifted
them); best prices and trades are also read for the engine, so that the simulated account's orders fill as on any
market of `sim`. Beside those two and kline_1s, a stream is asked of the source once somebody here wants it. Market time
is the source's, as its 1 s klines tell it; the service clock (serverTime, order times) is this machine's.

A line that is lost, or silent, is dialled again, with growing delays, for ever. Meanwhile nothing beats here, so that
clients see a stale market as they would at the source itself, and orders are served on. Klines are asked for anew with
each connection, and those that were over in the gap are told: nobody's indicators miss one.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator, Mapping
from typing import NoReturn, Protocol

import msgspec
import trio

from tetrio.core.money import SymbolRules
from tetrio.errors import LinkError, LinkLost, LinkStale, TetrioError, Timeout, WireError
from tetrio.net import entropy
from tetrio.net.clock import Clock, machine_s
from tetrio.net.line import Line, open_line
from tetrio.sim.face.streams import Hub, Publisher
from tetrio.sim.face.venue import HISTORY, Venue
from tetrio.sim.market.candles import INTERVALS, Candle, Candles
from tetrio.sim.market.events import AggTrade, Batch, MarketEvent, PublicTrade, Top
from tetrio.sim.market.frames import DECODERS, MAKERS, decode_frame
from tetrio.sim.market.player import happen
from tetrio.sim.market.source import Facts, Source, open_facts
from tetrio.sim.market.tickers import STREAM_WINDOWS
from tetrio.wire.control import control_request
from tetrio.wire.rules import Grid
from tetrio.wire.stream import ControlReply, MarketDecoder, ServerShutdown, array, stream_name

__all__ = ["Follower", "Relay", "Source", "open_relay"]

ENGINE = ("bookTicker", "trade", "aggTrade")
"""What is read for the engine; the last one only for its ids, and only where a client wants it."""
DEPTH = ("depth", "depth@100ms")
"""What is read for the book behind the best prices, where a client wants it."""
ARRAYS = {"!miniTicker@arr": "miniTicker"} | {f"!ticker_{window}@arr": f"ticker_{window}" for window in STREAM_WINDOWS}
"""Streams of all symbols, which here is one -> that one's stream."""
BEAT = "kline_1s"
BEAT_S = 10.0  # the source tells its 1 s klines each second
FIRST_S, MOST_S, HEALTHY_S = 0.5, 30.0, 60.0
MARGIN_MS = 2000  # a kline may be told twice, but none be missing
ASK_EVERY_S = 0.5  # the source takes five messages a second, our pongs among them
_CHANNEL = re.compile(r"[A-Za-z0-9_@:+-]{1,40}")
_UNREADABLE = (ValueError, RecursionError)  # msgspec's errors, bad UTF-8, off the grid; nesting


class Say(Protocol):
    """Hears what becomes of the source's line."""

    def __call__(self, state: str, **fields: object) -> None:
        """`state` is offset, up, lost, malformed or refused."""


class _Close(msgspec.Struct):
    close: str = msgspec.field(name="c")


class Beat(msgspec.Struct):
    """A 1 s kline, as far as it is read."""

    event_ms: int = msgspec.field(name="E")
    kline: _Close = msgspec.field(name="k")


_decode_beat = msgspec.json.Decoder(Beat).decode


class Relay:
    """The source's market, as the exchange needs to know it; who lets it happen is the `Follower`."""

    kind = "relay"
    last_ns = 0
    frames_total = 0

    def __init__(
        self,
        source: Source,
        rules: SymbolRules,
        known: Mapping[str, list[Candle]],
        *,
        wanted: Mapping[str, int],
        clock: Clock,
        say: Say,
        began: Beat,
        first_trade_id: int,
    ) -> None:
        """As the source is when the beat `began` comes.

        known    klines by interval
        wanted   how many of them are asked for with each connection
        """
        self.source, self.rules, self.symbol = source, rules, rules.name
        self.clock, self.say = clock, say
        self.first_ns = began.event_ms * 1_000_000
        self.ahead_ns = self.first_ns - clock.now_ns()
        """What to add to our clock to have market time."""
        self.first_price_ticks, self.first_trade_id = rules.price_ticks(began.kline.close), first_trade_id
        self.wanted = wanted
        self.streams = frozenset(stream_name(rules.name, channel) for channel in ENGINE)
        self.frames = 0
        self.skipped = 0
        """Frames that could not be read; they went nowhere."""
        self._known = known

    def history(self, interval: str, limit: int) -> list[Candle]:
        """What the source told when this was opened."""
        return list(self._known.get(interval, ()))[-limit:]

    def candles(self) -> Candles:
        """The same, of every interval."""
        return self.gathered(self._known)

    def gathered(self, known: Mapping[str, list[Candle]]) -> Candles:
        """Candles that begin with `known`."""
        return Candles.known(known, keep=max(HISTORY, *self.wanted.values()))

    def batches(self) -> Iterator[Batch]:
        """None: what happens is not known beforehand."""
        return iter(())


async def open_relay(
    source: Source, symbol: str, *, clock: Clock, say: Say, within_s: float, klines: Mapping[str, int] | None = None
) -> Relay:
    """Learn what must be known before the market is traded; the line is tried too.

    klines     interval -> how many are kept, beside those of 1m
    within_s   for how long to try, machine seconds
    ConfigError   the source has no such symbol, or a URL is none
    UnsafeError   it refuses our address
    Timeout       it could not be reached in time
    """
    wanted = {"1m": HISTORY}
    for interval, count in (klines or {}).items():
        wanted[interval] = max(count, wanted.get(interval, 0))
    waits, until = _Waits(), trio.current_time() + machine_s(within_s)
    last = "no answer"
    while trio.current_time() < until:
        with trio.move_on_at(until):
            try:
                return await _visit(source, symbol, clock, say, wanted)
            except (LinkError, WireError) as error:
                last = str(error)
                wait_s = waits.after(error)
                say("lost", why=last, retry_s=round(wait_s, 3))
            await trio.sleep(machine_s(wait_s))
    raise Timeout(
        f"no market from {source.rest} and {source.stream} within {within_s:g} s; last: {last}; is the network there, "
        "and are the URLs right?"
    )


async def _visit(source: Source, symbol: str, clock: Clock, say: Say, wanted: Mapping[str, int]) -> Relay:
    async with open_facts(source.rest) as facts:
        rules = await facts.rules(symbol)
        offset, error = await facts.clock_offset_ms(clock)
        say("offset", offset_ms=round(offset, 1), error_ms=round(error, 1))
        name = stream_name(symbol, BEAT)
        async with open_line(source.stream, [name], name="source") as line:
            began = await _first_beat(line, name, rules)
        known, last_id = await facts.candles(rules, wanted), await facts.last_trade_id(rules)
        return Relay(source, rules, known, wanted=wanted, clock=clock, say=say, began=began, first_trade_id=last_id + 1)


async def _first_beat(line: Line, name: str, rules: SymbolRules) -> Beat:
    """The first 1 s kline that the line tells, of a price that can be."""
    while True:
        for payload in await line.receive(trio.current_time() + machine_s(BEAT_S)):
            try:
                frame = decode_frame(payload)
                beat = _decode_beat(frame.data) if frame.stream == name else None
                if beat is not None and rules.price_ticks(beat.kline.close) > 0:
                    return beat
            except _UNREADABLE as error:
                raise WireError(f"a frame of the source that cannot be read ({error})", _text(payload)) from None


class _Waits:
    """How long to wait after each failure: growing, capped, jittered; back at the beginning after a good minute."""

    def __init__(self) -> None:
        self._failures = 0
        self._rng: random.Random = entropy.rng("relay")

    def after(self, error: TetrioError, lived_s: float = 0.0) -> float:
        """Machine seconds, after a line that lived so long; never less than the source asks for."""
        self._failures = 1 if lived_s >= HEALTHY_S else self._failures + 1
        backed_off: float = min(FIRST_S * 2 ** min(self._failures - 1, 10), MOST_S)
        asked_s = error.retry_after_s if isinstance(error, LinkLost) else None
        return max(backed_off * (0.5 + self._rng.random() / 2), asked_s or 0.0)


class Follower:
    """Lets the source's market happen here, for as long as the exchange runs."""

    def __init__(self, venue: Venue, hub: Hub, market: Relay) -> None:
        self._venue, self._hub, self._market = venue, hub, market
        self._publisher = Publisher(venue, hub)
        self._decoder = MarketDecoder(market.rules)
        self._prices, self._sizes = Grid(market.rules.tick_size), Grid(market.rules.step_size)
        self._prefix = stream_name(market.symbol, "")
        self._channels = {self._prefix + channel: channel for channel in ENGINE}
        self._channels |= {self._prefix + channel: "depth" for channel in DEPTH}
        self._arrays = {self._prefix + channel: name for name, channel in ARRAYS.items()}
        self._beat = self._prefix + BEAT
        self._asked: list[str] = []
        self._numbers = itertools.count(1)
        self._changed = False
        self._beat_at = 0.0
        self._heard_ms = market.first_ns // 1_000_000
        hub.on_change = self._on_change
        venue.candles = market.candles()
        self._stopped_ns: int | None = None
        venue.clock.start(self._market_ns)

    async def run(self) -> NoReturn:
        """Follow, until cancelled."""
        waits = _Waits()
        while True:
            began = trio.current_time()
            try:
                await self._follow()
            except TetrioError as error:  # whatever the source does, orders are served on
                self._stopped_ns = self._venue.clock.now_ns()
                wait_s = waits.after(error, (trio.current_time() - began) / machine_s(1.0))
                self._market.say("lost", why=str(error), retry_s=round(wait_s, 3))
                await trio.sleep(machine_s(wait_s))

    async def _follow(self) -> NoReturn:
        source = self._market.source
        self._asked = [self._prefix + channel for channel in (*ENGINE[:2], BEAT)]
        self._asked += self._missing()
        async with open_line(source.stream, self._asked, name="source") as line:
            async with open_facts(source.rest) as facts:
                await self._learn(facts)
            self._market.say("up")
            await self._pump(line)

    async def _learn(self, facts: Facts) -> None:
        """Klines with what was traded while there was no line; those that are over by now are told."""
        market, venue = self._market, self._venue
        known = await facts.candles(market.rules, market.wanted)
        venue.candles = market.gathered(known)
        venue.book.forget()
        told = [interval for interval in INTERVALS if interval != "1s" or interval in known]
        there_ms = max((candles[-1].open_ms for candles in known.values() if candles), default=0)
        self._publisher.catch_up(told, self._heard_ms - MARGIN_MS, there_ms)

    async def _pump(self, line: Line) -> NoReturn:
        self._beat_at = asked_at = trio.current_time()
        self._stopped_ns = None
        while True:
            self._take(await line.receive(trio.current_time() + machine_s(BEAT_S)))
            now = trio.current_time()
            if now - self._beat_at > machine_s(BEAT_S):
                raise LinkStale(f"source: the 1 s klines have not come for {BEAT_S:g} s")
            if self._changed and now - asked_at >= machine_s(ASK_EVERY_S):
                asked_at, self._changed = now, False
                if missing := self._missing():
                    self._asked += missing
                    await line.say(control_request(next(self._numbers), "SUBSCRIBE", missing))

    def _market_ns(self) -> int:
        """Market time. It stands while there is no line: nobody knows of the candles that begin meanwhile."""
        return self._market.clock.now_ns() + self._market.ahead_ns if self._stopped_ns is None else self._stopped_ns

    def _on_change(self) -> None:
        self._publisher.rewant()
        self._changed = True

    def _missing(self) -> list[str]:
        """What somebody wants and the source was not asked for."""
        wanted = dict.fromkeys(self._prefix + ARRAYS[name] if name in ARRAYS else name for name in self._hub.names)
        if any(name.startswith(f"{self._prefix}depth") for name in self._hub.binary_names):
            wanted[self._prefix + DEPTH[-1]] = None  # SBE depth is made of it
        return [
            name
            for name in wanted
            if name not in self._asked and name.startswith(self._prefix) and _CHANNEL.fullmatch(name, len(self._prefix))
        ]

    # -- what comes ---------------------------------------------------------------------------------------------------
    def _take(self, payloads: list[bytes]) -> None:
        """What one read of the line brought."""
        market, venue = self._market, self._venue
        market_ns, now_ms = venue.clock.now_ns(), venue.now_ms()
        self._heard_ms = market_ns // 1_000_000
        try:
            for payload in payloads:
                market.frames += 1
                try:
                    event = self._event(payload)
                except (WireError, *_UNREADABLE) as error:
                    self._malformed(payload, error)
                else:
                    if event is not None:
                        happen(venue, self._publisher, event, now_ms, market_ns)
        finally:
            self._publisher.flush()
            self._tell_depth()

    def _tell_depth(self) -> None:
        """What is due of the depth that is made here, SBE's; it waits for the source's next frame."""
        due_ms, now_ms = self._publisher.depth_due_ms, self._venue.clock.latest_ms
        if due_ms is not None and due_ms <= now_ms:
            self._publisher.tell_depth(now_ms)

    def _event(self, payload: bytes) -> MarketEvent | None:
        """What the engine must know; everything else goes on at once."""
        try:
            frame = decode_frame(payload)
        except msgspec.ValidationError:
            self._word(payload)
            return None
        name, raw = frame.stream, bytes(frame.data)
        channel = self._channels.get(name)
        if channel is not None:
            record = DECODERS[channel].decode(raw)
            return _sane(MAKERS[channel](record, self._prices, self._sizes, name, raw, payload))
        if not name.startswith(self._prefix):
            self._word(payload)
            return None
        if name == self._beat:
            self._market.ahead_ns = _decode_beat(raw).event_ms * 1_000_000 - self._market.clock.now_ns()
            self._beat_at = trio.current_time()
        self._hub.publish(name, raw, payload)
        if name in self._arrays:
            self._hub.publish(self._arrays[name], array([raw]))
        return None

    def _word(self, payload: bytes) -> None:
        """What is no market data: the answer to a SUBSCRIBE, or a farewell."""
        said = self._decoder.decode(payload)
        if isinstance(said, ServerShutdown):
            raise LinkLost("source: it is about to restart")
        if isinstance(said, ControlReply) and said.code is not None:
            self._market.say("refused", why=f"{said.code} {said.msg}")

    def _malformed(self, payload: bytes, error: Exception) -> None:
        """Counted, and told of as the count doubles."""
        market = self._market
        market.skipped += 1
        if market.skipped & (market.skipped - 1) == 0:
            why = str(error) if isinstance(error, WireError) else f"{error}: {_text(payload)!r}"
            market.say("malformed", why=why, count=market.skipped)


def _sane(event: MarketEvent) -> MarketEvent:
    """ValueError for numbers that no market can have."""
    match event:
        case Top() if min(event.bid, event.bid_qty, event.ask, event.ask_qty) < 0:
            raise ValueError("a negative price or quantity")
        case PublicTrade() | AggTrade() if event.price <= 0 or event.qty <= 0:
            raise ValueError("a trade of nothing")
    return event


def _text(payload: bytes) -> str:
    return payload[:200].decode("utf-8", "replace")
