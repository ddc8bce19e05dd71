"""RFC 6455 frames in bulk: the bytes of a market line -> payloads, and back. No handshake, no socket, no extension.

A market line delivers hundreds of small frames, texts or binary, in one read. Walking them in one loop costs a fraction
of a microsecond each, where a general WebSocket library wakes per message; it is held against wsproto by the tests.

The reader is the client's half: server frames come unmasked. A frame that a read cut in two is taken as it comes, so
memory is bounded by `max_message` and a wrong byte is refused as soon as it is here. Answering pings and closing are
the caller's.
"""

from __future__ import annotations

import codecs
import operator
from collections.abc import Iterable

from tetrio.errors import WireError

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

_FINAL_TEXT = 0x80 | TEXT
_SHORT, _MIDDLE = b"\x81", b"\x81\x7e\x00"  # how whole texts begin, of less than 126 and of less than 256 bytes
_FINAL_BINARY = 0x80 | BINARY
_SHORT_TEXT = [bytes((_FINAL_TEXT, length)) for length in range(126)]
_FIRST = operator.itemgetter(0)
_KNOWN = frozenset({CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG})
_CLOSE_CODES = frozenset({1000, 1001, 1002, 1003, *range(1007, 1014)})  # 3000 to 4999 are free for all

Message = tuple[int, bytes]


class FrameError(WireError):
    """A server broke the protocol; the connection is of no further use.

    before   messages of the same read that were complete before the wrong byte
    code     the close code that says so (1002, 1007, 1009)
    """

    def __init__(self, why: str, code: int = 1002) -> None:
        super().__init__(why)
        self.code = code
        self.before: list[Message] = []


