"""Decimal text to integer ticks and lots, and back: the one place where money changes its form.

A price is a count of ticks, a quantity a count of lots, both `int`; `tick_size` and `step_size` say what one is
worth and come from the exchange. Price times quantity is a count of *tick-lots*: `tick_size * step_size` quote units
each. Nothing here rounds in silence: a text that is not a whole number of steps raises, and what does round says so
in its name (`floor_*`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal, InvalidOperation, localcontext

import attrs

_DIGITS = 60  # enough for 20 digits before and 20 after the point, squared


def decimal(text: str) -> Decimal:
    """`text` as an exact decimal; ValueError when it is not a finite number."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text!r} is not a number") from None
    if not number.is_finite():
        raise ValueError(f"{text!r} is not a finite number")
    return number


def to_units(text: str, step: Decimal) -> int:
    """How many whole `step`s `text` is; ValueError when it is not a whole number of them."""
    with localcontext() as context:
        context.prec = _DIGITS
        count, left = divmod(decimal(text), step)
    if left:
        raise ValueError(f"{text} is not a multiple of {step}")
    return int(count)


def floor_units(amount: Decimal, step: Decimal) -> int:
    """The largest whole number of `step`s that is not above `amount` (amounts may be negative)."""
    with localcontext() as context:
        context.prec = _DIGITS
        return int((amount / step).to_integral_value(ROUND_FLOOR))


def to_text(units: int, step: Decimal, *, decimals: int = 8) -> str:
    """`units` steps as Binance prints an amount: fixed point, at least `decimals` places, never an exponent."""
    factor, one, form = _grid(step, decimals)
    return form % divmod(units * factor, one) if units >= 0 else "-" + form % divmod(-units * factor, one)


def writer(step: Decimal) -> Callable[[int], str]:
    """`to_text` for one `step`, made once: for those who write many amounts."""
    factor, one, form = _grid(step, 8)

    def write(units: int) -> str:
        return form % divmod(units * factor, one) if units >= 0 else "-" + write(-units)

    return write


@functools.cache
def _grid(step: Decimal, decimals: int) -> tuple[int, int, str]:
    """(factor, one, form): one step is `factor` of the last digit after the point, of which a whole has `one`; and
    how whole and rest of a number of those are written.
    """
    places = max(decimals, places_of(step))
    return int(step.scaleb(places)), 10**places, f"%d.%0{places}d" if places else "%d%.0s"


def plain(units: int, step: Decimal) -> str:
    """`units` steps as a person writes it: no trailing zeros beyond the step's own places."""
    return to_text(units, step, decimals=0)


def plain_amount(amount: Decimal, step: Decimal) -> str:
    """The same of an amount that may be finer than the step."""
    return f"{amount:.{max(places_of(step), places_of(amount))}f}"


def places_of(step: Decimal) -> int:
    """Digits after the point that `step` needs."""
    exponent = step.normalize().as_tuple().exponent
    assert isinstance(exponent, int), "a step is finite"
    return max(0, -exponent)


@attrs.frozen(kw_only=True)
class SymbolRules:
    """What the exchange says of one symbol, read from exchangeInfo; 0 means that a limit is off."""

    name: str
    base_asset: str
    quote_asset: str
    tick_size: Decimal
    """Quote units of one price tick."""
    step_size: Decimal
    """Base units of one lot."""
    status: str = "TRADING"
    min_price_ticks: int = 0
    max_price_ticks: int = 0
    min_qty_lots: int = 1
    max_qty_lots: int = 0
    market_max_qty_lots: int = 0
    min_notional: Decimal = Decimal(0)
    """Quote units, NOTIONAL or MIN_NOTIONAL filter."""
    max_notional: Decimal = Decimal(0)
    bid_multiplier_up: Decimal = Decimal(0)
    """PERCENT_PRICE_BY_SIDE, against the average price; 0 when the symbol has no such filter."""
    bid_multiplier_down: Decimal = Decimal(0)
    ask_multiplier_up: Decimal = Decimal(0)
    ask_multiplier_down: Decimal = Decimal(0)
    max_num_orders: int = 0
    min_trailing_bps: int = 10
    """TRAILING_DELTA below the market, as a selling stop has it; basis points."""
    max_trailing_bps: int = 2000
    trailing_allowed: bool = True
    order_types: frozenset[str] = frozenset(
        {"LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"}
    )
    cancel_replace_allowed: bool = True
    amend_allowed: bool = True
    peg_allowed: bool = True

    @property
    def tick_lot(self) -> Decimal:
        """Quote units of one tick-lot."""
        return self.tick_size * self.step_size

    @property
    def min_notional_tick_lots(self) -> int:
        """The smallest notional that passes, in tick-lots, rounded up."""
        return -floor_units(-self.min_notional, self.tick_lot)

    def price_ticks(self, text: str) -> int:
        """A price from the wire, in ticks; ValueError when it is off the grid."""
        return to_units(text, self.tick_size)

    def qty_lots(self, text: str) -> int:
        """A quantity from the wire, in lots; ValueError when it is off the grid."""
        return to_units(text, self.step_size)

    def nearest_ticks(self, price: Decimal) -> int:
        """A price of the past, in ticks: it may be off the grid of today."""
        return int((price / self.tick_size).to_integral_value(ROUND_HALF_EVEN))

    def price_text(self, ticks: int) -> str:
        """A price for the wire."""
        return to_text(ticks, self.tick_size)

    def qty_text(self, lots: int) -> str:
        """A quantity for the wire."""
        return to_text(lots, self.step_size)

    def floor_lots(self, amount: Decimal) -> int:
        """Base units as whole lots, rounded down."""
        return floor_units(amount, self.step_size)

    def floor_tick_lots(self, amount: Decimal) -> int:
        """Quote units as whole tick-lots, rounded down."""
        return floor_units(amount, self.tick_lot)

    def sellable(self, lots: int, price_ticks: int) -> bool:
        """Whether an order of `lots` at `price_ticks` passes minQty and minNotional."""
        return lots >= max(self.min_qty_lots, 1) and lots * price_ticks >= self.min_notional_tick_lots
