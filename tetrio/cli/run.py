"""`tetrio serve` and `tetrio exchange`: the two that run until they are signalled."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tetrio.cli.common import Usage, add_configuration, command, overrides
from tetrio.errors import ConfigError

if TYPE_CHECKING:
    from tetrio import config
    from tetrio.beside import Surroundings
    from tetrio.cli.common import Commands


def add(commands: Commands) -> None:
    """Add these commands to the command line."""
    _add_serve(commands)
    _add_exchange(commands)


def _add_serve(commands: Commands) -> None:
    serve = command(commands, "serve", _serve, "run the bot until it is signalled")
    add_configuration(serve)
    serve.add_argument("--venue", metavar="NAME", help="sim (default), paper, testnet, demo, live")
    serve.add_argument("--market", metavar="FILE", help="what sim plays: synthetic (default), or a recorded market")
    serve.add_argument("--speed", metavar="N|max", help="market seconds in one second; max: virtual time")
    serve.add_argument("--seed", metavar="N", help="what the synthetic market, ids and nonces are drawn from")
    serve.add_argument("--journal", type=Path, metavar="FILE", help="append one JSON line for each fact")
    serve.add_argument("--audit", type=Path, metavar="FILE", help="the embedded exchange's own record (sim, paper)")
    serve.add_argument("--exit-at-end", action="store_true", help="stop in order when a recorded market has ended")
    serve.add_argument("--status-file", type=Path, metavar="FILE", help="keep the latest state here, as JSON")
    serve.add_argument("--live", action="store_true", help="with the venue live: ask here instead of `live = true`")


def _serve(options: argparse.Namespace) -> int:
    from tetrio import config

    given = overrides(options)
    settings = config.load(options.config, os.environ, given)
    if options.live and settings.venue.name == "live" and not settings.venue.live:
        _confirm_live(settings.symbol.name)
        given.append(config.Given("venue.live", True, "typed confirmation"))
        settings = config.load(options.config, os.environ, given)
    config.check_live(settings)
    _check_files(options, settings)
    with _heeded_later():
        from tetrio import app

        return app.serve(
            settings,
            app.Options(
                journal_path=options.journal,
                audit_path=options.audit,
                exit_at_end=options.exit_at_end,
                status_path=options.status_file,
                panel=_panel_wanted(options),
                around=_surroundings(options, settings, given),
            ),
        )


def _surroundings(options: argparse.Namespace, settings: config.Config, given: list[config.Given]) -> Surroundings:
    """What the environment says of the process; in virtual time nothing of it is looked at."""
    from tetrio import config
    from tetrio.beside import Surroundings
    from tetrio.control import socket_path
    from tetrio.live.latch import state_directory
    from tetrio.systemd import Notifier, watchdog_usec

    return Surroundings(
        control=socket_path(settings.control, os.environ),
        control_named=settings.control.socket != "auto",
        state=state_directory(settings.control.state, os.environ),
        notifier=Notifier(os.environ.get("NOTIFY_SOCKET", "")),
        watchdog_usec=watchdog_usec(os.environ, os.getpid()),
        reread=lambda: config.load(options.config, os.environ, given),
    )


@contextmanager
def _heeded_later() -> Iterator[None]:
    """Hold SIGTERM until `net.signals` heeds it: as a container's first process we would lose it otherwise."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _check_files(options: argparse.Namespace, settings: config.Config) -> None:
    """What a file option asks for must be possible, before anything is opened or sent."""
    if options.audit and not settings.embedded:
        raise Usage("serve --audit: it is the embedded exchange's record; this exchange is another one, leave it out")
    status: Path | None = options.status_file
    if status and not (status.parent.is_dir() and os.access(status.parent, os.W_OK)):
        raise ConfigError(f"the status file {status} cannot be written: name one in a directory that exists")


