"""Trading as a client meets it: every kind of order and order list, its parameters, answers, events and queries."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.sim.served import SYMBOL, Client, Line, Served, served, top, trade
from tetrio.sim.face.checks import CLIENT_ID, DECIMAL, INTEGER
from tetrio.sim.face.trading import METHODS
from tetrio.sim.face.venue import ACCOUNT
from tetrio.wire.rules import PriceRange

LIMIT = {"type": "LIMIT", "timeInForce": "GTC"}
STOP = {"type": "STOP_LOSS_LIMIT", "timeInForce": "GTC", "side": "SELL", "price": "3366", "quantity": "0.3"}
FLAT = 10_000
"""How long the market of `market` stays as it is, s."""


def market(*lines: Line) -> list[Line]:
    """Best prices 3412.36 and 3412.37, last traded at 3412.36, with these lines in between."""
    return [
        top(0, "3412.36", "1.8420", "3412.37", "0.7714"),
        trade(0.001, "3412.36", "0.0001"),
        *lines,
        top(FLAT, "3412.36", "1.8420", "3412.37", "0.7714"),
    ]


@pytest.fixture
async def exchange(autojump_clock: MockClock, tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path, market()) as running:
        yield running


async def opened(exchange: Served) -> Client:
    """A trader, once the market has prices."""
    line = await exchange.line("bookTicker", "trade")
    await line.receive()
    await line.receive()
    return await exchange.trader()


def code(reply: dict[str, Any]) -> int:
    number: int = reply["error"]["code"]
    return number


def error(reply: dict[str, Any]) -> tuple[int, str]:
    return reply["error"]["code"], reply["error"]["msg"]


async def kinds(client: Client, count: int) -> list[tuple[str, ...]]:
    """The next events: of reports execution, status and client id, of lists their status."""
    found: list[tuple[str, ...]] = []
    for _ in range(count):
        event = (await client.event())["event"]
        if event["e"] == "executionReport":
            found.append((event["x"], event["X"], event["c"]))
        elif event["e"] == "listStatus":
            found.append((event["e"], event["l"], event["L"]))
        else:
            found.append((event["e"],))
    return found


# -- parameters of an order -------------------------------------------------------------------------------------------

MAKER = {"side": "BUY", "type": "LIMIT_MAKER", "price": "3400", "quantity": "0.5"}
NOT_REQUIRED = "Parameter '{}' sent when not required."
ILLEGAL = "Illegal characters found in parameter '{}'; legal range is '{}'."
MISSING = "Mandatory parameter '{}' was not sent, was empty/null, or malformed."
EITHER = "Param '{}' or '{}' must be sent, but both were empty/null!"


@pytest.mark.parametrize(
    ("params", "answer"),
    [
        ({"stopPrice": "3000"}, (-1106, NOT_REQUIRED.format("stopPrice"))),
        ({"trailingDelta": 75}, (-1106, NOT_REQUIRED.format("trailingDelta"))),
        ({"quantity": None}, (-1102, MISSING.format("quantity"))),
        ({"strategyType": 999_999}, (-1134, "`strategyType` was less than 1000000.")),
        ({"strategyType": "x"}, (-1100, ILLEGAL.format("strategyType", INTEGER))),
        ({"strategyId": 2**63}, (-1108, "Parameter 'strategyId' overflowed.")),
        (
            {"selfTradePreventionMode": "EXPIRE"},
            (-1130, "Data sent for parameter 'selfTradePreventionMode' is not valid."),
        ),
        (
            {"selfTradePreventionMode": "NONE"},
            (-1013, "This symbol does not allow the specified self-trade prevention mode."),
        ),
        ({"pegPriceType": "MID_PEG"}, (-1210, "Invalid pegPriceType.")),
        (
            {"pegPriceType": "PRIMARY_PEG", "pegOffsetType": "TICK", "pegOffsetValue": 1},
            (-1211, "Invalid pegOffsetType."),
        ),
        (
            {"pegPriceType": "PRIMARY_PEG", "pegOffsetValue": 1},
            (-1128, "Fields [pegOffsetType, pegOffsetValue] must be sent together or omitted entirely."),
        ),
        (
            {"pegPriceType": "PRIMARY_PEG", "pegOffsetType": "PRICE_LEVEL", "pegOffsetValue": 101},
            (-1102, "'pegOffsetValue' contains unexpected value. Cannot be greater than 100."),
        ),
        ({"pegOffsetType": "PRICE_LEVEL", "pegOffsetValue": 1}, (-1106, NOT_REQUIRED.format("pegOffsetType"))),
        ({"pegPriceType": "MARKET_PEG"}, (-2010, "This price peg cannot be used with this order type.")),
        ({"icebergQty": "0.5"}, (-2010, "IcebergQty exceeds QTY.")),
        ({**LIMIT, "timeInForce": "IOC", "icebergQty": "0.1"}, (-1106, NOT_REQUIRED.format("icebergQty"))),
        ({"type": "MARKET", "price": None, "icebergQty": "0.1"}, (-1106, NOT_REQUIRED.format("icebergQty"))),
        ({"type": "MARKET"}, (-1106, NOT_REQUIRED.format("price"))),
        ({"type": "MARKET", "price": None, "quantity": None}, (-1102, EITHER.format("quantity", "quoteOrderQty"))),
        ({"type": "MARKET", "price": None, "quoteOrderQty": "50"}, (-1106, NOT_REQUIRED.format("quoteOrderQty"))),
        ({"type": "STOP_LOSS", "stopPrice": "3500"}, (-1106, NOT_REQUIRED.format("price"))),
        ({"type": "STOP_LOSS", "price": None}, (-1102, EITHER.format("stopPrice", "trailingDelta"))),
        ({"type": "STOP_LOSS_LIMIT", "stopPrice": "3500"}, (-1102, MISSING.format("timeInForce"))),
        ({**STOP, "price": None, "stopPrice": "3370"}, (-1102, MISSING.format("price"))),
        ({**STOP, "stopPrice": "3412.36"}, (-2010, "Order would trigger immediately.")),
        ({**STOP, "stopPrice": "3370", "trailingDelta": 5}, (-1013, "Filter failure: TRAILING_DELTA")),
        ({**STOP, "stopPrice": "3370.001"}, (-1013, "Filter failure: PRICE_FILTER")),
    ],
)  # fmt: skip
async def test_a_bad_parameter_of_an_order(
    exchange: Served, autojump_clock: MockClock, params: dict[str, Any], answer: tuple[int, str]
) -> None:
    client = await opened(exchange)
    assert error(await client.order(**MAKER | params)) == answer
    assert (await client.order("openOrders.status"))["result"] == []


# -- orders that wait -------------------------------------------------------------------------------------------------


async def test_a_stop_waits_for_its_price_and_works_then(autojump_clock: MockClock, tmp_path: Path) -> None:
    lines = [trade(10, "3370.00", "1"), top(10.5, "3365.00", "2", "3371.00", "2")]
    async with served(tmp_path, market(*lines)) as exchange:
        client = await opened(exchange)
        reply = (await client.order(**STOP, stopPrice="3370", newClientOrderId="stop"))["result"]
        assert list(reply) == ["symbol", "orderId", "orderListId", "clientOrderId", "transactTime"]
        status = (await client.order("order.status", origClientOrderId="stop"))["result"]
        assert (status["stopPrice"], status["isWorking"], status["workingTime"]) == ("3370.00000000", False, -1)
        first = (await client.event("executionReport"))["event"]
        assert (first["x"], first["w"], first["P"]) == ("NEW", False, "3370.00000000")
        assert "W" not in first
        second = (await client.event("executionReport"))["event"]
        assert (second["x"], second["X"], second["w"], second["W"]) == ("NEW", "NEW", True, second["T"])
        assert second["O"] == first["O"] < second["T"]
        status = (await client.order("order.status", origClientOrderId="stop"))["result"]
        assert (status["isWorking"], status["workingTime"]) == (True, second["W"])


async def test_a_trailing_stop_tells_what_it_trails(exchange: Served, autojump_clock: MockClock) -> None:
    client = await opened(exchange)
    trailing = {"type": "STOP_LOSS", "side": "SELL", "quantity": "0.3", "trailingDelta": "75"}
    reply = (await client.order(**trailing, newOrderRespType="RESULT"))["result"]
    assert (reply["trailingDelta"], reply["trailingTime"]) == (75, reply["transactTime"])
    assert reply["stopPrice"] == reply["price"] == "0.00000000"
    event = (await client.event("executionReport"))["event"]
    assert (event["d"], event["D"]) == (75, event["T"])
    later = (await client.order(**trailing, stopPrice="3400", newOrderRespType="RESULT"))["result"]
    assert (later["trailingTime"], later["stopPrice"]) == (-1, "3400.00000000")
    assert "D" not in (await client.event("executionReport"))["event"]


async def test_an_iceberg_and_its_strategy_are_told(exchange: Served, autojump_clock: MockClock) -> None:
    client = await opened(exchange)
    tags: dict[str, Any] = {"icebergQty": "0.25", "strategyId": 40012, "strategyType": "1000007"}
    reply = await client.order(**LIMIT, side="SELL", price="3431", quantity="2", **tags)
    event = (await client.event("executionReport"))["event"]
    status = (await client.order("order.status", orderId=1))["result"]
    for each in (reply["result"], status):
        assert (each["icebergQty"], each["strategyId"], each["strategyType"]) == ("0.25000000", 40012, 1000007)
    assert (event["F"], event["j"], event["J"]) == ("0.25000000", 40012, 1000007)


async def test_a_pegged_order_tells_the_price_that_it_took(exchange: Served, autojump_clock: MockClock) -> None:
    client = await opened(exchange)
    peg = {"type": "LIMIT_MAKER", "side": "BUY", "quantity": "0.2", "pegPriceType": "PRIMARY_PEG"}
    reply = (await client.order(**peg, newOrderRespType="RESULT"))["result"]
    assert (reply["price"], reply["peggedPrice"]) == ("0.00000000", "3412.36000000")
    event = (await client.event("executionReport"))["event"]
    assert (event["gP"], event["gp"]) == ("PRIMARY_PEG", "3412.36000000")
    assert "gOT" not in event


async def test_what_self_trade_prevention_took_is_told(exchange: Served, autojump_clock: MockClock) -> None:
    client = await opened(exchange)
    await client.order(**LIMIT, side="SELL", price="3412.40", quantity="0.5", newClientOrderId="resting")
    client.events.clear()
    taker = {**LIMIT, "side": "BUY", "price": "3412.40", "quantity": "1.0", "newClientOrderId": "taker"}
    reply = (await client.order(**taker, selfTradePreventionMode="DECREMENT"))["result"]
    (match,) = reply["preventedMatches"]
    assert match["takerPreventedQuantity"] == match["makerPreventedQuantity"] == reply["preventedQuantity"]
    resting = (await client.order("order.status", origClientOrderId="resting"))["result"]
    assert resting["preventedMatchId"] == match["preventedMatchId"]
    by_order = (await client.order("myPreventedMatches", orderId=resting["orderId"]))["result"]
    by_id = (await client.order("myPreventedMatches", preventedMatchId=match["preventedMatchId"]))["result"]
    assert by_order == by_id
    assert by_id[0]["selfTradePreventionMode"] == "DECREMENT"
    assert (await client.order("myPreventedMatches", orderId=resting["orderId"], fromPreventedMatchId=99))[
        "result"
    ] == []
    assert error(await client.order("myPreventedMatches")) == (-1102, EITHER.format("preventedMatchId", "orderId"))
    assert code(await client.order("myPreventedMatches", orderId=1, preventedMatchId=1)) == -1128


ROUTED = {"side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "price": "3413", "quantity": "0.1"}


async def test_smart_order_routing_tells_allocations(exchange: Served, autojump_clock: MockClock) -> None:
    client = await opened(exchange)
    exchange.exchange.venue.engine.change_filters(SYMBOL, sor=True)
    (placed,) = (await client.order("sor.order.place", **ROUTED))["result"]
    (fill,) = placed["fills"]
    assert (placed["workingFloor"], placed["usedSor"], fill["matchType"]) == ("SOR", True, "ONE_PARTY_TRADE_REPORT")
    assert fill["tradeId"] == -1
    events = [(await client.event("executionReport"))["event"] for _ in range(2)]
    assert [(each["k"], each["uS"]) for each in events] == [("SOR", True)] * 2
    assert (events[1]["b"], events[1]["a"], events[1]["t"]) == ("ONE_PARTY_TRADE_REPORT", fill["allocId"], -1)
    (allocation,) = (await client.order("myAllocations"))["result"]
    assert (allocation["allocationId"], allocation["orderId"]) == (fill["allocId"], placed["orderId"])
    assert (await client.order("myAllocations", fromAllocationId=fill["allocId"] + 1))["result"] == []
    assert (await client.order("myTrades"))["result"] == []
    status = (await client.order("order.status", orderId=placed["orderId"]))["result"]
    assert (status["workingFloor"], status["usedSor"]) == ("SOR", True)
    assert (await client.order("sor.order.test", **ROUTED))["result"] == {}
    rates = await client.order("sor.order.test", **ROUTED, computeCommissionRates=True)
    assert "standardCommissionForOrder" in rates["result"]


@pytest.mark.parametrize(
    ("params", "answer"),
    [
        ({"type": "LIMIT_MAKER", "timeInForce": None}, -1116),
        ({"quantity": None}, -1102),
        ({"stopPrice": "3000"}, -1104),
        ({"quoteOrderQty": "100"}, -1104),
        ({"pegPriceType": "PRIMARY_PEG"}, -1104),
        ({"timeInForce": None}, -1102),
    ],
)
async def test_what_smart_order_routing_does_not_take(
    exchange: Served, autojump_clock: MockClock, params: dict[str, Any], answer: int
) -> None:
    client = await opened(exchange)
    exchange.exchange.venue.engine.change_filters(SYMBOL, sor=True)
    assert code(await client.order("sor.order.place", **given(ROUTED, params))) == answer


async def test_a_taker_outside_the_price_range_expires(exchange: Served, autojump_clock: MockClock) -> None:
    client = await opened(exchange)
    engine = exchange.exchange.venue.engine
    engine.set_reference(SYMBOL, Decimal("3000"))
    engine.change_filters(SYMBOL, price_range=PriceRange(bid_up=Decimal("1.1")))
    reply = (await client.order(**LIMIT, side="BUY", price="3600", quantity="2"))["result"]
    assert (reply["status"], reply["expiryReason"]) == ("EXPIRED", "EXECUTION_RULE_PRICE_RANGE_EXCEEDED")
    events = [(await client.event("executionReport"))["event"] for _ in range(2)]
    assert events[1]["eR"] == "EXECUTION_RULE_PRICE_RANGE_EXCEEDED"


async def test_transfers_and_locks_from_outside_are_pushed(exchange: Served, autojump_clock: MockClock) -> None:
    client = await opened(exchange)
    venue = exchange.exchange.venue
    for events in (
        venue.engine.transfer(ACCOUNT, "FDUSD", Decimal("-1500"), venue.now_ms(), 0),
        venue.engine.external_lock(ACCOUNT, "ETH", Decimal("0.5"), venue.now_ms(), 0),
    ):
        venue.change(events)
        venue.tell(events)
    moved, position, locked, other = [(await client.event())["event"] for _ in range(4)]
    assert (moved["e"], moved["a"], moved["d"]) == ("balanceUpdate", "FDUSD", "-1500.00000000")
    assert position["B"] == [{"a": "FDUSD", "f": "23500.00000000", "l": "0.00000000"}]
    assert (locked["e"], locked["a"], locked["d"]) == ("externalLockUpdate", "ETH", "0.50000000")
    assert other["B"] == [{"a": "ETH", "f": "3.75000000", "l": "0.50000000"}]


async def test_a_discount_asset_stands_in_the_middle(exchange: Served, autojump_clock: MockClock) -> None:
    client = await opened(exchange)
    exchange.exchange.venue.engine.deposit(ACCOUNT, "BNB", Decimal(2))
    await client.maker("BUY", "3400")
    event = (await client.event("outboundAccountPosition"))["event"]
    assert [(each["a"], each["f"]) for each in event["B"]][:2] == [("ETH", "4.25000000"), ("BNB", "2.00000000")]
    assert event["B"][2]["a"] == "FDUSD"


# -- amends -----------------------------------------------------------------------------------------------------------


async def test_an_amend_keeps_the_order_and_renames_it(exchange: Served, autojump_clock: MockClock) -> None:
    client = await opened(exchange)
    await client.maker("BUY", "3400", "0.9", newClientOrderId="mine")
    await kinds(client, 2)
    amend: dict[str, Any] = {"orderId": 1, "newQty": "0.6", "newClientOrderId": "mine"}
    first = (await client.order("order.amend.keepPriority", **amend))["result"]
    assert (first["amendedOrder"]["qty"], first["amendedOrder"]["clientOrderId"]) == ("0.60000000", "mine")
    event = (await client.event("executionReport"))["event"]
    assert (event["x"], event["X"], event["q"], event["C"]) == ("REPLACED", "NEW", "0.60000000", "mine")
    assert event["I"] == first["executionId"]
    second = (await client.order("order.amend.keepPriority", orderId=1, newQty=0.5))["result"]["amendedOrder"]
    assert second["origClientOrderId"] == "mine" != second["clientOrderId"]
    told = (await client.order("order.amendments", orderId=1))["result"]
    assert [(each["origQty"], each["newQty"]) for each in told] == [
        ("0.90000000", "0.60000000"),
        ("0.60000000", "0.50000000"),
    ]
    later = await client.order("order.amendments", orderId=1, fromExecutionId=told[1]["executionId"], limit=5)
    assert later["result"] == told[1:]


@pytest.mark.parametrize(
    ("params", "answer"),
    [
        ({"newQty": "0.5"}, (-2038, "The requested action would change no state; rejecting")),
        ({"newQty": "0.6"}, (-2038, "Order amend (quantity increase) is not supported.")),
        ({}, (-1102, MISSING.format("newQty"))),
        ({"newQty": "0,1"}, (-1100, ILLEGAL.format("newQty", DECIMAL))),
        ({"newQty": "0.1", "orderId": None}, (-1102, EITHER.format("origClientOrderId", "orderId"))),
    ],
)  # fmt: skip
async def test_a_bad_amend_leaves_the_order_alone(
    exchange: Served, autojump_clock: MockClock, params: dict[str, Any], answer: tuple[int, str]
) -> None:
    client = await opened(exchange)
    await client.maker("BUY", "3400", "0.5")
    assert error(await client.order("order.amend.keepPriority", **{"orderId": 1} | params)) == answer
    assert (await client.order("order.status", orderId=1))["result"]["origQty"] == "0.50000000"


async def test_an_amend_that_ends_the_order_is_free(autojump_clock: MockClock, tmp_path: Path) -> None:
    lines = [trade(10, "3400.00", "0.2")]
    async with served(tmp_path, market(*lines), fills="touch") as exchange:
        client = await opened(exchange)
        await client.maker("BUY", "3400", "0.5")
        await trio.sleep(20)

        async def cost(new_qty: str) -> int:
            before = (await client.call("ping"))["rateLimits"][-1]["count"]
            reply = await client.order("order.amend.keepPriority", orderId=1, newQty=new_qty)
            assert reply["status"] == 200
            spent: int = reply["rateLimits"][-1]["count"] - before
            return spent

        assert await cost("0.4") == 4
        assert await cost("0.2") == 0
        status = (await client.order("order.status", orderId=1))["result"]["status"]
        assert status not in {"NEW", "PARTIALLY_FILLED"}


# -- order lists ------------------------------------------------------------------------------------------------------

OCO = {
    "side": "SELL",
    "quantity": "0.3",
    "listClientOrderId": "list",
    "aboveType": "LIMIT_MAKER",
    "abovePrice": "3460",
    "aboveClientOrderId": "above",
    "belowType": "STOP_LOSS_LIMIT",
    "belowStopPrice": "3370",
    "belowPrice": "3366",
    "belowTimeInForce": "GTC",
    "belowClientOrderId": "below",
}
OTO = {
    "listClientOrderId": "list",
    "workingType": "LIMIT",
    "workingSide": "BUY",
    "workingPrice": "3395",
    "workingQuantity": "0.3",
    "workingTimeInForce": "GTC",
    "workingClientOrderId": "working",
    "pendingType": "LIMIT_MAKER",
    "pendingSide": "SELL",
    "pendingPrice": "3440",
    "pendingQuantity": "0.3",
    "pendingClientOrderId": "pending",
}
PAIR = {
    "pendingType": None,
    "pendingPrice": None,
    "pendingClientOrderId": None,
    "pendingAboveType": "LIMIT_MAKER",
    "pendingAbovePrice": "3440",
    "pendingAboveClientOrderId": "above",
    "pendingBelowType": "STOP_LOSS",
    "pendingBelowStopPrice": "3350",
    "pendingBelowClientOrderId": "below",
}


def given(*parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Parameters; None leaves one out."""
    merged: dict[str, Any] = {}
    for part in (*parts, more):
        merged |= part
    return {name: value for name, value in merged.items() if value is not None}


