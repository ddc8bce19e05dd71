"""The queue of one chat: bounded whatever comes, ranked, and honest about what it dropped."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tetrio.telegram.outbox import CRITICALS, EDIT_S, STALE_S, Letter, Outbox, Rank

MOST = 10
LETTERS = st.tuples(st.sampled_from(Rank), st.sampled_from(["", "a", "b"]))
STEPS = st.lists(st.one_of(LETTERS, st.sampled_from(["send", "fail", "doubt", "outage"])), max_size=200)


def drained(outbox: Outbox, now: float) -> list[str]:
    texts = []
    while (letter := outbox.take(now)) is not None:
        texts.append(letter.text)
        now += EDIT_S
    return texts


@settings(max_examples=60)
@given(STEPS)
def test_it_is_bounded_and_every_letter_is_sent_replaced_or_counted(steps: list[object]) -> None:
    outbox, now, put, out, replaced = Outbox(MOST), 1000.0, 0, 0, 0
    criticals: list[str] = []
    for number, step in enumerate(steps):
        now += 1
        if isinstance(step, tuple):
            rank, key = step
            key = key if rank is Rank.NEWS else ""
            before = len(outbox) + outbox.dropped
            text = f"{rank.name} {number}"
            outbox.put(Letter(text=text, rank=rank, key=key, at=now))
            put += 1
            replaced += len(outbox) + outbox.dropped == before
            criticals += [text] if rank is Rank.CRITICAL else []
        elif step == "outage":
            waiting = sum(letter.rank is Rank.NEWS for letter in outbox.unsent())
            before = len(outbox)
            outbox.catch_up(now, now - 3600)
            replaced += waiting
            put += bool(waiting)
        elif (letter := outbox.take(now)) is not None:
            if "dropped" in letter.text or "may not have" in letter.text:
                continue  # made by the outbox itself, and sent
            if step == "fail" or (step == "doubt" and letter.rank is Rank.CRITICAL):
                outbox.give_back(letter)
                continue
            if step == "send":
                outbox.sent(letter, number, now)
                out += 1
            else:
                outbox.doubt()
            criticals = [each for each in criticals if not letter.text.endswith(each)]
        assert len(outbox) <= MOST + CRITICALS + 3
    assert put == out + replaced + outbox.dropped + len(outbox)
    waiting_now = [letter.text for letter in outbox.unsent()]
    assert all(any(text.endswith(each) for text in waiting_now) for each in criticals[-CRITICALS:])


def test_critical_first_then_answers_then_news() -> None:
    outbox = Outbox(MOST)
    for rank in (Rank.NEWS, Rank.ANSWER, Rank.CRITICAL):
        outbox.put(Letter(text=rank.name, rank=rank, at=1))
    assert drained(outbox, 2) == ["CRITICAL", "ANSWER", "NEWS"]


def test_news_of_one_key_are_one_letter_with_the_newest_text() -> None:
    outbox = Outbox(MOST)
    for number in range(100):
        outbox.put(Letter(text=str(number), rank=Rank.NEWS, key="exit 1", at=number))
    assert len(outbox) == 1
    letter = outbox.take(100)
    assert letter is not None
    outbox.sent(letter, 77, 100)
    newer = Letter(text="newer", rank=Rank.NEWS, key="exit 1", at=101)
    outbox.put(newer)
    assert outbox.take(101) is None
    assert outbox.due_at(101) == 100 + EDIT_S
    assert outbox.take(100 + EDIT_S) is not None
    assert outbox.message_id(newer) == 77


def test_a_newer_text_wins_over_one_that_comes_back() -> None:
    outbox = Outbox(MOST)
    outbox.put(Letter(text="old", rank=Rank.NEWS, key="k", at=1))
    old = outbox.take(1)
    assert old is not None
    outbox.put(Letter(text="new", rank=Rank.NEWS, key="k", at=2))
    outbox.give_back(old)
    assert drained(outbox, 3) == ["new"]


def test_a_stale_answer_is_dropped_and_said() -> None:
    outbox = Outbox(MOST)
    outbox.put(Letter(text="late", rank=Rank.ANSWER, at=0))
    outbox.put(Letter(text="in time", rank=Rank.ANSWER, at=STALE_S))
    assert drained(outbox, STALE_S + 1) == ["1 message was dropped", "in time"]


def test_many_exits_leave_no_trace_but_the_last_few() -> None:
    outbox = Outbox(MOST)
    for number in range(10_000):
        letter = Letter(text="x", rank=Rank.NEWS, key=f"exit {number}", at=number)
        outbox.put(letter)
        taken = outbox.take(number)
        assert taken is not None
        outbox.sent(taken, number, number)
    assert len(outbox) == 0
    assert len(outbox._threads) <= 20
