"""The exchange, assembled: Binance's WebSocket API, market streams, JSON and SBE, and a part of REST before the engine.

    market = open_market("synthetic")
    exchange = Exchange(ExchangeConfig(market=market, keys={...}, funds={"ETH": "1"}, clocks=Clocks(time.time_ns)))
    urls = await nursery.start(exchange.run)

It listens on three ports of one host, REST, WebSocket (any path) and SBE streams, through trio's listeners, so that it
runs on a simulated network unmodified; `serve_ws_stream` and its like serve a stream of any kind without a listener.
A recording waits for the first stream subscriber; a relayed market does not, nor does a synthetic one in a process of
its own. One symbol, one account, and all API keys are that account's. What may go wrong on it is `mishaps`'. Printing,
signals and files are the caller's.
"""

from __future__ import annotations

import errno
import functools
import itertools
import math
import random
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Protocol, TextIO
from urllib.parse import parse_qsl, unquote, urlsplit

import attrs
import trio
from trio_websocket import WebSocketConnection

from tetrio.errors import ConfigError
from tetrio.net.closing import hang_up
from tetrio.net.serving import serve_few
from tetrio.sim.engine.clearing import Discount
from tetrio.sim.face import connection
from tetrio.sim.face.auth import HmacSecret, KeyRights
from tetrio.sim.face.checks import Refused
from tetrio.sim.face.connection import Accepted, Connection, Headers, Transport, Turned
from tetrio.sim.face.latency import Lag, Latency
from tetrio.sim.face.limits import PRODUCTION, BanRules, FrameCounter, MessageRate
from tetrio.sim.face.rest import UNITS, HttpServer, RestApi
from tetrio.sim.face.sbeline import SbeLine, sbe_subscriptions, turned_away
from tetrio.sim.face.streams import Hub, Line
from tetrio.sim.face.venue import Venue
from tetrio.sim.face.wsapi import METHODS, ApiLine, LineOptions
from tetrio.sim.fault import admin
from tetrio.sim.fault.admin import AdminDoor
from tetrio.sim.fault.faults import FaultError, Spec
from tetrio.sim.fault.gates import EventGate, RequestGate, RestGate
from tetrio.sim.fault.mishaps import Guest, Mishaps
from tetrio.sim.fault.wires import Wire
from tetrio.sim.market.player import Clocks, Player
from tetrio.sim.market.relay import Follower, Relay
from tetrio.sim.market.tape import Market
from tetrio.sim.retention import FULL, Retention
from tetrio.wire.control import MAX_STREAMS, Subscriptions
from tetrio.wire.rules import Filters, RateLimit
from tetrio.wire.sign import Verifier
from tetrio.wire.stream import ServerShutdown, combined, server_shutdown
from tetrio.wire.user import encode_event

__all__ = ["Clocks", "Exchange", "ExchangeConfig", "HmacSecret", "KeyRights", "Urls"]

FAREWELL_S = 0.25  # from the end of trading to the end of all connections


class Tap(Protocol):
    """Listens on the wire, on the exchange's side; `connection` is its number in the record."""

    def request(self, connection: int, message: str | bytes) -> None:
        """A whole message has come."""

    def reply(self, connection: int, frame: bytes) -> None:
        """A whole frame that answers a request is handed to the connection."""