async def test_an_oco_is_placed_asked_for_and_cancelled(exchange: Served, autojump_clock: MockClock) -> None:
    client = await opened(exchange)
    placed = (await client.order("orderList.place.oco", **OCO))["result"]
    assert [each["clientOrderId"] for each in placed["orders"]] == ["below", "above"]
    assert [each["type"] for each in placed["orderReports"]] == ["STOP_LOSS_LIMIT", "LIMIT_MAKER"]
    assert [each["fills"] for each in placed["orderReports"]] == [[], []]
    head = {name: value for name, value in placed.items() if name != "orderReports"}
    stamp = {"timestamp": exchange.now_ms()}
    list_id = placed["orderListId"]
    assert (await client.call("orderList.status", **stamp, orderListId=list_id))["result"] == head
    assert (await client.call("orderList.status", **stamp, origClientOrderId="list"))["result"] == head
    assert (await client.call("openOrderLists.status", **stamp))["result"] == [head]
    assert (await client.call("allOrderLists", **stamp, fromId=list_id))["result"] == [head]
    assert (await client.call("allOrderLists", **stamp, startTime=exchange.now_ms() + 1))["result"] == []
    assert code(await client.call("orderList.status", **stamp, orderListId=99)) == -2018
    assert code(await client.call("orderList.status", **stamp)) == -1102
    open_orders = (await client.order("openOrders.status"))["result"]
    assert {each["orderListId"] for each in open_orders} == {list_id}
    client.events.clear()
    gone = (await client.order("orderList.cancel", orderListId=list_id, newClientOrderId="gone"))["result"]
    assert (gone["listStatusType"], gone["listOrderStatus"]) == ("ALL_DONE", "ALL_DONE")
    assert {each["clientOrderId"] for each in gone["orderReports"]} == {"gone"}
    assert {each["status"] for each in gone["orderReports"]} == {"CANCELED"}
    assert (await client.call("openOrderLists.status", **stamp))["result"] == []


