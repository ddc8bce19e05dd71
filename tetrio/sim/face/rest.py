"""Binance's REST interface: every method of the WebSocket API over HTTP, and the wallet service's few (`sapi`).

A path and a verb name a method of the tables in `methods`; what is the same for both faces happens there. Here is what
HTTP adds: parameters in query and form, the key in a header, limits told in headers, statuses, the firewall. Events
follow the reply that caused them.

Hypercorn's trio worker with Starlette's headers and responses, one server per accepted stream, so that it runs over
sockets, real or simulated, and over streams in memory alike.
"""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from email.utils import formatdate
from typing import Any
from urllib.parse import unquote_plus

import attrs
import msgspec
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tetrio.net.closing import hang_up
from tetrio.sim.engine.orders import Rejected
from tetrio.sim.face import methods, queries, sapi
from tetrio.sim.face.call import Call
from tetrio.sim.face.checks import Params, Refused
from tetrio.sim.face.connection import PROTOCOL_ERRORS
from tetrio.sim.face.limits import Address
from tetrio.sim.face.methods import Endpoint
from tetrio.sim.face.shapes import in_micros, klines_in_micros
from tetrio.sim.face.venue import Venue

log = logging.getLogger(__name__)

UNITS = {"MICROSECOND": True, "microsecond": True, "MILLISECOND": False, "millisecond": False}
"""Spellings of a time unit, and whether it is microseconds."""
ARRIVED = "tetrio.arrived_ms"
"""Member of an ASGI scope: service time when the request reached the exchange, where somebody has held it up since."""
MAX_BODY = 65536
"""Bytes of a form that are read; more are 413."""

KEEP_ALIVE_S = 60.0  # how long a connection may be idle; clients that trade now and then keep theirs

API = "/api/v3/"
PATHS: Mapping[str, Mapping[str, str]] = {
    "ping": {"GET": "ping"},
    "time": {"GET": "time"},
    "exchangeInfo": {"GET": "exchangeInfo"},
    "executionRules": {"GET": "executionRules"},
    "depth": {"GET": "depth"},
    "trades": {"GET": "trades.recent"},
    "historicalTrades": {"GET": "trades.historical"},
    "historicalBlockTrades": {"GET": "blockTrades.historical"},
    "aggTrades": {"GET": "trades.aggregate"},
    "klines": {"GET": "klines"},
    "uiKlines": {"GET": "uiKlines"},
    "avgPrice": {"GET": "avgPrice"},
    "ticker": {"GET": "ticker"},
    "ticker/24hr": {"GET": "ticker.24hr"},
    "ticker/tradingDay": {"GET": "ticker.tradingDay"},
    "ticker/price": {"GET": "ticker.price"},
    "ticker/bookTicker": {"GET": "ticker.book"},
    "referencePrice": {"GET": "referencePrice"},
    "referencePrice/calculation": {"GET": "referencePrice.calculation"},
    "order": {"POST": "order.place", "GET": "order.status", "DELETE": "order.cancel"},
    "order/test": {"POST": "order.test"},
    "order/cancelReplace": {"POST": "order.cancelReplace"},
    "order/amend/keepPriority": {"PUT": "order.amend.keepPriority"},
    "order/amendments": {"GET": "order.amendments"},
    "order/oco": {"POST": "orderList.place"},
    "openOrders": {"GET": "openOrders.status", "DELETE": "openOrders.cancelAll"},
    "allOrders": {"GET": "allOrders"},
    "orderList": {"GET": "orderList.status", "DELETE": "orderList.cancel"},
    "orderList/oco": {"POST": "orderList.place.oco"},
    "orderList/oto": {"POST": "orderList.place.oto"},
    "orderList/otoco": {"POST": "orderList.place.otoco"},
    "orderList/opo": {"POST": "orderList.place.opo"},
    "orderList/opoco": {"POST": "orderList.place.opoco"},
    "openOrderList": {"GET": "openOrderLists.status"},
    "allOrderList": {"GET": "allOrderLists"},
    "sor/order": {"POST": "sor.order.place"},
    "sor/order/test": {"POST": "sor.order.test"},
    "account": {"GET": "account.status"},
    "account/commission": {"GET": "account.commission"},
    "rateLimit/order": {"GET": "account.rateLimits.orders"},
    "myTrades": {"GET": "myTrades"},
    "myPreventedMatches": {"GET": "myPreventedMatches"},
    "myAllocations": {"GET": "myAllocations"},
    "myFilters": {"GET": "myFilters"},
}
"""Path after /api/v3/ -> verb -> method of the WebSocket API."""
GONE = f"{API}userDataStream"
"""The listen keys, which ended on 2026-02-20."""

