"""What is held, exactly, and what one own trade does to it; which own trades changed the regime.

Amounts are exact decimals in units of the assets, so that commissions smaller than a lot add up; only `holdings` rounds
down, as the sleeve does. All trades of the account on the symbol count, whoever sent the order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal

import attrs

from tetrio.core.market import Fill, Holdings, Quote, Regime, Side
from tetrio.core.money import SymbolRules, decimal
from tetrio.core.state import KernelRules, regime_of


@attrs.frozen(kw_only=True)
class OwnTrade:
    """One trade of the account, as it changes the holdings."""

    trade_id: int
    order_id: int
    price: int
    """Ticks, the nearest."""
    at_ms: int
    base: Decimal
    """Base units received (negative: given away), a commission in the base taken off."""
    quote: Decimal
    """The same of the quote."""

    @classmethod
    def of(cls, fill: Fill, rules: SymbolRules) -> OwnTrade:
        """What `fill` does; a commission in a third asset (BNB) changes neither. ValueError on an unreadable amount."""
        sign = 1 if fill.side is Side.BUY else -1
        fee, asset = decimal(fill.commission), fill.commission_asset
        return cls(
            trade_id=fill.trade_id,
            order_id=fill.order_id,
            price=rules.nearest_ticks(fill.price),
            at_ms=fill.at_ms,
            base=sign * fill.qty - (fee if asset == rules.base_asset else 0),
            quote=-sign * fill.qty * fill.price - (fee if asset == rules.quote_asset else 0),
        )

    @property
    def observation(self) -> Quote:
        """The same trade as the public sees it."""
        return Quote(self.price, self.price, self.trade_id, self.at_ms * 1_000_000)


@attrs.frozen(kw_only=True)
class Flow:
    """What came or went by no trade: a deposit, a withdrawal."""

    base: Decimal = Decimal(0)
    quote: Decimal = Decimal(0)


@attrs.frozen(kw_only=True)
class Purse:
    """All of the two assets: free plus locked, the reserve among it."""

    rules: SymbolRules
    base: Decimal
    quote: Decimal
    reserve_base: Decimal = Decimal(0)
    reserve_quote: Decimal = Decimal(0)

    def holdings(self) -> Holdings:
        """Less the reserve, in lots and tick-lots, floored at zero."""
        return Holdings(
            base=max(0, self.rules.floor_lots(self.base - self.reserve_base)),
            quote=max(0, self.rules.floor_tick_lots(self.quote - self.reserve_quote)),
        )

    def after(self, change: OwnTrade | Flow) -> Purse:
        """With what `change` brought."""
        return attrs.evolve(self, base=self.base + change.base, quote=self.quote + change.quote)

    def before(self, change: OwnTrade | Flow) -> Purse:
        """Without it: what was held before."""
        return attrs.evolve(self, base=self.base - change.base, quote=self.quote - change.quote)

    def regime(self, price: int) -> Regime:
        """What it allows at a price, ticks."""
        return regime_of(self.holdings(), KernelRules.of(self.rules), price, price)


@attrs.frozen
class Change:
    """An own trade at which the regime changed."""

    trade: OwnTrade
    before: Regime
    regime: Regime
    purse: Purse
    """What was held after it."""


def changes(now: Purse, trades: Iterable[OwnTrade]) -> Iterator[Change]:
    """The own trades that changed the regime, newest first; `trades` newest first, down from those that made `now`."""
    after = now
    for trade in trades:
        before = after.before(trade)
        was, regime = before.regime(trade.price), after.regime(trade.price)
        if was is not regime:
            yield Change(trade, was, regime, after)
        after = before
