"""Answers and events made of records by hand, against the example messages: values, and members in their order."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from tests.paths import SHARED
from tetrio.core.market import Side
from tetrio.core.money import SymbolRules
from tetrio.sim.engine.engine import Engine
from tetrio.sim.engine.orders import (
    Amended,
    Amendment,
    Balance,
    Canceled,
    CanceledList,
    Execution,
    ExternalLock,
    Fill,
    Leg,
    ListReport,
    Order,
    OrderList,
    Peg,
    Placed,
    PlacedList,
    Position,
    Prevention,
    Report,
    Transfer,
)
from tetrio.sim.face.reports import Reports
from tetrio.sim.face.shapes import Shapes, in_micros

MESSAGES = SHARED / "binance" / "messages"
RULES = SymbolRules(
    name="ETHFDUSD", base_asset="ETH", quote_asset="FDUSD", tick_size=Decimal("0.01"), step_size=Decimal("0.0001")
)
START_MS = 1784626200000


@pytest.fixture
def shapes() -> Shapes:
    return Shapes(RULES, Engine([RULES]))


@pytest.fixture
def reports(shapes: Shapes) -> Reports:
    return Reports(RULES, shapes.texts)


def result(name: str) -> Any:
    return json.loads((MESSAGES / f"wsapi.{name}.json").read_text())["result"]


def event(name: str) -> Any:
    return json.loads((MESSAGES / f"user.{name}.json").read_text())["event"]


def same(told: object, example: object) -> None:
    """Equal, and the members of every object in the same order."""
    assert json.dumps(json.loads(msgspec.json.encode(told))) == json.dumps(example)


def order(order_id: int, client_id: str, at_ms: int, price: str, qty: str, **members: Any) -> Order:
    at = START_MS + at_ms
    given: dict[str, Any] = {
        "account": "main",
        "symbol": "ETHFDUSD",
        "order_id": 884120000 + order_id,
        "client_order_id": client_id,
        "side": Side.SELL,
        "type": "LIMIT",
        "time_in_force": "GTC",
        "price": RULES.price_ticks(price),
        "qty": RULES.qty_lots(qty),
        "time_ms": at,
        "update_ms": at,
        "working_ms": at,
    }
    return Order(**given | members)


def placed(each: Order, *fills: Fill, preventions: tuple[Prevention, ...] = ()) -> Placed:
    return Placed(order=each, fills=fills, preventions=preventions, events=(), prints=())


def canceled(each: Order, cancel_id: str, at_ms: int) -> Canceled:
    ended = msgspec.structs.replace(each, status="CANCELED", update_ms=START_MS + at_ms)
    return Canceled(order=ended, cancel_client_order_id=cancel_id, events=())


def report(each: Order, execution: Execution, number: int, at_ms: int, **members: Any) -> Report:
    return Report(
        execution=execution,
        order=each,
        execution_id=5120448000 + number,
        now_ms=START_MS + at_ms,
        market_ns=0,
        balances={},
        **members,
    )


ICEBERG = order(190, "tet-s-0019", 19000, "3431", "2", iceberg=2500, strategy_id=40012, strategy_type=1000007)
PEGGED = order(
    196, "tet-b-0021", 19600, "3413", "0.2", side=Side.BUY, pegged_price=341231,
    peg=Peg(price_type="PRIMARY_PEG", offset_type="PRICE_LEVEL", offset_value=2),
)  # fmt: skip
FREE_PEG = order(
    195, "tet-b-0020", 19500, "0", "0.2", side=Side.BUY, type="LIMIT_MAKER", pegged_price=341236,
    peg=Peg(price_type="PRIMARY_PEG"),
)  # fmt: skip
STOP = order(180, "tet-s-0013", 18100, "3366", "0.3", type="STOP_LOSS_LIMIT", stop_price=337000, working_ms=-1)
TAKE = order(182, "tet-s-0015", 18300, "3470", "0.3", type="TAKE_PROFIT_LIMIT", stop_price=346500, working_ms=-1)
MARKET_STOP = order(181, "tet-s-0014", 18200, "0", "0.3", type="STOP_LOSS", stop_price=337000, working_ms=-1)
TRAILING = order(
    184, "tet-s-0017", 18500, "0", "0.3", type="STOP_LOSS", trailing_delta=75, trailing_ms=START_MS + 18500,
    working_ms=-1,
)  # fmt: skip
TRAILING_LATER = order(
    185, "tet-s-0018", 18600, "3380", "0.3", type="STOP_LOSS_LIMIT", stop_price=340000, trailing_delta=75,
    working_ms=-1,
)  # fmt: skip
OUT_OF_RANGE = order(
    172, "tet-b-0012", 17700, "3600", "2", side=Side.BUY, status="EXPIRED",
    expiry_reason="EXECUTION_RULE_PRICE_RANGE_EXCEEDED",
)  # fmt: skip
ROUTED = order(
    340, "tet-b-0044", 26500, "3413", "0.1", side=Side.BUY, status="FILLED", filled=1000, cum_quote=341250000, sor=True
)
ALLOCATION = Fill(
    trade_id=-1, order_id=884120340, side=Side.BUY, price=341250, qty=1000, commission=10000, commission_asset="ETH",
    maker=False, time_ms=START_MS + 26500, allocation_id=77,
)  # fmt: skip
PREVENTION = Prevention(
    match_id=3, symbol="ETHFDUSD", account="main", mode="EXPIRE_MAKER", price=341290, qty=3000, maker_qty=5000,
    taker_qty=0, taker_order_id=884120205, maker_order_id=884120201, at_ms=START_MS + 20010,
)  # fmt: skip
TAKER = order(205, "tet-b-0024", 20010, "3412.9", "0.3", side=Side.BUY)
PREVENTED = order(
    201, "tet-s-0023", 19800, "3412.9", "0.5", type="LIMIT_MAKER", status="EXPIRED_IN_MATCH", prevented=5000,
    match_id=3, update_ms=START_MS + 20010,
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "each", "form"),
    [
        ("iceberg", ICEBERG, "FULL"),
        ("pegged-offset", PEGGED, "FULL"),
        ("pegged-primary", FREE_PEG, "RESULT"),
        ("stop-loss-limit", STOP, "RESULT"),
        ("stop-loss", MARKET_STOP, "ACK"),
        ("take-profit-limit", TAKE, "RESULT"),
        ("trailing", TRAILING, "RESULT"),
        ("trailing-with-stop", TRAILING_LATER, "RESULT"),
        ("price-range-exceeded", OUT_OF_RANGE, "FULL"),
    ],
)
def test_an_order_is_answered_with_what_its_kind_has(shapes: Shapes, name: str, each: Order, form: str) -> None:
    same(shapes.placed(placed(each), form), result(f"order.place.{name}.response"))


def test_a_prevented_match_is_told_to_the_taker(shapes: Shapes) -> None:
    told = shapes.placed(placed(TAKER, preventions=(PREVENTION,)), "FULL")
    same(told, result("order.place.stp-expire-maker.response"))
    loser = msgspec.structs.replace(TAKER, prevented=1000)
    decrement = Prevention(**{**_members(PREVENTION), "mode": "DECREMENT", "taker_qty": 1000, "maker_qty": 1000})
    told = shapes.placed(placed(loser, preventions=(decrement,)), "RESULT")
    assert told["preventedQuantity"] == "0.10000000"
    assert told["preventedMatches"] == [
        {
            "preventedMatchId": 3,
            "makerSymbol": "ETHFDUSD",
            "makerOrderId": 884120201,
            "price": "3412.90000000",
            "takerPreventedQuantity": "0.10000000",
            "makerPreventedQuantity": "0.10000000",
        }
    ]


def _members(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__annotations__}


def test_an_order_by_smart_order_routing_tells_its_allocations(shapes: Shapes) -> None:
    same([shapes.placed(placed(ROUTED, ALLOCATION), "FULL")], result("sor.order.place.response"))
    same([shapes.allocation(ALLOCATION)], result("myAllocations.response"))


@pytest.mark.parametrize(("name", "each"), [("trailing", TRAILING_LATER), ("expired-in-match", PREVENTED)])
def test_a_query_tells_what_the_orders_kind_has(shapes: Shapes, name: str, each: Order) -> None:
    same(shapes.status(each), result(f"order.status.{name}.response"))


def test_open_orders_of_several_kinds(shapes: Shapes) -> None:
    told = {each["orderId"]: each for each in result("openOrders.status.response")}
    for each in (ICEBERG, FREE_PEG):
        same(shapes.status(each), told[each.order_id])


def test_cancelled_orders_of_several_kinds(shapes: Shapes) -> None:
    told = {each.get("orderId"): each for each in result("openOrders.cancelAll.response")}
    for each, cancel_id in ((ICEBERG, "tet-auto-1"), (FREE_PEG, "tet-auto-2")):
        same(shapes.canceled(canceled(each, cancel_id, 29008)), told[each.order_id])


# -- order lists ------------------------------------------------------------------------------------------------------


def order_list(number: int, kind: str, client_id: str, at_ms: int, *legs: Order, **members: Any) -> OrderList:
    return OrderList(
        list_id=5502000 + number,
        account="main",
        symbol="ETHFDUSD",
        kind=kind,
        client_order_id=client_id,
        legs=tuple(Leg(each.order_id, each.client_order_id) for each in legs),
        time_ms=START_MS + at_ms,
        **members,
    )


def leg(order_id: int, client_id: str, at_ms: int, price: str, qty: str, number: int, **members: Any) -> Order:
    return order(order_id, client_id, at_ms, price, qty, list_id=5502000 + number, **members)


WAITS: dict[str, Any] = {"status": "PENDING_NEW", "working_ms": -1}
OCO_STOP = leg(250, "tet-z-0027", 22000, "3366", "0.3", 101, type="STOP_LOSS_LIMIT", stop_price=337000, working_ms=-1)
OCO_LIMIT = leg(251, "tet-a-0026", 22000, "3460", "0.3", 101, type="LIMIT_MAKER")
OCO = order_list(101, "OCO", "tet-l-0028", 22000, OCO_STOP, OCO_LIMIT)
OTO_WORKING = leg(301, "tet-w-0030", 23010, "3395", "0.3", 118, side=Side.BUY)
OTO_PENDING = leg(302, "tet-p-0031", 23010, "3440", "0.2997", 118, type="LIMIT_MAKER", **WAITS)
OTO = order_list(118, "OTO", "tet-l-0029", 23010, OTO_WORKING, OTO_PENDING)
OTOCO_LEGS = (
    leg(311, "tet-w-0033", 24010, "3395", "0.3", 125, side=Side.BUY),
    leg(312, "tet-pb-0035", 24010, "0", "0.2997", 125, type="STOP_LOSS", stop_price=335000, **WAITS),
    leg(313, "tet-pa-0034", 24010, "3440", "0.2997", 125, type="LIMIT_MAKER", **WAITS),
)
OTOCO = order_list(125, "OTOCO", "tet-l-0036", 24010, *OTOCO_LEGS)
OPO_LEGS = (
    leg(321, "tet-w-0037", 25010, "3395", "0.3", 131, side=Side.BUY),
    leg(322, "tet-p-0038", 25010, "3440", "0", 131, type="LIMIT_MAKER", **WAITS),
)
OPO = order_list(131, "OPO", "tet-l-0039", 25010, *OPO_LEGS)
OPOCO_LEGS = (
    leg(331, "tet-w-0040", 26010, "3395", "0.3", 140, side=Side.BUY),
    leg(
        332, "tet-pb-0042", 26010, "3345", "0", 140, type="STOP_LOSS_LIMIT", time_in_force="IOC", stop_price=335000,
        **WAITS,
    ),
    leg(333, "tet-pa-0041", 26010, "3440", "0", 140, type="LIMIT_MAKER", **WAITS),
)  # fmt: skip
OPOCO = order_list(140, "OPOCO", "tet-l-0043", 26010, *OPOCO_LEGS)


@pytest.mark.parametrize(
    ("name", "made", "legs"),
    [
        ("oco", OCO, (OCO_STOP, OCO_LIMIT)),
        ("oto", OTO, (OTO_WORKING, OTO_PENDING)),
        ("otoco", OTOCO, OTOCO_LEGS),
        ("opo", OPO, OPO_LEGS),
        ("opoco", OPOCO, OPOCO_LEGS),
    ],
)
def test_a_list_is_answered_with_its_reports(
    shapes: Shapes, name: str, made: OrderList, legs: tuple[Order, ...]
) -> None:
    listed = PlacedList(order_list=made, legs=tuple(placed(each) for each in legs), events=(), prints=())
    same(shapes.placed_list(listed, "RESULT"), result(f"orderList.place.{name}.response"))


def test_a_cancelled_list_tells_of_its_orders(shapes: Shapes) -> None:
    ended = order_list(101, "OCO", "tet-l-0028", 22500, OCO_STOP, OCO_LIMIT, status="ALL_DONE", status_type="ALL_DONE")
    gone = tuple(canceled(each, "tet-c-0032", 22500) for each in (OCO_STOP, OCO_LIMIT))
    told = shapes.canceled_list(CanceledList(order_list=ended, orders=gone, events=()))
    same(told, result("orderList.cancel.response"))
    same(told, result("order.cancel.list.response"))


def test_lists_are_told_without_reports_when_asked_for(shapes: Shapes) -> None:
    same(shapes.order_list(OCO), result("orderList.status.response"))
    same([shapes.order_list(OCO)], result("openOrderLists.status.response"))
    same([shapes.order_list(OCO)], result("allOrderLists.response"))


# -- amends, preventions ----------------------------------------------------------------------------------------------

AMENDED = order(210, "tet-s-0025", 20400, "3425", "0.6", update_ms=START_MS + 20906, amends=1)


def test_an_amended_order_has_members_of_its_own_names(shapes: Shapes) -> None:
    amended = Amended(order=AMENDED, orig_client_order_id="tet-s-0025", execution_id=5120448144, events=())
    same(shapes.amended(amended), result("order.amend.keepPriority.response"))


def test_an_amended_leg_tells_its_list(shapes: Shapes) -> None:
    less = msgspec.structs.replace(
        OTO_WORKING, qty=2000, client_order_id="Xk3pQm0sVt8LrB2wYn5EoA", update_ms=START_MS + 23500
    )
    listed = order_list(118, "OTO", "tet-l-0029", 23500, less, OTO_PENDING)
    amended = Amended(
        order=less, orig_client_order_id="tet-w-0030", execution_id=5120448146, order_list=listed, events=()
    )
    same(shapes.amended(amended), result("order.amend.keepPriority.list.response"))


def test_amendments_and_preventions_are_told(shapes: Shapes) -> None:
    amendment = Amendment(
        symbol="ETHFDUSD", order_id=884120210, execution_id=5120448144, orig_client_order_id="tet-s-0025",
        new_client_order_id="tet-s-0025", orig_qty=9000, new_qty=6000, at_ms=START_MS + 20906,
    )  # fmt: skip
    same([shapes.amendment(amendment)], result("order.amendments.response"))
    same([shapes.prevention(PREVENTION)], result("myPreventedMatches.response"))


# -- events -----------------------------------------------------------------------------------------------------------

TRIGGERED = msgspec.structs.replace(STOP, working_ms=START_MS + 18777, update_ms=START_MS + 18777)
OCO_ENDED = msgspec.structs.replace(
    OCO_STOP, status="EXPIRED", expiry_reason="OCO_TRIGGER", update_ms=START_MS + 990000
)


@pytest.mark.parametrize(
    ("name", "each", "execution", "number", "at_ms", "members"),
    [
        ("new.iceberg-strategy", ICEBERG, Execution.NEW, 138, 19000, {}),
        ("new.pegged", PEGGED, Execution.NEW, 140, 19600, {}),
        ("new.pending", OTO_PENDING, Execution.NEW, 154, 23010, {}),
        ("new.stop", STOP, Execution.NEW, 130, 18100, {}),
        ("new.stop-triggered", TRIGGERED, Execution.NEW, 132, 18777, {}),
        ("new.trailing-active", TRAILING, Execution.NEW, 134, 18500, {}),
        ("new.trailing", TRAILING_LATER, Execution.NEW, 136, 18600, {}),
        ("replaced", AMENDED, Execution.REPLACED, 144, 20906, {"previous_client_order_id": "tet-s-0025"}),
        ("expired.oco", OCO_ENDED, Execution.EXPIRED, 152, 990000, {"reason": "OCO_TRIGGER"}),
        ("trade-prevention", PREVENTED, Execution.TRADE_PREVENTION, 142, 20010, {"prevention": PREVENTION}),
        ("trade.sor", ROUTED, Execution.TRADE, 156, 26500, {"fill": ALLOCATION}),
    ],
)
def test_a_report_has_what_its_order_has(
    reports: Reports, name: str, each: Order, execution: Execution, number: int, at_ms: int, members: dict[str, Any]
) -> None:
    told = reports.told(report(each, execution, number, at_ms, **members))
    example = event(f"executionReport.{name}")
    example["E"] = example["T"]  # the exchange's own clock does not move in between
    same(told, example)


def test_the_taker_of_a_prevented_match_sees_the_maker(reports: Reports) -> None:
    loser = msgspec.structs.replace(TAKER, prevented=1000)
    lost = Prevention(**{**_members(PREVENTION), "mode": "DECREMENT", "taker_qty": 1000, "maker_qty": 1000})
    told = json.loads(
        msgspec.json.encode(reports.told(report(loser, Execution.TRADE_PREVENTION, 1, 20010, prevention=lost)))
    )
    assert (told["U"], told["B"], told["A"]) == (884120201, "0.10000000", "0.10000000")


@pytest.mark.parametrize(
    ("name", "listed"),
    [
        ("listStatus", OCO),
        (
            "listStatus.all-done",
            order_list(
                101, "OCO", "tet-l-0028", 990000, OCO_STOP, OCO_LIMIT, status="ALL_DONE", status_type="ALL_DONE"
            ),
        ),
        (
            "listStatus.updated",
            order_list(
                118,
                "OTO",
                "tet-l-0029",
                23500,
                msgspec.structs.replace(OTO_WORKING, client_order_id="Xk3pQm0sVt8LrB2wYn5EoA"),
                OTO_PENDING,
                status_type="UPDATED",
            ),
        ),
    ],
)
def test_a_list_is_told_of(reports: Reports, name: str, listed: OrderList) -> None:
    example = event(name)
    example["E"] = example["T"]
    same(reports.told(ListReport(order_list=listed, now_ms=listed.time_ms)), example)


def test_transfers_and_locks_from_outside_are_told(reports: Reports) -> None:
    example = event("balanceUpdate")
    moved = Transfer(account="main", asset="FDUSD", units=-1500 * 10**8, market_ns=0, now_ms=example["E"])
    same(reports.told(moved), example | {"T": example["E"]})
    example = event("externalLockUpdate")
    locked = ExternalLock(account="main", asset="ETH", units=50_000_000, market_ns=0, now_ms=example["E"])
    same(reports.told(locked), example | {"T": example["E"]})


def test_a_position_lists_the_base_first_and_the_quote_last(reports: Reports) -> None:
    example = event("outboundAccountPosition.after-new")
    balances = {"ETH": Balance(425000000, 0), "FDUSD": Balance(2329405000000, 170595000000), "BNB": Balance(0, 0)}
    told = reports.told(Position(account="main", balances=balances, now_ms=example["E"]))
    same(told, example | {"u": example["E"]})
    one = reports.told(Position(account="main", balances={"BTC": Balance(1, 0)}, now_ms=1))
    same(
        one, {"e": "outboundAccountPosition", "E": 1, "u": 1, "B": [{"a": "BTC", "f": "0.00000001", "l": "0.00000000"}]}
    )


# -- microseconds -----------------------------------------------------------------------------------------------------


def test_every_time_of_an_answer_turns_into_microseconds(shapes: Shapes) -> None:
    told = in_micros(shapes.placed(placed(TRAILING), "RESULT"))
    assert (told["transactTime"], told["trailingTime"], told["workingTime"]) == (1784626218500000, 1784626218500000, -1)
    assert told["trailingDelta"] == 75
    listed = in_micros(
        shapes.placed_list(PlacedList(order_list=OCO, legs=(placed(OCO_LIMIT),), events=(), prints=()), "RESULT")
    )
    assert listed["transactionTime"] == listed["orderReports"][0]["transactTime"] == 1784626222000000
    amended = Amended(order=AMENDED, orig_client_order_id="x", execution_id=1, order_list=OCO, events=())
    told = in_micros(shapes.amended(amended))
    assert (told["transactTime"], told["amendedOrder"]["workingTime"]) == (1784626220906000, 1784626220400000)
    assert in_micros(shapes.prevention(PREVENTION))["transactTime"] == 1784626220010000


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("executionReport.new.trailing-active", "ETOD"),
        ("executionReport.trade.partial", "ETOW"),
        ("executionReport.trade-prevention", "ETOW"),
        ("listStatus", "ET"),
        ("balanceUpdate", "ET"),
        ("externalLockUpdate", "ET"),
        ("outboundAccountPosition", "Eu"),
        ("eventStreamTerminated", "E"),
    ],
)
def test_the_times_of_an_event_and_nothing_else_turn_into_microseconds(name: str, times: str) -> None:
    before = event(name)
    assert in_micros(before) == before | {each: before[each] * 1000 for each in times}
