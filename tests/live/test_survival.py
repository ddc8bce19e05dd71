"""A whole bot whose links hang, lie and die, by the exchange's own mishaps; and what it does once they heal."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
import trio

from tests.live.rig import KEY, World, lived, lively
from tetrio.health import Bounds, judge
from tetrio.live.feed import BAD_A_MINUTE
from tetrio.live.watchdog import Patience

RESYNC_S = 30.0


async def heals(world: World, fault: str, fault_s: float) -> None:
    """Let a fault be, for so long; the bot must be ready and its market line up within half a minute of its end."""
    await world.until_ready()
    world.arm(fault)
    if fault.startswith("refuse"):  # it is new connections that are
        world.arm("disconnect:all:1001")
    await trio.sleep(fault_s)
    links, status = world.bot.status.links, world.bot.status
    frames = status.frames
    took = await world.until(
        lambda: status.phase == "ready" and links["market"] == "up" and status.frames > frames, RESYNC_S
    )
    assert took <= RESYNC_S


@pytest.mark.fault("F1", "F2", "F7", "F8", "F15", "F16", "F20", "F21", "F22")
@pytest.mark.parametrize("fault_s", [7.0, 61.0, 601.0])
@pytest.mark.parametrize(
    "fault",
    [
        "stall:all:{}s", "stall:stream:{}s", "stall:ws_api:{}s", "half-open:all:{}s", "half-open:stream:{}s",
        "refuse:all:rst:{}s", "refuse:ws_api:fin:{}s", "refuse:stream:garbage:{}s", "refuse:all:503:{}s",
        "kill:all:{}s",
    ],
)  # fmt: skip
def test_after_a_fault_has_healed_half_a_minute_is_enough(fault: str, fault_s: float, tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await heals(world, fault.format(f"{fault_s:.0f}"), fault_s)

    world = lived(tmp_path, scenario, lines=lively(0.2))
    assert world.clean
    assert world.exchange.mishaps.counts


@pytest.mark.fault("F17", "F18", "F38")
def test_a_banned_bot_asks_nothing_of_anybody_until_it_may(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.until_ready()
        world.arm("ban:127.0.0.1:300s")
        began = trio.current_time()
        await trio.sleep(30)  # by now it knows
        attempts = world.bot._kept.access.connections
        await trio.sleep(268)
        assert world.bot._kept.access.connections == attempts
        await world.until_ready(1, RESYNC_S)
        assert trio.current_time() - began <= 300 + RESYNC_S

    world = lived(tmp_path, scenario, lines=lively(0.2))
    assert world.told("warning", what="exchange"), "it is said loudly"
    assert world.clean


@pytest.mark.fault("F4", "F6")
def test_a_market_without_a_beat_makes_a_bot_that_is_not_alive_however_often_it_connects(tmp_path: Path) -> None:
    """Its books go on."""
    ages: list[float] = []

    async def scenario(world: World) -> None:
        await world.until_ready()
        world.arm("lose-event:@kline_1s:35")
        began = trio.current_time()
        await trio.sleep(40)
        lost = world.told("link", name="market", state="lost")
        assert len(lost) >= 3
        assert all("1 s kline is overdue" in each["why"] for each in lost)
        assert world.told("link", name="market", state="up")[1:], "it comes up again and again"
        assert not world.told("epoch", state="ended"), "the account's link is not the worse for it"
        found = judge(world.bot.status, trio.current_time(), Bounds())
        assert any("the market's beat" in each for each in found)
        beat_at = world.bot.status.vitals.beat_at
        assert beat_at is not None
        ages.append(beat_at - began)
        await world.until(lambda: not judge(world.bot.status, trio.current_time(), Bounds()), 120)

    lived(tmp_path, scenario, lines=lively(0.1))
    assert ages[0] <= 1, "the last that came"


@pytest.mark.fault("F17")
def test_a_stop_under_a_ban_says_once_that_nothing_can_be_asked(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.until_ready()
        world.arm("ban:127.0.0.1:300s")
        await trio.sleep(30)
        world.bot.stop.set()
        await trio.sleep(20)

    world = lived(tmp_path, scenario, "exit.protect=stop", lines=lively(0.2))
    (failed,) = world.told("stop", state="goodbye failed")
    assert "nothing is asked for" in failed["why"]
    (left,) = world.told("stop", state="not confirmed")
    assert left["left"], "a stop rests, and it is said"
    assert not world.clean


@pytest.mark.fault("F10")
def test_a_close_for_misbehaviour_is_answered_by_a_long_pause_and_said(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.until_ready()
        world.arm("disconnect:ws_api:1008")
        took = await world.until_ready(1, RESYNC_S)
        assert took >= 25

    world = lived(tmp_path, scenario, lines=lively(0.1))
    (warning,) = world.told("warning", what="exchange")
    assert "1008" in warning["why"]


@pytest.mark.fault("F30", "F31", "F28")
def test_a_revoked_key_is_tried_once_in_five_minutes_and_said(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.until_ready()
        world.arm(f"revoke:{KEY}", "disconnect:ws_api:1001")
        await trio.sleep(1500)
        assert world.bot.status.phase == "connecting"

    world = lived(tmp_path, scenario, lines=lively(0.1))
    assert 4 <= len(world.told("warning", what="exchange")) <= 6
    assert sum(fact["state"] == "logged on" for fact in world.told("link", name="account")) == 1


def push(world: World, text: bytes) -> None:
    """Let the exchange say this on the account's link."""
    for guest in tuple(world.exchange.mishaps.guests.values()):
        if guest.face == "ws_api":
            guest.client.push_text(text)


