"""The real feed task on any server of bookTickers: `python -m tests.bench.feed URL COUNT [--ca FILE]`.

URL is the base of a market-stream service, ws:// or wss://; the line asks it for the combined streams of one symbol,
and reads raw payloads as well. Line, decoder, sieve and memory channel are the bot's; each quote is folded where the
strategy would take it (the last bid and ask, the highest bid). After COUNT quotes one JSON line tells:

    messages            quotes folded
    wall_s, cpu_s       from the first read that brought a frame
    rss_mb              of the process, at the end
    bid, ask, max_bid   decimal texts

The server need not have REST or klines. A line that is lost is made anew, as in the bot, and said on standard error.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time

import attrs
import trio

from tests.bench._rig import SYMBOL, base_of, feeding, rules_of, silent_journal, symbol_sent, trusting
from tetrio.core.market import Quote
from tetrio.core.money import plain
from tetrio.journal import Fact, render
from tetrio.live.feed import Item
from tetrio.net import trust
from tetrio.status import Status

LOOK_S = 0.5  # payloads for so long, and none of the symbol: another one is read


@attrs.define
class Watch:
    """The feed's clock: whoever first asks it for the date has the first frames in hand."""

    began: float = 0.0
    cpu: float = 0.0

    def now_ns(self) -> int:
        """The machine's date."""
        if not self.began:
            self.began, self.cpu = time.perf_counter(), time.process_time()
        return time.time_ns()


@attrs.define
class Fold:
    """What is folded: integer ticks."""

    left: int
    bid: int = 0
    ask: int = 0
    max_bid: int = 0

    def take(self, item: Item) -> None:
        """Every quote of a batch, none skipped, until there are enough."""
        if not isinstance(item, list):
            return
        quotes = [record for record in item if type(record) is Quote][: self.left]
        if quotes:
            self.left -= len(quotes)
            self.max_bid = max([self.max_bid, *[quote.bid for quote in quotes]])
            self.bid, self.ask = quotes[-1].bid, quotes[-1].ask


def _tell(fact: Fact) -> None:
    if fact.fields.get("state") == "lost":
        print(render(fact), file=sys.stderr)


async def measure(url: str, count: int, symbol: str) -> dict[str, object] | None:
    """One run; None when the server's payloads are of another symbol."""
    status, journal, watch, fold = Status(), silent_journal(), Watch(), Fold(count)
    journal.listeners.append(_tell)
    rules = rules_of(symbol)
    async with feeding(url, rules, status, journal, watch) as inbound:
        while fold.left == count:  # none yet
            with trio.move_on_after(LOOK_S) as patience:
                fold.take(await inbound.receive())
            if patience.cancelled_caught and status.frames:
                return None
        while fold.left > 0:
            fold.take(await inbound.receive())
        wall_s, cpu_s = time.perf_counter() - watch.began, time.process_time() - watch.cpu
    return {
        "messages": count,
        "wall_s": round(wall_s, 6),
        "cpu_s": round(cpu_s, 6),
        "rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6, 1),
        "bid": plain(fold.bid, rules.tick_size),
        "ask": plain(fold.ask, rules.tick_size),
        "max_bid": plain(fold.max_bid, rules.tick_size),
    }


async def run(url: str, count: int, symbol: str, ca: str | None) -> dict[str, object]:
    """One run, with the symbol that the server sends where none was named."""
    base, named = base_of(url)
    with trust.trusting(trusting(ca)):
        result = await measure(base, count, symbol or named or SYMBOL)
        while result is None:
            result = await measure(base, count, await symbol_sent(base))
    return result


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.feed")
    parser.add_argument("url", metavar="URL", help="ws:// or wss://, the base of a market-stream service")
    parser.add_argument("count", metavar="COUNT", type=int, help="quotes after which it ends")
    parser.add_argument("--symbol", default="", help=f"whose bookTickers to read (what the URL names, or {SYMBOL})")
    parser.add_argument("--ca", metavar="FILE", help="the authority of a wss:// server, PEM")
    given = parser.parse_args()
    print(json.dumps(trio.run(run, given.url, given.count, given.symbol, given.ca)))


if __name__ == "__main__":
    main()
