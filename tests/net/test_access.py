"""When the exchange may be asked: bans are everybody's, hosts are left alone, connections have a budget."""

from __future__ import annotations

import random

import pytest
import trio
import trio.testing

from tetrio.errors import LinkBarred, LinkLost
from tetrio.net.access import Access, http_refusal

Clock = trio.testing.MockClock
FIVE_MINUTES = 300.0


@pytest.fixture
def access() -> Access:
    return Access(random.Random(1))


@pytest.mark.fault("F26", "F7", "F8")
async def test_never_more_than_thirty_connections_in_five_minutes(
    access: Access, autojump_clock: Clock, nursery: trio.Nursery
) -> None:
    made: list[float] = []

    async def knock() -> None:
        while True:
            await access.connect("host")
            made.append(trio.current_time())

    for _ in range(3):
        nursery.start_soon(knock)
    await trio.sleep(3600)
    nursery.cancel_scope.cancel()
    assert 200 < len(made) < 400
    for at in made:
        assert sum(at <= other < at + FIVE_MINUTES for other in made) <= 30


async def test_each_service_has_a_budget_of_its_own(access: Access, autojump_clock: Clock) -> None:
    for _ in range(10):
        await access.connect("127.0.0.1", 41001)
    began = trio.current_time()
    await access.connect("127.0.0.1", 41002)
    assert trio.current_time() == began
    await access.connect("127.0.0.1", 41001)
    assert trio.current_time() == began + 15


async def test_after_an_outage_an_epoch_never_waits_long_for_the_budget(access: Access, autojump_clock: Clock) -> None:
    for _ in range(100):
        await access.connect("host")
        await trio.sleep(15.3)  # the shortest of the longest back-off
    began = trio.current_time()
    await access.connect("host")
    assert trio.current_time() - began < 1, "the longest back-off earns more than it spends"


@pytest.mark.fault("F17", "F18", "F37", "F38")
async def test_a_ban_is_every_hosts_and_lasts_as_long_as_was_asked_and_a_little_more(
    access: Access, autojump_clock: Clock
) -> None:
    error = access.heed(http_refusal("stream", 418, "17"), "one")
    assert error.retry_after_s is not None
    assert 17 <= error.retry_after_s <= 18
    for host in ("one", "other"):
        with pytest.raises(LinkLost) as caught:
            await access.connect(host)
        assert caught.value.kind == "ban"
        assert caught.value.retry_after_s == access.left_s()
    with pytest.raises(LinkLost, match="nothing is asked"):
        access.check()
    access.ban(1, "a shorter one changes nothing")
    await trio.sleep(16.9)
    with pytest.raises(LinkLost):
        access.check()
    await trio.sleep(1.2)
    await access.connect("one")


async def test_a_ban_that_names_no_time_lasts_as_long_as_the_shortest(access: Access, autojump_clock: Clock) -> None:
    assert http_refusal("x", 418, "").retry_after_s == 120
    assert http_refusal("x", 429, "soon").retry_after_s == 60


@pytest.mark.fault("F13", "F19")
@pytest.mark.parametrize(
    ("error", "for_s"), [(LinkLost("bad certificate", kind="tls"), 30), (http_refusal("x", 451, ""), 900)]
)
async def test_a_host_that_must_not_be_asked_again_at_once_is_left_alone_by_itself(
    error: LinkLost, for_s: float, access: Access, autojump_clock: Clock
) -> None:
    assert access.heed(error, "one").retry_after_s == for_s
    await access.connect("other")
    access.check()
    await trio.sleep(for_s - 1)
    with pytest.raises(LinkLost, match="left alone"):
        await access.connect("one")
    await trio.sleep(1.1)
    await access.connect("one")


@pytest.mark.parametrize("status", [200, 302, 404, 500, 503])
def test_any_other_answer_is_a_failed_upgrade(status: int) -> None:
    error = http_refusal("x", status, "17")
    assert (error.kind, error.retry_after_s) == ("upgrade", None)
    assert not isinstance(error, LinkBarred)


async def test_a_stop_waits_for_no_budget_but_obeys_bans(access: Access, autojump_clock: Clock) -> None:
    access.hurried = True
    for _ in range(40):
        await access.connect("host")
    assert trio.current_time() == 0
    access.ban(10, "banned")
    with pytest.raises(LinkLost):
        await access.connect("host")
