"""`tetrio config explain`: all there is to say about one setting, from the records that `tetrio.config` fills."""

from __future__ import annotations

import difflib
import shlex
import typing
from decimal import Decimal
from typing import Any

import attrs

from tetrio import config
from tetrio.config import ENVIRONMENT_PREFIX, SECTIONS, WORDS, Config
from tetrio.core.params import GainScale, Limits
from tetrio.errors import ConfigError

_UNITS = (("_ms", "milliseconds"), ("_s", "seconds"), ("_bps", "basis points"), ("_ticks", "ticks"))
_PHRASES = (
    ("fraction", "a fraction, not per cent: 0.005 is 0.5 %"),
    ("base units", "base units"),
    ("quote units", "quote units"),
    ("largest notional", "quote units"),
    ("klines", "klines"),
)
_TYPES: dict[Any, str] = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    float | None: "a number",
    Decimal: "an exact decimal",
    GainScale: 'a fraction, or a multiple of ATR/price such as "1.5atr"',
    tuple[int, ...]: "a list of whole numbers",
}
_MEASURED = (int, float, float | None, Decimal, GainScale)


def find(given: str) -> tuple[str, str]:
    """(section, key) that `given` means; the key is "" for a whole section. ConfigError names the nearest."""
    text = given.strip().lower().removeprefix("[").removesuffix("]")
    if text.upper().startswith(ENVIRONMENT_PREFIX):
        text = text.removeprefix(ENVIRONMENT_PREFIX.lower()).replace("__", ".", 1)
    if text in SECTIONS:
        return text, ""
    section, dot, name = text.partition(".")
    homes = [each for each, cls in SECTIONS.items() if (name if dot else text) in attrs.fields_dict(cls)]
    if dot and section in homes:
        return section, name
    if not dot and len(homes) == 1:
        return homes[0], text
    if homes:
        raise ConfigError(
            f"config explain {given}: say which: {' or '.join(f'{each}.{name or text}' for each in homes)}"
        )
    known = [f"{each}.{field.name}" for each, cls in SECTIONS.items() for field in attrs.fields(cls)]
    by_key = {name.partition(".")[2]: name for name in known}
    near = difflib.get_close_matches(text, [*known, *SECTIONS], 1, cutoff=0.6)
    near = near or [by_key.get(each, each) for each in difflib.get_close_matches(name or text, by_key, 1)]
    hint = f"did you mean {near[0]}?" if near else f"sections are {', '.join(SECTIONS)}"
    raise ConfigError(f"config explain {given}: there is no such setting; {hint}")


def about(settings: Config, section: str, name: str) -> dict[str, object]:
    """Everything about one setting, as texts; members that do not apply are left out."""
    cls, key = SECTIONS[section], f"{section}.{name}"
    field = attrs.fields_dict(cls)[name]
    limits: Limits = field.metadata["limits"]
    value = config.show(getattr(getattr(settings, section), name), key)
    kind = typing.get_type_hints(cls)[name]
    bounds = "above 0" if kind is GainScale else _range(limits, "fraction" in field.metadata["meaning"])
    told: dict[str, object] = {
        "key": key,
        "meaning": field.metadata["meaning"],
        "type": f'{_TYPES[kind]}, or "{WORDS[key]}"' if key in WORDS else _TYPES[kind],
        "unit": unit_of(name, field.metadata["meaning"]) if kind in _MEASURED else "",
        "range": bounds,
        "choices": list(limits.choices),
        "default": config.show(field.default, key),
        "value": value,
        "origin": settings.origins[key],
        "environment": f"{ENVIRONMENT_PREFIX}{section.upper()}__{name.upper()}",
        "option": f"--set {key}={shlex.quote(value)}",
        "example": f"[{section}]\n{name} = {_toml(getattr(getattr(settings, section), name), key)}",
    }
    optional = ("unit", "range", "choices")
    return {each: found for each, found in told.items() if found or each not in optional}


def unit_of(name: str, meaning: str) -> str:
    """The unit of a setting, by the ending of its name, else by its meaning; "" for what has none."""
    by_name = next((unit for ending, unit in _UNITS if name.endswith(ending)), "")
    return by_name or next((unit for phrase, unit in _PHRASES if phrase in meaning), "")


def section_of(settings: Config, section: str) -> dict[str, dict[str, str]]:
    """Value, origin and meaning of each key of a section."""
    return {
        row.key: {"value": row.value, "origin": row.origin, "meaning": row.meaning}
        for row in config.rows(settings)
        if row.key.startswith(f"{section}.")
    }


def section_text(section: str, told: dict[str, dict[str, str]]) -> str:
    """The same for people."""
    record = (SECTIONS[section].__doc__ or "").splitlines()[0]
    width = max(map(len, told))
    lines = [f"{key:<{width}}  {each['value'] or EMPTY}  ({each['meaning']})" for key, each in told.items()]
    return "\n".join([record, "", *lines, "", f"tetrio config explain {next(iter(told))} says more of one"])


EMPTY = '""'
_LABELS = (
    ("type", "type"),
    ("unit", "unit"),
    ("range", "range"),
    ("choices", "one of"),
    ("default", "default"),
    ("value", "now"),
    ("environment", "variable"),
    ("option", "option"),
)


def text(told: dict[str, object]) -> str:
    """One setting for people."""
    lines = [str(told["key"]), f"  {told['meaning']}", ""]
    for member, label in _LABELS:
        found = told.get(member)
        if found is None:
            continue
        shown = ", ".join(map(str, found)) if isinstance(found, list) else str(found) or EMPTY
        origin = f"  (from {told['origin']})" if member == "value" else ""
        lines.append(f"  {label:<9} {shown}{origin}")
    example = str(told["example"]).replace("\n", "\n            ")
    return "\n".join([*lines, f"  {'file':<9} {example}"])


def _range(limits: Limits, fraction: bool) -> str:
    high = 1 if fraction and limits.high is None and limits.low is not None else limits.high
    if limits.low is not None and limits.low == high:
        return f"only {high:g}"
    bounds = [] if limits.low is None else [f"{'above' if limits.low_open else 'at least'} {limits.low:g}"]
    return ", ".join(bounds + ([] if high is None else [f"at most {high:g}"]))


def _toml(value: object, key: str) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    shown = config.show(value, key)
    quoted = value is None or isinstance(value, str | Decimal) or (isinstance(value, GainScale) and value.in_atr)
    return f'"{shown}"' if quoted else shown
