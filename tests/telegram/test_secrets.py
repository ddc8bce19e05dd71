"""The token is in nothing that anybody can read, whatever goes wrong on its way."""

from __future__ import annotations

import io
import logging
import traceback
from collections.abc import Iterator

import httpx
import pytest
import trio
import trio.testing

from tests.telegram.rig import CHAT, USER, running
from tetrio.chaos.bot_api import TOKEN, Reply, error
from tetrio.errors import ConfigError
from tetrio.faces import TelegramParams
from tetrio.journal import plain
from tetrio.log import Secret
from tetrio.telegram.api import Api, TelegramError, open_api
from tetrio.telegram.messenger import check

Clock = trio.testing.MockClock
CANARY = TOKEN.partition(":")[2]


@pytest.fixture
def heard() -> Iterator[io.StringIO]:
    """Everything that any library logs, at every level, as it is; httpx as the bot sets it up."""
    told, root = io.StringIO(), logging.getLogger()
    handler = logging.StreamHandler(told)
    quiet = {name: logging.getLogger(name) for name in ("httpx", "httpcore")}
    before = root.level, {name: each.level for name, each in quiet.items()}
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    for each in quiet.values():
        each.setLevel(logging.WARNING)
    yield told
    root.removeHandler(handler)
    root.setLevel(before[0])
    for name, each in quiet.items():
        each.setLevel(before[1][name])


async def test_no_log_no_fact_and_no_message_holds_the_token_under_any_fault(
    heard: io.StringIO, autojump_clock: Clock
) -> None:
    async with running() as rig:
        api = rig.api
        faults = [
            api.slow(7), api.hanging(), api.flooding(3), api.broken(), api.truncated(), api.lying([]),
            api.answering(error(409, f"Conflict for bot{TOKEN}")), api.answering(Reply(302, b"")),
            api.answering(error(400, f"Bad Request: /bot{TOKEN}/sendMessage")),
        ]  # fmt: skip
        for fault in faults:
            with fault:
                rig.journal.write("refused", what="breaker", code=len(rig.facts), why=f"POST {api.url}/bot{TOKEN}/x")
                api.say(CHAT, USER, "/status")
                await trio.sleep(45)
        async with api.down():
            await trio.sleep(45)
        with api.answering(error(401, f"Unauthorized: bot{TOKEN}")):
            rig.journal.write("start", venue="sim")
            await trio.sleep(300)
        assert rig.told(state="ended")
        ours = [str(plain(fact)) for fact in rig.facts if fact.kind == "telegram"]
        assert ours
        assert heard.getvalue(), "the libraries had something to say"
        for text in (heard.getvalue(), *ours, *api.texts(), repr(rig.messenger), str(vars(rig.messenger))):
            assert CANARY not in text
        assert any("***" in text for text in api.texts()), "there was something to cut out"


async def fails(api: Api) -> TelegramError:
    with pytest.raises(TelegramError) as raised:
        await api.send(CHAT, "x", within_s=1)
    return raised.value


async def test_no_error_holds_the_token_not_even_in_what_led_to_it(autojump_clock: Clock) -> None:
    async with running() as rig, open_api(rig.api.url, Secret(TOKEN), 1) as api:
        assert CANARY not in repr(api._bot) + str(api._bot) + repr(vars(api))
        for fault in (rig.api.hanging(), rig.api.truncated(), rig.api.broken(), rig.api.lying(3)):
            with fault:
                found = await fails(api)
            leads: list[BaseException] = [found]
            for each in leads:
                leads += [other for other in (each.__cause__, each.__context__) if other is not None]
                assert not isinstance(each, httpx.HTTPError)
                assert CANARY not in repr(each) + str(each) + repr(getattr(each, "__notes__", ""))
            assert CANARY not in "".join(traceback.format_exception(found))
        async with rig.api.down():
            found = await fails(api)
            assert CANARY not in "".join(traceback.format_exception(found))


@pytest.mark.parametrize("token", ["", "a b", "x\ny", "/../", "ü", "1:" + "x" * 70_000, "%00", "?x=#"])
async def test_a_token_of_any_shape_is_refused_and_not_shown(token: str, autojump_clock: Clock) -> None:
    async with running(token=token) as rig:
        rig.journal.write("start", venue="sim")
        await trio.sleep(100)
        assert rig.api.calls == [], "it is not even sent"
        assert rig.told(state="ended")
        if len(token) > 4:
            assert not any(token in str(plain(fact)) for fact in rig.facts)


@pytest.mark.parametrize(
    "url", ["http://api.example", "ftp://127.0.0.1", "", "https://", "https://u:p@h", "https://h/?q"]
)
def test_the_token_is_never_sent_in_the_clear_or_to_what_is_no_url(url: str) -> None:
    with pytest.raises(ConfigError, match=r"telegram\.url"):
        check(TelegramParams(url=url))


@pytest.mark.parametrize("url", ["https://api.telegram.org", "http://127.0.0.1:8081", "http://localhost:8081"])
def test_usable_urls_pass(url: str) -> None:
    check(TelegramParams(url=url))
