"""What was said, told or begun in the moment in which a session ends, or before the next one knows where it stands."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tests.live.rig import World, lived, lively
from tests.live.test_survival import push
from tests.sim.served import Line, top, trade
from tetrio.core.market import Regime
from tetrio.core.state import State
from tetrio.errors import LinkLost
from tetrio.journal import Fact
from tetrio.operator import Order

BOTH = pytest.mark.parametrize("reference", ["trade", "book"])
HELD = ("exit.chase=join", "strategy.min_gain_base=0.5", "strategy.min_gain_quote=0.5")
"""Nothing is traded by the strategy itself."""


def seconds(begin: int, end: int, price: int = 3412, *, down: int = 0) -> list[Line]:
    """A book and a trade each second, lower by `down` each time."""
    lines = list[Line]()
    for at, second in enumerate(range(begin, end)):
        now = price - down * at
        lines += [top(second, f"{now}.36", "5", f"{now}.37", "5"), trade(second + 0.5, f"{now}.36", "0.0001")]
    return lines


def state_of(world: World) -> State:
    """The kernel's, as the process holds it."""
    memory = world.bot._kept.memory
    state = memory.state if memory.fold is None else memory.fold.state
    assert state is not None
    return state


def say(world: World, word: str) -> None:
    assert world.bot.commander.obey(Order(word=word, by="test")).done


async def waits(world: World, epoch: int = 0) -> None:
    """A session is synchronised, and the market has told it nothing yet."""
    status = world.bot.status
    await world.until(lambda: status.epoch > epoch and status.detail.startswith("waits for the first"), 60)


async def lost() -> None:
    raise LinkLost("account: cut in this moment")


def end_in_the_next_step(workers: trio.Nursery) -> None:
    """The epoch is over before anything can be handed on."""
    workers.start_soon(lost)
    workers.cancel_scope.cancel()


