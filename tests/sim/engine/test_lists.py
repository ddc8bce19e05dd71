from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from tests.sim.markets import MS, SYMBOL, Pit, bought, only_reports, request, sold, top, with_rules
from tetrio.core.market import Side
from tetrio.sim.engine.clearing import Discount, Rate, Rates
from tetrio.sim.engine.orders import (
    Balance,
    CanceledList,
    ListReport,
    ListRequest,
    Order,
    OrderList,
    OrderRequest,
    Peg,
    PlacedList,
    Position,
    Rejected,
    Report,
    UserEvent,
)
from tetrio.wire.rules import Filters

BUY, SELL = Side.BUY, Side.SELL
D = Decimal
TICK = D("0.01")


def leg(
    side: Side, kind: str, qty: int | None = 5000, price: int | None = None, stop: int | None = None, **more: Any
) -> OrderRequest:
    return request(side, kind, qty, price, stop_price=None if stop is None else stop * TICK, **more)


def place(pit: Pit, kind: str, *legs: OrderRequest, client_order_id: str = "", account: str = "a") -> PlacedList:
    pit.now_ms += 1
    wanted = ListRequest(symbol=SYMBOL, kind=kind, legs=legs, client_order_id=client_order_id)
    return pit.engine.place_list(account, wanted, pit.now_ms, pit.now_ms * MS)


def sell_oco(pit: Pit, **more: Any) -> PlacedList:
    """Sells 0.5 at 3450.00, or at 3390.00 once 3395.00 trades. Orders: the stop leg, then the limit leg."""
    above = leg(SELL, "LIMIT_MAKER", price=345_000)
    return place(pit, "OCO", above, leg(SELL, "STOP_LOSS_LIMIT", price=339_000, stop=339_500), **more)


def traded_at(price: int = 340_005, **options: Any) -> Pit:
    pit = Pit(rules=with_rules(max_num_orders=20), **options)
    pit.market(bought(price, 1))
    return pit


def told(events: Sequence[UserEvent]) -> list[str]:
    """What each event says, in short."""
    words = []
    for event in events:
        if isinstance(event, Report):
            words.append(f"{event.execution.value} {event.order.order_id} {event.order.status}")
        elif isinstance(event, ListReport):
            words.append(f"LIST {event.order_list.status_type}")
        elif isinstance(event, Position):
            words.append("POSITION")
    return words


def order(pit: Pit, order_id: int) -> Order:
    return pit.engine.order("a", SYMBOL, order_id=order_id)


def ends(pit: Pit, placed: PlacedList) -> list[str]:
    """Status and expiry reason of each leg."""
    found = [order(pit, each.order.order_id) for each in placed.legs]
    return [f"{one.status} {one.expiry_reason}".strip() for one in found]


def as_it_is(pit: Pit, placed: PlacedList) -> OrderList:
    return pit.engine.order_list("a", list_id=placed.order_list.list_id)


# --- OCO ---


def test_an_oco_places_the_stop_leg_first_and_locks_once() -> None:
    pit = traded_at()
    placed = sell_oco(pit)
    assert [(each.order.order_id, each.order.type, each.order.status) for each in placed.legs] == [
        (1, "STOP_LOSS_LIMIT", "NEW"),
        (2, "LIMIT_MAKER", "NEW"),
    ]
    assert [one.order.working_ms for one in placed.legs] == [-1, pit.now_ms]
    assert told(placed.events) == ["LIST EXEC_STARTED", "NEW 1 NEW", "NEW 2 NEW", "POSITION"]
    assert placed.order_list.contingency == "OCO" and placed.order_list.status == "EXECUTING"
    assert pit.amounts()["ETH"] == (D("9.5"), D("0.5"))
    assert pit.engine.open_lists("a") == [placed.order_list]


def test_a_buy_oco_locks_the_dearer_leg() -> None:
    pit = traded_at()
    above = leg(BUY, "STOP_LOSS_LIMIT", price=346_000, stop=345_000)
    placed = place(pit, "OCO", above, leg(BUY, "LIMIT_MAKER", price=335_000))
    assert [each.order.type for each in placed.legs] == ["STOP_LOSS_LIMIT", "LIMIT_MAKER"]
    assert pit.amounts()["FDUSD"] == (D(48_270), D(1730))
    pit.market(sold(334_990, 9000, 2))
    assert pit.amounts()["FDUSD"] == (D(48_325), D(0)), "what it paid was its own price"


