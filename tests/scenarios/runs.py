"""Runs of the shipped command, as a user starts them."""

from __future__ import annotations

import atexit
import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from tests.paths import SHARED

HOME = Path(tempfile.mkdtemp(prefix="tetrio-tests-"))
"""Where the bots of one run of the tests keep the operator's words and their sockets."""
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
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
        env=surroundings(environment),
    )  # fmt: skip


def start(
    *arguments: object, environment: dict[str, str] | None = None, told: IO[str] | None = None
) -> subprocess.Popen[str]:
    """Start a command, with its output on pipes; what it says on standard error goes to `told`, where given."""
    return subprocess.Popen(
        [sys.executable, "-m", "tetrio", *map(str, arguments)],
        stdout=subprocess.PIPE if told is None else subprocess.DEVNULL, stderr=told or subprocess.PIPE,
        text=True, cwd=ROOT, env=surroundings(environment),
    )  # fmt: skip


def surroundings(environment: dict[str, str] | None = None) -> dict[str, str]:
    """This environment, with directories of the tests' own for what a bot keeps."""
    return {
        **os.environ, "XDG_STATE_HOME": str(HOME), "TETRIO__CONTROL__SOCKET": "off", **(environment or {}),
    }  # fmt: skip


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
