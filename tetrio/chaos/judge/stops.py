"""The hard stop: that it is where it was, and that what is due is done.

    L4   a stop's first exit order is sent within 2 s of its trigger, and all is sold within the policy's bound
    S12  a process that has rebuilt its state has the stop where it was before
    S13  once a stop is due, no order but its own is sent, and none locks what it has to sell

Whether a stop was reached is told by the exchange's public trades, and what is held by its record; where it lies, by
the record wherever that can. A BUY by a take-profit that makes the base sellable begins a regime whose anchor is the
price of that trade, behind a gate that is open, since a take-profit is armed behind no other: the stop lies `hard_stop`
below, and is due when so many public trades in a row as must confirm it are beyond.

What else may begin a regime (a deposit, a manual exit, an opening gate) leaves no such trace. There the level can only
come from the bot's journal: it is where the bot once said that it was, and from then on the record's to move. So a
level that the bot has wrong from the beginning is not seen there, but one that it forgets is, and a stop that it does
not hear of. The operator's words that take an exit back, or keep one from being armed, end what is known.

By `reference = "book"` an anchor is a best price, of which there is no record: nothing is judged there. Nor is it while
something else is wrong, or the process is not ready: then what is due is due 2 s after that.
"""

from __future__ import annotations

import collections
import math
from collections.abc import Sequence
from decimal import Decimal

from tetrio.chaos.judge.account import Account
from tetrio.chaos.judge.case import HARD_STOP, TAKE_PROFIT, Case, Line, Trade, episode, reason
from tetrio.chaos.judge.lives import Roll
from tetrio.chaos.judge.outcomes import Outcomes
from tetrio.chaos.judge.sessions import Sessions

ORDER_S = 2.0
"""From trigger to the first exit order."""
UNDER_WAY_S = 1.0
"""For what was decided before, or cannot be taken back at once: a round trip, and a pause between two re-quotes."""
CERTAIN = 2
"""So many times the least order must what is held be worth: near that, one lot decides whether it can be sold."""


class Buying:
    """A BUY by a take-profit: whether the gate has stayed open until it has traded.

    While the quote is held a price that is too high closes the gate, and calls such a BUY off. So whoever sends one
    more order of it has met no such price before; the first is sent below the price at which the regime began. What is
    no higher than that closes nothing.
    """

    def __init__(self, name: str, price: Decimal, hard_stop: Decimal) -> None:
        self.name = name
        """Of its orders, what they have in common."""
        self._harmless = price * (1 + hard_stop / 2)
        self._met: collections.deque[tuple[float, Decimal]] = collections.deque()
        """Prices that may not have been heard of when the last order was sent: when, and which."""

    def traded(self, now_s: float, price: Decimal) -> None:
        """The public has traded; an earlier price that was no higher cannot matter more."""
        while self._met and self._met[-1][1] <= price:
            self._met.pop()
        self._met.append((now_s, price))

    def sent(self, now_s: float) -> None:
        """One more order of it is accepted."""
        while self._met and self._met[0][0] < now_s - UNDER_WAY_S:
            self._harmless = max(self._harmless, self._met.popleft()[1])

    @property
    def undisputed(self) -> bool:
        """Whether no price has been met that may have closed the gate."""
        return all(price <= self._harmless for _, price in self._met)


