"""Whatever dies, and wherever: what the next bot rebuilds is what an uninterrupted run holds, value for value."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path

import pytest
import trio

from tests.scenarios.restarts import Life, World, play
from tests.scenarios.sandbox import Fault, Frame, Tampered
from tetrio.core.market import Regime
from tetrio.operator import Order
from tetrio.sim.engine.clearing import Discount

SECONDS = (
    "strategy.kline_interval=1s", "strategy.hard_stop=0.002", "strategy.min_gain_base=0.006",
    "strategy.min_gain_quote=0.006",
)  # fmt: skip
KILLS = 12
LATE_S = 15.0  # until a report that was late, or lost and asked for, is in the fold


async def traded(world: World, *, take_profits: int = 3, seconds: float = 0) -> Life:
    """A first bot that has sold and bought: from here on there is something to rebuild from."""
    life = await world.begin()
    await trio.sleep(seconds)
    with trio.fail_after(3600):
        while world.exits("t") < take_profits:  # noqa: ASYNC110 - the audit has no event, and time is virtual
            await trio.sleep(5)
    return life


async def compared(world: World, life: Life) -> None:
    await world.settled(life)
    world.compare(life)


def kills(between_s: tuple[float, ...], *, seconds: float = 0, late_s: float = 0) -> Callable[[World], Awaitable[None]]:
    """A body: bots that are killed after these times, each compared as it begins and as it dies."""

    async def body(world: World) -> None:
        await world.kill(await traded(world, seconds=seconds))
        for number in range(KILLS):
            life = await world.begin()
            await trio.sleep(late_s)
            await compared(world, life)
            await trio.sleep(between_s[number % len(between_s)])
            await trio.sleep(late_s)
            await compared(world, life)
            await world.kill(life)
        assert world.exits("t") > 3

    return body


@pytest.mark.fault("F84", "F101", "F88")
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_killed_bot_is_followed_by_its_equal(seed: int) -> None:
    play(kills((0.3, 17, 4, 61)), seed=seed)


@pytest.mark.fault("F84")
@pytest.mark.parametrize("seed", [4, 5])
def test_so_it_is_where_candles_are_taken_whole(seed: int) -> None:
    taken = list[int]()

    async def body(world: World) -> None:
        await kills((1, 23, 7), seconds=500)(world)
        life = await world.begin()
        taken.extend(fact["candles"] for fact in life.facts("rebuilt", "state"))
        await trio.sleep(60)
        await world.kill(life)
        life = await world.begin()
        taken.extend(fact["candles"] for fact in life.facts("rebuilt", "state"))

    play(body, *SECONDS, seed=seed)
    assert sum(taken) > 5


def test_so_it_is_with_klines_longer_than_a_minute_and_a_stop_that_is_confirmed() -> None:
    play(kills((2, 40)), "strategy.kline_interval=3m", "strategy.stop_confirm=3", seed=7)


@pytest.mark.fault("F75", "F76")
@pytest.mark.parametrize("discounted", [False, True], ids=["in what is received", "in a third asset"])
def test_commissions_are_part_of_what_is_held(discounted: bool) -> None:
    discount = Discount(enabled_for_account=True, price=Decimal(600)) if discounted else Discount()
    play(
        kills((9, 31)), "strategy.fee=0.001", seed=2, maker=Decimal("0.001"), discount=discount,
        funds={"ETH": "0.3", "FDUSD": "3", "BNB": "1"},
    )  # fmt: skip


class Reports(Fault):
    """Execution reports come late, twice, or never."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def told(self, line: Tampered, frame: Frame) -> list[tuple[float, Frame]]:
        event = frame.get("event", {})
        if event.get("e") != "executionReport" or event.get("x") != "TRADE":
            return [(0, frame)]
        self.count += 1
        if self.how == "late":
            return [(self.rng.uniform(0.1, 2.0), frame)]
        if self.how == "twice":
            return [(0, frame), (0.5, frame)]
        return [] if self.count % 3 == 0 else [(0, frame)]


