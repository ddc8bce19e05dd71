"""The stop that rests on the exchange while nothing else does: where it stands, and what it must not be.

It is for the hours in which nobody minds the base: a link that is down, a bot that has died. It stands where the hard
stop would fire, never lower: prices are rounded towards the market. Once the exchange has triggered it, it is the exit.
Here is only arithmetic; what is done about it is `core.orders.plan`'s to say.
"""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor

from tetrio.core.market import Protection, Regime
from tetrio.core.money import SymbolRules
from tetrio.core.params import ExitParams, StrategyParams
from tetrio.core.state import State

ORDER_TYPE = "STOP_LOSS_LIMIT"
_WHOLE_BPS = 10_000


def protection(state: State) -> Protection | None:
    """What the state asks for: None unless the base is held and nothing is armed.

    Behind a closed gate with the price beyond the stop there is none either: it would sell at once what the operator
    has taken back by a forced disarm.
    """
    if state.regime is not Regime.BASE or state.armed or state.anchor is None:
        return None
    stop = stop_ticks(state.anchor, state.params.hard_stop)
    if state.gate_closed and (state.last is None or state.last.bid <= stop):
        return None
    return Protection(stop, state.episode + 1)


def stop_ticks(anchor: float, hard_stop: float) -> int:
    """The price (ticks) of the hard stop, rounded up: the exchange's stop is never the looser one."""
    return max(1, ceil(Fraction(anchor) * (1 - Fraction(str(hard_stop)))))


def limit_ticks(stop: int, max_slippage_bps: float) -> int:
    """The worst price (ticks) that a triggered stop may sell at."""
    return max(1, ceil(stop * (1 - Fraction(str(max_slippage_bps)) / _WHOLE_BPS)))


def trail_bps(hard_stop: float, rules: SymbolRules) -> int:
    """The exchange's trailing delta for this hard stop: rounded down, and as near as the symbol's filter lets it be."""
    wanted = floor(Fraction(str(hard_stop)) * _WHOLE_BPS)
    return max(rules.min_trailing_bps, min(wanted, rules.max_trailing_bps), 1)


def objection(params: ExitParams, strategy: StrategyParams, rules: SymbolRules) -> str | None:
    """Why this symbol cannot have what [exit] asks for, and what to set instead; None when it can."""
    if params.protect == "off":
        return None
    other = "set exit.protect = off, or choose another symbol"
    if ORDER_TYPE not in rules.order_types:
        return f"exit.protect = {params.protect}: {rules.name} takes no {ORDER_TYPE} orders; {other}"
    if params.protect == "trailing":
        if not rules.trailing_allowed:
            return f"exit.protect = trailing: {rules.name} takes no trailing stops; set exit.protect = stop"
        wanted, given = strategy.hard_stop * _WHOLE_BPS, trail_bps(strategy.hard_stop, rules)
        if given > wanted:
            return (
                f"exit.protect = trailing: {rules.name} takes no trailing stop nearer than {rules.min_trailing_bps} "
                f"basis points, and strategy.hard_stop is {wanted:g}; set exit.protect = stop"
            )
    return None
