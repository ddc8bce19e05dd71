"""exchangeInfo, both ways: what the exchange says of its limits and of one symbol <-> core records.

Filters that nobody here needs are ignored, so a new one does no harm; a filter that Binance leaves out means that its
limit is off. Only a symbol without a tick or a step size cannot be used. Checking orders against the rules is not done
here but by who makes them (core) and who judges them (the exchange's engine).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Final

import attrs
import msgspec

from tetrio.core import money
from tetrio.core.money import SymbolRules
from tetrio.errors import ConfigError, WireError

_WINDOW_S = {"SECOND": 1, "MINUTE": 60, "HOUR": 3600, "DAY": 86400}
ORDER_TYPES = (
    "LIMIT",
    "LIMIT_MAKER",
    "MARKET",
    "STOP_LOSS",
    "STOP_LOSS_LIMIT",
    "TAKE_PROFIT",
    "TAKE_PROFIT_LIMIT",
)
"""Every type of Spot orders."""
_NO_TRAILING_BOUND = 10_000
_NO_BOUND = "92233720368.54775807"  # int64 at 8 decimals: what Binance prints for "this much or more"
_QUOTES = (  # by length, so that FDUSD is not read as USD
    *("FDUSD", "USD1"),
    *("USDT", "USDC", "BUSD", "TUSD", "USDP", "BIDR", "IDRT", "BVND", "BKRW", "USDS", "AEUR", "EURI"),
    *("BTC", "ETH", "BNB", "EUR", "TRY", "BRL", "GBP", "AUD", "RUB", "UAH", "NGN", "ZAR", "JPY", "MXN", "PLN", "RON"),
    *("ARS", "COP", "CZK", "IDR", "DAI", "PAX", "TRX", "XRP", "SOL", "VAI", "UST", "USD"),
    *("DOGE", "DOT"),
)


class RateLimit(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """One window of a limit, with the count used so far where a reply tells it."""

    rate_limit_type: str
    """REQUEST_WEIGHT, ORDERS, RAW_REQUESTS, CONNECTIONS."""
    interval: str
    """SECOND, MINUTE, HOUR, DAY."""
    interval_num: int
    limit: int
    count: int | msgspec.UnsetType = msgspec.UNSET

    @property
    def used(self) -> int:
        """`count`, 0 where it was not told."""
        return 0 if isinstance(self.count, msgspec.UnsetType) else self.count

    @property
    def window_s(self) -> int:
        """Length of the window; windows begin at multiples of it since 1970. WireError for a unit nobody knows."""
        if self.interval not in _WINDOW_S:
            raise WireError(f"a rate limit per {self.interval_num} {self.interval}: not a unit that is known")
        return self.interval_num * _WINDOW_S[self.interval]


PRODUCTION_LIMITS: Final = (
    RateLimit(rate_limit_type="REQUEST_WEIGHT", interval="MINUTE", interval_num=1, limit=6000),
    RateLimit(rate_limit_type="ORDERS", interval="SECOND", interval_num=10, limit=100),
    RateLimit(rate_limit_type="ORDERS", interval="DAY", interval_num=1, limit=200000),
    RateLimit(rate_limit_type="CONNECTIONS", interval="MINUTE", interval_num=5, limit=300),
)
"""`rateLimits` of exchangeInfo on the WebSocket API, mid-2026."""


@attrs.frozen(kw_only=True)
class PriceRange:
    """executionRules' PRICE_RANGE: how far from the reference price a taker may trade; None: that bound is off."""

    bid_up: Decimal | None = None
    bid_down: Decimal | None = None
    ask_up: Decimal | None = None
    ask_down: Decimal | None = None


