"""The rows about the exchange: ends, clock, permissions, symbol, logon, account. Everything is asked, nothing is sent.

REST first, then the WebSocket API, as a start does it and by the same code. A row that fails leaves those that need it
out and lets the others go on; each has `ROW_S`, so that the whole is bounded whatever the other side does.
"""

from __future__ import annotations

import datetime
import functools
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal

import trio

from tetrio.config import Config
from tetrio.core.money import SymbolRules, decimal, plain
from tetrio.doctor.machine import Held
from tetrio.doctor.rows import BROKEN, CONFIGURATION, UNSAFE, Row, fail, ok, skip, warn
from tetrio.errors import ConfigError, OrderRejected, TetrioError, UnsafeError, WireError
from tetrio.live.link import Link, open_link, refused
from tetrio.live.rest import RECV_WINDOW_MS, Rest, open_rest
from tetrio.live.rights import objections
from tetrio.net.clock import machine_s
from tetrio.net.closing import hang_up
from tetrio.net.dial import Address, dial, reason
from tetrio.venue import SymbolParams, is_loopback
from tetrio.wire.codes import is_timestamp
from tetrio.wire.request import AccountStatus, BookTop, RateLimit, SymbolCommission, raise_for, result_of, signed

ROW_S = 10.0
SOON_S = 7 * 86400  # a certificate that ends earlier is told
NEARLY = 0.8  # of a limit
ENDS = (("REST host", "rest"), ("API host", "ws_api"), ("stream host", "stream"))
REST_ROWS = ("clock", "permissions", "symbol", "order kinds")
LINK_ROWS = ("logon", "account", "holdings", "order limits", "commission")
ROWS = (*(name for name, _ in ENDS), *REST_ROWS, *LINK_ROWS)
LOOK = "see the exchange's status page, and this machine's network"
_UNITS = {"SECOND": "s", "MINUTE": "min", "HOUR": "h", "DAY": "d"}
Look = Callable[[], Awaitable[Row]]


