"""What the account's owner may ask: what has become of orders, and what the account has, pays and may do.

Nothing here changes anything. Result lists are chronological: without times the newest, from a start the oldest.
"""

from __future__ import annotations

from collections.abc import Sequence

from tetrio.core.market import Side
from tetrio.sim.engine.clearing import Discount, Rate, Rates
from tetrio.sim.engine.orders import Order
from tetrio.sim.face.call import Call, Method, always
from tetrio.sim.face.checks import Params, Refused, check_symbol
from tetrio.sim.face.parameters import either, read_ids, read_times
from tetrio.sim.face.shapes import amount
from tetrio.sim.face.venue import ACCOUNT, UID
from tetrio.wire.rules import exchange_filters, symbol_info

_TRADES_BY = frozenset(
    {
        frozenset[str](),
        frozenset({"orderId"}),
        frozenset({"startTime"}),
        frozenset({"endTime"}),
        frozenset({"fromId"}),
        frozenset({"startTime", "endTime"}),
        frozenset({"orderId", "fromId"}),
    }
)
"""What myTrades may be asked by."""
_ALLOCATIONS_BY = frozenset(
    {
        frozenset[str](),
        frozenset({"startTime"}),
        frozenset({"endTime"}),
        frozenset({"startTime", "endTime"}),
        frozenset({"fromAllocationId"}),
        frozenset({"orderId"}),
        frozenset({"orderId", "fromAllocationId"}),
    }
)
_PREVENTIONS_BY = frozenset(
    {frozenset({"preventedMatchId"}), frozenset({"orderId"}), frozenset({"orderId", "fromPreventedMatchId"})}
)

ARCHIVED_AFTER_MS = 90 * 86_400_000
ARCHIVED = "Order was canceled or expired with no executed qty over 90 days ago and has been archived."


# -- orders ---------------------------------------------------------------------------------------------------------


def order_status(call: Call) -> object:
    """order.status."""
    params, venue = call.params, call.venue
    symbol = params.symbol(venue.symbol)
    order_id, client_id = read_ids(params, "orderId", "origClientOrderId")
    params.done()
    order = venue.engine.order(ACCOUNT, symbol, order_id=order_id, client_order_id=client_id)
    if _archived(order, venue.now_ms()):
        raise Refused(-2026, ARCHIVED)
    return venue.shapes.status(order)


def _archived(order: Order, now_ms: int) -> bool:
    """Whether it ended long ago without a trade: nobody can ask for it any more."""
    return not order.is_open and not order.filled and now_ms - order.update_ms > ARCHIVED_AFTER_MS


def open_orders(call: Call) -> object:
    """openOrders.status."""
    params, venue = call.params, call.venue
    symbol = params.text("symbol")
    if symbol is not None:
        check_symbol(symbol, venue.symbol)
    params.done()
    return _shaped(call, venue.engine.open_orders(ACCOUNT, symbol))


def open_orders_weight(params: Params) -> int:
    """Cheap for one symbol only."""
    return 6 if "symbol" in params else 80


def all_orders(call: Call) -> object:
    """allOrders: by order id, or by the time of the last change."""
    params, venue = call.params, call.venue
    symbol = params.symbol(venue.symbol)
    first_id = params.integer("orderId")
    start_ms, end_ms = read_times(params)
    limit = params.limit(500, 1000)
    params.done()
    now_ms = venue.now_ms()
    orders = [order for order in venue.engine.orders(ACCOUNT, symbol) if not _archived(order, now_ms)]
    if start_ms is not None or end_ms is not None:
        chosen = [order for order in orders if _within(order.update_ms, start_ms, end_ms)]
        return _shaped(call, chosen[:limit] if start_ms is not None else chosen[-limit:])
    if first_id is not None:
        return _shaped(call, [order for order in orders if order.order_id >= first_id][:limit])
    return _shaped(call, orders[-limit:])


