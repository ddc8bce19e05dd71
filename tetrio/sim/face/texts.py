"""Amounts of one symbol and its assets as texts, quickly: each unit is looked up once, not for every amount.

Prices and quantities repeat, so their texts are kept; amounts of money do not.
"""

from __future__ import annotations

from decimal import Decimal

from tetrio.core.money import SymbolRules, writer
from tetrio.sim.engine.engine import Engine

ZERO = "0.00000000"
KEPT = 16_384
"""Texts kept of each kind at most; then all are forgotten."""


class Kept(dict[int, str]):
    """Units -> their text. A dict that fills itself."""

    def __init__(self, step: Decimal) -> None:
        super().__init__()
        self._write = writer(step)

    def __missing__(self, units: int) -> str:
        if len(self) >= KEPT:
            self.clear()
        text = self[units] = self._write(units)
        return text


class Texts:
    """How the amounts of one symbol are written."""

    def __init__(self, rules: SymbolRules, engine: Engine) -> None:
        self.price = Kept(rules.tick_size)
        """By ticks."""
        self.qty = Kept(rules.step_size)
        """By lots."""
        self.amount = engine.amount_text
        """By asset and its units."""
        self._notional = writer(rules.tick_lot)

    def notional(self, tick_lots: int) -> str:
        """An amount of the quote, in tick-lots."""
        return self._notional(tick_lots) if tick_lots else ZERO
