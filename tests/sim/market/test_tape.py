from __future__ import annotations

import gzip
import json
from decimal import Decimal
from pathlib import Path

import pytest

from tests.paths import SHARED
from tetrio.errors import MarketError
from tetrio.sim.market.capture import Capture
from tetrio.sim.market.events import AggTrade, Depth, PublicTrade, Top
from tetrio.sim.market.tape import Market, open_market

CAPTURE = SHARED / "data" / "capture" / "ethusdt_20240808.gz"
MIXED = SHARED / "data" / "frames" / "binance-spot-2021-mixed.txt.gz"
KLINES = SHARED / "data" / "klines" / "ETHUSDT-1m-2025-06.csv.gz"
START = 1_723_161_254_000_000_000


def frame(stream: str, **payload: object) -> str:
    return json.dumps({"stream": stream, "data": payload}, separators=(",", ":"))


def ticker(
    bid: str = "100.10", ask: str = "100.20", size: str = "1.5", update: int = 1, symbol: str = "ethusdt"
) -> str:
    return frame(f"{symbol}@bookTicker", u=update, s=symbol.upper(), b=bid, B=size, a=ask, A=size)


def trade(price: str = "100.20", size: str = "0.25", trade_id: int = 7, symbol: str = "ethusdt") -> str:
    return frame(f"{symbol}@trade", e="trade", E=1, s="", t=trade_id, p=price, q=size, T=1, m=False, M=True)


def recorded(folder: Path, *lines: str, zipped: bool = False) -> Path:
    """A file of those frames, 0.4 ms apart."""
    text = "".join(f"{START + at * 400_000} {line}\n" for at, line in enumerate(lines))
    return written(folder, text, zipped=zipped)


def written(folder: Path, text: str, zipped: bool = False) -> Path:
    path = folder / "ethusdt_market"
    path.write_bytes(gzip.compress(text.encode()) if zipped else text.encode())
    return path


def events_of(market: Market) -> list[object]:
    return [event for batch in market.batches() for event in batch.events]


# --- captures ---