def amendments(call: Call) -> object:
    """order.amendments, oldest first."""
    params, venue = call.params, call.venue
    symbol = params.symbol(venue.symbol)
    params.need("orderId")
    order_id = params.integer("orderId")
    assert order_id is not None, "need has seen it"
    first_id = params.integer("fromExecutionId") or 0
    limit = params.limit(500, 1000)
    params.done()
    found = venue.engine.amendments(ACCOUNT, symbol, order_id)
    return [venue.shapes.amendment(each) for each in found if each.execution_id >= first_id][:limit]


def _shaped(call: Call, orders: Sequence[Order]) -> list[dict[str, object]]:
    return [call.venue.shapes.status(order) for order in orders]


# -- trades, and what was none --------------------------------------------------------------------------------------


def my_trades(call: Call) -> object:
    """myTrades, by trade id."""
    params, venue = call.params, call.venue
    symbol = params.symbol(venue.symbol)
    order_id, from_id = params.integer("orderId"), params.integer("fromId")
    start_ms, end_ms = read_times(params)
    limit = params.limit(500, 1000)
    params.done()
    _check_combination(_TRADES_BY, orderId=order_id, fromId=from_id, startTime=start_ms, endTime=end_ms)
    trades = [
        trade
        for trade in venue.engine.trades(ACCOUNT, symbol, order_id)
        if trade.trade_id >= (from_id or 0) and _within(trade.time_ms, start_ms, end_ms)
    ]
    chosen = trades[:limit] if from_id is not None or start_ms is not None else trades[-limit:]
    return [venue.shapes.trade(trade) for trade in chosen]


def my_trades_weight(params: Params) -> int:
    """Cheap for one order only."""
    return 5 if "orderId" in params else 20


def my_allocations(call: Call) -> object:
    """myAllocations: what smart order routing traded, oldest first."""
    params, venue = call.params, call.venue
    symbol = params.symbol(venue.symbol)
    order_id, from_id = params.integer("orderId"), params.integer("fromAllocationId")
    start_ms, end_ms = read_times(params)
    limit = params.limit(500, 1000)
    params.done()
    _check_combination(_ALLOCATIONS_BY, orderId=order_id, fromAllocationId=from_id, startTime=start_ms, endTime=end_ms)
    found = [
        each
        for each in venue.engine.allocations(ACCOUNT, symbol)
        if (order_id is None or each.order_id == order_id)
        and (each.allocation_id or 0) >= (from_id or 0)
        and _within(each.time_ms, start_ms, end_ms)
    ]
    return [venue.shapes.allocation(each) for each in found[:limit]]


def my_preventions(call: Call) -> object:
    """myPreventedMatches: one by its id, or those of an order, oldest first."""
    params, venue = call.params, call.venue
    symbol = params.symbol(venue.symbol)
    match_id, order_id = params.integer("preventedMatchId"), params.integer("orderId")
    from_id = params.integer("fromPreventedMatchId")
    limit = params.limit(500, 1000)
    params.done()
    if match_id is None and order_id is None:
        raise either("preventedMatchId", "orderId")
    _check_combination(_PREVENTIONS_BY, preventedMatchId=match_id, orderId=order_id, fromPreventedMatchId=from_id)
    found = [
        each
        for each in venue.engine.preventions(ACCOUNT, symbol)
        if (match_id is None or each.match_id == match_id)
        and (order_id is None or order_id in {each.taker_order_id, each.maker_order_id})
        and each.match_id >= (from_id or 0)
    ]
    return [venue.shapes.prevention(each) for each in found[:limit]]


def my_preventions_weight(params: Params) -> int:
    """Cheap for one match only."""
    return 2 if "preventedMatchId" in params else 20


def _check_combination(allowed: frozenset[frozenset[str]], **given: int | None) -> None:
    if frozenset(name for name, value in given.items() if value is not None) not in allowed:
        raise Refused(-1128, "Combination of optional parameters invalid.")


def _within(at_ms: int, start_ms: int | None, end_ms: int | None) -> bool:
    return (start_ms is None or at_ms >= start_ms) and (end_ms is None or at_ms <= end_ms)


# -- the account ----------------------------------------------------------------------------------------------------


