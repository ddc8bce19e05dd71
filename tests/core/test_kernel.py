"""The pass of the strategy, in its order, and the shortcut that folds a batch."""

from __future__ import annotations

import random

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrio.core import kernel
from tetrio.core.indicators import Channel
from tetrio.core.kernel import Command, Decision, KernelRules, State, Word
from tetrio.core.market import Holdings, Kline, Quote, Reason, Regime, Side, Want
from tetrio.core.params import GainScale, StrategyParams

RULES = KernelRules(min_qty=1, step=1, min_notional=50_000)
PARAMS = StrategyParams(
    decay="hyperbolic", start_factor=0.5, min_factor=0.1, gain_scale_base=GainScale(1.0),
    gain_scale_quote=GainScale(1.0), min_gain_base=0.01, min_gain_quote=0.01, fee=0.0, buffer=0.0, donchian_window=3,
    donchian_shift=1, donchian_gain=0.0, hard_stop=0.02, kline_history=50, reference="book",
)  # fmt: skip
BASE = Holdings(base=100, quote=0)
QUOTE = Holdings(base=0, quote=1_000_000)
DUST = Holdings(base=2, quote=40_000)
EXIT = Command(Word.EXIT)
FLATTEN = Command(Word.FLATTEN)


def quote(bid: int) -> Quote:
    return Quote(bid, bid + 1)


def asking(ask: int) -> Quote:
    return Quote(ask - 1, ask)


def kline(at: int, close: float) -> Kline:
    return Kline(at * 60_000, close, close, close, close)


def begin(holdings: Holdings, *closes: float, params: StrategyParams = PARAMS) -> State:
    klines = [kline(at, close) for at, close in enumerate(closes or (10_000, 10_000, 10_000))]
    return kernel.on_holdings(kernel.start(params, RULES, klines), holdings)


def after(state: State, *quotes: Quote) -> State:
    return kernel.fold(state, quotes)[0]


def kinds(decisions: list[Decision]) -> list[tuple[str, object]]:
    return [(each.kind, each.facts.get("reason", each.facts.get("state"))) for each in decisions]


def armed_base() -> State:
    """A take-profit is armed: anchor 10,000, high 10,400, callback about 0.5 x 4 %."""
    state = after(begin(BASE), quote(10_000), quote(10_400), quote(10_200))
    assert state.take_profit
    return state


# --- regime ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "quote_units", "regime"),
    [
        (5, 0, Regime.BASE),
        (4, 0, Regime.FLAT),
        (5, 10**9, Regime.BASE),
        (4, 50_000, Regime.QUOTE),
        (4, 49_999, Regime.FLAT),
    ],
)
def test_regime_follows_the_holdings(base: int, quote_units: int, regime: Regime) -> None:
    assert kernel.regime_of(Holdings(base=base, quote=quote_units), RULES, 10_000, 10_001) is regime


def test_quote_must_buy_the_smallest_whole_quantity() -> None:
    rules = KernelRules(min_qty=3, step=2, min_notional=1)
    assert rules.smallest == 4
    assert kernel.regime_of(Holdings(base=0, quote=400), rules, 99, 100) is Regime.QUOTE
    assert kernel.regime_of(Holdings(base=0, quote=399), rules, 99, 100) is Regime.FLAT


@given(lots=st.integers(1, 10**6), ask=st.integers(1, 10**7))
def test_floats_of_an_exact_multiple_lose_no_lot(lots: int, ask: int) -> None:
    rules = KernelRules(min_qty=lots * 0.0001, step=0.0001, min_notional=0.0)
    price = ask / 100
    assert kernel.regime_of(Holdings(base=0.0, quote=lots * 0.0001 * price), rules, price, price) is Regime.QUOTE
    assert kernel.regime_of(Holdings(base=0.0, quote=(lots - 1) * 0.0001 * price), rules, price, price) is Regime.FLAT


def test_the_first_observation_sets_regime_anchor_and_high() -> None:
    state, decisions = kernel.fold(begin(BASE), [quote(10_000)])
    assert (state.regime, state.anchor, state.high) == (Regime.BASE, 10_000, 10_000)
    assert kinds(decisions) == [("regime", None)]
    assert decisions[0].facts["price"] == 10_000
    assert isinstance(state.anchor, int)


