"""`python -m tests.chaos.repeat --seeds 0:100`: whether a seed does the same in two processes.

`tetrio chaos` runs the seeds twice, in processes whose strings hash differently and in two time zones, and the SHA-256
of each seed's trace is compared. Not a test, since it takes minutes: `test_determinism` does it for a few.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys

RUNS = ({"PYTHONHASHSEED": "1", "TZ": "UTC"}, {"PYTHONHASHSEED": "random", "TZ": "Asia/Kathmandu"})


def traces(seeds: str, jobs: int, environment: dict[str, str]) -> dict[int, str]:
    """Seed -> SHA-256 of its trace; CalledProcessError where one violates an invariant."""
    command = [sys.executable, "-m", "tetrio", "chaos", "--seeds", seeds, "--json", "--jobs", str(jobs)]
    done = subprocess.run(command, env=os.environ | environment, stdout=subprocess.PIPE, text=True, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {line["seed"]: line["sha256"] for line in lines if "sha256" in line}


def main() -> int:
    """0 when every trace is the same both times."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.repeat", description="the same seeds twice")
    parser.add_argument("--seeds", default="0:100", metavar="A:B")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N")
    given = parser.parse_args()
    first, second = (traces(given.seeds, given.jobs, environment) for environment in RUNS)
    same = [seed for seed, trace in first.items() if second.get(seed) == trace]
    print(f"{len(same)} of {len(first)} traces are the same in two processes")
    for seed in first.keys() - same:
        print(f"seed {seed}: {first[seed]} and {second.get(seed)}")
    return 0 if first and len(same) == len(first) == len(second) else 1


if __name__ == "__main__":
    raise SystemExit(main())
