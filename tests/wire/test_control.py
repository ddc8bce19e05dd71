"""Control messages of a stream connection: the documented requests, replies and error texts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.paths import SHARED
from tetrio.wire.control import Control, ControlRefused, Subscriptions, control_request, decode_control

MESSAGES = SHARED / "binance" / "messages"


def example(name: str) -> Any:
    return json.loads((MESSAGES / f"stream.control.{name}.json").read_text())


@pytest.mark.parametrize("name", ["subscribe", "unsubscribe", "list", "set-property", "get-property"])
def test_every_documented_request_is_written_and_read(name: str) -> None:
    frame = example(f"{name}.request")
    written = control_request(frame["id"], frame["method"], frame.get("params"))
    assert json.dumps(json.loads(written)) == json.dumps(frame)
    assert decode_control(written) == Control(frame["method"], frame.get("params", []), frame["id"])


def test_the_documented_conversation_gets_the_documented_replies() -> None:
    subscriptions = Subscriptions()

    def ask(name: str) -> Any:
        reply = subscriptions.handle(json.dumps(example(f"{name}.request")))
        assert json.dumps(json.loads(reply)) == json.dumps(example(f"{name}.response"))

    ask("subscribe")
    assert list(subscriptions.names) == ["ethfdusd@bookTicker", "ethfdusd@trade"]
    ask("unsubscribe")
    ask("list")
    ask("set-property")
    assert subscriptions.combined
    ask("get-property")


def error(subscriptions: Subscriptions, message: object) -> Any:
    text = message if isinstance(message, str | bytes) else json.dumps(message)
    reply = json.loads(subscriptions.handle(text))
    assert list(reply) == ["error", "id"]
    return reply["error"]["code"], reply["error"]["msg"], reply["id"]


def test_bad_messages_get_the_documented_texts_and_change_nothing() -> None:
    s = Subscriptions(["a@trade"], combined=True)
    documented = {(each["code"], each["msg"]) for each in example("error.documented")}
    given_ = [
        error(s, {"method": "SET_PROPERTY", "params": ["colour", 1], "id": 6}),
        error(s, {"method": "SET_PROPERTY", "params": ["combined", "yes"], "id": 1}),
        error(s, {"method": "GET_PROPERTY", "params": [5], "id": 1}),
        error(s, {"method": "GET_PROPERTY", "params": ["combined", 5], "id": 1}),
        error(s, {"method": "SUBSCRIBE", "params": ["b@trade"], "id": 1.5}),
        error(s, "hello"),
    ]
    assert {each[:2] for each in given_} <= documented
    assert [each[2] for each in given_] == [6, 1, 1, 1, None, None]
    code, msg, request_id = error(s, '{"params":["b@trade"],"method":"FOO","id":9}')
    assert (code, request_id) == (2, 9)
    assert msg.startswith("Invalid request: unknown variant FOO, expected one of `SUBSCRIBE`, `UNSUBSCRIBE`, ")
    assert msg.endswith("`GET_PROPERTY` at line 1 column 36")
    code, msg, request_id = error(s, '{"id":"x"}')
    assert (code, msg, request_id) == (2, "Invalid request: missing field `method` at line 1 column 10", "x")
    assert (list(s.names), s.combined) == (["a@trade"], True)


@pytest.mark.parametrize("params", [None, [], ["notastream"], [5], [None], "b@trade"])
def test_what_is_no_stream_name_is_refused(params: object) -> None:
    s = Subscriptions()
    message = {"method": "SUBSCRIBE", "params": params, "id": 7}
    assert error(s, message) == (2, "Invalid request: invalid stream", 7)
    assert not s.names


def test_names_are_kept_once_in_their_order_up_to_the_limit() -> None:
    s = Subscriptions(["c@trade"], limit=3)
    s.handle('{"method":"SUBSCRIBE","params":["a@trade","c@trade","a@trade"],"id":null}')
    assert list(s.names) == ["c@trade", "a@trade"]
    message = {"method": "SUBSCRIBE", "params": ["d@trade", "e@trade"], "id": 8}
    assert error(s, message) == (4, "Too many subscriptions", 8)
    assert list(s.names) == ["c@trade", "a@trade"]
    s.handle('{"method":"UNSUBSCRIBE","params":["c@trade","never@trade"],"id":1}')
    assert list(s.names) == ["a@trade"]


@pytest.mark.parametrize("request_id", [0, -(2**63), 2**63 - 1, "u-2", "4d1e1f6e-6f0f-4f41-9f1b-1f6c8a2f8d11", None])
def test_ids_of_every_kind_are_echoed(request_id: object) -> None:
    reply = Subscriptions().handle(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": request_id}))
    assert json.loads(reply) == {"result": [], "id": request_id}


@pytest.mark.parametrize("request_id", [2**63, True, [], {}, "x" * 37, 1.5])
def test_other_ids_are_refused(request_id: object) -> None:
    with pytest.raises(ControlRefused, match="request ID must be"):
        decode_control(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": request_id}))


@pytest.mark.parametrize("text", [b"\xff", b'{"id":"\\ud800"}', "[" * 100_000, "9" * 5000, '{"a":1e999}', ""])
def test_bytes_that_are_no_json_get_a_reply_too(text: str | bytes) -> None:
    code, _, request_id = error(Subscriptions(), text)
    assert code in (2, 3)
    assert request_id is None


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=6),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["method", "params", "id", "x"]), inner, max_size=4)
        ),
        max_leaves=8,
    ),
    st.sampled_from(["SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY"]),
)
def test_any_message_gets_one_reply(message: object, method: str) -> None:
    subscriptions = Subscriptions()
    for each in (message, {"method": method, "params": message, "id": 1}):
        assert set(json.loads(subscriptions.handle(json.dumps(each)))) in ({"result", "id"}, {"error", "id"})
    assert all(isinstance(name, str) for name in subscriptions.names)
