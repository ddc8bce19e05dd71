"""The exchange in one process, the bot in another, aimed at it by URLs; and what signals leave behind."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.scenarios.referee import judge, read
from tests.scenarios.runs import CAPTURES, REPLAY, facts, start, tetrio


@attrs.define
class Venue:
    process: subprocess.Popen[str]
    urls: dict[str, str]
    audit: Path
    keys: Path
    bots: list[subprocess.Popen[str]] = attrs.field(factory=list)

    def trade(self, *more: object) -> subprocess.Popen[str]:
        """Start a bot aimed at this exchange."""
        self.bots.append(start("serve", *self.arguments(), "--config", REPLAY, *more))
        return self.bots[-1]

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=10)
        return self.process.returncode

    def arguments(self) -> list[str]:
        aims = [f"venue.{name}={self.urls[name]}" for name in ("rest", "ws_api", "stream")]
        aims += [f"account.api_key_file={self.keys / 'name'}", f"account.private_key_file={self.keys / 'key.pem'}"]
        return [part for aim in [*aims, "symbol.name=ETHUSDT"] for part in ("--set", aim)]


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[Callable[..., Venue]]:
    made: list[Venue] = []
    assert tetrio("keys", "new", "--out", tmp_path / "key.pem").returncode == 0
    (tmp_path / "name").write_text("somebody\n")
    (tmp_path / "name").chmod(0o600)

    def make(*more: object) -> Venue:
        audit = tmp_path / "audit"
        process = start(
            "exchange", "--listen", "127.0.0.1:0", "--market", CAPTURES[1], "--symbol", "ETHUSDT", "--fund", "ETH=0.4",
            "--fund", "USDT=0", "--key", f"somebody={tmp_path / 'key.pub.pem'}", "--audit", audit, "--speed", "20",
            *more,
        )  # fmt: skip
        assert process.stdout is not None
        made.append(Venue(process, json.loads(process.stdout.readline()), audit, tmp_path))
        return made[-1]

    yield make
    for process in [each.process for each in made] + [bot for each in made for bot in each.bots]:
        if process.returncode is None:
            process.kill()
            process.communicate()


def wait_for(path: Path, what: Callable[[list[dict[str, Any]]], bool], within_s: float = 90) -> None:
    """Until the audit shows something."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        if what(lines):
            return
        time.sleep(0.02)
    raise AssertionError(f"not seen within {within_s} s")


def resting(lines: list[dict[str, Any]]) -> bool:
    return bool(lines) and lines[-1]["ev"] == "accept"


def traded(lines: list[dict[str, Any]]) -> bool:
    return sum(line["ev"] == "fill" for line in lines) >= 5 and resting(lines)


@pytest.mark.fault("F69")
@pytest.mark.parametrize("on_stop", ["cancel", "leave"])
def test_a_stop_leaves_what_on_stop_says(venue: Callable[..., Venue], on_stop: str) -> None:
    exchange = venue()
    bot = exchange.trade("--set", f"exit.on_stop={on_stop}")
    wait_for(exchange.audit, traded)
    bot.send_signal(signal.SIGTERM)
    began = time.monotonic()
    _, told = bot.communicate(timeout=15)
    assert bot.returncode == 0, told
    assert time.monotonic() - began < 5
    lines = read(exchange.audit)
    left = {line["client_order_id"] for line in lines if line["ev"] == "accept"}
    left -= {line["client_order_id"] for line in lines if line.get("status") in ("FILLED", "CANCELED")}
    assert on_stop == "leave" or left == set()
    assert exchange.end() == 0
    assert judge(read(exchange.audit)).most_live == 1


def test_the_exchange_going_leaves_no_order_and_the_bot_waits_for_it(venue: Callable[..., Venue]) -> None:
    exchange = venue()
    status = exchange.keys / "status"
    bot = exchange.trade("--status-file", status)
    wait_for(exchange.audit, traded)
    assert exchange.end() == 0
    assert judge(read(exchange.audit)).left_open == []
    wait_for(status, lambda told: told[0]["phase"] == "connecting" and "next try in" in told[0]["detail"])
    assert bot.poll() is None, "the watchdog keeps trying"
    bot.send_signal(signal.SIGTERM)
    _, told = bot.communicate(timeout=15)
    assert bot.returncode == 0, told
    assert any(line["kind"] == "epoch" and line["state"] == "ended" for line in facts(told))


