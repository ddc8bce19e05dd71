"""Commands about the machine that tetrio runs on: its service manager, its health, its messages."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tetrio.cli.common import add_configuration, command, complain, overrides, print_json
from tetrio.cli.notify import add_notify
from tetrio.errors import ConfigError

if TYPE_CHECKING:
    from tetrio.cli.common import Commands


def add(commands: Commands) -> None:
    """Add these commands to the command line."""
    _add_systemd(commands)
    _add_doctor(commands)
    add_notify(commands)


# --- systemd ---------------------------------------------------------------------------------------------------------


def _add_systemd(commands: Commands) -> None:
    group = commands.add_parser("systemd", help="run the bot as a service")
    group.set_defaults(parser=group)
    inner = group.add_subparsers(metavar="COMMAND", title="commands")
    install = command(inner, "install", _install, "write the systemd units and say what to do next")
    add_option = install.add_argument
    add_option("--config", metavar="PATH", help="what the bot reads (default /etc/tetrio/tetrio.toml)")
    add_option("--dir", type=Path, default=Path("/etc/systemd/system"), metavar="DIR", help="where units belong")
    add_option("--print", action="store_true", help="print the service's unit and write nothing")
    add_option("--force", action="store_true", help="overwrite units that differ")


def _install(options: argparse.Namespace) -> int:
    from tetrio import systemd

    python, config = sys.executable, options.config or systemd.CONFIG
    units = {
        systemd.SERVICE: systemd.unit(python=python, config=config),
        systemd.ALERT: systemd.alert_unit(python=python, config=config),
    }
    unfit = systemd.unfit(python, str(Path(python).resolve()), config)
    if options.print:
        if options.json:
            print_json(units=units, unfit=unfit)
        else:
            sys.stdout.write(units[systemd.SERVICE])
            for phrase in unfit:
                complain(f"{phrase}: this unit would not start")
        return 0
    if unfit:
        raise ConfigError(f"{unfit[0]}: install tetrio in a virtual environment under /opt/tetrio, configure in /etc")
    written = systemd.install(options.dir, units, force=options.force)
    steps = _steps(config, systemd.KEPT)
    if options.json:
        print_json(files={str(path): "written" if new else "unchanged" for path, new in written.items()}, next=steps)
        return 0
    for path, new in written.items():
        print(f"{path} {'written' if new else 'is as it should be'}")
    print("next:")
    for number, step in enumerate(steps, 1):
        print(f"  {number}. {step}")
    return 0


def _steps(config: str, kept: str) -> list[str]:
    return [
        f"mkdir -p {kept}; write {config} (chmod 644; begin with config/testnet.toml, leave both key files out of it)",
        f"copy the keys there: {kept}/ed25519.pem, {kept}/api-key and, for Telegram, {kept}/telegram; "
        "chown root and chmod 600 each",
        "systemctl daemon-reload",
        "systemctl enable --now tetrio    it returns when the first sync is complete",
        "systemctl status tetrio; journalctl -u tetrio -f",
        "after a change of the keys: systemctl reload tetrio; of the configuration: systemctl restart tetrio",
    ]


# --- doctor ----------------------------------------------------------------------------------------------------------


def _add_doctor(commands: Commands) -> None:
    doctor = command(commands, "doctor", _doctor, "look for what would keep the bot from running, or make it unsafe")
    add_configuration(doctor)
    doctor.add_argument("--venue", metavar="NAME", help="as for serve")


def _doctor(options: argparse.Namespace) -> int:
    import functools

    import trio
    from rich.console import Console

    from tetrio import config, doctor

    settings: config.Config | ConfigError
    try:
        settings = config.load(options.config, os.environ, overrides(options))
    except ConfigError as error:
        settings = error
    source, console = str(options.config or "the built-in configuration"), Console()
    tell = (lambda row: None) if options.json else functools.partial(doctor.show, console)
    rows = trio.run(doctor.examine, settings, source, os.environ, tell)
    code = doctor.exit_code(rows)
    if options.json:
        print_json(rows=[doctor.as_json(row) for row in rows], **doctor.counts(rows), exit_code=code)
    else:
        console.print(doctor.summary(rows), soft_wrap=True, highlight=False, markup=False)
    return code
