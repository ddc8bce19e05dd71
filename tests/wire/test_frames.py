"""The bulk frame reader against wsproto: the same messages, the same refusals, however the bytes are cut."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol, Opcode, ParseFailed

from tetrio.errors import WireError
from tetrio.wire.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    FrameError,
    FrameReader,
    binary_frame,
    client_frame,
    close_code,
    text_frame,
    text_frames,
)

Message = tuple[int, bytes]
EDGES = [0, 1, 2, 124, 125, 126, 127, 200, 65535, 65536, 65537]


def frame(opcode: int, payload: bytes, *, final: bool = True) -> bytes:
    """A server frame, made here so that neither implementation makes what it reads."""
    length = len(payload)
    first = bytes((0x80 * final | opcode,))
    if length < 126:
        return first + bytes((length,)) + payload
    if length < 65536:
        return first + b"\x7e" + length.to_bytes(2, "big") + payload
    return first + b"\x7f" + length.to_bytes(8, "big") + payload


def by_wsproto(chunks: list[bytes]) -> tuple[list[Message], bool]:
    """What wsproto makes of the bytes, and whether it refused."""
    protocol = FrameProtocol(client=True, extensions=[])
    out: list[Message] = []
    parts: list[bytes] = []
    try:
        for chunk in chunks:
            protocol.receive_bytes(chunk)
            for got in protocol.received_frames():
                if got.opcode is Opcode.CLOSE:
                    assert isinstance(got.payload, tuple)
                    code, reason = got.payload
                    out.append((CLOSE, b"" if code == 1005 else int(code).to_bytes(2, "big") + reason.encode()))
                    return out, False
                payload = got.payload.encode() if isinstance(got.payload, str) else got.payload
                assert isinstance(payload, bytes)
                if got.opcode.iscontrol():
                    out.append((int(got.opcode), payload))
                    continue
                parts.append(payload)
                if got.message_finished:
                    out.append((int(got.opcode), b"".join(parts)))
                    parts = []
    except ParseFailed:
        return out, True
    return out, False


def by_us(chunks: list[bytes]) -> tuple[list[Message], bool]:
    reader = FrameReader(max_message=1 << 63)  # wsproto has no bound
    out: list[Message] = []
    for chunk in chunks:
        try:
            out += reader.feed(chunk)
        except FrameError as error:
            return out + error.before, True
    return out, False


def cut(data: bytes, at: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(place % (len(data) + 1) for place in at)})
    return [data[a:b] for a, b in itertools.pairwise(places)]


@st.composite
def payloads(draw: st.DrawFn, *, text: bool) -> bytes:
    if draw(st.booleans()):
        size = draw(st.sampled_from(EDGES))
        return (b"\xc3\xa9" if text else b"\xff\x00") * (size // 2) + b"x" * (size % 2)
    return draw(st.text(max_size=40)).encode() if text else draw(st.binary(max_size=40))


@st.composite
def conversations(draw: st.DrawFn) -> bytes:
    """Messages of a well-behaved server: whole or fragmented at any byte, control frames anywhere between."""
    out = b""
    for _ in range(draw(st.integers(1, 6))):
        text = draw(st.booleans())
        payload = draw(payloads(text=text))
        pieces = cut(payload, draw(st.lists(st.integers(0, 1 << 17), max_size=3))) or [b""]
        for i, piece in enumerate(pieces):
            opcode = CONTINUATION if i else TEXT if text else BINARY
            out += frame(opcode, piece, final=i == len(pieces) - 1)
            if draw(st.booleans()):
                out += frame(draw(st.sampled_from([PING, PONG])), draw(st.binary(max_size=125)))
    if draw(st.booleans()):
        ends = [b"", b"\x03\xe8", b"\x03\xf0Too many requests", b"\x0f\xa0\xc3\xa9"]
        out += frame(CLOSE, draw(st.sampled_from(ends)))
    return out


def apart(chunks: list[bytes]) -> tuple[list[bytes], list[Message], bool]:
    """(texts, everything else, whether it was refused) by the way of market lines."""
    reader = FrameReader(max_message=1 << 63)
    texts: list[bytes] = []
    others: list[Message] = []
    for chunk in chunks:
        try:
            others += reader.feed_texts(chunk, texts)
        except FrameError as error:
            return texts, others + [each for each in error.before if each[0] != TEXT], True
    return texts, others, False


@st.composite
def storms(draw: st.DrawFn) -> bytes:
    """Texts of much the same length back to back, now and then something else, or a byte that is wrong."""
    length, out = draw(st.sampled_from([0, 1, 90, 124, 125, 126, 127, 128, 160, 254, 255, 256])), b""
    for _ in range(draw(st.integers(1, 12))):
        size = max(0, length + draw(st.integers(-1, 1)))
        kind = draw(st.integers(0, 9))
        fill = b"\x81\x7e\x00" if kind == 0 else b"\xc3\x81" if kind == 1 else b"x"
        out += frame(TEXT, (fill * size)[:size])
        if kind == 2:
            out += frame(PING, b"p" * draw(st.integers(0, 125)))
    if draw(st.booleans()):
        at = draw(st.integers(0, len(out) - 1))
        out = out[:at] + bytes((draw(st.integers(0, 255)),)) + out[at + 1 :]
    return out


CUTS = st.lists(st.integers(0, 1 << 18), max_size=8)


@settings(max_examples=150, deadline=None)
@given(conversations(), CUTS)
def test_any_conversation_in_any_chunks_reads_as_wsproto_reads_it(data: bytes, at: list[int]) -> None:
    ours = by_us(cut(data, at))
    assert ours == by_wsproto([data])
    assert not ours[1]


@settings(max_examples=400, deadline=None)
@given(conversations(), CUTS, st.lists(st.tuples(st.integers(0, 1 << 18), st.integers(1, 255)), min_size=1, max_size=3))
def test_mutated_bytes_are_refused_exactly_where_wsproto_refuses(
    data: bytes, at: list[int], flips: list[tuple[int, int]]
) -> None:
    mutated = bytearray(data)
    for place, change in flips:
        # half of the changes in the first bytes, where the headers are
        mutated[place % min(len(data), 200 if place % 2 else len(data))] ^= change
    chunks = cut(bytes(mutated), at)
    assert by_us(chunks) == by_wsproto(chunks)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60), CUTS)
def test_random_bytes_are_refused_exactly_where_wsproto_refuses(data: bytes, at: list[int]) -> None:
    chunks = cut(data, at)
    assert by_us(chunks) == by_wsproto(chunks)


def headers() -> Iterator[bytes]:
    for first in range(256):
        for second in (0, 1, 5, 125, 126, 127, 128, 254, 255):
            yield bytes((first, second))


def test_every_first_byte_is_judged_as_wsproto_judges_it() -> None:
    for header in headers():
        for tail in (b"", b"\x00\x05hello", b"\x00\x7e" + b"a" * 126, b"\x00" * 5 + b"\x01\x00\x00" + b"b" * 65536):
            data = header + tail
            assert by_us([data]) == by_wsproto([data]), data[:12]


@pytest.mark.parametrize("size", EDGES)
def test_a_frame_of_our_exchange_reads_back(size: int) -> None:
    payload = b"p" * size
    assert text_frame(payload) == frame(TEXT, payload)
    assert FrameReader().feed(text_frame(payload)) == [(TEXT, payload)]
    assert text_frames([payload, b"", payload]) == text_frame(payload) + text_frame(b"") + text_frame(payload)


@pytest.mark.parametrize("size", EDGES)
def test_a_binary_frame_of_our_exchange_reads_back_whatever_is_in_it(size: int) -> None:
    payload = b"\xff" * size
    assert binary_frame(payload) == frame(BINARY, payload)
    sent = binary_frame(payload) + text_frame(b"{}") + binary_frame(payload)
    assert FrameReader().feed(sent) == [(BINARY, payload), (TEXT, b"{}"), (BINARY, payload)]


@pytest.mark.parametrize("size", EDGES)
def test_a_client_frame_is_read_by_a_server(size: int) -> None:
    payload = random.Random(size).randbytes(size)
    server = FrameProtocol(client=False, extensions=[])
    server.receive_bytes(client_frame(BINARY, payload, b"\x01\x80\xff\x00"))
    assert b"".join(bytes(got.payload) for got in server.received_frames()) == payload  # type: ignore[arg-type]


def test_a_pong_of_the_client_echoes_the_payload_masked() -> None:
    sent = client_frame(PONG, b"1784626200000", b"abcd")
    assert sent[:6] == b"\x8a\x8dabcd"
    assert bytes(b ^ b"abcd"[i % 4] for i, b in enumerate(sent[6:])) == b"1784626200000"


def test_control_frames_come_between_the_fragments_of_a_message() -> None:
    data = frame(TEXT, b"one ", final=False) + frame(PING, b"beat") + frame(CONTINUATION, b"two")
    assert FrameReader().feed(data) == [(PING, b"beat"), (TEXT, b"one two")]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_is_taken_and_not_kept(kind: type) -> None:
    reader = FrameReader()
    whole = text_frame(b"abc")
    buffer = bytearray(whole[:3])
    assert reader.feed(kind(buffer)) == []
    buffer[:] = b"\xff\xff\xff"
    assert reader.feed(kind(whole[3:])) == [(TEXT, b"abc")]


@pytest.mark.fault("F116")
@pytest.mark.parametrize(
    ("data", "code", "why"),
    [
        (frame(TEXT, b"\xff"), 1007, "not UTF-8"),
        (frame(TEXT, b"\xc3", final=False) + frame(CONTINUATION, b"x"), 1007, "not UTF-8"),
        (b"\xc1\x00", 1002, "reserved bit"),
        (b"\x83\x00", 1002, "opcode 0x3"),
        (b"\x81\x81aaaab", 1002, "masked"),
        (b"\x09\x00", 1002, "control frame"),
        (b"\x89\x7e", 1002, "control frame"),
        (frame(CONTINUATION, b"x"), 1002, "continuation"),
        (frame(TEXT, b"x", final=False) + frame(TEXT, b"y"), 1002, "inside another"),
        (frame(CLOSE, b"\x03"), 1002, "close frame"),
        (frame(CLOSE, (1005).to_bytes(2, "big")), 1002, "close frame"),
        (frame(CLOSE, (999).to_bytes(2, "big")), 1002, "close frame"),
        (frame(CLOSE, b"\x03\xe8\xff"), 1007, "not UTF-8"),
        (b"\x81\x7e\x00\x05hello", 1002, "longer than need be"),
        (b"\x81\x7f" + b"\xff" * 8, 1002, "63 bits"),
    ],
)
def test_a_broken_protocol_is_refused_with_its_reason(data: bytes, code: int, why: str) -> None:
    reader = FrameReader()
    with pytest.raises(WireError, match=why) as caught:
        reader.feed(text_frame(b"before") + data)
    assert isinstance(caught.value, FrameError)
    assert caught.value.code == code
    assert (TEXT, b"before") in caught.value.before
    assert reader.over
    assert reader.feed(text_frame(b"after")) == []


@pytest.mark.fault("F114")
def test_a_message_beyond_the_bound_is_refused_at_its_header() -> None:
    with pytest.raises(FrameError, match="more than 1000 bytes") as caught:
        FrameReader(max_message=1000).feed(frame(TEXT, b"x" * 1001)[:4])
    assert caught.value.code == 1009


def test_fragments_count_together_against_the_bound() -> None:
    reader = FrameReader(max_message=1000)
    assert reader.feed(frame(TEXT, b"x" * 600, final=False)) == []
    with pytest.raises(FrameError, match="more than 1000 bytes"):
        reader.feed(frame(CONTINUATION, b"x" * 401))
    assert FrameReader(max_message=1000).feed(frame(TEXT, b"x" * 1000)) == [(TEXT, b"x" * 1000)]


def test_nothing_is_read_after_a_close() -> None:
    reader = FrameReader()
    assert reader.feed(frame(CLOSE, b"\x03\xe9bye") + text_frame(b"late")) == [(CLOSE, b"\x03\xe9bye")]
    assert reader.over
    assert reader.feed(b"\xff\xff") == []
    assert close_code(b"\x03\xe9bye") == (1001, "bye")
    assert close_code(b"") == (1005, "")


@settings(max_examples=300, deadline=None)
@given(st.one_of(storms(), conversations(), st.binary(max_size=400)), CUTS)
def test_texts_apart_are_the_same_texts(data: bytes, at: list[int]) -> None:
    chunks = cut(data, at)
    messages, refused = by_us(chunks)
    texts = [payload for opcode, payload in messages if opcode == TEXT]
    assert apart(chunks) == (texts, [each for each in messages if each[0] != TEXT], refused)


@settings(max_examples=150, deadline=None)
@given(storms(), CUTS)
def test_a_storm_is_read_as_by_wsproto(data: bytes, at: list[int]) -> None:
    chunks = cut(data, at)
    assert by_us(chunks) == by_wsproto(chunks)
