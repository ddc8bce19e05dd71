"""Accepts, matches and charges: the exchange without its wires.

Pure: `now_ms` is service time (what the exchange calls now), `market_ns` the market's time; both are arguments.
Accounts and assets live in a ledger beside the symbols' listings. A market event goes in, fills of resting orders come
out; an order goes in, its taker phase against the displayed market and other clients' orders comes out, and what is
left rests. Where a method raises `Rejected`, nothing has changed (but for `cancel_replace`, which tells what has).

Money: a SELL locks its remaining quantity, a BUY its limit price times that (a stop at market: its stop price; one that
takes at market: what it is about to pay), a pair the larger of the two. Commission is a fraction of what is received,
rounded down to 1e-8, or its worth in the discount asset.

How orders come to the book is `entry`, whom they meet there `matching`, what that does to money `clearing`, to
their lists `lists`; `amending` makes them smaller.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import attrs

from tetrio.core.market import Side
from tetrio.core.money import SymbolRules
from tetrio.sim.engine import filters as checks
from tetrio.sim.engine.amending import Amending
from tetrio.sim.engine.clearing import Clearing, Happening, Rate, Rates
from tetrio.sim.engine.entry import Entry
from tetrio.sim.engine.filters import Terms
from tetrio.sim.engine.history import OrderHistory
from tetrio.sim.engine.ledger import Ledger
from tetrio.sim.engine.listing import Listing
from tetrio.sim.engine.lists import PAIRED, PAYING, Lists, arranged
from tetrio.sim.engine.matching import Matching
from tetrio.sim.engine.orders import (
    INSUFFICIENT_BALANCE,
    UNKNOWN_ORDER,
    Amended,
    Amendment,
    Balance,
    Canceled,
    CanceledList,
    ExternalLock,
    Fill,
    Leg,
    ListRequest,
    Order,
    OrderList,
    OrderRequest,
    Outcome,
    Placed,
    PlacedList,
    Prevention,
    Rejected,
    Replaced,
    Transfer,
    UserEvent,
)
from tetrio.sim.market.events import AggTrade, Depth, MarketEvent, PublicTrade, Top
from tetrio.sim.retention import FULL, Retention
from tetrio.wire.rules import Filters

_NOTHING = Outcome()
_NO_FILTERS: Mapping[str, Filters] = {}
STATUSES = ("TRADING", "END_OF_DAY", "HALT", "BREAK", "CANCEL_ONLY")


class Engine:
    """Accounts beside symbol books."""

    def __init__(
        self,
        listings: Sequence[SymbolRules],
        *,
        filters: Mapping[str, Filters] = _NO_FILTERS,
        fills: str = "queue",
        maker: Decimal = Decimal(0),
        taker: Decimal = Decimal(0),
        rates: Rates | None = None,
        first_order_id: int = 1,
        first_trade_id: int = 1,
        made_ids: Iterator[str] | None = None,
        retention: Retention = FULL,
    ) -> None:
        """The symbols to trade.

        filters          by symbol, where they are not the usual ones
        fills            how resting orders fill: queue, touch or through (`engine.book`)
        maker, taker     commission as a fraction of what is received, 0 <= rate < 1
        rates            all of it, instead of those two
        first_trade_id   id of the market's first public trade (`Market.first_trade_id`): clients' ids share its space
        made_ids         client order ids for those who send none, without end; "made-1", "made-2", ... unless given
        retention        how many orders that have ended are remembered
        """
        self.rates = rates or Rates(standard=Rate(maker=maker, taker=taker))
        self.fills = fills
        self._ledger = Ledger()
        for rules in listings:
            self._ledger.list_symbol(rules)
        self._listings = {
            rules.name: Listing(
                rules,
                filters.get(rules.name, Filters()),
                self._ledger.unit(rules.base_asset),
                self._ledger.unit(rules.quote_asset),
                first_trade_id,
            )
            for rules in listings
        }
        self._history = OrderHistory(retention)
        self._clearing = Clearing(self._ledger, self._history, self.rates)
        self._matching = Matching(fills, self._clearing, self._history)
        self._lists = Lists(self._clearing, self._history, self._ledger)
        self._amending = Amending(self._history, self._clearing, self._lists)
        self._entry = Entry(self._ledger, self._history, self._clearing, self._matching, self._lists)
        self._next_order_id = first_order_id
        self._next_list_id = 1
        self._made_ids = made_ids or (f"made-{number}" for number in itertools.count(1))

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

    def transfer(self, account: str, asset: str, amount: Decimal, now_ms: int, market_ns: int) -> tuple[UserEvent, ...]:
        """A deposit or, negative, a withdrawal, with what the client is told. As `deposit` and `withdraw`."""
        units = self.deposit(account, asset, amount) if amount >= 0 else -self.withdraw(account, asset, -amount)
        told = Transfer(account=account, asset=asset, units=units, now_ms=now_ms, market_ns=market_ns)
        return told, self._clearing.balances_of(account, [asset], now_ms)

    def external_lock(
        self, account: str, asset: str, amount: Decimal, now_ms: int, market_ns: int
    ) -> tuple[UserEvent, ...]:
        """Locks (or, negative, releases) a part of the balance from outside. ValueError when finer than its unit;
        Rejected -2010 when so much is not free, or not locked from outside.
        """
        units = self._ledger.units(asset, abs(amount))
        available = self._ledger.free(account, asset) if amount >= 0 else self._ledger.external(account, asset)
        if available < units:
            raise Rejected(-2010, INSUFFICIENT_BALANCE)
        units = units if amount >= 0 else -units
        self._ledger.lock_external(account, asset, units)
        told = ExternalLock(account=account, asset=asset, units=units, now_ms=now_ms, market_ns=market_ns)
        return told, self._clearing.balances_of(account, [asset], now_ms)

    def balances(self, account: str) -> dict[str, Balance]:
        """Every asset that the account ever had; `engine.ledger` names the accounts of the market and of the fees."""
        return self._ledger.balances(account)

    def total(self, asset: str) -> int:
        """Units over all accounts, market and fees included: deposits less withdrawals, always."""
        return self._ledger.total(asset)

    # --- the symbol ---

    def set_status(self, symbol: str, status: str) -> None:
        """One of STATUSES; ValueError for any other."""
        if status not in STATUSES:
            raise ValueError(f"{status!r} is no status of a symbol: {', '.join(STATUSES)}")
        self.change_rules(symbol, status=status)

    def change_rules(self, symbol: str, **changes: Any) -> None:
        """Other values of `SymbolRules` from now on; what rests is not checked anew. ValueError for grid and assets,
        and for what there is not.
        """
        fixed = {"name", "base_asset", "quote_asset", "tick_size", "step_size"} & changes.keys()
        if fixed:
            raise ValueError(f"{', '.join(sorted(fixed))} of a symbol that trades cannot be changed")
        _check_known(SymbolRules, changes)
        listing = self._listing(symbol)
        listing.rules = attrs.evolve(listing.rules, **changes)

    def change_filters(self, symbol: str, **changes: Any) -> None:
        """Other values of `Filters` from now on; what rests stays as it is. ValueError for what there is not, and for
        a grid that is finer than the book's.
        """
        _check_known(Filters, changes)
        listing = self._listing(symbol)
        for name in ("tick_size", "step_size"):
            finest = getattr(listing.rules, name)
            size = changes.get(name, finest)
            if size < 0 or size % finest:
                raise ValueError(f"{name} of {symbol} must be a multiple of {finest}, which its book counts in")
        listing.filters = attrs.evolve(listing.filters, **changes)

    def filters(self, symbol: str) -> Filters:
        """What is checked beside `rules`. Rejected -1121 for an unknown symbol."""
        return self._listing(symbol).filters

    def set_reference(self, symbol: str, price: Decimal | None) -> None:
        """The reference price in quote units, or none."""
        self._listing(symbol).reference = price

    # --- orders ---

    def place(self, account: str, request: OrderRequest, now_ms: int, market_ns: int) -> Placed:
        """Accepts an order, lets it take, and rests what is left. Rejected (with its report) when refused."""
        try:
            listing, terms = self._filtered(account, request, market_ns)
            return self._place(account, request, listing, terms, now_ms, market_ns)
        except Rejected as refusal:
            raise self._refusal(refusal, account, request, now_ms, market_ns) from None

    def test(self, account: str, request: OrderRequest, market_ns: int) -> None:
        """order.test: parameters and filters, nothing else. Rejected as `place` would (without a report)."""
        self._filtered(account, request, market_ns)

    def place_list(self, account: str, request: ListRequest, now_ms: int, market_ns: int) -> PlacedList:
        """Accepts an order list. Rejected (with a report of the first leg) when refused: no leg is placed then."""
        try:
            return self._place_list(account, request, now_ms, market_ns)
        except Rejected as refusal:
            raise self._refusal(refusal, account, request.legs[0], now_ms, market_ns) from None

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
    ) -> Canceled | CanceledList:
        """Takes an open order off the book, and with it the list that it belongs to.

        new_client_order_id   id of the cancel itself; "" lets the engine make one
        restrictions          ONLY_NEW, ONLY_PARTIALLY_FILLED or None
        Rejected -2011 (unknown, or restrictions not met), -2039 (the two ids are of different orders), -1145, -1102.
        """
        order = self._cancellable(account, symbol, order_id, orig_client_order_id, restrictions)
        return self._cancel(order, new_client_order_id, reason, Happening(now_ms, market_ns))

    def cancel_list(
        self,
        account: str,
        symbol: str,
        now_ms: int,
        market_ns: int,
        *,
        list_id: int | None = None,
        list_client_order_id: str | None = None,
        new_client_order_id: str = "",
    ) -> CanceledList:
        """Ends a list and its open orders. Rejected -2011 (it is unknown or has ended), -1102 (no id)."""
        self._listing(symbol)
        if list_id is None and list_client_order_id is None:
            text = "Param 'orderListId' or 'listClientOrderId' must be sent, but both were empty/null!"
            raise Rejected(-1102, text)
        unknown = Rejected(-2011, UNKNOWN_ORDER)
        found = self._history.find_list(account, list_id, list_client_order_id, unknown)
        if not found.is_open or found.symbol != symbol:
            raise unknown
        return self._cancel_list(found, new_client_order_id, "cancel", Happening(now_ms, market_ns))

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
            happening = Happening(now_ms, market_ns)
            canceled = self._cancel(old, cancel_new_client_order_id, "cancelReplace", happening, position=False)
        except Rejected as refusal:
            if refusal.code not in {-2011, -2039}:
                raise
            if mode == "STOP_ON_FAILURE":
                return Replaced(cancel_result="FAILURE", new_order_result="NOT_ATTEMPTED", cancel_error=refusal)
            cancel_error = refusal
        return self._replace(account, request, listing, terms, now_ms, market_ns, canceled, cancel_error)

    def cancel_all(self, account: str, symbol: str, now_ms: int, market_ns: int) -> list[Canceled | CanceledList]:
        """Every open order and list of the account on the symbol, oldest first. Rejected -2011 when there is none."""
        self._listing(symbol)
        orders = self.open_orders(account, symbol)
        if not orders:
            raise Rejected(-2011, UNKNOWN_ORDER)
        canceled: list[Canceled | CanceledList] = []
        for order in orders:
            if self._history.get(order.order_id).is_open:  # not gone with its list
                canceled.append(self._cancel(order, "", "cancelAll", Happening(now_ms, market_ns)))
        return canceled

    def amend(
        self,
        account: str,
        symbol: str,
        now_ms: int,
        market_ns: int,
        *,
        order_id: int | None = None,
        orig_client_order_id: str | None = None,
        new_qty: Decimal,
        new_client_order_id: str = "",
    ) -> Amended:
        """Reduces the total quantity of an open order, which keeps its place; of an OCO both orders.

        new_qty               base units, what is filled included; not above that, the order expires
        new_client_order_id   "" lets the engine make one
        Rejected -2038, with what forbids it; -2013 (unknown), -2039, -1102.
        """
        listing = self._listing(symbol)
        missing = Rejected(-2013, "Order does not exist.")
        order = self._history.find(account, symbol, order_id, orig_client_order_id, missing)
        lots = self._amending.check(listing, order, new_qty)
        new_id = new_client_order_id or self._made_id(account)
        if new_id != order.client_order_id and self._history.is_open(account, new_id):
            raise Rejected(-2038, "Duplicate order sent.")
        return self._amending.amend(listing, order, lots, new_id, Happening(now_ms, market_ns))

    def expire_all(self, now_ms: int, market_ns: int, reason: str) -> tuple[UserEvent, ...]:
        """The exchange itself takes every open order of every account off the book, oldest first."""
        events: list[UserEvent] = []
        for each in self._history.every_open_order():
            order = self._history.get(each.order_id)
            if not order.is_open:
                continue  # gone with another one of its list
            listing, happening = self._listings[order.symbol], Happening(now_ms, market_ns)
            if order.list_id >= 0:
                self._lists.end(listing, self._history.order_list(order.list_id), "EXPIRED", reason, happening)
            else:
                listing.take_off(order)
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
        happening: Happening | None = None
        for side, resting in listing.resting.items():
            if resting.orders:
                happening = happening or Happening(now_ms, market_ns)
                resting.see_top(listing.displayed)
                self._matching.crossed(listing, side, happening)
        return self._outcome(listing, happening)

    def on_depth(self, symbol: str, depth: Depth, now_ms: int, market_ns: int) -> Outcome:
        """A depth difference."""
        listing = self._listings[symbol]
        listing.displayed.on_depth(depth)
        happening: Happening | None = None
        for side, changes in ((Side.BUY, depth.bids), (Side.SELL, depth.asks)):
            resting = listing.resting[side]
            if resting.orders:
                happening = happening or Happening(now_ms, market_ns)
                resting.see_depth(listing.displayed, changes)
                self._matching.crossed(listing, side, happening)
        return self._outcome(listing, happening)

    def on_trade(self, symbol: str, trade: PublicTrade, now_ms: int, market_ns: int) -> Outcome:
        """A public trade; the outcome's trade id is the one to publish it with."""
        listing = self._listings[symbol]
        trade_id, happening = listing.publish(trade.trade_id), Happening(now_ms, market_ns)
        self._matching.traded(listing, trade, happening)
        return self._outcome(listing, happening, trade_id)

    def on_agg_trade(self, symbol: str, trade: AggTrade, now_ms: int, market_ns: int) -> Outcome:
        """A recorded aggregate trade; the outcome's trade id is that of its last trade as published (its first one is
        shifted by as much). It fills orders only where it stands for the public trades (`drives`)."""
        listing = self._listings[symbol]
        if not trade.drives:
            return Outcome(trade_id=listing.shifted(trade.last_id))
        trade_id, happening = listing.publish(trade.last_id), Happening(now_ms, market_ns)
        self._matching.traded(listing, trade, happening)
        return self._outcome(listing, happening, trade_id)

    def _outcome(self, listing: Listing, happening: Happening | None, trade_id: int = 0) -> Outcome:
        """What a market event did, and what that brought about."""
        if happening is None:
            return _NOTHING
        if listing.trading:
            self._entry.follow_up(listing, happening)
        return Outcome(tuple(happening.events), tuple(happening.prints), trade_id)

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

    def order_list(self, account: str, *, list_id: int | None = None, client_order_id: str | None = None) -> OrderList:
        """One list; by client id, which wins, the newest of that id. Rejected -2018 (there is none), -1102 (no id)."""
        if list_id is None and client_order_id is None:
            text = "Param 'origClientOrderId' or 'orderListId' must be sent, but both were empty/null!"
            raise Rejected(-1102, text)
        unknown = Rejected(-2018, "Order list does not exist.")
        return self._history.find_list(account, list_id, client_order_id, unknown)

    def lists(self, account: str) -> list[OrderList]:
        """All that are remembered, by id."""
        return self._history.lists(account)

    def open_lists(self, account: str) -> list[OrderList]:
        """By id."""
        return self._history.open_lists(account)

    def preventions(self, account: str, symbol: str) -> list[Prevention]:
        """What self-trade prevention did, the last of it, by match id."""
        self._listing(symbol)
        return self._history.preventions(account, symbol)

    def amendments(self, account: str, symbol: str, order_id: int) -> list[Amendment]:
        """Of one order, oldest first. Rejected -2013 when it is unknown."""
        return self._history.amendments(self.order(account, symbol, order_id=order_id).order_id)

    def allocations(self, account: str, symbol: str) -> list[Fill]:
        """Trades by smart order routing, by allocation id."""
        found = [fill for fill in self.trades(account, symbol) if fill.allocation_id is not None]
        return sorted(found, key=lambda fill: fill.allocation_id or 0)

    def resting_levels(self, symbol: str, side: Side) -> dict[int, int]:
        """Clients' orders on the book: visible lots by price, best first."""
        return self._listing(symbol).resting[side].levels()

    def top(self, symbol: str) -> Top | None:
        """The displayed best prices (clients' orders are not shown); None before the first."""
        return self._listing(symbol).displayed.top

    def taken_levels(self, symbol: str, side: Side) -> Mapping[int, int]:
        """What clients took of the displayed market since it was renewed: price -> lots."""
        return self._listings[symbol].displayed.taken(side)

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
        terms = checks.check(listing.rules, listing.filters, request, listing.measure(market_ns))
        self._check_account(account, listing, [(request, terms)])
        return listing, terms

    def _check_account(self, account: str, listing: Listing, wanted: Sequence[tuple[OrderRequest, Terms]]) -> None:
        """The filters that look at what the account has open and holds."""
        rules, filters = listing.rules, listing.filters
        here, everywhere = (self._history.counts(account, symbol) for symbol in (rules.name, None))
        checks.check_counts(rules, filters, here, everywhere, [request for request, _ in wanted])
        buying = 0
        for request, terms in wanted:
            lots = terms.qty or 0
            if filters.max_asset:
                tick_lots = lots * (terms.price or terms.stop or listing.last or 0)
                checks.check_assets(rules, filters, lots, tick_lots or terms.quote_tick_lots or 0)
            if filters.max_position and request.side is Side.BUY:
                buying += lots
                held = sum(self._ledger.balance(account, rules.base_asset)) // listing.lot_units
                wanted_lots = held + self._history.buying(account, rules.name) + buying
                if wanted_lots * rules.step_size > filters.max_position:
                    raise Rejected(-2010, "Filter failure: MAX_POSITION")

    def _place(
        self, account: str, request: OrderRequest, listing: Listing, terms: Terms, now_ms: int, market_ns: int
    ) -> Placed:
        """The engine's own checks, then the taker phase, then rest, wait or expire."""
        happening = Happening(now_ms, market_ns)
        client_order_id = self._new_id(account, request.client_order_id)
        order = self._entry.drafted(account, listing, request, terms, self._next_order_id, client_order_id, now_ms)
        order = self._entry.admit(listing, order, happening)
        self._next_order_id += 1
        fills = tuple(happening.fills)
        preventions = tuple(happening.preventions)
        self._entry.follow_up(listing, happening)
        self._clearing.position(happening, listing, account)
        return Placed(
            order=order,
            fills=fills,
            preventions=preventions,
            events=tuple(happening.events),
            prints=tuple(happening.prints),
        )

    def _place_list(self, account: str, request: ListRequest, now_ms: int, market_ns: int) -> PlacedList:
        listing, happening = self._listing(request.symbol), Happening(now_ms, market_ns)
        legs = arranged(request)
        self._check_list(account, listing, request)
        average = listing.measure(market_ns)
        terms = [
            checks.check(listing.rules, listing.filters, leg, average, later=request.kind in PAYING and at > 0)
            for at, leg in enumerate(legs)
        ]
        self._check_account(account, listing, list(zip(legs, terms, strict=True)))
        drafts = self._drafts(account, listing, request, legs, terms, now_ms)
        order_list = OrderList(
            list_id=self._next_list_id,
            account=account,
            symbol=request.symbol,
            kind=request.kind,
            client_order_id=request.client_order_id or self._made_id(account),
            legs=tuple(Leg(draft.order_id, draft.client_order_id) for draft in drafts),
            time_ms=now_ms,
        )
        told = self._entry.admit_list(listing, order_list, drafts, happening)
        self._next_order_id += len(drafts)
        self._next_list_id += 1
        placed = tuple(self._leg(order, happening) for order in told)
        self._entry.follow_up(listing, happening)
        self._clearing.position(happening, listing, account)
        return PlacedList(
            order_list=order_list, legs=placed, events=tuple(happening.events), prints=tuple(happening.prints)
        )

    def _check_list(self, account: str, listing: Listing, request: ListRequest) -> None:
        filters = listing.filters
        for needs, allowed, name in (
            (request.kind in PAIRED, filters.oco, "OCO"),
            (request.kind != "OCO", filters.oto, "OTO"),
            (request.kind in PAYING, filters.opo, "OPO"),
        ):
            if needs and not allowed:
                raise Rejected(-2010, f"{name} orders are not supported for this symbol{'' if name == 'OCO' else '.'}")
        lists = self.open_lists(account)
        here = sum(each.symbol == request.symbol for each in lists)
        if filters.max_order_lists and here >= filters.max_order_lists:
            raise Rejected(-2010, "Filter failure: MAX_NUM_ORDER_LISTS")
        if filters.exchange_max_order_lists and len(lists) >= filters.exchange_max_order_lists:
            raise Rejected(-2010, "Filter failure: EXCHANGE_MAX_NUM_ORDER_LISTS")
        if any(each.client_order_id == request.client_order_id for each in lists):
            raise Rejected(-2010, "Duplicate order sent.")

    def _drafts(
        self,
        account: str,
        listing: Listing,
        request: ListRequest,
        legs: Sequence[OrderRequest],
        terms: Sequence[Terms],
        now_ms: int,
    ) -> list[Order]:
        """The orders of a list, as nobody has accepted them yet."""
        ids = [self._new_id(account, leg.client_order_id) for leg in legs]
        if len(set(ids)) < len(ids):
            raise Rejected(-2010, "Duplicate order sent.")
        return [
            self._entry.drafted(
                account,
                listing,
                leg,
                terms[at],
                self._next_order_id + at,
                ids[at],
                now_ms,
                list_id=self._next_list_id,
                status="PENDING_NEW" if at and request.kind != "OCO" else "NEW",
            )
            for at, leg in enumerate(legs)
        ]

    @staticmethod
    def _leg(order: Order, happening: Happening) -> Placed:
        """A leg as the reply tells it."""
        return Placed(
            order=order,
            fills=tuple(fill for fill in happening.fills if fill.order_id == order.order_id),
            preventions=tuple(each for each in happening.preventions if each.taker_order_id == order.order_id),
            events=(),
            prints=(),
        )

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
    ) -> Canceled | CanceledList:
        if order.list_id >= 0:
            order_list = self._history.order_list(order.list_id)
            return self._cancel_list(order_list, cancel_id, reason, happening, position=position)
        listing = self._listings[order.symbol]
        listing.take_off(order)
        cancel_id = cancel_id or self._made_id(order.account)
        order = self._clearing.close(listing, order, "CANCELED", reason, happening, cancel_id)
        if position:
            self._clearing.position(happening, listing, order.account)
        return Canceled(order=order, cancel_client_order_id=cancel_id, events=tuple(happening.events))

    def _cancel_list(
        self, order_list: OrderList, cancel_id: str, reason: str, happening: Happening, *, position: bool = True
    ) -> CanceledList:
        listing = self._listings[order_list.symbol]
        cancel_id = cancel_id or self._made_id(order_list.account)
        orders = self._lists.end(listing, order_list, "CANCELED", reason, happening, cancel_id)
        if position:
            self._clearing.position(happening, listing, order_list.account)
        return CanceledList(
            order_list=self._history.order_list(order_list.list_id),
            orders=tuple(Canceled(order=order, cancel_client_order_id=cancel_id, events=()) for order in orders),
            events=tuple(happening.events),
        )

    def _replace(
        self,
        account: str,
        request: OrderRequest,
        listing: Listing,
        terms: Terms,
        now_ms: int,
        market_ns: int,
        canceled: Canceled | CanceledList | None,
        cancel_error: Rejected | None,
    ) -> Replaced:
        """The second leg, and the tale of both."""
        before = canceled.events if canceled else ()
        cancel_result = "SUCCESS" if canceled else "FAILURE"
        try:
            placed = self._place(account, request, listing, terms, now_ms, market_ns)
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

    def _new_id(self, account: str, asked: str) -> str:
        """The client order id of a new order. Rejected -2010 when an open order has it."""
        if asked and self._history.is_open(account, asked):
            raise Rejected(-2010, "Duplicate order sent.")
        return asked or self._made_id(account)

    def _made_id(self, account: str) -> str:
        """A client order id for one who sent none; clear of the account's open orders."""
        return next(made for made in self._made_ids if not self._history.is_open(account, made))


def _check_known(record: type[SymbolRules | Filters], changes: Mapping[str, Any]) -> None:
    """ValueError when the record has no such members."""
    unknown = changes.keys() - attrs.fields_dict(record).keys()
    if unknown:
        raise ValueError(f"a symbol has no {', '.join(sorted(unknown))}")
