"""A whole bot and an exchange in virtual time, with the exchange's own mishaps between them."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import trio

from tests.scenarios.runs import REPLAY
from tests.sim.served import SYMBOL, Line, quiet, record, top, trade
from tetrio import config
from tetrio.journal import Fact, Journal
from tetrio.live.bot import Bot, Setup
from tetrio.live.watchdog import Patience
from tetrio.net import clock, simnet, virtual
from tetrio.sim.exchange import Clocks, Exchange, ExchangeConfig
from tetrio.sim.market.tape import open_market
from tetrio.status import Status
from tetrio.wire.sign import Signer

KEY, SECOND_KEY = "embedded", "second"
SIGNER = Signer.generate(bytes(range(32)))
PATIENCE_S = 3600.0


class SettableClock:
    """A machine's date that can be set, or be found to have stood still."""

    def __init__(self, anchor_ns: int) -> None:
        self._anchored = clock.AnchoredClock(anchor_ns)
        self.ahead_s = 0.0

    def now_ns(self) -> int:
        return self._anchored.now_ns() + round(self.ahead_s * clock.NS)


@attrs.define
class World:
    """What a scenario may touch."""

    bot: Bot
    exchange: Exchange
    date: SettableClock
    """The bot's machine's."""
    facts: list[Fact] = attrs.field(factory=list)
    clean: bool | None = None

    def told(self, kind: str, **members: Any) -> list[dict[str, Any]]:
        """Facts of a kind whose members are as given."""
        found = [dict(fact.fields) for fact in self.facts if fact.kind == kind]
        return [fact for fact in found if all(fact.get(name) == value for name, value in members.items())]

    def epochs_ended(self) -> list[str]:
        """Why, each."""
        return [fact["why"] for fact in self.told("epoch", state="ended")]

    def arm(self, *faults: str) -> None:
        """Let the exchange fail."""
        for fault in faults:
            self.exchange.mishaps.arm(fault)

    async def until(self, condition: Callable[[], object], within_s: float = PATIENCE_S) -> float:
        """Wait for what a person could see; how long it took."""
        began = trio.current_time()
        with trio.fail_after(within_s):
            while not condition():  # noqa: ASYNC110 - a face looks now and then, too
                await trio.sleep(0.1)
        return trio.current_time() - began

    async def until_ready(self, after_epoch: int = 0, within_s: float = PATIENCE_S) -> float:
        """Wait for a later epoch than that to be ready."""
        status = self.bot.status
        return await self.until(lambda: status.phase == "ready" and status.epoch > after_epoch, within_s)


def lively(hours: float = 1.0) -> list[Line]:
    """A book that moves by a tick each second, and a trade at each end."""
    lines = [trade(0.001, "3412.36", "0.0001")]
    for second in range(round(hours * 3600)):
        cents = 36 + second % 7
        lines.append(top(second, f"3412.{cents}", "1.8420", f"3412.{cents + 1}", "0.7714"))
    return lines


def lived(
    directory: Path,
    scenario: Callable[[World], Awaitable[None]],
    *options: str,
    lines: Sequence[Line] | None = None,
    seed: int = 1,
    patience: Patience | None = None,
    check_rights: bool = False,
    **exchange: Any,
) -> World:
    """Run a bot until `scenario` is over, then stop it."""
    path = record(directory / "market", quiet() if lines is None else lines)
    given = config.load(REPLAY, {}, [config.from_option(text) for text in options])
    worlds: list[World] = []

    async def main() -> None:
        market = open_market(path, SYMBOL)
        async with simnet.with_simnet(), trio.open_nursery() as nursery:
            now, date = clock.AnchoredClock(market.first_ns), SettableClock(market.first_ns)
            served = Exchange(
                ExchangeConfig(
                    market=market, clocks=Clocks(now.now_ns, joined=True),
                    keys=dict.fromkeys((KEY, SECOND_KEY), SIGNER.verifier),
                    funds={"ETH": "1", "FDUSD": "0"}, **exchange,
                )
            )  # fmt: skip
            urls = await nursery.start(served.run)
            setup = Setup(
                rest=urls.rest, ws_api=urls.ws_api, stream=urls.stream, symbol=SYMBOL, api_key=KEY, signer=SIGNER,
                strategy=given.strategy, exit=given.exit, risk=given.risk, check_rights=check_rights,
                patience=patience or Patience(),
            )  # fmt: skip
            journal = Journal([], date.now_ns)
            bot = Bot(setup, clock=date, journal=journal, status=Status(), rng=random.Random(seed))
            world = World(bot, served, date)
            worlds.append(world)
            journal.listeners.append(world.facts.append)

            async def live() -> None:
                world.clean = await bot.run()
                nursery.cancel_scope.cancel()

            nursery.start_soon(live)
            await scenario(world)
            bot.stop.set()

    virtual.run(main, seed)
    return worlds[0]
