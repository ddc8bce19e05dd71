"""How much of the past an exchange remembers, so that its memory is bounded however long it runs.

The bounds are counts. Of the oldest beyond them nothing is known any more: a query does not find it. Binance keeps
longer (orders without a trade for 90 days); these are what fits into memory: 190 MB when all is full.
"""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class Retention:
    """The newest of each kind that are remembered; open orders are, all of them."""

    untraded: int = 10_000
    """Orders that ended without a trade: a bot that re-quotes for weeks leaves millions of them; 7 MB."""
    traded: int = 100_000
    """Orders that ended after a trade, with their trades; 112 MB."""
    aggregates: int = 500_000
    """Aggregate trades: 24 hours of almost six a second; 35 MB."""
    seconds: int = 86_401
    """1s candles with trades: a day, and the one that forms; with all the longer ones 35 MB."""
    minutes: int = 7 * 1440 + 1
    """1m candles with trades: a week, for rolling windows, and the one that forms."""


FULL = Retention()
