"""The aggregate trades that can still be asked for: a day of a lively market, in columns of machine integers.

An object each would be ten times the memory, and a walk through all of them for a question. They come in the order of
their ids; their times may step back a little, as recorded ones do.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right

from tetrio.sim.market.events import AggTrade
from tetrio.sim.retention import FULL

_FIELDS = ("price", "qty", "agg_id", "first_id", "last_id", "at_ms", "buyer_is_maker")


class Aggregates:
    """The newest aggregate trades."""

    def __init__(self, kept: int = FULL.aggregates) -> None:
        self._kept = kept
        self._columns = {name: array("q") for name in _FIELDS}
        self._reached = array("q")
        """The latest time up to each of them."""

    def __len__(self) -> int:
        return len(self._reached)

    def append(self, trade: AggTrade) -> None:
        """One more; the oldest are forgotten, some at a time."""
        for name, column in self._columns.items():
            column.append(getattr(trade, name))
        self._reached.append(max(trade.at_ms, self._reached[-1] if self._reached else 0))
        if len(self) > self._kept + self._kept // 8:
            for column in (*self._columns.values(), self._reached):
                del column[: len(column) - self._kept]

    def newest(self, limit: int) -> list[AggTrade]:
        """Oldest first."""
        return self._some(max(0, len(self) - limit), len(self))

    def from_id(self, agg_id: int, limit: int) -> list[AggTrade]:
        """From an id on."""
        first = bisect_left(self._columns["agg_id"], agg_id)
        return self._some(first, min(len(self), first + limit))

    def within(self, start_ms: int | None, end_ms: int | None, limit: int) -> list[AggTrade]:
        """Of a span of time, both ends included: the oldest where it has a start, else the newest."""
        until = len(self) if end_ms is None else bisect_right(self._reached, end_ms)
        if start_ms is None:
            return self._some(max(0, until - limit), until)
        found, at = list[AggTrade](), bisect_left(self._reached, start_ms)
        while at < until and len(found) < limit:
            if self._columns["at_ms"][at] >= start_ms:
                found.append(self._one(at))
            at += 1
        return found

    def _some(self, first: int, end: int) -> list[AggTrade]:
        return [self._one(at) for at in range(first, end)]

    def _one(self, at: int) -> AggTrade:
        price, qty, agg_id, first_id, last_id, at_ms, maker = (column[at] for column in self._columns.values())
        return AggTrade(price, qty, agg_id, first_id, last_id, at_ms, bool(maker))
