from __future__ import annotations

import errno
import io
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO, cast

import pytest
import trio

from tetrio.core.market import Reason, Side, Want
from tetrio.errors import ConfigError
from tetrio.journal import Fact, FileSink, Journal, PatientSink, StreamSink, render, tell
from tetrio.log import Secret, conceal
from tetrio.status import Status, snapshot


def ticking() -> Callable[[], int]:
    counter = itertools.count(1_000)
    return lambda: next(counter)


class Disk:
    """A stream that is full for a while, or takes no more than so many characters."""

    def __init__(self) -> None:
        self.full = False
        self.text = ""
        self.writes = 0

    def write(self, text: str) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.text += text
        self.writes += 1
        return len(text)

    def flush(self) -> None:
        pass

    def fileno(self) -> int:
        raise OSError("in memory")

    def isatty(self) -> bool:
        return False


def on(disk: Disk, name: str = "disk") -> StreamSink:
    return StreamSink(cast(TextIO, disk), name)


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


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
    assert line["want"] | {"side": "BUY", "reason": "t", "episode": 3} == line["want"]
    assert line["all"] == ["0.10"]


def test_a_line_break_in_a_value_does_not_break_the_line() -> None:
    out = io.StringIO()
    Journal([StreamSink(out)], ticking()).write("stop", why="one\ntwo\u2028three")
    assert out.getvalue().count("\n") == 1
    assert json.loads(out.getvalue())["why"] == "one\ntwo\u2028three"


def test_a_full_disk_is_told_once_counted_and_tried_again() -> None:
    disk, err = Disk(), io.StringIO()
    journal = Journal([on(disk), StreamSink(err)], ticking())
    disk.full = True
    for number in range(3):
        journal.write("fill", number=number)
    assert journal.lost == 4, "and the line about it"
    told = lines(err.getvalue())
    assert [each["kind"] for each in told] == ["fill", "journal", "fill", "fill"]
    assert told[1] == {"ts": 1001, "kind": "journal", "sink": "disk", "state": "lost", "why": "No space left on device"}

    disk.full = False
    journal.write("fill", number=3)
    assert [each.get("number") for each in lines(disk.text)] == [3, None]
    assert lines(disk.text)[1] == {"ts": 1005, "kind": "journal", "sink": "disk", "state": "back", "missed": 4}
    assert [sink.lost for sink in journal.sinks] == [4, 0]


def test_every_sink_failing_is_survived() -> None:
    one, two = Disk(), Disk()
    one.full = two.full = True
    journal = Journal([on(one), on(two, "other")], ticking())
    journal.write("fill")
    assert [fact.fields.get("sink") for fact in journal.recent] == [None, "disk", "other"]
    one.full = two.full = False
    journal.write("fill")
    assert [fact.fields["missed"] for fact in journal.recent if fact.fields.get("state") == "back"] == [3, 3]


def test_a_device_that_is_really_full_is_survived() -> None:
    journal = Journal([FileSink(Path("/dev/full"))], ticking())
    journal.write("fill")
    journal.write("fill")
    assert journal.lost == 3
    assert [fact.kind for fact in journal.recent] == ["fill", "journal", "fill"]
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


def test_remarks_reach_the_stream_and_not_the_file(tmp_path: Path) -> None:
    err = io.StringIO()
    journal = Journal([FileSink(tmp_path / "journal"), StreamSink(err)], ticking())
    journal.remark("warning", "tetrio.x", "odd", exception="ValueError", ts=1)
    assert (tmp_path / "journal").read_text() == ""
    assert lines(err.getvalue()) == [
        {"ts": 1000, "kind": "log", "level": "warning", "logger": "tetrio.x", "text": "odd", "exception": "ValueError",
         "ts_": 1}
    ]  # fmt: skip
    journal.close()


