"""The simulated internet: what sockets see of it is what a kernel's show, and its weather does what it says."""

from __future__ import annotations

import functools
import random
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from tetrio.net import virtual
from tetrio.net.internet import Connection, Host, HostSocket, Internet, with_internet

PORT = 443
LONG_S = 100_000.0
Main = Callable[..., Awaitable[None]]


@attrs.define
class Place:
    """Two hosts, and one connection from the bot to the exchange."""

    internet: Internet
    exchange: Host
    bot: Host
    client: trio.SocketStream
    server: trio.SocketStream

    @property
    def connection(self) -> Connection:
        """The one there is."""
        (only,) = self.internet.connections(self.exchange)
        return only


@asynccontextmanager
async def listening(
    internet: Internet, host: Host, port: int = PORT, ip: str = ""
) -> AsyncIterator[trio.SocketListener]:
    """The host listens."""
    with host.here():
        (listener,) = await trio.open_tcp_listeners(port, host=ip or host.ip)
    async with listener:
        yield listener


@asynccontextmanager
async def hosts() -> AsyncIterator[tuple[Internet, Host, Host]]:
    """An internet of two, the exchange under a name."""
    async with with_internet(random.Random("weather")) as internet:
        exchange, bot = internet.host("exchange"), internet.host("bot")
        internet.name("exchange.test", exchange)
        yield internet, exchange, bot


async def dial(bot: Host, host: str = "exchange.test") -> trio.SocketStream:
    """The bot opens a connection."""
    with bot.here():
        return await trio.open_tcp_stream(host, PORT)


async def accepted(bot: Host, listener: trio.SocketListener) -> tuple[trio.SocketStream, trio.SocketStream]:
    """Both ends of a new connection."""
    client = await dial(bot)
    return client, await listener.accept()


@asynccontextmanager
async def connected() -> AsyncIterator[Place]:
    """Hosts and a connection."""
    async with hosts() as (internet, exchange, bot), listening(internet, exchange) as listener:
        client, server = await accepted(bot, listener)
        async with client, server:
            yield Place(internet, exchange, bot, client, server)


def virtually(main: Main) -> Callable[[], None]:
    """Run a test in virtual time."""

    @functools.wraps(main)
    def test(**given: object) -> None:
        virtual.run(functools.partial(main, **given), 1)

    return test


async def read(stream: trio.SocketStream, size: int) -> bytes:
    """So many bytes."""
    got = b""
    while len(got) < size:
        some = await stream.receive_some()
        assert some, f"ended after {len(got)} of {size} bytes"
        got += some
    return got


async def hears_nothing(stream: trio.SocketStream) -> bool:
    """Whether for a day and more nothing comes, not even an end."""
    with trio.move_on_after(LONG_S) as silence:
        await stream.receive_some()
    return silence.cancelled_caught


def attempt(error: OSError) -> BaseException | None:
    """What became of the only attempt to connect."""
    cause = error.__cause__
    return cause.exceptions[0] if isinstance(cause, BaseExceptionGroup) else cause


# -- as real sockets do -----------------------------------------------------------------------------------------------
#
# Each of these is run over the kernel's loopback and over the simulated network; what is asked for has to hold of both.

Ends = tuple[trio.SocketStream, trio.SocketStream]


async def _really(main: Callable[[trio.SocketStream, trio.SocketStream], Awaitable[None]]) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        client = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
        server = await listener.accept()
        async with client, server:
            with trio.fail_after(10):
                await main(client, server)


async def _simulated(main: Callable[[trio.SocketStream, trio.SocketStream], Awaitable[None]]) -> None:
    async with connected() as place:
        with trio.fail_after(10):
            await main(place.client, place.server)


def on_both(main: Callable[[trio.SocketStream, trio.SocketStream], Awaitable[None]]) -> Callable[[str], None]:
    """Run a test over real sockets and over simulated ones."""

    @pytest.mark.parametrize("network", ["kernel", "internet"])
    def test(network: str) -> None:
        if network == "kernel":
            trio.run(_really, main)
        else:
            virtual.run(functools.partial(_simulated, main), 1)

    return test


def cut(stream: trio.SocketStream) -> None:
    """A reset from this end, with nothing said before."""
    sock = stream.socket
    if isinstance(sock, HostSocket):
        sock.reset()
    else:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()


@on_both
async def test_what_was_sent_before_an_end_is_read_before_it(
    client: trio.SocketStream, server: trio.SocketStream
) -> None:
    await server.send_all(b"last words")
    await server.aclose()
    assert await read(client, 10) == b"last words"
    assert await client.receive_some() == b""


