"""A past that is longer than one answer of the exchange holds: rebuilt all the same, or said what was not."""

from __future__ import annotations

from decimal import Decimal

import pytest
import trio

from tests.scenarios.restarts import Life, World, play
from tetrio.core.market import Regime, Side
from tetrio.health import Bounds
from tetrio.live import rebuild
from tetrio.live.epoch import SYNC_S
from tetrio.sim.engine.orders import OrderRequest
from tetrio.sim.face.venue import ACCOUNT
from tetrio.sim.market.aggregates import Aggregates
from tetrio.wire.rules import PRODUCTION_LIMITS, RateLimit

LITTLE = Decimal("0.0020")


async def based(world: World) -> Life:
    """A bot that has sold and bought, and that holds the base with nothing armed."""
    life = await world.begin()
    with trio.fail_after(3600):
        while world.exits("t") < 2 or life.fold.state.regime is not Regime.BASE or life.fold.state.armed:  # noqa: ASYNC110 - no event tells
            await trio.sleep(0.5)
    return life


async def trade_by_hand(world: World, times: int) -> None:
    """Somebody sells a little of the account's, and buys it back: his trades are the account's too."""
    venue = world.exchange.venue
    for number in range(times):
        side = Side.BUY if number % 2 else Side.SELL
        request = OrderRequest(symbol=venue.symbol, side=side, type="MARKET", quantity=LITTLE)
        placed = venue.engine.place(ACCOUNT, request, venue.now_ms(), venue.clock.now_ns())
        venue.change(placed.events)
        venue.tell(placed.events, placed.prints)
        await trio.sleep(0.004)


@pytest.mark.fault("F84", "F129")
@pytest.mark.parametrize("trades", [1_400, 3_400])
def test_thousands_of_own_trades_are_gone_back_through(trades: int) -> None:
    async def body(world: World) -> None:
        await world.kill(await based(world))
        await trade_by_hand(world, trades)
        life = await world.begin()
        await world.settled(life)
        world.compare(life)
        (rebuilt,) = life.facts("rebuilt", "state")
        assert rebuilt["reason"] == "t"

    play(body, seed=2)


def test_what_lies_beyond_the_trades_that_are_looked_at_is_said_to_be_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuild, "MOST_PAGES", 2)

    async def body(world: World) -> None:
        await world.kill(await based(world))
        await trade_by_hand(world, 3_400)
        life = await world.begin()
        assert life.facts("rebuilt", "state") == []
        (told,) = life.facts("rebuilt", "anchor")
        assert told["why"] == (
            "none of the newest 1,999 own trades has changed the regime: the first trade from now on is the anchor"
        )

    play(body, seed=2)


@pytest.mark.fault("F84")
@pytest.mark.parametrize("forgets", [True, False])
def test_trades_that_the_exchange_tells_no_more_are_said_to_be_missing(forgets: bool) -> None:
    async def body(world: World) -> None:
        await world.kill(await based(world))
        await trio.sleep(200)
        if forgets:
            world.exchange.venue.aggregates = Aggregates()
        await trio.sleep(100)
        life = await world.begin()
        (rebuilt,) = life.facts("rebuilt", "state")
        if forgets:
            assert rebuilt["missing"] + rebuilt["trades"] == rebuilt["last"] - rebuilt["since"]
            assert rebuilt["why"] == "the exchange has no such trades: what they decided is not known"
        else:
            assert "missing" not in rebuilt

    play(body, seed=2)


@pytest.mark.fault("F37", "F84")
def test_a_past_that_takes_longer_than_a_sync_may_is_waited_for() -> None:
    """The exchange's weight is small here: a fifth of each minute's is left to trading, and the rest has to do."""
    weight = RateLimit(rate_limit_type="REQUEST_WEIGHT", interval="MINUTE", interval_num=1, limit=260)

    async def body(world: World) -> None:
        await world.kill(await based(world))
        assert world.shadow is not None
        for _ in range(40):
            await trio.sleep(60)
            world.catch_up(world.shadow, world.exchange.venue.recent[-1].trade_id)
        await trio.sleep(62 - world.clock.now_ns() / 1e9 % 60)  # a minute of the exchange's has just begun
        began_s = trio.current_time()
        life = await world.begin()
        assert trio.current_time() - began_s > max(SYNC_S, Bounds().sync_s)
        assert life.bot.status.epoch == 1
        await world.settled(life)
        world.compare(life)

    play(body, seed=2, limits=(weight, *PRODUCTION_LIMITS[1:]))
