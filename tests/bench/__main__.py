"""What the bot does a second, and what it costs, beside other people's ways: `python -m tests.bench [PART ...]`.

    feed      bookTickers a second, read and folded: JSON raw and combined, over ws and wss
    paced     processor time a message at 10,000 a second, one tick a write
    react     from tick to order, alone and while 5,000 messages a second come
    fold      the kernel's fold, in plain Python
    memory    resident memory of `tetrio serve` on the settings of live, against `tetrio exchange`
    start     importing the bot; from the start of `serve` to ready

Ours and the others take turns for several rounds, each a process of its own, against a server that is another. The
table tells medians, the spread over the rounds, and how many times the median of ours beside theirs. `--markdown FILE`
keeps it. The others live in `.venv-peers` (`make bench` makes it).
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.bench import fold
from tests.bench._client import API_KEY, hosted
from tetrio.core.market import Holdings
from tetrio.core.params import StrategyParams

ROOT = Path(__file__).resolve().parents[2]
PEER = ROOT / ".venv-peers" / "bin" / "python"
PEERS = ROOT / "tests" / "bench" / "peers"
OURS = "tetrio"
READERS = {
    "picows + msgspec": "picows_msgspec.py",
    "websockets + json": "websockets_json.py",
    "trio-websocket + msgspec": "trio_websocket_msgspec.py",
}
REACTORS = {"picows + msgspec": "react_picows.py", "websockets + json": "react_websockets.py"}
SLOW = {"trio-websocket + msgspec": 10, "websockets + json": 4}
"""Of whom a so much smaller number of messages is asked."""
VERSIONS = "import importlib.metadata as m;print(*(f'{n} {m.version(n)}' for n in %r),sep=', ')"
Command = list[str]


@attrs.define
class Row:
    """One line of the table: what each gave, round by round."""

    what: str
    unit: str
    higher_is_better: bool
    found: dict[str, list[float]] = attrs.Factory(dict)

    def add(self, who: str, value: float) -> None:
        """What a round gave."""
        self.found.setdefault(who, []).append(value)

    def lines(self) -> Iterator[str]:
        """Of a table in Markdown; the ratio is above 1 where ours is the better."""
        ours = statistics.median(self.found[OURS])
        for who, values in self.found.items():
            median = statistics.median(values)
            ratio = (ours / median if self.higher_is_better else median / ours) if who != OURS else None
            beside = "" if ratio is None else f"{ratio:.2f}"
            spread = f"{_number(min(values))} – {_number(max(values))}"
            yield f"| {self.what} | {who} | {_number(median)} {self.unit} | {spread} | {beside} |"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def ask(command: Command) -> Mapping[str, float]:
    """What a bench prints, of a process on one core."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}")
    told: Mapping[str, float] = json.loads(done.stdout)
    return told


@contextlib.contextmanager
def loaded(*options: object) -> Iterator[str]:
    """A load server with these options; its URL."""
    command = [sys.executable, "-m", "tests.bench.load", *map(str, options)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None, "it is piped"
        try:
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.terminate()


def readers(url: str, count: int, ca: Path | None) -> dict[str, Command]:
    """Ours and the others', each to be read to the end of so many messages."""
    more = [] if ca is None else ["--ca", str(ca)]
    commands = {OURS: [sys.executable, "-m", "tests.bench.feed", url, str(count), *more]}
    for who, script in READERS.items():
        commands[who] = [str(PEER), str(PEERS / script), f"{url}/stream", str(count // SLOW.get(who, 1)), *more]
    return commands


def feed(rounds: int) -> list[Row]:
    """As fast as they go."""
    rows, count = [], 400_000
    with tempfile.TemporaryDirectory() as folder:
        both, ca = certificates(Path(folder))
        for scheme in ("ws", "wss"):
            for kind in ("raw", "combined"):
                row = Row(f"JSON {kind}, {scheme}", "messages/s", higher_is_better=True)
                options: list[object] = ["--count", count, *(["--combined"] if kind == "combined" else [])]
                options += ["--cert", both] if scheme == "wss" else []
                with loaded(*options) as url:
                    for _ in range(rounds):
                        for who, command in readers(url, count, ca if scheme == "wss" else None).items():
                            told = ask(command)
                            row.add(who, told["messages"] / told["wall_s"])
                rows.append(row)
    return rows


def certificates(folder: Path) -> tuple[Path, Path]:
    """(certificate and key of localhost, who vouches for it), made for this run."""
    key, name = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]),
    )
    now = datetime.datetime.now(datetime.UTC)
    shown = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, SHA256())
        .public_bytes(Encoding.PEM)
    )
    both, ca = folder / "both.pem", folder / "ca.pem"
    both.touch(0o600)
    both.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + shown)
    ca.write_bytes(shown)
    return both, ca


def paced(rounds: int) -> list[Row]:
    """At a pace that all can keep."""
    count, row = 30_000, Row("CPU a message at 10,000/s", "µs", higher_is_better=False)
    with loaded("--count", count, "--combined", "--rate", 10_000) as url:
        for _ in range(rounds):
            for who, command in readers(url, count, None).items():
                told = ask(command)
                row.add(who, told["cpu_s"] / told["messages"] * 1e6)
    return [row]


