"""What would have to happen for the next decision, in one sentence with the prices that would change the outcome.

Nothing is decided here. The prices are solved from the same functions that decide (`trailing`), then moved to the tick
on which the decision really changes: `levels` promises that the named tick does it and the tick before it does not.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import attrs

from tetrio.core import trailing
from tetrio.core.market import Reason, Regime
from tetrio.core.params import StrategyParams
from tetrio.core.state import Observation, View

Format = Callable[[float], str]

_EXITS = {Reason.TAKE_PROFIT: "take-profit", Reason.HARD_STOP: "hard stop", Reason.MANUAL: "operator's exit"}


@attrs.frozen(kw_only=True)
class Levels:
    """Prices (whole ticks: the bid in BASE, the ask in QUOTE) at which the next decisions fall."""

    first: float | None
    """The price that must be reached before any take-profit can be armed; None when the high is already enough."""
    arms: float | None
    """The price that arms one, after `first` where there is one; None when nothing can before the hard stop."""
    stop: float | None
    """The price at which the hard stop fires; None when it never can."""
    callback: float | None
    """How far `arms` is from the high that it is measured from, as a fraction of the anchor's value."""


def levels(view: View, params: StrategyParams, *, tick: float = 1) -> Levels:
    """Where the next decisions fall, holding BASE or QUOTE with the gate open; `tick` is the least step of a price."""
    rule = _Rule(view, params, tick)
    stop = rule.stop()
    now = rule.arms(rule.high)
    if now is not None:
        return Levels(first=None, arms=now, stop=stop, callback=rule.callback(rule.high))
    first = rule.least_high()
    if first is None:
        return Levels(first=None, arms=None, stop=stop, callback=None)
    return Levels(first=first, arms=rule.arms(first), stop=stop, callback=rule.callback(first))


def reopening(view: View, *, tick: float = 1) -> float | None:
    """The close (a whole tick) at which a closed gate opens, or beyond it; None while there is no channel."""
    grid, mid = _Grid(tick), view.mid
    if mid is None:
        return None
    if view.gate_regime is Regime.BASE:
        return grid.first_up(lambda close: close > mid, mid)
    return grid.first_down(lambda close: close < mid, mid)


def sentence(
    view: View, params: StrategyParams, quote: Observation | None, fmt: Format, *, tick: float = 1, halted: bool = False
) -> str:
    """What would have to happen for the next decision.

    view    `kernel.view` of the state; params are that state's
    quote   the last observation; None before the first
    fmt     writes a price in the kernel's unit; it is given whole ticks only
    tick    the least step of a price in that unit
    halted  nothing is sent: it is paused for that
    """
    if quote is None or view.regime is None:
        return "waits for the first price"
    if view.regime is Regime.FLAT:
        text = "holds less than the smallest order of either asset: nothing is traded until there is more"
        return f"{text}; {_gate(view, params, fmt, tick)}" if view.gate else text
    if view.reason is not None:
        return _armed(view, params, fmt, tick)
    if view.gate:
        return _gate(view, params, fmt, tick)
    idle = "halted, nothing is sent but cancels; without the halt: " if halted else ""
    idle = idle or ("paused, nothing new is armed; without the pause: " if view.paused else "")
    return idle + _open(view, params, fmt, tick)


def _armed(view: View, params: StrategyParams, fmt: Format, tick: float) -> str:
    assert view.reason is not None, "an exit is armed"
    doing = "selling" if view.regime is Regime.BASE else "buying"
    if view.taking:
        return f"{doing} at once (operator's flatten): takes what is there within the bound, once a second until done"
    text = f"{doing} ({_EXITS[view.reason]}); stays until filled"
    if view.gate:
        return f"{text}; {_gate(view, params, fmt, tick)}"
    if view.reason is Reason.TAKE_PROFIT and not view.paused:
        stop = levels(view, params, tick=tick).stop
        if stop is not None:
            ends = "takes over" if view.regime is Regime.BASE else "ends it"
            return f"{text}, unless the hard stop {ends} at {fmt(stop)}"
    return text


def _gate(view: View, params: StrategyParams, fmt: Format, tick: float) -> str:
    closed_in = view.gate_regime.value if view.gate_regime else "?"
    closed = f"the gate is closed since a hard stop in {closed_in}"
    close = reopening(view, tick=tick)
    if close is None:
        return f"{closed}; it re-opens by the channel, which has too few klines yet"
    way, side = ("at or above", "above") if view.gate_regime is Regime.BASE else ("at or below", "below")
    return (
        f"{closed}; it re-opens when a {params.kline_interval} close is {way} {fmt(close)} ({side} the channel's mid)"
    )


