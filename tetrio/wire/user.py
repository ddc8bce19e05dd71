"""User-data events <-> records: what the exchange pushes about one account, both ways.

Records carry Binance's amounts as text and its times in milliseconds; turning them into ticks and lots is `fill_of` and
the account's business. What order events come in, twice or too late is not judged here.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from tetrio.core.market import Fill, Side
from tetrio.core.money import decimal
from tetrio.errors import WireError
from tetrio.wire.stream import ServerShutdown


class ExecutionReport(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag_field="e",
    tag="executionReport",
    rename={
        "event_ms": "E",
        "symbol": "s",
        "client_order_id": "c",
        "side": "S",
        "type": "o",
        "time_in_force": "f",
        "qty": "q",
        "price": "p",
        "stop_price": "P",
        "iceberg_qty": "F",
        "order_list_id": "g",
        "orig_client_order_id": "C",
        "execution_type": "x",
        "status": "X",
        "reject_reason": "r",
        "order_id": "i",
        "last_qty": "l",
        "filled_qty": "z",
        "last_price": "L",
        "commission": "n",
        "commission_asset": "N",
        "transact_ms": "T",
        "trade_id": "t",
        "execution_id": "I",
        "working": "w",
        "maker": "m",
        "ignored": "M",
        "created_ms": "O",
        "cum_quote": "Z",
        "last_quote": "Y",
        "quote_order_qty": "Q",
        "working_ms": "W",
        "stp_mode": "V",
        "strategy_id": "j",
        "strategy_type": "J",
        "trailing_delta": "d",
        "trailing_ms": "D",
        "prevented_match_id": "v",
        "prevented_qty": "A",
        "last_prevented_qty": "B",
        "trade_group_id": "u",
        "counter_order_id": "U",
        "counter_symbol": "Cs",
        "prevented_execution_qty": "pl",
        "prevented_execution_price": "pL",
        "prevented_execution_quote": "pY",
        "match_type": "b",
        "allocation_id": "a",
        "working_floor": "k",
        "used_sor": "uS",
        "peg_price_type": "gP",
        "peg_offset_type": "gOT",
        "peg_offset_value": "gOV",
        "pegged_price": "gp",
        "order_capacity": "y",
        "expiry_reason": "eR",
    },
):
    """One change of one order. -1 stands for "none" where Binance says so; UNSET members come only where they apply.

    Index orders by `order_id`: on a cancel `client_order_id` is the cancel's own and `orig_client_order_id` is the
    order's. Enumerations stay `str`: a value not known yet must not stop the account.
    """

    event_ms: int
    symbol: str
    client_order_id: str
    side: str
    type: str
    time_in_force: str
    qty: str
    price: str
    stop_price: str = "0.00000000"
    iceberg_qty: str = "0.00000000"
    order_list_id: int = -1
    orig_client_order_id: str = ""
    execution_type: str
    """NEW, CANCELED, REPLACED, REJECTED, TRADE, EXPIRED, TRADE_PREVENTION."""
    status: str
    """Order status after the event."""
    reject_reason: str = "NONE"
    order_id: int
    last_qty: str = "0.00000000"
    filled_qty: str = "0.00000000"
    """Cumulative: the truth about fills, whatever was lost or came twice."""
    last_price: str = "0.00000000"
    commission: str = "0"
    commission_asset: str | None = None
    transact_ms: int
    trade_id: int = -1
    execution_id: int
    working: bool
    """On the book."""
    maker: bool = False
    ignored: bool = False
    created_ms: int
    cum_quote: str = "0.00000000"
    last_quote: str = "0.00000000"
    quote_order_qty: str = "0.00000000"
    working_ms: int | UnsetType = UNSET
    stp_mode: str = "EXPIRE_MAKER"
    strategy_id: int | UnsetType = UNSET
    strategy_type: int | UnsetType = UNSET
    trailing_delta: int | UnsetType = UNSET
    trailing_ms: int | UnsetType = UNSET
    prevented_match_id: int | UnsetType = UNSET
    prevented_qty: str | UnsetType = UNSET
    last_prevented_qty: str | UnsetType = UNSET
    trade_group_id: int | UnsetType = UNSET
    counter_order_id: int | UnsetType = UNSET
    counter_symbol: str | UnsetType = UNSET
    prevented_execution_qty: str | UnsetType = UNSET
    prevented_execution_price: str | UnsetType = UNSET
    prevented_execution_quote: str | UnsetType = UNSET
    match_type: str | UnsetType = UNSET
    allocation_id: int | UnsetType = UNSET
    working_floor: str | UnsetType = UNSET
    used_sor: bool | UnsetType = UNSET
    peg_price_type: str | UnsetType = UNSET
    peg_offset_type: str | UnsetType = UNSET
    peg_offset_value: int | UnsetType = UNSET
    pegged_price: str | UnsetType = UNSET
    order_capacity: str | UnsetType = UNSET
    expiry_reason: str | UnsetType = UNSET

    @property
    def own_client_order_id(self) -> str:
        """The order's client id, on a cancel too."""
        return self.orig_client_order_id or self.client_order_id


