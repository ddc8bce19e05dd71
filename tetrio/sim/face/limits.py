"""What a client may ask for in how much time: weight, requests, connections and bans of an address; orders of the
account; messages on a stream connection.

Windows are aligned to the service clock, as Binance's are: a minute begins at :00, ten seconds at :00, :10, ... An
address over its weight gets 429; one that goes on gets 418 and is shut out, each time for twice as long. Pure: the time
is an argument.
"""

from __future__ import annotations

import collections
import re
from collections.abc import Callable, Sequence
from typing import Final

import attrs
import msgspec

from tetrio.sim.face.checks import Refused
from tetrio.wire.rules import PRODUCTION_LIMITS, RateLimit

MAKER_CREDIT = (
    5  # what the first fill of a maker order takes off the unfilled-order count (Binance names 5 as an example)
)
TAKER_CREDIT = 1
CONNECT_WEIGHT = 2  # of a connection to the WebSocket API
MAX_ADDRESSES = 4096  # remembered at most, beyond those that are connected
UNLIMITED: Final = 1_000_000_000
"""What `off` sets each limit to: the windows are kept and told all the same."""

RAW_REQUESTS: Final = RateLimit(rate_limit_type="RAW_REQUESTS", interval="MINUTE", interval_num=5, limit=300000)
"""Told and kept by REST only."""
PRODUCTION: Final = (*PRODUCTION_LIMITS, RAW_REQUESTS)
"""Every limit, as Binance had them in mid-2026."""


@attrs.frozen(kw_only=True)
class BanRules:
    """When an address is shut out. Binance says: for going on after 429, 2 minutes up to 3 days, growing."""

    over_percent: int = 150
    """Weight within one window, per cent of the limit, beyond which an address that has been told 429 is banned."""
    first_ms: int = 120_000
    longest_ms: int = 3 * 86_400_000
    """Also how long after a ban an address counts as a repeat offender."""


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


def _nobody_listens() -> None:
    """No answer is told to anybody beside the client."""


class Address:
    """What one client address has used, over all its connections to all services, and whether it is shut out."""

    def __init__(
        self, limits: Sequence[RateLimit], bans: BanRules, on_banned: Callable[[], None] = _nobody_listens
    ) -> None:
        """`on_banned` is called with each answer that tells of a ban (418)."""
        self._on_banned = on_banned
        self.weight = Window(limit_of(limits, "REQUEST_WEIGHT"))
        self.banned_until_ms = 0
        self.used_ms = 0
        """When it was last heard of."""
        self._raw = Window(limit_of(limits, "RAW_REQUESTS"))
        self._connections = limit_of(limits, "CONNECTIONS")
        self._attempts: dict[str, Window] = {}
        self._rules = bans
        self._bans = 0
        self._warned_until_ms = 0
        self._lines: dict[int, Callable[[], None]] = {}

    def request(self, now_ms: int) -> None:
        """An HTTP request arrived, for whatever; Refused (418, 429)."""
        self._check_ban(now_ms)
        if self._raw.add(1, now_ms) > self._raw.limit.limit:
            raise _refused(-1003, "Too many requests queued.", 429, now_ms, self._raw.rolls_ms(now_ms))

    def connect(self, service: str, now_ms: int) -> None:
        """A WebSocket handshake arrived; Refused (418, 429). Bans and weight do not concern the market streams.

        service   `ws_api`, `stream` or `sbe`: each has a window of attempts of its own
        """
        if service == "ws_api":
            self._check_ban(now_ms)
        window = self._attempts.setdefault(service, Window(self._connections))
        if window.add(1, now_ms) > window.limit.limit:
            limit = window.limit
            span = f"{limit.interval_num} {limit.interval}"
            msg = f"Too many connection attempts from IP; current limit is {limit.limit} per '{span}'."
            raise _refused(-1034, msg, 429, now_ms, window.rolls_ms(now_ms))
        if service == "ws_api":
            self.spend(CONNECT_WEIGHT, now_ms)

    def spend(self, weight: int, now_ms: int) -> None:
        """Use request weight; Refused (429, 418), when it is used up, which counts all the same."""
        self._check_ban(now_ms)
        window = self.weight
        used = window.add(weight, now_ms)
        most = window.limit.limit
        if used <= most:
            return
        if now_ms < self._warned_until_ms and used * 100 > most * self._rules.over_percent:
            self.ban(now_ms + self._penalty_ms(now_ms))
            self._check_ban(now_ms)
        self._warned_until_ms = window.rolls_ms(now_ms)
        raise _refused(
            -1003,
            f"Too much request weight used; current limit is {most} request weight per {window.limit.interval_num} "
            f"{window.limit.interval}. Please use WebSocket Streams for live updates to avoid polling the API.",
            429,
            now_ms,
            self._warned_until_ms,
        )

    def refund(self, weight: int, now_ms: int) -> None:
        """Give back what a request turned out not to cost."""
        self.weight.add(-weight, now_ms)

    def ban(self, until_ms: int) -> None:
        """Shut it out until `until_ms`, and close its connections to the WebSocket API."""
        self.banned_until_ms = until_ms
        for cut in tuple(self._lines.values()):
            cut()

    def unban(self) -> None:
        """Let it in again, as a first offender."""
        self.banned_until_ms = self._warned_until_ms = self._bans = 0

    def banned(self, now_ms: int) -> bool:
        """Whether it is shut out."""
        return now_ms < self.banned_until_ms

    def opened(self, connection: int, cut: Callable[[], None]) -> None:
        """A connection to the WebSocket API is open, which `cut` closes."""
        self._lines[connection] = cut

    def closed(self, connection: int) -> None:
        """It has ended."""
        self._lines.pop(connection, None)

    @property
    def connected(self) -> bool:
        """Whether a connection to the WebSocket API is open."""
        return bool(self._lines)

    def _penalty_ms(self, now_ms: int) -> int:
        """How long the ban lasts that begins now: twice as long each time."""
        if now_ms > self.banned_until_ms + self._rules.longest_ms:
            self._bans = 0
        self._bans += 1
        return min(self._rules.first_ms << min(self._bans - 1, 32), self._rules.longest_ms)

    def _check_ban(self, now_ms: int) -> None:
        self.used_ms = now_ms
        if now_ms < self.banned_until_ms:
            msg = (
                f"Way too much request weight used; IP banned until {self.banned_until_ms}. "
                "Please use WebSocket Streams for live updates to avoid bans."
            )
            self._on_banned()
            raise _refused(-1003, msg, 418, now_ms, self.banned_until_ms)


