"""A run in virtual time: a clock that jumps to the next deadline when nothing else can happen, on a seed.

The same seed and the same input give the same run, byte for byte: trio's scheduler, the masks and nonces of wsproto and
the payloads of trio-websocket's pings all draw from the seed. Four switches do it, two of them private to their
libraries; they are turned here and nowhere else, and turned back at the end.
"""

from __future__ import annotations

import functools
import gc
import itertools
import math
import os
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import trio
import trio._core._run as trio_run
import trio_websocket

T = TypeVar("T")
COLLECT_EVERY = (2_000, 20, 20)
"""The garbage collector's thresholds: nearly all that a run makes is freed without it."""


class JumpingClock(trio.abc.Clock):
    """Stands still while a task can run, and then is at the next deadline.

    trio asks how long to sleep only when no task can run: that is the moment to jump. It saves the turn of the loop and
    the statistics with which `trio.testing.MockClock` finds out the same.
    """

    def __init__(self) -> None:
        self._now = 0.0

    def start_clock(self) -> None:
        """Nothing to start."""

    def current_time(self) -> float:
        """Virtual seconds since the run began."""
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """0: it is `deadline` already; a day at a time while there is none, for a signal to come."""
        if deadline == math.inf:
            return 86400.0
        self._now = max(self._now, deadline)
        return 0.0


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    urandom, deterministic = os.urandom, trio_run._ALLOW_DETERMINISTIC_SCHEDULING
    numbers = trio_websocket.WebSocketConnection.CONNECTION_ID
    state, scheduler = random.getstate(), trio_run._r.getstate()
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]  # sort each batch of tasks, then shuffle by _r
    trio_run._r.seed(seed)
    random.seed(seed)  # trio-websocket's ping payloads
    os.urandom = random.Random(f"{seed}:urandom").randbytes  # noqa: S311 - wsproto's nonce and masks, our entropy
    trio_websocket.WebSocketConnection.CONNECTION_ID = itertools.count()
    try:
        yield
    finally:
        os.urandom = urandom
        trio_run._ALLOW_DETERMINISTIC_SCHEDULING = deterministic  # type: ignore[misc]
        random.setstate(state)
        trio_run._r.setstate(scheduler)
        trio_websocket.WebSocketConnection.CONNECTION_ID = numbers


@functools.cache
def _freeze_once() -> None:
    gc.collect()
    gc.freeze()


@contextmanager
def _seldom_collected() -> Iterator[None]:
    """Search what this makes for garbage, seldom, and once more at its end.

    What there is before the first run of a process (modules, mostly) is never searched again: it would be most of it.
    """
    thresholds = gc.get_threshold()
    _freeze_once()
    gc.set_threshold(*COLLECT_EVERY)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.collect()


def run(main: Callable[[], Awaitable[T]], seed: int, instruments: Sequence[trio.abc.Instrument] = ()) -> T:
    """`trio.run(main)` in virtual time from `seed`; what `main` returns."""
    with _seeded(seed), _seldom_collected():
        return trio.run(main, clock=JumpingClock(), instruments=instruments)
