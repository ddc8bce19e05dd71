"""The in-memory network behaves as loopback TCP does, where the bot and the exchange can tell."""

from __future__ import annotations

import os
import random

import httpx
import pytest
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tetrio.net import entropy, virtual
from tetrio.net.simnet import WINDOW, SimNet, with_simnet


async def _echo(stream: trio.abc.Stream) -> None:
    async for data in stream:
        await stream.send_all(data)
    await stream.send_all(b"bye")


@pytest.fixture
async def net() -> object:
    async with with_simnet() as made:
        yield made


async def _serve(nursery: trio.Nursery, handler: object) -> int:
    listeners = await nursery.start(trio.serve_tcp, handler, 0)
    return int(listeners[0].socket.getsockname()[1])


async def test_bytes_arrive_in_order_and_the_end_is_seen(net: SimNet, nursery: trio.Nursery) -> None:
    port = await _serve(nursery, _echo)
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    sent = random.Random(1).randbytes(300_000)
    async with trio.open_nursery() as both:
        both.start_soon(stream.send_all, sent)
        got = b""
        while len(got) < len(sent):
            got += await stream.receive_some()
    assert got == sent
    await stream.send_eof()
    assert await stream.receive_some() == b"bye"
    assert await stream.receive_some() == b""


async def test_a_port_without_a_listener_refuses(net: SimNet) -> None:
    with pytest.raises(OSError, match="all attempts to connect"):
        await trio.open_tcp_stream("127.0.0.1", 1)


async def test_a_port_in_use_is_refused_until_it_is_free(net: SimNet) -> None:
    first = (await trio.open_tcp_listeners(7000, host="127.0.0.1"))[0]
    with pytest.raises(OSError, match="in use"):
        await trio.open_tcp_listeners(7000, host="127.0.0.1")
    await first.aclose()
    again = (await trio.open_tcp_listeners(7000, host="127.0.0.1"))[0]
    await again.aclose()


async def test_a_full_window_makes_the_sender_wait(net: SimNet, nursery: trio.Nursery) -> None:
    arrived = trio.Event()

    async def deaf(stream: trio.abc.Stream) -> None:
        arrived.set()
        await trio.sleep_forever()

    stream = await trio.open_tcp_stream("127.0.0.1", await _serve(nursery, deaf))
    await arrived.wait()
    await stream.send_all(bytes(WINDOW))
    with trio.move_on_after(0.05) as scope:
        await stream.send_all(b"one more")
    assert scope.cancelled_caught
    nursery.cancel_scope.cancel()


async def test_closing_wakes_a_local_reader(net: SimNet, nursery: trio.Nursery) -> None:
    stream = await trio.open_tcp_stream("127.0.0.1", await _serve(nursery, _echo))

    async def read() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await stream.receive_some()

    async with trio.open_nursery() as reader:
        reader.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        await stream.aclose()


async def test_a_reset_fails_both_ends(net: SimNet, nursery: trio.Nursery) -> None:
    broken = trio.Event()

    async def handler(stream: trio.SocketStream) -> None:
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        broken.set()

    stream = await trio.open_tcp_stream("127.0.0.1", await _serve(nursery, handler))
    stream.socket.reset()  # type: ignore[attr-defined]
    with pytest.raises(trio.BrokenResourceError):
        await stream.send_all(b"x")
    await broken.wait()


async def test_httpx_and_hypercorn_run_over_it(net: SimNet, nursery: trio.Nursery) -> None:
    async def hello(request: Request) -> Response:
        return PlainTextResponse(request.query_params["name"])

    app, config = Starlette(routes=[Route("/hello", hello)]), Config()

    async def handler(stream: trio.SocketStream) -> None:
        await TCPServer(ASGIWrapper(app), config, WorkerContext(None), {}, stream).run()  # type: ignore[arg-type]

    port = await _serve(nursery, handler)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        for name in ("one", "two"):  # over one connection, kept alive
            assert (await client.get("/hello", params={"name": name})).text == name
    nursery.cancel_scope.cancel()


def test_a_virtual_run_repeats_itself_and_gives_everything_back() -> None:
    async def main() -> list[object]:
        told: list[object] = []

        async def worker(number: int) -> None:
            for _ in range(5):
                await trio.sleep(entropy.rng("work").random())
                told.append((number, round(trio.current_time(), 9)))

        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(worker, number)
        return [*told, entropy.token(5)]

    urandom = os.urandom
    assert virtual.run(main, 7) == virtual.run(main, 7)
    assert virtual.run(main, 7) != virtual.run(main, 8)
    assert os.urandom is urandom