class Visit:
    """One look at one exchange; `run` tells each row when it is known."""

    def __init__(self, config: Config, held: Held, now_ns: Callable[[], int], tell: Callable[[Row], None]) -> None:
        self._config, self._held, self._now_ns, self._tell = config, held, now_ns, tell
        self._urls, self._symbol = config.urls, config.symbol.name
        self._passed: set[str] = set()
        """Rows that did not fail."""
        self._told: set[str] = set()
        self._offset_ms = 0.0
        self._rules: SymbolRules | None = None
        self._account: AccountStatus | None = None

    async def run(self) -> None:
        """All rows, in order."""
        await self._reach()
        async with open_rest(self._urls.rest, self._now_ns) as rest:
            await self._row("clock", lambda: self._clock(rest), "REST host")
            await self._row("permissions", lambda: self._permissions(rest), "REST host", "clock", keyed=True)
            await self._row("symbol", lambda: self._symbol_row(rest), "REST host")
        await self._row("order kinds", self._order_kinds, "symbol")
        await self._by_link()

    async def run_public(self) -> None:
        """The rows about the market alone, for an account that is simulated; the others are left out."""
        own = f"the account of the venue {self._config.venue.name} is simulated"
        await self._reach(("rest", "stream"))
        async with open_rest(self._urls.rest, self._now_ns) as rest:
            await self._row("clock", lambda: self._clock(rest), "REST host")
            await self._row("symbol", lambda: self._symbol_row(rest), "REST host")
        for name in ROWS:
            if name not in self._told:
                self._say(skip(name, own))

    def _exchange_ms(self) -> int:
        return int(self._now_ns() / 1e6 + self._offset_ms)

    # -- telling --------------------------------------------------------------------------------------------------
    def _say(self, row: Row) -> None:
        self._told.add(row.name)
        if row.state in ("ok", "warn"):
            self._passed.add(row.name)
        self._tell(row)

    async def _row(self, name: str, look: Look, *needs: str, keyed: bool = False) -> None:
        """Tell one row, unless what it needs has failed."""
        lacking = [need for need in needs if need not in self._passed]
        if lacking:
            self._say(skip(name, f"needs {lacking[0]}"))
        elif keyed and (self._held.api_key is None or self._held.signer is None):
            self._say(skip(name, "needs both key files"))
        else:
            self._say(await bounded(name, look))

    # -- ends -----------------------------------------------------------------------------------------------------
    async def _reach(self, which: Sequence[str] = ("rest", "ws_api", "stream")) -> None:
        """Each end at the same time, told in order."""
        found: dict[str, Row] = {}
        ends = [(name, url) for name, url in ENDS if url in which]

        async def look(name: str, url: str) -> None:
            found[name] = await bounded(name, lambda: end(name, url, self._now_ns()))

        async with trio.open_nursery() as nursery:
            for name, url in ends:
                nursery.start_soon(look, name, getattr(self._urls, url))
        for name, _ in ends:
            self._say(found[name])

    # -- REST -----------------------------------------------------------------------------------------------------
    async def _clock(self, rest: Rest) -> Row:
        offset, error = await rest.clock_offset_ms()
        most = self._config.risk.max_clock_offset_ms
        text = f"{offset:+.1f} ms to the exchange's, give or take {error:.1f} ms (at most {most} ms)"
        if abs(offset) > most + error:
            return fail("clock", text, "set it right: `timedatectl set-ntp true`", UNSAFE)
        self._offset_ms = offset
        return ok("clock", text)

    async def _permissions(self, rest: Rest) -> Row:
        api_key, signer = self._held.api_key, self._held.signer
        assert api_key is not None, "rows that need keys are skipped without"
        assert signer is not None, "the same"
        against = objections(await rest.rights(api_key.reveal(), signer))
        if against.refusal:
            return fail("permissions", against.refusal, code=UNSAFE)
        if against.warnings:
            return warn("permissions", "; ".join(against.warnings))
        return ok("permissions", "spot trading, from listed addresses; no withdrawal, no transfer")

    async def _symbol_row(self, rest: Rest) -> Row:
        rules, _ = await rest.symbol(self._symbol)
        self._rules = rules
        if rules.status != "TRADING":
            return fail("symbol", f"{rules.name} is {rules.status}", "wait until it trades again, or choose another")
        least = f"least order {rules.min_notional.normalize():f} {rules.quote_asset}"
        most = self._config.symbol.max_notional
        if 0 < most < rules.min_notional:
            remedy = f"raise [symbol] max_notional, now {most:f}"
            return fail("symbol", f"{rules.name}: {least}", remedy, CONFIGURATION)
        tick, lot = plain(1, rules.tick_size), plain(1, rules.step_size)
        return ok("symbol", f"{rules.name} trades: tick {tick}, lot {lot}, {least}")

    async def _order_kinds(self) -> Row:
        rules = self._rules
        assert rules is not None, "the row symbol has passed"
        lacking = [] if "LIMIT_MAKER" in rules.order_types else ["post-only orders (LIMIT_MAKER)"]
        lacking += [] if rules.cancel_replace_allowed else ["cancel-replace"]
        if lacking:
            return fail("order kinds", f"no {' and no '.join(lacking)}", "choose another symbol", CONFIGURATION)
        also = f"amend {_yes(rules.amend_allowed)}, peg {_yes(rules.peg_allowed)}"
        return ok("order kinds", f"LIMIT_MAKER and cancel-replace are allowed; {also}")

    # -- the WebSocket API ------------------------------------------------------------------------------------------
    async def _by_link(self) -> None:
        """The rows over one link; what it takes with it when it breaks is told too."""
        why = ""
        if "API host" in self._passed and self._held.api_key is not None and self._held.signer is not None:
            try:
                async with open_link(self._urls.ws_api, self._exchange_ms, name="API") as link:
                    await self._link_rows(link)
            except* TetrioError as group:
                why = str(leaf(group))
        else:
            lacking = "API host" if "API host" not in self._passed else "both key files"
            self._say(skip("logon", f"needs {lacking}"))
        for name in LINK_ROWS:
            if name not in self._told:
                self._say(fail(name, why, LOOK) if why else skip(name, "needs logon"))
                why = ""

    async def _link_rows(self, link: Link) -> None:
        async def row(name: str, look: Callable[[Link], Awaitable[Row]], *needs: str) -> None:
            await self._row(name, functools.partial(look, link), *needs)

        await row("logon", self._logon)
        await row("account", self._account_row, "logon")
        await row("holdings", self._holdings, "account", "symbol")
        await row("order limits", _order_limits, "logon")
        await row("commission", self._commission, "logon", "symbol")

    async def _logon(self, link: Link) -> Row:
        api_key, signer = self._held.api_key, self._held.signer
        assert api_key is not None, "there is no link without"
        assert signer is not None, "the same"
        params = signed({}, signer, api_key.reveal(), self._exchange_ms(), RECV_WINDOW_MS)
        try:
            raise_for(await link.request("session.logon", params, timed=False))
        except UnsafeError as error:
            return fail("logon", str(refused(error)), code=UNSAFE)
        except OrderRejected as error:
            remedy = "set this machine's clock right: `timedatectl set-ntp true`" if is_timestamp(error) else LOOK
            return fail("logon", str(error), remedy, UNSAFE if is_timestamp(error) else BROKEN)
        return ok("logon", "the exchange knows key and signature")

    async def _account_row(self, link: Link) -> Row:
        self._account = result_of(await link.request("account.status"), AccountStatus)
        if not self._account.can_trade:
            return fail("account", "the account may not trade", "ask the exchange why, in its support pages", UNSAFE)
        return ok("account", f"may trade ({self._account.account_type.lower()})")

    async def _holdings(self, link: Link) -> Row:
        rules, account = self._rules, self._account
        assert rules is not None, "the row symbol has passed"
        assert account is not None, "the row account has passed"
        reply = await link.request("ticker.book", {"symbol": rules.name}, timed=False)
        return holdings(rules, account, result_of(reply, BookTop), self._config.symbol)

    async def _commission(self, link: Link) -> Row:
        reply = await link.request("account.commission", {"symbol": self._symbol})
        rates = result_of(reply, SymbolCommission)
        text = f"maker {rates.maker:.3%}, taker {rates.taker:.3%}"
        fee = self._config.strategy.fee
        if fee is not None and fee < rates.maker:
            remedy = 'set it to "auto", or the least gain will not pay for it'
            return warn("commission", f"{text}, but strategy.fee is {fee:.3%}", remedy)
        return ok("commission", text)


