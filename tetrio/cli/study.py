"""Commands over recorded steps and numbers alone: nothing is connected to."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tetrio.cli.common import add_configuration, command

if TYPE_CHECKING:
    from tetrio.cli.common import Commands


def add(commands: Commands) -> None:
    """Add these commands to the command line."""
    _add_explain(commands)


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
