"""What of a market line's records is fit to be seen: twins told once, insane books kept in quarantine, gaps noticed.

    quarantine   after a crossed, locked, zero or one-sided book two sane ones in a row must come, or one that rests
                 while the market's beat goes on, before anybody sees a quote again
    twins        while two lines run, a record that the other one has brought is left out, by update id, trade id or
                 event time; ids are compared within one pair of lines only, since a restarted exchange may count anew
    beat         kline_1s: its event time must advance, the same candle told again does not count
    gaps         an open time of the strategy's candles that skips one

Pure: times are passed in.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from tetrio.core.market import Quote, Trade
from tetrio.wire.stream import Insane, KlineUpdate, MarketRecord

BEAT = "1s"
BOOK, TRADE = "book", "trade"
SANE = 2  # sane books in a row, after an insane one
RESTING_S = 1.0  # a single sane book that stood so long, with the beat going on
_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}

Seen = Quote | Trade | KlineUpdate | Insane
_SEEN = (Quote, Trade, KlineUpdate, Insane)


def interval_ms(interval: str) -> int | None:
    """Length of a candle; None for months, which have none."""
    unit = _MS.get(interval[-1:])
    return None if unit is None else int(interval[:-1]) * unit


def _place(record: Seen) -> tuple[Hashable, int]:
    """(what is counted, where this record stands in it)."""
    match record:
        case Trade():
            return TRADE, record.trade_id
        case KlineUpdate():
            return record.interval, record.event_ms
        case _:
            return BOOK, record.update_id


class Sieve:
    """One feed's, across its lines. `interval` is that of the strategy's candles."""

    def __init__(self, interval: str) -> None:
        self._interval = interval
        self._length_ms = interval_ms(interval)
        self._needed = 0
        self._held: list[Quote] = []
        self._held_at = 0.0
        self._open_ms: int | None = None
        self._beat_ms = -1
        self.beat_at: float | None = None
        """When the beat last advanced, on this line or those before it."""
        self.gap = False
        """A candle is missing before the newest one: it must be asked for before that is told."""
        self.quoted = False
        """A book has been seen, sane or not."""
        self._last: dict[Hashable, int] = {}
        """How far the line that counts has come, by kind."""
        self._told: dict[Hashable, int] = {}
        """How far its predecessor had come, where it has not gone beyond that yet."""

    def afresh(self) -> None:
        """A line without a predecessor: what is known is from another connection."""
        self._needed, self._held, self._last, self._told = 0, [], {}, {}
        self._open_ms, self.gap, self.quoted = None, False, False
        self._beat_ms, self.beat_at = -1, None

    def fit(self, records: Iterable[MarketRecord], now: float) -> list[Seen]:
        """Of one read of the line that counts, in order."""
        out: list[Seen] = []
        if self._told:
            records = self._untold(records)
        book, traded = self._last.get(BOOK, -1), self._last.get(TRADE, -1)
        for record in records:
            if isinstance(record, Quote):
                book = record.update_id
                if self._needed:
                    self._keep_back(record, now, out)
                else:
                    out.append(record)
            elif isinstance(record, KlineUpdate):
                self._take_candle(record, now, out)
            elif isinstance(record, Insane):
                book = record.update_id
                self._needed, self._held = SANE, []
                out.append(record)
            elif isinstance(record, Trade):
                traded = record.trade_id
                out.append(record)
        if book >= 0:
            self._last[BOOK], self.quoted = book, True
        if traded >= 0:
            self._last[TRADE] = traded
        return out

    def _keep_back(self, quote: Quote, now: float, out: list[Seen]) -> None:
        if not self._held:
            self._held_at = now
        self._held.append(quote)
        if len(self._held) >= self._needed:
            self._release(out)

    def _release(self, out: list[Seen]) -> None:
        out.extend(self._held)
        self._needed, self._held = 0, []

    def _take_candle(self, update: KlineUpdate, now: float, out: list[Seen]) -> None:
        self._last[update.interval] = update.event_ms
        if update.event_ms > self._beat_ms:
            self._beat_ms, self.beat_at = update.event_ms, now
            if self._held and now - self._held_at >= RESTING_S:
                self._release(out)
        if update.interval != self._interval:
            return
        opened = update.kline.open_ms
        if self._open_ms is not None and self._length_ms and opened > self._open_ms + self._length_ms:
            self.gap = True
        self._open_ms = max(opened, self._open_ms or opened)
        out.append(update)

    # -- while two lines run --------------------------------------------------------------------------------------
    def caught_up(self, waiting: Iterable[MarketRecord]) -> bool:
        """Whether the line that counts has told the first of each kind that its successor has brought."""
        last, first = self._last, dict[Hashable, int]()
        for record in waiting:
            if isinstance(record, _SEEN):
                kind, number = _place(record)
                first.setdefault(kind, number)
        return bool(first) and all(number <= last.get(kind, number - 1) for kind, number in first.items())

    def follow(self, waiting: Iterable[MarketRecord], now: float) -> list[Seen]:
        """What the successor has brought and nobody has told; from now on it is the line that counts."""
        self._told = dict(self._last)
        return self.fit(waiting, now)

    def _untold(self, records: Iterable[MarketRecord]) -> list[Seen]:
        """Without what the predecessor has told: the new line may be the slower one."""
        new: list[Seen] = []
        for record in records:
            if isinstance(record, _SEEN):
                kind, number = _place(record)
                if number > self._told.get(kind, number - 1):
                    self._told.pop(kind, None)
                    new.append(record)
        return new
