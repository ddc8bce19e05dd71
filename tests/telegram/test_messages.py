"""What the operator is told, and that trouble with Telegram neither loses what matters nor floods."""

from __future__ import annotations

import itertools

import pytest
import trio
import trio.testing

from tests.telegram.rig import CHAT, GROUP, OTHER, Rig, running
from tetrio.chaos.bot_api import Reply, error
from tetrio.log import Secret
from tetrio.telegram.messenger import send_once

Clock = trio.testing.MockClock
ORDER = {"side": "SELL", "price": "2000.10", "qty": "0.4000", "filled": "0.0000"}


def arm(rig: Rig, episode: int = 1, reason: str = "t") -> None:
    rig.journal.write(
        "armed", episode=episode, reason=reason, regime="BASE", gain=0.0123, drawdown=0.002, bid="2000.00"
    )


def requote(rig: Rig, number: int) -> None:
    name, price = f"tt-abcdef-abcde-1t-{number}", f"{2000 + number}.10"
    rig.journal.write("order", **ORDER | {"price": price, "client_order_id": name, "state": "sent"})
    rig.journal.write("order", **ORDER | {"price": price, "client_order_id": name, "state": "open"})
    rig.journal.write("order", **ORDER | {"price": price, "client_order_id": name, "state": "canceled"})


def fill(rig: Rig, qty: str = "0.4000", price: str = "2005.10") -> None:
    rig.journal.write("fill", side="SELL", price=price, qty=qty, maker=True, client_order_id="tt-abcdef-abcde-1t-5")


async def test_an_exit_is_one_message_that_is_edited_from_armed_to_done(autojump_clock: Clock) -> None:
    async with running() as rig:
        arm(rig)
        await rig.api.wait_for("take-profit")
        for number in range(1, 41):
            requote(rig, number)
            await trio.sleep(0.25)
        fill(rig)
        rig.journal.write("disarmed", episode=1, reason="t", by="regime")
        done = await rig.api.wait_for("done")
        assert rig.api.texts() == [
            "exit 1: take-profit\ngain 1.230 %, drawdown 0.200 %, bid 2000.00, ask –\nSELL 0.4 @ 2040.1 resting, "
            "re-quoted 39 times\nfilled 0.4 at 2005.1\ndone: the side has changed"
        ]
        gaps = [later - earlier for earlier, later in itertools.pairwise(done.at)]
        assert 3 <= len(gaps) <= 5, "ten seconds of chasing are a handful of edits"
        assert min(gaps) >= 3


async def test_a_second_exit_is_a_second_message(autojump_clock: Clock) -> None:
    async with running() as rig:
        for episode in (1, 2):
            arm(rig, episode)
            rig.journal.write("disarmed", episode=episode, reason="t", by="operator")
        await rig.api.wait_for("exit 2")
        await rig.messenger.part(10)
        assert [text.splitlines()[0] for text in rig.api.texts()] == ["exit 1: take-profit", "exit 2: take-profit"]
        assert all("disarmed by operator" in text for text in rig.api.texts())


async def test_a_message_that_somebody_deleted_is_written_anew(autojump_clock: Clock) -> None:
    async with running() as rig:
        arm(rig)
        rig.api.delete(await rig.api.wait_for("take-profit"))
        fill(rig)
        again = await rig.api.wait_for("filled")
        assert len(again.texts) == 1


async def test_each_chat_gets_its_messages_though_another_does_not_exist(autojump_clock: Clock) -> None:
    async with running([CHAT, OTHER, GROUP]) as rig:
        rig.api.closed_chats = {OTHER}
        rig.journal.write("start", venue="sim")
        for chat in (CHAT, GROUP):
            await rig.api.wait_for("started", chat=chat)
        await trio.sleep(1)
        assert [(each["chat"], each["why"]) for each in rig.told(state="lost")] == [(OTHER, "chat not found")]
        rig.api.closed_chats = set()
        await rig.api.wait_for("started", chat=OTHER, within_s=700)
        await trio.sleep(1)
        assert rig.told(state="back", chat=OTHER)


async def test_a_chat_that_exists_no_more_does_not_stop_critical_messages_to_the_others(autojump_clock: Clock) -> None:
    async with running([CHAT, OTHER]) as rig:
        rig.api.closed_chats = {CHAT}
        rig.journal.write("stop", state="not confirmed", left=["tt-1"])
        assert (await rig.api.wait_for("not confirmed", chat=OTHER)).text == "stop not confirmed; may still rest: tt-1"