class Level:
    """Where the stop is, and whether it was reached."""

    def __init__(self, case: Case, account: Account) -> None:
        self._case, self._account = case, account
        self.anchor: Decimal | None = None
        """None: nobody has told."""
        self.recorded = False
        """It is the record that tells, not the bot."""
        self.reached_s: float | None = None
        self.paused = False
        """No stop is armed meanwhile: a halt pauses, too."""
        self.flattened = False
        """All is being sold at once by the operator's word: that goes on whatever the price."""
        self._lowest = Decimal(0)
        """The lowest price since the anchor."""
        self._since_id = self._last_id = 0
        self._beyond = 0
        self._price = Decimal(0)
        self._least_qty, self._least_notional = case.terms.least_qty, case.terms.least_notional
        """Of an order, in base and in quote units, as the exchange has it now."""
        self._sells = False
        self._buying: Buying | None = None
        """The latest."""

    @property
    def near(self) -> bool:
        """Whether a price was met that is at the stop, or beyond it."""
        stop = self._case.terms.hard_stop
        return self.anchor is not None and stop is not None and self._lowest <= self.anchor * (1 - stop)

    @property
    def worth(self) -> Decimal:
        """Of what may be sold, as a multiple of the least order that the exchange takes."""
        qty = self._sellable_qty
        if not qty or not self._least_notional or not self._least_qty:
            return Decimal(0)
        return min(qty * self._price / self._least_notional, qty / self._least_qty)

    @property
    def _sellable_qty(self) -> Decimal:
        terms = self._case.terms
        return max(Decimal(0), self._account.totals.get(terms.base, Decimal(0)) - terms.reserve_base)

    def forget(self) -> None:
        """The record does not tell where it is."""
        self.anchor = self.reached_s = None
        self._beyond, self.recorded = 0, False

    def rules_changed(self, least_qty: Decimal, least_notional: Decimal) -> None:
        """What can be sold is not as it was: another regime may begin."""
        self._least_qty, self._least_notional = least_qty, least_notional
        self.forget()

    def audit(self, line: Line) -> None:
        """A line of the record, of which the account has been told."""
        if line["ev"] == "accept" and line["side"] == "BUY" and reason(line["client_order_id"]) == TAKE_PROFIT:
            self._buys(episode(line["client_order_id"]))
        elif line["ev"] == "fill":
            self._price = Decimal(line["last_price"])
            self._held(line)
        elif line["ev"] in ("deposit", "withdraw"):
            self._held(None)

    def market(self, trades: Sequence[Trade]) -> None:
        """Public trades, own ones among them, oldest first."""
        for trade_id, price in trades:
            self._price, self._last_id = price, trade_id
            if self._buying is not None:
                self._buying.traded(self._case.now_s, price)
            self._held(None)
            if self.anchor is not None and self.reached_s is None and trade_id > self._since_id:
                self._meet(self.anchor, price)

    def believed(self, regime: str, anchor: Decimal | None, gate: str) -> None:
        """The bot tells what it takes for so; it counts where the record tells nothing."""
        if self.recorded or self.paused or self.flattened or not self._sells or self._case.terms.hard_stop is None:
            return
        if regime != "BASE" or anchor is None:
            self.forget()
        elif gate == "open" and self.reached_s is None:
            self._set(anchor, self._last_id, recorded=False)
        elif gate == "closed" and self.anchor is not None and self.reached_s is None:
            self.reached_s = self._case.now_s  # it has heard of it before the level was told

    def _set(self, anchor: Decimal, since_id: int, *, recorded: bool) -> None:
        self.anchor, self.recorded, self._since_id = anchor, recorded, since_id
        self._lowest, self._beyond = self._price, 0

    def _buys(self, name: str) -> None:
        stop = self._case.terms.hard_stop
        if stop is not None and (self._buying is None or self._buying.name != name):
            self._buying = Buying(name, self._price, stop)
        elif self._buying is not None:
            self._buying.sent(self._case.now_s)

    def _meet(self, anchor: Decimal, price: Decimal) -> None:
        terms = self._case.terms
        assert terms.hard_stop is not None, "there is an anchor only where there is a stop"
        self._lowest = min(self._lowest, price)
        self._beyond = self._beyond + 1 if price < anchor * (1 - terms.hard_stop) else 0
        if self._beyond >= terms.stop_confirm and not self.paused:
            self.reached_s = self._case.now_s

    def _held(self, fill: Line | None) -> None:
        """What is held may have changed, or what it is worth: whether that ends a regime, or begins one."""
        before, self._sells = self._sells, self.worth >= 1
        if self._sells is not before:
            self.forget()
            self.flattened = False
            if self._sells and fill is not None and self._begins(fill):
                self._set(self._price, fill["trade_id"], recorded=True)

    def _begins(self, fill: Line) -> bool:
        """Whether the record tells all of the regime that this trade has begun."""
        name, buying = fill["client_order_id"], self._buying
        bought = fill["side"] == "BUY" and buying is not None and buying.name == episode(name)
        return bought and not self.paused and buying is not None and buying.undisputed