_FORM = "application/x-www-form-urlencoded"
_SQL = re.compile(
    r"\b(?:union\s+(?:all\s+)?select|select\s.{1,200}?\sfrom|insert\s+into|delete\s+from|drop\s+(?:table|database)|"
    r"update\s.{1,200}?\sset)\b",
    re.IGNORECASE,
)
"""What a firewall takes for an attack. No word of it fits into a parameter that an honest client sends."""


Table = Mapping[str, Mapping[str, Endpoint | None]]
"""Path -> verb -> what answers it; None where the method is not served."""


def endpoints(*, wallet: bool) -> Table:
    """All there is; `wallet`: with the wallet service, which the testnet does not have."""
    found: dict[str, Mapping[str, Endpoint | None]] = {
        f"{API}{path}": {verb: _endpoint(path, method) for verb, method in verbs.items()}
        for path, verbs in PATHS.items()
    }
    if wallet:
        found |= {path: {"GET": endpoint} for path, endpoint in sapi.ENDPOINTS.items()}
    return found


def _endpoint(path: str, method: str) -> Endpoint | None:
    if path in queries.REST:  # where REST tells something else
        return methods.public(queries.REST[path])
    endpoint = methods.ENDPOINTS.get(method)
    if endpoint is None or method != "sor.order.place":
        return endpoint
    return attrs.evolve(endpoint, run=_only(endpoint.run))


def _only(run: Callable[[Call], object]) -> Callable[[Call], object]:
    """The one order that the WebSocket API tells in a list."""

    def first(call: Call) -> object:
        result = run(call)
        return result[0] if isinstance(result, list) else result

    return first


@attrs.frozen(kw_only=True)
class _Message:
    """What was sent, as far as it matters."""

    verb: str
    path: str
    query: str
    form: str
    """The body, where it is a form; "" for a GET."""
    headers: Mapping[str, str]
    address: Address
    arrived_ms: int


