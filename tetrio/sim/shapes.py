"""The engine's records in Binance's JSON: members, types and order as the exchange sends them.

Amounts are texts of 8 decimals or more, times are milliseconds; `in_micros` turns the times of a finished body into
microseconds for those who asked so. Only what single orders need is here: no lists, pegs, stops. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from tetrio.core.market import Side
from tetrio.core.money import SymbolRules, to_text
from tetrio.sim.candles import Candle
from tetrio.sim.engine import Engine
from tetrio.sim.events import Top
from tetrio.sim.orders import Balance, Canceled, Execution, Fill, Order, Placed, Position, Prevention, Rejected, Report
from tetrio.wire.user import AssetPosition, ExecutionReport, OutboundAccountPosition

ZERO = "0.00000000"
STP_MODE = "EXPIRE_MAKER"
DISCOUNT = {"enabledForAccount": False, "enabledForSymbol": False, "discountAsset": "BNB", "discount": "0.75000000"}
_NO_RATES = {"maker": ZERO, "taker": ZERO, "buyer": ZERO, "seller": ZERO}


def amount(value: Decimal | None) -> str:
    """A decimal as an amount; zero for None."""
    return ZERO if value is None else to_text(1, value)


class Shapes:
    """Bodies for one symbol."""

    def __init__(self, rules: SymbolRules, engine: Engine) -> None:
        self.rules = rules
        self._engine = engine
        self.preventions: dict[int, Prevention] = {}
        """What self-trade prevention took, by the id of the order that lost it; queries tell of it."""

    def notional(self, tick_lots: int) -> str:
        """An amount of the quote."""
        return to_text(tick_lots, self.rules.tick_lot)

    # -- orders -----------------------------------------------------------------------------------------------------
    def placed(self, placed: Placed, form: str) -> dict[str, object]:
        """Result of order.place: `form` is ACK, RESULT or FULL."""
        order = placed.order
        body = self._head(order, order.client_order_id)
        if form == "ACK":
            return body
        body |= self._amounts(order)
        if order.expiry_reason:
            body["expiryReason"] = order.expiry_reason
        body["workingTime"] = order.working_ms
        if form == "FULL":
            body["fills"] = [self._fill(fill) for fill in placed.fills]
        if placed.preventions:
            body["preventedMatches"] = [self._prevented(prevention) for prevention in placed.preventions]
        body["selfTradePreventionMode"] = STP_MODE
        return body

    def canceled(self, canceled: Canceled) -> dict[str, object]:
        """Result of order.cancel."""
        order = canceled.order
        body: dict[str, object] = {"symbol": order.symbol, "origClientOrderId": order.client_order_id}
        body |= self._head(order, canceled.cancel_client_order_id) | self._amounts(order)
        body["selfTradePreventionMode"] = STP_MODE
        return body

    def status(self, order: Order) -> dict[str, object]:
        """Result of order.status, element of openOrders.status and allOrders."""
        amounts = self._amounts(order)
        quote_order_qty = amounts.pop("origQuoteOrderQty")
        body: dict[str, object] = {
            "symbol": order.symbol,
            "orderId": order.order_id,
            "orderListId": -1,
            "clientOrderId": order.client_order_id,
            **amounts,
            "stopPrice": ZERO,
            "icebergQty": ZERO,
            "time": order.time_ms,
            "updateTime": order.update_ms,
            "isWorking": True,
            "workingTime": order.working_ms,
            "origQuoteOrderQty": quote_order_qty,
            "selfTradePreventionMode": STP_MODE,
        }
        if order.expiry_reason:
            body["expiryReason"] = order.expiry_reason
        prevention = self.preventions.get(order.order_id)
        if prevention is not None:
            body["preventedMatchId"] = prevention.match_id
            body["preventedQuantity"] = self.rules.qty_text(prevention.maker_qty)
        return body

    def trade(self, fill: Fill) -> dict[str, object]:
        """Element of myTrades."""
        return {
            "symbol": self.rules.name,
            "id": fill.trade_id,
            "orderId": fill.order_id,
            "orderListId": -1,
            "price": self.rules.price_text(fill.price),
            "qty": self.rules.qty_text(fill.qty),
            "quoteQty": self.notional(fill.price * fill.qty),
            "commission": self._engine.amount_text(fill.commission_asset, fill.commission),
            "commissionAsset": fill.commission_asset,
            "time": fill.time_ms,
            "isBuyer": fill.side is Side.BUY,
            "isMaker": fill.maker,
            "isBestMatch": True,
        }

    def _head(self, order: Order, client_order_id: str) -> dict[str, object]:
        return {
            "symbol": order.symbol,
            "orderId": order.order_id,
            "orderListId": -1,
            "clientOrderId": client_order_id,
            "transactTime": order.update_ms,
        }

    def _amounts(self, order: Order) -> dict[str, object]:
        return {
            "price": self.rules.price_text(order.price),
            "origQty": self.rules.qty_text(order.qty),
            "executedQty": self.rules.qty_text(order.filled),
            "origQuoteOrderQty": amount(order.quote_order_qty),
            "cummulativeQuoteQty": self.notional(order.cum_quote),
            "status": order.status,
            "timeInForce": order.time_in_force,
            "type": order.type,
            "side": order.side.value,
        }

    def _fill(self, fill: Fill) -> dict[str, object]:
        return {
            "price": self.rules.price_text(fill.price),
            "qty": self.rules.qty_text(fill.qty),
            "commission": self._engine.amount_text(fill.commission_asset, fill.commission),
            "commissionAsset": fill.commission_asset,
            "tradeId": fill.trade_id,
        }

    def _prevented(self, prevention: Prevention) -> dict[str, object]:
        return {
            "preventedMatchId": prevention.match_id,
            "makerSymbol": self.rules.name,
            "makerOrderId": prevention.maker_order_id,
            "price": self.rules.price_text(prevention.price),
            "makerPreventedQuantity": self.rules.qty_text(prevention.maker_qty),
        }

    # -- the account ------------------------------------------------------------------------------------------------
    def balances(self, balances: Mapping[str, Balance], *, omit_zero: bool) -> list[dict[str, object]]:
        """`balances` of account.status."""
        return [
            {
                "asset": asset,
                "free": self._engine.amount_text(asset, balance.free),
                "locked": self._engine.amount_text(asset, balance.locked),
            }
            for asset, balance in balances.items()
            if not omit_zero or balance.free or balance.locked
        ]

    def account(
        self, balances: Mapping[str, Balance], updated_ms: int, uid: int, *, omit_zero: bool
    ) -> dict[str, object]:
        """Result of account.status."""
        maker, taker = self._engine.rates.standard.maker, self._engine.rates.standard.taker
        return {
            "makerCommission": int(maker * 10000),
            "takerCommission": int(taker * 10000),
            "buyerCommission": 0,
            "sellerCommission": 0,
            "commissionRates": _NO_RATES | {"maker": amount(maker), "taker": amount(taker)},
            "canTrade": True,
            "canWithdraw": False,
            "canDeposit": True,
            "brokered": False,
            "requireSelfTradePrevention": False,
            "preventSor": False,
            "updateTime": updated_ms,
            "accountType": "SPOT",
            "balances": self.balances(balances, omit_zero=omit_zero),
            "permissions": ["SPOT"],
            "uid": uid,
        }

    def commission(self) -> dict[str, object]:
        """Result of account.commission."""
        standard = _NO_RATES | {
            "maker": amount(self._engine.rates.standard.maker),
            "taker": amount(self._engine.rates.standard.taker),
        }
        return {
            "symbol": self.rules.name,
            "standardCommission": standard,
            "specialCommission": _NO_RATES,
            "taxCommission": _NO_RATES,
            "discount": DISCOUNT,
        }

    def order_commission(self) -> dict[str, object]:
        """Result of order.test with computeCommissionRates."""
        return {
            "standardCommissionForOrder": {
                "maker": amount(self._engine.rates.standard.maker),
                "taker": amount(self._engine.rates.standard.taker),
            },
            "specialCommissionForOrder": {"maker": ZERO, "taker": ZERO},
            "taxCommissionForOrder": {"maker": ZERO, "taker": ZERO},
            "discount": DISCOUNT,
        }

    # -- the market -------------------------------------------------------------------------------------------------
    def book_top(self, top: Top | None) -> dict[str, object]:
        """Result of ticker.book; zeros before the first best prices."""
        rules = self.rules
        bid, bid_qty, ask, ask_qty = (top.bid, top.bid_qty, top.ask, top.ask_qty) if top else (0, 0, 0, 0)
        return {
            "symbol": rules.name,
            "bidPrice": rules.price_text(bid),
            "bidQty": rules.qty_text(bid_qty),
            "askPrice": rules.price_text(ask),
            "askQty": rules.qty_text(ask_qty),
        }

    def kline(self, candle: Candle) -> list[object]:
        """Element of klines."""
        return [
            candle.open_ms,
            self.rules.price_text(candle.open),
            self.rules.price_text(candle.high),
            self.rules.price_text(candle.low),
            self.rules.price_text(candle.close),
            self.rules.qty_text(candle.volume),
            candle.close_ms,
            self.notional(candle.quote_volume),
            candle.trades,
            self.rules.qty_text(candle.taker_volume),
            self.notional(candle.taker_quote),
            "0",
        ]

    # -- user data --------------------------------------------------------------------------------------------------
    def execution_report(self, report: Report) -> ExecutionReport:
        """The event of one order change."""
        order, fill, rules = report.order, report.fill, self.rules
        rejected = report.execution is Execution.REJECTED
        return ExecutionReport(
            event_ms=report.now_ms,
            symbol=order.symbol,
            client_order_id=report.client_order_id,
            side=order.side.value,
            type=order.type,
            time_in_force=order.time_in_force,
            qty=rules.qty_text(order.qty),
            price=rules.price_text(order.price),
            orig_client_order_id=report.orig_client_order_id,
            execution_type=report.execution.value,
            status=order.status,
            reject_reason=report.reject_reason,
            order_id=order.order_id,
            last_qty=rules.qty_text(fill.qty if fill else 0),
            filled_qty=rules.qty_text(order.filled),
            last_price=rules.price_text(fill.price if fill else 0),
            commission=self._engine.amount_text(fill.commission_asset, fill.commission) if fill else "0",
            commission_asset=fill.commission_asset if fill else None,
            transact_ms=report.now_ms,
            trade_id=fill.trade_id if fill else -1,
            execution_id=report.execution_id,
            working=report.on_book,
            maker=fill is not None and fill.maker,
            ignored=fill is not None,
            created_ms=-1 if rejected else order.time_ms,
            cum_quote=self.notional(order.cum_quote),
            last_quote=self.notional(fill.price * fill.qty if fill else 0),
            quote_order_qty=amount(order.quote_order_qty),
            stp_mode=STP_MODE,
            **self._conditional(report),
        )

    def _conditional(self, report: Report) -> dict[str, Any]:
        """The members that only some reports have."""
        members: dict[str, Any] = {}
        if report.execution is not Execution.REJECTED:
            members["working_ms"] = report.order.working_ms
        if report.execution is Execution.EXPIRED:
            members["expiry_reason"] = report.order.expiry_reason
        if report.prevention is not None:
            prevention = report.prevention
            members |= {
                "prevented_match_id": prevention.match_id,
                "prevented_qty": self.rules.qty_text(prevention.maker_qty),
                "last_prevented_qty": self.rules.qty_text(prevention.maker_qty),
                "trade_group_id": -1,
                "counter_order_id": prevention.taker_order_id,
                "counter_symbol": self.rules.name,
                "prevented_execution_qty": self.rules.qty_text(prevention.qty),
                "prevented_execution_price": self.rules.price_text(prevention.price),
                "prevented_execution_quote": self.notional(prevention.price * prevention.qty),
            }
        return members

    def position(self, position: Position) -> OutboundAccountPosition:
        """The event of changed balances: the symbol's assets and BNB, as Binance lists them."""
        balances = dict(position.balances)
        base, *others = balances
        shown = dict.fromkeys((base, "BNB", *others))
        return OutboundAccountPosition(
            event_ms=position.now_ms,
            updated_ms=position.now_ms,
            balances=[self._asset(asset, balances.get(asset, Balance(0, 0))) for asset in shown],
        )

    def _asset(self, asset: str, balance: Balance) -> AssetPosition:
        if not (balance.free or balance.locked):
            return AssetPosition(asset=asset, free=ZERO, locked=ZERO)
        return AssetPosition(
            asset=asset,
            free=self._engine.amount_text(asset, balance.free),
            locked=self._engine.amount_text(asset, balance.locked),
        )


def refusal(rejected: Rejected) -> dict[str, object]:
    """A failed leg of a cancel-replace."""
    return {"code": rejected.code, "msg": rejected.msg}


_TIMES = frozenset(
    {"serverTime", "transactTime", "workingTime", "time", "updateTime", "authorizedSince", "connectedSince"}
    | {"openTime", "closeTime", "timestamp", "retryAfter", "E", "T", "O", "C", "W", "D", "t", "u"}
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
