"""What anyone may ask: time, symbol rules, prices, klines. One function a method, for WebSocket API and REST alike.

Each takes the venue and the checked parameters and gives the result in Binance's shape, times in milliseconds. Weights
are told beside them. Nothing here changes anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import ROUND_DOWN, Decimal
from itertools import islice
from typing import TypeVar

import attrs

from tetrio.sim.face.checks import Params, Refused, check_symbol, illegal
from tetrio.sim.face.venue import RecentTrade, Venue
from tetrio.sim.market.candles import INTERVALS
from tetrio.sim.market.events import AggTrade, Top
from tetrio.sim.market.reference import ArithmeticMean
from tetrio.sim.market.tickers import HOUR_MS, MINUTE_MS, rolling, trading_day, window_ms
from tetrio.wire.rules import PriceRange, exchange_info, symbol_info

STATUSES = ("TRADING", "HALT", "BREAK")
PERMISSION = "SPOT"
"""The one that the symbol has."""
MOST_SYMBOLS = 100
NO_REFERENCE = -2043, "This symbol doesn't have a reference price."
_PERMISSION = re.compile(r"[A-Z0-9_]{1,20}", re.ASCII)
_TIME_ZONE = r"^[+-]?([0-9]{1,2})(:[0-9]{2})?$"
_ZONE = re.compile(r"([+-]?)([0-9]{1,2})(?::([0-5][0-9]))?", re.ASCII)


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
    symbol, symbols, permissions = params.text("symbol"), params.symbols(), params.texts("permissions")
    show_sets = params.flag("showPermissionSets", default=True)
    status = _status(params)
    params.done()
    named = symbol is not None or symbols is not None
    if (symbol is not None and symbols is not None) or (named and (status is not None or permissions is not None)):
        raise Refused(-1128, "Combination of optional parameters invalid.")
    for name in [symbol] if symbol is not None else symbols or []:
        check_symbol(name, venue.symbol)
    listed, filters = venue.engine.rules(venue.symbol), venue.engine.filters(venue.symbol)
    rules = [(listed, filters)] if venue.listed and status in {None, listed.status} and _permitted(permissions) else []
    body = exchange_info(rules, venue.now_ms(), venue.rest_limits if rest else venue.limits)
    if show_sets:
        return body
    return body | {"symbols": [symbol_info(*each) | {"permissionSets": []} for each in rules]}


def _permitted(asked: Sequence[str] | None) -> bool:
    """Whether our symbol is among those with one of the permissions; without any asked for it is."""
    if asked is None:
        return True
    if not all(_PERMISSION.fullmatch(each) for each in asked):
        raise Refused(-1130, "Data sent for parameter 'permissions' is not valid.")
    return PERMISSION in asked


def execution_rules(venue: Venue, params: Params) -> object:
    """What bounds the price of a trade beside the filters."""
    bounds = venue.engine.filters(venue.symbol).price_range
    rules = [] if bounds is None else [_price_range(bounds)]
    return {"symbolRules": [{"symbol": name, "rules": rules} for name in _named(venue, params)]}


def _price_range(bounds: PriceRange) -> dict[str, str]:
    """A bound that is off is left out."""
    multipliers = {
        "bidLimitMultUp": bounds.bid_up,
        "bidLimitMultDown": bounds.bid_down,
        "askLimitMultUp": bounds.ask_up,
        "askLimitMultDown": bounds.ask_down,
    }
    known = {name: f"{each:.4f}" for name, each in multipliers.items() if each is not None}
    return {"ruleType": "PRICE_RANGE"} | known


def klines(venue: Venue, params: Params) -> object:
    """Candles, oldest first, the forming one last."""
    params.symbol(venue.symbol)
    interval = params.need("interval")
    if interval not in INTERVALS:
        raise Refused(-1120, "Invalid interval.")
    start_ms, end_ms = params.integer("startTime"), params.integer("endTime")
    limit = params.limit(500, 1000)
    zone_ms = _zone_ms(params)
    params.done()
    candles = venue.candles.history(
        interval, limit, venue.clock.now_ms(), start_ms=start_ms, end_ms=end_ms, zone_ms=zone_ms
    )
    return [venue.shapes.kline(candle) for candle in candles]


def _zone_ms(params: Params) -> int:
    """`timeZone` in ms that its clocks are ahead of UTC: hours, or hours and minutes, from -12:00 to +14:00."""
    text = params.text("timeZone")
    if text is None:
        return 0
    found = _ZONE.fullmatch(text)
    if found is None:
        raise illegal("timeZone", _TIME_ZONE)
    sign, hours, minutes = found.groups()
    zone_ms = (int(hours) * 60 + int(minutes or 0)) * (-MINUTE_MS if sign == "-" else MINUTE_MS)
    if not -12 * HOUR_MS <= zone_ms <= 14 * HOUR_MS:
        raise illegal("timeZone", _TIME_ZONE)
    return zone_ms


# -- prices -----------------------------------------------------------------------------------------------------------


def book_ticker(venue: Venue, params: Params) -> object:
    """Best bid and ask."""
    return _per_symbol(venue, params, lambda: venue.shapes.book_top(Top(*venue.quote(), 0)))


def price_ticker(venue: Venue, params: Params) -> object:
    """The last trade's price; zero before the first."""
    last = venue.engine.last_trade(venue.symbol)
    return _per_symbol(
        venue, params, lambda: {"symbol": venue.symbol, "price": venue.rules.price_text(last[0] if last else 0)}
    )


