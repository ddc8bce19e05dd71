"""The quiet zone: the bids and asks at which the next pass of the kernel would leave everything as it is.

Computed after a pass, tested by `kernel.fold` on every observation: what makes a batch fast. It may be too small,
never too large: a bound is exact where the pass compares prices, and else keeps a margin (`trailing.above`, `below`).
What is not a matter of prices (a kline, holdings, a command) ends the zone, which the kernel sees to.
"""

from __future__ import annotations

import math

from tetrio.core import trailing
from tetrio.core.market import Regime
from tetrio.core.state import NOWHERE, State, Zone, gate_opens, scale_of


def quiet_zone(state: State) -> Zone:
    """Bounds within which the next observation leaves everything but `last` (and the forming close) as it is."""
    if state.stop_count:  # the next observation counts on, or starts over
        return NOWHERE
    if state.gate_closed and gate_opens(state):  # closed by this pass, with the close already beyond the mid
        return NOWHERE
    bid_above, bid_most, ask_least, ask_below = _same_regime(state)
    if state.anchor is not None and state.high is not None:
        if state.regime is Regime.BASE:
            bid_most = min(bid_most, state.high)
            bid_above = max(bid_above, *_events(state, state.anchor, state.high))
        else:
            ask_least = max(ask_least, state.high)
            ask_below = min(ask_below, *_events(state, state.anchor, state.high))
            if state.channel is not None and state.params.donchian_gain:
                ask_least = max(ask_least, trailing.above(state.channel.width))  # below it the least gain jumps
    if state.params.reference == "trade":
        lowest, highest = _same_kline(state)
        bid_most = min(bid_most, highest)
        ask_least = max(ask_least, lowest)
    return Zone(bid_above, bid_most, ask_least, ask_below)


def _same_regime(state: State) -> tuple[float, float, float, float]:
    """Bounds (as in Zone) within which `regime_of` gives the same."""
    rules, held = state.rules, state.holdings
    sellable_from = rules.min_notional / held.base if held.base > 0 and held.base >= rules.min_qty else math.inf
    if state.regime is Regime.BASE:
        return trailing.above(sellable_from), math.inf, -math.inf, math.inf
    bid_most = trailing.below(sellable_from)
    buyable_to = held.quote / rules.smallest if held.quote >= rules.min_notional and rules.smallest > 0 else -math.inf
    if state.regime is Regime.QUOTE:
        return -math.inf, bid_most, -math.inf, trailing.below(buyable_to)
    return -math.inf, bid_most, trailing.above(buyable_to), math.inf


def _events(state: State, anchor: float, high: float) -> list[float]:
    """Prices at which the hard stop or a take-profit comes into play, moved a little towards the market."""
    regime, params = state.regime, state.params
    assert regime is not None, "there is an anchor"
    if state.gate_closed:
        return [-math.inf if regime is Regime.BASE else math.inf]
    prices = [trailing.stop_price(params, regime, anchor)]
    if state.maker is None and not state.paused:
        width = state.channel.width if state.channel else None
        arms = trailing.arm_price(params, regime, width, scale_of(state, regime, anchor), anchor, high)
        if arms is not None:
            prices.append(arms)
    move = trailing.above if regime is Regime.BASE else trailing.below
    return [move(price) for price in prices]


def _same_kline(state: State) -> tuple[float, float]:
    """Trades as observations: prices (inclusive) that leave range, channel and gate as they are."""
    forming, channel = state.forming, state.channel
    if forming is None:
        return -math.inf, math.inf
    lowest, highest = forming.low, forming.high
    if not state.params.donchian_shift:  # the forming close is in the channel: it must not be its bound, nor become it
        others = state.indicators.donchian.finished()
        if others is None or not others.lower <= forming.close <= others.upper:
            return math.inf, -math.inf
        lowest, highest = max(lowest, others.lower), min(highest, others.upper)
    if state.gate_closed and channel is not None:
        if state.gate_regime is Regime.BASE:
            highest = min(highest, channel.mid)
        else:
            lowest = max(lowest, channel.mid)
    return lowest, highest
