"""The public book: levels per side in one space of update ids, as snapshots, depth streams and bookTicker tell it.

Whoever keeps a local book by Binance's procedure (buffer the differences, fetch a snapshot, drop what it holds already,
apply the rest) has at every id exactly what `snapshot` gives at that id.

Recorded markets are told as they were: the book is what the recorded differences named, under their own ids; without
differences it is the best prices, under the ids of bookTicker. Clients' orders do not show in it.

Generated markets (`MadeBook`) have ids of our own, one more with each change. What clients' orders rest there counts
with what the market displays at the price, what clients took of the market is gone until the market renews it, and
neither leaves a book that is crossed or one-sided: clients' levels that the other side has reached are not shown, and
a side that clients have taken whole shows the market's best once more. Pure; when differences are told is the caller's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from tetrio.sim.market.events import Depth, Top

Levels = list[tuple[int, int]]
"""(price ticks, lots)"""
Quote = tuple[int, int, int, int]
"""Best bid, its lots, best ask, its lots; 0 where a side is empty."""
Sides = tuple[Mapping[int, int], Mapping[int, int]]
"""Bids and asks: price -> lots."""
_Book = tuple[dict[int, int], dict[int, int]]
_NOTHING: Sides = ({}, {})
BIDS, ASKS = 0, 1
"""Places of the sides in a pair: an enum's hash would be most of the cost of a level that changes."""


class Snapshot(NamedTuple):
    """The book at one id, best prices first."""

    last_id: int
    bids: Levels
    asks: Levels


class Difference(NamedTuple):
    """What changed in the updates `first_id` to `last_id`: absolute lots, 0 removes the level."""

    first_id: int
    last_id: int
    bids: Levels
    asks: Levels


class Changes:
    """What has changed since it was last taken: the content of one depth stream."""

    __slots__ = ("_since_id", "sides")

    def __init__(self, since_id: int) -> None:
        self._since_id = since_id
        self.sides: _Book = ({}, {})

    def __bool__(self) -> bool:
        return bool(self.sides[BIDS] or self.sides[ASKS])

    def begin(self, first_id: int) -> None:
        """Nothing is known of the updates before `first_id`: that they are missing must be seen."""
        self._since_id = first_id - 1

    def take(self, last_id: int) -> Difference:
        """All of it, up to the book's `last_id`; the next one goes on from there."""
        bids, asks = self.sides
        self.sides = ({}, {})
        first_id, self._since_id = self._since_id + 1, last_id
        return Difference(first_id, last_id, _sorted(bids, BIDS), _sorted(asks, ASKS))


class PublicBook:
    """A recorded market's, or a relayed one's."""

    def __init__(self, *, differences: bool) -> None:
        """`differences`: the market names its levels by depth differences; a first one that comes says so too."""
        self.last_id = 0
        """Of the last update that it holds; 0 before the first."""
        self._differences = differences
        self._shown: _Book = ({}, {})
        self._followers: list[Changes] = []

    def on_top(self, top: Top) -> None:
        """New best prices: all there is, where no differences come."""
        if self._differences or top.update_id <= self.last_id:
            return
        for side, price, lots in ((BIDS, top.bid, top.bid_qty), (ASKS, top.ask, top.ask_qty)):
            gone = [(each, 0) for each in self._shown[side] if each != price]
            self._show(side, [*gone, (price, lots)] if price else gone)
        self._reach(top.update_id, top.update_id)

    def on_depth(self, depth: Depth) -> None:
        """A difference; one whose changes it holds already is ignored."""
        if not self._differences:
            self.forget()
            self._differences = True
        if depth.last_id <= self.last_id:
            return
        self._show(BIDS, depth.bids)
        self._show(ASKS, depth.asks)
        self._reach(depth.first_id, depth.last_id)

    def forget(self) -> None:
        """Updates were missed: what is known is worth nothing."""
        self._differences = False
        self._shown = ({}, {})
        self.last_id = 0

    def snapshot(self, limit: int) -> Snapshot:
        """The best `limit` levels of each side."""
        bids, asks = self._shown
        return Snapshot(self.last_id, _sorted(bids, BIDS)[:limit], _sorted(asks, ASKS)[:limit])

    def follow(self) -> Changes:
        """Gather from now on what changes, until `unfollow`."""
        changes = Changes(self.last_id)
        self._followers.append(changes)
        return changes

    def unfollow(self, changes: Changes) -> None:
        """No more."""
        self._followers = [each for each in self._followers if each is not changes]

    def _reach(self, first_id: int, last_id: int) -> None:
        """The updates `first_id` to `last_id` are in the book, which may be the first ones that are."""
        if not self.last_id:
            for changes in self._followers:
                changes.begin(first_id)
        self.last_id = last_id

    def _show(self, side: int, changes: Iterable[tuple[int, int]]) -> int:
        """These levels hold so much from now on; how many of them have changed by it."""
        levels, told = self._shown[side], [changes.sides[side] for changes in self._followers]
        count = 0
        for price, lots in changes:
            if levels.get(price, 0) != lots:
                count += 1
                if lots:
                    levels[price] = lots
                else:
                    del levels[price]
                for each in told:
                    each[price] = lots
        return count


