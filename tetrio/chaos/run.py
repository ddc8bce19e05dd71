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
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path

import attrs
import msgspec
import trio

from tetrio import log
from tetrio.chaos.aim import Aim, in_force, state_now, use_up
from tetrio.chaos.bot_api import TOKEN
from tetrio.chaos.circumstances import drawn
from tetrio.chaos.coverage import aims
from tetrio.chaos.judge.case import Terms, Trade, Violation
from tetrio.chaos.judge.leaks import Held
from tetrio.chaos.judge.lives import UNKNOWN_STOP_S
from tetrio.chaos.judge.signs import Seen
from tetrio.chaos.market import RoughMarket
from tetrio.chaos.referee import Referee
from tetrio.chaos.states import state_of_request
from tetrio.chaos.trace import Trace
from tetrio.chaos.troubles import CHATTING, MARKET, TROUBLES, Heal, Trouble, in_vain
from tetrio.chaos.world import BEGIN_NS, EVENTS_PER_S, STREAM, WS_API, Circumstances, Life, World, a_disk, running
from tetrio.journal import Fact
from tetrio.net import virtual
from tetrio.net.internet import Connection, with_internet
from tetrio.operator import Order
from tetrio.wire.frames import FrameReader

WARM_S = 15.0
AIMED = 0.8
"""Share of the troubles that are aimed at a state, in the order of `coverage.aims`; the others strike at once."""
LOOK_S = 0.2
LINKS_EVERY_S, SILENT_S = 1.0, {WS_API: 16.0, STREAM: 16.0}
"""How often the bot's links are looked at, and how long one may be silent: on the one a ping every 5 s is answered
within 5, on the other nothing is read on for 5, or while something is asked for that is missing, 10.
"""
AT_ONCE = 3
"""Troubles in force at a time, at most."""
REBIRTH_S = (0.5, 8.0)
REMEMBERED_S = 90.0
QUIET_S = 20.0
AGREED_S = 15.0
"""Within which, trade as it may, the bot's account must once be the exchange's."""
HORIZON_S = 600.0
"""Beyond the time that was asked for: what takes longer hangs."""
FAULTS_PER_HOUR = 90.0
SETTLED_S = 10.0
"""After something has gone wrong: so long nothing is judged by how quickly the bot does it."""
BLIND_S = 3.0
"""Without a byte of the market, of which there is a beat each second: its line is being made anew."""
CALM_S = 45.0
"""After all has been healed: by then what was asked of a Telegram that hangs has been given up."""
TAKEN_S = 10.0
"""What a stop that takes may need to have taken all."""
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


