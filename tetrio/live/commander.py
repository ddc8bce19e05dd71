"""What becomes of the operator's words: to the kernel as commands, to the executor as a halt, to the bot as a stop.

Each is obeyed at once: the latch is written, what concerns the strategy waits for it in a short queue, and the answer
says what happens to a resting order. What trades is refused where it could not be done; nothing is refused that makes
the bot safer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from decimal import Decimal

import trio

from tetrio.core.guards import Crossed
from tetrio.core.kernel import Command, Decision, Word
from tetrio.core.market import Regime, Side
from tetrio.core.params import ExitParams
from tetrio.journal import Journal
from tetrio.live.latch import LATCHED, Latch
from tetrio.net.clock import machine_s
from tetrio.operator import WORDS, Answer, Order
from tetrio.status import Status

TWICE_S = 10.0  # of the machine's: an exit said twice in a row must not trade there and back
PENDING = 16  # words that wait for an epoch; more than anybody says in one


class Commander:
    """Obeys the operator; one a process."""

    def __init__(
        self,
        *,
        status: Status,
        journal: Journal,
        latch: Latch,
        params: ExitParams,
        stop: trio.Event,
        wake: Callable[[], None],
        rebase: Callable[[], int] = lambda: 0,
    ) -> None:
        """What it moves.

        wake     lets the executor look again: something that it obeys has changed
        rebase   a guard's halt was lifted: its losses are reckoned from now on; the exchange's time, ms
        """
        self._rebase = rebase
        self._status, self._journal, self._latch = status, journal, latch
        self._params, self._stop, self._wake = params, stop, wake
        self._left_at: float | None = None
        """When an exit of the operator's was last done, on trio's clock."""
        self._send, self.commands = trio.open_memory_channel[Command](PENDING)

    @property
    def halted(self) -> bool:
        """Nothing may be sent but cancels."""
        return self._latch.words.halted

    @property
    def idle(self) -> bool:
        """Paused or halted: the strategy arms nothing new."""
        return self._latch.words.paused or self._latch.words.halted

    # -- the latch ------------------------------------------------------------------------------------------------
    async def restore(
        self, where: str, account: str, symbol: str, traded_before: Callable[[], Awaitable[bool]]
    ) -> None:
        """Read the latch; with it lost although we have traded here before, pause."""
        if self._latch.open(where, account, symbol):
            words = self._latch.words
            if words.paused or words.halted or words.leaving:
                self._journal.write(
                    "rebuilt", what="operator's words", source="latch", paused=words.paused, halted=words.halted,
                    exit=words.leaving or None,
                    **({"why": f"{words.why}; `resume` takes it back"} if words.why else {}),
                )  # fmt: skip
        elif self._latch.words.paused and self._latch.trouble:
            self._journal.write(
                "rebuilt", what="operator's words", source="none", paused=True,
                why=f"{self._latch.trouble}; paused until `tetrio resume`, since what was said before is not known",
            )  # fmt: skip
        elif await traded_before():
            self._latch.set(paused=True)
            self._journal.write(
                "rebuilt", what="operator's words", source="none", paused=True,
                why="the latch file is gone, though this account has traded before: paused until `tetrio resume`",
            )  # fmt: skip
        self._latch.settle()  # before anything is sent
        self._tell_trouble()
        self._show()

    def standing(self) -> Command:
        """What the strategy must know before the first observation of an epoch: whether it may arm."""
        return Command(Word.PAUSE if self.idle else Word.RESUME)

    def resume_leaving(self, regime: str) -> None:
        """After the first observation: an exit that was asked for before a restart or while there was no exchange.

        Where the regime is another one by now, it is dropped: to leave that was not what was asked. What waits for the
        strategy is dropped too, since the latch knows it; only a disarm still has to be told.
        """
        self._forget_all_but_disarm()
        words = self._latch.words
        if not words.leaving:
            return
        name = "flatten" if words.taking else "exit"
        if words.leaving != regime:
            self._latch.set(leaving="", taking=False)
            self._tell_late(name, f"{words.leaving} was to be left, and it is {regime} by now: dropped", done=False)
        elif not words.halted:
            self._say(Word.FLATTEN if words.taking else Word.EXIT)
            if not self._status.armed:
                self._tell_late(name, self._describe(name), done=True)

    def note(self, decision: Decision) -> None:
        """The strategy decided: an exit of the operator's that has been done, or taken back, is remembered no more."""
        facts = decision.facts
        done = decision.kind == "regime" and facts.get("before") is not None
        # what a change of regime disarms is told just before the change: it has been done, not taken back
        taken_back = decision.kind == "disarmed" and facts.get("reason") == "m" and facts.get("by") != "regime"
        if (done or taken_back) and self._latch.words.leaving:
            self._latch.set(leaving="", taking=False)
            if done:
                self._left_at = trio.current_time()

    # -- obeying --------------------------------------------------------------------------------------------------
    def obey(self, order: Order) -> Answer:
        """Obey at once; never blocks, never raises for what a person may say."""
        if order.word not in WORDS:
            return Answer(False, f"there is no word {order.word!r}: say one of {', '.join(WORDS)}")
        try:
            answer = self._how(order.word)(order)
        except trio.WouldBlock:
            answer = Answer(False, "too many words wait for the exchange to be reached: try again later")
        self._show()
        self._journal.write(
            "command", word=order.word, by=order.by, force=order.force or None, done=answer.done, text=answer.text
        )
        self._tell_trouble()
        return answer

    def preview(self, word: str) -> str:
        """What `word` would do now, with side, amount and price where it trades."""
        if word in ("exit", "flatten"):
            refusal = self._cannot_leave()
            return refusal or f"{self._where}: {self._when()}{self._describe(word)}"
        return {
            "pause": f"arm nothing new; {self._resting('goes on')}",
            "resume": "arm and trade again",
            "disarm": f"take back the armed exit; {self._let_go()}",
            "halt": f"send nothing any more but cancels; {self._resting('is cancelled')}",
            "stop": f"end the process; {self._resting(self._at_stop())}",
        }.get(word, f"nothing: there is no word {word!r}")

    def _how(self, word: str) -> Callable[[Order], Answer]:
        return {
            "pause": self._pause, "resume": self._resume, "exit": self._exit, "flatten": self._flatten,
            "disarm": self._disarm, "halt": self._halt, "stop": self._end,
        }[word]  # fmt: skip

    def _pause(self, order: Order) -> Answer:
        self._latch.set(paused=True)
        self._mind_idle()
        return Answer(True, f"paused{self._remembered()}: nothing new is armed, hard stops included; "
                            f"{self._resting('goes on')}")  # fmt: skip

    def _resume(self, order: Order) -> Answer:
        if not self.idle and self._latch.found:
            return Answer(True, f"it was not paused; {self._resting('goes on')}")
        rebased = {"rebased_ms": self._rebase()} if self._latch.words.why else {}
        self._latch.set(paused=False, halted=False, why="", **rebased)
        self._mind_idle()
        self._wake()
        armed = f"; the armed exit ({self._status.armed}) is worked again" if self._status.armed else ""
        words = self._latch.words
        if words.leaving and not armed:  # it was not told to the strategy while nothing might be sent
            name = "flatten" if words.taking else "exit"
            if words.leaving == self._status.regime and self._status.phase == "ready":
                self._say(Word.FLATTEN if words.taking else Word.EXIT)
            armed = f"; the {name} that was asked for before goes on ({self._when()}{self._describe(name)})"
        kept = "" if self._latch.opened or not self._latch.kept else self._remembered()
        return Answer(True, f"resumed{kept}: exits are armed as before{armed}")

    def _exit(self, order: Order) -> Answer:
        return self._leave(order.word, Word.EXIT)

    def _flatten(self, order: Order) -> Answer:
        return self._leave(order.word, Word.FLATTEN)

    def _leave(self, name: str, word: Word) -> Answer:
        if (refusal := self._cannot_leave()) is not None:
            return Answer(False, refusal)
        self._say(word)
        self._latch.set(leaving=self._status.regime, taking=word is Word.FLATTEN or self._latch.words.taking)
        told = "goes on, as the operator's" if word is Word.EXIT else "is replaced"
        rest = self._resting(told) if self._status.order is not None else "nothing rests yet, its order follows"
        return Answer(True, f"{name}, {self._where}: {self._when()}{self._describe(name)}; {rest}")

    def _disarm(self, order: Order) -> Answer:
        armed = self._status.armed or ("manual" if self._latch.words.leaving else "")
        if not armed:
            if self._status.order is not None:  # what an exit that its own first fills disarmed still works off
                self._say(Word.DISARM)
            return Answer(True, f"nothing is armed; {self._let_go()}")
        if armed == "hard stop" and not order.force:
            return Answer(False, "a hard stop is armed and stays: `disarm --force` takes it back too; "
                                 f"{self._resting('goes on')}")  # fmt: skip
        self._say(Word.DISARM, force=order.force)
        self._latch.set(leaving="", taking=False)
        told = "the operator's exit" if armed == "manual" else armed
        return Answer(True, f"disarmed ({told}); {self._let_go()}")

    def _halt(self, order: Order) -> Answer:
        self._latch.set(halted=True)
        self._mind_idle()
        self._wake()
        return Answer(True, f"halted{self._remembered()}: nothing is sent any more but cancels, until `resume`; "
                            f"{self._resting('is cancelled')}")  # fmt: skip

    def halt_by_guard(self, crossed: Crossed) -> None:
        """A loss guard was crossed: halt as by the operator's word."""
        if self.halted:
            return
        why = (
            f"[risk] {crossed.guard} {crossed.limit:g} is crossed: {crossed.loss:.4%} lost, "
            f"worth {_amount(crossed.worth)} against {_amount(crossed.against)}"
        )
        self._latch.set(halted=True, why=why)
        self._mind_idle()
        self._wake()
        self._show()
        self._journal.write(
            "command", word="halt", by="guard", done=True, guard=crossed.guard, limit=crossed.limit, loss=crossed.loss,
            worth=_amount(crossed.worth), against=_amount(crossed.against), price=_amount(crossed.price),
            text=f"halted{self._remembered()}: {why}; nothing is sent any more but cancels, until `resume`; "
            f"{self._resting('is cancelled')}",
        )  # fmt: skip
        self._tell_trouble()

    def tell_stopped(self) -> bool:
        """The exchange says that the hard stop's price was reached: for the strategy; whether it will hear."""
        try:
            self._say(Word.STOPPED)
        except trio.WouldBlock:
            return False
        return True

    def _end(self, order: Order) -> Answer:
        self._stop.set()
        later = "; the exit that was asked for goes on at the next start, unless disarmed" if self._goes_on else ""
        return Answer(True, f"stopping; {self._resting(self._at_stop())}{later}")

    @property
    def _goes_on(self) -> bool:
        return bool(self._latch.words.leaving) and self._latch.kept

    # -- in words -------------------------------------------------------------------------------------------------
    def _cannot_leave(self) -> str | None:
        status = self._status
        if self._stop.is_set():
            return "stopping: nothing is begun any more"
        if self.halted:
            return "halted: nothing is sent but cancels; say `resume` first"
        if self._left_at is not None and (left := self._left_at + machine_s(TWICE_S) - trio.current_time()) > 0:
            return (
                "an exit has been done a moment ago, and another would trade back: say it again in "
                f"{max(1, round(left / machine_s(1)))} s if that is meant"
            )
        if status.regime not in ("BASE", "QUOTE"):
            return "nothing to exit: " + (
                "less is held than the smallest order" if status.regime == "FLAT" else "no price has been seen yet"
            )
        return None

    def _describe(self, word: str) -> str:
        """Side, amount and price of what leaving the present regime would trade."""
        status = self._status
        selling = status.regime == "BASE"
        side = Side.SELL if selling else Side.BUY
        near, far = (status.ask, status.bid) if selling else (status.bid, status.ask)
        have = f"{status.holding.get(status.base_asset if selling else status.quote_asset, Decimal(0)).normalize():f}"
        what = (
            f"sell {have} {status.base_asset} for {status.quote_asset}"
            if selling
            else f"buy {status.base_asset} with {have} {status.quote_asset}"
        )
        if word == "exit":
            best = "ask" if selling else "bid"
            return f"{what}, post-only at the best {best} (now {near}), chased until filled"
        bound = self._bound(side, far)
        worst = f"{bound} or {'more' if selling else 'less'}" if bound else "the bound"
        return (
            f"{what} at once as a taker, at {worst} (max_slippage_bps {self._params.max_slippage_bps:g} from {far}), "
            "once a second until done"
        )

    def _bound(self, side: Side, best: str) -> str:
        if not best:
            return ""
        price, share = Decimal(best), Decimal(str(self._params.max_slippage_bps)) / 10_000
        return f"{(price * (1 - share if side is Side.SELL else 1 + share)).quantize(Decimal(best)):f}"

    @property
    def _where(self) -> str:
        return f"{self._status.venue} {self._status.symbol}".strip()

    def _resting(self, fate: str) -> str:
        order = self._status.order
        if order is None:
            return "nothing rests on the exchange"
        what = "protective stop" if order.protects else "resting order"
        later = "" if fate not in ("is cancelled", "is replaced") or self._in_reach else " once the exchange is reached"
        return f"the {what} {order.side} {order.qty} @ {order.price} {fate}{later}"

    def _let_go(self) -> str:
        """What a disarm does to what rests."""
        order = self._status.order
        return self._resting("stays" if order is not None and order.protects else "is cancelled")

    @property
    def _in_reach(self) -> bool:
        return self._status.phase in ("ready", "stopping")

    def _when(self) -> str:
        """Said before what is to be traded, where that cannot be begun now and the prices are old."""
        return "" if self._in_reach else "once the exchange is reached again (prices as last seen): "

    def _at_stop(self) -> str:
        return "is cancelled" if self._params.on_stop == "cancel" or self.halted else "stays (on_stop = leave)"

    def _remembered(self) -> str:
        if not self._latch.kept:
            return " (not over a restart)"
        return " (also over a restart)" if self._latch.opened else " (over a restart once the exchange was reached)"

    def _tell_trouble(self) -> None:
        if self._latch.trouble:
            self._journal.write("warning", what="latch", why=self._latch.trouble)
            self._latch.trouble = ""

    def _show(self) -> None:
        self._status.paused, self._status.halted = self._latch.words.paused, self._latch.words.halted

    def _mind_idle(self) -> None:
        """The strategy hears it now, or (its queue full, no exchange in reach) as the next epoch begins."""
        with contextlib.suppress(trio.WouldBlock):
            self._send.send_nowait(self.standing())

    def _forget_all_but_disarm(self) -> None:
        """EXIT and FLATTEN are the latch's `leaving`, PAUSE and RESUME `standing`: old ones would say it wrong."""
        found = list[Command]()
        with contextlib.suppress(trio.WouldBlock):
            while True:
                found.append(self.commands.receive_nowait())
        for command in found:
            if command.word not in LATCHED:
                self._send.send_nowait(command)
        if any(command.word in (Word.PAUSE, Word.RESUME) for command in found):
            self._send.send_nowait(self.standing())  # said since the first observation, perhaps

    def _tell_late(self, word: str, text: str, *, done: bool) -> None:
        """What became of a word that had to wait: like its answer, but nobody stands there to hear it."""
        self._journal.write("command", word=word, by="an earlier order", done=done, text=text)

    def _say(self, word: Word, *, force: bool = False) -> None:
        leaving = Regime(self._status.regime) if word in (Word.EXIT, Word.FLATTEN) else None
        self._send.send_nowait(Command(word, force=force, leaving=leaving))


def _amount(value: Decimal) -> str:
    """As a person writes it; what flows have scaled is told to eight places."""
    return f"{round(value, 8).normalize():f}"
