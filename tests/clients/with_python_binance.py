"""`python-binance`: the client in step with its calls, the asynchronous one, its sockets and its order book.

The first speaks with an HMAC key, the second with an Ed25519 one.
"""

from __future__ import annotations

import asyncio
from typing import Any

from binance import AsyncClient, BinanceSocketManager, Client, DepthCacheManager
from binance.exceptions import BinanceAPIException, BinanceOrderException, BinanceRequestException

from tests.clients.steps import SYMBOL, Aim, Prices, Steps, aim, at

QTY = "0.02"
ORDER = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": QTY}


def describe(error: Exception) -> dict[str, object]:
    """Code, text and HTTP status as this client tells them."""
    names = {"code": "code", "msg": "message", "status": "status_code"}
    return {ours: getattr(error, theirs, None) for ours, theirs in names.items()}


def aimed(kind: type[Any], given: Aim) -> type[Any]:
    """A class of the client's whose addresses are the exchange's."""
    return type(kind.__name__, (kind,), {
        "API_URL": f"{given.rest}/api", "MARGIN_API_URL": f"{given.rest}/sapi", "WS_API_URL": given.ws_api,
    })  # fmt: skip


class InStep:
    """The client whose calls return with the answer."""

    def __init__(self, steps: Steps, given: Aim) -> None:
        self.steps, self.given = steps, given
        self.client: Any = None

    def ask(self, name: str, method: str, **params: Any) -> Any:
        """One step."""
        return self.steps.run(f"sync.{name}", lambda: getattr(self.client, method)(**params))

    def run(self) -> None:
        """Look, trade, be refused."""
        kind = aimed(Client, self.given)
        self.client = self.steps.run(
            "sync.start", lambda: kind(self.given.hmac_key, self.given.hmac_secret), lambda client: None
        )
        self.look()
        top = self.ask("book_ticker", "get_orderbook_ticker", symbol=SYMBOL)
        prices = Prices.of(at(top, "bidPrice"), at(top, "askPrice"))
        self.trade(prices)
        self.lists(prices)
        self.refusals(prices)
        self.account()

    def look(self) -> None:
        """What anybody may ask."""
        self.ask("ping", "ping")
        self.ask("time", "get_server_time")
        self.ask("exchange_info", "get_exchange_info")
        self.ask("symbol_info", "get_symbol_info", symbol=SYMBOL)
        self.ask("depth", "get_order_book", symbol=SYMBOL, limit=5)
        self.ask("trades", "get_recent_trades", symbol=SYMBOL, limit=3)
        self.ask("historical_trades", "get_historical_trades", symbol=SYMBOL, limit=3)
        self.ask("agg_trades", "get_aggregate_trades", symbol=SYMBOL, limit=3)
        self.ask("klines", "get_klines", symbol=SYMBOL, interval="1m", limit=3)
        self.ask(
            "historical_klines", "get_historical_klines", symbol=SYMBOL, interval="1m", start_str="10 minutes ago UTC"
        )
        self.ask("avg_price", "get_avg_price", symbol=SYMBOL)
        self.ask("ticker", "get_ticker", symbol=SYMBOL)
        self.ask("all_tickers", "get_all_tickers")
        self.ask("window_ticker", "get_symbol_ticker_window", symbol=SYMBOL, windowSize="4h")

    def trade(self, prices: Prices) -> None:
        """An order's life, and two that fill."""
        self.ask("test", "create_test_order", **ORDER, price=str(prices.far()))
        placed = self.ask("place", "order_limit_buy", symbol=SYMBOL, quantity=QTY, price=str(prices.far()))
        order_id = at(placed, "orderId")
        self.ask("query", "get_order", symbol=SYMBOL, orderId=order_id)
        self.ask("open_orders", "get_open_orders", symbol=SYMBOL)
        replaced = self.ask(
            "cancel_replace", "cancel_replace_order", cancelReplaceMode="STOP_ON_FAILURE", cancelOrderId=order_id,
            **ORDER, price=str(prices.far("0.89")),
        )  # fmt: skip
        self.ask("cancel", "cancel_order", symbol=SYMBOL, orderId=at(replaced, "newOrderResponse", "orderId"))
        self.ask("take", "order_market_buy", symbol=SYMBOL, quantity=QTY)
        self.ask("take_quote", "order_market_sell", symbol=SYMBOL, quoteOrderQty="50")
        self.ask("place_again", "create_order", **ORDER, price=str(prices.far()))
        self.ask("cancel_all", "cancel_all_open_orders", symbol=SYMBOL)

    def lists(self, prices: Prices) -> None:
        """An order list from beginning to end."""
        placed = self.ask(
            "oco", "create_oco_order", symbol=SYMBOL, side="SELL", quantity=QTY, aboveType="LIMIT_MAKER",
            abovePrice=str(prices.far("1.2")), belowType="STOP_LOSS_LIMIT", belowStopPrice=str(prices.far("0.8")),
            belowPrice=str(prices.far("0.79")), belowTimeInForce="GTC",
        )  # fmt: skip
        self.ask("open_lists", "get_open_oco_orders")
        self.ask("cancel_list", "v3_delete_order_list", symbol=SYMBOL, orderListId=at(placed, "orderListId"))

    def refusals(self, prices: Prices) -> None:
        """What the exchange says no to."""
        self.ask("no.balance", "create_order", **{**ORDER, "quantity": "1000"}, price=str(prices.far()))
        self.ask("no.symbol", "create_order", **{**ORDER, "symbol": "NOSUCH"}, price="1")
        self.ask(
            "no.post_only",
            "create_order",
            symbol=SYMBOL,
            side="BUY",
            type="LIMIT_MAKER",
            quantity=QTY,
            price=str(prices.through()),
        )
        self.ask("no.lot", "create_order", **{**ORDER, "quantity": "0.00015"}, price=str(prices.far()))
        self.ask("no.cancel", "cancel_order", symbol=SYMBOL, orderId=987654321)
        self.ask("no.query", "get_order", symbol=SYMBOL, orderId=987654321)
        self.client.API_SECRET = "wrong"
        self.ask("no.signature", "get_account")
        self.client.API_SECRET = self.given.hmac_secret

    def account(self) -> None:
        """What the account's owner may ask."""
        self.ask("account", "get_account")
        self.ask("balance", "get_asset_balance", asset="ETH")
        self.ask("all_orders", "get_all_orders", symbol=SYMBOL)
        self.ask("my_trades", "get_my_trades", symbol=SYMBOL)
        self.ask("order_counts", "get_current_order_count")


