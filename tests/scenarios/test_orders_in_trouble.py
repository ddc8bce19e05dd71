"""Orders that are refused, lost, doubted or overtaken: never two at a time, never one too many, and sold in the end."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import attrs
import pytest
import trio

from tests.scenarios.sandbox import Fault, Frame, Run, Tampered, played
from tests.scenarios.stage import Scene, accepted, at_s, fills, market, orders
from tests.sim.served import record, top, trade
from tetrio.operator import Order

STILL = Scene(at_s=0, bid="3412.36", ask="3412.39", traded="3412.36")
HIGH = Scene(at_s=5, bid="3422.36", ask="3422.39")
BACK = Scene(at_s=8, bid="3417.36", ask="3417.39")  # half of the gain is given back: a take-profit is armed
ARMED_S = 8


def beats(first_s: int, last_s: int) -> list[Scene]:
    """The book goes a little up and down, each second: an exit that rests is re-quoted each time."""
    moved = attrs.evolve(BACK, bid="3417.34", ask="3417.37")
    return [attrs.evolve(moved if second % 2 else BACK, at_s=second) for second in range(first_s, last_s)]


def run_of(tmp_path: Path, *options: str, faults: tuple[str, ...] = (), fault: Fault | None = None,
           scenes: list[Scene] | None = None, ends_s: float = 120) -> Run:  # fmt: skip
    """A take-profit that is armed at 8 s and, with the scenes of default, sold at 100 s."""
    lifted = Scene(at_s=100, bid="3418.40", ask="3418.43")
    middle = [*beats(9, 100), lifted] if scenes is None else scenes
    path = market(tmp_path / "market.txt", [STILL, HIGH, BACK, *middle], ends_s)
    return played(fault or Fault(), path, *options, faults=faults)


def sold(run: Run) -> Decimal:
    return sum((Decimal(fill["last_qty"]) for fill in fills(run) if fill["side"] == "SELL"), Decimal(0))


@pytest.mark.fault("F40", "F43", "F44")
@pytest.mark.parametrize("executed", ["executed", "not"])
@pytest.mark.parametrize("error", ["-1000", "-1006", "-1007", "-1008", "503-unknown"])
@pytest.mark.parametrize("method", ["order.place", "order.cancelReplace"])
def test_an_outcome_that_nobody_knows_is_asked_for(tmp_path: Path, method: str, error: str, executed: str) -> None:
    run = run_of(tmp_path, faults=(f"fail:{method}:{error}:{executed}",))
    assert (run.clean, run.verdict.most_live, sold(run)) == (True, 1, Decimal(1))
    if method == "order.place" and executed == "not":
        assert accepted(run)[0]["at_s"] >= ARMED_S + 33, "it might still come: the engine may be half a minute late"


@pytest.mark.fault("F43", "F45")
def test_a_replica_that_is_behind_is_no_proof_of_absence(tmp_path: Path) -> None:
    run = run_of(tmp_path, faults=("replica-lag:8s@5s", "lose-reply:order.place", "lose-event:*:3@8s"))
    assert (run.clean, run.verdict.most_live, sold(run)) == (True, 1, Decimal(1))
    assert len({order["at_s"] // 30 for order in accepted(run)}) >= 3, "re-quoted on"


@pytest.mark.fault("F36", "F42")
def test_an_order_that_was_too_late_for_the_engine_was_not_placed(tmp_path: Path) -> None:
    run = run_of(tmp_path, faults=("fail:order.place:-1021",))
    assert "the clock is measured anew" in run.epochs_ended()[0]
    assert (run.verdict.most_live, sold(run)) == (1, Decimal(1))
    assert accepted(run)[0]["at_s"] < ARMED_S + 5


@pytest.mark.fault("F53", "F56")
def test_a_replacement_of_what_was_filled_meanwhile_places_nothing(tmp_path: Path) -> None:
    lifted = Scene(at_s=12, bid="3417.50", ask="3417.53")
    lower = [attrs.evolve(BACK, at_s=second) for second in range(13, 30)]
    run = run_of(tmp_path, faults=("lose-event:*:3@13s",), scenes=[lifted, *lower], ends_s=40)
    assert [line["ev"] for line in orders(run)][:2] == ["accept", "fill"]
    assert (run.verdict.most_live, sold(run)) == (1, Decimal(1))
    assert at_s(run, "regime", regime="QUOTE") < 30


@pytest.mark.fault("F54", "F59")
def test_an_exit_whose_replacement_was_refused_is_placed_again_within_a_second(tmp_path: Path) -> None:
    """The bot sees the book a second late: lower for a moment, where a post-only order would take by now."""
    lower = Scene(at_s=12, bid="3417.30", ask="3417.33")
    back = [attrs.evolve(BACK, at_s=12.5), *(attrs.evolve(BACK, at_s=second) for second in range(13, 30))]
    run = run_of(tmp_path, faults=("delay:stream:1s:out",), scenes=[lower, *back], ends_s=40)
    lines = [line for line in orders(run) if line["at_s"] > 12]
    assert [line["ev"] for line in lines[:3]] == ["cancel", "reject", "accept"]
    assert lines[2]["at_s"] - lines[1]["at_s"] <= 1
    assert run.verdict.most_live == 1


@pytest.mark.fault("F58", "F78")
def test_what_is_locked_from_outside_is_left_out_once_it_is_known(tmp_path: Path) -> None:
    run = run_of(tmp_path, faults=("external-lock:ETH:0.4@6s", "lose-event:*:2@5s"))
    (refused,) = [line for line in orders(run) if line["ev"] == "reject"]
    first = accepted(run)[0]
    assert "insufficient balance" in refused["reason"]
    assert (Decimal(first["qty"]), first["at_s"] - refused["at_s"] <= 1.1) == (Decimal("0.6"), True)
    assert sold(run) == Decimal("0.6")


@pytest.mark.fault("F58")
def test_the_same_refusal_again_and_again_is_tried_once_a_minute(tmp_path: Path) -> None:
    fault = Counting("order.place")
    run = run_of(tmp_path, faults=("fail:order.place:-2010:not:all",), fault=fault)
    assert len(fault.sent_s) == 4
    assert fault.sent_s[3] - fault.sent_s[2] >= 60
    told = [fact for fact in run.facts if fact["kind"] == "refused" and fact["what"] == "breaker"]
    assert [fact["code"] for fact in told] == [-2010, -2010]


class Counting(Fault):
    """When requests of a method were sent: run seconds."""

    def __init__(self, *methods: str) -> None:
        super().__init__()
        self.counted, self.sent_s = methods, list[float]()

    def asked(self, line: Tampered, request: Frame) -> None:
        super().asked(line, request)
        if request["method"] in self.counted:
            self.sent_s.append(trio.current_time())


@pytest.mark.fault("F39")
def test_a_chase_leaves_a_fifth_of_the_order_count(tmp_path: Path) -> None:
    books = [("3412.36", "3412.39"), ("3422.36", "3422.39"), ("3417.36", "3417.39")]
    lines = [top(second, bid, "1000", ask, "1000") for second, (bid, ask) in enumerate(books)]
    for ticks in range(600):  # falls a tick every 20 ms, so that each book is a re-quote
        bid, ask = f"{3417.36 - ticks / 100:.2f}", f"{3417.39 - ticks / 100:.2f}"
        lines.append(top(3 + ticks / 50, bid, "1000", ask, "1000"))
    path = record(tmp_path / "market.txt", [trade(0, "3412.36", "0.0001"), *lines, top(40, bid, "1000", ask, "1000")])
    run = played(Fault(), path, "exit.requote_ms=0")
    times = [order["at_s"] for order in accepted(run)]
    assert max(sum(1 for each in times if each // 10 == window) for window in range(4)) == 80
    assert [line for line in orders(run) if line["ev"] == "reject"] == []


@pytest.mark.fault("F62", "F92")
def test_a_largest_lot_that_changed_is_learnt_by_the_first_refusal(tmp_path: Path) -> None:
    later = [attrs.evolve(scene, at_s=scene.at_s + 50) for scene in (HIGH, BACK, *beats(9, 60))]
    path = market(tmp_path / "market.txt", [STILL, *later], 120)
    run = played(Fault(), path, faults=("change-filters:max_qty_lots=4000@40s",))
    refused = [line for line in orders(run) if line["ev"] == "reject"]
    assert len(refused) == 1
    assert "LOT_SIZE" in refused[0]["reason"]
    assert "the rules of ETHFDUSD have changed: max_qty_lots" in run.epochs_ended()[0]
    first = accepted(run)[0]
    assert (Decimal(first["qty"]), first["at_s"] < refused[0]["at_s"] + 3) == (Decimal("0.4"), True)


@pytest.mark.fault("F91")
@pytest.mark.parametrize("status", ["halt", "break", "cancel-only"])
def test_while_the_symbol_does_not_trade_nothing_is_sent_and_its_status_is_asked_for(
    tmp_path: Path, status: str
) -> None:
    fault = Counting("order.place", "order.cancelReplace")
    run = run_of(tmp_path, faults=(f"{status}:60s@6s",), fault=fault)
    closed = [second for second in fault.sent_s if second < 66]
    assert len(closed) <= 2, "one that told, and one probe at most"
    assert accepted(run)[0]["at_s"] > 65
    assert next(fact["what"] for fact in run.facts if fact["kind"] == "refused") == "market closed"
    assert (run.verdict.most_live, sold(run)) == (1, Decimal(1))


class Halts(Fault):
    """The operator halts at a run second."""

    async def run(self) -> None:
        await trio.sleep_until(21)
        assert self.bot.commander.obey(Order(word="halt", by="the test")).done


@pytest.mark.fault("F91")
@pytest.mark.parametrize("status", ["cancel-only", "halt", "break"])
def test_a_cancel_is_sent_whatever_the_status(tmp_path: Path, status: str) -> None:
    run = run_of(tmp_path, faults=(f"{status}@15s",), fault=Halts(), ends_s=40)
    last = orders(run)[-1]
    assert (last["ev"], 20 <= last["at_s"] < 21, run.clean) == ("cancel", True, True)


@pytest.mark.fault("F86")
@pytest.mark.parametrize(("lasts", "stops"), [(1, False), (3, True)])
def test_one_outlier_sells_nothing_where_stops_are_confirmed(tmp_path: Path, lasts: int, stops: bool) -> None:
    low = [Scene(at_s=5 + second, bid="3380.36", ask="3380.39") for second in range(lasts)]
    calm = [attrs.evolve(STILL, at_s=5.5 + lasts - 1 + second, traded="") for second in range(10)]
    path = market(tmp_path / "market.txt", [STILL, *low, *calm], 30)
    run = played(Fault(), path, "strategy.stop_confirm=3")
    assert bool(accepted(run)) is stops


@pytest.mark.fault("F39")
def test_a_hard_stop_may_use_the_fifth_that_a_chase_leaves(tmp_path: Path) -> None:
    lines = [trade(0, "3412.36", "0.0001"), top(0, "3412.36", "1000", "3412.39", "1000")]
    for ticks in range(1500):
        bid, ask = f"{3409.36 - ticks / 100:.2f}", f"{3409.39 - ticks / 100:.2f}"
        lines.append(top(3 + ticks / 50, bid, "1000", ask, "1000"))
    path = record(tmp_path / "market.txt", [*lines, top(40, bid, "1000", ask, "1000")])
    times = [order["at_s"] for order in accepted(played(Fault(), path, "exit.requote_ms=0"))]
    assert max(sum(1 for each in times if each // 10 == window) for window in range(4)) == 100


@pytest.mark.fault("F58")
def test_what_was_refused_to_a_take_profit_holds_up_no_hard_stop(tmp_path: Path) -> None:
    deep = [Scene(at_s=20 + second, bid="3400.36", ask="3400.39") for second in range(20)]
    run = run_of(tmp_path, faults=("fail:order.place:-2010:not:3",), scenes=deep, ends_s=40)
    breaker = at_s(run, "refused", what="breaker")
    (exit_,) = {order["client_order_id"]: order for order in accepted(run)}.values()
    assert exit_["client_order_id"].split("-")[3].endswith("h")
    assert breaker < at_s(run, "armed", reason="h") <= exit_["at_s"] < at_s(run, "armed", reason="h") + 2


@pytest.mark.fault("F36", "F98")
def test_nothing_is_sent_by_a_clock_that_was_not_measured_for_a_quarter_of_an_hour(tmp_path: Path) -> None:
    beat = [attrs.evolve(STILL, at_s=second, traded="") for second in range(10, 1500, 10)]
    armed = [attrs.evolve(HIGH, at_s=1500), attrs.evolve(BACK, at_s=1510)]
    path = market(tmp_path / "market.txt", [STILL, *beat, *armed], 1600)
    run = played(Fault(), path, faults=("kill:rest:3000s@5s",))
    assert at_s(run, "armed", reason="t") < 1511
    assert accepted(run) == []
    assert at_s(run, "link", name="rest", state="lost") < 700


class ClosedToCancels(Fault):
    """The first cancel is told that the market is closed; the operator halts at a run second."""

    async def run(self) -> None:
        await trio.sleep_until(21)
        assert self.bot.commander.obey(Order(word="halt", by="the test")).done

    def told(self, line: Tampered, frame: Frame) -> list[tuple[float, Frame]]:
        if "event" in frame and frame["event"].get("X") == "CANCELED":
            return []
        if self.method(line, frame) == "order.cancel" and not self.count:
            self.count += 1
            frame.pop("result", None)
            frame |= {"status": 400, "error": {"code": -1013, "msg": "Market is closed."}}
        return [(0, frame)]


@pytest.mark.fault("F91")
def test_a_cancel_that_is_refused_for_a_closed_market_is_tried_again_half_a_minute_later(tmp_path: Path) -> None:
    counting = ClosedToCancels()
    steady = [attrs.evolve(BACK, at_s=second) for second in range(9, 100)]
    run = run_of(tmp_path, fault=counting, scenes=steady)
    assert (counting.count, run.epochs_ended()) == (1, [])
    assert at_s(run, "refused", what="market closed") < 21
    ended = [fact for fact in run.facts if fact["kind"] == "order" and fact["state"] == "canceled"]
    assert len(ended) == 1
    assert at_s(run, "order", state="canceled") > 49


@pytest.mark.fault("F92")
def test_rules_are_looked_at_every_half_hour(tmp_path: Path) -> None:
    beat = [attrs.evolve(STILL, at_s=second, traded="") for second in range(10, 2000, 10)]
    path = market(tmp_path / "market.txt", [STILL, *beat], 2010)
    run = played(Fault(), path, faults=("change-filters:min_notional=10@40s",))
    (why,) = run.epochs_ended()
    assert "the rules of ETHFDUSD have changed: min_notional" in why
    assert 1790 < at_s(run, "epoch", state="ended") < 1810


class CutBehind(Fault):
    """The account link is cut as the first order has been sent, before anything is answered."""

    def asked(self, line: Tampered, request: Frame) -> None:
        super().asked(line, request)
        if request["method"] == "order.place" and not self.count:
            self.count += 1
            line.cut()


@pytest.mark.fault("F43", "F68")
def test_an_order_whose_link_died_behind_it_is_found_and_not_sent_again(tmp_path: Path) -> None:
    run = run_of(tmp_path, fault=CutBehind())
    assert len(run.epochs_ended()) == 1
    first = accepted(run)[0]["client_order_id"]
    told = [fact["state"] for fact in run.facts if fact["kind"] == "order" and fact["client_order_id"] == first]
    assert told[:3] == ["sent", "unknown", "open"]
    assert (run.verdict.most_live, sold(run)) == (1, Decimal(1))


@pytest.mark.fault("F44")
def test_silence_over_a_link_that_lives_is_an_engine_that_is_late(tmp_path: Path) -> None:
    run = run_of(tmp_path, faults=("lose-request:order.place",))
    assert (run.epochs_ended(), accepted(run)[0]["at_s"] >= ARMED_S + 33) == ([], True)
    assert (run.verdict.most_live, sold(run)) == (1, Decimal(1))


@pytest.mark.fault("F1", "F43")
def test_silence_over_a_link_that_is_dead_is_no_engine_that_is_late(tmp_path: Path) -> None:
    run = run_of(tmp_path, faults=(f"half-open:ws_api:9s@{ARMED_S - 0.5}s",))
    assert "no pong" in run.epochs_ended()[0]
    assert (run.clean, run.verdict.most_live, sold(run)) == (True, 1, Decimal(1))
    assert ARMED_S + 13 <= accepted(run)[0]["at_s"] < ARMED_S + 20, "recvWindow, and a replica that is behind"
