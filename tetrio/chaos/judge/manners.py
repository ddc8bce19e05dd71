"""How the exchange is treated: how often it is called on, what it refuses, and whether a ban is kept.

S7   orders fit the symbol's rules
S15  connections and refused requests stay within bounds
S16  nobody asks while it is told to stay away
"""

from __future__ import annotations

import collections

from tetrio.chaos.judge.case import IN_FLIGHT_S, WINDOW_S, Case, Line
from tetrio.chaos.judge.lives import Roll

MOST_CONNECTS = 30
"""Of one process to one service within five minutes."""
HURRIED = 20
"""Beyond that, of one that is to stop and has no time to wait."""
SAME_REFUSALS, PROBE_S = 3, 55.0
AT_ONCE_S, MOST_AT_ONCE = 10.0, {"post-only": 40, "cancel": 5}
"""Refusals of one kind within that time: a chase backs off to 0.8 s, a cancel waits for the market to open."""
OFF_THE_GRID = frozenset({-1013, -1111})
ASKED_TOO_OFTEN = frozenset({-1003, -1015})


class Manners:
    """Connections, refusals, bans."""

    def __init__(self, case: Case, roll: Roll) -> None:
        self._case, self._roll = case, roll
        self._connects: collections.deque[tuple[float, str, int]] = collections.deque()
        """When, to which face, and which process."""
        self._refusals: tuple[str, int, float] = "", 0, 0.0
        """What was refused last, how often in a row, and when."""
        self._at_once: collections.defaultdict[str, collections.deque[float]] = collections.defaultdict(
            collections.deque
        )
        self._rules_changed_s = -1e9
        self._away_since = self._away_until = 0.0
        self._away_told_s: float | None = None
        self._away_tellings = 0

    def audit(self, line: Line) -> None:
        """A line of the exchange's record."""
        if line["ev"] != "connect":
            return
        face, life = line["face"], self._roll.latest
        self._connects.append((self._case.now_s, face, life))
        while self._connects[0][0] < self._case.now_s - WINDOW_S:
            self._connects.popleft()
        count = sum(1 for _, *each in self._connects if each == [face, life])
        if count > MOST_CONNECTS + (HURRIED if life in self._roll.stopping else 0):
            self._case.breach("S15", f"{count} connections of process {life} to {face} within {WINDOW_S:g} s")

    # -- refusals ---------------------------------------------------------------------------------------------------
    def rules_changed(self) -> None:
        """The symbol's rules or status have changed: an order on its way may not fit them."""
        self._rules_changed_s = self._case.now_s

    def begun(self) -> None:
        """A process, which cannot know what was refused before, nor that the one before was told to stay away."""
        self.obliged()
        self._away_told_s, self._away_tellings = None, 0

    def obliged(self) -> None:
        """A mutation was accepted."""
        self._refusals = "", 0, self._case.now_s

    def cancel_answered(self, answer: Line) -> None:
        """The answer to a cancel; it may not go on at once where the market is closed."""
        if "closed" in str((answer.get("error") or {}).get("msg")):
            self._count("cancel")

    def refused(self, answer: Line) -> None:
        """A mutation was refused, or nobody knows."""
        problem = answer.get("error") or {}
        data = problem.get("data")
        inner = data.get("newOrderResponse") if isinstance(data, dict) else None
        if isinstance(data, dict) and "cancelResult" in data and not inner:
            return  # the old order is gone: nothing was asked of the new one
        code, msg = (inner or problem).get("code"), str((inner or problem).get("msg"))
        changed = self._case.now_s - self._rules_changed_s <= WINDOW_S
        if code in OFF_THE_GRID and "closed" not in msg and not changed:
            self._case.breach("S7", f"refused with {code} {msg}")
        if "immediately match" in msg:
            self._count("post-only")
        elif answer.get("status", 500) < 500 and code not in ASKED_TOO_OFTEN:
            self._again(f"{code} {msg}")

    def _again(self, what: str) -> None:
        """The same may be refused a few times in a row, then once a minute."""
        now, (before, count, at_s) = self._case.now_s, self._refusals
        count = count + 1 if what == before else 1
        if count > SAME_REFUSALS + 1 and now - at_s < PROBE_S:
            self._case.breach("S15", f"refused {count} times with {what}, {now - at_s:.1f} s after the last")
        self._refusals = what, count, now

    def _count(self, kind: str) -> None:
        """One more refusal of a kind."""
        times, most = self._at_once[kind], MOST_AT_ONCE[kind]
        times.append(self._case.now_s)
        while times[0] < self._case.now_s - AT_ONCE_S:
            times.popleft()
        if len(times) > most:
            self._case.breach("S15", f"{kind} was refused {len(times)} times within {AT_ONCE_S:g} s")
            times.clear()

    # -- bans -------------------------------------------------------------------------------------------------------
    def stay_away(self, for_s: float) -> None:
        """The exchange shuts the bot's address out, and will say so to whoever asks."""
        self._away_since, self._away_until = self._case.now_s, self._case.now_s + for_s
        self._away_told_s, self._away_tellings = None, 0

    def told_away(self, *, certain: bool) -> None:
        """An answer that tells of the ban was given; not `certain` to arrive where the network is bad as well."""
        if self._case.now_s == self._away_since:
            return  # an answer to what was under way: its connection is cut with it
        self._away_tellings += 1
        if self._away_told_s is None and (certain or self._away_tellings > 1):
            self._away_told_s = self._case.now_s

    def let_in(self) -> None:
        """It does so no more."""
        self._away_until = 0.0

    def knocked(self) -> None:
        """A connection to any face has come about."""
        now, told_s = self._case.now_s, self._away_told_s
        if told_s is not None and told_s + IN_FLIGHT_S < now < self._away_until:
            self._case.breach("S16", f"a connection while shut out for {self._away_until - now:.1f} s more")
