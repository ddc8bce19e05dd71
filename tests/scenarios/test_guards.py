"""Losses that halt: over restarts, whoever moves money in or out, and until the operator says resume."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs
import pytest
import trio

from tests.scenarios.sandbox import Fault, Run, played
from tests.scenarios.stage import Scene, accepted, at_s, market, orders
from tetrio.operator import Order

STILL = Scene(at_s=0, bid="3412.36", ask="3412.39", traded="3412.36")
BEYOND = Scene(at_s=5, bid="3410.36", ask="3410.39")  # 5.9 bp below: the hard stop, at 5, is armed
DEEP = Scene(at_s=10, bid="3400.36", ask="3400.39")  # 35 bp below
STEADY = [attrs.evolve(DEEP, at_s=second) for second in range(11, 60)]
DAILY = "risk.max_daily_loss=0.003"


class Says(Fault):
    """Words of the operator's, each at its market second; `stop` ends a life."""

    def __init__(self, words: Mapping[float, str]) -> None:
        super().__init__()
        self.words = words

    async def run(self) -> None:
        for when_s, word in self.words.items():
            await trio.sleep_until(when_s + 1)
            assert self.bot.commander.obey(Order(word=word, by="the test")).done


def run_of(tmp_path: Path, *options: str, says: Mapping[float, str] | None = None, faults: tuple[str, ...] = (),
           state: Path | None = None, lives: int = 1) -> Run:  # fmt: skip
    path = market(tmp_path / "market.txt", (STILL, BEYOND, DEEP, *STEADY), 60)
    return played(Says(says or {}), path, *options, faults=faults, state=state, lives=lives)


def halts(run: Run) -> list[dict[str, object]]:
    return [fact for fact in run.facts if fact["kind"] == "command" and fact["word"] == "halt"]


def test_a_daily_loss_halts_takes_the_exit_away_and_says_why(tmp_path: Path) -> None:
    run = run_of(tmp_path, DAILY)
    (halt,) = halts(run)
    assert (halt["by"], halt["guard"], halt["limit"]) == ("guard", "max_daily_loss", 0.003)
    assert (halt["against"], halt["price"]) == ("3412.36", "3400.36")
    last = orders(run)[-1]
    assert (last["ev"], last["at_s"] < 11) == ("cancel", True)
    assert run.verdict.left_open == []


def test_a_drawdown_halts_too(tmp_path: Path) -> None:
    (halt,) = halts(run_of(tmp_path, "risk.max_drawdown=0.003"))
    assert halt["guard"] == "max_drawdown"


def test_without_a_guard_nothing_halts(tmp_path: Path) -> None:
    assert halts(run_of(tmp_path)) == []


@pytest.mark.fault("F77", "F129")
def test_money_that_comes_or_goes_is_no_loss(tmp_path: Path) -> None:
    run = run_of(tmp_path, "risk.max_daily_loss=0.05", faults=("withdraw:ETH:0.5@4s", "deposit:FDUSD:9@6s"))
    assert halts(run) == []
    (halt,) = halts(run_of(tmp_path, DAILY, faults=("deposit:ETH:5@6s",)))
    assert halt["worth"] == "20402.16", "six times as much is held, and the fraction is the same"
    assert 0.003 <= float(str(halt["loss"])) < 0.004


def test_it_stays_halted_over_a_restart_and_says_why(tmp_path: Path) -> None:
    run = run_of(tmp_path, DAILY, says={20: "stop"}, lives=2, state=tmp_path / "state")
    rebuilt = [fact for fact in run.facts if fact["kind"] == "rebuilt" and fact.get("halted")]
    assert "[risk] max_daily_loss 0.003 is crossed" in rebuilt[0]["why"]
    assert [line for line in orders(run) if line["at_s"] > 11] == []


def test_resume_lifts_it_and_reckons_from_there_after_a_restart_too(tmp_path: Path) -> None:
    run = run_of(tmp_path, DAILY, says={15: "resume", 25: "stop"}, lives=2, state=tmp_path / "state")
    assert len(halts(run)) == 1
    assert [order["at_s"] > 15 for order in accepted(run)[1:]], "the hard stop is worked again"
    found = [fact for fact in run.facts if fact.get("what") == "loss guards"]
    assert "opening" not in found[1], "nothing before the resume counts"


def test_a_start_after_the_fall_knows_what_the_day_began_with(tmp_path: Path) -> None:
    """The second process reaches nothing until the price has fallen: the opening is rebuilt from candles."""
    run = run_of(tmp_path, DAILY, says={2: "stop"}, lives=2, faults=("refuse:rest:503:14s@3s",))
    (halt,) = halts(run)
    assert at_s(run, "command", word="halt") > 12
    assert halt["against"] == "3412.36"
    assert accepted(run) == []


def test_the_orders_of_the_day_are_counted_over_a_restart(tmp_path: Path) -> None:
    moves = [attrs.evolve(BEYOND, at_s=second, ask=f"3410.{40 + second}") for second in range(6, 50)]
    path = market(tmp_path / "market.txt", (STILL, BEYOND, *moves), 60)
    run = played(Says({7: "exit", 12: "stop", 16: "exit"}), path, "risk.max_orders_per_day=10", lives=2)
    assert len(accepted(run)) == 8, "a fifth is kept for stops"
    told = [fact["why"] for fact in run.facts if fact.get("what") == "max_orders_per_day"]
    assert told[0].startswith("8 of 10 orders were sent on this day")
    assert len({order["client_order_id"].split("-")[2] for order in accepted(run)}) == 2, "of both processes"
