"""An exchange that serves, and clients of it, over streams in memory: for the tests of the exchange's faces."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import attrs
import h11
import trio
import trio.testing
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from tetrio.log import Secret
from tetrio.net.clock import AnchoredClock
from tetrio.sim.exchange import Clocks, Exchange, ExchangeConfig, HmacSecret
from tetrio.sim.market.tape import open_market
from tetrio.wire.sign import Signer, Verifier, payload, sign_hmac

ED_KEY = "ExampleEd25519ApiKeyForSyntheticMessagesOnly00000000000000000000"
HMAC_KEY = "ExampleHmacApiKeyForSyntheticMessagesOnly00000000000000000000000"
HMAC_SECRET = "ExampleHmacSecretForSyntheticMessagesOnly00000000000000000000000"
SIGNER = Signer.generate(bytes(range(32)))
KEYS: dict[str, Verifier | HmacSecret] = {ED_KEY: SIGNER.verifier, HMAC_KEY: HmacSecret(Secret(HMAC_SECRET))}

SYMBOL = "ETHFDUSD"
START_MS = 1784626200000
UPGRADE = (
    b"GET %b HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
"""A handshake by hand, for a target."""
Line = tuple[float, str, dict[str, Any]]
"""(seconds after the start, channel, payload) of one recorded frame."""

_update_ids = itertools.count(24411905112)
_trade_ids = itertools.count(91733401)


def top(at_s: float, bid: str, bid_qty: str, ask: str, ask_qty: str) -> Line:
    """A recorded bookTicker."""
    data = {"u": next(_update_ids), "s": SYMBOL, "b": bid, "B": bid_qty, "a": ask, "A": ask_qty}
    return at_s, "bookTicker", data


def trade(at_s: float, price: str, qty: str, *, buyer_is_maker: bool = True) -> Line:
    """A recorded trade; a seller's unless told otherwise."""
    at_ms = START_MS + round(at_s * 1000)
    data = {"e": "trade", "E": at_ms, "s": SYMBOL, "t": next(_trade_ids), "p": price, "q": qty, "T": at_ms}
    return at_s, "trade", data | {"m": buyer_is_maker, "M": True}


def quiet(price: int = 3412) -> list[Line]:
    """A market whose best prices stand still at `price`.36 and .37, with one trade, and that sets the grid."""
    return [
        top(0, f"{price}.36", "1.8420", f"{price}.37", "0.7714"),
        trade(0.001, f"{price}.36", "0.0001"),
        top(3600, f"{price}.36", "1.8420", f"{price}.37", "0.7714"),
    ]


def record(path: Path, lines: Iterable[Line]) -> Path:
    """A capture file of these frames."""
    with path.open("w") as file:
        for at_s, channel, data in sorted(lines, key=lambda line: line[0]):
            at_ns = START_MS * 1_000_000 + round(at_s * 1e9)
            frame = {"stream": f"{SYMBOL.lower()}@{channel}", "data": data}
            file.write(f"{at_ns} {json.dumps(frame, separators=(',', ':'))}\n")
    return path


