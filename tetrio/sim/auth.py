"""Who is asking: API keys, signatures, timestamps, and the session of a WebSocket API connection.

All keys belong to the exchange's one account. Signatures are checked over the raw texts that were sent, so that a
client may write `1.10` or `true` as it likes. No key, secret or signature is ever logged from here. Pure: time is an
argument.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal

import attrs

from tetrio.log import Secret
from tetrio.sim.checks import Params, Refused, illegal, missing
from tetrio.wire.sign import Verifier, payload, verify_hmac

DEFAULT_RECV_WINDOW_MS = Decimal(5000)
MAX_RECV_WINDOW_MS = Decimal(60000)
AHEAD_MS = 1000  # a timestamp may be less than this ahead of the server's time
_WINDOW = r"^[0-9]{1,5}(\.[0-9]{1,3})?$"
_KEY_FORMAT = re.compile(r"[A-Za-z0-9]{64}")


@attrs.frozen
class HmacSecret:
    """The secret of an HMAC key; it never shows itself."""

    secret: Secret


@attrs.define
class Session:
    """What a WebSocket API connection has authenticated as."""

    api_key: str | None = None
    authorized_ms: int | None = None


class Keys:
    """The API keys that the exchange knows."""

    def __init__(self, keys: Mapping[str, Verifier | HmacSecret]) -> None:
        self._keys = dict(keys)

    def authorize(self, params: Params, session: Session | None, now_ms: int) -> str:
        """The API key that this signed request speaks for; Refused otherwise.

        `apiKey` with `signature` overrides the session for this request; the timestamp is mandatory either way.
        """
        explicit = session is None or session.api_key is None or "apiKey" in params or "signature" in params
        params.skip("apiKey", "signature", "timestamp", "recvWindow")
        if not explicit:
            assert session is not None, "explicit is true without a session"
            assert session.api_key is not None, "explicit is true without a key"
            check_time(params, now_ms)
            return session.api_key
        api_key = params.need("apiKey")
        self.check_known(api_key)
        signature = params.need("signature")
        check_time(params, now_ms)
        if not self.verified(api_key, payload(params.tokens), signature):
            raise Refused(-1022, "Signature for this request is not valid.")
        return api_key

    def verified(self, api_key: str, text: str, signature: str) -> bool:
        """Whether `signature` is that of `text` by a known key."""
        key = self._keys[api_key]
        if isinstance(key, HmacSecret):
            return verify_hmac(key.secret.reveal(), text, signature)
        return key.verify(text, signature)

    def may_log_on(self, api_key: str) -> bool:
        """Only Ed25519 keys open a session."""
        return isinstance(self._keys[api_key], Verifier)

    def check_known(self, api_key: str) -> None:
        """Refuse an API key that is malformed or that nobody has."""
        if api_key in self._keys:
            return
        if not _KEY_FORMAT.fullmatch(api_key):
            raise Refused(-2014, "API-key format invalid.", status=401)
        raise rejected_key()


def rejected_key() -> Refused:
    """An unknown key, or one that may not do this."""
    return Refused(-2015, "Invalid API-key, IP, or permissions for action.", status=401)


def check_time(params: Params, now_ms: int) -> None:
    """Refuse a request whose `timestamp` (ms, or us by its length) is too old for its recvWindow, or ahead."""
    stamp = params.integer("timestamp")
    if stamp is None:
        raise missing("timestamp")
    sent_ms = Decimal(stamp) / 1000 if stamp >= 10**15 else Decimal(stamp)
    window = _recv_window(params)
    if sent_ms >= now_ms + AHEAD_MS:
        raise Refused(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
    if now_ms - sent_ms > window:
        raise Refused(-1021, "Timestamp for this request is outside of the recvWindow.")


def _recv_window(params: Params) -> Decimal:
    text = params.text("recvWindow")
    if text is None:
        return DEFAULT_RECV_WINDOW_MS
    if not re.fullmatch(_WINDOW, text, re.ASCII):
        raise illegal("recvWindow", _WINDOW)
    window = Decimal(text)
    if window > MAX_RECV_WINDOW_MS:
        raise Refused(-1131, "recvWindow must be less than 60000.")
    return window
