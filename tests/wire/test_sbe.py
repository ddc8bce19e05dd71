"""The SBE codec against the example frames, and against a reader and writer that know nothing but the schema file."""

from __future__ import annotations

import json
import struct
import xml.etree.ElementTree as ET
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.paths import SHARED
from tetrio.errors import WireError
from tetrio.wire import sbe

BINANCE = SHARED / "binance"
EXAMPLES = sorted((BINANCE / "messages").glob("sbe.*StreamEvent.json"))
FRAMES = {path.name.split(".")[1]: json.loads(path.read_text()) for path in EXAMPLES}

# -- the schema file, read without a thought for what it describes ----------------------------------------------------
PRIMITIVES = {"int64": "q", "int8": "b", "uint8": "B", "uint16": "H", "uint32": "I"}
SCHEMA = ET.parse(BINANCE / "sbe" / "stream_1_0.xml").getroot()
TYPES = {each.get("name"): each.get("primitiveType") for each in SCHEMA.iterfind("types/type")} | {
    each.get("name"): each.get("encodingType") for each in SCHEMA.iterfind("types/enum")
}
COMPOSITES = {
    each.get("name"): "<" + "".join(PRIMITIVES[part.get("primitiveType", "")] for part in each)
    for each in SCHEMA.iterfind("types/composite")
}
MESSAGES = {each.get("name", ""): each for each in SCHEMA.iterfind("{http://fixprotocol.io/2016/sbe}message")}


def fixed(node: ET.Element) -> tuple[list[str], str]:
    """Names and struct format of the fields of a block that are on the wire."""
    fields = [each for each in node.iterfind("field") if each.get("presence") != "constant"]
    names = [each.get("name", "") for each in fields]
    return names, "<" + "".join(PRIMITIVES[TYPES[each.get("type")] or ""] for each in fields)


def by_schema(values: dict[str, Any], *, version: int = 0, more: bytes = b"") -> bytes:
    """The frame of a message as the schema file has it; `more` follows every block, as a later version would do."""
    node = MESSAGES[values["message"]]
    names, layout = fixed(node)
    header = struct.calcsize(layout) + len(more), int(node.get("id", "")), int(SCHEMA.get("id", "")), version
    out = struct.pack(COMPOSITES["messageHeader"], *header)
    out += struct.pack(layout, *(values[name] for name in names)) + more
    for group in node.iterfind("group"):
        rows = values[group.get("name", "")]
        inner, element = fixed(group)
        dimension = COMPOSITES[group.get("dimensionType", "groupSizeEncoding")]
        out += struct.pack(dimension, struct.calcsize(element) + len(more), len(rows))
        for row in rows:
            out += struct.pack(element, *(row[name] for name in inner)) + more
    symbol: bytes = values["symbol"].encode()
    return out + struct.pack("<B", len(symbol)) + symbol + (more if version else b"")


NAMES = {
    "eventTime": "event_us",
    "transactTime": "transact_us",
    "bookUpdateId": "update_id",
    "firstBookUpdateId": "first_id",
    "lastBookUpdateId": "last_id",
    "priceExponent": "price_exponent",
    "qtyExponent": "qty_exponent",
    "bidPrice": "bid",
    "bidQty": "bid_qty",
    "askPrice": "ask",
    "askQty": "ask_qty",
    "symbol": "symbol",
}
KINDS: dict[str, type[sbe.Event]] = {
    "TradesStreamEvent": sbe.Trades,
    "BestBidAskStreamEvent": sbe.BestBidAsk,
    "DepthSnapshotStreamEvent": sbe.DepthSnapshot,
    "DepthDiffStreamEvent": sbe.DepthDiff,
}


