"""The order/account link: one WebSocket API connection, replies matched to requests, nothing without a deadline.

Requests may overlap; each waits for the reply that carries its id. Pushed events go, undecoded, into a bounded channel
that is never full for long: an overflow ends the link, because an account event lost is state that is wrong. A send
that was cancelled or failed may have left half a frame on the wire, so it kills the link; whoever had a request under
way learns nothing about its outcome. The closing handshake is left out: libraries hang in it, Binance needs none.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import attrs
import h11
import trio
import trio_websocket
import wsproto.utilities

from tetrio.errors import KeyRefused, LinkError, LinkLost, LinkSlow, LinkStale, UnsafeError, WireError
from tetrio.latency import Written
from tetrio.net.access import BAN_S, Access, http_refusal
from tetrio.net.clock import machine_s
from tetrio.net.closing import hang_up
from tetrio.net.dial import CONNECT_S, Address, dial
from tetrio.net.line import closed
from tetrio.wire.codes import TOO_MUCH_WEIGHT
from tetrio.wire.request import Event, Reply, decode_frame, encode_request, retry_after_ms

REPLY_S = 10.0  # Binance's own backend gives up after 10 s
PING_EVERY_S = 5.0
PONG_WITHIN_S = 5.0
EVENTS = 4096  # an order's life is about 5 events: 800 of them while the account task is busy with one
MAX_MESSAGE = 8 << 20
LOGON, UNAUTHORIZED = "session.logon", 401
UNNAMED_S = {418: 120.0}  # a ban that names no time; a 429 that names none is a queue that is full
AGAIN_S = 300.0  # until a key that was refused is tried again
HEAD = 16384  # bytes of an answer to the upgrade
_FOREIGN = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError)
_PROTOCOL = (h11.ProtocolError, wsproto.utilities.ProtocolError, trio_websocket.HandshakeError)


@attrs.define(eq=False)
class _Waiter:
    arrived: trio.Event = attrs.field(factory=trio.Event)
    reply: Reply | None = None


class Link:
    """An open WebSocket API connection."""

    def __init__(
        self,
        ws: trio_websocket.WebSocketConnection,
        now_ms: Callable[[], int],
        name: str,
        access: Access,
        heard: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.retired = trio.Event()
        """Nobody needs it any more: it may be closed."""
        self.ended = trio.Event()
        """It is over, and `why`."""
        self.why: BaseException = LinkLost(name)
        self._access = access
        self._heard = heard
        self._ws = ws
        self._now_ms = now_ms
        self._last_id = 0
        self._waiters: dict[int, _Waiter] = {}
        self._broken = trio.Event()
        self._settled = trio.Event()
        self._why = LinkLost(name)
        self._events_in, self.events = trio.open_memory_channel[Event](EVENTS)

    async def wait_idle(self) -> None:
        """Until no request waits for its reply."""
        while self._waiters:
            self._settled = trio.Event()
            await self._settled.wait()

    def end(self) -> None:
        """Nothing comes any more: whoever waits for a reply has none, and who reads events is done with the last."""
        self._break(LinkLost(f"{self.name}: closed"))
        self._events_in.close()

    @property
    def alive(self) -> bool:
        """Whether requests can still be sent on it."""
        return not self._broken.is_set()

    async def request(
        self,
        method: str,
        params: Mapping[str, object] | None = None,
        *,
        timed: bool = True,
        within_s: float = REPLY_S,
        written: Written = lambda now: None,
    ) -> Reply:
        """Send one request and wait for its reply.

        timed     add `timestamp`, as every signed method wants also within a session
        written   called once the request is on its way
        LinkError when there is no reply: the request may or may not have been executed; also when the session has lost
        its authentication, for a new logon to tell whether the key is still good.
        """
        if self._broken.is_set():
            raise self._lost()
        self._access.check()
        self._last_id += 1
        number, waiter = self._last_id, _Waiter()
        body = {**(params or {}), "timestamp": self._now_ms()} if timed else dict(params or {})
        self._waiters[number] = waiter
        try:
            with trio.fail_after(machine_s(within_s)):
                await self._send(encode_request(number, method, body))
                written(trio.current_time())
                await waiter.arrived.wait()
        except trio.TooSlowError:
            raise LinkStale(f"{self.name}: {method} was not answered within {within_s:g} s") from None
        finally:
            del self._waiters[number]
            self._settled.set()
        if waiter.reply is None:
            raise self._lost()
        if waiter.reply.status == UNAUTHORIZED and method != LOGON:
            self._break(LinkLost(f"{self.name}: {method} was refused: the session is logged on no more"))
            raise self._lost()
        return waiter.reply

    def _lost(self) -> LinkLost:
        """Why the link is broken, anew for each who asks."""
        return LinkLost(str(self._why), kind=self._why.kind, retry_after_s=self._why.retry_after_s)

    async def _send(self, text: str) -> None:
        done = False
        try:
            await self._ws.send_message(text)
            done = True
        except trio_websocket.ConnectionClosed as error:
            raise LinkLost(f"{self.name}: closed: {error.reason}") from error
        finally:
            if not done:
                self._break(LinkLost(f"{self.name}: a send was cut short"))

    def _break(self, why: LinkLost) -> None:
        if not self._broken.is_set():
            self._why = why
            self._broken.set()
            for waiter in self._waiters.values():
                waiter.arrived.set()

    # -- the link's own tasks, in its nursery ---------------------------------------------------------------------
    async def read(self) -> None:
        """Hand out what arrives, until the connection ends: then LinkLost."""
        try:
            while True:
                self._sort(decode_frame(await self._ws.get_message()))
        except trio_websocket.ConnectionClosed as error:
            reason = error.reason
            self._break(closed(self.name, reason.code, reason.reason or reason.name) if reason else LinkLost(
                f"{self.name}: closed by the exchange"
            ))  # fmt: skip
            raise self._lost() from error
        except (LinkError, WireError) as error:
            # nobody reads on: who waits for a reply must not wait in vain
            self._break(error if isinstance(error, LinkLost) else LinkLost(str(error)))
            raise

    def _sort(self, message: Reply | Event) -> None:
        self._heard()
        if isinstance(message, Event):
            try:
                self._events_in.send_nowait(message)
            except trio.WouldBlock:
                raise LinkSlow(f"{self.name}: {EVENTS} account events wait to be read") from None
            return
        self._heed(message)
        if isinstance(message.id, int) and (waiter := self._waiters.get(message.id)) is not None:
            waiter.reply = message
            waiter.arrived.set()
        elif message.id is None and message.error is not None:
            # a revoked session answers without an id (401): no request can be matched, all are lost
            raise LinkLost(f"{self.name}: {message.error.code} {message.error.msg}")

    def _heed(self, reply: Reply) -> None:
        """A reply that says we ask too much is everybody's to obey."""
        if reply.status not in BAN_S or reply.error is None or reply.error.code != TOO_MUCH_WEIGHT:
            return
        until_ms = retry_after_ms(reply.error)
        for_s = (until_ms - self._now_ms()) / 1000 if until_ms is not None else UNNAMED_S.get(reply.status, 0.0)
        if for_s > 0:
            self._access.ban(for_s, f"{reply.error.code} {reply.error.msg}")

    async def watch(self) -> None:
        """Raise when a send broke the link."""
        await self._broken.wait()
        raise self._lost()

    async def ping(self) -> None:
        """Ask for a sign of life now and then; LinkStale without one."""
        while True:
            await trio.sleep(machine_s(PING_EVERY_S))
            await self.prove()

    async def prove(self) -> None:
        """Ask for a sign of life; LinkError without one."""
        try:
            with trio.fail_after(machine_s(PONG_WITHIN_S)):
                await self._ws.ping()
            self._heard()
        except trio.TooSlowError:
            raise LinkStale(f"{self.name}: no pong within {PONG_WITHIN_S:g} s") from None
        except trio_websocket.ConnectionClosed as error:
            raise LinkLost(f"{self.name}: closed: {error.reason}") from error


