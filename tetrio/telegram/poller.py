"""Asks for updates for ever, hands each to the desk once, and puts the answers where they are sent from.

What waited before this process began is skipped and counted: it was said to another process. Updates that come twice or
out of order are taken once, by their numbers. A 409 is told as what it is, a second program with this bot's token, and
tried again slowly. A failure backs off; only a token that is not valid ends it.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from tetrio.log import redact
from tetrio.net.clock import NS, machine_s
from tetrio.telegram import api as bot_api
from tetrio.telegram.api import Api, Incoming, TelegramError
from tetrio.telegram.desk import Answer, Desk
from tetrio.telegram.sender import Note, backoff_s, now_s

POLL_S = 25  # a poll that lasts for longer is forgotten by routers on the way
EMPTY_LEAST_S = 1.0  # between two polls that brought nothing new
FULL_LEAST_S = 0.2  # and after one that did, so that a flood costs little
CONFLICT_S = 60.0
BACKLOG_PAGES = 40
SEEN_MOST = 2000


class Poller:
    """The task that hears.

    warn     called with a critical text
    answer   called with each answer that is to be sent
    hearing  called with the chat that is being heard, and with None afterwards
    """

    def __init__(
        self,
        desk: Desk,
        *,
        now_ns: Callable[[], int],
        note: Note,
        warn: Callable[[str], None],
        answer: Callable[[Answer], None],
        hearing: Callable[[int | None], None],
    ) -> None:
        self._desk, self._now_ns = desk, now_ns
        self._note, self._warn, self._answer, self._hearing = note, warn, answer, hearing
        self._offset: int | None = None
        self._begun = False
        self._failures = 0
        self._deaf = self._conflict = False
        self._seen: dict[int, None] = {}

    async def run(self, api: Api) -> None:
        """Poll until cancelled; BadToken goes up."""
        while True:
            pause_s = await self._once(api)
            await trio.sleep(machine_s(pause_s))

    async def _once(self, api: Api) -> float:
        """One poll and what follows from it; seconds to wait before the next."""
        asked_at = now_s()
        try:
            if not self._begun:
                await self._begin(api)
            found = await api.updates(self._offset, POLL_S)
        except bot_api.BadToken:
            raise
        except bot_api.Conflict as error:
            return self._conflicts(error)
        except TelegramError as error:
            return self._fails(error)
        self._works()
        new = self._new(found)
        answers = [answer for incoming in new for answer in self._hear(incoming)]  # all: a halt waits for no note
        for answer in answers:
            if answer.text:
                self._answer(answer)
        for answer in answers:
            await self._note_press(api, answer)
        return FULL_LEAST_S if new else max(0.0, EMPTY_LEAST_S - (now_s() - asked_at))

    async def _begin(self, api: Api) -> None:
        """Learn our name; skip what was said before we were there, or while somebody else was heard."""
        await api.drop_webhook()
        self._desk.name = await api.name()
        skipped = 0
        for _ in range(BACKLOG_PAGES):
            new = self._new(await api.updates(self._offset, 0))
            if not new:
                break
            skipped += len(new)
        self._begun = True
        if skipped:
            self._note("skipped", updates=skipped, why="they were waiting when polling began")

    def _new(self, found: list[Incoming]) -> list[Incoming]:
        """Those that have not been seen, by number; the next poll asks for what follows them."""
        if found:
            self._offset = max(each.update_id for each in found) + 1
        new = {each.update_id: each for each in found if each.update_id not in self._seen}
        for number in sorted(new):
            self._seen[number] = None
            if len(self._seen) > SEEN_MOST:
                del self._seen[next(iter(self._seen))]
        return [new[number] for number in sorted(new)]

    def _hear(self, incoming: Incoming) -> list[Answer]:
        self._hearing(incoming.chat)
        try:
            return self._desk.take(incoming, now_s(), self._now_ns() / NS)
        except Exception as error:  # whatever a command has set off, the next one must still be heard
            self._note("failed", why=redact(f"a command: {type(error).__name__}: {error}"))
            return []
        finally:
            self._hearing(None)

    async def _note_press(self, api: Api, answer: Answer) -> None:
        """Stop the little clock on the button that was pressed, if one was."""
        if answer.press:
            try:
                await api.note(answer.press, answer.note)
            except bot_api.BadToken:
                raise
            except TelegramError as error:  # only a floating line is lost: the answer itself goes by the outbox
                self._note("unnoted", why=redact(str(error)))

    # -- how it is going ------------------------------------------------------------------------------------------
    def _conflicts(self, error: bot_api.Conflict) -> float:
        if not self._conflict:
            self._conflict = True
            self._warn(f"SECOND INSTANCE: another program uses this bot's token, or it was stolen ({error})")
            self._note("conflict", why=redact(str(error)))
        self._begun = False
        return CONFLICT_S

    def _fails(self, error: TelegramError) -> float:
        self._failures += 1
        if not self._deaf:
            self._deaf = True
            self._note("deaf", why=redact(str(error)))
        return error.after_s if isinstance(error, bot_api.Flooded) else backoff_s(self._failures)

    def _works(self) -> None:
        if self._deaf or self._conflict:
            self._note("hears", failures=self._failures)
        self._failures, self._deaf, self._conflict = 0, False, False
