"""A market in virtual time, bots that die and are followed by others, and a shadow that has seen everything.

The shadow is the fold of the first bot, taken from it when it dies and fed from the exchange's own record of every
trade and every fill, in order: what an uninterrupted run would hold.
"""

from __future__ import annotations

import io
import json
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import msgspec
import trio

from tests.scenarios.sandbox import Fault, tampering
from tetrio import config
from tetrio.core.market import Trade
from tetrio.core.purse import OwnTrade
from tetrio.core.refold import Refold, observed
from tetrio.core.state import remembered
from tetrio.journal import Journal, StreamSink
from tetrio.live.bot import Bot, Setup
from tetrio.net import clock, simnet, virtual
from tetrio.sim.exchange import Clocks, Exchange, ExchangeConfig
from tetrio.sim.face.venue import ACCOUNT
from tetrio.sim.market.tape import open_market
from tetrio.status import Status
from tetrio.wire.request import MyTrade, fill_of_trade
from tetrio.wire.sign import Signer

KEY = "embedded"
SIGNER = Signer.generate(bytes(range(32)))
OPTIONS = (
    "strategy.reference=trade", "strategy.kline_history=500", "strategy.min_gain_base=0.002",
    "strategy.min_gain_quote=0.002", "strategy.hard_stop=0.004", "strategy.buffer=0", "strategy.donchian_gain=0.05",
)  # fmt: skip


@attrs.define
class Life:
    """One bot."""

    bot: Bot
    scope: trio.CancelScope
    text: io.StringIO
    ended: trio.Event = attrs.Factory(trio.Event)

    @property
    def fold(self) -> Refold:
        fold = self.bot._kept.memory.fold
        assert fold is not None, "it has been ready"
        return fold

    def facts(self, kind: str, what: str | None = None) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.text.getvalue().splitlines()]
        return [fact for fact in found if fact["kind"] == kind and what in (None, fact.get("what"))]


class World:
    """The exchange, and whoever trades there."""

    def __init__(
        self, nursery: trio.Nursery, *options: str, seed: int = 1, state: Path | None = None, **settings: Any
    ) -> None:
        self.given = config.load(None, {}, [config.from_option(text) for text in (*OPTIONS, *options)])
        self.market = open_market("synthetic", None, seed=seed)
        self.clock = clock.AnchoredClock(self.market.first_ns - clock.NS)
        self.audit = io.StringIO()
        funds = {self.market.rules.base_asset: "0.3", self.market.rules.quote_asset: "3"}
        self.exchange = Exchange(
            ExchangeConfig(
                market=self.market, keys={KEY: SIGNER.verifier}, clocks=Clocks(self.clock.now_ns, joined=True),
                audit=self.audit, **{"funds": funds, **settings},
            )
        )  # fmt: skip
        self._nursery, self._state, self._names = nursery, state, 0
        self.shadow: Refold | None = None
        self._urls: Any = None

    async def open(self) -> None:
        self._urls = await self._nursery.start(self.exchange.run)

    async def begin(self) -> Life:
        """Another bot, ready."""
        urls, given = self._urls, self.given
        setup = Setup(
            rest=urls.rest, ws_api=urls.ws_api, stream=urls.stream, symbol=self.market.symbol, api_key=KEY,
            signer=SIGNER, strategy=given.strategy, exit=given.exit, risk=given.risk, state=self._state,
            check_rights=False,
        )  # fmt: skip
        text = io.StringIO()
        journal = Journal([StreamSink(text)], self.clock.now_ns)
        bot = Bot(setup, clock=self.clock, journal=journal, status=Status(), rng=random.Random(1))
        life = Life(bot, trio.CancelScope(), text)
        self._nursery.start_soon(self._live, life)
        with trio.fail_after(300):
            await bot.ready.wait()
        return life

    async def _live(self, life: Life) -> None:
        with life.scope:
            await life.bot.run()
        life.ended.set()

    async def kill(self, life: Life) -> None:
        """Without a goodbye; the first one leaves its fold as the shadow."""
        life.scope.cancel()
        await life.ended.wait()
        if self.shadow is None:
            self.shadow = life.fold

    async def settled(self, life: Life) -> None:
        """Until the bot has folded all that the exchange has told."""
        with trio.fail_after(60):
            while life.fold.last_id < self.exchange.venue.recent[-1].trade_id:  # noqa: ASYNC110 - nothing tells of a fold
                await trio.sleep(0.01)

    def own_trades(self) -> list[OwnTrade]:
        venue = self.exchange.venue
        found = venue.engine.trades(ACCOUNT, venue.symbol)
        texts = [venue.shapes.trade(fill) for fill in found]
        return [_own(text, self) for text in texts]

    def catch_up(self, fold: Refold, until_id: int) -> Refold:
        """Fold the exchange's own record."""
        for trade in self.own_trades():
            if trade.trade_id > fold.last_id:
                fold.own(trade)
        record = [
            observed(Trade(each.price, each.qty, each.trade_id, each.at_ms, each.buyer_is_maker))
            for each in self.exchange.venue.recent
            if fold.last_id < each.trade_id <= until_id
        ]
        if record:
            assert record[0].update_id == fold.last_id + 1, "the exchange remembers all since"
            fold.trades(record)
        return fold

    def compare(self, life: Life) -> None:
        """The bot's state is that of the shadow, at the same trade."""
        assert self.shadow is not None, "somebody has died"
        self.catch_up(self.shadow, life.fold.last_id)
        assert self.shadow.last_id == life.fold.last_id
        assert remembered(life.fold.state) == remembered(self.shadow.state)
        assert life.fold.total.holdings() == self.shadow.total.holdings()

    def exits(self, reason: str) -> int:
        """How many of the regime's changes so far had this reason, by the audit."""
        lines = [json.loads(line) for line in self.audit.getvalue().splitlines()]
        names = {line["client_order_id"] for line in lines if line["ev"] == "fill" and line["status"] == "FILLED"}
        return sum(1 for name in names if name.split("-")[3].endswith(reason))


def _own(text: dict[str, Any], world: World) -> OwnTrade:

    trade = msgspec.convert(msgspec.to_builtins(text), MyTrade)
    return OwnTrade.of(fill_of_trade(trade, ""), world.market.rules)


def play(body: Callable[[World], Awaitable[None]], *options: str, fault: Fault | None = None, **settings: Any) -> None:
    """Run `body` in a world, in virtual time."""

    async def main() -> None:
        async with simnet.with_simnet(), trio.open_nursery() as nursery:
            world = World(nursery, *options, **settings)
            await world.open()
            if fault is not None:
                with tampering(fault, nursery):
                    nursery.start_soon(fault.run)
                    await body(world)
            else:
                await body(world)
            nursery.cancel_scope.cancel()

    virtual.run(main, settings.get("seed", 1))
