"""A protective stop that triggers while nobody is there: the next bot stands where one that was there would."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio

from tests.scenarios.restarts import World, play
from tetrio.core.market import Regime

OPTIONS = (
    "exit.protect=stop", "strategy.hard_stop=0.003", "strategy.min_gain_base=0.004", "strategy.min_gain_quote=0.004",
)  # fmt: skip
AFTER_S, LATER_S = 8.0, 60.0


def lines(world: World, *kinds: str) -> list[dict[str, Any]]:
    """What the exchange's record has of these kinds."""
    found = [json.loads(line) for line in world.audit.getvalue().splitlines()]
    return [line for line in found if line["ev"] in kinds]


def first_stop(seed: int) -> tuple[str, float, float]:
    """The first stop that triggers for a bot that is not interrupted; when it is placed and when it triggers, s of
    trio's clock.
    """
    found: list[tuple[str, float, float]] = []

    async def body(world: World) -> None:
        await world.begin()
        with trio.fail_after(600):
            while not lines(world, "trigger"):  # noqa: ASYNC110 - the audit has no event
                await trio.sleep(0.5)
        name = lines(world, "trigger")[0]["client_order_id"]
        began_s = trio.current_time() - world.clock.now_ns() / 1e9
        times = [line["ts"] / 1e9 + began_s for line in lines(world, "accept", "trigger") if _of(line, name)]
        found.append((name, *times))

    play(body, *OPTIONS, seed=seed)
    return found[0]


def _of(line: dict[str, Any], name: str) -> bool:
    return bool(line["client_order_id"] == name)


@pytest.mark.fault("F72", "F84", "F87", "F101")
@pytest.mark.parametrize("seed", [3, 6, 7])
def test_a_stop_that_triggered_while_the_bot_was_down_is_rebuilt_across(seed: int) -> None:
    name, placed_s, triggered_s = first_stop(seed)

    async def body(world: World) -> None:
        life = await world.begin()
        await trio.sleep_until((placed_s + triggered_s) / 2)
        await world.kill(life)
        await trio.sleep_until(triggered_s + AFTER_S)
        (sold,) = [line for line in lines(world, "fill") if _of(line, name)]
        assert sold["status"] == "FILLED"
        life = await world.begin()
        assert life.facts("rebuilt", "state"), "from own trades"
        await world.settled(life)
        world.compare(life)
        assert life.fold.state.regime is Regime.QUOTE
        assert life.fold.state.stopped_ns >= sold["ts"] // 1_000_000 * 1_000_000, "it is a hard stop to it"
        await trio.sleep(LATER_S)
        await world.settled(life)
        world.compare(life)

    play(body, *OPTIONS, seed=seed)
