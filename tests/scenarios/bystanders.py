"""Those around the bot: a Telegram whose weather changes, an operator and a stranger, Prometheus, the shell, a service
manager, and whoever reads standard error. Each is a task for the whole day, and notes what it has seen in the `Day`.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TextIO

import trio

from tests.scenarios.daybook import CYCLE_S, Day, each_cycle, quiet
from tetrio.chaos.bot_api import FakeBotApi, Written, error
from tetrio.control import VERSION

OWNER, SECOND = 11, 12  # chats; the operator speaks in the first
OPERATOR, STRANGER = 7, 666
METRICS_PORT = 9464
SMALL, LARGE = 4096, 1 << 20  # of a pipe; a stall that the small one cannot bridge
READS = trio.lowlevel.RunVar("reads", default=True)

# -- Telegram ----------------------------------------------------------------------------------------------------------


async def weather(api: FakeBotApi) -> None:
    conflict = error(409, "Conflict: terminated by other getUpdates request")
    lie = {"message_id": "no number", "chat": []}
    spells: list[tuple[float, float, Callable[[], Any]]] = [
        (60, 120, api.down),
        (140, 170, lambda: _held(api.slow(12))),
        (190, 220, lambda: _held(api.flooding(20))),
        (220, 235, lambda: _held(api.broken())),
        (235, 250, lambda: _held(api.lying(lie))),
        (250, 260, lambda: _held(api.truncated())),
        (260, 270, lambda: _held(api.hanging())),
        (270, 285, lambda: _held(api.answering(conflict, "getUpdates"))),
    ]
    for cycle in itertools.count():
        for begins, ends, spell in spells:
            await trio.sleep_until(cycle * CYCLE_S + begins * 60)
            async with spell():
                await trio.sleep_until(cycle * CYCLE_S + ends * 60)


@asynccontextmanager
async def _held(fault: Any) -> AsyncIterator[None]:
    with fault:
        yield


async def operate(api: FakeBotApi, day: Day) -> None:
    """Look every five minutes, whatever the weather; say the words that change something while it is fine."""
    looks = itertools.cycle(["/status", "/why", "/balance", "/health", "/fills", "/profit", "/orders"])

    async def look() -> None:
        while True:
            await trio.sleep(300)
            if not quiet():
                api.say(OWNER, OPERATOR, next(looks))
                api.say(OWNER, STRANGER, "/flatten")

    async def say(text: str, answer: str) -> None:
        api.say(OWNER, OPERATOR, text)
        await _shown(api, lambda each: each.text.startswith(answer))
        day.answered[text] += 1

    async def confirm(text: str, button: str) -> None:
        api.say(OWNER, OPERATOR, text)
        asked = await _shown(api, lambda each: bool(each.buttons))
        api.press(OPERATOR, asked, button)
        await _shown(api, lambda each: each is asked and len(each.texts) > 1, new=False)
        day.answered[f"{text} {button}"] += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        await each_cycle([
            (21, lambda: say("/pause", "paused")),
            (26, lambda: say("/resume", "resumed")),
            (31, lambda: confirm("/exit", "Yes")),
            (126, lambda: say("/halt", "halted")),
            (131, lambda: confirm("/resume", "Yes")),
            (136, lambda: confirm("/exit", "No")),
            (181, lambda: confirm("/flatten", "Yes")),
            (296, lambda: say("/mute 20m", "only critical")),
            (321, lambda: say("/disarm", "")),
        ])  # fmt: skip


async def _shown(api: FakeBotApi, fits: Callable[[Written], bool], *, new: bool = True) -> Written:
    """The first message in the operator's chat that fits, among those written from now on unless told."""
    begin = len(api.written) if new else 0

    def found() -> list[Written]:
        return [each for each in api.written[begin:] if each.chat == OWNER and fits(each)]

    await api.wait_until(lambda: bool(found()))
    return found()[0]


# -- those on the machine ----------------------------------------------------------------------------------------------


