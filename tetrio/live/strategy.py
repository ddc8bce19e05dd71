"""The strategy task: folds what arrives through the kernel, in order, and publishes what is wanted.

It takes an item, drains what else has come, folds all of it and then publishes one Intent: the newest Want with the
book that it is to be priced from. What it has folded is handed back in `Memory`, so that an epoch that ends takes
neither anchor nor high with it. By trades it is a fold that can go back (`core.refold`): what it takes back is told.
"""

from __future__ import annotations

from collections import deque
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
from tetrio.core.purse import Flow, OwnTrade
from tetrio.core.refold import Refold, Told, TooLate, observed
from tetrio.core.why import sentence
from tetrio.errors import LinkStale
from tetrio.journal import Journal
from tetrio.live.feed import Gone, History, Item
from tetrio.live.latch import LATCHED
from tetrio.live.mailbox import Mailbox
from tetrio.live.reckoning import Heard, Known
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
    """By best prices: what the kernel remembers."""
    fold: Refold | None = None
    """By trades: the same, and the way there."""
    known: Known = attrs.Factory(Known)
    """The own trades that are in the fold, or have been heard."""
    heard: deque[Heard] = attrs.Factory(deque)
    """What the exchange and the operator have said and is not folded yet, in its order.

    Bounded by who tells: each waits until its ring has room in the channel, and ends the epoch after some seconds.
    """
    untold: list[Told] = attrs.Factory(list)
    """What was decided on the way to now, and has not been told: as much as the market had one decide."""
    wanted: Want | None = None
    """What was published last."""
    finish: Want | None = None
    """The exit whose first fills brought the last change of regime about."""

    def fits(self, rules: SymbolRules) -> bool:
        """Whether there is a fold, and it reckons in the ticks and lots of these rules."""
        if self.fold is None:
            return False
        before = self.fold.purse.rules
        same = (before.tick_size, before.step_size) == (rules.tick_size, rules.step_size)
        return same and KernelRules.of(before) == KernelRules.of(rules)

    def forget(self) -> None:
        """The fold is not to be gone on with."""
        self.fold = None
        self.known.forget()
        self.untold.clear()
        self.wanted = self.finish = None
        words = [each for each in self.heard if isinstance(each, Command)]
        self.heard.clear()  # trades and flows are in what is rebuilt
        self.heard += words

    def drop_words(self) -> None:
        """Those that the latch knows and tells again: they may not be the operator's last ones any more."""
        kept = [each for each in self.heard if not isinstance(each, Command) or each.word not in LATCHED]
        self.heard.clear()
        self.heard += kept


@attrs.frozen
class Ring:
    """Something was heard."""


