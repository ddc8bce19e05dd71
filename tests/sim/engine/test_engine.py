from __future__ import annotations

from decimal import Decimal

import attrs
import msgspec
import pytest

from tests.sim.markets import (
    MS,
    SYMBOL,
    Pit,
    bought,
    depth,
    executions,
    fills,
    only_reports,
    request,
    sold,
    top,
    with_rules,
)
from tetrio.core.market import Side
from tetrio.sim.engine.engine import Engine
from tetrio.sim.engine.history import OrderHistory
from tetrio.sim.engine.orders import Canceled, OrderRequest, Rejected, Report
from tetrio.sim.market.events import AggTrade
from tetrio.sim.retention import Retention

BUY, SELL = Side.BUY, Side.SELL
D = Decimal


def refused(pit: Pit, *args: object, **more: object) -> Rejected:
    with pytest.raises(Rejected) as caught:
        pit.place(*args, **more)  # type: ignore[arg-type]
    return caught.value


# --- resting, locking, reports ---


def test_a_post_only_sell_rests_and_locks_what_it_offers() -> None:
    pit = Pit()
    placed = pit.place(SELL, 5000, 340_010)
    assert placed.order.status == "NEW" and placed.fills == () and placed.prints == ()
    assert pit.amounts()["ETH"] == (D("9.5"), D("0.5"))
    assert executions(placed.events) == ["NEW", "POSITION"]


def test_a_post_only_buy_locks_price_times_quantity() -> None:
    pit = Pit()
    pit.place(BUY, 5000, 340_000)
    assert pit.amounts()["FDUSD"] == (D("48300"), D("1700"))


def test_cancelling_gives_the_lock_back_and_reports_both_ids() -> None:
    pit = Pit()
    order = pit.place(SELL, 5000, 340_010, client_order_id="mine").order
    events = pit.cancel(order, new_client_order_id="the-cancel")
    assert executions(events) == ["CANCELED", "POSITION"]
    report = only_reports(events)[0]
    assert (report.client_order_id, report.orig_client_order_id) == ("the-cancel", "mine")
    assert not report.on_book
    assert pit.amounts()["ETH"] == (D(10), D(0))
    assert pit.engine.open_orders("a") == []


def test_a_fill_of_a_resting_order_is_charged_in_the_asset_received_and_rounded_down() -> None:
    pit = Pit(maker=D("0.00075"), taker=D("0.001"))
    order = pit.place(BUY, 3333, 340_000).order
    report, *_ = pit.market(sold(339_990, 3333))
    assert report.fill is not None
    assert (report.fill.commission_asset, report.fill.maker) == ("ETH", True)
    assert pit.engine.amount_text("ETH", report.fill.commission) == "0.00024997", "0.3333 x 0.00075 = 0.000249975"
    assert pit.amounts()["ETH"] == (D("10.33305003"), D(0))
    assert pit.amounts("*fees")["ETH"] == (D("0.00024997"), D(0))
    assert pit.order(order).status == "FILLED"


def test_a_sell_is_charged_in_the_quote_asset() -> None:
    pit = Pit(maker=D("0.001"))
    pit.place(SELL, 10_000, 340_010)
    pit.market(bought(340_020, 10_000))
    assert pit.amounts()["FDUSD"] == (D("53396.6999"), D(0)), "3400.10 less 3.4001"


def test_amounts_finer_than_1e_8_stay_exact_and_commission_is_whole_1e_8() -> None:
    rules = with_rules(tick_size=D("0.00000001"), step_size=D("0.001"), min_notional=D(0), min_price_ticks=1)
    pit = Pit(top(3, 1000, 5, 1000), rules, maker=D("0.3"))
    pit.place(BUY, 1, 3)
    assert pit.engine.unit("FDUSD") == D("1E-11")
    assert pit.amounts()["FDUSD"][1] == D("0.00000000003")
    pit.market(sold(2, 1))
    assert pit.amounts("*fees")["ETH"] == (D("0.0003"), D(0))


# --- how resting orders fill ---


