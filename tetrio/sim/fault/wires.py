"""The bytes of the exchange's connections, and what a network may do to them.

`Network.carry` puts a `Wire` between an accepted stream and whoever serves it, so that trio-websocket and Hypercorn run
over it unmodified. A wire in no trouble hands everything through. One in trouble takes what is sent, as a kernel's
buffer does, and a task of its own lets it out when, and as far as, the faults allow; what comes in is handed up in the
same way. To be cut is to be closed below: both ends notice at their next use, or at once where they wait.

A WebSocket connection's face is not known before its first line has come: so much is read ahead.
"""

from __future__ import annotations

import collections
import http
import random
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import attrs
import trio

from tetrio.sim.fault.faults import Cut, Delay, Dribble, HalfOpen, Kill, NoPong, OnBytes, Refuse, Spread, Stall

BUFFER = 1 << 20  # bytes that may be sent into a wire in trouble before the sender must wait
FIRST_LINE = 8192  # bytes within which a request must name its target
HEAD_S = 1.0  # how long one that is refused by an HTTP answer may take to send its head
PONG = 0x8A
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, for 0 s: close sends RST
_T = TypeVar("_T")


@attrs.define(eq=False)
class Trouble:
    """One fault on the network."""

    fault: OnBytes
    happened: Callable[[str], None]
    """Told of every connection it has struck."""
    wires: set[int] = attrs.field(factory=set)
    """Those it holds, by their order of arrival; HalfOpen holds no others."""
    left: int = 0
    """How many connections may still be cut."""


@attrs.define(eq=False)
class _CutAt:
    """How far one wire is from being cut."""

    trouble: Trouble
    fault: Cut
    left: int


