"""The referee on what may be sent, and when.

A record that breaks an invariant is named by it, one that nearly breaks it by nothing.
"""

from __future__ import annotations

from collections.abc import Sized
from decimal import Decimal

import pytest

from tests.chaos.record import JUMPSTART, NAME, SYNCED, Record
from tetrio.chaos.judge.case import REMEMBERED
from tetrio.chaos.judge.sessions import REMEMBERED as SESSIONS

# -- S4: one unresolved mutation --------------------------------------------------------------------------------------


def test_a_mutation_on_top_of_an_unknown_one_is_seen() -> None:
    record = Record()
    record.placed(NAME.format(1))
    record.at += 60
    record.placed(NAME.format(2))
    assert record.named == ["S4"]


def test_an_answer_that_says_unknown_resolves_nothing() -> None:
    record = Record()
    record.replied(record.placed(NAME.format(1)), 504, code=-1007, msg="Timeout")
    record.placed(NAME.format(2))
    assert record.named == ["S4"]


def test_one_refused_for_certain_is_resolved() -> None:
    record = Record()
    record.replied(record.placed(NAME.format(1)), 400, code=-2010, msg="Order would immediately match and take.")
    record.placed(NAME.format(2))
    assert record.named == []


def test_one_that_was_asked_for_and_found_is_resolved() -> None:
    record = Record()
    record.placed(NAME.format(1))
    record.answered("order.status", origClientOrderId=NAME.format(1))
    record.placed(NAME.format(2))
    assert record.named == []


def _probed(times: int, over_s: float) -> Record:
    record = Record()
    record.placed(NAME.format(1))
    for _ in range(times):
        record.at += over_s / times
        asked = record.sent("order.status", origClientOrderId=NAME.format(1))
        record.replied(asked, 400, code=-2013, msg="Order does not exist.")
    record.placed(NAME.format(2))
    return record


def test_one_is_absent_after_two_probes_and_time_enough() -> None:
    assert _probed(2, 13).named == []
    assert _probed(1, 13).named == ["S4"]
    assert _probed(2, 5).named == ["S4"]


def test_another_process_s_doubt_is_its_own() -> None:
    record = Record()
    record.placed(NAME.format(1))
    record.referee.life(record.at, 1, "killed")
    record.reborn()
    record.placed("tt-abc123-bbbbb-1t-1", 2)
    assert record.named == []


@pytest.mark.parametrize(("status", "code"), [(500, -1006), (408, -1007), (400, -1001), (503, -1008)])
def test_an_answer_that_says_unknown_does_so_whatever_its_status(status: int, code: int) -> None:
    record = Record()
    record.replied(record.placed(NAME.format(1)), status, code=code, msg="unknown")
    record.placed(NAME.format(2))
    assert record.named == ["S4"]


def test_an_event_tells_as_well_as_a_reply() -> None:
    record = Record()
    record.placed(NAME.format(1))
    record.line("reject", client_order_id=NAME.format(1))
    record.placed(NAME.format(2))
    assert record.named == []


def test_a_question_that_nobody_answers_tells_nothing() -> None:
    record = Record()
    record.placed(NAME.format(1))
    record.at += 60
    for _ in range(3):
        record.sent("order.status", origClientOrderId=NAME.format(1))
    record.placed(NAME.format(2))
    assert record.named == ["S4"]


def test_a_question_about_another_order_tells_nothing() -> None:
    record = Record()
    record.placed(NAME.format(1))
    record.answered("order.status", origClientOrderId="web_1")
    record.placed(NAME.format(2))
    assert record.named == ["S4"]


def test_a_cancel_may_be_sent_while_the_order_is_in_doubt() -> None:
    record = Record()
    record.placed(NAME.format(1))
    record.sent("order.cancel", origClientOrderId=NAME.format(1))
    assert record.named == []


# -- S5, S6, S7 -------------------------------------------------------------------------------------------------------


