"""A key that the exchange refuses while the bot trades: what goes on, what does not, and what a new key brings back."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
import trio

from tests.live.rig import KEY, SECOND_KEY, SIGNER, World, lived
from tests.sim.served import Line, top, trade

REVOKED_S, PEAK_S, TRIES_EVERY_S = 30, range(100, 110), 300
HELD = "strategy.min_gain_base=0.5"  # nothing is sold: it is knowledge that counts


def peaked() -> list[Line]:
    """A book and a trade each second, with a peak of ten while the key is refused."""
    lines = [trade(0.001, "3412.36", "0.0001")]
    for second in range(900):
        bid = Decimal("3422.36" if second in PEAK_S else "3412.36")
        lines.append(top(second, f"{bid}", "1000.0000", f"{bid + Decimal('0.05')}", "1000.0000"))
        lines.append(trade(second + 0.5, f"{bid}", "0.0001"))
    return lines


@pytest.mark.fault("F31")
@pytest.mark.parametrize(("reference", "high"), [("trade", "3422.36"), ("book", "3412.36")])
def test_while_a_key_is_refused_the_market_is_not_followed_and_a_new_key_catches_up(
    tmp_path: Path, reference: str, high: str
) -> None:
    """A stop that rests stays where it is. By trades nothing of the market is lost: it is asked for afterwards."""

    async def scenario(world: World) -> None:
        await world.until_ready()
        await trio.sleep_until(REVOKED_S)
        (stop,) = world.told("order", state="open")
        world.arm(f"revoke:{KEY}", "disconnect:ws_api:1001")
        await trio.sleep(5)
        status = world.bot.status
        frames, connections = status.frames, world.bot._kept.access.connections
        await trio.sleep(TRIES_EVERY_S - 20)
        assert (status.phase, status.frames) == ("connecting", frames), "no market line, no session"
        assert "refuses the API key" in status.detail
        assert world.bot._kept.access.connections == connections, "nothing is tried for five minutes"
        (warning,) = world.told("warning", what="exchange")
        assert "next try in 300 s" in warning["why"]
        await world.bot.renew(SECOND_KEY, SIGNER)
        assert await world.until_ready(status.epoch, 5) < 5
        await trio.sleep(2)
        assert Decimal(status.high) == Decimal(high)
        resting = [order.client_order_id for order in world.bot.sleeve.unfinished()] if world.bot.sleeve else []
        assert resting == [stop["client_order_id"]], "it rested all the time"

    world = lived(tmp_path, scenario, f"strategy.reference={reference}", HELD, "exit.protect=stop", lines=peaked())
    assert world.clean
