from __future__ import annotations

import base64
import contextlib
import json
import logging
import sys
import threading
import urllib.parse
import warnings
from collections.abc import Iterator

import attrs
import pytest

from tetrio import log
from tetrio.log import Secret, conceal, hide, redact


@attrs.define
class Said:
    level: str
    name: str
    text: str
    more: dict[str, object]


@contextlib.contextmanager
def routed(level: str = "info") -> Iterator[list[Said]]:
    said: list[Said] = []

    def emit(level: str, name: str, text: str, /, **fields: object) -> None:
        said.append(Said(level, name, text, fields))

    undo = log.setup(emit, level=level)
    try:
        yield said
    finally:
        undo()


@pytest.fixture
def emitted() -> Iterator[list[Said]]:
    with routed() as said:
        yield said


# --- records ---------------------------------------------------------------------------------------------------------


def test_diagnostics_are_one_line_even_with_a_traceback(emitted: list[Said]) -> None:
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        logging.getLogger("tetrio.test").exception("it\nfailed")
    (said,) = emitted
    assert (said.level, said.name, said.text) == ("error", "tetrio.test", "it\\nfailed")
    assert "ValueError: first" in str(said.more["exception"])
    assert "\n" not in str(said.more["exception"])


@pytest.mark.parametrize(
    ("level", "heard"),
    [
        ("debug", ["d", "i", "w", "e", "lib i", "lib w"]),
        ("info", ["i", "w", "e", "lib i", "lib w"]),
        ("warning", ["w", "e", "lib w"]),
        ("error", ["e"]),
    ],
)
def test_the_level_is_ours_and_libraries_never_say_more_than_info(level: str, heard: list[str]) -> None:
    with routed(level) as said:
        for each in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
            logging.getLogger("tetrio.test").log(each, logging.getLevelName(each)[0].lower())
        logging.getLogger("somelib").debug("lib d")
        logging.getLogger("somelib").info("lib i")
        logging.getLogger("somelib").warning("lib w")
    assert [each.text for each in said] == heard


@pytest.mark.parametrize("name", ["httpx", "httpcore.connection", "telegram.ext.Updater", "hypercorn.error"])
def test_chatty_libraries_are_kept_quiet_at_every_level(name: str) -> None:
    with routed("debug") as said:
        logging.getLogger(name).info("HTTP Request: POST https://api.telegram.org/bot1:x/getMe")
        logging.getLogger(name).warning("this one matters")
    assert [each.text for each in said] == ["this one matters"]


def test_arguments_that_do_not_fit_are_said_all_the_same(emitted: list[Said]) -> None:
    record = logging.LogRecord("lib", logging.WARNING, "lib.py", 1, "count %d", ("many",), None)
    logging.getLogger().handlers[0].handle(record)  # this one alone: pytest's own raises
    assert [each.text for each in emitted] == ["count %d ('many',)"]


@pytest.mark.filterwarnings("default")
def test_a_warning_is_a_line(emitted: list[Said], capsys: pytest.CaptureFixture[str]) -> None:
    warnings.warn("old ways", DeprecationWarning, stacklevel=1)
    (said,) = emitted
    assert (said.level, said.name) == ("warning", "py.warnings")
    assert "DeprecationWarning: old ways" in said.text
    assert "\n" not in said.text
    assert capsys.readouterr().err == ""


