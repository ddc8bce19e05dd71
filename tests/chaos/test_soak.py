"""The verdict on a long life: what grows is told, what only wavers is not."""

from __future__ import annotations

from collections.abc import Sequence

from tests.chaos.soak import RESETS, Held, grown, left_over

HOURS = range(1, 73)


def hours(rss_kib: Sequence[float]) -> list[Held]:
    return [
        Held(float(hour), 30 * hour, round(rss), 600_000, round(rss / 5), 58, 12)
        for hour, rss in zip(HOURS, rss_kib, strict=True)
    ]


def after(resets: int, *, tasks: int = 58, descriptors: int = 12) -> Held:
    return Held(resets / 30, resets, 100_000, 600_000, 20_000, tasks, descriptors)


def test_memory_that_grows_by_a_quarter_of_a_percent_an_hour_is_seen() -> None:
    heap, resident = grown(hours([100_000 * 1.0025**hour for hour in HOURS]))
    assert heap.startswith("heap_kib: ")
    assert resident.startswith("rss_kib: ")


def test_memory_that_fills_up_first_and_then_wavers_is_flat() -> None:
    assert not list(grown(hours([min(100_000, 80_000 + 2_000 * hour) + 1_000 * (hour % 5) for hour in HOURS])))


def test_too_few_hours_say_nothing() -> None:
    assert len(list(grown(hours([100_000.0] * len(HOURS))[:36]))) == 1


def test_one_task_or_descriptor_more_is_seen() -> None:
    assert not list(left_over([after(0), after(RESETS), after(2 * RESETS)]))
    assert len(list(left_over([after(0), after(RESETS), after(2 * RESETS, tasks=59)]))) == 1
    assert len(list(left_over([after(0), after(RESETS, descriptors=13)]))) == 1


def test_too_few_resets_say_nothing() -> None:
    assert len(list(left_over([after(0)]))) == 1
