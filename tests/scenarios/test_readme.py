"""The newcomer's path in the README: each command of it is run, as it stands there.

Binance is played by `tetrio exchange` on loopback: the URLs come from the environment, the commands are the README's.
Those of an own service manager or container engine are run by `ops/systemd-test` and `ops/docker-test`; here each of
them must stand in the script that runs it.
"""

from __future__ import annotations

import argparse
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
import trio

from tests.paths import SHARED
from tests.scenarios.runs import HOME, ROOT, start

README = (ROOT / "README.md").read_text("utf-8")
OPS = {name: (ROOT / "ops" / name).read_text("utf-8") for name in ("systemd-test", "docker-test", "compose.yaml")}


def commands(heading: str) -> list[str]:
    """The commands of a section: its indented blocks, without the remarks beside them."""
    section = README.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line[4:] for line in section.splitlines() if line.startswith("    ")]
    return [re.split(r"\s{3,}", line)[0] for line in lines]


PATH = commands("From here to an account of your own")
WORDS = commands("Talking to it")
EXCHANGE = commands("An exchange for any client")
BY_SYSTEMD = ("python3 -m venv /opt", "/opt/tetrio", "install -", "systemctl", "journalctl")
BY_DOCKER = ("docker",)
OURS = [each for each in PATH if not each.startswith((*BY_SYSTEMD, *BY_DOCKER))]


