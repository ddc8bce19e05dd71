"""Whatever becomes of what is beside trading, the orders are the same, to the byte of the exchange's record."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio._core._run as trio_run

from tests.scenarios.sandbox import Beside, Fault, Run, cut_market, played
from tetrio.chaos.bot_api import TOKEN, FakeBotApi, error, serving
from tetrio.faces import TelegramParams
from tetrio.live.bot import Bot
from tetrio.log import Secret
from tetrio.net import clock
from tetrio.telegram.messenger import Messenger

CHATS, USERS = (11, 12), (7,)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cut_market(tmp_path_factory.mktemp("market"), 15_000)


@pytest.fixture(scope="module")
def alone(market: Path) -> Run:
    run = in_order(market)
    assert len(run.verdict.exits) > 1
    return run


def in_order(market: Path, beside: Beside | None = None) -> Run:
    """Trade, tasks that can run at the same moment being run in the order in which they were made.

    A seed shuffles them otherwise, and one task more is another shuffle: another order of what falls on one instant.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trio_run._r, "shuffle", lambda batch: None)
        return played(Fault(), market, beside=beside)


Weather = Callable[[FakeBotApi], AbstractAsyncContextManager[None]]


def telegram(weather: Weather, seen: list[FakeBotApi]) -> Beside:
    """Telegram beside a bot, with `weather` around it from the start."""

    async def run(bot: Bot, *, task_status: trio.TaskStatus[None]) -> None:
        async with serving(lambda: bot.clock.now_ns() / clock.NS) as api, trio.open_nursery() as nursery:
            seen.append(api)
            params = TelegramParams(chats=CHATS, users=USERS, url=api.url)
            messenger = Messenger(
                params, Secret(TOKEN),
                status=bot.status, journal=bot.journal, obeys=bot.commander, now_ns=bot.clock.now_ns,
            )  # fmt: skip
            bot.journal.listeners.append(messenger.listen)
            await nursery.start(messenger.run)
            async with weather(api):
                task_status.started()
                await trio.sleep_forever()

    return run


def steady(fault: Callable[[FakeBotApi], Any]) -> Weather:
    @asynccontextmanager
    async def weather(api: FakeBotApi) -> AsyncIterator[None]:
        with fault(api):
            yield

    return weather


@asynccontextmanager
async def fine(api: FakeBotApi) -> AsyncIterator[None]:
    yield


@asynccontextmanager
async def down(api: FakeBotApi) -> AsyncIterator[None]:
    async with api.down():
        yield


@asynccontextmanager
async def talkative(api: FakeBotApi) -> AsyncIterator[None]:
    """Ten questions a second from somebody who may ask, and as many from somebody who may not."""

    async def ask() -> None:
        while True:
            for user, text in ((7, "/status"), (666, "/flatten"), (7, "/nonsense"), (666, "\0" * 4000)):
                api.say(11, user, text)
            await trio.sleep(0.1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        yield
        nursery.cancel_scope.cancel()


@contextmanager
def conflict(api: FakeBotApi) -> Iterator[None]:
    with api.answering(error(409, "Conflict: terminated by other getUpdates request"), "getUpdates"):
        yield


WEATHERS: dict[str, Weather] = {
    "fine": fine,
    "down": down,
    "slow": steady(lambda api: api.slow(30)),
    "hanging": steady(lambda api: api.hanging()),
    "flooding": steady(lambda api: api.flooding(20)),
    "talkative": talkative,
    "lying": steady(lambda api: api.lying({"message_id": "no number", "chat": []})),
    "broken": steady(lambda api: api.broken()),
    "truncated": steady(lambda api: api.truncated()),
    "another": steady(conflict),
}


@pytest.mark.fault("F119")
@pytest.mark.parametrize("weather", WEATHERS)
def test_the_orders_are_the_same_whatever_telegram_does(weather: str, alone: Run, market: Path) -> None:
    seen: list[FakeBotApi] = []
    run = in_order(market, telegram(WEATHERS[weather], seen))
    differing = [pair for pair in itertools.zip_longest(orders(run), orders(alone)) if pair[0] != pair[1]]
    assert differing[:1] == []
    assert run.clean
    if weather == "fine":
        assert any("filled" in text for text in seen[0].texts(11)), "and it was told"


def orders(run: Run) -> list[dict[str, Any]]:
    """The exchange's record, whole but for its numbering."""
    return [{**line, "seq": 0} for line in map(json.loads, run.audit.splitlines())]
