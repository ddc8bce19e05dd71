"""Trades that a line left out are fetched before anything later is passed on; each comes once, in order."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.sim.served import KEYS, SYMBOL, Line, record, top, trade
from tetrio.core.market import Trade
from tetrio.journal import Journal, StreamSink
from tetrio.live.feed import Gone, Item
from tetrio.live.rest import PAGE, Rest, open_rest
from tetrio.live.strategy import Inbound
from tetrio.live.tape import Continuity, Tape
from tetrio.net.clock import AnchoredClock
from tetrio.net.line import open_line
from tetrio.net.simnet import with_simnet
from tetrio.sim.exchange import Clocks, Exchange, ExchangeConfig
from tetrio.sim.face.limits import PRODUCTION
from tetrio.sim.market.tape import open_market
from tetrio.status import Status
from tetrio.wire.rules import RateLimit

COUNT = 2500


@attrs.define
class Past:
    """An exchange that has played its market, asked over REST."""

    rest: Rest
    exchange: Exchange
    facts: io.StringIO
    first_id: int
    first_ms: int

    def line(self, number: int) -> Trade:
        """A trade of the recording as the stream tells it."""
        return Trade(341_236 + number % 7, 1, self.first_id + number, self.first_ms + 10 * number, buyer_is_maker=True)

    def told(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.facts.getvalue().splitlines()]

    async def passed(self, begun: int | None, *items: Item) -> list[Inbound]:
        """What comes out of the continuity; `begun` after that trade, -1: after none."""
        rules = self.exchange.venue.rules
        continuity = Continuity(self.rest, rules, journal=Journal([StreamSink(self.facts)], lambda: 0), status=Status())
        send, source = trio.open_memory_channel[Item](99)
        out, received = trio.open_memory_channel[Inbound](99)
        if begun is not None:
            before = self.line(begun)
            continuity.begin(before.trade_id if begun >= 0 else -1, before.at_ms)
        for item in items:
            await send.send(item)
        send.close()
        await continuity.run(source, out)
        return [item async for item in received]


def lines() -> list[Line]:
    tops = [top(0, "3412.36", "1.8420", "3412.37", "0.7714"), top(3600, "3412.36", "1.8420", "3412.37", "0.7714")]
    return [*tops, *(trade(number / 100, f"3412.{36 + number % 7}", "0.0001") for number in range(COUNT))]


@asynccontextmanager
async def played(path: Path, gap: range = range(0), **settings: Any) -> AsyncIterator[Past]:
    told = lines()
    told = [line for number, line in enumerate(told, -2) if number not in gap]
    market = open_market(record(path / "market", told), SYMBOL)
    clock = AnchoredClock(market.first_ns)
    exchange = Exchange(ExchangeConfig(market=market, keys=KEYS, clocks=Clocks(clock.now_ns, joined=True), **settings))
    async with with_simnet(), trio.open_nursery() as nursery:
        urls = await nursery.start(exchange.run)
        async with open_line(urls.stream, [f"{SYMBOL.lower()}@trade"]):
            await trio.sleep(30)
        async with open_rest(urls.rest, clock.now_ns) as rest:
            ids = [each.first_id for each in exchange.venue.aggregates.newest(10**6)]
            yield Past(rest, exchange, io.StringIO(), ids[0], exchange.venue.aggregates.from_id(0, 1)[0].at_ms)
        nursery.cancel_scope.cancel()


def numbers(past: Past, batch: Inbound) -> list[int]:
    assert isinstance(batch, list)
    return [each.trade_id - past.first_id for each in batch if isinstance(each, Trade)]


async def test_the_past_is_read_page_by_page_and_again(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with played(tmp_path) as past:
        tape = Tape(past.rest, past.exchange.venue.rules)
        some = await tape.read(past.first_ms + 20, past.first_ms + 50)
        assert [each.first_id - past.first_id for each in some] == [2, 3, 4]
        rest = await tape.read(past.first_ms + 50, float("inf"))
        assert [each.first_id - past.first_id for each in rest] == list(range(5, COUNT))
        again = await tape.read(past.first_ms, past.first_ms + 20)
        assert [each.first_id - past.first_id for each in again] == [0, 1]
        assert past.rest.asked <= COUNT // PAGE + 4


@pytest.mark.fault("F50")
async def test_a_gap_is_filled_and_duplicates_are_dropped(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with played(tmp_path) as past:
        first, *later = await past.passed(4, [past.line(3), past.line(5)], Gone(), [past.line(5), past.line(1900)])
        assert numbers(past, first) == [5]
        assert later[0] == Gone()
        assert numbers(past, later[1]) == list(range(6, 1901))
        assert [(fact["folded"], fact.get("missing")) for fact in past.told()] == [(1894, None)]


async def test_until_the_strategy_has_folded_the_past_all_waits(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with played(tmp_path) as past:
        assert await past.passed(None, [past.line(3)], [past.line(4)]) == []
        assert [numbers(past, batch) for batch in await past.passed(-1, [past.line(7)])] == [[7]]


async def test_trades_that_the_exchange_does_not_have_are_said_once(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with played(tmp_path, gap=range(100, 140)) as past:
        (batch,) = await past.passed(50, [past.line(200)])
        assert numbers(past, batch) == [*range(51, 100), *range(140, 201)]
        assert [(fact["folded"], fact["missing"]) for fact in past.told()] == [(109, 40)]


@pytest.mark.fault("F37", "F88")
async def test_the_past_is_asked_for_within_the_weight_of_a_minute(tmp_path: Path, autojump_clock: MockClock) -> None:
    limits = [
        RateLimit(rate_limit_type="REQUEST_WEIGHT", interval="MINUTE", interval_num=1, limit=100),
        *PRODUCTION[1:],
    ]
    async with played(tmp_path, limits=limits) as past:
        rules, _ = await past.rest.symbol(SYMBOL)
        began = trio.current_time()
        for _ in range(60):
            await past.rest.aggregates(rules, limit=1)
        assert 120 <= trio.current_time() - began < 300
