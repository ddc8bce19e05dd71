"""Symbols, events and an exchange to try things on, for the tests of `tetrio.sim`."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import attrs

from tetrio.core.market import Side
from tetrio.core.money import SymbolRules
from tetrio.sim.engine.engine import Engine
from tetrio.sim.engine.orders import Execution, Order, OrderRequest, Outcome, Placed, Replaced, Report, UserEvent
from tetrio.sim.market.events import Depth, MarketEvent, PublicTrade, Top

SYMBOL = "ETHFDUSD"
MS = 1_000_000
RULES = SymbolRules(
    name=SYMBOL,
    base_asset="ETH",
    quote_asset="FDUSD",
    tick_size=Decimal("0.01"),
    step_size=Decimal("0.0001"),
    min_price_ticks=1,
    max_price_ticks=100_000_000,
    min_qty_lots=1,
    max_qty_lots=90_000_000,
    market_max_qty_lots=3_000_000,
    min_notional=Decimal(5),
    max_notional=Decimal(9_000_000),
    bid_multiplier_up=Decimal(5),
    bid_multiplier_down=Decimal("0.2"),
    ask_multiplier_up=Decimal(5),
    ask_multiplier_down=Decimal("0.2"),
    max_num_orders=5,
)


def top(bid: int, bid_qty: int, ask: int, ask_qty: int) -> Top:
    """Best prices in ticks and lots."""
    return Top(bid, bid_qty, ask, ask_qty, 0)


def bought(price: int, qty: int, trade_id: int = 1) -> PublicTrade:
    """A buyer lifted the ask."""
    return PublicTrade(price, qty, trade_id, 0, buyer_is_maker=False)


def sold(price: int, qty: int, trade_id: int = 1) -> PublicTrade:
    """A seller hit the bid."""
    return PublicTrade(price, qty, trade_id, 0, buyer_is_maker=True)


def depth(bids: Sequence[tuple[int, int]] = (), asks: Sequence[tuple[int, int]] = ()) -> Depth:
    """A depth difference."""
    return Depth(0, 0, 0, list(bids), list(asks))


def request(
    side: Side,
    kind: str = "LIMIT",
    qty: int | None = None,
    price: int | None = None,
    rules: SymbolRules = RULES,
    **more: Any,
) -> OrderRequest:
    """An order in lots and ticks."""
    return OrderRequest(
        symbol=SYMBOL,
        side=side,
        type=kind,
        quantity=None if qty is None else qty * rules.step_size,
        price=None if price is None else price * rules.tick_size,
        **more,
    )


class Pit:
    """An engine with accounts "a" and "b", each with 10 ETH and 50,000 FDUSD, and a clock of its own."""

    def __init__(self, book: Top | None = None, rules: SymbolRules = RULES, **options: Any) -> None:
        self.engine = Engine([rules], **options)
        self.rules = rules
        self.now_ms = 1000
        for account in ("a", "b"):
            self.engine.deposit(account, rules.base_asset, Decimal(10))
            self.engine.deposit(account, rules.quote_asset, Decimal(50_000))
        self.market(book or top(340_000, 20_000, 340_010, 30_000))

    def market(self, *events: MarketEvent) -> list[Report]:
        """Lets the market do these; gives the reports."""
        reports: list[Report] = []
        for event in events:
            reports += only_reports(self.outcome(event).events)
        return reports

    def outcome(self, event: MarketEvent) -> Outcome:
        """Lets the market do one thing."""
        self.now_ms += 1
        return self.engine.on_event(SYMBOL, event, self.now_ms, self.now_ms * MS)

    def place(
        self, side: Side, qty: int | None, price: int | None, kind: str = "LIMIT_MAKER", account: str = "a", **more: Any
    ) -> Placed:
        """Places an order in lots and ticks."""
        self.now_ms += 1
        return self.engine.place(
            account, request(side, kind, qty, price, self.rules, **more), self.now_ms, self.now_ms * MS
        )

    def replace(
        self, old: Order, side: Side, qty: int, price: int, mode: str = "STOP_ON_FAILURE", **more: Any
    ) -> Replaced:
        """Cancels `old` by its id, places another."""
        self.now_ms += 1
        restrictions = more.pop("restrictions", None)
        wanted = request(side, more.pop("kind", "LIMIT_MAKER"), qty, price, **more)
        return self.engine.cancel_replace(
            "a",
            wanted,
            self.now_ms,
            self.now_ms * MS,
            mode=mode,
            cancel_order_id=old.order_id,
            restrictions=restrictions,
        )

    def cancel(self, order: Order, **more: Any) -> list[UserEvent]:
        """Cancels an order by its id."""
        self.now_ms += 1
        account, now = order.account, self.now_ms
        return list(self.engine.cancel(account, SYMBOL, now, now * MS, order_id=order.order_id, **more).events)

    def order(self, order: Order) -> Order:
        """As it stands now."""
        return self.engine.order(order.account, SYMBOL, order_id=order.order_id)

    def amounts(self, account: str = "a") -> dict[str, tuple[Decimal, Decimal]]:
        """(free, locked) of each asset, as decimals."""
        return {
            asset: (held.free * self.engine.unit(asset), held.locked * self.engine.unit(asset))
            for asset, held in self.engine.balances(account).items()
        }


def only_reports(events: Sequence[UserEvent]) -> list[Report]:
    """Without the positions."""
    return [event for event in events if isinstance(event, Report)]


def executions(events: Sequence[UserEvent]) -> list[str]:
    """What kinds of events, in order; a position is "POSITION"."""
    return [event.execution.value if isinstance(event, Report) else "POSITION" for event in events]


def fills(reports: Sequence[Report]) -> list[tuple[int, int, str]]:
    """(order id, lots, why) of the trades among them."""
    return [
        (report.order.order_id, report.fill.qty, report.why)
        for report in reports
        if report.execution is Execution.TRADE and report.fill is not None
    ]


def with_rules(**changes: Any) -> SymbolRules:
    """RULES, changed."""
    return attrs.evolve(RULES, **changes)
