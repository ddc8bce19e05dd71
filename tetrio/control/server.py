"""The bot's end of the local socket: a task beside trading that answers its owner.

Each guest has one request and little time; a guest that is slow, silent or wrong costs a connection and is cut off.
What is answered is made from the status in one go, texts and JSON alike, so that the client needs to know nothing.
Words are obeyed by somebody else (`tetrio.operator.Obeys`), at once.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import select
import socket
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import attrs
import msgspec
import trio

from tetrio import words
from tetrio.control import READS, REQUEST_BYTES, VERSION
from tetrio.control.door import Door, open_door
from tetrio.errors import TetrioError
from tetrio.journal import Journal
from tetrio.net.clock import machine_s
from tetrio.net.serving import serve_few
from tetrio.operator import TRADES, WORDS, Obeys, Order
from tetrio.status import Status, snapshot

log = logging.getLogger(__name__)

GUESTS = 16  # at a time
WATCHERS = 8  # of them, so that a word always finds a place
REQUEST_S = 5.0  # from the connection to the end of the request
REPLY_S = 5.0  # for a client to take a line
LAST_REPLY_S = 1.0  # the same when we are about to end
WATCH_EVERY_S = 1.0
ANSWERED = (*TRADES, "resume")
"""Words that only somebody who still waits for the answer has obeyed: what makes the bot safer is never too late."""

_CREDENTIALS = struct.Struct("iII")  # pid, uid, gid

TEXTS: Mapping[str, Callable[[Status], str]] = {
    "status": words.status_text,
    "why": words.why_text,
    "orders": words.orders_text,
    "fills": words.fills_text,
    "balance": words.balance_text,
    "profit": words.profit_text,
    "health": words.health_text,
}
FIELDS: Mapping[str, tuple[str, ...]] = {
    "why": ("phase", "regime", "gate_closed", "gate_regime", "armed", "want", "anchor", "high", "bid", "ask", "gain",
            "min_gain", "drawdown", "callback", "loss", "paused", "halted", "why"),
    "orders": ("armed", "want", "order", "orders_sent", "orders_today", "refused", "exits"),
    "fills": ("told_fills",),
    "balance": ("base_asset", "quote_asset", "balances", "holding", "bid"),
    "profit": ("base_asset", "quote_asset", "trading", "began_ns", "bid"),
    "health": ("alive", "ailing", "phase", "detail", "epoch", "links", "vitals", "paused", "halted"),
}  # fmt: skip
"""What of the status each answer holds for programs, venue and symbol besides; all of it where nothing is named."""
assert set(TEXTS) == set(READS), "every question has its text"


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    """One line of a client's."""

    v: int
    do: str
    word: str = ""
    force: bool = False
    watch: bool = False


@attrs.define
class _Hall:
    """What every guest's task needs."""

    status: Status
    obeys: Obeys
    journal: Journal
    watchers: int = 0


