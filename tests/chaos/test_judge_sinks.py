"""The referee on what leaves the bot, and what stays: secrets (S18), its service manager (S27), what it holds (S28)."""

from __future__ import annotations

import base64
import random
import urllib.parse
from collections.abc import Mapping
from pathlib import Path

import pytest
import trio

from tests.chaos.record import Record
from tetrio import log
from tetrio.chaos.bot_api import TOKEN
from tetrio.chaos.circumstances import terms_of
from tetrio.chaos.judge.leaks import LOOKS, Held
from tetrio.chaos.judge.signs import Seen
from tetrio.chaos.referee import Referee
from tetrio.chaos.trace import Trace
from tetrio.chaos.witness import Witness
from tetrio.chaos.world import Circumstances, World, running
from tetrio.net import virtual
from tetrio.net.internet import with_internet
from tetrio.wire.sign import Signer

SIGNER = Signer.generate(bytes(range(100, 132)))
PEM = SIGNER.private_pem()
BODY = "".join(PEM.splitlines()[1:-1])
KEY = base64.b64decode(BODY)[-32:]


def _planted() -> Record:
    record = Record()
    record.referee.plant(TOKEN, PEM)
    return record


# -- S18: no secret gets out ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        TOKEN,
        TOKEN.partition(":")[2],
        urllib.parse.quote(TOKEN, safe=""),
        base64.b64encode(TOKEN.encode()).decode(),
        BODY,
        KEY.hex(),
        repr(KEY),
        base64.b64encode(KEY).decode(),
        SIGNER.sign("symbol=ETHFDUSD"),
        urllib.parse.quote(SIGNER.sign("symbol=ETHFDUSD"), safe=""),
        '{"signature":"abcdefghijklmnopqrstuvwxyz"}',
    ],
)
def test_a_secret_in_a_sink_is_seen_and_not_told(text: str) -> None:
    record = _planted()
    record.referee.written(record.at, "log", "all is well", f"POST /bot{text}/sendMessage failed")
    assert record.named == ["S18"]
    assert "log" in record.referee.violations[0].what
    assert text not in record.referee.violations[0].what


def test_other_texts_may_be_written() -> None:
    record = _planted()
    record.referee.written(record.at, "journal", '{"kind":"warning","text":"POST /bot***/sendMessage: 502"}', PEM[:20])
    assert record.named == []


def test_each_sink_is_told_once() -> None:
    record = _planted()
    for sink in ("log", "journal", "log", "log"):
        record.referee.written(record.at, sink, TOKEN)
    assert record.named == ["S18", "S18"]


# -- S27: the manager is told the truth -------------------------------------------------------------------------------


def _signalled(record: Record, *lines: str, market_s: float = 0.0, session_s: float = 0.0) -> list[str]:
    """What is found where a process tells this, `market_s` and `session_s` after it last got something of each."""
    seen = Seen(market_s=record.at - market_s, session_s=record.at - session_s)
    record.referee.signalled(record.at, 1, lines, seen)
    return record.named


def test_a_sign_of_life_of_the_living_is_true() -> None:
    assert _signalled(Record(), "READY=1", "WATCHDOG=1", market_s=12, session_s=32) == []


def test_ready_before_it_was_in_step_is_seen() -> None:
    assert _signalled(Record(ready=False), "READY=1") == ["S27"]
    assert _signalled(Record(ready=False), "EXTEND_TIMEOUT_USEC=30000000", "STATUS=connecting") == []


@pytest.mark.parametrize(
    ("market_s", "session_s"), [(13.0, 0.0), (0.0, 33.0), (float("inf"), 0.0), (0.0, float("inf"))]
)
def test_a_sign_of_life_without_a_market_or_a_session_is_seen(market_s: float, session_s: float) -> None:
    assert _signalled(Record(), "WATCHDOG=1", market_s=market_s, session_s=session_s) == ["S27"]
    assert _signalled(Record(), "STATUS=not alive", market_s=market_s, session_s=session_s) == []


def test_a_sign_of_life_before_it_was_in_step_is_seen() -> None:
    assert _signalled(Record(ready=False), "WATCHDOG=1") == ["S27"]


