"""What is demanded once everything has healed: back in time, an exit that rests, nothing in doubt, a stop in order."""

from __future__ import annotations

from collections.abc import Callable

import trio

from tetrio.chaos.judge.lives import UNKNOWN_STOP_S
from tetrio.chaos.referee import Referee
from tetrio.chaos.world import Life, World
from tetrio.core.orders import OrderState
from tetrio.live.resolving import LATE_S
from tetrio.operator import Order

QUIET_S = 20.0
AGREED_S = 15.0
"""Within which, trade as it may, the bot's account must once be the exchange's."""
LOOK_S = 0.2


async def _until(holds: Callable[[], bool], within_s: float) -> bool:
    with trio.move_on_after(within_s):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event, and time is virtual
            await trio.sleep(LOOK_S)
        return True
    return holds()


class Demand:
    """After healing: back, resting, and a stop in order."""

    def __init__(self, world: World, referee: Referee, slack_s: float, quiet_s: float = QUIET_S) -> None:
        self.world, self.referee, self.quiet_s = world, referee, quiet_s
        self._fills = referee.counts["fill"]
        referee.healed(trio.current_time(), slack_s)

    def _breach(self, invariant: str, what: str) -> None:
        self.referee.breach(invariant, trio.current_time(), what)

    async def _due(self, invariant: str, so: Callable[[], bool]) -> bool:
        """Whether it came about in time."""
        while True:
            found = so()
            if self.referee.decided(trio.current_time(), invariant, found, self._sight()):
                return found
            await trio.sleep(LOOK_S)

    def _alive(self) -> Life | None:
        return None if self.world.life.dead else self.world.life

    async def all(self) -> None:
        """One after the other."""
        if not await self._due("L1", self._back):
            return
        self.world.say(Order(word="resume", by="chaos"))
        await self._due("L2", self._exits)
        await trio.sleep(self.quiet_s)
        await self._due("L3", lambda: self._doubt() is None)
        within_s = LATE_S + AGREED_S if self._asks() else AGREED_S
        await _until(lambda: not self._disagreement(), within_s)
        if what := self._disagreement():
            self._breach("S11", f"{within_s:g} s and more after healing {what}")
        self.referee.fills_due(trio.current_time())
        await self.stop()

    def _back(self) -> bool:
        life = self._alive()
        return life is not None and life.status.phase == "ready"

    def _asks(self) -> bool:
        """Whether the bot has an outcome to find out, for which an engine may be half a minute late."""
        life = self._alive()
        sleeve = life.bot.sleeve if life is not None else None
        return sleeve is not None and any(order.state is OrderState.UNKNOWN for order in sleeve.unfinished())

    def _doubt(self) -> str | None:
        return self.referee.doubt(trio.current_time())

    def _disagreement(self) -> str:
        """Where what the bot takes for so is not what is; "" where nothing."""
        life = self._alive()
        sleeve = life.bot.sleeve if life is not None else None
        if sleeve is None:
            return ""
        thought, open_orders = sleeve.totals(), sorted(order.client_order_id for order in sleeve.unfinished())
        return self.referee.disagreement(*thought, open_orders)

    def _exits(self) -> bool:
        """Say `exit`, where nothing is armed, until something rests."""
        life = self._alive()
        if life is None:
            return False
        if self.referee.open_orders or life.status.regime == "FLAT" or self._little():
            return True
        if self.referee.counts["fill"] > self._fills:
            return True  # a taking order does not rest
        if not life.status.armed:
            self.world.say(Order(word="exit", by="chaos"))
        return False

    def _little(self) -> bool:
        """Whether what is held is so near the smallest order that one lot decides whether there can be one."""
        sleeve, market = self.world.life.bot.sleeve, self.world.market
        if sleeve is None:
            return False
        rules, held = self.world.exchange.venue.rules, sleeve.holdings()
        price = market.first_price_ticks
        worth = max(held.base * price, held.quote)
        return worth < rules.min_notional_tick_lots + 2 * max(price, rules.min_qty_lots * price)

    def _sight(self) -> str:
        status = self.world.life.status
        sight = f"phase {status.phase}, regime {status.regime}, armed {status.armed or 'nothing'}, {status.detail}"
        return f"{sight}, in doubt {doubt}" if (doubt := self._doubt()) else sight

    async def stop(self) -> None:
        """SIGTERM, and what must follow."""
        life = self._alive()
        if life is None:
            return
        life.stop()
        if not await _until(life.ended.is_set, UNKNOWN_STOP_S + 2):
            self._breach("L5", "a stop does not end")
        elif life.code != 0:
            self._breach("L5", f"a stop ended with exit code {life.code}: {life.why}")
