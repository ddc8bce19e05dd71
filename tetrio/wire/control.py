"""Control messages of a stream connection: SUBSCRIBE and its like, as a client writes and the exchange reads them.

Answers reach the client between the market payloads and are read there (`stream.MarketDecoder` gives a ControlReply).
The error texts are Binance's, down to the line and column that its JSON reader names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from tetrio.errors import WireError

MAX_STREAMS = 1024
"""Streams on one connection."""

STREAM_METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS")
"""What an SBE connection takes: it has no wrapper, and so no properties."""
METHODS = (*STREAM_METHODS, "SET_PROPERTY", "GET_PROPERTY")


_json: Callable[[object], bytes] = msgspec.json.Encoder().encode


def control_request(request_id: int | str | None, method: str, params: Sequence[object] | None = None) -> str:
    """A control message: SUBSCRIBE, UNSUBSCRIBE, LIST_SUBSCRIPTIONS, SET_PROPERTY, GET_PROPERTY."""
    message: dict[str, object] = {"method": method}
    if params is not None:
        message["params"] = params
    message["id"] = request_id
    return _json(message).decode()


class Control(msgspec.Struct, frozen=True):
    """A control message whose params suit its method."""

    method: str
    params: list[Any]
    id: int | str | None


class ControlRefused(WireError):
    """A control message that gets an error reply: `code`, `msg`, `id` (None where it could not be read)."""

    def __init__(self, code: int, msg: str, request_id: int | str | None = None) -> None:
        super().__init__(msg)
        self.code, self.msg, self.id = code, msg, request_id


def decode_control(text: str | bytes, methods: Sequence[str] = METHODS) -> Control:
    """A client's control message, one of `methods`; ControlRefused with Binance's code and text on a bad one."""
    try:
        message = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        raise ControlRefused(3, "Invalid JSON: expected value at line 1 column 1") from None
    if not isinstance(message, dict):
        raise ControlRefused(2, "Invalid request: missing field `method` at line 1 column 1")
    request_id = message.get("id")
    if not _is_id(request_id):
        raise ControlRefused(2, "Invalid request: request ID must be an unsigned integer")
    method = message.get("method")
    if method is None:
        raise ControlRefused(2, f"Invalid request: missing field `method` at line 1 column {len(text)}", request_id)
    if method not in methods:
        expected = ", ".join(f"`{each}`" for each in methods)
        column = (text if isinstance(text, str) else text.decode()).find(str(method)) + len(str(method)) + 1
        raise ControlRefused(
            2,
            f"Invalid request: unknown variant {method}, expected one of {expected} at line 1 column {column}",
            request_id,
        )
    params = message.get("params")
    control = Control(method, params if isinstance(params, list) else [], request_id)
    if refusal := _refusal(control):
        raise ControlRefused(*refusal, request_id)
    return control


def _is_id(value: object) -> bool:
    """A signed 64-bit integer, a text of at most 36 (UUIDs among them), or null."""
    if isinstance(value, int):
        return not isinstance(value, bool) and -(2**63) <= value < 2**63
    return value is None or (isinstance(value, str) and len(value) <= 36)


def _refusal(control: Control) -> tuple[int, str] | None:
    """Code and text where the params do not suit the method."""
    params = control.params
    if control.method in ("SUBSCRIBE", "UNSUBSCRIBE"):
        known = params and all(isinstance(name, str) and ("@" in name or name.startswith("!")) for name in params)
        return None if known else (2, "Invalid request: invalid stream")
    allowed = {"LIST_SUBSCRIPTIONS": 0, "GET_PROPERTY": 1, "SET_PROPERTY": 2}[control.method]
    if len(params) > allowed:
        return 2, "Invalid request: too many parameters"
    if allowed and (not params or not isinstance(params[0], str)):
        return 2, "Invalid request: property name must be a string"
    if allowed and params[0] != "combined":
        return 0, "Unknown property"
    if allowed == 2 and (len(params) < 2 or not isinstance(params[1], bool)):
        return 1, "Invalid value type: expected Boolean"
    return None


def encode_control_reply(request_id: int | str | None, result: object = None) -> str:
    """`{"result":…,"id":…}`; never wrapped as combined."""
    return _json({"result": result, "id": request_id}).decode()


def encode_control_error(request_id: int | str | None, code: int, msg: str) -> str:
    """`{"error":{"code":…,"msg":…},"id":…}`: the nested shape, which is what is seen on the wire."""
    return _json({"error": {"code": code, "msg": msg}, "id": request_id}).decode()


class Subscriptions:
    """What one stream connection of a client is subscribed to, and whether its payloads are wrapped.

    names      stream names in the order of subscription (a dict for its order)
    combined   payloads go out wrapped by `combined`
    methods    of the control messages that are taken
    """

    def __init__(
        self,
        names: Iterable[str] = (),
        *,
        combined: bool = False,
        limit: int = MAX_STREAMS,
        methods: Sequence[str] = METHODS,
    ) -> None:
        self.names: dict[str, None] = dict.fromkeys(names)
        self.combined = combined
        self._limit = limit
        self._methods = methods

    def handle(self, text: str | bytes) -> str:
        """Apply a control message and give the reply to send; a bad one changes nothing and gets its error reply."""
        try:
            control = decode_control(text, self._methods)
            return encode_control_reply(control.id, self._apply(control))
        except ControlRefused as refused:
            return encode_control_error(refused.id, refused.code, refused.msg)

    def _apply(self, control: Control) -> object:
        if control.method == "LIST_SUBSCRIPTIONS":
            return list(self.names)
        if control.method == "GET_PROPERTY":
            return self.combined
        if control.method == "SET_PROPERTY":
            self.combined = control.params[1]
        elif control.method == "SUBSCRIBE":
            names = self.names | dict.fromkeys(control.params)
            if len(names) > self._limit:
                raise ControlRefused(4, "Too many subscriptions", control.id)
            self.names = names
        else:
            for name in control.params:
                self.names.pop(name, None)
        return None
