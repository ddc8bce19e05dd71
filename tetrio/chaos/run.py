"""One seed: a world, chaos in it, then healing, and a demand for progress.

The plan is drawn by name from the seed: circumstances, when something happens, what it is, and for most of it the state
of the executor that it is aimed at. When the time is up everything is healed; then the bot must be back, rest an exit
that it is told to, and stop in order.
"""

from __future__ import annotations

import collections
import functools
import math
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs
import trio

from tetrio import log
from tetrio.chaos.aim import Aim, in_force, state_now, use_up
from tetrio.chaos.bot_api import TOKEN
from tetrio.chaos.circumstances import drawn, terms_of
from tetrio.chaos.coverage import aims
from tetrio.chaos.demand import Demand
from tetrio.chaos.judge.case import Violation
from tetrio.chaos.judge.leaks import Held
from tetrio.chaos.judge.signs import Seen
from tetrio.chaos.referee import Referee
from tetrio.chaos.states import state_of_request
from tetrio.chaos.trace import Trace
from tetrio.chaos.troubles import CHATTING, MARKET, TROUBLES, Heal, Trouble, in_vain
from tetrio.chaos.witness import SETTLED_S, Witness
from tetrio.chaos.world import STREAM, WS_API, Circumstances, World, a_disk, running
from tetrio.net import virtual
from tetrio.net.internet import Connection, with_internet

WARM_S = 15.0
AIMED = 0.8
"""Share of the troubles that are aimed at a state, in the order of `coverage.aims`; the others strike at once."""
LINKS_EVERY_S, SILENT_S = 1.0, {WS_API: 16.0, STREAM: 16.0}
"""How often the bot's links are looked at, and how long one may be silent: on the one a ping every 5 s is answered
within 5, on the other nothing is read on for 5, or while something is asked for that is missing, 10.
"""
AT_ONCE = 3
"""Troubles in force at a time, at most."""
REBIRTH_S = (0.5, 8.0)
REMEMBERED_S = 90.0
HORIZON_S = 600.0
"""Beyond the time that was asked for: what takes longer hangs."""
FAULTS_PER_HOUR = 90.0
BLIND_S = 3.0
"""Without a byte of the market, of which there is a beat each second: its line is being made anew."""
CALM_S = 45.0
"""After all has been healed: by then what was asked of a Telegram that hangs has been given up."""
NO_EXCUSE = CHATTING | {each.name for each in MARKET}
"""Troubles that nothing may be slow for: those of Telegram's side, and prices."""


@attrs.frozen(kw_only=True)
class Result:
    """What became of one seed."""

    seed: int
    sha256: str
    virtual_s: float
    wall_s: float
    cpu_s: float
    """Of this process: what the machine does beside does not count."""
    steps: int
    faults: dict[str, int]
    violations: list[Violation]
    cells: set[tuple[str, str]]
    """(trouble, state of the executor) that were met."""
    counts: dict[str, int]
    last: list[str]
    """What was told last, before the first violation or the end."""


