"""One day of a whole tetrio in virtual time: bot and exchange as the application assembles them, everything that runs
beside them switched on, and around it a day that is not kind to any of it.

    market     klines of one minute; both of the bot's lines are cut a few times an hour
    Telegram   a fake Bot API whose weather changes; an operator who asks, commands and presses buttons; a stranger
    others     Prometheus each minute, the shell each other minute, a service manager, whoever reads standard error

The day is four times the same six hours, so that whatever is made once is made before the first census, and what grows
shows in the others. It judges nothing; `test_day` does.
"""

from __future__ import annotations

import io
import itertools
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import attrs
import pytest
import trio

import tetrio.app
import tetrio.beside
import tetrio.live.latch
import tetrio.live.sleeve
import tetrio.sim.exchange
import tetrio.telegram.poller
from tests.scenarios.bystanders import (
    METRICS_PORT,
    OPERATOR,
    OWNER,
    SECOND,
    ask_from_the_shell,
    manage,
    operate,
    read,
    rest,
    scrape,
    service_manager,
    stall,
    standard_error,
    weather,
)
from tests.scenarios.census import take_census
from tests.scenarios.daybook import Day, each_cycle, quiet
from tests.scenarios.runs import KLINES, raw_lines
from tests.scenarios.sandbox import Fault, Frame, Tampered, tampering
from tetrio import config
from tetrio.app import KLINES_BEAT_S, Options, _Run
from tetrio.beside import Surroundings
from tetrio.chaos.bot_api import TOKEN, serving
from tetrio.config import Config
from tetrio.core.refold import Refold
from tetrio.net import simnet, virtual
from tetrio.net.clock import NS
from tetrio.sim.exchange import ExchangeConfig
from tetrio.sim.market.tape import open_market
from tetrio.systemd import Notifier

OPENS = 31_680  # klines before the day: one of the month's wildest
KLINES_A_DAY = 1441  # from the first to the last
CENSUS_MIN = 354.5 + 0.37 / 60  # in each cycle; at a moment at which nobody else wakes
WATCHDOG_USEC = 30_000_000
ORDERS_KEPT, UPDATES_KEPT, PLACES_KEPT = (
    20,
    100,
    4,
)  # instead of 2000 each: the bounds are reached before the first census
THRESHOLDS = (
    "strategy.min_gain_base=0.002", "strategy.min_gain_quote=0.002", "strategy.donchian_gain=0.1",
    "strategy.buffer=0", "strategy.hard_stop=0.003", "strategy.kline_history=300",
)  # fmt: skip


def cut_day(directory: Path) -> Path:
    """One day of the recorded klines."""
    path = directory / "ETHUSDT-1m.csv"
    lines = raw_lines(KLINES, 1 + OPENS + KLINES_A_DAY)
    path.write_text("".join(itertools.chain([next(lines)], itertools.islice(lines, OPENS, None))))
    return path


def live_through(directory: Path) -> Day:
    """The whole day."""
    day = Day()
    token = directory / "token"
    token.touch(0o600)
    token.write_text(TOKEN)
    given = _configured(cut_day(directory), token)
    market = open_market(given.venue.market, None, seed=1)
    audit = io.StringIO()
    with standard_error() as (stream, pipe), service_manager(directory / "notify") as manager:
        around = Surroundings(
            control=directory / "run" / "control", control_named=True,
            notifier=Notifier(str(directory / "notify")), watchdog_usec=WATCHDOG_USEC,
        )  # fmt: skip
        options = Options(
            journal_path=directory / "journal", status_path=directory / "status", exit_at_end=True, around=around
        )
        run = _Run(given, options, market, audit)
        with _in_virtual_time(run, stream):
            virtual.run(lambda: _all(day, run, _Places(directory, pipe, stream.fileno(), manager)), given.venue.seed)
        day.sinks = [(sink.name, sink.written, sink.lost) for sink in run.bot.journal.sinks]
        day.read_lines += rest(pipe).count(b"\n")
    day.facts = [json.loads(line) for line in (directory / "journal").read_text().splitlines()]
    day.audit = [json.loads(line) for line in audit.getvalue().splitlines()]
    day.status_file = json.loads((directory / "status").read_text())
    day.dropped = run.status.messages_dropped
    return day


