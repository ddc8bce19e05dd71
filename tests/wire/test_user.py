"""User-data events: every example of Binance's there and back, and what an account must survive."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from tests.paths import SHARED
from tetrio.core.market import Fill, Side
from tetrio.core.money import SymbolRules
from tetrio.errors import WireError
from tetrio.wire.stream import ServerShutdown
from tetrio.wire.user import (
    AssetPosition,
    BalanceUpdate,
    EventStreamTerminated,
    ExecutionReport,
    ExternalLockUpdate,
    ListStatus,
    OutboundAccountPosition,
    Unknown,
    decode_event,
    encode_event,
    fill_of,
)

MESSAGES = SHARED / "binance" / "messages"
EXAMPLES = sorted(MESSAGES.glob("user.*.json"))
RULES = SymbolRules(
    name="ETHFDUSD", base_asset="ETH", quote_asset="FDUSD", tick_size=Decimal("0.01"), step_size=Decimal("0.0001")
)


def event(name: str, **changes: object) -> Any:
    inner = json.loads((MESSAGES / f"user.{name}.json").read_text())["event"] | changes
    return decode_event(json.dumps(inner).encode())


def test_there_are_examples() -> None:
    assert len(EXAMPLES) > 30


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_comes_back_with_the_same_members_types_and_order(path: Path) -> None:
    frame = json.loads(path.read_text())
    read = decode_event(json.dumps(frame["event"]).encode())
    assert not isinstance(read, Unknown)
    written = encode_event(frame["subscriptionId"], read)
    assert json.dumps(json.loads(written)) == json.dumps(frame)


def test_sequences_of_events_are_read_too() -> None:
    seen = []
    for path in MESSAGES.glob("sequence.*.json"):
        text = json.loads(path.read_text())
        for frame in text if isinstance(text, list) else text.get("frames", []):
            inner = frame.get("event") if isinstance(frame, dict) else None
            if isinstance(inner, dict):
                seen.append(type(decode_event(json.dumps(inner).encode())))
    assert {ExecutionReport, OutboundAccountPosition} <= set(seen)
    assert Unknown not in seen


def test_a_fill_says_what_was_traded() -> None:
    report = event("executionReport.trade.partial")
    assert (report.execution_type, report.status, report.maker, report.working) == (
        "TRADE", "PARTIALLY_FILLED", True, True,
    )  # fmt: skip
    assert (report.filled_qty, report.cum_quote, report.execution_id) == ("0.12000000", "409.42800000", 5120448104)
    assert fill_of(report) == Fill(
        order_id=884120051, client_order_id="tet-b-0001", trade_id=91733401, side=Side.BUY, price=Decimal("3411.90"),
        qty=Decimal("0.12"), maker=True, commission="0.00009600", commission_asset="ETH", at_ms=1784626204633,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["new", "canceled", "expired.ioc", "rejected", "trade-prevention", "replaced"])
def test_what_is_no_trade_is_no_fill(name: str) -> None:
    assert fill_of(event(f"executionReport.{name}")) is None


@pytest.mark.parametrize("changes", [{"L": ""}, {"l": "x"}, {"L": "NaN"}, {"S": "HOLD"}])
def test_a_trade_that_cannot_be_read_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(WireError, match="order 884120051"):
        fill_of(event("executionReport.trade.partial", **changes))


def test_on_a_cancel_the_order_is_known_by_its_original_id() -> None:
    report = event("executionReport.canceled")
    assert (report.client_order_id, report.orig_client_order_id) == ("tet-c-0003", "tet-s-0002")
    assert report.own_client_order_id == "tet-s-0002"
    assert event("executionReport.new").own_client_order_id == "tet-b-0001"
    assert event("executionReport.expired.ioc").own_client_order_id == "tet-b-0007"


def test_conditional_members_are_unset_where_they_do_not_apply() -> None:
    plain = event("executionReport.new.stop")
    assert (plain.working_ms, plain.trailing_delta, plain.expiry_reason, plain.prevented_qty) == (UNSET,) * 4
    stp = event("executionReport.trade-prevention")
    assert (stp.prevented_match_id, stp.counter_order_id, stp.prevented_execution_price) == (
        3, 884120205, "3412.90000000",
    )  # fmt: skip
    assert event("executionReport.expired.oco").expiry_reason == "OCO_TRIGGER"


ALWAYS = "e E s c S o f q p P F g C x X r i l z L n N T t I w m M O Z Y Q".split()  # noqa: SIM905 - a row reads better than a column
CONDITIONAL = "W V j J d D v A B u U Cs pl pL pY b a k uS gP gOT gOV gp y eR".split()  # noqa: SIM905 - a row reads better than a column


def test_a_report_knows_every_member_that_is_documented() -> None:
    raw = json.loads((MESSAGES / "user.executionReport.trade-prevention.json").read_text())["event"]
    numbers, flags = {"W", "j", "J", "d", "D", "v", "u", "U", "a", "gOV"}, {"uS"}
    given = {name: 7 if name in numbers else True if name in flags else name for name in CONDITIONAL}
    full = {name: raw[name] for name in ALWAYS} | given
    written = json.loads(encode_event(3, decode_event(json.dumps(full).encode())))
    assert written == {"subscriptionId": 3, "event": full}
    assert list(written["event"]) == ALWAYS + CONDITIONAL


@pytest.mark.fault("F113")
def test_an_unknown_status_or_member_does_not_stop_the_account() -> None:
    report = event("executionReport.new", X="HIBERNATING", x="NAP", zz=[1, {"deep": None}])
    assert (report.status, report.execution_type) == ("HIBERNATING", "NAP")


def test_balances_are_read_and_written() -> None:
    position = event("outboundAccountPosition")
    assert position.balances[2] == AssetPosition("FDUSD", "23294.05000000", "1296.52200000")
    assert position.updated_ms == 1784626204633
    assert event("balanceUpdate") == BalanceUpdate(
        event_ms=1784626240003, asset="FDUSD", delta="-1500.00000000", cleared_ms=1784626240001
    )
    assert isinstance(event("externalLockUpdate"), ExternalLockUpdate)
    assert event("eventStreamTerminated") == EventStreamTerminated(1784626242000)
    updated = event("listStatus.updated")
    assert isinstance(updated, ListStatus)
    assert updated.orders[1].client_order_id == "tet-p-0031"


def test_a_restart_of_the_server_has_no_subscription_id() -> None:
    frame = json.loads((MESSAGES / "wsapi.serverShutdown.json").read_text())
    read = decode_event(json.dumps(frame["event"]).encode())
    assert read == ServerShutdown(1784629800000)
    assert json.loads(encode_event(None, read)) == frame


@pytest.mark.fault("F113")
def test_an_event_of_a_new_kind_is_kept_as_it_came() -> None:
    raw = b'{"e":"moonPhase","E":1,"phase":"full"}'
    read = decode_event(msgspec.Raw(raw))
    assert read == Unknown("moonPhase", raw)
    assert encode_event(3, read) == b'{"subscriptionId":3,"event":' + raw + b"}"


def test_defaults_make_a_report_of_the_form_that_binance_sends() -> None:
    """What the exchange need not say of a plain new order."""
    report = ExecutionReport(
        event_ms=1784626202105, symbol="ETHFDUSD", client_order_id="tet-b-0001", side="BUY", type="LIMIT_MAKER",
        time_in_force="GTC", qty="0.50000000", price="3411.90000000", execution_type="NEW", status="NEW",
        order_id=884120051, transact_ms=1784626202104, execution_id=5120448102, working=True,
        created_ms=1784626202104, working_ms=1784626202104,
    )  # fmt: skip
    assert report == event("executionReport.new")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"e":5}',
        b'{"e":"executionReport"}',
        b'{"e":"executionReport","E":"x"}',
        b'{"e":"balanceUpdate","E":1,"a":"ETH","d":5,"T":1}',
        b'{"e":"balanceUpdate","E":1e999,"a":"ETH","d":"5","T":1}',
        b'{"e":"balanceUpdate","E":' + b"9" * 5000 + b',"a":"ETH","d":"5","T":1}',
        b'{"e":"balanceUpdate","E":1,"a":"\xff","d":"5","T":1}',
        b'{"e":' + b"[" * 100_000,
        b'{"e":"x","y":' + b"[" * 100_000,
    ],
    ids=range(13),
)
def test_what_cannot_be_read_is_a_wire_error(raw: bytes) -> None:
    with pytest.raises(WireError):
        decode_event(raw)
