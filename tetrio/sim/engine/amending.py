"""Amend keep priority: an open order gets a smaller total quantity and keeps its place in the queue. Pure.

Both orders of a pair are amended together. What is not above the quantity already traded ends the order (EXPIRED).
Where the client order id changes, the order's list is told anew.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from tetrio.sim.engine import filters
from tetrio.sim.engine.clearing import Clearing, Happening
from tetrio.sim.engine.history import OrderHistory
from tetrio.sim.engine.listing import Listing
from tetrio.sim.engine.lists import Lists
from tetrio.sim.engine.orders import UNKNOWN_ORDER, Amended, Amendment, Order, Rejected

_OPEN_TO_AMENDS = frozenset({"TRADING", "CANCEL_ONLY"})


class Amending:
    """Reduces orders."""

    def __init__(self, history: OrderHistory, clearing: Clearing, lists: Lists) -> None:
        self._history, self._clearing, self._lists = history, clearing, lists

    def check(self, listing: Listing, order: Order, new_qty: Decimal) -> int:
        """The new quantity in lots. Rejected -2038 when it cannot be."""
        if not listing.rules.amend_allowed:
            raise Rejected(-2038, "Order amend is not supported for this symbol.")
        if listing.rules.status not in _OPEN_TO_AMENDS:
            raise Rejected(-2038, "Market is closed.")
        if not order.is_open:
            raise Rejected(-2038, UNKNOWN_ORDER)
        if not order.qty:
            raise Rejected(-2038, "Order amend (pending OPO order) is not supported.")
        if listing.filters.max_amends and order.amends >= listing.filters.max_amends:
            raise Rejected(-2038, "Filter failure: MAX_NUM_ORDER_AMENDS")
        try:
            lots = filters.lots(listing.rules, listing.filters, new_qty, at_market=order.at_market)
            if order.limit:
                filters.check_notional(listing.rules, lots * order.limit)
        except Rejected as refusal:
            raise Rejected(-2038, refusal.msg) from None
        if lots > order.qty:
            raise Rejected(-2038, "Order amend (quantity increase) is not supported.")
        if lots == order.qty:
            raise Rejected(-2038, "The requested action would change no state; rejecting")
        return lots

    def amend(self, listing: Listing, order: Order, lots: int, new_id: str, happening: Happening) -> Amended:
        """The order with `lots` in all and the client order id `new_id`; both may be."""
        partners = self._lists.partners(order)
        amended, execution_id = self._reduce(listing, order, lots, new_id, happening)
        if amended.remaining:
            for partner in partners:
                self._reduce(listing, partner, lots, partner.client_order_id, happening)
        if order.list_id >= 0 and new_id != order.client_order_id:
            self._lists.rename(amended, happening)
        if not amended.remaining:
            listing.take_off(amended)
            amended = self._clearing.close(listing, amended, "EXPIRED", "NONE", happening)
        self._clearing.position(happening, listing, order.account)
        return Amended(
            order=amended,
            orig_client_order_id=order.client_order_id,
            execution_id=execution_id,
            order_list=self._history.order_list(order.list_id) if order.list_id >= 0 else None,
            events=tuple(happening.events),
        )

    def _reduce(
        self, listing: Listing, order: Order, lots: int, new_id: str, happening: Happening
    ) -> tuple[Order, int]:
        """One order with fewer lots, but with no fewer than it has used: (as it is then, the execution's id)."""
        amended = msgspec.structs.replace(
            order,
            qty=max(lots, order.filled + order.prevented),
            client_order_id=new_id,
            amends=order.amends + 1,
            update_ms=happening.now_ms,
            iceberg=order.iceberg if order.iceberg < lots else 0,
        )
        execution_id = self._clearing.amend(listing, amended, order.client_order_id, happening)
        self._history.add_amendment(
            Amendment(
                symbol=order.symbol,
                order_id=order.order_id,
                execution_id=execution_id,
                orig_client_order_id=order.client_order_id,
                new_client_order_id=new_id,
                orig_qty=order.qty,
                new_qty=lots,
                at_ms=happening.now_ms,
            )
        )
        if order.is_working and amended.remaining:
            listing.resting[order.side].get(order.order_id).shrink(amended.remaining)
        return amended, execution_id
