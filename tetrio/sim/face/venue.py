"""What the three faces share: engine, account, candles, clocks, limits, the referee's record, and who hears of what.

Everything here is plain calls in the order in which things happen; no task, no socket, no waiting. Every change of the
engine goes through `change`, which writes the record and counts orders at once; what clients are told follows with
`tell`, after the reply to whoever caused it.
"""

from __future__ import annotations

import collections
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import TextIO, cast

import msgspec

from tetrio.core.money import decimal
from tetrio.errors import ConfigError
from tetrio.sim.audit import Audit
from tetrio.sim.engine.clearing import Discount, Rate, Rates
from tetrio.sim.engine.engine import Engine
from tetrio.sim.engine.orders import Execution, Rejected, Report, TradePrint, UserEvent
from tetrio.sim.face.auth import HmacSecret, KeyRights, Keys
from tetrio.sim.face.limits import PRODUCTION, Addresses, BanRules, OrderCounter, limit_of
from tetrio.sim.face.reports import Reports, Told
from tetrio.sim.face.shapes import Shapes
from tetrio.sim.fault.replica import QUERIES, Replica
from tetrio.sim.market.aggregates import Aggregates
from tetrio.sim.market.candles import Candles
from tetrio.sim.market.depth import MadeBook, PublicBook, Quote
from tetrio.sim.market.reference import ReferencePrice
from tetrio.sim.market.tape import Market
from tetrio.sim.market.tickers import Day, last_day
from tetrio.sim.retention import FULL, Retention
from tetrio.wire.rules import Filters, RateLimit
from tetrio.wire.sign import Verifier

ACCOUNT = "main"
UID = 100000001
HISTORY = 1500  # 1m candles from before the market that klines can tell
TRADES_KEPT = 10_000
"""Public trades and block trades that can be asked for, of each the newest."""
GENERATED = ("synthetic", "klines")
"""Kinds of markets whose book is made here, with clients' orders in it."""

_NO_DISCOUNT, _USUAL = Discount(), Filters()
Listener = Callable[[str, Sequence[Told]], None]
"""Hears (account, events)."""


class RecentTrade(msgspec.Struct, frozen=True, gc=False):
    """A public trade, or a block trade, as queries tell it."""

    trade_id: int
    price: int
    """Ticks."""
    qty: int
    """Lots."""
    at_ms: int
    buyer_is_maker: bool


