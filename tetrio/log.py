"""Diagnostics: what the code and its libraries have to say beside the journal's facts; one line a message, no secrets.

Modules of ours say `logging.getLogger(__name__)`, as the libraries do: one way for all. `setup` sends every record by
one handler (level and logger's name, exceptions as text, secrets out, one line) to one function, `Journal.remark`; the
same way go the warnings module, exceptions that a thread did not catch, and those that Python can raise to nobody.
Chatty libraries are kept quiet at every level: httpx tells whole URLs, and a Telegram token is part of its URL. Nothing
is written here: that is `tetrio.journal`'s.

Secrets are kept back three times over: a `Secret` never shows its text; every text that was ever made a `Secret`, or
given to `conceal`, is replaced wherever it turns up, in its usual disguises too; and what merely looks like a key, a
signature, a bot's token or a PEM block is cut out of foreign texts.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import re
import sys
import threading
import traceback
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Protocol

QUIET = (
    "httpx",
    "httpcore",
    "hypercorn",
    "hypercorn.error",
    "hypercorn.access",
    "trio-websocket",
    "telegram",
    "hpack",
    "h11",
    "wsproto",
)

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

MOST_SECRETS = 64  # a start reads three or four, each reload as many again; the oldest are forgotten first
LEAST_SECRET = 8  # characters; a shorter text would be found in half of all words, and no real key is as short

HIDDEN = "***"


class Emit(Protocol):
    """Takes what `setup` routes: `Journal.remark`. May be called from any thread; must not raise, block or log."""

    def __call__(self, level: str, name: str, text: str, /, **fields: object) -> None:
        """`level` in lower case, the logger's name, the text, and what else there was, such as `exception`."""


# --- secrets ---------------------------------------------------------------------------------------------------------


class Secret:
    """A text that shows itself to nobody: `reveal` is the one way to it, and easy to search for.

    From its making on every sink leaves that text out, wherever it comes from (`conceal`).
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value
        conceal(value)

    def reveal(self) -> str:
        """The text itself; for the wire only."""
        return self._value

    def __repr__(self) -> str:
        return HIDDEN

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return HIDDEN

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled")


_concealed: dict[str, tuple[str, ...]] = {}  # secret → its disguises, the oldest first
_forms: tuple[str, ...] = ()  # all disguises, the longest first; replaced whole, so that any thread may read it
_concealing = threading.Lock()


def conceal(secret: Secret | str) -> None:
    """From now on leave this text out of every sink, also JSON-escaped, percent-encoded or in base64.

    A PEM block is concealed by its body, its lines and the 32 bytes of its key. Texts of fewer than `LEAST_SECRET`
    characters are not concealed, and of more than `MOST_SECRETS` secrets the latest are.
    """
    global _forms  # noqa: PLW0603 - one process has one set of secrets
    text = (secret.reveal() if isinstance(secret, Secret) else secret).strip()
    with _concealing:
        _concealed.pop(text, None)
        _concealed[text] = tuple(form for form in set(_disguises(text)) if len(form) >= LEAST_SECRET)
        while len(_concealed) > MOST_SECRETS:
            del _concealed[next(iter(_concealed))]
        _forms = tuple(sorted({form for forms in _concealed.values() for form in forms}, key=len, reverse=True))


def conceals(text: str) -> bool:
    """Whether a concealed text stands in `text`."""
    return any(form in text for form in _forms)


def hide(text: str) -> str:
    """`text` with every concealed text replaced."""
    for form in _forms:
        if form in text:
            text = text.replace(form, HIDDEN)
    return text


def _disguises(text: str) -> Iterator[str]:
    if text.startswith("-----BEGIN"):
        lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("-----")]
        yield from lines
        yield "".join(lines)
        yield from _key_disguises("".join(lines))
        return
    yield text
    yield json.dumps(text, ensure_ascii=False)[1:-1]
    yield json.dumps(text)[1:-1]
    yield urllib.parse.quote(text, safe="")
    yield from _base64(text.encode())


def _key_disguises(body: str) -> Iterator[str]:
    """The last 32 bytes of a PKCS#8 Ed25519 key, which are the key itself, as programs print bytes."""
    try:
        key = base64.b64decode(body)[-32:]
    except binascii.Error:  # not base64: the lines themselves have to do
        return
    yield from (key.hex(), key.hex().upper(), repr(key)[2:-1])
    yield from _base64(key)


def _base64(octets: bytes) -> Iterator[str]:
    """Both alphabets, without padding: a prefix of the padded form."""
    for encoded in (base64.b64encode(octets), base64.urlsafe_b64encode(octets)):
        yield encoded.decode().rstrip("=")


