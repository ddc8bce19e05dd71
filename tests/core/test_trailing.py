"""The exit rule in numbers, and the prices that solve it."""

from __future__ import annotations

import math

import attrs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tetrio.core import trailing
from tetrio.core.market import Regime
from tetrio.core.params import GainScale, StrategyParams

BASE, QUOTE = Regime.BASE, Regime.QUOTE
PRICES = st.integers(50_000, 500_000)
PARAMS = StrategyParams(fee=0.0, buffer=0.0)


def test_gain_drawdown_and_loss_holding_the_base_are_fractions_of_the_anchor() -> None:
    assert trailing.gain(BASE, 1000, 1100) == pytest.approx(0.1)
    assert trailing.drawdown(BASE, 1000, 1100, 1050) == pytest.approx(0.05)
    assert trailing.loss(BASE, 1000, 950) == pytest.approx(0.05)


@given(anchor=PRICES, low=PRICES, ask=PRICES)
def test_holding_the_quote_they_are_those_of_the_value_in_base_units(anchor: int, low: int, ask: int) -> None:
    value, best, at_anchor = 1 / ask, 1 / low, 1 / anchor
    assert trailing.gain(QUOTE, anchor, low) == pytest.approx(best / at_anchor - 1, abs=1e-12)
    assert trailing.drawdown(QUOTE, anchor, low, ask) == pytest.approx((best - value) / at_anchor, abs=1e-12)
    assert trailing.loss(QUOTE, anchor, ask) == pytest.approx(1 - value / at_anchor, abs=1e-12)


@given(anchor=st.integers(1, 10**7).map(lambda n: n * 1000), thousandths=st.integers(1, 999))
def test_a_price_exactly_on_the_threshold_reaches_it(anchor: int, thousandths: int) -> None:
    bid = anchor - anchor // 1000 * thousandths
    assert trailing.loss(BASE, anchor, bid) >= thousandths / 1000
    assert not trailing.gain(BASE, anchor, 2 * anchor - bid) > thousandths / 1000


def test_the_better_price_is_the_higher_bid_or_the_lower_ask() -> None:
    assert trailing.better(BASE, 101, 100) and not trailing.better(BASE, 100, 100)
    assert trailing.better(QUOTE, 99, 100) and not trailing.better(QUOTE, 100, 100)


def test_exponential_factor_narrows_from_start_to_min() -> None:
    params = attrs.evolve(PARAMS, start_factor=0.5, min_factor=0.1)
    assert trailing.factor(params, 0.005, 0) == 0.5
    assert trailing.factor(params, 0.005, 0.005) == pytest.approx(0.1 + 0.4 * math.exp(-1))
    assert trailing.factor(params, 0.005, 10) == pytest.approx(0.1)


def test_hyperbolic_factor_narrows_to_no_less_than_min() -> None:
    params = attrs.evolve(PARAMS, decay="hyperbolic", start_factor=0.5, min_factor=0.1)
    assert trailing.factor(params, 0.005, 0) == 0.5
    assert trailing.factor(params, 0.005, 0.005) == 0.25
    assert trailing.factor(params, 0.005, 0.05) == 0.1


@pytest.mark.parametrize("decay", ["exponential", "hyperbolic"])
def test_factor_does_not_narrow_without_an_atr_and_is_least_in_a_market_that_stands_still(decay: str) -> None:
    params = attrs.evolve(PARAMS, decay=decay)
    assert trailing.factor(params, None, 0.02) == params.start_factor
    assert trailing.factor(params, 0.0, 0.02) == params.min_factor


def test_gain_scale_in_atr_is_a_fraction_of_the_anchor() -> None:
    assert trailing.resolved_scale(GainScale(1.5, True), 200, 100_000) == pytest.approx(0.003)
    assert trailing.resolved_scale(GainScale(1.5, True), None, 100_000) is None
    assert trailing.resolved_scale(GainScale(0.005), None, 100_000) == 0.005


def test_least_gain_is_the_largest_of_its_parts() -> None:
    params = StrategyParams(min_gain_base=0.01, min_gain_quote=0.02, fee=0.001, buffer=0.002, donchian_gain=0.5)
    assert trailing.least_gain(params, BASE, 10, 1000, 1001) == 0.01
    assert trailing.least_gain(params, QUOTE, 10, 1000, 1001) == 0.02
    assert trailing.least_gain(params, BASE, 100, 1000, 1001) == pytest.approx(0.05)
    assert trailing.least_gain(params, QUOTE, 100, 1000, 1001) == pytest.approx(100 * 0.5 * 1000 / (1001 * 901))
    costly = attrs.evolve(params, fee=0.03)
    assert trailing.least_gain(costly, BASE, 10, 1000, 1001) == pytest.approx(0.032)


def test_a_channel_wider_than_the_price_asks_for_nothing_holding_the_quote() -> None:
    assert trailing.donchian_gain(PARAMS, QUOTE, 1001, 1000, 1001) == 0
    assert trailing.donchian_gain(PARAMS, QUOTE, None, 1000, 1001) == 0


def test_an_automatic_fee_counts_as_nothing_until_it_is_known() -> None:
    assert trailing.static_gain(StrategyParams(min_gain_base=0, fee=None, buffer=0.002), BASE) == 0.002


@given(regime=st.sampled_from([BASE, QUOTE]), anchor=PRICES, stop=st.floats(1e-4, 0.5))
def test_stop_price_divides_prices_that_stop_from_those_that_do_not(regime: Regime, anchor: int, stop: float) -> None:
    price = trailing.stop_price(attrs.evolve(PARAMS, hard_stop=stop), regime, anchor)
    down, up = trailing.below(price), trailing.above(price)
    beyond, short = (down, up) if regime is BASE else (up, down)
    assert trailing.loss(regime, anchor, beyond) >= stop
    assert trailing.loss(regime, anchor, short) < stop


@given(
    regime=st.sampled_from([BASE, QUOTE]),
    anchor=PRICES,
    reach=st.floats(1e-4, 0.2),
    width=st.one_of(st.none(), st.integers(0, 5000)),
    decay=st.sampled_from(["exponential", "hyperbolic"]),
)
def test_arm_price_divides_prices_that_arm_from_those_that_do_not(
    regime: Regime, anchor: int, reach: float, width: int | None, decay: str
) -> None:
    params = attrs.evolve(PARAMS, min_gain_base=0.001, min_gain_quote=0.001, decay=decay)
    high = round(anchor * (1 + reach)) if regime is BASE else round(anchor / (1 + reach))
    assume(high != anchor)

    def arms(price: float) -> bool:
        gained = trailing.gain(regime, anchor, high)
        callback = gained * trailing.factor(params, 0.005, gained)
        enough = gained > trailing.least_gain(params, regime, width, anchor, price)
        return enough and trailing.drawdown(regime, anchor, high, price) >= callback

    price = trailing.arm_price(params, regime, width, 0.005, anchor, high)
    if price is None:
        assert not arms(anchor / 10 if regime is BASE else anchor * 10)
        return
    down, up = trailing.below(price), trailing.above(price)
    beyond, short = (down, up) if regime is BASE else (up, down)
    assert arms(beyond)
    assert not arms(short)