async def test_a_list_begins_with_its_status(exchange: Served, autojump_clock: MockClock) -> None:
    client = await opened(exchange)
    await client.order("orderList.place.oco", **OCO)
    events = await kinds(client, 4)
    assert ("listStatus", "EXEC_STARTED", "EXECUTING") in events
    assert {event for event in events if len(event) == 3 and event[0] == "NEW"} == {
        ("NEW", "NEW", "below"),
        ("NEW", "NEW", "above"),
    }
    assert events[-1] == ("outboundAccountPosition",)


async def test_a_leg_that_fills_ends_the_other(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path, market(trade(10, "3461.00", "5", buyer_is_maker=False)), fills="touch") as exchange:
        client = await opened(exchange)
        await client.order("orderList.place.oco", **OCO)
        await kinds(client, 4)
        assert await kinds(client, 4) == [
            ("TRADE", "FILLED", "above"),
            ("EXPIRED", "EXPIRED", "below"),
            ("listStatus", "ALL_DONE", "ALL_DONE"),
            ("outboundAccountPosition",),
        ]
        status = (await client.order("order.status", origClientOrderId="below"))["result"]
        assert (status["status"], status["expiryReason"]) == ("EXPIRED", "OCO_TRIGGER")


async def test_a_deprecated_oco_has_a_limit_and_a_stop(exchange: Served, autojump_clock: MockClock) -> None:
    client = await opened(exchange)
    old = {"side": "SELL", "quantity": "0.3", "price": "3460", "stopPrice": "3370"}
    old |= {"limitClientOrderId": "limit", "stopClientOrderId": "stop"}
    placed = (await client.order("orderList.place", **old))["result"]
    assert [(each["clientOrderId"], each["type"]) for each in placed["orderReports"]] == [
        ("stop", "STOP_LOSS"),
        ("limit", "LIMIT_MAKER"),
    ]
    limited = {"stopLimitPrice": "3366", "stopLimitTimeInForce": "GTC", "side": "BUY"}
    buy = old | limited | {"price": "3300", "stopPrice": "3500", "stopLimitPrice": "3510"}
    buy |= {"limitClientOrderId": "limit2", "stopClientOrderId": "stop2"}
    placed = (await client.order("orderList.place", **buy))["result"]
    assert [each["type"] for each in placed["orderReports"]] == ["STOP_LOSS_LIMIT", "LIMIT_MAKER"]
    without = given(old, limited, stopLimitTimeInForce=None)
    assert error(await client.order("orderList.place", **without)) == (-1102, MISSING.format("stopLimitTimeInForce"))


