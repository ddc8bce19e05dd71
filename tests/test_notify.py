"""`tetrio notify` against a Bot API on loopback, and with configurations that are missing or broken."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from tetrio.cli import main, notify
from tetrio.errors import ConfigError

TOKEN = "123456789:canary-AAbbCCddEEffGGhhIIjjKKllMMnn"


class BotApi(HTTPServer):
    """Takes messages for chat 5 and refuses those for others."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.told: list[tuple[int, str]] = []


class Handler(BaseHTTPRequestHandler):
    server: BotApi

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.headers["Content-Type"].startswith("application/json"):
            sent = json.loads(body)
        else:
            sent = {name: values[0] for name, values in parse_qs(body).items()}
        chat, text = int(sent["chat_id"]), str(sent["text"])
        if chat == 5:
            self.server.told.append((chat, text))
            message = {"message_id": 1, "date": 0, "chat": {"id": chat, "type": "private"}, "text": text}
            self.answer(200, {"ok": True, "result": message})
        else:
            self.answer(400, {"ok": False, "error_code": 400, "description": "Bad Request: chat not found"})

    def answer(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class calls it so
        """Quiet."""


@pytest.fixture
def bot_api() -> Iterator[BotApi]:
    with BotApi() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def toml(tmp_path: Path, bot_api: BotApi) -> Path:
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "token").chmod(0o600)
    path = tmp_path / "bot.toml"
    path.write_text(
        f'[telegram]\ntoken_file = "{tmp_path / "token"}"\nchats = [5]\nurl = "http://127.0.0.1:{bot_api.server_port}"\n'
    )
    return path


def test_a_test_message_goes_to_every_chat_and_each_is_told_of(
    toml: Path, bot_api: BotApi, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["notify", "test", "--config", str(toml)]) == 0
    assert capsys.readouterr().out == "ok    chat 5: delivered\n"
    ((chat, text),) = bot_api.told
    assert chat == 5
    assert "this is a test" in text
    assert main(["notify", "test", "--config", str(toml), "--set", "telegram.chats=5,6", "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert [(each["chat"], each["ok"]) for each in said["chats"]] == [(5, True), (6, False)]
    assert "chat not found" in said["chats"][1]["text"]


def test_a_test_without_a_channel_says_what_to_set(
    toml: Path, bot_api: BotApi, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["notify", "test"]) == 4
    assert "set [telegram] token_file" in capsys.readouterr().err
    assert main(["notify", "test", "--config", str(toml), "--set", "telegram.chats="]) == 4
    assert "set [telegram] chats" in capsys.readouterr().err
    assert bot_api.told == []


def test_an_alert_gets_out_although_the_rest_of_the_configuration_is_broken(
    toml: Path, bot_api: BotApi, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    toml.write_text(toml.read_text() + '[strategy]\nhard_stpo = 1\n[nonsense]\nx = "y"\n')
    monkeypatch.setenv("TETRIO__STRATEGY__NOPE", "1")
    assert main(["notify", "alert", "tetrio.service", "--config", str(toml)]) == 0
    ((_, text),) = bot_api.told
    assert text.startswith("tetrio.service failed on ")
    assert main(["notify", "test", "--config", str(toml)]) == 4, "while a test is of the whole configuration"


def test_an_alert_with_nobody_to_tell_says_so_and_is_no_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["notify", "alert", "tetrio.service"]) == 0
    assert "not sent to anybody, because [telegram] token_file is not set" in capsys.readouterr().out
    path = tmp_path / "bot.toml"
    path.write_text("this is not TOML")
    assert main(["notify", "alert", "tetrio.service", "--config", str(path), "--json"]) == 0
    told = capsys.readouterr()
    assert "cannot be read, so it is left out" in told.err
    assert json.loads(told.out)["chats"] == []


@pytest.mark.parametrize("content", ["telegram = 3\n", "[telegram]\nchats = [true]\n", "[telegram]\nchat = [5]\n"])
def test_what_is_wrong_in_its_own_section_is_told(tmp_path: Path, content: str) -> None:
    path = tmp_path / "bot.toml"
    path.write_text(content)
    with pytest.raises(ConfigError):
        notify.telegram_alone(path, {}, [])


def test_systemds_credential_is_the_token(tmp_path: Path) -> None:
    (tmp_path / "telegram").write_text(TOKEN)
    params = notify.telegram_alone(None, {"CREDENTIALS_DIRECTORY": str(tmp_path), "TETRIO__TELEGRAM__CHATS": "5"}, [])
    assert (params.token_file, params.chats) == (str(tmp_path / "telegram"), (5,))


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (
            {"Result": "exit-code", "ExecMainCode": "1", "ExecMainStatus": "6"},
            "exit-code, exit code 6 (refused as unsafe)",
        ),
        (
            {"Result": "signal", "ExecMainCode": "2", "ExecMainStatus": "9", "NRestarts": "3"},
            "signal, signal 9, 3 restarts",
        ),
        ({"Result": "watchdog", "ExecMainCode": "3", "ExecMainStatus": "6"}, "watchdog, signal 6"),
        ({"Result": "exit-code", "ExecMainCode": "1", "ExecMainStatus": "99"}, "exit-code, exit code 99"),
    ],
)
def test_the_last_state_is_told_in_words(facts: dict[str, str], said: str) -> None:
    assert notify.described(facts) == said
