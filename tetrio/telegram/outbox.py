"""What waits to be sent to one chat: a bounded queue with ranks. Pure: times are passed in, nothing is sent.

- Critical messages go first and are never dropped while others are. There is room for `CRITICALS`; beyond that the
  oldest is merged into a count, which the next one to be sent begins with. They wait for as long as it takes.
- Answers to commands come next, news last. A full queue drops the oldest news, then the oldest answer; drops are
  counted and said, as a critical message. An answer that is older than it is good for is dropped likewise.
- News with the same `key` are one message: while it waits its text is replaced, once it was sent it is edited, at most
  every `EDIT_S`. Only the newest `EPISODES` keys are remembered; news for an older one begin a new message.
- After an outage of `OUTAGE_S` and more, news that have waited are not sent one by one: one line says what they were.
"""

from __future__ import annotations

import enum
import math
from collections import Counter, OrderedDict
from collections.abc import Iterator

import attrs

CRITICALS = 50
EPISODES = 20
EDIT_S = 3.0
OUTAGE_S = 60.0
STALE_S = 60.0  # an answer or a confirmation older than this is of no use


class Rank(enum.IntEnum):
    """What goes first."""

    CRITICAL = 0
    ANSWER = 1
    NEWS = 2


@attrs.frozen(kw_only=True)
class Letter:
    """One message to one chat."""

    text: str
    rank: Rank
    what: str = "message"
    """For the summary of what was not sent: "exit", "link", "answer"."""
    key: str = ""
    """Letters with the same key are one message, edited; "" is a message of its own."""
    buttons: tuple[tuple[str, str], ...] = ()
    at: float = 0.0
    """When it was written, s of the caller's clock."""
    date: str = ""
    """The same for people; shown when it is sent late."""
    edits: int | None = None
    """The id of a message that this one replaces."""


@attrs.define
class _Thread:
    """What is known of a message that is edited."""

    message_id: int | None = None
    sent_at: float = -math.inf


