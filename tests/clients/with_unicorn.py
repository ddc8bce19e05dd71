"""`unicorn-binance-websocket-api`, whose connections live on threads of their own, and `unicorn-binance-rest-api`.

Both speak with an HMAC key, user data included. What this version sends wrongly is left out: over REST it asks for
trades at /api/v1, which is no more; over the WebSocket API it misspells newClientOrderId of a cancel-replace, and sends
no timestamp when it asks for order counts.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from unicorn_binance_rest_api import BinanceAPIException, BinanceRestApiManager
from unicorn_binance_websocket_api import BinanceWebSocketApiManager

from tests.clients.steps import SYMBOL, WITHIN_S, Aim, Prices, Steps, aim, at

QTY = "0.02"
ORDER = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": QTY}


class Refusal(Exception):
    """The WebSocket API's error, which this client hands out as an answer."""


def describe(error: Exception) -> dict[str, object]:
    """Code and text."""
    if isinstance(error, Refusal):
        return dict(error.args[0])
    return {"code": getattr(error, "code", None), "msg": getattr(error, "message", str(error))}


class Rest:
    """The REST half."""

    def __init__(self, steps: Steps, given: Aim) -> None:
        self.steps = steps
        kind = type("Here", (BinanceRestApiManager,), {"API_URL": f"{given.rest}/api"})
        self.client: Any = steps.run(
            "rest.start",
            lambda: kind(given.hmac_key, given.hmac_secret, tld="com", warn_on_update=False, disable_colorama=True),
            lambda client: None,
        )

    def ask(self, name: str, method: str, **params: Any) -> Any:
        """One step."""
        return self.steps.run(f"rest.{name}", lambda: getattr(self.client, method)(**params))

    def run(self) -> Prices:
        """Look, trade, be refused; the prices of the moment."""
        self.ask("ping", "ping")
        self.ask("symbol_info", "get_symbol_info", symbol=SYMBOL)
        self.ask("depth", "get_order_book", symbol=SYMBOL, limit=5)
        self.ask("agg_trades", "get_aggregate_trades", symbol=SYMBOL, limit=3)
        self.ask("klines", "get_klines", symbol=SYMBOL, interval="1m", limit=3)
        self.ask("ticker", "get_ticker", symbol=SYMBOL)
        top = self.ask("book_ticker", "get_orderbook_ticker", symbol=SYMBOL)
        prices = Prices.of(at(top, "bidPrice"), at(top, "askPrice"))
        self.ask("test", "create_test_order", **ORDER, price=str(prices.far()))
        placed = self.ask("place", "create_order", **ORDER, price=str(prices.far()))
        self.ask("query", "get_order", symbol=SYMBOL, orderId=at(placed, "orderId"))
        self.ask("open_orders", "get_open_orders", symbol=SYMBOL)
        self.ask("cancel", "cancel_order", symbol=SYMBOL, orderId=at(placed, "orderId"))
        self.ask("take", "order_market_buy", symbol=SYMBOL, quantity=QTY)
        self.ask("place_again", "order_limit_buy", symbol=SYMBOL, quantity=QTY, price=str(prices.far()))
        self.ask("cancel_all", "cancel_all_open_orders", symbol=SYMBOL)
        self.ask("account", "get_account")
        self.ask("my_trades", "get_my_trades", symbol=SYMBOL)
        self.ask("used_weight", "get_used_weight")
        self.ask("no.balance", "create_order", **{**ORDER, "quantity": "1000"}, price=str(prices.far()))
        self.ask("no.symbol", "create_order", **{**ORDER, "symbol": "NOSUCH"}, price="1")
        self.ask("no.cancel", "cancel_order", symbol=SYMBOL, orderId=987654321)
        return prices