class Async:
    """The asynchronous client with its sockets and its WebSocket API."""

    def __init__(self, steps: Steps, given: Aim) -> None:
        self.steps, self.given = steps, given
        self.client: Any = None

    async def ask(self, name: str, method: str, **params: Any) -> Any:
        """One step."""
        return await self.steps.arun(f"async.{name}", getattr(self.client, method)(**params))

    async def run(self) -> None:
        """Hear of orders while placing them, and of the market."""
        kind = aimed(AsyncClient, self.given)
        self.client = await self.steps.arun(
            "async.start", kind.create(self.given.ed_key, private_key=self.given.ed_pem), lambda client: None
        )
        manager = BinanceSocketManager(self.client)
        manager.STREAM_URL = f"{self.given.stream}/"
        await asyncio.gather(self.trade(manager), self.sockets(manager), self.book())
        await self.client.close_connection()

    async def trade(self, manager: Any) -> None:
        """The same order on both faces, heard of in the user stream."""
        top = await self.ask("book_ticker", "get_orderbook_ticker", symbol=SYMBOL)
        prices = Prices.of(at(top, "bidPrice"), at(top, "askPrice"))
        socket = manager.user_socket()
        if await self.steps.arun("async.user.open", socket.__aenter__(), lambda opened: None) is None:
            return
        placed = await self.ask("place", "create_order", **ORDER, price=str(prices.far()))
        await self.event(socket, "user.new", e="executionReport", x="NEW", i=at(placed, "orderId"))
        await self.ask("cancel", "cancel_order", symbol=SYMBOL, orderId=at(placed, "orderId"))
        await self.event(socket, "user.canceled", e="executionReport", x="CANCELED", i=at(placed, "orderId"))
        taken = await self.ask("take", "order_market_buy", symbol=SYMBOL, quantity=QTY)
        await self.event(socket, "user.fill", e="executionReport", x="TRADE", i=at(taken, "orderId"))
        await self.event(socket, "user.position", e="outboundAccountPosition")
        await self.on_ws_api(socket, prices)
        await self.steps.arun("async.user.close", socket.__aexit__(None, None, None))

    async def on_ws_api(self, socket: Any, prices: Prices) -> None:
        """What this client sends over the WebSocket API."""
        await self.ask("ws.ping", "ws_ping")
        await self.ask("ws.exchange_info", "ws_get_exchange_info", symbol=SYMBOL)
        await self.ask("ws.depth", "ws_get_order_book", symbol=SYMBOL, limit=5)
        await self.ask("ws.klines", "ws_get_klines", symbol=SYMBOL, interval="1m", limit=2)
        await self.ask("ws.ticker", "ws_get_ticker", symbol=SYMBOL)
        placed = await self.ask("ws.place", "ws_create_order", **ORDER, price=str(prices.far()))
        await self.event(socket, "user.ws_new", e="executionReport", x="NEW", i=at(placed, "orderId"))
        await self.ask("ws.query", "ws_get_order", symbol=SYMBOL, orderId=at(placed, "orderId"))
        await self.ask("ws.cancel", "ws_cancel_order", symbol=SYMBOL, orderId=at(placed, "orderId"))
        await self.ask("ws.account", "ws_get_account")
        await self.ask("ws.my_trades", "ws_get_my_trades", symbol=SYMBOL)
        await self.ask("ws.no.cancel", "ws_cancel_order", symbol=SYMBOL, orderId=987654321)

    async def event(self, socket: Any, name: str, **members: object) -> None:
        """A step: an event with these members is heard."""

        async def heard() -> Any:
            while True:
                event = await socket.recv()
                if members.items() <= event.items():
                    return event

        await self.steps.arun(f"async.{name}", heard())

    async def sockets(self, manager: Any) -> None:
        """One message of each."""
        sockets = {
            "trade": manager.trade_socket(SYMBOL),
            "agg_trade": manager.aggtrade_socket(SYMBOL),
            "kline": manager.kline_socket(SYMBOL, "1m"),
            "ticker": manager.symbol_ticker_socket(SYMBOL),
            "mini_ticker": manager.symbol_miniticker_socket(SYMBOL),
            "book_ticker": manager.symbol_book_ticker_socket(SYMBOL),
            "depth_10": manager.depth_socket(SYMBOL, depth="10", interval=100),
            "depth": manager.depth_socket(SYMBOL, interval=100),
            "multiplex": manager.multiplex_socket([f"{SYMBOL.lower()}@bookTicker", f"{SYMBOL.lower()}@trade"]),
        }

        async def first(name: str, socket: Any) -> None:
            async def message() -> Any:
                async with socket as opened:
                    return await opened.recv()

            await self.steps.arun(f"async.socket.{name}", message())

        await asyncio.gather(*(first(name, socket) for name, socket in sockets.items()))

    async def book(self) -> None:
        """A local order book: a snapshot and the changes after it."""
        manager = DepthCacheManager(self.client, SYMBOL, ws_interval=100)

        async def ready() -> Any:
            manager._bm.STREAM_URL = f"{self.given.stream}/"
            async with manager as opened:
                for _ in range(3):
                    cache = await opened.recv()
                return {"bids": cache.get_bids()[:3], "asks": cache.get_asks()[:3]}

        await self.steps.arun("async.local_book", ready())


if __name__ == "__main__":
    to, told = aim(), Steps(describe, (BinanceAPIException, BinanceOrderException, BinanceRequestException))
    told.listen_to_log("error", "Error", "unknown")
    InStep(told, to).run()
    asyncio.run(Async(told, to).run())
    told.end()
