"""`tetrio chaos`: the whole bot in virtual time, from seeds, while everything goes wrong around it."""

from __future__ import annotations

import argparse
import collections
import json
import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tetrio.cli.common import Usage, command

if TYPE_CHECKING:
    from concurrent.futures import ProcessPoolExecutor

    from tetrio.chaos.run import Result
    from tetrio.chaos.sweep import Point
    from tetrio.cli.common import Commands

TEN_MINUTES_H = 1 / 6


def add(commands: Commands) -> None:
    """The command and its options."""
    chaos = command(
        commands, "chaos", _chaos, "the whole bot in virtual time, with everything going wrong, from a seed"
    )
    which = chaos.add_mutually_exclusive_group()
    which.add_argument("--seeds", metavar="A:B", help="seeds A to B, without B (default 0:10)")
    which.add_argument("--seed", type=int, metavar="N", help="one seed: what happened last is printed too")
    chaos.add_argument(
        "--hours", type=_hours, default=TEN_MINUTES_H, metavar="H", help="virtual hours each (default 1/6)"
    )
    chaos.add_argument(
        "--fault-rate",
        type=_rate,
        default=1.0,
        metavar="R",
        help="how often something goes wrong: 1 is 90 times an hour",
    )
    chaos.add_argument(
        "--only", type=_troubles, default=(), metavar="NAMES", help="draw from these troubles alone: dns,reset,sigkill"
    )
    chaos.add_argument(
        "--sweep",
        choices=("kills", "bytes"),
        help="instead: kill at many steps, or cut behind each byte, of one seed's run",
    )
    chaos.add_argument("--points", type=int, default=1000, metavar="N", help="with --sweep: so many steps, or bytes")
    chaos.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (default 1)")


def _hours(text: str) -> float:
    above, slash, below = text.partition("/")
    hours = float(above) / float(below) if slash else float(above)
    if not 0 < hours <= 10_000:
        raise argparse.ArgumentTypeError(f"{text} is no number of hours above 0 and up to 10000")
    return hours


def _rate(text: str) -> float:
    rate = float(text)
    if not 0 <= rate <= 100:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 100")
    return rate


def _troubles(text: str) -> tuple[str, ...]:
    from tetrio.chaos.troubles import TROUBLES

    names = tuple(text.split(","))
    if unknown := [name for name in names if name not in TROUBLES]:
        raise argparse.ArgumentTypeError(f"no trouble is named {', '.join(unknown)}; there are {', '.join(TROUBLES)}")
    return names


def _chaos(options: argparse.Namespace) -> int:
    if options.sweep:
        return _sweep(options)
    seeds = _seeds(options)
    bad = 0
    cells: set[tuple[str, str]] = set()
    virtual_s = wall_s = cpu_s = 0.0
    for result in _results(seeds, options):
        bad += bool(result.violations)
        cells |= result.cells
        virtual_s, wall_s, cpu_s = virtual_s + result.virtual_s, wall_s + result.wall_s, cpu_s + result.cpu_s
        print(json.dumps(_as_json(result)) if options.json else _as_text(result, options.seed is not None), flush=True)
    if not options.json and len(seeds) > 1:
        from tetrio.chaos.coverage import table

        print(table(cells))
        print(
            f"{len(seeds)} seeds, {bad} with a violation; {virtual_s:.0f} virtual s, "
            f"{virtual_s / cpu_s:.0f} a second of processor, {virtual_s / wall_s:.0f} a second of clock and process"
        )
    return 1 if bad else 0


def _seeds(options: argparse.Namespace) -> range:
    if options.seed is not None:
        return range(options.seed, options.seed + 1)
    first, colon, last = (options.seeds or "0:10").partition(":")
    try:
        seeds = range(int(first), int(last) if colon else int(first) + 1)
    except ValueError:
        raise Usage(f"--seeds {options.seeds}: write A:B, such as 0:100") from None
    if not seeds:
        raise Usage(f"--seeds {options.seeds}: B must be above A")
    return seeds


