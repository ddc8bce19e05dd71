"""`python -m tests.chaos.soak --hours 192`: whether a long life costs memory, tasks or descriptors.

One bot lives in a world in which its sessions are reset over and over. After each virtual hour it is counted what the
process holds; what it holds at the end is compared with what it held once it was warm. Not a test: it takes minutes.
"""

from __future__ import annotations

import argparse
import functools
import gc
import logging
import random
import tempfile
import tracemalloc
from pathlib import Path

import attrs
import trio

from tetrio.chaos.circumstances import LIVELY
from tetrio.chaos.referee import Referee
from tetrio.chaos.run import Witness, terms_of
from tetrio.chaos.trace import Trace
from tetrio.chaos.world import FACES, Circumstances, World, running
from tetrio.net import virtual
from tetrio.net.internet import with_internet

GIVEN = Circumstances(settings=(*LIVELY, "exit.chase=join"), fund="ETH=0.4,FDUSD=0", telegram=False)
HOUR_S, WARM_S = 3600.0, 600.0
MOST_TOLD = 15
MOST_MORE = 1.15
"""What may be held at the end, as a multiple of what was held when it was warm."""


@attrs.frozen
class Held:
    """What the process holds."""

    rss_kib: int
    tasks: int
    descriptors: int
    objects: int

    @classmethod
    def now(cls) -> Held:
        """Counted at this moment."""
        gc.collect()
        status = Path("/proc/self/status").read_text("utf-8")
        rss = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
        tasks = trio.lowlevel.current_statistics().tasks_living
        return cls(rss, tasks, len(list(Path("/proc/self/fd").iterdir())), len(gc.get_objects()))

    def __str__(self) -> str:
        return f"{self.rss_kib:8} KiB {self.tasks:4} tasks {self.descriptors:4} descriptors {self.objects:8} objects"


async def _live(hours: float, every_s: float, place: Path, traced: bool) -> list[Held]:
    witness = Witness(Referee(terms_of(GIVEN)), Trace())
    held: list[Held] = []
    async with with_internet(random.Random("soak")) as internet:
        world = World(1, GIVEN, internet, witness, place)
        async with running(world) as nursery:
            world.bear(nursery)
            nursery.start_soon(_reset, world, every_s)
            await trio.sleep(WARM_S)
            held.append(Held.now())
            print(f"{WARM_S / HOUR_S:6.2f} h {held[-1]}", flush=True)
            for hour in range(1, round(hours) + 1):
                await trio.sleep_until(hour * HOUR_S)
                held.append(Held.now())
                if traced and hour == 1:
                    tracemalloc.start()
                print(f"{hour:6} h {held[-1]} {witness.referee.counts['connect']:6} connections", flush=True)
            if traced:
                for each in tracemalloc.take_snapshot().statistics("filename")[:MOST_TOLD]:
                    print(f"{each.size // 1024:8} KiB in {each.count:7} pieces: {each.traceback}")
    return held


async def _reset(world: World, every_s: float) -> None:
    """The sessions of the bot are reset, for as long as there is one."""
    while True:
        await trio.sleep(every_s)
        for name in FACES.values():
            for connection in world.internet.connections(world.hosts[name]):
                connection.reset()


def main() -> int:
    """0 when what is held at the end is about what was held when it was warm."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=192.0)
    parser.add_argument("--every", type=float, default=180.0, help="s between two resets: a thousand take 50 h")
    parser.add_argument("--trace", action="store_true", help="slowly: tell which files hold what is new since hour 1")
    options = parser.parse_args()
    logging.getLogger("tetrio").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="tetrio-soak-") as place:
        held = virtual.run(functools.partial(_live, options.hours, options.every, Path(place), options.trace), 1)
    first, last = held[min(1, len(held) - 1)], held[-1]
    flat = last.rss_kib <= first.rss_kib * MOST_MORE and last.descriptors <= first.descriptors + 4
    print("flat" if flat else "grows", f"from {first} to {last}")
    return 0 if flat else 1


if __name__ == "__main__":
    raise SystemExit(main())
