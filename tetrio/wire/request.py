"""The WebSocket API, both sides: requests and replies in their envelope.

The client encodes requests and decodes frames into `Reply` or `Event`; the exchange does the opposite. Matching a reply
to its request, by id, is the caller's. A frame is read strictly: what JSON leaves open (a member that comes twice, NaN,
numbers without bound) is refused, since each side would else read something different; nothing but WireError (or
BadRequest, which is one) comes out of bad bytes. Records of results are in `wire.results`, events in `wire.user`.

An error is one of three things, and `raise_for` tells them apart: a definite no (OrderRejected), an unknown outcome
(OrderUnknown: the request may have been executed), or a refusal of the key (KeyRefused: trying again does not help).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_HALF_EVEN
from typing import Any, NoReturn, TypeVar
from urllib.parse import quote, urlencode

import attrs
import msgspec
from msgspec import UNSET, UnsetType

from tetrio.core.market import Fill, Kline, Quote, Side
from tetrio.core.money import SymbolRules, decimal, floor_units
from tetrio.errors import KeyRefused, OrderRejected, OrderUnknown, WireError
from tetrio.wire import sign
from tetrio.wire.codes import (
    BAD_JSON,
    BAD_SIGNATURE,
    CANCEL_REJECTED,
    CANCEL_REPLACE_FAILED,
    CANCEL_REPLACE_PARTLY_FAILED,
    KEY_REFUSED,
    OUTCOME_UNKNOWN,
)
from tetrio.wire.results import (
    AccountStatus,
    AggregateTrade,
    Balance,
    BookTop,
    CanceledOrder,
    CancelReplaceResult,
    CommissionRates,
    ErrorBody,
    KlineRow,
    MyTrade,
    OrderFill,
    OrderStatus,
    PlacedOrder,
    ServerTime,
    SessionStatus,
    Subscription,
    SymbolCommission,
)
from tetrio.wire.rules import Grid, RateLimit
from tetrio.wire.sign import Signer

__all__ = [  # the records of results are to be had from here too
    "AccountStatus",
    "Balance",
    "BookTop",
    "CancelReplaceResult",
    "CanceledOrder",
    "CommissionRates",
    "ErrorBody",
    "KlineRow",
    "MyTrade",
    "OrderFill",
    "OrderStatus",
    "PlacedOrder",
    "RateLimit",
    "ServerTime",
    "SessionStatus",
    "Subscription",
    "SymbolCommission",
]

T = TypeVar("T")
RequestId = int | str | None

MOST_IN_ONE = 1_000_000  # trades in one aggregate that anybody will believe
_VERSION = re.compile(r"v\d+/")
_BANNED_UNTIL = re.compile(r"banned until (\d{13})\b")


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to one request. `id` is None where the exchange could not or would not name one: it concerns them all."""

    id: RequestId
    status: int
    result: msgspec.Raw | None = None
    error: ErrorBody | None = None
    rate_limits: list[RateLimit] = []


class Event(msgspec.Struct, frozen=True):
    """A pushed event; `raw` is for `user.decode_event`."""

    raw: bytes
    subscription_id: int | None = None


class Request(msgspec.Struct, frozen=True):
    """A client's request, as the exchange reads it."""

    id: RequestId
    method: str
    """Without its version prefix."""
    params: dict[str, Any]
    """Values as JSON has them, but a number with a point or an exponent stands as its text: no float exists."""
    tokens: dict[str, str]
    """JSON text of each value, strings unquoted: what is signed, and what amounts are read from."""


class BadRequest(WireError):
    """A request that cannot be read: what the exchange answers, to `request_id` where that much could be read."""

    def __init__(self, code: int, msg: str, request_id: RequestId = None, text: str = "") -> None:
        super().__init__(msg, text)
        self.code, self.msg, self.request_id = code, msg, request_id


# --- what errors mean ---


def retry_after_ms(error: OrderRejected | ErrorBody) -> int | None:
    """Epoch ms until when to stay away (a 429 or 418), where the exchange named a time."""
    data = error.data
    if isinstance(data, msgspec.Raw):
        data = _read(dict[str, object], data)
    after = data.get("retryAfter") if isinstance(data, dict) else None
    if isinstance(after, int) and not isinstance(after, bool):
        return after
    banned = _BANNED_UNTIL.search(error.msg)
    return int(banned[1]) if banned else None


