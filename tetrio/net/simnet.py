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
Address = tuple[Any, ...]


class Pipe:
    """One direction of a connection."""

    def __init__(self) -> None:
        self.chunks: collections.deque[bytes] = collections.deque()
        self.size = 0
        self.ended = False
        self.reset = False
        self.readers = trio.lowlevel.ParkingLot()
        self.writers = trio.lowlevel.ParkingLot()

    def end(self) -> None:
        """Nothing more is sent."""
        self.ended = True
        self._wake()

    def lose(self) -> None:
        """What is under way never arrives."""
        self.chunks.clear()

    def break_off(self) -> None:
        """Both ends fail, the reader once it has read what is here."""
        self.reset = True
        self._wake()

    @property
    def readable(self) -> bool:
        """Whether a read would return at once."""
        return bool(self.chunks or self.ended or self.reset)

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

    def check_whole(self) -> None:
        """Raise where nothing can be sent any more."""
        if self.reset:
            raise ConnectionResetError(errno.ECONNRESET, "connection reset by peer")
        if self.ended:
            raise BrokenPipeError(errno.EPIPE, "broken pipe")

    async def send(self, data: bytes) -> int:
        """Take what there is room for, once there is some; how much that was."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while self.size >= WINDOW and not (self.reset or self.ended):
            await self.writers.park()
        self.check_whole()
        sent = data[: WINDOW - self.size]
        self.chunks.append(sent)
        self.size += len(sent)
        self.readers.unpark_all()
        return len(sent)

    async def receive(self, most: int, sock: Socket) -> bytes:
        """What has come, once something has; b"" at the end."""
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


class Socket(trio.socket.SocketType):
    """As much of a trio socket as trio's streams and listeners use."""

    type = stdlib_socket.SOCK_STREAM
    family = stdlib_socket.AF_INET
    proto = stdlib_socket.IPPROTO_TCP
    did_shutdown_SHUT_WR = False  # noqa: N815 - trio's name
    simulated = True
    """Its number says nothing to a kernel."""

    def __init__(self, net: SimNet) -> None:
        super().__init__()
        self.net = net
        self._number = next(net.numbers)
        self.closed = False
        self.address: Address = ("127.0.0.1", 0)
        self.peer: Address = ("127.0.0.1", 0)
        self.inward: Pipe | None = None
        self.outward: Pipe | None = None
        self.accepting: trio.MemoryReceiveChannel[Socket] | None = None

    def check_open(self) -> None:
        """Raise as a closed trio socket does."""
        if self.closed:
            raise trio.ClosedResourceError("this socket was closed")

    # -- what every socket has ----------------------------------------------------------------------------------
    def fileno(self) -> int:
        """-1 once closed, else a number of no meaning outside."""
        return -1 if self.closed else self._number

    def setsockopt(self, *args: Any) -> None:
        """Accepted, without effect: there is no kernel to tell."""

    def getsockopt(self, level: int, option: int, buflen: int | None = None) -> Any:
        """Whether it listens; everything else is 0."""
        if (level, option) == (stdlib_socket.SOL_SOCKET, stdlib_socket.SO_ACCEPTCONN):
            return int(self.accepting is not None)
        return 0

    def getsockname(self) -> Address:
        """Our address."""
        return self.address

    def getpeername(self) -> Address:
        """The other end's address."""
        return self.peer

    def shutdown(self, how: int) -> None:
        """Say that nothing more will be sent."""
        self.did_shutdown_SHUT_WR = True
        if self.outward is not None:
            self.outward.end()

    def close(self) -> None:
        """Close; both ends notice."""
        if self.closed:
            return
        self.closed = True
        self.net.forget(self)
        for pipe in (self.outward, self.inward):
            if pipe is not None:
                pipe.end()

    def is_readable(self) -> bool:
        """Whether a read would return at once (httpcore asks before it reuses a connection)."""
        return self.inward is not None and self.inward.readable

    async def wait_writable(self) -> None:
        """At once: a send waits by itself."""
        await trio.lowlevel.checkpoint()

    # -- listening ------------------------------------------------------------------------------------------------
    async def bind(self, address: Address) -> None:
        """Take a port; 0 takes a free one."""
        await trio.lowlevel.checkpoint()
        self.address = self.net.bind(self, address)

    def listen(self, backlog: int = 128) -> None:
        """Let connections come."""
        self.accepting = self.net.listen(self, max(1, min(backlog, 4096)))

    async def accept(self) -> tuple[Socket, Address]:
        """The next connection."""
        assert self.accepting is not None, "accept comes after listen"
        try:
            other = await self.accepting.receive()
        except trio.EndOfChannel:
            raise trio.ClosedResourceError("this listener was closed") from None
        return other, other.getpeername()

    # -- connected ------------------------------------------------------------------------------------------------
    async def connect(self, address: Address) -> None:
        """Meet a listener; ConnectionRefusedError where there is none."""
        await trio.lowlevel.checkpoint()
        self.meet(address, Socket(self.net), Pipe(), Pipe(), ("127.0.0.1", next(self.net.ports)))

    def meet(self, address: Address, other: Socket, there: Pipe, back: Pipe, own: Address) -> None:
        """Become one end of a connection whose other end `other` a listener at `address` is given."""
        self.address, self.peer = own, address
        other.address, other.peer = address, own
        self.outward, self.inward = other.inward, other.outward = there, back
        self.net.knock(address, other)

    async def send(self, data: Any, flags: int = 0) -> int:
        """Hand bytes over; waits while the window is full."""
        self.check_open()
        assert self.outward is not None, "send comes after connect"
        return await self.outward.send(bytes(data))

    def send_now(self, data: bytes) -> bool:
        """Hand bytes over whole if that needs no waiting; whether it was done."""
        return not self.closed and self.outward is not None and self.outward.send_now(data)

    async def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """The next bytes; b"" when the peer has ended."""
        self.check_open()
        assert self.inward is not None, "recv comes after connect"
        return await self.inward.receive(bufsize, self)

    def reset(self) -> None:
        """Cut the connection as a RST does: both ends fail at their next use, the peer once it has read what was here
        before, as on Linux.
        """
        if self.inward is not None:
            self.inward.lose()
        for pipe in (self.outward, self.inward):
            if pipe is not None:
                pipe.break_off()


