"""The WebSocket API: one request a text frame, one reply a text frame, user-data events in between.

`ApiLine` is one client's connection: its session, its subscriptions, its share of the limits. It decodes, finds the
method (`queries`, `trading`, and the session methods here), and answers; the reply goes out first, then what the
request has caused, to every connection concerned. Nothing here waits.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import attrs
import msgspec

from tetrio.sim import queries, trading
from tetrio.sim.auth import Session, rejected_key
from tetrio.sim.checks import Params, Refused
from tetrio.sim.orders import Rejected
from tetrio.sim.reports import Told
from tetrio.sim.shapes import in_micros, klines_in_micros
from tetrio.sim.trading import Call
from tetrio.sim.venue import ACCOUNT, Venue
from tetrio.wire.frames import text_frame
from tetrio.wire.request import BadRequest, Request, decode_request, encode_error, encode_reply
from tetrio.wire.rules import RateLimit
from tetrio.wire.user import EventStreamTerminated, encode_event

log = logging.getLogger(__name__)

CONNECT_WEIGHT = 2
MAX_SUBSCRIPTION_ID = 65535
Push = Callable[[bytes], None]


@attrs.frozen(kw_only=True)
class LineOptions:
    """What the URL of a connection asked for."""

    micros: bool = False
    """Times in microseconds."""
    return_rate_limits: bool = True


@attrs.define
class _Subscription:
    """One user-data subscription."""

    by_session: bool
    """Opened by userDataStream.subscribe; ends with the session."""


class ApiLine:
    """One client's connection to the WebSocket API."""

    def __init__(
        self, venue: Venue, number: int, address: str, *, reply: Push, event: Push, options: LineOptions
    ) -> None:
        """`reply` and `event` send whole frames; `number` is the connection's in the record."""
        self._venue, self._number, self._options = venue, number, options
        self._reply, self._event = reply, event
        self._weight = venue.weights.window(address)
        self._weight.add(CONNECT_WEIGHT, venue.now_ms())
        self._session = Session()
        self._connected_ms = venue.now_ms()
        self._subscriptions: dict[int, _Subscription] = {}
        self._next_subscription = 0
        venue.listen(self._hear)

    def close(self) -> None:
        """The connection has ended."""
        self._venue.unlisten(self._hear)

    # -- in and out -------------------------------------------------------------------------------------------------
    def handle(self, message: str | bytes) -> None:
        """Answer one message, and let everybody hear what it has caused."""
        try:
            request = _read(message)
        except BadRequest as bad:
            self._weight.add(1, self._venue.now_ms())
            self._send(encode_error(bad.request_id, 400, bad.code, bad.msg, rate_limits=self._rows(None)))
            return
        call = _LineCall(self._venue, Params(request.params, request.tokens))
        self._send(self._answer(request, call))
        if call.terminated:
            self._event(b"".join(self._frame(number, call.terminated[number]) for number in call.terminated))
        self._venue.tell(call.events, call.prints)

    def _send(self, text: str) -> None:
        self._reply(text_frame(text.encode()))

    def _hear(self, account: str, events: Sequence[Told]) -> None:
        if self._subscriptions and account == ACCOUNT:
            self._event(b"".join(self._frame(number, event) for event in events for number in self._subscriptions))

    def _frame(self, number: int, event: Told | EventStreamTerminated) -> bytes:
        frame = encode_event(number, event)
        if self._options.micros:
            frame = msgspec.json.encode(in_micros(msgspec.json.decode(frame)))
        return text_frame(frame)

    # -- one request ------------------------------------------------------------------------------------------------
    def _answer(self, request: Request, call: _LineCall) -> str:
        method = request.method
        told = trading.METHODS.get(method)
        params = call.params
        show = self._options.return_rate_limits
        status, code, msg = 400, 0, ""
        data: object = msgspec.UNSET
        try:
            show = params.flag("returnRateLimits", default=show)
            result = self._run(method, call)
        except Refused as refused:
            status, code, msg, data = refused.status, refused.code, refused.msg, refused.data
        except Rejected as rejected:
            code, msg = rejected.code, rejected.msg
        except Exception:
            log.exception("the request %s failed by our fault", method if len(method) < 40 else "of an odd name")
            status, code, msg = 500, -1000, "An unknown error occurred while processing the request."
        rows = self._rows(told) if show else None
        if code:
            return encode_error(request.id, status, code, msg, self._timed(method, data), rows)
        return encode_reply(request.id, self._timed(method, result), rows)

    def _run(self, method: str, call: _LineCall) -> object:
        """The result; Refused or Rejected."""
        query, told, own = queries.WEBSOCKET.get(method), trading.METHODS.get(method), _SESSION.get(method)
        now_ms = self._venue.now_ms()
        if query is not None:
            self._spend(query.weight(call.params), now_ms)
            return query.run(self._venue, call.params)
        if told is not None:
            weight = told.weight(call.params)
            self._spend(weight, now_ms)
            self._venue.keys.authorize(call.params, self._session, now_ms)
            result = told.run(call)
            if told.free or call.free:
                self._weight.add(-weight, now_ms)
            return result
        if own is None:
            self._spend(1, now_ms)
            raise Refused(-1020, "This operation is not supported.")
        self._spend(2, now_ms)
        return own(self, call)

    def _spend(self, weight: int, now_ms: int) -> None:
        window = self._weight
        if window.add(weight, now_ms) > window.limit.limit:
            raise too_much_weight(window.limit, now_ms, window.rolls_ms(now_ms))

    def _rows(self, told: trading.Method | None) -> list[RateLimit]:
        now_ms = self._venue.now_ms()
        orders = self._venue.orders.rows(now_ms) if told is not None and told.orders else []
        return [*orders, self._weight.row(now_ms)]

    def _timed(self, method: str, body: object) -> object:
        if not self._options.micros or body is msgspec.UNSET:
            return body
        if method in {"klines", "uiKlines"} and isinstance(body, list):
            return klines_in_micros(body)
        return in_micros(body)

    # -- the session ------------------------------------------------------------------------------------------------
    def logon(self, call: _LineCall) -> object:
        """session.logon: Ed25519 keys only; a second one replaces the key."""
        now_ms = self._venue.now_ms()
        api_key = self._venue.keys.authorize(call.params, None, now_ms)
        call.params.done()
        if not self._venue.keys.may_log_on(api_key):
            raise rejected_key()
        self._session.api_key, self._session.authorized_ms = api_key, now_ms
        self._venue.logged_on(self._number)
        return self._status()

    def status(self, call: _LineCall) -> object:
        """session.status."""
        call.params.done()
        return self._status()

    def logout(self, call: _LineCall) -> object:
        """session.logout: ends what was subscribed by the session."""
        call.params.done()
        self._session.api_key = self._session.authorized_ms = None
        self._end(call, [number for number, each in self._subscriptions.items() if each.by_session])
        return self._status()

    def _status(self) -> dict[str, object]:
        return {
            "apiKey": self._session.api_key,
            "authorizedSince": self._session.authorized_ms,
            "connectedSince": self._connected_ms,
            "returnRateLimits": self._options.return_rate_limits,
            "serverTime": self._venue.now_ms(),
            "userDataStream": bool(self._subscriptions),
        }

    # -- subscriptions ----------------------------------------------------------------------------------------------
    def subscribe(self, call: _LineCall) -> object:
        """userDataStream.subscribe: for the account that the session has logged on to."""
        call.params.done()
        if self._session.api_key is None:
            raise rejected_key()
        return self._subscribe(by_session=True)

    def subscribe_signature(self, call: _LineCall) -> object:
        """userDataStream.subscribe.signature: any kind of key, no session."""
        self._venue.keys.authorize(call.params, None, self._venue.now_ms())
        call.params.done()
        return self._subscribe(by_session=False)

    def _subscribe(self, *, by_session: bool) -> object:
        if self._subscriptions:  # there is one account, and an account has one subscription on a connection
            raise Refused(-2035, "User Data Stream subscription already active.")
        number = self._next_subscription
        if number > MAX_SUBSCRIPTION_ID:
            raise Refused(-2042, "Maximum subscription ID reached for this connection.")
        self._next_subscription += 1
        self._subscriptions[number] = _Subscription(by_session)
        return {"subscriptionId": number}

    def unsubscribe(self, call: _LineCall) -> object:
        """userDataStream.unsubscribe: one, or all."""
        number = call.params.integer("subscriptionId")
        call.params.done()
        if number is not None and number not in self._subscriptions:
            raise Refused(-2036, "User Data Stream subscription not active.")
        self._end(call, list(self._subscriptions) if number is None else [number])
        return {}

    def subscriptions(self, call: _LineCall) -> object:
        """session.subscriptions."""
        call.params.done()
        return [{"subscriptionId": number} for number in self._subscriptions]

    def _end(self, call: _LineCall, numbers: Sequence[int]) -> None:
        for number in numbers:
            del self._subscriptions[number]
            call.terminated[number] = EventStreamTerminated(self._venue.now_ms())


