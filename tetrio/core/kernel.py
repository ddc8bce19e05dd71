"""The strategy kernel: (State, observation | kline | holdings | command) -> State, decisions, and what is wanted.

It decides *that* an exit is wanted and why; it does not price or size an order, and knows no balance's history. The
caller gives every amount in one consistent system of units: whole ticks, lots and tick-lots on the live path, plain
floats in `tetrio explain`. Nothing but an observation makes a decision: klines and holdings are taken in and wait for
the next one. One observation is one pass (`_decide`), always in the same order:

    1 kline and channel   2 regime   3 open the gate   4 change of regime   5 high   6 hard stop   7 take-profit

Most observations change nothing, so a batch is fast: after each pass the kernel computes a *quiet zone*, bid and ask
bounds within which the next pass would come to the same state. `fold` tests only those bounds until a price leaves
them. The zone may be too small, never too large; `one_pass` is the plain pass, and a property test holds them equal.

With `reference = "trade"` an observation is a public trade, and the kernel makes its klines itself, of nothing but the
trades that it folds: one whose time lies past the end of the forming kline finishes it (its close is the trade before),
and as many flat ones as nobody traded in, and begins the next. What arrives when has no part in it.

A `State` is a value: every function here copies before it changes, and an old state can be kept and folded on.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Sequence
from copy import copy

import attrs
import msgspec

from tetrio.core import trailing
from tetrio.core.indicators import Atr, Donchian
from tetrio.core.market import Holdings, Kline, Reason, Regime, Side
from tetrio.core.params import StrategyParams
from tetrio.core.quiet import quiet_zone
from tetrio.core.state import (
    NOWHERE,
    Indicators,
    KernelRules,
    Observation,
    State,
    View,
    figures_of,
    gate_opens,
    regime_of,
    scale_of,
    view,
    want,
)

__all__ = [
    "Command",
    "Decision",
    "Fact",
    "KernelRules",
    "Observation",
    "State",
    "View",
    "Word",
    "adopt",
    "fold",
    "on_command",
    "on_holdings",
    "on_kline",
    "one_pass",
    "regime_of",
    "roll",
    "start",
    "view",
    "want",
    "with_params",
]

Fact = float | int | str | bool | None
MOST_FLAT = 20_000  # klines without a trade that are made one by one: more than any window and history


class Word(enum.Enum):
    """The operator's words that the kernel obeys."""

    EXIT = "exit"
    FLATTEN = "flatten"
    DISARM = "disarm"
    PAUSE = "pause"
    RESUME = "resume"
    STOPPED = "stopped"
    """Not the operator's: the exchange says that the price of the hard stop was reached."""


@attrs.frozen
class Command:
    """One word of the operator."""

    word: Word
    force: bool = False
    """DISARM: a hard stop too."""
    leaving: Regime | None = None
    """EXIT, FLATTEN: the regime that the operator saw; in another one they do nothing. None: whichever it is."""


@attrs.frozen
class Decision:
    """Something was decided; `facts` are the numbers that made it."""

    kind: str
    """regime, gate, armed or disarmed."""
    facts: dict[str, Fact]


# --- the public functions --------------------------------------------------------------------------------------------


def start(params: StrategyParams, rules: KernelRules, klines: Iterable[Kline] = ()) -> State:
    """A state that knows the history (oldest first, the newest taken as still forming) and nothing else."""
    donchian = Donchian.start(params.donchian_window, params.donchian_shift, params.kline_history)
    nothing = Indicators(donchian, Atr.start(params.atr_period, params.atr_method))
    state = State(params=params, rules=rules, indicators=nothing, indicators_before=nothing)
    for kline in klines:
        state = on_kline(state, kline)
    return state


def on_kline(state: State, kline: Kline) -> State:
    """Take in a kline frame, keyed by its open time: the next kline, the forming one again, or the one before it.

    Anything older is ignored; whether the frame calls itself closed does not matter. With `reference = "trade"` the
    forming close stays the last folded trade, whatever the frame says. No decision falls before the next observation.
    """
    forming = state.forming
    new = copy(state)
    if forming is None:
        new.forming = kline
    elif kline.open_ms > forming.open_ms:
        new.indicators_before, new.finished = state.indicators, forming
        new.indicators = state.indicators.push(forming)
        new.forming = _begun(state, kline)
    elif kline.open_ms == forming.open_ms:
        new.forming = _again(state, forming, kline)
    elif state.finished is not None and kline.open_ms == state.finished.open_ms:
        new.indicators, new.finished = state.indicators_before.push(kline), kline
    else:
        return state
    _refresh_channel(new)
    new.zone = NOWHERE
    return new


