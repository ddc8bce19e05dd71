"""No secret in any sink: the shipped command with marked secrets, under faults, and then every place is searched.

Searched are standard error and standard output of bot and exchange, the journal, the status file, the exchange's own
record and whatever else was left on disk; of the running bot what `ps` shows, its environment, and its limit on cores.
Signatures count as secrets too, whatever they were made for.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio
import trio_websocket

from tests.scenarios.runs import CAPTURES, REPLAY, ROOT, facts, start, tetrio

API_KEY = "CanaryOfTheApiKey" + secrets.token_hex(24)[:47]
HMAC = "CanaryOfTheHmacSecret" + secrets.token_hex(24)[:43]
TOKEN = "8123456789:CanaryOfTheTelegramToken" + secrets.token_hex(6)
SIGNATURE = re.compile(r"(?:[A-Za-z0-9+/]|%2[BF]){86}(?:==|%3D%3D)|signature\W{1,6}[A-Za-z0-9+/%]{20}", re.IGNORECASE)


@attrs.define
class Place:
    """A directory with marked secrets, and what was seen of the processes that used them."""

    path: Path
    seen: dict[str, str] = attrs.field(factory=dict)
    """Texts by where they were found."""

    @property
    def markers(self) -> list[str]:
        """What must turn up nowhere."""
        body = "".join(self.path.joinpath("key.pem").read_text().splitlines()[1:-1])
        key = base64.b64decode(body)[-32:]
        marks = [API_KEY, HMAC, TOKEN, TOKEN.partition(":")[2], body, key.hex(), repr(key)[2:-1]]
        marks += [base64.b64encode(mark.encode()).decode().rstrip("=") for mark in (API_KEY, HMAC, TOKEN)]
        return [*marks, *(urllib.parse.quote(mark, safe="") for mark in marks)]

    def search(self) -> None:
        """AssertionError where a secret was found; it says where, and not what."""
        places = {"key.pem", "key.pub.pem", "api-key", "token"}
        for path in self.path.rglob("*"):
            if path.is_file() and path.name not in places:
                self.seen[str(path)] = path.read_text(errors="backslashreplace")
        for where, text in self.seen.items():
            for number, mark in enumerate(self.markers):
                assert mark not in text, f"secret {number} was found in {where}"
            found = SIGNATURE.search(text)
            assert found is None, f"a signature was found in {where}: …{text[found.start() - 60 : found.start()]}"

    def options(self, **aims: str) -> list[str]:
        """What a bot is started with: every sink there is."""
        name = secrets.token_hex(4)
        state = self.path / f"state-{name}"
        state.mkdir(mode=0o700)
        settings = {
            "account.api_key_file": self.path / "api-key",
            "account.private_key_file": self.path / "key.pem",
            "symbol.name": "ETHUSDT",
            "log.level": "debug",
            "telegram.token_file": self.path / "token",
            "telegram.url": f"http://127.0.0.1:{closed_port()}",
            "telegram.chats": 1,
            "telegram.users": 1,
            "control.socket": state / "control",
            "control.state": state,
            **{f"venue.{name}": aim for name, aim in aims.items()},
        }
        return [
            *("serve", "--config", str(REPLAY), "--journal", str(self.path / f"journal-{name}")),
            *("--status-file", str(self.path / f"status-{name}")),
            *(part for key, value in settings.items() for part in ("--set", f"{key}={value}")),
        ]

    def end(self, name: str, process: subprocess.Popen[str], by: signal.Signals | None = signal.SIGTERM) -> int:
        """End a process and keep what it said."""
        if by is not None:
            process.send_signal(by)
        out, err = process.communicate(timeout=30)
        self.seen[f"{name}'s standard output"] = self.seen.get(f"{name}'s standard output", "") + out
        self.seen[f"{name}'s standard error"] = err
        return process.returncode


@pytest.fixture
def place(tmp_path: Path) -> Place:
    assert tetrio("keys", "new", "--out", tmp_path / "key.pem").returncode == 0
    for name, content in (("api-key", API_KEY), ("token", TOKEN)):
        (tmp_path / name).write_text(content + "\n")
        (tmp_path / name).chmod(0o600)
    return Place(tmp_path)


Started = tuple[subprocess.Popen[str], dict[str, str]]


@pytest.fixture
def exchange(place: Place) -> Iterator[Callable[..., Started]]:
    """Starts exchanges; gives each with its URLs."""
    made: list[subprocess.Popen[str]] = []

    def make(*keys: str) -> Started:
        process = start(
            *("exchange", "--market", CAPTURES[1], "--symbol", "ETHUSDT", "--fund", "ETH=0.4", "--fund", "USDT=0"),
            *("--audit", place.path / f"audit-{len(made)}", "--speed", "20", *keys),
        )
        made.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        place.seen["the exchange's standard output"] = line
        return process, {name: url for name, url in json.loads(line).items() if name in ("rest", "ws_api", "stream")}

    yield make
    for process in made:
        if process.returncode is None:
            process.kill()
            process.communicate()


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(what: Callable[[], bool], within_s: float = 30) -> None:
    until = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < until, f"not seen within {within_s} s"
        time.sleep(0.05)


def journal_of(place: Place) -> str:
    return "".join(path.read_text() for path in place.path.glob("journal-*"))


# --- the tests -------------------------------------------------------------------------------------------------------


def test_a_run_whose_exchange_is_killed(place: Place, exchange: Callable[..., Started]) -> None:
    process, urls = exchange("--key", f"{API_KEY}={place.path / 'key.pub.pem'}", "--secret", f"other={HMAC}")
    bot = start(*place.options(**urls))
    try:
        wait_until(lambda: '"kind":"fill"' in journal_of(place))
        proc = Path("/proc") / str(bot.pid)
        place.seen["the process list"] = proc.joinpath("cmdline").read_bytes().decode()
        place.seen["the environment"] = proc.joinpath("environ").read_bytes().decode()
        limits = proc.joinpath("limits").read_text().splitlines()
        (cores,) = [line.split()[4:6] for line in limits if line.startswith("Max core file size")]
        assert cores[0] == "0", "a core would hold the private key"
        place.end("the exchange", process, signal.SIGKILL)
        wait_until(lambda: '"state":"ended"' in journal_of(place))
    finally:
        place.end("the bot", bot)
    told = facts(place.seen["the bot's standard error"])
    assert {"start", "fill", "epoch", "stop"} <= {line["kind"] for line in told}
    place.search()


@pytest.mark.parametrize("wrong", ["private key", "API key"])
def test_a_logon_that_is_refused(wrong: str, place: Place, exchange: Callable[..., Started]) -> None:
    pem, name = place.path / "other.pub.pem", API_KEY
    if wrong == "private key":
        assert tetrio("keys", "new", "--out", place.path / "other.pem").returncode == 0
        (place.path / "other.pem").unlink()
    else:
        pem, name = place.path / "key.pub.pem", "A" * 64
    process, urls = exchange("--key", f"{name}={pem}")
    bot = start(*place.options(**urls))
    try:
        assert place.end("the bot", bot, by=None) == 6
    finally:
        place.end("the exchange", process)
    assert "ogon" in place.seen["the bot's standard error"] or "refuse" in place.seen["the bot's standard error"]
    place.search()


def test_an_hmac_client_that_is_refused(place: Place, exchange: Callable[..., Started]) -> None:
    """The exchange's own sinks, when a signed request comes with a signature that is wrong."""
    process, urls = exchange("--secret", f"{API_KEY}={HMAC}")
    import httpx

    for signature in ("0" * 64, "garbage", ""):
        query = f"timestamp={round(time.time() * 1000)}&signature={signature}"
        answer = httpx.get(f"{urls['rest']}/api/v3/account?{query}", headers={"X-MBX-APIKEY": API_KEY})
        assert answer.status_code in (400, 401)
        place.seen[f"the answer to {len(signature)}"] = answer.text
    place.end("the exchange", process)
    place.search()


