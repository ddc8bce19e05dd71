"""The tasks beside trading: one sender a chat, one that polls for commands, one that watches for life.

    journal ──listen──▶ story ──▶ outbox of each chat ──▶ sender ──▶ Bot API
    Bot API ──▶ poller ──▶ desk ──▶ obeys, and an answer into the outbox

`listen` is called by whoever writes a fact: it puts a text into a bounded queue and returns. Nothing that trades waits
for anything here, and nothing here can end it: each failure is told in the journal (kind `telegram`), once when it
begins and once when it is over, and tried again later. Only a token that is not valid ends the messenger, and it alone.

Deadlines and pauses are the machine's seconds, however fast the bot's clock runs: the other end is real.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import attrs
import trio

from tetrio.errors import ConfigError
from tetrio.faces import TelegramParams
from tetrio.journal import Fact, Journal
from tetrio.log import Secret, redact
from tetrio.net import entropy
from tetrio.net.clock import machine_s
from tetrio.operator import Obeys
from tetrio.status import Status
from tetrio.telegram import api as bot_api
from tetrio.telegram.api import Api, TelegramError, open_api
from tetrio.telegram.desk import Answer, Desk
from tetrio.telegram.outbox import Letter, Rank
from tetrio.telegram.poller import Poller
from tetrio.telegram.sender import SEND_MOST_S, SEND_S, Sender, Turns, now_s
from tetrio.telegram.story import Story, Told
from tetrio.venue import check_url
from tetrio.words import age_text, date_text

AILING_S = 60.0  # how long the bot is not alive before somebody is woken
RESTART_S = 60.0
TELL_IGNORED_S = 60.0
LOOK_S = 1.0


@attrs.frozen
class Delivery:
    """What became of a text for one chat."""

    chat: int
    ok: bool
    text: str
    """"delivered", or why not."""


class Messenger:
    """Tells and obeys the operator over Telegram.

    now_ns   the date by which the age of a command is judged: the machine's (in virtual time the run's)
    """

    def __init__(
        self,
        params: TelegramParams,
        token: Secret,
        *,
        status: Status,
        journal: Journal,
        obeys: Obeys,
        now_ns: Callable[[], int],
    ) -> None:
        """ConfigError when the URL is not usable; nothing is sent before `run`."""
        check(params)
        self._params, self._token, self._status, self._journal = params, token, status, journal
        self._now_ns = now_ns
        self._story, turns = Story(), Turns()
        self._senders = {
            chat: Sender(chat, params.queue, turns, self._note, self._sent) for chat in dict.fromkeys(params.chats)
        }
        self._desk = Desk(
            params.chats, params.users, status=status, obeys=obeys, draw=lambda: entropy.token(24), mute=self._mute
        )
        self._heard: int | None = None
        self._running = False
        self._all_sent = trio.Event()
        self._defect: str | None = None

    # -- what others call -----------------------------------------------------------------------------------------
    def listen(self, fact: Fact) -> None:
        """Take a fact in: at once, in constant time, and without ever raising into who wrote it."""
        if fact.kind == "telegram":
            return
        try:
            for told in self._story.take(fact):
                self._tell(told, fact.ts)
        except Exception as error:  # a defect here must not be the writer's: a task of ours tells of it
            self._defect = f"{type(error).__name__} over a fact of kind {fact.kind}"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Send and poll until cancelled, or until the token turns out to be wrong; raises no error."""
        task_status.started()
        if not self._senders:
            self._note("off", why="[telegram] chats is empty: nobody is told, nobody is obeyed")
            return
        over = False
        while not over:
            try:
                await self._serve()
            except* bot_api.BadToken as group:
                over = True
                why = f"the token is not valid ({_first(group)}): get one from @BotFather and start again"
                self._note("ended", why=redact(why))
            except* Exception as group:
                error = _first(group)
                self._note("failed", why=redact(f"{type(error).__name__}: {error}"), next_s=RESTART_S)
            if not over:
                await trio.sleep(machine_s(RESTART_S))

    async def part(self, within_s: float) -> None:
        """Wait until all that waits has been sent, for `within_s` of the machine's seconds at most; tell what was not.

        To be called when the bot has stopped, before `run` is cancelled.
        """
        if self._running and not self._nothing_waits():
            self._all_sent = trio.Event()
            with trio.move_on_after(machine_s(within_s)):
                await self._all_sent.wait()
        left = [letter for sender in self._senders.values() for letter in sender.unsent()]
        if left:
            self._note("unsent", messages=len(left), critical=sum(each.rank is Rank.CRITICAL for each in left))

    # -- tasks ----------------------------------------------------------------------------------------------------
    async def _serve(self) -> None:
        connections = len(self._senders) + 1  # one more for the answers to pressed buttons
        async with open_api(self._params.url, self._token, connections) as api, trio.open_nursery() as nursery:
            self._running = True
            try:
                for chat, sender in self._senders.items():
                    nursery.start_soon(sender.run, api, name=f"telegram chat {chat}")
                if self._params.users:
                    nursery.start_soon(self._poller().run, api, name="telegram poll")
                await self._watch()
            finally:
                self._running = False

    def _poller(self) -> Poller:
        return Poller(
            self._desk,
            now_ns=self._now_ns,
            note=self._note,
            warn=self._warn,
            answer=self._answer,
            hearing=self._hearing,
        )

    async def _watch(self) -> None:
        """Wake somebody when the bot has not been alive for a while, and say when it is again; keep the counts."""
        since: float | None = None
        woken_since: float | None = None
        ignored_at = now_s()
        while True:
            now, status = now_s(), self._status
            if status.alive:
                if woken_since is not None:
                    self._warn(f"alive again, after {age_text(now - woken_since)}")
                since = woken_since = None
            else:
                since = now if since is None else since
                if woken_since is None and now - since >= AILING_S:
                    woken_since = since
                    why = "; ".join(status.ailing) or status.detail or "it has not said why"
                    self._warn(f"not alive for {age_text(AILING_S)}: {why}")
            self._count()
            self._tell_defect()
            if now - ignored_at >= TELL_IGNORED_S:
                ignored_at = now
                self._tell_ignored()
            await trio.sleep(machine_s(LOOK_S))

    def _count(self) -> None:
        """For the metrics; at most `LOOK_S` behind."""
        self._status.messages_sent = sum(sender.taken for sender in self._senders.values())
        self._status.messages_dropped = sum(sender.outbox.dropped for sender in self._senders.values())

    def _tell_defect(self) -> None:
        if self._defect is not None:
            self._note("failed", why=self._defect)
            self._defect = None

    def _tell_ignored(self) -> None:
        if not self._desk.ignored:
            return
        counts, self._desk.ignored = dict(self._desk.ignored), Counter()
        user, chat = self._desk.strangers or (None, None)
        known = {"user": user, "chat": chat} if "not allowed" in counts else {}
        self._note("ignored", counts=counts, **known)

    # -- putting --------------------------------------------------------------------------------------------------
    def _tell(self, told: Told, ts: int) -> None:
        letter = Letter(text=told.text, rank=told.rank, what=told.what, key=told.key, date=date_text(ts))
        for chat, sender in self._senders.items():
            if chat != self._heard or told.what != "command":  # who gave the command gets the answer
                sender.put(letter)

    def _warn(self, text: str) -> None:
        self._tell(Told(text, Rank.CRITICAL), self._now_ns())

    def _answer(self, answer: Answer) -> None:
        letter = Letter(
            text=answer.text, rank=Rank.ANSWER, what="answer", buttons=answer.buttons, edits=answer.edits
        )  # fmt: skip
        self._senders[answer.chat].put(letter)

    def _hearing(self, chat: int | None) -> None:
        self._heard = chat

    def _mute(self, chat: int, seconds: float) -> None:
        self._senders[chat].outbox.mute(now_s() + seconds)

    def _note(self, state: str, **fields: object) -> None:
        """A fact of our own, in the journal; `listen` passes over it."""
        self._journal.write("telegram", state=state, **fields)

    def _nothing_waits(self) -> bool:
        return all(sender.idle for sender in self._senders.values())

    def _sent(self) -> None:
        if self._nothing_waits():
            self._all_sent.set()


