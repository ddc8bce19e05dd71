"""What became of the latest mutation: known by its answer, by the record, or by having been asked for.

S4   one mutation unresolved at most      L3   nothing is in doubt 45 s after healing
S5   no client order id twice
"""

from __future__ import annotations

import math

import attrs

from tetrio.chaos.judge.case import OWN, Case, Line, nonce, serial
from tetrio.chaos.once import Once

MUTATIONS = frozenset({"order.place", "order.cancelReplace", "order.amend.keepPriority"})
UNKNOWN_CODES = frozenset({-1000, -1001, -1006, -1007, -1008})
"""Answers that leave open what became of a request, whatever their status."""
NO_SUCH_ORDER = -2013
ABSENT_AFTER_S, PROBES = 10.0, 2
"""After so long, and so many answers that there is none, an order never was."""

ANSWER_S = 3.0
"""So long it waits for an answer, whatever the record shows meanwhile."""
DOUBT_S, ASKS_EVERY_S = 45.0, 3.0
"""So long it may take to find out (L3), and so often it asks at least."""


@attrs.define
class Mutation:
    """A request that may have changed something, and what has been told of it since."""

    name: str
    connection: int
    at_s: float
    answered: bool = False
    recorded: bool = False
    """The exchange's record shows its outcome, so its events tell it."""
    asked: int = 0
    """Answers to questions about it."""
    found: bool = False


class Outcomes:
    """The latest mutation, and every id that was ever sent."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self.latest: Mutation | None = None
        self.wondered_s = -math.inf
        """When a process last asked for an order that has never come, or has said that it is in doubt."""
        self._asks: tuple[str, float, float] = "", -math.inf, -math.inf
        """Which own order is asked for, since when, and when last."""
        self._names = Once(case.remembered)
        """Client order ids that were sent."""

    def named(self, name: str) -> None:
        """An id is used in a mutation."""
        if not self._names.add(nonce(name), name, serial(name)):
            self._case.breach("S5", f"{name} was sent before")

    def sent(self, name: str, connection: int) -> None:
        """This mutation is the latest now."""
        self.latest = Mutation(name, connection, self._case.now_s)

    def asked_for(self, name: str) -> None:
        """`order.status` of it: where it was lost on the way, that is a doubt which is not in the record."""
        if not name.startswith(OWN):
            return
        before, since_s, _ = self._asks
        self._asks = name, since_s if name == before else self._case.now_s, self._case.now_s
        if not self._names.met(nonce(name), name, serial(name)):
            self.wondered_s = self._case.now_s

    def recorded(self, name: str) -> None:
        """The record tells of it."""
        if self.latest is not None and self.latest.name == name:
            self.latest.recorded = True

    def replied(self, method: str, name: str, answer: Line) -> None:
        """An answer to a request that names an order."""
        latest = self.latest
        if latest is None or name != latest.name:
            return
        code = (answer.get("error") or {}).get("code")
        if method == "order.status":
            latest.found |= answer.get("status") == 200
            latest.asked += code == NO_SUCH_ORDER
        elif method in MUTATIONS and answer.get("status", 500) < 500 and code not in UNKNOWN_CODES:
            latest.answered = True

    def busy(self) -> bool:
        """Whether the bot may be finding out what became of an order: until then it must not send another."""
        now, doubt, latest = self._case.now_s, self.in_doubt(), self.latest
        _, since_s, asked_s = self._asks
        asks = now - asked_s < ASKS_EVERY_S and now - since_s < DOUBT_S
        waits = latest is not None and not latest.answered and now - latest.at_s < ANSWER_S
        return asks or waits or (doubt is not None and now - doubt.at_s < DOUBT_S)

    @property
    def waited_until_s(self) -> float:
        """Until when it has waited for the answer of the latest mutation, where that has not come."""
        latest = self.latest
        if latest is None or latest.answered:
            return -math.inf
        return min(self._case.now_s, latest.at_s + ANSWER_S)

    def in_doubt(self) -> Mutation | None:
        """The latest mutation, where nothing has told what became of it."""
        latest = self.latest
        if latest is None or latest.answered or latest.recorded or latest.found:
            return None
        return latest

    def unresolved(self) -> Mutation | None:
        """The latest mutation, where nobody has told, and nobody has asked, what became of it."""
        latest = self.in_doubt()
        if latest is not None and latest.asked >= PROBES and self._case.now_s - latest.at_s >= ABSENT_AFTER_S:
            return None  # asked for long enough: it never was
        return latest
