"""Messages on their way in and out, and the faults that they may meet there.

One gate stands before each WebSocket API connection's requests, one behind what each connection is told, one before
REST. Where no fault is in force they let everything through as it is. Frames are the server's own, whole and unmasked.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from fnmatch import fnmatchcase
from typing import Any

import msgspec
import trio

from tetrio.sim.face.latency import Lag
from tetrio.sim.face.rest import API, ARRIVED, PATHS
from tetrio.sim.face.venue import Venue
from tetrio.sim.face.wsapi import ApiLine
from tetrio.sim.fault import faults
from tetrio.sim.fault.mishaps import Mishaps
from tetrio.wire.frames import BINARY, TEXT, text_frame
from tetrio.wire.request import encode_error

HELD_S = 10.0  # an event that is to come after the next one waits no longer for it
_USER_EVENT = re.compile(rb'"e"\s*:\s*"(\w+)"')
_STREAM = re.compile(rb'^\{"stream"\s*:\s*"(?:!(\w+)|[^"@]*@([^"]*))')
_CHANNELS = {
    b"depthUpdate": "depth",
    b"24hrTicker": "ticker",
    b"24hrMiniTicker": "miniTicker",
    b"1hTicker": "ticker_1h",
    b"4hTicker": "ticker_4h",
    b"1dTicker": "ticker_1d",
}
"""`e` of a raw payload -> channel, where they differ."""
_SBE_CHANNELS = {10000: "trade", 10001: "bookTicker", 10002: "depth20", 10003: "depth"}
"""Template id -> channel, in the words of the JSON streams."""

Push = Callable[[bytes, float], None]
"""Sends whole frames at a time of trio's clock; 0: now."""
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class _Asked(msgspec.Struct):
    method: str = ""
    id: int | str | None = None


_decode_asked = msgspec.json.Decoder(_Asked).decode


class RequestGate:
    """Before the requests of one WebSocket API connection."""

    def __init__(self, mishaps: Mishaps, venue: Venue, push: Push) -> None:
        self._mishaps, self._venue, self._push = mishaps, venue, push
        self._muted = False

    def reply(self, frame: bytes) -> None:
        """An answer goes out, if it may."""
        if not self._muted:
            self._push(frame, 0.0)

    def handle(self, message: str | bytes, line: ApiLine, late_s: float) -> None:
        """Let `line` answer a request, which was held up for so long, or not."""

        def answer(message: str | bytes) -> None:
            line.handle(message, self._venue.now_ms() - round(late_s * 1000))

        if not self._mishaps.requests_at_risk:
            answer(message)
            return
        asked = _asked(message)
        fault = self._mishaps.request(asked.method)
        if fault is None:
            answer(message)
            return
        if executes(fault):
            self._muted = True
            try:
                answer(message)
            finally:
                self._muted = False
        if isinstance(fault, faults.Fail):
            status, code, msg = faults.ERRORS[fault.error]
            code, msg = (code, msg) if code else faults.ERRORS["-1000"][1:]
            due_s = trio.current_time() + wait_s(fault)
            self._push(
                text_frame(encode_error(asked.id, status, code, msg, rate_limits=line.weights()).encode()), due_s
            )


def _asked(message: str | bytes) -> _Asked:
    try:
        return _decode_asked(message)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return _Asked()  # the answer says what is wrong with it


def executes(fault: faults.OnRequests) -> bool:
    """Whether the request is executed all the same."""
    return isinstance(fault, faults.LoseReply) or (isinstance(fault, faults.Fail) and fault.executed == "executed")


def wait_s(fault: faults.Fail) -> float:
    """How long its answer takes."""
    return faults.BACKEND_TIMEOUT_S if fault.error == "-1007" else 0.0


# -- events -----------------------------------------------------------------------------------------------------------


class EventGate:
    """Behind what one connection is told beside its replies: user events, or market frames."""

    def __init__(self, mishaps: Mishaps, push: Push, lag: Lag, *, market: bool) -> None:
        self._mishaps, self._push, self._lag, self._market = mishaps, push, lag, market
        self._held: bytes | None = None
        self._last: dict[str, bytes] = {}

    def __call__(self, frames: bytes) -> None:
        """Send whole frames, after the latency."""
        if not self._mishaps.events_at_risk and self._held is None:
            self._push(frames, self._lag.due_s())
            return
        for opcode, payload, frame in split(frames):
            self._one(opcode, payload, frame)

    def _one(self, opcode: int, payload: bytes, frame: bytes) -> None:
        kind = channel_of(opcode, payload) if self._market else event_of(payload)
        held, self._held = self._held, None
        fault = self._mishaps.event(lambda pattern: fits(pattern, kind, self._market)) if kind else None
        due_s = self._lag.due_s()
        if isinstance(fault, faults.LoseEvent):
            self._held = held
            return
        if isinstance(fault, faults.ReorderEvents) and held is None:
            self._hold(frame)
            return
        if isinstance(fault, faults.DelayEvent):
            due_s = max(due_s, trio.current_time()) + self._mishaps.draw_s(fault.by)
        elif isinstance(fault, faults.GarbleEvent):
            frame = self._garbled(fault.how, kind, opcode, payload, frame)
        self._push(frame, due_s)
        if isinstance(fault, faults.DuplicateEvent):
            self._push(frame, due_s)
        if held is not None:
            self._push(held, due_s)

    def _hold(self, frame: bytes) -> None:
        self._held = frame

        def release() -> None:
            if self._held is frame:
                self._held = None
                self._push(frame, self._lag.due_s())

        self._mishaps.later(trio.current_time() + HELD_S, release)

    def _garbled(self, how: str, kind: str, opcode: int, payload: bytes, frame: bytes) -> bytes:
        if how == "stale":
            return self._last.setdefault(kind, frame)
        return framed(BINARY if how == "binary" else opcode, garbled(payload, how))