def day_ticker(venue: Venue, params: Params) -> object:
    """Statistics of the last 24 hours."""
    mini = _mini(params)

    def body() -> dict[str, object]:
        day = venue.last_day(venue.clock.now_ms())
        return day.body(mini=True) if mini else day.day_body()

    return _per_symbol(venue, params, body)


def trading_day_ticker(venue: Venue, params: Params) -> object:
    """Statistics of the day of a zone."""
    mini, zone_ms = _mini(params), _zone_ms(params)
    now_ms = venue.clock.now_ms()
    return _per_named_symbol(
        venue, params, lambda: trading_day(venue.candles, venue.rules, zone_ms, now_ms).body(mini=mini)
    )


def rolling_ticker(venue: Venue, params: Params) -> object:
    """Statistics of a window up to now."""
    mini, text = _mini(params), params.text("windowSize") or "1d"
    try:
        length_ms = window_ms(text)
    except ValueError:
        raise Refused(-1130, "Data sent for parameter 'windowSize' is not valid.") from None
    now_ms = venue.clock.now_ms()
    return _per_named_symbol(
        venue, params, lambda: rolling(venue.candles, venue.rules, length_ms, now_ms).body(mini=mini)
    )


def _mini(params: Params) -> bool:
    """Whether `type` is MINI; FULL is what comes without."""
    return params.one_of("type", ("FULL", "MINI"), Refused(-1139, "Invalid ticker type.")) == "MINI"


def _status(params: Params) -> str | None:
    return params.one_of("symbolStatus", STATUSES, Refused(-1122, "Invalid symbolStatus."))


def _per_named_symbol(venue: Venue, params: Params, body: Callable[[], dict[str, object]]) -> object:
    """`_per_symbol` where one must be named, and at most a hundred."""
    if "symbol" not in params and "symbols" not in params:
        raise Refused(-1102, "Param 'symbol' or 'symbols' must be sent, but both were empty/null!")
    sent = len(params.symbols() or ())
    if sent > MOST_SYMBOLS:
        raise Refused(-1101, f"Too many parameters; expected '{MOST_SYMBOLS}' and received '{sent}'.")
    return _per_symbol(venue, params, body)


def _per_symbol(venue: Venue, params: Params, body: Callable[[], dict[str, object]]) -> object:
    single = "symbol" in params
    found = [body() for _ in _named(venue, params)]
    return found[0] if single else found


def _named(venue: Venue, params: Params) -> list[str]:
    """The symbols that were asked for by `symbol`, `symbols` and `symbolStatus`; all of them by none."""
    symbol, symbols, status = params.text("symbol"), params.symbols(), _status(params)
    params.done()
    if symbol is not None and symbols is not None:
        raise Refused(-1128, "Combination of optional parameters invalid.")
    for name in [symbol] if symbol is not None else symbols or []:
        check_symbol(name, venue.symbol)
    if status in {None, venue.engine.rules(venue.symbol).status}:
        return [venue.symbol]
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


def reference_price(venue: Venue, params: Params) -> object:
    """The reference price; a symbol without one is told so in the place of the result, as Binance does it there."""
    params.symbol(venue.symbol)
    params.done()
    reference = venue.reference
    if reference is None:
        return dict(zip(("code", "msg"), NO_REFERENCE, strict=True))
    ticks = reference.price_ticks
    return {
        "symbol": venue.symbol,
        "referencePrice": None if ticks is None else venue.rules.price_text(ticks),
        "timestamp": reference.at_ms,
    }