@pytest.mark.parametrize(
    ("params", "answer"),
    [
        ({"aboveType": "LIMIT"}, (-1158, "Order type not supported in OCO.")),
        ({"aboveType": "ABOVE"}, (-1116, "Invalid orderType.")),
        ({"abovePrice": "3460.123456789"}, (-1111, "Parameter 'abovePrice' has too much precision.")),
        ({"aboveType": None}, (-1102, MISSING.format("aboveType"))),
        ({"belowType": "LIMIT_MAKER"}, (-1168, "At least one OCO order must be contingent.")),
        ({"side": "BUY"}, (-1165, "A limit order in a buy OCO must be below.")),
        ({"aboveType": "STOP_LOSS", "belowType": "LIMIT_MAKER"}, (-1166, "A limit order in a sell OCO must be above.")),
        ({"side": "BUY", "aboveType": "STOP_LOSS"}, (-1196, "A stop loss order in a buy OCO must be above.")),
        ({"aboveType": "STOP_LOSS"}, (-1197, "A stop loss order in a sell OCO must be below.")),
        ({"side": "BUY", "aboveType": "TAKE_PROFIT"}, (-1198, "A take profit order in a buy OCO must be below.")),
        ({"belowType": "TAKE_PROFIT"}, (-1199, "A take profit order in a sell OCO must be above.")),
        ({"abovePrice": None}, (-1102, MISSING.format("abovePrice"))),
        ({"belowTimeInForce": None}, (-1102, MISSING.format("belowTimeInForce"))),
        ({"belowStopPrice": None}, (-1102, EITHER.format("belowStopPrice", "belowTrailingDelta"))),
        ({"aboveTimeInForce": "GTC"}, (-1106, NOT_REQUIRED.format("aboveTimeInForce"))),
        ({"aboveStopPrice": "3450"}, (-1106, NOT_REQUIRED.format("aboveStopPrice"))),
        (
            {"belowTimeInForce": "IOC", "belowIcebergQty": "0.1"},
            (-1160, "Parameter 'belowIcebergQty' is not supported if `belowTimeInForce` is not GTC."),
        ),
        ({"aboveStrategyType": 1}, (-1134, "`strategyType` was less than 1000000.")),
        ({"abovePrice": "3400"}, (-2010, "The relationship of the prices for the orders is not correct.")),
        ({"listClientOrderId": "a b"}, (-1100, ILLEGAL.format("listClientOrderId", CLIENT_ID))),
        ({"price": "3400"}, (-1104, "Not all sent parameters were read; read '13' parameter(s) but was sent '14'.")),
    ],
)  # fmt: skip
async def test_a_bad_oco(
    exchange: Served, autojump_clock: MockClock, params: dict[str, Any], answer: tuple[int, str]
) -> None:
    client = await opened(exchange)
    assert error(await client.order("orderList.place.oco", **given(OCO, params))) == answer
    assert (await client.order("openOrders.status"))["result"] == []


