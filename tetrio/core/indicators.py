"""The two indicators of the strategy: Donchian channel of closes, and average true range (ATR).

Both are fed one kline at a time, in the order of their open times, and cost constant work a kline whatever the window
(amortised). Both are values: `push` returns a new one and leaves the old one as it was, so that a caller can keep
yesterday's state. Neither knows the kline that is still forming: `Donchian.channel` takes its close as an argument
because it changes several times a second, and ATR is made of finished klines only.

How a sliding maximum is cheap without forgetting: values are cut into blocks as long as the window. A window is then
the end of one block and the beginning of the next, so two running folds are enough: one over the beginning (kept as it
grows) and one for every possible end (computed once, when the block is full).
"""

from __future__ import annotations

import operator
from collections.abc import Callable

import attrs

from tetrio.core.market import Kline

Fold = Callable[[float, float], float]


@attrs.frozen
class _Log:
    """An append-only list that several values share, each seeing only its own beginning of it.

    Appending to the longest of them costs O(1); a second branch from the same place copies.
    """

    items: list[float] = attrs.Factory(list)
    length: int = 0

    def append(self, value: float) -> _Log:
        shared = self.items if len(self.items) == self.length else self.items[: self.length]
        shared.append(value)
        return _Log(shared, self.length + 1)

    def newest(self, count: int) -> list[float]:
        return self.items[self.length - count : self.length]


@attrs.frozen
class Rolling:
    """An associative fold (max, min, sum) over the last `size` values pushed; over those there are, if fewer."""

    size: int
    fold: Fold
    _ends: tuple[float, ...] = ()
    """Of the full block before: the fold from each place to its end."""
    _block: _Log = attrs.Factory(_Log)
    _beginning: float | None = None
    """The fold of the block that is filling; None before the first value."""

    @property
    def value(self) -> float | None:
        """The fold over the window; None before the first value."""
        if self._beginning is None or not self._ends or self._block.length == self.size:
            return self._beginning
        return self.fold(self._ends[self._block.length], self._beginning)

    def push(self, value: float) -> Rolling:
        """The window moved on by one value."""
        if self._block.length == self.size:
            return Rolling(self.size, self.fold, self._fold_ends(), _Log().append(value), value)
        beginning = value if self._beginning is None else self.fold(self._beginning, value)
        return Rolling(self.size, self.fold, self._ends, self._block.append(value), beginning)

    def _fold_ends(self) -> tuple[float, ...]:
        values = self._block.newest(self.size)
        for at in range(self.size - 2, -1, -1):
            values[at] = self.fold(values[at], values[at + 1])
        return tuple(values)


@attrs.frozen
class Channel:
    """A Donchian channel, in the unit of the closes."""

    upper: float
    lower: float

    @property
    def mid(self) -> float:
        """Halfway between the bounds."""
        return (self.upper + self.lower) / 2

    @property
    def width(self) -> float:
        """Upper less lower."""
        return self.upper - self.lower


@attrs.frozen
class Donchian:
    """Rolling maximum and minimum of closes, the forming one included as the newest, then shifted back.

    With n closes c[0] … c[n-1] (c[n-1] forming) the channel is that of c[n-shift-window] … c[n-shift-1], over those
    there are. Source: Donchian's channel, on closes rather than on highs and lows.
    """

    shift: int
    _highest: Rolling | None
    _lowest: Rolling | None
    _late: _Log = attrs.Factory(_Log)
    """Finished closes; the newest `shift` - 1 of them are not in the channel yet."""

    @classmethod
    def start(cls, window: int, shift: int, kept: int) -> Donchian:
        """A channel that has seen nothing. `kept`: klines remembered at all, the forming one included."""
        # with shift 0 the forming close is itself one of the window
        size = min(window, kept - shift) - (0 if shift else 1)
        return cls(shift, Rolling(size, max), Rolling(size, min)) if size > 0 else cls(shift, None, None)

    def push(self, close: float) -> Donchian:
        """One more kline has finished, at `close`."""
        if self._highest is None or self._lowest is None:
            return self
        if not self.shift:
            return Donchian(0, self._highest.push(close), self._lowest.push(close))
        late = self._late.append(close)
        if late.length < self.shift:
            return Donchian(self.shift, self._highest, self._lowest, late)
        entering = late.items[late.length - self.shift]
        if late.length > 64 + 2 * self.shift:  # forget what has entered, now and then, so that the list stays short
            kept = late.newest(self.shift)
            late = _Log(kept, len(kept))
        return Donchian(self.shift, self._highest.push(entering), self._lowest.push(entering), late)

    def finished(self) -> Channel | None:
        """The channel of the finished closes in the window alone; None while there are none."""
        if self._highest is None or self._lowest is None:
            return None
        upper, lower = self._highest.value, self._lowest.value
        return None if upper is None or lower is None else Channel(upper, lower)

    def channel(self, forming: float) -> Channel | None:
        """The channel while a kline is forming whose last price is `forming`; None while it is undefined."""
        finished = self.finished()
        if self.shift:
            return finished
        if finished is None:
            return Channel(forming, forming)
        return Channel(max(finished.upper, forming), min(finished.lower, forming))


@attrs.frozen
class Atr:
    """Average true range of finished klines, in the unit of their prices.

    True range: the largest of high - low, |high - close before|, |low - close before|; of the first kline high - low.
    Until `period` klines have finished every method is the plain mean of those there are; from then on
    `wilder` moves by 1/period of the difference, `ema` by 2/(period + 1) of it, and `sma` stays the mean of the last
    `period`. Source: Wilder, New Concepts in Technical Trading Systems (1978).
    """

    period: int
    method: str
    value: float | None = None
    _count: int = 0
    _close: float | None = None
    _ranges: Rolling | None = None

    @classmethod
    def start(cls, period: int, method: str) -> Atr:
        """An ATR that has seen nothing; `method` is wilder, ema or sma."""
        if method not in ("wilder", "ema", "sma"):
            raise ValueError(f"{method!r} is no ATR method: wilder, ema, sma")
        return cls(period, method, ranges=Rolling(period, operator.add))

    def push(self, kline: Kline) -> Atr:
        """One more kline has finished."""
        reach = true_range(kline, self._close)
        assert self._ranges is not None, "start() made it"
        count = self._count + 1
        if self.method == "sma" or count <= self.period:
            ranges = self._ranges.push(reach)
            assert ranges.value is not None, "a value was pushed"
            value = ranges.value / min(count, self.period)
            return Atr(self.period, self.method, value, count, kline.close, ranges)
        assert self.value is not None, "klines were pushed"
        weight = 1 / self.period if self.method == "wilder" else 2 / (self.period + 1)
        value = self.value + (reach - self.value) * weight
        return Atr(self.period, self.method, value, count, kline.close, self._ranges)


def true_range(kline: Kline, close_before: float | None) -> float:
    """How far the price went within `kline`, the jump from the close before it included."""
    if close_before is None:
        return kline.high - kline.low
    return max(kline.high, close_before) - min(kline.low, close_before)
