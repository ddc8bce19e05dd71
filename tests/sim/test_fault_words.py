"""The text in which faults are asked for: any text is a fault or one clear error."""

from __future__ import annotations

import math
from decimal import Decimal

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrio.sim.fault import faults
from tetrio.sim.fault.faults import ALWAYS, VERBS, FaultError, Spread, Where, parse, signature, usage

METHODS = ("order.place", "order.cancel", "ping")


@pytest.mark.parametrize(
    ("text", "fault", "after_s"),
    [
        ("stall:stream:10s@30s", faults.Stall(Where("stream"), 10), 30),
        ("stall:ws_api#2:500ms:out", faults.Stall(Where("ws_api", 2), 0.5, "out"), 0),
        ("half-open:all", faults.HalfOpen(Where(), math.inf), 0),
        ("half_open:all:2m", faults.HalfOpen(Where(), 120), 0),
        ("cut:ws_api:in:1234", faults.Cut(Where("ws_api"), "in", 1234), 0),
        ("cut:rest:out:0::all@1.5s", faults.Cut(Where("rest"), "out", 0, "rst", ALWAYS), 1.5),
        ("refuse:rest:503", faults.Refuse(Where("rest"), "503"), 0),
        ("delay:sbe:200ms~50ms", faults.Delay(Where("sbe"), Spread(0.2, 0.05)), 0),
        ("kill", faults.Kill(), 0),
        ("kill@5s", faults.Kill(), 5),
        ("lose-reply:order.*:all", faults.LoseReply("order.*", ALWAYS), 0),
        ("fail:order.place:-1007:executed", faults.Fail("order.place", "-1007", "executed"), 0),
        ("lose-event:@kline_1m:3@10s", faults.LoseEvent("@kline_1m", 3), 10),
        ("delay-event:*:2s", faults.DelayEvent("*", Spread(2)), 0),
        ("clock-offset:-2s", faults.ClockOffset(-2), 0),
        ("external-lock:ETH:-0.5", faults.ExternalLock("ETH", Decimal("-0.5")), 0),
        ("change-filters:tick_size=0.1,b=c", faults.ChangeFilters({"tick_size": "0.1", "b": "c"}), 0),
        ("ban:[::1]:3d", faults.Ban("::1", 259_200), 0),
        ("halt:1h", faults.Halt(3600), 0),
    ],
)  # fmt: skip
def test_faults_are_read(text: str, fault: faults.Fault, after_s: float) -> None:
    spec = parse(text, METHODS)
    assert (spec.fault, spec.after_s) == (fault, after_s)
    assert spec.text == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stal:rest:1s", ["'stal' is no fault", "did you mean stall?"]),
        ("", ["'' is no fault", "--fault help"]),
        ("stall:rest", ["FOR is missing", "a time such as 500ms", "stall:WHERE:FOR[:DIRECTION]"]),
        ("stall:rset:1s", ["WHERE: 'rset' is none of all, rest", "did you mean rest?"]),
        ("stall:rest#0:1s", ["WHERE: 'rest#0'", "ws_api#2"]),
        ("stall:rest:10", ["FOR: '10' is not a time"]),
        ("stall:rest:-1s", ["FOR: '-1s' is not a time"]),
        ("stall:rest:99999d", ["FOR: '99999d' is not a time"]),
        ("stall:rest:1s:up", ["DIRECTION: 'up' is none of in, out, both"]),
        ("stall:rest:1s@soon", ["FOR: '1s@soon' is not a time"]),
        ("stall:rest:1s@5", ["WHEN: '5' is not a time"]),
        ("cut:rest:both:1", ["DIRECTION: 'both' is none of in, out"]),
        ("cut:rest:in:-1", ["BYTES: '-1' is not a number of bytes"]),
        ("dribble:rest:0", ["BYTES: '0' is not a number of bytes, at least 1"]),
        ("delay:rest:10ms~20ms", ["BY: '10ms~20ms' is not a time such as 200ms, or 200ms~50ms"]),
        ("disconnect:all:1005", ["CODE: '1005' is not a close code that may be sent"]),
        ("lose-reply:order.plac", ["METHOD: 'order.plac' is none", "did you mean order.place?"]),
        ("fail:order.place:-1", ["ERROR: '-1' is none of -1000"]),
        ("lose-event:a b", ["EVENT: 'a b' is not a user event"]),
        ("garble-event:*:wrong", ["HOW: 'wrong' is none of truncated"]),
        ("deposit:ETH:0", ["AMOUNT: '0' is not an amount above 0"]),
        ("deposit:ETH:-1", ["AMOUNT: '-1' is not an amount above 0"]),
        ("deposit:eth:1", ["ASSET: 'eth' is not an asset"]),
        ("change-filters:tick_size", ["NAME=VALUE", "'tick_size' is not rules"]),
        ("resume:now", ["'now' is too much: it takes no argument (resume)"]),
        ("kill:all:1s:2", ["'2' is too much: it takes at most 2"]),
    ],
)
def test_an_error_names_the_part_that_is_wrong(text: str, words: list[str]) -> None:
    with pytest.raises(FaultError) as error:
        parse(text, METHODS)
    assert not [word for word in words if word not in str(error.value)], str(error.value)


LOOKALIKES = st.from_regex(r"[a-z-]{3,15}(:[a-z0-9_#.*@~+-]{0,12}){0,5}(@[0-9a-z.]{0,6})?", fullmatch=True)
BEGUN = st.builds(
    lambda verb, rest: f"{verb}:{rest}", st.sampled_from(sorted(VERBS)), LOOKALIKES | st.text(max_size=40)
)


@given(st.text(max_size=80) | LOOKALIKES | BEGUN)
def test_any_text_is_a_fault_or_one_clear_error(text: str) -> None:
    try:
        spec = parse(text, METHODS)
    except FaultError as error:
        told = str(error)
        assert told
        assert len(told.splitlines()) == 1
        assert len(told) < 600
    else:
        assert type(spec.fault) is VERBS[faults.verb(spec.fault)]
        assert spec.after_s >= 0


def test_the_help_tells_every_fault_and_every_argument() -> None:
    told = usage()
    for kind in VERBS.values():
        assert signature(kind) in told
        assert kind.__doc__ is not None
        assert kind.__doc__ in told
    assert all(len(attrs.fields(kind)) <= 5 for kind in VERBS.values())


def test_an_api_key_is_not_shown_whole() -> None:
    spec = parse("revoke:" + "K" * 64)
    assert spec.fault == faults.Revoke("K" * 64)
    assert "KKKKK" not in spec.text
