"""A fact, and the two ways to write one down: a line of JSON for programs, a line of words for people.

Pure. What goes into a fact is made plain when it is told, so that it can be written down later and elsewhere: by a
thread that has the time for it.
"""

from __future__ import annotations

import enum
import json
import math
import re
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from types import NoneType

import attrs
import msgspec

from tetrio import log

_AS_IT_IS = frozenset((str, int, bool, NoneType))
_AMOUNT = re.compile(r"-?\d+\.\d+")


@attrs.frozen
class Fact:
    """One line of the journal, as it was given."""

    ts: int
    """ns since 1970 UTC; market time in virtual time."""
    kind: str
    fields: Mapping[str, object]
    """Already plain: text, whole numbers, finite floats, booleans, None, lists and dicts of them."""


Shape = Callable[[Fact], str]
"""How a fact becomes a line: `render` or `tell`."""


def render(fact: Fact) -> str:
    """`fact` as one line of JSON: `ts` and `kind` first; without any secret that is known (`log.conceal`)."""
    line = _json(fact, fact.fields)
    return _json(fact, _hidden(fact.fields)) if log.conceals(line) else line


def tell(fact: Fact) -> str:
    """`fact` as one line for a person: the time in UTC, the kind, then what `describe` says."""
    return log.hide(f"{time_of(fact.ts)} {fact.kind:7} {describe(fact)}")


def describe(fact: Fact) -> str:
    """A fact in words, on one line: what became of what first, then the numbers."""
    fields = {name: short(value) for name, value in fact.fields.items() if name != "symbol"}
    words = [fields.pop(name) for name in ("name", "level", "state", "side", "qty") if name in fields]
    if "price" in fields:
        words.append(f"@ {fields.pop('price')}")
    said = [fields.pop(name) for name in ("text", "why") if name in fields]
    rest = [f"{name} {value}" for name, value in fields.items()]
    return log.one_line("  ".join(filter(None, (" ".join(words), " ".join(said), " ".join(rest)))))


def short(value: object) -> str:
    """`value` for a line that is read at a glance: six digits of a ratio, no trailing zeros of an amount."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return " ".join(f"{short(each)} {name}" for name, each in value.items())
    text = str(value)
    return text.rstrip("0").rstrip(".") if _AMOUNT.fullmatch(text) else text


def time_of(at_ns: int) -> str:
    """The time of day in UTC, to the millisecond."""
    return datetime.fromtimestamp(at_ns / 1e9, UTC).strftime("%H:%M:%S.%f")[:-3]


def plain(value: object) -> object:
    """`value` with nothing in it that JSON would show in a surprising form.

    A Decimal becomes its fixed-point text, an enum its value, a record a dict, bytes their text; NaN and infinity,
    which JSON lacks, become None; anything unknown becomes its text.
    """
    if type(value) in _AS_IT_IS:
        return value
    match value:
        case bool() | int() | str() if not isinstance(value, enum.Enum):
            return value
        case float():
            return value if math.isfinite(value) else None
        case Decimal():
            return f"{value:f}"
        case enum.Enum():
            return plain(value.value)
        case bytes():
            return value.decode(errors="replace")
        case Mapping():
            return {str(key): plain(each) for key, each in value.items()}
        case list() | tuple() | deque():
            return [plain(each) for each in value]
    kind = type(value)
    if attrs.has(kind):
        return {field.name: plain(getattr(value, field.name)) for field in attrs.fields(kind)}
    return str(value)


def _json(fact: Fact, fields: Mapping[str, object]) -> str:
    whole = {"ts": fact.ts, "kind": fact.kind, **fields}
    try:
        return msgspec.json.encode(whole).decode()
    except (UnicodeEncodeError, OverflowError):  # half a surrogate pair, or a number beyond 64 bits
        return json.dumps(whole, separators=(",", ":"))


def _hidden(fields: Mapping[str, object]) -> dict[str, object]:
    """The same without secrets: in the texts, so that what is around them stays JSON."""
    return {log.hide(name): _hide(value) for name, value in fields.items()}


def _hide(value: object) -> object:
    match value:
        case str():
            return log.hide(value)
        case dict():
            return _hidden(value)
        case list():
            return [_hide(each) for each in value]
    return value
