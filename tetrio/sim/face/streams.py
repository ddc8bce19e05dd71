"""Market streams: who is subscribed to what, and the payloads that they get.

`Hub` keeps the lines (one client connection each) by stream name, and gathers what goes to each until `flush`, so that
all of a market millisecond is one write. `Publisher` makes payloads of what happens: a recorded frame goes out as it
came, byte for byte, unless clients' trades have shifted the trade ids in it; what is not recorded is made here. A
stream that nobody wants costs nothing. No task, no waiting: plain calls.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence

import msgspec

from tetrio.core.market import Side
from tetrio.sim.engine.orders import TradePrint
from tetrio.sim.face.beats import Beats, DepthFeeds, Texts, json_depth
from tetrio.sim.face.sbe import SbePublisher, sbe_depth
from tetrio.sim.face.shapes import in_micros
from tetrio.sim.face.venue import RecentTrade, Venue
from tetrio.sim.market.depth import MadeBook
from tetrio.sim.market.events import AggTrade, Depth, MarketEvent, PublicTrade, Top
from tetrio.wire import stream
from tetrio.wire.control import Subscriptions, encode_control_error
from tetrio.wire.frames import text_frames

_IDS = {name: re.compile(rb'("%s"\s*:\s*)\d+' % name.encode()) for name in "tafl"}


class Line:
    """One client's stream connection."""

    binary = False
    """Its market data are SBE (`face.sbeline`): streams of the same names, and no others than those."""

    def __init__(self, push: Callable[[bytes], None], subscriptions: Subscriptions, *, micros: bool = False) -> None:
        """`push` sends whole frames; `micros`: times in microseconds."""
        self.push = push
        self.subscriptions = subscriptions
        self.micros = micros
        self.pending: list[bytes] = []

    def gather(self, name: str, payload: bytes) -> None:
        """Keep a payload of the stream `name` until `flush`."""
        self.pending.append(payload)

    def flush(self) -> None:
        """Send what was gathered, if anything."""
        if self.pending:
            self.push(text_frames(self.pending))
            self.pending.clear()


class _Audience:
    """Who wants one stream."""

    __slots__ = ("head", "lines")

    def __init__(self, name: str) -> None:
        self.lines: list[Line] = []
        self.head = stream.combined_head(name)


class Hub:
    """The lines, by the streams that they are subscribed to."""

    def __init__(self) -> None:
        self._lines: dict[str, _Audience] = {}
        self._binary: dict[str, _Audience] = {}
        self._dirty: list[Line] = []
        self.on_change: Callable[[], None] | None = None
        """Called when the set of wanted streams has changed."""

    @property
    def idle(self) -> bool:
        """Nobody wants anything."""
        return not self._lines and not self._binary

    @property
    def names(self) -> list[str]:
        """The streams that somebody wants."""
        return list(self._lines)

    @property
    def binary_names(self) -> list[str]:
        """The SBE streams that somebody wants."""
        return list(self._binary)

    def wanted(self, name: str) -> bool:
        """Whether anybody is subscribed."""
        return name in self._lines

    def wanted_binary(self, name: str) -> bool:
        """Whether anybody is subscribed to the SBE stream of this name."""
        return name in self._binary

    def join(self, line: Line) -> None:
        """A line has come, with its first subscriptions."""
        self._index(line, list(line.subscriptions.names), [])

    def leave(self, line: Line) -> None:
        """A line has gone."""
        self._index(line, [], list(line.subscriptions.names))
        line.pending.clear()

    def control(self, line: Line, message: str | bytes) -> str:
        """Apply a client's control message; the reply to send."""
        if isinstance(message, bytes):
            return encode_control_error(None, 3, "Invalid JSON: expected value at line 1 column 1")
        before = line.subscriptions.names.copy()
        reply = line.subscriptions.handle(message)
        after = line.subscriptions.names
        if before != after:
            added = [name for name in after if name not in before]
            self._index(line, added, [name for name in before if name not in after])
        return reply

    def publish(self, name: str, payload: bytes, whole: bytes = b"") -> None:
        """Gather a payload for everybody who wants `name`; `whole` is the same, combined, where that is known."""
        audience = self._lines.get(name)
        if audience is None:
            return
        micros = b""
        for line in audience.lines:
            if not line.pending:
                self._dirty.append(line)
            if line.micros:
                micros = micros or _to_micros(payload)
                line.pending.append(audience.head + micros + b"}" if line.subscriptions.combined else micros)
            elif line.subscriptions.combined:
                whole = whole or audience.head + payload + b"}"
                line.pending.append(whole)
            else:
                line.pending.append(payload)

    def publish_binary(self, name: str, message: bytes) -> None:
        """Gather an SBE message for everybody who wants the SBE stream `name`."""
        audience = self._binary.get(name)
        for line in audience.lines if audience is not None else ():
            if not line.pending:
                self._dirty.append(line)
            line.gather(name, message)

    def flush(self) -> None:
        """Send what was gathered."""
        for line in self._dirty:
            line.flush()
        self._dirty.clear()

    def _index(self, line: Line, added: Sequence[str], removed: Sequence[str]) -> None:
        lines = self._binary if line.binary else self._lines
        for name in added:
            if name not in lines:
                lines[name] = _Audience(name)
            lines[name].lines.append(line)
        for name in removed:
            lines[name].lines.remove(line)
            if not lines[name].lines:
                del lines[name]
        if self.on_change is not None:
            self.on_change()


