"""What may be sent now: the exchange's order-count limits, back-off after refusals, breakers.

Times are nanoseconds passed in. Windows of the exchange are aligned to its clock, not sliding: the 10-second one starts
at :00, :10, …, the day at 00:00 UTC. A fifth of each is held back for cancels and stops, so that a chase can never
spend what an emergency needs: what is `urgent` (a hard stop, a flatten, a protective stop) may use that fifth too.
Counts that the exchange reports replace our own. Refusals are counted for each kind of order apart, so that what was
refused to a take-profit holds up no stop.
"""

from __future__ import annotations

import attrs

SECOND = 1_000_000_000
DAY = 86_400 * SECOND
_UNITS = {"SECOND": SECOND, "MINUTE": 60 * SECOND, "HOUR": 3600 * SECOND, "DAY": DAY}
HELD_BACK = 5  # one in five


@attrs.define
class _Window:
    length_ns: int
    limit: int
    number: int = -1
    count: int = 0

    def roll(self, now_ns: int) -> None:
        number = now_ns // self.length_ns
        if number != self.number:
            self.number, self.count = number, 0

    def usable(self, urgent: bool) -> int:
        return self.limit if urgent else self.limit - self.limit // HELD_BACK


class OrderBudget:
    """Counts orders against each ORDERS limit and says when the next one may be sent."""

    def __init__(self) -> None:
        self._windows: dict[tuple[str, int], _Window] = {}

    def limit(self, interval: str, number: int, limit: int) -> None:
        """Learn a limit, e.g. ("SECOND", 10, 100); intervals that are not known are ignored."""
        if interval in _UNITS and limit > 0:
            known = self._windows.get((interval, number))
            if known is None:
                self._windows[interval, number] = _Window(_UNITS[interval] * number, limit)
            else:
                known.limit = limit

    def reported(self, interval: str, number: int, count: int, now_ns: int) -> None:
        """Take over the count that a reply carried."""
        window = self._windows.get((interval, number))
        if window is not None:
            window.roll(now_ns)
            window.count = count

    def sent(self, now_ns: int) -> None:
        """An order was sent."""
        for window in self._windows.values():
            window.roll(now_ns)
            window.count += 1

    def exceeded(self, now_ns: int) -> None:
        """The exchange refused for too many orders, naming no window: the shortest is full."""
        if self._windows:
            window = min(self._windows.values(), key=lambda window: window.length_ns)
            window.roll(now_ns)
            window.count = window.limit

    def free_at(self, now_ns: int, *, urgent: bool = False) -> int:
        """When the next order may be sent: `now_ns` or earlier when at once."""
        at = 0
        for window in self._windows.values():
            window.roll(now_ns)
            if window.count >= window.usable(urgent):
                at = max(at, (window.number + 1) * window.length_ns)
        return at


@attrs.define
class Refusals:
    """Back-off after post-only rejections, and the breaker after three identical refusals in a row."""

    _post_only: int = 0
    _last: tuple[int, str] = (0, "")
    _same: int = 0
    not_before_ns: int = 0
    why: str = ""

    FIRST_NS = 50_000_000
    LAST_NS = 800_000_000
    PROBE_NS = 60 * SECOND
    BREAK_AFTER = 3

    @property
    def same(self) -> int:
        """How many identical refusals there were in a row."""
        return self._same

    def accepted(self) -> None:
        """An order was accepted: all is well again."""
        self._post_only = self._same = self.not_before_ns = 0
        self.why = ""

    def would_match(self, now_ns: int) -> None:
        """A post-only order would have traded at once: normal; wait 50, 100, … 800 ms."""
        wait = min(self.FIRST_NS << min(self._post_only, 10), self.LAST_NS)
        self._post_only += 1
        self._same = 0
        self.not_before_ns, self.why = now_ns + wait, f"backing off {wait // 1_000_000} ms after a post-only rejection"

    def refused(self, code: int, text: str, now_ns: int) -> bool:
        """Any other refusal; True when this one opens (or keeps open) the breaker."""
        self._same = self._same + 1 if (code, text) == self._last else 1
        self._last = (code, text)
        if self._same < self.BREAK_AFTER:
            self.not_before_ns, self.why = now_ns + SECOND, f"a second after being refused with {code}"
            return False
        self.not_before_ns = now_ns + self.PROBE_NS
        self.why = f"refused {self._same} times in a row with {code} {text}: one probe a minute"
        return True


@attrs.define
class Breakers:
    """Refusals for each kind of order apart, and one breaker for them all.

    What is urgent may try once although another kind has opened the breaker; refused alike, it waits as all others do.
    """

    _kinds: dict[str, Refusals] = attrs.field(factory=dict)
    _all: Refusals = attrs.field(factory=Refusals)
    _by: str = ""
    """The kind that was refused last."""

    def free_at(self, kind: str, *, urgent: bool) -> tuple[int, str]:
        """When an order of this kind, such as "take" or "exit", may be sent, and why not before."""
        whole, own = self._all, self._of(kind)
        if whole.same < Refusals.BREAK_AFTER or (urgent and kind != self._by and whole.same == Refusals.BREAK_AFTER):
            return own.not_before_ns, own.why
        return whole.not_before_ns, whole.why

    def accepted(self, kind: str) -> None:
        """An order of this kind was accepted."""
        self._of(kind).accepted()
        self._all.accepted()

    def would_match(self, kind: str, now_ns: int) -> None:
        """A post-only order would have traded at once."""
        self._of(kind).would_match(now_ns)
        self._all.accepted()

    def refused(self, kind: str, code: int, text: str, now_ns: int) -> str:
        """Any other refusal; what to tell when this one opens (or keeps open) the breaker, "" otherwise."""
        self._of(kind).refused(code, text, now_ns)
        self._by = kind
        return self._all.why if self._all.refused(code, text, now_ns) else ""

    def _of(self, kind: str) -> Refusals:
        return self._kinds.setdefault(kind, Refusals())


@attrs.define
class DailyOrders:
    """[risk] max_orders_per_day: orders in the running UTC day."""

    most: int
    _day: int = -1
    count: int = 0

    def sent(self, now_ns: int) -> None:
        """An order was sent."""
        self._roll(now_ns)
        self.count += 1

    def found(self, count: int, now_ns: int) -> None:
        """So many of ours were sent on this day, as the exchange says: an earlier process's among them."""
        self._roll(now_ns)
        self.count = max(self.count, count)

    def free_at(self, now_ns: int, *, urgent: bool = False) -> int:
        """When the next order may be sent; `now_ns` or earlier when at once."""
        self._roll(now_ns)
        most = self.most if urgent else self.most - self.most // HELD_BACK
        return (self._day + 1) * DAY if self.count >= most else 0

    def _roll(self, now_ns: int) -> None:
        day = now_ns // DAY
        if day != self._day:
            self._day, self.count = day, 0