def on_holdings(state: State, holdings: Holdings) -> State:
    """Take in what the sleeve holds; the next observation decides by it."""
    if holdings == state.holdings:
        return state
    new = copy(state)
    new.holdings, new.zone = holdings, NOWHERE
    return new


def on_command(state: State, command: Command) -> tuple[State, list[Decision]]:
    """Obey the operator at once.

    EXIT arms (reason `m`) whatever the gate says and even while paused, taking over an armed take-profit; with nothing
    to sell (FLAT, or before the first observation) it does nothing. FLATTEN does the same, and what is armed takes
    instead of resting; an exit that is armed already takes from then on. DISARM clears what is armed, a hard stop only
    with `force`. PAUSE stops new arming by the strategy; what is armed goes on. STOPPED does in BASE what the pass does
    at the hard stop, also while paused: a stop that rested on the exchange sells already.
    """
    new, decisions = copy(state), list[Decision]()
    new.zone = NOWHERE
    match command.word:
        case Word.EXIT | Word.FLATTEN:
            if new.regime in (Regime.BASE, Regime.QUOTE) and command.leaving in (None, new.regime):
                new.taking |= command.word is Word.FLATTEN
                if new.maker is not Reason.MANUAL:
                    _arm(new, Reason.MANUAL, decisions)
        case Word.DISARM:
            _disarm(new, decisions, "operator", hard_stop=command.force)
        case Word.PAUSE:
            new.paused = True
        case Word.RESUME:
            new.paused = False
        case Word.STOPPED:
            if new.regime is Regime.BASE and not new.hard_stop:
                _stop(new, Regime.BASE, decisions)
    return new, decisions


def adopt(state: State, reason: Reason, side: Side) -> State:
    """An own exit is open that an earlier process left: take it as armed, where its side fits the regime.

    Before the first observation the regime is not known yet: it is adopted, or not, with that. The episode stays that
    of what is armed already; with nothing armed a new one begins.
    """
    if state.regime is None:
        new = copy(state)
        new.found = (reason, side)
        return new
    new = copy(state)
    new.zone = NOWHERE
    _adopt(new, reason, side)
    return new


def with_params(state: State, params: StrategyParams) -> State:
    """The same state under other thresholds (a fee that became known). Klines are not seen again: an indicator whose
    window changed needs a new `start`.
    """
    new = copy(state)
    new.params, new.zone = params, NOWHERE
    return new


def fold(state: State, quotes: Sequence[Observation]) -> tuple[State, list[Decision]]:
    """Fold every observation, one by one, oldest first; trades in the order of their ids."""
    decisions: list[Decision] = []
    if not quotes:
        return state, decisions
    new = copy(state)
    if new.params.reference == "trade":
        _fold_trades(new, quotes, decisions)
        return new, decisions
    bid_above, bid_most, ask_least, ask_below = new.zone
    for quote in quotes:
        if bid_above < quote.bid <= bid_most and ask_least <= quote.ask < ask_below:
            continue
        _decide(new, quote, decisions)
        new.zone = bid_above, bid_most, ask_least, ask_below = quiet_zone(new)
    new.last = quotes[-1]
    return new, decisions


def _fold_trades(new: State, trades: Sequence[Observation], decisions: list[Decision]) -> None:
    """The same for trades, which make the klines too; changes `new` in place."""
    above, most, least, below = new.zone
    ends_ns, before = _ends_ns(new), new.last
    for trade in trades:
        price = trade.bid
        if trade.at_ns < ends_ns and above < price <= most and least <= trade.ask < below:
            before = trade
            continue
        if before is not None and before is not new.last:
            new.last = before
            _trade_into_kline(new, before.bid)
        _decide(new, trade, decisions)
        new.zone = above, most, least, below = quiet_zone(new)
        ends_ns, before = _ends_ns(new), trade
    if before is not new.last:
        new.last = before
        _trade_into_kline(new, trades[-1].bid)


def one_pass(state: State, quote: Observation) -> tuple[State, list[Decision]]:
    """One observation, by the plain pass and no shortcut; what `fold` must be equal to."""
    new, decisions = copy(state), list[Decision]()
    _decide(new, quote, decisions)
    new.zone = NOWHERE
    return new, decisions


