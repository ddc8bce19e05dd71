"""Whether a request may be sent at all, at the moment when it is.

S8   nothing is sent while the market says nothing          S23   nothing follows a broken frame
S9   nothing is sent before a session has been synchronised  S29   nothing is sent before ready
S21  only own orders are cancelled, never all of them       F130  a halt sends nothing but cancels
S22  one process at a time sends
"""

from __future__ import annotations

import math

import msgspec

from tetrio.chaos.judge.account import PROTECTIVE, Account, Asking
from tetrio.chaos.judge.case import IN_FLIGHT_S, JUMPSTART, OWN, Case, Line, reason
from tetrio.chaos.judge.churn import Churn
from tetrio.chaos.judge.lives import Roll
from tetrio.chaos.judge.manners import Manners
from tetrio.chaos.judge.outcomes import ABSENT_AFTER_S, MUTATIONS, Outcomes
from tetrio.chaos.judge.sessions import SUBSCRIBE, Session, Sessions
from tetrio.chaos.judge.stops import Stops

CANCELS = frozenset({"order.cancel"})
FORBIDDEN = frozenset({"openOrders.cancelAll"})
UNHEARD_S = 8.0
"""How long the market may have said nothing when an order is decided on; a line is left after 5 s."""
STAMP_OFF_S = 2.0
"""By how much the stamp of a request may be off, clocks that are wrong included."""


