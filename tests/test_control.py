from __future__ import annotations

import fcntl
import functools
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tetrio import control, words
from tetrio.control import client, server
from tetrio.control.door import Door, open_door
from tetrio.errors import ConfigError, UnsafeError
from tetrio.faces import ControlParams
from tetrio.journal import Journal
from tetrio.operator import WORDS, Answer, Order
from tetrio.status import FillLine, Status, snapshot

NOBODY = 65534
BECOME_NOBODY = f"import os, socket; os.setuid({NOBODY}); s = socket.socket(socket.AF_UNIX); "
as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can pass for somebody else")


class Operator:
    """Obeys by remembering; refuses `disarm` without force, and ends `scope` on `stop`."""

    def __init__(self, scope: trio.CancelScope | None = None) -> None:
        self.said: list[Order] = []
        self._scope = scope

    def obey(self, order: Order) -> Answer:
        self.said.append(order)
        if order.word == "stop" and self._scope is not None:
            self._scope.cancel()
        if order.word == "disarm" and not order.force:
            return Answer(False, "a hard stop is disarmed with --force only")
        return Answer(True, f"did {order.word}")

    def preview(self, word: str) -> str:
        return f"{word}: sell 1 ETH at 1999.50 or better"


def running_status() -> Status:
    status = Status(
        venue="sim", symbol="ETHUSDT", base_asset="ETH", quote_asset="USDT", phase="ready", alive=True,
        bid="2000.01", ask="2000.02", regime="BASE", why="waits for a gain of 1 %", market_ns=10**18,
        balances={"ETH": "1.5", "USDT": "3"}, holding={"ETH": Decimal("1.5"), "USDT": Decimal(3)},
    )  # fmt: skip
    status.told_fills.append(
        FillLine(
            at_ms=10**12,
            side="SELL",
            price="2000.01",
            qty="0.1",
            maker=True,
            commission="0",
            commission_asset="BNB",
            client_order_id="tt-x",
            trade_id=7,
        )
    )
    return status


def a_journal() -> Journal:
    return Journal([], lambda: 1)


@asynccontextmanager
async def serving(
    path: Path, status: Status | None = None, obeys: Operator | None = None, journal: Journal | None = None
) -> AsyncIterator[Path]:
    async with trio.open_nursery() as nursery:

        async def run(*, task_status: trio.TaskStatus[None]) -> None:
            await server.serve_control(
                path, status=status or running_status(), obeys=obeys or Operator(), journal=journal or a_journal(),
                task_status=task_status,
            )  # fmt: skip

        await nursery.start(run)
        yield path
        nursery.cancel_scope.cancel()


@contextmanager
def opened(path: Path) -> Iterator[Door]:
    door = open_door(path)
    try:
        yield door
    finally:
        door.close()


async def ask(path: Path, do: str, **more: object) -> client.Reply:
    return await trio.to_thread.run_sync(lambda: client.ask([path], do, **more))


async def raw(path: Path, payload: bytes) -> Any:
    """What a client that says `payload` is told."""
    async with await trio.open_unix_socket(path) as stream:
        await stream.send_all(payload)
        return json.loads(await read_line(stream))


async def read_line(stream: trio.SocketStream) -> bytes:
    line = b""
    while not line.endswith(b"\n") and (some := await stream.receive_some()):
        line += some
    return line


# --- where it is -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "environ", "path"),
    [
        ("off", {"RUNTIME_DIRECTORY": "/run/tetrio"}, None),
        ("/var/x.sock", {"RUNTIME_DIRECTORY": "/run/tetrio"}, Path("/var/x.sock")),
        (
            "auto",
            {"RUNTIME_DIRECTORY": "/run/tetrio", "XDG_RUNTIME_DIR": "/run/user/7"},
            Path("/run/tetrio/tetrio.sock"),
        ),
        ("auto", {"RUNTIME_DIRECTORY": "/run/a:/run/b"}, Path("/run/a/tetrio.sock")),
        ("auto", {"RUNTIME_DIRECTORY": "", "XDG_RUNTIME_DIR": "/run/user/7"}, Path("/run/user/7/tetrio/tetrio.sock")),
        ("auto", {}, Path(f"/tmp/tetrio-{os.getuid()}/tetrio.sock")),
    ],
)
def test_the_path_rule(setting: str, environ: dict[str, str], path: Path | None) -> None:
    assert control.socket_path(ControlParams(socket=setting), environ) == path


