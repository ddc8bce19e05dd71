"""Opening the local socket where only its owner can reach it.

The directory must be ours and closed to other people's files; it is made, readable by nobody else, where it is missing.
What a dead process left there is replaced; what a living one answers at is not. The socket's file is born with mode
0600, and goes with the door.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import attrs

from tetrio.errors import ConfigError, UnsafeError

BACKLOG = 16
REMEDY = "name another with --set control.socket=PATH, or off"


@attrs.frozen
class Door:
    """A listening socket and the file that stands for it."""

    path: Path
    socket: socket.socket
    identity: tuple[int, int]
    """Device and inode of the file, to know it by."""

    def close(self) -> None:
        """Close the socket, and remove its file unless somebody has put another in its place."""
        self.socket.close()
        with contextlib.suppress(OSError):
            if _identity(self.path) == self.identity:
                self.path.unlink()


def open_door(path: Path) -> Door:
    """Listen at `path`.

    UnsafeError when the directory is open to others, or when a living process answers there; ConfigError when the
    machine cannot do it.
    """
    try:
        _prepare(path.parent)
        with _alone_in(path.parent):
            _clear(path)
            return _listen(path)
    except OSError as error:
        raise ConfigError(f"the control socket {path} cannot be made: {error.strerror or error}; {REMEDY}") from error


def _prepare(directory: Path) -> None:
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    link, uid = directory.lstat(), os.getuid()
    if stat.S_ISLNK(link.st_mode) and link.st_uid not in (0, uid):
        raise UnsafeError(f"{directory} is a symbolic link that uid {link.st_uid} made: remove it, or {REMEDY}")
    found = directory.stat()
    if not stat.S_ISDIR(found.st_mode):
        raise UnsafeError(f"{directory} is no directory: remove it, or {REMEDY}")
    if found.st_uid != uid:
        raise UnsafeError(f"{directory} belongs to uid {found.st_uid}, not to us (uid {uid}): {REMEDY}")
    if found.st_mode & 0o022:
        raise UnsafeError(f"others may write to {directory}: chmod 700 it, or {REMEDY}")


@contextlib.contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """Keep a process that starts at the same moment from taking a socket that is just being made for a dead one's."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UnsafeError(f"another tetrio is starting in {directory}: start again, or {REMEDY}") from None
        yield
    finally:
        os.close(fd)


def _clear(path: Path) -> None:
    """Remove what a dead process left; refuse what is not that."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise UnsafeError(f"{path} is there and is no socket: remove it, or {REMEDY}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knock:
        knock.setblocking(False)
        try:
            knock.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:
            pass  # its queue is full: it lives, and is slow
    raise UnsafeError(f"another tetrio answers at {path}: {REMEDY}")


def _listen(path: Path) -> Door:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.fchmod(listener.fileno(), 0o600)  # Linux gives the file the socket's mode: there is no moment without it
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(BACKLOG)
        return Door(path, listener, _identity(path))
    except BaseException:
        listener.close()
        raise


def _identity(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino
