"""The exchange as a process of its own, and what a client's script, under the clients' environment, told of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.clients.steps import SYMBOL
from tests.scenarios.runs import ROOT, start, tetrio

PYTHON = ROOT / ".venv-clients" / "bin" / "python"
ED_KEY = "ExampleEd25519ApiKeyForSyntheticMessagesOnly00000000000000000000"
HMAC_KEY = "ExampleHmacApiKeyForSyntheticMessagesOnly00000000000000000000000"
HMAC_SECRET = "ExampleHmacSecretForSyntheticMessagesOnly00000000000000000000000"


@attrs.frozen
class Told:
    """What a script printed."""

    steps: dict[str, dict[str, Any]]
    seconds: float

    def got(self, step: str) -> Any:
        """What the client made of a step that worked."""
        told = self.steps[step]
        assert "value" in told, f"{step}: {told}"
        return told["value"]

    def refused(self, step: str) -> dict[str, Any]:
        """What the client raised as the exchange's refusal."""
        told = self.steps[step]
        assert "error" in told, f"{step}: {told}"
        refusal: dict[str, Any] = told["error"]
        return refusal

    def broken(self) -> dict[str, dict[str, Any]]:
        """Steps that neither worked nor were meant to be refused (`no.` in their names)."""
        return {name: told for name, told in self.steps.items() if ("error" if "no." in name else "value") not in told}


@pytest.fixture(scope="module")
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """The module's `CLIENT` traded on an exchange of its own, to its end."""
    directory = tmp_path_factory.mktemp("exchange")
    with_key = directory / "key.pem"
    assert tetrio("keys", "new", "--out", with_key).returncode == 0
    exchange = start(
        "exchange", "--listen", "127.0.0.1:0", "--symbol", SYMBOL, "--fund", "ETH=20", "--fund", "FDUSD=100000",
        "--fee", "0.001,0.001", "--key", f"{ED_KEY}={directory / 'key.pub.pem'}",
        "--secret", f"{HMAC_KEY}={HMAC_SECRET}", "--key-rights", "none",
    )  # fmt: skip
    try:
        assert exchange.stdout is not None
        urls = json.loads(exchange.stdout.readline())
        yield run(request.module.CLIENT, urls, with_key)
    finally:
        exchange.send_signal(signal.SIGTERM)
        _, complaints = exchange.communicate(timeout=20)
    assert exchange.returncode == 0, complaints
    assert "Traceback" not in complaints
    assert "by our fault" not in complaints


def run(script: str, urls: dict[str, str], key: Path) -> Told:
    """Run a script to its end."""
    assert PYTHON.exists(), "the clients are not installed: make .venv-clients/.stamp"
    began_s = time.monotonic()
    done = subprocess.run(
        [
            PYTHON, "-m", f"tests.clients.{script}", "--rest", urls["rest"], "--ws-api", urls["ws_api"],
            "--stream", urls["stream"], "--ed-key", ED_KEY, "--ed-pem", key, "--hmac-key", HMAC_KEY,
            "--hmac-secret", HMAC_SECRET,
        ],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=240,
        env={name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
    )  # fmt: skip
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0 and lines[-1]["step"] == "end", done.stderr
    assert len({line["step"] for line in lines}) == len(lines), "each step has a name of its own"
    return Told({line["step"]: line for line in lines}, time.monotonic() - began_s)


def near_now(stamp_ms: int, within_s: float = 120) -> bool:
    """Whether a time that the exchange told is one of this run."""
    return abs(stamp_ms / 1000 - time.time()) < within_s


def is_kline(kline: list[Any]) -> bool:
    """Twelve members, of which the times and the count are numbers, and that hold together."""
    assert [type(each) for each in kline] == [int, str, str, str, str, str, int, str, int, str, str, str], kline
    opened, high, low, closed = (float(kline[at]) for at in (1, 2, 3, 4))
    return low <= min(opened, closed) and max(opened, closed) <= high and kline[6] - kline[0] == 59_999


def is_book(book: dict[str, Any], levels: int) -> bool:
    """Sides sorted from the best price on, which do not cross."""
    bids, asks = ([float(price) for price, _ in book[side]] for side in ("bids", "asks"))
    return sorted(bids, reverse=True) == bids and sorted(asks) == asks and bids[0] < asks[0] and len(bids) <= levels
