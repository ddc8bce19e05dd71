"""A recorded market: stream frames as they came off the wire, a line each.

Two forms: `local_ns {frame}` and `seconds: {frame}`, gzipped or not. A file is read twice: once when it is opened, to
the last line, so that nothing is traded on a file that cannot be read to its end (and to find tick and step, which
are the greatest common divisors of all prices and sizes); then again, line by line, as it is played.

- A line that is no time and JSON document, or a frame of a kind that is played whose members are missing or no numbers,
  is malformed: MarketError with file and line number.
- A JSON document that is no combined-stream frame (a REST snapshot, say) is counted and skipped; frames of other
  symbols and of other streams are only counted.
- A receive time before that of the line above is taken for the same moment (`clamped` counts them); lines are never
  reordered.
- A recording without the `trade` stream is driven by `aggTrade`, where it has that.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from tetrio.core.money import SymbolRules
from tetrio.errors import MarketError
from tetrio.sim.market.candles import Candle
from tetrio.sim.market.events import AggTrade, Batch, MarketEvent
from tetrio.sim.market.frames import DECODERS, MAKERS, decode_frame
from tetrio.sim.market.grid import Divisor, Memo, file_rules
from tetrio.sim.market.lines import lines_of

_decode_any = msgspec.json.Decoder().decode


class _Stream:
    """What a stream's name says."""

    __slots__ = ("decode", "kind", "name", "symbol")

    def __init__(self, name: str) -> None:
        symbol, _, rest = name.partition("@")
        self.name = name
        self.symbol = symbol.upper() if rest and not symbol.startswith("!") else ""
        self.kind = rest.removesuffix("@100ms").removesuffix("@1000ms")
        decoder = DECODERS.get(self.kind)
        self.decode = decoder.decode if decoder else None


class _Seen:
    """What the first reading found of one symbol."""

    def __init__(self) -> None:
        self.streams: set[str] = set()
        self.kinds: set[str] = set()
        self.prices = Divisor()
        self.sizes = Divisor()
        self.first_trade_id: int | None = None
        self.first_bid = ""

    def take(self, stream: _Stream, record: Any) -> None:
        """One frame of a kind that is played."""
        self.kinds.add(stream.kind)
        self.streams.add(stream.name)
        if stream.kind == "bookTicker":
            self.first_bid = self.first_bid or record.b
            self.prices.add(record.b)
            self.prices.add(record.a)
            self.sizes.add(record.B)
            self.sizes.add(record.A)
        elif stream.kind == "depth":
            for price, size in record.b + record.a:
                self.prices.add(price)
                self.sizes.add(size)
        else:
            self.prices.add(record.p)
            self.sizes.add(record.q)
            if self.first_trade_id is None or stream.kind == "trade":
                trade_id = record.t if stream.kind == "trade" else record.f
                self.first_trade_id = min(trade_id, self.first_trade_id or trade_id)


