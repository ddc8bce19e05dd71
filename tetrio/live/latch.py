"""The latch: the operator's words that no exchange knows, in one small file, so that they survive a restart.

Paused, halted, and an exit that was asked for and may have nothing resting yet; and after which trade each word was
said, so that a fold of the past obeys it where it was said. It is the only thing that tetrio stores
and reads back. Its loss means paused: where the exchange knows earlier orders of ours and the file is gone, nothing new
is armed until somebody says `resume`. Beside it lies a lock that keeps a second tetrio of this host off the same
account and symbol. An account that begins anew with each start (the embedded exchange's) has neither.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from tetrio.core.kernel import Word
from tetrio.errors import UnsafeError

PLACES = 100  # words with their places that are kept
_ANEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC

LATCHED = frozenset({Word.PAUSE, Word.RESUME, Word.EXIT, Word.FLATTEN})
"""Words that it keeps: each session hears of them from it, so that what waited from before is let go."""


@attrs.frozen
class Place:
    """One word, and after which public trade it was said."""

    trade_id: int
    at_ms: int
    """When that trade took place."""
    word: str
    force: bool = False


@attrs.frozen(kw_only=True)
class Words:
    """What was said and still holds."""

    paused: bool = False
    halted: bool = False
    leaving: str = ""
    """The regime (BASE or QUOTE) that the operator asked to leave; "" when none."""
    taking: bool = False
    """`leaving` was asked for by flatten."""
    why: str = ""
    """What halted it; "" for the operator."""
    rebased_ms: int = 0
    """When a guard's halt was last lifted: what was lost before does not count against the guards."""
    said: tuple[Place, ...] = ()
    """What the strategy was told, in its places: the newest `PLACES` of them."""
    paused_before: bool = False
    """Whether it was paused before the first of `said`."""


def state_directory(setting: str, environ: Mapping[str, str]) -> Path | None:
    """Where the latch lies: as set; "auto" is systemd's state directory, else the user's; "off" is None."""
    if setting == "off":
        return None
    if setting != "auto":
        return Path(setting)
    if given := environ.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    home = environ.get("XDG_STATE_HOME") or os.path.join(environ.get("HOME") or os.path.expanduser("~"), ".local/state")  # noqa: PTH111, PTH118 - a home that is not known stays as it is
    return Path(home) / "tetrio"


class Latch:
    """The words, in memory and (with a directory) in a file."""

    def __init__(self, directory: Path | None = None) -> None:
        self.words = Words()
        self.kept = directory is not None
        """Whether the words survive a restart."""
        self.trouble = ""
        """Why they do not, where they should."""
        self._directory = directory
        self._path: Path | None = None
        self._lock: int | None = None
        self._existed = self._settled = directory is None
        self._early: dict[str, Any] = {}
        """What was said before the file could be looked for: it is newer than what the file says."""

    @property
    def found(self) -> bool:
        """Whether what was said in an earlier process is known, or known to be lost."""
        return self._settled

    @property
    def remembers(self) -> bool:
        """Whether a file of an earlier process has told what was said in it."""
        return self._directory is not None and self._existed

    @property
    def opened(self) -> bool:
        """Whether a file stands behind the words by now; before, they are kept in memory."""
        return self._path is not None

    def open(self, where: str, account: str, symbol: str) -> bool:
        """Lock this account and symbol, and read what was said before; whether there was a file that could be read.

        where   the exchange: a venue's name, or the URL of one that has none
        What was said before this outweighs the file. A file that cannot be read means paused, whatever it said.
        UnsafeError when another process of this host has the lock. A directory that cannot be used is `trouble`.
        """
        if self._directory is None or self._path is not None:
            return self._existed
        name = f"{symbol}-{hashlib.sha256(f'{where}/{account}/{symbol}'.encode()).hexdigest()[:12]}"
        self._path = self._directory / f"{name}.json"
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._directory.stat().st_mode & 0o022:
                raise UnsafeError(
                    f"{self._directory}: others may write to it, and so lift a halt: chmod go-w {self._directory}, or "
                    "name another directory as control.state"
                )
            self._take_lock(self._directory / f"{name}.lock", symbol)
        except OSError as error:  # a file may be there all the same
            self._fail(error.strerror or str(error))
        words = self._read(self._path)
        self._existed = words is not None
        self.words = attrs.evolve(words or self.words, **self._early)
        return self._existed

    def settle(self) -> None:
        """What an earlier process said is known: write the file, so that its loss can be told from a first start."""
        self._settled = True
        self.set()

    def _read(self, path: Path) -> Words | None:
        """What the file says; None without one, and, paused, for one that cannot be read."""
        try:
            known = json.loads(path.read_text("utf-8"))
            return Words(
                paused=bool(known["paused"]), halted=bool(known["halted"]),
                leaving=str(known["leaving"]), taking=bool(known["taking"]),
                why=str(known.get("why", "")), rebased_ms=int(known.get("rebased_ms", 0)),
                said=tuple(_place(each) for each in known.get("said", ())),
                paused_before=bool(known.get("paused_before", False)),
            )  # fmt: skip
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            self._fail(error.strerror or str(error))
        except (ValueError, KeyError, TypeError):
            self._fail("what it holds cannot be read")
        self.words = attrs.evolve(self.words, paused=True)
        return None

    def set(self, **changes: Any) -> None:
        """Change the words and write them down; a directory that cannot be written is `trouble`, not an error."""
        self.words = attrs.evolve(self.words, **changes)
        if self._path is None:
            self._early |= changes
            return
        beside = self._path.with_suffix(".new")
        try:
            with os.fdopen(os.open(beside, _ANEW, 0o600), "w", encoding="utf-8") as file:
                json.dump(attrs.asdict(self.words), file)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self._path)
            self.kept, self.trouble = True, ""
        except OSError as error:
            self._fail(error.strerror or str(error))

    def say(self, place: Place) -> None:
        """The strategy was told a word; of more than `PLACES` the oldest is remembered by what it left behind."""
        said, before = [*self.words.said, place], self.words.paused_before
        while len(said) > PLACES:
            oldest = said.pop(0)
            before = oldest.word == "pause" if oldest.word in ("pause", "resume") else before
        self.set(said=tuple(said), paused_before=before)

    def close(self) -> None:
        """Give the lock back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _fail(self, why: str) -> None:
        self.kept, self.trouble = False, f"{self._path}: {why}: a pause or a halt will not survive a restart"

    def _take_lock(self, path: Path, symbol: str) -> None:
        if self._lock is not None:
            return
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode(errors="replace").strip()
            os.close(descriptor)
            raise UnsafeError(
                f"another tetrio on this host (process {holder or 'unknown'}) trades {symbol} with this account: "
                "stop it first"
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        self._lock = descriptor


def _place(known: Mapping[str, Any]) -> Place:
    return Place(int(known["trade_id"]), int(known["at_ms"]), str(known["word"]), bool(known["force"]))
