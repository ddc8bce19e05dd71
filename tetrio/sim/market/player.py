"""The task that plays the market: lets every event happen at its time, from the first subscriber on.

A market without end in a process of its own waits for nobody: a client that only ever asks finds it there.

All events of one market millisecond go to the engine and out to the lines together; between them the streams that beat
by themselves are told, every second of the market, when anybody wants them, and depth that has changed at the next full
period of its own. It sleeps from one to the next and never polls, so under a jumping clock a quiet hour costs nothing.
After a recording's end the beats go on for ever.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
import trio

from tetrio.sim.face.streams import Hub, Publisher
from tetrio.sim.face.venue import Venue
from tetrio.sim.market.events import Batch, MarketEvent

NS = 1_000_000_000
GRACE_MS = {"capture": 250}
"""How late after its own time a trade of a recording may come and still stand in its candle, by kind of market."""


@attrs.frozen
class Clocks:
    """Where the exchange's two times come from.

    now_ns   the service clock (serverTime, timestamp checks, order times), ns since 1970
    joined   True (embedded): market time is the service clock; what the tape dates T happens when the clock shows T or,
             if the first subscriber comes after the tape's first timestamp, as much later as he did.
             False (a process of its own): market time starts at the tape's first timestamp, at once when the tape has
             no end and else with the first subscriber, and runs `speed` times as fast as trio's clock.
    """

    now_ns: Callable[[], int]
    joined: bool = False
    speed: float = 1.0


class Player:
    """Plays one market, once."""

    def __init__(
        self,
        venue: Venue,
        hub: Hub,
        clocks: Clocks,
        *,
        beat_s: float = 1.0,
        on_end: Callable[[int], None] | None = None,
    ) -> None:
        """`on_end` is told the number of frames when a recording has been played out."""
        self._venue, self._hub, self._clocks = venue, hub, clocks
        self._publisher = Publisher(venue, hub)
        self._period_ms = round(beat_s * 1000)
        self._grace_ms = GRACE_MS.get(venue.market.kind, 0)
        self._on_end = on_end
        self._changed = trio.lowlevel.ParkingLot()
        self._beats = False
        self._next_ms: int | None = None  # the next boundary to tell of; None while nobody wants to know
        self._began_s = 0.0
        self._base_ns = 0
        self._speed = 1.0
        hub.on_change = self._on_change
        self._publisher.on_due = self._wake

    async def run(self) -> None:
        """Play; returns never, or by cancellation."""
        endless = not self._venue.market.last_ns
        while self._hub.idle and not (endless and not self._clocks.joined):
            await self._changed.park()
        self._begin()
        for batch in self._venue.market.batches():
            await self._wait(batch.market_ns)
            self._apply(batch)
        if self._on_end is not None:
            self._on_end(self._venue.market.frames)
        await self._wait(None)

    def _on_change(self) -> None:
        due_ms = self._publisher.depth_due_ms
        self._publisher.rewant()
        beats = self._publisher.beats.wanted
        if beats != self._beats or due_ms != self._publisher.depth_due_ms or not self._base_ns:
            self._beats = beats
            self._wake()

    def _wake(self) -> None:
        self._changed.unpark_all()

    def _begin(self) -> None:
        """Market time starts to run."""
        first_ns, now_ns = self._venue.market.first_ns, self._clocks.now_ns
        self._began_s = trio.current_time()
        if self._clocks.joined:
            began_ns = now_ns()
            late_ns = max(0, began_ns - first_ns)
            self._base_ns = began_ns - late_ns
            self._venue.clock.start(lambda: now_ns() - late_ns)
        else:
            self._base_ns, self._speed = first_ns, self._clocks.speed
            self._venue.clock.start(self._scaled_ns)

    def _scaled_ns(self) -> int:
        return self._base_ns + round((trio.current_time() - self._began_s) * self._speed * NS)

    def _deadline(self, market_ns: int) -> float:
        return self._began_s + (market_ns - self._base_ns) / NS / self._speed

    async def _wait(self, until_ns: int | None) -> None:
        """Until `until_ns` market time (None: for ever), telling of every boundary on the way."""
        while True:
            next_ns = min((at_ns for at_ns in (self._beat_ns(), self._depth_ns()) if at_ns is not None), default=None)
            if next_ns is not None and (until_ns is None or next_ns <= until_ns):
                if await self._slept(next_ns):
                    self._tell(next_ns)
            elif await self._slept(until_ns):
                return

    async def _slept(self, until_ns: int | None) -> bool:
        """Sleep; False when somebody has changed what is wanted meanwhile."""
        deadline = self._deadline(until_ns) if until_ns is not None else float("inf")
        if deadline <= trio.current_time():
            await trio.lowlevel.checkpoint()
            return True
        with trio.CancelScope(deadline=deadline) as sleep:
            await self._changed.park()
        return sleep.cancelled_caught

    def _beat_ns(self) -> int | None:
        """Market time of the next beat; None while nobody wants one."""
        if not self._beats:
            self._next_ms = None
            return None
        clock = self._venue.clock
        if self._next_ms is None:
            self._next_ms = ((clock.now_ms() - self._grace_ms) // self._period_ms + 1) * self._period_ms
        return clock.until_ns(self._next_ms + self._grace_ms)

    def _depth_ns(self) -> int | None:
        """Market time at which depth is to be told; None while there is none that somebody wants and does not know."""
        due_ms = self._publisher.depth_due_ms
        return None if due_ms is None else self._venue.clock.until_ns(due_ms)

    def _tell(self, at_ns: int) -> None:
        """What is to be told at `at_ns`, or was."""
        due_ms = self._publisher.depth_due_ms
        if due_ms is not None and self._venue.clock.until_ns(due_ms) <= at_ns:
            self._venue.clock.reach(self._venue.clock.until_ns(due_ms))
            self._publisher.tell_depth(due_ms)
        beat_ns = self._beat_ns()
        if beat_ns is not None and beat_ns <= at_ns:
            self._beat()

    def _beat(self) -> None:
        assert self._next_ms is not None, "a beat was waited for"
        boundary_ms = self._next_ms
        self._next_ms += self._period_ms
        self._venue.clock.reach(self._venue.clock.until_ns(boundary_ms + self._grace_ms))
        self._publisher.beat(boundary_ms, self._period_ms, boundary_ms + self._grace_ms)

    def _apply(self, batch: Batch) -> None:
        """All of one market millisecond."""
        venue, publisher = self._venue, self._publisher
        market_ns, now_ms = venue.clock.reach(batch.market_ns), venue.now_ms()
        publisher.floor_ms = (venue.clock.latest_ms - self._grace_ms) // self._period_ms * self._period_ms
        for event in batch.events:
            happen(venue, publisher, event, now_ms, market_ns)
        publisher.flush()


def happen(venue: Venue, publisher: Publisher, event: MarketEvent, now_ms: int, market_ns: int) -> None:
    """One event of the market: the engine first, then the public, then whoever's orders it filled."""
    outcome = venue.engine.on_event(venue.symbol, event, now_ms, market_ns)
    publisher.event(event, outcome.trade_id)
    if outcome.events or outcome.prints:
        venue.change(outcome.events)
        venue.tell(outcome.events, outcome.prints)
