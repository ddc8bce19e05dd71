"""Own orders: their states, their ids, and what to send next.

An order is a table, (state, event) -> state; a pair that is not in the table raises and changes nothing. What the
exchange tells twice, late or out of order (a NEW after the fill) leaves a terminal order where it is: `filled_lots`
only grows, states only move on. UNKNOWN is a state: sent, no answer; the only way out is to ask the exchange.

`plan` compares what is wanted with what rests and returns one action. It holds the whole policy of the persistent maker
exit: where it rests, when it is re-quoted, how large it is, when a remnant is dust, when a hard stop takes, and what
protects the base while no exit is wanted. It sends nothing and waits for nothing; `Wait.until_ns` says when asking
again could give another answer.
"""

from __future__ import annotations

import enum
import hashlib
import re
from collections.abc import Iterable
from fractions import Fraction
from math import ceil, floor

import attrs

from tetrio.core.market import Protection, Quote, Reason, Side, Want
from tetrio.core.money import SymbolRules
from tetrio.core.params import ExitParams
from tetrio.core.protect import limit_ticks

MS = 1_000_000
TAKE_AGAIN_NS = 1_000_000_000
TOLD_NS = 1_000_000_000  # within which the strategy has heard that a stop has triggered


# -- client order ids --------------------------------------------------------------------------------------------------

JUMPSTART = "j"
_ID = re.compile(
    r"tt-(?P<tag>[0-9a-f]{6})-(?P<nonce>[0-9a-z]{5})-(?P<episode>\d{1,9})(?P<reason>[thmj])-(?P<n>\d{1,9})"
)


def account_tag(account: str, symbol: str) -> str:
    """The six characters by which orders of this account and symbol are known as ours, whatever process made them."""
    return hashlib.sha256(f"{account}/{symbol}".encode()).hexdigest()[:6]


@attrs.frozen
class OrderName:
    """A client order id taken apart: `tt-<tag>-<nonce>-<episode><reason>-<n>`."""

    tag: str
    nonce: str
    episode: int
    reason: str
    """A letter of `Reason`, or `j` for a jumpstart order."""
    number: int

    def __str__(self) -> str:
        return f"tt-{self.tag}-{self.nonce}-{self.episode}{self.reason}-{self.number}"

    @classmethod
    def parse(cls, text: str, tag: str) -> OrderName | None:
        """The name of an order of ours; None for anyone else's id."""
        found = _ID.fullmatch(text)
        if found is None or found["tag"] != tag:
            return None
        return cls(tag, found["nonce"], int(found["episode"]), found["reason"], int(found["n"]))


@attrs.define
class Names:
    """Makes client order ids; none is ever made twice, in this process or (by the nonce) in another."""

    tag: str
    nonce: str
    _last: int = 0

    def next(self, episode: int, reason: str) -> str:
        """A new id, at most 36 characters."""
        self._last += 1
        return str(OrderName(self.tag, self.nonce, episode, reason, self._last))


# -- the order table ---------------------------------------------------------------------------------------------------


class OrderState(enum.Enum):
    """Where an order is, as far as we know."""

    SENT = "sent"
    OPEN = "open"
    UNKNOWN = "unknown"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"

    @property
    def final(self) -> bool:
        """Nothing more can happen to it, but for fills reported late."""
        return self in _FINAL


class OrderEvent(enum.Enum):
    """What can be learnt about an order."""

    ACCEPT = "accept"
    FILL = "fill"
    FILL_ALL = "fill all"
    CANCEL = "cancel"
    EXPIRE = "expire"
    REJECT = "reject"
    LOSE = "lose"
    """It was sent (or a change of it was) and no answer came."""
    ABSENT = "absent"
    """The exchange has been asked for long enough and has never seen it."""


