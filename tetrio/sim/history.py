"""Which orders and fills the exchange remembers, and how they are found.

Open orders and orders that traded are kept (of the latter the last `KEEP_TRADED`); of the orders that ended without a
trade only the last `KEEP_UNTRADED`, as a bot that re-quotes for weeks leaves millions of them. What is forgotten does
not exist any more (Binance archives such orders too).
"""

from __future__ import annotations

from collections import deque

from tetrio.sim.orders import Fill, Order, Rejected

KEEP_UNTRADED = 10_000
KEEP_TRADED = 100_000


class OrderHistory:
    """Orders by id, by client order id, open, and their fills."""

    def __init__(self, keep_untraded: int = KEEP_UNTRADED, keep_traded: int = KEEP_TRADED) -> None:
        self._keep_untraded, self._keep_traded = keep_untraded, keep_traded
        self._orders: dict[int, Order] = {}
        self._open: dict[int, Order] = {}
        self._open_ids: dict[tuple[str, str], int] = {}
        self._newest: dict[tuple[str, str, str], int] = {}
        self._fills: dict[int, list[Fill]] = {}
        self._untraded: deque[int] = deque()
        self._traded: deque[int] = deque()

    def add(self, order: Order) -> None:
        """A new order."""
        self._newest[order.account, order.symbol, order.client_order_id] = order.order_id
        self._open_ids[order.account, order.client_order_id] = order.order_id
        self._orders[order.order_id] = self._open[order.order_id] = order

    def update(self, order: Order) -> None:
        """An order as it stands now."""
        self._orders[order.order_id] = order
        if order.is_open:
            self._open[order.order_id] = order
            return
        del self._open[order.order_id]
        del self._open_ids[order.account, order.client_order_id]
        kept, limit = (self._traded, self._keep_traded) if order.filled else (self._untraded, self._keep_untraded)
        kept.append(order.order_id)
        if len(kept) > limit:
            self._forget(kept.popleft())

    def add_fill(self, order: Order, fill: Fill) -> None:
        """One trade of an order."""
        self._fills.setdefault(order.order_id, []).append(fill)

    def get(self, order_id: int) -> Order:
        """KeyError when it is unknown."""
        return self._orders[order_id]

    def is_open(self, account: str, client_order_id: str) -> bool:
        """Whether an open order of the account has that id."""
        return (account, client_order_id) in self._open_ids

    def find(
        self, account: str, symbol: str, order_id: int | None, client_order_id: str | None, unknown: Rejected
    ) -> Order:
        """By either id, or both; by client order id the newest. Raises `unknown`, Rejected -2039 when the ids are of
        two orders, -1102 when there is none."""
        if order_id is None and client_order_id is None:
            text = "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!"
            raise Rejected(-1102, text)
        if order_id is None:
            order_id = self._newest.get((account, symbol, client_order_id or ""))
        order = self._orders.get(order_id) if order_id is not None else None
        if order is None or order.account != account or order.symbol != symbol:
            raise unknown
        if client_order_id is not None and order.client_order_id != client_order_id:
            raise Rejected(-2039, "Client order ID is not correct for this order ID.")
        return order

    def count_open(self, account: str, symbol: str) -> int:
        """Open orders of the account on the symbol."""
        return sum(order.account == account and order.symbol == symbol for order in self._open.values())

    def every_open_order(self) -> list[Order]:
        """Of every account, oldest first."""
        return [self._open[order_id] for order_id in sorted(self._open)]

    def open_orders(self, account: str, symbol: str | None) -> list[Order]:
        """Oldest first; of all symbols when None."""
        return [
            order
            for order in self._open.values()
            if order.account == account and (symbol is None or order.symbol == symbol)
        ]

    def orders(self, account: str, symbol: str) -> list[Order]:
        """All that are remembered, by order id."""
        return [order for order in self._orders.values() if order.account == account and order.symbol == symbol]

    def fills(self, account: str, symbol: str, order_id: int | None) -> list[Fill]:
        """By trade id."""
        wanted = self._fills if order_id is None else [order_id] if order_id in self._fills else []
        found = []
        for known in wanted:
            order = self._orders[known]
            if order.account == account and order.symbol == symbol:
                found += self._fills[known]
        return sorted(found, key=lambda fill: fill.trade_id)

    def _forget(self, order_id: int) -> None:
        order = self._orders.pop(order_id)
        self._fills.pop(order_id, None)
        key = (order.account, order.symbol, order.client_order_id)
        if self._newest.get(key) == order_id:
            del self._newest[key]
