"""What was there before is known to have been, also when it has been forgotten."""

from __future__ import annotations

from tetrio.chaos.once import Once


def test_what_was_there_before_is_known() -> None:
    once = Once(3)
    assert once.add("a", "a-1", 1)
    assert once.met("a", "a-1", 1)
    assert not once.add("a", "a-1", 1)
    assert once.add("b", "b-1", 1), "another maker"


def test_what_was_forgotten_is_known_by_its_number() -> None:
    once = Once(3)
    assert all(once.add("a", f"a-{number}", number) for number in range(1, 11))
    assert not any(once.add("a", f"a-{number}", number) for number in range(1, 11))
    assert not once.met("a", "a-11", 11)
    assert not once.met("b", "b-1", 1), "nothing of theirs was forgotten"


def test_the_highest_number_that_was_forgotten_counts() -> None:
    once = Once(1)
    for number in (5, 2, 9):
        once.add("a", number, number)
    assert once.met("a", 2, 2) and once.met("a", 5, 5) and not once.met("a", 7, 7)


def test_what_has_no_number_is_forgotten_without_a_trace() -> None:
    once = Once(1)
    once.add("", "x", -1)
    assert once.met("", "x", -1)
    once.add("", "y", -1)
    assert not once.met("", "x", -1)
