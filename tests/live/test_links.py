"""Both kinds of link against peers that misbehave: every phase ends within its bound, every failure has words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import pytest
import trio
import trio.testing
import trio_websocket

from tetrio.errors import ConfigError, LinkError, LinkLost, LinkStale
from tetrio.live.link import open_link
from tetrio.net.dial import Address
from tetrio.net.line import open_line
from tetrio.net.simnet import SimNet, with_simnet

Clock = trio.testing.MockClock
Handler = Callable[[trio.SocketStream], Awaitable[None]]
Opener = Callable[[str], AbstractAsyncContextManager[object]]


@pytest.fixture
async def net() -> AsyncIterator[SimNet]:
    async with with_simnet() as made:
        yield made


def account(url: str) -> AbstractAsyncContextManager[object]:
    return open_link(f"{url}/ws-api/v3", lambda: 0)


def market(url: str) -> AbstractAsyncContextManager[object]:
    return open_line(url, ["ethusdt@bookTicker"])


async def silent(stream: trio.SocketStream) -> None:
    await trio.sleep_forever()


async def hang_up(stream: trio.SocketStream) -> None:
    await stream.receive_some()
    await stream.aclose()


def answer(text: str) -> Handler:
    async def handler(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(text.replace("\n", "\r\n").encode())
        await trio.sleep_forever()

    return handler


BAD_PEERS = {
    "never answers": (silent, "not finished within 10 s"),
    "hangs up": (hang_up, "handshake"),
    "garbage": (answer("what?\n\n"), "handshake failed"),
    "no upgrade": (answer("HTTP/1.1 200 OK\nContent-Length: 0\n\n"), "HTTP 200"),
    "redirect": (answer("HTTP/1.1 302 Found\nLocation: http://evil.example/\nContent-Length: 0\n\n"), "HTTP 302"),
    "wrong key": (
        answer("HTTP/1.1 101 X\nUpgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Accept: AAAA\n\n"),
        "handshake failed",
    ),
}


async def fails(open_it: Opener, handler: Handler, nursery: trio.Nursery) -> LinkLost:
    listeners = await nursery.start(trio.serve_tcp, handler, 0)
    url = f"ws://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
    lost: list[BaseException] = []
    with trio.fail_after(11):
        try:
            async with open_it(url):
                raise AssertionError("the link came up")
        except* LinkLost as group:
            lost = leaves(group)
    nursery.cancel_scope.cancel()
    (error,) = lost
    assert isinstance(error, LinkLost)
    return error


def leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """What a group of groups holds."""
    return [
        leaf for each in group.exceptions for leaf in (leaves(each) if isinstance(each, BaseExceptionGroup) else [each])
    ]


@pytest.mark.fault("F16", "F21", "F22")
@pytest.mark.parametrize("open_it", [account, market])
@pytest.mark.parametrize("peer", BAD_PEERS)
async def test_a_bad_handshake_is_bounded_and_said(
    peer: str, open_it: Opener, net: SimNet, autojump_clock: Clock, nursery: trio.Nursery
) -> None:
    handler, words = BAD_PEERS[peer]
    assert words in str(await fails(open_it, handler, nursery))


@pytest.mark.fault("F17")
@pytest.mark.parametrize("open_it", [account, market])
async def test_a_refusal_for_too_many_requests_keeps_its_time(
    open_it: Opener, net: SimNet, autojump_clock: Clock, nursery: trio.Nursery
) -> None:
    refused = answer("HTTP/1.1 429 Too Many Requests\nRetry-After: 17\nContent-Length: 0\n\n")
    error = await fails(open_it, refused, nursery)
    assert "HTTP 429" in str(error)
    assert error.retry_after_s == 17


@pytest.mark.parametrize("open_it", [account, market])
async def test_a_port_where_nobody_listens(open_it: Opener, net: SimNet, autojump_clock: Clock) -> None:
    with pytest.raises(LinkLost, match="TCP connection failed: connection refused"):
        async with open_it("ws://127.0.0.1:9"):
            pass


@pytest.mark.parametrize("url", ["127.0.0.1:80", "ftp://x/", "ws://", "ws://host:99999/"])
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(ConfigError, match="URL"):
        Address.parse(url)


async def served(nursery: trio.Nursery, handle: Callable[[trio_websocket.WebSocketConnection], Awaitable[None]]) -> str:
    """A WebSocket peer; the URL it listens at."""

    async def accept(request: trio_websocket.WebSocketRequest) -> None:
        await handle(await request.accept())

    async def handler(stream: trio.SocketStream) -> None:
        async with trio.open_nursery() as inner:
            request = await trio_websocket.wrap_server_stream(inner, stream)
            await accept(request)
            inner.cancel_scope.cancel()

    listeners = await nursery.start(trio.serve_tcp, handler, 0)
    return f"ws://127.0.0.1:{listeners[0].socket.getsockname()[1]}/ws-api/v3"


async def ask(url: str, expected: type[LinkError], match: str, *, seconds: float) -> None:
    """Send one request that does not end well."""
    began, met = trio.current_time(), []
    try:
        async with open_link(url, lambda: 0) as link:
            await link.request("time")
    except* LinkError as group:
        met = leaves(group)
    assert trio.current_time() - began <= seconds
    assert {type(error) for error in met} == {expected}
    assert all(match in str(error) for error in met)


async def test_a_request_without_an_answer_is_given_up(
    net: SimNet, autojump_clock: Clock, nursery: trio.Nursery
) -> None:
    async def mute(ws: trio_websocket.WebSocketConnection) -> None:
        await trio.sleep_forever()

    await ask(await served(nursery, mute), LinkStale, "time was not answered within 10 s", seconds=10.001)
    nursery.cancel_scope.cancel()


@pytest.mark.fault("F10")
async def test_a_close_while_an_answer_is_due_ends_the_link(
    net: SimNet, autojump_clock: Clock, nursery: trio.Nursery
) -> None:
    async def close(ws: trio_websocket.WebSocketConnection) -> None:
        await ws.get_message()
        await ws.aclose(1008, "too many requests")

    await ask(await served(nursery, close), LinkLost, "closed", seconds=1)
    nursery.cancel_scope.cancel()


@pytest.mark.fault("F30")
async def test_a_revoked_session_ends_the_link(net: SimNet, autojump_clock: Clock, nursery: trio.Nursery) -> None:
    async def revoke(ws: trio_websocket.WebSocketConnection) -> None:
        await ws.get_message()
        await ws.send_message('{"id":null,"status":401,"error":{"code":-2015,"msg":"Invalid API-key."}}')
        await trio.sleep_forever()

    await ask(await served(nursery, revoke), LinkLost, "-2015", seconds=1)
    nursery.cancel_scope.cancel()


@pytest.mark.fault("F23", "F24")
async def test_a_cancelled_send_kills_the_link(net: SimNet, autojump_clock: Clock, nursery: trio.Nursery) -> None:
    async def stop_reading(ws: trio_websocket.WebSocketConnection) -> None:
        await trio.sleep_forever()

    url = await served(nursery, stop_reading)
    met: list[BaseException] = []
    try:
        async with open_link(url, lambda: 0) as link:
            while link.alive:  # until the window and the peer's queue are full, and a send has to wait
                with trio.move_on_after(0.01):
                    await link.request("time", {"filler": "x" * 100_000})
            await trio.sleep_forever()
    except* LinkLost as group:
        met = leaves(group)
    assert {str(error) for error in met} == {"account: a send was cut short"}
    nursery.cancel_scope.cancel()


@pytest.mark.fault("F115")
async def test_replies_find_their_requests_in_any_order(
    net: SimNet, autojump_clock: Clock, nursery: trio.Nursery
) -> None:
    async def swap(ws: trio_websocket.WebSocketConnection) -> None:
        import json

        asked = [json.loads(await ws.get_message()) for _ in range(3)]
        for request in reversed(asked):
            answer = {"id": request["id"], "status": 200, "result": {"serverTime": len(request["method"])}}
            await ws.send_message('{"subscriptionId":0,"event":{"e":"junk","E":1}}')
            await ws.send_message(json.dumps(answer))
        await trio.sleep_forever()

    got: dict[str, str] = {}
    async with open_link(await served(nursery, swap), lambda: 0) as link:

        async def one(method: str) -> None:
            got[method] = bytes((await link.request(method)).result or b"").decode()

        async with trio.open_nursery() as asking:
            for method in ("a", "bb", "ccc"):
                asking.start_soon(one, method)
        assert link.events.statistics().current_buffer_used == 3
    assert {method: text[-2] for method, text in got.items()} == {"a": "1", "bb": "2", "ccc": "3"}
    nursery.cancel_scope.cancel()