class Wire(trio.abc.HalfCloseableStream):
    """One connection, in trouble or not."""

    def __init__(self, network: Network, below: trio.abc.Stream, serial: int, face: str) -> None:
        self._network, self._below, self.serial, self.face = network, below, serial, face
        self.number = 0
        """Of its face, from 1; 0 until the face is known."""
        self.socket = getattr(below, "socket", None)
        """The one below, for its names."""
        self._send_now: Callable[[bytes], bool] | None = getattr(self.socket, "send_now", None)
        self._ahead = bytearray()  # read, and not handed up
        self._ended = False  # the peer has ended, and it was seen here
        self._queue: collections.deque[tuple[float, bytes]] = collections.deque()  # (due, bytes) on the way out
        self._queued = 0
        self._sending = False
        self._ending = False  # nothing more is sent: once the queue is empty the peer is told
        self._closing = False
        self.severed = False
        self._changed = trio.lowlevel.ParkingLot()
        self.troubles: list[Trouble] = []
        self._cuts: list[_CutAt] = []
        self._hindered = False  # something is in the way of what goes out
        if network.one_face(face):
            self._settle(face)

    @property
    def name(self) -> str:
        """As faults name it."""
        return f"{self.face}#{self.number}"

    # -- out --------------------------------------------------------------------------------------------------------
    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send; what is in the way decides when it goes."""
        if not self._hindered and not self._queue and not self._sending:
            self._check_open()
            await self._translated(self._below.send_all(data))
            return
        await trio.lowlevel.checkpoint()
        while self._queued >= BUFFER and not self._over:
            await self._changed.park()
        self._check_open()
        self._put(bytes(data))

    def send_now(self, data: bytes) -> bool:
        """Send without a turn of the loop where that is possible (in memory); whether it was done."""
        if self._send_now is None or self._hindered or self._queue or self._sending or self._over:
            return False
        return self._send_now(data)

    async def wait_send_all_might_not_block(self) -> None:
        """As below; at once in trouble."""
        if self._hindered or self._queue:
            await trio.lowlevel.checkpoint()
        else:
            await self._translated(self._below.wait_send_all_might_not_block())

    async def send_eof(self) -> None:
        """No more will be sent; the peer hears of it after what is on the way."""
        await trio.lowlevel.checkpoint()
        self._check_open()
        self._ending = True
        if not self._busy:
            await self._end()
        self._changed.unpark_all()

    async def aclose(self) -> None:
        """Close, after what is on the way; while the way out is blocked the peer does not hear of it."""
        self._closing = True
        if not self._busy:
            self.sever("fin")
        self._changed.unpark_all()
        await trio.lowlevel.checkpoint()

    async def linger(self) -> None:
        """Wait until a close has gone out."""
        while not self.severed:
            await self._changed.park()

    async def pump(self) -> None:
        """Let out what faults have held back, until cancelled; the wire ends with it."""
        try:
            while True:
                await self._let_out()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.sever("rst")
            await trio.sleep_forever()
        finally:
            self.sever("fin")

    async def _let_out(self) -> None:
        """One step: a piece goes out, or the end does, or something is waited for."""
        now = trio.current_time()
        if self._stalled("out"):
            await self._changed.park()
        elif self._queue and self._queue[0][0] <= now:
            await self._send_piece()
        elif self._queue:
            with trio.CancelScope(deadline=self._queue[0][0]):
                await self._changed.park()
        elif self._closing and not self.severed:
            self.sever("fin")
        elif self._ending and not self.severed:
            await self._end()
            await self._changed.park()
        else:
            await self._changed.park()

    async def _send_piece(self) -> None:
        _, data = self._queue.popleft()
        dribble = next((each.fault for each in self.troubles if isinstance(each.fault, Dribble)), None)
        size = dribble.size if dribble is not None else len(data)
        cut = self._nearest_cut("out")
        if cut is not None:
            size = min(size, cut.left)
        if size < len(data):
            self._queue.appendleft((0.0, data[size:]))
        self._sending = True
        try:
            if size:
                await self._translated(self._below.send_all(data[:size]))
        finally:
            self._sending = False
        self._queued -= size
        self._changed.unpark_all()
        self._count("out", size)
        if dribble is not None and dribble.gap_s and self._queue:
            await trio.sleep(dribble.gap_s)

    def _put(self, data: bytes) -> None:
        if data[:1] == bytes((PONG,)) and (mute := self._trouble(NoPong)) is not None:
            mute.happened(f"{self.name}: a pong was kept back")
            return
        due = trio.current_time() + self._delay_s("out")
        if self._queue:
            due = max(due, self._queue[-1][0])
        self._queue.append((due, data))
        self._queued += len(data)
        self._changed.unpark_all()

    async def _end(self) -> None:
        if isinstance(self._below, trio.abc.HalfCloseableStream):
            await self._translated(self._below.send_eof())

    # -- in ---------------------------------------------------------------------------------------------------------
    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """What has come in, as far as it is let through."""
        if not self.number:
            await self._find_face()
        while True:
            if self.troubles or self._ahead or self._ended:
                await self._unstalled("in")
                if self._ahead or self._ended:
                    await trio.lowlevel.checkpoint()
                    return self._hand_up(max_bytes)
            self._check_open()
            try:
                data = await self._translated(self._below.receive_some(max_bytes))
            except trio.BrokenResourceError:
                await self._unstalled("in")  # bad news does not come through either
                raise
            if not self.troubles:
                return data
            self._ahead += data
            self._ended = not data
            if late_s := self._delay_s("in"):
                await trio.sleep(late_s)

    def _hand_up(self, max_bytes: int | None) -> bytes | bytearray:
        size = len(self._ahead) if max_bytes is None else min(len(self._ahead), max_bytes)
        cut = self._nearest_cut("in")
        if cut is not None and self._ahead:
            size = min(size, cut.left)
            if not size:  # what came before has been handed up, and its reader is back for more
                self._cut(cut)
                self._check_open()
        data = bytes(self._ahead[:size])
        del self._ahead[:size]
        self._spend("in", len(data))
        return data

    async def _unstalled(self, direction: str) -> None:
        while self._stalled(direction) and not self._over:
            await self._changed.park()
        cut = self._nearest_cut(direction)
        if cut is not None and not cut.left:
            self._cut(cut)
        self._check_open()

    async def _find_face(self) -> None:
        """Read as much as tells the face, and be refused where that face refuses."""
        while b"\n" not in self._ahead and len(self._ahead) < FIRST_LINE and not self._ended:
            self._check_open()
            data = await self._translated(self._below.receive_some(None))
            self._ahead += data
            self._ended = not data
        self._settle(self._network.face_of(bytes(self._ahead)))
        await self.refused()

    def _settle(self, face: str) -> None:
        self.face, self.number = face, self._network.next_number(face)
        self.retrouble()

    async def refused(self) -> None:
        """Be turned away, where faults say so: closed afterwards, and BrokenResourceError."""
        for trouble in self.troubles:
            fault = trouble.fault
            how = fault.how if isinstance(fault, Refuse) else "rst" if isinstance(fault, Kill) else ""
            if how:
                trouble.happened(f"{self.name}: refused ({how})")
                if how not in {"rst", "fin"}:
                    await self._answer(how)
                self.sever("rst" if how == "rst" else "fin")
                self._check_open()

    async def _answer(self, how: str) -> None:
        with trio.move_on_after(HEAD_S):
            while b"\r\n\r\n" not in self._ahead and len(self._ahead) < FIRST_LINE and not self._ended:
                data = await self._translated(self._below.receive_some(None))
                self._ahead += data
                self._ended = not data
        await self._translated(self._below.send_all(refusal(how)))

    # -- what is in the way -----------------------------------------------------------------------------------------
    def retrouble(self) -> None:
        """The network's faults have changed."""
        if not self.number:
            return
        self.troubles = [each for each in self._network.troubles if self._meant(each)]
        known = {id(each.trouble): each for each in self._cuts}
        self._cuts = [
            known.get(id(each)) or _CutAt(each, each.fault, each.fault.after)
            for each in self.troubles
            if isinstance(each.fault, Cut)
        ]
        self._hindered = any(_hinders(each.fault) for each in self.troubles)
        for cut in tuple(self._cuts):
            if not cut.left and not self.severed:
                self._cut(cut)
        self._changed.unpark_all()

    def _meant(self, trouble: Trouble) -> bool:
        if isinstance(trouble.fault, HalfOpen) and self.serial not in trouble.wires:
            return False
        return trouble.fault.where.fits(self.face, self.number)

    def _trouble(self, kind: type[OnBytes]) -> Trouble | None:
        return next((each for each in self.troubles if isinstance(each.fault, kind)), None)

    def _stalled(self, direction: str) -> bool:
        for trouble in self.troubles:
            fault = trouble.fault
            if isinstance(fault, HalfOpen) or (isinstance(fault, Stall) and fault.direction in {"both", direction}):
                if self.serial not in trouble.wires:
                    trouble.wires.add(self.serial)
                    trouble.happened(f"{self.name}: silent")
                return True
        return False

    def _delay_s(self, direction: str) -> float:
        late_s = 0.0
        for trouble in self.troubles:
            if isinstance(trouble.fault, Delay) and trouble.fault.direction in {"both", direction}:
                late_s += self._network.draw_s(trouble.fault.by)
                self._tell_once(trouble, "late")
            elif isinstance(trouble.fault, Dribble) and direction == "out":
                self._tell_once(trouble, "in small pieces")
        return late_s

    def _tell_once(self, trouble: Trouble, how: str) -> None:
        if self.serial not in trouble.wires:
            trouble.wires.add(self.serial)
            trouble.happened(f"{self.name}: {how}")

    def _nearest_cut(self, direction: str) -> _CutAt | None:
        cuts = (each for each in self._cuts if each.fault.direction == direction)
        return min(cuts, key=lambda each: each.left, default=None)

    def _spend(self, direction: str, size: int) -> None:
        for cut in self._cuts:
            if cut.fault.direction == direction:
                cut.left -= size

    def _count(self, direction: str, size: int) -> None:
        """So many bytes have passed; those were the last where a cut is due."""
        self._spend(direction, size)
        cut = self._nearest_cut(direction)
        if cut is not None and not cut.left:
            self._cut(cut)

    def _cut(self, cut: _CutAt) -> None:
        cut.trouble.happened(f"{self.name}: cut ({cut.fault.how}) at byte {cut.fault.after} {cut.fault.direction}")
        self.sever(cut.fault.how)
        cut.trouble.left -= 1
        if not cut.trouble.left:
            self._network.heal(cut.trouble)

    # -- the end ----------------------------------------------------------------------------------------------------
    def sever(self, how: str = "rst") -> None:
        """Close below, at once: `rst` or `fin`."""
        if self.severed:
            return
        self.severed = True
        self._queue.clear()
        self._changed.unpark_all()
        slam(self._below, reset=how == "rst")

    @property
    def _busy(self) -> bool:
        """Whether something must go out before the end may."""
        return bool(self._queue) or self._sending or (self._stalled("out") and not self.severed)

    @property
    def _over(self) -> bool:
        return self.severed or self._closing

    def _check_open(self) -> None:
        if self._closing:
            raise trio.ClosedResourceError("this connection was closed")
        if self.severed:
            raise trio.BrokenResourceError("this connection was cut")

    async def _translated(self, operation: Awaitable[_T]) -> _T:
        """An operation below; closed under its feet is cut, to whom we serve."""
        try:
            return await operation
        except trio.ClosedResourceError:
            self._check_open()
            raise


