"""The desk where commands are taken: who may speak, what it means, what is asked back before it is done.

Deny by default: a command counts only in a listed chat *and* from a listed user, freshly written by that person; others
get no answer, they are counted. What trades, or cannot be taken back from here, is done only after a button was pressed
by the same user within a minute; the button carries a random word that works once. Words that only make things safer
(pause, halt) never ask. Balances are never shown in a group.

It sends nothing and waits for nothing: updates in, answers out. Times are passed in.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Callable

import attrs

from tetrio import words
from tetrio.operator import TRADES, WORDS, Obeys, Order
from tetrio.status import Status
from tetrio.telegram.api import Incoming

FRESH_S = 60.0
"""A command that is older (or from further in the future) is ignored: it was meant for another moment."""
CONFIRM_S = 60.0
ASKED_MOST = 20  # open questions; the oldest is forgotten
BURST, EVERY_S = 8, 3.0  # commands of one user at once, and how often one more is free
MUTE_MOST_S = 86400.0
LOOKS = ("status", "why", "balance", "profit", "orders", "fills", "health")
HELP = """\
/status  alive or not, regime, what rests
/why  what would have to happen for the next decision
/balance  what is held (in private chats)
/profit  what own trades have gained (in private chats)
/orders  the order that rests
/fills  the last own trades
/health  links, lag, why it is not alive
/pause  nothing new is armed; a resting exit goes on
/resume  takes back pause or halt; after a halt it asks
/exit  arms the exit now, as a maker: the order rests until filled; asks
/flatten  exits now, taking within the bound: replaces the resting order; asks
/disarm  cancels the resting exit, a hard stop not; /disarm force: that too, asks
/halt  cancels the resting order, sends nothing until /resume
/stop  ends the process; on_stop says whether the resting order is cancelled or left; asks
/mute 30m  only critical messages in this chat for so long (s, m, h); /mute off
/help  this"""


@attrs.frozen(kw_only=True)
class Answer:
    """What to send for an update."""

    chat: int
    text: str
    buttons: tuple[tuple[str, str], ...] = ()
    edits: int | None = None
    """The message whose place it takes."""
    press: str = ""
    """The press that is answered with `note`."""
    note: str = ""


@attrs.frozen(kw_only=True)
class _Question:
    order: Order
    chat: int
    user: int
    until: float


@attrs.define
class _Bucket:
    level: float = float(BURST)
    at: float = 0.0
    warned: bool = False

    def take(self, now: float) -> bool:
        self.level = min(float(BURST), self.level + (now - self.at) / EVERY_S)
        self.at = now
        if self.level < 1:
            return False
        self.level -= 1
        self.warned = False
        return True


class Desk:
    """Takes commands for one bot.

    chats, users    who may; either empty means nobody
    draw            a random word for a button, at most 32 letters
    mute            called with (chat, seconds from now; 0 ends it)
    """

    def __init__(
        self,
        chats: tuple[int, ...],
        users: tuple[int, ...],
        *,
        status: Status,
        obeys: Obeys,
        draw: Callable[[], str],
        mute: Callable[[int, float], None],
    ) -> None:
        self._chats, self._users = frozenset(chats), frozenset(users)
        self._status, self._obeys, self._draw, self._mute = status, obeys, draw, mute
        self._questions: OrderedDict[str, _Question] = OrderedDict()
        self._buckets = {user: _Bucket() for user in users}
        self.name = ""
        """The bot's own user name; commands for another bot in the same group are not ours."""
        self.ignored: Counter[str] = Counter()
        """Why updates were ignored: "not allowed", "too old", "too many", "unclear"."""
        self.strangers: tuple[int | None, int | None] | None = None
        """(user, chat) of the last that was not allowed."""

    def take(self, incoming: Incoming, now: float, date_s: float) -> list[Answer]:
        """Obey an update, or not; what to send.

        now     s of the clock by which questions expire
        date_s  s since 1970 UTC, for the age of a command
        """
        chat, user = incoming.chat, incoming.user
        if not incoming.press and not incoming.text.startswith("/"):
            return []
        if chat is None or user is None or chat not in self._chats or user not in self._users:
            self.ignored["not allowed"] += 1
            self.strangers = (user, chat)
            return []
        if incoming.said_at is not None and abs(date_s - incoming.said_at) > FRESH_S:
            self.ignored["too old"] += 1
            return []
        bucket = self._buckets[user]
        if not bucket.take(now):
            self.ignored["too many"] += 1
            first, bucket.warned = not bucket.warned, True
            return [Answer(chat=chat, text="too many commands: wait a few seconds")] if first else []
        if incoming.press:
            return [self._pressed(incoming, chat, user, now)]
        return self._said(incoming, chat, user, now)

    def _said(self, incoming: Incoming, chat: int, user: int, now: float) -> list[Answer]:
        head, *rest = incoming.text.split()
        word, _, bot = head[1:].partition("@")
        word = word.lower()
        if bot and bot.lower() != self.name.lower():
            return []
        if word in LOOKS:
            return [Answer(chat=chat, text=self._look(word, incoming.private))]
        if word == "mute":
            return [Answer(chat=chat, text=self._muted(chat, rest))]
        if word in ("help", "start"):
            return [Answer(chat=chat, text=HELP)]
        force = word == "disarm" and rest == ["force"]
        if word not in WORDS or (rest and not force):
            self.ignored["unclear"] += 1
            return [Answer(chat=chat, text=f"{incoming.text[:40]!r} is not a command here, see /help")]
        order = Order(word=word, by=f"telegram, user {user}", force=force)
        if self._asks(order):
            return [self._ask(order, chat, user, now)]
        return [Answer(chat=chat, text=self._obeyed(order))]

    # -- looking --------------------------------------------------------------------------------------------------
    def _look(self, word: str, private: bool) -> str:
        status = self._status
        match word:
            case "status":
                return words.status_text(status, amounts=private)
            case "balance" | "profit" if not private:
                return f"/{word} is not answered in a group: ask me in a private chat"
            case "balance":
                return words.balance_text(status)
            case "profit":
                return words.profit_text(status)
        look: Callable[[Status], str] = getattr(words, f"{word}_text")
        return look(status)

    def _muted(self, chat: int, rest: list[str]) -> str:
        if rest == ["off"]:
            self._mute(chat, 0.0)
            return "no longer muted"
        seconds = span_s(rest[0]) if len(rest) == 1 else None
        if seconds is None:
            return "write /mute 30m (s, m or h, at most 24h) or /mute off"
        self._mute(chat, seconds)
        return f"only critical messages in this chat for {words.age_text(seconds)}; /mute off ends it"

    # -- doing ----------------------------------------------------------------------------------------------------
    def _asks(self, order: Order) -> bool:
        """What trades, what lifts a halt, what takes a protection away, and what only the host can take back."""
        lifts = order.word == "resume" and self._status.halted
        return order.word in TRADES or order.word == "stop" or lifts or order.force

    def _ask(self, order: Order, chat: int, user: int, now: float) -> Answer:
        token = self._draw()
        self._questions[token] = _Question(order=order, chat=chat, user=user, until=now + CONFIRM_S)
        while len(self._questions) > ASKED_MOST:
            self._questions.popitem(last=False)
        text = f"{self._obeys.preview(order.word)}\n\nPress within {CONFIRM_S:.0f} s to confirm."
        label = "disarm the hard stop" if order.force else order.word
        return Answer(chat=chat, text=text, buttons=((f"Yes, {label}", f"y {token}"), ("No", f"n {token}")))

    def _pressed(self, incoming: Incoming, chat: int, user: int, now: float) -> Answer:
        kind, _, token = incoming.button.partition(" ")
        question = self._questions.get(token)

        def answer(text: str, note: str = "") -> Answer:
            return Answer(chat=chat, text=text, edits=incoming.message_id, press=incoming.press, note=note or text)

        if question is None or question.chat != chat or kind not in ("y", "n"):
            return answer("expired or already answered; nothing was done by this press", "expired")
        if question.user != user:
            return Answer(chat=chat, text="", press=incoming.press, note="only who asked may confirm")
        del self._questions[token]
        if now > question.until:
            return answer(f"{question.order.word}: expired, nothing was done", "expired")
        if kind == "n":
            return answer(f"{question.order.word}: cancelled, nothing was done", "cancelled")
        return answer(self._obeyed(question.order), question.order.word)

    def _obeyed(self, order: Order) -> str:
        answer = self._obeys.obey(order)
        return answer.text if answer.done else f"{order.word} refused: {answer.text}"


def span_s(text: str) -> float | None:
    """ "30m", "90s", "2h" or "30" (minutes), as seconds; None for what is no such span, or more than a day."""
    unit = {"s": 1.0, "m": 60.0, "h": 3600.0}.get(text[-1:].lower())
    number = text[:-1] if unit else text
    if not (number.isascii() and number.isdigit() and len(number) <= 5):
        return None
    seconds = int(number) * (unit or 60.0)
    return seconds if 0 < seconds <= MUTE_MOST_S and math.isfinite(seconds) else None
