"""Single orders: placed, tried, cancelled, replaced, made smaller; and the table of everything signed.

Each method takes a `Call`, whose parameters it reads and checks, and gives the result in Binance's shape. Order lists
are in `orderlists`, what has become of orders in `account`.
"""

from __future__ import annotations

from tetrio.sim.engine.orders import (
    CANCEL_REPLACE_FAILED,
    CANCEL_REPLACE_PARTIAL,
    Canceled,
    CanceledList,
    OrderRequest,
    Placed,
    Rejected,
    Replaced,
)
from tetrio.sim.face import account, orderlists
from tetrio.sim.face.call import Call, Method, admit, always, count
from tetrio.sim.face.checks import Params, Refused, missing
from tetrio.sim.face.parameters import (
    PLAIN,
    ROUTED,
    either,
    need_decimal,
    not_required,
    read_decimal,
    read_form,
    read_ids,
    read_order,
    read_restrictions,
    read_side,
    read_stp_mode,
    read_type,
)
from tetrio.sim.face.shapes import refusal
from tetrio.sim.face.venue import ACCOUNT, Venue

__all__ = ["METHODS", "Call", "Method"]

_FULL_BY_DEFAULT = frozenset({"LIMIT", "MARKET"})
_ROUTED_TYPES = frozenset({"LIMIT", "MARKET"})


# -- new orders -----------------------------------------------------------------------------------------------------


def place(call: Call) -> object:
    """order.place."""
    request, form = _order(call)
    call.params.done()
    return call.venue.shapes.placed(_placed(call, request), form)


def test(call: Call) -> object:
    """order.test: what needs no balances and no book."""
    rates = call.params.flag("computeCommissionRates", default=False)
    request, _ = _order(call)
    return _tested(call, request, rates)


def place_routed(call: Call) -> object:
    """sor.order.place: by smart order routing."""
    request, form = _routed_order(call)
    call.params.done()
    return [call.venue.shapes.placed(_placed(call, request), form)]


def test_routed(call: Call) -> object:
    """sor.order.test."""
    rates = call.params.flag("computeCommissionRates", default=False)
    request, _ = _routed_order(call)
    return _tested(call, request, rates)


def test_weight(params: Params) -> int:
    """A test costs more when it computes rates."""
    return 20 if params.tokens.get("computeCommissionRates", "").lower() == "true" else 1


def _order(call: Call) -> tuple[OrderRequest, str]:
    """The order that is asked for, and the form of the answer."""
    params = call.params
    symbol = params.symbol(call.venue.symbol)
    side, kind = read_side(params, "side"), read_type(params, "type")
    form, stp_mode = read_form(params), read_stp_mode(params)
    quantity, quote_order_qty = read_decimal(params, "quantity"), read_decimal(params, "quoteOrderQty")
    if kind == "MARKET":
        if quantity is None and quote_order_qty is None:
            raise either("quantity", "quoteOrderQty")
        if quantity is not None and quote_order_qty is not None:
            raise not_required("quoteOrderQty")
    elif quote_order_qty is not None:
        raise not_required("quoteOrderQty")
    request = read_order(
        params,
        PLAIN,
        symbol=symbol,
        side=side,
        kind=kind,
        quantity=quantity,
        quote_order_qty=quote_order_qty,
        stp_mode=stp_mode,
    )
    if quantity is None and quote_order_qty is None:
        raise missing("quantity")
    return request, form or ("FULL" if kind in _FULL_BY_DEFAULT else "ACK")


def _routed_order(call: Call) -> tuple[OrderRequest, str]:
    params = call.params
    symbol = params.symbol(call.venue.symbol)
    side, kind = read_side(params, "side"), read_type(params, "type")
    if kind not in _ROUTED_TYPES:
        raise Refused(-1116, "Invalid orderType.")
    form, stp_mode = read_form(params), read_stp_mode(params)
    quantity = need_decimal(params, "quantity")
    request = read_order(
        params, ROUTED, symbol=symbol, side=side, kind=kind, quantity=quantity, stp_mode=stp_mode, sor=True
    )
    return request, form or "FULL"


def _placed(call: Call, request: OrderRequest) -> Placed:
    venue = call.venue
    admit(venue)
    now_ms = venue.now_ms()
    try:
        placed = venue.engine.place(ACCOUNT, request, now_ms, venue.clock.now_ns())
    except Rejected as refused:
        venue.refused(refused)
        raise
    count(venue, 1, now_ms)
    call.did(placed.events, placed.prints)
    return placed


def _tested(call: Call, request: OrderRequest, rates: bool) -> object:
    call.params.done()
    venue = call.venue
    venue.engine.test(ACCOUNT, request, venue.clock.now_ns())
    return account.order_commission(venue.engine.rates, request.side) if rates else {}


# -- cancels --------------------------------------------------------------------------------------------------------


def cancel(call: Call) -> object:
    """order.cancel: an order, or the whole list that it is in."""
    params, venue = call.params, call.venue
    symbol = params.symbol(venue.symbol)
    order_id, client_id = read_ids(params, "orderId", "origClientOrderId")
    own_id = params.client_id("newClientOrderId") or ""
    restrictions = read_restrictions(params)
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
    return _canceled(venue, canceled)


