"""`tetrio notify`: a message now, by every configured channel; for a first try, and for systemd when the bot failed.

An alert must get out when the configuration is what is broken, so it reads the section [telegram] alone.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from tetrio.cli.common import add_configuration, command, complain, overrides, print_json
from tetrio.errors import ConfigError

if TYPE_CHECKING:
    from tetrio import config
    from tetrio.cli.common import Commands
    from tetrio.faces import TelegramParams

LAST_STATE_S = 5.0
FACTS = ("Result", "ExecMainCode", "ExecMainStatus", "NRestarts")
SECTION = "telegram"


def add_notify(commands: Commands) -> None:
    """Add the command and its two."""
    group = commands.add_parser("notify", help="send a message by the configured channels")
    group.set_defaults(parser=group)
    inner = group.add_subparsers(metavar="COMMAND", title="commands")
    test = command(inner, "test", _test, "send one message to every chat, and say what became of it")
    add_configuration(test)
    alert = command(inner, "alert", _alert, "tell that a unit has failed (for OnFailure= of systemd)")
    alert.add_argument("unit", metavar="UNIT", help="such as tetrio.service")
    add_configuration(alert)


def _test(options: argparse.Namespace) -> int:
    from tetrio import config

    params = config.read(options.config, os.environ, overrides(options)).telegram
    lacking = _lacking(params)
    if lacking:
        raise ConfigError(f"no channel is configured: set {lacking} (tetrio config explain telegram)")
    return _send(params, f"tetrio on {socket.gethostname()}: this is a test, all is well", as_json=options.json)


def _alert(options: argparse.Namespace) -> int:
    params = telegram_alone(options.config, os.environ, overrides(options))
    text = f"{options.unit} failed on {socket.gethostname()}: {last_state(options.unit)}"
    lacking = _lacking(params)
    if not lacking:
        return _send(params, text, as_json=options.json)
    why = f"not sent to anybody, because {lacking} is not set"
    if options.json:
        print_json(text=text, chats=[], why=why)
    else:
        print(f"{text} ({why})")
    return 0


def _lacking(params: TelegramParams) -> str:
    """The setting without which nobody can be told; "" when all are there."""
    return "[telegram] token_file" if not params.token_file else "[telegram] chats" if not params.chats else ""


def telegram_alone(path: Path | None, environ: Mapping[str, str], given: list[config.Given]) -> TelegramParams:
    """[telegram] from all layers, whatever is wrong in other sections; ConfigError for what is wrong in its own."""
    from tetrio import config

    table: dict[str, object] = {}
    if path is not None:
        try:
            table = tomllib.loads(path.read_text("utf-8"), parse_float=Decimal).get(SECTION, {})
        except (OSError, ValueError) as error:  # then what the environment says has to do
            complain(f"{path}: cannot be read, so it is left out: {error}")
        if not isinstance(table, dict):
            raise ConfigError(f"{path}: {SECTION} stands outside a section")
    own = f"{config.ENVIRONMENT_PREFIX}{SECTION.upper()}__"
    variables = {
        name: value
        for name, value in environ.items()
        if name.startswith(own) or not name.startswith(config.ENVIRONMENT_PREFIX)
    }
    layers = [
        *(config.Given(f"{SECTION}.{name}", value, str(path)) for name, value in table.items()),
        *config.from_environment(variables),
        *(each for each in given if each.key.startswith(f"{SECTION}.")),
    ]
    for each in layers:
        config.structure_one(each)
    return config.read(None, {k: v for k, v in variables.items() if not k.startswith(own)}, layers).telegram


def last_state(unit: str) -> str:
    """What systemd says of the unit, in a few words."""
    asked = [part for fact in FACTS for part in ("-p", fact)]
    try:
        shown = subprocess.run(  # noqa: S603 - the unit is one word of it, behind `--`
            ["systemctl", "show", *asked, "--", unit],  # noqa: S607 - as the PATH of whoever calls has it
            capture_output=True,
            text=True,
            timeout=LAST_STATE_S,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return "its last state is not known"
    facts = dict(line.partition("=")[::2] for line in shown.splitlines())
    return described(facts)


def described(facts: Mapping[str, str]) -> str:
    """`systemctl show`'s properties as a person reads them."""
    status = facts.get("ExecMainStatus", "")
    ended = f"signal {status}" if facts.get("ExecMainCode") in ("2", "3") else f"exit code {status}"
    meaning = _MEANINGS.get(status, "") if ended.startswith("exit") else ""
    told = [facts.get("Result") or "no result", ended + (f" ({meaning})" if meaning else "")]
    restarts = facts.get("NRestarts", "0")
    return ", ".join(told + ([f"{restarts} restarts"] if restarts not in ("0", "") else []))


_MEANINGS = {
    "1": "an error",
    "4": "the configuration",
    "6": "refused as unsafe",
    "7": "the watchdog gave up",
}


def _send(params: TelegramParams, text: str, *, as_json: bool) -> int:
    """Send and say what became of it, chat by chat; 1 unless every chat has it."""
    import trio

    from tetrio import keys
    from tetrio.telegram.messenger import send_once

    token = keys.read_token(Path(params.token_file))
    told = trio.run(send_once, params, token, text)
    if as_json:
        print_json(text=text, chats=[{"chat": each.chat, "ok": each.ok, "text": each.text} for each in told])
    else:
        for each in told:
            print(f"{'ok  ' if each.ok else 'fail'}  chat {each.chat}: {each.text}")
    return 0 if all(each.ok for each in told) else 1