@on_both
async def test_one_direction_may_end_alone(client: trio.SocketStream, server: trio.SocketStream) -> None:
    await client.send_eof()
    assert await server.receive_some() == b""
    await server.send_all(b"go on")
    assert await read(client, 5) == b"go on"


@on_both
async def test_a_reset_is_an_error_for_who_reads(client: trio.SocketStream, server: trio.SocketStream) -> None:
    cut(server)
    with pytest.raises(trio.BrokenResourceError):
        await client.receive_some()


@on_both
async def test_a_reset_comes_after_what_had_arrived(client: trio.SocketStream, server: trio.SocketStream) -> None:
    await server.send_all(b"half a mess")
    cut(server)
    assert await read(client, 11) == b"half a mess"
    with pytest.raises(trio.BrokenResourceError):
        await client.receive_some()


@on_both
async def test_sending_to_who_has_gone_fails_sooner_or_later(
    client: trio.SocketStream, server: trio.SocketStream
) -> None:
    await server.aclose()
    with pytest.raises(trio.BrokenResourceError):
        for _ in range(1000):
            await client.send_all(b"x" * 1000)


@on_both
async def test_a_local_close_wakes_a_local_reader(client: trio.SocketStream, server: trio.SocketStream) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_closed_resource, client.receive_some)
        for _ in range(5):  # until it waits; a jumping clock knows no idle moment
            await trio.lowlevel.checkpoint()
        await client.aclose()


async def _closed_resource(call: Callable[[], Awaitable[object]]) -> None:
    with pytest.raises(trio.ClosedResourceError):
        await call()


@on_both
async def test_a_sender_waits_for_who_does_not_read(client: trio.SocketStream, server: trio.SocketStream) -> None:
    with trio.move_on_after(0.2) as waited:
        await client.send_all(bytes(64 << 20))
    assert waited.cancelled_caught
    assert await server.receive_some(), "a part of it has been sent"


@on_both
async def test_the_two_ends_know_each_other(client: trio.SocketStream, server: trio.SocketStream) -> None:
    assert client.socket.getsockname() == server.socket.getpeername()
    assert client.socket.getpeername() == server.socket.getsockname()


# -- distance ----------------------------------------------------------------------------------------------------------


@virtually
async def test_a_connection_takes_a_round_trip() -> None:
    async with hosts() as (internet, exchange, bot), listening(internet, exchange):
        internet.weather(exchange).latency_s = 0.1, 0.2
        began = trio.current_time()
        async with await dial(bot, exchange.ip):
            assert 0.2 <= trio.current_time() - began <= 0.4


@virtually
async def test_bytes_arrive_late_and_in_order() -> None:
    async with connected() as place:
        place.internet.weather(place.exchange).latency_s = 0.1, 0.9
        place.internet.weather(place.exchange).chop = 0.5
        began, sent = trio.current_time(), [random.Random(number).randbytes(500) for number in range(50)]
        async with trio.open_nursery() as nursery:
            for data in sent:
                await place.client.send_all(data)
            assert trio.current_time() == began, "sending is over at once"
            nursery.start_soon(place.server.send_all, b"the other way")
            assert await read(place.server, 25_000) == b"".join(sent)
        assert 0.1 <= trio.current_time() - began <= 0.9
        assert await read(place.client, 13) == b"the other way"


@virtually
async def test_no_segment_overtakes_another() -> None:
    async with connected() as place:
        place.internet.weather(place.exchange).latency_s = 0.0, 5.0
        sent = random.Random(1).randbytes(20_000)
        for start in range(0, len(sent), 100):
            await place.client.send_all(sent[start : start + 100])
        assert await read(place.server, len(sent)) == sent


@pytest.mark.parametrize("chop", [0.0, 1.0])
@virtually
async def test_segments_arrive_whole_or_in_parts(chop: float) -> None:
    async with connected() as place:
        place.internet.weather(place.exchange).chop = chop
        reads: list[int] = []
        await place.client.send_all(bytes(10_000))
        while sum(reads) < 10_000:
            reads.append(len(await place.server.receive_some()))
        assert (len(reads) == 1) is (chop == 0.0)


@virtually
async def test_a_window_bounds_what_is_under_way() -> None:
    async with hosts() as (internet, exchange, bot), listening(internet, exchange) as listener:
        internet.weather(exchange).window = 1000
        client, server = await accepted(bot, listener)
        async with client, server:
            await client.send_all(bytes(1000))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.send_all, b"1")
                await trio.sleep(LONG_S)
                assert nursery.child_tasks, "it waits for room"
                assert len(await read(server, 1001)) == 1001