def _results(seeds: range, options: argparse.Namespace) -> Iterator[Result]:
    given = [(seed, options.hours, options.fault_rate, options.only) for seed in seeds]
    if options.jobs <= 1:
        yield from map(_one, given)
        return
    with _workers(options.jobs) as pool:
        yield from pool.map(_one, given)


@contextmanager
def _workers(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Processes of our own; a SIGTERM to us ends them at once, whatever they are at."""
    import concurrent.futures
    import multiprocessing

    spawn = multiprocessing.get_context("spawn")

    def end(*_: object) -> None:
        for child in multiprocessing.active_children():
            child.kill()
        raise SystemExit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, end)
    try:
        with concurrent.futures.ProcessPoolExecutor(max(1, jobs), mp_context=spawn, initializer=_quiet) as pool:
            yield pool
    finally:
        signal.signal(signal.SIGTERM, before)


def _sweep(options: argparse.Namespace) -> int:
    from tetrio.chaos import sweep

    _quiet()
    seed = options.seed or 0
    places = sweep.steps(seed, options.points) if options.sweep == "kills" else sweep.bytes_to_cut(seed, options.points)
    bad, reached = 0, collections.Counter[str]()
    with _workers(options.jobs) as pool:
        for point in pool.map(sweep.play, places, chunksize=8):
            bad += bool(point.violations)
            reached[point.state or "none"] += 1
            if options.json:
                print(json.dumps(_point(point)), flush=True)
            elif point.violations:
                print(_told(point), flush=True)
    if not options.json:
        states = ", ".join(f"{state} {count}" for state, count in sorted(reached.items()))
        print(f"{len(places)} {options.sweep} of seed {seed} ({states}): {bad} with a violation")
    return 1 if bad else 0


def _point(point: Point) -> dict[str, object]:
    violations = [{"invariant": each.invariant, "at_s": each.at_s, "what": each.what} for each in point.violations]
    return {"at": point.at, "state": point.state, "violations": violations}


def _told(point: Point) -> str:
    lines = [f"    {line}" for line in point.last]
    lines += [f"  {each.invariant} violated at {each.at_s:.3f} s: {each.what}" for each in point.violations]
    return "\n".join([f"at {point.at} ({point.state}):", *lines])


def _quiet() -> None:
    logging.getLogger("tetrio").setLevel(logging.CRITICAL)  # what the exchange's side says of its faults


def _one(given: tuple[int, float, float, tuple[str, ...]]) -> Result:
    from tetrio.chaos.run import run_seed

    _quiet()
    seed, hours, rate, only = given
    return run_seed(seed, hours, rate, only=only)


def _as_json(result: Result) -> dict[str, object]:
    return {
        "seed": result.seed,
        "sha256": result.sha256,
        "virtual_s": round(result.virtual_s, 3),
        "wall_s": round(result.wall_s, 3),
        "steps": result.steps,
        "faults": result.faults,
        "violations": [
            {"invariant": each.invariant, "at_s": each.at_s, "what": each.what} for each in result.violations
        ],
    }


def _as_text(result: Result, whole: bool) -> str:
    lines = []
    if result.violations or whole:
        lines += [f"    {line}" for line in result.last]
    lines += [f"  {each.invariant} violated at {each.at_s:.3f} s: {each.what}" for each in result.violations]
    verdict = "OK"
    if result.violations:
        verdict = f"{len(result.violations)} violations"
    lines.append(
        f"seed {result.seed}: {sum(result.faults.values())} troubles, {result.counts.get('accept', 0)} orders, "
        f"{result.counts.get('fill', 0)} fills, {result.virtual_s:.0f} virtual s at "
        f"{result.virtual_s / result.cpu_s:.0f} a second of processor "
        f"({result.virtual_s / result.wall_s:.0f} of clock), {verdict}, {result.sha256[:16]}"
    )
    if result.violations:
        lines.append(f"again: tetrio chaos --seed {result.seed}")
    return "\n".join(lines)