def test_an_exception_that_ends_a_thread_is_a_line(emitted: list[Said], capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise ValueError("token=hunter2")

    thread = threading.Thread(target=fail, name="writer")
    thread.start()
    thread.join()
    (said,) = emitted
    assert (said.level, said.text) == ("error", "the thread writer has failed")
    assert "ValueError: token=***" in str(said.more["exception"])
    assert capsys.readouterr().err == ""


def test_an_exception_that_nobody_can_catch_is_a_line(emitted: list[Said], capsys: pytest.CaptureFixture[str]) -> None:
    class Odd:
        def __del__(self) -> None:
            raise ValueError("at the end")

    Odd()
    (said,) = emitted
    assert said.level == "error"
    assert "in a function" in said.text
    assert "ValueError: at the end" in str(said.more["exception"])
    assert capsys.readouterr().err == ""


def test_setting_up_can_be_undone() -> None:
    root = logging.getLogger()
    before = (list(root.handlers), root.level, sys.unraisablehook, threading.excepthook, warnings.showwarning)
    with routed("error"):
        assert root.handlers != before[0]
    after = (list(root.handlers), root.level, sys.unraisablehook, threading.excepthook, warnings.showwarning)
    assert after == before


# --- secrets ---------------------------------------------------------------------------------------------------------


def test_a_secret_shows_itself_to_nobody() -> None:
    secret = Secret("hunter2")
    assert "hunter2" not in f"{secret} {secret!r} {secret:>20} {[secret]} {(secret,)!s}"
    assert secret.reveal() == "hunter2"


@pytest.mark.parametrize(
    "text",
    [
        '{"id":1,"params":{"apiKey":"hunter2","signature":"hunter2"}}',
        repr('{"id":1,"params":{"apiKey":"hunter2","signature":"hunter2"}}'),
        json.dumps(json.dumps({"apiKey": "hunter2"})),
        "GET /api/v3/order?symbol=X&signature=hunter2",
        "X-MBX-APIKEY: hunter2",
        "[(b'X-MBX-APIKEY', b'hunter2')]",
        "POST https://api.telegram.org/bot123456:hunter2/sendMessage",
        "the token is 123456789:AAhunter2-hunter2_hunter2hunter2hun, thanks",
        "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nhunter2",
        f"a bare key: {'hunter2' * 9}h.",
        f"a bare signature: {base64.b64encode(b'hunter2' + bytes(57)).decode().replace('A', 'hunter2'[0])}",
    ],
)
def test_diagnostics_lose_what_looks_like_a_secret(emitted: list[Said], text: str) -> None:
    logging.getLogger("tetrio.test").warning("seen: %s", text)
    (said,) = emitted
    assert "hunter2" not in said.text
    assert "***" in said.text
    assert said.text.startswith("seen: ")


def test_a_signature_in_base64_is_known_by_its_look_alone() -> None:
    signature = base64.b64encode(bytes(range(100, 164))).decode()
    assert redact(f"sent {signature} today") == "sent *** today"
    assert redact(f"sent {urllib.parse.quote(signature, safe='')} today") == "sent *** today"


@pytest.mark.parametrize(
    "text",
    [
        "no take-profit until the bid rises to 2,543.25 (gain 0.11 %, more than 0.20 % needed); armed if it then falls",
        "refused tt-8f3a-k2j9x1-12t-3: -2010 Order would immediately match and take.",
        "wss://stream.binance.com:9443/stream?streams=ethusdt@bookTicker/ethusdt@kline_1m: no answer within 10 s",
        "the key file key.pem is open to other users (mode 0644): chmod 600 key.pem",
    ],
)
def test_what_people_need_to_read_stays(text: str) -> None:
    assert redact(text) == text


SECRET = 'CANARY/one+two="three"\\x'


@pytest.mark.parametrize(
    "disguised",
    [
        SECRET,
        json.dumps(SECRET),
        json.dumps(json.dumps(SECRET)[1:-1])[1:-1].replace("\\\\", "\\").replace('\\\\"', '\\"'),
        urllib.parse.quote(SECRET, safe=""),
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
    ],
)
def test_a_secret_is_known_in_its_usual_disguises(disguised: str) -> None:
    Secret(SECRET)
    assert "CANARY" not in hide(f"<{disguised}>")
    assert base64.b64encode(SECRET.encode()).decode()[:12] not in hide(f"<{disguised}>")


def test_a_private_key_is_known_by_its_body_and_its_bytes() -> None:
    key = bytes(range(100, 132))
    body = base64.b64encode(bytes.fromhex("302e020100300506032b657004220420") + key).decode()
    conceal(f"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n")
    for shown in (body, key.hex(), key.hex().upper(), str(key), base64.b64encode(key).decode()):
        assert hide(f"<{shown}>") in ("<***>", "<b'***'>", "<***=>"), shown


def test_a_short_word_is_no_secret_and_an_empty_one_neither() -> None:
    conceal("ETH")
    conceal("")
    assert hide("ETH and more") == "ETH and more"


def test_the_latest_secrets_are_kept_and_no_more() -> None:
    for number in range(1000):
        conceal(f"rotated-{number:06}-x")
    assert len(log._forms) <= log.MOST_SECRETS * 6
    assert hide("rotated-000999-x rotated-000936-x rotated-000935-x") == "*** *** rotated-000935-x"


def test_a_secret_survives_a_reload_that_reads_it_again() -> None:
    conceal("still-in-use")
    for number in range(log.MOST_SECRETS - 1):
        conceal(f"another-{number:06}")
        conceal("still-in-use")
    assert hide("still-in-use") == "***"