def test_joining_the_best_ask_means_waiting_for_what_is_displayed_there() -> None:
    pit = Pit()
    order = pit.place(SELL, 5000, 340_010).order
    assert pit.market(bought(340_010, 12_000, 1)) == []
    reports = pit.market(bought(340_010, 20_000, 2))
    assert fills(reports) == [(order.order_id, 2000, "queue: 3 ahead traded off")]
    assert pit.order(order).status == "PARTIALLY_FILLED"
    assert fills(pit.market(bought(340_010, 50_000, 3))) == [(order.order_id, 3000, "queue: 3 ahead traded off")]


def test_inside_the_spread_the_first_trade_at_the_price_fills() -> None:
    pit = Pit()
    order = pit.place(SELL, 5000, 340_005).order
    assert fills(pit.market(bought(340_005, 1000))) == [(order.order_id, 1000, "queue: 0 ahead traded off")]


def test_behind_the_best_price_the_queue_is_the_known_level_or_an_estimate() -> None:
    pit = Pit()
    pit.market(depth(asks=[(340_020, 700)]))
    known, unknown = pit.place(SELL, 5000, 340_020).order, pit.place(SELL, 5000, 340_030).order
    assert fills(pit.market(top(340_000, 1, 340_020, 700), bought(340_020, 701))) == [
        (known.order_id, 1, "queue: 0.07 ahead traded off")
    ]
    assert pit.market(top(340_000, 1, 340_030, 99_000), bought(340_030, 30_000, 2)) != []
    assert pit.order(unknown).filled == 0, "the estimate was the 3 at the best ask"


def test_the_book_crossing_fills_at_the_orders_own_price() -> None:
    pit = Pit()
    order = pit.place(SELL, 5000, 340_010).order
    reports = pit.market(top(340_050, 3000, 340_060, 10_000))
    assert fills(reports) == [(order.order_id, 3000, "book crossed")]
    assert reports[0].fill is not None and reports[0].fill.price == 340_010


def test_touch_and_through_differ_in_a_trade_at_the_price() -> None:
    for model, filled in (("touch", 5000), ("through", 0)):
        pit = Pit(fills=model)
        order = pit.place(SELL, 5000, 340_010).order
        pit.market(bought(340_010, 9000))
        assert pit.order(order).filled == filled


def test_an_aggregate_trade_fills_only_where_it_stands_for_the_trades() -> None:
    for drives, filled in ((False, 0), (True, 5000)):
        pit = Pit()
        order = pit.place(SELL, 5000, 340_010).order
        trade = AggTrade(340_020, 9000, 1, 10, 12, 0, buyer_is_maker=False, drives=drives)
        assert pit.outcome(trade).trade_id == 12
        assert pit.order(order).filled == filled


def test_a_resting_order_that_fills_tells_trade_then_position_each_time() -> None:
    pit = Pit()
    pit.place(SELL, 5000, 340_010)
    outcome = pit.outcome(bought(340_020, 3000))
    assert executions(outcome.events) == ["TRADE", "POSITION"]


# --- takers ---


def test_a_limit_order_takes_what_is_displayed_and_rests_with_the_remainder() -> None:
    pit = Pit(taker=D("0.001"))
    placed = pit.place(BUY, 50_000, 340_020, "LIMIT")
    assert [(fill.price, fill.qty, fill.maker) for fill in placed.fills] == [(340_010, 30_000, False)]
    assert placed.order.status == "PARTIALLY_FILLED" and placed.order.remaining == 20_000
    assert executions(placed.events) == ["NEW", "TRADE", "POSITION"]
    assert pit.amounts()["FDUSD"] == (D("50000") - D("10200.30") - D("6800.40"), D("6800.40"))


def test_the_first_report_shows_the_whole_lock_and_the_trade_frees_the_difference() -> None:
    pit = Pit()
    accepted, traded = only_reports(pit.place(BUY, 10_000, 350_000, "LIMIT").events)
    assert accepted.balances["FDUSD"].locked == 3500 * 10**8
    assert traded.balances["FDUSD"] == (465_999 * 10**7, 0)


def test_ioc_expires_what_it_could_not_take() -> None:
    placed = Pit().place(BUY, 50_000, 340_020, "LIMIT", time_in_force="IOC")
    assert executions(placed.events) == ["NEW", "TRADE", "EXPIRED", "POSITION"]
    assert (placed.order.status, placed.order.filled) == ("EXPIRED", 30_000)
    assert placed.order.expiry_reason == "UNFILLED_IOC_QUANTITY_EXPIRED"


