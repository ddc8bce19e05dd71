"""The local socket: the operator's words and the bot's answers, between the shell and a running bot.

    {"v": 1, "do": "status"}                      →  {"v": 1, "ok": true, "text": "…", "data": {…}}
    {"v": 1, "do": "status", "watch": true}       →  the same each second, until either end closes
    {"v": 1, "do": "disarm", "force": true}       →  {"v": 1, "ok": false, "text": "why not", "data": {…}}
    {"v": 1, "do": "preview", "word": "flatten"}  →  what the word would do now

One line of JSON asks, one line answers, and the connection ends. `door` opens the socket where nobody else may,
`server` answers in the bot, `client` asks from the shell: with nothing but the standard library, so that a health check
is quick. Here is what both ends must agree on: the version, the bounds, and where the socket is.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tetrio.faces import ControlParams

VERSION = 1
REQUEST_BYTES = 4096
"""Longest request, its newline included."""
REPLY_BYTES = 1 << 20
"""Longest reply that a client reads."""
NAME = "tetrio.sock"
SYSTEM = Path("/run/tetrio") / NAME
"""Where the bot listens as a system service."""
READS = ("status", "why", "orders", "fills", "balance", "profit", "health")


def socket_path(params: ControlParams, environ: Mapping[str, str]) -> Path | None:
    """Where a bot with these settings listens; None: nowhere."""
    return path_of(params.socket, environ)


def path_of(setting: str, environ: Mapping[str, str]) -> Path | None:
    """`control.socket` as a path.

    "off" is None. "auto" is `tetrio.sock` in the runtime directory that systemd made, else in `tetrio/` under the
    user's, else in `/tmp/tetrio-UID/`. Anything else is the path itself.
    """
    if setting == "off":
        return None
    if setting != "auto":
        return Path(setting).absolute()
    if made := environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]:  # systemd lists several with colons
        return Path(made) / NAME
    if user := environ.get("XDG_RUNTIME_DIR", ""):
        return Path(user) / "tetrio" / NAME
    return Path(f"/tmp/tetrio-{os.getuid()}") / NAME  # noqa: S108 - `door` sees to whose it is


def places(setting: str, environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Where a client looks, the likelier first: with "auto", a system service's socket too."""
    own = path_of(setting, environ)
    if own is None:
        return ()
    return (own, SYSTEM) if setting == "auto" and own != SYSTEM else (own,)
