"""What the exchange really sends has the shape of the example messages: members, types, presence; of errors the text.

Every example of an answer or an event is compared with a frame that the running exchange was made to send, and every
example of a request is asked. `make test ARGS="-s tests/sim/test_messages.py"` prints how many of which.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import pytest
import trio
import trio.testing

from tests.paths import SHARED
from tests.sim.served import (
    ED_KEY,
    HMAC_KEY,
    KEYS,
    START_MS,
    SYMBOL,
    Client,
    Line,
    Served,
    quiet,
    record,
    served,
    top,
    trade,
)
from tetrio.net.clock import AnchoredClock
from tetrio.sim.exchange import Clocks, Exchange, ExchangeConfig
from tetrio.sim.face import wsapi
from tetrio.sim.face.auth import Keys
from tetrio.sim.face.checks import Params
from tetrio.sim.face.venue import ACCOUNT, Venue
from tetrio.sim.market.reference import ArithmeticMean, External, ReferencePrice
from tetrio.sim.market.tape import open_market
from tetrio.wire.request import decode_request
from tetrio.wire.rules import PRODUCTION_LIMITS, Filters, PriceRange, RateLimit

MESSAGES = SHARED / "binance" / "messages"

NESTED = "stream.control.error.documented"
"""Documented flat; the exchange sends the same codes and texts in the nested form, which is what clients have seen."""
ELSEWHERE = ("sbe.",)
"""Compared in test_sbe.py."""
REQUESTS = (".request", ".request.id-variants")
"""What a client sends: checked by a test of its own."""


def names() -> set[str]:
    return {path.name.removesuffix(".json") for path in MESSAGES.glob("*.json")}


def load(name: str) -> Any:
    return json.loads((MESSAGES / f"{name}.json").read_text())


def differences(expected: Any, sent: Any, at: str = "$") -> Iterator[str]:
    """Where `sent` is not of the shape of `expected`."""
    if type(expected) is not type(sent):
        yield f"{at}: {type(expected).__name__} expected, {sent!r} sent"
    elif isinstance(expected, dict):
        if list(expected) != list(sent) and expected.keys() == sent.keys():
            yield f"{at}: in the order {list(expected)} expected, {list(sent)} sent"
        for name in expected.keys() | sent.keys():
            if name not in sent or name not in expected:
                yield f"{at}.{name}: {'missing' if name in expected else 'not expected'}"
            else:
                yield from differences(expected[name], sent[name], f"{at}.{name}")
    elif isinstance(expected, list):
        yield from _list_differences(expected, sent, at)


def _list_differences(expected: list[Any], sent: list[Any], at: str) -> Iterator[str]:
    if bool(expected) != bool(sent):
        yield f"{at}: {len(expected)} elements expected, {len(sent)} sent"
    elif expected and isinstance(expected[0], dict) and "filterType" in expected[0]:
        kinds = {each["filterType"]: each for each in sent}
        for each in expected:
            yield from differences(each, kinds.get(each["filterType"]), f"{at}[{each['filterType']}]")
    elif at.endswith(".orderReports"):  # each of a kind of its own
        if len(expected) != len(sent):
            yield f"{at}: {len(expected)} elements expected, {len(sent)} sent"
        for number, (one, other) in enumerate(zip(expected, sent, strict=False)):
            yield from differences(one, other, f"{at}[{number}]")
    elif expected and isinstance(expected[0], dict | list):
        for number, each in enumerate(sent):  # elements of a list are of one shape
            yield from differences(expected[0], each, f"{at}[{number}]")
    elif at.endswith("]") and "permissionSets" not in at and len(expected) != len(sent):  # a kline, a level
        yield f"{at}: {len(expected)} elements expected, {len(sent)} sent"
    else:
        for one, other in zip(expected, sent, strict=False):
            yield from differences(one, other, f"{at}[]")


class Compared:
    """Which examples were compared, and how it came out."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.wrong: list[str] = []

    def __call__(self, name: str, sent: Any) -> None:
        """The exchange sent `sent` where the example stands."""
        expected = load(name)
        if isinstance(expected, dict) and "response" in expected:
            expected = expected["response"]
        self.names.add(name)
        self.wrong += [f"{name} {difference}" for difference in differences(expected, sent)]
        if isinstance(expected, dict) and isinstance(sent, dict):
            self._same_error(name, *(each.get("error") or each.get("body") for each in (expected, sent)))

    def frames(self, name: str, expected: list[Any], sent: list[Any]) -> None:
        """The exchange sent these frames where those of the example stand."""
        self.names.add(name)
        for number, (one, other) in enumerate(zip(expected, sent, strict=True)):
            self.wrong += [f"{name} {number} {difference}" for difference in differences(one, other)]

    def _same_error(self, name: str, expected: Any, sent: Any) -> None:
        texts = [(each.get("code"), each.get("msg")) if isinstance(each, dict) else () for each in (expected, sent)]
        if texts[0] != texts[1]:
            self.wrong.append(f"{name}: {texts[0]} expected, {texts[1]} sent")

    def assert_all_right(self) -> None:
        assert not self.wrong, "\n".join(self.wrong)


def story() -> list[Line]:
    """A book, trades that fill what the tests rest at 3411.90, and a book that the tests can take from."""
    return [
        top(0, "3412.36", "0.1500", "3412.37", "0.2500"),
        trade(0.5, "3412.36", "0.3108"),
        trade(10, "3411.90", "0.1200"),
        trade(11, "3411.90", "5.0000"),
        trade(12, "3412.36", "0.0001"),
        *(top(at_s, "3412.36", "0.1500", "3412.37", "0.2500") for at_s in range(1, 60)),
        trade(2007, "3370.00", "0.0001"),
        trade(2008, "3412.36", "0.0001"),
        trade(3007, "3461.00", "5.0000", buyer_is_maker=False),
        (0.7, "depth@100ms", load("stream.depthUpdate")),
        top(4000, "3412.36", "0.1500", "3412.37", "0.2500"),
    ]


def local_story() -> list[Line]:
    """The differences of the worked local book."""
    events = load("sequence.local-book")["events"]
    told = [((event["E"] - START_MS) / 1000, "depth@100ms", event) for event in events]
    return [top(0, "3412.36", "1.8420", "3412.37", "0.7714"), trade(0.01, "3412.36", "0.1000"), *told]


