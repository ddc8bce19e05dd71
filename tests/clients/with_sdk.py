"""Binance's own client, `binance-sdk-spot`: REST with either kind of key, the WebSocket API, market streams.

Its models are strict about types. What they do not accept it only warns of (REST) or says when the answer is read
(WebSocket API), so the warnings are collected and every answer is read.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal
from functools import partial
from typing import Any

from binance_common.configuration import (
    ConfigurationRestAPI,
    ConfigurationWebSocketAPI,
    ConfigurationWebSocketStreams,
)
from binance_common.errors import Error
from binance_sdk_spot.spot import Spot

from tests.clients.steps import SYMBOL, Aim, Prices, Steps, aim, at

QTY = Decimal("0.02")


class Refusal(Exception):
    """The WebSocket API's error, which this client hands out as an answer."""


def describe(error: Exception) -> dict[str, object]:
    """Code and text of either face's error."""
    if isinstance(error, Refusal):
        return {"code": error.args[0].get("code"), "msg": error.args[0].get("msg"), "data": error.args[0].get("data")}
    return {"code": getattr(error, "status_code", None), "msg": getattr(error, "error_message", str(error))}


def plain(answer: Any) -> Any:
    """What was read, as JSON knows it, in Binance's own names."""
    if not hasattr(answer, "to_dict"):
        return answer
    try:
        return answer.to_dict()
    except AttributeError:  # the client's own: it trips over lists within lists, such as klines
        return answer.model_dump(by_alias=True, exclude_none=True)


def read(response: Any) -> Any:
    """The answer of a REST call."""
    data = response.data()
    return [plain(each) for each in data] if isinstance(data, list) else plain(data)


