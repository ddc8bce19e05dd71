"""A small world: an exchange and Telegram's Bot API behind TLS, and a machine on which the bot lives, and dies.

    World
    ├ exchange      three names, REST, WebSocket API and streams, each a front of its own
    ├ telegram      one name
    └ Life          one process of the bot: what `tetrio serve` assembles, on a host of its own

What is run is what is shipped: the bot, its messenger, the exchange. What is simulated is what lies between and below:
network, names, power, the date. Nothing here judges; what happens is told to a `Witness`.
"""

from __future__ import annotations

import functools
import io
import math
import os
import random
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Protocol

import attrs
import trio

from tetrio import config
from tetrio.app import opening_funds
from tetrio.beside import Beside, Surroundings
from tetrio.chaos.authority import Authority, Front
from tetrio.chaos.bot_api import TOKEN, FakeBotApi
from tetrio.chaos.market import RoughMarket
from tetrio.config import Config
from tetrio.core.market import Side
from tetrio.errors import TetrioError, leaves
from tetrio.journal import Fact, Journal, StreamSink
from tetrio.live.bot import Bot
from tetrio.live.setup import Setup
from tetrio.net.clock import NS
from tetrio.net.internet import Connection, Internet
from tetrio.net.trust import trusting
from tetrio.operator import Order
from tetrio.sim.engine.clearing import Discount
from tetrio.sim.exchange import Clocks, Exchange, ExchangeConfig
from tetrio.sim.face.venue import ACCOUNT
from tetrio.sim.retention import FULL, Retention
from tetrio.status import Status
from tetrio.systemd import Notifier
from tetrio.wire.sign import Signer

REST, WS_API, STREAM, TELEGRAM = (
    "rest.exchange.test",
    "ws-api.exchange.test",
    "stream.exchange.test",
    "api.telegram.test",
)
FACES = {"rest": REST, "ws_api": WS_API, "stream": STREAM}
KEY = "chaos"
CHAT, OPERATOR = -111, 7
"""A group: it is written to every three seconds at most, which is a third of the work of a private chat."""
BEGIN_NS = 1_767_225_600 * NS
EVENTS_PER_S = 1.0
PORT = 443
LAST_WORDS_S = 0.4
WATCHDOG_USEC = 30_000_000
"""As in the unit."""
_MEMORY = Path("/dev/shm")  # noqa: S108 - made there are directories with names of their own


def a_disk() -> tempfile.TemporaryDirectory[str]:
    """A directory for what a world's processes leave behind: in memory where the system has some for files, since what
    they write is synchronised each time, and no disk is part of what is simulated.
    """
    return tempfile.TemporaryDirectory(prefix="tetrio-chaos-", dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None)


class Witness(Protocol):
    """Who is told what happens, as it happens."""

    def audit(self, line: str) -> None:
        """A line of the exchange's record."""

    def market(self, trades: Sequence[tuple[int, Decimal]]) -> None:
        """Something has happened on the market; the number and price of each trade since the last time."""

    def request(self, connection: int, message: str | bytes) -> None:
        """The exchange has got a request."""

    def reply(self, connection: int, frame: bytes) -> None:
        """The exchange has answered one."""

    def life(self, number: int, what: str, code: int | None = None, why: str = "") -> None:
        """A process of the bot: started, killed, stopping, ended."""

    def fact(self, number: int, fact: Fact) -> None:
        """A line of its journal."""

    def written(self, sink: str, text: str) -> None:
        """A text has left the bot by that way."""

    def signalled(self, number: int, lines: Sequence[str]) -> None:
        """A process of the bot has told its service manager this."""

    def said(self, word: str) -> None:
        """The operator said this, and it was obeyed."""

    def stay_away(self, for_s: float) -> None:
        """The exchange shuts the bot out for so long."""

    def told_away(self) -> None:
        """An answer has told the bot that it is shut out."""

    def let_in(self) -> None:
        """It does so no more."""

    def key_known(self, known: bool) -> None:
        """The bot's key is revoked, or known again."""

    def leapt(self, by_s: float) -> None:
        """The date has gone on by so much more than the time."""

    def knocked(self) -> None:
        """A connection to a face of the exchange has come about."""


