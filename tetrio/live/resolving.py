"""What became of an order whose outcome is not known: asked for by the name that was written down before sending.

When may it be taken for absent? The exchange looks at recvWindow once more just before its engine, so nothing enters
later than that; then a replica may be some seconds behind. Where the exchange itself said that it does not know (a 5xx,
-1006, -1007) or is silent although the link lives, its engine has the request and may be slow: that is given half a
minute.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from tetrio.core.orders import OrderEvent, OrderState, OwnOrder
from tetrio.errors import OrderRejected, OrderUnknown
from tetrio.live.link import REPLY_S
from tetrio.live.session import Session
from tetrio.live.sleeve import Sleeve
from tetrio.wire.codes import is_no_such_order
from tetrio.wire.request import OrderStatus, result_of

NS = 1_000_000_000
PROBE_S = 1.0
ABSENT_AFTER_S = 13.0  # recvWindow (3 s), and a replica that is 8 s behind
LATE_S = 33.0  # recvWindow, and an engine that answers up to half a minute late (-1007 comes after 10 s)
PARTING_S = 13.0  # whatever was said, at a goodbye, which may not last longer than 15 s
PROBES = 2
PROBES_APART_S = 2.0  # a replica that is behind is asked again when it may have caught up


async def resolve(
    session: Session,
    sleeve: Sleeve,
    order: OwnOrder,
    now_ns: Callable[[], int],
    *,
    within_s: float = REPLY_S,
    absent_after_s: float | None = None,
) -> None:
    """Ask for an order until it is known, or known never to have been; each reply is waited for `within_s`.

    An order that the exchange has once given a number cannot be absent: a query that does not find it is late. Absent
    is what `PROBES` queries, apart in time, have not found, the last of them `absent_after_s` after it was sent (None:
    as the header says).
    """
    name, probes, probed_ns = order.client_order_id, 0, 0
    params = {"symbol": sleeve.rules.name, "origClientOrderId": name}
    while (known := sleeve.get(name)) is not None and known.state is OrderState.UNKNOWN:
        reply = await session.request("order.status", params, within_s=within_s)
        try:
            sleeve.take_status(result_of(reply, OrderStatus))
        except OrderRejected as error:
            if not is_no_such_order(error):
                raise
            now = now_ns()
            if not probes or now - probed_ns >= PROBES_APART_S * NS:
                probes, probed_ns = probes + 1, now
            waited = now - order.sent_ns
            enough_s = absent_after_s or (LATE_S if known.late else ABSENT_AFTER_S)
            if known.order_id is None and probes >= PROBES and waited >= enough_s * NS:
                sleeve.learn(name, OrderEvent.ABSENT, code=error.code)
                return
            await trio.sleep(PROBE_S)
        except OrderUnknown:
            await trio.sleep(PROBE_S)
