"""Market payloads: Binance's examples and a recorded hour read to the tick, insane books told, bad bytes refused."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.paths import SHARED
from tetrio.core.market import Kline, Quote, Trade
from tetrio.core.money import SymbolRules
from tetrio.errors import TetrioError, WireError
from tetrio.wire import stream
from tetrio.wire.stream import (
    AvgPrice,
    ControlReply,
    Insane,
    KlineUpdate,
    MarketDecoder,
    ServerShutdown,
    combined,
    stream_name,
)

MESSAGES = SHARED / "binance" / "messages"
RULES = SymbolRules(
    name="ETHFDUSD", base_asset="ETH", quote_asset="FDUSD", tick_size=Decimal("0.01"), step_size=Decimal("0.0001")
)
CAPTURE = SymbolRules(
    name="ETHUSDT", base_asset="ETH", quote_asset="USDT", tick_size=Decimal("0.01"), step_size=Decimal("0.0001")
)


def example(name: str) -> Any:
    return json.loads((MESSAGES / f"stream.{name}.json").read_text())


def compact(value: object) -> bytes:
    """As Binance writes it: no blanks."""
    return json.dumps(value, separators=(",", ":")).encode()


def decode(value: object, at_ns: int = 0) -> Any:
    """By every way there is: compact, with blanks, with members reversed, one at a time and in a batch."""
    decoder = MarketDecoder(RULES)
    reversed_ = dict(reversed(value.items())) if isinstance(value, dict) else value
    texts = [compact(value), json.dumps(value, indent=2).encode(), compact(reversed_)]
    found = [decoder.decode(text, at_ns) for text in texts]
    assert found[1:] == found[:-1]
    assert decoder.decode_all(texts, at_ns) == [each for each in found if each is not None]
    return found[0]


def test_prices_off_the_grid_never_come_nearer_to_each_other() -> None:
    decoder = MarketDecoder(RULES, rounds=True)
    assert decoder.decode_all([compact(book("3411.9", "3412.00"))]) == [Quote(341190, 341200, 7)]
    assert decoder.rounded == 0
    assert decoder.decode_all([compact(book("3411.909", "3411.911"))]) == [Quote(341190, 341192, 7)]
    assert decoder.rounded == 2
    with pytest.raises(WireError, match="not a multiple of"):
        MarketDecoder(RULES).decode(compact(book("3411.909", "3412.00")))


def book(bid: object, ask: object, **more: object) -> dict[str, object]:
    return {"u": 7, "s": "ETHFDUSD", "b": bid, "B": "1.00000000", "a": ask, "A": "1.00000000"} | more


# --- Binance's examples ---


@pytest.mark.parametrize("wrap", ["", ".combined"])
def test_a_book_ticker_is_a_quote_in_ticks(wrap: str) -> None:
    assert decode(example(f"bookTicker{wrap}"), at_ns=99) == Quote(341236, 341237, 24411905113, 99)


def test_a_trade_is_read_raw_and_combined() -> None:
    expected = Trade(341237, 2550, 91733390, 1784626200500, buyer_is_maker=False)
    assert decode(example("trade")) == expected
    assert decode({"stream": "ethfdusd@trade", "data": example("trade")}) == expected


@pytest.mark.parametrize(
    ("name", "closed", "high"), [("kline_1m", False, 341241.0), ("kline_1m.closed", True, 341344.0)]
)
def test_a_kline_comes_with_its_interval(name: str, closed: bool, high: float) -> None:
    update = decode(example(name))
    assert isinstance(update, KlineUpdate)
    assert (update.interval, update.event_ms) == ("1m", example(name)["E"])
    assert (update.kline.open_ms, update.kline.high, update.kline.closed) == (1784626200000, high, closed)
    assert decode({"stream": "ethfdusd@kline_1m", "data": example(name)}) == update


def test_klines_of_several_intervals_share_a_line() -> None:
    found = []
    for interval in ("1s", "1m", "4h"):
        frame = example("kline_1m")
        frame["k"]["i"] = interval
        found.append(decode({"stream": f"ethfdusd@kline_{interval}", "data": frame}).interval)
    assert found == ["1s", "1m", "4h"]


def test_candles_of_another_days_beginning_are_not_taken_for_ours() -> None:
    assert decode(example("kline_1d.utc8.combined")) is None


def test_the_average_price_is_a_beat() -> None:
    assert decode(example("avgPrice")) == AvgPrice("3410.92114837", 1784626201000)


@pytest.mark.parametrize("name", ["serverShutdown.raw", "serverShutdown.combined"])
def test_a_restart_of_the_server_is_read_in_both_shapes(name: str) -> None:
    assert decode(example(name)) == ServerShutdown(1784629800000)


@pytest.mark.parametrize(
    "name",
    [
        "aggTrade", "aggTrade.combined", "blockTrade", "depth5", "depth5.combined", "depthUpdate",
        "depthUpdate.combined", "miniTicker", "miniTicker.arr", "ticker", "ticker_1h", "ticker_1h.arr",
        "referencePrice", "referencePrice.null",
    ],
)  # fmt: skip
def test_what_nobody_here_needs_is_none(name: str) -> None:
    assert decode(example(name)) is None


def test_no_example_is_unreadable() -> None:
    decoder = MarketDecoder(RULES)
    for path in MESSAGES.glob("stream.*.json"):
        frame = json.loads(path.read_text())
        for each in frame if path.name.startswith("stream.control.error") else [frame]:
            decoder.decode(compact(each))


def test_replies_to_control_messages_are_told_by_success_and_id() -> None:
    assert decode(example("control.subscribe.response")) == ControlReply(1, None)
    assert decode(example("control.unsubscribe.response")) == ControlReply("u-2", None)
    assert decode(example("control.list.response")) == ControlReply(3, ["ethfdusd@bookTicker"])
    assert decode(example("control.get-property.response")) == ControlReply(5, True)
    flat = [decode(each) for each in example("control.error.documented")]
    assert flat[0] == ControlReply(6, None, 0, "Unknown property")
    assert [each.code for each in flat] == [0, 1, 2, 2, 2, 2, 2, 3]
    nested = [decode(each) for each in example("control.error.observed")]
    assert nested[1] == ControlReply(8, None, 4, "Too many subscriptions")


def test_another_symbol_is_not_ours_to_read() -> None:
    """Not even where the stream's name says that it is."""
    for ask in ("2.00000000", "2.00000001"):  # its grid is another, too
        other = book("1.00000000", ask) | {"s": "BTCUSDT"}
        assert decode(other) is None
        assert decode({"stream": "ethfdusd@bookTicker", "data": other}) is None
    assert decode(example("trade") | {"s": "BTCUSDT"}) is None
    assert decode(example("kline_1m") | {"s": "BTCUSDT"}) is None
    assert decode(example("avgPrice") | {"s": "BTCUSDT"}) is None


