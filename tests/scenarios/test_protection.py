"""A stop that rests on the exchange while the base is held and nothing is armed, and that a dead bot leaves behind."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import attrs
import pytest
import trio

from tests.scenarios.sandbox import Fault, Frame, Run, Tampered, played
from tests.scenarios.stage import Scene, accepted, at_s, fills, market, orders
from tetrio.operator import Order

STOP, MAKER = "STOP_LOSS_LIMIT", "LIMIT_MAKER"
STILL = Scene(at_s=0, bid="3412.36", ask="3412.37", traded="3412.36")
HIGH = Scene(at_s=10, bid="3422.36", ask="3422.37")
BACK = Scene(at_s=15, bid="3417.36", ask="3417.37")  # half of the gain is given back: a take-profit
PRINT = attrs.evolve(STILL, at_s=20, traded="3400.36")  # trades are what triggers: the book follows
FALL = Scene(at_s=20.3, bid="3400.36", ask="3400.37")


def run_of(
    tmp_path: Path, *scenes: Scene, protect: str = "stop", options: tuple[str, ...] = (), fault: Fault | None = None,
    ends_s: float = 40, first: Scene = STILL, traded_before: str = "",
) -> Run:  # fmt: skip
    path = market(tmp_path / "market.txt", (first, *scenes), ends_s, traded_before=traded_before)
    return played(fault or Fault(), path, f"exit.protect={protect}", *options, takes="h")


def test_a_stop_for_the_whole_sleeve_rests_at_the_price_of_the_hard_stop(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    (stop,) = accepted(run)
    anchor = Decimal("3412.36")
    assert (stop["type"], stop["side"], Decimal(stop["qty"])) == (STOP, "SELL", Decimal(1))
    assert stop["client_order_id"].split("-")[3] == "1h"
    assert Decimal(stop["price"]) >= anchor * Decimal("0.9995") * Decimal("0.995")
    assert (run.verdict.left_open, fills(run)) == ([], []), "on_stop = cancel takes it away"


def test_on_stop_leave_leaves_it(tmp_path: Path) -> None:
    run = run_of(tmp_path, options=("exit.on_stop=leave",))
    (stop,) = accepted(run)
    assert run.clean
    gone = orders(run)[-1]
    assert (gone["ev"], gone["client_order_id"]) == ("expire", stop["client_order_id"])
    assert gone["reason"] == "EXCHANGE_CANCELED", "by the exchange, as it ends"


@pytest.mark.fault("F66", "F72")
@pytest.mark.parametrize("protect", ["stop", "trailing"])
def test_once_triggered_it_is_the_exit_and_the_gate_is_closed(tmp_path: Path, protect: str) -> None:
    run = run_of(tmp_path, PRINT, FALL, protect=protect, options=("strategy.hard_stop=0.002",))
    (stop,) = accepted(run)
    assert [line["ev"] for line in orders(run)] == ["accept", "trigger", "fill"]
    assert fills(run)[0]["client_order_id"] == stop["client_order_id"]
    assert at_s(run, "gate", state="closed") < 21
    assert at_s(run, "regime", regime="QUOTE") < 22
    assert (run.verdict.by("h"), run.verdict.most_live) == (1, 1)


def test_an_exit_takes_its_place_by_one_cancel_replace(tmp_path: Path) -> None:
    run = run_of(tmp_path, HIGH, BACK)
    stop, maker = accepted(run)[:2]
    assert (stop["type"], maker["type"]) == (STOP, MAKER)
    assert at_s(run, "armed", reason="t") <= maker["at_s"]
    (gone,) = [line for line in orders(run) if line["ev"] == "cancel" and line["type"] == STOP]
    assert gone["seq"] + 1 == maker["seq"]
    assert run.verdict.most_live == 1


class Says(Fault):
    """A word of the operator's at a market second."""

    def __init__(self, word: str, when_s: float) -> None:
        super().__init__()
        self.word, self.when_s = word, when_s

    async def run(self) -> None:
        await trio.sleep_until(self.when_s + 1)
        assert self.bot.commander.obey(Order(word=self.word, by="the test")).done


def test_it_comes_back_by_one_cancel_replace_when_the_exit_is_disarmed(tmp_path: Path) -> None:
    run = run_of(tmp_path, HIGH, BACK, fault=Says("disarm", 17))
    stop, maker, again = accepted(run)
    assert [order["type"] for order in (stop, maker, again)] == [STOP, MAKER, STOP]
    assert again["seq"] == maker["seq"] + 2, "the cancel and the accept are one request's"
    assert again["price"] == stop["price"]
    assert len({order["client_order_id"] for order in (stop, maker, again)}) == 3