class Addresses:
    """Every client address that has been heard of lately: bounded, the least recent are forgotten first."""

    def __init__(self, limits: Sequence[RateLimit], bans: BanRules | None = None) -> None:
        self._limits, self._bans = tuple(limits), bans or BanRules()
        self._known: dict[str, Address] = {}
        self.on_banned: Callable[[], None] = _nobody_listens
        """Called with each answer that tells of a ban (418)."""

    def __len__(self) -> int:
        return len(self._known)

    def of(self, host: str) -> Address:
        """What is known of a host."""
        found = self._known.get(host)
        if found is None:
            if len(self._known) >= MAX_ADDRESSES:
                self._forget()
            found = self._known[host] = Address(self._limits, self._bans, self._told)
        return found

    def _told(self) -> None:
        self.on_banned()  # as it is by then: who listens may come later

    def ban(self, host: str, until_ms: int) -> None:
        """Shut a host out until `until_ms`, ms of the service clock, and close its connections to the WebSocket API."""
        self.of(host).ban(until_ms)

    def unban(self, host: str) -> None:
        """Let it in again."""
        self.of(host).unban()

    def _forget(self) -> None:
        """Make room: who is connected stays, and who is banned goes last."""
        loose = [(host, each) for host, each in self._known.items() if not each.connected]
        loose.sort(key=lambda pair: max(pair[1].used_ms, pair[1].banned_until_ms))
        for host, _ in loose[: MAX_ADDRESSES // 8]:
            del self._known[host]


class OrderCounter:
    """The unfilled-order count of one account: every ORDERS interval."""

    def __init__(self, limits: Sequence[RateLimit]) -> None:
        self._windows = [Window(limit) for limit in limits if limit.rate_limit_type == "ORDERS"]
        self._longest_first = sorted(self._windows, key=lambda window: -window.limit.window_s)

    def exceeded(self, now_ms: int) -> Window | None:
        """The first window that admits no further order."""
        return next((window for window in self._windows if window.full(now_ms)), None)

    def add(self, now_ms: int, orders: int = 1) -> None:
        """Orders were sent: 1, of a list 2 or 3. When the day is full, its seconds are no longer counted."""
        for window in self._longest_first:
            full = window.full(now_ms)
            window.add(orders, now_ms)
            if full:
                return

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


# -- which limits there are -------------------------------------------------------------------------------------------

_CHANGE = re.compile(r"([A-Z_]+):([0-9]{1,4})([smhd])=([1-9][0-9]{0,8})", re.ASCII)


def limit_of(limits: Sequence[RateLimit], kind: str) -> RateLimit:
    """The first limit of a kind; Binance's own where there is none."""
    return next(limit for limit in (*limits, *PRODUCTION) if limit.rate_limit_type == kind)


def parse_limits(text: str) -> tuple[RateLimit, ...]:
    """`production`, `off`, or changes of production such as `ORDERS:10s=5000,REQUEST_WEIGHT:1m=60000`; ValueError."""
    if text == "off":
        return tuple(msgspec.structs.replace(limit, limit=UNLIMITED) for limit in PRODUCTION)
    limits = {_name(limit): limit for limit in PRODUCTION}
    for change in text.split(",") if text != "production" else ():
        found = _CHANGE.fullmatch(change.strip())
        if found is None:
            raise ValueError(f"{change!r} is none of: production, off, KIND:WINDOW=LIMIT such as ORDERS:10s=5000")
        name = f"{found[1]}:{found[2]}{found[3]}"
        if name not in limits:
            raise ValueError(f"there is no limit {name}: {', '.join(limits)}")
        limits[name] = msgspec.structs.replace(limits[name], limit=int(found[4]))
    return tuple(limits.values())


def _name(limit: RateLimit) -> str:
    return f"{limit.rate_limit_type}:{limit.interval_num}{limit.interval[0].lower()}"


def _refused(code: int, msg: str, status: int, now_ms: int, retry_ms: int) -> Refused:
    return Refused(code, msg, status=status, data={"serverTime": now_ms, "retryAfter": retry_ms})
