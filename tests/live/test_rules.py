"""The symbol's rules change while the bot trades: what it does, and what it says."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
import trio

from tests.live.rig import World, lived
from tests.sim.served import Line, top, trade
from tetrio.errors import ConfigError, leaves
from tetrio.operator import Order
from tetrio.wire.rules import Filters

ARMED_S = 8


def chased(start: str = "3412.36", peak: str = "3422.36", *, bought: dict[int, str] | None = None) -> list[Line]:
    """A take-profit is armed at 8 s; from then on the book goes up and down, so that it is re-quoted each second.

    bought   second -> size that a buyer takes from whoever offers
    """
    lines = [trade(0.001, start, "0.0001")]
    for second in range(300):
        bid = Decimal(start if second < 5 else peak if second < ARMED_S else "3417.36")
        bid += Decimal("0.1") * (second % 2)
        lines.append(top(second, f"{bid}", "1000.0000", f"{bid + Decimal('0.3')}", "1000.0000"))
        lines.append(trade(second + 0.5, f"{bid}", "0.0001"))
        if second in (bought or {}):
            lines.append(trade(second + 0.6, "3417.80", (bought or {})[second], buyer_is_maker=False))
    return lines


async def resting(world: World) -> None:
    """An exit rests."""
    await world.until(lambda: world.told("order", state="open"))


@pytest.mark.fault("F93")
@pytest.mark.parametrize(
    ("how", "within_s", "left"),
    [(("delist",), 40.0, "nothing rests"), (("delist", "disconnect:ws_api:1001"), 30.0, "not confirmed")],
    ids=["the end of what rested was told", "nobody can say what became of it"],
)
def test_a_symbol_that_is_gone_ends_the_process_with_words_of_what_to_do(
    tmp_path: Path, how: tuple[str, ...], within_s: float, left: str
) -> None:
    worlds: list[World] = []

    async def scenario(world: World) -> None:
        worlds.append(world)
        await resting(world)
        world.arm(*how)
        await trio.sleep(within_s)

    with pytest.raises(BaseExceptionGroup) as failed:
        lived(tmp_path, scenario, lines=chased())
    (error,) = leaves(failed.value)
    assert isinstance(error, ConfigError)
    assert error.exit_code == 4, "a supervisor does not start it again"
    assert str(error) == "the exchange has no symbol 'ETHFDUSD': set [symbol] name to one that it lists"
    (world,) = worlds
    assert len(world.told("order", state="rejected", code=-1121)) <= 3
    assert world.told("stop")[-1]["state"] == left


@pytest.mark.fault("F93")
def test_a_symbol_that_is_gone_is_noticed_although_nothing_is_wanted(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.until_ready()
        world.arm("delist")
        await trio.sleep(1900)

    with pytest.raises(BaseExceptionGroup) as failed:
        lived(tmp_path, scenario)
    assert [type(error) for error in leaves(failed.value)] == [ConfigError]


def placed(world: World, after: int = 0) -> list[tuple[Decimal, Decimal]]:
    """Prices and sizes of the orders that came to rest, from a number on."""
    opened = {fact["client_order_id"]: fact for fact in world.told("order", state="open")}
    return [(Decimal(fact["price"]), Decimal(fact["qty"])) for fact in opened.values()][after:]


@pytest.mark.fault("F92")
@pytest.mark.parametrize("reference", ["trade", "book"])
def test_a_coarser_grid_is_learnt_by_the_first_refusal_and_quoted_on(tmp_path: Path, reference: str) -> None:
    """What rests, what was traded and what others quote are off the new grid."""
    tick, step = Decimal("0.1"), Decimal("0.01")
    lines = chased("3417.36", "3417.36", bought={11: "0.1234"})

    async def scenario(world: World) -> None:
        await world.until_ready()
        assert world.bot.commander.obey(Order(word="exit", by="the test")).done
        await world.until(lambda: world.told("fill"), 30)
        before = len(placed(world))
        world.arm(f"change-filters:tick_size={tick},step_size={step}")
        await world.until(lambda: len(placed(world)) > before + 5, 40)
        for price, qty in placed(world)[before:]:
            assert not price % tick
            assert qty == Decimal("0.87"), "0.8766 less what is finer than a lot"

    world = lived(tmp_path, scenario, f"strategy.reference={reference}", lines=lines)
    assert 1 <= len(world.told("order", state="rejected", code=-1013)) <= 3
    (why,) = world.epochs_ended()
    assert "the rules of ETHFDUSD have changed: tick_size" in why
    (gone,) = [fact for fact in world.told("order", state="canceled") if "why" in fact]
    assert gone["why"] == "the symbol's rules have changed: it is off the grid"


@pytest.mark.fault("F92", "F84")
@pytest.mark.parametrize("reference", ["trade", "book"])
def test_a_past_that_is_off_the_grid_of_today_is_rebuilt_from(tmp_path: Path, reference: str) -> None:
    async def scenario(world: World) -> None:
        await world.until(lambda: world.told("regime", regime="QUOTE"))
        world.arm("change-filters:tick_size=0.1,step_size=0.01", "disconnect:ws_api:1001")
        await world.until_ready(1, 30)

    lines = chased(bought={11: "1.0000"})
    world = lived(tmp_path, scenario, f"strategy.reference={reference}", lines=lines)
    (rebuilt,) = world.told("rebuilt", what="state")
    assert (rebuilt["regime"], rebuilt["reason"]) == ("QUOTE", "t")
    assert Decimal(rebuilt["anchor"]) == Decimal("3417.8"), "where it sold, 3417.76, to the nearest tick"


@pytest.mark.fault("F92")
def test_a_finer_grid_is_learnt_from_the_prices_of_others(tmp_path: Path) -> None:
    """Nothing is refused on a finer grid: all that the bot quotes is on it, only not the best price."""
    coarse = Filters(tick_size=Decimal("0.1"))

    async def scenario(world: World) -> None:
        await world.until_ready()
        assert world.bot.commander.obey(Order(word="exit", by="the test")).done
        await world.until(lambda: len(placed(world)) > 3, 20)
        assert not any(price % coarse.tick_size for price, _ in placed(world))
        before = len(placed(world))
        world.arm("change-filters:tick_size=0.02")
        await world.until(lambda: any(price % coarse.tick_size for price, _ in placed(world)[before:]), 60)

    world = lived(tmp_path, scenario, lines=chased("3417.36", "3417.36"), filters=coarse)
    assert world.told("order", state="rejected") == []
    assert world.told("link", name="market", state="lost") == []
    (why,) = world.epochs_ended()
    assert "have changed: tick_size 0.10000000 is 0.02000000" in why
