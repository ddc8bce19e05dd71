"""Quotes folded a second, beside a plain loop over the same few scalars.

    python -m tests.bench.fold [CAPTURE.gz ...]

Each market is folded whole, in batches as a drained channel gives them, with a kline frame every 50 quotes (every
batch, if batches are larger).
"""

# Last: Python 3.11, one of two shared cores, million quotes a second (ratio to the plain loop):
#   random walk, BASE, book      batches of 5: 2.7 (0.50)    of 100: 5.1 (0.91)    of 10,000: 10.5 (1.73)
#   capture of 2024-08-09        batches of 5: 2.6 (0.46)    of 100: 5.8 (1.01)    of 10,000: 9.2 (1.61)

from __future__ import annotations

import gzip
import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tetrio.core import kernel
from tetrio.core.market import Holdings, Kline, Quote
from tetrio.core.params import StrategyParams

RULES = kernel.KernelRules(min_qty=1, step=1, min_notional=5_000_000)
HISTORY_MS = 60_000


def random_walk(count: int, *, up: float = 0.5, seed: int = 1) -> list[Quote]:
    """Best bid/ask of a market that moves by a tick half of the time; `up`: how often upwards."""
    chance, bid, quotes = random.Random(seed), 250_000, []
    for at in range(count):
        if chance.random() < 0.5:
            bid += 1 if chance.random() < up else -1
        quotes.append(Quote(bid, bid + 1, at, at))
    return quotes


def captured(path: Path) -> list[Quote]:
    """The bookTickers of a recorded capture, in ticks of 0.01."""
    quotes = []
    with gzip.open(path, "rt") as lines:
        for line in lines:
            if "@bookTicker" in line:
                top = json.loads(line.split(" ", 1)[1])["data"]
                quotes.append(Quote(round(float(top["b"]) * 100), round(float(top["a"]) * 100), top["u"], 0))
    return quotes


def history(price: int) -> list[Kline]:
    """A quiet hour before the first quote."""
    chance = random.Random(2)
    closes = [price + chance.randint(-300, 300) for _ in range(60)]
    return [Kline(at * HISTORY_MS, close, close + 20, close - 20, close, True) for at, close in enumerate(closes)]


def plain_loop(quotes: Sequence[Quote], _: int) -> None:
    """The measure: a running high, a drawdown and a loss, nothing decided."""
    anchor = high = quotes[0].bid
    callback, stop, low = 0.001, 0.005, 10**9
    for quote in quotes:
        bid = quote.bid
        high = max(high, bid)
        if (high - bid) / anchor >= callback and quote.ask < low:
            low = quote.ask
        if 1 - bid / anchor >= stop:
            high = bid


def folding(params: StrategyParams, holdings: Holdings) -> Callable[[Sequence[Quote], int], None]:
    """Folds quotes in batches; between two batches the forming kline changes every 50 quotes at most."""

    def run(quotes: Sequence[Quote], batch: int) -> None:
        state = kernel.on_holdings(kernel.start(params, RULES, history(quotes[0].bid)), holdings)
        for at in range(0, len(quotes), batch):
            part = quotes[at : at + batch]
            if at % max(batch, 50) == 0:
                close = part[0].bid
                state = kernel.on_kline(state, Kline((60 + at // 12_000) * HISTORY_MS, close, close, close, close))
            state, _ = kernel.fold(state, part)

    return run


def rate(run: Callable[[Sequence[Quote], int], None], quotes: Sequence[Quote], batch: int) -> float:
    """Quotes a second, the best of three."""
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        run(quotes, batch)
        best = min(best, time.perf_counter() - began)
    return len(quotes) / best


def main(paths: Sequence[str]) -> None:
    """Print a table."""
    markets = {
        "random walk": random_walk(300_000),
        "rising walk": random_walk(300_000, up=0.505),
        **{Path(path).name: captured(Path(path)) for path in paths},
    }
    book, trade = StrategyParams(fee=0.0, reference="book"), StrategyParams(fee=0.0, reference="trade")
    runs = {
        "plain loop": plain_loop,
        "BASE, book": folding(book, Holdings(base=10_000, quote=0)),
        "QUOTE, book": folding(book, Holdings(base=0, quote=2_500_000_000)),
        "BASE, trade": folding(trade, Holdings(base=10_000, quote=0)),
    }
    print(f"{'market':24} {'quotes':>8} {'batch':>6}  " + "  ".join(f"{name:>20}" for name in runs))
    for market, quotes in markets.items():
        for batch in (5, 100, 10_000):
            rates = [rate(run, quotes, batch) for run in runs.values()]
            cells = "  ".join(f"{each / 1e6:8.2f} M/s ({each / rates[0]:4.2f})" for each in rates)
            print(f"{market:24} {len(quotes):8,} {batch:6,}  {cells}")


if __name__ == "__main__":
    main(sys.argv[1:])