@attrs.define
class Client:
    """One WebSocket connection to the exchange."""

    ws: WebSocketConnection
    served: Served
    events: list[dict[str, Any]] = attrs.field(factory=list)
    """Frames that are no replies, in order."""
    replies: list[dict[str, Any]] = attrs.field(factory=list)
    _ids: Iterable[int] = attrs.field(factory=lambda: itertools.count(1))

    async def receive(self) -> dict[str, Any]:
        """The next frame."""
        with trio.fail_after(7200):
            frame: dict[str, Any] = json.loads(await self.ws.get_message())
        return frame

    async def ask(self, text: str | bytes) -> dict[str, Any]:
        """Send a frame as it is; the next reply to anything."""
        await self.ws.send_message(text)
        return await self.reply()

    async def reply(self) -> dict[str, Any]:
        """The next reply; events before it are kept."""
        while True:
            frame = await self.receive()
            if "id" in frame:
                self.replies.append(frame)
                return frame
            self.events.append(frame)

    async def event(self, kind: str | None = None) -> dict[str, Any]:
        """The next event (of the kind `e`), taken out of what came; other kinds stay."""
        seen = 0
        while True:
            for at in range(seen, len(self.events)):
                if kind in {None, self.events[at].get("event", {}).get("e")}:
                    return self.events.pop(at)
            seen = len(self.events)
            frame = await self.receive()
            assert "event" in frame, frame
            self.events.append(frame)

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One request and its reply."""
        request = {"id": f"r{next(iter(self._ids))}", "method": method, "params": params}
        reply = await self.ask(json.dumps(request))
        assert reply["id"] in {request["id"], None}, reply
        return reply

    async def signed(self, method: str, **params: Any) -> dict[str, Any]:
        """The same, signed by the Ed25519 key."""
        params = {"timestamp": self.served.now_ms(), "apiKey": ED_KEY} | params
        return await self.call(method, **params, signature=SIGNER.sign(payload(params)))

    async def signed_hmac(self, method: str, **params: Any) -> dict[str, Any]:
        """The same, signed by the HMAC key."""
        params = {"timestamp": self.served.now_ms(), "apiKey": HMAC_KEY} | params
        return await self.call(method, **params, signature=sign_hmac(HMAC_SECRET, payload(params)))

    async def order(self, method: str = "order.place", **params: Any) -> dict[str, Any]:
        """A request about orders of the symbol within the session."""
        return await self.call(method, symbol=SYMBOL, timestamp=self.served.now_ms(), **params)

    async def maker(self, side: str, price: str, qty: str = "0.5000", **params: Any) -> dict[str, Any]:
        """Place a post-only order."""
        return await self.order(type="LIMIT_MAKER", side=side, price=price, quantity=qty, **params)

    async def closed(self) -> tuple[int, str | None]:
        """Read until the exchange closes; code and reason."""
        with trio.fail_after(100_000):
            while True:
                try:
                    self.events.append(json.loads(await self.ws.get_message()))
                except ConnectionClosed as closed:
                    assert closed.reason is not None
                    return closed.reason.code, closed.reason.reason


class Served:
    """A running exchange."""

    def __init__(self, exchange: Exchange, clock: AnchoredClock, nursery: trio.Nursery) -> None:
        self.exchange, self._clock, self._nursery = exchange, clock, nursery

    def now_ms(self) -> int:
        """What the exchange calls now."""
        return self._clock.now_ns() // 1_000_000

    def raw(self) -> trio.StapledStream[Any, Any]:
        """The client's end of a connection to the WebSocket port, without a handshake."""
        ours, theirs = trio.testing.memory_stream_pair()
        self._nursery.start_soon(self.exchange.serve_ws_stream, theirs)
        return ours

    def raw_sbe(self) -> trio.StapledStream[Any, Any]:
        """The same to the SBE port."""
        ours, theirs = trio.testing.memory_stream_pair()
        self._nursery.start_soon(self.exchange.serve_sbe_stream, theirs)
        return ours

    async def sbe(self, target: str) -> WebSocketConnection:
        """A connection to a path of the SBE streams, with the Ed25519 key."""
        headers = [(b"X-MBX-APIKEY", ED_KEY.encode())]
        return await wrap_client_stream(
            self._nursery,
            self.raw_sbe(),  # type: ignore[arg-type]
            "exchange",
            target,
            extra_headers=headers,
            message_queue_size=10_000,
        )

    async def get(self, path: str, query: str = "", headers: dict[str, str] | None = None) -> dict[str, Any]:
        """One GET on a connection of its own: status, headers (as sent by name) and body."""
        return await self.http("GET", f"{path}?{query}" if query else path, headers)

    async def http(
        self, method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> dict[str, Any]:
        """One request on a connection of its own."""
        ours, theirs = trio.testing.memory_stream_pair()
        self._nursery.start_soon(self.exchange.serve_rest_stream, theirs)
        http = h11.Connection(h11.CLIENT)
        sent = [("Host", "exchange"), ("Connection", "close"), *(headers or {}).items()]
        if body:
            sent.append(("Content-Length", str(len(body))))
        await ours.send_all(http.send(h11.Request(method=method, target=target, headers=sent)) or b"")
        if body:
            await ours.send_all(http.send(h11.Data(data=body)) or b"")
        await ours.send_all(http.send(h11.EndOfMessage()) or b"")
        reply: dict[str, Any] = {"status": 0, "headers": {}, "body": b""}
        with trio.fail_after(60):
            while True:
                event = http.next_event()
                if event is h11.NEED_DATA:
                    http.receive_data(bytes(await ours.receive_some()))
                elif isinstance(event, h11.Response):
                    reply |= {"status": event.status_code, "headers": _named(event.headers.raw_items())}
                elif isinstance(event, h11.Data):
                    reply["body"] += bytes(event.data)
                else:
                    break
        if reply["body"] and reply["headers"].get("Content-Type", "").startswith("application/json"):
            reply["body"] = json.loads(reply["body"])
        await ours.aclose()
        return reply

    async def rest(
        self, method: str, path: str, *, form: bool = False, key: str = ED_KEY, **params: object
    ) -> dict[str, Any]:
        """One signed request to a path after /api/v3/, with its parameters in the query, or in a form."""
        text = urlencode({**params, "timestamp": params.get("timestamp", self.now_ms())})
        signature = sign_hmac(HMAC_SECRET, text) if key == HMAC_KEY else SIGNER.sign(text)
        text += f"&signature={quote(signature, safe='')}"
        headers = {"X-MBX-APIKEY": key}
        if not form:
            return await self.http(method, f"/api/v3/{path}?{text}", headers)
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        return await self.http(method, f"/api/v3/{path}", headers, text.encode())

    async def client(self, target: str = "/ws-api/v3") -> Client:
        """A connection to a path."""
        ws = await wrap_client_stream(self._nursery, self.raw(), "exchange", target, message_queue_size=10_000)  # type: ignore[arg-type]
        return Client(ws, self)

    async def refused(self, target: str) -> tuple[int, str]:
        """A handshake that is turned away: its status, and its Retry-After."""
        stream = self.raw()
        await stream.send_all(UPGRADE % target.encode())
        http = h11.Connection(h11.CLIENT)
        http.send(h11.Request(method="GET", target=target, headers=[("Host", "exchange")]))
        with trio.fail_after(60):
            while (event := http.next_event()) is h11.NEED_DATA:
                http.receive_data(bytes(await stream.receive_some()))
        await stream.aclose()
        assert isinstance(event, h11.Response), event
        return event.status_code, _named(event.headers.raw_items()).get("Retry-After", "")

    async def trader(self, target: str = "/ws-api/v3") -> Client:
        """A connection that is logged on and subscribed to user data."""
        client = await self.client(target)
        assert (await client.signed("session.logon"))["status"] == 200
        assert (await client.call("userDataStream.subscribe"))["status"] == 200
        return client

    async def line(self, *channels: str, combined: bool = False, query: str = "") -> Client:
        """A stream connection to channels of the symbol."""
        names = "/".join(f"{SYMBOL.lower()}@{channel}" for channel in channels)
        return await self.client(f"/stream?streams={names}{query}" if combined else f"/ws/{names}{query}")


_NAMES = {b"content-type": "Content-Type", b"retry-after": "Retry-After"}
_PLUMBING = {b"content-length", b"connection", b"transfer-encoding", b"date"}


def _named(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers without those of the transport, in the spelling of the examples: names know no case."""
    return {
        _NAMES.get(name.lower(), name.decode().upper()): value.decode()
        for name, value in headers
        if name.lower() not in _PLUMBING
    }


@asynccontextmanager
async def served(path: Path, lines: Sequence[Line] | None = None, **settings: Any) -> AsyncIterator[Served]:
    """An exchange that plays `lines`, in virtual or real time, without a port of its own that anybody must know."""
    market = open_market(record(path / "market", quiet() if lines is None else lines), SYMBOL)
    clock = AnchoredClock(market.first_ns)
    config: dict[str, Any] = {"keys": KEYS, "funds": {"ETH": "4.25", "FDUSD": "25000"}} | settings
    exchange = Exchange(ExchangeConfig(market=market, clocks=Clocks(clock.now_ns, joined=True), **config))
    async with trio.open_nursery() as nursery:
        await nursery.start(exchange.run)
        async with trio.open_nursery() as clients:
            yield Served(exchange, clock, clients)
            clients.cancel_scope.cancel()
        nursery.cancel_scope.cancel()