@pytest.mark.fault("F68")
def test_an_exit_left_by_one_process_is_taken_over_by_the_next(venue: Callable[..., Venue]) -> None:
    exchange = venue()
    first = exchange.trade("--set", "exit.on_stop=leave")
    wait_for(exchange.audit, traded)
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=15)
    second = exchange.trade()
    wait_for(exchange.audit, lambda lines: sum(line["ev"] == "logon" for line in lines) == 2)
    wait_for(exchange.audit, lambda lines: sum(line["ev"] == "fill" for line in lines) >= 10)
    second.send_signal(signal.SIGTERM)
    _, told = second.communicate(timeout=15)
    assert second.returncode == 0, told
    assert exchange.end() == 0
    verdict = judge(read(exchange.audit))
    assert verdict.most_live == 1
    assert verdict.left_open == []


@pytest.mark.fault("F83")
def test_a_second_instance_stops_both_from_doubling(venue: Callable[..., Venue]) -> None:
    exchange = venue()
    homes = [exchange.keys / name for name in ("one host", "another host")]
    bots = [exchange.trade("--set", f"control.state={home}") for home in homes]
    deadline = time.monotonic() + 90
    while all(bot.poll() is None for bot in bots) and time.monotonic() < deadline:
        time.sleep(0.05)
    for bot in bots:
        bot.send_signal(signal.SIGTERM)
    told = [bot.communicate(timeout=15)[1] for bot in bots]
    assert 6 in [bot.returncode for bot in bots]
    assert any("second tetrio" in text for text in told)


@pytest.mark.fault("F83")
def test_two_of_one_host_do_not_trade_the_same_account_and_symbol(venue: Callable[..., Venue]) -> None:
    exchange = venue()
    first = exchange.trade()
    wait_for(exchange.audit, traded)
    second = exchange.trade()
    _, told = second.communicate(timeout=15)
    assert second.returncode == 6
    assert f"(process {first.pid}) trades ETHUSDT with this account" in told
    assert first.poll() is None
    first.send_signal(signal.SIGTERM)
    _, told = first.communicate(timeout=15)
    assert first.returncode == 0, told


def test_a_bot_whose_latch_is_gone_is_paused_until_resume(venue: Callable[..., Venue]) -> None:
    exchange = venue()
    first = exchange.trade("--set", f"control.state={exchange.keys / 'old'}", "--set", "exit.on_stop=leave")
    wait_for(exchange.audit, traded)
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=15)
    status = exchange.keys / "status"
    second = exchange.trade("--set", f"control.state={exchange.keys / 'new'}", "--status-file", status)
    wait_for(status, lambda told: bool(told) and told[0]["paused"])
    second.send_signal(signal.SIGTERM)
    _, told = second.communicate(timeout=15)
    assert second.returncode == 0, told
    assert any("the latch file is gone" in fact.get("why", "") for fact in facts(told))


@pytest.mark.fault("F127")
@pytest.mark.parametrize(("right", "what"), [("withdraw", "withdraw"), ("universal-transfer", "universal transfers")])
def test_a_key_that_may_do_more_than_trade_is_refused_before_anything_is_sent(
    venue: Callable[..., Venue], right: str, what: str
) -> None:
    exchange = venue("--key-rights", f"somebody={right}")
    bot = exchange.trade()
    _, told = bot.communicate(timeout=15)
    assert bot.returncode == 6, told
    assert what in told.splitlines()[-1]
    assert exchange.end() == 0
    assert not [line for line in read(exchange.audit) if line["ev"] in ("accept", "reject", "cancel")]


def test_a_reload_goes_on_with_the_new_key_and_a_bad_one_changes_nothing(venue: Callable[..., Venue]) -> None:
    exchange = venue()
    bot = exchange.trade()
    wait_for(exchange.audit, traded)
    (exchange.keys / "name").write_text("nobody\n")
    bot.send_signal(signal.SIGHUP)
    assert bot.stderr is not None
    refused = next(line for line in bot.stderr if '"kind":"reload"' in line)
    assert "the keys of before stay in use" in refused
    (exchange.keys / "name").write_text("somebody\n")
    logons = sum(line["ev"] == "logon" for line in read(exchange.audit))
    bot.send_signal(signal.SIGHUP)
    done = next(line for line in bot.stderr if '"kind":"reload"' in line)
    assert json.loads(done)["state"] == "done"
    wait_for(exchange.audit, lambda lines: sum(line["ev"] == "logon" for line in lines) >= logons + 2)
    fills = sum(line["ev"] == "fill" for line in read(exchange.audit))
    wait_for(exchange.audit, lambda lines: sum(line["ev"] == "fill" for line in lines) > fills)
    bot.send_signal(signal.SIGTERM)
    _, told = bot.communicate(timeout=15)
    assert bot.returncode == 0, told
    assert exchange.end() == 0
    verdict = judge(read(exchange.audit))
    assert (verdict.most_live, verdict.left_open) == (1, [])
