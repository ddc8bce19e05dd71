"""S28: that a bot holds no more after its links were lost and made anew than it held before.

Tasks, nurseries and sockets of a process are counted once a second. What is there for a moment (a line that takes over,
a question to Telegram) counts for nothing: of a calm stretch the least of each is taken, and compared with the first
such stretch of the process.
"""

from __future__ import annotations

import attrs

from tetrio.chaos.judge.case import Case
from tetrio.chaos.judge.sessions import Sessions

POLLING = 1
"""Sockets: Telegram is listened to on one, now and then."""
ASKING = 1
"""Nurseries: a line that was opened has one to ask for a quiet book in, one that took over from another has none."""
LOOKS = 20
"""That make a stretch: longer than the look at the balances that follows each sync waits."""


@attrs.frozen(kw_only=True)
class Held:
    """What a process holds."""

    tasks: int
    nurseries: int
    sockets: int

    def least(self, other: Held) -> Held:
        """The lesser of each."""
        return Held(
            tasks=min(self.tasks, other.tasks),
            nurseries=min(self.nurseries, other.nurseries),
            sockets=min(self.sockets, other.sockets),
        )

    def exceeds(self, before: Held) -> bool:
        """Whether it is more than before, but for what comes and goes: a leak grows with each line that is lost."""
        more = (
            self.tasks - before.tasks,
            self.nurseries - before.nurseries - ASKING,
            self.sockets - before.sockets - POLLING,
        )
        return max(more) > 0


class Leaks:
    """What each process holds, from one look to the next."""

    def __init__(self, case: Case, sessions: Sessions) -> None:
        self._case, self._sessions = case, sessions
        self._number = 0
        self._first: Held | None = None
        self._least: Held | None = None
        self._looks = 0
        self._told = False

    def looked(self, number: int, held: Held, *, calm: bool) -> None:
        """A look at the living process; it counts where all is `calm`."""
        if number != self._number:
            self._number, self._first, self._least, self._looks, self._told = number, None, None, 0, False
        if not calm or self._case.disturbed or not self._sessions.in_step:
            self._least, self._looks = None, 0
            return
        self._least = held if self._least is None else self._least.least(held)
        self._looks += 1
        if self._looks >= LOOKS:
            self._compare(self._least)
            self._least, self._looks = None, 0

    def _compare(self, now: Held) -> None:
        if self._first is None:
            self._first = now
        elif now.exceeds(self._first) and not self._told:
            self._told = True
            self._case.breach("S28", f"process {self._number} holds {now}, and held {self._first} once it was ready")
