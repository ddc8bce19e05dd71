"""The goodbye: what is unknown is resolved, what rests is cancelled or left, and the exchange confirms it.

It is said over the living link where there is one, and over a fresh one where the link is what died, or where a stop
came between two epochs. It is bounded, reckoned from the stop, however many tries it takes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from tetrio.core.orders import OrderState, OwnOrder
from tetrio.errors import LinkError, LinkLost, OrderRejected, OrderUnknown, UnsafeError, WireError
from tetrio.live.kept import Kept
from tetrio.live.link import open_link
from tetrio.live.resolving import PARTING_S, resolve
from tetrio.live.session import Session
from tetrio.live.sleeve import Sleeve
from tetrio.live.watchdog import first_of
from tetrio.net.clock import machine_s
from tetrio.wire.codes import is_unknown_order
from tetrio.wire.request import CanceledOrder, MyTrade, OrderStatus, result_of

GOODBYE_S = 4.5  # of the 5 s that a stop may take
UNKNOWN_S = 14.5  # of 15 s, while an unknown outcome is being resolved
REPLY_S = 1.5  # a reply later than this is given up, to leave time for another link
AGAIN_S = 0.2, 0.4, 0.8  # between two tries, the last for all later ones
UNMENDED = (LinkError, WireError, OrderRejected, OrderUnknown, UnsafeError)


class Goodbye:
    """One process's goodbye; `said` once nothing of ours is left behind against `on_stop`."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept
        self._journal = kept.journal
        self.said = False
        self._stopped_at: float | None = None
        self._was_unknown = False

    def until(self) -> float:
        """When a stop must be over, on trio's clock: reckoned from the first time that this is asked."""
        if self._stopped_at is None:
            self._stopped_at = trio.current_time()
        if self._kept.sleeve is not None:
            unfinished = self._kept.sleeve.unfinished()
            self._was_unknown |= any(o.state in (OrderState.UNKNOWN, OrderState.SENT) for o in unfinished)
        return self._stopped_at + machine_s(UNKNOWN_S if self._was_unknown else GOODBYE_S)

    async def say(self, session: Session) -> None:
        """Over a session that is logged on; bounded, also against a cancellation. What goes wrong is told."""
        sleeve = self._kept.sleeve
        if sleeve is None or not session.alive:
            return
        with trio.CancelScope(deadline=self.until(), shield=True) as scope:
            try:
                await self._part(session, sleeve)
            except UNMENDED as error:
                self._journal.write("stop", state="goodbye failed", why=str(error))
        if scope.cancelled_caught:
            self._journal.write("stop", state="goodbye timed out")

    async def say_afresh(self) -> None:
        """Over fresh links, while there is time.

        What was under way when the link died may be known to have ended by now, or may rest: the exchange is asked.
        """
        sleeve = self._kept.sleeve
        if sleeve is None or not sleeve.unfinished():
            self.said = True  # never traded, or the exchange has told the end of every order
            self._journal.write("stop", state="nothing rests", on_stop=self._kept.setup.exit.on_stop)
            return
        self._kept.access.hurried = True
        pauses = iter(AGAIN_S)
        while not self.said and trio.current_time() < self.until():
            with trio.CancelScope(deadline=self.until()):
                pause_s = next(pauses, AGAIN_S[-1])
                try:
                    async with self._fresh_session() as session:
                        await self.say(session)
                except* UNMENDED as group:
                    error = first_of(group)
                    self._journal.write("stop", state="goodbye failed", why=str(error))
                    if isinstance(error, LinkLost):  # a ban does not end sooner for being met again
                        pause_s = max(pause_s, error.retry_after_s or 0.0)
                if not self.said:
                    await trio.sleep(pause_s)
        if not self.said:
            left = [order.client_order_id for order in sleeve.unfinished()]
            self._journal.write("stop", state="not confirmed", left=left)

    @asynccontextmanager
    async def _fresh_session(self) -> AsyncIterator[Session]:
        setup, kept = self._kept.setup, self._kept
        async with open_link(setup.ws_api, kept.exchange_ms, name="goodbye", access=kept.access) as link:
            await kept.account_over(link).log_on(setup.signer, setup.api_key)
            yield Session(link)

    async def _part(self, session: Session, sleeve: Sleeve) -> None:
        setup = self._kept.setup
        for order in sleeve.unfinished():
            if order.state in (OrderState.UNKNOWN, OrderState.SENT):
                sleeve.lose(order)
                await self._resolve(session, sleeve, order)
        if setup.exit.on_stop == "cancel" or self._kept.commander.halted:  # a halt has promised it
            for order in sleeve.unfinished():
                await self._take_away(session, sleeve, order)
        reply = await session.request("openOrders.status", {"symbol": setup.symbol}, within_s=REPLY_S)
        resting = result_of(reply, list[OrderStatus])
        left = [own.client_order_id for own in sleeve.take_open_orders(resting) if not own.state.final]
        self.said = not left or setup.exit.on_stop == "leave"
        self._journal.write("stop", state="confirmed", left=left, on_stop=setup.exit.on_stop)
        if sleeve.trades_known:
            await self._learn_last_fills(session, sleeve)

    async def _learn_last_fills(self, session: Session, sleeve: Sleeve) -> None:
        """What was filled in the last instant is told, too; it changes nothing of the goodbye where it cannot be."""
        params = {"symbol": self._kept.setup.symbol, "fromId": sleeve.last_trade_id + 1}
        try:
            reply = await session.request("myTrades", params, within_s=REPLY_S)
            sleeve.take_trades(result_of(reply, list[MyTrade]))
        except UNMENDED as error:
            self._journal.write("stop", state="the last fills are not known", why=str(error))

    async def _resolve(self, session: Session, sleeve: Sleeve, order: OwnOrder) -> None:
        now_ns = self._kept.clock.now_ns
        await resolve(session, sleeve, order, now_ns, within_s=REPLY_S, absent_after_s=PARTING_S)

    async def _take_away(self, session: Session, sleeve: Sleeve, order: OwnOrder) -> None:
        params = {"symbol": self._kept.setup.symbol, "origClientOrderId": order.client_order_id}
        try:
            reply = await session.request("order.cancel", params, within_s=REPLY_S)
            sleeve.take_cancel(order, result_of(reply, CanceledOrder))
        except OrderRejected as error:
            if not is_unknown_order(error):
                raise
            sleeve.lose(order)  # filled or gone meanwhile
            await self._resolve(session, sleeve, order)
        except (LinkError, OrderUnknown):
            sleeve.lose(order)  # cancelled or not: the next try asks
            raise
