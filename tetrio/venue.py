"""Where a bot can trade: the records [venue], [symbol] and [account], and Binance's own ends.

Plain facts and the rule for URLs; `tetrio.config` fills and checks the records, `tetrio.app` acts on them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from decimal import Decimal
from urllib.parse import urlsplit

import attrs

from tetrio.core.params import setting


@attrs.frozen(kw_only=True)
class VenueParams:
    """[venue]: where the bot trades, and how its own exchange behaves where it brings one."""

    name: str = setting("sim", "which exchange", choices=("sim", "paper", "testnet", "demo", "live"))
    live: bool = setting(False, "true: real money may be traded on the venue live")
    rest: str = setting("", 'URL of the REST side; "" is the venue\'s own')
    ws_api: str = setting("", 'URL of the WebSocket API; "" is the venue\'s own')
    stream: str = setting("", 'URL of the market streams; "" is the venue\'s own')
    sbe_stream: str = setting("", 'URL of the SBE market streams; "" is the venue\'s own')
    market: str = setting("synthetic", 'what sim plays: "synthetic", or the path of a recorded market')
    speed: float | None = setting(
        1.0, 'market seconds in one second; "max" is virtual time (sim with a file)', low=0, low_open=True, high=10000
    )
    seed: int = setting(1, "what the synthetic market, ids and nonces are drawn from", low=0)
    maker: Decimal = setting(Decimal(0), "commission of a maker fill on sim and paper, a fraction", low=0, high=0.1)
    taker: Decimal = setting(Decimal(0), "commission of a taker fill on sim and paper, a fraction", low=0, high=0.1)
    fills: str = setting(
        "queue",
        "when a resting order fills on sim and paper: behind the queue, when traded through, or when touched",
        choices=("queue", "through", "touch"),
    )
    fund: str = setting(
        "", 'opening balances on sim and paper, such as "ETH=1,USDT=0"; "" is 1,000 quote units\' worth of the base'
    )
    connect_deadline_s: float = setting(
        30.0, "s without a first connection to the exchange before giving up", low=0, low_open=True, high=86400
    )


@attrs.frozen(kw_only=True)
class SymbolParams:
    """[symbol]: what is traded, and how much of it is not ours to trade."""

    name: str = setting("", 'the symbol, such as "ETHFDUSD"; "" is the market\'s own (sim and recordings of one)')
    reserve_base: Decimal = setting(Decimal(0), "base units that are never sold", low=0)
    reserve_quote: Decimal = setting(Decimal(0), "quote units that are never spent", low=0)
    max_notional: Decimal = setting(Decimal(0), "largest notional of one exit order, quote units; 0 is no bound", low=0)


@attrs.frozen(kw_only=True)
class AccountParams:
    """[account]: who trades, and how its state is learnt."""

    reconcile: str = setting(
        "snapshot",
        "how balances are learnt at the start: asked for, or pushed after two deep orders",
        choices=("snapshot", "jumpstart"),
    )
    api_key_file: str = setting("", "path of the file that holds the API key, readable by its owner only")
    private_key_file: str = setting("", "path of the Ed25519 private key (PKCS#8 PEM), readable by its owner only")


@attrs.frozen
class Urls:
    """The ends of one exchange."""

    rest: str
    ws_api: str
    stream: str
    sbe_stream: str


_PRODUCTION = Urls(
    "https://api.binance.com",
    "wss://ws-api.binance.com:443/ws-api/v3",
    "wss://stream.binance.com:9443",
    "wss://stream-sbe.binance.com:9443",
)
VENUE_URLS: Mapping[str, Urls] = {
    "sim": Urls("", "", "", ""),
    "paper": attrs.evolve(_PRODUCTION, ws_api=""),
    "testnet": Urls(
        "https://testnet.binance.vision",
        "wss://ws-api.testnet.binance.vision/ws-api/v3",
        "wss://stream.testnet.binance.vision",
        "wss://stream-sbe.testnet.binance.vision",
    ),
    "demo": Urls(
        "https://demo-api.binance.com",
        "wss://demo-ws-api.binance.com/ws-api/v3",
        "wss://demo-stream.binance.com",
        "wss://demo-stream-sbe.binance.com",
    ),
    "live": _PRODUCTION,
}
"""Binance's own ends; an empty URL is the embedded exchange's, known once it listens."""


def check_url(url: str, schemes: tuple[str, ...]) -> None:
    """ValueError unless `url` is usable: one of `schemes`, the plain one of them to this host only."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"is not a URL: {error}") from None
    if parts.scheme not in schemes or not host or port == 0:
        raise ValueError(f"write {schemes[0]}://HOST[:PORT][/PATH]")
    if parts.username is not None or parts.query or parts.fragment or any(c.isspace() for c in url):
        raise ValueError("takes no user, query or fragment")
    if parts.scheme != schemes[0] and not is_loopback(host):
        raise ValueError(
            f"plain {parts.scheme}:// is for this host only (127.0.0.1, ::1, localhost): use {schemes[0]}://"
        )


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine by its name or address alone: 127.0.0.0/8, ::1, localhost."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host.lower() == "localhost"
    return address.is_loopback