class Sockets:
    """The WebSocket half: requests, user data and market streams, each a connection."""

    def __init__(self, steps: Steps, given: Aim) -> None:
        self.steps = steps
        self.numbers = itertools.count(1)
        self.key = {"api_key": given.hmac_key, "api_secret": given.hmac_secret}
        self.manager = BinanceWebSocketApiManager(
            exchange="binance.com-testnet", websocket_base_uri=f"{given.stream}/", websocket_api_base_uri=given.ws_api,
            warn_on_update=False, disable_colorama=True, output_default="dict",
        )  # fmt: skip

    def run(self, prices: Prices) -> None:
        """Hear of the account while trading, then of the market."""
        user = self.manager.create_stream("arr", "!userData", stream_buffer_name="user", **self.key)
        market = self.manager.create_stream(
            ["trade", "aggTrade", "kline_1m", "bookTicker", "ticker", "miniTicker", "depth@100ms", "depth5@100ms"],
            [SYMBOL.lower()], stream_buffer_name="market",
        )  # fmt: skip
        self.trading = self.manager.create_stream(api=True, stream_buffer_name="api", **self.key)
        for name, stream in (("user", user), ("market", market), ("api", self.trading)):
            self.steps.run(f"{name}.running", partial(self.until, partial(self.running, stream)))
        self.trade(prices)
        self.hear_market()
        self.manager.stop_manager()

    def running(self, stream: str) -> bool:
        """Whether the client says that a stream is connected."""
        info = self.manager.get_stream_info(stream)
        return bool(info) and info["status"] == "running"

    def until(self, what: Callable[[], Any]) -> Any:
        """What `what` returns once it is something."""
        deadline = time.monotonic() + WITHIN_S
        while not (got := what()):
            if time.monotonic() > deadline:
                raise TimeoutError("nothing came")
            time.sleep(0.01)
        return got

    def ask(self, name: str, method: str, **params: Any) -> Any:
        """One step; the result of the answer."""
        return self.steps.run(f"ws.{name}", lambda: self._ask(method, params))

    def _ask(self, method: str, params: dict[str, Any]) -> Any:
        """The answer is taken from what the connection received: an answer as quick as ours would be there before the
        client's own way, a callback, is.
        """
        asked = f"{method}-{next(self.numbers)}"

        def answered() -> Any:
            frame = self.manager.pop_stream_data_from_stream_buffer("api")
            return frame if frame and frame.get("id") == asked else None

        getattr(self.manager.api.spot, method)(stream_id=self.trading, request_id=asked, **params)
        answer = self.until(answered)
        if answer.get("error"):
            raise Refusal(answer["error"])
        return answer["result"]

    def trade(self, prices: Prices) -> None:
        """An order's life and one that fills."""
        limit = {"symbol": SYMBOL, "side": "BUY", "order_type": "LIMIT", "time_in_force": "GTC", "quantity": float(QTY)}
        self.ask("ping", "ping")
        self.ask("time", "get_server_time")
        self.ask("exchange_info", "get_exchange_info", symbols=[SYMBOL])
        self.ask("depth", "get_order_book", symbol=SYMBOL, limit=5)
        self.ask("klines", "get_klines", symbol=SYMBOL, interval="1m", limit=2)
        self.ask("test", "create_test_order", **limit, price=float(prices.far()))
        placed = self.ask("place", "create_order", **limit, price=float(prices.far()))
        self.event("user.new", e="executionReport", x="NEW", i=at(placed, "orderId"))
        self.ask("query", "get_order", symbol=SYMBOL, order_id=at(placed, "orderId"))
        self.ask("open_orders", "get_open_orders", symbol=SYMBOL)
        self.ask("cancel", "cancel_order", symbol=SYMBOL, order_id=at(placed, "orderId"))
        self.event("user.canceled", e="executionReport", x="CANCELED", i=at(placed, "orderId"))
        taken = self.ask("take", "create_order", symbol=SYMBOL, side="BUY", order_type="MARKET", quantity=float(QTY))
        self.event("user.fill", e="executionReport", x="TRADE", i=at(taken, "orderId"))
        self.event("user.position", e="outboundAccountPosition")
        self.ask("account", "get_account_status")
        self.ask("no.balance", "create_order", **{**limit, "quantity": 1000.0}, price=float(prices.far()))
        self.ask("no.cancel", "cancel_order", symbol=SYMBOL, order_id=987654321)

    def event(self, name: str, **members: object) -> None:
        """A step: an event of the account with these members is heard."""

        def heard() -> Any:
            frame = self.manager.pop_stream_data_from_stream_buffer("user")
            event = frame and frame.get("event", frame)
            return event if event and members.items() <= event.items() else None

        self.steps.run(name, lambda: self.until(heard))

    def hear_market(self) -> None:
        """One message of each stream."""
        first: dict[str, Any] = {}
        wanted = ("trade", "aggTrade", "kline_1m", "bookTicker", "ticker", "miniTicker", "depth@100ms", "depth5@100ms")

        def heard(channel: str) -> Any:
            frame = self.manager.pop_stream_data_from_stream_buffer("market")
            if frame and "stream" in frame:
                first.setdefault(frame["stream"].partition("@")[2], frame["data"])
            return first.get(channel)

        for channel in wanted:
            self.steps.run(f"stream.{channel}", partial(self.until, partial(heard, channel)))


if __name__ == "__main__":
    to, told = aim(), Steps(describe, (BinanceAPIException, Refusal))
    Sockets(told, to).run(Rest(told, to).run())
    told.end()