def test_a_halt_takes_it_away_like_any_order_of_ours(tmp_path: Path) -> None:
    run = run_of(tmp_path, FALL, fault=Says("halt", 5))
    assert [line["ev"] for line in orders(run)] == ["accept", "cancel"]


def test_nothing_protects_while_the_quote_is_held(tmp_path: Path) -> None:
    assert accepted(run_of(tmp_path, options=("venue.fund=ETH=0,USDT=0,FDUSD=1000",))) == []


class Dies(Fault):
    """The account link is dead for some market seconds: the bot sees nothing and cannot send, as if not there."""

    def __init__(self, from_s: float, to_s: float) -> None:
        super().__init__()
        self.from_s, self.to_s = from_s, to_s

    async def run(self) -> None:
        await trio.sleep_until(self.from_s + 1)
        while trio.current_time() < self.to_s + 1:
            line = self.lines.get("account")
            if isinstance(line, Tampered):
                line.cut()
                self.count += 1
            await trio.sleep(0.05)


@pytest.mark.fault("F31", "F50", "F87")
def test_what_triggered_while_the_link_was_down_is_a_hard_stop_all_the_same(tmp_path: Path) -> None:
    beats = [attrs.evolve(FALL, at_s=20 + second / 2, traded="") for second in range(1, 60)]
    run = run_of(tmp_path, PRINT, FALL, *beats, fault=Dies(18, 25), ends_s=60)
    assert [line["ev"] for line in orders(run)] == ["accept", "trigger", "fill"]
    assert fills(run)[0]["at_s"] < 21, "nobody of ours was there"
    told = [fact["kind"] for fact in run.facts if fact.get("state") == "closed" or fact.get("regime") == "QUOTE"]
    assert told[:2] == ["gate", "regime"], "both are caught up with at once"
    assert len(run.epochs_ended()) > 1


class LateEvents(Fault):
    """What the exchange pushes comes late, so that the bot learns of a trigger by a refusal."""

    def told(self, line: Tampered, frame: Frame) -> list[tuple[float, Frame]]:
        return [(1.0 if "event" in frame else 0.0, frame)]


@pytest.mark.fault("F71")
def test_a_stop_whose_price_is_passed_already_starts_the_exit_at_once(tmp_path: Path) -> None:
    """The book is above the hard stop: the strategy has no reason. The last trade is below it: the stop is late."""
    late = attrs.evolve(STILL, at_s=0.5, traded="")
    run = run_of(tmp_path, first=late, traded_before="3400.00")
    refused = [line for line in orders(run) if line["ev"] == "reject"]
    assert [line["type"] for line in refused] == [STOP]
    assert "would trigger immediately" in refused[0]["reason"]
    (exit_,) = accepted(run, MAKER)
    assert exit_["client_order_id"].split("-")[3].endswith("h")
    assert exit_["at_s"] < refused[0]["at_s"] + 1


@pytest.mark.fault("F73", "F87")
def test_a_part_filled_stop_is_chased_to_its_end(tmp_path: Path) -> None:
    thin = attrs.evolve(PRINT, bid_qty="0.3000")
    under = Scene(at_s=20.3, bid="3380.36", ask="3380.37")
    run = run_of(tmp_path, thin, under, options=("exit.max_slippage_bps=10", "exit.escalate_bps=30"))
    assert sum(Decimal(fill["last_qty"]) for fill in fills(run)) == 1
    kinds = [order["type"] for order in accepted(run)]
    assert (kinds[0], kinds[-1]) == (STOP, "LIMIT"), "what the stop could not sell within its limit, the exit takes"
    assert run.verdict.most_live == 1


def test_events_late_change_nothing(tmp_path: Path) -> None:
    run = run_of(tmp_path, HIGH, BACK, PRINT, FALL, fault=LateEvents(), options=("exit.escalate_bps=30",))
    assert (run.clean, run.verdict.most_live) == (True, 1)
    assert sum(Decimal(fill["last_qty"]) for fill in fills(run)) == 1


def test_the_next_process_finds_it_and_goes_on_with_it(tmp_path: Path) -> None:
    options = ("exit.on_stop=leave", "strategy.hard_stop=0.002")
    path = market(tmp_path / "market.txt", (STILL, PRINT, FALL), 40)
    run = played(Says("stop", 10), path, "exit.protect=stop", *options, takes="h", lives=2)
    (stop,) = accepted(run)
    assert [line["ev"] for line in orders(run)] == ["accept", "trigger", "fill"]
    found = [fact["orders"] for fact in run.facts if fact["kind"] == "rebuilt" and "orders" in fact]
    assert found == [[], [stop["client_order_id"]]]
    assert at_s(run, "gate", state="closed") > 20, "triggered, it is the next process's hard stop"
    assert [fact for fact in run.facts if fact["kind"] == "armed" and fact["ts"] < fills(run)[0]["ts"]] == []
