"""What the kernel remembers, and what can be read off it: regime, figures, the wish, the view.

No decision is made here (`kernel` does), nothing is changed. Amounts are in whatever consistent units the caller of the
kernel chose: ticks, lots and tick-lots on the live path.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import attrs
import msgspec

from tetrio.core import trailing
from tetrio.core.indicators import Atr, Channel, Donchian
from tetrio.core.market import Holdings, Kline, Reason, Regime, Side, Want
from tetrio.core.money import SymbolRules
from tetrio.core.params import StrategyParams


class Observation(Protocol):
    """What is folded: a `Quote`, or anything with a bid and an ask (one public trade: its price stands for both)."""

    @property
    def bid(self) -> float: ...  # noqa: D102
    @property
    def ask(self) -> float: ...  # noqa: D102
    @property
    def at_ns(self) -> int: ...  # noqa: D102


@attrs.frozen(kw_only=True)
class KernelRules:
    """The symbol's limits, in the caller's units; they decide which asset can be sold."""

    min_qty: float
    """Smallest quantity of an order."""
    step: float
    """Quantities are whole multiples of this."""
    min_notional: float
    """Smallest price times quantity."""
    smallest: float = attrs.field(init=False)
    """The smallest multiple of `step` that is not below `min_qty`."""

    @classmethod
    def of(cls, rules: SymbolRules) -> KernelRules:
        """The rules in ticks, lots and tick-lots."""
        return cls(min_qty=max(rules.min_qty_lots, 1), step=1, min_notional=rules.min_notional_tick_lots)

    @smallest.default
    def _smallest(self) -> float:
        if isinstance(self.min_qty, int) and isinstance(self.step, int):
            return -(-self.min_qty // self.step) * self.step
        return math.ceil(self.min_qty / self.step - 1e-9) * self.step


@attrs.frozen
class Indicators:
    """The indicators over finished klines."""

    donchian: Donchian
    atr: Atr

    def push(self, kline: Kline) -> Indicators:
        """One more kline has finished."""
        return Indicators(self.donchian.push(kline.close), self.atr.push(kline))


class Zone(NamedTuple):
    """Where nothing can happen: bid_above < bid <= bid_most and ask_least <= ask < ask_below."""

    bid_above: float
    bid_most: float
    ask_least: float
    ask_below: float


NOWHERE = Zone(math.inf, -math.inf, math.inf, -math.inf)


class State(msgspec.Struct, kw_only=True):
    """All that the kernel remembers. Read it freely; only the functions of `kernel` change one, and they copy first."""

    params: StrategyParams
    rules: KernelRules
    regime: Regime | None = None
    """None before the first observation."""
    anchor: float | None = None
    """Price; None in FLAT and before the first observation."""
    high: float | None = None
    """The best price since the anchor was set: the highest bid in BASE, the lowest ask in QUOTE."""
    gate_closed: bool = False
    gate_regime: Regime | None = None
    """The regime in which the gate closed; None while it is open."""
    maker: Reason | None = None
    """TAKE_PROFIT or MANUAL while such an exit is armed."""
    hard_stop: bool = False
    """A hard-stop exit is armed (in BASE only)."""
    taking: bool = False
    """The operator said flatten: what is armed takes."""
    stop_count: int = 0
    """Observations in a row beyond the hard stop."""
    stopped_ns: int = 0
    """Time of the observation that armed the hard stop; 0 before one, and where nobody told the time."""
    stopped_at: float = 0.0
    """The price at which it fired; 0 before one."""
    episode: int = 0
    """Number of the last episode; 0 before the first."""
    paused: bool = False
    found: tuple[Reason, Side] | None = None
    """An open exit to be adopted once the regime is known."""
    holdings: Holdings = Holdings(base=0, quote=0)
    indicators: Indicators
    """Over every finished kline."""
    indicators_before: Indicators
    """The same without the newest finished kline, which a late frame may still correct."""
    finished: Kline | None = None
    """The newest finished kline."""
    forming: Kline | None = None
    channel: Channel | None = None
    last: Observation | None = None
    zone: Zone = NOWHERE

    @property
    def take_profit(self) -> bool:
        """A take-profit exit is armed."""
        return self.maker is Reason.TAKE_PROFIT

    @property
    def manual(self) -> bool:
        """The operator's exit is armed."""
        return self.maker is Reason.MANUAL

    @property
    def armed(self) -> bool:
        """Any exit is armed."""
        return self.hard_stop or self.maker is not None


@attrs.frozen(kw_only=True)
class View:
    """What a person, the journal and `tetrio explain` are shown: prices in the caller's unit, the rest fractions."""

    regime: Regime | None
    gate: bool
    """True: closed."""
    gate_regime: Regime | None
    maker_exit: bool
    """A take-profit or manual exit is armed."""
    hard_stop: bool
    reason: Reason | None
    """Of the armed exit."""
    taking: bool
    """It takes: the operator said flatten."""
    episode: int
    paused: bool
    stop_count: int
    anchor: float | None
    high: float | None
    gain: float | None
    drawdown: float | None
    loss: float | None
    factor: float | None
    callback: float | None
    min_gain: float | None
    scale: float | None
    """The gain scale as a fraction, ATR resolved."""
    upper: float | None
    lower: float | None
    mid: float | None