class Network:
    """All connections of an exchange, and the faults that are on them."""

    def __init__(self, rng: random.Random) -> None:
        """`rng` draws delays."""
        self._rng = rng
        self._wires: dict[int, Wire] = {}
        self._serial = 0
        self._numbers: collections.Counter[str] = collections.Counter()
        self.troubles: list[Trouble] = []
        self.healed: Callable[[Trouble], None] = lambda trouble: None
        """Called when a fault has used itself up."""

    async def carry(
        self, stream: trio.abc.Stream, face: str, serve: Callable[[trio.abc.Stream], Awaitable[None]]
    ) -> None:
        """Let `serve` serve `stream` over a wire, and stay until what it has said at last is out, a close too.

        face   rest or sbe; ws where the request tells whether it is ws_api or stream
        """
        self._serial += 1
        wire = self._wires[self._serial] = Wire(self, stream, self._serial, face)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wire.pump)
                if await _admitted(wire):
                    await serve(wire)
                    await wire.aclose()
                await wire.linger()
                nursery.cancel_scope.cancel()
        finally:
            del self._wires[wire.serial]

    def put(self, trouble: Trouble) -> None:
        """A fault begins."""
        fault = trouble.fault
        self.troubles.append(trouble)
        if isinstance(fault, HalfOpen):
            trouble.wires = {wire.serial for wire in self._fitting(fault)}
            for wire in self._fitting(fault):
                trouble.happened(f"{wire.name}: dead, and does not know")
        if isinstance(fault, Kill):
            for wire in self._fitting(fault):
                trouble.happened(f"{wire.name}: reset")
                wire.sever()
        if isinstance(fault, Cut):
            trouble.left = fault.times
        self._retrouble()

    def heal(self, trouble: Trouble) -> None:
        """A fault is over."""
        if trouble in self.troubles:
            self.troubles.remove(trouble)
            self.healed(trouble)
            self._retrouble()

    def living(self) -> Iterator[Wire]:
        """Connections whose face is known."""
        return (wire for wire in tuple(self._wires.values()) if wire.number and not wire.severed)

    @staticmethod
    def one_face(face: str) -> bool:
        """Whether a listener serves one face only."""
        return face != "ws"

    @staticmethod
    def face_of(head: bytes) -> str:
        """The face that a request is for."""
        parts = head.split(b"\n", 1)[0].split(b" ")
        return "ws_api" if len(parts) > 1 and parts[1].startswith(b"/ws-api") else "stream"

    def next_number(self, face: str) -> int:
        """Of a connection of `face` that has come."""
        self._numbers[face] += 1
        return self._numbers[face]

    def draw_s(self, spread: Spread) -> float:
        """One delay."""
        return spread.mean_s + self._rng.uniform(-1, 1) * spread.jitter_s if spread.jitter_s else spread.mean_s

    def _fitting(self, fault: HalfOpen | Kill) -> list[Wire]:
        return [wire for wire in self.living() if fault.where.fits(wire.face, wire.number)]

    def _retrouble(self) -> None:
        for wire in tuple(self._wires.values()):
            wire.retrouble()


