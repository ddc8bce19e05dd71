"""The state of the kernel, rebuilt from the exchange: from the last change of regime that can be told to be a start.

    1  from the balances back through the own trades to the last change of regime by a take-profit, and one more: when
       it was made the gate was open, which no other change tells
    2  the klines before it, the trades of its own kline before it, then the own trade itself as the first observation
    3  on from there: candles whole where nothing can have been decided inside them, and all their trades where
       something may have been; own trades and the operator's words at their places
    4  the line goes on after the last trade folded (`live.tape`)

A reconnect is the same fold on from the state in memory, without 1 and 2. All that is asked for here is paced, and
told: in the status while it lasts, in the journal when it is done.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Sequence

import attrs
import msgspec

from tetrio.core import kernel, whole
from tetrio.core.kernel import Command, Word
from tetrio.core.market import INTERVALS_MS, Kline, Quote, Reason, Regime
from tetrio.core.money import SymbolRules, plain
from tetrio.core.params import StrategyParams
from tetrio.core.purse import Change, OwnTrade, Purse, changes
from tetrio.core.refold import Refold, Said, Told
from tetrio.core.state import NOWHERE, KernelRules, State
from tetrio.journal import Journal
from tetrio.live.reckoning import Reckoning
from tetrio.live.rest import PAGE, Rest
from tetrio.live.tape import Tape
from tetrio.status import Status
from tetrio.wire.request import Aggregate, Candle

MOST_PAGES = 20  # of own trades, 1000 each
MOST_CHANGES = 200
TAKE_PROFITS = 2  # how many changes by take-profit the fold begins before now
SLACK_MS = 5000  # an own trade or a word this near a candle may lie in it: the clocks of the two are not the same
LATE_MS = 5000  # what has happened since it was begun to be caught up with
WIDE_MS = 120_000
FINER = "1m"  # what longer klines are looked into by
NS_MS = 1_000_000


@attrs.frozen(kw_only=True)
class Words:
    """The operator's words with their places, as the latch keeps them."""

    paused: bool = False
    """Whether it was paused before the first of them."""
    said: Sequence[Said] = ()

    def until(self, trade_id: int) -> bool:
        """Whether it was paused when that trade came."""
        paused = self.paused
        for each in self.said:
            if each.after_id < trade_id and each.command.word in (Word.PAUSE, Word.RESUME):
                paused = each.command.word is Word.PAUSE
        return paused


@attrs.define
class _Count:
    candles: int = 0
    trades: int = 0
    missing: int = 0
    """Trades that must have been, by their ids, and that the exchange does not tell."""


