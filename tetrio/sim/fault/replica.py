"""What a lagging database knows of the account: its orders, trades and balances as of some time ago.

Binance answers queries from memory and databases beside the matching engine, which may be behind it. A `Replica` starts
as a copy of what the engine knows and then learns of every change, only later. It is asked in place of the engine
(`Venue.as_of`); what is not about the account's past is the engine's own.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from tetrio.sim.engine.history import OrderHistory
from tetrio.sim.engine.orders import Balance, Execution, Fill, Order, Position, Rejected, Report, UserEvent

if TYPE_CHECKING:
    from tetrio.sim.engine.engine import Engine

QUERIES = frozenset(
    {
        "account.status",
        "allOrders",
        "myTrades",
        "openOrders.status",
        "order.status",
    }
)
"""Methods of the WebSocket API that are answered by the replica while there is one."""


class Replica:
    """The engine's account, `lag_s` ago."""

    def __init__(
        self, engine: Engine, account: str, symbol: str, lag_s: float, now_s: Callable[[], float], updated_ms: int
    ) -> None:
        """`now_s` tells the time that the lag is measured by, `updated_ms` is when the account last changed."""
        self.lag_s = lag_s
        self._updated_ms = updated_ms
        self._engine, self._now_s = engine, now_s
        self._history = OrderHistory()
        self._balances: Mapping[str, Balance] = engine.balances(account)
        self._coming: collections.deque[tuple[float, int, UserEvent]] = collections.deque()
        for order in engine.orders(account, symbol):
            self._learn(order)
            for fill in engine.trades(account, symbol, order.order_id):
                self._history.add_fill(order, fill)

    def __getattr__(self, name: str) -> object:
        """What is no business of a replica."""
        return getattr(self._engine, name)

    def hear(self, events: Sequence[UserEvent], at_ms: int) -> None:
        """The engine has changed now, at `at_ms` by the exchange's date; that will be known later."""
        now_s = self._now_s()
        self._coming.extend((now_s + self.lag_s, at_ms, event) for event in events)
        self._catch_up()

    def updated_ms(self) -> int:
        """When the account last changed, as far as is known here."""
        self._catch_up()
        return self._updated_ms

    # -- asked in place of the engine -------------------------------------------------------------------------------
    def order(
        self, account: str, symbol: str, *, order_id: int | None = None, client_order_id: str | None = None
    ) -> Order:
        """As `Engine.order`."""
        self._catch_up()
        return self._history.find(account, symbol, order_id, client_order_id, Rejected(-2013, "Order does not exist."))

    def open_orders(self, account: str, symbol: str | None = None) -> list[Order]:
        """As `Engine.open_orders`."""
        self._catch_up()
        return self._history.open_orders(account, symbol)

    def orders(self, account: str, symbol: str) -> list[Order]:
        """As `Engine.orders`."""
        self._catch_up()
        return self._history.orders(account, symbol)

    def trades(self, account: str, symbol: str, order_id: int | None = None) -> list[Fill]:
        """As `Engine.trades`."""
        self._catch_up()
        return self._history.fills(account, symbol, order_id)

    def balances(self, account: str) -> dict[str, Balance]:
        """As `Engine.balances`."""
        self._catch_up()
        return dict(self._balances)

    # -- learning ---------------------------------------------------------------------------------------------------
    def _catch_up(self) -> None:
        now_s = self._now_s()
        while self._coming and self._coming[0][0] <= now_s:
            _, self._updated_ms, event = self._coming.popleft()
            if isinstance(event, Report):
                self._report(event)
            elif isinstance(event, Position):
                self._balances = {**self._balances, **event.balances}

    def _report(self, report: Report) -> None:
        self._balances = report.balances
        if report.execution is Execution.REJECTED:
            return
        self._learn(report.order)
        if report.fill is not None:
            self._history.add_fill(report.order, report.fill)

    def _learn(self, order: Order) -> None:
        try:
            self._history.get(order.order_id)
        except KeyError:
            self._history.add(order)
        self._history.update(order)
