"""Order lists: OCO, OTO, OTOCO, OPO and OPOCO, placed, cancelled and asked for.

What makes a list well-formed is judged here (which leg may be of which type, which parameters it takes); whether its
prices stand in the right order, and what becomes of it, is the engine's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from tetrio.core.market import Side
from tetrio.sim.engine.orders import CONTINGENT, STOPS, ListRequest, OrderList, OrderRequest, Rejected
from tetrio.sim.face.call import Call, Method, admit, always, count
from tetrio.sim.face.checks import Refused
from tetrio.sim.face.parameters import (
    ABOVE,
    BELOW,
    OLD_LIMIT,
    OLD_STOP,
    PENDING,
    PENDING_ABOVE,
    PENDING_BELOW,
    WORKING,
    Names,
    either,
    need_decimal,
    read_form,
    read_ids,
    read_order,
    read_side,
    read_stp_mode,
    read_times,
    read_type,
)
from tetrio.sim.face.venue import ACCOUNT

DEFAULT_FORM = "FULL"  # told of the deprecated orderList.place only; taken for the others too
_PAIRED = CONTINGENT | {"LIMIT_MAKER"}
"""Types of the legs of an OCO."""
_WORKING = frozenset({"LIMIT", "LIMIT_MAKER"})


# -- new lists ------------------------------------------------------------------------------------------------------


def place_oco(call: Call) -> object:
    """orderList.place.oco: one cancels the other."""
    params = call.params
    params.symbol(call.venue.symbol)
    side, quantity = read_side(params, "side"), need_decimal(params, "quantity")
    pair = _pair(call, ("aboveType", "belowType"), (ABOVE, BELOW), side, quantity, read_stp_mode(params))
    return _place(call, "OCO", pair)


def place_old_oco(call: Call) -> object:
    """orderList.place, deprecated: an OCO of a limit and a stop leg, without a word of above and below."""
    params, venue = call.params, call.venue
    symbol = params.symbol(venue.symbol)
    side, quantity = read_side(params, "side"), need_decimal(params, "quantity")
    stp_mode = read_stp_mode(params)
    limit = read_order(
        params, OLD_LIMIT, symbol=symbol, side=side, kind="LIMIT_MAKER", quantity=quantity, stp_mode=stp_mode
    )
    kind = "STOP_LOSS_LIMIT" if "stopLimitPrice" in params else "STOP_LOSS"
    stop = read_order(params, OLD_STOP, symbol=symbol, side=side, kind=kind, quantity=quantity, stp_mode=stp_mode)
    return _place(call, "OCO", (limit, stop) if side is Side.SELL else (stop, limit))


def place_oto(call: Call) -> object:
    """orderList.place.oto: one triggers the other."""
    return _triggering(call, "OTO")


def place_otoco(call: Call) -> object:
    """orderList.place.otoco: one triggers an OCO."""
    return _triggering(call, "OTOCO")


def place_opo(call: Call) -> object:
    """orderList.place.opo: one pays for the other."""
    return _triggering(call, "OPO")


def place_opoco(call: Call) -> object:
    """orderList.place.opoco: one pays for an OCO."""
    return _triggering(call, "OPOCO")


def _triggering(call: Call, kind: str) -> object:
    """A list whose working order brings in what is pending: one order, or a pair of them."""
    params, venue = call.params, call.venue
    symbol, stp_mode = params.symbol(venue.symbol), read_stp_mode(params)
    working = _working(call, kind, stp_mode)
    side = read_side(params, "pendingSide")
    quantity = None
    if kind.startswith("OPO"):
        if side is not Side.SELL:
            raise Refused(-1223, "Pending orders in an OPO list must be asks.")
        if "pendingQuantity" in params:
            raise Refused(-1225, "Pending orders should not include the 'pendingQuantity' tag.")
    else:
        quantity = need_decimal(params, "pendingQuantity")
    if kind.endswith("OCO"):
        types, names = ("pendingAboveType", "pendingBelowType"), (PENDING_ABOVE, PENDING_BELOW)
        return _place(call, kind, (working, *_pair(call, types, names, side, quantity, stp_mode)))
    pending = read_order(
        params,
        PENDING,
        symbol=symbol,
        side=side,
        kind=read_type(params, "pendingType"),
        quantity=quantity,
        stp_mode=stp_mode,
    )
    return _place(call, kind, (working, pending))


def _working(call: Call, kind: str, stp_mode: str) -> OrderRequest:
    params = call.params
    order_type, side = read_type(params, "workingType"), read_side(params, "workingSide")
    if order_type not in _WORKING:
        raise Refused(-1116, "Invalid orderType.")
    if kind.startswith("OPO"):
        if side is not Side.BUY:
            raise Refused(-1222, "Working order in an OPO list must be a bid.")
        if "workingQuantity" not in params:
            raise Refused(-1224, "Working order must include the 'workingQuantity' tag.")
    return read_order(
        params,
        WORKING,
        symbol=call.venue.symbol,
        side=side,
        kind=order_type,
        quantity=need_decimal(params, "workingQuantity"),
        stp_mode=stp_mode,
    )


def _pair(
    call: Call,
    types: tuple[str, str],
    names: tuple[Names, Names],
    side: Side,
    quantity: Decimal | None,
    stp_mode: str,
) -> tuple[OrderRequest, OrderRequest]:
    """The legs above and below, of which either ends the other."""
    params = call.params
    above, below = (read_type(params, name) for name in types)
    _check_pair(side, above, below)
    above_leg, below_leg = (
        read_order(params, each, symbol=call.venue.symbol, side=side, kind=kind, quantity=quantity, stp_mode=stp_mode)
        for each, kind in zip(names, (above, below), strict=True)
    )
    return above_leg, below_leg


def _check_pair(side: Side, above: str, below: str) -> None:
    """Refuse types that cannot be a pair, or stand on the wrong side of the market."""
    if not {above, below} <= _PAIRED:
        raise Refused(-1158, "Order type not supported in OCO.")
    if above == below == "LIMIT_MAKER":
        raise Refused(-1168, "At least one OCO order must be contingent.")
    buy = side is Side.BUY
    outer, inner = (above, below) if buy else (below, above)  # where a stop belongs, and where all else does
    if outer == "LIMIT_MAKER":
        raise Refused(*_MISPLACED["limit", buy])
    if outer not in STOPS:
        raise Refused(*_MISPLACED["take profit", buy])
    if inner in STOPS:
        raise Refused(*_MISPLACED["stop loss", buy])


_MISPLACED = {
    ("limit", True): (-1165, "A limit order in a buy OCO must be below."),
    ("limit", False): (-1166, "A limit order in a sell OCO must be above."),
    ("stop loss", True): (-1196, "A stop loss order in a buy OCO must be above."),
    ("stop loss", False): (-1197, "A stop loss order in a sell OCO must be below."),
    ("take profit", True): (-1198, "A take profit order in a buy OCO must be below."),
    ("take profit", False): (-1199, "A take profit order in a sell OCO must be above."),
}
"""By what stands on the wrong side, and whether the OCO buys."""


def _place(call: Call, kind: str, legs: Sequence[OrderRequest]) -> object:
    params, venue = call.params, call.venue
    form = read_form(params) or DEFAULT_FORM
    list_id = params.client_id("listClientOrderId") or ""
    params.done()
    admit(venue)
    now_ms = venue.now_ms()
    request = ListRequest(symbol=venue.symbol, kind=kind, legs=tuple(legs), client_order_id=list_id)
    try:
        placed = venue.engine.place_list(ACCOUNT, request, now_ms, venue.clock.now_ns())
    except Rejected as refused:
        venue.refused(refused)
        raise
    count(venue, len(legs), now_ms)
    call.did(placed.events, placed.prints)
    return venue.shapes.placed_list(placed, form)


# -- cancels --------------------------------------------------------------------------------------------------------


def cancel_list(call: Call) -> object:
    """orderList.cancel."""
    params, venue = call.params, call.venue
    symbol = params.symbol(venue.symbol)
    list_id, client_id = read_ids(params, "orderListId", "listClientOrderId")
    own_id = params.client_id("newClientOrderId") or ""
    params.done()
    canceled = venue.engine.cancel_list(
        ACCOUNT,
        symbol,
        venue.now_ms(),
        venue.clock.now_ns(),
        list_id=list_id,
        list_client_order_id=client_id,
        new_client_order_id=own_id,
    )
    call.did(canceled.events)
    return venue.shapes.canceled_list(canceled)


# -- queries --------------------------------------------------------------------------------------------------------


def list_status(call: Call) -> object:
    """orderList.status; the client's id (`origClientOrderId`) wins where both are given."""
    params, venue = call.params, call.venue
    client_id, list_id = params.text("origClientOrderId"), params.integer("orderListId")
    params.done()
    if client_id is not None:
        return venue.shapes.order_list(venue.engine.order_list(ACCOUNT, client_order_id=client_id))
    if list_id is None:
        raise either("origClientOrderId", "orderListId")
    return venue.shapes.order_list(venue.engine.order_list(ACCOUNT, list_id=list_id))