def as_schema(event: sbe.Event) -> dict[str, Any]:
    """A record by the schema's names."""
    ours = {ours: name for name, ours in NAMES.items()}
    values: dict[str, Any] = {"message": next(name for name, kind in KINDS.items() if type(event) is kind)}
    for name, value in msgspec.structs.asdict(event).items():
        if name == "trades":
            values[name] = [dict(zip(("id", "price", "qty", "isBuyerMaker"), trade, strict=True)) for trade in value]
        elif name in {"bids", "asks"}:
            values[name] = [{"price": price, "qty": qty} for price, qty in value]
        else:
            values[ours[name]] = value
    return values


INT64 = st.integers(-(2**63), 2**63 - 1)
INT8 = st.integers(-128, 127)
LEVELS = st.lists(st.tuples(INT64, INT64), max_size=5).map(tuple)
SYMBOL = st.one_of(st.just("ETHFDUSD"), st.just("这是测试币456"), st.text(max_size=40))
TRADES = st.lists(st.builds(sbe.Trade, INT64, INT64, INT64, st.booleans()), max_size=5).map(tuple)
EVENTS: st.SearchStrategy[sbe.Event] = st.one_of(
    st.builds(sbe.Trades, INT64, INT64, INT8, INT8, TRADES, SYMBOL),
    st.builds(sbe.BestBidAsk, INT64, INT64, INT8, INT8, INT64, INT64, INT64, INT64, SYMBOL),
    st.builds(sbe.DepthSnapshot, INT64, INT64, INT8, INT8, LEVELS, LEVELS, SYMBOL),
    st.builds(sbe.DepthDiff, INT64, INT64, INT64, INT8, INT8, LEVELS, LEVELS, SYMBOL),
)


# -- the examples -----------------------------------------------------------------------------------------------------
def text(mantissa: int, exponent: int) -> str:
    """Fixed point with as many places as the exponent has."""
    digits = f"{mantissa:0{1 - exponent}d}"
    return f"{digits[:exponent]}.{digits[exponent:]}"


def as_example(event: sbe.Event) -> dict[str, Any]:
    """A record as the examples print it: values in decimals, what is constant included."""
    values = as_schema(event)

    def row(each: dict[str, Any]) -> dict[str, Any]:
        return each | {"price": text(each["price"], event.price_exponent), "qty": text(each["qty"], event.qty_exponent)}

    for name, value in values.items():
        if name == "trades":
            values[name] = [row(each) | {"isBestMatch": True} for each in value]
        elif name in {"bids", "asks"}:
            values[name] = [[level["price"], level["qty"]] for level in map(row, value)]
        elif name.endswith("Price"):
            values[name] = text(value, event.price_exponent)
        elif name.endswith("Qty"):
            values[name] = text(value, event.qty_exponent)
    return values


@pytest.mark.parametrize("name", FRAMES)
def test_an_example_is_read_and_written_byte_for_byte(name: str) -> None:
    frame = bytes.fromhex(FRAMES[name]["hex"])
    event = sbe.decode(frame)
    assert type(event) is KINDS[name]
    assert as_example(event) == FRAMES[name]["decoded"]
    assert sbe.encode(event) == frame
    assert len(frame) == FRAMES[name]["length"]


def test_every_message_of_the_schema_has_a_record() -> None:
    assert MESSAGES.keys() == KINDS.keys() == FRAMES.keys()


def test_the_best_prices_as_they_are_in_the_facts() -> None:
    event = sbe.decode(bytes.fromhex(FRAMES["BestBidAskStreamEvent"]["hex"]))
    assert event == sbe.BestBidAsk(1784626200502208, 24411905113, -2, -4, 341236, 18420, 341237, 7714, "ETHFDUSD")


# -- the schema -------------------------------------------------------------------------------------------------------
@given(EVENTS)
def test_what_is_written_is_what_the_schema_says_and_is_read_back(event: sbe.Event) -> None:
    frame = sbe.encode(event)
    assert frame == by_schema(as_schema(event))
    assert sbe.decode(frame) == event


@given(EVENTS, st.binary(min_size=1, max_size=20), st.integers(1, 65535))
def test_what_a_later_version_appends_is_skipped(event: sbe.Event, more: bytes, version: int) -> None:
    assert sbe.decode(by_schema(as_schema(event), version=version, more=more)) == event


