"""A running `tetrio serve` as the machine sees it: its files, its sockets, what it says."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from tests.scenarios.runs import ROOT, surroundings

LISTEN = "0A"  # TCP_LISTEN, as /proc/net/tcp writes it
ACCEPTS = 0x10000  # SO_ACCEPTCON, as /proc/net/unix writes it


@attrs.frozen
class Running:
    """One bot."""

    process: subprocess.Popen[bytes]
    said: Path
    """Its standard output and standard error, as far as they have come."""

    def wait_for(self, words: str, within_s: float = 30) -> None:
        """Until it has said so."""
        self.wait_until(lambda: words in self.said.read_text(), within_s)

    def wait_until(self, holds: Callable[[], bool], within_s: float = 30) -> None:
        """Until something is so; AssertionError when the process ends before, or it takes too long."""
        until = time.monotonic() + within_s
        while not holds():
            assert self.process.poll() is None, self.said.read_text()[-2000:]
            assert time.monotonic() < until, self.said.read_text()[-2000:]
            time.sleep(0.05)


@contextmanager
def bot(said: Path, *arguments: object, environment: dict[str, str] | None = None) -> Iterator[Running]:
    """A bot for as long as the block lasts; then it is asked to stop, and has to."""
    with said.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "tetrio", *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=file, stderr=file,
            cwd=ROOT, env=surroundings(environment),
        )  # fmt: skip
    try:
        yield Running(process, said)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def listening(pid: int) -> list[str]:
    """Where a process can be reached: `127.0.0.1:8080`, `[::1]:80`, `udp 0.0.0.0:53`, or a path."""
    inodes = {
        found[1]
        for descriptor in Path(f"/proc/{pid}/fd").iterdir()
        if (found := re.match(r"socket:\[(\d+)\]", str(descriptor.readlink())))
    }
    places = []
    for table in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6"):
        path = Path(f"/proc/{pid}/net/{table}")
        for line in path.read_text().splitlines()[1:] if path.exists() else ():
            _, local, peer, state, *rest = line.split()
            heard = state == LISTEN if table.startswith("tcp") else peer.endswith(":0000")
            if heard and rest[5] in inodes:
                places.append(("" if table.startswith("tcp") else f"{table} ") + _address(local))
    for line in Path(f"/proc/{pid}/net/unix").read_text().splitlines()[1:]:
        _, _, _, flags, _, _, inode, *path_ = line.split()
        if int(flags, 16) & ACCEPTS and inode in inodes:
            places.append(path_[0] if path_ else "(no name)")
    return sorted(places)


def _address(text: str) -> str:
    address, _, port = text.partition(":")
    words = [
        bytes.fromhex(address[at : at + 8])[:: 1 if sys.byteorder == "big" else -1] for at in range(0, len(address), 8)
    ]
    octets = b"".join(words)
    if len(octets) == 4:
        return f"{'.'.join(map(str, octets))}:{int(port, 16)}"
    return f"[{octets.hex(':', 2)}]:{int(port, 16)}"
