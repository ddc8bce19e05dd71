"""Symbol rules for a file: its tick and step are the greatest common divisors of its prices and sizes."""

from __future__ import annotations

import math
from decimal import Decimal

from tetrio.core.money import SymbolRules, decimal, to_units
from tetrio.errors import ConfigError, MarketError
from tetrio.wire.rules import split_symbol

_PLACES = 12
"""Decimals that a text may have; Binance writes 8."""
_FINEST = Decimal(1).scaleb(-_PLACES)
_WHOLE = 1_000_000_000_000
_BATCH = 100_000


class Divisor:
    """The greatest common divisor of decimal texts, and the largest of them."""

    def __init__(self) -> None:
        self._texts: dict[str, int] = {}
        self._divisor = 0
        self._largest = 0

    def add(self, text: str) -> int:
        """One number; gives it in units of 1e-12. ValueError when it is none, negative, or finer."""
        units = self._texts.get(text)
        if units is None:
            units = _units(text)
            self._largest = max(self._largest, units)
            self._divisor = math.gcd(self._divisor, units)
            if len(self._texts) >= _BATCH:
                self._texts.clear()
            self._texts[text] = units
        return units

    @property
    def step(self) -> Decimal:
        """The divisor; 1e-8 when all numbers were 0 or there were none."""
        return (self._divisor * _FINEST if self._divisor else Decimal("1E-8")).normalize()

    @property
    def largest(self) -> Decimal:
        """The largest number."""
        return self._largest * _FINEST


class Memo(dict[str, int]):
    """Decimal text -> whole steps; every text is worked out once while it is in use."""

    def __init__(self, step: Decimal) -> None:
        super().__init__()
        self._step = step

    def __missing__(self, text: str) -> int:
        if len(self) >= _BATCH:
            self.clear()
        units = self[text] = to_units(text, self._step)
        return units


def _units(text: str) -> int:
    """`text` in units of 1e-12; ValueError when it is no number, negative, or finer."""
    whole, _, part = text.partition(".")
    if whole.isdecimal() and whole.isascii() and len(part) <= _PLACES and (not part or part.isdecimal()):
        return int(whole) * _WHOLE + (int(part.ljust(_PLACES, "0")) if part else 0)
    units = to_units(format(decimal(text), "f"), _FINEST)
    if units < 0:
        raise ValueError(f"{text} is negative")
    return units


def file_rules(
    symbol: str, tick: Decimal, step: Decimal, dearest: Decimal, assets: tuple[str, str] | None
) -> SymbolRules:
    """Rules that suit a file; MarketError when the assets of the symbol cannot be told from its name.

    dearest   the highest price in the file, quote units

    What a file does not tell is set as Binance does for its large pairs: quantities up to 9,000,000 quote units' worth,
    minNotional 5, prices within a fifth and five times the average, 200 open orders.
    """
    dearest = max(dearest, tick)
    most = max(int(Decimal(9_000_000) / dearest / step), 1000)
    try:
        base, quote = assets or split_symbol(symbol)
    except ConfigError as error:
        raise MarketError(str(error)) from None
    return SymbolRules(
        name=symbol,
        base_asset=base,
        quote_asset=quote,
        tick_size=tick,
        step_size=step,
        min_price_ticks=1,
        max_price_ticks=int(dearest / tick) * 1000,
        min_qty_lots=1,
        max_qty_lots=most,
        market_max_qty_lots=max(most // 10, 1),
        min_notional=Decimal(5),
        max_notional=Decimal(9_000_000),
        bid_multiplier_up=Decimal(5),
        bid_multiplier_down=Decimal("0.2"),
        ask_multiplier_up=Decimal(5),
        ask_multiplier_down=Decimal("0.2"),
        max_num_orders=200,
    )