def reference_price_rest(venue: Venue, params: Params) -> object:
    """The same over REST, where the refusal is one."""
    body = reference_price(venue, params)
    if venue.reference is None:
        raise Refused(*NO_REFERENCE)
    return body


def reference_calculation(venue: Venue, params: Params) -> object:
    """How the reference price comes about."""
    params.symbol(venue.symbol)
    if _status(params) not in {None, venue.engine.rules(venue.symbol).status}:
        raise Refused(-1220, "The symbol's status does not match the requested symbolStatus.")
    params.done()
    if venue.reference is None:
        raise Refused(*NO_REFERENCE)
    calculation = venue.reference.calculation
    if isinstance(calculation, ArithmeticMean):
        return {
            "symbol": venue.symbol,
            "calculationType": "ARITHMETIC_MEAN",
            "bucketCount": calculation.bucket_count,
            "bucketWidthMs": calculation.bucket_width_ms,
        }
    return {
        "symbol": venue.symbol,
        "calculationType": "EXTERNAL",
        "externalCalculationId": calculation.calculation_id,
    }


# -- the book and its trades ------------------------------------------------------------------------------------------


def depth(venue: Venue, params: Params) -> object:
    """The public book, best prices first."""
    params.symbol(venue.symbol)
    limit = params.limit(100, 5000)
    if _status(params) not in {None, venue.engine.rules(venue.symbol).status}:
        raise Refused(-1220, "The symbol's status does not match the requested symbolStatus.")
    params.done()
    book, rules = venue.book.snapshot(limit), venue.rules
    return {
        "lastUpdateId": book.last_id,
        "bids": [[rules.price_text(price), rules.qty_text(lots)] for price, lots in book.bids],
        "asks": [[rules.price_text(price), rules.qty_text(lots)] for price, lots in book.asks],
    }


def recent_trades(venue: Venue, params: Params) -> object:
    """The newest public trades, oldest first."""
    params.symbol(venue.symbol)
    limit = params.limit(500, 1000)
    params.done()
    return [_trade(venue, trade) for trade in _last(venue.recent, limit)]


def historical_trades(venue: Venue, params: Params) -> object:
    """Public trades from an id on, or from the oldest that is kept; without one the newest."""
    params.symbol(venue.symbol)
    from_id, limit = params.integer("fromId"), params.limit(500, 1000)
    params.done()
    return [_trade(venue, trade) for trade in _from(venue.recent, from_id, limit)]


def block_trades(venue: Venue, params: Params) -> object:
    """Block trades from an id on."""
    params.symbol(venue.symbol)
    params.need("fromId")
    from_id, limit = params.integer("fromId"), params.limit(500, 1000)
    params.done()
    return [_block_trade(venue, trade) for trade in _from(venue.blocks, from_id, limit)]


def aggregate_trades(venue: Venue, params: Params) -> object:
    """Aggregates from an id on, or of a span of time; without either the newest."""
    params.symbol(venue.symbol)
    from_id, start_ms, end_ms = (params.integer(name) for name in ("fromId", "startTime", "endTime"))
    limit = params.limit(500, 1000)
    params.done()
    if from_id is not None and (start_ms is not None or end_ms is not None):
        raise Refused(-1128, "Combination of optional parameters invalid.")
    if from_id is not None:
        found = venue.aggregates.from_id(from_id, limit)
    elif start_ms is None and end_ms is None:
        found = venue.aggregates.newest(limit)
    else:
        found = venue.aggregates.within(start_ms, end_ms, limit)
    return [_aggregate(venue, each) for each in found]


T = TypeVar("T")


def _last(kept: Sequence[T], limit: int) -> list[T]:
    """The newest, oldest first."""
    return list(islice(reversed(kept), limit))[::-1]


def _from(kept: Sequence[RecentTrade], from_id: int | None, limit: int) -> list[RecentTrade]:
    if from_id is None:
        return _last(kept, limit)
    return list(islice((trade for trade in kept if trade.trade_id >= from_id), limit))