def test_a_change_of_regime_anchors_at_the_price_of_the_new_one_and_disarms() -> None:
    state, decisions = kernel.fold(kernel.on_holdings(armed_base(), QUOTE), [quote(10_300)])
    assert (state.regime, state.anchor, state.high) == (Regime.QUOTE, 10_301, 10_301)
    assert kinds(decisions) == [("disarmed", "t"), ("regime", None)]
    assert kernel.want(state) is None


@pytest.mark.fault("F77")
def test_a_deposit_within_a_regime_changes_nothing_but_the_holdings() -> None:
    state = armed_base()
    more = after(kernel.on_holdings(state, Holdings(base=250, quote=30_000)), quote(10_200))
    assert kernel.view(more) == kernel.view(state)


def test_flat_has_neither_anchor_nor_want() -> None:
    state = after(kernel.on_holdings(armed_base(), DUST), quote(10_200))
    assert (state.regime, state.anchor, state.high) == (Regime.FLAT, None, None)
    assert kernel.want(state) is None
    assert kernel.view(state).gain is None


# --- take-profit and hard stop ---------------------------------------------------------------------------------------


def test_take_profit_needs_more_than_the_least_gain_and_the_callback() -> None:
    state = after(begin(BASE), quote(10_000), quote(10_100), quote(10_010))
    assert not state.armed  # the gain is the least gain, not more
    state = after(state, quote(10_102))
    gained = 0.0102
    arms_at = 10_102 - gained * 0.5 / (1 + gained) * 10_000
    assert not after(state, quote(int(arms_at) + 1)).armed
    state, decisions = kernel.fold(state, [quote(int(arms_at))])
    assert state.take_profit
    assert kinds(decisions) == [("armed", "t")]
    assert kernel.want(state) == Want(Side.SELL, Reason.TAKE_PROFIT, 1)
    facts = decisions[0].facts
    assert facts["gain"] == pytest.approx(gained)
    assert facts["min_gain"] == 0.01
    assert facts["bid"] == int(arms_at)


def test_take_profit_holding_the_quote_mirrors_it() -> None:
    state = after(begin(QUOTE), asking(10_000), asking(9_800))
    assert not state.armed
    callback_price = 1 / (1 / 9_800 - (200 / 9_800) * 0.5 / (1 + 200 / 9_800) / 10_000)
    assert not after(state, asking(int(callback_price))).armed
    state = after(state, asking(int(callback_price) + 1))
    assert kernel.want(state) == Want(Side.BUY, Reason.TAKE_PROFIT, 1)


def test_an_armed_exit_stays_armed_whatever_the_price_does() -> None:
    state = after(armed_base(), quote(10_500), quote(10_000), quote(9_900))
    assert state.take_profit
    assert state.high == 10_500


def test_hard_stop_holding_the_base_closes_the_gate_and_arms() -> None:
    state, decisions = kernel.fold(after(begin(BASE), quote(10_000), quote(9_801)), [quote(9_800)])
    assert (state.gate_closed, state.gate_regime, state.hard_stop) == (True, Regime.BASE, True)
    assert kinds(decisions) == [("gate", "closed"), ("armed", "h")]
    assert kernel.want(state) == Want(Side.SELL, Reason.HARD_STOP, 1, stop=9_800.0)


def test_hard_stop_holding_the_quote_closes_the_gate_and_arms_nothing() -> None:
    state = after(begin(QUOTE), asking(10_000), asking(10_205))
    assert (state.gate_closed, state.gate_regime, state.armed) == (True, Regime.QUOTE, False)


@pytest.mark.fault("F86")
def test_hard_stop_waits_for_so_many_observations_in_a_row() -> None:
    state = begin(BASE, params=attrs.evolve(PARAMS, stop_confirm=3))
    state = after(state, quote(10_000), quote(9_800), quote(9_790), quote(9_801), quote(9_800), quote(9_800))
    assert (state.gate_closed, state.stop_count) == (False, 2)
    assert after(state, quote(9_800)).hard_stop


def test_nothing_is_armed_while_the_gate_is_closed() -> None:
    state = after(begin(QUOTE), asking(10_000), asking(10_205), asking(9_500), asking(9_900))
    assert (state.gate_closed, state.high, state.armed) == (True, 9_500, False)


