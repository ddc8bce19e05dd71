from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from prometheus_client import ProcessCollector
from prometheus_client.parser import text_string_to_metric_families
from trio.testing import MockClock

from tetrio import metrics
from tetrio.core.market import Regime
from tetrio.errors import ConfigError
from tetrio.faces import MetricsParams
from tetrio.journal import Journal, StreamSink
from tetrio.live import strategy
from tetrio.net import clock
from tetrio.status import LiveOrder, Status

ROOT = Path(__file__).resolve().parent.parent
RULES = ROOT / "ops" / "prometheus"
DASHBOARD = ROOT / "ops" / "grafana" / "tetrio.json"
NAMES = {row.name for row in metrics.TABLE}
NAME = re.compile(r"\b(?:tetrio|process)_[a-z_]+\b")

PROMTOOL = shutil.which("promtool")
with_promtool = pytest.mark.skipif(PROMTOOL is None, reason="no promtool: apt-get install prometheus")


def a_journal() -> Journal:
    return Journal([], lambda: 1)


def a_losing_journal() -> Journal:
    """One whose only sink has lost all that it was given."""
    journal = Journal([StreamSink(None)], lambda: 1)
    for _ in range(3):
        journal.write("start")
    return journal


def full_status(now: float = 0.0) -> Status:
    status = Status(
        venue="sim", symbol="ETHUSDT", base_asset="ETH", quote_asset="USDT", phase="ready", alive=True, epoch=2,
        bid="2000.00", ask="2000.01", regime="BASE", armed="hard stop", gain=0.01, min_gain=0.005, drawdown=0.002,
        callback=0.003, loss=-0.01, frames=100, quotes_folded=90, orders_sent=7, orders_today=5, refused=1,
        balances={"ETH": "1.5"}, holding={"ETH": Decimal("1.5"), "USDT": Decimal("250.5")},
        links={"account": "up", "market": "lost"}, exits={"take-profit": 2}, messages_sent=4, messages_dropped=1,
        order=LiveOrder(side="SELL", price="2000.01", qty="1", filled="0", client_order_id="tt-x", placed_ns=1),
    )  # fmt: skip
    status.latency.clock(offset_ms=-3.0, error_ms=0.75, rate=1.0)
    for ms in (2, 4, 4, 400):
        status.latency.sample("ack", ms / 1000)
    status.trading.fills = 3
    status.trading.fees["BNB"] = Decimal("0.01")
    status.vitals.beat_at, status.vitals.session_at, status.vitals.lag_s = now - 2.0, now - 5.0, 0.25
    return status


def numbers(text: bytes) -> dict[str, float]:
    """`name{label="value"}` to number; what Prometheus reads."""
    shown = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            shown[sample.name + (f"{{{labels}}}" if labels else "")] = sample.value
    return shown


def kinds(text: bytes) -> dict[str, str]:
    """Name to type, as /metrics says."""
    return dict(line.split()[2:4] for line in text.decode().splitlines() if line.startswith("# TYPE "))


@asynccontextmanager
async def serving(status: Status, listen: str = "127.0.0.1:0", journal: Journal | None = None) -> AsyncIterator[Any]:
    async with trio.open_nursery() as nursery:

        async def run(*, task_status: trio.TaskStatus[tuple[str, int] | None]) -> None:
            await metrics.serve_metrics(
                MetricsParams(listen=listen), status, journal or a_journal(), task_status=task_status
            )

        yield await nursery.start(run)
        nursery.cancel_scope.cancel()


