"""Order lists: what the fate of one order means for the others of its list. Pure.

OCO      two orders of one side, of which one trades: the first fill of one ends the other.
OTO      a working order, and a pending one that is placed once the working order is wholly filled.
OTOCO    the same with an OCO pair pending.
OPO, OPOCO   OTO and OTOCO whose pending sell is what the working buy received, after commission.

A pair shares one lock (`history.lock_group`). Whose working order is filled is `ready`: the engine places the pending
legs when the match that did it is over. Money moves in `engine.clearing`, which calls here; nothing is matched here.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import attrs

from tetrio.core.market import Side
from tetrio.sim.engine.clearing import Clearing, Happening
from tetrio.sim.engine.history import OrderHistory
from tetrio.sim.engine.ledger import Ledger
from tetrio.sim.engine.listing import Listing
from tetrio.sim.engine.orders import (
    BAD_OCO_PRICES,
    STOPS,
    TAKES,
    Leg,
    ListRequest,
    Order,
    OrderList,
    OrderRequest,
    Rejected,
)

OCO_TRIGGER = "OCO_TRIGGER"
PHASE_ONE_EXPIRED = "OTO_PHASE_ONE_EXPIRED"
PAIRED = frozenset({"OCO", "OTOCO", "OPOCO"})
"""Kinds with a pair of which one order trades."""
PAYING = frozenset({"OPO", "OPOCO"})
"""Kinds whose pending orders sell what the working order has bought."""
_LEGS = {"OCO": 2, "OTO": 2, "OPO": 2, "OTOCO": 3, "OPOCO": 3}


def arranged(request: ListRequest) -> tuple[OrderRequest, ...]:
    """The legs as they are placed: the working one first, of a pair the stop leg before the limit leg. Rejected when
    they do not make such a list.
    """
    legs = request.legs
    if _LEGS.get(request.kind) != len(legs):
        raise Rejected(-1014, "Unsupported order combination.")
    if request.kind != "OCO":
        _check_working(request, legs)
    if request.kind not in PAIRED:
        return legs
    *working, above, below = legs
    return (*working, *_stop_first(above, below))


def _check_working(request: ListRequest, legs: tuple[OrderRequest, ...]) -> None:
    working, *pending = legs
    if working.type not in {"LIMIT", "LIMIT_MAKER"} or any(leg.quote_order_qty is not None for leg in pending):
        raise Rejected(-1014, "Unsupported order combination.")
    if request.kind in PAYING:
        if working.side is not Side.BUY:
            raise Rejected(-1222, "Working order in an OPO list must be a bid.")
        if any(leg.side is not Side.SELL for leg in pending):
            raise Rejected(-1223, "Pending orders in an OPO list must be asks.")


def _stop_first(above: OrderRequest, below: OrderRequest) -> tuple[OrderRequest, OrderRequest]:
    """A pair, if it is one: the stop leg stands above the market to buy, below it to sell."""
    types = {above.type, below.type}
    if types - STOPS - TAKES - {"LIMIT_MAKER"} or above.side is not below.side:
        raise Rejected(-1158, "Order type not supported in OCO.")
    if types == {"LIMIT_MAKER"}:
        raise Rejected(-1168, "At least one OCO order must be contingent.")
    buying = above.side is Side.BUY
    stop, limit = (above, below) if buying else (below, above)
    if stop.type == "LIMIT_MAKER":
        raise _misplaced(-1165, -1166, "limit", buying=buying, above=not buying)
    if stop.type in TAKES:
        raise _misplaced(-1198, -1199, "take profit", buying=buying, above=not buying)
    if limit.type in STOPS:
        raise _misplaced(-1196, -1197, "stop loss", buying=buying, above=buying)
    return stop, limit


def _misplaced(buy_code: int, sell_code: int, what: str, *, buying: bool, above: bool) -> Rejected:
    code, side = (buy_code, "buy") if buying else (sell_code, "sell")
    return Rejected(code, f"A {what} order in a {side} OCO must be {'above' if above else 'below'}.")


def check_prices(stop: Order, limit: Order, last: int | None) -> None:
    """The pair must stand around the market: limit above and stop below it to sell, the reverse to buy. Rejected -2010.

    last   price of the last trade, ticks; None: they are measured against each other
    """
    sign = 1 if stop.side is Side.SELL else -1
    above = limit.price if limit.type != "TAKE_PROFIT" else limit.stop_price
    prices = [price * sign for price in (above, last or 0, stop.stop_price) if price]
    if any(upper <= lower for upper, lower in pairwise(prices)):
        raise Rejected(-2010, BAD_OCO_PRICES)


class Lists:
    """The order lists of all accounts; `Clearing` tells of every fill and every end."""

    def __init__(self, clearing: Clearing, history: OrderHistory, ledger: Ledger) -> None:
        self._clearing, self._history, self._ledger = clearing, history, ledger
        self._ready: list[int] = []
        self._ending: set[int] = set()
        clearing.on_fill, clearing.on_end = self._filled, self._ended

    def next_ready(self) -> OrderList | None:
        """A list whose pending legs are to be placed now; None when there is none."""
        while self._ready:
            found = self._history.order_list(self._ready.pop(0))
            if found.is_open:
                return found
        return None

    def pending(self, order_list: OrderList) -> list[Order]:
        """Its legs that were not placed yet."""
        return [leg for leg in self._history.legs(order_list) if leg.status == "PENDING_NEW"]

    def received(self, listing: Listing, order_list: OrderList) -> int:
        """Lots that the working order of an OPO list has brought, rounded down; the rest is free from now on."""
        units = self._history.reserved.pop(order_list.list_id, 0)
        return units // listing.lot_units

    def leave(self, listing: Listing, order: Order, happening: Happening) -> None:
        """An order of a pair trades or is triggered: the other one goes."""
        for other in self.partners(order):
            self._expire(listing, other, OCO_TRIGGER, happening)

    def end(
        self,
        listing: Listing,
        order_list: OrderList,
        status: str,
        reason: str,
        happening: Happening,
        cancel_id: str = "",
    ) -> list[Order]:
        """Ends a list and all its open orders, CANCELED or EXPIRED; these, as they ended."""
        self._ending.add(order_list.list_id)
        ended = []
        for order in self._history.legs(order_list):
            if order.is_open:
                listing.take_off(order)
                ended.append(self._clearing.close(listing, order, status, reason, happening, cancel_id))
        self._ending.discard(order_list.list_id)
        self._done(order_list.list_id, listing, happening)
        return ended

    def rename(self, order: Order, happening: Happening) -> None:
        """An order of a list has another client order id."""
        order_list = self._history.order_list(order.list_id)
        legs = tuple(
            Leg(leg.order_id, order.client_order_id if leg.order_id == order.order_id else leg.client_order_id)
            for leg in order_list.legs
        )
        changed = _changed(order_list, happening, legs=legs, status_type="UPDATED")
        self._clearing.tell_list(changed, happening)

    def partners(self, order: Order) -> list[Order]:
        """The other open order of the pair that `order` belongs to; none where it belongs to none."""
        _, group = self._history.lock_group(order)
        return [other for other in group if other.order_id != order.order_id]

    # -- what Clearing tells ----------------------------------------------------------------------------------------
    def _filled(self, listing: Listing, order: Order, happening: Happening) -> None:
        if order.list_id < 0:
            return
        listed = self._history.order_list(order.list_id)
        if self._is_working_leg(listed, order):
            if listed.kind in PAYING:
                self._reserve(listing, listed, order)
            if order.status == "FILLED":
                self._ready.append(listed.list_id)
            return
        self.leave(listing, order, happening)
        if order.status == "FILLED":
            self._done(listed.list_id, listing, happening)

    def _ended(self, listing: Listing, order: Order, happening: Happening) -> None:
        if order.list_id < 0 or order.list_id in self._ending:
            return
        listed = self._history.order_list(order.list_id)
        working = self._is_working_leg(listed, order)
        for other in self._history.legs(listed):
            if other.is_open:
                self._expire(listing, other, PHASE_ONE_EXPIRED if working else OCO_TRIGGER, happening)
        self._done(listed.list_id, listing, happening)

    def _expire(self, listing: Listing, order: Order, reason: str, happening: Happening) -> None:
        """An order goes because another one of its list does something."""
        self._ending.add(order.list_id)
        listing.take_off(order)
        self._clearing.close(listing, order, "EXPIRED", reason, happening)
        self._ending.discard(order.list_id)

    def _reserve(self, listing: Listing, order_list: OrderList, working: Order) -> None:
        """What a fill has brought waits for the pending legs; the commission is paid from what else is free, if that is
        enough and the asset is not the one that discounts it."""
        fill = self._history.fills(working.account, working.symbol, working.order_id)[-1]
        asset, units = listing.rules.base_asset, fill.qty * listing.lot_units
        free = 0 if asset == self._clearing.rates.discount.asset else self._ledger.free(working.account, asset)
        if fill.commission_asset == asset and free < units:
            units -= fill.commission
        reserved = self._history.reserved
        reserved[order_list.list_id] = reserved.get(order_list.list_id, 0) + units
        self._clearing.relock(listing, self.pending(order_list)[0])

    def _done(self, list_id: int, listing: Listing, happening: Happening) -> None:
        listed = self._history.order_list(list_id)
        self._history.reserved.pop(list_id, None)
        if listed.is_open:
            done = _changed(listed, happening, status="ALL_DONE", status_type="ALL_DONE")
            self._clearing.tell_list(done, happening)

    @staticmethod
    def _is_working_leg(order_list: OrderList, order: Order) -> bool:
        return order_list.kind != "OCO" and order_list.legs[0].order_id == order.order_id


def _changed(order_list: OrderList, happening: Happening, **changes: Any) -> OrderList:
    return attrs.evolve(order_list, time_ms=happening.now_ms, **changes)
