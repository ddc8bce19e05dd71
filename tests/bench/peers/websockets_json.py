"""websockets (asyncio) with json and dictionaries, as many bots read: `websockets_json.py URL COUNT [--ca FILE]`."""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import ssl
import time

from websockets.asyncio.client import connect


async def run(url: str, count: int, ca: str | None) -> dict[str, object]:
    context = ssl.create_default_context(cafile=ca) if url.startswith("wss") else None
    bid = ask = max_bid = 0.0
    began = cpu = 0.0
    async with connect(url, ssl=context, compression=None, close_timeout=0.1) as line:
        left = count
        while left:
            text = await line.recv()
            if not began:
                began, cpu = time.perf_counter(), time.process_time()
            top = json.loads(text)
            top = top.get("data", top)
            bid, ask = float(top["b"]), float(top["a"])
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
    print(json.dumps(asyncio.run(run(given.url, given.count, given.ca))))


if __name__ == "__main__":
    main()
