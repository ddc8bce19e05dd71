"""Times the way from tick to order: `python -m tests.bench.stopwatch [--count N] [--load RATE] COMMAND...`.

A market stream and a WebSocket API on two free ports; COMMAND is started with their URLs after its words. A tick is
written, and the time taken until the request whose client order id names it has come in whole; the request is answered
and after a pause the next tick follows. With `--load`, so many payloads of another kind a second come between.
Blocking sockets; one line of JSON: `ticks, p50_us, p99_us`.
"""

from __future__ import annotations

import argparse
import json
import re
import select
import socket
import statistics
import subprocess
import threading
import time

from tests.bench.load import SYMBOL, greet, tick

WARM = 200
PAUSE_S = 0.001
_ID = re.compile(rb'"id":\s*(\d+)')
_TICK = re.compile(rb"tick-(\d+)")


def frame(text: bytes) -> bytes:
    """A server's text frame."""
    head = bytes((0x81, len(text))) if len(text) < 126 else b"\x81\x7e" + len(text).to_bytes(2, "big")
    return head + text


def receive(connection: socket.socket, size: int) -> bytes:
    """Exactly so many bytes."""
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise ConnectionError("the client hung up")
        data += more
    return data


def request(connection: socket.socket) -> tuple[int, bytes]:
    """The next frame of a client: (opcode, payload)."""
    first, length = receive(connection, 2)
    length &= 0x7F
    if length == 126:
        length = int.from_bytes(receive(connection, 2), "big")
    mask, body = receive(connection, 4), receive(connection, length)
    whole = (mask * (length // 4 + 1))[:length]
    return first & 0x0F, (int.from_bytes(body, "big") ^ int.from_bytes(whole, "big")).to_bytes(length, "big")


def answer(connection: socket.socket, text: bytes) -> None:
    """What an exchange says to a new order, in short."""
    number, update = _ID.search(text), _TICK.search(text)
    assert number is not None, "a request has an id"
    result = {
        "symbol": SYMBOL, "orderId": int(update[1]) if update else 1, "clientOrderId": "x", "transactTime": 1,
        "executedQty": "0.0000", "status": "NEW",
    }  # fmt: skip
    told = {"id": int(number[1]), "status": 200, "result": result}
    connection.sendall(frame(json.dumps(told, separators=(",", ":")).encode()))


def wait_for(api: socket.socket, number: int) -> float:
    """When the order of a tick has come; others are answered on the way, and pings."""
    while True:
        opcode, text = request(api)
        came = time.perf_counter()
        if opcode == 0x9:
            api.sendall(bytes((0x8A, len(text))) + text)
        elif opcode == 0x1:
            answer(api, text)
            update = _TICK.search(text)
            if update is not None and int(update[1]) == number:
                return came


def load(stream: socket.socket, lock: threading.Lock, rate: float, over: threading.Event) -> None:
    """Payloads that make no order: trades of the symbol, 1 ms worth of them a write."""
    began, number = time.perf_counter(), 0
    head = f'{{"stream":"{SYMBOL.lower()}@trade","data":{{"e":"trade","E":1,"s":"{SYMBOL}","t":'
    while not over.is_set():
        due = int((time.perf_counter() - began) * rate)
        texts = [f'{head}{each},"p":"3400.00","q":"1.0","T":1,"m":true,"M":true}}}}' for each in range(number, due)]
        if texts:
            with lock:
                stream.sendall(b"".join(frame(text.encode()) for text in texts))
        number = due
        time.sleep(0.001)


def measure(stream: socket.socket, api: socket.socket, count: int, rate: float) -> list[float]:
    """Seconds from the write of a tick to its order."""
    lock, over, took = threading.Lock(), threading.Event(), list[float]()
    if rate:
        threading.Thread(target=load, args=(stream, lock, rate, over), daemon=True).start()
    for number in range(1, WARM + count + 1):
        with lock:
            began = time.perf_counter()
            stream.sendall(tick(number, combined=True))
        came = wait_for(api, number)
        if number > WARM:
            took.append(came - began)
        time.sleep(PAUSE_S)
    over.set()
    return took


def accept(*listeners: socket.socket) -> list[socket.socket]:
    """One client of each, in whatever order they come."""
    found: dict[socket.socket, socket.socket] = {}
    while len(found) < len(listeners):
        ready, _, _ = select.select([each for each in listeners if each not in found], [], [], 60)
        if not ready:
            raise TimeoutError("nobody came within a minute")
        for listener in ready:
            connection = found[listener] = listener.accept()[0]
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            greet(connection)
            connection.settimeout(20)
    return [found[each] for each in listeners]


def main() -> None:
    """One run of the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.stopwatch")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--load", type=float, default=0.0)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    urls = [f"ws://127.0.0.1:{each.getsockname()[1]}" for each in listeners]
    with subprocess.Popen([*given.command, *urls], stdout=subprocess.DEVNULL) as process:
        try:
            stream, api = accept(*listeners)
            took = measure(stream, api, given.count, given.load)
        finally:
            process.terminate()
    cuts = statistics.quantiles(took, n=100)
    told = {"ticks": len(took), "p50_us": round(statistics.median(took) * 1e6, 1), "p99_us": round(cuts[98] * 1e6, 1)}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