def raise_for(reply: Reply) -> None:
    """Nothing for a success.

    OrderRejected   a definite no: nothing happened (but see cancel_replace_result)
    OrderUnknown    5xx, -1000, -1001, -1006, -1007, -1008: it may have been executed
    KeyRefused      the key, its signature or its permissions are refused
    """
    if reply.error is None and reply.status == 200:
        return
    error = reply.error or ErrorBody(0, "no error was told")
    if error.code in OUTCOME_UNKNOWN or reply.status >= 500:
        _unknown(error, reply.status)
    if error.code in KEY_REFUSED or reply.status == 401:
        told = f"{error.code} {error.msg} (status {reply.status})"
        if error.code == BAD_SIGNATURE:
            told += "; [account] private_key_file may be another API key's"
        raise KeyRefused(f"the exchange refuses the API key: {told}")
    data = _read(Any, error.data) if isinstance(error.data, msgspec.Raw) else None
    raise OrderRejected(error.code, error.msg, status=reply.status, data=data)


def _unknown(error: ErrorBody, status: int) -> NoReturn:
    raise OrderUnknown(f"the exchange does not say what became of it: {error.code} {error.msg} (status {status})")


# --- the client's side ---


def encode_request(request_id: int | str, method: str, params: Mapping[str, object]) -> str:
    """One request; empty `params` are left out. TypeError on a float among them: amounts are sent as text."""
    message: dict[str, object] = {"id": request_id, "method": method}
    if params:
        for name, value in params.items():
            if isinstance(value, float):
                raise TypeError(f"{name} is a float: amounts are sent as text")
        message["params"] = params
    return _encode(message)


def signed(
    params: Mapping[str, object], signer: Signer, api_key: str, timestamp_ms: int, recv_window: int
) -> dict[str, object]:
    """`params` with apiKey, timestamp, recvWindow (ms) and signature: session.logon, or a request without a session."""
    full = {**params, "timestamp": timestamp_ms, "recvWindow": recv_window, "apiKey": api_key}
    return {**full, "signature": signer.sign(sign.payload(full))}


def signed_query(params: Mapping[str, str], signer: Signer, timestamp_ms: int, recv_window: int) -> str:
    """The query of a signed REST request: `params` with recvWindow, timestamp and signature, percent-encoded.

    What is signed is the encoded text, in the order in which it is sent: it must go onto the wire as it is.
    """
    full = {**params, "recvWindow": recv_window, "timestamp": timestamp_ms}
    text = urlencode(full, quote_via=quote, safe="")
    return f"{text}&signature={quote(signer.sign(text), safe='')}"


class _Frame(msgspec.Struct, rename="camel"):
    id: RequestId | UnsetType = UNSET
    status: int | UnsetType = UNSET
    result: msgspec.Raw | UnsetType = UNSET  # in a union with None, Raw would take nothing but null
    error: ErrorBody | None = None
    rate_limits: list[RateLimit] | None = None
    event: msgspec.Raw | UnsetType = UNSET
    subscription_id: int | None = None


def decode_frame(text: str | bytes) -> Reply | Event:
    """What the exchange sent; WireError on what cannot be read."""
    _strict(text)
    frame = _read(_Frame, text)
    if isinstance(frame.event, msgspec.Raw):
        return Event(bytes(frame.event), frame.subscription_id)
    if isinstance(frame.status, UnsetType):
        raise WireError("a frame that is neither a reply nor an event", _excerpt(text))
    return Reply(
        id=None if isinstance(frame.id, UnsetType) else frame.id,
        status=frame.status,
        result=None if isinstance(frame.result, UnsetType) else frame.result,
        error=frame.error,
        rate_limits=frame.rate_limits or [],
    )


def result_of(reply: Reply, kind: type[T]) -> T:
    """The result as `kind` (of wire.results, or `list[…]` of one); raises as raise_for, WireError on another shape."""
    raise_for(reply)
    if reply.result is None:
        raise WireError("a success without a result")
    return _read(kind, reply.result)


