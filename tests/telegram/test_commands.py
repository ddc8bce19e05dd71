"""Who is obeyed, what is asked back, and what never is: commands over long polling, against the real commander."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.telegram.rig import CHAT, COLLEAGUE, GROUP, OTHER, STRANGER, USER, Rig, running, trading
from tetrio.chaos.bot_api import NAME, Reply, Written, error
from tetrio.operator import WORDS
from tetrio.telegram.desk import HELP, span_s

Clock = trio.testing.MockClock
PERSON = {"id": USER, "is_bot": False, "first_name": "A"}


async def ask(rig: Rig, text: str, *, chat: int = CHAT, user: int = USER) -> Written:
    """Say a command and wait for what comes of it."""
    before = len(rig.api.written)
    rig.api.say(chat, user, text)
    await rig.api.wait_until(lambda: len(rig.api.written) > before)
    await trio.sleep(4)
    return rig.api.written[-1]


def obeyed(rig: Rig) -> list[str]:
    return [str(each["word"]) for each in rig.told("command") if each["done"]]


@pytest.mark.parametrize(
    "word, says",
    [
        ("status", "alive"),
        ("why", "sells when the bid has fallen to 1995.00"),
        ("balance", "0.4 ETH"),
        ("profit", "no own trades since the start"),
        ("orders", "SELL 0.4 ETH @ 2000.2, filled 0"),
        ("fills", "no own trades"),
        ("health", "phase ready"),
        ("help", "/flatten"),
    ],
)
async def test_looking_is_answered(word: str, says: str, autojump_clock: Clock) -> None:
    async with running() as rig:
        trading(rig.status)
        assert says in (await ask(rig, f"/{word}")).text
        assert obeyed(rig) == []


async def test_help_names_every_word() -> None:
    for word in (*WORDS, "status", "why", "balance", "profit", "orders", "fills", "health", "mute", "help"):
        assert f"/{word} " in HELP


@pytest.mark.parametrize("word, fate", [("pause", "goes on"), ("halt", "is cancelled"), ("disarm", "is cancelled")])
async def test_what_is_safer_is_done_at_once_and_says_what_becomes_of_the_order(
    word: str, fate: str, autojump_clock: Clock
) -> None:
    async with running() as rig:
        trading(rig.status)
        answer = await ask(rig, f"/{word}")
        assert f"the resting order SELL 0.4000 @ 2000.20 {fate}" in answer.text
        assert answer.buttons == []
        assert obeyed(rig) == [word]
        assert rig.told("command")[0]["by"] == f"telegram, user {USER}"


@pytest.mark.parametrize("word", ["exit", "flatten", "stop"])
async def test_what_trades_or_cannot_be_taken_back_asks_with_amount_and_price(word: str, autojump_clock: Clock) -> None:
    async with running() as rig:
        trading(rig.status)
        question = await ask(rig, f"/{word}")
        assert obeyed(rig) == []
        assert "0.4" in question.text
        assert "2000." in question.text
        rig.api.press(USER, question, "Yes")
        await trio.sleep(5)
        assert obeyed(rig) == [word]
        assert question.buttons == []
        assert "the resting order SELL 0.4000 @ 2000.20" in question.text
        assert rig.api.notes == [word]
        assert rig.stop.is_set() is (word == "stop")


async def test_resume_asks_after_a_halt_and_not_after_a_pause(autojump_clock: Clock) -> None:
    async with running() as rig:
        await ask(rig, "/pause")
        assert (await ask(rig, "/resume")).buttons == []
        assert not rig.status.paused
        await ask(rig, "/halt")
        question = await ask(rig, "/resume")
        assert rig.status.halted
        rig.api.press(USER, question, "Yes")
        await trio.sleep(5)
        assert not rig.status.halted


async def test_a_hard_stop_is_disarmed_only_with_force_and_a_confirmation(autojump_clock: Clock) -> None:
    async with running() as rig:
        trading(rig.status)
        rig.status.armed = "hard stop"
        assert "a hard stop is armed and stays" in (await ask(rig, "/disarm")).text
        question = await ask(rig, "/disarm force")
        assert obeyed(rig) == []
        rig.api.press(USER, question, "Yes, disarm the hard stop")
        await trio.sleep(5)
        assert obeyed(rig) == ["disarm"]


async def test_no_means_no_and_a_button_works_once(autojump_clock: Clock) -> None:
    async with running() as rig:
        trading(rig.status)
        question = await ask(rig, "/flatten")
        buttons = list(question.buttons)
        rig.api.press(USER, question, "No")
        await trio.sleep(5)
        assert question.text == "flatten: cancelled, nothing was done"
        question.buttons[:] = buttons
        rig.api.press(USER, question, "Yes")
        await trio.sleep(5)
        assert obeyed(rig) == []
        again = await ask(rig, "/flatten")
        assert again.buttons[0] != buttons[0]
        buttons = list(again.buttons)
        for _ in range(3):
            again.buttons[:] = buttons
            rig.api.press(USER, again, "Yes")
        await trio.sleep(5)
        assert obeyed(rig) == ["flatten"]


async def test_a_confirmation_expires_after_a_minute(autojump_clock: Clock) -> None:
    async with running() as rig:
        trading(rig.status)
        question = await ask(rig, "/flatten")
        await trio.sleep(61)
        rig.api.press(USER, question, "Yes")
        await trio.sleep(5)
        assert obeyed(rig) == []
        assert question.text == "flatten: expired, nothing was done"


async def test_only_who_asked_may_confirm(autojump_clock: Clock) -> None:
    async with running([GROUP], [USER, COLLEAGUE]) as rig:
        trading(rig.status)
        question = await ask(rig, "/flatten", chat=GROUP)
        rig.api.press(STRANGER, question, "Yes")
        rig.api.press(COLLEAGUE, question, "Yes")
        await trio.sleep(5)
        assert obeyed(rig) == []
        assert rig.api.notes == ["only who asked may confirm"]
        rig.api.press(USER, question, "Yes")
        await trio.sleep(5)
        assert obeyed(rig) == ["flatten"]


async def test_a_button_from_another_chat_or_made_up_does_nothing(autojump_clock: Clock) -> None:
    async with running([CHAT, OTHER]) as rig:
        trading(rig.status)
        question = await ask(rig, "/flatten")
        elsewhere = Written(OTHER, question.number, ["x"], [0.0], list(question.buttons), False)
        rig.api.press(USER, elsewhere, "Yes")
        for carries in ("y ", "y", "", "y aaaaaaaaaaaaaaaaaaaaaaaa", "\x00" * 60, question.buttons[0][1][2:]):
            rig.api.press(USER, Written(CHAT, question.number, ["x"], [0.0], [("Yes", carries)], False), "Yes")
            await trio.sleep(4)
        assert obeyed(rig) == []


@pytest.mark.fault("F123")
async def test_unless_chat_and_user_are_listed_nothing_is_answered_and_it_is_counted(autojump_clock: Clock) -> None:
    async with running([CHAT, GROUP], [USER]) as rig:
        for chat, user in ((CHAT, STRANGER), (STRANGER, STRANGER), (STRANGER, USER), (GROUP, STRANGER), (0, 0)):
            for text in ("/halt", "/status", "/stop", "/flatten"):
                rig.api.say(chat, user, text)
        await trio.sleep(130)
        assert rig.api.written == []
        assert rig.api.notes == []
        assert obeyed(rig) == []
        assert [each["counts"] for each in rig.told(state="ignored")] == [{"not allowed": 20}]


@pytest.mark.fault("F123")
@pytest.mark.parametrize("chats, users", [((CHAT,), ()), ((), (USER,)), ((), ())])
async def test_an_empty_list_means_nobody(
    chats: tuple[int, ...], users: tuple[int, ...], autojump_clock: Clock
) -> None:
    async with running(chats, users) as rig:
        rig.api.say(CHAT, USER, "/halt")
        await trio.sleep(300)
        assert rig.api.called("getUpdates") == []
        assert obeyed(rig) == []


@pytest.mark.parametrize(
    "more",
    [
        {"forward_origin": {"type": "user", "date": 1, "sender_user": PERSON}},
        {"forward_origin": {"type": "hidden_user", "date": 1, "sender_user_name": "x"}},
        {"via_bot": {"id": 5, "is_bot": True, "first_name": "b"}},
        {"from": {"id": USER, "is_bot": True, "first_name": "b"}},
        {"sender_chat": {"id": CHAT, "type": "channel", "title": "c"}},
        {"edit_date": 1_750_000_000},
        {"chat": {"id": CHAT, "type": "channel", "title": "c"}},
        {"from": None},
        {"date": "now"},
        {"chat": None},
        {"text": None, "caption": "/halt"},
    ],
)
async def test_what_nobody_has_freshly_written_himself_is_ignored(
    more: dict[str, object], autojump_clock: Clock
) -> None:
    async with running() as rig:
        rig.api.say(CHAT, USER, "/halt", more=more)
        await trio.sleep(10)
        assert obeyed(rig) == []
        assert (await ask(rig, "/pause")).text.startswith("paused"), "and it still hears"


@pytest.mark.parametrize("kind", ["edited_message", "channel_post", "edited_channel_post", "business_message"])
async def test_edited_messages_and_channels_posts_are_ignored(kind: str, autojump_clock: Clock) -> None:
    async with running() as rig:
        chat = {"id": CHAT, "type": "private"}
        rig.api.update({kind: {"message_id": 1, "date": 1_750_000_000, "chat": chat, "from": PERSON, "text": "/halt"}})
        await trio.sleep(10)
        assert obeyed(rig) == []


@pytest.mark.fault("F124")
async def test_old_commands_and_those_from_the_future_are_ignored(autojump_clock: Clock) -> None:
    async with running() as rig:
        rig.api.say(CHAT, USER, "/halt", age_s=75)
        rig.api.say(CHAT, USER, "/halt", age_s=-75)
        await trio.sleep(70)
        assert obeyed(rig) == []
        assert rig.told(state="ignored")[0]["counts"] == {"too old": 2}
        rig.api.say(CHAT, USER, "/halt", age_s=40)
        await trio.sleep(3)
        assert obeyed(rig) == ["halt"]


@pytest.mark.fault("F124")
async def test_what_waited_before_the_start_is_skipped_and_counted(autojump_clock: Clock) -> None:
    async with running() as rig:
        with rig.api.answering(error(409, "Conflict: terminated by other getUpdates request"), "getUpdates"):
            await trio.sleep(3)
            for _ in range(60):
                rig.api.say(CHAT, USER, "/stop")
                rig.api.say(CHAT, USER, "/halt")
        await trio.sleep(70)
        assert rig.told(state="skipped")[0]["updates"] == 120
        assert obeyed(rig) == []
        await ask(rig, "/halt")
        assert obeyed(rig) == ["halt"]


async def test_updates_that_come_twice_or_out_of_order_are_obeyed_once_in_order(autojump_clock: Clock) -> None:
    async with running() as rig:
        rig.api.say(CHAT, USER, "/pause")
        await trio.sleep(3)
        message = {"message_id": 9, "date": 1_750_000_003, "chat": {"id": CHAT, "type": "private"}, "from": PERSON}
        later = {"update_id": 9002, "message": message | {"text": "/resume"}}
        sooner = {"update_id": 9001, "message": message | {"text": "/halt"}}
        for _ in range(3):
            with rig.api.lying([later, sooner, later], "getUpdates"):
                await trio.sleep(2.5)
        await trio.sleep(5)
        assert obeyed(rig) == ["pause", "halt"], "the halt came first, so resume asks"


async def test_an_update_that_cannot_be_read_does_not_block_the_next(autojump_clock: Clock) -> None:
    async with running() as rig:
        rig.api.update({"message": {"chat": 3}})
        rig.api.update({"message": [1], "callback_query": "x"})
        rig.api.update({"callback_query": {"id": 1}})
        rig.api.say(CHAT, USER, "/pause")
        await trio.sleep(5)
        assert obeyed(rig) == ["pause"]


LIES: list[object] = [True, {}, "x", [1], [{"update_id": "x"}], [{"update_id": 1 << 70}], [{}], [None]]


@pytest.mark.parametrize("lie", LIES)
async def test_lies_about_updates_are_survived_without_haste(lie: object, autojump_clock: Clock) -> None:
    async with running() as rig:
        with rig.api.lying(lie, "getUpdates"):
            await trio.sleep(60)
            assert len(rig.api.called("getUpdates")) < 20
        await trio.sleep(60)
        await ask(rig, "/pause")
        assert obeyed(rig) == ["pause"]


async def test_an_endless_stream_of_updates_is_taken_at_a_bounded_pace(autojump_clock: Clock) -> None:
    async with running() as rig:
        numbers = iter(range(9000, 10**6))

        def flood(_: object) -> Reply:
            import json

            found = [{"update_id": next(numbers), "message": None} for _ in range(25)]
            return Reply(body=json.dumps({"ok": True, "result": found}).encode())

        with rig.api.faulty(flood, "getUpdates"):
            await trio.sleep(30)
        assert len(rig.api.called("getUpdates")) <= 30 / 0.2 + 60


@pytest.mark.fault("F122")
async def test_a_conflict_is_told_once_as_a_second_instance_and_tried_again_slowly(autojump_clock: Clock) -> None:
    async with running() as rig:
        with rig.api.answering(error(409, "Conflict: terminated by other getUpdates request"), "getUpdates"):
            await trio.sleep(600)
            assert [text for text in rig.api.texts() if "SECOND INSTANCE" in text] == rig.api.texts()
            assert len(rig.api.texts()) == 1
            assert len(rig.api.called("getUpdates")) <= 12
            assert len(rig.told(state="conflict")) == 1
        await trio.sleep(61)
        await ask(rig, "/pause")
        assert obeyed(rig) == ["pause"]


async def test_a_user_in_haste_is_slowed_down_and_told_once(autojump_clock: Clock) -> None:
    async with running() as rig:
        for _ in range(40):
            rig.api.say(CHAT, USER, "/pause")
        await trio.sleep(30)
        assert len(obeyed(rig)) == 8
        assert [text for text in rig.api.texts() if "too many" in text] == ["too many commands: wait a few seconds"]
        await ask(rig, "/halt")
        assert obeyed(rig)[-1] == "halt"


async def test_mute_leaves_critical_messages_and_ends(autojump_clock: Clock) -> None:
    async with running([CHAT, OTHER]) as rig:
        assert "for 30 min 0 s" in (await ask(rig, "/mute 30m")).text
        rig.journal.write("gate", state="open", close="2000.00")
        rig.journal.write("refused", what="breaker", code=-1, why="x")
        await rig.api.wait_for("gate is open", chat=OTHER)
        await rig.api.wait_for("breaker", chat=CHAT)
        assert not any("gate" in text for text in rig.api.texts(CHAT))
        await trio.sleep(1800)
        assert rig.api.texts(CHAT)[-1] == "no longer muted; 1 message was not shown"
        await ask(rig, "/mute 1h")
        assert (await ask(rig, "/mute off")).text == "no longer muted"
        rig.journal.write("gate", state="open", close="2001.00")
        await rig.api.wait_for("2001.00", chat=CHAT)


@pytest.mark.parametrize(
    "text, seconds",
    [("30m", 1800), ("90s", 90), ("2h", 7200), ("30", 1800), ("24h", 86400), ("25h", None), ("0", None), ("-5m", None),
     ("", None), ("m", None), ("1.5h", None), ("9999999999h", None), ("٣m", None)],
)  # fmt: skip
def test_spans_are_read(text: str, seconds: float | None) -> None:
    assert span_s(text) == seconds


async def test_in_a_group_balances_are_not_shown(autojump_clock: Clock) -> None:
    async with running([GROUP]) as rig:
        trading(rig.status)
        for word in ("balance", "profit", "status", "why", "health", "fills"):
            text = (await ask(rig, f"/{word}", chat=GROUP)).text
            assert "12.5" not in text
            assert "holds" not in text
            assert ("private chat" in text) == (word in ("balance", "profit"))


async def test_in_a_group_commands_for_another_bot_are_not_ours(autojump_clock: Clock) -> None:
    async with running([GROUP]) as rig:
        rig.api.say(GROUP, USER, "/halt@some_other_bot")
        await trio.sleep(5)
        assert obeyed(rig) == []
        await ask(rig, f"/halt@{NAME}", chat=GROUP)
        assert obeyed(rig) == ["halt"]


async def test_others_hear_of_a_command_and_who_gave_it_gets_the_answer_only(autojump_clock: Clock) -> None:
    async with running([CHAT, OTHER]) as rig:
        await ask(rig, "/pause")
        await trio.sleep(3)
        assert len(rig.api.texts(CHAT)) == 1
        assert rig.api.texts(OTHER)[0].startswith(f"pause by telegram, user {USER}\npaused")


@pytest.mark.parametrize("text", ["/nonsense", "/pause now", "/halt force", "/mute", "/mute soon", "/"])
async def test_what_is_no_command_is_answered_and_not_obeyed(text: str, autojump_clock: Clock) -> None:
    async with running() as rig:
        answer = await ask(rig, text)
        assert "/help" in answer.text or "/mute" in answer.text
        assert obeyed(rig) == []


async def test_chatter_is_not_answered(autojump_clock: Clock) -> None:
    async with running() as rig:
        for text in ("halt", "hello", " /halt", "", "…"):
            rig.api.say(CHAT, USER, text)
        await trio.sleep(10)
        assert rig.api.written == []
        assert obeyed(rig) == []


async def test_an_answer_that_could_not_be_sent_in_a_minute_is_dropped_and_that_is_said(autojump_clock: Clock) -> None:
    async with running() as rig:
        with rig.api.flooding(100, "sendMessage"):
            rig.api.say(CHAT, USER, "/status")
            await trio.sleep(50)
        await trio.sleep(100)
        assert rig.api.texts() == ["1 message was dropped"]
