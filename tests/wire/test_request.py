"""The WebSocket API's envelope, results and errors: every example there and back, and what bad bytes must not do."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.paths import SHARED
from tetrio.core.market import Fill, Kline, Side
from tetrio.core.money import SymbolRules
from tetrio.errors import OrderRejected, OrderUnknown, TetrioError, UnsafeError, WireError
from tetrio.wire import codes
from tetrio.wire.codes import Refusal
from tetrio.wire.request import (
    BadRequest,
    CancelReplaceResult,
    ErrorBody,
    Event,
    Reply,
    cancel_replace_result,
    canceled_orders,
    decode_frame,
    decode_request,
    encode_error,
    encode_reply,
    encode_request,
    fill_of_trade,
    klines_of,
    raise_for,
    result_of,
    retry_after_ms,
    signed,
)
from tetrio.wire.results import (
    AccountStatus,
    BookTop,
    CanceledOrder,
    KlineRow,
    MyTrade,
    OrderStatus,
    PlacedOrder,
    ServerTime,
    SessionStatus,
    Subscription,
    SymbolCommission,
)
from tetrio.wire.rules import RateLimit
from tetrio.wire.sign import Signer, payload, verify_hmac

MESSAGES = SHARED / "binance" / "messages"
SEED = bytes(range(32))
KEY = "ExampleEd25519ApiKeyForSyntheticMessagesOnly00000000000000000000"
HMAC_SECRET = "ExampleHmacSecretForSyntheticMessagesOnly00000000000000000000000"
RULES = SymbolRules(
    name="ETHFDUSD", base_asset="ETH", quote_asset="FDUSD", tick_size=Decimal("0.01"), step_size=Decimal("0.0001")
)


def example(name: str) -> Any:
    return json.loads((MESSAGES / f"wsapi.{name}.json").read_text())


def reply_of(name: str) -> Reply:
    reply = decode_frame((MESSAGES / f"wsapi.{name}.json").read_text())
    assert isinstance(reply, Reply)
    return reply


def refusal(name: str) -> OrderRejected:
    with pytest.raises(OrderRejected) as caught:
        raise_for(reply_of(f"error.{name}"))
    return caught.value


def frames(pattern: str) -> list[Path]:
    return sorted(MESSAGES.glob(pattern))


REQUESTS = frames("wsapi.*.request.json")
REPLIES = [path for path in frames("wsapi.*.json") if "status" in json.loads(path.read_text() or "{}")]

# --- the envelope ---


@pytest.mark.parametrize("path", REPLIES, ids=lambda path: path.name)
def test_every_reply_comes_back_with_the_same_members_types_and_order(path: Path) -> None:
    frame = json.loads(path.read_text())
    reply = decode_frame(path.read_bytes())
    assert isinstance(reply, Reply)
    assert (reply.id, reply.status) == (frame["id"], frame["status"])
    limits = reply.rate_limits if "rateLimits" in frame else None
    if reply.error is None:
        written = encode_reply(reply.id, reply.result, limits, reply.status)
    else:
        written = encode_error(reply.id, reply.status, reply.error.code, reply.error.msg, reply.error.data, limits)
    assert json.dumps(json.loads(written)) == json.dumps(frame)


@pytest.mark.parametrize("path", REQUESTS, ids=lambda path: path.name)
def test_every_request_is_read_and_written_and_its_signature_verifies_over_the_raw_tokens(path: Path) -> None:
    frame = json.loads(path.read_text())
    request = decode_request(path.read_bytes())
    assert (request.id, request.method) == (frame["id"], frame["method"])
    assert request.params == frame.get("params", {})
    if frame.get("params") == {}:
        del frame["params"]  # legal, and left out by us
    assert json.dumps(json.loads(encode_request(frame["id"], request.method, request.params))) == json.dumps(frame)
    if "signature" in request.params:
        text = payload(request.tokens)
        if "Ed25519" in request.params["apiKey"]:
            assert Signer.generate(SEED).verifier.verify(text, request.tokens["signature"])
        else:
            assert verify_hmac(HMAC_SECRET, text, request.tokens["signature"])


def test_there_are_examples_of_both() -> None:
    assert len(REQUESTS) > 60
    assert len(REPLIES) > 100


def test_ids_of_every_kind_and_version_prefixes_are_taken() -> None:
    for frame in example("request.id-variants"):
        request = decode_request(json.dumps(frame))
        assert request.method == "ping"
        assert request.id == frame["id"]
        assert type(request.id) is type(frame["id"])
    assert decode_request('{"id":1,"method":"v30/v3/x"}').method == "v3/x"


def test_a_signed_request_of_ours_verifies_on_the_other_side() -> None:
    signer = Signer.generate(SEED)
    params = signed({}, signer, KEY, 1784626201000, 2500)
    assert params == example("session.logon.request")["params"]
    text = encode_request(7, "session.logon", params)
    request = decode_request(text)
    assert signer.verifier.verify(payload(request.tokens), request.tokens["signature"])


VALUES = st.one_of(
    st.text(max_size=8), st.integers(-(2**63), 2**63 - 1), st.booleans(), st.lists(st.text("AB", max_size=3))
)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.text("abcXYZ", min_size=1, max_size=6),
        VALUES,
        min_size=1,
    )
)
def test_what_the_client_signs_is_what_the_exchange_reads(params: dict[str, object]) -> None:
    request = decode_request(encode_request(1, "m", params))
    assert request.params == params
    assert payload(request.tokens) == payload(params)


def test_numbers_keep_their_text_and_never_become_floats() -> None:
    params = '{"a": 0.10 ,"b":1E5,"c":5,"d":[1, 2.50],"e":"\\u0041","f":true}'
    request = decode_request(f'{{"id":1,"method":"m","params":{params}}}')
    assert request.params == {"a": "0.10", "b": "1E5", "c": 5, "d": [1, "2.50"], "e": "A", "f": True}
    assert request.tokens == {"a": "0.10", "b": "1E5", "c": "5", "d": "[1, 2.50]", "e": "A", "f": "true"}


def test_the_client_sends_no_float_and_no_empty_params() -> None:
    with pytest.raises(TypeError, match="price is a float"):
        encode_request(1, "order.place", {"price": 0.1})
    assert json.loads(encode_request("x", "ping", {})) == {"id": "x", "method": "ping"}


@pytest.mark.parametrize(
    ("text", "msg", "request_id"),
    [
        ("", "Invalid JSON Request", None),
        ("{", "Invalid JSON Request", None),
        ("[]", "Invalid JSON Request", None),
        ('{"id":1,"method":"ping"} x', "Invalid JSON Request", None),
        ('{"id":NaN,"method":"ping"}', "Invalid JSON Request", None),
        ('{"id":1,"method":"m","params":{"a":1,"a":2}}', "Invalid JSON Request", None),
        ('{"id":1,"id":2,"method":"ping"}', "Invalid JSON Request", None),
        ('{"id":1,"method":"m","params":{"a":' + "9" * 5000 + "}}", "Invalid JSON Request", None),
        ('{"id":1,"method":"m","params":' + "[" * 100_000, "Invalid JSON Request", None),
        ('{"id":1,"method":"m","params":{"a":"\\ud800"}}', "Invalid JSON Request", None),
        (b'{"id":1,"method":"\xff"}', "Invalid JSON Request", None),
        (b"\xff\xfe{\x00}\x00", "Invalid JSON Request", None),
        ('{"method":"ping"}', "Invalid 'id' in JSON request; expected an integer, a string or null.", None),
        ('{"id":"\\ud800","method":"ping"}', "Invalid JSON Request", None),
        ('{"id":1.5,"method":"ping"}', "Invalid 'id' in JSON request; expected an integer, a string or null.", None),
        ('{"id":true,"method":"ping"}', "Invalid 'id' in JSON request; expected an integer, a string or null.", None),
        ('{"id":4}', "Invalid 'method' in JSON request; expected a string.", 4),
        ('{"id":4,"method":5}', "Invalid 'method' in JSON request; expected a string.", 4),
        ('{"id":4,"method":"m","params":[]}', "Invalid 'params' in JSON request; expected an object.", 4),
        ('{"id":"q","method":"m","params":null}', "Invalid 'params' in JSON request; expected an object.", "q"),
    ],
    ids=range(20),
)
def test_a_bad_request_is_answered_with_its_code(text: str | bytes, msg: str, request_id: object) -> None:
    with pytest.raises(BadRequest) as caught:
        decode_request(text)
    assert (caught.value.code, caught.value.msg, caught.value.request_id) == (-1135, msg, request_id)


BAD_FRAMES = [
    "",
    "null",
    "5",
    "[]",
    "{}",
    '{"id":1}',
    '{"id":1,"result":{}}',
    '{"id":1,"status":"200"}',
    '{"id":1,"status":200,"status":201}',
    '{"id":1,"status":200,"result":{"a":1,"a":1}}',
    '{"id":1,"status":NaN}',
    '{"id":1,"status":200,"result":{"a":NaN}}',
    '{"id":1,"status":200,"result":{"a":-Infinity}}',
    '{"id":1,"status":200,"result":{"a":1e999}}',
    '{"id":1,"status":200,"result":' + "9" * 5000 + "}",
    '{"id":1,"status":200,"result":' + "[" * 100_000 + "]" * 100_000 + "}",
    '{"id":1.5,"status":200}',
    '{"id":1,"status":400,"error":"no"}',
    '{"id":1,"status":400,"error":{"msg":"no code"}}',
    '{"id":1,"status":200,"rateLimits":5}',
    '{"subscriptionId":"x","event":{}}',
    '\ufeff{"id":1,"status":200}',
    b'{"id":1,"status":200,"result":{"a":"\xff"}}',
    b"\xff",
    '<html><body>403 Forbidden</body></html>',
]  # fmt: skip


@pytest.mark.parametrize("text", BAD_FRAMES, ids=range(len(BAD_FRAMES)))
def test_a_frame_that_cannot_be_read_is_a_wire_error(text: str | bytes) -> None:
    with pytest.raises(WireError):
        decode_frame(text)


@pytest.mark.fault("F111", "F112")
@settings(max_examples=200, deadline=None)
@given(st.data())
def test_mutated_frames_are_read_or_refused_and_never_crash(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from([*REPLIES[:40], *REQUESTS[:20]]))
    text = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    for read in (decode_frame, decode_request):
        try:
            found = read(bytes(text))
            if isinstance(found, Reply):
                cancel_replace_result(found)
        except TetrioError as error:
            assert isinstance(error, WireError | OrderRejected | OrderUnknown | UnsafeError)


def test_a_pushed_event_is_told_from_a_reply() -> None:
    assert decode_frame('{"subscriptionId":0,"event":{"e":"x"}}') == Event(b'{"e":"x"}', 0)
    assert decode_frame((MESSAGES / "wsapi.serverShutdown.json").read_text().replace("\n", "")) == Event(
        b'{    "e": "serverShutdown",    "E": 1784629800000  }', None
    )


@pytest.mark.fault("F113")
def test_unknown_members_of_a_frame_are_ignored() -> None:
    assert decode_frame('{"id":"a","status":200,"result":{},"future":[{}]}') == Reply(
        id="a", status=200, result=msgspec.Raw(b"{}")
    )


# --- what errors mean ---


def test_a_success_raises_nothing() -> None:
    raise_for(reply_of("ping.response"))


@pytest.mark.fault("F44")
@pytest.mark.parametrize("name", ["disconnected", "timeout-unknown", "unexpected-response", "server-busy"])
def test_an_unknown_outcome_is_never_taken_for_a_no(name: str) -> None:
    with pytest.raises(OrderUnknown, match="does not say what became of it"):
        raise_for(reply_of(f"error.{name}"))


@pytest.mark.fault("F44", "F40")
def test_any_5xx_is_unknown_whatever_its_code() -> None:
    for status in (500, 502, 503, 504):
        with pytest.raises(OrderUnknown):
            raise_for(Reply(id=1, status=status, error=ErrorBody(-2010, "Account has insufficient balance")))
        with pytest.raises(OrderUnknown):
            raise_for(Reply(id=1, status=status))


@pytest.mark.parametrize("name", ["bad-signature", "bad-api-key-format", "rejected-key", "401.session-revoked"])
def test_a_refused_key_is_unsafe_to_go_on_with(name: str) -> None:
    with pytest.raises(UnsafeError, match="refuses the API key"):
        raise_for(reply_of(f"error.{name}"))


def test_a_revoked_session_has_no_id() -> None:
    assert reply_of("error.401.session-revoked").id is None


DEFINITE = [
    path.name.removeprefix("wsapi.").removesuffix(".json")
    for path in frames("wsapi.error.*.json")
    if json.loads(path.read_text())["status"] not in (401, 500, 503, 504)
    and json.loads(path.read_text())["error"]["code"] not in (-1022, -1006, -1007)
]


@pytest.mark.parametrize("name", DEFINITE)
def test_every_other_error_is_a_definite_no_that_keeps_code_text_and_status(name: str) -> None:
    frame = example(name)
    with pytest.raises(OrderRejected) as caught:
        raise_for(reply_of(name))
    error = caught.value
    assert (error.code, error.msg, error.status) == (frame["error"]["code"], frame["error"]["msg"], frame["status"])
    assert error.data == frame["error"].get("data")


KINDS: dict[Callable[[Refusal], bool], set[str]] = {
    codes.is_would_match: {"would-match"},
    codes.is_insufficient_balance: {"insufficient-balance"},
    codes.is_duplicate_order: {"duplicate-order"},
    codes.is_market_closed: {"market-closed"},
    codes.is_no_such_order: {"no-such-order"},
    codes.is_timestamp: {"timestamp-ahead", "timestamp-outside"},
    codes.is_too_many_orders: {"429.too-many-orders"},
    codes.is_too_much_weight: {"418.ip-ban", "429.request-weight"},
    codes.is_filter_failure: {
        "filter-lot-size", "filter-market-lot-size", "filter-max-num-algo-orders", "filter-max-num-orders",
        "filter-notional", "filter-percent-price-by-side", "filter-price", "filter-trailing-delta",
    },
}  # fmt: skip


@pytest.mark.parametrize("is_kind", list(KINDS), ids=lambda each: each.__name__)
def test_errors_of_shared_codes_are_told_apart(is_kind: Callable[[Refusal], bool]) -> None:
    found = {name for name in DEFINITE if is_kind(refusal(name.removeprefix("error.")))}
    assert found == {f"error.{name}" for name in KINDS[is_kind]}


def test_the_cancel_of_an_unknown_order_is_told_from_restrictions() -> None:
    with pytest.raises(OrderRejected) as caught:
        raise_for(reply_of("order.cancel.error.unknown"))
    assert codes.is_unknown_order(caught.value)
    with pytest.raises(OrderRejected) as caught:
        raise_for(reply_of("order.cancel.error.restrictions"))
    assert not codes.is_unknown_order(caught.value)


def test_the_time_to_stay_away_is_read_from_data_or_text() -> None:
    assert retry_after_ms(refusal("429.request-weight")) == 1784626260000
    assert retry_after_ms(refusal("429.too-many-orders")) == 1784626240000
    assert retry_after_ms(refusal("418.ip-ban")) == 1784626320000
    body = reply_of("error.418.ip-ban").error
    assert body is not None
    assert retry_after_ms(body) == 1784626320000
    assert retry_after_ms(ErrorBody(body.code, body.msg)) == 1784626320000
    assert retry_after_ms(refusal("would-match")) is None
    assert retry_after_ms(OrderRejected(-1003, "x", data={"retryAfter": "soon"})) is None


# --- results ---

RESULTS: list[tuple[str, Any]] = [
    ("time.response", ServerTime),
    ("session.logon.response", SessionStatus),
    ("session.logout.response", SessionStatus),
    ("session.status.authenticated.response", SessionStatus),
    ("session.status.unauthenticated.response", SessionStatus),
    ("session.status.uds-unavailable.response", SessionStatus),
    ("session.subscriptions.response", list[Subscription]),
    ("userDataStream.subscribe.response", Subscription),
    ("ticker.book.response", BookTop),
    ("ticker.book.symbols.response", list[BookTop]),
    ("klines.response", list[KlineRow]),
    ("uiKlines.response", list[KlineRow]),
    ("account.status.response", AccountStatus),
    ("account.commission.response", SymbolCommission),
    ("account.rateLimits.orders.response", list[RateLimit]),
    ("openOrders.status.response", list[OrderStatus]),
    ("allOrders.response", list[OrderStatus]),
    ("myTrades.response", list[MyTrade]),
    ("myTrades.by-order.response", list[MyTrade]),
    ("sor.order.place.response", list[PlacedOrder]),
    ("order.cancel.response", CanceledOrder),
    *[(path.name[6:-5], OrderStatus) for path in frames("wsapi.order.status.*.response.json")],
    *[(path.name[6:-5], PlacedOrder) for path in frames("wsapi.order.place.*.response.json")],
]


@pytest.mark.parametrize(("name", "kind"), RESULTS, ids=[name for name, _ in RESULTS])
def test_every_result_comes_back_with_the_same_members_types_and_order(name: str, kind: Any) -> None:
    result = result_of(reply_of(name), kind)
    assert json.dumps(json.loads(msgspec.json.encode(result))) == json.dumps(example(name)["result"])


def test_the_short_form_of_a_placed_order_tells_nothing_of_fills() -> None:
    placed = result_of(reply_of("order.place.limit-maker.ack.response"), PlacedOrder)
    assert (placed.order_id, placed.client_order_id, placed.transact_time) == (884120051, "tet-b-0001", 1784626202104)
    assert placed.status is msgspec.UNSET
    full = result_of(reply_of("order.place.market-base.response"), PlacedOrder)
    assert isinstance(full.fills, list)
    assert [(fill.qty, fill.trade_id) for fill in full.fills] == [("0.15000000", 91733406), ("0.10000000", 91733407)]


def test_a_failure_has_no_result_and_a_wrong_shape_is_a_wire_error() -> None:
    with pytest.raises(OrderRejected):
        result_of(reply_of("error.no-such-order"), OrderStatus)
    with pytest.raises(WireError, match="without a result"):
        result_of(Reply(id=1, status=200), ServerTime)
    for raw in (b"[]", b"{}", b'{"serverTime":"x"}', b'{"serverTime":1e999}', b"null"):
        with pytest.raises(WireError, match="not what was expected"):
            result_of(Reply(id=1, status=200, result=msgspec.Raw(raw)), ServerTime)


def test_a_status_that_is_not_known_yet_is_read() -> None:
    raw = json.dumps(example("order.status.new.response")["result"] | {"status": "HIBERNATING", "future": {}})
    status = result_of(Reply(id=1, status=200, result=msgspec.Raw(raw.encode())), OrderStatus)
    assert status.status == "HIBERNATING"


def test_cancelling_all_gives_every_order_lists_among_them() -> None:
    orders = canceled_orders(reply_of("openOrders.cancelAll.response"))
    raw = example("openOrders.cancelAll.response")["result"]
    flat = [report for each in raw for report in each.get("orderReports", [each])]
    assert [order.order_id for order in orders] == [each["orderId"] for each in flat]
    assert len(orders) > len(raw)
    assert json.loads(msgspec.json.encode(orders[:4])) == flat[:4]


def test_klines_come_in_ticks_and_know_whether_they_are_over() -> None:
    reply = reply_of("klines.response")
    row = Kline(1784626140000, 341180.0, 341255.0, 341102.0, 341236.0, closed=True)
    assert klines_of(reply, RULES, now_ms=1784626200000) == [row]
    assert not klines_of(reply, RULES, now_ms=1784626199999)[0].closed
    off = Reply(id=1, status=200, result=msgspec.Raw(b'[[1,"0.006","1","0.003","1","1",2]]'))
    (older,) = klines_of(off, RULES, now_ms=0)
    assert (older.open, older.high, older.low) == (1, 100, 0), "the tick was finer then"
    bad = Reply(id=1, status=200, result=msgspec.Raw(b'[[1,"x","1","1","1","1",2]]'))
    with pytest.raises(WireError, match="candle of ETHFDUSD"):
        klines_of(bad, RULES, now_ms=0)


def test_own_trades_become_fills() -> None:
    trade = result_of(reply_of("myTrades.response"), list[MyTrade])[0]
    assert fill_of_trade(trade, "tet-b-0001") == Fill(
        order_id=884120051, client_order_id="tet-b-0001", trade_id=91733401, side=Side.BUY, price=Decimal("3411.90"),
        qty=Decimal("0.12"), maker=True, commission="0.00009600", commission_asset="ETH", at_ms=1784626204633,
    )  # fmt: skip
    with pytest.raises(WireError, match="trade 91733401"):
        fill_of_trade(msgspec.structs.replace(trade, qty="-"), "x")


def test_commissions_of_all_kinds_add_up() -> None:
    rates = result_of(reply_of("account.commission.response"), SymbolCommission)
    assert (rates.maker, rates.taker) == (0.0008, 0.001)
    extra = msgspec.structs.replace(rates.standard_commission, maker="0.0001", buyer="0.0002", seller="0.0003")
    assert msgspec.structs.replace(rates, special_commission=extra).maker == pytest.approx(0.0012)
    assert msgspec.structs.replace(rates, special_commission=msgspec.UNSET).maker == 0.0008
    with pytest.raises(WireError, match="commission of ETHFDUSD"):
        _ = msgspec.structs.replace(rates, tax_commission=msgspec.structs.replace(extra, maker="x")).maker


# --- cancel-replace: every outcome ---

CANCEL_REPLACE = "order.cancelReplace."


@pytest.mark.fault("F54", "F55", "F56")
@pytest.mark.parametrize(
    ("name", "cancel_ok", "new_ok", "canceled", "cancel_code", "placed", "new_code"),
    [
        ("success.response", True, True, 884120102, None, 884120119, None),
        ("cancel-failed-stop", False, None, None, -2011, None, None),
        ("partial-failure", True, False, 884120102, None, None, -2010),
        ("partial-failure.cancel-failed", False, True, None, -2011, 884120119, None),
        ("both-failed", False, False, None, -2011, None, -2010),
        ("rate-limited.cancel-only", True, False, 884120102, None, None, -1015),
        ("rate-limited.do-nothing", None, False, None, None, None, -1015),
        ("filter-failure", None, False, None, None, None, -1013),
    ],
)
def test_every_outcome_of_a_cancel_replace_is_one_record(
    name: str, cancel_ok: bool | None, new_ok: bool | None, canceled: int | None, cancel_code: int | None,
    placed: int | None, new_code: int | None,
) -> None:  # fmt: skip
    result = cancel_replace_result(reply_of(CANCEL_REPLACE + name))
    assert (result.cancel_ok, result.new_ok) == (cancel_ok, new_ok)
    assert (result.canceled and result.canceled.order_id) == canceled
    assert (result.cancel_error and result.cancel_error.code) == cancel_code
    assert (result.placed and result.placed.order_id) == placed
    assert (result.new_error and result.new_error.code) == new_code


def test_a_refused_new_half_is_recognised_as_a_post_only_rejection() -> None:
    error = cancel_replace_result(reply_of(CANCEL_REPLACE + "partial-failure")).new_error
    assert error is not None
    assert codes.is_would_match(error)


def test_every_outcome_is_an_example() -> None:
    names = {path.name for path in frames("wsapi.order.cancelReplace.*.json")} - {
        "wsapi.order.cancelReplace.request.json"
    }
    assert len(names) == 8


def error_reply(status: int, code: int, data: object = None) -> Reply:
    raw = msgspec.UNSET if data is None else msgspec.Raw(json.dumps(data).encode())
    return Reply(id=1, status=status, error=ErrorBody(code, "text", raw))


def test_a_cancel_replace_whose_outcome_nobody_tells_is_unknown() -> None:
    half = {"cancelResult": "SUCCESS", "newOrderResult": "FAILURE", "cancelResponse": None}
    for reply in (
        error_reply(504, -1007),
        error_reply(409, -2021),
        error_reply(400, -2022),
        error_reply(409, -2021, half | {"newOrderResponse": {"code": -1007, "msg": "Timeout"}}),
    ):
        with pytest.raises(OrderUnknown):
            cancel_replace_result(reply)
    with pytest.raises(UnsafeError):
        cancel_replace_result(error_reply(401, -2015))


def test_the_halves_decide_and_not_the_status() -> None:
    """The papers contradict themselves on the status of a rate-limited one."""
    data = example(CANCEL_REPLACE + "rate-limited.cancel-only")["error"]["data"]
    for status in (409, 429, 400):
        assert cancel_replace_result(error_reply(status, -2021, data)).cancel_ok is True


def test_a_plain_refusal_of_the_cancel_leaves_the_old_order_in_doubt() -> None:
    result = cancel_replace_result(error_reply(400, -2011))
    assert (result.cancel_ok, result.new_ok) == (False, None)


def test_a_cancel_that_takes_a_list_along_is_a_success_without_one_order() -> None:
    listed = example("order.cancel.list.response")["result"]
    result = cancel_replace_result(
        error_reply(409, -2021, {"cancelResult": "SUCCESS", "newOrderResult": "FAILURE", "cancelResponse": listed,
                                 "newOrderResponse": {"code": -2010, "msg": "x"}})
    )  # fmt: skip
    assert result == CancelReplaceResult(cancel_ok=True, new_ok=False, new_error=ErrorBody(-2010, "x"))


@pytest.mark.parametrize("data", [{}, [], {"cancelResult": "MAYBE", "newOrderResult": "SUCCESS"}, {"cancelResult": 1}])
def test_halves_that_cannot_be_read_are_a_wire_error(data: object) -> None:
    with pytest.raises(WireError):
        cancel_replace_result(error_reply(409, -2021, data))
