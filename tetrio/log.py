"""Diagnostics: what the code and its libraries have to say beside the journal's facts; one line a message.

`setup` routes the standard library's loggers to one function, such as `Journal.remark`, and keeps chatty libraries
quiet. Secrets are cut out of every text on its way: values of the `Secret`
type never show themselves, and texts that came from elsewhere lose keys, signatures and PEM blocks by their look.
"""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Callable

QUIET = ("httpx", "httpcore", "hypercorn", "trio-websocket", "hpack", "h11", "wsproto")

Emit = Callable[[str, str, str], None]
"""(level in lower case, logger name, text)."""

_PATTERNS = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL), "***"),
    (
        re.compile(
            r"""(?i)(["']?(?:apiKey|api_key|signature|secret|x-mbx-apikey|token)["']?\s*[:=]\s*["']?)[^"'&,\s}]+"""
        ),
        r"\1***",
    ),
    (re.compile(r"(?<=/bot)\d+:[\w-]+"), "***"),
)


class Secret:
    """A text that shows itself to nobody: `reveal` is the one way to it, and easy to search for."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The text itself; for the wire only."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled")


def redact(text: str) -> str:
    """`text` without API keys, signatures, bot tokens and private keys."""
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def one_line(text: str) -> str:
    """`text` on one line: line breaks and other control characters become their escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class _Handler(logging.Handler):
    """Hands every record to `emit`, redacted and on one line."""

    def __init__(self, emit: Emit) -> None:
        super().__init__()
        self._emit = emit

    def emit(self, record: logging.LogRecord) -> None:
        """Called by `logging`, which also has the lock."""
        text = record.getMessage()
        if record.exc_info and record.exc_info[0] is not None:
            text += "\n" + "".join(traceback.format_exception(*record.exc_info)).rstrip()
        self._emit(record.levelname.lower(), record.name, one_line(redact(text)))


def setup(emit: Emit, *, debug: bool = False) -> None:
    """Route all loggers to `emit`, replacing what was there; INFO and above, DEBUG for ours when `debug`."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    root.addHandler(_Handler(emit))
    root.setLevel(logging.INFO)
    logging.getLogger("tetrio").setLevel(logging.DEBUG if debug else logging.INFO)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