def limits() -> list[RateLimit]:
    """Those of production, but 30 orders in ten seconds."""
    return [
        msgspec.structs.replace(limit, limit=30) if limit.interval == "SECOND" else limit for limit in PRODUCTION_LIMITS
    ]


async def started(exchange: Served) -> Client:
    """The market runs, and has a book and a last trade."""
    line = await exchange.line("trade", "bookTicker")
    await line.receive()
    await line.receive()
    return line


async def market_data(exchange: Served, same: Compared) -> None:
    line = await started(exchange)
    client = await exchange.client()
    micro = await exchange.client("/ws-api/v3?timeUnit=MICROSECOND")
    same("wsapi.ping.response", await client.call("ping"))
    same("wsapi.time.response", await client.call("time"))
    same("wsapi.time.no-rate-limits.response", await client.call("time", returnRateLimits=False))
    reply = await micro.call("time")
    assert len(str(reply["result"]["serverTime"])) == 16
    same("wsapi.time.microsecond.response", reply)
    same("wsapi.exchangeInfo.response", await client.call("exchangeInfo", symbol=SYMBOL))
    same("wsapi.klines.response", await client.call("klines", symbol=SYMBOL, interval="1m"))
    same("wsapi.uiKlines.response", await client.call("uiKlines", symbol=SYMBOL, interval="1m"))
    same("wsapi.ticker.book.response", await client.call("ticker.book", symbol=SYMBOL))
    same("wsapi.ticker.book.symbols.response", await client.call("ticker.book", symbols=[SYMBOL]))
    same("wsapi.ticker.price.response", await client.call("ticker.price", symbol=SYMBOL))
    prices = await client.call("ticker.price", symbols=f'["{SYMBOL}"]', symbolStatus="TRADING")
    same("wsapi.ticker.price.symbols.response", prices)
    same("wsapi.avgPrice.response", await client.call("avgPrice", symbol=SYMBOL))
    await trio.sleep(1)  # until the first difference has come
    same("wsapi.depth.response", await client.call("depth", symbol=SYMBOL, limit=5))
    same("wsapi.trades.recent.response", await client.call("trades.recent", symbol=SYMBOL, limit=2))
    first = exchange.exchange.venue.recent[0].trade_id
    historical = await client.call("trades.historical", symbol=SYMBOL, fromId=first, limit=1)
    same("wsapi.trades.historical.response", historical)
    same("wsapi.trades.aggregate.response", await client.call("trades.aggregate", symbol=SYMBOL, limit=2))
    same("wsapi.ticker.24hr.full.response", await client.call("ticker.24hr", symbol=SYMBOL, type="FULL"))
    same("wsapi.ticker.24hr.mini.response", await client.call("ticker.24hr", symbol=SYMBOL, type="MINI"))
    same("wsapi.ticker.tradingDay.response", await client.call("ticker.tradingDay", symbol=SYMBOL, timeZone="0"))
    same("wsapi.ticker.rolling.response", await client.call("ticker", symbol=SYMBOL, windowSize="4h"))
    await references(exchange.exchange.venue, client, same)
    bad = await client.call("ticker.book", symbol=SYMBOL, symbolStatus="HALT")
    same("wsapi.error.symbol-status-mismatch", bad)
    same("wsapi.error.bad-interval", await client.call("klines", symbol=SYMBOL, interval="2m"))
    same("wsapi.error.bad-symbol", await client.call("ticker.price", symbol="NOPE"))
    for variant in load("wsapi.request.id-variants"):
        reply = await client.ask(json.dumps(variant))
        assert reply["id"] == variant["id"]
        assert type(reply["id"]) is type(variant["id"])
    await line.ws.aclose()


async def references(venue: Venue, client: Client, same: Compared) -> None:
    same("wsapi.referencePrice.never-set.response", await client.call("referencePrice", symbol=SYMBOL))
    bad = await client.call("referencePrice.calculation", symbol=SYMBOL, symbolStatus="TRADING")
    same("wsapi.referencePrice.calculation.error", bad)
    venue.set_reference(ReferencePrice(None, START_MS, ArithmeticMean(30, 2000)))
    same("wsapi.referencePrice.null.response", await client.call("referencePrice", symbol=SYMBOL))
    calculation = await client.call("referencePrice.calculation", symbol=SYMBOL)
    same("wsapi.referencePrice.calculation.arithmetic-mean.response", calculation)
    venue.set_reference(ReferencePrice(341_218, START_MS, External(3)))
    same("wsapi.referencePrice.set.response", await client.call("referencePrice", symbol=SYMBOL))
    calculation = await client.call("referencePrice.calculation", symbol=SYMBOL)
    same("wsapi.referencePrice.calculation.external.response", calculation)
    up, down = Decimal("1.05"), Decimal("0.95")
    venue.engine.change_filters(SYMBOL, price_range=PriceRange(bid_up=up, bid_down=down, ask_up=up, ask_down=down))
    same("wsapi.executionRules.response", await client.call("executionRules", symbol=SYMBOL))
    venue.block_trade(340_500, 9_000_000, False)
    block = await client.call("blockTrades.historical", symbol=SYMBOL, fromId=1, limit=1)
    same("wsapi.blockTrades.historical.response", block)


async def sessions(exchange: Served, same: Compared) -> None:
    client = await exchange.client()
    same("wsapi.session.status.unauthenticated.response", await client.call("session.status"))
    same("wsapi.session.logon.response", await client.signed("session.logon"))
    same("wsapi.userDataStream.subscribe.response", await client.call("userDataStream.subscribe"))
    same("wsapi.session.status.authenticated.response", await client.call("session.status"))
    same("wsapi.session.subscriptions.response", await client.call("session.subscriptions"))
    same("wsapi.error.subscription-active", await client.call("userDataStream.subscribe"))
    same("wsapi.error.unread-parameters", await client.call("userDataStream.subscribe", x=1))
    same("wsapi.userDataStream.unsubscribe.response", await client.call("userDataStream.unsubscribe", subscriptionId=0))
    same("user.eventStreamTerminated", await client.event("eventStreamTerminated"))
    same("wsapi.error.subscription-inactive", await client.call("userDataStream.unsubscribe", subscriptionId=0))
    reply = await client.signed_hmac("userDataStream.subscribe.signature")
    same("wsapi.userDataStream.subscribe.signature.response", reply)
    same("wsapi.session.logout.response", await client.call("session.logout") | {})
    assert (await client.call("session.status"))["result"]["userDataStream"] is True  # not the session's


