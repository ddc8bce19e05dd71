"""The referee on connections, refusals, bans.

A record that breaks an invariant is named by it, one that nearly breaks it by nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.chaos.record import NAME, Record
from tetrio.chaos.judge.case import IN_FLIGHT_S

# -- S15, S16 ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stopping", [False, True])
def test_too_many_connections_are_seen(stopping: bool) -> None:
    record = Record()
    if stopping:
        record.referee.life(record.at, 1, "stopping")
    most = 50 if stopping else 30
    for number in range(most):
        record.at += 4
        record.connect(100 + number, "stream")
    assert record.named == []
    record.connect(200, "stream")
    assert record.named == ["S15"]


def test_connections_to_another_service_or_of_another_process_count_apart() -> None:
    record = Record()
    for number in range(30):
        record.connect(100 + number, "stream")
    record.connect(200)
    record.referee.life(record.at, 2, "started")
    record.connect(201, "stream")
    assert record.named == []


def _refused(times: int, apart_s: float) -> Record:
    record = Record()
    for number in range(times):
        record.at += apart_s
        asked = record.placed(NAME.format(number))
        record.replied(asked, 400, code=-2010, msg="Account has insufficient balance for requested action.")
    return record


def test_the_same_refusal_again_and_again_is_seen() -> None:
    assert _refused(4, 1).named == []
    assert _refused(5, 1).named == ["S15"]
    assert _refused(20, 60).named == []


def test_post_only_refusals_are_the_market_s() -> None:
    record = Record()
    for number in range(20):
        record.replied(
            record.placed(NAME.format(number)), 400, code=-2010, msg="Order would immediately match and take."
        )
    assert record.named == []


def _shut_out(*, told: bool, certain: bool = True, after_s: float = 10) -> Record:
    record = Record()
    record.referee.stay_away(record.at, 30)
    if told:
        record.referee.told_away(record.at + 0.01, certain=certain)
    record.at += after_s
    record.referee.knocked(record.at)
    return record


def test_who_comes_although_it_was_told_to_stay_away_is_seen() -> None:
    assert _shut_out(told=True).named == ["S16"]
    assert _shut_out(told=False).named == []
    assert _shut_out(told=True, certain=False).named == []
    assert _shut_out(told=True, after_s=31).named == []


def test_a_ban_that_was_lifted_is_over() -> None:
    record = Record()
    record.referee.stay_away(record.at, 30)
    record.referee.told_away(record.at + 0.01)
    record.referee.let_in()
    record.at += 10
    record.referee.knocked(record.at)
    assert record.named == []


def test_a_new_process_cannot_know_what_the_last_was_told() -> None:
    """Nothing is stored: it knocks once, and is told."""
    record = Record()
    record.referee.stay_away(record.at, 60)
    record.referee.told_away(record.at + 0.01)
    record.referee.life(record.at + 20, 2, "started")
    record.referee.knocked(record.at + 20.1)
    assert record.named == []
    record.referee.told_away(record.at + 20.2)
    record.referee.knocked(record.at + 20.2 + IN_FLIGHT_S + 0.1)
    assert record.named == ["S16"]


def test_as_many_connections_in_each_window_are_fine() -> None:
    record = Record()
    for number in range(2, 200):
        record.at += 10.01
        record.connect(number, "stream")
    assert record.named == []


def test_an_order_that_is_accepted_ends_a_row_of_refusals() -> None:
    record = _refused(4, 1)
    record.rested(10, qty="0.1")
    record.line("cancel", client_order_id=NAME.format(10))
    record.replied(
        record.placed(NAME.format(11)), 400, code=-2010, msg="Account has insufficient balance for requested action."
    )
    assert record.named == []


def test_a_new_process_knows_of_no_refusal() -> None:
    record = _refused(4, 1)
    record.referee.life(record.at, 1, "killed")
    record.reborn()
    record.replied(
        record.placed("tt-abc123-bbbbb-1t-1", 2), 400, connection=2,
        code=-2010, msg="Account has insufficient balance for requested action.",
    )  # fmt: skip
    assert record.named == []


def test_what_was_under_way_when_it_was_told_may_arrive() -> None:
    assert _shut_out(told=True, after_s=IN_FLIGHT_S).named == []
    assert _shut_out(told=True, after_s=IN_FLIGHT_S + 0.1).named == ["S16"]


def test_an_answer_to_what_was_under_way_when_the_ban_began_tells_nothing() -> None:
    record = Record()
    record.referee.stay_away(record.at, 30)
    record.referee.told_away(record.at)
    record.referee.knocked(record.at + IN_FLIGHT_S + 1)
    assert record.named == []


# -- S15: refusals without a pause ------------------------------------------------------------------------------------


def _chased(record: Record, times: int, every_s: float) -> None:
    for number in range(times):
        record.referee.market(record.at, [])
        name = NAME.format(number)
        asked = record.placed(name)
        record.line("reject", client_order_id=name)
        record.replied(asked, 400, code=-2010, msg="Order would immediately match and take.")
        record.at += every_s


def _closed(record: Record, times: int, every_s: float) -> None:
    name = record.rested()
    for _ in range(times):
        asked = record.sent("order.cancel", origClientOrderId=name)
        record.replied(asked, 400, code=-1013, msg="Market is closed.")
        record.at += every_s


@pytest.mark.parametrize(
    ("knocks", "times", "every_s", "named"),
    [
        (_chased, 41, 0.05, ["S15"]),
        (_chased, 100, 0.3, []),
        (_closed, 6, 0.2, ["S15"]),
        (_closed, 20, 30.0, []),
    ],
    ids=["a chase without a pause", "one that backs off", "a cancel at a closed market", "one that waits"],
)
def test_who_is_refused_pauses(
    knocks: Callable[[Record, int, float], None], times: int, every_s: float, named: list[str]
) -> None:
    record = Record()
    knocks(record, times, every_s)
    assert record.named == named
