"""The loss guards: what the sleeve is worth, against the day's opening and against its best.

Worth is base × bid + quote, in quote units, exactly; the bid is the only price. Trades of our own change it, and so
does the market: both count. Deposits and withdrawals do not: opening and best are scaled by what they did to the worth,
so that each loss stays the fraction that it was.

Nothing is stored. At a start the worth of the last 24 hours is replayed backwards: from what is held now through the
account's trades, priced at the open of each candle. The opening is that of the candle at 00:00 UTC, the best that of
all of them. What cannot be known is when funds came or went before the start: they count as held all the time.
After a `resume` nothing before it counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, localcontext

import attrs

DAY_NS = 86_400_000_000_000
_DIGITS = 60


@attrs.frozen
class Change:
    """What one own trade did, its commission taken off."""

    at_ns: int
    base: Decimal
    quote: Decimal


@attrs.frozen
class Open:
    """The price at which a candle began."""

    at_ns: int
    price: Decimal


@attrs.frozen
class Crossed:
    """A guard that was crossed, with the numbers that say so."""

    guard: str
    """The setting, such as `max_daily_loss`."""
    limit: float
    loss: float
    """Fraction."""
    worth: Decimal
    against: Decimal
    """What it is measured against: the day's opening, or the best; quote units, flows scaled out."""
    price: Decimal


@attrs.define
class Guards:
    """Worth over time; amounts are of the sleeve, so net of reserves."""

    max_daily_loss: float = 0.0
    max_drawdown: float = 0.0
    base: Decimal = Decimal(0)
    quote: Decimal = Decimal(0)
    price: Decimal | None = None
    """The newest bid; None before one."""
    opening: Decimal | None = None
    best: Decimal | None = None
    day: int = -1
    """The UTC day of `opening`."""

    @property
    def on(self) -> bool:
        """Whether any is set."""
        return bool(self.max_daily_loss or self.max_drawdown)

    def rebuild(
        self,
        base: Decimal,
        quote: Decimal,
        changes: Sequence[Change],
        opens: Sequence[Open],
        now_ns: int,
        since_ns: int = 0,
    ) -> None:
        """Replay what is held now backwards through `changes`; opens before `since_ns` (a resume) do not count."""
        self.base, self.quote, self.day = base, quote, now_ns // DAY_NS
        self.price = self.opening = self.best = None
        left = sorted(changes, key=lambda change: change.at_ns)
        for each in sorted(opens, key=lambda each: each.at_ns, reverse=True):
            while left and left[-1].at_ns >= each.at_ns:
                change = left.pop()
                base, quote = base - change.base, quote - change.quote
            if each.at_ns < since_ns:
                return
            worth = base * each.price + quote
            self.best = worth if self.best is None else max(self.best, worth)
            if each.at_ns >= self.day * DAY_NS:
                self.opening = worth  # the earliest of the day is the last that is seen

    def traded(self, base: Decimal, quote: Decimal) -> None:
        """An own trade changed what is held by so much."""
        self.base, self.quote = self.base + base, self.quote + quote

    def held(self, base: Decimal, quote: Decimal) -> bool:
        """What is held, as the exchange says; whether funds came or went beside own trades."""
        if (base, quote) == (self.base, self.quote):
            return False
        before, (self.base, self.quote) = self._worth(), (base, quote)
        after = self._worth()
        with localcontext() as context:
            context.prec = _DIGITS
            if not before or not after:  # nothing was there, or nothing is left: what was lost of it is history
                self.opening = self.best = None
            else:
                share = after / before
                self.opening = None if self.opening is None else self.opening * share
                self.best = None if self.best is None else self.best * share
        return True

    def rebase(self) -> None:
        """Forget what was lost: opening and best are what is seen next."""
        self.opening = self.best = None

    def see(self, price: Decimal, now_ns: int) -> Crossed | None:
        """A bid; the guard that it crosses, if any."""
        self.price = price
        worth = self._worth()
        day = now_ns // DAY_NS
        if self.opening is None or day != self.day:
            self.day, self.opening = day, worth
        self.best = worth if self.best is None else max(self.best, worth)
        return self._crossed("max_daily_loss", self.max_daily_loss, worth, self.opening) or self._crossed(
            "max_drawdown", self.max_drawdown, worth, self.best
        )

    def _worth(self) -> Decimal:
        return self.base * (self.price or Decimal(0)) + self.quote

    def _crossed(self, guard: str, limit: float, worth: Decimal, against: Decimal) -> Crossed | None:
        if not limit or against <= 0 or against - worth < Decimal(str(limit)) * against:
            return None
        assert self.price is not None, "a bid has been seen"
        return Crossed(guard, limit, float((against - worth) / against), worth, against, self.price)