async def refused_requests(exchange: Served, same: Compared) -> None:
    client = await exchange.client()
    same("wsapi.error.bad-api-key-format", await client.signed("account.status", apiKey="short"))
    same("wsapi.error.rejected-key", await client.signed("account.status", apiKey="x" * 64))
    bad = await client.call("account.status", timestamp=exchange.now_ms(), apiKey=ED_KEY, signature="AAAA")
    same("wsapi.error.bad-signature", bad)
    same("wsapi.error.timestamp-ahead", await client.signed("account.status", timestamp=exchange.now_ms() + 1000))
    same("wsapi.error.timestamp-outside", await client.signed("account.status", timestamp=exchange.now_ms() - 5001))
    await client.signed("session.logon")
    same("wsapi.error.mandatory-missing", await client.call("account.status"))
    same("wsapi.error.mandatory-either", await client.order("order.status"))
    same("wsapi.error.bad-combination", await client.order("myTrades", orderId=1, startTime=1))
    same("wsapi.error.no-such-order", await client.order("order.status", orderId=9))
    same("wsapi.order.cancel.error.unknown", await client.order("order.cancel", orderId=9))
    bad = await client.order("order.cancel", orderId=9, cancelRestrictions="ONLY_OLD")
    same("wsapi.error.bad-cancel-restrictions", bad)
    same("wsapi.openOrders.cancelAll.error.none", await client.order("openOrders.cancelAll"))


async def refused_orders(exchange: Served, same: Compared) -> None:
    line = await started(exchange)
    client = await exchange.trader()
    limit = {"type": "LIMIT", "side": "BUY", "timeInForce": "GTC"}
    same("wsapi.error.would-match", await client.maker("BUY", "3412.37"))
    same("wsapi.error.insufficient-balance", await client.maker("BUY", "3411.90", "9.0000"))
    same("wsapi.error.filter-lot-size", await client.maker("BUY", "3411.90", "0.00015"))
    same("wsapi.error.filter-market-lot-size", await client.order(type="MARKET", side="BUY", quantity="800"))
    same("wsapi.error.filter-notional", await client.maker("BUY", "3411.90", "0.0001"))
    same("wsapi.error.filter-percent-price-by-side", await client.maker("BUY", "30000.00"))
    same("wsapi.error.filter-price", await client.maker("BUY", "3411.905"))
    same("wsapi.error.bad-precision", await client.maker("BUY", "3411.123456789"))
    same("wsapi.error.illegal-chars", await client.maker("BUY", "3411.90", "0,5"))
    same("wsapi.error.param-not-required", await client.maker("BUY", "3411.90", timeInForce="GTC"))
    same("wsapi.error.stp-mode-not-allowed", await client.maker("BUY", "3411.90", selfTradePreventionMode="NONE"))
    await client.maker("BUY", "3411.00", "0.0100", newClientOrderId="twice")
    same("wsapi.error.duplicate-order", await client.maker("BUY", "3411.00", newClientOrderId="twice"))
    mismatch = await client.order("order.status", orderId=1, origClientOrderId="other")
    same("wsapi.error.client-id-mismatch", mismatch)
    held = await client.order("order.cancel", orderId=1, cancelRestrictions="ONLY_PARTIALLY_FILLED")
    same("wsapi.order.cancel.error.restrictions", held)
    assert (await client.order(**limit, quantity="0.1", price="3400"))["status"] == 200
    await line.ws.aclose()


async def maker_orders(exchange: Served, same: Compared) -> None:
    line = await started(exchange)
    client = await exchange.trader()
    frames = [await client.maker("BUY", "3411.90", newOrderRespType="RESULT", newClientOrderId="tet-b-0001")]
    same("wsapi.order.place.limit-maker.result.response", frames[0])
    same("wsapi.order.status.new.response", await client.order("order.status", orderId=1))
    frames += [await client.event(), await client.event()]
    same("user.executionReport.new", frames[1])
    same("user.outboundAccountPosition.after-new", frames[2])
    frames += [await client.event(), await client.event()]
    same("user.executionReport.trade.partial", frames[3])
    same("user.outboundAccountPosition", frames[4])
    same("wsapi.order.status.partially-filled.response", await client.order("order.status", orderId=1))
    frames += [await client.event(), await client.event()]
    same("user.executionReport.trade.filled", frames[5])
    same("user.outboundAccountPosition.after-filled", frames[6])
    same("wsapi.order.status.filled.response", await client.order("order.status", orderId=1))
    told = [each["frame"] for each in load("sequence.maker-order") if each["dir"] == "in"]
    same.frames("sequence.maker-order", told, frames)
    same("wsapi.myTrades.response", await client.order("myTrades"))
    same("wsapi.myTrades.by-order.response", await client.order("myTrades", orderId=1))
    same("wsapi.allOrders.response", await client.order("allOrders"))
    same("wsapi.order.place.limit-maker.ack.response", await client.maker("BUY", "3400.00"))
    same("wsapi.openOrders.status.response", await client.order("openOrders.status"))
    full = await client.maker("BUY", "3401.00", newOrderRespType="FULL")
    same("wsapi.order.place.limit-maker.full.response", full)
    client.events.clear()
    same("wsapi.order.cancel.response", await client.order("order.cancel", orderId=2))
    same("user.executionReport.canceled", await client.event("executionReport"))
    same("user.outboundAccountPosition.after-cancel", await client.event("outboundAccountPosition"))
    same("wsapi.openOrders.cancelAll.response", await client.order("openOrders.cancelAll"))
    gtc = await client.order(type="LIMIT", side="SELL", price="3419.50", quantity="0.4", timeInForce="GTC")
    same("wsapi.order.place.limit-gtc.response", gtc)
    client.events.clear()
    await client.order("openOrders.cancelAll")
    await client.order(type="LIMIT", side="SELL", price="3419.50", quantity="0.4", timeInForce="GTC")
    same("user.executionReport.new.sell-limit", await _report(client, "NEW"))
    status = await client.call("account.status", timestamp=exchange.now_ms())
    same("wsapi.account.status.response", status)
    same("wsapi.account.commission.response", await client.order("account.commission"))
    counts = await client.call("account.rateLimits.orders", timestamp=exchange.now_ms())
    same("wsapi.account.rateLimits.orders.response", counts)
    test = {"side": "BUY", "type": "LIMIT_MAKER", "price": "3411.90", "quantity": "0.5"}
    same("wsapi.order.test.response", await client.order("order.test", **test))
    same(
        "wsapi.order.test.with-commission.response",
        await client.order("order.test", **test, computeCommissionRates=True),
    )
    await line.ws.aclose()


