"""Candles taken whole: equal to the fold of every trade, on paths that touch the thresholds."""

from __future__ import annotations

import random
from collections.abc import Sequence

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.test_kernel import BASE, DUST, QUOTE, RULES
from tetrio.core import kernel, whole
from tetrio.core.kernel import State
from tetrio.core.market import Holdings, Kline, Quote, Regime
from tetrio.core.params import GainScale, StrategyParams
from tetrio.core.state import remembered

MINUTE = 60_000
PARAMS = st.builds(
    StrategyParams,
    decay=st.sampled_from(["exponential", "hyperbolic"]),
    start_factor=st.sampled_from([0.0, 0.3, 0.5]),
    min_factor=st.sampled_from([0.0, 0.1, 0.6]),
    gain_scale_base=st.sampled_from([GainScale(0.002), GainScale(1.5, True)]),
    gain_scale_quote=st.sampled_from([GainScale(0.002), GainScale(1.5, True)]),
    min_gain_base=st.sampled_from([0.001, 0.005]),
    min_gain_quote=st.sampled_from([0.001, 0.005]),
    fee=st.just(0.0),
    buffer=st.just(0.0),
    donchian_window=st.integers(1, 4),
    donchian_shift=st.integers(0, 2),
    donchian_gain=st.sampled_from([0.0, 0.1, 1.0]),
    hard_stop=st.sampled_from([0.003, 0.006, 0.02]),
    stop_confirm=st.integers(1, 3),
    kline_history=st.integers(1, 9),
    kline_interval=st.sampled_from(["1m", "3m"]),
    atr_period=st.integers(1, 3),
    reference=st.just("trade"),
)


def market(chance: random.Random, price: int, minutes: int, roughness: float) -> list[list[Quote]]:
    """Trades by the minute; some minutes have none."""
    found, number = list[list[Quote]](), 0
    for minute in range(minutes):
        trades = list[Quote]()
        times = sorted(chance.randrange(MINUTE) for _ in range(chance.choice([0, 1, 3, 12])))
        for at_ms in times:
            price = max(50, price + round(chance.gauss(0, price * roughness)))
            number += 1
            trades.append(Quote(price, price, number, (minute * MINUTE + at_ms) * 1_000_000))
        found.append(trades)
    return found


def candle(minute: int, trades: Sequence[Quote]) -> Kline:
    prices = [trade.bid for trade in trades]
    return Kline(minute * MINUTE, prices[0], max(prices), min(prices), prices[-1], True)


def by_trades(state: State, minutes: Sequence[Sequence[Quote]]) -> State:
    for trades in minutes:
        state, _ = kernel.fold(state, trades)
    return state


def by_candles(state: State, minutes: Sequence[Sequence[Quote]]) -> tuple[State, int]:
    """The state, and how many candles were taken whole."""
    taken = 0
    for minute, trades in enumerate(minutes):
        if not trades:
            continue
        after = whole.take(state, candle(minute, trades), MINUTE)
        taken += after is not None
        state = kernel.fold(state, trades)[0] if after is None else after
    return state, taken


@settings(max_examples=400, deadline=None)
@given(
    params=PARAMS,
    holdings=st.sampled_from([BASE, QUOTE, DUST, Holdings(base=5, quote=60_000)]),
    price=st.sampled_from([10_000, 10_002, 2_000]),
    roughness=st.sampled_from([0.0002, 0.001, 0.003]),
    seed=st.integers(0, 10**6),
)
def test_the_fold_by_candles_equals_the_fold_by_all_trades(
    params: StrategyParams, holdings: Holdings, price: int, roughness: float, seed: int
) -> None:
    chance = random.Random(seed)
    minutes = market(chance, price, 25, roughness)
    began = kernel.on_holdings(kernel.start(params, RULES, [Kline(-MINUTE * 3, price, price, price, price)]), holdings)
    last = [Quote(price, price, 10**6, 25 * MINUTE * 1_000_000)]
    folded = by_trades(began, [*minutes, last])
    taken = kernel.fold(by_candles(began, minutes)[0], last)[0]
    assert remembered(taken) == remembered(folded)


def test_in_a_quiet_hour_no_trade_need_be_fetched() -> None:
    params = StrategyParams(fee=0.0, reference="trade")
    minutes = market(random.Random(1), 100_000, 60, 0.00005)
    began = kernel.on_holdings(kernel.start(params, RULES, [Kline(-MINUTE, 100_000, 100_000, 100_000, 100_000)]), BASE)
    began = kernel.fold(began, [Quote(100_000, 100_000, 0, 0)])[0]
    state, taken = by_candles(began, minutes)
    assert taken == sum(1 for trades in minutes if trades) > 40
    assert remembered(state)[1:] == remembered(by_trades(began, minutes))[1:]


def test_a_candle_that_reaches_the_stop_is_not_taken_whole() -> None:
    params = StrategyParams(fee=0.0, reference="trade", hard_stop=0.005, min_gain_base=0.5)
    state = kernel.on_holdings(kernel.start(params, RULES), BASE)
    state = kernel.fold(state, [Quote(10_000, 10_000, 1, 0)])[0]
    reaches = Kline(MINUTE, 10_000, 10_400, 9_950, 10_000)
    assert whole.take(state, reaches, MINUTE) is None
    after = whole.take(state, Kline(MINUTE, 10_000, 10_400, 9_951, 10_000), MINUTE)
    assert after is not None
    assert (after.high, after.regime, after.hard_stop) == (10_400, Regime.BASE, False)
    paused = attrs.evolve(params, hard_stop=0.9)
    assert whole.take(kernel.with_params(state, paused), reaches, MINUTE) is not None