def test_the_gate_closed_in_base_opens_above_the_mid_and_anchors_anew() -> None:
    state = after(begin(BASE), quote(10_000), quote(9_700))
    state = after(kernel.on_holdings(state, QUOTE), quote(9_700))
    assert (state.gate_closed, state.gate_regime, state.regime) == (True, Regime.BASE, Regime.QUOTE)
    state = after(kernel.on_kline(state, kline(3, 10_000)), quote(9_999))
    assert state.gate_closed  # exactly the mid is not above it
    state, decisions = kernel.fold(kernel.on_kline(state, kline(3, 10_001)), [quote(10_001)])
    assert (state.gate_closed, state.gate_regime, state.anchor, state.high) == (False, None, 10_002, 10_002)
    assert kinds(decisions) == [("gate", "open")]


def test_the_gate_closed_in_quote_opens_below_the_mid() -> None:
    state = after(begin(QUOTE), asking(10_000), asking(10_205))
    state = after(kernel.on_kline(state, kline(3, 10_000)), asking(10_000))
    assert state.gate_closed
    state = after(kernel.on_kline(state, kline(3, 9_999)), asking(10_100))
    assert (state.gate_closed, state.anchor) == (False, 10_100)


def test_a_hard_stop_exit_survives_the_opening_of_the_gate() -> None:
    state = after(begin(BASE), quote(10_000), quote(9_700))
    state = after(kernel.on_kline(state, kline(3, 10_050)), quote(9_900))
    assert (state.gate_closed, state.hard_stop, state.anchor) == (False, True, 9_900)
    again = after(state, quote(9_700))
    assert (again.gate_closed, again.hard_stop, again.episode) == (True, True, 1)


def test_a_gate_that_closes_with_the_close_beyond_the_mid_opens_with_the_next_observation() -> None:
    state = kernel.on_kline(after(begin(BASE), quote(10_000)), kline(3, 10_300))  # the kline lags behind the book
    state = after(state, quote(9_700))
    assert (state.gate_closed, state.hard_stop) == (True, True)
    state = after(state, quote(9_700))
    assert (state.gate_closed, state.hard_stop, state.anchor) == (False, True, 9_700)


def test_without_a_channel_the_gate_stays_closed() -> None:
    state = after(begin(BASE, 10_000), quote(10_000), quote(9_700))
    assert state.channel is None
    assert after(kernel.on_kline(state, kline(0, 20_000)), quote(10_000)).gate_closed


# --- the five cases of the contract, each with FLAT in the middle ----------------------------------------------------


def test_a_take_profit_armed_when_the_gate_closes_is_disarmed() -> None:
    state, decisions = kernel.fold(armed_base(), [quote(9_800)])
    assert kinds(decisions) == [("gate", "closed"), ("armed", "h"), ("disarmed", "t")]
    assert (state.hard_stop, state.take_profit, state.episode) == (True, False, 1)
    bought = after(begin(QUOTE), asking(10_000), asking(9_600), asking(9_900))
    assert bought.take_profit
    stopped, decisions = kernel.fold(bought, [asking(10_300)])
    assert kinds(decisions) == [("gate", "closed"), ("disarmed", "t")]
    assert kernel.want(stopped) is None


def test_a_take_profit_armed_then_flat_is_gone_and_the_gate_does_not_close() -> None:
    state = after(kernel.on_holdings(armed_base(), DUST), quote(9_800))
    assert (state.regime, state.armed, state.gate_closed) == (Regime.FLAT, False, False)
    state = after(kernel.on_holdings(state, BASE), quote(9_800))
    assert (state.regime, state.anchor, state.armed, state.gate_closed) == (Regime.BASE, 9_800, False, False)


def both_at_once() -> tuple[State, Quote]:
    """A state and the price at which take-profit (all of the gain given back) and hard stop are met together."""
    state = after(begin(BASE), quote(10_000), quote(10_400))
    assert not state.armed
    return state, quote(9_700)


def test_arming_and_closing_in_one_pass_arms_the_hard_stop_only() -> None:
    state, fall = both_at_once()
    assert after(state, quote(9_900)).take_profit  # without the stop this price arms
    state, decisions = kernel.fold(state, [fall])
    assert kinds(decisions) == [("gate", "closed"), ("armed", "h")]
    assert (state.take_profit, state.hard_stop) == (False, True)