class Rest:
    """The REST side, once for each kind of key."""

    def __init__(self, steps: Steps, given: Aim, prefix: str, **key: str) -> None:
        self.steps, self.prefix = steps, prefix
        self.api = Spot(config_rest_api=ConfigurationRestAPI(base_path=given.rest, timeout=5000, **key)).rest_api

    def ask(self, name: str, method: str, **params: Any) -> Any:
        """One step: the method called, its answer read."""
        call = getattr(self.api, method)
        return self.steps.run(f"{self.prefix}.{name}", lambda: read(call(**params)))

    def run(self) -> None:
        """Look, trade, be refused."""
        self.look()
        top = self.ask("ticker_book", "ticker_book_ticker", symbol=SYMBOL)
        prices = Prices.of(at(top, "bidPrice"), at(top, "askPrice"))
        self.trade(prices)
        self.lists(prices)
        self.refusals(prices)
        self.account()

    def look(self) -> None:
        """What anybody may ask."""
        self.ask("ping", "ping")
        self.ask("time", "time")
        self.ask("exchange_info", "exchange_info", symbol=SYMBOL)
        self.ask("depth", "depth", symbol=SYMBOL, limit=5)
        self.ask("trades", "get_trades", symbol=SYMBOL, limit=3)
        self.ask("historical_trades", "historical_trades", symbol=SYMBOL, limit=3)
        self.ask("agg_trades", "agg_trades", symbol=SYMBOL, limit=3)
        self.ask("klines", "klines", symbol=SYMBOL, interval="1m", limit=3)
        self.ask("ui_klines", "ui_klines", symbol=SYMBOL, interval="1m", limit=3)
        self.ask("avg_price", "avg_price", symbol=SYMBOL)
        self.ask("ticker_24hr", "ticker24hr", symbol=SYMBOL)
        self.ask("ticker_24hr_mini", "ticker24hr", symbols=[SYMBOL], type="MINI")
        self.ask("ticker_day", "ticker_trading_day", symbol=SYMBOL)
        self.ask("ticker_window", "ticker", symbol=SYMBOL, window_size="4h")
        self.ask("ticker_price", "ticker_price", symbol=SYMBOL)

    def trade(self, prices: Prices) -> None:
        """An order's life, and one that fills."""
        common = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "time_in_force": "GTC", "quantity": QTY}
        self.ask("test", "order_test", **common, price=prices.far())
        placed = self.ask("place", "new_order", **common, price=prices.far(), new_client_order_id=f"{self.prefix}-1")
        order_id = at(placed, "orderId")
        self.ask("query", "get_order", symbol=SYMBOL, order_id=order_id)
        self.ask("amend", "order_amend_keep_priority", symbol=SYMBOL, order_id=order_id, new_qty=Decimal("0.01"))
        self.ask("amendments", "order_amendments", symbol=SYMBOL, order_id=order_id)
        replaced = self.ask(
            "cancel_replace", "order_cancel_replace", cancel_replace_mode="STOP_ON_FAILURE", cancel_order_id=order_id,
            **common, price=prices.far("0.89"),
        )  # fmt: skip
        self.ask("open_orders", "get_open_orders", symbol=SYMBOL)
        self.ask("cancel", "delete_order", symbol=SYMBOL, order_id=at(replaced, "newOrderResponse", "orderId"))
        self.ask("take", "new_order", symbol=SYMBOL, side="BUY", type="MARKET", quantity=QTY)
        self.ask("take_quote", "new_order", symbol=SYMBOL, side="SELL", type="MARKET", quote_order_qty=Decimal(50))
        again = partial(self.api.new_order, **common, price=prices.far())
        self.steps.run(
            f"{self.prefix}.limits", again, lambda response: [each.model_dump() for each in response.rate_limits]
        )
        self.ask("cancel_all", "delete_open_orders", symbol=SYMBOL)

    def lists(self, prices: Prices) -> None:
        """An order list from beginning to end."""
        placed = self.ask(
            "oco", "order_list_oco", symbol=SYMBOL, side="SELL", quantity=QTY, above_type="LIMIT_MAKER",
            above_price=prices.far("1.2"), below_type="STOP_LOSS", below_stop_price=prices.far("0.8"),
        )  # fmt: skip
        list_id = at(placed, "orderListId")
        self.ask("list", "get_order_list", order_list_id=list_id)
        self.ask("open_lists", "open_order_list")
        self.ask("cancel_list", "delete_order_list", symbol=SYMBOL, order_list_id=list_id)
        self.ask("all_lists", "all_order_list")

    def refusals(self, prices: Prices) -> None:
        """What the exchange says no to."""
        common = {"symbol": SYMBOL, "side": "BUY", "quantity": QTY}
        self.ask(
            "no.balance",
            "new_order",
            **{**common, "quantity": 1000},
            type="LIMIT",
            time_in_force="GTC",
            price=prices.far(),
        )
        self.ask("no.symbol", "new_order", **{**common, "symbol": "NOSUCH"}, type="MARKET")
        self.ask("no.post_only", "new_order", **common, type="LIMIT_MAKER", price=prices.through())
        self.ask("no.filter", "new_order", **common, type="LIMIT", time_in_force="GTC", price=Decimal("0.001"))
        self.ask("no.cancel", "delete_order", symbol=SYMBOL, order_id=987654321)
        self.ask("no.query", "get_order", symbol=SYMBOL, order_id=987654321)
        self.ask("no.parameter", "new_order", symbol=SYMBOL, side="BUY", type="LIMIT", quantity=QTY, price=prices.far())

    def account(self) -> None:
        """What the account's owner may ask."""
        self.ask("account", "get_account", omit_zero_balances=True)
        self.ask("commission", "account_commission", symbol=SYMBOL)
        self.ask("order_counts", "rate_limit_order")
        self.ask("all_orders", "all_orders", symbol=SYMBOL)
        self.ask("my_trades", "my_trades", symbol=SYMBOL)
        self.ask("my_filters", "my_filters", symbol=SYMBOL)
        self.ask("my_prevented", "my_prevented_matches", symbol=SYMBOL, order_id=1)
        self.ask("my_allocations", "my_allocations", symbol=SYMBOL)