def test_fok_takes_all_or_nothing() -> None:
    pit = Pit()
    nothing = pit.place(BUY, 30_001, 340_020, "LIMIT", time_in_force="FOK")
    assert executions(nothing.events) == ["NEW", "EXPIRED", "POSITION"]
    assert nothing.order.expiry_reason == "UNFILLED_FOK_ORDER_EXPIRED"
    assert pit.amounts()["FDUSD"] == (D(50_000), D(0))
    assert pit.place(BUY, 30_000, 340_020, "LIMIT", time_in_force="FOK").order.status == "FILLED"


def test_a_market_order_walks_known_levels_and_expires_beyond_them() -> None:
    pit = Pit()
    pit.market(depth(asks=[(340_030, 10_000)]))
    placed = pit.place(BUY, 90_000, None, "MARKET")
    assert [(fill.price, fill.qty) for fill in placed.fills] == [(340_010, 30_000), (340_030, 10_000)]
    assert (placed.order.status, placed.order.expiry_reason) == ("EXPIRED", "INSUFFICIENT_LIQUIDITY")
    assert placed.order.price == 0 and placed.order.working_ms


def test_a_market_order_by_quote_amount_spends_at_most_that() -> None:
    pit = Pit()
    placed = pit.place(BUY, None, None, "MARKET", quote_order_qty=D(150))
    assert (placed.order.qty, placed.order.filled, placed.order.status) == (441, 441, "FILLED")
    assert placed.order.cum_quote == 441 * 340_010
    sold_some = pit.place(SELL, None, None, "MARKET", quote_order_qty=D(150))
    assert sold_some.order.filled == 441


def test_what_a_taker_took_is_gone_until_the_level_is_renewed() -> None:
    pit = Pit()
    assert pit.place(BUY, 30_000, 340_010, "LIMIT", time_in_force="IOC").order.filled == 30_000
    assert pit.place(BUY, 30_000, 340_010, "LIMIT", time_in_force="IOC").order.filled == 0
    pit.market(top(340_000, 20_000, 340_010, 25_000))
    assert pit.place(BUY, 30_000, 340_010, "LIMIT", time_in_force="IOC").order.filled == 25_000


def test_clients_match_each_other_at_the_resting_price() -> None:
    pit = Pit(maker=D("0.001"), taker=D("0.002"))
    maker = pit.place(SELL, 5000, 340_005, account="a").order
    placed = pit.place(BUY, 8000, 340_005, "LIMIT", account="b")
    assert executions(placed.events) == ["NEW", "TRADE", "TRADE", "POSITION", "POSITION"]
    taken, made = only_reports(placed.events)[1:]
    assert taken.fill is not None and made.fill is not None
    assert taken.fill.trade_id == made.fill.trade_id and taken.why == made.why == "matched client order"
    assert (taken.order.account, made.order.account) == ("b", "a")
    assert pit.order(maker).status == "FILLED" and placed.order.remaining == 3000
    assert len(placed.prints) == 1 and not placed.prints[0].buyer_is_maker
    assert pit.amounts("*market") == {"ETH": (D(0), D(0)), "FDUSD": (D(0), D(0))}, "the market had no part in it"


def test_an_account_does_not_trade_with_itself() -> None:
    pit = Pit()
    own = pit.place(SELL, 5000, 340_005).order
    placed = pit.place(BUY, 8000, 340_005, "LIMIT")
    assert executions(placed.events) == ["NEW", "TRADE_PREVENTION", "POSITION"]
    assert pit.order(own).status == "EXPIRED_IN_MATCH"
    assert placed.order.status == "NEW" and placed.order.filled == 0
    (prevention,) = placed.preventions
    assert (prevention.maker_order_id, prevention.maker_qty, prevention.qty) == (own.order_id, 5000, 5000)
    assert pit.amounts()["ETH"] == (D(10), D(0))


# --- refusals ---