class FrameReader:
    """Bytes from a server -> complete messages and control frames, in order of arrival.

    max_message   bytes; a longer message is refused when its header is read
    """

    def __init__(self, max_message: int = 8 << 20) -> None:
        self._max = max_message
        self._rest = b""  # a header, or a control frame, that is not whole yet
        self._opcode = 0  # of the message that is open; 0 when none is
        self._parts: list[bytes] = []  # of that message
        self._size = 0  # of that message, the rest of its current frame included
        self._left = 0  # bytes of its current frame that have not come
        self._final = False  # its current frame is its last
        self._utf8: codecs.IncrementalDecoder | None = None
        self._over = False

    @property
    def over(self) -> bool:
        """A CLOSE came, or an error: nothing is read any more."""
        return self._over

    def feed(self, data: bytes | bytearray | memoryview) -> list[Message]:
        """(opcode, payload) of every message completed by `data`: TEXT or BINARY (joined), CLOSE, PING, PONG.

        FrameError on a protocol error. After it, or after a CLOSE, whatever comes is ignored.
        """
        out: list[Message] = []
        self._feed(data, out, None)
        return out

    def feed_texts(self, data: bytes | bytearray | memoryview, texts: list[bytes]) -> list[Message]:
        """The same where texts are what counts: they are appended to `texts`, what else there is is returned."""
        out: list[Message] = []
        self._feed(data, out, texts)
        return out

    def _feed(self, data: bytes | bytearray | memoryview, out: list[Message], texts: list[bytes] | None) -> None:
        if self._over:
            return
        buffer = self._rest + data if self._rest else bytes(data)
        self._rest = b""
        start, known = 0, len(texts or ())
        try:
            if self._left:
                start = self._resume(buffer, out)
                _sort_out(out, texts)
            if texts is not None and not self._opcode:
                start = self._divide(buffer, start, texts)
            self._rest = buffer[self._walk(buffer, start, out, texts) :]
        except FrameError as error:
            error.before = out if texts is None else [*((TEXT, text) for text in texts[known:]), *out]
            self._over = True
            raise

    def _divide(self, buffer: bytes, position: int, texts: list[bytes]) -> int:
        """Take whole texts of much the same length in one go, as storms bring them; where what is left begins.

        Between two of the headers stand the last byte of the length and as many bytes as it says. Where that is not so
        the bytes of a header stood inside a text, or another kind of frame came: then all is left to the walk.
        """
        header, least, most = (_MIDDLE, 126, 255) if buffer.startswith(_MIDDLE, position) else (_SHORT, 0, 125)
        if self._max < most or not buffer.startswith(header, position):
            return position
        pieces = buffer[position:].split(header)[1:-1]  # the last one may not be whole
        lengths = list(map(len, pieces))
        if not (pieces and min(lengths) > least and max(lengths) <= most + 1):
            return position
        if [length - 1 for length in lengths] != list(map(_FIRST, pieces)):
            return position
        whole = [piece[1:] for piece in pieces]
        if not b"".join(whole).isascii():
            return position
        texts += whole
        return position + sum(lengths) + len(header) * len(pieces)

    def _walk(self, buffer: bytes, position: int, out: list[Message], texts: list[bytes] | None) -> int:
        """The hot loop: whole text and binary frames here, the rest in `_frame`. Where the unread bytes begin."""
        end, limit, append = len(buffer), self._max, out.append
        while position + 1 < end and not self._over:
            length = buffer[position + 1]
            start = position + 2
            if length == 126 and position + 3 < end:
                length = buffer[position + 2] << 8 | buffer[position + 3]
                start = position + 4 if length > 125 else end + 1  # too long a form: refused in _frame
            elif length > 125:
                start = end + 1
            stop = start + length
            if stop <= end and length <= limit and not self._opcode:
                first = buffer[position]
                if first == _FINAL_TEXT:
                    payload = buffer[start:stop]
                    if not payload.isascii():
                        _check_utf8(payload)
                    if texts is None:
                        append((TEXT, payload))
                    else:
                        texts.append(payload)
                    position = stop
                    continue
                if first == _FINAL_BINARY:
                    append((BINARY, buffer[start:stop]))
                    position = stop
                    continue
            following = self._frame(buffer, position, out)
            if following < 0:
                return position
            _sort_out(out, texts)
            position = following
        return end if self._over else position

    def _frame(self, buffer: bytes, position: int, out: list[Message]) -> int:
        """Any frame, whole or not; where the next begins, -1 when more is needed to tell."""
        first, second = buffer[position], buffer[position + 1]
        opcode = first & 0x0F
        if opcode not in _KNOWN:
            raise FrameError(f"unknown frame opcode {opcode:#x}")
        if opcode >= CLOSE and (not first & 0x80 or second & 0x7F > 125):
            raise FrameError("a control frame that is fragmented or longer than 125 bytes")
        start, length = _length(buffer, position, second & 0x7F)
        if start < 0:
            return -1
        if first & 0x70:
            raise FrameError("a reserved bit is set: no extension was agreed")
        if second & 0x80:
            raise FrameError("a masked frame from a server")
        stop = start + length
        if opcode >= CLOSE:
            if stop > len(buffer):
                return -1
            self._control(opcode, buffer[start:stop], out)
            return stop
        if self._size + length > self._max:
            raise FrameError(f"a message of more than {self._max} bytes", 1009)
        if length and start == len(buffer):
            return -1
        self._begin(opcode, length, final=bool(first & 0x80))
        self._take(buffer[start:stop], out)
        return min(stop, len(buffer))

    def _begin(self, opcode: int, length: int, *, final: bool) -> None:
        if opcode == CONTINUATION:
            if not self._opcode:
                raise FrameError("a continuation of nothing")
        else:
            if self._opcode:
                raise FrameError("a new message inside another")
            self._opcode = opcode
            self._utf8 = codecs.getincrementaldecoder("utf-8")() if opcode == TEXT else None
        self._left, self._final = length, final
        self._size += length

    def _resume(self, buffer: bytes, out: list[Message]) -> int:
        taken = min(self._left, len(buffer))
        self._take(buffer[:taken], out)
        return taken

    def _take(self, chunk: bytes, out: list[Message]) -> None:
        """A piece of the current frame; the message goes out when it is the last piece of the last frame."""
        self._left -= len(chunk)
        self._parts.append(chunk)
        complete = self._final and not self._left
        if self._utf8 is not None:
            try:
                self._utf8.decode(chunk, complete)
            except UnicodeDecodeError as error:
                raise FrameError(f"a text that is not UTF-8: {error.reason}", 1007) from None
        if complete:
            out.append((self._opcode, b"".join(self._parts)))
            self._opcode, self._size = 0, 0
            self._parts = []

    def _control(self, opcode: int, payload: bytes, out: list[Message]) -> None:
        if opcode == CLOSE:
            close_code(payload)
            self._over = True
        out.append((opcode, payload))