_FINAL = frozenset({OrderState.FILLED, OrderState.CANCELED, OrderState.EXPIRED, OrderState.REJECTED})
_MOVES = {
    OrderEvent.ACCEPT: OrderState.OPEN,
    OrderEvent.FILL: OrderState.OPEN,
    OrderEvent.FILL_ALL: OrderState.FILLED,
    OrderEvent.CANCEL: OrderState.CANCELED,
    OrderEvent.EXPIRE: OrderState.EXPIRED,
}
TABLE: dict[tuple[OrderState, OrderEvent], OrderState] = {
    **{(s, e): to for s in (OrderState.SENT, OrderState.OPEN, OrderState.UNKNOWN) for e, to in _MOVES.items()},
    (OrderState.SENT, OrderEvent.REJECT): OrderState.REJECTED,
    (OrderState.UNKNOWN, OrderEvent.REJECT): OrderState.REJECTED,
    (OrderState.UNKNOWN, OrderEvent.ABSENT): OrderState.REJECTED,
    (OrderState.SENT, OrderEvent.LOSE): OrderState.UNKNOWN,
    (OrderState.OPEN, OrderEvent.LOSE): OrderState.UNKNOWN,
    (OrderState.UNKNOWN, OrderEvent.LOSE): OrderState.UNKNOWN,
    # told late or twice: what is final stays
    **{(s, e): s for s in (OrderState.FILLED, OrderState.CANCELED, OrderState.EXPIRED)
       for e in (OrderEvent.ACCEPT, OrderEvent.FILL)},
    (OrderState.FILLED, OrderEvent.FILL_ALL): OrderState.FILLED,
    (OrderState.CANCELED, OrderEvent.CANCEL): OrderState.CANCELED,
    (OrderState.EXPIRED, OrderEvent.EXPIRE): OrderState.EXPIRED,
    (OrderState.REJECTED, OrderEvent.REJECT): OrderState.REJECTED,
    (OrderState.REJECTED, OrderEvent.ABSENT): OrderState.REJECTED,
}  # fmt: skip

_STATUS_EVENTS = {
    "NEW": OrderEvent.ACCEPT,
    "PENDING_NEW": OrderEvent.ACCEPT,
    "PARTIALLY_FILLED": OrderEvent.FILL,
    "FILLED": OrderEvent.FILL_ALL,
    "CANCELED": OrderEvent.CANCEL,
    "PENDING_CANCEL": OrderEvent.ACCEPT,
    "EXPIRED": OrderEvent.EXPIRE,
    "EXPIRED_IN_MATCH": OrderEvent.EXPIRE,
    "REJECTED": OrderEvent.REJECT,
}


def event_of(status: str) -> OrderEvent:
    """The event that an order status of the exchange stands for; ValueError for one that nobody knows."""
    try:
        return _STATUS_EVENTS[status]
    except KeyError:
        raise ValueError(f"order status {status!r} is not known") from None


@attrs.frozen(kw_only=True)
class OwnOrder:
    """One order of ours."""

    client_order_id: str
    side: Side
    reason: str
    """A letter of `Reason`, or `j` for a jumpstart order."""
    episode: int
    price_ticks: int
    qty_lots: int
    sent_ns: int
    order_id: int | None = None
    filled_lots: int = 0
    state: OrderState = OrderState.SENT
    late: bool = False
    """The exchange itself said that it does not know what became of it: its engine may answer very late."""
    remnant_since_ns: int | None = None
    """Since when what is left of it has been too small to re-quote."""
    take: bool = False
    """IOC: it takes what is there and ends."""
    pegged: bool = False
    """The exchange gave it its price: `price_ticks` is that one once it is known."""
    stop_ticks: int = 0
    """A protective stop's price; 0 in any other order, and in one that trails."""
    trail_bps: int = 0
    """A trailing protective stop's distance, basis points."""
    triggered_ns: int | None = None
    """Of a protective stop: when it was seen that its price had been reached, so that it is on the book or was."""
    spent_tick_lots: int = 0
    """Notional that earlier orders of the same chain of replacements have traded."""

    @property
    def remaining_lots(self) -> int:
        """What could still trade."""
        return self.qty_lots - self.filled_lots

    @property
    def protects(self) -> bool:
        """It was sent as a protective stop."""
        return bool(self.stop_ticks or self.trail_bps)

    @property
    def waits(self) -> bool:
        """A protective stop that waits for its price."""
        return self.protects and self.triggered_ns is None

    def after(self, event: OrderEvent, *, filled_lots: int = 0, order_id: int | None = None) -> OwnOrder:
        """This order after `event`; ValueError when the table has no such move, or more was filled than sent."""
        to = TABLE.get((self.state, event))
        if to is None:
            raise ValueError(
                f"{self.client_order_id}: {event.value!r} cannot happen to an order that is {self.state.value}"
            )
        if filled_lots > self.qty_lots:
            raise ValueError(f"{self.client_order_id}: {filled_lots} lots filled of {self.qty_lots}")
        if to is OrderState.FILLED:
            filled_lots = self.qty_lots
        return attrs.evolve(
            self, state=to, filled_lots=max(self.filled_lots, filled_lots), order_id=order_id or self.order_id
        )


