"""The loss guards at work: feeds `core.guards` with trades, balances and bids, and halts when one is crossed.

A crossed guard is a halt like the operator's: own orders are cancelled, nothing is sent, the latch remembers it and
why, `resume` lifts it. What is held is compared with what own trades made of it only while the balances are known to be
up to date; a difference is then money that came or went.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from tetrio.core.guards import DAY_NS, Change, Crossed, Guards, Open
from tetrio.core.market import Fill, Quote, Side
from tetrio.core.params import RiskParams
from tetrio.journal import Journal
from tetrio.live.account import Account
from tetrio.live.rest import Rest
from tetrio.live.sleeve import Sleeve

CANDLES = "5m"
COUNT = 289  # 24 hours, and the one that is forming


class Guardian:
    """One a process: what it has seen outlives an epoch."""

    def __init__(
        self, risk: RiskParams, *, journal: Journal, now_ns: Callable[[], int], halt: Callable[[Crossed], None]
    ) -> None:
        self._guards = Guards(max_daily_loss=risk.max_daily_loss, max_drawdown=risk.max_drawdown)
        self._journal, self._now_ns, self._halt = journal, now_ns, halt
        self._sleeve: Sleeve | None = None
        self._rebuilt = False

    @property
    def on(self) -> bool:
        """Whether a guard is set."""
        return self._guards.on

    async def synchronise(self, sleeve: Sleeve, account: Account, rest: Rest, since_ms: int) -> None:
        """At the first sync, replay the last 24 hours; later ones find what has come or gone by themselves.

        since_ms   of the last `resume` from a guard's halt: what was lost before does not count
        """
        self._sleeve = sleeve
        if self._rebuilt or not self.on:
            return
        now_ns, rules = self._now_ns(), sleeve.rules
        trades = await account.trades_since((now_ns - DAY_NS) // 1_000_000)
        klines = await rest.klines(rules, CANDLES, COUNT, now_ns // 1_000_000)
        changes = [Change(fill.at_ms * 1_000_000, *effect(fill, sleeve)) for fill in trades]
        opens = [Open(each.open_ms * 1_000_000, int(each.open) * rules.tick_size) for each in klines]
        self._guards.rebuild(*self._held(), changes, opens, now_ns, since_ms * 1_000_000)
        self._rebuilt = True  # only now: a sync that is cut short is no first one
        self._journal.write(
            "rebuilt", what="loss guards", source=f"myTrades and {CANDLES} klines of 24 h",
            opening=self._guards.opening, best=self._guards.best,
            note="when funds came or went before the start is not known: they count as held all the time",
        )  # fmt: skip

    def filled(self, fill: Fill) -> None:
        """An own trade."""
        if self.on and self._sleeve is not None:
            self._guards.traded(*effect(fill, self._sleeve))

    def rebase(self) -> None:
        """The operator has lifted a halt: what was lost until now does not count any more."""
        self._guards.rebase()

    def watch(self, quote: Quote) -> None:
        """The newest book."""
        sleeve = self._sleeve
        if sleeve is None or not self.on:
            return
        if sleeve.fresh:
            self._guards.held(*self._held())
        crossed = self._guards.see(quote.bid * sleeve.rules.tick_size, self._now_ns())
        if crossed is not None:
            self._halt(crossed)

    def _held(self) -> tuple[Decimal, Decimal]:
        assert self._sleeve is not None, "there has been a sync"
        held, rules = self._sleeve.amounts(), self._sleeve.rules
        return held[rules.base_asset], held[rules.quote_asset]


def effect(fill: Fill, sleeve: Sleeve) -> tuple[Decimal, Decimal]:
    """What a trade did to base and quote, its commission taken off, exactly."""
    rules, sign = sleeve.rules, 1 if fill.side is Side.BUY else -1
    base, quote = sign * fill.qty, -sign * fill.qty * fill.price
    fee = Decimal(fill.commission)
    if fill.commission_asset == rules.base_asset:
        return base - fee, quote
    return base, quote - (fee if fill.commission_asset == rules.quote_asset else 0)
