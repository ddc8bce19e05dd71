"""Whole seeds: the same one is the same run in every process, and what is simulated is really there."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.faults import ROOT
from tetrio.chaos import run
from tetrio.chaos.troubles import TROUBLES
from tetrio.chaos.world import World

HOURS = 0.05


def _in_a_process(seed: int, hash_seed: str, zone: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tetrio", "chaos", "--seed", str(seed), "--hours", str(HOURS), "--json"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "TZ": zone},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


@pytest.mark.fault("F99")
def test_the_same_seed_is_the_same_run_in_two_processes() -> None:
    """S26, S24. Each process hashes its strings in its own way, and is in a time zone of its own."""
    one, two = _in_a_process(3, "1", "America/New_York"), _in_a_process(3, "4242", "Asia/Kathmandu")
    assert one["steps"] > 5000
    assert one["faults"]
    for each in (one, two):
        del each["wall_s"]
    assert one == two


def test_told_to_end_it_ends_its_workers_too() -> None:
    """A seed may take minutes: a machine that goes down does not wait for it."""
    command = [sys.executable, "-m", "tetrio", "chaos", "--seeds", "0:8", "--hours", "24", "--jobs", "2"]
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True) as process:
        deadline = time.monotonic() + 60
        while len(_children(process.pid)) < 3:  # the third is multiprocessing's resource tracker
            assert time.monotonic() < deadline
            time.sleep(0.1)
        workers = _children(process.pid)
        process.terminate()
        assert process.wait(30) == 128 + signal.SIGTERM
    while any(Path(f"/proc/{worker}/stat").exists() for worker in workers):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def test_another_seed_is_another_run() -> None:
    assert run.run_seed(1, 0.01).sha256 != run.run_seed(2, 0.01).sha256


@pytest.fixture
def worlds(monkeypatch: pytest.MonkeyPatch) -> list[World]:
    """The worlds that are made while a test runs."""
    made: list[World] = []

    class Kept(World):
        def __init__(self, *args: Any, **named: Any) -> None:
            super().__init__(*args, **named)
            made.append(self)

    monkeypatch.setattr(run, "World", Kept)
    return made


def test_a_calm_world_is_traded_in_and_telegram_hears_of_it(worlds: list[World]) -> None:
    """Without this the troubles of Telegram's side would befall nobody."""
    result = run.run_seed(1, 1 / 30, rate=0)
    assert result.violations == []
    assert result.faults == {}
    assert result.counts["fill"] > 0
    (world,) = worlds
    assert world.telegram.called("getUpdates")
    assert any(text.startswith("ready") for text in world.telegram.texts())
    assert len(world.lives) == 1
    assert world.lives[0].code == 0


def test_troubles_have_names_of_their_own_and_a_weight() -> None:
    assert all(name == each.name and each.weight > 0 for name, each in TROUBLES.items())
    assert all(least <= most for least, most in (each.lasts_s for each in TROUBLES.values()))


def test_runs_leave_nothing_of_their_worlds_behind_but_for_the_last_and_the_first() -> None:
    """A process runs hundreds of them. Who holds the first is never searched for garbage: it was there before."""
    for _ in range(4):
        run.run_seed(3, HOURS / 2, 0.0)
    assert sum(isinstance(each, World) for each in gc.get_objects()) <= 2


def test_a_world_that_fails_by_itself_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> str:
        raise NameError("name 'msgspec' is not defined")

    monkeypatch.setattr(run, "state_of_request", broken)
    violations = run.run_seed(1, 0.01).violations
    assert "WORLD" in {each.invariant for each in violations}
    assert any("NameError" in each.what for each in violations)
