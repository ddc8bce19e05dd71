"""The referee on requests follow from changes, and time goes on.

A record that breaks an invariant is named by it, one that nearly breaks it by nothing.
"""

from __future__ import annotations

import functools

import trio

from tests.chaos.record import Record
from tetrio.chaos.trace import ZENO, Trace
from tetrio.net import virtual

# -- L7: requests follow from changes ---------------------------------------------------------------------------------


def _asking(every_s: float, *, for_s: float = 30.0, changes: float = 0.0, method: str = "account.status") -> list[str]:
    """What is found where something is asked for over and over, and the market changes so often a second."""
    record = Record()
    begun_s = record.at
    while record.at < begun_s + for_s:
        before, record.at = record.at, record.at + every_s
        for _ in range(int(record.at * changes) - int(before * changes)):
            record.referee.market(record.at, [])
        record.answered(method)
    return record.named


def test_asking_over_and_over_for_what_has_not_changed_is_seen() -> None:
    assert "L7" in _asking(0.03)
    assert _asking(0.2) == []


def test_what_changes_may_be_asked_for_more_often() -> None:
    assert _asking(0.05, changes=10) == []
    assert "L7" in _asking(0.05, changes=1)


def test_placing_and_cancelling_in_a_loop_is_no_change() -> None:
    record = Record()
    record.at += 20  # its start is long ago
    for number in range(20):
        record.at += 0.25
        name = record.rested(number, qty="0.1")
        record.answered("order.cancel", origClientOrderId=name)
        record.line("cancel", client_order_id=name)
    assert record.named == ["L7"]


def test_a_chase_after_a_market_that_moves_is_fine() -> None:
    record = Record()
    for number in range(200):
        record.at += 0.25
        record.referee.market(record.at, [])
        name = record.rested(number, qty="0.1")
        record.line("cancel", client_order_id=name)
    assert record.named == []


def test_a_livelock_is_seen() -> None:
    record = Record()
    record.referee.stuck(12.5, "tetrio.live.executor.Executor.run")
    assert record.named == ["L7"]
    assert "executor" in record.referee.violations[0].what


def test_tasks_that_hand_the_turn_to_each_other_for_ever_are_a_livelock_that_ends_the_run() -> None:
    """Which the trace tells the referee of."""
    trace = Trace()

    async def turn() -> None:
        while True:
            await trio.lowlevel.checkpoint()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(turn)
            nursery.start_soon(turn)

    virtual.run(functools.partial(trace.watch, main), 1, [trace])
    assert trace.stuck is not None
    assert trace.stuck.endswith("turn")


def test_tasks_between_whose_steps_time_goes_on_are_none() -> None:
    trace = Trace()

    async def main() -> None:
        for _ in range(ZENO + 1):
            await trio.sleep(0.001)

    virtual.run(main, 1, [trace])
    assert trace.stuck is None
