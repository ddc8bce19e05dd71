"""What a network does to bytes, over memory streams and simulated sockets, in virtual time."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tetrio.net.simnet import with_simnet
from tetrio.sim.fault.faults import Cut, Delay, Dribble, HalfOpen, Kill, Refuse, Spread, Stall, Where
from tetrio.sim.fault.wires import Network, Trouble

Serve = Callable[[trio.abc.Stream], Awaitable[None]]
Stream = trio.StapledStream[Any, Any]


class Net:
    """A network, what has struck, and clients."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.network, self.struck, self._nursery = Network(random.Random(1)), list[str](), nursery

    def put(self, fault: Any) -> Trouble:
        trouble = Trouble(fault, self.struck.append)
        self.network.put(trouble)
        return trouble

    def client(self, serve: Serve, face: str = "rest") -> Stream:
        ours, theirs = trio.testing.memory_stream_pair()
        self._nursery.start_soon(self.network.carry, theirs, face, serve)
        return ours


@asynccontextmanager
async def a_net() -> AsyncIterator[Net]:
    async with trio.open_nursery() as nursery:
        yield Net(nursery)
        nursery.cancel_scope.cancel()


async def echo(stream: trio.abc.Stream) -> None:
    """Send back what comes, until it ends or breaks."""
    try:
        while data := await stream.receive_some():
            await stream.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return


async def silent(stream: trio.abc.Stream) -> None:
    await trio.sleep_forever()


async def everything(stream: trio.abc.Stream) -> bytes:
    """What comes until the end, however that is."""
    data = b""
    try:
        while more := await stream.receive_some():
            data += more
    except trio.BrokenResourceError:
        pass
    return data


async def nothing_for(stream: trio.abc.Stream, wait_s: float) -> bool:
    with trio.move_on_after(wait_s):
        await stream.receive_some()
        return False
    return True


# -- cut --------------------------------------------------------------------------------------------------------------


def run(main: Callable[[], Awaitable[None]]) -> None:
    trio.run(main, clock=MockClock(autojump_threshold=0))


@settings(max_examples=40, deadline=None)
@given(after=st.integers(0, 60), pieces=st.lists(st.binary(max_size=20), max_size=8), early=st.booleans())
def test_exactly_so_many_bytes_go_out(after: int, pieces: list[bytes], early: bool) -> None:
    whole = b"".join(pieces)

    async def say(stream: trio.abc.Stream) -> None:
        await trio.sleep(1)
        try:
            for piece in pieces:
                await stream.send_all(piece)
        except trio.BrokenResourceError:
            assert len(whole) >= after

    async def main() -> None:
        async with a_net() as net:
            if early:
                net.put(Cut(Where("rest"), "out", after))
            client = net.client(say)
            await trio.sleep(0.5)
            if not early:
                net.put(Cut(Where("rest"), "out", after))
            assert await everything(client) == whole[:after]
            assert len(net.struck) == (len(whole) >= after)

    run(main)


@settings(max_examples=40, deadline=None)
@given(
    after=st.integers(0, 60), pieces=st.lists(st.binary(min_size=1, max_size=20), max_size=8), limit=st.integers(1, 30)
)
def test_exactly_so_many_bytes_come_in(after: int, pieces: list[bytes], limit: int) -> None:
    whole, got = b"".join(pieces), bytearray()

    async def listen(stream: trio.abc.Stream) -> None:
        try:
            while data := await stream.receive_some(limit):
                got.extend(data)
        except trio.BrokenResourceError:
            assert len(got) == after

    async def main() -> None:
        async with a_net() as net:
            net.put(Cut(Where("rest"), "in", after))
            client = net.client(listen)
            try:
                for piece in pieces:
                    await client.send_all(piece)
                await client.send_eof()
            except trio.BrokenResourceError:
                assert after <= len(whole)
            await trio.testing.wait_all_tasks_blocked()
            assert got == whole[:after]

    run(main)


async def test_a_cut_is_over_after_its_times(autojump_clock: MockClock) -> None:
    async with a_net() as net:
        net.put(Cut(Where("rest"), "in", 3, times=2))
        for passes in (False, False, True):
            client = net.client(echo)
            await client.send_all(b"abcdef")
            got = await client.receive_some()
            assert bytes(got) == (b"abcdef" if passes else b"abc")
        assert len(net.struck) == 2
        assert net.network.troubles == []


