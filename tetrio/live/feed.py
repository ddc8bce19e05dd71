"""The feed task: market lines to batches of observations, in order, none skipped.

A batch is what one read of the line brought. It goes over a bounded channel; a strategy that does not keep up finds
what has come meanwhile in one batch, and after so long, or so much, the epoch ends instead of trading on an old book.
Whoever reads the line never waits for the strategy: its pongs go out in time whatever the consumer does.

Each connection begins with the klines of the exchange, asked for once the line is open, so that none is missing between
the two. A stream with a steady beat (kline_1s) shows that the line is alive: a book may rest, its beat may not.

A line is cut by the exchange after 24 hours at the latest, or when it restarts. So before, or when it says so, another
is opened beside it, and takes over once the old one has told all that came before the new one's first record. A line
that is lost is made anew here, with the strategy told that its book is old: the account's link is not the worse for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import attrs
import trio

from tetrio.core.market import Kline, Trade
from tetrio.core.money import SymbolRules
from tetrio.core.params import StrategyParams
from tetrio.errors import LinkError, LinkLost, LinkSlow, LinkStale, OrderRejected, OrderUnknown, WireError
from tetrio.journal import Journal
from tetrio.live.rest import Rest
from tetrio.live.rotation import Rotation
from tetrio.live.sieve import BEAT, Seen, Sieve
from tetrio.live.watchdog import Patience, first_of
from tetrio.net.clock import Clock, machine_s
from tetrio.net.line import Line, open_line
from tetrio.status import Status
from tetrio.wire.stream import KlineUpdate, MarketDecoder, MarketRecord, ServerShutdown

BATCHES = 64  # reads of 64 KiB: more than a second of the busiest market known
STALL_S = 10.0  # longer than a sync takes, well under the minute after which the exchange cuts the line
MOST_WAITING = 200_000  # records that the strategy has not taken: 10 s of a storm
BEAT_S = 5.0  # kline_1s comes each second
QUIET_S = 1.0  # after which the book is asked for, where none of its changes has come
OVERLAP_S = 5.0  # of two lines, at most
OWED = "the next 1 s kline"
DATED = 16  # records of a batch, from its end, in which an event time is looked for
BAD_A_MINUTE = 3  # payloads that cannot be read; more, and the line is broken


@attrs.frozen
class History:
    """Klines of the exchange, oldest first, the forming one last."""

    klines: list[Kline]


@attrs.frozen
class Gone:
    """The line is lost: what is known of the book is old."""


Item = list[Seen] | History | Gone


def stream_names(rules: SymbolRules, params: StrategyParams) -> list[str]:
    """The streams that the kernel needs, and the beat."""
    symbol = rules.name.lower()
    kinds = ["bookTicker", f"kline_{params.kline_interval}"]
    if params.reference == "trade":
        kinds.append("trade")
    if params.kline_interval != BEAT:
        kinds.append(f"kline_{BEAT}")
    return [f"{symbol}@{kind}" for kind in kinds]


def event_ms(records: list[MarketRecord]) -> int | None:
    """The exchange's time of the newest event that has one, of those looked at: best prices tell none."""
    for record in records[: -DATED - 1 : -1]:
        if isinstance(record, KlineUpdate):
            return record.event_ms
        if isinstance(record, Trade):
            return record.at_ms
    return None


