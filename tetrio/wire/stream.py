"""Market streams in JSON, both ways: payloads <-> Quote, Trade, Kline.

The decoder is the hottest text in the program (tens of thousands of bookTickers a second when a recording is played),
so the common payloads are told apart by their first bytes and read by typed decoders built once; whatever looks
different (other member order, blanks) takes a slower way to the same result. Not here: the order of updates, staleness,
which of two lines came first (the feed's), control messages (wire.control), SBE. A member that comes twice in a
payload counts as its last value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN

import msgspec
from msgspec import UNSET, UnsetType

from tetrio.core.market import Kline, Quote, Trade
from tetrio.core.money import SymbolRules
from tetrio.errors import WireError
from tetrio.wire.rules import Grid


class KlineUpdate(msgspec.Struct, frozen=True, gc=False):
    """One update of one candle; several intervals may share a line."""

    interval: str
    """As Binance writes it: "1s", "1m", ..."""
    kline: Kline
    """Prices in ticks."""
    event_ms: int
    """Exchange time of the update."""


class AvgPrice(msgspec.Struct, frozen=True, gc=False):
    """The 5-minute average price, once a second: a steady beat."""

    price: str
    """Quote units, off the grid as averages are."""
    event_ms: int


class Insane(msgspec.Struct, frozen=True, gc=False):
    """A top of book that nobody may act on: crossed, locked, zero or one-sided."""

    bid: int
    """Ticks, 0 where the side is empty."""
    ask: int
    update_id: int
    at_ns: int = 0


class ServerShutdown(msgspec.Struct, frozen=True, tag_field="e", tag="serverShutdown", rename={"event_ms": "E"}):
    """The server is about to restart: open another connection now."""

    event_ms: int


class ControlReply(msgspec.Struct, frozen=True):
    """Answer to SUBSCRIBE and its like; `code` is None on success."""

    id: int | str | None
    result: object = None
    code: int | None = None
    msg: str = ""


MarketRecord = Quote | Trade | KlineUpdate | AvgPrice | Insane | ServerShutdown | ControlReply


# --- the client's side ---


class _Book(msgspec.Struct, gc=False):
    u: int
    s: str
    b: str | None = None
    a: str | None = None


class _Trade(msgspec.Struct, gc=False):
    s: str
    t: int
    p: str
    q: str
    T: int
    m: bool


class _Candle(msgspec.Struct, gc=False):
    t: int
    i: str
    o: str
    h: str
    l: str  # noqa: E741
    c: str
    x: bool


class _Kline(msgspec.Struct):
    E: int
    s: str
    k: _Candle


class _AvgPrice(msgspec.Struct, gc=False):
    E: int
    s: str
    w: str


class _BookLine(msgspec.Struct, gc=False):
    data: _Book


class _TradeLine(msgspec.Struct):
    data: _Trade


class _KlineLine(msgspec.Struct):
    stream: str
    data: _Kline


class _ErrorBody(msgspec.Struct):
    code: int
    msg: str = ""


class _Any(msgspec.Struct):
    """Enough of any payload to tell what it is."""

    stream: str | None = None
    data: msgspec.Raw | UnsetType = UNSET
    e: str | None = None
    u: object = UNSET
    result: object = UNSET
    error: _ErrorBody | UnsetType = UNSET
    id: int | str | None = None
    code: int | None = None
    msg: str = ""


_BOOK = msgspec.json.Decoder(_Book)
_TRADE = msgspec.json.Decoder(_Trade)
_KLINE = msgspec.json.Decoder(_Kline)
_AVG_PRICE = msgspec.json.Decoder(_AvgPrice)
_SHUTDOWN = msgspec.json.Decoder(ServerShutdown)
_BOOK_LINE = msgspec.json.Decoder(_BookLine)
_BOOK_LINES = msgspec.json.Decoder(list[_BookLine])
_BOOKS = msgspec.json.Decoder(list[_Book])
_TRADE_LINE = msgspec.json.Decoder(_TradeLine)
_KLINE_LINE = msgspec.json.Decoder(_KlineLine)
_ANY = msgspec.json.Decoder(_Any)
_RAW_BOOK = b'{"u":'  # how a book begins without its stream's name
_OTHER_DAY = "@+08:00"  # how the names of streams end whose candles are of another day than ours
_UNREADABLE = (ValueError, RecursionError)  # msgspec's errors, bad UTF-8, off the grid; nesting


class MarketDecoder:
    """Payloads of one symbol's lines, combined or raw, to records. It keeps nothing but prices seen (for speed)."""

    def __init__(self, rules: SymbolRules, *, rounds: bool = False) -> None:
        """`rounds`: prices off the grid are not refused but rounded, a bid down, an ask up, others to the nearest."""
        self._symbol = rules.name
        down, up, nearest = (ROUND_FLOOR, ROUND_CEILING, ROUND_HALF_EVEN) if rounds else (None, None, None)
        self._bids, self._asks = Grid(rules.tick_size, down), Grid(rules.tick_size, up)
        self._prices, self._qtys = Grid(rules.tick_size, nearest), Grid(rules.step_size, up)
        line = b'{"stream":"' + rules.name.lower().encode()
        self._book_line = line + b'@bookTicker","data":{"'
        self._trade_line = line + b'@trade","data":{"'
        self._kline_line = line + b"@kline_"
        self._by_kind: dict[str, Callable[[bytes, int], MarketRecord | None]] = {
            "bookTicker": lambda raw, at_ns: self._quote(_BOOK.decode(raw), at_ns),
            "trade": lambda raw, _: self._trade(_TRADE.decode(raw)),
            "kline": lambda raw, _: self._kline(_KLINE.decode(raw)),
            "avgPrice": lambda raw, _: self._avg_price(_AVG_PRICE.decode(raw)),
            "serverShutdown": lambda raw, _: _SHUTDOWN.decode(raw),
        }

    @property
    def rounded(self) -> int:
        """How many prices and sizes were off the grid."""
        return self._bids.rounded + self._asks.rounded + self._prices.rounded + self._qtys.rounded

    def decode(self, payload: bytes, at_ns: int = 0) -> MarketRecord | None:
        """One payload; None for a kind or a symbol that is not ours to read. WireError on what cannot be read.

        at_ns   when it was received; stands in Quote.at_ns
        """
        try:
            if payload.startswith(self._book_line):
                return self._quote(_BOOK_LINE.decode(payload).data, at_ns)
            if payload.startswith(self._trade_line):
                return self._trade(_TRADE_LINE.decode(payload).data)
            if payload.startswith(self._kline_line):
                line = _KLINE_LINE.decode(payload)
                return None if line.stream.endswith(_OTHER_DAY) else self._kline(line.data)
            if payload.startswith(_RAW_BOOK):
                return self._quote(_BOOK.decode(payload), at_ns)
            return self._any(payload, at_ns)
        except _UNREADABLE as error:
            raise _unreadable(payload, error) from None

    def decode_all(
        self, payloads: Iterable[bytes], at_ns: int = 0, bad: list[WireError] | None = None
    ) -> list[MarketRecord]:
        """The same for a batch in one loop; what `decode` gives None for is left out.

        bad   collects the errors of payloads that cannot be read; without it the first one is raised
        """
        many = payloads if isinstance(payloads, list) else list(payloads)
        if len(many) > 1 and (quotes := self._all_books(many, at_ns)) is not None:
            return quotes
        return self._each(many, at_ns, bad)

    def _each(self, payloads: list[bytes], at_ns: int, bad: list[WireError] | None) -> list[MarketRecord]:
        """One by one."""
        out: list[MarketRecord] = []
        append, decode_book, bids, asks = out.append, _BOOK_LINE.decode, self._bids, self._asks
        book_line, symbol = self._book_line, self._symbol
        for payload in payloads:
            try:
                if payload.startswith(book_line):  # as _quote, without its call
                    book = decode_book(payload).data
                    if book.s == symbol:
                        bid, ask = bids[book.b or "0"], asks[book.a or "0"]
                        if 0 < bid < ask:
                            append(Quote(bid, ask, book.u, at_ns))
                            continue
                record = self.decode(payload, at_ns)
            except _UNREADABLE as error:
                refused = _unreadable(payload, error)
            except WireError as error:
                refused = error
            else:
                if record is not None:
                    append(record)
                continue
            if bad is None:
                raise refused
            bad.append(refused)
        return out

    def _all_books(self, payloads: list[bytes], at_ns: int) -> list[MarketRecord] | None:
        """Payloads that are sane books of ours and nothing else, read in one go; None where there is the least doubt.

        Joined, they are read as one array of so many objects. Without a bracket inside, a payload that is no whole
        object by itself has no whole array: after what it breaks off with there can be no comma and brace.
        """
        combined = payloads[0].startswith(self._book_line)
        head = self._book_line if combined else _RAW_BOOK
        for payload in payloads:
            if not payload.startswith(head):
                return None
        joined = b"[%b]" % b",".join(payloads)
        if joined.find(b"[", 1) >= 0:
            return None
        try:
            tops = [line.data for line in _BOOK_LINES.decode(joined)] if combined else _BOOKS.decode(joined)
            quotes = self._quotes(tops, at_ns)
        except _UNREADABLE:
            return None
        return quotes if len(quotes) == len(tops) == len(payloads) else None

    def _quotes(self, tops: list[_Book], at_ns: int) -> list[MarketRecord]:
        """Of the sane ones among them that are ours."""
        bids, asks, symbol = self._bids, self._asks, self._symbol
        return [
            Quote(bid, ask, top.u, at_ns)
            for top in tops
            if top.s == symbol and 0 < (bid := bids[top.b or "0"]) < (ask := asks[top.a or "0"])
        ]

    def _any(self, payload: bytes, at_ns: int) -> MarketRecord | None:
        """What did not begin as the common ones do: told apart by its members."""
        if payload.startswith(b"["):
            return None  # the `@arr` streams
        found = _ANY.decode(payload)
        if not isinstance(found.data, UnsetType):
            if found.stream is not None and found.stream.endswith(_OTHER_DAY):
                return None
            return self._any(bytes(found.data), at_ns)
        if found.e is not None:
            read = self._by_kind.get(found.e)
            return read(payload, at_ns) if read is not None else None
        if found.u is not UNSET:
            return self._quote(_BOOK.decode(payload), at_ns)
        return _control_reply(found)

    def _quote(self, book: _Book, at_ns: int) -> Quote | Insane | None:
        if book.s != self._symbol:
            return None
        bid, ask = self._bids[book.b or "0"], self._asks[book.a or "0"]
        if 0 < bid < ask:
            return Quote(bid, ask, book.u, at_ns)
        if bid < 0 or ask < 0:
            raise ValueError("a negative price")
        return Insane(bid, ask, book.u, at_ns)

    def _trade(self, trade: _Trade) -> Trade | None:
        if trade.s != self._symbol:
            return None
        price, qty = self._prices[trade.p], self._qtys[trade.q]
        if price <= 0 or qty <= 0:
            raise ValueError("a trade of nothing")
        return Trade(price, qty, trade.t, trade.T, trade.m)

    def _kline(self, update: _Kline) -> KlineUpdate | None:
        if update.s != self._symbol:
            return None
        k, prices = update.k, self._prices
        opened, high, low, close = prices[k.o], prices[k.h], prices[k.l], prices[k.c]
        if not 0 < low <= min(opened, close) <= max(opened, close) <= high:
            raise ValueError("a candle whose prices contradict each other")
        kline = Kline(k.t, float(opened), float(high), float(low), float(close), k.x)
        return KlineUpdate(k.i, kline, update.E)

    def _avg_price(self, update: _AvgPrice) -> AvgPrice | None:
        return AvgPrice(update.w, update.E) if update.s == self._symbol else None


