"""`ccxt`: its unified methods over REST, and those of its `pro` half over the streams and the WebSocket API.

It is aimed as at Binance's testnet, where it asks for nothing of the wallet service. The first half speaks with an HMAC
key, the second with an Ed25519 one.
"""

from __future__ import annotations

import asyncio
from typing import Any

import ccxt
import ccxt.pro

from tests.clients.steps import Aim, Prices, Steps, aim, at

PAIR = "ETH/FDUSD"
QTY = 0.02


def describe(error: Exception) -> dict[str, object]:
    """This client keeps code and text within one; the class says what it made of them."""
    return {"msg": str(error), "classes": [each.__name__ for each in type(error).__mro__]}


def opened(kind: type[Any], given: Aim, **keys: str) -> Any:
    """A client of `kind` that takes the exchange for Binance's testnet."""
    client = kind({**keys, "enableRateLimit": False, "options": {"fetchMarkets": {"types": ["spot"]}}})
    rest = f"{given.rest}/api/v3"
    client.urls["test"].update({"public": rest, "private": rest, "v1": f"{given.rest}/api/v1"})
    if "ws" in client.urls["test"]:
        client.urls["test"]["ws"].update({"spot": f"{given.stream}/ws", "ws-api": {"spot": given.ws_api}})
    client.set_sandbox_mode(True)
    return client


def prices_of(book: Any) -> Prices:
    """From an order book as this client tells it."""
    return Prices.of(at(book, "bids", 0, 0), at(book, "asks", 0, 0))


class Rest:
    """The unified methods."""

    def __init__(self, steps: Steps, given: Aim) -> None:
        self.steps = steps
        self.client = opened(ccxt.binance, given, apiKey=given.hmac_key, secret=given.hmac_secret)

    def ask(self, name: str, method: str, *arguments: Any, **params: Any) -> Any:
        """One step."""
        return self.steps.run(f"rest.{name}", lambda: getattr(self.client, method)(*arguments, **params))

    def run(self) -> None:
        """Look, trade, be refused."""
        self.steps.run("rest.load_markets", self.client.load_markets, lambda markets: markets[PAIR])
        self.ask("time", "fetch_time")
        prices = prices_of(self.ask("order_book", "fetch_order_book", PAIR, 5))
        self.ask("trades", "fetch_trades", PAIR, limit=3)
        self.ask("ohlcv", "fetch_ohlcv", PAIR, "1m", limit=3)
        self.ask("ticker", "fetch_ticker", PAIR)
        self.ask("tickers", "fetch_tickers", [PAIR])
        self.ask("bids_asks", "fetch_bids_asks", [PAIR])
        self.ask("last_prices", "fetch_last_prices", [PAIR])
        self.trade(prices)
        self.refusals(prices)
        self.ask("balance", "fetch_balance")
        self.ask("orders", "fetch_orders", PAIR)
        self.ask("closed_orders", "fetch_closed_orders", PAIR)
        self.ask("my_trades", "fetch_my_trades", PAIR)

    def trade(self, prices: Prices) -> None:
        """An order's life, a stop's, and two that fill."""
        far = float(prices.far())
        placed = self.ask("place", "create_order", PAIR, "limit", "buy", QTY, far)
        self.ask("query", "fetch_order", at(placed, "id"), PAIR)
        self.ask("open_orders", "fetch_open_orders", PAIR)
        edited = self.ask("edit", "edit_order", at(placed, "id"), PAIR, "limit", "buy", QTY, float(prices.far("0.89")))
        self.ask("cancel", "cancel_order", at(edited, "id"), PAIR)
        self.ask("take", "create_order", PAIR, "market", "buy", QTY)
        self.ask("take_cost", "create_market_order_with_cost", PAIR, "sell", 50)
        stop = self.ask(
            "stop", "create_order", PAIR, "limit", "sell", QTY, float(prices.far("0.79")),
            params={"stopLossPrice": float(prices.far("0.8"))},
        )  # fmt: skip
        self.ask("cancel_stop", "cancel_order", at(stop, "id"), PAIR)
        self.ask("post_only", "create_order", PAIR, "limit", "buy", QTY, far, params={"postOnly": True})
        self.ask("cancel_all", "cancel_all_orders", PAIR)

    def refusals(self, prices: Prices) -> None:
        """What the exchange says no to."""
        far = float(prices.far())
        self.ask("no.balance", "create_order", PAIR, "limit", "buy", 1000, far)
        self.ask(
            "no.post_only",
            "create_order",
            PAIR,
            "limit",
            "buy",
            QTY,
            float(prices.through()),
            params={"postOnly": True},
        )
        self.ask("no.notional", "create_order", PAIR, "limit", "buy", 0.0001, far)
        self.ask("no.cancel", "cancel_order", "987654321", PAIR)
        self.ask("no.query", "fetch_order", "987654321", PAIR)
        self.ask("no.symbol", "publicGetDepth", {"symbol": "NOSUCH"})