def regime_of(holdings: Holdings, rules: KernelRules, bid: float, ask: float) -> Regime:
    """What the holdings allow: sell the base; else sell the quote; else nothing. No hysteresis."""
    if holdings.base >= rules.min_qty and holdings.base * bid >= rules.min_notional:
        return Regime.BASE
    if holdings.quote >= rules.min_notional and holdings.quote >= _price_of_smallest(rules, ask):
        return Regime.QUOTE
    return Regime.FLAT


def _price_of_smallest(rules: KernelRules, ask: float) -> float:
    """The quote needed for the smallest quantity; the floats of `explain` get a last-digit allowance."""
    cost = rules.smallest * ask
    return cost if isinstance(cost, int) else cost * (1 - 1e-12)


def gate_opens(state: State) -> bool:
    """Whether the forming close opens a closed gate; never while there is no channel."""
    if state.channel is None or state.forming is None:
        return False
    close, mid = state.forming.close, state.channel.mid
    return close > mid if state.gate_regime is Regime.BASE else close < mid


@attrs.frozen
class Figures:
    """The numbers of one pass, all fractions."""

    gain: float
    drawdown: float
    loss: float
    scale: float | None
    factor: float
    callback: float
    min_gain: float


def figures_of(state: State) -> Figures | None:
    """The numbers at the last observation; None in FLAT and before the first."""
    regime, anchor, high, last = state.regime, state.anchor, state.high, state.last
    if anchor is None or high is None or last is None or regime not in (Regime.BASE, Regime.QUOTE):
        return None
    price = last.bid if regime is Regime.BASE else last.ask
    gained = trailing.gain(regime, anchor, high)
    scale = scale_of(state, regime, anchor)
    share = trailing.factor(state.params, scale, gained)
    width = state.channel.width if state.channel else None
    return Figures(
        gained,
        trailing.drawdown(regime, anchor, high, price),
        trailing.loss(regime, anchor, price),
        scale,
        share,
        gained * share,
        trailing.least_gain(state.params, regime, width, anchor, last.ask),
    )


def scale_of(state: State, regime: Regime, anchor: float) -> float | None:
    """The gain scale as a fraction; None while it is a multiple of an ATR that does not exist yet."""
    return trailing.resolved_scale(trailing.gain_scale(state.params, regime), state.indicators.atr.value, anchor)


def want(state: State) -> Want | None:
    """What should be resting now. Of two armed exits the hard stop gives the reason, a flatten is the operator's."""
    if not state.armed or state.regime not in (Regime.BASE, Regime.QUOTE):
        return None
    reason = Reason.HARD_STOP if state.hard_stop and not state.taking else state.maker
    assert reason is not None, "something is armed"
    side = Side.SELL if state.regime is Regime.BASE else Side.BUY
    if reason is not Reason.HARD_STOP:
        return Want(side, reason, state.episode, state.taking)
    return Want(side, reason, state.episode, state.taking, since_ns=state.stopped_ns, stop=state.stopped_at)


def view(state: State) -> View:
    """The state as numbers to show, at the last observation."""
    figures = figures_of(state)
    wanted = want(state)
    channel = state.channel
    return View(
        regime=state.regime,
        gate=state.gate_closed,
        gate_regime=state.gate_regime,
        maker_exit=state.maker is not None,
        hard_stop=state.hard_stop,
        reason=wanted.reason if wanted else None,
        taking=state.taking,
        episode=state.episode,
        paused=state.paused,
        stop_count=state.stop_count,
        anchor=state.anchor,
        high=state.high,
        gain=figures.gain if figures else None,
        drawdown=figures.drawdown if figures else None,
        loss=figures.loss if figures else None,
        factor=figures.factor if figures else None,
        callback=figures.callback if figures else None,
        min_gain=figures.min_gain if figures else None,
        scale=figures.scale if figures else None,
        upper=channel.upper if channel else None,
        lower=channel.lower if channel else None,
        mid=channel.mid if channel else None,
    )


def remembered(state: State) -> tuple[object, ...]:
    """All that decides from here on, for comparing two states of the same past: equal where they will act alike.

    First the last price, which a fold by candles may know only at the end. Left out is what tells processes apart (the
    number of the episode) and what follows from the rest (the quiet zone). An average true range that forgets nothing
    remembers when it began: it is equal to nine digits.
    """
    atr = state.indicators.atr.value
    forming, finished = (
        None if kline is None else (kline.open_ms, kline.open, kline.high, kline.low, kline.close)
        for kline in (state.forming, state.finished)
    )
    return (
        None if state.last is None else state.last.bid,
        state.regime, state.anchor, state.high, state.gate_closed, state.gate_regime, state.maker, state.hard_stop,
        state.taking, state.stop_count, state.paused, state.found, state.holdings, forming,
        None if finished is None else finished[0:1] + finished[4:], state.channel,
        None if atr is None else f"{atr:.9g}",
    )  # fmt: skip