def _confirm_live(symbol: str) -> None:
    """Ask for the confirmation that stands for `live = true`; ConfigError when it is not given."""
    if not sys.stdin.isatty():
        raise ConfigError("--live asks for a confirmation on a terminal; without one, set live = true under [venue]")
    phrase = f"trade {symbol}"
    print(f"This trades real money on Binance. Type '{phrase}' to go on: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != phrase:
        raise ConfigError("not confirmed; nothing was sent")


def _panel_wanted(options: argparse.Namespace) -> bool:
    return not options.json and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def _add_exchange(commands: Commands) -> None:
    exchange = command(commands, "exchange", _exchange, "run a Binance Spot exchange on loopback, for any client")
    add = exchange.add_argument
    add(
        "--listen",
        default="127.0.0.1:0",
        metavar="HOST:PORT",
        help="REST there, WebSocket and SBE on the next two; 0: any",
    )
    add("--market", default="synthetic", metavar="FILE", help="synthetic (default), a recording, or binance: relayed")
    add("--symbol", metavar="NAME", help="which symbol of the file, where it holds several; or of binance")
    add("--source-rest", default="", metavar="URL", help="with --market binance: another REST side")
    add("--source-stream", default="", metavar="URL", help="with --market binance: other market streams")
    add("--fund", action="append", default=[], metavar="ASSET=AMOUNT", help="an opening balance; repeatable")
    add("--key", action="append", default=[], metavar="APIKEY=PUBLIC.pem", help="an Ed25519 client; repeatable")
    add("--secret", action="append", default=[], metavar="APIKEY=SECRET", help="an HMAC client (REST); repeatable")
    add(
        "--key-rights",
        action="append",
        default=[],
        metavar="APIKEY=WORD,…",
        help="what apiRestrictions says of a key: withdraw, internal-transfer, universal-transfer, no-ip, no-spot "
        "(default: spot trading from listed addresses, nothing else); none: it is not served, as on the testnet",
    )
    add("--audit", type=Path, metavar="FILE", help="the exchange's own record, JSON lines")
    add("--speed", default="1", metavar="N", help="market seconds in one second")
    add("--seed", default="1", metavar="N", help="what the synthetic market and ids are drawn from")
    add("--fee", default="0,0", metavar="MAKER,TAKER", help="commission, fractions (default 0,0)")
    add(
        "--discount",
        metavar="ASSET=PRICE",
        help="pay commission in that asset, a quarter less; its price in the quote",
    )
    add("--sor", action="store_true", help="offer smart order routing (sor.order.place)")
    add("--assets", metavar="BASE/QUOTE", help="where the symbol's name does not tell them")
    add(
        "--latency-ms",
        default="0",
        metavar="N",
        help="delay of market data, order entry and reports each, or market=5,order=2~1,report=3 (after ~ the jitter)",
    )
    add("--fills", default="queue", metavar="MODEL", help="when a resting order fills: queue, through, touch")
    add(
        "--limits",
        default="production",
        metavar="LIMITS",
        help="production (default), off, or changes of production such as ORDERS:10s=5000,REQUEST_WEIGHT:1m=60000",
    )
    add(
        "--fault",
        action="append",
        default=[],
        metavar="SPEC",
        help="what goes wrong, such as stall:stream:10s@30s; repeatable; `--fault help` explains all",
    )
    add("--admin", metavar="HOST:PORT", help="arm faults there over HTTP while it runs; 0: any port")
    add("--admin-token-file", type=Path, metavar="FILE", help="the token that --admin asks for")


def _exchange(options: argparse.Namespace) -> int:
    if options.speed == "max":
        raise Usage("exchange --speed max: two processes share no clock; give a number, or use `tetrio serve`")
    if "help" in options.fault:
        from tetrio.sim.fault import faults

        print(faults.usage())
        return 0
    with _heeded_later():
        return _host(options)


def _host(options: argparse.Namespace) -> int:
    from tetrio import host
    from tetrio.config import Given, Text, structure_one

    try:
        address, port = host.parse_listen(options.listen)
    except ValueError as error:
        raise Usage(f"exchange --listen: {error}") from None
    try:
        latency = host.read_latency(options.latency_ms)
    except ValueError as error:
        raise Usage(f"exchange --latency-ms: {error}") from None
    try:
        host.check_faults(options.fault)
    except ValueError as error:
        raise Usage(f"exchange --fault {error}") from None
    try:
        admin = host.parse_admin(options.admin, options.admin_token_file, os.environ.get("CREDENTIALS_DIRECTORY"))
    except ValueError as error:
        raise Usage(f"exchange --admin: {error}") from None
    numbers = {
        name: structure_one(Given(f"venue.{name}", Text(getattr(options, name)), f"--{name}"))
        for name in ("speed", "seed", "fills")
    }
    source = host.parse_source(
        options.market, options.symbol, options.speed, options.source_rest, options.source_stream
    )
    maker, taker = host.parse_fees(options.fee)
    keys = host.read_keys(options.key, options.secret)
    return host.run(
        host.Settings(
            host=address,
            port=port,
            market=options.market,
            source=source,
            symbol=options.symbol,
            assets=host.parse_assets(options.assets) if options.assets else None,
            funds=host.parse_all_funds(options.fund),
            keys=keys,
            rights=host.read_rights(options.key_rights, keys),
            audit=options.audit,
            maker=maker,
            taker=taker,
            discount=host.parse_discount(options.discount),
            sor=options.sor,
            limits=host.read_limits(options.limits),
            stream_messages_per_s=host.UNLIMITED_MESSAGES if options.limits == "off" else host.STREAM_MESSAGES,
            latency=latency,
            faults=options.fault,
            admin=admin,
            **numbers,  # type: ignore[arg-type]  # structured by the types of VenueParams
        )
    )
