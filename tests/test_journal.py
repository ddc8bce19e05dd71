from __future__ import annotations

import errno
import io
import itertools
import json
import logging
import os
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from tetrio import log
from tetrio.core.market import Reason, Side, Want
from tetrio.errors import ConfigError
from tetrio.journal import FileSink, Journal, StreamSink
from tetrio.log import Secret
from tetrio.status import Status, snapshot


def ticking() -> Callable[[], int]:
    counter = itertools.count(1_000)
    return lambda: next(counter)


class Disk:
    """A sink that is full for a while."""

    facts_only = True

    def __init__(self) -> None:
        self.name = "disk"
        self.full = False
        self.lines: list[str] = []

    def write(self, line: str) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.lines.append(line)

    def close(self) -> None:
        self.lines.append("closed")


def test_a_fact_is_one_json_line_with_its_time_kind_and_symbol() -> None:
    out = io.StringIO()
    journal = Journal([StreamSink(out)], ticking(), symbol="ETHUSDT")
    journal.write("order", side=Side.SELL, price=Decimal("1E+3"), qty="0.3", code=None, maker=True)
    journal.write("start", symbol="BTCUSDT", what=b"bytes", ratio=float("nan"))
    first, second = out.getvalue().splitlines()
    assert first == (
        '{"ts":1000,"kind":"order","side":"SELL","price":"1000","qty":"0.3","maker":true,"symbol":"ETHUSDT"}'
    )
    assert json.loads(second) == {"ts": 1001, "kind": "start", "symbol": "BTCUSDT", "what": "bytes", "ratio": None}


def test_records_and_collections_become_plain() -> None:
    out = io.StringIO()
    Journal([StreamSink(out)], ticking()).write(
        "want", want=Want(Side.BUY, Reason.TAKE_PROFIT, 3), all=[Decimal("0.10")], by={Side.BUY: 1}
    )
    line = json.loads(out.getvalue())
    assert line["want"] == {"side": "BUY", "reason": "t", "episode": 3}
    assert line["all"] == ["0.10"]


def test_a_line_break_in_a_value_does_not_break_the_line() -> None:
    out = io.StringIO()
    Journal([StreamSink(out)], ticking()).write("stop", why="one\ntwo\u2028three")
    assert out.getvalue().count("\n") == 1
    assert json.loads(out.getvalue())["why"] == "one\ntwo\u2028three"


def test_a_full_disk_is_told_once_counted_and_tried_again() -> None:
    disk, err = Disk(), io.StringIO()
    journal = Journal([disk, StreamSink(err)], ticking())
    disk.full = True
    for number in range(3):
        journal.write("fill", number=number)
    assert journal.lost == 3
    told = [json.loads(line) for line in err.getvalue().splitlines()]
    assert [each["kind"] for each in told] == ["journal", "fill", "fill", "fill"]
    assert "No space left" in told[0]["why"]

    disk.full = False
    journal.write("fill", number=3)
    assert json.loads(disk.lines[0])["number"] == 3
    back = [fact for fact in journal.recent if fact.kind == "journal"][-1]
    assert back.fields == {"sink": "disk", "state": "back", "missed": 3}


def test_every_sink_failing_is_survived() -> None:
    one, two = Disk(), Disk()
    two.name = "other"
    one.full = two.full = True
    journal = Journal([one, two], ticking())
    journal.write("fill")
    assert journal.lost >= 2
    assert "fill" in [fact.kind for fact in journal.recent]


def test_a_device_that_is_really_full_is_survived() -> None:
    journal = Journal([FileSink(Path("/dev/full"))], ticking())
    journal.write("fill")
    journal.write("fill")
    assert journal.lost == 2
    journal.close()


def test_a_file_is_appended_to_and_a_torn_line_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text('{"kind":"earlier"}\n{"kind":"to')
    journal = Journal([FileSink(path)], ticking())
    journal.write("start")
    assert path.read_text().splitlines() == ['{"kind":"earlier"}', '{"kind":"to', '{"ts":1000,"kind":"start"}']
    journal.close()


def test_a_journal_that_cannot_be_opened_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be written: No such file"):
        FileSink(tmp_path / "missing" / "journal.jsonl")


def test_the_latest_facts_are_kept_and_no_more() -> None:
    journal = Journal([], ticking())
    for number in range(1000):
        journal.write("fill", number=number)
    assert len(journal.recent) == 200
    assert journal.recent[-1].fields["number"] == 999


def test_remarks_reach_the_stream_and_not_the_file() -> None:
    disk, err = Disk(), io.StringIO()
    journal = Journal([disk, StreamSink(err)], ticking())
    journal.remark("warning", "tetrio.x", "odd")
    assert disk.lines == []
    assert json.loads(err.getvalue())["text"] == "odd"


# --- log, status -----------------------------------------------------------------------------------------------------


@pytest.fixture
def emitted() -> Iterator[list[tuple[str, str, str]]]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    lines: list[tuple[str, str, str]] = []
    log.setup(lambda level, name, text: lines.append((level, name, text)))
    yield lines
    root.handlers[:] = before
    root.setLevel(level)


def test_a_secret_shows_itself_to_nobody() -> None:
    secret = Secret("hunter2")
    assert "hunter2" not in f"{secret} {secret!r} {secret:>20} {[secret]} {(secret,)!s}"
    assert secret.reveal() == "hunter2"


@pytest.mark.parametrize(
    "text",
    [
        '{"id":1,"params":{"apiKey":"hunter2","signature":"hunter2"}}',
        "GET /api/v3/order?symbol=X&signature=hunter2",
        "X-MBX-APIKEY: hunter2",
        "POST https://api.telegram.org/bot123456:hunter2/sendMessage",
        "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nhunter2",
    ],
)
def test_diagnostics_lose_keys_and_signatures(emitted: list[tuple[str, str, str]], text: str) -> None:
    logging.getLogger("tetrio.test").warning("seen: %s", text)
    ((level, name, shown),) = emitted
    assert (level, name) == ("warning", "tetrio.test")
    assert "hunter2" not in shown
    assert shown.startswith("seen: ")


def test_diagnostics_are_one_line_even_with_a_traceback(emitted: list[tuple[str, str, str]]) -> None:
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        logging.getLogger("tetrio.test").exception("failed")
    ((_, _, shown),) = emitted
    assert "\n" not in shown
    assert "ValueError" in shown


def test_chatty_libraries_are_kept_quiet(emitted: list[tuple[str, str, str]]) -> None:
    logging.getLogger("httpx").info("HTTP Request: GET https://example.com")
    logging.getLogger("httpcore.connection").info("connect")
    logging.getLogger("httpx").warning("this one matters")
    assert [text for _, _, text in emitted] == ["this one matters"]


def test_the_status_is_plain_for_a_file() -> None:
    status = Status(venue="sim", balances={"ETH": "1"}, gain=float("inf"))
    plain = snapshot(status)
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["balances"] == {"ETH": "1"}
    assert "facts" not in plain