async def taker_orders(exchange: Served, same: Compared) -> None:
    line = await started(exchange)
    client = await exchange.trader()
    limit = {"type": "LIMIT", "side": "BUY", "price": "3412.60"}
    reply = await client.order(**limit, timeInForce="IOC", quantity="0.8")
    same("wsapi.order.place.limit-ioc.expired.response", reply)
    frames = [await client.event() for _ in range(4)]
    same("user.executionReport.trade.taker", frames[1])
    same("user.executionReport.expired.ioc", frames[2])
    told = load("sequence.taker-ioc")
    expected = [told[0], *[each for each in told if each["event"].get("x") == "TRADE"][:1], *told[-2:]]
    same.frames("sequence.taker-ioc", expected, frames)
    same("wsapi.order.status.expired.response", await client.order("order.status", orderId=1))
    fok = await client.order(**limit, timeInForce="FOK", quantity="2.0", newOrderRespType="RESULT")
    same("wsapi.order.place.limit-fok.expired.response", fok)
    client.events.clear()
    same("wsapi.order.place.market-base.response", await client.order(type="MARKET", side="SELL", quantity="0.1"))
    same("user.executionReport.trade.sell-filled", await _report(client, "TRADE"))
    await trio.sleep(2)
    client.events.clear()
    same("wsapi.order.place.market-quote.response", await client.order(type="MARKET", side="BUY", quoteOrderQty="150"))
    same("user.executionReport.trade.market-quote", await _report(client, "TRADE"))
    await trio.sleep(2)
    reply = await client.order(type="MARKET", side="BUY", quantity="3", newOrderRespType="RESULT")
    same("wsapi.order.place.market.insufficient-liquidity.response", reply)
    await client.maker("SELL", "3412.90", "0.5")
    client.events.clear()
    own = {**limit, "price": "3412.90", "timeInForce": "GTC", "quantity": "0.6"}
    reply = await client.order(**own)
    same("wsapi.order.place.stp-expire-maker.response", reply)
    event = await _report(client, "TRADE_PREVENTION")
    same("user.executionReport.trade-prevention", event)
    status = await client.order("order.status", orderId=event["event"]["i"])
    same("wsapi.order.status.expired-in-match.response", status)
    await line.ws.aclose()


async def _report(client: Client, execution: str) -> dict[str, Any]:
    """The next execution report of a kind."""
    while (event := await client.event("executionReport"))["event"]["x"] != execution:
        pass
    return event


async def cancel_replaces(exchange: Served, same: Compared) -> None:
    line = await started(exchange)
    client = await exchange.trader()

    async def replace(order_id: int, price: str = "3410.25", mode: str = "STOP_ON_FAILURE", **params: Any) -> Any:
        return await client.order(
            "order.cancelReplace",
            **{"side": "BUY", "type": "LIMIT_MAKER", "price": price, "quantity": "0.6", "cancelReplaceMode": mode}
            | {"cancelOrderId": order_id, "newOrderRespType": "RESULT"}
            | params,
        )

    await client.maker("BUY", "3409.10", "0.6")
    client.events.clear()
    same("wsapi.order.cancelReplace.success.response", await replace(1, cancelNewClientOrderId="tet-c-0006"))
    same("user.executionReport.canceled.by-cancel-replace", await client.event("executionReport"))
    same("user.executionReport.new.by-cancel-replace", await client.event("executionReport"))
    same("wsapi.order.cancelReplace.filter-failure", await replace(2, "30000.00"))
    same("wsapi.order.cancelReplace.cancel-failed-stop", await replace(1))
    same("wsapi.order.cancelReplace.both-failed", await replace(1, "3412.90", "ALLOW_FAILURE"))
    same(
        "wsapi.order.cancelReplace.partial-failure.cancel-failed",
        await replace(1, mode="ALLOW_FAILURE", newOrderRespType="FULL"),
    )
    client.events.clear()
    same("wsapi.order.cancelReplace.partial-failure", await replace(2, "3412.90"))
    same("user.executionReport.rejected", await _report(client, "REJECTED"))
    reply: dict[str, Any] = {"status": 200}
    while reply["status"] == 200:
        reply = await client.maker("BUY", "3400.00", "0.0100")
    assert reply["error"]["msg"] == "Too many new orders; current limit is 30 orders per 10 SECOND."
    reply["error"]["msg"] = load("wsapi.error.429.too-many-orders")["error"]["msg"]  # the limit is ours
    same("wsapi.error.429.too-many-orders", reply)
    reply = await replace(3)
    reply["error"]["msg"] = load("wsapi.error.429.too-many-orders")["error"]["msg"]
    same("wsapi.order.cancelReplace.rate-limited.do-nothing", reply)
    reply = await replace(3, orderRateLimitExceededMode="CANCEL_ONLY")
    same("wsapi.order.cancelReplace.rate-limited.cancel-only", reply)
    await line.ws.aclose()


async def example(client: Client, name: str, same: Compared, **changes: Any) -> dict[str, Any]:
    """Send an example request within the session, and compare the reply; None leaves a parameter out."""
    request = load(f"wsapi.{name}.request")
    left_out = {"apiKey", "signature", "recvWindow"} | {each for each, value in changes.items() if value is None}
    params = request["params"] | changes | {"timestamp": client.served.now_ms()}
    params = {each: value for each, value in params.items() if each not in left_out}
    reply = await client.call(request["method"], **params)
    if load_if_any(f"wsapi.{name}.response"):
        same(f"wsapi.{name}.response", reply)
    return reply


def load_if_any(name: str) -> Any:
    return load(name) if (MESSAGES / f"{name}.json").exists() else None