# What looks like a secret by its name: `apiKey=…`, `"signature": "…"`. Quotes may be escaped: one JSON text inside
# another. The words are looked for first: the pattern costs 15 µs where nothing is found, they half of one.
_NAMES = ("key", "signature", "secret", "token", "pass")
_NAMED = re.compile(
    r"""(?i)((?:api_?key|signature|secret(?:_?key)?|token|listen_?key|passphrase|password)"""
    r"""\\*["']?(?:\s*[:=]\s*|,\s*(?=b?["']))b?\\*["']?)"""
    r"""(?!PUBLIC\.pem|HMACSECRET|unknown\s)[^"'\\&,\s})]+"""  # those stand in remedies of ours
)
_PEM = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL)
_BOT = re.compile(r"(?<=/bot)[0-9]+:[\w-]+")
_LONG = (
    re.compile(r"(?<![0-9])[0-9]{6,12}:[\w-]{30,}"),  # Telegram's tokens
    re.compile(r"(?:[A-Za-z0-9+/]|%2[BFbf]){86}(?:==|%3[Dd]%3[Dd])"),  # Ed25519 signatures, percent-encoded too
    # Binance's API keys and secrets, and HMAC-SHA-256 signatures: nothing else in our texts has this length.
    re.compile(r"(?<![A-Za-z0-9])[A-Za-z0-9]{64}(?![A-Za-z0-9])"),
)
_LEAST_LONG = 32  # characters of the shortest word that one of those fits


def redact(text: str) -> str:
    """`text` without concealed texts, and without what looks like an API key, a signature, a token or a private key."""
    text = hide(text)
    lowered = text.lower()
    if any(name in lowered for name in _NAMES):
        text = _PEM.sub(HIDDEN, text)
        text = _NAMED.sub(rf"\1{HIDDEN}", text)
    if "/bot" in lowered:
        text = _BOT.sub(HIDDEN, text)
    if any(len(word) >= _LEAST_LONG for word in text.split()):
        for pattern in _LONG:
            text = pattern.sub(HIDDEN, text)
    return text


def is_secret(text: str) -> bool:
    """Whether a text that should be the path of a file is what belongs into that file: a key, a token, a PEM block."""
    return "-----BEGIN" in text or ("/" not in text and redact(text) != text)


def one_line(text: str) -> str:
    """`text` on one line: line breaks and other control characters become their escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


# --- the way of a record ---------------------------------------------------------------------------------------------


class _Handler(logging.Handler):
    """Makes every record plain and hands it to `emit`."""

    def __init__(self, emit: Emit) -> None:
        super().__init__()
        self._emit = emit

    def emit(self, record: logging.LogRecord) -> None:
        """Called by `logging`, from any thread."""
        self._emit(record.levelname.lower(), _clean(record.name), _clean(_text(record)), **_more(record))


def _text(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # a library whose arguments do not fit its text is still heard
        return f"{record.msg} {record.args}"


def _more(record: logging.LogRecord) -> dict[str, object]:
    """What a record has beside its text."""
    more: dict[str, object] = {}
    if record.exc_info and record.exc_info[1] is not None:
        more["exception"] = _clean("".join(traceback.format_exception(record.exc_info[1])).rstrip("\n"))
    if record.stack_info:
        more["stack"] = _clean(record.stack_info)
    return more


def _clean(text: str) -> str:
    """Without secrets, on one line."""
    return one_line(redact(text))


def setup(emit: Emit, *, level: str = "info") -> Callable[[], None]:
    """Route all loggers, warnings and uncaught exceptions of threads to `emit`, replacing what was there.

    level      least level of ours: debug, info, warning, error; libraries never say more than info
    returns    what undoes it
    """
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    root.handlers[:] = [_Handler(emit)]
    root.setLevel(max(LEVELS[level], logging.INFO))
    logging.getLogger("tetrio").setLevel(LEVELS[level])
    for name in QUIET:
        logging.getLogger(name).setLevel(max(LEVELS[level], logging.WARNING))
    unhook = _hook()

    def undo() -> None:
        unhook()
        root.handlers[:], level_before = before
        root.setLevel(level_before)
        for name in ("tetrio", *QUIET):
            logging.getLogger(name).setLevel(logging.NOTSET)

    return undo


def _hook() -> Callable[[], None]:
    """Warnings, threads' exceptions and those raised to nobody become records; returns what undoes it."""
    before = (sys.unraisablehook, threading.excepthook)
    logging.captureWarnings(True)
    sys.unraisablehook, threading.excepthook = _unraisable, _thread_died

    def unhook() -> None:
        logging.captureWarnings(False)
        sys.unraisablehook, threading.excepthook = before

    return unhook


def _unraisable(what: sys.UnraisableHookArgs) -> None:
    """From a destructor or a callback of C's. Its object is told by kind alone: a text of it may not be possible."""
    where = f"{what.err_msg or 'an exception was ignored'} in a {type(what.object).__name__}"
    error = what.exc_value or what.exc_type()
    logging.getLogger(__name__).error("%s", where, exc_info=(what.exc_type, error, what.exc_traceback))


def _thread_died(what: threading.ExceptHookArgs) -> None:
    if what.exc_type is SystemExit:
        return
    name = what.thread.name if what.thread else "unknown"
    error = what.exc_value or what.exc_type()
    logging.getLogger(__name__).error(
        "the thread %s has failed", name, exc_info=(what.exc_type, error, what.exc_traceback)
    )
