"""The watchdog: what it repeats, how long it waits, when it gives up."""

from __future__ import annotations

import random

import pytest
import trio
import trio.testing

from tetrio.errors import LinkLost, LinkStale, Timeout, UnsafeError
from tetrio.live.watchdog import Patience, watchdog


def test_delays_grow_are_capped_and_never_shorter_than_asked() -> None:
    patience = Patience(first_s=0.5, most_s=30)
    longest = [patience.delay(failures, 1.0) for failures in range(1, 10)]
    assert longest == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert patience.delay(1, 0.0) == 0.25
    assert patience.delay(1, 1.0, asked_s=17) == 17


class Epochs:
    """A scripted life: each entry is what the epoch raises, or None to return."""

    def __init__(self, *script: Exception | None, ready_from: int = 0) -> None:
        self.script = list(script)
        self.began: list[float] = []
        self.told: list[tuple[str, float]] = []
        self.ready_from = ready_from

    async def epoch(self) -> None:
        self.began.append(trio.current_time())
        await trio.sleep(0.1)
        error = self.script.pop(0)
        if error is not None:
            async with trio.open_nursery():  # errors of a real epoch come in groups
                raise error

    async def run(self, *, deadline_s: float = 30) -> None:
        await watchdog(
            self.epoch,
            ever_ready=lambda: len(self.began) > self.ready_from,
            stopping=lambda: False,
            tell=lambda why, delay: self.told.append((why, delay)),
            patience=Patience(connect_deadline_s=deadline_s),
            rng=random.Random(1),
        )


async def test_a_lost_link_begins_a_new_epoch(autojump_clock: trio.testing.MockClock) -> None:
    life = Epochs(LinkLost("gone"), LinkStale("silent"), None)
    await life.run()
    assert [why for why, _ in life.told] == ["gone", "silent"]
    assert len(life.began) == 3
    assert all(delay >= 0.25 for _, delay in life.told)


async def test_what_no_new_epoch_can_mend_goes_up(autojump_clock: trio.testing.MockClock) -> None:
    life = Epochs(UnsafeError("the key is refused"))
    with pytest.RaisesGroup(UnsafeError):
        await life.run()
    assert len(life.began) == 1


async def test_gives_up_when_the_exchange_is_never_reached(autojump_clock: trio.testing.MockClock) -> None:
    life = Epochs(*[LinkLost("refused")] * 100, ready_from=1000)
    with pytest.raises(Timeout, match="within 5 s; last: refused"):
        await life.run(deadline_s=5)
    assert trio.current_time() <= 5.1
    assert len(life.began) > 3


@pytest.mark.fault("F17", "F37")
async def test_an_exchange_asking_for_time_is_given_it(autojump_clock: trio.testing.MockClock) -> None:
    life = Epochs(LinkLost("too many requests", retry_after_s=60), None)
    await life.run()
    assert life.began[1] - life.began[0] >= 60
