"""A market that can be told to misbehave: ticks that lie, storms of them, gaps, and trades at a price of one's choice.

What it is told happens right behind what happens next by itself, within about a second, so that ids and times go on
without a gap. Each word says once what it wants; nothing has to be healed.
"""

from __future__ import annotations

import collections
import random
from collections.abc import Callable, Iterator

from tetrio.core.market import Side
from tetrio.sim.market.events import Batch, MarketEvent
from tetrio.sim.market.synthetic import Synthetic

MS = 1_000_000
Prank = Callable[[int], Iterator[Batch]]
"""Given the time, ms, it makes batches that are later than that."""
Sought = Callable[[], tuple[Side, int, int] | None]
"""Side, price and lots of an order that is to trade a little; None where there is none."""


class RoughMarket(Synthetic):
    """A synthetic market, and what it is told."""

    def __init__(self, seed: int, start_ns: int, events_per_s: float) -> None:
        rng = random.Random(seed)  # noqa: S311 - a market
        super().__init__(rng, None, None, start_ns, events_per_s)
        self._whims = random.Random(f"{seed}:whims")  # noqa: S311 - draws of its own: the path is the same without
        self._pranks: collections.deque[Prank] = collections.deque()
        self.on_happened: Callable[[], None] | None = None
        """Called when a batch has happened, at that moment."""

    def batches(self) -> Iterator[Batch]:
        """The market; who asks for the next batch has let the last one happen."""
        for batch in super().batches():
            yield batch
            if self.on_happened is not None:
                self.on_happened()

    def _more(self, now_ms: int) -> Iterator[Batch]:
        while self._pranks:
            for batch in self._pranks.popleft()(now_ms):
                now_ms = batch.market_ns // MS
                yield batch

    # -- what it may be told ----------------------------------------------------------------------------------------
    def outlier(self, share: float) -> None:
        """One best bid and ask off by this share, and right again 5 ms later; the public trades nothing there."""

        def prank(now_ms: int) -> Iterator[Batch]:
            bid, ask = self._bid, self._ask
            yield self._at(now_ms + 1, *self._off(bid, ask, share))
            yield self._at(now_ms + 6, bid, ask)

        self._pranks.append(prank)

    def storm(self, count: int) -> None:
        """So many best bids and asks within a second, each of them a tick or a few from the last."""

        def prank(now_ms: int) -> Iterator[Batch]:
            for number in range(count):
                bid = max(1, self._bid + self._whims.randrange(-3, 4))
                yield self._at(now_ms + 1 + number * 1000 // count, bid, bid + self._whims.randrange(1, 4))

        self._pranks.append(prank)

    def gap(self, share: float) -> None:
        """The price is elsewhere at once, by this share, and stays there; on the way nothing trades."""

        def prank(now_ms: int) -> Iterator[Batch]:
            self._path.shift(share)
            bid, ask = self._off(self._bid, self._ask, share)
            self._bid_qty, self._ask_qty = self._size(), self._size()
            self._bid, self._ask = bid, ask
            yield self._batch(now_ms + 1, [self._trade(bid if share < 0 else ask, self._size(), share < 0, now_ms + 1),
                                           *self._book(now_ms + 1)])  # fmt: skip

        self._pranks.append(prank)

    def nibble(self, sought: Sought) -> None:
        """The public trades one tick beyond a resting order, less than all of it."""

        def prank(now_ms: int) -> Iterator[Batch]:
            found = sought()
            if found is None:
                return
            side, price, lots = found
            beyond = price + (1 if side is Side.SELL else -1)
            yield self._batch(now_ms + 1, [self._trade(beyond, max(1, lots // 3), side is Side.BUY, now_ms + 1)])

        self._pranks.append(prank)

    @staticmethod
    def _off(bid: int, ask: int, share: float) -> tuple[int, int]:
        by = round(bid * share)
        return max(1, bid + by), max(2, ask + by)

    def _at(self, now_ms: int, bid: int, ask: int) -> Batch:
        self._bid, self._ask = bid, ask
        events: list[MarketEvent] = self._book(now_ms)
        return self._batch(now_ms, events)
