"""Sweeps: die at each of many steps, be cut at each byte, and be judged by the same referee.

A kill point is a step of the scheduler of one seed's run: there the process of the bot is gone, and another one is
started, empty. A cut is one byte of what goes over the account link in an exit episode, in one direction: the link is
cut right behind it. Both run in a world without other troubles, so that what is found is this one's doing.
"""

from __future__ import annotations

import collections
import functools
import itertools
import random
from collections.abc import Callable
from pathlib import Path

import attrs
import trio

from tetrio.chaos.aim import Aim, use_up
from tetrio.chaos.circumstances import LIVELY, terms_of
from tetrio.chaos.demand import Demand
from tetrio.chaos.judge.case import Violation
from tetrio.chaos.referee import Referee
from tetrio.chaos.states import state_of, state_of_request
from tetrio.chaos.trace import Trace
from tetrio.chaos.witness import Witness
from tetrio.chaos.world import Circumstances, World, a_disk, running
from tetrio.net import virtual
from tetrio.net.internet import with_internet
from tetrio.sim.fault.mishaps import Armed

REBIRTH_S = 1.0
KILLED_S = 90.0
"""Of the run in which a bot is killed: all states come by, although an exit that is said twice waits for 10 s."""
EPISODE_S, QUIET_S = 18.0, 1.0
LOOK_EVERY = 5
"""Steps between two looks at the executor's state, while a run is measured."""
PAUSE_S = 1.0
ORDER = (
    "resting", "partial", "replacing", "cancelling", "taking", "sent", "unknown", "idle", "resyncing", "stopping",
)  # fmt: skip
"""States that the executor is brought into, one after the other, over and over."""
SETTLED = Circumstances(settings=(*LIVELY, "exit.chase=join"), fund="ETH=0.4,FDUSD=0", fills="touch")


@attrs.frozen(kw_only=True)
class Point:
    """What became of one place of a sweep."""

    at: int
    """The step, or the byte."""
    state: str
    """Of the executor there, as far as it was seen."""
    violations: list[Violation]
    last: list[str]


@attrs.frozen(kw_only=True)
class Length:
    """A run without troubles, measured."""

    steps: int
    states: dict[int, str]
    """Step -> state of the executor, every so often."""


class _Play:
    """One run of a sweep."""

    def __init__(self, seed: int, seconds: float, circumstances: Circumstances) -> None:
        self.seed, self.seconds, self.circumstances = seed, seconds, circumstances
        self.trace = Trace()
        self.referee = Referee(terms_of(circumstances))
        self.witness = Witness(self.referee, self.trace)
        self.witness.on_request = self._requested
        self.on_state: Callable[[str], None] = lambda state: None
        """Called with the state that a request is sent in."""
        self.world: World
        self._aim: Aim | None = None

    def run(self, befall: Callable[[World], None] | None = None) -> None:
        """From the beginning to the demand for progress; `befall` is called once the world is there."""
        with a_disk() as place, self.witness.of_failures():
            main = functools.partial(self._main, Path(place), befall)
            virtual.run(functools.partial(self.trace.watch, main), self.seed, [self.trace])
        if self.trace.stuck is not None:
            self.referee.stuck(self.trace.now_s, self.trace.stuck)

    async def _main(self, place: Path, befall: Callable[[World], None] | None) -> None:
        async with with_internet(random.Random(f"{self.seed}:internet")) as internet:  # noqa: S311 - weather
            self.world = world = World(self.seed, self.circumstances, internet, self.witness, place)
            async with running(world) as nursery:
                if befall is not None:
                    befall(world)
                nursery.start_soon(self._keep_alive, nursery)
                with trio.move_on_after(self.seconds):
                    await self._operate()
                use_up(world)
                with trio.fail_after(300):
                    await Demand(world, self.referee, 0.0, QUIET_S).all()

    async def _keep_alive(self, nursery: trio.Nursery) -> None:
        while True:
            life = self.world.bear(nursery)
            await life.ended.wait()
            await trio.sleep(REBIRTH_S)

    async def _operate(self) -> None:
        """The operator, the public and the network see to it that no state is left out."""
        for state in itertools.cycle(ORDER):
            await trio.sleep(PAUSE_S)
            if self.world.lives:
                self._aim = Aim(state, lambda _: None)
                await self._aim.take(self.world, lambda: False)

    def _requested(self, message: str | bytes) -> None:
        state = state_of_request(self.world.life.bot, message)
        if state:
            self.on_state(state)
        if self._aim is not None and state == self._aim.state:
            self._aim.hit()

    def point(self, at: int, state: str) -> Point:
        """What became of it."""
        return Point(at=at, state=state, violations=self.referee.violations, last=self.witness.on_first)