def react(rounds: int) -> list[Row]:
    """From tick to order, alone and under load."""
    rows = []
    commands = {OURS: [sys.executable, "-m", "tests.bench.react"]}
    commands |= {who: [str(PEER), str(PEERS / script)] for who, script in REACTORS.items()}
    for rate, name in ((0, "alone"), (5000, "with 5,000 messages/s")):
        half, worst = (Row(f"tick to order, {name}, {p}", "µs", higher_is_better=False) for p in ("p50", "p99"))
        for _ in range(rounds):
            for who, command in commands.items():
                stopwatch = [sys.executable, "-m", "tests.bench.stopwatch", "--count", "1000", "--load", str(rate)]
                told = ask([*stopwatch, *command])
                half.add(who, told["p50_us"])
                worst.add(who, told["p99_us"])
        rows += [half, worst]
    return rows


def folding(rounds: int) -> list[Row]:
    """Quotes, in batches as a drained channel gives them, beside a plain loop over the same scalars."""
    row, quotes = Row("fold, batches of 100", "quotes/s", higher_is_better=True), fold.random_walk(300_000)
    kernel = fold.folding(StrategyParams(fee=0.0, reference="book"), Holdings(base=10_000, quote=0))
    for _ in range(rounds):
        row.add(OURS, fold.rate(kernel, quotes, 100))
        row.add("a plain loop", fold.rate(fold.plain_loop, quotes, 100))
    return [row]


def serving(rounds: int) -> list[Row]:
    """Resident memory some seconds after ready, and the time until then."""
    memory = Row("memory of `serve`, live settings", "MB", higher_is_better=False)
    ready = Row("`serve`, from its start to ready", "s", higher_is_better=False)
    with (
        hosted("--symbol", "ETHUSDT", "--fund", "ETH=1", "--fund", "USDT=0") as exchange,
        tempfile.TemporaryDirectory() as folder,
    ):
        home = Path(folder)
        for name, text in (("name", API_KEY), ("key.pem", exchange.signer.private_pem())):
            (home / name).write_text(text)
            (home / name).chmod(0o600)
        given = {
            "venue.live": "true", **{f"venue.{name}": exchange.urls[name] for name in ("rest", "ws_api", "stream")},
            "account.api_key_file": str(home / "name"), "account.private_key_file": str(home / "key.pem"),
            "control.state": str(home / "state"), "control.socket": "off", "symbol.name": "ETHUSDT",
        }  # fmt: skip
        sets = [part for name, value in given.items() for part in ("--set", f"{name}={value}")]
        command = [sys.executable, "-m", "tetrio", "serve", "--config", str(ROOT / "config" / "live.toml"), *sets]
        for _ in range(rounds):
            took_s, rss_mb = serve(command, home)
            ready.add(OURS, took_s)
            memory.add(OURS, rss_mb)
    return [memory, ready]


def serve(command: Command, home: Path) -> tuple[float, float]:
    """(seconds until ready, MB five seconds later) of one run."""
    facts = home / "facts"
    began = time.perf_counter()
    with subprocess.Popen(
        [*command, "--journal", str(facts)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT
    ) as process:
        try:
            while '"kind":"ready"' not in (facts.read_text() if facts.exists() else ""):
                if process.poll() is not None or time.perf_counter() - began > 60:
                    raise RuntimeError(f"`serve` is not ready: {facts.read_text() if facts.exists() else ''}")
                time.sleep(0.01)
            took_s = time.perf_counter() - began
            time.sleep(5)
            pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
    facts.unlink()
    return took_s, pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def start(rounds: int) -> list[Row]:
    """What importing costs, beside an interpreter that does nothing."""
    row = Row("import of what `serve` is made of", "s", higher_is_better=False)
    for _ in range(rounds + 2):
        for who, code in ((OURS, "import tetrio.app"), ("trio alone", "import trio"), ("no import", "")):
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
            row.add(who, time.perf_counter() - began)
    return [row]


PARTS: Mapping[str, Callable[[int], list[Row]]] = {
    "feed": feed, "paced": paced, "react": react, "fold": folding, "memory": serving, "start": start,
}  # fmt: skip


def versions() -> str:
    """Of everything that is measured."""
    told = []
    for python, names in (
        (sys.executable, ("tetrio", "trio", "msgspec", "trio-websocket")),
        (str(PEER), ("picows", "msgspec", "websockets", "trio", "trio-websocket")),
    ):
        done = subprocess.run([python, "-c", VERSIONS % (names,)], capture_output=True, text=True, check=True)
        told.append(done.stdout.strip())
    date = datetime.datetime.now(datetime.UTC).date()
    machine = f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} cores, {date}"
    return f"{machine}. Ours: {told[0]}. Others: {told[1]}."


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all of them")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="keep the table there")
    given = parser.parse_args()
    for name in given.parts:
        if name not in PARTS:
            parser.error(f"{name} is no part: {', '.join(PARTS)}")
    lines = [versions(), "", "| what | who | median | spread | ours is better by |", "|---|---|---|---|---|"]
    print("\n".join(lines), flush=True)
    for name in given.parts or PARTS:
        for row in PARTS[name](given.rounds):
            for line in row.lines():
                print(line, flush=True)
                lines.append(line)
    if given.markdown is not None:
        given.markdown.write_text("\n".join(["# Measured", "", *lines, ""]))


if __name__ == "__main__":
    main()
