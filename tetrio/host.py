"""`tetrio exchange`: one exchange in a process of its own, on loopback, until it is signalled.

It opens the market, the audit file and the keys, says on standard output where it listens and when a recorded market
has ended, one JSON line each, and ends in order on SIGTERM or SIGINT. What the exchange does is `tetrio.sim`'s.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TextIO

import attrs
import trio

from tetrio import keys, log
from tetrio.config import Given, Text, parse_funds, structure_one
from tetrio.core.money import decimal
from tetrio.errors import ConfigError
from tetrio.journal import Journal, PatientSink, StreamSink
from tetrio.log import Secret
from tetrio.net.clock import WallClock
from tetrio.net.signals import heed
from tetrio.sim.audit import open_audit
from tetrio.sim.engine.clearing import Discount
from tetrio.sim.exchange import Clocks, Exchange, ExchangeConfig
from tetrio.sim.face import latency
from tetrio.sim.face.auth import HmacSecret, KeyRights, parse_rights
from tetrio.sim.face.latency import Latency
from tetrio.sim.face.limits import PRODUCTION, parse_limits
from tetrio.sim.face.wsapi import METHODS
from tetrio.sim.fault import faults
from tetrio.sim.fault.admin import AdminDoor
from tetrio.sim.market import tape
from tetrio.sim.market.relay import Relay, Source, open_relay
from tetrio.venue import VENUE_URLS, check_url, is_loopback
from tetrio.wire.rules import Filters, RateLimit
from tetrio.wire.sign import Verifier

RELAYED = "binance"
ADMIN_CREDENTIAL = "admin-token"
CRASH = 137  # exit code of the fault `exit`: as if killed
STREAM_MESSAGES = 5  # a second, which a market stream takes from its client
UNLIMITED_MESSAGES = 10_000
RELAY_WITHIN_S = 30.0  # to learn of a relayed market


@attrs.frozen(kw_only=True)
class Settings:
    """What the command line asked for, checked."""

    host: str
    port: int
    """REST's; the WebSocket side has the next one; 0 lets the system choose both."""
    market: str
    source: Source | None
    """Whose market is relayed; None: `market` is played."""
    symbol: str | None
    assets: tuple[str, str] | None
    funds: Mapping[str, str]
    keys: Mapping[str, Verifier | HmacSecret]
    rights: Mapping[str, KeyRights] | None
    """What apiRestrictions says, by API key; None: it is not served."""
    audit: Path | None
    speed: float
    seed: int
    maker: Decimal
    taker: Decimal
    fills: str
    discount: Discount
    sor: bool
    latency: Latency
    faults: Sequence[str]
    admin: AdminDoor | None
    limits: Sequence[RateLimit] = PRODUCTION
    stream_messages_per_s: int = STREAM_MESSAGES


def run(settings: Settings) -> int:
    """Serve until a signal; the exit code. ConfigError, MarketError: it could not begin."""
    clock = WallClock()
    notes = Journal([PatientSink(StreamSink(sys.stderr, style="auto"))], clock.now_ns)
    undo = log.setup(notes.remark)
    try:
        _run(settings, clock, notes)
    finally:
        undo()
        notes.close()  # what was said last is written, and the writing thread ends
    return 0


def _run(settings: Settings, clock: WallClock, notes: Journal) -> None:
    market = None
    if settings.source is None:
        market = tape.open_market(
            settings.market,
            settings.symbol,
            seed=settings.seed,
            assets=settings.assets,
            start_ns=clock.now_ns(),  # a synthetic market is of today, as the service time is
        )
    with open_audit(settings.audit) as audit:
        exchange = None if market is None else _exchange(settings, clock, market, audit)
        trio.run(_serve, settings, clock, notes, exchange, audit)