def open_lists(call: Call) -> object:
    """openOrderLists.status."""
    call.params.done()
    return _shaped(call, call.venue.engine.open_lists(ACCOUNT))


def all_lists(call: Call) -> object:
    """allOrderLists: from an id on, or by the time of the last change."""
    params = call.params
    first_id = params.integer("fromId")
    start_ms, end_ms = read_times(params)
    limit = params.limit(500, 1000)
    params.done()
    lists = call.venue.engine.lists(ACCOUNT)
    if start_ms is not None or end_ms is not None:
        chosen = [
            each
            for each in lists
            if (start_ms is None or each.time_ms >= start_ms) and (end_ms is None or each.time_ms <= end_ms)
        ]
        return _shaped(call, chosen[:limit] if start_ms is not None else chosen[-limit:])
    if first_id is not None:
        return _shaped(call, [each for each in lists if each.list_id >= first_id][:limit])
    return _shaped(call, lists[-limit:])


def _shaped(call: Call, lists: Sequence[OrderList]) -> list[dict[str, object]]:
    return [call.venue.shapes.order_list(each) for each in lists]


METHODS = {
    "orderList.place": Method(run=place_old_oco, weight=always(1), count=2, free=True),
    "orderList.place.oco": Method(run=place_oco, weight=always(1), count=2, free=True),
    "orderList.place.oto": Method(run=place_oto, weight=always(1), count=2, free=True),
    "orderList.place.otoco": Method(run=place_otoco, weight=always(1), count=3, free=True),
    "orderList.place.opo": Method(run=place_opo, weight=always(1), count=2, free=True),
    "orderList.place.opoco": Method(run=place_opoco, weight=always(1), count=3, free=True),
    "orderList.cancel": Method(run=cancel_list, weight=always(1), free=True),
    "orderList.status": Method(run=list_status, weight=always(4)),
    "openOrderLists.status": Method(run=open_lists, weight=always(6)),
    "allOrderLists": Method(run=all_lists, weight=always(20)),
}
"""Those of order lists."""