def test_the_limit_leg_trades_first_then_the_stop_leg_goes() -> None:
    pit = traded_at(maker=D("0.0008"))
    placed = sell_oco(pit)
    outcome = pit.outcome(bought(345_010, 9000, 2))
    assert told(outcome.events) == ["TRADE 2 FILLED", "EXPIRED 1 EXPIRED", "LIST ALL_DONE", "POSITION"]
    assert ends(pit, placed) == ["EXPIRED OCO_TRIGGER", "FILLED"]
    assert (as_it_is(pit, placed).status, pit.engine.open_lists("a")) == ("ALL_DONE", [])


def test_one_partial_fill_ends_the_other_leg_and_not_the_list() -> None:
    pit = traded_at()
    placed = sell_oco(pit)
    assert told(pit.outcome(bought(345_010, 2000, 2)).events) == [
        "TRADE 2 PARTIALLY_FILLED",
        "EXPIRED 1 EXPIRED",
        "POSITION",
    ]
    assert as_it_is(pit, placed).is_open and pit.amounts()["ETH"] == (D("9.5"), D("0.3"))
    assert told(pit.outcome(bought(345_010, 9000, 3)).events) == ["TRADE 2 FILLED", "LIST ALL_DONE", "POSITION"]


def test_the_stop_leg_removes_the_limit_leg_before_it_works() -> None:
    pit = traded_at()
    placed = sell_oco(pit)
    outcome = pit.outcome(sold(339_500, 1, 2))
    assert told(outcome.events) == [
        "EXPIRED 2 EXPIRED",
        "NEW 1 NEW",
        "TRADE 1 FILLED",
        "LIST ALL_DONE",
        "POSITION",
    ]
    assert ends(pit, placed) == ["FILLED", "EXPIRED OCO_TRIGGER"]


def test_a_triggered_leg_that_rests_keeps_the_list_open_until_it_ends() -> None:
    pit = traded_at()
    below = leg(SELL, "STOP_LOSS_LIMIT", price=344_000, stop=339_500)
    placed = place(pit, "OCO", leg(SELL, "LIMIT_MAKER", price=345_000), below)
    pit.market(sold(339_500, 1, 2))
    assert as_it_is(pit, placed).is_open and ends(pit, placed) == ["NEW", "EXPIRED OCO_TRIGGER"]
    assert pit.amounts()["ETH"] == (D("9.5"), D("0.5"))
    pit.market(bought(344_010, 9000, 3))
    assert not as_it_is(pit, placed).is_open


def test_a_pair_of_take_profit_and_trailing_stop() -> None:
    pit = traded_at()
    below = leg(SELL, "STOP_LOSS", trailing_delta=100)
    placed = place(pit, "OCO", leg(SELL, "TAKE_PROFIT", stop=345_000), below)
    assert [each.order.type for each in placed.legs] == ["STOP_LOSS", "TAKE_PROFIT"]
    pit.market(bought(344_000, 1, 2), sold(340_560, 1, 3))
    assert ends(pit, placed) == ["FILLED", "EXPIRED OCO_TRIGGER"]


