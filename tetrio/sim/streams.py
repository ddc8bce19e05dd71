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

from tetrio.sim.candles import INTERVALS, Candle
from tetrio.sim.events import AggTrade, Depth, MarketEvent, PublicTrade, Top
from tetrio.sim.orders import TradePrint
from tetrio.sim.queries import average_text
from tetrio.sim.shapes import in_micros
from tetrio.sim.venue import RecentTrade, Venue
from tetrio.wire import stream
from tetrio.wire.control import Subscriptions, encode_control_error
from tetrio.wire.frames import text_frames

TEXTS_KEPT = 4096
_IDS = {name: re.compile(rb'("%s"\s*:\s*)\d+' % name.encode()) for name in "tafl"}


class Line:
    """One client's stream connection."""

    def __init__(self, push: Callable[[bytes], None], subscriptions: Subscriptions, *, micros: bool = False) -> None:
        """`push` sends whole frames; `micros`: times in microseconds."""
        self.push = push
        self.subscriptions = subscriptions
        self.micros = micros
        self.pending: list[bytes] = []


class Hub:
    """The lines, by the streams that they are subscribed to."""

    def __init__(self) -> None:
        self._lines: dict[str, list[Line]] = {}
        self._dirty: list[Line] = []
        self.on_change: Callable[[], None] | None = None
        """Called when the set of wanted streams has changed."""

    @property
    def names(self) -> list[str]:
        """The streams that somebody wants."""
        return list(self._lines)

    def wanted(self, name: str) -> bool:
        """Whether anybody is subscribed."""
        return name in self._lines

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
        for line in self._lines.get(name, ()):
            if not line.pending:
                self._dirty.append(line)
            if line.micros:
                line.pending.append(_wrapped(line, name, _to_micros(payload), b""))
            else:
                line.pending.append(_wrapped(line, name, payload, whole))

    def flush(self) -> None:
        """Send what was gathered."""
        for line in self._dirty:
            if line.pending:
                line.push(text_frames(line.pending))
                line.pending.clear()
        self._dirty.clear()

    def _index(self, line: Line, added: Sequence[str], removed: Sequence[str]) -> None:
        for name in added:
            self._lines.setdefault(name, []).append(line)
        for name in removed:
            self._lines[name].remove(line)
            if not self._lines[name]:
                del self._lines[name]
        if self.on_change is not None:
            self.on_change()


def _wrapped(line: Line, name: str, payload: bytes, whole: bytes) -> bytes:
    if not line.subscriptions.combined:
        return payload
    return whole or stream.combined(name, payload)


def _to_micros(payload: bytes) -> bytes:
    body = msgspec.json.decode(payload)
    return msgspec.json.encode(in_micros(body)) if "e" in body else payload


class _Texts(dict[int, str]):
    """Units -> their text. A dict that fills itself: prices and amounts of candles repeat, in quiet times above all."""

    def __init__(self, text: Callable[[int], str]) -> None:
        super().__init__()
        self._text = text

    def __missing__(self, units: int) -> str:
        if len(self) >= TEXTS_KEPT:
            self.clear()
        text = self[units] = self._text(units)
        return text