class Outbox:
    """The queue of one chat.

    most    letters that may wait, critical ones not counted
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.muted_until = -math.inf
        self.hidden = 0
        """News that were not queued because the chat is muted."""
        self.dropped = 0
        """All that were dropped, merged or given up in doubt, since the start."""
        self._criticals: OrderedDict[int, Letter] = OrderedDict()
        self._answers: OrderedDict[int, Letter] = OrderedDict()
        self._news: OrderedDict[int | str, Letter] = OrderedDict()
        self._threads: OrderedDict[str, _Thread] = OrderedDict()
        self._number = 0
        self._merged = 0
        self._unsaid = 0
        self._doubted = 0

    def __len__(self) -> int:
        return len(self._criticals) + len(self._answers) + len(self._news)

    # -- in -------------------------------------------------------------------------------------------------------
    def put(self, letter: Letter) -> None:
        """Take a letter in, in constant time; something less important makes way when there is no room."""
        self._number += 1
        if letter.rank is Rank.CRITICAL:
            self._criticals[self._number] = letter
            if len(self._criticals) > CRITICALS:
                self._criticals.popitem(last=False)
                self._merged += 1
                self.dropped += 1
            return
        if letter.rank is Rank.NEWS:
            if letter.at < self.muted_until:
                self.hidden += 1
                return
            name = letter.key or self._number
            if name in self._news:
                self._news[name] = attrs.evolve(letter, at=self._news[name].at)  # it keeps its place and its age
                return
            self._news[name] = letter
        else:
            self._answers[self._number] = letter
        if len(self._answers) + len(self._news) > self.most:
            (self._news or self._answers).popitem(last=False)
            self._drop()

    def mute(self, until: float) -> None:
        """No news before `until`; what waits already is still sent."""
        self.muted_until = until

    # -- out ------------------------------------------------------------------------------------------------------
    def take(self, now: float) -> Letter | None:
        """The next letter to send, removed; None when none is due (see `due_at`)."""
        if self._criticals:
            _, letter = self._criticals.popitem(last=False)
            if self._merged:
                count, self._merged = self._merged, 0
                words = "1 earlier critical message is" if count == 1 else f"{count} earlier critical messages are"
                letter = attrs.evolve(letter, text=f"{words} not shown, see the journal\n{letter.text}")
            return letter
        while self._answers and now - next(iter(self._answers.values())).at > STALE_S:
            self._answers.popitem(last=False)
            self._drop()
        if self._unsaid or self._doubted:
            return self._confession(now)
        if self._answers:
            return self._answers.popitem(last=False)[1]
        if self.hidden and now >= self.muted_until:
            count, self.hidden = self.hidden, 0
            return Letter(text=f"no longer muted; {_counted(count)} not shown", rank=Rank.NEWS, at=now)
        for name, letter in self._news.items():
            if self._editable_at(letter) <= now:
                del self._news[name]
                return letter
        return None

    def due_at(self, now: float) -> float:
        """When `take` will give a letter: `now` at the earliest, infinity when nothing waits."""
        if self._criticals or self._answers or self._unsaid or self._doubted:
            return now
        news = min((self._editable_at(letter) for letter in self._news.values()), default=math.inf)
        unmuted = self.muted_until if self.hidden else math.inf
        return max(now, min(news, unmuted))

    def message_id(self, letter: Letter) -> int | None:
        """The message that `letter` edits; None when it is a new one."""
        if letter.edits is not None:
            return letter.edits
        thread = self._threads.get(letter.key)
        return thread.message_id if thread else None

    def sent(self, letter: Letter, message_id: int | None, now: float) -> None:
        """`letter` was delivered as `message_id`."""
        if not letter.key:
            return
        self._threads[letter.key] = _Thread(message_id, now)
        self._threads.move_to_end(letter.key)
        while len(self._threads) > EPISODES:
            self._threads.popitem(last=False)

    def forget(self, letter: Letter) -> None:
        """The message that `letter` was to edit is gone."""
        self._threads.pop(letter.key, None)

    def give_back(self, letter: Letter) -> None:
        """`letter` was not delivered and is to be sent again, in its old place; newer news of its key win."""
        self._number += 1
        box: OrderedDict[int, Letter] | OrderedDict[int | str, Letter]
        if letter.rank is Rank.CRITICAL:
            box = self._criticals
        elif letter.rank is Rank.ANSWER:
            box = self._answers
        else:
            box = self._news
            if letter.key in self._news:
                newer = self._news[letter.key]
                self._news[letter.key] = attrs.evolve(newer, at=letter.at)
                return
        name = letter.key or self._number
        box[name] = letter  # type: ignore[index]  # a key is of news only
        box.move_to_end(name, last=False)  # type: ignore[arg-type]

    def lose(self) -> None:
        """A letter that was taken will never be delivered: it counts as dropped."""
        self._drop()

    def doubt(self) -> None:
        """A letter that was taken may or may not have arrived, and is not sent again."""
        self._doubted += 1
        self.dropped += 1

    def catch_up(self, now: float, failing_since: float) -> None:
        """Sending works again: after a long outage, put one line in the place of the news that have waited."""
        outage_s = now - failing_since
        if outage_s < OUTAGE_S or not self._news:
            return
        counts = Counter(letter.what for letter in self._news.values())
        self._news.clear()
        told = ", ".join(f"{count} {_plural(what) if count > 1 else what}" for what, count in counts.items())
        text = f"Telegram could not be reached for {outage_s / 60:.0f} min; not sent one by one: {told}"
        self._answers[self._next()] = Letter(text=f"{text}. /status says how it is", rank=Rank.ANSWER, at=now)

    def unsent(self) -> Iterator[Letter]:
        """What still waits, in the order in which it would go."""
        yield from self._criticals.values()
        yield from self._answers.values()
        yield from self._news.values()

    # -- inside ---------------------------------------------------------------------------------------------------
    def _next(self) -> int:
        self._number += 1
        return self._number

    def _drop(self) -> None:
        self.dropped += 1
        self._unsaid += 1

    def _confession(self, now: float) -> Letter:
        said = [f"{_counted(self._unsaid)} dropped"] if self._unsaid else []
        if self._doubted:
            said.append(f"{self._doubted} sent before may not have arrived")
        self._unsaid = self._doubted = 0
        return Letter(text="; ".join(said), rank=Rank.CRITICAL, what="warning", at=now)

    def _editable_at(self, letter: Letter) -> float:
        thread = self._threads.get(letter.key)
        return thread.sent_at + EDIT_S if thread else -math.inf


def _plural(what: str) -> str:
    return f"{what}es" if what.endswith("s") else f"{what}s"


def _counted(count: int) -> str:
    return "1 message was" if count == 1 else f"{count} messages were"
