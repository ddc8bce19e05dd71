"""What a person may see of a running bot: one mutable record that the tasks write and the faces read.

Nothing is decided from it, and nothing waits for it: writers overwrite fields as they go, the panel and the status
file look when they like. Prices and amounts are texts, made where the symbol's rules are known; ratios are fractions.
"""

from __future__ import annotations

from collections import deque

import attrs

from tetrio.journal import Fact, plain

PHASES = ("connecting", "syncing", "ready", "stopping")


@attrs.define(kw_only=True)
class LiveOrder:
    """The one exit of ours that rests on the exchange."""

    side: str
    """BUY or SELL."""
    price: str
    qty: str
    filled: str
    client_order_id: str
    placed_ns: int
    """On the clock of `Status.market_ns`; the panel shows the age."""
    state: str = ""


@attrs.define(kw_only=True)
class Status:
    """The latest of everything; None and "" mean not known yet."""

    venue: str = ""
    symbol: str = ""
    base_asset: str = ""
    quote_asset: str = ""
    speed: str = ""
    """"1", "20", "max"; "" on venues that are not ours."""

    phase: str = "connecting"
    """One of PHASES."""
    detail: str = ""
    """What is being done in this phase, or why it has to be done again."""
    epoch: int = 0

    market_ns: int = 0
    """The clock that the bot goes by, ns since 1970 UTC."""
    bid: str = ""
    ask: str = ""
    spread: str = ""
    """Ticks and share, as a person reads it, such as "0.01 (0.04 bp)"."""
    upper: str = ""
    mid: str = ""
    lower: str = ""

    regime: str = ""
    """BASE, QUOTE or FLAT."""
    anchor: str = ""
    """A price."""
    high: str = ""
    """The best price since the anchor: the highest bid in BASE, the lowest ask in QUOTE."""
    gain: float | None = None
    drawdown: float | None = None
    loss: float | None = None
    factor: float | None = None
    callback: float | None = None
    min_gain: float | None = None

    gate_closed: bool = False
    gate_regime: str = ""
    """The regime in which the gate closed."""
    armed: str = ""
    """Why an exit is armed: take-profit, hard stop, manual; "" when none is."""
    want: str = ""
    """What should be resting now, in words; "" when nothing."""
    order: LiveOrder | None = None
    why: str = ""
    """What would have to happen for the next decision."""

    balances: dict[str, str] = attrs.field(factory=dict)
    """Asset to amount, free and locked together."""
    links: dict[str, str] = attrs.field(factory=dict)
    """Name to state: "up", "connecting", "lost", "stale"."""
    exits: dict[str, int] = attrs.field(factory=dict)
    """Finished exits by reason."""
    fills: deque[str] = attrs.field(factory=lambda: deque(maxlen=5))
    """Last own trades, in words, the newest last."""

    quotes_folded: int = 0
    frames: int = 0
    """Market frames received since the start."""
    frames_per_s: float = 0.0
    orders_today: int = 0
    refused: int = 0
    """Orders refused, post-only rejections included."""

    facts: deque[Fact] = attrs.field(factory=deque)
    """The journal's latest: pass `journal.recent`."""


def snapshot(status: Status) -> dict[str, object]:
    """The record as plain values for a status file; the facts stay in the journal."""
    record = plain(attrs.evolve(status, facts=deque()))
    assert isinstance(record, dict), "a record is rendered as a dict"
    del record["facts"]
    return record