def test_arming_and_closing_in_one_pass_that_is_flat_does_neither() -> None:
    state, fall = both_at_once()
    state, decisions = kernel.fold(kernel.on_holdings(state, DUST), [fall])
    assert kinds(decisions) == [("regime", None)]
    assert (state.armed, state.gate_closed) == (False, False)


def closed_in_base() -> State:
    """The gate closed in BASE, the hard stop has sold, QUOTE now."""
    state = after(begin(BASE), quote(10_000), quote(9_700))
    return after(kernel.on_holdings(state, QUOTE), quote(9_700))


def test_a_manual_exit_while_closed_is_armed_and_stays() -> None:
    state, decisions = kernel.on_command(closed_in_base(), EXIT)
    assert kinds(decisions) == [("armed", "m")]
    assert kernel.want(state) == Want(Side.BUY, Reason.MANUAL, 2)
    state = after(state, asking(9_000), asking(11_000))
    assert (state.manual, state.gate_closed) == (True, True)


def test_a_manual_exit_survives_the_hard_stop_that_closes_the_gate() -> None:
    state, _ = kernel.on_command(armed_base(), EXIT)
    state, decisions = kernel.fold(state, [quote(9_800)])
    assert kinds(decisions) == [("gate", "closed"), ("armed", "h")]
    assert (state.manual, state.hard_stop) == (True, True)
    assert kernel.want(state) == Want(Side.SELL, Reason.HARD_STOP, 1, stop=9_800.0)


def test_a_manual_exit_while_closed_ends_when_flat() -> None:
    state, _ = kernel.on_command(closed_in_base(), EXIT)
    state = after(kernel.on_holdings(state, DUST), asking(9_700))
    assert (state.regime, state.armed, state.gate_closed) == (Regime.FLAT, False, True)
    state, decisions = kernel.on_command(state, EXIT)
    assert (decisions, state.armed) == ([], False)
    assert not after(kernel.on_holdings(state, QUOTE), asking(9_700)).armed


def test_opening_and_regime_change_in_one_pass_anchor_at_the_new_regime() -> None:
    state = after(begin(BASE), quote(10_000), quote(9_700))
    state = kernel.on_kline(kernel.on_holdings(state, QUOTE), kline(3, 10_500))
    state, decisions = kernel.fold(state, [quote(10_400)])
    assert kinds(decisions) == [("gate", "open"), ("disarmed", "h"), ("regime", None)]
    assert (state.gate_closed, state.regime, state.anchor, state.high) == (False, Regime.QUOTE, 10_401, 10_401)
    assert not state.armed


def test_opening_and_regime_change_in_one_pass_to_flat_and_on() -> None:
    state = after(begin(BASE), quote(10_000), quote(9_700))
    state = kernel.on_kline(kernel.on_holdings(state, DUST), kline(3, 10_500))
    state = after(state, quote(10_400))
    assert (state.gate_closed, state.regime, state.anchor, state.armed) == (False, Regime.FLAT, None, False)
    state = after(kernel.on_holdings(state, BASE), quote(10_390))
    assert (state.regime, state.anchor, state.high) == (Regime.BASE, 10_390, 10_390)


def test_the_gate_stays_closed_through_flat() -> None:
    state = after(begin(BASE), quote(10_000), quote(9_700))
    state = after(kernel.on_holdings(state, DUST), quote(9_700))
    assert (state.regime, state.gate_closed, state.gate_regime) == (Regime.FLAT, True, Regime.BASE)
    state = after(kernel.on_holdings(state, BASE), quote(9_700), quote(9_000))
    assert (state.anchor, state.hard_stop, state.gate_closed) == (9_700, False, True)


# --- the operator ----------------------------------------------------------------------------------------------------


def test_a_pause_arms_nothing_new_and_lets_an_armed_exit_go_on() -> None:
    paused, _ = kernel.on_command(after(begin(BASE), quote(10_000), quote(10_400)), Command(Word.PAUSE))
    paused = after(paused, quote(10_200), quote(9_700))
    assert (paused.armed, paused.gate_closed) == (False, False)
    resumed, _ = kernel.on_command(paused, Command(Word.RESUME))
    assert after(resumed, quote(9_700)).hard_stop
    going, _ = kernel.on_command(armed_base(), Command(Word.PAUSE))
    assert kernel.want(after(going, quote(9_700))) == Want(Side.SELL, Reason.TAKE_PROFIT, 1)