@attrs.frozen(kw_only=True)
class ExchangeConfig:
    """What is served, and how."""

    market: Market
    """Opened by `market.tape.open_market`, and played once; or by `market.relay.open_relay`, and followed."""
    clocks: Clocks
    keys: Mapping[str, Verifier | HmacSecret]
    """API key -> how its signatures are checked."""
    rights: Mapping[str, KeyRights] | None = attrs.field(factory=dict)
    """API key -> what it may do; None: all the default, and no wallet service that tells it, as on the testnet."""
    funds: Mapping[str, str] = attrs.field(factory=dict)
    """Opening balances: asset -> amount."""
    fills: str = "queue"
    """How resting orders fill: `queue`, `touch` or `through` (sim.book)."""
    maker: Decimal = Decimal(0)
    """Commission, a fraction of what is received."""
    taker: Decimal = Decimal(0)
    discount: Discount = Discount()
    """Paying commission in another asset."""
    filters: Filters = Filters()
    """What the symbol takes and bounds beside what the market says of it."""
    user_data: bool = True
    """Whether the WebSocket API tells accounts of their events; a market-data endpoint does not."""
    seed: int = 1
    """Of what the exchange itself draws: the number it gives each handshake, ids of orders that bring none, latency,
    faults.
    """
    latency: Latency = Latency()
    """By how much market data, requests and user events are delayed."""
    faults: Sequence[str] = ()
    """What goes wrong from the start, or a time after it (sim.faults)."""
    limits: Sequence[RateLimit] = PRODUCTION
    """Rate limits, kept and told (`face.limits`); a kind that is missing is as in production."""
    bans: BanRules = attrs.field(factory=BanRules)
    """When an address that goes on over its weight is shut out, and for how long."""
    stream_messages_per_s: int = 5
    """What a market stream takes from its client before it is cut."""
    retention: Retention = FULL
    """How much of the past is remembered."""
    audit: TextIO | None = None
    """Where the record goes (interfaces.md); flushed line by line, closed by the caller."""
    host: str = "127.0.0.1"
    rest_port: int = 0
    """0 takes a free one."""
    ws_port: int = 0
    sbe_port: int = 0
    lifetime_s: float = 86400.0
    """After which a WebSocket connection is closed."""
    ping_s: float = 20.0
    pong_s: float = 60.0
    beat_s: float = 1.0
    """Period of kline_1s and avgPrice, s of market time; the other klines are told every second time."""
    outbox_bytes: int = 8 << 20
    """What may wait for a slow WebSocket client before it is cut."""
    on_market_end: Callable[[int], None] | None = None
    """Called with the number of frames when a recorded market has been played out."""
    tap: Tap | None = None
    """Who listens to the requests of the WebSocket API and to what is answered."""
    on_exit: Callable[[], None] | None = None
    """Ends the process, where the exchange has one of its own: for the fault `exit`."""
    admin: AdminDoor | None = None
    """Where faults are armed from outside; None: nowhere."""


@attrs.frozen
class Urls:
    """Where it listens."""

    rest: str
    ws_api: str
    stream: str
    sbe: str
    admin: str = ""
    """"" where there is none."""