async def special_orders(exchange: Served, same: Compared) -> None:
    line = await started(exchange)
    client = await exchange.trader()
    for name in ("stop-loss", "take-profit-limit", "take-profit", "trailing", "trailing-with-stop"):
        reply = await example(client, f"order.place.{name}", same)
    same("wsapi.order.status.trailing.response", await client.order("order.status", orderId=reply["result"]["orderId"]))
    stop: dict[str, Any] = {"type": "STOP_LOSS", "side": "SELL", "quantity": "0.3"}
    same("wsapi.error.filter-max-num-algo-orders", await client.order(**stop, stopPrice="3300"))
    reports = [(await client.event("executionReport"))["event"] for _ in range(5)]
    for name, number in (("trailing-active", 3), ("trailing", 4)):
        same(f"user.executionReport.new.{name}", {"subscriptionId": 0, "event": reports[number]})
    await client.order("openOrders.cancelAll")
    same("wsapi.error.would-trigger", await client.order(**stop, stopPrice="3412.36"))
    same("wsapi.error.filter-trailing-delta", await client.order(**stop, trailingDelta=5))
    client.events.clear()
    await example(client, "order.place.iceberg", same)
    same("user.executionReport.new.iceberg-strategy", await _report(client, "NEW"))
    await example(client, "order.place.pegged-primary", same)
    await _report(client, "NEW")
    for price in ("3300.00", "3301.00"):  # levels of our own, for what is displayed may be fewer
        await client.maker("BUY", price, "0.0100")
        await _report(client, "NEW")
    await example(client, "order.place.pegged-offset", same)
    same("user.executionReport.new.pegged", await _report(client, "NEW"))
    await example(client, "order.place.pegged-market-ioc", same)
    peg = {"type": "LIMIT_MAKER", "side": "BUY", "quantity": "0.2", "pegPriceType": "PRIMARY_PEG"}
    far = {"pegOffsetType": "PRICE_LEVEL", "pegOffsetValue": "100"}
    same("wsapi.error.peg-no-liquidity", await client.order(**peg, **far))
    same("wsapi.error.peg-not-allowed-type", await client.order(**peg | {"pegPriceType": "MARKET_PEG"}))
    same("wsapi.error.bad-strategy-type", await client.maker("BUY", "3400", strategyType=1))
    await client.order("openOrders.cancelAll")
    client.events.clear()
    await example(client, "order.place.stop-loss-limit", same)
    reports = [await _report(client, "NEW") for _ in range(2)]
    same("user.executionReport.new.stop", reports[0])
    same("user.executionReport.new.stop-triggered", reports[1])
    await line.ws.aclose()


async def routed_orders(exchange: Served, same: Compared) -> None:
    line = await started(exchange)
    client = await exchange.trader()
    engine = exchange.exchange.venue.engine
    engine.change_filters(SYMBOL, sor=True, max_asset={"ETH": Decimal(2500)}, exchange_max_orders=1000)
    reply = await example(client, "sor.order.place", same)
    same("user.executionReport.trade.sor", await _report(client, "TRADE"))
    same("wsapi.myAllocations.response", await client.order("myAllocations", orderId=reply["result"][0]["orderId"]))
    await example(client, "myFilters", same)
    engine.set_reference(SYMBOL, Decimal(3000))
    engine.change_filters(SYMBOL, price_range=PriceRange(bid_up=Decimal("1.1")))
    out_of_range = await client.order(type="LIMIT", timeInForce="GTC", side="BUY", price="3600", quantity="0.2")
    same("wsapi.order.place.price-range-exceeded.response", out_of_range)
    engine.set_reference(SYMBOL, None)
    await client.maker("SELL", "3412.90", "0.5")
    own = {"type": "LIMIT", "timeInForce": "GTC", "side": "BUY", "price": "3412.90", "quantity": "0.6"}
    taken = (await client.order(**own))["result"]["preventedMatches"][0]
    await example(client, "myPreventedMatches", same, orderId=taken["makerOrderId"])
    engine.set_status(SYMBOL, "HALT")
    same("wsapi.error.market-closed", await client.maker("BUY", "3400"))
    venue = exchange.exchange.venue
    venue.tell(engine.transfer(ACCOUNT, "FDUSD", Decimal(-1500), venue.now_ms(), 0))
    venue.tell(engine.external_lock(ACCOUNT, "ETH", Decimal("0.5"), venue.now_ms(), 0))
    same("user.balanceUpdate", await client.event("balanceUpdate"))
    same("user.externalLockUpdate", await client.event("externalLockUpdate"))
    await line.ws.aclose()


async def amends(exchange: Served, same: Compared) -> None:
    line = await started(exchange)
    client = await exchange.trader()
    place = {"type": "LIMIT", "timeInForce": "GTC", "side": "SELL", "price": "3425", "quantity": "0.9"}
    order_id = (await client.order(**place, newClientOrderId="tet-s-0025"))["result"]["orderId"]
    await example(client, "order.amend.keepPriority", same, orderId=order_id)
    same("user.executionReport.replaced", await _report(client, "REPLACED"))
    await example(client, "order.amendments", same, orderId=order_id)

    async def amend(new_qty: str) -> dict[str, Any]:
        return await client.order("order.amend.keepPriority", orderId=order_id, newQty=new_qty)

    same("wsapi.order.amend.keepPriority.error.increase", await amend("0.7"))
    same("wsapi.order.amend.keepPriority.error.no-change", await amend("0.6"))
    for number in range(9):
        assert (await amend(f"0.{59 - number}"))["status"] == 200
    same("wsapi.order.amend.keepPriority.error.too-many", await amend("0.1"))
    working = (await example(client, "orderList.place.oto", same))["result"]["orders"][0]["orderId"]
    same("user.listStatus", await client.event("listStatus"))
    reply = await client.order("order.amend.keepPriority", orderId=working, newQty="0.2")
    same("wsapi.order.amend.keepPriority.list.response", reply)
    same("user.listStatus.updated", await client.event("listStatus"))
    await line.ws.aclose()


async def order_lists(exchange: Served, same: Compared) -> None:
    line = await started(exchange)
    client = await exchange.trader()
    list_id = (await example(client, "orderList.place.oco", same))["result"]["orderListId"]
    same("user.listStatus", await client.event("listStatus"))
    await example(client, "orderList.status", same, orderListId=list_id)
    await example(client, "openOrderLists.status", same)
    await example(client, "allOrderLists", same, startTime=None, endTime=None)
    await example(client, "orderList.cancel", same, orderListId=list_id)
    await example(client, "orderList.place.oco", same)
    cancelled = await client.order("order.cancel", origClientOrderId="tet-z-0027", newClientOrderId="tet-c-0032")
    same("wsapi.order.cancel.list.response", cancelled)
    client.events.clear()
    await example(client, "orderList.place.oto", same)
    while (event := await _report(client, "NEW"))["event"]["X"] != "PENDING_NEW":
        pass
    same("user.executionReport.new.pending", event)
    for kind in ("otoco", "opo", "opoco"):
        await example(client, f"orderList.place.{kind}", same)
    await client.order("openOrders.cancelAll")
    await trio.sleep(2500)
    await example(client, "orderList.place.oco", same)
    await trio.sleep(1)
    await client.call("ping")
    client.events.clear()
    frames = [await client.event() for _ in range(4)]
    same.frames("sequence.oco-limit-leg-fills", load("sequence.oco-limit-leg-fills"), frames)
    same("user.executionReport.expired.oco", frames[1])
    same("user.listStatus.all-done", frames[2])
    await line.ws.aclose()


