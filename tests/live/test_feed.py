"""The feed against a real exchange, with a strategy that does not keep up."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.live.rig import lively
from tests.sim.served import SYMBOL, record
from tetrio.core.market import Quote
from tetrio.core.params import StrategyParams
from tetrio.errors import LinkSlow
from tetrio.journal import Journal
from tetrio.live.feed import STALL_S, Feed, Gone, History, Item
from tetrio.live.rest import open_rest
from tetrio.live.rotation import Rotation
from tetrio.net import clock
from tetrio.net.access import Access
from tetrio.net.simnet import with_simnet
from tetrio.sim.exchange import Clocks, Exchange, ExchangeConfig
from tetrio.sim.market.tape import open_market
from tetrio.status import Status

Clock = trio.testing.MockClock
PONG_S = 5.0


async def follow(tmp_path: Path, size: int, seconds: float, stall_s: float) -> tuple[list[Item], Status]:
    """Feed a reader that takes nothing for `stall_s` and everything afterwards, for `seconds` in all."""
    taken: list[Item] = []
    status, journal = Status(), Journal([], lambda: 0)
    market = open_market(record(tmp_path / "market", lively(0.1)), SYMBOL)
    now = clock.AnchoredClock(market.first_ns)
    # a pong that is late is a connection that is cut: the exchange pings each second and waits for five
    clocks = Clocks(now.now_ns, joined=True)
    exchange = Exchange(ExchangeConfig(market=market, clocks=clocks, keys={}, ping_s=1.0, pong_s=PONG_S))
    async with with_simnet(), trio.open_nursery() as serving:
        urls = await serving.start(exchange.run)
        async with open_rest(urls.rest, now.now_ns) as rest, trio.open_nursery() as nursery:
            rules, _ = await rest.symbol(SYMBOL)
            out, inbound = trio.open_memory_channel[Item](size)
            feed = Feed(
                urls.stream, rest, rules, StrategyParams(reference="book"), out=out, status=status, journal=journal,
                clock=now,
                rotation=Rotation(Access(random.Random(1)), journal, random.Random(1)), off_grid=lambda: None,
            )  # fmt: skip
            nursery.start_soon(feed.run)
            await trio.sleep(stall_s)
            with trio.move_on_after(seconds - stall_s):
                async for item in inbound:
                    taken.append(item)
            nursery.cancel_scope.cancel()
        serving.cancel_scope.cancel()
    return taken, status


@pytest.mark.fault("F11", "F94", "F103")
async def test_a_strategy_that_stands_still_for_a_while_misses_nothing_and_no_pong_is_late(
    tmp_path: Path, autojump_clock: Clock
) -> None:
    taken, _ = await follow(tmp_path, 2, 60, STALL_S - 1)
    assert isinstance(taken[0], History)
    assert not [item for item in taken if isinstance(item, Gone)], "the line was not cut"
    numbers = [each.update_id for item in taken if isinstance(item, list) for each in item if isinstance(each, Quote)]
    assert len(numbers) > 50
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


@pytest.mark.fault("F94")
async def test_a_strategy_that_takes_nothing_ends_the_epoch(tmp_path: Path, autojump_clock: Clock) -> None:
    began = trio.current_time()
    with pytest.RaisesGroup(LinkSlow, flatten_subgroups=True):
        await follow(tmp_path, 2, 60, 59)
    assert trio.current_time() - began < STALL_S + 5
