"""What every judge of a run shares: the terms, the time, and the breaches that were found; and how own ids are read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import attrs

OWN = "tt-"
JUMPSTART, TAKE_PROFIT, HARD_STOP, MANUAL = "j", "t", "h", "m"
"""The last letter of an id's third part: what the order is for."""
WINDOW_S = 300.0
"""Within which connections are counted, and a flow or a change of the rules explains what a bot does."""
IN_FLIGHT_S = 6.0
"""For what a process had sent, or a slow network still carries, when it died or was told to halt."""
REMEMBERED = 10_000
"""The newest orders and trades, of which all is remembered: a referee may watch for days."""
Line = Mapping[str, Any]
"""A line of the exchange's record, the parameters of a request, or an answer."""
Trade = tuple[int, Decimal]
"""A public trade: its number and its price, quote per base."""


@attrs.frozen
class Violation:
    """An invariant that did not hold."""

    invariant: str
    at_s: float
    what: str


@attrs.frozen(kw_only=True)
class Terms:
    """What a run was set up with, as far as it matters here."""

    base: str
    quote: str
    on_stop: str = "cancel"
    protects: bool = False
    takes: bool = True
    """Hard stops may take in the end (escalation)."""
    reserve_base: Decimal = Decimal(0)
    reserve_quote: Decimal = Decimal(0)
    begin_ms: int = 0
    """The date at 0 s, ms since 1970: requests are stamped by dates."""
    least_qty: Decimal = Decimal(0)
    """Of an order, in base units; 0: not known."""
    least_notional: Decimal = Decimal(0)
    """Of an order, in quote units; 0: not known."""
    hard_stop: Decimal | None = None
    """Fraction; None where the record does not tell where a stop is (`judge.stops`)."""
    stop_confirm: int = 1
    """Observations in a row that make a stop."""
    flat_within_s: float | None = None
    """From a stop's trigger to its last sale; None where the policy has no bound."""


@attrs.define
class Case:
    """One run: by which terms it is judged, what time it is, and what was found."""

    terms: Terms
    remembered: int = REMEMBERED
    """Of a kind, at most: orders, own trades."""
    now_s: float = 0.0
    violations: list[Violation] = attrs.field(factory=list)
    halted_s: float | None = None
    """Since when the operator's halt holds."""
    lags: list[tuple[float, float]] = attrs.field(factory=list)
    """(from, until): when what answers queries was behind; `until` is inf while it is."""
    disturbed_until_s: float = -math.inf
    """Until then something else is wrong, or has just been: what is slow is excused."""

    @property
    def disturbed(self) -> bool:
        """Whether something else is wrong."""
        return self.now_s < self.disturbed_until_s

    def lagged(self, since_s: float, until_s: float) -> bool:
        """Whether a query between the two may have been answered by a copy that was behind."""
        return any(begun_s <= until_s and since_s <= over_s for begun_s, over_s in self.lags)

    @property
    def halted(self) -> bool:
        """Whether nothing may be sent but cancels."""
        return self.halted_s is not None

    def keep_newest(self, those: dict[int, Any]) -> None:
        """Forget the oldest of too many."""
        if len(those) > self.remembered:
            del those[next(iter(those))]

    def breach(self, invariant: str, what: str) -> None:
        """An invariant does not hold at this moment."""
        self.violations.append(Violation(invariant, round(self.now_s, 6), what))


def nonce(name: str) -> str:
    """The part of an own id that is its process's; "" where there is none."""
    parts = name.split("-")
    return parts[2] if len(parts) > 2 else ""


def serial(name: str) -> int:
    """The number that a process gives each id, upwards; -1 where the id is none of ours."""
    last = name.rpartition("-")[2]
    return int(last) if last.isdecimal() else -1


def episode(name: str) -> str:
    """What all orders of one exit have in common, across replacements: everything but the last number."""
    return name.rpartition("-")[0]


def reason(name: str) -> str:
    """The letter that says what an order is for; "" where the id is none of ours."""
    parts = name.split("-")
    return parts[3][-1:] if len(parts) > 3 else ""
