"""One request of either face, WebSocket API or REST: what it costs, whether the caller may, in time; then the doing.

A method is found by its WebSocket API name in the tables of `queries` (public) and `trading` (signed); this adds what
is the same for both faces and not the method's own business. How a request came and how the answer goes out is the
face's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from tetrio.sim.face import queries, trading
from tetrio.sim.face.auth import Security, check_late
from tetrio.sim.face.call import Call, Method
from tetrio.sim.face.checks import NO_SUCH_SYMBOL, Params, Refused
from tetrio.sim.face.limits import Address
from tetrio.sim.face.queries import Query
from tetrio.sim.fault.replica import QUERIES

_TRADE = frozenset(
    (
        *("order.test", "order.cancel", "order.amend.keepPriority", "openOrders.cancelAll"),
        *("orderList.cancel", "sor.order.test"),
    )
)
"""Methods of the security type TRADE beside those that place orders; the other signed ones are USER_DATA."""


@attrs.frozen(kw_only=True)
class Endpoint:
    """One method, as a face calls it."""

    run: Callable[[Call], object]
    weight: Callable[[Params], int]
    security: Security = Security.NONE
    counts: int = 0
    """Orders that it adds to the unfilled-order count; replies of those that do tell the counts."""
    free: bool = False
    """Whether a success costs no weight."""


def public(query: Query) -> Endpoint:
    """A query, as an endpoint."""
    return Endpoint(run=lambda call: query.run(call.venue, call.params), weight=query.weight)


def _signed(name: str, method: Method) -> Endpoint:

    def run(call: Call) -> object:
        call.venue = call.venue.as_of(name)
        return method.run(call)

    return Endpoint(
        run=run if name in QUERIES else method.run,
        weight=method.weight,
        security=Security.TRADE if method.count or name in _TRADE else Security.USER_DATA,
        counts=method.count,
        free=method.free,
    )


ENDPOINTS: Mapping[str, Endpoint] = {
    **{name: public(query) for name, query in queries.WEBSOCKET.items()},
    **{name: _signed(name, method) for name, method in trading.METHODS.items()},
}
"""By method of the WebSocket API."""


def perform(
    endpoint: Endpoint, call: Call, address: Address, authorize: Callable[[int], str], arrived_ms: int | None = None
) -> object:
    """The result; Refused or Rejected.

    authorize    gives the API key that signed the request, seen at a service time; Refused
    arrived_ms   when the request reached the exchange, where that is not now: a signed one is looked at as of then and,
                 since it may have become too old inside, again now
    """
    venue = call.venue
    now_ms = venue.now_ms()
    weight = endpoint.weight(call.params)
    address.spend(weight, now_ms)
    if endpoint.security is not Security.NONE:
        call.api_key = authorize(now_ms if arrived_ms is None else arrived_ms)
        venue.keys.permit(call.api_key, endpoint.security)
        if arrived_ms is not None and arrived_ms < now_ms:
            _check_late(endpoint, call, now_ms)
    if not venue.listed and call.params.values.get("symbol") == venue.symbol:
        raise Refused(*NO_SUCH_SYMBOL)
    result = endpoint.run(call)
    if endpoint.free or call.free:
        address.refund(weight, now_ms)
    return result


def _check_late(endpoint: Endpoint, call: Call, now_ms: int) -> None:
    """Refuse a request that has become too old within the exchange, and count its orders."""
    try:
        check_late(call.params, now_ms)
    except Refused:
        if endpoint.counts:
            call.venue.orders.add(now_ms, endpoint.counts)
        raise