class MarketClock:
    """Market time: what the tape calls now. It never goes back."""

    def __init__(self, first_ns: int) -> None:
        self._read: Callable[[], int] = lambda: first_ns
        self._latest_ns = first_ns
        self._ahead_ms = 0

    def start(self, read: Callable[[], int]) -> None:
        """From now on `read` tells it."""
        self._read = read

    def now_ns(self) -> int:
        """Nanoseconds since 1970."""
        return self.reach(self._read())

    def reach(self, market_ns: int) -> int:
        """Be at `market_ns` or, if that is past, where it is already."""
        self._latest_ns = max(self._latest_ns, market_ns)
        return self._latest_ns

    def now_ms(self) -> int:
        """The matching engine's time of the recording, ms: trades and candles are dated by it.

        A recording is timed by whoever received it, whose clock may be behind the times that stand in the frames.
        """
        self.now_ns()
        return self.latest_ms

    @property
    def latest_ms(self) -> int:
        """The same as of the last event, without a look at the clock."""
        return self._latest_ns // 1_000_000 + self._ahead_ms

    @property
    def latest_us(self) -> int:
        """The same in us."""
        return self._latest_ns // 1000 + self._ahead_ms * 1000

    def see(self, at_ms: int) -> None:
        """A frame dated `at_ms` has come."""
        self._ahead_ms = max(self._ahead_ms, at_ms - self._latest_ns // 1_000_000)

    def until_ns(self, at_ms: int) -> int:
        """Market time at which `now_ms` will be `at_ms`."""
        return (at_ms - self._ahead_ms) * 1_000_000


class Venue:
    """One symbol, one account."""

    def __init__(
        self,
        market: Market,
        *,
        now_ns: Callable[[], int],
        keys: Mapping[str, Verifier | HmacSecret],
        funds: Mapping[str, str],
        fills: str = "queue",
        maker: Decimal = Decimal(0),
        taker: Decimal = Decimal(0),
        rights: Mapping[str, KeyRights] | None = None,
        limits: Sequence[RateLimit] = PRODUCTION,
        bans: BanRules | None = None,
        discount: Discount = _NO_DISCOUNT,
        filters: Filters = _USUAL,
        made_ids: Iterator[str] | None = None,
        audit: TextIO | None = None,
        retention: Retention = FULL,
    ) -> None:
        """Open for business; the funds are deposited. ConfigError when they cannot be.

        now_ns   the service clock
        rights   by API key; the default for a key that is not in it
        limits   kept and told; a kind that is not among them is as in production
        bans     when an address is shut out
        discount, filters, made_ids   as the engine takes them
        retention   how much of the past is remembered
        """
        self.market, self.rules, self.symbol = market, market.rules, market.symbol
        self._now_ns = now_ns
        self.offset_ns = 0
        """How far the service clock is ahead of what it should be."""
        self.replica: Replica | None = None
        """What answers queries about the account in the engine's place, while it lags."""
        self.limits = tuple(limit for limit in limits if limit.rate_limit_type != "RAW_REQUESTS")
        """As exchangeInfo tells them on the WebSocket API."""
        self.rest_limits = (
            *(limit for limit in self.limits if limit.rate_limit_type != "CONNECTIONS"),
            limit_of(limits, "RAW_REQUESTS"),
        )
        """And on REST."""
        self.keys = Keys(keys, rights)
        self.clock = MarketClock(market.first_ns)
        self.engine = Engine(
            [market.rules],
            filters={market.symbol: filters},
            fills=fills,
            rates=Rates(standard=Rate(maker=maker, taker=taker), discount=discount),
            first_trade_id=market.first_trade_id,
            made_ids=made_ids,
            retention=retention,
        )
        self.shapes = Shapes(market.rules, self.engine)
        self.reports = Reports(market.rules, self.shapes.texts)
        self.candles = Candles(market.history("1m", HISTORY), retention=retention)
        self.addresses = Addresses(limits, bans)
        self.orders = OrderCounter(self.limits)
        self.recent: collections.deque[RecentTrade] = collections.deque(maxlen=TRADES_KEPT)
        self.aggregates = Aggregates(retention.aggregates)
        self.blocks: collections.deque[RecentTrade] = collections.deque(maxlen=TRADES_KEPT)
        self.book = MadeBook() if market.kind in GENERATED else PublicBook(differences=_records_depth(market))
        self.reference: ReferencePrice | None = None
        """None: the symbol has none. Changed by `set_reference`."""
        self.updated_ms = self.now_ms()
        self.audit = Audit(audit, self.engine)
        self.on_prints: Callable[[Sequence[TradePrint]], None] | None = None
        """Told of clients' trades, which may be none, whenever the engine has changed; after the clients concerned."""
        self.on_block: Callable[[RecentTrade], None] | None = None
        """Told of block trades."""
        self.user_data = True
        """Whether this endpoint tells accounts of their events; a market-data one does not."""
        self.closed = False
        """Nothing new is accepted any more."""
        self.listed = True
        """Whether the symbol is known to who asks for it."""
        self._listeners: list[Listener] = []
        self._postponed: collections.deque[tuple[Sequence[UserEvent], Sequence[TradePrint]]] = collections.deque()
        self._connections = 0
        self.engine.open_account(ACCOUNT)
        for asset, amount in funds.items():
            self._fund(asset, amount)

    # -- time -------------------------------------------------------------------------------------------------------
    def now_ms(self) -> int:
        """Service time, ms."""
        return (self._now_ns() + self.offset_ns) // 1_000_000

    def now_us(self) -> int:
        """Service time, us."""
        return (self._now_ns() + self.offset_ns) // 1000

    # -- the past ---------------------------------------------------------------------------------------------------
    def fall_behind(self, lag_s: float, now_s: Callable[[], float]) -> None:
        """From now on queries about the account are answered as of `lag_s` ago, by the clock `now_s`."""
        self.replica = Replica(self.engine, ACCOUNT, self.symbol, lag_s, now_s, self.updated_ms)

    def catch_up(self) -> None:
        """No more."""
        self.replica = None

    def as_of(self, method: str) -> Venue:
        """The venue as this method of the WebSocket API knows it: itself, or with its replica for an engine."""
        if self.replica is None or method not in QUERIES:
            return self
        seen = copy.copy(self)
        seen.engine = cast(Engine, self.replica)
        seen.updated_ms = self.replica.updated_ms()
        return seen

    # -- who is here ------------------------------------------------------------------------------------------------
    def connected(self, face: str) -> int:
        """A connection opened; its number."""
        self._connections += 1
        self.audit.connect(self.clock.now_ns(), connection=self._connections, face=face)
        return self._connections

    def disconnected(self, connection: int, face: str, why: str) -> None:
        """A connection ended."""
        self.audit.disconnect(self.clock.now_ns(), connection=connection, face=face, why=why)

    def logged_on(self, connection: int) -> None:
        """A session authenticated."""
        self.audit.logon(ACCOUNT, self.clock.now_ns(), connection=connection)

    def listen(self, listener: Listener) -> None:
        """Let `listener` hear of every account's events."""
        self._listeners.append(listener)

    def unlisten(self, listener: Listener) -> None:
        """No more."""
        self._listeners.remove(listener)

    # -- what happens -----------------------------------------------------------------------------------------------
    def change(self, events: Sequence[UserEvent]) -> None:
        """The engine has changed: write it down, and count."""
        if not events:
            return
        self.audit.events(events)
        now_ms = self.updated_ms = self.now_ms()
        if self.replica is not None:
            self.replica.hear(events, now_ms)
        for event in events:
            if not isinstance(event, Report):
                continue
            if event.execution is Execution.TRADE:
                assert event.fill is not None, "a trade has a fill"
                if event.fill.qty == event.order.filled:
                    self.orders.first_fill(event.fill.maker, now_ms)

    def retire(self) -> None:
        """The exchange closes for good: no new orders, and those that rest expire and are told of."""
        self.closed = True
        self._expire_all()

    def delist(self) -> None:
        """The symbol is gone for good: what rests expires and is told of, and then nobody may ask for it."""
        self._expire_all()
        self.listed = False

    def _expire_all(self) -> None:
        events = self.engine.expire_all(self.now_ms(), self.clock.now_ns(), "EXCHANGE_CANCELED")
        self.change(events)
        self.tell(events)

    def refused(self, refusal: Rejected) -> None:
        """The engine has refused a new order."""
        self.audit.rejected(refusal)

    def tell(self, events: Sequence[UserEvent], prints: Sequence[TradePrint] = ()) -> None:
        """Tell clients, in order, and then the public."""
        self.settle()
        self._tell(events, prints)

    def postpone(self, events: Sequence[UserEvent], prints: Sequence[TradePrint] = ()) -> None:
        """Tell these with `settle`: after a reply whose sending takes time, and in any case before later ones."""
        if events or prints:
            self._postponed.append((events, prints))

    def settle(self) -> None:
        """Tell what was postponed."""
        while self._postponed:
            self._tell(*self._postponed.popleft())

    def _tell(self, events: Sequence[UserEvent], prints: Sequence[TradePrint]) -> None:
        if events:
            told = [self.reports.told(event) for event in events]
            for listener in tuple(self._listeners):
                listener(ACCOUNT, told)
        if (events or prints) and self.on_prints is not None:
            self.on_prints(prints)

    # -- the market -------------------------------------------------------------------------------------------------
    def quote(self) -> Quote:
        """Best prices as the public sees them."""
        if isinstance(self.book, MadeBook):
            return self.book.quote
        top = self.engine.top(self.symbol)
        return (top.bid, top.bid_qty, top.ask, top.ask_qty) if top else (0, 0, 0, 0)

    def last_day(self, now_ms: int) -> Day:
        """Statistics of the 24 hours before `now_ms`, market time."""
        last_qty = self.recent[-1].qty if self.recent else 0
        return last_day(self.candles, self.rules, now_ms, last_qty=last_qty, quote=self.quote())

    def set_reference(self, reference: ReferencePrice | None) -> None:
        """Another reference price, for whoever asks and for the engine."""
        self.reference = reference
        ticks = reference.price_ticks if reference is not None else None
        self.engine.set_reference(self.symbol, None if ticks is None else ticks * self.rules.tick_size)

    def block_trade(self, price: int, qty: int, buyer_is_maker: bool) -> RecentTrade:
        """Somebody has agreed on a trade outside the book: ticks, lots; it moves no price and nobody's balance."""
        trade_id = self.blocks[-1].trade_id + 1 if self.blocks else 1
        trade = RecentTrade(trade_id, price, qty, self.clock.now_ms(), buyer_is_maker)
        self.blocks.append(trade)
        if self.on_block is not None:
            self.on_block(trade)
        return trade

    def _fund(self, asset: str, amount: str) -> None:
        try:
            units = self.engine.deposit(ACCOUNT, asset, decimal(amount))
        except ValueError as error:
            raise ConfigError(f"funds of {asset}: {error}") from None
        self.audit.deposit(ACCOUNT, asset, units, self.clock.now_ns())


def _records_depth(market: Market) -> bool:
    return any(name.partition("@")[2].partition("@")[0] == "depth" for name in market.streams)