# -- what to send next -------------------------------------------------------------------------------------------------


@attrs.frozen
class Place:
    """Send a new order."""

    side: Side
    reason: str
    episode: int
    price_ticks: int
    qty_lots: int
    take: bool = False
    """IOC within the bound, not post-only."""
    pegged: bool = False
    """The exchange is to price it: the best price of its own side."""
    stop_ticks: int = 0
    """A stop at this price, with `price_ticks` as its limit; 0: none."""
    trail_bps: int = 0
    """A stop that trails by so many basis points, instead of one at `stop_ticks`."""


@attrs.frozen
class Replace:
    """Cancel `order` and, if that succeeds, place the new one."""

    order: OwnOrder
    place: Place
    only_if_new: bool
    """Refuse when the order has traded meanwhile: the new size would then be too large for a reserve or a cap."""


@attrs.frozen
class Cancel:
    """Take `order` away."""

    order: OwnOrder
    why: str


@attrs.frozen
class Wait:
    """Nothing to send now. `until_ns` is when time alone could change that; None: never."""

    why: str
    until_ns: int | None = None


Action = Place | Replace | Cancel | Wait


@attrs.frozen(kw_only=True)
class Sight:
    """All that `plan` looks at."""

    want: Want | None
    protect: Protection | None = None
    """The stop that should rest while nothing is wanted."""
    trail_bps: int = 0
    """It trails by so much; 0: it stands."""
    escalated: bool = False
    """The hard stop that is wanted has begun to take."""
    pegs: bool = False
    """The symbol lets an exit be pegged."""
    quote: Quote | None
    live: OwnOrder | None
    """The one order of ours that rests, if any."""
    base_lots: int
    """Lots that a SELL may give: free, plus what `live` locks, less the reserve."""
    quote_tick_lots: int
    """Tick-lots that a BUY may give, reckoned alike."""
    now_ns: int
    last_sent_ns: int | None = None
    """When the last order was sent."""
    last_taken_ns: int | None = None
    """When the last taking order was sent."""
    not_before_ns: int = 0
    """Back-off, breaker or order-count budget: no new order before this."""
    why_not: str = ""
    """What `not_before_ns` stands for."""
    refused_ticks: int | None = None
    """Price of the post-only order that was just refused."""
    reserved: bool = False
    """A reserve or a cap is configured: an order must never trade more than the size it was meant to have."""
    max_notional_tick_lots: int = 0
    """Cap of one exit; 0 is none."""


def target_ticks(side: Side, chase: str, quote: Quote, own_ticks: int | None, refused_ticks: int | None = None) -> int:
    """Where an exit should rest now.

    own_ticks      where it rests; None when it does not
    refused_ticks  the price of a post-only order that was just refused

    join     the best price of our own side (the ask for a SELL, the bid for a BUY); for peg the same
    improve  one tick inside the spread where there is room; stays where it is once it is the best
    touch    the best price of the other side, which posts only when the market has moved away from it: refused, it
             is tried again at the same price once that is free; resting, it joins when it is no longer the best
    """
    near, far = (quote.ask, quote.bid) if side is Side.SELL else (quote.bid, quote.ask)
    sign = 1 if side is Side.SELL else -1
    if chase == "touch":
        if own_ticks is not None:
            return near if (own_ticks - near) * sign > 0 else own_ticks
        return refused_ticks if refused_ticks is not None and (refused_ticks - far) * sign > 0 else far
    if chase == "improve" and own_ticks != near and abs(near - far) > 1:
        return near - sign
    return near


def escalates(want: Want, quote: Quote, now_ns: int, params: ExitParams) -> bool:
    """Whether a hard stop has waited for long enough, or the price run far enough beyond it, for it to take."""
    if want.reason is not Reason.HARD_STOP or want.side is not Side.SELL:
        return False
    due = _escalation_ns(want, params)
    if due is not None and now_ns >= due:
        return True
    share = params.escalate_bps / 10_000
    return bool(params.escalate_bps and want.stop) and quote.bid <= want.stop * (1 - share)


def _escalation_ns(want: Want, params: ExitParams) -> int | None:
    if not (params.escalate_after_s and want.since_ns) or want.reason is not Reason.HARD_STOP:
        return None
    return want.since_ns + round(params.escalate_after_s * 1e9)


