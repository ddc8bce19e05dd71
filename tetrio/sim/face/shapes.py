"""The engine's records in Binance's JSON: what is answered about orders, order lists, trades and the market.

Members, types and order are as the exchange sends them: a member that belongs to a kind of order only is in the answers
about those. Amounts are texts of 8 decimals or more, times are milliseconds; `in_micros` turns the times of a finished
body into microseconds for those who asked so. What is pushed to the account's owner is in `reports`. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from tetrio.core.market import Side
from tetrio.core.money import SymbolRules, to_text
from tetrio.sim.engine.engine import Engine
from tetrio.sim.engine.orders import (
    CONTINGENT,
    Amended,
    Amendment,
    Canceled,
    CanceledList,
    Fill,
    Order,
    OrderList,
    Placed,
    PlacedList,
    Prevention,
    Rejected,
)
from tetrio.sim.face.texts import ZERO, Texts
from tetrio.sim.market.candles import Candle
from tetrio.sim.market.events import Top

NO_TRADE_GROUP = -1
ALLOCATED = "ONE_PARTY_TRADE_REPORT"
"""matchType of an allocation."""
FLOOR = "SOR"
"""workingFloor of an order by smart order routing."""


def amount(value: Decimal | None) -> str:
    """A decimal, not negative, as an amount; zero for None."""
    return to_text(1, value) if value else ZERO


class Shapes:
    """Bodies for one symbol."""

    def __init__(self, rules: SymbolRules, engine: Engine) -> None:
        self.rules, self.texts = rules, Texts(rules, engine)

    def notional(self, tick_lots: int) -> str:
        """An amount of the quote."""
        return self.texts.notional(tick_lots)

    # -- orders -----------------------------------------------------------------------------------------------------
    def placed(self, placed: Placed, form: str) -> dict[str, object]:
        """Result of order.place, element of a list's orderReports: `form` is ACK, RESULT or FULL."""
        order = placed.order
        body: dict[str, object] = {
            "symbol": order.symbol,
            "orderId": order.order_id,
            "orderListId": order.list_id,
            "clientOrderId": order.client_order_id,
            "transactTime": order.update_ms,
        }
        if form == "ACK":
            return body
        self._amounts(body, order)
        self._special(body, order)
        if order.expiry_reason:
            body["expiryReason"] = order.expiry_reason
        body["workingTime"] = order.working_ms
        if form == "FULL":
            body["fills"] = [self._fill(fill) for fill in placed.fills]
        if placed.preventions:
            body["preventedMatches"] = [self._prevented(prevention) for prevention in placed.preventions]
            if order.prevented:
                body["preventedQuantity"] = self.texts.qty[order.prevented]
        body["selfTradePreventionMode"] = order.stp_mode
        _routing(body, order)
        return body

    def canceled(self, canceled: Canceled) -> dict[str, object]:
        """Result of order.cancel."""
        order = canceled.order
        body: dict[str, object] = {
            "symbol": order.symbol,
            "origClientOrderId": order.client_order_id,
            "orderId": order.order_id,
            "orderListId": order.list_id,
            "clientOrderId": canceled.cancel_client_order_id,
            "transactTime": order.update_ms,
        }
        self._amounts(body, order)
        self._special(body, order)
        body["selfTradePreventionMode"] = order.stp_mode
        _routing(body, order)
        return body

    def status(self, order: Order) -> dict[str, object]:
        """Result of order.status, element of openOrders.status and allOrders."""
        texts = self.texts
        body: dict[str, object] = {
            "symbol": order.symbol,
            "orderId": order.order_id,
            "orderListId": order.list_id,
            "clientOrderId": order.client_order_id,
        }
        self._amounts(body, order)
        del body["origQuoteOrderQty"]  # it stands further back here
        body |= {
            "stopPrice": texts.price[order.stop_price],
            "icebergQty": texts.qty[order.iceberg],
            "time": order.time_ms,
            "updateTime": order.update_ms,
            "isWorking": order.is_working,
            "workingTime": order.working_ms,
            "origQuoteOrderQty": amount(order.quote_order_qty),
            "selfTradePreventionMode": order.stp_mode,
        }
        if order.prevented or order.match_id is not None:
            body["preventedMatchId"] = order.match_id
            body["preventedQuantity"] = texts.qty[order.prevented]
        if order.expiry_reason:
            body["expiryReason"] = order.expiry_reason
        self._tagged(body, order)
        _routing(body, order)
        return body

    def amended(self, amended: Amended) -> dict[str, object]:
        """Result of order.amend.keepPriority; its members have names of their own."""
        order, texts = amended.order, self.texts
        told: dict[str, object] = {
            "symbol": order.symbol,
            "orderId": order.order_id,
            "orderListId": order.list_id,
            "origClientOrderId": amended.orig_client_order_id,
            "clientOrderId": order.client_order_id,
            "price": texts.price[order.price],
            "qty": texts.qty[order.qty],
            "executedQty": texts.qty[order.filled],
            "preventedQty": texts.qty[order.prevented],
            "quoteOrderQty": amount(order.quote_order_qty),
            "cumulativeQuoteQty": texts.notional(order.cum_quote),
            "status": order.status,
            "timeInForce": order.time_in_force,
            "type": order.type,
            "side": order.side.value,
        }
        self._special(told, order)
        if order.expiry_reason:
            told["expiryReason"] = order.expiry_reason
        told |= {"workingTime": order.working_ms, "selfTradePreventionMode": order.stp_mode}
        body = {"transactTime": order.update_ms, "executionId": amended.execution_id, "amendedOrder": told}
        if amended.order_list is not None:
            body["listStatus"] = self._list_status(amended.order_list)
        return body

    def amendment(self, amendment: Amendment) -> dict[str, object]:
        """Element of order.amendments."""
        return {
            "symbol": amendment.symbol,
            "orderId": amendment.order_id,
            "executionId": amendment.execution_id,
            "origClientOrderId": amendment.orig_client_order_id,
            "newClientOrderId": amendment.new_client_order_id,
            "origQty": self.texts.qty[amendment.orig_qty],
            "newQty": self.texts.qty[amendment.new_qty],
            "time": amendment.at_ms,
        }

    def _amounts(self, body: dict[str, object], order: Order) -> None:
        """What every answer about an order has."""
        texts = self.texts
        body["price"] = texts.price[order.price]
        if order.qty or order.list_id < 0:  # a pending leg may not know yet
            body["origQty"] = texts.qty[order.qty]
        body["executedQty"] = texts.qty[order.filled]
        body["origQuoteOrderQty"] = amount(order.quote_order_qty)
        body["cummulativeQuoteQty"] = texts.notional(order.cum_quote)
        body["status"] = order.status
        body["timeInForce"] = order.time_in_force
        body["type"] = order.type
        body["side"] = order.side.value

    def _special(self, body: dict[str, object], order: Order) -> None:
        """What only answers about some kinds of orders have."""
        if order.type in CONTINGENT:
            body["stopPrice"] = self.texts.price[order.stop_price]
        if order.iceberg:
            body["icebergQty"] = self.texts.qty[order.iceberg]
        self._tagged(body, order)

    def _tagged(self, body: dict[str, object], order: Order) -> None:
        """Those of them that queries tell in the same way."""
        if order.trailing_delta:
            body["trailingDelta"] = order.trailing_delta
            body["trailingTime"] = order.trailing_ms
        if order.strategy_id is not None:
            body["strategyId"] = order.strategy_id
        if order.strategy_type is not None:
            body["strategyType"] = order.strategy_type
        peg = order.peg
        if peg is None:
            return
        body["pegPriceType"] = peg.price_type
        if peg.offset_type:
            body["pegOffsetType"] = peg.offset_type
            body["pegOffsetValue"] = peg.offset_value
        if order.pegged_price:
            body["peggedPrice"] = self.texts.price[order.pegged_price]

    # -- order lists ------------------------------------------------------------------------------------------------
    def order_list(self, order_list: OrderList) -> dict[str, object]:
        """Result of orderList.status, element of openOrderLists.status and allOrderLists."""
        return {
            "orderListId": order_list.list_id,
            "contingencyType": order_list.contingency,
            "listStatusType": order_list.status_type,
            "listOrderStatus": order_list.status,
            "listClientOrderId": order_list.client_order_id,
            "transactionTime": order_list.time_ms,
            "symbol": order_list.symbol,
            "orders": _legs(order_list),
        }

    def placed_list(self, placed: PlacedList, form: str) -> dict[str, object]:
        """Result of orderList.place and its kin."""
        return self.order_list(placed.order_list) | {"orderReports": [self.placed(leg, form) for leg in placed.legs]}

    def canceled_list(self, canceled: CanceledList) -> dict[str, object]:
        """Result of orderList.cancel, and of cancelling an order of a list."""
        reports = [self.canceled(order) for order in canceled.orders]
        return self.order_list(canceled.order_list) | {"orderReports": reports}

    def _list_status(self, order_list: OrderList) -> dict[str, object]:
        """`listStatus` of an amend."""
        return {
            "orderListId": order_list.list_id,
            "contingencyType": order_list.contingency,
            "listOrderStatus": order_list.status,
            "listClientOrderId": order_list.client_order_id,
            "symbol": order_list.symbol,
            "orders": _legs(order_list),
        }

    # -- trades, and what was none ----------------------------------------------------------------------------------
    def trade(self, fill: Fill) -> dict[str, object]:
        """Element of myTrades."""
        return {
            "symbol": self.rules.name,
            "id": fill.trade_id,
            "orderId": fill.order_id,
            "orderListId": fill.list_id,
            **self._traded(fill),
            "isBuyer": fill.side is Side.BUY,
            "isMaker": fill.maker,
            "isBestMatch": True,
        }

    def allocation(self, fill: Fill) -> dict[str, object]:
        """Element of myAllocations."""
        return {
            "symbol": self.rules.name,
            "allocationId": fill.allocation_id,
            "allocationType": "SOR",
            "orderId": fill.order_id,
            "orderListId": fill.list_id,
            **self._traded(fill),
            "isBuyer": fill.side is Side.BUY,
            "isMaker": fill.maker,
            "isAllocator": False,
        }

    def prevention(self, prevention: Prevention) -> dict[str, object]:
        """Element of myPreventedMatches."""
        return {
            "symbol": prevention.symbol,
            "preventedMatchId": prevention.match_id,
            "takerOrderId": prevention.taker_order_id,
            "makerSymbol": prevention.symbol,
            "makerOrderId": prevention.maker_order_id,
            "tradeGroupId": NO_TRADE_GROUP,
            "selfTradePreventionMode": prevention.mode,
            "price": self.texts.price[prevention.price],
            **self._lost(prevention),
            "transactTime": prevention.at_ms,
        }

    def _traded(self, fill: Fill) -> dict[str, object]:
        return {
            "price": self.texts.price[fill.price],
            "qty": self.texts.qty[fill.qty],
            "quoteQty": self.texts.notional(fill.price * fill.qty),
            "commission": self.texts.amount(fill.commission_asset, fill.commission),
            "commissionAsset": fill.commission_asset,
            "time": fill.time_ms,
        }

    def _fill(self, fill: Fill) -> dict[str, object]:
        """Element of `fills`."""
        told: dict[str, object] = {
            "price": self.texts.price[fill.price],
            "qty": self.texts.qty[fill.qty],
            "commission": self.texts.amount(fill.commission_asset, fill.commission),
            "commissionAsset": fill.commission_asset,
            "tradeId": fill.trade_id,
        }
        if fill.allocation_id is None:
            return told
        return {"matchType": ALLOCATED, **told, "allocId": fill.allocation_id}

    def _prevented(self, prevention: Prevention) -> dict[str, object]:
        """Element of `preventedMatches`."""
        return {
            "preventedMatchId": prevention.match_id,
            "makerSymbol": prevention.symbol,
            "makerOrderId": prevention.maker_order_id,
            "price": self.texts.price[prevention.price],
            **self._lost(prevention),
        }

    def _lost(self, prevention: Prevention) -> dict[str, object]:
        """What either order lost by a match that was prevented."""
        lost = {"takerPreventedQuantity": prevention.taker_qty, "makerPreventedQuantity": prevention.maker_qty}
        return {name: self.texts.qty[lots] for name, lots in lost.items() if lots}

    # -- the market -------------------------------------------------------------------------------------------------
    def book_top(self, top: Top | None) -> dict[str, object]:
        """Result of ticker.book; zeros before the first best prices."""
        texts = self.texts
        bid, bid_qty, ask, ask_qty = (top.bid, top.bid_qty, top.ask, top.ask_qty) if top else (0, 0, 0, 0)
        return {
            "symbol": self.rules.name,
            "bidPrice": texts.price[bid],
            "bidQty": texts.qty[bid_qty],
            "askPrice": texts.price[ask],
            "askQty": texts.qty[ask_qty],
        }

    def kline(self, candle: Candle) -> list[object]:
        """Element of klines."""
        texts = self.texts
        return [
            candle.open_ms,
            texts.price[candle.open],
            texts.price[candle.high],
            texts.price[candle.low],
            texts.price[candle.close],
            texts.qty[candle.volume],
            candle.close_ms,
            texts.notional(candle.quote_volume),
            candle.trades,
            texts.qty[candle.taker_volume],
            texts.notional(candle.taker_quote),
            "0",
        ]