async def scrape(day: Day) -> None:
    """Prometheus, each minute."""
    while True:
        await trio.sleep(60)
        async with await trio.open_tcp_stream("127.0.0.1", METRICS_PORT) as stream:
            await stream.send_all(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % METRICS_PORT)
            answer = b"".join([bytes(some) async for some in stream])
        head, _, body = answer.partition(b"\r\n\r\n")
        day.scrapes[int(head.split()[1])] += 1
        day.exposition = body.decode()


async def ask_from_the_shell(path: Path, day: Day) -> None:
    """`tetrio status` and its like, each other minute; now and then somebody watches, and goes."""
    for word in itertools.cycle(["status", "why", "orders", "fills", "balance", "profit", "health", "watch", "pause"]):
        await trio.sleep(120)
        request: dict[str, Any] = {"v": VERSION, "do": "status", "watch": True}
        if word != "watch":
            request = {"v": VERSION, "do": word if word != "pause" else "preview"}
            request |= {"word": "pause"} if word == "pause" else {}
        async with _knocked(path) as stream:
            await stream.send_all(json.dumps(request).encode() + b"\n")
            lines = 0
            async for some in stream:
                lines += bytes(some).count(b"\n")
                if lines >= (5 if word == "watch" else 1):
                    break
        day.replies[word] += 1


@asynccontextmanager
async def _knocked(path: Path) -> AsyncIterator[trio.SocketStream]:
    """A connection to a real socket: the simulated network has none of this family."""
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.connect(str(path))
    client.setblocking(False)
    async with trio.SocketStream(trio.socket.from_stdlib_socket(client)) as stream:
        yield stream


@contextmanager
def service_manager(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(path))
        yield bound


async def manage(bound: socket.socket, day: Day) -> None:
    """Take what the service manager is told."""
    manager, alive_at = trio.socket.from_stdlib_socket(bound), 0.0
    while True:
        lines = (await manager.recv(4096)).decode().splitlines()
        day.notified.update(line.partition("=")[0] for line in lines)
        if "READY=1" in lines or "WATCHDOG=1" in lines:
            now = trio.current_time()
            day.longest_gap_s, alive_at = max(day.longest_gap_s, now - alive_at), now


# -- standard error ----------------------------------------------------------------------------------------------------


@contextmanager
def standard_error() -> Iterator[tuple[TextIO, int]]:
    """A pipe: (what the process writes to, what somebody reads from)."""
    out, into = os.pipe()
    os.set_blocking(out, False)
    fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, SMALL)
    try:
        with os.fdopen(into, "w") as stream:
            yield stream, out
    finally:
        os.close(out)


async def read(pipe: int, day: Day) -> None:
    """Read line after line, but not while stalled."""
    while True:
        if not READS.get():
            await trio.sleep(1)
            continue
        await trio.lowlevel.wait_readable(pipe)
        if READS.get():
            day.read_lines += rest(pipe).count(b"\n")


def rest(pipe: int) -> bytes:
    """What is in it."""
    found = b""
    try:
        while some := os.read(pipe, 65536):
            found += some
    except BlockingIOError:
        pass  # that was all
    return found


async def stall(error_fd: int) -> None:
    """For half an hour of each cycle it goes to a full disk, and for two hours to a pipe that nobody reads."""
    into, kept = error_fd, os.dup(error_fd)
    full = os.open("/dev/full", os.O_WRONLY)

    async def fill() -> None:
        os.dup2(full, into)

    async def mend() -> None:
        os.dup2(kept, into)

    async def stop_reading() -> None:
        READS.set(False)

    async def read_again() -> None:
        if trio.current_time() > 3 * CYCLE_S:  # room for the last words: nobody reads while the journal is closed
            fcntl.fcntl(kept, fcntl.F_SETPIPE_SZ, LARGE)
        READS.set(True)

    try:
        await each_cycle([(40, fill), (70, mend), (130, stop_reading), (300, read_again)])
    finally:
        os.dup2(kept, into)
        os.close(kept)
        os.close(full)
