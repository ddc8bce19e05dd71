"""No secret on any face: all of them at once beside a bot with marked secrets, and peers that echo what they were sent.

`tests/scenarios/test_secrets.py` searches standard error, the journal and what lies on disk; here systemd's status,
the local socket, metrics and Telegram are listened to as well, and the commands that a person would paste from.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio
import trio_websocket

from tests.scenarios.runs import tetrio
from tests.scenarios.test_secrets import API_KEY, TOKEN, Place, Started, closed_port
from tests.security.processes import Running, bot
from tetrio.chaos.bot_api import FakeBotApi, serving
from tetrio.cli.operate import READS

QUOTED = "a telegram token is 8123456789:CanaryOfTheTelegramToken"


@asynccontextmanager
async def echoing() -> AsyncIterator[dict[str, str]]:
    """Peers that say back in an error what they were sent: HTTP (REST and the Bot API) and WebSocket; their URLs."""

    async def http(stream: trio.SocketStream) -> None:
        head = (await stream.receive_some(65536)).decode(errors="replace") + f" X-MBX-APIKEY: {API_KEY} bot{TOKEN}"
        body = json.dumps({"code": -1100, "msg": head, "ok": False, "error_code": 400, "description": head}).encode()
        await stream.send_all(
            b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        await stream.aclose()

    async def websocket(request: trio_websocket.WebSocketRequest) -> None:
        link = await request.accept()
        try:
            while asked := str(await link.get_message()):
                told = {"id": json.loads(asked)["id"], "status": 400, "error": {"code": -1100, "msg": f"no:\n{asked}"}}
                await link.send_message(json.dumps(told))
        except trio_websocket.ConnectionClosed:
            return

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, http, 0, host="127.0.0.1"))
        served = await nursery.start(trio_websocket.serve_websocket, websocket, "127.0.0.1", 0, None)
        http_url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        yield {"http": http_url, "ws_api": f"ws://127.0.0.1:{served.port}/ws-api/v3"}
        nursery.cancel_scope.cancel()


def sets(**settings: object) -> list[str]:
    return [part for key, value in settings.items() for part in ("--set", f"{key.replace('__', '.')}={value}")]


@pytest.mark.parametrize("logon", ["taken", "echoed"])
async def test_no_face_shows_a_secret(logon: str, place: Place, exchange: Callable[..., Started]) -> None:
    process, urls = exchange("--key", f"{API_KEY}={place.path / 'key.pub.pem'}")
    port, door = closed_port(), place.path / "door" / "s"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(place.path / "notify"))
        manager.setblocking(False)
        async with echoing() as echo, serving(time.time, TOKEN) as api:
            if logon == "echoed":
                urls["ws_api"] = echo["ws_api"]
            options = [
                *place.options(**urls),
                *sets(telegram__url=api.url, control__socket=door, metrics__listen=f"127.0.0.1:{port}"),
            ]
            enter = partial(
                bot, place.path / "said", *options, environment={"NOTIFY_SOCKET": str(place.path / "notify")}
            )
            async with in_thread(enter) as running:
                await trio.to_thread.run_sync(
                    running.wait_for, '"kind":"fill"' if logon == "taken" else '"state":"ended"'
                )
                await ask_all(place, door, port, api)
        place.seen["systemd"] = "\n".join(drained(manager))
        (place.path / "notify").unlink()
    place.seen["telegram"] = "\n".join(text for each in api.written for text in each.texts)
    await trio.to_thread.run_sync(place.end, "the exchange", process)
    heard = {
        "systemd": "STATUS=",
        "telegram": "ETHUSDT",
        "/metrics": "tetrio_alive",
        "tetrio status --debug": "ETHUSDT",
    }
    for where, word in heard.items():
        assert word in place.seen[where], f"{where} was asked, and said something"
    place.search()


@asynccontextmanager
async def in_thread(enter: Callable[[], object]) -> AsyncIterator[Running]:
    """A synchronous context, its waiting done in a thread: the peers that it needs run here."""
    context: object = enter()
    yield_ = await trio.to_thread.run_sync(context.__enter__)  # type: ignore[attr-defined]
    try:
        yield yield_
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(context.__exit__, None, None, None)  # type: ignore[attr-defined]


async def ask_all(place: Place, door: Path, port: int, api: FakeBotApi) -> None:
    """Every question there is, by every way in."""
    async with httpx.AsyncClient(trust_env=False) as client:
        for path in ("/metrics", "/healthz", "/readyz"):
            place.seen[path] = (await client.get(f"http://127.0.0.1:{port}{path}")).text
    for command in (*READS, "health", "pause"):
        for more in (["--json"], ["--debug"]):
            done = await trio.to_thread.run_sync(partial(tetrio, command, *more, *sets(control__socket=door)))
            assert done.returncode in (0, 1), done.stderr
            place.seen[f"tetrio {command} {' '.join(more)}".strip()] = done.stdout + done.stderr
    for text in ("/status", "/health", "/why", f"/{QUOTED}"):
        api.say(1, 1, text)
    await api.wait_until(lambda: len(api.called("sendMessage")) >= 4, within_s=20)


def drained(manager: socket.socket) -> list[str]:
    """All that systemd was told."""
    found = []
    while True:
        try:
            found.append(manager.recv(65536).decode())
        except BlockingIOError:
            return found


COMMANDS: dict[str, list[str]] = {
    "doctor": ["doctor"],
    "keys check": ["keys", "check"],
    "notify test": ["notify", "test"],
    "notify alert": ["notify", "alert", "tetrio.service"],
    "config show": ["config", "show"],
    "config check": ["config", "check"],
    "serve": ["serve"],
}


async def test_no_command_shows_a_secret_that_a_peer_has_echoed(place: Place) -> None:
    """In what a person would paste into an issue: text, JSON, and the traceback of --debug."""
    async with echoing() as echo:
        options = place.options(rest=echo["http"], ws_api=echo["ws_api"], stream=echo["ws_api"])
        settings = [*options[options.index("--set") :], *sets(telegram__url=echo["http"])]
        settings += sets(venue__connect_deadline_s=1)
        for name, command in COMMANDS.items():
            for more in (["--json"], ["--debug"]) if name != "serve" else (["--debug"],):
                done = await trio.to_thread.run_sync(partial(tetrio, *command, *settings, *more))
                place.seen[f"{name} {' '.join(more)}"] = done.stdout + done.stderr
                assert done.stdout + done.stderr
    assert "fail" in place.seen["doctor --debug"]
    assert "Traceback" in place.seen["serve --debug"]
    place.search()
