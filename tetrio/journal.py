"""The journal: one JSON line for each fact, for people and programs that look on; never read back to decide anything.

`Journal.write` renders a fact once and hands the line to every sink: a file opened for appending, or standard error.
It never raises because of a sink: a full disk is reported once through the other sinks, counted, and tried again with
the next fact. It does not rotate files and does not filter; diagnostics (what libraries say) are `tetrio.log`'s.
"""

from __future__ import annotations

import contextlib
import enum
import json
import math
import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Protocol, TextIO

import attrs

from tetrio.errors import ConfigError

RECENT_FACTS = 200  # what a tall terminal can show, several times over


@attrs.frozen
class Fact:
    """One line of the journal, as it was given."""

    ts: int
    """ns since 1970 UTC; market time in virtual time."""
    kind: str
    fields: Mapping[str, object]
    """Already plain: text, whole numbers, finite floats, booleans, None, lists and dicts of them."""


class Sink(Protocol):
    """Where lines go."""

    name: str
    facts_only: bool
    """True: diagnostics are not for it."""

    def write(self, line: str) -> None:
        """Write one line (without its newline) and flush it. OSError when that failed, wholly or in part."""

    def close(self) -> None:
        """Give the resource back; nothing may be written afterwards."""


class FileSink:
    """Appends to a file, each line in one write; a line that a full disk tore is closed by the next one's start."""

    facts_only = True

    def __init__(self, path: Path) -> None:
        """ConfigError when the file cannot be opened for appending."""
        self.name = str(path)
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise ConfigError(f"the journal {path} cannot be written: {error.strerror}") from error
        self._torn = _ends_torn(path)

    def write(self, line: str) -> None:
        """Append `line`; OSError when the disk took less than all of it."""
        whole = ("\n" if self._torn else "") + line + "\n"
        payload = whole.encode()
        written = os.write(self._fd, payload)
        self._torn = written < len(payload)
        if self._torn:
            raise OSError(f"only {written} of {len(payload)} bytes were taken")

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class StreamSink:
    """Writes to a text stream that someone else owns, such as standard error."""

    facts_only = False

    def __init__(self, stream: TextIO, name: str = "stderr") -> None:
        self.name = name
        self._stream = stream

    def write(self, line: str) -> None:
        """Write and flush; OSError when the reader has gone."""
        self._stream.write(line + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Nothing: the stream is not ours."""


class PatientSink:
    """Hands lines to another sink on a thread of its own, so that a reader who has stalled delays nobody.

    What waits is bounded: beyond `most` lines a write raises OSError, and the journal counts the line as lost.
    """

    def __init__(self, sink: Sink, most: int = 10_000) -> None:
        self.name, self.facts_only = sink.name, sink.facts_only
        self._sink = sink
        self._lines: queue.Queue[str | None] = queue.Queue(most)
        self._thread = threading.Thread(target=self._run, name=f"journal {sink.name}", daemon=True)
        self._failed: OSError | None = None
        self._thread.start()

    def write(self, line: str) -> None:
        """Queue a line. OSError when the queue is full, or when an earlier line could not be written."""
        failed, self._failed = self._failed, None
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            raise OSError("its reader has stalled") from None
        if failed is not None:
            raise failed

    def close(self, within_s: float = 1.0) -> None:
        """Let what waits be written, but not for longer than `within_s`."""
        with contextlib.suppress(queue.Full):
            self._lines.put(None, timeout=within_s)
        self._thread.join(within_s)

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._sink.write(line)
            except (OSError, ValueError) as error:  # ValueError: the stream was closed under us
                self._failed = OSError(str(error))


class Journal:
    """Writes facts to its sinks and keeps the latest for the panel.

    sinks     none is fine: then only `recent` is kept
    now_ns    the clock that stamps each line: wall time, or market time in virtual time
    symbol    put on every line unless the fact names its own
    """

    def __init__(self, sinks: Sequence[Sink], now_ns: Callable[[], int], *, symbol: str | None = None) -> None:
        self.recent: deque[Fact] = deque(maxlen=RECENT_FACTS)
        self.lost = 0
        """Lines that a sink did not take, all sinks together."""
        self.symbol = symbol
        self._sinks = tuple(sinks)
        self._now_ns = now_ns
        self._failing: dict[str, int] = {}

    def write(self, kind: str, **fields: object) -> None:
        """Record one fact. Fields that are None are left out; enums, decimals, records and bytes become plain."""
        if self.symbol is not None:
            fields.setdefault("symbol", self.symbol)
        fact = Fact(self._now_ns(), kind, {name: plain(value) for name, value in fields.items() if value is not None})
        self.recent.append(fact)
        line = render(fact)
        for sink in self._sinks:
            self._offer(sink, line)

    def remark(self, level: str, name: str, text: str) -> None:
        """Show a diagnostic beside the facts: in `recent` and on the sinks that take more than facts (a `log.Emit`)."""
        fact = Fact(self._now_ns(), "log", {"level": level, "logger": name, "text": text})
        self.recent.append(fact)
        line = render(fact)
        for sink in self._sinks:
            if not sink.facts_only:
                self._offer(sink, line)

    def close(self) -> None:
        """Close every sink that is ours to close."""
        for sink in self._sinks:
            sink.close()

    def _offer(self, sink: Sink, line: str) -> None:
        try:
            sink.write(line)
        except (OSError, ValueError) as error:  # ValueError: the stream was closed under us
            self.lost += 1
            first = sink.name not in self._failing
            self._failing[sink.name] = self._failing.get(sink.name, 0) + 1
            if first:
                self._tell(sink, state="lost", why=str(error))
            return
        missed = self._failing.pop(sink.name, 0)
        if missed:
            self._tell(sink, state="back", missed=missed)

    def _tell(self, about: Sink, **fields: object) -> None:
        """Say in `recent`, and in the sinks that still work, what became of `about`."""
        fact = Fact(self._now_ns(), "journal", {"sink": about.name, **fields})
        self.recent.append(fact)
        for sink in self._sinks:
            if sink.name not in self._failing:
                self._offer(sink, render(fact))


def render(fact: Fact) -> str:
    """`fact` as one line of JSON: `ts` and `kind` first."""
    return json.dumps({"ts": fact.ts, "kind": fact.kind, **fact.fields}, ensure_ascii=False, separators=(",", ":"))


def plain(value: object) -> object:
    """`value` with nothing in it that JSON would show in a surprising form.

    A Decimal becomes its fixed-point text, an enum its value, a record a dict, bytes their text; NaN and infinity,
    which JSON lacks, become None; anything unknown becomes its text.
    """
    match value:
        case None | bool() | int() | str() if not isinstance(value, enum.Enum):
            return value
        case float():
            return value if math.isfinite(value) else None
        case Decimal():
            return f"{value:f}"
        case enum.Enum():
            return plain(value.value)
        case bytes():
            return value.decode(errors="replace")
        case Mapping():
            return {str(key): plain(each) for key, each in value.items()}
        case list() | tuple() | deque():
            return [plain(each) for each in value]
    kind = type(value)
    if attrs.has(kind):
        return {field.name: plain(getattr(value, field.name)) for field in attrs.fields(kind)}
    return str(value)


def _ends_torn(path: Path) -> bool:
    """Whether the file's last line lacks its end, as after a power cut or on a disk that was full."""
    try:
        with path.open("rb") as file:
            if file.seek(0, os.SEEK_END) == 0:
                return False
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"
    except OSError:  # a pipe or a device has no last line to look at
        return False