def _sort_out(out: list[Message], texts: list[bytes] | None) -> None:
    """A text that came in pieces stands among the texts, in its place."""
    if texts is not None and out and out[-1][0] == TEXT:
        texts.append(out.pop()[1])


def _length(buffer: bytes, position: int, short: int) -> tuple[int, int]:
    """Where the payload begins and how long it is; (-1, 0) when the header is not whole."""
    if short < 126:
        return position + 2, short
    size, least = (2, 126) if short == 126 else (8, 65536)
    start = position + 2 + size
    if start > len(buffer):
        return -1, 0
    length = int.from_bytes(buffer[position + 2 : start], "big")
    if length < least or length >> 63:
        raise FrameError("a frame length in a form that is longer than need be, or beyond 63 bits")
    return start, length


def _check_utf8(payload: bytes) -> None:
    try:
        payload.decode()
    except UnicodeDecodeError as error:
        raise FrameError(f"a text that is not UTF-8: {error.reason}", 1007) from None


def close_code(payload: bytes) -> tuple[int, str]:
    """Code and reason in the payload of a CLOSE; 1005 when it is empty. FrameError against RFC 6455, 5.5.1 and 7.4."""
    if not payload:
        return 1005, ""
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not (code in _CLOSE_CODES or 3000 <= code <= 4999):
        raise FrameError(f"a close frame with the payload {payload!r}")
    _check_utf8(payload[2:])
    return code, payload[2:].decode()


def text_frame(payload: bytes) -> bytes:
    """One whole unmasked text frame: the exchange's side."""
    length = len(payload)
    if length < 126:
        return _SHORT_TEXT[length] + payload
    return _header(_FINAL_TEXT, length, 0) + payload


def text_frames(payloads: Iterable[bytes]) -> bytes:
    """Many text frames back to back, for one write."""
    pieces: list[bytes] = []
    for payload in payloads:
        length = len(payload)
        pieces.append(_SHORT_TEXT[length] if length < 126 else _header(_FINAL_TEXT, length, 0))
        pieces.append(payload)
    return b"".join(pieces)


def binary_frame(payload: bytes) -> bytes:
    """One whole unmasked binary frame: the exchange's side."""
    return _header(_FINAL_BINARY, len(payload), 0) + payload


def client_frame(opcode: int, payload: bytes, mask: bytes) -> bytes:
    """One whole masked frame: the client's side. `mask` is four bytes that nobody can foresee (RFC 6455, 5.3)."""
    assert len(mask) == 4, "a mask has four bytes"
    length = len(payload)
    key = (mask * (length // 4 + 1))[:length]
    masked = (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(length, "big")
    return _header(0x80 | opcode, length, 0x80) + mask + masked


def _header(first: int, length: int, mask_bit: int) -> bytes:
    if length < 126:
        return bytes((first, mask_bit | length))
    if length < 65536:
        return bytes((first, mask_bit | 126)) + length.to_bytes(2, "big")
    return bytes((first, mask_bit | 127)) + length.to_bytes(8, "big")
