"""What the exchange checks of a new order before it looks at balances or the book: Binance's filters and parameters.

`check` turns the decimals of a request into ticks and lots, or raises `Rejected` with Binance's code and text. Where
several filters fail Binance does not say which it names: here the first in the order of exchangeInfo. Filters that
count open orders are `check_counts`; both are asked before a cancel-replace cancels.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, localcontext

import attrs

from tetrio.core.market import Side
from tetrio.core.money import SymbolRules, floor_units, places_of, to_units
from tetrio.sim.engine.contingent import waits_above
from tetrio.sim.engine.orders import CONTINGENT, PRICED, Order, OrderRequest, Rejected
from tetrio.wire.rules import ORDER_TYPES, Filters

_NOT_SUPPORTED = {
    "LIMIT": "Limit orders",
    "LIMIT_MAKER": "Limit maker orders",
    "MARKET": "Market orders",
    "STOP_LOSS": "Stop loss orders",
    "STOP_LOSS_LIMIT": "Stop loss limit orders",
    "TAKE_PROFIT": "Take profit orders",
    "TAKE_PROFIT_LIMIT": "Take profit limit orders",
}
_PRECISION = 8
_DIGITS = 60
MAX_PEG_LEVELS = 100


@attrs.frozen
class Terms:
    """A request on the grid."""

    price: int
    """Ticks; 0 at market, and for a peg without a price."""
    qty: int | None
    """Lots; None for a MARKET order by quoteOrderQty."""
    quote_tick_lots: int | None
    """quoteOrderQty in whole tick-lots, rounded down; None for an order by quantity."""
    stop: int = 0
    """Ticks."""
    iceberg: int = 0
    """Lots."""


def check(
    rules: SymbolRules, filters: Filters, request: OrderRequest, average: Decimal | None, *, later: bool = False
) -> Terms:
    """The request's terms; Rejected -11xx for its parameters, -1013 for a filter.

    average   what prices are measured against, quote units; None when no price is known at all: then no limit is
              measured, and a market order cannot be judged and is refused
    later     a pending leg whose quantity is not known yet: nothing that needs one is checked
    """
    _check_parameters(rules, filters, request, later=later)
    price = _price(rules, filters, request.price) if request.price is not None else 0
    stop = _price(rules, filters, request.stop_price) if request.stop_price is not None else 0
    qty = None
    if request.quantity is not None:
        qty = lots(rules, filters, request.quantity, at_market=request.type not in PRICED)
    iceberg = _iceberg(rules, filters, request, qty)
    _check_trailing(filters, request)
    if later:
        return Terms(price, None, None, stop, iceberg)
    if qty is None:
        assert request.quote_order_qty is not None, "a market order has one of the two"
        _check_min_notional(rules, request.quote_order_qty)
        return Terms(0, None, floor_units(request.quote_order_qty, rules.tick_lot))
    if request.type not in PRICED:
        _check_market_notional(rules, qty, average)
    elif price:
        check_price(rules, request.side, price, qty, average)
    return Terms(price, qty, None, stop, iceberg)


def check_price(rules: SymbolRules, side: Side, price: int, qty: int, average: Decimal | None) -> None:
    """The filters of a limit price, ticks: of one that the client sent, or that was taken from the book."""
    _check_bounds(rules, price)
    _check_percent_price(rules, side, price, average)
    check_notional(rules, price * qty)


def check_later(rules: SymbolRules, filters: Filters, order: Order, average: Decimal | None) -> None:
    """What `check` did not, for a pending leg whose quantity has become known."""
    _check_lots(rules, order.qty, at_market=order.at_market)
    _check_parts(filters, order.iceberg, order.qty)
    if order.at_market:
        _check_market_notional(rules, order.qty, average)
    elif order.price:
        check_price(rules, order.side, order.price, order.qty, average)


def check_counts(
    rules: SymbolRules,
    filters: Filters,
    symbol: tuple[int, int, int],
    everywhere: tuple[int, int, int],
    requests: Sequence[OrderRequest],
) -> None:
    """The filters that count open orders. Rejected -2010.

    symbol, everywhere   what is open of the account there: (all, waiting for a price, icebergs)
    requests             what is to be added
    """
    added = (
        len(requests),
        sum(each.type in CONTINGENT for each in requests),
        sum(bool(each.iceberg_qty) for each in requests),
    )
    limits = (
        ("MAX_NUM_ORDERS", rules.max_num_orders, filters.exchange_max_orders),
        ("MAX_NUM_ALGO_ORDERS", filters.max_algo_orders, filters.exchange_max_algo_orders),
        ("MAX_NUM_ICEBERG_ORDERS", filters.max_iceberg_orders, filters.exchange_max_iceberg_orders),
    )
    for (name, limit, exchange_limit), here, there, more in zip(limits, symbol, everywhere, added, strict=True):
        if more and limit and here + more > limit:
            raise _failure(name, -2010)
        if more and exchange_limit and there + more > exchange_limit:
            raise _failure(f"EXCHANGE_{name}", -2010)


def check_assets(rules: SymbolRules, filters: Filters, qty: int, tick_lots: int) -> None:
    """MAX_ASSET: what one order moves of base (lots) and quote (tick-lots)."""
    for asset, amount, unit in (
        (rules.base_asset, qty, rules.step_size),
        (rules.quote_asset, tick_lots, rules.tick_lot),
    ):
        limit = filters.max_asset.get(asset)
        if limit is not None and amount * unit > limit:
            raise _failure("MAX_ASSET")


def check_notional(rules: SymbolRules, tick_lots: int) -> None:
    """NOTIONAL of a limit order."""
    if tick_lots < rules.min_notional_tick_lots:
        raise _failure("NOTIONAL")
    if rules.max_notional and tick_lots > floor_units(rules.max_notional, rules.tick_lot):
        raise _failure("NOTIONAL")


def _check_parameters(rules: SymbolRules, filters: Filters, request: OrderRequest, *, later: bool) -> None:
    if request.type not in ORDER_TYPES:
        raise Rejected(-1116, "Invalid orderType.")
    if request.type not in rules.order_types:
        raise Rejected(-1013, f"{_NOT_SUPPORTED[request.type]} are not supported for this symbol.")
    if request.time_in_force not in {"GTC", "IOC", "FOK"}:
        raise Rejected(-1115, "Invalid timeInForce.")
    _check_presence(request, later=later)
    for name, given in (
        ("quantity", request.quantity),
        ("price", request.price),
        ("quoteOrderQty", request.quote_order_qty),
        ("stopPrice", request.stop_price),
        ("icebergQty", request.iceberg_qty),
    ):
        if given is not None and given != 0 and places_of(given) > _PRECISION:
            raise Rejected(-1111, f"Parameter '{name}' has too much precision.")
    if rules.status != "TRADING":
        raise Rejected(-1013, "Market is closed.")
    _check_flags(rules, filters, request)


def _check_presence(request: OrderRequest, *, later: bool) -> None:
    """What each type must and may not have."""
    if request.type == "MARKET":
        if request.quantity is None and request.quote_order_qty is None and not later:
            raise Rejected(-1102, "Param 'quantity' or 'quoteOrderQty' must be sent, but both were empty/null!")
        if request.quantity is not None and request.quote_order_qty is not None:
            raise _not_required("quoteOrderQty")
    else:
        if request.quote_order_qty is not None:
            raise _not_required("quoteOrderQty")
        if request.quantity is None and not later:
            raise _mandatory("quantity")
    if request.type not in PRICED and request.price is not None:
        raise _not_required("price")
    if request.type in PRICED and request.price is None and request.peg is None:
        raise _mandatory("price")
    if request.type in CONTINGENT:
        if request.stop_price is None and request.trailing_delta is None:
            raise Rejected(-1102, "Param 'stopPrice' or 'trailingDelta' must be sent, but both were empty/null!")
        return
    if request.stop_price is not None:
        raise _not_required("stopPrice")
    if request.trailing_delta is not None:
        raise _not_required("trailingDelta")


def _check_flags(rules: SymbolRules, filters: Filters, request: OrderRequest) -> None:
    """What the symbol does not take."""
    if request.quote_order_qty is not None and not filters.quote_order_qty:
        raise Rejected(-2010, "Quote order qty market orders are not support for this symbol.")
    if request.trailing_delta is not None and not filters.trailing:
        raise Rejected(-2010, "Trailing stop orders are not supported for this symbol.")
    if request.stp_mode and request.stp_mode not in filters.stp_modes:
        raise Rejected(-1013, "This symbol does not allow the specified self-trade prevention mode.")
    if request.peg is not None:
        _check_peg(rules, request)
    if request.sor and not filters.sor:
        raise Rejected(-1013, "SOR is not supported for this symbol.")


def _check_peg(rules: SymbolRules, request: OrderRequest) -> None:
    assert request.peg is not None, "asked for one that has a peg"
    if not rules.peg_allowed:
        raise Rejected(-2010, "Pegged orders are not supported for this symbol.")
    if request.type not in PRICED:
        raise Rejected(-2010, "This order type may not use pegged price.")
    primary = request.peg.price_type == "PRIMARY_PEG"
    if request.type == "LIMIT_MAKER" and not primary:
        raise Rejected(-2010, "This price peg cannot be used with this order type.")
    if request.type == "LIMIT" and primary and request.time_in_force != "GTC":
        raise Rejected(-2010, "This price peg cannot be used with this order type.")


def _price(rules: SymbolRules, filters: Filters, given: Decimal) -> int:
    price = _on_grid(given, rules.tick_size, filters.tick_size, "PRICE_FILTER")
    _check_bounds(rules, price)
    return price


def _on_grid(given: Decimal, unit: Decimal, step: Decimal, name: str) -> int:
    """In units of the book; a multiple of the step too, where one is set."""
    try:
        if step:
            to_units(str(given), step)
        return to_units(str(given), unit)
    except ValueError:
        raise _failure(name) from None


def _check_bounds(rules: SymbolRules, price: int) -> None:
    low, high = max(rules.min_price_ticks, 1), rules.max_price_ticks
    if price < low or (high and price > high):
        raise _failure("PRICE_FILTER")


def lots(rules: SymbolRules, filters: Filters, given: Decimal, *, at_market: bool) -> int:
    """A quantity on the grid, within its filters. Rejected -1013."""
    qty = _on_grid(given, rules.step_size, filters.step_size, "LOT_SIZE")
    _check_lots(rules, qty, at_market=at_market)
    return qty


def _check_lots(rules: SymbolRules, qty: int, *, at_market: bool) -> None:
    if qty < max(rules.min_qty_lots, 1) or (rules.max_qty_lots and qty > rules.max_qty_lots):
        raise _failure("LOT_SIZE")
    if at_market and rules.market_max_qty_lots and qty > rules.market_max_qty_lots:
        raise _failure("MARKET_LOT_SIZE")


def _iceberg(rules: SymbolRules, filters: Filters, request: OrderRequest, qty: int | None) -> int:
    """Lots shown at a time; 0 for all."""
    if not request.iceberg_qty:
        return 0
    if request.type not in PRICED:
        raise _not_required("icebergQty")
    if not filters.iceberg:
        raise Rejected(-2010, "Iceberg orders are not supported for this symbol.")
    if request.time_in_force != "GTC":
        raise Rejected(-1130, "Data sent for parameter 'icebergQty' is not valid.")
    shown = lots(rules, filters, request.iceberg_qty, at_market=False)
    if qty is not None:
        _check_parts(filters, shown, qty)
    return shown


def _check_parts(filters: Filters, shown: int, qty: int) -> None:
    if shown >= qty:
        raise Rejected(-2010, "IcebergQty exceeds QTY.")
    if shown and filters.iceberg_parts and -(-qty // shown) > filters.iceberg_parts:
        raise _failure("ICEBERG_PARTS")


def _check_trailing(filters: Filters, request: OrderRequest) -> None:
    delta = request.trailing_delta
    if delta is None:
        return
    above = waits_above(request.type, request.side)
    low, high = (
        (filters.min_trailing_above, filters.max_trailing_above)
        if above
        else (filters.min_trailing_below, filters.max_trailing_below)
    )
    if not low <= delta <= high:
        raise _failure("TRAILING_DELTA")


def _check_percent_price(rules: SymbolRules, side: Side, price: int, average: Decimal | None) -> None:
    if average is None:
        return
    up, down = (
        (rules.bid_multiplier_up, rules.bid_multiplier_down)
        if side is Side.BUY
        else (rules.ask_multiplier_up, rules.ask_multiplier_down)
    )
    with localcontext() as context:
        context.prec = _DIGITS
        asked = price * rules.tick_size
        if (up and asked > average * up) or (down and asked < average * down):
            raise _failure("PERCENT_PRICE_BY_SIDE")


def _check_market_notional(rules: SymbolRules, qty: int, average: Decimal | None) -> None:
    if average is None:
        raise _failure("NOTIONAL")
    with localcontext() as context:
        context.prec = _DIGITS
        _check_min_notional(rules, qty * rules.step_size * average)


def _check_min_notional(rules: SymbolRules, notional: Decimal) -> None:
    """Only the minimum applies to market orders (applyMinToMarket true, applyMaxToMarket false)."""
    if notional <= 0 or notional < rules.min_notional:
        raise _failure("NOTIONAL")


def _failure(name: str, code: int = -1013) -> Rejected:
    return Rejected(code, f"Filter failure: {name}")


def _mandatory(name: str) -> Rejected:
    return Rejected(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def _not_required(name: str) -> Rejected:
    return Rejected(-1106, f"Parameter '{name}' sent when not required.")