@BOTH
def test_a_pause_that_is_said_before_the_first_observation_holds_from_it_on(reference: str, tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.until_ready()
        await trio.sleep_until(40)
        world.arm("disconnect:all:1001")
        await waits(world, 1)
        say(world, "pause")
        await trio.sleep_until(148)
        assert state_of(world).paused

    lines = [trade(0.001, "3412.36", "0.0001"), *seconds(0, 30), *seconds(90, 150, down=1)]
    world = lived(tmp_path, scenario, f"strategy.reference={reference}", "exit.chase=join", lines=lines)
    assert not world.told("armed"), "the price has fallen by 60, beyond the hard stop"


@BOTH
@pytest.mark.parametrize(("heard", "last"), [("resume", "pause"), ("pause", "resume")])
def test_of_words_that_contradict_each_other_the_last_one_holds(
    heard: str, last: str, reference: str, tmp_path: Path
) -> None:
    """The first is heard in the last step of a session, the last while there is none."""

    async def scenario(world: World) -> None:
        workers = list[trio.Nursery | None]()

        def listen(fact: Fact) -> None:
            if fact.kind == "ready":
                workers.append(trio.lowlevel.current_task().parent_nursery)

        world.bot.journal.listeners.append(listen)
        await world.until_ready()
        say(world, last)
        await trio.sleep(5)
        say(world, heard)
        assert workers[-1] is not None
        end_in_the_next_step(workers[-1])
        await trio.sleep(0.1)
        say(world, last)
        await trio.sleep(30)
        assert world.bot.status.phase == "ready"
        assert state_of(world).paused == world.bot.status.paused == (last == "pause")

    lived(tmp_path, scenario, f"strategy.reference={reference}", *HELD, lines=seconds(0, 120))


@BOTH
@pytest.mark.parametrize("sessions", [1, 2])
def test_a_stop_that_was_reached_without_a_link_closes_the_gate_whatever_ends_before_it_is_known_where_we_stand(
    sessions: int, reference: str, tmp_path: Path
) -> None:
    async def scenario(world: World) -> None:
        await world.until_ready()
        await trio.sleep_until(35)
        world.arm("kill:all:15s", "refuse:stream:503:60s@15s")
        await trio.sleep_until(51)
        await waits(world, 1)
        if sessions == 2:
            epoch = world.bot.status.epoch
            world.arm("disconnect:ws_api:1001")
            await waits(world, epoch)
        await trio.sleep_until(170)
        assert state_of(world).gate_closed

    lines = [trade(0.001, "3412.36", "0.0001"), *seconds(0, 30)]
    lines += [top(39.9, "3409.36", "5", "3409.37", "5"), trade(40, "3409.36", "0.0001"), trade(40.5, "3409.36", "5")]
    lines += [top(40.6, "3409.36", "5", "3409.37", "5"), *seconds(120, 180, 3409)]
    lived(tmp_path, scenario, f"strategy.reference={reference}", "exit.protect=stop", "exit.chase=join", lines=lines)


@BOTH
@pytest.mark.parametrize("link", ["up", "down"])
def test_a_trailing_stop_that_the_exchange_fires_closes_the_gate_also_without_a_link(
    link: str, reference: str, tmp_path: Path
) -> None:
    """It has followed the price up: the kernel itself would stop far below."""

    async def scenario(world: World) -> None:
        await world.until_ready()
        await trio.sleep_until(35)
        if link == "down":
            world.arm("kill:all:15s")
        await trio.sleep_until(110)

    lines = [*seconds(0, 10), *seconds(10, 40, 3416), *seconds(40, 120)]
    world = lived(
        tmp_path, scenario, f"strategy.reference={reference}", "exit.protect=trailing", "strategy.hard_stop=0.001",
        *HELD, lines=lines,
    )  # fmt: skip
    assert [fact["state"] for fact in world.told("gate")][:1] == ["closed"]
    assert [fact["regime"] for fact in world.told("regime")][1:] == [Regime.QUOTE.value]


@BOTH
@pytest.mark.parametrize("cut", [False, True])
def test_an_exit_that_has_changed_the_regime_by_its_first_fill_is_finished_also_by_the_next_session(
    cut: bool, reference: str, tmp_path: Path
) -> None:
    async def scenario(world: World) -> None:
        await world.until_ready()
        say(world, "exit")  # sells all
        await trio.sleep_until(30)
        say(world, "exit")  # buys a third
        await trio.sleep_until(45)
        if cut:
            world.arm("disconnect:ws_api:1001")
        await trio.sleep_until(110)
        assert float(world.bot.status.balances["FDUSD"]) < 100

    lines = [top(second, "3412.36", "1.0000", "3412.37", "0.1000") for second in range(120)]
    lines += [trade(second + 0.5, "3412.37", "0.0001") for second in range(120)]
    lines += [trade(10.2, "3412.40", "5", buyer_is_maker=False)]
    lines += [trade(40.2, "3412.30", "0.3"), trade(80.2, "3412.30", "5")]
    lived(tmp_path, scenario, f"strategy.reference={reference}", *HELD, lines=lines)


@BOTH
def test_balances_of_a_copy_that_was_late_at_the_sync_are_corrected(reference: str, tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.until_ready()
        await trio.sleep(10)
        world.arm("kill:all:5s")
        await trio.sleep(1)
        world.arm("replica-lag:8s:30s", "withdraw:ETH:1", "deposit:FDUSD:5000")
        await trio.sleep(100)
        assert world.bot.sleeve is not None
        assert state_of(world).holdings == world.bot.sleeve.holdings()

    lived(tmp_path, scenario, f"strategy.reference={reference}", *HELD, lines=seconds(0, 150))


def test_the_guards_learn_the_last_day_wherever_the_first_sync_is_cut(tmp_path: Path) -> None:
    for after in range(500, 4500, 250):

        async def scenario(world: World, after: int = after) -> None:
            world.arm(f"cut:ws_api:out:{after}")
            await world.until_ready()

        world = lived(tmp_path, scenario, "risk.max_daily_loss=0.05", lines=lively(0.05))
        assert len(world.told("rebuilt", what="loss guards")) == 1, f"cut after {after} bytes"


@pytest.mark.fault("F112")
def test_a_change_of_balance_that_is_no_number_ends_the_session_only(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.until_ready()
        event = b'{"e":"balanceUpdate","E":1984626200000,"a":"ETH","d":"x","T":1984626200000}'
        push(world, b'{"subscriptionId":0,"event":%b}' % event)
        await world.until_ready(1, 30)

    world = lived(tmp_path, scenario, "strategy.reference=trade", lines=lively(0.05))
    (why,) = world.epochs_ended()
    assert why.startswith("account: a balanceUpdate that cannot be read")


@pytest.mark.parametrize("after_s", [0.5, 2, 4, 6])
def test_a_stop_does_not_wait_for_a_sign_of_life(tmp_path: Path, after_s: float) -> None:
    """The answer to a cancel is lost, and then the pong: that the order has ended was told by its report."""
    told_s: list[float] = []

    def watch(fact: Fact) -> None:
        if fact.kind == "stop":
            told_s.append(trio.current_time())

    async def scenario(world: World) -> None:
        world.bot.journal.listeners.append(watch)
        await world.until_ready()
        say(world, "exit")
        await world.until(lambda: world.told("order", state="open"), 10)
        world.arm("lose-reply:order.cancel", "no-pong:ws_api")
        say(world, "disarm")
        await trio.sleep(after_s)
        world.bot.stop.set()
        told_s.append(trio.current_time())

    world = lived(tmp_path, scenario, *HELD, lines=seconds(0, 60))
    assert world.clean
    asked_s, *said_s = told_s
    assert said_s[-1] - asked_s < 5