# -- what cannot be read ----------------------------------------------------------------------------------------------
@given(EVENTS)
def test_a_truncated_message_is_refused_at_every_length(event: sbe.Event) -> None:
    frame = sbe.encode(event)
    for length in range(len(frame)):
        with pytest.raises(WireError):
            sbe.decode(frame[:length])


@given(EVENTS, st.binary(min_size=1, max_size=8))
def test_bytes_after_the_end_are_refused_of_our_version(event: sbe.Event, more: bytes) -> None:
    with pytest.raises(WireError, match="after its end"):
        sbe.decode(sbe.encode(event) + more)


HEADERS = st.builds(
    struct.Struct("<HHHH").pack,
    st.sampled_from([0, 17, 18, 26, 50, 51, 65535]),
    st.integers(9999, 10004),
    st.integers(0, 2),
    st.integers(0, 2),
)


@given(st.one_of(st.binary(max_size=200), st.builds(bytes.__add__, HEADERS, st.binary(max_size=200))))
@example(b"")
def test_any_bytes_give_a_record_or_a_wire_error(payload: bytes) -> None:
    try:
        event = sbe.decode(payload)
    except WireError:
        return
    assert sbe.decode(sbe.encode(event)) == event


@given(EVENTS, st.data())
def test_a_wrong_byte_gives_a_record_or_a_wire_error(event: sbe.Event, data: st.DataObject) -> None:
    frame = bytearray(sbe.encode(event))
    frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    try:
        other = sbe.decode(bytes(frame))
    except WireError:
        return
    assert sbe.decode(sbe.encode(other)) == other


def changed(name: str, at: int, layout: str, value: int) -> bytes:
    frame = bytearray.fromhex(FRAMES[name]["hex"])
    struct.pack_into(layout, frame, at, value)
    return bytes(frame)


WRONG = {
    "another schema": (changed("BestBidAskStreamEvent", 4, "<H", 3), "schema is 3"),
    "another template": (changed("BestBidAskStreamEvent", 2, "<H", 50), "template 50"),
    "a root that is too short": (changed("BestBidAskStreamEvent", 0, "<H", 49), "root block of 49"),
    "an element that is too short": (changed("TradesStreamEvent", 26, "<H", 24), "block of 24"),
    "four thousand million trades": (changed("TradesStreamEvent", 28, "<I", 2**32 - 1), "not there"),
    "levels that are not there": (changed("DepthDiffStreamEvent", 36, "<H", 65535), "not there"),
    "elements of no bytes": (changed("DepthSnapshotStreamEvent", 26, "<H", 0), "block of 0"),
    "a flag of 2": (changed("TradesStreamEvent", 56, "<B", 2), "neither true nor false"),
    "a symbol that is no text": (changed("BestBidAskStreamEvent", 59, "<B", 0xFF), "UTF-8"),
    "a symbol that is no text, in a depth": (changed("DepthDiffStreamEvent", 91, "<B", 0xFF), "UTF-8"),
    "a symbol that is not whole": (changed("BestBidAskStreamEvent", 58, "<B", 9), "truncated"),
    "a JSON text": (b'{"result":null,"id":1}', "schema"),
    "nothing": (b"", "truncated"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said(name: str) -> None:
    payload, why = WRONG[name]
    with pytest.raises(WireError, match=why):
        sbe.decode(payload)


BEST = sbe.BestBidAsk(0, 0, -8, -8, 1, 1, 2, 1, "X")


@pytest.mark.parametrize(
    "change",
    [{"bid": 2**63}, {"price_exponent": -129}, {"symbol": "X" * 256}, {"symbol": "\ud800"}],
    ids=["a mantissa", "an exponent", "a symbol", "a symbol that is no text"],
)
def test_what_has_no_room_is_not_written(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no place"):
        sbe.encode(msgspec.structs.replace(BEST, **change))
