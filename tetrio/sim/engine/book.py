"""The displayed market, and where clients' resting orders stand in it.

The displayed market is what recorded or generated data show: best bid and ask with sizes, and the levels behind them as
far as depth differences named them. It is liquidity for takers; clients' orders are an overlay that it does not show.
What a client took of a level is gone until the market says something new of that level.

A resting order fills by one of three models:

queue     It joins behind what is displayed at its price (`ahead`): nothing inside the spread; the size at the best
          price or at a known level; behind the best price at a level that no data named, the size at the best
          price is the estimate. Trades at its price by the other side's takers use up `ahead` first, then fill
          it. `ahead` is never more than what is displayed at the price. A trade beyond its price, or the other
          side's best price reaching its own, fills it at its own price, up to the quantity traded or displayed there.
touch     Any trade at its price or beyond, or the other side's best price reaching it, fills it up to that quantity.
through   Only a trade beyond its price, or the other side's best price going beyond it.

Several resting orders share a quantity by price, then time. Not here: money, ids, time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from tetrio.core.market import Side
from tetrio.sim.market.events import Depth, Top

MAX_LEVELS = 10_000
"""Known levels kept per side; when there are more, those farthest from the best price are forgotten."""


class Resting:
    """A client's order on the book."""

    __slots__ = ("account", "ahead", "iceberg", "order_id", "price", "remaining", "traded_off", "visible")

    def __init__(self, order_id: int, account: str, price: int, remaining: int, iceberg: int = 0) -> None:
        """`iceberg`: lots shown at a time; 0 shows all."""
        self.order_id, self.account, self.price, self.remaining = order_id, account, price, remaining
        self.iceberg = iceberg
        self.visible = min(remaining, iceberg or remaining)
        """Lots shown; the others take their turn when these are gone, behind all of the price."""
        self.ahead = 0
        """Lots displayed before it at its price."""
        self.traded_off = 0
        """Lots ahead of it that have traded since it came."""

    def pass_by(self, lots: int) -> None:
        """`lots` at its price traded before its turn."""
        passed = min(lots, self.ahead)
        self.ahead -= passed
        self.traded_off += passed

    def reduce(self, lots: int) -> bool:
        """It has `lots` less; whether what it shows is used up and the next part must queue anew."""
        self.remaining -= lots
        self.visible = max(0, self.visible - lots)
        if self.visible or not self.remaining:
            return False
        self.visible = min(self.remaining, self.iceberg or self.remaining)
        return True

    def shrink(self, lots: int) -> None:
        """Its remaining quantity becomes `lots`, its place stays; what it shows only where that was more."""
        self.remaining = lots
        self.visible = min(self.visible, lots)


