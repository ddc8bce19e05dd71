"""The shell's end of the local socket: ask, and read what the bot says.

Plain blocking sockets and the standard library: it is what a health check runs every few seconds. The bot's process
must be ours or root's, else it is somebody who poses as it; root may speak to anybody's.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tetrio.control import REPLY_BYTES, VERSION
from tetrio.errors import TetrioError, Timeout, UnsafeError

ANSWER_S = 6.0  # longer than the loop may be held up and the bot still be called alive
_CREDENTIALS = struct.Struct("iII")  # pid, uid, gid


class NotRunning(TetrioError):
    """Nobody listens: the bot is not running, or not here."""

    exit_code = 3


class NoAnswer(Timeout):
    """The bot is there and does not answer in time."""


class Reply(dict[str, Any]):
    """One line of the bot's."""

    @property
    def ok(self) -> bool:
        """False: refused; `text` says why."""
        return bool(self["ok"])

    @property
    def text(self) -> str:
        """For a person: printable, and line breaks."""
        return "".join(c if c.isprintable() or c == "\n" else "?" for c in str(self["text"]))

    @property
    def data(self) -> dict[str, Any]:
        """For a program."""
        return dict(self["data"])


class Caller:
    """A connection to a running bot; a context manager."""

    def __init__(self, places: Sequence[Path]) -> None:
        """Connect to the first of `places` where somebody listens; NotRunning, NoAnswer, UnsafeError."""
        self.path, self._socket = _connect(places)
        self._rest = b""
        self.pid = self._check()

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, do: str, **more: object) -> Reply:
        """Ask and wait for the answer."""
        with self._translated():
            self._socket.sendall(json.dumps({"v": VERSION, "do": do, **more}).encode() + b"\n")
            return self._read()

    def listen(self) -> Iterator[Reply]:
        """What else comes, line by line; NotRunning when the bot ends."""
        while True:
            with self._translated():
                reply = self._read()
            yield reply

    def _check(self) -> int:
        """The bot's process id (0: not visible from here); UnsafeError when it is not its owner's."""
        raw = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, _ = _CREDENTIALS.unpack(raw)
        own = os.getuid()
        if own not in (0, uid) and uid != 0:
            self._socket.close()
            raise UnsafeError(f"uid {uid} listens at {self.path}, not we (uid {own}) nor root: nothing was sent")
        return int(pid)

    def _read(self) -> Reply:
        while b"\n" not in self._rest:
            some = self._socket.recv(1 << 16)
            if not some:
                raise NotRunning(
                    f"tetrio closed the connection at {self.path}: it has ended, or serves too many others"
                )
            self._rest += some
            if len(self._rest) > REPLY_BYTES:
                raise TetrioError(f"what answers at {self.path} is not tetrio")
        line, _, self._rest = self._rest.partition(b"\n")
        try:
            reply = Reply(json.loads(line))
            version, _ = reply["v"], (reply["ok"], reply["text"], dict(reply["data"]))
        except (ValueError, KeyError, TypeError):
            raise TetrioError(f"what answers at {self.path} is not tetrio") from None
        if version != VERSION:
            raise TetrioError(f"the running tetrio speaks version {version} of the protocol, this one {VERSION}")
        return reply

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError:
            raise NoAnswer(
                f"tetrio (pid {self.pid}) does not answer at {self.path} within {ANSWER_S:g} s: "
                "it is held up; its log says more"
            ) from None
        except OSError as error:
            raise NotRunning(f"tetrio closed the connection at {self.path}: {error.strerror}") from None


def ask(places: Sequence[Path], do: str, **more: object) -> Reply:
    """Connect, ask, and hang up."""
    with Caller(places) as caller:
        return caller.ask(do, **more)


def wait_ended(pid_fd: int, within_s: float) -> bool:
    """Whether the process behind a pidfd ended in time."""
    waiting = select.poll()
    waiting.register(pid_fd, select.POLLIN)
    return bool(waiting.poll(within_s * 1000))


def _connect(places: Sequence[Path]) -> tuple[Path, socket.socket]:
    foreign: list[Path] = []
    for path in places:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(ANSWER_S)
        try:
            connection.connect(str(path))
            return path, connection
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            connection.close()
        except PermissionError:
            connection.close()
            foreign.append(path)
        except (BlockingIOError, TimeoutError):
            connection.close()
            raise NoAnswer(f"tetrio does not take connections at {path}: it is held up; its log says more") from None
        except OSError as error:
            connection.close()
            raise TetrioError(f"{path} cannot be spoken to: {error.strerror or error}") from None
    absent = " or ".join(str(path) for path in places if path not in foreign)
    if foreign:
        also = f"tetrio is not running here (no socket at {absent}); " if absent else ""
        raise UnsafeError(f"{also}the one at {foreign[0]} is another user's: run this as that user, or as root")
    raise NotRunning(f"tetrio is not running (no socket at {absent})")
