"""What is simulated reads no real clock, no real entropy, and starts no thread: the same seed is the same run.

`test_run` shows that it is. This shows what would break it in a run that nobody has had yet.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import tetrio

ROOT = Path(tetrio.__file__).parent
SIMULATED = (
    "core",
    "wire",
    "net",
    "live",
    "sim",
    "chaos",
    "telegram",
    "journal",
    "beside.py",
    "health.py",
    "status.py",
)
"""What a life in a simulated world runs."""

CLOCKS = {
    f"time.{name}{unit}"
    for name in ("time", "monotonic", "perf_counter", "process_time", "thread_time")
    for unit in ("", "_ns")
} | {"time.sleep", "time.localtime", "time.gmtime", "time.ctime"}
DATES = {"datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today", "datetime.date.today"}
CHANCE = {"os.urandom", "os.getrandom", "uuid.uuid1", "uuid.uuid4", "random.SystemRandom"}
THREADS = {
    "trio.to_thread", "trio.from_thread", "trio.open_file", "trio.Path", "trio.run_process", "trio.wrap_file",
    "trio.lowlevel.start_thread_soon",
}  # fmt: skip
FORBIDDEN = CLOCKS | DATES | CHANCE | THREADS
FORBIDDEN_MODULES = {"secrets", "threading", "asyncio", "multiprocessing", "concurrent", "subprocess"}
SEEDED = {"random.Random"}
"""All that `random` may be used for: its functions share one hidden generator."""

EXEMPT = {
    ("net/clock.py", "time.time_ns"): "the one place where the date is read; a simulated host has a clock of its own",
    ("net/entropy.py", "os.urandom"): "the one place where chance is asked for; a virtual run puts a seed beneath it",
    ("net/virtual.py", "os.urandom"): "this is where the seed is put beneath it",
    ("net/virtual.py", "random.seed"): "seeds the hidden generator, from which trio-websocket draws",
    ("net/virtual.py", "random.getstate"): "keeps that generator for afterwards",
    ("net/virtual.py", "random.setstate"): "gives it back",
    ("chaos/run.py", "time.perf_counter"): "how long a seed has taken, told beside the result and not in its hash",
    ("chaos/run.py", "time.process_time"): "how much work that was, told beside the result and not in its hash",
    ("journal/__init__.py", "time.monotonic"): "how long files may take to be closed, when nothing runs any more",
    ("journal/sinks.py", "threading"): "files are written by a thread of their own; a simulated life has no file",
}
"""(module, what it uses) -> why it may."""


def modules() -> list[str]:
    """The simulated modules, relative to the package."""
    paths = (path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))
    return sorted(path for path in paths if path.split("/")[0] in SIMULATED)


def uses(source: str) -> Iterator[str]:
    """What a module uses that a simulated one must not: dotted names, and sets whose order it goes by."""
    tree = ast.parse(source)
    names = dict(_imported(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute):
            yield from _forbidden(_dotted(node, names))
        elif isinstance(node, ast.For | ast.AsyncFor | ast.comprehension) and _is_set(node.iter):
            yield f"the order of {ast.unparse(node.iter)}"
    for name in names.values():
        yield from ({name.split(".")[0]} & FORBIDDEN_MODULES)
        yield from ({name} & FORBIDDEN)


def _imported(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """What each imported name stands for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.asname or alias.name.split(".")[0], alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((alias.asname or alias.name, f"{node.module}.{alias.name}") for alias in node.names)


def _dotted(node: ast.expr, names: dict[str, str]) -> str:
    """`dt.now`, where dt is datetime.datetime, as datetime.datetime.now; "" for what is no imported name."""
    if isinstance(node, ast.Attribute):
        above = _dotted(node.value, names)
        return f"{above}.{node.attr}" if above else ""
    return names.get(node.id, "") if isinstance(node, ast.Name) else ""


def _forbidden(name: str) -> Iterator[str]:
    hidden_generator = name.startswith("random.") and name.count(".") == 1 and name not in SEEDED
    if name in FORBIDDEN or hidden_generator:
        yield name


def _is_set(node: ast.expr) -> bool:
    """Whether it is a set as far as one can see: strings in it come in another order in each process."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr | ast.BitAnd | ast.Sub | ast.BitXor):
        return _is_set(node.left) or _is_set(node.right)
    called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("set", "frozenset")
    return called or isinstance(node, ast.Set | ast.SetComp)


@pytest.mark.parametrize("module", modules())
def test_what_is_simulated_reads_no_clock_and_no_chance_of_this_machine(module: str) -> None:
    found = {each for each in uses((ROOT / module).read_text("utf-8")) if (module, each) not in EXEMPT}
    assert not found, f"{module} uses {', '.join(sorted(found))}"


def test_every_exemption_is_needed() -> None:
    used = {(module, each) for module in modules() for each in uses((ROOT / module).read_text("utf-8"))}
    assert EXEMPT.keys() <= used, f"not needed any more: {EXEMPT.keys() - used}"


@pytest.mark.parametrize("source", [
    "import time\ntime.time()",
    "import time as t\nt.monotonic_ns()",
    "from time import sleep",
    "from datetime import datetime\ndatetime.now()",
    "import datetime as dt\ndt.datetime.utcnow()",
    "import random\nrandom.choice([1])",
    "from random import shuffle\nshuffle([1])",
    "import random\nrandom.SystemRandom()",
    "import os\nos.urandom(4)",
    "import uuid\nuuid.uuid4()",
    "import secrets",
    "from threading import Lock",
    "import concurrent.futures",
    "import trio\nawait_ = trio.to_thread.run_sync",
    "import trio\ntrio.Path('x')",
    "for each in {1, 2}: print(each)",
    "print([each for each in set('ab')])",
    "print([each for each in frozenset('ab') - {'a'}])",
])  # fmt: skip
def test_it_would_be_found(source: str) -> None:
    assert list(uses(source))


@pytest.mark.parametrize("source", [
    "import random\nrandom.Random(7).choice([1])",
    "import trio\ntrio.current_time()",
    "import datetime\ndatetime.datetime.fromtimestamp(0, datetime.UTC)",
    "for each in sorted({1, 2}): print(each)",
    "time = 3\nprint(time)",
    "import os\nos.path",
])  # fmt: skip
def test_it_would_not_be_found(source: str) -> None:
    assert not list(uses(source))