def test_a_relative_path_is_from_here() -> None:
    assert control.socket_path(ControlParams(socket="x.sock"), {}) == Path.cwd() / "x.sock"


def test_a_client_looks_for_a_system_service_too_but_only_by_itself() -> None:
    assert control.places("auto", {"XDG_RUNTIME_DIR": "/run/user/7"}) == (
        Path("/run/user/7/tetrio/tetrio.sock"),
        Path("/run/tetrio/tetrio.sock"),
    )
    assert control.places("auto", {"RUNTIME_DIRECTORY": "/run/tetrio"}) == (Path("/run/tetrio/tetrio.sock"),)
    assert control.places("/var/x.sock", {}) == (Path("/var/x.sock"),)
    assert control.places("off", {}) == ()


# --- opening it ------------------------------------------------------------------------------------------------------


def test_only_the_owner_reaches_what_is_made(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with opened(tmp_path / "run" / "t.sock") as door:
            assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o700
            assert stat.S_IMODE(door.path.stat().st_mode) == 0o600
    finally:
        os.umask(before)
    assert not door.path.exists()


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770, 0o702])
def test_a_directory_that_others_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run").chmod(mode)
    with pytest.raises(UnsafeError, match=r"others may write to .*chmod 700"):
        open_door(tmp_path / "run" / "t.sock")
    assert not list((tmp_path / "run").iterdir())


def test_a_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    theirs = Path("/")
    if os.getuid() == 0:
        theirs = tmp_path / "run"
        theirs.mkdir(mode=0o700)
        os.chown(theirs, NOBODY, NOBODY)
    with pytest.raises(UnsafeError, match="belongs to uid"):
        open_door(theirs / "t.sock")


@as_root
def test_a_link_that_somebody_else_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir(mode=0o700)
    (tmp_path / "run").symlink_to(tmp_path / "ours")
    with opened(tmp_path / "run" / "t.sock"):
        pass  # our own link is fine, and root's: systemd makes such
    os.lchown(tmp_path / "run", NOBODY, NOBODY)
    with pytest.raises(UnsafeError, match="symbolic link that uid 65534 made"):
        open_door(tmp_path / "run" / "t.sock")


def test_what_a_dead_process_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "t.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(path))
    assert path.is_socket()
    with opened(path), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        caller.connect(str(path))


def test_what_a_living_process_answers_at_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "t.sock"
    with opened(path) as first:
        with pytest.raises(UnsafeError, match="another tetrio answers"):
            open_door(path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
            caller.connect(str(path))
            first.socket.accept()[0].close()


def test_a_living_process_whose_queue_is_full_is_living(tmp_path: Path) -> None:
    path = tmp_path / "t.sock"
    callers = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(100)]
    with opened(path):
        try:
            with pytest.raises(BlockingIOError):
                for caller in callers:
                    caller.setblocking(False)
                    caller.connect(str(path))
            with pytest.raises(UnsafeError, match="another tetrio answers"):
                open_door(path)
            with pytest.raises(client.NoAnswer, match="held up"):
                client.ask([path], "status")
        finally:
            for caller in callers:
                caller.close()


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "t.sock").write_text("mine")
    with pytest.raises(UnsafeError, match="no socket"):
        open_door(tmp_path / "t.sock")
    assert (tmp_path / "t.sock").read_text() == "mine"


