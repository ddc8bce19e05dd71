"""The commands: the only reader of the command line and of the environment.

Each command parses, calls one function, and turns what that says into lines for a person (or, with --json, for a
program) and an exit code. Errors are one line on standard error that names the remedy. Heavy modules are imported by
the command that needs them, so that `tetrio version` and `tetrio config check` are quick.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from tetrio import __version__
from tetrio.errors import ConfigError, TetrioError

if TYPE_CHECKING:
    from tetrio import config

    Commands = argparse._SubParsersAction["_Parser"]

USAGE = 2


class Usage(TetrioError):
    """The command line asks for what this command does not do."""

    exit_code = USAGE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code of the process."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if not hasattr(options, "run"):
        (getattr(options, "parser", None) or parser).print_help(sys.stderr)
        return USAGE
    try:
        code: int = options.run(options)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Whoever read our output has had enough; the interpreter must not complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        _complain("interrupted")
        return 1
    except (TetrioError, BaseExceptionGroup) as error:
        return _report(error, debug=options.debug)
    except Exception as error:  # the last resort: say it in one line, and exit with the code for it
        return _report(error, debug=options.debug)


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors in a group, however deep; the error itself when it is none."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from leaves(each)
    else:
        yield error


def _report(error: BaseException, *, debug: bool) -> int:
    """Say what went wrong in one line; the exit code. A group counts as its member only when it holds one kind."""
    if debug:
        traceback.print_exception(error)
    kinds = {type(each): each for each in leaves(error)}
    if len(kinds) == 1:
        (only,) = kinds.values()
        if isinstance(only, TetrioError):
            _complain(str(only))
            return only.exit_code
        if isinstance(only, KeyboardInterrupt):
            _complain("interrupted")
            return 1
    from tetrio.log import one_line, redact

    what = "; ".join(f"{kind.__name__}: {each}" for kind, each in kinds.items())
    _complain(one_line(redact(what)) + ("" if debug else " (--debug shows where)"))
    return 1


def _complain(text: str) -> None:
    try:
        print(f"tetrio: {text}", file=sys.stderr, flush=True)
    except OSError:  # standard error is gone too: the exit code has to do
        return


# --- serve -----------------------------------------------------------------------------------------------------------


def _serve(options: argparse.Namespace) -> int:
    from tetrio import config

    overrides = _overrides(options)
    settings = config.load(options.config, os.environ, overrides)
    if options.live and settings.venue.name == "live" and not settings.venue.live:
        _confirm_live(settings.symbol.name)
        overrides.append(config.Given("venue.live", True, "typed confirmation"))
        settings = config.load(options.config, os.environ, overrides)
    config.check_live(settings)
    _check_files(options, settings)
    from tetrio import app

    return app.serve(
        settings,
        journal_path=options.journal,
        audit_path=options.audit,
        exit_at_end=options.exit_at_end,
        status_path=options.status_file,
        panel=_panel_wanted(options),
    )


def _check_files(options: argparse.Namespace, settings: config.Config) -> None:
    """What a file option asks for must be possible, before anything is opened or sent."""
    if options.audit and not settings.embedded:
        raise Usage("serve --audit: it is the embedded exchange's record; this exchange is another one, leave it out")
    status: Path | None = options.status_file
    if status and not (status.parent.is_dir() and os.access(status.parent, os.W_OK)):
        raise ConfigError(f"the status file {status} cannot be written: name one in a directory that exists")


def _overrides(options: argparse.Namespace) -> list[config.Given]:
    """What the command line gave of the configuration: options that have a name of their own, then --set."""
    from tetrio import config

    named = (("venue.name", "venue"), ("venue.market", "market"), ("venue.speed", "speed"), ("venue.seed", "seed"))
    given = [
        config.Given(key, config.Text(value), f"--{option}")
        for key, option in named
        if (value := getattr(options, option, None)) is not None
    ]
    return given + [config.from_option(text) for text in options.set]


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


# --- exchange --------------------------------------------------------------------------------------------------------


def _exchange(options: argparse.Namespace) -> int:
    if options.speed == "max":
        raise Usage("exchange --speed max: two processes share no clock; give a number, or use `tetrio serve`")
    if options.market == "binance":
        raise Usage("exchange --market binance: not part of this version yet; give a recorded FILE, or synthetic")
    if options.fault:
        raise Usage("exchange --fault: not part of this version yet")
    from tetrio import host
    from tetrio.config import Given, Text, structure_one

    try:
        address, port = host.parse_listen(options.listen)
    except ValueError as error:
        raise Usage(f"exchange --listen: {error}") from None
    numbers = {
        name: structure_one(Given(f"venue.{name}", Text(getattr(options, name)), f"--{name}"))
        for name in ("speed", "seed", "fills")
    }
    maker, taker = host.parse_fees(options.fee)
    return host.run(
        host.Settings(
            host=address,
            port=port,
            market=options.market,
            symbol=options.symbol,
            assets=host.parse_assets(options.assets) if options.assets else None,
            funds=host.parse_all_funds(options.fund),
            keys=host.read_keys(options.key, options.secret),
            audit=options.audit,
            maker=maker,
            taker=taker,
            latency_ms=options.latency_ms,
            **numbers,  # type: ignore[arg-type]  # structured by the types of VenueParams
        )
    )


# --- explain ---------------------------------------------------------------------------------------------------------


def _explain(options: argparse.Namespace) -> int:
    from tetrio import config, explain

    base = config.read(options.config, os.environ).strategy
    given = [config.from_option(text) for text in options.set]
    overrides = {each.key: config.structure_one(each) for each in given}
    strategy = {key: value for key, value in overrides.items() if key.startswith("strategy.")}
    for step in explain.steps(options.steps, base, strategy, why=options.why):
        sys.stdout.write(json.dumps(step, ensure_ascii=False) + "\n")
    return 0


# --- keys ------------------------------------------------------------------------------------------------------------


def _keys_new(options: argparse.Namespace) -> int:
    from tetrio import keys

    pair = keys.new_pair(options.out)
    if options.json:
        _print_json(
            private_key_file=str(pair.private_path), public_key_file=str(pair.public_path), public_key=pair.public_pem
        )
    else:
        print(keys.instructions(pair))
    return 0


# --- config ----------------------------------------------------------------------------------------------------------


def _config_check(options: argparse.Namespace) -> int:
    from tetrio import config

    name = str(options.config or "the built-in configuration")
    try:
        settings = config.load(options.config, os.environ, _overrides(options))
    except ConfigError as error:
        if options.json:
            _print_json(ok=False, config=name, error=str(error))
        raise
    absent = [
        f"account.{key} = {path}: no such file yet"
        for key in ("api_key_file", "private_key_file")
        if (path := getattr(settings.account, key)) and not Path(path).exists()
    ]
    if settings.venue.name == "paper" and settings.embedded:
        absent.append("the venue paper is not part of this version yet; `tetrio serve` refuses it")
    if options.json:
        _print_json(ok=True, config=name, venue=settings.venue.name, symbol=settings.symbol.name, notes=absent)
        return 0
    print(f"{name} is fine: venue {settings.venue.name}, symbol {settings.symbol.name or 'as the market has it'}")
    for note in absent:
        print(f"note: {note}")
    return 0


def _config_show(options: argparse.Namespace) -> int:
    from tetrio import config

    settings = config.load(options.config, os.environ, _overrides(options))
    if options.json:
        _print_json(
            **{
                row.key: {"value": row.value, "origin": row.origin, "meaning": row.meaning}
                for row in config.rows(settings)
            }
        )
        return 0
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
    return 0


# --- version ---------------------------------------------------------------------------------------------------------


def _version(options: argparse.Namespace) -> int:
    if options.json:
        _print_json(version=__version__)
    else:
        print(f"tetrio {__version__}")
    return 0


def _print_json(**fields: object) -> None:
    print(json.dumps(fields, ensure_ascii=False), flush=True)


# --- the command line ------------------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where the options are listed; exit 2."""
        _complain(f"{message} (see {self.prog} --help)")
        raise SystemExit(USAGE)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="tetrio", allow_abbrev=False, description="A Binance Spot bot on trio, and an exchange to try it on."
    )
    parser.set_defaults(debug=False)
    commands = parser.add_subparsers(metavar="COMMAND", title="commands")
    _add_serve(commands)
    _add_exchange(commands)
    _add_explain(commands)
    _add_keys(commands)
    _add_config(commands)
    _command(commands, "version", _version, "print the version")
    return parser


