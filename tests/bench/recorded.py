"""Recorded markets through exchange, network and bot in virtual time: `python -m tests.bench.recorded`.

Both captures, then a month of one-minute klines. Prints a line a market: frames, wall seconds, frames a second, exits.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from tests.scenarios.referee import judge, read
from tests.scenarios.runs import CAPTURES, KLINES, REPLAY, tetrio


def play(market: Path, *more: object) -> None:
    """Trade one market and print what it took."""
    with tempfile.TemporaryDirectory() as folder:
        audit = Path(folder) / "audit"
        began = time.perf_counter()
        run = tetrio("serve", "--market", market, "--speed", "max", "--audit", audit, *more, within_s=1200)
        took_s = time.perf_counter() - began
        if run.returncode:
            raise SystemExit(f"{market.name}: exit {run.returncode}\n{run.stderr[-2000:]}")
        verdict = judge(read(audit))
    frames = verdict.end["frames"]
    print(
        f"{market.name}: {frames} frames in {took_s:.1f} s, {frames / took_s:,.0f} a second, {len(verdict.exits)} exits"
    )


def main() -> None:
    """Both captures and the month."""
    for capture in CAPTURES:
        play(capture, "--config", REPLAY)
    play(KLINES)


if __name__ == "__main__":
    main()
