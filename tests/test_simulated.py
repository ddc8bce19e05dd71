"""What runs in virtual time asks nobody but trio's clock and `net.entropy`: no real time, no chance, no threads.

A run from a seed is the same run again only as long as this holds. It walks the source of everything that a simulated
process may run. Whoever must ask the machine is in the table of exemptions, with the reason.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import tetrio

ROOT = Path(tetrio.__file__).parent
ROOMS = (
    "beside.py", "chaos", "core", "health.py", "journal", "live", "net", "operator.py", "sim", "status.py", "telegram",
    "wire",
)  # fmt: skip
MODULES = sorted(
    path.relative_to(ROOT).as_posix()
    for room in ROOMS
    for path in ([ROOT / room] if room.endswith(".py") else (ROOT / room).rglob("*.py"))
)
CLOCKS = {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time", "sleep"}
BANNED_CALLS = {
    *(f"time.{name}" for name in CLOCKS),
    *(f"datetime.{name}" for name in ("now", "utcnow", "today")),
    *(f"datetime.datetime.{name}" for name in ("now", "utcnow", "today")),
    "os.urandom", "trio.open_file", "trio.Path", "trio.to_thread.run_sync", "random.SystemRandom",
}  # fmt: skip
BANNED_MODULES = {"asyncio", "secrets", "socket", "threading", "uuid", "multiprocessing", "concurrent"}

EXEMPT: dict[tuple[str, str], str] = {
    ("chaos/run.py", "time.perf_counter"): "how long a seed took, for people; it goes into no trace",
    ("journal/__init__.py", "time.monotonic"): "how long closing waits for threads that a virtual run has not",
    ("journal/sinks.py", "threading"): "sinks of real time; a virtual run writes at once",
    ("net/clock.py", "time.time_ns"): "the machine's date, for a process of its own: WallClock",
    ("net/entropy.py", "os.urandom"): "the door itself",
    ("net/internet.py", "socket"): "its constants and errors",
    ("net/simnet.py", "socket"): "its constants",
    ("net/virtual.py", "os.urandom"): "replaced by the seed's, here",
    ("net/virtual.py", "random.getstate"): "put back at the end of a run",
    ("net/virtual.py", "random.seed"): "the payloads of trio-websocket's pings",
    ("net/virtual.py", "random.setstate"): "put back at the end of a run",
    ("sim/face/rest.py", "socket"): "its constants",
    ("sim/fault/wires.py", "socket"): "its constants",
}


def dotted(node: ast.expr) -> str:
    """`os.urandom` of an attribute, "" of what is no chain of names."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := dotted(node.value)):
        return f"{before}.{node.attr}"
    return ""


def _imported(node: ast.AST) -> Iterator[str]:
    """What an import brings in: modules that are banned, and banned names under another one."""
    if isinstance(node, ast.Import):
        yield from (alias.name.split(".")[0] for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield node.module.split(".")[0]
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def found(source: str) -> set[str]:
    """What of the banned a module asks for."""
    asked: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        asked.update(name for name in _imported(node) if name in BANNED_MODULES | BANNED_CALLS or _chance(name))
        if isinstance(node, ast.Attribute):
            name = dotted(node)
            if name in BANNED_CALLS or _chance(name):
                asked.add(name)
        elif isinstance(node, ast.Call) and dotted(node.func) in ("random.Random", "Random") and not node.args:
            asked.add("random.Random()")  # seeded by the machine
        elif isinstance(node, ast.For | ast.comprehension) and _is_set(node.iter):
            asked.add("the order of a set")
    return asked


def _chance(name: str) -> bool:
    """A function of the random module: all of them share one generator."""
    room, _, what = name.partition(".")
    return room == "random" and bool(what) and what != "Random"


def _is_set(node: ast.expr) -> bool:
    made = isinstance(node, ast.Call) and dotted(node.func) in ("set", "frozenset")
    return made or isinstance(node, ast.Set | ast.SetComp)


@pytest.mark.parametrize("module", MODULES)
def test_what_is_simulated_asks_no_real_clock_and_no_real_chance(module: str) -> None:
    asked = {what for what in found((ROOT / module).read_text("utf-8")) if (module, what) not in EXEMPT}
    assert not asked, f"{module} asks for {', '.join(sorted(asked))}"


def test_no_exemption_has_outlived_its_reason() -> None:
    for module, what in EXEMPT:
        assert what in found((ROOT / module).read_text("utf-8")), f"{module} asks for {what} no more"


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("import time\ndef f(): return time.time()", "time.time"),
        ("from time import monotonic", "time.monotonic"),
        ("from datetime import datetime\nx = datetime.now()", "datetime.now"),
        ("import random\nx = random.random()", "random.random"),
        ("from random import choice", "random.choice"),
        ("import random\nx = random.Random()", "random.Random()"),
        ("import os\nx = os.urandom(4)", "os.urandom"),
        ("import trio\nawait trio.to_thread.run_sync(f)", "trio.to_thread.run_sync"),
        ("import threading", "threading"),
        ("for x in {1, 2}: pass", "the order of a set"),
        ("x = [y for y in set(z)]", "the order of a set"),
    ],
)
def test_what_is_banned_is_seen(source: str, what: str) -> None:
    assert what in found(source)


def test_a_generator_with_a_seed_is_fine() -> None:
    assert found("import random\nx = random.Random(f'{seed}:plan').random()") == set()
