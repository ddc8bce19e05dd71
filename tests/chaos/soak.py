"""`python -m tests.chaos.soak --hours 192`: whether a long life costs memory, tasks or descriptors.

One bot lives in a world in which its sessions are reset over and over. What the process holds is counted each virtual
hour, right before a reset: at that moment every link is as old as it gets, so that counts can be compared. Bot,
exchange and referee are one process here.

What it holds grows until every store that has a bound is full. Those of the exchange and of the referee are made small
for this (`RETENTION`, `REMEMBERED`), so that they are within `WARM_H` rather than after days: a store without a bound
grows on, and is seen. From then on, each as the median of the last third of the hours against that of the first third

    memory in use  pieces of Python's and bytes of the heap may be `MOST_MORE`
    resident       `MOST_KEPT`: pages of which a part is in use are kept, and which those are depends on past peaks
    tasks          as many after every 1,000 resets as before
    descriptors    likewise
    the bot        has come back after every reset and does what is demanded of it at the end, a stop in order included;
                   the referee has seen nothing wrong

Not a test: it takes minutes.
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import gc
import logging
import random
import statistics
import sys
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs
import trio

from tetrio.chaos.circumstances import LIVELY, terms_of
from tetrio.chaos.demand import Demand
from tetrio.chaos.referee import Referee
from tetrio.chaos.trace import Trace
from tetrio.chaos.witness import Witness
from tetrio.chaos.world import FACES, Circumstances, World, a_disk, running
from tetrio.net import virtual
from tetrio.net.internet import with_internet
from tetrio.sim.retention import Retention

REMEMBERED = 1_000
RETENTION = Retention(untraded=2_000, traded=400, aggregates=50_000, seconds=7_200, minutes=1_500)
"""Full after 10 hours: of orders that traded there are some 45 an hour, 900 of others, 7,000 public trades."""
GIVEN = Circumstances(
    settings=(*LIVELY, "exit.chase=join"), fund="ETH=0.4,FDUSD=0", telegram=False, retention=RETENTION
)
HOUR_S, WARM_H = 3600.0, 36.0
"""The slowest of all: the 2,000 own trades that the bot knows by their ids, at some 60 an hour."""
RESETS = 1000
MOST_TOLD = 15
MOST_MORE = 1.03
MOST_KEPT = 1.05
"""Python takes memory by the MiB, which is 1 % of it all."""


@attrs.frozen
class Held:
    """What the process holds, after so many resets."""

    at_h: float
    resets: int
    rss_kib: int
    blocks: int
    """Pieces of up to 512 bytes that Python has handed out."""
    heap_kib: int
    """Larger ones, and everybody else's."""
    tasks: int
    descriptors: int

    @classmethod
    def now(cls, resets: int) -> Held:
        """Counted at this moment."""
        gc.collect()
        status = Path("/proc/self/status").read_text("utf-8")
        rss = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
        tasks = trio.lowlevel.current_statistics().tasks_living
        descriptors = len(list(Path("/proc/self/fd").iterdir()))
        blocks, heap = sys.getallocatedblocks(), _MALLINFO().in_use // 1024
        return cls(trio.current_time() / HOUR_S, resets, rss, blocks, heap, tasks, descriptors)

    def __str__(self) -> str:
        return (
            f"{self.at_h:7.2f} h {self.resets:6} resets {self.rss_kib:8} KiB {self.blocks:8} blocks"
            f" {self.heap_kib:8} KiB of the heap {self.tasks:4} tasks {self.descriptors:4} descriptors"
        )


