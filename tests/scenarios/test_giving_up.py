"""A process whose strategy hangs, again and again: it is restarted, and where that does not help the process ends."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.scenarios.runs import REPLAY, ROOT, facts, surroundings
from tests.sim.served import record, top, trade
from tetrio.live.watchdog import MOST_WEDGES

HANGING = """
    import sys
    import trio
    from tetrio.cli import main
    from tetrio.live.strategy import Strategy

    follows = Strategy.run

    async def hangs(self, inbox):
        with trio.move_on_after({after_s}):
            await follows(self, inbox)
        with trio.CancelScope(shield={shield}):
            await trio.sleep_forever()

    Strategy.run = hangs
    sys.exit(main(sys.argv[1:]))
"""


def hanging(tmp_path: Path, *, after_s: float, shield: bool, every_s: float) -> subprocess.CompletedProcess[str]:
    """`tetrio serve` in virtual time, with a strategy that takes nothing from some seconds after each start on."""
    lines = [trade(0.001, "3412.36", "0.0001")]
    for number in range(round(900 / every_s)):
        cents = 36 + number % 7
        lines.append(top(number * every_s, f"3412.{cents}", "1000.0000", f"3412.{cents + 1}", "1000.0000"))
    market = record(tmp_path / "market", lines)
    program = textwrap.dedent(HANGING).format(after_s=after_s, shield=shield)
    return subprocess.run(
        [sys.executable, "-c", program, "serve", "--market", str(market), "--config", str(REPLAY), "--speed", "max"],
        capture_output=True, text=True, timeout=120, check=False, cwd=ROOT, env=surroundings(),
    )  # fmt: skip


@pytest.mark.fault("F103", "F105", "F110")
@pytest.mark.parametrize(
    ("every_s", "why"),
    [(1.0, "the strategy has taken nothing for "), (0.01, "the strategy has not taken a batch for 10 s")],
    ids=["a quiet market", "a lively one"],
)
def test_where_restarts_do_not_help_the_process_ends_with_7(tmp_path: Path, every_s: float, why: str) -> None:
    run = hanging(tmp_path, after_s=3, shield=False, every_s=every_s)
    assert run.returncode == 7
    last = run.stderr.splitlines()[-1]
    assert last.startswith(f"tetrio: restarted {MOST_WEDGES} times in 10 minutes, and it does not help: {why}")
    told = facts(run.stderr)
    assert sum(fact["kind"] == "ready" for fact in told) == MOST_WEDGES + 1, "each was as good as new at first"
    assert {fact["state"] for fact in told if fact["kind"] == "stop"} == {"nothing rests", "failed"}


@pytest.mark.fault("F103", "F110")
def test_an_epoch_that_does_not_even_end_ends_the_process_with_7(tmp_path: Path) -> None:
    run = hanging(tmp_path, after_s=3, shield=True, every_s=1.0)
    assert run.returncode == 7
    said = [line for line in run.stderr.splitlines() if not line.startswith("{")]
    assert said[0].startswith("tetrio: an epoch did not end within 10 s of being cancelled (the strategy has taken")
    assert any(line.endswith(" hangs") for line in said), "where its tasks waited"
