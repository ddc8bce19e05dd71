"""Several hosts on one simulated network: names, distances, weather, and power that fails.

    async with with_internet(rng) as internet:
        exchange, bot = internet.host("exchange"), internet.host("bot")
        internet.name("ws-api.example", exchange)
        with exchange.here():
            nursery.start_soon(serve)              # its sockets are the exchange's
        with bot.here():
            nursery.start_soon(trade)
        internet.weather(exchange).latency_s = 0.01, 0.08
        bot.die()                                  # as by SIGKILL, at this instant

Bytes take time between hosts, in order, and arrive whole or in segments. What goes wrong is said per host (`Weather`:
how connections to it come about) or per connection (`Connection`: reset, ended, or silent in one direction or both). A
host that has died sends nothing and learns nothing; its processes may still run, and cannot tell anybody.

It builds on `simnet`, which stays as it is for runs that need one host and no weather.
"""

from __future__ import annotations

import collections
import errno
import itertools
import math
import random
import socket as stdlib_socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any

import attrs
import trio

from tetrio.net.simnet import WINDOW, Address, Pipe, SimNet, Socket

DNS_S = (0.001, 0.03)
_here: ContextVar[Host | None] = ContextVar("host", default=None)


class LatePipe(Pipe):
    """One direction of a connection between hosts: bytes arrive later, or never."""

    def __init__(self, weather: Weather, rng: random.Random) -> None:
        super().__init__()
        self._weather, self._rng = weather, rng
        self._under_way: collections.deque[tuple[float, bytes]] = collections.deque()
        self._last_due = 0.0
        self.window = WINDOW
        self.taken_s = trio.current_time()
        """When something last came out at the far end; at first, when the connection was made."""
        self.heard: tuple[dict[Host, float], Host] | None = None
        """Where that is noted too, and under whose name."""
        self.hole = False
        """Bytes vanish, and so does the news of an end."""

    def _due(self) -> float:
        self._last_due = max(self._last_due, trio.current_time() + self._weather.draw_s(self._rng))
        return self._last_due

    def _put(self, data: bytes) -> None:
        self.size += len(data)
        if not self.hole:
            self._under_way.append((self._due(), data))
            if self.readers:
                self.readers.unpark_all()

    @property
    def readable(self) -> bool:
        """Whether a read would return at once."""
        if self.reset:
            return True
        if self._under_way:
            return self._under_way[0][0] <= trio.current_time()
        return self.ended and not self.hole

    def send_now(self, data: bytes) -> bool:
        """Take `data` whole if there is room; whether there was."""
        if self.reset or self.ended or self.size + len(data) > self.window:
            return False
        self._put(data)
        return True

    async def send(self, data: bytes) -> int:
        """Take what there is room for, once there is some; into a hole too, as a kernel's buffer does."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while self.size >= self.window and not (self.reset or self.ended):
            await self.writers.park()
        self.check_whole()
        sent = data[: self.window - self.size]
        self._put(sent)
        return len(sent)

    async def receive(self, most: int, sock: Socket) -> bytes:
        """What has arrived, once something has."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            sock.check_open()
            if self._under_way:
                due, data = self._under_way[0]
                now = trio.current_time()
                if due <= now:
                    return self._take(data, most, now)
                with trio.CancelScope(deadline=due):
                    await self.readers.park()
                continue
            if self.reset:
                raise ConnectionResetError(errno.ECONNRESET, "connection reset by peer")
            if self.ended and not self.hole:
                return b""
            await self.readers.park()

    def _take(self, data: bytes, most: int, now: float) -> bytes:
        size = self._weather.segment(min(most, len(data)), self._rng)
        due, _ = self._under_way.popleft()
        if size < len(data):
            self._under_way.appendleft((due, data[size:]))
        self.size -= size
        self.taken_s = now
        if self.heard is not None:
            book, host = self.heard
            book[host] = self.taken_s
        if self.writers:
            self.writers.unpark_all()
        return data[:size]

    def lose(self) -> None:
        """What is under way never arrives."""
        self._under_way.clear()

    def open_hole(self) -> None:
        """Nothing arrives from now on, what is under way included."""
        self.hole = True
        self._under_way.clear()