async def serve_control(
    at: Path | Door,
    *,
    status: Status,
    obeys: Obeys,
    journal: Journal,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer at the local socket until cancelled; where it cannot be opened, say so in the journal and end.

    at   where; or what `open_door` opened, for a caller who wants to know whether it can be
    """
    try:
        door = at if isinstance(at, Door) else open_door(at)
    except TetrioError as error:
        journal.write("face", name="control", state="lost", why=str(error))
        task_status.started()
        return
    try:
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(door.socket))
        journal.write("face", name="control", state="up", at=str(door.path))
        task_status.started()
        await serve_few(listener, functools.partial(_attend, _Hall(status, obeys, journal)), most=GUESTS)
    finally:
        door.close()


async def _attend(hall: _Hall, stream: trio.SocketStream) -> None:
    """One guest: who it is, what it asks, the answer."""
    _, uid, _ = _CREDENTIALS.unpack(stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    with trio.move_on_after(machine_s(REQUEST_S)) as patience:
        line = await _read_line(stream)
    if patience.cancelled_caught or not line:
        return
    if uid not in (0, os.getuid()):
        hall.journal.write("face", name="control", state="refused", why=f"uid {uid} is not the owner")
        await _send(stream, _reply(False, f"uid {uid} may not speak to this tetrio: its owner and root may"))
        return
    try:
        request = _understand(line)
    except ValueError as error:
        await _send(stream, _reply(False, str(error)))
        return
    if request.do in WORDS:
        await _obey(hall, stream, Order(word=request.do, by=f"shell, uid {uid}", force=request.force))
    elif request.do == "preview":
        text = hall.obeys.preview(request.word)
        await _send(stream, _reply(True, text, {"word": request.word, "text": text}))
    elif request.watch:
        await _watch(hall, stream, request.do)
    else:
        await _send(stream, _report(hall.status, request.do))


async def _obey(hall: _Hall, stream: trio.SocketStream, order: Order) -> None:
    if order.word in ANSWERED and _hung_up(stream):
        text = "said while the bot was held up, by a caller who has given up waiting: not obeyed, say it again"
        hall.journal.write("command", word=order.word, by=order.by, done=False, text=text)
        return
    answer = hall.obeys.obey(order)
    reply = _reply(answer.done, answer.text, {"done": answer.done, "text": answer.text})
    with trio.move_on_after(machine_s(LAST_REPLY_S), shield=True):  # a `stop` must not cut off its own answer
        await stream.send_all(reply)


def _hung_up(stream: trio.SocketStream) -> bool:
    """Whether the guest has closed its end altogether; one that only says no more still waits for an answer."""
    line = select.poll()
    line.register(stream.socket, 0)
    return any(events & select.POLLHUP for _, events in line.poll(0))


async def _watch(hall: _Hall, stream: trio.SocketStream, do: str) -> None:
    """The latest each second, for as long as the guest keeps up."""
    if hall.watchers >= WATCHERS:
        await _send(stream, _reply(False, f"{WATCHERS} others watch already: end one of them"))
        return
    hall.watchers += 1
    try:
        while True:
            if not await _send(stream, _report(hall.status, do)):
                return
            await trio.sleep(machine_s(WATCH_EVERY_S))
    finally:
        hall.watchers -= 1


async def _read_line(stream: trio.SocketStream) -> bytes:
    """The request, without its newline; what is longer than allowed comes without an end, and is refused as such."""
    line = bytearray()
    while b"\n" not in line and len(line) <= REQUEST_BYTES:
        some = await stream.receive_some(REQUEST_BYTES)
        if not some:
            return b""
        line += some
    return bytes(line.partition(b"\n")[0])


def _understand(line: bytes) -> _Request:
    """ValueError, for the client, when it is no request of this version."""
    if len(line) >= REQUEST_BYTES:
        raise ValueError(f"a request is at most {REQUEST_BYTES} bytes")
    try:
        request = msgspec.json.decode(line, type=_Request)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"this is no request: {error}") from None
    if request.v != VERSION:
        raise ValueError(f"this tetrio speaks version {VERSION} of the protocol, not {request.v}: use the same tetrio")
    if request.do not in (*READS, *WORDS, "preview"):
        raise ValueError(f"there is no command {request.do!r}")
    return request


async def _send(stream: trio.SocketStream, line: bytes) -> bool:
    """Send, unless the guest takes too long; whether it was sent."""
    with trio.move_on_after(machine_s(REPLY_S)) as patience:
        await stream.send_all(line)
    return not patience.cancelled_caught


def _report(status: Status, do: str) -> bytes:
    record = snapshot(status)
    names = FIELDS.get(do)
    if names is not None:
        record = {name: record[name] for name in ("venue", "symbol", *names)}
    return _reply(True, TEXTS[do](status), record)


def _reply(ok: bool, text: str, data: Mapping[str, object] | None = None) -> bytes:
    record = {"v": VERSION, "ok": ok, "text": text, "data": data if data is not None else {"error": text}}
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode(errors="backslashreplace") + b"\n"