async def bounded(name: str, look: Look) -> Row:
    """What `look` finds, within ROW_S; an error of ours is a failure, with the exit code of its kind."""
    try:
        with trio.fail_after(machine_s(ROW_S)):
            return await look()
    except trio.TooSlowError:
        return fail(name, f"no answer within {ROW_S:g} s", LOOK)
    except UnsafeError as error:
        return fail(name, str(error), code=UNSAFE)
    except ConfigError as error:
        return fail(name, str(error), code=CONFIGURATION)
    except WireError as error:
        return fail(name, str(error), "this is not what Binance sends: check [venue]")
    except TetrioError as error:
        return fail(name, str(error), LOOK)


def leaf(error: BaseException) -> BaseException:
    """The first error in a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def end(name: str, url: str, now_ns: int) -> Row:
    """Whether an end resolves, takes connections, and shows a certificate that is good for a while."""
    address = Address.parse(url)
    try:
        found = await trio.socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError as error:
        why = f"{address.host} cannot be resolved: {reason(error)}"
        return fail(name, why, "check [venue], the network, and /etc/resolv.conf")
    began = trio.current_time()
    try:
        stream = await dial(address, ROW_S)
    except TetrioError as error:
        remedy = "check this machine's date, and its ca-certificates" if "TLS" in str(error) else LOOK
        return fail(name, str(error), remedy)
    took_ms = (trio.current_time() - began) * 1000
    until = _valid_until(stream)
    await hang_up(stream)
    many = {each[4][0] for each in found}
    text = f"{address}, {len(many)} address{'es' * (len(many) > 1)}, connected in {took_ms:.0f} ms"
    if until is None:
        where = "on this host" if is_loopback(address.host) else "to another host"
        return ok(name, f"{text}, plain, {where}")
    date = datetime.datetime.fromtimestamp(until, datetime.UTC)
    if until - now_ns / 1e9 < SOON_S:
        return warn(name, f"{text}, TLS, certificate until {date:%Y-%m-%d %H:%M} only", "it is the exchange's to renew")
    return ok(name, f"{text}, TLS, certificate until {date:%Y-%m-%d}")


def _valid_until(stream: trio.abc.Stream) -> float | None:
    """When the peer's certificate ends, s since 1970 UTC; None on a plain connection."""
    if not isinstance(stream, trio.SSLStream):
        return None
    certificate = stream.getpeercert()
    assert certificate, "a certificate that was verified is told"
    return float(ssl.cert_time_to_seconds(certificate["notAfter"]))


def holdings(rules: SymbolRules, account: AccountStatus, top: BookTop, symbol: SymbolParams) -> Row:
    """Whether what is held, without the reserves, is enough for an order."""
    try:
        base = _to_trade(account, rules.base_asset, symbol.reserve_base)
        quote = _to_trade(account, rules.quote_asset, symbol.reserve_quote)
        bid, ask = rules.price_ticks(top.bid_price), rules.price_ticks(top.ask_price)
    except ValueError as error:
        return fail("holdings", f"cannot be read: {error}", "this is not what Binance sends: check [venue]")
    text = f"{base.normalize():f} {rules.base_asset} and {quote.normalize():f} {rules.quote_asset} to trade"
    if not bid or not ask:
        return warn(
            "holdings", f"{text}; enough for an order? the book has an empty side", "look again when it has not"
        )
    sells = rules.sellable(rules.floor_lots(base), bid)
    buys = rules.sellable(rules.floor_tick_lots(quote) // ask, ask)
    if not (sells or buys):
        least = f"{rules.min_notional.normalize():f} {rules.quote_asset}"
        return warn("holdings", text, f"deposit: an order is of {least} or more")
    return ok("holdings", text)


def _to_trade(account: AccountStatus, asset: str, reserve: Decimal) -> Decimal:
    """Free and locked of an asset less what is not ours to trade; ValueError for what is no number."""
    held = sum((decimal(b.free) + decimal(b.locked) for b in account.balances if b.asset == asset), Decimal(0))
    return max(held - reserve, Decimal(0))


async def _order_limits(link: Link) -> Row:
    limits = result_of(await link.request("account.rateLimits.orders"), list[RateLimit])
    text = ", ".join(
        f"{each.used} of {each.limit} in {each.interval_num} {_UNITS.get(each.interval, each.interval)}"
        for each in limits
    )
    if any(each.used >= NEARLY * each.limit for each in limits):
        return warn("order limits", f"{text} used", "something else trades on this account, or re-quotes too often")
    return ok("order limits", f"{text} used" if limits else "none told")


def _yes(allowed: bool) -> str:
    return "yes" if allowed else "no"
