"""Planned rotation: a connection is replaced before the exchange cuts it (24 hours), and at once when it says that it
is about to restart. The new one takes over before the old one is let go; never are two replaced at once.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Awaitable, Callable

import trio

from tetrio.errors import LinkError, OrderRejected, OrderUnknown, WireError
from tetrio.journal import Journal
from tetrio.live.watchdog import first_of
from tetrio.net import entropy
from tetrio.net.access import Access
from tetrio.net.clock import machine_s

AFTER_S = 23 * 3600.0
JITTER_S = 1800.0  # either way
RETRY_S = (1.0, 5.0, 15.0, 60.0)  # while the old connection still lives
HINDERED = (LinkError, WireError, OrderRejected, OrderUnknown)


class Rotation:
    """When this process replaces its connections; also knows when any may be made."""

    def __init__(self, access: Access, journal: Journal, rng: random.Random | None = None) -> None:
        self.access = access
        self._journal = journal
        self._rng = rng or entropy.rng("rotation")
        self._turn = trio.Lock()
        self.numbers = itertools.count(1)
        """Of connections, in order of their making."""
        self.count = 0
        """Connections replaced so far."""

    def jitter(self) -> float:
        """0 to 1, for a delay."""
        return self._rng.random()

    async def repeat(self, name: str, told: Callable[[], trio.Event], replace: Callable[[], Awaitable[None]]) -> None:
        """Replace the connection `name` again and again; until cancelled, or an error that is none of a link.

        told      gives the event that says that the exchange is about to cut it
        replace   opens another, lets it take over; an error of it leaves the old one as it was
        """
        failures = 0
        while True:
            event, wait_s = told(), AFTER_S + self._rng.uniform(-JITTER_S, JITTER_S)
            if failures:
                wait_s = RETRY_S[min(failures, len(RETRY_S)) - 1]
            with trio.move_on_after(machine_s(wait_s)):
                await event.wait()
            hindered: BaseException | None = None
            async with self._turn:
                try:
                    await replace()
                except* HINDERED as group:
                    hindered = first_of(group)
            if hindered is None:
                failures, self.count = 0, self.count + 1
                continue
            failures += 1
            self._journal.write("link", name=name, state="not replaced", why=str(hindered))