def _exchange(settings: Settings, clock: WallClock, market: tape.Market, audit: TextIO | None) -> Exchange:
    return Exchange(
        ExchangeConfig(
            market=market,
            keys=settings.keys,
            rights=settings.rights,
            funds=settings.funds,
            clocks=Clocks(clock.now_ns, joined=False, speed=settings.speed),
            fills=settings.fills,
            maker=settings.maker,
            taker=settings.taker,
            discount=settings.discount,
            filters=Filters(sor=settings.sor),
            seed=settings.seed,
            latency=settings.latency,
            faults=settings.faults,
            on_exit=lambda: os._exit(CRASH),
            admin=settings.admin,
            limits=settings.limits,
            stream_messages_per_s=settings.stream_messages_per_s,
            audit=audit,
            host=settings.host,
            rest_port=settings.port,
            ws_port=settings.port + 1 if settings.port else 0,
            sbe_port=settings.port + 2 if settings.port else 0,
            on_market_end=_say_end,
        )
    )


async def _serve(
    settings: Settings, clock: WallClock, notes: Journal, exchange: Exchange | None, audit: TextIO | None
) -> None:
    """Run the exchange until SIGTERM or SIGINT; whoever stops reading our output ends it too.

    exchange   None: the market is relayed, and must be opened first
    """
    with heed(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_ended_by, signals, nursery.cancel_scope)
            if exchange is None:
                exchange = _exchange(settings, clock, await _relay(settings, clock, notes), audit)
            urls = await nursery.start(exchange.run)
            admin = {"admin": urls.admin} if urls.admin else {}
            _say(rest=urls.rest, ws_api=urls.ws_api, stream=urls.stream, sbe=urls.sbe, **admin)


async def _ended_by(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()
        return


async def _relay(settings: Settings, clock: WallClock, notes: Journal) -> Relay:
    assert settings.source is not None and settings.symbol is not None, "the command line has seen to both"

    def say(state: str, **fields: object) -> None:
        notes.write("link", name="source", state=state, **fields)

    return await open_relay(settings.source, settings.symbol, clock=clock, say=say, within_s=RELAY_WITHIN_S)


def _say_end(frames: int) -> None:
    _say(event="market_end", frames=frames)


def _say(**fields: object) -> None:
    """One JSON line on standard output; a reader that has gone misses it, and the orders are served on."""
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(fields), flush=True)


# --- what the command line gives -------------------------------------------------------------------------------------


def parse_listen(text: str) -> tuple[str, int]:
    """HOST:PORT on loopback; ValueError otherwise."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65533:
        raise ValueError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:0 (WebSocket and SBE take the next two ports)")
    if not is_loopback(host):
        raise ValueError(f"{host} is not on this host: the exchange listens on loopback only")
    return "127.0.0.1" if host.lower() == "localhost" else host, int(port)  # one address, so one port


def parse_admin(listen: str | None, token_file: Path | None, credentials: str | None) -> AdminDoor | None:
    """--admin HOST:PORT and the file with its token; ValueError, ConfigError, UnsafeError.

    credentials   the directory of systemd's credentials, where the token is `admin-token`
    """
    if listen is None:
        if token_file is not None:
            raise ValueError("it goes with --admin HOST:PORT")
        return None
    if token_file is None and credentials is not None:
        token_file = Path(credentials) / ADMIN_CREDENTIAL
    if token_file is None:
        raise ValueError(f"a token is needed: --admin-token-file FILE, or systemd's credential {ADMIN_CREDENTIAL}")
    host, port = parse_listen(listen)
    return AdminDoor(host=host, port=port, token=keys.read_admin_token(token_file))


def read_latency(text: str) -> Latency:
    """--latency-ms; ValueError."""
    return latency.parse_latency(text)


def check_faults(given: Sequence[str]) -> None:
    """Every --fault; ValueError names the first that is none."""
    for text in given:
        try:
            faults.parse(text, METHODS)
        except faults.FaultError as error:
            raise ValueError(f"{faults.shown(text)}: {error}") from None


def parse_fees(text: str) -> tuple[Decimal, Decimal]:
    """MAKER,TAKER as fractions; ConfigError when out of range."""
    maker, comma, taker = text.partition(",")
    if not comma:
        raise ConfigError(f"--fee {text}: write MAKER,TAKER as fractions, such as 0,0.00075")
    return _fraction("venue.maker", maker), _fraction("venue.taker", taker)


def parse_discount(text: str | None) -> Discount:
    """ASSET=PRICE, in quote units, or None for no discount; ConfigError."""
    if text is None:
        return Discount()
    asset, equals, price = text.partition("=")
    try:
        value = decimal(price.strip())
    except ValueError:
        value = Decimal(0)
    if not (equals and asset.isalnum() and value > 0):
        raise ConfigError(f"--discount {text}: write ASSET=PRICE with the price of one in the quote, such as BNB=600")
    return Discount(enabled_for_account=True, asset=asset, price=value)


def _fraction(key: str, text: str) -> Decimal:
    value = structure_one(Given(key, Text(text.strip()), "--fee"))
    assert isinstance(value, Decimal), "both are decimals"
    return value


def parse_source(market: str, symbol: str | None, speed: str, rest: str, stream: str) -> Source | None:
    """Whose market `--market binance` relays, Binance's own unless told; None for any other; ConfigError."""
    if market != RELAYED:
        if rest or stream:
            raise ConfigError(f"--source-rest and --source-stream go with --market {RELAYED}: leave them out")
        return None
    if not symbol:
        raise ConfigError(f"--market {RELAYED} relays one symbol: name it, such as --symbol ETHUSDT")
    if speed != "1":
        raise ConfigError(f"--market {RELAYED} is as fast as it is: leave out --speed {speed}")
    own = VENUE_URLS["paper"]
    for option, url, schemes in (
        ("--source-rest", rest, ("https", "http")),
        ("--source-stream", stream, ("wss", "ws")),
    ):
        try:
            if url:
                check_url(url, schemes)
        except ValueError as error:
            raise ConfigError(f"{option} {url}: {error}") from None
    return Source(rest or own.rest, stream or own.stream)


