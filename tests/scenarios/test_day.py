"""24 virtual hours with everything switched on: nothing grows, and every alert is delivered or counted."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from tests.scenarios.bystanders import OWNER, SECOND
from tests.scenarios.census import Census
from tests.scenarios.day import KLINES_A_DAY, WATCHDOG_USEC, live_through
from tests.scenarios.daybook import Day
from tests.scenarios.referee import Verdict, judge
from tetrio.telegram.outbox import EPISODES, Rank

CHATS = (OWNER, SECOND)
_DATED = re.compile(r"\[\d{4}-[^]]*\] ")
_MERGED = re.compile(r"(\d+) earlier critical messages? (?:is|are) not shown, see the journal\n")
_DROPPED = re.compile(r"(\d+) messages? (?:was|were) dropped")
_DOUBTED = re.compile(r"(\d+) sent before may not have arrived")
_HIDDEN = re.compile(r"no longer muted; (\d+) messages? (?:was|were) not shown")
_OUTAGE = re.compile(r"Telegram could not be reached for \d+ min; not sent one by one: (.*)\. /status says how it is")
FILLING = {
    "tetrio.status.FillLine": 50,
    "tetrio.telegram.outbox._Thread": len(CHATS) * EPISODES,
    "tetrio.core.market.Kline": 305,  # kline_history, and those under way
    "urllib.parse.SplitResult": 128,  # the library's own cache of URLs taken apart
}
"""What a day fills up without filling it by its first quarter: the bound that each must keep."""
LEAVES = {"builtins.str": 150, "builtins.int": 150, "builtins.float": 150, "functools._lru_list_elem": 128}
"""What the latest facts and fills are made of, which differ in how many fields they have, and the cache of URLs."""


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Day:
    return live_through(tmp_path_factory.mktemp("day"))


@pytest.fixture(scope="module")
def verdict(day: Day) -> Verdict:
    return judge(day.audit, takes="mh")


# -- it was a day ------------------------------------------------------------------------------------------------------


def test_a_whole_day_was_traded_through_cuts_and_words_and_ended_in_order(day: Day, verdict: Verdict) -> None:
    assert day.virtual_s >= 86_400
    assert (day.code, verdict.most_live, verdict.left_open) == (0, 1, [])
    assert verdict.end["frames"] == KLINES_A_DAY
    assert min(verdict.by("t"), verdict.by("h")) > 10
    assert verdict.by("m") >= 4, "the operator's exits trade too"
    assert day.cuts > 40
    assert sum(fact["kind"] == "epoch" and fact["state"] == "ended" for fact in day.facts) > 20


def test_each_word_of_the_operator_is_answered_in_fine_weather_and_a_strangers_never(day: Day) -> None:
    words = ["/pause", "/resume", "/exit Yes", "/halt", "/resume Yes", "/exit No", "/flatten Yes", "/mute 20m"]
    assert day.answered == dict.fromkeys([*words, "/disarm"], 4)
    assert "666" not in "".join(day.texts(OWNER))
    obeyed = [fact for fact in day.facts if fact["kind"] == "command"]
    assert {fact["by"] for fact in obeyed} == {"telegram, user 7"}
    assert len(obeyed) == 4 * 7, "looking, muting and No are not the bot's to do"


def test_those_beside_see_the_same_day_as_the_exchange(day: Day, verdict: Verdict) -> None:
    assert set(day.scrapes) == {200}
    assert day.scrapes[200] >= 1439
    assert min(day.replies.values()) >= 79
    assert f"tetrio_fills_total {verdict.events['fill']}.0\n" in day.exposition
    assert day.status_file["trading"]["fills"] == verdict.events["fill"]
    assert (day.notified["READY"], day.notified["STOPPING"]) == (1, 1)
    assert day.longest_gap_s < WATCHDOG_USEC / 1e6
    assert day.notified["WATCHDOG"] > 86_000


# -- nothing grows -----------------------------------------------------------------------------------------------------


@pytest.mark.fault("F106", "F108")
def test_nothing_grows_from_the_sixth_hour_to_the_last(day: Day) -> None:
    first, *_, last = day.censuses
    assert len(day.censuses) == 4
    assert last.at_s - first.at_s == 18 * 3600
    assert all(first.types[f"tetrio.{name}"] == 1 for name in ("live.bot.Bot", "telegram.messenger.Messenger"))
    assert (last.descriptors, last.tasks, last.threads) == (first.descriptors, first.tasks, first.threads)
    assert overgrown(first, last) == {}, last.grown(first)
    assert last.objects <= first.objects * 1.01, last.grown(first)
    assert last.size <= first.size * 1.01, last.grown(first)


def overgrown(first: Census, last: Census) -> dict[str, tuple[int, int]]:
    """Types of which there are more than chance explains; a task was under way here or there."""
    found = {}
    for name, count in last.types.items():
        before = first.types[name]
        most = FILLING.get(name, before + before // 50 + LEAVES.get(name, 12))
        if count > most:
            found[name] = (before, count)
    return found


# -- every alert is delivered or counted -------------------------------------------------------------------------------


def arrived(day: Day, chat: int) -> Counter[str]:
    """What a chat was shown, without what is put before a text that is late."""
    return Counter(_DATED.sub("", _MERGED.sub("", text), count=1) for text in day.texts(chat))


def said(day: Day, chat: int, *patterns: re.Pattern[str]) -> int:
    """The sum of what the messages of a chat count."""
    return sum(int(number) for text in day.texts(chat) for each in patterns for number in each.findall(text))


def missing(told: Counter[str], seen: Counter[str]) -> list[str]:
    """Texts that were told more often than they were seen."""
    return list((told - seen).elements())


@pytest.mark.parametrize("chat", CHATS)
def test_every_critical_message_is_delivered_or_counted(chat: int, day: Day) -> None:
    told = Counter(
        text
        for text, rank, what, _ in day.witness.told
        if rank is Rank.CRITICAL and not (what == "command" and chat == OWNER)  # who gave it gets the answer
    )
    assert told.total() > 30
    lost = missing(told, arrived(day, chat))
    assert len(lost) <= said(day, chat, _MERGED), lost
    assert lost == [], "fewer wait in any of these outages than there is room for"
    assert any("SECOND INSTANCE" in text for text in day.texts(chat))


def test_all_other_news_are_delivered_replaced_by_newer_or_counted(day: Day) -> None:
    lost, counted = 0, 0
    for chat in CHATS:
        latest = {
            key or number: text
            for number, (text, rank, what, key) in enumerate(day.witness.told)
            if rank is Rank.NEWS and not (what == "command" and chat == OWNER)
        }
        assert len(latest) > 100
        assert "tetrio has started: sim ETHUSDT" in day.texts(chat), "though it began before Telegram was opened"
        assert "stopped; nothing is left against on_stop" in day.texts(chat)
        lost += len(missing(Counter(latest.values()), arrived(day, chat)))
        outages = {found for text in day.texts(chat) for found in _OUTAGE.findall(text)}
        summed = sum(int(number) for outage in outages for number in re.findall(r"\d+", outage))
        assert summed, "an hour's outage is summed up"
        assert not any("losss" in outage for outage in outages)
        counted += summed + said(day, chat, _HIDDEN)
    left = sum(fact["messages"] for fact in day.facts if fact["kind"] == "telegram" and fact["state"] == "unsent")
    assert 0 < lost <= day.dropped + left + counted
    assert f"tetrio_telegram_dropped_total {day.dropped}.0\n" in day.exposition


def test_what_was_given_up_is_said_and_a_slow_telegram_is_no_reason_to_give_up_much(day: Day) -> None:
    confessed = sum(said(day, chat, _DROPPED, _DOUBTED, _MERGED) for chat in CHATS)
    assert 0 < day.dropped <= confessed
    doubts = sum(text.count("may not have arrived") for chat in CHATS for text in day.texts(chat))
    assert doubts <= 4 * len(CHATS) * 4, "once it is known to be slow it is given the time it needs"


def test_every_line_of_the_journal_is_written_or_counted_and_said(day: Day) -> None:
    (_, written, lost), (name, shown, missed) = day.sinks
    assert (len(day.facts), lost) == (written, 0)
    assert Counter(fact["kind"] for fact in day.facts) == day.witness.facts
    assert name == "stderr"
    assert day.read_lines == shown
    assert missed > 100
    told = [fact for fact in day.facts if fact["kind"] == "journal"]
    assert [fact["state"] for fact in told] == ["lost", "back"] * 8
    assert sum(fact.get("missed", 0) for fact in told) == missed
    assert {fact["why"] for fact in told if "why" in fact} == {"No space left on device", "its reader has stalled"}
    assert shown + missed >= written
