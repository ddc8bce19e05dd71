"""What every judge of a run shares: the terms, the time, and the breaches that were found; and how own ids are read."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import attrs

OWN = "tt-"
JUMPSTART, HARD_STOP, MANUAL = "j", "h", "m"
"""The last letter of an id's third part: what the order is for."""
WINDOW_S = 300.0
"""Within which connections are counted, and a flow or a change of the rules explains what a bot does."""
IN_FLIGHT_S = 6.0
"""For what a process had sent, or a slow network still carries, when it died or was told to halt."""
Line = Mapping[str, Any]
"""A line of the exchange's record, the parameters of a request, or an answer."""


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


@attrs.define
class Case:
    """One run: by which terms it is judged, what time it is, and what was found."""

    terms: Terms
    now_s: float = 0.0
    violations: list[Violation] = attrs.field(factory=list)

    def breach(self, invariant: str, what: str) -> None:
        """An invariant does not hold at this moment."""
        self.violations.append(Violation(invariant, round(self.now_s, 6), what))


def nonce(name: str) -> str:
    """The part of an own id that is its process's; "" where there is none."""
    parts = name.split("-")
    return parts[2] if len(parts) > 2 else ""


def reason(name: str) -> str:
    """The letter that says what an order is for; "" where the id is none of ours."""
    parts = name.split("-")
    return parts[3][-1:] if len(parts) > 3 else ""