async def too_many_open(exchange: Served, same: Compared) -> None:
    line = await started(exchange)
    client = await exchange.trader()
    reply: dict[str, Any] = {"status": 200}
    while reply["status"] == 200:
        for _ in range(30):
            reply = await client.maker("BUY", "700.00", "0.0100")
            if reply["status"] != 200:
                break
        if reply["status"] == 429:
            await trio.sleep(10)
            reply = {"status": 200}
    same("wsapi.error.filter-max-num-orders", reply)
    while (reply := await client.call("exchangeInfo"))["status"] == 200:
        pass
    same("wsapi.error.429.request-weight", reply)
    await line.ws.aclose()


async def streams(exchange: Served, same: Compared) -> None:
    channels = ("bookTicker", "trade", "aggTrade", "kline_1m", "avgPrice")
    raw = await exchange.line(*channels)
    whole = await exchange.line("bookTicker", "aggTrade", combined=True)
    micro = await exchange.line("trade", query="?timeUnit=MICROSECOND")
    same("stream.trade.microsecond", await micro.receive())
    seen: dict[str, Any] = {}
    while "kline closed" not in seen:
        frame = await raw.receive()
        kind = frame.get("e", "bookTicker")
        seen[kind + (" closed" if kind == "kline" and frame["k"]["x"] else "")] = frame
    same("stream.bookTicker", seen["bookTicker"])
    same("stream.trade", seen["trade"])
    same("stream.aggTrade", seen["aggTrade"])
    same("stream.avgPrice", seen["avgPrice"])
    same("stream.kline_1m", seen["kline"])
    same("stream.kline_1m.closed", seen["kline closed"])
    frames = [await whole.receive() for _ in range(2)]
    frames.sort(key=lambda frame: str(frame["stream"]))
    same("stream.aggTrade.combined", frames[0])
    same("stream.bookTicker.combined", frames[1])
    await made_streams(exchange, same)
    await controls(await exchange.client("/ws"), same)


async def made_streams(exchange: Served, same: Compared) -> None:
    venue = exchange.exchange.venue
    for name, channel in (("miniTicker", "miniTicker"), ("ticker", "ticker"), ("ticker_1h", "ticker_1h")):
        same(f"stream.{name}", await (await exchange.line(channel)).receive())
    for name in ("miniTicker", "ticker_1h"):
        same(f"stream.{name}.arr", await (await exchange.client(f"/ws/!{name}@arr")).receive())
    same("stream.depth5", await (await exchange.line("depth5@100ms")).receive())
    same("stream.depth5.combined", await (await exchange.line("depth5", combined=True)).receive())
    zoned = await exchange.line("kline_1d@+08:00", combined=True)
    same("stream.kline_1d.utc8.combined", await zoned.receive())
    line = await exchange.line("referencePrice", "blockTrade")
    venue.set_reference(ReferencePrice(341_218, START_MS))
    same("stream.referencePrice", await line.receive())
    venue.set_reference(ReferencePrice(None, START_MS))
    same("stream.referencePrice.null", await line.receive())
    venue.block_trade(340_650, 7_500_000, True)
    same("stream.blockTrade", await line.receive())


async def controls(line: Client, same: Compared) -> None:
    for name in ("subscribe", "list", "unsubscribe", "set-property", "get-property"):
        await trio.sleep(1)
        request = load(f"stream.control.{name}.request")
        reply = await line.ask(json.dumps(request))
        if name == "list":
            assert reply["result"] == load("stream.control.subscribe.request")["params"]
        assert reply["id"] == request["id"]
        same(f"stream.control.{name}.response", reply)
    await trio.sleep(1)
    same("stream.control.error.observed", [await line.ask('{"method":"SUBSCRIBE","params":["nonsense"],"id":2}')])


async def recorded_depth(exchange: Served, same: Compared) -> None:
    raw = await exchange.line("depth@100ms")
    whole = await exchange.line("depth@100ms", combined=True)
    same("stream.depthUpdate", await raw.receive())
    same("stream.depthUpdate.combined", await whole.receive())


async def local_book(exchange: Served, same: Compared) -> None:
    """The worked case, played: the exchange's book ends as that of whoever follows it."""
    told = load("sequence.local-book")
    line, client = await exchange.line("depth@100ms"), await exchange.client()
    for event in told["events"]:
        same.frames("sequence.local-book", [event], [await line.receive()])
    sent = (await client.call("depth", symbol=SYMBOL, limit=5))["result"]
    assert sent["lastUpdateId"] == told["expected"]["lastUpdateId"]
    applied = [event for event in told["events"] if event["u"] not in told["dropped"]]
    named = {price for event in applied for price, _ in (*event["b"], *event["a"])}
    for side in ("bids", "asks"):  # of a recording nothing is known but what its differences name
        levels = ([level for level in each[side] if level[0] in named] for each in (told["expected"], sent))
        assert next(levels) == next(levels)


async def rest(exchange: Served, same: Compared) -> None:
    line = await started(exchange)
    await trio.sleep(1)  # until the first difference has come
    for name in ("ping", "time", "time.microsecond", "depth", "klines", "ticker.bookTicker", "exchangeInfo"):
        request = load(f"rest.{name}")["request"]
        query = request["query"].replace("&startTime=1784626140000", "")  # before the recording
        same(f"rest.{name}", await exchange.get(request["path"], query, request["headers"]))
    same("exchangeInfo.ETHFDUSD", (await exchange.get("/api/v3/exchangeInfo", "symbol=ETHFDUSD"))["body"])
    same("rest.error.bad-symbol", await exchange.get("/api/v3/ticker/price", "symbol=NOPE"))
    while (reply := await exchange.get("/api/v3/depth", "symbol=ETHFDUSD&limit=5000"))["status"] == 200:
        pass
    same("rest.error.429", reply)
    await line.ws.aclose()


