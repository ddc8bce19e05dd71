"""Klines from trades: every interval of Binance's, aligned to UTC or another zone's days, in integers; rolling windows.

A second's trades are gathered once and handed on to all intervals when the second is over. Only candles that hold
trades are stored (the last `keep` of each interval); the empty ones between them are made when asked for: no volume,
all four prices the last close, first and last trade id -1. So `kline_1s` beats steadily whether anyone trades or not.
Until the first trade the best bid stands in for the price. A trade whose time lies before the second being gathered
(recorded times may step back) counts in that second.

A zone is an offset in ms that its clocks are ahead of UTC by: its candles open when a candle would open in UTC if its
clock were UTC. Candles of a zone are made of the longest stored ones that fit into them, so that they reach back as far
as those do.

Not here: who subscribed, and how a candle looks as JSON.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from tetrio.sim.retention import FULL, Retention

_SECOND = 1000
_DAY = 86_400_000
_LENGTH_MS = {
    "1s": _SECOND,
    "1m": 60_000,
    "3m": 180_000,
    "5m": 300_000,
    "15m": 900_000,
    "30m": 1_800_000,
    "1h": 3_600_000,
    "2h": 7_200_000,
    "4h": 14_400_000,
    "6h": 21_600_000,
    "8h": 28_800_000,
    "12h": 43_200_000,
    "1d": _DAY,
    "3d": 3 * _DAY,
    "1w": 7 * _DAY,
}
_OFFSET_MS = {"1w": 4 * _DAY}
"""Weeks begin on Monday; 1970 began on a Thursday."""

INTERVALS = (*_LENGTH_MS, "1M")
_PARTS = ("1h", "30m", "15m", "5m", "1m")
"""What candles of another zone are made of: the first that fits."""
_WINDOWS_KEPT = 32


class Candle(msgspec.Struct, gc=False):
    """One candle: prices in ticks, volumes in lots and tick-lots, times in ms UTC."""

    open_ms: int
    close_ms: int
    """Open of the next candle - 1."""
    open: int
    high: int
    low: int
    close: int
    volume: int = 0
    quote_volume: int = 0
    """Tick-lots."""
    trades: int = 0
    taker_volume: int = 0
    """Lots that buyers took."""
    taker_quote: int = 0
    first_id: int = -1
    last_id: int = -1

    def add(self, other: Candle) -> None:
        """Takes in a later candle that lies within this one."""
        self.high = max(self.high, other.high)
        self.low = min(self.low, other.low)
        self.close = other.close
        self.volume += other.volume
        self.quote_volume += other.quote_volume
        self.trades += other.trades
        self.taker_volume += other.taker_volume
        self.taker_quote += other.taker_quote
        if other.last_id >= 0:
            self.first_id = other.first_id if self.first_id < 0 else self.first_id
            self.last_id = other.last_id

    def copy(self) -> Candle:
        """Its own values, for keeps."""
        return msgspec.structs.replace(self)


def open_of(interval: str, at_ms: int, zone_ms: int = 0) -> int:
    """Open time of the candle that holds `at_ms`; KeyError for an unknown interval."""
    if interval == "1M":
        moment = datetime.fromtimestamp((at_ms + zone_ms) // 1000, UTC)
        return _month_ms(moment.year, moment.month) - zone_ms
    offset = _OFFSET_MS.get(interval, 0) - zone_ms
    return (at_ms - offset) // _LENGTH_MS[interval] * _LENGTH_MS[interval] + offset


def next_open(interval: str, open_ms: int, zone_ms: int = 0) -> int:
    """Open time of the candle after the one that opens at `open_ms`; KeyError for an unknown interval."""
    if interval == "1M":
        moment = datetime.fromtimestamp((open_ms + zone_ms) // 1000, UTC)
        return _month_ms(moment.year + moment.month // 12, moment.month % 12 + 1) - zone_ms
    return open_ms + _LENGTH_MS[interval]


def _month_ms(year: int, month: int) -> int:
    return int(datetime(year, month, 1, tzinfo=UTC).timestamp()) * 1000


def widen(candles: Iterable[Candle], interval: str, zone_ms: int = 0) -> list[Candle]:
    """Candles of a longer interval from shorter ones, oldest first; the first and last may be partial."""
    series = _Series(interval, None, zone_ms)
    for candle in candles:
        series.add(candle)
    return [*series.closed, *([series.forming] if series.forming else [])]


class _Series:
    """One interval: stored candles and the one that later trades still enter."""

    def __init__(self, interval: str, keep: int | None, zone_ms: int = 0) -> None:
        self.interval, self.zone_ms = interval, zone_ms
        self.closed: deque[Candle] = deque(maxlen=keep)
        self.forming: Candle | None = None

    def add(self, candle: Candle) -> None:
        """A shorter candle, not before the last one."""
        if self.forming is not None:
            if candle.open_ms <= self.forming.close_ms:
                self.forming.add(candle)
                return
            self.closed.append(self.forming)
        self.forming = self.holding(candle)

    def holding(self, candle: Candle) -> Candle:
        """A candle of this interval with nothing but `candle` in it."""
        opened = self.open_of(candle.open_ms)
        wide = candle.copy()
        wide.open_ms, wide.close_ms = opened, next_open(self.interval, opened, self.zone_ms) - 1
        return wide

    def open_of(self, at_ms: int) -> int:
        """Open time of the candle that holds `at_ms`."""
        return open_of(self.interval, at_ms, self.zone_ms)

    def empty(self, opened: int, price: int) -> Candle:
        """A candle without trades."""
        return Candle(opened, next_open(self.interval, opened, self.zone_ms) - 1, price, price, price, price)


class Candles:
    """Candles of every interval from one stream of trades."""

    def __init__(self, history: Iterable[Candle] = (), keep: int = 1500, retention: Retention = FULL) -> None:
        """No trades yet.

        history   closed 1m candles from before the first trade, oldest first; they enter 1m and longer intervals
        keep      candles with trades that are stored per interval
        retention of 1m and 1s at least as many
        """
        self._second: Candle | None = None
        most = dict.fromkeys(INTERVALS, keep) | {"1m": max(keep, retention.minutes), "1s": max(keep, retention.seconds)}
        self._series = {interval: _Series(interval, most[interval]) for interval in INTERVALS}
        self._zoned: dict[tuple[str, int], _Series] = {}
        self._windows: dict[int, tuple[Candle | None, Candle | None, int]] = {}
        self._keep = keep
        self._stand_in = 0
        for candle in history:
            self._stand_in = candle.close
            for interval, series in self._series.items():
                if interval != "1s":
                    series.add(candle)

    @classmethod
    def known(cls, known: Mapping[str, Sequence[Candle]], keep: int = 1500) -> Candles:
        """Candles that begin with what another exchange tells: by interval, oldest first, the forming one last.

        Intervals that are not known are made of the 1m candles among them. Trades that the forming ones already hold
        and that come here once more count twice in their volumes, in no price.
        """
        made = cls(known.get("1m", ()), keep)
        for interval, candles in known.items():
            series = made._series[interval] = _Series(interval, made._series[interval].closed.maxlen)
            for candle in candles:
                series.add(candle)
        return made

    def on_trade(self, price: int, qty: int, trade_id: int, at_ms: int, buyer_is_maker: bool) -> None:
        """One trade, the public's or a client's. `at_ms` is of the same clock as the `now_ms` of the questions."""
        quote = price * qty
        taker_volume, taker_quote = (0, 0) if buyer_is_maker else (qty, quote)
        second = self._second
        if second is None or at_ms > second.close_ms:
            if second is not None:
                self._hand_on(second)
            opened = at_ms // _SECOND * _SECOND
            self._second = Candle(
                opened,
                opened + _SECOND - 1,
                price,
                price,
                price,
                price,
                qty,
                quote,
                1,
                taker_volume,
                taker_quote,
                trade_id,
                trade_id,
            )
            return
        if price > second.high:
            second.high = price
        elif price < second.low:
            second.low = price
        second.close = price
        second.volume += qty
        second.quote_volume += quote
        second.trades += 1
        second.taker_volume += taker_volume
        second.taker_quote += taker_quote
        second.last_id = trade_id

    def on_bid(self, bid: int) -> None:
        """The best bid: stands in for a price until the first trade."""
        if bid and self._second is None:
            self._stand_in = bid

    def keep_zone(self, interval: str, zone_ms: int) -> None:
        """Gather these candles from now on, because they will be asked for again and again."""
        if (interval, zone_ms) not in self._zoned:
            series = self._find(interval, zone_ms)
            if series.zone_ms:
                self._zoned[interval, zone_ms] = series

    def forming(self, interval: str, now_ms: int, zone_ms: int = 0) -> Candle | None:
        """The candle that holds `now_ms`; None before any price is known. KeyError for an unknown interval."""
        series = self._find(interval, zone_ms)
        idle = self._idle(series, series.open_of(now_ms))
        if idle is not None:
            return idle
        found = self._until(series, now_ms, 1, lambda candle: True)
        return found[0] if found else None

    def closed_since(self, interval: str, after_ms: int, now_ms: int, zone_ms: int = 0) -> list[Candle]:
        """Candles whose `close_ms` is at or after `after_ms` and before `now_ms`, oldest first (at most `keep`).

        Called with the last call's `now_ms` as `after_ms` it gives each candle once, as soon as it is over.
        """
        last = open_of(interval, now_ms, zone_ms) - 1
        if last < after_ms:
            return []
        series = self._find(interval, zone_ms)
        opened = series.open_of(last)
        if opened <= after_ms:  # one candle, and mostly nobody has traded in it
            idle = self._idle(series, opened)
            if idle is not None:
                return [idle]
        return self._until(series, last, self._keep, lambda candle: candle.close_ms >= after_ms)

    def history(
        self,
        interval: str,
        limit: int,
        now_ms: int,
        *,
        start_ms: int | None = None,
        end_ms: int | None = None,
        zone_ms: int = 0,
    ) -> list[Candle]:
        """As klines asks: by open time, oldest first, the forming one last.

        Without `start_ms` the newest `limit` up to `end_ms` or `now_ms`; with it the oldest `limit` from there.
        """
        series = self._find(interval, zone_ms)
        until = now_ms if end_ms is None else min(end_ms, now_ms)
        if start_ms is None:
            return self._until(series, until, limit, lambda candle: True)
        opened = series.open_of(start_ms)
        if opened < start_ms:
            opened = next_open(interval, opened, zone_ms)
        first = series.closed[0] if series.closed else series.forming
        if first is not None:
            opened = max(opened, first.open_ms)  # from before the first there is nothing
        if interval in _LENGTH_MS:
            until = min(until, opened + limit * _LENGTH_MS[interval] - 1)
        most = max(series.closed.maxlen or 0, self._keep, limit)
        return self._until(series, until, most, lambda candle: candle.open_ms >= opened)[:limit]

    def window(self, start_ms: int) -> tuple[Candle | None, int]:
        """(one candle of all trades since the minute that holds `start_ms`, close of the last trade before it).

        None without such trades, 0 where none before it is known. It opens with its first minute that has trades.
        """
        series = self._series["1m"]
        opened = open_of("1m", start_ms)
        newest = series.closed[-1] if series.closed else None
        known = self._windows.get(opened)
        if known is None or known[0] is not newest:
            if len(self._windows) >= _WINDOWS_KEPT:
                self._windows.clear()
            known = self._windows[opened] = (newest, *_gathered(series.closed, opened))
        _, closed, before = known
        held = closed.copy() if closed is not None else None
        for later in (series.forming, self._second):
            if later is None:
                continue
            if later.close_ms < opened:
                before = later.close
            elif held is None:
                held = later.copy()
            else:
                held.add(later)
        return held, before

    @property
    def last_price(self) -> int:
        """Of the last trade; before the first what stands in for it."""
        return self._second.close if self._second is not None else self._stand_in

    def _find(self, interval: str, zone_ms: int) -> _Series:
        """The series of an interval and a zone; KeyError for an unknown interval."""
        if not zone_ms or (interval in _LENGTH_MS and zone_ms % _LENGTH_MS[interval] == 0):
            return self._series[interval]
        kept = self._zoned.get((interval, zone_ms))
        if kept is not None:
            return kept
        length = _LENGTH_MS.get(interval, 0) or _LENGTH_MS["1w"]
        part = next(each for each in _PARTS if zone_ms % _LENGTH_MS[each] == 0 and length % _LENGTH_MS[each] == 0)
        made = _Series(interval, self._keep, zone_ms)
        source = self._series[part]
        for candle in (*source.closed, *([source.forming] if source.forming else [])):
            made.add(candle)
        return made

    def _idle(self, series: _Series, opened: int) -> Candle | None:
        """The candle that opens at `opened`, if that is after the last trade."""
        second = self._second
        if second is None or second.close_ms >= opened:
            return None
        return series.empty(opened, second.close)

    def _hand_on(self, second: Candle) -> None:
        for series in self._series.values():
            series.add(second)
        for series in self._zoned.values():
            series.add(second)

    def _stored(self, series: _Series) -> Iterator[Candle]:
        """Candles with trades, newest first, the second being gathered among them."""
        newest, second = series.forming, self._second
        if second is not None:
            if newest is not None and second.open_ms <= newest.close_ms:
                newest = newest.copy()
                newest.add(second)
            else:
                yield series.holding(second)
        if newest is not None:
            yield newest
        yield from reversed(series.closed)

    def _until(self, series: _Series, last_ms: int, limit: int, wanted: Callable[[Candle], bool]) -> list[Candle]:
        """Up to `limit` candles ending with the one that holds `last_ms`, gaps filled, while they are wanted."""
        opened = series.open_of(last_ms)
        found: list[Candle] = []
        candle: Candle | None = None
        for candle in self._stored(series):
            if candle.open_ms > opened:
                continue
            while opened > candle.open_ms and len(found) < limit:
                if not self._append(found, series.empty(opened, candle.close), wanted):
                    return found[::-1]
                opened = series.open_of(opened - 1)
            if len(found) == limit or not self._append(found, candle.copy(), wanted):
                return found[::-1]
            opened = series.open_of(opened - 1)
        if candle is None and self._stand_in and limit:
            self._append(found, series.empty(opened, self._stand_in), wanted)
        return found[::-1]

    @staticmethod
    def _append(found: list[Candle], candle: Candle, wanted: Callable[[Candle], bool]) -> bool:
        if wanted(candle):
            found.append(candle)
            return True
        return False


def _gathered(candles: Sequence[Candle], opened: int) -> tuple[Candle | None, int]:
    """(what traded from `opened` on as one candle, close of the last one before)."""
    within: list[Candle] = []
    before = 0
    for candle in reversed(candles):
        if candle.open_ms < opened:
            before = candle.close
            break
        within.append(candle)
    if not within:
        return None, before
    held = within[-1].copy()
    for candle in reversed(within[:-1]):
        held.add(candle)
    return held, before