@virtually
async def test_a_seed_gives_the_same_distances() -> None:
    async def arrivals() -> list[float]:
        async with connected() as place:
            began, times = trio.current_time(), []
            for _ in range(5):
                await place.client.send_all(b"x")
                await place.server.receive_some()
                times.append(trio.current_time() - began)
            return times

    first, second = await arrivals(), await arrivals()
    assert first == pytest.approx(second, abs=1e-9)
    assert len(set(first)) == 5


# -- silence, resets, ends ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("direction", "server_hears", "client_hears"), [
    ("in", False, True), ("out", True, False), ("both", False, False),
])  # fmt: skip
@virtually
async def test_a_hole_swallows_one_direction_or_both(direction: str, server_hears: bool, client_hears: bool) -> None:
    async with connected() as place:
        await place.client.send_all(b"under way")
        place.connection.go_dark(direction)
        await place.client.send_all(b"to the server")
        await place.server.send_all(b"to the client")
        assert await hears_nothing(place.server) is not server_hears
        assert await hears_nothing(place.client) is not client_hears


@virtually
async def test_nobody_hears_of_an_end_through_a_hole() -> None:
    async with connected() as place:
        place.connection.go_dark()
        await place.server.aclose()
        assert await hears_nothing(place.client)


@virtually
async def test_a_hole_takes_a_window_and_no_more() -> None:
    async with hosts() as (internet, exchange, bot), listening(internet, exchange) as listener:
        internet.weather(exchange).window = 1000
        client, server = await accepted(bot, listener)
        async with client, server:
            (connection,) = internet.connections(exchange)
            connection.go_dark()
            await client.send_all(bytes(1000))
            with trio.move_on_after(LONG_S) as waited:
                await client.send_all(b"1")
            assert waited.cancelled_caught


@virtually
async def test_a_reset_from_the_middle_fails_both_ends_and_what_comes_to_the_client_is_lost() -> None:
    async with connected() as place:
        await place.server.send_all(b"lost")
        place.connection.reset()
        for stream in (place.client, place.server):
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()
            with pytest.raises(trio.BrokenResourceError):
                await stream.send_all(b"x")


@virtually
async def test_an_end_from_the_middle_is_an_end_for_the_client() -> None:
    async with connected() as place:
        await place.server.send_all(b"before")
        place.connection.fin()
        assert await read(place.client, 6) == b"before"
        assert await place.client.receive_some() == b""


@virtually
async def test_only_open_connections_are_listed() -> None:
    async with connected() as place:
        assert place.connection.open
        assert place.internet.connections(place.bot) == []
        await place.client.aclose()
        assert place.internet.connections(place.exchange) == []


# -- power -------------------------------------------------------------------------------------------------------------


@virtually
async def test_a_host_that_dies_resets_its_connections_after_what_it_sent() -> None:
    async with connected() as place:
        await place.client.send_all(b"last words")
        place.bot.die()
        assert await read(place.server, 10) == b"last words"
        with pytest.raises(trio.BrokenResourceError):
            await place.server.receive_some()


@virtually
async def test_a_host_without_power_says_nothing_any_more() -> None:
    async with connected() as place:
        await place.client.send_all(b"under way")
        place.bot.die(silently=True)
        await place.server.send_all(b"are you there?")
        assert await hears_nothing(place.server)


@virtually
async def test_the_reset_of_a_dead_host_vanishes_in_a_hole_too() -> None:
    async with connected() as place:
        place.connection.go_dark()
        place.bot.die()
        assert await hears_nothing(place.server)


@pytest.mark.parametrize("silently", [False, True])
@virtually
async def test_a_dead_host_sends_receives_and_connects_no_more(silently: bool) -> None:
    async with connected() as place:
        place.bot.die(silently=silently)
        with pytest.raises(trio.BrokenResourceError):
            await place.client.send_all(b"x")
        with pytest.raises(trio.BrokenResourceError):
            await place.client.receive_some()
        with pytest.raises(OSError, match="name resolution"):
            await dial(place.bot)
        with pytest.raises(OSError, match="all attempts to connect"):
            await dial(place.bot, place.exchange.ip)


@virtually
async def test_nobody_reaches_a_dead_host() -> None:
    async with hosts() as (internet, exchange, bot), listening(internet, exchange):
        exchange.die()
        with trio.move_on_after(LONG_S) as waited:
            await dial(bot)
        assert waited.cancelled_caught