def test_a_flatten_arms_and_takes_until_the_regime_changes() -> None:
    state, decisions = kernel.on_command(after(begin(BASE), quote(10_000)), FLATTEN)
    assert kinds(decisions) == [("armed", "m")]
    assert kernel.want(state) == Want(Side.SELL, Reason.MANUAL, 1, take=True)
    assert kernel.view(state).taking
    state = after(kernel.on_holdings(state, QUOTE), quote(10_000))
    assert (state.taking, kernel.want(state)) == (False, None)


def test_a_flatten_makes_an_armed_exit_take_and_a_disarm_ends_it() -> None:
    manual, _ = kernel.on_command(armed_base(), EXIT)
    taking, _ = kernel.on_command(manual, FLATTEN)
    assert kernel.want(taking) == Want(Side.SELL, Reason.MANUAL, 1, take=True)
    ended, _ = kernel.on_command(taking, Command(Word.DISARM))
    assert (ended.taking, kernel.want(ended)) == (False, None)


def test_a_flatten_outranks_a_hard_stop_and_gives_way_to_it_again() -> None:
    stopped = after(begin(BASE), quote(10_000), quote(9_700))
    taking, _ = kernel.on_command(stopped, FLATTEN)
    assert kernel.want(taking) == Want(Side.SELL, Reason.MANUAL, 1, take=True)
    back, _ = kernel.on_command(taking, Command(Word.DISARM))
    assert kernel.want(back) == Want(Side.SELL, Reason.HARD_STOP, 1, stop=9_800.0)


@pytest.mark.parametrize("holdings", [DUST, None])
def test_a_flatten_with_nothing_to_sell_does_nothing(holdings: Holdings | None) -> None:
    state = after(begin(DUST), quote(10_000)) if holdings else begin(BASE)
    state, decisions = kernel.on_command(state, FLATTEN)
    assert (decisions, state.taking, state.armed) == ([], False, False)


def test_an_exit_takes_over_an_armed_take_profit_within_its_episode() -> None:
    state, _ = kernel.on_command(armed_base(), EXIT)
    assert kernel.want(state) == Want(Side.SELL, Reason.MANUAL, 1)
    assert kernel.on_command(state, EXIT)[1] == []


def test_an_exit_before_the_first_observation_does_nothing() -> None:
    state, decisions = kernel.on_command(begin(BASE), EXIT)
    assert (kernel.want(after(state, quote(10_000))), decisions) == (None, [])


def test_disarm_spares_the_hard_stop_unless_forced() -> None:
    state, _ = kernel.on_command(after(begin(BASE), quote(10_000), quote(9_700)), EXIT)
    state, decisions = kernel.on_command(state, Command(Word.DISARM))
    assert kinds(decisions) == [("disarmed", "m")]
    assert state.hard_stop
    state, decisions = kernel.on_command(state, Command(Word.DISARM, force=True))
    assert kinds(decisions) == [("disarmed", "h")]
    assert kernel.want(after(state, quote(9_600))) is None


def test_each_arming_from_nothing_is_a_new_episode() -> None:
    state = after(kernel.on_holdings(armed_base(), QUOTE), asking(10_000), asking(9_600), asking(9_900))
    assert kernel.want(state) == Want(Side.BUY, Reason.TAKE_PROFIT, 2)


def test_an_open_exit_found_at_the_start_is_adopted_where_its_side_fits() -> None:
    state = after(begin(BASE), quote(10_000))
    sell = kernel.adopt(state, Reason.TAKE_PROFIT, Side.SELL)
    assert kernel.want(sell) == Want(Side.SELL, Reason.TAKE_PROFIT, 1)
    assert kernel.want(kernel.adopt(state, Reason.TAKE_PROFIT, Side.BUY)) is None
    found = Want(Side.SELL, Reason.HARD_STOP, 1, stop=9_800.0)
    assert kernel.want(kernel.adopt(armed_base(), Reason.HARD_STOP, Side.SELL)) == found


def test_an_open_exit_is_adopted_before_the_first_observation_too() -> None:
    found = kernel.adopt(begin(BASE), Reason.MANUAL, Side.SELL)
    assert kernel.want(found) is None
    assert kernel.want(after(found, quote(10_000))) == Want(Side.SELL, Reason.MANUAL, 1)
    assert kernel.want(after(kernel.on_holdings(found, QUOTE), quote(10_000))) is None


