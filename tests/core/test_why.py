"""The sentence a person reads: the price it names changes the decision, the tick before it does not."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tetrio.core import kernel, why
from tetrio.core.kernel import Command, KernelRules, State, Word
from tetrio.core.market import Holdings, Kline, Quote
from tetrio.core.params import GainScale, StrategyParams

RULES = KernelRules(min_qty=1, step=1, min_notional=50_000)
PARAMS = StrategyParams(
    reference="book",
    decay="hyperbolic", min_gain_base=0.01, min_gain_quote=0.01, gain_scale_base=GainScale(0.02),
    gain_scale_quote=GainScale(0.02), fee=0.0, buffer=0.0, donchian_window=3, donchian_shift=1, donchian_gain=0.0,
    hard_stop=0.005,
)  # fmt: skip
BASE, QUOTE = Holdings(base=10_000, quote=0), Holdings(base=0, quote=10**10)
DUST = Holdings(base=0, quote=10)


def told(price: float) -> str:
    """A price in ticks of 0.01, which must be whole ones."""
    assert price == int(price)
    return f"{price / 100:,.2f}"


def at(holdings: Holdings, *prices: int, params: StrategyParams = PARAMS, closes: tuple[int, ...] = ()) -> State:
    """The state after these prices (the bid in BASE, the ask in QUOTE), history of `closes`."""
    state = kernel.start(params, RULES, [Kline(i * 60_000, c, c, c, c) for i, c in enumerate(closes)])
    return follow(kernel.on_holdings(state, holdings), *prices)


def follow(state: State, *prices: int) -> State:
    selling = state.holdings.base > 0
    quotes = [Quote(price, price + 1) if selling else Quote(price - 1, price) for price in prices]
    return kernel.fold(state, quotes)[0]


def said(state: State) -> str:
    return why.sentence(kernel.view(state), state.params, state.last, told)


def levels(state: State) -> why.Levels:
    return why.levels(kernel.view(state), state.params)


def whole(price: float | None) -> int:
    assert price is not None and price == int(price)
    return int(price)


PRICES = st.integers(20_000, 400_000)
CASES = st.builds(
    StrategyParams,
    decay=st.sampled_from(["exponential", "hyperbolic"]),
    start_factor=st.sampled_from([0.2, 0.5, 1.0]),
    min_gain_base=st.sampled_from([0.0, 0.002, 0.01]),
    min_gain_quote=st.sampled_from([0.0, 0.002, 0.01]),
    fee=st.just(0.0),
    buffer=st.sampled_from([0.0, 0.001]),
    donchian_window=st.just(3),
    donchian_shift=st.just(1),
    donchian_gain=st.sampled_from([0.0, 0.5, 2.0]),
    hard_stop=st.sampled_from([0.001, 0.005, 0.1]),
)


@given(params=CASES, price=PRICES, rise=st.floats(0, 0.05), selling=st.booleans(), width=st.integers(0, 500))
def test_the_named_prices_change_the_decision_and_a_tick_nearer_does_not(
    params: StrategyParams, price: int, rise: float, selling: bool, width: int
) -> None:
    best = round(price * (1 + rise)) if selling else round(price / (1 + rise))
    closes = (price, price + width, price)
    state = at(BASE if selling else QUOTE, price, best, params=params, closes=closes)
    assume(not state.armed)
    near = 1 if selling else -1  # one tick away from a loss
    named = levels(state)
    stop = whole(named.stop)
    assert kernel.fold(state, [Quote(stop, stop)])[0].gate_closed
    assert not kernel.fold(state, [Quote(stop + near, stop + near)])[0].gate_closed
    if named.arms is None:
        return
    arms = whole(named.arms)
    if named.first is None:
        assert follow(state, arms).take_profit
        assert not follow(state, arms + near).armed
    else:
        first = whole(named.first)
        assert follow(state, first, arms).take_profit
        short = first - near
        for then in range(short, stop + near, -near * max(1, abs(stop - short) // 50)):
            assert not follow(state, short, then).take_profit


def test_base_names_the_fall_that_arms_and_the_hard_stop() -> None:
    text = said(at(BASE, 260_000, 268_440))
    assert text.startswith("arms a take-profit if the bid falls to 2,668.")
    assert "callback 0.62 % from the high 2,684.40" in text
    assert text.endswith("hard stop at 2,587.00")


def test_base_names_the_gain_that_is_needed_first() -> None:
    text = said(at(BASE, 260_000, 261_000))
    assert "no take-profit until the bid rises to 2,626.01 (gain 0.38 %, more than 1.00 % needed)" in text
    assert "armed if it then falls to" in text


def test_quote_names_the_rise_that_arms_and_the_hard_stop() -> None:
    text = said(at(QUOTE, 260_000, 250_000))
    assert text.startswith("arms a take-profit if the ask rises to 2,5")
    assert "from the low 2,500.00" in text
    assert text.endswith("hard stop at 2,613.07")


def test_quote_names_the_gain_that_is_needed_first() -> None:
    assert "no take-profit until the ask falls to 2,574.25" in said(at(QUOTE, 260_000, 259_000))


def test_a_stop_that_waits_for_several_observations_says_so() -> None:
    state = at(BASE, 260_000, params=attrs.evolve(PARAMS, stop_confirm=3))
    assert said(state).endswith("hard stop at 2,587.00 (3 observations in a row)")


def test_a_least_gain_beyond_any_price_is_said() -> None:
    state = at(QUOTE, 100, params=attrs.evolve(PARAMS, min_gain_quote=1000.0))
    assert "no take-profit can be armed before the hard stop" in said(state)


def test_a_channel_wider_than_the_price_asks_for_nothing() -> None:
    params = attrs.evolve(PARAMS, donchian_gain=1.0)
    state = at(QUOTE, 1000, 900, params=params, closes=(100, 3000, 50))
    arms = whole(levels(state).arms)
    assert arms < 1000
    assert follow(state, arms).take_profit and not follow(state, arms - 1).armed


@pytest.mark.parametrize(("holdings", "stop", "side"), [(BASE, 1, "above"), (QUOTE, -1, "below")])
def test_a_closed_gate_names_the_close_that_opens_it(holdings: Holdings, stop: int, side: str) -> None:
    state = at(holdings, 260_000, 260_000 - stop * 5_000, closes=(268_000, 270_101, 260_000))
    mid = (268_000 + 270_101) / 2
    reach = int(mid) + 1 if stop > 0 else int(mid)
    if stop < 0:
        state = at(holdings, 260_000, 265_000, closes=(248_000, 250_101, 260_000))
        reach = 249_050
    text = said(state)
    assert state.gate_closed
    assert f"a 1m close is at or {side} {told(reach)} ({side} the channel's mid)" in text
    for close, closed in ((reach - stop, True), (reach, False)):
        moved = kernel.on_kline(state, Kline(120_000, close, close, close, close))
        assert follow(moved, 260_000).gate_closed is closed


def test_a_closed_gate_without_a_channel_says_what_it_waits_for() -> None:
    assert "too few klines" in said(at(BASE, 260_000, 250_000))


def test_an_armed_exit_says_that_it_stays_and_what_could_end_it() -> None:
    armed = at(BASE, 260_000, 270_000, 262_000)
    assert said(armed) == "selling (take-profit); stays until filled, unless the hard stop takes over at 2,587.00"
    assert follow(armed, 258_700).hard_stop and not follow(armed, 258_701).hard_stop
    buying = at(QUOTE, 260_000, 250_000, 259_000)
    assert said(buying) == "buying (take-profit); stays until filled, unless the hard stop ends it at 2,613.07"
    manual, _ = kernel.on_command(armed, Command(Word.EXIT))
    assert said(manual) == "selling (operator's exit); stays until filled"
    stopped = follow(armed, 250_000)
    assert said(stopped).startswith(
        "selling (hard stop); stays until filled; the gate is closed since a hard stop in BASE"
    )


def test_flat_paused_and_unobserved_say_so() -> None:
    assert said(at(DUST, 260_000)).startswith("holds less than the smallest order of either asset")
    paused, _ = kernel.on_command(at(BASE, 260_000), Command(Word.PAUSE))
    assert said(paused).startswith("paused, nothing new is armed; without the pause: no take-profit until")
    assert said(at(BASE)) == "waits for the first price"


def test_prices_in_quote_units_are_named_on_the_grid() -> None:
    rules = KernelRules(min_qty=0.0001, step=0.0001, min_notional=5.0)
    state = kernel.on_holdings(kernel.start(PARAMS, rules), Holdings(base=1.0, quote=0.0))
    for price in (2600.0, 2684.4):
        state, _ = kernel.fold(state, [Seen(price, price)])
    named = why.levels(kernel.view(state), PARAMS, tick=0.01)
    assert named.stop == 2587.0
    assert named.arms is not None and named.arms == round(named.arms, 2)
    assert kernel.fold(state, [Seen(named.arms, named.arms)])[0].take_profit
    assert not kernel.fold(state, [Seen(named.arms + 0.01, named.arms)])[0].take_profit


@attrs.frozen
class Seen:
    """An observation in quote units."""

    bid: float
    ask: float
    at_ns: int = 0
