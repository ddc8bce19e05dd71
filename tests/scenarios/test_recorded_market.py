"""The main job: a recorded Binance market, traded from its first frame to its last, and what the exchange saw of it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from tests.scenarios.referee import Verdict, alternating, judge, read
from tests.scenarios.runs import CAPTURES, REPLAY, facts, kinds, raw_lines, tetrio


def play(
    market: Path, audit: Path, *more: object, speed: object = "max", environment: dict[str, str] | None = None
) -> Verdict:
    """Trade a recorded market with the replay configuration; what its referee says."""
    run = tetrio(
        "serve", "--venue", "sim", "--market", market, "--speed", speed, "--exit-at-end", "--config", REPLAY,
        "--audit", audit, *more, environment=environment,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-2000:]
    assert "log" not in kinds(facts(run.stderr)), "a library had something to complain of"
    return judge(read(audit))


def check(verdict: Verdict, frames: int) -> None:
    assert verdict.end["frames"] == frames
    assert verdict.most_live == 1
    assert verdict.left_open == []
    assert len(verdict.exits) >= 10
    assert verdict.by("t") >= 6
    assert alternating(verdict.exits)


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: path.name.split(".")[0])
def test_a_capture_is_traded_in_virtual_time(capture: Path, tmp_path: Path) -> None:
    check(play(capture, tmp_path / "audit"), sum(1 for _ in raw_lines(capture)))


def test_the_same_command_gives_the_same_audit(tmp_path: Path) -> None:
    for number, seed in enumerate(("0", "random")):
        play(CAPTURES[0], tmp_path / str(number), environment={"PYTHONHASHSEED": seed})
    assert (tmp_path / "0").read_bytes() == (tmp_path / "1").read_bytes()


def test_the_same_holds_over_real_sockets(tmp_path: Path) -> None:
    check(play(CAPTURES[0], tmp_path / "audit", speed=20), sum(1 for _ in raw_lines(CAPTURES[0])))


@pytest.mark.fault("F81")
def test_jumpstart_learns_the_balances_from_two_deep_orders(tmp_path: Path) -> None:
    verdict = play(
        CAPTURES[0], tmp_path / "audit", "--set", "account.reconcile=jumpstart", "--set", "venue.fund=ETH=1,USDT=900"
    )
    check(verdict, sum(1 for _ in raw_lines(CAPTURES[0])))
    deep = [line for line in read(tmp_path / "audit") if line.get("client_order_id", "").split("-")[-2:-1] == ["0j"]]
    assert [line["ev"] for line in deep] == ["accept", "cancel"] * 2
    assert [line["side"] for line in deep] == ["SELL", "SELL", "BUY", "BUY"]


@pytest.mark.fault("F82")
def test_a_reserve_is_never_touched(tmp_path: Path) -> None:
    verdict = play(
        CAPTURES[0], tmp_path / "audit", "--set", "venue.fund=ETH=1,USDT=300", "--set", "symbol.reserve_base=0.6",
        "--set", "symbol.reserve_quote=250", "--set", "symbol.max_notional=400",
    )  # fmt: skip
    assert verdict.exits
    lowest = {"ETH": 1e9, "USDT": 1e9}
    for line in read(tmp_path / "audit"):
        for asset, amounts in line.get("balances", {}).items():
            lowest[asset] = min(lowest[asset], sum(map(float, amounts)))
        if line["ev"] == "accept":
            assert float(line["qty"]) * float(line["price"]) <= 400
    assert lowest["ETH"] >= 0.6
    assert lowest["USDT"] >= 250


@pytest.mark.parametrize("chase", ["improve", "touch"])
def test_the_other_ways_to_chase(chase: str, tmp_path: Path) -> None:
    verdict = play(CAPTURES[0], tmp_path / "audit", "--set", f"exit.chase={chase}")
    assert verdict.exits
    assert alternating(verdict.exits)
    assert verdict.left_open == []


@pytest.mark.fault("F75")
def test_commission_is_paid_from_what_is_received(tmp_path: Path) -> None:
    run = tetrio(
        "serve", "--market", CAPTURES[0], "--speed", "max", "--config", REPLAY, "--audit", tmp_path / "audit",
        "--set", "venue.maker=0.0001", "--set", "venue.taker=0.001",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    from decimal import Decimal

    verdict = judge(read(tmp_path / "audit"), maker=Decimal("0.0001"))
    assert verdict.exits


@pytest.mark.fault("F128")
def test_the_fee_is_the_accounts_where_none_is_set(tmp_path: Path) -> None:
    """Assets and grid are told by exchangeInfo, the commission by the account: none of them is a constant."""
    market = tmp_path / "solfdusd.txt"
    market.write_text(
        "".join(raw_lines(CAPTURES[1], 2000)).replace("ETHUSDT", "SOLFDUSD").replace("ethusdt", "solfdusd")
    )
    run = tetrio(
        "serve", "--market", market, "--speed", "max", "--config", REPLAY, "--set", "strategy.fee=auto",
        "--set", "venue.maker=0.00075", "--journal", tmp_path / "journal",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    told = [json.loads(line) for line in (tmp_path / "journal").read_text().splitlines()]
    assert {fact["fee"] for fact in told if fact["kind"] == "rebuilt" and "fee" in fact} == {0.00075}
    assert {asset for fact in told if fact["kind"] == "balance" for asset in fact.get("balances", {})} == {
        "SOL",
        "FDUSD",
    }


class TestOtherCaptures:
    """Files of the same form, with other symbols, prices and ways of writing the time."""

    def test_another_symbol_not_compressed(self, tmp_path: Path) -> None:
        market = tmp_path / "solfdusd.txt"
        market.write_text(
            "".join(raw_lines(CAPTURES[1], 8000)).replace("ETHUSDT", "SOLFDUSD").replace("ethusdt", "solfdusd")
        )
        verdict = play(market, tmp_path / "audit")
        assert verdict.end["frames"] == 8000
        assert verdict.exits
        assert set(verdict.last_balances) == {"SOL", "FDUSD"}

    def test_times_in_seconds_and_two_symbols(self, tmp_path: Path) -> None:
        market = tmp_path / "two.gz"
        with gzip.open(market, "wt") as file:
            for line in raw_lines(CAPTURES[1], 3000):
                stamp, frame = line.split(" ", 1)
                seconds = f"{stamp[:-9]}.{stamp[-9:-2]}"
                file.write(f"{seconds}: {frame}")
                file.write(f"{seconds}: {frame.replace('ETHUSDT', 'BTCUSDT').replace('ethusdt', 'btcusdt')}")
        assert tetrio("serve", "--market", market, "--speed", "max", "--config", REPLAY).returncode == 4
        verdict = play(market, tmp_path / "audit", "--set", "symbol.name=BTCUSDT")
        assert verdict.end["frames"] == 6000
        assert set(verdict.last_balances) == {"BTC", "USDT"}