class Rebuilder:
    """Asks for the past of one symbol and folds it."""

    def __init__(
        self,
        rest: Rest,
        rules: SymbolRules,
        params: StrategyParams,
        *,
        now_ms: Callable[[], int],
        journal: Journal,
        status: Status,
    ) -> None:
        """`params`: as the strategy's; the past is always folded by its trades."""
        self._rest, self._rules = rest, rules
        self._params = attrs.evolve(params, reference="trade")
        self._now_ms, self._journal, self._status = now_ms, journal, status
        self._tape = Tape(rest, rules)
        self._count = _Count()
        self._told = list[Told]()
        self._passed = 0
        """Trades in candles that were taken whole since the last one that was folded by itself."""
        self._looked_at = 0
        """How many own trades, where there may be older ones that tell more."""
        self._skew_ms = 0
        """How far the public's times of trades are ahead of the account's."""

    # -- from nothing -----------------------------------------------------------------------------------------------
    async def from_trades(
        self, held: Purse, newest: list[OwnTrade], reckoning: Reckoning, words: Words
    ) -> Refold | None:
        """The fold up to now; None where no own trade tells where to begin.

        held     what is held now
        newest   own trades that made it, oldest first, as far as they have been asked for
        """
        start, own = await self._start(held, newest, reckoning)
        if start is None:
            return None
        change, reason = start
        fold = await self._begin(change, own, words)
        if reason == Reason.HARD_STOP.value:  # all that is known from before is that the gate had closed, in BASE
            fold.set(msgspec.structs.replace(fold.state, gate_closed=True, gate_regime=Regime.BASE, zone=NOWHERE))
        await self.catch_up(fold)
        trade = change.trade
        self._tell(fold, since=trade.trade_id, since_ms=trade.at_ms, reason=reason or "not ours")
        return fold

    async def _start(
        self, held: Purse, newest: list[OwnTrade], reckoning: Reckoning
    ) -> tuple[tuple[Change, str] | None, list[OwnTrade]]:
        """The change to begin from, with its reason, and the own trades since before it, oldest first."""
        own, after, found = newest, held, list[tuple[Change, str]]()
        page, take_profits = newest, 0
        for _ in range(MOST_PAGES):
            for change in changes(after, reversed(page)):
                reason = await reckoning.reason(change.trade) or ""
                found.append((change, reason))
                take_profits += reason == Reason.TAKE_PROFIT.value
                if take_profits == TAKE_PROFITS or len(found) == MOST_CHANGES:
                    return _first(found), own
            for trade in reversed(page):
                after = after.before(trade)
            self._status.detail = f"rebuilding: looked at {len(own):,} own trades"
            page = await reckoning.older(page[0]) if len(own) >= PAGE else []
            if not page:
                return _first(found), own
            own = [*page, *own]
        self._looked_at = len(own) - len(page)
        return _first(found), own

    async def from_now(self, held: Purse) -> Refold:
        """No own trade tells where to begin: the first trade that comes is the first observation."""
        newest = await self._rest.aggregates(self._rules, limit=1)
        opened = newest[-1].at_ms // self._params.kline_ms * self._params.kline_ms if newest else None
        state = await self._warmed(opened)
        forming = [] if opened is None else await self._tape.read(opened, math.inf)
        if opened is not None and forming:
            state = whole.trace(state, _candle(opened, forming))
        last = forming[-1] if forming else newest[-1] if newest else None
        which = f"none of the newest {self._looked_at:,} own trades" if self._looked_at else "no own trade"
        self._journal.write(
            "rebuilt", what="anchor", source="none",
            why=f"{which} has changed the regime: the first trade from now on is the anchor",
        )  # fmt: skip
        return Refold(state, held) if last is None else Refold(state, held, last.last_id, last.at_ms)

    async def _begin(self, change: Change, own: Sequence[OwnTrade], words: Words) -> Refold:
        """The fold with the trade of that change as its first observation, and what is known of later."""
        trade = change.trade
        public = await self._public(trade)
        at_ms = public.at_ns // 1_000_000
        self._skew_ms = at_ms - trade.at_ms
        state = await self._formed(at_ms, trade.trade_id)
        if words.until(trade.trade_id):
            state, _ = kernel.on_command(state, Command(Word.PAUSE))
        fold = Refold(state, change.purse.before(trade), trade.trade_id - 1, at_ms)
        for each in own:
            if each.trade_id >= trade.trade_id:
                fold.own(each)
        fold.follow(said for said in words.said if said.after_id >= trade.trade_id)
        fold.trades([public])
        return fold

    async def _public(self, trade: OwnTrade) -> Quote:
        """An own trade as the public saw it: its time is of the clock by which candles are made."""
        for slack_ms in (SLACK_MS, WIDE_MS):
            for each in await self._tape.read(trade.at_ms - slack_ms, trade.at_ms + slack_ms):
                if each.first_id <= trade.trade_id <= each.last_id:
                    return Quote(each.price, each.price, trade.trade_id, each.at_ms * NS_MS)
        found = await self._by_number(trade.trade_id)
        return trade.observation if found is None else found

    async def _by_number(self, trade_id: int) -> Quote | None:
        """The same where the two clocks are far apart, as beside a recorded market: by halves, as ids only grow."""
        newest = await self._rest.aggregates(self._rules, limit=1)
        if not newest or trade_id > newest[-1].last_id:
            return None
        most = newest[-1].agg_id
        least = max(0, most - (newest[-1].last_id - trade_id))  # an aggregate has one trade at least
        while least <= most:
            middle = (least + most) // 2
            page = await self._rest.aggregates(self._rules, from_id=middle, limit=1)
            if not page or page[0].first_id > trade_id:
                most = middle - 1
            elif page[0].last_id < trade_id:
                least = page[0].agg_id + 1
            else:
                return Quote(page[0].price, page[0].price, trade_id, page[0].at_ms * NS_MS)
        return None

    async def _formed(self, at_ms: int, trade_id: int) -> State:
        """The klines as they were just before a trade."""
        length, minute = self._params.kline_ms, INTERVALS_MS[FINER]
        opened = at_ms // length * length
        state, since = await self._warmed(opened), opened
        if length > minute:
            since = at_ms // minute * minute
            async for candle in self._candles(FINER, opened, since):
                if candle.trades:
                    state = whole.trace(state, candle.kline)
        before = [each for each in await self._tape.read(since, at_ms + 1) if each.first_id < trade_id]
        return whole.trace(state, _candle(since, before)) if before else state

    async def _warmed(self, opened: int | None) -> State:
        """Nothing but the klines before one; up to now where nobody has traded yet."""
        params = self._params
        klines = await self._rest.klines(
            self._rules, params.kline_interval, params.kline_history, self._now_ms(), before_ms=opened
        )
        if opened is None and klines and klines[-1].low == klines[-1].high:
            klines.pop()  # nobody has traded in it, or at one price: the first trade begins it anew
        return kernel.start(params, KernelRules.of(self._rules), klines)

    # -- on from a state ----------------------------------------------------------------------------------------------
    async def resume(self, fold: Refold, told: list[Told]) -> None:
        """Catch up with what happened since the last trade that is folded; `told` takes what that decides."""
        since = fold.last_id
        self._told = told
        await self.catch_up(fold)
        self._tell(fold, since=since)

    async def catch_up(self, fold: Refold) -> None:
        """Fold what the exchange has by now; told as it goes."""
        while fold.last_id >= 0:
            began = self._now_ms()
            interval = self._params.kline_interval
            levels = (interval,) if self._params.kline_ms <= INTERVALS_MS[FINER] else (interval, FINER)
            await self._span(fold, fold.last_ms, math.inf, levels)
            await self._find_last(fold)
            if self._now_ms() - began < LATE_MS:
                break
        fold.said()

    async def _span(self, fold: Refold, start_ms: int, end_ms: float, levels: Sequence[str]) -> None:
        """Candle by candle; the newest of all may still change, and is folded by its trades."""
        length = INTERVALS_MS[levels[0]]
        opened = start_ms // length * length
        newest: Candle | None = None
        async for candle in self._candles(levels[0], opened, end_ms):
            if newest is not None:
                await self._candle(fold, newest.kline.open_ms, newest, levels)
            newest = candle
        if newest is None:
            await self._trades(fold, opened, end_ms)
        elif end_ms < math.inf:
            await self._candle(fold, newest.kline.open_ms, newest, levels)
        else:
            await self._inside(fold, newest.kline.open_ms, math.inf, levels)

    async def _candle(self, fold: Refold, opened: int, candle: Candle, levels: Sequence[str]) -> None:
        """Whole, or what is inside it."""
        end = opened + INTERVALS_MS[levels[0]]
        self._status.detail = f"rebuilding: {(self._now_ms() - opened) // 60_000:,} minutes left"
        if not candle.trades or end <= fold.last_ms:
            return
        if fold.last_ms < opened and not self._busy(fold, candle, end):
            taken = whole.take(fold.state, candle.kline, end - opened)
            if taken is not None:
                fold.set(taken, last_ms=end - 1)
                self._count.candles += 1
                self._passed += candle.trades
                return
        await self._inside(fold, opened, end, levels)

    async def _inside(self, fold: Refold, start_ms: int, end_ms: float, levels: Sequence[str]) -> None:
        if len(levels) > 1:
            await self._span(fold, max(start_ms, fold.last_ms), end_ms, levels[1:])
        else:
            await self._trades(fold, start_ms, end_ms)

    def _busy(self, fold: Refold, candle: Candle, end_ms: int) -> bool:
        """Whether an own trade or a word of the operator's may lie in a candle: by its time, and by its number, for the
        account's clock may have leapt against the one that candles are made by.
        """
        times = list[int]()
        if (own := fold.coming) is not None:
            times.append(own.at_ms + self._skew_ms)
            if own.trade_id <= fold.last_id + self._passed + candle.trades:
                return True
        if (word := fold.next_word) is not None:
            times.append(word.at_ms)
        return any(at_ms < end_ms + SLACK_MS for at_ms in times)

    async def _trades(self, fold: Refold, start_ms: int, end_ms: float) -> None:
        trades = [trade for each in await self._tape.read(start_ms, end_ms) for trade in each.trades(fold.last_id)]
        self._count.trades += len(trades)
        if trades:
            self._count.missing += max(0, trades[0].update_id - fold.last_id - self._passed - 1)
            self._passed = 0
        self._told.append(fold.trades(trades))

    async def _find_last(self, fold: Refold) -> None:
        """The id of the last trade, where that is in a candle that was taken whole."""
        while isinstance(last := fold.state.last, Quote) and last.update_id < 0:
            newest = (await self._rest.aggregates(self._rules, limit=1))[-1]
            if newest.at_ms > fold.last_ms:  # it has come since
                await self._trades(fold, fold.last_ms + 1, math.inf)
            else:
                observed = Quote(newest.price, newest.price, newest.last_id, newest.at_ms * NS_MS)
                fold.set(
                    msgspec.structs.replace(fold.state, last=observed), last_id=newest.last_id, last_ms=newest.at_ms
                )
                self._passed = 0

    async def _candles(self, interval: str, start_ms: int, end_ms: float) -> AsyncIterator[Candle]:
        """Those that open within, oldest first."""
        at, length = start_ms, INTERVALS_MS[interval]
        until = int(min(end_ms, self._now_ms() + length))
        while at < until:
            page = await self._rest.candles(self._rules, interval, at, until)
            for candle in page:
                yield candle
            if len(page) < PAGE:
                return
            at = page[-1].kline.open_ms + length

    def _tell(self, fold: Refold, **facts: object) -> None:
        state, count, want = fold.state, self._count, kernel.want(fold.state)
        self._journal.write(
            "rebuilt", what="state", source="myTrades, klines, aggTrades", last=fold.last_id, candles=count.candles,
            trades=count.trades, requests=self._rest.asked, regime=state.regime,
            anchor=_plain(state.anchor, self._rules), high=_plain(state.high, self._rules),
            gate="closed" if state.gate_closed else "open", armed=None if want is None else want.reason,
            missing=count.missing or None,
            why="the exchange has no such trades: what they decided is not known" if count.missing else None, **facts,
        )  # fmt: skip
        self._count = _Count()


def _first(found: Sequence[tuple[Change, str]]) -> tuple[Change, str] | None:
    """Of changes, newest first: the oldest by a take-profit; the oldest of all where there is none."""
    take_profits = [each for each in found if each[1] == Reason.TAKE_PROFIT.value]
    chosen = take_profits or found
    return chosen[-1] if chosen else None


def _candle(opened: int, trades: Sequence[Aggregate]) -> Kline:
    prices = [float(each.price) for each in trades]
    return Kline(opened, prices[0], max(prices), min(prices), prices[-1])


def _plain(price: float | None, rules: SymbolRules) -> str | None:
    return None if price is None else plain(int(price), rules.tick_size)