def test_the_recorded_capture_is_consumed_to_its_last_line() -> None:
    market = open_market(CAPTURE)
    assert (market.kind, market.symbol, market.frames_total, market.skipped) == ("capture", "ETHUSDT", 33_618, 1)
    assert (market.rules.base_asset, market.rules.quote_asset) == ("ETH", "USDT")
    assert market.rules.tick_size == Decimal("0.01")
    assert market.rules.min_notional == Decimal(5)
    assert market.streams == {"ethusdt@bookTicker", "ethusdt@trade", "ethusdt@depth@100ms"}
    batches = list(market.batches())
    kinds = [type(event) for batch in batches for event in batch.events]
    assert (kinds.count(Top), kinds.count(PublicTrade), kinds.count(Depth)) == (24_077, 6106, 3434)
    assert market.frames == 33_618
    times = [batch.market_ns for batch in batches]
    assert times == sorted(times)
    assert len({at // 1_000_000 for at in times}) == len(times), "one batch a millisecond"
    assert times[0] == market.first_ns == 1_723_161_254_024_619_568
    assert market.last_ns == 1_723_161_599_900_862_584
    assert market.history("1m", 10) == []


def test_recorded_bytes_are_kept_as_they_came() -> None:
    with gzip.open(CAPTURE) as lines:
        recorded_frames = [line.split(b" ", 1)[1].rstrip(b"\n") for line in lines]
    kept = [event.combined for batch in open_market(CAPTURE).batches() for event in batch.events]
    assert kept == [line for line in recorded_frames if line.startswith(b'{"stream"')]
    first = next(open_market(CAPTURE).batches()).events[0]
    assert isinstance(first, Top)
    assert json.loads(first.raw) == json.loads(first.combined)["data"]
    assert (first.bid, first.ask, first.stream) == (268_380, 268_381, "ethusdt@bookTicker")


def test_trade_ids_of_a_capture_begin_with_its_first_trade() -> None:
    market = open_market(CAPTURE)
    trades = [event for event in events_of(market) if isinstance(event, PublicTrade)]
    assert market.first_trade_id == trades[0].trade_id > 1


def test_a_file_of_several_symbols_plays_the_one_that_is_asked_for() -> None:
    market = open_market(MIXED, "nknusdt")
    assert (market.symbol, market.frames_total) == ("NKNUSDT", 265)
    tops = [event for event in events_of(market) if isinstance(event, Top)]
    assert len(tops) == 74 and market.frames == 265
    assert market.first_ns == 1_633_998_512_063_356_900, "seconds with a fraction"
    with pytest.raises(MarketError, match="BLZETH, LRCBTC, NKNUSDT, RUNEEUR: say which"):
        open_market(MIXED)
    with pytest.raises(MarketError, match="no frames of ETHUSDT; it holds BLZETH"):
        open_market(MIXED, "ETHUSDT")
    with pytest.raises(MarketError, match="no best prices"):
        open_market(MIXED, "RUNEEUR")


def test_without_a_trade_stream_the_aggregate_trades_stand_for_it() -> None:
    trades = [event for event in events_of(open_market(MIXED, "NKNUSDT")) if isinstance(event, AggTrade)]
    assert [event.drives for event in trades] == [True]


@pytest.mark.parametrize("zipped", [False, True])
def test_events_of_one_millisecond_come_together_in_order(tmp_path: Path, zipped: bool) -> None:
    path = recorded(tmp_path, ticker(update=1), trade(), ticker(update=2), trade(trade_id=8), zipped=zipped)
    batches = list(open_market(path).batches())
    assert [[type(event) for event in batch.events] for batch in batches] == [[Top, PublicTrade, Top], [PublicTrade]]
    assert [batch.market_ns for batch in batches] == [START, START + 1_200_000]


def test_tick_and_step_are_the_greatest_common_divisors(tmp_path: Path) -> None:
    diff = frame("ethusdt@depth@100ms", E=1, U=1, u=2, s="", b=[["99.95", "0.60000000"], ["99.90", "0"]], a=[])
    raw = diff.removeprefix('{"stream":"ethusdt@depth@100ms","data":').removesuffix("}")
    market = open_market(recorded(tmp_path, ticker(size="1.5"), trade(size="0.3"), diff))
    assert (market.rules.tick_size, market.rules.step_size) == (Decimal("0.05"), Decimal("0.3"))
    assert events_of(market)[2] == Depth(
        1, 2, 1, [(1999, 2), (1998, 0)], [], "ethusdt@depth@100ms", raw.encode(), diff.encode()
    )


def test_other_streams_and_documents_are_counted_and_not_played(tmp_path: Path) -> None:
    path = recorded(
        tmp_path,
        '{"lastUpdateId":1,"bids":[],"asks":[]}',
        ticker(),
        frame("ethusdt@kline_1m", e="kline"),
        frame("btcusdt@bookTicker", odd=True),
        frame("!miniTicker@arr", odd=True),
        "[1,2]",
        '{"result":null,"id":1}',
    )
    market = open_market(path, "ETHUSDT")
    assert (market.frames_total, market.skipped) == (7, 3)
    assert len(events_of(market)) == 1 and market.frames == 7


def test_a_receive_time_that_steps_back_is_taken_for_the_same_moment(tmp_path: Path) -> None:
    text = "".join(f"{START + offset} {ticker(update=offset)}\n" for offset in (9_000_000, 2_000_000, 11_000_000))
    market = open_market(written(tmp_path, text))
    assert isinstance(market, Capture) and market.clamped == 1
    batches = list(market.batches())
    assert [(batch.market_ns - START, len(batch.events)) for batch in batches] == [(9_000_000, 2), (11_000_000, 1)]


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (ticker()[:60], "no JSON document"),
        (ticker() + "}", "no JSON document"),
        ('{"a":1', "no JSON document"),
        ("", "no frame"),
        (ticker(bid="cheap"), "a bookTicker frame that cannot be read"),
        (ticker(bid="-100.10"), "a bookTicker frame that cannot be read"),
        (frame("ethusdt@trade", p="1.0", q="1.0"), "a trade frame that cannot be read"),
        (frame("ethusdt@depth", b=[["1"]], a=[], U=1, u=1, E=1), "a depth frame that cannot be read"),
    ],
)
def test_a_malformed_line_is_named_before_anything_is_traded(tmp_path: Path, broken: str, why: str) -> None:
    path = recorded(tmp_path, ticker(), trade(), broken, ticker())
    with pytest.raises(MarketError, match=f"ethusdt_market, line 3: {why}"):
        open_market(path)


