"""A market that never was: seeded, endless, and lively enough to watch this strategy work within a minute.

A time-lapse: what takes a real market hours happens in seconds. The price swings in legs of some ten to twenty-five
seconds between the edges of a channel 2 to 3 % wide. The channel drifts for minutes at a time (trends) and is drawn
back to where it began, so that weeks later the price is still of the same size. Around the leg lie noise whose
strength itself wanders (stochastic volatility), jumps that fade, and every few minutes or hours a crash of 5 to 9 %
in seconds that recovers most of itself in a minute.

Around that price there is a book with a spread of one or a few ticks and some fifty to a hundred levels a side, most of
them at rounder prices. Some six times a second something happens: the price has left the spread and a taker sweeps
what stood in the way; or a taker takes part of one side; or sizes change. Trades take from the size displayed before
them. What changed of the book is told as a depth difference, then come the best prices.

Floats make the path; what leaves this module is ticks and lots. Same seed and start, same market, on every platform
whose `math` agrees.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from decimal import Decimal

from tetrio.core.market import Side
from tetrio.core.money import SymbolRules
from tetrio.errors import ConfigError, MarketError
from tetrio.sim.market.candles import Candle, open_of, widen
from tetrio.sim.market.events import Batch, Depth, MarketEvent, PublicTrade, Top
from tetrio.wire.rules import split_symbol

DEFAULT_SYMBOL = "ETHFDUSD"
DEFAULT_START_NS = 1_767_225_600_000_000_000
"""2026-01-01 00:00 UTC."""
HISTORY_KLINES = 1440
_FIRST_PRICE = 340_000
"""Ticks: 3,400.00 quote units, about."""
_MINUTE_MS = 60_000
EVENTS_PER_S = 6.0
"""How often something happens, on average."""


class _Path:
    """The price that the book follows, as the logarithm of its ratio to the first price."""

    HALF_WIDTH = 0.0125
    """Of the channel."""
    NOISE = 0.00035
    """Per square root of a second."""
    NOISE_FADES_S = 2.0
    JUMP_EVERY_S = 100.0
    JUMP_FADES_S = 15.0
    TREND_LASTS_S = 240.0
    CRASH_EVERY_LEGS = 240
    START = -0.9
    """Where in the channel it begins, in half widths from the middle: near the lower edge, with a leg up."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._center = -self.START * self.HALF_WIDTH
        self._trend = 0.0
        self._noise = self._jump = self._restless = 0.0
        self._rising = True
        self._crash_depth = 0.0
        self._from = self._here = 0.0
        self._to = self._edge()
        self._length_s = rng.uniform(8.0, 18.0)
        self._gone_s = 0.0

    @property
    def volatility(self) -> float:
        """Multiplies noise; 1 on average, between about a half and two."""
        return math.exp(self._restless)

    def step(self, seconds: float) -> float:
        """The price `seconds` later."""
        rng = self._rng
        self._gone_s += seconds
        if self._gone_s >= self._length_s:
            self._turn()
        self._restless += -self._restless * seconds / 60.0 + 0.05 * math.sqrt(seconds) * rng.gauss(0.0, 1.0)
        self._noise += -self._noise * seconds / self.NOISE_FADES_S
        self._noise += self.NOISE * self.volatility * math.sqrt(seconds) * rng.gauss(0.0, 1.0)
        self._jump -= self._jump * seconds / self.JUMP_FADES_S
        if rng.random() < seconds / self.JUMP_EVERY_S:
            self._jump += rng.choice((-1.0, 1.0)) * rng.uniform(0.001, 0.003)
        self._here = self._from + (self._to - self._from) * self._gone_s / self._length_s
        return self._here + self._noise + self._jump

    def shift(self, by: float) -> None:
        """Everything is elsewhere from now on, by so much."""
        self._center += by
        self._from += by
        self._to += by

    def _edge(self) -> float:
        side = 1.0 if self._rising else -1.0
        return self._center + side * self.HALF_WIDTH * self._rng.uniform(0.75, 1.25)

    def _turn(self) -> None:
        """Begins the next leg."""
        rng = self._rng
        spent = self._length_s
        self._from, self._gone_s = self._to, 0.0
        self._rising = not self._rising
        if self._crash_depth:
            self._rising = True
            self._to = self._from + self._crash_depth * rng.uniform(0.7, 1.0)
            self._length_s, self._crash_depth = rng.uniform(15.0, 40.0), 0.0
            self._center = self._to - self.HALF_WIDTH
            return
        if rng.random() < spent / self.TREND_LASTS_S:
            self._trend = rng.choice((-1.0, 0.0, 1.0)) * rng.uniform(0.0005, 0.002)
        self._center += self._trend - 0.01 * self._center
        if not self._rising and rng.random() < 1.0 / (self.CRASH_EVERY_LEGS / 2):
            self._crash_depth = rng.uniform(0.05, 0.09)
            self._to, self._length_s = self._from - self._crash_depth, rng.uniform(4.0, 10.0)
            return
        self._to, self._length_s = self._edge(), rng.uniform(10.0, 26.0)