def test_an_id_that_is_used_twice_is_seen() -> None:
    record = Record()
    record.rested(1, qty="0.1")
    record.filled(NAME.format(1), "0.1", status="FILLED")
    record.replied(record.placed(NAME.format(1)))
    assert record.named == ["S5"]


def test_a_taking_order_without_a_reason_is_seen() -> None:
    record = Record()
    record.rested(kind="LIMIT")
    assert record.named == ["S6"]


def test_a_hard_stop_may_take_and_a_manual_exit_after_flatten() -> None:
    record = Record()
    record.accepted("tt-abc123-aaaaa-1h-1", kind="LIMIT")
    record.line("expire", client_order_id="tt-abc123-aaaaa-1h-1")
    assert record.named == []
    record.accepted("tt-abc123-aaaaa-1m-2", kind="LIMIT")
    record.line("expire", client_order_id="tt-abc123-aaaaa-1m-2")
    assert record.named == ["S6"]
    record.referee.said(record.at, "flatten")
    record.accepted("tt-abc123-aaaaa-2m-3", kind="LIMIT")
    assert record.named == ["S6"]


def test_a_protective_stop_is_for_those_who_asked_for_it() -> None:
    name = "tt-abc123-aaaaa-1h-1"
    for protects, named in ((True, []), (False, ["S6"])):
        record = Record(protects=protects)
        record.accepted(name, kind="STOP_LOSS_LIMIT")
        assert record.named == named


def test_a_maker_that_took_is_seen() -> None:
    record = Record()
    record.rested()
    record.filled(NAME.format(1), "0.1", maker=False)
    assert record.named == ["S6"]


def test_an_order_off_the_grid_is_seen_unless_the_rules_have_just_changed() -> None:
    for changed, named in ((False, ["S7"]), (True, [])):
        record = Record()
        if changed:
            record.referee.rules_changed(record.at, Decimal("0.0001"), Decimal(5))
        record.replied(record.placed(NAME.format(1)), 400, code=-1013, msg="Filter failure: LOT_SIZE")
        assert record.named == named


def test_an_id_that_was_refused_is_used_up_too() -> None:
    record = Record()
    record.replied(record.placed(NAME.format(1)), 400, code=-2010, msg="Account has insufficient balance.")
    record.placed(NAME.format(1))
    assert record.named == ["S5"]


def test_a_long_life_leaves_no_more_than_is_remembered() -> None:
    record = Record()
    for number in range(1, REMEMBERED + 51):
        record.line("cancel", client_order_id=record.rested(number, qty="0.1"))
        record.referee.fill_told(record.at, 1, number)
        record.at += 1
    for connection in range(2, SESSIONS + 52):
        record.line("disconnect", connection=connection - 1)
        record.connect(connection)
        record.answered("order.status", connection)
        record.at += 11
    sizes = {
        (type(judge).__name__, name): len(held)
        for judge in vars(record.referee).values()
        for name, held in getattr(judge, "__dict__", {}).items()
        if isinstance(held, Sized)
    }
    assert sizes["Sessions", "_all"] == SESSIONS + 1, "and the one that is open"
    assert sizes["Account", "numbers"] == REMEMBERED == max(sizes.values())
    assert record.named == []
    record.placed(NAME.format(1), SESSIONS + 51)
    assert record.named[0] == "S5", "though it was forgotten"
    record.referee.fill_told(record.at, 1, 1)
    assert record.named[-1] == "S10"


def test_asking_for_an_id_and_cancelling_it_is_no_second_use() -> None:
    record = Record()
    record.rested(1)
    record.answered("order.status", origClientOrderId=NAME.format(1))
    record.answered("order.cancel", origClientOrderId=NAME.format(1))
    assert record.named == []


def test_a_hard_stop_is_no_market_order_and_takes_where_it_may_only() -> None:
    for takes, kind, named in ((True, "MARKET", ["S6"]), (False, "LIMIT", ["S6"]), (True, "LIMIT", [])):
        record = Record(takes=takes)
        record.accepted("tt-abc123-aaaaa-1h-1", kind=kind)
        assert record.named == named