class Pro:
    """What is heard, and what is sent over the WebSocket API."""

    def __init__(self, steps: Steps, given: Aim) -> None:
        self.steps = steps
        self.client = opened(ccxt.pro.binance, given, apiKey=given.ed_key, secret=given.ed_pem.read_text("ascii"))

    async def ask(self, name: str, method: str, *arguments: Any, **params: Any) -> Any:
        """One step."""
        return await self.steps.arun(f"pro.{name}", getattr(self.client, method)(*arguments, **params))

    async def run(self) -> None:
        """Watch the market, and orders while placing them."""
        await self.steps.arun("pro.load_markets", self.client.load_markets(), lambda markets: markets[PAIR])
        await asyncio.gather(
            self.ask("watch_ticker", "watch_ticker", PAIR),
            self.ask("watch_trades", "watch_trades", PAIR),
            self.ask("watch_bids_asks", "watch_bids_asks", [PAIR]),
            self.ask("watch_ohlcv", "watch_ohlcv", PAIR, "1m"),
            self.trade(),
        )
        await self.client.close()

    async def trade(self) -> None:
        """An order on the WebSocket API, heard of in the user stream."""
        prices = prices_of(await self.ask("watch_order_book", "watch_order_book", PAIR))
        far = float(prices.far())
        await self.ask("balance", "fetch_balance_ws")
        async with asyncio.TaskGroup() as group:
            orders = group.create_task(self.ask("watch_orders", "watch_orders", PAIR))
            await asyncio.sleep(0.3)  # it has no way to say that it is subscribed
            placed = await self.ask("place", "create_order_ws", PAIR, "limit", "buy", QTY, far)
            await orders
        await self.ask("query", "fetch_order_ws", at(placed, "id"), PAIR)
        await self.ask("open_orders", "fetch_open_orders_ws", PAIR)
        edited = await self.ask(
            "edit", "edit_order_ws", at(placed, "id"), PAIR, "limit", "buy", QTY, float(prices.far("0.89"))
        )
        await self.ask("cancel", "cancel_order_ws", at(edited, "id"), PAIR)
        async with asyncio.TaskGroup() as group:
            group.create_task(self.ask("watch_my_trades", "watch_my_trades", PAIR))
            group.create_task(self.ask("watch_balance", "watch_balance"))
            await asyncio.sleep(0.1)
            await self.ask("take", "create_order_ws", PAIR, "market", "buy", QTY)
        await self.ask("my_trades", "fetch_my_trades_ws", PAIR)
        await self.ask("no.balance", "create_order_ws", PAIR, "limit", "buy", 1000, far)
        await self.ask("no.cancel", "cancel_order_ws", "987654321", PAIR)


if __name__ == "__main__":
    to, told = aim(), Steps(describe, (ccxt.ExchangeError, ccxt.NetworkError))
    Rest(told, to).run()
    asyncio.run(Pro(told, to).run())
    told.end()
