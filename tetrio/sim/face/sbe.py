"""The SBE market streams: what happens on the market -> binary messages. No task, no waiting: plain calls.

The same happenings as the JSON streams tell (`face.streams`), which calls this beside its own payloads; nothing is
encoded that nobody wants. Who is subscribed, and how a slow client is spared, is `face.sbeline`'s.

Times are microseconds. The engine dates its trades in whole milliseconds, so `transactTime` is T of the JSON streams
and no finer; `eventTime` is market time. Exponents are -8, as captures of Binance show, and lower only where a tick or
a lot needs more places; a client must read them in every message.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal

from tetrio.core.money import SymbolRules, places_of
from tetrio.sim.engine.orders import TradePrint
from tetrio.sim.face.beats import DepthFormat
from tetrio.sim.face.venue import MarketClock
from tetrio.sim.market.depth import Difference, Levels, Quote, Snapshot
from tetrio.sim.market.events import AggTrade, PublicTrade
from tetrio.wire import sbe
from tetrio.wire.stream import stream_name

PLACES = 8
DIFF_MS, SNAPSHOT_MS = 20, 50
"""Speed of `<s>@depth` (25 ms until 2026-08-04) and of `<s>@depth20`."""
LEVELS = 20
BEST_BID_ASK = "bestBidAsk"
"""The stream whose older updates are dropped for a client that is slow."""


Wanted = Callable[[str], bool]
"""Whether anybody is subscribed to a stream."""
Publish = Callable[[str, bytes], None]
"""Sends a message of a stream to those who are."""


class Scale:
    """Counts of a step (ticks, lots) -> mantissas of one exponent."""

    def __init__(self, step: Decimal) -> None:
        places = max(PLACES, places_of(step))
        self.exponent = -places
        self._factor = int(step.scaleb(places))

    def __call__(self, units: int) -> int:
        """The mantissa; what has no room in it is told as the most that has: "this much or more"."""
        return min(units * self._factor, sbe.MOST)


class Units:
    """The symbol as the messages have it: its name, its exponents, and the mantissas of ticks and lots."""

    def __init__(self, rules: SymbolRules) -> None:
        self.symbol = rules.name
        self.price, self.qty = Scale(rules.tick_size), Scale(rules.step_size)
        self.exponents = self.price.exponent, self.qty.exponent

    def levels(self, levels: Levels) -> tuple[sbe.Level, ...]:
        """One side of a book."""
        return tuple((self.price(price), self.qty(lots)) for price, lots in levels)


class SbePublisher:
    """Trades and best prices of one symbol as they happen -> SBE messages."""

    def __init__(self, rules: SymbolRules, clock: MarketClock, wanted: Wanted, publish: Publish) -> None:
        self._units, self._clock = Units(rules), clock
        self._wanted, self._publish = wanted, publish
        self._trade, self._best = stream_name(rules.name, "trade"), stream_name(rules.name, BEST_BID_ASK)

    def best(self, quote: Quote, update_id: int) -> None:
        """New best prices; an empty side has price and quantity 0."""
        if not self._wanted(self._best):
            return
        units, price, qty = self._units, self._units.price, self._units.qty
        bid, bid_qty, ask, ask_qty = quote
        best = price(bid), qty(bid_qty), price(ask), qty(ask_qty)
        event = sbe.BestBidAsk(self._clock.latest_us, update_id, *units.exponents, *best, units.symbol)
        self._publish(self._best, sbe.encode(event))

    def traded(self, trade: PublicTrade | AggTrade, trade_id: int) -> None:
        """A trade of the market; `trade_id` is what the engine publishes it with."""
        if self._wanted(self._trade):
            row = self._row(trade_id, trade.price, trade.qty, trade.buyer_is_maker)
            self._send(trade.at_ms, (row,))

    def prints(self, prints: Iterable[TradePrint]) -> None:
        """Clients' trades; those of one taker order share a message, as they can on Binance."""
        if not self._wanted(self._trade):
            return
        for _, taken in itertools.groupby(prints, key=lambda each: each.buyer_is_maker):
            rows = [self._row(each.trade_id, each.price, each.qty, each.buyer_is_maker) for each in taken]
            self._send(self._clock.latest_ms, rows)

    def _row(self, trade_id: int, price: int, qty: int, buyer_is_maker: bool) -> sbe.Trade:
        return sbe.Trade(trade_id, self._units.price(price), self._units.qty(qty), buyer_is_maker)

    def _send(self, at_ms: int, rows: Sequence[sbe.Trade]) -> None:
        units = self._units
        event = sbe.Trades(self._clock.latest_us, at_ms * 1000, *units.exponents, tuple(rows), units.symbol)
        self._publish(self._trade, sbe.encode(event))


def sbe_depth(rules: SymbolRules) -> DepthFormat:
    """The public book of one symbol -> SBE messages: its changes, and its best levels when they have changed."""
    units = Units(rules)

    def difference(told: Difference, at_ms: int) -> bytes:
        ids, sides = (told.first_id, told.last_id), (units.levels(told.bids), units.levels(told.asks))
        return sbe.encode(sbe.DepthDiff(at_ms * 1000, *ids, *units.exponents, *sides, units.symbol))

    def partial(book: Snapshot, at_ms: int) -> bytes:
        sides = units.levels(book.bids), units.levels(book.asks)
        return sbe.encode(sbe.DepthSnapshot(at_ms * 1000, book.last_id, *units.exponents, *sides, units.symbol))

    known = {
        stream_name(rules.name, "depth"): (DIFF_MS, 0),
        stream_name(rules.name, f"depth{LEVELS}"): (SNAPSHOT_MS, LEVELS),
    }
    return DepthFormat(known, difference, partial)