def cancel_all(call: Call) -> object:
    """openOrders.cancelAll: orders and lists, oldest first."""
    symbol = call.params.symbol(call.venue.symbol)
    call.params.done()
    venue = call.venue
    all_canceled = venue.engine.cancel_all(ACCOUNT, symbol, venue.now_ms(), venue.clock.now_ns())
    for canceled in all_canceled:
        call.did(canceled.events)
    return [_canceled(venue, canceled) for canceled in all_canceled]


def _canceled(venue: Venue, canceled: Canceled | CanceledList) -> dict[str, object]:
    if isinstance(canceled, Canceled):
        return venue.shapes.canceled(canceled)
    return venue.shapes.canceled_list(canceled)


# -- changes --------------------------------------------------------------------------------------------------------


def amend(call: Call) -> object:
    """order.amend.keepPriority: less of it, in the same place of the queue. Free where the order ends by it."""
    params, venue = call.params, call.venue
    symbol = params.symbol(venue.symbol)
    order_id, client_id = read_ids(params, "orderId", "origClientOrderId")
    new_qty = need_decimal(params, "newQty")
    new_id = params.client_id("newClientOrderId") or ""
    params.done()
    amended = venue.engine.amend(
        ACCOUNT,
        symbol,
        venue.now_ms(),
        venue.clock.now_ns(),
        order_id=order_id,
        orig_client_order_id=client_id,
        new_qty=new_qty,
        new_client_order_id=new_id,
    )
    call.did(amended.events)
    call.free = not amended.order.is_open
    return venue.shapes.amended(amended)


def cancel_replace(call: Call) -> object:
    """order.cancelReplace, with every outcome."""
    params, venue = call.params, call.venue
    request, form = _order(call)
    mode = params.need("cancelReplaceMode")
    if mode not in {"STOP_ON_FAILURE", "ALLOW_FAILURE"}:
        raise Refused(-1130, "Data sent for parameter 'cancelReplaceMode' is not valid.")
    order_id, client_id = read_ids(params, "cancelOrderId", "cancelOrigClientOrderId")
    own_id = params.client_id("cancelNewClientOrderId") or ""
    restrictions = read_restrictions(params)
    exceeded = params.text("orderRateLimitExceededMode")
    if exceeded not in {None, "DO_NOTHING", "CANCEL_ONLY"}:
        raise Refused(-1130, "Data sent for parameter 'orderRateLimitExceededMode' is not valid.")
    params.done()
    now_ms, market_ns = venue.now_ms(), venue.clock.now_ns()
    try:
        admit(venue)
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
    count(venue, 1, now_ms)  # also when the new order was not attempted
    call.did(replaced.events, replaced.prints)
    return _replaced(venue, replaced, form)


def _replaced(venue: Venue, replaced: Replaced, form: str) -> object:
    """The result, or the refusal that carries it."""
    canceled: object = None
    if replaced.canceled is not None:
        canceled = _canceled(venue, replaced.canceled)
    elif replaced.cancel_error is not None:
        canceled = refusal(replaced.cancel_error)
    placed: object = None
    if replaced.placed is not None:
        placed = venue.shapes.placed(replaced.placed, form)
    elif replaced.place_error is not None:
        placed = refusal(replaced.place_error)
    body = _outcome(replaced.cancel_result, replaced.new_order_result, canceled, placed)
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
        if mode == "ALLOW_FAILURE":
            body = _outcome("FAILURE", "FAILURE", refusal(refused), over)
            raise Refused(*CANCEL_REPLACE_FAILED, status=400, data=body) from None
        body = _outcome("FAILURE", "NOT_ATTEMPTED", refusal(refused), None)
        raise Refused(*CANCEL_REPLACE_FAILED, status=429, data=body) from None
    call.did(canceled.events)
    body = _outcome("SUCCESS", "FAILURE", _canceled(venue, canceled), over)
    raise Refused(*CANCEL_REPLACE_PARTIAL, status=409, data=body)


def _outcome(cancel_result: str, new_order_result: str, canceled: object, placed: object) -> dict[str, object]:
    return {
        "cancelResult": cancel_result,
        "newOrderResult": new_order_result,
        "cancelResponse": canceled,
        "newOrderResponse": placed,
    }


METHODS = {
    "order.place": Method(run=place, weight=always(1), count=1, free=True),
    "order.test": Method(run=test, weight=test_weight),
    "order.cancel": Method(run=cancel, weight=always(1), free=True),
    "order.cancelReplace": Method(run=cancel_replace, weight=always(1), count=1, free=True),
    "order.amend.keepPriority": Method(run=amend, weight=always(4)),
    "openOrders.cancelAll": Method(run=cancel_all, weight=always(1), free=True),
    "sor.order.place": Method(run=place_routed, weight=always(1), count=1, free=True),
    "sor.order.test": Method(run=test_routed, weight=test_weight),
    **orderlists.METHODS,
    **account.METHODS,
}
"""By method of the WebSocket API."""
