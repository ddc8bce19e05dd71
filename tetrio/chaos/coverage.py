"""Which troubles have met which states of the executor: a table, and the cells that cannot be met."""

from __future__ import annotations

from tetrio.chaos.states import STATES
from tetrio.chaos.troubles import TROUBLES

UNREACHABLE: dict[str, tuple[str, str]] = {}
"""Trouble -> (state, why it cannot be in that state); filled where a state excludes a trouble."""


def reachable() -> set[tuple[str, str]]:
    """Every cell that can be met."""
    return {
        (trouble, state)
        for trouble in TROUBLES
        for state in STATES
        if not (trouble in UNREACHABLE and UNREACHABLE[trouble][0] == state)
    }


def table(met: set[tuple[str, str]]) -> str:
    """For people: a row a trouble, a column a state."""
    cells = reachable()
    reached = met & cells
    width = max(map(len, TROUBLES))
    lines = [f"{'':{width}} " + " ".join(f"{state[:9]:9}" for state in STATES)]
    for trouble in TROUBLES:
        marks = ("x" if (trouble, state) in met else "." if (trouble, state) in cells else "-" for state in STATES)
        lines.append(f"{trouble:{width}} " + " ".join(f"{mark:9}" for mark in marks).rstrip())
    share = len(reached) / len(cells)
    return "\n".join([*lines, f"{len(reached)} of {len(cells)} cells that can be met: {share:.1%}"])
