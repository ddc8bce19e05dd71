"""How late messages are, for ordinary reasons: market data, order entry, and reports each by their own delay.

Drawn anew for each message, and never so that one overtakes another of its kind on its connection: TCP keeps order.
Faults that reorder are `fault.faults`.
"""

from __future__ import annotations

import random

import attrs
import trio

from tetrio.sim.fault.faults import Spread

WORDS = ("market", "order", "report")
LONGEST_MS = 60_000
_NONE = Spread(0.0)


@attrs.frozen
class Latency:
    """Delays in seconds of trio's clock."""

    market: Spread = _NONE
    """Of market data on their way out."""
    order: Spread = _NONE
    """Of requests on their way in; replies are not delayed again."""
    report: Spread = _NONE
    """Of user-data events on their way out."""


def parse_latency(text: str) -> Latency:
    """`5` (all three), or `market=5,order=2~1,report=3`; ms, after ~ the jitter. ValueError names what is wrong."""
    if "=" not in text:
        one = _spread(text)
        return Latency(one, one, one)
    given: dict[str, Spread] = {}
    for part in text.split(","):
        word, equals, value = part.partition("=")
        if not equals or word not in WORDS:
            raise ValueError(f"{part!r} is none of {', '.join(f'{each}=N' for each in WORDS)}")
        if word in given:
            raise ValueError(f"{word} is given twice")
        given[word] = _spread(value)
    return Latency(**given)


def _spread(text: str) -> Spread:
    mean, tilde, jitter = text.partition("~")
    value = Spread(_seconds(mean), _seconds(jitter) if tilde else 0.0)
    if value.jitter_s > value.mean_s:
        raise ValueError(f"the jitter of {text} is larger than the delay")
    return value


def _seconds(text: str) -> float:
    try:
        value_ms = float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number of milliseconds") from None
    if not 0 <= value_ms <= LONGEST_MS:
        raise ValueError(f"{text} is outside 0 to {LONGEST_MS}")
    return value_ms / 1000


class Lag:
    """The delays of one kind of message on one connection."""

    def __init__(self, spread: Spread, rng: random.Random) -> None:
        self._spread, self._rng = spread, rng
        self._last_s = 0.0

    @property
    def delays(self) -> bool:
        """Whether anything is delayed at all."""
        return bool(self._spread.mean_s)

    def due_s(self) -> float:
        """When a message that comes now is due, on trio's clock; 0 where nothing is delayed."""
        spread = self._spread
        if not spread.mean_s:
            return 0.0
        late_s = spread.mean_s
        if spread.jitter_s:
            late_s += self._rng.uniform(-spread.jitter_s, spread.jitter_s)
        self._last_s = max(self._last_s, trio.current_time() + late_s)
        return self._last_s
