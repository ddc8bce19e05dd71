"""Both kinds of link against peers that misbehave: every phase ends within its bound, every failure has words."""

from __future__ import annotations

import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import trio
import trio.testing
import trio_websocket

from tetrio.errors import ConfigError, LinkError, LinkLost, LinkStale
from tetrio.live.link import open_link
from tetrio.live.rest import open_rest
from tetrio.net.access import Access
from tetrio.net.dial import Address
from tetrio.net.line import Line, accept_token, open_line
from tetrio.net.simnet import SimNet, with_simnet
from tetrio.wire.frames import text_frame

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
    "never answers": (silent, "not finished within 5 s"),
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
    assert error.retry_after_s is not None
    assert 17 <= error.retry_after_s <= 18, "as asked, and a little more"


@pytest.mark.fault("F18")
@pytest.mark.parametrize("open_it", [account, market])
@pytest.mark.parametrize("rest_of_it", ["", "Transfer-Encoding: chunked\n"])
async def test_a_ban_is_seen_though_its_answer_never_ends(
    rest_of_it: str, open_it: Opener, net: SimNet, autojump_clock: Clock, nursery: trio.Nursery
) -> None:
    banned = answer(f"HTTP/1.1 418 I'm a teapot\nRetry-After: 200\n{rest_of_it}\n")
    error = await fails(open_it, banned, nursery)
    assert (error.kind, trio.current_time()) == ("ban", 0)
    assert error.retry_after_s is not None
    assert error.retry_after_s >= 200


@pytest.mark.fault("F19", "F21")
@pytest.mark.parametrize("open_it", [account, market])
@pytest.mark.parametrize(
    ("status", "kind", "asked_s"), [(403, "barred", 900), (451, "barred", 900), (503, "upgrade", None)]
)
async def test_other_refusals_are_told_apart(
    status: int, kind: str, asked_s: float | None, open_it: Opener, net: SimNet, autojump_clock: Clock,
    nursery: trio.Nursery,
) -> None:  # fmt: skip
    error = await fails(open_it, answer(f"HTTP/1.1 {status} X\n\n<html>"), nursery)
    assert (error.kind, error.retry_after_s) == (kind, asked_s)


@pytest.mark.fault("F18", "F22")
@pytest.mark.parametrize("peer", ["hangs up", "garbage"])
@pytest.mark.parametrize(("status", "kind"), [("418 Banned", "ban"), ("200 OK", "unseen"), ("403 No", "barred")])
async def test_a_refusal_that_is_not_seen_is_asked_for_over_rest(
    status: str, kind: str, peer: str, net: SimNet, autojump_clock: Clock, nursery: trio.Nursery
) -> None:
    body = answer(f"HTTP/1.1 {status}\nRetry-After: 77\nContent-Length: 2\n\n{{}}")
    listeners = await nursery.start(trio.serve_tcp, body, 0)
    port = listeners[0].socket.getsockname()[1]
    access = Access()
    async with trio.open_nursery() as inner:
        unseen = await fails(account, BAD_PEERS[peer][0], inner)
    assert unseen.kind == "unseen"
    async with open_rest(f"http://127.0.0.1:{port}", lambda: 0, access) as rest:
        assert (await rest.classify(unseen)).kind == kind
    assert (access.left_s() >= 77) == (kind == "ban")
    nursery.cancel_scope.cancel()


@pytest.mark.fault("F13")
@pytest.mark.parametrize("open_it", [account, market])
async def test_a_peer_that_does_not_prove_itself_is_told_nothing_and_left_alone(
    open_it: Opener, net: SimNet, autojump_clock: Clock, nursery: trio.Nursery
) -> None:
    heard: list[bytes] = []

    async def plain(stream: trio.SocketStream) -> None:
        heard.append(bytes(await stream.receive_some()))
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await trio.sleep_forever()

    def secure(url: str) -> AbstractAsyncContextManager[object]:
        return open_it(url.replace("ws://", "wss://"))

    error = await fails(secure, plain, nursery)
    assert (error.kind, error.retry_after_s) == ("tls", 30)
    assert "TLS handshake refused" in str(error)
    assert [data[0] for data in heard] == [0x16], "a ClientHello, and no more"


