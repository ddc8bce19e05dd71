"""Each trouble, alone: it begins, strikes and heals without an error, and the bot comes through it.

The bot is the shipping one, in a short world: it gets ready; while exits are wanted, chased and called off a trouble
strikes, lasts and is healed. Then what is demanded after every run of chaos is demanded here.
"""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from tests.faults import ROOT, TITLES, shown
from tetrio.chaos import coverage, troubles
from tetrio.chaos.circumstances import LIVELY, has_telegram, terms_of
from tetrio.chaos.demand import Demand
from tetrio.chaos.referee import Referee
from tetrio.chaos.states import STATES
from tetrio.chaos.trace import Trace
from tetrio.chaos.troubles import CHATTING, EXCHANGE, TROUBLES, Trouble
from tetrio.chaos.witness import Witness
from tetrio.chaos.world import Circumstances, World, running
from tetrio.net import virtual
from tetrio.net.internet import with_internet
from tetrio.operator import Order

SEED = 5
SETTLED = Circumstances(settings=(*LIVELY, "exit.chase=join"), fund="ETH=0.4,FDUSD=600", fills="touch")
WITHIN_S, STRUCK_S, LONGEST_S, QUIET_S, REBIRTH_S = 60.0, 20.0, 5.0, 1.0, 1.0
TRIES = 4
"""Draws of a trouble until one strikes: a line may be too quiet for some of its ways."""