def _control_reply(found: _Any) -> ControlReply | None:
    """Both error shapes: flat as documented, nested as seen. None for what is no reply at all."""
    if not isinstance(found.error, UnsetType):
        return ControlReply(found.id, None, found.error.code, found.error.msg)
    if found.code is not None:
        return ControlReply(found.id, None, found.code, found.msg)
    return ControlReply(found.id, found.result) if found.result is not UNSET else None


def _unreadable(payload: bytes, error: Exception) -> WireError:
    return WireError(f"a market payload that cannot be read ({error})", payload[:200].decode("utf-8", "replace"))


def stream_name(symbol: str, channel: str) -> str:
    """`ethfdusd@bookTicker` of ETHFDUSD and bookTicker."""
    return f"{symbol.lower()}@{channel}"


# --- the exchange's side: each gives the JSON payload, members in Binance's order; prices and amounts are texts ---

_json: Callable[[object], bytes] = msgspec.json.Encoder().encode


def book_ticker(symbol: str, update_id: int, bid: str, bid_qty: str, ask: str, ask_qty: str) -> bytes:
    """`<s>@bookTicker`: no event kind, no time."""
    return _json({"u": update_id, "s": symbol, "b": bid, "B": bid_qty, "a": ask, "A": ask_qty})


def trade(
    symbol: str, trade_id: int, price: str, qty: str, at_ms: int, buyer_is_maker: bool, event_ms: int | None = None
) -> bytes:
    """`<s>@trade`; the event time is the trade's unless told."""
    return _json(
        {
            "e": "trade",
            "E": at_ms if event_ms is None else event_ms,
            "s": symbol,
            "t": trade_id,
            "p": price,
            "q": qty,
            "T": at_ms,
            "m": buyer_is_maker,
            "M": True,
        }
    )