async def test_a_cut_of_a_living_connection_counts_from_when_it_was_asked_for(autojump_clock: MockClock) -> None:
    async with a_net() as net:
        client = net.client(echo)
        await client.send_all(b"hello")
        assert await client.receive_some() == b"hello"
        other = net.client(echo)
        await trio.testing.wait_all_tasks_blocked()
        net.put(Cut(Where("rest", 1), "in", 2))
        await client.send_all(b"hello")
        assert await everything(client) == b"he"
        await other.send_all(b"still here")
        assert await other.receive_some() == b"still here"


@pytest.mark.parametrize("how", ["rst", "fin"])
async def test_a_socket_is_reset_or_closed(how: str, autojump_clock: MockClock) -> None:
    async with with_simnet(), a_net() as net, trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")

        async def handle(stream: trio.SocketStream) -> None:
            await net.network.carry(stream, "rest", echo)

        nursery.start_soon(trio.serve_listeners, handle, [listener])
        net.put(Cut(Where("rest"), "out", 3, how))
        client = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
        await client.send_all(b"abcdef")
        assert await client.receive_some() == b"abc"
        if how == "fin":
            assert await client.receive_some() == b""
        else:
            with pytest.raises(trio.BrokenResourceError):
                await client.receive_some()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("how", ["rst", "fin"])
async def test_a_real_socket_is_reset_or_closed(how: str) -> None:
    async with a_net() as net, trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")

        async def handle(stream: trio.SocketStream) -> None:
            await net.network.carry(stream, "rest", echo)

        nursery.start_soon(trio.serve_listeners, handle, [listener])
        net.put(Cut(Where("rest"), "out", 3, how))
        client = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
        with trio.fail_after(10):
            await client.send_all(b"abcdef")
            got = b""
            try:
                while more := await client.receive_some():
                    got += more
                assert how == "fin"
            except trio.BrokenResourceError:
                assert how == "rst"
        assert got == b"abc"
        await client.aclose()
        nursery.cancel_scope.cancel()


# -- stall, half-open -------------------------------------------------------------------------------------------------


async def test_a_stall_loses_nothing(autojump_clock: MockClock) -> None:
    async with a_net() as net:
        client = net.client(echo)
        await client.send_all(b"a")
        assert await client.receive_some() == b"a"
        stall = net.put(Stall(Where("rest"), 10))
        await client.send_all(b"b")
        assert await nothing_for(client, 100)
        late = net.client(echo)
        await late.send_all(b"new")
        assert await nothing_for(late, 100)
        net.network.heal(stall)
        assert await client.receive_some() == b"b"
        assert await late.receive_some() == b"new"
        assert len(net.struck) == 2


@pytest.mark.parametrize("direction", ["in", "out"])
async def test_a_stall_of_one_direction_leaves_the_other(direction: str, autojump_clock: MockClock) -> None:
    heard: list[bytes] = []

    async def talk(stream: trio.abc.Stream) -> None:
        async with trio.open_nursery() as nursery:

            async def listen() -> None:
                while data := await stream.receive_some():
                    heard.append(bytes(data))

            nursery.start_soon(listen)
            for number in range(3):
                await trio.sleep(1)
                await stream.send_all(b"%d" % number)

    async with a_net() as net:
        net.put(Stall(Where("rest"), 10, direction))
        client = net.client(talk)
        await client.send_all(b"x")
        assert await nothing_for(client, 10) is (direction == "out")
        assert heard == ([] if direction == "in" else [b"x"])


async def test_half_open_keeps_even_a_close_back(autojump_clock: MockClock) -> None:
    async def brief(stream: trio.abc.Stream) -> None:
        await trio.sleep(1)
        await stream.send_all(b"goodbye")
        await stream.aclose()

    async with a_net() as net:
        client = net.client(brief)
        await trio.testing.wait_all_tasks_blocked()
        dead = net.put(HalfOpen(Where("rest")))
        assert await nothing_for(client, 1000)
        await client.send_all(b"are you there?")  # the peer believes that it lives
        newcomer = net.client(echo)
        await newcomer.send_all(b"hi")
        assert await newcomer.receive_some() == b"hi"
        net.network.heal(dead)
        assert await everything(client) == b"goodbye"


async def test_a_stalled_connection_lets_its_server_go(autojump_clock: MockClock) -> None:
    """Hypercorn shields what it sends: a connection in trouble must not keep a stopping exchange."""

    async def stubborn(stream: trio.abc.Stream) -> None:
        with trio.CancelScope(shield=True):
            try:
                while True:
                    await stream.send_all(bytes(1 << 18))
            except trio.BrokenResourceError:
                return

    with trio.fail_after(10):
        async with a_net() as net:
            net.put(Stall(Where("rest"), 10))
            net.client(stubborn)
            await trio.sleep(1)


