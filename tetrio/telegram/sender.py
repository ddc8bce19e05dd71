"""Sends what waits for one chat: at Telegram's pace, again after a failure, never faster than it was asked to.

What a failure means for a letter is decided here. A letter that cannot have arrived waits its turn again. One that may
have arrived (a timeout, an answer that cannot be read) is not sent twice, unless it is critical, which is repeated with
twice the time until an answer comes, or an edit, which does no harm twice. Times are the machine's seconds (`now_s`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import attrs
import trio

from tetrio.log import redact
from tetrio.net.clock import machine_s
from tetrio.telegram import api as bot_api
from tetrio.telegram.api import Api
from tetrio.telegram.outbox import Letter, Outbox, Rank

SEND_S = 5.0
SEND_MOST_S = 30.0
CHAT_EVERY_S = 1.05  # one message a second in a chat
GROUP_EVERY_S = 3.1  # twenty a minute in a group
ALL_EVERY_S = 1 / 25  # thirty a second over all chats
FIRST_BACKOFF_S, MOST_BACKOFF_S = 1.0, 60.0
CLOSED_S = 600.0  # between two tries of a chat that takes nothing
LATE_S = 60.0  # a letter that has waited for longer shows its date
REFUSALS_MOST = 3  # tries of a critical letter that is refused for itself; then these words take its place
REFUSED_TEXT = "a critical message was refused by Telegram: see the journal"


class Note(Protocol):
    """Writes a fact about Telegram into the journal."""

    def __call__(self, state: str, **fields: object) -> None:
        """`state` and what belongs to it."""


def now_s() -> float:
    """The loop's time in the machine's seconds; 0 before the loop runs, as for facts of the very start."""
    try:
        return trio.current_time() / machine_s(1.0)
    except RuntimeError:
        return 0.0


async def sleep_until(at_s: float) -> None:
    """Until `now_s` is `at_s`."""
    await trio.sleep_until(at_s * machine_s(1.0))


def backoff_s(failures: int) -> float:
    """1, 2, 4, … 60 s after the first, second, third failure in a row."""
    return min(FIRST_BACKOFF_S * 2.0 ** min(failures - 1, 10), MOST_BACKOFF_S)


@attrs.define
class Turns:
    """The pace over all chats."""

    next_at: float = 0.0

    def take(self) -> float:
        """When the next request may go out; the turn is taken."""
        turn = max(self.next_at, now_s())
        self.next_at = turn + ALL_EVERY_S
        return turn


class Sender:
    """One chat: its outbox, and the task that empties it."""

    def __init__(self, chat: int, most: int, turns: Turns, note: Note, on_sent: Callable[[], None]) -> None:
        """most: letters that may wait; on_sent: called when nothing waits any more."""
        self.chat, self.outbox = chat, Outbox(most)
        self.sending: Letter | None = None
        """The letter that is under way."""
        self.taken = 0
        """Letters that Telegram took, edits included."""
        self._turns, self._note, self._on_sent = turns, note, on_sent
        self._wake = trio.Event()
        self._not_before = 0.0
        self._failures = self._timeouts = self._refusals = 0
        self._failing_since: float | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is under way."""
        return not len(self.outbox) and self.sending is None

    def unsent(self) -> list[Letter]:
        """What has not been delivered, as far as is known."""
        return [*([self.sending] if self.sending else []), *self.outbox.unsent()]

    def put(self, letter: Letter) -> None:
        """Take a letter in; returns at once."""
        self.outbox.put(attrs.evolve(letter, at=now_s()))
        self._wake.set()

    async def run(self, api: Api) -> None:
        """Send for ever. BadToken ends it; every other failure is waited out."""
        try:
            while True:
                await self._wait()
                await sleep_until(self._turns.take())
                self.sending = self.outbox.take(now_s())
                if self.sending is not None:
                    await self._send(api, self.sending)
                    self.sending = None
                if self.idle:
                    self._on_sent()
        finally:
            if self.sending is not None:  # cancelled, or the token is wrong: whoever comes next finds it
                self.outbox.give_back(self.sending)
                self.sending = None

    async def _wait(self) -> None:
        """Until something waits that may be sent now."""
        await sleep_until(self._not_before)
        while (due_at := self.outbox.due_at(now_s())) > now_s():
            self._wake = trio.Event()
            with trio.CancelScope(deadline=due_at * machine_s(1.0)):
                await self._wake.wait()

    async def _send(self, api: Api, letter: Letter) -> None:
        every_s = GROUP_EVERY_S if self.chat < 0 else CHAT_EVERY_S  # groups have negative ids
        began = now_s()
        try:
            await self._deliver(api, letter)
        except bot_api.Flooded as error:
            self.outbox.give_back(letter)
            hold_s = error.after_s
            self._failing(f"too many requests, {error.after_s:g} s asked for")
        except bot_api.ChatClosed as error:
            self.outbox.give_back(letter)
            hold_s = CLOSED_S
            self._failing(str(error))
        except bot_api.MessageRefused as error:
            hold_s = self._refused(letter, error)
        except bot_api.Unreachable as error:
            hold_s = self._unreachable(letter, error)
        else:
            hold_s = every_s
            self._works(now_s() - began)
        self._not_before = now_s() + max(hold_s, every_s)

    async def _deliver(self, api: Api, letter: Letter) -> None:
        text, within_s = self._said(letter), min(SEND_S * 2**self._timeouts, SEND_MOST_S)
        message_id = self.outbox.message_id(letter)
        if message_id is not None:
            try:
                await api.edit(self.chat, message_id, text, within_s=within_s)
            except bot_api.MessageGone:
                self.outbox.forget(letter)
            else:
                self.outbox.sent(letter, message_id, now_s())
                return
        quiet = letter.rank is Rank.NEWS
        new = await api.send(self.chat, text, buttons=letter.buttons, quiet=quiet, within_s=within_s)
        self.outbox.sent(letter, new, now_s())

    def _said(self, letter: Letter) -> str:
        """The text, redacted; with its date when it goes out late."""
        late = bool(letter.date) and now_s() - letter.at > LATE_S
        return redact(f"[{letter.date}] {letter.text}" if late else letter.text)

    # -- failures -------------------------------------------------------------------------------------------------
    def _unreachable(self, letter: Letter, error: bot_api.Unreachable) -> float:
        edit = self.outbox.message_id(letter) is not None
        if not error.sent or edit or letter.rank is Rank.CRITICAL:
            self.outbox.give_back(letter)
        else:
            self.outbox.doubt()
        if error.sent:
            self._timeouts += 1
        self._failing(str(error))
        return backoff_s(self._failures)

    def _refused(self, letter: Letter, error: bot_api.MessageRefused) -> float:
        self._refusals += 1
        if letter.rank is not Rank.CRITICAL:
            self.outbox.lose()
        elif self._refusals < REFUSALS_MOST or letter.text == REFUSED_TEXT:
            self.outbox.give_back(letter)
        else:  # something in it is not taken: that there was something must still arrive
            self._note("refused", chat=self.chat, why=redact(str(error)), text=redact(letter.text))
            self.outbox.give_back(attrs.evolve(letter, text=REFUSED_TEXT))
        self._failing(str(error))
        return backoff_s(self._failures)

    def _failing(self, why: str) -> None:
        self._failures += 1
        if self._failing_since is None:
            self._failing_since = now_s()
            self._note("lost", chat=self.chat, why=redact(why))

    def _works(self, took_s: float) -> None:
        self.taken += 1
        self._failures = self._refusals = 0
        if took_s < SEND_S / 2:  # one that stays slow keeps the time that it needs: no letter is in doubt for it again
            self._timeouts = 0
        if self._failing_since is not None:
            since, self._failing_since = self._failing_since, None
            self.outbox.catch_up(now_s(), since)
            self._note("back", chat=self.chat, after_s=round(now_s() - since, 1), dropped=self.outbox.dropped)