async def test_the_pace_of_a_chat_and_of_a_group_is_kept(autojump_clock: Clock) -> None:
    async with running([CHAT, GROUP]) as rig:
        for number in range(30):
            rig.journal.write("refused", what=f"breaker {number}", code=number, why="x")
        await rig.api.wait_for("breaker 29", chat=GROUP, within_s=200)
        for chat, least_s in ((CHAT, 1.0), (GROUP, 3.0)):
            at = [each.at[0] for each in rig.api.written if each.chat == chat]
            assert len(at) == 30
            assert min(later - earlier for earlier, later in itertools.pairwise(at)) >= least_s


@pytest.mark.fault("F120")
async def test_retry_after_is_obeyed(autojump_clock: Clock) -> None:
    async with running() as rig:
        with rig.api.flooding(47, "sendMessage"):
            rig.journal.write("start", venue="sim")
            await trio.sleep(40)
            assert len(rig.api.called("sendMessage")) == 1
        await rig.api.wait_for("started")
        first, second = rig.api.called("sendMessage")
        assert second.at - first.at >= 47


@pytest.mark.parametrize("after", [-5, 0, "soon", None, True, 10**9, 1.5])
async def test_a_retry_after_that_makes_no_sense_holds_nothing_for_ever(after: object, autojump_clock: Clock) -> None:
    async with running() as rig:
        with rig.api.flooding(after, "sendMessage"):
            rig.journal.write("start", venue="sim")
            await trio.sleep(1)
        await rig.api.wait_for("started", within_s=3700)


async def test_an_outage_of_hours_loses_no_critical_message_and_repeats_no_stale_news(autojump_clock: Clock) -> None:
    async with running() as rig:
        async with rig.api.down():
            for episode in range(1, 6):
                arm(rig, episode)
                rig.journal.write("disarmed", episode=episode, reason="t", by="regime")
            rig.journal.write("gate", state="closed", regime="BASE", loss=0.006, anchor="2000.00")
            rig.status.alive, rig.status.ailing = False, ("the market's beat is 61 s old",)
            await trio.sleep(4 * 3600)
            rig.status.alive = True
        await rig.api.wait_for("5 exits", within_s=120)
        texts = rig.api.texts()
        assert "] hard stop: a loss of 0.600 % from 2000.00" in texts[0]
        assert texts[0].startswith("[2025-06-15 15:06:40 UTC]"), "what goes out late says when it was"
        assert "not alive for 1 min 0 s: the market's beat is 61 s old" in texts[1]
        assert texts[2].removeprefix("alive again, after ") in ("4 h 0 min", "3 h 59 min")
        assert "could not be reached for 240 min; not sent one by one: 5 exits" in texts[3]
        assert len(texts) == 4
        assert [each["state"] for each in rig.told() if each["state"] in ("lost", "back")] == ["lost", "back"]


async def test_a_short_outage_is_made_up_for(autojump_clock: Clock) -> None:
    async with running() as rig:
        async with rig.api.down():
            rig.journal.write("gate", state="open", close="2000.00")
            arm(rig)
            await trio.sleep(20)
        await rig.api.wait_for("take-profit")
        assert rig.api.texts()[0] == "the gate is open again, at 2000.00"


async def test_drops_are_counted_and_said_and_never_critical_ones(autojump_clock: Clock) -> None:
    async with running(queue=10) as rig:
        async with rig.api.down():
            for number in range(22):
                rig.journal.write("gate", state="open", close=str(number))
            for number in range(5):
                rig.journal.write("refused", what=f"breaker {number}", code=number, why="x")
            await trio.sleep(10)
        await rig.api.wait_for("at 21")
        texts = rig.api.texts()
        assert texts[:6] == [*(f"breaker {number}: x" for number in range(5)), "12 messages were dropped"]
        await trio.sleep(2)
        assert (rig.status.messages_sent, rig.status.messages_dropped) == (16, 12)
        assert texts[6:] == [f"the gate is open again, at {number}" for number in range(12, 22)]


async def test_more_critical_messages_than_there_is_room_for_become_a_count(autojump_clock: Clock) -> None:
    async with running() as rig:
        async with rig.api.down():
            for number in range(73):
                rig.journal.write("refused", what=f"breaker {number}", code=number, why="x")
            await trio.sleep(600)
        await rig.api.wait_for("breaker 72", within_s=300)
        texts = rig.api.texts()
        assert len(texts) == 50
        assert "23 earlier critical messages are not shown" in texts[0]
        assert "breaker 23: x" in texts[0]