@pytest.mark.parametrize(
    ("method", "params", "answer"),
    [
        ("oto", {"workingType": "MARKET"}, (-1116, "Invalid orderType.")),
        ("oto", {"workingTimeInForce": None}, (-1102, MISSING.format("workingTimeInForce"))),
        ("oto", {"pendingQuantity": None}, (-1102, MISSING.format("pendingQuantity"))),
        ("oto", {"pendingSide": "HOLD"}, (-1117, "Invalid side.")),
        ("oto", {"pendingType": "MARKET", "pendingPrice": None, "pendingQuoteOrderQty": "10"}, (-1104, None)),
        ("otoco", PAIR | {"pendingBelowType": None}, (-1102, MISSING.format("pendingBelowType"))),
        ("otoco", PAIR | {"pendingAboveType": "LIMIT"}, (-1158, "Order type not supported in OCO.")),
        ("opo", {}, (-1225, "Pending orders should not include the 'pendingQuantity' tag.")),
        ("opo", {"workingSide": "SELL"}, (-1222, "Working order in an OPO list must be a bid.")),
        ("opo", {"pendingSide": "BUY"}, (-1223, "Pending orders in an OPO list must be asks.")),
        ("opo", {"workingQuantity": None}, (-1224, "Working order must include the 'workingQuantity' tag.")),
        ("opoco", PAIR, (-1225, "Pending orders should not include the 'pendingQuantity' tag.")),
    ],
)
async def test_a_bad_list_of_orders_that_trigger_others(
    exchange: Served, autojump_clock: MockClock, method: str, params: dict[str, Any], answer: tuple[int, str | None]
) -> None:
    client = await opened(exchange)
    reply = await client.order(f"orderList.place.{method}", **given(OTO, params))
    assert error(reply) == (answer[0], answer[1] or reply["error"]["msg"])
    assert (await client.order("openOrders.status"))["result"] == []