def test_two_that_start_at_the_same_moment_do_not_take_each_others(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        with pytest.raises(UnsafeError, match="is starting"):
            open_door(tmp_path / "t.sock")
    finally:
        os.close(fd)
    with opened(tmp_path / "t.sock"):
        pass


@pytest.mark.parametrize("path", ["x" * 200, "missing/deep/t.sock"])
def test_what_the_machine_cannot_do_names_the_remedy(tmp_path: Path, path: str) -> None:
    with pytest.raises(ConfigError, match=r"control\.socket=PATH, or off"):
        open_door(tmp_path / path)


def test_closing_leaves_the_file_of_a_successor(tmp_path: Path) -> None:
    first = open_door(tmp_path / "t.sock")
    (tmp_path / "t.sock").rename(tmp_path / "moved")  # so that the inode is not given to the successor
    with opened(tmp_path / "t.sock") as second:
        first.close()
        assert second.path.is_socket()


# --- answering -------------------------------------------------------------------------------------------------------


async def test_every_question_has_a_text_and_its_data(tmp_path: Path) -> None:
    status = running_status()
    async with serving(tmp_path / "t.sock", status) as path:
        whole = await ask(path, "status")
        assert whole.data == json.loads(json.dumps(snapshot(status)))
        assert whole.text == words.status_text(status)
        for do in control.READS:
            reply = await ask(path, do)
            assert reply.ok
            assert reply.text == server.TEXTS[do](status)
            assert reply.data.items() <= whole.data.items()
            assert {"venue", "symbol"} < set(reply.data)
        assert (await ask(path, "fills")).data["told_fills"][0]["trade_id"] == 7
        assert (await ask(path, "health")).data["alive"] is True


@pytest.mark.parametrize("word", WORDS)
async def test_a_word_is_obeyed_in_the_name_of_its_speaker(tmp_path: Path, word: str) -> None:
    operator = Operator()
    async with serving(tmp_path / "t.sock", obeys=operator) as path:
        reply = await ask(path, word, force=True)
    assert reply.ok
    assert reply.data == {"done": True, "text": f"did {word}"}
    assert operator.said == [Order(word=word, by=f"shell, uid {os.getuid()}", force=True)]


async def test_a_refusal_is_told_as_one(tmp_path: Path) -> None:
    async with serving(tmp_path / "t.sock") as path:
        reply = await ask(path, "disarm")
    assert not reply.ok
    assert reply.data["done"] is False
    assert "--force" in reply.text


@pytest.mark.parametrize("word", WORDS)
async def test_of_a_caller_who_has_given_up_only_what_makes_it_safer_is_obeyed(tmp_path: Path, word: str) -> None:
    operator, journal = Operator(), a_journal()
    with opened(tmp_path / "t.sock") as door:
        with socket.socket(socket.AF_UNIX) as caller:  # a bot that is held up: its queue takes what is said
            caller.connect(str(door.path))
            caller.sendall(f'{{"v":1,"do":"{word}"}}\n'.encode())
        async with trio.open_nursery() as nursery:
            await nursery.start(functools.partial(
                server.serve_control, door, status=running_status(), obeys=operator, journal=journal
            ))  # fmt: skip
            assert (await ask(door.path, "health")).ok
            nursery.cancel_scope.cancel()
    if word in ("exit", "flatten", "resume"):
        assert operator.said == []
        assert [fact.fields["done"] for fact in journal.recent if fact.kind == "command"] == [False]
    else:
        assert [order.word for order in operator.said] == [word]


async def test_a_caller_who_says_no_more_and_waits_is_obeyed(tmp_path: Path) -> None:
    operator = Operator()
    async with serving(tmp_path / "t.sock", obeys=operator) as path, await trio.open_unix_socket(path) as stream:
        await stream.send_all(b'{"v":1,"do":"exit"}\n')
        await stream.send_eof()
        assert json.loads(await read_line(stream))["ok"]
    assert [order.word for order in operator.said] == ["exit"]


async def test_a_preview_does_nothing(tmp_path: Path) -> None:
    operator = Operator()
    async with serving(tmp_path / "t.sock", obeys=operator) as path:
        assert (await ask(path, "preview", word="flatten")).text == "flatten: sell 1 ETH at 1999.50 or better"
    assert operator.said == []


async def test_the_answer_to_stop_arrives_although_everything_ends(tmp_path: Path) -> None:
    with trio.CancelScope() as scope:
        async with serving(tmp_path / "t.sock", obeys=Operator(scope)) as path:
            async with await trio.open_unix_socket(path) as stream:
                await stream.send_all(b'{"v":1,"do":"stop"}\n')
                with trio.CancelScope(shield=True):
                    answer = json.loads(await read_line(stream))
            await trio.sleep_forever()
    assert answer["data"] == {"done": True, "text": "did stop"}
    assert not path.exists()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"status", "no request"),
        (b"[" * 4000, "no request"),
        (b'{"v":1,"do":"\xff"}', "no request"),
        (b'{"v":1,"do":"status","secret":1}', "unknown field"),
        (b'{"v":1}', "missing required field `do`"),
        (b'{"v":1,"do":"buy"}', "no command 'buy'"),
        (b'{"v":2,"do":"status"}', "speaks version 1 of the protocol, not 2"),
        (b'{"v":1,"do":"status","word":"' + b"x" * 5000 + b'"}', "at most 4096 bytes"),
        (b"x" * 100_000, "at most 4096 bytes"),
    ],
)
async def test_what_is_no_request_is_refused_in_words(tmp_path: Path, line: bytes, why: str) -> None:
    operator = Operator()
    async with serving(tmp_path / "t.sock", obeys=operator) as path:
        reply = await raw(path, line[:6000] + b"\n")
        assert reply["ok"] is False
        assert why in reply["text"]
        assert (await ask(path, "health")).ok
    assert operator.said == []


