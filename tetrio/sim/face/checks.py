"""Parameters of one request, checked with Binance's own codes and texts.

Values come as JSON values (WebSocket API) or as texts (REST query); numbers may be sent as texts and flags as "true"
and "false", lists as JSON text, as the clients of the field do. What no method read is -1104. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import msgspec
from msgspec import UNSET

DECIMAL = r"^([0-9]{1,20})(\.[0-9]{1,20})?$"
INTEGER = r"^[0-9]{1,20}$"
SYMBOL = r"^[\w\-._&&[^a-z]]{1,50}$"
CLIENT_ID = r"^[a-zA-Z0-9-_]{1,36}$"
_DECIMAL, _INTEGER, _SYMBOL, _CLIENT_ID = (
    re.compile(pattern, re.ASCII) for pattern in (DECIMAL, INTEGER, r"[A-Z0-9\-._]{1,50}", r"[a-zA-Z0-9\-_]{1,36}")
)
_LONGEST = 2**63 - 1
NO_SUCH_SYMBOL = -1121, "Invalid symbol."


class Refused(Exception):
    """The answer to a request is no: `code`, `msg`, the HTTP-like `status`, and `data` where Binance adds some."""

    def __init__(self, code: int, msg: str, *, status: int = 400, data: object = UNSET) -> None:
        super().__init__(f"{code} {msg}")
        self.code, self.msg, self.status, self.data = code, msg, status, data


def missing(name: str) -> Refused:
    """A mandatory parameter is not there."""
    return Refused(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def illegal(name: str, legal: str) -> Refused:
    """A parameter holds what it may not."""
    return Refused(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal}'.")


class Params:
    """What was sent; every getter marks its parameter as read."""

    def __init__(self, values: Mapping[str, object], tokens: Mapping[str, str] | None = None) -> None:
        """`tokens` are the raw texts of the values, strings unquoted; without them the values are texts themselves."""
        self.values = values
        self.tokens = tokens if tokens is not None else {name: str(value) for name, value in values.items()}
        self._read: dict[str, None] = {}

    def __contains__(self, name: str) -> bool:
        return self.values.get(name) is not None

    def skip(self, *names: str) -> None:
        """Mark as read what the envelope has looked at."""
        for name in names:
            self._read[name] = None

    def done(self) -> None:
        """Refuse what nobody read."""
        read = sum(name in self._read for name in self.values)
        if read < len(self.values):
            raise Refused(
                -1104,
                f"Not all sent parameters were read; read '{read}' parameter(s) but was sent '{len(self.values)}'.",
            )

    def text(self, name: str) -> str | None:
        """The value's text; None when it was not sent (or null)."""
        self._read[name] = None
        if self.values.get(name) is None:
            return None
        text = self.tokens[name]
        if not text:
            raise Refused(-1105, f"Parameter '{name}' was empty.")
        return text

    def need(self, name: str) -> str:
        """The value's text; -1102 without one."""
        self._read[name] = None
        if self.values.get(name) is None or not self.tokens[name]:
            raise missing(name)
        return self.tokens[name]

    def decimal(self, name: str) -> str | None:
        """An amount, as text."""
        text = self.text(name)
        if text is not None and not _DECIMAL.fullmatch(text):
            raise illegal(name, DECIMAL)
        return text

    def need_decimal(self, name: str) -> str:
        """A mandatory amount, as text."""
        self.need(name)
        text = self.decimal(name)
        assert text is not None, "need has seen it"
        return text

    def integer(self, name: str, *, most: int = _LONGEST) -> int | None:
        """A whole number, at most `most`."""
        text = self.text(name)
        if text is None:
            return None
        if not _INTEGER.fullmatch(text):
            raise illegal(name, INTEGER)
        if int(text) > most:
            raise Refused(-1108, f"Parameter '{name}' overflowed.")
        return int(text)

    def limit(self, default: int, most: int) -> int:
        """`limit`: between 1 and `most`, where a larger one is cut, as Binance does."""
        asked = self.integer("limit")
        if asked == 0:
            raise illegal("limit", INTEGER)
        return min(asked or default, most)

    def client_id(self, name: str) -> str | None:
        """A client order id."""
        text = self.text(name)
        if text is not None and not _CLIENT_ID.fullmatch(text):
            raise illegal(name, CLIENT_ID)
        return text

    def flag(self, name: str, default: bool) -> bool:
        """true or false, also as texts."""
        text = self.text(name)
        if text is None:
            return default
        if text.lower() not in ("true", "false"):
            raise illegal(name, "true|false")
        return text.lower() == "true"

    def one_of(self, name: str, choices: Collection[str], refusal: Refused) -> str | None:
        """One of `choices`, or None when it was not sent; `refusal` on anything else."""
        text = self.text(name)
        if text is not None and text not in choices:
            raise refusal
        return text

    def symbol(self, known: str) -> str:
        """The mandatory `symbol`, which must be `known`."""
        check_symbol(self.need("symbol"), known)
        return known

    def texts(self, name: str) -> list[str] | None:
        """One text, or several: an array or its JSON text."""
        self._read[name] = None
        value = self.values.get(name)
        if isinstance(value, str) and value.startswith("["):
            try:
                value = msgspec.json.decode(value)
            except (msgspec.DecodeError, UnicodeError):
                raise Refused(-1130, f"Data sent for parameter '{name}' is not valid.") from None
        if isinstance(value, str) or value is None:
            text = self.text(name)
            return None if text is None else [text]
        if not isinstance(value, list) or not value or not all(isinstance(each, str) for each in value):
            raise Refused(-1130, f"Data sent for parameter '{name}' is not valid.")
        return list(value)

    def symbols(self) -> list[str] | None:
        """`symbols`: an array or its JSON text."""
        self._read["symbols"] = None
        value = self.values.get("symbols")
        if value is None:
            return None
        if isinstance(value, str):
            try:
                value = msgspec.json.decode(value)
            except (msgspec.DecodeError, UnicodeError):
                raise illegal("symbols", '^\\["[A-Z0-9-_.]{1,20}"(,"[A-Z0-9-_.]{1,20}"){0,}\\]$') from None
        if not isinstance(value, list) or not value or not all(isinstance(name, str) for name in value):
            raise Refused(-1130, "Data sent for parameter 'symbols' is not valid.")
        if len(dict.fromkeys(value)) < len(value):
            raise Refused(-1151, "Symbol is present multiple times in the list.")
        return list(value)


def check_symbol(name: str, known: str) -> None:
    """Refuse a symbol that is malformed or not `known`."""
    if not _SYMBOL.fullmatch(name) and not any(ord(letter) > 127 for letter in name):
        raise illegal("symbol", SYMBOL)
    if name != known:
        raise Refused(*NO_SUCH_SYMBOL)