class MadeBook(PublicBook):
    """A generated market's, with clients' orders in it."""

    def __init__(self) -> None:
        super().__init__(differences=False)
        self._market: _Book = ({}, {})
        self._best = [0, 0]
        self._own = self._taken = _NOTHING
        self._touched: tuple[set[int], set[int]] = (set(), set())  # levels that clients have to do with
        self._quote: Quote = (0, 0, 0, 0)

    @property
    def quote(self) -> Quote:
        """Best prices, with what is displayed there."""
        return self._quote

    def on_top(self, top: Top) -> None:
        """New best prices: what is better is gone, and where no differences come, so is what was best before."""
        self.last_id = self.last_id + 1 if self.last_id else top.update_id
        if top.bid != self._best[BIDS] or self._market[BIDS].get(top.bid) != top.bid_qty:
            self._move(BIDS, top.bid, top.bid_qty)
        if top.ask != self._best[ASKS] or self._market[ASKS].get(top.ask) != top.ask_qty:
            self._move(ASKS, top.ask, top.ask_qty)

    def on_depth(self, depth: Depth) -> None:
        """What the market displays behind its best prices, which a Top is to follow."""
        self._differences = True
        self.last_id = self.last_id or depth.last_id
        self._display(BIDS, depth.bids)
        self._display(ASKS, depth.asks)

    def settle(self, own: Sides, taken: Sides) -> None:
        """After any change: what clients' orders rest, and what clients took of the market."""
        bids, asks = self._shown
        touched = self._touched
        if touched[BIDS] or touched[ASKS] or own[BIDS] or own[ASKS] or taken[BIDS] or taken[ASKS]:
            self._own, self._taken = own, taken
            self._touched = ({*own[BIDS], *taken[BIDS]}, {*own[ASKS], *taken[ASKS]})
            best = (self._market_best(BIDS), self._market_best(ASKS))
            for side in (BIDS, ASKS):
                prices = touched[side] | self._touched[side]
                self.last_id += self._show(side, [(price, self._visible(side, price, best)) for price in prices])
            bid, ask = max(bids, default=0), min(asks, default=0)
        else:
            bid, ask = self._best
        self._quote = (bid, bids.get(bid, 0), ask, asks.get(ask, 0))

    def _move(self, side: int, price: int, lots: int) -> None:
        """The market's best price of one side is another, or holds another quantity."""
        changes = [(price, lots)] if price else []
        if price != self._best[side]:
            self._best[side] = price
            market = self._market[side]
            if not price or not self._differences:
                changes += [(each, 0) for each in market if each != price]
            elif side == BIDS:
                changes += [(each, 0) for each in market if each > price]
            else:
                changes += [(each, 0) for each in market if each < price]
        self._display(side, changes)

    def _display(self, side: int, changes: Sequence[tuple[int, int]]) -> None:
        """The market's own levels; those that clients have to do with are shown by `settle`."""
        market, touched = self._market[side], self._touched[side]
        for price, lots in changes:
            if lots:
                market[price] = lots
            else:
                market.pop(price, None)
        self.last_id += self._show(
            side, [change for change in changes if change[0] not in touched] if touched else changes
        )

    def _market_best(self, side: int) -> int:
        """The best level of which clients left something, else the market's best; 0 when it shows none."""
        market, taken = self._market[side], self._taken[side]
        left = [price for price, lots in market.items() if lots > taken.get(price, 0)] if taken else market
        best = max if side == BIDS else min
        return best(left or market, default=0)

    def _visible(self, side: int, price: int, best: tuple[int, int]) -> int:
        displayed = self._market[side].get(price, 0)
        lots = max(0, displayed - self._taken[side].get(price, 0))
        if not lots and price == best[side]:
            lots = displayed
        other = best[1 - side]
        if not other or (price < other if side == BIDS else price > other):
            lots += self._own[side].get(price, 0)
        return lots


def _sorted(levels: Mapping[int, int], side: int) -> Levels:
    """Best prices first."""
    return sorted(levels.items(), reverse=side == BIDS)