def test_a_take_profit_is_no_protective_stop() -> None:
    record = Record(protects=True)
    record.accepted(NAME.format(1), kind="STOP_LOSS_LIMIT")
    assert record.named == ["S6"]


def test_a_protective_stop_that_was_triggered_may_take() -> None:
    record = Record(protects=True)
    record.accepted("tt-abc123-aaaaa-1h-1", kind="STOP_LOSS_LIMIT")
    record.line("trigger", client_order_id="tt-abc123-aaaaa-1h-1")
    record.filled("tt-abc123-aaaaa-1h-1", "1", maker=False, status="FILLED")
    assert record.named == []


def test_a_replacement_whose_new_order_is_off_the_grid_is_seen() -> None:
    record = Record()
    inner = {"code": -1111, "msg": "Parameter 'price' has too much precision."}
    data = {"cancelResult": "SUCCESS", "newOrderResult": "FAILURE", "newOrderResponse": inner}
    record.replied(record.placed(NAME.format(1)), 409, code=-2021, msg="partially failed", data=data)
    assert record.named == ["S7"]


def test_a_closed_market_is_no_grid() -> None:
    record = Record()
    record.replied(record.placed(NAME.format(1)), 400, code=-1013, msg="Market is closed.")
    assert record.named == []


# -- S9, S29, S22, F130 -----------------------------------------------------------------------------------------------


def test_an_order_before_the_session_is_in_step_is_seen() -> None:
    record = Record(synced=False)
    record.answered("userDataStream.subscribe")
    record.answered("account.status")
    record.placed(NAME.format(1))
    assert record.named == ["S9"]


def test_what_was_asked_and_not_answered_counts_for_nothing() -> None:
    record = Record(synced=False)
    for method in SYNCED[:-1]:
        record.answered(method)
    record.sent(SYNCED[-1])
    record.placed(NAME.format(1))
    assert record.named == ["S9"]


def test_an_order_before_ready_is_seen() -> None:
    record = Record(ready=False)
    record.placed(NAME.format(1))
    assert record.named == ["S29"]


def test_an_order_of_a_dead_process_is_seen_but_not_its_last_words() -> None:
    for after_s, named in ((5.0, []), (7.0, ["S22"])):
        record = Record()
        record.rested(1, qty="0.1")
        record.line("cancel", client_order_id=NAME.format(1))
        record.referee.life(record.at, 1, "killed")
        record.referee.life(record.at, 2, "started")
        record.at += after_s
        record.placed(NAME.format(2))
        assert record.named == named


def test_last_words_that_lay_on_the_wire_are_known_by_their_stamp() -> None:
    for stamp_s, named in ((1.0, []), (30.0, ["S22"])):
        record = Record(begin_ms=1_000_000)
        record.referee.life(record.at, 1, "killed")
        record.referee.life(record.at, 2, "started")
        record.at += 30
        stamp = 1_000_000 + round(stamp_s * 1000)
        record.sent("order.place", 1, newClientOrderId=NAME.format(1), timestamp=stamp)
        assert record.named == named


def test_an_order_that_lay_on_a_dead_wire_until_it_was_known_never_to_be_executed_leaves_no_doubt() -> None:
    for stamp_s, named in ((1.0, []), (28.0, ["S4"])):
        record = Record(begin_ms=1_000_000)
        record.connect(2)
        for method in SYNCED:
            record.answered(method, 2)
        record.at += 30
        stamp = 1_000_000 + round(stamp_s * 1000)
        record.sent("order.place", 1, newClientOrderId=NAME.format(1), timestamp=stamp)
        record.at += 1
        record.sent("order.place", 2, newClientOrderId=NAME.format(2), timestamp=1_031_000)
        assert record.named == named


def test_an_order_after_a_halt_is_seen_but_not_a_cancel() -> None:
    record = Record()
    record.rested(1, qty="0.1")
    record.referee.said(record.at, "halt")
    record.at += 10
    record.answered("order.cancel", origClientOrderId=NAME.format(1))
    assert record.named == []
    record.placed(NAME.format(2))
    assert record.named == ["F130"]


