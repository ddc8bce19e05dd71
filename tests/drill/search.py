"""Seed after seed with a bug in the package, until an invariant names it.

What names the bug must be silent without it: where the package as it is violates the same invariant in the same seed,
the search goes on.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from tests.drill.bugs import ROOT, Bug, copy_with

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
        with _chaos(bug, Path(place), f"{first}:{last}") as process:
            return _read(bug, process)


@contextmanager
def _chaos(bug: Bug, place: Path, seeds: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tetrio", "chaos", "--seeds", seeds, "--json", *bug.options]
    environment = {**os.environ, "PYTHONPATH": str(place)}
    with subprocess.Popen(
        command, cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _results(process: subprocess.Popen[str]) -> Iterator[tuple[int, list[str]]]:
    """Each seed, and the invariants that it has violated."""
    assert process.stdout is not None, "it is a pipe"
    for line in process.stdout:
        result = json.loads(line)
        if "violations" in result:
            yield result["seed"], [violation["invariant"] for violation in result["violations"]]


def _read(bug: Bug, process: subprocess.Popen[str]) -> Found:
    seeds, others = 0, dict[str, int]()
    for seed, names in _results(process):
        seeds += 1
        named = [name for name in names if name in bug.invariants]
        anyway = _without(bug, seed) if named else set[str]()
        if new := [name for name in named if name not in anyway]:
            return Found(new[0], seeds)
        for name in names:
            others[name] = others.get(name, 0) + 1
    process.wait(WITHIN_S)
    if not seeds:
        assert process.stderr is not None, "it is a pipe"
        raise RuntimeError(f"{bug.name}: chaos ran no seed: {process.stderr.read()[-2000:]}")
    return Found("", seeds, f"; others named it: {others}" if others else "")


def _without(bug: Bug, seed: int) -> set[str]:
    """What a seed violates in the package as it is."""
    with _chaos(bug, ROOT, f"{seed}:{seed + 1}") as process:
        return {name for _, names in _results(process) for name in names}