def split(frames: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """(opcode, payload, frame) of each of our own frames."""
    at = 0
    while at < len(frames):
        short = frames[at + 1]
        extra = {126: 2, 127: 8}.get(short, 0)
        start = at + 2 + extra
        end = start + (int.from_bytes(frames[at + 2 : start], "big") if extra else short)
        yield frames[at] & 0x0F, frames[start:end], frames[at:end]
        at = end


def framed(opcode: int, payload: bytes) -> bytes:
    """One frame of any opcode."""
    return bytes((0x80 | opcode,)) + text_frame(payload)[1:]


def event_of(payload: bytes) -> str:
    """The kind of a user event; "" for none."""
    match = _USER_EVENT.search(payload)
    return match[1].decode() if match else ""


def channel_of(opcode: int, payload: bytes) -> str:
    """The channel of a market payload, such as kline_1m or depth@100ms, as far as it can be told; "" for none."""
    if opcode != TEXT:
        return _SBE_CHANNELS.get(int.from_bytes(payload[2:4], "little"), "")
    if match := _STREAM.match(payload):
        return (match[1] or match[2]).decode()
    if match := _USER_EVENT.search(payload):
        return _CHANNELS.get(match[1], match[1].decode())
    return "depth5" if b'"lastUpdateId"' in payload else "bookTicker"


def fits(pattern: str, kind: str, market: bool) -> bool:
    """Whether EVENT means this kind: `@kline` means `kline_1m` too."""
    if pattern.startswith("@") is not market:
        return False
    pattern = pattern.removeprefix("@")
    stem = re.match(r"[A-Za-z0-9]*[A-Za-z]|", kind)
    return fnmatchcase(kind, pattern) or (stem is not None and fnmatchcase(stem[0], pattern))


def garbled(payload: bytes, how: str) -> bytes:
    """The payload, made senseless."""
    if how == "truncated":
        return payload[: len(payload) // 2]
    if how == "utf8":
        return b'{"e":"\xff\xfe"}'
    if how == "empty":
        return b""
    if how == "huge":
        return b'{"e":"%b"}' % (b"x" * (5 << 20))  # more than most clients take, less than an outbox holds
    if how == "nan":
        return re.sub(rb':"[0-9.]+"', b":NaN", payload)
    if how == "deep":
        return b"[" * 100_000
    if how == "junk":
        return payload.replace(b"{", b'{"junk":[{"x":null}],"e\\u0000":1,', 1)
    if how == "crossed":
        return _crossed(payload)
    if how == "zero":
        return re.sub(rb'("[abpP]":)"[0-9.]+"', rb'\g<1>"0.00000000"', payload)
    return payload


def _crossed(payload: bytes) -> bytes:
    bid, ask = (re.search(rb'"%b":"([0-9.]+)"' % side, payload) for side in (b"b", b"a"))
    if bid is None or ask is None:
        return payload
    swapped = payload.replace(bid[0], b'"b":"%b"' % ask[1], 1)
    return swapped.replace(ask[0], b'"a":"%b"' % bid[1], 1)


# -- REST -------------------------------------------------------------------------------------------------------------


class RestGate:
    """Before REST: an ASGI application around another."""

    def __init__(self, app: App, mishaps: Mishaps, venue: Venue, lag: Lag) -> None:
        """`lag` is that of requests on their way in."""
        self._app, self._mishaps, self._venue, self._lag = app, mishaps, venue, lag

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._lag.delays:
            scope[ARRIVED] = self._venue.now_ms()
            await trio.sleep_until(self._lag.due_s())
        fault = None
        if self._mishaps.requests_at_risk:
            fault = self._mishaps.request(rest_method(scope["method"], scope["path"]))
        if fault is None:
            await self._app(scope, receive, send)
            return
        if executes(fault):
            await self._app(scope, receive, _nowhere)
        if isinstance(fault, faults.Fail):
            await trio.sleep(wait_s(fault))
            await _fail(fault.error, send)
            return
        while (await receive())["type"] != "http.disconnect":
            pass  # never answered: the client gives up


async def _nowhere(message: MutableMapping[str, Any]) -> None:
    await trio.lowlevel.checkpoint()


async def _fail(error: str, send: Send) -> None:
    status, code, msg = faults.ERRORS[error]
    body, media = msgspec.json.encode({"code": code, "msg": msg}), b"application/json;charset=UTF-8"
    if not code:
        body, media = b"<html><body>%d</body></html>" % status, b"text/html"
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", media)]})
    await send({"type": "http.response.body", "body": body})


def rest_method(verb: str, path: str) -> str:
    """The WebSocket API's name of a REST request: faults know requests by it."""
    name = path.removeprefix(API)
    return PATHS.get(name, {}).get(verb, name)
