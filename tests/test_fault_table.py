"""Every fault of the catalogue is shown to be survived by a test, or excused by the line that makes it impossible."""

from __future__ import annotations

import pytest

from tests.faults import EXCUSED, MOST_EXCUSED, ROOT, TITLES, shown, table


def test_every_fault_has_a_test_or_an_excuse() -> None:
    print(table())
    missing = {number for number, tests in shown().items() if not tests and number not in EXCUSED}
    assert missing == set()


def test_no_mark_names_a_fault_that_is_not_in_the_catalogue() -> None:
    assert set(shown()) == set(TITLES) == {f"F{number}" for number in range(1, 131)}


def test_few_are_excused() -> None:
    assert len(EXCUSED) <= MOST_EXCUSED


@pytest.mark.parametrize("number", EXCUSED)
def test_what_excuses_a_fault_stands_where_it_says(number: str) -> None:
    excuse = EXCUSED[number]
    assert excuse.line in (ROOT / excuse.file).read_text("utf-8")