class AssetPosition(msgspec.Struct, frozen=True, rename={"asset": "a", "free": "f", "locked": "l"}):
    """Balance of one asset."""

    asset: str
    free: str
    locked: str


class OutboundAccountPosition(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag_field="e",
    tag="outboundAccountPosition",
    rename={"event_ms": "E", "updated_ms": "u", "balances": "B"},
):
    """Balances that may have changed: not the whole account, so merge it."""

    event_ms: int
    updated_ms: int
    balances: list[AssetPosition]


class BalanceUpdate(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag_field="e",
    tag="balanceUpdate",
    rename={"event_ms": "E", "asset": "a", "delta": "d", "cleared_ms": "T"},
):
    """Deposit, withdrawal or transfer."""

    event_ms: int
    asset: str
    delta: str
    cleared_ms: int


class ExternalLockUpdate(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag_field="e",
    tag="externalLockUpdate",
    rename={"event_ms": "E", "asset": "a", "delta": "d", "transact_ms": "T"},
):
    """Part of a balance was locked or released from outside."""

    event_ms: int
    asset: str
    delta: str
    transact_ms: int


class EventStreamTerminated(
    msgspec.Struct, frozen=True, tag_field="e", tag="eventStreamTerminated", rename={"event_ms": "E"}
):
    """The subscription ended; the connection goes on."""

    event_ms: int


class ListedOrder(msgspec.Struct, frozen=True, rename={"symbol": "s", "order_id": "i", "client_order_id": "c"}):
    """One leg of an order list."""

    symbol: str
    order_id: int
    client_order_id: str


class ListStatus(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag_field="e",
    tag="listStatus",
    rename={
        "event_ms": "E",
        "symbol": "s",
        "order_list_id": "g",
        "contingency_type": "c",
        "list_status_type": "l",
        "list_order_status": "L",
        "reject_reason": "r",
        "list_client_order_id": "C",
        "transact_ms": "T",
        "orders": "O",
    },
):
    """A change of an order list."""

    event_ms: int
    symbol: str
    order_list_id: int
    contingency_type: str
    list_status_type: str
    list_order_status: str
    reject_reason: str = "NONE"
    list_client_order_id: str
    transact_ms: int
    orders: list[ListedOrder]


class Unknown(msgspec.Struct, frozen=True):
    """An event of a kind that is not known (yet)."""

    kind: str
    raw: bytes


UserEvent = (
    ExecutionReport
    | OutboundAccountPosition
    | BalanceUpdate
    | ExternalLockUpdate
    | EventStreamTerminated
    | ListStatus
    | ServerShutdown
    | Unknown
)


class _Kind(msgspec.Struct):
    e: str


_KIND = msgspec.json.Decoder(_Kind)
_BY_KIND: dict[str, msgspec.json.Decoder[Any]] = {
    kind.__struct_config__.tag: msgspec.json.Decoder(kind)  # type: ignore[misc]
    for kind in (
        ExecutionReport,
        OutboundAccountPosition,
        BalanceUpdate,
        ExternalLockUpdate,
        EventStreamTerminated,
        ListStatus,
        ServerShutdown,
    )
}
_ENCODER = msgspec.json.Encoder()


def decode_event(raw: bytes | msgspec.Raw) -> UserEvent:
    """The event inside a WebSocket API event frame (`request.Event.raw`); WireError on what cannot be read."""
    try:
        kind = _KIND.decode(raw).e
        decoder = _BY_KIND.get(kind)
        event: UserEvent = Unknown(kind, bytes(raw)) if decoder is None else decoder.decode(raw)
    except (ValueError, RecursionError) as error:
        text = bytes(raw)[:200].decode("utf-8", "replace")
        raise WireError(f"a user-data event that cannot be read ({error})", text) from None
    return event


def encode_event(subscription_id: int | None, event: UserEvent) -> bytes:
    """A whole frame: `{"subscriptionId":…,"event":{…}}`; None leaves the id out (serverShutdown)."""
    body = event.raw if isinstance(event, Unknown) else _ENCODER.encode(event)
    if subscription_id is None:
        return b'{"event":%b}' % body
    return b'{"subscriptionId":%d,"event":%b}' % (subscription_id, body)


def fill_of(report: ExecutionReport) -> Fill | None:
    """The own trade in a TRADE report, None in any other; WireError when its amounts are none."""
    if report.execution_type != "TRADE":
        return None
    try:
        return Fill(
            order_id=report.order_id,
            client_order_id=report.client_order_id,
            trade_id=report.trade_id,
            side=Side(report.side),
            price=decimal(report.last_price),
            qty=decimal(report.last_qty),
            maker=report.maker,
            commission=report.commission,
            commission_asset=report.commission_asset or "",
            at_ms=report.transact_ms,
        )
    except ValueError as error:
        raise WireError(f"a trade of order {report.order_id} that cannot be read: {error}") from None
