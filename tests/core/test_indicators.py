"""Incremental indicators equal their definitions, and leave old values as they were."""

from __future__ import annotations

import itertools
import operator
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrio.core.indicators import Atr, Channel, Donchian, Rolling, true_range
from tetrio.core.market import Kline

PRICES = st.integers(1, 30)
METHODS = st.sampled_from(["wilder", "ema", "sma"])


def kline(at: int, low: float, high: float, close: float) -> Kline:
    return Kline(at, low, high, low, close)


@st.composite
def klines(draw: st.DrawFn) -> list[Kline]:
    triples = draw(st.lists(st.tuples(PRICES, PRICES, PRICES), min_size=1, max_size=40))
    return [kline(at, *(sorted(triple)[i] for i in (0, 2, 1))) for at, triple in enumerate(triples)]


def channel_by_definition(closes: list[int], window: int, shift: int, kept: int) -> Channel | None:
    """The whole sequence, cut: what is remembered, without the newest `shift`, the last `window` of that."""
    remembered = closes[-kept:]
    past = remembered[: max(0, len(remembered) - shift)][-window:]
    return Channel(max(past), min(past)) if past else None


def atr_by_definition(history: list[Kline], period: int, method: str) -> float:
    ranges = [float(history[0].high - history[0].low)]
    for before, now in itertools.pairwise(history):
        ranges.append(max(now.high - now.low, abs(now.high - before.close), abs(now.low - before.close)))
    if method == "sma":
        return statistics.fmean(ranges[-period:])
    value = statistics.fmean(ranges[:period])
    for reach in ranges[period:]:
        if method == "wilder":
            value = (value * (period - 1) + reach) / period
        else:
            value = (2 * reach + (period - 1) * value) / (period + 1)
    return value


@given(values=st.lists(PRICES, min_size=1, max_size=60), size=st.integers(1, 9))
def test_rolling_folds_are_those_of_the_last_values(values: list[int], size: int) -> None:
    for fold, whole in ((max, max), (min, min), (operator.add, sum)):
        rolling = Rolling(size, fold)
        assert rolling.value is None
        for at, value in enumerate(values):
            rolling = rolling.push(value)
            assert rolling.value == whole(values[: at + 1][-size:])


@given(
    closes=st.lists(PRICES, min_size=1, max_size=60),
    window=st.integers(1, 9),
    shift=st.integers(0, 6),
    kept=st.integers(1, 20),
)
def test_channel_equals_its_definition_at_every_step(closes: list[int], window: int, shift: int, kept: int) -> None:
    donchian = Donchian.start(window, shift, kept)
    for at, close in enumerate(closes):
        for forming in (close + 3, close - 3, close):  # the forming close is replaced often
            expected = channel_by_definition([*closes[:at], forming], window, shift, kept)
            assert donchian.channel(forming) == expected
        donchian = donchian.push(close)


def test_channel_remembers_across_many_klines_with_a_long_shift() -> None:
    closes = [(at * 7919) % 1009 for at in range(2000)]
    donchian = Donchian.start(40, 100, 1440)
    for at, close in enumerate(closes):
        assert donchian.channel(close) == channel_by_definition(closes[: at + 1], 40, 100, 1440)
        donchian = donchian.push(close)


def test_channel_is_undefined_while_the_shift_reaches_before_the_first_kline() -> None:
    donchian = Donchian.start(40, 2, 1440)
    assert donchian.channel(10) is None
    assert donchian.push(10).channel(11) is None
    assert donchian.push(10).push(11).channel(12) == Channel(10, 10)


def test_channel_mid_and_width() -> None:
    assert (Channel(110, 100).mid, Channel(110, 100).width) == (105, 10)


@given(
    closes=st.lists(PRICES, min_size=1, max_size=30),
    branch=st.lists(PRICES, min_size=1, max_size=30),
    more=st.lists(PRICES, min_size=1, max_size=30),
)
def test_an_old_channel_is_not_changed_by_what_follows_it(
    closes: list[int], branch: list[int], more: list[int]
) -> None:
    old = Donchian.start(5, 2, 50)
    for close in closes:
        old = old.push(close)
    before, one, other = old.channel(7), old, old
    for close in branch:
        one = one.push(close)
    for close in more:
        other = other.push(close)
    assert old.channel(7) == before
    assert one.channel(7) == channel_by_definition([*closes, *branch, 7], 5, 2, 50)
    assert other.channel(7) == channel_by_definition([*closes, *more, 7], 5, 2, 50)


@given(history=klines(), period=st.integers(1, 8), method=METHODS)
def test_atr_equals_its_definition_at_every_step(history: list[Kline], period: int, method: str) -> None:
    atr = Atr.start(period, method)
    assert atr.value is None
    for at, finished in enumerate(history):
        atr = atr.push(finished)
        assert atr.value == pytest.approx(atr_by_definition(history[: at + 1], period, method), rel=1e-12)


def test_true_range_takes_in_the_jump_from_the_close_before() -> None:
    assert true_range(kline(0, 10, 14, 12), None) == 4
    assert true_range(kline(0, 10, 14, 12), 20) == 10
    assert true_range(kline(0, 10, 14, 12), 5) == 9


def test_atr_refuses_an_unknown_method() -> None:
    with pytest.raises(ValueError, match="wilder, ema, sma"):
        Atr.start(14, "hull")