@pytest.mark.parametrize(
    ("above", "below", "code"),
    [
        (leg(BUY, "LIMIT_MAKER", price=345_000), leg(BUY, "STOP_LOSS", stop=335_000), -1165),
        (leg(SELL, "STOP_LOSS", stop=345_000), leg(SELL, "LIMIT_MAKER", price=335_000), -1166),
        (leg(SELL, "LIMIT_MAKER", price=345_000), leg(SELL, "LIMIT_MAKER", price=335_000), -1168),
        (leg(BUY, "STOP_LOSS", stop=345_000), leg(BUY, "STOP_LOSS", stop=335_000), -1196),
        (leg(SELL, "STOP_LOSS", stop=345_000), leg(SELL, "STOP_LOSS", stop=335_000), -1197),
        (leg(BUY, "TAKE_PROFIT", stop=345_000), leg(BUY, "LIMIT_MAKER", price=335_000), -1198),
        (leg(SELL, "LIMIT_MAKER", price=345_000), leg(SELL, "TAKE_PROFIT", stop=335_000), -1199),
        (leg(SELL, "LIMIT", price=345_000), leg(SELL, "STOP_LOSS", stop=335_000), -1158),
        (leg(SELL, "LIMIT_MAKER", price=340_000), leg(SELL, "STOP_LOSS", stop=335_000), -2010),
        (leg(SELL, "LIMIT_MAKER", price=345_000), leg(SELL, "STOP_LOSS", stop=340_005), -2010),
        (leg(SELL, "TAKE_PROFIT", stop=340_005), leg(SELL, "STOP_LOSS", stop=335_000), -2010),
        (leg(BUY, "STOP_LOSS", stop=340_005), leg(BUY, "LIMIT_MAKER", price=335_000), -2010),
        (leg(SELL, "TAKE_PROFIT_LIMIT", price=345_000, stop=340_001), leg(SELL, "STOP_LOSS", stop=335_000), -2010),
        (leg(SELL, "LIMIT_MAKER", 200_000, 345_000), leg(SELL, "STOP_LOSS", 200_000, stop=335_000), -2010),
    ],
)
def test_a_pair_that_is_none_is_refused_and_changes_nothing(
    above: OrderRequest, below: OrderRequest, code: int
) -> None:
    pit = traded_at()
    with pytest.raises(Rejected) as caught:
        place(pit, "OCO", above, below)
    assert caught.value.code == code
    assert caught.value.report is not None and caught.value.report.execution_id == -1
    assert not pit.engine.open_orders("a") and not pit.engine.lists("a")
    assert pit.amounts()["ETH"] == (D(10), D(0))


def test_the_texts_of_misplaced_legs() -> None:
    pit = traded_at()
    with pytest.raises(Rejected, match=r"A take profit order in a sell OCO must be above\."):
        place(pit, "OCO", leg(SELL, "LIMIT_MAKER", price=345_000), leg(SELL, "TAKE_PROFIT", stop=335_000))
    with pytest.raises(Rejected, match=r"A stop loss order in a sell OCO must be below\."):
        place(pit, "OCO", leg(SELL, "STOP_LOSS", stop=345_000), leg(SELL, "STOP_LOSS", stop=335_000))
    with pytest.raises(Rejected, match=r"The relationship of the prices for the orders is not correct\.") as caught:
        sell_oco(traded_at(339_400))
    assert caught.value.report is not None and caught.value.report.reject_reason == "OCO_BAD_PRICES"


# --- OTO ---


def oto(pit: Pit, pending: OrderRequest, price: int = 339_000, kind: str = "LIMIT") -> PlacedList:
    return place(pit, "OTO", leg(BUY, kind, price=price), pending)


def test_a_pending_order_locks_nothing_until_the_working_one_is_filled_whole() -> None:
    pit = traded_at()
    placed = oto(pit, leg(SELL, "LIMIT_MAKER", 20_000, 345_000))
    assert told(placed.events) == ["LIST EXEC_STARTED", "NEW 1 NEW", "NEW 2 PENDING_NEW", "POSITION"]
    assert placed.order_list.contingency == "OTO" and pit.amounts()["ETH"] == (D(10), D(0))
    assert told(pit.outcome(sold(338_990, 4000, 2)).events) == ["TRADE 1 PARTIALLY_FILLED", "POSITION"]
    assert order(pit, 2).status == "PENDING_NEW"
    assert told(pit.outcome(sold(338_990, 4000, 3)).events) == ["TRADE 1 FILLED", "POSITION", "NEW 2 NEW", "POSITION"]
    assert order(pit, 2).working_ms == pit.now_ms and pit.amounts()["ETH"] == (D("8.5"), D(2))
    pit.market(bought(345_010, 90_000, 4))
    assert not as_it_is(pit, placed).is_open and ends(pit, placed) == ["FILLED", "FILLED"]


def test_a_working_order_that_takes_at_once_is_told_with_a_pending_one() -> None:
    pit = traded_at()
    placed = oto(pit, leg(SELL, "MARKET"), price=340_010)
    assert [(each.order.status, len(each.fills)) for each in placed.legs] == [("FILLED", 1), ("PENDING_NEW", 0)]
    assert ends(pit, placed) == ["FILLED", "FILLED"]
    assert told(placed.events)[3:] == [
        "TRADE 1 FILLED",
        "NEW 2 NEW",
        "TRADE 2 FILLED",
        "LIST ALL_DONE",
        "POSITION",
        "POSITION",
    ]
    assert len(placed.prints) == 2


