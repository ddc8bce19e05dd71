"""The drill: bugs that other bots have had, put back one at a time, for the simulator to find.

    python -m tests.drill [NAME ...] [--seeds 0:200] [--jobs N]

Each `*.patch` here is one bug: a header of `Name: value` lines (what it is, whose report, which fault, which invariant
must name it, options of `tetrio chaos`), and a unified diff of `tetrio/`. The package is copied, the diff applied, and
`tetrio chaos` runs seed after seed in the copy until the named invariant is violated. A bug that is not found, or found
by another invariant only, fails the drill: it shows that the tests can fail.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import sys

from tests.drill.bugs import BUGS, Bug, read
from tests.drill.search import Found, search


def main() -> int:
    """Run the drill; 1 when a bug stays unfound."""
    parser = argparse.ArgumentParser(prog="python -m tests.drill", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="bugs, by how their names begin; default: all")
    parser.add_argument("--seeds", default="0:200", metavar="A:B", help="seeds to try, B exclusive")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="bugs at a time")
    given = parser.parse_args()
    chosen = [read(path) for path in BUGS if not given.names or path.name.startswith(tuple(given.names))]
    if not chosen:
        print(f"no patch begins with {' or '.join(given.names)}", file=sys.stderr)
        return 2
    first, last = map(int, given.seeds.split(":"))
    with concurrent.futures.ThreadPoolExecutor(given.jobs) as pool:
        results = pool.map(lambda bug: (bug, search(bug, first, last)), chosen)
        found = sum(_tell(bug, result) for bug, result in results)
    print(f"{found} of {len(chosen)} bugs found")
    return 0 if found == len(chosen) else 1


def _tell(bug: Bug, result: Found) -> bool:
    outcome = (
        f"{result.invariant} after {result.seeds} seeds" if result.invariant else f"NOT FOUND in {result.seeds} seeds"
    )
    print(f"{bug.name:34} {bug.fault:12} {outcome:28} {bug.what} ({bug.report}){result.note}", flush=True)
    return bool(result.invariant)


if __name__ == "__main__":
    sys.exit(main())
