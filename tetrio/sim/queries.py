"""What anyone may ask: time, symbol rules, prices, klines. One function a method, for WebSocket API and REST alike.

Each takes the venue and the checked parameters and gives the result in Binance's shape, times in milliseconds. Weights
are told beside them. Nothing here changes anything.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_DOWN, Decimal

import attrs

from tetrio.sim.candles import INTERVALS
from tetrio.sim.checks import Params, Refused, check_symbol, illegal
from tetrio.sim.events import Top
from tetrio.sim.venue import Venue
from tetrio.wire.rules import exchange_info

STATUSES = ("TRADING", "HALT", "BREAK")
_TIME_ZONE = r"^[+-]?([0-9]{1,2})(:[0-9]{2})?$"


@attrs.frozen
class Query:
    """One public method."""

    run: Callable[[Venue, Params], object]
    weight: Callable[[Params], int]


def ping(venue: Venue, params: Params) -> object:
    """`{}`."""
    params.done()
    return {}


def time(venue: Venue, params: Params) -> object:
    """The service clock."""
    params.done()
    return {"serverTime": venue.now_ms()}


def exchange_info_ws(venue: Venue, params: Params) -> object:
    """Limits and symbol rules, as the WebSocket API tells them."""
    return _exchange_info(venue, params, rest=False)


def exchange_info_rest(venue: Venue, params: Params) -> object:
    """Limits and symbol rules, as REST tells them."""
    return _exchange_info(venue, params, rest=True)


def _exchange_info(venue: Venue, params: Params, *, rest: bool) -> object:
    symbol = params.text("symbol")
    symbols = params.symbols()
    params.text("permissions")
    params.flag("showPermissionSets", default=True)
    status = params.one_of("symbolStatus", STATUSES, Refused(-1122, "Invalid symbolStatus."))
    params.done()
    if (symbol is not None and symbols is not None) or (status is not None and (symbol or symbols)):
        raise Refused(-1128, "Combination of optional parameters invalid.")
    for name in [symbol] if symbol is not None else symbols or []:
        check_symbol(name, venue.symbol)
    rules = [(venue.rules, venue.engine.filters(venue.symbol))] if status in {None, venue.rules.status} else []
    return exchange_info(rules, venue.now_ms(), venue.rest_limits if rest else venue.limits)


def klines(venue: Venue, params: Params) -> object:
    """Candles, oldest first, the forming one last."""
    params.symbol(venue.symbol)
    interval = params.need("interval")
    if interval not in INTERVALS:
        raise Refused(-1120, "Invalid interval.")
    start_ms, end_ms = params.integer("startTime"), params.integer("endTime")
    limit = params.limit(500, 1000)
    zone = params.text("timeZone")
    params.done()
    if zone not in {None, "0", "+0", "0:00", "00:00", "+00:00", "-00:00"}:
        raise illegal("timeZone", _TIME_ZONE)  # only UTC is served
    candles = venue.candles.history(interval, limit, venue.clock.now_ms(), start_ms=start_ms, end_ms=end_ms)
    return [venue.shapes.kline(candle) for candle in candles]


def book_ticker(venue: Venue, params: Params) -> object:
    """Best bid and ask."""
    return _per_symbol(venue, params, lambda: venue.shapes.book_top(venue.engine.top(venue.symbol)))


def price_ticker(venue: Venue, params: Params) -> object:
    """The last trade's price; zero before the first."""
    last = venue.engine.last_trade(venue.symbol)
    return _per_symbol(
        venue, params, lambda: {"symbol": venue.symbol, "price": venue.rules.price_text(last[0] if last else 0)}
    )


