"""Public trades of the past, read forwards over REST; and the trades that a market line has left out.

Trade ids are consecutive. A line that was cut, or that skipped one, leaves a gap, fetched before anything later
is passed on, so that whoever folds gets each trade once and in order. That the exchange does not have a trade either
(a recording may have gaps of its own) is said, and not asked again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import trio

from tetrio.core.market import Quote, Trade
from tetrio.core.money import SymbolRules
from tetrio.errors import LinkLost
from tetrio.journal import Journal
from tetrio.live.feed import Item
from tetrio.live.rest import PAGE, Rest
from tetrio.live.sieve import Seen
from tetrio.live.strategy import Inbound
from tetrio.net.clock import machine_s
from tetrio.status import Status
from tetrio.wire.request import Aggregate

BUFFERED = 20_000  # trades that wait for a rebuild to end; older ones can be fetched
BEHIND_S = 0.2  # REST may be a little behind the line
BEHIND_TRIES = 10
SKEW_MS = 2000  # recorded times may step back


class Tape:
    """Aggregate trades from some time on, page by page."""

    def __init__(self, rest: Rest, rules: SymbolRules) -> None:
        self._rest, self._rules = rest, rules
        self._page: deque[Aggregate] = deque()
        self._from_ms: int | None = None
        self._next_id: int | None = None
        self._ended = False

    async def read(self, start_ms: int, end_ms: float) -> list[Aggregate]:
        """Those from the first that is not before `start_ms` up to the first that is not before `end_ms`.

        In the order of their ids: one whose time steps back stays with those around it.
        """
        await self._seek(start_ms)
        found = list[Aggregate]()
        while (each := await self._head()) is not None and each.at_ms < end_ms:
            found.append(self._page.popleft())
            self._from_ms = each.at_ms + 1
        return found

    async def _seek(self, start_ms: int) -> None:
        while self._page and self._page[0].at_ms < start_ms:
            self._page.popleft()
        if self._page and self._from_ms is not None and self._from_ms <= start_ms:
            return
        self._from_ms, self._ended = start_ms, False
        self._take(await self._rest.aggregates(self._rules, start_ms=start_ms))

    async def _head(self) -> Aggregate | None:
        if not self._page and not self._ended and self._next_id is not None:
            self._take(await self._rest.aggregates(self._rules, from_id=self._next_id))
        return self._page[0] if self._page else None

    def _take(self, page: Sequence[Aggregate]) -> None:
        self._page = deque(page)
        self._ended = len(page) < PAGE
        self._next_id = page[-1].agg_id + 1 if page else None


class Continuity:
    """What stands between the market line and the strategy: every trade once, in order, none missing.

    Until `begin` tells after which trade the strategy wants them, what comes waits here, bounded: trades that do not
    fit are fetched like any gap.
    """

    def __init__(self, rest: Rest, rules: SymbolRules, *, journal: Journal, status: Status) -> None:
        self._rest, self._rules, self._journal, self._status = rest, rules, journal, status
        self._early: deque[Seen] = deque(maxlen=BUFFERED)
        self._others = list[Item]()
        self._begun = False
        self._last_id = -1
        self._last_ms = 0

    def begin(self, last_id: int = -1, last_ms: int = 0) -> None:
        """The strategy has folded all up to this trade; -1: none, and the first that comes is its first."""
        self._begun, self._last_id, self._last_ms = True, last_id, last_ms

    async def run(self, source: trio.MemoryReceiveChannel[Item], out: trio.MemorySendChannel[Inbound]) -> None:
        """Until the source closes, or cancelled; LinkLost when a gap cannot be fetched.

        The source is left open: a feed that still puts something there while all is cancelled is not to fail by that.
        """
        with out:
            async for item in source:
                if self._begun:
                    for early in self._waiting():
                        await self._pass_on(early, out)
                    await self._pass_on(item, out)
                else:
                    self._hold_back(item)

    def _hold_back(self, item: Item) -> None:
        """Keep it; of histories and lost lines the last is enough."""
        self._status.vitals.waiting_since = None  # it waits for the exchange's past, not for the strategy
        if isinstance(item, list):
            self._early.extend(item)
        else:
            self._others = [other for other in self._others if type(other) is not type(item)] + [item]

    def _waiting(self) -> list[Item]:
        waiting = [*self._others, *([list(self._early)] if self._early else [])]
        self._others.clear()
        self._early.clear()
        return waiting

    async def _pass_on(self, item: Item, out: trio.MemorySendChannel[Inbound]) -> None:
        await out.send(await self._whole(item) if isinstance(item, list) else item)

    async def _whole(self, batch: list[Seen]) -> list[Seen]:
        """The batch without trades that were there before, and with those that are missing."""
        found = list[Seen]()
        for record in batch:
            if isinstance(record, Trade):
                if record.trade_id <= self._last_id:
                    continue
                if self._last_id >= 0 and record.trade_id != self._last_id + 1:
                    found += await self._missing(record)
                self._last_id, self._last_ms = record.trade_id, record.at_ms
            found.append(record)
        return found

    async def _missing(self, until: Trade) -> list[Trade]:
        """The trades between the last one and `until`, as far as the exchange has them."""
        first, count = self._last_id + 1, until.trade_id - self._last_id - 1
        found = list[Trade]()
        for _ in range(BEHIND_TRIES):
            aggregates = await self._between(until)
            found = [self._as_trade(each) for one in aggregates for each in one.trades(first - 1, until.trade_id)]
            if len(found) == count or any(one.last_id >= until.trade_id for one in aggregates):
                break
            await trio.sleep(machine_s(BEHIND_S))
        else:
            raise LinkLost(f"market: trades {first} to {until.trade_id - 1} are missing and cannot be fetched yet")
        missing = count - len(found)
        self._journal.write(
            "rebuilt", what="trades", source="aggTrades", first=first, last=until.trade_id - 1, folded=len(found),
            missing=missing or None, why="the exchange has no such trades" if missing else None,
        )  # fmt: skip
        return found

    async def _between(self, until: Trade) -> list[Aggregate]:
        """Aggregates from about the last trade to the one that holds `until`, as far as there are any."""
        page = await self._rest.aggregates(self._rules, start_ms=self._last_ms - SKEW_MS)
        found = page
        while len(page) == PAGE and page[-1].last_id < until.trade_id:
            page = await self._rest.aggregates(self._rules, from_id=page[-1].agg_id + 1)
            found += page
        return found

    @staticmethod
    def _as_trade(quote: Quote) -> Trade:
        return Trade(quote.bid, 0, quote.update_id, quote.at_ns // 1_000_000, buyer_is_maker=False)
