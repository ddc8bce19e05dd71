"""What `tetrio doctor` says of machines, keys, exchanges and channels, good and bad; and that it changes nothing."""

from __future__ import annotations

import datetime
import io
import json
import shutil
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio_websocket
from trio.testing import MockClock

from tests.sim.served import ED_KEY, SIGNER, SYMBOL, quiet, record
from tetrio import config, doctor, keys
from tetrio.cli import main
from tetrio.config import Config
from tetrio.core.money import SymbolRules
from tetrio.doctor import channels, exchange, machine
from tetrio.doctor.rows import Row, exit_code, fail, ok, skip, warn
from tetrio.errors import ConfigError
from tetrio.faces import TelegramParams
from tetrio.live.rights import Rights, objections
from tetrio.net.simnet import with_simnet
from tetrio.sim.exchange import Clocks, Exchange, ExchangeConfig, Urls
from tetrio.sim.face.auth import parse_rights
from tetrio.sim.market.tape import open_market
from tetrio.venue import SymbolParams
from tetrio.wire.request import AccountStatus, Balance, BookTop
from tetrio.wire.sign import Signer

TOKEN = "123456789:canary-AAbbCCddEEffGGhhIIjjKKllMMnn"


@attrs.frozen
class Found:
    """The rows of one examination."""

    rows: list[Row]

    def __getitem__(self, name: str) -> Row:
        (row,) = (row for row in self.rows if row.name == name)
        return row

    def states(self, *names: str) -> list[str]:
        return [self[name].state for name in names]

    @property
    def failed(self) -> set[str]:
        return {row.name for row in self.rows if row.state == "fail"}

    @property
    def code(self) -> int:
        return exit_code(self.rows)


@asynccontextmanager
async def listening(tmp_path: Path, **settings: Any) -> AsyncIterator[Urls]:
    """A running exchange, its market begun."""
    market = open_market(record(tmp_path / "market", quiet()), SYMBOL)
    given: dict[str, Any] = {
        "keys": {ED_KEY: SIGNER.verifier},
        "funds": {"ETH": "1"},
        "clocks": Clocks(time.time_ns),
        **settings,
    }
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            urls = await nursery.start(Exchange(ExchangeConfig(market=market, **given)).run)
            async with trio_websocket.open_websocket_url(f"{urls.stream}/ws/{SYMBOL.lower()}@bookTicker") as line:
                await line.get_message()
                yield urls
            nursery.cancel_scope.cancel()


def aimed(tmp_path: Path, urls: Urls, *more: str, signer: Signer = SIGNER, mode: int = 0o600) -> Config:
    """A configuration for a bot of that exchange."""
    for name, content in (("key.pem", signer.private_pem()), ("api-key", ED_KEY)):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(mode)
    given = [
        f"venue.rest={urls.rest}",
        f"venue.ws_api={urls.ws_api}",
        f"venue.stream={urls.stream}",
        f"symbol.name={SYMBOL}",
        f"account.private_key_file={tmp_path / 'key.pem'}",
        f"account.api_key_file={tmp_path / 'api-key'}",
        f"control.state={tmp_path}",
        *more,
    ]
    return config.load(None, {}, [config.from_option(each) for each in given])


async def examined(settings: Config | ConfigError, environ: dict[str, str] | None = None) -> Found:
    told: list[Row] = []
    rows = await doctor.examine(settings, "bot.toml", environ or {}, told.append)
    assert told == rows
    return Found(rows)


# --- an exchange -----------------------------------------------------------------------------------------------------


async def test_a_good_key_on_a_good_exchange_passes_and_nothing_is_sent(tmp_path: Path) -> None:
    audit = io.StringIO()
    async with listening(tmp_path, audit=audit, maker=Decimal("0.0008")) as urls:
        found = await examined(aimed(tmp_path, urls))
    assert (found.failed, found.code) == (set(), 0)
    assert set(found.states("private key", "API key", *exchange.ROWS)) == {"ok"}
    assert "1 ETH and 0 FDUSD to trade" in found["holdings"].found
    assert "maker 0.080%" in found["commission"].found
    assert found["order limits"].found == "0 of 100 in 10 s, 0 of 200000 in 1 d used"
    assert "plain, on this host" in found["REST host"].found
    assert {json.loads(line)["ev"] for line in audit.getvalue().splitlines()} <= {
        "deposit", "connect", "logon", "disconnect", "end",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "state", "said"),
    [
        ("withdraw", "fail", "may withdraw: take that right away"),
        ("internal-transfer", "fail", "may transfer to other accounts of yours"),
        ("universal-transfer,withdraw", "fail", "may withdraw and make universal transfers"),
        ("no-spot", "fail", "may not trade: allow spot trading"),
        ("no-ip", "warn", "accepted from any address: list this host's"),
        ("", "ok", "no withdrawal, no transfer"),
        (None, "warn", "this venue does not tell what the key may do"),
    ],
)
async def test_permissions_are_judged(tmp_path: Path, words: str | None, state: str, said: str) -> None:
    rights = None if words is None else {ED_KEY: parse_rights(words)}
    async with listening(tmp_path, rights=rights) as urls:
        found = await examined(aimed(tmp_path, urls))
    assert found["permissions"].state == state
    assert said in found["permissions"].text
    assert found["logon"].state == "ok"
    assert found.code == (6 if state == "fail" else 0)


