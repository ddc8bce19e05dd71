"""What every command shares: the parser whose complaint is one line, options that recur, JSON for programs."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from tetrio.errors import TetrioError

if TYPE_CHECKING:
    from tetrio import config

    Commands = argparse._SubParsersAction["Parser"]

USAGE = 2


class Usage(TetrioError):
    """The command line asks for what this command does not do."""

    exit_code = USAGE


class Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where the options are listed; exit 2."""
        complain(f"{message} (see {self.prog} --help)")
        raise SystemExit(USAGE)


def command(
    commands: Commands, name: str, run: Callable[[argparse.Namespace], int], summary: str
) -> argparse.ArgumentParser:
    """A command with what every command takes."""
    parser = commands.add_parser(
        name, help=summary, allow_abbrev=False, description=f"{summary[0].upper()}{summary[1:]}."
    )
    parser.set_defaults(run=run)
    parser.add_argument("--json", action="store_true", help="print for programs: JSON instead of text")
    parser.add_argument("--debug", action="store_true", help="print the traceback of an error too")
    return parser


def add_configuration(parser: argparse.ArgumentParser) -> None:
    """--config and --set."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML; without it, the built-in defaults")
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="override one setting; repeatable"
    )


def overrides(options: argparse.Namespace) -> list[config.Given]:
    """What the command line gave of the configuration: options that have a name of their own, then --set."""
    from tetrio import config

    named = (("venue.name", "venue"), ("venue.market", "market"), ("venue.speed", "speed"), ("venue.seed", "seed"))
    given = [
        config.Given(key, config.Text(value), f"--{option}")
        for key, option in named
        if (value := getattr(options, option, None)) is not None
    ]
    return given + [config.from_option(text) for text in options.set]


def print_json(**fields: object) -> None:
    """One JSON object on standard output."""
    print(json.dumps(fields, ensure_ascii=False), flush=True)


def hold_streams() -> None:
    """Put the null device where a standard stream was closed: a file opened later must not get what is said there."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def complain(text: str) -> None:
    """One line on standard error, without secrets: it may quote what an exchange has said."""
    from tetrio.log import one_line, redact

    try:
        print(f"tetrio: {one_line(redact(text))}", file=sys.stderr, flush=True)
    except OSError:  # standard error is gone too: the exit code has to do
        return