async def test_half_a_request_is_nothing(tmp_path: Path) -> None:
    operator = Operator()
    async with serving(tmp_path / "t.sock", obeys=operator) as path, await trio.open_unix_socket(path) as stream:
        await stream.send_all(b'{"v":1,"do":"halt"}')
        await stream.send_eof()
        assert await stream.receive_some() == b""
    assert operator.said == []


async def test_silent_guests_hold_up_nobody_and_are_cut_off(tmp_path: Path, mock_clock: MockClock) -> None:
    async with serving(tmp_path / "t.sock") as path:
        silent = [await trio.open_unix_socket(path) for _ in range(server.GUESTS - 1)]
        assert (await ask(path, "health")).ok
        await trio.testing.wait_all_tasks_blocked(0.05)
        last = await trio.open_unix_socket(path)
        await trio.testing.wait_all_tasks_blocked(0.05)
        async with await trio.open_unix_socket(path) as one_too_many:
            assert await one_too_many.receive_some() == b""
        mock_clock.jump(server.REQUEST_S + 0.1)
        for stream in (*silent, last):
            assert await stream.receive_some() == b""
            await stream.aclose()
        assert (await ask(path, "health")).ok


async def test_a_guest_that_does_not_read_is_cut_off(tmp_path: Path, mock_clock: MockClock) -> None:
    status = running_status()
    status.detail = "no two words alike, so to say; " * 30_000  # more than the kernel takes for one that does not read
    async with serving(tmp_path / "t.sock", status) as path, await trio.open_unix_socket(path) as stream:
        await stream.send_all(b'{"v":1,"do":"status","watch":true}\n')
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert (await ask(path, "health")).ok
        mock_clock.jump(server.REPLY_S + 0.1)
        await trio.testing.wait_all_tasks_blocked(0.05)
        line = await read_line(stream)
        assert line
        assert not line.endswith(b"\n")


async def test_watching_brings_the_latest_each_second(tmp_path: Path, mock_clock: MockClock) -> None:
    status = running_status()
    async with serving(tmp_path / "t.sock", status) as path, await trio.open_unix_socket(path) as stream:
        await stream.send_all(b'{"v":1,"do":"status","watch":true}\n')
        for frames in range(5):
            status.frames = frames - 1 if frames else 0
            assert json.loads(await read_line(stream))["data"]["frames"] == status.frames
            status.frames = frames
            await trio.testing.wait_all_tasks_blocked(0.01)
            mock_clock.jump(1.0)


async def test_watchers_leave_room_for_words(tmp_path: Path) -> None:
    async with serving(tmp_path / "t.sock") as path:
        watching = [await trio.open_unix_socket(path) for _ in range(server.WATCHERS)]
        for stream in watching:
            await stream.send_all(b'{"v":1,"do":"status","watch":true}\n')
            assert json.loads(await read_line(stream))["ok"]
        assert "watch already" in (await raw(path, b'{"v":1,"do":"status","watch":true}\n'))["text"]
        assert (await ask(path, "halt")).ok
        for stream in watching:
            await stream.aclose()


