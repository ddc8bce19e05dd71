"""What a market does, as values: new best prices, public trades, depth changes.

Prices are ticks, quantities lots. A recorded event keeps its bytes as they came, so that they can be passed on
verbatim: `raw` is the payload (the `data` part), `combined` the whole frame. A generated event has neither (`b""`):
whoever publishes it encodes it. Nothing here decides anything.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec


class Top(msgspec.Struct, frozen=True, gc=False):
    """Best bid and ask with what is displayed there; a price of 0 means that the side is empty."""

    bid: int
    bid_qty: int
    ask: int
    ask_qty: int
    update_id: int
    stream: str = ""
    """Name of the stream it belongs to, such as "ethusdt@bookTicker"."""
    raw: bytes = b""
    combined: bytes = b""


class PublicTrade(msgspec.Struct, frozen=True, gc=False):
    """One public trade; `trade_id` as recorded, before any shift by clients' trades."""

    price: int
    qty: int
    trade_id: int
    at_ms: int
    """When it happened, market time (Binance's T)."""
    buyer_is_maker: bool
    """True: a seller hit the bid. False: a buyer lifted the ask."""
    stream: str = ""
    raw: bytes = b""
    combined: bytes = b""


class AggTrade(msgspec.Struct, frozen=True, gc=False):
    """One recorded aggregate trade: the trades of one taker order at one price."""

    price: int
    qty: int
    agg_id: int
    first_id: int
    last_id: int
    at_ms: int
    buyer_is_maker: bool
    drives: bool = False
    """True when the recording has no `trade` stream, so that this one stands for the public trades."""
    stream: str = ""
    raw: bytes = b""
    combined: bytes = b""


class Depth(msgspec.Struct, frozen=True, gc=False):
    """A depth difference: absolute quantities by price; 0 removes a level."""

    first_id: int
    last_id: int
    at_ms: int
    bids: list[tuple[int, int]]
    """(price ticks, lots)"""
    asks: list[tuple[int, int]]
    stream: str = ""
    raw: bytes = b""
    combined: bytes = b""


MarketEvent = Top | PublicTrade | AggTrade | Depth


class Batch(NamedTuple):
    """All events of one market millisecond, in recorded order."""

    market_ns: int
    """Time of the first of them, ns since 1970."""
    events: list[MarketEvent]
