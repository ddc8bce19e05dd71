from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrio.sim.market.candles import INTERVALS, Candle, Candles, next_open, open_of, widen
from tetrio.sim.retention import Retention

MINUTE = 60_000


def ms(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=UTC).timestamp()) * 1000  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("interval", "opened", "following"),
    [
        ("1s", ms(2026, 7, 16, 13, 47, 21), ms(2026, 7, 16, 13, 47, 22)),
        ("5m", ms(2026, 7, 16, 13, 45), ms(2026, 7, 16, 13, 50)),
        ("12h", ms(2026, 7, 16, 12), ms(2026, 7, 17)),
        ("1d", ms(2026, 7, 16), ms(2026, 7, 17)),
        ("1w", ms(2026, 7, 13), ms(2026, 7, 20)),
        ("1M", ms(2026, 7, 1), ms(2026, 8, 1)),
    ],
)
def test_candles_are_aligned_to_utc(interval: str, opened: int, following: int) -> None:
    assert open_of(interval, ms(2026, 7, 16, 13, 47, 21) + 345) == opened
    assert next_open(interval, opened) == following


def test_a_year_ends_with_december() -> None:
    assert next_open("1M", ms(2025, 12, 1)) == ms(2026, 1, 1)


def test_all_of_binances_intervals_are_there() -> None:
    expected = "1s 1m 3m 5m 15m 30m 1h 2h 4h 6h 8h 12h 1d 3d 1w 1M"
    assert " ".join(INTERVALS) == expected
    with pytest.raises(KeyError):
        Candles().forming("7m", 0)


def test_a_candle_gathers_its_trades() -> None:
    candles = Candles()
    candles.on_trade(100, 3, 11, 5, buyer_is_maker=False)
    candles.on_trade(104, 2, 12, 1500, buyer_is_maker=True)
    candles.on_trade(99, 1, 13, 1600, buyer_is_maker=False)
    expected = Candle(0, 59_999, 100, 104, 99, 99, 6, 607, 3, 4, 399, 11, 13)
    assert candles.forming("1m", 2000) == expected
    assert candles.forming("1s", 1700) == Candle(1000, 1999, 104, 104, 99, 99, 3, 307, 2, 1, 99, 12, 13)
    assert candles.forming("1m", 2000) == expected, "asking changes nothing"


def test_empty_candles_carry_the_last_close() -> None:
    candles = Candles()
    candles.on_trade(100, 3, 11, 500, buyer_is_maker=False)
    closed = candles.closed_since("1s", 0, 3500)
    assert [candle.open_ms for candle in closed] == [0, 1000, 2000]
    assert closed[2] == Candle(2000, 2999, 100, 100, 100, 100)
    assert (closed[2].first_id, closed[2].last_id, closed[2].volume) == (-1, -1, 0)
    assert candles.forming("1s", 3500) == Candle(3000, 3999, 100, 100, 100, 100)


def test_the_best_bid_stands_in_until_the_first_trade() -> None:
    candles = Candles()
    assert candles.forming("1s", 500) is None
    assert candles.closed_since("1s", 0, 5000) == []
    candles.on_bid(98)
    assert candles.forming("1s", 5500) == Candle(5000, 5999, 98, 98, 98, 98)
    assert candles.closed_since("1s", 5000, 6000) == [Candle(5000, 5999, 98, 98, 98, 98)]
    candles.on_trade(100, 1, 1, 6000, buyer_is_maker=True)
    candles.on_bid(99)
    assert candles.history("1s", 10, 6000) == [Candle(6000, 6999, 100, 100, 100, 100, 1, 100, 1, 0, 0, 1, 1)]


def test_each_candle_closes_once_however_often_one_asks() -> None:
    candles = Candles()
    seen, asked = [], 0
    for now in (0, 400, 999, 1000, 1001, 1999, 2000, 4500, 4600, 5000):
        if now == 400:
            candles.on_trade(100, 1, 1, 400, buyer_is_maker=True)
        seen += [candle.open_ms for candle in candles.closed_since("1s", asked, now)]
        asked = now
    assert seen == [0, 1000, 2000, 3000, 4000]


