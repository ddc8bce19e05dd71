"""The parameter records and the gain scale's two notations."""

from __future__ import annotations

import attrs
import pytest

from tetrio.core.params import ExitParams, GainScale, Limits, RiskParams, StrategyParams


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (0.005, GainScale(0.005)),
        ("0.005", GainScale(0.005)),
        ("1.5atr", GainScale(1.5, True)),
        (" 2 ATR ", GainScale(2.0, True)),
    ],
)
def test_gain_scale_is_a_fraction_or_a_multiple_of_atr(given: float | str, expected: GainScale) -> None:
    assert GainScale.parse(given) == expected
    assert GainScale.parse(str(expected)) == expected


@pytest.mark.parametrize("given", ["", "atr", "x", "0", "-1", "inf", "nan", "1.5atm"])
def test_gain_scale_refuses_what_is_no_positive_number(given: str) -> None:
    with pytest.raises(ValueError, match=r"neither a fraction|above 0"):
        GainScale.parse(given)


@pytest.mark.parametrize("record", [StrategyParams, ExitParams, RiskParams])
def test_every_setting_has_a_meaning_and_a_default_within_its_range(record: type[attrs.AttrsInstance]) -> None:
    for field in attrs.fields(record):
        limits: Limits = field.metadata["limits"]
        assert len(field.metadata["meaning"]) > 10, field.name
        if limits.choices:
            assert field.default in limits.choices, field.name
        elif isinstance(field.default, int | float):
            assert limits.low is None or field.default >= limits.low, field.name
            assert limits.high is None or field.default <= limits.high, field.name
