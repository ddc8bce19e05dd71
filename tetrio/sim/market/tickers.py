"""Statistics of a window: the last 24 hours, a trading day, any rolling window; as streams and answers tell them.

A window begins on a whole minute, at or before the moment that it is named by. Where nobody has traded in it, its
prices are the last one known and its amounts nothing. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal

import attrs

from tetrio.core.money import SymbolRules, to_text
from tetrio.sim.market.candles import Candle, Candles, open_of

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
STREAM_WINDOWS: Mapping[str, int] = {"1h": HOUR_MS, "4h": 4 * HOUR_MS, "1d": DAY_MS}
"""Of the `ticker_<w>` streams."""
_WINDOW = re.compile(r"(?:([1-9]|[1-5][0-9])m|([1-9]|1[0-9]|2[0-3])h|([1-7])d)", re.ASCII)


def window_ms(text: str) -> int:
    """`windowSize` in ms: 1m to 59m, 1h to 23h, 1d to 7d; ValueError for anything else."""
    found = _WINDOW.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no window")
    minutes, hours, days = (int(part or 0) for part in found.groups())
    return minutes * MINUTE_MS + hours * HOUR_MS + days * DAY_MS


@attrs.frozen
class Window:
    """What happened from `open_ms` to `close_ms`."""

    rules: SymbolRules
    held: Candle
    open_ms: int
    close_ms: int
    before: int
    """Price of the last trade before it, ticks; its own first price where none is known."""

    def full(self) -> dict[str, str]:
        """What FULL tells beyond MINI, by its name."""
        held, rules = self.held, self.rules
        change = held.close - held.open
        return {
            "priceChange": rules.price_text(change),
            "priceChangePercent": _percent(change, held.open),
            "weightedAvgPrice": _mean(held, rules.tick_size),
        }

    def prices(self) -> dict[str, str]:
        """Open, high, low, last, by their names."""
        text, held = self.rules.price_text, self.held
        return {
            "openPrice": text(held.open),
            "highPrice": text(held.high),
            "lowPrice": text(held.low),
            "lastPrice": text(held.close),
        }

    def amounts(self) -> dict[str, object]:
        """Volumes, times, ids and count, by their names: how every ticker ends."""
        held = self.held
        return {
            "volume": self.rules.qty_text(held.volume),
            "quoteVolume": to_text(held.quote_volume, self.rules.tick_lot),
            "openTime": self.open_ms,
            "closeTime": self.close_ms,
            "firstId": held.first_id,
            "lastId": held.last_id,
            "count": held.trades,
        }

    def body(self, *, mini: bool) -> dict[str, object]:
        """Result of ticker and ticker.tradingDay; `mini` is also that of ticker.24hr."""
        head: dict[str, object] = {"symbol": self.rules.name}
        return head | ({} if mini else self.full()) | self.prices() | self.amounts()

    def streamed(self) -> dict[str, object]:
        """Members of `<s>@ticker_<w>` after E and s."""
        full, prices = self.full(), self.prices()
        return {
            "p": full["priceChange"],
            "P": full["priceChangePercent"],
            "o": prices["openPrice"],
            "h": prices["highPrice"],
            "l": prices["lowPrice"],
            "c": prices["lastPrice"],
            "w": full["weightedAvgPrice"],
            **_short(self.amounts()),
        }


@attrs.frozen
class Day(Window):
    """The last 24 hours, with the last trade and the best prices."""

    last_qty: int
    """Lots; 0 before any trade."""
    quote: tuple[int, int, int, int]
    """Best bid, its lots, best ask, its lots."""

    def day_body(self) -> dict[str, object]:
        """Result of ticker.24hr, FULL."""
        prices = self.prices()
        last = prices.pop("lastPrice")
        bid, bid_qty, ask, ask_qty = self._quote()
        return {
            "symbol": self.rules.name,
            **self.full(),
            "prevClosePrice": self.rules.price_text(self.before),
            "lastPrice": last,
            "lastQty": self.rules.qty_text(self.last_qty),
            "bidPrice": bid,
            "bidQty": bid_qty,
            "askPrice": ask,
            "askQty": ask_qty,
            **prices,
            **self.amounts(),
        }

    def day_streamed(self) -> dict[str, object]:
        """Members of `<s>@ticker` after E and s."""
        full, prices = self.full(), self.prices()
        bid, bid_qty, ask, ask_qty = self._quote()
        return {
            "p": full["priceChange"],
            "P": full["priceChangePercent"],
            "w": full["weightedAvgPrice"],
            "x": self.rules.price_text(self.before),
            "c": prices["lastPrice"],
            "Q": self.rules.qty_text(self.last_qty),
            "b": bid,
            "B": bid_qty,
            "a": ask,
            "A": ask_qty,
            "o": prices["openPrice"],
            "h": prices["highPrice"],
            "l": prices["lowPrice"],
            **_short(self.amounts()),
        }

    def _quote(self) -> tuple[str, str, str, str]:
        bid, bid_qty, ask, ask_qty = self.quote
        price, qty = self.rules.price_text, self.rules.qty_text
        return price(bid), qty(bid_qty), price(ask), qty(ask_qty)


def held_since(candles: Candles, start_ms: int, now_ms: int) -> tuple[Candle, int]:
    """(what traded since the minute that holds `start_ms`, price before it), with prices even where nobody traded."""
    held, before = candles.window(start_ms)
    if held is None:
        price = before or candles.last_price
        held = Candle(open_of("1m", start_ms), now_ms, price, price, price, price)
    return held, before or held.open


def rolling(candles: Candles, rules: SymbolRules, length_ms: int, now_ms: int) -> Window:
    """The last `length_ms`; its `open_ms` is on a whole minute."""
    open_ms = open_of("1m", now_ms - length_ms)
    held, before = held_since(candles, open_ms, now_ms)
    return Window(rules, held, open_ms, now_ms, before)


def trading_day(candles: Candles, rules: SymbolRules, zone_ms: int, now_ms: int) -> Window:
    """Today, in a zone whose clocks are `zone_ms` ahead of UTC; it closes when the day does."""
    open_ms = open_of("1d", now_ms, zone_ms)
    held, before = held_since(candles, open_ms, now_ms)
    return Window(rules, held, open_ms, open_ms + DAY_MS - 1, before)


def last_day(
    candles: Candles, rules: SymbolRules, now_ms: int, *, last_qty: int, quote: tuple[int, int, int, int]
) -> Day:
    """The last 24 hours."""
    open_ms = now_ms - DAY_MS
    held, before = held_since(candles, open_ms, now_ms)
    return Day(rules, held, open_ms, now_ms, before, last_qty, quote)


def _percent(change: int, opened: int) -> str:
    """Three decimals."""
    return f"{(Decimal(100 * change) / (opened or 1)).quantize(Decimal('0.001'), ROUND_HALF_UP):f}"


def _mean(held: Candle, tick: Decimal) -> str:
    """Volume-weighted, 8 decimals."""
    mean = Decimal(held.quote_volume) / (held.volume or 1) * tick
    return f"{mean.quantize(Decimal('1e-8'), ROUND_DOWN):f}"


def _short(amounts: Mapping[str, object]) -> dict[str, object]:
    """Names of the streams; the same order."""
    return dict(zip("vqOCFLn", amounts.values(), strict=True))
