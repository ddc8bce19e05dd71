"""What only the account's owner may ask: orders, cancels, and what has become of them; in Binance's shapes.

Each method takes a `Call`, whose parameters it reads and checks, and gives the result. What the engine did on the way
stands in the call's `events` and `prints`, also when the answer is a refusal: they are told after the reply. The record
is written at once.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import attrs

from tetrio.core.market import Side
from tetrio.sim.checks import Params, Refused, check_symbol, missing
from tetrio.sim.orders import (
    Canceled,
    CanceledList,
    Order,
    OrderRequest,
    Placed,
    Rejected,
    Replaced,
    TradePrint,
    UserEvent,
)
from tetrio.sim.shapes import STP_MODE, refusal
from tetrio.sim.venue import ACCOUNT, UID, Venue

DAY_MS = 86_400_000
_TYPES = ("LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT")
_TIMES_IN_FORCE = ("GTC", "IOC", "FOK")
_TIMED = ("LIMIT", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT")
_TRADES_BY = (
    frozenset({"orderId"}),
    frozenset({"startTime"}),
    frozenset({"endTime"}),
    frozenset({"fromId"}),
    frozenset({"startTime", "endTime"}),
    frozenset({"orderId", "fromId"}),
    frozenset[str](),
)


@attrs.define
class Call:
    """One signed request on its way."""

    venue: Venue
    params: Params
    events: tuple[UserEvent, ...] = ()
    prints: tuple[TradePrint, ...] = ()
    api_key: str = ""
    """Who has signed it, once that is known."""

    def did(self, events: tuple[UserEvent, ...], prints: tuple[TradePrint, ...] = ()) -> None:
        """The engine has done something."""
        self.venue.change(events)
        self.events += events
        self.prints += prints


# -- new orders -----------------------------------------------------------------------------------------------------


def place(call: Call) -> object:
    """order.place."""
    request, form = _order(call)
    call.params.done()
    _check_count(call.venue)
    placed = _placed(call, request)
    return call.venue.shapes.placed(placed, form)


def test(call: Call) -> object:
    """order.test: what needs no balances and no book."""
    rates = call.params.flag("computeCommissionRates", default=False)
    request, _ = _order(call)
    call.params.done()
    call.venue.engine.test(ACCOUNT, request, call.venue.clock.now_ns())
    return call.venue.shapes.order_commission() if rates else {}


def test_weight(params: Params) -> int:
    """order.test costs more when it computes rates."""
    return 20 if params.tokens.get("computeCommissionRates", "").lower() == "true" else 1


def _order(call: Call) -> tuple[OrderRequest, str]:
    """The order that is asked for, and the form of the answer."""
    params = call.params
    symbol = params.symbol(call.venue.symbol)
    side = params.need("side")
    if side not in {"BUY", "SELL"}:
        raise Refused(-1117, "Invalid side.")
    kind = params.need("type")
    if kind not in _TYPES:
        raise Refused(-1116, "Invalid orderType.")
    if kind not in _TYPES[:3]:
        params.skip("stopPrice", "trailingDelta")  # so that the answer is: not supported
    form = params.one_of("newOrderRespType", ("ACK", "RESULT", "FULL"), Refused(-1136, "Invalid newOrderRespType."))
    not_allowed = Refused(-1013, "This symbol does not allow the specified self-trade prevention mode.")
    params.one_of("selfTradePreventionMode", (STP_MODE,), not_allowed)
    request = OrderRequest(
        symbol=symbol,
        side=Side(side),
        type=kind,
        time_in_force=_time_in_force(params, kind),
        quantity=_decimal(params, "quantity"),
        price=_decimal(params, "price"),
        quote_order_qty=_decimal(params, "quoteOrderQty"),
        client_order_id=params.client_id("newClientOrderId") or "",
    )
    return request, form or ("FULL" if kind in {"LIMIT", "MARKET"} else "ACK")


def _time_in_force(params: Params, kind: str) -> str:
    asked = params.one_of("timeInForce", _TIMES_IN_FORCE, Refused(-1115, "Invalid timeInForce."))
    if asked is not None and kind not in _TIMED:
        raise Refused(-1106, "Parameter 'timeInForce' sent when not required.")
    if asked is None and kind in _TIMED:
        raise missing("timeInForce")
    return asked or "GTC"


def _decimal(params: Params, name: str) -> Decimal | None:
    text = params.decimal(name)
    return None if text is None else Decimal(text)


def _placed(call: Call, request: OrderRequest) -> Placed:
    venue = call.venue
    now_ms = venue.now_ms()
    try:
        placed = venue.engine.place(ACCOUNT, request, now_ms, venue.clock.now_ns())
    except Rejected as refused:
        venue.refused(refused)
        raise
    venue.orders.add(now_ms)  # before the credit of its first fill
    call.did(placed.events, placed.prints)
    return placed


def _check_count(venue: Venue) -> None:
    """Refuse a new order when a window of the unfilled-order count is full, or the exchange is closing."""
    if venue.closed:
        raise Refused(-1016, "This service is no longer available.")
    now_ms = venue.now_ms()
    window = venue.orders.exceeded(now_ms)
    if window is None:
        return
    limit = window.limit
    raise Refused(
        -1015,
        f"Too many new orders; current limit is {limit.limit} orders per {limit.interval_num} {limit.interval}.",
        status=429,
        data={"serverTime": now_ms, "retryAfter": window.rolls_ms(now_ms)},
    )


# -- cancels --------------------------------------------------------------------------------------------------------


def cancel(call: Call) -> object:
    """order.cancel."""
    params, venue = call.params, call.venue
    symbol = params.symbol(venue.symbol)
    order_id, client_id = _ids(params, "orderId", "origClientOrderId")
    own_id = params.client_id("newClientOrderId") or ""
    restrictions = _restrictions(params)
    params.done()
    canceled = venue.engine.cancel(
        ACCOUNT,
        symbol,
        venue.now_ms(),
        venue.clock.now_ns(),
        order_id=order_id,
        orig_client_order_id=client_id,
        new_client_order_id=own_id,
        restrictions=restrictions,
    )
    call.did(canceled.events)
    return venue.shapes.canceled(_single(canceled))


def cancel_all(call: Call) -> object:
    """openOrders.cancelAll."""
    symbol = call.params.symbol(call.venue.symbol)
    call.params.done()
    venue = call.venue
    all_canceled = venue.engine.cancel_all(ACCOUNT, symbol, venue.now_ms(), venue.clock.now_ns())
    for canceled in all_canceled:
        call.did(canceled.events)
    return [venue.shapes.canceled(_single(canceled)) for canceled in all_canceled]


def cancel_replace(call: Call) -> object:
    """order.cancelReplace, with every outcome."""
    params, venue = call.params, call.venue
    request, form = _order(call)
    mode = params.need("cancelReplaceMode")
    if mode not in {"STOP_ON_FAILURE", "ALLOW_FAILURE"}:
        raise Refused(-1130, "Data sent for parameter 'cancelReplaceMode' is not valid.")
    order_id, client_id = _ids(params, "cancelOrderId", "cancelOrigClientOrderId")
    own_id = params.client_id("cancelNewClientOrderId") or ""
    restrictions = _restrictions(params)
    invalid = Refused(-1130, "Data sent for parameter 'orderRateLimitExceededMode' is not valid.")
    exceeded = params.one_of("orderRateLimitExceededMode", ("DO_NOTHING", "CANCEL_ONLY"), invalid)
    params.done()
    now_ms, market_ns = venue.now_ms(), venue.clock.now_ns()
    try:
        _check_count(venue)
    except Refused as full:
        if exceeded != "CANCEL_ONLY":
            raise Refused(full.code, full.msg, status=full.status) from None
        return _cancel_only(call, full, mode, order_id, client_id, own_id, restrictions)
    try:
        replaced = venue.engine.cancel_replace(
            ACCOUNT,
            request,
            now_ms,
            market_ns,
            mode=mode,
            cancel_order_id=order_id,
            cancel_orig_client_order_id=client_id,
            cancel_new_client_order_id=own_id,
            restrictions=restrictions,
        )
    except Rejected as refused:
        venue.refused(refused)
        raise
    venue.orders.add(now_ms)  # also when the new order was not attempted
    call.did(replaced.events, replaced.prints)
    return _replaced(venue, replaced, form)


def _replaced(venue: Venue, replaced: Replaced, form: str) -> object:
    """The result, or the refusal that carries it."""
    canceled: object = None
    if isinstance(replaced.canceled, Canceled):
        canceled = venue.shapes.canceled(replaced.canceled)
    elif replaced.cancel_error is not None:
        canceled = refusal(replaced.cancel_error)
    placed: object = None
    if replaced.placed is not None:
        placed = venue.shapes.placed(replaced.placed, form)
    elif replaced.place_error is not None:
        placed = refusal(replaced.place_error)
    body = {
        "cancelResult": replaced.cancel_result,
        "newOrderResult": replaced.new_order_result,
        "cancelResponse": canceled,
        "newOrderResponse": placed,
    }
    if replaced.code:
        raise Refused(replaced.code, replaced.msg, status=replaced.status, data=body)
    return body


def _cancel_only(
    call: Call,
    full: Refused,
    mode: str,
    order_id: int | None,
    client_id: str | None,
    own_id: str,
    restrictions: str | None,
) -> object:
    """A cancel-replace over the order count that may still cancel."""
    venue = call.venue
    over: dict[str, object] = {"code": full.code, "msg": full.msg}
    try:
        canceled = venue.engine.cancel(
            ACCOUNT,
            venue.symbol,
            venue.now_ms(),
            venue.clock.now_ns(),
            order_id=order_id,
            orig_client_order_id=client_id,
            new_client_order_id=own_id,
            restrictions=restrictions,
            reason="cancelReplace",
        )
    except Rejected as refused:
        allowed = mode == "ALLOW_FAILURE"
        body = {
            "cancelResult": "FAILURE",
            "newOrderResult": "FAILURE" if allowed else "NOT_ATTEMPTED",
            "cancelResponse": refusal(refused),
            "newOrderResponse": over if allowed else None,
        }
        status = 400 if allowed else 429
        raise Refused(-2022, "Order cancel-replace failed.", status=status, data=body) from None
    call.did(canceled.events)
    body = {
        "cancelResult": "SUCCESS",
        "newOrderResult": "FAILURE",
        "cancelResponse": venue.shapes.canceled(_single(canceled)),
        "newOrderResponse": over,
    }
    raise Refused(-2021, "Order cancel-replace partially failed.", status=409, data=body)


def _single(canceled: Canceled | CanceledList) -> Canceled:
    assert isinstance(canceled, Canceled), "nobody can place a list here yet"
    return canceled


def _ids(params: Params, by_id: str, by_client_id: str) -> tuple[int | None, str | None]:
    order_id, client_id = params.integer(by_id), params.text(by_client_id)
    if order_id is None and client_id is None:
        raise Refused(-1102, f"Param '{by_client_id}' or '{by_id}' must be sent, but both were empty/null!")
    return order_id, client_id


def _restrictions(params: Params) -> str | None:
    return params.one_of(
        "cancelRestrictions", ("ONLY_NEW", "ONLY_PARTIALLY_FILLED"), Refused(-1145, "Invalid cancelRestrictions")
    )


# -- queries --------------------------------------------------------------------------------------------------------


def order_status(call: Call) -> object:
    """order.status."""
    params, venue = call.params, call.venue
    symbol = params.symbol(venue.symbol)
    order_id, client_id = _ids(params, "orderId", "origClientOrderId")
    params.done()
    return venue.shapes.status(venue.engine.order(ACCOUNT, symbol, order_id=order_id, client_order_id=client_id))


def open_orders(call: Call) -> object:
    """openOrders.status."""
    params, venue = call.params, call.venue
    symbol = params.text("symbol")
    if symbol is not None:
        check_symbol(symbol, venue.symbol)
    params.done()
    return [venue.shapes.status(order) for order in venue.engine.open_orders(ACCOUNT, symbol)]


def open_orders_weight(params: Params) -> int:
    """Cheap for one symbol only."""
    return 6 if "symbol" in params else 80


def all_orders(call: Call) -> object:
    """allOrders: by order id, or by the time of the last change."""
    params, venue = call.params, call.venue
    symbol = params.symbol(venue.symbol)
    first_id = params.integer("orderId")
    start_ms, end_ms = _times(params)
    limit = params.limit(500, 1000)
    params.done()
    orders = venue.engine.orders(ACCOUNT, symbol)
    if start_ms is not None or end_ms is not None:
        chosen = [order for order in orders if _within(order.update_ms, start_ms, end_ms)]
        return _shaped(venue, chosen[:limit] if start_ms is not None else chosen[-limit:])
    if first_id is not None:
        return _shaped(venue, [order for order in orders if order.order_id >= first_id][:limit])
    return _shaped(venue, orders[-limit:])


def _shaped(venue: Venue, orders: list[Order]) -> list[dict[str, object]]:
    return [venue.shapes.status(order) for order in orders]


def my_trades(call: Call) -> object:
    """myTrades, by trade id."""
    params, venue = call.params, call.venue
    symbol = params.symbol(venue.symbol)
    order_id, from_id = params.integer("orderId"), params.integer("fromId")
    start_ms, end_ms = _times(params)
    limit = params.limit(500, 1000)
    params.done()
    given = {"orderId": order_id, "fromId": from_id, "startTime": start_ms, "endTime": end_ms}
    if frozenset(name for name, value in given.items() if value is not None) not in _TRADES_BY:
        raise Refused(-1128, "Combination of optional parameters invalid.")
    trades = [
        trade
        for trade in venue.engine.trades(ACCOUNT, symbol, order_id)
        if trade.trade_id >= (from_id or 0) and _within(trade.time_ms, start_ms, end_ms)
    ]
    chosen = trades[:limit] if from_id is not None or start_ms is not None else trades[-limit:]
    return [venue.shapes.trade(trade) for trade in chosen]


def my_trades_weight(params: Params) -> int:
    """Cheap for one order only."""
    return 5 if "orderId" in params else 20


def _times(params: Params) -> tuple[int | None, int | None]:
    """startTime and endTime in ms (us by their length), at most a day apart."""
    start_ms, end_ms = (_ms(params.integer(name)) for name in ("startTime", "endTime"))
    if start_ms is not None and end_ms is not None and end_ms - start_ms > DAY_MS:
        raise Refused(-1127, "More than 24 hours between startTime and endTime.")
    return start_ms, end_ms


def _ms(stamp: int | None) -> int | None:
    return stamp // 1000 if stamp is not None and stamp >= 10**15 else stamp


def _within(at_ms: int, start_ms: int | None, end_ms: int | None) -> bool:
    return (start_ms is None or at_ms >= start_ms) and (end_ms is None or at_ms <= end_ms)


def account_status(call: Call) -> object:
    """account.status."""
    omit_zero = call.params.flag("omitZeroBalances", default=False)
    call.params.done()
    venue = call.venue
    return venue.shapes.account(venue.engine.balances(ACCOUNT), venue.updated_ms, UID, omit_zero=omit_zero)


def account_commission(call: Call) -> object:
    """account.commission."""
    call.params.symbol(call.venue.symbol)
    call.params.done()
    return call.venue.shapes.commission()


def order_counts(call: Call) -> object:
    """account.rateLimits.orders."""
    call.params.done()
    return call.venue.orders.rows(call.venue.now_ms())


@attrs.frozen
class Method:
    """One signed method."""

    run: Callable[[Call], object]
    weight: Callable[[Params], int]
    orders: bool = False
    """Whether replies tell the order counts."""
    free: bool = False
    """Whether a success costs no weight."""


def _always(weight: int) -> Callable[[Params], int]:
    return lambda params: weight


METHODS = {
    "order.place": Method(place, _always(1), orders=True, free=True),
    "order.test": Method(test, test_weight),
    "order.cancel": Method(cancel, _always(1), free=True),
    "order.cancelReplace": Method(cancel_replace, _always(1), orders=True, free=True),
    "openOrders.cancelAll": Method(cancel_all, _always(1), free=True),
    "order.status": Method(order_status, _always(4)),
    "openOrders.status": Method(open_orders, open_orders_weight),
    "allOrders": Method(all_orders, _always(20)),
    "myTrades": Method(my_trades, my_trades_weight),
    "account.status": Method(account_status, _always(20)),
    "account.commission": Method(account_commission, _always(20)),
    "account.rateLimits.orders": Method(order_counts, _always(40)),
}
"""By method of the WebSocket API."""
