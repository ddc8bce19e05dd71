"""Facts over REST: the exchange's clock, symbol rules, klines; and, signed, an API key's rights. Nothing is changed.

They go by a connection of their own, so that a large or slow answer never stands before an order. An answer is turned
into the same `Reply` that the WebSocket API gives, so that both are read by one set of decoders.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlencode

import msgspec
import trio

from tetrio.core.market import Kline, Quote
from tetrio.core.money import SymbolRules
from tetrio.errors import ConfigError, LinkBarred, LinkLost, OrderRejected, OrderUnknown, WireError
from tetrio.live.rights import Rights
from tetrio.net.access import Access, http_refusal
from tetrio.net.clock import machine_s
from tetrio.net.dial import reason
from tetrio.net.http import httpx
from tetrio.net.trust import client_context
from tetrio.wire.request import (
    Aggregate,
    BookTop,
    Candle,
    ErrorBody,
    Reply,
    ServerTime,
    aggregates_of,
    book_of,
    candles_of,
    klines_of,
    raise_for,
    result_of,
    signed_query,
)
from tetrio.wire.rules import RateLimit, rate_limits, symbol_rules
from tetrio.wire.sign import Signer

ANSWER_S = 5.0  # to connect, and for each part of an answer
PAGE = 1000  # klines in one answer, the exchange's most
WEIGHT = 6000  # of an address in a minute, until the exchange says otherwise
PAST_SHARE = 0.8
BAD_SYMBOL = -1121
RIGHTS = "/sapi/v1/account/apiRestrictions"
RECV_WINDOW_MS = 5000
KEY_REFUSED = (401, 403)
_error = msgspec.json.Decoder(ErrorBody)


class Rest:
    """The exchange's REST side."""

    def __init__(self, client: httpx.AsyncClient, now_ns: Callable[[], int], access: Access) -> None:
        self._client, self._access = client, access
        self._now_ns = now_ns
        self._offset_ms = 0.0
        self._used, self._weight = 0, WEIGHT
        self.asked = 0
        """Requests about the past."""

    async def classify(self, error: LinkLost) -> LinkLost:
        """What stands behind an upgrade that failed without an answer in HTTP: perhaps a ban, which REST would tell."""
        if error.kind == "unseen":
            try:
                await self._get("/api/v3/ping")
            except LinkLost as seen:
                if seen.kind == "ban" or isinstance(seen, LinkBarred):
                    return seen
        return error

    async def book(self, rules: SymbolRules) -> Quote | None:
        """The best bid and ask as they rest; None where a side is empty."""
        reply = await self._get("/api/v3/ticker/bookTicker", symbol=rules.name)
        bid, ask = book_of(result_of(reply, BookTop), rules)
        return Quote(bid, ask, 0, self._now_ns()) if 0 < bid < ask else None

    async def clock_offset_ms(self, samples: int = 5) -> tuple[float, float]:
        """(offset, error) in ms: what to add to our clock to get the exchange's, by the quickest round trip.

        Signed requests are dated by the latest one.
        """
        best: tuple[float, float] | None = None
        for _ in range(samples):
            sent = self._now_ns()
            reply = await self._get("/api/v3/time")
            got = self._now_ns()
            server_ms = result_of(reply, ServerTime).server_time
            error = (got - sent) / 2e6 + 0.5  # the exchange tells whole milliseconds, rounded down
            if best is None or error < best[1]:
                best = (server_ms + 0.5 - (sent + got) / 2e6, error)
        assert best is not None, "there is at least one sample"
        self._offset_ms = best[0]
        return best

    async def symbol(self, name: str) -> tuple[SymbolRules, list[RateLimit]]:
        """Rules of one symbol, and the exchange's limits; ConfigError when it has no such symbol."""
        reply = await self._get("/api/v3/exchangeInfo", symbol=name)
        try:
            raise_for(reply)
        except OrderRejected as error:
            if error.code == BAD_SYMBOL:
                raise ConfigError(
                    f"the exchange has no symbol {name!r}: set [symbol] name to one that it lists"
                ) from None
            raise
        assert reply.result is not None, "a reply without an error has a result"
        limits = rate_limits(reply.result)
        for limit in limits:
            if (limit.rate_limit_type, limit.interval, limit.interval_num) == ("REQUEST_WEIGHT", "MINUTE", 1):
                self._weight = limit.limit
        return symbol_rules(reply.result, name), limits

    async def klines(
        self, rules: SymbolRules, interval: str, count: int, now_ms: int, *, before_ms: int | None = None
    ) -> list[Kline]:
        """The newest `count` klines, oldest first, the forming one last; fewer when there are no more.

        before_ms   only those that opened before this
        """
        found: list[Kline] = []
        window: dict[str, str] = {} if before_ms is None else {"endTime": str(before_ms - 1)}
        while len(found) < count:
            limit = min(PAGE, count - len(found))
            reply = await self._get("/api/v3/klines", symbol=rules.name, interval=interval, limit=str(limit), **window)
            page = klines_of(reply, rules, now_ms)
            found = page + found
            if len(page) < limit:
                break
            window = {"endTime": str(page[0].open_ms - 1)}
        return found

    async def candles(self, rules: SymbolRules, interval: str, start_ms: int, end_ms: int) -> list[Candle]:
        """Up to `PAGE` klines that open from one time on and before another, oldest first."""
        await self._pace()
        window = {"startTime": str(start_ms), "endTime": str(end_ms - 1), "limit": str(PAGE)}
        return candles_of(await self._get("/api/v3/klines", symbol=rules.name, interval=interval, **window), rules)

    async def aggregates(
        self, rules: SymbolRules, *, start_ms: int | None = None, from_id: int | None = None, limit: int = PAGE
    ) -> list[Aggregate]:
        """Up to `limit` aggregate trades from a time on, or from an aggregate's id on; without either the newest."""
        await self._pace()
        query = {"limit": str(limit)}
        query |= {} if start_ms is None else {"startTime": str(start_ms)}
        query |= {} if from_id is None else {"fromId": str(from_id)}
        return aggregates_of(await self._get("/api/v3/aggTrades", symbol=rules.name, **query), rules)

    async def _pace(self) -> None:
        """Where the past is asked for: leave a fifth of the minute's weight to what trades, and wait for the next."""
        self.asked += 1
        if self._used < PAST_SHARE * self._weight:
            return
        now_ms = self._now_ns() / 1e6 + self._offset_ms
        await trio.sleep((60_000 - now_ms % 60_000) / 1000 + 0.1)
        self._used = 0

    def _note_weight(self, answer: httpx.Response) -> None:
        used = answer.headers.get("x-mbx-used-weight-1m", "")
        if used.isdecimal():
            self._used = int(used)

    async def rights(self, api_key: str, signer: Signer) -> Rights | None:
        """What the API key may do; None where the venue does not tell (the testnet has no wallet service).

        UnsafeError   key or signature are refused
        LinkLost      no answer, or none that says anything
        """
        query = signed_query({}, signer, int(self._now_ns() / 1e6 + self._offset_ms), RECV_WINDOW_MS)
        answer = await self._ask(f"{RIGHTS}?{query}", RIGHTS, {"X-MBX-APIKEY": api_key})
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        try:
            return result_of(_reply(answer, RIGHTS), Rights)
        except (OrderRejected, OrderUnknown, WireError) as error:
            raise LinkLost(f"GET {RIGHTS}: {error}") from error

    async def _get(self, path: str, **query: str) -> Reply:
        return _reply(await self._ask(f"{path}?{urlencode(query)}" if query else path, path), path)

    async def _ask(self, target: str, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
        """One GET; `path` is how errors name it, for `target` may hold a signature."""
        host = self._client.base_url.host
        self._access.check_host(host)
        try:
            try:
                answer = await self._client.get(target, headers=headers)
            except httpx.RemoteProtocolError:  # a kept connection that the exchange has closed meanwhile: a new one
                answer = await self._client.get(target, headers=headers)
        except httpx.HTTPError as error:
            peer = f"{host}:{self._client.base_url.port or ''}".rstrip(":")
            kind = "tls" if _is_tls(error) else "tcp" if isinstance(error, httpx.ConnectError) else "lost"
            lost = LinkLost(f"{peer}: GET {path} failed: {reason(error)}", kind=kind)
            raise self._access.heed(lost, host) from error
        self._note_weight(answer)
        if (refusal := _refusal(answer, path, keyed=headers is not None)) is not None:
            raise self._access.heed(refusal, host)
        return answer


def _refusal(answer: httpx.Response, path: str, *, keyed: bool) -> LinkLost | None:
    """A ban, or an address that is kept out; `keyed`: a key was sent, and may be what is refused instead."""
    status = answer.status_code
    if keyed and status in KEY_REFUSED and _error_of(answer) is not None:
        return None
    if status in {418, 429, 403, 451}:
        return http_refusal(f"GET {path}", status, answer.headers.get("retry-after", ""))
    return None


def _is_tls(error: BaseException | None) -> bool:
    """Whether a certificate, or what is agreed with it, stands behind what httpx raised."""
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _reply(answer: httpx.Response, path: str) -> Reply:
    """What the WebSocket API would have said."""
    if answer.status_code == httpx.codes.OK:
        return Reply(id=None, status=200, result=msgspec.Raw(answer.content))
    body = _error_of(answer)
    if body is None:
        raise LinkLost(f"GET {path}: HTTP {answer.status_code} without an error of Binance's form")
    return Reply(id=None, status=answer.status_code, error=body)


def _error_of(answer: httpx.Response) -> ErrorBody | None:
    try:
        return _error.decode(answer.content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


@asynccontextmanager
async def open_rest(url: str, now_ns: Callable[[], int], access: Access | None = None) -> AsyncIterator[Rest]:
    """A client for the REST service at `url`; WireError and LinkLost are its failures.

    access   asked before each request, and told why one failed
    """
    limits = httpx.Limits(max_connections=2, max_keepalive_connections=1)
    async with httpx.AsyncClient(
        base_url=url,
        timeout=machine_s(ANSWER_S),
        limits=limits,
        follow_redirects=False,
        trust_env=False,
        verify=client_context(),
    ) as client:
        yield Rest(client, now_ns, access or Access())
