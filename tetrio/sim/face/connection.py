"""One WebSocket connection of the server: transport, outbox, pings, lifetime, cuts.

trio-websocket does the handshake, reads, and answers pings; what the exchange sends goes out as whole, ready-made text
frames through an outbox of bounded size, written by one task, so that a slow client delays nobody and a burst of market
data is one write. Both write through the same lock. What the messages mean is not known here.
"""

from __future__ import annotations

import heapq
import itertools
import logging
from collections.abc import Awaitable, Callable, Sequence

import attrs
import h11
import msgspec
import trio
import wsproto.utilities
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream

from tetrio.net.closing import hang_up
from tetrio.wire.frames import text_frame

log = logging.getLogger(__name__)

HANDSHAKE_S = 10.0
GOODBYE_S = 1.0  # for the close handshake; a client that does not answer is left
LOST = 1006  # what stands for a close code where none was sent
MAX_MESSAGE = 1 << 20
MESSAGES_WAITING = 256  # requests read ahead of their handling

PROTOCOL_ERRORS = (
    ConnectionClosed,
    wsproto.utilities.ProtocolError,
    h11.ProtocolError,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    OSError,
    UnicodeError,  # a Host header that is no host name, refused by wsproto in this way
)
"""What a client, or the network, can do to a connection."""


_Late = tuple[float, float, str | bytes]
"""(when it came, when it is due, message)."""


class Transport(trio.abc.Stream):
    """A stream whose writes are whole: each waits for the one before.

    It tells when the peer is gone, and what came in.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        """The one below."""
        self._lock = trio.Lock()
        self._send_now: Callable[[bytes], bool] | None = getattr(stream, "send_now", None)
        self.on_gone: Callable[[], None] | None = None
        """Called when nothing more can come in."""
        self.on_bytes: Callable[[bytes | bytearray], None] | None = None
        """Called with what came in."""
        self.gone = False
        """Nothing more can come in."""
        self.deaf = False
        """What comes in is dropped: a pong that the library owed after our close would break it."""

    @property
    def address(self) -> str:
        """The peer's host, "memory" where there is none."""
        sock = getattr(self.stream, "socket", None)
        return "memory" if sock is None else str(sock.getpeername()[0])

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send, after whoever sends now."""
        try:
            self._lock.acquire_nowait()  # mostly free, and then it costs no turn of the loop
        except trio.WouldBlock:
            await self._lock.acquire()
        try:
            await self.stream.send_all(data)
        finally:
            self._lock.release()

    def send_now(self, data: bytes) -> bool:
        """Send without a turn of the loop, where nobody sends now and the network can (that in memory); whether it was
        done.
        """
        return self._send_now is not None and not self._lock.locked() and self._send_now(data)

    async def wait_send_all_might_not_block(self) -> None:
        """As the stream below."""
        await self.stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """What the peer sent."""
        while True:
            try:
                data = await self.stream.receive_some(max_bytes)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self._gone()
                raise
            if not data:
                self._gone()
                return data
            if self.on_bytes is not None:
                self.on_bytes(data)
            if not self.deaf:
                return data

    async def aclose(self) -> None:
        """Close the stream below."""
        await self.stream.aclose()

    def _gone(self) -> None:
        self.gone = True
        if self.on_gone is not None:
            self.on_gone()


class Connection:
    """The server's end of one WebSocket connection, after its handshake."""

    def __init__(self, ws: WebSocketConnection, transport: Transport, *, outbox_bytes: int) -> None:
        self._ws = ws
        self._transport = transport
        self._outbox: list[tuple[float, int, bytes]] = []  # a heap by (due, order of arrival)
        self._numbers = itertools.count()
        self._room = outbox_bytes
        self._wake = trio.lowlevel.ParkingLot()
        self._scope = trio.CancelScope()
        self._closing: tuple[int, str] | None = None
        self._writing = False
        self.on_written: Callable[[], None] | None = None
        """Called when a write is done."""
        self.why = "the connection was lost"
        """Why the connection ended, for the record."""

    @property
    def writing(self) -> bool:
        """A write is under way; the client may be slow."""
        return self._writing

    def push(self, frames: bytes, due_s: float = 0.0) -> None:
        """Send whole frames at `due_s` of trio's clock, 0: now. A client that has let its outbox fill up is cut."""
        if self._closing is not None:
            return
        if len(frames) > self._room:
            self.cut(1008, "outbox overflow: the client reads too slowly")
            self._scope.cancel()
            return
        if not due_s and not self._outbox and not self._writing and self._transport.send_now(frames):
            return
        self._room -= len(frames)
        sooner = not self._outbox or due_s < self._outbox[0][0]
        heapq.heappush(self._outbox, (due_s, next(self._numbers), frames))
        if sooner:
            self._wake.unpark_all()

    def push_text(self, text: str | bytes) -> None:
        """Send one text message."""
        self.push(text_frame(text.encode() if isinstance(text, str) else text))

    def cut(self, code: int, why: str) -> None:
        """Close the connection with `code` and `why`, after what is due has been sent."""
        if self._closing is None:
            self._closing = (code, why)
            self.why = why
            self._transport.deaf = True
            self._wake.unpark_all()

    async def run(
        self,
        handle: Callable[[str | bytes, float], None],
        *,
        due_s: Callable[[], float] | None = None,
        ping_s: float,
        pong_s: float,
        lifetime_s: float,
        payload: Callable[[], bytes | None],
    ) -> None:
        """Hand every message to `handle`, with how long it was held up (s), until the connection ends for any reason.

        due_s            when a message that comes now is handed on, on trio's clock; None: at once
        ping_s, pong_s   how often the client is pinged, and how long it may take to answer
        lifetime_s       how long the connection may last
        payload          makes the payload of a ping, each another; None: no ping this time
        """
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._ping, ping_s, pong_s, payload)
                nursery.start_soon(self._retire, lifetime_s)
                if due_s is not None:
                    send, receive = trio.open_memory_channel[_Late](MESSAGES_WAITING)
                    nursery.start_soon(_later, receive, handle)
                    nursery.start_soon(self._read, self._delay(send, due_s), nursery.cancel_scope)
                else:
                    nursery.start_soon(self._read, lambda message: handle(message, 0.0), nursery.cancel_scope)
                await self._write()
                nursery.cancel_scope.cancel()
        if self._closing is not None and not self._writing:  # after half a frame there is nothing left to say
            with trio.move_on_after(GOODBYE_S):
                await self._ws.aclose(*self._closing)

    async def _write(self) -> None:
        """The one writer of ready-made frames; returns when the connection is to be closed and nothing is due."""
        while True:
            now = trio.current_time()
            if self._outbox and self._outbox[0][0] <= now:
                self._writing = True
                await self._transport.send_all(self._take(now))
                self._writing = False
                if self.on_written is not None:
                    self.on_written()
            elif self._closing is not None:
                return
            elif self._outbox:
                with trio.CancelScope(deadline=self._outbox[0][0]):
                    await self._wake.park()
            else:
                await self._wake.park()

    def _take(self, now: float) -> bytes:
        frames = []
        while self._outbox and self._outbox[0][0] <= now:
            frames.append(heapq.heappop(self._outbox)[2])
        joined = frames[0] if len(frames) == 1 else b"".join(frames)
        self._room += len(joined)
        return joined

    async def _read(self, handle: Callable[[str | bytes], None], scope: trio.CancelScope) -> None:
        while True:
            try:
                message = await self._ws.get_message()
            except ConnectionClosed as closed:
                if closed.reason is not None and closed.reason.code != LOST and self._closing is None:
                    self.why = f"closed by the client: {closed.reason.code}"
                scope.cancel()
                return
            handle(message)

    def _delay(self, send: trio.MemorySendChannel[_Late], due_s: Callable[[], float]) -> Callable[[str | bytes], None]:
        def delayed(message: str | bytes) -> None:
            try:
                send.send_nowait((trio.current_time(), due_s(), message))
            except trio.WouldBlock:
                self.cut(1008, f"more than {MESSAGES_WAITING} requests within the latency")

        return delayed

    async def _retire(self, lifetime_s: float) -> None:
        await trio.sleep(lifetime_s)
        self.cut(1001, f"connected for {lifetime_s:g} s, which is the limit")

    async def _ping(self, ping_s: float, pong_s: float, payload: Callable[[], bytes | None]) -> None:
        while True:
            await trio.sleep(ping_s)
            content = payload()
            if content is None:
                continue
            with trio.move_on_after(pong_s) as patience:
                try:
                    await self._ws.ping(content)
                except ConnectionClosed:
                    return  # the reader ends the connection
            if patience.cancelled_caught:
                self.cut(1008, f"no pong within {pong_s:g} s")
                self._scope.cancel()