class _Ladder:
    """One side of the book: its best price and what stands behind it."""

    STEP = 40
    """Ticks from one of the rounder prices to the next."""
    LEAST, KEPT, MOST = 55, 75, 100
    """Levels: of fewer, or of more, the far end is filled up or cut to `KEPT`."""
    LIVELY = 30
    """How many of the rounder prices behind the best one change by themselves."""

    def __init__(self, side: Side, rng: random.Random, sizes: Sequence[int]) -> None:
        self._sign = 1 if side is Side.SELL else -1
        self._rng, self._sizes = rng, sizes
        self._levels: dict[int, int] = {}
        self._best = self._far = 0

    def move(self, best: int, lots: int) -> list[tuple[int, int]]:
        """The best price is `best` now, with `lots`; what has changed: price and lots."""
        sign, levels, changes = self._sign, self._levels, list[tuple[int, int]]()
        if best != self._best:
            if sign * best > sign * self._best:  # it is worse: what was better is gone
                changes += [(price, 0) for price in levels if sign * price < sign * best]
                for price, _ in changes:
                    del levels[price]
            elif self._best:
                self._fill(best, self._best, changes)
            self._best = best
        if levels.get(best) != lots:
            levels[best] = lots
            changes.append((best, lots))
        if len(levels) < self.LEAST:
            self._lengthen(changes)
        elif len(levels) > self.MOST:
            self._shorten(changes)
        return changes

    def flicker(self) -> list[tuple[int, int]]:
        """One level behind the best price changes, goes or comes."""
        price = self._rounder(self._best) + self._sign * self.STEP * int(self._rng.random() * self.LIVELY)
        if price <= 0:
            return []
        lots = 0 if price in self._levels and self._rng.random() < 0.1 else self._size()
        if lots:
            self._levels[price] = lots
        else:
            del self._levels[price]
        return [(price, lots)]

    def _fill(self, near: int, until: int, changes: list[tuple[int, int]]) -> None:
        """New levels between the new best price and the old one."""
        for price in range(self._rounder(near), until, self._sign * self.STEP):
            self._levels[price] = lots = self._size()
            changes.append((price, lots))

    def _lengthen(self, changes: list[tuple[int, int]]) -> None:
        levels, sign = self._levels, self._sign
        far = max(self._far, self._best) if sign > 0 else min(self._far or self._best, self._best)
        price = self._rounder(far)
        while len(levels) < self.KEPT and price > 0:
            levels[price] = lots = self._size()
            changes.append((price, lots))
            far, price = price, price + sign * self.STEP
        self._far = far

    def _shorten(self, changes: list[tuple[int, int]]) -> None:
        near = sorted(self._levels, reverse=self._sign < 0)
        for price in near[self.KEPT :]:
            del self._levels[price]
            changes.append((price, 0))
        self._far = near[self.KEPT - 1]

    def _rounder(self, price: int) -> int:
        """The next rounder price behind `price`."""
        return (price // self.STEP + 1 if self._sign > 0 else (price - 1) // self.STEP) * self.STEP

    def _size(self) -> int:
        return self._sizes[int(self._rng.random() * len(self._sizes))]


class Synthetic:
    """A generated market."""

    kind = "synthetic"

    def __init__(
        self,
        rng: random.Random,
        symbol: str | None,
        assets: tuple[str, str] | None,
        start_ns: int = 0,
        events_per_s: float = EVENTS_PER_S,
    ) -> None:
        """MarketError when the assets cannot be told from the symbol."""
        self._rng, self._events_per_s = rng, events_per_s
        self.symbol = symbol or DEFAULT_SYMBOL
        self.rules = _rules(self.symbol, assets)
        self.first_ns = start_ns or DEFAULT_START_NS
        self.last_ns = self.frames_total = self.skipped = self.frames = 0
        lower = self.symbol.lower()
        self._top_stream, self._trade_stream = f"{lower}@bookTicker", f"{lower}@trade"
        self.streams = frozenset({self._top_stream, self._trade_stream})
        self.first_price_ticks = _FIRST_PRICE + rng.randrange(-5000, 5000)
        self._minutes = self._past(HISTORY_KLINES)
        self._path = _Path(rng)
        self._bid = self.first_price_ticks
        self._ask = self._bid + 1
        self._bid_qty, self._ask_qty = self._size(), self._size()
        self._update_id, self._trade_id = 1_000_000, self._numbered(self._minutes)
        self.first_trade_id = self._trade_id + 1
        behind = random.Random(self.first_price_ticks)  # noqa: S311  # draws of its own: the path is the same without
        sizes = [1 + int(20_000 * math.exp(behind.gauss(1.0, 0.9))) for _ in range(1024)]
        self._ladders = {side: _Ladder(side, behind, sizes) for side in Side}
        self._behind = behind

    def history(self, interval: str, limit: int) -> list[Candle]:
        """The generated past: a day of minutes, and what longer candles they make; none shorter than a minute."""
        if interval == "1s":
            return []
        candles = self._minutes if interval == "1m" else widen(self._minutes, interval)
        start_ms = self.first_ns // 1_000_000
        closed = [candle.copy() for candle in candles if candle.close_ms < start_ms]
        return closed[-limit:] if limit else []

    def batches(self) -> Iterator[Batch]:
        """The market, without end: one batch an event time, at least a millisecond apart."""
        rng, now_ms = self._rng, self.first_ns // 1_000_000
        yield self._batch(now_ms, self._book(now_ms))
        while True:
            waited_ms = max(1, round(rng.expovariate(self._events_per_s) * 1000))
            now_ms += waited_ms
            middle = self.first_price_ticks * math.exp(self._path.step(waited_ms / 1000))
            spread = rng.choices((1, 2, 3, 5), cum_weights=(70, 88, 96, 100))[0]
            bid = max(1, math.floor(middle - spread / 2))
            yield self._batch(now_ms, self._happen(bid, bid + spread, now_ms))
            for batch in self._more(now_ms):
                now_ms = batch.market_ns // 1_000_000
                yield batch

    def _more(self, now_ms: int) -> Iterator[Batch]:
        """What else happens, later than `now_ms`: nothing, on a market that nobody tells to."""
        return iter(())

    def _batch(self, now_ms: int, events: list[MarketEvent]) -> Batch:
        self.frames += len(events)
        return Batch(now_ms * 1_000_000, events)

    def _happen(self, bid: int, ask: int, now_ms: int) -> list[MarketEvent]:
        """One event time: the book moves to `bid` and `ask`, or something trades where it is."""
        if bid >= self._ask or ask <= self._bid:
            return self._sweep(bid, ask, now_ms)
        return self._nibble(now_ms)

    def _sweep(self, bid: int, ask: int, now_ms: int) -> list[MarketEvent]:
        """The price has left the spread: a taker takes the best price and what stood on the way."""
        up = bid >= self._ask
        near, shown = (self._ask, self._ask_qty) if up else (self._bid, self._bid_qty)
        far = bid if up else ask
        events: list[MarketEvent] = [self._trade(near, shown, not up, now_ms)]
        if far != near:
            events.append(self._trade(far, self._size(), not up, now_ms))
        self._bid, self._ask = bid, ask
        self._bid_qty, self._ask_qty = self._size(), self._size()
        return events + self._book(now_ms)

    def _nibble(self, now_ms: int) -> list[MarketEvent]:
        """Trades take part of one side, or sizes change."""
        rng, events = self._rng, list[MarketEvent]()
        draw = rng.random()
        if draw < 0.35:
            lots = min(self._size() // 2 + 1, self._ask_qty)
            events.append(self._trade(self._ask, lots, False, now_ms))
            self._ask_qty = self._ask_qty - lots or self._size()
        elif draw < 0.7:
            lots = min(self._size() // 2 + 1, self._bid_qty)
            events.append(self._trade(self._bid, lots, True, now_ms))
            self._bid_qty = self._bid_qty - lots or self._size()
        elif draw < 0.85:
            self._ask_qty = self._size()
        else:
            self._bid_qty = self._size()
        return events + self._book(now_ms, flicker=Side.BUY if self._behind.random() < 0.5 else Side.SELL)

    def _book(self, now_ms: int, flicker: Side | None = None) -> list[MarketEvent]:
        """What has changed of the book, and the best prices."""
        bids = self._ladders[Side.BUY].move(self._bid, self._bid_qty)
        asks = self._ladders[Side.SELL].move(self._ask, self._ask_qty)
        if flicker is not None:
            changes = bids if flicker is Side.BUY else asks
            changes += self._ladders[flicker].flicker()
        before, top = self._update_id, self._top()
        return [Depth(before + 1, top.update_id, now_ms, bids, asks), top]

    def _top(self) -> Top:
        self._update_id += self._rng.randrange(1, 6)
        return Top(self._bid, self._bid_qty, self._ask, self._ask_qty, self._update_id, self._top_stream)

    def _trade(self, price: int, lots: int, buyer_is_maker: bool, now_ms: int) -> PublicTrade:
        self._trade_id += 1
        return PublicTrade(price, lots, self._trade_id, now_ms, buyer_is_maker, self._trade_stream)

    def _size(self) -> int:
        """Lots displayed or traded: mostly one to ten base units."""
        return 1 + int(10_000 * math.exp(self._rng.gauss(1.0, 0.9)))

    def _past(self, count: int) -> list[Candle]:
        """Minutes up to the start: calm, around the middle of the channel that follows, with a dip at the end."""
        rng = self._rng
        last_open = open_of("1m", self.first_ns // 1_000_000 - _MINUTE_MS)
        middle = -_Path.START * _Path.HALF_WIDTH
        closes, wave = [0.0], 0.0
        for age in range(count):
            wave = wave * 0.985 + rng.gauss(0.0, 0.0009)
            closes.append(wave + middle * (1.0 - math.exp(-(age + 1) / 3.0)))
        closes.reverse()
        prices = [round(self.first_price_ticks * math.exp(close)) for close in closes]
        return [
            self._past_minute(last_open - (count - 1 - at) * _MINUTE_MS, prices[at], prices[at + 1])
            for at in range(count)
        ]

    @staticmethod
    def _numbered(minutes: list[Candle]) -> int:
        """Gives the trades of the past their ids, from 1; the last one."""
        last_id = 0
        for minute in minutes:
            minute.first_id, last_id = last_id + 1, last_id + minute.trades
            minute.last_id = last_id
        return last_id

    def _past_minute(self, open_ms: int, opened: int, close: int) -> Candle:
        rng = self._rng
        high = max(opened, close) + round(self.first_price_ticks * abs(rng.gauss(0.0, 0.0008)))
        low = min(opened, close) - round(self.first_price_ticks * abs(rng.gauss(0.0, 0.0008)))
        trades = rng.randrange(200, 600)
        volume = trades * self._size() // 2
        taker = round(volume * rng.uniform(0.35, 0.65))
        middle = (opened + high + low + close) // 4
        return Candle(
            open_ms,
            open_ms + _MINUTE_MS - 1,
            opened,
            high,
            low,
            close,
            volume,
            volume * middle,
            trades,
            taker,
            taker * middle,
        )


def _rules(symbol: str, assets: tuple[str, str] | None) -> SymbolRules:
    """As of a large pair in production."""
    try:
        base, quote = assets or split_symbol(symbol)
    except ConfigError as error:
        raise MarketError(str(error)) from None
    return SymbolRules(
        name=symbol,
        base_asset=base,
        quote_asset=quote,
        tick_size=Decimal("0.01"),
        step_size=Decimal("0.0001"),
        min_price_ticks=1,
        max_price_ticks=100_000_000,
        min_qty_lots=1,
        max_qty_lots=90_000_000,
        market_max_qty_lots=3_000_000,
        min_notional=Decimal(5),
        max_notional=Decimal(9_000_000),
        bid_multiplier_up=Decimal(5),
        bid_multiplier_down=Decimal("0.2"),
        ask_multiplier_up=Decimal(5),
        ask_multiplier_down=Decimal("0.2"),
        max_num_orders=200,
    )