class Feed:
    """One symbol's market lines."""

    def __init__(
        self,
        url: str,
        rest: Rest,
        rules: SymbolRules,
        params: StrategyParams,
        *,
        out: trio.MemorySendChannel[Item],
        clock: Clock,
        status: Status,
        journal: Journal,
        rotation: Rotation,
        off_grid: Callable[[], None],
        beat_s: float = BEAT_S,
    ) -> None:
        """What it is told by, and judges by.

        off_grid   called when a price does not fit the symbol's rules: they may be others by now
        beat_s     after so long without a 1 s kline the line is lost; more only where a server is known to send none
        """
        self._beat_s = beat_s
        self._url, self._rest, self._rules, self._params = url, rest, rules, params
        self._out, self._clock, self._status, self._journal = out, clock, status, journal
        self._rotation, self._off_grid = rotation, off_grid
        self._decoder = MarketDecoder(rules, rounds=True)
        self._sieve = Sieve(params.kline_interval)
        self._counts = 0
        """Number of the line that counts."""
        self._restarting = trio.Event()
        """The exchange has said that it is about to restart."""
        self._bad: deque[float] = deque(maxlen=BAD_A_MINUTE + 1)
        self._waiting: deque[Item] = deque()
        self._late = trio.Event()

    async def run(self) -> None:
        """Until cancelled; LinkSlow when the strategy does not keep up."""
        with self._out:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._hand_over)
                await self._keep_a_line()

    async def _keep_a_line(self) -> None:
        failures, patience = 0, Patience()
        while True:
            began, lost = trio.current_time(), None
            try:
                await self._follow()
            except* (LinkLost, LinkStale, WireError) as group:
                lost = first_of(group)
            assert isinstance(lost, LinkError | WireError), "a line is followed until it fails"
            failures = failures + 1 if trio.current_time() - began < machine_s(patience.healthy_s) else 1
            delay_s = patience.delay(failures, self._rotation.jitter(), getattr(lost, "retry_after_s", None))
            self._say("lost", why=str(lost), next_s=round(delay_s, 3))
            self._put(Gone())
            await trio.sleep(machine_s(delay_s))

    async def _follow(self) -> None:
        """One line, and those that take over from it; until the one that counts is lost."""
        self._status.links["market"] = "connecting"
        async with trio.open_nursery() as lines:
            self._restarting = trio.Event()
            await lines.start(self._hold_first)
            await self._rotation.repeat("market", lambda: self._restarting, lambda: self._replace(lines))

    # -- lines ----------------------------------------------------------------------------------------------------
    async def _hold_first(self, *, task_status: trio.TaskStatus[None]) -> None:
        names = stream_names(self._rules, self._params)
        try:
            async with open_line(self._url, names, owed=OWED, access=self._rotation.access) as line:
                number = self._counts = next(self._rotation.numbers)
                self._sieve.afresh()
                await self._tell_history()
                self._say("up", session=number)
                async with trio.open_nursery() as beside:
                    beside.start_soon(self._ask_for_a_quiet_book, line)
                    task_status.started()
                    await self._pump(line, number)
                    beside.cancel_scope.cancel()
        except LinkLost as error:
            raise await self._rest.classify(error) from error

    async def _replace(self, lines: trio.Nursery) -> None:
        """Open a second line, and let it take over; LinkError when it cannot be, with the old one as it was."""
        self._restarting = trio.Event()
        over = trio.Event()
        lost: list[LinkError] = []
        lines.start_soon(self._hold_next, over, lost)
        await over.wait()
        if lost:
            raise lost[0]

    async def _hold_next(self, over: trio.Event, lost: list[LinkError]) -> None:
        number = next(self._rotation.numbers)
        try:
            names = stream_names(self._rules, self._params)
            async with open_line(self._url, names, owed=OWED, access=self._rotation.access) as line:
                await self._take_over(line, number)
                over.set()
                await self._pump(line, number)
        except* LinkError as group:
            if self._counts == number:
                raise
            error = first_of(group)
            assert isinstance(error, LinkError), "it was caught as one"
            lost.append(error)
            over.set()

    async def _take_over(self, line: Line, number: int) -> None:
        """Collect what the new line brings until the old one has told what came before it; then it counts."""
        waiting: list[MarketRecord] = []
        began = trio.current_time()
        while not self._sieve.caught_up(waiting):
            waiting += self._read(await line.receive(trio.current_time() + machine_s(BEAT_S)))
            if trio.current_time() - began > machine_s(OVERLAP_S):
                if not waiting:
                    raise LinkStale("market: the new line brings nothing")
                break
        self._counts = number
        batch = self._sieve.follow(waiting, trio.current_time())
        self._say("up", session=number, why="took over before the old line was cut")
        if batch:
            self._put(batch)

    async def _pump(self, line: Line, number: int) -> None:
        """Hand on what a line brings, as long as it is the one that counts, and its beat advances."""
        vitals = self._status.vitals
        since = vitals.market_since = trio.current_time()
        if vitals.beat_at is None:
            vitals.beat_at = since  # of the first line it is owed from now on
        while self._counts == number:
            beat_at = self._sieve.beat_at
            owed_at = (since if beat_at is None else max(beat_at, since)) + machine_s(self._beat_s)
            records = self._read(await line.receive(owed_at))
            if self._counts != number:
                return
            batch = self._sieve.fit(records, trio.current_time())
            if self._sieve.beat_at is not None:
                vitals.beat_at = self._sieve.beat_at
            if self._sieve.gap:
                line.rest()
                await self._fill_gap()
                since = trio.current_time()
            if batch:
                self._put(batch)

    def _read(self, payloads: list[bytes]) -> list[MarketRecord]:
        self._status.frames += len(payloads)
        date_ns, now = self._clock.now_ns(), trio.current_time()
        bad: list[WireError] = []
        rounded = self._decoder.rounded
        records = self._decoder.decode_all(payloads, date_ns, bad)
        self._status.latency.received(now, date_ns, event_ms(records))
        if self._decoder.rounded != rounded:
            self._off_grid()
        for error in bad:
            self._count_bad(error)
        for record in records:
            if isinstance(record, ServerShutdown):
                self._restarting.set()
        return records

    def _count_bad(self, error: WireError) -> None:
        """What cannot be read is left out, and said; too much of it is a line that is broken."""
        now = trio.current_time()
        self._bad.append(now)
        self._journal.write("warning", what="market payload", why=str(error))
        if len(self._bad) > BAD_A_MINUTE and now - self._bad[0] < machine_s(60):
            self._bad.clear()
            raise LinkStale(f"market: more than {BAD_A_MINUTE} payloads in a minute cannot be read; last: {error}")

    # -- what is asked for over REST ------------------------------------------------------------------------------
    async def _tell_history(self) -> None:
        if self._params.reference == "trade":
            return  # klines of trades are made of trades, those of the past by a rebuild
        now_ms = self._clock.now_ns() // 1_000_000
        params = self._params
        self._put(History(await self._rest.klines(self._rules, params.kline_interval, params.kline_history, now_ms)))

    async def _fill_gap(self) -> None:
        """Candles are missing between two that the line has told: they go before the newer one."""
        self._sieve.gap = False
        self._journal.write("link", name="market", state="gap", why="a candle is missing: asked for")
        await self._tell_history()

    async def _ask_for_a_quiet_book(self, line: Line) -> None:
        """A book that does not change tells nothing: where none has come, it is asked for."""
        await trio.sleep(machine_s(QUIET_S))
        while not self._sieve.quoted:
            try:
                quote = await self._rest.book(self._rules)
                self._status.latency.received(trio.current_time())
            except (LinkError, WireError, OrderRejected, OrderUnknown) as error:
                self._journal.write("link", name="rest", state="lost", why=f"the resting book: {error}")
                quote = None
            if quote is not None and not self._sieve.quoted:
                self._put(self._sieve.fit([quote], trio.current_time()))
            await trio.sleep(machine_s(BEAT_S))

    # -- handing over ---------------------------------------------------------------------------------------------
    def _put(self, item: Item) -> None:
        """Into the channel, or behind what waits for room there."""
        if self._status.vitals.waiting_since is None:
            self._status.vitals.waiting_since = trio.current_time()
        if isinstance(item, list):
            self._status.latency.handed()
        if not self._waiting:
            try:
                self._out.send_nowait(item)
            except trio.WouldBlock:
                self._waiting.append(item)
                self._late.set()
            return
        last = self._waiting[-1]
        if isinstance(last, list) and isinstance(item, list) and len(self._waiting) > 1:
            last.extend(item)
            if len(last) > MOST_WAITING:
                raise LinkSlow(f"{len(last)} market records wait for the strategy")
        else:
            self._waiting.append(item)

    async def _hand_over(self) -> None:
        """What waits, in order; LinkSlow when the strategy takes nothing for too long."""
        while True:
            await self._late.wait()
            self._late = trio.Event()
            while self._waiting:
                try:
                    with trio.fail_after(machine_s(STALL_S)):
                        await self._out.send(self._waiting[0])
                except trio.TooSlowError:
                    raise LinkSlow(f"the strategy has not taken a batch for {STALL_S:g} s") from None
                self._waiting.popleft()

    def _say(self, state: str, **why: object) -> None:
        self._status.links["market"] = state
        self._journal.write("link", name="market", state=state, **why)