# --- klines ----------------------------------------------------------------------------------------------------------


@pytest.mark.fault("F89")
def test_klines_are_keyed_by_open_time_and_need_not_say_that_they_closed() -> None:
    closes = [10_000, 10_100, 10_200, 10_300, 10_400]
    plain = kernel.start(PARAMS, RULES, [kline(at, close) for at, close in enumerate(closes)])
    twice = kernel.start(
        PARAMS, RULES, [kline(at, close + change) for at, close in enumerate(closes) for change in (-7, 5, 0)]
    )
    assert twice.channel == plain.channel
    late = kernel.start(PARAMS, RULES, [kline(at, 1) if at == 3 else kline(at, closes[at]) for at in range(5)])
    late = kernel.on_kline(late, kline(3, 10_300))  # the last word on a kline may come after the next has begun
    assert late.channel == plain.channel
    assert late.indicators.atr.value == plain.indicators.atr.value
    assert kernel.on_kline(late, kline(0, 99_999)) is late


def test_an_old_state_can_be_kept_and_folded_on() -> None:
    old = after(begin(BASE, 10_000, 10_100, 10_050), quote(10_000))
    view = kernel.view(old)
    for close in (9_000, 12_000, 9_500, 9_600):
        after(kernel.on_kline(old, kline(3, close)), quote(close), quote(10_400), quote(10_100))
    assert kernel.view(old) == view
    assert kernel.view(after(old, quote(10_000))) == view


def test_with_trades_the_forming_close_is_the_last_trade() -> None:
    params = attrs.evolve(PARAMS, reference="trade", donchian_shift=0)
    state = after(begin(BASE, params=params), Quote(10_010, 10_010))
    state = kernel.on_kline(state, kline(2, 11_000))
    assert state.forming is not None and state.forming.close == 10_010
    state = kernel.on_kline(state, kline(3, 12_000))
    assert state.forming is not None and state.forming.close == 10_010
    assert after(state, Quote(10_020, 10_020)).channel == Channel(10_020, 10_000)


def test_with_trades_a_trade_opens_the_gate() -> None:
    state = after(
        begin(BASE, params=attrs.evolve(PARAMS, reference="trade")), Quote(10_000, 10_000), Quote(9_800, 9_800)
    )
    assert state.gate_closed
    state = after(state, Quote(10_000, 10_000))
    assert state.gate_closed
    assert not after(state, Quote(10_001, 10_001)).gate_closed


def test_a_gain_scale_in_atr_follows_the_finished_klines() -> None:
    params = attrs.evolve(PARAMS, gain_scale_base=GainScale(1.5, True))
    state = kernel.start(params, RULES)
    for at in range(3):
        state = kernel.on_kline(state, Kline(at * 60_000, 10_000, 10_100, 9_900, 10_000))
    view = kernel.view(after(kernel.on_holdings(state, BASE), quote(10_000), quote(10_300)))
    assert view.scale == pytest.approx(1.5 * 200 / 10_000)
    assert view.factor == pytest.approx(0.5 / (1 + 0.03 / 0.03))


def test_thresholds_may_change_under_a_state() -> None:
    state = after(begin(BASE), quote(10_000), quote(9_900))
    assert after(kernel.with_params(state, attrs.evolve(PARAMS, hard_stop=0.01)), quote(9_900)).hard_stop


# --- the shortcut ----------------------------------------------------------------------------------------------------

ALL_PARAMS = st.builds(
    StrategyParams,
    decay=st.sampled_from(["exponential", "hyperbolic"]),
    start_factor=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    min_factor=st.sampled_from([0.0, 0.1]),
    gain_scale_base=st.sampled_from([GainScale(0.002), GainScale(1.5, True)]),
    gain_scale_quote=st.sampled_from([GainScale(0.002), GainScale(1.5, True)]),
    min_gain_base=st.sampled_from([0.0, 0.001, 0.005]),
    min_gain_quote=st.sampled_from([0.0, 0.001, 0.005]),
    fee=st.sampled_from([None, 0.0, 0.001]),
    buffer=st.just(0.0),
    donchian_window=st.integers(1, 4),
    donchian_shift=st.integers(0, 2),
    donchian_gain=st.sampled_from([0.0, 0.1, 1.0]),
    hard_stop=st.sampled_from([0.002, 0.005, 0.02]),
    stop_confirm=st.integers(1, 3),
    kline_history=st.integers(1, 9),
    reference=st.sampled_from(["book", "trade"]),
    atr_period=st.integers(1, 3),
    atr_method=st.sampled_from(["wilder", "sma"]),
)
HOLDINGS = st.sampled_from([BASE, QUOTE, DUST, Holdings(base=5, quote=60_000), Holdings(base=5, quote=1_000_000)])
COMMANDS = st.sampled_from([EXIT, *(Command(word, True) for word in (Word.DISARM, Word.PAUSE, Word.RESUME))])
START = st.sampled_from([10_000, 2_000, 300])