class _Mallinfo(ctypes.Structure):
    """glibc's `struct mallinfo2`."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in ("a", "b", "c", "d", "mapped", "e", "f", "used", "g", "h"))

    @property
    def in_use(self) -> int:
        """Bytes."""
        return int(self.used + self.mapped)


_MALLINFO = ctypes.CDLL(None).mallinfo2
_MALLINFO.restype = _Mallinfo


class Soak:
    """One run."""

    def __init__(self, hours: float, every_s: float, traced: bool) -> None:
        self.hours, self.every_s, self.traced = hours, every_s, traced
        self.referee = Referee(terms_of(GIVEN), remembered=REMEMBERED)
        self.held: list[Held] = []
        """Each hour."""
        self.around: list[Held] = []
        """Before the first reset, and after every `RESETS`."""

    async def live(self, place: Path) -> None:
        """From the first moment to the last."""
        async with with_internet(random.Random("soak")) as internet:
            world = World(1, GIVEN, internet, Witness(self.referee, Trace()), place)
            async with running(world) as nursery:
                world.bear(nursery)
                await self._reset(world)
                await Demand(world, self.referee, 0.0).all()

    async def _reset(self, world: World) -> None:
        """The sessions of the bot are reset, for as long as it lasts."""
        resets, hour = 0, 1
        await trio.sleep(HOUR_S - self.every_s)
        while trio.current_time() < self.hours * HOUR_S - self.every_s / 2:
            await trio.sleep(self.every_s)
            if trio.current_time() >= hour * HOUR_S:
                self._count(resets, self.held)
                hour += 1
            if resets % RESETS == 0:
                self._count(resets, self.around)
            for name in FACES.values():
                for connection in world.internet.connections(world.hosts[name]):
                    connection.reset()
            resets += 1

    def _count(self, resets: int, among: list[Held]) -> None:
        among.append(Held.now(resets))
        if among is self.around:
            return
        print(among[-1], f"{self.referee.counts['connect']:6} connections", flush=True)
        if self.traced and len(among) == 2:
            tracemalloc.start()

    def faults(self) -> Iterator[str]:
        """What is not as it must be, and what it was judged by."""
        yield from grown(self.held)
        yield from left_over(self.around)
        resets = self.held[-1].resets if self.held else 0
        if self.referee.counts["logon"] <= resets:
            yield f"{self.referee.counts['logon']} sessions for {resets} resets"
        for violation in self.referee.violations[:MOST_TOLD]:
            yield f"{violation}"


def grown(held: Sequence[Held]) -> Iterator[str]:
    """Memory, from when all stores are full."""
    warm = [each for each in held if each.at_h >= WARM_H]
    third = len(warm) // 3
    if not third:
        yield f"{len(warm)} hours after the first {WARM_H:g} are too few to say anything of memory"
        return
    print(f"from hour {warm[0].at_h:.0f} to {warm[-1].at_h:.0f}")
    for name, unit, most in (
        ("blocks", "blocks", MOST_MORE),
        ("heap_kib", "KiB", MOST_MORE),
        ("rss_kib", "KiB", MOST_KEPT),
    ):
        values = [float(getattr(each, name)) for each in warm]
        first, last = statistics.median(values[:third]), statistics.median(values[-third:])
        slope = statistics.linear_regression([each.at_h for each in warm], values).slope
        what = f"{name}: {first:.0f} {unit}, then {last:.0f} ({last / first - 1:+.2%}); {slope * 24:+.0f} a day"
        print(what)
        if last > first * most:
            yield what


def left_over(around: Sequence[Held]) -> Iterator[str]:
    """Tasks and descriptors, from one thousand resets to the next."""
    if len(around) < 2:
        yield f"fewer than {RESETS} resets say nothing of tasks and descriptors"
        return
    for each in around:
        print(f"after {each.resets:6} resets: {each.tasks} tasks, {each.descriptors} descriptors")
    before = around[0]
    for after in around[1:]:
        if (after.tasks, after.descriptors) != (before.tasks, before.descriptors):
            yield f"{after.tasks} tasks and {after.descriptors} descriptors after {after.resets} resets"


def main() -> int:
    """0 when nothing has grown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=192.0)
    parser.add_argument("--every", type=float, default=120.0, help="s between two resets: a thousand take 33 h")
    parser.add_argument("--trace", action="store_true", help="slowly: tell which files hold what is new since hour 2")
    options = parser.parse_args()
    logging.getLogger("tetrio").setLevel(logging.CRITICAL)
    soak = Soak(options.hours, options.every, options.trace)
    with a_disk() as place:
        virtual.run(functools.partial(soak.live, Path(place)), 1)
    if options.trace:
        for each in tracemalloc.take_snapshot().statistics("filename")[:MOST_TOLD]:
            print(f"{each.size // 1024:8} KiB in {each.count:7} pieces: {each.traceback}")
    print(f"{options.hours * HOUR_S / time.process_time():.0f} virtual seconds per CPU second")
    faults = list(soak.faults())
    print(*faults or ["flat"], sep="\n")
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
