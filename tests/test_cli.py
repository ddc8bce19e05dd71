from __future__ import annotations

import gzip
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from trio_websocket import open_websocket_url

from tests.paths import SHARED
from tetrio import __version__, errors, keys
from tetrio.cli import main, setup

CAPTURE = SHARED / "data" / "capture" / "ethusdt_20240808.gz"
TRACE = SHARED / "golden" / "eth-flips.jsonl.gz"
TETRIO = [sys.executable, "-m", "tetrio"]


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A tetrio process, ended at the latest with the block."""
    with subprocess.Popen(
        [*TETRIO, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[str], code: int) -> str:
    """Wait for the process's end; what it wrote on standard error."""
    _, err = process.communicate(timeout=20)
    assert process.returncode == code, err
    return err


@pytest.fixture
def err(capsys: pytest.CaptureFixture[str]) -> Any:
    return lambda: capsys.readouterr().err


# --- errors and exit codes -------------------------------------------------------------------------------------------


def raising(error: BaseException) -> Any:
    def run(options: object) -> int:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigError("x"), 4),
        (errors.MarketError("x"), 4),
        (errors.Timeout("x"), 5),
        (errors.UnsafeError("x"), 6),
        (errors.GaveUp("x"), 7),
        (errors.TetrioError("x"), 1),
        (ExceptionGroup("a", [errors.UnsafeError("x"), ExceptionGroup("b", [errors.UnsafeError("x")])]), 6),
        (ExceptionGroup("a", [errors.UnsafeError("x"), errors.ConfigError("y")]), 1),
        (ExceptionGroup("a", [errors.UnsafeError("x"), ValueError("y")]), 1),
        (ZeroDivisionError("x"), 1),
        (KeyboardInterrupt(), 1),
        (BaseExceptionGroup("a", [KeyboardInterrupt()]), 1),
    ],
)
def test_every_error_has_its_exit_code_and_one_line(
    monkeypatch: pytest.MonkeyPatch, err: Any, error: BaseException, code: int
) -> None:
    monkeypatch.setattr(setup, "_version", raising(error))
    assert main(["version"]) == code
    said = err()
    assert said.startswith("tetrio: ")
    assert said.count("\n") == 1


def test_an_error_is_json_too_for_a_program_that_asked_for_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(setup, "_version", raising(errors.UnsafeError("two\nlines")))
    assert main(["version", "--json"]) == 6
    out, said = capsys.readouterr()
    assert json.loads(out) == {"error": "two\nlines", "exit_code": 6}
    assert said == "tetrio: two\\nlines\n"


def test_debug_adds_the_traceback(monkeypatch: pytest.MonkeyPatch, err: Any) -> None:
    monkeypatch.setattr(setup, "_version", raising(ZeroDivisionError("x")))
    assert main(["version", "--debug"]) == 1
    assert "Traceback" in err()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--nonsense"],
        ["nonsense"],
        ["serve", "--conf", "x"],
        ["explain"],
        ["keys", "new"],
    ],
)
def test_a_malformed_command_line_is_exit_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