class Displayed:
    """Best prices, known levels behind them, and what clients took of either."""

    def __init__(self) -> None:
        self.top: Top | None = None
        self._bid = self._bid_qty = self._ask = self._ask_qty = 0
        self._levels: dict[Side, dict[int, int]] = {Side.BUY: {}, Side.SELL: {}}
        self._taken: dict[Side, dict[int, int]] = {Side.BUY: {}, Side.SELL: {}}

    def on_top(self, top: Top) -> None:
        """New best prices. A level whose price and size are as before has not been renewed."""
        self.top = top
        if top.bid != self._bid or top.bid_qty != self._bid_qty:
            self._bid, self._bid_qty = top.bid, top.bid_qty
            self._taken[Side.BUY].pop(top.bid, None)
        if top.ask != self._ask or top.ask_qty != self._ask_qty:
            self._ask, self._ask_qty = top.ask, top.ask_qty
            self._taken[Side.SELL].pop(top.ask, None)

    def on_depth(self, depth: Depth) -> None:
        """Absolute sizes by price. The best price's own size stays what the top says: it is fresher."""
        for side, changes in ((Side.BUY, depth.bids), (Side.SELL, depth.asks)):
            levels, taken = self._levels[side], self._taken[side]
            for price, lots in changes:
                levels[price] = lots  # a 0 stays: known to be empty is not the same as unknown
                taken.pop(price, None)
            if len(levels) > MAX_LEVELS:
                self._forget_far(side)

    def best(self, side: Side) -> int:
        """Best displayed price of that side of the book, 0 when it is empty."""
        return self._bid if side is Side.BUY else self._ask

    def shown(self, side: Side, price: int) -> int:
        """Lots displayed at a price, less what clients took; behind the best price at an unnamed level the best
        price's size is the estimate."""
        best, qty = (self._bid, self._bid_qty) if side is Side.BUY else (self._ask, self._ask_qty)
        if not best or (price > best if side is Side.BUY else price < best):
            return 0
        lots = qty if price == best else self._levels[side].get(price, qty)
        return max(0, lots - self._taken[side].get(price, 0))

    def available(self, side: Side) -> Iterator[tuple[int, int]]:
        """(price, lots) that a taker finds on that side of the book, best first, as far as it is known."""
        best, qty = (self._bid, self._bid_qty) if side is Side.BUY else (self._ask, self._ask_qty)
        if not best:
            return
        taken = self._taken[side]
        if (lots := qty - taken.get(best, 0)) > 0:
            yield best, lots
        buying = side is Side.BUY
        behind = [price for price in self._levels[side] if (price < best if buying else price > best)]
        for price in sorted(behind, reverse=buying):
            if (lots := self._levels[side][price] - taken.get(price, 0)) > 0:
                yield price, lots

    def take(self, side: Side, price: int, lots: int) -> None:
        """A client took `lots` displayed at `price` on that side of the book."""
        taken = self._taken[side]
        taken[price] = taken.get(price, 0) + lots

    def taken(self, side: Side) -> Mapping[int, int]:
        """Price -> lots that clients took there and the market has not renewed."""
        return self._taken[side]

    def _forget_far(self, side: Side) -> None:
        levels = self._levels[side]
        near = sorted(levels, reverse=side is Side.BUY)[: MAX_LEVELS // 2]
        self._levels[side] = {price: levels[price] for price in near}
        self._taken[side] = {price: lots for price, lots in self._taken[side].items() if price in self._levels[side]}


class RestingSide:
    """Clients' orders of one side, best price first, then oldest."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self._sign = 1 if side is Side.SELL else -1
        self.orders: list[Resting] = []

    def add(self, resting: Resting) -> None:
        """Behind all of the same price, and no nearer to its turn than they are, whatever is displayed."""
        key = self._sign * resting.price
        at = len(self.orders)
        while at and self._sign * self.orders[at - 1].price > key:
            at -= 1
        if at and self.orders[at - 1].price == resting.price:
            resting.ahead = max(resting.ahead, self.orders[at - 1].ahead)
        self.orders.insert(at, resting)

    def remove(self, order_id: int) -> Resting:
        """Takes an order off; KeyError when it is not here."""
        for at, resting in enumerate(self.orders):
            if resting.order_id == order_id:
                return self.orders.pop(at)
        raise KeyError(order_id)

    def get(self, order_id: int) -> Resting:
        """KeyError when it is not here."""
        for resting in self.orders:
            if resting.order_id == order_id:
                return resting
        raise KeyError(order_id)

    def reduce(self, order_id: int, lots: int, shown: int = 0) -> None:
        """An order traded `lots`; it leaves when that was all of it. KeyError when it is not here.

        shown   what is displayed at its price: the next part of an iceberg queues behind it
        """
        resting = self.get(order_id)
        queue_anew = resting.reduce(lots)
        if not resting.remaining or queue_anew:
            self.orders.remove(resting)
        if queue_anew:
            resting.ahead = shown
            self.add(resting)

    def levels(self) -> dict[int, int]:
        """Visible lots by price, best first."""
        found: dict[int, int] = {}
        for resting in self.orders:
            found[resting.price] = found.get(resting.price, 0) + resting.visible
        return found

    def pass_by(self, price: int, lots: int) -> None:
        """A client's taker used up `lots` displayed at `price`."""
        for resting in self.orders:
            if resting.price == price:
                resting.pass_by(lots)

    def see_top(self, displayed: Displayed) -> None:
        """What is displayed at the best price, or no longer, bounds what is ahead."""
        best = displayed.best(self.side)
        for resting in self.orders:
            if resting.ahead and (not best or self._sign * resting.price <= self._sign * best):
                resting.ahead = min(resting.ahead, displayed.shown(self.side, resting.price))

    def see_depth(self, displayed: Displayed, changes: Iterable[tuple[int, int]]) -> None:
        """The same for the levels that a depth difference names."""
        if not any(resting.ahead for resting in self.orders):
            return
        named = dict(changes)
        for resting in self.orders:
            if resting.price in named and resting.price != displayed.best(self.side):
                resting.ahead = min(resting.ahead, named[resting.price])

    def fills_by_trade(self, model: str, price: int, qty: int, opposite_taker: bool) -> list[tuple[Resting, int, str]]:
        """Who fills, how much and why, when the public trades `qty` at `price`; moves the queues.

        opposite_taker   the trade's taker was on the other side (a buyer, for resting sells)
        """
        fills = []
        left, passed = qty, 0
        for resting in self.orders:
            beyond = self._sign * (price - resting.price)
            if beyond < 0:
                break
            if beyond > 0:
                resting.ahead = 0
                why = "trade through"
            elif model == "touch":
                why = "trade at the price"
            elif model == "queue" and opposite_taker:
                used = min(max(resting.ahead - passed, 0), left)
                left -= used
                passed += used
                resting.pass_by(passed)
                why = "queue"
            else:
                break
            shown = resting.remaining if beyond > 0 else resting.visible
            if not resting.ahead and (lots := min(left, shown)):
                left -= lots
                fills.append((resting, lots, why))
        return fills

    def fills_by_crossing(self, model: str, displayed: Displayed) -> list[tuple[Resting, int]]:
        """Who fills, and how much, because the other side's displayed prices reach clients' prices."""
        best = displayed.best(self.side.other)
        if not best or not self.orders or not self._crossed(model, self.orders[0], best):
            return []
        fills = []
        waiting = iter(self.orders)
        resting = next(waiting, None)
        wanted = resting.remaining if resting else 0
        for price, shown in displayed.available(self.side.other):
            lots = shown
            while resting is not None and lots and self._crossed(model, resting, price):
                part = min(lots, wanted)
                lots -= part
                wanted -= part
                fills.append((resting, part))
                displayed.take(self.side.other, price, part)
                if not wanted:
                    resting = next(waiting, None)
                    wanted = resting.remaining if resting else 0
            if lots:
                break
        return fills

    def _crossed(self, model: str, resting: Resting, price: int) -> bool:
        beyond = self._sign * (price - resting.price)
        return beyond > 0 or (beyond == 0 and model != "through")


def offers(resting: RestingSide, displayed: Displayed) -> Iterator[tuple[int, int, Resting | None]]:
    """(price, lots, client's order or None for the displayed market): all that a taker meets on that side, best
    first. At one price a client's order stands behind what is ahead of it and before the rest; what an iceberg hides
    comes part by part, after all that is shown. Change nothing while iterating.
    """
    sign = 1 if resting.side is Side.SELL else -1
    clients = list(resting.orders)
    at = 0
    for price, lots in displayed.available(resting.side):
        while at < len(clients) and sign * clients[at].price < sign * price:
            level = _level(clients, at)
            yield from _met(level, 0)
            at += len(level)
        level = _level(clients, at) if at < len(clients) and clients[at].price == price else []
        if level:
            yield from _met(level, lots)
            at += len(level)
        else:
            yield price, lots, None
    while at < len(clients):
        level = _level(clients, at)
        yield from _met(level, 0)
        at += len(level)


def _level(clients: list[Resting], at: int) -> list[Resting]:
    """The orders of the price of the one at `at`."""
    price = clients[at].price
    end = at
    while end < len(clients) and clients[end].price == price:
        end += 1
    return clients[at:end]


def _met(level: list[Resting], displayed: int) -> Iterator[tuple[int, int, Resting | None]]:
    """What a taker meets at one price: clients' orders among what is displayed, then what icebergs hide."""
    price, left, passed = level[0].price, displayed, 0
    for client in level:
        if before := min(max(client.ahead - passed, 0), left):
            yield price, before, None
            left -= before
            passed += before
        yield price, client.visible, client
    if left:
        yield price, left, None
    hidden = [(client, client.remaining - client.visible) for client in level if client.remaining > client.visible]
    while hidden:
        client, lots = hidden.pop(0)
        part = min(lots, client.iceberg)
        yield price, part, client
        if lots > part:
            hidden.append((client, lots - part))
