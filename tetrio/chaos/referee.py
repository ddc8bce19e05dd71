"""The referee: what must hold of every run, seen from the exchange's side.

It is told what the exchange recorded, which requests reached it and what it answered, and what became of the bot's
processes; never what the bot believes. Each breach is a `Violation` under the invariant's name, at the moment of the
event that shows it. Pure: times are given to it.

    S1  never sells more than is held          S7  orders fit the symbol's rules
    S2  never spends more than is held         S8  nothing is sent while the market says nothing
    S3  one live order at most                 S9  nothing is sent before a session has been synchronised
    S4  one mutation unresolved at most        S15 connections and refused requests stay within bounds
    S5  no client order id twice               S16 nobody asks while it is told to stay away
    S6  post-only, but for what may take       S21 only own orders are cancelled, never all of them
    S10 own fills are told, and told once      S22 one process at a time sends
    S11 what a bot takes for so is so          S23 nothing follows a broken frame
    S29 nothing is sent before ready           S30 every balance is accounted for
    F130 a halt sends nothing but cancels      L9  a link that says nothing is given up
    S14 no flow is made up
    L1  back within 30 s of healing            L5  a stop ends in time, in order, and leaves nothing
    L2  what is wanted rests within 35 s       L6  no process ends by itself
    L3  nothing is in doubt 45 s after it
"""

from __future__ import annotations

import collections
import json
import math
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import attrs
import msgspec

from tetrio.chaos.once import Once

OWN = "tt-"
JUMPSTART = "j"
MUTATIONS = frozenset({"order.place", "order.cancelReplace", "order.amend.keepPriority"})
CANCELS = frozenset({"order.cancel"})
SUBSCRIBE, SNAPSHOTS = "userDataStream.subscribe", frozenset({"account.status", "openOrders.status"})
UNKNOWN_CODES = frozenset({-1000, -1001, -1006, -1007, -1008})
"""Answers that leave open what became of a request, whatever their status."""
FORBIDDEN = frozenset({"openOrders.cancelAll"})
PROTECTIVE = frozenset({"STOP_LOSS_LIMIT"})
ABSENT_AFTER_S = 10.0
PROBES = 2
WINDOW_S, MOST_CONNECTS = 300.0, 60
"""Connections within five minutes: two faces, 30 each."""
SAME_REFUSALS, PROBE_S = 3, 55.0
AT_ONCE_S, MOST_AT_ONCE = 10.0, {"post-only": 40, "cancel": 5}
"""Refusals of one kind within that time: a chase backs off to 0.8 s, a cancel waits for the market to open."""
HELD_WITHIN_S = 30.0
"""An order is for what was held at some time within that: the bot cannot know better."""
FILL_TOLD_S = 15.0
TIMED_OUT = 5
"""Exit code."""
UNHEARD_S = 8.0
"""How long the market may have said nothing when an order is decided on; a line is left after 5 s."""
IN_FLIGHT_S = 6.0
"""For what a process had sent, or a slow network still carries, when it died or was told to halt."""
STAMP_OFF_S = 2.0
"""By how much the stamp of a request may be off, clocks that are wrong included."""
BACK_S, RESTING_S, RESOLVED_S, STOP_S, UNKNOWN_STOP_S = 30.0, 35.0, 45.0, 5.0, 15.0
UNSAFE = 6
"""The exit code of a process whose key is refused."""
REMEMBERED, SESSIONS = 10_000, 200
"""The newest orders and trades, and connections, of which all is remembered: a referee may watch for days."""
Line = Mapping[str, Any]


@attrs.frozen
class Violation:
    """An invariant that did not hold."""

    invariant: str
    at_s: float
    what: str


@attrs.frozen(kw_only=True)
class Terms:
    """What a run was set up with, as far as it matters here."""

    base: str
    quote: str
    on_stop: str = "cancel"
    protects: bool = False
    takes: bool = True
    """Hard stops may take in the end (escalation)."""
    reserve_base: Decimal = Decimal(0)
    reserve_quote: Decimal = Decimal(0)
    begin_ms: int = 0
    """The date at 0 s, ms since 1970: requests are stamped by dates."""