class WsApi:
    """The WebSocket API on a session."""

    def __init__(self, steps: Steps, given: Aim) -> None:
        self.steps = steps
        self.api = Spot(
            config_ws_api=ConfigurationWebSocketAPI(
                api_key=given.ed_key, private_key=str(given.ed_pem), stream_url=given.ws_api
            )
        ).websocket_api
        self.events: asyncio.Queue[dict[str, Any]] = asyncio.Queue(1000)

    async def ask(self, name: str, method: str, **params: Any) -> Any:
        """One step; the result of the answer."""
        return await self.steps.arun(f"ws.{name}", self._ask(method, params))

    async def _ask(self, method: str, params: dict[str, Any]) -> Any:
        response = await getattr(self.api, method)(**params)
        data = plain(response.data())
        if data.get("error"):
            raise Refusal(data["error"])
        result = data.get("result")
        return {"result": result, "rateLimits": [each.rateLimitType for each in response.rate_limits]}

    async def run(self) -> None:
        """Log on, look, trade, be refused, log out."""
        await self.steps.arun("ws.connect", self.api.create_connection(), lambda _: None)
        await self.ask("logon", "session_logon")
        await self.ask("status", "session_status")
        await self.steps.arun("ws.subscribe", self.subscribe())
        await self.look()
        top = at(await self.ask("ticker_book", "ticker_book", symbol=SYMBOL), "result")
        prices = Prices.of(at(top, "bidPrice"), at(top, "askPrice"))
        await self.trade(prices)
        await self.lists(prices)
        await self.refusals(prices)
        await self.account()
        await self.ask("logout", "session_logout")
        await self.api.close_connection(close_session=True)

    async def subscribe(self) -> int:
        """Hear of the account; the subscription's id."""
        answer = await self.api.user_data_stream_subscribe()
        answer.stream.on("message", self._hear)
        number: int = answer.response.data().result.subscription_id
        return number

    def _hear(self, event: Any) -> None:
        """The client keeps `e` as the class of the model."""
        self.events.put_nowait({**plain(event), "model": type(event.actual_instance).__name__})

    async def heard(self, model: str, members: dict[str, object]) -> dict[str, Any]:
        """The next event of a model with these members; those before it are gone."""
        while True:
            event = await self.events.get()
            if members.items() <= event.items() and event["model"] == model:
                return event

    async def look(self) -> None:
        """What anybody may ask."""
        await self.ask("ping", "ping")
        await self.ask("time", "time")
        await self.ask("exchange_info", "exchange_info", symbols=[SYMBOL])
        await self.ask("depth", "depth", symbol=SYMBOL, limit=5)
        await self.ask("trades", "trades_recent", symbol=SYMBOL, limit=3)
        await self.ask("agg_trades", "trades_aggregate", symbol=SYMBOL, limit=3)
        await self.ask("klines", "klines", symbol=SYMBOL, interval="1m", limit=3)
        await self.ask("avg_price", "avg_price", symbol=SYMBOL)
        await self.ask("ticker_24hr", "ticker24hr", symbol=SYMBOL)
        await self.ask("ticker_day", "ticker_trading_day", symbol=SYMBOL)
        await self.ask("ticker_window", "ticker", symbol=SYMBOL, window_size="4h")
        await self.ask("ticker_price", "ticker_price", symbol=SYMBOL)

    async def trade(self, prices: Prices) -> None:
        """An order's life and one that fills, and what the user stream says of them."""
        common = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT_MAKER", "quantity": QTY}
        placed = await self.ask("place", "order_place", **common, price=prices.far(), new_order_resp_type="RESULT")
        order_id = at(placed, "result", "orderId")
        await self.event("event.new", "ExecutionReport", x="NEW", i=order_id)
        await self.event("event.position", "OutboundAccountPosition")
        await self.ask("query", "order_status", symbol=SYMBOL, order_id=order_id)
        await self.ask("amend", "order_amend_keep_priority", symbol=SYMBOL, order_id=order_id, new_qty=Decimal("0.01"))
        await self.event("event.replaced", "ExecutionReport", x="REPLACED", i=order_id)
        replaced = await self.ask(
            "cancel_replace", "order_cancel_replace", cancel_replace_mode="STOP_ON_FAILURE", cancel_order_id=order_id,
            **common, price=prices.far("0.89"), new_order_resp_type="RESULT",
        )  # fmt: skip
        new_id = at(replaced, "result", "newOrderResponse", "orderId")
        await self.ask("open_orders", "open_orders_status", symbol=SYMBOL)
        await self.ask("cancel", "order_cancel", symbol=SYMBOL, order_id=new_id)
        await self.event("event.canceled", "ExecutionReport", x="CANCELED", i=new_id)
        taken = await self.ask("take", "order_place", symbol=SYMBOL, side="BUY", type="MARKET", quantity=QTY)
        await self.event("event.fill", "ExecutionReport", x="TRADE", i=at(taken, "result", "orderId"))
        await self.ask("test", "order_test", **common, price=prices.far())
        await self.ask("place_again", "order_place", **common, price=prices.far())
        await self.ask("cancel_all", "open_orders_cancel_all", symbol=SYMBOL)

    async def event(self, name: str, model: str, **fits: object) -> None:
        """A step: an event whose members are as given is heard."""
        await self.steps.arun(f"ws.{name}", self.heard(model, fits))

    async def lists(self, prices: Prices) -> None:
        """An order list from beginning to end."""
        placed = await self.ask(
            "oco", "order_list_place_oco", symbol=SYMBOL, side="SELL", quantity=QTY, above_type="LIMIT_MAKER",
            above_price=prices.far("1.2"), below_type="STOP_LOSS", below_stop_price=prices.far("0.8"),
        )  # fmt: skip
        list_id = at(placed, "result", "orderListId")
        await self.event("event.list", "ListStatus", g=list_id)
        await self.ask("list", "order_list_status", order_list_id=list_id)
        await self.ask("cancel_list", "order_list_cancel", symbol=SYMBOL, order_list_id=list_id)
        await self.event("event.list_done", "ListStatus", g=list_id, l="ALL_DONE")

    async def refusals(self, prices: Prices) -> None:
        """What the exchange says no to."""
        common = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT_MAKER", "quantity": QTY}
        await self.ask("no.balance", "order_place", **{**common, "quantity": 1000}, price=prices.far())
        await self.ask("no.symbol", "order_place", **{**common, "symbol": "NOSUCH"}, price=prices.far())
        await self.ask("no.post_only", "order_place", **common, price=prices.through())
        await self.ask("no.cancel", "order_cancel", symbol=SYMBOL, order_id=987654321)
        await self.ask("no.query", "order_status", symbol=SYMBOL, order_id=987654321)
        await self.ask(
            "no.cancel_replace", "order_cancel_replace", cancel_replace_mode="STOP_ON_FAILURE",
            cancel_order_id=987654321, **common, price=prices.far(),
        )  # fmt: skip

    async def account(self) -> None:
        """What the account's owner may ask."""
        await self.ask("account", "account_status", omit_zero_balances=True)
        await self.ask("commission", "account_commission", symbol=SYMBOL)
        await self.ask("order_counts", "account_rate_limits_orders")
        await self.ask("all_orders", "all_orders", symbol=SYMBOL)
        await self.ask("my_trades", "my_trades", symbol=SYMBOL)


