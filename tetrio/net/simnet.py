"""TCP within one process, for a run in virtual time.

`trio.open_tcp_stream`, `trio.open_tcp_listeners` and what is built on them (trio-websocket, httpx, Hypercorn) run over
it unmodified, on loopback addresses, without a kernel.

Bytes arrive at once and in order, through a window of bounded size; a full window makes the sender wait, as TCP does.
Latency belongs to the exchange that is simulated, not to the pipe: a timer for each segment would cost more than all
else in a run. Names are not resolved: addresses are numeric. Faults come from who holds the sockets.
"""

from __future__ import annotations

import collections
import errno
import itertools
import socket as stdlib_socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing

WINDOW = 1 << 20  # bytes in flight one way; above the largest burst of one market millisecond
_Address = tuple[Any, ...]


class _Pipe:
    """One direction of a connection."""

    def __init__(self) -> None:
        self.chunks: collections.deque[bytes] = collections.deque()
        self.size = 0
        self.ended = False
        self.reset = False
        self.readers = trio.lowlevel.ParkingLot()
        self.writers = trio.lowlevel.ParkingLot()

    def end(self) -> None:
        self.ended = True
        self._wake()

    def break_off(self) -> None:
        self.reset = True
        self._wake()

    def _wake(self) -> None:
        self.readers.unpark_all()
        self.writers.unpark_all()

    def send_now(self, data: bytes) -> bool:
        """Take `data` whole if there is room; whether there was."""
        if self.reset or self.ended or self.size + len(data) > WINDOW:
            return False
        self.chunks.append(data)
        self.size += len(data)
        self.readers.unpark_all()
        return True

    async def send(self, data: bytes) -> int:
        await trio.lowlevel.checkpoint_if_cancelled()
        while self.size >= WINDOW and not (self.reset or self.ended):
            await self.writers.park()
        if self.reset:
            raise ConnectionResetError(errno.ECONNRESET, "connection reset by peer")
        if self.ended:
            raise BrokenPipeError(errno.EPIPE, "broken pipe")
        sent = data[: WINDOW - self.size]
        self.chunks.append(sent)
        self.size += len(sent)
        self.readers.unpark_all()
        return len(sent)

    async def receive(self, most: int, sock: _Socket) -> bytes:
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            sock.check_open()
            if self.chunks:
                break
            if self.reset:
                raise ConnectionResetError(errno.ECONNRESET, "connection reset by peer")
            if self.ended:
                return b""
            await self.readers.park()
        chunk = self.chunks.popleft()
        if len(chunk) > most:
            self.chunks.appendleft(chunk[most:])
            chunk = chunk[:most]
        self.size -= len(chunk)
        if self.writers:
            self.writers.unpark_all()
        return chunk