class Stops:
    """Whether what is due is done."""

    def __init__(self, case: Case, roll: Roll, account: Account, sessions: Sessions, outcomes: Outcomes) -> None:
        self._case, self._roll, self._account = case, roll, account
        self._sessions, self._outcomes = sessions, outcomes
        self._level = Level(case, account)
        self._obeyed = self._locked = self._kept = False
        """What has been seen since the stop was reached: an exit order of its own; breaches, each told once."""
        self._unseen_s = -math.inf
        """When it was last no fault of the bot's that nothing was done."""
        self._gate = "open"
        """As the process tells it."""
        self._ready = False
        """The process has said so since it last had no session in step."""
        self.judged = 0
        """Stops that were due with nothing else wrong, and whose orders have come."""
        self._counted_s: float | None = None

    # -- what it is told --------------------------------------------------------------------------------------------
    def audit(self, line: Line) -> None:
        """A line of the record, of which account and sessions have been told."""
        self._ready = self._ready and self._sessions.in_step
        self._level.audit(line)
        self._judge()

    def market(self, trades: Sequence[Trade]) -> None:
        """Public trades, own ones among them, oldest first."""
        self._level.market(trades)
        self._judge()

    def ready(self) -> None:
        """The process says that it has caught up."""
        self._ready = True

    def said(self, word: str) -> None:
        """A word of the operator's was obeyed."""
        if word in ("pause", "halt", "resume"):
            self._level.paused = word != "resume"
        if word == "halt" and not self._obeyed:
            self._level.reached_s = None  # it may not have heard of the price before: then the next one counts
        self._level.flattened |= word == "flatten"
        if word in ("pause", "disarm", "halt"):
            self._level.flattened = False
        if word in ("pause", "flatten") or (word == "disarm" and self._level.reached_s is not None):
            self._level.forget()
        self._unseen_s = self._case.now_s

    def words_lost(self) -> None:
        """It is not known whether stops are armed: not until the next word that tells."""
        self._level.paused = True

    def rules_changed(self, least_qty: Decimal, least_notional: Decimal) -> None:
        """The exchange takes other orders, of so much at least."""
        self._level.rules_changed(least_qty, least_notional)

    def sent(self, name: str, life: int, side: str) -> None:
        """A mutation has come, that places an order."""
        self._judge()
        if life != self._roll.latest or side != "SELL" or self._level.reached_s is None:
            return
        if reason(name) == HARD_STOP:
            self._obeyed = True
        elif reason(name) == TAKE_PROFIT and self._in_sight and self._waited_s > UNDER_WAY_S:
            self._case.breach("S13", f"{name} was sent {self._waited_s:.1f} s after a stop was due")

    def begun(self) -> None:
        """A process begins: its gate is open until it says that it is not."""
        self._gate = "open"

    def decided(self, regime: str, anchor: Decimal | None, gate: str) -> None:
        """The process tells what it has decided; `gate` is "" where that was not about the gate."""
        self._gate = gate or self._gate
        level = self._level
        known = level.recorded and level.reached_s is None and not gate
        if known and regime == "BASE" and anchor != level.anchor:
            self._case.breach("S12", f"the anchor of BASE is told as {anchor}, and the trade was at {level.anchor}")
        level.believed(regime, anchor, self._gate)

    def rebuilt(self, regime: str, anchor: Decimal | None, gate: str, why: str) -> None:
        """A process tells the state that it has rebuilt; `why` is of the exit from which it has folded, "" where it
        has only gone on.

        Where that was no take-profit nobody can know whether the gate was open then, unless the record tells.
        """
        self._gate, level = gate, self._level
        known = level.anchor is not None and level.reached_s is None and not level.near
        known = known and (level.recorded or why in ("", TAKE_PROFIT))
        if known and (regime, anchor, gate) != ("BASE", level.anchor, "open"):
            told = f"{regime or 'no regime'}, anchor {anchor}, gate {gate}"
            self._case.breach("S12", f"rebuilt: {told}; it was BASE, anchor {level.anchor}, gate open")
        level.believed(regime, anchor, gate)

    def anchor_unknown(self) -> None:
        """A process tells that it has found no trade that began a regime: its stop is reckoned from its first price."""
        level = self._level
        if level.recorded and level.reached_s is None and not level.near:
            self._case.breach("S12", f"rebuilt: no anchor; it was BASE, anchor {level.anchor}")
        level.forget()

    def taken_back(self) -> None:
        """What the process has told was wrong: a trade of its own was told to it late."""
        if not self._level.recorded:
            self._level.forget()

    # -- what is due ------------------------------------------------------------------------------------------------
    @property
    def _in_sight(self) -> bool:
        """Whether the bot can see the market and reach the exchange, and may."""
        alive = self._roll.latest not in self._roll.dead_s
        return alive and self._ready and not (self._outcomes.busy() or self._case.disturbed or self._case.halted)

    @property
    def _waited_s(self) -> float:
        reached_s = self._level.reached_s
        return 0.0 if reached_s is None else self._case.now_s - max(reached_s, self._unseen_s)

    def _judge(self) -> None:
        self._unseen_s = max(self._unseen_s, self._outcomes.waited_until_s)  # whether or not anything happened then
        if not self._in_sight or self._level.worth < CERTAIN:
            self._unseen_s = self._case.now_s
        if self._level.reached_s is None:
            self._obeyed = self._locked = self._kept = False
            return
        others = self._orders()
        if self._obeyed and self._waited_s > 0 and self._level.reached_s != self._counted_s:
            self._counted_s = self._level.reached_s
            self.judged += 1
        if self._waited_s > ORDER_S and not self._obeyed:
            self._obeyed = True
            self._case.breach("L4", f"no order of a stop was sent {self._waited_s:.1f} s after it was due")
        if self._waited_s > ORDER_S + UNDER_WAY_S and others and not self._locked:
            self._locked = True
            self._case.breach("S13", f"{', '.join(others)} rests {self._waited_s:.1f} s after a stop was due")
        most_s = self._case.terms.flat_within_s
        if most_s is not None and self._waited_s > most_s and not self._kept:
            self._kept = True
            self._case.breach("L4", f"not sold {self._waited_s:.1f} s after a stop was due")

    def _orders(self) -> list[str]:
        """Own orders that rest and are not the stop's; one of its own that rests already obeys it."""
        own = self._account.open_orders
        others = [name for name in own if reason(name) != HARD_STOP]
        if len(others) < len(own) and not self._obeyed:
            self._obeyed = True
        return others