def _configured(market: Path, token: Path) -> Config:
    """As an operator has it who wants everything; speed 1 is what makes the application bring all that is beside."""
    settings = [
        f"venue.market={market}", "venue.speed=1", *THRESHOLDS, "log.format=json", "log.queue=100",
        f"telegram.token_file={token}", f"telegram.chats={OWNER},{SECOND}", f"telegram.users={OPERATOR}",
        f"metrics.listen=127.0.0.1:{METRICS_PORT}",
    ]  # fmt: skip
    return config.load(None, {}, [config.from_option(text) for text in settings])


@contextmanager
def _in_virtual_time(run: _Run, stream: TextIO) -> Iterator[None]:
    """What the application takes from the machine comes from here: date, standard error; and fewer beats and files."""

    def fewer_beats(**given: Any) -> ExchangeConfig:
        return ExchangeConfig(**{**given, "beat_s": KLINES_BEAT_S})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tetrio.beside, "WallClock", lambda: run.bot.clock)
        patch.setattr(tetrio.sim.exchange, "ExchangeConfig", fewer_beats)
        patch.setattr(tetrio.app, "STATUS_EVERY_S", 60.0)
        patch.setattr(tetrio.live.sleeve, "KEPT", ORDERS_KEPT)
        patch.setattr(tetrio.telegram.poller, "SEEN_MOST", UPDATES_KEPT)
        defaults = Refold.__init__.__kwdefaults__
        assert defaults is not None, "it has one"
        patch.setitem(defaults, "kept", UPDATES_KEPT)
        patch.setattr(tetrio.live.latch, "PLACES", PLACES_KEPT)
        patch.setattr("sys.stderr", stream)
        yield


# -- the day -----------------------------------------------------------------------------------------------------------


@attrs.frozen
class _Places:
    """Where those beside meet the process."""

    directory: Path
    pipe: int
    """The reading end of standard error."""
    error_fd: int
    """The writing end."""
    manager: socket.socket

    @property
    def control(self) -> Path:
        return self.directory / "run" / "control"


async def _all(day: Day, run: _Run, places: _Places) -> None:
    fault = Cuts()
    async with (
        simnet.with_simnet(),
        trio.open_nursery() as nursery,
        serving(lambda: run.bot.clock.now_ns() / NS) as api,
    ):
        run.config = attrs.evolve(run.config, telegram=attrs.evolve(run.config.telegram, url=api.url))
        nursery.start_soon(weather, api)
        nursery.start_soon(operate, api, day)
        nursery.start_soon(scrape, day)
        nursery.start_soon(ask_from_the_shell, places.control, day)
        nursery.start_soon(manage, places.manager, day)
        nursery.start_soon(read, places.pipe, day)
        nursery.start_soon(stall, places.error_fd)
        nursery.start_soon(_count, day)
        nursery.start_soon(_watch, run, day)
        with tampering(fault, nursery):
            nursery.start_soon(fault.run)
            day.code = await run.main()
        day.virtual_s = trio.current_time()
        day.cuts, day.written = fault.count, api.written
        nursery.cancel_scope.cancel()


async def _watch(run: _Run, day: Day) -> None:
    """Listen to the journal from its first fact on."""
    while not hasattr(run, "bot"):
        await trio.lowlevel.checkpoint()
    for fact in tuple(run.bot.journal.recent):
        day.witness.listen(fact)
    run.bot.journal.listeners.append(day.witness.listen)


async def _count(day: Day) -> None:
    async def count() -> None:
        day.censuses.append(take_census())

    await each_cycle([(CENSUS_MIN, count)])


class Cuts(Fault):
    """Either line is cut, a few times an hour."""

    def told(self, line: Tampered, frame: Frame) -> list[tuple[float, Frame]]:
        return [(0, frame)]

    def asked(self, line: Tampered, request: Frame) -> None:
        """Nothing is remembered of it."""

    async def run(self) -> None:
        while True:
            await trio.sleep(300 + self.rng.expovariate(1 / 1200))
            if quiet():
                continue
            line = self.lines.get(self.rng.choice(["account", "market"]))
            if isinstance(line, Tampered):
                line.cut()
            elif isinstance(line, trio.SocketStream):
                line.socket.reset()  # type: ignore[attr-defined]  # a simulated socket's
            self.count += line is not None
