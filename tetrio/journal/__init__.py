"""The journal: one line for each fact, for people and programs that look on; never read back to decide anything.

`Journal.write` makes a fact plain, keeps it among the latest, shows it to the listeners and puts it into every sink.
It never raises because of a sink: what a full disk or a stalled reader costs is told once through the other sinks,
counted, and told again when it is over. Writing itself is the sinks' (`tetrio.journal.sinks`): in real time each has a
thread behind a bounded queue, in virtual time they write at once, so that a run is the same each time. How a fact
looks is `tetrio.journal.fact`'s. Diagnostics, what code and libraries say, come from `tetrio.log`.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence

import attrs

from tetrio import log
from tetrio.journal.fact import Fact, describe, plain, render, short, tell, time_of
from tetrio.journal.sinks import CLOSE_S, FileSink, PatientSink, Sink, StreamSink

__all__ = [
    "RECENT_FACTS", "Fact", "FileSink", "Journal", "PatientSink", "Sink", "StreamSink", "describe", "plain", "render",
    "short", "tell", "time_of",
]  # fmt: skip

RECENT_FACTS = 200  # what a tall terminal can show, several times over
FOREIGN = frozenset(("why", "text", "detail", "msg"))  # fields that may carry what somebody else has written
LEAST_CLOSE_S = 0.1  # what each sink gets at the end even when another one has used up the time

logger = logging.getLogger(__name__)


@attrs.define
class _Outlet:
    """A sink, and what was last known of it."""

    sink: Sink
    lost: int = 0
    written: int = 0
    lost_before: int | None = None
    """Lines lost before it began to lose them; None while it is well."""


class Journal:
    """Writes facts to its sinks and keeps the latest for the panel. All but `remark` is for one thread, trading's.

    sinks     none is fine: then only `recent` is kept
    now_ns    the clock that stamps each line: wall time, or market time in virtual time
    symbol    put on every line unless the fact names its own
    """

    def __init__(self, sinks: Sequence[Sink], now_ns: Callable[[], int], *, symbol: str | None = None) -> None:
        self.recent: deque[Fact] = deque(maxlen=RECENT_FACTS)
        self.listeners: list[Callable[[Fact], None]] = []
        """Called with each fact, diagnostics aside, as it is written. They must not block, raise or write facts; one
        that raises is told, and not called again."""
        self.symbol = symbol
        self.sinks = tuple(sinks)
        """For who counts: each has `name`, `written`, `lost` and `waiting`."""
        self._outlets = tuple(map(_Outlet, sinks))
        self._now_ns = now_ns
        self._latest_ns = 0

    @property
    def lost(self) -> int:
        """Lines that a sink did not take, all sinks together."""
        return sum(sink.lost for sink in self.sinks)

    def write(self, kind: str, **fields: object) -> None:
        """Record one fact. Fields that are None are left out; enums, decimals, records and bytes become plain."""
        if self.symbol is not None:
            fields.setdefault("symbol", self.symbol)
        told = {name: plain(value) for name, value in fields.items() if value is not None}
        for name in FOREIGN.intersection(told):
            if type(text := told[name]) is str:
                told[name] = log.redact(text)
        self._publish(Fact(self._stamp(), kind, told))
        self.tend()

    def remark(self, level: str, name: str, text: str, /, **fields: object) -> None:
        """Show a diagnostic beside the facts: in `recent` and on the sinks that take more than facts (a `log.Emit`).

        From any thread. Listeners do not hear of it.
        """
        more = {f"{key}_" if key in ("ts", "kind") else key: plain(value) for key, value in fields.items()}
        fact = Fact(self._stamp(), "log", {"level": level, "logger": name, "text": text, **more})
        self.recent.append(fact)
        for sink in self.sinks:
            if not sink.facts_only:
                sink.put(fact)

    def tend(self) -> None:
        """Tell of sinks that have begun to lose lines, or ceased to: after each fact, and better once a second too."""
        for outlet in self._outlets:
            sink = outlet.sink
            lost, written = sink.lost, sink.written
            if lost > outlet.lost:
                if outlet.lost_before is None:
                    outlet.lost_before = outlet.lost
                    self._tell(sink.name, state="lost", why=sink.why)
            elif outlet.lost_before is not None and written > outlet.written and not sink.why:
                missed, outlet.lost_before = lost - outlet.lost_before, None
                self._tell(sink.name, state="back", missed=missed)
            outlet.lost, outlet.written = lost, written
        for outlet in self._outlets:
            if outlet.lost_before is not None:  # what was just told to it was lost as well, and is no news
                outlet.lost = outlet.sink.lost

    def close(self, within_s: float = CLOSE_S) -> None:
        """Have every sink write what waits, all within about `within_s`; say what that shows; close them."""
        until = time.monotonic() + within_s
        late = [sink for sink in self.sinks if not sink.drain(max(LEAST_CLOSE_S, until - time.monotonic()))]
        self.tend()
        for sink in late:
            self._tell(sink.name, state="lost", missed=sink.waiting, why="it did not take them before the end")
        for sink in self.sinks:
            sink.close(max(LEAST_CLOSE_S, until - time.monotonic()))

    def _tell(self, name: str, **fields: object) -> None:
        """Say what became of the sink of this name."""
        self._publish(Fact(self._stamp(), "journal", {"sink": name, **fields}))

    def _publish(self, fact: Fact) -> None:
        self.recent.append(fact)
        for sink in self.sinks:
            sink.put(fact)
        if self.listeners:
            self._show(fact)

    def _show(self, fact: Fact) -> None:
        for listener in tuple(self.listeners):
            try:
                listener(fact)
            except Exception:
                # Whoever looks on must not end trading: told with its traceback, and not called again.
                self.listeners.remove(listener)
                logger.exception("a listener of the journal has failed and is not called any more")

    def _stamp(self) -> int:
        """The date; the latest that was told where trio's clock cannot be asked: in a thread, or after the run."""
        try:
            self._latest_ns = self._now_ns()
        except RuntimeError:  # trio's word for it
            return self._latest_ns
        return self._latest_ns