@pytest.mark.fault("F48", "F50", "F77")
@pytest.mark.parametrize("how", ["late", "twice", "never"])
def test_whatever_order_reports_come_in_the_state_is_the_same(how: str) -> None:
    fault = Reports(how)
    play(kills((20, 45), late_s=LATE_S), seed=2, fault=fault)
    assert fault.count > 5


class Cuts(Fault):
    """One line is cut now and then."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    async def run(self) -> None:
        while True:
            await trio.sleep(self.rng.uniform(10, 40))  # more, and the bound on connections would keep the bot away
            line = self.lines.get(self.name)
            if isinstance(line, Tampered):
                line.cut()
            elif isinstance(line, trio.SocketStream):
                line.socket.reset()  # type: ignore[attr-defined]  # a simulated socket's
            self.count += line is not None


@pytest.mark.fault("F88", "F50")
@pytest.mark.parametrize("name", ["market", "account"])
def test_a_bot_whose_line_is_cut_goes_on_as_if_it_were_not(name: str) -> None:
    fault = Cuts(name)

    async def body(world: World) -> None:
        await world.kill(await traded(world))
        life = await world.begin()
        for _ in range(20):
            await trio.sleep(13)
            with trio.fail_after(120):
                while life.bot.status.phase != "ready":  # noqa: ASYNC110 - as above
                    await trio.sleep(0.1)
            await compared(world, life)
        assert (life.facts("rebuilt", "trades") if name == "market" else life.facts("rebuilt", "state")[1:]) != []

    play(body, seed=3, fault=fault)
    assert fault.count > 5


@pytest.mark.fault("F77", "F82")
def test_a_deposit_within_a_regime_changes_no_anchor() -> None:
    async def body(world: World) -> None:
        life = await traded(world)
        with trio.fail_after(3600):
            while life.fold.state.regime is not Regime.BASE or life.fold.state.armed:  # noqa: ASYNC110 - as above
                await trio.sleep(0.5)
        anchor, base = life.fold.state.anchor, life.fold.state.holdings.base
        world.exchange.mishaps.arm("deposit:ETH:0.05")
        await trio.sleep(1)
        assert life.fold.state.anchor == anchor
        assert life.fold.state.holdings.base == base + 500
        assert [fact["flow"]["ETH"] for fact in life.facts("balance") if "flow" in fact] == ["0.05"]

    play(body, seed=2)


@pytest.mark.fault("F130")
def test_the_operators_words_are_folded_where_they_were_said(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        life = await traded(world)
        for word in ("pause", "resume", "exit"):
            life.bot.commander.obey(Order(word=word, by="test"))
            await trio.sleep(25)
        assert len(life.bot._kept.latch.words.said) == 3
        await world.kill(life)
        life = await world.begin()
        await compared(world, life)
        life.bot.commander.obey(Order(word="pause", by="test"))
        await trio.sleep(40)
        await world.kill(life)
        assert world.shadow is not None
        life = await world.begin()
        await world.settled(life)
        assert life.fold.state.paused
        assert life.bot.status.paused

    play(body, seed=2, state=tmp_path)


def test_by_best_prices_the_anchor_is_rebuilt_within_a_kline() -> None:
    async def body(world: World) -> None:
        life = await world.begin()
        with trio.fail_after(3600):
            while world.exits("t") < 3:  # noqa: ASYNC110 - as above
                await trio.sleep(5)
        before = life.bot._kept.memory.state
        life.scope.cancel()
        await life.ended.wait()
        life = await world.begin()
        after = life.bot._kept.memory.state
        assert before is not None and after is not None
        assert before.anchor is not None and after.anchor is not None
        assert after.regime is before.regime
        assert after.anchor == pytest.approx(before.anchor, rel=0.002)
        assert life.facts("rebuilt", "state")[0]["reason"] == "t"

    play(body, "strategy.reference=book", seed=1)