def test_unknown_members_and_kinds_do_no_harm() -> None:
    assert decode(book("1.00000000", "1.01000000", z={"deep": [None]})) == Quote(100, 101, 7)
    assert decode({"e": "moonPhase", "E": 1}) is None
    assert decode({"stream": "!new", "data": [1, 2]}) is None


# --- sanity ---


@pytest.mark.fault("F85")
@pytest.mark.parametrize(
    ("bid", "ask", "ticks"),
    [
        ("3412.37000000", "3412.36000000", (341237, 341236)),
        ("3412.36000000", "3412.36000000", (341236, 341236)),
        ("0.00000000", "3412.36000000", (0, 341236)),
        ("3412.36000000", "0.00000000", (341236, 0)),
        ("0.00000000", "0.00000000", (0, 0)),
        (None, "3412.36000000", (0, 341236)),
        ("3412.36000000", "", (341236, 0)),
    ],
)
def test_a_crossed_locked_empty_or_one_sided_book_is_no_quote(bid: object, ask: object, ticks: tuple[int, int]) -> None:
    assert decode(book(bid, ask), at_ns=5) == Insane(*ticks, 7, 5)
    assert decode({"stream": "ethfdusd@bookTicker", "data": book(bid, ask)}, at_ns=5) == Insane(*ticks, 7, 5)


