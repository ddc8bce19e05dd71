"""Days of one-minute klines, traded with the built-in thresholds in virtual time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.scenarios.referee import alternating, judge, read
from tests.scenarios.runs import KLINES, raw_lines, tetrio

DAYS = 3


@pytest.mark.fault("F5")
def test_three_days_hold_a_regime_change_a_hard_stop_and_an_opening_gate(tmp_path: Path) -> None:
    market, audit, journal = tmp_path / "ETHUSDT-1m.csv", tmp_path / "audit", tmp_path / "journal"
    market.write_text("".join(raw_lines(KLINES, 1 + DAYS * 1440)))
    run = tetrio("serve", "--market", market, "--speed", "max", "--audit", audit, "--journal", journal)
    assert run.returncode == 0, run.stderr[-2000:]
    verdict = judge(read(audit), takes="h")
    assert verdict.end["frames"] == DAYS * 1440
    assert alternating(verdict.exits)
    assert verdict.by("t") and verdict.by("h")
    assert verdict.left_open == []
    told = [json.loads(line) for line in journal.read_text().splitlines()]
    changes = [fact["regime"] for fact in told if fact["kind"] == "regime"]
    assert len(changes) >= 2
    assert {"BASE", "QUOTE"} <= set(changes)
    gates = [fact["state"] for fact in told if fact["kind"] == "gate"]
    assert gates[:2] == ["closed", "open"]
    assert all(fact["loss"] >= 0.005 for fact in told if fact["kind"] == "armed" and fact["reason"] == "h")
    assert [fact["state"] for fact in told if fact["kind"] == "epoch"] == ["begun"], "no line is cut after its 24 h"
    replaced = [fact["name"].partition("#")[0] for fact in told if "took over" in fact.get("why", "")]
    assert sorted(replaced) == ["account"] * 3 + ["market"] * 3, "each at 23 h, half an hour either way"
