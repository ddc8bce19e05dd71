"""A hard stop that nobody buys from takes in the end: after a while, or once the price has run; within its bound."""

from __future__ import annotations

import itertools
from decimal import Decimal
from pathlib import Path

import attrs
import pytest
import trio

from tests.scenarios.sandbox import Fault, Run, Tampered, played
from tests.scenarios.stage import Scene, accepted, at_s, fills, market

STILL = Scene(at_s=0, bid="3412.36", ask="3412.37", traded="3412.36")
BEYOND = Scene(at_s=5, bid="3410.36", ask="3410.37")  # 5.9 bp below the anchor; the hard stop is at 5
DEEP = Scene(at_s=5, bid="3392.36", ask="3392.37")  # 58.6 bp below it


def fallen(tmp_path: Path, *scenes: Scene, options: tuple[str, ...] = (), fault: Fault | None = None) -> Run:
    path = market(tmp_path / "market.txt", (STILL, *scenes), 60)
    return played(fault or Fault(), path, *options, takes="h")


@pytest.mark.fault("F72")
def test_a_hard_stop_takes_once_it_has_waited_long_enough(tmp_path: Path) -> None:
    run = fallen(tmp_path, BEYOND, options=("exit.escalate_after_s=20",))
    armed = at_s(run, "armed", reason="h")
    (taken,) = accepted(run, "LIMIT")
    assert armed + 20 <= taken["at_s"] < armed + 21
    assert accepted(run, "LIMIT_MAKER")[0]["at_s"] < armed + 2, "it was a maker before"
    assert Decimal(taken["price"]) == Decimal("3393.31"), "50 bp below the best bid, rounded towards it"
    assert [(fill["last_price"], fill["maker"]) for fill in fills(run)] == [("3410.36000000", False)]
    assert (run.verdict.most_live, run.verdict.by("h")) == (1, 1)


@pytest.mark.fault("F72", "F87")
def test_a_hard_stop_takes_at_once_where_the_price_has_run_through_it(tmp_path: Path) -> None:
    run = fallen(tmp_path, DEEP, options=("exit.escalate_bps=30",))
    (taken,) = accepted(run, "LIMIT")
    assert taken["at_s"] < at_s(run, "armed", reason="h") + 1
    assert accepted(run, "LIMIT_MAKER") == []
    assert sum(Decimal(fill["last_qty"]) for fill in fills(run)) == 1


def test_with_both_turned_off_a_hard_stop_never_takes(tmp_path: Path) -> None:
    run = fallen(tmp_path, DEEP, options=("exit.escalate_after_s=0", "exit.escalate_bps=0"))
    assert at_s(run, "armed", reason="h") < 6
    assert accepted(run, "LIMIT") == []
    assert fills(run) == []


@pytest.mark.fault("F73")
def test_what_is_left_is_taken_again_a_second_later_from_a_fresh_book(tmp_path: Path) -> None:
    thin = Scene(at_s=5, bid="3392.36", ask="3392.37", bid_qty="0.3000")
    later = Scene(at_s=5.6, bid="3391.36", ask="3391.37", bid_qty="0.3000")
    again = Scene(at_s=6.8, bid="3390.36", ask="3390.37")
    run = fallen(tmp_path, thin, later, again, options=("exit.escalate_bps=30",))
    times = [order["at_s"] for order in accepted(run, "LIMIT")]
    assert len(times) == 3
    assert all(later - earlier >= 1 for earlier, later in itertools.pairwise(times))
    assert [fill["last_price"] for fill in fills(run)] == ["3392.36000000", "3391.36000000", "3390.36000000"]
    assert sum(Decimal(fill["last_qty"]) for fill in fills(run)) == 1


class CutAt(Fault):
    """The account link is cut at these market seconds."""

    def __init__(self, *when_s: float) -> None:
        super().__init__()
        self.when_s = when_s

    async def run(self) -> None:
        for when_s in self.when_s:
            await trio.sleep_until(when_s + 1)  # the market's first second is the run's second
            line = self.lines["account"]
            assert isinstance(line, Tampered)
            line.cut()
            self.count += 1


@pytest.mark.fault("F72")
def test_the_wait_is_reckoned_from_the_arming_whatever_befalls_the_link(tmp_path: Path) -> None:
    fault = CutAt(10, 15, 19)
    beats = [attrs.evolve(BEYOND, at_s=second) for second in range(6, 40)]
    run = fallen(tmp_path, BEYOND, *beats, options=("exit.escalate_after_s=20",), fault=fault)
    assert (fault.count, len(run.epochs_ended())) == (3, 3)
    (taken,) = accepted(run, "LIMIT")
    armed = at_s(run, "armed", reason="h")
    assert armed + 20 <= taken["at_s"] < armed + 23