def test_a_working_order_that_expires_ends_the_pending_one() -> None:
    pit = traded_at()
    working = leg(BUY, "LIMIT", 50_000, 340_010, time_in_force="IOC")
    placed = place(pit, "OTO", working, leg(SELL, "LIMIT_MAKER", price=345_000))
    assert ends(pit, placed) == ["EXPIRED UNFILLED_IOC_QUANTITY_EXPIRED", "EXPIRED OTO_PHASE_ONE_EXPIRED"]
    assert told(placed.events)[-4:] == ["EXPIRED 1 EXPIRED", "EXPIRED 2 EXPIRED", "LIST ALL_DONE", "POSITION"]


def test_cancelling_either_order_ends_the_list() -> None:
    for which in (1, 2):
        pit = traded_at()
        placed = oto(pit, leg(SELL, "LIMIT_MAKER", price=345_000))
        pit.market(sold(338_990, 4000, 2))
        canceled = pit.engine.cancel("a", SYMBOL, 9, 9, order_id=which, new_client_order_id="bye")
        assert isinstance(canceled, CanceledList)
        assert told(canceled.events) == ["CANCELED 1 CANCELED", "CANCELED 2 CANCELED", "LIST ALL_DONE", "POSITION"]
        assert [one.cancel_client_order_id for one in canceled.orders] == ["bye", "bye"]
        assert canceled.order_list.status_type == "ALL_DONE"
        assert ends(pit, placed) == ["CANCELED", "CANCELED"] and order(pit, 1).filled == 4000
        assert pit.amounts()["FDUSD"] == (D(48_644), D(0))


@pytest.mark.parametrize(
    ("pending", "reason"),
    [
        (leg(SELL, "LIMIT_MAKER", price=338_900), "would match"),
        (leg(SELL, "LIMIT_MAKER", 300_000, 345_000), "not enough to sell"),
        (leg(SELL, "STOP_LOSS", stop=339_500), "would trigger"),
        (leg(SELL, "STOP_LOSS", 300_000, stop=330_000), "not enough to lock"),
    ],
)
def test_a_pending_order_that_cannot_be_placed_ends_as_rejected(pending: OrderRequest, reason: str) -> None:
    pit = traded_at()
    placed = oto(pit, pending)
    pit.market(sold(338_990, 9000, 2))
    assert ends(pit, placed) == ["FILLED", "EXPIRED REJECTED"], reason
    assert not as_it_is(pit, placed).is_open and pit.amounts()["ETH"] == (D("10.5"), D(0))


def test_a_pending_stop_waits_and_a_pending_peg_takes_its_price_when_placed() -> None:
    pit = traded_at()
    stops = oto(pit, leg(SELL, "STOP_LOSS", stop=330_000))
    pegged = oto(pit, leg(SELL, "LIMIT_MAKER", peg=Peg(price_type="PRIMARY_PEG")))
    pit.market(sold(338_990, 20_000, 2))
    assert order(pit, stops.legs[1].order.order_id).waits
    assert order(pit, pegged.legs[1].order.order_id).pegged_price == 340_010
    assert pegged.legs[1].order.pegged_price == 0