async def test_a_slow_telegram_gets_every_critical_message(autojump_clock: Clock) -> None:
    async with running() as rig:
        with rig.api.slow(12, "sendMessage"):
            rig.journal.write("stop", state="not confirmed", left=["tt-1"])
            await trio.sleep(120)
            assert rig.told(state="back"), "the third try waited for long enough"
        assert 1 <= len(rig.api.texts()) <= 3
        await trio.sleep(300)
        assert len(rig.api.texts()) <= 3, "what was answered is not repeated"


async def test_news_that_may_have_arrived_are_not_sent_twice(autojump_clock: Clock) -> None:
    async with running() as rig:
        with rig.api.slow(6, "sendMessage"):
            rig.journal.write("gate", state="open", close="2000.00")
            await trio.sleep(5.5)
        await rig.api.wait_for("may not have arrived")
        assert rig.api.texts() == ["the gate is open again, at 2000.00", "1 sent before may not have arrived"]


PRIVATE = {"id": CHAT, "type": "private"}
LIES: list[object] = [
    True, None, [], "done", 7, {},
    {"message_id": "x"},
    {"message_id": 1, "date": 1, "chat": {"id": 999, "type": "private"}},
    {"message_id": True, "date": 1, "chat": PRIVATE},
    {"message_id": 1, "date": "x", "chat": {}},
]  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
async def test_an_answer_that_is_a_lie_is_no_proof_of_delivery(lie: object, autojump_clock: Clock) -> None:
    async with running() as rig:
        with rig.api.lying(lie, "sendMessage"):
            rig.journal.write("stop", state="not confirmed", left=["tt-1"])
            await trio.sleep(100)
            assert len(rig.api.called("sendMessage")) < 10
            assert len(rig.told(state="lost")) == 1
        await rig.api.wait_for("not confirmed", within_s=100)


GARBAGE = {
    "502": Reply(502, b"<html>502 Bad Gateway</html>"),
    "500 json": error(500, "Internal Server Error"),
    "html under 200": Reply(200, b"<html>log in to this network</html>"),
    "no json": Reply(200, b"\xff\xfe\x00"),
    "a list": Reply(200, b"[]"),
    "no result": Reply(200, b'{"ok": true}'),
    "not ok under 200": Reply(200, b'{"ok": false}'),
    "deep": Reply(200, b"[" * 100_000),
    "huge": Reply(200, b'{"ok": true, "result": "' + b"x" * (1 << 20) + b'"}'),
    "teapot": Reply(418, b""),
    "redirect": Reply(302, b""),
    "400 of no known kind": error(400, "Bad Request: because"),
}


@pytest.mark.parametrize("reply", GARBAGE.values(), ids=GARBAGE.keys())
async def test_garbage_is_backed_off_from_and_criticals_arrive_later(reply: Reply, autojump_clock: Clock) -> None:
    async with running() as rig:
        with rig.api.answering(reply):
            rig.journal.write("start", venue="sim")
            rig.journal.write("refused", what="breaker", code=-1, why="-1 no")
            await trio.sleep(6)
            assert len(rig.api.called("sendMessage")) < 8
            assert len(rig.api.called("getUpdates") + rig.api.called("deleteWebhook")) < 8
        await rig.api.wait_for("refused by Telegram" if reply.status == 400 else "breaker", within_s=100)


async def test_truncated_answers_and_hang_ups_are_survived(autojump_clock: Clock) -> None:
    async with running() as rig:
        with rig.api.truncated():
            rig.journal.write("refused", what="breaker", code=-1, why="-1 no")
            await trio.sleep(6)
        await rig.api.wait_for("breaker", within_s=100)


@pytest.mark.fault("F119")
async def test_a_hanging_telegram_is_given_up_in_time_and_tried_again(autojump_clock: Clock) -> None:
    async with running() as rig:
        with rig.api.hanging():
            rig.journal.write("refused", what="breaker", code=-1, why="-1 no")
            await trio.sleep(300)
            tries = rig.api.called("sendMessage")
            assert 4 <= len(tries) <= 12
            assert tries[1].at - tries[0].at < 7
        await rig.api.wait_for("breaker", within_s=100)


async def test_an_edit_that_changes_nothing_is_well(autojump_clock: Clock) -> None:
    async with running() as rig:
        arm(rig)
        await rig.api.wait_for("take-profit")
        with rig.api.answering(error(400, "Bad Request: message is not modified: …"), "editMessageText"):
            fill(rig)
            await trio.sleep(10)
        assert len(rig.api.called("editMessageText")) == 1
        assert not rig.told(state="lost")


