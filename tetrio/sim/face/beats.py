"""Streams that beat by the market's clock: candles, average and reference price, tickers; and the depth of the book.

`Beats` tells what comes once a second; `DepthFeeds` what is made of the public book every second or every 100 ms, where
the market has not recorded it. Either looks only at streams that somebody wants, and a book that stands still is not
told again. When it is time is the player's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import attrs

from tetrio.sim.face.queries import average_text
from tetrio.sim.face.venue import Venue
from tetrio.sim.market import tickers
from tetrio.sim.market.candles import INTERVALS, Candle
from tetrio.sim.market.depth import Changes, Difference, Levels, Snapshot
from tetrio.sim.market.tickers import HOUR_MS, STREAM_WINDOWS
from tetrio.wire import stream

TEXTS_KEPT = 4096
EIGHT_MS = 8 * HOUR_MS
"""The one other zone whose candles are streamed: `kline_<i>@+08:00`."""
PARTIAL_LEVELS = (5, 10, 20)
SLOW_MS, FAST_MS = 1000, 100
Publish = Callable[[str, bytes], None]
Kline = tuple[str, int]
"""(interval, ms that the zone's clocks are ahead of UTC)"""


class Texts(dict[int, str]):
    """Units -> their text. A dict that fills itself: prices and amounts repeat, in quiet times above all."""

    def __init__(self, text: Callable[[int], str]) -> None:
        super().__init__()
        self._text = text

    def __missing__(self, units: int) -> str:
        if len(self) >= TEXTS_KEPT:
            self.clear()
        text = self[units] = self._text(units)
        return text


class Beats:
    """What is told once a second."""

    def __init__(self, venue: Venue, publish: Publish) -> None:
        self._venue, self._publish = venue, publish
        self._symbol = venue.symbol
        self._prices, self._qtys = Texts(venue.rules.price_text), Texts(venue.rules.qty_text)
        self._notionals = Texts(venue.shapes.notional)
        self._known_klines = _kline_names(venue.symbol)
        self._known = self._tellers()
        self._klines: dict[str, Kline] = {}
        self._others: list[str] = []
        self._told_ms: dict[Kline, int] = {}
        self._told_trade: dict[str, int] = {}
        self._began_ms = venue.market.first_ns // 1_000_000  # no candle is told that ended before the market began

    @property
    def wanted(self) -> bool:
        """Whether anybody wants one of these streams."""
        return bool(self._klines or self._others)

    def rewant(self, names: Sequence[str]) -> None:
        """These streams are wanted now, of whatever kind."""
        self._klines = {name: self._known_klines[name] for name in names if name in self._known_klines}
        self._told_ms = {kline: at for kline, at in self._told_ms.items() if kline in self._klines.values()}
        self._others = [name for name in names if name in self._known]
        self._told_trade = {name: at for name, at in self._told_trade.items() if name in self._others}
        for interval, zone_ms in self._klines.values():
            if zone_ms:
                self._venue.candles.keep_zone(interval, zone_ms)

    def tell(self, boundary_ms: int, period_ms: int, event_ms: int) -> None:
        """All of it at `boundary_ms`, which `event_ms` (E) is at or a little after.

        kline_1s and the others every `period_ms`, the other klines every second time; each candle once more at its end.
        """
        told: dict[Kline, int] = {}
        for name, kline in self._klines.items():
            every_ms = period_ms if kline[0] == "1s" else 2 * period_ms
            since_ms = self._told_ms.get(kline, max(boundary_ms - every_ms, self._began_ms))
            if boundary_ms % every_ms:
                told[kline] = since_ms
            else:
                self._tell_candles(name, kline, since_ms, boundary_ms, event_ms)
                told[kline] = boundary_ms
        self._told_ms = told
        for name in self._others:
            self._known[name](name, event_ms)

    def catch_up(self, intervals: Collection[str], since_ms: int, now_ms: int) -> None:
        """Klines that were over from `since_ms` to `now_ms`, once more, dated by their own end."""
        for name, (interval, zone_ms) in self._klines.items():
            if interval in intervals:
                for candle in self._venue.candles.closed_since(interval, since_ms, now_ms, zone_ms):
                    self._publish(name, self._kline(interval, candle, candle.close_ms + 1, closed=True))

    # -- candles ----------------------------------------------------------------------------------------------------
    def _tell_candles(self, name: str, kline: Kline, since_ms: int, boundary_ms: int, event_ms: int) -> None:
        (interval, zone_ms), candles = kline, self._venue.candles
        closed = candles.closed_since(interval, since_ms, boundary_ms, zone_ms)
        for candle in closed:
            self._publish(name, self._kline(interval, candle, event_ms, closed=True))
        if closed and closed[-1].close_ms == boundary_ms - 1:
            return  # the next candle has only just begun
        forming = candles.forming(interval, boundary_ms, zone_ms)
        if forming is not None:
            self._publish(name, self._kline(interval, forming, event_ms, closed=False))

    def _kline(self, interval: str, candle: Candle, event_ms: int, *, closed: bool) -> bytes:
        prices, qtys, notionals = self._prices, self._qtys, self._notionals
        return stream.kline(
            self._symbol,
            interval,
            event_ms,
            open_ms=candle.open_ms,
            close_ms=candle.close_ms,
            open=prices[candle.open],
            high=prices[candle.high],
            low=prices[candle.low],
            close=prices[candle.close],
            volume=qtys[candle.volume],
            quote_volume=notionals[candle.quote_volume],
            trades=candle.trades,
            first_id=candle.first_id,
            last_id=candle.last_id,
            taker_base=qtys[candle.taker_volume],
            taker_quote=notionals[candle.taker_quote],
            closed=closed,
        )

    # -- everything else --------------------------------------------------------------------------------------------
    def _tellers(self) -> Mapping[str, Callable[[str, int], None]]:
        known: dict[str, Callable[[str, int], None]] = {
            "!miniTicker@arr": lambda name, at_ms: self._array(name, self._mini(at_ms))
        }
        own: dict[str, Callable[[str, int], None]] = {
            "avgPrice": self._average,
            "referencePrice": self._reference,
            "miniTicker": lambda name, at_ms: self._publish(name, self._mini(at_ms)),
            "ticker": lambda name, at_ms: self._publish(name, self._day(at_ms)),
        }
        for window in STREAM_WINDOWS:
            own[f"ticker_{window}"] = lambda name, at_ms, window=window: self._publish(  # type: ignore[misc]
                name, self._rolling(window, at_ms)
            )
            known[f"!ticker_{window}@arr"] = lambda name, at_ms, window=window: self._array(  # type: ignore[misc]
                name, self._rolling(window, at_ms)
            )
        return known | {stream.stream_name(self._symbol, channel): teller for channel, teller in own.items()}

    def _array(self, name: str, payload: bytes) -> None:
        """Symbols that have changed: ours, if it has traded."""
        recent = self._venue.recent
        last_id = recent[-1].trade_id if recent else 0
        if self._told_trade.get(name, 0) != last_id:
            self._told_trade[name] = last_id
            self._publish(name, stream.array([payload]))

    def _average(self, name: str, event_ms: int) -> None:
        last = self._venue.engine.last_trade(self._symbol)
        if last is not None:
            self._publish(name, stream.avg_price(self._symbol, event_ms, average_text(self._venue), last[1]))

    def _reference(self, name: str, event_ms: int) -> None:
        reference = self._venue.reference
        if reference is not None:
            price = None if reference.price_ticks is None else self._prices[reference.price_ticks]
            self._publish(name, stream.reference_price(self._symbol, price, event_ms))

    def _mini(self, event_ms: int) -> bytes:
        window = tickers.rolling(self._venue.candles, self._venue.rules, tickers.DAY_MS, event_ms)
        prices, amounts = window.prices(), window.amounts()
        return stream.mini_ticker(
            self._symbol,
            event_ms,
            close=prices["lastPrice"],
            open=prices["openPrice"],
            high=prices["highPrice"],
            low=prices["lowPrice"],
            volume=str(amounts["volume"]),
            quote_volume=str(amounts["quoteVolume"]),
        )

    def _day(self, event_ms: int) -> bytes:
        day = self._venue.last_day(event_ms)
        return stream.ticker("24hrTicker", self._symbol, event_ms, day.day_streamed())

    def _rolling(self, window: str, event_ms: int) -> bytes:
        told = tickers.rolling(self._venue.candles, self._venue.rules, STREAM_WINDOWS[window], event_ms)
        return stream.ticker(f"{window}Ticker", self._symbol, event_ms, told.streamed())


class _Feed:
    """One depth stream that somebody wants."""

    __slots__ = ("changes", "due_ms", "levels", "name", "period_ms", "told_id")

    def __init__(self, name: str, period_ms: int, levels: int, changes: Changes | None) -> None:
        """`levels`: of a partial depth; else `changes` are what is told."""
        self.name, self.period_ms, self.levels, self.changes = name, period_ms, levels, changes
        self.due_ms: int | None = None
        self.told_id = -1


@attrs.frozen
class DepthFormat:
    """How depth is told on one kind of line."""

    known: Mapping[str, tuple[int, int]]
    """Stream -> (period in ms, levels of a partial depth or 0)."""
    difference: Callable[[Difference, int], bytes]
    """A message of what changed, told at a market time in ms."""
    partial: Callable[[Snapshot, int], bytes]
    """A message of the best levels."""


class DepthFeeds:
    """Depth streams that are made of the public book."""

    def __init__(self, venue: Venue, told: DepthFormat, publish: Publish) -> None:
        self._venue, self._format, self._publish = venue, told, publish
        self._feeds: dict[str, _Feed] = {}
        self.due_ms: int | None = None
        """When something is to be told next, market time; None while nothing is."""

    def rewant(self, names: Sequence[str]) -> None:
        """These streams are wanted now, of whatever kind."""
        book = self._venue.book
        for gone in [feed for feed in self._feeds.values() if feed.name not in names]:
            if gone.changes is not None:
                book.unfollow(gone.changes)
            del self._feeds[gone.name]
        for name in names:
            if name in self._format.known and name not in self._feeds:
                period_ms, levels = self._format.known[name]
                self._feeds[name] = _Feed(name, period_ms, levels, None if levels else book.follow())
        self.changed(self._venue.clock.latest_ms)

    def changed(self, now_ms: int) -> None:
        """The book may have changed: what is not told yet is due at the next full period."""
        last_id = self._venue.book.last_id
        for feed in self._feeds.values():
            if feed.due_ms is None and (feed.changes if feed.changes is not None else feed.told_id != last_id):
                feed.due_ms = (now_ms // feed.period_ms + 1) * feed.period_ms
        self.due_ms = min((feed.due_ms for feed in self._feeds.values() if feed.due_ms is not None), default=None)

    def tell(self, at_ms: int) -> None:
        """What is due at `at_ms`."""
        for feed in self._feeds.values():
            if feed.due_ms is not None and feed.due_ms <= at_ms:
                feed.due_ms = None
                self._publish(feed.name, self._message(feed, at_ms))
        self.changed(at_ms)

    def _message(self, feed: _Feed, at_ms: int) -> bytes:
        book = self._venue.book
        if feed.changes is not None:
            return self._format.difference(feed.changes.take(book.last_id), at_ms)
        snapshot = book.snapshot(feed.levels)
        feed.told_id = snapshot.last_id
        return self._format.partial(snapshot, at_ms)


def json_depth(venue: Venue) -> DepthFormat:
    """Depth as the JSON streams have it, where the market has not recorded it."""
    symbol, prices, qtys = venue.symbol, Texts(venue.rules.price_text), Texts(venue.rules.qty_text)
    made = _depth_names(symbol) if venue.market.kind != "relay" else {}  # that has what its source has

    def texts(levels: Levels) -> stream.Levels:
        return [(prices[price], qtys[lots]) for price, lots in levels]

    def difference(told: Difference, at_ms: int) -> bytes:
        return stream.depth_update(symbol, at_ms, told.first_id, told.last_id, texts(told.bids), texts(told.asks))

    def partial(book: Snapshot, _: int) -> bytes:
        return stream.partial_depth(book.last_id, texts(book.bids), texts(book.asks))

    known = {name: told for name, told in made.items() if name not in venue.market.streams}
    return DepthFormat(known, difference, partial)


def _kline_names(symbol: str) -> Mapping[str, Kline]:
    names = {stream.stream_name(symbol, f"kline_{interval}"): (interval, 0) for interval in INTERVALS}
    return names | {f"{name}@+08:00": (interval, EIGHT_MS) for name, (interval, _) in names.items()}


def _depth_names(symbol: str) -> Mapping[str, tuple[int, int]]:
    """Stream -> (period in ms, levels of a partial depth or 0)."""
    channels = {"depth": 0} | {f"depth{levels}": levels for levels in PARTIAL_LEVELS}
    names = {stream.stream_name(symbol, channel): (SLOW_MS, levels) for channel, levels in channels.items()}
    return names | {f"{name}@100ms": (FAST_MS, levels) for name, (_, levels) in names.items()}