def test_a_line_without_a_time_is_malformed(tmp_path: Path) -> None:
    with pytest.raises(MarketError, match="line 2: no receive time"):
        open_market(written(tmp_path, f"{START} {ticker()}\n{ticker()}\n"))
    with pytest.raises(MarketError, match="line 1: no frame"):
        open_market(written(tmp_path, f"{START}"))


def test_a_last_line_without_its_end_is_a_line(tmp_path: Path) -> None:
    market = open_market(written(tmp_path, f"{START} {ticker()}\n{START} {trade()}"))
    assert len(events_of(market)) == 2


def test_a_file_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    with pytest.raises(MarketError, match="cannot be read: No such file"):
        open_market(tmp_path / "nowhere")
    with pytest.raises(MarketError, match="cannot be read: Is a directory"):
        open_market(tmp_path)
    with pytest.raises(MarketError, match="is empty"):
        open_market(written(tmp_path, ""))
    with pytest.raises(MarketError, match="is empty"):
        open_market(written(tmp_path, "", zipped=True))
    with pytest.raises(MarketError, match="no stream frame at all"):
        open_market(recorded(tmp_path, '{"lastUpdateId":1}'))
    with pytest.raises(MarketError, match="--assets"):
        open_market(recorded(tmp_path, ticker(symbol="abcxyz")))
    assert open_market(recorded(tmp_path, ticker(symbol="abcxyz")), assets=("ABC", "XYZ")).rules.quote_asset == "XYZ"


@pytest.mark.parametrize("keep", [0.2, 0.9])
def test_compressed_data_that_break_off_are_an_error(tmp_path: Path, keep: float) -> None:
    whole = CAPTURE.read_bytes()
    path = tmp_path / "cut.gz"
    path.write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(MarketError, match=r"cut.gz, after line \d+: the compressed data are truncated"):
        open_market(path)
    path.write_bytes(whole[:9])
    with pytest.raises(MarketError, match="truncated"):
        open_market(path)


# --- klines ---