# -- delay, dribble ---------------------------------------------------------------------------------------------------


async def test_delays_are_kept_in_order_and_overlap(autojump_clock: MockClock) -> None:
    async def say(stream: trio.abc.Stream) -> None:
        for number in range(10):
            await stream.send_all(b"%d" % number)
            await trio.sleep(0.1)
        await trio.sleep_forever()

    async with a_net() as net:
        net.put(Delay(Where("rest"), Spread(5, 0.3), "out"))
        client = net.client(say)
        got = b""
        while len(got) < 10:
            got += await client.receive_some()
        assert got == b"0123456789"
        assert 5.6 < trio.current_time() < 6.3


async def test_what_is_delayed_on_its_way_in_comes_late(autojump_clock: MockClock) -> None:
    async with a_net() as net:
        net.put(Delay(Where("rest"), Spread(2), "in"))
        client = net.client(echo)
        await client.send_all(b"x")
        assert await client.receive_some() == b"x"
        assert trio.current_time() == pytest.approx(2)


async def test_pieces_come_one_by_one(autojump_clock: MockClock) -> None:
    async with a_net() as net:
        net.put(Dribble(Where("rest"), 2, 1.0))
        client = net.client(echo)
        await client.send_all(b"abcde")
        assert [bytes(await client.receive_some()) for _ in range(3)] == [b"ab", b"cd", b"e"]
        assert trio.current_time() == pytest.approx(2)


# -- refuse, kill -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "begins"),
    [("rst", b""), ("fin", b""), ("503", b"HTTP/1.1 503 Service Unavailable\r\n"), ("418", b"HTTP/1.1 418 "),
     ("302", b"HTTP/1.1 302 Found\r\nLocation: "), ("299", b"HTTP/1.1 299 Refused\r\n"), ("garbage", b"\x00\xff")],
)  # fmt: skip
@pytest.mark.parametrize("face", ["rest", "ws"])
async def test_newcomers_are_refused(how: str, begins: bytes, face: str, autojump_clock: MockClock) -> None:
    served: list[trio.abc.Stream] = []

    async def serve(stream: trio.abc.Stream) -> None:
        served.append(stream)
        await echo(stream)

    async with a_net() as net:
        living = net.client(echo, face)
        await living.send_all(b"GET /ws-api/v3 HTTP/1.1\r\n\r\n")
        assert await living.receive_some()
        refusing = net.put(Refuse(Where("rest" if face == "rest" else "ws_api"), how))
        client = net.client(serve, face)
        try:
            await client.send_all(b"GET /ws-api/v3 HTTP/1.1\r\nHost: x\r\n\r\n")
        except trio.BrokenResourceError:
            assert (how, face) in {("rst", "rest"), ("fin", "rest")}
        got = await everything(client)
        assert got.startswith(begins)
        assert bool(got) is bool(begins)
        await living.send_all(b"still here")
        assert await living.receive_some() == b"still here"
        net.network.heal(refusing)
        again = net.client(echo, face)
        await again.send_all(b"GET /ws-api/v3 HTTP/1.1\r\n\r\n")
        assert await again.receive_some()
        assert len(net.struck) == 1


async def test_faces_of_one_port_are_told_by_the_request(autojump_clock: MockClock) -> None:
    async with a_net() as net:
        net.put(Refuse(Where("stream"), "503"))
        api, stream = net.client(echo, "ws"), net.client(echo, "ws")
        await api.send_all(b"GET /ws-")
        await api.send_all(b"api/v3 HTTP/1.1\r\n")
        assert await api.receive_some() == b"GET /ws-api/v3 HTTP/1.1\r\n"
        await stream.send_all(b"GET /ws/x HTTP/1.1\r\n\r\n")
        assert (await everything(stream)).startswith(b"HTTP/1.1 503")


async def test_kill_resets_all_and_newcomers_for_a_time(autojump_clock: MockClock) -> None:
    async with a_net() as net:
        clients: Sequence[Stream] = [net.client(echo), net.client(silent), net.client(echo, "sbe")]
        await trio.testing.wait_all_tasks_blocked()
        kill = net.put(Kill(Where(), 10))
        for client in clients:
            assert await everything(client) == b""
        newcomer = net.client(echo)
        assert await everything(newcomer) == b""
        assert len(net.struck) == 4
        net.network.heal(kill)
        again = net.client(echo)
        await again.send_all(b"back")
        assert await again.receive_some() == b"back"