async def test_a_pending_order_comes_in_once_the_working_one_is_filled(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with served(tmp_path, market(trade(10, "3394.00", "5")), fills="touch") as exchange:
        client = await opened(exchange)
        placed = (await client.order("orderList.place.oto", **OTO))["result"]
        assert [each["status"] for each in placed["orderReports"]] == ["NEW", "PENDING_NEW"]
        started = await kinds(client, 4)
        assert ("NEW", "PENDING_NEW", "pending") in started
        await trio.sleep(20)
        await client.call("ping")
        events = await kinds(client, len(client.events))
        assert events.index(("TRADE", "FILLED", "working")) < events.index(("NEW", "NEW", "pending"))
        status = (await client.order("order.status", origClientOrderId="pending"))["result"]
        assert (status["status"], status["isWorking"]) == ("NEW", True)


@pytest.mark.parametrize(
    ("method", "params", "legs"),
    [
        ("oto", {}, ["working", "pending"]),
        ("otoco", PAIR, ["working", "below", "above"]),
        ("opo", {"pendingQuantity": None}, ["working", "pending"]),
        ("opoco", PAIR | {"pendingQuantity": None}, ["working", "below", "above"]),
    ],
)
async def test_lists_of_orders_that_trigger_others(
    exchange: Served, autojump_clock: MockClock, method: str, params: dict[str, Any], legs: list[str]
) -> None:
    client = await opened(exchange)
    placed = (await client.order(f"orderList.place.{method}", **given(OTO, params)))["result"]
    assert placed["contingencyType"] == "OTO"
    assert [each["clientOrderId"] for each in placed["orders"]] == legs
    reports = placed["orderReports"]
    assert [each["status"] for each in reports] == ["NEW", *["PENDING_NEW"] * (len(legs) - 1)]
    assert {"origQty" in each for each in reports[1:]} == {not method.startswith("opo")}
    assert "origQty" in reports[0]


async def test_the_legs_of_a_list_take_what_orders_take(exchange: Served, autojump_clock: MockClock) -> None:
    client = await opened(exchange)
    params = given(
        OCO,
        aboveIcebergQty="0.1",
        aboveStrategyId=7,
        aboveStrategyType=1000001,
        belowStopPrice=None,
        belowTrailingDelta=100,
        belowIcebergQty="0.1",
        selfTradePreventionMode="EXPIRE_BOTH",
        newOrderRespType="RESULT",
    )
    below, above = (await client.order("orderList.place.oco", **params))["result"]["orderReports"]
    assert (above["icebergQty"], above["strategyId"], above["strategyType"]) == ("0.10000000", 7, 1000001)
    assert (below["icebergQty"], below["trailingDelta"]) == ("0.10000000", 100)
    assert above["selfTradePreventionMode"] == below["selfTradePreventionMode"] == "EXPIRE_BOTH"
    assert "fills" not in above


async def test_cancelling_an_order_of_a_list_cancels_the_list(exchange: Served, autojump_clock: MockClock) -> None:
    client = await opened(exchange)
    await client.order("orderList.place.oco", **OCO)
    gone = (await client.order("order.cancel", origClientOrderId="above", newClientOrderId="gone"))["result"]
    assert [each["origClientOrderId"] for each in gone["orderReports"]] == ["below", "above"]
    assert gone["listOrderStatus"] == "ALL_DONE"


async def test_replacing_an_order_of_a_list_cancels_the_list(exchange: Served, autojump_clock: MockClock) -> None:
    client = await opened(exchange)
    await client.order("orderList.place.oco", **OCO)
    replace = MAKER | {"cancelReplaceMode": "STOP_ON_FAILURE", "cancelOrigClientOrderId": "above"}
    reply = (await client.order("order.cancelReplace", **replace))["result"]
    assert len(reply["cancelResponse"]["orderReports"]) == 2
    assert reply["newOrderResponse"]["orderListId"] == -1


async def test_cancelling_everything_tells_of_orders_and_lists(exchange: Served, autojump_clock: MockClock) -> None:
    client = await opened(exchange)
    await client.maker("BUY", "3400", "0.5", newClientOrderId="single")
    await client.order("orderList.place.oco", **OCO)
    told = (await client.order("openOrders.cancelAll"))["result"]
    assert sorted("orderReports" in each for each in told) == [False, True]
    assert (await client.order("openOrders.status"))["result"] == []


async def test_an_amended_leg_tells_its_list(exchange: Served, autojump_clock: MockClock) -> None:
    client = await opened(exchange)
    await client.order("orderList.place.oto", **OTO)
    await kinds(client, 4)
    reply = (await client.order("order.amend.keepPriority", origClientOrderId="working", newQty="0.2"))["result"]
    new_id = reply["amendedOrder"]["clientOrderId"]
    assert [each["clientOrderId"] for each in reply["listStatus"]["orders"]] == [new_id, "pending"]
    event = (await client.event("listStatus"))["event"]
    assert (event["l"], event["O"][0]["c"]) == ("UPDATED", new_id)


# -- counts and costs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("order.place", MAKER),
        ("orderList.place", {"side": "SELL", "quantity": "0.3", "price": "3460", "stopPrice": "3370"}),
        ("orderList.place.oco", OCO),
        ("orderList.place.oto", OTO),
        ("orderList.place.otoco", given(OTO, PAIR)),
        ("orderList.place.opo", given(OTO, pendingQuantity=None)),
        ("orderList.place.opoco", given(OTO, PAIR, pendingQuantity=None)),
    ],
)
async def test_what_a_placement_counts_and_costs(
    exchange: Served, autojump_clock: MockClock, method: str, params: dict[str, Any]
) -> None:
    client = await opened(exchange)
    before = (await client.call("ping"))["rateLimits"][-1]["count"]
    reply = await client.order(method, **params)
    assert reply["status"] == 200, reply
    assert [each["rateLimitType"] for each in reply["rateLimits"]] == ["ORDERS", "ORDERS", "REQUEST_WEIGHT"]
    assert [each["count"] for each in reply["rateLimits"]] == [METHODS[method].count, METHODS[method].count, before]
    cancelled = await client.order("openOrders.cancelAll")
    assert [each["rateLimitType"] for each in cancelled["rateLimits"]] == ["REQUEST_WEIGHT"]
    assert cancelled["rateLimits"][0]["count"] == before


