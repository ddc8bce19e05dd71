"""What is alive in this process, the exchange and the test left out: objects by type, their bytes, and what the system
lends: file descriptors, tasks, threads.

The exchange keeps its history and the test its notes, as they should. So everything is counted that is not reachable
from an object of theirs; the way stops at what leads back to the bot: functions, tasks, frames, and its own classes.
"""

from __future__ import annotations

import functools
import gc
import sys
import threading
import types
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import attrs
import trio
import trio._core._run as trio_run

THEIRS = ("tetrio.sim", "tetrio.chaos", "tests.", "_pytest", "pytest")
OURS = tuple(
    f"tetrio.{name}"
    for name in ("app", "beside", "live", "telegram", "metrics", "control", "systemd", "status", "journal", "log")
)
WALLS = frozenset((
    type, types.ModuleType, types.FunctionType, types.MethodType, types.BuiltinFunctionType, types.CodeType,
    types.FrameType, types.CoroutineType, types.GeneratorType, types.AsyncGeneratorType, functools.partial,
    trio.lowlevel.Task, trio.Nursery,
))  # fmt: skip
"""By exact type: isinstance would fill the caches of abstract classes, which is growth of our own making."""


@attrs.frozen
class Census:
    """One count."""

    at_s: float
    types: Counter[str]
    octets: Counter[str]
    """Bytes, by type."""
    descriptors: int
    tasks: int
    threads: int

    @property
    def objects(self) -> int:
        return self.types.total()

    @property
    def size(self) -> int:
        """Bytes."""
        return self.octets.total()

    def grown(self, before: Census) -> str:
        """The types that have grown the most since, for a person."""
        more = self.types - before.types
        return ", ".join(f"{name} {before.types[name]} -> {self.types[name]}" for name, _ in more.most_common(25))


def take_census() -> Census:
    """Count now; in a trio task."""
    trio_run.GLOBAL_RUN_CONTEXT.runner.deadlines._prune()  # by itself, trio lets a thousand scopes that are left wait
    gc.unfreeze()  # what was there before a virtual run is left out of its collections, and counts here
    gc.collect()
    every = gc.get_objects()
    theirs = _reachable(each for each in every if _module(each).startswith(THEIRS))
    kinds, octets, seen = Counter[str](), Counter[str](), set[int]()
    waiting = [each for each in every if id(each) not in theirs and each is not every and each is not theirs]
    del every
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        name = f"{_module(each)}.{type(each).__qualname__}"
        kinds[name] += 1
        octets[name] += sys.getsizeof(each, 0)
        waiting += [
            other for other in gc.get_referents(each) if not gc.is_tracked(other) and id(other) not in theirs
        ]  # what the collector does not track is found through what refers to it
    descriptors = sum(1 for _ in Path("/proc/self/fd").iterdir())
    return Census(trio.current_time(), kinds, octets, descriptors, _tasks(), threading.active_count())


def _module(thing: object) -> str:
    return str(type(thing).__module__)


def _reachable(roots: Iterable[object]) -> dict[int, object]:
    """Everything that the roots hold, by id; it is kept alive meanwhile, so that no id is used twice."""
    found: dict[int, object] = {}
    waiting = list(roots)
    while waiting:
        each = waiting.pop()
        if id(each) in found or type(each) in WALLS or isinstance(each, type) or _module(each).startswith(OURS):
            continue
        found[id(each)] = each
        waiting += gc.get_referents(each)
    return found


def _tasks() -> int:
    root = trio.lowlevel.current_root_task()
    assert root is not None, "trio runs"
    waiting, count = [root], 0
    while waiting:
        task = waiting.pop()
        count += 1
        for nursery in task.child_nurseries:
            waiting += nursery.child_tasks
    return count
