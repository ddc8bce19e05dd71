"""Orders out of parameters: which of them an order takes, needs, or may not have, under whatever names.

A leg of an order list has the parameters of an order under names of its own (`aboveStopPrice`); `Names` holds them, so
that one set of rules reads them all. What the rules of a symbol say of the values is the engine's business.
"""

from __future__ import annotations

from decimal import Decimal

import attrs

from tetrio.core.market import Side
from tetrio.sim.engine.orders import CONTINGENT, PRICED, OrderRequest, Peg
from tetrio.sim.face.checks import Params, Refused, missing

FORMS = frozenset({"ACK", "RESULT", "FULL"})
"""Of the answer to a new order."""
STP_MODES = frozenset({"NONE", "EXPIRE_MAKER", "EXPIRE_TAKER", "EXPIRE_BOTH", "DECREMENT", "TRANSFER"})
DAY_MS = 86_400_000
MIN_STRATEGY_TYPE = 1_000_000
MAX_PEG_OFFSET = 100
PRECISION = 8
"""Decimals of any amount."""
MAX_INT = 2**31 - 1
_TYPES = PRICED | CONTINGENT | {"MARKET"}
_SIDES = {"BUY": Side.BUY, "SELL": Side.SELL}
_TIMES_IN_FORCE = frozenset({"GTC", "IOC", "FOK"})
_TIMED = frozenset({"LIMIT", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"})
"""Types that say how long they are good; the others may not."""


@attrs.frozen(kw_only=True)
class Names:
    """What the parameters of one order are called; "" for one that it cannot have."""

    client_order_id: str
    price: str
    time_in_force: str = ""
    stop_price: str = ""
    trailing_delta: str = ""
    iceberg_qty: str = ""
    strategy_id: str = ""
    strategy_type: str = ""
    peg_price_type: str = ""
    peg_offset_type: str = ""
    peg_offset_value: str = ""
    leg: bool = True
    """Whether it is an order of a list."""
    rare: frozenset[str] = attrs.field(init=False)
    """All but the first three: most orders have none of them."""

    @rare.default
    def _rare(self) -> frozenset[str]:
        held = (self.stop_price, self.trailing_delta, self.iceberg_qty, self.strategy_id, self.strategy_type)
        pegs = (self.peg_price_type, self.peg_offset_type, self.peg_offset_value)
        return frozenset(filter(None, held + pegs))


def _names(prefix: str, client_order_id: str) -> Names:
    """As the parameters of an order are called behind a prefix, which may be none."""

    def name(tail: str) -> str:
        return prefix + tail if prefix else tail[0].lower() + tail[1:]

    return Names(
        client_order_id=client_order_id,
        price=name("Price"),
        time_in_force=name("TimeInForce"),
        stop_price=name("StopPrice"),
        trailing_delta=name("TrailingDelta"),
        iceberg_qty=name("IcebergQty"),
        strategy_id=name("StrategyId"),
        strategy_type=name("StrategyType"),
        peg_price_type=name("PegPriceType"),
        peg_offset_type=name("PegOffsetType"),
        peg_offset_value=name("PegOffsetValue"),
        leg=bool(prefix),
    )


PLAIN = _names("", "newClientOrderId")
ABOVE, BELOW, WORKING, PENDING, PENDING_ABOVE, PENDING_BELOW = (
    _names(prefix, f"{prefix}ClientOrderId")
    for prefix in ("above", "below", "working", "pending", "pendingAbove", "pendingBelow")
)
OLD_LIMIT = Names(
    client_order_id="limitClientOrderId",
    price="price",
    iceberg_qty="limitIcebergQty",
    strategy_id="limitStrategyId",
    strategy_type="limitStrategyType",
)
"""The limit leg of the deprecated orderList.place."""
OLD_STOP = Names(
    client_order_id="stopClientOrderId",
    price="stopLimitPrice",
    time_in_force="stopLimitTimeInForce",
    stop_price="stopPrice",
    trailing_delta="trailingDelta",
    iceberg_qty="stopIcebergQty",
    strategy_id="stopStrategyId",
    strategy_type="stopStrategyType",
)
"""Its stop leg."""
ROUTED = Names(
    client_order_id="newClientOrderId",
    price="price",
    time_in_force="timeInForce",
    iceberg_qty="icebergQty",
    strategy_id="strategyId",
    strategy_type="strategyType",
    leg=False,
)
"""An order by smart order routing."""


# -- one order ------------------------------------------------------------------------------------------------------


def read_order(
    params: Params,
    names: Names,
    *,
    symbol: str,
    side: Side,
    kind: str,
    quantity: Decimal | None,
    quote_order_qty: Decimal | None = None,
    stp_mode: str = "",
    sor: bool = False,
) -> OrderRequest:
    """What the names of `names` say of an order whose type and quantity are known; Refused where they do not fit."""
    time_in_force = _time_in_force(params, names, kind)
    price = read_decimal(params, names.price)
    client_order_id = params.client_id(names.client_order_id) or ""
    if price is not None and kind not in PRICED:
        raise not_required(names.price)
    if names.rare.isdisjoint(params.values):
        if kind in CONTINGENT:
            raise either(names.stop_price, names.trailing_delta)
        if price is None and kind in PRICED:
            raise missing(names.price)
        return OrderRequest(
            symbol=symbol,
            side=side,
            type=kind,
            time_in_force=time_in_force,
            quantity=quantity,
            price=price,
            quote_order_qty=quote_order_qty,
            client_order_id=client_order_id,
            stp_mode=stp_mode,
            sor=sor,
        )
    stop_price, trailing_delta = _trigger(params, names, kind)
    iceberg_qty = _iceberg(params, names, kind, time_in_force)
    strategy_id, strategy_type = _strategy(params, names)
    peg = _peg(params, names)
    if price is None and peg is None and kind in PRICED:
        raise missing(names.price)
    return OrderRequest(
        symbol=symbol,
        side=side,
        type=kind,
        time_in_force=time_in_force,
        quantity=quantity,
        price=price,
        quote_order_qty=quote_order_qty,
        client_order_id=client_order_id,
        stop_price=stop_price,
        trailing_delta=trailing_delta,
        iceberg_qty=iceberg_qty,
        stp_mode=stp_mode,
        strategy_id=strategy_id,
        strategy_type=strategy_type,
        peg=peg,
        sor=sor,
    )


def _time_in_force(params: Params, names: Names, kind: str) -> str:
    asked = params.text(names.time_in_force) if names.time_in_force else None
    if kind not in _TIMED:
        if asked is not None:
            raise not_required(names.time_in_force)
        return "GTC"
    if asked is None:
        raise missing(names.time_in_force)
    if asked not in _TIMES_IN_FORCE:
        raise Refused(-1115, "Invalid timeInForce.")
    return asked


def _trigger(params: Params, names: Names, kind: str) -> tuple[Decimal | None, int | None]:
    """(stop price, trailing delta): one or both for what waits for a price, neither for what does not."""
    stop_price = read_decimal(params, names.stop_price) if names.stop_price else None
    trailing_delta = params.integer(names.trailing_delta, most=MAX_INT) if names.trailing_delta else None
    if kind in CONTINGENT:
        if stop_price is None and trailing_delta is None:
            raise either(names.stop_price, names.trailing_delta)
    elif stop_price is not None:
        raise not_required(names.stop_price)
    elif trailing_delta is not None:
        raise not_required(names.trailing_delta)
    return stop_price, trailing_delta


def _iceberg(params: Params, names: Names, kind: str, time_in_force: str) -> Decimal | None:
    iceberg_qty = read_decimal(params, names.iceberg_qty)
    if iceberg_qty is None:
        return None
    if kind not in PRICED or (time_in_force != "GTC" and not names.leg):
        raise not_required(names.iceberg_qty)
    if time_in_force != "GTC":
        raise Refused(-1160, f"Parameter '{names.iceberg_qty}' is not supported if `{names.time_in_force}` is not GTC.")
    return iceberg_qty


def _strategy(params: Params, names: Names) -> tuple[int | None, int | None]:
    strategy_type = params.integer(names.strategy_type, most=MAX_INT)
    if strategy_type is not None and strategy_type < MIN_STRATEGY_TYPE:
        raise Refused(-1134, "`strategyType` was less than 1000000.")
    return params.integer(names.strategy_id), strategy_type


def _peg(params: Params, names: Names) -> Peg | None:
    if not names.peg_price_type:
        return None
    price_type, offset_type = params.text(names.peg_price_type), params.text(names.peg_offset_type)
    offset_value = params.integer(names.peg_offset_value)
    if price_type not in {None, "PRIMARY_PEG", "MARKET_PEG"}:
        raise Refused(-1210, "Invalid pegPriceType.")
    if offset_type not in {None, "PRICE_LEVEL"}:
        raise Refused(-1211, "Invalid pegOffsetType.")
    if (offset_type is None) != (offset_value is None):
        together = f"{names.peg_offset_type}, {names.peg_offset_value}"
        raise Refused(-1128, f"Fields [{together}] must be sent together or omitted entirely.")
    if offset_value is not None and offset_value > MAX_PEG_OFFSET:
        raise Refused(
            -1102, f"'{names.peg_offset_value}' contains unexpected value. Cannot be greater than {MAX_PEG_OFFSET}."
        )
    if price_type is None:
        if offset_type is not None:
            raise not_required(names.peg_offset_type)
        return None
    return Peg(price_type=price_type, offset_type=offset_type or "", offset_value=offset_value)


# -- what orders and lists have in common ---------------------------------------------------------------------------


def read_side(params: Params, name: str) -> Side:
    """BUY or SELL."""
    side = _SIDES.get(params.need(name))
    if side is None:
        raise Refused(-1117, "Invalid side.")
    return side


def read_type(params: Params, name: str) -> str:
    """One of Binance's seven order types."""
    kind = params.need(name)
    if kind not in _TYPES:
        raise Refused(-1116, "Invalid orderType.")
    return kind


def read_form(params: Params) -> str | None:
    """newOrderRespType."""
    form = params.text("newOrderRespType")
    if form is not None and form not in FORMS:
        raise Refused(-1136, "Invalid newOrderRespType.")
    return form


def read_stp_mode(params: Params) -> str:
    """selfTradePreventionMode; "" when it was not sent."""
    mode = params.text("selfTradePreventionMode")
    if mode is not None and mode not in STP_MODES:
        raise Refused(-1130, "Data sent for parameter 'selfTradePreventionMode' is not valid.")
    return mode or ""


def read_decimal(params: Params, name: str) -> Decimal | None:
    """An amount; None when it was not sent."""
    text = params.decimal(name)
    return None if text is None else _precise(name, text)


def need_decimal(params: Params, name: str) -> Decimal:
    """A mandatory amount."""
    return _precise(name, params.need_decimal(name))


def _precise(name: str, text: str) -> Decimal:
    point = text.find(".")
    if point >= 0 and text[point + 1 + PRECISION :].strip("0"):
        raise Refused(-1111, f"Parameter '{name}' has too much precision.")
    return Decimal(text)


def read_ids(params: Params, by_id: str, by_client_id: str) -> tuple[int | None, str | None]:
    """An order's or a list's id, its client's id, or both."""
    number, client_id = params.integer(by_id), params.text(by_client_id)
    if number is None and client_id is None:
        raise either(by_client_id, by_id)
    return number, client_id


def read_restrictions(params: Params) -> str | None:
    """cancelRestrictions."""
    asked = params.text("cancelRestrictions")
    if asked not in {None, "ONLY_NEW", "ONLY_PARTIALLY_FILLED"}:
        raise Refused(-1145, "Invalid cancelRestrictions")
    return asked


def read_times(params: Params) -> tuple[int | None, int | None]:
    """startTime and endTime in ms (sent as us by their length), at most a day apart."""
    start_ms, end_ms = _ms(params.integer("startTime")), _ms(params.integer("endTime"))
    if start_ms is not None and end_ms is not None and end_ms - start_ms > DAY_MS:
        raise Refused(-1127, "More than 24 hours between startTime and endTime.")
    return start_ms, end_ms


def _ms(stamp: int | None) -> int | None:
    return stamp // 1000 if stamp is not None and stamp >= 10**15 else stamp


def not_required(name: str) -> Refused:
    """A parameter was sent that the order cannot have."""
    return Refused(-1106, f"Parameter '{name}' sent when not required.")


def either(one: str, other: str) -> Refused:
    """Neither of two parameters was sent, and one is needed."""
    return Refused(-1102, f"Param '{one}' or '{other}' must be sent, but both were empty/null!")
