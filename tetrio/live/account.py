"""The account task: logs on, subscribes, learns balances and orders, then follows the user stream.

The subscription comes first and the snapshot after it; events that arrive meanwhile wait in the link's channel and are
applied on top, where what is older than the snapshot changes nothing back. From then on every event goes into the
sleeve, the executor is woken, and changed holdings go to the strategy.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from decimal import Decimal

import msgspec
import trio

from tetrio.core.kernel import Command, Word
from tetrio.core.market import Fill, Holdings, Side
from tetrio.core.orders import JUMPSTART, Names, OrderEvent, OrderName, OwnOrder, event_of
from tetrio.errors import LinkError, LinkLost, LinkSlow, LinkStale, OrderRejected, OrderUnknown, UnsafeError, WireError
from tetrio.journal import Journal
from tetrio.live.link import Link, refused
from tetrio.live.reckoning import Heard, Known, Reckoning
from tetrio.live.sleeve import Sleeve
from tetrio.live.strategy import Inbound, Ring
from tetrio.net.clock import machine_s
from tetrio.status import Status
from tetrio.wire.codes import is_timestamp, is_unknown_order
from tetrio.wire.request import (
    AccountStatus,
    BookTop,
    MyTrade,
    OrderStatus,
    PlacedOrder,
    Subscription,
    SymbolCommission,
    book_of,
    fill_of_trade,
    raise_for,
    result_of,
    signed,
)
from tetrio.wire.sign import Signer
from tetrio.wire.stream import ServerShutdown
from tetrio.wire.user import EventStreamTerminated, ExecutionReport, OutboundAccountPosition, decode_event

RECV_WINDOW_MS = 5000
STALL_S = 5.0
PAGE = 1000  # orders or trades in one answer, the exchange's most
RESTS = "NEW"
NEWEST = 20  # orders that are looked at for our tag, where the latch is gone
BOOK_S = 5.0  # how long a jumpstart waits for a book that is still empty
BOOK_EVERY_S = 0.2
PUSH_S = 5.0  # how long the exchange may take to push balances after a jumpstart order


class Account:
    """The account as one epoch's link tells it."""

    def __init__(
        self,
        link: Link,
        sleeve: Sleeve,
        names: Names,
        heard: deque[Heard],
        *,
        journal: Journal,
        status: Status,
        now_ms: Callable[[], int],
        leaving: Callable[[], None] = lambda: None,
    ) -> None:
        """What it tells.

        heard     takes what the strategy is to take in, each once
        leaving   is called when the exchange says that it is about to cut the link
        """
        self._heard, self._leaving = heard, leaving
        self._link, self._sleeve, self._names = link, sleeve, names
        self._journal, self._status, self._now_ms = journal, status, now_ms
        self._held: Holdings | None = None
        """What the strategy was last told."""
        self._reckoning: Reckoning | None = None

    def reckon(self, known: Known) -> Reckoning:
        """From now on the strategy is told own trades and flows, not what is held."""
        self._reckoning = self._over(known, self._heard)
        return self._reckoning

    def go_on(self, before: Account) -> None:
        """Take over what was reckoned over the link before; it is asked over this one from now on."""
        self._reckoning, self._held = before._reckoning, before._held
        if self._reckoning is not None:
            self._reckoning.move(self._link)

    def look_back(self) -> Reckoning:
        """The same for asking once."""
        return self._over(Known(), deque())

    def _over(self, known: Known, heard: deque[Heard]) -> Reckoning:
        return Reckoning(self._link, self._sleeve, known, heard, journal=self._journal, tag=self._names.tag)

    # -- coming up ------------------------------------------------------------------------------------------------
    async def log_on(self, signer: Signer, api_key: str) -> None:
        """`session.logon`; UnsafeError when key or signature are refused."""
        params = signed({}, signer, api_key, self._now_ms(), RECV_WINDOW_MS)
        reply = await self._link.request("session.logon", params, timed=False)
        try:
            raise_for(reply)
        except UnsafeError as error:
            raise refused(error) from error
        except OrderRejected as error:
            if is_timestamp(error):
                raise LinkStale(f"logon refused: {error}; the clock is measured anew") from error
            raise LinkLost(f"logon refused: {error}") from error

    async def number(self) -> int:
        """The account's own number, the same for all its keys; 0 where the exchange tells none."""
        params = {"omitZeroBalances": True}
        return result_of(await self._link.request("account.status", params), AccountStatus).uid

    async def traded_before(self) -> bool:
        """Whether an earlier process has sent orders of ours, as far as the newest ones of the account tell."""
        params = {"symbol": self._sleeve.rules.name, "limit": NEWEST}
        orders = result_of(await self._link.request("allOrders", params), list[OrderStatus])
        return any(OrderName.parse(order.client_order_id, self._names.tag) is not None for order in orders)

    async def sent_since(self, since_ms: int, most: int) -> int:
        """How many orders of ours were placed since then; no more than `most` are counted."""
        params: dict[str, object] = {"symbol": self._sleeve.rules.name, "limit": PAGE}
        where, count = {"startTime": since_ms}, 0
        while count < most:
            page = result_of(await self._link.request("allOrders", params | where), list[OrderStatus])
            ours = [order for order in page if OrderName.parse(order.client_order_id, self._names.tag) is not None]
            count += sum(1 for order in ours if order.time >= since_ms)
            if len(page) < PAGE:
                break
            where = {"orderId": page[-1].order_id + 1}
        return min(count, most)

    async def trades_since(self, since_ms: int) -> list[Fill]:
        """The account's trades on the symbol since then, oldest first, whoever's orders they are of."""
        params: dict[str, object] = {"symbol": self._sleeve.rules.name, "limit": PAGE}
        where, found = {"startTime": since_ms}, list[Fill]()
        while True:
            page = result_of(await self._link.request("myTrades", params | where), list[MyTrade])
            found += [fill_of_trade(trade, "") for trade in page]
            if len(page) < PAGE:
                return found
            where = {"fromId": page[-1].id + 1}

    async def subscribe(self) -> None:
        """Ask for the user stream."""
        result_of(await self._link.request("userDataStream.subscribe", timed=False), Subscription)

    async def maker_fee(self) -> float:
        """The maker commission of this account on this symbol, all parts together, as a fraction."""
        reply = await self._link.request("account.commission", {"symbol": self._sleeve.rules.name})
        return result_of(reply, SymbolCommission).maker

    async def snapshot(self) -> None:
        """Ask for balances, and for the orders that may be ours."""
        await self.open_orders()
        await self.ask_balances()  # after the orders: what they lock is then in it

    async def ask_balances(self) -> None:
        """Ask for all balances, and take them where they are not older than what is known."""
        changes = self._sleeve.changes
        status = result_of(await self._link.request("account.status"), AccountStatus)
        self._sleeve.take_account(status, changes)

    async def look_again(self, out: trio.MemorySendChannel[Inbound]) -> None:
        """The same once more, and tell the strategy what is another thing by now."""
        held = self._sleeve.holdings()
        await self.ask_balances()
        if self._sleeve.holdings() == held:
            return
        self.tell_balances()
        if self._reckoning is None:
            await self.tell_holdings(out)

    async def open_orders(self) -> list[OwnOrder]:
        """Adopt own orders that rest, and ask for those that we thought unfinished and that do not."""
        symbol = {"symbol": self._sleeve.rules.name}
        reply = await self._link.request("openOrders.status", symbol)
        found = await self._without_off_grid(result_of(reply, list[OrderStatus]))
        resting = self._sleeve.take_open_orders(found)
        names = {order.client_order_id for order in resting}
        for order in self._sleeve.unfinished():
            if order.client_order_id not in names:
                await self._ask(order)
        await self._own_fills()
        return resting

    async def _without_off_grid(self, found: list[OrderStatus]) -> list[OrderStatus]:
        """Cancel own orders that the symbol's rules of today cannot express: what is wanted is placed anew."""
        fitting = []
        for status in found:
            if not self._sleeve.off_grid(status):
                fitting.append(status)
                continue
            self._sleeve.drop(status.order_id)
            params = {"symbol": status.symbol, "orderId": status.order_id}
            reply = await self._link.request("order.cancel", params)
            if reply.error is None or not is_unknown_order(reply.error):
                raise_for(reply)
            self._journal.write(
                "order", client_order_id=status.client_order_id, order_id=status.order_id, side=status.side,
                price=status.price, qty=status.orig_qty, filled=status.executed_qty, state="canceled",
                why="the symbol's rules have changed: it is off the grid",
            )  # fmt: skip
        return fitting

    async def _own_fills(self) -> None:
        """Fills that no event told, because they fell between two links; at the first sync only where they end."""
        params: dict[str, object] = {"symbol": self._sleeve.rules.name}
        params |= {"fromId": self._sleeve.last_trade_id + 1} if self._sleeve.trades_known else {"limit": 1}
        self._sleeve.take_trades(result_of(await self._link.request("myTrades", params), list[MyTrade]))

    async def _ask(self, order: OwnOrder) -> None:
        params = {"symbol": self._sleeve.rules.name, "origClientOrderId": order.client_order_id}
        try:
            self._sleeve.take_status(result_of(await self._link.request("order.status", params), OrderStatus))
        except OrderRejected:
            # not found yet is no proof of absence: the executor goes on asking before it sends anything
            self._sleeve.lose(order)

    async def jumpstart(self) -> None:
        """Learn the balances from what the exchange pushes when a deep post-only order is accepted.

        One order far above the market, one far below, one after the other: each is cancelled by its own id before the
        next is placed. Where neither is accepted (too little of both assets), and where an own order rests or has an
        unknown outcome (there is never a second one beside it), the balances are asked for instead.
        """
        await self.open_orders()
        if self._sleeve.unfinished():
            self._journal.write("rebuilt", what="balances", source="account.status: an own order is not finished")
            await self.ask_balances()
            return
        pushed = 0
        for side, best in await self._best_prices():
            if side not in self._sleeve.jumps_refused:  # once a process: each reconnect would be refused again
                pushed += await self._provoke(side, self._deep(side, best))
        if not pushed:
            self._journal.write("rebuilt", what="balances", source="account.status: no deep order was accepted")
            await self.ask_balances()

    async def _best_prices(self) -> list[tuple[Side, int]]:
        """Best ask for a SELL and best bid for a BUY, ticks; none where the book stays empty."""
        rules, until = self._sleeve.rules, trio.current_time() + machine_s(BOOK_S)
        while True:
            reply = await self._link.request("ticker.book", {"symbol": rules.name}, timed=False)
            bid, ask = book_of(result_of(reply, BookTop), rules)
            if (ask and bid) or trio.current_time() >= until:
                return [(side, best) for side, best in ((Side.SELL, ask), (Side.BUY, bid)) if best]
            await trio.sleep(machine_s(BOOK_EVERY_S))

    def _deep(self, side: Side, best: int) -> int:
        """A price (ticks) far from the market, within the symbol's filters."""
        rules = self._sleeve.rules
        low, high = (
            (rules.bid_multiplier_down, rules.bid_multiplier_up)
            if side is Side.BUY
            else (rules.ask_multiplier_down, rules.ask_multiplier_up)
        )
        away = (
            max(Decimal("0.5"), (1 + low) / 2) if side is Side.BUY else min(Decimal(2), (1 + (high or Decimal(3))) / 2)
        )
        return max(int(best * away), rules.min_price_ticks, 1)

    async def _provoke(self, side: Side, price: int) -> bool:
        """Place a deep order of the smallest size, wait for the push, cancel it; False when it was refused."""
        rules = self._sleeve.rules
        lots = max(rules.min_qty_lots, -(-rules.min_notional_tick_lots // price) + 1)
        name = self._names.next(0, JUMPSTART)
        order = OwnOrder(
            client_order_id=name, side=side, reason=JUMPSTART, episode=0, price_ticks=price, qty_lots=lots,
            sent_ns=self._sleeve.now_ns(),
        )  # fmt: skip
        self._sleeve.sent(order)
        params = {
            "symbol": rules.name, "side": side.value, "type": "LIMIT_MAKER", "quantity": rules.qty_text(lots),
            "price": rules.price_text(price), "newClientOrderId": name, "newOrderRespType": "RESULT",
        }  # fmt: skip
        try:
            placed = result_of(await self._link.request("order.place", params), PlacedOrder)
        except OrderRejected as error:
            self._sleeve.learn(name, OrderEvent.REJECT, code=error.code)
            self._sleeve.jumps_refused.add(side)
            return False
        try:
            event = event_of(placed.status) if isinstance(placed.status, str) else OrderEvent.ACCEPT
        except ValueError as error:
            raise WireError(f"the reply to {name} cannot be read: {error}") from error
        self._sleeve.learn(name, event, order_id=placed.order_id, at_ms=placed.transact_time)
        try:
            with trio.fail_after(machine_s(PUSH_S)):
                while not (self._sleeve.fresh and rules.base_asset in self._sleeve.balances):
                    self._apply((await self._link.events.receive()).raw)
        except trio.TooSlowError:
            raise LinkStale(f"no balances were pushed within {PUSH_S:g} s of a jumpstart order") from None
        except trio.EndOfChannel:
            raise LinkLost("the link ended before the balances of a jumpstart order were pushed") from None
        finally:
            withdrawn = await self._withdraw(name, placed.order_id)
        if not withdrawn:  # nothing is sent beside it: the next sync finds it, or its end
            raise LinkStale(f"the cancel of jumpstart order {name} was not confirmed within {PUSH_S:g} s")
        return True

    async def _withdraw(self, name: str, number: int) -> bool:
        """Cancel a deep order again; whether the exchange has confirmed it."""
        params = {"symbol": self._sleeve.rules.name, "orderId": number}
        with trio.CancelScope(shield=True), trio.move_on_after(machine_s(PUSH_S)):
            try:
                raise_for(await self._link.request("order.cancel", params))
            except (LinkError, OrderRejected, OrderUnknown) as error:
                self._journal.write("refused", what="jumpstart", client_order_id=name, why=str(error))
            else:
                self._sleeve.learn(name, OrderEvent.CANCEL)
                return True
        return False

    # -- following ------------------------------------------------------------------------------------------------
    async def run(self, out: trio.MemorySendChannel[Inbound], wake: Callable[[], None]) -> None:
        """Follow the user stream until the link is let go, or cancelled; LinkLost when the stream ends."""
        with out:
            async for event in self._link.events:
                heard = len(self._heard)
                self._apply(event.raw)
                wake()
                if len(self._heard) > heard:  # what waits has been rung for: a strategy that hangs is not rung full
                    await self._ring(out)
                if self._reckoning is None:
                    await self.tell_holdings(out)

    async def explain(self, out: trio.MemorySendChannel[Inbound]) -> None:
        """Ask for what balances hold and no own trade explains, until cancelled; over whichever link is the newest."""
        with out:
            if self._reckoning is not None:
                await self._reckoning.explain(lambda: self._ring(out))

    def _apply(self, raw: bytes) -> None:
        event = decode_event(raw)
        match event:
            case ExecutionReport():
                self._sleeve.take_report(event)
                if event.status == RESTS:
                    self._status.latency.rests(event.own_client_order_id, trio.current_time())
            case OutboundAccountPosition():
                self._sleeve.take_position(event)
                self.tell_balances()
            case EventStreamTerminated():
                raise LinkLost("account: the exchange ended the user stream")
            case ServerShutdown():
                self._leaving()
            case _:
                self._journal.write("balance", event=type(event).__name__, text=str(event))
        if self._sleeve.take_stopped():  # before what it did to the holdings: the regime must end by it
            self._heard.append(Command(Word.STOPPED))
        if self._reckoning is not None:
            self._reckoning.take(event)

    async def _ring(self, out: trio.MemorySendChannel[Inbound]) -> None:
        if self._heard:
            await self._tell(out, Ring())

    async def tell_holdings(self, out: trio.MemorySendChannel[Inbound]) -> None:
        """Hand the strategy what is held, where that is not what it was last told; LinkSlow when it takes nothing."""
        held = self._sleeve.holdings()
        if held == self._held:
            return
        self._held = held
        await self._tell(out, held)

    async def _tell(self, out: trio.MemorySendChannel[Inbound], told: Inbound) -> None:
        try:
            with trio.fail_after(machine_s(STALL_S)):
                await out.send(told)
        except trio.TooSlowError:
            raise LinkSlow(f"the strategy has not taken what it was told for {STALL_S:g} s") from None

    def tell_balances(self) -> None:
        """Say what is held, to people."""
        rules = self._sleeve.rules
        told = {}
        for asset in (rules.base_asset, rules.quote_asset):
            held = self._sleeve.balances.get(asset)
            if held is not None:
                told[asset] = f"{(held.free + held.locked).normalize():f}"
        self._status.balances = told
        self._status.holding = self._sleeve.amounts()
        self._journal.write("balance", balances=msgspec.to_builtins(told))