def test_a_trade_dated_back_counts_in_the_second_at_hand() -> None:
    candles = Candles()
    candles.on_trade(100, 1, 1, 5000, buyer_is_maker=True)
    candles.on_trade(105, 1, 2, 4000, buyer_is_maker=True)
    assert candles.forming("1s", 5500) == Candle(5000, 5999, 100, 105, 100, 105, 2, 205, 2, 0, 0, 1, 2)


def test_history_is_answered_as_klines_ask() -> None:
    candles = Candles()
    for minute in (0, 1, 4, 5):
        candles.on_trade(100 + minute, 1, minute, minute * MINUTE, buyer_is_maker=True)

    def opens(limit: int, **window: int) -> list[int]:
        return [candle.open_ms // MINUTE for candle in candles.history("1m", limit, 6 * MINUTE, **window)]

    assert opens(500) == [0, 1, 2, 3, 4, 5, 6]
    assert opens(3) == [4, 5, 6]
    assert opens(2, start_ms=MINUTE) == [1, 2]
    assert opens(500, start_ms=MINUTE + 1) == [2, 3, 4, 5, 6]
    assert opens(2, end_ms=3 * MINUTE) == [2, 3]
    assert opens(500, start_ms=2 * MINUTE, end_ms=4 * MINUTE + 5) == [2, 3, 4]
    assert opens(0) == []
    assert opens(500, start_ms=7 * MINUTE) == []


def test_generated_history_comes_before_the_trades() -> None:
    past = [Candle(at * MINUTE, at * MINUTE + 59_999, 10, 12, 9, 11, 5, 55, 2) for at in range(10)]
    candles = Candles(past)
    assert candles.history("1m", 3, 10 * MINUTE - 1) == past[-3:]
    assert candles.forming("1m", 10 * MINUTE) == Candle(10 * MINUTE, 11 * MINUTE - 1, 11, 11, 11, 11)
    candles.on_trade(20, 1, 1, 10 * MINUTE, buyer_is_maker=True)
    wide = candles.forming("5m", 10 * MINUTE)
    assert wide is not None and (wide.open, wide.volume) == (20, 1)
    assert [(one.volume, one.high) for one in candles.history("5m", 9, 10 * MINUTE)] == [(25, 12), (25, 12), (1, 20)]


def test_memory_is_bounded() -> None:
    candles = Candles(keep=50)
    for at in range(500):
        candles.on_trade(100, 1, at, at * 180_000, buyer_is_maker=True)
    assert len(candles.history("3m", 10_000, 500 * 180_000)) == 53, "50, two at hand and the forming one"
    assert len(candles.history("1s", 10**6, 500 * 180_000)) > 86_400, "a day of seconds is kept"


def test_how_many_seconds_and_minutes_are_kept_is_for_the_caller() -> None:
    candles, now_ms = Candles(keep=10, retention=Retention(seconds=20, minutes=30)), 100 * MINUTE
    for at_ms in range(0, now_ms, 1000):
        candles.on_trade(100, 1, at_ms, at_ms, buyer_is_maker=True)
    lengths = [len(candles.history(interval, 10_000, now_ms - 1)) for interval in ("1s", "1m", "3m")]
    assert lengths == [22, 31, 11], "those that are over, what forms, and of 1s the second at hand"


trades = st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 200), st.integers(1, 9), st.booleans()), max_size=60)


@given(trades, st.sampled_from(["1s", "1m", "3m"]))
def test_incremental_candles_equal_those_made_from_all_trades_at_once(
    steps: list[tuple[int, int, int, bool]], interval: str
) -> None:
    candles, whole, now = Candles(), dict[int, Candle](), 0
    for trade_id, (wait, price, qty, maker) in enumerate(steps):
        now += wait
        candles.on_trade(price, qty, trade_id, now, maker)
        opened = open_of(interval, now)
        one = Candle(opened, next_open(interval, opened) - 1, price, price, price, price, qty, price * qty, 1)
        one.taker_volume, one.taker_quote = (0, 0) if maker else (qty, price * qty)
        one.first_id = one.last_id = trade_id
        if opened in whole:
            whole[opened].add(one)
        else:
            whole[opened] = one
    found = candles.history(interval, 10_000, now)
    assert [candle for candle in found if candle.trades] == list(whole.values())
    assert all(later.open_ms == before.close_ms + 1 for before, later in pairwise(found))


