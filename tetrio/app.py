"""`tetrio serve`, assembled: the clock and network it runs on, its own exchange where the venue has none, the bot, the
signals, the panel.

    at --speed N     real sockets on loopback, a clock that runs N times as fast for bot and exchange alike
    at --speed max   an in-memory network and a clock that jumps; everything drawn from the seed: the same run each time
    on paper         its own exchange on loopback, whose market is that of Binance's ends, relayed
    elsewhere        Binance's ends, or those that the configuration names

Nothing is decided here. The nursery below is the outermost: exchange, bot, panel and the signal receiver; the bot ends
first and the exchange after it, so that the bot can say goodbye.

What a run has no use for it does not import: a bot on somebody else's exchange does without ours and its web servers,
which would be a third of its memory and of its start.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import attrs
import trio

from tetrio import keys, log
from tetrio.beside import Beside, Surroundings
from tetrio.config import Config, parse_funds
from tetrio.core.money import floor_units
from tetrio.core.params import ExitParams, RiskParams
from tetrio.errors import ConfigError, TetrioError, leaves
from tetrio.journal import FileSink, Journal, PatientSink, Sink, StreamSink
from tetrio.live.bot import Bot, Setup
from tetrio.live.watchdog import Patience
from tetrio.net import clock, entropy
from tetrio.net.signals import heed
from tetrio.status import Status, snapshot
from tetrio.venue import Urls
from tetrio.wire.sign import Signer

if TYPE_CHECKING:
    from tetrio.sim.market.tape import Market

LEAD_S = 1.0  # of market time before a recorded market's first frame: time to connect, so that dates agree
STATUS_EVERY_S = 1.0
FAREWELL_S = 3.0  # for the message that says why there is no going on
LAST_WORDS_S = 0.4  # for messages about the stop; with the goodbye's 4.5 s, within the 5 s of a stop
SHOW_EVERY_S = 0.1  # of the watcher's time, however fast the run's is
KLINES_BEAT_S = 4.0
"""How often kline_1s is told where four points a minute are all there is and only virtual time passes: often enough for
the feed, which misses it after 5 s, and a quarter of the work in a month of them."""
MAX_SPEED = 600.0  # what `--speed max` counts as where something is shown now and then
FUND_QUOTE = Decimal(1000)
SIM_KEY = "embedded"
_ANEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC


@attrs.frozen(kw_only=True)
class Options:
    """What the command line adds to the configuration."""

    journal_path: Path | None = None
    audit_path: Path | None = None
    exit_at_end: bool = False
    status_path: Path | None = None
    panel: bool = False
    around: Surroundings = attrs.field(factory=Surroundings)


def serve(config: Config, options: Options) -> int:
    """Run until stopped; the exit code: 0 when nothing of ours is left behind against `on_stop`, else 1.

    In virtual time a market's end is the end: there is nothing to wait for on a clock that jumps.
    """
    if config.virtual:
        options = attrs.evolve(options, exit_at_end=True, panel=False)
    market = _open_market(config) if config.embedded and not config.relayed else None
    with _audit(config, options) as audit:
        run = _Run(config, options, market, audit)
        if config.virtual:
            from tetrio.net import virtual

            return virtual.run(run.in_simnet, config.venue.seed)
        return trio.run(run.main, clock=clock.scaled(config.venue.speed or 1.0))


class _Run:
    """One run of `serve`."""

    def __init__(self, config: Config, options: Options, market: Market | None, audit: TextIO | None) -> None:
        self.config, self.options, self.market, self.audit = config, options, market, audit
        self.status = Status(
            venue=config.venue.name,
            speed=_speed(config),
            symbol=config.symbol.name or (market.symbol if market else ""),
        )
        self.bot: Bot
        self._reloading = trio.Lock()

    async def in_simnet(self) -> int:
        """As `main`, over the in-memory network."""
        from tetrio.net import simnet

        async with simnet.with_simnet():
            return await self.main()

    async def main(self) -> int:
        """Build, run, stop in order."""
        clock.set_rate(self.config.venue.speed or 1.0)
        now = self._clock()
        journal = Journal(self._sinks(), now.now_ns)
        undo = log.setup(journal.remark, level=self.config.log.level)
        self.status.facts, self.status.began_ns = journal.recent, now.now_ns()
        try:
            with heed(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
                return await self._run(now, journal, signals)
        finally:
            undo()
            journal.close()

    def _sinks(self) -> list[Sink]:
        """The journal's file and standard error; each behind a thread of its own where time is real."""
        params, direct = self.config.log, list[FileSink | StreamSink]()
        if self.options.journal_path:
            direct.append(FileSink(self.options.journal_path))
        if not self.options.panel:
            direct.append(StreamSink(sys.stderr, style=params.format))
        return list(direct) if self.config.virtual else [PatientSink(sink, params.queue) for sink in direct]

    async def _run(self, now: clock.Clock, journal: Journal, signals: AsyncIterator[int]) -> int:
        if self.config.relayed and not await self._relay(now, journal, signals):
            return 0
        async with self._exchange(now, journal) as (urls, api_key, signer):
            setup = self._setup(urls, api_key, signer)
            self.bot = Bot(setup, clock=now, journal=journal, status=self.status, rng=entropy.rng("backoff"))
            journal.write("start", **self._described())
            clean = await self._until_stopped(now, signals)
            return 0 if clean else 1

    async def _until_stopped(self, now: clock.Clock, signals: AsyncIterator[int]) -> bool:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._heed, signals)
            beside = Beside(self.config, self.options.around, self.bot)
            if not self.config.virtual:
                await nursery.start(beside.run)
                nursery.start_soon(self._follow_clock, now)
            if self.options.panel:
                await self._show_panel(nursery)
            if self.options.status_path and not self.config.virtual:
                nursery.start_soon(self._keep_status, self.options.status_path)
            try:
                clean = await self.bot.run()
            except Exception as error:
                self.bot.journal.write("stop", state="failed", why="; ".join(str(each) for each in leaves(error)))
                await beside.part(FAREWELL_S)
                raise
            self.bot.journal.write("stop", state="done", clean=clean)
            await beside.part(LAST_WORDS_S)
            nursery.cancel_scope.cancel()
        if self.options.status_path:
            write_status(self.status, self.options.status_path)
        return clean

    # -- the pieces -----------------------------------------------------------------------------------------------
    def _clock(self) -> clock.Clock:
        """Market time where we bring the market, else the machine's date."""
        if self.market is None:
            return clock.WallClock()
        lead_s = LEAD_S if self.market.last_ns else 0.0
        return clock.AnchoredClock(self.market.first_ns - round(lead_s * clock.NS))

    async def _relay(self, now: clock.Clock, journal: Journal, signals: AsyncIterator[int]) -> bool:
        """Open the market of paper; False when a signal came first."""
        from tetrio.sim.market.relay import Source, open_relay

        config = self.config

        def say(state: str, **fields: object) -> None:
            if state in ("up", "lost"):
                self.status.links["source"] = state
            journal.write("link", name="source", state=state, **fields)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(_ended_by, signals, nursery.cancel_scope)
            self.market = await open_relay(
                Source(config.urls.rest, config.urls.stream),
                config.symbol.name,
                clock=now,
                say=say,
                within_s=config.venue.connect_deadline_s,
                klines={config.strategy.kline_interval: config.strategy.kline_history},
            )
            nursery.cancel_scope.cancel()
        return self.market is not None

    @asynccontextmanager
    async def _exchange(self, now: clock.Clock, journal: Journal) -> AsyncIterator[tuple[Urls, str, Signer]]:
        """Our own exchange, or the way to somebody else's."""
        config = self.config
        if self.market is None:
            found = keys.read(config.account.api_key_file, config.account.private_key_file)
            yield config.urls, found.api_key.reveal(), found.signer
            return
        from tetrio.sim.exchange import Clocks, Exchange, ExchangeConfig

        signer = Signer.generate(entropy.token_bytes(32))
        log.conceal(signer.private_pem())
        exchange = Exchange(
            ExchangeConfig(
                market=self.market,
                keys={SIM_KEY: signer.verifier},
                funds=opening_funds(self.market, config.venue.fund),
                clocks=Clocks(now.now_ns, joined=True),
                fills=config.venue.fills,
                maker=config.venue.maker,
                taker=config.venue.taker,
                seed=config.venue.seed,
                beat_s=KLINES_BEAT_S if config.virtual and self.market.kind == "klines" else 1.0,
                audit=self.audit,
                on_market_end=self._market_ended,
            )
        )
        async with trio.open_nursery() as nursery:
            ends = await nursery.start(exchange.run)
            yield Urls(ends.rest, ends.ws_api, ends.stream, ends.sbe), SIM_KEY, signer
            nursery.cancel_scope.cancel()

    def _setup(self, urls: Urls, api_key: str, signer: Signer) -> Setup:
        config = self.config
        return Setup(
            rest=urls.rest,
            ws_api=urls.ws_api,
            stream=urls.stream,
            symbol=self.market.symbol if self.market else config.symbol.name,
            api_key=api_key,
            signer=signer,
            strategy=config.strategy,
            exit=config.exit,
            risk=config.risk,
            reserve_base=config.symbol.reserve_base,
            reserve_quote=config.symbol.reserve_quote,
            max_notional=config.symbol.max_notional,
            jumpstart=config.account.reconcile == "jumpstart",
            check_rights=self.market is None,
            where=config.venue.ws_api or config.venue.name,
            state=None if self.market else self.options.around.state,
            patience=Patience(connect_deadline_s=clock.machine_s(config.venue.connect_deadline_s)),
            show_every_s=SHOW_EVERY_S * (config.venue.speed or MAX_SPEED),
        )

    def _described(self) -> dict[str, object]:
        """What a reader of the journal needs to know of this run; no secret."""
        config, facts = self.config, {}
        if self.market is not None:
            facts = {
                "market": self.market.kind, "speed": config.venue.speed or "max", "seed": config.venue.seed,
                "fills": config.venue.fills, "maker": config.venue.maker, "taker": config.venue.taker,
            }  # fmt: skip
        if config.relayed:
            facts["source"] = config.urls.stream
        return {
            "venue": config.venue.name,
            "symbol": self.status.symbol,
            **facts,
            "exits": exits_in_words(config.exit),
            "protection": protection_in_words(config.exit),
            "guards": guards_in_words(config.risk),
        }

    def _market_ended(self, frames: int) -> None:
        if self.options.exit_at_end:
            self.bot.stop.set()

    # -- tasks ----------------------------------------------------------------------------------------------------
    async def _heed(self, signals: AsyncIterator[int]) -> None:
        """SIGTERM and SIGINT: stop in order. SIGHUP: read the keys anew."""
        async with trio.open_nursery() as nursery:
            async for number in signals:
                if number == signal.SIGHUP:
                    nursery.start_soon(self._reload)
                else:
                    self.bot.stop.set()

    async def _reload(self) -> None:
        """Log on with the keys as their files have them now; the old ones stay where the new ones are no good."""
        async with self._reloading:  # one after the other, however often it is said
            await self._read_keys_anew()

    async def _read_keys_anew(self) -> None:
        around, journal = self.options.around, self.bot.journal
        around.notifier.reloading()
        try:
            if self.market is not None or around.reread is None:
                journal.write("reload", state="nothing", why="the embedded exchange's key is made by each start")
                return
            account = around.reread().account
            found = keys.read(account.api_key_file, account.private_key_file)
            await self.bot.renew(found.api_key.reveal(), found.signer)
            journal.write("reload", state="done", what="keys")
        except* (TetrioError, OSError) as group:
            why = "; ".join(str(error) for error in leaves(group))
            journal.write("reload", state="refused", why=f"{why}; the keys of before stay in use")
        finally:
            around.notifier.reloaded()

    async def _follow_clock(self, now: clock.Clock) -> None:
        while True:
            before = self.status.frames
            self.status.market_ns = now.now_ns()
            await trio.sleep(STATUS_EVERY_S)
            self.status.frames_per_s = (self.status.frames - before) / STATUS_EVERY_S

    async def _show_panel(self, nursery: trio.Nursery) -> None:
        from rich.console import Console

        from tetrio import panel

        period_s = panel.PERIOD_S * (self.config.venue.speed or 1.0)  # in the run's own time
        nursery.start_soon(lambda: panel.show(self.status, console=Console(), period_s=period_s))

    async def _keep_status(self, path: Path) -> None:
        while True:
            write_status(self.status, path)
            await trio.sleep(STATUS_EVERY_S)


