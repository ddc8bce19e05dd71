"""The operator's side door: arm faults, heal them, see them, over HTTP on a loopback port of its own.

    POST   /fault     {"spec": "stall:stream:10s"}      201, the fault as it is listed, with its id
    DELETE /fault/ID                                    200, the fault, which is over now
    GET    /faults                                      all faults, counts by verb, open connections
    GET    /help                                        the faults and how they are written, as text

Transfers, locks, halts and new rules are faults too: deposit:ETH:1. Every request carries the token, which comes from
a file and is neither logged nor told, as `Authorization: Bearer TOKEN`. All this is no part of what Binance's clients
see, and no fault touches it.
"""

from __future__ import annotations

import hmac
import logging

import attrs
import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from tetrio.log import Secret
from tetrio.sim.fault.faults import FaultError, usage
from tetrio.sim.fault.mishaps import Mishaps

log = logging.getLogger(__name__)

MOST_GUESTS = 16  # connections at a time
MAX_BODY = 16384  # bytes
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
"""Hosts that a request may be for: a page elsewhere whose name leads here has another (DNS rebinding)."""


@attrs.frozen(kw_only=True)
class AdminDoor:
    """Where it is, and who may enter."""

    host: str
    port: int
    """0 takes a free one."""
    token: Secret


class _Asked(msgspec.Struct, forbid_unknown_fields=True):
    """The body of POST /fault."""

    spec: str


def application(mishaps: Mishaps, token: Secret) -> ASGIApp:
    """The ASGI application."""

    async def arm(request: Request) -> Response:
        body = await _body(request)
        if body is None:
            return _error(413, f"the body is longer than {MAX_BODY} bytes")
        try:
            armed = mishaps.arm(msgspec.json.decode(body, type=_Asked).spec)
        except FaultError as error:
            return _error(400, str(error))
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            return _error(400, f'the body must be {{"spec": "FAULT"}}: {error}')
        return JSONResponse(armed.told(), 201)

    async def heal(request: Request) -> Response:
        try:
            armed = mishaps.heal(int(request.path_params["fault_id"]))
        except FaultError as error:
            return _error(404, str(error))
        return JSONResponse(armed.told())

    async def listing(request: Request) -> Response:
        return JSONResponse(
            {"faults": mishaps.listing(), "counts": dict(mishaps.counts), "connections": mishaps.connections()}
        )

    async def explain(request: Request) -> Response:
        return PlainTextResponse(usage() + "\n")

    routes = [
        Route("/fault", arm, methods=["POST"]),
        Route("/fault/{fault_id:int}", heal, methods=["DELETE"]),
        Route("/faults", listing, methods=["GET"]),
        Route("/help", explain, methods=["GET"]),
    ]
    return _Guard(Starlette(routes=routes), token)


class _Guard:
    """Lets in who knows the token."""

    def __init__(self, app: ASGIApp, token: Secret) -> None:
        self._app, self._token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        refused = self._refusal(Request(scope))
        await (self._app if refused is None else refused)(scope, receive, send)

    def _refusal(self, request: Request) -> Response | None:
        host = request.headers.get("host", "")
        if host.removesuffix(f":{request.url.port}") not in LOOPBACK:
            return _error(403, "this host is not served")
        given = request.headers.get("authorization", "").encode("utf-8", "replace")
        if not hmac.compare_digest(given, b"Bearer " + self._token.reveal().encode()):
            log.warning("a request to the admin port without the token was refused")
            response = _error(401, "the token is missing or wrong")
            response.headers["WWW-Authenticate"] = "Bearer"
            return response
        return None


async def _body(request: Request) -> bytes | None:
    """The body; None when it is too long."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            return None
    return body


def _error(status: int, why: str) -> Response:
    return JSONResponse({"error": why}, status)
