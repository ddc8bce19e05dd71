"""The executor task: makes what rests equal to what is wanted, with one mutation under way at a time.

It looks at the newest Intent and at the sleeve, asks `core.orders.plan` for one action, does it, and looks again. A
reply and the events that tell the same are merged by the sleeve; neither is waited for where the other has come. When
an outcome is unknown nothing else is sent until the exchange has been asked and has answered, by the client order id
that was written down before sending.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal

import trio

from tetrio.core.limits import Breakers, DailyOrders, OrderBudget, Refusals
from tetrio.core.market import Quote, Reason, Side, Want
from tetrio.core.money import SymbolRules
from tetrio.core.orders import (
    Cancel,
    Names,
    OrderEvent,
    OrderState,
    OwnOrder,
    Place,
    Replace,
    Sight,
    Wait,
    escalates,
    event_of,
    plan,
)
from tetrio.core.params import ExitParams
from tetrio.core.protect import ORDER_TYPE
from tetrio.errors import LinkError, LinkStale, OrderRejected, OrderUnknown, WireError
from tetrio.journal import Journal
from tetrio.live.mailbox import Mailbox
from tetrio.live.resolving import resolve
from tetrio.live.rulebook import Rulebook
from tetrio.live.session import Session
from tetrio.live.sleeve import Sleeve
from tetrio.live.strategy import Intent
from tetrio.net.clock import machine_s
from tetrio.status import Status
from tetrio.wire.codes import (
    is_bad_symbol,
    is_cancel_rejected,
    is_filter_failure,
    is_insufficient_balance,
    is_market_closed,
    is_no_pegs,
    is_timestamp,
    is_too_many_orders,
    is_too_much_weight,
    is_unknown_order,
    is_would_match,
    is_would_trigger,
)
from tetrio.wire.request import (
    AccountStatus,
    CanceledOrder,
    ErrorBody,
    OrderStatus,
    PlacedOrder,
    Reply,
    cancel_replace_result,
    result_of,
)

NS = 1_000_000_000
MUTATION_S = 3.0  # a reply later than this is taken for lost and the order asked for
STALE_S = 1.0  # balances older than an own order's change: so long until they are asked for
RECV_WINDOW_MS = 3000  # of a mutation: later than this after it was stamped it is refused
PEG_AGAIN_NS = 5 * NS  # while the book that we see stays as it was
CLOSED_AGAIN_NS = 30 * NS  # a cancel that was refused since the market is closed
CANCEL_AGAIN_S = 0.2  # after a cancel that failed: what rests is asked for, and may still seem to rest


class Executor:
    """Works the one exit of a sleeve."""

    def __init__(
        self,
        session: Session,
        sleeve: Sleeve,
        names: Names,
        intents: Mailbox[Intent],
        *,
        params: ExitParams,
        max_notional: Decimal,
        budget: OrderBudget,
        daily: DailyOrders,
        breakers: Breakers,
        rulebook: Rulebook,
        stopped: Callable[[], bool],
        learnt: Callable[[], Awaitable[None]],
        why_no_clock: Callable[[], str],
        trail_bps: int = 0,
        journal: Journal,
        status: Status,
        now_ns: Callable[[], int],
        halted: Callable[[], bool],
    ) -> None:
        """What it is told by.

        learnt         balances were asked for: the strategy has to hear of them too
        stopped        tell the strategy that the price of the hard stop was reached; whether it will hear
        why_no_clock   why the exchange's clock is not known well enough to date an order; "" when it is
        trail_bps      distance of the protective stop where it is to trail, basis points; 0: it stands
        halted         nothing may be sent but cancels
        """
        self._halted, self._learnt = halted, learnt
        self._stopped, self._why_no_clock, self._trail_bps = stopped, why_no_clock, trail_bps
        self._breakers, self._rulebook = breakers, rulebook
        self._link, self._sleeve, self._names, self._intents = session, sleeve, names, intents
        self._params, self._budget, self._daily = params, budget, daily
        self._journal, self._status, self._now_ns = journal, status, now_ns
        self._reserved = bool(max_notional or sleeve.reserve_base or sleeve.reserve_quote)
        self._cap = sleeve.rules.floor_tick_lots(max_notional)
        self._last_sent_ns: int | None = None
        self._last_taken_ns: int | None = None
        self._finished = 0
        self._escalated = 0
        """The episode whose hard stop has begun to take."""
        self._doubted = False
        """What is held was refused as too little: what rests and what is free is to be asked for."""
        self._no_cancel_before_ns = 0
        self._used_up_ns = 0
        """Until when the day's orders are used up, as it was told."""
        self._refused_book: tuple[int, int] | None = None
        self._refused_ticks: int | None = None
        self._pegged_book: tuple[int, int] | None = None
        """As it was seen when the latest order was sent that the exchange prices."""
        self._pegs_refused = False
        self._overtaken = ""
        """The latest order that could not be replaced, since it was filled meanwhile."""

    @property
    def _rules(self) -> SymbolRules:
        return self._sleeve.rules

    async def run(self) -> None:
        """Until cancelled; LinkError when the link fails, with every outcome that is not known marked as unknown."""
        while True:
            await self._settle()
            self._tell_stopped()
            async with self._link.turn:  # the session does not move to another link with a mutation under way
                if not self._settled:
                    continue  # more was told while the turn was waited for
                action = self._plan()
                if not isinstance(action, Wait):
                    await self._do(action)
            if isinstance(action, Wait):
                await self._wait(action)

    async def _do(self, action: Place | Replace | Cancel) -> None:
        match action:
            case Place():
                await self._place(action)
            case Replace():
                await self._replace(action)
            case Cancel():
                await self._cancel(action)

    async def _wait(self, action: Wait) -> None:
        """Until something has changed, or the time that the plan named."""
        self._status.latency.held_back()
        if action.until_ns is None:
            await self._intents.wait()
            return
        with trio.move_on_after(max(0, action.until_ns - self._now_ns()) / NS):
            await self._intents.wait()

    def _plan(self) -> Place | Replace | Cancel | Wait:
        unfinished = self._sleeve.unfinished()
        if len(unfinished) > 1:  # adopted from an earlier process: the newest goes on, the others make way
            return Cancel(unfinished[0], "one exit at a time")
        intent, now = self._intents.value, self._now_ns()
        live = unfinished[0] if unfinished else None
        if live is not None and now < self._no_cancel_before_ns:
            return Wait("a cancel was refused: the market is closed", self._no_cancel_before_ns)
        if self._halted():
            return Cancel(live, "halted") if live else Wait("halted")
        want = intent.want or self._unfinished_exit(intent)
        kind = self._kind_of_next(want, intent.quote, now)
        hold, why = self._held_back(kind, intent.quote, now)
        return plan(
            Sight(
                want=want,
                protect=intent.protect,
                trail_bps=self._trail_bps,
                escalated=want is not None and want.reason is Reason.HARD_STOP and want.episode == self._escalated,
                pegs=self._pegs,
                quote=intent.quote,
                live=live,
                base_lots=self._sleeve.spendable(Side.SELL),
                quote_tick_lots=self._sleeve.spendable(Side.BUY),
                now_ns=now,
                last_sent_ns=self._last_sent_ns,
                last_taken_ns=self._last_taken_ns,
                not_before_ns=hold,
                why_not=why,
                refused_ticks=self._refused_ticks,
                reserved=self._reserved,
                max_notional_tick_lots=self._cap,
            ),
            self._params,
            self._rules,
        )

    def _unfinished_exit(self, intent: Intent) -> Want | None:
        """The exit to finish although its first fills have changed the regime.

        A BUY that has traded a little makes the base sellable, which ends its regime and disarms it; what was wanted
        was the whole sleeve, so the rest goes on, until it is filled or an exit of the other side is wanted.
        """
        finish = intent.finish
        if finish is None or finish.episode == self._finished:
            return None
        if not self._sleeve.half_done(finish.episode):
            self._finished = finish.episode
            return None
        return finish

    @property
    def _pegs(self) -> bool:
        return self._params.chase == "peg" and self._rules.peg_allowed and not self._pegs_refused

    def _kind_of_next(self, want: Want | None, quote: Quote | None, now: int) -> str:
        """What an order sent now would be: protect, take, stop (a hard stop that rests) or exit."""
        if want is None:
            return "protect"
        if want.take or (quote is not None and escalates(want, quote, now, self._params)):
            return "take"
        if want.reason is not Reason.HARD_STOP:
            return "exit"
        return "take" if want.episode == self._escalated else "stop"

    def _held_back(self, kind: str, quote: Quote | None, now: int) -> tuple[int, str]:
        """Until when no new order may be sent, and why: the latest of back-off, order-count budget and daily bound."""
        urgent = kind != "exit"
        holds = [
            self._breakers.free_at(kind, urgent=urgent),
            (self._budget.free_at(now, urgent=urgent), "the exchange's order count is nearly used up"),
            (self._daily.free_at(now, urgent=urgent), "[risk] max_orders_per_day is reached"),
        ]
        self._tell_used_up(holds[-1][0], now)
        for why in (self._rulebook.closed, self._why_no_clock()):
            if why:
                holds.append((now + NS, why))
        resting = kind in ("exit", "stop")
        if resting and quote is not None and (quote.bid, quote.ask) == self._refused_book:
            # a post-only order was refused at this very book: the next change of the book, or the longest back-off
            longest = (self._last_sent_ns or now) + Refusals.LAST_NS
            holds.append((longest, "waiting for the book to change after a post-only rejection"))
        if kind == "exit" and quote is not None and (quote.bid, quote.ask) == self._pegged_book and self._pegs_now:
            # the exchange priced it by a book that is newer than the one we see
            again = (self._last_sent_ns or now) + PEG_AGAIN_NS
            holds.append((again, "waiting for the book to change since the exchange has priced the order"))
        return max(holds)

    @property
    def _pegs_now(self) -> bool:
        """Whether an order rests that the exchange has priced."""
        return any(order.pegged for order in self._sleeve.unfinished())

    def _tell_used_up(self, until_ns: int, now: int) -> None:
        if until_ns > now and until_ns != self._used_up_ns:
            self._used_up_ns = until_ns
            why = f"{self._daily.count} of {self._daily.most} orders were sent on this day: no more until 00:00 UTC"
            self._journal.write("refused", what="max_orders_per_day", why=f"{why}, but by stops while any are left")

    # -- before anything is sent ----------------------------------------------------------------------------------
    @property
    def _settled(self) -> bool:
        """Whether what is known can be planned on."""
        unknown = any(order.state is OrderState.UNKNOWN for order in self._sleeve.unfinished())
        return self._sleeve.fresh and not unknown and not self._doubted

    async def _settle(self) -> None:
        """Nothing is planned on an unknown outcome, nor on balances older than the last change of an own order."""
        for order in self._sleeve.unfinished():
            if order.state is OrderState.UNKNOWN:
                await resolve(self._link, self._sleeve, order, self._now_ns)
        if self._doubted:
            await self._ask_what_rests()
        while not self._sleeve.fresh:
            with trio.move_on_after(machine_s(STALE_S)) as patience:
                while not self._sleeve.fresh:
                    await self._intents.wait()
            if patience.cancelled_caught:
                await self._ask_balances()

    async def _ask_balances(self) -> None:
        changes = self._sleeve.changes
        self._sleeve.take_account(result_of(await self._link.request("account.status"), AccountStatus), changes)
        self._tell_stopped()  # before what it did to the holdings
        await self._learnt()

    def _tell_stopped(self) -> None:
        if self._sleeve.take_stopped() and not self._stopped():
            self._sleeve.stopped = True  # it cannot hear yet

    async def _ask_what_rests(self) -> None:
        """Less is free than was reckoned with: an order of ours may rest that is not known; then the balances."""
        reply = await self._link.request("openOrders.status", {"symbol": self._rules.name})
        self._sleeve.take_open_orders(result_of(reply, list[OrderStatus]))
        await self._ask_balances()
        self._doubted = False

    # -- the three mutations --------------------------------------------------------------------------------------
    async def _place(self, action: Place) -> None:
        order = self._new(action, spent=0)
        try:
            reply = await self._send("order.place", self._order_params(order))
            self._took(order, result_of(reply, PlacedOrder))
        except OrderRejected as error:
            self._refused(order, error)
        except (OrderUnknown, LinkError) as error:
            await self._lost(error, order)

    async def _replace(self, action: Replace) -> None:
        old = action.order
        spent = old.spent_tick_lots + old.filled_lots * old.price_ticks
        order = self._new(action.place, spent=spent)
        params = {
            **self._order_params(order),
            "cancelReplaceMode": "STOP_ON_FAILURE",
            **self._which(old, "cancelOrderId", "cancelOrigClientOrderId"),
        }
        if action.only_if_new:
            params["cancelRestrictions"] = "ONLY_NEW"
        try:
            result = cancel_replace_result(await self._send("order.cancelReplace", params))
        except (OrderUnknown, LinkError) as error:
            await self._lost(error, old, order)
            return
        if result.canceled is not None:
            self._sleeve.take_cancel(old, result.canceled)
        elif result.cancel_ok is False:
            self._sleeve.lose(old)  # filled or gone meanwhile: it is asked for
        if result.placed is not None:
            self._took(order, result.placed)
            return
        refusal = result.new_error or result.cancel_error or ErrorBody(0, "the new order was not attempted")
        if result.cancel_ok is False and is_cancel_rejected(refusal) and old.client_order_id != self._overtaken:
            self._overtaken = old.client_order_id  # by a fill: that is no refusal, unless it is told again and again
            self._sleeve.learn(order.client_order_id, OrderEvent.REJECT, code=refusal.code)
            return
        self._refused(order, refusal)

    async def _cancel(self, action: Cancel) -> None:
        order = action.order
        if action.why.startswith("dust"):
            left = self._rules.qty_text(order.remaining_lots)
            self._journal.write("refused", what="dust", client_order_id=order.client_order_id, qty=left, why=action.why)
        params: dict[str, object] = {"symbol": self._rules.name, **self._which(order, "orderId", "origClientOrderId")}
        try:
            self._sleeve.take_cancel(order, result_of(await self._send("order.cancel", params), CanceledOrder))
        except OrderRejected as error:
            if is_market_closed(error):
                self._rulebook.refuse(f"{error.code} {error.msg}")
                self._no_cancel_before_ns = self._now_ns() + CLOSED_AGAIN_NS
                return
            if not is_unknown_order(error):
                raise
            self._sleeve.lose(order)
            await trio.sleep(CANCEL_AGAIN_S)
        except (OrderUnknown, LinkError) as error:
            await self._lost(error, order)
            await trio.sleep(CANCEL_AGAIN_S)

    # -- their parts ----------------------------------------------------------------------------------------------
    def _new(self, action: Place, spent: int) -> OwnOrder:
        """Write the order down, before it can be spoken of."""
        now = self._now_ns()
        order = OwnOrder(
            client_order_id=self._names.next(action.episode, action.reason),
            side=action.side,
            reason=action.reason,
            episode=action.episode,
            price_ticks=action.price_ticks,
            qty_lots=action.qty_lots,
            sent_ns=now,
            take=action.take,
            pegged=action.pegged,
            stop_ticks=action.stop_ticks,
            trail_bps=action.trail_bps,
            spent_tick_lots=spent,
        )
        self._last_sent_ns = now
        if action.pegged and (quote := self._intents.value.quote) is not None:
            self._pegged_book = quote.bid, quote.ask
        if action.take:
            self._last_taken_ns = now
            if action.reason == Reason.HARD_STOP.value:
                self._escalated = action.episode
        self._budget.sent(now)
        self._daily.sent(now)
        self._status.orders_today = self._daily.count
        self._status.orders_sent += 1
        self._sleeve.sent(order)
        return order

    def _order_params(self, order: OwnOrder) -> dict[str, object]:
        return {
            "symbol": self._rules.name,
            "side": order.side.value,
            **self._type_params(order),
            "quantity": self._rules.qty_text(order.qty_lots),
            "newClientOrderId": order.client_order_id,
            "newOrderRespType": "RESULT",
        }

    def _type_params(self, order: OwnOrder) -> dict[str, object]:
        """What kind of order it is, and at which price."""
        price = {"price": self._rules.price_text(order.price_ticks)}
        if order.take:
            return {"type": "LIMIT", "timeInForce": "IOC", **price}
        if order.trail_bps:
            return {"type": ORDER_TYPE, "timeInForce": "GTC", **price, "trailingDelta": order.trail_bps}
        if order.stop_ticks:
            stop = self._rules.price_text(order.stop_ticks)
            return {"type": ORDER_TYPE, "timeInForce": "GTC", **price, "stopPrice": stop}
        return {"type": "LIMIT_MAKER", **({"pegPriceType": "PRIMARY_PEG"} if order.pegged else price)}

    def _which(self, order: OwnOrder, by_id: str, by_name: str) -> dict[str, object]:
        """By the exchange's number where it is known: the quickest for the exchange to find."""
        return {by_name: order.client_order_id} if order.order_id is None else {by_id: order.order_id}

    async def _send(self, method: str, params: dict[str, object]) -> Reply:
        params = {**params, "recvWindow": RECV_WINDOW_MS}
        timing = self._status.latency.sending(params.get("newClientOrderId"))
        # a stop waits for the answer of what is under way, which is bounded: no outcome is left unknown
        with trio.CancelScope(shield=True):
            reply = await self._link.request(method, params, within_s=MUTATION_S, written=timing.written)
        timing.replied(trio.current_time())
        now = self._now_ns()
        for limit in reply.rate_limits:
            if limit.rate_limit_type == "ORDERS":
                self._budget.reported(limit.interval, limit.interval_num, limit.used, now)
        return reply

    def _took(self, order: OwnOrder, placed: PlacedOrder) -> None:
        try:
            event = event_of(placed.status) if isinstance(placed.status, str) else OrderEvent.ACCEPT
            filled = self._rules.qty_lots(placed.executed_qty) if isinstance(placed.executed_qty, str) else 0
            pegged = self._rules.price_ticks(placed.pegged_price) if isinstance(placed.pegged_price, str) else 0
        except ValueError as error:
            raise WireError(f"the reply to {order.client_order_id} cannot be read: {error}") from error
        self._breakers.accepted(_kind_of(order))
        self._refused_book = self._refused_ticks = None
        self._sleeve.learn(
            order.client_order_id, event, filled_lots=filled, order_id=placed.order_id, at_ms=placed.transact_time,
            working=isinstance(placed.working_time, int) and placed.working_time > 0, price_ticks=pegged,
        )  # fmt: skip

    async def _lost(self, error: Exception, *orders: OwnOrder) -> None:
        """No answer: mark what was under way, and let a dead link end the epoch.

        Over a link that lives, no answer in time is like the exchange's word that it does not know: it is late. So the
        link is asked for a sign of life at once, since of one that died before nothing can have been executed late.
        """
        for order in orders:
            self._sleeve.lose(order, late=isinstance(error, OrderUnknown))
        if not isinstance(error, LinkError):
            return
        if not self._link.alive:
            raise error
        await self._link.prove()
        for order in orders:
            known = self._sleeve.get(order.client_order_id)
            if known is not None and known.state is OrderState.UNKNOWN:
                self._sleeve.lose(order, late=True)

    def _refused(self, order: OwnOrder, error: OrderRejected | ErrorBody) -> None:
        self._sleeve.learn(order.client_order_id, OrderEvent.REJECT, code=error.code)
        self._status.refused += 1
        now, quote = self._now_ns(), self._intents.value.quote
        if is_timestamp(error):
            raise LinkStale(f"{order.client_order_id}: {error.code} {error.msg}; the clock is measured anew")
        if is_too_much_weight(error):
            raise OrderRejected(error.code, error.msg, data=error.data)  # the watchdog waits for as long as was asked
        if is_would_match(error):
            self._breakers.would_match(_kind_of(order), now)
            self._refused_book = (quote.bid, quote.ask) if quote is not None else None
            self._refused_ticks = order.price_ticks
            return
        self._learn_from(error, now)
        if why := self._breakers.refused(_kind_of(order), error.code, error.msg, now):
            self._journal.write("refused", what="breaker", code=error.code, why=why)

    def _learn_from(self, error: OrderRejected | ErrorBody, now: int) -> None:
        """What a refusal says beside no."""
        if is_would_trigger(error):
            self._sleeve.stopped = True
        if is_too_many_orders(error):
            self._budget.exceeded(now)
        if is_no_pegs(error):
            self._pegs_refused = True
            self._journal.write("warning", what="chase", why=f"{error.code} {error.msg} Exits join instead")
        if is_insufficient_balance(error):
            self._sleeve.doubt_balances()
            self._doubted = True
        if is_market_closed(error):
            self._rulebook.refuse(f"{error.code} {error.msg}")
        elif is_filter_failure(error) or is_bad_symbol(error) or is_no_pegs(error):
            self._rulebook.doubt()


def _kind_of(order: OwnOrder) -> str:
    """Which refusals it counts among."""
    if order.protects:
        return "protect"
    if order.take:
        return "take"
    return "stop" if order.reason == Reason.HARD_STOP.value else "exit"
