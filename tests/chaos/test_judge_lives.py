"""The referee on how a process comes back, and how it ends.

A record that breaks an invariant is named by it, one that nearly breaks it by nothing.
"""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from tests.chaos.record import NAME, Record

# -- L3: nothing stays in doubt ---------------------------------------------------------------------------------------


def test_what_is_in_doubt_is_told_until_it_has_been_asked_for() -> None:
    record = Record()
    record.placed(NAME.format(1))
    assert record.referee.doubt(record.at) == NAME.format(1)
    record.answered("order.status", origClientOrderId=NAME.format(1))
    assert record.referee.doubt(record.at) is None


def test_a_dead_process_s_doubt_is_nobody_s() -> None:
    record = Record()
    record.placed(NAME.format(1))
    record.referee.life(record.at, 1, "killed")
    record.referee.life(record.at, 2, "started")
    assert record.referee.doubt(record.at) is None


# -- L5, L6: how a process ends ---------------------------------------------------------------------------------------


def _stopped(after_s: float, code: int = 0, *, doubtful: bool = False, left: bool = False, **terms: Any) -> Record:
    record = Record(**terms)
    if left:
        record.rested(1, qty="0.1")
    if doubtful:
        record.placed(NAME.format(2))
    record.referee.life(record.at, 1, "stopping")
    record.at += after_s
    record.referee.life(record.at, 1, "ended", code)
    return record


def test_a_stop_that_takes_too_long_is_seen() -> None:
    assert _stopped(5).named == []
    assert _stopped(6).named == ["L5"]
    assert _stopped(15, doubtful=True).named == []
    assert _stopped(16, doubtful=True).named == ["L5"]


def test_an_order_that_never_came_is_a_doubt_too() -> None:
    for after_s, named in ((14.0, []), (16.0, ["L5"])):
        record = Record()
        record.referee.life(record.at, 1, "stopping")
        record.sent("order.status", origClientOrderId=NAME.format(1))
        record.at += after_s
        record.referee.life(record.at, 1, "ended", 0)
        assert record.named == named


def test_an_order_that_a_stop_leaves_and_denies_is_seen() -> None:
    assert _stopped(1, left=True).named == ["L5"]
    assert _stopped(1, left=True, on_stop="leave").named == []
    assert _stopped(1, code=1, left=True).named == []


def test_a_process_that_ends_by_itself_is_seen() -> None:
    record = Record()
    record.referee.life(record.at, 1, "ended", 1)
    assert record.named == ["L6"]


def test_one_that_was_killed_is_not() -> None:
    record = Record()
    record.referee.life(record.at, 1, "killed")
    assert record.named == []


def test_what_only_the_world_sees_is_written_down_with_its_time() -> None:
    record = Record()
    record.referee.breach("L1", 12.3456789, "not back")
    assert [attrs.asdict(each) for each in record.referee.violations] == [
        {"invariant": "L1", "at_s": 12.345679, "what": "not back"}
    ]


def test_a_stop_that_was_cut_short_does_not_excuse_the_next_process_s_end() -> None:
    record = Record()
    record.referee.life(record.at, 1, "stopping")
    record.referee.life(record.at, 1, "killed")
    record.reborn()
    assert record.named == []
    record.referee.life(record.at, 2, "ended", 0)
    assert record.named == ["L6"]


def test_somebody_else_s_order_may_stay() -> None:
    record = Record()
    record.accepted("web_1", qty="0.1")
    record.referee.life(record.at, 1, "stopping")
    record.referee.life(record.at, 1, "ended", 0)
    assert record.named == []


# -- L6: how a process ends -------------------------------------------------------------------------------------------


def test_a_process_that_never_reached_the_exchange_may_give_up_waiting() -> None:
    record = Record(ready=False)
    record.referee.life(record.at, 1, "ended", 5)
    assert record.named == []


def test_a_process_that_was_ready_may_not() -> None:
    record = Record()
    record.referee.life(record.at, 1, "ended", 5)
    assert record.named == ["L6"]


# -- L1, L2, L3: what is due after healing ----------------------------------------------------------------------------


@pytest.mark.parametrize(("invariant", "bound_s"), [("L1", 30.0), ("L2", 35.0), ("L3", 45.0)])
@pytest.mark.parametrize("slack_s", [0.0, 60.0])
def test_what_has_not_come_about_in_time_is_seen(invariant: str, bound_s: float, slack_s: float) -> None:
    record = Record()
    record.at = 100.0
    record.referee.healed(record.at, slack_s)
    record.at += bound_s + slack_s - 0.1
    assert not record.referee.decided(record.at, invariant, so=False, sight="nothing rests")
    assert record.named == []
    record.at += 0.1
    assert record.referee.decided(record.at, invariant, so=False, sight="nothing rests")
    assert record.named == [invariant]
    assert "nothing rests" in record.referee.violations[0].what


@pytest.mark.parametrize("invariant", ["L1", "L2", "L3"])
def test_what_is_so_is_decided_however_late(invariant: str) -> None:
    record = Record()
    record.referee.healed(record.at)
    assert record.referee.decided(record.at + 1000, invariant, so=True)
    assert record.named == []
