"""Faults on the bot's own lines, in virtual time; the exchange's audit is the referee of each run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from tests.scenarios.sandbox import Fault, Frame, Tampered, cut_market, played


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cut_market(tmp_path_factory.mktemp("market"))


# -- lines that are cut ------------------------------------------------------------------------------------------------


class Cuts(Fault):
    """Either line is cut now and then."""

    async def run(self) -> None:
        while True:
            await trio.sleep(self.rng.expovariate(1 / 5))
            line = self.lines.get(self.rng.choice(["account", "market"]))
            if isinstance(line, Tampered):
                line.cut()
            elif isinstance(line, trio.SocketStream):
                line.socket.reset()  # type: ignore[attr-defined]  # a simulated socket's
            self.count += line is not None


@pytest.mark.fault("F9", "F50")
@pytest.mark.parametrize("seed", [2, 5])  # in which something is sold between the cuts
def test_lines_cut_at_any_moment_leave_nothing_behind(seed: int, market: Path) -> None:
    fault = Cuts(seed)
    run = played(fault, market, seed=seed)
    assert fault.count > 3
    assert run.epochs_ended()
    assert (run.clean, run.verdict.left_open, run.verdict.most_live) == (True, [], 1)


class CutAfter(Fault):
    """The account link is cut after each of the first `most` requests of `method`, on its way there or back."""

    def __init__(self, method: str, most: int, *, stop: bool = False) -> None:
        super().__init__()
        self.cut_method, self.most, self.then_stop = method, most, stop

    def asked(self, line: Tampered, request: Frame) -> None:
        super().asked(line, request)
        if request["method"] == self.cut_method and self.count < self.most:
            self.count += 1
            line.cut()
            if self.then_stop:
                self.stop()


def test_jumpstart_places_no_order_beside_one_whose_outcome_is_not_known(market: Path) -> None:
    fault = CutAfter("order.cancel", 3)
    run = played(fault, market, "account.reconcile=jumpstart", "venue.fund=ETH=1,USDT=900")
    assert fault.count == 3
    assert (run.clean, run.verdict.left_open, run.verdict.most_live) == (True, [], 1)


@pytest.mark.fault("F100", "F23")
def test_a_stop_as_the_link_dies_with_an_order_under_way_leaves_nothing_behind(market: Path) -> None:
    fault = CutAfter("order.place", 1, stop=True)
    run = played(fault, market)
    assert fault.count == 1
    assert (run.clean, run.verdict.left_open) == (True, [])
    assert run.stop_s <= 15


# -- replies -----------------------------------------------------------------------------------------------------------


class Swallow(Fault):
    """The first `most` replies to `method` never arrive."""

    def __init__(self, method: str, most: int, *, stop_after_s: float | None = None) -> None:
        super().__init__()
        self.lost_method, self.most, self.stop_after_s = method, most, stop_after_s

    def asked(self, line: Tampered, request: Frame) -> None:
        super().asked(line, request)
        if request["method"] == "order.place" and self.stop_after_s is not None and self.stopped_at is None:
            self.stop()

    def told(self, line: Tampered, frame: Frame) -> list[tuple[float, Frame]]:
        if self.method(line, frame) == self.lost_method and self.count < self.most:
            self.count += 1
            return []
        return [(0, frame)]


@pytest.mark.fault("F43")
@pytest.mark.parametrize("method", ["order.place", "order.cancelReplace"])
def test_a_lost_reply_is_asked_for_before_anything_else_is_sent(method: str, market: Path) -> None:
    fault = Swallow(method, 2)
    run = played(fault, market)
    assert fault.count >= 1
    assert (run.clean, run.verdict.left_open, run.verdict.most_live) == (True, [], 1)


def test_a_stop_whose_cancels_are_not_answered_still_ends_in_order(market: Path) -> None:
    fault = Swallow("order.cancel", 3, stop_after_s=0)
    run = played(fault, market)
    assert fault.count >= 1
    assert (run.clean, run.verdict.left_open) == (True, [])
    assert run.stop_s <= 5


class Rewrite(Fault):
    """The first reply to `method` (or event, "") that `change` takes is changed."""

    def __init__(self, method: str, change: Callable[[Frame], bool]) -> None:
        super().__init__()
        self.changed_method, self.change = method, change

    def told(self, line: Tampered, frame: Frame) -> list[tuple[float, Frame]]:
        if not self.count and self.method(line, frame) == self.changed_method and self.change(frame):
            self.count += 1
        return [(0, frame)]


def logged_off(frame: Frame) -> bool:
    frame.pop("result", None)
    frame |= {"status": 401, "error": {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}}
    return True


def unheard_of(frame: Frame) -> bool:
    event = frame.get("event", {})
    if event.get("e") != "executionReport":
        return False
    event["X"] = "NEVER_HEARD_OF"
    return True


def not_subscribed(frame: Frame) -> bool:
    frame.pop("result", None)
    msg = "User Data Stream subscription already active."
    frame |= {"status": 400, "error": {"code": -2035, "msg": msg}}
    return True


@pytest.mark.fault("F30", "F34", "F109", "F113")
@pytest.mark.parametrize(
    ("method", "change"),
    [("order.place", logged_off), ("", unheard_of), ("userDataStream.subscribe", not_subscribed)],
    ids=["session lost", "status unknown", "subscription refused"],
)
def test_what_one_epoch_cannot_make_sense_of_the_next_one_asks_for(
    method: str, change: Callable[[Frame], bool], market: Path
) -> None:
    fault = Rewrite(method, change)
    run = played(fault, market)
    assert fault.count == 1
    assert len(run.epochs_ended()) == 1  # the cause is named once, whatever it tore down
    assert (run.clean, run.verdict.left_open, run.verdict.most_live) == (True, [], 1)


# -- events ------------------------------------------------------------------------------------------------------------


class Repeats(Fault):
    """Account events come late, twice, and out of order."""

    def told(self, line: Tampered, frame: Frame) -> list[tuple[float, Frame]]:
        if "event" not in frame:
            return [(0, frame)]
        copies = 1 + (self.rng.random() < 0.3)
        self.count += copies
        return [(self.rng.choice([0, self.rng.random() * 2]), frame) for _ in range(copies)]


@pytest.mark.fault("F46", "F47", "F48", "F49", "F79")
def test_events_late_twice_and_out_of_order_change_no_invariant(market: Path) -> None:
    fault = Repeats(3)
    run = played(fault, market)
    assert fault.count > 10
    assert run.epochs_ended() == []
    assert (run.clean, run.verdict.left_open, run.verdict.most_live) == (True, [], 1)


@pytest.mark.fault("F100", "F69")
@pytest.mark.parametrize("stop_s", [0.5, 12, 19, 23, 27])
def test_a_stop_at_any_moment_ends_in_order_within_5_s(stop_s: float, market: Path) -> None:
    class Stop(Fault):
        async def run(self) -> None:
            await trio.sleep(stop_s)
            self.stop()

    run = played(Stop(), market)
    assert (run.clean, run.verdict.left_open) == (True, [])
    assert run.stop_s <= 5
    assert run.epochs_ended() == []