def remembered(state: State) -> tuple[object, ...]:
    """All that a state remembers, the quiet zone aside."""
    return (
        kernel.view(state), kernel.want(state), state.maker, state.episode, state.last, state.forming, state.finished,
        state.channel, state.indicators.atr.value, state.holdings,
    )  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    params=ALL_PARAMS,
    holdings=HOLDINGS,
    price=START,
    events=st.lists(st.one_of(HOLDINGS, COMMANDS, st.none()), max_size=6),
    seed=st.integers(0, 10**6),
    whole=st.booleans(),
)
def test_a_batch_equals_the_plain_pass_over_each_observation(
    params: StrategyParams, holdings: Holdings, price: int, events: list[object], seed: int, whole: bool
) -> None:
    chance = random.Random(seed)
    scale = 1 if whole else 0.01
    rules = KernelRules(min_qty=1, step=1, min_notional=50_000 * scale)
    fast = slow = kernel.on_holdings(kernel.start(params, rules), holdings)
    for at, event in enumerate([None, *events]):
        bar = Kline(at // 2 * 60_000, price * scale, (price + 9) * scale, (price - 9) * scale, price * scale)
        fast, slow = kernel.on_kline(fast, bar), kernel.on_kline(slow, bar)
        if isinstance(event, Holdings):
            fast, slow = kernel.on_holdings(fast, event), kernel.on_holdings(slow, event)
        if isinstance(event, Command):
            (fast, told), (slow, also) = kernel.on_command(fast, event), kernel.on_command(slow, event)
            assert told == also
        batch = []
        for _ in range(chance.randrange(1, 60)):
            price = max(30, price + round(chance.gauss(0, price / 2000)))
            ask = price if params.reference == "trade" else price + chance.randrange(1, 3)
            batch.append(Seen(price * scale, ask * scale))
        fast, decisions = kernel.fold(fast, batch)
        expected: list[Decision] = []
        for each in batch:
            slow, found = kernel.one_pass(slow, each)
            expected += found
        assert decisions == expected
        assert remembered(fast) == remembered(slow)


@attrs.frozen
class Seen:
    """An observation in any unit."""

    bid: float
    ask: float
    at_ns: int = 0


def test_an_empty_batch_changes_nothing() -> None:
    state = after(begin(BASE), quote(10_000))
    assert kernel.fold(state, []) == (state, [])


def test_most_observations_of_a_quiet_market_stay_in_the_quiet_zone() -> None:
    chance, price, quotes = random.Random(3), 250_000, []
    for _ in range(5000):
        price += chance.choice((-1, 0, 1))
        quotes.append(Watched(price))
    after(begin(Holdings(base=10_000, quote=0)), *quotes)  # type: ignore[arg-type]
    assert sum(each.reads > 1 for each in quotes) < 250


class Watched:
    """An observation that counts how often its bid was read; the plain pass reads it again."""

    def __init__(self, bid: int) -> None:
        self._bid, self.ask, self.reads = bid, bid + 1, 0

    @property
    def bid(self) -> int:
        self.reads += 1
        return self._bid


@pytest.mark.parametrize("word", [Word.EXIT, Word.FLATTEN])
def test_an_exit_said_of_a_regime_that_has_ended_meanwhile_does_nothing(word: Word) -> None:
    state, decisions = kernel.on_command(after(begin(QUOTE), asking(10_000)), Command(word, leaving=Regime.BASE))
    assert (decisions, state.armed, state.taking) == ([], False, False)
    _, decisions = kernel.on_command(state, Command(word, leaving=Regime.QUOTE))
    assert kinds(decisions) == [("armed", "m")]