@pytest.mark.parametrize(
    ("kind", "legs", "code"),
    [
        ("OTO", (leg(BUY, "MARKET"), leg(SELL, "MARKET")), -1014),
        ("OTO", (leg(BUY, "LIMIT", price=1), request(SELL, "MARKET", quote_order_qty=D(50))), -1014),
        ("OTO", (leg(BUY, "LIMIT", price=339_000),), -1014),
        ("SOMETHING", (leg(BUY, "LIMIT", price=339_000), leg(SELL, "MARKET")), -1014),
        ("OPO", (leg(SELL, "LIMIT", price=345_000), leg(SELL, "MARKET", None)), -1222),
        ("OPO", (leg(BUY, "LIMIT", price=339_000), leg(BUY, "MARKET", None)), -1223),
        ("OTO", (leg(BUY, "LIMIT", price=339_000), leg(SELL, "LIMIT", 1, 345_000)), -1013),
        ("OTO", (leg(BUY, "LIMIT_MAKER", price=341_000), leg(SELL, "MARKET")), -2010),
        (
            "OTO",
            (leg(BUY, "LIMIT", price=339_000, client_order_id="x"), leg(SELL, "MARKET", client_order_id="x")),
            -2010,
        ),
        ("OTO", (leg(BUY, "LIMIT", 200_000, 339_000), leg(SELL, "MARKET")), -2010),
    ],
)
def test_lists_that_cannot_be(kind: str, legs: tuple[OrderRequest, ...], code: int) -> None:
    pit = traded_at()
    with pytest.raises(Rejected) as caught:
        place(pit, kind, *legs)
    assert caught.value.code == code
    assert not pit.engine.open_orders("a") and not pit.engine.lists("a")


# --- OTOCO ---


def otoco(pit: Pit, price: int = 339_000, kind: str = "OTOCO", qty: int | None = 5000) -> PlacedList:
    above = leg(SELL, "LIMIT_MAKER", qty, 345_000)
    return place(pit, kind, leg(BUY, "LIMIT", price=price), above, leg(SELL, "STOP_LOSS", qty, stop=335_000))


def test_an_otoco_places_its_pair_when_the_working_order_is_filled() -> None:
    pit = traded_at()
    placed = otoco(pit)
    assert [each.order.type for each in placed.legs] == ["LIMIT", "STOP_LOSS", "LIMIT_MAKER"]
    assert placed.order_list.contingency == "OTO"
    assert told(pit.outcome(sold(338_990, 9000, 2)).events) == [
        "TRADE 1 FILLED",
        "POSITION",
        "NEW 2 NEW",
        "NEW 3 NEW",
        "POSITION",
    ]
    assert (order(pit, 2).waits, order(pit, 3).is_working) == (True, True)
    assert pit.amounts()["ETH"] == (D(10), D("0.5")), "one lock for both"
    assert told(pit.outcome(bought(345_010, 9000, 3)).events) == [
        "TRADE 3 FILLED",
        "EXPIRED 2 EXPIRED",
        "LIST ALL_DONE",
        "POSITION",
    ]


def test_an_otoco_whose_stop_is_passed_already_ends() -> None:
    """Our own trade, at the price of the working order, is the last one when the pair is placed."""
    pit = traded_at()
    above, stop = leg(SELL, "LIMIT_MAKER", 5000, 345_000), leg(SELL, "STOP_LOSS", 5000, stop=339_500)
    placed = place(pit, "OTOCO", leg(BUY, "LIMIT", price=339_000), above, stop)
    pit.market(sold(334_000, 9000, 2))
    assert ends(pit, placed) == ["FILLED", "EXPIRED REJECTED", "EXPIRED OCO_TRIGGER"]
    assert not as_it_is(pit, placed).is_open and pit.amounts()["ETH"] == (D("10.5"), D(0))


def test_an_otoco_whose_limit_would_match_already_ends_with_its_stop() -> None:
    pit = traded_at()
    placed = otoco(pit)
    pit.market(top(346_000, 1, 346_010, 1), sold(338_990, 9000, 2))
    assert ends(pit, placed) == ["FILLED", "EXPIRED OCO_TRIGGER", "EXPIRED REJECTED"]
    assert pit.amounts()["ETH"] == (D("10.5"), D(0))


def test_a_pending_pair_must_make_sense_before_it_is_placed() -> None:
    pit = traded_at()
    working = leg(BUY, "LIMIT", price=339_000)
    with pytest.raises(Rejected, match="relationship of the prices"):
        above = leg(SELL, "LIMIT_MAKER", price=335_000)
        place(pit, "OTOCO", working, above, leg(SELL, "STOP_LOSS", stop=345_000))
    with pytest.raises(Rejected, match="-1199"):
        above = leg(SELL, "LIMIT_MAKER", price=345_000)
        place(pit, "OTOCO", working, above, leg(SELL, "TAKE_PROFIT", stop=335_000))


# --- OPO ---