@attrs.define
class Weather:
    """How it is to reach one host, and to be reached by it."""

    latency_s: tuple[float, float] = (0.002, 0.02)
    """Of each segment, one way, drawn evenly."""
    chop: float = 0.05
    """Share of reads that get a part of what has come."""
    syn: str = ""
    """Of new connections: "" they come about, "drop" they never do, "refuse" they are reset, "deaf" nobody accepts."""
    window: int = WINDOW
    """Bytes under way of new connections, at most."""

    def draw_s(self, rng: random.Random) -> float:
        """How late one segment is."""
        least, most = self.latency_s
        return rng.uniform(least, most) if most else 0.0

    def segment(self, size: int, rng: random.Random) -> int:
        """How much of what has come a read gets."""
        return rng.randint(1, size) if size > 1 and rng.random() < self.chop else size


class HostSocket(Socket):
    """A socket of one host."""

    def __init__(self, net: Internet, host: Host) -> None:
        super().__init__(net)
        self.internet, self.host = net, host
        host.sockets[self] = None
        self.address = (host.ip, 0)

    def check_open(self) -> None:
        """Raise as a closed socket does, or as any does where there is no network any more."""
        super().check_open()
        if self.host.dead:
            raise OSError(errno.ENETDOWN, "network is down")

    def close(self) -> None:
        """Close; the other end notices, in time."""
        self.host.sockets.pop(self, None)
        super().close()

    async def connect(self, address: Address) -> None:
        """Meet a listener on this host or another."""
        self.check_open()
        ip, port = str(address[0]), int(address[1])
        if ip.startswith("127."):
            await trio.lowlevel.checkpoint()
            ip = self.host.loopback
            self.meet((ip, port), HostSocket(self.internet, self.host), Pipe(), Pipe(), (ip, next(self.internet.ports)))
            return
        other = await self.internet.route(self.host, ip)
        weather, rng = self.internet.weather(other), self.internet.rng
        there, back = LatePipe(weather, rng), LatePipe(weather, rng)
        there.window = back.window = weather.window
        back.heard = self.host.heard_s, other
        far = HostSocket(self.internet, other)
        if weather.syn != "deaf":
            self.meet((ip, port), far, there, back, (self.host.ip, next(self.internet.ports)))
        else:
            self.outward, self.inward = there, back
            self.peer = address
        self.internet.made(self, far)

    async def send(self, data: Any, flags: int = 0) -> int:
        """Hand bytes over; waits while the window is full."""
        sent = await super().send(data, flags)
        self.check_open()
        return sent


@attrs.define(eq=False)
class Connection:
    """One connection between hosts."""

    client: HostSocket
    server: HostSocket
    made_s: float = attrs.field(factory=trio.current_time)

    @property
    def open(self) -> bool:
        """Whether neither end has closed it."""
        return not (self.client.closed or self.server.closed)

    @property
    def heard_s(self) -> float:
        """When the client last got something."""
        inward = self.client.inward
        return inward.taken_s if isinstance(inward, LatePipe) else -math.inf

    def reset(self) -> None:
        """Both ends fail at their next use."""
        self.client.reset()

    def fin(self) -> None:
        """The client is told that nothing more comes, though the server has said nothing."""
        if self.client.inward is not None:
            self.client.inward.end()
        if self.client.outward is not None:
            self.client.outward.end()

    def go_dark(self, direction: str = "both") -> None:
        """Half-open: bytes `in` (to the server), `out` (to the client) or both ways vanish, without a word."""
        for pipe, way in ((self.client.outward, "in"), (self.client.inward, "out")):
            if isinstance(pipe, LatePipe) and direction in (way, "both"):
                pipe.open_hole()


class Host:
    """One machine: its address, its sockets, its power."""

    def __init__(self, name: str, ip: str) -> None:
        self.name, self.ip = name, ip
        self.loopback = f"{ip}/lo"
        self.dead = False
        self.sockets: dict[HostSocket, None] = {}
        self.heard_s: dict[Host, float] = {}
        """When it last got something from each other host."""

    @contextmanager
    def here(self) -> Iterator[None]:
        """Tasks that are started within, and what they start, run on this host."""
        token = _here.set(self)
        try:
            yield
        finally:
            _here.reset(token)

    def die(self, *, silently: bool = False) -> None:
        """End every process's connections at this instant: what was sent before still arrives, then a reset.

        silently   the power is gone, or the cable: the others hear nothing
        """
        self.dead = True
        for sock in tuple(self.sockets):
            for pipe in (sock.outward, sock.inward):
                if isinstance(pipe, LatePipe) and (silently or pipe.hole):  # a reset vanishes there as all else does
                    pipe.open_hole()
                elif pipe is not None:
                    pipe.break_off()
            if sock.accepting is not None:
                sock.close()