def test_longer_candles_from_shorter_ones() -> None:
    minutes = [Candle(at * MINUTE, at * MINUTE + 59_999, at, at + 2, at, at + 1, 1, 10, 1) for at in range(7)]
    assert [(one.open_ms // MINUTE, one.open, one.high, one.close, one.volume) for one in widen(minutes, "5m")] == [
        (0, 0, 6, 5, 5),
        (5, 5, 8, 7, 2),
    ]


# -- other zones ------------------------------------------------------------------------------------------------------

HOUR = 60 * MINUTE


@pytest.mark.parametrize(
    ("interval", "zone_ms", "opened", "following"),
    [
        ("1d", 8 * HOUR, ms(2026, 7, 15, 16), ms(2026, 7, 16, 16)),
        ("1w", 8 * HOUR, ms(2026, 7, 12, 16), ms(2026, 7, 19, 16)),
        ("1M", 8 * HOUR, ms(2026, 6, 30, 16), ms(2026, 7, 31, 16)),
        ("12h", -3 * HOUR, ms(2026, 7, 16, 3), ms(2026, 7, 16, 15)),
        ("1h", 5 * HOUR + 30 * MINUTE, ms(2026, 7, 16, 13, 30), ms(2026, 7, 16, 14, 30)),
        ("4h", 8 * HOUR, ms(2026, 7, 16, 12), ms(2026, 7, 16, 16)),
        ("1m", 5 * HOUR + 30 * MINUTE, ms(2026, 7, 16, 13, 47), ms(2026, 7, 16, 13, 48)),
    ],
)
def test_candles_of_a_zone_open_with_its_days(interval: str, zone_ms: int, opened: int, following: int) -> None:
    assert open_of(interval, ms(2026, 7, 16, 13, 47, 21), zone_ms) == opened
    assert next_open(interval, opened, zone_ms) == following


@given(
    st.lists(st.tuples(st.integers(90, 110), st.integers(1, 9), st.integers(0, 9 * HOUR)), min_size=1, max_size=60),
    st.sampled_from(["1m", "30m", "1h", "6h", "12h", "1d", "3d", "1w", "1M"]),
    st.sampled_from([8 * HOUR, -12 * HOUR, 14 * HOUR, 5 * HOUR + 30 * MINUTE, 5 * HOUR + 45 * MINUTE, -MINUTE]),
    st.booleans(),
)
def test_candles_of_a_zone_hold_the_same_trades(
    trades: list[tuple[int, int, int]], interval: str, zone_ms: int, kept: bool
) -> None:
    candles, told, now_ms = Candles(), list[tuple[int, int, int]](), ms(2026, 7, 16)
    if kept:
        candles.keep_zone(interval, zone_ms)
    for number, (price, qty, waited_ms) in enumerate(trades):
        now_ms += waited_ms
        candles.on_trade(price, qty, number, now_ms, buyer_is_maker=False)
        told.append((now_ms, price, qty))
    found = candles.history(interval, 1000, now_ms, zone_ms=zone_ms)
    assert all(after.open_ms == before.close_ms + 1 for before, after in pairwise(found))
    for candle in found:
        within = [(price, qty) for at_ms, price, qty in told if candle.open_ms <= at_ms <= candle.close_ms]
        assert (candle.open_ms, candle.trades) == (open_of(interval, candle.open_ms, zone_ms), len(within))
        assert candle.volume == sum(qty for _, qty in within)
        if within:
            assert (candle.open, candle.close) == (within[0][0], within[-1][0])
    assert found[-1] == candles.forming(interval, now_ms, zone_ms)
    assert (
        found[:-1][-5:] == candles.closed_since(interval, found[max(0, len(found) - 6)].open_ms, now_ms, zone_ms)[-5:]
    )


def test_a_zones_unknown_interval_is_refused() -> None:
    with pytest.raises(KeyError):
        Candles().forming("7m", 0, 8 * HOUR)