def test_a_halt_holds_over_a_restart_and_ends_by_resume() -> None:
    record = Record()
    record.referee.said(record.at, "halt")
    record.referee.life(record.at, 1, "killed")
    record.reborn()
    record.at += 10
    record.replied(record.placed("tt-abc123-bbbbb-1t-1", 2), connection=2)
    assert record.named == ["F130"]
    record.referee.said(record.at, "resume")
    record.at += 10
    record.placed("tt-abc123-bbbbb-1t-2", 2)
    assert record.named == ["F130"]


@pytest.mark.parametrize("left_out", SYNCED)
def test_each_answer_is_needed_and_from_this_session(left_out: str) -> None:
    record = Record()
    record.connect(2)
    for method in SYNCED:
        if method != left_out:
            record.answered(method, 2)
    record.placed(NAME.format(1), 2)
    assert record.named == ["S9"]


def test_a_refusal_to_tell_is_no_answer() -> None:
    record = Record(synced=False)
    for method in SYNCED:
        record.replied(record.sent(method), 429, code=-1003, msg="Too many requests.")
    record.placed(NAME.format(1))
    assert record.named == ["S9"]


def test_a_snapshot_from_before_the_subscription_tells_nothing() -> None:
    record = Record(synced=False)
    early = [record.sent(method) for method in SYNCED[1:]]
    record.replied(early[0])
    record.answered(SYNCED[0])
    record.replied(early[1])
    record.placed(NAME.format(1))
    assert record.named == ["S9"]


def test_a_session_may_subscribe_anew_and_ask_again() -> None:
    record = Record()
    for method in SYNCED:
        record.answered(method)
    record.placed(NAME.format(1))
    assert record.named == []


def test_a_cancel_needs_no_session_in_step() -> None:
    record = Record()
    record.rested(1)
    record.connect(2)
    record.sent("order.cancel", 2, origClientOrderId=NAME.format(1))
    assert record.named == []


def _jumpstarted(*, accepted: bool) -> Record:
    record = Record(synced=False)
    record.answered(SYNCED[0])
    record.answered("openOrders.status")
    asked = record.placed(JUMPSTART)
    if accepted:
        record.accepted(JUMPSTART, side="BUY", qty="0.5", price="20")
        record.line("cancel", client_order_id=JUMPSTART)
        record.replied(asked)
    else:
        record.replied(asked, 400, code=-2010, msg="Account has insufficient balance.")
    record.placed(NAME.format(1))
    return record


def test_a_jumpstart_learns_the_balances_by_an_order_that_is_accepted() -> None:
    assert _jumpstarted(accepted=True).named == []
    assert _jumpstarted(accepted=False).named == ["S9"]


def test_another_process_s_readiness_is_its_own() -> None:
    record = Record()
    record.referee.life(record.at, 1, "killed")
    record.referee.life(record.at, 2, "started")
    record.connect(2)
    for method in SYNCED:
        record.answered(method, 2)
    record.placed("tt-abc123-bbbbb-1t-1", 2)
    assert record.named == ["S29"]


def test_a_process_is_known_by_who_opened_its_connection() -> None:
    """The first order of one that has died may arrive after the next has begun."""
    record = Record()
    record.referee.life(record.at, 1, "killed")
    record.referee.life(record.at, 2, "started")
    record.at += 1
    record.placed(NAME.format(1))
    assert record.named == []


# -- S21, S23, S30 ----------------------------------------------------------------------------------------------------


def test_cancelling_everything_is_seen() -> None:
    record = Record()
    record.sent("openOrders.cancelAll", symbol="ETHFDUSD")
    assert record.named == ["S21"]


def test_cancelling_somebody_else_s_order_is_seen() -> None:
    record = Record()
    record.accepted("web_1", qty="0.1")
    record.sent("order.cancel", orderId=1)
    record.sent("order.cancel", origClientOrderId="web_1")
    assert record.named == ["S21", "S21"]


