"""Decimal text to integer units and back."""

from __future__ import annotations

from decimal import Decimal

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrio.core.money import SymbolRules, decimal, floor_units, places_of, plain, to_text, to_units

STEPS = st.sampled_from([Decimal(text) for text in ("1", "0.01", "0.00000001", "0.5", "0.025", "10")])
ETH = SymbolRules(
    name="ETHUSDT", base_asset="ETH", quote_asset="USDT", tick_size=Decimal("0.01"), step_size=Decimal("0.0001"),
    min_notional=Decimal(5),
)  # fmt: skip


@given(units=st.integers(0, 10**15), step=STEPS)
def test_text_of_units_reads_back_as_the_same_units(units: int, step: Decimal) -> None:
    assert to_units(to_text(units, step), step) == units
    assert to_units(plain(units, step), step) == units


@pytest.mark.fault("F63")
@given(units=st.integers(-(10**12), 10**12), step=STEPS)
def test_exact_multiples_never_lose_a_unit(units: int, step: Decimal) -> None:
    assert floor_units(units * step, step) == units


@given(amount=st.decimals(-(10**9), 10**9, allow_nan=False, places=10), step=STEPS)
def test_flooring_never_gives_more_than_there_is(amount: Decimal, step: Decimal) -> None:
    units = floor_units(amount, step)
    assert units * step <= amount < (units + 1) * step


@pytest.mark.fault("F63")
@pytest.mark.parametrize("text", ["0.015", "2681.2001", "1e-3"])
def test_text_off_the_grid_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a multiple of"):
        to_units(text, Decimal("0.01"))


@pytest.mark.parametrize("text", ["", "abc", "NaN", "Infinity", "1,5"])
def test_text_that_is_no_finite_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="number"):
        decimal(text)


def test_amounts_are_printed_as_binance_prints_them() -> None:
    assert to_text(268120, Decimal("0.01")) == "2681.20000000"
    assert to_text(1, Decimal("0.0000000001")) == "0.0000000001"
    assert to_text(10**25, Decimal("0.00000001")) == "100000000000000000.00000000"


def test_amounts_are_printed_for_people_without_needless_places() -> None:
    assert plain(268120, Decimal("0.01")) == "2681.20"
    assert plain(7, Decimal("1.00000000")) == "7"


def test_places_of_a_step_ignore_trailing_zeros() -> None:
    assert [places_of(Decimal(text)) for text in ("0.01000000", "1.00", "10", "0.025")] == [2, 0, 0, 3]


def test_smallest_notional_in_tick_lots_is_rounded_up() -> None:
    assert ETH.tick_lot == Decimal("0.000001")
    assert ETH.min_notional_tick_lots == 5_000_000
    odd = attrs.evolve(ETH, tick_size=Decimal("0.3"), step_size=Decimal(1), min_notional=Decimal(1))
    assert odd.min_notional_tick_lots == 4


def test_sellable_needs_quantity_and_notional() -> None:
    assert ETH.sellable(20, 250_000)
    assert not ETH.sellable(19, 250_000)
    assert not ETH.sellable(0, 10**12)


def test_rules_read_and_write_prices_and_quantities() -> None:
    assert ETH.price_ticks("2681.20000000") == 268120
    assert ETH.price_text(268120) == "2681.20000000"
    assert ETH.qty_lots("1.00020000") == 10002
    assert ETH.qty_text(10002) == "1.00020000"
    assert ETH.floor_lots(Decimal("1.00029999")) == 10002
    assert ETH.floor_tick_lots(Decimal("0.0000019")) == 1
