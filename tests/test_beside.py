"""The pulse: whether the bot is alive, judged on a clock of any speed, and by nobody when the pulse has failed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio
from trio.testing import MockClock

from tetrio import config
from tetrio.beside import Beside, Surroundings
from tetrio.core.params import ExitParams, RiskParams, StrategyParams
from tetrio.journal import Journal
from tetrio.live.bot import Bot, Setup
from tetrio.net import clock
from tetrio.status import Status
from tetrio.wire.sign import Signer

SPEED = 20.0


@contextmanager
def fast() -> Iterator[None]:
    """A clock that runs twenty times as fast as the machine."""
    clock.set_rate(SPEED)
    try:
        yield
    finally:
        clock.set_rate(1.0)


def idle_bot() -> Bot:
    setup = Setup(
        rest="http://127.0.0.1:9", ws_api="ws://127.0.0.1:9", stream="ws://127.0.0.1:9", symbol="ETHUSDT",
        api_key="key", signer=Signer.generate(bytes(32)), strategy=StrategyParams(), exit=ExitParams(),
        risk=RiskParams(),
    )  # fmt: skip
    return Bot(setup, clock=clock.WallClock(), journal=Journal([], lambda: 0), status=Status(), rng=random.Random(1))


@pytest.mark.fault("F103")
async def test_a_loop_that_was_held_up_is_not_alive_however_fast_the_clock(autojump_clock: MockClock) -> None:
    bot = idle_bot()
    with fast():
        await held_up(bot, autojump_clock)


async def held_up(bot: Bot, autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(Beside(config.load(None, {}, []), Surroundings(), bot).run)
        await trio.sleep(2.5 * SPEED)
        assert not any("held up" in phrase for phrase in bot.status.ailing)
        autojump_clock.jump(7 * SPEED)
        await trio.sleep(1.5 * SPEED)
        assert any("held up for 6.5 s" in phrase for phrase in bot.status.ailing), bot.status.ailing
        nursery.cancel_scope.cancel()


async def test_a_bot_whose_pulse_has_failed_is_not_called_alive(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = idle_bot()

    def fails() -> None:
        raise RuntimeError("no vitals")

    async with trio.open_nursery() as nursery:
        await nursery.start(Beside(config.load(None, {}, []), Surroundings(), bot).run)
        await trio.sleep(0.5)
        bot.status.alive = True
        monkeypatch.setattr(bot, "check_vitals", fails)
        await trio.sleep(1)
        assert not bot.status.alive
        assert bot.status.ailing == ("nobody judges whether it is alive",)
        assert bot.journal.recent[-1].fields["name"] == "pulse"
        nursery.cancel_scope.cancel()