class SimNet(trio.abc.SocketFactory):
    """The network; `with_simnet` puts it under the running trio loop."""

    def __init__(self) -> None:
        self.numbers: Iterator[int] = itertools.count(1000)
        self.ports: Iterator[int] = itertools.count(40000)
        self._bound: dict[tuple[str, int], Socket] = {}
        self._doors: dict[tuple[str, int], trio.MemorySendChannel[Socket]] = {}

    def socket(self, family: int = 2, type: int = 1, proto: int = 0) -> Socket:  # noqa: A002 - trio's names
        """A new TCP socket."""
        return Socket(self)

    def bind(self, sock: Socket, address: Address) -> Address:
        """Give `sock` its port; OSError(EADDRINUSE) when another has it."""
        port = int(address[1]) or next(self.ports)
        place = (self.address_of(sock, address), port)
        if place in self._bound:
            raise OSError(errno.EADDRINUSE, f"address already in use: port {port}")
        self._bound[place] = sock
        return place

    def address_of(self, sock: Socket, address: Address) -> str:
        """Which address a listener takes when it asks for `address`: there is one host here."""
        return "127.0.0.1"

    def listen(self, sock: Socket, backlog: int) -> trio.MemoryReceiveChannel[Socket]:
        """Open the door of `sock`'s port; more than `backlog` waiting connections are refused."""
        send, receive = trio.open_memory_channel[Socket](backlog)
        self._doors[sock.address] = send
        return receive

    def knock(self, address: Address, other: Socket) -> None:
        """Bring a connection to a listener; ConnectionRefusedError when none is there or its backlog is full."""
        try:
            self._doors[address[0], int(address[1])].send_nowait(other)
        except (KeyError, trio.WouldBlock, trio.BrokenResourceError):
            raise ConnectionRefusedError(errno.ECONNREFUSED, "connection refused") from None

    def forget(self, sock: Socket) -> None:
        """A socket was closed: its port is free again."""
        if self._bound.get(sock.address) is sock:
            del self._bound[sock.address]
            door = self._doors.pop(sock.address, None)
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