# --- klines ----------------------------------------------------------------------------------------------------------


def _begun(state: State, kline: Kline) -> Kline:
    if state.params.reference == "book" or state.last is None:
        return kline
    return msgspec.structs.replace(kline, close=state.last.bid)


def _again(state: State, forming: Kline, kline: Kline) -> Kline:
    if state.params.reference == "book" or state.last is None:
        return kline
    high, low = max(forming.high, kline.high), min(forming.low, kline.low)
    return msgspec.structs.replace(forming, high=high, low=low, closed=kline.closed)


def _ends_ns(state: State) -> float:
    """From when on a trade belongs to the next kline, ns since 1970; at once where there is none yet."""
    return -math.inf if state.forming is None else (state.forming.open_ms + state.params.kline_ms) * 1_000_000


def roll(state: State, at_ms: int) -> State:
    """The state in which the kline that holds `at_ms` can form: those before it are finished, flat where nobody traded.

    The kline itself begins with its first price (`fold`, `core.whole`); the forming one, if it holds `at_ms`, goes on.
    """
    new = copy(state)
    _roll(new, at_ms)
    return new


def _roll(new: State, at_ms: int) -> None:
    """Finish the forming kline if `at_ms` lies past it; the next one forms from its close, whatever it brings."""
    forming, length = new.forming, new.params.kline_ms
    if forming is None or at_ms < forming.open_ms + length:
        return
    close, opened = forming.close, at_ms // length * length
    first = forming.open_ms + length
    if (opened - first) // length > MOST_FLAT:  # so long nobody traded: the channel has been flat for long
        first = opened - MOST_FLAT * length
    for open_ms in range(first, opened + 1, length):
        new.indicators_before, new.finished = new.indicators, new.forming
        new.indicators = new.indicators.push(forming)
        new.forming = forming = Kline(open_ms, close, close, close, close)
    _refresh_channel(new)
    new.zone = NOWHERE


def _trade_into_kline(new: State, price: float) -> None:
    forming = new.forming
    if forming is None or price == forming.close:
        return
    high, low = max(forming.high, price), min(forming.low, price)
    new.forming = Kline(forming.open_ms, forming.open, high, low, price)
    if not new.params.donchian_shift:
        _refresh_channel(new)


def _trade_opens_kline(new: State, price: float, at_ns: int) -> None:
    """Where the trade is the first of its kline: finish those before, and open it."""
    if at_ns < _ends_ns(new):
        return
    opened = at_ns // 1_000_000 // new.params.kline_ms * new.params.kline_ms
    _roll(new, opened)
    new.forming = Kline(opened, price, price, price, price)
    _refresh_channel(new)


def _refresh_channel(new: State) -> None:
    new.channel = new.indicators.donchian.channel(new.forming.close) if new.forming else None


# --- the pass --------------------------------------------------------------------------------------------------------


def _decide(new: State, quote: Observation, decisions: list[Decision]) -> None:
    """One pass, in the order of the module's header; changes `new` in place."""
    bid, ask = quote.bid, quote.ask
    if new.params.reference == "trade":
        _trade_opens_kline(new, bid, quote.at_ns)
        _trade_into_kline(new, bid)
    new.last = quote
    regime = regime_of(new.holdings, new.rules, bid, ask)
    price = bid if regime is Regime.BASE else ask if regime is Regime.QUOTE else None
    if new.gate_closed and gate_opens(new):
        _open_gate(new, price, decisions)
    if regime is not new.regime:
        _change_regime(new, regime, price, decisions)
    if price is None:
        return
    assert new.high is not None, "there is a price, so there is a high"
    if trailing.better(regime, price, new.high):
        new.high = price
    _try_hard_stop(new, regime, price, decisions)
    if not new.gate_closed and not new.paused and new.maker is None and _takes_profit(new, regime, price, ask):
        _arm(new, Reason.TAKE_PROFIT, decisions)


def _takes_profit(new: State, regime: Regime, price: float, ask: float) -> bool:
    """Gain over the least gain, and drawdown at the callback; cheapest first, since most passes end here."""
    anchor, high = new.anchor, new.high
    assert anchor is not None and high is not None, "not FLAT"
    gained = trailing.gain(regime, anchor, high)
    if gained <= trailing.static_gain(new.params, regime):
        return False
    callback = gained * trailing.factor(new.params, scale_of(new, regime, anchor), gained)
    if trailing.drawdown(regime, anchor, high, price) < callback:
        return False
    width = new.channel.width if new.channel else None
    return gained > trailing.donchian_gain(new.params, regime, width, anchor, ask)


