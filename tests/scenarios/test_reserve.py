"""What is kept back is not sold, whatever is told in which order while an exit is being sold."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.sandbox import Fault, Frame, Run, Tampered, played
from tests.scenarios.stage import START_NS
from tests.sim.served import Line, record, top, trade

RESERVE = Decimal(2)
FUNDS = ("venue.fund=ETH=3,FDUSD=0", f"symbol.reserve_base={RESERVE}")
OFTEN = 12


def book(at_s: float, bid: str, ask: str) -> list[Line]:
    return [top(at_s + again, bid, "1000.0000", ask, "1000.0000") for again in (0, 0.2)]


def armed() -> list[Line]:
    """A take-profit of one ETH that rests at 3417.39 from 8 s on."""
    return [
        trade(0, "3412.36", "0.0001"), *book(0, "3412.36", "3412.39"), *book(5, "3422.36", "3422.39"),
        *book(8, "3417.36", "3417.39"),
    ]  # fmt: skip


def bought(at_s: float, *sizes: str) -> list[Line]:
    """Buyers who reach above our price, all in one millisecond."""
    return [trade(at_s, "3417.45", size, buyer_is_maker=False) for size in sizes]


def audited(run: Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.audit.splitlines()]


def check_reserve(run: Run) -> None:
    """No order that was accepted could have sold what is kept back."""
    held = {"ETH": Decimal(0)}
    for line in audited(run):
        held |= {asset: sum(map(Decimal, amounts)) for asset, amounts in line.get("balances", {}).items()}
        if line["ev"] == "accept" and line["side"] == "SELL":
            at_s = (line["ts"] - START_NS) / 1e9
            assert Decimal(line["qty"]) <= held["ETH"] - RESERVE, f"{line['qty']} of {held['ETH']} at {at_s:.3f} s"
    assert held["ETH"] >= RESERVE


@pytest.mark.fault("F79", "F82")
@pytest.mark.parametrize("seed", range(OFTEN))
def test_a_second_fill_of_the_same_moment_is_not_planned_without(tmp_path: Path, seed: int) -> None:
    """Between the balances of the first fill and those of the second nothing may be planned on the first ones."""
    path = record(tmp_path / "market", [*armed(), *bought(12, "0.4000", "0.6000"), *book(40, "3417.36", "3417.39")])
    run = played(Fault(), path, *FUNDS, seed=seed)
    fills = [line["last_qty"] for line in audited(run) if line["ev"] == "fill"]
    assert list(map(Decimal, fills)) == [Decimal("0.4"), Decimal("0.6")]
    check_reserve(run)
    assert run.verdict.events["accept"] == 1


class LateEvents(Fault):
    """What the exchange pushes comes late: a fill is not known when the exit is re-quoted."""

    def asked(self, line: Tampered, request: Frame) -> None:
        super().asked(line, request)
        self.count += request["method"] == "order.cancelReplace"

    def told(self, line: Tampered, frame: Frame) -> list[tuple[float, Frame]]:
        return [(1.0 if "event" in frame else 0.0, frame)]


@pytest.mark.fault("F57", "F82")
@pytest.mark.parametrize("filled", ["0.4000", "0.9990", "1.0000"], ids=["a part", "all but dust", "all of it"])
@pytest.mark.parametrize("ask", ["3417.33", "3417.41"], ids=["to a lower price", "to a higher one"])
def test_what_filled_between_decision_and_replacement_is_not_sold_out_of_the_reserve(
    tmp_path: Path, filled: str, ask: str
) -> None:
    """The replacement is sized before the fill is known; beside a reserve the exchange could fill it out of that."""
    later = [trade(30, "3417.60", "2.0000", buyer_is_maker=False), *book(60, "3417.36", "3417.39")]
    lines = [*armed(), *bought(12, filled), *book(12.01, "3417.30", ask), *later]
    path = record(tmp_path / "market", lines)
    fault = LateEvents()
    run = played(fault, path, *FUNDS)
    check_reserve(run)
    assert fault.count == 1, "it was to be replaced"
    sold = sum(Decimal(line["last_qty"]) for line in audited(run) if line["ev"] == "fill")
    assert (sold, run.verdict.most_live) == (1, 1)
