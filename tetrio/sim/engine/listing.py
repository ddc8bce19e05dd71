"""One symbol on the exchange: its rules, its book, its trade ids and its average price.

Trade ids: clients' trades get ids of the public's space. A client's trade takes the id after the last one published,
and every later public trade is shifted up by one more. Recorded ids that do not rise are made to.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from decimal import Decimal, localcontext

from tetrio.core.market import Side
from tetrio.core.money import SymbolRules
from tetrio.sim.engine.book import Displayed, RestingSide
from tetrio.sim.engine.contingent import Waiting
from tetrio.sim.engine.orders import Order
from tetrio.wire.rules import Filters

AVERAGE_WINDOW_S = 300
_DIGITS = 60


class AveragePrice:
    """Volume-weighted mean over the last five minutes of market time, in buckets of one second."""

    def __init__(self) -> None:
        self._buckets: deque[list[int]] = deque()  # [second, tick-lots, lots]
        self._notional = 0
        self._lots = 0
        self.last: int | None = None
        """Price of the last trade, ticks."""

    def add(self, price: int, qty: int, market_ns: int) -> None:
        """One trade."""
        second = market_ns // 1_000_000_000
        buckets = self._buckets
        if buckets and second <= buckets[-1][0]:
            bucket = buckets[-1]
            bucket[1] += price * qty
            bucket[2] += qty
        else:
            buckets.append([second, price * qty, qty])
            self._forget(second)
        self._notional += price * qty
        self._lots += qty
        self.last = price

    def ticks(self, market_ns: int) -> Decimal | None:
        """In ticks, not on the grid; without a trade in the window the last one's price; None before any trade."""
        self._forget(market_ns // 1_000_000_000)
        if not self._lots:
            return None if self.last is None else Decimal(self.last)
        with localcontext() as context:
            context.prec = _DIGITS
            return Decimal(self._notional) / self._lots

    def _forget(self, second: int) -> None:
        buckets = self._buckets
        while buckets and buckets[0][0] <= second - AVERAGE_WINDOW_S:
            _, notional, lots = buckets.popleft()
            self._notional -= notional
            self._lots -= lots


class Listing:
    """A symbol's state; the engine is the only one that changes it."""

    def __init__(
        self, rules: SymbolRules, filters: Filters, base_unit: Decimal, quote_unit: Decimal, first_trade_id: int
    ) -> None:
        self.rules, self.filters = rules, filters
        self.reference: Decimal | None = None
        """Reference price in quote units: where there is one, filters and PRICE_RANGE measure against it."""
        self.waiting = Waiting()
        self.displayed = Displayed()
        self.resting = {Side.BUY: RestingSide(Side.BUY), Side.SELL: RestingSide(Side.SELL)}
        self.average = AveragePrice()
        self.last_trade_ms = 0
        self.lot_units = int(rules.step_size / base_unit)
        """Base units of one lot."""
        self.tick_lot_units = int(rules.tick_lot / quote_unit)
        """Quote units of one tick-lot."""
        self._last_trade_id = first_trade_id - 1
        self._shift = 0

    def publish(self, recorded_id: int) -> int:
        """The id under which a public trade is published."""
        self._last_trade_id = max(recorded_id + self._shift, self._last_trade_id + 1)
        return self._last_trade_id

    def shifted(self, recorded_id: int) -> int:
        """A recorded trade id as published, for events that only refer to trades."""
        return recorded_id + self._shift

    def client_trade_id(self) -> int:
        """A new id for a client's trade; what follows is shifted by one more."""
        self._last_trade_id += 1
        self._shift += 1
        return self._last_trade_id

    def traded(self, price: int, qty: int, market_ns: int) -> None:
        """Takes a trade, public or a client's, into the average; what waits for a price sees it while the symbol
        trades (a tape goes on during a halt, when there would be no trades)."""
        self.average.add(price, qty, market_ns)
        self.last_trade_ms = market_ns // 1_000_000
        if self.trading:
            self.waiting.see(price)

    @property
    def trading(self) -> bool:
        """Whether orders may trade now."""
        return self.rules.status == "TRADING"

    @property
    def last(self) -> int | None:
        """Price of the last trade, ticks."""
        return self.average.last

    def take_off(self, order: Order) -> None:
        """An open order leaves the book, or waits no more; a pending leg is on neither."""
        if order.order_id in self.waiting:
            self.waiting.remove(order.order_id)
        elif order.is_working:
            self.resting[order.side].remove(order.order_id)

    def level(self, side: Side, depth: int) -> int | None:
        """The price that so many levels, the market's and clients', are better than; None: there are no more."""
        falling = side is Side.BUY
        own = sorted(self.resting[side].levels(), reverse=falling)
        both = heapq.merge((price for price, _ in self.displayed.available(side)), own, reverse=falling)
        levels = (price for price, _ in itertools.groupby(both))
        return next(itertools.islice(levels, depth, None), None)

    def measure(self, market_ns: int) -> Decimal | None:
        """What filters measure against: the reference price or, without one, the average price."""
        return self.reference if self.reference is not None else self.average_price(market_ns)

    def average_price(self, market_ns: int) -> Decimal | None:
        """Quote units; before any trade the middle of the best prices, or the only one; None without those."""
        ticks = self.average.ticks(market_ns)
        if ticks is None:
            best = [price for price in (self.displayed.best(Side.BUY), self.displayed.best(Side.SELL)) if price]
            if not best:
                return None
            ticks = Decimal(sum(best)) / len(best)
        with localcontext() as context:
            context.prec = _DIGITS
            return ticks * self.rules.tick_size