async def _later(messages: trio.MemoryReceiveChannel[_Late], handle: Callable[[str | bytes, float], None]) -> None:
    async for came, due, message in messages:
        await trio.sleep_until(due)
        handle(message, due - came)


Accepted = Callable[[WebSocketConnection, Transport], Awaitable[None]]
"""Serves an accepted connection until it ends."""


@attrs.frozen
class Turned:
    """A handshake that is turned away."""

    status: int
    body: bytes
    headers: list[tuple[bytes, bytes]] = attrs.field(factory=list)

    @classmethod
    def error(cls, status: int, code: int, msg: str) -> Turned:
        """With a JSON body that says why."""
        media = (b"content-type", b"application/json;charset=UTF-8")
        return cls(status, msgspec.json.encode({"code": code, "msg": msg}), [media])


Headers = Sequence[tuple[bytes, bytes]]
Route = Callable[[str, str, Headers], Accepted | Turned]
"""Who serves a request target (path and query) for a client's address, asked for with these headers."""


async def serve(stream: trio.abc.Stream, route: Route, headers: Callable[[], list[tuple[bytes, bytes]]]) -> None:
    """Meet one client: handshake, then whom `route` gives for its target, until the connection ends.

    headers   makes the headers of an accepted handshake

    Nothing that a client or the network does comes out of here as an exception; a fault of ours is logged, and costs
    this connection only.
    """
    transport = Transport(stream)
    try:
        async with trio.open_nursery() as nursery:  # trio-websocket's reader lives here
            await _meet(nursery, transport, route, headers)
            nursery.cancel_scope.cancel()
    except* PROTOCOL_ERRORS as group:
        log.debug("a connection ended: %r", group.exceptions)
    except* Exception:
        log.exception("a connection failed by our fault")
    finally:
        await hang_up(stream)


async def _meet(
    nursery: trio.Nursery, transport: Transport, route: Route, headers: Callable[[], list[tuple[bytes, bytes]]]
) -> None:
    with trio.move_on_after(HANDSHAKE_S) as handshake:
        transport.on_gone = handshake.cancel
        request = await wrap_server_stream(
            nursery,
            transport,
            message_queue_size=MESSAGES_WAITING,
            max_message_size=MAX_MESSAGE,
            receive_buffer_size=65536,
        )
        transport.on_gone = None
        accepted = route(request.path, transport.address, request.headers)
        if isinstance(accepted, Turned):
            await request.reject(accepted.status, extra_headers=accepted.headers, body=accepted.body)
            return
        serve_accepted: Accepted = accepted
        ws = await request.accept(extra_headers=headers())
    if not handshake.cancelled_caught:
        await serve_accepted(ws, transport)
