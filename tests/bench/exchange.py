"""What the exchange carries, alone with one client on two cores: `python -m tests.bench.exchange [feed|orders|memory]`.

feed     bookTickers of a recorded market, 20,000 a second by its own times and then as fast as they go
orders   orders placed and cancelled by one client that waits for each answer, and by one that has 32 on the way
memory   a million bookTickers to one client: the exchange's memory at the beginning and at the end
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench._client import Hosted, Socket, hosted

START_NS = 1_767_225_600_000_000_000
A_SECOND = 20_000
SYMBOL = "ETHUSDT"
FUNDS = ("--fund", "ETH=100", "--fund", "USDT=1000000")


def market(path: Path, frames: int) -> Path:
    """A recording of `frames` best prices, 20,000 a second."""
    with path.open("w") as file:
        for number in range(frames):
            bid = 340_000 + number % 200
            data = {"u": number + 1, "s": SYMBOL, "b": _price(bid), "B": "1.5000", "a": _price(bid + 1), "A": "2.0000"}
            frame = {"stream": f"{SYMBOL.lower()}@bookTicker", "data": data}
            file.write(f"{START_NS + number * 1_000_000_000 // A_SECOND} {json.dumps(frame, separators=(',', ':'))}\n")
    return path


def _price(ticks: int) -> str:
    return f"{ticks // 100}.{ticks % 100:02}"


def read_all(frames: int, speed: float, at: Callable[[Hosted, int], None] = lambda exchange, count: None) -> None:
    """One client reads a recorded market to its end, and prints how fast; `at` is called after each read."""
    with tempfile.TemporaryDirectory() as folder:
        path = market(Path(folder) / "market", frames)
        with hosted("--market", path, "--speed", speed, *FUNDS) as exchange:
            line = Socket(exchange.urls["stream"], f"/ws/{SYMBOL.lower()}@bookTicker")
            count = len(line.receive())
            began, used = time.perf_counter(), exchange.cpu_s()
            while count < frames:
                count += len(line.receive())
                at(exchange, count)
            took, used = time.perf_counter() - began, exchange.cpu_s() - used
            print(
                f"feed, {A_SECOND * speed:,.0f} a second asked for: {frames / took:,.0f} messages a second, "
                f"{used / frames * 1e6:.1f} us of CPU each"
            )


def feed() -> None:
    """At the pace that is asked for, and at one that cannot be kept."""
    read_all(200_000, 1)
    read_all(600_000, 50)


def orders() -> None:
    """Placed and cancelled, one client."""
    with hosted(*FUNDS, "--symbol", SYMBOL) as exchange:
        client = Socket(exchange.urls["ws_api"])
        client.log_on(exchange.signer)
        for window, pairs in ((1, 5000), (32, 10000)):
            began, used = time.perf_counter(), exchange.cpu_s()
            place_and_cancel(client, pairs, window)
            took, used = time.perf_counter() - began, exchange.cpu_s() - used
            print(
                f"orders, {window} on the way: {pairs / took:,.0f} placed and cancelled a second, "
                f"{used / pairs * 1e6:.0f} us of CPU each"
            )


def place_and_cancel(client: Socket, pairs: int, window: int) -> None:
    """`pairs` orders, each cancelled, with at most `window` of them unanswered; the account's events come too."""
    for first in range(0, pairs, window):
        numbers = range(first, min(first + window, pairs))
        stamp = time.time_ns() // 1_000_000
        for number in numbers:
            order_id = f"bench-{stamp}-{number}"
            client.send(
                "order.place",
                10 + 2 * number,
                symbol=SYMBOL,
                side="BUY",
                type="LIMIT_MAKER",
                quantity="0.1",
                price="1000.00",
                newClientOrderId=order_id,
                timestamp=stamp,
            )
            if window == 1:
                client.answer(10 + 2 * number)
            client.send("order.cancel", 11 + 2 * number, symbol=SYMBOL, origClientOrderId=order_id, timestamp=stamp)
        client.answer(11 + 2 * numbers[-1])


def memory() -> None:
    """Flat: what a million messages leave behind."""
    seen: dict[int, float] = {}

    def note(exchange: Hosted, count: int) -> None:
        for mark in (100_000, 1_100_000):
            if count >= mark and mark not in seen:
                seen[mark] = exchange.rss_mb()

    read_all(1_100_000, 50, note)
    first, last = seen.values()
    print(f"memory: {first:.1f} MB after 100,000 messages, {last:.1f} MB a million later")


def main() -> None:
    """Those that are named, or all."""
    parts: dict[str, Callable[[], None]] = {"feed": feed, "orders": orders, "memory": memory}
    parser = argparse.ArgumentParser(prog="python -m tests.bench.exchange")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(parts)}; all of them")
    for name in parser.parse_args().parts or parts:
        if name not in parts:
            parser.error(f"{name} is no part: {', '.join(parts)}")
        parts[name]()


if __name__ == "__main__":
    main()
