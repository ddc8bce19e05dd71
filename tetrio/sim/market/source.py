"""What another exchange says when it is asked over REST: the facts that a relayed market begins with.

Symbol rules, the newest trade's id, klines, the clock. Public, unsigned, nothing is changed; what the
source tells by itself, its streams, is `market.relay`'s.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import TypeVar
from urllib.parse import urlencode

import attrs
import httpx
import msgspec

from tetrio.core.money import SymbolRules, decimal, floor_units
from tetrio.errors import ConfigError, LinkLost, UnsafeError, WireError
from tetrio.net.clock import Clock, machine_s
from tetrio.net.dial import reason
from tetrio.sim.market.candles import Candle
from tetrio.wire.rules import symbol_rules

ANSWER_S = 10.0
PAGE = 1000  # klines in one answer, Binance's most
BAD_SYMBOL = -1121
T = TypeVar("T")
_MOST = Decimal(10) ** 18


@attrs.frozen
class Source:
    """The ends of the exchange whose market is relayed."""

    rest: str
    stream: str


class _Complaint(msgspec.Struct):
    code: int
    msg: str = ""


class _Time(msgspec.Struct, rename="camel"):
    server_time: int


class _Traded(msgspec.Struct):
    id: int


Row = tuple[int, str, str, str, str, str, int, str, int, str, str, object]
"""A kline as Binance writes it: open time, prices, volume, close time, quote volume, trades, what takers bought."""
_complaint = msgspec.json.Decoder(_Complaint)


class Facts:
    """The source's REST side. LinkLost and WireError are what a later try may mend."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def rules(self, symbol: str) -> SymbolRules:
        """Rules of one symbol; ConfigError when the source does not list it."""
        return symbol_rules(await self._get("exchangeInfo", symbol=symbol), symbol)

    async def clock_offset_ms(self, clock: Clock) -> tuple[float, float]:
        """(offset, error) in ms: what to add to `clock` to get the source's."""
        sent = clock.now_ns()
        there_ms = self._read(await self._get("time"), _Time).server_time
        got = clock.now_ns()
        return there_ms + 0.5 - (sent + got) / 2e6, (got - sent) / 2e6 + 0.5

    async def last_trade_id(self, rules: SymbolRules) -> int:
        """Id of the newest public trade; 0 before any."""
        trades = self._read(await self._get("trades", symbol=rules.name, limit="1"), list[_Traded])
        return trades[-1].id if trades else 0

    async def candles(self, rules: SymbolRules, wanted: Mapping[str, int]) -> dict[str, list[Candle]]:
        """By interval the newest so many candles, oldest first, the forming one last."""
        return {interval: await self._candles(rules, interval, count) for interval, count in wanted.items()}

    async def _candles(self, rules: SymbolRules, interval: str, count: int) -> list[Candle]:
        found: list[Candle] = []
        window: dict[str, str] = {}
        while len(found) < count:
            limit = min(PAGE, count - len(found))
            body = await self._get("klines", symbol=rules.name, interval=interval, limit=str(limit), **window)
            page = [candle(row, rules) for row in self._read(body, list[Row])]
            found = page + found
            if len(page) < limit:
                break
            window = {"endTime": str(page[0].open_ms - 1)}
        return found

    async def _get(self, path: str, **query: str) -> bytes:
        target = f"/api/v3/{path}"
        try:
            answer = await self._client.get(target, params=query)
        except httpx.HTTPError as error:
            host = f"{self._client.base_url.host}:{self._client.base_url.port or ''}".rstrip(":")
            raise LinkLost(f"{host}: GET {target} failed: {reason(error)}") from error
        if answer.status_code == httpx.codes.OK:
            return answer.content
        raise self._refusal(f"{self._client.base_url.host}: GET {target}?{urlencode(query)}", answer, query)

    def _refusal(self, what: str, answer: httpx.Response, query: Mapping[str, str]) -> Exception:
        if answer.status_code in {418, 429}:
            after = answer.headers.get("retry-after", "")
            return LinkLost(
                f"{what}: HTTP {answer.status_code}, too many requests",
                retry_after_s=float(after) if after.isdecimal() else None,
            )
        if answer.status_code in {401, 403, 451}:
            return UnsafeError(f"{what}: HTTP {answer.status_code}: the exchange refuses this address")
        try:
            said = _complaint.decode(answer.content)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return LinkLost(f"{what}: HTTP {answer.status_code} without an error of Binance's form")
        if said.code == BAD_SYMBOL:
            return ConfigError(
                f"the exchange at {self._client.base_url} has no symbol {query.get('symbol', '')}: name one that it "
                "lists ([symbol] name, or --symbol)"
            )
        return LinkLost(f"{what}: {said.code} {said.msg}")

    @staticmethod
    def _read(body: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise WireError(
                f"an answer of the source that cannot be read ({error})", body[:200].decode("utf-8", "replace")
            ) from None


def candle(row: Row, rules: SymbolRules) -> Candle:
    """From Binance's array. What is off the grid of today's rules, from before they changed, is rounded down.

    WireError for what no market can have.
    """
    opened, high, low, close = (floor_units(_number(text), rules.tick_size) for text in row[1:5])
    lots, taker_lots = (floor_units(_number(text), rules.step_size) for text in (row[5], row[9]))
    quote, taker_quote = (floor_units(_number(text), rules.tick_lot) for text in (row[7], row[10]))
    return Candle(row[0], row[6], opened, high, low, close, lots, quote, row[8], taker_lots, taker_quote)


def _number(text: str) -> Decimal:
    try:
        number = decimal(text)
    except ValueError as error:
        raise WireError(f"an answer of the source that cannot be read: {error}") from None
    if not 0 <= number < _MOST:
        raise WireError(f"an answer of the source with {text[:80]!r} in it, which no market can have")
    return number


@asynccontextmanager
async def open_facts(url: str) -> AsyncIterator[Facts]:
    """A client for the source's REST side at `url`."""
    limits = httpx.Limits(max_connections=1, max_keepalive_connections=1)
    async with httpx.AsyncClient(
        base_url=url, timeout=machine_s(ANSWER_S), limits=limits, follow_redirects=False, trust_env=False
    ) as client:
        yield Facts(client)
