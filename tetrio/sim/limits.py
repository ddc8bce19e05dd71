"""What a client may ask for in how much time: request weight, order counts, messages on a stream connection.

Windows are aligned to the service clock, as Binance's are: a minute begins at :00, ten seconds at :00, :10, ... Pure:
the time is an argument. Banning (418) is not here.
"""

from __future__ import annotations

import collections
from collections.abc import Sequence

import msgspec

from tetrio.wire.rules import RateLimit

MAKER_CREDIT = (
    5  # what the first fill of a maker order takes off the unfilled-order count (Binance names 5 as an example)
)
TAKER_CREDIT = 1


class Window:
    """The count within one aligned window of one limit."""

    def __init__(self, limit: RateLimit) -> None:
        self.limit = limit
        self._length_ms = limit.window_s * 1000
        self._number = -1
        self._count = 0

    def count(self, now_ms: int) -> int:
        """What has been used of the window that `now_ms` is in."""
        if now_ms // self._length_ms != self._number:
            self._number = now_ms // self._length_ms
            self._count = 0
        return self._count

    def add(self, amount: int, now_ms: int) -> int:
        """Count `amount` (a credit when negative; the count stays at 0 or above) and tell the new count."""
        self._count = max(0, self.count(now_ms) + amount)
        return self._count

    def full(self, now_ms: int) -> bool:
        """Whether nothing more fits."""
        return self.count(now_ms) >= self.limit.limit

    def rolls_ms(self, now_ms: int) -> int:
        """When the window that `now_ms` is in ends, epoch ms."""
        return (now_ms // self._length_ms + 1) * self._length_ms

    def row(self, now_ms: int) -> RateLimit:
        """The limit with its count, as replies tell it."""
        return msgspec.structs.replace(self.limit, count=self.count(now_ms))


class WeightMeter:
    """REQUEST_WEIGHT of every client address, WebSocket API and REST together."""

    def __init__(self, limits: Sequence[RateLimit]) -> None:
        self._limit = next(limit for limit in limits if limit.rate_limit_type == "REQUEST_WEIGHT")
        self._windows: dict[str, Window] = {}

    def window(self, address: str) -> Window:
        """The window of one address."""
        if address not in self._windows:
            self._windows[address] = Window(self._limit)
        return self._windows[address]


class OrderCounter:
    """The unfilled-order count of one account: every ORDERS interval."""

    def __init__(self, limits: Sequence[RateLimit]) -> None:
        self._windows = [Window(limit) for limit in limits if limit.rate_limit_type == "ORDERS"]

    def exceeded(self, now_ms: int) -> Window | None:
        """The first window that admits no further order."""
        return next((window for window in self._windows if window.full(now_ms)), None)

    def add(self, now_ms: int) -> None:
        """One order was sent."""
        for window in self._windows:
            window.add(1, now_ms)

    def first_fill(self, maker: bool, now_ms: int) -> None:
        """An order had its first fill: the count of the current windows goes down."""
        for window in self._windows:
            window.add(-(MAKER_CREDIT if maker else TAKER_CREDIT), now_ms)

    def rows(self, now_ms: int) -> list[RateLimit]:
        """The limits with their counts."""
        return [window.row(now_ms) for window in self._windows]


class MessageRate:
    """At most `limit` messages within any second."""

    def __init__(self, limit: int) -> None:
        self._times: collections.deque[float] = collections.deque(maxlen=limit)

    def admit(self, now_s: float) -> bool:
        """Whether one more message at `now_s` (s, any monotonic clock) is within the limit."""
        full = len(self._times) == self._times.maxlen and now_s - self._times[0] < 1.0
        self._times.append(now_s)
        return not full


class FrameCounter:
    """How many WebSocket frames a client has begun, from its bytes: control frames never come out of the library.

    It walks frame headers and judges nothing: what is no frame is the library's to refuse.
    """

    def __init__(self) -> None:
        self._header = bytearray()
        self._skip = 0

    def feed(self, data: bytes | bytearray) -> int:
        """Frames begun within `data`, continuations not counted."""
        begun, at = 0, 0
        while at < len(data):
            if self._skip:
                step = min(self._skip, len(data) - at)
                self._skip -= step
                at += step
                continue
            self._header.append(data[at])
            at += 1
            if len(self._header) == 1 and data[at - 1] & 0x0F:
                begun += 1
            length = _payload_length(self._header)
            if length is not None:
                self._skip = length
                self._header.clear()
        return begun


def _payload_length(header: bytearray) -> int | None:
    """Bytes that follow a frame's first `len(header)` ones (its mask among them); None while that cannot be told."""
    if len(header) < 2:
        return None
    short = header[1] & 0x7F
    extra = {126: 2, 127: 8}.get(short, 0)
    if len(header) < 2 + extra:
        return None
    length = int.from_bytes(header[2 : 2 + extra], "big") if extra else short
    return length + (4 if header[1] & 0x80 else 0)
