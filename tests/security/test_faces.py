"""Nothing can be reached that was not asked for, and nothing from beyond this host."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.scenarios.runs import REPLAY, tetrio
from tests.scenarios.test_secrets import Place, Started, closed_port
from tests.security.processes import bot, listening
from tests.test_metrics import full_status, raw, serving

LOOPBACK = re.compile(r"127\.0\.0\.1:\d+")


def test_the_sim_listens_on_loopback_for_its_own_exchange_alone(tmp_path: Path) -> None:
    with bot(tmp_path / "said", "serve", "--config", REPLAY) as running:
        running.wait_for('"kind":"epoch"')
        found = listening(running.process.pid)
    assert len(found) == 3, f"REST, WebSocket and SBE: {found}"
    assert all(LOOPBACK.fullmatch(each) for each in found), found


def test_with_an_exchange_elsewhere_nothing_listens_unless_told(
    place: Place, exchange: Callable[..., Started], tmp_path: Path
) -> None:
    _, urls = exchange("--key", f"{place.path.name}={place.path / 'key.pub.pem'}")
    (place.path / "api-key").write_text(place.path.name)
    arguments = [*place.options(**urls), "--set", "telegram.token_file=", "--set", "control.socket=off"]
    with bot(tmp_path / "said", *arguments) as running:
        running.wait_for('"kind":"want"')
        assert listening(running.process.pid) == []


def test_what_is_told_to_listen_does_so_at_its_place_and_nowhere_else(
    place: Place, exchange: Callable[..., Started], tmp_path: Path
) -> None:
    _, urls = exchange("--key", f"{place.path.name}={place.path / 'key.pub.pem'}")
    (place.path / "api-key").write_text(place.path.name)
    port, socket = closed_port(), tmp_path / "door" / "s"
    arguments = [
        *place.options(**urls),
        "--set",
        f"control.socket={socket}",
        "--set",
        f"metrics.listen=localhost:{port}",
    ]
    with bot(tmp_path / "said", *arguments) as running:
        running.wait_for('"kind":"want"')
        assert listening(running.process.pid) == sorted([f"127.0.0.1:{port}", str(socket)])


@pytest.mark.parametrize("listen", ["0.0.0.0:9464", "[::]:9464"])
def test_no_start_with_metrics_beyond_loopback(listen: str, tmp_path: Path) -> None:
    began = time.monotonic()
    done = tetrio("serve", "--config", REPLAY, "--set", f"metrics.listen={listen}", "--journal", tmp_path / "journal")
    assert done.returncode == 4, done.stderr
    assert "metrics.listen" in done.stderr.splitlines()[-1]
    assert time.monotonic() - began < 30


async def test_no_page_can_open_a_websocket_to_it() -> None:
    async with serving(full_status()) as address:
        head = (
            f"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:{address[1]}\r\nOrigin: https://evil.example\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        code, headers, _ = await raw(address, head.encode())
    assert code != 101
    assert "upgrade" not in headers
    assert not {name for name in headers if name.startswith("access-control-")}
    assert headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
