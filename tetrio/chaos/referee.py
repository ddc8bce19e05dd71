"""The referee: what must hold of every run, seen from the exchange's side.

It is told what the exchange recorded, which requests reached it and what it answered, what its market did, and what
became of the bot's processes. What the bot tells is held against that (S10, S11, S12, S14), and taken for so in one
place alone, where the record has no word of it (`judge.stops`). Each breach is a `Violation` under the invariant's
name, at the moment of the event that shows it. Pure: times are given to it. It only hands on: who judges what is in
`chaos.judge`, but for L9 (`chaos.run`) and WORLD (`chaos.witness`).

    S1  never sells more than is held          S13 once a stop is due, only its own orders come
    S2  never spends more than is held         S14 no flow is made up
    S3  one live order at most                 S15 connections and refused requests stay within bounds
    S4  one mutation unresolved at most        S16 nobody asks while it is told to stay away
    S5  no client order id twice               S21 only own orders are cancelled, never all of them
    S6  post-only, but for what may take       S22 one process at a time sends
    S7  orders fit the symbol's rules          S23 nothing follows a broken frame
    S8  nothing but a protective stop is sent  S29 nothing is sent before ready
        while the market says nothing          S30 every balance is accounted for
    S9  nothing is sent before a session has   F130 a halt sends nothing but cancels
        been synchronised
    S10 own fills are told, and told once      S18 no secret gets out, by any sink
    S11 what a bot takes for so is so          S27 its service manager is told the truth
    S12 a stop is where it was before          S28 no more is held than before a link was lost

    L1  back within 30 s of healing            L5  a stop ends in time, in order, and leaves nothing
    L2  what is wanted rests within 35 s       L6  no process ends by itself
    L3  nothing is in doubt 45 s after it      L7  no livelock, and requests follow from changes
    L4  a stop is sent within 2 s, and sold    L9  a link that says nothing is given up
        within the policy's bound             WORLD the exchange does not fail by itself
"""

from __future__ import annotations

import collections
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal

from tetrio.chaos.judge.account import Account
from tetrio.chaos.judge.beliefs import Beliefs
from tetrio.chaos.judge.case import REMEMBERED, Case, Line, Terms, Trade, Violation
from tetrio.chaos.judge.churn import Churn
from tetrio.chaos.judge.leaks import Held, Leaks
from tetrio.chaos.judge.lives import Endings, Roll
from tetrio.chaos.judge.manners import Manners
from tetrio.chaos.judge.outcomes import Outcomes
from tetrio.chaos.judge.progress import Progress
from tetrio.chaos.judge.requests import Requests
from tetrio.chaos.judge.sessions import Sessions
from tetrio.chaos.judge.signs import Seen, Signs
from tetrio.chaos.judge.sinks import Sinks
from tetrio.chaos.judge.stops import Stops