def account_status(call: Call) -> object:
    """account.status."""
    omit_zero = call.params.flag("omitZeroBalances", default=False)
    call.params.done()
    venue = call.venue
    standard = venue.engine.rates.standard
    return {
        "makerCommission": int(standard.maker * 10000),
        "takerCommission": int(standard.taker * 10000),
        "buyerCommission": int(standard.buyer * 10000),
        "sellerCommission": int(standard.seller * 10000),
        "commissionRates": _rate(standard),
        "canTrade": True,
        "canWithdraw": False,
        "canDeposit": True,
        "brokered": False,
        "requireSelfTradePrevention": False,
        "preventSor": False,
        "updateTime": venue.updated_ms,
        "accountType": "SPOT",
        "balances": [
            {
                "asset": asset,
                "free": venue.shapes.texts.amount(asset, balance.free),
                "locked": venue.shapes.texts.amount(asset, balance.locked),
            }
            for asset, balance in venue.engine.balances(ACCOUNT).items()
            if not omit_zero or balance.free or balance.locked
        ],
        "permissions": ["SPOT"],
        "uid": UID,
    }


def account_commission(call: Call) -> object:
    """account.commission."""
    symbol = call.params.symbol(call.venue.symbol)
    call.params.done()
    rates = call.venue.engine.rates
    return {
        "symbol": symbol,
        "standardCommission": _rate(rates.standard),
        "specialCommission": _rate(rates.special),
        "taxCommission": _rate(rates.tax),
        "discount": _discount(rates.discount),
    }


def order_commission(rates: Rates, side: Side) -> dict[str, object]:
    """Result of order.test with computeCommissionRates: what an order of one side will cost."""

    def of(rate: Rate) -> dict[str, object]:
        return {
            "maker": amount(rate.of(side, maker=True)),
            "taker": amount(rate.of(side, maker=False)),
        }

    return {
        "standardCommissionForOrder": of(rates.standard),
        "specialCommissionForOrder": of(rates.special),
        "taxCommissionForOrder": of(rates.tax),
        "discount": _discount(rates.discount),
    }


def _rate(rate: Rate) -> dict[str, object]:
    return {
        "maker": amount(rate.maker),
        "taker": amount(rate.taker),
        "buyer": amount(rate.buyer),
        "seller": amount(rate.seller),
    }


def _discount(discount: Discount) -> dict[str, object]:
    return {
        "enabledForAccount": discount.enabled_for_account,
        "enabledForSymbol": discount.enabled_for_symbol,
        "discountAsset": discount.asset,
        "discount": amount(discount.multiplier),
    }


def order_counts(call: Call) -> object:
    """account.rateLimits.orders."""
    call.params.done()
    return call.venue.orders.rows(call.venue.now_ms())


def my_filters(call: Call) -> object:
    """myFilters: all that concern the account's orders on the symbol; MAX_ASSET is told here only."""
    symbol = call.params.symbol(call.venue.symbol)
    call.params.done()
    engine = call.venue.engine
    filters = engine.filters(symbol)
    return {
        "exchangeFilters": exchange_filters(filters),
        "symbolFilters": symbol_info(engine.rules(symbol), filters)["filters"],
        "assetFilters": [
            {"filterType": "MAX_ASSET", "asset": asset, "limit": amount(limit)}
            for asset, limit in filters.max_asset.items()
        ],
    }


METHODS = {
    "order.status": Method(run=order_status, weight=always(4)),
    "openOrders.status": Method(run=open_orders, weight=open_orders_weight),
    "allOrders": Method(run=all_orders, weight=always(20)),
    "order.amendments": Method(run=amendments, weight=always(4)),
    "myTrades": Method(run=my_trades, weight=my_trades_weight),
    "myAllocations": Method(run=my_allocations, weight=always(20)),
    "myPreventedMatches": Method(run=my_preventions, weight=my_preventions_weight),
    "account.status": Method(run=account_status, weight=always(20)),
    "account.commission": Method(run=account_commission, weight=always(20)),
    "account.rateLimits.orders": Method(run=order_counts, weight=always(40)),
    "myFilters": Method(run=my_filters, weight=always(40)),
}
"""Those that only tell."""
