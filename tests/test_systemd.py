"""What systemd is told, over a socket that stands in for its own; and the units, judged by systemd's own tools."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from tetrio import config, systemd
from tetrio.cli import main
from tetrio.errors import ConfigError, TetrioError, Timeout
from tetrio.net import clock
from tetrio.status import LiveOrder, Status
from tetrio.systemd import Notifier, Told, describe, due, serve_systemd, watchdog_usec
from tetrio.venue import VenueParams

ROOT = Path(__file__).parent.parent
USEC = 30_000_000
MINUTES_15 = "WATCHDOG_USEC=900000000"


class Manager:
    """The other end: what systemd would read."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)

    def read(self) -> list[list[str]]:
        """Every datagram since the last look, as lines."""
        found = []
        while True:
            try:
                found.append(self._socket.recv(65536).decode().split("\n"))
            except BlockingIOError:
                return found

    def lines(self) -> list[str]:
        """Their lines, STATUS left out."""
        return [line for datagram in self.read() for line in datagram if not line.startswith("STATUS=")]

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager() -> Iterator[Manager]:
    with tempfile.TemporaryDirectory() as directory:  # tmp_path may be longer than an address can be
        manager = Manager(f"{directory}/notify")
        yield manager
        manager.close()


def ready(**fields: object) -> Status:
    known = {"phase": "ready", "alive": True, "symbol": "ETHUSDT", "regime": "BASE", "bid": "1.00", "ask": "1.01"}
    return Status(**{**known, **fields})  # type: ignore[arg-type]


def told(
    status: Status, now: float, before: Told, *, stopping: bool = False, usec: int = USEC
) -> tuple[list[str], Told]:
    """`due` without its STATUS."""
    lines, after = due(before, status, now, stopping=stopping, usec=usec)
    return [line for line in lines if not line.startswith("STATUS=")], after


# --- the socket ------------------------------------------------------------------------------------------------------


def test_a_datagram_goes_to_a_path(manager: Manager) -> None:
    notifier = Notifier(manager.address)
    assert notifier.send(["READY=1", "STATUS=fine"])
    assert manager.read() == [["READY=1", "STATUS=fine"]]


def test_a_datagram_goes_to_an_abstract_address() -> None:
    manager = Manager(f"@tetrio-test-{os.getpid()}")
    try:
        assert Notifier(manager.address).send(["WATCHDOG=1"])
        assert manager.read() == [["WATCHDOG=1"]]
    finally:
        manager.close()


@pytest.mark.parametrize("address", ["", "@", "/", "relative/path", "vsock:2:1234"])
def test_without_an_address_that_it_knows_nothing_is_sent(address: str) -> None:
    notifier = Notifier(address)
    assert not notifier.present
    assert not (notifier.send(["READY=1"]) or notifier.reloading() or notifier.reloaded())
    assert notifier.lost == 0


@pytest.mark.parametrize("address", ["/nowhere/at/all", "/" + "x" * 200, "/with\0nul", "@nobody-listens-here"])
def test_a_socket_that_cannot_be_reached_is_counted_and_raises_nothing(address: str) -> None:
    notifier = Notifier(address)
    assert not notifier.send(["READY=1"])
    assert (notifier.lost, notifier.ready) == (1, False)
    assert notifier.why_lost


def test_a_manager_that_reads_nothing_holds_nobody_up(manager: Manager) -> None:
    notifier = Notifier(manager.address)
    began = time.monotonic()
    sent = [notifier.send(["WATCHDOG=1"]) for _ in range(5000)]
    assert time.monotonic() - began < 5
    assert sent[0] and not sent[-1]
    assert notifier.lost == sent.count(False)
    manager.read()
    assert notifier.send(["WATCHDOG=1"])


@pytest.mark.parametrize(
    ("environ", "usec"),
    [
        ({}, 0),
        ({"WATCHDOG_USEC": "30000000"}, USEC),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "77"}, USEC),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "78"}, 0),
        ({"WATCHDOG_USEC": "soon", "WATCHDOG_PID": "77"}, 0),
        ({"WATCHDOG_USEC": "-1"}, 0),
    ],
)
def test_the_watchdogs_time_counts_for_the_process_it_names(environ: dict[str, str], usec: int) -> None:
    assert watchdog_usec(environ, 77) == usec