def _command(
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


def _add_configuration(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML; without it, the built-in defaults")
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="override one setting; repeatable"
    )


def _add_serve(commands: Commands) -> None:
    serve = _command(commands, "serve", _serve, "run the bot until it is signalled")
    _add_configuration(serve)
    serve.add_argument("--venue", metavar="NAME", help="sim (default), paper, testnet, demo, live")
    serve.add_argument("--market", metavar="FILE", help="what sim plays: synthetic (default), or a recorded market")
    serve.add_argument("--speed", metavar="N|max", help="market seconds in one second; max: virtual time")
    serve.add_argument("--seed", metavar="N", help="what the synthetic market, ids and nonces are drawn from")
    serve.add_argument("--journal", type=Path, metavar="FILE", help="append one JSON line for each fact")
    serve.add_argument("--audit", type=Path, metavar="FILE", help="the embedded exchange's own record (sim, paper)")
    serve.add_argument("--exit-at-end", action="store_true", help="stop in order when a recorded market has ended")
    serve.add_argument("--status-file", type=Path, metavar="FILE", help="keep the latest state here, as JSON")
    serve.add_argument("--live", action="store_true", help="with the venue live: ask here instead of `live = true`")


def _add_exchange(commands: Commands) -> None:
    exchange = _command(commands, "exchange", _exchange, "run a Binance Spot exchange on loopback, for any client")
    add = exchange.add_argument
    add("--listen", default="127.0.0.1:0", metavar="HOST:PORT", help="REST there, WebSocket on the next port; 0: any")
    add("--market", default="synthetic", metavar="FILE", help="synthetic (default), or a recorded market")
    add("--symbol", metavar="NAME", help="which symbol of the file; needed when it holds several")
    add("--fund", action="append", default=[], metavar="ASSET=AMOUNT", help="an opening balance; repeatable")
    add("--key", action="append", default=[], metavar="APIKEY=PUBLIC.pem", help="an Ed25519 client; repeatable")
    add("--secret", action="append", default=[], metavar="APIKEY=SECRET", help="an HMAC client (REST); repeatable")
    add("--audit", type=Path, metavar="FILE", help="the exchange's own record, JSON lines")
    add("--speed", default="1", metavar="N", help="market seconds in one second")
    add("--seed", default="1", metavar="N", help="what the synthetic market and ids are drawn from")
    add("--fee", default="0,0", metavar="MAKER,TAKER", help="commission, fractions (default 0,0)")
    add("--assets", metavar="BASE/QUOTE", help="where the symbol's name does not tell them")
    add("--latency-ms", type=_milliseconds, default=0.0, metavar="N", help="delay of every reply")
    add("--fills", default="queue", metavar="MODEL", help="when a resting order fills: queue, through, touch")
    add("--fault", metavar="SPEC", help=argparse.SUPPRESS)


def _add_explain(commands: Commands) -> None:
    explain = _command(commands, "explain", _explain, "run the decisions alone over recorded steps, one JSON line each")
    explain.add_argument("steps", type=Path, metavar="STEPS", help="JSON lines: params, history, steps; .gz or not")
    _add_configuration(explain)
    explain.add_argument("--why", action="store_true", help="add the sentence that a person reads")


def _add_keys(commands: Commands) -> None:
    keys = commands.add_parser("keys", help="make a key pair")
    keys.set_defaults(parser=keys)
    inner = keys.add_subparsers(metavar="COMMAND", title="commands")
    new = _command(inner, "new", _keys_new, "make an Ed25519 key pair and say where to paste its public half")
    new.add_argument("--out", type=Path, required=True, metavar="key.pem", help="the private key's new file")


def _add_config(commands: Commands) -> None:
    config = commands.add_parser("config", help="check or show the configuration")
    config.set_defaults(parser=config)
    inner = config.add_subparsers(metavar="COMMAND", title="commands")
    for name, run, summary in (
        ("check", _config_check, "check the configuration"),
        ("show", _config_show, "print every setting, its meaning, and where its value came from"),
    ):
        command = _command(inner, name, run, summary)
        _add_configuration(command)
        command.add_argument("--venue", metavar="NAME", help="as for serve")


def _milliseconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of milliseconds") from None
    if not 0 <= value <= 60_000:
        raise argparse.ArgumentTypeError(f"{text} is outside 0 to 60000")
    return value