def test_a_side_that_is_missing_is_one_sided() -> None:
    assert decode({"u": 7, "s": "ETHFDUSD", "a": "1.00000000"}) == Insane(0, 100, 7)


@pytest.mark.parametrize(
    "price", ["3412.365", "-1.00000000", "NaN", "Infinity", "1e3", "abc", " 1.00", "1_0", "9" * 5000]
)
def test_a_price_off_the_grid_or_no_number_is_a_wire_error(price: str) -> None:
    for frame in (
        book(price, "9999999.00000000"),
        {"stream": "ethfdusd@bookTicker", "data": book(price, "9999999.00000000")},
        example("trade") | {"p": price},
        {"stream": "ethfdusd@trade", "data": example("trade") | {"p": price}},
        example("kline_1m") | {"k": example("kline_1m")["k"] | {"o": price}},
    ):
        with pytest.raises(WireError, match="market payload that cannot be read"):
            MarketDecoder(RULES).decode(compact(frame))
        with pytest.raises(WireError):
            MarketDecoder(RULES).decode_all([compact(frame)])


@pytest.mark.parametrize(
    "change", [{"p": "0.00000000"}, {"q": "0.00000000"}, {"q": "0.00001000"}, {"q": "-1.00000000"}]
)
def test_a_trade_of_nothing_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(WireError):
        MarketDecoder(RULES).decode(compact(example("trade") | change))


@pytest.mark.parametrize("change", [{"l": "3412.40000000"}, {"h": "3411.00000000"}, {"l": "0.00000000"}])
def test_a_candle_that_contradicts_itself_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(WireError, match="contradict"):
        MarketDecoder(RULES).decode(compact(example("kline_1m") | {"k": example("kline_1m")["k"] | change}))


BAD = [
    b"",
    b"null",
    b"5",
    b"{",
    b'{"u":1}',
    b'{"u":NaN,"s":"ETHFDUSD"}',
    b'{"u":1e999,"s":"ETHFDUSD","b":"1","a":"2"}',
    b'{"u":' + b"9" * 5000 + b',"s":"ETHFDUSD","b":"1","a":"2"}',
    b'{"u":1,"s":"ETHFDUSD","b":"\xff","a":"2"}',
    b'{"u":1,"s":"ETHFDUSD","b":1.5,"a":"2"}',
    b'{"x":' + b"[" * 100_000,
    b'{"data":' * 100_000,
    b'{"stream":"ethfdusd@bookTicker","data":{"u":1}}',
    b'{"stream":"ethfdusd@bookTicker","data":{"u":1,"s":"ETHFDUSD"',
    b'{"stream":"ethfdusd@trade","data":{"e":"trade"}}',
    b'{"e":"trade"}',
    b'{"e":"kline","E":1,"s":"ETHFDUSD","k":5}',
    b'{"e":5}',
    b'{"error":5}',
    b"<html>",
]


@pytest.mark.parametrize("payload", BAD, ids=range(len(BAD)))
def test_a_payload_that_cannot_be_read_is_a_wire_error(payload: bytes) -> None:
    with pytest.raises(WireError):
        MarketDecoder(RULES).decode(payload)
    good = compact(example("bookTicker"))
    bad: list[WireError] = []
    assert len(MarketDecoder(RULES).decode_all([good, payload, good], bad=bad)) == 2
    assert len(bad) == 1


