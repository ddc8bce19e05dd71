"""The operator's words over restarts, and the lock beside them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tetrio.errors import UnsafeError
from tetrio.live.latch import PLACES, Latch, Place, Words, state_directory


@contextmanager
def latch(directory: Path | None, where: str = "live", account: str = "7") -> Iterator[tuple[Latch, bool]]:
    made = Latch(directory)
    try:
        yield made, made.open(where, account, "ETHUSDT")
    finally:
        made.close()


def test_words_are_kept_for_one_account_and_symbol_at_one_venue(tmp_path: Path) -> None:
    with latch(tmp_path / "new") as (made, found):
        assert not found
        made.set(halted=True, leaving="BASE")
        assert (made.kept, made.trouble) == (True, "")
    with latch(tmp_path / "new") as (made, found):
        assert found
        assert made.words == Words(halted=True, leaving="BASE")
        with latch(tmp_path / "new", account="8") as (_, other):
            assert not other
        with latch(tmp_path / "new", where="demo") as (_, other):
            assert not other


def test_without_a_directory_words_are_kept_in_memory() -> None:
    with latch(None) as (made, found):
        assert found
        made.set(paused=True)
        assert (made.words.paused, made.kept) == (True, False)


def test_a_second_process_is_refused_by_its_number(tmp_path: Path) -> None:
    with latch(tmp_path), pytest.raises(UnsafeError, match=rf"process {os.getpid()}\) trades ETHUSDT"):
        Latch(tmp_path).open("live", "7", "ETHUSDT")
    with latch(tmp_path) as (_, found):
        assert not found, "nothing was said"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"paused": true}', "null", "\x00"])
def test_a_file_that_cannot_be_read_counts_as_lost_and_is_told(content: str, tmp_path: Path) -> None:
    with latch(tmp_path) as (made, _):
        made.set(paused=True)
    (path,) = tmp_path.glob("*.json")
    path.write_text(content)
    with latch(tmp_path) as (made, found):
        assert not found
        assert "cannot be read" in made.trouble
        made.set(halted=True)
        assert made.trouble == ""
    with latch(tmp_path) as (made, found):
        assert (found, made.words.halted) == (True, True)


def test_a_directory_that_cannot_be_used_is_told_and_holds_nothing_up(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with latch(tmp_path / "file") as (made, found):
        assert not found
        made.set(paused=True)
        assert made.words.paused
        assert not made.kept
        assert "will not survive a restart" in made.trouble


def test_the_files_are_the_owners_alone(tmp_path: Path) -> None:
    with latch(tmp_path / "state") as (made, _):
        made.set()
        assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("setting", "environ", "found"),
    [
        ("off", {}, None),
        ("/var/lib/x", {"STATE_DIRECTORY": "/a"}, Path("/var/lib/x")),
        ("auto", {"STATE_DIRECTORY": "/a:/b", "HOME": "/h"}, Path("/a")),
        ("auto", {"XDG_STATE_HOME": "/s", "HOME": "/h"}, Path("/s/tetrio")),
        ("auto", {"HOME": "/h"}, Path("/h/.local/state/tetrio")),
    ],
)
def test_where_the_words_are_kept(setting: str, environ: dict[str, str], found: Path | None) -> None:
    assert state_directory(setting, environ) == found


def test_words_are_read_even_where_the_lock_cannot_be_made(tmp_path: Path) -> None:
    with latch(tmp_path) as (made, _):
        made.set(halted=True)
    (lock,) = tmp_path.glob("*.lock")
    lock.unlink()
    lock.mkdir()
    with latch(tmp_path) as (made, found):
        assert found
        assert made.words.halted
        assert "will not survive a restart" in made.trouble


def test_a_directory_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(UnsafeError, match="others may write to it"):
        Latch(tmp_path / "open").open("live", "7", "ETHUSDT")


@pytest.mark.fault("F130")
def test_words_are_kept_with_their_places_and_a_pause_before_them_is_not_forgotten(tmp_path: Path) -> None:
    with latch(tmp_path) as (made, _):
        made.say(Place(3, 30, "pause"))
        for number in range(PLACES):
            made.say(Place(10 + number, 100 + number, "disarm", force=True))
    with latch(tmp_path) as (made, found):
        assert found
        assert made.remembers
        assert made.words.said == tuple(Place(10 + n, 100 + n, "disarm", force=True) for n in range(PLACES))
        assert made.words.paused_before
        made.say(Place(500, 5, "resume"))
        assert made.words.paused_before


def test_a_file_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    with latch(tmp_path) as (made, _):
        made.set(paused=True)
    (path,) = tmp_path.glob("*.json")
    path.write_text('{"paused": false, "halted": true, "leaving": "BASE", "taking": false}')
    with latch(tmp_path) as (made, found):
        assert found
        assert made.words == Words(halted=True, leaving="BASE")
