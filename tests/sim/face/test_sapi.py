"""Signed REST as a client meets it: who may ask, with which signature, and what a key may do."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from trio.testing import MockClock

from tests.sim.served import ED_KEY, HMAC_KEY, HMAC_SECRET, SIGNER, SYMBOL, Served, served
from tetrio.errors import ConfigError
from tetrio.host import read_rights
from tetrio.sim.face.auth import KeyRights, parse_rights, signed_text
from tetrio.sim.face.sapi import ASSETS, FEES, RESTRICTIONS, STANDING, SYSTEM
from tetrio.wire.request import signed_query
from tetrio.wire.sign import sign_hmac

DOCS_SECRET = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
ACCOUNT = "/api/v3/account"


async def ask(exchange: Served, path: str, query: str, api_key: str = ED_KEY) -> tuple[int, Any]:
    reply = await exchange.get(path, query, {"X-MBX-APIKEY": api_key} if api_key else {})
    return reply["status"], reply["body"]


def by_ed25519(exchange: Served, **params: str) -> str:
    return signed_query(params, SIGNER, exchange.now_ms(), 5000)


def by_hmac(text: str) -> str:
    return f"{text}&signature={sign_hmac(HMAC_SECRET, text)}"


async def test_the_account_is_told_to_either_kind_of_key(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path) as exchange:
        status, account = await ask(exchange, ACCOUNT, by_ed25519(exchange, omitZeroBalances="true"))
        assert (status, account["canTrade"]) == (200, True)
        assert {each["asset"]: each["free"] for each in account["balances"]}["ETH"] == "4.25000000"
        assert await ask(exchange, ACCOUNT, by_hmac(f"timestamp={exchange.now_ms()}"), HMAC_KEY) == (
            200,
            (await ask(exchange, ACCOUNT, by_ed25519(exchange)))[1],
        )


async def test_the_accounts_other_queries_are_those_of_the_websocket_api(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with served(tmp_path) as exchange:
        trader = await exchange.trader()
        placed = (await trader.maker("SELL", "3420.00"))["result"]
        _, resting = await ask(exchange, "/api/v3/openOrders", by_ed25519(exchange, symbol=SYMBOL))
        assert [order["orderId"] for order in resting] == [placed["orderId"]]
        _, order = await ask(
            exchange, "/api/v3/order", by_ed25519(exchange, symbol=SYMBOL, orderId=str(placed["orderId"]))
        )
        assert order == resting[0]
        _, counts = await ask(exchange, "/api/v3/rateLimit/order", by_ed25519(exchange))
        assert [each["count"] for each in counts] == [1, 1]
        _, rates = await ask(exchange, "/api/v3/account/commission", by_ed25519(exchange, symbol=SYMBOL))
        assert rates == (await trader.order("account.commission"))["result"]


async def test_a_key_is_told_what_it_may_do(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path, rights={HMAC_KEY: parse_rights("withdraw, no-ip,universal-transfer")}) as exchange:
        _, plain = await ask(exchange, RESTRICTIONS, by_ed25519(exchange))
        assert plain["enableSpotAndMarginTrading"] is True
        assert [name for name, value in plain.items() if value is True] == [
            "ipRestrict",
            "enableReading",
            "enableSpotAndMarginTrading",
        ]
        _, rich = await ask(exchange, RESTRICTIONS, by_hmac(f"timestamp={exchange.now_ms()}"), HMAC_KEY)
        changed = {name for name in rich if rich[name] != plain[name]}
        assert changed == {"ipRestrict", "enableWithdrawals", "permitsUniversalTransfer"}


async def test_an_exchange_without_a_wallet_service_has_no_such_path(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path, rights=None) as exchange:
        assert (await ask(exchange, RESTRICTIONS, by_ed25519(exchange)))[0] == 404
        assert (await ask(exchange, ACCOUNT, by_ed25519(exchange)))[0] == 200


def test_words_for_rights() -> None:
    assert parse_rights("") == KeyRights()
    assert parse_rights("no-spot,internal-transfer") == KeyRights(spot=False, internal_transfer=True)
    with pytest.raises(ValueError, match="'withdrawal' is none of withdraw, "):
        parse_rights("withdrawal")


def test_rights_on_the_command_line_belong_to_a_key() -> None:
    assert read_rights([], ["a"]) == {}
    assert read_rights(["a=withdraw,no-ip", "b="], ["a", "b"]) == {
        "a": KeyRights(withdraw=True, ip_restricted=False),
        "b": KeyRights(),
    }
    assert read_rights(["none"], ["a"]) is None
    for wrong, said in (("a", "write APIKEY=WORD"), ("c=withdraw", "given by --key"), ("a=all", "'all' is none of")):
        with pytest.raises(ConfigError, match=said):
            read_rights([wrong], ["a"])


NOW, LATE, AHEAD = "timestamp=+0", "timestamp=-5001", "timestamp=+1000"


@pytest.mark.parametrize("path", [ACCOUNT, RESTRICTIONS])
@pytest.mark.parametrize(
    ("text", "api_key", "status", "code"),
    [
        (NOW, "", 401, -2014),
        (NOW, "short", 401, -2014),
        (NOW, "x" * 64, 401, -2015),
        (LATE, HMAC_KEY, 400, -1021),
        (AHEAD, HMAC_KEY, 400, -1021),
        (f"{NOW}&recvWindow=60001", HMAC_KEY, 400, -1131),
        (f"{NOW}&recvWindow=much", HMAC_KEY, 400, -1100),
        ("recvWindow=5000", HMAC_KEY, 400, -1102),
        (f"{NOW}&{NOW}", HMAC_KEY, 400, -1101),
        (f"{NOW}&more=1", HMAC_KEY, 400, -1104),
        (NOW, ED_KEY, 400, -1022),  # signed by the other one's secret
    ],
)
async def test_a_bad_signed_request_gets_binances_code(
    autojump_clock: MockClock, tmp_path: Path, path: str, text: str, api_key: str, status: int, code: int
) -> None:
    async with served(tmp_path) as exchange:
        now = exchange.now_ms()
        for word, ms in ((NOW, now), (LATE, now - 5001), (AHEAD, now + 1000)):
            text = text.replace(word, f"timestamp={ms}")
        found, body = await ask(exchange, path, by_hmac(text), api_key)
        assert (found, body["code"]) == (status, code)


async def test_what_is_signed_is_the_text_as_it_was_sent(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Percent-encoding is part of it, and the order of the parameters; where the signature stands is not."""
    async with served(tmp_path) as exchange:
        stamp = f"timestamp={exchange.now_ms()}"
        encoded, plain = f"omitZeroBalances=tru%65&{stamp}", f"omitZeroBalances=true&{stamp}"
        assert (await ask(exchange, ACCOUNT, by_hmac(encoded), HMAC_KEY))[0] == 200
        forged = f"{encoded}&signature={sign_hmac(HMAC_SECRET, plain)}"
        assert (await ask(exchange, ACCOUNT, forged, HMAC_KEY))[1]["code"] == -1022
        turned = f"{stamp}&omitZeroBalances=true&signature={sign_hmac(HMAC_SECRET, plain)}"
        assert (await ask(exchange, ACCOUNT, turned, HMAC_KEY))[1]["code"] == -1022
        first = f"signature={sign_hmac(HMAC_SECRET, plain)}&{plain}"
        assert (await ask(exchange, ACCOUNT, first, HMAC_KEY))[0] == 200
        unsigned = await ask(exchange, ACCOUNT, plain, HMAC_KEY)
        assert (unsigned[0], unsigned[1]["code"]) == (400, -1102)