class Internet(SimNet, trio.abc.HostnameResolver):
    """Hosts, their names, and what lies between them."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self.rng = rng
        self._hosts: dict[str, Host] = {}
        self._names: dict[str, list[str]] = {}
        self._weather: dict[str, Weather] = {}
        self._numbers = itertools.count(2)
        self._connections: dict[Connection, None] = {}
        self.dns = ""
        """What the resolver does: "" it works, "fail" it says so, "nxdomain" it knows no name, "hang" it never answers,
        "slow" it does in some seconds.
        """

    def host(self, name: str) -> Host:
        """A new host."""
        host = Host(name, f"10.0.0.{next(self._numbers)}")
        self._hosts[host.ip] = host
        return host

    def name(self, name: str, *hosts: Host, dead_first: bool = False) -> None:
        """Let a name mean these hosts; `dead_first` puts an address before them where nobody is."""
        self._names[name] = ["10.255.255.1"] * dead_first + [host.ip for host in hosts]

    def weather(self, host: Host) -> Weather:
        """How it is to reach that host; change it to change it."""
        return self._weather.setdefault(host.ip, Weather())

    def connections(self, host: Host) -> list[Connection]:
        """Those to that host that are open."""
        self._forget_closed()
        return [each for each in self._connections if each.server.host is host]

    # -- for sockets ------------------------------------------------------------------------------------------------
    def socket(self, family: int = 2, type: int = 1, proto: int = 0) -> HostSocket:  # noqa: A002 - trio's names
        """A new TCP socket of the host that the running task is on."""
        host = _here.get()
        if host is None:
            raise OSError(errno.ENETUNREACH, "this task is on no host")
        return HostSocket(self, host)

    def address_of(self, sock: Socket, address: Address) -> str:
        """The host's own, or its loopback."""
        assert isinstance(sock, HostSocket), "all are"
        return sock.host.loopback if str(address[0]).startswith("127.") else sock.host.ip

    async def route(self, source: Host, ip: str) -> Host:
        """The host at `ip`, once its answer has come; forever, or an error, as the weather is."""
        await trio.lowlevel.checkpoint()
        host = self._hosts.get(ip)
        if host is None or host.dead or self.weather(host).syn == "drop":
            await trio.sleep_forever()
        assert host is not None, "the others never return"
        await trio.sleep(2 * self.weather(host).draw_s(self.rng))
        if source.dead:
            raise OSError(errno.ENETDOWN, "network is down")
        if self.weather(host).syn == "refuse":
            raise ConnectionRefusedError(errno.ECONNREFUSED, "connection refused")
        return host

    def made(self, client: HostSocket, server: HostSocket) -> None:
        """Remember a connection."""
        self._forget_closed()
        self._connections[Connection(client, server)] = None

    def _forget_closed(self) -> None:
        for each in [each for each in self._connections if not each.open]:
            del self._connections[each]

    # -- names ------------------------------------------------------------------------------------------------------
    async def getaddrinfo(
        self, host: bytes | None, port: bytes | str | int | None, family: int = 0, type: int = 0, proto: int = 0,  # noqa: A002
        flags: int = 0,
    ) -> list[Any]:  # fmt: skip
        """The addresses of a name, as the resolver knows them."""
        await trio.sleep(self.rng.uniform(*DNS_S) + (self.rng.uniform(2.0, 8.0) if self.dns == "slow" else 0.0))
        source = _here.get()
        if self.dns == "hang":
            await trio.sleep_forever()
        if self.dns == "fail" or source is None or source.dead:
            raise stdlib_socket.gaierror(stdlib_socket.EAI_AGAIN, "temporary failure in name resolution")
        name = host.decode() if isinstance(host, bytes) else str(host)
        if self.dns == "nxdomain" or name not in self._names:
            raise stdlib_socket.gaierror(stdlib_socket.EAI_NONAME, "name or service not known")
        return [
            (stdlib_socket.AF_INET, stdlib_socket.SOCK_STREAM, 6, "", (ip, int(port or 0))) for ip in self._names[name]
        ]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        """Addresses have no names here."""
        raise stdlib_socket.gaierror(stdlib_socket.EAI_NONAME, "name or service not known")


@asynccontextmanager
async def with_internet(rng: random.Random) -> AsyncIterator[Internet]:
    """Put it under this trio run, for as long as the block lasts."""
    internet = Internet(rng)
    sockets = trio.socket.set_custom_socket_factory(internet)
    names = trio.socket.set_custom_hostname_resolver(internet)
    try:
        yield internet
    finally:
        trio.socket.set_custom_socket_factory(sockets)
        trio.socket.set_custom_hostname_resolver(names)
