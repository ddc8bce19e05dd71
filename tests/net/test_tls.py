"""TLS read in bulk, against trio's own TLS on the other side: over memory, and over the kernel's sockets."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrio.chaos.authority import Authority
from tetrio.errors import LinkLost
from tetrio.net.dial import Address, dial
from tetrio.net.tls import READ, TlsStream
from tetrio.net.trust import trusting

NAME = "localhost"
AUTHORITY = Authority.of(b"a" * 32)
SERVER = AUTHORITY.server_context(b"s" * 32, [NAME])
Served = trio.SSLStream[trio.abc.Stream]


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[TlsStream, Served]]:
    ours, theirs = trio.testing.memory_stream_pair()
    client = TlsStream(ours, AUTHORITY.client_context(), NAME)
    server = trio.SSLStream[trio.abc.Stream](theirs, SERVER, server_side=True, https_compatible=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.do_handshake)
        await client.do_handshake()
    yield client, server


@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=50_000), max_size=6), st.integers(1, 100_000))
def test_what_is_sent_arrives_whole_and_in_order(pieces: list[bytes], most: int) -> None:
    async def main() -> bytes:
        got = b""
        async with pair() as (client, server), trio.open_nursery() as nursery:

            async def serve() -> None:
                for piece in pieces:
                    await server.send_all(piece)
                await server.aclose()

            nursery.start_soon(serve)
            while data := await client.receive_some(most):
                assert len(data) <= most
                got += data
        return got

    assert trio.run(main) == b"".join(pieces)


async def test_all_that_has_arrived_is_read_at_once() -> None:
    async with pair() as (client, server):
        for _ in range(10):
            await server.send_all(b"x" * 4000)
        assert len(await client.receive_some()) == 40_000


async def test_it_is_written_and_read_both_ways() -> None:
    async with pair() as (client, server):
        await client.send_all(b"ping" * 10_000)
        got = b""
        while len(got) < 40_000:
            got += bytes(await server.receive_some())
        await server.send_all(got)
        assert await client.receive_some(4) == b"ping"


async def test_an_end_without_a_goodbye_is_an_end() -> None:
    async with pair() as (client, server):
        await server.send_all(b"last words")
        await server.transport_stream.aclose()
        assert await client.receive_some() == b"last words"
        assert await client.receive_some() == b""


async def test_bytes_that_are_no_tls_break_it() -> None:
    async with pair() as (client, server):
        await server.send_all(b"good")
        await server.transport_stream.send_all(b"this is no record at all" * 10)
        assert await client.receive_some() == b"good"
        with pytest.raises(trio.BrokenResourceError, match="TLS"):
            await client.receive_some()


@pytest.mark.parametrize("stranger", ["another name", "another authority", "an old date"])
async def test_a_certificate_that_is_wrong_is_refused(stranger: str, nursery: trio.Nursery) -> None:
    authority = Authority.of(b"b" * 32) if stranger == "another authority" else AUTHORITY
    name = "elsewhere.test" if stranger == "another name" else NAME
    context = authority.server_context(b"t" * 32, [name], expired=stranger == "an old date")
    with pytest.raises(LinkLost, match="TLS handshake refused"):
        await connected(context, nursery)


async def connected(context: ssl.SSLContext, nursery: trio.Nursery, storm: int = 0) -> trio.abc.Stream:
    async def serve(stream: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            await stream.send_all(b"x" * storm)
            await trio.sleep_forever()
        except trio.BrokenResourceError:
            return  # refused, as it should be

    async def listen(task_status: trio.TaskStatus[list[trio.SSLListener[trio.SocketStream]]]) -> None:
        await trio.serve_ssl_over_tcp(serve, 0, context, host="127.0.0.1", task_status=task_status)

    (listener,) = await nursery.start(listen)
    port = listener.transport_listener.socket.getsockname()[1]
    with trusting(AUTHORITY.client_context()):
        return await dial(Address.parse(f"wss://{NAME}:{port}"), 5, in_bulk=True)


async def test_it_reads_the_kernels_sockets_and_stops_when_told(nursery: trio.Nursery) -> None:
    stream = await connected(SERVER, nursery, storm=3_000_000)
    got = 0
    while got < 3_000_000:
        data = await stream.receive_some()
        assert 0 < len(data) <= READ
        got += len(data)
    with trio.move_on_after(0.05) as patience:
        await stream.receive_some()
    assert patience.cancelled_caught, "a wait for more can be cancelled"
    async with trio.open_nursery() as reading:

        async def read() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await stream.receive_some()

        reading.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        await stream.aclose()
    nursery.cancel_scope.cancel()
