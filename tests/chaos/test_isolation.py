"""S25: whatever becomes of Telegram, what is sent to the exchange is the same, order by order and to the microsecond.

One world after the other, the same but for its Bot API. Its network is even (each segment takes as long as any other),
since a network that draws its delays would draw others for the others where Telegram draws fewer.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import pytest
import trio

from tetrio.chaos.bot_api import FakeBotApi
from tetrio.chaos.circumstances import LIVELY, terms_of
from tetrio.chaos.referee import Referee
from tetrio.chaos.trace import Trace
from tetrio.chaos.witness import Witness
from tetrio.chaos.world import Circumstances, World, running
from tetrio.live.executor import Executor
from tetrio.net import virtual
from tetrio.net.internet import with_internet
from tetrio.wire.request import Reply

SEED, SECONDS, LEAST = 4, 150.0, 20
GIVEN = Circumstances(settings=(*LIVELY, "exit.chase=join"), fund="ETH=0.4,FDUSD=0", fills="touch", telegram=True)
ORDERS = frozenset({"accept", "reject", "fill", "cancel", "expire", "trigger"})
Order = tuple[Any, ...]


class Even(random.Random):
    """Draws the middle of everything, and nothing that is rare."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2

    def random(self) -> float:
        return 0.999


class Orders(Witness):
    """Keeps what became of orders: when, what, and at which price."""

    def __init__(self) -> None:
        super().__init__(Referee(terms_of(GIVEN)), Trace())
        self.all: list[Order] = []
        self.texts = 0

    def audit(self, line: str) -> None:
        told = json.loads(line)
        if told["ev"] in ORDERS:
            self.all.append((told["ts"], told["ev"], told["side"], told.get("price"), told["qty"], told.get("filled")))
        super().audit(line)


def _orders(place: Path, ail: Callable[[FakeBotApi], Any] | None) -> Orders:
    """What a bot does in a while, with a Bot API that this ails from the beginning; None: nothing does."""
    witness = Orders()
    place.mkdir(exist_ok=True)

    async def main() -> None:
        async with with_internet(Even()) as internet:
            world = World(SEED, GIVEN, internet, witness, place)
            with ExitStack() as ailing:
                if ail is not None:
                    ailing.enter_context(ail(world.telegram))
                async with running(world) as nursery:
                    world.bear(nursery)
                    await trio.sleep(SECONDS)
                    witness.texts = len(world.telegram.texts())

    virtual.run(main, SEED)
    return witness


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Orders:
    return _orders(tmp_path_factory.mktemp("healthy"), None)


AILS: dict[str, Callable[[FakeBotApi], Any]] = {
    "hangs": lambda api: api.hanging(),
    "slow": lambda api: api.slow(15.0),
    "flooding": lambda api: api.flooding(30),
    "broken": lambda api: api.broken(),
    "cut": lambda api: api.truncated(),
}


def test_a_healthy_chat_is_told_of_many_orders(healthy: Orders) -> None:
    assert len(healthy.all) > LEAST
    assert healthy.texts > 0


@pytest.mark.fault("F119", "F120")
@pytest.mark.parametrize("ails", AILS)
def test_what_ails_telegram_changes_no_order(ails: str, healthy: Orders, tmp_path: Path) -> None:
    assert _orders(tmp_path, AILS[ails]).all == healthy.all


def test_a_bot_that_waits_for_its_chat_is_seen(
    healthy: Orders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparison itself: of a bot that sends no order for a second while nothing has reached its chat."""
    apis, send = list[FakeBotApi](), Executor._send

    async def waits(self: Executor, method: str, params: dict[str, object]) -> Reply:
        with trio.move_on_after(1.0):
            while not apis[-1].written:  # noqa: ASYNC110 - a bug that polls
                await trio.sleep(0.1)
        return await send(self, method, params)

    def kept(api: FakeBotApi, ail: Callable[[FakeBotApi], Any]) -> Any:
        apis.append(api)
        return ail(api)

    monkeypatch.setattr(Executor, "_send", waits)
    assert _orders(tmp_path / "1", lambda api: kept(api, lambda _: nullcontext())).all == healthy.all
    assert _orders(tmp_path / "2", lambda api: kept(api, FakeBotApi.hanging)).all != healthy.all