async def test_a_token_that_is_not_valid_ends_the_messenger_and_says_what_to_do(autojump_clock: Clock) -> None:
    for answer in (error(401, "Unauthorized"), error(404, "Not Found")):
        async with running() as rig:
            with rig.api.answering(answer):
                rig.journal.write("start", venue="sim")
                await trio.sleep(5)
                (ended,) = rig.told(state="ended")
                assert "get one from @BotFather" in ended["why"]
                calls = len(rig.api.calls)
                await trio.sleep(3600)
                assert len(rig.api.calls) == calls


async def test_not_alive_is_told_once_and_again_when_it_is_over(autojump_clock: Clock) -> None:
    async with running() as rig:
        rig.status.alive, rig.status.ailing = False, ("not logged on",)
        await trio.sleep(55)
        rig.status.alive = True
        await trio.sleep(5)
        assert rig.api.texts() == []
        rig.status.alive = False
        await trio.sleep(600.5)
        rig.status.alive = True
        await trio.sleep(5)
        first, second = rig.api.texts()
        assert first == "not alive for 1 min 0 s: not logged on"
        assert second.startswith("alive again, after 10 min")


async def test_without_chats_nobody_is_told_and_that_is_said(autojump_clock: Clock) -> None:
    async with running([]) as rig:
        rig.journal.write("start", venue="sim")
        await trio.sleep(100)
        assert rig.told(state="off")
        assert rig.api.calls == []


async def test_part_waits_for_what_is_unsent_and_says_what_stays_so(autojump_clock: Clock) -> None:
    async with running() as rig:
        rig.journal.write("stop", state="done", clean=True)
        began = trio.current_time()
        await rig.messenger.part(3)
        assert trio.current_time() - began < 0.5
        assert rig.api.texts() == ["stopped; nothing is left against on_stop"]
        with rig.api.hanging("sendMessage"):
            rig.journal.write("stop", state="not confirmed", left=["tt-1"])
            rig.journal.write("start", venue="sim")
            began = trio.current_time()
            await rig.messenger.part(3)
            assert trio.current_time() - began == pytest.approx(3)
        assert rig.told(state="unsent") == [{"state": "unsent", "messages": 2, "critical": 1}]


@pytest.mark.fault("F121")
async def test_texts_are_plain_and_cut_to_what_telegram_takes(autojump_clock: Clock) -> None:
    async with running() as rig:
        rig.journal.write("refused", what="breaker", code=-1, why="_*`[<b>&" + "𝛼" * 5000)
        written = await rig.api.wait_for("breaker")
        assert written.text.startswith("breaker: _*`[<b>&𝛼")
        assert written.text.endswith("𝛼…")
        assert len(written.text.encode("utf-16-le")) // 2 == 4096
        assert all("parse_mode" not in call.fields for call in rig.api.calls)


async def test_a_test_message_goes_to_every_chat_and_each_result_is_told(autojump_clock: Clock) -> None:
    async with running([CHAT, OTHER, GROUP], []) as rig:
        rig.api.closed_chats = {OTHER}
        params = rig.messenger._params
        results = await send_once(params, rig.messenger._token, "a test")
        assert [(each.chat, each.ok, each.text) for each in results] == [
            (CHAT, True, "delivered"), (OTHER, False, "chat not found"), (GROUP, True, "delivered")
        ]  # fmt: skip
        assert rig.api.texts() == ["a test", "a test"]
        refused = await send_once(params, Secret("1:wrong"), "a test")
        assert {each.text for each in refused} == {"the token is not valid (Unauthorized): get one from @BotFather"}
        async with rig.api.down():
            assert not any(each.ok for each in await send_once(params, rig.messenger._token, "a test"))


async def test_a_defect_in_a_listener_is_told_and_harms_nobody(autojump_clock: Clock) -> None:
    async with running() as rig:
        rig.journal.write("fill", qty=[], price="1")
        rig.journal.write("armed", gain="much", reason=["?"], episode=None)
        rig.journal.write("disarmed", reason={})
        rig.journal.write("stop", state="not confirmed", left=3)
        await rig.api.wait_for("not confirmed")
        assert rig.messenger.listen in rig.journal.listeners


async def test_over_real_sockets() -> None:
    async with running(real=True) as rig:
        arm(rig)
        await rig.api.wait_for("take-profit", within_s=10)


async def test_a_poller_without_a_network_says_so_once_and_hears_again(autojump_clock: Clock) -> None:
    async with running() as rig:
        async with rig.api.down():
            await trio.sleep(3600)
        assert len(rig.told(state="deaf")) == 1
        await trio.sleep(120)
        assert len(rig.told(state="hears")) == 1