class Witness:
    """Hands what happens to the referee and to the trace."""

    def __init__(self, referee: Referee, trace: Trace) -> None:
        self.referee, self.trace = referee, trace
        self.on_request: Callable[[str | bytes], None] | None = None
        """Called with each request, before it is served."""
        self.on_first: list[str] = []
        self._unknown: set[str] = set()
        """Orders of which the process says that it does not know what became of them."""
        self.seen: Callable[[], Seen] = lambda: Seen(market_s=math.inf, session_s=math.inf)
        """What has reached the bot's machine of late; nobody has said that anything is missing."""
        self.heard_s: Callable[[], float] = lambda: math.inf
        """When the bot last got something of the market."""
        self.disturbed: Callable[[], bool] = lambda: True
        """Whether something is wrong that excuses a bot for being slow; nobody has said that nothing is."""
        self.undisturbed: Callable[[], bool] = lambda: True
        """Whether an answer of the exchange is certain to arrive, as far as other troubles go."""

    @staticmethod
    def _now() -> float:
        return trio.current_time()

    def _look(self) -> None:
        if self.referee.violations and not self.on_first:
            self.on_first = list(self.trace.recent)

    def audit(self, line: str) -> None:
        """A line of the exchange's record."""
        self.trace.tell(line)
        try:
            now = self._now()
        except RuntimeError:  # before the run's first moment: opening funds
            now = 0.0
        self.referee.audit(now, msgspec.json.decode(line))
        self._look()

    def market(self, trades: Sequence[Trade]) -> None:
        """Something has happened on the market."""
        if self.disturbed():
            self.referee.disturbed(self._now(), SETTLED_S)
        self.referee.market(self._now(), trades)
        self._look()

    def request(self, connection: int, message: str | bytes) -> None:
        """The exchange has got a request."""
        self.trace.tell(
            f"request {connection} {message if isinstance(message, str) else message.decode(errors='replace')}"
        )
        self.referee.market_heard(self.heard_s())
        self.referee.request(self._now(), connection, message)
        self._look()
        if self.on_request is not None:
            self.on_request(message)

    def reply(self, connection: int, frame: bytes) -> None:
        """The exchange has answered one."""
        for _, payload in FrameReader().feed(frame):
            self.trace.tell(f"reply {connection} {bytes(payload[:200]).decode(errors='replace')}")
            self.referee.reply(self._now(), connection, bytes(payload))
        self._look()

    def life(self, number: int, what: str, code: int | None = None, why: str = "") -> None:
        """A process of the bot."""
        self.trace.tell(f"process {number} {what} {code if code is not None else ''} {why}".rstrip())
        self.referee.life(self._now(), number, what, code)
        if what == "started":
            self._unknown.clear()
        elif what == "stopping" and self._unknown:
            self.referee.life(self._now(), number, "doubts")
        self._look()

    def fact(self, number: int, fact: Fact) -> None:
        """A line of its journal."""
        self.trace.tell(f"bot {number} {fact.kind} {dict(fact.fields)}")
        if fact.kind == "ready":
            self.referee.life(self._now(), number, "ready")
        elif fact.kind == "order":
            name = str(fact.fields.get("client_order_id"))
            if fact.fields.get("state") == "unknown":
                self._unknown.add(name)
                self.referee.life(self._now(), number, "doubts")
            else:
                self._unknown.discard(name)
        elif fact.kind == "balance" and isinstance(flow := fact.fields.get("flow"), dict):
            self.referee.flow_told(self._now(), flow)
            self._look()
        elif fact.kind in ("rebuilt", "regime", "gate"):
            self._level(fact)
            self._look()
        elif fact.kind == "command" and fact.fields.get("done"):
            self.referee.obeyed(self._now(), str(fact.fields["word"]))
        elif fact.kind == "fill":
            self.referee.fill_told(self._now(), number, fact.fields["trade_id"])
            self._look()

    def _level(self, fact: Fact) -> None:
        """Where it takes its stop to be."""
        fields, referee, now = fact.fields, self.referee, self._now()
        regime, anchor = (
            str(fields.get("regime") or ""),
            Decimal(str(fields["anchor"])) if fields.get("anchor") else None,
        )
        match fact.kind, fields.get("what"):
            case "rebuilt", "state":
                referee.rebuilt(now, regime, anchor, str(fields["gate"]), str(fields.get("reason") or ""))
            case "rebuilt", "anchor":
                referee.anchor_unknown(now)
            case "rebuilt", "decisions":
                referee.taken_back(now)
            case "regime", _:
                referee.level_told(now, regime, anchor)
            case "gate", _:
                referee.level_told(now, regime, anchor, str(fields["state"]))

    def written(self, sink: str, text: str) -> None:
        """A text has left the bot."""
        self.referee.written(self._now(), sink, text)
        self._look()

    def signalled(self, number: int, lines: Sequence[str]) -> None:
        """A process has told its service manager this."""
        self.referee.written(self._now(), "service manager", *lines)
        self.referee.signalled(self._now(), number, lines, self.seen())
        self._look()

    def chatted(self, world: World) -> None:
        """All that was written to a chat, or shown to who has pressed a button."""
        texts = [text for written in world.telegram.written for text in written.texts]
        self.referee.written(self._now(), "chat", *texts, *world.telegram.notes)
        self.referee.written(self._now(), "last words", *(life.why for life in world.lives))

    def logged(self, level: str, name: str, text: str, /, **fields: object) -> None:
        """A line of what the code and its libraries have to say."""
        self.referee.written(self._now(), "log", text, *map(str, fields.values()))

    def said(self, word: str) -> None:
        """The operator said this."""
        self.trace.tell(f"said {word}")
        self.referee.said(self._now(), word)

    def stay_away(self, for_s: float) -> None:
        """The exchange shuts the bot out."""
        self.referee.stay_away(self._now(), for_s)

    def told_away(self) -> None:
        """An answer has told the bot that it is shut out."""
        self.trace.tell("told to stay away")
        self.referee.told_away(self._now(), certain=self.undisturbed())

    def let_in(self) -> None:
        """It does so no more."""
        self.referee.let_in()

    def key_known(self, known: bool) -> None:
        """The bot's key is revoked, or known again."""
        self.referee.key_known(self._now(), known)

    def leapt(self, by_s: float) -> None:
        """The date has gone on by so much more than the time."""
        self.trace.tell(f"the date has leapt by {by_s:.3f} s")
        self.referee.leapt(by_s)

    def knocked(self) -> None:
        """A connection has come about."""
        self.referee.knocked(self._now())
        self._look()


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
        self._healed: list[tuple[float, float]] = []
        """(when, slack)."""
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
        since_s = max((at_s for at_s, _ in self._healed), default=-math.inf)
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
            self.witness.referee.rules_changed(trio.current_time())
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
            self.witness.referee.rules_changed(trio.current_time())

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
            self._healed.append((trio.current_time(), trouble.slack_s))
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


async def _until(holds: Callable[[], bool], within_s: float) -> bool:
    with trio.move_on_after(within_s):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event, and time is virtual
            await trio.sleep(LOOK_S)
        return True
    return holds()