def _legs(order_list: OrderList) -> list[dict[str, object]]:
    """`orders` of a list."""
    return [
        {"symbol": order_list.symbol, "orderId": leg.order_id, "clientOrderId": leg.client_order_id}
        for leg in order_list.legs
    ]


def _routing(body: dict[str, object], order: Order) -> None:
    """What only answers about orders by smart order routing have."""
    if order.sor:
        body["workingFloor"] = FLOOR
        body["usedSor"] = True


def refusal(rejected: Rejected) -> dict[str, object]:
    """A failed leg of a cancel-replace."""
    return {"code": rejected.code, "msg": rejected.msg}


_TIMES = frozenset(
    {"serverTime", "transactTime", "transactionTime", "workingTime", "trailingTime", "time", "updateTime"}
    | {"openTime", "closeTime", "timestamp", "retryAfter", "authorizedSince", "connectedSince"}
    | {"E", "T", "O", "C", "W", "D", "t", "u"}
)
"""Members that hold times, in bodies and events; `t` and `u` are ids in some, see `in_micros`."""
_IDS = {
    "executionReport": frozenset("tu"),
    "trade": frozenset("t"),
    "blockTrade": frozenset("t"),
    "depthUpdate": frozenset("u"),
}


def in_micros(body: Any, kind: str = "") -> Any:
    """A body or event with its times in microseconds instead of milliseconds; -1 stays.

    kind   the `e` of the event that `body` is part of; bookTicker, which has no time, is not to be passed
    """
    if isinstance(body, dict):
        kind = str(body.get("e", kind))
        not_times = _IDS.get(kind, frozenset())
        return {
            name: _micros(name, value, kind) if name in _TIMES and name not in not_times else in_micros(value, kind)
            for name, value in body.items()
        }
    if isinstance(body, list):
        return [in_micros(item, kind) for item in body]
    return body


def _micros(name: str, value: Any, kind: str) -> Any:
    if not isinstance(value, int) or value < 0:
        return value
    return value * 1000 + (999 if kind == "kline" and name == "T" else 0)  # a candle ends with its last microsecond


def klines_in_micros(klines: Sequence[Sequence[object]]) -> list[list[object]]:
    """The same for the result of klines, whose members 0 and 6 are its times."""
    return [
        [_micros("T" if at else "t", value, "kline") if at in {0, 6} else value for at, value in enumerate(kline)]
        for kline in klines
    ]
