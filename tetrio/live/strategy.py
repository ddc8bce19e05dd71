"""The strategy task: folds what arrives through the kernel, in order, and publishes what is wanted.

It takes an item, drains what else has come, folds all of it and then publishes one Intent: the newest Want with the
book that it is to be priced from. The kernel's state is handed back in `Memory`, so that an epoch that ends takes
neither anchor nor high with it.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
import trio

from tetrio.core import kernel
from tetrio.core.kernel import Command, Decision, KernelRules, State, Word
from tetrio.core.market import Holdings, Protection, Quote, Reason, Trade, Want
from tetrio.core.money import SymbolRules, plain
from tetrio.core.orders import OwnOrder, reason_of
from tetrio.core.params import StrategyParams
from tetrio.core.protect import protection
from tetrio.core.why import sentence
from tetrio.journal import Journal
from tetrio.live.feed import Gone, History, Item
from tetrio.live.mailbox import Mailbox
from tetrio.live.sieve import Seen
from tetrio.status import Status
from tetrio.wire.stream import Insane, KlineUpdate

REASONS = {Reason.TAKE_PROFIT: "take-profit", Reason.HARD_STOP: "hard stop", Reason.MANUAL: "manual"}
SHOWN_EVERY_S = 0.1  # how often the status follows the market when nothing is decided
_PRICES = ("price", "anchor", "high", "bid", "ask", "close", "upper", "lower", "mid")


@attrs.frozen
class Intent:
    """What should be resting, and the book that it is priced from (None: no book, or an old one)."""

    want: Want | None = None
    quote: Quote | None = None
    finish: Want | None = None
    """The exit whose first fills brought the last change of regime about: what it has begun it may finish."""
    protect: Protection | None = None
    """The stop that should rest while no exit is wanted; None too where none is configured."""


@attrs.define
class Memory:
    """What outlives an epoch within the process."""

    state: State | None = None


Inbound = Item | Holdings | Command


class Strategy:
    """The kernel, fed."""

    def __init__(
        self,
        rules: SymbolRules,
        params: StrategyParams,
        memory: Memory,
        intents: Mailbox[Intent],
        *,
        journal: Journal,
        status: Status,
        on_first: Callable[[], None],
        decided: Callable[[Decision], None],
        show_every_s: float = SHOWN_EVERY_S,
        protects: bool = False,
        watch: Callable[[Quote], None] = lambda _: None,
    ) -> None:
        """`protects`: a stop is to rest while the base is held; `watch` sees the newest book of each batch."""
        self._protects, self._watch = protects, watch
        self._rules, self._params, self._memory, self._intents = rules, params, memory, intents
        self._journal, self._status, self._on_first = journal, status, on_first
        self._decided = decided
        self._quote: Quote | None = None
        self._observed = False
        self._show_every_s = show_every_s
        self._insane = 0
        self._regime_changed = False
        self._finish: Want | None = None
        self._shown_at = -1.0
        kept = memory.state
        self._fresh = kept is None or kept.rules != KernelRules.of(rules)
        if kept is None or self._fresh:
            kept = kernel.start(params, KernelRules.of(rules))
        self._state = kernel.with_params(kept, params)  # the fee may be another one

    def hold(self, holdings: Holdings) -> None:
        """What the sleeve holds, before the first observation."""
        self._state = kernel.on_holdings(self._state, holdings)

    def obey(self, command: Command) -> None:
        """A word of the operator's that holds from the first observation on."""
        self._state, decisions = kernel.on_command(self._state, command)
        if command.word is Word.DISARM:
            self._finish = None
        self._tell(decisions)

    def adopt(self, orders: list[OwnOrder]) -> None:
        """Take over exits that were found resting at the first sync: what is armed is told by their ids.

        A kernel that remembers an earlier epoch knows what is armed: an exit that it disarmed, and whose cancel the
        link took with it when it died, must not arm again for resting still.
        """
        for order in orders if self._fresh else ():
            reason = reason_of(order.reason)
            if reason is not None and not order.state.final and not order.waits:
                self._state = kernel.adopt(self._state, reason, order.side)

    async def run(self, inbox: trio.MemoryReceiveChannel[Inbound]) -> None:
        """Until every sender has closed, or cancelled."""
        async with inbox:
            async for item in inbox:
                self._take(item)
                while True:
                    try:
                        self._take(inbox.receive_nowait())
                    except (trio.WouldBlock, trio.EndOfChannel):
                        break
                self._status.vitals.waiting_since = None  # the channel is empty, and nothing can have come since
                self._publish()

    # -- taking in ------------------------------------------------------------------------------------------------
    def _take(self, item: Inbound) -> None:
        match item:
            case list():
                self._take_batch(item)
            case Holdings():
                self._state = kernel.on_holdings(self._state, item)
            case Command():
                self.obey(item)
            case History():
                for kline in item.klines:
                    self._state = kernel.on_kline(self._state, kline)
            case Gone():
                self._quote = None

    def _take_batch(self, batch: list[Seen]) -> None:
        """Fold runs of observations whole; a kline between two of them is taken where it stands."""
        by_trade = self._params.reference == "trade"
        run: list[Quote] = []
        for record in batch:
            if isinstance(record, Quote):
                self._quote = record
                if not by_trade:
                    run.append(record)
            elif isinstance(record, Trade):
                if by_trade:
                    run.append(Quote(record.price, record.price, record.trade_id, record.at_ms * 1_000_000))
            elif isinstance(record, KlineUpdate):
                self._fold(run)
                run = []
                self._state = kernel.on_kline(self._state, record.kline)
            elif isinstance(record, Insane):
                self._insane += 1
                self._quote = None  # nobody prices an order from a crossed or one-sided book
        self._fold(run)
        if self._quote is not None:
            self._watch(self._quote)

    def _fold(self, run: list[Quote]) -> None:
        if not run:
            return
        self._state, decisions = kernel.fold(self._state, run)
        self._status.quotes_folded += len(run)
        self._tell(decisions)
        if not self._observed:
            self._observed = True
            self._on_first()

    # -- telling --------------------------------------------------------------------------------------------------
    def _publish(self) -> None:
        self._memory.state = self._state
        before, want = self._intents.value, kernel.want(self._state)
        if want is not None:
            self._finish = None
        elif before.want is not None and self._regime_changed:
            self._finish = before.want
        self._regime_changed = False
        protect = protection(self._state) if self._protects else None
        intent = Intent(want, self._quote, self._finish, protect)
        if want != before.want:
            self._tell_want(want)
        moved = (want or intent.finish) is not None and _moved(intent.quote, before.quote)
        if moved or (want, intent.finish, protect) != (before.want, before.finish, before.protect):
            self._intents.put(intent)
        else:
            self._intents.value = intent
        if trio.current_time() - self._shown_at >= self._show_every_s:
            self._show()

    def _tell_want(self, want: Want | None) -> None:
        if want is None:
            self._status.want = ""
            self._journal.write("want", side=None, why="nothing")
        else:
            asset = self._rules.base_asset
            self._status.want = f"{want.side.value.lower()} {asset}, {REASONS[want.reason]}"
            take = True if want.take else None
            self._journal.write("want", side=want.side, reason=want.reason, episode=want.episode, take=take)

    def _tell(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            self._regime_changed |= decision.kind == "regime"
            self._journal.write(
                decision.kind, **{name: self._text(name, fact) for name, fact in decision.facts.items()}
            )
            self._decided(decision)
            if decision.kind == "disarmed" and decision.facts.get("by") == "regime":
                name = REASONS[Reason(decision.facts["reason"])]
                self._status.exits[name] = self._status.exits.get(name, 0) + 1
        if decisions:
            self._show()

    def _text(self, name: str, fact: kernel.Fact) -> object:
        """Prices in quote units, holdings in units of their asset; the rest as it is."""
        if fact is None or isinstance(fact, str | bool):
            return fact
        if name in _PRICES:
            return self._price(fact)
        if name == "base":
            return plain(int(fact), self._rules.step_size)
        if name == "quote":
            return f"{(int(fact) * self._rules.tick_lot).normalize():f}"
        return fact

    def _price(self, ticks: float | None) -> str:
        """As a person writes it; a mid between two ticks has one place more."""
        if ticks is None:
            return ""
        whole = int(ticks)
        if whole == ticks:
            return plain(whole, self._rules.tick_size)
        return plain(round(ticks * 10), self._rules.tick_size / 10)

    def _show(self) -> None:
        """Write what a person may see."""
        self._shown_at = trio.current_time()
        status, view = self._status, kernel.view(self._state)
        if self._quote is not None:
            status.bid, status.ask = self._price(self._quote.bid), self._price(self._quote.ask)
            gap = self._quote.ask - self._quote.bid
            status.spread = f"{gap} tick{'s' if gap != 1 else ''} ({gap / self._quote.ask * 1e4:.2f} bp)"
        status.upper, status.mid, status.lower = (self._price(price) for price in (view.upper, view.mid, view.lower))
        status.regime = view.regime.value if view.regime else ""
        status.anchor, status.high = self._price(view.anchor), self._price(view.high)
        status.gain, status.drawdown, status.loss = view.gain, view.drawdown, view.loss
        status.factor, status.callback, status.min_gain = view.factor, view.callback, view.min_gain
        status.gate_closed = view.gate
        status.gate_regime = view.gate_regime.value if view.gate_regime else ""
        status.armed = REASONS[view.reason] if view.reason else ""
        status.flattening = view.taking
        if self._observed:
            status.why = sentence(view, self._params, self._state.last, self._price)


def _moved(now: Quote | None, before: Quote | None) -> bool:
    """Whether the book's best prices differ."""
    if now is None or before is None:
        return now is not before
    return now.bid != before.bid or now.ask != before.ask