ECHOES: dict[str, Callable[[str], str]] = {
    "as it came": lambda text: text,
    "cut off": lambda text: text[: text.find("signature") + 40],
    "quoted in an error": lambda text: json.dumps(
        {"id": json.loads(text)["id"], "status": 400, "error": {"code": -1102, "msg": f"what is {text}?"}}
    ),
    "in a refusal": lambda text: json.dumps(
        {"id": json.loads(text)["id"], "status": 401, "error": {"code": -2015, "msg": f"no:\n{text}"}}
    ),
    "as a result": lambda text: json.dumps({"id": json.loads(text)["id"], "status": 200, "result": json.loads(text)}),
}


async def test_an_exchange_that_echoes_the_logon(place: Place, exchange: Callable[..., Started]) -> None:
    """In each shape that there is, to a bot of its own."""
    process, urls = exchange("--key", f"{API_KEY}={place.path / 'key.pub.pem'}")
    echoed: dict[str, str] = {}

    async def echo(shape: str, came: trio.Event, request: trio_websocket.WebSocketRequest) -> None:
        link = await request.accept()
        while True:
            try:
                asked = str(await link.get_message())
                echoed.setdefault(shape, asked)
                came.set()
                await link.send_message(ECHOES[shape](asked))
            except trio_websocket.ConnectionClosed:
                return

    async def try_out(shape: str) -> None:
        async with trio.open_nursery() as nursery:
            came = trio.Event()
            served = await nursery.start(
                trio_websocket.serve_websocket, partial(echo, shape, came), "127.0.0.1", 0, None
            )
            async with running(place, {**urls, "ws_api": f"ws://127.0.0.1:{served.port}/ws-api/v3"}, f"bot {shape}"):
                with trio.fail_after(20):
                    await came.wait()
                await trio.sleep(1)  # for what follows from it to be told
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for shape in ECHOES:
            nursery.start_soon(try_out, shape)
    await trio.to_thread.run_sync(place.end, "the exchange", process)
    for shape in ECHOES:
        assert API_KEY in echoed[shape], "or there was nothing to leave out"
        assert "signature" in echoed[shape]
    place.search()