@attrs.frozen(kw_only=True)
class Filters:
    """What exchangeInfo, executionRules and myFilters say of a symbol beside its `SymbolRules`: only an exchange needs
    it. Counts of 0 are off.
    """

    tick_size: Decimal = Decimal(0)
    """What orders' prices are multiples of, where that is coarser than what the book counts in; 0: it is not."""
    step_size: Decimal = Decimal(0)
    """The same of quantities."""
    iceberg_parts: int = 100
    max_algo_orders: int = 5
    max_iceberg_orders: int = 0
    max_order_lists: int = 20
    max_amends: int = 10
    max_position: Decimal = Decimal(0)
    """Base units."""
    min_trailing_above: int = 10
    """Basis points, as the three that follow."""
    max_trailing_above: int = 2000
    min_trailing_below: int = 10
    max_trailing_below: int = 2000
    exchange_max_orders: int = 0
    exchange_max_algo_orders: int = 0
    exchange_max_iceberg_orders: int = 0
    exchange_max_order_lists: int = 0
    max_asset: Mapping[str, Decimal] = attrs.field(factory=dict)
    """MAX_ASSET, by asset: the most that one order may move of it."""
    stp_modes: tuple[str, ...] = ("EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "DECREMENT", "TRANSFER")
    default_stp_mode: str = "EXPIRE_MAKER"
    iceberg: bool = True
    """Whether the symbol takes icebergs; the flags that follow likewise."""
    oco: bool = True
    oto: bool = True
    opo: bool = True
    quote_order_qty: bool = True
    trailing: bool = True
    sor: bool = False
    price_range: PriceRange | None = None


class Grid(dict[str, int]):
    """Text -> whole steps of one tick or step size. A dict that fills itself: prices repeat, and a hit costs 30 ns.

    `grid[text]` raises ValueError when the text is no plain decimal or off the grid: exactly where `money.to_units`
    does, and for exponents, blanks and other spellings that Python knows and Binance does not write.

    rounding   what is off the grid is rounded so, and counted in `rounded`: prices that others were quoted before the
               step became coarser stay in the book, and in the past; None: it is refused
    """

    KEEP = 65536
    """Texts kept at most; then all are forgotten."""

    def __init__(self, step: Decimal, rounding: str | None = None) -> None:
        super().__init__()
        self._step, self._rounding = step, rounding
        self.rounded = 0
        self._places = money.places_of(step)
        self._step_units = int(step.scaleb(self._places))

    def __missing__(self, text: str) -> int:
        whole, _, fraction = text.partition(".")
        digits = whole.removeprefix("-") + fraction
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 60 and whole not in ("", "-")):
            raise ValueError(f"{text[:80]!r} is not a plain decimal number")
        kept, beyond = fraction[: self._places], fraction[self._places :]
        units, left = divmod(int(whole + kept.ljust(self._places, "0")), self._step_units)
        if left or beyond.strip("0"):
            units = self._round(text)
        if len(self) >= self.KEEP:
            self.clear()
        self[text] = units
        return units

    def _round(self, text: str) -> int:
        if self._rounding is None:
            raise ValueError(f"{text} is not a multiple of {self._step}")
        self.rounded += 1
        return _count(money.decimal(text), self._step, self._rounding)


class _Symbol(msgspec.Struct, rename="camel"):
    symbol: str
    base_asset: str
    quote_asset: str
    filters: list[dict[str, object]]
    status: str = "TRADING"
    order_types: list[str] = []
    allow_trailing_stop: bool = False
    cancel_replace_allowed: bool = True
    amend_allowed: bool = False
    peg_instructions_allowed: bool = False


class _Info(msgspec.Struct, rename="camel"):
    rate_limits: list[RateLimit] = []
    symbols: list[_Symbol] = []


_DECODER = msgspec.json.Decoder(_Info)


def _info(exchange_info: bytes | msgspec.Raw) -> _Info:
    try:
        return _DECODER.decode(exchange_info)
    except (ValueError, RecursionError) as error:
        raise WireError(
            f"exchangeInfo cannot be read: {error}", bytes(exchange_info)[:200].decode("utf-8", "replace")
        ) from None


def rate_limits(exchange_info: bytes | msgspec.Raw) -> list[RateLimit]:
    """The exchange's limits; WireError when the text cannot be read."""
    return _info(exchange_info).rate_limits


def symbol_rules(exchange_info: bytes | msgspec.Raw, symbol: str) -> SymbolRules:
    """The rules of `symbol`; WireError when the text cannot be read.

    ConfigError   the exchange has no such symbol (the nearest names are told), or its filters are unusable
    """
    symbols = {found.symbol: found for found in _info(exchange_info).symbols}
    if symbol not in symbols:
        near = difflib.get_close_matches(symbol, symbols, n=3)
        hint = f": did you mean {' or '.join(near)}?" if near else ""
        raise ConfigError(f"the exchange has no symbol {symbol}{hint}")
    return _rules(symbols[symbol])