async def test_where_it_cannot_be_opened_it_is_told_and_trading_goes_on(tmp_path: Path) -> None:
    await trio.Path(tmp_path).chmod(0o777)
    journal = a_journal()
    async with serving(tmp_path / "t.sock", journal=journal):
        (fact,) = journal.recent
    assert (fact.kind, fact.fields["name"], fact.fields["state"]) == ("face", "control", "lost")
    assert "chmod 700" in str(fact.fields["why"])


# --- who may ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that everybody can enter, as those of pytest are not."""
    path = Path(tempfile.mkdtemp(prefix="tetrio-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@as_root
async def test_another_user_is_refused_even_where_the_file_lets_him(open_directory: Path) -> None:
    operator, journal = Operator(), a_journal()
    knock = (
        BECOME_NOBODY + "s.connect(PATH); "
        """s.sendall(b'{"v":1,"do":"halt"}\\n'); print(s.recv(4096).decode())"""
    ).replace("PATH", repr(str(open_directory / "t.sock")))
    async with serving(open_directory / "t.sock", obeys=operator, journal=journal) as path:
        command = [sys.executable, "-c", knock]
        shut_out = await trio.run_process(command, capture_stderr=True, check=False)
        assert b"PermissionError" in shut_out.stderr
        path.chmod(0o666)
        let_in = await trio.run_process(command, capture_stdout=True)
    reply = json.loads(let_in.stdout)
    assert reply["ok"] is False
    assert "uid 65534 may not" in reply["text"]
    assert operator.said == []
    assert journal.recent[-1].fields["state"] == "refused"


@as_root
def test_nothing_is_said_to_one_who_poses_as_the_bot(open_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = open_directory / "t.sock"
    open_directory.chmod(0o777)
    pose = f"{BECOME_NOBODY}s.bind({str(path)!r}); s.listen(); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", pose], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        monkeypatch.setattr(os, "getuid", lambda: 1000)
        with pytest.raises(UnsafeError, match="uid 65534 listens at"):
            client.Caller([path])
        process.kill()


# --- the client ------------------------------------------------------------------------------------------------------


@contextmanager
def answering(path: Path, answer: bytes) -> Iterator[None]:
    """A server that says `answer` once."""

    def run() -> None:
        guest, _ = listener.accept()
        with guest:
            guest.recv(4096)
            guest.sendall(answer)

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            thread.join(5)


@pytest.mark.parametrize(
    ("answer", "error", "why"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Exception, "is not tetrio"),
        (b"[]\n", Exception, "is not tetrio"),
        (b'{"v":1,"ok":true,"text":"","data":7}\n', Exception, "is not tetrio"),
        (b'{"v":9,"ok":true,"text":"","data":{}}\n', Exception, "speaks version 9 of the protocol, this one 1"),
        (b'{"v":1,"ok":tr', client.NotRunning, "closed the connection"),
    ],
)
def test_what_is_no_answer_is_told_in_words(tmp_path: Path, answer: bytes, error: type[Exception], why: str) -> None:
    with answering(tmp_path / "t.sock", answer), pytest.raises(error, match=why):
        client.ask([tmp_path / "t.sock"], "status")


def test_an_endless_answer_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "REPLY_BYTES", 1000)
    with answering(tmp_path / "t.sock", b"x" * 2000), pytest.raises(Exception, match="is not tetrio"):
        client.ask([tmp_path / "t.sock"], "status")


def test_a_bot_that_is_held_up_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "ANSWER_S", 0.05)
    with (
        opened(tmp_path / "t.sock"),
        client.Caller([tmp_path / "t.sock"]) as caller,
        pytest.raises(client.NoAnswer, match=f"pid {os.getpid()}\\) does not answer"),
    ):
        caller.ask("status")


def test_what_could_move_the_terminal_is_not_printed() -> None:
    assert client.Reply(text="a\x1b[2J\nb\x07", ok=True).text == "a?[2J\nb?"
