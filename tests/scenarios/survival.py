"""Real processes on loopback that are killed, and a network between them that is not kind; the audit is the referee.

    python -m tests.scenarios.survival kills [--count 200] [--seed 1]       SIGKILL to the bot at random moments
    python -m tests.scenarios.survival network [--minutes 10] [--seed 1]    a proxy that misbehaves, heals, is killed
    python -m tests.scenarios.survival stops [--count 200] [--seed 1]       SIGTERM at random moments, in trouble or not

Each ends with a SIGTERM to the bot, after which nothing of its may rest, and prints what was seen.
"""

from __future__ import annotations

import argparse
import collections
import json
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs

from tests.scenarios.referee import Line, Verdict, judge
from tests.scenarios.runs import REPLAY, ROOT, start, tetrio

HEALED_S = 35.0
"""From the end of a trouble to the bot's next order."""
STOP_S = 5.0
UNKNOWN_STOP_S = 15.0
SPEED = 15  # legs of the synthetic market take 1 to 2 s then
FACES = ("rest", "ws_api", "stream")
TROUBLES = (
    "delay 0.4", "delay 3", "cut", "reset", "half-open", "no-requests", "no-replies", "dribble", "deaf", "refuse",
)  # fmt: skip
GRACE_S = 0.5
"""What starting and ending a process costs beside its own time, on a busy machine."""


class Record:
    """The exchange's audit as it grows."""

    def __init__(self, path: Path) -> None:
        self._path, self._read, self._rest = path, 0, b""
        self.lines: list[Line] = []

    def resting(self) -> set[str]:
        """The orders of the bot that the exchange has open."""
        self.look()
        resting = set[str]()
        for line in self.lines:
            name = str(line.get("client_order_id", ""))
            if line["ev"] == "accept" and name.startswith("tt-"):
                resting.add(name)
            elif line["ev"] in ("cancel", "expire") or line.get("status") == "FILLED":
                resting.discard(name)
        return resting

    def look(self) -> list[Line]:
        """What has come since."""
        with self._path.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        self._read += len(data)
        *whole, self._rest = (self._rest + data).split(b"\n")
        new = [json.loads(line) for line in whole]
        self.lines += new
        return new

    def await_order(self, within_s: float, alive: subprocess.Popen[str]) -> float:
        """Seconds until the next order of the bot is accepted; AssertionError when none is, or the bot has ended."""
        self.look()
        began = time.monotonic()
        while (gone := time.monotonic() - began) < within_s:
            if any(line["ev"] == "accept" for line in self.look()):
                return gone
            assert alive.poll() is None, f"the bot ended with {alive.returncode}"
            time.sleep(0.02)
        raise AssertionError(f"no order within {within_s} s")


