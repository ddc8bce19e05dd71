"""What the benches of the bot's own tasks have in common: a market that they read, and the parts around a real feed."""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from urllib.parse import urlsplit

import msgspec
import trio

from tetrio.core.money import SymbolRules
from tetrio.core.params import StrategyParams
from tetrio.errors import LinkLost
from tetrio.journal import Journal
from tetrio.live.feed import BATCHES, Feed, Item
from tetrio.live.rest import open_rest
from tetrio.live.rotation import Rotation
from tetrio.net import trust
from tetrio.net.access import Access
from tetrio.net.clock import Clock, WallClock
from tetrio.net.line import open_line
from tetrio.status import Status

SYMBOL = "ETHFDUSD"
PARAMS = StrategyParams(reference="trade", fee=0.0)
"""By trades: then no klines are asked for over REST."""
NOWHERE = "http://127.0.0.1:9"  # REST, which a load server does not have
FINE = Decimal("0.00000001")  # a tick: whatever prices the server sends, they are told as they are
NO_BEAT_S = 3600.0  # a load server need not send klines
_NAMED = re.compile(r"/(?:ws/|stream\?streams=)([a-z0-9]+)@")


class _Named(msgspec.Struct):
    s: str = ""


class _Line(msgspec.Struct):
    s: str = ""
    data: _Named | None = None


def base_of(url: str) -> tuple[str, str]:
    """(the service, the symbol or "") of a URL: the line adds `/stream?streams=` to the service by itself."""
    named = _NAMED.search(url)
    if named is None:
        return url, ""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}", named[1].upper()


def rules_of(symbol: str, tick: Decimal = FINE) -> SymbolRules:
    """Rules that let any order pass."""
    return SymbolRules(name=symbol, base_asset="BASE", quote_asset="QUOTE", tick_size=tick, step_size=Decimal("0.0001"))


def trusting(ca: str | None) -> ssl.SSLContext:
    """The machine's authorities, or the one in a file."""
    return ssl.create_default_context(cafile=ca) if ca else trust.client_context()


async def symbol_sent(url: str) -> str:
    """Which symbol a server's first payload is of."""
    async with open_line(url, [f"{SYMBOL.lower()}@bookTicker"]) as line:
        first = msgspec.json.decode((await line.receive(10))[0], type=_Line)
    symbol = first.data.s if first.data is not None else first.s
    if not symbol:
        raise LinkLost("the first payload names no symbol")
    return symbol


@asynccontextmanager
async def feeding(
    url: str, rules: SymbolRules, status: Status, journal: Journal, clock: Clock
) -> AsyncIterator[trio.MemoryReceiveChannel[Item]]:
    """The real feed task on a server's streams; what it hands to the strategy comes out of the channel."""
    out, inbound = trio.open_memory_channel[Item](BATCHES)
    access = Access()
    async with open_rest(NOWHERE, clock.now_ns) as rest, trio.open_nursery() as nursery:
        feed = Feed(
            url, rest, rules, PARAMS, out=out, clock=clock, status=status, journal=journal,
            rotation=Rotation(access, journal), off_grid=lambda: None, beat_s=NO_BEAT_S,
        )  # fmt: skip
        nursery.start_soon(feed.run)
        yield inbound
        nursery.cancel_scope.cancel()


def silent_journal() -> Journal:
    """Facts go nowhere."""
    return Journal([], WallClock().now_ns)
