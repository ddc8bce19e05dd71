"""A market line: one WebSocket connection to the market streams, read in bulk.

trio-websocket wakes its reader for every message; a market line is read 64 KiB at a time and its frames walked in one
loop (`wire.frames`), which is what a storm of quotes needs. Pings are answered here, whatever the consumers do.
"""

from __future__ import annotations

import base64
import hashlib
import math
import ssl
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import h11
import trio

from tetrio.errors import LinkLost, LinkStale
from tetrio.log import Secret
from tetrio.net import entropy
from tetrio.net.access import MISBEHAVED_S, Access, http_refusal
from tetrio.net.clock import machine_s
from tetrio.net.closing import hang_up
from tetrio.net.dial import CONNECT_S, Address, dial
from tetrio.net.tls import READ, kernel_socket, read_socket
from tetrio.wire.frames import FrameError, FrameReader, Message, client_frame, close_code

SEND_S = 5.0
PER_S = 3  # messages that we may send in a second, pongs included: Binance cuts off after 5, and then bans
TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
_FOREIGN = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError)


class Line:
    """An open market line."""

    def __init__(self, stream: trio.abc.Stream, early: bytes, name: str, patience: trio.CancelScope) -> None:
        """`patience` surrounds the line's life (a scope for each read would cost more than the read itself)."""
        self.name = name
        self._stream = stream
        self._socket = kernel_socket(stream)
        self._patience = patience
        self._frames = FrameReader()
        self._early = early
        self._sent: deque[float] = deque(maxlen=PER_S)
        self._owed: bytes | None = None
        """The newest ping that has not been answered: a pong answers those before it as well."""

    def rest(self) -> None:
        """Nothing need come until the next `receive`: to be called by whoever has to wait for something else."""
        self._patience.deadline = math.inf

    async def receive(self, until: float) -> list[bytes]:
        """The payloads of what has arrived, at least one.

        Without one by `until`, on trio's clock, pings or not, the line is over: what surrounds it is cancelled, and
        ends in LinkStale.
        """
        payloads: list[bytes] = []
        while not payloads:
            data = await self._read(until)
            try:
                others = self._frames.feed_texts(data, payloads)
            except FrameError as error:
                raise self._broke(error) from error
            for opcode, payload in others:
                if opcode == BINARY:
                    raise LinkLost(f"{self.name}: a binary frame on a JSON line")
                self._heed(opcode, payload)
            if self._owed is not None:
                await self._answer()
        return payloads

    async def receive_any(self, until: float) -> list[Message]:
        """The same of a line that has binary messages beside its texts, as SBE has: (TEXT or BINARY, payload)."""
        messages: list[Message] = []
        while not messages:
            for opcode, payload in self._walk(await self._read(until)):
                if opcode in (TEXT, BINARY):
                    messages.append((opcode, payload))
                else:
                    self._heed(opcode, payload)
            if self._owed is not None:
                await self._answer()
        return messages

    def _walk(self, data: bytes) -> list[Message]:
        try:
            return self._frames.feed(data)
        except FrameError as error:
            raise self._broke(error) from error

    def _broke(self, error: FrameError) -> LinkLost:
        return LinkLost(f"{self.name}: broke the WebSocket protocol: {error}")

    def _heed(self, opcode: int, payload: bytes) -> None:
        """A control frame."""
        if opcode == PING:
            self._owed = payload
        elif opcode == CLOSE:
            code, reason = close_code(payload)
            raise closed(self.name, code, reason)

    async def _answer(self) -> None:
        """The pong that is owed, as soon as the exchange takes one more message from us."""
        now = trio.current_time()
        if self._owed is not None and (len(self._sent) < PER_S or now - self._sent[0] >= machine_s(1)):
            owed, self._owed = self._owed, None
            await self._send(PONG, owed)

    async def say(self, text: str) -> None:
        """Send a control message, such as SUBSCRIBE; by the task that receives, so that no two writes meet."""
        await self._send(TEXT, text.encode())

    async def _read(self, until: float) -> bytes:
        if self._early:
            early, self._early = self._early, b""
            return early
        if self._patience.deadline != until:  # to move it costs as much as to read
            self._patience.deadline = until
        try:
            data = await (self._receive_some() if self._socket is None else read_socket(self._socket))
        except _FOREIGN as error:
            raise LinkLost(f"{self.name}: {error or type(error).__name__}") from error
        if not data:
            raise LinkLost(f"{self.name}: the exchange hung up")
        return data

    async def _receive_some(self) -> bytes:
        return bytes(await self._stream.receive_some(READ))

    async def _send(self, opcode: int, payload: bytes) -> None:
        self.rest()
        self._sent.append(trio.current_time())
        try:
            with trio.fail_after(machine_s(SEND_S)):
                await self._stream.send_all(client_frame(opcode, payload, entropy.token_bytes(4)))
        except trio.TooSlowError:
            raise LinkStale(f"{self.name}: nothing could be sent for {SEND_S:g} s") from None
        except _FOREIGN as error:
            raise LinkLost(f"{self.name}: {error or type(error).__name__}") from error