def test_an_opo_sells_what_was_bought_after_commission_and_frees_the_rest() -> None:
    pit = traded_at(maker=D("0.001"))
    pit.engine.withdraw("a", "ETH", D(10))
    placed = place(pit, "OPO", leg(BUY, "LIMIT", 3333, 339_000), leg(SELL, "LIMIT_MAKER", None, 345_000))
    assert placed.legs[1].order.qty == 0
    pit.market(sold(338_990, 1000, 2))
    assert pit.amounts()["ETH"] == (D(0), D("0.0999")), "what came is kept for the pending order"
    pit.market(sold(338_990, 9000, 3))
    assert order(pit, 2).qty == 3329 and order(pit, 2).status == "NEW"
    assert pit.amounts()["ETH"] == (D("0.0000667"), D("0.3329"))


def test_an_opo_pays_commission_from_what_else_is_free() -> None:
    pit = traded_at(maker=D("0.001"))
    place(pit, "OPO", leg(BUY, "LIMIT", 3333, 339_000), leg(SELL, "LIMIT_MAKER", None, 345_000))
    pit.market(sold(338_990, 9000, 2))
    assert order(pit, 2).qty == 3333
    assert pit.amounts()["ETH"] == (D("9.9996667"), D("0.3333"))


def test_an_opo_of_the_discount_asset_never_does() -> None:
    rates = Rates(standard=Rate(maker=D("0.001")), discount=Discount(asset="ETH"))
    pit = traded_at(rates=rates)
    place(pit, "OPO", leg(BUY, "LIMIT", 3333, 339_000), leg(SELL, "LIMIT_MAKER", None, 345_000))
    pit.market(sold(338_990, 9000, 2))
    assert order(pit, 2).qty == 3329


def test_an_opo_that_bought_too_little_to_sell_ends() -> None:
    pit = traded_at(maker=D("0.5"))
    pit.engine.withdraw("a", "ETH", D(10))
    placed = place(pit, "OPO", leg(BUY, "LIMIT", 15, 339_000), leg(SELL, "LIMIT_MAKER", None, 345_000))
    pit.market(sold(338_990, 9000, 2))
    assert ends(pit, placed) == ["FILLED", "EXPIRED REJECTED"], "2.41 is below the least notional"
    assert pit.amounts()["ETH"] == (D("0.00075"), D(0))


def test_an_opoco_sells_by_a_pair() -> None:
    pit = traded_at(maker=D("0.001"))
    pit.engine.withdraw("a", "ETH", D(10))
    placed = otoco(pit, kind="OPOCO", qty=None)
    pit.market(sold(338_990, 9000, 2))
    assert [order(pit, at).qty for at in (2, 3)] == [4995, 4995]
    assert pit.amounts()["ETH"] == (D(0), D("0.4995"))
    pit.market(sold(335_000, 1, 3))
    assert ends(pit, placed) == ["FILLED", "FILLED", "EXPIRED OCO_TRIGGER"]


def test_a_cancelled_opo_frees_what_it_has_bought() -> None:
    pit = traded_at()
    pit.engine.withdraw("a", "ETH", D(10))
    otoco(pit, kind="OPOCO", qty=None)
    pit.market(sold(338_990, 1000, 2))
    assert pit.amounts()["ETH"] == (D(0), D("0.1"))
    pit.engine.cancel("a", SYMBOL, 9, 9, order_id=3)
    assert pit.amounts()["ETH"] == (D("0.1"), D(0))


def test_a_pending_opo_order_keeps_its_iceberg_and_is_judged_when_placed() -> None:
    for shown, outcome in ((100, "NEW"), (5000, "EXPIRED REJECTED")):
        pit = traded_at()
        pending = leg(SELL, "LIMIT", None, 345_000, iceberg_qty=shown * D("0.0001"))
        placed = place(pit, "OPO", leg(BUY, "LIMIT", 5000, 339_000), pending)
        pit.market(sold(338_990, 9000, 2))
        assert ends(pit, placed)[1] == outcome
        if outcome == "NEW":
            assert pit.engine.resting_levels(SYMBOL, SELL) == {345_000: 100}


# --- prevention, amends and other ends ---