async def test_a_full_count_refuses_a_list_too(exchange: Served, autojump_clock: MockClock) -> None:
    client = await opened(exchange)
    for _ in range(100):
        assert (await client.maker("BUY", "3000", "0.01"))["status"] == 200
    reply = await client.order("orderList.place.oco", **OCO)
    assert (reply["status"], code(reply)) == (429, -1015)
    replace = MAKER | {"cancelOrderId": 9999, "orderRateLimitExceededMode": "CANCEL_ONLY"}
    stopped = await client.order("order.cancelReplace", **replace, cancelReplaceMode="STOP_ON_FAILURE")
    assert (stopped["status"], stopped["error"]["data"]["newOrderResult"]) == (429, "NOT_ATTEMPTED")
    allowed = await client.order("order.cancelReplace", **replace, cancelReplaceMode="ALLOW_FAILURE")
    assert (allowed["status"], allowed["error"]["data"]["newOrderResponse"]["code"]) == (400, -1015)


# -- what else may be asked -------------------------------------------------------------------------------------------


async def test_rates_are_told_for_the_side_of_an_order(autojump_clock: MockClock, tmp_path: Path) -> None:
    rates = {"maker": Decimal("0.0008"), "taker": Decimal("0.001")}
    async with served(tmp_path, market(), **rates) as exchange:
        client = await opened(exchange)
        told = (await client.order("order.test", **MAKER, computeCommissionRates="true"))["result"]
        assert told["standardCommissionForOrder"] == {"maker": "0.00080000", "taker": "0.00100000"}
        commission = (await client.order("account.commission"))["result"]
        assert commission["standardCommission"]["taker"] == "0.00100000"
        account = (await client.call("account.status", timestamp=exchange.now_ms()))["result"]
        assert (account["makerCommission"], account["takerCommission"]) == (8, 10)


