"""One epoch: its links, and the tasks that work over them.

    epoch      REST client, order/account links (outer: they outlive the workers)
    └ workers  account, strategy, feed, executor, clock, rotation (inner: cancelled first)

The nesting is the stop: the workers are cancelled, the goodbye is said over the living link, then the link is closed.
Start-up and recovery are one path: each epoch synchronises anew, and nothing is sent before it has.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import attrs
import trio

from tetrio.core.kernel import Command, Word
from tetrio.core.limits import DAY
from tetrio.core.orders import account_tag
from tetrio.core.params import StrategyParams
from tetrio.errors import LinkError, LinkLost, LinkStale, UnsafeError, WireError
from tetrio.live.account import Account
from tetrio.live.executor import Executor
from tetrio.live.feed import BATCHES, Feed, Item
from tetrio.live.goodbye import Goodbye
from tetrio.live.kept import UNSURE_MS, Kept
from tetrio.live.latch import Place
from tetrio.live.link import REPLY_S, Link, open_link
from tetrio.live.past import Past
from tetrio.live.rest import Rest, open_rest
from tetrio.live.rights import Objections, objections
from tetrio.live.rulebook import Rulebook
from tetrio.live.session import Session
from tetrio.live.sleeve import Sleeve
from tetrio.live.strategy import Inbound, Intent, Ring, Strategy
from tetrio.live.tape import Continuity
from tetrio.live.watchdog import first_of
from tetrio.net.clock import machine_s
from tetrio.status import Vitals
from tetrio.wire.sign import Signer

CLOCK_EVERY_S = 600.0
LATENCY_EVERY_S = 3600.0
LEAP_S = 2.0  # of the date against the clock that only goes on
ECHO_S = 5.0  # from the acceptance of an order to what the user stream says of it
MOVE_S = 5.0  # for a new link to learn the account, while no order can be sent
LATE_S = 1.0  # for events that are still on their way on the old one
AGAIN_S = 12.0  # after a sync; copies of the exchange that answer queries are some seconds late
RIGHTS_TRIES, RIGHTS_AGAIN_S = 3, 1.0  # trading waits for the answer
SYNC_S = 20.0  # to log on and learn the account
CLOCK_UNSURE_S = 10.0  # while it is known too badly to date an order
CLOCK_AGAIN_S = 60.0  # after a look at it that failed


class Epoch:
    """One life of the links. `linked` while a goodbye may go over the link."""

    def __init__(self, kept: Kept, goodbye: Goodbye, on_ready: Callable[[], None]) -> None:
        self._kept, self._goodbye, self._on_ready = kept, goodbye, on_ready
        self.setup, self.status, self.journal, self.commander = kept.setup, kept.status, kept.journal, kept.commander
        self.linked = False
        self._observed = trio.Event()
        self._logged_on = False

    async def run(self) -> None:
        """Until the stop, goodbye included; or until an error, in a group, ends it."""
        kept = self._kept
        self.status.epoch += 1
        self.status.phase, self.status.detail = "connecting", "asking for the clock and the symbol's rules"
        self.journal.write("epoch", number=self.status.epoch, state="begun")
        kept.intents.value, kept.renewed = Intent(), trio.Event()
        before = self.status.vitals
        self.status.latency.afresh()
        self.status.vitals = Vitals(lag_s=before.lag_s, beat_at=before.beat_at, began_at=trio.current_time())
        async with open_rest(self.setup.rest, kept.clock.now_ns, kept.access) as rest:
            await self._measure_clock(rest)
            rules, limits = await rest.symbol(self.setup.symbol)
            async with trio.open_nursery() as links:
                session = Session(await links.start(self._hold, rest))
                links.start_soon(self._mind, session)
                try:
                    await self._with(session, rest, kept.sleeve_for(rules, limits), links)
                finally:
                    if kept.stop.is_set():
                        await self._goodbye.say(session)
                    self.linked = self._logged_on = False
                    self.status.vitals.session_at = None
                links.cancel_scope.cancel()

    async def _with(self, session: Session, rest: Rest, sleeve: Sleeve, links: trio.Nursery) -> None:
        self.linked = True
        self._tell_link("up")
        async with trio.open_nursery() as workers:
            workers.start_soon(self._work, rest, session, sleeve, links)
            workers.start_soon(self._end_when_renewed)
            workers.start_soon(self._mind_time, sleeve)
            workers.start_soon(self._tell_latency)
            await self._kept.stop.wait()
            self.status.phase, self.status.detail = "stopping", "saying goodbye"
            workers.cancel_scope.cancel()

    # -- links ----------------------------------------------------------------------------------------------------
    async def _hold(self, rest: Rest, *, task_status: trio.TaskStatus[Link]) -> None:
        """Open a link and keep it until it is retired. Its failure is LinkError before it has started; afterwards it
        ends the epoch by `_mind`, where it is the one that requests go over, and nothing where it is not.
        """
        kept, link = self._kept, None
        name = f"account#{next(kept.rotation.numbers)}"
        try:
            async with open_link(
                self.setup.ws_api, kept.exchange_ms, name=name, access=kept.access, heard=self._heard
            ) as link:
                task_status.started(link)
                await link.retired.wait()
        except* (LinkError, WireError) as group:
            error = first_of(group)
            if link is None:
                raise (await rest.classify(error) if isinstance(error, LinkLost) else error) from error
            link.why = error
            link.ended.set()
            self.journal.write("link", name=name, state="lost", why=str(error))

    async def _mind(self, session: Session) -> None:
        """LinkError when the link that requests go over ends; after a move that is another one."""
        while True:
            link = session.link
            await link.ended.wait()
            if session.link is link:
                raise link.why

    def _heard(self) -> None:
        if self._logged_on:
            self.status.vitals.session_at = trio.current_time()

    async def _end_when_renewed(self) -> None:
        await self._kept.renewed.wait()
        raise LinkLost("the key was changed: a new session begins")

    def _tell_link(self, state: str) -> None:
        self.status.links["account"] = state
        self.journal.write("link", name="account", state=state)

    async def _move(self, move: _Move) -> None:
        """Replace the link under the session: the new one logs on, subscribes and learns the account before requests
        go over it; meanwhile the events of both are heard, and those that tell the same change nothing twice.
        """
        session, kept = move.session, self._kept
        session.leaving = trio.Event()
        link = await move.links.start(self._hold, move.rest)
        try:
            account = kept.account_over(link, partial(session.leave, link))
            await account.log_on(self.setup.signer, self.setup.api_key)
            await account.subscribe()
            with trio.fail_after(machine_s(MOVE_S)):
                async with session.turn:
                    await account.snapshot()
                    account.go_on(move.account)
                    old = session.move(link)
                    move.account = account
        except trio.TooSlowError:
            raise LinkStale(f"{link.name}: the account was not learned within {MOVE_S:g} s") from None
        finally:
            if session.link is not link:
                link.retired.set()
        self.journal.write("link", name=link.name, state="up", why=f"took over before {old.name} was cut")
        move.workers.start_soon(account.run, move.out.clone(), kept.intents.ring)
        with trio.move_on_after(machine_s(REPLY_S)):
            await old.wait_idle()
        await trio.sleep(machine_s(LATE_S))
        old.retired.set()

    # -- work -----------------------------------------------------------------------------------------------------
    async def _work(self, rest: Rest, session: Session, sleeve: Sleeve, links: trio.Nursery) -> None:
        """Synchronise, then run the tasks that trade; until cancelled.

        The market line comes up meanwhile: what it brings waits for the past to be folded (`live.tape`).
        """
        setup, rules, kept = self.setup, sleeve.rules, self._kept
        account = kept.account_over(session.link, partial(session.leave, session.link))
        self.status.phase, self.status.detail = "syncing", "logging on, learning balances and orders"
        out, inbound = trio.open_memory_channel[Inbound](BATCHES)
        seen, line = trio.open_memory_channel[Item](BATCHES)
        rulebook = Rulebook(rest, sleeve, journal=self.journal, wake=kept.intents.ring)
        feed = Feed(
            setup.stream, rest, rules, setup.strategy,
            out=seen, clock=kept.clock, status=self.status, journal=self.journal, rotation=kept.rotation,
            off_grid=rulebook.doubt,
        )  # fmt: skip
        continuity = Continuity(rest, rules, journal=self.journal, status=self.status)
        with out:
            async with trio.open_nursery() as workers:
                workers.start_soon(feed.run)
                workers.start_soon(continuity.run, line, out.clone())
                checked = trio.Event()
                workers.start_soon(self._check_rights, rest, checked)
                try:
                    with trio.fail_after(machine_s(SYNC_S)):
                        params = await self._synchronise(account, sleeve, checked)
                        await kept.guardian.synchronise(sleeve, account, rest, kept.latch.words.rebased_ms)
                except trio.TooSlowError:
                    raise LinkStale(f"{session.link.name}: the account was not learned within {SYNC_S:g} s") from None
                self.status.vitals.synced = True
                strategy = await self._strategy(rest, account, sleeve, params)
                fold = kept.memory.fold
                continuity.begin(*(() if fold is None else (fold.last_id, fold.last_ms)))
                first = "best bid and ask" if setup.strategy.reference == "book" else "trade"
                self.status.detail = f"waits for the first {first}; none comes until the market moves"
                workers.start_soon(account.run, out.clone(), kept.intents.ring)
                workers.start_soon(account.explain, out.clone())
                workers.start_soon(strategy.run, inbound)
                workers.start_soon(self._carry_words, out.clone())
                workers.start_soon(rulebook.run)
                learnt = partial(account.tell_holdings, out.clone())
                workers.start_soon(self._execute_when_ready, kept.executor_over(session, rulebook, learnt), checked)
                workers.start_soon(self._mind_clock, rest)
                move = _Move(session, account, rest, links, workers, out)
                workers.start_soon(self._look_again, move)
                await kept.rotation.repeat("account", lambda: session.leaving, lambda: self._move(move))

    async def _strategy(self, rest: Rest, account: Account, sleeve: Sleeve, params: StrategyParams) -> Strategy:
        """The kernel of this process, with what the exchange has just told, and what it has told of the past."""
        kept = self._kept
        past = Past(
            kept.memory, rest, sleeve.rules, params,
            journal=self.journal, status=self.status, now_ms=kept.exchange_ms,
            words=lambda: kept.latch.words, obeyed=self._remember_word, ask=not self.setup.jumpstart,
        )  # fmt: skip
        kept.memory.drop_words()
        if sleeve.take_stopped():  # while there was no link: before what it did to the holdings
            kept.memory.heard.append(Command(Word.STOPPED))
        rebuilt = await past.learn(account)
        strategy = Strategy(
            sleeve.rules, params, kept.memory, kept.intents,
            journal=self.journal, status=self.status, on_first=self._on_first, decided=self.commander.note,
            obeyed=self._remember_word, show_every_s=self.setup.show_every_s,
            protects=self.setup.exit.protect != "off", watch=kept.guardian.watch, standing=self.commander.standing,
        )  # fmt: skip
        strategy.catch_up()
        strategy.hold(sleeve.holdings())
        strategy.adopt(sleeve.unfinished())
        if rebuilt and not kept.latch.remembers:
            strategy.adopt_manual(sleeve.unfinished())
        return strategy

    def _remember_word(self, command: Command, trade_id: int, at_ms: int) -> None:
        self._kept.latch.say(Place(trade_id, at_ms, command.word.value, command.force))

    async def _synchronise(self, account: Account, sleeve: Sleeve, checked: trio.Event) -> StrategyParams:
        """Learn the account; the strategy's parameters with the fee resolved."""
        kept = self._kept
        sleeve.synced = False
        await account.log_on(self.setup.signer, self.setup.api_key)
        self._logged_on = True
        self._heard()
        self.journal.write("link", name="account", state="logged on")
        # the tag is the account's, not the key's: a new key, or a second one, still knows the orders of the old
        kept.account_number = await account.number()
        owner = str(kept.account_number or self.setup.api_key)
        sleeve.tag = kept.names.tag = account_tag(owner, self.setup.symbol)
        if not kept.latch.found:
            await self.commander.restore(self.setup.where, owner, self.setup.symbol, account.traded_before)
        await account.subscribe()
        jumps = self.setup.jumpstart and not self.commander.halted  # its orders are mutations
        if jumps:
            await checked.wait()
        await (account.jumpstart() if jumps else account.snapshot())
        await self._count_orders(account)
        params = self.setup.strategy
        if params.fee is None:
            params = attrs.evolve(params, fee=await account.maker_fee())
        sleeve.sync_ended(kept.exchange_ms())
        account.tell_balances()
        source = "jumpstart" if self.setup.jumpstart else "account.status, openOrders.status, myTrades"
        self.journal.write(
            "rebuilt", what="balances, own orders", source=source, fee=params.fee,
            orders=[order.client_order_id for order in sleeve.unfinished()],
        )  # fmt: skip
        return params

    async def _count_orders(self, account: Account) -> None:
        """What earlier processes have sent on this day counts against the daily bound, and is asked for once."""
        kept = self._kept
        if kept.counted:
            return
        now_ns = kept.exchange_ms() * 1_000_000
        today_ms = now_ns // DAY * DAY // 1_000_000
        kept.daily.found(await account.sent_since(today_ms, self.setup.risk.max_orders_per_day), now_ns)
        self.status.orders_today, kept.counted = kept.daily.count, True

    async def _look_again(self, move: _Move) -> None:
        """Ask for the balances once more, over whichever link is in use: the sync's may be of a copy that was late."""
        await trio.sleep(machine_s(AGAIN_S))
        await move.account.look_again(move.out)

    async def _check_rights(self, rest: Rest, checked: trio.Event) -> None:
        """Refuse a key that may do more than trade; one look for each key is enough."""
        if self.setup.check_rights and self._kept.rights_of != self.setup.api_key:
            await look_at_rights(self._kept, rest, self.setup.api_key, self.setup.signer)
        checked.set()

    async def _execute_when_ready(self, executor: Executor, checked: trio.Event) -> None:
        """No mutation before the first complete sync, the look at the key, and the epoch's first observation."""
        await checked.wait()
        await self._observed.wait()
        await executor.run()

    async def _carry_words(self, out: trio.MemorySendChannel[Inbound]) -> None:
        """Hand the operator's words to the strategy, once it knows where it stands."""
        with out:
            await self._observed.wait()
            self.commander.resume_leaving(self.status.regime)
            while True:
                self._kept.memory.heard.append(await self.commander.commands.receive())
                await out.send(Ring())  # cancelled here, it is taken in by the next epoch

    async def _tell_latency(self) -> None:
        """Into the journal: each hour, and at the end of the epoch, what came since it was told last."""
        try:
            while True:
                await trio.sleep(machine_s(LATENCY_EVERY_S))
                self._write_latency()
        finally:
            self._write_latency()

    def _write_latency(self) -> None:
        latency = self.status.latency
        if stages := latency.period():
            told = {name: attrs.asdict(figures) for name, figures in stages.items()}
            self.journal.write("latency", **told, **latency.clock_members())

    def _on_first(self) -> None:
        self._observed.set()
        self.status.latency.afresh()
        self.status.phase, self.status.detail = "ready", ""
        self._on_ready()
        self.journal.write("ready", epoch=self.status.epoch)

    # -- the clock ------------------------------------------------------------------------------------------------
    async def _measure_clock(self, rest: Rest) -> bool:
        """Whether it is known well now; UnsafeError when at a start ours is too far from it."""
        offset, error = await rest.clock_offset_ms()
        kept, known, most = self._kept, self._kept.offset_ms, self.setup.risk.max_clock_offset_ms
        # at a start a wrong clock is refused; later ours only goes on, and whatever the machine's does is measured
        if known is None and abs(offset) > most + error:
            raise UnsafeError(
                f"this machine's clock is {abs(offset) / 1000:.1f} s {'behind' if offset > 0 else 'ahead of'} the "
                f"exchange's; set it right (timedatectl set-ntp true), or raise [risk] max_clock_offset_ms (now {most})"
            )
        if known is not None and abs(offset - known) > max(UNSURE_MS, error):
            leap = f"the exchange's clock is {offset - known:+.0f} ms from where it was"
            self.journal.write("warning", what="clock", why=leap, offset_ms=round(offset), error_ms=round(error))
        elif known is not None and error > UNSURE_MS and not kept.why_no_clock():
            return False  # what is known is known better, and this does not contradict it
        kept.offset_ms, kept.error_ms, kept.clock_at = offset, error, trio.current_time()
        self.status.latency.clock(offset, error, machine_s(1))
        if why := kept.why_no_clock():
            why = f"{why}: orders wait; it is asked for every {CLOCK_UNSURE_S:g} s"
            self.journal.write("refused", what="clock", why=why, offset_ms=round(offset), error_ms=round(error))
        return not why

    async def _mind_clock(self, rest: Rest) -> None:
        """Until cancelled: now and then, sooner after a look that failed, soonest while no order can be dated."""
        good = True
        while True:
            every_s = CLOCK_EVERY_S if good else CLOCK_AGAIN_S
            await trio.sleep(machine_s(CLOCK_UNSURE_S if self._kept.why_no_clock() else every_s))
            try:
                good = await self._measure_clock(rest)
            except LinkLost as error:  # the offset of ten minutes ago is still good; orders do not go this way
                good = False
                self.journal.write("link", name="rest", state="lost", why=str(error))

    async def _mind_time(self, sleeve: Sleeve) -> None:
        """LinkStale when the date and the time that has passed do not fit (a suspend, a pause, a clock that was set),
        or when the user stream does not tell what became of an own order.
        """
        wall, trusted = self._kept.wall, self._kept.clock
        ahead_ns = wall.now_ns() - trusted.now_ns()
        owed_since: float | None = None
        while True:
            await trio.sleep(machine_s(1))
            leap_s = (wall.now_ns() - trusted.now_ns() - ahead_ns) / 1e9
            if abs(leap_s) > machine_s(LEAP_S):
                raise LinkStale(f"the date has leapt by {leap_s:+.1f} s (a suspend, or the clock was set)")
            if not sleeve.synced or sleeve.proven:
                owed_since = None
                continue
            owed_since = trio.current_time() if owed_since is None else owed_since
            if trio.current_time() - owed_since >= machine_s(ECHO_S - 1):
                raise LinkStale(f"account: the user stream has not told of an own order's change for {ECHO_S:g} s")


@attrs.define
class _Move:
    """What it takes to move the session to another link."""

    session: Session
    account: Account
    """Over the link that is in use."""
    rest: Rest
    links: trio.Nursery
    workers: trio.Nursery
    out: trio.MemorySendChannel[Inbound]


async def look_at_rights(kept: Kept, rest: Rest, api_key: str, signer: Signer) -> None:
    """UnsafeError for a key that may withdraw or transfer; where nobody can tell, it is said, and asked again."""
    known = False
    for left in reversed(range(RIGHTS_TRIES)):
        try:
            found = objections(await rest.rights(api_key, signer))
        except (LinkError, UnsafeError) as error:
            found = Objections(warnings=(f"what the key may do is not known: {error}",))
            if left:
                await trio.sleep(machine_s(RIGHTS_AGAIN_S))
        else:
            known = True
            break
    for warning in found.warnings:
        kept.journal.write("warning", what="key", why=warning)
    if found.refusal is not None:
        raise UnsafeError(found.refusal)
    if known:
        kept.rights_of = api_key  # only now: should the refusal be lost on its way, the next epoch asks again
