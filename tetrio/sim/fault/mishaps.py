"""The faults of one exchange: asked for, begun, counted, over. Who wants one asks here.

    armed = exchange.mishaps.arm("lose-reply:order.place")
    exchange.mishaps.heal(armed.id)
    exchange.mishaps.counts                     {"lose-reply": 1}

Bytes are `wires`' and messages `gates`': they ask here what is in force, and tell here what has happened. What
befalls the account, the symbol, the clock and whole services is done here. Each fault is told by a line of the log when
it begins, when it first strikes and when it is over, and by its count.
"""

from __future__ import annotations

import collections
import heapq
import itertools
import logging
import math
import random
from collections.abc import Callable, Collection
from fnmatch import fnmatchcase
from typing import get_args

import attrs
import trio

from tetrio.sim.engine.orders import Rejected
from tetrio.sim.face.connection import Connection
from tetrio.sim.face.venue import Venue
from tetrio.sim.fault import faults, outside
from tetrio.sim.fault.faults import Fault, FaultError, OnBytes, OnEvents, OnRequests, Spec, Where, verb
from tetrio.sim.fault.wires import Network, Trouble

log = logging.getLogger(__name__)

MOST_ARMED = 1000  # faults that wait or are in force
KEPT = 1000  # faults that are over, and still listed
GOING_AWAY = 1001
_STATUSES: dict[type[Fault], str] = {
    faults.Halt: "HALT",
    faults.Break: "BREAK",
    faults.CancelOnly: "CANCEL_ONLY",
}
_BYTES, _EVENTS, _REQUESTS = (get_args(kind) for kind in (OnBytes, OnEvents, OnRequests))


@attrs.define(eq=False)
class Armed:
    """One fault that was asked for."""

    id: int
    spec: Spec
    state: str = "waiting"
    """waiting, active, over."""
    count: int = 0
    """How often it has struck."""
    left: int = 0
    """How often it still may, where it has TIMES."""
    trouble: Trouble | None = None
    lasts: bool = False
    """Whether it goes on after it has begun."""
    undo: Callable[[], None] | None = None
    """Ends it."""

    @property
    def name(self) -> str:
        """Its verb."""
        return verb(self.spec.fault)

    def told(self) -> dict[str, object]:
        """As listings tell it."""
        return {"id": self.id, "fault": self.name, "spec": self.spec.text, "state": self.state, "count": self.count}


@attrs.frozen(eq=False, kw_only=True)
class Guest:
    """One open WebSocket connection, as whole services' faults see it."""

    face: str
    number: int
    """Of its face."""
    client: Connection
    shutdown: Callable[[int], bytes]
    """The serverShutdown payload in this connection's shape, for a time in ms."""


