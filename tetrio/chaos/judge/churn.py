"""L7: that requests follow from something. What has not changed is not asked about, or acted on, over and over.

What changes by itself counts: the market, own trades, flows, the operator's words, a process that starts. What a
request itself brings about does not: an order that is placed and cancelled in a loop is a change at each turn.
"""

from __future__ import annotations

import collections

from tetrio.chaos.judge.case import Case, Line
from tetrio.chaos.judge.outcomes import MUTATIONS

CHURN_S = 10.0
"""Within which requests and changes are counted."""
BEGINS = 20
"""Changes that a process which starts is worth."""
CHANGING = frozenset({"fill", "trigger", "deposit", "withdraw", "lock"})
"""Lines of the record that tell of a change which no request has asked for."""
ACTING = MUTATIONS | {"order.cancel"}


class Bound:
    """How many requests of a kind there may be within `CHURN_S`: so many anyhow, and so many a change."""

    def __init__(self, what: str, anyhow: int, a_change: int) -> None:
        self.what, self.anyhow, self.a_change = what, anyhow, a_change
        self._times: collections.deque[float] = collections.deque()

    def exceeded(self, now_s: float, changes: int) -> str:
        """One more: what is to be said of it, "" where nothing; then it is counted anew."""
        self._times.append(now_s)
        _forget(self._times, now_s)
        if len(self._times) <= self.anyhow + self.a_change * changes:
            return ""
        told = f"{len(self._times)} {self.what} within {CHURN_S:g} s, and {changes} changes"
        self._times.clear()
        return told


class Churn:
    """Counts both. The bounds are about twice what 50 seeds of chaos needed."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._changes: collections.deque[float] = collections.deque()
        self._asked = Bound("requests", 80, 2)
        """A session that is synchronised takes a dozen, an order in doubt one each half a second."""
        self._acted = Bound("mutations", 25, 1)

    def changed(self) -> None:
        """Something is not as it was."""
        self._changes.append(self._case.now_s)

    def begun(self) -> None:
        """A process begins: it asks for all there is, and why each of the latest orders was sent."""
        self._changes.extend([self._case.now_s] * BEGINS)

    def audit(self, line: Line) -> None:
        """A line of the exchange's record."""
        if line["ev"] in CHANGING:
            self.changed()

    def request(self, method: str) -> None:
        """A request has reached the exchange."""
        _forget(self._changes, self._case.now_s)
        for bound in (self._asked, self._acted) if method in ACTING else (self._asked,):
            if told := bound.exceeded(self._case.now_s, len(self._changes)):
                self._case.breach("L7", told)


def _forget(times: collections.deque[float], now_s: float) -> None:
    """What is longer ago than `CHURN_S` counts no more."""
    while times and times[0] < now_s - CHURN_S:
        times.popleft()