@pytest.mark.parametrize(
    ("symbol", "signature"),
    [
        ("LTCBTC", "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"),
        ("１２３４５６", "e1353ec6b14d888f1164ae9af8228a3dbd508bc82eb867db8ab6046442f33ef3"),
    ],
)
def test_the_published_signatures_are_of_the_text_that_we_sign(symbol: str, signature: str) -> None:
    params = {"symbol": symbol, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "0.1"}
    query = signed_query(params, SIGNER, 1499827319559, 5000)
    assert sign_hmac(DOCS_SECRET, signed_text(query)) == signature
    assert query.endswith(f"&signature={quote(SIGNER.sign(signed_text(query)), safe='')}")


async def test_the_assets_are_those_of_the_symbol_and_of_the_account(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path, funds={"ETH": "4.25", "BNB": "1"}) as exchange:
        status, found = await ask(exchange, ASSETS, by_ed25519(exchange))
        assert status == 200
        assert {each["coin"]: each["free"] for each in found} == {
            "ETH": "4.25000000",
            "FDUSD": "0.00000000",
            "BNB": "1.00000000",
        }
        assert [network["network"] for network in found[0]["networkList"]] == [found[0]["coin"]]
        assert (await exchange.http("POST", ASSETS))["status"] == 405


async def test_a_key_without_spot_trading_reads_and_does_not_trade(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path, rights={HMAC_KEY: parse_rights("no-spot")}) as exchange:
        assert (await exchange.rest("GET", "account", key=HMAC_KEY))["status"] == 200
        order: dict[str, Any] = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT_MAKER"}
        order |= {"price": "3400", "quantity": "0.1"}
        for verb, path in (("POST", "order"), ("POST", "order/test"), ("POST", "order/cancelReplace")):
            reply = await exchange.rest(verb, path, key=HMAC_KEY, **order)
            assert (reply["status"], reply["body"]["code"]) == (401, -2015)
        for path in ("order", "openOrders"):
            assert (await exchange.rest("DELETE", path, key=HMAC_KEY, symbol=SYMBOL))["body"]["code"] == -2015
        assert (await exchange.rest("POST", "order", **order))["status"] == 200


async def test_trading_fees_and_standing_are_told(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path, maker=Decimal("0.0008"), taker=Decimal("0.001")) as exchange:
        fee = {"symbol": SYMBOL, "makerCommission": "0.0008", "takerCommission": "0.001"}
        assert await ask(exchange, FEES, by_ed25519(exchange)) == (200, [fee])
        assert await ask(exchange, FEES, by_ed25519(exchange, symbol=SYMBOL)) == (200, [fee])
        assert (await ask(exchange, FEES, by_ed25519(exchange, symbol="NOPE")))[1]["code"] == -1121
        assert await ask(exchange, STANDING, by_ed25519(exchange)) == (200, {"data": "Normal"})
        assert await ask(exchange, SYSTEM, "", "") == (200, {"status": 0, "msg": "normal"})
