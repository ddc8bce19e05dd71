"""Exits that the exchange prices: pegged to the best price of their own side as they arrive."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import attrs
import pytest

from tests.scenarios.sandbox import Fault, Run, played
from tests.scenarios.stage import Scene, accepted, market

STILL = Scene(at_s=0, bid="3412.36", ask="3412.39", traded="3412.36")
HIGH = Scene(at_s=5, bid="3422.36", ask="3422.39")
BACK = Scene(at_s=8, bid="3417.36", ask="3417.39")  # half of the gain is given back: a take-profit
MOVED = Scene(at_s=12, bid="3417.30", ask="3417.33")
LIFTED = Scene(at_s=16, bid="3417.40", ask="3417.43")  # through our ask


def pegged(tmp_path: Path, *options: str, fault: Fault | None = None) -> Run:
    path = market(tmp_path / "market.txt", (STILL, HIGH, BACK, MOVED, LIFTED), 30)
    return played(fault or Fault(), path, "exit.chase=peg", *options)


def beats(first_s: int, last_s: int) -> list[Scene]:
    """The book goes a little down and up, each second: an exit that rests is re-quoted each time."""
    moved = attrs.evolve(BACK, bid="3417.34", ask="3417.37")
    return [attrs.evolve(BACK if second % 2 else moved, at_s=second) for second in range(first_s, last_s)]


@pytest.mark.fault("F59")
def test_a_pegged_exit_rests_at_the_best_price_and_is_known_by_the_real_one(tmp_path: Path) -> None:
    run = pegged(tmp_path)
    first, moved = accepted(run)[:2]
    assert [Decimal(order["price"]) for order in (first, moved)] == [Decimal("3417.39"), Decimal("3417.33")]
    told = [fact for fact in run.facts if fact["kind"] == "order" and fact["state"] == "open"]
    assert [Decimal(fact["price"]) for fact in told[:2]] == [Decimal("3417.39"), Decimal("3417.33")]
    assert (run.clean, run.verdict.most_live, run.verdict.by("t")) == (True, 1, 1)


def test_where_nothing_is_to_be_bought_for_more_than_is_held_a_pegged_buy_fits(tmp_path: Path) -> None:
    fall = (STILL, Scene(at_s=5, bid="3402.36", ask="3402.39"), Scene(at_s=8, bid="3407.36", ask="3407.39"))
    path = market(tmp_path / "market.txt", fall, 30)
    run = played(Fault(), path, "exit.chase=peg", "venue.fund=ETH=0,FDUSD=1000")
    (bought,) = accepted(run)
    assert bought["side"] == "BUY"
    assert Decimal(bought["qty"]) * Decimal("3407.39") <= 1000, "also at the ask, the highest that it could be priced"
    assert Decimal(bought["price"]) == Decimal("3407.36")


def test_an_exit_that_is_the_best_price_does_not_outbid_itself(tmp_path: Path) -> None:
    """Our order stands in the public book: a tick inside the spread it is the best, and stays there."""
    wide = [Scene(at_s=0, bid="3412.00", ask="3412.50", traded="3412.01"), Scene(at_s=5, bid="3422.00", ask="3422.50")]
    wide += [Scene(at_s=8 + second, bid="3417.00", ask="3417.50") for second in range(15)]
    path = market(tmp_path / "market.txt", wide, 30)
    run = played(Fault(), path, "exit.chase=improve", "exit.requote_ms=0")
    assert [Decimal(order["price"]) for order in accepted(run)] == [Decimal("3417.49")]


@pytest.mark.fault("F92")
def test_where_pegs_are_taken_no_more_an_exit_joins_at_once_and_says_so(tmp_path: Path) -> None:
    path = market(tmp_path / "market.txt", (STILL, HIGH, BACK, *beats(9, 60)), 61)
    run = played(Fault(), path, "exit.chase=peg", faults=("change-filters:peg_allowed=false@15500ms",))
    refused = [fact for fact in run.facts if fact["kind"] == "order" and fact["state"] == "rejected"]
    assert [fact["code"] for fact in refused] == [-2010], "one pegged order tells"
    after = [line["at_s"] for line in accepted(run) if line["at_s"] > 15]
    assert len(after) > 40
    assert all(later - earlier < 2.5 for earlier, later in pairwise(after)), "re-quoted on, second by second"
    told = [fact["why"] for fact in run.facts if fact["kind"] == "warning" and fact["what"] == "chase"]
    assert told == [
        "-2010 Pegged orders are not supported for this symbol. Exits join instead",
        "ETHFDUSD takes no pegged orders: exits join instead",
    ]
    (why,) = run.epochs_ended()
    assert "the rules of ETHFDUSD have changed: peg_allowed True is False" in why
    assert run.verdict.most_live == 1
