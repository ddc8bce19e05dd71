"""TLS over a stream, read in bulk: all that has arrived is decrypted at once, where trio's gives a record a call.

A storm of quotes over wss:// is many records of 16 KiB a read; a turn of the loop for each costs as much as the quotes
in it. For who reads and writes from one task, and closes without a goodbye, as market lines do. The certificate and
the host's name are checked by the context.
"""

from __future__ import annotations

import os
import ssl

import trio

from tetrio.net.closing import hang_up

READ = 65536  # bytes asked of the kernel at once
_DONE = (ssl.SSLZeroReturnError, ssl.SSLEOFError)


def kernel_socket(stream: trio.abc.Stream) -> trio.socket.SocketType | None:
    """The socket that can be read past `stream`: None where there is TLS, or no kernel, between it and the bytes."""
    if not isinstance(stream, trio.SocketStream) or getattr(stream.socket, "simulated", False):
        return None
    return stream.socket


async def read_socket(sock: trio.socket.SocketType) -> bytes:
    """What has arrived, b"" at the end. It waits, then reads; trio reads, mostly in vain, waits, and reads again."""
    while True:
        fd = sock.fileno()
        if fd < 0:
            raise trio.ClosedResourceError("this socket was closed")
        await trio.lowlevel.wait_readable(fd)
        try:
            return os.read(fd, READ)
        except BlockingIOError:
            continue  # it was readable, and is not any more: the kernel may do so


class TlsStream(trio.abc.Stream):
    """The client's end; `do_handshake` first. OSError and trio's errors of the stream below come through."""

    def __init__(self, stream: trio.abc.Stream, context: ssl.SSLContext, host: str) -> None:
        self._stream, self._socket = stream, kernel_socket(stream)
        self._came, self._goes = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._came, self._goes, server_hostname=host)
        self._why: ssl.SSLError | None = None

    async def do_handshake(self) -> None:
        """ssl.SSLError when the peer, or its certificate, is not what it should be."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._fill()
            except ssl.SSLError:
                await self._flush()  # the alert that tells the peer why
                raise
            else:
                await self._flush()
                return

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """All that can be decrypted of what has arrived; b"" at the end, with a goodbye or without."""
        most, pieces = max_bytes or READ, list[bytes]()
        while not pieces:
            if self._why is not None:
                raise trio.BrokenResourceError(f"TLS: {self._why.reason or self._why}") from self._why
            try:
                while most > 0 and (piece := self._tls.read(most)):
                    pieces.append(piece)
                    most -= len(piece)
            except ssl.SSLWantReadError:
                if not pieces:
                    await self._fill()
            except _DONE:
                break
            except ssl.SSLError as error:
                self._why = error  # what came whole before it is handed out first
            else:
                break
        return b"".join(pieces)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send."""
        try:
            self._tls.write(data)
        except ssl.SSLError as error:
            raise trio.BrokenResourceError(f"TLS: {error.reason or error}") from error
        await self._flush()

    async def wait_send_all_might_not_block(self) -> None:
        """As the stream below."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """At once, without a goodbye: what comes after it would not be read."""
        await hang_up(self._stream)

    async def _fill(self) -> None:
        """Wait for more to decrypt; what has to be said before it can come is said first."""
        await self._flush()
        if self._socket is not None:
            data = await read_socket(self._socket)
        else:
            data = bytes(await self._stream.receive_some(READ))
        if data:
            self._came.write(data)
        else:
            self._came.write_eof()

    async def _flush(self) -> None:
        if self._goes.pending:
            await self._stream.send_all(self._goes.read())
