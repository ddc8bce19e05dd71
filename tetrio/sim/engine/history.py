"""Which orders, lists and fills the exchange remembers, and how they are found.

Open orders are kept, and of those that have ended the newest, as many as `Retention` says. What is forgotten does not
exist any more (Binance archives such orders too). A list is remembered as long as one of its orders is.
"""

from __future__ import annotations

from collections import deque

from tetrio.core.market import Side
from tetrio.sim.engine.orders import CONTINGENT, Amendment, Fill, Order, OrderList, Prevention, Rejected
from tetrio.sim.retention import FULL, Retention

KEEP_NOTES = 10_000
"""Prevented matches."""


class OrderHistory:
    """Orders by id, by client order id, open, and their fills."""

    def __init__(self, retention: Retention = FULL) -> None:
        self.retention = retention
        self._orders: dict[int, Order] = {}
        self._open: dict[int, Order] = {}
        self._open_ids: dict[tuple[str, str], int] = {}
        self._counts: dict[tuple[str, str], list[int]] = {}
        self._newest: dict[tuple[str, str, str], int] = {}
        self._fills: dict[int, list[Fill]] = {}
        self._untraded: deque[int] = deque()
        self._traded: deque[int] = deque()
        self._lists: dict[int, OrderList] = {}
        self._open_lists: dict[int, OrderList] = {}
        self._newest_list: dict[tuple[str, str], int] = {}
        self._amendments: dict[int, list[Amendment]] = {}
        self._preventions: deque[Prevention] = deque(maxlen=KEEP_NOTES)
        self.reserved: dict[int, int] = {}
        """Base units that a pending leg's lock holds while its working order is being filled, by list."""

    def add(self, order: Order) -> None:
        """A new order."""
        self._newest[order.account, order.symbol, order.client_order_id] = order.order_id
        self._open_ids[order.account, order.client_order_id] = order.order_id
        self._orders[order.order_id] = self._open[order.order_id] = order
        self._count(order, 1)

    def update(self, order: Order) -> None:
        """An order as it stands now."""
        before = self._orders[order.order_id]
        self._orders[order.order_id] = order
        if order.client_order_id != before.client_order_id:
            self._rename(before, order)
        self._count(before, -1)
        if order.is_open:
            self._open[order.order_id] = order
            self._count(order, 1)
            return
        del self._open[order.order_id]
        del self._open_ids[order.account, order.client_order_id]
        if order.filled:
            kept, limit = self._traded, self.retention.traded
        else:
            kept, limit = self._untraded, self.retention.untraded
        kept.append(order.order_id)
        if len(kept) > limit:
            self._forget(kept.popleft())

    def _count(self, order: Order, change: int) -> None:
        counts = self._counts.setdefault((order.account, order.symbol), [0, 0, 0])
        counts[0] += change
        if order.type in CONTINGENT and not order.is_working:
            counts[1] += change
        if order.iceberg:
            counts[2] += change

    def _rename(self, before: Order, order: Order) -> None:
        del self._open_ids[before.account, before.client_order_id]
        self._open_ids[order.account, order.client_order_id] = order.order_id
        self._newest[order.account, order.symbol, order.client_order_id] = order.order_id
        key = (before.account, before.symbol, before.client_order_id)
        if self._newest.get(key) == order.order_id:
            del self._newest[key]

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

    def counts(self, account: str, symbol: str | None) -> tuple[int, int, int]:
        """Open orders of the account (on the symbol, unless None): all, those that wait for a price, icebergs."""
        every = algo = icebergs = 0
        for (holder, name), counts in self._counts.items():
            if holder == account and symbol in {None, name}:
                every, algo, icebergs = every + counts[0], algo + counts[1], icebergs + counts[2]
        return every, algo, icebergs

    def buying(self, account: str, symbol: str) -> int:
        """Lots that the account's open BUY orders may still buy."""
        return sum(
            order.remaining for order in self.open_orders(account, symbol) if order.side is Side.BUY and order.qty
        )

    def every_open_order(self) -> list[Order]:
        """Of every account, oldest first."""
        return list(self._open.values())

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

    # -- lists ------------------------------------------------------------------------------------------------------
    def add_list(self, order_list: OrderList) -> None:
        """A new list."""
        self._lists[order_list.list_id] = self._open_lists[order_list.list_id] = order_list
        self._newest_list[order_list.account, order_list.client_order_id] = order_list.list_id

    def update_list(self, order_list: OrderList) -> None:
        """A list as it stands now."""
        self._lists[order_list.list_id] = order_list
        if order_list.is_open:
            self._open_lists[order_list.list_id] = order_list
        else:
            self._open_lists.pop(order_list.list_id, None)

    def order_list(self, list_id: int) -> OrderList:
        """KeyError when it is unknown."""
        return self._lists[list_id]

    def find_list(self, account: str, list_id: int | None, client_order_id: str | None, unknown: Rejected) -> OrderList:
        """By client id (the newest of it) or, without one, by id. Raises `unknown`."""
        if client_order_id is not None:
            list_id = self._newest_list.get((account, client_order_id))
        found = self._lists.get(list_id) if list_id is not None else None
        if found is None or found.account != account:
            raise unknown
        return found

    def lists(self, account: str) -> list[OrderList]:
        """By id."""
        return [each for each in self._lists.values() if each.account == account]

    def open_lists(self, account: str) -> list[OrderList]:
        """By id."""
        return [each for each in self._open_lists.values() if each.account == account]

    def legs(self, order_list: OrderList) -> list[Order]:
        """Its orders as they stand, in the list's order, as far as they are remembered."""
        return [self._orders[leg.order_id] for leg in order_list.legs if leg.order_id in self._orders]

    def lock_group(self, order: Order) -> tuple[int, list[Order]]:
        """Who shares one lock: (key, the open orders).

        A single order and a working leg have their own; both orders of a pair have one, because only one will trade.
        """
        listed = self._lists.get(order.list_id)
        if listed is None:
            return order.order_id, [order] if order.is_open else []
        legs = listed.legs if listed.kind == "OCO" else listed.legs[1:]
        if all(leg.order_id != order.order_id for leg in legs):
            return order.order_id, [order] if order.is_open else []
        return -order.list_id, [self._open[leg.order_id] for leg in legs if leg.order_id in self._open]

    # -- what else happened to orders -------------------------------------------------------------------------------
    def add_prevention(self, prevention: Prevention) -> None:
        """A trade that did not happen."""
        self._preventions.append(prevention)

    def preventions(self, account: str, symbol: str) -> list[Prevention]:
        """By match id."""
        return [each for each in self._preventions if each.account == account and each.symbol == symbol]

    def add_amendment(self, amendment: Amendment) -> None:
        """An order's quantity was reduced."""
        self._amendments.setdefault(amendment.order_id, []).append(amendment)

    def amendments(self, order_id: int) -> list[Amendment]:
        """Of one order, oldest first."""
        return list(self._amendments.get(order_id, ()))

    def _forget(self, order_id: int) -> None:
        order = self._orders.pop(order_id)
        self._fills.pop(order_id, None)
        self._amendments.pop(order_id, None)
        if order.list_id >= 0:
            self._forget_list(order.list_id)
        key = (order.account, order.symbol, order.client_order_id)
        if self._newest.get(key) == order_id:
            del self._newest[key]

    def _forget_list(self, list_id: int) -> None:
        """Once none of its orders is remembered."""
        listed = self._lists[list_id]
        if any(leg.order_id in self._orders for leg in listed.legs):
            return
        del self._lists[list_id]
        key = (listed.account, listed.client_order_id)
        if self._newest_list.get(key) == list_id:
            del self._newest_list[key]