class _Lines(io.TextIOBase):
    """What the exchange writes its record to, and a bot its journal: no file."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell

    def write(self, text: str, /) -> int:
        self._tell(text.rstrip("\n"))
        return len(text)


class Manager(Notifier):
    """The service manager's end of the socket: it hears at once, and cannot be out of reach."""

    def __init__(self, hear: Callable[[Sequence[str]], None]) -> None:
        super().__init__()
        self.present, self._hear = True, hear

    def send(self, lines: Sequence[str]) -> bool:
        """One datagram."""
        self._hear(lines)
        self.ready |= "READY=1" in lines
        return True


class TrueDate:
    """The date as the exchange has it: it goes on with trio's clock, and leaps while the bot's machine sleeps."""

    def __init__(self) -> None:
        self.leapt_ns = 0

    def now_ns(self) -> int:
        """The date, ns since 1970 UTC."""
        return BEGIN_NS + round(trio.current_time() * NS) + self.leapt_ns


@attrs.define
class HostClock:
    """The date on one machine, which may be set."""

    true: TrueDate
    off_ns: int = 0
    """How far it is from the true date."""

    def now_ns(self) -> int:
        """The date, ns since 1970 UTC."""
        return self.true.now_ns() + self.off_ns


@attrs.frozen(kw_only=True)
class Circumstances:
    """What differs from seed to seed beside what goes wrong."""

    settings: tuple[str, ...]
    """As `--set` takes them."""
    fund: str = ""
    maker: str = "0"
    taker: str = "0"
    fills: str = "queue"
    discount: bool = False
    telegram: bool = True
    """Whether there is a chat that is told."""
    retention: Retention = FULL
    """How much of the past the exchange remembers."""


class Life:
    """One process of the bot."""

    def __init__(self, world: World, number: int) -> None:
        self.world, self.number = world, number
        self.host = world.internet.host(f"bot{number}")
        self.clock = world.clock
        sink = StreamSink(_Lines(self._write))  # type: ignore[arg-type]  # as much of a stream as the journal uses
        self.journal = Journal([sink], self.clock.now_ns)
        self.journal.listeners.append(self._hear)
        self.status = Status(venue="live", symbol=world.market.symbol)
        self.bot = Bot(
            world.setup(), clock=self.clock, journal=self.journal, status=self.status,
            rng=random.Random(f"{world.seed}:backoff{number}"),  # noqa: S311 - jitter
        )  # fmt: skip
        self.ended = trio.Event()
        self.code: int | None = None
        self.why = ""
        self._scope = trio.CancelScope()
        self._task: trio.lowlevel.Task | None = None

    @property
    def tasks(self) -> list[trio.lowlevel.Task]:
        """All of this process, the first one included; none before it has begun."""
        found = [self._task] if self._task is not None else []
        for task in found:  # which grows meanwhile
            found += (child for nursery in task.child_nurseries for child in nursery.child_tasks)
        return found

    @property
    def dead(self) -> bool:
        """Killed, or over."""
        return self.host.dead or self.ended.is_set()

    def _hear(self, fact: Fact) -> None:
        if not self.host.dead:
            self.world.witness.fact(self.number, fact)

    def _write(self, text: str) -> None:
        self.world.witness.written("journal", text)

    def _signal(self, lines: Sequence[str]) -> None:
        if not self.host.dead:
            self.world.witness.signalled(self.number, lines)

    async def run(self) -> None:
        """From its start to its end; what would end the process ends this, with its exit code."""
        self.world.witness.life(self.number, "started")
        self._task = trio.lowlevel.current_task()
        try:
            with self._scope, self.host.here():
                await self._run()
        except* Exception as group:
            self.code, self.why = _exit_code(group)
        finally:
            if not self.host.dead:
                self.world.witness.life(self.number, "ended", code=self.code, why=self.why)
                self.host.die()
            self.ended.set()

    async def _run(self) -> None:
        manager = Manager(self._signal)
        around = Surroundings(state=self.world.state, notifier=manager, watchdog_usec=WATCHDOG_USEC)
        async with trio.open_nursery() as nursery:
            beside = Beside(self.world.config, around, self.bot, self.clock)
            await nursery.start(beside.run)
            clean = await self.bot.run()
            await beside.part(LAST_WORDS_S)
            self.code = 0 if clean else 1
            nursery.cancel_scope.cancel()

    def stop(self) -> None:
        """SIGTERM."""
        if not self.dead and not self.bot.stop.is_set():
            self.world.witness.life(self.number, "stopping")
            self.bot.stop.set()

    def kill(self, *, silently: bool = False) -> None:
        """SIGKILL, or with `silently` the power: at this instant, in the middle of whatever it does."""
        if self.dead:
            return
        self.world.witness.life(self.number, "killed")
        self.host.die(silently=silently)
        self.bot.release()
        self._scope.cancel()