def klines(folder: Path, *rows: str, name: str = "ETHUSDT-1m.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(["timestamp,open,high,low,close,volume", *rows]) + "\n")
    return path


def test_a_rising_kline_plays_open_low_high_close_and_a_falling_one_open_high_low_close(tmp_path: Path) -> None:
    path = klines(tmp_path, "60,10.1,10.4,10.0,10.2,8", "120,10.2,10.5,10.1,10.1,8")
    market = open_market(path)
    assert (market.kind, market.symbol, market.frames_total) == ("klines", "ETHUSDT", 2)
    batches = list(market.batches())
    trades = [event for batch in batches for event in batch.events if isinstance(event, PublicTrade)]
    assert [event.price for event in trades] == [101, 100, 104, 102, 102, 105, 101, 101]
    assert [batch.market_ns // 10**9 for batch in batches] == [60, 75, 90, 105, 120, 135, 150, 165]
    assert [event.at_ms for event in trades] == [batch.market_ns // 10**6 for batch in batches]
    assert market.frames == 2 and market.last_ns == 165 * 10**9
    assert [event.trade_id for event in trades] == list(range(1, 9))


def test_each_point_quotes_one_tick_around_its_trade(tmp_path: Path) -> None:
    for batch in open_market(klines(tmp_path, "60,10.1,10.4,10.0,10.2,8", "120,10.2,10.5,10.1,10.1,8")).batches():
        quote, traded = batch.events
        assert isinstance(quote, Top) and isinstance(traded, PublicTrade)
        assert quote.ask - quote.bid == 1
        assert traded.price == (quote.bid if traded.buyer_is_maker else quote.ask)
        assert quote.bid_qty == quote.ask_qty == traded.qty


def test_a_trade_is_a_quarter_of_the_volume_exactly(tmp_path: Path) -> None:
    market = open_market(klines(tmp_path, "60,10,10,10,10,0.7", "120,10,10,10,10,0.3", "180,10,11,9,10,0"))
    assert market.rules.step_size == Decimal("0.025")
    sizes = [[event.qty for event in batch.events if isinstance(event, PublicTrade)] for batch in market.batches()]
    assert sizes == [[7]] * 4 + [[3]] * 4 + [[]] * 4


def test_a_month_of_klines_opens_with_its_own_grid() -> None:
    market = open_market(KLINES)
    assert (market.symbol, market.frames_total) == ("ETHUSDT", 43_200)
    assert (market.rules.tick_size, market.rules.step_size) == (Decimal("0.01"), Decimal("0.0025"))
    assert market.first_ns == 1_748_623_140 * 10**9


@pytest.mark.parametrize(
    "stamp",
    ["2025-05-30 16:39:00+00:00", "2025-05-30 16:39:00", "2025-05-30T18:39:00+02:00", "1748623140"]
    + [f"1748623140{zeros}" for zeros in ("000", "000000", "000000000")],
)
def test_timestamps_in_all_their_forms(tmp_path: Path, stamp: str) -> None:
    market = open_market(klines(tmp_path, f"{stamp},10,11,9,10,4"))
    assert market.first_ns == 1_748_623_140 * 10**9
    assert market.last_ns - market.first_ns == 45 * 10**9, "one kline alone is a minute"


def test_the_interval_is_read_from_the_times_and_gaps_are_allowed(tmp_path: Path) -> None:
    market = open_market(klines(tmp_path, *(f"{at},10,11,9,10,4" for at in (0, 300, 600, 1500))))
    assert market.last_ns == 1725 * 10**9
    with pytest.raises(MarketError, match="line 4: it is no whole number of klines"):
        open_market(klines(tmp_path, *(f"{at},10,11,9,10,4" for at in (0, 300, 700))))


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("120,10,11,9,10", "5 columns instead of 6"),
        ("120,10,11,9,ten,4", "'ten' is not a number"),
        ("120,10,11,9,10,-4", "-4 is negative"),
        ("120,10,9,11,10,4", "low <= open"),
        ("120,0,11,0,10,4", "above 0"),
        ("soon,10,11,9,10,4", "'soon' is no time"),
        ("60,10,11,9,10,4", "not after the line above|not after that of the line above"),
        ("", "1 columns instead of 6"),
    ],
)
def test_a_malformed_kline_is_named(tmp_path: Path, row: str, why: str) -> None:
    with pytest.raises(MarketError, match=f"ETHUSDT-1m.csv, line 3: .*({why})"):
        open_market(klines(tmp_path, "60,10,11,9,10,4", row))


def test_a_file_of_klines_needs_its_columns_and_rows(tmp_path: Path) -> None:
    with pytest.raises(MarketError, match="is empty"):
        open_market(klines(tmp_path))
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("timestamp,close\n1,2\n")
    with pytest.raises(MarketError, match="line 1: expected the columns"):
        open_market(wrong)


def test_the_symbol_of_klines_is_what_is_asked_for_or_the_files_name(tmp_path: Path) -> None:
    rows = "60,10,11,9,10,4"
    assert open_market(klines(tmp_path, rows, name="BTCFDUSD-1m.csv")).rules.base_asset == "BTC"
    assert open_market(klines(tmp_path, rows, name="x.csv"), "ethbtc").rules.quote_asset == "BTC"


def test_displayed_sizes_are_never_zero(tmp_path: Path) -> None:
    quotes = events_of(open_market(klines(tmp_path, "60,10,11,9,10,0", "120,10,11,9,10,4")))
    sizes = [(event.bid_qty, event.ask_qty) for event in quotes if isinstance(event, Top)]
    assert sizes == [(1, 1)] * 8
