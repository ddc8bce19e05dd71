"""The values that travel between the rooms: what was seen, what is held, what is wanted.

Prices are ticks, quantities lots, times nanoseconds since 1970 UTC (exchange or market time, as the sender says).
Market values are msgspec structs because the feed makes tens of thousands a second; the rest are attrs records.
"""

from __future__ import annotations

import enum
from decimal import Decimal

import attrs
import msgspec

INTERVALS_MS = {
    "1s": 1000,
    "1m": 60_000,
    "3m": 180_000,
    "5m": 300_000,
    "15m": 900_000,
    "30m": 1_800_000,
    "1h": 3_600_000,
    "2h": 7_200_000,
    "4h": 14_400_000,
    "6h": 21_600_000,
    "8h": 28_800_000,
    "12h": 43_200_000,
    "1d": 86_400_000,
}
"""Lengths of klines; each opens at a multiple of its length since 1970 UTC."""


class Side(enum.Enum):
    """Which asset an order gives away: SELL gives the base, BUY gives the quote."""

    BUY = "BUY"
    SELL = "SELL"

    @property
    def other(self) -> Side:
        """The opposite side."""
        return Side.SELL if self is Side.BUY else Side.BUY


class Regime(enum.Enum):
    """What the sleeve holds: the base, the quote, or only dust of both."""

    BASE = "BASE"
    QUOTE = "QUOTE"
    FLAT = "FLAT"


class Reason(enum.Enum):
    """Why an exit was armed; the letter stands in the client order id."""

    TAKE_PROFIT = "t"
    HARD_STOP = "h"
    MANUAL = "m"


class Quote(msgspec.Struct, frozen=True, gc=False):
    """One observation: best bid and ask, or one public trade (its price then stands for both)."""

    bid: int
    """Ticks."""
    ask: int
    """Ticks."""
    update_id: int = 0
    """bookTicker's `u`, or the trade id."""
    at_ns: int = 0
    """When it was received (bookTicker has no time of its own); of a trade when it took place."""


class Trade(msgspec.Struct, frozen=True, gc=False):
    """One public trade."""

    price: int
    """Ticks."""
    qty: int
    """Lots."""
    trade_id: int
    at_ms: int
    """Exchange time."""
    buyer_is_maker: bool
    """True: a seller hit the bid. False: a buyer lifted the ask."""


class Kline(msgspec.Struct, frozen=True, gc=False):
    """One candle; the newest one is still forming."""

    open_ms: int
    open: float
    high: float
    low: float
    close: float
    """Prices in ticks on the live path (whole numbers), in quote units in `tetrio explain`."""
    closed: bool = False


@attrs.frozen(kw_only=True)
class Holdings:
    """All that the sleeve holds, free plus locked less the reserve, floored at zero."""

    base: float
    """Lots on the live path (a whole number), base units in `tetrio explain`."""
    quote: float
    """Tick-lots on the live path (a whole number), quote units in `tetrio explain`."""


@attrs.frozen
class Want:
    """What should be resting now. None in its place means: nothing of ours."""

    side: Side
    reason: Reason
    episode: int
    """Number of the exit episode within this process, from 1; part of the client order id."""
    take: bool = False
    """Not resting: taking what is there, within `max_slippage_bps` of the best price (the operator's flatten)."""
    since_ns: int = 0
    """A hard stop: the time of the observation that armed it; 0 where it is not known."""
    stop: float = 0.0
    """A hard stop: the bid (ticks on the live path) at which it fired; 0 where it is not known."""


@attrs.frozen
class Protection:
    """What should rest on the exchange while the base is held and no exit is wanted: a stop for the whole sleeve."""

    stop_ticks: int
    """Never below the price of the hard stop."""
    episode: int
    """The number that the exit will have which it begins by triggering."""


@attrs.frozen(kw_only=True)
class Fill:
    """One own trade."""

    order_id: int
    client_order_id: str
    trade_id: int
    side: Side
    price: Decimal
    """Quote units; with `qty` as it was traded, also where the symbol's steps have become coarser since."""
    qty: Decimal
    """Base units."""
    maker: bool
    commission: str
    """As the exchange wrote it."""
    commission_asset: str
    at_ms: int
