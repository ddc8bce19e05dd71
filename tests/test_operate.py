"""The commands to a running bot, against a bot's socket in this process or another."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.test_control import Operator, running_status, serving
from tetrio import control, words
from tetrio.cli import main, operate
from tetrio.control import client
from tetrio.control.door import open_door
from tetrio.operator import WORDS, Order
from tetrio.status import snapshot

TETRIO = [sys.executable, "-m", "tetrio"]
SAID = pytest.CaptureFixture[str]
BOT = """
import sys, trio
from pathlib import Path
from tests.test_control import Operator, a_journal, running_status
from tetrio.control.server import serve_control

async def bot():
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda task_status: serve_control(
                Path(sys.argv[1]), status=running_status(), obeys=Operator(scope), journal=a_journal(),
                task_status=task_status))
            print("ready", flush=True)

trio.run(bot)
"""


async def run(*arguments: str) -> int:
    """One command, in a thread: it blocks, and the bot's end is served here."""
    return await trio.to_thread.run_sync(main, arguments)


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No bot to be found: neither ours nor the system's."""
    for name in ("RUNTIME_DIRECTORY", "TETRIO__CONTROL__SOCKET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(control, "SYSTEM", tmp_path / "system" / "tetrio.sock")
    return tmp_path


@contextmanager
def a_bot(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A bot in a process of its own, which `stop` ends."""
    with subprocess.Popen([sys.executable, "-c", BOT, str(path)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


class Terminal:
    """A command on a terminal."""

    def __init__(self, *arguments: str) -> None:
        self._ours, theirs = os.openpty()
        self.process = subprocess.Popen([*TETRIO, *arguments], stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        self.shown = ""

    def wait_for(self, text: str, times: int = 1) -> None:
        """Read until `text` was shown so often; at most 20 s between two pieces."""
        while self.shown.count(text) < times:
            ready, _, _ = select.select([self._ours], [], [], 20)
            assert ready, f"{text!r} is not in {self.shown!r}"
            self.shown += os.read(self._ours, 4096).decode()

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def ended(self) -> int:
        """The exit code; what was still shown is kept."""
        code = self.process.wait(20)
        while select.select([self._ours], [], [], 0)[0]:
            try:
                self.shown += os.read(self._ours, 4096).decode()
            except OSError:  # EIO: all has been read
                break
        os.close(self._ours)
        return code


# --- asking ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", control.READS)
async def test_a_question_prints_what_the_bot_says(tmp_path: Path, capsys: SAID, name: str) -> None:
    status = running_status()
    texts: dict[str, Callable[..., str]] = {each: getattr(words, f"{each}_text") for each in control.READS}
    async with serving(tmp_path / "t.sock", status) as path:
        assert await run(name, "--socket", str(path)) == 0
        assert capsys.readouterr().out == texts[name](status) + "\n"
        assert await run(name, "--json", "--socket", str(path)) == 0
        shown = json.loads(capsys.readouterr().out)
    assert shown.items() <= json.loads(json.dumps(snapshot(status))).items()


async def test_status_as_json_is_the_whole_record(tmp_path: Path, capsys: SAID) -> None:
    async with serving(tmp_path / "t.sock") as path:
        assert await run("status", "--json", "--socket", str(path)) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(snapshot(running_status())))


def test_the_commands_are_the_bots_words_and_questions() -> None:
    assert tuple(operate.WORDS) == WORDS
    assert (*operate.READS, "health") == control.READS


@pytest.mark.parametrize("word", [each for each in WORDS if each != "flatten"])
async def test_a_word_is_passed_on(tmp_path: Path, capsys: SAID, word: str) -> None:
    operator = Operator()
    force = ["--force"] if word == "disarm" else []
    async with serving(tmp_path / "t.sock", obeys=operator) as path:
        assert await run(word, *force, "--socket", str(path)) == 0
    assert capsys.readouterr().out == f"did {word}\n"
    assert operator.said == [Order(word=word, by=f"shell, uid {os.getuid()}", force=bool(force))]


async def test_a_refusal_is_exit_1_and_stands_on_standard_error(tmp_path: Path, capsys: SAID) -> None:
    async with serving(tmp_path / "t.sock") as path:
        assert await run("disarm", "--socket", str(path)) == 1
        said = capsys.readouterr()
        assert (said.out, said.err) == ("", "tetrio: a hard stop is disarmed with --force only\n")
        assert await run("disarm", "--json", "--socket", str(path)) == 1
        said = capsys.readouterr()
        assert json.loads(said.out)["done"] is False
        assert "--force" in said.err


# --- health ----------------------------------------------------------------------------------------------------------


async def test_health_is_the_exit_code_of_being_alive(tmp_path: Path, capsys: SAID) -> None:
    status = running_status()
    async with serving(tmp_path / "t.sock", status) as path:
        assert await run("health", "--socket", str(path)) == 0
        assert capsys.readouterr().out.startswith("alive\n")
        status.alive, status.ailing = False, ("the market's beat is 12 s old",)
        assert await run("health", "--socket", str(path)) == 1
        assert "the market's beat is 12 s old" in capsys.readouterr().out
        assert await run("health", "--json", "--socket", str(path)) == 1
        assert json.loads(capsys.readouterr().out)["ailing"] == ["the market's beat is 12 s old"]
    assert await run("health", "--socket", str(path)) == 3


def test_a_bot_that_does_not_answer_is_not_alive(tmp_path: Path, capsys: SAID, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "ANSWER_S", 0.05)
    door = open_door(tmp_path / "t.sock")
    try:
        assert main(["health", "--json", "--socket", str(door.path)]) == 1
        said = capsys.readouterr()
        assert json.loads(said.out)["alive"] is False
        assert "does not answer" in said.err
        assert main(["status", "--socket", str(door.path)]) == 5
        capsys.readouterr()
        assert main(["exit", "--socket", str(door.path)]) == 5
        assert "`exit` is not obeyed any more" in capsys.readouterr().err
        assert main(["halt", "--json", "--socket", str(door.path)]) == 5
        assert "may still be obeyed" in json.loads(capsys.readouterr().out)["error"]
    finally:
        door.close()


def test_health_is_light(tmp_path: Path) -> None:
    code = (
        "import sys; from tetrio.cli import main; code = main(['health', '--socket', sys.argv[1]]); "
        "heavy = {'trio', 'attrs', 'cattrs', 'msgspec', 'httpx', 'rich', 'prometheus_client', 'tetrio.config'}; "
        "print(heavy & set(sys.modules)); sys.exit(code)"
    )
    with a_bot(tmp_path / "t.sock"):
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "t.sock")],
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        )
    assert done.stdout.startswith("alive\n")
    assert done.stdout.endswith("set()\n")


# --- finding it ------------------------------------------------------------------------------------------------------


def test_without_a_bot_it_is_exit_3_and_says_where_it_looked(nowhere: Path, capsys: SAID) -> None:
    assert main(["status"]) == 3
    looked = f"{nowhere}/tetrio/tetrio.sock or {nowhere}/system/tetrio.sock"
    assert capsys.readouterr().err == f"tetrio: tetrio is not running (no socket at {looked})\n"


def test_what_a_dead_bot_left_is_no_bot(tmp_path: Path, capsys: SAID) -> None:
    door = open_door(tmp_path / "t.sock")
    door.socket.close()
    assert main(["status", "--socket", str(door.path)]) == 3
    assert "not running" in capsys.readouterr().err


async def test_the_bot_is_found_by_its_own_rule(nowhere: Path, capsys: SAID, monkeypatch: pytest.MonkeyPatch) -> None:
    config = trio.Path(nowhere) / "bot.toml"
    async with serving(nowhere / "tetrio" / "tetrio.sock"):
        assert await run("why") == 0
    async with serving(nowhere / "system" / "tetrio.sock"):
        assert await run("why") == 0
    async with serving(nowhere / "other.sock") as path:
        assert await run("why") == 3
        assert await run("why", "--set", f"control.socket={path}") == 0
        await config.write_text(f'[control]\nsocket = "{path}"\n')
        assert await run("why", "--config", str(config)) == 0
        monkeypatch.setenv("TETRIO__CONTROL__SOCKET", str(path))
        assert await run("why") == 0
        await config.write_text('[control]\nsocket = "off"\n')
        assert await run("why", "--config", str(config)) == 0, "the environment is above the file"
        monkeypatch.delenv("TETRIO__CONTROL__SOCKET")
        assert await run("why", "--config", str(config)) == 4
    assert "takes no commands from the shell" in capsys.readouterr().err


def test_a_setting_that_is_not_known_is_exit_4(capsys: SAID) -> None:
    assert main(["status", "--set", "control.sokket=x"]) == 4
    assert "did you mean socket?" in capsys.readouterr().err


def test_somebody_elses_socket_is_told_as_such(nowhere: Path, capsys: SAID, monkeypatch: pytest.MonkeyPatch) -> None:
    class Barred(socket.socket):
        """Connects as another user's would."""

        def connect(self, address: Any) -> None:
            if "system" in address:
                raise PermissionError(13, "Permission denied")
            super().connect(address)

    monkeypatch.setattr(socket, "socket", Barred)
    assert main(["status"]) == 6
    said = capsys.readouterr().err
    assert f"no socket at {nowhere}/tetrio/tetrio.sock" in said
    assert "system/tetrio.sock is another user's: run this as that user, or as root" in said


# --- confirming ------------------------------------------------------------------------------------------------------


async def test_flatten_off_a_terminal_needs_yes(tmp_path: Path, capsys: SAID) -> None:
    operator = Operator()
    async with serving(tmp_path / "t.sock", obeys=operator) as path:
        done = await trio.run_process(
            [*TETRIO, "flatten", "--socket", str(path)], stdin=b"flatten\n", capture_stderr=True, check=False
        )
        assert (done.returncode, operator.said) == (2, [])
        assert b"--yes" in done.stderr
        assert await run("flatten", "--yes", "--socket", str(path)) == 0
    assert [order.word for order in operator.said] == ["flatten"]


@pytest.mark.parametrize(("typed", "code"), [("flatten\n", 0), ("y\n", 1), ("\n", 1), ("\x04", 1)])
async def test_flatten_on_a_terminal_shows_what_it_would_do_and_has_it_typed(
    tmp_path: Path, typed: str, code: int
) -> None:
    operator = Operator()
    async with serving(tmp_path / "t.sock", obeys=operator) as path:
        terminal = Terminal("flatten", "--socket", str(path))
        await trio.to_thread.run_sync(terminal.wait_for, "Type 'flatten' to do it: ")
        assert "sell 1 ETH at 1999.50 or better" in terminal.shown
        assert operator.said == []
        terminal.type(typed)
        assert await trio.to_thread.run_sync(terminal.ended) == code
    assert len(operator.said) == (code == 0)
    assert ("did flatten" if code == 0 else "not confirmed; nothing was done") in terminal.shown


# --- watching --------------------------------------------------------------------------------------------------------


async def test_watching_on_a_terminal_repaints_in_place(tmp_path: Path) -> None:
    status = running_status()
    async with serving(tmp_path / "t.sock", status) as path:
        terminal = Terminal("status", "--watch", "--socket", str(path))
        await trio.to_thread.run_sync(terminal.wait_for, "bid 2000.01")
        status.bid = "1999.99"
        await trio.to_thread.run_sync(terminal.wait_for, "bid 1999.99")
        terminal.process.send_signal(signal.SIGINT)
        assert await trio.to_thread.run_sync(terminal.ended) == 0
    assert terminal.shown.count("\x1b[H") >= 2
    assert "Traceback" not in terminal.shown


@pytest.mark.parametrize("form", ["--json", "text"])
async def test_watching_off_a_terminal_prints_a_line_each_second(tmp_path: Path, form: str) -> None:
    options = ["--json"] if form == "--json" else []
    async with serving(tmp_path / "t.sock") as path:
        process = subprocess.Popen(  # noqa: ASYNC220 - a fork is short, and its lines are read in a thread
            [*TETRIO, "status", "--watch", *options, "--socket", str(path)], stdout=subprocess.PIPE, text=True
        )
        with process:
            assert process.stdout is not None
            lines = [await trio.to_thread.run_sync(process.stdout.readline) for _ in range(2)]
            process.send_signal(signal.SIGINT)
            assert await trio.to_thread.run_sync(process.wait, 20) == 0
    for line in lines:
        if form == "--json":
            assert json.loads(line)["symbol"] == "ETHUSDT"
        else:
            assert re.match(r"\d\d:\d\d:\d\d sim ETHUSDT: ready; alive; ", line)


def test_watching_ends_with_the_bot(tmp_path: Path) -> None:
    with a_bot(tmp_path / "t.sock") as bot:
        command = [*TETRIO, "status", "--watch", "--socket", str(tmp_path / "t.sock")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watch:
            assert watch.stdout is not None
            assert watch.stdout.readline()
            bot.kill()
            _, err = watch.communicate(timeout=20)
    assert watch.returncode == 3
    assert "it has ended" in err


# --- stopping --------------------------------------------------------------------------------------------------------


def test_stop_returns_when_it_was_said_and_waits_when_asked(tmp_path: Path, capsys: SAID) -> None:
    with a_bot(tmp_path / "t.sock") as bot:
        assert main(["stop", "--wait", "--socket", str(tmp_path / "t.sock")]) == 0
        assert select.select([os.pidfd_open(bot.pid)], [], [], 0)[0], "it has ended already"
        assert bot.wait(5) == 0
    assert capsys.readouterr().out == "did stop\n"


async def test_a_bot_that_does_not_end_is_exit_5(tmp_path: Path, capsys: SAID, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operate, "END_S", 0.1)
    operator = Operator()
    async with serving(tmp_path / "t.sock", obeys=operator) as path:
        assert await run("stop", "--socket", str(path)) == 0
        assert await run("stop", "--wait", "--socket", str(path)) == 5
    assert "has not ended within" in capsys.readouterr().err
    assert len(operator.said) == 2
