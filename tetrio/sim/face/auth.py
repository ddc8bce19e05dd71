"""Who is asking, and may they: API keys and their rights, signatures, timestamps, the session of a connection.

All keys belong to the exchange's one account. Signatures are checked over the raw texts that were sent, so that a
client may write `1.10` or `true` as it likes: on the WebSocket API over the sorted parameters, on REST over query and
body as they stand, percent-encoded and in the order sent. No key, secret or signature is ever logged from here. Pure:
time is an argument.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from decimal import Decimal

import attrs

from tetrio.log import Secret
from tetrio.sim.face.checks import Params, Refused, illegal, missing
from tetrio.wire.sign import Verifier, payload, verify_hmac

DEFAULT_RECV_WINDOW_MS = Decimal(5000)
MAX_RECV_WINDOW_MS = Decimal(60000)
AHEAD_MS = 1000  # a timestamp may be less than this ahead of the server's time
MICROS_FROM = 10**15  # a timestamp from here on is in us; as ms it would be of the year 33658
_WINDOW = r"^[0-9]{1,5}(\.[0-9]{1,3})?$"
_KEY_FORMAT = re.compile(r"[A-Za-z0-9]{64}")
_UNENCODED = re.compile(r"[^!-~]|[\"<>\[\]\\^`{|}]")  # what RFC 3986 has in no query


class Security(enum.Enum):
    """What a method asks of the key that calls it (Binance's security types)."""

    NONE = "NONE"
    """Nothing: public."""
    USER_DATA = "USER_DATA"
    """A signature."""
    TRADE = "TRADE"
    """A signature by a key that may trade."""


@attrs.frozen(kw_only=True)
class KeyRights:
    """What one key may do, as apiRestrictions tells it; the default is what a bot's key should have.

    `spot` is enforced. The rest is told only: there is nothing to withdraw or to transfer here.
    """

    spot: bool = True
    """Placing and cancelling orders; without it the key only reads."""
    withdraw: bool = False
    internal_transfer: bool = False
    universal_transfer: bool = False
    ip_restricted: bool = True


WORDS: Mapping[str, Mapping[str, bool]] = {
    "withdraw": {"withdraw": True},
    "internal-transfer": {"internal_transfer": True},
    "universal-transfer": {"universal_transfer": True},
    "no-ip": {"ip_restricted": False},
    "no-spot": {"spot": False},
}
"""Word of --key-rights -> what it changes in the default rights."""


def parse_rights(words: str) -> KeyRights:
    """Rights from words such as `withdraw,no-ip`; ValueError names an unknown one."""
    changed: dict[str, bool] = {}
    for word in filter(None, (each.strip() for each in words.split(","))):
        if word not in WORDS:
            raise ValueError(f"{word!r} is none of {', '.join(WORDS)}")
        changed |= WORDS[word]
    return KeyRights(**changed)


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
    """The API keys that the exchange knows, and what each may do."""

    def __init__(
        self, keys: Mapping[str, Verifier | HmacSecret], rights: Mapping[str, KeyRights] | None = None
    ) -> None:
        """`rights` by API key; the default for a key that is not in it."""
        self._keys = dict(keys)
        self._rights = dict(rights or {})

    def known(self, api_key: str) -> bool:
        """Whether this is a key, and has not been revoked."""
        return api_key in self._keys

    def rights(self, api_key: str) -> KeyRights:
        """What a key may do."""
        return self._rights.get(api_key, KeyRights())

    def grant(self, api_key: str, rights: KeyRights) -> None:
        """From now on the key may do this."""
        self._rights[api_key] = rights

    def add(self, api_key: str, key: Verifier | HmacSecret) -> None:
        """From now on it is a key."""
        self._keys[api_key] = key

    def revoke(self, api_key: str) -> None:
        """The key is none any more: requests are refused, and its sessions end with their next request."""
        self._keys.pop(api_key, None)

    def authorize(self, params: Params, session: Session | None, now_ms: int) -> str:
        """The API key that this signed request of the WebSocket API speaks for; Refused otherwise.

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
        self._check(api_key, payload(params.tokens), params, now_ms)
        return api_key

    def authorize_http(self, api_key: str, query: str, body: str, params: Params, now_ms: int) -> str:
        """The same for a REST request: `api_key` is that of its header, query and body are as they were sent."""
        params.skip("signature", "timestamp", "recvWindow")
        self.check_known(api_key)
        text = signed_text(query, body)
        self._check(api_key, text, params, now_ms)
        if _UNENCODED.search(text):  # signed, but before it was percent-encoded: refused since 2026-01-15
            raise bad_signature()
        return api_key

    def _check(self, api_key: str, text: str, params: Params, now_ms: int) -> None:
        signature = params.need("signature")
        check_time(params, now_ms)
        if not self._verified(api_key, text, signature):
            raise bad_signature()

    def _verified(self, api_key: str, text: str, signature: str) -> bool:
        key = self._keys[api_key]
        if isinstance(key, HmacSecret):
            return verify_hmac(key.secret.reveal(), text, signature)
        return key.verify(text, signature)

    def permit(self, api_key: str, security: Security) -> None:
        """Refuse what the key may not do."""
        if security is Security.TRADE and not self.rights(api_key).spot:
            raise rejected_key()

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


def bad_signature() -> Refused:
    """Signed by another key, or over another text."""
    return Refused(-1022, "Signature for this request is not valid.")


def signed_text(query: str, body: str = "") -> str:
    """What is signed of a REST request: query and body one after the other, each without its signature, wherever that
    stands; the rest untouched.
    """
    return _without_signature(query) + _without_signature(body)


def _without_signature(text: str) -> str:
    return "&".join(part for part in text.split("&") if not part.startswith("signature="))


# -- time -------------------------------------------------------------------------------------------------------------


def check_time(params: Params, now_ms: int) -> None:
    """Refuse a request whose `timestamp` (ms, or us by its length) is too old for its recvWindow, or ahead.

    Binance also refuses a timestamp before 2017, or more than 10 s ahead: neither could be within these bounds.
    """
    sent_ms, window = _stamp(params)
    if sent_ms >= now_ms + AHEAD_MS:
        raise Refused(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
    if now_ms - sent_ms > window:
        raise _outside()


def check_late(params: Params, now_ms: int) -> None:
    """The check just before the engine: refuse a request that passed `check_time` and took too long inside since.

    Its cost is more than weight: such an order counts (`methods.perform`).
    """
    sent_ms, window = _stamp(params)
    if now_ms - sent_ms > window:
        raise _outside()


def _outside() -> Refused:
    return Refused(-1021, "Timestamp for this request is outside of the recvWindow.")


def _stamp(params: Params) -> tuple[Decimal, Decimal]:
    """When a request says that it was sent, and how old it may become, ms."""
    stamp = params.integer("timestamp")
    if stamp is None:
        raise missing("timestamp")
    return Decimal(stamp) / 1000 if stamp >= MICROS_FROM else Decimal(stamp), _recv_window(params)


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