def _rules(found: _Symbol) -> SymbolRules:
    filters = {str(each.get("filterType")): each for each in found.filters}
    amount = _amounts(found.symbol, filters)
    tick, step = amount("PRICE_FILTER", "tickSize"), amount("LOT_SIZE", "stepSize")
    for name, size in (("PRICE_FILTER.tickSize", tick), ("LOT_SIZE.stepSize", step)):
        if size <= 0:
            raise ConfigError(
                f"{found.symbol} has no {name}: prices and quantities are counted in it, so choose another symbol"
            )
    percent = filters.get("PERCENT_PRICE_BY_SIDE") or {}
    both_up, both_down = amount("PERCENT_PRICE", "multiplierUp"), amount("PERCENT_PRICE", "multiplierDown")

    def side(name: str, both: Decimal) -> Decimal:
        return amount("PERCENT_PRICE_BY_SIDE", name) if percent else both

    return SymbolRules(
        name=found.symbol,
        base_asset=found.base_asset,
        quote_asset=found.quote_asset,
        tick_size=tick,
        step_size=step,
        status=found.status,
        min_price_ticks=_count(amount("PRICE_FILTER", "minPrice"), tick, ROUND_CEILING),
        max_price_ticks=_count(amount("PRICE_FILTER", "maxPrice"), tick, ROUND_FLOOR),
        min_qty_lots=max(1, _count(amount("LOT_SIZE", "minQty"), step, ROUND_CEILING)),
        max_qty_lots=_count(amount("LOT_SIZE", "maxQty"), step, ROUND_FLOOR),
        market_max_qty_lots=_count(amount("MARKET_LOT_SIZE", "maxQty"), step, ROUND_FLOOR),
        min_notional=max(amount("NOTIONAL", "minNotional"), amount("MIN_NOTIONAL", "minNotional")),
        max_notional=amount("NOTIONAL", "maxNotional"),
        bid_multiplier_up=side("bidMultiplierUp", both_up),
        bid_multiplier_down=side("bidMultiplierDown", both_down),
        ask_multiplier_up=side("askMultiplierUp", both_up),
        ask_multiplier_down=side("askMultiplierDown", both_down),
        max_num_orders=int(amount("MAX_NUM_ORDERS", "maxNumOrders")),
        min_trailing_bps=int(amount("TRAILING_DELTA", "minTrailingBelowDelta")),
        max_trailing_bps=int(amount("TRAILING_DELTA", "maxTrailingBelowDelta")) or _NO_TRAILING_BOUND,
        trailing_allowed=found.allow_trailing_stop,
        order_types=frozenset(found.order_types),
        cancel_replace_allowed=found.cancel_replace_allowed,
        amend_allowed=found.amend_allowed,
        peg_allowed=found.peg_instructions_allowed,
    )


def _amounts(symbol: str, filters: Mapping[str, Mapping[str, object]]) -> Callable[[str, str], Decimal]:
    """A look-up (filter, member) -> amount; 0, that is off, for what is not there."""

    def amount(name: str, member: str) -> Decimal:
        value = filters.get(name, {}).get(member, "0")
        try:
            number = money.decimal(str(value))
        except ValueError as error:
            raise WireError(f"{symbol} {name}.{member}: {error}") from None
        if number < 0:
            raise WireError(f"{symbol} {name}.{member} is negative: {value}")
        return number

    return amount


def _count(amount: Decimal, step: Decimal, rounding: str) -> int:
    return int((amount / step).to_integral_value(rounding))


def symbol_info(rules: SymbolRules, filters: Filters = Filters()) -> dict[str, object]:
    """The symbol's object in exchangeInfo: members and filters in production order, flags as the rules say."""
    algo = "STOP_LOSS" in rules.order_types
    return {
        "symbol": rules.name,
        "status": rules.status,
        "baseAsset": rules.base_asset,
        "baseAssetPrecision": 8,
        "quoteAsset": rules.quote_asset,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": [each for each in ORDER_TYPES if each in rules.order_types],
        "icebergAllowed": filters.iceberg,
        "ocoAllowed": filters.oco and algo,
        "otoAllowed": filters.oto,
        "opoAllowed": filters.opo,
        "quoteOrderQtyMarketAllowed": filters.quote_order_qty and "MARKET" in rules.order_types,
        "allowTrailingStop": filters.trailing and algo,
        "cancelReplaceAllowed": rules.cancel_replace_allowed,
        "amendAllowed": rules.amend_allowed,
        "pegInstructionsAllowed": rules.peg_allowed,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": _filters(rules, filters),
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": filters.default_stp_mode,
        "allowedSelfTradePreventionModes": list(filters.stp_modes),
    }


