"""How long it takes from what happens on the exchange to an order of ours that rests there, stage by stage.

    feed     the exchange's event time -> received here; needs its clock, and is only as right as that is known
    decide   received -> a new intent published, counted from the oldest batch that it was decided from
    send     published -> the bytes of the request written
    order    received -> the bytes of the request written: tick to order
    ack      request written -> its reply, whatever that says
    rest     request written -> the execution report that says NEW
    whole    received -> that report

`send`, `order` and `whole` are of orders that follow from the market at once: one that was held back (by `requote_ms`,
a back-off, a budget) waited on purpose and is left out. A stage that has no sample is absent. Times are passed in, s on
trio's clock; at N times the speed they are told in the machine's time. Something is recorded once a batch or once an
order, never once a tick.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from tetrio.histogram import Histogram

STAGES = ("feed", "decide", "send", "order", "ack", "rest", "whole")
QUANTILES = (0.5, 0.99)
PENDING = 64  # orders whose report has not come; one is under way at a time, so more are lost ones
NS = 1e9
HALF_MS = 0.5  # the exchange tells whole milliseconds, rounded down


@attrs.frozen
class Cause:
    """What the newest intent came from."""

    received_at: float | None
    """None: from no batch of the market."""
    published_at: float


@attrs.frozen
class Figures:
    """One stage, ms."""

    count: int
    p50_ms: float
    p99_ms: float
    max_ms: float


class Latency:
    """All stages since the start of the process, and the part of them that has not been journaled yet."""

    def __init__(self) -> None:
        self.offset_ms: float | None = None
        """The exchange's clock less ours; None: not known, and `feed` is not measured."""
        self.error_ms = 0.0
        """How far off that may be: half the round trip that it was measured by, and half a millisecond."""
        self._rate = 1.0
        self._journaled: dict[str, Histogram] = {}
        self._period: dict[str, Histogram] = {}
        self._known: dict[str, Figures] = {}
        """As they were asked for last: the panel asks four times a second."""
        self._read_at: float | None = None
        self._waits_since: float | None = None
        """When the oldest batch was received that the strategy has not folded."""
        self._cause: Cause | None = None
        """Of an intent that the executor has not looked at, or acts on at once."""
        self._pending: dict[str, tuple[float, float | None]] = {}
        """Client order id -> (written at, received at)."""

    # -- what the tasks tell ----------------------------------------------------------------------------------------
    def clock(self, offset_ms: float, error_ms: float, rate: float) -> None:
        """The exchange's clock was measured; `rate` is how many s of trio's clock pass in one of the machine's."""
        self.offset_ms, self.error_ms, self._rate = offset_ms / rate, error_ms / rate, rate

    def afresh(self) -> None:
        """What is under way is no sample: the market waited for the past to be learned, or the link was lost."""
        self._read_at = self._waits_since = self._cause = None
        self._pending.clear()

    def received(self, now: float, date_ns: int = 0, event_ms: int | None = None) -> None:
        """A batch was read at the date `date_ns`; `event_ms` is the exchange's time of its newest dated event."""
        self._read_at = now
        if event_ms is not None and self.offset_ms is not None:
            took_ms = date_ns / 1e6 + self.offset_ms * self._rate - event_ms - HALF_MS
            self.sample("feed", took_ms / 1000)

    def handed(self) -> None:
        """Something of the batch that was read last goes to the strategy."""
        if self._waits_since is None:
            self._waits_since = self._read_at

    def folded(self, now: float, *, published: bool) -> None:
        """The strategy has folded all that waited; whether it has published a new intent."""
        since, self._waits_since = self._waits_since, None
        if published:
            self._cause = Cause(since, now)
            if since is not None:
                self.sample("decide", now - since)

    def held_back(self) -> None:
        """The executor has looked at the newest intent and sends nothing now."""
        self._cause = None

    def sending(self, client_order_id: object) -> Sending:
        """A mutation is about to be sent; of a cancel, which makes no order, only the reply is timed."""
        cause, self._cause = self._cause, None
        return Sending(self, client_order_id if isinstance(client_order_id, str) else "", cause)

    def rests(self, client_order_id: str, now: float) -> None:
        """An execution report says that the order is NEW."""
        written_at, received_at = self._pending.pop(client_order_id, (None, None))
        if written_at is not None:
            self.sample("rest", now - written_at)
            if received_at is not None:
                self.sample("whole", now - received_at)

    def wrote(self, name: str, cause: Cause | None, now: float) -> None:
        """The bytes of a request are written; `name` is "" where it makes no order."""
        if not name:
            return
        received_at = None if cause is None else cause.received_at
        self._pending[name] = (now, received_at)
        if len(self._pending) > PENDING:
            del self._pending[next(iter(self._pending))]
        if cause is not None and received_at is not None:
            self.sample("send", now - cause.published_at)
            self.sample("order", now - received_at)

    def sample(self, stage: str, seconds: float) -> None:
        """One of a stage, s on trio's clock."""
        histogram = self._period.get(stage)
        if histogram is None:
            histogram = self._period[stage] = Histogram()
        histogram.record(round(seconds / self._rate * NS))

    # -- what the faces ask -----------------------------------------------------------------------------------------
    def figures(self) -> dict[str, Figures]:
        """Each stage that has samples, in order, since the start of the process."""
        for stage in STAGES:
            parts = [part for part in (self._journaled.get(stage), self._period.get(stage)) if part is not None]
            known, count = self._known.get(stage), sum(part.count for part in parts)
            if count and (known is None or known.count != count):
                whole = Histogram()
                for part in parts:
                    whole.merge(part)
                self._known[stage] = _figures(whole)
        return {stage: self._known[stage] for stage in STAGES if stage in self._known}

    def period(self) -> dict[str, Figures]:
        """The same of what came since this was asked last."""
        told: dict[str, Figures] = {}
        for stage in STAGES:
            part = self._period.get(stage)
            if part is not None and part.count:
                told[stage] = _figures(part)
                self._journaled.setdefault(stage, Histogram()).merge(part)
                part.reset()
        return told

    def clock_members(self) -> dict[str, float | None]:
        """The clock's offset and its error, for a record; None while they are not known."""
        if self.offset_ms is None:
            return {"clock_offset_ms": None, "clock_error_ms": None}
        return {"clock_offset_ms": round(self.offset_ms, 3), "clock_error_ms": round(self.error_ms, 3)}

    def record(self) -> dict[str, object]:
        """For the status file: the stages, and the clock that `feed` depends on."""
        stages = {stage: attrs.asdict(each) for stage, each in self.figures().items()}
        return {"stages": stages, **self.clock_members()}


