"""Bad input: one clear error each, with its remedy and its exit code, and nothing sent."""

from __future__ import annotations

import gzip
import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import islice
from pathlib import Path

import attrs
import pytest

from tests.scenarios.runs import CAPTURES, facts, raw_lines, start, tetrio

HOUR_MS = 3_600_000


@attrs.define
class Exchange:
    """An exchange in a process of its own, whose audit tells what reached it."""

    process: subprocess.Popen[str]
    urls: dict[str, str]
    audit: Path

    def heard(self) -> set[str]:
        """What clients did; deposits are the exchange's own."""
        lines = [json.loads(line) for line in self.audit.read_text().splitlines()]
        return {line["ev"] for line in lines} - {"deposit"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key pair, and the name of an API key."""
    path = tmp_path_factory.mktemp("keys")
    assert tetrio("keys", "new", "--out", path / "key.pem").returncode == 0
    write(path / "name", "somebody\n")
    return path


@pytest.fixture
def exchange(folder: Path, tmp_path: Path) -> Iterator[Exchange]:
    audit = tmp_path / "audit"
    process = start("exchange", "--fund", "ETH=1", "--key", f"somebody={folder / 'key.pub.pem'}", "--audit", audit)
    assert process.stdout is not None
    yield Exchange(process, json.loads(process.stdout.readline()), audit)
    process.terminate()
    process.communicate(timeout=10)


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def aimed(urls: dict[str, str], folder: Path, **other: object) -> list[str]:
    """Arguments of a bot that is aimed at `urls`; `other` are settings, with __ for the dot."""
    settings: dict[str, object] = {f"venue.{name}": urls[name] for name in ("rest", "ws_api", "stream")}
    settings |= {"symbol.name": "ETHFDUSD", "account.api_key_file": folder / "name"}
    settings |= {"account.private_key_file": folder / "key.pem"}
    settings |= {name.replace("__", "."): value for name, value in other.items()}
    return ["serve", *(part for name, value in settings.items() for part in ("--set", f"{name}={value}"))]


def refused(run: subprocess.CompletedProcess[str], code: int, *words: str) -> str:
    """The one complaint of a run that ended with `code`; every one of `words` is in it."""
    complaints = [line for line in run.stderr.splitlines() if not line.startswith("{")]
    assert run.returncode == code, run.stderr
    assert len(complaints) == 1, run.stderr
    assert complaints[0].startswith("tetrio: ")
    assert not [word for word in words if word not in complaints[0]], complaints[0]
    assert "ready" not in {fact["kind"] for fact in facts(run.stderr)}
    return complaints[0]


# --- configuration ---------------------------------------------------------------------------------------------------


def test_an_unknown_key_names_the_nearest_one(tmp_path: Path) -> None:
    file = write(tmp_path / "bad.toml", "[strategy]\nhard_stopp = 0.01\n")
    refused(tetrio("serve", "--config", file), 4, str(file), "hard_stopp", "did you mean hard_stop?")
    refused(tetrio("serve", "--set", "venue.sped=2"), 4, "did you mean speed?")


def test_a_value_out_of_range_names_the_range_and_the_unit(tmp_path: Path) -> None:
    file = write(tmp_path / "bad.toml", "[strategy]\nhard_stop = 5\n")
    refused(tetrio("serve", "--config", file), 4, "strategy.hard_stop", "at most 1", "0.5 % is 0.005")


def test_a_command_line_that_is_wrong_is_one_line() -> None:
    refused(tetrio("serve", "--nonsense"), 2, "--nonsense", "--help")
    refused(tetrio("exchange", "--latency-ms", "x"), 2, "'x' is not a number of milliseconds")


def test_a_status_file_that_could_never_be_written_is_refused(tmp_path: Path) -> None:
    refused(tetrio("serve", "--status-file", tmp_path / "none" / "status"), 4, "directory that exists")


# --- symbols ---------------------------------------------------------------------------------------------------------


def test_a_symbol_that_a_recording_lacks_is_refused() -> None:
    for command in (["serve", "--set", "symbol.name=BTCUSDT"], ["exchange", "--symbol", "BTCUSDT"]):
        refused(tetrio(*command, "--market", CAPTURES[0]), 4, "no frames of BTCUSDT", "it holds ETHUSDT")


@pytest.mark.fault("F93")
def test_a_symbol_that_the_exchange_lacks_is_refused(exchange: Exchange, folder: Path) -> None:
    run = tetrio(*aimed(exchange.urls, folder, symbol__name="NOSUCH"))
    refused(run, 4, "no symbol 'NOSUCH'", "[symbol] name")
    assert exchange.heard() == set()


# --- keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.fault("F32", "F126")
def test_key_files_that_cannot_be_used_are_told_apart(exchange: Exchange, folder: Path, tmp_path: Path) -> None:
    private, public = (folder / "key.pem").read_text(), (folder / "key.pub.pem").read_text()
    encrypted = private.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY")
    files: list[tuple[str, Path, int, list[str]]] = [
        ("private_key_file", tmp_path / "none", 4, ["no private key file", "tetrio keys new"]),
        ("private_key_file", write(tmp_path / "junk", "junk"), 4, ["is not PEM", "tetrio keys new"]),
        ("private_key_file", write(tmp_path / "public", public), 6, ["is a public key", "the private one"]),
        ("private_key_file", write(tmp_path / "locked", encrypted), 6, ["is encrypted", "openssl pkey"]),
        ("private_key_file", write(tmp_path / "open", private, 0o644), 6, ["read by others", "chmod 600"]),
        ("api_key_file", tmp_path / "none", 4, ["no API key file", "chmod 600"]),
        ("api_key_file", folder / "key.pem", 4, ["holds a PEM"]),
        ("api_key_file", write(tmp_path / "bare", "somebody", 0o640), 6, ["open to other users", "chmod 600"]),
    ]
    for name, file, code, words in files:
        refused(tetrio(*aimed(exchange.urls, folder, **{f"account__{name}": file})), code, *words)
    assert exchange.heard() == set()


@pytest.mark.fault("F29")
def test_a_key_that_the_exchange_does_not_know_is_refused_and_not_tried_again(
    exchange: Exchange, folder: Path, tmp_path: Path
) -> None:
    other = write(tmp_path / "other", "stranger")
    run = tetrio(*aimed(exchange.urls, folder, account__api_key_file=other))
    refused(run, 6, "refuses the API key", "check that the public key is uploaded")
    assert not exchange.heard() & {"logon", "accept", "reject"}


# --- the exchange ----------------------------------------------------------------------------------------------------


class _LateClock(BaseHTTPRequestHandler):
    """Tells the time of an hour ago, and remembers nothing else being asked."""

    asked: list[str] = []  # noqa: RUF012 - shared with the test on purpose

    def do_GET(self) -> None:
        self.asked.append(self.path)
        body = json.dumps({"serverTime": time.time_ns() // 1_000_000 - HOUR_MS}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the library
        return


def test_a_clock_far_off_is_refused(folder: Path) -> None:
    with HTTPServer(("127.0.0.1", 0), _LateClock) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host = f"127.0.0.1:{server.server_port}"
        urls = {"rest": f"http://{host}", "ws_api": f"ws://{host}/ws-api/v3", "stream": f"ws://{host}"}
        run = tetrio(*aimed(urls, folder))
        server.shutdown()
    refused(run, 6, "3600.0 s ahead of the exchange's", "timedatectl", "max_clock_offset_ms")
    assert set(_LateClock.asked) == {"/api/v3/time"}


def test_an_exchange_that_is_not_there_is_tried_again_until_the_deadline(folder: Path) -> None:
    with socket.socket() as bound:  # bound and not listening: nobody else takes the port, and nobody answers
        bound.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{bound.getsockname()[1]}"
        urls = {"rest": f"http://{host}", "ws_api": f"ws://{host}/ws-api/v3", "stream": f"ws://{host}"}
        run = tetrio(*aimed(urls, folder, venue__connect_deadline_s=2))
    refused(run, 5, "no connection to the exchange within 2 s", host)
    tries = [fact for fact in facts(run.stderr) if fact["kind"] == "epoch" and fact["state"] == "ended"]
    assert tries, "it said what it was waiting for"
    assert all(host in fact["why"] and fact["next_s"] > 0 for fact in tries)


def test_a_port_in_use_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused(tetrio("exchange", "--listen", f"127.0.0.1:{port}"), 4, f"port {port}", "is in use", "choose another")


def test_an_audit_of_somebody_elses_exchange_is_refused(folder: Path, tmp_path: Path) -> None:
    urls = {"rest": "http://127.0.0.1:1", "ws_api": "ws://127.0.0.1:1", "stream": "ws://127.0.0.1:1"}
    refused(tetrio(*aimed(urls, folder), "--audit", tmp_path / "audit"), 2, "--audit", "leave it out")
    assert not (tmp_path / "audit").exists()


# --- recordings ------------------------------------------------------------------------------------------------------


def test_a_truncated_capture_is_refused_with_its_line_before_anything_is_traded(tmp_path: Path) -> None:
    good = list(islice(raw_lines(CAPTURES[0]), 50))
    torn = write(tmp_path / "torn", "".join([*good, good[0][:60] + "\n", *good]))
    half = tmp_path / "half.gz"
    packed = gzip.compress("".join(good).encode())
    half.write_bytes(packed[: len(packed) // 2])
    for file, words in ((torn, ["line 51", "truncated"]), (half, ["after line", "truncated or damaged"])):
        audit = tmp_path / "audit"
        refused(tetrio("serve", "--market", file, "--speed", "max", "--audit", audit), 4, str(file), *words)
        assert not audit.exists()
        refused(tetrio("exchange", "--market", file), 4, str(file), *words)


def test_a_market_that_is_not_there_or_empty_is_refused(tmp_path: Path) -> None:
    refused(tetrio("serve", "--market", tmp_path / "none"), 4, "cannot be read")
    refused(tetrio("serve", "--market", write(tmp_path / "empty", "")), 4, "is empty")