def test_prevention_ends_the_list_of_the_order_that_it_ends() -> None:
    pit = traded_at()
    pair = sell_oco(pit)
    pit.market(top(340_000, 1, 345_010, 1))
    pit.place(BUY, 5000, 345_000, "LIMIT", stp_mode="EXPIRE_MAKER")
    assert ends(pit, pair) == ["EXPIRED OCO_TRIGGER", "EXPIRED_IN_MATCH"]
    assert not as_it_is(pit, pair).is_open
    own = pit.place(SELL, 5000, 345_005).order
    lists = place(
        pit, "OTO", leg(BUY, "LIMIT", price=345_006, stp_mode="EXPIRE_TAKER"), leg(SELL, "LIMIT_MAKER", price=350_000)
    )
    assert ends(pit, lists) == ["EXPIRED_IN_MATCH", "EXPIRED OTO_PHASE_ONE_EXPIRED"]
    assert pit.order(own).is_open and len(lists.legs[0].preventions) == 1


def amend(pit: Pit, order_id: int, lots: int, new_id: str = "") -> Sequence[UserEvent]:
    pit.now_ms += 1
    return pit.engine.amend(
        "a",
        SYMBOL,
        pit.now_ms,
        pit.now_ms * MS,
        order_id=order_id,
        new_qty=lots * D("0.0001"),
        new_client_order_id=new_id,
    ).events


def test_amending_one_leg_of_a_pair_amends_both() -> None:
    pit = traded_at()
    sell_oco(pit)
    assert told(amend(pit, 2, 3000)) == ["REPLACED 2 NEW", "REPLACED 1 NEW", "LIST UPDATED", "POSITION"]
    assert [order(pit, at).qty for at in (1, 2)] == [3000, 3000]
    assert pit.amounts()["ETH"] == (D("9.7"), D("0.3"))
    assert told(amend(pit, 1, 2000, order(pit, 1).client_order_id)) == ["REPLACED 1 NEW", "REPLACED 2 NEW", "POSITION"]
    listed = pit.engine.open_lists("a")[0]
    assert [each.client_order_id for each in listed.legs] == [order(pit, at).client_order_id for at in (1, 2)]


def test_orders_of_an_oto_are_amended_one_by_one() -> None:
    pit = traded_at()
    otoco(pit)
    amend(pit, 1, 4000)
    assert [order(pit, at).qty for at in (1, 2, 3)] == [4000, 5000, 5000]
    amend(pit, 3, 3000)
    assert [order(pit, at).qty for at in (1, 2, 3)] == [4000, 3000, 3000]
    with pytest.raises(Rejected, match=r"-2038 Order amend \(pending OPO order\) is not supported\."):
        placed = otoco(pit, kind="OPOCO", qty=None)
        amend(pit, placed.legs[1].order.order_id, 1000)


def test_amending_a_working_order_to_what_it_has_filled_ends_the_list() -> None:
    pit = traded_at()
    placed = otoco(pit)
    pit.market(sold(338_990, 2000, 2))
    assert told(amend(pit, 1, 2000, "less")) == [
        "REPLACED 1 PARTIALLY_FILLED",
        "LIST UPDATED",
        "EXPIRED 1 EXPIRED",
        "EXPIRED 2 EXPIRED",
        "EXPIRED 3 EXPIRED",
        "LIST ALL_DONE",
        "POSITION",
    ]
    assert ends(pit, placed)[1] == "EXPIRED OTO_PHASE_ONE_EXPIRED"


def test_lists_are_cancelled_by_their_own_ids() -> None:
    pit = traded_at()
    first, second = sell_oco(pit, client_order_id="L"), sell_oco(pit)
    with pytest.raises(Rejected, match=r"-2010 Duplicate order sent\."):
        sell_oco(pit, client_order_id="L")
    canceled = pit.engine.cancel_list("a", SYMBOL, 9, 9, list_client_order_id="L")
    assert canceled.order_list.list_id == first.order_list.list_id
    gone: tuple[dict[str, Any], ...] = (
        {"list_id": first.order_list.list_id},
        {"list_client_order_id": "L"},
        {"list_id": 99},
    )
    for ids in gone:
        with pytest.raises(Rejected, match=r"-2011 Unknown order sent\."):
            pit.engine.cancel_list("a", SYMBOL, 9, 9, **ids)
    with pytest.raises(Rejected, match="-1102"):
        pit.engine.cancel_list("a", SYMBOL, 9, 9)
    with pytest.raises(Rejected, match="-2011"):
        pit.engine.cancel_list("b", SYMBOL, 9, 9, list_id=second.order_list.list_id)
    again = sell_oco(pit, client_order_id="L")
    assert pit.engine.order_list("a", client_order_id="L").list_id == again.order_list.list_id
    assert [each.list_id for each in pit.engine.lists("a")] == [1, 2, 3]
    with pytest.raises(Rejected, match="-2018"):
        pit.engine.order_list("b", client_order_id="L")
    with pytest.raises(Rejected, match="-1102"):
        pit.engine.order_list("a")


