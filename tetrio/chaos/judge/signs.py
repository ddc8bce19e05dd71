"""S27: that the service manager is told the truth: READY=1 and WATCHDOG=1 only of a bot that is alive.

What alive means is looked at from outside: the process lives and has been synchronised, and of late something of the
market, and of a session, has reached its machine.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from tetrio.chaos.judge.case import Case
from tetrio.chaos.judge.lives import Roll

BEAT_S, SESSION_S = 10.0, 30.0
"""How old a sign of life of the market, and of the session, may be (`tetrio.health`)."""
SPARE_S = 2.5
"""The bot judges itself once a second, and tells a second later at most."""


@attrs.frozen(kw_only=True)
class Seen:
    """What has reached the bot's machine, and when; s."""

    market_s: float
    """The last bytes of the market, or since when nothing new has been in them."""
    session_s: float
    """The last bytes of any session; -inf where there was none."""


class Signs:
    """Each datagram to the service manager."""

    def __init__(self, case: Case, roll: Roll) -> None:
        self._case, self._roll = case, roll

    def told(self, number: int, lines: Sequence[str], seen: Seen) -> None:
        """A process tells its manager this."""
        if "READY=1" in lines:
            self._must(number, "READY=1", number in self._roll.ready, "has never been synchronised")
        if "WATCHDOG=1" not in lines:
            return
        now = self._case.now_s
        self._must(number, "WATCHDOG=1", number in self._roll.ready, "has never been synchronised")
        self._must(number, "WATCHDOG=1", number not in self._roll.dead_s, "is dead")
        silent_s, mute_s = now - seen.market_s, now - seen.session_s
        self._must(number, "WATCHDOG=1", silent_s <= BEAT_S + SPARE_S, f"has had no market for {silent_s:.1f} s")
        self._must(number, "WATCHDOG=1", mute_s <= SESSION_S + SPARE_S, f"has had no session for {mute_s:.1f} s")

    def _must(self, number: int, told: str, so: bool, otherwise: str) -> None:
        if not so:
            self._case.breach("S27", f"{told} of process {number}, which {otherwise}")