def canceled_orders(reply: Reply) -> list[CanceledOrder]:
    """Result of openOrders.cancelAll, the orders of cancelled lists among them."""
    out: list[CanceledOrder] = []
    for each in result_of(reply, list[msgspec.Raw]):
        listed = _read(_CanceledList, each).order_reports
        out.extend([_read(CanceledOrder, each)] if isinstance(listed, UnsetType) else listed)
    return out


class _CanceledList(msgspec.Struct, rename="camel"):
    order_reports: list[CanceledOrder] | UnsetType = UNSET


def book_of(top: BookTop, rules: SymbolRules) -> tuple[int, int]:
    """Best bid and ask in ticks, 0 on an empty side; off the grid the bid is rounded down, the ask up."""
    try:
        bid, ask = decimal(top.bid_price), decimal(top.ask_price)
    except ValueError as error:
        raise WireError(f"the book cannot be read: {error}") from error
    return floor_units(bid, rules.tick_size), -floor_units(-ask, rules.tick_size)


def klines_of(reply: Reply, rules: SymbolRules, now_ms: int) -> list[Kline]:
    """Result of klines, oldest first, prices in the nearest ticks; `closed` where the candle ended before `now_ms`."""
    grid = Grid(rules.tick_size, ROUND_HALF_EVEN)
    try:
        return [
            Kline(
                row.open_ms,
                float(grid[row.open]),
                float(grid[row.high]),
                float(grid[row.low]),
                float(grid[row.close]),
                row.close_ms < now_ms,
            )
            for row in result_of(reply, list[KlineRow])
        ]
    except ValueError as error:
        raise WireError(f"a candle of {rules.name} that cannot be read: {error}") from None


@attrs.frozen
class Candle:
    """A closed or forming kline of the past, with what its form in the core leaves out."""

    kline: Kline
    trades: int
    """How many it holds; 0: its prices are the last close before it."""


def candles_of(reply: Reply, rules: SymbolRules) -> list[Candle]:
    """Result of klines, oldest first, prices in whole ticks."""
    grid = Grid(rules.tick_size, ROUND_HALF_EVEN)
    try:
        return [
            Candle(
                Kline(
                    row.open_ms,
                    float(grid[row.open]),
                    float(grid[row.high]),
                    float(grid[row.low]),
                    float(grid[row.close]),
                ),
                row.trades,
            )
            for row in result_of(reply, list[KlineRow])
        ]
    except ValueError as error:
        raise WireError(f"a candle of {rules.name} that cannot be read: {error}") from None


@attrs.frozen
class Aggregate:
    """The trades `first_id` to `last_id`, all at one price and time."""

    agg_id: int
    price: int
    """Ticks."""
    first_id: int
    last_id: int
    at_ms: int

    def trades(self, after_id: int = -1, until_id: int | None = None) -> list[Quote]:
        """Each of its trades after one id and before another, as the kernel folds it."""
        first = max(self.first_id, after_id + 1)
        end = self.last_id + 1 if until_id is None else min(self.last_id + 1, until_id)
        return [Quote(self.price, self.price, number, self.at_ms * 1_000_000) for number in range(first, end)]


def aggregates_of(reply: Reply, rules: SymbolRules) -> list[Aggregate]:
    """Result of aggTrades, oldest first; WireError where one cannot be read."""
    grid = Grid(rules.tick_size, ROUND_HALF_EVEN)
    try:
        found = [Aggregate(row.a, grid[row.p], row.f, row.l, row.T) for row in result_of(reply, list[AggregateTrade])]
    except ValueError as error:
        raise WireError(f"an aggregate trade of {rules.name} that cannot be read: {error}") from None
    if any(each.price <= 0 or not 0 <= each.first_id <= each.last_id < each.first_id + MOST_IN_ONE for each in found):
        raise WireError(f"an aggregate trade of {rules.name} of no trades")
    return found


