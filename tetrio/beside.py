"""Everything beside trading: the pulse, systemd, the local socket, metrics, Telegram, each in a task of its own.

What goes wrong here is told and tried again; it never reaches the bot. The one thing that all of them share is the
judgement once a second of whether the bot is alive: whoever asks gets the same answer.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import trio

from tetrio.config import Config
from tetrio.errors import TetrioError
from tetrio.health import Bounds, judge
from tetrio.journal import Journal
from tetrio.live.bot import Bot
from tetrio.log import one_line, redact
from tetrio.net.clock import Clock, WallClock, machine_s
from tetrio.status import Status
from tetrio.systemd import Notifier, serve_systemd

if TYPE_CHECKING:
    from tetrio.telegram.messenger import Messenger

PULSE_S = 1.0
LAGS = 10  # pulses whose lateness counts
AGAIN_S = (5.0, 15.0, 60.0)  # until a face that failed is tried again: the first, second, and each further time


@attrs.frozen(kw_only=True)
class Surroundings:
    """What the process was started in; the command line reads it from the environment."""

    control: Path | None = None
    """Where the shell's socket belongs; None: nowhere."""
    control_named: bool = False
    """Somebody named the socket: without it there is no start. The usual one may be taken by another bot."""
    state: Path | None = None
    """Directory of the latch."""
    notifier: Notifier = attrs.field(factory=Notifier)
    watchdog_usec: int = 0
    reread: Callable[[], Config] | None = None
    """Read the configuration anew, for a reload."""


class Beside:
    """The tasks beside one bot."""

    def __init__(self, config: Config, around: Surroundings, bot: Bot, now: Clock | None = None) -> None:
        """`now` tells the date by which commands are old; None: the machine's clock does."""
        self._config, self._around, self._bot = config, around, bot
        self._now = now or WallClock()
        self._messenger: Messenger | None = None
        self._status: Status = bot.status
        self._journal: Journal = bot.journal

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled. UnsafeError, ConfigError before it has started: something that was asked for cannot be."""
        async with trio.open_nursery() as nursery:
            await self._open_control(nursery)
            await self._open_metrics(nursery)
            self._open_telegram(nursery)
            nursery.start_soon(self._mind, "pulse", self._pulse)
            nursery.start_soon(self._mind, "systemd", self._tell_systemd)
            task_status.started()

    async def part(self, within_s: float) -> None:
        """Let the last words go out, for `within_s` of the machine's seconds at most."""
        if self._messenger is not None:
            await self._messenger.part(within_s)

    # -- the pulse ------------------------------------------------------------------------------------------------
    async def _pulse(self) -> None:
        """Judge once a second whether the bot is alive; the lateness of waking is the loop's lag."""
        # the lag is the machine's own and is kept in its seconds, however fast trio's clock runs
        bounds, lags = attrs.evolve(Bounds().times(machine_s(1)), lag_s=Bounds().lag_s), deque[float](maxlen=LAGS)
        try:
            while True:
                due = trio.current_time() + machine_s(PULSE_S)
                await trio.sleep_until(due)
                lags.append((trio.current_time() - due) / machine_s(1))
                self._bot.check_vitals()
                self._status.vitals.lag_s = max(lags)
                self._status.ailing = judge(self._status, trio.current_time(), bounds)
                self._status.alive = not self._status.ailing
                self._journal.tend()
        finally:  # what nobody judges any more must not go on being called alive
            self._status.alive, self._status.ailing = False, ("nobody judges whether it is alive",)

    async def _tell_systemd(self) -> None:
        await serve_systemd(
            self._around.notifier, self._status, self._bot.stop.is_set, self._around.watchdog_usec,
            tell=lambda text: self._journal.write("face", name="systemd", state="lost", why=text),
        )  # fmt: skip

    # -- the faces ------------------------------------------------------------------------------------------------
    async def _open_control(self, nursery: trio.Nursery) -> None:
        path = self._around.control
        if path is None:
            return
        from tetrio.control.door import open_door  # noqa: PLC0415 - whoever turns it off does not pay for it
        from tetrio.control.server import serve_control  # noqa: PLC0415

        try:
            door = open_door(path)
        except TetrioError as error:
            if self._around.control_named:
                raise
            self._journal.write("face", name="control", state="off", why=str(error))
            return
        status, obeys, journal = self._status, self._bot.commander, self._journal
        await nursery.start(lambda *, task_status: self._mind(
            "control",
            lambda: serve_control(door, status=status, obeys=obeys, journal=journal, task_status=task_status),
            again=False,
        ))  # fmt: skip

    async def _open_metrics(self, nursery: trio.Nursery) -> None:
        if not self._config.metrics.listen:
            return
        from tetrio.metrics import serve_metrics  # noqa: PLC0415

        await nursery.start(serve_metrics, self._config.metrics, self._status, self._journal)

    def _open_telegram(self, nursery: trio.Nursery) -> None:
        if not self._config.telegram.token_file:
            return
        from tetrio.keys import read_token  # noqa: PLC0415
        from tetrio.telegram.messenger import Messenger  # noqa: PLC0415

        params = self._config.telegram
        self._messenger = messenger = Messenger(
            params, read_token(Path(params.token_file)),
            status=self._status, journal=self._journal, obeys=self._bot.commander, now_ns=self._now.now_ns,
        )  # fmt: skip
        for fact in tuple(self._journal.recent):  # the start was written before there was anybody to hear of it
            messenger.listen(fact)
        self._journal.listeners.append(messenger.listen)
        nursery.start_soon(self._mind, "telegram", messenger.run)

    async def _mind(self, name: str, run: Callable[[], Awaitable[None]], *, again: bool = True) -> None:
        """Run a face; one that fails is told, and tried again after a while."""
        failures = 0
        while True:
            began = trio.current_time()
            try:
                await run()
                return
            except Exception as error:
                failures = 1 if trio.current_time() - began > machine_s(600) else failures + 1
                wait_s = AGAIN_S[min(failures, len(AGAIN_S)) - 1] if again else math.inf
                why = one_line(redact(f"{type(error).__name__}: {error}"))
                self._journal.write("face", name=name, state="failed", why=why, next_s=wait_s if again else None)
            if not again:
                return
            await trio.sleep(machine_s(wait_s))