class Chaos:
    """What befalls one world."""

    def __init__(
        self, world: World, witness: Witness, nursery: trio.Nursery, rate_per_h: float, only: Sequence[str] = ()
    ) -> None:
        self._choice = [each for each in TROUBLES.values() if each.name in (only or TROUBLES)]
        self.world, self.witness, self.nursery, self.rate_per_h = world, witness, nursery, rate_per_h
        self.counts: collections.Counter[str] = collections.Counter()
        self.cells: set[tuple[str, str]] = set()
        self._rng = random.Random(f"{world.seed}:chaos")  # noqa: S311 - a plan
        self._heals: dict[str, Heal] = {}
        """Of what is in force, by name: two of a kind would each undo the other."""
        self._healed: collections.deque[tuple[float, float]] = collections.deque()
        """(when, slack), of the last `REMEMBERED_S` or a little more."""
        chosen = {each.name for each in self._choice}
        self._aims = (aim for aim in aims(world.seed) if aim[0] in chosen)
        self._waiting: list[Aim] = []
        self._over = self._calm = False
        self._blind_s: float | None = None
        """Since when nothing new has been told of the market."""
        self._lined_s = -math.inf
        """When the bot's latest line to it was made."""
        witness.on_request = self._requested
        witness.heard_s = world.heard_s
        witness.undisturbed = lambda: len(self._heals) <= 1
        witness.disturbed = self._disturbed
        witness.seen = self._seen

    # -- living and dying -------------------------------------------------------------------------------------------
    async def keep_alive(self) -> None:
        """One process of the bot after the other."""
        while not self._over:
            life = self.world.bear(self.nursery)
            await life.ended.wait()
            await trio.sleep(self._rng.uniform(*REBIRTH_S))

    async def mind_links(self) -> None:
        """No process may go on holding a link that says nothing, or nothing new; until cancelled."""
        seen: set[Connection] = set()
        while True:
            await trio.sleep(LINKS_EVERY_S)
            for name, link, why in [] if self.world.life.dead else self._useless():
                if link not in seen:
                    seen.add(link)
                    self.witness.referee.breach("L9", trio.current_time(), f"a link to {name} {why}, and is held")
            self._count()

    def _count(self) -> None:
        """What the living process holds."""
        life = self.world.life
        if not life.dead:
            tasks = life.tasks
            nurseries = sum(len(task.child_nurseries) for task in tasks)
            held = Held(tasks=len(tasks), nurseries=nurseries, sockets=len(life.host.sockets))
            self.witness.referee.looked(trio.current_time(), life.number, held, calm=self._is_calm())

    def _is_calm(self) -> bool:
        """Whether nothing at all is wrong, Telegram included, nor has been of late."""
        since_s = self._healed[-1][0] if self._healed else -math.inf
        return not self._heals and trio.current_time() - since_s > CALM_S

    def _useless(self) -> Iterator[tuple[str, Connection, str]]:
        now = trio.current_time()
        for name, most_s in SILENT_S.items():
            for link in self.world.links(name):
                if now - link.heard_s > most_s:
                    yield name, link, f"has said nothing for {now - link.heard_s:.0f} s"
                elif name == STREAM and self._blind_s is not None and now - max(self._blind_s, link.made_s) > most_s:
                    yield name, link, f"has said nothing new for {most_s:g} s"

    def _seen(self) -> Seen:
        market_s = self.world.heard_s()
        self._lined_s = max([self._lined_s, *(link.made_s for link in self.world.links(STREAM))])
        if self._blind_s is not None:  # but the first of each kind on a new line is new
            market_s = min(market_s, max(self._blind_s, self._lined_s))
        return Seen(market_s=market_s, session_s=self.world.heard_s(WS_API))

    def _disturbed(self) -> bool:
        """Whether something is in force that excuses a bot for being slow, or its market line has yet to come back."""
        blind = trio.current_time() - self.world.heard_s() > BLIND_S
        return blind or bool(self._heals.keys() - NO_EXCUSE) or in_force(self.world)

    # -- troubles ---------------------------------------------------------------------------------------------------
    async def rage(self) -> None:
        """Trouble after trouble, until cancelled."""
        await trio.sleep(WARM_S)
        while True:
            await trio.sleep(self._rng.expovariate(self.rate_per_h / 3600))
            if len(self._heals) < AT_ONCE:
                self.nursery.start_soon(self._one, self._draw())

    def _draw(self) -> tuple[Trouble, str, float]:
        if self._rng.random() < AIMED:
            name, state = next(self._aims)
            trouble = TROUBLES[name]
        else:
            known = [each for each in self._choice if self.world.circumstances.telegram or each.name not in CHATTING]
            (trouble,) = self._rng.choices(known or self._choice, [each.weight for each in known or self._choice])
            state = ""
        return trouble, state, self._rng.uniform(*trouble.lasts_s)

    async def _one(self, drawn: tuple[Trouble, str, float]) -> None:
        trouble, state, lasts_s = drawn
        if not state:
            self._strike(trouble, state_now(self.world), lasts_s)
            return
        aim = Aim(state, lambda now: self._strike(trouble, now, lasts_s))
        self._waiting.append(aim)
        await aim.take(self.world, lambda: self._calm)
        self._waiting.remove(aim)

    def _requested(self, message: str | bytes) -> None:
        """A request has just come: what is aimed at its being under way strikes now."""
        if self._waiting and not self.world.life.dead:
            state = state_of_request(self.world.life.bot, message)
            for aim in [aim for aim in self._waiting if aim.state == state][:1]:
                aim.hit()

    def _strike(self, trouble: Trouble, state: str, lasts_s: float) -> None:
        if self._calm or self._over or self.world.life.dead or trouble.name in self._heals:
            return
        self.witness.trace.tell(f"trouble {trouble.name} ({state}) for {lasts_s:.1f} s")
        heal = trouble.begin(self.world, self._rng)
        if in_vain(heal):
            return
        self.counts[trouble.name] += 1
        if state:
            self.cells.add((trouble.name, state))
        if trouble.changes_rules:
            self.witness.rules_changed(self.world.exchange.venue.rules)
        if trouble.name == "replica-lag":
            self.witness.referee.copies_lag(trio.current_time(), lag=True)
            heal = self._caught_up(heal)
        if trouble.blinds:
            self._blind_s = trio.current_time()
            heal = self._see_again(heal)
        self._excuse(trouble)
        self._heals[trouble.name] = heal or (lambda: None)
        self.nursery.start_soon(self._heal_later, trouble, lasts_s)

    def _caught_up(self, heal: Heal | None) -> Heal:
        def both() -> None:
            if heal is not None:
                heal()
            self.witness.referee.copies_lag(trio.current_time(), lag=False)

        return both

    def _excuse(self, trouble: Trouble) -> None:
        if trouble.name not in NO_EXCUSE:
            self.witness.referee.disturbed(trio.current_time(), trouble.slack_s + SETTLED_S)

    def _settle(self, trouble: Trouble) -> None:
        """It is healed: the bot has to get over it."""
        self._excuse(trouble)
        if trouble.changes_rules:
            self.witness.rules_changed(self.world.exchange.venue.rules)

    def _see_again(self, heal: Heal | None) -> Heal:
        def both() -> None:
            self._blind_s = None
            if heal is not None:
                heal()

        return both

    async def _heal_later(self, trouble: Trouble, lasts_s: float) -> None:
        await trio.sleep(lasts_s)
        heal = self._heals.pop(trouble.name, None)
        if heal is not None:
            heal()
            now = trio.current_time()
            self._healed.append((now, trouble.slack_s))
            while now - self._healed[0][0] >= REMEMBERED_S:
                self._healed.popleft()
            self._settle(trouble)
            self.witness.trace.tell(f"healed {trouble.name}")

    # -- healing ----------------------------------------------------------------------------------------------------
    def heal_all(self) -> float:
        """Everything is well from now on; how much longer than usual a bot may need."""
        self._calm = True  # what is still aimed at a state does not strike any more
        for name, heal in list(self._heals.items()):
            heal()
            self._settle(TROUBLES[name])
        use_up(self.world)
        in_force = bool(self._heals)
        self._heals.clear()
        now = trio.current_time()
        slack = [each for at_s, each in self._healed if now - at_s < REMEMBERED_S]
        return max([*slack, 60.0 if in_force else 0.0])

    def end(self) -> None:
        """Nothing begins any more."""
        self._over = True