@attrs.define
class Stage:
    """An exchange, a network that leads to it, and a bot that knows the network only."""

    home: Path
    seed: int
    exchange: subprocess.Popen[str]
    record: Record
    routes: dict[str, int]
    urls: dict[str, str]
    proxy: subprocess.Popen[str] | None = None
    bot: subprocess.Popen[str] | None = None

    # -- the network ------------------------------------------------------------------------------------------------
    def lay(self) -> None:
        """Start the proxy on the ports that the bot knows."""
        targets = {name: self.urls[name].split("//")[1].split("/")[0] for name in FACES}
        routes = [f"{self.routes[name]}={targets[name]}" for name in FACES]
        self.proxy = subprocess.Popen(
            [sys.executable, "-m", "tests.scenarios.proxy", *routes],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip
        self._hear()

    def say(self, words: str) -> None:
        """Tell the proxy something, and wait until it has done it."""
        assert self.proxy is not None and self.proxy.stdin is not None, "it runs"
        self.proxy.stdin.write(words + "\n")
        self.proxy.stdin.flush()
        self._hear()

    def _hear(self) -> None:
        assert self.proxy is not None and self.proxy.stdout is not None, "it runs"
        assert self.proxy.stdout.readline(), "the proxy ended"

    def kill_network(self) -> None:
        """SIGKILL the proxy: every connection is reset, none is taken."""
        assert self.proxy is not None, "it runs"
        self.proxy.kill()
        self.proxy.communicate()

    # -- the bot ----------------------------------------------------------------------------------------------------
    def trade(self, *more: object) -> subprocess.Popen[str]:
        """Start a bot."""
        url = {"rest": "http://127.0.0.1:{}", "ws_api": "ws://127.0.0.1:{}/ws-api/v3", "stream": "ws://127.0.0.1:{}"}
        sets = [f"venue.{name}={url[name].format(self.routes[name])}" for name in FACES]
        sets += [
            f"account.api_key_file={self.home / 'name'}", f"account.private_key_file={self.home / 'key.pem'}",
            f"control.state={self.home / 'state'}", "exit.requote_ms=50", f"symbol.name={self.urls['symbol']}",
        ]  # fmt: skip
        given = [part for each in sets for part in ("--set", each)]
        with (self.home / "told").open("a") as told:
            bot = start("serve", "--config", REPLAY, *given, *more, told=told)
        self.bot = bot
        return bot

    def stop(self) -> float:
        """SIGTERM; seconds until the bot has ended in order."""
        assert self.bot is not None, "it runs"
        began = time.monotonic()
        self.bot.send_signal(signal.SIGTERM)
        code = self.bot.wait(UNKNOWN_STOP_S + 5)
        took = time.monotonic() - began
        assert code == 0, f"it ended with {code}: {self.told()[-2000:]}"
        return took

    def end(self, healed_s: float | None) -> tuple[int, float]:
        """SIGTERM, and so much later the network heals: how the bot ended, and after how many seconds."""
        assert self.bot is not None, "it runs"
        began = time.monotonic()
        self.bot.send_signal(signal.SIGTERM)
        if healed_s is not None:
            with suppress(subprocess.TimeoutExpired):  # it waits for the network
                self.bot.wait(healed_s)
            self.say("heal")
        return self.bot.wait(UNKNOWN_STOP_S + 5), time.monotonic() - began

    def told(self) -> str:
        """What the bots have said."""
        return (self.home / "told").read_text()

    def verdict(self) -> Verdict:
        """End the exchange, and judge its record."""
        self.exchange.send_signal(signal.SIGTERM)
        self.exchange.communicate(timeout=10)
        assert self.exchange.returncode == 0
        self.record.look()
        return judge(self.record.lines)


@contextmanager
def stage(seed: int) -> Iterator[Stage]:
    """Everything but the bot, on free ports; whatever still runs at the end is killed."""
    home = Path(tempfile.mkdtemp(prefix="tetrio-survival-"))
    made = tetrio("keys", "new", "--out", home / "key.pem")
    assert made.returncode == 0, made.stderr
    (home / "name").touch(0o600)
    (home / "name").write_text("somebody\n")
    exchange = start(
        "exchange", "--listen", "127.0.0.1:0", "--fund", "ETH=0.4", "--fund", "FDUSD=0", "--limits", "off",
        "--key", f"somebody={home / 'key.pub.pem'}", "--audit", home / "audit", "--speed", SPEED, "--seed", seed,
        "--fills", "touch",
    )  # fmt: skip
    assert exchange.stdout is not None
    urls = json.loads(exchange.stdout.readline()) | {"symbol": "ETHFDUSD"}
    made_stage = Stage(home, seed, exchange, Record(home / "audit"), _free_ports(), urls)
    try:
        made_stage.lay()
        yield made_stage
    except BaseException:
        print(f"what was told is kept in {home}", file=sys.stderr)
        raise
    else:
        shutil.rmtree(home)
    finally:
        for process in (made_stage.bot, made_stage.proxy, exchange):
            if process is not None and process.returncode is None:
                process.kill()
                process.communicate()


def _free_ports() -> dict[str, int]:
    sockets = {name: socket.create_server(("127.0.0.1", 0)) for name in FACES}
    ports = {name: each.getsockname()[1] for name, each in sockets.items()}
    for each in sockets.values():
        each.close()
    return ports


# -- what is done to them --------------------------------------------------------------------------------------------


@attrs.define
class Seen:
    """What a run has shown."""

    troubles: collections.Counter[str] = attrs.field(factory=collections.Counter)
    recovered: dict[str, float] = attrs.field(factory=dict)
    """The longest until the next order after each trouble, in seconds."""
    stopped: dict[str, float] = attrs.field(factory=dict)
    """The longest stop in each trouble, in seconds."""
    verdict: Verdict | None = None

    def note(self, trouble: str, recovered_s: float) -> None:
        """So long after `trouble` the next order came."""
        self.recovered[trouble] = round(max(self.recovered.get(trouble, 0.0), recovered_s), 1)

    def __str__(self) -> str:
        assert self.verdict is not None, "the run is over"
        fills = self.verdict.events.get("fill", 0)
        return (
            f"{sum(self.troubles.values())} troubles {dict(self.troubles)}; "
            f"next order after at most {self.recovered} s; stops took at most {self.stopped} s; "
            f"{len(self.verdict.exits)} exits, {fills} fills, at most "
            f"{self.verdict.most_live} live order, left open: {self.verdict.left_open or 'nothing'}"
        )

    def end(self, on: Stage) -> None:
        """Stop the bot and judge."""
        self.stopped["at the end"] = round(took := on.stop(), 1)
        assert took <= UNKNOWN_STOP_S, f"a stop took {took:.1f} s"
        self.verdict = on.verdict()
        assert self.verdict.left_open == [], self.verdict.left_open


def kills(count: int, seed: int) -> Seen:
    """SIGKILL to the bot at `count` random moments, from its first to well into its trading."""
    rng, seen = random.Random(seed), Seen()
    with stage(seed) as on:
        for number in range(count):
            bot = on.trade()
            if number % 10 == 9:
                seen.note("SIGKILL", on.record.await_order(HEALED_S, bot))
            time.sleep(rng.choice((rng.uniform(0.2, 1.2), rng.uniform(0.8, 4.0))))
            assert bot.poll() is None, f"the bot ended with {bot.returncode}: {on.told()[-2000:]}"
            bot.kill()
            bot.wait()
            seen.troubles["SIGKILL"] += 1
        seen.note("SIGKILL", on.record.await_order(HEALED_S, on.trade()))
        seen.end(on)
    return seen


def network(seconds: float, seed: int) -> Seen:
    """A network that misbehaves, heals, misbehaves; and is killed and laid anew."""
    rng, seen, until = random.Random(seed), Seen(), time.monotonic() + seconds
    with stage(seed) as on:
        bot = on.trade()
        on.record.await_order(HEALED_S, bot)
        while time.monotonic() < until:
            trouble = rng.choice((*TROUBLES, "SIGKILL"))
            seen.troubles[trouble] += 1
            if trouble == "SIGKILL":
                on.kill_network()
                time.sleep(rng.uniform(0, 6))
                on.lay()
            else:
                on.say(trouble)
                time.sleep(rng.uniform(0, 12))
                on.say("heal")
            seen.note(trouble, on.record.await_order(HEALED_S, bot))
            time.sleep(rng.uniform(0, 3))
        seen.end(on)
    return seen


def stops(count: int, seed: int) -> Seen:
    """SIGTERM to the bot at `count` random moments, every second time in a network that has just begun to misbehave."""
    rng, seen = random.Random(seed), Seen()
    with stage(seed) as on:
        for number in range(count):
            bot, told = on.trade(), len(on.told())
            if number % 4:
                seen.note("start", on.record.await_order(HEALED_S, bot))
            time.sleep(rng.uniform(0, 2))
            trouble = rng.choice(TROUBLES) if number % 2 else ""
            seen.troubles[trouble or "none"] += 1
            if trouble:
                on.say(trouble)
                time.sleep(rng.choice((0.0, rng.uniform(0, 1.5))))
            code, took = on.end(rng.uniform(0, 5) if trouble else None)
            seen.stopped[trouble or "none"] = max(seen.stopped.get(trouble or "none", 0.0), round(took, 1))
            _judge_stop(code, took, on.record.resting(), on.told()[told:], trouble)
        on.record.await_order(HEALED_S, on.trade())
        seen.end(on)
    return seen


def _judge_stop(code: int, took: float, resting: set[str], told: str, trouble: str) -> None:
    """A stop ends in time; nothing rests unless it has been told, and without trouble nothing at all."""
    last = told[-3000:]
    most_s = UNKNOWN_STOP_S if trouble else STOP_S
    if code == -signal.SIGTERM and not told:
        return  # the interpreter was still starting: nothing was begun
    assert took <= most_s + GRACE_S, f"a stop took {took:.1f} s in {trouble or 'peace'}: {last}"
    assert code == 0 or (code == 1 and trouble), f"a stop ended with {code} in {trouble or 'peace'}: {last}"
    assert not resting or code == 1, f"it ended with 0 and left {resting}: {last}"
    assert all(name in told for name in resting), f"it left {resting} and did not say so: {last}"


def main() -> None:
    """One of the three, from the command line."""
    parser = argparse.ArgumentParser(description="kill real processes, and their network")
    parser.add_argument("what", choices=("kills", "network", "stops"))
    parser.add_argument("--count", type=int, default=200, help="kills or stops")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    if given.what == "network":
        print(network(given.minutes * 60, given.seed))
    else:
        print((kills if given.what == "kills" else stops)(given.count, given.seed))


if __name__ == "__main__":
    main()