# --- the policy ------------------------------------------------------------------------------------------------------


def test_until_the_first_sync_is_complete_more_time_is_asked_for_and_nothing_else() -> None:
    before = Told()
    for now, phase in enumerate(("connecting", "syncing", "connecting", "syncing")):
        lines, before = told(Status(phase=phase), now, before)
        assert lines == ["EXTEND_TIMEOUT_USEC=30000000"]
    lines, before = told(ready(alive=False), 5, before)
    assert lines == ["READY=1"]


@pytest.mark.fault("F104")
def test_the_watchdog_is_fed_only_while_alive() -> None:
    lines, before = told(ready(), 0, Told())
    assert lines == ["READY=1", "WATCHDOG=1"]
    lines, before = told(ready(), 1, before)
    assert lines == ["WATCHDOG=1"]
    for now in range(2, 100):
        lines, before = told(ready(alive=False), now, before)
        assert lines == []


def test_without_a_watchdog_none_is_fed() -> None:
    lines, before = told(ready(), 0, Told(), usec=0)
    assert lines == ["READY=1"]
    assert told(Status(phase="connecting"), 1, before, usec=0)[0] == []


def test_a_lost_exchange_gets_fifteen_minutes_once_and_no_ping() -> None:
    before = Told(ready=True, alive_at=100)
    lines, before = told(Status(phase="connecting"), 100, before)
    assert lines == [MINUTES_15]
    for now in range(101, 900):
        lines, before = told(Status(phase="connecting" if now % 2 else "syncing", alive=True), now, before)
        assert lines == []


def test_back_in_ready_the_watchdog_has_its_own_time_before_it_is_fed() -> None:
    lines, before = told(ready(), 100, Told(ready=True, extended=True, alive_at=50))
    assert lines == [f"WATCHDOG_USEC={USEC}", "WATCHDOG=1"]
    assert told(ready(), 101, before)[0] == ["WATCHDOG=1"]


def test_wedged_right_after_a_lost_link_it_has_no_more_than_the_watchdogs_own_time() -> None:
    lines, before = told(ready(alive=False), 100, Told(ready=True, extended=True, alive_at=50))
    assert lines == [f"WATCHDOG_USEC={USEC}"]
    assert told(ready(alive=False), 101, before)[0] == []


@pytest.mark.parametrize("period", [1, 10, 29, 31, 400])
def test_going_back_and_forth_without_ever_being_alive_does_not_go_on_for_ever(period: int) -> None:
    before, deadline = Told(ready=True, alive_at=0.0), 30.0
    for step, now in enumerate(range(0, 3000, period)):
        status = ready(alive=False) if step % 2 else Status(phase="connecting")
        lines, before = told(status, now, before)
        for line in lines:
            assert line.startswith("WATCHDOG_USEC=")
            deadline = now + int(line.removeprefix("WATCHDOG_USEC=")) / 1e6
        if now > deadline:
            break
    else:
        pytest.fail("the watchdog never came to its end")
    assert deadline <= 930


def test_alive_after_the_time_was_up_but_before_the_restart_it_is_watched_as_ever() -> None:
    lines, before = told(ready(), 1000, Told(ready=True, extended=True, alive_at=50))
    assert lines == [f"WATCHDOG_USEC={USEC}", "WATCHDOG=1"]
    assert told(Status(phase="connecting"), 1001, before)[0] == ["WATCHDOG_USEC=899000000"]


def test_a_stop_is_told_once_and_more_time_asked_for_no_longer_than_it_may_take() -> None:
    lines, before = told(ready(), 100, Told(ready=True), stopping=True)
    assert lines == ["STOPPING=1", "EXTEND_TIMEOUT_USEC=20000000"]
    lines, before = told(Status(phase="stopping"), 115, before)
    assert lines == ["EXTEND_TIMEOUT_USEC=5000000"]
    assert told(Status(phase="stopping"), 121, before)[0] == []


