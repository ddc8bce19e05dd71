"""Time: the one door to it.

Intervals are always trio's clock, which `net.virtual` may replace by a jumping one and `scaled` by a faster one. A date
(nanoseconds since 1970) is an anchor plus an interval, so that it runs as fast as everything else and never steps back;
only `WallClock` looks at the machine's own date, as a process of its own must.
"""

from __future__ import annotations

import time
from typing import Protocol

import trio

NS = 1_000_000_000


class Clock(Protocol):
    """What tells the date, in nanoseconds since 1970 UTC."""

    def now_ns(self) -> int:
        """The date."""
        ...


class WallClock:
    """The machine's date."""

    def now_ns(self) -> int:
        """The date, in ns since 1970 UTC; may step when the machine's clock is set."""
        return time.time_ns()


class AnchoredClock:
    """A date that was `anchor_ns` when this was made and has moved with trio's clock since."""

    def __init__(self, anchor_ns: int) -> None:
        self._anchor_ns = anchor_ns
        self._began = trio.current_time()

    def now_ns(self) -> int:
        """The date, in ns since 1970 UTC."""
        return self._anchor_ns + round((trio.current_time() - self._began) * NS)


_rate: trio.lowlevel.RunVar[float] = trio.lowlevel.RunVar("rate", default=1.0)


def set_rate(rate: float) -> None:
    """Say how many seconds of this run's clock pass in one of the machine's (1 in virtual time, where none has to)."""
    _rate.set(rate)


def machine_s(seconds: float) -> float:
    """`seconds` of the machine, on this run's clock: for what a fast clock does not make faster, such as a network."""
    return seconds * _rate.get()


def scaled(speed: float) -> trio.abc.Clock | None:
    """A clock for `trio.run` that runs `speed` times as fast as the machine's; None (trio's own) for 1."""
    if speed == 1:
        return None
    from trio.testing import MockClock  # noqa: PLC0415 - 7 MB and 50 ms, with the test runner where there is one

    return MockClock(rate=speed)