async def test_filters_of_the_account(exchange: Served, autojump_clock: MockClock) -> None:
    client = await opened(exchange)
    engine = exchange.exchange.venue.engine
    engine.change_filters(SYMBOL, max_asset={"ETH": Decimal(2500)}, exchange_max_orders=1000)
    told = (await client.order("myFilters"))["result"]
    assert list(told) == ["exchangeFilters", "symbolFilters", "assetFilters"]
    info = (await client.call("exchangeInfo", symbol=SYMBOL))["result"]["symbols"][0]
    assert told["symbolFilters"] == info["filters"]
    assert told["exchangeFilters"] == [{"filterType": "EXCHANGE_MAX_NUM_ORDERS", "maxNumOrders": 1000}]
    assert told["assetFilters"] == [{"filterType": "MAX_ASSET", "asset": "ETH", "limit": "2500.00000000"}]


@pytest.mark.parametrize(
    ("method", "params", "answer"),
    [
        ("myTrades", {"orderId": 1, "startTime": 1}, -1128),
        ("myTrades", {"fromId": 1, "endTime": 1}, -1128),
        ("myTrades", {"orderId": 1, "fromId": 1}, None),
        ("myAllocations", {}, None),
        ("myAllocations", {"orderId": 1, "fromAllocationId": 1}, None),
        ("myAllocations", {"orderId": 1, "startTime": 1}, -1128),
        ("myAllocations", {"startTime": 1, "endTime": 86_400_002}, -1127),
        ("order.amendments", {}, -1102),
        ("order.amendments", {"orderId": "x"}, -1100),
    ],
)
async def test_combinations_of_what_may_be_asked_by(
    exchange: Served, autojump_clock: MockClock, method: str, params: dict[str, Any], answer: int | None
) -> None:
    reply = await (await opened(exchange)).order(method, **params)
    assert reply.get("error", {}).get("code") == answer


async def test_microseconds_of_everything_that_trading_tells(exchange: Served, autojump_clock: MockClock) -> None:
    await opened(exchange)
    client = await exchange.client("/ws-api/v3?timeUnit=MICROSECOND")
    await client.signed("session.logon")
    await client.call("userDataStream.subscribe")
    placed = (await client.order("orderList.place.oco", **OCO))["result"]
    assert placed["transactionTime"] == placed["orderReports"][1]["workingTime"] == exchange.now_ms() * 1000
    event = (await client.event("listStatus"))["event"]
    assert event["E"] == event["T"] == placed["transactionTime"]
