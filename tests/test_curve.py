"""The curve is the kernel's, and its drawing fits a terminal."""

from __future__ import annotations

import io
import json
import math
import sys

import attrs
import pytest

from tetrio.cli import curve, main
from tetrio.core import trailing
from tetrio.core.market import Regime
from tetrio.core.params import GainScale, StrategyParams
from tetrio.errors import ConfigError

DEFAULTS = StrategyParams()
BASE = Regime.BASE


@pytest.mark.parametrize("decay", ["exponential", "hyperbolic"])
@pytest.mark.parametrize("regime", [Regime.BASE, Regime.QUOTE])
def test_every_point_is_what_the_kernel_would_give_back(decay: str, regime: Regime) -> None:
    params = attrs.evolve(DEFAULTS, decay=decay, gain_scale_quote=GainScale(0.01), min_gain_quote=0.02)
    found = curve.curve(params, regime)
    scale = trailing.gain_scale(params, regime).value
    for each in found.points:
        assert each.factor == trailing.factor(params, scale, each.gain)
        assert each.callback == pytest.approx(each.gain * each.factor)
        assert each.kept == pytest.approx(each.gain - each.callback)
    assert found.least == trailing.static_gain(params, regime)
    assert found.points[0].gain == 0
    assert found.most >= 3 * found.least


@pytest.mark.parametrize("regime", [Regime.BASE, Regime.QUOTE])
def test_what_is_kept_is_what_the_armed_price_is_worth(regime: Regime) -> None:
    """From the price at which the kernel arms: its value against the anchor's is the curve's `kept`."""
    anchor = 3000.0
    for each in curve.curve(DEFAULTS, regime).points[40:]:
        high = anchor * (1 + each.gain) if regime is BASE else anchor / (1 + each.gain)
        price = trailing.arm_price(DEFAULTS, regime, None, 0.005, anchor, high)
        assert price is not None
        value = price / anchor if regime is BASE else anchor / price
        assert value - 1 == pytest.approx(each.kept)


def test_a_scale_in_atr_asks_for_one() -> None:
    params = attrs.evolve(DEFAULTS, gain_scale_base=GainScale(1.5, in_atr=True))
    with pytest.raises(ConfigError, match=r"1\.5atr depends on the market.*--atr-fraction 0\.001"):
        curve.curve(params, BASE)
    found = curve.curve(params, BASE, 0.002)
    assert found.scale == pytest.approx(0.003)
    assert "ATR/price of 0.2 %" in found.notes[0]
    assert "changes nothing" in curve.curve(DEFAULTS, BASE, 0.002).notes[0]


def test_a_decay_that_would_widen_is_refused() -> None:
    with pytest.raises(ConfigError, match="narrows"):
        curve.curve(attrs.evolve(DEFAULTS, min_factor=0.6), BASE)


ODD = [
    DEFAULTS,
    attrs.evolve(DEFAULTS, min_gain_base=0.0, buffer=0.0, fee=0.0),
    attrs.evolve(DEFAULTS, min_gain_base=1.0, hard_stop=1.0),
    attrs.evolve(DEFAULTS, start_factor=0.0, min_factor=0.0),
    attrs.evolve(DEFAULTS, start_factor=1.0, min_factor=1.0, gain_scale_base=GainScale(1e-7)),
    attrs.evolve(DEFAULTS, gain_scale_base=GainScale(50.0), decay="hyperbolic"),
]


@pytest.mark.parametrize("params", ODD)
@pytest.mark.parametrize("glyphs", [curve.UNICODE, curve.ASCII])
def test_the_drawing_fits_a_terminal_whatever_the_settings(params: StrategyParams, glyphs: curve.Glyphs) -> None:
    lines = curve.drawn(params, curve.curve(params, BASE), glyphs).splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 40
    assert (glyphs is curve.ASCII) == "\n".join(lines).isascii()


def test_the_drawing_rises_from_the_left_and_marks_the_least_gain() -> None:
    lines = curve.drawn(DEFAULTS, curve.curve(DEFAULTS, BASE), curve.ASCII).splitlines()
    panel = lines[lines.index("callback: given back before a take-profit is armed") + 1 :][:9]
    assert "*" in panel[0], "the largest callback is in the uppermost row"
    assert max(range(9), key=lambda number: panel[number].rfind("*")) == 0, "and at the largest gain"
    (column,) = {row.index(":") for row in panel if ":" in row}
    assert all("*" not in row[:column] for row in panel), "nothing is armed left of the least gain"
    assert any(": least gain 1.0 %" in line for line in lines)
    assert sum("hard stop is 0.5 % below" in line for line in lines) == 1
    assert any(line.split()[:4] == ["1.000%", "0.154", "0.154%", "0.846%"] for line in lines)


def test_the_command_draws_and_tells_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["curve"]) == 0
    assert "holding the base: exponential decay from 0.5 to 0.1, gain scale 0.5 %" in capsys.readouterr().out
    assert main(["curve", "--json", "--regime", "quote", "--set", "strategy.decay=hyperbolic"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["regime"], said["decay"], said["hard_stop"]) == ("quote", "hyperbolic", 0.005)
    assert said["points"][-1]["callback"] == pytest.approx(0.1 * said["points"][-1]["gain"])
    assert math.isclose(said["points"][-1]["gain"], 0.03)
    assert main(["curve", "--set", "strategy.gain_scale_base=1.5atr"]) == 4
    assert "--atr-fraction" in capsys.readouterr().err
    assert main(["curve", "--set", "strategy.gain_scale_base=1.5atr", "--atr-fraction", "0.001"]) == 0
    for wrong in ("0", "2", "much", "nan"):
        with pytest.raises(SystemExit, match="2"):
            main(["curve", "--atr-fraction", wrong])


def test_a_terminal_that_knows_no_unicode_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    assert main(["curve"]) == 0
    out.seek(0)
    assert "*****" in out.read()
