"""What a check found: a row, the exit code of all rows, and how they are shown.

A row is one line: what was looked at, the verdict, what was found and, where it is not fine, what to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

import attrs

from tetrio.errors import ConfigError, UnsafeError
from tetrio.log import one_line, redact

if TYPE_CHECKING:
    from rich.console import Console

OK: Final = "ok"
WARN: Final = "warn"
FAIL: Final = "fail"
SKIP: Final = "skip"
STATES: Final = (OK, WARN, FAIL, SKIP)
_STYLES = {OK: "green", WARN: "yellow", FAIL: "bold red", SKIP: "dim"}
_WIDTH = 15  # of the longest name

BROKEN: Final = 1
CONFIGURATION: Final = ConfigError.exit_code
UNSAFE: Final = UnsafeError.exit_code


@attrs.frozen
class Row:
    """One finding."""

    name: str
    state: str
    """One of STATES."""
    found: str
    remedy: str = ""
    """What to do; "" where nothing is to be done, or where `found` says it."""
    code: int = 0
    """Of a failure: the exit code that it asks for."""

    @property
    def text(self) -> str:
        """What was found and what to do, on one line and without secrets."""
        return one_line(redact(f"{self.found}: {self.remedy}" if self.remedy else self.found))


def ok(name: str, found: str) -> Row:
    """As it should be."""
    return Row(name, OK, found)


def warn(name: str, found: str, remedy: str = "") -> Row:
    """It works, and somebody should know."""
    return Row(name, WARN, found, remedy)


def fail(name: str, found: str, remedy: str = "", code: int = BROKEN) -> Row:
    """It does not work, or must not go on."""
    return Row(name, FAIL, found, remedy, code)


def skip(name: str, why: str) -> Row:
    """Not looked at."""
    return Row(name, SKIP, why)


def exit_code(rows: Iterable[Row]) -> int:
    """0 without a failure; else 6 when one is of safety, 4 when one is of the configuration, 1 otherwise."""
    codes = {row.code for row in rows if row.state == FAIL}
    return next((code for code in (UNSAFE, CONFIGURATION) if code in codes), BROKEN if codes else 0)


def counts(rows: Sequence[Row]) -> dict[str, int]:
    """How many rows there are of each state."""
    return {state: sum(row.state == state for row in rows) for state in STATES}


def summary(rows: Sequence[Row]) -> str:
    """The last line."""
    number = counts(rows)
    told = [f"{number[OK]} ok", *(f"{number[state]} {state}" for state in STATES[1:] if number[state])]
    verdict = "nothing failed" if not number[FAIL] else "mend what failed, then run it again"
    return f"{', '.join(told)}: {verdict}"


def show(console: Console, row: Row) -> None:
    """Print one row."""
    from rich.text import Text  # noqa: PLC0415 - only where something is shown

    line = Text.assemble((f"{row.state:<4}", _STYLES[row.state]), f"  {row.name:<{_WIDTH}}  ", row.text)
    console.print(line, soft_wrap=True, highlight=False)


def as_json(row: Row) -> dict[str, str]:
    """For programs."""
    return {"name": row.name, "state": row.state, "found": one_line(redact(row.found)), "remedy": row.remedy}