def test_what_the_exchange_leaves_unsaid_is_no_permission() -> None:
    assert objections(Rights()).refusal is None
    assert "does not say whether the API key may withdraw or transfer" in " ".join(objections(Rights()).warnings)
    more = objections(
        Rights(withdraw=False, internal_transfer=False, universal_transfer=False, spot=True, ip_restricted=True)
    )
    assert (more.refusal, more.warnings) == (None, ())
    wide = objections(Rights(futures=True, margin=True, spot_until_ms=1784626200000)).warnings
    assert any("margin, futures" in each for each in wide)
    assert any("until 2026-07-21" in each for each in wide)


async def test_a_clock_that_is_off_is_unsafe_and_what_needs_it_is_left_out(tmp_path: Path) -> None:
    async with listening(tmp_path, clocks=Clocks(lambda: time.time_ns() + 7_000_000_000)) as urls:
        found = await examined(aimed(tmp_path, urls))
    assert found.states("clock", "permissions", "symbol", "logon", "account") == ["fail", "skip", "ok", "fail", "skip"]
    assert 6900 < float(found["clock"].found.split(" ms")[0]) < 7100
    assert "timedatectl" in found["clock"].remedy
    assert "-1021" in found["logon"].found
    assert found.code == 6


async def test_a_clock_within_the_bound_is_corrected(tmp_path: Path) -> None:
    async with listening(tmp_path, clocks=Clocks(lambda: time.time_ns() + 7_000_000_000)) as urls:
        found = await examined(aimed(tmp_path, urls, "risk.max_clock_offset_ms=8000"))
    assert found.states("clock", "permissions", "logon") == ["ok", "ok", "ok"]


async def test_another_private_key_is_refused_by_rest_and_logon_alike(tmp_path: Path) -> None:
    async with listening(tmp_path) as urls:
        found = await examined(aimed(tmp_path, urls, signer=Signer.generate(b"x" * 32)))
    assert found.states("permissions", "logon", "account", "symbol") == ["fail", "fail", "skip", "ok"]
    assert "-1022" in found["permissions"].found
    assert "public key is uploaded" in found["logon"].found
    assert found.code == 6


async def test_key_files_that_others_can_read_are_not_used(tmp_path: Path) -> None:
    async with listening(tmp_path) as urls:
        found = await examined(aimed(tmp_path, urls, mode=0o644))
    assert found.states("private key", "API key", "permissions", "logon") == ["fail", "fail", "skip", "skip"]
    assert found["clock"].state == "ok"
    assert found.code == 6


async def test_a_symbol_that_is_not_there_is_the_configurations_fault(tmp_path: Path) -> None:
    async with listening(tmp_path) as urls:
        found = await examined(aimed(tmp_path, urls, "symbol.name=ETHFDUS"))
    assert found.states("symbol", "order kinds", "holdings", "account") == ["fail", "skip", "skip", "ok"]
    assert found.code == 4


async def test_settings_that_cannot_trade_are_told(tmp_path: Path) -> None:
    async with listening(tmp_path, funds={"ETH": "0.001"}, maker=Decimal("0.001")) as urls:
        found = await examined(aimed(tmp_path, urls, "symbol.max_notional=1", "strategy.fee=0.0001"))
        poor = await examined(aimed(tmp_path, urls))
    assert "raise [symbol] max_notional" in found["symbol"].text
    assert found.code == 4
    assert found["commission"].state == "skip"
    assert poor["holdings"].state == "warn"
    assert "an order is of 5 FDUSD or more" in poor["holdings"].remedy


