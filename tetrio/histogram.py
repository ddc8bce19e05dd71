"""A histogram of durations: cheap to feed, bounded in memory, its quantiles right to 1.6 %.

Log-linear, as HdrHistogram is: below 64 ns each nanosecond has a bucket of its own, above each power of two is parted
into 32 equal ones. Pure.
"""

from __future__ import annotations

import math
import operator

PARTS = 5  # bits: 32 buckets in each power of two
MOST_NS = (1 << 42) - 1  # 73 minutes; what is longer counts as this
_BUCKETS = ((MOST_NS.bit_length() - PARTS - 1) << PARTS) + (2 << PARTS)


class Histogram:
    """Counts of whole nanoseconds."""

    __slots__ = ("_counts", "count", "most_ns")

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self.count = 0
        """How many were recorded."""
        self.most_ns = 0
        """The longest of them."""

    def record(self, ns: int) -> None:
        """Count one; less than nothing counts as nothing."""
        if not 0 <= ns <= MOST_NS:
            ns = 0 if ns < 0 else MOST_NS
        shift = ns.bit_length() - PARTS - 1
        if shift <= 0:
            self._counts[ns] += 1
        else:
            self._counts[(shift << PARTS) + (ns >> shift)] += 1
        self.count += 1
        if ns > self.most_ns:  # noqa: PLR1730 - half the time that max() takes
            self.most_ns = ns

    def percentile(self, q: float) -> int:
        """The least value, ns, that a share `q` (0 to 1) of all does not exceed; ValueError when there is none."""
        if not self.count:
            raise ValueError("nothing was recorded")
        rank, seen = max(1, math.ceil(q * self.count)), 0
        for index, count in enumerate(self._counts):
            seen += count
            if seen >= rank:
                return min(_middle(index), self.most_ns)
        return self.most_ns

    def merge(self, other: Histogram) -> None:
        """Count all that the other one has counted."""
        self._counts = list(map(operator.add, self._counts, other._counts))
        self.count += other.count
        self.most_ns = max(self.most_ns, other.most_ns)

    def reset(self) -> None:
        """Forget all."""
        self._counts = [0] * _BUCKETS
        self.count = self.most_ns = 0


def _middle(index: int) -> int:
    """The value in the middle of a bucket, ns."""
    shift = max(0, (index >> PARTS) - 1)
    return ((index - (shift << PARTS)) << shift) + ((1 << shift) >> 1)
