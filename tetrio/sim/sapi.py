"""Signed REST: what only a key's owner may ask over HTTP, and what the exchange says of the key itself.

The key comes in a header; what is signed is the query as it stands in the URL, percent-encoded and in the order sent,
without its `signature`. The account's queries are those of the WebSocket API. `apiRestrictions` belongs to Binance's
wallet service, which its testnet does not have. Nothing here places, changes or cancels an order.

What a key *may* do is told, not enforced: there is nothing to withdraw here, and a key without the right to trade
trades all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from tetrio.sim import trading
from tetrio.sim.auth import check_time
from tetrio.sim.checks import Params, Refused
from tetrio.sim.trading import Call, Method
from tetrio.sim.venue import Venue

CREATED_MS = 1_700_000_000_000
API = "/api/v3/"
RESTRICTIONS = "/sapi/v1/account/apiRestrictions"
ACCOUNT: Mapping[str, str] = {
    "account": "account.status",
    "account/commission": "account.commission",
    "rateLimit/order": "account.rateLimits.orders",
    "order": "order.status",
    "openOrders": "openOrders.status",
    "allOrders": "allOrders",
    "myTrades": "myTrades",
}
"""Path after /api/v3/ -> method of the WebSocket API."""


@attrs.frozen(kw_only=True)
class KeyRights:
    """What apiRestrictions says of one key; the default is what a bot's key should have."""

    spot: bool = True
    withdraw: bool = False
    internal_transfer: bool = False
    universal_transfer: bool = False
    ip_restricted: bool = True


WORDS: Mapping[str, Mapping[str, bool]] = {
    "withdraw": {"withdraw": True},
    "internal-transfer": {"internal_transfer": True},
    "universal-transfer": {"universal_transfer": True},
    "no-ip": {"ip_restricted": False},
    "no-spot": {"spot": False},
}
"""Word of --key-rights -> what it changes in the default rights."""


def parse_rights(words: str) -> KeyRights:
    """Rights from words such as `withdraw,no-ip`; ValueError names an unknown one."""
    changed: dict[str, bool] = {}
    for word in filter(None, (each.strip() for each in words.split(","))):
        if word not in WORDS:
            raise ValueError(f"{word!r} is none of {', '.join(WORDS)}")
        changed |= WORDS[word]
    return KeyRights(**changed)


def authorize(venue: Venue, api_key: str, query: str, params: Params) -> None:
    """Refuse a request that no known key has signed, or whose time is not now.

    api_key   of the header X-MBX-APIKEY, "" without one
    query     as it stands in the URL
    """
    params.skip("signature", "timestamp", "recvWindow")
    venue.keys.check_known(api_key)
    signature = params.need("signature")
    check_time(params, venue.now_ms())
    if not venue.keys.verified(api_key, signed_part(query), signature):
        raise Refused(-1022, "Signature for this request is not valid.")


def signed_part(query: str) -> str:
    """`query` without its signature, wherever that stands; the rest untouched."""
    return "&".join(part for part in query.split("&") if not part.startswith("signature="))


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


@attrs.frozen
class SignedQuery:
    """One signed GET."""

    run: Callable[[str, Params], object]
    """Takes the API key, authorized, and the parameters."""
    weight: Callable[[Params], int]


def signed_queries(venue: Venue, rights: Mapping[str, KeyRights] | None) -> dict[str, SignedQuery]:
    """The signed GETs of `venue` by path.

    rights   by API key, the default for a key that is not in it; None: no wallet service, as on the testnet
    """

    def asks(method: Method) -> SignedQuery:
        return SignedQuery(lambda api_key, params: method.run(Call(venue, params)), method.weight)

    def told(api_key: str, params: Params) -> object:
        params.done()
        return restrictions((rights or {}).get(api_key, KeyRights()))

    found = {f"{API}{name}": asks(trading.METHODS[method]) for name, method in ACCOUNT.items()}
    if rights is not None:
        found[RESTRICTIONS] = SignedQuery(told, lambda params: 1)
    return found