@pytest.mark.parametrize(("side", "price"), [(BUY, 340_010), (BUY, 340_011), (SELL, 340_000), (SELL, 339_999)])
def test_post_only_is_refused_where_it_would_match_the_market(side: Side, price: int) -> None:
    error = refused(Pit(), side, 5000, price)
    assert (error.code, error.msg) == (-2010, "Order would immediately match and take.")
    assert error.report is not None and error.report.reject_reason == "WOULD_MATCH_IMMEDIATELY"
    assert error.report.order.order_id == -1


def test_post_only_is_refused_where_it_would_match_a_client() -> None:
    pit = Pit()
    pit.place(SELL, 5000, 340_005, account="b")
    assert refused(pit, BUY, 5000, 340_005).code == -2010
    pit.place(BUY, 5000, 340_004)


def test_more_than_is_free_is_refused_and_changes_nothing() -> None:
    pit = Pit()
    for side, qty, price, kind in (
        (SELL, 100_001, 340_010, "LIMIT_MAKER"),
        (BUY, 147_059, 340_000, "LIMIT_MAKER"),
        (SELL, 100_001, None, "MARKET"),
    ):
        error = refused(pit, side, qty, price, kind)
        assert (error.code, error.msg) == (-2010, "Account has insufficient balance for requested action.")
        assert error.report is not None and error.report.reject_reason == "INSUFFICIENT_BALANCES"
    pit.market(top(340_000, 1, 340_010, 900_000))
    assert refused(pit, BUY, 150_000, None, "MARKET").code == -2010
    assert pit.amounts() == {"ETH": (D(10), D(0)), "FDUSD": (D(50_000), D(0))}
    assert pit.engine.orders("a", SYMBOL) == []


def test_a_client_order_id_is_unique_among_open_orders_only() -> None:
    pit = Pit()
    first = pit.place(SELL, 5000, 340_010, client_order_id="x").order
    assert refused(pit, SELL, 5000, 340_020, client_order_id="x").msg == "Duplicate order sent."
    pit.place(SELL, 5000, 340_020, account="b", client_order_id="x")
    pit.cancel(first)
    second = pit.place(SELL, 5000, 340_020, client_order_id="x").order
    assert pit.engine.order("a", SYMBOL, client_order_id="x") == second, "the newest of that id"


@pytest.mark.parametrize(
    ("changes", "code", "msg"),
    [
        ({"price": D("3400.105")}, -1013, "Filter failure: PRICE_FILTER"),
        ({"price": D("1000000.01")}, -1013, "Filter failure: PRICE_FILTER"),
        ({"price": D(0)}, -1013, "Filter failure: PRICE_FILTER"),
        ({"quantity": D("0.50001")}, -1013, "Filter failure: LOT_SIZE"),
        ({"quantity": D(0)}, -1013, "Filter failure: LOT_SIZE"),
        ({"quantity": D("9000.0001")}, -1013, "Filter failure: LOT_SIZE"),
        ({"quantity": D("0.0014")}, -1013, "Filter failure: NOTIONAL"),
        ({"quantity": D("5000"), "price": D("1801")}, -1013, "Filter failure: NOTIONAL"),
        ({"price": D("680"), "side": SELL}, -1013, "Filter failure: PERCENT_PRICE_BY_SIDE"),
        ({"price": D("17100.01")}, -1013, "Filter failure: PERCENT_PRICE_BY_SIDE"),
        ({"quantity": D("0.123456789")}, -1111, "Parameter 'quantity' has too much precision."),
        ({"price": None}, -1102, "Mandatory parameter 'price' was not sent, was empty/null, or malformed."),
        ({"quantity": None}, -1102, "Mandatory parameter 'quantity' was not sent, was empty/null, or malformed."),
        ({"time_in_force": "GTD"}, -1115, "Invalid timeInForce."),
        ({"type": "PEGGED"}, -1116, "Invalid orderType."),
        ({"type": "STOP_LOSS"}, -1106, "Parameter 'price' sent when not required."),
        ({"symbol": "NOSUCH"}, -1121, "Invalid symbol."),
        (
            {"type": "MARKET", "price": None, "quantity": D("300.0001")},
            -1013,
            "Filter failure: MARKET_LOT_SIZE",
        ),
        ({"type": "MARKET", "price": None, "quantity": D("0.0014")}, -1013, "Filter failure: NOTIONAL"),
        (
            {"type": "MARKET", "price": None, "quantity": None, "quote_order_qty": D("4.99")},
            -1013,
            "Filter failure: NOTIONAL",
        ),
        ({"type": "MARKET"}, -1106, "Parameter 'price' sent when not required."),
        (
            {"type": "MARKET", "price": None, "quantity": None},
            -1102,
            "Param 'quantity' or 'quoteOrderQty' must be sent, but both were empty/null!",
        ),
    ],
)
def test_filters_and_parameters(changes: dict[str, object], code: int, msg: str) -> None:
    pit = Pit()
    wanted = attrs.evolve(request(BUY, "LIMIT", 5000, 340_000), **changes)  # type: ignore[arg-type]
    with pytest.raises(Rejected) as caught:
        pit.engine.place("a", wanted, 1, 1)
    assert (caught.value.code, caught.value.msg) == (code, msg)
    assert caught.value.report is not None and caught.value.report.request == wanted
    with pytest.raises(Rejected):
        pit.engine.test("a", wanted, 1)


