"""How an order comes to work: accepted, waiting for a price, triggered, or placed because another one was filled.

Three ways lead to the book, and each ends in the same taker phase: a new order, a contingent one whose price was
reached, a pending leg whose working order was filled. What is checked on the way is refused to a client who still
waits for the answer (`Rejected`), and ends an order that was accepted long ago (EXPIRED, reason REJECTED).

`follow_up` must be called whenever something has traded: trades trigger orders, which trade, which trigger others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import msgspec

from tetrio.core.market import Side
from tetrio.sim.engine import filters
from tetrio.sim.engine.clearing import Clearing, Happening
from tetrio.sim.engine.contingent import waits_above
from tetrio.sim.engine.filters import Terms
from tetrio.sim.engine.history import OrderHistory
from tetrio.sim.engine.ledger import Ledger
from tetrio.sim.engine.listing import Listing
from tetrio.sim.engine.lists import PAIRED, PAYING, Lists, check_prices
from tetrio.sim.engine.matching import PREVENTED, Matching, Offered
from tetrio.sim.engine.orders import (
    CONTINGENT,
    INSUFFICIENT_BALANCE,
    WOULD_MATCH,
    WOULD_TRIGGER,
    Order,
    OrderList,
    OrderRequest,
    Rejected,
)

_UNFILLED = {"IOC": "UNFILLED_IOC_QUANTITY_EXPIRED", "FOK": "UNFILLED_FOK_ORDER_EXPIRED"}


@attrs.frozen
class _Ready:
    """An order that may enter the book, and what it will meet there; nothing has changed yet."""

    order: Order
    offered: Offered


class Entry:
    """The ways to the book."""

    def __init__(
        self, ledger: Ledger, history: OrderHistory, clearing: Clearing, matching: Matching, lists: Lists
    ) -> None:
        self._ledger, self._history, self._clearing = ledger, history, clearing
        self._matching, self._lists = matching, lists

    def drafted(
        self,
        account: str,
        listing: Listing,
        request: OrderRequest,
        terms: Terms,
        order_id: int,
        client_order_id: str,
        now_ms: int,
        **more: Any,
    ) -> Order:
        """The order that a request asks for, not accepted yet. Rejected when quoteOrderQty buys nothing."""
        stp_mode = request.stp_mode or listing.filters.default_stp_mode
        qty = terms.qty or 0
        if terms.quote_tick_lots is not None:
            spared = account if stp_mode != "NONE" else ""
            qty = self._matching.lots_for_quote(spared, listing, request.side, terms.quote_tick_lots)
        timed = request.type in {"LIMIT", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"}
        order = Order(
            account=account,
            symbol=request.symbol,
            order_id=order_id,
            client_order_id=client_order_id,
            side=request.side,
            type=request.type,
            time_in_force=request.time_in_force if timed else "GTC",
            price=terms.price,
            qty=qty,
            quote_order_qty=request.quote_order_qty,
            time_ms=now_ms,
            update_ms=now_ms,
            stop_price=terms.stop,
            trailing_delta=request.trailing_delta or 0,
            iceberg=terms.iceberg,
            stp_mode=stp_mode,
            strategy_id=request.strategy_id,
            strategy_type=request.strategy_type,
            peg=request.peg,
            sor=request.sor,
            lock_price=terms.price or terms.stop or (listing.last or 0),
        )
        return msgspec.structs.replace(order, **more) if more else order

    # -- new orders -------------------------------------------------------------------------------------------------
    def admit(self, listing: Listing, order: Order, happening: Happening) -> Order:
        """Accepts a new order and lets it work, or wait. Rejected, and nothing has changed."""
        self._check_trigger(listing, order)
        if order.type in CONTINGENT:
            self._check_lock(listing, [order])
            return self._wait(listing, order, happening)
        ready = self._ready(listing, order, happening)
        self._clearing.accept(listing, ready.order, happening)
        return self._work(listing, ready, happening)

    def admit_list(
        self, listing: Listing, order_list: OrderList, legs: Sequence[Order], happening: Happening
    ) -> list[Order]:
        """Accepts a new list; its legs as they are told to who placed it. Rejected, and nothing has changed."""
        at_once = legs if order_list.kind == "OCO" else legs[:1]
        if order_list.kind in PAIRED:
            stop, limit = legs[-2:]
            check_prices(stop, limit, listing.last if order_list.kind == "OCO" else None)
        for leg in at_once:
            self._check_trigger(listing, leg)
        placed = at_once[-1]
        ready = None if placed.type in CONTINGENT else self._ready(listing, placed, happening)
        self._check_lock(listing, [*at_once[:-1], ready.order if ready else placed])
        self._history.add_list(order_list)
        self._clearing.tell_list(order_list, happening)
        told = []
        for leg in legs:
            if leg.type in CONTINGENT and leg.status == "NEW":
                told.append(self._wait(listing, leg, happening))
            else:
                entering = ready.order if ready is not None and leg is placed else leg
                self._clearing.accept(listing, entering, happening)
                told.append(entering)
        if ready is not None:
            told[legs.index(placed)] = self._work(listing, ready, happening)
        return told

    def _wait(self, listing: Listing, order: Order, happening: Happening) -> Order:
        tracks = listing.waiting.add(order, listing.last)
        if tracks:
            order = msgspec.structs.replace(order, trailing_ms=happening.now_ms)
        self._clearing.accept(listing, order, happening)
        return order

    def _check_trigger(self, listing: Listing, order: Order) -> None:
        """A stop price, where there is one, must lie ahead of the market."""
        if order.stop_price and listing.last is not None:
            above = waits_above(order.type, order.side)
            if order.stop_price <= listing.last if above else order.stop_price >= listing.last:
                raise Rejected(-2010, WOULD_TRIGGER)

    def _check_lock(self, listing: Listing, orders: Sequence[Order]) -> None:
        """The account must be able to lock what orders with one lock need."""
        asset = self._clearing.asset(listing, orders[0].side)
        if self._ledger.free(orders[0].account, asset) < self._clearing.need(listing, orders):
            raise Rejected(-2010, INSUFFICIENT_BALANCE)

    # -- into the book ----------------------------------------------------------------------------------------------
    def _ready(self, listing: Listing, order: Order, happening: Happening) -> _Ready:
        """An order as it would enter the book now. Rejected -2010."""
        order = self._priced(listing, order, happening)
        if order.type == "LIMIT_MAKER" and self._matching.would_match(listing, order.side, order.limit):
            raise Rejected(-2010, WOULD_MATCH)
        offered = self._matching.offered(listing, order)
        if order.at_market and order.side is Side.BUY:
            order = msgspec.structs.replace(order, budget=offered.tick_lots * listing.tick_lot_units)
        if self._clearing.spendable(listing, order) < self._clearing.need(listing, [order]):
            raise Rejected(-2010, INSUFFICIENT_BALANCE)
        return _Ready(order, offered)

    def _priced(self, listing: Listing, order: Order, happening: Happening) -> Order:
        """With the price that it works at, and the time from which it does."""
        if order.peg is not None:
            pegged = _pegged(listing, order)
            average = listing.measure(happening.market_ns)
            filters.check_price(listing.rules, order.side, pegged, order.qty, average)
            order = msgspec.structs.replace(order, pegged_price=pegged)
        return msgspec.structs.replace(
            order,
            status="NEW",
            working_ms=happening.now_ms,
            update_ms=happening.now_ms,
            lock_price=order.limit,
        )

    def _work(self, listing: Listing, ready: _Ready, happening: Happening) -> Order:
        """The taker phase of an order that was accepted, and what is left of it then."""
        order, offered = ready.order, ready.offered
        if order.time_in_force != "FOK" or offered.lots == order.remaining:
            order = self._matching.take(listing, order, offered, happening)
        if not order.is_open:
            return order
        reason = _UNFILLED.get(order.time_in_force, "")
        if offered.ends_by and offered.ends_by != PREVENTED:
            reason = offered.ends_by
        elif order.at_market:
            reason = "INSUFFICIENT_LIQUIDITY"
        if reason:
            return self._clearing.close(listing, order, "EXPIRED", reason, happening)
        self._matching.rest(listing, order)
        return order

    # -- what trades bring about ------------------------------------------------------------------------------------
    def follow_up(self, listing: Listing, happening: Happening) -> None:
        """Triggers what the last trades have reached, and places what waited for a working order."""
        while True:
            for order_id in listing.waiting.began():
                order = self._history.get(order_id)
                self._history.update(msgspec.structs.replace(order, trailing_ms=happening.now_ms))
            if (due := listing.waiting.next_due()) is not None:
                self._trigger(listing, self._history.get(due), happening)
            elif (order_list := self._lists.next_ready()) is not None:
                self._place_pending(listing, order_list, happening)
            else:
                return

    def _trigger(self, listing: Listing, order: Order, happening: Happening) -> None:
        self._lists.leave(listing, order, happening)
        self._enter_late(listing, order, happening)
        self._clearing.position(happening, listing, order.account)

    def _enter_late(self, listing: Listing, order: Order, happening: Happening) -> None:
        """An order that was accepted before works from now on, or ends."""
        try:
            ready = self._ready(listing, order, happening)
        except Rejected:
            self._clearing.close(listing, order, "EXPIRED", "REJECTED", happening)
            return
        self._clearing.activate(listing, ready.order, happening)
        self._work(listing, ready, happening)

    def _place_pending(self, listing: Listing, order_list: OrderList, happening: Happening) -> None:
        """The working order is filled: its pending legs are placed, or end the list."""
        legs = self._lists.pending(order_list)
        if order_list.kind in PAYING:
            lots = self._lists.received(listing, order_list)
            legs = [msgspec.structs.replace(leg, qty=lots) for leg in legs]
            for leg in legs:
                self._clearing.update(listing, leg)
        for leg in legs:
            if not self._history.get(leg.order_id).is_open:
                break  # the one before could not be placed, and has ended the list
            self._place_leg(listing, order_list, leg, happening)
        self._clearing.position(happening, listing, order_list.account)

    def _place_leg(self, listing: Listing, order_list: OrderList, leg: Order, happening: Happening) -> None:
        try:
            if order_list.kind in PAYING:
                filters.check_later(listing.rules, listing.filters, leg, listing.measure(happening.market_ns))
            if leg.type not in CONTINGENT:
                self._enter_late(listing, leg, happening)
                return
            self._check_trigger(listing, leg)
            waiting = msgspec.structs.replace(leg, status="NEW", update_ms=happening.now_ms)
            if self._clearing.spendable(listing, leg) < self._clearing.need(listing, [waiting]):
                raise Rejected(-2010, INSUFFICIENT_BALANCE)
        except Rejected:
            self._clearing.close(listing, leg, "EXPIRED", "REJECTED", happening)
            return
        if listing.waiting.add(waiting, listing.last):
            waiting = msgspec.structs.replace(waiting, trailing_ms=happening.now_ms)
        self._clearing.activate(listing, waiting, happening)


def _pegged(listing: Listing, order: Order) -> int:
    """The level that a peg takes its price from. Rejected when the book has none."""
    peg = order.peg
    assert peg is not None, "asked of a pegged order"
    side = order.side if peg.price_type == "PRIMARY_PEG" else order.side.other
    price = listing.level(side, peg.offset_value or 0)
    if price is None:
        raise Rejected(-2010, "Order book liquidity is too low for this pegged order.")
    return price
