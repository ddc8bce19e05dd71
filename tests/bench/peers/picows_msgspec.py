"""picows (asyncio, in C) with a typed msgspec decoder: `picows_msgspec.py URL COUNT [--ca FILE]`."""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import ssl
import time

import msgspec
import picows


class Book(msgspec.Struct, gc=False):
    u: int
    b: str
    a: str


class Line(msgspec.Struct, gc=False):
    data: Book


class Reader(picows.WSListener):  # type: ignore[misc]  # its types are not here
    """Decodes each frame where it arrives, and folds it."""

    def __init__(self, count: int) -> None:
        self.left, self.began, self.cpu = count, 0.0, 0.0
        self.bid = self.ask = self.max_bid = 0.0
        self._line, self._book = msgspec.json.Decoder(Line).decode, msgspec.json.Decoder(Book).decode

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type is not picows.WSMsgType.TEXT or not self.left:
            return
        if not self.began:
            self.began, self.cpu = time.perf_counter(), time.process_time()
        payload = frame.get_payload_as_memoryview()
        book = self._line(payload).data if payload[2] == 0x73 else self._book(payload)  # {"stream": or {"u":
        self.bid, self.ask = float(book.b), float(book.a)
        self.max_bid = max(self.max_bid, self.bid)
        self.left -= 1
        if not self.left:
            self.wall, self.cpu = time.perf_counter() - self.began, time.process_time() - self.cpu
            transport.disconnect()


async def run(url: str, count: int, ca: str | None) -> Reader:
    context = ssl.create_default_context(cafile=ca) if url.startswith("wss") else None
    transport, listener = await picows.ws_connect(lambda: Reader(count), url, ssl_context=context)
    await transport.wait_disconnected()
    assert isinstance(listener, Reader), "it is ours"
    return listener


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("count", type=int)
    parser.add_argument("--ca")
    given = parser.parse_args()
    read = asyncio.run(run(given.url, given.count, given.ca))
    rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    told = {"messages": given.count, "wall_s": read.wall, "cpu_s": read.cpu, "rss_mb": round(rss_mb, 1)}
    print(json.dumps({**told, "bid": read.bid, "ask": read.ask, "max_bid": read.max_bid}))


if __name__ == "__main__":
    main()
