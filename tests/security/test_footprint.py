"""A bot on somebody else's exchange imports what it uses, and nothing else: less to go wrong beside the keys."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.scenarios.runs import ROOT, surroundings
from tests.scenarios.test_secrets import Place, Started, closed_port

LIVE = ROOT / "config" / "live.toml"
UNUSED = {
    "numpy", "pandas", "matplotlib", "plotly", "starlette", "hypercorn", "h2", "aiohttp", "requests", "asyncio",
    "cryptography", "rich", "click", "pygments", "pytest", "_pytest", "structlog", "multiprocessing",
}  # fmt: skip
FACES = {"telegram", "prometheus_client"}
OURS = ("tetrio.sim", "tetrio.chaos", "tetrio.doctor", "tetrio.panel", "tetrio.host", "tetrio.net.virtual")
TOLD_AT_ITS_END = """
import json, sys
from tetrio.cli import main
code = main(sys.argv[1:])
print(json.dumps(sorted(sys.modules)))
sys.exit(code)
"""


def imported(journal: Path, *arguments: object) -> set[str]:
    """The modules of a bot that has come as far as being ready, and has then been stopped."""
    process = subprocess.Popen(
        [sys.executable, "-c", TOLD_AT_ITS_END, *map(str, arguments), "--journal", str(journal)], cwd=ROOT,
        env=surroundings(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        until = time.monotonic() + 60
        while not (journal.exists() and '"kind":"ready"' in journal.read_text()):
            assert process.poll() is None and time.monotonic() < until, journal.read_text()[-2000:]
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0, journal.read_text()[-2000:]
    return set(json.loads(said.splitlines()[-1]))


def libraries(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


@pytest.fixture
def live(place: Place, exchange: Callable[..., Started]) -> list[str]:
    """`serve` as shipped for real money, aimed at an exchange of ours."""
    _, urls = exchange("--key", f"watched={place.path / 'key.pub.pem'}")
    (place.path / "api-key").write_text("watched")
    settings = {
        "venue.live": "true", "symbol.name": "ETHUSDT", "account.api_key_file": place.path / "api-key",
        "account.private_key_file": place.path / "key.pem", "control.state": place.path,
        "risk.max_clock_offset_ms": 1e15,
        **{f"venue.{name}": url for name, url in urls.items()},
    }  # fmt: skip
    return [
        *("serve", "--config", str(LIVE)),
        *(part for key, value in settings.items() for part in ("--set", f"{key}={value}")),
    ]


def test_without_faces_there_is_no_web_no_plot_and_no_exchange_of_ours(live: list[str], tmp_path: Path) -> None:
    modules = imported(tmp_path / "journal", *live)
    assert {"tetrio.live.executor", "tetrio.app"} <= modules, "the bot was there"
    assert libraries(modules) & (UNUSED | FACES) == set()
    assert [name for name in modules if name.startswith(OURS)] == []


def test_telegram_and_metrics_bring_their_own_libraries_and_no_more(live: list[str], tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("8123456789:" + "A" * 35 + "\n")
    token.chmod(0o600)
    faces = {
        "telegram.token_file": token, "telegram.url": f"http://127.0.0.1:{closed_port()}", "telegram.chats": 1,
        "telegram.users": 1, "metrics.listen": f"127.0.0.1:{closed_port()}",
    }  # fmt: skip
    modules = imported(
        tmp_path / "journal", *live, *(part for key, value in faces.items() for part in ("--set", f"{key}={value}"))
    )
    assert libraries(modules) >= FACES
    assert libraries(modules) & (UNUSED - {"asyncio"}) == set()  # Telegram's library is made for it
    assert [name for name in modules if name.startswith(OURS)] == []