@pytest.mark.fault("F111", "F112")
@settings(max_examples=400, deadline=None)
@given(st.data())
def test_mutated_payloads_are_read_or_refused_and_never_crash(data: st.DataObject) -> None:
    name = data.draw(
        st.sampled_from(["bookTicker", "bookTicker.combined", "trade", "kline_1m", "serverShutdown.combined"])
    )
    text = bytearray(compact(example(name)))
    for _ in range(data.draw(st.integers(1, 3))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    try:
        found: object = MarketDecoder(RULES).decode(bytes(text), 3)
    except TetrioError as error:
        found = type(error)
    bad: list[WireError] = []
    batch = MarketDecoder(RULES).decode_all([bytes(text)], 3, bad)
    assert batch + [type(error) for error in bad] == ([] if found is None else [found])


@pytest.mark.fault("F111", "F112")
@settings(max_examples=500, deadline=None)
@given(st.data())
def test_books_read_in_one_go_are_those_read_one_by_one(data: st.DataObject) -> None:
    texts: list[bytes] = []
    combined_line = data.draw(st.booleans())
    for update_id in range(data.draw(st.integers(2, 6))):
        body = compact({**book("3411.90", f"{3411.91 + update_id:.2f}"), "u": update_id, "s": "ETHFDUSD"})
        text = bytearray(combined("ethfdusd@bookTicker", body) if combined_line else body)
        if data.draw(st.integers(0, 2)) == 0:
            kind = data.draw(st.sampled_from(["byte", "cut", "twice", "bracket", "other", "null"]))
            if kind == "byte":
                text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
            elif kind == "cut":
                del text[data.draw(st.integers(0, len(text) - 1)) :]
            elif kind == "twice":
                text += b"," + text
            elif kind == "null":
                text = bytearray(text.replace(b'"3411.90"', b"null"))
            else:
                text = bytearray(text.replace(b"ETHFDUSD", b"BTC[USDT" if kind == "bracket" else b"BTCFDUSD"))
        texts.append(bytes(text))
    one_by_one: list[object] = []
    for text_ in texts:
        try:
            found = MarketDecoder(RULES).decode(text_, 3)
        except WireError:
            continue
        if found is not None:
            one_by_one.append(found)
    assert MarketDecoder(RULES).decode_all(texts, 3, []) == one_by_one


# --- a recorded hour ---


@pytest.fixture(scope="module")
def payloads() -> list[bytes]:
    with gzip.open(SHARED / "data" / "capture" / "ethusdt_20240809.gz") as lines:
        return [line.split(b" ", 1)[1].rstrip() for line in lines][:20_000]


def test_a_recording_is_read_as_the_exact_way_reads_it(payloads: list[bytes]) -> None:
    expected: list[object] = []
    for payload in payloads:
        frame = json.loads(payload)
        data = frame.get("data", {})
        if frame.get("stream") == "ethusdt@bookTicker":
            expected.append(Quote(CAPTURE.price_ticks(data["b"]), CAPTURE.price_ticks(data["a"]), data["u"], 4))
        elif frame.get("stream") == "ethusdt@trade":
            price, qty = CAPTURE.price_ticks(data["p"]), CAPTURE.qty_lots(data["q"])
            expected.append(Trade(price, qty, data["t"], data["T"], data["m"]))
    decoder = MarketDecoder(CAPTURE)
    assert decoder.decode_all(payloads, 4) == expected
    assert [found for payload in payloads[:2000] if (found := decoder.decode(payload, 4)) is not None] == (
        decoder.decode_all(payloads[:2000], 4)
    )


def test_quotes_of_a_recording_come_out_of_our_encoder_byte_by_byte(payloads: list[bytes]) -> None:
    for payload in payloads[:3000]:
        frame = json.loads(payload)
        if frame.get("stream") == "ethusdt@bookTicker":
            data = frame["data"]
            ours = stream.book_ticker(data["s"], data["u"], data["b"], data["B"], data["a"], data["A"])
            assert combined(frame["stream"], ours) == payload


# --- the exchange's side ---


def same(written: bytes, name: str) -> None:
    """Members, types, values and order of the example."""
    assert json.dumps(json.loads(written)) == json.dumps(example(name))


def test_what_we_write_is_what_binance_writes() -> None:
    e = example("bookTicker")
    ours = stream.book_ticker(e["s"], e["u"], e["b"], e["B"], e["a"], e["A"])
    same(ours, "bookTicker")
    same(combined(stream_name("ETHFDUSD", "bookTicker"), ours), "bookTicker.combined")
    e = example("trade")
    same(stream.trade(e["s"], e["t"], e["p"], e["q"], e["T"], e["m"], e["E"]), "trade")
    assert json.loads(stream.trade(e["s"], e["t"], e["p"], e["q"], e["T"], e["m"]))["E"] == e["T"]
    e = example("aggTrade")
    ours = stream.agg_trade(e["s"], e["a"], e["p"], e["q"], e["f"], e["l"], e["T"], e["m"], e["E"])
    same(ours, "aggTrade")
    same(combined("ethfdusd@aggTrade", ours), "aggTrade.combined")
    e = example("avgPrice")
    same(stream.avg_price(e["s"], e["E"], e["w"], e["T"]), "avgPrice")
    e = example("depthUpdate")
    ours = stream.depth_update(e["s"], e["E"], e["U"], e["u"], e["b"], e["a"])
    same(ours, "depthUpdate")
    same(combined("ethfdusd@depth@100ms", ours), "depthUpdate.combined")
    e = example("depth5")
    same(stream.partial_depth(e["lastUpdateId"], e["bids"], e["asks"]), "depth5")
    e = example("miniTicker")
    same(
        stream.mini_ticker(
            e["s"], e["E"], close=e["c"], open=e["o"], high=e["h"], low=e["l"], volume=e["v"], quote_volume=e["q"]
        ),
        "miniTicker",
    )
    ours = stream.server_shutdown(1784629800000)
    same(ours, "serverShutdown.raw")
    same(combined("!serverShutdown", ours), "serverShutdown.combined")


@pytest.mark.parametrize("name", ["kline_1m", "kline_1m.closed"])
def test_a_kline_of_ours_is_one_of_binances_and_is_read_back(name: str) -> None:
    e, k = example(name), example(name)["k"]
    ours = stream.kline(
        e["s"], k["i"], e["E"], open_ms=k["t"], close_ms=k["T"], open=k["o"], high=k["h"], low=k["l"], close=k["c"],
        volume=k["v"], quote_volume=k["q"], trades=k["n"], first_id=k["f"], last_id=k["L"], taker_base=k["V"],
        taker_quote=k["Q"], closed=k["x"],
    )  # fmt: skip
    same(ours, name)
    ticks = {each: float(RULES.price_ticks(k[each])) for each in "ohlc"}
    assert MarketDecoder(RULES).decode(ours) == KlineUpdate(
        "1m", Kline(k["t"], ticks["o"], ticks["h"], ticks["l"], ticks["c"], k["x"]), e["E"]
    )


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 10**10), st.integers(1, 10**6), st.integers(0, 2**53), st.booleans())
def test_what_the_exchange_sends_is_what_the_bot_reads(bid: int, spread: int, update_id: int, maker: bool) -> None:
    decoder = MarketDecoder(RULES)
    bid_text, ask_text = RULES.price_text(bid), RULES.price_text(bid + spread)
    payload = stream.book_ticker("ETHFDUSD", update_id, bid_text, "1.00000000", ask_text, "2.00000000")
    quote = Quote(bid, bid + spread, update_id, 1)
    assert decoder.decode_all([payload, combined("ethfdusd@bookTicker", payload)], 1) == [quote, quote]
    payload = stream.trade("ETHFDUSD", update_id, bid_text, RULES.qty_text(spread), 5, maker)
    trade = Trade(bid, spread, update_id, 5, maker)
    assert decoder.decode_all([payload, combined("ethfdusd@trade", payload)]) == [trade, trade]
