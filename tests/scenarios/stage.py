"""Made-up markets of a few moments: what the best prices are, when; and what of a run's audit tests look at."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs

from tests.scenarios.sandbox import Run
from tests.sim.served import START_MS, record, top, trade

START_NS = START_MS * 1_000_000
ROOMY = "1000.0000"


@attrs.frozen(kw_only=True)
class Scene:
    """From `at_s` on the book is this; with `sold`, a public seller hits the bid by so much."""

    at_s: float
    bid: str
    ask: str
    bid_qty: str = ROOMY
    ask_qty: str = ROOMY
    sold: str = ""
    traded: str = ""
    """Price of a public trade of the least size."""


def market(path: Path, scenes: Iterable[Scene], ends_s: float, *, traded_before: str = "") -> Path:
    """A capture that shows the scenes one after the other, each book twice; `traded_before` is a price at 0 s."""
    lines = [trade(0, traded_before, "0.0001")] if traded_before else []
    for scene in scenes:
        book = (scene.bid, scene.bid_qty, scene.ask, scene.ask_qty)
        lines += [top(scene.at_s, *book), top(scene.at_s + 0.2, *book)]
        if scene.sold:
            lines.append(trade(scene.at_s + 0.1, scene.bid, scene.sold))
        if scene.traded:
            lines.append(trade(scene.at_s + 0.1, scene.traded, "0.0001"))
    lines.append(top(ends_s, *book))
    return record(path, lines)


def orders(run: Run) -> list[dict[str, Any]]:
    """The audit's lines about orders, `at_s` being market seconds."""
    lines = [json.loads(line) for line in run.audit.splitlines()]
    return [line | {"at_s": (line["ts"] - START_NS) / 1e9} for line in lines if "client_order_id" in line]


def accepted(run: Run, kind: str = "") -> list[dict[str, Any]]:
    """Orders that were accepted, of one type or any."""
    return [line for line in orders(run) if line["ev"] == "accept" and kind in ("", line["type"])]


def fills(run: Run) -> list[dict[str, Any]]:
    """Own trades."""
    return [line for line in orders(run) if line["ev"] == "fill"]


def at_s(run: Run, kind: str, **fields: object) -> float:
    """When the first fact of this kind, with these fields, was told: market seconds."""
    for fact in run.facts:
        if fact["kind"] == kind and all(fact.get(name) == value for name, value in fields.items()):
            return (int(fact["ts"]) - START_NS) / 1e9
    raise AssertionError(f"no {kind} with {fields}")
