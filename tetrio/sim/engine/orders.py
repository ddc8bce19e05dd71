"""The records that the engine takes and gives: requests, orders, reports, refusals.

All are values: an `Order` is a snapshot that never changes, so a report may be kept. One file for single orders, order
lists and what becomes of either, because they name each other. Prices are ticks, quantities lots,
amounts of an asset whole units of `Engine.unit(asset)`. Only a request carries decimals: it is the text boundary, and a
price off the grid must be able to reach the filter that refuses it. Nothing here knows Binance's JSON.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

import attrs
import msgspec

from tetrio.core.market import Side

CANCEL_REPLACE_FAILED = (-2022, "Order cancel-replace failed.")
CANCEL_REPLACE_PARTIAL = (-2021, "Order cancel-replace partially failed.")


class Execution(enum.Enum):
    """What a report tells (Binance's `x`)."""

    NEW = "NEW"
    TRADE = "TRADE"
    CANCELED = "CANCELED"
    REPLACED = "REPLACED"
    EXPIRED = "EXPIRED"
    REJECTED = "REJECTED"
    TRADE_PREVENTION = "TRADE_PREVENTION"


class Balance(NamedTuple):
    """What an account has of one asset, in its units."""

    free: int
    locked: int


STOPS = frozenset({"STOP_LOSS", "STOP_LOSS_LIMIT"})
TAKES = frozenset({"TAKE_PROFIT", "TAKE_PROFIT_LIMIT"})
CONTINGENT = STOPS | TAKES
"""Types that wait for a price before they work; Binance calls them algo orders."""
PRICED = frozenset({"LIMIT", "LIMIT_MAKER", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"})
"""Types with a limit price."""


@attrs.frozen(kw_only=True)
class Peg:
    """A price taken from the book at the moment the order enters it."""

    price_type: str
    """PRIMARY_PEG (best of the own side) or MARKET_PEG (best of the other side)."""
    offset_type: str = ""
    """PRICE_LEVEL or ""."""
    offset_value: int | None = None
    """Levels deeper into that side; None without an offset."""


@attrs.frozen(kw_only=True)
class OrderRequest:
    """A new order as the client asked for it."""

    symbol: str
    side: Side
    type: str
    """One of Binance's seven; anything else is refused with -1116."""
    time_in_force: str = "GTC"
    """GTC, IOC or FOK; matters for LIMIT and the types that become one."""
    quantity: Decimal | None = None
    """Base units."""
    price: Decimal | None = None
    """Quote units per base unit."""
    quote_order_qty: Decimal | None = None
    """Quote units; MARKET only, instead of `quantity`."""
    client_order_id: str = ""
    """"" lets the engine make one."""
    stop_price: Decimal | None = None
    """Quote units per base unit; contingent types."""
    trailing_delta: int | None = None
    """Basis points; contingent types."""
    iceberg_qty: Decimal | None = None
    """Base units shown at a time; 0 and None are none."""
    stp_mode: str = ""
    """Self-trade prevention; "" is the symbol's default."""
    strategy_id: int | None = None
    strategy_type: int | None = None
    peg: Peg | None = None
    sor: bool = False
    """Smart order routing: trades are told as allocations."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """An order as it stood at one moment."""

    account: str
    symbol: str
    order_id: int
    client_order_id: str
    side: Side
    type: str
    time_in_force: str
    price: int
    """Ticks, as sent; 0 for market types and for pegs without a price."""
    qty: int
    """Lots; for a MARKET order by quoteOrderQty what that amount buys or sells on the book; 0 for a pending leg whose
    quantity is what the working order will have bought."""
    quote_order_qty: Decimal | None = None
    """Quote units as sent; None for an order by quantity."""
    filled: int = 0
    """Lots."""
    cum_quote: int = 0
    """Tick-lots: the sum of price x quantity of its fills."""
    status: str = "NEW"
    """PENDING_NEW, NEW, PARTIALLY_FILLED, FILLED, CANCELED, EXPIRED, EXPIRED_IN_MATCH, REJECTED."""
    time_ms: int = 0
    """Service time of its acceptance."""
    update_ms: int = 0
    """Service time of its last change."""
    working_ms: int = -1
    """Service time at which it entered the book; -1 before (an untriggered stop, a pending leg)."""
    expiry_reason: str = ""
    """UNFILLED_IOC_QUANTITY_EXPIRED and the like; "" unless expired."""
    stop_price: int = 0
    """Ticks; 0 for none."""
    trailing_delta: int = 0
    """Basis points; 0 for none."""
    trailing_ms: int = -1
    """Service time at which a trailing order began to track; -1 before."""
    iceberg: int = 0
    """Lots shown at a time; 0: all."""
    list_id: int = -1
    """The order list it is a leg of."""
    stp_mode: str = "EXPIRE_MAKER"
    strategy_id: int | None = None
    strategy_type: int | None = None
    peg: Peg | None = None
    pegged_price: int = 0
    """Ticks; 0 until the price was taken."""
    prevented: int = 0
    """Lots lost to self-trade prevention."""
    match_id: int | None = None
    """The last prevented match that it was in."""
    amends: int = 0
    """How often its quantity was reduced."""
    sor: bool = False
    lock_price: int = 0
    """Ticks that each remaining lot of a BUY keeps locked in quote: its limit, or what a stop was reckoned at."""
    budget: int = 0
    """Quote units that a BUY at market keeps locked while it takes: what it has yet to pay."""

    @property
    def remaining(self) -> int:
        """Lots neither filled nor prevented."""
        return self.qty - self.filled - self.prevented

    @property
    def is_open(self) -> bool:
        """Whether it can still be filled or cancelled."""
        return self.status in {"NEW", "PARTIALLY_FILLED", "PENDING_NEW"}

    @property
    def is_working(self) -> bool:
        """Whether it has entered the book (or taken from it)."""
        return self.working_ms >= 0

    @property
    def waits(self) -> bool:
        """Whether it is an accepted contingent order that has not been triggered."""
        return self.type in CONTINGENT and self.status == "NEW" and not self.is_working

    @property
    def at_market(self) -> bool:
        """Whether it takes at any price, once it works."""
        return self.type not in PRICED

    @property
    def limit(self) -> int:
        """The price it works at, ticks: the pegged one where there is one, no worse than the one sent; 0 at market."""
        if not self.pegged_price or not self.price:
            return self.pegged_price or self.price
        return min(self.pegged_price, self.price) if self.side is Side.BUY else max(self.pegged_price, self.price)


class Fill(msgspec.Struct, frozen=True, kw_only=True):
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
    allocation_id: int | None = None
    """Where it is an allocation of smart order routing; its `trade_id` is -1 then."""
    list_id: int = -1


@attrs.frozen(kw_only=True)
class Prevention:
    """A trade that self-trade prevention did not let happen, and what either order lost by it."""

    match_id: int
    symbol: str
    account: str
    mode: str
    """The taker's."""
    price: int
    """Ticks, of the resting order."""
    qty: int
    """Lots that would have traded."""
    maker_qty: int
    """Lots that the resting order lost; 0 where it lost none."""
    taker_qty: int
    """Lots that the incoming order lost; 0 where it lost none."""
    taker_order_id: int
    maker_order_id: int
    at_ms: int
    """Service time."""


@attrs.frozen(kw_only=True)
class Amendment:
    """One reduction of an order's quantity."""

    symbol: str
    order_id: int
    execution_id: int
    orig_client_order_id: str
    new_client_order_id: str
    orig_qty: int
    """Lots."""
    new_qty: int
    at_ms: int
    """Service time."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One change of one order: an executionReport and an audit line."""

    execution: Execution
    order: Order
    """After the change. A REJECTED report's order has `order_id` -1."""
    execution_id: int
    """Rising over all symbols, with gaps; -1 for REJECTED."""
    previous_client_order_id: str = ""
    """REPLACED only: the id that the order had before."""
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
    activated: bool = False
    """NEW only: it had been accepted before and enters the book now (a stop that triggered, a pending leg)."""

    @property
    def client_order_id(self) -> str:
        """Binance's `c`."""
        return self.cancel_client_order_id or self.order.client_order_id

    @property
    def orig_client_order_id(self) -> str:
        """Binance's `C`: the order's own id when it was cancelled, its former one when amended, else ""."""
        return self.order.client_order_id if self.cancel_client_order_id else self.previous_client_order_id

    @property
    def reject_reason(self) -> str:
        """Binance's `r`."""
        if self.execution is not Execution.REJECTED:
            return "NONE"
        return _REJECT_REASONS.get(self.reason, "NONE")

    @property
    def on_book(self) -> bool:
        """Binance's `w`: whether the order rests (or, for NEW, is about to)."""
        return self.order.is_open and self.order.is_working and (self.fill is None or self.fill.maker)


INSUFFICIENT_BALANCE = "Account has insufficient balance for requested action."
WOULD_MATCH = "Order would immediately match and take."
WOULD_TRIGGER = "Order would trigger immediately."
BAD_OCO_PRICES = "The relationship of the prices for the orders is not correct."
UNKNOWN_ORDER = "Unknown order sent."

_REJECT_REASONS = {
    INSUFFICIENT_BALANCE: "INSUFFICIENT_BALANCES",
    WOULD_MATCH: "WOULD_MATCH_IMMEDIATELY",
    WOULD_TRIGGER: "STOP_PRICE_WOULD_TRIGGER_IMMEDIATELY",
    BAD_OCO_PRICES: "OCO_BAD_PRICES",
}


@attrs.frozen(kw_only=True)
class Position:
    """An account's balances changed or may have: outboundAccountPosition; follows the reports that changed them."""

    account: str
    balances: Mapping[str, Balance]
    """Of the assets concerned: base and quote of the symbol, and the discount asset where it was charged."""
    now_ms: int


@attrs.frozen
class Leg:
    """One order of a list."""

    order_id: int
    client_order_id: str


@attrs.frozen(kw_only=True)
class OrderList:
    """An order list as it stood at one moment."""

    list_id: int
    account: str
    symbol: str
    kind: str
    """OCO, OTO, OTOCO, OPO or OPOCO."""
    client_order_id: str
    legs: tuple[Leg, ...]
    """The working leg first; of a pair the stop leg first."""
    status: str = "EXECUTING"
    """listOrderStatus: EXECUTING, ALL_DONE."""
    status_type: str = "EXEC_STARTED"
    """listStatusType: EXEC_STARTED, UPDATED, ALL_DONE."""
    time_ms: int
    """Service time of its last change; the first one's at the beginning."""

    @property
    def contingency(self) -> str:
        """contingencyType: OCO or OTO."""
        return "OCO" if self.kind == "OCO" else "OTO"

    @property
    def is_open(self) -> bool:
        """Whether an order of it may still change."""
        return self.status == "EXECUTING"


@attrs.frozen(kw_only=True)
class ListRequest:
    """A new order list as the client asked for it."""

    symbol: str
    kind: str
    """OCO, OTO, OTOCO, OPO or OPOCO."""
    legs: tuple[OrderRequest, ...]
    """OCO: above, below. OTO, OPO: working, pending. OTOCO, OPOCO: working, pending above, pending below. A pending leg
    of OPO and OPOCO has no quantity."""
    client_order_id: str = ""
    """"" lets the engine make one."""


@attrs.frozen(kw_only=True)
class ListReport:
    """A list began, changed or ended: listStatus."""

    order_list: OrderList
    now_ms: int

    @property
    def account(self) -> str:
        """Whose it is."""
        return self.order_list.account


@attrs.frozen(kw_only=True)
class Transfer:
    """A deposit (positive) or withdrawal: balanceUpdate."""

    account: str
    asset: str
    units: int
    now_ms: int
    market_ns: int


@attrs.frozen(kw_only=True)
class ExternalLock:
    """A part of the balance was locked (positive) or released from outside: externalLockUpdate."""

    account: str
    asset: str
    units: int
    now_ms: int
    market_ns: int


UserEvent = Report | Position | ListReport | Transfer | ExternalLock


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
    """Trades with the account's own resting orders that did not happen."""
    events: tuple[UserEvent, ...]
    """In order, of every account concerned."""
    prints: tuple[TradePrint, ...]


@attrs.frozen(kw_only=True)
class PlacedList:
    """An accepted order list."""

    order_list: OrderList
    legs: tuple[Placed, ...]
    """In the order of `order_list.legs`; their own events and prints are empty. A pending leg is told as PENDING_NEW
    even when the working order was filled at once."""
    events: tuple[UserEvent, ...]
    prints: tuple[TradePrint, ...]


@attrs.frozen(kw_only=True)
class Canceled:
    """A cancelled order."""

    order: Order
    cancel_client_order_id: str
    events: tuple[UserEvent, ...]


@attrs.frozen(kw_only=True)
class CanceledList:
    """A cancelled order list."""

    order_list: OrderList
    orders: tuple[Canceled, ...]
    """Its orders that were open; their own events are empty."""
    events: tuple[UserEvent, ...]


@attrs.frozen(kw_only=True)
class Amended:
    """An order whose quantity was reduced (or that expired by it)."""

    order: Order
    orig_client_order_id: str
    execution_id: int
    order_list: OrderList | None = None
    """The list it is a leg of."""
    events: tuple[UserEvent, ...]


@attrs.frozen(kw_only=True)
class Replaced:
    """Outcome of a cancel-replace whose filters passed; `code` is 0 when both legs succeeded."""

    cancel_result: str
    """SUCCESS or FAILURE."""
    new_order_result: str
    """SUCCESS, FAILURE or NOT_ATTEMPTED."""
    canceled: Canceled | CanceledList | None = None
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
