"""One bot: what an epoch is made of, what outlives it, and how it says goodbye.

    bot        signals, watchdog
    └ epoch    REST client, order/account link (outer: they outlive the workers)
      └ workers  account, strategy, feed, executor, clock (inner: cancelled first)

The nesting is the stop: the workers are cancelled, the goodbye is said over the living link, then the link is closed.
Where the link is what died, the goodbye is said over a fresh one.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import attrs
import trio

from tetrio.core.kernel import Command
from tetrio.core.limits import DailyOrders, OrderBudget, Refusals
from tetrio.core.market import Fill, Side
from tetrio.core.money import SymbolRules, plain
from tetrio.core.orders import Names, OrderState, OwnOrder, account_tag
from tetrio.core.params import ExitParams, RiskParams, StrategyParams
from tetrio.errors import LinkError, LinkLost, OrderRejected, OrderUnknown, UnsafeError, WireError
from tetrio.journal import Journal
from tetrio.live.account import Account
from tetrio.live.commander import Commander
from tetrio.live.executor import Executor
from tetrio.live.feed import BATCHES, Feed
from tetrio.live.latch import Latch
from tetrio.live.link import Link, open_link
from tetrio.live.mailbox import Mailbox
from tetrio.live.rest import Rest, open_rest
from tetrio.live.rights import Objections, objections
from tetrio.live.sleeve import Sleeve
from tetrio.live.strategy import Inbound, Intent, Memory, Strategy
from tetrio.live.watchdog import Patience, first_of, watchdog
from tetrio.net import entropy
from tetrio.net.clock import Clock, machine_s
from tetrio.status import FillLine, LiveOrder, Status, Vitals
from tetrio.wire.request import CanceledOrder, OrderStatus, is_unknown_order, result_of, retry_after_ms
from tetrio.wire.rules import RateLimit
from tetrio.wire.sign import Signer

GOODBYE_S = 4.5  # of the 5 s that a stop may take
UNKNOWN_GOODBYE_S = 14.5  # of 15 s, while an unknown outcome is being resolved
GOODBYE_REPLY_S = 1.5  # a reply later than this is given up, to leave time for another link
GOODBYE_AGAIN_S = 0.2  # between two tries
UNMENDED = (LinkError, WireError, OrderRejected, OrderUnknown, UnsafeError)
CLOCK_EVERY_S = 600.0


@attrs.frozen(kw_only=True)
class Setup:
    """Everything a bot is told at its start."""

    rest: str
    ws_api: str
    stream: str
    symbol: str
    api_key: str = attrs.field(repr=False)
    signer: Signer = attrs.field(repr=False)
    strategy: StrategyParams
    exit: ExitParams
    risk: RiskParams
    reserve_base: Decimal = Decimal(0)
    reserve_quote: Decimal = Decimal(0)
    max_notional: Decimal = Decimal(0)
    jumpstart: bool = False
    where: str = ""
    """The exchange, for the latch: a venue's name, or the URL of one that has none."""
    check_rights: bool = True
    """Ask what the key may do, and refuse one that may withdraw; False for a key that a start has made itself."""
    state: Path | None = None
    """Directory of the latch; None keeps the operator's words in memory."""
    patience: Patience = attrs.field(factory=Patience)
    show_every_s: float = 0.1
    """How often the status follows the market when nothing is decided."""