def exit_lots(side: Side, price_ticks: int, sight: Sight, spent_tick_lots: int, rules: SymbolRules) -> int:
    """How much an exit at this price should be: all there is, within the caps of one exit and of one order."""
    lots = sight.base_lots if side is Side.SELL else sight.quote_tick_lots // price_ticks
    if sight.max_notional_tick_lots:
        lots = min(lots, max(0, sight.max_notional_tick_lots - spent_tick_lots) // price_ticks)
    if rules.max_notional:
        lots = min(lots, rules.floor_tick_lots(rules.max_notional) // price_ticks)
    return min(lots, rules.max_qty_lots) if rules.max_qty_lots else lots


def plan(sight: Sight, params: ExitParams, rules: SymbolRules) -> Action:
    """The one thing to do now, so that what rests becomes what is wanted."""
    action = _plan(sight, params, rules)
    due = _escalation_ns(sight.want, params) if sight.want is not None else None
    if isinstance(action, Wait) and due is not None and due > sight.now_ns:
        return Wait(action.why, due if action.until_ns is None else min(action.until_ns, due))
    return action


def _plan(sight: Sight, params: ExitParams, rules: SymbolRules) -> Action:
    live, want = sight.live, sight.want
    if live is not None and live.remnant_since_ns is not None:
        return _mind_remnant(live, live.remnant_since_ns, sight, params)
    if want is None:
        return _protect(sight, params, rules)
    if live is not None and live.side is not want.side:
        return Cancel(live, "the other side is wanted")
    if sight.quote is None:
        return Wait("no book yet")
    if want.take or sight.escalated or escalates(want, sight.quote, sight.now_ns, params):
        return _take(want, sight.quote, sight, params, rules)
    own = live.price_ticks if live else None
    price = target_ticks(want.side, params.chase, sight.quote, own, sight.refused_ticks)
    if live is None:
        return _place(want, price, sight, rules)
    return _requote(live, want, price, sight, params, rules)


def _protect(sight: Sight, params: ExitParams, rules: SymbolRules) -> Action:
    """No exit is wanted: a stop rests where one is asked for, and nothing else of ours."""
    guard, live = sight.protect, sight.live
    if live is not None and live.triggered_ns is not None and sight.now_ns < live.triggered_ns + TOLD_NS:
        return Wait("the protective stop has triggered and is the exit", live.triggered_ns + TOLD_NS)
    if guard is None:
        return Cancel(live, "nothing is wanted") if live else Wait("nothing is wanted")
    place = _stop(guard, sight, params, rules)
    if not rules.sellable(place.qty_lots, place.price_ticks):
        return Cancel(live, "nothing is wanted") if live else Wait("what is held is below the symbol's filters")
    if live is None:
        return _held_back(sight) or place
    if live.waits and _same_stop(live, place):
        return Wait("the protective stop rests where it should")
    if (held := _held_back(sight)) is not None:
        return held
    due = (sight.last_sent_ns or 0) + params.requote_ms * MS
    if live.waits and sight.last_sent_ns is not None and sight.now_ns < due:
        return Wait("moved a moment ago", due)
    if sight.reserved and live.filled_lots:
        return Cancel(live, "a protective stop for a part-filled exit beside a reserve")
    return Replace(live, place, only_if_new=sight.reserved)


def _stop(guard: Protection, sight: Sight, params: ExitParams, rules: SymbolRules) -> Place:
    """The stop for the whole sleeve: the cap of one exit is not for it, since nobody may be there for the rest."""
    price = limit_ticks(guard.stop_ticks, params.max_slippage_bps)
    lots = exit_lots(Side.SELL, price, attrs.evolve(sight, max_notional_tick_lots=0), 0, rules)
    stop = 0 if sight.trail_bps else guard.stop_ticks
    return Place(
        Side.SELL, Reason.HARD_STOP.value, guard.episode, price, lots, stop_ticks=stop, trail_bps=sight.trail_bps
    )


def _same_stop(live: OwnOrder, place: Place) -> bool:
    """A trailing one is left where it has trailed to: placed anew it would begin farther away."""
    if live.qty_lots != place.qty_lots or live.trail_bps != place.trail_bps:
        return False
    return bool(live.trail_bps) or (live.stop_ticks, live.price_ticks) == (place.stop_ticks, place.price_ticks)


def _mind_remnant(live: OwnOrder, since_ns: int, sight: Sight, params: ExitParams) -> Action:
    """What is left is too small to re-quote: it rests until filled, for a while, or until the other side is wanted."""
    until = since_ns + round(params.dust_after_s * 1e9)
    if sight.want is not None and sight.want.side is not live.side:
        return Cancel(live, "dust in the way of the other side")
    if sight.now_ns >= until:
        return Cancel(live, "dust")
    return Wait("a remnant too small to re-quote rests", until)


def _held_back(sight: Sight) -> Wait | None:
    return Wait(sight.why_not, sight.not_before_ns) if sight.now_ns < sight.not_before_ns else None


def _place(want: Want, price: int, sight: Sight, rules: SymbolRules) -> Action:
    lots = exit_lots(want.side, _dearest(want.side, price, sight), sight, 0, rules)
    if not rules.sellable(lots, price):
        return Wait("what is held is below the symbol's filters")
    return _held_back(sight) or Place(want.side, want.reason.value, want.episode, price, lots, pegged=sight.pegs)


def _dearest(side: Side, price: int, sight: Sight) -> int:
    """The price that a size is reckoned by: a BUY that the exchange prices may come to rest higher, up to the ask."""
    if side is Side.BUY and sight.pegs and sight.quote is not None:
        return sight.quote.ask
    return price


def _requote(live: OwnOrder, want: Want, price: int, sight: Sight, params: ExitParams, rules: SymbolRules) -> Action:
    taken_over = live.reason != want.reason.value
    if abs(price - live.price_ticks) < params.requote_ticks and not taken_over and not live.waits:
        return Wait("it rests where it should")
    spent = live.spent_tick_lots + live.filled_lots * live.price_ticks
    lots = exit_lots(want.side, _dearest(want.side, price, sight), sight, spent, rules)
    if not rules.sellable(lots, price):
        return Wait("what is left is below the symbol's filters at the new price")
    if (held := _held_back(sight)) is not None:
        return held
    due = (sight.last_sent_ns or 0) + params.requote_ms * MS
    if sight.last_sent_ns is not None and sight.now_ns < due and not live.waits:
        return Wait("re-quoted a moment ago", due)
    if sight.reserved and live.filled_lots:
        # a fill on the way would let the new order trade more than was meant: cancel first, then size from balances
        return Cancel(live, "re-quote of a part-filled exit beside a reserve")
    place = Place(want.side, want.reason.value, want.episode, price, lots, pegged=sight.pegs)
    return Replace(live, place, only_if_new=sight.reserved)


def bound_ticks(side: Side, quote: Quote, max_slippage_bps: float) -> int:
    """The worst price that a taking order may trade at: within the slippage of the best price of the other side."""
    share = Fraction(max_slippage_bps) / 10_000
    if side is Side.SELL:
        return max(1, ceil(quote.bid * (1 - share)))
    return floor(quote.ask * (1 + share))


def _take(want: Want, quote: Quote, sight: Sight, params: ExitParams, rules: SymbolRules) -> Action:
    """Take what is there within the bound; what is left again from a fresh book a second later."""
    price, live = bound_ticks(want.side, quote, params.max_slippage_bps), sight.live
    spent = live.spent_tick_lots + live.filled_lots * live.price_ticks if live else 0
    lots = exit_lots(want.side, price, sight, spent, rules)
    if not rules.sellable(lots, price):
        return Wait("what is held is below the symbol's filters")
    due = (sight.last_taken_ns or 0) + TAKE_AGAIN_NS
    if sight.last_taken_ns is not None and sight.now_ns < due:
        return Wait("took what was there a moment ago", due)
    if (held := _held_back(sight)) is not None:
        return held
    place = Place(want.side, want.reason.value, want.episode, price, lots, take=True)
    if live is None:
        return place
    if sight.reserved and live.filled_lots:
        return Cancel(live, "taking the rest of a part-filled exit beside a reserve")
    return Replace(live, place, only_if_new=sight.reserved)


def remnant(order: OwnOrder, rules: SymbolRules) -> bool:
    """Whether what is left of a part-filled order could not be placed again."""
    return 0 < order.filled_lots < order.qty_lots and not rules.sellable(order.remaining_lots, order.price_ticks)


def own_orders(orders: Iterable[OwnOrder], *, final: bool) -> list[OwnOrder]:
    """Those of `orders` that are final, or those that are not."""
    return [order for order in orders if order.state.final is final]


def reason_of(letter: str) -> Reason | None:
    """The reason that a letter of an id stands for; None for a jumpstart order."""
    return None if letter == JUMPSTART else Reason(letter)
