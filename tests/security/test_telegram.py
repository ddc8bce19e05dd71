"""What Telegram can do to a bot: only what the operator's words do, never more; and what it gets to see."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock as Clock

from tests.telegram.rig import CHAT, GROUP, STRANGER, USER, running, trading
from tetrio.operator import WORDS

ROOT = Path(__file__).resolve().parents[2]
METHODS = {"getMe", "deleteWebhook", "getUpdates", "sendMessage", "editMessageText", "answerCallbackQuery"}
LOOKS = ("status", "why", "balance", "profit", "orders", "fills", "health", "help", "mute 1m")


async def test_no_webhook_is_ever_set_and_nothing_is_called_but_what_is_needed(autojump_clock: Clock) -> None:
    async with running() as rig:
        trading(rig.status)
        for text in [*LOOKS, *WORDS]:
            rig.api.say(CHAT, USER, f"/{text}")
            await trio.sleep(5)
        for written in [each for each in rig.api.written if each.buttons]:
            rig.api.press(USER, written, "No")
            await trio.sleep(5)
        called = {call.method for call in rig.api.calls}
    assert called == METHODS
    poll = next(call for call in rig.api.calls if call.method == "getUpdates")
    assert poll.fields["allowed_updates"].count('"') == 4, "messages and pressed buttons, and no other kind"


def test_no_code_of_ours_names_a_way_to_be_called_from_outside() -> None:
    banned = {"set_webhook", "run_webhook", "start_webhook", "Updater", "Application"}
    for path in (ROOT / "tetrio").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
            assert name not in banned, f"{path}: {name}"


@pytest.mark.parametrize(
    "text",
    ["/buy 1", "/sell", "/forcebuy ETH", "/set strategy.hard_stop=1", "/config", "/reload", "/exit 100", "/flatten now",
     "/resume force", "/withdraw", "/eval 1", "/halt; /flatten", "/exit\n/exit", "/FLATTEN!"],
)  # fmt: skip
async def test_no_command_sets_sizes_or_risks_anything_beyond_the_operators_words(
    text: str, autojump_clock: Clock
) -> None:
    async with running() as rig:
        trading(rig.status)
        rig.api.say(CHAT, USER, text)
        await trio.sleep(5)
        assert rig.told("command") == []
        assert not any(each.buttons for each in rig.api.written), "not even asked back"


@pytest.mark.parametrize("word", ["pause", "halt", "resume"])
async def test_a_word_that_is_said_twice_means_the_same_as_once(word: str, autojump_clock: Clock) -> None:
    async with running() as rig:
        seen = []
        for _ in range(2):
            rig.api.say(CHAT, USER, f"/{word}")
            await trio.sleep(5)
            seen.append((rig.status.paused, rig.status.halted))
        assert seen[0] == seen[1]


async def test_a_press_that_comes_from_nowhere_listed_is_counted_and_nothing_else(autojump_clock: Clock) -> None:
    async with running() as rig:
        trading(rig.status)
        rig.api.say(CHAT, USER, "/flatten")
        question = await rig.api.wait_for("Press within")
        button = question.buttons[0][1]
        person = {"id": USER, "is_bot": False, "first_name": "A"}
        message = {"message_id": question.number, "date": 0, "chat": {"id": CHAT, "type": "private", "first_name": "A"}}
        for press in (
            {"from": person},  # a button under a message of an inline query: no chat at all
            {"from": person, "message": message | {"chat": {"id": 999, "type": "private", "first_name": "A"}}},
            {"from": person | {"id": STRANGER}, "message": message},
            {"from": person | {"is_bot": True}, "message": message},
        ):
            rig.api.update({"callback_query": {"id": "1", "chat_instance": "1", "data": button, **press}})
            await trio.sleep(5)
        assert rig.told("command") == []
        assert rig.api.notes == [], "and nobody is answered"
        assert rig.told(state="failed") == [], "it was refused, and did not stumble"
        rig.api.press(USER, question, "Yes")
        await trio.sleep(5)
        assert len(rig.told("command")) == 1, "the button itself was good"


async def test_a_group_is_told_no_balance_whatever_happens_and_whatever_is_asked(autojump_clock: Clock) -> None:
    async with running([GROUP]) as rig:
        trading(rig.status)
        rig.status.balances = {"ETH": "7654.3210", "USDT": "98765.4321"}
        for text in [*LOOKS, "pause", "resume", "disarm", "halt", "resume", "stop"]:
            rig.api.say(GROUP, USER, f"/{text}")
            await trio.sleep(5)
        rig.journal.write("balance", balances=rig.status.balances, symbol="ETHUSDT")
        rig.journal.write("epoch", number=2, state="ended", why="a test")
        rig.journal.write("stop", state="done", clean=True)
        await trio.sleep(60)
        shown = "\n".join(text for each in rig.api.written for text in each.texts)
    assert len(shown) > 500
    assert "7654" not in shown
    assert "98765" not in shown