@attrs.define
class _Order:
    name: str
    side: str
    kind: str
    price: Decimal
    qty: Decimal
    filled: Decimal = Decimal(0)


@attrs.define
class _Mutation:
    """A request that may have changed something, and what has been told of it since."""

    name: str
    connection: int
    at_s: float
    answered_at: float | None = None
    recorded: bool = False
    """The exchange's record shows its outcome, so its events tell it."""
    asked: int = 0
    """Answers to questions about it."""
    found: bool = False


@attrs.define
class _Session:
    """One connection of the WebSocket API."""

    opened_s: float
    life: int
    """The process that opened it."""
    asked: dict[object, tuple[str, str]] = attrs.field(factory=dict)
    """id -> method and the order that it is about."""
    answered: set[str] = attrs.field(factory=set)

    def forget_snapshots(self) -> None:
        """A subscription begins: what was asked for before it tells nothing of what came between."""
        self.answered -= SNAPSHOTS
        self.asked = {number: asked for number, asked in self.asked.items() if asked[0] not in SNAPSHOTS}


class Referee:
    """Judges one run."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.violations: list[Violation] = []
        self.counts: collections.Counter[str] = collections.Counter()
        self.most_live = 0
        self._now = 0.0
        self._totals: dict[str, Decimal] = {}
        self._open: dict[str, _Order] = {}
        self._names = Once(REMEMBERED)
        """Client order ids that were sent."""
        self._numbers: dict[int, None] = {}
        """Order numbers of own orders, oldest first."""
        self._sessions: dict[int, _Session] = {}
        self._connects: collections.deque[float] = collections.deque()
        self._last: _Mutation | None = None
        self._refusals: tuple[str, int, float] = ("", 0, 0.0)
        self._rules_changed = -1e9
        self._leapt_s = 0.0
        self._unsafe_until = -math.inf
        self._life = 0
        self._ready: set[int] = set()
        self._dead_s: dict[int, float] = {}
        self._nonces: dict[str, int] = {}
        self._stopping: tuple[float, bool] | None = None
        self._wondered_s = -math.inf
        """When a process last asked for an order that has never come."""
        self._halted_s: float | None = None
        self._flattened = False
        self._away_until = self._away_since = 0.0
        self._away_told_s: float | None = None
        self._away_tellings = 0
        self._heard_s = math.inf
        self._before: collections.deque[tuple[float, str, Decimal]] = collections.deque()
        """(until when, asset, how much of it was held)."""
        self._asked_too_much: tuple[int, dict[str, Decimal]] | None = None
        """Which process did so, and what was held."""
        self._fills: dict[int, tuple[str, float]] = {}
        """Own trade that happened while there was no session -> its order, and when."""
        self._moved_s: dict[str, float] = {}
        """When some of an asset last came or went."""
        self._connected: set[int] = set()
        self._copies_lag = False
        self._told_fills = Once(REMEMBERED)
        """Trades by process."""
        self._at_once: collections.defaultdict[str, collections.deque[float]] = collections.defaultdict(
            collections.deque
        )

    # -- what it is told --------------------------------------------------------------------------------------------
    def audit(self, at_s: float, line: Line) -> None:
        """A line of the exchange's record."""
        self._now = at_s
        self.counts[line["ev"]] += 1
        handler = getattr(self, f"_on_{line['ev']}", None)
        if handler is not None:
            handler(line)
        self._check_balances(line)

    def request(self, at_s: float, connection: int, message: str | bytes) -> None:
        """A request has reached the exchange."""
        self._now = at_s
        session = self._sessions.setdefault(connection, _Session(at_s, self._life))
        try:
            asked = json.loads(message)
            method, params = str(asked["method"]), dict(asked.get("params") or {})
        except (ValueError, KeyError, TypeError):
            self._breach("S23", f"connection {connection} sent what is no request: {message[:80]!r}")
            return
        if method == SUBSCRIBE:
            session.forget_snapshots()
        name = str(params.get("newClientOrderId") or params.get("origClientOrderId") or "")
        session.asked[asked.get("id")] = method, name
        if method == "order.status" and name.startswith(OWN) and not self._was_sent(name):
            self._wondered_s = at_s  # its order was lost on the way: that is a doubt which is not in the record
        if method in FORBIDDEN:
            self._breach("S21", f"{method} was sent")
        if method in MUTATIONS:
            self._mutates(connection, session, method, name, params)
        if method in CANCELS or method == "order.cancelReplace":
            self._cancels(params)

    def reply(self, at_s: float, connection: int, payload: bytes) -> None:
        """The exchange has answered."""
        self._now = at_s
        session = self._sessions.get(connection)
        answer = msgspec.json.decode(payload)
        if session is None or "id" not in answer:
            return
        method, name = session.asked.pop(answer["id"], ("", ""))
        if answer.get("status") == 200:
            session.answered.add(method)
        last = self._last
        if last is not None and name == last.name:
            code = (answer.get("error") or {}).get("code")
            if method == "order.status":
                last.found |= answer.get("status") == 200
                last.asked += code == -2013
            elif method in MUTATIONS and answer.get("status", 500) < 500 and code not in UNKNOWN_CODES:
                last.answered_at = at_s
        if method in MUTATIONS and answer.get("status") != 200:
            if _reason(name) != JUMPSTART:  # a request of another kind, once a process
                self._refused(answer)
        elif method in MUTATIONS:
            self._refusals = "", 0, at_s
        elif method in CANCELS and "closed" in str((answer.get("error") or {}).get("msg")):
            self._count("cancel")

    def life(self, at_s: float, number: int, what: str, code: int | None = None) -> None:
        """A process: started, ready, stopping, killed, ended."""
        self._now = at_s
        if what == "started":
            self._life, self._stopping = number, None
            self._refusals = "", 0, at_s  # it cannot know of the earlier ones
        elif what == "doubts":  # it has said so: a stop may take longer, and nothing else follows from it
            self._wondered_s = at_s
        elif what == "ready":
            self._ready.add(number)
        elif what == "stopping":
            self._stopping = at_s, self._in_doubt() is not None
        elif what in ("killed", "ended"):
            self._dead_s[number] = at_s
            if what == "ended":
                self._ended(number, code)

    def said(self, at_s: float, word: str) -> None:
        """A word of the operator's was obeyed."""
        self._now = at_s
        if word == "halt":
            self._halted_s = at_s
        elif word == "resume":
            self._halted_s = None
        elif word == "flatten":
            self._flattened = True

    def stay_away(self, at_s: float, for_s: float) -> None:
        """The exchange shuts the bot's address out, and will say so to whoever asks."""
        self._away_until, self._away_told_s, self._away_tellings = at_s + for_s, None, 0
        self._away_since = at_s

    def told_away(self, at_s: float, *, certain: bool = True) -> None:
        """An answer that tells of the ban was given; not `certain` to arrive where the network is bad as well."""
        if at_s == self._away_since:
            return  # an answer to what was under way: its connection is cut with it
        self._away_tellings += 1
        if self._away_told_s is None and (certain or self._away_tellings > 1):
            self._away_told_s = at_s

    def let_in(self) -> None:
        """It does so no more."""
        self._away_until = 0.0

    def knocked(self, at_s: float) -> None:
        """A connection to any face has come about."""
        self._now = at_s
        told_s = self._away_told_s
        if told_s is not None and told_s + IN_FLIGHT_S < at_s < self._away_until:
            self._breach("S16", f"a connection while shut out for {self._away_until - at_s:.1f} s more")

    def key_known(self, at_s: float, known: bool) -> None:
        """The bot's key is revoked, or known again: a process that is told that it is no key ends as unsafe."""
        self._unsafe_until = at_s + IN_FLIGHT_S if known else math.inf

    def leapt(self, by_s: float) -> None:
        """The date has gone on by so much more than the time: later requests are stamped by it."""
        self._leapt_s += by_s

    def rules_changed(self, at_s: float) -> None:
        """The symbol's rules or status have changed: an order on its way may not fit them."""
        self._rules_changed = at_s

    def market_heard(self, heard_s: float) -> None:
        """When the bot last got anything of the market."""
        self._heard_s = heard_s

    def copies_lag(self) -> None:
        """What answers queries is behind, for a while."""
        self._copies_lag = True

    def fill_told(self, at_s: float, number: int, trade_id: object) -> None:
        """A process has told its operator of an own trade."""
        self._now = at_s
        assert isinstance(trade_id, int), "trades are numbered"
        if not self._told_fills.add(number, trade_id, trade_id):
            self._breach("S10", f"process {number} has told of trade {trade_id} twice")

    def flow_told(self, at_s: float, amounts: Mapping[str, str]) -> None:
        """A process takes it that so much has come or gone without a trade; late copies may have made it think so."""
        self._now = at_s
        for asset, amount in amounts.items():
            if Decimal(amount) and not self._copies_lag and at_s - self._moved_s.get(asset, -math.inf) > WINDOW_S:
                self._breach("S14", f"{amount} {asset} is told to have come by itself, and none has")

    def fills_due(self, at_s: float) -> None:
        """The living process has had time to tell of all that its orders traded while it had no session.

        Not where copies were behind, which may keep a trade back from who asks for it once, as each session does.
        """
        self._now = at_s
        if self._copies_lag:
            return
        for trade_id, (name, traded_s) in self._fills.items():
            life = self._life_of(name)
            told = self._told_fills.met(life, trade_id, trade_id)
            if life == self._life and traded_s < at_s - FILL_TOLD_S and not told:
                self._breach("S10", f"process {life} has not told of trade {trade_id} of {name}")

    def disagreement(self, base: Decimal, quote: Decimal, open_orders: list[str]) -> str:
        """What is not as a process takes it to be: totals, and own orders that are not finished; "" if nothing."""
        held = tuple(self._totals.get(asset, Decimal(0)) for asset in (self.terms.base, self.terms.quote))
        if held != (base, quote):
            return f"{held[0]} and {held[1]} are held, taken for {base} and {quote}"
        if sorted(self.open_orders) != open_orders:
            return f"there are open {self.open_orders}, taken for {open_orders}"
        return ""

    @property
    def open_orders(self) -> list[str]:
        """Own orders that the record shows open."""
        return [name for name in self._open if name.startswith(OWN)]

    def doubt(self, at_s: float) -> str | None:
        """The order of which the living process should find out what became of it; None where nothing is in doubt."""
        self._now = at_s
        last = self._unresolved()
        return last.name if last is not None and self._life_of(last.name) == self._life else None

    def breach(self, invariant: str, at_s: float, what: str) -> None:
        """Something that only the world can see was not as it must be."""
        self._now = at_s
        self._breach(invariant, what)

    def _breach(self, invariant: str, what: str) -> None:
        self.violations.append(Violation(invariant, round(self._now, 6), what))

    # -- the record -------------------------------------------------------------------------------------------------
    def _on_deposit(self, line: Line) -> None:
        self._moved_s[line["asset"]] = self._now
        self._move(line["asset"], Decimal(line["amount"]))

    def _on_withdraw(self, line: Line) -> None:
        self._moved_s[line["asset"]] = self._now
        self._move(line["asset"], -Decimal(line["amount"]))

    def _move(self, asset: str, amount: Decimal) -> None:
        held = self._totals.get(asset, Decimal(0))
        self._totals[asset] = held + amount
        self._before.append((self._now, asset, held))
        while self._before[0][0] < self._now - HELD_WITHIN_S - IN_FLIGHT_S:
            self._before.popleft()

    def _on_lock(self, line: Line) -> None:
        """What is locked from outside is locked by no order: totals stay."""

    def _on_connect(self, line: Line) -> None:
        if line["face"] == "ws_api":
            self._connected.add(line["connection"])
            self._sessions[line["connection"]] = _Session(self._now, self._life)
            self._forget_sessions()
        self._connects.append(self._now)
        while self._connects[0] < self._now - WINDOW_S:
            self._connects.popleft()
        if len(self._connects) > MOST_CONNECTS:
            self._breach("S15", f"{len(self._connects)} connections within {WINDOW_S:g} s")

    def _on_disconnect(self, line: Line) -> None:
        self._connected.discard(line["connection"])

    def _forget_sessions(self) -> None:
        """All but the newest, and those that are still open."""
        over = [number for number in self._sessions if number not in self._connected]
        for number in over[:-SESSIONS]:
            del self._sessions[number]

    def _on_accept(self, line: Line) -> None:
        name = line["client_order_id"]
        if not name.startswith(OWN):
            return
        order = _Order(
            name, line["side"], line["type"], Decimal(line.get("price") or 0), Decimal(line["qty"]),
        )  # fmt: skip
        self._open[name] = order
        if _reason(name) == JUMPSTART and self._last is not None and self._last.name == name:
            self._sessions[self._last.connection].answered.add("account.status")  # its events tell all balances
        self._numbers[line["order_id"]] = None
        _keep_newest(self._numbers)
        self._recorded(name)
        live = self.open_orders
        self.most_live = max(self.most_live, len(live))
        if len(live) > 1:
            self._breach("S3", f"{len(live)} live orders: {', '.join(live)}")
        if line["type"] != "LIMIT_MAKER" and not self._may_take(line):
            self._breach("S6", f"{name} is {line['type']}")
        self._within(order)

    def _on_reject(self, line: Line) -> None:
        self._recorded(str(line.get("client_order_id")))

    def _may_take(self, line: Line) -> bool:
        reason = _reason(line["client_order_id"])
        if line["type"] in PROTECTIVE:
            return self.terms.protects and reason == "h"
        return line["type"] == "LIMIT" and ((reason == "h" and self.terms.takes) or (reason == "m" and self._flattened))

    def _within(self, order: _Order) -> None:
        """Against all that is held: what the other own orders lock would be a breach of its own."""
        terms = self.terms
        if _reason(order.name) == JUMPSTART:  # deep, smallest, and gone at once: it may lean on the reserve
            terms = attrs.evolve(terms, reserve_base=Decimal(0), reserve_quote=Decimal(0))
        if order.side == "SELL":
            held = self._totals.get(terms.base, Decimal(0)) - terms.reserve_base
            if order.qty > held:
                self._breach("S1", f"{order.name} sells {order.qty} of {held}")
        else:
            held = self._totals.get(terms.quote, Decimal(0)) - terms.reserve_quote
            if order.qty * order.price > held:
                self._breach("S2", f"{order.name} spends {order.qty * order.price} of {held}")

    def _on_amend(self, line: Line) -> None:
        if line["client_order_id"] in self._open:
            self._open[line["client_order_id"]].qty = Decimal(line["qty"])

    def _on_fill(self, line: Line) -> None:
        terms, qty, price = self.terms, Decimal(line["last_qty"]), Decimal(line["last_price"])
        sign = 1 if line["side"] == "BUY" else -1
        self._move(terms.base, sign * qty)
        self._move(terms.quote, -sign * qty * price)
        self._move(line["commission_asset"], -Decimal(line["commission"]))
        if line["client_order_id"].startswith(OWN) and "trade_id" in line and not self._connected:
            self._fills[line["trade_id"]] = line["client_order_id"], self._now
            _keep_newest(self._fills)
        order = self._open.get(line["client_order_id"])
        if order is None:
            return
        order.filled += qty
        if order.filled > order.qty:
            self._breach("S1", f"{order.name} filled {order.filled} of {order.qty}")
        if not line["maker"] and order.kind == "LIMIT_MAKER":
            self._breach("S6", f"{order.name} took")
        if line["status"] == "FILLED":
            del self._open[order.name]

    def _on_cancel(self, line: Line) -> None:
        self._open.pop(line["client_order_id"], None)

    _on_expire = _on_cancel

    def _check_balances(self, line: Line) -> None:
        for asset, (free, locked) in line.get("balances", {}).items():
            held, due = (Decimal(free), Decimal(locked)), self._totals.get(asset, Decimal(0))
            if min(held) < 0 or sum(held) != due:
                self._breach("S30", f"{asset}: {free} free and {locked} locked told, {due} accounted for")
                self._totals[asset] = Decimal(free) + Decimal(locked)

    # -- what is sent -----------------------------------------------------------------------------------------------
    def _mutates(self, connection: int, session: _Session, method: str, name: str, params: Line) -> None:
        life = self._nonces.setdefault(_nonce(name), session.life)
        if not self._names.add(_nonce(name), name, _serial(name)):
            self._breach("S5", f"{name} was sent before")
        if params.get("cancelReplaceMode", "STOP_ON_FAILURE") != "STOP_ON_FAILURE":
            self._breach("S3", f"{name} was sent by {params['cancelReplaceMode']}")
        if _reason(name) == JUMPSTART:
            self._last = _Mutation(name, connection, self._now)
            return  # a jumpstart's order is how the balances are learnt
        missing = {SUBSCRIBE, *SNAPSHOTS} - session.answered
        if missing:
            self._breach("S9", f"{name} was sent before {', '.join(sorted(missing))} was answered")
        if life not in self._ready:
            self._breach("S29", f"{name} was sent before process {life} was ready")
        stamped_s = self._stamped_s(params)
        self._asks(name, params, min(self._now, stamped_s))
        self._sees(name, min(self._now, stamped_s - STAMP_OFF_S))
        if min(self._now - IN_FLIGHT_S, stamped_s - STAMP_OFF_S) > self._dead_s.get(life, self._now):
            self._breach("S22", f"{name} is of process {life}, which is dead")
        if self._halted_s is not None and min(self._now - IN_FLIGHT_S, stamped_s - STAMP_OFF_S) > self._halted_s:
            self._breach("F130", f"{name} was sent {self._now - self._halted_s:.1f} s after a halt")
        if (doubt := self._unresolved()) is not None and self._life_of(doubt.name) == life:
            self._breach("S4", f"{name} was sent, and nothing is known of {doubt.name}")
        if life not in self._dead_s:  # last words that come late say nothing of the living
            self._last = _Mutation(name, connection, self._now)

    def _asks(self, name: str, params: Line, at_s: float) -> None:
        """Whether it asks for more than has been held of late, whatever the exchange will say to it.

        Once it may, since a copy that was behind has told it so; refused, it has to look again.
        """
        terms = self.terms
        if "quantity" not in params or "price" not in params:
            return
        try:
            qty, price = Decimal(str(params["quantity"])), Decimal(str(params["price"]))
        except InvalidOperation:
            return  # the exchange will refuse it
        if params.get("side") == "SELL":
            invariant, asset, amount, reserve = "S1", terms.base, qty, terms.reserve_base
        else:
            invariant, asset, amount, reserve = "S2", terms.quote, qty * price, terms.reserve_quote
        before = (held for until_s, each, held in self._before if each == asset and until_s >= at_s - HELD_WITHIN_S)
        most = max(self._totals.get(asset, Decimal(0)), *before, Decimal(0)) - reserve
        if amount <= most:
            return
        again = self._life_of(name), dict(self._totals)
        if self._asked_too_much == again:
            self._breach(invariant, f"{name} asks again for {amount} {asset} of at most {most}")
        self._asked_too_much = again

    def _sees(self, name: str, at_s: float) -> None:
        """Whether the market was in sight when it was decided on."""
        if self._life_of(name) != self._life:
            return  # what a dead process had sent
        if (silent_s := at_s - self._heard_s) > UNHEARD_S:
            self._breach("S8", f"{name} was sent, and the market had said nothing for {silent_s:.1f} s")

    def _stamped_s(self, params: Line) -> float:
        """When a request was made, by its own word; bytes may lie on the wire for as long as it is dark."""
        stamp = params.get("timestamp")
        return (stamp - self.terms.begin_ms) / 1000 - self._leapt_s if isinstance(stamp, int) else self._now

    def _was_sent(self, name: str) -> bool:
        return self._names.met(_nonce(name), name, _serial(name))

    def _life_of(self, name: str) -> int:
        """Which process made an id: each has a nonce of its own."""
        return self._nonces.get(_nonce(name), self._life)

    def _unresolved(self) -> _Mutation | None:
        """The latest mutation, where nobody has told, and nobody has asked, what became of it."""
        last = self._in_doubt()
        if last is not None and last.asked >= PROBES and self._now - last.at_s >= ABSENT_AFTER_S:
            return None  # asked for long enough: it never was
        return last

    def _in_doubt(self) -> _Mutation | None:
        """The latest mutation, where nothing has told what became of it."""
        last = self._last
        if last is None or last.answered_at is not None or last.recorded or last.found:
            return None
        return last

    def _recorded(self, name: str) -> None:
        if self._last is not None and self._last.name == name:
            self._last.recorded = True

    def _cancels(self, params: Line) -> None:
        name = params.get("cancelOrigClientOrderId") or params.get("origClientOrderId")
        number = params.get("cancelOrderId") or params.get("orderId")
        own = str(name).startswith(OWN) if name is not None else number in self._numbers
        if not own:
            self._breach("S21", f"an order that is not ours was to be cancelled: {name or number}")

    def _refused(self, answer: Line) -> None:
        problem = answer.get("error") or {}
        data = problem.get("data")
        inner = data.get("newOrderResponse") if isinstance(data, dict) else None
        if isinstance(data, dict) and "cancelResult" in data and not inner:
            return  # the old order is gone: nothing was asked of the new one
        code, msg = (inner or problem).get("code"), str((inner or problem).get("msg"))
        if code in (-1013, -1111) and "closed" not in msg and self._now - self._rules_changed > WINDOW_S:
            self._breach("S7", f"refused with {code} {msg}")
        if "immediately match" in msg:
            self._count("post-only")
        if "immediately match" in msg or answer.get("status", 500) >= 500 or code in (-1003, -1015):
            return
        what, count, at_s = self._refusals
        count = count + 1 if what == f"{code} {msg}" else 1
        if count > SAME_REFUSALS + 1 and self._now - at_s < PROBE_S:
            self._breach("S15", f"refused {count} times with {code} {msg}, {self._now - at_s:.1f} s after the last")
        self._refusals = f"{code} {msg}", count, self._now

    def _count(self, kind: str) -> None:
        """One more refusal of a kind."""
        times, most = self._at_once[kind], MOST_AT_ONCE[kind]
        times.append(self._now)
        while times[0] < self._now - AT_ONCE_S:
            times.popleft()
        if len(times) > most:
            self._breach("S15", f"{kind} was refused {len(times)} times within {AT_ONCE_S:g} s")
            times.clear()

    # -- how a process ends -----------------------------------------------------------------------------------------
    def _ended(self, number: int, code: int | None) -> None:
        if code == TIMED_OUT and number not in self._ready:
            return  # it found no exchange: its supervisor starts another
        if self._stopping is None:
            if code == UNSAFE and self._now < self._unsafe_until:
                return
            self._breach("L6", f"process {number} ended by itself, with exit code {code}")
            return
        began_s, doubtful = self._stopping
        doubtful = doubtful or self._in_doubt() is not None or self._wondered_s >= began_s
        most = UNKNOWN_STOP_S if doubtful else STOP_S
        if self._now - began_s > most + 0.5:
            self._breach("L5", f"the stop took {self._now - began_s:.1f} s")
        if code == 0 and self.terms.on_stop == "cancel" and self.open_orders:
            self._breach("L5", f"left behind, with exit code 0: {', '.join(self.open_orders)}")


def _nonce(name: str) -> str:
    parts = name.split("-")
    return parts[2] if len(parts) > 2 else ""


def _serial(name: str) -> int:
    """The number that a process gives each id, upwards; -1 where the id is none of ours."""
    serial = name.rpartition("-")[2]
    return int(serial) if serial.isdecimal() else -1


def _keep_newest(those: dict[int, Any]) -> None:
    if len(those) > REMEMBERED:
        del those[next(iter(those))]


def _reason(name: str) -> str:
    """The letter that says what an order is for; "" where the id is none of ours."""
    parts = name.split("-")
    return parts[3][-1:] if len(parts) > 3 else ""
