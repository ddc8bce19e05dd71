"""A candle of the past taken whole: only where nothing can have been decided inside it, whatever way the price went.

Known of it are the lowest and the highest price, and its last. `take` answers for every way between them: it may say no
where nothing happened, never yes where something did; who is told no folds the trades one by one. A property test holds
the fold by candles equal to the fold by all trades.

Not asked here, since it is no matter of prices: whether the candle holds an own trade or a word of the operator's.
"""

from __future__ import annotations

from copy import copy

from tetrio.core import kernel, trailing
from tetrio.core.market import Kline, Quote, Regime
from tetrio.core.state import NOWHERE, State, regime_of, scale_of


def take(state: State, candle: Kline, length_ms: int) -> State | None:
    """`state` after all trades of `candle`, which holds some; None when something might have been decided inside it.

    The candle may be shorter than the kernel's klines, and then lies within one of them. `last` is its last price, with
    -1 for a trade id.
    """
    rolled = kernel.roll(state, candle.open_ms)
    if not _quiet(rolled, int(candle.low), int(candle.high)):
        return None
    new = copy(rolled)
    _into_kline(new, candle, begins=rolled.forming is not state.forming)
    close = int(candle.close)
    new.last = Quote(close, close, -1, (candle.open_ms + length_ms) * 1_000_000 - 1)
    best = candle.high if new.regime is Regime.BASE else candle.low
    if new.high is not None and new.regime is not None and trailing.better(new.regime, best, new.high):
        new.high = int(best)
    return new


def trace(state: State, candle: Kline) -> State:
    """`state` with the candle in its klines and nothing else: what came before the first observation."""
    rolled = kernel.roll(state, candle.open_ms)
    new = copy(rolled)
    _into_kline(new, candle, begins=rolled.forming is not state.forming)
    return new


def _into_kline(new: State, candle: Kline, *, begins: bool) -> None:
    """Make it part of the forming kline, or that kline where it is the first in it."""
    forming, length = new.forming, new.params.kline_ms
    first = candle if forming is None or begins else forming
    high, low = max(first.high, candle.high), min(first.low, candle.low)
    new.forming = Kline(candle.open_ms // length * length, first.open, high, low, candle.close)
    new.channel = new.indicators.donchian.channel(candle.close)
    new.zone = NOWHERE


def _quiet(state: State, low: int, high: int) -> bool:
    """Whether no order of prices from `low` to `high` makes a decision."""
    if state.regime is None or state.stop_count or state.found is not None:
        return False
    if any(regime_of(state.holdings, state.rules, price, price) is not state.regime for price in (low, high)):
        return False
    if state.gate_closed:
        return _stays_closed(state, low, high)
    if state.anchor is None or state.high is None:
        return True
    worst = low if state.regime is Regime.BASE else high
    if trailing.loss(state.regime, state.anchor, worst) >= state.params.hard_stop:
        return False
    return state.maker is not None or state.paused or not _may_arm(state, state.regime, low, high)


def _stays_closed(state: State, low: int, high: int) -> bool:
    """A closed gate opens by a close beyond the channel's mid; where the close is in the channel itself: not known."""
    if state.channel is None:
        return bool(state.params.donchian_shift)
    if not state.params.donchian_shift:
        return False
    return high <= state.channel.mid if state.gate_regime is Regime.BASE else low >= state.channel.mid


def _may_arm(state: State, regime: Regime, low: int, high: int) -> bool:
    """Whether a take-profit might be armed: the largest possible drawdown against the least possible callback.

    The channel's part of the least gain is left out, which makes it smaller: on the safe side.
    """
    anchor, before = state.anchor, state.high
    assert anchor is not None and before is not None, "not FLAT"
    best, worst = (high, low) if regime is Regime.BASE else (low, high)
    most = max(best, before) if regime is Regime.BASE else min(best, before)
    gained = trailing.gain(regime, anchor, most)
    static = trailing.static_gain(state.params, regime)
    if gained <= static:
        return False
    least = max(static, trailing.gain(regime, anchor, before))
    scale = scale_of(state, regime, anchor)
    share = min(trailing.factor(state.params, scale, least), trailing.factor(state.params, scale, gained))
    return trailing.drawdown(regime, anchor, most, worst) >= trailing.below(least * share)
