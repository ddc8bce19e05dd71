"""The operator's words to a whole bot, in virtual time; the exchange's audit is the referee."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.scenarios.sandbox import Fault, Run, cut_market, played
from tetrio.operator import Answer, Order

EVENTS = ("accept", "fill", "cancel", "expire")


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cut_market(tmp_path_factory.mktemp("market"))


class Says(Fault):
    """Words at their times: (s after the start, word), or a word as soon as `when` holds of the status."""

    def __init__(self, *words: tuple[float | Callable[[Any], bool], str], force: bool = False) -> None:
        super().__init__()
        self.words, self.force = words, force
        self.answers: list[Answer] = []
        self.said_ns: list[int] = []

    async def run(self) -> None:
        for when, word in self.words:
            if callable(when):
                while not when(self.bot.status):  # noqa: ASYNC110 - the status has no event, and time is virtual
                    await trio.sleep(0.01)
            else:
                await trio.sleep(when)
            self.said_ns.append(self.bot.clock.now_ns())
            self.answers.append(self.bot.commander.obey(Order(word=word, by="test", force=self.force)))


def ready(status: Any) -> bool:
    return bool(status.phase == "ready" and status.regime)


def resting(status: Any) -> bool:
    return status.order is not None and status.order.state == "open"


def working_off(status: Any) -> bool:
    """A BUY rests on although its first fills have ended its regime."""
    return status.regime == "BASE" and not status.armed and resting(status) and status.order.side == "BUY"


def lines(run: Run) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, run.audit.splitlines()) if line["ev"] in EVENTS]


def test_exit_rests_at_once_as_the_operators_and_is_filled(market: Path) -> None:
    says = Says((ready, "exit"))
    run = played(says, market)
    first = lines(run)[0]
    assert (first["ev"], first["type"], first["side"]) == ("accept", "LIMIT_MAKER", "SELL")
    assert first["client_order_id"].split("-")[3] == "1m"
    assert first["ts"] - says.said_ns[0] < 2e9
    assert run.verdict.exits[0].reason == "m"
    assert (run.clean, run.verdict.left_open) == (True, [])
    assert "post-only at the best ask" in says.answers[0].text
    assert "nothing rests" in says.answers[0].text


@pytest.mark.fault("F73")
def test_flatten_takes_within_its_bound_until_nothing_is_left(market: Path) -> None:
    says = Says((ready, "flatten"))
    run = played(says, market, takes="m")
    told = lines(run)
    assert (told[0]["type"], told[0]["client_order_id"].split("-")[3]) == ("LIMIT", "1m")
    assert run.verdict.exits[0].side == "SELL"
    assert run.verdict.exits[0].qty == 1
    assert (run.clean, run.verdict.left_open, run.verdict.most_live) == (True, [], 1)


def test_flatten_replaces_the_exit_that_rests(market: Path) -> None:
    says = Says((ready, "exit"), (resting, "flatten"))
    run = played(says, market, takes="m")
    kinds = [(line["ev"], line["type"]) for line in lines(run)][:3]
    assert kinds[0] == ("accept", "LIMIT_MAKER")
    assert kinds[1][0] == "cancel"
    assert kinds[2] == ("accept", "LIMIT")
    assert "the resting order SELL 1" in says.answers[1].text
    assert "is replaced" in says.answers[1].text
    assert (run.clean, run.verdict.left_open, run.verdict.most_live) == (True, [], 1)


def test_flatten_buys_with_all_of_the_quote_too(market: Path) -> None:
    says = Says((ready, "flatten"))
    run = played(says, market, "venue.fund=ETH=0,USDT=1000", takes="m")
    assert run.verdict.exits[0].side == "BUY"
    bought = [line for line in lines(run) if line["ev"] == "fill" and line["client_order_id"].split("-")[3] == "1m"]
    left = sum(map(Decimal, bought[-1]["balances"]["USDT"]))
    assert left < 10, "what the bound sets aside, and less than the smallest order"
    assert (run.clean, run.verdict.left_open, run.verdict.most_live) == (True, [], 1)


def test_disarm_cancels_the_exit_and_goes_on_without(market: Path) -> None:
    says = Says((ready, "exit"), (resting, "disarm"))
    run = played(says, market)
    told = [line for line in lines(run) if line["ts"] >= says.said_ns[1]]
    assert told[0]["ev"] == "cancel" or told[0]["ev"] == "fill"
    assert says.answers[1].done
    assert "is cancelled" in says.answers[1].text


@pytest.mark.fault("F130")
def test_halt_sends_nothing_but_cancels_until_resume(market: Path) -> None:
    says = Says((ready, "exit"), (resting, "halt"), (10, "exit"), (0, "resume"))
    run = played(says, market)
    halted, resumed = says.said_ns[1], says.said_ns[3]
    during = [line["ev"] for line in lines(run) if halted + 1e9 < line["ts"] < resumed]
    assert during == []
    first = next(line for line in lines(run) if line["ts"] >= halted)
    assert first["ev"] in ("cancel", "fill")
    after = [line["ev"] for line in lines(run) if line["ts"] >= resumed]
    assert "accept" in after, "the armed exit is worked again"
    assert [answer.done for answer in says.answers] == [True, True, False, True]
    assert (run.clean, run.verdict.left_open) == (True, [])


def test_pause_arms_nothing_new_and_lets_the_resting_exit_go_on(market: Path) -> None:
    says = Says((ready, "pause"))
    run = played(says, market)
    assert lines(run) == [], "the replay's first exit falls into these frames otherwise"
    assert played(Says(), market).verdict.exits, "it does"
    assert run.clean


@pytest.mark.fault("F130")
def test_a_halt_survives_a_restart_and_so_does_a_pause(market: Path, tmp_path: Path) -> None:
    for word in ("halt", "pause"):
        state = tmp_path / word
        played(Says((ready, word)), market, state=state)
        again = played(Says(), market, state=state)
        assert lines(again) == []
        said = [fact for fact in again.facts if fact["kind"] == "rebuilt" and fact.get("source") == "latch"]
        assert said[0][{"halt": "halted", "pause": "paused"}[word]] is True
        free = played(Says((ready, "resume")), market, state=state)
        assert lines(free) != []


def test_an_exit_asked_for_before_a_restart_is_done_after_it(market: Path, tmp_path: Path) -> None:
    says = Says((ready, "exit"), (0, "stop"))  # stopped before anything can rest
    played(says, market, state=tmp_path)
    again = played(Says(), market, state=tmp_path)
    assert again.verdict.exits[0].reason == "m"
    later = played(Says((ready, "pause")), market, state=tmp_path)
    assert lines(later) == [], "it was done, and is not done again"


def test_stop_ends_in_order_and_says_what_becomes_of_the_exit(market: Path) -> None:
    says = Says((ready, "exit"), (resting, "stop"))
    run = played(says, market)
    assert "is cancelled" in says.answers[1].text
    assert (run.clean, run.verdict.left_open) == (True, [])


@pytest.mark.parametrize("word", ["exit", "flatten"])
def test_what_cannot_be_done_is_refused_in_words(word: str, market: Path) -> None:
    says = Says((0, word))
    run = played(says, market)
    assert not says.answers[0].done
    assert "no price has been seen" in says.answers[0].text
    told = [fact for fact in run.facts if fact["kind"] == "command"]
    assert told[0] | {"ts": 0} == {
        "ts": 0, "kind": "command", "word": word, "by": "test", "done": False, "text": says.answers[0].text,
    }  # fmt: skip


def test_a_halt_is_kept_by_a_stop_that_would_leave_what_rests(market: Path) -> None:
    says = Says((ready, "exit"), (resting, "halt"), (0, "stop"))
    run = played(says, market, "exit.on_stop=leave")
    assert "is cancelled" in says.answers[2].text
    assert (run.clean, run.verdict.left_open) == (True, [])


class Heard(Says):
    """Asks, as the pulse does, since when the user stream owes something."""

    def __init__(self, *words: tuple[float | Callable[[Any], bool], str]) -> None:
        super().__init__(*words)
        self.owed_s = 0.0

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(super().run)
            while not self.bot.stop.is_set():
                self.bot.check_vitals()
                since = self.bot.status.vitals.unproven_since
                self.owed_s = max(self.owed_s, 0.0 if since is None else trio.current_time() - since)
                await trio.sleep(1)


class Deaf(Heard):
    """The user stream goes silent once the bot is ready; replies still come."""

    def told(self, line: Any, frame: dict[str, Any]) -> list[tuple[float, dict[str, Any]]]:
        return [] if "id" not in frame and ready(self.bot.status) else [(0, frame)]


@pytest.mark.fault("F3")
def test_a_user_stream_that_has_gone_silent_is_noticed_although_balances_are_asked_for(market: Path) -> None:
    deaf = Deaf((ready, "exit"))
    run = played(deaf, market)
    assert 4 <= deaf.owed_s <= 7
    assert "account: the user stream has not told of an own order's change for 5 s" in run.epochs_ended()


def test_a_user_stream_that_tells_owes_nothing_for_long(market: Path) -> None:
    heard = Heard((ready, "exit"))
    run = played(heard, market)
    assert run.verdict.exits
    assert heard.owed_s <= 2


def test_a_disarm_takes_back_the_rest_of_an_exit_that_its_own_first_fills_disarmed(market: Path) -> None:
    says = Says((ready, "exit"), (working_off, "disarm"))
    run = played(says, market, "venue.fund=ETH=0,USDT=100000")
    assert "nothing is armed; the resting order BUY" in says.answers[1].text
    after = [line for line in lines(run) if line["ts"] > says.said_ns[1] + 1e9 and line["side"] == "BUY"]
    assert [line for line in after if line["client_order_id"].split("-")[3] == "1m"] == []


class Gap(Says):
    """No events from an exit's acceptance on, and then the link is cut."""

    deaf = False

    def told(self, line: Any, frame: dict[str, Any]) -> list[tuple[float, dict[str, Any]]]:
        return [] if self.deaf and "id" not in frame else [(0, frame)]

    async def run(self) -> None:
        await super().run()
        while not resting(self.bot.status):  # noqa: ASYNC110 - as above
            await trio.sleep(0.01)
        self.deaf = True
        await trio.sleep(12)
        self.deaf = False
        self.lines["account"].cut()  # type: ignore[attr-defined]  # a tampered one's


@pytest.mark.fault("F50")
def test_the_first_fills_of_an_account_are_all_told_although_they_fell_between_two_links(market: Path) -> None:
    run = played(Gap((ready, "exit")), market)
    filled = [line for line in lines(run) if line["ev"] == "fill"]
    told = [fact for fact in run.facts if fact["kind"] == "fill"]
    assert len(filled) > 1
    assert sorted(fact["trade_id"] for fact in told) == sorted(line["trade_id"] for line in filled)
