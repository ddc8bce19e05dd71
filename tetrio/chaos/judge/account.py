"""What the account holds and which own orders are open, by the exchange's record alone.

S1   never sells more than is held        S3   one live order at most
S2   never spends more than is held       S6   post-only, but for what may take
S30  every balance is accounted for
"""

from __future__ import annotations

import collections
from decimal import Decimal, InvalidOperation

import attrs

from tetrio.chaos.judge.case import HARD_STOP, IN_FLIGHT_S, JUMPSTART, MANUAL, OWN, Case, Line, reason

PROTECTIVE = frozenset({"STOP_LOSS_LIMIT"})
HELD_WITHIN_S = 30.0
"""An order is for what was held at some time within that: the bot cannot know better."""
WITHDRAWALS = 20
MISLED_S = 60.0
"""After copies have caught up: so long what they told may be taken for so."""


@attrs.define
class Order:
    """An order that the record shows open."""

    name: str
    side: str
    kind: str
    price: Decimal
    qty: Decimal
    filled: Decimal = Decimal(0)


class Account:
    """Balances, and the orders that lock them."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self.totals: dict[str, Decimal] = {}
        self.most_live = 0
        """Own orders that were open at a time, at most."""
        self.numbers: dict[int, str] = {}
        """Order number -> client order id."""
        self.moved_s: dict[str, float] = {}
        """When some of an asset last came or went without a trade."""
        self.flattened = False
        """The operator has said flatten: a manual exit may take from now on."""
        self._open: dict[str, Order] = {}
        self._before: collections.deque[tuple[float, str, Decimal]] = collections.deque()
        """(until when, asset, how much of it was held)."""
        self._withdrawn: collections.deque[tuple[float, str, Decimal]] = collections.deque(maxlen=WITHDRAWALS)

    @property
    def open_orders(self) -> list[str]:
        """Own orders that the record shows open."""
        return [name for name in self._open if name.startswith(OWN)]

    def audit(self, line: Line) -> None:
        """A line of the record. What is locked from outside is locked by no order: totals stay."""
        match line["ev"]:
            case "deposit":
                self._flows(line["asset"], Decimal(line["amount"]))
            case "withdraw":
                self._flows(line["asset"], -Decimal(line["amount"]))
            case "accept" if line["client_order_id"].startswith(OWN):
                self._accept(line)
            case "amend" if line["client_order_id"] in self._open:
                self._open[line["client_order_id"]].qty = Decimal(line["qty"])
            case "fill":
                self._fill(line)
            case "cancel" | "expire":
                self._open.pop(line["client_order_id"], None)

    def check_balances(self, line: Line) -> None:
        """What a line says is held must be what all lines so far add up to."""
        for asset, (free, locked) in line.get("balances", {}).items():
            held, due = (Decimal(free), Decimal(locked)), self.totals.get(asset, Decimal(0))
            if min(held) < 0 or sum(held) != due:
                self._case.breach("S30", f"{asset}: {free} free and {locked} locked told, {due} accounted for")
                self.totals[asset] = Decimal(free) + Decimal(locked)

    # -- what moves -------------------------------------------------------------------------------------------------
    def _flows(self, asset: str, amount: Decimal) -> None:
        self.moved_s[asset] = self._case.now_s
        self._move(asset, amount)
        if amount < 0:
            self._withdrawn.append((self._case.now_s, asset, -amount))

    def _move(self, asset: str, amount: Decimal) -> None:
        held = self.totals.get(asset, Decimal(0))
        self.totals[asset] = held + amount
        self._before.append((self._case.now_s, asset, held))
        while self._before[0][0] < self._case.now_s - HELD_WITHIN_S - IN_FLIGHT_S:
            self._before.popleft()

    def most_held(self, asset: str, since_s: float) -> Decimal:
        """The most of an asset that was held at any time since then, reserve included."""
        before = (held for until_s, each, held in self._before if each == asset and until_s >= since_s)
        return max(self.totals.get(asset, Decimal(0)), *before, Decimal(0))

    # -- orders -----------------------------------------------------------------------------------------------------
    def _accept(self, line: Line) -> None:
        name = line["client_order_id"]
        order = Order(name, line["side"], line["type"], Decimal(line.get("price") or 0), Decimal(line["qty"]))
        self._open[name] = order
        self.numbers[line["order_id"]] = name
        self._case.keep_newest(self.numbers)
        live = self.open_orders
        self.most_live = max(self.most_live, len(live))
        if len(live) > 1:
            self._case.breach("S3", f"{len(live)} live orders: {', '.join(live)}")
        if order.kind != "LIMIT_MAKER" and not self._may_take(order):
            self._case.breach("S6", f"{name} is {order.kind}")
        self._within(order)

    def _may_take(self, order: Order) -> bool:
        terms, why = self._case.terms, reason(order.name)
        if order.kind in PROTECTIVE:
            return terms.protects and why == HARD_STOP
        return order.kind == "LIMIT" and ((why == HARD_STOP and terms.takes) or (why == MANUAL and self.flattened))

    def _within(self, order: Order) -> None:
        """Against all that is held: what the other own orders lock would be a breach of its own.

        Beside a reserve the exchange lets it lean on that where something was withdrawn while it was under way.
        """
        terms = self._case.terms
        if reason(order.name) == JUMPSTART:  # deep, smallest, and gone at once: it may lean on the reserve
            terms = attrs.evolve(terms, reserve_base=Decimal(0), reserve_quote=Decimal(0))
        if order.side == "SELL":
            held = self._free_to_use(terms.base, terms.reserve_base)
            if order.qty > held:
                self._case.breach("S1", f"{order.name} sells {order.qty} of {held}")
        else:
            held = self._free_to_use(terms.quote, terms.reserve_quote)
            if order.qty * order.price > held:
                self._case.breach("S2", f"{order.name} spends {order.qty * order.price} of {held}")

    def _free_to_use(self, asset: str, reserve: Decimal) -> Decimal:
        """All but the reserve, as it was when an order that arrives now may have been sent."""
        since_s, total = self._case.now_s - IN_FLIGHT_S, self.totals.get(asset, Decimal(0))
        gone = (amount for at_s, each, amount in self._withdrawn if each == asset and at_s >= since_s)
        return min(total, total + sum(gone, Decimal(0)) - reserve)

    def _fill(self, line: Line) -> None:
        terms, qty, price = self._case.terms, Decimal(line["last_qty"]), Decimal(line["last_price"])
        sign = 1 if line["side"] == "BUY" else -1
        self._move(terms.base, sign * qty)
        self._move(terms.quote, -sign * qty * price)
        self._move(line["commission_asset"], -Decimal(line["commission"]))
        order = self._open.get(line["client_order_id"])
        if order is None:
            return
        order.filled += qty
        if order.filled > order.qty:
            self._case.breach("S1", f"{order.name} filled {order.filled} of {order.qty}")
        if not line["maker"] and order.kind == "LIMIT_MAKER":
            self._case.breach("S6", f"{order.name} took")
        if line["status"] == "FILLED":
            del self._open[order.name]


class Asking:
    """Whether the bot asks for more than has been held of late, whatever the exchange says to it."""

    def __init__(self, case: Case, account: Account) -> None:
        self._case, self._account = case, account
        self._too_much: tuple[int, dict[str, Decimal]] | None = None
        """Which process has asked for too much, and what was held."""

    def asks(self, name: str, life: int, params: Line, at_s: float) -> None:
        """An order was asked for at that time, by that process.

        Where a copy that was behind has told it so, once it may be too much; refused, it has to look again.
        """
        asked = self._asked(params)
        if asked is None:
            return
        invariant, asset, amount, reserve = asked
        most = self._account.most_held(asset, at_s - HELD_WITHIN_S) - reserve
        if amount <= most:
            return
        again = life, dict(self._account.totals)
        misled = self._case.lagged(at_s - MISLED_S, at_s)
        if not misled or self._too_much == again:
            self._case.breach(invariant, f"{name} asks for {amount} {asset} of at most {most}")
        self._too_much = again

    def _asked(self, params: Line) -> tuple[str, str, Decimal, Decimal] | None:
        """Invariant, asset, how much of it, and what of it is nobody's to trade; None where it cannot be said."""
        terms = self._case.terms
        if "quantity" not in params or "price" not in params:
            return None
        try:
            qty, price = Decimal(str(params["quantity"])), Decimal(str(params["price"]))
        except InvalidOperation:
            return None  # the exchange will refuse it
        if params.get("side") == "SELL":
            return "S1", terms.base, qty, terms.reserve_base
        return "S2", terms.quote, qty * price, terms.reserve_quote