@attrs.define
class Place:
    """A directory as a newcomer has it, and an exchange that stands for Binance."""

    here: Path
    urls: dict[str, str]
    environment: dict[str, str]

    def run(self, command: str, *, said: str = "", code: int = 0, within_s: float = 40) -> str:
        """One command line, to its end."""
        ended = subprocess.run(
            ["bash", "-c", command], input=said, capture_output=True, text=True, timeout=within_s, check=False,
            cwd=self.here, env=self.environment,
        )  # fmt: skip
        assert ended.returncode == code, ended.stderr + ended.stdout
        return ended.stdout + ended.stderr

    def terminal(self, command: str, said: bytes) -> tuple[subprocess.Popen[bytes], int]:
        """One command on a terminal, with something typed."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"], stdin=theirs, stdout=theirs, stderr=theirs, cwd=self.here,
            env={**self.environment, "TERM": "xterm"}, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        os.write(ours, said)
        return process, ours


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    here = tmp_path / "tetrio"
    here.mkdir()
    (here / "config").symlink_to(ROOT / "config")
    (tmp_path / "shared").symlink_to(SHARED)
    with exchange(tmp_path) as urls:
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "XDG_STATE_HOME": str(tmp_path / "state"),
            "XDG_RUNTIME_DIR": tempfile.mkdtemp(dir=HOME),  # short: a socket's path has room for a hundred characters
            **{f"TETRIO__VENUE__{name.upper()}": urls[name] for name in ("rest", "ws_api", "stream")},
        }
        yield Place(here, urls, environment)


@contextmanager
def exchange(folder: Path) -> Iterator[dict[str, str]]:
    """What stands for Binance; it knows the key that this test makes."""
    maker = subprocess.run(
        [sys.executable, "-m", "tetrio", "keys", "new", "--out", str(folder / "made.pem")],
        capture_output=True, check=True, cwd=ROOT,
    )  # fmt: skip
    assert maker.returncode == 0
    process = start(
        "exchange", "--symbol", "ETHFDUSD", "--fund", "ETH=1", "--fund", "FDUSD=0", "--speed", "20",
        "--key", f"bought={folder / 'made.pub.pem'}",
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)


def lend_key(place: Place, name: str) -> None:
    """The exchange knows one key: it takes the place of the one that the newcomer has just made."""
    made = place.here.parent
    for ending in (".pem", ".pub.pem"):
        (place.here / f"{name}{ending}").write_bytes((made / f"made{ending}").read_bytes())


def serves(place: Place, command: str, **more: str) -> None:
    """A `tetrio serve` that becomes ready, answers over its socket, and ends in order."""
    process = subprocess.Popen(
        shlex.split(command), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=place.here,
        env={**place.environment, **more},
    )  # fmt: skip
    try:
        assert process.stderr is not None
        seen = []
        for line in process.stderr:
            seen.append(line)
            if '"kind":"ready"' in line:
                break
        else:
            raise AssertionError("".join(seen[-5:]))
        assert "alive" in place.run("tetrio status")
        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate(timeout=10)
        assert process.returncode == 0, rest
    finally:
        process.kill()
        process.communicate()


def test_the_testnets_path(place: Place) -> None:
    new, paste, check, doctor, _, serve = OURS[:6]
    assert "testnet.binance.vision" in place.run(new)
    place.run(paste, said="bought\n")
    lend_key(place, "testnet")
    assert "Ed25519" in place.run(check)
    assert "nothing failed" in place.run(doctor)
    serves(place, serve)


def test_the_paper_path(place: Place) -> None:
    del place.environment["TETRIO__VENUE__WS_API"]  # its orders go to an exchange of its own
    serves(place, OURS[4])


def test_the_live_path_with_its_typed_confirmation(place: Place) -> None:
    new, paste, doctor, serve = OURS[6:10]
    place.run(new)
    place.run(paste, said="bought\n")
    lend_key(place, "live")
    assert "nothing failed" in place.run(doctor)
    process, terminal = place.terminal(serve, b"trade ETHFDUSD\n")
    try:
        until = time.monotonic() + 30
        while "alive" not in _tried(place, "tetrio health").splitlines()[:1]:
            assert time.monotonic() < until
            os.set_blocking(terminal, False)
            with open(terminal, "rb", closefd=False) as screen:
                screen.read()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
    finally:
        process.kill()
        process.wait()
        os.close(terminal)


def _tried(place: Place, command: str) -> str:
    return subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False, env=place.environment, timeout=20
    ).stdout


def test_without_the_confirmation_nothing_is_sent(place: Place) -> None:
    place.run("tetrio keys new --out live.pem")
    place.run("(umask 077; cat > live.api-key)", said="bought\n")
    assert "asks for a confirmation on a terminal" in place.run(OURS[9], code=4)
    assert "live = true" in place.run("tetrio serve --config config/live.toml", code=4)


async def test_the_telegram_path(tmp_path: Path) -> None:
    from tetrio.chaos.bot_api import TOKEN, serving

    paste, notify = OURS[10:12]
    (tmp_path / "config").symlink_to(ROOT / "config")
    async with serving(time.time) as api:
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "TETRIO__TELEGRAM__TOKEN_FILE": "telegram.token",
            "TETRIO__TELEGRAM__CHATS": "11",
            "TETRIO__TELEGRAM__USERS": "7",
            "TETRIO__TELEGRAM__URL": api.url,
        }
        for command, said in ((paste, TOKEN), (notify, "")):
            ended = await trio.run_process(
                ["bash", "-c", command], stdin=said.encode(), capture_stdout=True, capture_stderr=True, check=False,
                cwd=tmp_path, env=environment,
            )  # fmt: skip
            assert ended.returncode == 0, ended.stderr
        assert len(api.texts(11)) == 1
        assert TOKEN.encode() not in ended.stdout + ended.stderr


def test_the_words_of_the_shell(place: Place) -> None:
    bot = subprocess.Popen(
        ["tetrio", "serve", "--speed", "20", "--venue", "sim"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
        text=True, cwd=place.here, env={k: v for k, v in place.environment.items() if "VENUE" not in k},
    )  # fmt: skip
    try:
        assert bot.stderr is not None
        assert any('"kind":"ready"' in line for line in bot.stderr)
        environment = place.environment
        watch, *words, stop = WORDS
        assert watch == "tetrio status --watch"
        shown = subprocess.run(
            ["timeout", "-s", "INT", "2.5", *shlex.split(watch)], capture_output=True, text=True, check=False,
            env=environment,
        )  # fmt: skip
        assert shown.stdout.count("regime") >= 1
        for read in ("why", "orders", "fills", "balance", "profit"):
            assert json.loads(place.run(f"tetrio {read} --json"))
        for word in words:
            if word == "tetrio flatten":  # the exit before it may have been done already
                said = _tried(place, f"{word} --yes 2>&1")
                assert "at once as a taker" in said or "a moment ago" in said
            else:
                assert place.run(word)
        assert "stopping" in place.run(stop)
        assert bot.wait(timeout=5) == 0
    finally:
        bot.kill()
        bot.communicate()


RUN_BY_SYSTEMD_TEST = {
    "python3 -m venv /opt/tetrio/venv": r"python3 -m venv \$VENV",
    "/opt/tetrio/venv/bin/python -m pip install --require-hashes -r requirements.lock":
        r"\$VENV/bin/python -m pip install[^&]*--require-hashes -r \S*requirements.lock",
    "/opt/tetrio/venv/bin/python -m pip install --no-deps --no-build-isolation .":
        r'"\$VENV/bin/python" -m pip install[^&]*--no-deps[^&]*--no-build-isolation',
    "install -d -m 755 /etc/tetrio": r"install -d -m 755 /etc/tetrio",
    "install -m 644 config/live.toml /etc/tetrio/tetrio.toml": r"chmod 644 /etc/tetrio/tetrio.toml",
    "install -m 600 live.pem /etc/tetrio/ed25519.pem": r"install -m 600 \S+ /etc/tetrio/ed25519.pem",
    "install -m 600 live.api-key /etc/tetrio/api-key": r"install -m 600 \S+ /etc/tetrio/api-key",
    "/opt/tetrio/venv/bin/python -m tetrio systemd install": r'"\$VENV/bin/python" -m tetrio systemd install',
    "systemctl daemon-reload": r"\n    systemctl daemon-reload",
    "systemctl enable --now tetrio": r" systemctl enable --now tetrio\n",
    "systemctl status tetrio": r"systemctl status tetrio \|",
    "journalctl -u tetrio -f": r"journalctl -u tetrio -f \|",
    "systemctl reload tetrio": r" systemctl reload tetrio\n",
}  # fmt: skip


def test_each_command_of_the_services_path_is_run_by_the_systemd_test() -> None:
    """Its paths of keys and configuration are its own, and its wheels are fetched beforehand; the rest is the same."""
    assert [each for each in PATH if each.startswith(BY_SYSTEMD)] == list(RUN_BY_SYSTEMD_TEST)
    missing = [name for name, like in RUN_BY_SYSTEMD_TEST.items() if not re.search(like, OPS["systemd-test"])]
    assert missing == []


@pytest.mark.parametrize("command", [each for each in PATH if each.startswith(BY_DOCKER)])
def test_a_command_of_the_containers_path_stands_in_the_compose_file(command: str) -> None:
    """No engine of Docker's is needed to test: `ops/docker-test` reads the same file, and runs what it says."""
    assert command in OPS["compose.yaml"], command