def exits_in_words(params: ExitParams) -> str:
    """What bounds a hard stop, and what does not."""
    when = []
    if params.escalate_after_s:
        when.append(f"{params.escalate_after_s:g} s after it was armed")
    if params.escalate_bps:
        when.append(f"{params.escalate_bps:g} bp beyond its price")
    if not when:
        return "post-only; a hard stop does not take, however far the price runs (escalate_after_s, escalate_bps = 0)"
    return (
        f"post-only; a hard stop takes {' or '.join(when)}, once a second at {params.max_slippage_bps:g} bp or better "
        "from the best price; what no bid within that takes is not bounded, and take-profits never take"
    )


def protection_in_words(params: ExitParams) -> str:
    """What outlives the bot."""
    if params.protect == "off":
        return "off: nothing rests on the exchange while no exit is armed, so a bot that is dead sells nothing"
    kind = "a stop at the hard stop's price" if params.protect == "stop" else "a trailing stop"
    ends = (
        "is cancelled by a stop in order (on_stop = cancel) and outlives only a bot that dies"
        if params.on_stop == "cancel"
        else "outlives the bot (on_stop = leave)"
    )
    return (
        f"{kind} rests while the base is held, sells as a taker at {params.max_slippage_bps:g} bp or better from its "
        f"price, and {ends}; nothing protects while the quote is held"
    )