class Requests:
    """Sessions, what they ask, and what they are answered."""

    def __init__(
        self, case: Case, roll: Roll, account: Account, sessions: Sessions, outcomes: Outcomes, manners: Manners,
        churn: Churn, stops: Stops,
    ) -> None:  # fmt: skip
        self._case, self._roll, self._account, self._sessions = case, roll, account, sessions
        self._outcomes, self._manners, self._churn, self._stops = outcomes, manners, churn, stops
        self._asking = Asking(case, account)
        self._leapt_s = 0.0
        self._heard_s = math.inf

    # -- what it is told --------------------------------------------------------------------------------------------
    def audit(self, line: Line) -> None:
        """A line of the exchange's record."""
        match line["ev"]:
            case "accept" if line["client_order_id"].startswith(OWN):
                self._accepted(line["client_order_id"])
            case "reject":
                self._outcomes.recorded(str(line.get("client_order_id")))

    def _accepted(self, name: str) -> None:
        latest = self._outcomes.latest
        if reason(name) == JUMPSTART and latest is not None and latest.name == name:
            self._sessions.asking(latest.connection).answered.add("account.status")  # its events tell all balances
        self._outcomes.recorded(name)

    def leapt(self, by_s: float) -> None:
        """The date has gone on by so much more than the time: later requests are stamped by it."""
        self._leapt_s += by_s

    def halted(self, halted: bool) -> None:
        """The operator has said halt, or resume."""
        self._case.halted_s = self._case.now_s if halted else None

    def market_heard(self, heard_s: float) -> None:
        """When the bot last got anything of the market."""
        self._heard_s = heard_s

    def request(self, connection: int, message: str | bytes) -> None:
        """A request has reached the exchange."""
        session = self._sessions.asking(connection)
        try:
            asked = msgspec.json.decode(message)
            method, params = str(asked["method"]), dict(asked.get("params") or {})
        except (ValueError, KeyError, TypeError):
            self._case.breach("S23", f"connection {connection} sent what is no request: {message[:80]!r}")
            return
        self._churn.request(method)
        if method == SUBSCRIBE:
            session.forget_snapshots()
        name = str(params.get("newClientOrderId") or params.get("origClientOrderId") or "")
        session.asked[asked.get("id")] = method, name
        if method == "order.status":
            self._outcomes.asked_for(name)
        if method in FORBIDDEN:
            self._case.breach("S21", f"{method} was sent")
        if method in MUTATIONS:
            self._mutates(connection, session, name, params)
        if method in CANCELS or method == "order.cancelReplace":
            self._cancels(params)

    def reply(self, connection: int, payload: bytes) -> None:
        """The exchange has answered."""
        session = self._sessions.get(connection)
        answer = msgspec.json.decode(payload)
        if session is None or "id" not in answer:
            return
        method, name = session.asked.pop(answer["id"], ("", ""))
        done = answer.get("status") == 200
        if done:
            session.answered.add(method)
        self._outcomes.replied(method, name, answer)
        if method in MUTATIONS and not done:
            if reason(name) != JUMPSTART:  # a request of another kind, once a process
                self._manners.refused(answer)
        elif method in MUTATIONS:
            self._manners.obliged()
        elif method in CANCELS:
            self._manners.cancel_answered(answer)

    # -- what is sent -----------------------------------------------------------------------------------------------
    def _mutates(self, connection: int, session: Session, name: str, params: Line) -> None:
        life = self._roll.made(name, session.life)
        self._outcomes.named(name)
        if params.get("cancelReplaceMode", "STOP_ON_FAILURE") != "STOP_ON_FAILURE":
            self._case.breach("S3", f"{name} was sent by {params['cancelReplaceMode']}")
        if reason(name) == JUMPSTART:
            self._outcomes.sent(name, connection)
            return  # a jumpstart's order is how the balances are learnt
        self._in_step(session, name, life)
        stamped_s = self._stamped_s(params)
        self._asking.asks(name, life, params, min(self._case.now_s, stamped_s))
        if params.get("type") not in PROTECTIVE:  # which is for when nobody looks
            self._in_sight(name, life, min(self._case.now_s, stamped_s - STAMP_OFF_S))
        self._allowed(name, life, min(self._case.now_s - IN_FLIGHT_S, stamped_s - STAMP_OFF_S))
        self._stops.sent(name, life, str(params.get("side")))
        late = self._case.now_s - stamped_s > ABSENT_AFTER_S  # not executed any more, and asked for long ago
        if not late and life not in self._roll.dead_s:  # last words that come late say nothing of the living
            self._outcomes.sent(name, connection)

    def _in_step(self, session: Session, name: str, life: int) -> None:
        """Whether session and process were ready for it."""
        if missing := session.missing:
            self._case.breach("S9", f"{name} was sent before {', '.join(sorted(missing))} was answered")
        if life not in self._roll.ready:
            self._case.breach("S29", f"{name} was sent before process {life} was ready")

    def _in_sight(self, name: str, life: int, at_s: float) -> None:
        """Whether the market was in sight when it was decided on."""
        if life != self._roll.latest:
            return  # what a dead process had sent
        if (silent_s := at_s - self._heard_s) > UNHEARD_S:
            self._case.breach("S8", f"{name} was sent, and the market had said nothing for {silent_s:.1f} s")

    def _allowed(self, name: str, life: int, at_s: float) -> None:
        """Whether its process was alive, not halted, and in no doubt; `at_s` is the latest at which it was sent."""
        if at_s > self._roll.dead_s.get(life, self._case.now_s):
            self._case.breach("S22", f"{name} is of process {life}, which is dead")
        if self._case.halted_s is not None and at_s > self._case.halted_s:
            self._case.breach("F130", f"{name} was sent {self._case.now_s - self._case.halted_s:.1f} s after a halt")
        doubt = self._outcomes.unresolved()
        if doubt is not None and self._roll.of(doubt.name) == life:
            self._case.breach("S4", f"{name} was sent, and nothing is known of {doubt.name}")

    def _stamped_s(self, params: Line) -> float:
        """When a request was made, by its own word; bytes may lie on the wire for as long as it is dark."""
        stamp = params.get("timestamp")
        if not isinstance(stamp, int):
            return self._case.now_s
        return (stamp - self._case.terms.begin_ms) / 1000 - self._leapt_s

    def _cancels(self, params: Line) -> None:
        name = params.get("cancelOrigClientOrderId") or params.get("origClientOrderId")
        number = params.get("cancelOrderId") or params.get("orderId")
        own = str(name).startswith(OWN) if name is not None else number in self._account.numbers
        if not own:
            self._case.breach("S21", f"an order that is not ours was to be cancelled: {name or number}")