async def rest_orders(exchange: Served, same: Compared) -> None:
    line = await started(exchange)
    maker: dict[str, Any] = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT_MAKER", "price": "3400.00"}
    maker |= {"quantity": "0.5000", "newOrderRespType": "RESULT"}
    same("rest.order.post.limit-maker", await exchange.rest("POST", "order", **maker))
    quote: dict[str, Any] = {"symbol": SYMBOL, "side": "BUY", "type": "MARKET", "quoteOrderQty": "150.00"}
    form: dict[str, Any] = {"form": True, "key": HMAC_KEY}
    same("rest.order.post.market.form-body", await exchange.rest("POST", "order", **form, **quote))
    same("rest.order.query", await exchange.rest("GET", "order", symbol=SYMBOL, orderId=1, key=HMAC_KEY))
    same("rest.openOrders", await exchange.rest("GET", "openOrders", symbol=SYMBOL))
    same("rest.order.test", await exchange.rest("POST", "order/test", **maker))
    amended: dict[str, Any] = {"symbol": SYMBOL, "orderId": 1, "newQty": "0.4000"}
    same("rest.order.amend.keepPriority", await exchange.rest("PUT", "order/amend/keepPriority", **amended))

    async def replace(order_id: int, price: str) -> dict[str, Any]:
        params = maker | {"cancelReplaceMode": "STOP_ON_FAILURE", "cancelOrderId": order_id, "price": price}
        return await exchange.rest("POST", "order/cancelReplace", **params)

    same("rest.order.cancelReplace.success", await replace(1, "3401.00"))
    same("rest.order.cancelReplace.cancel-failed-stop", await replace(1, "3402.00"))
    same("rest.order.cancelReplace.partial-failure", await replace(3, "3413.00"))
    placed = (await exchange.rest("POST", "order", **maker))["body"]["orderId"]
    same("rest.order.delete", await exchange.rest("DELETE", "order", symbol=SYMBOL, orderId=placed))
    same("rest.order.delete.unknown", await exchange.rest("DELETE", "order", symbol=SYMBOL, orderId=placed))
    await exchange.rest("POST", "order", **maker)
    same("rest.openOrders.delete", await exchange.rest("DELETE", "openOrders", symbol=SYMBOL))
    while (reply := await exchange.rest("POST", "order", **maker | {"quantity": "0.01"}))["status"] == 200:
        pass
    reply["body"]["msg"] = load("rest.error.429.too-many-orders")["response"]["body"]["msg"]  # the limit is ours
    same("rest.error.429.too-many-orders", reply)
    await line.ws.aclose()


async def rest_account(exchange: Served, same: Compared) -> None:
    line = await started(exchange)
    await exchange.rest("POST", "order", symbol=SYMBOL, side="SELL", type="MARKET", quantity="0.1")
    same("rest.account", await exchange.rest("GET", "account", omitZeroBalances="true"))
    same("rest.account.all-balances", await exchange.rest("GET", "account", key=HMAC_KEY))
    same("rest.account.commission", await exchange.rest("GET", "account/commission", symbol=SYMBOL))
    same("rest.rateLimit.order", await exchange.rest("GET", "rateLimit/order"))
    same("rest.myTrades", await exchange.rest("GET", "myTrades", symbol=SYMBOL, orderId=1))
    for name in ("bad-signature", "rejected-key"):
        key = HMAC_KEY if name == "bad-signature" else "x" * 64
        text = f"timestamp={exchange.now_ms()}&signature={'0' * 64}"
        same(f"rest.error.{name}", await exchange.get("/api/v3/account", text, {"X-MBX-APIKEY": key}))
    await line.ws.aclose()


async def shut_out(exchange: Served, same: Compared) -> None:
    gone = await exchange.http("POST", "/api/v3/userDataStream")
    same("rest.listenKey.gone", gone | {"body": gone["body"].decode()})
    blocked = await exchange.get("/api/v3/ping", "x=1%20union%20select%202")
    same("rest.error.403-waf", blocked | {"body": blocked["body"].decode()})
    client = await exchange.trader()
    exchange.exchange.venue.keys.revoke(ED_KEY)
    same("wsapi.error.401.session-revoked", await client.call("ping"))
    until_ms = 1784626320000  # as the examples have it
    while (reply := await client.call("depth", symbol=SYMBOL, limit=5000))["status"] != 418:
        pass
    reply["error"]["msg"] = reply["error"]["msg"].replace(str(reply["error"]["data"]["retryAfter"]), str(until_ms))
    same("wsapi.error.418.ip-ban", reply)
    exchange.exchange.venue.addresses.ban("memory", until_ms)
    same("rest.error.418", await exchange.get("/api/v3/depth", f"symbol={SYMBOL}&limit=5000"))


async def failures(exchange: Served, same: Compared) -> None:
    """What comes when something is wrong with the exchange itself."""
    client, mishaps = await exchange.trader(), exchange.exchange.mishaps
    for name, code in (
        ("disconnected", "-1001"),
        ("unexpected-response", "-1006"),
        ("timeout-unknown", "-1007"),
        ("server-busy", "-1008"),
    ):
        mishaps.arm(f"fail:order.status:{code}")
        same(f"wsapi.error.{name}", await client.order("order.status", orderId=1))
    raw, combined = await exchange.line("depth20"), await exchange.line("depth20", combined=True)
    mishaps.arm("server-shutdown:all:60s")
    same("wsapi.serverShutdown", await client.receive())
    same("stream.serverShutdown.raw", await shutdown(raw))
    same("stream.serverShutdown.combined", await shutdown(combined))


async def shutdown(line: Client) -> dict[str, Any]:
    """The word of it, among the depth."""
    while "serverShutdown" not in str(frame := await line.receive()):
        pass
    return frame


async def rare(exchange: Served, same: Compared) -> None:
    """What takes 90 days, 65,536 subscriptions, or an endpoint without user data."""
    client = await exchange.trader()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wsapi, "MAX_SUBSCRIPTION_ID", 0)
        await client.call("userDataStream.unsubscribe")
        same("wsapi.error.subscription-ids-exhausted", await client.call("userDataStream.subscribe"))
    placed = (await client.maker("BUY", "3400.00"))["result"]["orderId"]
    await client.order("order.cancel", orderId=placed)
    exchange.exchange.mishaps.arm(f"clock-offset:+{91 * 24}h")
    later_ms = exchange.now_ms() + 91 * 86_400_000
    asked = {"symbol": SYMBOL, "orderId": placed, "timestamp": later_ms}
    same("wsapi.error.archived-order", await client.call("order.status", **asked))
    exchange.exchange.venue.user_data = False
    same("wsapi.session.status.uds-unavailable.response", await client.call("session.status"))