class Exchange:
    """One exchange with one symbol and one account."""

    def __init__(self, config: ExchangeConfig) -> None:
        """Open; the audit's first lines, the deposits, are written here. ConfigError for funds or faults that cannot
        be.
        """
        self._config = config
        self.venue = Venue(
            config.market,
            now_ns=config.clocks.now_ns,
            keys=config.keys,
            funds=config.funds,
            fills=config.fills,
            maker=config.maker,
            taker=config.taker,
            rights=config.rights,
            limits=config.limits,
            bans=config.bans,
            discount=config.discount,
            filters=config.filters,
            made_ids=_client_ids(random.Random(f"{config.seed}:ids")),  # noqa: S311 - names, no secrets
            audit=config.audit,
            retention=config.retention,
        )
        self.venue.user_data = config.user_data
        self._hub = Hub()
        self.mishaps = Mishaps(self.venue, config.seed, METHODS, config.on_exit)
        """Its faults: to arm, to heal, to count."""
        self._faults = [_spec(self.mishaps, text) for text in config.faults]
        self._rng = random.Random(config.seed)  # noqa: S311 - numbers for handshakes, no secrets
        self._lateness = random.Random(f"{config.seed}:latency")  # noqa: S311 - delays, no secrets
        app = RestApi(self.venue, wallet=config.rights is not None)
        self._rest = HttpServer(RestGate(app, self.mishaps, self.venue, self._lag("order")))
        self._pings = itertools.count(1)

    async def run(self, *, task_status: trio.TaskStatus[Urls] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen, serve and play the market until cancelled; `started` with the URLs.

        Cancelled, it plays no more and takes no new orders, lets what rests expire, and serves its clients for a moment
        longer, so that they hear of it. The record's `end` line is written on every way out.
        ConfigError when a port cannot be had.
        """
        player = self._player()
        try:
            self._arm()
            listeners = await self._listen()
            async with trio.open_nursery() as nursery:
                serving = trio.CancelScope(shield=True)
                nursery.start_soon(self._serve, serving, listeners)
                nursery.start_soon(player.run)
                task_status.started(self._urls(*map(_port, listeners)))
                try:
                    await trio.sleep_forever()
                finally:
                    serving.deadline = trio.current_time() + FAREWELL_S  # first: nothing may keep it from being set
                    self.venue.retire()
        finally:
            self._end()

    def _player(self) -> Player | Follower:
        config = self._config
        if isinstance(config.market, Relay):
            return Follower(self.venue, self._hub, config.market)
        return Player(self.venue, self._hub, config.clocks, beat_s=config.beat_s, on_end=config.on_market_end)

    async def _serve(self, scope: trio.CancelScope, listeners: Sequence[list[trio.SocketListener]]) -> None:
        rest, ws, sbe, *beside = listeners
        with scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.mishaps.run)
                servers = self.serve_rest_stream, self.serve_ws_stream, self.serve_sbe_stream
                for serve, those in zip(servers, (rest, ws, sbe), strict=True):
                    nursery.start_soon(functools.partial(trio.serve_listeners, serve, those))
                for (listener,) in beside:
                    nursery.start_soon(self._serve_admin, listener)

    async def _serve_admin(self, listener: trio.SocketListener) -> None:
        door = self._config.admin
        assert door is not None, "there is a listener"
        server = HttpServer(admin.application(self.mishaps, door.token))
        await serve_few(listener, server.serve, most=admin.MOST_GUESTS)

    async def serve_ws_stream(self, stream: trio.abc.Stream) -> None:
        """Serve one WebSocket connection, to any path, until it ends."""
        serve = functools.partial(connection.serve, route=self._route, headers=self._headers)
        await self.mishaps.network.carry(stream, "ws", serve)

    async def serve_sbe_stream(self, stream: trio.abc.Stream) -> None:
        """Serve one WebSocket connection to the SBE streams until it ends."""
        serve = functools.partial(connection.serve, route=self._route_sbe, headers=self._headers)
        await self.mishaps.network.carry(stream, "sbe", serve)

    async def serve_rest_stream(self, stream: trio.abc.Stream) -> None:
        """Serve one HTTP connection until it ends."""
        await self.mishaps.network.carry(stream, "rest", self._rest.serve)

    def _arm(self) -> None:
        for spec in self._faults:
            try:
                self.mishaps.arm(spec)
            except FaultError as error:
                raise ConfigError(f"--fault {spec.text}: {error}") from None

    async def _listen(self) -> list[list[trio.SocketListener]]:
        """REST, WebSocket, SBE, and the admin port where there is one."""
        config = self._config
        wanted = [(config.host, port) for port in (config.rest_port, config.ws_port, config.sbe_port)]
        if config.admin is not None:
            wanted.append((config.admin.host, config.admin.port))
        opened: list[list[trio.SocketListener]] = []
        try:
            for host, port in wanted:
                opened.append(await _open(host, port))
        except BaseException:
            for listener in itertools.chain(*opened):
                await hang_up(listener)
            raise
        return opened

    def _urls(self, rest: int, ws: int, sbe: int, admin_port: int = 0) -> Urls:
        host, door = _in_url(self._config.host), self._config.admin
        line = f"ws://{host}:{ws}"
        return Urls(
            rest=f"http://{host}:{rest}",
            ws_api=f"{line}/ws-api/v3",
            stream=line,
            sbe=f"ws://{host}:{sbe}",
            admin=f"http://{_in_url(door.host)}:{admin_port}" if door is not None else "",
        )

    def _end(self) -> None:
        market, venue = self._config.market, self.venue
        now_ns = venue.clock.now_ns()
        reached_ns = min(now_ns, market.last_ns) if market.last_ns else now_ns
        venue.audit.end(now_ns, market.frames, market.first_ns, reached_ns)

    def _headers(self) -> list[tuple[bytes, bytes]]:
        return [(b"x-mbx-uuid", b"%032x" % self._rng.getrandbits(128))]

    # -- who serves what --------------------------------------------------------------------------------------------
    def _route(self, target: str, address: str, headers: Headers) -> Accepted | Turned:
        try:
            return self._admit(target, address)
        except Refused as refused:
            return _turned_away(refused)

    def _admit(self, target: str, address: str) -> Accepted | Turned:
        url = urlsplit(target)
        pairs = parse_qsl(url.query.replace("+", "%2B"), keep_blank_values=True)  # kline_1d@+08:00
        query = dict(pairs)
        unit = query.get("timeUnit", "MILLISECOND")
        if unit not in UNITS:
            return Turned.error(400, -1194, "Invalid value for time unit; expected either MICROSECOND or MILLISECOND.")
        if url.path.rstrip("/") == "/ws-api/v3":
            if sum(name == "responseFormat" for name, _ in pairs) > 1:
                return Turned.error(400, -1101, "Duplicate values for a parameter detected.")
            if query.get("responseFormat", "json").lower() != "json":
                return Turned.error(400, -1155, "SBE is not enabled.")
            options = LineOptions(
                micros=UNITS[unit], return_rate_limits=query.get("returnRateLimits", "true").lower() != "false"
            )
            self.venue.addresses.of(address).connect("ws_api", self.venue.now_ms())
            return functools.partial(self._serve_api, options)
        subscriptions = _subscriptions(url.path, query.get("streams", ""))
        if isinstance(subscriptions, Turned):
            return subscriptions
        self.venue.addresses.of(address).connect("stream", self.venue.now_ms())
        return functools.partial(self._serve_line, "stream", subscriptions, UNITS[unit])

    def _route_sbe(self, target: str, address: str, headers: Headers) -> Accepted | Turned:
        url = urlsplit(target)
        refused = turned_away(self.venue.keys, headers)
        if refused is not None:
            return refused
        subscriptions = _subscriptions(url.path, dict(parse_qsl(url.query)).get("streams", ""))
        if isinstance(subscriptions, Turned):
            return subscriptions
        try:
            self.venue.addresses.of(address).connect("sbe", self.venue.now_ms())
        except Refused as over:
            return _turned_away(over)
        return functools.partial(self._serve_line, "sbe", sbe_subscriptions(subscriptions.names), False)

    async def _serve_api(self, options: LineOptions, ws: WebSocketConnection, transport: Transport) -> None:
        client, tap = Connection(ws, transport, outbox_bytes=self._config.outbox_bytes), self._config.tap
        number: int

        def push(frame: bytes, due_s: float) -> None:
            if tap is not None:
                tap.reply(number, frame)
            client.push(frame, due_s)

        def handle(message: str | bytes, late_s: float) -> None:
            if tap is not None:
                tap.request(number, message)
            gate.handle(message, line, late_s)

        gate = RequestGate(self.mishaps, self.venue, push)
        with self._recorded(
            client, transport, "ws_api", lambda now_ms: encode_event(None, ServerShutdown(now_ms))
        ) as number:
            line = ApiLine(
                self.venue,
                number,
                transport.address,
                reply=gate.reply,
                event=EventGate(self.mishaps, client.push, self._lag("report"), market=False),
                cut=client.cut,
                options=options,
            )
            try:
                await self._run(client, transport, handle, self._lag("order"))
            finally:
                line.close()

    async def _serve_line(
        self, face: str, subscriptions: Subscriptions, micros: bool, ws: WebSocketConnection, transport: Transport
    ) -> None:
        client = Connection(ws, transport, outbox_bytes=self._config.outbox_bytes)
        push = EventGate(self.mishaps, client.push, self._lag("market"), market=True)
        line = SbeLine(push, subscriptions, client) if face == "sbe" else Line(push, subscriptions, micros=micros)
        rate, frames = MessageRate(self._config.stream_messages_per_s), FrameCounter()

        def count(data: bytes | bytearray) -> None:
            for _ in range(frames.feed(data)):
                if not rate.admit(trio.current_time()):
                    client.cut(1008, "Too many requests")

        with self._recorded(client, transport, face, functools.partial(_shutdown, subscriptions)):
            transport.on_bytes = count
            self._hub.join(line)
            try:
                await self._run(
                    client, transport, lambda message, late_s: client.push_text(self._hub.control(line, message))
                )
            finally:
                self._hub.leave(line)

    async def _run(
        self,
        client: Connection,
        transport: Transport,
        handle: Callable[[str | bytes, float], None],
        lag: Lag | None = None,
    ) -> None:
        config = self._config
        wire = _wire(transport)

        def payload() -> bytes | None:
            if not self.mishaps.pings(wire.face, wire.number):
                return None
            return b"%d.%d" % (self.venue.now_ms(), next(self._pings))

        await client.run(
            handle,
            due_s=lag.due_s if lag is not None and lag.delays else None,
            ping_s=config.ping_s,
            pong_s=config.pong_s,
            lifetime_s=config.lifetime_s,
            payload=payload,
        )

    def _lag(self, kind: str) -> Lag:
        return Lag(getattr(self._config.latency, kind), self._lateness)

    @contextmanager
    def _recorded(
        self, client: Connection, transport: Transport, face: str, shutdown: Callable[[int], bytes]
    ) -> Iterator[int]:
        number = self.venue.connected(face)
        self.mishaps.guests[number] = Guest(
            face=face,
            number=_wire(transport).number,
            client=client,
            shutdown=shutdown,
        )
        try:
            yield number
        finally:
            del self.mishaps.guests[number]
            if trio.current_effective_deadline() == -math.inf and not transport.gone:
                client.why = "the exchange stopped"
            self.venue.disconnected(number, face, client.why)


def _client_ids(rng: random.Random) -> Iterator[str]:
    """As Binance makes them: 22 letters and digits."""
    while True:
        yield "".join(rng.choices(string.ascii_letters + string.digits, k=22))


def _wire(transport: Transport) -> Wire:
    wire = transport.stream
    assert isinstance(wire, Wire), "every connection is carried by the network"
    return wire


def _spec(mishaps: Mishaps, text: str) -> Spec:
    try:
        return mishaps.check(text)
    except FaultError as error:
        raise ConfigError(f"--fault {text}: {error}") from None


def _shutdown(subscriptions: Subscriptions, now_ms: int) -> bytes:
    payload = server_shutdown(now_ms)
    return combined("!serverShutdown", payload) if subscriptions.combined else payload


def _subscriptions(path: str, streams: str) -> Subscriptions | Turned:
    """What a stream URL asks for. A name without @ is nobody's stream: a dummy."""
    head, *names = unquote(path).strip("/").split("/")
    if head not in {"ws", "stream"} or (head == "stream" and names):
        return Turned(404, b"not found")
    combined = head == "stream"
    found = Subscriptions(_real(streams.split("/") if combined else names), combined=combined)
    return found if len(found.names) <= MAX_STREAMS else Turned(400, b"too many streams")


def _real(names: Sequence[str]) -> list[str]:
    return [name for name in names if "@" in name or name.startswith("!")]


def _turned_away(refused: Refused) -> Turned:
    """A handshake over a limit: Binance's error as the body, and when to come back."""
    assert isinstance(refused.data, dict), "limits tell when to come back"
    wait_s = -(-(refused.data["retryAfter"] - refused.data["serverTime"]) // 1000)
    turned = Turned.error(refused.status, refused.code, refused.msg)
    turned.headers.append((b"Retry-After", b"%d" % wait_s))
    return turned


async def _open(host: str, port: int) -> list[trio.SocketListener]:
    try:
        return await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be had: {error.strerror or error}"
        raise ConfigError(f"port {port} of {host} {why}; choose another one, or 0 for a free one") from error


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _port(listeners: Sequence[trio.SocketListener]) -> int:
    port: int = listeners[0].socket.getsockname()[1]
    return port