Inbound = Item | Holdings | Ring


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
        obeyed: Callable[[Command, int, int], None] = lambda command, trade_id, at_ms: None,
        show_every_s: float = SHOWN_EVERY_S,
        protects: bool = False,
        watch: Callable[[Quote], None] = lambda _: None,
        standing: Callable[[], Command] | None = None,
    ) -> None:
        """What it is told by.

        obeyed     (word, id and time in ms of the last trade folded): one that has changed something by trades
        protects   a stop is to rest while the base is held
        watch      sees the newest book of each batch
        standing   what the operator has said of arming: it holds from the first observation on
        """
        self._protects, self._watch, self._standing = protects, watch, standing
        self._rules, self._params, self._memory, self._intents = rules, params, memory, intents
        self._journal, self._status, self._on_first = journal, status, on_first
        self._decided, self._obeyed = decided, obeyed
        self._quote: Quote | None = None
        self._observed = False
        self._show_every_s = show_every_s
        self._insane = 0
        self._regime_changed = False
        self._shown_at = -1.0
        self._refold = memory.fold
        kept = memory.state
        if kept is None or kept.rules != KernelRules.of(rules):
            kept = kernel.start(params, KernelRules.of(rules))
        self._by_book = kernel.with_params(kept, params)  # the fee may be another one
        if self._refold is not None:
            self._refold.under(params)

    @property
    def _state(self) -> State:
        return self._by_book if self._refold is None else self._refold.state

    def hold(self, holdings: Holdings) -> None:
        """What the sleeve holds, before the first observation; by trades it follows from them."""
        self._by_book = kernel.on_holdings(self._by_book, holdings)

    def obey(self, command: Command) -> None:
        """A word of the operator's: at once."""
        if self._refold is not None:
            self._hear(say(self._refold, command, self._obeyed))
        else:
            self._by_book, decisions = kernel.on_command(self._by_book, command)
            self._tell(decisions)
        if command.word is Word.DISARM:
            self._memory.finish = None

    def adopt(self, orders: list[OwnOrder]) -> None:
        """Take over exits that were found resting and that nothing else tells of: what is armed is in their ids.

        A kernel that remembers knows what is armed: an exit that it disarmed, and whose cancel the link took with it
        when it died, must not arm again for resting still.
        """
        if self._state.regime is None:
            self._adopt(orders)

    def adopt_manual(self, orders: list[OwnOrder]) -> None:
        """Take over those of the operator's, which no past tells where his words are lost."""
        self._adopt([order for order in orders if order.reason == Reason.MANUAL.value])

    def _adopt(self, orders: list[OwnOrder]) -> None:
        for order in orders:
            reason = reason_of(order.reason)
            if reason is None or order.state.final or order.waits:
                continue
            state = kernel.adopt(self._state, reason, order.side)
            if self._refold is not None:
                self._refold.set(state)
            else:
                self._by_book = state

    def catch_up(self) -> None:
        """Tell what was decided of what this process was told too late to see."""
        for each in self._memory.untold:
            self._hear(each)
        self._memory.untold.clear()

    async def run(self, inbox: trio.MemoryReceiveChannel[Inbound]) -> None:
        """Until every sender has closed, or cancelled.

        The channel is left open: whoever still sends, in the moment in which all is cancelled, is not to fail by that.
        """
        async for item in inbox:
            self._take(item)
            while True:
                try:
                    self._take(inbox.receive_nowait())
                except (trio.WouldBlock, trio.EndOfChannel):
                    break
            self._take_heard()
            self._status.vitals.waiting_since = None  # the channel is empty, and nothing can have come since
            self._publish()

    # -- taking in ------------------------------------------------------------------------------------------------
    def _take(self, item: Inbound) -> None:
        if not self._observed and self._standing is not None:
            standing = self._standing()
            if (standing.word is Word.PAUSE) != self._state.paused:
                self.obey(standing)
        self._take_heard()
        match item:
            case list():
                self._take_batch(item)
            case Holdings():
                self.hold(item)
            case History():
                for kline in item.klines:
                    self._by_book = kernel.on_kline(self._by_book, kline)
            case Gone():
                self._quote = None

    def _take_heard(self) -> None:
        """What was heard, also by an epoch that is over; words wait until it is known where it stands."""
        heard = self._memory.heard
        while heard and (self._observed or not _is_word(heard[0])):
            item = heard.popleft()
            if isinstance(item, Command):
                self.obey(item)
            else:
                self._take_own(item)

    def _take_own(self, item: OwnTrade | Flow) -> None:
        """LinkStale when it lies before all that can be folded again: the next epoch rebuilds everything."""
        if self._refold is None:
            return
        try:
            self._hear(self._refold.flow(item) if isinstance(item, Flow) else self._refold.own(item))
        except TooLate as error:
            self._memory.forget()
            raise LinkStale(f"account: {error}") from error

    def _take_batch(self, batch: list[Seen]) -> None:
        """Fold runs of observations whole; by best prices a kline between two of them is taken where it stands."""
        by_trade = self._refold is not None
        run: list[Quote] = []
        for record in batch:
            if isinstance(record, Quote):
                self._quote = record
                if not by_trade:
                    run.append(record)
            elif isinstance(record, Trade):
                if by_trade:
                    run.append(observed(record))
            elif isinstance(record, KlineUpdate):
                if not by_trade:
                    self._fold(run)
                    run = []
                    self._by_book = kernel.on_kline(self._by_book, record.kline)
            elif isinstance(record, Insane):
                self._insane += 1
                self._quote = None  # nobody prices an order from a crossed or one-sided book
        self._fold(run)
        if self._quote is not None:
            self._watch(self._quote)

    def _fold(self, run: list[Quote]) -> None:
        if run and self._refold is not None:
            self._hear(self._refold.trades(run))
        elif run:
            self._by_book, decisions = kernel.fold(self._by_book, run)
            self._tell(decisions)
        self._status.quotes_folded += len(run)
        if not self._observed and (run or self._refold is not None) and self._state.regime is not None:
            self._observed = True
            self._show()
            self._on_first()

    # -- telling --------------------------------------------------------------------------------------------------
    def _publish(self) -> None:
        self._memory.state = None if self._refold is not None else self._by_book
        before, want = self._intents.value, kernel.want(self._state)
        memory = self._memory
        if want is not None:
            memory.finish = None
        elif memory.wanted is not None and self._regime_changed:
            memory.finish = memory.wanted
        memory.wanted, self._regime_changed = want, False
        protect = protection(self._state) if self._protects else None
        intent = Intent(want, self._quote, memory.finish, protect)
        if want != before.want:
            self._tell_want(want)
        moved = (want or intent.finish) is not None and _moved(intent.quote, before.quote)
        published = moved or (want, intent.finish, protect) != (before.want, before.finish, before.protect)
        self._status.latency.folded(trio.current_time(), published=published)
        if published:
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

    def _hear(self, told: Told) -> None:
        """What the fold decided; what it took back was told before, and is taken back in words too."""
        for decision in told.retracted:
            facts = {name: self._text(name, fact) for name, fact in decision.facts.items()}
            self._journal.write(
                "rebuilt", what="decisions", why="an own trade was told late", taken_back=decision.kind, **facts
            )
        self._tell(told.decisions)

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
            status.why = sentence(view, self._params, self._state.last, self._price, halted=status.halted)


def say(fold: Refold, command: Command, obeyed: Callable[[Command, int, int], None]) -> Told:
    """Say it to the fold; `obeyed` hears of it where it has changed something."""
    before = _told_by_words(fold.state)
    told = fold.say(command)
    if _told_by_words(fold.state) != before:
        obeyed(command, fold.last_id, fold.last_ms)
    return told


def _is_word(heard: Heard) -> bool:
    """Whether it is the operator's; that a stop was reached is said by the exchange."""
    return isinstance(heard, Command) and heard.word is not Word.STOPPED


def _told_by_words(state: State) -> tuple[object, ...]:
    """What words change."""
    return state.paused, state.maker, state.hard_stop, state.taking


def _moved(now: Quote | None, before: Quote | None) -> bool:
    """Whether the book's best prices differ."""
    if now is None or before is None:
        return now is not before
    return now.bid != before.bid or now.ask != before.ask
