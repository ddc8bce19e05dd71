"""Commands over recorded steps and numbers alone: nothing is connected to."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tetrio.cli.common import add_configuration, command, overrides, print_json

if TYPE_CHECKING:
    from tetrio.cli.common import Commands


def add(commands: Commands) -> None:
    """Add these commands to the command line."""
    _add_explain(commands)
    _add_curve(commands)


def _add_explain(commands: Commands) -> None:
    explain = command(commands, "explain", _explain, "run the decisions alone over recorded steps, one JSON line each")
    explain.add_argument("steps", type=Path, metavar="STEPS", help="JSON lines: params, history, steps; .gz or not")
    add_configuration(explain)
    explain.add_argument("--why", action="store_true", help="add the sentence that a person reads")


def _explain(options: argparse.Namespace) -> int:
    from tetrio import config, explain

    base = config.read(options.config, os.environ).strategy
    given = [config.from_option(text) for text in options.set]
    overrides = {each.key: config.structure_one(each) for each in given}
    strategy = {key: value for key, value in overrides.items() if key.startswith("strategy.")}
    for step in explain.steps(options.steps, base, strategy, why=options.why):
        sys.stdout.write(json.dumps(step, ensure_ascii=False) + "\n")
    return 0


def _add_curve(commands: Commands) -> None:
    curve = command(commands, "curve", _curve, "draw how much of a gain the configured decay gives back")
    add_configuration(curve)
    curve.add_argument("--regime", choices=("base", "quote"), default="base", help="holding which (default base)")
    curve.add_argument(
        "--atr-fraction", type=_fraction, metavar="F", help='ATR/price, a fraction, for a gain scale such as "1.5atr"'
    )


def _curve(options: argparse.Namespace) -> int:
    import attrs

    from tetrio import config
    from tetrio.cli import curve
    from tetrio.core.market import Regime

    settings = config.read(options.config, os.environ, overrides(options))
    found = curve.curve(settings.strategy, Regime(options.regime.upper()), options.atr_fraction)
    if options.json:
        print_json(**attrs.asdict(found) | {"regime": options.regime})
        return 0
    unicode = "utf" in (sys.stdout.encoding or "").lower()
    print(curve.drawn(settings.strategy, found, curve.UNICODE if unicode else curve.ASCII))
    return 0


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a fraction") from None
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is outside 0 to 1: a fraction, not per cent (0.1 % is 0.001)")
    return value
