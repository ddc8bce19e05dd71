"""The symbol's rules change while the bot trades: what it does, and what it says."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tests.live.rig import World, lived
from tests.sim.served import Line, top, trade
from tetrio.errors import ConfigError, leaves

ARMED_S = 8


def chased(seconds: int = 300) -> list[Line]:
    """A take-profit is armed at 8 s; from then on the book goes up and down, so that it is re-quoted each second."""
    lines = [trade(0.001, "3412.36", "0.0001")]
    for second in range(seconds):
        price = 341236 if second < 5 else 342236 if second < ARMED_S else 341736 + 10 * (second % 2)
        lines.append(top(second, f"{price / 100:.2f}", "1000.0000", f"{price / 100 + 0.1:.2f}", "1000.0000"))
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