def test_a_halted_symbol_takes_no_orders() -> None:
    pit = Pit(rules=with_rules(status="HALT"))
    assert (refused(pit, BUY, 5000, 340_000).code, refused(pit, BUY, 5000, 340_000).msg) == (-1013, "Market is closed.")


def test_only_so_many_open_orders() -> None:
    pit = Pit()
    orders = [pit.place(SELL, 5000, 340_010 + at).order for at in range(5)]
    error = refused(pit, SELL, 5000, 340_010)
    assert (error.code, error.msg) == (-2010, "Filter failure: MAX_NUM_ORDERS")
    with pytest.raises(Rejected, match="MAX_NUM_ORDERS"):
        pit.replace(orders[0], SELL, 5000, 340_012)
    assert len(pit.engine.open_orders("a", SYMBOL)) == 5, "the old order goes on"


# --- cancelling and replacing ---


def test_cancelling_what_is_not_open() -> None:
    pit = Pit()
    order = pit.place(SELL, 5000, 340_010, client_order_id="x").order
    pit.place(SELL, 5000, 340_010, client_order_id="y")
    with pytest.raises(Rejected, match="-2039"):
        pit.engine.cancel("a", SYMBOL, 1, 1, order_id=order.order_id, orig_client_order_id="y")
    with pytest.raises(Rejected, match="-1102"):
        pit.engine.cancel("a", SYMBOL, 1, 1)
    with pytest.raises(Rejected, match="-1145"):
        pit.cancel(order, restrictions="ONLY_OLD")
    pit.engine.cancel("a", SYMBOL, 1, 1, orig_client_order_id="x")
    for ids in ({"order_id": order.order_id}, {"orig_client_order_id": "x"}, {"order_id": 999}):
        with pytest.raises(Rejected, match=r"-2011 Unknown order sent\."):
            pit.engine.cancel("a", SYMBOL, 1, 1, **ids)
    with pytest.raises(Rejected, match="-2011"):
        pit.engine.cancel("b", SYMBOL, 1, 1, orig_client_order_id="y")


def test_cancel_restrictions_follow_the_orders_status() -> None:
    pit = Pit()
    order = pit.place(SELL, 5000, 340_005).order
    with pytest.raises(Rejected, match=r"Order was not canceled due to cancel restrictions\."):
        pit.cancel(order, restrictions="ONLY_PARTIALLY_FILLED")
    pit.market(bought(340_005, 100))
    with pytest.raises(Rejected, match="-2011"):
        pit.cancel(order, restrictions="ONLY_NEW")
    assert executions(pit.cancel(order, restrictions="ONLY_PARTIALLY_FILLED")) == ["CANCELED", "POSITION"]


def test_cancel_all_takes_the_accounts_orders_of_the_symbol() -> None:
    pit = Pit()
    mine = [pit.place(SELL, 5000, 340_010).order, pit.place(BUY, 5000, 340_000).order]
    other = pit.place(SELL, 5000, 340_010, account="b").order
    canceled = pit.engine.cancel_all("a", SYMBOL, 9, 9)
    assert [one.order.order_id for one in canceled if isinstance(one, Canceled)] == [order.order_id for order in mine]
    assert pit.engine.open_orders("b") == [other]
    assert pit.amounts() == {"ETH": (D(10), D(0)), "FDUSD": (D(50_000), D(0))}
    with pytest.raises(Rejected, match="-2011"):
        pit.engine.cancel_all("a", SYMBOL, 9, 9)