async def test_a_fee_below_the_accounts_is_told(tmp_path: Path) -> None:
    async with listening(tmp_path, maker=Decimal("0.001")) as urls:
        found = await examined(aimed(tmp_path, urls, "strategy.fee=0.0001"))
    assert found["commission"].state == "warn"
    assert 'set it to "auto"' in found["commission"].remedy


async def test_an_exchange_that_is_away_fails_its_hosts_and_leaves_the_rest_out(tmp_path: Path) -> None:
    async with listening(tmp_path) as urls:
        settings = aimed(tmp_path, urls)
    found = await examined(settings)
    assert found.failed == {"REST host", "API host", "stream host"}
    assert "refused" in found["REST host"].found
    assert set(found.states(*exchange.REST_ROWS, *exchange.LINK_ROWS)) == {"skip"}
    assert found.code == 1


async def test_a_link_that_breaks_is_told_once_and_the_rest_is_left_out(tmp_path: Path) -> None:
    async def answer_one(request: trio_websocket.WebSocketRequest) -> None:
        ws = await request.accept()
        number = json.loads(await ws.get_message())["id"]
        await ws.send_message(json.dumps({"id": number, "status": 200, "result": {}}))
        await ws.get_message()
        await ws.aclose(1001, "going away")

    async with listening(tmp_path) as urls, trio.open_nursery() as nursery:
        server = await nursery.start(trio_websocket.serve_websocket, answer_one, "127.0.0.1", 0, None)
        broken = attrs.evolve(urls, ws_api=f"ws://127.0.0.1:{server.port}/ws-api/v3")
        found = await examined(aimed(tmp_path, broken))
        nursery.cancel_scope.cancel()
    assert found.states("logon", "account", "holdings", "order limits", "commission")[:3] == ["ok", "fail", "skip"]
    assert "closed" in found["account"].found
    assert found.code == 1


async def test_peers_that_say_nothing_hold_nobody_up(autojump_clock: MockClock, tmp_path: Path) -> None:
    async def silent(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with with_simnet(), trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, silent, 0)
        port = listeners[0].socket.getsockname()[1]
        at = f"127.0.0.1:{port}"
        settings = aimed(tmp_path, Urls(f"http://{at}", f"ws://{at}/ws-api/v3", f"ws://{at}", f"ws://{at}"))
        began = trio.current_time()
        found = await examined(settings)
        assert trio.current_time() - began < 60
        nursery.cancel_scope.cancel()
    assert found.states("REST host", "clock", "permissions", "symbol", "logon") == [
        "ok",
        "fail",
        "skip",
        "fail",
        "fail",
    ]
    assert {row.name for row in found.rows} >= set(exchange.ROWS)


RULES = SymbolRules(
    name=SYMBOL, base_asset="ETH", quote_asset="FDUSD", tick_size=Decimal("0.01"), step_size=Decimal("0.0001"),
    min_notional=Decimal(5),
)  # fmt: skip


@pytest.mark.parametrize(
    ("base", "quote", "reserve", "bid", "state"),
    [
        ("0.0050", "0", "0", "3412.36", "ok"),
        ("0.0050", "0", "0.0040", "3412.36", "warn"),
        ("0", "5.01", "0", "3412.36", "warn"),  # one lot less than 5 FDUSD's worth
        ("0", "5.20", "0", "3412.36", "ok"),
        ("1", "1", "0", "0.00", "warn"),
        ("much", "1", "0", "3412.36", "fail"),
    ],
)
def test_holdings_are_measured_by_the_least_order(base: str, quote: str, reserve: str, bid: str, state: str) -> None:
    account = AccountStatus(
        can_trade=True, update_time=0, balances=[Balance("ETH", base, "0"), Balance("FDUSD", quote, "0")]
    )
    top = BookTop(SYMBOL, bid, "1", "3412.37", "1")
    row = exchange.holdings(RULES, account, top, SymbolParams(reserve_base=Decimal(reserve)))
    assert row.state == state, row