def _to_micros(payload: bytes) -> bytes:
    body = msgspec.json.decode(payload)
    return msgspec.json.encode(in_micros(body)) if isinstance(body, list) or "e" in body else payload


class _Aggregate:
    """Trades of one taker at one price, still being gathered."""

    __slots__ = ("at_ms", "buyer_is_maker", "first_id", "last_id", "price", "qty")

    def __init__(self, trade_id: int, price: int, qty: int, at_ms: int, buyer_is_maker: bool) -> None:
        self.first_id = self.last_id = trade_id
        self.price, self.qty, self.at_ms, self.buyer_is_maker = price, qty, at_ms, buyer_is_maker

    def holds(self, price: int, at_ms: int, buyer_is_maker: bool) -> bool:
        """Whether such a trade belongs to it."""
        return self.price == price and self.at_ms == at_ms and self.buyer_is_maker is buyer_is_maker


class Publisher:
    """What happens on the market -> the public book, candles, and payloads on the hub."""

    def __init__(self, venue: Venue, hub: Hub) -> None:
        self._venue, self._hub = venue, hub
        self._sbe = SbePublisher(venue.rules, venue.clock, hub.wanted_binary, hub.publish_binary)
        self._symbol, self._rules, self._book = venue.symbol, venue.rules, venue.book
        self._book_ticker, self._trade, self._agg_trade, self._block_trade = (
            stream.stream_name(venue.symbol, channel) for channel in ("bookTicker", "trade", "aggTrade", "blockTrade")
        )
        self._prices, self._qtys = Texts(venue.rules.price_text), Texts(venue.rules.qty_text)
        self._records_agg = self._agg_trade in venue.market.streams
        self._last_agg_id = 0
        self._agg_shift = 0
        self._gathering: _Aggregate | None = None
        self.beats = Beats(venue, hub.publish)
        self.depths = DepthFeeds(venue, json_depth(venue), hub.publish)
        self.sbe_depths = DepthFeeds(venue, sbe_depth(venue.rules), hub.publish_binary)
        self.on_due: Callable[[], None] | None = None
        """Called when clients' orders have changed something that is to be told at a certain time."""
        self.floor_ms = 0
        """Candles before this are told already: a trade that comes later counts from here."""
        venue.on_prints = self.prints
        venue.on_block = self.block

    def rewant(self) -> None:
        """The set of wanted streams has changed."""
        names = self._hub.names
        self.beats.rewant(names)
        self.depths.rewant(names)
        self.sbe_depths.rewant(self._hub.binary_names)

    @property
    def depth_due_ms(self) -> int | None:
        """When depth is to be told next, market time; None while none is."""
        ours, theirs = self.depths.due_ms, self.sbe_depths.due_ms
        return theirs if ours is None else ours if theirs is None else min(ours, theirs)

    def flush(self) -> None:
        """All of a moment has happened: send it."""
        self._close_aggregate()
        for depths in (self.depths, self.sbe_depths):
            depths.changed(self._venue.clock.latest_ms)
        self._hub.flush()

    # -- what the tape says -----------------------------------------------------------------------------------------
    def event(self, event: MarketEvent, trade_id: int) -> None:
        """One event of the market; `trade_id` is what the engine publishes a trade with."""
        if isinstance(event, Top):
            self._venue.candles.on_bid(event.bid)
            self._book.on_top(event)
            if isinstance(self._book, MadeBook):
                self._settle(self._book)
                self._tell_quote(self._book)
            else:
                self._hub.publish(event.stream, event.raw, event.combined)
                self._sbe.best((event.bid, event.bid_qty, event.ask, event.ask_qty), event.update_id)
        elif isinstance(event, PublicTrade):
            self._public_trade(event, trade_id)
            self._sbe.traded(event, trade_id)
        elif isinstance(event, AggTrade):
            self._recorded_agg(event, trade_id)
        elif isinstance(event, Depth):
            self._book.on_depth(event)
            if event.raw:
                self._hub.publish(event.stream, event.raw, event.combined)

    def _settle(self, book: MadeBook) -> None:
        """Put clients' orders as they are now into a generated market's book."""
        engine, symbol = self._venue.engine, self._symbol
        book.settle(
            (engine.resting_levels(symbol, Side.BUY), engine.resting_levels(symbol, Side.SELL)),
            (engine.taken_levels(symbol, Side.BUY), engine.taken_levels(symbol, Side.SELL)),
        )

    def _tell_quote(self, book: MadeBook) -> None:
        self._sbe.best(book.quote, book.last_id)
        if not self._hub.wanted(self._book_ticker):
            return
        bid, bid_qty, ask, ask_qty = book.quote
        prices, qtys = self._prices, self._qtys
        self._hub.publish(
            self._book_ticker,
            stream.book_ticker(self._symbol, book.last_id, prices[bid], qtys[bid_qty], prices[ask], qtys[ask_qty]),
        )

    def _public_trade(self, trade: PublicTrade, trade_id: int) -> None:
        name = trade.stream or self._trade
        if trade.raw and self._hub.wanted(name):
            raw, whole = trade.raw, trade.combined
            if trade_id != trade.trade_id:
                raw, whole = _renumbered(raw, t=trade_id), b""
            self._hub.publish(name, raw, whole)
        self._traded(trade_id, trade.price, trade.qty, trade.at_ms, trade.buyer_is_maker, sent=bool(trade.raw))
        if not self._records_agg:
            self._aggregate(trade_id, trade.price, trade.qty, trade.at_ms, trade.buyer_is_maker)

    def _recorded_agg(self, trade: AggTrade, last_id: int) -> None:
        shift = last_id - trade.last_id
        self._last_agg_id = trade.agg_id + self._agg_shift
        if self._hub.wanted(trade.stream):
            raw, whole = trade.raw, trade.combined
            if shift or self._agg_shift:
                raw = _renumbered(raw, a=self._last_agg_id, f=trade.first_id + shift, l=last_id)
                whole = b""
            self._hub.publish(trade.stream, raw, whole)
        self._remember_agg(trade.price, trade.qty, trade.first_id + shift, last_id, trade.at_ms, trade.buyer_is_maker)
        if trade.drives:
            self._traded(last_id, trade.price, trade.qty, trade.at_ms, trade.buyer_is_maker)
            self._sbe.traded(trade, last_id)

    # -- what clients do --------------------------------------------------------------------------------------------
    def prints(self, prints: Sequence[TradePrint]) -> None:
        """Clients' orders have changed something: their trades, if any, as the public sees them, and the book."""
        self._close_aggregate()
        at_ms = self._venue.clock.now_ms()
        for print_ in prints:
            self._traded(print_.trade_id, print_.price, print_.qty, at_ms, print_.buyer_is_maker)
            self._aggregate(print_.trade_id, print_.price, print_.qty, at_ms, print_.buyer_is_maker)
        self._sbe.prints(prints)
        if isinstance(self._book, MadeBook):
            before = self._book.quote
            self._settle(self._book)
            if self._book.quote != before:
                self._tell_quote(self._book)
        self.flush()
        if self.depth_due_ms is not None and self.on_due is not None:
            self.on_due()

    def block(self, trade: RecentTrade) -> None:
        """A block trade: told of, and of no influence on prices."""
        if self._hub.wanted(self._block_trade):
            texts = self._prices[trade.price], self._qtys[trade.qty]
            event_ms = self._venue.clock.now_ms()
            payload = stream.block_trade(
                self._symbol, trade.trade_id, *texts, trade.at_ms, trade.buyer_is_maker, event_ms
            )
            self._hub.publish(self._block_trade, payload)
        self._hub.flush()

    # -- trades -----------------------------------------------------------------------------------------------------
    def _traded(
        self, trade_id: int, price: int, qty: int, at_ms: int, buyer_is_maker: bool, *, sent: bool = False
    ) -> None:
        """A trade took place; `sent`: the `trade` stream has it already."""
        venue = self._venue
        venue.clock.see(at_ms)
        venue.candles.on_trade(price, qty, trade_id, max(at_ms, self.floor_ms), buyer_is_maker)
        venue.recent.append(RecentTrade(trade_id, price, qty, at_ms, buyer_is_maker))
        if not sent and self._hub.wanted(self._trade):
            payload = stream.trade(self._symbol, trade_id, self._prices[price], self._qtys[qty], at_ms, buyer_is_maker)
            self._hub.publish(self._trade, payload)

    def _aggregate(self, trade_id: int, price: int, qty: int, at_ms: int, buyer_is_maker: bool) -> None:
        """A trade that no recorded aggregate holds."""
        gathering = self._gathering
        if gathering is not None and gathering.holds(price, at_ms, buyer_is_maker):
            gathering.qty += qty
            gathering.last_id = trade_id
        else:
            self._close_aggregate()
            self._gathering = _Aggregate(trade_id, price, qty, at_ms, buyer_is_maker)

    def _close_aggregate(self) -> None:
        """Tell of the one that was being gathered."""
        made, self._gathering = self._gathering, None
        if made is None:
            return
        self._agg_shift += 1
        self._last_agg_id = self._last_agg_id + 1 if self._last_agg_id or self._records_agg else made.first_id
        self._remember_agg(made.price, made.qty, made.first_id, made.last_id, made.at_ms, made.buyer_is_maker)
        if self._hub.wanted(self._agg_trade):
            texts = self._prices[made.price], self._qtys[made.qty]
            ids = made.first_id, made.last_id
            payload = stream.agg_trade(self._symbol, self._last_agg_id, *texts, *ids, made.at_ms, made.buyer_is_maker)
            self._hub.publish(self._agg_trade, payload)

    def _remember_agg(
        self, price: int, qty: int, first_id: int, last_id: int, at_ms: int, buyer_is_maker: bool
    ) -> None:
        self._venue.aggregates.append(AggTrade(price, qty, self._last_agg_id, first_id, last_id, at_ms, buyer_is_maker))

    # -- what beats -------------------------------------------------------------------------------------------------
    def beat(self, boundary_ms: int, period_ms: int, event_ms: int) -> None:
        """What is told once a second, as `Beats.tell` says."""
        self.floor_ms = boundary_ms
        self.beats.tell(boundary_ms, period_ms, event_ms)
        self._hub.flush()

    def tell_depth(self, at_ms: int) -> None:
        """Depth that is due at `at_ms`."""
        for depths in (self.depths, self.sbe_depths):
            depths.tell(at_ms)
        self._hub.flush()

    def catch_up(self, intervals: Collection[str], since_ms: int, now_ms: int) -> None:
        """Klines that were over while there was no market, as `Beats.catch_up` says."""
        self.beats.catch_up(intervals, since_ms, now_ms)
        self._hub.flush()


def _renumbered(payload: bytes, **ids: int) -> bytes:
    """A recorded payload with other ids, everything else as it came."""
    for name, value in ids.items():
        payload = _IDS[name].sub(rb"\g<1>%d" % value, payload, count=1)
    return payload