class World:
    """Everything that one seed runs."""

    def __init__(
        self, seed: int, circumstances: Circumstances, internet: Internet, witness: Witness, directory: Path
    ) -> None:
        self.seed, self.circumstances, self.internet, self.witness = seed, circumstances, internet, witness
        self.state = directory / "state"
        token = directory / "token"
        token.touch(0o600)
        token.write_text(TOKEN)
        self.date = TrueDate()
        self.clock = HostClock(self.date)
        self.config = _configured(circumstances, token)
        self.market = RoughMarket(seed, BEGIN_NS, EVENTS_PER_S)
        self.signer, self.authority, contexts = _secrets(seed)
        self.exchange = Exchange(self._exchange_config())
        self.exchange.venue.addresses.on_banned = witness.told_away
        self.market.on_happened = self._happened
        self._traded_id = 0
        """The latest trade of which the witness was told."""
        self.telegram = FakeBotApi(lambda: self.clock.now_ns() / NS)
        self.hosts = {name: internet.host(name) for name in contexts}
        knocked = witness.knocked
        self.fronts = {
            REST: Front(self.exchange.serve_rest_stream, contexts[REST], knocked),
            WS_API: Front(self.exchange.serve_ws_stream, contexts[WS_API], knocked),
            STREAM: Front(self.exchange.serve_ws_stream, contexts[STREAM], knocked),
            TELEGRAM: Front(self.telegram.serve, contexts[TELEGRAM], lambda: None),
        }
        for name, host in self.hosts.items():
            internet.name(name, host)
        self.lives: list[Life] = []
        self._bad: list[ssl.SSLContext] = []

    def _exchange_config(self) -> ExchangeConfig:
        given = self.circumstances
        return ExchangeConfig(
            market=self.market,
            keys={KEY: self.signer.verifier},
            funds=opening_funds(self.market, given.fund),
            clocks=Clocks(self.date.now_ns, joined=False),
            maker=Decimal(given.maker),
            taker=Decimal(given.taker),
            fills=given.fills,
            discount=Discount(enabled_for_account=True, asset="BNB", price=Decimal(600))
            if given.discount
            else Discount(),
            seed=self.seed,
            retention=given.retention,
            audit=_Lines(self.witness.audit),  # type: ignore[arg-type]  # as much of a stream as the audit uses
            tap=self.witness,
        )

    def setup(self) -> Setup:
        """What each life is told."""
        given = self.config
        return Setup(
            rest=f"https://{REST}", ws_api=f"wss://{WS_API}/ws-api/v3", stream=f"wss://{STREAM}",
            symbol=self.market.symbol, api_key=KEY, signer=self.signer, strategy=given.strategy, exit=given.exit,
            risk=given.risk, reserve_base=given.symbol.reserve_base, reserve_quote=given.symbol.reserve_quote,
            max_notional=given.symbol.max_notional, jumpstart=given.account.reconcile == "jumpstart", where="live",
            state=self.state,
        )  # fmt: skip

    def _happened(self) -> None:
        venue, newer = self.exchange.venue, list[tuple[int, Decimal]]()
        for trade in reversed(venue.recent):
            if trade.trade_id <= self._traded_id:
                break
            newer.append((trade.trade_id, trade.price * venue.rules.tick_size))
        if newer:
            self._traded_id = newer[0][0]
        self.witness.market(newer[::-1])

    @property
    def life(self) -> Life:
        """The latest process of the bot."""
        return self.lives[-1]

    def links(self, name: str) -> list[Connection]:
        """The connections to one of the names that the latest process of the bot holds."""
        host = self.life.host
        return [each for each in self.internet.connections(self.hosts[name]) if each.client.host is host]

    def heard_s(self, name: str = STREAM) -> float:
        """When the latest process of the bot last got something from there; -inf before it did."""
        return self.life.host.heard_s.get(self.hosts[name], -math.inf) if self.lives else -math.inf

    def say(self, order: Order) -> None:
        """The operator says a word to the bot, if there is one."""
        if not self.lives or self.life.dead:
            return
        answer = self.life.bot.commander.obey(order)
        if answer.done:
            self.witness.said(order.word)

    def leap(self, by_s: float) -> None:
        """The bot's machine has slept for so long: the date has gone on, its other clock has not."""
        self.date.leapt_ns += round(by_s * NS)
        self.witness.leapt(by_s)

    def revoke_key(self) -> None:
        """The bot's API key is not known any more."""
        self.witness.key_known(False)
        self.exchange.mishaps.arm(f"revoke:{KEY}")

    def restore_key(self) -> None:
        """It is known again, as after the operator has made it anew."""
        self.exchange.venue.keys.add(KEY, self.signer.verifier)
        self.witness.key_known(True)

    def resting_exit(self) -> tuple[Side, int, int] | None:
        """Side, price in ticks and lots of an order of the bot's that is on the book; None without one."""
        for order in self.exchange.venue.engine.open_orders(ACCOUNT, self.market.symbol):
            if order.working_ms >= 0 and order.remaining > 1:
                return order.side, order.limit, order.remaining
        return None

    def name_of(self, front: Front) -> str:
        """The name at which a front is to be had."""
        return next(name for name, each in self.fronts.items() if each is front)

    def bad_contexts(self) -> list[ssl.SSLContext]:
        """Certificates that nobody must accept: expired, of another name, of another authority."""
        if not self._bad:
            draw = random.Random(f"{self.seed}:bad certificates")  # noqa: S311 - keys of a world that ends with its run
            names, stranger = [*FACES.values()], Authority.of(draw.randbytes(32), "stranger.test")
            self._bad = [
                self.authority.server_context(draw.randbytes(32), names, expired=True),
                self.authority.server_context(draw.randbytes(32), ["elsewhere.test"]),
                stranger.server_context(draw.randbytes(32), names),
            ]
        return self._bad

    def bear(self, nursery: trio.Nursery) -> Life:
        """Start a process of the bot, empty, on the same disk."""
        life = Life(self, len(self.lives) + 1)
        self.lives.append(life)
        nursery.start_soon(life.run)
        return life

    async def serve(self, nursery: trio.Nursery) -> None:
        """Start the exchange and Telegram; they run until the nursery is cancelled."""
        for name, front in self.fronts.items():
            with self.hosts[name].here():
                await nursery.start(functools.partial(front.run, PORT, self.hosts[name].ip))
        with self.hosts[REST].here():
            await nursery.start(self.exchange.run)


