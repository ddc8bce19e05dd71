"""Commands to set things up: keys, configuration; and the version."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from tetrio import __version__
from tetrio.cli.common import Usage, add_configuration, command, complain, overrides, print_json
from tetrio.errors import ConfigError

if TYPE_CHECKING:
    from tetrio import config
    from tetrio.cli.common import Commands


def add(commands: Commands) -> None:
    """Add these commands to the command line."""
    _add_keys(commands)
    _add_config(commands)
    _add_version(commands)


def _add_keys(commands: Commands) -> None:
    keys = commands.add_parser("keys", help="make or check a key pair")
    keys.set_defaults(parser=keys)
    inner = keys.add_subparsers(metavar="COMMAND", title="commands")
    new = command(inner, "new", _keys_new, "make an Ed25519 key pair and say where to paste its public half")
    new.add_argument("--out", type=Path, required=True, metavar="key.pem", help="the private key's new file")
    check = command(inner, "check", _keys_check, "check the key files: who may read them, and what they hold")
    check.add_argument("--key", type=Path, metavar="PEM", help="the private key, instead of the configured one")
    check.add_argument("--api-key", type=Path, metavar="FILE", help="the API key's file, instead of the configured one")
    add_configuration(check)


def _keys_check(options: argparse.Namespace) -> int:
    from tetrio import config, keys
    from tetrio.log import is_secret

    private, api_key = options.key, options.api_key
    for option, path in (("--key", private), ("--api-key", api_key)):
        if path and is_secret(str(path)):
            raise Usage(f"keys check {option}: name the file, not what is in it; the command line is seen by others")
    if not (private or api_key):
        account = config.read(options.config, os.environ, overrides(options)).account
        private = Path(account.private_key_file) if account.private_key_file else None
        api_key = Path(account.api_key_file) if account.api_key_file else None
    if not (private or api_key):
        raise ConfigError("no key file is configured: name them with --key and --api-key, or under [account]")
    found = keys.check_private(private)[0] if private else []
    found += [keys.check_api_key(api_key)[0]] if api_key else []
    code = next((code for code in (6, 4) if any(each.code == code for each in found)), 0)
    if options.json:
        files = [
            {"what": each.what, "path": each.path, "ok": each.ok, "found": each.text, "fingerprint": each.fingerprint}
            for each in found
        ]
        print_json(ok=not code, files=files, exit_code=code)
        return code
    for each in found:
        print(f"{'ok  ' if each.ok else 'fail'}  {each.what:<11}  {f'{each.path}: ' if each.ok else ''}{each.text}")
        if each.fingerprint:
            print(f"{'':19}public half {each.fingerprint}")
    return code


def _keys_new(options: argparse.Namespace) -> int:
    from tetrio import keys

    pair = keys.new_pair(options.out)
    if options.json:
        print_json(
            private_key_file=str(pair.private_path), public_key_file=str(pair.public_path), public_key=pair.public_pem
        )
    else:
        print(keys.instructions(pair))
    return 0


def _add_config(commands: Commands) -> None:
    config = commands.add_parser("config", help="check or show the configuration")
    config.set_defaults(parser=config)
    inner = config.add_subparsers(metavar="COMMAND", title="commands")
    for name, run, summary in (
        ("check", _config_check, "check the configuration"),
        ("show", _config_show, "print every setting, its meaning, and where its value came from"),
    ):
        each = command(inner, name, run, summary)
        add_configuration(each)
        each.add_argument("--venue", metavar="NAME", help="as for serve")
    explain = command(inner, "explain", _config_explain, "say all about one setting, or list those of a section")
    explain.add_argument("key", metavar="KEY", help="section.key, the key alone where it is unique, or a section")
    add_configuration(explain)


def _config_explain(options: argparse.Namespace) -> int:
    from tetrio import config
    from tetrio.cli import setting

    section, name = setting.find(options.key)
    settings = config.read(options.config, os.environ, overrides(options))
    if not name:
        told = setting.section_of(settings, section)
        if options.json:
            print_json(section=section, keys=told)
        else:
            print(setting.section_text(section, told))
        return 0
    about = setting.about(settings, section, name)
    if options.json:
        print_json(**about)
    else:
        print(setting.text(about))
    return 0


def _config_check(options: argparse.Namespace) -> int:
    from tetrio import config

    name = str(options.config or "the built-in configuration")
    try:
        settings = config.load(options.config, os.environ, overrides(options))
    except ConfigError as error:
        if options.json:
            print_json(ok=False, config=name, error=str(error))
            complain(str(error))
            return error.exit_code
        raise
    absent = [
        f"account.{key} = {path}: no such file yet"
        for key in ("api_key_file", "private_key_file")
        if (path := getattr(settings.account, key)) and not Path(path).exists()
    ]
    if options.json:
        print_json(ok=True, config=name, venue=settings.venue.name, symbol=settings.symbol.name, notes=absent)
        return 0
    print(f"{name} is fine: venue {settings.venue.name}, symbol {settings.symbol.name or 'as the market has it'}")
    for note in absent:
        print(f"note: {note}")
    return 0


def _config_show(options: argparse.Namespace) -> int:
    from tetrio import config

    settings = config.read(options.config, os.environ, overrides(options))
    _show(settings, in_json=options.json)
    config.check(settings)  # last: what is wrong is found in what is shown
    return 0


def _show(settings: config.Config, *, in_json: bool) -> None:
    from tetrio import config

    if in_json:
        print_json(
            **{
                row.key: {"value": row.value, "origin": row.origin, "meaning": row.meaning}
                for row in config.rows(settings)
            }
        )
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column, style in (("setting", "cyan"), ("value", "bold"), ("from", "dim"), ("meaning", "")):
        table.add_column(column, style=style, overflow="fold", no_wrap=column == "setting")
    section = ""
    for row in config.rows(settings):
        begins, section = row.key.split(".")[0] != section, row.key.split(".")[0]
        if begins and table.rows:
            table.add_row()
        origin = Text(row.origin, "" if row.origin == "default" else "yellow")
        table.add_row(row.key, Text(row.value or '""'), origin, Text(row.meaning))
    Console().print(table)


def _version(options: argparse.Namespace) -> int:
    if options.json:
        print_json(version=__version__)
    else:
        print(f"tetrio {__version__}")
    return 0


def _add_version(commands: Commands) -> None:
    command(commands, "version", _version, "print the version")