def test_cancelling_an_own_order_by_either_name_is_fine() -> None:
    record = Record()
    record.rested(1, qty="0.1")
    record.sent("order.cancel", orderId=1)
    record.sent("order.cancel", origClientOrderId=NAME.format(1))
    assert record.named == []


def test_half_a_request_is_seen() -> None:
    record = Record()
    record.referee.request(record.at, 1, '{"id": 7, "method": "order.pl')
    assert record.named == ["S23"]


def test_a_balance_that_is_not_accounted_for_is_seen() -> None:
    record = Record()
    record.rested()
    record.filled(NAME.format(1), "0.1", fee="0.09")
    assert record.named == []
    record.held["FDUSD"] += Decimal("0.01")
    record.filled(NAME.format(1), "0.1")
    assert record.named == ["S30"]


def test_replacing_somebody_else_s_order_is_seen() -> None:
    record = Record()
    record.sent("order.cancelReplace", newClientOrderId=NAME.format(1), cancelOrigClientOrderId="web_1")
    assert record.named == ["S21"]


@pytest.mark.parametrize("message", [b"\xff\xfe", "[]", "3", '{"id": 1}', '{"method": "time", "params": 3}'])
def test_what_is_no_request_is_seen(message: str | bytes) -> None:
    record = Record()
    record.referee.request(record.at, 1, message)
    assert record.named == ["S23"]


def test_a_request_without_parameters_is_one() -> None:
    record = Record()
    record.referee.request(record.at, 1, b'{"id": "a", "method": "time"}')
    assert record.named == []


def test_deposits_and_withdrawals_move_what_they_say() -> None:
    record = Record()
    record.line("deposit", asset="ETH", amount="0.5", balances={"ETH": ["1.5", "0"], "FDUSD": ["1000", "0"]})
    record.line("withdraw", asset="FDUSD", amount="10", balances={"ETH": ["1.5", "0"], "FDUSD": ["990", "0"]})
    record.line("lock", asset="ETH", amount="1", balances={"ETH": ["0.5", "1"]})
    assert record.named == []
    record.line("deposit", asset="ETH", amount="0.5", balances={"ETH": ["1.1", "1"]})
    assert record.named == ["S30"]


def test_an_asset_that_nobody_has_brought_is_seen() -> None:
    record = Record()
    record.line("logon", balances={"BNB": ["0", "0"]})
    assert record.named == []
    record.line("logon", balances={"BNB": ["0.1", "0"]})
    assert record.named == ["S30"]


def test_a_commission_in_a_third_asset_is_accounted_for() -> None:
    record = Record()
    record.line("deposit", asset="BNB", amount="5")
    record.rested(1, qty="0.5")
    held = {"ETH": ["0.5", "0"], "FDUSD": ["1450", "0"], "BNB": ["4.999", "0"]}
    record.line(
        "fill", client_order_id=NAME.format(1), side="SELL", last_qty="0.5", last_price="900", commission="0.001",
        commission_asset="BNB", maker=True, status="FILLED", balances=held,
    )  # fmt: skip
    assert record.named == []


def test_one_error_is_told_once_and_a_negative_balance_too() -> None:
    record = Record()
    for _ in range(3):
        record.line("lock", asset="ETH", amount="1.5", balances={"ETH": ["2", "0"]})
    assert record.named == ["S30"]
    record.line("lock", asset="ETH", amount="2.5", balances={"ETH": ["-0.5", "2.5"]})
    assert record.named == ["S30", "S30"]


# -- S8: the market in sight ------------------------------------------------------------------------------------------


def test_an_order_by_a_silent_market_is_seen() -> None:
    record = Record()
    record.referee.market_heard(record.at)
    record.at += 10.1  # 2 s of it may be a clock that is off
    record.rested()
    assert record.named == ["S8"]


def test_an_order_by_a_market_that_was_heard_is_fine() -> None:
    record = Record()
    record.referee.market_heard(record.at)
    record.at += 9.9
    record.rested()
    assert record.named == []
