"""SBE market streams: binary payloads <-> records, both ways; messages 10000 to 10003 of Binance's stream schema 1:0.

A payload is little-endian: a header of eight bytes, the root block, repeating groups, the symbol. A value is
mantissa * 10^exponent, and the exponents come with every message: they are never assumed, and nothing becomes a float.
Later versions of the schema may append fields to the root, to a group's elements and after the symbol: all are skipped
by the lengths that were sent, so this reader outlives them. No socket, no JSON: control messages and `serverShutdown`
are texts on the same connection, and belong to `wire.control` and `wire.stream`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from tetrio.errors import WireError

SCHEMA_ID, VERSION = 1, 0
TRADES, BEST_BID_ASK, DEPTH_SNAPSHOT, DEPTH_DIFF = 10000, 10001, 10002, 10003
MOST = 2**63 - 1
"""The largest mantissa. Depth quantities are capped at it: "this much or more"."""

Level = tuple[int, int]
"""(price, quantity), mantissas; a quantity of 0 removes the level from a book."""


class Trade(NamedTuple):
    """One trade. `isBestMatch` is true of every trade, by the schema, and not on the wire."""

    trade_id: int
    price: int
    """Mantissa."""
    qty: int
    """Mantissa."""
    buyer_is_maker: bool


class Trades(msgspec.Struct, frozen=True, gc=False):
    """TradesStreamEvent, `<s>@trade`: one or more trades; those of one taker order can come together."""

    event_us: int
    transact_us: int
    price_exponent: int
    qty_exponent: int
    trades: tuple[Trade, ...]
    symbol: str


class BestBidAsk(msgspec.Struct, frozen=True, gc=False):
    """BestBidAskStreamEvent, `<s>@bestBidAsk`. Update ids may skip: superseded updates are dropped under load."""

    event_us: int
    update_id: int
    price_exponent: int
    qty_exponent: int
    bid: int
    bid_qty: int
    ask: int
    ask_qty: int
    symbol: str


class DepthSnapshot(msgspec.Struct, frozen=True, gc=False):
    """DepthSnapshotStreamEvent, `<s>@depth20`: the best levels of both sides, best first."""

    event_us: int
    update_id: int
    price_exponent: int
    qty_exponent: int
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    symbol: str


class DepthDiff(msgspec.Struct, frozen=True, gc=False):
    """DepthDiffStreamEvent, `<s>@depth`: what the updates `first_id` to `last_id` made of the levels they touched."""

    event_us: int
    first_id: int
    last_id: int
    price_exponent: int
    qty_exponent: int
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    symbol: str


Event = Trades | BestBidAsk | DepthSnapshot | DepthDiff

_HEADER = struct.Struct("<HHHH")  # blockLength, templateId, schemaId, version
_TRADES_ROOT = struct.Struct("<qqbb")
_BEST_ROOT = struct.Struct("<qqbbqqqq")
_SNAPSHOT_ROOT = struct.Struct("<qqbb")
_DIFF_ROOT = struct.Struct("<qqqbb")
_MANY = struct.Struct("<HI")  # blockLength, numInGroup of the trades
_FEW = struct.Struct("<HH")  # of the books' sides
_TRADE = struct.Struct("<qqqB")
_LEVEL = struct.Struct("<qq")


def _header(template: int, root: struct.Struct) -> bytes:
    return _HEADER.pack(root.size, template, SCHEMA_ID, VERSION)


_TRADES_HEADER = _header(TRADES, _TRADES_ROOT)
_BEST_HEADER = _header(BEST_BID_ASK, _BEST_ROOT)
_SNAPSHOT_HEADER = _header(DEPTH_SNAPSHOT, _SNAPSHOT_ROOT)
_DIFF_HEADER = _header(DEPTH_DIFF, _DIFF_ROOT)
_BEST_FIXED = struct.Struct("<8xqqbbqqqqB")  # header, root and the symbol's length in one step


# -- bytes -> records -------------------------------------------------------------------------------------------------
def decode(payload: bytes) -> Event:
    """The record in one binary message. WireError for anything else: truncated, malformed, of another schema."""
    try:
        if payload.startswith(_BEST_HEADER):  # most of what comes, in one step
            at_us, update_id, tens, qty_tens, bid, bid_qty, ask, ask_qty, length = _BEST_FIXED.unpack_from(payload)
            if len(payload) == _BEST_FIXED.size + length:
                symbol = payload[_BEST_FIXED.size :].decode()
                return BestBidAsk(at_us, update_id, tens, qty_tens, bid, bid_qty, ask, ask_qty, symbol)
        return _Reader(payload).event()
    except struct.error:
        raise _unreadable("it is truncated", payload) from None
    except UnicodeDecodeError:
        raise _unreadable("its symbol is not UTF-8", payload) from None


class _Reader:
    """One payload, read from its beginning to its end."""

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._block, self._template, self._schema, self._version = _HEADER.unpack_from(payload)
        self._at = _HEADER.size

    def event(self) -> Event:
        """The record. struct.error where the payload ends too early."""
        if self._schema != SCHEMA_ID:
            raise self._error(f"its schema is {self._schema}, not {SCHEMA_ID}")
        if self._template == BEST_BID_ASK:
            at_us, update_id, tens, qty_tens, bid, bid_qty, ask, ask_qty = self._root(_BEST_ROOT)
            return BestBidAsk(at_us, update_id, tens, qty_tens, bid, bid_qty, ask, ask_qty, self._symbol())
        if self._template == TRADES:
            at_us, transact_us, tens, qty_tens = self._root(_TRADES_ROOT)
            return Trades(at_us, transact_us, tens, qty_tens, self._trades(), self._symbol())
        if self._template == DEPTH_SNAPSHOT:
            at_us, update_id, tens, qty_tens = self._root(_SNAPSHOT_ROOT)
            return DepthSnapshot(at_us, update_id, tens, qty_tens, self._levels(), self._levels(), self._symbol())
        if self._template == DEPTH_DIFF:
            at_us, first_id, last_id, tens, qty_tens = self._root(_DIFF_ROOT)
            bids, asks = self._levels(), self._levels()
            return DepthDiff(at_us, first_id, last_id, tens, qty_tens, bids, asks, self._symbol())
        raise self._error(f"its template {self._template} is none of the streams'")

    def _root(self, layout: struct.Struct) -> tuple[int, ...]:
        if self._block < layout.size:
            raise self._error(f"a root block of {self._block} bytes, not {layout.size}")
        fields: tuple[int, ...] = layout.unpack_from(self._payload, self._at)
        self._at += self._block
        return fields

    def _group(self, dimension: struct.Struct, element: struct.Struct) -> tuple[Any, ...]:
        """The elements of a group, as far as they are known. Its size is believed only where the bytes are there."""
        block, count = dimension.unpack_from(self._payload, self._at)
        start = self._at + dimension.size
        stop = self._at = start + block * count
        if count and block < element.size:
            raise self._error(f"a group's block of {block} bytes, not {element.size}")
        if stop > len(self._payload):
            raise self._error(f"{count} elements of {block} bytes that are not there")
        if block == element.size:
            return tuple(element.iter_unpack(self._payload[start:stop]))
        return tuple(element.unpack_from(self._payload, start + at * block) for at in range(count))

    def _levels(self) -> tuple[Level, ...]:
        return self._group(_FEW, _LEVEL)

    def _trades(self) -> tuple[Trade, ...]:
        rows = self._group(_MANY, _TRADE)
        if any(flag > 1 for *_, flag in rows):
            raise self._error("a flag that is neither true nor false")
        return tuple(Trade(trade_id, price, qty, flag == 1) for trade_id, price, qty, flag in rows)

    def _symbol(self) -> str:
        """The last field that is known; only a later version may have more."""
        if self._at >= len(self._payload):
            raise self._error("it is truncated")
        start = self._at + 1
        stop = start + self._payload[self._at]
        if stop > len(self._payload):
            raise self._error("it is truncated")
        if stop < len(self._payload) and self._version <= VERSION:
            raise self._error(f"{len(self._payload) - stop} bytes after its end")
        return self._payload[start:stop].decode()

    def _error(self, why: str) -> WireError:
        return _unreadable(why, self._payload)


def _unreadable(why: str, payload: bytes) -> WireError:
    return WireError(f"an SBE message that cannot be read: {why}", payload[:100].hex())


# -- records -> bytes -------------------------------------------------------------------------------------------------
def encode(event: Event) -> bytes:
    """The binary message of a record. ValueError for a number or a symbol that has no room in it."""
    try:
        symbol = event.symbol.encode()
        return b"".join((*_blocks(event), bytes((len(symbol),)), symbol))
    except (struct.error, ValueError) as error:
        raise ValueError(f"{event!r} has no place in an SBE message: {error}") from None


def _blocks(event: Event) -> Sequence[bytes]:
    """Header, root and groups."""
    match event:
        case BestBidAsk(at, update_id, tens, qty_tens, bid, bid_qty, ask, ask_qty):
            return _BEST_HEADER, _BEST_ROOT.pack(at, update_id, tens, qty_tens, bid, bid_qty, ask, ask_qty)
        case Trades(at, transact, tens, qty_tens, trades):
            rows = [_TRADE.pack(*trade) for trade in trades]
            root = _TRADES_ROOT.pack(at, transact, tens, qty_tens)
            return _TRADES_HEADER, root, _MANY.pack(_TRADE.size, len(rows)), *rows
        case DepthSnapshot(at, update_id, tens, qty_tens, bids, asks):
            root = _SNAPSHOT_ROOT.pack(at, update_id, tens, qty_tens)
            return _SNAPSHOT_HEADER, root, *_side(bids), *_side(asks)
        case DepthDiff(at, first_id, last_id, tens, qty_tens, bids, asks):
            root = _DIFF_ROOT.pack(at, first_id, last_id, tens, qty_tens)
            return _DIFF_HEADER, root, *_side(bids), *_side(asks)


def _side(levels: Sequence[Level]) -> list[bytes]:
    return [_FEW.pack(_LEVEL.size, len(levels)), *(_LEVEL.pack(*level) for level in levels)]