class Mishaps:
    """Every fault of one exchange."""

    def __init__(self, venue: Venue, seed: int, methods: Collection[str], on_exit: Callable[[], None] | None) -> None:
        """`methods` are those of the WebSocket API; `on_exit` ends the process, where the exchange has one."""
        self._venue, self._methods, self._on_exit = venue, methods, on_exit
        self._rng = random.Random(f"{seed}:faults")  # noqa: S311 - delays, no secrets
        self.network = Network(self._rng)
        self.network.healed = self._used_up
        self.counts: collections.Counter[str] = collections.Counter()
        """How often each verb has struck."""
        self.guests: dict[int, Guest] = {}
        """By number in the record."""
        self._all: dict[int, Armed] = {}
        self._living: dict[int, Armed] = {}
        """Those of them that are not over."""
        self._ids = itertools.count(1)
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._wake = trio.lowlevel.ParkingLot()
        self._requests: list[Armed] = []
        self._events: list[Armed] = []
        self._unpinged: list[Armed] = []

    async def run(self) -> None:
        """Begin and end what is timed, until cancelled; connections that stand still then are let go."""
        try:
            while True:
                while self._timers and self._timers[0][0] <= trio.current_time():
                    heapq.heappop(self._timers)[2]()
                with trio.CancelScope(deadline=self._timers[0][0] if self._timers else math.inf):
                    await self._wake.park()
        finally:
            for armed in self.living():
                if isinstance(armed.spec.fault, _BYTES):
                    self._end(armed)

    def later(self, at_s: float, act: Callable[[], None]) -> None:
        """Call `act` at a time of trio's clock."""
        heapq.heappush(self._timers, (at_s, next(self._numbers), act))
        self._wake.unpark_all()

    # -- asking -----------------------------------------------------------------------------------------------------
    def check(self, text: str) -> Spec:
        """The fault that is meant, without arming it; FaultError."""
        return faults.parse(text, self._methods)

    def arm(self, spec: str | Spec) -> Armed:
        """Ask for a fault; one that begins at once has begun. FaultError when it cannot be."""
        if isinstance(spec, str):
            spec = self.check(spec)
        if len(self._living) >= MOST_ARMED:
            raise FaultError(f"{MOST_ARMED} faults are armed: heal some first")
        armed = Armed(next(self._ids), spec, left=getattr(spec.fault, "times", 0))
        if not spec.after_s:
            self._begin(armed)
        self._all[armed.id] = armed
        if armed.state != "over":
            self._living[armed.id] = armed
        if spec.after_s:
            self.later(trio.current_time() + spec.after_s, lambda: self._begin_late(armed))
        self._forget()
        return armed

    def heal(self, fault_id: int) -> Armed:
        """End a fault, or call it off; FaultError when there is none of this id."""
        armed = self._all.get(fault_id)
        if armed is None:
            raise FaultError(f"there is no fault {fault_id}")
        self._end(armed)
        return armed

    def listing(self) -> list[dict[str, object]]:
        """All that were asked for, oldest first."""
        return [armed.told() for armed in self._all.values()]

    def connections(self) -> list[str]:
        """Open connections as WHERE names them."""
        return [wire.name for wire in self.network.living()]

    def living(self) -> tuple[Armed, ...]:
        """Those that are not over, oldest first."""
        return tuple(self._living.values())

    def _forget(self) -> None:
        over = [armed.id for armed in self._all.values() if armed.state == "over"]
        for fault_id in over[: len(over) - KEPT] if len(over) > KEPT else ():
            del self._all[fault_id]

    # -- what is in force -------------------------------------------------------------------------------------------
    @property
    def requests_at_risk(self) -> bool:
        """Whether any request may be met by a fault."""
        return bool(self._requests)

    @property
    def events_at_risk(self) -> bool:
        """Whether any event may be met by a fault."""
        return bool(self._events)

    def request(self, method: str) -> OnRequests | None:
        """What happens to a request now coming in."""
        for armed in self._requests:
            fault = armed.spec.fault
            assert isinstance(fault, OnRequests), "only these are there"
            if fnmatchcase(method, fault.method):
                self._struck(armed, method)
                return fault
        return None

    def event(self, fits: Callable[[str], bool]) -> OnEvents | None:
        """What happens to an event now going out; `fits` tells whether an EVENT means it."""
        for armed in self._events:
            fault = armed.spec.fault
            assert isinstance(fault, OnEvents), "only these are there"
            if fits(fault.event):
                self._struck(armed, fault.event)
                return fault
        return None

    def pings(self, face: str, number: int) -> bool:
        """Whether a connection is pinged."""
        for armed in self._unpinged:
            fault = armed.spec.fault
            assert isinstance(fault, faults.NoPing), "only these are there"
            if fault.where.fits(face, number):
                self._struck(armed, f"{face}#{number}: not pinged")
                return False
        return True

    def draw_s(self, spread: faults.Spread) -> float:
        """One delay."""
        return self.network.draw_s(spread)

    # -- how one begins and ends ------------------------------------------------------------------------------------
    def _begin_late(self, armed: Armed) -> None:
        if armed.state != "waiting":
            return  # called off
        try:
            self._begin(armed)
        except FaultError as error:
            self._end(armed)
            log.warning("fault %d (%s) could not be: %s", armed.id, armed.spec.text, error)

    def _begin(self, armed: Armed) -> None:
        armed.state = "active"
        log.warning("fault %d: %s", armed.id, armed.spec.text)
        fault = armed.spec.fault
        armed.lasts = isinstance(fault, (*_BYTES, *_REQUESTS, *_EVENTS, faults.NoPing))
        if isinstance(fault, _BYTES):
            armed.trouble = Trouble(fault, lambda what: self._struck(armed, what))
            self.network.put(armed.trouble)
        elif isinstance(fault, _REQUESTS):
            self._requests.append(armed)
        elif isinstance(fault, _EVENTS):
            self._events.append(armed)
        elif isinstance(fault, faults.NoPing):
            self._unpinged.append(armed)
        else:
            armed.undo = self._act(fault)
            self._struck(armed, armed.name)
            armed.lasts = armed.undo is not None
        for_s = getattr(fault, "for_s", math.inf)
        if not armed.lasts or not for_s:
            self._end(armed)
        elif for_s < math.inf and armed.state == "active":
            self.later(trio.current_time() + for_s, lambda: self._end(armed))

    def _end(self, armed: Armed) -> None:
        if armed.state == "over":
            return
        began, armed.state = armed.state == "active", "over"
        self._living.pop(armed.id, None)
        for those in (self._requests, self._events, self._unpinged):
            if armed in those:
                those.remove(armed)
        if armed.trouble is not None:
            self.network.heal(armed.trouble)
        if armed.undo is not None:
            armed.undo()
        if began and armed.lasts:
            log.warning("fault %d is over: %s, struck %d times", armed.id, armed.spec.text, armed.count)

    def _used_up(self, trouble: Trouble) -> None:
        for armed in self.living():
            if armed.trouble is trouble:
                self._end(armed)

    def _struck(self, armed: Armed, what: str) -> None:
        armed.count += 1
        self.counts[armed.name] += 1
        if armed.count == 1 and armed.lasts:
            log.warning("fault %d strikes: %s (%s)", armed.id, armed.spec.text, what)
        if armed.left and isinstance(armed.spec.fault, (*_REQUESTS, *_EVENTS)):
            armed.left -= 1
            if not armed.left:
                self._end(armed)

    # -- the account, the symbol, the clock, whole services ---------------------------------------------------------
    def _act(self, fault: Fault) -> Callable[[], None] | None:
        """Do it; what ends it, where it lasts. FaultError."""
        match fault:
            case faults.Disconnect():
                self._close(fault.where, fault.code, "disconnected")
            case faults.ServerShutdown():
                self._shut_down(fault)
            case faults.Exit():
                self._exit()
            case faults.ClockOffset():
                return self._offset(fault.by_s)
            case faults.ReplicaLag():
                return self._lag(fault.by_s)
            case faults.Deposit():
                self._account(lambda: outside.transfer(self._venue, fault.asset, fault.amount))
            case faults.Withdraw():
                self._account(lambda: outside.transfer(self._venue, fault.asset, -fault.amount))
            case faults.ExternalLock():
                self._account(lambda: outside.external_lock(self._venue, fault.asset, fault.delta))
            case faults.ChangeFilters():
                self._account(lambda: outside.change_rules(self._venue, fault.changes))
            case faults.Halt() | faults.Break() | faults.CancelOnly():
                before = outside.set_status(self._venue, _STATUSES[type(fault)])
                return lambda: self._back_to(before)
            case faults.Resume():
                outside.set_status(self._venue, "TRADING")
            case faults.Delist():
                self._venue.delist()
            case faults.Ban():
                until_ms = self._venue.now_ms() + round(fault.for_s * 1000)
                self._venue.addresses.ban(fault.address, until_ms)
                return lambda: self._venue.addresses.unban(fault.address)
            case faults.Revoke():
                self._revoke(fault.api_key)
            case _:
                raise AssertionError(f"{fault} is nobody's")
        return None

    def _guests(self, where: Where) -> list[Guest]:
        return [guest for guest in self.guests.values() if where.fits(guest.face, guest.number)]

    def _close(self, where: Where, code: int, why: str) -> None:
        for guest in self._guests(where):
            guest.client.cut(code, why)

    def _shut_down(self, fault: faults.ServerShutdown) -> None:
        told = self._guests(fault.where)
        for guest in told:
            guest.client.push_text(guest.shutdown(self._venue.now_ms()))

        def close() -> None:
            for guest in told:
                guest.client.cut(GOING_AWAY, "the server is shutting down")

        self.later(trio.current_time() + fault.lead_s, close)

    def _exit(self) -> None:
        if self._on_exit is None:
            raise FaultError("exit: this exchange has no process of its own")
        self._on_exit()

    def _offset(self, by_s: float) -> Callable[[], None]:
        by_ns = round(by_s * 1_000_000_000)
        self._venue.offset_ns += by_ns

        def undo() -> None:
            self._venue.offset_ns -= by_ns

        return undo

    def _lag(self, by_s: float) -> Callable[[], None]:
        if self._venue.replica is not None:
            raise FaultError("replica-lag: there is one already; heal it first")
        self._venue.fall_behind(by_s, trio.current_time)
        return self._venue.catch_up

    def _back_to(self, status: str) -> None:
        outside.set_status(self._venue, status)

    def _revoke(self, api_key: str) -> None:
        if not self._venue.keys.known(api_key):
            raise FaultError("revoke: this API key is not known")
        self._venue.keys.revoke(api_key)

    def _account(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Rejected as refused:
            raise FaultError(refused.msg) from None
        except ValueError as error:
            raise FaultError(str(error)) from None
