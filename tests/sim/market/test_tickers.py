"""Statistics of windows: what they hold, and what the exchange answers and streams of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.sim.markets import RULES
from tests.sim.served import START_MS, SYMBOL, Client, Line, served, top, trade
from tetrio.sim.market.candles import Candle, Candles
from tetrio.sim.market.reference import ArithmeticMean, TradeMean
from tetrio.sim.market.tickers import DAY_MS, HOUR_MS, MINUTE_MS, last_day, rolling, trading_day, window_ms

QUOTE = (99, 5, 101, 6)


# -- windows ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "minutes"), [("1m", 1), ("59m", 59), ("1h", 60), ("23h", 1380), ("1d", 1440), ("7d", 10_080)]
)
def test_a_window_has_a_length(text: str, minutes: int) -> None:
    assert window_ms(text) == minutes * MINUTE_MS


@pytest.mark.parametrize("text", ["", "0m", "60m", "24h", "8d", "1w", "01m", "1M", "m", "1", "１m", " 1m"])
def test_other_windows_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="window"):
        window_ms(text)


def test_a_rolling_window_opens_on_a_minute_and_forgets_what_is_older() -> None:
    candles = Candles()
    candles.on_trade(100, 10, 1, 30_000, buyer_is_maker=False)
    candles.on_trade(120, 10, 2, 90_000, buyer_is_maker=False)
    candles.on_trade(110, 20, 3, 130_500, buyer_is_maker=True)
    window = rolling(candles, RULES, MINUTE_MS, 131_000)
    assert (window.open_ms, window.close_ms, window.before) == (60_000, 131_000, 100)
    assert window.body(mini=False) == {
        "symbol": SYMBOL,
        "priceChange": "-0.10000000",
        "priceChangePercent": "-8.333",
        "weightedAvgPrice": "1.13333333",
        "openPrice": "1.20000000",
        "highPrice": "1.20000000",
        "lowPrice": "1.10000000",
        "lastPrice": "1.10000000",
        "volume": "0.00300000",
        "quoteVolume": "0.00340000",
        "openTime": 60_000,
        "closeTime": 131_000,
        "firstId": 2,
        "lastId": 3,
        "count": 2,
    }


def test_a_window_without_trades_stands_at_the_last_price() -> None:
    candles = Candles()
    candles.on_trade(100, 10, 1, 30_000, buyer_is_maker=False)
    day = last_day(candles, RULES, 3 * DAY_MS, last_qty=10, quote=QUOTE)
    body = day.day_body()
    assert [body[name] for name in ("openPrice", "highPrice", "lowPrice", "lastPrice")] == ["1.00000000"] * 4
    assert (body["volume"], body["count"], body["firstId"], body["lastId"]) == ("0.00000000", 0, -1, -1)
    assert (body["priceChange"], body["priceChangePercent"]) == ("0.00000000", "0.000")
    assert (body["openTime"], body["closeTime"]) == (2 * DAY_MS, 3 * DAY_MS)
    assert body["prevClosePrice"] == "1.00000000"


def test_before_any_price_everything_is_zero() -> None:
    body = last_day(Candles(), RULES, DAY_MS, last_qty=0, quote=(0, 0, 0, 0)).day_body()
    assert {body[name] for name in ("openPrice", "lastPrice", "weightedAvgPrice", "volume")} == {"0.00000000"}


def test_the_past_counts_as_well() -> None:
    past = [Candle(at * MINUTE_MS, (at + 1) * MINUTE_MS - 1, 90, 95, 85, 91, 7, 630, 3) for at in range(2000)]
    candles = Candles(past)
    now_ms = 2000 * MINUTE_MS
    candles.on_trade(100, 1, 5, now_ms, buyer_is_maker=False)
    day = last_day(candles, RULES, now_ms, last_qty=1, quote=QUOTE)
    assert (day.held.trades, day.held.volume, day.before) == (1440 * 3 + 1, 1440 * 7 + 1, 91)
    assert (day.held.high, day.held.low, day.held.close) == (100, 85, 100)


@given(
    st.lists(
        st.tuples(st.integers(50, 150), st.integers(1, 9), st.integers(0, 400_000), st.booleans()),
        min_size=1,
        max_size=40,
    ),
    st.integers(1, 30),
)
def test_a_window_is_the_sum_of_its_trades(trades: list[tuple[int, int, int, bool]], minutes: int) -> None:
    """Asked again and again, as time goes on."""
    candles, told, now_ms = Candles(), list[tuple[int, int, int]](), 0
    for number, (price, qty, waited_ms, maker) in enumerate(trades):
        now_ms += waited_ms
        candles.on_trade(price, qty, number, now_ms, buyer_is_maker=maker)
        told.append((now_ms, price, qty))
        window = rolling(candles, RULES, minutes * MINUTE_MS, now_ms)
        within = [(price, qty) for at_ms, price, qty in told if at_ms >= window.open_ms]
        before = [price for at_ms, price, _ in told if at_ms < window.open_ms]
        held, prices = window.held, [price for price, _ in within]
        assert (held.open, held.high, held.low, held.close) == (prices[0], max(prices), min(prices), prices[-1])
        assert (held.volume, held.trades) == (sum(qty for _, qty in within), len(within))
        assert held.quote_volume == sum(price * qty for price, qty in within)
        assert window.before == (before[-1] if before else prices[0])


@pytest.mark.parametrize(("zone_h", "opened_h"), [(0, 48), (8, 40), (-3, 27), (14, 34)])
def test_a_trading_day_is_that_of_a_zone(zone_h: int, opened_h: int) -> None:
    candles = Candles()
    for hour in range(51):
        candles.on_trade(100 + hour, 1, hour, hour * HOUR_MS, buyer_is_maker=False)
    day = trading_day(candles, RULES, zone_h * HOUR_MS, 50 * HOUR_MS + 5)
    assert (day.open_ms, day.close_ms) == (opened_h * HOUR_MS, (opened_h + 24) * HOUR_MS - 1)
    assert day.held.open == 100 + opened_h


# -- the mean of trades -----------------------------------------------------------------------------------------------


def test_the_mean_counts_trades_and_the_bucket_that_is_left_in_part() -> None:
    mean = TradeMean(ArithmeticMean(3, 1000))
    assert mean.price_ticks(0) is None
    for price, at_ms in ((100, 0), (200, 900), (300, 1500)):
        mean.add(price, at_ms)
    assert mean.price_ticks(2999) == 200  # all of 0 to 3 s: 600 / 3
    mean.add(400, 3100)
    # at 3.25 s three quarters of the first bucket (2 trades, 300) are left, all of the second, all of what came since
    assert mean.price_ticks(3250) == (300 * 750 + 300 * 1000 + 400 * 1000) // (2 * 750 + 1000 + 1000)
    assert mean.price_ticks(7000) is None
    with pytest.raises(ValueError, match="bucket"):
        TradeMean(ArithmeticMean(0, 1000))


# -- as the exchange tells them ---------------------------------------------------------------------------------------


def story() -> list[Line]:
    return [
        top(0, "3400.00", "1.0000", "3400.10", "2.0000"),
        trade(0.5, "3400.00", "1.0000"),
        trade(61, "3400.10", "2.0000", buyer_is_maker=False),
        trade(122, "3399.90", "1.0000"),
        top(4000, "3400.00", "1.0000", "3400.10", "2.0000"),
    ]


async def at(line: Client, second: float) -> dict[str, Any]:
    """The first frame of `second` after the start, or later."""
    while True:
        frame = await line.receive()
        if frame["E"] >= START_MS + second * 1000:
            return frame


async def test_every_ticker_is_answered_and_streamed(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path, story()) as exchange:
        line, client = await exchange.line("ticker"), await exchange.client()
        streamed = await at(line, 130)
        day = (await client.call("ticker.24hr", symbol=SYMBOL))["result"]
        assert (day["openPrice"], day["highPrice"]) == ("3400.00000000", "3400.10000000")
        assert (day["lastPrice"], day["lastQty"], day["count"]) == ("3399.90000000", "1.00000000", 3)
        assert (day["volume"], day["quoteVolume"]) == ("4.00000000", "13600.10000000")
        assert day["weightedAvgPrice"] == "3400.02500000"
        assert (day["bidPrice"], day["askQty"]) == ("3400.00000000", "2.00000000")
        members = {"p": "priceChange", "P": "priceChangePercent", "w": "weightedAvgPrice", "x": "prevClosePrice"}
        members |= {"c": "lastPrice", "Q": "lastQty", "b": "bidPrice", "A": "askQty", "v": "volume", "n": "count"}
        assert {short: streamed[short] for short in members} == {short: day[name] for short, name in members.items()}
        assert streamed["C"] - streamed["O"] == DAY_MS
        minute = (await client.call("ticker", symbol=SYMBOL, windowSize="1m"))["result"]
        assert (minute["count"], minute["openTime"] % MINUTE_MS) == (2, 0)
        today = (await client.call("ticker.tradingDay", symbol=SYMBOL, type="MINI"))["result"]
        assert "priceChange" not in today and today["count"] == 3
        assert (await client.call("ticker.24hr", symbols=[SYMBOL], type="MINI"))["result"][0]["count"] == 3
        assert (await client.call("ticker.24hr"))["result"][0] == day
        assert (await client.call("ticker.24hr", symbols=[SYMBOL], symbolStatus="HALT"))["result"] == []
        rest = await exchange.get("/api/v3/ticker/tradingDay", f'symbols=["{SYMBOL}"]&timeZone=8')
        assert rest["status"] == 200 and rest["body"][0]["closeTime"] > START_MS


async def test_arrays_hold_the_symbol_only_after_it_has_traded(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path, story()) as exchange:
        line = await exchange.client("/stream?streams=!miniTicker@arr/!ticker_4h@arr")
        told = [await line.receive() for _ in range(6)]
        assert [frame["data"][0]["e"] for frame in told[:2]] == ["24hrMiniTicker", "4hTicker"]
        times = [frame["data"][0]["E"] - START_MS for frame in told if frame["stream"] == "!miniTicker@arr"]
        assert times == [1250, 61_250, 122_250]


async def test_all_times_may_be_microseconds(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path, story()) as exchange:
        names = ("ticker", "ticker_1h", "miniTicker", "depth@100ms", "bookTicker", "depth5", "aggTrade", "avgPrice")
        line = await exchange.line(*names, combined=True, query="&timeUnit=MICROSECOND")
        arrays = await exchange.client("/ws/!miniTicker@arr?timeUnit=MICROSECOND")
        seen = {frame["stream"].partition("@")[2]: frame["data"] for frame in [await line.receive() for _ in range(40)]}
        assert set(seen) == set(names)
        for name in ("ticker", "ticker_1h", "miniTicker", "depth@100ms", "aggTrade", "avgPrice"):
            assert len(str(seen[name]["E"])) == 16
        assert (
            len(str(seen["ticker"]["O"])) == len(str(seen["ticker_1h"]["C"])) == len(str(seen["aggTrade"]["T"])) == 16
        )
        ids = seen["depth@100ms"]["u"], seen["bookTicker"]["u"], seen["depth5"]["lastUpdateId"]
        assert all(len(str(number)) == 11 for number in ids)
        assert len(str((await arrays.receive())[0]["E"])) == 16  # type: ignore[index]  # an array
        micro = await exchange.client("/ws-api/v3?timeUnit=MICROSECOND")
        day = (await micro.call("ticker.24hr", symbol=SYMBOL))["result"]
        assert len(str(day["openTime"])) == len(str(day["closeTime"])) == 16


@pytest.mark.parametrize(
    ("method", "params", "weight"),
    [
        ("ticker.24hr", {"symbol": SYMBOL}, 2),
        ("ticker.24hr", {"symbols": [f"S{number}" for number in range(21)]}, 40),
        ("ticker.24hr", {}, 80),
        ("ticker.tradingDay", {"symbols": [SYMBOL]}, 4),
        ("ticker", {"symbols": [f"S{number}" for number in range(60)]}, 200),
        ("ticker.price", {"symbol": SYMBOL}, 2),
        ("ticker.price", {}, 4),
        ("executionRules", {"symbol": SYMBOL}, 2),
        ("executionRules", {}, 40),
        ("trades.aggregate", {"symbol": SYMBOL}, 4),
        ("trades.historical", {"symbol": SYMBOL}, 25),
        ("blockTrades.historical", {"symbol": SYMBOL, "fromId": 0}, 25),
        ("referencePrice", {"symbol": SYMBOL}, 2),
        ("depth", {"symbol": SYMBOL, "limit": 1000}, 50),
        ("depth", {"symbol": SYMBOL, "limit": 9999}, 250),
    ],
)
async def test_what_it_costs(
    autojump_clock: MockClock, tmp_path: Path, method: str, params: dict[str, Any], weight: int
) -> None:
    async with served(tmp_path) as exchange:
        client = await exchange.client()

        async def spent() -> int:
            count: int = (await client.call("ping"))["rateLimits"][0]["count"]
            return count

        before = await spent()
        await client.call(method, **params)
        assert await spent() == before + weight + 1


async def test_trades_and_aggregates_are_told_from_an_id_or_a_time_on(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    burst = [trade(5, "3400.00", "0.5000"), trade(5, "3400.00", "0.2500"), trade(5, "3399.90", "1.0000")]
    async with served(tmp_path, [*story(), *burst]) as exchange:
        line, client = await exchange.line("aggTrade", "trade"), await exchange.client()
        await trio.sleep(200)
        frames = [await line.receive() for _ in range(11)]
        aggregates = [frame for frame in frames if frame["e"] == "aggTrade"]
        trades = [frame for frame in frames if frame["e"] == "trade"]
        assert [each["q"] for each in aggregates] == [
            "1.00000000",
            "0.75000000",
            "1.00000000",
            *["2.00000000"],
            "1.00000000",
        ]
        assert [each["l"] - each["f"] for each in aggregates] == [0, 1, 0, 0, 0]
        first = aggregates[0]["a"]
        assert [each["a"] for each in aggregates] == list(range(first, first + 5))
        told = (await client.call("trades.aggregate", symbol=SYMBOL))["result"]
        assert told == [{name: each[name] for name in "apqflTmM"} for each in aggregates]

        async def asked(**params: int) -> list[int]:
            reply = await client.call("trades.aggregate", symbol=SYMBOL, **params)
            return [each["a"] - first for each in reply["result"]]

        assert await asked(fromId=first + 1, limit=2) == [1, 2]
        assert await asked(startTime=START_MS + 5000, limit=3) == [1, 2, 3]
        assert await asked(endTime=START_MS + 61_000, limit=2) == [2, 3]
        assert await asked(startTime=START_MS + 5000, endTime=START_MS + 5000) == [1, 2]
        assert await asked(limit=1) == [4]

        async def historical(**params: int) -> list[int]:
            reply = await client.call("trades.historical", symbol=SYMBOL, **params)
            return [each["id"] - trades[0]["t"] for each in reply["result"]]

        assert await historical(fromId=trades[1]["t"], limit=2) == [1, 2]
        assert await historical(fromId=0, limit=2) == [0, 1]
        assert await historical(limit=2) == [4, 5]
        assert (await client.call("blockTrades.historical", symbol=SYMBOL, fromId=0))["result"] == []