@asynccontextmanager
async def running(world: World) -> AsyncIterator[trio.Nursery]:
    """The world without a bot, for as long as the block lasts; the nursery is for lives, and what befalls them."""
    with trusting(world.authority.client_context()):
        async with trio.open_nursery() as outer:
            await world.serve(outer)
            async with trio.open_nursery() as inner:
                yield inner
                inner.cancel_scope.cancel()
            outer.cancel_scope.cancel()


@functools.lru_cache(maxsize=4)
def _secrets(seed: int) -> tuple[Signer, Authority, dict[str, ssl.SSLContext]]:
    """Keys and certificates of a world: the same for each run of a seed."""
    draw = random.Random(f"{seed}:keys")  # noqa: S311 - of a world that ends with its run
    signer, authority = Signer.generate(draw.randbytes(32)), Authority.of(draw.randbytes(32))
    names = (*FACES.values(), TELEGRAM)
    return signer, authority, {name: authority.server_context(draw.randbytes(32), [name]) for name in names}


def _configured(circumstances: Circumstances, token: Path) -> Config:
    settings = [*circumstances.settings]
    if circumstances.telegram:
        settings += [
            f"telegram.token_file={token}", f"telegram.chats={CHAT}", f"telegram.users={OPERATOR}",
            f"telegram.url=https://{TELEGRAM}",
        ]  # fmt: skip
    return config.load(None, {}, [config.from_option(text) for text in settings])


def _exit_code(group: BaseExceptionGroup[Exception]) -> tuple[int, str]:
    """As the command line would end: by the first error that has a code; 1 and a traceback's name for a defect."""
    for error in leaves(group):
        if isinstance(error, TetrioError):
            return error.exit_code, str(error)
    first = next(leaves(group))
    return 1, f"{type(first).__name__}: {first}"
