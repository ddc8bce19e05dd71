"""exchangeInfo as Binance writes it -> rules -> exchangeInfo again; what is missing, odd or unusable."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.paths import SHARED
from tetrio.core.money import SymbolRules, to_units
from tetrio.errors import ConfigError, WireError
from tetrio.wire.rules import (
    PRODUCTION_LIMITS,
    Filters,
    Grid,
    RateLimit,
    exchange_info,
    rate_limits,
    split_symbol,
    symbol_info,
    symbol_rules,
)

MESSAGES = SHARED / "binance" / "messages"
ETHFDUSD = MESSAGES / "exchangeInfo.ETHFDUSD.json"


def example(path: Path = ETHFDUSD) -> Any:
    return json.loads(path.read_text())


def with_filters(*filters: Mapping[str, object]) -> bytes:
    """The example with other filters."""
    info = example()
    info["symbols"][0]["filters"] = list(filters)
    return json.dumps(info).encode()


PRICE = {"filterType": "PRICE_FILTER", "minPrice": "0.01000000", "maxPrice": "10.00000000", "tickSize": "0.01000000"}
LOT = {"filterType": "LOT_SIZE", "minQty": "0.00100000", "maxQty": "9.00000000", "stepSize": "0.00010000"}


def test_the_rules_of_a_real_symbol_are_read() -> None:
    rules = symbol_rules(ETHFDUSD.read_bytes(), "ETHFDUSD")
    assert (rules.name, rules.base_asset, rules.quote_asset, rules.status) == ("ETHFDUSD", "ETH", "FDUSD", "TRADING")
    assert (rules.tick_size, rules.step_size) == (Decimal("0.01"), Decimal("0.0001"))
    assert (rules.min_price_ticks, rules.max_price_ticks) == (1, 100_000_000)
    assert (rules.min_qty_lots, rules.max_qty_lots, rules.market_max_qty_lots) == (1, 90_000_000, 3_124_815)
    assert (rules.min_notional, rules.max_notional) == (Decimal(5), Decimal(9_000_000))
    assert (rules.bid_multiplier_up, rules.bid_multiplier_down) == (Decimal(5), Decimal("0.2"))
    assert (rules.ask_multiplier_up, rules.ask_multiplier_down) == (Decimal(5), Decimal("0.2"))
    assert rules.max_num_orders == 200
    assert "LIMIT_MAKER" in rules.order_types
    assert rules.cancel_replace_allowed
    assert rules.amend_allowed
    assert rules.peg_allowed


def test_a_step_of_five_places_is_read_and_raw_values_too() -> None:
    text = (MESSAGES / "exchangeInfo.BTCUSDT.json").read_bytes()
    rules = symbol_rules(msgspec.Raw(text), "BTCUSDT")
    assert rules.step_size == Decimal("0.00001")
    assert rules.price_text(11820451) == "118204.51000000"
    reply = json.loads((MESSAGES / "wsapi.exchangeInfo.response.json").read_text())
    assert symbol_rules(json.dumps(reply["result"]).encode(), "ETHFDUSD").tick_size == Decimal("0.01")


def shape(value: object) -> object:
    """Names, types and order, without the values of texts, numbers and lists of texts."""
    if isinstance(value, dict):
        return [(name, each if name == "filterType" else shape(each)) for name, each in value.items()]
    if isinstance(value, list):
        return [shape(each) for each in value if isinstance(each, dict)]
    return type(value)


@pytest.mark.parametrize("name", ["ETHFDUSD", "BTCUSDT"])
def test_what_we_write_of_a_symbol_has_the_members_types_and_order_of_the_real_one(name: str) -> None:
    text = (MESSAGES / f"exchangeInfo.{name}.json").read_bytes()
    real = json.loads(text)["symbols"][0]
    ours = symbol_info(symbol_rules(text, name))
    assert shape(ours) == shape(real)
    same = set(real) - {"isMarginTradingAllowed", "permissionSets", "filters"}
    assert {key: ours[key] for key in same} == {key: real[key] for key in same}
    mine = ours["filters"]
    assert isinstance(mine, list)
    for written, given_ in zip(mine, real["filters"], strict=True):
        if given_["filterType"] != "MARKET_LOT_SIZE":  # its maximum moves with liquidity and is off the grid
            assert written == given_


def test_rules_survive_the_way_over_the_wire() -> None:
    rules = symbol_rules(ETHFDUSD.read_bytes(), "ETHFDUSD")
    info = msgspec.json.encode(exchange_info([(rules, Filters())], 1784626200040))
    assert symbol_rules(info, "ETHFDUSD") == rules
    assert rate_limits(info) == list(PRODUCTION_LIMITS)
    assert list(json.loads(info)) == [key for key in example() if key != "sors"]


@settings(max_examples=60, deadline=None)
@given(
    tick=st.decimals("0.00000001", "10", places=8),
    step=st.decimals("0.00000001", "10", places=8),
    lots=st.integers(1, 10**6),
    notional=st.decimals("0", "1000", places=8),
)
def test_any_grid_survives_the_way_over_the_wire(tick: Decimal, step: Decimal, lots: int, notional: Decimal) -> None:
    rules = SymbolRules(
        name="AB", base_asset="A", quote_asset="B", tick_size=tick, step_size=step, min_qty_lots=lots,
        max_qty_lots=lots + 1, market_max_qty_lots=lots, min_notional=notional, max_notional=Decimal(1000),
        max_price_ticks=10**6, max_num_orders=5,
    )  # fmt: skip
    assert symbol_rules(msgspec.json.encode(exchange_info([(rules, Filters())], 0)), "AB") == rules


def test_limits_that_are_off_do_not_become_zero_on_the_wire() -> None:
    """Other clients take maxQty "0" for a limit of nothing."""
    rules = SymbolRules(name="AB", base_asset="A", quote_asset="B", tick_size=Decimal("0.01"), step_size=Decimal("0.1"))
    filters = symbol_info(rules)["filters"]
    assert isinstance(filters, list)
    found = {each["filterType"]: each for each in filters}
    assert Decimal(found["LOT_SIZE"]["maxQty"]) > 10**10
    assert Decimal(found["NOTIONAL"]["maxNotional"]) > 10**10
    assert "PERCENT_PRICE_BY_SIDE" not in found
    assert "MAX_NUM_ORDERS" not in found


def test_the_old_notional_and_percent_filters_are_read_too() -> None:
    rules = symbol_rules(
        with_filters(
            PRICE, LOT,
            {"filterType": "MIN_NOTIONAL", "minNotional": "10.00000000", "applyToMarket": True, "avgPriceMins": 5},
            {"filterType": "PERCENT_PRICE", "multiplierUp": "1.5", "multiplierDown": "0.5", "avgPriceMins": 5},
        ),
        "ETHFDUSD",
    )  # fmt: skip
    assert rules.min_notional == 10
    assert (rules.bid_multiplier_up, rules.ask_multiplier_down) == (Decimal("1.5"), Decimal("0.5"))


def test_unknown_filters_are_ignored_and_missing_ones_are_off() -> None:
    rules = symbol_rules(with_filters({"filterType": "FUTURE", "x": [1, {"y": None}]}, PRICE, LOT), "ETHFDUSD")
    assert rules.min_qty_lots == 10
    assert not any((rules.min_notional, rules.max_notional, rules.market_max_qty_lots, rules.max_num_orders))
    assert not any((rules.bid_multiplier_up, rules.ask_multiplier_down))


def test_bounds_that_are_no_whole_steps_round_to_the_safe_side() -> None:
    odd = LOT | {"minQty": "0.00105000", "maxQty": "9.00005000"}
    rules = symbol_rules(with_filters(PRICE | {"minPrice": "0.01500000"}, odd), "ETHFDUSD")
    assert (rules.min_price_ticks, rules.min_qty_lots, rules.max_qty_lots) == (2, 11, 90_000)


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        ([PRICE | {"tickSize": "0.00000000"}, LOT], "ETHFDUSD has no PRICE_FILTER.tickSize"),
        ([PRICE, LOT | {"stepSize": "0.00000000"}], "ETHFDUSD has no LOT_SIZE.stepSize"),
        ([LOT], "no PRICE_FILTER.tickSize"),
        ([PRICE], "no LOT_SIZE.stepSize"),
    ],
)
def test_a_symbol_without_a_grid_is_refused(filters: list[Mapping[str, object]], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        symbol_rules(with_filters(*filters), "ETHFDUSD")


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-1", "abc", None, [], {}])
def test_an_amount_that_is_none_is_refused(value: object) -> None:
    with pytest.raises(WireError, match=r"ETHFDUSD LOT_SIZE\.maxQty"):
        symbol_rules(with_filters(PRICE, LOT | {"maxQty": value}), "ETHFDUSD")


def test_a_symbol_that_the_exchange_lacks_is_a_configuration_error_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match=r"the exchange has no symbol ETHFDSUD: did you mean ETHFDUSD\?"):
        symbol_rules(ETHFDUSD.read_bytes(), "ETHFDSUD")
    with pytest.raises(ConfigError, match=r"the exchange has no symbol XYZ$"):
        symbol_rules(ETHFDUSD.read_bytes(), "XYZ")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"nonsense",
        b"[]",
        b'{"symbols":5}',
        b'{"symbols":[{}]}',
        b'{"x":' + b"[" * 100_000,
        b'{"symbols":[{"symbol":"\xff"}]}',
    ],
)
def test_an_exchange_info_that_cannot_be_read_is_a_wire_error(text: bytes) -> None:
    with pytest.raises(WireError):
        symbol_rules(text, "ETHFDUSD")
        rate_limits(text)


def test_limits_are_read_with_their_windows() -> None:
    limits = rate_limits(ETHFDUSD.read_bytes())
    assert [(each.rate_limit_type, each.window_s, each.limit) for each in limits] == [
        ("REQUEST_WEIGHT", 60, 6000),
        ("ORDERS", 10, 100),
        ("ORDERS", 86400, 200000),
        ("RAW_REQUESTS", 300, 300000),
    ]
    assert limits[0].used == 0
    assert [msgspec.to_builtins(each) for each in limits] == example()["rateLimits"]
    with pytest.raises(WireError, match="per 2 FORTNIGHT"):
        _ = RateLimit(rate_limit_type="ORDERS", interval="FORTNIGHT", interval_num=2, limit=1).window_s


@pytest.mark.parametrize(
    ("name", "assets"),
    [
        ("ETHFDUSD", ("ETH", "FDUSD")),
        ("ETHUSDT", ("ETH", "USDT")),
        ("BTCUSD", ("BTC", "USD")),
        ("ETHBTC", ("ETH", "BTC")),
        ("USDTTRY", ("USDT", "TRY")),
        ("USDCUSDT", ("USDC", "USDT")),
        ("1000SATSFDUSD", ("1000SATS", "FDUSD")),
    ],
)
def test_assets_are_told_by_the_quote_suffix(name: str, assets: tuple[str, str]) -> None:
    assert split_symbol(name) == assets


@pytest.mark.parametrize("name", ["", "USDT", "ETHXYZ"])
def test_a_name_without_a_known_quote_is_asked_for(name: str) -> None:
    with pytest.raises(ConfigError, match="--assets ETH/USDT"):
        split_symbol(name)


# --- Grid ---


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["0.01", "0.01000000", "0.00000001", "1", "10", "0.05", "0.00025", "0.1"]),
    st.one_of(
        st.integers(-(10**12), 10**12).map(str),
        st.decimals("-1000000", "1000000", places=8).map(lambda number: f"{number:f}"),
        st.decimals("-1000000", "1000000", places=2).map(lambda number: f"{number:.8f}"),
    ),
)
def test_the_fast_way_to_units_is_the_exact_one(step: str, text: str) -> None:
    grid = Grid(Decimal(step))
    try:
        expected = to_units(text, Decimal(step))
    except ValueError:
        with pytest.raises(ValueError, match="multiple"):
            grid[text]
    else:
        assert grid[text] == expected == grid[text]


ODD = ["", ".", "-", ".5", "1e2", "NaN", "Infinity", " 1", "1_0", "１", "+1", "1.2.3", "9" * 5000, "--1", "1.-2"]


@pytest.mark.parametrize("text", ODD)
def test_only_a_plain_decimal_is_a_number(text: str) -> None:
    with pytest.raises(ValueError, match="plain decimal"):
        Grid(Decimal("0.01"))[text]


def test_the_grid_forgets_rather_than_grow() -> None:
    grid = Grid(Decimal(1))
    for number in range(Grid.KEEP + 10):
        assert grid[str(number)] == number
    assert len(grid) == 10
