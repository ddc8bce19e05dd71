from __future__ import annotations

from itertools import islice, takewhile

import pytest

from tetrio.errors import MarketError
from tetrio.sim.market.candles import Candle
from tetrio.sim.market.events import Batch, Depth, PublicTrade, Top
from tetrio.sim.market.synthetic import DEFAULT_START_NS, HISTORY_KLINES
from tetrio.sim.market.tape import Market, open_market


def seconds(market: Market, count: float) -> list[Batch]:
    end_ns = market.first_ns + int(count * 1e9)
    return list(takewhile(lambda batch: batch.market_ns < end_ns, market.batches()))


def bids(batches: list[Batch]) -> list[int]:
    return [event.bid for batch in batches for event in batch.events if isinstance(event, Top)]


def test_the_same_seed_is_the_same_market() -> None:
    first, second, other = (open_market("synthetic", seed=seed) for seed in (5, 5, 6))
    assert first.history("1m", 1440) == second.history("1m", 1440)
    assert seconds(first, 60) == seconds(second, 60)
    assert seconds(other, 60) != seconds(open_market("synthetic", seed=5), 60)


def test_it_is_a_dollar_pair_near_3400_unless_told() -> None:
    market = open_market("synthetic")
    assert (market.kind, market.symbol, market.first_ns, market.last_ns) == (
        "synthetic",
        "ETHFDUSD",
        DEFAULT_START_NS,
        0,
    )
    assert (str(market.rules.tick_size), str(market.rules.step_size)) == ("0.01", "0.0001")
    assert all(330_000 < bid < 350_000 for bid in bids(seconds(market, 2)))
    assert open_market("synthetic", "btcusdt").rules.base_asset == "BTC"
    with pytest.raises(MarketError, match="--assets"):
        open_market("synthetic", "ABCXYZ")


@pytest.mark.parametrize("seed", range(1, 6))
def test_quotes_and_trades_come_several_times_a_second(seed: int) -> None:
    batches = seconds(open_market("synthetic", seed=seed), 120)
    events = [event for batch in batches for event in batch.events]
    quotes = sum(isinstance(event, Top) for event in events) / 120
    trades = sum(isinstance(event, PublicTrade) for event in events) / 120
    assert 4 < quotes < 10
    assert 6 < trades < 20
    times = [batch.market_ns for batch in batches]
    assert len({at // 1_000_000 for at in times}) == len(times)
    assert times == sorted(times)


def test_trades_take_what_was_displayed_before_them() -> None:
    bid = bid_qty = ask = ask_qty = 0
    trade_ids, sides = [], set()
    market = open_market("synthetic", seed=2)
    past = market.history("1m", 2000)
    assert market.first_trade_id == sum(candle.trades for candle in past) + 1 == past[-1].last_id + 1
    for batch in seconds(market, 300):
        for event in batch.events:
            if isinstance(event, Top):
                assert 0 < event.bid < event.ask <= event.bid + 5
                assert event.bid_qty > 0 and event.ask_qty > 0
                bid, bid_qty, ask, ask_qty = event.bid, event.bid_qty, event.ask, event.ask_qty
                continue
            if isinstance(event, Depth):
                continue
            assert isinstance(event, PublicTrade)
            trade_ids.append(event.trade_id)
            sides.add(event.buyer_is_maker)
            assert event.price <= bid if event.buyer_is_maker else event.price >= ask
            if event.price == bid and event.buyer_is_maker:
                assert event.qty <= bid_qty
            if event.price == ask and not event.buyer_is_maker:
                assert event.qty <= ask_qty
    first = market.first_trade_id
    assert trade_ids == list(range(first, first + len(trade_ids)))
    assert sides == {True, False}


@pytest.mark.parametrize("seed", range(1, 4))
def test_behind_the_best_prices_stands_a_book_that_changes(seed: int) -> None:
    """Differences give it whole: its best levels are the best prices that follow, with what is displayed there."""
    sides: tuple[dict[int, int], dict[int, int]] = ({}, {})
    seen: set[tuple[int, int]] = set()
    for batch in seconds(open_market("synthetic", seed=seed), 600):
        for event in batch.events:
            if isinstance(event, Depth):
                for levels, changes in zip(sides, (event.bids, event.asks), strict=True):
                    levels.update(changes)
                    for price in [price for price, lots in levels.items() if not lots]:
                        del levels[price]
            elif isinstance(event, Top):
                bids, asks = sides
                assert (max(bids), bids[max(bids)]) == (event.bid, event.bid_qty)
                assert (min(asks), asks[min(asks)]) == (event.ask, event.ask_qty)
                seen.add((len(bids), len(asks)))
    assert min(min(lengths) for lengths in seen) >= 45
    assert max(max(lengths) for lengths in seen) <= 105
    assert len(seen) > 50


@pytest.mark.parametrize("seed", range(1, 11))
def test_a_minute_holds_a_swing_that_the_default_thresholds_can_trade(seed: int) -> None:
    """From its low to its high at least 1.5 %, and back by 0.3 % at least."""
    market = open_market("synthetic", seed=seed)
    seen = bids(seconds(market, 60))
    high = max(seen)
    assert high / seen[0] > 1.01
    assert min(seen[seen.index(high) :]) < high * 0.997


@pytest.mark.parametrize("seed", range(1, 4))
def test_after_hours_the_price_is_still_of_the_same_size(seed: int) -> None:
    market = open_market("synthetic", seed=seed)
    seen = [event.bid for batch in islice(market.batches(), 30_000) for event in batch.events if isinstance(event, Top)]
    assert 0.7 < min(seen) / seen[0] < max(seen) / seen[0] < 1.4


def test_a_day_of_minutes_leads_up_to_the_start() -> None:
    start_ns = DEFAULT_START_NS + 12_345_678_901
    market = open_market("synthetic", seed=3, start_ns=start_ns)
    past = market.history("1m", 5000)
    assert len(past) == HISTORY_KLINES
    assert past[-1].close_ms == DEFAULT_START_NS // 1_000_000 - 1, "the last whole minute"
    for before, candle in zip([past[0], *past], past, strict=False):
        assert candle is before or (candle.open_ms == before.close_ms + 1 and candle.open == before.close)
        assert 0 < candle.low <= min(candle.open, candle.close) <= max(candle.open, candle.close) <= candle.high
        assert 0 < candle.taker_volume < candle.volume
    first = next(market.batches()).events[-1]
    assert isinstance(first, Top) and first.bid == past[-1].close


def test_longer_candles_are_made_of_the_minutes_and_shorter_ones_are_not_known() -> None:
    market = open_market("synthetic", seed=3)
    hours: list[Candle] = market.history("1h", 500)
    assert len(hours) == 24
    assert sum(hour.volume for hour in hours) == sum(minute.volume for minute in market.history("1m", 1440))
    assert market.history("1s", 10) == [] and market.history("1m", 0) == []
    assert len(market.history("1m", 7)) == 7
