"""A messenger as it is run beside a bot: the real commander and journal, over HTTP, against the fake Bot API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import attrs
import trio
import trio.testing

from tetrio.chaos.bot_api import TOKEN, FakeBotApi, serving
from tetrio.core.params import ExitParams
from tetrio.faces import TelegramParams
from tetrio.journal import Fact, Journal
from tetrio.live.commander import Commander
from tetrio.live.latch import Latch
from tetrio.log import Secret
from tetrio.net import clock, simnet
from tetrio.status import LiveOrder, Status
from tetrio.telegram.messenger import Messenger

CHAT, OTHER, GROUP = 111, 222, -100333
USER, COLLEAGUE, STRANGER = 7, 8, 666
DATE_NS = 1_750_000_000 * clock.NS


@attrs.define
class Rig:
    """What a test has in its hands."""

    api: FakeBotApi
    messenger: Messenger
    journal: Journal
    status: Status
    commander: Commander
    stop: trio.Event
    facts: list[Fact]

    def told(self, kind: str = "telegram", **fields: object) -> list[dict[str, Any]]:
        """Facts of a kind that have these fields."""
        found = [dict(fact.fields) for fact in self.facts if fact.kind == kind]
        return [each for each in found if fields.items() <= each.items()]


@asynccontextmanager
async def running(
    chats: Sequence[int] = (CHAT,),
    users: Sequence[int] = (USER,),
    *,
    queue: int = 200,
    token: str = TOKEN,
    real: bool = False,
) -> AsyncIterator[Rig]:
    """A running messenger; over the simulated network unless `real`."""
    if real:
        async with _running(chats, users, queue, token) as rig:
            yield rig
    else:
        async with simnet.with_simnet(), _running(chats, users, queue, token) as rig:
            yield rig


@asynccontextmanager
async def _running(chats: Sequence[int], users: Sequence[int], queue: int, token: str) -> AsyncIterator[Rig]:
    now = clock.AnchoredClock(DATE_NS)
    async with serving(lambda: now.now_ns() / clock.NS) as api, trio.open_nursery() as nursery:
        status, journal, stop = Status(alive=True, phase="ready"), Journal([], now.now_ns), trio.Event()
        commander = Commander(
            status=status, journal=journal, latch=Latch(), params=ExitParams(), stop=stop, wake=lambda: None
        )
        params = TelegramParams(chats=tuple(chats), users=tuple(users), url=api.url, queue=queue)
        messenger = Messenger(params, Secret(token), status=status, journal=journal, obeys=commander, now_ns=now.now_ns)
        facts: list[Fact] = []
        journal.listeners += [facts.append, messenger.listen]
        await nursery.start(messenger.run)
        await trio.testing.wait_all_tasks_blocked()
        yield Rig(api, messenger, journal, status, commander, stop, facts)
        nursery.cancel_scope.cancel()


def trading(status: Status) -> None:
    """The status of a bot that holds 0.4 ETH and has an order resting."""
    status.venue, status.symbol, status.base_asset, status.quote_asset = "sim", "ETHUSDT", "ETH", "USDT"
    status.regime, status.bid, status.ask, status.anchor = "BASE", "2000.10", "2000.20", "1990.00"
    status.balances, status.holding = {"ETH": "0.4000", "USDT": "12.5"}, {"ETH": Decimal("0.4"), "USDT": Decimal(0)}
    status.order = LiveOrder(
        side="SELL", price="2000.20", qty="0.4000", filled="0.0000", client_order_id="tt-1", placed_ns=0, state="open"
    )
    status.why = "sells when the bid has fallen to 1995.00"
