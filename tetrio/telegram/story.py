"""From the journal's facts to what is worth telling a person who is elsewhere. Pure; a fact in, at most two texts out.

An exit is one message that is edited on the way: armed, resting, re-quoted so many times, filled or disarmed. So is a
connection that was lost until it is back. Critical is what the operator must know even when all else is dropped: a
second instance, a refused key, a stop that was not confirmed, a hard stop, an open breaker, a halt.

It reads facts, never decides, and remembers only the present exit and the present loss.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from decimal import Decimal, InvalidOperation

import attrs

from tetrio.journal import Fact
from tetrio.telegram.outbox import Rank
from tetrio.words import amount, percent

_STOP = re.compile(r"-(\d{1,9})h-\d{1,9}$")  # the episode in the id of a hard stop's order
AGAIN_NS = 3600 * 10**9
REASONS = {"t": "take-profit", "h": "hard stop", "m": "operator's exit"}


@attrs.frozen
class Told:
    """One text for everybody who is told."""

    text: str
    rank: Rank = Rank.NEWS
    what: str = "message"
    key: str = ""


@attrs.define
class _Exit:
    """The exit that is under way, or was the last."""

    number: object
    armed: list[str] = attrs.field(factory=list)
    reasons: list[str] = attrs.field(factory=list)
    head: str = ""
    orders: int = 0
    rejected: int = 0
    resting: str = ""
    state: str = ""
    filled: Decimal = Decimal(0)
    worth: Decimal = Decimal(0)
    ended: str = ""

    @property
    def text(self) -> str:
        lines = [f"exit {self.number}: {', '.join(self.reasons) or 'adopted'}", self.head]
        if self.resting:
            again = (
                f", re-quoted {self.orders - 1} times"
                if self.orders > 2
                else ", re-quoted once"
                if self.orders == 2
                else ""
            )
            lines.append(f"{self.resting} {self.state}{again}")
        if self.rejected:
            lines.append(f"{self.rejected} refused")
        if self.filled:
            lines.append(f"filled {amount(self.filled)} at {amount(self.worth / self.filled)}")
        lines.append(self.ended)
        return "\n".join(line for line in lines if line)


class Story:
    """Follows one bot's facts."""

    def __init__(self) -> None:
        self._exit: _Exit | None = None
        self._exits = 0
        self._losses = 0
        self._tries = 0
        self._ready = False
        self._refusals: dict[tuple[str, object], int] = {}
        self._dealt: dict[str, Callable[[Fact], Iterator[Told]]] = {
            "start": self._start, "ready": self._on_ready, "epoch": self._epoch, "gate": self._gate,
            "armed": self._armed, "disarmed": self._disarmed, "order": self._order, "fill": self._fill,
            "refused": self._refused, "command": self._command, "stop": self._stop, "journal": self._journal,
            "rebuilt": self._rebuilt,
        }  # fmt: skip

    def take(self, fact: Fact) -> list[Told]:
        """What to tell of `fact`; mostly nothing."""
        deal = self._dealt.get(fact.kind)
        return list(deal(fact)) if deal is not None else []

    # -- the process ----------------------------------------------------------------------------------------------
    def _start(self, fact: Fact) -> Iterator[Told]:
        yield Told(f"tetrio has started: {_of(fact, 'venue')} {_of(fact, 'symbol')}", what="start")

    def _on_ready(self, fact: Fact) -> Iterator[Told]:
        if not self._ready:
            self._ready = True
            yield Told("ready: in step with the exchange", what="start")
        elif self._tries:
            text = f"connected again, after {self._tries} {'try' if self._tries == 1 else 'tries'}"
            yield Told(text, what="connection loss", key=f"loss {self._losses}")
        self._tries = 0

    def _epoch(self, fact: Fact) -> Iterator[Told]:
        if fact.fields.get("state") != "ended" or not self._ready:
            return
        self._losses += self._tries == 0
        self._tries += 1
        text = f"connection lost: {_of(fact, 'why')}\ntry {self._tries}, next in {_of(fact, 'next_s')} s"
        yield Told(text, what="connection loss", key=f"loss {self._losses}")

    def _stop(self, fact: Fact) -> Iterator[Told]:
        left = fact.fields.get("left")
        match fact.fields.get("state"):
            case "done":
                clean = fact.fields.get("clean")
                words = (
                    "stopped; nothing is left against on_stop"
                    if clean
                    else "stopped, NOT in order: look at the exchange"
                )
                yield Told(words, Rank.NEWS if clean else Rank.CRITICAL, what="stop")
            case "goodbye failed" | "goodbye timed out" as state:  # it is tried again while there is time
                yield Told(f"stop: {state}: {_of(fact, 'why')}", what="stop", key="stop")
            case "not confirmed" | "failed" as state:
                rest = f"; may still rest: {_names(left)}" if left else ""
                why = f": {fact.fields['why']}" if "why" in fact.fields else ""
                yield Told(f"stop {state}{why}{rest}", Rank.CRITICAL, what="stop")
            case "confirmed" if left and fact.fields.get("on_stop") == "cancel":
                yield Told(f"stop: the exchange still has {_names(left)}", Rank.CRITICAL, what="stop")

    def _command(self, fact: Fact) -> Iterator[Told]:
        word = _of(fact, "word")
        done = fact.fields.get("done", True)
        text = f"{word} by {_of(fact, 'by')}" + ("" if done else ": refused")
        said = fact.fields.get("text")
        rank = Rank.CRITICAL if word == "halt" and done else Rank.NEWS
        yield Told(f"{text}\n{said}" if said else text, rank, what="command")

    def _journal(self, fact: Fact) -> Iterator[Told]:
        if fact.fields.get("state") == "lost":
            yield Told(f"{_of(fact, 'sink')} takes no lines: {_of(fact, 'why')}; trading goes on", what="warning")

    def _rebuilt(self, fact: Fact) -> Iterator[Told]:
        words = [word for word in ("paused", "halted") if fact.fields.get(word)]
        if words:
            why = fact.fields.get("why", "as before the restart; /resume takes it back")
            yield Told(
                f"{' and '.join(words)}: {why}", Rank.CRITICAL if "why" in fact.fields else Rank.NEWS, what="start"
            )

    # -- decisions ------------------------------------------------------------------------------------------------
    def _gate(self, fact: Fact) -> Iterator[Told]:
        if fact.fields.get("state") == "closed":
            text = f"hard stop: a loss of {_percent(fact, 'loss')} from {_of(fact, 'anchor')}; the gate is closed"
            sells = "the base is sold" if fact.fields.get("regime") == "BASE" else "nothing is traded by it"
            yield Told(f"{text}, nothing new is armed; {sells}", Rank.CRITICAL, what="hard stop")
        else:
            yield Told(f"the gate is open again, at {_of(fact, 'close')}", what="gate")

    def _armed(self, fact: Fact) -> Iterator[Told]:
        number = fact.fields.get("episode", 0)
        if self._exit is None or self._exit.ended or self._exit.number != number:
            self._begin(number)
        assert self._exit is not None, "it has just begun"
        reason = _reason(fact)
        self._exit.armed.append(reason)
        self._exit.reasons.append(reason)
        self._exit.head = (
            f"gain {_percent(fact, 'gain')}, drawdown {_percent(fact, 'drawdown')}, "
            f"bid {_of(fact, 'bid')}, ask {_of(fact, 'ask')}"
        )
        yield self._told()

    def _disarmed(self, fact: Fact) -> Iterator[Told]:
        if self._exit is None or self._exit.ended:
            return
        if (reason := _reason(fact)) in self._exit.armed:
            self._exit.armed.remove(reason)
        if self._exit.armed:
            return
        by = _of(fact, "by")
        self._exit.ended = "done: the side has changed" if by == "regime" else f"disarmed by {by}"
        yield self._told()

    def _order(self, fact: Fact) -> Iterator[Told]:
        if fact.fields.get("waits"):
            return  # a protective stop: what keeps it from resting is a refusal, what triggers it a hard stop
        state = _of(fact, "state")
        self._begin_by_stop(fact)
        if self._exit is None:
            self._begin("of an earlier process")
        assert self._exit is not None, "it has just begun"
        if state == "sent":
            self._exit.orders += 1
        if state == "rejected":
            self._exit.rejected += 1
            yield self._told()
            return
        if state == "canceled" and not self._exit.ended:
            return  # it makes way for the next one, or what ends the exit is about to be told
        self._exit.resting = f"{_of(fact, 'side')} {_number(fact, 'qty')} @ {_number(fact, 'price')}"
        self._exit.state = {"sent": "under way", "open": "resting"}.get(state, state)
        yield self._told()

    def _fill(self, fact: Fact) -> Iterator[Told]:
        qty, price = _decimal(fact, "qty"), _decimal(fact, "price")
        if qty is None or price is None:
            return
        self._begin_by_stop(fact)
        if self._exit is None:
            self._begin("of an earlier process")
        assert self._exit is not None, "it has just begun"
        self._exit.filled += qty
        self._exit.worth += qty * price
        yield self._told()

    def _refused(self, fact: Fact) -> Iterator[Told]:
        what, why = _of(fact, "what"), _of(fact, "why")
        if what == "dust":
            yield Told(f"{what}: {why}", what="refusal")
        elif self._is_new((what, fact.fields.get("code")), fact.ts):
            yield Told(f"{what}: {why}", Rank.CRITICAL, what="refusal")

    # -- inside ---------------------------------------------------------------------------------------------------
    def _is_new(self, what: tuple[str, object], ts: int) -> bool:
        """Whether this has not been told for an hour; a breaker that stays open is told of once a minute."""
        if ts - self._refusals.get(what, -AGAIN_NS) < AGAIN_NS:
            return False
        self._refusals = {each: at for each, at in self._refusals.items() if ts - at < AGAIN_NS} | {what: ts}
        return True

    def _begin_by_stop(self, fact: Fact) -> None:
        """A protective stop that triggers may be told of before the strategy arms the exit that it is."""
        found = _STOP.search(_of(fact, "client_order_id"))
        if found is not None and (self._exit is None or (self._exit.ended and self._exit.number != int(found[1]))):
            self._begin(int(found[1]))

    def _begin(self, number: object) -> None:
        self._exits += 1
        self._exit = _Exit(number)

    def _told(self) -> Told:
        assert self._exit is not None, "there is an exit to tell of"
        return Told(self._exit.text, what="exit", key=f"exit {self._exits}")


def _of(fact: Fact, name: str) -> str:
    value = fact.fields.get(name)
    return "–" if value is None else str(value)


def _names(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _reason(fact: Fact) -> str:
    letter = _of(fact, "reason")
    return REASONS.get(letter, letter)


def _percent(fact: Fact, name: str) -> str:
    value = fact.fields.get(name)
    return percent(float(value) if isinstance(value, int | float) else None)


def _number(fact: Fact, name: str) -> str:
    return amount(_of(fact, name))


def _decimal(fact: Fact, name: str) -> Decimal | None:
    try:
        number = Decimal(_of(fact, name))
    except InvalidOperation:
        return None
    return number if number.is_finite() and number > 0 else None