def test_a_stop_before_ready_never_says_ready() -> None:
    lines, before = told(ready(), 0, Told(), stopping=True)
    assert lines == ["STOPPING=1", "EXTEND_TIMEOUT_USEC=20000000"]
    assert "READY=1" not in told(ready(), 1, before, stopping=True)[0]


# --- the line for a person -------------------------------------------------------------------------------------------


def test_the_status_names_regime_price_and_what_rests() -> None:
    assert describe(ready()) == "ETHUSDT BASE at 1.00 / 1.01, nothing rests"
    order = LiveOrder(side="SELL", price="1.02", qty="3", filled="1", client_order_id="c", placed_ns=0)
    assert describe(ready(order=order)) == "ETHUSDT BASE at 1.00 / 1.01, SELL 3 at 1.02 rests, 1 filled"
    assert describe(ready(paused=True, halted=True)).startswith("paused, halted, ETHUSDT")


def test_the_status_names_what_ails() -> None:
    assert describe(ready(alive=False, ailing=("not logged on", "late"))) == "not alive: not logged on; late"
    assert describe(Status(phase="syncing")) == "syncing"
    assert (
        describe(Status(phase="connecting", detail="lost; next try in 2.0 s")) == "connecting: lost; next try in 2.0 s"
    )


def test_the_status_is_one_short_line_without_a_secret() -> None:
    text = describe(
        Status(phase="connecting", detail=f"a\nb https://x/?apiKey=abcdefgh&signature=zyxw {'long ' * 100}")
    )
    assert "\n" not in text and len(text) <= systemd.STATUS_MOST
    assert "abcdefgh" not in text and "zyxw" not in text


def test_the_status_is_told_only_when_it_changed() -> None:
    lines, before = due(Told(), ready(), 0, stopping=False, usec=0)
    assert lines == ["READY=1", "STATUS=ETHUSDT BASE at 1.00 / 1.01, nothing rests"]
    lines, before = due(before, ready(), 1, stopping=False, usec=0)
    assert lines == []
    lines, before = due(before, ready(bid="0.99"), 2, stopping=False, usec=0)
    assert lines == ["STATUS=ETHUSDT BASE at 0.99 / 1.01, nothing rests"]


# --- the task --------------------------------------------------------------------------------------------------------


async def gather(manager: Manager, seconds: float) -> list[str]:
    """What is told meanwhile; looked at often, because a datagram socket holds but a few."""
    lines = []
    until = trio.current_time() + seconds
    while trio.current_time() < until:
        await trio.sleep(0.1)
        lines += manager.lines()
    return lines


async def test_it_tells_a_whole_life(manager: Manager, autojump_clock: trio.testing.MockClock) -> None:
    notifier, status, stop = Notifier(manager.address), Status(phase="connecting"), trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_systemd, notifier, status, stop.is_set, USEC)
        await trio.sleep(3.5)
        assert set(manager.lines()) == {"EXTEND_TIMEOUT_USEC=30000000"}
        assert not notifier.ready
        status.phase, status.alive = "ready", True
        lines = await gather(manager, 10)
        assert lines[0] == "READY=1"
        assert lines.count("WATCHDOG=1") == 10
        status.alive = False
        await trio.sleep(60)
        assert manager.lines() == []
        stop.set()
        status.phase = "stopping"
        await trio.sleep(2)
        nursery.cancel_scope.cancel()
    lines = manager.lines()
    assert lines[0] == "STOPPING=1" and lines.count("STOPPING=1") == 1
    assert notifier.lost == 0


async def test_it_pings_at_a_third_of_a_short_watchdog(
    manager: Manager, autojump_clock: trio.testing.MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_systemd, Notifier(manager.address), ready(), lambda: False, 600_000)
        lines = await gather(manager, 10)
        nursery.cancel_scope.cancel()
    assert 49 <= lines.count("WATCHDOG=1") <= 51


async def test_on_a_fast_clock_it_keeps_the_machines_time(
    manager: Manager, autojump_clock: trio.testing.MockClock
) -> None:
    clock.set_rate(20)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_systemd, Notifier(manager.address), ready(), lambda: False, USEC)
        lines = await gather(manager, 20 * 10)  # ten seconds of the machine
        nursery.cancel_scope.cancel()
    assert 9 <= lines.count("WATCHDOG=1") <= 11


