"""The parameter records: every number that a decision depends on, passed in, never imported.

Each field is made by `setting`, which keeps beside the default what a person needs to know (its meaning and unit) and
the range that is accepted. `tetrio.config` fills the records from files, environment and command line, checks the
ranges and prints the meanings; nothing else reads the metadata. Fractions, not per cent; units in the names.
"""

from __future__ import annotations

from typing import Any

import attrs

from tetrio.core.market import INTERVALS_MS


@attrs.frozen
class Limits:
    """The range that a setting accepts; None means unbounded on that side."""

    low: float | None = None
    high: float | None = None
    low_open: bool = False
    """True: `low` itself is refused."""
    choices: tuple[str, ...] = ()


def setting(
    default: Any,
    meaning: str,
    *,
    low: float | None = None,
    high: float | None = None,
    low_open: bool = False,
    choices: tuple[str, ...] = (),
) -> Any:
    """An attrs field with its meaning (unit included) and range in the metadata keys `meaning` and `limits`."""
    return attrs.field(default=default, metadata={"meaning": meaning, "limits": Limits(low, high, low_open, choices)})


@attrs.frozen
class GainScale:
    """How fast the callback narrows: a fraction of the price, or a multiple of ATR/price."""

    value: float
    in_atr: bool = False

    def __str__(self) -> str:
        return f"{self.value:g}atr" if self.in_atr else f"{self.value:g}"

    @classmethod
    def parse(cls, given: float | int | str) -> GainScale:
        """0.005 or "0.005" is a fraction, "1.5atr" a multiple of ATR/price; ValueError otherwise."""
        text = str(given).strip().lower()
        number = text.removesuffix("atr").strip()
        try:
            value = float(number)
        except ValueError:
            raise ValueError(f'{given!r} is neither a fraction such as 0.005 nor a multiple such as "1.5atr"') from None
        if not 0 < value < float("inf"):
            raise ValueError(f"{given!r} must be above 0 and finite")
        return cls(value, text.endswith("atr"))


@attrs.frozen(kw_only=True)
class StrategyParams:
    """[strategy]: what the kernel decides by."""

    decay: str = setting(
        "exponential", "how the callback factor narrows as the gain grows", choices=("exponential", "hyperbolic")
    )
    start_factor: float = setting(0.5, "callback as a fraction of the gain, while the gain is small", low=0, high=1)
    min_factor: float = setting(0.1, "callback as a fraction of the gain, when the gain is large", low=0, high=1)
    gain_scale_base: GainScale = setting(
        GainScale(0.005), 'gain at which the factor has narrowed, holding the base: a fraction, or "1.5atr"'
    )
    gain_scale_quote: GainScale = setting(
        GainScale(0.005), 'gain at which the factor has narrowed, holding the quote: a fraction, or "1.5atr"'
    )
    min_gain_base: float = setting(
        0.01, "least gain (fraction) that arms a take-profit, holding the base", low=0, high=1
    )
    min_gain_quote: float = setting(
        0.01, "least gain (fraction) that arms a take-profit, holding the quote", low=0, high=1
    )
    fee: float | None = setting(
        None, 'commission of one exit, a fraction, or "auto": the maker rate of the account', low=0, high=0.1
    )
    buffer: float = setting(0.002, "fraction added to the fee in the least gain", low=0, high=0.5)
    donchian_window: int = setting(40, "klines in the Donchian channel", low=1, high=10000)
    donchian_shift: int = setting(2, "klines by which the channel is shifted back", low=0, high=1000)
    donchian_gain: float = setting(0.5, "share of the channel's width that counts as least gain", low=0, high=10)
    hard_stop: float = setting(
        0.005, "loss (fraction of the anchor) at which the hard stop fires", low=0, high=1, low_open=True
    )
    stop_confirm: int = setting(1, "observations in a row beyond the hard stop before it fires", low=1, high=1000)
    kline_interval: str = setting(
        "1m",
        "length of one kline",
        choices=tuple(INTERVALS_MS),
    )
    kline_history: int = setting(1440, "klines kept, and asked for at the start", low=1, high=100000)
    reference: str = setting(
        "trade", "what is observed: every best bid/ask, or every public trade", choices=("book", "trade")
    )
    atr_period: int = setting(14, "klines in the average true range", low=1, high=10000)
    atr_method: str = setting("wilder", "how the true range is averaged", choices=("wilder", "ema", "sma"))

    @property
    def kline_ms(self) -> int:
        """Length of one kline, ms."""
        return INTERVALS_MS[self.kline_interval]


@attrs.frozen(kw_only=True)
class ExitParams:
    """[exit]: how a wanted exit is worked on the book."""

    chase: str = setting(
        "join",
        "where the exit rests: join the best price of our side, improve it by a tick, touch the other side, or let the "
        "exchange peg it to the best price of our side as it arrives",
        choices=("join", "improve", "touch", "peg"),
    )
    requote_ticks: int = setting(1, "ticks the target must have moved before the exit is re-quoted", low=1, high=100000)
    requote_ms: int = setting(250, "least time between two re-quotes, ms", low=0, high=600000)
    dust_after_s: float = setting(
        60.0, "how long a remnant too small to re-quote rests before it is cancelled, s", low=0
    )
    escalate_after_s: float = setting(
        20.0,
        "s that a hard-stop exit may wait as a maker before it takes, within max_slippage_bps; 0 is never",
        low=0,
        high=86400,
    )
    escalate_bps: float = setting(
        30.0, "basis points beyond the stop's price at which a hard-stop exit takes; 0 is never", low=0, high=10000
    )
    max_slippage_bps: float = setting(
        50.0, "bound of a taking exit from the best price, basis points", low=0, high=10000
    )
    protect: str = setting(
        "off",
        "a stop that rests on the exchange while the base is held, and sells as a taker even when tetrio is dead: off, "
        "stop (at the price of the hard stop) or trailing (the exchange's own, hard_stop below the best price)",
        choices=("off", "stop", "trailing"),
    )
    on_stop: str = setting("cancel", "what becomes of a resting exit when tetrio stops", choices=("cancel", "leave"))


@attrs.frozen(kw_only=True)
class RiskParams:
    """[risk]: guards around everything else."""

    max_daily_loss: float = setting(
        0.0, "loss (fraction of the sleeve's value) since 00:00 UTC that halts; 0 is off", low=0, high=1
    )
    max_drawdown: float = setting(
        0.0, "loss (fraction) from the sleeve's best value of 24 h and since that halts; 0 is off", low=0, high=1
    )
    max_orders_per_day: int = setting(
        20000,
        "orders (re-quotes included) sent since 00:00 UTC before tetrio sends no more; a fifth is kept for stops",
        low=1,
    )
    max_clock_offset_ms: int = setting(
        1000, "largest difference to the exchange's clock that is corrected rather than refused, ms", low=0
    )
