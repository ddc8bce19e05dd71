"""Accepts, matches and charges: the exchange without its wires.

Pure: `now_ms` is service time (what the exchange calls now), `market_ns` the market's time; both are arguments.
Accounts and assets live in a ledger beside the symbols' listings. A market event goes in, fills of resting orders come
out; an order goes in, its taker phase against the displayed market and other clients' orders comes out, and what is
left rests. Where a method raises `Rejected`, nothing has changed (but for `cancel_replace`, which tells what has).

Money: a SELL locks its remaining quantity, a BUY its limit price times that; a MARKET order locks nothing, because it
never rests. Commission is a fraction of what is received, rounded down to 1e-8. An account does not trade with itself:
the resting order expires (Binance's EXPIRE_MAKER).

Order lists, stops, pegs, icebergs and amends are not here.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from tetrio.core.market import Side
from tetrio.core.money import SymbolRules
from tetrio.sim.clearing import Clearing, Happening
from tetrio.sim.events import AggTrade, Depth, MarketEvent, PublicTrade, Top
from tetrio.sim.filters import Terms, check
from tetrio.sim.history import OrderHistory
from tetrio.sim.ledger import Ledger
from tetrio.sim.listing import Listing
from tetrio.sim.matching import Matching, Offer
from tetrio.sim.orders import (
    INSUFFICIENT_BALANCE,
    UNKNOWN_ORDER,
    WOULD_MATCH,
    Balance,
    Canceled,
    Fill,
    Order,
    OrderRequest,
    Outcome,
    Placed,
    Rejected,
    Replaced,
    UserEvent,
)

_NOTHING = Outcome()


class Engine:
    """Accounts beside symbol books."""

    def __init__(
        self,
        listings: Sequence[SymbolRules],
        *,
        fills: str = "queue",
        maker: Decimal = Decimal(0),
        taker: Decimal = Decimal(0),
        first_order_id: int = 1,
        first_trade_id: int = 1,
    ) -> None:
        """The symbols to trade.

        fills            how resting orders fill: queue, touch or through (`sim.book`)
        maker, taker     commission as a fraction of what is received, 0 <= rate < 1
        first_trade_id   id of the market's first public trade (`Market.first_trade_id`): clients' ids share its space
        """
        if not (0 <= maker < 1 and 0 <= taker < 1):
            raise ValueError(f"commission rates {maker} and {taker} must be at least 0 and below 1")
        self.fills, self.maker, self.taker = fills, maker, taker
        self._ledger = Ledger()
        for rules in listings:
            self._ledger.list_symbol(rules)
        self._listings = {
            rules.name: Listing(
                rules, self._ledger.unit(rules.base_asset), self._ledger.unit(rules.quote_asset), first_trade_id
            )
            for rules in listings
        }
        self._history = OrderHistory()
        self._clearing = Clearing(self._ledger, self._history, maker, taker)
        self._matching = Matching(fills, self._clearing, self._history)
        self._next_order_id = first_order_id
        self._last_made_id = 0

    # --- accounts ---

    def open_account(self, account: str) -> None:
        """A new account with nothing; no-op when it exists."""
        self._ledger.open(account)

    def unit(self, asset: str) -> Decimal:
        """What one unit of `asset` is worth in it: 1e-8, or finer where a symbol needs it."""
        return self._ledger.unit(asset)

    def amount_text(self, asset: str, units: int) -> str:
        """Units as Binance prints an amount: 8 decimals or more."""
        return self._ledger.text(asset, units)

    def deposit(self, account: str, asset: str, amount: Decimal) -> int:
        """Credits any asset; returns units. ValueError when negative or finer than its unit."""
        units = self._ledger.units(asset, amount)
        self._ledger.open(account)
        self._ledger.credit(account, asset, units)
        return units

    def withdraw(self, account: str, asset: str, amount: Decimal) -> int:
        """Debits what is free; returns units. Rejected -2010 when that is not enough."""
        units = self._ledger.units(asset, amount)
        if self._ledger.free(account, asset) < units:
            raise Rejected(-2010, INSUFFICIENT_BALANCE)
        self._ledger.debit(account, asset, units)
        return units

    def balances(self, account: str) -> dict[str, Balance]:
        """Every asset that the account ever had; `sim.ledger` names the accounts of the market and of the fees."""
        return self._ledger.balances(account)

    def total(self, asset: str) -> int:
        """Units over all accounts, market and fees included: deposits less withdrawals, always."""
        return self._ledger.total(asset)

    # --- orders ---

    def place(self, account: str, request: OrderRequest, now_ms: int, market_ns: int) -> Placed:
        """Accepts an order, lets it take, and rests what is left. Rejected (with its report) when refused."""
        try:
            listing, terms = self._filtered(account, request, market_ns)
            return self._enter(account, request, listing, terms, now_ms, market_ns)
        except Rejected as refusal:
            raise self._refusal(refusal, account, request, now_ms, market_ns) from None

    def test(self, account: str, request: OrderRequest, market_ns: int) -> None:
        """order.test: parameters and filters, nothing else. Rejected as `place` would (without a report)."""
        self._filtered(account, request, market_ns)

    def cancel(
        self,
        account: str,
        symbol: str,
        now_ms: int,
        market_ns: int,
        *,
        order_id: int | None = None,
        orig_client_order_id: str | None = None,
        new_client_order_id: str = "",
        restrictions: str | None = None,
        reason: str = "cancel",
    ) -> Canceled:
        """Takes an open order off the book.

        new_client_order_id   id of the cancel itself; "" lets the engine make one
        restrictions          ONLY_NEW, ONLY_PARTIALLY_FILLED or None
        Rejected -2011 (unknown, or restrictions not met), -2039 (the two ids are of different orders), -1145, -1102.
        """
        order = self._cancellable(account, symbol, order_id, orig_client_order_id, restrictions)
        return self._cancel(order, new_client_order_id, reason, Happening(now_ms, market_ns))

    def cancel_replace(
        self,
        account: str,
        request: OrderRequest,
        now_ms: int,
        market_ns: int,
        *,
        mode: str,
        cancel_order_id: int | None = None,
        cancel_orig_client_order_id: str | None = None,
        cancel_new_client_order_id: str = "",
        restrictions: str | None = None,
    ) -> Replaced:
        """Cancels one order, then places another: not atomic.

        mode   STOP_ON_FAILURE or ALLOW_FAILURE: whether the new order is placed though the cancel failed
        Rejected (a plain error, with its report; the old order goes on) when the new order breaks a filter or a
        parameter is wrong; every other outcome is in the result.
        """
        if mode not in {"STOP_ON_FAILURE", "ALLOW_FAILURE"}:
            raise Rejected(-1130, "Data sent for parameter 'cancelReplaceMode' is not valid.")
        try:
            listing, terms = self._filtered(account, request, market_ns)
            if not listing.rules.cancel_replace_allowed:
                raise Rejected(-2010, "Order cancel-replace is not supported for this symbol.")
        except Rejected as refusal:
            raise self._refusal(refusal, account, request, now_ms, market_ns) from None
        canceled, cancel_error = None, None
        try:
            old = self._cancellable(account, request.symbol, cancel_order_id, cancel_orig_client_order_id, restrictions)
            canceled = self._cancel(
                old, cancel_new_client_order_id, "cancelReplace", Happening(now_ms, market_ns), position=False
            )
        except Rejected as refusal:
            if refusal.code not in {-2011, -2039}:
                raise
            if mode == "STOP_ON_FAILURE":
                return Replaced(cancel_result="FAILURE", new_order_result="NOT_ATTEMPTED", cancel_error=refusal)
            cancel_error = refusal
        return self._replace(account, request, listing, terms, now_ms, market_ns, canceled, cancel_error)

    def cancel_all(self, account: str, symbol: str, now_ms: int, market_ns: int) -> list[Canceled]:
        """Every open order of the account on the symbol, oldest first. Rejected -2011 when there is none."""
        self._listing(symbol)
        orders = self.open_orders(account, symbol)
        if not orders:
            raise Rejected(-2011, UNKNOWN_ORDER)
        return [self._cancel(order, "", "cancelAll", Happening(now_ms, market_ns)) for order in orders]

    def expire_all(self, now_ms: int, market_ns: int, reason: str) -> tuple[UserEvent, ...]:
        """The exchange itself takes every open order of every account off the book, oldest first."""
        events: list[UserEvent] = []
        for order in self._history.every_open_order():
            listing, happening = self._listings[order.symbol], Happening(now_ms, market_ns)
            listing.resting[order.side].remove(order.order_id)
            self._clearing.close(listing, order, "EXPIRED", reason, happening)
            self._clearing.position(happening, listing, order.account)
            events += happening.events
        return tuple(events)

    # --- the market ---

    def on_event(self, symbol: str, event: MarketEvent, now_ms: int, market_ns: int) -> Outcome:
        """Any event of a tape: renews the displayed market and fills resting orders."""
        if isinstance(event, Top):
            return self.on_top(symbol, event, now_ms, market_ns)
        if isinstance(event, PublicTrade):
            return self.on_trade(symbol, event, now_ms, market_ns)
        if isinstance(event, Depth):
            return self.on_depth(symbol, event, now_ms, market_ns)
        return self.on_agg_trade(symbol, event, now_ms, market_ns)

    def on_top(self, symbol: str, top: Top, now_ms: int, market_ns: int) -> Outcome:
        """New best prices."""
        listing = self._listings[symbol]
        listing.displayed.on_top(top)
        outcome = _NOTHING
        for resting in listing.resting.values():
            if resting.orders:
                resting.see_top(listing.displayed)
                outcome = self._matching.crossed(listing, resting.side, outcome, now_ms, market_ns)
        return outcome

    def on_depth(self, symbol: str, depth: Depth, now_ms: int, market_ns: int) -> Outcome:
        """A depth difference."""
        listing = self._listings[symbol]
        listing.displayed.on_depth(depth)
        outcome = _NOTHING
        for side, changes in ((Side.BUY, depth.bids), (Side.SELL, depth.asks)):
            resting = listing.resting[side]
            if resting.orders:
                resting.see_depth(listing.displayed, changes)
                outcome = self._matching.crossed(listing, side, outcome, now_ms, market_ns)
        return outcome

    def on_trade(self, symbol: str, trade: PublicTrade, now_ms: int, market_ns: int) -> Outcome:
        """A public trade; the outcome's trade id is the one to publish it with."""
        listing = self._listings[symbol]
        trade_id = listing.publish(trade.trade_id)
        return self._matching.traded(listing, trade, trade_id, now_ms, market_ns)

    def on_agg_trade(self, symbol: str, trade: AggTrade, now_ms: int, market_ns: int) -> Outcome:
        """A recorded aggregate trade; the outcome's trade id is that of its last trade as published (its first one is
        shifted by as much). It fills orders only where it stands for the public trades (`drives`)."""
        listing = self._listings[symbol]
        if not trade.drives:
            return Outcome(trade_id=listing.shifted(trade.last_id))
        return self._matching.traded(listing, trade, listing.publish(trade.last_id), now_ms, market_ns)

    # --- queries ---

    def rules(self, symbol: str) -> SymbolRules:
        """Rejected -1121 for an unknown symbol."""
        return self._listing(symbol).rules

    def order(
        self, account: str, symbol: str, *, order_id: int | None = None, client_order_id: str | None = None
    ) -> Order:
        """One order; by client order id the newest of that id.

        Rejected -2013 (there is none), -2039 (the ids are of two orders), -1102 (no id).
        """
        self._listing(symbol)
        return self._history.find(account, symbol, order_id, client_order_id, Rejected(-2013, "Order does not exist."))

    def open_orders(self, account: str, symbol: str | None = None) -> list[Order]:
        """Oldest first."""
        return self._history.open_orders(account, symbol)

    def orders(self, account: str, symbol: str) -> list[Order]:
        """All that are remembered, by order id: open, filled, and the last closed ones."""
        return self._history.orders(account, symbol)

    def trades(self, account: str, symbol: str, order_id: int | None = None) -> list[Fill]:
        """By trade id."""
        return self._history.fills(account, symbol, order_id)

    def top(self, symbol: str) -> Top | None:
        """The displayed best prices (clients' orders are not shown); None before the first."""
        return self._listing(symbol).displayed.top

    def last_trade(self, symbol: str) -> tuple[int, int] | None:
        """(price in ticks, market time in ms) of the last trade, the public's or a client's."""
        listing = self._listing(symbol)
        return None if listing.average.last is None else (listing.average.last, listing.last_trade_ms)

    def average_price(self, symbol: str, market_ns: int) -> Decimal | None:
        """Volume-weighted over five minutes, quote units; without a trade in them the last trade's price; before any
        trade the middle of the best prices; None when there are none."""
        return self._listing(symbol).average_price(market_ns)

    # --- placing ---

    def _filtered(self, account: str, request: OrderRequest, market_ns: int) -> tuple[Listing, Terms]:
        """Everything that is checked before a cancel-replace cancels."""
        listing = self._listing(request.symbol)
        terms = check(listing.rules, request, listing.average_price(market_ns))
        limit = listing.rules.max_num_orders
        if limit and self._history.count_open(account, request.symbol) >= limit:
            raise Rejected(-2010, "Filter failure: MAX_NUM_ORDERS")
        return listing, terms

    def _enter(
        self, account: str, request: OrderRequest, listing: Listing, terms: Terms, now_ms: int, market_ns: int
    ) -> Placed:
        """The engine's own checks, then the taker phase, then rest or expire."""
        client_order_id = request.client_order_id or self._made_id(account)
        if self._history.is_open(account, client_order_id):
            raise Rejected(-2010, "Duplicate order sent.")
        side, limit = request.side, terms.price or None
        qty = self._lots(account, listing, side, terms)
        if request.type == "LIMIT_MAKER" and self._matching.would_match(listing, side, terms.price):
            raise Rejected(-2010, WOULD_MATCH)
        offered = self._matching.offered(account, listing, side, limit, qty)
        self._check_funds(account, listing, side, limit, qty, offered)
        order = Order(
            account=account,
            symbol=request.symbol,
            order_id=self._next_order_id,
            client_order_id=client_order_id,
            side=side,
            type=request.type,
            time_in_force=request.time_in_force if request.type == "LIMIT" else "GTC",
            price=terms.price,
            qty=qty,
            quote_order_qty=request.quote_order_qty,
            time_ms=now_ms,
            update_ms=now_ms,
            working_ms=now_ms,
        )
        self._next_order_id += 1
        happening = Happening(now_ms, market_ns)
        self._clearing.accept(listing, order, happening)
        if order.time_in_force != "FOK" or sum(lots for _, lots, _ in offered) == qty:
            order = self._matching.take(listing, order, offered, happening)
        order = self._settle_rest(listing, order, happening)
        self._clearing.position(happening, listing, account)
        return Placed(
            order=order,
            fills=tuple(happening.fills),
            preventions=tuple(happening.preventions),
            events=tuple(happening.events),
            prints=tuple(happening.prints),
        )

    def _lots(self, account: str, listing: Listing, side: Side, terms: Terms) -> int:
        if terms.qty is not None:
            return terms.qty
        assert terms.quote_tick_lots is not None, "the filters let nothing else through"
        return self._matching.lots_for_quote(account, listing, side, terms.quote_tick_lots)

    def _check_funds(
        self, account: str, listing: Listing, side: Side, limit: int | None, qty: int, offered: list[Offer]
    ) -> None:
        """A limit order must be able to lock all of it; a MARKET buy to pay what the book gives it."""
        if side is Side.SELL:
            asset, needed = listing.rules.base_asset, qty * listing.lot_units
        else:
            tick_lots = limit * qty if limit else sum(price * lots for price, lots, _ in offered)
            asset, needed = listing.rules.quote_asset, tick_lots * listing.tick_lot_units
        if self._ledger.free(account, asset) < needed:
            raise Rejected(-2010, INSUFFICIENT_BALANCE)

    def _settle_rest(self, listing: Listing, order: Order, happening: Happening) -> Order:
        """After the taker phase: rest on the book, or expire."""
        if not order.remaining:
            return order
        if order.type == "MARKET":
            return self._clearing.close(listing, order, "EXPIRED", "INSUFFICIENT_LIQUIDITY", happening)
        if order.time_in_force != "GTC":
            return self._clearing.close(
                listing, order, "EXPIRED", f"UNFILLED_{_REASON[order.time_in_force]}_EXPIRED", happening
            )
        self._matching.rest(listing, order)
        return order

    # --- cancelling ---

    def _cancellable(
        self, account: str, symbol: str, order_id: int | None, client_order_id: str | None, restrictions: str | None
    ) -> Order:
        self._listing(symbol)
        if restrictions not in {None, "ONLY_NEW", "ONLY_PARTIALLY_FILLED"}:
            raise Rejected(-1145, "`cancelRestrictions` has to be either `ONLY_NEW` or `ONLY_PARTIALLY_FILLED`.")
        unknown = Rejected(-2011, UNKNOWN_ORDER)
        order = self._history.find(account, symbol, order_id, client_order_id, unknown)
        if not order.is_open:
            raise unknown
        if restrictions is not None and restrictions != f"ONLY_{order.status}":
            raise Rejected(-2011, "Order was not canceled due to cancel restrictions.")
        return order

    def _cancel(
        self, order: Order, cancel_id: str, reason: str, happening: Happening, *, position: bool = True
    ) -> Canceled:
        listing = self._listings[order.symbol]
        listing.resting[order.side].remove(order.order_id)
        cancel_id = cancel_id or self._made_id(order.account)
        order = self._clearing.close(listing, order, "CANCELED", reason, happening, cancel_id)
        if position:
            self._clearing.position(happening, listing, order.account)
        return Canceled(order=order, cancel_client_order_id=cancel_id, events=tuple(happening.events))

    def _replace(
        self,
        account: str,
        request: OrderRequest,
        listing: Listing,
        terms: Terms,
        now_ms: int,
        market_ns: int,
        canceled: Canceled | None,
        cancel_error: Rejected | None,
    ) -> Replaced:
        """The second leg, and the tale of both."""
        before = canceled.events if canceled else ()
        cancel_result = "SUCCESS" if canceled else "FAILURE"
        try:
            placed = self._enter(account, request, listing, terms, now_ms, market_ns)
        except Rejected as refusal:
            error = self._refusal(refusal, account, request, now_ms, market_ns)
            after = Happening(now_ms, market_ns)
            after.events += [*before, *([error.report] if error.report else [])]
            if canceled:
                self._clearing.position(after, listing, account)
            return Replaced(
                cancel_result=cancel_result,
                new_order_result="FAILURE",
                canceled=canceled,
                cancel_error=cancel_error,
                place_error=error,
                events=tuple(after.events),
            )
        return Replaced(
            cancel_result=cancel_result,
            new_order_result="SUCCESS",
            canceled=canceled,
            cancel_error=cancel_error,
            placed=placed,
            events=(*before, *placed.events),
            prints=placed.prints,
        )

    # --- small change ---

    def _refusal(self, refusal: Rejected, account: str, request: OrderRequest, now_ms: int, market_ns: int) -> Rejected:
        """The refusal with its report."""
        listing = self._listings.get(request.symbol)
        return self._clearing.refusal(refusal, listing, account, request, now_ms, market_ns)

    def _listing(self, symbol: str) -> Listing:
        listing = self._listings.get(symbol)
        if listing is None:
            raise Rejected(-1121, "Invalid symbol.")
        return listing

    def _made_id(self, account: str) -> str:
        """A client order id for one who sent none; clear of the account's open orders."""
        while True:
            self._last_made_id += 1
            made = f"auto-{self._last_made_id}"
            if not self._history.is_open(account, made):
                return made


_REASON = {"IOC": "IOC_QUANTITY", "FOK": "FOK_ORDER"}