# --- certificates ----------------------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path) -> Callable[[int], Path]:
    """Makes a certificate for localhost, valid for some days; the key beside it."""

    def make(days: int) -> Path:
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-days", str(days), "-subj", "/CN=localhost",
             "-addext", "subjectAltName=DNS:localhost", "-keyout", tmp_path / "tls.key", "-out", tmp_path / "tls.pem"],
            check=True, capture_output=True,
        )  # fmt: skip
        return tmp_path / "tls.pem"

    return make


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl makes the certificates")
@pytest.mark.parametrize(("days", "trusted", "state"), [(90, True, "ok"), (3, True, "warn"), (90, False, "fail")])
async def test_certificates_are_looked_at(
    monkeypatch: pytest.MonkeyPatch, certificate: Callable[[int], Path], days: int, trusted: bool, state: str
) -> None:
    path = certificate(days)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path, path.with_suffix(".key"))
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(path))

    async def shake(stream: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            await stream.do_handshake()
        except trio.BrokenResourceError:
            return  # the client does not trust us

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            serve = await nursery.start(trio.serve_ssl_over_tcp, shake, 0, context)
            port = serve[0].transport_listener.socket.getsockname()[1]
            row = await exchange.end("REST host", f"https://localhost:{port}", time.time_ns())
            nursery.cancel_scope.cancel()
    assert row.state == state, row
    said = {"ok": "certificate until 20", "warn": "only: it is the exchange's", "fail": "ca-certificates"}
    assert said[state] in row.text


async def test_a_name_that_nobody_knows_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(*args: object, **kwargs: object) -> list[object]:
        raise OSError(-2, "Name or service not known")

    monkeypatch.setattr(trio.socket, "getaddrinfo", unknown)
    row = await exchange.end("REST host", "https://nowhere.invalid", 0)
    assert row.state == "fail"
    assert row.text.startswith("nowhere.invalid cannot be resolved: Name or service not known")


# --- Telegram --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def bot_api(answers: dict[str, object]) -> AsyncIterator[str]:
    """A Bot API on loopback that gives each method (with its query) its answer."""

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            asked = b""
            while b"\r\n\r\n" not in asked:
                asked += await stream.receive_some()
            _, _, method = asked.split(b" ")[1].decode().partition(f"/bot{TOKEN}/")
            body = json.dumps(answers[method]).encode()
            head = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
            await stream.send_all(head.encode() + body)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, serve, 0)
        yield f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


ME: dict[str, object] = {"ok": True, "result": {"username": "a_bot"}}
CHAT: dict[str, object] = {"ok": True, "result": {"id": 5}}
SHUT: dict[str, object] = {"ok": False, "error_code": 400, "description": "Bad Request: chat not found"}
UNKNOWN: dict[str, object] = {"ok": False, "error_code": 401, "description": "Unauthorized"}


def with_token(tmp_path: Path, **settings: Any) -> TelegramParams:
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "token").chmod(0o600)
    return TelegramParams(token_file=str(tmp_path / "token"), **settings)


@pytest.mark.parametrize(
    ("answers", "settings", "state", "said"),
    [
        ({"getMe": ME, "getChat?chat_id=5": CHAT}, {"chats": (5,), "users": (7,)}, "ok", "@a_bot, 1 chat reachable"),
        ({"getMe": ME, "getChat?chat_id=5": CHAT}, {"chats": (5,)}, "warn", "obeys nobody"),
        ({"getMe": ME, "getChat?chat_id=5": SHUT}, {"chats": (5,), "users": (7,)}, "warn", "chat 5: Bad Request"),
        ({"getMe": ME}, {}, "warn", "would tell nobody"),
        ({"getMe": UNKNOWN}, {"chats": (5,)}, "fail", "@BotFather"),
        ({"getMe": ["what"]}, {"chats": (5,)}, "fail", "not the Bot API's"),
    ],
)
async def test_telegram_is_asked_who_we_are_and_whether_chats_are_open(
    tmp_path: Path, answers: dict[str, object], settings: dict[str, Any], state: str, said: str
) -> None:
    with trio.fail_after(10):
        async with bot_api(answers) as url:
            row = await channels.telegram(with_token(tmp_path, url=url, **settings))
    assert (row.state, said in row.text) == (state, True), row
    assert "canary" not in row.text


async def test_telegram_that_is_away_says_so_without_its_token(tmp_path: Path) -> None:
    row = await channels.telegram(with_token(tmp_path, url="http://127.0.0.1:9", chats=(5,)))
    assert row.state == "fail"
    assert "canary" not in row.text
    assert (await channels.telegram(TelegramParams())).state == "skip"
    plain = await channels.telegram(with_token(tmp_path, url="http://example.com"))
    assert (plain.state, plain.code) == ("fail", 4)


# --- this machine ----------------------------------------------------------------------------------------------------


def test_what_this_machine_says() -> None:
    assert machine.python().state == "ok"
    assert machine.python((3, 10, 4)).state == "fail"
    now = datetime.datetime.now(datetime.UTC)
    assert [machine.time_sync(state, now).state for state in (0, 5, None)] == ["ok", "warn", "skip"]
    assert [machine.files(limit).state for limit in (1024, 64, -1)] == ["ok", "warn", "ok"]
    assert machine.kernel_time() is None or machine.kernel_time() in range(6)


