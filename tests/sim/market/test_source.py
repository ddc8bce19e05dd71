"""What a relayed market learns over REST, from what Binance answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx
import pytest

from tests.paths import SHARED
from tetrio.errors import ConfigError, LinkLost, TetrioError, UnsafeError, WireError
from tetrio.net.clock import NS
from tetrio.sim.market.source import Facts
from tetrio.wire.rules import symbol_rules

MESSAGES = SHARED / "binance" / "messages"
RULES = symbol_rules((MESSAGES / "exchangeInfo.ETHFDUSD.json").read_bytes(), "ETHFDUSD")
Answer = Callable[[httpx.Request], httpx.Response]


def recorded(name: str) -> httpx.Response:
    """One of Binance's answers."""
    said = json.loads((MESSAGES / f"{name}.json").read_text())["response"]
    text = said["body"] if isinstance(said["body"], str) else json.dumps(said["body"])
    return httpx.Response(said["status"], headers=said["headers"], text=text)


def facts(answer: Answer) -> Facts:
    return Facts(httpx.AsyncClient(base_url="https://exchange.example", transport=httpx.MockTransport(answer)))


class Fixed:
    """A clock that stands."""

    def __init__(self, at_ms: int) -> None:
        self._at_ms = at_ms

    def now_ns(self) -> int:
        return self._at_ms * NS // 1000


async def test_the_rules_are_those_of_exchange_info() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200, content=(MESSAGES / "exchangeInfo.ETHFDUSD.json").read_bytes())

    assert await facts(answer).rules("ETHFDUSD") == RULES
    assert asked == ["https://exchange.example/api/v3/exchangeInfo?symbol=ETHFDUSD"]
    with pytest.raises(ConfigError, match="no symbol ETHFDUSX"):
        await facts(answer).rules("ETHFDUSX")


async def test_a_kline_is_read_as_binance_writes_it() -> None:
    (candle,) = (await facts(lambda _: recorded("rest.klines")).candles(RULES, {"1m": 1}))["1m"]
    assert (candle.open_ms, candle.close_ms) == (1784626140000, 1784626199999)
    assert [RULES.price_text(each) for each in (candle.open, candle.high, candle.low, candle.close)] == [
        "3411.80000000", "3412.55000000", "3411.02000000", "3412.36000000",
    ]  # fmt: skip
    assert RULES.qty_text(candle.volume) == "48.21930000"
    assert candle.quote_volume * RULES.tick_lot == Decimal("164531.9277")
    assert candle.trades == 214


def row(open_ms: int, price: str = "1.00") -> list[Any]:
    return [open_ms, price, price, price, price, "2.0", open_ms + 59_999, "2.0", 1, "1.0", "1.0", "0"]


async def test_more_klines_than_a_page_are_asked_for_backwards() -> None:
    asked: list[dict[str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        query = dict(request.url.params)
        asked.append(query)
        newest = int(query.get("endTime", 3000 * 60_000)) // 60_000
        count = min(int(query["limit"]), newest)
        return httpx.Response(200, json=[row(at * 60_000) for at in range(newest - count + 1, newest + 1)])

    found = (await facts(answer).candles(RULES, {"1m": 1500}))["1m"]
    assert [candle.open_ms // 60_000 for candle in found] == list(range(1501, 3001))
    assert [each["limit"] for each in asked] == ["1000", "500"]


async def test_klines_from_before_the_grid_changed_are_rounded_down() -> None:
    (candle,) = (await facts(lambda _: httpx.Response(200, json=[row(0, "1.0075")])).candles(RULES, {"1m": 1}))["1m"]
    assert RULES.price_text(candle.close) == "1.00000000"


async def test_the_clocks_offset_is_told() -> None:
    at_ms = json.loads((MESSAGES / "rest.time.json").read_text())["response"]["body"]["serverTime"]
    offset, error = await facts(lambda _: recorded("rest.time")).clock_offset_ms(Fixed(at_ms - 1500))
    assert (offset, error) == (1500.5, 0.5)


@pytest.mark.parametrize(("body", "last"), [([], 0), ([{"id": 7, "price": "1"}], 7)])
async def test_the_newest_trade_is_told(body: list[Any], last: int) -> None:
    assert await facts(lambda _: httpx.Response(200, json=body)).last_trade_id(RULES) == last


@pytest.mark.parametrize(
    ("answer", "kind", "why"),
    [
        (recorded("rest.error.bad-symbol"), ConfigError, "has no symbol ETHFDUSD"),
        (recorded("rest.error.429"), LinkLost, "too many requests"),
        (recorded("rest.error.418"), LinkLost, "too many requests"),
        (recorded("rest.error.403-waf"), UnsafeError, "refuses this address"),
        (httpx.Response(503, text="<html>"), LinkLost, "HTTP 503"),
        (httpx.Response(400, json={"code": -1003, "msg": "wait"}), LinkLost, "-1003 wait"),
        (httpx.Response(200, text="<html>"), WireError, "cannot be read"),
        (httpx.Response(200, json=[row(0)[:-1]]), WireError, "cannot be read"),
        (httpx.Response(200, json=[row(0, "x")]), WireError, "not a number"),
        (httpx.Response(200, json=[row(0, "-1")]), WireError, "no market can have"),
        (httpx.Response(200, json=[row(0, "1E999999")]), WireError, "no market can have"),
    ],
)
async def test_what_is_refused_or_cannot_be_read_says_who_must_act(
    answer: httpx.Response, kind: type[TetrioError], why: str
) -> None:
    with pytest.raises(kind, match=why):
        await facts(lambda _: answer).candles(RULES, {"1m": 1})


async def test_a_source_that_asks_to_be_left_alone_is() -> None:
    with pytest.raises(LinkLost) as caught:
        await facts(lambda _: recorded("rest.error.429")).candles(RULES, {"1m": 1})
    assert caught.value.retry_after_s == 29