def _open(view: View, params: StrategyParams, fmt: Format, tick: float) -> str:
    at = levels(view, params, tick=tick)
    selling = view.regime is Regime.BASE
    price, falls, high = ("bid", "falls", "high") if selling else ("ask", "rises", "low")
    parts = []
    if at.arms is None:
        parts.append("no take-profit can be armed before the hard stop")
    elif at.first is None:
        assert at.callback is not None and view.high is not None, "there is a price that arms"
        turn = f"callback {_per_cent(at.callback)} from the {high} {fmt(view.high)}"
        parts.append(f"arms a take-profit if the {price} {falls} to {fmt(at.arms)} ({turn})")
    else:
        assert at.callback is not None and view.gain is not None and view.min_gain is not None, "not FLAT"
        rise = "rises" if selling else "falls"
        gains = f"gain {_per_cent(view.gain)}, more than {_per_cent(view.min_gain)} needed"
        then = f"if it then {falls} to {fmt(at.arms)} (callback {_per_cent(at.callback)})"
        parts.append(f"no take-profit until the {price} {rise} to {fmt(at.first)} ({gains}); armed {then}")
    if at.stop is not None:
        times = f" ({params.stop_confirm} observations in a row)" if params.stop_confirm > 1 else ""
        parts.append(f"hard stop at {fmt(at.stop)}{times}")
    return "; ".join(parts)


def _per_cent(fraction: float) -> str:
    return f"{100 * fraction:.2f} %" if fraction >= 0.001 else f"{100 * fraction:.3f} %"


# --- from the price that an equation gives to the tick that decides ------------------------------------------------


@attrs.frozen
class _Grid:
    """Prices as whole ticks."""

    tick: float

    def price(self, count: int) -> float:
        """The price of `count` ticks; freed of the float's last digits, so that it is the one that is quoted."""
        return count if self.tick == 1 else round(count * self.tick, 12)

    def first_up(self, holds: Callable[[float], bool], near: float) -> float:
        """The lowest price at which `holds`, which holds from some price upwards, close to `near`."""
        count = max(1, round(near / self.tick))
        while count > 1 and holds(self.price(count)):
            count -= 1
        while not holds(self.price(count)):
            count += 1
        return self.price(count)

    def first_down(self, holds: Callable[[float], bool], near: float) -> float | None:
        """The highest price at which `holds`, which holds from some price downwards, close to `near`.

        None when it would be below one tick.
        """
        count = max(1, round(near / self.tick))
        while holds(self.price(count)):
            count += 1
        while count and not holds(self.price(count)):
            count -= 1
        return self.price(count) if count else None


class _Rule:
    """The exit rule of one moment, asked in prices."""

    def __init__(self, view: View, params: StrategyParams, tick: float) -> None:
        assert view.regime in (Regime.BASE, Regime.QUOTE), "FLAT has no levels"
        assert view.anchor is not None and view.high is not None, "there was an observation"
        self.regime, self.anchor, self.high = view.regime, view.anchor, view.high
        self._params, self._scale, self._grid = params, view.scale, _Grid(tick)
        self._width = None if view.upper is None or view.lower is None else view.upper - view.lower
        # the direction in which value is lost
        self._toward_loss = self._grid.first_down if self.regime is Regime.BASE else self._grid.first_up

    def stop(self) -> float | None:
        """Where the hard stop fires."""
        near = trailing.stop_price(self._params, self.regime, self.anchor)
        if not 0 < near < math.inf:
            return None
        least = self._params.hard_stop
        return self._toward_loss(lambda price: trailing.loss(self.regime, self.anchor, price) >= least, near)

    def callback(self, high: float) -> float:
        """The callback while `high` stands."""
        gained = trailing.gain(self.regime, self.anchor, high)
        return gained * trailing.factor(self._params, self._scale, gained)

    def arms(self, high: float) -> float | None:
        """Where a take-profit is armed while `high` stands; None when it is not, or only beyond the hard stop."""
        params, regime, width, anchor = self._params, self.regime, self._width, self.anchor
        near = trailing.arm_price(params, regime, width, self._scale, anchor, high)
        if near is None or not 0 < near < math.inf:
            return None
        gained, callback = trailing.gain(regime, anchor, high), self.callback(high)

        def holds(price: float) -> bool:
            if trailing.drawdown(regime, anchor, high, price) < callback:
                return False
            return regime is Regime.BASE or gained > trailing.least_gain(params, regime, width, anchor, price)

        tick = self._toward_loss(holds, near)
        return None if tick is None or trailing.loss(regime, anchor, tick) >= params.hard_stop else tick

    def least_high(self) -> float | None:
        """The high nearest to the anchor from which a take-profit can be armed at all; None when there is none."""
        return self._lowest_bid() if self.regime is Regime.BASE else self._highest_ask()

    def _lowest_bid(self) -> float:
        least = trailing.least_gain(self._params, self.regime, self._width, self.anchor, self.anchor)
        near = self.anchor * (1 + least)
        return self._grid.first_up(lambda bid: trailing.gain(Regime.BASE, self.anchor, bid) > least, near)

    def _highest_ask(self) -> float | None:
        """The channel's part depends on where the ask then is, so there is no formula: halve the range of ticks."""
        grid, static = self._grid, trailing.static_gain(self._params, self.regime)
        nearest = grid.first_down(
            lambda ask: trailing.gain(Regime.QUOTE, self.anchor, ask) > static, self.anchor / (1 + static)
        )
        if nearest is None or self.arms(nearest) is not None:
            return nearest
        enough, short = 1, round(nearest / grid.tick)
        if self.arms(grid.price(enough)) is None:
            return None
        while short - enough > 1:
            middle = (enough + short) // 2
            if self.arms(grid.price(middle)) is None:
                short = middle
            else:
                enough = middle
        return grid.price(enough)
