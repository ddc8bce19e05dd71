"""A market from a file of klines: `timestamp,open,high,low,close,volume`, a kline a line.

Each kline is played as four points, evenly spaced within it: open, low, high, close when it closed at or above its
open, else open, high, low, close. At each point the best prices are one tick apart and one trade of a quarter of the
volume takes place: at the ask when the price rose to the point (a buyer lifted it), else at the bid. Best prices first,
then the trade, in one batch. A quarter is displayed on both sides (at least one lot).

Tick is the greatest common divisor of the prices, step that of the trades' sizes: a quarter of the volumes' divisor, so
that a quarter is always a whole number of lots. A quarter of nothing is no trade.

The length of a kline is the shortest distance of two timestamps (one minute when there is but one line); lines may be
missing, but their times must rise by whole klines. Timestamps: `2025-05-30 16:39:00+00:00` (without a zone it is
UTC), or a count of seconds, milliseconds, microseconds or nanoseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from tetrio.errors import MarketError
from tetrio.sim.market.candles import Candle
from tetrio.sim.market.events import Batch, MarketEvent, PublicTrade, Top
from tetrio.sim.market.grid import Divisor, Memo, file_rules
from tetrio.sim.market.lines import lines_of

COLUMNS = ("timestamp", "open", "high", "low", "close", "volume")


def is_klines(first_line: bytes) -> bool:
    """Whether a file that begins so is meant to be one of klines."""
    return first_line.removeprefix(b"\xef\xbb\xbf").lower().startswith(b"timestamp,")


class KlineFile:
    """A file of klines, as a market."""

    kind = "klines"

    def __init__(self, path: Path, symbol: str | None, assets: tuple[str, str] | None) -> None:
        """Reads the file once, to its end.

        symbol   None takes it from the file's name: `ETHUSDT-1m-2025-06.csv.gz`
        MarketError, with the line's number, when the file cannot be played; and when there is no symbol.
        """
        self._path = path
        self.symbol = symbol or self._symbol_of_name()
        self.frames = self.frames_total = self.skipped = 0
        self.first_trade_id = 1
        self._first_ms = self._length_ms = 0
        self._first_open = ""
        prices, sizes = Divisor(), Divisor()
        last_ms = self._scan(prices, sizes)
        self.rules = file_rules(self.symbol, prices.step, sizes.step / 4, prices.largest, assets)
        self.first_price_ticks = self.rules.price_ticks(self._first_open)
        self.first_ns = self._first_ms * 1_000_000
        self.last_ns = (last_ms + self._length_ms * 3 // 4) * 1_000_000
        lower = self.symbol.lower()
        self._top_stream, self._trade_stream = f"{lower}@bookTicker", f"{lower}@trade"
        self.streams = frozenset({self._top_stream, self._trade_stream})

    def history(self, interval: str, limit: int) -> list[Candle]:
        """All klines of the file are played; nothing is known from before."""
        return []

    def batches(self) -> Iterator[Batch]:
        """Four batches a kline. Once; `frames` counts klines as they begin."""
        price_of, size_of = Memo(self.rules.tick_size), Memo(self.rules.step_size)
        quarter_ms = self._length_ms / 4
        before, trade_id = 0, 0
        for number, line in enumerate(lines_of(self._path), 1):
            if number == 1:
                continue
            stamp, *texts = line.decode().split(",")
            opened, high, low, close = (price_of[text] for text in texts[:4])
            lots = size_of[texts[4]] // 4
            open_ms = self._time_ms(stamp, number)
            self.frames += 1
            points = (opened, low, high, close) if close >= opened else (opened, high, low, close)
            for at, price in enumerate(points):
                rose = price > before
                at_ms = open_ms + int(at * quarter_ms)
                events = self._point(price, lots, rose, at_ms, trade_id)
                trade_id += bool(lots)
                before = price
                yield Batch(at_ms * 1_000_000, events)

    def _point(self, price: int, lots: int, rose: bool, at_ms: int, trades: int) -> list[MarketEvent]:
        """`trades` happened before this one."""
        bid = price - 1 if rose and price > 1 else price
        shown = max(lots, 1)
        update_id = at_ms  # rises with the points, and says where it comes from
        events: list[MarketEvent] = [Top(bid, shown, bid + 1, shown, update_id, self._top_stream)]
        if lots:
            events.append(PublicTrade(price, lots, trades + 1, at_ms, bid == price, self._trade_stream))
        return events

    def _scan(self, prices: Divisor, sizes: Divisor) -> int:
        """The first reading; the open time of the last kline."""
        before, number, shortest = 0, 0, 0
        times: list[tuple[int, int]] = []
        for number, line in enumerate(lines_of(self._path), 1):
            if number == 1:
                self._check_header(line)
                continue
            open_ms = self._check_line(line, number, prices, sizes)
            if number == 2:
                self._first_ms = open_ms
                self._first_open = line.decode().split(",")[1]
            elif open_ms <= before:
                self._malformed(number, "its time is not after that of the line above")
            else:
                step = open_ms - before
                if not shortest or step < shortest:
                    shortest = step
                times.append((number, step))
            before = open_ms
        if number < 2:
            raise MarketError(f"{self._path} is empty: no kline to play")
        self._length_ms = shortest or 60_000
        for at, step in times:
            if step % self._length_ms:
                self._malformed(at, f"it is no whole number of klines ({self._length_ms} ms) after the line above")
        self.frames_total = number - 1
        return before

    def _check_header(self, line: bytes) -> None:
        names = tuple(line.removeprefix(b"\xef\xbb\xbf").decode(errors="replace").lower().split(","))
        if names != COLUMNS:
            raise MarketError(f"{self._path}, line 1: expected the columns {','.join(COLUMNS)}")

    def _check_line(self, line: bytes, number: int, prices: Divisor, sizes: Divisor) -> int:
        fields = line.decode(errors="replace").split(",")
        if len(fields) != len(COLUMNS):
            self._malformed(number, f"{len(fields)} columns instead of {len(COLUMNS)}")
        stamp, *texts = fields
        try:
            opened, high, low, close = (prices.add(text) for text in texts[:4])
            sizes.add(texts[4])
        except ValueError as error:
            self._malformed(number, str(error))
        if not 0 < low <= min(opened, close) <= max(opened, close) <= high:
            self._malformed(number, "its prices are not low <= open, close <= high, all above 0")
        return self._time_ms(stamp, number)

    def _time_ms(self, stamp: str, number: int) -> int:
        try:
            if stamp.isdecimal():
                return _count_ms(int(stamp))
            moment = datetime.fromisoformat(stamp)
        except ValueError:
            self._malformed(number, f"{stamp!r} is no time")
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return round(moment.timestamp() * 1000)

    def _symbol_of_name(self) -> str:
        name = self._path.name.split("-")[0].split(".")[0].split("_")[0].upper()
        if not name.isalnum():
            raise MarketError(f"{self._path}: say which symbol this is (--symbol, or [symbol] name)")
        return name

    def _malformed(self, number: int, why: str) -> NoReturn:
        raise MarketError(f"{self._path}, line {number}: {why}") from None


def _count_ms(count: int) -> int:
    """A count since 1970 in whatever unit makes it a time of these centuries, in ms."""
    if count < 10**11:
        return count * 1000
    if count < 10**14:
        return count
    return count // 1000 if count < 10**17 else count // 1_000_000