def test_replacing_a_leg_cancels_its_list() -> None:
    pit = traded_at()
    placed = sell_oco(pit)
    replaced = pit.replace(placed.legs[0].order, SELL, 100_000, 345_000)
    assert isinstance(replaced.canceled, CanceledList) and replaced.status == 200
    assert told(replaced.events) == [
        "CANCELED 1 CANCELED",
        "CANCELED 2 CANCELED",
        "LIST ALL_DONE",
        "NEW 3 NEW",
        "POSITION",
    ]


def test_cancelling_all_takes_lists_whole() -> None:
    pit = traded_at()
    otoco(pit)
    pit.place(SELL, 5000, 345_000)
    sell_oco(pit)
    canceled = pit.engine.cancel_all("a", SYMBOL, 9, 9)
    assert [len(one.orders) if isinstance(one, CanceledList) else 1 for one in canceled] == [3, 1, 2]
    assert not pit.engine.open_orders("a") and not pit.engine.open_lists("a")
    assert pit.engine.balances("a")["FDUSD"] == Balance(50_000 * 10**8, 0)


def test_the_exchange_itself_expires_lists_whole() -> None:
    pit = traded_at()
    pair, chain = sell_oco(pit), otoco(pit)
    events = pit.engine.expire_all(9, 9, "EXCHANGE_CANCELED")
    assert told(events).count("LIST ALL_DONE") == 2
    assert {*ends(pit, pair), *ends(pit, chain)} == {"EXPIRED EXCHANGE_CANCELED"}
    assert len(only_reports(events)) == 5


def test_lists_have_limits_of_their_own() -> None:
    pit = traded_at(filters={SYMBOL: Filters(max_order_lists=1)})
    sell_oco(pit)
    with pytest.raises(Rejected, match="-2010 Filter failure: MAX_NUM_ORDER_LISTS"):
        sell_oco(pit)
    pit.engine.change_filters(SYMBOL, max_order_lists=0, exchange_max_order_lists=1)
    with pytest.raises(Rejected, match="-2010 Filter failure: EXCHANGE_MAX_NUM_ORDER_LISTS"):
        sell_oco(pit)
    pit.engine.change_filters(SYMBOL, exchange_max_order_lists=0)
    pit.engine.change_rules(SYMBOL, max_num_orders=4)
    with pytest.raises(Rejected, match="-2010 Filter failure: MAX_NUM_ORDERS"):
        otoco(pit)
    sell_oco(pit)


@pytest.mark.parametrize(
    ("flag", "kind", "text"),
    [
        ("oco", "OTOCO", "OCO orders are not supported for this symbol"),
        ("oto", "OTOCO", r"OTO orders are not supported for this symbol\."),
        ("opo", "OPOCO", r"OPO orders are not supported for this symbol\."),
    ],
)
def test_a_symbol_may_take_no_lists(flag: str, kind: str, text: str) -> None:
    pit = traded_at(filters={SYMBOL: Filters(**{flag: False})})  # type: ignore[arg-type]
    with pytest.raises(Rejected, match=text):
        otoco(pit, kind=kind, qty=None if kind == "OPOCO" else 5000)


def test_a_leg_of_a_halted_symbol_can_be_cancelled() -> None:
    pit = traded_at()
    placed = sell_oco(pit)
    pit.engine.set_status(SYMBOL, "HALT")
    with pytest.raises(Rejected, match="Market is closed"):
        sell_oco(pit)
    pit.engine.cancel("a", SYMBOL, 9, 9, order_id=2)
    assert ends(pit, placed) == ["CANCELED", "CANCELED"]