def run_seed(
    seed: int, hours: float, rate: float = 1.0, circumstances: Circumstances | None = None, only: Sequence[str] = ()
) -> Result:
    """One seed from its beginning to its end.

    hours   of virtual time before everything is healed
    rate    troubles, as a multiple of `FAULTS_PER_HOUR`
    only    the troubles to draw from; none: all
    """
    began, worked, given = time.perf_counter(), time.process_time(), circumstances or drawn(seed)
    trace = Trace()
    referee = Referee(terms_of(given))
    witness = Witness(referee, trace)
    told: dict[str, object] = {}
    with a_disk() as place:
        main = functools.partial(_live, seed, hours, rate, only, given, witness, Path(place), told)
        undo = log.setup(witness.logged)
        try:
            with witness.of_failures():
                virtual_s = virtual.run(functools.partial(trace.watch, main), seed, [trace])
        finally:
            undo()
    if virtual_s is None or trace.stuck is not None:
        virtual_s = trace.now_s
        referee.stuck(virtual_s, str(trace.stuck))
    counts, cells = told["counts"], told["cells"]
    assert isinstance(counts, dict) and isinstance(cells, set), "the run has told both"
    return Result(
        seed=seed,
        sha256=trace.sha256(),
        virtual_s=virtual_s,
        wall_s=time.perf_counter() - began,
        cpu_s=time.process_time() - worked,
        steps=trace.steps,
        faults=dict(sorted(counts.items())),
        violations=referee.violations,
        cells=cells,
        counts=dict(referee.counts),
        last=witness.on_first or list(trace.recent),
    )


async def _live(
    seed: int,
    hours: float,
    rate: float,
    only: Sequence[str],
    given: Circumstances,
    witness: Witness,
    place: Path,
    told: dict[str, object],
) -> float:
    referee = witness.referee
    async with with_internet(random.Random(f"{seed}:internet")) as internet:  # noqa: S311 - weather
        world = World(seed, given, internet, witness, place)
        async with running(world) as nursery:
            referee.plant(TOKEN, world.signer.private_pem())
            chaos = Chaos(world, witness, nursery, FAULTS_PER_HOUR * rate, only)
            told["counts"], told["cells"] = chaos.counts, chaos.cells
            with trio.move_on_after(hours * 3600 + HORIZON_S) as horizon:
                nursery.start_soon(chaos.keep_alive)
                nursery.start_soon(chaos.mind_links)
                with trio.move_on_after(hours * 3600):
                    if rate:
                        await chaos.rage()
                    await trio.sleep(math.inf)
                slack_s = chaos.heal_all()
                witness.trace.tell("healed")
                await Demand(world, referee, slack_s).all()
                chaos.end()
            witness.chatted(world)
            if horizon.cancelled_caught:
                referee.breach("hang", trio.current_time(), "the run does not come to its end")
        return trio.current_time()
