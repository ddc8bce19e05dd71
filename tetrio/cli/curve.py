"""`tetrio curve`: how much of a gain is given back before a take-profit is armed, drawn for a terminal of 80 columns.

The numbers are the kernel's own (`core.trailing`). What only a market can say, the channel's part of the least gain
and an ATR, is not invented: the drawing says what it leaves out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

import attrs

from tetrio.core import trailing
from tetrio.core.market import Regime
from tetrio.core.params import StrategyParams
from tetrio.errors import ConfigError

COLUMNS = 66
LABEL = 9
SCALES = 5.0  # the curve has narrowed after as many gain scales
LEASTS = 3.0
TABLE = 6


@attrs.frozen(kw_only=True)
class Point:
    """The curve at one gain; all fractions."""

    gain: float
    factor: float
    callback: float
    """What is given back before the take-profit is armed."""
    kept: float
    """What is left of the gain then."""


@attrs.frozen(kw_only=True)
class Curve:
    """The curve of one regime."""

    regime: Regime
    decay: str
    scale: float
    """The gain scale, a fraction."""
    least: float
    """No take-profit is armed at this gain or less."""
    hard_stop: float
    points: tuple[Point, ...]
    """From a gain of 0, evenly."""
    notes: tuple[str, ...]
    """What the numbers leave out."""

    @property
    def most(self) -> float:
        """The largest gain that is looked at."""
        return self.points[-1].gain


@attrs.frozen(kw_only=True)
class Glyphs:
    """What is drawn with."""

    line: str
    faint: str
    mark: str
    floor: str
    side: str
    corner: str


UNICODE = Glyphs(line="●", faint="·", mark="┊", floor="─", side="│", corner="└")
ASCII = Glyphs(line="*", faint=".", mark=":", floor="-", side="|", corner="+")


def curve(params: StrategyParams, regime: Regime, atr_fraction: float | None = None) -> Curve:
    """The curve of `params`; ConfigError where it needs an ATR that is not given, or would widen.

    atr_fraction   ATR/price, a fraction, for scales such as "1.5atr"
    """
    if params.min_factor > params.start_factor:
        raise ConfigError("strategy.min_factor is above start_factor: the callback narrows from the one to the other")
    given = trailing.gain_scale(params, regime)
    scale = trailing.resolved_scale(given, atr_fraction, 1.0)
    if scale is None:
        raise ConfigError(
            f"strategy.gain_scale_{regime.name.lower()} = {given} depends on the market: say how large the ATR is as a "
            "fraction of the price, such as --atr-fraction 0.001"
        )
    least = trailing.static_gain(params, regime)
    most = max(SCALES * scale, LEASTS * least)
    points = tuple(point(params, scale, most * step / (COLUMNS - 1)) for step in range(COLUMNS))
    return Curve(
        regime=regime,
        decay=params.decay,
        scale=scale,
        least=least,
        hard_stop=params.hard_stop,
        points=points,
        notes=tuple(_notes(params, given.in_atr, atr_fraction)),
    )


def point(params: StrategyParams, scale: float, gain: float) -> Point:
    """The curve at one gain."""
    factor = trailing.factor(params, scale, gain)
    return Point(gain=gain, factor=factor, callback=gain * factor, kept=gain - gain * factor)


def table(params: StrategyParams, found: Curve) -> list[Point]:
    """A few points worth a line: the least gain, the scale, and steps up to the largest."""
    gains = {found.most * step / TABLE for step in range(1, TABLE + 1)} | {found.least, found.scale}
    return [point(params, found.scale, gain) for gain in sorted(gains)]


def _notes(params: StrategyParams, in_atr: bool, atr_fraction: float | None) -> list[str]:
    notes = []
    if in_atr:
        notes.append(f"the scale moves with the market; drawn for an ATR/price of {percent(atr_fraction or 0)}")
    elif atr_fraction is not None:
        notes.append("--atr-fraction changes nothing here: the gain scale is a fraction")
    if params.fee is None:
        notes.append("fee = auto counts as 0 here; trading, it is the account's maker rate")
    if params.donchian_gain:
        notes.append("a wide Donchian channel raises the least gain further (donchian_gain)")
    return notes


# --- drawing ---------------------------------------------------------------------------------------------------------


def drawn(params: StrategyParams, found: Curve, glyphs: Glyphs) -> str:
    """The whole picture, at most 80 columns wide."""
    holding = "the base" if found.regime is Regime.BASE else "the quote"
    head = f"holding {holding}: {found.decay} decay from {params.start_factor:g} to {params.min_factor:g}"
    lines = [f"{head}, gain scale {percent(found.scale)}", "", "callback: given back before a take-profit is armed"]
    lines += _panel(found, lambda each: each.callback, rows=9, floor=0.0, glyphs=glyphs)
    lines += ["", f"kept: gain less callback; the hard stop is {percent(found.hard_stop)} below the anchor"]
    lines += _panel(found, lambda each: each.kept, rows=9, floor=-found.hard_stop, glyphs=glyphs)
    lines += [_axis(found), f"{'':{LABEL}}{_under(found, glyphs)}", ""]
    lines += [f"{'gain':>10} {'factor':>8} {'callback':>10} {'kept':>10}"]
    for each in table(params, found):
        marks = [
            text
            for text, at in (("least gain: armed above it", found.least), ("gain scale", found.scale))
            if each.gain == at
        ]
        row = f"{each.gain:>10.3%} {each.factor:>8.3f} {each.callback:>10.3%} {each.kept:>10.3%}"
        lines.append(f"{row}  {', '.join(marks)}".rstrip())
    return "\n".join([*lines, *(f"note: {note}" for note in found.notes)])


def _panel(found: Curve, value: Callable[[Point], float], *, rows: int, floor: float, glyphs: Glyphs) -> Sequence[str]:
    """One curve above its floor; faint where no take-profit is armed."""
    top = max(map(value, found.points)) or 1.0
    step = (top - floor) / (rows - 1)
    grid = [[" "] * COLUMNS for _ in range(rows)]
    grid[0] = [glyphs.floor] * COLUMNS if floor < 0 else grid[0]
    for row in grid:
        row[_column(found, found.least)] = glyphs.mark
    for column, each in enumerate(found.points):
        armed = each.gain > found.least
        grid[round((value(each) - floor) / step)][column] = glyphs.line if armed else glyphs.faint
    labels = {rows - 1: percent(top), round(-floor / step): percent(0.0)}
    if floor < 0:
        labels[0] = percent(floor)
    return [
        f"{labels.get(number, ''):>{LABEL - 1}} {glyphs.side}{''.join(grid[number]).rstrip()}"
        for number in reversed(range(rows))
    ]


def _column(found: Curve, gain: float) -> int:
    return min(COLUMNS - 1, round(gain / found.most * (COLUMNS - 1)))


def _axis(found: Curve) -> str:
    """Gains under the panels."""
    cells = [" "] * (COLUMNS + LABEL)
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        text = percent(found.most * share)
        at = round(share * (COLUMNS - 1)) - (len(text) if share == 1.0 else len(text) // 2)
        at = max(at, 0)
        cells[at : at + len(text)] = text
    return f"{'gain':>{LABEL - 1}} {' '}{''.join(cells).rstrip()}"


def _under(found: Curve, glyphs: Glyphs) -> str:
    text = f"{glyphs.mark} least gain {percent(found.least)}: nothing is armed at less"
    at = min(_column(found, found.least), COLUMNS - len(text))
    return f" {' ' * at}{text}"


def percent(fraction: float) -> str:
    """A fraction in per cent, three decimals at the most."""
    text = f"{Decimal(repr(fraction)) * 100:.3f}"
    whole, _, rest = text.partition(".")
    return f"{whole}.{rest.rstrip('0') or '0'} %"
