"""Binance's wallet service, as far as clients of spot trading ask it: what a key may do, which assets there are, what
trading costs, and whether all is well.

Its testnet does not have it. Signed like REST's own queries (`rest`); nothing is moved here.
"""

from __future__ import annotations

from collections.abc import Mapping

from tetrio.sim.engine.orders import Balance
from tetrio.sim.face.auth import KeyRights, Security
from tetrio.sim.face.call import Call
from tetrio.sim.face.checks import check_symbol
from tetrio.sim.face.methods import Endpoint
from tetrio.sim.face.venue import ACCOUNT

CREATED_MS = 1_700_000_000_000
RESTRICTIONS = "/sapi/v1/account/apiRestrictions"
ASSETS = "/sapi/v1/capital/config/getall"
FEES = "/sapi/v1/asset/tradeFee"
SYSTEM = "/sapi/v1/system/status"
STANDING = "/sapi/v1/account/status"
_ZERO = "0"


def key_restrictions(call: Call) -> object:
    """apiRestrictions: what the key that asks may do."""
    call.params.done()
    return restrictions(call.venue.keys.rights(call.api_key))


def restrictions(rights: KeyRights) -> dict[str, object]:
    """The body of apiRestrictions."""
    return {
        "ipRestrict": rights.ip_restricted,
        "createTime": CREATED_MS,
        "enableReading": True,
        "enableWithdrawals": rights.withdraw,
        "enableInternalTransfer": rights.internal_transfer,
        "enableMargin": False,
        "enableFutures": False,
        "permitsUniversalTransfer": rights.universal_transfer,
        "enableVanillaOptions": False,
        "enableFixApiTrade": False,
        "enableFixReadOnly": False,
        "enableSpotAndMarginTrading": rights.spot,
        "enablePortfolioMarginTrading": False,
    }


def assets(call: Call) -> object:
    """capital/config/getall: every asset, each on one network of its own name, on which nothing moves."""
    call.params.done()
    engine, rules = call.venue.engine, call.venue.rules
    balances = {name: Balance(0, 0) for name in (rules.base_asset, rules.quote_asset)} | engine.balances(ACCOUNT)
    return [
        _asset(name, engine.amount_text(name, balance.free), engine.amount_text(name, balance.locked))
        for name, balance in balances.items()
    ]


def _asset(name: str, free: str, locked: str) -> dict[str, object]:
    return {
        "coin": name,
        "depositAllEnable": False,
        "withdrawAllEnable": False,
        "name": name,
        "free": free,
        "locked": locked,
        "freeze": _ZERO,
        "withdrawing": _ZERO,
        "ipoing": _ZERO,
        "ipoable": _ZERO,
        "storage": _ZERO,
        "isLegalMoney": False,
        "trading": True,
        "networkList": [_network(name)],
    }


def _network(name: str) -> dict[str, object]:
    return {
        "network": name,
        "coin": name,
        "name": name,
        "isDefault": True,
        "depositEnable": False,
        "withdrawEnable": False,
        "depositDesc": "",
        "withdrawDesc": "",
        "specialTips": "",
        "resetAddressStatus": False,
        "addressRegex": "",
        "memoRegex": "",
        "withdrawFee": _ZERO,
        "withdrawMin": _ZERO,
        "withdrawMax": _ZERO,
        "withdrawIntegerMultiple": "0.00000001",
        "minConfirm": 1,
        "unLockConfirm": 0,
        "sameAddress": False,
        "estimatedArrivalTime": 0,
        "busy": False,
    }


def trade_fees(call: Call) -> object:
    """asset/tradeFee: the standard commission of every symbol, or of the one that is named."""
    venue = call.venue
    symbol = call.params.text("symbol")
    call.params.done()
    if symbol is not None:
        check_symbol(symbol, venue.symbol)
    rate = venue.engine.rates.standard
    fee = {"symbol": venue.symbol, "makerCommission": f"{rate.maker:f}", "takerCommission": f"{rate.taker:f}"}
    return [fee]


def system_status(call: Call) -> object:
    """system/status: no maintenance."""
    call.params.done()
    return {"status": 0, "msg": "normal"}


def standing(call: Call) -> object:
    """account/status: in order."""
    call.params.done()
    return {"data": "Normal"}


ENDPOINTS: Mapping[str, Endpoint] = {
    RESTRICTIONS: Endpoint(run=key_restrictions, weight=lambda params: 1, security=Security.USER_DATA),
    ASSETS: Endpoint(run=assets, weight=lambda params: 10, security=Security.USER_DATA),
    FEES: Endpoint(run=trade_fees, weight=lambda params: 1, security=Security.USER_DATA),
    STANDING: Endpoint(run=standing, weight=lambda params: 1, security=Security.USER_DATA),
    SYSTEM: Endpoint(run=system_status, weight=lambda params: 1),
}
"""By path; each is a GET."""