async def raw(address: tuple[str, int], payload: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers, body of what is answered to these bytes; the connection is closed after it."""
    async with await trio.open_tcp_stream(*address) as stream:
        await stream.send_all(payload)
        answer = b""
        while some := await stream.receive_some():
            answer += some
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    return int(first.split()[1]), {k.lower(): v for k, v in (line.split(": ", 1) for line in rest)}, body


async def get(address: tuple[str, int], path: str, host: str = "", method: str = "GET") -> tuple[int, Any, bytes]:
    host = host or f"127.0.0.1:{address[1]}"
    return await raw(address, f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())


# --- the names -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [Status(), full_status()], ids=["at the start", "later"])
async def test_exactly_the_listed_names_are_served(status: Status) -> None:
    text = metrics.exposition(status, a_journal())
    assert kinds(text) == {row.name: row.kind for row in metrics.TABLE}
    for family in text_string_to_metric_families(text.decode()):
        row = next(row for row in metrics.TABLE if row.name in (family.name, family.name + "_total"))
        for sample in family.samples:
            assert sample.name == row.name
            assert set(sample.labels) == set(row.labels)


async def test_every_name_has_a_number_once_everything_is_known() -> None:
    text = metrics.exposition(full_status(), a_losing_journal())
    assert {name.partition("{")[0] for name in numbers(text)} == NAMES


async def test_the_numbers_are_the_statuss() -> None:
    journal = a_losing_journal()
    shown = numbers(metrics.exposition(full_status(trio.current_time()), journal))
    assert shown["tetrio_alive"] == shown["tetrio_ready"] == shown["tetrio_order_resting"] == 1
    assert shown["tetrio_phase{phase=ready}"] == 1
    assert shown["tetrio_phase{phase=syncing}"] == 0
    assert shown["tetrio_regime{regime=BASE}"] == 1
    assert shown["tetrio_armed{reason=hard stop}"] == 1
    assert shown["tetrio_armed{reason=take-profit}"] == 0
    assert shown["tetrio_epochs_total"] == 2
    assert shown["tetrio_link_up{link=account}"] == 1
    assert shown["tetrio_link_up{link=market}"] == 0
    assert shown["tetrio_exits_total{reason=take-profit}"] == 2
    assert shown["tetrio_exits_total{reason=manual}"] == 0
    assert shown["tetrio_holdings{asset=ETH}"] == 1.5
    assert shown["tetrio_value_quote{asset=USDT}"] == 1.5 * 2000 + 250.5
    assert shown["tetrio_gain_ratio"] == 0.01
    assert shown["tetrio_commission_total{asset=BNB}"] == 0.01
    assert shown["tetrio_lost_lines_total{sink=stderr}"] == journal.lost >= 3
    assert shown["tetrio_instance_info{symbol=ETHUSDT,venue=sim}"] == 1
    assert shown["tetrio_beat_age_seconds"] == pytest.approx(2, abs=0.5)
    assert shown["tetrio_session_age_seconds"] == pytest.approx(5, abs=0.5)
    assert shown["tetrio_loop_lag_seconds"] == 0.25
    assert shown["tetrio_latency_seconds{quantile=0.5,stage=ack}"] == pytest.approx(0.004, rel=1 / 64)
    assert shown["tetrio_latency_seconds{quantile=0.99,stage=ack}"] == pytest.approx(0.4, rel=1 / 64)
    assert shown["tetrio_latency_samples_total{stage=ack}"] == 4
    assert "tetrio_latency_seconds{quantile=0.5,stage=feed}" not in shown, "a stage without a sample is absent"
    assert shown["tetrio_clock_offset_seconds"] == -0.003
    assert shown["tetrio_clock_error_seconds"] == 0.00075


async def test_what_is_not_known_has_no_number() -> None:
    shown = numbers(metrics.exposition(Status(), a_journal()))
    assert "tetrio_alive" in shown
    for name in ("tetrio_gain_ratio", "tetrio_bid", "tetrio_beat_age_seconds"):
        assert name not in shown
    assert not any(name.startswith(("tetrio_value_quote", "tetrio_holdings")) for name in shown)


async def test_ages_are_in_the_machines_seconds_on_a_fast_clock(mock_clock: MockClock) -> None:
    clock.set_rate(20.0)
    status = Status()
    status.vitals.beat_at, status.vitals.lag_s = trio.current_time(), 0.5
    mock_clock.jump(40.0)
    shown = numbers(metrics.exposition(status, a_journal()))
    assert shown["tetrio_beat_age_seconds"] == pytest.approx(2.0)
    assert shown["tetrio_loop_lag_seconds"] == 0.5, "the pulse writes it in them"


async def test_the_processs_numbers_are_those_of_prometheus_own_collector() -> None:
    shown = numbers(metrics.exposition(Status(), a_journal()))
    theirs = {
        sample.name: sample.value for family in ProcessCollector(registry=None).collect() for sample in family.samples
    }
    assert shown["process_resident_memory_bytes"] == pytest.approx(theirs["process_resident_memory_bytes"], rel=0.1)
    assert shown["process_cpu_seconds_total"] == pytest.approx(theirs["process_cpu_seconds_total"], abs=0.5)
    assert shown["process_open_fds"] == pytest.approx(theirs["process_open_fds"], abs=3)
    assert shown["process_max_fds"] == theirs["process_max_fds"]
    assert shown["process_start_time_seconds"] == pytest.approx(theirs["process_start_time_seconds"], abs=2.5)


def test_states_are_those_of_the_strategy() -> None:
    assert set(metrics.REASONS) == set(strategy.REASONS.values())
    assert set(metrics.REGIMES) == {regime.value for regime in Regime}


def test_the_list_is_documented() -> None:
    assert metrics.document() in (RULES / "README.md").read_text("utf-8"), "print metrics.document() into it anew"


@pytest.mark.parametrize("file", [*sorted(RULES.glob("*.yml")), DASHBOARD], ids=lambda file: str(file.name))
def test_rules_and_dashboard_ask_for_listed_names_only(file: Path) -> None:
    text = file.read_text("utf-8")
    asked = set(NAME.findall(text))
    assert asked <= NAMES, f"{asked - NAMES} are not listed"
    assert asked or file.name == "prometheus.yml"


# --- Prometheus' and Grafana's files ---------------------------------------------------------------------------------


def promtool(*arguments: str, stdin: bytes = b"") -> None:
    assert PROMTOOL is not None
    done = subprocess.run([PROMTOOL, *arguments], input=stdin, cwd=RULES, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()


@with_promtool
def test_prometheus_takes_the_rules_and_the_example() -> None:
    promtool("check", "rules", "alerts.yml")
    promtool("check", "config", "prometheus.yml")


@with_promtool
def test_each_alert_fires_when_it_should_and_not_before() -> None:
    promtool("test", "rules", "alerts.test.yml")


@with_promtool
async def test_prometheus_finds_nothing_wrong_with_the_names() -> None:
    text = metrics.exposition(full_status(), a_journal())
    await trio.to_thread.run_sync(lambda: promtool("check", "metrics", stdin=text))


def test_each_alert_is_tested_and_says_what_to_do() -> None:
    text, tests = ((RULES / name).read_text("utf-8") for name in ("alerts.yml", "alerts.test.yml"))
    alerts = text.split("- alert: ")[1:]
    assert len(alerts) >= 12
    for alert in alerts:
        name = alert.split()[0]
        assert re.search(r"severity: (critical|warning)\n", alert), name
        assert "summary: " in alert, name
        assert "description: " in alert, name
        cases = tests.split(f"alertname: {name}\n")[1:]
        assert any(case.lstrip().startswith("exp_alerts: []") for case in cases), f"{name}: no test that it is silent"
        assert any(case.lstrip().startswith("exp_alerts:\n") for case in cases), f"{name}: no test that it fires"


def test_the_dashboard_can_be_imported_anywhere() -> None:
    board = json.loads(DASHBOARD.read_text("utf-8"))
    source = next(each for each in board["templating"]["list"] if each["type"] == "datasource")
    assert (source["name"], source["query"]) == ("datasource", "prometheus")
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    for panel in board["panels"]:
        for asks in (panel, *panel["targets"]):
            assert asks["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        for target in panel["targets"]:
            assert 'instance="$instance"' in target["expr"], "several bots are told apart"


# --- where it listens ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9464", ("127.0.0.1", 9464)),
        ("localhost:0", ("127.0.0.1", 0)),
        ("[::1]:9464", ("::1", 9464)),
        ("127.8.8.8:1", ("127.8.8.8", 1)),
    ],
)
def test_it_listens_on_loopback(text: str, address: tuple[str, int]) -> None:
    assert metrics.parse_listen(text) == address


@pytest.mark.parametrize("text", ["0.0.0.0:9464", "192.168.1.5:9464", "[::]:9464", "example.org:80"])
def test_anything_beyond_loopback_is_refused_with_the_remedy(text: str) -> None:
    with pytest.raises(ConfigError, match=r"loopback only.*SSH tunnel: ssh -L"):
        metrics.parse_listen(text)


@pytest.mark.parametrize("text", ["9464", ":9464", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:65536", "127.0.0.1:-1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT"):
        metrics.parse_listen(text)


async def test_a_port_that_is_taken_is_told_once_and_tried_again(mock_clock: MockClock) -> None:
    journal = a_journal()
    (other,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port: int = other.socket.getsockname()[1]
    async with serving(full_status(), f"127.0.0.1:{port}", journal) as address:
        assert address is None
        for _ in range(3):
            await trio.testing.wait_all_tasks_blocked(0.01)
            mock_clock.jump(metrics.BIND_AGAIN_S)
        assert [fact.fields["state"] for fact in journal.recent] == ["lost"]
        assert "in use" in str(journal.recent[0].fields["why"])
        await other.aclose()
        await trio.testing.wait_all_tasks_blocked(0.01)
        mock_clock.jump(metrics.BIND_AGAIN_S)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert [fact.fields["state"] for fact in journal.recent] == ["lost", "up"]
        assert (await get(("127.0.0.1", port), "/healthz"))[0] == 200


# --- what it answers -------------------------------------------------------------------------------------------------


async def test_metrics_over_http() -> None:
    status, journal = full_status(), a_journal()
    async with serving(status, journal=journal) as (host, port), httpx.AsyncClient(trust_env=False) as http:
        reply = await http.get(f"http://{host}:{port}/metrics", params={"name[]": "x"})
        assert reply.status_code == 200
        assert reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert kinds(reply.content) == {row.name: row.kind for row in metrics.TABLE}
        head = await http.head(f"http://localhost:{port}/metrics")
        assert (head.status_code, head.content) == (200, b"")
        assert int(head.headers["content-length"]) > 1000
    assert journal.recent[0].fields["at"] == f"{host}:{port}"


async def test_readyz_is_being_alive_and_nothing_else() -> None:
    status = full_status()
    async with serving(status) as address:
        assert (await get(address, "/readyz"))[::2] == (200, b"ok\n")
        status.alive, status.ailing = False, ("not logged on", "the market's beat is 12 s old")
        assert (await get(address, "/readyz"))[::2] == (503, b"not logged on\nthe market's beat is 12 s old\n")
        assert (await get(address, "/healthz"))[0] == 200, "the loop runs"
        status.ailing = ()
        assert (await get(address, "/readyz"))[::2] == (503, b"not judged yet\n")


async def test_healthz_is_the_loop_that_is_not_held_up() -> None:
    status = full_status()
    async with serving(status) as address:
        status.vitals.lag_s = 5.1
        assert (await get(address, "/healthz"))[::2] == (503, b"the loop was held up for 5.1 s\n")
        status.vitals.lag_s = 4.9
        assert (await get(address, "/healthz"))[0] == 200


@pytest.mark.parametrize("path", ["/", "/metrics/", "/../metrics", "/favicon.ico", "/metric"])
async def test_there_is_nothing_else(path: str) -> None:
    async with serving(full_status()) as address:
        assert (await get(address, path))[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
async def test_only_reading_is_possible(method: str) -> None:
    async with serving(full_status()) as address:
        code, headers, _ = await get(address, "/metrics", method=method)
    assert (code, headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:PORT", "127.0.0.1", "127.0.0.1:1", "localhost.evil:PORT"]
)
async def test_another_host_name_is_not_served(host: str) -> None:
    async with serving(full_status()) as address:
        code, _, body = await get(address, "/metrics", host.replace("PORT", str(address[1])))
    assert code == 421
    assert b"tetrio_" not in body


@pytest.mark.parametrize("host", ["127.0.0.1", "LocalHost", "[::1]"])
async def test_loopbacks_own_names_are_served(host: str) -> None:
    async with serving(full_status()) as address:
        assert (await get(address, "/metrics", f"{host}:{address[1]}"))[0] == 200


async def test_a_page_of_another_site_cannot_read_it() -> None:
    async with serving(full_status()) as address:
        request = f"GET /metrics HTTP/1.1\r\nHost: localhost:{address[1]}\r\nOrigin: https://evil.example\r\n\r\n"
        _, headers, _ = await raw(address, request.encode())
    assert not any(name.startswith("access-control-") for name in headers)
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["connection"] == "close"
    assert "server" not in headers


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.0\r\n\r\n", 421),
        (b"GET /metrics HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 20_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"y" * 60_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    ],
)
async def test_what_is_no_request_is_refused(payload: bytes, code: int) -> None:
    async with serving(full_status()) as address:
        assert (await raw(address, payload))[0] == code
        assert (await get(address, "/healthz"))[0] == 200


async def test_who_is_still_sending_gets_the_answer_all_the_same() -> None:
    async with serving(full_status()) as address, await trio.open_tcp_stream(*address) as stream:
        head = f"POST /metrics HTTP/1.1\r\nHost: 127.0.0.1:{address[1]}\r\nContent-Length: 30000\r\n\r\n"
        await stream.send_all(head.encode())
        for _ in range(3):
            await trio.testing.wait_all_tasks_blocked(0.01)
            await stream.send_all(b"x" * 10_000)
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 405 ")


async def test_slow_guests_are_cut_off_and_hold_up_nobody(mock_clock: MockClock) -> None:
    async with serving(full_status()) as address:
        slow = [await trio.open_tcp_stream(*address) for _ in range(metrics.CONNECTIONS - 1)]
        for stream in slow:
            await stream.send_all(b"GET /metrics HTTP/1.1\r\nHost: ")
        assert (await get(address, "/healthz"))[0] == 200
        await trio.testing.wait_all_tasks_blocked(0.05)
        slow.append(await trio.open_tcp_stream(*address))
        await trio.testing.wait_all_tasks_blocked(0.05)
        async with await trio.open_tcp_stream(*address) as one_too_many:
            assert await one_too_many.receive_some() == b""
        mock_clock.jump(metrics.LIFE_S + 0.1)
        for stream in slow:
            assert await stream.receive_some() == b""
            await stream.aclose()
        assert (await get(address, "/healthz"))[0] == 200