def parse_all_funds(given: Sequence[str]) -> dict[str, str]:
    """Every --fund as amounts by asset, in plain digits; ConfigError."""
    try:
        return {asset: f"{amount:f}" for asset, amount in parse_funds(",".join(given)).items()}
    except ValueError as error:
        raise ConfigError(f"--fund: {error}") from None


def parse_assets(text: str) -> tuple[str, str]:
    """BASE/QUOTE; ConfigError."""
    base, slash, quote = text.partition("/")
    if not (slash and base.isalnum() and quote.isalnum()):
        raise ConfigError(f"--assets {text}: write BASE/QUOTE, such as ETH/USDT")
    return base, quote


def read_keys(public: Sequence[str], secret: Sequence[str]) -> dict[str, Verifier | HmacSecret]:
    """--key APIKEY=PUBLIC.pem and --secret APIKEY=HMACSECRET; ConfigError on anything else. Messages show no secret."""
    found: dict[str, Verifier | HmacSecret] = {}
    for given in public:
        name, equals, path = given.partition("=")
        if not (equals and name and path):
            raise ConfigError(f"--key {given}: write APIKEY=PUBLIC.pem")
        found[name] = Verifier.from_pem(_text_of(Path(path)), f"the public key {path}")
    for given in secret:
        name, equals, value = given.partition("=")
        if not (equals and name and value):
            raise ConfigError("--secret: write APIKEY=HMACSECRET")
        if name in found:
            raise ConfigError("--secret: the same API key was given with --key")
        found[name] = HmacSecret(Secret(value))
    return found


def read_rights(given: Sequence[str], keys: Collection[str]) -> dict[str, KeyRights] | None:
    """--key-rights APIKEY=WORD,…, or `none` for an exchange that does not tell; ConfigError on anything else."""
    if "none" in given:
        return None
    rights: dict[str, KeyRights] = {}
    for each in given:
        name, equals, words = each.partition("=")
        if not equals or name not in keys:
            raise ConfigError(f"--key-rights {each}: write APIKEY=WORD,… with an API key given by --key or --secret")
        try:
            rights[name] = parse_rights(words)
        except ValueError as error:
            raise ConfigError(f"--key-rights {each}: {error}") from None
    return rights


def read_limits(text: str) -> tuple[RateLimit, ...]:
    """--limits; ConfigError on anything but `production`, `off` or changes of limits there are."""
    try:
        return parse_limits(text)
    except ValueError as error:
        raise ConfigError(f"--limits {text}: {error}") from None


def _text_of(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except UnicodeDecodeError:
        raise ConfigError(f"the public key {path} is not a PEM file") from None
    except OSError as error:
        raise ConfigError(f"the public key {path} cannot be read: {error.strerror}") from error