class Publisher:
    """What happens on the market -> payloads on the hub, and candles."""

    def __init__(self, venue: Venue, hub: Hub) -> None:
        self._venue, self._hub = venue, hub
        self._symbol, self._rules = venue.symbol, venue.rules
        self._book_ticker, self._trade, self._agg_trade, self._average = (
            stream.stream_name(venue.symbol, channel) for channel in ("bookTicker", "trade", "aggTrade", "avgPrice")
        )
        self._klines = {stream.stream_name(venue.symbol, f"kline_{interval}"): interval for interval in INTERVALS}
        self._prices, self._qtys = _Texts(venue.rules.price_text), _Texts(venue.rules.qty_text)
        self._notionals = _Texts(venue.shapes.notional)
        self._records_agg = self._agg_trade in venue.market.streams
        self._last_agg_id = 0
        self._agg_shift = 0
        self._told_ms: dict[str, int] = {}
        self._began_ms = venue.market.first_ns // 1_000_000  # no candle is told that ended before the market began
        self.floor_ms = 0
        """Candles before this are told already: a trade that comes later counts from here."""
        venue.on_prints = self.prints

    @property
    def beats(self) -> bool:
        """Whether anybody wants a stream that beats by itself."""
        return any(name in self._klines or name == self._average for name in self._hub.names)

    # -- what the tape says -----------------------------------------------------------------------------------------
    def event(self, event: MarketEvent, trade_id: int) -> None:
        """One event of the market; `trade_id` is what the engine publishes a trade with."""
        if isinstance(event, Top):
            self._venue.candles.on_bid(event.bid)
            name = event.stream or self._book_ticker
            if self._hub.wanted(name):
                self._hub.publish(name, event.raw or self._top(event), event.combined)
        elif isinstance(event, PublicTrade):
            self._public_trade(event, trade_id)
        elif isinstance(event, AggTrade):
            self._recorded_agg(event, trade_id)
        elif isinstance(event, Depth):
            self._hub.publish(event.stream, event.raw, event.combined)

    def _top(self, top: Top) -> bytes:
        rules = self._rules
        return stream.book_ticker(
            self._symbol,
            top.update_id,
            rules.price_text(top.bid),
            rules.qty_text(top.bid_qty),
            rules.price_text(top.ask),
            rules.qty_text(top.ask_qty),
        )

    def _public_trade(self, trade: PublicTrade, trade_id: int) -> None:
        name = trade.stream or self._trade
        if self._hub.wanted(name) and trade.raw:
            raw, whole = trade.raw, trade.combined
            if trade_id != trade.trade_id:
                raw, whole = _renumbered(raw, t=trade_id), b""
            self._hub.publish(name, raw, whole)
        self._traded(trade_id, trade.price, trade.qty, trade.at_ms, trade.buyer_is_maker, sent=bool(trade.raw))

    def _recorded_agg(self, trade: AggTrade, last_id: int) -> None:
        shift = last_id - trade.last_id
        self._last_agg_id = trade.agg_id + self._agg_shift
        if self._hub.wanted(trade.stream):
            raw, whole = trade.raw, trade.combined
            if shift or self._agg_shift:
                raw = _renumbered(raw, a=self._last_agg_id, f=trade.first_id + shift, l=last_id)
                whole = b""
            self._hub.publish(trade.stream, raw, whole)
        if trade.drives:
            self._traded(last_id, trade.price, trade.qty, trade.at_ms, trade.buyer_is_maker)

    def prints(self, prints: Sequence[TradePrint]) -> None:
        """Clients' trades, as the public sees them."""
        for print_ in prints:
            at_ms = self._venue.clock.now_ms()
            self._traded(print_.trade_id, print_.price, print_.qty, at_ms, print_.buyer_is_maker)
            if self._records_agg:
                self._agg_shift += 1
                self._last_agg_id += 1
                self._send_agg(
                    self._last_agg_id, print_.trade_id, print_.price, print_.qty, at_ms, print_.buyer_is_maker
                )
        self._hub.flush()

    def _traded(
        self, trade_id: int, price: int, qty: int, at_ms: int, buyer_is_maker: bool, *, sent: bool = False
    ) -> None:
        """A trade took place; `sent`: the `trade` stream has it already."""
        venue, rules = self._venue, self._rules
        venue.clock.see(at_ms)
        venue.candles.on_trade(price, qty, trade_id, max(at_ms, self.floor_ms), buyer_is_maker)
        venue.recent.append(
            RecentTrade(trade_id=trade_id, price=price, qty=qty, at_ms=at_ms, buyer_is_maker=buyer_is_maker)
        )
        if not sent and self._hub.wanted(self._trade):
            payload = stream.trade(
                self._symbol, trade_id, rules.price_text(price), rules.qty_text(qty), at_ms, buyer_is_maker
            )
            self._hub.publish(self._trade, payload)
        if not self._records_agg:
            self._send_agg(trade_id, trade_id, price, qty, at_ms, buyer_is_maker)

    def _send_agg(self, agg_id: int, trade_id: int, price: int, qty: int, at_ms: int, buyer_is_maker: bool) -> None:
        if not self._hub.wanted(self._agg_trade):
            return
        texts = self._rules.price_text(price), self._rules.qty_text(qty)
        self._hub.publish(
            self._agg_trade, stream.agg_trade(self._symbol, agg_id, *texts, trade_id, trade_id, at_ms, buyer_is_maker)
        )

    # -- what beats -------------------------------------------------------------------------------------------------
    def beat(self, boundary_ms: int, period_ms: int, event_ms: int) -> None:
        """Candles and average price at `boundary_ms`, which `event_ms` (E) is at or a little after.

        kline_1s and avgPrice every `period_ms`, the other klines every second time; each candle once more at its end.
        """
        self.floor_ms = boundary_ms
        told: dict[str, int] = {}
        for name in self._hub.names:
            interval = self._klines.get(name)
            if interval is None:
                continue
            every_ms = period_ms if interval == "1s" else 2 * period_ms
            since_ms = self._told_ms.get(interval, max(boundary_ms - every_ms, self._began_ms))
            if boundary_ms % every_ms:
                told[interval] = since_ms
            else:
                self._tell_candles(name, interval, since_ms, boundary_ms, event_ms)
                told[interval] = boundary_ms
        self._told_ms = told
        self._tell_average(event_ms)
        self._hub.flush()

    def catch_up(self, intervals: Collection[str], since_ms: int, now_ms: int) -> None:
        """Klines that were over from `since_ms` to `now_ms`, once more, dated by their own end."""
        for name in self._hub.names:
            interval = self._klines.get(name, "")
            if interval in intervals:
                for candle in self._venue.candles.closed_since(interval, since_ms, now_ms):
                    self._hub.publish(name, self._kline(interval, candle, candle.close_ms + 1, closed=True))
        self._hub.flush()

    def _tell_candles(self, name: str, interval: str, since_ms: int, boundary_ms: int, event_ms: int) -> None:
        closed = self._venue.candles.closed_since(interval, since_ms, boundary_ms)
        for candle in closed:
            self._hub.publish(name, self._kline(interval, candle, event_ms, closed=True))
        if closed and closed[-1].close_ms == boundary_ms - 1:
            return  # the next candle has only just begun
        forming = self._venue.candles.forming(interval, boundary_ms)
        if forming is not None:
            self._hub.publish(name, self._kline(interval, forming, event_ms, closed=False))

    def _tell_average(self, event_ms: int) -> None:
        if not self._hub.wanted(self._average):
            return
        venue = self._venue
        last = venue.engine.last_trade(self._symbol)
        if last is not None:
            self._hub.publish(self._average, stream.avg_price(self._symbol, event_ms, average_text(venue), last[1]))

    def _kline(self, interval: str, candle: Candle, event_ms: int, *, closed: bool) -> bytes:
        prices, qtys, notionals = self._prices, self._qtys, self._notionals
        return stream.kline(
            self._symbol,
            interval,
            event_ms,
            open_ms=candle.open_ms,
            close_ms=candle.close_ms,
            open=prices[candle.open],
            high=prices[candle.high],
            low=prices[candle.low],
            close=prices[candle.close],
            volume=qtys[candle.volume],
            quote_volume=notionals[candle.quote_volume],
            trades=candle.trades,
            first_id=candle.first_id,
            last_id=candle.last_id,
            taker_base=qtys[candle.taker_volume],
            taker_quote=notionals[candle.taker_quote],
            closed=closed,
        )


def _renumbered(payload: bytes, **ids: int) -> bytes:
    """A recorded payload with other ids, everything else as it came."""
    for name, value in ids.items():
        payload = _IDS[name].sub(rb"\g<1>%d" % value, payload, count=1)
    return payload