@virtually
async def test_another_host_lives_on() -> None:
    async with hosts() as (internet, exchange, bot), listening(internet, exchange) as listener:
        internet.host("another").die()
        client, server = await accepted(bot, listener)
        async with client, server:
            await client.send_all(b"x")
            assert await read(server, 1) == b"x"


# -- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dns", "error"), [("fail", socket.EAI_AGAIN), ("nxdomain", socket.EAI_NONAME)])
@virtually
async def test_a_resolver_that_fails(dns: str, error: int) -> None:
    async with hosts() as (internet, exchange, bot), listening(internet, exchange):
        internet.dns = dns
        with pytest.raises(socket.gaierror) as caught:
            await dial(bot)
        assert caught.value.args[0] == error
        internet.dns = ""
        await (await dial(bot)).aclose()


@virtually
async def test_a_name_that_nobody_has() -> None:
    async with hosts() as (_, _, bot):
        with pytest.raises(socket.gaierror, match="not known"):
            await dial(bot, "elsewhere.test")


@virtually
async def test_a_resolver_that_never_answers() -> None:
    async with hosts() as (internet, exchange, bot), listening(internet, exchange):
        internet.dns = "hang"
        with trio.move_on_after(LONG_S) as waited:
            await dial(bot)
        assert waited.cancelled_caught


@virtually
async def test_a_slow_resolver() -> None:
    async with hosts() as (internet, exchange, bot), listening(internet, exchange):
        internet.dns = "slow"
        began = trio.current_time()
        await (await dial(bot)).aclose()
        assert 2.0 <= trio.current_time() - began <= 9.0


@virtually
async def test_the_second_address_serves_where_the_first_is_nobodys() -> None:
    async with hosts() as (internet, exchange, bot), listening(internet, exchange):
        internet.name("exchange.test", exchange, dead_first=True)
        began = trio.current_time()
        async with await dial(bot) as client:
            assert client.socket.getpeername()[0] == exchange.ip
        assert trio.current_time() - began < 1.0


# -- how connections come about ----------------------------------------------------------------------------------------


@virtually
async def test_a_connection_that_is_dropped_never_comes_about() -> None:
    async with hosts() as (internet, exchange, bot), listening(internet, exchange):
        internet.weather(exchange).syn = "drop"
        with trio.move_on_after(LONG_S) as waited:
            await dial(bot)
        assert waited.cancelled_caught
        internet.weather(exchange).syn = ""
        await (await dial(bot)).aclose()


@virtually
async def test_a_connection_that_is_refused() -> None:
    async with hosts() as (internet, exchange, bot), listening(internet, exchange):
        internet.weather(exchange).syn = "refuse"
        with pytest.raises(OSError, match="all attempts to connect") as caught:
            await dial(bot)
        assert isinstance(attempt(caught.value), ConnectionRefusedError)


@virtually
async def test_a_port_where_nobody_listens_refuses() -> None:
    async with hosts() as (_, exchange, bot):
        with pytest.raises(OSError, match="all attempts to connect"):
            await dial(bot, exchange.ip)


@virtually
async def test_a_connection_that_nobody_accepts_takes_bytes_and_says_nothing() -> None:
    async with hosts() as (internet, exchange, bot), listening(internet, exchange):
        internet.weather(exchange).syn = "deaf"
        async with await dial(bot) as client:
            await client.send_all(b"hello?")
            assert await hears_nothing(client)
            assert len(internet.connections(exchange)) == 1


@virtually
async def test_loopback_is_each_hosts_own() -> None:
    async with hosts() as (internet, exchange, bot), listening(internet, exchange, ip="127.0.0.1"):
        with exchange.here():
            await (await trio.open_tcp_stream("127.0.0.1", PORT)).aclose()
        with bot.here(), pytest.raises(OSError, match="all attempts to connect"):
            await trio.open_tcp_stream("127.0.0.1", PORT)


@virtually
async def test_a_task_on_no_host_has_no_network() -> None:
    async with hosts() as (_, exchange, _):
        with pytest.raises(OSError, match="all attempts to connect") as caught:
            await trio.open_tcp_stream(exchange.ip, PORT)
        assert "on no host" in str(attempt(caught.value))


@virtually
async def test_what_a_task_starts_is_on_its_host() -> None:
    async with hosts() as (internet, exchange, bot), listening(internet, exchange) as listener:
        peers: list[str] = []

        async def child() -> None:
            await (await trio.open_tcp_stream("exchange.test", PORT)).aclose()

        async with trio.open_nursery() as nursery:
            with bot.here():
                nursery.start_soon(child)
            async with await listener.accept() as server:
                peers.append(server.socket.getpeername()[0])
        assert peers == [bot.ip]
