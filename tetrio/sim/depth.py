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

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tetrio.core.market import Side
from tetrio.sim.events import Depth, Top

Levels = list[tuple[int, int]]
"""(price ticks, lots)"""
Quote = tuple[int, int, int, int]
"""Best bid, its lots, best ask, its lots; 0 where a side is empty."""
BySide = Mapping[Side, Mapping[int, int]]
"""Price -> lots, by side."""
_NONE: Mapping[int, int] = {}


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

    __slots__ = ("_since_id", "of")

    def __init__(self, since_id: int) -> None:
        self._since_id = since_id
        self.of: dict[Side, dict[int, int]] = {Side.BUY: {}, Side.SELL: {}}
        """Price -> lots, by side."""

    def __bool__(self) -> bool:
        return bool(self.of[Side.BUY] or self.of[Side.SELL])

    def begin(self, first_id: int) -> None:
        """Nothing is known of the updates before `first_id`: that they are missing must be seen."""
        self._since_id = first_id - 1

    def take(self, last_id: int) -> Difference:
        """All of it, up to the book's `last_id`; the next one goes on from there."""
        bids, asks = self.of[Side.BUY], self.of[Side.SELL]
        self.of = {Side.BUY: {}, Side.SELL: {}}
        first_id, self._since_id = self._since_id + 1, last_id
        return Difference(first_id, last_id, _sorted(bids, Side.BUY), _sorted(asks, Side.SELL))


class PublicBook:
    """A recorded market's, or a relayed one's."""

    def __init__(self, *, differences: bool) -> None:
        """`differences`: the market names its levels by depth differences; a first one that comes says so too."""
        self.last_id = 0
        """Of the last update that it holds; 0 before the first."""
        self._differences = differences
        self._shown: dict[Side, dict[int, int]] = {Side.BUY: {}, Side.SELL: {}}
        self._followers: list[Changes] = []

    def on_top(self, top: Top) -> None:
        """New best prices: all there is, where no differences come."""
        if self._differences or top.update_id <= self.last_id:
            return
        for side, price, lots in ((Side.BUY, top.bid, top.bid_qty), (Side.SELL, top.ask, top.ask_qty)):
            for gone in [each for each in self._shown[side] if each != price]:
                self._show(side, gone, 0)
            if price:
                self._show(side, price, lots)
        self._reach(top.update_id, top.update_id)

    def on_depth(self, depth: Depth) -> None:
        """A difference; one whose changes it holds already is ignored."""
        if not self._differences:
            self.forget()
            self._differences = True
        if depth.last_id <= self.last_id:
            return
        for side, changes in ((Side.BUY, depth.bids), (Side.SELL, depth.asks)):
            for price, lots in changes:
                self._show(side, price, lots)
        self._reach(depth.first_id, depth.last_id)

    def forget(self) -> None:
        """Updates were missed: what is known is worth nothing."""
        self._differences = False
        self._shown = {Side.BUY: {}, Side.SELL: {}}
        self.last_id = 0

    def snapshot(self, limit: int) -> Snapshot:
        """The best `limit` levels of each side."""
        bids, asks = (_sorted(self._shown[side], side)[:limit] for side in (Side.BUY, Side.SELL))
        return Snapshot(self.last_id, bids, asks)

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

    def _show(self, side: Side, price: int, lots: int) -> bool:
        """The level holds `lots` from now on; whether that is a change."""
        levels = self._shown[side]
        if levels.get(price, 0) == lots:
            return False
        if lots:
            levels[price] = lots
        else:
            del levels[price]
        for changes in self._followers:
            changes.of[side][price] = lots
        return True


class MadeBook(PublicBook):
    """A generated market's, with clients' orders in it."""

    def __init__(self) -> None:
        super().__init__(differences=False)
        self._market: dict[Side, dict[int, int]] = {Side.BUY: {}, Side.SELL: {}}
        self._best = {Side.BUY: 0, Side.SELL: 0}
        self._own: BySide = {Side.BUY: _NONE, Side.SELL: _NONE}
        self._taken: BySide = self._own
        self._touched: dict[Side, set[int]] = {Side.BUY: set(), Side.SELL: set()}  # levels that clients have to do with
        self._quote: Quote = (0, 0, 0, 0)

    @property
    def quote(self) -> Quote:
        """Best prices, with what is displayed there."""
        return self._quote

    def on_top(self, top: Top) -> None:
        """New best prices: what is better is gone, and where no differences come, so is what was best before."""
        self.last_id = self.last_id + 1 if self.last_id else top.update_id
        for side, price, lots in ((Side.BUY, top.bid, top.bid_qty), (Side.SELL, top.ask, top.ask_qty)):
            market = self._market[side]
            if price != self._best[side]:
                self._best[side] = price
                buying = side is Side.BUY
                gone = [
                    each
                    for each in market
                    if not price
                    or (each > price if buying else each < price)
                    or (not self._differences and each != price)
                ]
                self._display(side, ((each, 0) for each in gone))
            if price and market.get(price) != lots:
                self._display(side, ((price, lots),))

    def on_depth(self, depth: Depth) -> None:
        """What the market displays behind its best prices, which a Top is to follow."""
        self._differences = True
        self.last_id = self.last_id or depth.last_id
        self._display(Side.BUY, depth.bids)
        self._display(Side.SELL, depth.asks)

    def settle(self, own: BySide, taken: BySide) -> None:
        """After any change: what clients' orders rest, and what clients took of the market, lots by price and side."""
        touched = self._touched
        if any(own.values()) or any(taken.values()) or any(touched.values()):
            self._own, self._taken = own, taken
            self._touched = {side: {*own[side], *taken[side]} for side in Side}
            best = {side: self._market_best(side) for side in Side}
            for side in Side:
                for price in sorted(touched[side] | self._touched[side]):
                    self._update(side, price, self._visible(side, price, best))
            bids, asks = self._shown[Side.BUY], self._shown[Side.SELL]
            bid, ask = max(bids, default=0), min(asks, default=0)
        else:
            bids, asks = self._shown[Side.BUY], self._shown[Side.SELL]
            bid, ask = self._best[Side.BUY], self._best[Side.SELL]
        self._quote = (bid, bids.get(bid, 0), ask, asks.get(ask, 0))

    def _display(self, side: Side, changes: Iterable[tuple[int, int]]) -> None:
        """The market's own levels; those that clients have to do with are shown by `settle`."""
        market, touched = self._market[side], self._touched[side]
        for price, lots in changes:
            if lots:
                market[price] = lots
            else:
                market.pop(price, None)
            if price not in touched:
                self._update(side, price, lots)

    def _update(self, side: Side, price: int, lots: int) -> None:
        self.last_id += self._show(side, price, lots)

    def _market_best(self, side: Side) -> int:
        """The best level of which clients left something, else the market's best; 0 when it shows none."""
        market, taken = self._market[side], self._taken[side]
        left = [price for price, lots in market.items() if lots > taken.get(price, 0)] if taken else list(market)
        best = max if side is Side.BUY else min
        return best(left or list(market), default=0)

    def _visible(self, side: Side, price: int, best: Mapping[Side, int]) -> int:
        displayed = self._market[side].get(price, 0)
        lots = max(0, displayed - self._taken[side].get(price, 0))
        if not lots and price == best[side]:
            lots = displayed
        other = best[side.other]
        if not other or (price < other if side is Side.BUY else price > other):
            lots += self._own[side].get(price, 0)
        return lots


def _sorted(levels: Mapping[int, int], side: Side) -> Levels:
    """Best prices first."""
    return sorted(levels.items(), reverse=side is Side.BUY)
