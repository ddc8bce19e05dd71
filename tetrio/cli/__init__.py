"""The commands: the only reader of the command line and of the environment.

Each command parses, calls one function, and turns what that says into lines for a person (or, with --json, for a
program) and an exit code. Errors are one line on standard error that names the remedy. Heavy modules are imported by
the command that needs them, so that `tetrio version` and `tetrio config check` are quick.

    run      serve, exchange          operate   status, why, pause, exit, … of a running bot
    study    explain, curve, chaos    host      doctor, systemd, notify
    setup    config, keys, version
"""

from __future__ import annotations

import os
import resource
import sys
import traceback
from collections.abc import Sequence

from tetrio import __version__
from tetrio.cli import chaos, machine, operate, run, setup, study
from tetrio.cli.common import USAGE, Parser, complain, hold_streams, print_json
from tetrio.errors import TetrioError, leaves

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code of the process."""
    most = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))  # a core would hold the keys that were read
    hold_streams()
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
        complain("interrupted")
        return 1
    except (Exception, BaseExceptionGroup) as error:  # the last resort: one line, and the exit code for it
        code, text = _judge(error, debug=options.debug)
        complain(text)
        if options.json:
            _say_failed(text, code)
        return code


def _say_failed(text: str, code: int) -> None:
    """For the program that asked for JSON: nothing at all would be no JSON."""
    from tetrio.log import redact

    try:
        print_json(error=redact(text), exit_code=code)
    except OSError:  # nobody reads; the exit code has to do
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _judge(error: BaseException, *, debug: bool) -> tuple[int, str]:
    """The exit code, and what went wrong. A group counts as its member only when it holds one kind."""
    from tetrio.log import redact

    if debug:
        print(redact("".join(traceback.format_exception(error))), end="", file=sys.stderr)
    kinds = {type(each): each for each in leaves(error)}
    if len(kinds) == 1:
        (only,) = kinds.values()
        if isinstance(only, TetrioError):
            return only.exit_code, str(only)
        if isinstance(only, KeyboardInterrupt):
            return 1, "interrupted"
    what = "; ".join(f"{kind.__name__}: {each}" for kind, each in kinds.items())
    return 1, what + ("" if debug else " (--debug shows where)")


def _parser() -> Parser:
    parser = Parser(
        prog="tetrio", allow_abbrev=False, description="A Binance Spot bot on trio, and an exchange to try it on."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.set_defaults(debug=False)
    commands = parser.add_subparsers(metavar="COMMAND", title="commands")
    for room in (run, operate, machine, study, chaos, setup):
        room.add(commands)
    return parser