def keep_first(future: asyncio.Future[Any], message: Any) -> None:
    """The first of a stream's messages; the others are let go."""
    if not future.done():
        future.set_result(message)


async def streams(steps: Steps, given: Aim) -> None:
    """One message of each stream, all of them on one connection."""
    spot = Spot(config_ws_streams=ConfigurationWebSocketStreams(stream_url=given.stream))
    connection = spot.websocket_streams
    await steps.arun("stream.connect", connection.create_connection(), lambda _: None)
    wanted = {
        "agg_trade": connection.agg_trade(symbol=SYMBOL),
        "trade": connection.trade(symbol=SYMBOL),
        "kline": connection.kline(symbol=SYMBOL, interval="1m"),
        "book_ticker": connection.book_ticker(symbol=SYMBOL),
        "ticker": connection.ticker(symbol=SYMBOL),
        "mini_ticker": connection.mini_ticker(symbol=SYMBOL),
        "window_ticker": connection.rolling_window_ticker(symbol=SYMBOL, window_size="1h"),
        "avg_price": connection.avg_price(symbol=SYMBOL),
        "depth": connection.diff_book_depth(symbol=SYMBOL, update_speed="100ms"),
        "depth_5": connection.partial_book_depth(symbol=SYMBOL, levels="5", update_speed="100ms"),
    }
    first: dict[str, asyncio.Future[Any]] = {}
    for name, subscribing in wanted.items():
        handle = await subscribing
        first[name] = asyncio.get_running_loop().create_future()
        handle.on("message", partial(keep_first, first[name]))
    async with asyncio.TaskGroup() as group:
        for name, future in first.items():
            group.create_task(steps.arun(f"stream.{name}", future, plain))
    await steps.arun("stream.list", connection.list_subscribe())
    await connection.close_connection(close_session=True)


async def main(steps: Steps, given: Aim) -> None:
    """Everything of it that is asynchronous."""
    async with asyncio.TaskGroup() as group:
        group.create_task(WsApi(steps, given).run())
        group.create_task(streams(steps, given))


if __name__ == "__main__":
    to, told = aim(), Steps(describe, (Error, Refusal))
    told.listen_to_log("declared types", "Failed to parse", "Error in callback")
    Rest(told, to, "rest", api_key=to.ed_key, private_key=str(to.ed_pem)).run()
    Rest(told, to, "hmac", api_key=to.hmac_key, api_secret=to.hmac_secret).account()
    asyncio.run(main(told, to))
    told.end()