def agg_trade(
    symbol: str,
    agg_id: int,
    price: str,
    qty: str,
    first_id: int,
    last_id: int,
    at_ms: int,
    buyer_is_maker: bool,
    event_ms: int | None = None,
) -> bytes:
    """`<s>@aggTrade`: the trades `first_id` to `last_id` of one taker order at one price."""
    return _json(
        {
            "e": "aggTrade",
            "E": at_ms if event_ms is None else event_ms,
            "s": symbol,
            "a": agg_id,
            "p": price,
            "q": qty,
            "f": first_id,
            "l": last_id,
            "T": at_ms,
            "m": buyer_is_maker,
            "M": True,
        }
    )


def kline(
    symbol: str,
    interval: str,
    event_ms: int,
    *,
    open_ms: int,
    close_ms: int,
    open: str,  # noqa: A002
    high: str,
    low: str,
    close: str,
    volume: str,
    quote_volume: str,
    trades: int,
    first_id: int = -1,
    last_id: int = -1,
    taker_base: str = "0.00000000",
    taker_quote: str = "0.00000000",
    closed: bool = False,
) -> bytes:
    """`<s>@kline_<interval>`."""
    candle = {
        "t": open_ms,
        "T": close_ms,
        "s": symbol,
        "i": interval,
        "f": first_id,
        "L": last_id,
        "o": open,
        "c": close,
        "h": high,
        "l": low,
        "v": volume,
        "n": trades,
        "x": closed,
        "q": quote_volume,
        "V": taker_base,
        "Q": taker_quote,
        "B": "0",
    }
    return _json({"e": "kline", "E": event_ms, "s": symbol, "k": candle})


