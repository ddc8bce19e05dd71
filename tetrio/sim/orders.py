"""The records that the engine takes and gives: requests, orders, reports, refusals.

All are values: an `Order` is a snapshot that never changes, so a report may be kept. Prices are ticks, quantities lots,
amounts of an asset whole units of `Engine.unit(asset)`. Only a request carries decimals: it is the text boundary, and a
price off the grid must be able to reach the filter that refuses it. Nothing here knows Binance's JSON.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

import attrs

from tetrio.core.market import Side

CANCEL_REPLACE_FAILED = (-2022, "Order cancel-replace failed.")
CANCEL_REPLACE_PARTIAL = (-2021, "Order cancel-replace partially failed.")


class Execution(enum.Enum):
    """What a report tells (Binance's `x`)."""

    NEW = "NEW"
    TRADE = "TRADE"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    REJECTED = "REJECTED"
    TRADE_PREVENTION = "TRADE_PREVENTION"


class Balance(NamedTuple):
    """What an account has of one asset, in its units."""

    free: int
    locked: int


@attrs.frozen(kw_only=True)
class OrderRequest:
    """A new order as the client asked for it."""

    symbol: str
    side: Side
    type: str
    """LIMIT, LIMIT_MAKER or MARKET; anything else is refused with -1116."""
    time_in_force: str = "GTC"
    """GTC, IOC or FOK; matters for LIMIT only."""
    quantity: Decimal | None = None
    """Base units."""
    price: Decimal | None = None
    """Quote units per base unit."""
    quote_order_qty: Decimal | None = None
    """Quote units; MARKET only, instead of `quantity`."""
    client_order_id: str = ""
    """"" lets the engine make one."""


@attrs.frozen(kw_only=True)
class Order:
    """An order as it stood at one moment."""

    account: str
    symbol: str
    order_id: int
    client_order_id: str
    side: Side
    type: str
    time_in_force: str
    price: int
    """Ticks; 0 for MARKET."""
    qty: int
    """Lots; for a MARKET order by quoteOrderQty what that amount buys or sells on the book."""
    quote_order_qty: Decimal | None = None
    """Quote units as sent; None for an order by quantity."""
    filled: int = 0
    """Lots."""
    cum_quote: int = 0
    """Tick-lots: the sum of price x quantity of its fills."""
    status: str = "NEW"
    """NEW, PARTIALLY_FILLED, FILLED, CANCELED, EXPIRED, EXPIRED_IN_MATCH, REJECTED."""
    time_ms: int = 0
    """Service time of its acceptance."""
    update_ms: int = 0
    """Service time of its last change."""
    working_ms: int = 0
    """Service time at which it entered the book."""
    expiry_reason: str = ""
    """UNFILLED_IOC_QUANTITY_EXPIRED and the like; "" unless expired."""

    @property
    def remaining(self) -> int:
        """Lots not filled."""
        return self.qty - self.filled

    @property
    def is_open(self) -> bool:
        """Whether it can still be filled or cancelled."""
        return self.status in {"NEW", "PARTIALLY_FILLED"}


@attrs.frozen(kw_only=True)
class Fill:
    """One trade of one order."""

    trade_id: int
    order_id: int
    side: Side
    price: int
    """Ticks."""
    qty: int
    """Lots."""
    commission: int
    """Units of `commission_asset`."""
    commission_asset: str
    maker: bool
    time_ms: int
    """Service time."""


@attrs.frozen(kw_only=True)
class Prevention:
    """What self-trade prevention took from a resting order."""

    match_id: int
    price: int
    """Ticks, of the resting order."""
    maker_qty: int
    """Lots that the resting order lost (all it had left)."""
    taker_qty: int
    """Lots that the incoming order wanted of it."""
    taker_order_id: int
    maker_order_id: int


@attrs.frozen(kw_only=True)
class Report:
    """One change of one order: an executionReport and an audit line."""

    execution: Execution
    order: Order
    """After the change. A REJECTED report's order has `order_id` -1."""
    execution_id: int
    """Rising over all symbols, with gaps; -1 for REJECTED."""
    now_ms: int
    """Service time."""
    market_ns: int
    """Market time."""
    balances: Mapping[str, Balance]
    """Everything the account has, after the change."""
    cancel_client_order_id: str = ""
    """CANCELED only: the id of the cancel (Binance's `c`; the order's own then stands in `C`)."""
    fill: Fill | None = None
    """TRADE only."""
    prevention: Prevention | None = None
    """TRADE_PREVENTION only."""
    code: int = 0
    """REJECTED only: Binance's error code."""
    reason: str = ""
    """REJECTED: Binance's text. EXPIRED: the expiry reason. CANCELED: cancel, cancelReplace or cancelAll."""
    why: str = ""
    """TRADE only: what made it fill, in words."""
    request: OrderRequest | None = None
    """REJECTED only: what was asked for."""

    @property
    def client_order_id(self) -> str:
        """Binance's `c`."""
        return self.cancel_client_order_id or self.order.client_order_id

    @property
    def orig_client_order_id(self) -> str:
        """Binance's `C`: the order's own id when it was cancelled, else ""."""
        return self.order.client_order_id if self.cancel_client_order_id else ""

    @property
    def reject_reason(self) -> str:
        """Binance's `r`."""
        if self.execution is not Execution.REJECTED:
            return "NONE"
        return _REJECT_REASONS.get(self.reason, "NONE")

    @property
    def on_book(self) -> bool:
        """Binance's `w`: whether the order rests (or, for NEW, is about to)."""
        return self.order.is_open and (self.fill is None or self.fill.maker)


INSUFFICIENT_BALANCE = "Account has insufficient balance for requested action."
WOULD_MATCH = "Order would immediately match and take."
UNKNOWN_ORDER = "Unknown order sent."

_REJECT_REASONS = {INSUFFICIENT_BALANCE: "INSUFFICIENT_BALANCES", WOULD_MATCH: "WOULD_MATCH_IMMEDIATELY"}


@attrs.frozen(kw_only=True)
class Position:
    """An account's balances changed or may have: outboundAccountPosition; follows the reports that changed them."""

    account: str
    balances: Mapping[str, Balance]
    """Of the assets concerned (base and quote of the symbol)."""
    now_ms: int


UserEvent = Report | Position


@attrs.frozen(kw_only=True)
class TradePrint:
    """A client's trade as the public sees it."""

    symbol: str
    trade_id: int
    price: int
    """Ticks."""
    qty: int
    """Lots."""
    buyer_is_maker: bool
    market_ns: int


@attrs.frozen
class Outcome:
    """What a market event did to clients."""

    events: tuple[UserEvent, ...] = ()
    prints: tuple[TradePrint, ...] = ()
    """Clients' trades to publish, after the event that caused them."""
    trade_id: int = 0
    """For a public trade: the id to publish it with; differs from the recorded one once a client has traded."""


@attrs.frozen(kw_only=True)
class Placed:
    """An accepted order: how it stands after its taker phase, and all that happened."""

    order: Order
    fills: tuple[Fill, ...]
    """Its own, as a taker."""
    preventions: tuple[Prevention, ...] = ()
    """Resting orders of the same account that expired instead of trading with it."""
    events: tuple[UserEvent, ...]
    """In order, of every account concerned."""
    prints: tuple[TradePrint, ...]


@attrs.frozen(kw_only=True)
class Canceled:
    """A cancelled order."""

    order: Order
    cancel_client_order_id: str
    events: tuple[UserEvent, ...]


@attrs.frozen(kw_only=True)
class Replaced:
    """Outcome of a cancel-replace whose filters passed; `code` is 0 when both legs succeeded."""

    cancel_result: str
    """SUCCESS or FAILURE."""
    new_order_result: str
    """SUCCESS, FAILURE or NOT_ATTEMPTED."""
    canceled: Canceled | None = None
    cancel_error: Rejected | None = None
    placed: Placed | None = None
    place_error: Rejected | None = None
    events: tuple[UserEvent, ...] = ()
    prints: tuple[TradePrint, ...] = ()

    @property
    def code(self) -> int:
        """0, -2021 (one leg failed) or -2022 (neither succeeded)."""
        return self._error[0]

    @property
    def msg(self) -> str:
        """Binance's text for `code`."""
        return self._error[1]

    @property
    def status(self) -> int:
        """200, 409 (one leg failed) or 400."""
        return {0: 200, -2021: 409, -2022: 400}[self.code]

    @property
    def _error(self) -> tuple[int, str]:
        succeeded = (self.cancel_result, self.new_order_result).count("SUCCESS")
        return (CANCEL_REPLACE_FAILED, CANCEL_REPLACE_PARTIAL, (0, ""))[succeeded]


class Rejected(Exception):
    """The exchange says no: Binance's `code` and `msg`.

    report   a REJECTED report where a new order was refused, for the referee; None for a refused cancel or query.
             Goes to the client's user data stream only from the new leg of a cancel-replace (`Replaced.events`).
    """

    def __init__(self, code: int, msg: str, *, report: Report | None = None) -> None:
        super().__init__(f"{code} {msg}")
        self.code, self.msg, self.report = code, msg, report