def _block_trade(venue: Venue, trade: RecentTrade) -> dict[str, object]:
    return {
        "id": trade.trade_id,
        "price": venue.rules.price_text(trade.price),
        "qty": venue.rules.qty_text(trade.qty),
        "quoteQty": venue.shapes.notional(trade.price * trade.qty),
        "time": trade.at_ms,
        "isBuyerMaker": trade.buyer_is_maker,
    }


def _trade(venue: Venue, trade: RecentTrade) -> dict[str, object]:
    return _block_trade(venue, trade) | {"isBestMatch": True}


def _aggregate(venue: Venue, trade: AggTrade) -> dict[str, object]:
    return {
        "a": trade.agg_id,
        "p": venue.rules.price_text(trade.price),
        "q": venue.rules.qty_text(trade.qty),
        "f": trade.first_id,
        "l": trade.last_id,
        "T": trade.at_ms,
        "m": trade.buyer_is_maker,
        "M": True,
    }


# -- weights ----------------------------------------------------------------------------------------------------------


def _always(weight: int) -> Callable[[Params], int]:
    return lambda params: weight


def _one_or_all(params: Params) -> int:
    return 2 if "symbol" in params else 4


def _by_depth(params: Params) -> int:
    text = params.tokens.get("limit", "")
    limit = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 100
    return next((weight for most, weight in ((100, 5), (500, 25), (1000, 50)) if limit <= most), 250)


def _count(params: Params) -> int | None:
    """How many symbols are named, well or badly; None where all are meant."""
    if "symbol" in params:
        return 1
    if "symbols" not in params:
        return None
    value = params.values["symbols"]
    return len(value) if isinstance(value, list) else params.tokens["symbols"].count(",") + 1


def _by_day(params: Params) -> int:
    count = _count(params)
    return 80 if count is None or count > 100 else 40 if count > 20 else 2


def _by_symbol(each: int, most: int) -> Callable[[Params], int]:
    """So much a symbol, at most `most`, which is also the weight of all."""

    def weight(params: Params) -> int:
        count = _count(params)
        return most if count is None else min(most, each * count)

    return weight


WEBSOCKET = {
    "ping": Query(ping, _always(1)),
    "time": Query(time, _always(1)),
    "exchangeInfo": Query(exchange_info_ws, _always(20)),
    "executionRules": Query(execution_rules, _by_symbol(2, 40)),
    "depth": Query(depth, _by_depth),
    "trades.recent": Query(recent_trades, _always(25)),
    "trades.historical": Query(historical_trades, _always(25)),
    "trades.aggregate": Query(aggregate_trades, _always(4)),
    "blockTrades.historical": Query(block_trades, _always(25)),
    "klines": Query(klines, _always(2)),
    "uiKlines": Query(klines, _always(2)),
    "avgPrice": Query(average_price, _always(2)),
    "ticker": Query(rolling_ticker, _by_symbol(4, 200)),
    "ticker.24hr": Query(day_ticker, _by_day),
    "ticker.tradingDay": Query(trading_day_ticker, _by_symbol(4, 200)),
    "ticker.book": Query(book_ticker, _one_or_all),
    "ticker.price": Query(price_ticker, _one_or_all),
    "referencePrice": Query(reference_price, _always(2)),
    "referencePrice.calculation": Query(reference_calculation, _always(2)),
}
"""By method."""

REST = {
    "ping": WEBSOCKET["ping"],
    "time": WEBSOCKET["time"],
    "exchangeInfo": Query(exchange_info_rest, _always(20)),
    "executionRules": WEBSOCKET["executionRules"],
    "depth": WEBSOCKET["depth"],
    "trades": WEBSOCKET["trades.recent"],
    "historicalTrades": WEBSOCKET["trades.historical"],
    "aggTrades": WEBSOCKET["trades.aggregate"],
    "historicalBlockTrades": WEBSOCKET["blockTrades.historical"],
    "klines": WEBSOCKET["klines"],
    "uiKlines": WEBSOCKET["uiKlines"],
    "avgPrice": WEBSOCKET["avgPrice"],
    "ticker": WEBSOCKET["ticker"],
    "ticker/24hr": WEBSOCKET["ticker.24hr"],
    "ticker/tradingDay": WEBSOCKET["ticker.tradingDay"],
    "ticker/bookTicker": WEBSOCKET["ticker.book"],
    "ticker/price": WEBSOCKET["ticker.price"],
    "referencePrice": Query(reference_price_rest, _always(2)),
    "referencePrice/calculation": WEBSOCKET["referencePrice.calculation"],
}
"""By path after /api/v3/."""
