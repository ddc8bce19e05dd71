"""Which troubles have met which states of the executor: a table, what cannot be met, and the row of all other cells.

A seed aims at a piece of that row, the next seed at the next piece, so that many seeds aim at every cell.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

from tetrio.chaos.circumstances import TELEGRAM_EVERY, has_telegram
from tetrio.chaos.states import STATES
from tetrio.chaos.troubles import CHATTING, TROUBLES

UNREACHABLE: dict[tuple[str, str], str] = {
    ("sigterm", "stopping"): "a stop is under way: a second one is not even looked at",
}
"""(trouble, state) -> why it cannot be in that state."""
PER_SEED = 10
"""Cells that ten minutes of a seed aim at, about."""


def reachable() -> set[tuple[str, str]]:
    """Every cell that can be met."""
    return {(trouble, state) for trouble in TROUBLES for state in STATES} - UNREACHABLE.keys()


def aims(seed: int) -> Iterator[tuple[str, str]]:
    """The cells that a seed aims at, one after the other, without end; those of chats where it has one."""
    cells = sorted(reachable())
    random.Random("cells").shuffle(cells)  # noqa: S311 - a plan, the same for all seeds
    chatting = [cell for cell in cells if cell[0] in CHATTING]
    others = _from([cell for cell in cells if cell[0] not in CHATTING], seed * PER_SEED)
    if not has_telegram(seed):
        return others
    return _alternately(_from(chatting, seed // TELEGRAM_EVERY * PER_SEED // 2), others)


def _from(cells: list[tuple[str, str]], start: int) -> Iterator[tuple[str, str]]:
    return (cells[number % len(cells)] for number in itertools.count(start))


def _alternately(*rows: Iterator[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for row in itertools.cycle(rows):
        yield next(row)


def table(met: set[tuple[str, str]]) -> str:
    """For people: a row a trouble, a column a state; the share that was met, and what is missing."""
    cells = reachable()
    reached = met & cells
    width = max(map(len, TROUBLES))
    lines = [f"{'':{width}} " + " ".join(f"{state[:9]:9}" for state in STATES)]
    for trouble in TROUBLES:
        marks = ("x" if (trouble, state) in met else "." if (trouble, state) in cells else "-" for state in STATES)
        lines.append(f"{trouble:{width}} " + " ".join(f"{mark:9}" for mark in marks).rstrip())
    lines += [f"never {state}: {', '.join(missing)}" for state, missing in _missing(cells - met)]
    return "\n".join([*lines, f"{len(reached)} of {len(cells)} cells that can be met: {len(reached) / len(cells):.1%}"])


def _missing(cells: set[tuple[str, str]]) -> Iterator[tuple[str, list[str]]]:
    for state in STATES:
        if missing := sorted(trouble for trouble, each in cells if each == state):
            yield state, missing
