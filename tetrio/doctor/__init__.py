"""`tetrio doctor`: what would keep a bot from running, or make it unsafe, found before it runs.

    rows       a finding, the exit code, how it is shown
    machine    this machine: Python, time, disk, key files, systemd
    exchange   ends, clock, permissions, symbol, logon, account
    channels   Telegram

It looks and changes nothing: no order is sent, no file is written, no setting is altered. It uses the code of a start
where it can, so that what passes here passes there. Secrets are never part of a row.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from pathlib import Path

from tetrio.config import Config, check_live
from tetrio.doctor import channels, exchange, machine
from tetrio.doctor.rows import CONFIGURATION, Row, as_json, counts, exit_code, fail, ok, show, skip, summary, warn
from tetrio.errors import ConfigError
from tetrio.net.clock import WallClock

__all__ = ["Row", "as_json", "counts", "examine", "exit_code", "show", "summary"]

OWN = "the venue {} brings its own exchange"


async def examine(
    config: Config | ConfigError, source: str, environ: Mapping[str, str], tell: Callable[[Row], None]
) -> list[Row]:
    """Look at everything; `tell` hears each row when it is known. Never raises for what it finds.

    config    as loaded, or why it could not be: then only this machine is looked at
    source    what the configuration was read from, for people
    environ   the variables of this process
    """
    rows: list[Row] = []

    def say(row: Row) -> None:
        rows.append(row)
        tell(row)

    say(configuration(config, source))
    say(machine.python())
    say(machine.time_sync(machine.kernel_time(), datetime.datetime.now().astimezone()))
    say(machine.files())
    if isinstance(config, ConfigError):
        say(machine.disk([Path()]))
        for name in ("private key", "API key", *exchange.ROWS, "telegram"):
            say(skip(name, "needs the configuration"))
        say(machine.systemd(environ))
        return rows
    say(machine.disk(machine.kept_in(config, environ)))
    if config.relayed:
        for name in ("private key", "API key"):
            say(skip(name, OWN.format(config.venue.name)))
        await exchange.Visit(config, machine.Held(None, None), WallClock().now_ns, say).run_public()
    elif config.embedded:
        for name in ("private key", "API key", *exchange.ROWS):
            say(skip(name, OWN.format(config.venue.name)))
    else:
        found, held = machine.key_files(config)
        for row in found:
            say(row)
        await exchange.Visit(config, held, WallClock().now_ns, say).run()
    say(await channels.telegram(config.telegram))
    say(machine.systemd(environ))
    return rows


def configuration(config: Config | ConfigError, source: str) -> Row:
    """Whether it can be read, and whether `serve` would take it."""
    if isinstance(config, ConfigError):
        return fail("configuration", str(config), code=CONFIGURATION)
    symbol = config.symbol.name or "as the market has it"
    text = f"{source}: venue {config.venue.name}, symbol {symbol}"
    try:
        check_live(config)
    except ConfigError as error:
        return warn("configuration", text, str(error))
    return ok("configuration", text)
