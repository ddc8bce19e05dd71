"""What of a line's records is fit to be seen: quarantine, twins, the beat, gaps."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrio.core.market import Kline, Quote, Trade
from tetrio.live.sieve import Seen, Sieve, interval_ms
from tetrio.wire.stream import Insane, KlineUpdate, MarketRecord

MINUTE = 60_000


def quote(number: int, bid: int = 100) -> Quote:
    return Quote(bid, bid + 1, number)


def candle(open_ms: int, event_ms: int, interval: str = "1m") -> KlineUpdate:
    return KlineUpdate(interval, Kline(open_ms, 1.0, 1.0, 1.0, 1.0), event_ms)


def beat(event_ms: int) -> KlineUpdate:
    return candle(event_ms, event_ms, "1s")


@pytest.fixture
def sieve() -> Sieve:
    return Sieve("1m")


@pytest.mark.fault("F85")
@pytest.mark.parametrize("insane", [Insane(101, 100, 5), Insane(100, 100, 5), Insane(0, 100, 5), Insane(100, 0, 5)])
def test_after_an_insane_book_two_sane_ones_in_a_row_must_come(sieve: Sieve, insane: Insane) -> None:
    assert sieve.fit([quote(1), insane, quote(6)], 0) == [quote(1), insane]
    assert sieve.fit([insane, quote(7)], 0) == [insane], "the count begins anew"
    assert sieve.fit([quote(8)], 0) == [quote(7), quote(8)], "none is missing in the end"
    assert sieve.fit([quote(9)], 0) == [quote(9)]


@pytest.mark.fault("F85")
def test_a_sane_book_that_rests_while_the_beat_goes_on_counts_as_confirmed(sieve: Sieve) -> None:
    insane = Insane(0, 0, 5)
    assert sieve.fit([insane, quote(6), beat(1000)], 10.0) == [insane]
    assert sieve.fit([beat(2000)], 11.0) == [quote(6)]


@pytest.mark.fault("F4")
def test_the_same_candle_told_again_is_no_beat(sieve: Sieve) -> None:
    sieve.fit([beat(1000)], 1.0)
    sieve.fit([beat(1000), quote(3), beat(900)], 7.0)
    assert sieve.beat_at == 1.0
    sieve.fit([beat(2000)], 8.0)
    assert sieve.beat_at == 8.0


@pytest.mark.fault("F88")
def test_a_candle_that_is_skipped_is_noticed_once(sieve: Sieve) -> None:
    sieve.fit([candle(0, 10), candle(MINUTE, MINUTE + 10), candle(0, MINUTE + 20)], 0)
    assert not sieve.gap, "late ones are no gap"
    sieve.fit([candle(4 * MINUTE, 4 * MINUTE + 10)], 0)
    assert sieve.gap


def test_lengths_of_candles() -> None:
    assert [interval_ms(text) for text in ("1s", "1m", "12h", "3d", "1w", "1M")] == [
        1000, MINUTE, 12 * 60 * MINUTE, 3 * 1440 * MINUTE, 7 * 1440 * MINUTE, None,
    ]  # fmt: skip


@pytest.mark.fault("F5", "F27")
@given(st.integers(0, 30), st.integers(0, 30), st.lists(st.booleans(), min_size=60, max_size=60), st.integers(1, 5))
def test_from_one_line_to_the_next_none_is_missing_and_none_comes_twice(
    begins: int, old_is_at: int, order: list[bool], reads: int
) -> None:
    """Both lines tell the same stream, each with delays of its own; the new one from some record on."""
    stream: list[Seen] = []
    for number in range(60):
        stream.append(quote(number) if number % 3 else Trade(100, 1, number, number, buyer_is_maker=True))
    old, new = stream[old_is_at:], stream[begins:]
    sieve = Sieve("1m")
    out = sieve.fit(stream[:old_is_at], 0)
    waiting: list[MarketRecord] = []
    followed = False
    for from_old in [*order, *[True, False] * 60]:
        if from_old and not followed:
            out += sieve.fit(old[:reads], 0)
            del old[:reads]
        elif not from_old and followed:
            out += sieve.fit(new[:reads], 0)
            del new[:reads]
        elif not from_old:
            waiting += new[:reads]
            del new[:reads]
        if not followed and sieve.caught_up(waiting):
            out += sieve.follow(waiting, 0)
            followed = True
    told = [each.trade_id if isinstance(each, Trade) else getattr(each, "update_id", -1) for each in out]
    if begins > old_is_at:
        assert followed
    if followed:
        assert all(before < after for before, after in pairwise(told))
        assert told == list(range(60))
