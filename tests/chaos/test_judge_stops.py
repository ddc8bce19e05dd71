"""The referee on the hard stop: a record in which one is due and nothing comes, and ones in which all is well."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.chaos.record import Record

BUY, SELL, STOP = "tt-abc123-aaaaa-1t-{}", "tt-abc123-aaaaa-2t-{}", "tt-abc123-aaaaa-2h-{}"


class Market(Record):
    """Nothing but quote is held; a take-profit buys one ETH at 1000, so that a stop of 1 % lies at 990."""

    def __init__(self, *, bought: bool = True, **terms: Any) -> None:
        terms = {"hard_stop": Decimal("0.01"), "least_qty": Decimal("0.01"), "least_notional": Decimal(5), **terms}
        super().__init__(**terms)
        self.line("withdraw", asset="ETH", amount="1")
        self.held = {"ETH": Decimal(0), "FDUSD": Decimal(1000)}
        self.trade_id = 0
        self.trades("1000")
        if bought:
            self.buys(BUY.format(1))

    def trades(self, *prices: str) -> None:
        """The public trades at these prices, a second apart."""
        for price in prices:
            self.at += 1
            self.trade_id += 1
            self.referee.market(self.at, [(self.trade_id, Decimal(price))])

    def buys(self, name: str) -> None:
        """It rests, and is filled whole, at 1000."""
        asked = self.placed(name)
        self.accepted(name, side="BUY", price="1000")
        self.replied(asked)
        self.trade_id += 1
        self.held = {"ETH": Decimal(1), "FDUSD": Decimal(0)}
        self.line(
            "fill", client_order_id=name, trade_id=self.trade_id, side="BUY", last_qty="1", last_price="1000",
            commission="0", commission_asset="FDUSD", maker=True, status="FILLED", balances=self.balances(),
        )  # fmt: skip

    def sells(self, name: str, *, connection: int = 1) -> None:
        """A SELL is sent, and rests."""
        asked = self.sent("order.place", connection, newClientOrderId=name, side="SELL", quantity="1", price="990")
        self.accepted(name, price="990")
        self.replied(asked, connection=connection)

    def sold(self, name: str) -> None:
        """All of it is filled."""
        self.held = {"ETH": Decimal(0), "FDUSD": Decimal(900)}
        self.filled_whole(name)

    def filled_whole(self, name: str) -> None:
        self.line(
            "fill", client_order_id=name, trade_id=self.trade_id, side="SELL", last_qty="1", last_price="900",
            commission="0", commission_asset="FDUSD", maker=True, status="FILLED", balances=self.balances(),
        )  # fmt: skip


# -- L4: what is due comes --------------------------------------------------------------------------------------------


def test_a_stop_that_nothing_follows_is_seen() -> None:
    record = Market()
    record.trades("989", "988", "987")
    assert record.named == []
    record.trades("986")
    assert record.named == ["L4"]


def test_a_stop_that_is_followed_by_its_order_is_fine() -> None:
    record = Market()
    record.trades("989")
    record.at += 1.5
    record.sells(STOP.format(2))
    record.trades("988", "987", "986", "985")
    record.sold(STOP.format(2))
    record.trades("980", "970")
    assert record.named == []
    assert record.referee.stops_judged == 1


def test_who_waits_for_an_answer_is_excused_also_where_nothing_is_seen_meanwhile() -> None:
    for after_s, named in ((4.9, []), (5.2, ["L4"])):
        record = Market()
        record.trades("995")
        record.sent("order.place", newClientOrderId=SELL.format(2), side="SELL", quantity="1", price="995")
        record.accepted(SELL.format(2), price="995")
        record.line("cancel", client_order_id=SELL.format(2))
        record.at -= 0.9
        record.trades("989")  # 0.1 s later; its answer is waited for until 3 s after it was sent
        record.at += after_s - 0.1
        record.sells(STOP.format(3))
        assert record.named == named


def test_a_price_short_of_the_stop_is_none() -> None:
    record = Market()
    record.trades("990.01", "995", "990.5", "1010", "999")
    assert record.named == []


def test_a_stop_is_due_when_as_many_trades_as_confirm_it_are_beyond() -> None:
    record = Market(stop_confirm=3)
    record.trades("989", "989", "991", "989", "989", "991", "1000", "1000", "1000")
    assert record.named == []
    record.trades("989", "989", "989", "1000", "1000", "1000")
    assert record.named == ["L4"]


def test_what_a_public_trade_before_the_anchor_said_counts_for_nothing() -> None:
    record = Market(bought=False)
    record.trades("1000")
    record.trade_id += 1
    early = record.trade_id
    record.buys(BUY.format(1))
    record.referee.market(record.at, [(early, Decimal(980)), (record.trade_id, Decimal(1000))])
    record.trades("1000", "1000", "1000", "1000")
    assert record.named == []


@pytest.mark.parametrize("excuse", ["disturbed", "halted", "dead", "out of step", "in doubt"])
def test_who_cannot_act_is_excused_until_it_can(excuse: str) -> None:
    record = Market()
    referee = record.referee
    record.trades("995")
    if excuse == "disturbed":
        referee.disturbed(record.at, 6.5)
    elif excuse == "halted":
        referee.said(record.at, "halt")
    elif excuse == "dead":
        referee.life(record.at, 1, "killed")
    elif excuse == "out of step":
        record.line("disconnect", connection=1, face="ws_api")
    else:
        record.placed(SELL.format(2))
    record.trades("980", "980", "980", "980", "980", "980")
    assert record.named == []
    if excuse == "halted":
        referee.said(record.at, "resume")
    elif excuse == "dead":
        record.reborn()
    elif excuse == "out of step":
        record.connect(2)
        for method in ("userDataStream.subscribe", "account.status", "openOrders.status"):
            record.answered(method, 2)
        referee.life(record.at, 1, "ready")
    elif excuse == "in doubt":
        record.answered("order.status", origClientOrderId=SELL.format(2))
        record.at += 3.5  # it is not asked for any more
    record.trades("980", "980", "980", "980")
    assert record.named == ["L4"]


@pytest.mark.parametrize("word", ["pause", "flatten"])
def test_after_a_word_that_changes_what_a_stop_does_nothing_is_due(word: str) -> None:
    record = Market()
    record.referee.said(record.at, word)
    record.trades("980", "980", "980", "980")
    assert record.named == []


@pytest.mark.parametrize("before", [(), ("989",)])
def test_a_price_that_was_met_during_a_halt_arms_nothing(before: tuple[str, ...]) -> None:
    record = Market()
    record.trades(*before)
    record.referee.said(record.at, "halt")
    record.trades("980", "995")
    record.referee.said(record.at, "resume")
    record.trades("995", "995", "995", "995")
    assert record.named == []
    record.trades("985", "985", "985", "985")
    assert record.named == ["L4"]


def test_a_stop_that_the_operator_has_taken_back_is_over() -> None:
    record = Market()
    record.trades("980")
    record.sells(STOP.format(2))
    record.referee.said(record.at, "disarm")
    record.line("cancel", client_order_id=STOP.format(2))
    record.trades("980", "980", "980", "980")
    assert record.named == []


def test_a_stop_that_sells_too_slowly_is_seen() -> None:
    for most_s, named in ((None, []), (30.0, ["L4"])):
        record = Market(flat_within_s=most_s)
        record.trades("989")
        record.sells(STOP.format(2))
        record.trades(*["985"] * 29)
        assert record.named == []
        record.trades("985", "985")
        assert record.named == named


def test_a_buy_behind_which_the_gate_may_have_closed_tells_no_level() -> None:
    record = Market(bought=False)
    record.placed(BUY.format(1))
    record.accepted(BUY.format(1), side="BUY", price="1000")
    record.line("cancel", client_order_id=BUY.format(1))
    record.trades("1020")  # 2 %: a stop of what was held before
    record.buys(BUY.format(2))
    record.trades("980", "980", "980", "980")
    assert record.named == []


def test_a_regime_that_a_deposit_has_begun_has_no_level() -> None:
    record = Market(bought=False)
    record.line("deposit", asset="ETH", amount="1")
    record.trades("980", "980", "980", "980")
    assert record.named == []


# -- L4 by the level that the bot has told ----------------------------------------------------------------------------


def _told(gate: str = "") -> Market:
    record = Market(bought=False)
    record.line("deposit", asset="ETH", amount="1")
    record.trades("1000")
    record.referee.level_told(record.at, "BASE", Decimal(1000), gate)
    return record


def test_a_level_that_was_told_holds_where_there_is_no_other() -> None:
    record = _told()
    record.trades("989", "988", "987", "986")
    assert record.named == ["L4"]


def test_of_a_word_said_to_a_process_that_died_unready_nobody_knows_whether_it_was_kept() -> None:
    record = _told()
    referee = record.referee
    referee.said(record.at, "pause")
    referee.life(record.at, 1, "killed")
    referee.life(record.at, 2, "started")
    referee.said(record.at, "resume")
    referee.life(record.at, 2, "killed")
    record.reborn(3)
    referee.level_told(record.at, "BASE", Decimal(1000), "")
    record.trades("980", "980", "980", "980")
    assert record.named == []
    referee.said(record.at, "resume")
    referee.level_told(record.at, "BASE", Decimal(1000), "")
    record.trades("980", "980", "980", "980")
    assert record.named == ["L4"]


def test_a_level_that_was_taken_back_does_not() -> None:
    record = _told()
    record.referee.taken_back(record.at)
    record.trades("989", "988", "987", "986")
    assert record.named == []


def test_behind_a_closed_gate_nothing_is_due() -> None:
    record = _told("closed")
    record.trades("989", "988", "987", "986")
    assert record.named == []
    record.referee.level_told(record.at, "BASE", Decimal(1000), "open")
    record.trades("989", "988", "987", "986")
    assert record.named == ["L4"]


# -- S13: nothing else is sent, nothing else rests --------------------------------------------------------------------


def test_an_order_that_goes_on_locking_what_a_stop_has_to_sell_is_seen() -> None:
    record = Market()
    record.sells(SELL.format(2))
    record.trades("989")
    asked = record.sent("order.place", newClientOrderId=STOP.format(3), side="SELL", quantity="1", price="989")
    record.line("reject", client_order_id=STOP.format(3))
    record.replied(asked, 400, code=-2010, msg="Account has insufficient balance for requested action.")
    record.trades("988", "987")
    assert record.named == []
    record.trades("986", "985")
    assert record.named == ["S13"]


def test_a_take_profit_that_is_sent_after_a_stop_is_due_is_seen() -> None:
    for after_s, named in ((0.5, []), (1.5, ["S13"])):
        record = Market()
        record.trades("989")
        record.at += after_s
        record.sent("order.place", newClientOrderId=SELL.format(2), side="SELL", quantity="1", price="989")
        assert record.named == named


# -- S12: it is where it was ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("anchor", "gate", "named"),
    [(1000, "open", []), (998, "open", ["S12"]), (1002, "open", ["S12"]), (1000, "closed", ["S12"])],
)
@pytest.mark.parametrize("told", [False, True], ids=["by the record", "by the bot before"])
def test_a_process_that_comes_back_with_another_stop_is_seen(
    anchor: int, gate: str, named: list[str], told: bool
) -> None:
    record = _told() if told else Market()
    record.trades("995")
    record.referee.life(record.at, 1, "killed")
    record.reborn()
    record.referee.rebuilt(record.at, "BASE", Decimal(anchor), gate, "t")
    assert record.named == named


def test_a_gate_that_a_price_at_the_stop_has_closed_is_fine() -> None:
    record = Market()
    record.trades("990")
    record.referee.life(record.at, 1, "killed")
    record.reborn()
    record.referee.rebuilt(record.at, "BASE", Decimal(1000), "closed", "t")
    assert record.named == []


def test_a_regime_that_is_told_to_begin_elsewhere_than_it_did_is_seen() -> None:
    for anchor, named in ((1000, []), (999, ["S12"])):
        record = Market()
        record.referee.level_told(record.at, "BASE", Decimal(anchor))
        assert record.named == named


def test_a_level_that_only_the_bot_has_told_is_not_held_against_a_fold_from_a_manual_exit() -> None:
    for record, named in ((_told(), []), (Market(), ["S12"])):
        record.trades("995")
        record.referee.life(record.at, 1, "killed")
        record.reborn()
        record.referee.rebuilt(record.at, "BASE", Decimal(998), "closed", "m")
        assert record.named == named


def test_what_is_believed_by_rules_that_have_changed_meanwhile_is_not_held_against_a_fold_by_the_new_ones() -> None:
    for least, named in (("0.01", ["S12"]), ("1.5", [])):
        record = Market(bought=False)
        record.referee.rules_changed(record.at, Decimal(least), Decimal(5))
        record.line("deposit", asset="ETH", amount="1")
        record.trades("1000")
        record.referee.level_told(record.at, "BASE", Decimal(1000), "open")
        record.referee.rebuilt(record.at, "QUOTE", Decimal(998), "open", "t")
        assert record.named == named


def test_a_stop_that_is_due_while_all_is_sold_at_the_operator_s_word_is_none() -> None:
    record = _told()
    record.referee.said(record.at, "flatten")
    record.referee.level_told(record.at, "BASE", Decimal(1000), "open")
    record.trades("989", "988", "987", "986", "985")
    assert record.named == []