def _open_gate(new: State, price: float | None, decisions: list[Decision]) -> None:
    closed_in = new.gate_regime
    new.gate_closed, new.gate_regime = False, None
    new.anchor = new.high = price
    close = new.forming.close if new.forming else None
    decisions.append(_decision(new, "gate", state="open", closed_in=_name(closed_in), close=close, price=price))


def _change_regime(new: State, regime: Regime, price: float | None, decisions: list[Decision]) -> None:
    _disarm(new, decisions, "regime", hard_stop=True)  # told with the numbers of the regime that ends
    before, new.regime = new.regime, regime
    new.anchor = new.high = price
    new.stop_count = 0
    base, quote = new.holdings.base, new.holdings.quote
    decisions.append(_decision(new, "regime", before=_name(before), base=base, quote=quote, price=price))
    if new.found is not None:
        (reason, side), new.found = new.found, None
        _adopt(new, reason, side)


def _try_hard_stop(new: State, regime: Regime, price: float, decisions: list[Decision]) -> None:
    assert new.anchor is not None, "not FLAT"
    if new.gate_closed or trailing.loss(regime, new.anchor, price) < new.params.hard_stop:
        new.stop_count = 0
        return
    new.stop_count = min(new.stop_count + 1, new.params.stop_confirm)
    if new.paused or new.stop_count < new.params.stop_confirm:
        return
    _stop(new, regime, decisions)


def _stop(new: State, regime: Regime, decisions: list[Decision]) -> None:
    """Close the gate; in BASE the exit that sells is armed, whatever else was."""
    new.stop_count = 0
    new.gate_closed, new.gate_regime = True, regime
    decisions.append(_decision(new, "gate", state="closed", hard_stop=new.params.hard_stop))
    if regime is Regime.BASE and not new.hard_stop:
        _arm(new, Reason.HARD_STOP, decisions)
    if new.maker is Reason.TAKE_PROFIT:
        new.maker = None
        decisions.append(_decision(new, "disarmed", reason=Reason.TAKE_PROFIT.value, by="hard stop"))


def _arm(new: State, reason: Reason, decisions: list[Decision]) -> None:
    if not new.armed:
        new.episode += 1
    if reason is Reason.HARD_STOP:
        _remember_stop(new)
    else:
        new.maker = reason
    decisions.append(_decision(new, "armed", reason=reason.value))


def _adopt(new: State, reason: Reason, side: Side) -> None:
    fits = new.regime is (Regime.BASE if side is Side.SELL else Regime.QUOTE)
    if not fits or (reason is Reason.HARD_STOP and new.regime is not Regime.BASE):
        return
    if not new.armed:
        new.episode += 1
    if reason is Reason.HARD_STOP:
        _remember_stop(new)
    else:
        new.maker = new.maker or reason


def _remember_stop(new: State) -> None:
    """Arm the hard stop, with what its escalation goes by: since when, and from which price on."""
    assert new.anchor is not None, "in BASE there is an anchor"
    new.hard_stop = True
    new.stopped_ns = getattr(new.last, "at_ns", 0)  # an observation of `explain` has no time
    new.stopped_at = trailing.stop_price(new.params, Regime.BASE, new.anchor)


def _disarm(new: State, decisions: list[Decision], by: str, *, hard_stop: bool) -> None:
    if new.maker is not None:
        reason, new.maker = new.maker, None
        decisions.append(_decision(new, "disarmed", reason=reason.value, by=by))
    new.taking = False
    if hard_stop and new.hard_stop:
        new.hard_stop = False
        decisions.append(_decision(new, "disarmed", reason=Reason.HARD_STOP.value, by=by))


def _decision(new: State, kind: str, **facts: Fact) -> Decision:
    assert new.last is not None, "decisions fall on observations"
    numbers: dict[str, Fact] = {"regime": _name(new.regime), "episode": new.episode, **facts}
    numbers |= {"bid": new.last.bid, "ask": new.last.ask, "anchor": new.anchor, "high": new.high}
    figures = figures_of(new)
    if figures is not None:
        numbers |= attrs.asdict(figures)
    if new.channel is not None:
        numbers |= {"upper": new.channel.upper, "lower": new.channel.lower, "mid": new.channel.mid}
    return Decision(kind, numbers)


def _name(regime: Regime | None) -> str | None:
    return regime.value if regime else None
