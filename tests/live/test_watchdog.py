"""The watchdog: what it repeats, how long it waits, when it gives up."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
import trio
import trio.testing

from tetrio.errors import GaveUp, KeyRefused, LinkBarred, LinkLost, LinkStale, Timeout, UnsafeError
from tetrio.health import Wedge
from tetrio.live.watchdog import Patience, Watch, task_stacks, watchdog


def test_delays_grow_are_capped_and_never_shorter_than_asked() -> None:
    patience = Patience()
    longest = [patience.delay(failures, 1.0) for failures in range(1, 10)]
    assert longest == [0.5, 1, 2, 4, 8, 16, 18, 18, 18]
    assert patience.delay(1, 0.0) == 0.425
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
            tell=lambda why, delay: self.told.append((str(why), delay)),
            patience=Patience(connect_deadline_s=deadline_s),
            rng=random.Random(1),
        )


async def test_a_lost_link_begins_a_new_epoch(autojump_clock: trio.testing.MockClock) -> None:
    life = Epochs(LinkLost("gone"), LinkStale("silent"), None)
    await life.run()
    assert [why for why, _ in life.told] == ["gone", "silent"]
    assert len(life.began) == 3
    assert all(delay >= 0.4 for _, delay in life.told)


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


@pytest.mark.fault("F31")
async def test_a_refused_key_ends_a_start_and_is_tried_again_later_on(autojump_clock: trio.testing.MockClock) -> None:
    refused = KeyRefused("-2015", retry_after_s=300)
    with pytest.RaisesGroup(pytest.RaisesExc(KeyRefused), allow_unwrapped=True, flatten_subgroups=True):
        await Epochs(refused, ready_from=1).run()
    life = Epochs(refused, refused, None)
    await life.run()
    assert all(after - before >= 300 for before, after in pairwise(life.began))
    assert life.told[0] == ("-2015", 300)


@pytest.mark.fault("F19")
async def test_an_address_that_is_kept_out_is_unsafe_at_a_start_and_waits_later_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    barred = LinkBarred("HTTP 451", retry_after_s=900)
    with pytest.raises(UnsafeError, match="451"):
        await Epochs(barred, ready_from=1).run()
    life = Epochs(barred, barred, barred, barred, None)
    await life.run()
    assert all(after - before >= 900 for before, after in pairwise(life.began)), "at most 4 an hour"


@pytest.mark.fault("F7", "F8")
async def test_an_outage_is_waited_for_as_long_as_it_takes(autojump_clock: trio.testing.MockClock) -> None:
    life = Epochs(*[LinkLost("refused")] * 5000, None)
    await life.run()
    gaps = [after - before for before, after in pairwise(life.began)]
    assert max(gaps) <= 18.2
    assert min(gaps[8:]) >= 15.3


# -- what lives and does not work --------------------------------------------------------------------------------------


class Stuck:
    """An epoch that does nothing; `shielded`: not even end, until the process is given up."""

    def __init__(self, *, shielded: bool = False, ours: bool = True) -> None:
        self.shield, self.ours = trio.CancelScope(shield=shielded), ours
        self.stuck_from = 0.0
        self.began: list[float] = []
        self.abandoned: list[tuple[str, float]] = []
        self.watch = Watch(self.wedged, self.abandon)

    def wedged(self) -> tuple[Wedge, ...]:
        return (Wedge("nothing moves", self.ours),) if trio.current_time() >= self.stuck_from else ()

    def abandon(self, why: str) -> None:
        self.abandoned.append((why, trio.current_time()))
        self.shield.cancel()  # a process would be gone

    async def epoch(self) -> None:
        self.began.append(trio.current_time())
        with self.shield if self.shield.shield else trio.CancelScope():
            await trio.sleep_forever()

    async def run(self) -> None:
        await watchdog(
            lambda: self.watch.over(self.epoch), ever_ready=lambda: True, stopping=lambda: False,
            tell=lambda why, delay: None, patience=Patience(), rng=random.Random(1),
        )  # fmt: skip


@pytest.mark.fault("F110", "F24")
async def test_an_epoch_that_does_not_work_is_repeated_until_that_is_no_use(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stuck = Stuck()
    with pytest.RaisesGroup(GaveUp, flatten_subgroups=True) as caught:
        await stuck.run()
    assert "restarted 5 times in 10 minutes, and it does not help: nothing moves" in str(caught.value.exceptions[0])
    assert GaveUp.exit_code == 7
    assert len(stuck.began) == 6
    assert stuck.began[1] - stuck.began[0] <= 20, "with what the signs of life are allowed, within a minute"


@pytest.mark.fault("F110")
async def test_what_waits_for_the_exchange_is_repeated_for_ever(autojump_clock: trio.testing.MockClock) -> None:
    stuck = Stuck(ours=False)
    with trio.move_on_after(3600):
        await stuck.run()
    assert len(stuck.began) > 100


async def test_a_moment_that_looks_bad_ends_nothing(autojump_clock: trio.testing.MockClock) -> None:
    stuck = Stuck()
    stuck.stuck_from = float("inf")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stuck.run)
        await trio.sleep(100)
        stuck.stuck_from = 0
        await trio.sleep(4)
        stuck.stuck_from = float("inf")
        await trio.sleep(100)
        nursery.cancel_scope.cancel()
    assert len(stuck.began) == 1


@pytest.mark.fault("F24")
async def test_an_epoch_that_does_not_even_end_is_abandoned(autojump_clock: trio.testing.MockClock) -> None:
    stuck = Stuck(shielded=True)
    with pytest.raises(LinkStale, match="restarted: nothing moves"):
        await stuck.watch.over(stuck.epoch)
    ((why, at),) = stuck.abandoned
    assert why == "an epoch did not end within 10 s of being cancelled (nothing moves)"
    assert at <= 25


async def test_the_stacks_of_an_abandoned_process_name_its_tasks_and_where_they_wait() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever, name="the one that hangs")
        await trio.testing.wait_all_tasks_blocked()
        stacks = "\n".join(task_stacks())
        nursery.cancel_scope.cancel()
    assert "task the one that hangs" in stacks
    assert "sleep_forever" in stacks
