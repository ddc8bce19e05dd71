"""A server of bookTickers that costs next to nothing: `python -m tests.bench.load [options]`, a process of its own.

It prints its URL as a line of JSON, answers the opening handshake of whoever comes, sends pre-built frames, and waits
for the client to hang up. Blocking sockets: one connection, one thread. Without `--rate` frames go as fast as they are
taken, 64 KiB a write; with it one tick a write, at that many a second.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import json
import re
import socket
import ssl
import threading
import time

from tetrio.wire.stream import book_ticker

SYMBOL = "ETHFDUSD"
CHUNK = 64 << 10
_KEY = re.compile(rb"(?i)sec-websocket-key:\s*(\S+)")


def tick(number: int, *, combined: bool) -> bytes:
    """The frame of update `number`; prices walk up and down."""
    bid = 340_000 + number * 7 % 211
    text = book_ticker(SYMBOL, number, _price(bid), "1.50000000", _price(bid + 1), "2.00000000")
    if combined:
        text = b'{"stream":"%b@bookTicker","data":%b}' % (SYMBOL.lower().encode(), text)
    head = bytes((0x81, len(text))) if len(text) < 126 else b"\x81\x7e" + len(text).to_bytes(2, "big")
    return head + text


def _price(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02}000000"


def greet(connection: socket.socket) -> None:
    """The server's half of the opening handshake."""
    head = b""
    while b"\r\n\r\n" not in head:
        data = connection.recv(65536)
        if not data:
            raise ConnectionError("hung up before the handshake")
        head += data
    key = _KEY.search(head)
    assert key is not None, "a WebSocket client sends its key"
    token = base64.b64encode(hashlib.sha1(key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    connection.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n\r\n" % token
    )


def blast(connection: socket.socket, frames: list[bytes]) -> None:
    """As fast as they are taken; chunks end anywhere in a frame, as on the net."""
    whole = memoryview(b"".join(frames))
    for at in range(0, len(whole), CHUNK):
        connection.sendall(whole[at : at + CHUNK])


def pace(connection: socket.socket, frames: list[bytes], rate: float) -> None:
    """One a write, `rate` a second by an absolute schedule."""
    began = time.perf_counter()
    for number, frame in enumerate(frames):
        early = began + number / rate - time.perf_counter()
        if early > 0:
            time.sleep(early)
        connection.sendall(frame)


def serve(connection: socket.socket, context: ssl.SSLContext | None, frames: list[bytes], rate: float) -> None:
    """One client; that it hangs up in the middle is its right."""
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            connection = context.wrap_socket(connection, server_side=True)
        with connection:
            greet(connection)
            if rate:
                pace(connection, frames, rate)
            else:
                blast(connection, frames)
            while connection.recv(65536):
                pass


def main() -> None:
    """Until it is ended."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.load")
    parser.add_argument("--count", type=int, default=200_000, help="ticks to each client")
    parser.add_argument("--combined", action="store_true", help="as a combined stream wraps them")
    parser.add_argument("--rate", type=float, default=0.0, help="ticks a second, one a write; 0: as fast as they go")
    parser.add_argument("--cert", help="wss, with this certificate and key, PEM")
    given = parser.parse_args()
    frames = [tick(number, combined=given.combined) for number in range(1, given.count + 1)]
    context = None
    if given.cert:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(given.cert)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        scheme, port = "ws" if context is None else "wss", listener.getsockname()[1]
        print(json.dumps({"url": f"{scheme}://localhost:{port}"}), flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection, context, frames, given.rate), daemon=True).start()


if __name__ == "__main__":
    main()