async def test_a_rest_side_that_echoes_every_request(place: Place, exchange: Callable[..., Started]) -> None:
    process, urls = exchange("--key", f"{API_KEY}={place.path / 'key.pub.pem'}")
    came = trio.Event()

    async def answer(stream: trio.SocketStream) -> None:
        head = (await stream.receive_some(65536)).decode(errors="replace") + f" X-MBX-APIKEY: {API_KEY}"
        came.set()
        body = json.dumps({"code": -1100, "msg": head}).encode()
        await stream.send_all(
            b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
        urls["rest"] = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        async with running(place, urls):
            with trio.fail_after(10):
                await came.wait()
            await trio.sleep(1)
        nursery.cancel_scope.cancel()
    await trio.to_thread.run_sync(place.end, "the exchange", process)
    place.search()


@asynccontextmanager
async def running(place: Place, urls: dict[str, str], name: str = "the bot") -> AsyncIterator[None]:
    """A bot, ended and heard at the end of the block."""
    bot = await trio.to_thread.run_sync(lambda: start(*place.options(**urls)))
    try:
        yield
    finally:
        with trio.CancelScope(shield=True):
            by = signal.SIGTERM if bot.poll() is None else None
            await trio.to_thread.run_sync(place.end, name, bot, by)


def test_an_error_that_nobody_foresaw_shows_no_secret(place: Place) -> None:
    """The last resort of the command line, with and without the traceback."""
    program = f"""
import sys
from tetrio import cli, keys
from tetrio.cli import setup
def fail(options):
    key = keys.read_api_key(__import__("pathlib").Path({str(place.path / "api-key")!r}))
    raise ValueError("odd " + key.reveal())
setup._version = fail
sys.exit(cli.main(sys.argv[1:]))
"""
    for debug in ([], ["--debug"]):
        done = subprocess.run(
            [sys.executable, "-c", program, "version", *debug], capture_output=True, text=True, check=False, cwd=ROOT
        )
        assert done.returncode == 1
        assert "odd" in done.stderr
        place.seen[f"standard error {debug}"] = done.stderr
    place.search()