def _per_symbol(venue: Venue, params: Params, body: Callable[[], dict[str, object]]) -> object:
    symbol, symbols = params.text("symbol"), params.symbols()
    status = params.one_of("symbolStatus", STATUSES, Refused(-1122, "Invalid symbolStatus."))
    params.done()
    if symbol is not None and symbols is not None:
        raise Refused(-1128, "Combination of optional parameters invalid.")
    for name in [symbol] if symbol is not None else symbols or []:
        check_symbol(name, venue.symbol)
    if status in {None, venue.rules.status}:
        return body() if symbol is not None else [body()]
    if symbol is not None:
        raise Refused(-1220, "The symbol's status does not match the requested symbolStatus.")
    return []


def average_price(venue: Venue, params: Params) -> object:
    """The volume-weighted average of the last five minutes."""
    params.symbol(venue.symbol)
    params.done()
    last = venue.engine.last_trade(venue.symbol)
    return {"mins": 5, "price": average_text(venue), "closeTime": last[1] if last else venue.clock.now_ms()}


def average_text(venue: Venue) -> str:
    """The average price with 8 decimals; zero before any price is known."""
    average = venue.engine.average_price(venue.symbol, venue.clock.now_ns())
    return f"{(average or Decimal(0)).quantize(Decimal('1e-8'), ROUND_DOWN):f}"


def depth(venue: Venue, params: Params) -> object:
    """The displayed best prices: one level a side, whatever `limit` says."""
    params.symbol(venue.symbol)
    params.limit(100, 5000)
    params.done()
    top = venue.engine.top(venue.symbol) or Top(0, 0, 0, 0, 0)
    return {
        "lastUpdateId": top.update_id,
        "bids": [[venue.rules.price_text(top.bid), venue.rules.qty_text(top.bid_qty)]] if top.bid else [],
        "asks": [[venue.rules.price_text(top.ask), venue.rules.qty_text(top.ask_qty)]] if top.ask else [],
    }


def recent_trades(venue: Venue, params: Params) -> object:
    """The newest public trades, oldest first."""
    params.symbol(venue.symbol)
    limit = params.limit(500, 1000)
    params.done()
    return [
        {
            "id": trade.trade_id,
            "price": venue.rules.price_text(trade.price),
            "qty": venue.rules.qty_text(trade.qty),
            "quoteQty": venue.shapes.notional(trade.price * trade.qty),
            "time": trade.at_ms,
            "isBuyerMaker": trade.buyer_is_maker,
            "isBestMatch": True,
        }
        for trade in list(venue.recent)[-limit:]
    ]


def _always(weight: int) -> Callable[[Params], int]:
    return lambda params: weight


def _one_or_all(params: Params) -> int:
    return 2 if "symbol" in params else 4


def _by_depth(params: Params) -> int:
    text = params.tokens.get("limit", "")
    limit = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 100
    return next((weight for most, weight in ((100, 5), (500, 25), (1000, 50)) if limit <= most), 250)


WEBSOCKET = {
    "ping": Query(ping, _always(1)),
    "time": Query(time, _always(1)),
    "exchangeInfo": Query(exchange_info_ws, _always(20)),
    "klines": Query(klines, _always(2)),
    "uiKlines": Query(klines, _always(2)),
    "ticker.book": Query(book_ticker, _one_or_all),
    "ticker.price": Query(price_ticker, _one_or_all),
    "avgPrice": Query(average_price, _always(2)),
    "depth": Query(depth, _by_depth),
    "trades.recent": Query(recent_trades, _always(25)),
}
"""By method."""

REST = {
    "ping": WEBSOCKET["ping"],
    "time": WEBSOCKET["time"],
    "exchangeInfo": Query(exchange_info_rest, _always(20)),
    "klines": WEBSOCKET["klines"],
    "uiKlines": WEBSOCKET["uiKlines"],
    "ticker/bookTicker": WEBSOCKET["ticker.book"],
    "ticker/price": WEBSOCKET["ticker.price"],
    "avgPrice": WEBSOCKET["avgPrice"],
    "depth": WEBSOCKET["depth"],
    "trades": WEBSOCKET["trades.recent"],
}
"""By path after /api/v3/."""