async def spoilt_controls(exchange: Served, same: Compared) -> None:
    """Every text that is documented."""
    line = await exchange.client("/ws")
    texts = (
        '{"method":"SET_PROPERTY","params":["x",true],"id":6}',
        '{"method":"SET_PROPERTY","params":["combined",1],"id":6}',
        '{"method":"GET_PROPERTY","params":[1],"id":6}',
        '{"method":"GET_PROPERTY","params":["combined"],"id":1.5}',
        '{"method":"FOO","params":[],"id":1}',
        '{"method":"GET_PROPERTY","params":["combined",1],"id":6}',
        '{"params":["ethfdusd@trade","ethfdusd@bookTicker","ethfdusd@depth"],"id":6}',
        "x",
    )
    sent = []
    for text in texts:
        await trio.sleep(0.3)
        sent.append((await line.ask(text))["error"])
    columns = re.compile(r"column \d+")
    for expected, error in zip(load(NESTED), sent, strict=True):
        assert error["code"] == expected["code"]
        assert columns.sub("", error["msg"]) == columns.sub("", expected["msg"])
    same.names.add(NESTED)


CHAPTERS = (
    *(market_data, sessions, refused_requests, refused_orders, maker_orders, taker_orders, cancel_replaces),
    *(special_orders, routed_orders, amends, order_lists, too_many_open, streams, recorded_depth, local_book, rest),
    *(rest_orders, rest_account, shut_out, failures, rare, spoilt_controls),
)


async def test_every_example_is_what_the_exchange_sends(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    same = Compared()
    for chapter in CHAPTERS:
        path = tmp_path / chapter.__name__
        path.mkdir()
        settings: dict[str, Any] = {
            "fills": "touch",
            "maker": Decimal("0.0008"),
            "taker": Decimal("0.001"),
            "limits": limits(),
        }
        async with served(path, local_story() if chapter is local_book else story(), **settings) as exchange:
            await chapter(exchange, same)
    await another_symbol(tmp_path, same)
    print(coverage(same.names))
    same.assert_all_right()
    assert same.names == {name for name in names() if not name.startswith(ELSEWHERE) and not name.endswith(REQUESTS)}


async def another_symbol(path: Path, same: Compared) -> None:
    """A symbol that is routed."""
    lines = record(path / "other", quiet()).read_text().replace("ETHFDUSD", "BTCUSDT").replace("ethfdusd", "btcusdt")
    (path / "other").write_text(lines)
    market = open_market(path / "other", "BTCUSDT")
    clock = AnchoredClock(market.first_ns)
    exchange = Exchange(
        ExchangeConfig(market=market, clocks=Clocks(clock.now_ns, joined=True), keys=KEYS, filters=Filters(sor=True))
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(exchange.run)
        reply = await Served(exchange, clock, nursery).get("/api/v3/exchangeInfo", "symbol=BTCUSDT")
        same("exchangeInfo.BTCUSDT", reply["body"])
        nursery.cancel_scope.cancel()


def coverage(compared: set[str]) -> str:
    """A table of all examples: how many, and where each is held against the exchange."""
    groups: dict[str, list[str]] = {}
    for name in sorted(names()):
        groups.setdefault(name.partition(".")[0], []).append(name)
    rows = [f"{'examples':<12} {'all':>4} {'sent':>5} {'asked':>6} {'elsewhere':>10}"]
    for group, members in groups.items():
        sent = sum(name in compared for name in members)
        asked = sum(name.endswith(REQUESTS) for name in members)
        elsewhere = sum(name.startswith(ELSEWHERE) for name in members)
        assert sent + asked + elsewhere == len(members), group
        rows.append(f"{group:<12} {len(members):>4} {sent:>5} {asked:>6} {elsewhere:>10}")
    rows.append("sent: compared here with what the exchange sends; asked: requests, below; elsewhere: test_sbe.py")
    return "\n" + "\n".join(rows)


SIGNED = [name for name in sorted(names()) if name.startswith("wsapi.") and "signature" in str(load(name))]


@pytest.mark.parametrize("name", [name for name in SIGNED if name.endswith(".request")])
def test_the_signature_of_every_example_request_is_accepted(name: str) -> None:
    """Also where the method is not served yet: the signature is over what was sent."""
    request = decode_request((MESSAGES / f"{name}.json").read_text())
    key = Keys(KEYS).authorize(Params(request.params, request.tokens), None, int(request.params["timestamp"]))
    assert key == request.params["apiKey"]


ASKED = [name for name in sorted(names()) if name.startswith("wsapi.") and name.endswith(".request")]


async def test_every_example_request_is_understood(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    """With its own parameters, a timestamp of now, and the signature over both: no complaint about any of them."""
    filters = Filters(sor=True)
    async with served(tmp_path, story(), filters=filters) as exchange:
        line = await started(exchange)
        client, wrong = await exchange.trader(), []
        for name in ASKED:
            asked = load(name)
            params = {key: value for key, value in asked.get("params", {}).items() if key != "signature"}
            params |= {"timestamp": exchange.now_ms()} if "timestamp" in params else {}
            by = client.signed_hmac if params.get("apiKey") == HMAC_KEY else client.signed
            reply = await (by if "apiKey" in params else client.call)(asked["method"], **params)
            await client.order("session.logon") if asked["method"] == "session.logout" else None
            code = reply["error"]["code"] if reply["status"] != 200 else -2000
            if code > -2000 and not (code == -1121 and "BTCUSDT" in str(params)):  # it has one symbol
                wrong.append((name, reply["error"]))
        assert not wrong
        await line.ws.aclose()


REST_SIGNED = [name for name in sorted(names()) if name.startswith("rest.") and "signature=" in str(load(name))]


@pytest.mark.parametrize("name", [name for name in REST_SIGNED if "error.bad-signature" not in name])
def test_the_signature_of_every_rest_example_is_accepted(name: str) -> None:
    """It stands last in the query or in the form."""
    request = load(name)["request"]
    params = Params(dict(parse_qsl(request["query"]) + parse_qsl(request["body"])))
    key, now_ms = request["headers"]["X-MBX-APIKEY"], int(params.values["timestamp"])  # type: ignore[call-overload]
    assert Keys(KEYS).authorize_http(key, request["query"], request["body"], params, now_ms) == key
