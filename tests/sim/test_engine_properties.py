"""Whatever market and clients do: money is conserved, priority holds, nothing fills beyond its limits."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sim.markets import MS, SYMBOL, Pit, depth, only_reports, request, with_rules
from tetrio.core.market import Side
from tetrio.sim.events import PublicTrade, Top
from tetrio.sim.orders import Execution, Order, Rejected, Report, TradePrint, UserEvent

RULES = with_rules(min_notional=Decimal(0), max_num_orders=50)
ACCOUNTS = ("a", "b")
prices = st.integers(95, 105)
lots = st.integers(1, 60)
sides = st.sampled_from(list(Side))
accounts = st.sampled_from(ACCOUNTS)
kinds = st.sampled_from(["LIMIT", "LIMIT", "LIMIT_MAKER", "LIMIT_MAKER", "MARKET", "QUOTE"])
tifs = st.sampled_from(["GTC", "GTC", "IOC", "FOK"])
actions = st.one_of(
    st.tuples(st.just("top"), prices, lots, st.integers(1, 3), lots),
    st.tuples(st.just("trade"), prices, lots, st.booleans()),
    st.tuples(st.just("depth"), sides, prices, st.integers(0, 60)),
    st.tuples(st.just("place"), accounts, sides, kinds, tifs, lots, prices),
    st.tuples(st.just("cancel"), accounts, st.integers(0, 5)),
    st.tuples(st.just("replace"), accounts, st.integers(0, 5), sides, lots, prices, st.booleans()),
    st.tuples(st.just("cancel_all"), accounts),
)


class Referee:
    """Does the actions and checks everything after each."""

    def __init__(self, model: str) -> None:
        self.pit = Pit(Top(99, 10, 101, 10, 0), RULES, fills=model, maker=Decimal("0.001"), taker=Decimal("0.0025"))
        self.engine = self.pit.engine
        for account in ACCOUNTS:
            self.engine.withdraw(account, "ETH", Decimal("9.98"))
            self.engine.withdraw(account, "FDUSD", Decimal("49999.98"))
        self.totals = {asset: self.engine.total(asset) for asset in ("ETH", "FDUSD")}
        self.recorded_id = 0
        self.last_trade_id = 0
        self.last_execution_id = 0
        self.last_order_id = 0
        self.traded: dict[int, int] = {}

    def do(self, action: tuple[Any, ...]) -> None:
        kind, *rest = action
        before = {account: self.engine.open_orders(account) for account in ACCOUNTS}
        try:
            getattr(self, f"do_{kind}")(*rest)
        except Rejected:
            assert {account: self.engine.open_orders(account) for account in ACCOUNTS} == before
        self.check_money()

    def do_top(self, bid: int, bid_qty: int, spread: int, ask_qty: int) -> None:
        self.market(Top(bid, bid_qty, bid + spread, ask_qty, 0))

    def do_depth(self, side: Side, price: int, qty: int) -> None:
        level = [(price, qty)]
        self.market(depth(bids=level) if side is Side.BUY else depth(asks=level))

    def do_trade(self, price: int, qty: int, buyer_is_maker: bool) -> None:
        self.recorded_id += 1
        resting = self.resting()
        outcome = self.pit.outcome(PublicTrade(price, qty, self.recorded_id, 0, buyer_is_maker))
        self.see_trade_id(outcome.trade_id)
        self.see(outcome.events, outcome.prints)
        assert sum(one.qty for one in outcome.prints) <= qty, "no more fills than traded"
        self.check_priority(resting, outcome.events)

    def market(self, event: Any) -> None:
        resting = self.resting()
        outcome = self.pit.outcome(event)
        self.see(outcome.events, outcome.prints)
        self.check_priority(resting, outcome.events)

    def do_place(self, account: str, side: Side, kind: str, tif: str, qty: int, price: int) -> None:
        if kind == "QUOTE":
            amount = qty * 100 * RULES.tick_lot
            wanted = request(side, "MARKET", rules=RULES, quote_order_qty=amount)
        elif kind == "MARKET":
            wanted = request(side, kind, qty)
        else:
            wanted = request(side, kind, qty, price, time_in_force=tif)
        free = self.engine.balances(account)["FDUSD"].free
        placed = self.engine.place(account, wanted, 1, 1)
        self.see(placed.events, placed.prints)
        took = [fill.price for fill in placed.fills]
        assert took == sorted(took, reverse=side is Side.SELL), "best price first"
        if kind == "LIMIT_MAKER":
            assert not took
        if tif == "FOK" and kind == "LIMIT":
            assert placed.order.filled in {0, qty}
        if kind == "QUOTE" and side is Side.BUY:
            spent = free - self.engine.balances(account)["FDUSD"].free
            assert spent <= wanted.quote_order_qty / self.engine.unit("FDUSD")  # type: ignore[operator]
        if not placed.order.is_open:
            assert placed.order not in self.engine.open_orders(account)

    def do_cancel(self, account: str, at: int) -> None:
        orders = self.engine.open_orders(account)
        if at < len(orders):
            order_id = orders[at].order_id
            self.see(self.engine.cancel(account, SYMBOL, 1, 1, order_id=order_id).events, ())

    def do_cancel_all(self, account: str) -> None:
        for canceled in self.engine.cancel_all(account, SYMBOL, 1, 1):
            self.see(canceled.events, ())
        assert not self.engine.open_orders(account)
        assert all(held.locked == 0 for held in self.engine.balances(account).values())

    def do_replace(self, account: str, at: int, side: Side, qty: int, price: int, allow: bool) -> None:
        orders = self.engine.orders(account, SYMBOL)
        order_id = orders[-1 - at].order_id if at < len(orders) else 10**9
        replaced = self.engine.cancel_replace(
            account,
            request(side, "LIMIT_MAKER", qty, price),
            1,
            MS,
            mode="ALLOW_FAILURE" if allow else "STOP_ON_FAILURE",
            cancel_order_id=order_id,
        )
        self.see(replaced.events, replaced.prints)
        assert (replaced.status == 200) == (replaced.canceled is not None and replaced.placed is not None)
        open_ids = {order.order_id for order in self.engine.open_orders(account)}
        assert order_id not in open_ids or replaced.cancel_result == "FAILURE"
        if replaced.placed is not None:
            assert replaced.placed.order.order_id in open_ids

    def resting(self) -> list[Order]:
        return [order for account in ACCOUNTS for order in self.engine.open_orders(account)]

    def see_trade_id(self, trade_id: int) -> None:
        assert trade_id > self.last_trade_id
        self.last_trade_id = trade_id

    def see(self, events: Sequence[UserEvent], prints: Sequence[TradePrint]) -> None:
        for one in prints:
            self.see_trade_id(one.trade_id)
        for report in only_reports(events):
            if report.execution is not Execution.REJECTED:
                assert report.execution_id > self.last_execution_id
                self.last_execution_id = report.execution_id
            if report.execution is Execution.NEW:
                assert report.order.order_id > self.last_order_id
                self.last_order_id = report.order.order_id
            if report.fill is not None:
                self.see_fill(report)
                assert report.fill.trade_id in {one.trade_id for one in prints}

    def see_fill(self, report: Report) -> None:
        order, fill = report.order, report.fill
        assert fill is not None and fill.qty > 0 and report.why
        self.traded[order.order_id] = self.traded.get(order.order_id, 0) + fill.qty
        assert self.traded[order.order_id] == order.filled <= order.qty
        if fill.maker:
            assert fill.price == order.price
        elif order.price:
            assert fill.price <= order.price if order.side is Side.BUY else fill.price >= order.price

    def check_priority(self, before: list[Order], events: Sequence[UserEvent]) -> None:
        """Among orders that rested before, nobody fills while one with a better price, or an older one of the same
        price, has something left."""
        filled = {report.order.order_id for report in only_reports(events) if report.fill is not None}
        now = {order.order_id: self.pit.order(order) for order in before}
        sign = {Side.BUY: -1, Side.SELL: 1}
        for order in before:
            if order.order_id not in filled:
                continue
            key = (sign[order.side] * order.price, order.order_id)
            for other in before:
                if other.side is order.side and (sign[other.side] * other.price, other.order_id) < key:
                    assert not now[other.order_id].remaining

    def check_money(self) -> None:
        for asset, total in self.totals.items():
            assert self.engine.total(asset) == total
        lot, tick_lot = 10_000, 100
        for account in ACCOUNTS:
            locked = {"ETH": 0, "FDUSD": 0}
            for order in self.engine.open_orders(account):
                if order.side is Side.SELL:
                    locked["ETH"] += order.remaining * lot
                else:
                    locked["FDUSD"] += order.price * order.remaining * tick_lot
            for asset, held in self.engine.balances(account).items():
                assert held.locked == locked[asset]
                assert held.free >= 0


@settings(max_examples=250, deadline=None)
@given(st.sampled_from(["queue", "touch", "through"]), st.lists(actions, max_size=40))
def test_money_priority_and_limits_hold_whatever_happens(model: str, todo: list[tuple[Any, ...]]) -> None:
    referee = Referee(model)
    for action in todo:
        referee.do(action)


@settings(max_examples=50, deadline=None)
@given(st.lists(actions, max_size=30))
def test_the_same_actions_give_the_same_reports(todo: list[tuple[Any, ...]]) -> None:
    first, second = Referee("queue"), Referee("queue")
    for action in todo:
        first.do(action)
        second.do(action)
    for account in ACCOUNTS:
        assert first.engine.orders(account, SYMBOL) == second.engine.orders(account, SYMBOL)
        assert first.engine.trades(account, SYMBOL) == second.engine.trades(account, SYMBOL)
        assert first.engine.balances(account) == second.engine.balances(account)
