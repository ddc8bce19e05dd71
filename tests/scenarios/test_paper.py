"""The venue paper: a market that another process serves, relayed; orders and account are the bot's own exchange's."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.referee import judge, read
from tests.scenarios.runs import CAPTURES, REPLAY, facts, start, tetrio
from tests.scenarios.test_two_processes import traded, wait_for
from tetrio.cli import main

AT_ONCE = ("--set", "venue.connect_deadline_s=2")


@pytest.fixture
def source() -> Iterator[dict[str, str]]:
    """Where an exchange listens whose market runs twenty times as fast as it was recorded."""
    process = start(
        "exchange", "--listen", "127.0.0.1:0", "--market", CAPTURES[1], "--symbol", "ETHUSDT", "--speed", "20"
    )
    assert process.stdout is not None
    yield json.loads(process.stdout.readline())
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=10)[1] == ""
    assert process.returncode == 0


def relayed(urls: dict[str, str], symbol: str = "ETHUSDT") -> list[str]:
    """The options that relay the market at `urls`."""
    settings = (f"venue.rest={urls['rest']}", f"venue.stream={urls['stream']}", f"symbol.name={symbol}")
    return ["--venue", "paper", *(part for each in settings for part in ("--set", each))]


def ended(process: subprocess.Popen[str], within_s: float) -> str:
    """Signal it to stop; its standard error."""
    process.send_signal(signal.SIGTERM)
    try:
        return process.communicate(timeout=within_s)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise


def test_the_bot_trades_another_exchanges_market_with_money_of_its_own(source: dict[str, str], tmp_path: Path) -> None:
    audit = tmp_path / "audit"
    bot = start("serve", *relayed(source), "--config", REPLAY, "--audit", audit)
    try:
        wait_for(audit, traded)
    finally:
        began = time.monotonic()
        told = facts(ended(bot, within_s=5))
    assert bot.returncode == 0
    assert time.monotonic() - began < 5
    assert "ready" in {fact["kind"] for fact in told}
    begun = next(fact for fact in told if fact["kind"] == "start")
    assert (begun["market"], begun["source"]) == ("relay", source["stream"])
    verdict = judge(read(audit))
    assert verdict.most_live == 1
    assert verdict.left_open == []
    assert verdict.events["fill"] >= 5
    assert ("source", "up") in {(fact.get("name"), fact.get("state")) for fact in told}
    assert not any(fact["kind"] == "log" for fact in told), "a library had something to complain of"


def test_a_symbol_that_is_not_there_is_said_at_the_start(source: dict[str, str]) -> None:
    run = tetrio("serve", *relayed(source, "BTCUSDT"))
    assert run.returncode == 4
    assert "no symbol BTCUSDT" in run.stderr


def test_a_market_that_cannot_be_reached_is_said_after_the_deadline() -> None:
    nowhere = {"rest": "http://127.0.0.1:9", "stream": "ws://127.0.0.1:9"}
    run = tetrio("serve", *relayed(nowhere), *AT_ONCE)
    assert run.returncode == 5
    assert "no market from http://127.0.0.1:9" in run.stderr


def test_a_signal_ends_the_wait_for_a_market() -> None:
    bot = start("serve", *relayed({"rest": "http://127.0.0.1:9", "stream": "ws://127.0.0.1:9"}))
    assert bot.stderr is not None
    assert '"lost"' in bot.stderr.readline()
    ended(bot, within_s=5)
    assert bot.returncode == 0


def test_the_exchange_alone_relays_too(source: dict[str, str], tmp_path: Path) -> None:
    audit = tmp_path / "audit"
    process = start(
        "exchange", "--market", "binance", "--symbol", "ETHUSDT", "--source-rest", source["rest"], "--source-stream",
        source["stream"], "--audit", audit, "--fund", "ETH=1",
    )  # fmt: skip
    assert process.stdout is not None
    urls = json.loads(process.stdout.readline())
    bot = start("serve", *relayed(urls), "--config", REPLAY, "--audit", tmp_path / "bot")  # of the relay, a relay
    try:
        wait_for(tmp_path / "bot", traded)
    finally:
        told = [ended(each, within_s=5) for each in (bot, process)]
    assert (bot.returncode, process.returncode) == (0, 0)
    assert "source" in told[1]
    assert judge(read(tmp_path / "bot")).events["fill"] >= 5
    assert judge(read(audit)).end["frames"] > 100


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--market", "binance"), "name it, such as --symbol ETHUSDT"),
        (("--market", "binance", "--symbol", "ETHUSDT", "--speed", "2"), "leave out --speed 2"),
        (("--market", "binance", "--symbol", "ETHUSDT", "--source-stream", "ws://example.com"), "for this host only"),
        (("--source-rest", "http://127.0.0.1:1"), "go with --market binance"),
    ],
)
def test_what_does_not_fit_a_relayed_market_is_refused(
    arguments: tuple[str, ...], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["exchange", *arguments]) == 4
    assert complaint in capsys.readouterr().err