def fill_of_trade(trade: MyTrade, client_order_id: str) -> Fill:
    """An own trade from myTrades, which does not tell the client order id; WireError when its amounts are none."""
    try:
        return Fill(
            order_id=trade.order_id,
            client_order_id=client_order_id,
            trade_id=trade.id,
            side=Side.BUY if trade.is_buyer else Side.SELL,
            price=decimal(trade.price),
            qty=decimal(trade.qty),
            maker=trade.is_maker,
            commission=trade.commission,
            commission_asset=trade.commission_asset,
            at_ms=trade.time,
        )
    except ValueError as error:
        raise WireError(f"trade {trade.id} of order {trade.order_id} cannot be read: {error}") from None


class _Halves(msgspec.Struct, rename="camel"):
    cancel_result: str
    new_order_result: str
    cancel_response: msgspec.Raw | UnsetType = UNSET
    new_order_response: msgspec.Raw | UnsetType = UNSET


class _Half(msgspec.Struct, rename="camel"):
    order_id: int | UnsetType = UNSET
    code: int | UnsetType = UNSET


_ATTEMPTS = {"SUCCESS": True, "FAILURE": False, "NOT_ATTEMPTED": None}


def cancel_replace_result(reply: Reply) -> CancelReplaceResult:
    """What became of both halves: from a success, from the data of -2021 and -2022, and from a plain refusal alike.

    A plain refusal comes before anything is tried (filters, counts, timestamp), so the old order works on.
    OrderUnknown and UnsafeError as by raise_for; OrderUnknown also when a half failed with an unknown outcome, and for
    -2021 or -2022 without data.
    """
    error = reply.error
    if error is None and reply.status == 200:
        return _halves(result_of(reply, _Halves), reply.status)
    if error is not None and error.code in (CANCEL_REPLACE_PARTLY_FAILED, CANCEL_REPLACE_FAILED):
        if not isinstance(error.data, msgspec.Raw):
            _unknown(error, reply.status)
        return _halves(_read(_Halves, error.data), reply.status)
    try:
        raise_for(reply)
    except OrderRejected as refused:
        plain = error or ErrorBody(refused.code, refused.msg)
        if refused.code == CANCEL_REJECTED:
            return CancelReplaceResult(cancel_ok=False, new_ok=None, cancel_error=plain)
        return CancelReplaceResult(cancel_ok=None, new_ok=False, new_error=plain)
    raise AssertionError("a reply that is no success raises")


def _halves(halves: _Halves, status: int) -> CancelReplaceResult:
    for told in (halves.cancel_result, halves.new_order_result):
        if told not in _ATTEMPTS:
            raise WireError(f"a half of a cancel-replace that ended as {told!r}")
    canceled, cancel_error = _half(halves.cancel_response, CanceledOrder, status)
    placed, new_error = _half(halves.new_order_response, PlacedOrder, status)
    return CancelReplaceResult(
        cancel_ok=_ATTEMPTS[halves.cancel_result],
        new_ok=_ATTEMPTS[halves.new_order_result],
        canceled=canceled,
        cancel_error=cancel_error,
        placed=placed,
        new_error=new_error,
    )


def _half(raw: msgspec.Raw | UnsetType, kind: type[T], status: int) -> tuple[T | None, ErrorBody | None]:
    """The order of one half, or its error; neither when it was not tried or spoke of an order list."""
    if isinstance(raw, UnsetType) or bytes(raw) == b"null":
        return None, None
    found = _read(_Half, raw)
    if not isinstance(found.code, UnsetType):
        error = _read(ErrorBody, raw)
        if error.code in OUTCOME_UNKNOWN:
            _unknown(error, status)
        return None, error
    return (None if isinstance(found.order_id, UnsetType) else _read(kind, raw)), None


# --- the exchange's side ---


class _Params(msgspec.Struct):
    params: dict[str, msgspec.Raw] = {}


class _Number(str):
    """Text of a number with a point or an exponent."""

    __slots__ = ()