def test_replacing_cancels_then_places_and_frees_the_funds_and_the_id_first() -> None:
    pit = Pit()
    old = pit.place(SELL, 100_000, 340_010, client_order_id="x").order
    replaced = pit.replace(old, SELL, 100_000, 340_020, client_order_id="x")
    assert (replaced.status, replaced.code, replaced.msg) == (200, 0, "")
    assert (replaced.cancel_result, replaced.new_order_result) == ("SUCCESS", "SUCCESS")
    assert executions(replaced.events) == ["CANCELED", "NEW", "POSITION"]
    assert replaced.placed is not None and replaced.placed.order.order_id > old.order_id
    assert [order.price for order in pit.engine.open_orders("a")] == [340_020]


@pytest.mark.parametrize("mode", ["STOP_ON_FAILURE", "ALLOW_FAILURE"])
def test_replacing_fails_half_way_when_the_new_order_would_match(mode: str) -> None:
    pit = Pit()
    old = pit.place(SELL, 5000, 340_010).order
    replaced = pit.replace(old, SELL, 5000, 340_000, mode)
    assert (replaced.status, replaced.code, replaced.msg) == (409, -2021, "Order cancel-replace partially failed.")
    assert (replaced.cancel_result, replaced.new_order_result) == ("SUCCESS", "FAILURE")
    assert replaced.place_error is not None and replaced.place_error.code == -2010
    assert executions(replaced.events) == ["CANCELED", "REJECTED", "POSITION"]
    assert pit.order(old).status == "CANCELED" and pit.engine.open_orders("a") == []


def test_replacing_stops_when_the_cancel_fails() -> None:
    pit = Pit()
    old = pit.place(SELL, 5000, 340_010).order
    pit.cancel(old)
    replaced = pit.replace(old, SELL, 5000, 340_020)
    assert (replaced.status, replaced.code, replaced.msg) == (400, -2022, "Order cancel-replace failed.")
    assert (replaced.cancel_result, replaced.new_order_result) == ("FAILURE", "NOT_ATTEMPTED")
    assert replaced.cancel_error is not None and replaced.cancel_error.code == -2011
    assert replaced.events == () and pit.engine.open_orders("a") == []


def test_replacing_goes_on_when_failure_is_allowed() -> None:
    pit = Pit()
    old = pit.place(SELL, 5000, 340_010).order
    pit.cancel(old)
    replaced = pit.replace(old, SELL, 5000, 340_020, "ALLOW_FAILURE")
    assert (replaced.status, replaced.code) == (409, -2021)
    assert (replaced.cancel_result, replaced.new_order_result) == ("FAILURE", "SUCCESS")
    assert replaced.placed is not None
    both = pit.replace(old, SELL, 5000, 340_000, "ALLOW_FAILURE")
    assert (both.status, both.code) == (400, -2022)
    assert (both.cancel_result, both.new_order_result) == ("FAILURE", "FAILURE")
    assert executions(both.events) == ["REJECTED"]


def test_replacing_respects_cancel_restrictions() -> None:
    pit = Pit()
    old = pit.place(SELL, 5000, 340_005).order
    pit.market(bought(340_005, 100))
    replaced = pit.replace(old, SELL, 5000, 340_020, restrictions="ONLY_NEW")
    assert (replaced.cancel_result, replaced.new_order_result) == ("FAILURE", "NOT_ATTEMPTED")
    assert pit.order(old).is_open


def test_a_new_order_that_breaks_a_filter_leaves_the_old_one_working() -> None:
    pit = Pit()
    old = pit.place(SELL, 5000, 340_010).order
    for qty, price in ((1, 340_010), (5000, 340_010 * 6)):
        with pytest.raises(Rejected) as caught:
            pit.replace(old, SELL, qty, price)
        assert caught.value.code == -1013
    with pytest.raises(Rejected, match="-1130"):
        pit.replace(old, SELL, 5000, 340_010, "SOMEHOW")
    assert pit.order(old) == old


# --- ids, queries, time ---


