"""The watchdog: repeats epochs. What ends one is mended by the next, which learns everything anew from the exchange.

Only what a new connection can mend is caught here; a refused key at a start, a wrong configuration or a defect of ours
goes up. The delay between two epochs grows with the failures in a row, is capped, and is jittered so that many bots
that lost the same exchange do not come back in the same instant. The cap is such that after a fault has healed half a
minute is enough for the attempt under way to fail, the delay to pass and the next epoch to come up.

An epoch that does not end by itself and does not work either (`wedged` says so, for a while) is cancelled and repeated.
Where that does not help it is no use to go on (GaveUp); an exchange that is away is waited for, for ever. An epoch
that does not even end when it is cancelled is abandoned, with the process: nothing within it can be relied on.
"""

from __future__ import annotations

import faulthandler
import os
import random
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import attrs
import trio

from tetrio.errors import (
    GaveUp,
    KeyRefused,
    LinkBarred,
    LinkError,
    LinkSlow,
    LinkStale,
    OrderRejected,
    OrderUnknown,
    Timeout,
    UnsafeError,
    WireError,
    leaves,
)
from tetrio.health import Wedge
from tetrio.net.clock import machine_s

MENDED = (LinkError, WireError, OrderRejected, OrderUnknown)
LOOK_S = 5.0
WEDGED_S = 5.0  # so long in a row, on top of what the signs of life are allowed
END_S = 10.0  # for a cancelled epoch to end: its last mutation has 3 s
MOST_WEDGES = 5
WEDGES_S = 600.0


@attrs.frozen(kw_only=True)
class Patience:
    """How long to try, and how to wait between tries."""

    first_s: float = 0.5
    most_s: float = 18.0
    healthy_s: float = 10.0
    """An epoch that was ready and lived so long wipes out earlier failures."""
    connect_deadline_s: float = 30.0
    """Without one epoch that became ready: give up after this."""

    def delay(self, failures: int, jitter: float, asked_s: float | None = None) -> float:
        """Seconds before the next try.

        failures  in a row, from 1
        jitter    0 to 1, drawn by the caller
        asked_s   what the exchange asked for (Retry-After); never less than this
        """
        backed_off: float = min(self.first_s * 2 ** min(failures - 1, 10), self.most_s)
        return max(backed_off * (0.85 + 0.15 * jitter), asked_s or 0.0)


def abandon(why: str) -> None:
    """End the process on the spot, after the stacks of its tasks and threads: exit 7."""
    print(f"tetrio: {why}; the tasks were here:", file=sys.stderr)
    print("\n".join(task_stacks()), file=sys.stderr)
    faulthandler.dump_traceback(file=sys.stderr)
    sys.stderr.flush()
    os._exit(GaveUp.exit_code)


def task_stacks() -> list[str]:
    """Where each task of the running loop waits: its name, and its frames, the outermost first."""
    root = trio.lowlevel.current_root_task()
    assert root is not None, "a loop is running"
    lines, tasks = [], [root]
    while tasks:
        task = tasks.pop()
        lines.append(f"task {task.name}")
        lines += [
            f"  {frame.f_code.co_filename}:{number} {frame.f_code.co_name}"
            for frame, number in task.iter_await_frames()
        ]
        tasks += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return lines


class Watch:
    """Looks after one epoch after the other.

    wedged    what does not work now, though it should
    abandon   ends the process
    """

    def __init__(self, wedged: Callable[[], Sequence[Wedge]], abandon: Callable[[str], None] = abandon) -> None:
        self._wedged, self._abandon = wedged, abandon
        self._times: deque[float] = deque(maxlen=MOST_WEDGES + 1)
        self._why = ""

    async def over(self, epoch: Callable[[], Awaitable[None]]) -> None:
        """Run it; LinkStale when it had to be cancelled, GaveUp when that, or a reader of ours that fell behind, has
        ended one too often.
        """
        self._why = ""
        try:
            async with trio.open_nursery() as nursery:
                with trio.CancelScope() as life:
                    nursery.start_soon(self._look, life)
                    await epoch()
                nursery.cancel_scope.cancel()
        except* LinkSlow as group:
            self._why = str(first_of(group))
            self._count()
            raise
        if self._why:
            raise LinkStale(f"restarted: {self._why}")

    async def _look(self, life: trio.CancelScope) -> None:
        since: float | None = None
        while True:
            await trio.sleep(machine_s(LOOK_S))
            found = self._wedged()
            if not found:
                since = None
                continue
            now = trio.current_time()
            since = now if since is None else since
            if now - since >= machine_s(WEDGED_S):
                break
        self._why = "; ".join(wedge.phrase for wedge in found)
        if any(wedge.ours for wedge in found):
            self._count()
        life.cancel()
        await trio.sleep(machine_s(END_S))
        self._abandon(f"an epoch did not end within {END_S:g} s of being cancelled ({self._why})")

    def _count(self) -> None:
        self._times.append(trio.current_time())
        if len(self._times) > MOST_WEDGES and self._times[-1] - self._times[0] <= machine_s(WEDGES_S):
            raise GaveUp(
                f"restarted {MOST_WEDGES} times in {WEDGES_S / 60:.0f} minutes, and it does not help: {self._why}"
            )


async def watchdog(
    epoch: Callable[[], Awaitable[None]],
    *,
    ever_ready: Callable[[], bool],
    stopping: Callable[[], bool],
    tell: Callable[[BaseException, float], None],
    patience: Patience,
    rng: random.Random,
    asked_s: Callable[[BaseException], float | None] = lambda error: getattr(error, "retry_after_s", None),
    pause: Callable[[float], Awaitable[None]] = trio.sleep,
) -> None:
    """Run `epoch` until it returns by itself, or `stopping`; run it again whenever a link fails.

    tell        (why it ended, seconds until the next)
    asked_s     seconds for which an error says that the exchange wants to be left alone
    pause       waits so many seconds, or until there is a reason not to
    Timeout when none has become ready within the deadline; UnsafeError when the exchange will not have us before any.
    """
    began, failures = trio.current_time(), 0
    while True:
        started, ended, asked = trio.current_time(), None, 0.0
        try:
            await epoch()
            return
        except* (*MENDED, KeyRefused) as group:
            if not ever_ready() and (refused := group.subgroup(KeyRefused)) is not None:
                raise refused from None
            ended = first_of(group)
            asked = max(asked_s(error) or 0.0 for error in leaves(group))
        if stopping():
            return
        assert ended is not None, "an epoch ends by returning or by an error"
        if isinstance(ended, LinkBarred) and not ever_ready():
            raise UnsafeError(str(ended))
        now = trio.current_time()
        failures = 1 if ever_ready() and now - started >= patience.healthy_s else failures + 1
        delay = patience.delay(failures, rng.random(), asked)
        left = began + patience.connect_deadline_s - now
        if not ever_ready():
            if left <= 0:
                raise Timeout(
                    f"no connection to the exchange within {patience.connect_deadline_s:g} s; last: {ended}; "
                    "is it running, and are the URLs under [venue] right?"
                )
            delay = min(delay, left)
        tell(ended, delay)
        await pause(delay)


def first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error in a group of groups: what came first is what the others followed from."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