@asynccontextmanager
async def open_line(
    url: str,
    streams: list[str],
    *,
    name: str = "market",
    owed: str = "a message",
    api_key: Secret | None = None,
    access: Access | None = None,
) -> AsyncIterator[Line]:
    """Connect to the combined streams `streams` of the market-stream service at `url`.

    owed      what `receive` waits for, in words
    api_key   what the SBE streams want to see; nothing is signed
    access    asked before the connection is made, and told why it failed
    """
    access = access or Access()
    address = Address.parse(f"{url.rstrip('/')}/stream?streams={'/'.join(streams)}")
    await access.connect(address.host, address.port)
    try:
        stream = await dial(address, CONNECT_S, in_bulk=True)
    except LinkLost as error:
        raise access.heed(error, address.host) from error.__cause__
    try:
        try:
            early = await _upgraded(stream, address, api_key)
        except LinkLost as error:
            raise access.heed(error, address.host) from error.__cause__
        with trio.CancelScope() as patience:
            yield Line(stream, early, name, patience)
        if patience.cancelled_caught:
            raise LinkStale(f"{name}: {owed} is overdue")
    finally:
        await hang_up(stream)


async def _upgraded(stream: trio.abc.Stream, address: Address, api_key: Secret | None) -> bytes:
    try:
        with trio.fail_after(machine_s(CONNECT_S)):
            return await _upgrade(stream, address, api_key)
    except trio.TooSlowError:
        words = f"{address}: WebSocket handshake not finished within {CONNECT_S:g} s"
        raise LinkLost(words, kind="upgrade") from None
    except (*_FOREIGN, h11.ProtocolError) as error:
        words = f"{address}: WebSocket handshake failed: {error or type(error).__name__}"
        raise LinkLost(words, kind="unseen") from error


async def _upgrade(stream: trio.abc.Stream, address: Address, api_key: Secret | None) -> bytes:
    """The opening handshake (RFC 6455, section 4.1); what arrived after it."""
    http = h11.Connection(h11.CLIENT)
    key = base64.b64encode(entropy.token_bytes(16))
    headers = [
        (b"Host", address.authority.encode()),
        (b"Upgrade", b"websocket"),
        (b"Connection", b"Upgrade"),
        (b"Sec-WebSocket-Key", key),
        (b"Sec-WebSocket-Version", b"13"),
    ]
    if api_key is not None:
        headers.append((b"X-MBX-APIKEY", api_key.reveal().encode()))
    request = h11.Request(method="GET", target=address.path, headers=headers)
    await stream.send_all(http.send(request) or b"")
    while (event := http.next_event()) is h11.NEED_DATA:
        http.receive_data(bytes(await stream.receive_some(READ)))
    if not isinstance(event, h11.InformationalResponse) or event.status_code != 101:
        raise _rejected(address, event)
    answer = {name.lower(): value for name, value in event.headers}
    if answer.get(b"sec-websocket-accept") != accept_token(key):
        raise LinkLost(f"{address}: WebSocket handshake failed: Sec-WebSocket-Accept is wrong", kind="upgrade")
    if b"sec-websocket-extensions" in answer:
        words = f"{address}: WebSocket handshake failed: an extension that was not asked for"
        raise LinkLost(words, kind="upgrade")
    return http.trailing_data[0]


def accept_token(key: bytes) -> bytes:
    """What the server must answer to `Sec-WebSocket-Key: key` (RFC 6455, section 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())  # noqa: S324


def _rejected(address: Address, event: object) -> LinkLost:
    if isinstance(event, h11.Response):
        after = {name.lower(): value for name, value in event.headers}.get(b"retry-after", b"")
        return http_refusal(f"{address}: WebSocket handshake", event.status_code, after.decode("ascii", "replace"))
    return LinkLost(f"{address}: WebSocket handshake failed: the exchange hung up", kind="unseen")


def closed(name: str, code: int, reason: str) -> LinkLost:
    """The peer has closed the connection `name` in order; 1008 says that we have misbehaved."""
    words = f"{name}: closed by the exchange: {code} {reason}".rstrip()
    if code == 1008:
        return LinkLost(words, kind="misbehaved", retry_after_s=MISBEHAVED_S)
    return LinkLost(words, kind="closed")
