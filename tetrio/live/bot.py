"""One bot: epochs one after the other, watched over; a change of the key; and the goodbye at the end.

    bot      signals, watchdog
    └ epoch  links and workers (`live.epoch`); the next one mends what ended it

What outlives an epoch is in `live.kept`.
"""

from __future__ import annotations

import random

import attrs
import trio

from tetrio.errors import KeyRefused, LinkBarred, LinkLost, OrderRejected, UnsafeError
from tetrio.health import Bounds, Wedge, wedges
from tetrio.journal import Journal
from tetrio.live.epoch import Epoch, look_at_rights
from tetrio.live.goodbye import Goodbye
from tetrio.live.kept import Kept
from tetrio.live.link import open_link
from tetrio.live.rest import open_rest
from tetrio.live.setup import Setup
from tetrio.live.sleeve import Sleeve
from tetrio.live.watchdog import Watch, watchdog
from tetrio.net.clock import Clock, machine_s
from tetrio.status import Status
from tetrio.wire.request import retry_after_ms
from tetrio.wire.sign import Signer

__all__ = ["Bot", "Setup"]

LOUD = ("tls", "ban", "barred", "misbehaved")  # failures that a person should look at


class Bot:
    """A running bot. `run` returns when `stop` is set and the goodbye has been said."""

    def __init__(self, setup: Setup, *, clock: Clock, journal: Journal, status: Status, rng: random.Random) -> None:
        self.journal, self.status = journal, status
        self.ready = trio.Event()
        self._rng = rng
        self._kept = Kept(setup, clock=clock, journal=journal, status=status)
        self.clock: Clock = self._kept.clock
        self.stop, self.commander = self._kept.stop, self._kept.commander
        self._goodbye = Goodbye(self._kept)
        self._epoch: Epoch | None = None
        self._proof: float | None = None

    @property
    def setup(self) -> Setup:
        """What the bot was told, with the key that it logs on by now."""
        return self._kept.setup

    @property
    def sleeve(self) -> Sleeve | None:
        """What is held and what rests; None before the exchange has been reached."""
        return self._kept.sleeve

    def exchange_ms(self) -> int:
        """The exchange's clock, as measured."""
        return self._kept.exchange_ms()

    def release(self) -> None:
        """Let go of what the system takes from a process that has died: the lock of this account and symbol."""
        self._kept.latch.close()

    async def run(self) -> bool:
        """Trade until `stop`; whether nothing of ours is left behind against `on_stop`."""
        try:
            return await self._run()
        finally:
            self._kept.latch.close()

    async def _run(self) -> bool:
        try:
            await self._watch_over_epochs()
        except Exception:
            # no epoch mends this: what rests must not be left to itself, unless it is another process's to mind
            if self._kept.sleeve is not None and not self._kept.sleeve.doubled:
                await self._goodbye.say_afresh()
            raise
        if not self._goodbye.said:
            await self._goodbye.say_afresh()
        return self._goodbye.said

    async def renew(self, api_key: str, signer: Signer) -> None:
        """Go on with another key of the same account: tried on a link of its own first, then a new epoch logs on by it.

        UnsafeError, LinkError and the like when the key is no good: then nothing has changed.
        """
        kept = self._kept
        if kept.sleeve is None:
            raise LinkLost("the exchange has not been reached yet, so nothing can be tried: say it again when it has")
        async with open_link(self.setup.ws_api, kept.exchange_ms, name="renewal", access=kept.access) as link:
            account = kept.account_over(link)
            await account.log_on(signer, api_key)
            number = await account.number()
        if kept.account_number and number != kept.account_number:
            raise UnsafeError("the new key is another account's: start tetrio anew to change the account")
        async with open_rest(self.setup.rest, self.clock.now_ns, kept.access) as rest:
            await rest.clock_offset_ms(1)
            await look_at_rights(kept, rest, api_key, signer)
        kept.setup = attrs.evolve(self.setup, api_key=api_key, signer=signer)
        kept.renewed.set()

    def check_vitals(self) -> None:
        """Note since when the user stream owes us what an own order did to the balances; asked once a second.

        That the executor has asked for them meanwhile goes on with trading; it does not make the stream alive.
        """
        sleeve, vitals = self._kept.sleeve, self.status.vitals
        if sleeve is None or sleeve.proven:
            self._proof = None
        elif self._proof is None:
            self._proof = trio.current_time()
        vitals.unproven_since = self._proof

    # -- epochs ---------------------------------------------------------------------------------------------------
    async def _watch_over_epochs(self) -> None:
        watch = Watch(self._wedges, self.setup.abandon)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._stop_waiting_for_the_exchange, nursery.cancel_scope)
            await watchdog(
                lambda: watch.over(self._next_epoch),
                ever_ready=self.ready.is_set,
                stopping=self.stop.is_set,
                tell=self._tell_epoch,
                asked_s=self._asked_s,
                pause=self._pause,
                patience=self.setup.patience,
                rng=self._rng,
            )
            nursery.cancel_scope.cancel()

    async def _next_epoch(self) -> None:
        self._epoch = Epoch(self._kept, self._goodbye, self.ready.set)
        await self._epoch.run()

    async def _stop_waiting_for_the_exchange(self, scope: trio.CancelScope) -> None:
        """A stop while there is no link has nothing to wait for; with one, the epoch itself ends in order."""
        await self.stop.wait()
        self._goodbye.until()
        if self._epoch is None or not self._epoch.linked:
            scope.cancel()

    def _asked_s(self, error: BaseException) -> float | None:
        """For how long the exchange wants to be left alone, where it has said so."""
        if isinstance(error, OrderRejected) and (until_ms := retry_after_ms(error)) is not None:
            return max(0.0, (until_ms - self.exchange_ms()) / 1000)
        if isinstance(error, LinkLost | KeyRefused) and error.retry_after_s is not None:
            return max(error.retry_after_s, self._kept.access.left_s())
        return self._kept.access.left_s()

    async def _pause(self, delay_s: float) -> None:
        """A key that was renewed is tried at once."""
        with trio.move_on_after(delay_s):
            await self._kept.renewed.wait()

    def _wedges(self) -> tuple[Wedge, ...]:
        self.check_vitals()
        return wedges(self.status, trio.current_time(), Bounds().times(machine_s(1)))

    def _tell_epoch(self, error: BaseException, delay_s: float) -> None:
        why = str(error)
        if isinstance(error, KeyRefused | LinkBarred) or getattr(error, "kind", "") in LOUD:
            self.journal.write("warning", what="exchange", why=f"{why}; next try in {delay_s:.0f} s")
        self.status.phase, self.status.detail = "connecting", f"{why}; next try in {delay_s:.1f} s"
        self.status.links["account"] = "lost"
        self.journal.write("epoch", number=self.status.epoch, state="ended", why=why, next_s=round(delay_s, 3))
