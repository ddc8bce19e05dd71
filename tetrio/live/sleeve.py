"""The sleeve as the exchange tells it: balances and own orders of one symbol, merged from replies, events and queries.

Whatever arrives first wins and whatever comes later changes nothing back: fills are cumulative, final orders stay
final. What is told here is the exchange's; nothing is reckoned ahead. Orders that are not ours (by the tag in their
client order id) are seen only in what their locks leave us.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from decimal import Decimal

import attrs
from msgspec import UnsetType

from tetrio.core.market import Fill, Holdings, Side
from tetrio.core.money import SymbolRules, decimal
from tetrio.core.orders import OrderEvent, OrderName, OrderState, OwnOrder, event_of, remnant
from tetrio.core.protect import ORDER_TYPE
from tetrio.errors import LinkStale, UnsafeError, WireError
from tetrio.wire.request import AccountStatus, CanceledOrder, MyTrade, OrderStatus, fill_of_trade
from tetrio.wire.user import ExecutionReport, OutboundAccountPosition, fill_of

KEPT = 2000  # final orders remembered, for fills and reports that come late: a busy day of them
PROOF_MS = 1000
STRAGGLES_MS = 33_000  # recvWindow (3 s), and an engine that works half a minute late
DATED = 15  # snapshots, one a second: longer than any copy of the exchange is late
OrderTold = Callable[[OwnOrder, OwnOrder | None, int | None], None]
"""(order now, order before or None, refusal code or None): every change of state or fill."""


@attrs.define
class Balance:
    """One asset."""

    free: Decimal = Decimal(0)
    locked: Decimal = Decimal(0)


class Sleeve:
    """Balances and own orders of one symbol.

    nonce       of this process: an order with our tag and another nonce is adopted until `synced`, and after
                it refused where it cannot be what an earlier process had under way
    told        called at every change of an own order
    filled      called for every own trade, once
    """

    def __init__(
        self,
        rules: SymbolRules,
        tag: str,
        nonce: str,
        *,
        reserve_base: Decimal = Decimal(0),
        reserve_quote: Decimal = Decimal(0),
        told: OrderTold,
        filled: Callable[[Fill], None],
    ) -> None:
        self.rules = rules
        self.tag, self.nonce = tag, nonce
        self.reserve_base, self.reserve_quote = reserve_base, reserve_quote
        self.balances: dict[str, Balance] = {}
        self.synced = False
        self._told, self._filled = told, filled
        self._orders: dict[str, OwnOrder] = {}
        self._unfinished: dict[str, OwnOrder] = {}
        """Those that are not final, oldest first: they are looked at all the time."""
        self._exits: dict[int, list[str]] = {}
        """Episode -> orders of this process, oldest first."""
        self._trades: dict[int, None] = {}
        self._dropped = set[int]()
        self.last_trade_id = -1
        """The newest own trade that is known; -1 before any."""
        self.fresh = False
        """Whether the balances tell what the last change of an own order did to them."""
        self._synced_ms = self._straggles_until_ms = 0
        self._straggler: str | None = None
        """The one order of an earlier process that reached the exchange after the sync."""
        self.stopped = False
        """A protective stop has triggered, or could not be placed since its price was passed, and nobody was told."""
        self.doubled = False
        """Another process trades this account and symbol: nothing may be changed any more."""
        self.changes = 0
        """How often an own order has changed what is held or locked."""
        self._balance_ms = 0
        self._changed_ms = 0
        self._dated = 0
        """Snapshots in a row that were older than what was known when they were asked for."""
        self.jumps_refused: set[Side] = set()
        """Sides on which a jumpstart's order could not be paid for."""
        self._owed_ms = self._told_ms = 0
        self.trades_known = False
        """Whether it has been asked where own trades end: later ones are asked for from there."""
        self._now_ns: Callable[[], int] = lambda: 0
        self.balances_told: Callable[[], None] = lambda: None
        """Called when the exchange has told balances, in whatever way."""

    def reckon_time_by(self, now_ns: Callable[[], int]) -> None:
        """The clock by which orders are stamped: this machine's, of which only differences count."""
        self._now_ns = now_ns

    def now_ns(self) -> int:
        """By that clock: what the exchange calls the date may leap, and be no measure of what has passed."""
        return self._now_ns()

    def same_grid(self, rules: SymbolRules) -> bool:
        """Whether ticks and lots are worth the same under these rules."""
        return (self.rules.tick_size, self.rules.step_size) == (rules.tick_size, rules.step_size)

    def follow(self, before: Sleeve) -> None:
        """Go on in place of a sleeve that counted in other ticks or lots: trades once told are not told again."""
        self._trades, self.last_trade_id, self.trades_known = before._trades, before.last_trade_id, before.trades_known
        self.stopped = before.stopped

    def off_grid(self, status: OrderStatus) -> bool:
        """Whether an order of ours cannot be told in today's ticks and lots: its symbol's rules have changed."""
        if not self._ours(status.client_order_id):
            return False
        try:
            self.rules.price_ticks(status.price)
            self.rules.price_ticks(status.stop_price)
            self.rules.qty_lots(status.orig_qty)
            self.rules.qty_lots(status.executed_qty)
        except ValueError:
            return True
        return False

    def drop(self, order_id: int) -> None:
        """An order of ours that is off the grid is being cancelled: what is told of it cannot be read."""
        self._dropped.add(order_id)

    # -- what is held ---------------------------------------------------------------------------------------------
    def holdings(self) -> Holdings:
        """Free plus locked less the reserve, in lots and tick-lots, floored at zero."""
        base, quote = self._balance(self.rules.base_asset), self._balance(self.rules.quote_asset)
        return Holdings(
            base=max(0, self.rules.floor_lots(base.free + base.locked - self.reserve_base)),
            quote=max(0, self.rules.floor_tick_lots(quote.free + quote.locked - self.reserve_quote)),
        )

    @property
    def balances_ms(self) -> int:
        """As of when the balances are, exchange time."""
        return self._balance_ms

    def totals(self) -> tuple[Decimal, Decimal]:
        """Free plus locked of base and quote, the reserve among it."""
        base, quote = self._balance(self.rules.base_asset), self._balance(self.rules.quote_asset)
        return base.free + base.locked, quote.free + quote.locked

    def amounts(self) -> dict[str, Decimal]:
        """What is traded, for people: base and quote, free plus locked less the reserve."""
        base, quote = self._balance(self.rules.base_asset), self._balance(self.rules.quote_asset)
        return {
            self.rules.base_asset: max(Decimal(0), base.free + base.locked - self.reserve_base),
            self.rules.quote_asset: max(Decimal(0), quote.free + quote.locked - self.reserve_quote),
        }

    def spendable(self, side: Side) -> int:
        """What an order of `side` may give when our resting one makes way: lots for a SELL, tick-lots for a BUY."""
        asset = self.rules.base_asset if side is Side.SELL else self.rules.quote_asset
        reserve = self.reserve_base if side is Side.SELL else self.reserve_quote
        held = self._balance(asset)
        ours = Decimal(0)
        for order in self.unfinished():
            if order.side is side:
                step = self.rules.step_size if side is Side.SELL else self.rules.tick_lot * order.price_ticks
                ours += order.remaining_lots * step
        usable = min(held.free + min(ours, held.locked), held.free + held.locked - reserve)
        return max(0, self.rules.floor_lots(usable) if side is Side.SELL else self.rules.floor_tick_lots(usable))

    @property
    def proven(self) -> bool:
        """Whether the user stream itself has told of the last change of an own order, by report or by balances.

        To the second: an order's reply and the event that follows it need not bear the same millisecond.
        """
        return self._changed_ms <= max(self._owed_ms, self._told_ms + PROOF_MS)

    def sync_ended(self, now_ms: int) -> None:
        """The account is known as of now; what appears with another nonce is looked at closely from here on."""
        self._straggles_until_ms = self._straggles_until_ms or now_ms + STRAGGLES_MS
        self.synced, self._synced_ms = True, now_ms
        self.owes_from(now_ms)

    def owes_from(self, now_ms: int) -> None:
        """A stream was subscribed to: it owes what happens from now on."""
        self._owed_ms = now_ms

    def doubt_balances(self) -> None:
        """They turned out to be wrong: `fresh` is false until others are told or asked for."""
        self.fresh = False

    def _balance(self, asset: str) -> Balance:
        return self.balances.get(asset) or Balance()

    def take_account(self, status: AccountStatus, changes: int) -> None:
        """Replace all balances by a snapshot, unless it is older than what is known.

        changes   `changes` when it was asked for: what has happened since may not be in it
        """
        self._mind_date(status.update_time, changes)
        if status.update_time < self._balance_ms:
            return
        with _readable("account.status"):
            self.balances = {b.asset: Balance(decimal(b.free), decimal(b.locked)) for b in status.balances}
        self._balance_ms = status.update_time
        self.fresh = changes == self.changes and status.update_time >= self._changed_ms
        self.balances_told()

    def _mind_date(self, update_ms: int, changes: int) -> None:
        """A snapshot is older than what is known, although it was asked for since: a copy of the exchange may be late,
        or its clock was set back. Asked for long enough, it is the clock, and dates of before count no more.
        """
        if changes != self.changes or update_ms >= max(self._balance_ms, self._changed_ms):
            self._dated = 0
            return
        self._dated += 1
        if self._dated >= DATED:
            self._balance_ms = self._changed_ms = update_ms
            self._dated = 0

    def take_position(self, position: OutboundAccountPosition) -> None:
        """Merge the balances that an event lists; an event older than what is known is passed over."""
        self._told_ms = max(self._told_ms, position.updated_ms)
        if position.updated_ms < self._balance_ms:
            return
        with _readable("outboundAccountPosition"):
            for told in position.balances:
                self.balances[told.asset] = Balance(decimal(told.free), decimal(told.locked))
        self._balance_ms = position.updated_ms
        # each change is followed by a position of its own; several may bear the same millisecond, so it is their order
        # that counts: this one came after the last change, and is not of an earlier one
        self.fresh = position.updated_ms >= self._changed_ms
        self.balances_told()

    # -- own orders -----------------------------------------------------------------------------------------------
    def unfinished(self) -> list[OwnOrder]:
        """Own orders that are not final, oldest first."""
        return list(self._unfinished.values())

    def half_done(self, episode: int) -> bool:
        """Whether the exit of that episode of this process has traded, and its newest order is not filled."""
        orders = [self._orders[name] for name in self._exits.get(episode, ())]
        return any(order.filled_lots for order in orders) and orders[-1].state is not OrderState.FILLED

    def get(self, client_order_id: str) -> OwnOrder | None:
        """An own order."""
        return self._orders.get(client_order_id)

    def sent(self, order: OwnOrder) -> None:
        """A new order is about to be sent: known before the exchange can speak of it."""
        self._keep(order)
        if order.client_order_id.startswith(f"tt-{self.tag}-{self.nonce}-"):
            self._exits.setdefault(order.episode, []).append(order.client_order_id)
        self._told(order, None, None)
        while len(self._orders) > KEPT:
            oldest = next((key for key, kept in self._orders.items() if kept.state.final), None)
            if oldest is None:
                return
            self._forget(oldest)

    def _keep(self, order: OwnOrder) -> None:
        name = order.client_order_id
        before = self._orders.get(name)
        self._orders[name] = order
        if order.state.final:
            self._unfinished.pop(name, None)
        elif before is not None and before.state.final:  # back from the dead: to where it was in the row
            self._unfinished = {each: own for each, own in self._orders.items() if not own.state.final}
        else:
            self._unfinished[name] = order

    def _forget(self, name: str) -> None:
        episode = self._orders.pop(name).episode
        names = self._exits.get(episode, [])
        if name in names:
            names.remove(name)
        if not names:
            self._exits.pop(episode, None)

    def learn(
        self,
        client_order_id: str,
        event: OrderEvent,
        *,
        filled_lots: int = 0,
        order_id: int | None = None,
        at_ms: int = 0,
        code: int | None = None,
        working: bool = False,
        price_ticks: int = 0,
    ) -> OwnOrder:
        """Apply one event to a known order; LinkStale (a new epoch asks anew) when it contradicts what is known.

        working       it is, or was, on the book
        price_ticks   its price as the exchange tells it, where that was the exchange's to find
        """
        before = self._orders[client_order_id]
        known = before
        if before.state is OrderState.REJECTED and event not in (OrderEvent.REJECT, OrderEvent.ABSENT):
            # taken for absent too early: the exchange's word that it is outweighs ours that it never was
            known = attrs.evolve(before, state=OrderState.UNKNOWN)
        try:
            after = known.after(event, filled_lots=filled_lots, order_id=order_id)
        except ValueError as error:
            raise LinkStale(f"the exchange contradicts what we know: {error}") from error
        if after.waits and (working or after.filled_lots):
            after = attrs.evolve(after, triggered_ns=self._now_ns())
            self.stopped = True
        if after.pegged and price_ticks:
            after = attrs.evolve(after, price_ticks=price_ticks)
        if after.remnant_since_ns is None and not after.state.final and remnant(after, self.rules):
            after = attrs.evolve(after, remnant_since_ns=self._now_ns())
        if after != before:
            self._keep(after)
            self._note_change(after, before, at_ms)
            self._told(after, before, code)
        return after

    def lose(self, order: OwnOrder, *, late: bool = False) -> None:
        """What became of `order` is not known, unless an event has told its end meanwhile: it must be asked for.

        late   the exchange says so itself: its engine may still be at it
        """
        known = self._orders[order.client_order_id]
        if not known.state.final:
            self._keep(attrs.evolve(known, late=known.late or late))
            self.learn(order.client_order_id, OrderEvent.LOSE)

    def take_cancel(self, order: OwnOrder, canceled: CanceledOrder) -> None:
        """The exchange has confirmed that `order` is cancelled, and how much of it had traded."""
        with _readable("the reply to a cancel"):
            filled = self.rules.qty_lots(canceled.executed_qty)
        self.learn(order.client_order_id, OrderEvent.CANCEL, filled_lots=filled, at_ms=canceled.transact_time)

    def _note_change(self, after: OwnOrder, before: OwnOrder, at_ms: int) -> None:
        """What moved money, or its locks, makes the balances stale until they have been told anew."""
        unknown = {OrderState.UNKNOWN, OrderState.REJECTED}
        if after.filled_lots != before.filled_lots or (after.state is not before.state and after.state not in unknown):
            self._changed_ms = max(self._changed_ms, at_ms)
            self.changes += 1
            self.fresh = False

    def take_report(self, report: ExecutionReport) -> OwnOrder | None:
        """Apply an execution report; None when the order is not ours."""
        if report.symbol != self.rules.name:
            return None
        self._told_ms = max(self._told_ms, report.transact_ms)
        name = report.own_client_order_id
        if not self._ours(name) or report.order_id in self._dropped:
            return None
        with _readable("executionReport"):
            event, filled = event_of(report.status), self.rules.qty_lots(report.filled_qty)
            pegged = self._told_price(report.pegged_price)
            if name not in self._orders:
                self._meet(name, event, report)
        order = self.learn(
            name,
            event,
            filled_lots=filled,
            order_id=report.order_id if report.order_id > 0 else None,
            at_ms=report.transact_ms,
            working=report.working,
            price_ticks=pegged,
        )
        fill = fill_of(report)
        if fill is not None and self._new_trade(fill.trade_id):
            self._filled(fill)
        return order

    def _new_trade(self, trade_id: int) -> bool:
        """Whether a trade is told for the first time; it is remembered."""
        if trade_id in self._trades:
            return False
        self._trades[trade_id] = None
        self.last_trade_id = max(self.last_trade_id, trade_id)
        while len(self._trades) > KEPT:
            del self._trades[next(iter(self._trades))]
        return True

    def take_trades(self, trades: Iterable[MyTrade]) -> None:
        """Own fills asked for after a gap: those of orders of ours that no event has told are told now."""
        self.trades_known = True
        by_number = {order.order_id: name for name, order in self._orders.items() if order.order_id is not None}
        for trade in trades:
            name = by_number.get(trade.order_id)
            if self._new_trade(trade.id) and name is not None:
                self._filled(fill_of_trade(trade, name))

    def take_status(self, status: OrderStatus) -> OwnOrder | None:
        """Apply the answer to a query; None when the order is not ours."""
        name = status.client_order_id
        if not self._ours(name):
            return None
        with _readable("the status of an order"):
            event, filled = event_of(status.status), self.rules.qty_lots(status.executed_qty)
            pegged = self._told_price(status.pegged_price)
            if name not in self._orders:
                self._meet(name, event, status)
        return self.learn(
            name, event, filled_lots=filled, order_id=status.order_id, at_ms=status.update_time,
            working=status.working_time > 0, price_ticks=pegged,
        )  # fmt: skip

    def _told_price(self, text: str | UnsetType) -> int:
        """A price that is told of some orders only; 0 without one."""
        return self.rules.price_ticks(text) if isinstance(text, str) else 0

    def take_stopped(self) -> bool:
        """Whether the strategy has to hear that the price of the hard stop was reached; asked once, it was told."""
        told, self.stopped = self.stopped, False
        return told

    def take_open_orders(self, orders: Iterable[OrderStatus]) -> list[OwnOrder]:
        """Adopt or update the own ones among the open orders, whatever process made them."""
        return [own for status in orders if (own := self.take_status(status)) is not None]

    def _ours(self, name: str) -> bool:
        return name in self._orders or OrderName.parse(name, self.tag) is not None

    def _meet(self, name: str, event: OrderEvent, told: ExecutionReport | OrderStatus) -> None:
        """Adopt an order with our tag that is not known; ValueError when it cannot be read.

        After the sync one that works is a second instance's, unless it can be an earlier process's. One that has ended
        is not: the last event of an earlier process's order may be under way while the snapshot, which shows it no
        more, is taken.
        """
        parsed = OrderName.parse(name, self.tag)
        assert parsed is not None, "it is ours"
        works = event in (OrderEvent.ACCEPT, OrderEvent.FILL)
        if self.synced and parsed.nonce != self.nonce and works and not self._straggles(name, told):
            self.doubled = True
            raise UnsafeError(
                f"order {name} appeared, with our tag and another process's nonce: "
                "a second tetrio trades this account and symbol; stop one of them"
            )
        self.sent(
            OwnOrder(
                client_order_id=name,
                side=Side(told.side),
                reason=parsed.reason,
                episode=parsed.episode,
                price_ticks=self._told_price(told.pegged_price) or self.rules.price_ticks(told.price),
                qty_lots=self.rules.qty_lots(told.qty if isinstance(told, ExecutionReport) else told.orig_qty),
                sent_ns=self._now_ns(),
                order_id=told.order_id,
                pegged=isinstance(told.pegged_price, str),
                stop_ticks=self.rules.price_ticks(told.stop_price) if told.type == ORDER_TYPE else 0,
                trail_bps=told.trailing_delta if isinstance(told.trailing_delta, int) else 0,
            )
        )

    def _straggles(self, name: str, told: ExecutionReport | OrderStatus) -> bool:
        """Whether an order with another nonce can be what a process that has ended had sent.

        Made before the sync: the snapshot was of a copy that was late. Made soon after the first sync of this process:
        the request was still under way, which can be of one order only, since nobody sends a second before the first
        is resolved.
        """
        made_ms = told.created_ms if isinstance(told, ExecutionReport) else told.time
        if made_ms <= self._synced_ms:
            return True
        if self._straggler is None and made_ms <= self._straggles_until_ms:
            self._straggler = name
        return self._straggler == name


@contextmanager
def _readable(what: str) -> Iterator[None]:
    """What cannot be read (a status that nobody knows, an amount off the grid) ends the epoch, not the bot."""
    try:
        yield
    except ValueError as error:
        raise WireError(f"{what} cannot be read: {error}") from error
