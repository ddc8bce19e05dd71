"""What a signed order costs the exchange over REST: `python -m tests.bench.rest_orders [COUNT]`.

An exchange in a process of its own, without limits; one client on one connection, one request after the other, signed
beforehand. Prints orders a second, and the exchange's CPU for each.
"""

# Last: Python 3.11, one of two shared cores:
#   POST order   HMAC       1004 a second, 0.75 ms of CPU
#   POST order   Ed25519     846 a second, 0.79 ms of CPU
# Of that the application takes 0.18 ms, engine and record included; the rest is HTTP.

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

from tetrio.wire.sign import Signer, sign_hmac

ED_KEY, HMAC_KEY, SECRET = "E" * 64, "H" * 64, "S" * 64
SIGNER = Signer.generate(bytes(range(32)))
TICKS = os.sysconf("SC_CLK_TCK")


def main(count: int) -> None:
    """Print a line for each kind of key."""
    with tempfile.TemporaryDirectory() as folder:
        public = Path(folder) / "key.pub.pem"
        public.write_text(SIGNER.public_pem())
        command = [sys.executable, "-m", "tetrio", "exchange", "--limits", "off", "--fund", "FDUSD=100000000"]
        command += ["--key", f"{ED_KEY}={public}", "--secret", f"{HMAC_KEY}={SECRET}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as exchange:
            assert exchange.stdout is not None
            url = urlsplit(json.loads(exchange.stdout.readline())["rest"])
            assert url.hostname is not None and url.port is not None
            try:
                symbol = _symbol(url.hostname, url.port)
                for key in (HMAC_KEY, ED_KEY):
                    _measure(exchange.pid, (url.hostname, url.port), symbol, key, count)
            finally:
                exchange.terminate()


def _measure(pid: int, address: tuple[str, int], symbol: str, key: str, count: int) -> None:
    requests = [_request(symbol, key) for _ in range(count)]
    with socket.create_connection(address) as line:
        began, cpu = time.perf_counter(), _cpu_s(pid)
        for request in requests:
            line.sendall(request)
            reply = _reply(line)
            assert reply.startswith(b"HTTP/1.1 200"), reply
        took, cpu = time.perf_counter() - began, _cpu_s(pid) - cpu
    kind = "Ed25519" if key == ED_KEY else "HMAC"
    print(f"POST order   {kind:8} {count / took:6.0f} a second, {cpu / count * 1000:.2f} ms of CPU")


def _request(symbol: str, key: str) -> bytes:
    """An order that nobody meets, and that expires at once: the book stays as it is."""
    order = {"symbol": symbol, "side": "BUY", "type": "LIMIT", "timeInForce": "IOC", "price": "100.00"}
    text = urlencode(order | {"quantity": "0.1", "recvWindow": 60000, "timestamp": time.time_ns() // 1_000_000})
    signature = sign_hmac(SECRET, text) if key == HMAC_KEY else SIGNER.sign(text)
    target = f"/api/v3/order?{text}&signature={quote(signature, safe='')}"
    return f"POST {target} HTTP/1.1\r\nHost: x\r\nX-MBX-APIKEY: {key}\r\nContent-Length: 0\r\n\r\n".encode()


def _reply(line: socket.socket) -> bytes:
    data = b""
    while True:
        part = line.recv(65536)
        assert part, "the exchange has hung up"
        data += part
        head, end, body = data.partition(b"\r\n\r\n")
        if end:
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            if len(body) >= length:
                return data


def _symbol(host: str, port: int) -> str:
    with socket.create_connection((host, port)) as line:
        line.sendall(b"GET /api/v3/exchangeInfo HTTP/1.1\r\nHost: x\r\n\r\n")
        body = _reply(line).partition(b"\r\n\r\n")[2]
    symbol: str = json.loads(body)["symbols"][0]["symbol"]
    return symbol


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3000)