# -- both, of a whole bot ---------------------------------------------------------------------------------------------


class _Heard(Witness):
    """Keeps what it is told beside."""

    def __init__(self) -> None:
        super().__init__(Referee(terms_of(Circumstances(settings=()))), Trace())
        self.sinks: dict[str, str] = {}
        self.lines: list[str] = []

    def written(self, sink: str, text: str) -> None:
        self.sinks[sink] = self.sinks.get(sink, "") + text
        super().written(sink, text)

    def signalled(self, number: int, lines: object) -> None:
        assert isinstance(lines, list)
        self.lines += lines
        super().signalled(number, lines)


@pytest.mark.parametrize("hides", [True, False])
def test_a_whole_bot_tells_its_sinks_and_its_manager(
    hides: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token that something writes by mistake is found where nothing keeps it back."""
    witness = _Heard()

    async def main() -> None:
        async with with_internet(random.Random("weather")) as internet:
            world = World(1, Circumstances(settings=()), internet, witness, tmp_path)
            witness.referee.plant(TOKEN, world.signer.private_pem())
            async with running(world) as nursery:
                life = world.bear(nursery)
                await trio.sleep(20)
                assert life.status.phase == "ready"
                if not hides:
                    monkeypatch.setattr(log, "_forms", ())
                life.journal.write("warning", what="a test", leaked=TOKEN)
                life.stop()
                await life.ended.wait()
            witness.chatted(world)

    virtual.run(main, 1)
    assert '"kind":"ready"' in witness.sinks["journal"]
    assert {"READY=1", "WATCHDOG=1"} <= set(witness.lines)
    assert '"what":"a test"' in witness.sinks["journal"]
    assert [each.invariant for each in witness.referee.violations] == ([] if hides else ["S18"])


# -- S28: no more is held than before ---------------------------------------------------------------------------------


def _looked(
    record: Record, times: int, more: Mapping[str, int] | None = None, *, number: int = 1, calm: bool = True
) -> list[str]:
    """What is found where a process is looked at so often, and holds so much more than it held when it was ready."""
    base = {"tasks": 26, "nurseries": 11, "sockets": 3}
    held = Held(**{name: count + (more or {}).get(name, 0) for name, count in base.items()})
    for _ in range(times):
        record.at += 1
        record.referee.looked(record.at, number, held, calm=calm)
    return record.named


@pytest.mark.parametrize(("what", "more"), [("tasks", 1), ("nurseries", 2), ("sockets", 2)])
def test_more_than_before_is_seen(what: str, more: int) -> None:
    record = Record()
    assert _looked(record, LOOKS) == []
    assert _looked(record, LOOKS - 1, {what: more}) == []
    assert _looked(record, 1, {what: more}) == ["S28"]


def test_what_comes_and_goes_is_no_leak() -> None:
    """The socket on which Telegram is listened to; the nursery of a line that has not taken over from another."""
    record = Record()
    assert _looked(record, LOOKS) == []
    assert _looked(record, LOOKS, {"sockets": 1, "nurseries": 1}) == []


def test_what_is_there_for_a_moment_is_no_leak() -> None:
    record = Record()
    _looked(record, LOOKS)
    for _ in range(2 * LOOKS):
        _looked(record, 4, {"tasks": 3, "sockets": 1})
        _looked(record, 1)
    assert record.named == []


def test_what_is_there_while_something_is_wrong_is_no_leak() -> None:
    record = Record()
    _looked(record, LOOKS)
    assert _looked(record, 2 * LOOKS, {"tasks": 3}, calm=False) == []
    record.referee.disturbed(record.at, 30)
    assert _looked(record, 2 * LOOKS, {"tasks": 3}) == []
    record.line("disconnect", connection=1, face="ws_api")
    record.at += 60
    assert _looked(record, 2 * LOOKS, {"tasks": 3}) == []


def test_another_process_may_hold_more() -> None:
    record = Record()
    _looked(record, LOOKS)
    record.reborn()
    assert _looked(record, LOOKS, {"tasks": 5}, number=2) == []
    assert _looked(record, LOOKS, {"tasks": 6}, number=2) == ["S28"]