@pytest.mark.fault("F33", "F30", "F111", "F112")
@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b'{"subscriptionId":0,"event":{"e":"eventStreamTerminated","E":1}}', "the exchange ended the user stream"),
        (b'{"id":null,"status":401,"error":{"code":-2015,"msg":"Invalid API-key."}}', "-2015 Invalid API-key."),
        (b'{"id":1,"id":2,"status":200}', "a frame that is not clean JSON"),
        (b'{"id":1,"status":NaN}', "a frame that is not clean JSON"),
        (b"[" * 100_000, "a frame that is not clean JSON"),
        (b"", "a frame that is not clean JSON"),
        (b'{"subscriptionId":0,"event":{"e":"executionReport","E":"x"}}', "a user-data event that cannot be read"),
    ],
)
def test_what_ends_a_session_or_cannot_be_read_on_it_is_learned_anew(text: bytes, why: str, tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.until_ready()
        push(world, text)
        assert await world.until_ready(1, RESYNC_S) < 10

    world = lived(tmp_path, scenario)
    (ended,) = world.epochs_ended()
    assert why in ended
    assert len(world.told("rebuilt", what="balances, own orders")) == 2


@pytest.mark.fault("F113", "F115")
def test_what_is_not_known_and_what_nobody_asked_for_changes_nothing(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.until_ready()
        push(world, b'{"subscriptionId":0,"event":{"e":"somethingNew","E":1,"x":{"y":[1]}}}')
        push(world, b'{"id":4242,"status":200,"result":{"orderId":1}}')
        push(world, b'{"id":"SELL","status":200,"result":{},"rateLimits":[],"new":"member"}')
        await trio.sleep(30)
        assert world.bot.status.phase == "ready"

    assert lived(tmp_path, scenario).epochs_ended() == []


@pytest.mark.fault("F90")
def test_a_quiet_book_is_asked_for(tmp_path: Path) -> None:
    """After a reconnect no change of the book may come for an hour: the bot must know it all the same."""

    async def scenario(world: World) -> None:
        await world.until_ready()
        for number in range(1, 4):
            world.arm("disconnect:ws_api:1001")
            assert await world.until_ready(number, RESYNC_S) < 10

    world = lived(tmp_path, scenario)
    assert len(world.epochs_ended()) == 3


@pytest.mark.fault("F96", "F97", "F98", "F42")
@pytest.mark.parametrize("leap_s", [3.0, -3.0, 3600.0, -3600.0])
def test_a_date_that_leaps_drops_all_sessions_and_changes_no_interval(leap_s: float, tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.until_ready()
        before_ns = world.bot.clock.now_ns()
        world.date.ahead_s += leap_s
        await world.until_ready(1, RESYNC_S)
        assert 0 <= world.bot.clock.now_ns() - before_ns < 20e9, "intervals are not the date's"
        assert abs(world.bot.exchange_ms() - world.exchange.venue.now_ms()) < 2
        await trio.sleep(60)
        assert world.bot.status.epoch == 2

    world = lived(tmp_path, scenario, lines=lively(0.1))
    assert f"the date has leapt by {leap_s:+.1f} s" in world.epochs_ended()[0]


@pytest.mark.fault("F36", "F97")
def test_an_exchange_whose_clock_leaps_is_measured_anew_at_its_first_refusal(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.until_ready()
        world.arm("clock-offset:-8s:600s", "disconnect:ws_api:1001")
        await world.until_ready(1, RESYNC_S)
        assert await world.until_ready(1, RESYNC_S) < RESYNC_S

    assert lived(tmp_path, scenario, lines=lively(0.1)).clean


@pytest.mark.fault("F36")
def test_a_clock_that_was_measured_badly_is_measured_again_soon(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.arm("delay:rest:1200ms:out:30s")
        await world.until_ready()
        assert world.told("refused", what="clock"), "and why is said"
        await trio.sleep(60)
        assert world.bot._kept.why_no_clock() == ""

    lived(tmp_path, scenario, lines=lively(0.1))


@pytest.mark.fault("F36")
def test_a_bad_measurement_does_not_replace_a_good_one(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.until_ready()
        world.arm("delay:rest:1200ms:out:700s")
        for _ in range(1500):
            await trio.sleep(1)
            assert world.bot._kept.why_no_clock() == ""

    assert not lived(tmp_path, scenario, lines=lively(0.6)).told("refused", what="clock")


@pytest.mark.fault("F85", "F89", "F111", "F112", "F113", "F116", "F117")
@pytest.mark.parametrize(
    "how", ["truncated", "empty", "nan", "deep", "junk", "stale", "crossed", "zero", "binary", "utf8"]
)
def test_market_frames_that_make_no_sense_are_survived(how: str, tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.until_ready()
        world.arm(f"garble-event:@bookTicker:{how}:{BAD_A_MINUTE}")
        await trio.sleep(30)
        assert world.bot.status.phase == "ready"
        assert world.bot.status.links["market"] == "up"

    world = lived(tmp_path, scenario, lines=lively(0.1))
    assert world.exchange.mishaps.counts["garble-event"] == BAD_A_MINUTE
    assert world.epochs_ended() == []
    lost = world.told("link", name="market", state="lost")
    assert bool(lost) == (how in {"binary", "utf8"}), "a line is given up where the protocol itself is broken"


@pytest.mark.fault("F111")
def test_too_many_unreadable_market_frames_are_a_broken_line(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.until_ready()
        world.arm(f"garble-event:@bookTicker:truncated:{BAD_A_MINUTE + 1}")
        await trio.sleep(30)
        assert world.bot.status.links["market"] == "up"

    world = lived(tmp_path, scenario, lines=lively(0.1))
    (lost,) = world.told("link", name="market", state="lost")
    assert "more than 3 payloads in a minute cannot be read" in lost["why"]
    assert len(world.told("warning", what="market payload")) == BAD_A_MINUTE + 1


def tasks() -> int:
    """Tasks of the running loop."""
    root = trio.lowlevel.current_root_task()
    assert root is not None
    count, left = 0, [root]
    while left:
        task = left.pop()
        count += 1
        left += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return count


@pytest.mark.fault("F108", "F27")
def test_a_thousand_reconnects_leave_no_task_and_no_socket_behind(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.until_ready()
        world.bot._kept.access.hurried = True

        async def census() -> tuple[int, int]:
            await trio.sleep(300)  # what is kept alive for another request has ended
            gc.collect()
            return tasks(), len(world.exchange.mishaps.connections())

        before = await census()
        for number in range(1, 501):
            world.arm("disconnect:all:1001")
            await world.until_ready(number)
            await world.until(lambda: world.bot.status.links["market"] == "up")
        assert await census() == before

    world = lived(tmp_path, scenario, patience=Patience(most_s=0.5))
    assert len(world.epochs_ended()) == 500, "two lines each"
    assert len(world.told("link", state="up")) >= 1000
