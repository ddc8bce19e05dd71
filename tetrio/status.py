"""What a person may see of a running bot: one mutable record that the tasks write and the faces read.

Nothing is decided from it, and nothing waits for it: writers overwrite fields as they go, the panel and the status
file look when they like. Prices and amounts are texts, made where the symbol's rules are known; ratios are fractions.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal

import attrs

from tetrio.journal import Fact, plain
from tetrio.latency import Latency
from tetrio.log import redact

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
    protects: bool = False
    """No exit but a protective stop that waits for its price."""


@attrs.define(kw_only=True)
class Vitals:
    """Signs of life, written by the tasks; times on trio's clock. `tetrio.health` judges them."""

    beat_at: float | None = None
    """When the market's steady stream last advanced; before it ever has, since when it is owed."""
    market_since: float | None = None
    """Since when a market line is up, and owes its first beat."""
    session_at: float | None = None
    """When the logged-on session last showed life (reply, event or pong); None while there is none."""
    unproven_since: float | None = None
    """Since when a change of an own order has not been told by the user stream; None: nothing is owed."""
    waiting_since: float | None = None
    """Since when something waits for the strategy; None: nothing does."""
    began_at: float | None = None
    """When the epoch began."""
    synced: bool = False
    """Whether the epoch has learned the account."""
    lag_s: float = 0.0
    """Lateness of the loop's canary: the worst of the last ten seconds."""


@attrs.define(kw_only=True)
class Trading:
    """Own trades since the start, as exact amounts: what fills did, deposits left out."""

    base: Decimal = Decimal(0)
    """Base bought less sold, commissions in it taken off."""
    quote: Decimal = Decimal(0)
    """Quote received less paid, commissions in it taken off."""
    fills: int = 0
    fees: dict[str, Decimal] = attrs.field(factory=dict)
    """Asset to commission paid."""


@attrs.define(kw_only=True)
class FillLine:
    """One own trade, for people."""

    at_ms: int
    side: str
    price: str
    qty: str
    maker: bool
    commission: str
    commission_asset: str
    client_order_id: str
    trade_id: int


@attrs.define(kw_only=True)
class Status:
    """The latest of everything; None and "" mean not known yet."""

    venue: str = ""
    symbol: str = ""
    base_asset: str = ""
    quote_asset: str = ""
    speed: str = ""
    """"1", "20", "max"; "" on venues that are not ours."""

    began_ns: int = 0
    """When this process began, on the clock of `market_ns`."""
    vitals: Vitals = attrs.field(factory=Vitals)
    alive: bool = False
    """The one predicate of `tetrio.health`, judged each second."""
    ailing: tuple[str, ...] = ()
    """Why not, each a phrase."""
    paused: bool = False
    """The operator's: nothing new is armed."""
    halted: bool = False
    """The operator's: nothing is sent but cancels."""
    flattening: bool = False
    """The operator's: the exit takes, within its bound."""

    phase: str = "connecting"
    """One of PHASES."""
    detail: str = attrs.field(default="", on_setattr=lambda record, field, text: redact(text))
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
    trading: Trading = attrs.field(factory=Trading)
    told_fills: deque[FillLine] = attrs.field(factory=lambda: deque(maxlen=50))
    """Last own trades, the newest last."""
    holding: dict[str, Decimal] = attrs.field(factory=dict)
    """Asset to amount net of the reserve: what is traded; base and quote only."""
    fills: deque[str] = attrs.field(factory=lambda: deque(maxlen=5))
    """Last own trades, in words, the newest last."""

    quotes_folded: int = 0
    frames: int = 0
    """Market frames received since the start."""
    frames_per_s: float = 0.0
    orders_sent: int = 0
    """Since the start."""
    orders_today: int = 0
    refused: int = 0
    """Orders refused, post-only rejections included."""

    latency: Latency = attrs.field(factory=Latency, eq=False)
    """How long it takes from an event to an order that rests, and how well the exchange's clock is known."""

    messages_sent: int = 0
    """Messages that Telegram took, edits included, since the start."""
    messages_dropped: int = 0
    """Messages to Telegram that were given up, since the start."""

    facts: deque[Fact] = attrs.field(factory=deque)
    """The journal's latest: pass `journal.recent`."""


def snapshot(status: Status) -> dict[str, object]:
    """The record as plain values for a status file; the facts stay in the journal."""
    record = plain(attrs.evolve(status, facts=deque()))
    assert isinstance(record, dict), "a record is rendered as a dict"
    del record["facts"]
    record["latency"] = status.latency.record()
    return record