def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert machine.disk([tmp_path / "not" / "yet"]).found.endswith(f"free in {tmp_path}")
    monkeypatch.setattr(machine, "LEAST_FREE", 1 << 62)
    assert machine.disk([tmp_path]).state == "warn"


def test_systemd_is_looked_for(tmp_path: Path) -> None:
    assert machine.systemd({}, tmp_path).state == "skip"
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    assert machine.systemd({}, tmp_path).remedy == "`tetrio systemd install`"
    unit = tmp_path / "etc/systemd/system/tetrio.service"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\nType=notify\n")
    assert "no WatchdogSec" in machine.systemd({}, tmp_path).found
    unit.write_text("[Service]\nType=notify\nWatchdogSec=30\n")
    assert machine.systemd({}, tmp_path).state == "ok"
    assert machine.systemd({"NOTIFY_SOCKET": "/x"}, tmp_path).state == "warn"
    under = machine.systemd({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "30000000"}, tmp_path)
    assert under.found.endswith("waits 30 s")


# --- all of it -------------------------------------------------------------------------------------------------------


def test_the_worst_failure_is_the_exit_code() -> None:
    fine, broken = [ok("a", ""), warn("b", ""), skip("c", "")], fail("d", "")
    assert exit_code(fine) == 0
    assert exit_code([*fine, broken]) == 1
    assert exit_code([broken, fail("e", "", code=4)]) == 4
    assert exit_code([fail("f", "", code=6), broken, fail("e", "", code=4)]) == 6


async def test_a_broken_configuration_leaves_the_machine_to_look_at() -> None:
    found = await examined(ConfigError("strategy.hard_stop is what"))
    assert found["configuration"].text == "strategy.hard_stop is what"
    assert found["python"].state == "ok"
    assert set(found.states(*exchange.ROWS)) == {"skip"}
    assert found.code == 4


def test_the_command_on_the_sim_skips_what_does_not_apply(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line[:4].strip() for line in lines[:-1]} <= {"ok", "warn", "skip"}
    assert "\x1b" not in "".join(lines)
    assert len({line.index(line.split()[2]) for line in lines[:-1] if line.split()[1] in ("python", "disk")}) == 1
    assert lines[-1].endswith("nothing failed")
    assert main(["doctor", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["fail"], said["exit_code"]) == (0, 0)
    assert {row["name"] for row in said["rows"]} >= {*exchange.ROWS, "configuration", "telegram", "systemd"}
    assert list(tmp_path.iterdir()) == []


def test_the_command_fails_as_its_rows_do(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["doctor", "--venue", "testnet"]) == 4
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("fail  configuration")
    assert out[-1].endswith("mend what failed, then run it again")


async def test_no_secret_is_ever_shown(tmp_path: Path) -> None:
    pem = SIGNER.private_pem().splitlines()[1]
    async with listening(tmp_path) as urls:
        settings = aimed(tmp_path, urls, f"telegram.token_file={tmp_path / 'token'}", "telegram.url=http://127.0.0.1:9")
        with_token(tmp_path)
        wrong = aimed(tmp_path, attrs.evolve(urls, rest=urls.ws_api.replace("ws://", "http://")))
        told = [*(await examined(settings)).rows, *(await examined(wrong)).rows]
    text = json.dumps([doctor.as_json(row) for row in told]) + "\n".join(row.text for row in told)
    for secret in (ED_KEY, ED_KEY[:5], pem, TOKEN, "canary", "signature="):
        assert secret not in text
    assert keys.glimpse(keys.read_api_key(tmp_path / "api-key")) == f"{ED_KEY[:4]}…, 64 characters"


def test_the_command_on_paper_visits_the_market_that_it_relays(capsys: pytest.CaptureFixture[str]) -> None:
    ends = ["--set", "venue.rest=http://127.0.0.1:1", "--set", "venue.stream=ws://127.0.0.1:1"]
    arguments = ["doctor", "--venue", "paper", "--set", "symbol.name=ETHUSDT", *ends, "--json"]
    assert main(arguments) == 1
    told = {row["name"]: row["state"] for row in json.loads(capsys.readouterr().out)["rows"]}
    assert (told["REST host"], told["stream host"], told["symbol"]) == ("fail", "fail", "skip")
    assert told["private key"] == told["logon"] == "skip"
