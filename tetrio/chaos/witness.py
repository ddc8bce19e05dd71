"""Who hands what happens in a world to the referee, and to the trace."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal

import msgspec
import trio

from tetrio.chaos.judge.case import Trade
from tetrio.chaos.judge.signs import Seen
from tetrio.chaos.referee import Referee
from tetrio.chaos.trace import Trace
from tetrio.chaos.world import World
from tetrio.core.money import SymbolRules
from tetrio.journal import Fact
from tetrio.wire.frames import FrameReader

SETTLED_S = 10.0
"""After something has gone wrong: so long nothing is judged by how quickly the bot does it."""


class _Failures(logging.Handler):
    """Listens for errors in a log."""

    def __init__(self, heard: Callable[[str], None]) -> None:
        super().__init__(logging.ERROR)
        self._heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        """An error was logged."""
        cause = f": {record.exc_info[1]!r}" if record.exc_info else ""
        self._heard(f"{record.getMessage()}{cause}")


class Witness:
    """Hands what happens to the referee and to the trace."""

    def __init__(self, referee: Referee, trace: Trace) -> None:
        self.referee, self.trace = referee, trace
        self.on_request: Callable[[str | bytes], None] | None = None
        """Called with each request, before it is served."""
        self.on_first: list[str] = []
        self._unknown: set[str] = set()
        """Orders of which the process says that it does not know what became of them."""
        self.seen: Callable[[], Seen] = lambda: Seen(market_s=math.inf, session_s=math.inf)
        """What has reached the bot's machine of late; nobody has said that anything is missing."""
        self.heard_s: Callable[[], float] = lambda: math.inf
        """When the bot last got something of the market."""
        self.disturbed: Callable[[], bool] = lambda: True
        """Whether something is wrong that excuses a bot for being slow; nobody has said that nothing is."""
        self.undisturbed: Callable[[], bool] = lambda: True
        """Whether an answer of the exchange is certain to arrive, as far as other troubles go."""

    @contextmanager
    def of_failures(self) -> Iterator[None]:
        """Whatever the exchange logs as a failure of its own is a violation: a world that is broken shows nothing."""
        exchange, hearing = logging.getLogger("tetrio.sim"), _Failures(self.failed)
        level, exchange.propagate = exchange.level, False
        exchange.setLevel(logging.ERROR)
        exchange.addHandler(hearing)
        try:
            yield
        finally:
            exchange.removeHandler(hearing)
            exchange.setLevel(level)
            exchange.propagate = True

    def failed(self, what: str) -> None:
        """The exchange has failed, which is no trouble that anybody asked for."""
        self.referee.breach("WORLD", self._now(), what)
        self._look()

    @staticmethod
    def _now() -> float:
        return trio.current_time()

    def _look(self) -> None:
        if self.referee.violations and not self.on_first:
            self.on_first = list(self.trace.recent)

    def audit(self, line: str) -> None:
        """A line of the exchange's record."""
        self.trace.tell(line)
        try:
            now = self._now()
        except RuntimeError:  # before the run's first moment: opening funds
            now = 0.0
        self.referee.audit(now, msgspec.json.decode(line))
        self._look()

    def market(self, trades: Sequence[Trade]) -> None:
        """Something has happened on the market."""
        if self.disturbed():
            self.referee.disturbed(self._now(), SETTLED_S)
        self.referee.market(self._now(), trades)
        self._look()

    def request(self, connection: int, message: str | bytes) -> None:
        """The exchange has got a request."""
        self.trace.tell(
            f"request {connection} {message if isinstance(message, str) else message.decode(errors='replace')}"
        )
        self.referee.market_heard(self.heard_s())
        self.referee.request(self._now(), connection, message)
        self._look()
        if self.on_request is not None:
            self.on_request(message)

    def reply(self, connection: int, frame: bytes) -> None:
        """The exchange has answered one."""
        for _, payload in FrameReader().feed(frame):
            self.trace.tell(f"reply {connection} {bytes(payload[:200]).decode(errors='replace')}")
            self.referee.reply(self._now(), connection, bytes(payload))
        self._look()

    def life(self, number: int, what: str, code: int | None = None, why: str = "") -> None:
        """A process of the bot."""
        self.trace.tell(f"process {number} {what} {code if code is not None else ''} {why}".rstrip())
        self.referee.life(self._now(), number, what, code)
        if what == "started":
            self._unknown.clear()
        elif what == "stopping" and self._unknown:
            self.referee.life(self._now(), number, "doubts")
        self._look()

    def fact(self, number: int, fact: Fact) -> None:
        """A line of its journal."""
        self.trace.tell(f"bot {number} {fact.kind} {dict(fact.fields)}")
        if fact.kind == "ready":
            self.referee.life(self._now(), number, "ready")
        elif fact.kind == "order":
            name = str(fact.fields.get("client_order_id"))
            if fact.fields.get("state") == "unknown":
                self._unknown.add(name)
                self.referee.life(self._now(), number, "doubts")
            else:
                self._unknown.discard(name)
        elif fact.kind == "balance" and isinstance(flow := fact.fields.get("flow"), dict):
            self.referee.flow_told(self._now(), flow)
            self._look()
        elif fact.kind in ("rebuilt", "regime", "gate"):
            self._level(fact)
            self._look()
        elif fact.kind == "command" and fact.fields.get("done"):
            self.referee.obeyed(self._now(), str(fact.fields["word"]))
        elif fact.kind == "fill":
            self.referee.fill_told(self._now(), number, fact.fields["trade_id"])
            self._look()

    def _level(self, fact: Fact) -> None:
        """Where it takes its stop to be."""
        fields, referee, now = fact.fields, self.referee, self._now()
        regime, anchor = (
            str(fields.get("regime") or ""),
            Decimal(str(fields["anchor"])) if fields.get("anchor") else None,
        )
        match fact.kind, fields.get("what"):
            case "rebuilt", "state":
                referee.rebuilt(now, regime, anchor, str(fields["gate"]), str(fields.get("reason") or ""))
            case "rebuilt", "anchor":
                referee.anchor_unknown(now)
            case "rebuilt", "decisions":
                referee.taken_back(now)
            case "regime", _:
                referee.level_told(now, regime, anchor)
            case "gate", _:
                referee.level_told(now, regime, anchor, str(fields["state"]))

    def written(self, sink: str, text: str) -> None:
        """A text has left the bot."""
        self.referee.written(self._now(), sink, text)
        self._look()

    def signalled(self, number: int, lines: Sequence[str]) -> None:
        """A process has told its service manager this."""
        self.referee.written(self._now(), "service manager", *lines)
        self.referee.signalled(self._now(), number, lines, self.seen())
        self._look()

    def chatted(self, world: World) -> None:
        """All that was written to a chat, or shown to who has pressed a button."""
        texts = [text for written in world.telegram.written for text in written.texts]
        self.referee.written(self._now(), "chat", *texts, *world.telegram.notes)
        self.referee.written(self._now(), "last words", *(life.why for life in world.lives))

    def logged(self, level: str, name: str, text: str, /, **fields: object) -> None:
        """A line of what the code and its libraries have to say."""
        self.referee.written(self._now(), "log", text, *map(str, fields.values()))

    def said(self, word: str) -> None:
        """The operator said this."""
        self.trace.tell(f"said {word}")
        self.referee.said(self._now(), word)

    def stay_away(self, for_s: float) -> None:
        """The exchange shuts the bot out."""
        self.referee.stay_away(self._now(), for_s)

    def told_away(self) -> None:
        """An answer has told the bot that it is shut out."""
        self.trace.tell("told to stay away")
        self.referee.told_away(self._now(), certain=self.undisturbed())

    def let_in(self) -> None:
        """It does so no more."""
        self.referee.let_in()

    def rules_changed(self, rules: SymbolRules) -> None:
        """The symbol's rules or status have changed."""
        least = rules.min_qty_lots * rules.step_size, rules.min_notional
        self.referee.rules_changed(self._now(), *least)

    def key_known(self, known: bool) -> None:
        """The bot's key is revoked, or known again."""
        self.referee.key_known(self._now(), known)

    def leapt(self, by_s: float) -> None:
        """The date has gone on by so much more than the time."""
        self.trace.tell(f"the date has leapt by {by_s:.3f} s")
        self.referee.leapt(by_s)

    def knocked(self) -> None:
        """A connection has come about."""
        self.referee.knocked(self._now())
        self._look()