def test_a_batch_that_a_disk_takes_in_part_is_counted_by_line(tmp_path: Path) -> None:
    """In a process of its own, because the limit on a file's size is the process's."""
    program = f"""
import resource, sys
from tetrio.journal import Fact, FileSink
sink = FileSink(__import__("pathlib").Path({str(tmp_path / "journal")!r}))
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
sink.write([Fact(number, "fill", {{}}) for number in range(1000, 1010)])
print(sink.written, sink.lost, sink.why)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
sink.write([Fact(2000, "fill", {{}})])
print(sink.written, sink.lost, sink.why)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["3 7 File too large", "4 7 "]
    whole = (tmp_path / "journal").read_text().splitlines()
    assert [json.loads(line)["ts"] for line in [*whole[:3], whole[4]]] == [1000, 1001, 1002, 2000]
    assert whole[3] == '{"ts":1003,"kind":"fil', "100 bytes: what the disk tore stands on a line of its own"


# --- listeners -------------------------------------------------------------------------------------------------------


def test_a_listener_hears_each_fact_and_no_diagnostics() -> None:
    heard: list[Fact] = []
    disk = Disk()
    journal = Journal([on(disk)], ticking())
    journal.listeners.append(heard.append)
    journal.write("fill", number=1)
    journal.remark("info", "x", "y")
    disk.full = True
    journal.write("fill", number=2)
    assert [fact.kind for fact in heard] == ["fill", "fill", "journal"]


def test_a_listener_that_raises_is_told_once_and_not_called_again(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[Fact] = []
    heard: list[Fact] = []

    def broken(fact: Fact) -> None:
        calls.append(fact)
        raise ValueError("odd")

    journal = Journal([], ticking())
    journal.listeners += [broken, heard.append]
    for _ in range(3):
        journal.write("fill")
    assert len(calls) == 1
    assert len(heard) == 3
    assert [record.levelname for record in caplog.records] == ["ERROR"]


# --- for people ------------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("style", "as_text"), [("auto", True), ("text", True), ("json", False)])
def test_a_terminal_gets_words_unless_told_otherwise(style: str, as_text: bool) -> None:
    out = Terminal()
    journal = Journal([StreamSink(out, style=style)], lambda: 1_723_161_243_200_000_000)
    journal.write("order", state="NEW", side=Side.SELL, qty="0.30000000", price="2541.99", reason="t")
    expected = "23:54:03.200 order   NEW SELL 0.3 @ 2541.99  reason t\n"
    assert out.getvalue() == expected if as_text else json.loads(out.getvalue())


def test_no_terminal_gets_json() -> None:
    out = io.StringIO()
    Journal([StreamSink(out, style="auto")], ticking()).write("start")
    assert json.loads(out.getvalue()) == {"ts": 1000, "kind": "start"}


def test_foreign_text_cannot_move_the_cursor() -> None:
    assert "\x1b" not in tell(Fact(0, "refused", {"why": "\x1b[2Jgone"}))
    assert "\n" not in tell(Fact(0, "refused", {"why": "one\ntwo"}))


def test_what_utf8_or_64_bits_cannot_hold_is_still_written() -> None:
    fact = Fact(1, "refused", {"why": "half \ud83d", "count": 2**70})
    assert json.loads(render(fact)) == {"ts": 1, "kind": "refused", "why": "half \ud83d", "count": 2**70}
    out = Disk()
    Journal([StreamSink(cast(TextIO, out), style="text")], ticking()).write("refused", why="half \ud83d")
    assert "half" in out.text


# --- the thread that writes ------------------------------------------------------------------------------------------


def test_what_comes_together_is_written_together() -> None:
    disk = Disk()
    sink = PatientSink(on(disk))
    journal = Journal([sink], ticking())
    for number in range(200):
        journal.write("fill", number=number)
    journal.close()
    assert [each["number"] for each in lines(disk.text)] == list(range(200))
    assert disk.writes < 20
    assert (sink.written, sink.lost, sink.waiting) == (200, 0, 0)


def test_a_reader_who_stalls_costs_counted_lines_and_no_time() -> None:
    end, start = os.pipe()
    with os.fdopen(start, "w") as stream, os.fdopen(end, "rb", buffering=0) as reader:
        sink = PatientSink(StreamSink(stream, "stderr"), most=100)
        journal = Journal([sink], ticking())
        said: list[Fact] = []
        journal.listeners.append(lambda fact: said.append(fact) if fact.kind == "journal" else None)
        began = time.monotonic()
        for number in range(3000):
            journal.write("fill", number=number, text="x" * 100)
        assert time.monotonic() - began < 2
        assert sink.waiting <= 100
        assert said[-1].fields == {"sink": "stderr", "state": "lost", "why": "its reader has stalled"}

        told: list[bytes] = []
        drainer = threading.Thread(target=lambda: told.extend(_drained(reader)))
        drainer.start()
        assert sink.drain(5)
        journal.tend()
        assert said[-1].fields["state"] == "back"
        states = [fact.fields["state"] for fact in said]
        assert states == ["lost", "back"] * (len(states) // 2)
        assert sum(cast(int, fact.fields.get("missed", 0)) for fact in said) == journal.lost > 2000
        journal.close()
        stream.close()
        drainer.join(5)
    got = lines(b"".join(told).decode())
    assert got[-1]["state"] == "back", "said to the reader too"
    assert len(got) == sink.written == 3000 + len(said) - sink.lost


def _drained(reader: Any) -> list[bytes]:
    return list(iter(lambda: reader.read(65536), b""))


def test_the_end_waits_for_a_stuck_reader_no_longer_than_it_may(tmp_path: Path) -> None:
    end, start = os.pipe()
    stream = os.fdopen(start, "w")
    stuck = PatientSink(StreamSink(stream, "stderr"), most=10_000)
    journal = Journal([stuck, PatientSink(FileSink(tmp_path / "journal"))], ticking())
    for number in range(2000):
        journal.write("fill", number=number, text="x" * 100)
    began = time.monotonic()
    journal.close(0.3)
    assert time.monotonic() - began < 1
    told = lines((tmp_path / "journal").read_text())
    assert [each["number"] for each in told[:2000]] == list(range(2000))
    (last,) = told[2000:]
    assert (last["sink"], last["state"]) == ("stderr", "lost")
    assert last["missed"] > 0
    os.close(end)  # the thread's write fails now, and it ends
    stuck.close(5)
    stream.close()


def test_a_full_disk_behind_a_thread_is_told_when_the_journal_is_tended() -> None:
    err = io.StringIO()
    disk = PatientSink(FileSink(Path("/dev/full")))
    journal = Journal([disk, StreamSink(err)], ticking())
    journal.write("fill")
    assert disk.drain()
    journal.tend()
    told = lines(err.getvalue())[1]
    assert (told["sink"], told["state"], told["why"]) == ("/dev/full", "lost", "No space left on device")
    journal.tend()
    assert len(lines(err.getvalue())) == 2, "once"
    journal.close()


def test_a_loss_that_only_the_end_shows_is_still_told() -> None:
    err = io.StringIO()
    journal = Journal([PatientSink(FileSink(Path("/dev/full"))), PatientSink(StreamSink(err))], ticking())
    journal.write("fill")
    journal.close()
    assert [each["kind"] for each in lines(err.getvalue())] == ["fill", "journal"]


def test_a_thread_may_say_something_where_only_trio_knows_the_date() -> None:
    journal = Journal([], trio_time)
    journal.remark("warning", "x", "from outside")
    assert journal.recent[-1].ts == 0


def trio_time() -> int:
    return round(trio.current_time())


def test_standard_error_that_is_closed_is_survived() -> None:
    journal = Journal([StreamSink(None)], ticking())
    journal.write("fill")
    assert journal.lost == 2
    assert journal.recent[-1].fields["why"] == "there is none"


# --- secrets ---------------------------------------------------------------------------------------------------------


def test_a_secret_in_any_field_reaches_no_sink_and_the_line_stays_json() -> None:
    Secret("CANARY00journal")
    conceal("1234567890123")
    out, words = io.StringIO(), io.StringIO()
    journal = Journal([StreamSink(out), StreamSink(words, style="text")], ticking())
    journal.write("odd", why="CANARY00journal!", deep={"CANARY00journal": ["CANARY00journal", 7]}, id=1234567890123)
    assert lines(out.getvalue()) == [
        {"ts": 1000, "kind": "odd", "why": "***!", "deep": {"***": ["***", 7]}, "id": 1234567890123}
    ]
    assert "CANARY00journal" not in words.getvalue()
    assert journal.recent[-1].fields["why"] == "***!", "what Telegram and the panel see"


# --- status ----------------------------------------------------------------------------------------------------------


def test_the_status_is_plain_for_a_file() -> None:
    status = Status(venue="sim", balances={"ETH": "1"}, gain=float("inf"))
    plain = snapshot(status)
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["balances"] == {"ETH": "1"}
    assert "facts" not in plain
