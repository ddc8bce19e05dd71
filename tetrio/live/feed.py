"""The feed task: the market line to batches of observations, in order, none skipped.

A batch is what one read of the line brought. It goes over a bounded channel and the feed waits for room (backpressure),
for so long and no longer: a strategy that is stuck ends the epoch instead of trading on an old book. Each connection
begins with the klines of the exchange, asked for once the line is open, so that none is missing between the two.

A stream with a steady beat (kline_1s) shows that the line is alive: a book may rest, its beat may not. A line that is
lost is reconnected a few times here, with the strategy told that its book is old; when that fails the epoch ends.
"""

from __future__ import annotations

import attrs
import trio

from tetrio.core.market import Kline, Quote, Trade
from tetrio.core.money import SymbolRules
from tetrio.core.params import StrategyParams
from tetrio.errors import LinkError, LinkLost, LinkStale
from tetrio.journal import Journal
from tetrio.live.rest import Rest
from tetrio.net.clock import Clock, machine_s
from tetrio.net.line import Line, open_line
from tetrio.status import Status
from tetrio.wire.stream import Insane, KlineUpdate, MarketDecoder, ServerShutdown

BATCHES = 64  # reads of 64 KiB: more than a second of the busiest market known
STALL_S = 10.0  # longer than a sync takes, well under the minute after which the exchange cuts the line
BEAT_S = 5.0  # kline_1s comes each second
BEAT = "1s"
TRIES = 3
RETRY_S = 0.5


@attrs.frozen
class History:
    """Klines of the exchange, oldest first, the forming one last."""

    klines: list[Kline]


@attrs.frozen
class Gone:
    """The line is lost: what is known of the book is old."""


Seen = Quote | Trade | KlineUpdate | Insane
_SEEN = (Quote, Trade, KlineUpdate, Insane)
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


class Feed:
    """One symbol's market line."""

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
    ) -> None:
        self._url, self._rest, self._rules, self._params = url, rest, rules, params
        self._out, self._clock, self._status, self._journal = out, clock, status, journal
        self._decoder = MarketDecoder(rules)

    async def run(self) -> None:
        """Until cancelled; LinkError when the line is lost and cannot be had again."""
        failures = 0
        async with self._out:
            while True:
                began = trio.current_time()
                try:
                    await self._follow()
                except LinkError as error:
                    self._say("lost", why=str(error))
                    failures = failures + 1 if trio.current_time() - began < 60 else 1
                    if failures > TRIES:
                        raise
                    await self._put(Gone())
                await trio.sleep(machine_s(RETRY_S * failures))

    async def _follow(self) -> None:
        self._status.links["market"] = "connecting"
        async with open_line(self._url, stream_names(self._rules, self._params)) as line:
            if self._params.reference == "book":  # klines of trades are made of trades, those of the past by a rebuild
                now_ms = self._clock.now_ns() // 1_000_000
                count = self._params.kline_history
                history = await self._rest.klines(self._rules, self._params.kline_interval, count, now_ms)
                await self._put(History(history))
            self._say("up")
            await self._pump(line)

    async def _pump(self, line: Line) -> None:
        last_beat_ms, beat_at = -1, trio.current_time()
        self._status.vitals.beat_at = beat_at  # the line is up: the first beat is owed from now on
        while True:
            payloads = await line.receive(machine_s(BEAT_S))
            self._status.frames += len(payloads)
            batch: list[Seen] = []
            for record in self._decoder.decode_all(payloads, self._clock.now_ns()):
                if isinstance(record, ServerShutdown):
                    raise LinkLost("market: the exchange is about to restart")
                if isinstance(record, KlineUpdate):
                    if record.event_ms > last_beat_ms:
                        last_beat_ms, beat_at = record.event_ms, trio.current_time()
                        self._status.vitals.beat_at = beat_at
                    if record.interval != self._params.kline_interval:
                        continue
                if isinstance(record, _SEEN):
                    batch.append(record)
            if trio.current_time() - beat_at > machine_s(BEAT_S):
                raise LinkStale(f"market: the 1 s klines have not advanced for {BEAT_S:g} s")
            if batch:
                await self._put(batch, line)

    async def _put(self, item: Item, line: Line | None = None) -> None:
        if self._status.vitals.waiting_since is None:
            self._status.vitals.waiting_since = trio.current_time()
        try:
            self._out.send_nowait(item)
        except trio.WouldBlock:
            if line is not None:
                line.rest()
            try:
                with trio.fail_after(machine_s(STALL_S)):
                    await self._out.send(item)
            except trio.TooSlowError:
                raise LinkStale(f"the strategy has not taken a batch for {STALL_S:g} s") from None

    def _say(self, state: str, **why: object) -> None:
        self._status.links["market"] = state
        self._journal.write("link", name="market", state=state, **why)
