"""Binance's stream frames as market events: what a recording holds, and what a relayed market brings.

Only what the engine needs is read; the bytes stay beside it (`events`). Which frames are wanted, and what is said
of one that cannot be read, is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from tetrio.sim.market.events import AggTrade, Depth, MarketEvent, PublicTrade, Top


class Frame(msgspec.Struct):
    """A frame of a combined stream."""

    stream: str
    data: msgspec.Raw


class _Top(msgspec.Struct):
    b: str
    B: str
    a: str
    A: str
    u: int


class _Trade(msgspec.Struct):
    t: int
    p: str
    q: str
    T: int
    m: bool


class _AggTrade(msgspec.Struct):
    a: int
    p: str
    q: str
    f: int
    l: int  # noqa: E741
    T: int
    m: bool


class _Depth(msgspec.Struct):
    E: int
    U: int
    u: int
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]


Units = Mapping[str, int]
"""Decimal text -> whole ticks or lots: a memo that fills itself."""

decode_frame = msgspec.json.Decoder(Frame).decode
"""Bytes -> Frame; msgspec.ValidationError for JSON that is none, DecodeError or UnicodeDecodeError for no JSON."""
DECODERS: Mapping[str, msgspec.json.Decoder[Any]] = {
    "bookTicker": msgspec.json.Decoder(_Top),
    "trade": msgspec.json.Decoder(_Trade),
    "aggTrade": msgspec.json.Decoder(_AggTrade),
    "depth": msgspec.json.Decoder(_Depth),
}
"""Kind of stream -> how its payload is read."""


def _top(record: _Top, price: Units, size: Units, stream: str, raw: bytes, combined: bytes) -> Top:
    return Top(price[record.b], size[record.B], price[record.a], size[record.A], record.u, stream, raw, combined)


def _trade(record: _Trade, price: Units, size: Units, stream: str, raw: bytes, combined: bytes) -> PublicTrade:
    return PublicTrade(price[record.p], size[record.q], record.t, record.T, record.m, stream, raw, combined)


def _agg_trade(record: _AggTrade, price: Units, size: Units, stream: str, raw: bytes, combined: bytes) -> AggTrade:
    return AggTrade(
        price[record.p],
        size[record.q],
        record.a,
        record.f,
        record.l,
        record.T,
        record.m,
        stream=stream,
        raw=raw,
        combined=combined,
    )


def _depth(record: _Depth, price: Units, size: Units, stream: str, raw: bytes, combined: bytes) -> Depth:
    bids = [(price[at], size[lots]) for at, lots in record.b]
    asks = [(price[at], size[lots]) for at, lots in record.a]
    return Depth(record.U, record.u, record.E, bids, asks, stream, raw, combined)


MAKERS: Mapping[str, Callable[..., MarketEvent]] = {
    "bookTicker": _top,
    "trade": _trade,
    "depth": _depth,
    "aggTrade": _agg_trade,
}
"""Kind of stream -> (what its decoder read, prices, sizes, name of the stream, payload, frame) -> event.

ValueError for a number that is none, or off the grid.
"""