async def _admitted(wire: Wire) -> bool:
    """Whether a connection whose face is known at once is let in."""
    try:
        await wire.refused()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        wire.sever()
        return False
    return True


def _hinders(fault: OnBytes) -> bool:
    """Whether it concerns what goes out."""
    if isinstance(fault, Stall | Cut | Delay):
        return fault.direction != "in"
    return isinstance(fault, HalfOpen | Dribble | NoPong)


def slam(stream: trio.abc.Stream, *, reset: bool) -> None:
    """Close a stream at once, without waiting; with a reset where the stream knows one."""
    sock = getattr(stream, "socket", None)
    if sock is not None:
        if reset and hasattr(sock, "reset"):
            sock.reset()
        elif reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        sock.close()
        return
    for half in (getattr(stream, "send_stream", None), getattr(stream, "receive_stream", None)):
        assert half is not None, "served are sockets, and pairs of streams in memory"
        half.close()


def refusal(how: str) -> bytes:
    """The bytes that refuse a connection: an HTTP answer of that status, or garbage."""
    if how == "garbage":
        return b"\x00\xff\x16\x03\x01 not HTTP at all\r\n\r\n"
    status = int(how)
    if status in {418, 429}:
        body = b'{"code":-1003,"msg":"Way too much request weight used; IP banned."}'
        headers = [b"Content-Type: application/json", b"Retry-After: 5"]
    elif status // 100 == 3:
        body, headers = b"", [b"Location: http://127.0.0.1:9/"]
    else:
        body = b"<html><body>%d</body></html>" % status
        headers = [b"Content-Type: text/html"]
    phrase = http.HTTPStatus(status).phrase.encode() if status in set(http.HTTPStatus) else b"Refused"
    lines = [b"HTTP/1.1 %d %b" % (status, phrase), *headers, b"Content-Length: %d" % len(body), b"Connection: close"]
    return b"\r\n".join([*lines, b"", body])