def measure(seed: int, seconds: float) -> Length:
    """How many steps the undisturbed run has until it is to be judged, and where the executor is on the way."""
    play = _Play(seed, seconds, SETTLED)
    states: dict[int, str] = {}
    steps = 0

    def look(step: int) -> None:
        nonlocal steps
        if step % LOOK_EVERY == 0 and hasattr(play, "world") and play.world.lives and trio.current_time() < seconds:
            steps = step
            states[step] = state_of(play.world.life.bot)

    def requested(state: str) -> None:
        if trio.current_time() < seconds:
            states[play.trace.steps] = state

    play.trace.on_step = look
    play.on_state = requested
    play.run()
    return Length(steps=steps, states=states)


@attrs.frozen
class Place:
    """One place of a sweep: a step, or a byte and its direction."""

    seed: int
    at: int
    state: str
    direction: str = ""
    """"in" to the exchange, "out" of it; "" is a step."""


def steps(seed: int, count: int, seconds: float = KILLED_S) -> list[Place]:
    """So many steps of the run of a seed, as many in each state of the executor; at short ones some steps later too."""
    known = collections.defaultdict[str, list[int]](list)
    for step, state in sorted(measure(seed, seconds).states.items()):
        known[state].append(step)
    share = -(-count // len(known))
    places = [
        Place(seed, seen[(number * max(1, len(seen) // share)) % len(seen)] + number // len(seen), state)
        for number in range(share)
        for state, seen in sorted(known.items())
    ]
    return places[:count]


def bytes_to_cut(seed: int, count: int) -> list[Place]:
    """So many bytes at most, spread over both directions; all there are where `count` allows it."""
    totals = {direction: bytes_of_episode(seed, direction) for direction in ("in", "out")}
    every = max(1, -(-sum(totals.values()) // count))
    return [
        Place(seed, at, direction, direction)
        for direction, total in totals.items()
        for at in range(1, total + 1, every)
    ]


def play(place: Place) -> Point:
    """Die, or be cut, there."""
    if place.direction:
        return cut_at(place.seed, place.at, place.direction)
    return kill_at(place.seed, KILLED_S, place.at, place.state)


def kill_at(seed: int, seconds: float, step: int, state: str = "") -> Point:
    """The bot dies right before that step."""
    play = _Play(seed, seconds, SETTLED)

    def kill(now: int) -> None:
        if now == step and hasattr(play, "world") and play.world.lives:
            play.world.life.kill(silently=step % 3 == 0)

    play.trace.on_step = kill
    play.run()
    return play.point(step, state)


def cut_at(seed: int, byte: int, direction: str) -> Point:
    """The first account link is cut behind that byte of what goes into or out of the exchange."""
    play, armed = _Play(seed, EPISODE_S, SETTLED), list[Armed]()

    def arm(world: World) -> None:
        armed.append(world.exchange.mishaps.arm(f"cut:ws_api:{direction}:{byte}"))

    play.run(arm)
    return play.point(byte, direction if armed[0].count else "")


def bytes_of_episode(seed: int, direction: str) -> int:
    """How many bytes go that way over the first account link: a cut behind more of them never strikes."""
    least, most = 0, 1 << 20
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (middle, most) if cut_at(seed, middle, direction).state else (least, middle)
    return most