@pytest.mark.fault("F14")
@pytest.mark.parametrize("open_it", [account, market])
@pytest.mark.parametrize("hangs", [False, True])
async def test_a_name_that_is_not_found(hangs: bool, open_it: Opener, net: SimNet, autojump_clock: Clock) -> None:
    class Resolver(trio.abc.HostnameResolver):
        async def getaddrinfo(self, *args: object, **kwargs: object) -> Any:
            if hangs:
                await trio.sleep_forever()
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        async def getnameinfo(self, *args: object, **kwargs: object) -> Any:
            raise NotImplementedError

    before = trio.socket.set_custom_hostname_resolver(Resolver())
    try:
        with pytest.raises(LinkLost, match=r"nowhere\.invalid:80: DNS look-up") as caught:
            async with open_it("ws://nowhere.invalid"):
                pass
    finally:
        trio.socket.set_custom_hostname_resolver(before)
    assert caught.value.kind == "dns"
    assert trio.current_time() == (5 if hangs else 0)


@pytest.mark.fault("F10")
async def test_a_close_for_misbehaviour_asks_for_a_long_pause(
    net: SimNet, autojump_clock: Clock, nursery: trio.Nursery
) -> None:
    async def close(ws: trio_websocket.WebSocketConnection) -> None:
        await ws.aclose(1008, "Too many requests")

    url = await served(nursery, close)
    for open_it in (account, market):
        met: list[BaseException] = []
        try:
            async with open_it(url.removesuffix("/ws-api/v3")) as link:
                if isinstance(link, Line):
                    await link.receive(trio.current_time() + 10)
                await trio.sleep(10)
        except* LinkLost as group:
            met = leaves(group)
        for error in met:
            assert isinstance(error, LinkLost)
            assert (error.kind, error.retry_after_s) == ("misbehaved", 25)
        assert met
    nursery.cancel_scope.cancel()


@pytest.mark.fault("F12", "F11")
async def test_pings_without_end_are_answered_in_time_and_within_what_a_market_stream_takes(
    net: SimNet, autojump_clock: Clock, nursery: trio.Nursery
) -> None:
    pongs: list[tuple[float, bytes]] = []

    async def flood(stream: trio.SocketStream) -> None:
        head = bytes(await stream.receive_some()).decode()
        key = re.findall("Sec-WebSocket-Key: (.*)\r", head)[0]
        upgraded = "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        await stream.send_all((upgraded + accept_token(key.encode()).decode() + "\r\n\r\n").encode())
        async with trio.open_nursery() as both:
            both.start_soon(listen, stream)
            for number in range(200):
                await stream.send_all(b"\x89\x04%04d" % number + text_frame(b"{}"))
                await trio.sleep(0.05)
            await trio.sleep(2)
            await stream.send_all(text_frame(b"{}"))

    async def listen(stream: trio.SocketStream) -> None:
        while data := bytes(await stream.receive_some()):
            mask = data[2:6]
            pongs.append((trio.current_time(), bytes(b ^ m for b, m in zip(data[6:10], mask, strict=True))))

    listeners = await nursery.start(trio.serve_tcp, flood, 0)
    url = f"ws://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
    async with open_line(url, ["x@trade"]) as line:
        with trio.move_on_after(13):
            while True:
                await line.receive(trio.current_time() + 5)
    for at, _ in pongs:
        assert sum(at <= other < at + 1 for other, _ in pongs) <= 3
    assert pongs[-1][1] == b"0199", "the newest is answered, and with it all before"
    assert all(at - 0.05 * int(payload) < 1 for at, payload in pongs[:-1])
    nursery.cancel_scope.cancel()


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
