"""Each invariant of the referee's: a record that breaks it is named by it, one that nearly breaks it by nothing."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sized
from decimal import Decimal
from typing import Any

import attrs
import pytest
import trio

from tetrio.chaos.judge.case import IN_FLIGHT_S, REMEMBERED, Terms
from tetrio.chaos.judge.sessions import REMEMBERED as SESSIONS
from tetrio.chaos.referee import Referee
from tetrio.chaos.trace import ZENO, Trace
from tetrio.net import virtual

SYNCED = ("userDataStream.subscribe", "account.status", "openOrders.status")
NAME = "tt-abc123-aaaaa-1t-{}"
JUMPSTART = "tt-abc123-aaaaa-0j-1"


class Record:
    """What the exchange might have seen, an event after the other: opening funds, a process, a session in step."""

    def __init__(self, *, synced: bool = True, ready: bool = True, ended: bool = False, **terms: Any) -> None:
        self.referee = Referee(Terms(base="ETH", quote="FDUSD", **terms))
        self.at, self._ids, self._orders = 0.0, 0, 0
        self.held = {"ETH": Decimal(1), "FDUSD": Decimal(1000)}
        for asset, amount in self.held.items():
            self.line("deposit", asset=asset, amount=str(amount))
        self.referee.life(self.at, 1, "started")
        self.connect(1)
        if synced:
            for method in SYNCED:
                self.answered(method)
        if ready:
            self.referee.life(self.at, 1, "ready")

    @property
    def named(self) -> list[str]:
        return [each.invariant for each in self.referee.violations]

    def balances(self) -> dict[str, list[str]]:
        return {asset: [str(amount), "0"] for asset, amount in self.held.items()}

    def line(self, ev: str, **fields: Any) -> None:
        self.referee.audit(self.at, {"ev": ev, **fields})

    def connect(self, number: int, face: str = "ws_api") -> None:
        self.line("connect", connection=number, face=face)

    def sent(self, method: str, connection: int = 1, **params: Any) -> int:
        self._ids += 1
        message = json.dumps({"id": self._ids, "method": method, "params": params})
        self.referee.request(self.at, connection, message)
        return self._ids

    def replied(self, number: int, status: int = 200, connection: int = 1, **error: Any) -> None:
        body: dict[str, Any] = {"id": number, "status": status}
        if error:
            body["error"] = error
        self.referee.reply(self.at, connection, json.dumps(body).encode())

    def answered(self, method: str, connection: int = 1, **params: Any) -> None:
        self.replied(self.sent(method, connection, **params), connection=connection)

    def placed(self, name: str, connection: int = 1) -> int:
        return self.sent("order.place", connection, newClientOrderId=name)

    def reborn(self) -> None:
        """The second process, in step on connection 2."""
        self.referee.life(self.at, 2, "started")
        self.connect(2)
        for method in SYNCED:
            self.answered(method, 2)
        self.referee.life(self.at, 2, "ready")

    def accepted(
        self, name: str, *, side: str = "SELL", kind: str = "LIMIT_MAKER", qty: str = "1", price: str = "900"
    ) -> None:
        self._orders += 1
        self.line("accept", client_order_id=name, order_id=self._orders, side=side, type=kind, qty=qty, price=price)

    def filled(
        self, name: str, qty: str, *, maker: bool = True, status: str = "PARTIALLY_FILLED", fee: str = "0"
    ) -> None:
        """A SELL at 900."""
        self.held["ETH"] -= Decimal(qty)
        self.held["FDUSD"] += Decimal(qty) * 900 - Decimal(fee)
        self.line(
            "fill", client_order_id=name, side="SELL", last_qty=qty, last_price="900", commission=fee,
            commission_asset="FDUSD", maker=maker, status=status, balances=self.balances(),
        )  # fmt: skip

    def rested(self, number: int = 1, **how: Any) -> str:
        name = NAME.format(number)
        asked = self.placed(name)
        self.accepted(name, **how)
        self.replied(asked)
        return name


# -- S1, S2: what is held ---------------------------------------------------------------------------------------------


def test_an_order_for_more_than_is_held_is_seen() -> None:
    record = Record()
    record.rested(qty="1.0001")
    assert record.named == ["S1"]


def test_an_order_for_all_that_is_held_is_fine() -> None:
    record = Record()
    record.rested(qty="1")
    record.filled(NAME.format(1), "1", status="FILLED")
    assert record.named == []


def test_a_reserve_is_nobody_s_to_sell() -> None:
    record = Record(reserve_base=Decimal("0.1"))
    record.rested(qty="0.9")
    assert record.named == []
    record.line("cancel", client_order_id=NAME.format(1))
    record.rested(2, qty="0.9001")
    assert record.named == ["S1"]


@pytest.mark.parametrize(("reserve", "later_s", "named"), [("0.1", 5, []), ("0.1", 7, ["S1"]), ("0.01", 5, ["S1"])])
def test_what_was_withdrawn_while_an_order_was_under_way_is_excused(
    reserve: str, later_s: float, named: list[str]
) -> None:
    record = Record(reserve_base=Decimal(reserve))
    record.line("withdraw", asset="ETH", amount="0.05")
    record.at += later_s
    record.rested(qty=str(1 - Decimal(reserve)))
    assert record.named == named


def test_more_filled_than_sent_is_seen() -> None:
    record = Record()
    record.rested(qty="0.5")
    record.filled(NAME.format(1), "0.3")
    record.filled(NAME.format(1), "0.3")
    assert record.named == ["S1"]


def test_an_order_for_more_than_the_quote_is_seen() -> None:
    record = Record(reserve_quote=Decimal(100))
    record.rested(side="BUY", qty="1", price="900")
    assert record.named == []
    record.line("cancel", client_order_id=NAME.format(1))
    record.rested(2, side="BUY", qty="1", price="900.01")
    assert record.named == ["S2"]


def test_what_was_sold_is_held_no_more() -> None:
    record = Record()
    record.rested(1, qty="0.6")
    record.filled(NAME.format(1), "0.6", status="FILLED")
    record.rested(2, qty="0.4")
    assert record.named == []
    record.line("cancel", client_order_id=NAME.format(2))
    record.rested(3, qty="0.4001")
    assert record.named == ["S1"]


def test_an_order_that_was_amended_fills_to_its_new_size_at_most() -> None:
    record = Record()
    record.rested(1, qty="0.5")
    record.line("amend", client_order_id=NAME.format(1), qty="0.2")
    record.filled(NAME.format(1), "0.2")
    assert record.named == []
    record.filled(NAME.format(1), "0.1")
    assert record.named == ["S1"]


def test_a_jumpstart_may_lean_on_the_reserve_but_not_on_what_is_not_there() -> None:
    for price, named in (("1000", []), ("1000.01", ["S2"])):
        record = Record(reserve_quote=Decimal(1000))
        record.accepted(JUMPSTART, side="BUY", qty="1", price=price)
        assert record.named == named


# -- S3: one live order -----------------------------------------------------------------------------------------------


def test_two_live_orders_are_seen() -> None:
    record = Record()
    record.rested(1, qty="0.1")
    record.rested(2, qty="0.1")
    assert record.named == ["S3"]
    assert record.referee.most_live == 2


def test_one_after_the_other_is_fine_and_so_is_somebody_else_s() -> None:
    record = Record()
    record.accepted("web_1", qty="0.1")
    record.rested(1, qty="0.1")
    record.line("cancel", client_order_id=NAME.format(1))
    record.rested(2, qty="0.1")
    assert record.named == []


def test_the_mode_that_may_leave_two_orders_is_seen() -> None:
    record = Record()
    record.rested(1, qty="0.1")
    replace: dict[str, Any] = {"cancelOrigClientOrderId": NAME.format(1), "newClientOrderId": NAME.format(2)}
    record.sent("order.cancelReplace", 1, **replace, cancelReplaceMode="ALLOW_FAILURE")
    assert record.named == ["S3"]


def test_an_order_that_has_ended_is_no_live_one() -> None:
    for ending in ("cancel", "expire"):
        record = Record()
        record.rested(1, qty="0.5")
        record.line(ending, client_order_id=NAME.format(1))
        record.rested(2, qty="0.5")
        assert record.named == []


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
            record.referee.rules_changed(record.at)
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


# -- S1, S2: what is asked for ----------------------------------------------------------------------------------------


def _asked(record: Record, number: int, qty: str) -> None:
    """A SELL that the exchange refuses for want of funds."""
    name = NAME.format(number)
    asked = record.sent("order.place", newClientOrderId=name, side="SELL", quantity=qty, price="900")
    record.line("reject", client_order_id=name)
    record.replied(asked, 400, code=-2010, msg="Account has insufficient balance for requested action.")


def test_asking_for_more_than_has_been_held_of_late_is_seen() -> None:
    record = Record()
    _asked(record, 1, "1.1")
    assert record.named == ["S1"]


def test_a_late_copy_excuses_one_order_and_not_the_next() -> None:
    record = Record()
    record.referee.copies_lag(record.at, lag=True)
    _asked(record, 1, "1.1")
    assert record.named == []
    record.at += 5
    _asked(record, 2, "1.1")
    assert record.named == ["S1"]


def test_a_copy_that_has_caught_up_long_ago_excuses_nothing() -> None:
    for after_s, named in ((50, []), (70, ["S1"])):
        record = Record()
        record.referee.copies_lag(record.at, lag=True)
        record.at += 10
        record.referee.copies_lag(record.at, lag=False)
        record.at += after_s
        _asked(record, 1, "1.1")
        assert record.named == named


def test_asking_for_what_has_just_been_traded_away_is_fine() -> None:
    record = Record()
    name = record.rested(qty="1")
    record.filled(name, "1", status="FILLED")
    for number in (2, 3):
        record.at += 10
        _asked(record, number, "1")
    assert record.named == []


def test_a_late_copy_excuses_one_order_for_each_sum_that_is_held() -> None:
    record = Record()
    record.referee.copies_lag(record.at, lag=True)
    _asked(record, 1, "1.1")
    record.line("deposit", asset="ETH", amount="0.01")
    record.at += 60
    _asked(record, 2, "1.1")
    assert record.named == []


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


# -- S10, S11: what the bot takes for so ------------------------------------------------------------------------------


def _traded(record: Record, *, connected: bool = False) -> None:
    name = record.rested(qty="1")
    if not connected:
        record.line("disconnect", connection=1, face="ws_api")
    record.held["ETH"] -= Decimal("0.5")
    record.held["FDUSD"] += 450
    record.line(
        "fill", client_order_id=name, trade_id=7, side="SELL", last_qty="0.5", last_price="900", commission="0",
        commission_asset="FDUSD", maker=True, status="PARTIALLY_FILLED", balances=record.balances(),
    )  # fmt: skip


def test_a_fill_that_is_told_twice_is_seen() -> None:
    record = Record()
    _traded(record)
    record.referee.fill_told(record.at, 1, 7)
    record.referee.fill_told(record.at, 1, 7)
    assert record.named == ["S10"]


def test_a_fill_that_is_never_told_is_seen() -> None:
    record = Record()
    _traded(record)
    record.referee.fills_due(record.at + 16)
    assert record.named == ["S10"]


def test_a_fill_that_each_process_tells_once_is_fine() -> None:
    record = Record()
    _traded(record)
    record.referee.fill_told(record.at, 1, 7)
    record.referee.fill_told(record.at, 2, 7)
    record.referee.fills_due(record.at + 16)
    assert record.named == []


def test_a_fill_whose_report_a_living_session_has_lost_is_not_asked_for() -> None:
    record = Record()
    _traded(record, connected=True)
    record.referee.fills_due(record.at + 16)
    assert record.named == []


@pytest.mark.parametrize(
    ("begun_s", "over_s", "named"),
    [(-5, 1e9, []), (30, 40, []), (-20, -1, ["S10"]), (61, 70, ["S10"])],
    ids=["at the time", "soon after", "before", "long after"],
)
def test_a_fill_that_late_copies_keep_back_need_not_be_told(begun_s: float, over_s: float, named: list[str]) -> None:
    record = Record()
    record.at += 100
    record.referee.copies_lag(record.at + begun_s, lag=True)
    record.referee.copies_lag(record.at + over_s, lag=False)
    _traded(record)
    record.referee.fills_due(record.at + 90)
    assert record.named == named


def test_a_fill_of_a_moment_ago_need_not_be_told_yet() -> None:
    record = Record()
    _traded(record)
    record.referee.fills_due(record.at + 14)
    assert record.named == []


def test_a_belief_that_is_wrong_is_told() -> None:
    record = Record()
    name = record.rested(qty="1")
    assert "taken for 0 and 1000" in record.referee.disagreement(Decimal(0), Decimal(1000), [name])
    assert "taken for []" in record.referee.disagreement(Decimal(1), Decimal(1000), [])
    assert record.referee.disagreement(Decimal(1), Decimal(1000), [name]) == ""


def test_a_flow_that_nobody_sent_is_seen() -> None:
    record = Record()
    record.at += 301  # since the opening funds
    record.referee.flow_told(record.at, {"ETH": "-1", "FDUSD": "0"})
    assert record.named == ["S14"]


def test_a_deposit_is_a_flow() -> None:
    record = Record()
    record.at += 301
    record.line("deposit", asset="ETH", amount="0.01")
    record.referee.flow_told(record.at, {"ETH": "0.01", "FDUSD": "0"})
    assert record.named == []


def test_late_copies_may_make_a_flow_up_for_a_while() -> None:
    for after_s, named in ((50, []), (70, ["S14"])):
        record = Record()
        record.at += 301
        record.referee.copies_lag(record.at, lag=True)
        record.referee.flow_told(record.at, {"FDUSD": "5"})
        record.referee.copies_lag(record.at, lag=False)
        record.at += after_s
        record.referee.flow_told(record.at, {"FDUSD": "5"})
        assert record.named == named


# -- L6: how a process ends -------------------------------------------------------------------------------------------


def test_a_process_that_never_reached_the_exchange_may_give_up_waiting() -> None:
    record = Record(ready=False)
    record.referee.life(record.at, 1, "ended", 5)
    assert record.named == []


def test_a_process_that_was_ready_may_not() -> None:
    record = Record()
    record.referee.life(record.at, 1, "ended", 5)
    assert record.named == ["L6"]


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