def _filters(rules: SymbolRules, extra: Filters) -> list[dict[str, object]]:
    """In production order; what is off is left out where Binance's form has no zero for it."""
    filters = [*_grid_filters(rules, extra)]
    if rules.bid_multiplier_up or rules.ask_multiplier_up:
        filters.append(
            {
                "filterType": "PERCENT_PRICE_BY_SIDE",
                "bidMultiplierUp": _bare(rules.bid_multiplier_up),
                "bidMultiplierDown": _bare(rules.bid_multiplier_down),
                "askMultiplierUp": _bare(rules.ask_multiplier_up),
                "askMultiplierDown": _bare(rules.ask_multiplier_down),
                "avgPriceMins": 5,
            }
        )
    filters.append(
        {
            "filterType": "NOTIONAL",
            "minNotional": f"{rules.min_notional:.8f}",
            "applyMinToMarket": True,
            "maxNotional": f"{rules.max_notional:.8f}" if rules.max_notional else _NO_BOUND,
            "applyMaxToMarket": False,
            "avgPriceMins": 5,
        }
    )
    if extra.max_position:
        filters.append({"filterType": "MAX_POSITION", "maxPosition": f"{extra.max_position:.8f}"})
    counts = (
        ("MAX_NUM_ORDERS", "maxNumOrders", rules.max_num_orders),
        ("MAX_NUM_ORDER_LISTS", "maxNumOrderLists", extra.max_order_lists),
        ("MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders", extra.max_algo_orders),
        ("MAX_NUM_ICEBERG_ORDERS", "maxNumIcebergOrders", extra.max_iceberg_orders),
        ("MAX_NUM_ORDER_AMENDS", "maxNumOrderAmends", extra.max_amends),
    )
    return filters + _counted(counts)


def _grid_filters(rules: SymbolRules, extra: Filters) -> Iterator[dict[str, object]]:
    yield {
        "filterType": "PRICE_FILTER",
        "minPrice": rules.price_text(rules.min_price_ticks),
        "maxPrice": rules.price_text(rules.max_price_ticks),
        "tickSize": f"{tick:.8f}" if (tick := extra.tick_size) else rules.price_text(1),
    }
    least = max(rules.min_qty_lots, int(extra.step_size / rules.step_size))
    yield {
        "filterType": "LOT_SIZE",
        "minQty": rules.qty_text(least),
        "maxQty": rules.qty_text(rules.max_qty_lots) if rules.max_qty_lots else _NO_BOUND,
        "stepSize": f"{step:.8f}" if (step := extra.step_size) else rules.qty_text(1),
    }
    yield {"filterType": "ICEBERG_PARTS", "limit": extra.iceberg_parts}
    yield {
        "filterType": "MARKET_LOT_SIZE",
        "minQty": "0.00000000",
        "maxQty": rules.qty_text(rules.market_max_qty_lots) if rules.market_max_qty_lots else _NO_BOUND,
        "stepSize": "0.00000000",
    }
    yield {
        "filterType": "TRAILING_DELTA",
        "minTrailingAboveDelta": extra.min_trailing_above,
        "maxTrailingAboveDelta": extra.max_trailing_above,
        "minTrailingBelowDelta": extra.min_trailing_below,
        "maxTrailingBelowDelta": extra.max_trailing_below,
    }


def _counted(counts: Iterable[tuple[str, str, int]]) -> list[dict[str, object]]:
    return [{"filterType": name, member: count} for name, member, count in counts if count]


def exchange_filters(filters: Filters) -> list[dict[str, object]]:
    """The account-wide filters that are on."""
    return _counted(
        (
            ("EXCHANGE_MAX_NUM_ORDERS", "maxNumOrders", filters.exchange_max_orders),
            ("EXCHANGE_MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders", filters.exchange_max_algo_orders),
            ("EXCHANGE_MAX_NUM_ICEBERG_ORDERS", "maxNumIcebergOrders", filters.exchange_max_iceberg_orders),
            ("EXCHANGE_MAX_NUM_ORDER_LISTS", "maxNumOrderLists", filters.exchange_max_order_lists),
        )
    )


def _bare(number: Decimal) -> str:
    """Multipliers come without padding: "5", "0.2"."""
    return f"{number.normalize():f}"


def exchange_info(
    rules: Sequence[tuple[SymbolRules, Filters]], server_time_ms: int, limits: Sequence[RateLimit] = PRODUCTION_LIMITS
) -> dict[str, object]:
    """The whole result of exchangeInfo for these symbols."""
    routed = [{"baseAsset": each.base_asset, "symbols": [each.name]} for each, filters in rules if filters.sor]
    return {
        "timezone": "UTC",
        "serverTime": server_time_ms,
        "rateLimits": [msgspec.to_builtins(limit) for limit in limits],
        "exchangeFilters": exchange_filters(rules[0][1]) if rules else [],
        "symbols": [symbol_info(each, filters) for each, filters in rules],
    } | ({"sors": routed} if routed else {})


def split_symbol(name: str) -> tuple[str, str]:
    """Base and quote asset by known quote suffixes, the longest that fits; ConfigError when none does."""
    for quote in sorted(_QUOTES, key=len, reverse=True):
        if name.endswith(quote) and name != quote:
            return name[: -len(quote)], quote
    raise ConfigError(
        f"the assets of {name} cannot be told from its name; `tetrio exchange` takes them as in `--assets ETH/USDT`"
    )
