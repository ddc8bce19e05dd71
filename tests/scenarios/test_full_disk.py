"""A disk that is full, a standard error that is closed or that nobody reads: said where it can be, and traded on.

In virtual time the exchange's own record is the same to the byte as with everything healthy. Over real sockets, where
no two runs are the same to the byte, the run ends in order and on time.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.scenarios.referee import judge, read
from tests.scenarios.runs import CAPTURES, REPLAY, ROOT, facts, raw_lines

LIMIT = 1 << 24  # bytes that a file of the run may have; the audit needs some kilobytes


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five minutes of a recorded market: long enough to trade."""
    path = tmp_path_factory.mktemp("market") / "market.jsonl"
    path.write_text("".join(raw_lines(CAPTURES[1], 6000)))
    return path


@pytest.fixture(scope="module")
def healthy(market: Path) -> bytes:
    """The exchange's record of a run with everything in order."""
    audit = market.with_name("audit")
    done = subprocess.run(
        command(market, audit, "max", "--journal", market.with_name("journal")),
        check=False, cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(judge(read(audit)).exits) >= 2
    return audit.read_bytes()


def command(market: Path, audit: Path, speed: str, *more: object) -> list[str]:
    return [
        *(sys.executable, "-m", "tetrio", "serve", "--config", str(REPLAY), "--venue", "sim", "--market", str(market)),
        *("--set", "symbol.name=ETHUSDT", "--speed", speed, "--exit-at-end", "--audit", str(audit), *map(str, more)),
    ]


def lost(text: str) -> list[str]:
    """Which sinks were said to lose lines, and why."""
    return [f"{each['sink']}: {each['why']}" for each in facts(text) if each.get("state") == "lost" and "sink" in each]


@pytest.mark.fault("F107")
def test_a_journal_on_a_full_disk(market: Path, healthy: bytes, tmp_path: Path) -> None:
    done = subprocess.run(
        command(market, tmp_path / "audit", "max", "--journal", "/dev/full"),
        check=False, cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "audit").read_bytes() == healthy
    assert lost(done.stderr) == ["/dev/full: No space left on device"], "once"


@pytest.mark.fault("F107")
def test_a_disk_that_fills_up_on_the_way(market: Path, healthy: bytes, tmp_path: Path) -> None:
    """The journal stands a little under the largest size that a file may have."""
    journal = tmp_path / "journal"
    with journal.open("wb") as file:
        file.truncate(LIMIT - 1000)
        file.seek(0, os.SEEK_END)
        file.write(b"\n")
    done = subprocess.run(
        command(market, tmp_path / "audit", "max", "--journal", journal),
        check=False, cwd=ROOT, capture_output=True, text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT)),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "audit").read_bytes() == healthy
    assert lost(done.stderr) == [f"{journal}: File too large"]
    assert journal.stat().st_size == LIMIT


def test_a_status_file_on_a_full_disk(market: Path, healthy: bytes, tmp_path: Path) -> None:
    """What is written beside it, to be renamed, goes to a device that takes nothing."""
    (tmp_path / ".status.new").symlink_to("/dev/full")
    done = subprocess.run(
        command(market, tmp_path / "audit", "max", "--status-file", tmp_path / "status"),
        check=False, cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "audit").read_bytes() == healthy
    assert not (tmp_path / "status").exists()


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-", ">/dev/full 2>/dev/full", "<&- >&- 2>&-"])
def test_standard_streams_that_are_full_or_closed(
    redirection: str, market: Path, healthy: bytes, tmp_path: Path
) -> None:
    """What is opened in the place of a closed stream, such as the audit, must not get its lines."""
    arguments = command(market, tmp_path / "audit", "max", "--journal", tmp_path / "journal")
    done = subprocess.run(["/bin/sh", "-c", f'exec "$@" {redirection}', "sh", *arguments], check=False, cwd=ROOT)
    assert done.returncode == 0
    assert (tmp_path / "audit").read_bytes() == healthy
    told = facts((tmp_path / "journal").read_text())
    assert [each["kind"] for each in told if each["kind"] in ("start", "stop")][:1] == ["start"]
    said = [each["state"] for each in told if each.get("sink") == "stderr"]
    assert said == ["lost"] or (said == [] and "2>&-" in redirection), "closed is as good as the null device"


def over_sockets(market: Path, tmp_path: Path, stderr: int, *more: object) -> int:
    """Trade at 20 times the speed; the exit code."""
    process = subprocess.Popen(
        command(market, tmp_path / "audit", "20", *more), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=stderr
    )
    try:
        return process.wait(timeout=60)
    finally:
        process.kill()
        process.wait()


def full_pipe() -> tuple[int, int]:
    """A pipe that takes nothing more, though nobody has closed it."""
    end, start = os.pipe()
    os.set_blocking(start, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(start, b"\n" * 4096)
    os.set_blocking(start, True)
    return end, start


def broken_pipe() -> tuple[int, int]:
    """A pipe whose reader has gone."""
    end, start = os.pipe()
    os.close(end)
    return os.open(os.devnull, os.O_RDONLY), start


@pytest.mark.parametrize("make", [full_pipe, broken_pipe])
def test_a_reader_that_stalls_or_goes_holds_up_nobody(
    make: Callable[[], tuple[int, int]], market: Path, tmp_path: Path
) -> None:
    end, start = make()
    began = time.monotonic()
    try:
        assert over_sockets(market, tmp_path, start, "--journal", tmp_path / "journal") == 0
    finally:
        os.close(end)
        os.close(start)
    assert time.monotonic() - began < 45
    verdict = judge(read(tmp_path / "audit"))
    assert verdict.exits
    assert verdict.left_open == []
    told = facts((tmp_path / "journal").read_text())
    assert [each["state"] for each in told if each.get("sink") == "stderr"] == ["lost"], "said where it can be"


def test_a_full_disk_over_sockets_is_said_on_standard_error(market: Path, tmp_path: Path) -> None:
    with (tmp_path / "stderr").open("w+") as stderr:
        assert over_sockets(market, tmp_path, stderr.fileno(), "--journal", "/dev/full") == 0
    told = (tmp_path / "stderr").read_text()
    assert lost(told) == ["/dev/full: No space left on device"]
    assert json.loads(told.splitlines()[-1])["kind"] == "stop"
    assert judge(read(tmp_path / "audit")).exits
