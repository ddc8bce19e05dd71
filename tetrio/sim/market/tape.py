"""The market that is traded on: recorded, or generated.

`open_market` looks at what it is given; a recorded file is read to its end before anything is traded (`capture`,
`csvfile`), a generated market begins at once (`synthetic`). Every kind is a `Market`: rules, some history,
and an iterator of batches, one per millisecond in which something happens. It does not wait: whoever plays it keeps
the time.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from tetrio.core.money import SymbolRules
from tetrio.errors import MarketError
from tetrio.sim.market.candles import Candle
from tetrio.sim.market.capture import Capture
from tetrio.sim.market.csvfile import KlineFile, is_klines
from tetrio.sim.market.events import Batch
from tetrio.sim.market.lines import first_line
from tetrio.sim.market.synthetic import EVENTS_PER_S, Synthetic

SYNTHETIC = "synthetic"


class Market(Protocol):
    """Something to trade on."""

    @property
    def kind(self) -> str:
        """synthetic, capture or klines."""

    @property
    def symbol(self) -> str:
        """Its one symbol."""

    @property
    def rules(self) -> SymbolRules:
        """What the exchange says of it."""

    @property
    def first_ns(self) -> int:
        """When it begins, ns since 1970."""

    @property
    def last_ns(self) -> int:
        """When it ends; 0 when it does not."""

    @property
    def first_trade_id(self) -> int:
        """Id of its first public trade."""

    @property
    def first_price_ticks(self) -> int:
        """Its first best bid or price, in ticks."""

    @property
    def streams(self) -> frozenset[str]:
        """Names of the streams whose events the batches hold, such as "ethusdt@bookTicker"."""

    @property
    def frames(self) -> int:
        """How much `batches` has consumed: lines of a capture (skipped ones too), klines, or generated events."""

    @property
    def frames_total(self) -> int:
        """All there are to consume; 0 when endless."""

    @property
    def skipped(self) -> int:
        """Lines of the whole file that are no stream frames."""

    def history(self, interval: str, limit: int) -> list[Candle]:
        """Candles that closed before `first_ns`, oldest first; none for a recording. KeyError for an unknown
        interval.
        """

    def batches(self) -> Iterator[Batch]:
        """The market, once from its beginning; times never go back."""


def open_market(
    source: str | Path,
    symbol: str | None = None,
    *,
    seed: int = 1,
    assets: tuple[str, str] | None = None,
    start_ns: int = 0,
    events_per_s: float = EVENTS_PER_S,
) -> Market:
    """A market to play.

    source     "synthetic", or the path of a recorded file: a capture or klines, gzipped or not
    symbol     None: the only one of a capture, that of the name of a klines file, ETHFDUSD of a synthetic market
    seed       of a synthetic market
    assets     (base, quote) where they cannot be told from the symbol
    start_ns   when a synthetic market begins, ns since 1970; 0 is the start of 2026
    events_per_s   how often something happens on a synthetic market, on average
    MarketError as interfaces.md says: no such file, no such symbol in it, malformed line (with its number), empty,
    cut off.
    """
    name = symbol.upper() if symbol else None
    if str(source) == SYNTHETIC:
        return Synthetic(random.Random(seed), name, assets, start_ns, events_per_s)  # noqa: S311  # a market, not a secret
    path = Path(source)
    head = first_line(path)
    if not head and not path.stat().st_size:
        raise MarketError(f"{path} is empty: no market to play")
    return KlineFile(path, name, assets) if is_klines(head) else Capture(path, name, assets)