def test_no_command_is_left_out() -> None:
    assert len(OURS) == 12
    assert [each.split()[1] for each in WORDS] == [
        "status", "why", "health", "pause", "resume", "exit", "flatten", "disarm", "halt", "stop",
    ]  # fmt: skip


def test_the_exchange_serves_any_client_as_the_section_says(tmp_path: Path) -> None:
    plain, asks, explains, token, faulty, arms = EXCHANGE
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def run(command: str) -> str:
        done = subprocess.run(
            ["bash", "-c", command], capture_output=True, text=True, check=True, cwd=tmp_path, env=environment,
            timeout=30,
        )  # fmt: skip
        return done.stdout

    with listening(plain, tmp_path, environment) as urls:
        assert set(urls) == {"rest", "ws_api", "stream", "sbe"}
        book = curled(asks)
        assert len(book["bids"]) == len(book["asks"]) == 5
    assert "lose-reply" in run(explains)
    run(token)
    with listening(faulty, tmp_path, environment) as urls:
        assert urls["admin"] in arms
        arms = arms.replace("$(cat admin.token)", (tmp_path / "admin.token").read_text().strip())
        assert curled(arms)["state"] == "active"


def curled(command: str) -> dict[str, Any]:
    """What curl would get: a bare machine has none."""
    parser = argparse.ArgumentParser()
    parser.add_argument("curl")
    parser.add_argument("-s", action="store_true")
    parser.add_argument("-H", type=lambda header: tuple(header.split(": ", 1)), action="append", default=[])
    parser.add_argument("-d")
    parser.add_argument("url")
    asked = parser.parse_args(shlex.split(command))
    with httpx.Client(trust_env=False) as client:
        reply = client.request("POST" if asked.d else "GET", asked.url, headers=asked.H, content=asked.d)
    body: dict[str, Any] = reply.raise_for_status().json()
    return body


@contextmanager
def listening(command: str, folder: Path, environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """A `tetrio exchange` as the README starts it, and what it says of where it listens."""
    with subprocess.Popen(
        shlex.split(command), stdout=subprocess.PIPE, text=True, cwd=folder, env=environment
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            urls: dict[str, str] = json.loads(process.stdout.readline())
            yield urls
        finally:
            process.terminate()