class Play:
    """A world, a bot in it that is started again whenever it ends, and a referee."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.trace, self.referee = Trace(), Referee(terms_of(SETTLED))
        self.witness = Witness(self.referee, self.trace)
        self.world: World

    def run(self, befall: Callable[[], Awaitable[None]], *, slack_s: float | None = None) -> None:
        """Call `befall` once the bot is ready; then demand progress, with so much slack, unless it is None."""
        virtual.run(functools.partial(self._main, befall, slack_s), SEED, [self.trace])
        assert self.trace.stuck is None, f"a livelock in {self.trace.stuck}"

    async def _main(self, befall: Callable[[], Awaitable[None]], slack_s: float | None) -> None:
        async with with_internet(random.Random("weather")) as internet:
            self.world = World(SEED, SETTLED, internet, self.witness, self.place)
            async with running(self.world) as nursery:
                nursery.start_soon(self._keep_alive, nursery)
                with trio.fail_after(WITHIN_S):
                    await self._ready()
                async with trio.open_nursery() as busy:
                    busy.start_soon(self._operate)
                    await befall()
                    busy.cancel_scope.cancel()
                if slack_s is not None:
                    await Demand(self.world, self.referee, slack_s, QUIET_S).all()

    async def _keep_alive(self, nursery: trio.Nursery) -> None:
        while True:
            life = self.world.bear(nursery)
            await life.ended.wait()
            await trio.sleep(REBIRTH_S)

    async def _operate(self) -> None:
        """The operator wants exits, and some of them no more: so something is placed, replaced or cancelled."""
        for word in itertools.cycle(("exit", "exit", "disarm")):
            self.world.say(Order(word=word, by="test", force=True))
            await trio.sleep(1.5)

    async def _ready(self) -> None:
        while not self.world.lives or self.world.life.status.phase != "ready":  # noqa: ASYNC110 - it has no event
            await trio.sleep(0.1)


@pytest.fixture
def play(tmp_path: Path) -> Play:
    return Play(tmp_path)


async def befall(world: World, trouble: Trouble, rng: random.Random) -> bool:
    """A trouble begins, strikes, goes on for a while and is healed; whether it has struck."""
    mishaps = world.exchange.mishaps
    before = mishaps.counts.total()
    heal = trouble.begin(world, rng)
    struck = trouble not in EXCHANGE
    with trio.move_on_after(STRUCK_S):
        while not struck:
            await trio.sleep(0.1)
            struck = mishaps.counts.total() > before
    await trio.sleep(min(rng.uniform(*trouble.lasts_s), LONGEST_S))
    if heal is not None:
        heal()
    return struck


@pytest.mark.fault(
    "F1", "F2", "F3", "F4", "F5", "F6", "F7", "F8", "F9", "F10", "F11", "F13", "F14", "F15", "F16", "F17", "F18",
    "F20", "F21", "F22", "F23", "F27", "F28", "F31", "F36", "F37", "F38", "F40", "F41", "F42", "F43", "F44", "F45",
    "F46", "F47", "F48", "F49", "F50", "F51", "F52", "F53", "F56", "F58", "F66", "F68", "F69", "F72", "F73", "F77",
    "F78", "F79", "F80", "F84", "F85", "F86", "F87", "F88", "F89", "F91", "F92", "F94", "F96", "F97", "F98",
    "F100", "F101", "F111", "F112", "F113", "F114", "F115", "F116", "F117", "F119", "F120", "F122",
    "F130",
)  # fmt: skip
@pytest.mark.parametrize("name", TROUBLES)
def test_a_bot_comes_through_each_trouble(play: Play, name: str) -> None:
    trouble, rng = TROUBLES[name], random.Random(name)

    async def strikes() -> None:
        if trouble.changes_rules:
            rules = play.world.exchange.venue.rules
            least = rules.min_qty_lots * rules.step_size, rules.min_notional
            play.referee.rules_changed(trio.current_time(), *least)
        for _ in range(TRIES):
            if await befall(play.world, trouble, rng):
                return
        pytest.fail(f"it has not struck in {TRIES} tries")

    play.run(strikes, slack_s=trouble.slack_s)
    assert play.referee.violations == [], "\n".join(play.witness.on_first)


def test_that_test_is_marked_by_all_that_the_troubles_play() -> None:
    played = {number for trouble in TROUBLES.values() for number in trouble.faults.split()}
    assert played <= set(TITLES)
    name = f"{Path(__file__).relative_to(ROOT)}::{test_a_bot_comes_through_each_trouble.__name__}"
    assert played == {number for number, tests in shown().items() if name in tests}


def test_each_way_of_a_trouble_is_one_that_the_exchange_knows(play: Play) -> None:
    """A word that it does not know would be no trouble at all, and nobody would hear of it."""
    unknown = []

    async def each_way() -> None:
        for trouble, number in itertools.product(EXCHANGE, range(30)):
            heal = trouble.begin(play.world, random.Random(f"{trouble.name}:{number}"))
            if heal is None or heal is troubles._nothing:
                unknown.append((trouble.name, number))
            else:
                heal()

    play.run(each_way)
    assert unknown == []


def test_a_table_has_a_row_a_trouble_and_counts_what_was_met() -> None:
    cells = coverage.reachable()
    header, *rows, last = coverage.table(
        {("sigkill", "idle"), ("sigkill", "resting"), ("nothing", "idle")}
    ).splitlines()
    assert header.split() == [state[:9] for state in STATES]
    assert [row.split()[0] for row in rows[: len(TROUBLES)]] == list(TROUBLES)
    (row,) = [row for row in rows if row.startswith("sigkill")]
    assert row.split().count("x") == 2
    assert last.startswith(f"2 of {len(cells)} cells")
    assert any(row.startswith("never idle: ") and "reset" in row and "sigkill" not in row for row in rows)


def test_what_cannot_be_met_says_why_and_does_not_count() -> None:
    assert all(name in TROUBLES and state in STATES and why for (name, state), why in coverage.UNREACHABLE.items())
    assert (
        coverage.reachable() == {(name, state) for name in TROUBLES for state in STATES} - coverage.UNREACHABLE.keys()
    )


def test_few_seeds_aim_at_every_cell_between_them() -> None:
    aimed = {cell for seed in range(100) for cell in itertools.islice(coverage.aims(seed), coverage.PER_SEED)}
    assert len(aimed & coverage.reachable()) > 0.9 * len(coverage.reachable())
    for seed in (0, 1):
        chats = [cell for cell in itertools.islice(coverage.aims(seed), 50) if cell[0] in CHATTING]
        assert bool(chats) == has_telegram(seed)