@pytest.mark.parametrize("arguments", [[], ["keys"], ["config"]])
def test_a_command_line_that_asks_for_nothing_shows_help(arguments: list[str], err: Any) -> None:
    assert main(arguments) == 2
    assert "usage: tetrio" in err()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["exchange", "--speed", "max"], "two processes share no clock"),
        (["exchange", "--fault", "x"], "'x' is no fault; `--fault help` tells all"),
        (["exchange", "--latency-ms=-1"], "-1"),
        (["exchange", "--listen", "0.0.0.0:0"], "loopback only"),
        (["exchange", "--listen", "127.0.0.1"], "not HOST:PORT"),
        (["exchange", "--listen", "127.0.0.1:65534"], "not HOST:PORT"),
    ],
)
def test_what_this_version_does_not_do_is_exit_2(arguments: list[str], complaint: str, err: Any) -> None:
    assert main(arguments) == 2
    assert complaint in err()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["serve", "--set", "strategy.min_gian_base=1"], "did you mean min_gain_base?"),
        (["serve", "--config", "missing.toml"], "No such file"),
        (["serve", "--venue", "binance"], "none of sim, paper, testnet, demo, live"),
        (["serve", "--speed", "fast"], 'not a number, or "max"'),
        (["serve", "--speed", "max"], "recorded market"),
        (["serve", "--seed", "-1"], "at least 0"),
        (["exchange", "--speed", "0"], "above 0"),
        (["exchange", "--fee", "0.001"], "MAKER,TAKER"),
        (["exchange", "--fee", "0.2,0"], "at most 0.1"),
        (["exchange", "--fund", "ETH"], '"ETH=1"'),
        (["exchange", "--limits", "few"], "production, off, KIND:WINDOW=LIMIT such as ORDERS:10s=5000"),
        (["exchange", "--limits", "ORDERS:1m=5"], "there is no limit ORDERS:1m"),
        (["exchange", "--assets", "ETHUSDT"], "BASE/QUOTE"),
        (["exchange", "--key", "KEY"], "APIKEY=PUBLIC.pem"),
        (["exchange", "--key", "KEY=missing.pem"], "cannot be read"),
        (["exchange", "--fills", "always"], "none of queue, through, touch"),
        (["exchange", "--market", "missing.gz"], "missing.gz"),
        (["explain", "missing.jsonl"], "missing.jsonl"),
    ],
)
def test_bad_input_is_exit_4_and_names_the_remedy(arguments: list[str], complaint: str, err: Any) -> None:
    assert main(arguments) == 4
    said = err()
    assert complaint in said
    assert said.count("\n") == 1


def test_a_secret_on_the_command_line_is_not_repeated(err: Any) -> None:
    assert main(["exchange", "--secret", "hunter2"]) == 4
    assert "hunter2" not in err()


# --- commands --------------------------------------------------------------------------------------------------------


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert capsys.readouterr().out == f"tetrio {__version__}\n"
    assert main(["version", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"version": __version__}


@pytest.mark.parametrize("arguments", [["version"], ["config", "check"]])
def test_light_commands_load_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; from tetrio.cli import main, setup; main(sys.argv[1:]); "
        "heavy = {'trio', 'httpx', 'rich', 'nacl', 'starlette', 'hypercorn'} & set(sys.modules); sys.exit(bool(heavy))"
    )
    assert subprocess.run([sys.executable, "-c", code, *arguments], check=False).returncode == 0


def test_config_check_says_what_is_right_and_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bot.toml"
    path.write_text('[venue]\nname = "testnet"\n[symbol]\nname = "ETHFDUSD"\n')
    keys = ["--set", "account.api_key_file=missing-key", "--set", "account.private_key_file=missing.pem"]
    assert main(["config", "check", "--config", str(path), *keys]) == 0
    out = capsys.readouterr().out
    assert "is fine: venue testnet, symbol ETHFDUSD" in out
    assert "missing-key: no such file yet" in out

    assert main(["config", "check", "--config", str(path), "--json", *keys]) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True
    assert main(["config", "check", "--config", str(path), "--json"]) == 4
    said = capsys.readouterr()
    assert "keys new" in json.loads(said.out)["error"]
    assert "keys new" in said.err


