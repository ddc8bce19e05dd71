"""One signed request on its way: what a method takes, what it leaves behind, and what the table says of it.

Methods of `trading`, `orderlists` and `account` are functions of a `Call`. What the engine did on the way stands in the
call's `events` and `prints`, also when the answer is a refusal: they are told after the reply. The record is written at
once. REST and the WebSocket API run the same methods.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from tetrio.sim.engine.orders import TradePrint, UserEvent
from tetrio.sim.face.checks import Params, Refused
from tetrio.sim.face.venue import Venue


@attrs.define
class Call:
    """One signed request on its way."""

    venue: Venue
    params: Params
    events: tuple[UserEvent, ...] = ()
    prints: tuple[TradePrint, ...] = ()
    api_key: str = ""
    """Who has signed it, once that is known."""
    free: bool = False
    """Its success costs no weight, though those of its method do."""

    def did(self, events: Sequence[UserEvent], prints: Sequence[TradePrint] = ()) -> None:
        """The engine has done something."""
        self.venue.change(events)
        self.events += tuple(events)
        self.prints += tuple(prints)


@attrs.frozen(kw_only=True)
class Method:
    """One signed method."""

    run: Callable[[Call], object]
    weight: Callable[[Params], int]
    count: int = 0
    """What a success adds to the unfilled-order count."""
    free: bool = False
    """Whether a success costs no weight."""

    @property
    def orders(self) -> bool:
        """Whether replies tell the order counts: those of every method that places orders do."""
        return self.count > 0


def always(weight: int) -> Callable[[Params], int]:
    """A weight that does not depend on the parameters."""
    return lambda params: weight


def admit(venue: Venue) -> None:
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


def count(venue: Venue, orders: int, now_ms: int) -> None:
    """That many orders were sent; to be said before the credit of their first fills."""
    for _ in range(orders):
        venue.orders.add(now_ms)