async def send_once(params: TelegramParams, token: Secret, text: str) -> list[Delivery]:
    """Send `text` to every chat (once more where it was asked to wait a little); what became of it, chat by chat.

    ConfigError when the URL is not usable.
    """
    check(params)
    async with open_api(params.url, token, 1) as api:
        return [await _send_once(api, chat, text) for chat in dict.fromkeys(params.chats)]


def check(params: TelegramParams) -> None:
    """ConfigError unless the Bot API's URL can be used; a plain one would show the token to the network."""
    try:
        check_url(params.url, ("https", "http"))
    except ValueError as error:
        raise ConfigError(f"telegram.url {params.url!r} {error}") from None


async def _send_once(api: Api, chat: int, text: str) -> Delivery:
    for again in (True, False):
        try:
            await api.send(chat, redact(text), within_s=SEND_S)
        except bot_api.Flooded as error:
            if not again or error.after_s > SEND_MOST_S:
                return Delivery(chat, False, str(error))
            await trio.sleep(machine_s(error.after_s))
        except bot_api.BadToken as error:
            return Delivery(chat, False, f"the token is not valid ({error}): get one from @BotFather")
        except TelegramError as error:
            return Delivery(chat, False, str(error))
        else:
            return Delivery(chat, True, "delivered")
    raise AssertionError("the second try returns")


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
