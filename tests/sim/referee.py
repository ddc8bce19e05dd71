"""Does anything to an engine and checks after each step what must hold whatever happens, for the property tests.

Nothing of the engine's own reckoning is believed: locks are summed up from the orders' fields, totals from what was put
in, priority from how the book stood before.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import attrs

from tests.sim.markets import MS, SYMBOL, Pit, depth, only_reports, with_rules
from tetrio.core.market import Side
from tetrio.sim.engine.clearing import Discount, Rate, Rates
from tetrio.sim.engine.ledger import FEES, MARKET
from tetrio.sim.engine.listing import Listing
from tetrio.sim.engine.orders import (
    CONTINGENT,
    PRICED,
    Balance,
    Execution,
    ListRequest,
    Order,
    OrderList,
    OrderRequest,
    Peg,
    Placed,
    Position,
    Rejected,
    Report,
    TradePrint,
    UserEvent,
)
from tetrio.sim.market.events import AggTrade, PublicTrade, Top
from tetrio.wire.rules import Filters, PriceRange

ACCOUNTS = ("a", "b")
ASSETS = ("ETH", "FDUSD", "BNB")
RULES = with_rules(min_notional=Decimal(0), max_num_orders=30)
FILTERS = Filters(
    stp_modes=("NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "DECREMENT", "TRANSFER"),
    max_algo_orders=8,
    max_amends=3,
    min_trailing_above=100,
    min_trailing_below=100,
)
LOT_UNITS, TICK_LOT_UNITS = 10_000, 100
ASCENDING = {Side.BUY: -1, Side.SELL: 1}


class Wish(NamedTuple):
    """A new order, before its type says which of these it can have."""

    side: Side
    kind: str
    """One of the seven types, or QUOTE: MARKET by quoteOrderQty."""
    tif: str
    qty: int
    price: int
    stop: int
    """Ticks; 0 for none."""
    delta: int
    """Basis points; 0 for none."""
    iceberg: int
    stp: str
    peg: Peg | None
    client_id: str

    def request(self, **changes: Any) -> OrderRequest:
        """As the client would ask for it."""
        kind = "MARKET" if self.kind == "QUOTE" else self.kind
        priced, waits = kind in PRICED, kind in CONTINGENT
        peg = self.peg if priced else None
        wanted = OrderRequest(
            symbol=SYMBOL,
            side=self.side,
            type=kind,
            time_in_force=self.tif if priced and kind != "LIMIT_MAKER" else "GTC",
            quantity=None if self.kind == "QUOTE" else self.qty * RULES.step_size,
            quote_order_qty=self.qty * 100 * RULES.tick_lot if self.kind == "QUOTE" else None,
            price=self.price * RULES.tick_size if priced and (peg is None or self.qty % 2) else None,
            stop_price=self.stop * RULES.tick_size if waits and (self.stop or not self.delta) else None,
            trailing_delta=self.delta if waits and self.delta else None,
            iceberg_qty=self.iceberg * RULES.step_size if priced and self.iceberg else None,
            stp_mode=self.stp,
            peg=peg,
            client_order_id=self.client_id,
        )
        return attrs.evolve(wanted, **changes)


class State(NamedTuple):
    """All that a refusal must leave as it was."""

    orders: list[Order]
    lists: list[OrderList]
    balances: dict[str, dict[str, Balance]]
    book: dict[Side, list[tuple[int, int, int]]]
    waiting: set[int]


class Referee:
    """Does the actions and checks everything after each."""

    def __init__(self, model: str, discount: str = "BNB") -> None:
        """`discount`: the asset that commission may be paid in."""
        rates = Rates(
            standard=Rate(maker=Decimal("0.01"), taker=Decimal("0.025")),
            special=Rate(buyer=Decimal("0.001")),
            tax=Rate(seller=Decimal("0.002")),
            discount=Discount(enabled_for_account=True, asset=discount, price=Decimal("0.5")),
        )
        self.pit = Pit(Top(99, 10, 101, 10, 0), RULES, filters={SYMBOL: FILTERS}, fills=model, rates=rates)
        self.engine = self.pit.engine
        self.listing: Listing = self.engine._listing(SYMBOL)
        for account in ACCOUNTS:
            self.engine.withdraw(account, "ETH", Decimal("9.98"))
            self.engine.withdraw(account, "FDUSD", Decimal("49999.98"))
            self.engine.deposit(account, "BNB", Decimal("0.00005"))
        self.totals = {asset: self.engine.total(asset) for asset in ASSETS}
        self.external = {(account, asset): 0 for account in ACCOUNTS for asset in ASSETS}
        self.recorded_id = 0
        self.last_trade_id = 0
        self.last_execution_id = 0
        self.traded: dict[int, int] = {}
        self.ended: dict[int, Order] = {}
        self.told: list[UserEvent] = []

    def do(self, action: tuple[Any, ...]) -> None:
        """One action, by its name and arguments."""
        kind, *rest = action
        before = self.state()
        self.pit.now_ms += 1
        self.now = self.pit.now_ms, self.pit.now_ms * MS
        try:
            getattr(self, f"do_{kind}")(*rest)
        except Rejected:
            assert self.state() == before, "a refusal changes nothing"
        self.check_money()
        self.check_places()
        self.check_orders()
        self.check_lists()
        self.check_priority(before)

    # --- what can happen ---

    def do_top(self, bid: int, bid_qty: int, spread: int, ask_qty: int) -> None:
        self.market(Top(bid, bid_qty, bid + spread, ask_qty, 0))

    def do_depth(self, side: Side, price: int, qty: int) -> None:
        level = [(price, qty)]
        self.market(depth(bids=level) if side is Side.BUY else depth(asks=level))

    def do_trade(self, price: int, qty: int, buyer_is_maker: bool) -> None:
        self.recorded_id += 1
        self.market(PublicTrade(price, qty, self.recorded_id, 0, buyer_is_maker))

    def do_aggregate(self, price: int, qty: int, buyer_is_maker: bool, drives: bool) -> None:
        self.recorded_id += drives
        self.market(AggTrade(price, qty, 1, self.recorded_id, self.recorded_id, 0, buyer_is_maker, drives))

    def market(self, event: Any) -> None:
        before = self.state().balances
        outcome = self.engine.on_event(SYMBOL, event, *self.now)
        if isinstance(event, PublicTrade) or getattr(event, "drives", False):
            self.see_trade_id(outcome.trade_id)
        self.see(outcome.events, outcome.prints, before)
        if isinstance(event, PublicTrade):
            by_market = sum(
                report.fill.qty
                for report in only_reports(outcome.events)
                if report.fill is not None and report.why.startswith(("queue", "trade"))
            )
            assert by_market <= event.qty, "no more fills than traded"

    def do_place(self, account: str, wish: Wish) -> None:
        before = self.state().balances
        wanted = wish.request()
        placed = self.engine.place(account, wanted, *self.now)
        self.see(placed.events, placed.prints, before)
        self.check_placed(wanted, placed)
        if wish.kind == "QUOTE":
            assert placed.order.cum_quote <= wish.qty * 100, "spends at most that"

    def check_placed(self, wanted: OrderRequest, placed: Placed) -> None:
        took = [fill.price for fill in placed.fills]
        assert took == sorted(took, reverse=wanted.side is Side.SELL), "best price first"
        if wanted.type in {"LIMIT_MAKER", *CONTINGENT}:
            assert not took
        if wanted.type == "LIMIT" and wanted.time_in_force == "FOK":
            assert placed.order.filled in {0, placed.order.qty - placed.order.prevented}
        if wanted.time_in_force != "GTC" and wanted.type == "LIMIT":
            assert not placed.order.is_open

    def do_list(self, account: str, kind: str, wishes: tuple[Wish, Wish, Wish], list_id: str) -> None:
        before = self.state().balances
        first, *others = wishes
        if kind in {"OPO", "OPOCO"}:
            legs = [first.request(), *(each.request(quantity=None) for each in others)]
        elif kind == "OCO":
            legs = [each.request(side=first.side, quantity=first.request().quantity) for each in others]
        else:
            legs = [first.request(), *(each.request() for each in others)]
            if kind == "OTOCO":
                legs[2] = attrs.evolve(legs[2], side=legs[1].side, quantity=legs[1].quantity)
        if kind in {"OTO", "OPO"}:
            legs = legs[:2]
        wanted = ListRequest(symbol=SYMBOL, kind=kind, legs=tuple(legs), client_order_id=list_id)
        placed = self.engine.place_list(account, wanted, *self.now)
        self.see(placed.events, placed.prints, before)
        assert [leg.order_id for leg in placed.order_list.legs] == [leg.order.order_id for leg in placed.legs]
        assert len(placed.legs) == len(legs)

    def do_cancel(self, account: str, at: int, restrictions: str | None) -> None:
        before = self.state().balances
        canceled = self.engine.cancel(
            account, SYMBOL, *self.now, order_id=self.pick(account, at), restrictions=restrictions
        )
        self.see(canceled.events, (), before)

    def do_cancel_list(self, account: str, at: int) -> None:
        before = self.state().balances
        lists = self.engine.open_lists(account)
        list_id = lists[at % len(lists)].list_id if lists else at
        self.see(self.engine.cancel_list(account, SYMBOL, *self.now, list_id=list_id).events, (), before)

    def do_cancel_all(self, account: str) -> None:
        before = self.state().balances
        events = [event for one in self.engine.cancel_all(account, SYMBOL, *self.now) for event in one.events]
        self.see(events, (), before)
        assert not self.engine.open_orders(account)

    def do_expire_all(self) -> None:
        before = self.state().balances
        self.see(self.engine.expire_all(*self.now, "EXCHANGE_CANCELED"), (), before)
        assert not self.engine.open_orders("a") and not self.engine.open_orders("b")

    def do_replace(self, account: str, at: int, wish: Wish, allow: bool) -> None:
        before = self.state().balances
        order_id = self.pick(account, at)
        replaced = self.engine.cancel_replace(
            account,
            wish.request(),
            *self.now,
            mode="ALLOW_FAILURE" if allow else "STOP_ON_FAILURE",
            cancel_order_id=order_id,
        )
        self.see(replaced.events, replaced.prints, before)
        assert (replaced.status == 200) == (replaced.canceled is not None and replaced.placed is not None)
        open_ids = {order.order_id for order in self.engine.open_orders(account)}
        assert order_id not in open_ids or replaced.cancel_result == "FAILURE"

    def do_amend(self, account: str, at: int, qty: int, client_id: str) -> None:
        before = self.state().balances
        order_id = self.pick(account, at)
        amended = self.engine.amend(
            account,
            SYMBOL,
            *self.now,
            order_id=order_id,
            new_qty=qty * RULES.step_size,
            new_client_order_id=client_id,
        )
        self.see(amended.events, (), before)
        order = amended.order
        assert order.qty == max(qty, order.filled + order.prevented)
        assert not client_id or order.client_order_id == client_id

    def do_status(self, status: str) -> None:
        self.engine.set_status(SYMBOL, status)

    def do_limits(self, orders: int, lists: int, position: int) -> None:
        self.engine.change_rules(SYMBOL, max_num_orders=orders)
        self.engine.change_filters(SYMBOL, max_order_lists=lists, max_position=position * RULES.step_size)

    def do_range(self, reference: int | None, width: int) -> None:
        wide = Decimal(width) / 100
        allowed = PriceRange(bid_up=1 + wide, bid_down=1 - wide, ask_up=1 + wide, ask_down=1 - wide)
        self.engine.change_filters(SYMBOL, price_range=allowed)
        self.engine.set_reference(SYMBOL, None if reference is None else reference * RULES.tick_size)

    def do_transfer(self, account: str, asset: str, units: int) -> None:
        before = self.state().balances
        self.see(self.engine.transfer(account, asset, units * self.engine.unit(asset), *self.now), (), before)
        self.totals[asset] += units

    def do_lock(self, account: str, asset: str, units: int) -> None:
        before = self.state().balances
        self.see(self.engine.external_lock(account, asset, units * self.engine.unit(asset), *self.now), (), before)
        self.external[account, asset] += units

    def pick(self, account: str, at: int) -> int:
        """An open order, or one that may be gone."""
        orders = self.engine.open_orders(account)
        return orders[at % len(orders)].order_id if orders else at

    # --- what must hold ---

    def state(self) -> State:
        """As it is now."""
        return State(
            orders=[order for account in ACCOUNTS for order in self.engine.orders(account, SYMBOL)],
            lists=[each for account in ACCOUNTS for each in self.engine.lists(account)],
            balances={account: self.engine.balances(account) for account in (*ACCOUNTS, MARKET, FEES)},
            book={
                side: [(each.order_id, each.visible, each.remaining) for each in resting.orders]
                for side, resting in self.listing.resting.items()
            },
            waiting={order.order_id for order in self.open() if order.order_id in self.listing.waiting},
        )

    def open(self) -> list[Order]:
        """Of all accounts."""
        return [order for account in ACCOUNTS for order in self.engine.open_orders(account)]

    def see_trade_id(self, trade_id: int) -> None:
        assert trade_id > self.last_trade_id
        self.last_trade_id = trade_id

    def see(
        self, events: Sequence[UserEvent], prints: Sequence[TradePrint], before: dict[str, dict[str, Balance]]
    ) -> None:
        self.told += events
        for one in prints:
            self.see_trade_id(one.trade_id)
        for report in only_reports(events):
            if report.execution is not Execution.REJECTED:
                assert report.execution_id > self.last_execution_id
                self.last_execution_id = report.execution_id
            if report.fill is not None:
                self.see_fill(report)
                assert report.fill.trade_id in {one.trade_id for one in prints}
        self.check_told(events, before)

    def see_fill(self, report: Report) -> None:
        order, fill = report.order, report.fill
        assert fill is not None and fill.qty > 0 and report.why
        self.traded[order.order_id] = self.traded.get(order.order_id, 0) + fill.qty
        assert self.traded[order.order_id] == order.filled <= order.qty
        if fill.maker:
            assert fill.price == order.limit
        for limit in (order.price, order.pegged_price):
            if limit:
                assert ASCENDING[order.side] * fill.price >= ASCENDING[order.side] * limit
        assert self.listing.rules.status == "TRADING"

    def check_told(self, events: Sequence[UserEvent], before: dict[str, dict[str, Balance]]) -> None:
        """What the last position of an account tells is what it has, and nothing has changed that is not told."""
        for account in ACCOUNTS:
            told: dict[str, Balance] = {}
            for event in events:
                if isinstance(event, Position) and event.account == account:
                    told |= event.balances
            for asset, balance in self.engine.balances(account).items():
                if asset in told or before[account].get(asset) != balance:
                    assert told[asset] == balance

    def check_money(self) -> None:
        for asset, total in self.totals.items():
            assert self.engine.total(asset) == total
        for account in ACCOUNTS:
            for asset, held in self.engine.balances(account).items():
                low, high = self.needed(account, asset)
                assert low <= held.locked - self.external[account, asset] <= high
                assert held.free >= 0

    def needed(self, account: str, asset: str) -> tuple[int, int]:
        """What the account's open orders must keep locked: at least, at most (what came with a working order of OPO
        may have been charged in base or not)."""
        low = high = 0
        groups: dict[int, list[Order]] = {}
        for order in self.engine.open_orders(account, SYMBOL):
            if (asset == "ETH") is (order.side is Side.SELL) and asset != "BNB":
                groups.setdefault(self.group(order), []).append(order)
        for group in groups.values():
            if group[0].status == "PENDING_NEW":
                brought = self.brought(group[0])
                low, high = low + brought[0], high + brought[1]
                continue
            needs = [
                order.remaining * (LOT_UNITS if asset == "ETH" else self.lock_price(order) * TICK_LOT_UNITS)
                for order in group
            ]
            low, high = low + max(needs), high + max(needs)
        return low, high

    def group(self, order: Order) -> int:
        """Orders of a pair share a lock."""
        if order.list_id < 0:
            return order.order_id
        listed = self.engine.order_list(order.account, list_id=order.list_id)
        working = listed.kind != "OCO" and listed.legs[0].order_id == order.order_id
        return order.order_id if working else -order.list_id

    @staticmethod
    def lock_price(order: Order) -> int:
        return order.limit or order.stop_price or order.lock_price

    def brought(self, pending: Order) -> tuple[int, int]:
        listed = self.engine.order_list(pending.account, list_id=pending.list_id)
        if listed.kind not in {"OPO", "OPOCO"}:
            return 0, 0
        fills = self.engine.trades(pending.account, SYMBOL, listed.legs[0].order_id)
        whole = sum(fill.qty for fill in fills) * LOT_UNITS
        return whole - sum(fill.commission for fill in fills if fill.commission_asset == "ETH"), whole

    def check_places(self) -> None:
        """Every open order is on the book, waits for its price, or waits for its working order: one of the three."""
        for side, resting in self.listing.resting.items():
            assert resting.orders == sorted(resting.orders, key=lambda each: ASCENDING[side] * each.price)
            on_book = {each.order_id: each for each in resting.orders}
            working = {each.order_id: each for each in self.open() if each.side is side and each.is_working}
            assert on_book.keys() == working.keys()
            for order_id, each in on_book.items():
                order = working[order_id]
                assert (each.remaining, each.price) == (order.remaining, order.limit)
                assert 0 < each.visible <= min(order.remaining, order.iceberg or order.remaining)
                assert order.iceberg or each.visible == order.remaining
                assert each.ahead >= 0
            assert self.engine.resting_levels(SYMBOL, side).keys() == {order.limit for order in working.values()}
        for order in self.open():
            assert (order.order_id in self.listing.waiting) == order.waits
            assert order.is_working + order.waits + (order.status == "PENDING_NEW") == 1

    def check_orders(self) -> None:
        for account in ACCOUNTS:
            orders = self.engine.orders(account, SYMBOL)
            for order in orders:
                assert order == self.ended.get(order.order_id, order), "what has ended stays as it is"
                assert order.is_open == (order in self.engine.open_orders(account))
                assert 0 <= order.filled <= order.filled + order.prevented <= order.qty
                if order.is_open:
                    assert order.remaining or order.status == "PENDING_NEW"
                    assert (order.status == "PARTIALLY_FILLED") == (order.filled > 0)
                else:
                    self.ended[order.order_id] = order
                    assert (order.status == "EXPIRED") == bool(order.expiry_reason)
                    assert order.status != "FILLED" or order.filled + order.prevented == order.qty
            ids = [order.client_order_id for order in orders if order.is_open]
            assert len(ids) == len(set(ids))

    def check_lists(self) -> None:
        for account in ACCOUNTS:
            for each in self.engine.lists(account):
                legs = [self.engine.order(account, SYMBOL, order_id=leg.order_id) for leg in each.legs]
                assert each.is_open == any(leg.is_open for leg in legs), "done when and only when no leg is open"
                assert not each.is_open or [leg.client_order_id for leg in legs] == [
                    leg.client_order_id for leg in each.legs
                ]
                assert sum(bool(leg.filled) for leg in legs[0 if each.kind == "OCO" else 1 :]) <= 1

    def check_priority(self, before: State) -> None:
        """Nobody fills while one with a better price, or an older one of the same price, has something left. (What an
        iceberg hides queues anew.)"""
        now = {order.order_id: order for account in ACCOUNTS for order in self.engine.orders(account, SYMBOL)}
        was = {order.order_id: order for order in before.orders}
        for line in before.book.values():
            for at, (order_id, _, _) in enumerate(line):
                order = now[order_id]
                if order.filled == was[order_id].filled:
                    continue
                for other in (now[other_id] for other_id, _, _ in line[:at]):
                    if other.limit != order.limit or not other.iceberg:
                        assert not other.is_open
