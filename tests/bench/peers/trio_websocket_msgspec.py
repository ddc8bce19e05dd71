"""trio-websocket with a typed msgspec decoder: `trio_websocket_msgspec.py URL COUNT [--ca FILE]`."""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import ssl
import time

import msgspec
import trio
from trio_websocket import DisconnectionTimeout, open_websocket_url


class Book(msgspec.Struct, gc=False):
    u: int
    b: str
    a: str


class Line(msgspec.Struct, gc=False):
    data: Book


async def run(url: str, count: int, ca: str | None) -> dict[str, object]:
    context = ssl.create_default_context(cafile=ca) if url.startswith("wss") else None
    line, book_of = msgspec.json.Decoder(Line).decode, msgspec.json.Decoder(Book).decode
    bid = ask = max_bid = 0.0
    began = cpu = wall = 0.0
    left = count
    with contextlib.suppress(DisconnectionTimeout):  # the load server says no goodbye
        async with open_websocket_url(url, ssl_context=context, message_queue_size=4096, disconnect_timeout=0.1) as ws:
            while left:
                text = await ws.get_message()
                if not began:
                    began, cpu = time.perf_counter(), time.process_time()
                book = line(text).data if text[2] == "s" else book_of(text)
                bid, ask = float(book.b), float(book.a)
                max_bid = max(max_bid, bid)
                left -= 1
            wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    told = {"messages": count, "wall_s": wall, "cpu_s": cpu, "rss_mb": round(rss_mb, 1)}
    return {**told, "bid": bid, "ask": ask, "max_bid": max_bid}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("count", type=int)
    parser.add_argument("--ca")
    given = parser.parse_args()
    print(json.dumps(trio.run(run, given.url, given.count, given.ca)))


if __name__ == "__main__":
    main()