@asynccontextmanager
async def open_link(
    url: str,
    now_ms: Callable[[], int],
    *,
    name: str = "account",
    access: Access | None = None,
    heard: Callable[[], None] = lambda: None,
) -> AsyncIterator[Link]:
    """Connect to the WebSocket API at `url`; the link lives as long as the block.

    access  asked before the connection is made, and told why it failed
    heard   called at each sign of life: a reply, an event, a pong

    Errors of the link end the block; like everything from a nursery they come in groups: use `except*`.
    """
    address, access = Address.parse(url), access or Access()
    await access.connect(address.host, address.port)
    try:
        stream = await dial(address, CONNECT_S)
    except LinkLost as error:
        raise access.heed(error, address.host) from error.__cause__
    connected = False
    try:
        async with trio.open_nursery() as nursery:
            ws = await _handshake(nursery, _Overheard(stream, address, access), address)
            connected = True
            link = Link(ws, now_ms, name, access, heard)
            nursery.start_soon(link.read)
            nursery.start_soon(link.watch)
            nursery.start_soon(link.ping)
            try:
                yield link
            finally:
                nursery.cancel_scope.cancel()  # the reader first: no reply to a ping after a close, no hang in a queue
                link.end()
    except* _PROTOCOL as group:  # from the library's reader
        what = "broke the WebSocket protocol" if connected else "WebSocket handshake failed"
        kind = "lost" if connected else "unseen"
        raise LinkLost(f"{address}: {what}: {group.exceptions[0]}", kind=kind) from group.exceptions[0]
    finally:
        await hang_up(stream)


