"""The commands: the only reader of the command line and of the environment.

Each command parses, calls one function, and turns what that says into lines for a person (or, with --json, for a
program) and an exit code. Errors are one line on standard error that names the remedy. Heavy modules are imported by
the command that needs them, so that `tetrio version` and `tetrio config check` are quick.

    run      serve, exchange          operate   status, why, pause, exit, … of a running bot
    study    explain, curve           host      doctor, systemd, notify
    setup    config, keys, version
"""

from __future__ import annotations

import os
import resource
import sys
import traceback
from collections.abc import Sequence

from tetrio.cli import machine, operate, run, setup, study
from tetrio.cli.common import USAGE, Parser, complain, hold_streams
from tetrio.errors import TetrioError, leaves

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code of the process."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core would hold the keys that were read
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
    except (TetrioError, BaseExceptionGroup) as error:
        return _report(error, debug=options.debug)
    except Exception as error:  # the last resort: say it in one line, and exit with the code for it
        return _report(error, debug=options.debug)


def _report(error: BaseException, *, debug: bool) -> int:
    """Say what went wrong in one line; the exit code. A group counts as its member only when it holds one kind."""
    from tetrio.log import redact

    if debug:
        print(redact("".join(traceback.format_exception(error))), end="", file=sys.stderr)
    kinds = {type(each): each for each in leaves(error)}
    if len(kinds) == 1:
        (only,) = kinds.values()
        if isinstance(only, TetrioError):
            complain(str(only))
            return only.exit_code
        if isinstance(only, KeyboardInterrupt):
            complain("interrupted")
            return 1
    what = "; ".join(f"{kind.__name__}: {each}" for kind, each in kinds.items())
    complain(what + ("" if debug else " (--debug shows where)"))
    return 1


def _parser() -> Parser:
    parser = Parser(
        prog="tetrio", allow_abbrev=False, description="A Binance Spot bot on trio, and an exchange to try it on."
    )
    parser.set_defaults(debug=False)
    commands = parser.add_subparsers(metavar="COMMAND", title="commands")
    for room in (run, operate, machine, study, setup):
        room.add(commands)
    return parser
