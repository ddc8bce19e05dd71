"""What alive means: each sign of life by itself, and a healthy bot that has all of them all the time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from tests.scenarios.sandbox import Fault, cut_market, played
from tetrio.health import Bounds, Wedge, judge, wedges
from tetrio.live.bot import Bot
from tetrio.live.strategy import Inbound, Strategy
from tetrio.status import Status, Vitals

NOW = 1000.0
WELL = Vitals(beat_at=NOW - 1, session_at=NOW - 5)


def ailing(phase: str = "ready", bounds: Bounds | None = None, **vitals: Any) -> tuple[str, ...]:
    return judge(Status(phase=phase, vitals=attrs.evolve(WELL, **vitals)), NOW, bounds or Bounds())


def test_with_all_signs_of_life_it_is_alive() -> None:
    assert ailing() == ()
    assert ailing(unproven_since=NOW - 14, waiting_since=NOW - 9, lag_s=4.9) == ()


@pytest.mark.parametrize(
    ("vitals", "phrase"),
    [
        ({"beat_at": NOW - 11}, "the market's beat is 11 s old"),
        ({"beat_at": None}, "the market's beat has not been seen"),
        ({"session_at": None}, "not logged on"),
        ({"session_at": NOW - 31}, "the session is 31 s old"),
        ({"unproven_since": NOW - 16}, "the user stream owes an order's balances for 16 s"),
        ({"waiting_since": NOW - 11}, "the strategy has taken nothing for 11 s"),
        ({"lag_s": 5.1}, "the loop was held up for 5.1 s"),
    ],
)
def test_each_sign_that_is_missing_is_named_alone(vitals: dict[str, Any], phrase: str) -> None:
    assert ailing(**vitals) == (phrase,)


@pytest.mark.parametrize("phase", ["connecting", "syncing", "stopping"])
def test_whatever_else_is_well_it_is_alive_only_when_synchronised(phase: str) -> None:
    assert ailing(phase) == ("not synchronised",)


def test_what_ails_is_said_all_at_once() -> None:
    assert len(ailing("syncing", beat_at=None, session_at=None, lag_s=9.0)) == 4


def test_on_a_fast_clock_the_bounds_are_as_many_times_as_long() -> None:
    twenty = Bounds().times(20)
    assert ailing(bounds=twenty, beat_at=NOW - 199, session_at=NOW - 599) == ()
    assert ailing(bounds=twenty, beat_at=NOW - 201) == ("the market's beat is 201 s old",)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cut_market(tmp_path_factory.mktemp("market"), 15_000)


class Looks(Fault):
    """Looks at the bot each quarter of a second, as soon as it is ready."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[float, tuple[str, ...]]] = []

    async def run(self) -> None:
        await self.bot.ready.wait()
        while not self.bot.stop.is_set():
            self.look(self.bot)
            await trio.sleep(0.25)

    def look(self, bot: Bot) -> None:
        bot.check_vitals()
        self.seen.append((trio.current_time(), judge(bot.status, trio.current_time(), Bounds())))


def test_a_bot_that_trades_is_alive_at_every_look(market: Path) -> None:
    looks = Looks()
    run = played(looks, market)
    assert len(run.verdict.exits) > 1
    assert len(looks.seen) > 500
    assert [look for look in looks.seen if look[1]] == []


@pytest.mark.fault("F104", "F110")
def test_a_strategy_that_takes_nothing_any_more_is_seen_and_the_epoch_is_repeated(market: Path) -> None:
    taking, held = Strategy.run, list[float]()

    async def wedged(self: Strategy, inbox: trio.MemoryReceiveChannel[Inbound]) -> None:
        """The first epoch's strategy holds its channel and takes nothing more after ten seconds."""
        async with inbox:
            with trio.move_on_after(10 if not held else float("inf")):
                await taking(self, inbox.clone())
            held.append(trio.current_time())
            await trio.sleep_forever()

    looks = Looks()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Strategy, "run", wedged)
        run = played(looks, market)
    said = [at for at, why in looks.seen if any("the strategy has taken nothing" in each for each in why)]
    assert held[0] + 10 < said[0] < held[0] + 15
    assert ["has not taken a batch" in why for why in run.epochs_ended()] == [True]
    assert looks.seen[-1][1] == (), "the next epoch is alive"
    assert (run.clean, run.verdict.left_open) == (True, [])


# -- what a new epoch may mend -----------------------------------------------------------------------------------------


def wedged(phase: str = "ready", market: str = "up", **vitals: Any) -> tuple[Wedge, ...]:
    record = attrs.evolve(WELL, **{"began_at": NOW - 100, "synced": True, **vitals})
    return wedges(Status(phase=phase, vitals=record, links={"market": market}), NOW, Bounds())


def test_what_works_is_not_wedged() -> None:
    assert wedged() == ()
    assert wedged("syncing") == (), "a first observation may take its time"
    assert wedged(lag_s=100.0) == (), "no new epoch makes a machine faster"
    assert wedged("stopping", beat_at=None, waiting_since=0.0) == ()
    assert wedged(beat_at=NOW - 60, market_since=NOW - 9) == (), "a line that has just come does not owe its beat yet"
    assert wedged(began_at=None, synced=False) == (), "between two epochs"


@pytest.mark.parametrize(
    "vitals",
    [{"beat_at": NOW - 11}, {"session_at": NOW - 31}, {"unproven_since": NOW - 16}, {"waiting_since": NOW - 11}],
)
def test_what_does_not_move_although_the_links_are_up_is_ours(vitals: dict[str, Any]) -> None:
    (wedge,) = wedged(**vitals)
    assert wedge.ours


def test_what_waits_for_the_exchange_is_not() -> None:
    assert wedged(market="lost", beat_at=NOW - 1000) == (), "the feed minds its own time"
    (wedge,) = wedged("syncing", synced=False)
    assert (wedge.phrase, wedge.ours) == ("not synchronised for 100 s", False)
    assert wedged("syncing", synced=False, began_at=NOW - 44) == ()
