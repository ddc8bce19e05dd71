"""Runs of the shipped command, as a user starts them."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.paths import SHARED

ROOT = Path(__file__).resolve().parents[2]
REPLAY = ROOT / "config" / "replay.toml"
CAPTURES = sorted((SHARED / "data" / "capture").glob("*.gz"))
KLINES = SHARED / "data" / "klines" / "ETHUSDT-1m-2025-06.csv.gz"


def tetrio(
    *arguments: object, within_s: float = 180.0, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "tetrio", *map(str, arguments)],
        capture_output=True, text=True, timeout=within_s, check=False, cwd=ROOT,
        env={**os.environ, **(environment or {})},
    )  # fmt: skip


def start(*arguments: object) -> subprocess.Popen[str]:
    """Start a command, with its output on pipes."""
    return subprocess.Popen(
        [sys.executable, "-m", "tetrio", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip


def facts(text: str) -> list[dict[str, Any]]:
    """The JSON lines of a run's standard error."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def kinds(lines: list[dict[str, Any]]) -> set[str]:
    """What kinds of facts there are."""
    return {line["kind"] for line in lines}


def raw_lines(path: Path, most: int | None = None) -> Iterator[str]:
    """Lines of a recorded market."""
    with gzip.open(path, "rt") as file:
        for number, line in enumerate(file):
            if number == most:
                return
            yield line