class RestApi:
    """The ASGI application."""

    def __init__(self, venue: Venue, *, wallet: bool) -> None:
        """`wallet`: with the wallet service, which the testnet does not have."""
        self._venue = venue
        self._table = endpoints(wallet=wallet)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or one WebSocket handshake, which has come to the wrong port."""
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return
        arrived_ms = scope.get(ARRIVED, self._venue.now_ms())
        try:
            body = await _body(receive)
        except ClientDisconnect:
            return
        if body is None:
            await Response(status_code=413)(scope, receive, send)
            return
        call = Call(self._venue, Params({}))
        response = self._answer(self._message(scope, body, arrived_ms), call)
        self._venue.postpone(call.events, call.prints)
        try:
            await response(scope, receive, send)
        finally:
            self._venue.settle()

    def _message(self, scope: Scope, body: bytes, arrived_ms: int) -> _Message:
        verb, headers = scope["method"], Headers(scope=scope)
        is_form = verb != "GET" and headers.get("content-type", _FORM).partition(";")[0].strip() == _FORM
        client = scope.get("client")
        return _Message(
            verb=verb,
            path=scope["path"],
            query=scope["query_string"].decode("latin-1"),
            form=body.decode("latin-1") if is_form else "",
            headers=headers,
            address=self._venue.addresses.of(client[0] if client else "memory"),
            arrived_ms=arrived_ms,
        )

    # -- one request ------------------------------------------------------------------------------------------------
    def _answer(self, message: _Message, call: Call) -> Response:
        """The response; `call` is filled on the way, and holds what the engine did."""
        try:
            message.address.request(self._venue.now_ms())
            if any(_SQL.search(unquote_plus(text)) for text in (message.path, message.query, message.form)):
                return _html(403, "<html><head><title>403 Forbidden</title></head><body></body></html>")
            if message.path == GONE and message.verb in {"POST", "PUT", "DELETE"}:
                return _html(410, _GONE_PAGE)
            verbs = self._table.get(message.path, {})
            endpoint = verbs.get(message.verb)
            if endpoint is not None:
                return self._perform(endpoint, message, call)
            if not verbs or message.verb in verbs:
                return self._not_found(message)
            return self._response(message, 405, {"code": -1020, "msg": "This operation is not supported."})
        except Refused as refused:
            return self._refusal(message, refused)
        except Rejected as rejected:
            return self._response(message, 400, {"code": rejected.code, "msg": rejected.msg})
        except Exception:
            log.exception("the request %s %s failed by our fault", message.verb, message.path[:60])
            return self._response(message, 500, _UNKNOWN)

    def _perform(self, endpoint: Endpoint, message: _Message, call: Call) -> Response:
        if not _accepts_json(message.headers.get("accept", "*/*")):
            return self._response(message, 406, {"code": -1155, "msg": "SBE is not enabled."})
        micros = _in_micros(message)
        call.params = Params(_parse(message.form) | _parse(message.query))

        def authorize(seen_ms: int) -> str:
            api_key = message.headers.get("x-mbx-apikey", "")
            return self._venue.keys.authorize_http(api_key, message.query, message.form, call.params, seen_ms)

        body = methods.perform(endpoint, call, message.address, authorize, message.arrived_ms)
        return self._response(message, 200, _timed(message, body) if micros else body, counts=bool(endpoint.counts))

    def _refusal(self, message: _Message, refused: Refused) -> Response:
        """The response to a request that is refused: when to come back stands in a header."""
        body: dict[str, object] = {"code": refused.code, "msg": refused.msg}
        retry_ms = None
        if isinstance(refused.data, dict):
            retry_ms = refused.data.get("retryAfter")
            if retry_ms is None:
                body["data"] = _timed(message, refused.data) if _in_micros(message) else refused.data
        response = self._response(message, refused.status, body, counts=refused.code == _TOO_MANY_ORDERS)
        now_ms = self._venue.now_ms()
        full = self._venue.orders.exceeded(now_ms) if refused.code == _TOO_MANY_ORDERS else None
        if retry_ms is None and full is not None:
            retry_ms = full.rolls_ms(now_ms)
        if retry_ms is not None:
            response.headers["Retry-After"] = str(-(-(retry_ms - now_ms) // 1000))
        return response

    def _not_found(self, message: _Message) -> Response:
        if "text/html" in message.headers.get("accept", ""):
            return _html(404, "<html><body>404 Not Found</body></html>")
        return self._response(message, 404, _UNKNOWN)

    def _response(self, message: _Message, status: int, body: object, *, counts: bool = False) -> Response:
        now_ms = self._venue.now_ms()
        weight = str(message.address.weight.count(now_ms))
        date = formatdate(now_ms / 1000, usegmt=True)  # the service clock's, so that a virtual run tells a virtual date
        headers = {"Content-Type": _JSON, "Date": date, "X-MBX-USED-WEIGHT": weight, "X-MBX-USED-WEIGHT-1M": weight}
        if counts:
            for row in self._venue.orders.rows(now_ms):
                headers[f"X-MBX-ORDER-COUNT-{row.interval_num}{row.interval[0]}"] = str(row.used)
        return Response(msgspec.json.encode(body), status, headers=headers)


_JSON = "application/json;charset=UTF-8"
_UNKNOWN = {"code": -1000, "msg": "An unknown error occurred while processing the request."}
_TOO_MANY_ORDERS = -1015
_GONE_PAGE = "<html><head><title>410 Gone</title></head><body><center><h1>410 Gone</h1></center></body></html>"


async def _body(receive: Receive) -> bytes | None:
    """The whole body; None when it is too long. ClientDisconnect: nobody waits for an answer."""
    body = b""
    while True:
        part = await receive()
        if part["type"] == "http.disconnect":
            raise ClientDisconnect
        body += bytes(part.get("body", b""))
        if len(body) > MAX_BODY:
            return None
        if not part.get("more_body"):
            return body


def _parse(text: str) -> dict[str, str]:
    """Parameters of a query or a form; one that comes twice is refused."""
    params: dict[str, str] = {}
    for name, value in _pairs(text):
        if name in params:
            raise Refused(-1101, "Duplicate values for a parameter detected.")
        params[name] = value
    return params


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for part in text.split("&"):
        if part:
            name, _, value = part.partition("=")
            yield unquote_plus(name), unquote_plus(value)


def _accepts_json(accept: str) -> bool:
    """Whether JSON will do: not when SBE, which is not served here, is all that is accepted."""
    return "application/sbe" not in accept or "application/json" in accept or "*/*" in accept


def _in_micros(message: _Message) -> bool:
    """Whether times are asked for in microseconds."""
    unit = message.headers.get("x-mbx-time-unit", "MILLISECOND")
    if unit not in UNITS:
        raise Refused(-1194, "Invalid value for time unit; expected either MICROSECOND or MILLISECOND.")
    return UNITS[unit]


def _timed(message: _Message, body: object) -> object:
    """A body with its times in microseconds."""
    if message.path.removeprefix(API) in {"klines", "uiKlines"} and isinstance(body, list):
        return klines_in_micros(body)
    return in_micros(body)


def _html(status: int, page: str) -> Response:
    return Response(page, status, headers={"Content-Type": "text/html"})


_HEAD, _INFORMATIONAL = b"HTTP/1.1 ", b"HTTP/1.1 1"


class _NamedSocket:
    """What Hypercorn asks of a socket, for a stream that has none."""

    family = socket.AF_INET

    def getpeername(self) -> tuple[str, int]:
        """An address."""
        return ("memory", 0)

    getsockname = getpeername


class _ResponseStream(trio.abc.Stream):
    """Any stream, with the socket that Hypercorn looks at, and a response's head and body in one packet.

    Hypercorn sends a head, then the body in as many parts as the application gave, then an end, which is empty: the
    head waits for what follows it.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._head = b""
        self.socket: Any = getattr(stream, "socket", None) or _NamedSocket()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        data = bytes(data)
        if data.startswith(_HEAD) and not data.startswith(_INFORMATIONAL) and not self._head:
            self._head = data
            return
        data, self._head = self._head + data, b""
        if data:
            await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def send_eof(self) -> None:
        """Hypercorn says so before it closes."""
        if isinstance(self._stream, trio.abc.HalfCloseableStream):
            await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


class HttpServer:
    """Serves an ASGI application over HTTP connections, one stream at a time."""

    def __init__(self, app: Any) -> None:
        """`app` is typed by Starlette, Hypercorn and those between in a way of their own each."""
        self._app: ASGIFramework = app
        self._config = Config()
        self._config.accesslog = None
        self._config.errorlog = None
        self._config.include_server_header = False
        self._config.keep_alive_max_requests = 1 << 62  # Hypercorn would hang up after 1000
        self._config.keep_alive_timeout = KEEP_ALIVE_S
        self._config.include_date_header = False  # the application tells the service clock's

    async def serve(self, stream: trio.abc.Stream) -> None:
        """One connection, until it ends; nothing that a client does comes out as an exception."""
        whole: Any = _ResponseStream(stream)
        try:
            await TCPServer(ASGIWrapper(self._app), self._config, WorkerContext(None), {}, whole).run()
        except* PROTOCOL_ERRORS as group:
            log.debug("an HTTP connection ended: %r", group.exceptions)
        except* Exception:
            log.exception("an HTTP connection failed by our fault")
        finally:
            await hang_up(stream)