class Demand:
    """After healing: back, resting, and a stop in order."""

    def __init__(self, world: World, referee: Referee, slack_s: float, quiet_s: float = QUIET_S) -> None:
        self.world, self.referee, self.quiet_s = world, referee, quiet_s
        self._fills = referee.counts["fill"]
        referee.healed(trio.current_time(), slack_s)

    def _breach(self, invariant: str, what: str) -> None:
        self.referee.breach(invariant, trio.current_time(), what)

    async def _due(self, invariant: str, so: Callable[[], bool]) -> bool:
        """Whether it came about in time."""
        while True:
            found = so()
            if self.referee.decided(trio.current_time(), invariant, found, self._sight()):
                return found
            await trio.sleep(LOOK_S)

    def _alive(self) -> Life | None:
        return None if self.world.life.dead else self.world.life

    async def all(self) -> None:
        """One after the other."""
        if not await self._due("L1", self._back):
            return
        self.world.say(Order(word="resume", by="chaos"))
        await self._due("L2", self._exits)
        await trio.sleep(self.quiet_s)
        await self._due("L3", lambda: self._doubt() is None)
        await _until(lambda: not self._disagreement(), AGREED_S)
        if what := self._disagreement():
            self._breach("S11", f"{AGREED_S:g} s and more after healing {what}")
        self.referee.fills_due(trio.current_time())
        await self.stop()

    def _back(self) -> bool:
        life = self._alive()
        return life is not None and life.status.phase == "ready"

    def _doubt(self) -> str | None:
        return self.referee.doubt(trio.current_time())

    def _disagreement(self) -> str:
        """Where what the bot takes for so is not what is; "" where nothing."""
        life = self._alive()
        sleeve = life.bot.sleeve if life is not None else None
        if sleeve is None:
            return ""
        thought, open_orders = sleeve.totals(), sorted(order.client_order_id for order in sleeve.unfinished())
        return self.referee.disagreement(*thought, open_orders)

    def _exits(self) -> bool:
        """Say `exit`, where nothing is armed, until something rests."""
        life = self._alive()
        if life is None:
            return False
        if self.referee.open_orders or life.status.regime == "FLAT" or self._little():
            return True
        if self.referee.counts["fill"] > self._fills:
            return True  # a taking order does not rest
        if not life.status.armed:
            self.world.say(Order(word="exit", by="chaos"))
        return False

    def _little(self) -> bool:
        """Whether what is held is so near the smallest order that one lot decides whether there can be one."""
        sleeve, market = self.world.life.bot.sleeve, self.world.market
        if sleeve is None:
            return False
        rules, held = self.world.exchange.venue.rules, sleeve.holdings()
        price = market.first_price_ticks
        worth = max(held.base * price, held.quote)
        return worth < rules.min_notional_tick_lots + 2 * max(price, rules.min_qty_lots * price)

    def _sight(self) -> str:
        status = self.world.life.status
        sight = f"phase {status.phase}, regime {status.regime}, armed {status.armed or 'nothing'}, {status.detail}"
        return f"{sight}, in doubt {doubt}" if (doubt := self._doubt()) else sight

    async def stop(self) -> None:
        """SIGTERM, and what must follow."""
        life = self._alive()
        if life is None:
            return
        life.stop()
        if not await _until(life.ended.is_set, UNKNOWN_STOP_S + 2):
            self._breach("L5", "a stop does not end")
        elif life.code != 0:
            self._breach("L5", f"a stop ended with exit code {life.code}: {life.why}")


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


def terms_of(given: Circumstances) -> Terms:
    """What the referee must know of the circumstances."""
    settings = dict(text.split("=", 1) for text in given.settings)
    rules = RoughMarket(0, BEGIN_NS, EVENTS_PER_S).rules
    return Terms(
        base="ETH",
        quote="FDUSD",
        on_stop=settings.get("exit.on_stop", "cancel"),
        takes=float(settings.get("exit.escalate_after_s", 1)) > 0 or float(settings.get("exit.escalate_bps", 1)) > 0,
        protects=settings.get("exit.protect", "off") != "off",
        reserve_base=Decimal(settings.get("symbol.reserve_base", "0")),
        reserve_quote=Decimal(settings.get("symbol.reserve_quote", "0")),
        begin_ms=BEGIN_NS // 1_000_000,
        least_qty=rules.min_qty_lots * rules.step_size,
        least_notional=rules.min_notional,
        hard_stop=Decimal(settings["strategy.hard_stop"]) if _stop_is_known(settings) else None,
        stop_confirm=int(settings.get("strategy.stop_confirm", "1")),
        flat_within_s=_flat_within_s(settings),
    )


def _stop_is_known(settings: Mapping[str, str]) -> bool:
    """Whether the record tells where a stop is: not by best prices."""
    return "strategy.hard_stop" in settings and settings.get("strategy.reference", "trade") == "trade"


def _flat_within_s(settings: Mapping[str, str]) -> float | None:
    """From a stop to its last sale, where the book is liquid: it takes after some time, and again each second."""
    after_s = float(settings.get("exit.escalate_after_s", 20))
    if not after_s or "symbol.max_notional" in settings:
        return None  # only the price bounds it; or what is sold at a time is bounded
    return after_s + TAKEN_S