class Capture:
    """One symbol of a recorded file, as a market."""

    kind = "capture"

    def __init__(self, path: Path, symbol: str | None, assets: tuple[str, str] | None) -> None:
        """Reads the file once, to its end; MarketError as the module says."""
        self._path = path
        self._names: dict[str, _Stream] = {}
        self.frames = 0
        self.frames_total = 0
        self.skipped = 0
        self.clamped = 0
        self.first_ns = self.last_ns = 0
        seen = self._scan(symbol)
        self.symbol = self._pick(symbol, seen)
        found = seen[self.symbol]
        if "bookTicker" not in found.kinds:
            raise MarketError(
                f"{path} holds no best prices (bookTicker) of {self.symbol}, so there is nothing to quote"
            )
        self.streams = frozenset(found.streams)
        self.first_trade_id = found.first_trade_id or 1
        self._driven_by_agg = "trade" not in found.kinds
        self.rules: SymbolRules = file_rules(
            self.symbol, found.prices.step, found.sizes.step, found.prices.largest, assets
        )
        self.first_price_ticks = self.rules.price_ticks(found.first_bid)

    def history(self, interval: str, limit: int) -> list[Candle]:
        """Nothing is known from before the recording."""
        return []

    def batches(self) -> Iterator[Batch]:
        """The symbol's events, those of one millisecond together. Once; `frames` counts the lines as they go by."""
        price_of, size_of = Memo(self.rules.tick_size), Memo(self.rules.step_size)
        make = MAKERS
        agg_drives = self._driven_by_agg
        symbol, streams = self.symbol, self._names
        batch_ms, batch_ns, now_ns = -1, 0, 0
        events: list[MarketEvent] = []
        for number, line in enumerate(lines_of(self._path), 1):
            stamp, payload = self._split(line, number)
            now_ns = max(now_ns, stamp)
            if now_ns // 1_000_000 != batch_ms:
                if events:
                    yield Batch(batch_ns, events)
                    events = []
                batch_ms = now_ns // 1_000_000
            self.frames = number
            try:
                frame = decode_frame(payload)
            except msgspec.ValidationError:
                continue
            stream = streams[frame.stream]
            if stream.symbol != symbol or stream.decode is None:
                continue
            if not events:
                batch_ns = now_ns
            raw = bytes(frame.data)
            event = make[stream.kind](stream.decode(raw), price_of, size_of, stream.name, raw, payload)
            if agg_drives and isinstance(event, AggTrade):
                event = msgspec.structs.replace(event, drives=True)
            events.append(event)
        if events:
            yield Batch(batch_ns, events)

    def _scan(self, symbol: str | None) -> dict[str, _Seen]:
        """The first reading: every line, checked."""
        seen: dict[str, _Seen] = {}
        number = 0
        for number, line in enumerate(lines_of(self._path), 1):
            stamp, payload = self._split(line, number)
            if number == 1:
                self.first_ns = self.last_ns = stamp
            if stamp < self.last_ns:
                self.clamped += 1
            else:
                self.last_ns = stamp
            try:
                frame = decode_frame(payload)
            except msgspec.ValidationError:
                self._check_json(payload, number)
                self.skipped += 1
                continue
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                self._malformed(number, f"no JSON document ({error})")
            stream = self._names.get(frame.stream)
            if stream is None:
                stream = self._names[frame.stream] = _Stream(frame.stream)
            if not stream.symbol:
                continue
            found = seen.get(stream.symbol)
            if found is None:
                found = seen[stream.symbol] = _Seen()
            if stream.decode is None or (symbol is not None and stream.symbol != symbol):
                continue
            try:
                found.take(stream, stream.decode(frame.data))
            except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
                self._malformed(number, f"a {stream.kind} frame that cannot be read ({error})")
        if not number:
            raise MarketError(f"{self._path} is empty: no market to play")
        self.frames_total = number
        return seen

    def _pick(self, symbol: str | None, seen: dict[str, _Seen]) -> str:
        names = sorted(seen)
        if not names:
            raise MarketError(f"{self._path} holds no stream frame at all")
        if symbol is None:
            if len(names) > 1:
                raise MarketError(f"{self._path} holds {', '.join(names)}: say which (--symbol, or [symbol] name)")
            return names[0]
        if symbol not in seen:
            raise MarketError(f"{self._path} holds no frames of {symbol}; it holds {', '.join(names)}")
        return symbol

    def _split(self, line: bytes, number: int) -> tuple[int, bytes]:
        """(receive time in ns, the frame's bytes)."""
        stamp, _, payload = line.partition(b" ")
        payload = payload.strip()
        try:
            if stamp.endswith(b":"):
                whole, _, part = stamp[:-1].partition(b".")
                local_ns = int(whole) * 1_000_000_000 + (int(part[:9].ljust(9, b"0")) if part else 0)
            else:
                local_ns = int(stamp)
        except ValueError:
            self._malformed(number, "no receive time at its start")
        if not payload:
            self._malformed(number, "no frame after the receive time")
        return local_ns, payload

    def _check_json(self, payload: bytes, number: int) -> None:
        try:
            _decode_any(payload)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self._malformed(number, f"no JSON document ({error})")

    def _malformed(self, number: int, why: str) -> NoReturn:
        raise MarketError(f"{self._path}, line {number}: {why}") from None