class _Socket(trio.socket.SocketType):
    """As much of a trio socket as trio's streams and listeners use."""

    type = stdlib_socket.SOCK_STREAM
    family = stdlib_socket.AF_INET
    proto = stdlib_socket.IPPROTO_TCP
    did_shutdown_SHUT_WR = False  # noqa: N815 - trio's name

    def __init__(self, net: SimNet) -> None:
        super().__init__()
        self._net = net
        self._number = next(net.numbers)
        self._closed = False
        self._address: _Address = ("127.0.0.1", 0)
        self._peer: _Address = ("127.0.0.1", 0)
        self._inward: _Pipe | None = None
        self._outward: _Pipe | None = None
        self._accepting: trio.MemoryReceiveChannel[_Socket] | None = None

    def check_open(self) -> None:
        """Raise as a closed trio socket does."""
        if self._closed:
            raise trio.ClosedResourceError("this socket was closed")

    # -- what every socket has ----------------------------------------------------------------------------------
    def fileno(self) -> int:
        """-1 once closed, else a number of no meaning outside."""
        return -1 if self._closed else self._number

    def setsockopt(self, *args: Any) -> None:
        """Accepted, without effect: there is no kernel to tell."""

    def getsockopt(self, level: int, option: int, buflen: int | None = None) -> Any:
        """Whether it listens; everything else is 0."""
        if (level, option) == (stdlib_socket.SOL_SOCKET, stdlib_socket.SO_ACCEPTCONN):
            return int(self._accepting is not None)
        return 0

    def getsockname(self) -> _Address:
        """Our address."""
        return self._address

    def getpeername(self) -> _Address:
        """The other end's address."""
        return self._peer

    def shutdown(self, how: int) -> None:
        """Say that nothing more will be sent."""
        self.did_shutdown_SHUT_WR = True
        if self._outward is not None:
            self._outward.end()

    def close(self) -> None:
        """Close; both ends notice."""
        if self._closed:
            return
        self._closed = True
        self._net.forget(self)
        for pipe in (self._outward, self._inward):
            if pipe is not None:
                pipe.end()

    def is_readable(self) -> bool:
        """Whether a read would return at once (httpcore asks before it reuses a connection)."""
        pipe = self._inward
        return pipe is not None and bool(pipe.chunks or pipe.ended or pipe.reset)

    async def wait_writable(self) -> None:
        """At once: a send waits by itself."""
        await trio.lowlevel.checkpoint()

    # -- listening ------------------------------------------------------------------------------------------------
    async def bind(self, address: _Address) -> None:
        """Take a port; 0 takes a free one."""
        await trio.lowlevel.checkpoint()
        self._address = self._net.bind(self, address)

    def listen(self, backlog: int = 128) -> None:
        """Let connections come."""
        self._accepting = self._net.listen(self, max(1, min(backlog, 4096)))

    async def accept(self) -> tuple[_Socket, _Address]:
        """The next connection."""
        assert self._accepting is not None, "accept comes after listen"
        try:
            other = await self._accepting.receive()
        except trio.EndOfChannel:
            raise trio.ClosedResourceError("this listener was closed") from None
        return other, other.getpeername()

    # -- connected ------------------------------------------------------------------------------------------------
    async def connect(self, address: _Address) -> None:
        """Meet a listener; ConnectionRefusedError where there is none."""
        await trio.lowlevel.checkpoint()
        self._address = ("127.0.0.1", next(self._net.ports))
        self._peer = address
        other = _Socket(self._net)
        self._outward, self._inward = other._inward, other._outward = _Pipe(), _Pipe()
        other._address, other._peer = address, self._address
        self._net.knock(address, other)

    async def send(self, data: Any, flags: int = 0) -> int:
        """Hand bytes over; waits while the window is full."""
        self.check_open()
        assert self._outward is not None, "send comes after connect"
        return await self._outward.send(bytes(data))

    def send_now(self, data: bytes) -> bool:
        """Hand bytes over whole if that needs no waiting; whether it was done."""
        return not self._closed and self._outward is not None and self._outward.send_now(data)

    async def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """The next bytes; b"" when the peer has ended."""
        self.check_open()
        assert self._inward is not None, "recv comes after connect"
        return await self._inward.receive(bufsize, self)

    def reset(self) -> None:
        """Cut the connection as a RST does: both ends fail at their next use, the peer once it has read what was here
        before, as on Linux.
        """
        if self._inward is not None:
            self._inward.chunks.clear()
        for pipe in (self._outward, self._inward):
            if pipe is not None:
                pipe.break_off()


class SimNet(trio.abc.SocketFactory):
    """The network; `with_simnet` puts it under the running trio loop."""

    def __init__(self) -> None:
        self.numbers: Iterator[int] = itertools.count(1000)
        self.ports: Iterator[int] = itertools.count(40000)
        self._bound: dict[int, _Socket] = {}
        self._doors: dict[int, trio.MemorySendChannel[_Socket]] = {}

    def socket(self, family: int = 2, type: int = 1, proto: int = 0) -> _Socket:  # noqa: A002 - trio's names
        """A new TCP socket."""
        return _Socket(self)

    def bind(self, sock: _Socket, address: _Address) -> _Address:
        """Give `sock` its port; OSError(EADDRINUSE) when another has it."""
        port = int(address[1]) or next(self.ports)
        if port in self._bound:
            raise OSError(errno.EADDRINUSE, f"address already in use: port {port}")
        self._bound[port] = sock
        return ("127.0.0.1", port)

    def listen(self, sock: _Socket, backlog: int) -> trio.MemoryReceiveChannel[_Socket]:
        """Open the door of `sock`'s port; more than `backlog` waiting connections are refused."""
        send, receive = trio.open_memory_channel[_Socket](backlog)
        self._doors[sock.getsockname()[1]] = send
        return receive

    def knock(self, address: _Address, other: _Socket) -> None:
        """Bring a connection to a listener; ConnectionRefusedError when none is there or its backlog is full."""
        try:
            self._doors[int(address[1])].send_nowait(other)
        except (KeyError, trio.WouldBlock, trio.BrokenResourceError):
            raise ConnectionRefusedError(errno.ECONNREFUSED, "connection refused") from None

    def forget(self, sock: _Socket) -> None:
        """A socket was closed: its port is free again."""
        port = sock.getsockname()[1]
        if self._bound.get(port) is sock:
            del self._bound[port]
            door = self._doors.pop(port, None)
            if door is not None:
                door.close()


@asynccontextmanager
async def with_simnet() -> AsyncIterator[SimNet]:
    """Put a simulated network under this trio run, for as long as the block lasts."""
    net = SimNet()
    previous = trio.socket.set_custom_socket_factory(net)
    try:
        yield net
    finally:
        trio.socket.set_custom_socket_factory(previous)
