"""The watchdog: repeats epochs. What ends one is mended by the next, which learns everything anew from the exchange.

Only what a new connection can mend is caught here; a refused key, a wrong configuration or a defect of ours goes up.
The delay between two epochs grows with the failures in a row, is capped, and is jittered so that many bots that lost
the same exchange do not come back in the same instant.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import attrs
import trio

from tetrio.errors import LinkError, OrderRejected, OrderUnknown, Timeout, WireError

MENDED = (LinkError, WireError, OrderRejected, OrderUnknown)


@attrs.frozen(kw_only=True)
class Patience:
    """How long to try, and how to wait between tries."""

    first_s: float = 0.5
    most_s: float = 30.0
    healthy_s: float = 60.0
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
        return max(backed_off * (0.5 + jitter / 2), asked_s or 0.0)


async def watchdog(
    epoch: Callable[[], Awaitable[None]],
    *,
    ever_ready: Callable[[], bool],
    stopping: Callable[[], bool],
    tell: Callable[[str, float], None],
    patience: Patience,
    rng: random.Random,
    asked_s: Callable[[BaseException], float | None] = lambda error: getattr(error, "retry_after_s", None),
) -> None:
    """Run `epoch` until it returns by itself, or `stopping`; run it again whenever a link fails.

    tell        (why it ended, seconds until the next)
    asked_s     seconds for which an error says that the exchange wants to be left alone
    Timeout when none has become ready within the deadline.
    """
    began, failures = trio.current_time(), 0
    while True:
        started, ended = trio.current_time(), None
        try:
            await epoch()
            return
        except* MENDED as group:
            ended = first_of(group)
        if stopping():
            return
        assert ended is not None, "an epoch ends by returning or by an error"
        now = trio.current_time()
        failures = 1 if ever_ready() and now - started >= patience.healthy_s else failures + 1
        delay = patience.delay(failures, rng.random(), asked_s(ended))
        left = began + patience.connect_deadline_s - now
        if not ever_ready():
            if left <= 0:
                raise Timeout(
                    f"no connection to the exchange within {patience.connect_deadline_s:g} s; last: {ended}; "
                    "is it running, and are the URLs under [venue] right?"
                )
            delay = min(delay, left)
        tell(str(ended), delay)
        await trio.sleep(delay)


def first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error in a group of groups: what came first is what the others followed from."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
