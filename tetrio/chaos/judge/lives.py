"""Which process of the bot is which, and how each ends.

L5   a stop ends in time, in order, and leaves nothing
L6   no process ends by itself
"""

from __future__ import annotations

import math

from tetrio.chaos.judge.account import Account
from tetrio.chaos.judge.case import IN_FLIGHT_S, Case, nonce
from tetrio.chaos.judge.outcomes import Outcomes

STOP_S, UNKNOWN_STOP_S = 5.0, 15.0
STOP_SPARE_S = 0.5
"""What the last words and the end of the process itself may take beyond."""
TIMED_OUT, UNSAFE = 5, 6
"""Exit codes: no exchange was found; the key is refused."""


class Roll:
    """Who lives, who is ready, who is to stop, who is dead; and whose an order is."""

    def __init__(self) -> None:
        self.latest = 0
        """The process that was started last."""
        self.ready: set[int] = set()
        self.stopping: set[int] = set()
        self.dead_s: dict[int, float] = {}
        self._nonces: dict[str, int] = {}

    def made(self, name: str, life: int) -> int:
        """The process whose nonce an id carries: it is that of whoever was first to send one."""
        return self._nonces.setdefault(nonce(name), life)

    def of(self, name: str) -> int:
        """Which process made an id: each has a nonce of its own."""
        return self._nonces.get(nonce(name), self.latest)


class Endings:
    """How a process ends."""

    def __init__(self, case: Case, roll: Roll, account: Account, outcomes: Outcomes) -> None:
        self._case, self._roll, self._account, self._outcomes = case, roll, account, outcomes
        self._stopping: tuple[float, bool] | None = None
        """Since when the living process is to stop, and whether something was in doubt then."""
        self._unsafe_until = -math.inf

    def key_known(self, known: bool) -> None:
        """A process that is told that its key is no key ends as unsafe."""
        self._unsafe_until = self._case.now_s + IN_FLIGHT_S if known else math.inf

    def begun(self) -> None:
        """A process was started: it is not to stop yet."""
        self._stopping = None

    def stop_asked(self) -> None:
        """SIGTERM, or the operator's word."""
        self._roll.stopping.add(self._roll.latest)
        self._stopping = self._case.now_s, self._outcomes.in_doubt() is not None

    def ended(self, number: int, code: int | None) -> None:
        """A process has ended, and was not killed."""
        case = self._case
        if code == TIMED_OUT and number not in self._roll.ready:
            return  # it found no exchange: its supervisor starts another
        if self._stopping is None:
            if code != UNSAFE or case.now_s >= self._unsafe_until:
                case.breach("L6", f"process {number} ended by itself, with exit code {code}")
            return
        began_s, doubtful = self._stopping
        doubtful = doubtful or self._outcomes.in_doubt() is not None or self._outcomes.wondered_s >= began_s
        most_s = UNKNOWN_STOP_S if doubtful else STOP_S
        if case.now_s - began_s > most_s + STOP_SPARE_S:
            case.breach("L5", f"the stop took {case.now_s - began_s:.1f} s")
        left = self._account.open_orders
        if code == 0 and case.terms.on_stop == "cancel" and left:
            case.breach("L5", f"left behind, with exit code 0: {', '.join(left)}")
