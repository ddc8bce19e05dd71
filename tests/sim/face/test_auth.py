"""Keys, rights, signatures and timestamps, by themselves: the time is an argument."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sim.served import ED_KEY, HMAC_KEY, HMAC_SECRET, KEYS, SIGNER
from tetrio.sim.face.auth import KeyRights, Keys, Security, Session, check_late, check_time, signed_text
from tetrio.sim.face.checks import Params, Refused
from tetrio.wire.sign import payload, sign_hmac

NOW = 1_784_626_200_000


def refusal(call: Callable[[], object]) -> int:
    with pytest.raises(Refused) as caught:
        call()
    return caught.value.code


def timed(timestamp: object, window: object = None) -> Params:
    return Params({"timestamp": str(timestamp)} | ({} if window is None else {"recvWindow": str(window)}))


# -- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("timestamp", "window", "answer"),
    [
        (NOW, None, 0),
        (NOW + 999, None, 0),
        (NOW + 1000, None, -1021),
        (NOW - 5000, None, 0),
        (NOW - 5001, None, -1021),
        (NOW * 1000, None, 0),
        (NOW * 1000 + 999_999, None, 0),
        (NOW * 1000 + 1_000_000, None, -1021),
        (NOW * 1000 - 1500, "1.5", 0),
        (NOW * 1000 - 1501, "1.5", -1021),
        (NOW * 1000 - 2, "0.001", -1021),
        (NOW - 60_000, "60000", 0),
        (NOW - 60_000, "60000.000", 0),
        (NOW, "60000.001", -1131),
        (NOW, "60001", -1131),
        (NOW, "1.0005", -1100),
        (NOW, "-1", -1100),
        (NOW, "", -1105),
        (1_483_228_799_999, "60000", -1021),  # before 2017
        (1, None, -1021),
        (NOW * 100, None, -1021),  # neither ms nor us: far ahead
        ("now", None, -1100),
        (-NOW, None, -1100),
        ("", None, -1105),
        (2**63, None, -1108),
    ],
)
def test_when_a_timestamp_is_accepted(timestamp: object, window: object, answer: int) -> None:
    if answer:
        assert refusal(lambda: check_time(timed(timestamp, window), NOW)) == answer
    else:
        check_time(timed(timestamp, window), NOW)


def test_a_request_without_a_timestamp_lacks_something() -> None:
    assert refusal(lambda: check_time(Params({}), NOW)) == -1102


def test_the_later_check_is_of_age_alone() -> None:
    check_late(timed(NOW + 100), NOW)
    check_late(timed(NOW, 300), NOW + 300)
    assert refusal(lambda: check_late(timed(NOW, 300), NOW + 301)) == -1021


# -- keys -------------------------------------------------------------------------------------------------------------


def signed(**params: object) -> Params:
    told = {name: str(value) for name, value in {"apiKey": ED_KEY, "timestamp": NOW, **params}.items()}
    return Params(told | {"signature": SIGNER.sign(payload(told))})


def test_a_revoked_key_is_none_any_more() -> None:
    keys = Keys(KEYS)
    assert keys.authorize(signed(), None, NOW) == ED_KEY
    keys.revoke(ED_KEY)
    assert refusal(lambda: keys.authorize(signed(), None, NOW)) == -2015
    keys.revoke(ED_KEY)
    assert (keys.known(ED_KEY), keys.known(HMAC_KEY)) == (False, True)


def test_a_key_that_only_reads() -> None:
    keys = Keys(KEYS, {ED_KEY: KeyRights(spot=False)})
    keys.permit(ED_KEY, Security.USER_DATA)
    assert refusal(lambda: keys.permit(ED_KEY, Security.TRADE)) == -2015
    keys.permit(HMAC_KEY, Security.TRADE)
    keys.grant(ED_KEY, KeyRights())
    keys.permit(ED_KEY, Security.TRADE)


def test_a_session_stands_for_the_key_and_the_time_is_looked_at_all_the_same() -> None:
    keys, session = Keys(KEYS), Session(api_key=ED_KEY)
    assert keys.authorize(timed(NOW), session, NOW) == ED_KEY
    assert refusal(lambda: keys.authorize(timed(NOW - 5001), session, NOW)) == -1021
    assert refusal(lambda: keys.authorize(Params({"timestamp": "1", "apiKey": ED_KEY}), session, NOW)) == -1102


@pytest.mark.parametrize(
    ("key", "code"), [("", -2014), ("short", -2014), ("ä" * 64, -2014), ("x" * 65, -2014), ("x" * 64, -2015)]
)
def test_keys_that_are_none(key: str, code: int) -> None:
    assert refusal(lambda: Keys(KEYS).authorize_http(key, "timestamp=1", "", Params({"timestamp": "1"}), NOW)) == code


# -- what is signed over REST -----------------------------------------------------------------------------------------

NAMES = st.sampled_from(["symbol", "side", "price", "newClientOrderId", "x"])
VALUES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
PAIRS = st.lists(st.tuples(NAMES, VALUES), max_size=5, unique_by=lambda pair: pair[0])


def http(query: str, body: str, signature: str, key: str = HMAC_KEY) -> str:
    params = Params({"timestamp": str(NOW), "signature": signature})
    return Keys(KEYS).authorize_http(key, query, body, params, NOW)


@given(PAIRS, PAIRS, st.integers(0, 6), st.booleans())
def test_a_signature_is_accepted_wherever_it_stands(
    query: list[tuple[str, str]], body: list[tuple[str, str]], at: int, in_body: bool
) -> None:
    texts = [[urlencode([pair]) for pair in pairs] for pairs in (query, body)]
    signature = sign_hmac(HMAC_SECRET, "&".join(texts[0]) + "&".join(texts[1]))
    texts[in_body].insert(at, f"signature={signature}")
    assert http("&".join(texts[0]), "&".join(texts[1]), signature) == HMAC_KEY


@given(PAIRS.filter(bool))
def test_a_signature_of_the_text_before_it_was_encoded_is_refused(pairs: list[tuple[str, str]]) -> None:
    """Unless encoding changes nothing."""
    plain = "&".join(f"{name}={value}" for name, value in pairs)
    encoded = "&".join(f"{name}={quote(value, safe='')}" for name, value in pairs)
    signature = sign_hmac(HMAC_SECRET, plain)
    if plain == encoded:
        assert http(encoded, "", signature) == HMAC_KEY
    else:
        assert refusal(lambda: http(encoded, "", signature)) == -1022


@pytest.mark.parametrize("raw", ['["A"]', "a b", "é", "a{b}", "<", "|", "^", "`", "\\"])
def test_what_is_signed_must_have_been_encoded(raw: str) -> None:
    text = f"x={raw}"
    assert refusal(lambda: http(text, "", sign_hmac(HMAC_SECRET, text))) == -1022
    assert http(f"x={quote(raw)}", "", sign_hmac(HMAC_SECRET, f"x={quote(raw)}")) == HMAC_KEY


@pytest.mark.parametrize(
    ("query", "body", "text"),
    [
        ("a=1&signature=s&b=2", "", "a=1&b=2"),
        ("a=1", "b=2&signature=s", "a=1b=2"),
        ("signature=s", "b=2", "b=2"),
        ("a=1", "signature=s", "a=1"),
        ("signatures=1&xsignature=2", "", "signatures=1&xsignature=2"),
    ],
)
def test_query_and_body_are_signed_one_after_the_other(query: str, body: str, text: str) -> None:
    assert signed_text(query, body) == text


def test_hex_signatures_know_no_letter_case() -> None:
    assert http("a=1", "", sign_hmac(HMAC_SECRET, "a=1").upper()) == HMAC_KEY


def test_base64_signatures_know_letter_case() -> None:
    signature = SIGNER.sign("a=1")
    assert http("a=1", "", signature, ED_KEY) == ED_KEY
    assert refusal(lambda: http("a=1", "", signature.swapcase(), ED_KEY)) == -1022
    assert refusal(lambda: http("a=1", "", "", ED_KEY)) == -1102