@attrs.define
class _LineCall(Call):
    """A request on a connection."""

    terminated: dict[int, EventStreamTerminated] = attrs.field(factory=dict)
    """Subscriptions that it has ended."""


_SESSION: dict[str, Callable[[ApiLine, _LineCall], object]] = {
    "session.logon": ApiLine.logon,
    "session.status": ApiLine.status,
    "session.logout": ApiLine.logout,
    "session.subscriptions": ApiLine.subscriptions,
    "userDataStream.subscribe": ApiLine.subscribe,
    "userDataStream.subscribe.signature": ApiLine.subscribe_signature,
    "userDataStream.unsubscribe": ApiLine.unsubscribe,
}

METHODS = frozenset(queries.WEBSOCKET) | frozenset(trading.METHODS) | frozenset(_SESSION)
"""Every method that is served."""


def too_much_weight(limit: RateLimit, now_ms: int, rolls_ms: int) -> Refused:
    """The address has used up its request weight for this window."""
    return Refused(
        -1003,
        f"Too much request weight used; current limit is {limit.limit} request weight per {limit.interval_num} "
        f"{limit.interval}. Please use WebSocket Streams for live updates to avoid polling the API.",
        status=429,
        data={"serverTime": now_ms, "retryAfter": rolls_ms},
    )


def _read(message: str | bytes) -> Request:
    """The request; BadRequest for all that is none."""
    if isinstance(message, bytes):
        raise BadRequest(-1135, "Invalid JSON Request")
    try:
        request = decode_request(message)
        "".join((request.method, *request.tokens, *request.tokens.values())).encode()
    except UnicodeError:  # JSON escapes of half a character: no signature could be over them
        raise BadRequest(-1135, "Invalid JSON Request") from None
    return request
