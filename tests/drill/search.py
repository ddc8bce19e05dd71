"""Seed after seed with a bug in the package, until an invariant names it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import attrs

from tests.drill.bugs import Bug, copy_with

WITHIN_S = 1800.0


@attrs.frozen
class Found:
    """What became of a search."""

    invariant: str
    """The first of those that had to name it; "" when none did."""
    seeds: int
    """How many were run."""
    note: str = ""


def search(bug: Bug, first: int, last: int) -> Found:
    """Run seeds until the bug is found."""
    with tempfile.TemporaryDirectory(prefix="tetrio-drill-") as place:
        copy_with(bug, Path(place))
        command = [sys.executable, "-m", "tetrio", "chaos", "--seeds", f"{first}:{last}", "--json", *bug.options]
        environment = {**os.environ, "PYTHONPATH": place}
        with subprocess.Popen(
            command, cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                return _read(bug, process)
            finally:
                process.kill()


def _read(bug: Bug, process: subprocess.Popen[str]) -> Found:
    assert process.stdout is not None and process.stderr is not None, "both are pipes"
    seeds, others = 0, dict[str, int]()
    for line in process.stdout:
        result = json.loads(line)
        if "violations" not in result:
            continue
        seeds += 1
        names = [violation["invariant"] for violation in result["violations"]]
        for name in names:
            if name in bug.invariants:
                return Found(name, seeds)
            others[name] = others.get(name, 0) + 1
    process.wait(WITHIN_S)
    if not seeds:
        raise RuntimeError(f"{bug.name}: chaos ran no seed: {process.stderr.read()[-2000:]}")
    return Found("", seeds, f"; others named it: {others}" if others else "")