class _Overheard(trio.abc.Stream):
    """A stream whose first answer is looked at in passing: the library tells a refusal only when it has come whole."""

    def __init__(self, inner: trio.abc.Stream, address: Address, access: Access) -> None:
        self._inner, self._address, self._access = inner, address, access
        self._head: bytes | None = b""

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        data = bytes(await self._inner.receive_some(max_bytes))
        if self._head is not None:
            self._listen(data)
        return data

    def _listen(self, data: bytes) -> None:
        """LinkLost at the end of a head that is no upgrade, or without one; no HTTP is left to the library."""
        if not data:
            raise LinkLost(f"{self._address}: WebSocket handshake failed: the exchange hung up", kind="unseen")
        head = self._head = (self._head or b"") + data
        if b"\r\n\r\n" not in head and len(head) < HEAD:
            return
        self._head = None
        try:
            http = h11.Connection(h11.CLIENT)
            http.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
            http.receive_data(head)
            answer = http.next_event()
        except h11.ProtocolError:
            return
        if isinstance(answer, h11.Response):
            after = {name.lower(): value for name, value in answer.headers}.get(b"retry-after", b"")
            what = f"{self._address}: WebSocket handshake"
            error = http_refusal(what, answer.status_code, after.decode("ascii", "replace"))
            raise self._access.heed(error, self._address.host)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._inner.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._inner.aclose()


async def _handshake(
    nursery: trio.Nursery, stream: trio.abc.Stream, address: Address
) -> trio_websocket.WebSocketConnection:
    try:
        with trio.fail_after(machine_s(CONNECT_S)):
            return await trio_websocket.wrap_client_stream(
                nursery,
                stream,  # type: ignore[arg-type]  # any trio stream does; tests give it memory streams
                address.authority,
                address.path,
                message_queue_size=EVENTS,  # pings are answered by the task that fills this queue: never let it fill
                max_message_size=MAX_MESSAGE,
            )
    except trio.TooSlowError:
        words = f"{address}: WebSocket handshake not finished within {CONNECT_S:g} s"
        raise LinkLost(words, kind="upgrade") from None
    except (*_FOREIGN, *_PROTOCOL) as error:
        words = f"{address}: WebSocket handshake failed: {error or type(error).__name__}"
        raise LinkLost(words, kind="unseen") from error


def refused(error: UnsafeError) -> KeyRefused:
    """`error` with the remedy that most often helps."""
    words = f"{error}; check that the public key is uploaded, may trade, and allows this address"
    return KeyRefused(words, retry_after_s=AGAIN_S)