def guards_in_words(params: RiskParams) -> str:
    """What halts by itself."""
    losses = []
    if params.max_daily_loss:
        losses.append(f"{params.max_daily_loss:g} lost since 00:00 UTC")
    if params.max_drawdown:
        losses.append(f"{params.max_drawdown:g} lost from the best of 24 h and since")
    halts = f"halts at {' or '.join(losses)}" if losses else "no loss halts (max_daily_loss, max_drawdown = 0)"
    return f"{halts}; {params.max_orders_per_day} orders a day"


def _speed(config: Config) -> str:
    """For the panel: "" where the time is not ours."""
    return "" if not config.embedded or config.relayed else "max" if config.virtual else f"{config.venue.speed:g}"


async def _ended_by(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    """Cancel `scope` at the first signal that means an end."""
    async for number in signals:
        if number != signal.SIGHUP:
            scope.cancel()
            return


def _audit(config: Config, options: Options) -> AbstractContextManager[TextIO | None]:
    """The record of our own exchange, where there is one. All of it is imported here: no task has to wait for that."""
    if not config.embedded:
        return nullcontext()
    import tetrio.sim.exchange
    import tetrio.sim.market.relay  # noqa: F401
    from tetrio.sim.audit import open_audit

    return open_audit(options.audit_path)


def _open_market(config: Config) -> Market:
    from tetrio.sim.market.tape import open_market

    venue = config.venue
    return open_market(venue.market, config.symbol.name or None, seed=venue.seed)


def opening_funds(market: Market, text: str) -> dict[str, str]:
    """What the simulated account begins with: as told, or about 1,000 quote units' worth of the base."""
    rules = market.rules
    if text:
        funds = {asset: f"{amount:f}" for asset, amount in parse_funds(text).items()}
        for asset in funds:
            if asset not in (rules.base_asset, rules.quote_asset):
                raise ConfigError(
                    f"venue.fund: {asset} is not traded on {rules.name}: fund {rules.base_asset} or {rules.quote_asset}"
                )
        return funds
    price = market.first_price_ticks * rules.tick_size
    lots = max(floor_units(FUND_QUOTE / price, rules.step_size), rules.min_qty_lots)
    return {rules.base_asset: rules.qty_text(lots), rules.quote_asset: "0"}


def write_status(status: Status, path: Path) -> None:
    """Replace the status file whole; a reader never sees half of one. A full disk is no reason to stop.

    It is its owner's alone, since it tells balances; a link that somebody has put in the way is not followed.
    """
    beside = path.with_name(f".{path.name}.new")
    try:
        with os.fdopen(os.open(beside, _ANEW, 0o600), "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o600)  # what a kill has left may be of another mode
            file.write(json.dumps(snapshot(status)) + "\n")
        beside.replace(path)
    except OSError as error:
        status.detail = f"the status file {path} cannot be written: {error.strerror}"
