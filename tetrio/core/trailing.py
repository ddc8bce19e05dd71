"""The exit rule in numbers: value, gain, drawdown, loss, callback, least gain. Scale-free; no state, no decisions.

Value is measured in the other asset: holding the base, in quote units at the bid; holding the quote, in base units at
the ask. Anchor and high are kept as prices, so holding the quote the "high" is the *lowest* ask:

    BASE    gain = high/anchor - 1     drawdown = (high - bid)/anchor             loss = 1 - bid/anchor
    QUOTE   gain = anchor/low - 1      drawdown = anchor (1/low - 1/ask)          loss = 1 - anchor/ask

They are written below with the subtraction first: on whole ticks it is exact, so that a price that lies exactly on a
threshold is treated as lying on it. Every function takes the regime; FLAT has no value and is never passed.

The second half asks the reverse: at which price would the next decision fall? A float's error there could put it on
the wrong side of a tick, so whoever relies on such a price (the kernel's quiet zone) keeps away from it by `below` and
`above`: a margin of 1e-9, far more than rounding, far less than a tick.
"""

from __future__ import annotations

import math

from tetrio.core.market import Regime
from tetrio.core.params import GainScale, StrategyParams

_MARGIN = 1e-9


def gain(regime: Regime, anchor: float, high: float) -> float:
    """Best value since the anchor was set, as a fraction above it; never negative."""
    return (high - anchor) / anchor if regime is Regime.BASE else (anchor - high) / high


def drawdown(regime: Regime, anchor: float, high: float, price: float) -> float:
    """How far value has come down from its best, as a fraction of the anchor's value."""
    if regime is Regime.BASE:
        return (high - price) / anchor
    return anchor * (price - high) / (high * price)


def loss(regime: Regime, anchor: float, price: float) -> float:
    """How far value is below the anchor's, as a fraction of that; negative when it is above."""
    return (anchor - price) / anchor if regime is Regime.BASE else (price - anchor) / price


def better(regime: Regime, price: float, high: float) -> bool:
    """Whether `price` gives more value than the best so far."""
    return price > high if regime is Regime.BASE else price < high


def gain_scale(params: StrategyParams, regime: Regime) -> GainScale:
    """The gain scale that holds in `regime`."""
    return params.gain_scale_base if regime is Regime.BASE else params.gain_scale_quote


def resolved_scale(scale: GainScale, atr: float | None, anchor: float) -> float | None:
    """The scale as a fraction; None when it is a multiple of an ATR that does not exist yet.

    ATR/price is taken at the anchor: gain is a fraction of the anchor, and so the factor depends on the gain alone.
    """
    if not scale.in_atr:
        return scale.value
    return None if atr is None else scale.value * atr / anchor


def factor(params: StrategyParams, scale: float | None, gained: float) -> float:
    """The share of the gain that may be given back; narrows from `start_factor` as the gain grows."""
    steps = 0.0
    if scale is not None and gained > 0:
        steps = gained / scale if scale else math.inf
    if params.decay == "exponential":
        return params.min_factor + (params.start_factor - params.min_factor) * math.exp(-steps)
    return max(params.min_factor, params.start_factor / (1 + steps))


def static_gain(params: StrategyParams, regime: Regime) -> float:
    """The part of the least gain that no price moves: max(min_gain, fee + buffer). A fee still "auto" counts as 0."""
    least = params.min_gain_base if regime is Regime.BASE else params.min_gain_quote
    return max(least, (params.fee or 0.0) + params.buffer)


def donchian_gain(params: StrategyParams, regime: Regime, width: float | None, anchor: float, ask: float) -> float:
    """The part of the least gain that the channel asks for; 0 while there is no channel."""
    if width is None:
        return 0.0
    if regime is Regime.BASE:
        return width * params.donchian_gain / anchor
    if ask <= width:
        return 0.0
    return width * params.donchian_gain * anchor / (ask * (ask - width))


def least_gain(params: StrategyParams, regime: Regime, width: float | None, anchor: float, ask: float) -> float:
    """The gain that must be exceeded before a take-profit can be armed."""
    return max(static_gain(params, regime), donchian_gain(params, regime, width, anchor, ask))


# --- the reverse: prices at which the next decision would fall ---------------------------------------------------


def stop_price(params: StrategyParams, regime: Regime, anchor: float) -> float:
    """The price at which the loss reaches `hard_stop`; inf where it never can."""
    if regime is Regime.BASE:
        return anchor * (1 - params.hard_stop)
    return anchor / (1 - params.hard_stop) if params.hard_stop < 1 else math.inf


def callback_price(regime: Regime, anchor: float, high: float, callback: float) -> float:
    """The price at which the drawdown reaches `callback` (a fraction of the anchor's value)."""
    if regime is Regime.BASE:
        return high - callback * anchor
    kept = 1 / high - callback / anchor
    return 1 / kept if kept > 0 else math.inf


def donchian_price(params: StrategyParams, width: float | None, anchor: float, gained: float) -> float:
    """Holding the quote: the ask above which `gained` exceeds the channel's part (which falls as the ask rises)."""
    if width is None or not width or not params.donchian_gain:
        return 0.0
    if gained <= 0:
        return math.inf
    return (width + math.sqrt(width * width + 4 * width * params.donchian_gain * anchor / gained)) / 2


def arm_price(
    params: StrategyParams, regime: Regime, width: float | None, scale: float | None, anchor: float, high: float
) -> float | None:
    """The price at which a take-profit is armed while `high` stands; None when this high is not enough for one."""
    gained = gain(regime, anchor, high)
    if gained <= static_gain(params, regime):
        return None
    reached = callback_price(regime, anchor, high, gained * factor(params, scale, gained))
    if regime is Regime.BASE:
        return reached if gained > donchian_gain(params, regime, width, anchor, 0) else None
    if width is not None and reached <= width:  # the channel asks for nothing there
        return reached
    return max(reached, donchian_price(params, width, anchor, gained))


def below(price: float) -> float:
    """A little less than `price`, more than any rounding."""
    return price * (1 - _MARGIN)


def above(price: float) -> float:
    """A little more than `price`, more than any rounding."""
    return price * (1 + _MARGIN)