async def test_a_stop_too_short_for_a_beat_is_told(manager: Manager, autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_systemd, Notifier(manager.address), ready(), lambda: False, USEC)
        await trio.sleep(0.5)
        nursery.cancel_scope.cancel()
    assert manager.lines()[-2:] == ["STOPPING=1", "EXTEND_TIMEOUT_USEC=20000000"]


async def test_what_could_not_be_sent_is_sent_with_the_next_beat(autojump_clock: trio.testing.MockClock) -> None:
    told_person: list[str] = []
    with tempfile.TemporaryDirectory() as directory:
        notifier = Notifier(f"{directory}/notify")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: serve_systemd(notifier, ready(), lambda: False, USEC, tell=told_person.append))
            await trio.sleep(5.5)
            assert not notifier.ready
            manager = Manager(f"{directory}/notify")
            await trio.sleep(1)
            assert manager.read()[0][0] == "READY=1"
            nursery.cancel_scope.cancel()
        manager.close()
    assert len(told_person) == 1
    assert told_person[0].startswith("systemd cannot be told anything: ")


async def test_without_a_socket_it_is_over_at_once(autojump_clock: trio.testing.MockClock) -> None:
    with trio.fail_after(0.1):
        await serve_systemd(Notifier(), ready(), lambda: False, USEC)


