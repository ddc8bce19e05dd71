"""A part of Binance's REST interface: what anyone may ask over HTTP, and the account's own queries (`sapi`), signed.

Starlette under Hypercorn's trio worker, one server per accepted stream, so that it runs over sockets, real or
simulated, and over streams in memory alike. Orders are not placed here.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import msgspec
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tetrio.sim import queries
from tetrio.sim.checks import Params, Refused
from tetrio.sim.connection import PROTOCOL_ERRORS
from tetrio.sim.limits import Window
from tetrio.sim.orders import Rejected
from tetrio.sim.sapi import API, KeyRights, SignedQuery, authorize, signed_queries
from tetrio.sim.shapes import in_micros, klines_in_micros
from tetrio.sim.venue import Venue
from tetrio.sim.wsapi import too_much_weight

log = logging.getLogger(__name__)

UNITS = {"MICROSECOND": True, "microsecond": True, "MILLISECOND": False, "millisecond": False}
"""Spellings of a time unit, and whether it is microseconds."""


def application(venue: Venue, rights: Mapping[str, KeyRights] | None) -> Starlette:
    """The ASGI application; `rights` as `sapi.signed_queries` takes them."""
    signed = signed_queries(venue, rights)

    async def answer(request: Request) -> Response:
        return _answer(venue, signed, request)

    return Starlette(
        routes=[Route("/{path:path}", answer, methods=["GET", "POST", "PUT", "DELETE"])],
        exception_handlers={HTTPException: _not_allowed},
    )


async def _not_allowed(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return _response(status, {"code": -1020, "msg": "This operation is not supported."})


def _answer(venue: Venue, signed: Mapping[str, SignedQuery], request: Request) -> Response:
    now_ms = venue.now_ms()
    window = venue.weights.window(request.client.host if request.client else "memory")
    path = f"/{request.path_params['path']}"
    public = queries.REST.get(path.removeprefix(API)) if path.startswith(API) else None
    private = signed.get(path)
    if public is None and private is None:
        return _not_found(request, window, now_ms)
    if request.method != "GET":
        return _response(405, {"code": -1020, "msg": "This operation is not supported."}, window, now_ms)
    try:
        unit = request.headers.get("x-mbx-time-unit")
        if unit is not None and unit not in UNITS:
            raise Refused(-1194, "Invalid value for time unit; expected either MICROSECOND or MILLISECOND.")
        text = request.scope["query_string"].decode("latin-1")
        params = Params(_query(text))
        if public is not None:
            _spend(window, public.weight(params), now_ms)
            body = public.run(venue, params)
        else:
            assert private is not None, "one of the two was found"
            _spend(window, private.weight(params), now_ms)
            api_key = request.headers.get("x-mbx-apikey", "")
            authorize(venue, api_key, text, params)
            body = private.run(api_key, params)
    except Refused as refused:
        return _refusal(refused, window, now_ms)
    except Rejected as rejected:
        return _response(400, {"code": rejected.code, "msg": rejected.msg}, window, now_ms)
    if unit is not None and UNITS[unit]:
        klines = path.removeprefix(API) in {"klines", "uiKlines"} and isinstance(body, list)
        body = klines_in_micros(body) if klines else in_micros(body)  # type: ignore[arg-type]  # a list, as just seen
    return _response(200, body, window, now_ms)


def _query(text: str) -> dict[str, str]:
    """The query's parameters; one that comes twice is refused."""
    params: dict[str, str] = {}
    for part in text.split("&"):
        if not part:
            continue
        name, _, value = part.partition("=")
        name = unquote(name)
        if name in params:
            raise Refused(-1101, "Duplicate values for a parameter detected.")
        params[name] = unquote(value)
    return params


def _spend(window: Window, weight: int, now_ms: int) -> None:
    if window.add(weight, now_ms) > window.limit.limit:
        raise too_much_weight(window.limit, now_ms, window.rolls_ms(now_ms))


def _refusal(refused: Refused, window: Window, now_ms: int) -> Response:
    response = _response(refused.status, {"code": refused.code, "msg": refused.msg}, window, now_ms)
    if refused.status == 429:
        response.headers["Retry-After"] = str(-(-(window.rolls_ms(now_ms) - now_ms) // 1000))
    return response


def _not_found(request: Request, window: Window, now_ms: int) -> Response:
    if "text/html" in request.headers.get("accept", ""):
        return Response("<html><body>404 Not Found</body></html>", 404, media_type="text/html")
    return _response(
        404, {"code": -1000, "msg": "An unknown error occurred while processing the request."}, window, now_ms
    )


def _response(status: int, body: object, window: Window | None = None, now_ms: int = 0) -> Response:
    response = Response(msgspec.json.encode(body), status, headers={"Content-Type": "application/json;charset=UTF-8"})
    if window is not None:
        count = str(window.count(now_ms))
        response.headers["X-MBX-USED-WEIGHT"] = response.headers["X-MBX-USED-WEIGHT-1M"] = count
    return response


class _NamedSocket:
    """What Hypercorn asks of a socket, for a stream that has none."""

    family = socket.AF_INET

    def getpeername(self) -> tuple[str, int]:
        """An address."""
        return ("127.0.0.1", 0)

    getsockname = getpeername


class _NamedStream(trio.abc.Stream):
    """Any stream, with the socket that Hypercorn looks at."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self.socket = _NamedSocket()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
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


class RestServer:
    """Serves HTTP connections one stream at a time."""

    def __init__(self, venue: Venue, rights: Mapping[str, KeyRights] | None = None) -> None:
        self._app: ASGIFramework = application(venue, rights)  # type: ignore[assignment]  # the same protocol, typed twice
        self._config = Config()
        self._config.accesslog = None
        self._config.errorlog = None
        self._config.include_server_header = False
        self._config.include_date_header = False  # it would tell the machine's date in a virtual run

    async def serve(self, stream: trio.abc.Stream) -> None:
        """One connection, until it ends; nothing that a client does comes out as an exception."""
        named: Any = stream if isinstance(stream, trio.SocketStream) else _NamedStream(stream)
        try:
            await TCPServer(ASGIWrapper(self._app), self._config, WorkerContext(None), {}, named).run()
        except* PROTOCOL_ERRORS as group:
            log.debug("an HTTP connection ended: %r", group.exceptions)
        except* Exception:
            log.exception("an HTTP connection failed by our fault")
        finally:
            await trio.aclose_forcefully(stream)
