"""Connections that are replaced before they are cut: nothing lost, nothing twice, nobody unsynchronised meanwhile."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.live.rig import World, lived, lively
from tetrio.errors import LinkLost, UnsafeError
from tetrio.journal import Journal
from tetrio.live import rotation
from tetrio.live.rotation import Rotation
from tetrio.net.access import Access
from tetrio.operator import Order

Clock = trio.testing.MockClock
DAY_S = 86400.0


def took_over(world: World) -> list[str]:
    return [fact["name"].partition("#")[0] for fact in world.told("link") if "took over" in fact.get("why", "")]


@pytest.mark.fault("F6", "F27")
def test_an_announced_shutdown_in_every_shape_cuts_nothing(tmp_path: Path) -> None:
    sessions: list[tuple[str, int]] = []

    async def scenario(world: World) -> None:
        await world.until_ready()
        for _ in range(3):
            world.arm("server-shutdown:all:10s")
            for _ in range(200):
                await trio.sleep(0.1)
                names = world.exchange.mishaps.connections()
                sessions.extend((face, sum(n.startswith(face) for n in names)) for face in ("ws_api", "stream"))
            assert world.bot.status.phase == "ready"

    world = lived(tmp_path, scenario, lines=lively(0.1))
    assert world.epochs_ended() == []
    assert sorted(took_over(world)) == ["account"] * 3 + ["market"] * 3
    assert max(count for _, count in sessions) == 2, "two sessions only while one replaces the other"
    assert sessions[-2:] == [("ws_api", 1), ("stream", 1)]
    numbers = [fact["session"] for fact in world.told("link", name="market", state="up")]
    assert numbers == sorted(set(numbers))
    assert world.clean


@pytest.mark.fault("F6", "F23", "F43")
def test_an_exit_that_is_chased_across_a_move_goes_on_as_one_order(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.until_ready()
        world.bot.commander.obey(Order(word="exit", by="test"))
        for _ in range(5):
            world.arm("server-shutdown:ws_api:5s")
            await trio.sleep(20.3)

    world = lived(tmp_path, scenario, "exit.requote_ms=250", lines=lively(0.1))
    assert world.epochs_ended() == []
    assert took_over(world) == ["account"] * 5
    states = [fact["state"] for fact in world.told("order")]
    assert "UNKNOWN" not in states
    assert world.clean


@pytest.mark.fault("F6", "F7")
def test_a_shutdown_that_leaves_no_time_is_a_lost_link_like_any_other(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.until_ready()
        world.arm("refuse:ws_api:503:20s", "server-shutdown:ws_api:1s")
        await trio.sleep(20)
        assert await world.until_ready(1) < 30

    world = lived(tmp_path, scenario, lines=lively(0.1))
    assert len(world.told("link", state="not replaced")) >= 1
    assert any("1001" in why for why in world.epochs_ended())


class Replaced:
    """Notes when it is replaced; fails as it is told."""

    def __init__(self, *failures: Exception | None) -> None:
        self.at: list[float] = []
        self.failures = list(failures)
        self.busy = 0
        self.most_busy = 0

    async def replace(self) -> None:
        self.at.append(trio.current_time())
        self.busy += 1
        await trio.sleep(2)
        self.busy -= 1
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure


@pytest.fixture
def turns() -> Rotation:
    return Rotation(Access(random.Random(1)), Journal([], lambda: 0), random.Random(1))


@pytest.mark.fault("F5")
async def test_each_connection_is_replaced_before_its_day_is_over(
    turns: Rotation, autojump_clock: Clock, nursery: trio.Nursery
) -> None:
    one, other = Replaced(), Replaced()
    for each in (one, other):
        nursery.start_soon(turns.repeat, "x", trio.Event, each.replace)
    await trio.sleep(30 * DAY_S)
    for each in (one, other):
        gaps = [after - before for before, after in zip([0.0, *each.at], each.at, strict=False)]
        assert len(gaps) >= 30
        assert all(22.5 * 3600 <= gap < 23.6 * 3600 for gap in gaps)
    assert all(abs(a - b) >= 2 for a in one.at for b in other.at), "never two at once"
    nursery.cancel_scope.cancel()


@pytest.mark.fault("F5")
async def test_one_that_cannot_be_replaced_is_tried_again_while_the_old_one_lives(
    turns: Rotation, autojump_clock: Clock, nursery: trio.Nursery
) -> None:
    each = Replaced(*[LinkLost("refused")] * 6)
    nursery.start_soon(turns.repeat, "x", trio.Event, each.replace)
    await trio.sleep(24 * 3600)
    gaps = [round(after - before - 2) for before, after in zip(each.at, each.at[1:], strict=False)]
    assert gaps == [1, 5, 15, 60, 60, 60]
    assert turns.count == 1
    nursery.cancel_scope.cancel()


async def test_a_key_that_is_refused_at_a_move_is_no_matter_of_trying_again(
    turns: Rotation, autojump_clock: Clock
) -> None:
    each = Replaced(UnsafeError("the key is refused"))
    with pytest.raises(UnsafeError):
        await turns.repeat("x", trio.Event, each.replace)
    assert rotation.AFTER_S - rotation.JITTER_S <= each.at[0] <= rotation.AFTER_S + rotation.JITTER_S
