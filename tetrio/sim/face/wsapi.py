"""The WebSocket API: one request a text frame, one reply a text frame, user-data events in between.

`ApiLine` is one client's connection: its session, its subscriptions, its share of the limits. It decodes, finds the
method (`methods`, and those of the session here), and answers; the reply goes out first, then what the
request has caused, to every connection concerned. Nothing here waits.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import attrs
import msgspec

from tetrio.sim.engine.orders import Rejected
from tetrio.sim.face import methods
from tetrio.sim.face.auth import Session, check_late, rejected_key
from tetrio.sim.face.call import Call
from tetrio.sim.face.checks import Params, Refused
from tetrio.sim.face.methods import Endpoint
from tetrio.sim.face.reports import Told
from tetrio.sim.face.shapes import in_micros, klines_in_micros
from tetrio.sim.face.venue import ACCOUNT, Venue
from tetrio.wire.frames import text_frame
from tetrio.wire.request import BadRequest, Request, decode_request, encode_error, encode_reply
from tetrio.wire.rules import RateLimit
from tetrio.wire.user import EventStreamTerminated, encode_event

log = logging.getLogger(__name__)

SESSION_WEIGHT = 2  # of each method about the session and its subscriptions
MAX_SUBSCRIPTION_ID = 65535
POLICY = 1008  # close code of a connection that is shut out
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
    api_key: str
    """Ends when this is revoked."""


class ApiLine:
    """One client's connection to the WebSocket API."""

    def __init__(
        self,
        venue: Venue,
        number: int,
        address: str,
        *,
        reply: Push,
        event: Push,
        cut: Callable[[int, str], None],
        options: LineOptions,
    ) -> None:
        """`reply` and `event` send whole frames, `cut` closes; `number` is the connection's in the record."""
        self._venue, self._number, self._options = venue, number, options
        self._reply, self._event, self._cut = reply, event, cut
        self._answering = self._shut_out = False
        self._address = venue.addresses.of(address)
        self._address.opened(number, self._banned)
        self._session = Session()
        self._connected_ms = venue.now_ms()
        self._subscriptions: dict[int, _Subscription] = {}
        self._next_subscription = 0
        venue.listen(self._hear)

    def close(self) -> None:
        """The connection has ended."""
        self._venue.unlisten(self._hear)
        self._address.closed(self._number)

    # -- in and out -------------------------------------------------------------------------------------------------
    def handle(self, message: str | bytes, arrived_ms: int | None = None) -> None:
        """Answer one message, and let everybody hear what it has caused.

        arrived_ms   service time when it reached the exchange, where that is not now
        """
        self._answering = True
        try:
            call = self._handle(message, arrived_ms)
        finally:
            self._answering = False
        if call.terminated:
            self._event(b"".join(self._frame(number, call.terminated[number]) for number in call.terminated))
        self._venue.tell(call.events, call.prints)
        if self._shut_out:
            self._banned()

    def _handle(self, message: str | bytes, arrived_ms: int | None) -> _LineCall:
        try:
            request = _read(message)
        except BadRequest as bad:
            self._send(self._junk(bad))
            return _LineCall(self._venue, Params({}))
        call = _LineCall(self._venue, Params(request.params, request.tokens), arrived_ms=arrived_ms)
        session = self._session
        if session.api_key is not None and not self._venue.keys.known(session.api_key):
            self._send(self._revoked(call))
        else:
            self._send(self._answer(request, call))
        return call

    def _junk(self, bad: BadRequest) -> str:
        """The answer to what is no request."""
        try:
            self._address.spend(1, self._venue.now_ms())
        except Refused as refused:
            error = (refused.status, refused.code, refused.msg, refused.data)
            return encode_error(bad.request_id, *error, rate_limits=self._rows(None))
        return encode_error(bad.request_id, 400, bad.code, bad.msg, rate_limits=self._rows(None))

    def _revoked(self, call: _LineCall) -> str:
        """The answer to whatever comes next on a session whose key is none any more: nobody's, and its end."""
        self._log_out(call)
        refused = rejected_key()
        return encode_error(None, refused.status, refused.code, refused.msg)

    def _banned(self) -> None:
        """The address is shut out: close, after the reply that says so."""
        self._shut_out = True
        if not self._answering:
            self._cut(POLICY, "IP banned")

    def _send(self, text: str) -> None:
        self._reply(text_frame(text.encode()))

    def _hear(self, account: str, events: Sequence[Told]) -> None:
        if not self._subscriptions or account != ACCOUNT:
            return
        for number, each in tuple(self._subscriptions.items()):
            if not self._venue.keys.known(each.api_key):
                del self._subscriptions[number]
                self._event(self._frame(number, EventStreamTerminated(self._venue.now_ms())))
        if self._subscriptions:
            self._event(b"".join(self._frame(number, event) for event in events for number in self._subscriptions))

    def _frame(self, number: int, event: Told | EventStreamTerminated) -> bytes:
        frame = encode_event(number, event)
        if self._options.micros:
            frame = msgspec.json.encode(in_micros(msgspec.json.decode(frame)))
        return text_frame(frame)

    # -- one request ------------------------------------------------------------------------------------------------
    def _answer(self, request: Request, call: _LineCall) -> str:
        method = request.method
        found = methods.ENDPOINTS.get(method)
        params = call.params
        show = self._options.return_rate_limits
        status, code, msg = 400, 0, ""
        data: object = msgspec.UNSET
        try:
            show = params.flag("returnRateLimits", default=show)
            result = self._run(method, found, call)
        except Refused as refused:
            status, code, msg, data = refused.status, refused.code, refused.msg, refused.data
        except Rejected as rejected:
            code, msg = rejected.code, rejected.msg
        except Exception:
            log.exception("the request %s failed by our fault", method if len(method) < 40 else "of an odd name")
            status, code, msg = 500, -1000, "An unknown error occurred while processing the request."
        rows = self._rows(found) if show else None
        if code:
            return encode_error(request.id, status, code, msg, self._timed(method, data), rows)
        return encode_reply(request.id, self._timed(method, result), rows)

    def _run(self, method: str, found: Endpoint | None, call: _LineCall) -> object:
        """The result; Refused or Rejected."""
        if found is not None:
            return methods.perform(
                found,
                call,
                self._address,
                lambda seen_ms: self._venue.keys.authorize(call.params, self._session, seen_ms),
                call.arrived_ms,
            )
        own = _SESSION.get(method)
        self._address.spend(1 if own is None else SESSION_WEIGHT, self._venue.now_ms())
        if own is None:
            raise Refused(-1020, "This operation is not supported.")
        return own(self, call)

    def weights(self) -> list[RateLimit]:
        """`rateLimits` of a reply that is not made here."""
        return self._rows(None)

    def _rows(self, found: Endpoint | None) -> list[RateLimit]:
        now_ms = self._venue.now_ms()
        orders = self._venue.orders.rows(now_ms) if found is not None and found.counts else []
        return [*orders, self._address.weight.row(now_ms)]

    def _timed(self, method: str, body: object) -> object:
        if not self._options.micros or body is msgspec.UNSET:
            return body
        if method in {"klines", "uiKlines"} and isinstance(body, list):
            return klines_in_micros(body)
        return in_micros(body)

    # -- the session ------------------------------------------------------------------------------------------------
    def logon(self, call: _LineCall) -> object:
        """session.logon: Ed25519 keys only; a second one replaces the key."""
        api_key = self._authorize(call)
        call.params.done()
        if not self._venue.keys.may_log_on(api_key):
            raise rejected_key()
        self._session.api_key, self._session.authorized_ms = api_key, self._venue.now_ms()
        self._venue.logged_on(self._number)
        return self._status()

    def _authorize(self, call: _LineCall) -> str:
        """The key that signed this request, whatever the session says."""
        now_ms = self._venue.now_ms()
        api_key = self._venue.keys.authorize(call.params, None, now_ms if call.arrived_ms is None else call.arrived_ms)
        check_late(call.params, now_ms)
        return api_key

    def status(self, call: _LineCall) -> object:
        """session.status."""
        call.params.done()
        return self._status()

    def logout(self, call: _LineCall) -> object:
        """session.logout: ends what was subscribed by the session."""
        call.params.done()
        self._log_out(call)
        return self._status()

    def _log_out(self, call: _LineCall) -> None:
        self._session.api_key = self._session.authorized_ms = None
        self._end(call, [number for number, each in self._subscriptions.items() if each.by_session])

    def _status(self) -> dict[str, object]:
        return {
            "apiKey": self._session.api_key,
            "authorizedSince": self._session.authorized_ms,
            "connectedSince": self._connected_ms,
            "returnRateLimits": self._options.return_rate_limits,
            "serverTime": self._venue.now_ms(),
            "userDataStream": bool(self._subscriptions) if self._venue.user_data else None,
        }

    # -- subscriptions ----------------------------------------------------------------------------------------------
    def subscribe(self, call: _LineCall) -> object:
        """userDataStream.subscribe: for the account that the session has logged on to."""
        call.params.done()
        if self._session.api_key is None:
            raise rejected_key()
        return self._subscribe(_Subscription(by_session=True, api_key=self._session.api_key))

    def subscribe_signature(self, call: _LineCall) -> object:
        """userDataStream.subscribe.signature: any kind of key, no session."""
        api_key = self._authorize(call)
        call.params.done()
        return self._subscribe(_Subscription(by_session=False, api_key=api_key))

    def _subscribe(self, subscription: _Subscription) -> object:
        if not self._venue.user_data:
            raise Refused(-1020, "This operation is not supported.")
        if self._subscriptions:  # there is one account, and an account has one subscription on a connection
            raise Refused(-2035, "User Data Stream subscription already active.")
        number = self._next_subscription
        if number > MAX_SUBSCRIPTION_ID:
            raise Refused(-2042, "Maximum subscription ID reached for this connection.")
        self._next_subscription += 1
        self._subscriptions[number] = subscription
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
    arrived_ms: int | None = None
    """Service time when it reached the exchange, where that was before its handling."""


_SESSION: dict[str, Callable[[ApiLine, _LineCall], object]] = {
    "session.logon": ApiLine.logon,
    "session.status": ApiLine.status,
    "session.logout": ApiLine.logout,
    "session.subscriptions": ApiLine.subscriptions,
    "userDataStream.subscribe": ApiLine.subscribe,
    "userDataStream.subscribe.signature": ApiLine.subscribe_signature,
    "userDataStream.unsubscribe": ApiLine.unsubscribe,
}


METHODS = frozenset(methods.ENDPOINTS) | frozenset(_SESSION)
"""Every method that is served."""


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
