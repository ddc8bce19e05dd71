"""An epoch that ends while it tells of fills of one instant: what was told and what was not, each is counted once."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
import trio

from tests.live.rig import World, lived
from tests.sim.served import Line, top, trade
from tetrio.errors import LinkLost
from tetrio.journal import Fact
from tetrio.operator import Order

FILLS_S, FILLS = 20.0, ("0.3000", "0.3000", "0.2000")
ASK = "3412.37"


def bought() -> list[Line]:
    """A market that stands still, and takes what is offered in three trades of one instant."""
    tops = [top(second, "3412.36", "1.0000", ASK, "0.1000") for second in range(60)]
    fills = [trade(FILLS_S, "3412.40", qty, buyer_is_maker=False) for qty in FILLS]
    return [
        trade(0.001, ASK, "0.0001"),
        *tops,
        *fills,
        *(trade(second + 0.5, ASK, "0.0001") for second in range(21, 60)),
    ]


async def offer(world: World) -> None:
    """All that is held rests at the best ask."""
    await world.until_ready()
    world.bot.commander.obey(Order(word="exit", by="test"))
    await trio.sleep_until(FILLS_S - 0.001)


def counted(world: World) -> None:
    """Each fill is told once, and nothing has come or gone by itself."""
    told = world.told("fill")
    assert [fact["qty"] for fact in told] == list(FILLS)
    assert [fact for fact in world.told("balance") if "flow" in fact] == []
    memory = world.bot._kept.memory
    assert memory.fold is not None
    assert memory.fold.purse.base == Decimal("0.2"), "what is left"
    assert not memory.heard


async def lost() -> None:
    raise LinkLost("account: cut in the moment in which it told")


@pytest.mark.fault("F50")
@pytest.mark.parametrize("reports", range(1, len(FILLS) + 1))
def test_a_fill_is_counted_that_was_heard_in_the_epochs_last_step(reports: int, tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        def cut(fact: Fact) -> None:
            """The epoch is over before what it has just heard can be handed on."""
            if fact.kind == "fill" and len(world.told("fill")) == reports:
                workers = trio.lowlevel.current_task().parent_nursery
                assert workers is not None
                workers.start_soon(lost)
                workers.cancel_scope.cancel()

        await offer(world)
        world.bot.journal.listeners.append(cut)
        await trio.sleep(15)
        assert world.bot.status.phase == "ready"

    world = lived(tmp_path, scenario, "strategy.reference=trade", lines=bought())
    assert world.epochs_ended() == ["account: cut in the moment in which it told"]
    counted(world)


@pytest.mark.fault("F50")
@pytest.mark.parametrize("after", range(100, 2500, 300))
def test_fills_are_counted_wherever_the_link_dies_between_their_reports(after: int, tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await offer(world)
        world.arm(f"cut:ws_api:out:{after}")
        await trio.sleep(15)
        assert world.bot.status.phase == "ready"

    world = lived(tmp_path, scenario, "strategy.reference=trade", lines=bought())
    assert len(world.epochs_ended()) == 1
    counted(world)


@pytest.mark.parametrize("after_s", [0.0, 0.0005, 0.001])
def test_fills_of_the_last_instant_of_a_stop_are_told(after_s: float, tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await offer(world)
        await trio.sleep_until(FILLS_S + after_s)
        world.bot.stop.set()
        await trio.sleep(3)

    world = lived(tmp_path, scenario, "strategy.reference=trade", lines=bought())
    assert world.clean
    assert [fact["qty"] for fact in world.told("fill")] == list(FILLS)
    assert world.told("order")[-1]["filled"] == "0.8000"
