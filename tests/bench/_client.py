"""What the benches of the exchange have in common: the exchange as a process of its own, and a client of bare sockets.

The client is as cheap as Python gets, so that what is measured is the exchange's: blocking sockets, frames walked in
one loop by `wire.frames`, nothing decoded that is not looked at.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tetrio.wire.frames import TEXT, FrameReader, client_frame
from tetrio.wire.sign import Signer, payload

API_KEY = "BenchKeyForTheEmbeddedExchangeOnly000000000000000000000000000000"
_UPGRADE = (
    b"GET %b HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_TICKS_A_S = os.sysconf("SC_CLK_TCK")


class Hosted:
    """A running `tetrio exchange`."""

    def __init__(self, process: subprocess.Popen[str], signer: Signer) -> None:
        assert process.stdout is not None, "it is piped"
        self.signer, self._process = signer, process
        self.urls: dict[str, str] = json.loads(process.stdout.readline())

    def cpu_s(self) -> float:
        """User and system time that it has used."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_A_S

    def rss_mb(self) -> float:
        """Resident memory, MB."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextlib.contextmanager
def hosted(*options: object) -> Iterator[Hosted]:
    """`tetrio exchange` with these options, on free ports, with one Ed25519 key and no limits of what may be asked."""
    signer = Signer.generate(os.urandom(32))
    with tempfile.TemporaryDirectory() as folder:
        public = Path(folder) / "bench.pem"
        public.write_text(signer.public_pem())
        command = [sys.executable, "-m", "tetrio", "exchange", "--limits", "off", "--key", f"{API_KEY}={public}"]
        with subprocess.Popen([*command, *map(str, options)], stdout=subprocess.PIPE, text=True) as process:
            try:
                yield Hosted(process, signer)
            finally:
                process.terminate()


class Socket:
    """One WebSocket connection, blocking."""

    def __init__(self, url: str, path: str = "") -> None:
        host, _, rest = url.removeprefix("ws://").partition("/")
        name, _, port = host.rpartition(":")
        self._socket = socket.create_connection((name, int(port)), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(_UPGRADE % f"/{rest}{path}".replace("//", "/").encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += self._socket.recv(65536)
        self._reader = FrameReader()
        self._waiting = self._texts(head.partition(b"\r\n\r\n")[2])

    def receive(self) -> list[bytes]:
        """The text frames of the next read; of what came with the handshake at first."""
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            return waiting
        data = self._socket.recv(1 << 18)
        if not data:
            raise ConnectionError("the exchange has closed the connection")
        return self._texts(data)

    def _texts(self, data: bytes) -> list[bytes]:
        return [body for opcode, body in self._reader.feed(data) if opcode == TEXT]

    def send(self, method: str, number: int, **params: object) -> None:
        """One request of the WebSocket API."""
        body = json.dumps({"id": number, "method": method, "params": params}).encode()
        self._socket.sendall(client_frame(1, body, b"\0\0\0\0"))

    def log_on(self, signer: Signer) -> None:
        """session.logon and the account's events."""
        params: dict[str, object] = {"timestamp": time.time_ns() // 1_000_000, "apiKey": API_KEY}
        self.send("session.logon", 1, **params, signature=signer.sign(payload(params)))
        self.answer(1)
        self.send("userDataStream.subscribe", 2)
        self.answer(2)

    def answer(self, number: int) -> int:
        """Wait for the answer to a request; how many frames came until then. ConnectionError when it is a no."""
        head, came = b'{"id":%d,"status":' % number, 0
        while True:
            for frame in self.receive():
                came += 1
                if frame.startswith(head):
                    if not frame.startswith(b"200", len(head)):
                        raise ConnectionError(frame.decode())
                    return came

    def close(self) -> None:
        """No more."""
        self._socket.close()
