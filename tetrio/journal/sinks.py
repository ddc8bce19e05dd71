"""Where lines go: a file that is appended to, a stream such as standard error, and a thread that writes either later.

A sink takes facts and never raises: what it could not write it counts, with the reason, and `Journal` tells. Lines are
given to the system many at a time where many wait. Files are not rotated here.

`PatientSink` is what stands between trading and a disk or a reader that takes its time. It is a thread and not a trio
task for two reasons: a write that blocks would otherwise hold one of trio's threads for good, and the last words of a
loop that is stuck, and of the watchdog that ends it, are still written. A put costs no system call unless the thread
has nothing to do.
"""

from __future__ import annotations

import os
import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TextIO

from tetrio.errors import ConfigError
from tetrio.journal.fact import Fact, Shape, render, tell

LINGER_S = 0.02  # of the machine's time: what comes within it is written together; what a kill may cost
MOST_AT_ONCE = 500  # lines in one write: about 100 KB
CLOSE_S = 1.0  # how long an end waits for what is still to be written


class Sink(Protocol):
    """Takes facts."""

    name: str
    facts_only: bool
    """True: diagnostics are not for it."""

    @property
    def lost(self) -> int:
        """Lines that were not written; it only grows."""

    @property
    def written(self) -> int:
        """Lines that were; it only grows."""

    @property
    def why(self) -> str:
        """Why the latest line was not written; "" while they are."""

    @property
    def waiting(self) -> int:
        """Lines that are still to be written."""

    def put(self, fact: Fact) -> None:
        """Take one fact. Never raises."""

    def drain(self, within_s: float = CLOSE_S) -> bool:
        """Have what waits written; False when that took longer than `within_s`."""

    def close(self, within_s: float = CLOSE_S) -> None:
        """The same, and give the resource back; a second call does nothing."""


class _Writing(ABC):
    """What writing to a file descriptor is for both kinds of sink; counts what became of each line."""

    waiting = 0

    def __init__(self, name: str, shape: Shape) -> None:
        self.name = name
        self.lost = self.written = 0
        self.why = ""
        self._shape = shape
        self._torn = False

    def put(self, fact: Fact) -> None:
        """Write one line now."""
        self.write((fact,))

    def write(self, facts: Sequence[Fact]) -> None:
        """Write their lines in one go, counting those that were not taken whole."""
        text = "".join(f"{self._shape(fact)}\n" for fact in facts)
        payload = (b"\n" if self._torn else b"") + text.encode(errors="backslashreplace")
        rest, why = memoryview(payload), ""
        try:
            while rest:
                rest = rest[self._take(rest) :]
        except (OSError, ValueError) as error:  # ValueError: the stream was closed under us
            why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        done = len(payload) - len(rest)
        if done:
            self._torn = payload[done - 1] != ord("\n")  # whoever writes next begins a new line
        missed = min(len(facts), bytes(rest).count(b"\n"))
        self.lost += missed
        self.written += len(facts) - missed
        self.why = why  # last: who reads it in another thread finds the counts up to date

    def drain(self, within_s: float = CLOSE_S) -> bool:
        """Nothing waits here."""
        return True

    @abstractmethod
    def _take(self, octets: memoryview) -> int:
        """How many of them were written; OSError."""


