"""The sum of what happened: the same for the same, whenever it is asked for, and held in little memory."""

from __future__ import annotations

import hashlib
import tracemalloc

from tetrio.chaos.trace import Trace


def test_it_is_the_sha256_of_all_that_was_told() -> None:
    trace, told = Trace(), [f"fact {number}" for number in range(2500)]
    for what in told:
        trace.tell(what)
        if what == "fact 1234":
            trace.sha256()
    assert trace.sha256() == hashlib.sha256("".join(told).encode()).hexdigest()


def test_what_was_told_is_not_kept() -> None:
    trace = Trace()
    tracemalloc.start()
    try:
        for number in range(20_000):
            trace.tell(f"fact {number} {'and all that belongs to it' * 4}")
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 500_000, "a thousand pieces at most, of some 160 bytes"