def test_config_show_prints_every_setting(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TETRIO__STRATEGY__HARD_STOP", "0.02")
    assert main(["config", "show", "--json", "--set", "exit.chase=touch"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["strategy.hard_stop"]["value"] == "0.02"
    assert shown["strategy.hard_stop"]["origin"] == "TETRIO__STRATEGY__HARD_STOP"
    assert shown["exit.chase"]["origin"] == "--set"
    assert main(["config", "show"]) == 0
    out = capsys.readouterr().out
    assert all(key in out for key in shown)


def test_explain_prints_a_line_a_step_and_layers_its_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(TRACE), "--why", "--set", "strategy.hard_stop=0.9"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) > 100
    assert {"regime", "gate", "anchor_price", "why"} <= set(lines[-1])
    assert not any(line["gate"] for line in lines)


def test_a_reader_that_has_had_enough_is_no_error() -> None:
    shell = f"{sys.executable} -m tetrio explain '{TRACE}' | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False, timeout=30)
    assert done.stderr == ""
    assert done.returncode == 0


def test_live_without_a_terminal_is_refused(tmp_path: Path, err: Any) -> None:
    arguments = ["serve", "--venue", "live", "--set", "symbol.name=ETHFDUSD"]
    arguments += ["--set", "account.api_key_file=a", "--set", "account.private_key_file=b"]
    assert main(arguments) == 4
    assert "real money" in err()
    done = subprocess.run(
        [*TETRIO, *arguments, "--live"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 4
    assert "terminal" in done.stderr


@pytest.mark.parametrize("answer", ["yes", "", "trade ETHUSDT"])
def test_live_is_asked_for_in_full(answer: str) -> None:
    arguments = ["serve", "--venue", "live", "--live", "--set", "symbol.name=ETHFDUSD"]
    arguments += ["--set", "account.api_key_file=a", "--set", "account.private_key_file=b"]
    ours, theirs = os.openpty()
    try:
        with subprocess.Popen([*TETRIO, *arguments], stdin=theirs, stderr=subprocess.PIPE, text=True) as process:
            os.write(ours, answer.encode() + b"\n")
            said = ended(process, 4)
    finally:
        os.close(ours)
        os.close(theirs)
    assert "Type 'trade ETHFDUSD' to go on" in said
    assert "not confirmed; nothing was sent" in said


# --- exchange --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_exchange_says_where_it_listens_and_ends_in_order(tmp_path: Path, number: int) -> None:
    pair = keys.new_pair(tmp_path / "key.pem")
    audit = tmp_path / "audit.jsonl"
    arguments = ["--market", str(CAPTURE), "--key", f"KEY={pair.public_path}", "--audit", str(audit)]
    with running("exchange", *arguments, "--fund", "ETH=1", "--fund", "USDT=0") as process:
        assert process.stdout is not None
        urls = json.loads(process.stdout.readline())
        assert set(urls) == {"rest", "ws_api", "stream", "sbe"}
        assert urls["rest"].startswith("http://127.0.0.1:")
        assert urls["ws_api"].endswith("/ws-api/v3")
        assert len({url.split("/")[2] for url in urls.values()}) == 3  # REST, WebSocket, SBE
        process.send_signal(number)
        ended(process, 0)
    lines = [json.loads(line) for line in audit.read_text().splitlines()]
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    assert {line["ev"] for line in lines} == {"deposit", "end"}
    assert lines[-1]["ev"] == "end"


async def test_a_recorded_market_is_played_to_its_end_and_orders_are_served_on(tmp_path: Path) -> None:
    market = tmp_path / "market.txt"
    with gzip.open(CAPTURE, "rt") as capture:
        market.write_text("".join(itertools.islice(capture, 2000)))
    with running("exchange", "--market", str(market), "--speed", "1000") as process:
        assert process.stdout is not None
        urls = json.loads(await trio.to_thread.run_sync(process.stdout.readline))
        with trio.fail_after(20):
            async with open_websocket_url(urls["stream"] + "/ws/ethusdt@bookTicker") as socket:
                assert json.loads(await socket.get_message())["s"] == "ETHUSDT"
                said = json.loads(await trio.to_thread.run_sync(process.stdout.readline))
            assert said == {"event": "market_end", "frames": 2000}
            async with httpx.AsyncClient(trust_env=False) as client:
                reply = await client.get(urls["rest"] + "/api/v3/time")
            assert reply.status_code == 200
        process.terminate()
        ended(process, 0)


def test_a_port_in_use_is_a_clear_error(tmp_path: Path) -> None:
    with running("exchange") as first:
        assert first.stdout is not None
        port = json.loads(first.stdout.readline())["rest"].rpartition(":")[2]
        with running("exchange", "--listen", f"127.0.0.1:{port}") as second:
            said = ended(second, 4)
    assert port in said
    assert said.strip().count("\n") == 0


def test_a_symbol_that_the_file_lacks_is_a_clear_error() -> None:
    with running("exchange", "--market", str(CAPTURE), "--symbol", "BTCUSDT") as process:
        assert "ETHUSDT" in ended(process, 4)
