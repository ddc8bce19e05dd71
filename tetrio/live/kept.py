"""What outlives an epoch: the sleeve with its own orders, the kernel's memory, names, budgets and the operator's words.

An epoch learns everything else anew from the exchange. Nothing here is stored but the latch.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import trio

from tetrio.core import protect
from tetrio.core.limits import Breakers, DailyOrders, OrderBudget
from tetrio.core.market import Fill
from tetrio.core.money import SymbolRules
from tetrio.core.orders import Names, account_tag
from tetrio.errors import ConfigError
from tetrio.journal import Journal
from tetrio.live.account import Account
from tetrio.live.commander import Commander
from tetrio.live.executor import Executor
from tetrio.live.guardian import Guardian
from tetrio.live.latch import Latch
from tetrio.live.link import Link
from tetrio.live.mailbox import Mailbox
from tetrio.live.rotation import Rotation
from tetrio.live.rulebook import Rulebook
from tetrio.live.session import Session
from tetrio.live.setup import Setup
from tetrio.live.sleeve import Sleeve
from tetrio.live.strategy import Intent, Memory
from tetrio.live.telling import Teller
from tetrio.net import entropy
from tetrio.net.access import Access
from tetrio.net.clock import AnchoredClock, Clock, machine_s
from tetrio.status import Status
from tetrio.wire.rules import RateLimit

CLOCK_GOOD_S = 900.0  # an offset older than this is not known any more
UNSURE_MS = 500.0


class Kept:
    """One process's holdings, orders and words, whatever becomes of its links."""

    def __init__(self, setup: Setup, *, clock: Clock, journal: Journal, status: Status) -> None:
        self.setup, self.journal, self.status = setup, journal, status
        self.wall, self.clock = clock, AnchoredClock(clock.now_ns())
        """The machine's date, and one that began with it and only goes on: what intervals and orders are dated by."""
        self.stop = trio.Event()
        self.memory = Memory()
        self.names = Names(account_tag(setup.api_key, setup.symbol), entropy.token(5))
        self.budget, self.breakers = OrderBudget(), Breakers()
        self.daily = DailyOrders(setup.risk.max_orders_per_day)
        self.intents: Mailbox[Intent] = Mailbox(Intent())
        self.latch = Latch(setup.state)
        self.commander = Commander(
            status=status, journal=journal, latch=self.latch, params=setup.exit, stop=self.stop, wake=self.intents.ring,
            rebase=self._rebase,
        )  # fmt: skip
        self.guardian = Guardian(
            setup.risk, journal=journal, now_ns=clock.now_ns, halt=self.commander.halt_by_guard
        )  # fmt: skip
        self.sleeve: Sleeve | None = None
        self.account_number = 0
        """The account's own number, the same for all its keys; 0 until it is known."""
        self.rights_of = ""
        """The key whose rights have been looked at."""
        self.access = Access()
        self.rotation = Rotation(self.access, journal)
        self.offset_ms: float | None = None
        """The exchange's clock less ours; None: not known."""
        self.clock_at = 0.0
        """When that was measured, on trio's clock."""
        self.error_ms = 0.0
        """How far off the measurement may be."""
        self.renewed = trio.Event()
        """The key was changed: the next epoch logs on by the new one."""
        self.counted = False
        """Whether the orders of this day have been counted that earlier processes sent."""
        self._teller = Teller(journal, status)

    def exchange_ms(self) -> int:
        """The exchange's clock, as measured."""
        return int(self.clock.now_ns() / 1e6 + (self.offset_ms or 0.0))

    def sleeve_for(self, rules: SymbolRules, limits: list[RateLimit]) -> Sleeve:
        """The sleeve of this process, rules and limits as the exchange has just told them."""
        for limit in limits:
            if limit.rate_limit_type == "ORDERS":
                self.budget.limit(limit.interval, limit.interval_num, limit.limit)
        self._object(rules)
        before = sleeve = self.sleeve
        if sleeve is None or not sleeve.same_grid(rules):
            sleeve = self._teller.sleeve = Sleeve(
                rules, self.names.tag, self.names.nonce,
                reserve_base=self.setup.reserve_base, reserve_quote=self.setup.reserve_quote,
                told=self._teller.order, filled=self._filled,
            )  # fmt: skip
            sleeve.reckon_time_by(self.clock.now_ns)
        if before is not None and sleeve is not before:
            sleeve.follow(before)  # what is counted in ticks and lots is of no use any more
            self.memory.state = None
        if before is not None and attrs.evolve(before.rules, status=rules.status) != rules:
            self.breakers = Breakers()  # what was refused by other rules says nothing of an order by these
        self.sleeve = sleeve
        sleeve.rules = rules
        self.status.symbol, self.journal.symbol = rules.name, rules.name
        self.status.base_asset, self.status.quote_asset = rules.base_asset, rules.quote_asset
        return sleeve

    def _object(self, rules: SymbolRules) -> None:
        """ConfigError where the symbol cannot have what is configured; what is done without is said, once."""
        objection = protect.objection(self.setup.exit, self.setup.strategy, rules)
        if objection is not None:
            raise ConfigError(objection)
        known = self.sleeve is not None and not self.sleeve.rules.peg_allowed
        if self.setup.exit.chase == "peg" and not rules.peg_allowed and not known:
            self.journal.write("warning", what="chase", why=f"{rules.name} takes no pegged orders: exits join instead")

    def _filled(self, fill: Fill) -> None:
        self._teller.fill(fill)
        self.guardian.filled(fill)

    def _rebase(self) -> int:
        """A guard's halt was lifted."""
        self.guardian.rebase()
        return self.exchange_ms()

    def why_no_clock(self) -> str:
        """Why the exchange's clock is not known well enough to date an order; "" when it is."""
        if self.offset_ms is None:
            return "the exchange's clock is not known"
        if self.error_ms > UNSURE_MS:
            return f"the exchange's clock is known to {self.error_ms:.0f} ms only"
        age_s = (trio.current_time() - self.clock_at) / machine_s(1)
        return "" if age_s <= CLOCK_GOOD_S else f"the exchange's clock was last measured {age_s / 60:.0f} min ago"

    def account_over(self, link: Link, leaving: Callable[[], None] = lambda: None) -> Account:
        """The account, spoken to over `link`; there has been an epoch."""
        assert self.sleeve is not None, "an epoch has been"
        return Account(
            link, self.sleeve, self.names, self.memory.heard,
            journal=self.journal, status=self.status, now_ms=self.exchange_ms, leaving=leaving,
        )  # fmt: skip

    def executor_over(self, session: Session, rulebook: Rulebook, learnt: Callable[[], Awaitable[None]]) -> Executor:
        """What sends orders over `session`; there has been an epoch. `learnt`: balances were asked for."""
        assert self.sleeve is not None, "an epoch has been"
        trails = self.setup.exit.protect == "trailing"
        return Executor(
            session, self.sleeve, self.names, self.intents,
            params=self.setup.exit, max_notional=self.setup.max_notional,
            budget=self.budget, daily=self.daily, breakers=self.breakers, rulebook=rulebook,
            learnt=learnt, stopped=self.commander.tell_stopped, why_no_clock=self.why_no_clock,
            trail_bps=protect.trail_bps(self.setup.strategy.hard_stop, self.sleeve.rules) if trails else 0,
            journal=self.journal, status=self.status, now_ns=self.clock.now_ns,
            halted=lambda: self.commander.halted,
        )  # fmt: skip