def decode_request(text: str | bytes) -> Request:
    """A client's frame; BadRequest with Binance's code and text on a bad one."""
    try:
        text = text if isinstance(text, str) else text.decode()
        message = _REQUESTS.decode(text)
        if not isinstance(message, dict):
            raise ValueError("not an object")
        request_id, method = message.get("id"), message.get("method")
        f"{request_id}{method}".encode()  # half of a surrogate pair, which nobody could be answered with
        tokens = _tokens(text, message["params"]) if _has_params(message) else {}
    except (ValueError, RecursionError, WireError):
        raise BadRequest(BAD_JSON, "Invalid JSON Request", None, _excerpt(text)) from None
    if "id" not in message or type(request_id) not in (int, str, type(None)):
        raise BadRequest(BAD_JSON, "Invalid 'id' in JSON request; expected an integer, a string or null.")
    if type(method) is not str:
        raise BadRequest(BAD_JSON, "Invalid 'method' in JSON request; expected a string.", request_id)
    if "params" in message and not _has_params(message):
        raise BadRequest(BAD_JSON, "Invalid 'params' in JSON request; expected an object.", request_id)
    if method.startswith("v"):
        method = _VERSION.sub("", method, count=1)
    return Request(request_id, method, message.get("params", {}), tokens)


def _has_params(message: Mapping[str, object]) -> bool:
    return isinstance(message.get("params"), dict)


def _tokens(text: str, params: Mapping[str, object]) -> dict[str, str]:
    """Texts of the parameters as they were sent; of strings without their quotes and escapes."""
    if "\\" in text:  # an escape may be half a character
        return _raw_tokens(text, params)
    tokens: dict[str, str] = {}
    for name, value in params.items():
        if type(value) is str:
            tokens[name] = value
        elif type(value) is int and value:  # zero may have a sign
            tokens[name] = str(value)
        else:
            return _raw_tokens(text, params)
    return tokens


def _raw_tokens(text: str, params: Mapping[str, object]) -> dict[str, str]:
    """The same for what has more than one spelling; `text` is read once more."""
    raws = _read(_Params, text).params
    return {
        name: str(params[name]) if bytes(raw).startswith(b'"') else bytes(raw).decode() for name, raw in raws.items()
    }


def encode_reply(
    request_id: RequestId, result: object, rate_limits: Sequence[RateLimit] | None = None, status: int = 200
) -> str:
    """A success; `result` may hold records of wire.results. None for `rate_limits` leaves the member out."""
    message: dict[str, object] = {"id": request_id, "status": status, "result": result}
    if rate_limits is not None:
        message["rateLimits"] = rate_limits
    return _encode(message)


def encode_error(
    request_id: RequestId,
    status: int,
    code: int,
    msg: str,
    data: object = UNSET,
    rate_limits: Sequence[RateLimit] | None = None,
) -> str:
    """A failure; `data` is left out unless given."""
    error: dict[str, object] = {"code": code, "msg": msg}
    if data is not UNSET:
        error["data"] = data
    message: dict[str, object] = {"id": request_id, "status": status, "error": error}
    if rate_limits is not None:
        message["rateLimits"] = rate_limits
    return _encode(message)


# --- JSON ---


def _encode(message: object) -> str:
    return msgspec.json.encode(message).decode()


_DECODERS: dict[Any, msgspec.json.Decoder[Any]] = {}


def _read(kind: type[T], text: str | bytes | msgspec.Raw) -> T:
    """`text` as `kind`, by a decoder that is built once for each kind; WireError when it is something else."""
    decoder = _DECODERS.get(kind)
    if decoder is None:
        decoder = _DECODERS[kind] = msgspec.json.Decoder(kind)
    try:
        found: T = decoder.decode(text)
    except (ValueError, RecursionError) as error:
        raise WireError(f"not what was expected ({error})", _excerpt(text)) from None
    return found


def _strict(text: str | bytes) -> None:
    """WireError where JSON readers disagree: members that come twice, NaN and infinities, integers without bound."""
    try:
        _FRAMES.decode(text if isinstance(text, str) else text.decode())
    except (ValueError, RecursionError) as error:
        raise WireError(f"a frame that is not clean JSON ({error})", _excerpt(text)) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member comes twice")
    return members


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is out of range")
    return number


def _strictly(parse_float: Callable[[str], Any]) -> json.JSONDecoder:
    return json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=parse_float)


_REQUESTS, _FRAMES = _strictly(_Number), _strictly(_finite)


def _excerpt(text: str | bytes | msgspec.Raw) -> str:
    return text[:200] if isinstance(text, str) else bytes(text)[:200].decode("utf-8", "replace")
