"""A change of the key before there is anything to change."""

from __future__ import annotations

import random

import pytest

from tetrio.core.params import ExitParams, RiskParams, StrategyParams
from tetrio.errors import LinkLost
from tetrio.journal import Journal
from tetrio.live.bot import Bot, Setup
from tetrio.net import clock
from tetrio.status import Status
from tetrio.wire.sign import Signer


async def test_a_new_key_is_refused_in_words_before_the_exchange_has_been_reached() -> None:
    signer = Signer.generate(bytes(32))
    setup = Setup(
        rest="http://127.0.0.1:9", ws_api="ws://127.0.0.1:9", stream="ws://127.0.0.1:9", symbol="ETHUSDT",
        api_key="key", signer=signer, strategy=StrategyParams(), exit=ExitParams(), risk=RiskParams(),
    )  # fmt: skip
    bot = Bot(setup, clock=clock.WallClock(), journal=Journal([], lambda: 0), status=Status(), rng=random.Random(1))
    with pytest.raises(LinkLost, match="not been reached yet"):
        await bot.renew("new", signer)
