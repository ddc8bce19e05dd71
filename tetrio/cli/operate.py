"""Commands to a bot that runs: what it does, and the operator's words.

Each asks over the local socket and prints the answer; what it means is the bot's to know. Nothing heavy is imported: a
health check runs every few seconds beside the bot, on the same small machine.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tetrio.cli.common import Usage, add_configuration, command, complain, overrides
from tetrio.errors import ConfigError, Timeout

if TYPE_CHECKING:
    from tetrio.cli.common import Commands
    from tetrio.control.client import Reply

END_S = 20.0
"""How long `stop --wait` waits: a stop takes at most 15 s."""
ASKED = ("flatten",)
"""Words that ask for a confirmation."""
VARIABLE = "tetrio__control__socket"
"""The environment's name for `control.socket`, in lower case as `tetrio.config` takes it."""

READS: Mapping[str, str] = {
    "status": "what the running bot does, holds, and waits for",
    "why": "what would have to happen for the next decision",
    "orders": "the exit that rests, and how many orders were sent",
    "fills": "the last own trades",
    "balance": "what is held, and the part that is traded",
    "profit": "what own trades have gained since the start",
}
WORDS: Mapping[str, str] = {
    "pause": "arm nothing new, over restarts too; a resting exit goes on",
    "resume": "take back a pause or a halt",
    "exit": "arm an exit now, as maker; it stays until it is filled",
    "flatten": "leave now, as taker within its bound; asks for a confirmation",
    "disarm": "take back an armed exit; its order is cancelled",
    "halt": "send nothing any more but cancels, over restarts too; own orders are cancelled",
    "stop": "end the process in order, as by SIGTERM",
}


def add(commands: Commands) -> None:
    """Add these commands to the command line."""
    for name, summary in READS.items():
        read = _command(commands, name, _read, summary)
        if name == "status":
            read.add_argument("--watch", action="store_true", help="again each second, until Ctrl-C")
    _command(commands, "health", _health, "exit 0 when the running bot is alive, 1 when it is not, 3 without one")
    for name, summary in WORDS.items():
        word = _command(commands, name, _stop if name == "stop" else _word, summary)
        if name == "disarm":
            word.add_argument("--force", action="store_true", help="a hard stop too")
        if name in ASKED:
            word.add_argument("--yes", action="store_true", help="do not ask")
        if name == "stop":
            word.add_argument("--wait", action="store_true", help=f"until it has ended, at most {END_S:.0f} s")


def _command(
    commands: Commands, name: str, run: Callable[[argparse.Namespace], int], summary: str
) -> argparse.ArgumentParser:
    parser = command(commands, name, run, summary)
    parser.set_defaults(do=name)
    parser.add_argument("--socket", type=Path, metavar="PATH", help="the bot's socket, where it is not found by itself")
    add_configuration(parser)
    return parser


# --- commands --------------------------------------------------------------------------------------------------------


def _read(options: argparse.Namespace) -> int:
    from tetrio.control import client

    if getattr(options, "watch", False):
        return _watch(options)
    return _say(client.ask(_places(options), options.do), options)


def _health(options: argparse.Namespace) -> int:
    """As any other question, but a bot that does not answer is not alive."""
    from tetrio.control import client

    try:
        reply = client.ask(_places(options), "health")
    except client.NoAnswer as error:
        if options.json:
            print(json.dumps({"alive": False, "ailing": [str(error)]}))
        complain(str(error))
        return 1
    return _say(reply, options) or int(not reply.data["alive"])


def _word(options: argparse.Namespace) -> int:
    from tetrio.control import client

    places = _places(options)
    if options.do in ASKED and not options.yes and not _confirmed(places, options.do):
        complain("not confirmed; nothing was done")
        return 1
    more = {"force": True} if getattr(options, "force", False) else {}
    try:
        return _say(client.ask(places, options.do, **more), options)
    except client.NoAnswer as error:
        dropped = options.do in ("exit", "flatten", "resume")  # tetrio.control.server.ANSWERED
        fate = "is not obeyed any more" if dropped else "may still be obeyed when it goes on"
        raise client.NoAnswer(f"{error}; `{options.do}` {fate}") from None