def test_public_trade_ids_are_shifted_by_clients_trades() -> None:
    pit = Pit(first_trade_id=501)
    assert pit.outcome(bought(340_010, 1, 501)).trade_id == 501
    placed = pit.place(BUY, 5000, 340_010, "LIMIT")
    assert [one.trade_id for one in placed.prints] == [502]
    pit.place(SELL, 5000, 340_020)
    outcome = pit.outcome(bought(340_030, 9000, 502))
    assert outcome.trade_id == 503 and [one.trade_id for one in outcome.prints] == [504]
    assert pit.outcome(bought(340_010, 1, 503)).trade_id == 505


def test_a_clients_trade_before_any_public_one_takes_the_first_id() -> None:
    pit = Pit(first_trade_id=501)
    assert [one.trade_id for one in pit.place(BUY, 5000, 340_010, "LIMIT").prints] == [501]
    assert pit.outcome(bought(340_010, 1, 501)).trade_id == 502


def test_prints_tell_who_took() -> None:
    pit = Pit()
    pit.place(SELL, 5000, 340_005)
    outcome = pit.outcome(bought(340_006, 9000))
    assert [(one.price, one.qty, one.buyer_is_maker) for one in outcome.prints] == [(340_005, 5000, False)]
    assert pit.place(SELL, 5000, 340_000, "LIMIT").prints[0].buyer_is_maker


def test_queries_tell_orders_and_trades() -> None:
    pit = Pit()
    order = pit.place(BUY, 5000, 340_010, "LIMIT", client_order_id="x").order
    open_order = pit.place(BUY, 5000, 340_000).order
    assert pit.engine.order("a", SYMBOL, order_id=order.order_id, client_order_id="x") == order
    assert pit.engine.orders("a", SYMBOL) == [order, open_order]
    assert pit.engine.open_orders("a", SYMBOL) == [open_order]
    assert [(fill.order_id, fill.qty) for fill in pit.engine.trades("a", SYMBOL)] == [(order.order_id, 5000)]
    assert pit.engine.trades("a", SYMBOL, open_order.order_id) == []
    assert pit.engine.trades("b", SYMBOL) == []
    with pytest.raises(Rejected, match=r"-2013 Order does not exist\."):
        pit.engine.order("b", SYMBOL, order_id=order.order_id)
    best = pit.engine.top(SYMBOL)
    assert best is not None and best.ask == 340_010


def test_the_average_price_is_weighted_by_volume_over_five_minutes() -> None:
    engine = Engine([with_rules()])
    assert engine.average_price(SYMBOL, 0) is None
    engine.on_event(SYMBOL, top(340_000, 1, 340_010, 1), 0, 0)
    assert engine.average_price(SYMBOL, 0) == D("3400.05"), "the middle, while nobody has traded"
    engine.on_event(SYMBOL, bought(340_000, 1), 0, 0)
    engine.on_event(SYMBOL, bought(341_000, 3), 0, 200_000 * MS)
    assert engine.average_price(SYMBOL, 200_000 * MS) == D("3407.5")
    assert engine.average_price(SYMBOL, 301_000 * MS) == D(3410)
    assert engine.average_price(SYMBOL, 900_000 * MS) == D(3410), "the last trade stands"
    assert engine.last_trade(SYMBOL) == (341_000, 200_000)


def test_execution_ids_and_service_times_are_told() -> None:
    pit = Pit()
    events = [*pit.place(BUY, 5000, 340_010, "LIMIT").events, *pit.place(BUY, 5000, 340_000).events]
    ids = [report.execution_id for report in only_reports(events)]
    assert ids == sorted(set(ids))
    assert [event.now_ms for event in events] == [1002, 1002, 1002, 1003, 1003]