class Referee:
    """Judges one run: sets the time, and tells each judge what is its."""

    def __init__(self, terms: Terms, *, remembered: int = REMEMBERED) -> None:
        """`remembered`: orders, and own trades, at most."""
        self.counts: collections.Counter[str] = collections.Counter()
        """Lines of the exchange's record, by kind."""
        self._case = case = Case(terms, remembered)
        self._roll = roll = Roll()
        self._account, self._sessions = account, sessions = Account(case), Sessions(roll)
        self._outcomes, self._manners, self._churn = Outcomes(case), Manners(case, roll), Churn(case)
        self._stops = Stops(case, roll, account, sessions, self._outcomes)
        self._requests = Requests(
            case, roll, account, sessions, self._outcomes, self._manners, self._churn, self._stops
        )
        self._beliefs = Beliefs(case, roll, account, sessions)
        self._endings = Endings(case, roll, account, self._outcomes)
        self._sinks, self._signs, self._leaks = Sinks(case), Signs(case, roll), Leaks(case, sessions)
        self._progress = Progress(case)
        self._said_early = False
        """The latest process was told whether it may arm or send before it was ready."""

    @property
    def violations(self) -> list[Violation]:
        """What was found, in the order in which it was seen."""
        return self._case.violations

    @property
    def open_orders(self) -> list[str]:
        """Own orders that the record shows open."""
        return self._account.open_orders

    @property
    def stops_judged(self) -> int:
        """Stops whose time was measured."""
        return self._stops.judged

    @property
    def most_live(self) -> int:
        """Own orders that were open at a time, at most."""
        return self._account.most_live

    def breach(self, invariant: str, at_s: float, what: str) -> None:
        """Something that only the world can see was not as it must be."""
        self._case.now_s = at_s
        self._case.breach(invariant, what)

    # -- the exchange's side ----------------------------------------------------------------------------------------
    def audit(self, at_s: float, line: Line) -> None:
        """A line of the exchange's record."""
        self._case.now_s = at_s
        self.counts[line["ev"]] += 1
        for judge in (
            self._sessions, self._requests, self._account, self._manners, self._churn, self._beliefs, self._stops,
        ):  # fmt: skip
            judge.audit(line)
        self._account.check_balances(line)

    def market(self, at_s: float, trades: Sequence[Trade]) -> None:
        """Something has happened on the market; its trades since the last time, oldest first, may be none."""
        self._case.now_s = at_s
        self._churn.changed()
        self._stops.market(trades)

    def disturbed(self, at_s: float, for_s: float) -> None:
        """Something is wrong, and a bot may need so long to get over it: what is slow is excused until then."""
        self._case.now_s = at_s
        self._case.disturbed_until_s = max(self._case.disturbed_until_s, at_s + for_s)

    def stuck(self, at_s: float, task: str) -> None:
        """Time stands still while tasks hand the turn to each other; the one that was about to run."""
        self._case.now_s = at_s
        self._case.breach("L7", f"a livelock in {task}")

    def request(self, at_s: float, connection: int, message: str | bytes) -> None:
        """A request has reached the exchange."""
        self._case.now_s = at_s
        self._requests.request(connection, message)

    def reply(self, at_s: float, connection: int, payload: bytes) -> None:
        """The exchange has answered."""
        self._case.now_s = at_s
        self._requests.reply(connection, payload)

    def stay_away(self, at_s: float, for_s: float) -> None:
        """The exchange shuts the bot's address out, and will say so to whoever asks."""
        self._case.now_s = at_s
        self._manners.stay_away(for_s)

    def told_away(self, at_s: float, *, certain: bool = True) -> None:
        """An answer that tells of the ban was given; not `certain` to arrive where the network is bad as well."""
        self._case.now_s = at_s
        self._manners.told_away(certain=certain)

    def let_in(self) -> None:
        """It does so no more."""
        self._manners.let_in()

    def knocked(self, at_s: float) -> None:
        """A connection to any face has come about."""
        self._case.now_s = at_s
        self._manners.knocked()

    def rules_changed(self, at_s: float, least_qty: Decimal, least_notional: Decimal) -> None:
        """The symbol's rules or status have changed: an order on its way may not fit them."""
        self._case.now_s = at_s
        self._manners.rules_changed()
        self._stops.rules_changed(least_qty, least_notional)

    def key_known(self, at_s: float, known: bool) -> None:
        """The bot's key is revoked, or known again: a process that is told that it is no key ends as unsafe."""
        self._case.now_s = at_s
        self._endings.key_known(known)

    def leapt(self, by_s: float) -> None:
        """The date has gone on by so much more than the time: later requests are stamped by it."""
        self._requests.leapt(by_s)

    def copies_lag(self, at_s: float, lag: bool) -> None:
        """What answers queries is behind from now on, or no more."""
        self._case.now_s = at_s
        if lag:
            self._case.lags.append((at_s, math.inf))
        else:
            self._case.lags = [(begun_s, min(over_s, at_s)) for begun_s, over_s in self._case.lags]

    def market_heard(self, heard_s: float) -> None:
        """When the bot last got anything of the market."""
        self._requests.market_heard(heard_s)

    # -- the bot's side ---------------------------------------------------------------------------------------------
    def life(self, at_s: float, number: int, what: str, code: int | None = None) -> None:
        """A process: started, ready, in doubt of an order (`doubts`), stopping, killed, ended."""
        self._case.now_s = at_s
        match what:
            case "started":
                self._roll.latest = number
                self._endings.begun()
                self._stops.begun()
                self._churn.begun()
                self._manners.begun()
            case "doubts":  # it has said so: a stop may take longer, and nothing else follows from it
                self._outcomes.wondered_s = at_s
            case "ready":
                self._roll.ready.add(number)
                self._stops.ready()
            case "stopping":
                self._endings.stop_asked()
            case "killed" | "ended":
                self._roll.dead_s[number] = at_s
                self._forget_words(number)
                if what == "ended":
                    self._endings.ended(number, code)

    def said(self, at_s: float, word: str) -> None:
        """A word of the operator's was obeyed."""
        self._case.now_s = at_s
        self._churn.changed()
        self._stops.said(word)
        self._said_early |= word in ("pause", "halt", "resume") and self._roll.latest not in self._roll.ready
        if word in ("halt", "resume"):
            self._requests.halted(word == "halt")
        elif word == "flatten":
            self._account.flattened = True

    def _forget_words(self, number: int) -> None:
        """What was said to a process that then died unready, it may have had no time to write down, as it has said."""
        if self._said_early and number not in self._roll.ready:
            self._stops.words_lost()
            self._requests.halted(False)
        self._said_early = False

    def fill_told(self, at_s: float, number: int, trade_id: object) -> None:
        """A process has told its operator of an own trade."""
        self._case.now_s = at_s
        self._beliefs.fill_told(number, trade_id)

    def flow_told(self, at_s: float, amounts: Mapping[str, str]) -> None:
        """A process takes it that so much of each asset has come or gone without a trade."""
        self._case.now_s = at_s
        self._beliefs.flow_told(amounts)

    def obeyed(self, at_s: float, word: str) -> None:
        """The living process tells that it has obeyed a word, whoever has said it: what the stop does may change."""
        self._case.now_s = at_s
        self._stops.said(word)

    def level_told(self, at_s: float, regime: str, anchor: Decimal | None, gate: str = "") -> None:
        """The living process tells what it has decided, at which anchor; `gate`: that it is open or closed now."""
        self._case.now_s = at_s
        self._stops.decided(regime, anchor, gate)

    def rebuilt(self, at_s: float, regime: str, anchor: Decimal | None, gate: str, why: str) -> None:
        """The living process tells the state that it has rebuilt, and why the exit was that it began from."""
        self._case.now_s = at_s
        self._stops.rebuilt(regime, anchor, gate, why)

    def anchor_unknown(self, at_s: float) -> None:
        """The living process tells that nothing gives it the anchor of its regime."""
        self._case.now_s = at_s
        self._stops.anchor_unknown()

    def taken_back(self, at_s: float) -> None:
        """The living process tells that it takes back what it has decided."""
        self._case.now_s = at_s
        self._stops.taken_back()

    def plant(self, token: str, pem: str) -> None:
        """The secrets of the run: a Telegram bot's token, and a private key."""
        self._sinks.plant(token, pem)

    def written(self, at_s: float, sink: str, *texts: str) -> None:
        """These texts have left the bot by that way."""
        self._case.now_s = at_s
        self._sinks.told(sink, texts)

    def signalled(self, at_s: float, number: int, lines: Sequence[str], seen: Seen) -> None:
        """A process has told its service manager this."""
        self._case.now_s = at_s
        self._signs.told(number, lines, seen)

    def looked(self, at_s: float, number: int, held: Held, *, calm: bool = True) -> None:
        """A process was looked at: it holds this; `calm`: nothing is wrong anywhere."""
        self._case.now_s = at_s
        self._leaks.looked(number, held, calm=calm)

    # -- what is due ------------------------------------------------------------------------------------------------
    def healed(self, at_s: float, slack_s: float = 0.0) -> None:
        """Everything is well from now on; a bot may need `slack_s` longer than usual."""
        self._case.now_s = at_s
        self._progress.healed(slack_s)

    def decided(self, at_s: float, invariant: str, so: bool, sight: str = "") -> bool:
        """Whether L1, L2 or L3 is decided: it is `so`, or its time is up, which is a breach with what is seen."""
        self._case.now_s = at_s
        return self._progress.decided(invariant, so, sight)

    def fills_due(self, at_s: float) -> None:
        """The living process has had time to tell of all that its orders traded while it had no session."""
        self._case.now_s = at_s
        self._beliefs.fills_due()

    def disagreement(self, base: Decimal, quote: Decimal, open_orders: list[str]) -> str:
        """What is not as a process takes it to be: totals, and own orders that are not finished; "" if nothing."""
        return self._beliefs.disagreement(base, quote, open_orders)

    def doubt(self, at_s: float) -> str | None:
        """The order of which the living process should find out what became of it; None where nothing is in doubt."""
        self._case.now_s = at_s
        latest = self._outcomes.unresolved()
        return latest.name if latest is not None and self._roll.of(latest.name) == self._roll.latest else None