def _stop(options: argparse.Namespace) -> int:
    from tetrio.control import client

    with client.Caller(_places(options)) as caller:
        ending = _pid_fd(caller.pid) if options.wait else None
        try:
            reply = caller.ask("stop")
            code = _say(reply, options)
            if code == 0 and ending is not None and not client.wait_ended(ending, END_S):
                raise Timeout(f"tetrio (pid {caller.pid}) has not ended within {END_S:.0f} s; its log says why")
            return code
        finally:
            if ending is not None:
                os.close(ending)


def _watch(options: argparse.Namespace) -> int:
    """The status each second: repainted in place on a terminal, else a line each."""
    from tetrio.control import client

    show = _print_json if options.json else _repaint if sys.stdout.isatty() else _print_line
    try:
        with client.Caller(_places(options)) as caller:
            reply = caller.ask("status", watch=True)
            if not reply.ok:
                return _say(reply, options)
            show(reply)
            for each in caller.listen():
                show(each)
    except KeyboardInterrupt:
        if show is _repaint:
            print()
    return 0


# --- where it is -----------------------------------------------------------------------------------------------------


def _places(options: argparse.Namespace) -> tuple[Path, ...]:
    """Where the bot's socket may be, by the rule that the bot itself goes by."""
    if options.socket:
        return (options.socket,)
    from tetrio import control

    found = control.places(_setting(options), os.environ)
    if not found:
        raise ConfigError("control.socket is off: a bot with this configuration takes no commands from the shell")
    return found


def _setting(options: argparse.Namespace) -> str:
    """`control.socket`; the whole configuration is read only where one is given."""
    if options.config or options.set:
        from tetrio import config

        return config.read(options.config, os.environ, overrides(options)).control.socket
    return next((value for name, value in os.environ.items() if name.lower() == VARIABLE), "auto")


def _pid_fd(pid: int) -> int:
    """What tells of the end of process `pid`, taken while it is known to live."""
    if pid == 0:
        raise Usage("stop --wait: the bot's process cannot be seen from here; leave --wait out, or ask its supervisor")
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        raise Usage(f"stop --wait: process {pid} cannot be watched ({error.strerror}); leave --wait out") from None


# --- asking and saying -----------------------------------------------------------------------------------------------


def _confirmed(places: tuple[Path, ...], word: str) -> bool:
    """Show what `word` would do and have it typed."""
    from tetrio.control import client

    if not sys.stdin.isatty():
        raise Usage(f"{word} trades at once: it asks for a confirmation on a terminal; without one, say --yes")
    print(client.ask(places, "preview", word=word).text, file=sys.stderr)
    print(f"Type '{word}' to do it: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip() == word


def _say(reply: Reply, options: argparse.Namespace) -> int:
    """Print an answer; the exit code."""
    if options.json:
        _print_json(reply)
    elif reply.ok:
        print(reply.text)
    if not reply.ok:
        complain(reply.text)
    return int(not reply.ok)


def _print_json(reply: Reply) -> None:
    print(json.dumps(reply.data, ensure_ascii=False), flush=True)


def _print_line(reply: Reply) -> None:
    """Everything on one line, with the time of the bot's clock."""
    from datetime import UTC, datetime

    at = datetime.fromtimestamp(reply.data["market_ns"] // 10**9, UTC).strftime("%H:%M:%S")
    print(at, "; ".join(reply.text.splitlines()), flush=True)


def _repaint(reply: Reply) -> None:
    """From the top of the terminal, as many lines as it has, the rest cleared."""
    width, height = shutil.get_terminal_size()
    lines = reply.text.splitlines()[: height - 1]
    painted = "".join(f"{line[:width]}\x1b[K\n" for line in lines)
    sys.stdout.write(f"\x1b[H{painted}\x1b[J")
    sys.stdout.flush()