def test_a_reload_is_told_with_the_machines_monotonic_time_and_ends_in_ready(manager: Manager) -> None:
    notifier = Notifier(manager.address)
    assert not notifier.reloading() and not notifier.reloaded(), "before READY it would end the start"
    assert manager.read() == []
    notifier.send(["READY=1"])
    earliest = time.monotonic_ns() // 1000
    assert notifier.reloading() and notifier.reloaded()
    _, (reloading, at), (again,) = manager.read()
    assert (reloading, again) == ("RELOADING=1", "READY=1")
    assert earliest <= int(at.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000


# --- the units -------------------------------------------------------------------------------------------------------


def settings(text: str) -> dict[str, str]:
    """Name to (last) value of a unit without continuation lines."""
    return dict(line.split("=", 1) for line in text.splitlines() if re.match(r"[A-Z][A-Za-z]+=", line))


def test_the_units_in_ops_are_the_ones_that_are_installed() -> None:
    assert (ROOT / "ops" / systemd.SERVICE).read_text() == systemd.unit()
    assert (ROOT / "ops" / systemd.ALERT).read_text() == systemd.alert_unit()


@pytest.mark.fault("F105")
def test_what_only_the_operator_can_mend_is_not_restarted() -> None:
    def codes(cls: type[TetrioError]) -> Iterator[int]:
        yield cls.exit_code
        for each in cls.__subclasses__():
            yield from codes(each)

    never = set(map(int, settings(systemd.unit())["RestartPreventExitStatus"].split()))
    assert never == {2, 4, 6}
    assert never | {1, 3, 5, 7} >= set(codes(TetrioError))


@pytest.mark.fault("F105")
def test_an_exchange_that_cannot_be_reached_never_uses_up_the_starts() -> None:
    known = settings(systemd.unit())
    assert Timeout.exit_code not in map(int, known["RestartPreventExitStatus"].split())
    between_s = VenueParams().connect_deadline_s + int(known["RestartSec"])
    assert (int(known["StartLimitBurst"]) - 1) * between_s > int(known["StartLimitIntervalSec"])
    between_s = int(known["WatchdogSec"]) + int(known["RestartSec"])
    assert (int(known["StartLimitBurst"]) - 1) * between_s > int(known["StartLimitIntervalSec"])


def test_every_credential_that_tetrio_knows_is_passed_and_reloaded() -> None:
    text = systemd.unit(kept="/etc/other")
    for _, _, name in config.CREDENTIALS:
        assert f"\nLoadCredential={name}:/etc/other/{name}\nSetCredential={name}:\\n\n" in text
    names = " ".join(name for _, _, name in config.CREDENTIALS)
    assert f"for name in {names}; do" in text
    assert "/etc/tetrio/api-key" not in text


def test_a_path_with_a_percent_sign_is_itself() -> None:
    assert "--config /etc/50%%/tetrio.toml" in systemd.unit(config="/etc/50%/tetrio.toml")
    assert '--config "/etc/my bot/tetrio.toml"' in systemd.unit(config="/etc/my bot/tetrio.toml")


ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")


def analyze(*arguments: str) -> str:
    assert ANALYZE is not None
    done = subprocess.run([ANALYZE, *arguments], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@needs_systemd
@pytest.mark.parametrize("name", [systemd.SERVICE, systemd.ALERT])
def test_the_exposure_is_at_most_one_and_a_half(name: str) -> None:
    said = analyze("security", "--offline=true", "--threshold=15", "--no-pager", str(ROOT / "ops" / name))
    assert "exposure level" in said


@needs_systemd
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    python = sys.executable  # it wants a program that is there
    (tmp_path / systemd.SERVICE).write_text(systemd.unit(python=python))
    (tmp_path / systemd.ALERT).write_text(systemd.alert_unit(python=python))
    said = analyze("verify", "--man=no", str(tmp_path / systemd.SERVICE), str(tmp_path / systemd.ALERT))
    assert "tetrio" not in said


# --- tetrio systemd install ------------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A directory for units, on a machine whose interpreter a service may see."""
    monkeypatch.setattr(sys, "executable", "/usr/bin/env")
    return tmp_path


def test_install_writes_both_units_and_says_what_to_do_next(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["systemd", "install", "--dir", str(elsewhere)]) == 0
    said = capsys.readouterr().out
    assert (elsewhere / systemd.SERVICE).read_text() == systemd.unit(python="/usr/bin/env")
    assert (elsewhere / systemd.ALERT).read_text() == systemd.alert_unit(python="/usr/bin/env")
    for word in ("chmod 600", "/etc/tetrio/api-key", "systemctl daemon-reload", "enable --now", "journalctl -u tetrio"):
        assert word in said


def test_install_changes_no_other_file_unless_it_is_forced(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["systemd", "install", "--dir", str(elsewhere)]) == 0
    assert main(["systemd", "install", "--dir", str(elsewhere), "--json"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(said["files"].values()) == {"unchanged"}
    (elsewhere / systemd.ALERT).write_text("mine\n")
    assert main(["systemd", "install", "--dir", str(elsewhere), "--config", "/etc/x.toml"]) == ConfigError.exit_code
    assert "--force" in capsys.readouterr().err
    assert (elsewhere / systemd.ALERT).read_text() == "mine\n"
    assert (elsewhere / systemd.SERVICE).read_text() == systemd.unit(python="/usr/bin/env"), "none is written, not one"
    assert main(["systemd", "install", "--dir", str(elsewhere), "--config", "/etc/x.toml", "--force"]) == 0
    assert "--config /etc/x.toml" in (elsewhere / systemd.SERVICE).read_text()


def test_install_can_print_and_write_nothing(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["systemd", "install", "--dir", str(elsewhere), "--print"]) == 0
    assert capsys.readouterr().out == systemd.unit(python="/usr/bin/env")
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize(
    ("python", "given", "why"),
    [
        ("/home/me/tetrio/.venv/bin/python", "/etc/tetrio.toml", "/home"),
        ("/usr/bin/env", "/root/tetrio.toml", "/root"),
        ("/usr/bin/env", "tetrio.toml", "absolute"),
        ("/usr/bin/env", "/etc/it's.toml", "character"),
    ],
)
def test_install_refuses_what_the_service_could_not_see(
    elsewhere: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    python: str,
    given: str,
    why: str,
) -> None:
    monkeypatch.setattr(sys, "executable", python)
    assert main(["systemd", "install", "--dir", str(elsewhere), "--config", given]) == ConfigError.exit_code
    err = capsys.readouterr().err
    assert why in err and err.count("\n") == 1
    assert list(elsewhere.iterdir()) == []


def test_install_says_in_one_line_that_it_may_not_write(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["systemd", "install", "--dir", str(elsewhere / "absent")]) == ConfigError.exit_code
    assert capsys.readouterr().err.count("\n") == 1