class FileSink(_Writing):
    """Appends to a file; a line that a full disk tore is closed by the next one's start.

    A file that is made here is its owner's alone: it tells balances. One that is there keeps its mode.
    """

    facts_only = True

    def __init__(self, path: Path) -> None:
        """ConfigError when the file cannot be opened for appending."""
        super().__init__(str(path), render)
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"the journal {path} cannot be written: {error.strerror}") from error
        self._torn = _ends_torn(path)

    def close(self, within_s: float = CLOSE_S) -> None:
        """Close the file; a second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _take(self, octets: memoryview) -> int:
        return os.write(self._fd, octets)


class StreamSink(_Writing):
    """Writes to a text stream that someone else owns, such as standard error; without one, every line is lost.

    Where the stream has a descriptor the lines go straight to it: the stream's own lock, held by a thread that a
    reader has stalled, would keep the interpreter from ending.
    """

    facts_only = False

    def __init__(self, stream: TextIO | None, name: str = "stderr", *, style: str = "json") -> None:
        """`style`: json; text, for people; auto, text on a terminal only."""
        as_text = style == "text" or (style == "auto" and stream is not None and stream.isatty())
        super().__init__(name, tell if as_text else render)
        self._stream = stream
        self._fd = _descriptor(stream)

    def close(self, within_s: float = CLOSE_S) -> None:
        """Nothing: the stream is not ours."""

    def _take(self, octets: memoryview) -> int:
        if self._stream is None:
            raise OSError("there is none")
        if self._fd is None:
            self._stream.write(bytes(octets).decode())
            self._stream.flush()
            return len(octets)
        return os.write(self._fd, octets)


class PatientSink:
    """Hands facts to another sink on a thread of its own, so that a disk or a reader that stalls delays nobody.

    What waits is bounded: a fact beyond `most` is lost, and counted.
    """

    def __init__(self, sink: FileSink | StreamSink, most: int = 10_000) -> None:
        self.name, self.facts_only = sink.name, sink.facts_only
        self._sink, self._most = sink, most
        self._facts: queue.SimpleQueue[Fact | threading.Event] = queue.SimpleQueue()
        self._refused = 0
        self._refusing = threading.Lock()
        self._hurry, self._end = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"journal {sink.name}", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> int:
        """Lines that were not written, or found no room to wait."""
        return self._refused + self._sink.lost

    @property
    def written(self) -> int:
        """Lines that were written."""
        return self._sink.written

    @property
    def why(self) -> str:
        """Why lines are being lost; "" again when the latest was written and half of the room is free."""
        if self._sink.why:
            return self._sink.why
        return "its reader has stalled" if self._refused and self._facts.qsize() > self._most // 2 else ""

    @property
    def waiting(self) -> int:
        """Lines that are still to be written."""
        return self._facts.qsize()

    def put(self, fact: Fact) -> None:
        """Queue a fact, from any thread; it is counted as lost when there is no room."""
        if self._facts.qsize() < self._most:
            self._facts.put(fact)
            return
        with self._refusing:
            self._refused += 1

    def drain(self, within_s: float = CLOSE_S) -> bool:
        """Have what waits written, at once from now on; False when that took longer than `within_s`."""
        self._hurry.set()
        written = threading.Event()
        self._facts.put(written)
        return written.wait(within_s)

    def close(self, within_s: float = CLOSE_S) -> None:
        """Let what waits be written, but not for longer than `within_s`; the sink itself is closed after it."""
        self._hurry.set()
        self._facts.put(self._end)
        self._thread.join(within_s)

    def _run(self) -> None:
        mark = None
        while mark is not self._end:
            facts, mark = self._gather()
            if facts:
                self._sink.write(facts)
            if mark is not None:
                mark.set()
        self._sink.close()

    def _gather(self) -> tuple[list[Fact], threading.Event | None]:
        """Wait for a fact; then what comes soon, up to a write's worth, or to a mark that wants to know of it."""
        facts: list[Fact] = []
        item = self._facts.get()
        if isinstance(item, Fact):
            self._hurry.wait(LINGER_S)
        while isinstance(item, Fact):
            facts.append(item)
            if len(facts) == MOST_AT_ONCE:
                return facts, None
            try:
                item = self._facts.get_nowait()
            except queue.Empty:
                return facts, None
        return facts, item


def _descriptor(stream: TextIO | None) -> int | None:
    try:
        return None if stream is None else stream.fileno()
    except (OSError, ValueError):  # in memory, or closed already
        return None


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