class Bot:
    """A running bot. `run` returns when `stop` is set and the goodbye has been said."""

    def __init__(self, setup: Setup, *, clock: Clock, journal: Journal, status: Status, rng: random.Random) -> None:
        self.setup, self.clock, self.journal, self.status = setup, clock, journal, status
        self.stop = trio.Event()
        self.ready = trio.Event()
        self._rng = rng
        self._memory = Memory()
        self._names = Names(account_tag(setup.api_key, setup.symbol), entropy.token(5))
        self._budget, self._refusals = OrderBudget(), Refusals()
        self._daily = DailyOrders(setup.risk.max_orders_per_day)
        self._sleeve: Sleeve | None = None
        self._offset_ms = 0.0
        self._intents: Mailbox[Intent] = Mailbox(Intent())
        self._said_goodbye = False
        self._stopped_at: float | None = None
        self._was_unknown = False
        self._linked = False
        self._observed = trio.Event()
        self._latch = Latch(setup.state)
        self.commander = Commander(
            status=status, journal=journal, latch=self._latch, params=setup.exit, stop=self.stop,
            wake=self._intents.ring,
        )  # fmt: skip
        self._word: Command | None = None
        self._renewed = trio.Event()
        self._rights_of = ""
        """The key whose rights have been looked at."""
        self._logged_on = False
        self._account_number = 0
        self._proof: float | None = None

    def exchange_ms(self) -> int:
        """The exchange's clock, as measured."""
        return int(self.clock.now_ns() / 1e6 + self._offset_ms)

    async def run(self) -> bool:
        """Trade until `stop`; whether nothing of ours is left behind against `on_stop`."""
        try:
            return await self._run()
        finally:
            self._latch.close()

    async def _run(self) -> bool:
        try:
            await self._watch_over_epochs()
        except Exception:
            # no epoch mends this: what rests must not be left to itself, unless it is another process's to mind
            if self._sleeve is not None and not self._sleeve.doubled:
                await self._goodbye_over_a_fresh_link()
            raise
        if not self._said_goodbye:
            await self._goodbye_over_a_fresh_link()
        return self._said_goodbye

    async def renew(self, api_key: str, signer: Signer) -> None:
        """Go on with another key of the same account: tried on a link of its own first, then a new epoch logs on by it.

        UnsafeError, LinkError and the like when the key is no good: then nothing has changed.
        """
        if self._sleeve is None:
            raise LinkLost("the exchange has not been reached yet, so nothing can be tried: say it again when it has")
        async with open_link(self.setup.ws_api, self.exchange_ms, name="renewal") as link:
            account = self._account_over(link)
            await account.log_on(signer, api_key)
            number = await account.number()
        if self._account_number and number != self._account_number:
            raise UnsafeError("the new key is another account's: start tetrio anew to change the account")
        async with open_rest(self.setup.rest, self.clock.now_ns) as rest:
            await rest.clock_offset_ms(1)
            await self._look_at_rights(rest, api_key, signer)
        self.setup = attrs.evolve(self.setup, api_key=api_key, signer=signer)
        self._renewed.set()

    def check_vitals(self) -> None:
        """Note since when the user stream owes us what an own order did to the balances; asked once a second.

        That the executor has asked for them meanwhile goes on with trading; it does not make the stream alive.
        """
        sleeve, vitals = self._sleeve, self.status.vitals
        if sleeve is None or sleeve.proven:
            self._proof = None
        elif self._proof is None:
            self._proof = trio.current_time()
        vitals.unproven_since = self._proof

    async def _watch_over_epochs(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._stop_waiting_for_the_exchange, nursery.cancel_scope)
            await watchdog(
                self._epoch,
                ever_ready=self.ready.is_set,
                stopping=self.stop.is_set,
                tell=self._tell_epoch,
                asked_s=self._asked_s,
                patience=self.setup.patience,
                rng=self._rng,
            )
            nursery.cancel_scope.cancel()

    async def _stop_waiting_for_the_exchange(self, scope: trio.CancelScope) -> None:
        """A stop while there is no link has nothing to wait for; with one, the epoch itself ends in order."""
        await self.stop.wait()
        self._goodbye_until()
        if not self._linked:
            scope.cancel()

    def _asked_s(self, error: BaseException) -> float | None:
        """For how long the exchange wants to be left alone, where it has said so."""
        if isinstance(error, OrderRejected) and (until_ms := retry_after_ms(error)) is not None:
            return max(0.0, (until_ms - self.exchange_ms()) / 1000)
        return error.retry_after_s if isinstance(error, LinkLost) else None

    def _tell_epoch(self, why: str, delay_s: float) -> None:
        self.status.phase, self.status.detail = "connecting", f"{why}; next try in {delay_s:.1f} s"
        self.status.links["account"] = "lost"
        self.journal.write("epoch", number=self.status.epoch, state="ended", why=why, next_s=round(delay_s, 3))

    # -- one epoch ------------------------------------------------------------------------------------------------
    async def _epoch(self) -> None:
        self.status.epoch += 1
        self.status.phase, self.status.detail = "connecting", "asking for the clock and the symbol's rules"
        self.journal.write("epoch", number=self.status.epoch, state="begun")
        self._intents.value, self._observed = Intent(), trio.Event()
        self._renewed = trio.Event()
        self.status.vitals = Vitals(lag_s=self.status.vitals.lag_s)
        async with open_rest(self.setup.rest, self.clock.now_ns) as rest:
            await self._measure_clock(rest)
            rules, limits = await rest.symbol(self.setup.symbol)
            async with open_link(self.setup.ws_api, self.exchange_ms, heard=self._heard) as link:
                self._linked = True
                self._tell_link("up")
                sleeve = self._sleeve_for(rules, limits)
                try:
                    async with trio.open_nursery() as workers:
                        workers.start_soon(self._work, rest, link, sleeve)
                        workers.start_soon(self._end_when_renewed)
                        await self.stop.wait()
                        self.status.phase, self.status.detail = "stopping", "saying goodbye"
                        workers.cancel_scope.cancel()
                finally:
                    if self.stop.is_set():
                        await self._goodbye(link)
                    self._linked = self._logged_on = False
                    self.status.vitals.session_at = None

    def _heard(self) -> None:
        if self._logged_on:
            self.status.vitals.session_at = trio.current_time()

    async def _end_when_renewed(self) -> None:
        await self._renewed.wait()
        raise LinkLost("the key was changed: a new session begins")

    def _account_over(self, link: Link) -> Account:
        sleeve = self._sleeve
        assert sleeve is not None, "an epoch has been"
        return Account(link, sleeve, self._names, journal=self.journal, status=self.status, now_ms=self.exchange_ms)

    async def _work(self, rest: Rest, link: Link, sleeve: Sleeve) -> None:
        """Synchronise, then run the tasks that trade; until cancelled.

        The market line comes up meanwhile: what it brings waits in its channel for the strategy.
        """
        setup, rules = self.setup, sleeve.rules
        account = self._account_over(link)
        self.status.phase, self.status.detail = "syncing", "logging on, learning balances and orders"
        out, inbound = trio.open_memory_channel[Inbound](BATCHES)
        feed = Feed(
            setup.stream, rest, rules, setup.strategy,
            out=out.clone(), clock=self.clock, status=self.status, journal=self.journal,
        )  # fmt: skip
        async with trio.open_nursery() as workers:
            workers.start_soon(feed.run)
            checked = trio.Event()
            workers.start_soon(self._check_rights, rest, checked)
            params = await self._synchronise(account, sleeve, checked)
            strategy = self._strategy(sleeve, params)
            self.status.detail = "waits for the first best bid and ask; none comes until one of them changes"
            workers.start_soon(account.run, out, self._intents.ring)
            workers.start_soon(strategy.run, inbound)
            workers.start_soon(self._carry_words, out.clone())
            workers.start_soon(self._execute_when_ready, self._executor(link, sleeve), checked)
            workers.start_soon(self._mind_clock, rest)

    def _strategy(self, sleeve: Sleeve, params: StrategyParams) -> Strategy:
        """The kernel of this process, with what the exchange has just told."""
        strategy = Strategy(
            sleeve.rules, params, self._memory, self._intents,
            journal=self.journal, status=self.status, on_first=self._on_first, decided=self.commander.note,
            show_every_s=self.setup.show_every_s,
        )  # fmt: skip
        strategy.obey(self.commander.standing())
        strategy.hold(sleeve.holdings())
        strategy.adopt(sleeve.unfinished())
        return strategy

    async def _synchronise(self, account: Account, sleeve: Sleeve, checked: trio.Event) -> StrategyParams:
        """Learn the account; the strategy's parameters with the fee resolved."""
        sleeve.synced = False
        await account.log_on(self.setup.signer, self.setup.api_key)
        self._logged_on = True
        self._heard()
        self.journal.write("link", name="account", state="logged on")
        # the tag is the account's, not the key's: a new key, or a second one, still knows the orders of the old
        self._account_number = await account.number()
        owner = str(self._account_number or self.setup.api_key)
        sleeve.tag = self._names.tag = account_tag(owner, self.setup.symbol)
        if not self._latch.found:
            await self.commander.restore(self.setup.where, owner, self.setup.symbol, account.traded_before)
        await account.subscribe()
        jumps = self.setup.jumpstart and not self.commander.halted  # its orders are mutations
        if jumps:
            await checked.wait()
        await (account.jumpstart() if jumps else account.snapshot())
        params = self.setup.strategy
        if params.fee is None:
            params = attrs.evolve(params, fee=await account.maker_fee())
        sleeve.synced = True
        sleeve.owes_from(self.exchange_ms())
        account.tell_balances()
        source = "jumpstart" if self.setup.jumpstart else "account.status, openOrders.status, myTrades"
        self.journal.write(
            "rebuilt", what="balances, own orders", source=source, fee=params.fee,
            orders=[order.client_order_id for order in sleeve.unfinished()],
        )  # fmt: skip
        return params

    def _sleeve_for(self, rules: SymbolRules, limits: list[RateLimit]) -> Sleeve:
        """The sleeve of this process, rules and limits as the exchange has just told them."""
        for limit in limits:
            if limit.rate_limit_type == "ORDERS":
                self._budget.limit(limit.interval, limit.interval_num, limit.limit)
        if self._sleeve is None:
            setup = self.setup
            self._sleeve = Sleeve(
                rules, self._names.tag, self._names.nonce,
                reserve_base=setup.reserve_base, reserve_quote=setup.reserve_quote,
                told=self._tell_order, filled=self._tell_fill,
            )  # fmt: skip
            self._sleeve.reckon_time_by(self.clock.now_ns)
        self._sleeve.rules = rules
        self.status.symbol, self.journal.symbol = rules.name, rules.name
        self.status.base_asset, self.status.quote_asset = rules.base_asset, rules.quote_asset
        return self._sleeve

    def _executor(self, link: Link, sleeve: Sleeve) -> Executor:
        return Executor(
            link, sleeve, self._names, self._intents,
            params=self.setup.exit, max_notional=self.setup.max_notional,
            budget=self._budget, daily=self._daily, refusals=self._refusals,
            journal=self.journal, status=self.status, now_ns=self.clock.now_ns,
            halted=lambda: self.commander.halted,
        )  # fmt: skip

    async def _check_rights(self, rest: Rest, checked: trio.Event) -> None:
        """Refuse a key that may do more than trade; one look for each key is enough."""
        if self.setup.check_rights and self._rights_of != self.setup.api_key:
            await self._look_at_rights(rest, self.setup.api_key, self.setup.signer)
        checked.set()

    async def _look_at_rights(self, rest: Rest, api_key: str, signer: Signer) -> None:
        """UnsafeError for a key that may withdraw or transfer; where nobody can tell, it is said, and asked again."""
        try:
            found = objections(await rest.rights(api_key, signer))
        except (LinkError, UnsafeError) as error:
            found = Objections(warnings=(f"what the key may do is not known: {error}",))
        else:
            self._rights_of = api_key
        for warning in found.warnings:
            self.journal.write("warning", what="key", why=warning)
        if found.refusal is not None:
            raise UnsafeError(found.refusal)

    async def _execute_when_ready(self, executor: Executor, checked: trio.Event) -> None:
        """No mutation before the first complete sync, the look at the key, and the epoch's first observation."""
        await checked.wait()
        await self._observed.wait()
        await executor.run()

    async def _carry_words(self, out: trio.MemorySendChannel[Inbound]) -> None:
        """Hand the operator's words to the strategy, once it knows where it stands."""
        async with out:
            await self._observed.wait()
            self.commander.resume_leaving(self.status.regime)
            while True:
                if self._word is None:
                    self._word = await self.commander.commands.receive()
                await out.send(self._word)  # cancelled here, it is said in the next epoch
                self._word = None

    def _on_first(self) -> None:
        self._observed.set()
        self.status.phase, self.status.detail = "ready", ""
        if not self.ready.is_set():
            self.ready.set()
        self.journal.write("ready", epoch=self.status.epoch)

    # -- the clock ------------------------------------------------------------------------------------------------
    async def _measure_clock(self, rest: Rest) -> None:
        offset, error = await rest.clock_offset_ms()
        most = self.setup.risk.max_clock_offset_ms
        if abs(offset) > most + error:
            raise UnsafeError(
                f"this machine's clock is {abs(offset) / 1000:.1f} s {'behind' if offset > 0 else 'ahead of'} the "
                f"exchange's; set it right (timedatectl set-ntp true), or raise [risk] max_clock_offset_ms (now {most})"
            )
        self._offset_ms = offset

    async def _mind_clock(self, rest: Rest) -> None:
        while True:
            await trio.sleep(CLOCK_EVERY_S)
            try:
                await self._measure_clock(rest)
            except LinkLost as error:  # the offset of ten minutes ago is still good; orders do not go this way
                self.journal.write("link", name="rest", state="lost", why=str(error))

    # -- goodbye --------------------------------------------------------------------------------------------------
    async def _goodbye(self, link: Link) -> None:
        """Resolve what is unknown, cancel or leave what rests, and have the exchange confirm it; bounded."""
        sleeve = self._sleeve
        if sleeve is None or not link.alive:
            return
        with trio.CancelScope(deadline=self._goodbye_until(), shield=True) as scope:
            try:
                await self._part(link, sleeve)
            except UNMENDED as error:
                self.journal.write("stop", state="goodbye failed", why=str(error))
        if scope.cancelled_caught:
            self.journal.write("stop", state="goodbye timed out")

    def _goodbye_until(self) -> float:
        """When a stop must be over, on trio's clock: reckoned from the stop, however many tries it takes."""
        if self._stopped_at is None:
            self._stopped_at = trio.current_time()
        if self._sleeve is not None:
            unfinished = self._sleeve.unfinished()
            self._was_unknown |= any(o.state in (OrderState.UNKNOWN, OrderState.SENT) for o in unfinished)
        return self._stopped_at + machine_s(UNKNOWN_GOODBYE_S if self._was_unknown else GOODBYE_S)

    async def _part(self, link: Link, sleeve: Sleeve) -> None:
        executor = self._executor(link, sleeve)
        for order in sleeve.unfinished():
            if order.state in (OrderState.UNKNOWN, OrderState.SENT):
                sleeve.lose(order)
                await executor.resolve(order, within_s=GOODBYE_REPLY_S)
        if self.setup.exit.on_stop == "cancel" or self.commander.halted:  # a halt has promised it
            for order in sleeve.unfinished():
                await self._take_away(link, sleeve, order)
        symbol = {"symbol": self.setup.symbol}
        reply = await link.request("openOrders.status", symbol, within_s=GOODBYE_REPLY_S)
        resting = result_of(reply, list[OrderStatus])
        left = [own.client_order_id for own in sleeve.take_open_orders(resting) if not own.state.final]
        self._said_goodbye = not left or self.setup.exit.on_stop == "leave"
        self.journal.write("stop", state="confirmed", left=left, on_stop=self.setup.exit.on_stop)

    async def _take_away(self, link: Link, sleeve: Sleeve, order: OwnOrder) -> None:
        params = {"symbol": self.setup.symbol, "origClientOrderId": order.client_order_id}
        try:
            reply = await link.request("order.cancel", params, within_s=GOODBYE_REPLY_S)
            sleeve.take_cancel(order, result_of(reply, CanceledOrder))
        except OrderRejected as error:
            if not is_unknown_order(error):
                raise
            sleeve.lose(order)  # filled or gone meanwhile
            await self._executor(link, sleeve).resolve(order, within_s=GOODBYE_REPLY_S)
        except (LinkError, OrderUnknown):
            sleeve.lose(order)  # cancelled or not: the next try asks
            raise

    async def _goodbye_over_a_fresh_link(self) -> None:
        """The link died before the goodbye could be said, or a stop came between two epochs: try while there is time.

        What was under way when the link died may be known to have ended by now, or may rest: the exchange is asked.
        """
        sleeve = self._sleeve
        if sleeve is None or not sleeve.unfinished():
            self._said_goodbye = True  # never traded, or the exchange has told the end of every order
            self.journal.write("stop", state="nothing rests", on_stop=self.setup.exit.on_stop)
            return
        while not self._said_goodbye and trio.current_time() < self._goodbye_until():
            with trio.CancelScope(deadline=self._goodbye_until()):
                try:
                    async with self._fresh_link() as link:
                        await self._goodbye(link)
                except* UNMENDED as group:
                    self.journal.write("stop", state="goodbye failed", why=str(first_of(group)))
                if not self._said_goodbye:
                    await trio.sleep(GOODBYE_AGAIN_S)
        if not self._said_goodbye:
            left = [order.client_order_id for order in sleeve.unfinished()]
            self.journal.write("stop", state="not confirmed", left=left)

    @asynccontextmanager
    async def _fresh_link(self) -> AsyncIterator[Link]:
        assert self._sleeve is not None, "there is something to say goodbye to"
        async with open_link(self.setup.ws_api, self.exchange_ms) as link:
            account = self._account_over(link)
            await account.log_on(self.setup.signer, self.setup.api_key)
            yield link

    # -- telling --------------------------------------------------------------------------------------------------
    def _tell_link(self, state: str) -> None:
        self.status.links["account"] = state
        self.journal.write("link", name="account", state=state)

    def _tell_order(self, order: OwnOrder, before: OwnOrder | None, code: int | None) -> None:
        rules = self._rules
        self.journal.write(
            "order", client_order_id=order.client_order_id, order_id=order.order_id, side=order.side,
            price=plain(order.price_ticks, rules.tick_size), qty=plain(order.qty_lots, rules.step_size),
            filled=plain(order.filled_lots, rules.step_size), state=order.state, code=code,
        )  # fmt: skip
        assert self._sleeve is not None, "it is the sleeve that tells"
        live = self._sleeve.unfinished()
        self.status.order = None if not live else LiveOrder(
            side=live[-1].side.value,
            price=plain(live[-1].price_ticks, rules.tick_size),
            qty=plain(live[-1].qty_lots, rules.step_size),
            filled=plain(live[-1].filled_lots, rules.step_size),
            client_order_id=live[-1].client_order_id,
            placed_ns=live[-1].sent_ns,
            state=live[-1].state.value,
        )  # fmt: skip

    def _tell_fill(self, fill: Fill) -> None:
        rules = self._rules
        price, qty = plain(fill.price_ticks, rules.tick_size), plain(fill.qty_lots, rules.step_size)
        self.journal.write(
            "fill", client_order_id=fill.client_order_id, trade_id=fill.trade_id, side=fill.side, price=price, qty=qty,
            maker=fill.maker, commission=fill.commission, commission_asset=fill.commission_asset,
        )  # fmt: skip
        self._count_fill(fill, price, qty)
        verb = "sold" if fill.side.value == "SELL" else "bought"
        self.status.fills.append(
            f"{verb} {plain(fill.qty_lots, rules.step_size)} at {plain(fill.price_ticks, rules.tick_size)}"
        )

    def _count_fill(self, fill: Fill, price: str, qty: str) -> None:
        """What the trade did to base and quote, its commission taken off, exactly."""
        trading, rules = self.status.trading, self._rules
        sign = 1 if fill.side is Side.BUY else -1
        trading.fills += 1
        trading.base += sign * fill.qty_lots * rules.step_size
        trading.quote -= sign * fill.qty_lots * fill.price_ticks * rules.tick_lot
        fee = Decimal(fill.commission)
        trading.fees[fill.commission_asset] = trading.fees.get(fill.commission_asset, Decimal(0)) + fee
        if fill.commission_asset == rules.base_asset:
            trading.base -= fee
        elif fill.commission_asset == rules.quote_asset:
            trading.quote -= fee
        self.status.told_fills.append(
            FillLine(
                at_ms=fill.at_ms, side=fill.side.value, price=price, qty=qty, maker=fill.maker,
                commission=fill.commission, commission_asset=fill.commission_asset,
                client_order_id=fill.client_order_id, trade_id=fill.trade_id,
            )
        )  # fmt: skip

    @property
    def _rules(self) -> SymbolRules:
        assert self._sleeve is not None, "rules come before orders"
        return self._sleeve.rules
