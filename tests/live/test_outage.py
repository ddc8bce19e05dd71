"""The market line is down while the price makes a peak: what the bot knows of it afterwards, and what it does not."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import attrs
import pytest
import trio

from tests.live.rig import World, lived
from tests.sim.served import Line, top, trade

CUT_S, PEAK_S, DOWN_S, LOOK_S = 33.8, range(34, 36), 15, 70
WINDOW = ("strategy.donchian_window=40", "strategy.min_gain_base=0.5")  # nothing is sold: it is knowledge that counts


def peaked() -> list[Line]:
    """A book and a trade each second, with a peak of ten."""
    lines = [trade(0.001, "3412.36", "0.0001")]
    for second in range(120):
        bid = Decimal("3422.36" if second in PEAK_S else "3412.36") + Decimal(second % 3) / 100
        lines.append(top(second, f"{bid}", "1000.0000", f"{bid + Decimal('0.05')}", "1000.0000"))
        lines.append(trade(second + 0.5, f"{bid}", "0.0001"))
    return lines


@attrs.frozen
class Known:
    """What a person sees."""

    upper: str
    lower: str
    anchor: str
    high: str


def known(tmp_path: Path, reference: str, *faults: str) -> tuple[World, Known]:
    """What a bot knows some time after the peak."""
    found: list[Known] = []

    async def scenario(world: World) -> None:
        await world.until_ready()
        await trio.sleep_until(CUT_S)
        world.arm(*faults)
        await trio.sleep_until(LOOK_S + 0.3)
        status = world.bot.status
        assert status.links["market"] == "up"
        found.append(Known(status.upper, status.lower, status.anchor, status.high))

    world = lived(tmp_path, scenario, f"strategy.reference={reference}", *WINDOW, lines=peaked())
    assert world.epochs_ended() == []
    return world, found[0]


@pytest.mark.fault("F88", "F50")
@pytest.mark.parametrize("reference", ["book", "trade"])
def test_candles_of_an_outage_are_filled(tmp_path: Path, reference: str) -> None:
    _, whole = known(tmp_path, reference)
    world, after = known(tmp_path, reference, f"kill:stream:{DOWN_S}s")
    assert world.told("link", name="market", state="lost")
    assert (after.upper, after.lower) == (whole.upper, whole.lower)
    assert Decimal(whole.upper) > 3420


@pytest.mark.fault("F88", "F89")
def test_candles_that_a_line_leaves_out_are_asked_for(tmp_path: Path) -> None:
    _, whole = known(tmp_path, "book")
    world, after = known(tmp_path, "book", "lose-event:@kline_1s:3")
    assert world.told("link", name="market", state="gap")
    assert after == whole


@pytest.mark.parametrize(("reference", "missed"), [("book", True), ("trade", False)])
def test_by_trades_the_high_of_an_outage_is_known_and_by_best_prices_it_is_not(
    tmp_path: Path, reference: str, missed: bool
) -> None:
    """Nobody tells what the best prices were: by them the state goes on as it is (`live.past`)."""
    _, whole = known(tmp_path, reference)
    _, after = known(tmp_path, reference, f"kill:stream:{DOWN_S}s")
    assert after.anchor == whole.anchor
    assert (Decimal(after.high) < Decimal(whole.high)) is missed
