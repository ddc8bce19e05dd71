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

from tetrio.errors import LinkError, LinkLost, LinkSlow, LinkStale, UnsafeError, WireError
from tetrio.net.clock import machine_s
from tetrio.net.dial import Address, dial
from tetrio.wire.request import Event, Reply, decode_frame, encode_request

CONNECT_S = 10.0
REPLY_S = 10.0  # Binance's own backend gives up after 10 s
PING_EVERY_S = 10.0
PONG_WITHIN_S = 5.0
EVENTS = 4096  # an order's life is about 5 events: 800 of them while the account task is busy with one
MAX_MESSAGE = 8 << 20
LOGON, UNAUTHORIZED = "session.logon", 401
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
        heard: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self._heard = heard
        self._ws = ws
        self._now_ms = now_ms
        self._last_id = 0
        self._waiters: dict[int, _Waiter] = {}
        self._broken = trio.Event()
        self._why = ""
        self._events_in, self.events = trio.open_memory_channel[Event](EVENTS)

    @property
    def alive(self) -> bool:
        """Whether requests can still be sent on it."""
        return not self._broken.is_set()

    async def request(
        self, method: str, params: Mapping[str, object] | None = None, *, timed: bool = True, within_s: float = REPLY_S
    ) -> Reply:
        """Send one request and wait for its reply.

        timed   add `timestamp`, as every signed method wants also within a session
        LinkError when there is no reply: the request may or may not have been executed; also when the session has lost
        its authentication, for a new logon to tell whether the key is still good.
        """
        if self._broken.is_set():
            raise LinkLost(f"{self.name}: {self._why}")
        self._last_id += 1
        number, waiter = self._last_id, _Waiter()
        body = {**(params or {}), "timestamp": self._now_ms()} if timed else dict(params or {})
        self._waiters[number] = waiter
        try:
            with trio.fail_after(machine_s(within_s)):
                await self._send(encode_request(number, method, body))
                await waiter.arrived.wait()
        except trio.TooSlowError:
            raise LinkStale(f"{self.name}: {method} was not answered within {within_s:g} s") from None
        finally:
            del self._waiters[number]
        if waiter.reply is None:
            raise LinkLost(f"{self.name}: {self._why}")
        if waiter.reply.status == UNAUTHORIZED and method != LOGON:
            self._break(f"{method} was refused: the session is logged on no more")
            raise LinkLost(f"{self.name}: {self._why}")
        return waiter.reply

    async def _send(self, text: str) -> None:
        done = False
        try:
            await self._ws.send_message(text)
            done = True
        except trio_websocket.ConnectionClosed as error:
            raise LinkLost(f"{self.name}: closed: {error.reason}") from error
        finally:
            if not done:
                self._break("a send was cut short")

    def _break(self, why: str) -> None:
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
            self._break(f"closed by the exchange: {error.reason}")
            raise LinkLost(f"{self.name}: {self._why}") from error
        except (LinkError, WireError) as error:
            # nobody reads on: who waits for a reply must not wait in vain
            self._break(str(error).removeprefix(f"{self.name}: "))
            raise

    def _sort(self, message: Reply | Event) -> None:
        self._heard()
        if isinstance(message, Event):
            try:
                self._events_in.send_nowait(message)
            except trio.WouldBlock:
                raise LinkSlow(f"{self.name}: {EVENTS} account events wait to be read") from None
        elif isinstance(message.id, int) and (waiter := self._waiters.get(message.id)) is not None:
            waiter.reply = message
            waiter.arrived.set()
        elif message.id is None and message.error is not None:
            # a revoked session answers without an id (401): no request can be matched, all are lost
            raise LinkLost(f"{self.name}: {message.error.code} {message.error.msg}")

    async def watch(self) -> None:
        """Raise when a send broke the link."""
        await self._broken.wait()
        raise LinkLost(f"{self.name}: {self._why}")

    async def ping(self) -> None:
        """Ask for a sign of life now and then; LinkStale without one."""
        while True:
            await trio.sleep(machine_s(PING_EVERY_S))
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
    url: str, now_ms: Callable[[], int], *, name: str = "account", heard: Callable[[], None] = lambda: None
) -> AsyncIterator[Link]:
    """Connect to the WebSocket API at `url`; the link lives as long as the block.

    heard   called at each sign of life: a reply, an event, a pong

    Errors of the link end the block; like everything from a nursery they come in groups: use `except*`.
    """
    address = Address.parse(url)
    stream = await dial(address, CONNECT_S)
    connected = False
    try:
        async with trio.open_nursery() as nursery:
            ws = await _handshake(nursery, stream, address)
            connected = True
            link = Link(ws, now_ms, name, heard)
            nursery.start_soon(link.read)
            nursery.start_soon(link.watch)
            nursery.start_soon(link.ping)
            try:
                yield link
            finally:
                nursery.cancel_scope.cancel()  # the reader first: no reply to a ping after a close, no hang in a queue
    except* trio_websocket.ConnectionRejected as group:  # from the library's reader, like the next ones
        refusal = group.exceptions[0]
        assert isinstance(refusal, trio_websocket.ConnectionRejected), "it is never raised in a group of its own"
        raise _rejected(address, refusal.status_code, refusal.headers) from refusal
    except* _PROTOCOL as group:
        what = "broke the WebSocket protocol" if connected else "WebSocket handshake failed"
        raise LinkLost(f"{address}: {what}: {group.exceptions[0]}") from group.exceptions[0]
    finally:
        await trio.aclose_forcefully(stream)


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
        raise LinkLost(f"{address}: WebSocket handshake not finished within {CONNECT_S:g} s") from None
    except trio_websocket.ConnectionRejected as error:
        raise _rejected(address, error.status_code, error.headers) from error
    except (*_FOREIGN, *_PROTOCOL) as error:
        raise LinkLost(f"{address}: WebSocket handshake failed: {error or type(error).__name__}") from error


def _rejected(address: Address, status: int, headers: object) -> LinkLost:
    fields = {bytes(name).lower(): bytes(value) for name, value in headers or ()}  # type: ignore[attr-defined]
    after = fields.get(b"retry-after", b"").decode(errors="replace")
    return LinkLost(
        f"{address}: WebSocket handshake refused with HTTP {status}",
        retry_after_s=float(after) if after.isdecimal() else None,
    )


def refused(error: UnsafeError) -> UnsafeError:
    """`error` with the remedy that most often helps."""
    return UnsafeError(f"{error}; check that the public key is uploaded, may trade, and allows this address")
