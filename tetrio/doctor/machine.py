"""The rows about this machine: Python, time, disk, descriptors, key files, systemd. No network, nothing is changed.

Each takes what it looks at as an argument where a test needs another one.
"""

from __future__ import annotations

import ctypes
import datetime
import os
import platform
import resource
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from tetrio import keys
from tetrio.config import Config
from tetrio.doctor.rows import FAIL, OK, Row, fail, ok, skip, warn
from tetrio.live.latch import state_directory
from tetrio.log import Secret
from tetrio.systemd import SERVICE
from tetrio.wire.sign import Signer

PYTHON = (3, 11)
LEAST_FREE = 500 << 20  # bytes: about a year of journal
LEAST_FILES = 256  # descriptors; a bot on its own exchange needs about 40
UNSYNCHRONISED = 5  # TIME_ERROR of adjtimex(2)
TIMEX = 512  # bytes, more than struct timex has anywhere
UNIT_DIRECTORIES = ("etc/systemd/system", "run/systemd/system", "usr/local/lib/systemd/system", "lib/systemd/system")


@attrs.frozen
class Held:
    """The keys, as far as their files may be used."""

    api_key: Secret | None = None
    signer: Signer | None = None


def python(version: tuple[int, int, int] = sys.version_info[:3]) -> Row:
    """The interpreter."""
    text = f"{'.'.join(map(str, version))} ({platform.python_implementation()}, {platform.machine()})"
    if version[:2] < PYTHON:
        return fail("python", text, f"install Python {'.'.join(map(str, PYTHON))} or later, and make the venv anew")
    return ok("python", text)


def kernel_time() -> int | None:
    """What adjtimex(2) says of the clock, without setting it: 5 is not synchronised; None where it may not be asked."""
    found: int = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(TIMEX))
    return found if found >= 0 else None


def time_sync(state: int | None, now: datetime.datetime) -> Row:
    """Whether something keeps the clock right; the offset itself is the row `clock`."""
    zone = f"time zone {now:%Z (UTC%z)}; tetrio shows UTC"
    if state is None:
        return skip("time", f"the kernel does not say whether the clock is kept right; {zone}")
    if state == UNSYNCHRONISED:
        return warn(
            "time",
            f"nothing keeps this clock right; {zone}",
            "`timedatectl set-ntp true`, or install systemd-timesyncd or chrony; in a container, on its host",
        )
    return ok("time", f"kept right by a time service; {zone}")


def disk(directories: Sequence[Path]) -> Row:
    """Free space where journal and state go: the first existing parent of each."""
    tight, told = [], []
    for directory in dict.fromkeys(_existing(each) for each in directories):
        try:
            free = shutil.disk_usage(directory).free
        except OSError as error:
            return warn("disk", f"{directory} cannot be looked at: {error.strerror}")
        writable = os.access(directory, os.W_OK)
        told.append(f"{_bytes(free)} free in {directory}" + ("" if writable else ", which this user may not write"))
        if free < LEAST_FREE:
            tight.append(str(directory))
    text = "; ".join(told)
    if tight:
        return warn("disk", text, "make room: a full disk stops no trading, but nothing is recorded any more")
    return ok("disk", text)


def _existing(path: Path) -> Path:
    path = path.absolute()
    return next(each for each in (path, *path.parents) if each.is_dir())


def _bytes(number: int) -> str:
    size = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def kept_in(config: Config, environ: Mapping[str, str]) -> list[Path]:
    """Directories that tetrio may write: the current one, and the one of the state file."""
    kept = state_directory("off" if config.embedded else config.control.state, environ)
    return [Path(), kept] if kept else [Path()]


def files(limit: int | None = None) -> Row:
    """How many descriptors a process may have."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if limit is None else limit
    if most != resource.RLIM_INFINITY and most < LEAST_FILES:
        return warn("open files", f"at most {most}", "raise it: `ulimit -n 1024`, LimitNOFILE= under systemd")
    return ok("open files", "no limit" if most == resource.RLIM_INFINITY else f"at most {most}")


def key_files(config: Config) -> tuple[list[Row], Held]:
    """Both files of [account], and what they hold."""
    rows: list[Row] = []
    api_key, signer = None, None
    if config.account.private_key_file:
        found, signer = keys.check_private(Path(config.account.private_key_file))
        rows += [_key_row(each) for each in found]
    else:
        rows.append(skip("private key", "none is configured"))
    if config.account.api_key_file:
        checked, api_key = keys.check_api_key(Path(config.account.api_key_file))
        rows.append(_key_row(checked))
    else:
        rows.append(skip("API key", "none is configured"))
    return rows, Held(api_key, signer)


def _key_row(checked: keys.Checked) -> Row:
    text = f"{checked.path}: {checked.text}" if checked.ok else checked.text
    return Row(checked.what, OK if checked.ok else FAIL, text, code=checked.code)


def systemd(environ: Mapping[str, str], root: Path = Path("/")) -> Row:
    """Whether systemd runs it, or would."""
    if environ.get("NOTIFY_SOCKET"):
        if environ.get("WATCHDOG_USEC"):
            return ok("systemd", f"runs this, and its watchdog waits {int(environ['WATCHDOG_USEC']) / 1e6:g} s")
        return warn("systemd", "runs this without a watchdog", "write the unit anew with `tetrio systemd install`")
    if not (root / "run/systemd/system").is_dir():
        return skip("systemd", "does not run on this machine (a container?)")
    units = [unit for each in UNIT_DIRECTORIES if (unit := root / each / SERVICE).is_file()]
    if not units:
        return warn("systemd", f"no {SERVICE}: nothing starts tetrio after a reboot", "`tetrio systemd install`")
    try:
        text = units[0].read_text("utf-8", "replace")
    except OSError as error:
        return warn("systemd", f"{units[0]} cannot be read: {error.strerror}")
    if "\nWatchdogSec=" not in text:
        return warn("systemd", f"{units[0]} has no WatchdogSec=", "write it anew with `tetrio systemd install`")
    return ok("systemd", f"{units[0]}, with a watchdog")
