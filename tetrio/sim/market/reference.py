"""The reference price of a symbol: a price, or none at the moment, and how it comes about.

ARITHMETIC_MEAN is Binance's own: the simple mean of trade prices over so many buckets of so many milliseconds, aligned
to the engine's time. The bucket that is being left counts with the part of it that still lies within the span, and the
division cuts off. EXTERNAL comes from elsewhere: 0 set by hand, 1 the mean of four providers, 2 the index of the USD-M
futures, 3 a five-minute mean of the spot's middle. Pure: who sets it, and what it bounds, is the engine's.
"""

from __future__ import annotations

from collections import deque

import attrs

SET_BY_HAND = 0


@attrs.frozen
class ArithmeticMean:
    """The mean of the symbol's own trades."""

    bucket_count: int
    bucket_width_ms: int


@attrs.frozen
class External:
    """Somebody tells it."""

    calculation_id: int = SET_BY_HAND


@attrs.frozen
class ReferencePrice:
    """What is known of it."""

    price_ticks: int | None
    """None: it is not to be had at the moment."""
    at_ms: int
    """Since when."""
    calculation: ArithmeticMean | External = attrs.field(factory=External)


class TradeMean:
    """The mean that ARITHMETIC_MEAN tells, trade by trade."""

    def __init__(self, calculation: ArithmeticMean) -> None:
        """ValueError for a span of nothing."""
        if calculation.bucket_count < 1 or calculation.bucket_width_ms < 1:
            raise ValueError(f"a mean needs a bucket of a millisecond at least, not {calculation}")
        self.calculation = calculation
        self._buckets: deque[list[int]] = deque()  # [number, sum of prices, trades]

    def add(self, price_ticks: int, at_ms: int) -> None:
        """One trade; times do not go back."""
        number = at_ms // self.calculation.bucket_width_ms
        if self._buckets and number <= self._buckets[-1][0]:
            bucket = self._buckets[-1]
            bucket[1] += price_ticks
            bucket[2] += 1
            return
        self._buckets.append([number, price_ticks, 1])
        self._forget(number)

    def price_ticks(self, now_ms: int) -> int | None:
        """The mean, rounded down; None when nobody traded in the span."""
        width = self.calculation.bucket_width_ms
        number, gone_ms = divmod(now_ms, width)
        self._forget(number)
        total = count = 0
        for at, prices, trades in self._buckets:
            part_ms = width - gone_ms if at == number - self.calculation.bucket_count else width
            total += prices * part_ms
            count += trades * part_ms
        return total // count if count else None

    def _forget(self, number: int) -> None:
        while self._buckets and self._buckets[0][0] < number - self.calculation.bucket_count:
            self._buckets.popleft()