def test_orders_that_ended_without_a_trade_are_forgotten_in_the_end() -> None:
    pit, history = Pit(), OrderHistory(Retention(untraded=2))
    traded = pit.place(BUY, 5000, 340_010, "LIMIT")
    history.add(msgspec.structs.replace(traded.order, status="NEW", filled=0))
    history.update(traded.order)
    history.add_fill(traded.order, traded.fills[0])
    for order_id in (11, 12, 13, 14):
        order = msgspec.structs.replace(
            traded.order, order_id=order_id, client_order_id=f"x{order_id}", status="NEW", filled=0
        )
        history.add(order)
        if order_id != 14:
            history.update(msgspec.structs.replace(order, status="CANCELED"))
    assert [order.order_id for order in history.orders("a", SYMBOL)] == [traded.order.order_id, 12, 13, 14]
    assert [order.order_id for order in history.open_orders("a", None)] == [14]
    unknown = Rejected(-2013, "Order does not exist.")
    with pytest.raises(Rejected, match="-2013"):
        history.find("a", SYMBOL, None, "x11", unknown)
    assert history.find("a", SYMBOL, None, "x12", unknown).order_id == 12
    assert history.fills("a", SYMBOL, None) == list(traded.fills)


def test_how_many_orders_are_kept_is_for_the_caller() -> None:
    pit = Pit(retention=Retention(untraded=2, traded=1))
    for price in range(339_990, 339_995):
        pit.engine.cancel("a", SYMBOL, 1, 1, order_id=pit.place(BUY, 5000, price).order.order_id)
    traded = [pit.place(BUY, 5000, 340_010, "LIMIT") for _ in range(3)]
    resting = pit.place(BUY, 5000, 339_990).order
    kept = pit.engine.orders("a", SYMBOL)
    assert [order.order_id for order in kept] == [4, 5, traded[-1].order.order_id, resting.order_id]
    assert pit.engine.trades("a", SYMBOL) == list(traded[-1].fills)


# --- accounts ---


def test_deposits_and_withdrawals() -> None:
    pit = Pit()
    assert pit.engine.deposit("c", "BNB", D("1.5")) == 150_000_000
    assert pit.amounts("c") == {"BNB": (D("1.5"), D(0))}
    with pytest.raises(Rejected, match="-2010"):
        pit.engine.withdraw("c", "BNB", D(2))
    pit.engine.withdraw("c", "BNB", D("1.5"))
    assert pit.engine.total("BNB") == 0
    for bad in (D(-1), D("0.000000001")):
        with pytest.raises(ValueError, match=r"BNB|multiple"):
            pit.engine.deposit("c", "BNB", bad)


def test_a_withdrawal_cannot_touch_what_is_locked() -> None:
    pit = Pit()
    pit.place(SELL, 90_000, 340_010)
    with pytest.raises(Rejected, match="-2010"):
        pit.engine.withdraw("a", "ETH", D(2))


def test_an_engine_refuses_nonsense() -> None:
    with pytest.raises(ValueError, match="fill model"):
        Engine([with_rules()], fills="hope")
    with pytest.raises(ValueError, match="commission"):
        Engine([with_rules()], maker=D(1))


def test_two_symbols_share_accounts_and_not_books() -> None:
    other = with_rules(name="BTCFDUSD", base_asset="BTC", step_size=D("0.00001"))
    engine = Engine([with_rules(), other])
    engine.deposit("a", "FDUSD", D(1000))
    engine.on_event("BTCFDUSD", top(6_000_000, 10, 6_000_100, 10), 0, 0)
    assert engine.top(SYMBOL) is None
    wanted = OrderRequest(symbol="BTCFDUSD", side=BUY, type="LIMIT", quantity=D("0.001"), price=D(59_000))
    engine.place("a", wanted, 1, 1)
    assert engine.balances("a")["FDUSD"] == (941 * 10**8, 59 * 10**8)
    assert engine.open_orders("a", SYMBOL) == [] and len(engine.open_orders("a")) == 1


def test_reports_carry_all_balances_of_the_account() -> None:
    pit = Pit()
    pit.engine.deposit("a", "BNB", D(1))
    report = pit.place(SELL, 5000, 340_010).events[0]
    assert isinstance(report, Report)
    assert report.balances == pit.engine.balances("a")
    assert list(report.balances) == ["ETH", "FDUSD", "BNB"]


def test_a_seller_hitting_our_bid_is_what_moves_a_buy_queue() -> None:
    pit = Pit()
    order = pit.place(BUY, 5000, 340_000).order
    assert pit.market(bought(340_000, 90_000)) == []
    assert fills(pit.market(sold(340_000, 21_000, 2))) == [(order.order_id, 1000, "queue: 2 ahead traded off")]
