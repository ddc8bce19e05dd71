"""What happened, in order, as one number: steps of the scheduler, facts of the exchange, facts of the bot.

The same seed gives the same SHA-256, in any process. Nothing goes in that one process has and another has not: no
counters, no addresses, no bytes that OpenSSL has drawn.
"""

from __future__ import annotations

import collections
import hashlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

KEPT = 40
GATHERED = 1000
"""Pieces that go into the sum at once: each call costs as much as a kilobyte."""
ZENO = 20_000
"""Steps at one instant: more are a livelock."""


T = TypeVar("T")


class Trace(trio.abc.Instrument):
    """Listens to the scheduler and to who tells it something."""

    def __init__(self) -> None:
        self.steps = 0
        self.recent: collections.deque[str] = collections.deque(maxlen=KEPT)
        """The latest that was told, for people."""
        self.on_step: Callable[[int], None] | None = None
        """Called before each step with its number, from 1."""
        self._hash = hashlib.sha256()
        self._pieces: list[str] = []
        self._now = -1.0
        self._at_once = 0
        self.stuck: str | None = None
        """A task of a livelock: time has stopped, and tasks only hand the turn to each other."""
        self._life = trio.CancelScope()

    async def watch(self, main: Callable[[], Awaitable[T]]) -> T | None:
        """`main`, of a run that has this for an instrument; given up, and None, where it is `stuck`."""
        with self._life:
            return await main()
        return None

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """A task is about to run."""
        self.steps += 1
        now = trio.current_time()
        if now != self._now:
            self._now, self._at_once = now, 0
            self._pieces.append(repr(now))
        self._at_once += 1
        if self._at_once == ZENO:
            self.stuck = task.name
            self._life.cancel()
        self._pieces.append(task.name)
        if len(self._pieces) >= GATHERED:
            self._sum_up()
        if self.on_step is not None:
            self.on_step(self.steps)

    @property
    def now_s(self) -> float:
        """When the latest step was, virtual seconds."""
        return max(self._now, 0.0)

    def tell(self, what: str) -> None:
        """Something worth reading has happened."""
        self._pieces.append(what)
        if len(self._pieces) >= GATHERED:
            self._sum_up()
        self.recent.append(f"{self.now_s:.6f} {what}")

    def sha256(self) -> str:
        """Of everything so far."""
        self._sum_up()
        return self._hash.hexdigest()

    def _sum_up(self) -> None:
        self._hash.update("".join(self._pieces).encode())
        self._pieces.clear()