@attrs.define
class Sending:
    """One mutation on its way."""

    _latency: Latency
    _name: str
    _cause: Cause | None
    _written_at: float | None = None

    def written(self, now: float) -> None:
        """The bytes of the request are written."""
        self._written_at = now
        self._latency.wrote(self._name, self._cause, now)

    def replied(self, now: float) -> None:
        """Its reply has come."""
        if self._written_at is not None:
            self._latency.sample("ack", now - self._written_at)


Written = Callable[[float], None]
"""Told the time, s on trio's clock, at which the bytes of a request were written."""


def line(latency: Latency, stages: tuple[str, ...] = ("feed", "order", "ack", "rest")) -> str:
    """p50/p99 in ms of these stages, and the clock, for a person; "" where nothing is known."""
    known = latency.figures()
    words = [f"{stage} {_ms(known[stage].p50_ms)}/{_ms(known[stage].p99_ms)}" for stage in stages if stage in known]
    told = [" ".join(words) + " ms"] if words else []
    if latency.offset_ms is not None:
        told.append(f"clock {latency.offset_ms:+z.1f} ±{latency.error_ms:.1f} ms")
    return ", ".join(told)


def _ms(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _figures(histogram: Histogram) -> Figures:
    p50, p99 = (round(histogram.percentile(q) / 1e6, 4) for q in QUANTILES)
    return Figures(histogram.count, p50, p99, round(histogram.most_ns / 1e6, 4))
