"""Orders that wait for a price: stops, take-profits, and both with a trailing trigger. Pure.

A plain one is due once a trade reaches its stop price. A trailing one first waits for its stop price (where it has
one), then remembers the best price since, and is due once a trade is `delta` basis points worse than that: Binance's
native trailing stop. Every trade of the symbol, the public's or a client's, is shown here. Nothing is placed here: the
engine asks for what is due.
"""

from __future__ import annotations

import attrs

from tetrio.core.market import Side
from tetrio.sim.engine.orders import STOPS, Order

_WHOLE = 10_000
"""Basis points."""


def waits_above(kind: str, side: Side) -> bool:
    """Whether the stop price of such an order stands above the market: STOP_LOSS BUY, TAKE_PROFIT SELL."""
    return (kind in STOPS) is (side is Side.BUY)


@attrs.define
class _Wait:
    order_id: int
    side: Side
    above: bool
    stop: int
    delta: int
    extreme: int = 0
    """Best price since tracking began; 0 before."""

    def reached(self, price: int) -> bool:
        """Whether `price` is at the stop price or beyond."""
        return price >= self.stop if self.above else price <= self.stop

    def turned(self, price: int) -> bool:
        """Takes a price in; whether it is far enough from the best one."""
        if self.side is Side.SELL:
            self.extreme = max(self.extreme, price)
            return price * _WHOLE <= self.extreme * (_WHOLE - self.delta)
        self.extreme = min(self.extreme, price)
        return price * _WHOLE >= self.extreme * (_WHOLE + self.delta)


class Waiting:
    """The waiting orders of one symbol, oldest first."""

    def __init__(self) -> None:
        self._waits: dict[int, _Wait] = {}
        self._due: list[int] = []
        self._began: list[int] = []

    def __contains__(self, order_id: int) -> bool:
        return order_id in self._waits

    def add(self, order: Order, last: int | None) -> bool:
        """An order begins to wait; whether it tracks from now on (trailing without a stop price).

        last   price of the last trade, ticks; None before any
        """
        wait = _Wait(
            order.order_id,
            order.side,
            waits_above(order.type, order.side),
            order.stop_price,
            order.trailing_delta,
        )
        if order.trailing_delta and not order.stop_price and last is not None:
            wait.extreme = last
        self._waits[order.order_id] = wait
        return bool(wait.extreme)

    def remove(self, order_id: int) -> None:
        """It waits no more; KeyError when it does not."""
        del self._waits[order_id]

    def see(self, price: int) -> None:
        """A trade at `price`."""
        for wait in self._waits.values():
            if wait.delta and wait.extreme:
                if wait.turned(price):
                    self._due.append(wait.order_id)
            elif wait.delta:
                if not wait.stop or wait.reached(price):
                    wait.extreme = price
                    self._began.append(wait.order_id)
            elif wait.reached(price):
                self._due.append(wait.order_id)

    def began(self) -> list[int]:
        """Trailing orders that have begun to track since this was asked."""
        began, self._began = self._began, []
        return [order_id for order_id in began if order_id in self._waits]

    def next_due(self) -> int | None:
        """The next order whose price was reached, which waits no more; None when there is none."""
        while self._due:
            order_id = self._due.pop(0)
            if self._waits.pop(order_id, None) is not None:
                return order_id
        return None