def avg_price(symbol: str, event_ms: int, price: str, last_trade_ms: int, interval: str = "5m") -> bytes:
    """`<s>@avgPrice`."""
    return _json({"e": "avgPrice", "E": event_ms, "s": symbol, "i": interval, "w": price, "T": last_trade_ms})


Levels = Sequence[tuple[str, str]]
"""(price, quantity)"""


def depth_update(symbol: str, event_ms: int, first_id: int, last_id: int, bids: Levels, asks: Levels) -> bytes:
    """`<s>@depth`: quantities absolute, 0 removes the level."""
    return _json({"e": "depthUpdate", "E": event_ms, "s": symbol, "U": first_id, "u": last_id, "b": bids, "a": asks})


def partial_depth(last_update_id: int, bids: Levels, asks: Levels) -> bytes:
    """`<s>@depth<n>`: no symbol, no time."""
    return _json({"lastUpdateId": last_update_id, "bids": bids, "asks": asks})


def mini_ticker(
    symbol: str,
    event_ms: int,
    *,
    close: str,
    open: str,  # noqa: A002
    high: str,
    low: str,
    volume: str,
    quote_volume: str,
) -> bytes:
    """`<s>@miniTicker`: the last 24 hours."""
    return _json(
        {
            "e": "24hrMiniTicker",
            "E": event_ms,
            "s": symbol,
            "c": close,
            "o": open,
            "h": high,
            "l": low,
            "v": volume,
            "q": quote_volume,
        }
    )


def ticker(kind: str, symbol: str, event_ms: int, day: Mapping[str, object]) -> bytes:
    """`<s>@ticker`, `<s>@ticker_<w>`: `kind` is 24hrTicker, 1hTicker, ...; `day` holds the other members in order."""
    return _json({"e": kind, "E": event_ms, "s": symbol, **day})


def block_trade(
    symbol: str, trade_id: int, price: str, qty: str, at_ms: int, buyer_is_maker: bool, event_ms: int
) -> bytes:
    """`<s>@blockTrade`."""
    return _json(
        {
            "e": "blockTrade",
            "E": event_ms,
            "s": symbol,
            "t": trade_id,
            "p": price,
            "q": qty,
            "T": at_ms,
            "m": buyer_is_maker,
        }
    )


def reference_price(symbol: str, price: str | None, at_ms: int) -> bytes:
    """`<s>@referencePrice`; None while there is none."""
    return _json({"e": "referencePrice", "s": symbol, "r": price, "t": at_ms})


def server_shutdown(event_ms: int) -> bytes:
    """The raw shape; on combined lines wrap it: `combined("!serverShutdown", …)`."""
    return _json(ServerShutdown(event_ms))


def array(payloads: Sequence[bytes]) -> bytes:
    """The payload of an `@arr` stream."""
    return b"[%b]" % b",".join(payloads)


def combined(name: str, payload: bytes) -> bytes:
    """`{"stream":…,"data":…}` around a payload."""
    return combined_head(name) + payload + b"}"


def combined_head(name: str) -> bytes:
    """What stands before the payload, where many of one stream are wrapped; behind it comes a brace."""
    return b'{"stream":%b,"data":' % _json(name)
