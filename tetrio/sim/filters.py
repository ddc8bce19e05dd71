"""What the exchange checks of a new order before it looks at balances or the book: Binance's filters and parameters.

`check` turns the decimals of a request into ticks and lots, or raises `Rejected` with Binance's code and text. Where
several filters fail Binance does not say which it names: here the first in the order of exchangeInfo.
"""

from __future__ import annotations

from decimal import Decimal, localcontext

import attrs

from tetrio.core.market import Side
from tetrio.core.money import SymbolRules, floor_units, places_of, to_units
from tetrio.sim.orders import OrderRequest, Rejected

_NOT_YET = {
    "STOP_LOSS": "Stop loss orders",
    "STOP_LOSS_LIMIT": "Stop loss limit orders",
    "TAKE_PROFIT": "Take profit orders",
    "TAKE_PROFIT_LIMIT": "Take profit limit orders",
}
_TYPES = {"LIMIT", "LIMIT_MAKER", "MARKET"}
_PRECISION = 8
_DIGITS = 60


@attrs.frozen
class Terms:
    """A request on the grid."""

    price: int
    """Ticks; 0 for MARKET."""
    qty: int | None
    """Lots; None for a MARKET order by quoteOrderQty."""
    quote_tick_lots: int | None
    """quoteOrderQty in whole tick-lots, rounded down; None for an order by quantity."""


def check(rules: SymbolRules, request: OrderRequest, average: Decimal | None) -> Terms:
    """The request's terms; Rejected -11xx for its parameters, -1013 for a filter.

    average   the 5-minute average price in quote units; None when no price is known at all: then no LIMIT is measured
              against it, and a MARKET order cannot be judged and is refused
    """
    _check_parameters(rules, request)
    price = _price(rules, request) if request.type != "MARKET" else 0
    qty = _quantity(rules, request) if request.quantity is not None else None
    if request.type != "MARKET":
        assert qty is not None, "a LIMIT order has a quantity"
        _check_percent_price(rules, request.side, price, average)
        _check_notional(rules, price * qty)
        return Terms(price, qty, None)
    _check_market_notional(rules, request, average)
    if request.quote_order_qty is None:
        return Terms(0, qty, None)
    return Terms(0, None, floor_units(request.quote_order_qty, rules.tick_lot))


def _check_parameters(rules: SymbolRules, request: OrderRequest) -> None:
    if request.type not in rules.order_types or request.type not in _TYPES:
        if request.type in _TYPES | _NOT_YET.keys():
            name = _NOT_YET.get(request.type, f"{request.type.capitalize()} orders")
            raise Rejected(-1013, f"{name} are not supported for this symbol.")
        raise Rejected(-1116, "Invalid orderType.")
    if request.time_in_force not in {"GTC", "IOC", "FOK"}:
        raise Rejected(-1115, "Invalid timeInForce.")
    if request.type == "MARKET":
        if request.quantity is None and request.quote_order_qty is None:
            raise Rejected(-1102, "Param 'quantity' or 'quoteOrderQty' must be sent, but both were empty/null!")
        if request.quantity is not None and request.quote_order_qty is not None:
            raise Rejected(-1106, "Parameter 'quoteOrderQty' sent when not required.")
        if request.price is not None:
            raise Rejected(-1106, "Parameter 'price' sent when not required.")
    else:
        if request.quote_order_qty is not None:
            raise Rejected(-1106, "Parameter 'quoteOrderQty' sent when not required.")
        for name, given in (("quantity", request.quantity), ("price", request.price)):
            if given is None:
                raise Rejected(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
    _check_precision("quantity", request.quantity)
    _check_precision("price", request.price)
    _check_precision("quoteOrderQty", request.quote_order_qty)
    if rules.status != "TRADING":
        raise Rejected(-1013, "Market is closed.")


def _check_precision(name: str, given: Decimal | None) -> None:
    if given is not None and given != 0 and places_of(given) > _PRECISION:
        raise Rejected(-1111, f"Parameter '{name}' has too much precision.")


def _price(rules: SymbolRules, request: OrderRequest) -> int:
    try:
        price = to_units(str(request.price), rules.tick_size)
    except ValueError:
        raise _failure("PRICE_FILTER") from None
    low, high = max(rules.min_price_ticks, 1), rules.max_price_ticks
    if price < low or (high and price > high):
        raise _failure("PRICE_FILTER")
    return price


def _quantity(rules: SymbolRules, request: OrderRequest) -> int:
    try:
        qty = to_units(str(request.quantity), rules.step_size)
    except ValueError:
        raise _failure("LOT_SIZE") from None
    if qty < max(rules.min_qty_lots, 1) or (rules.max_qty_lots and qty > rules.max_qty_lots):
        raise _failure("LOT_SIZE")
    if request.type == "MARKET" and rules.market_max_qty_lots and qty > rules.market_max_qty_lots:
        raise _failure("MARKET_LOT_SIZE")
    return qty


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


def _check_notional(rules: SymbolRules, tick_lots: int) -> None:
    if tick_lots < rules.min_notional_tick_lots:
        raise _failure("NOTIONAL")
    if rules.max_notional and tick_lots > floor_units(rules.max_notional, rules.tick_lot):
        raise _failure("NOTIONAL")


def _check_market_notional(rules: SymbolRules, request: OrderRequest, average: Decimal | None) -> None:
    """Only the minimum applies to MARKET orders (applyMinToMarket true, applyMaxToMarket false)."""
    if request.quote_order_qty is not None:
        notional = request.quote_order_qty
    else:
        if average is None:
            raise _failure("NOTIONAL")
        assert request.quantity is not None, "a MARKET order has one of the two"
        with localcontext() as context:
            context.prec = _DIGITS
            notional = request.quantity * average
    if notional <= 0 or notional < rules.min_notional:
        raise _failure("NOTIONAL")


def _failure(name: str) -> Rejected:
    return Rejected(-1013, f"Filter failure: {name}")
