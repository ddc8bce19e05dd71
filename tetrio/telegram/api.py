"""The Bot API as the messenger uses it: six methods of python-telegram-bot, called without its asyncio set-up.

Every failure is one of the errors below, each of which says what to do about it; their texts hold no token (`request`
sees to that). An answer is believed only as far as it fits the question: a message in another chat than the one that
was written to is no proof that anything was delivered.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import attrs

from tetrio.errors import TetrioError
from tetrio.log import Secret
from tetrio.telegram.ptb import (
    Bot,
    CallbackQuery,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    LinkPreviewOptions,
    Message,
    Update,
)
from tetrio.telegram.request import ANSWER_S, STAND_IN, Refusal, Request, Unanswered

T = TypeVar("T")
MOST_TEXT = 4096  # UTF-16 code units in a message
MOST_NOTE = 200  # and in the answer to a pressed button
PAGE = 25  # updates at once: reading them holds up the loop for about 2 ms
LONGEST_HOLD_S = 3600.0
"""A longer retry_after is not believed whole: after an hour it is asked again."""
USUAL_HOLD_S = 5.0
_NO_PREVIEW = LinkPreviewOptions(is_disabled=True)
_CHAT_WORDS = ("chat not found", "kicked", "blocked", "deactivated", "not enough rights", "not a member", "upgraded")
_GONE_WORDS = ("message to edit not found", "message can't be edited", "message_id_invalid", "message identifier")


class TelegramError(TetrioError):
    """A call of the Bot API failed."""


class Unreachable(TelegramError):
    """No usable answer: try again later. `sent`: it may have been carried out all the same."""

    def __init__(self, text: str, *, sent: bool) -> None:
        super().__init__(text)
        self.sent = sent


class Flooded(TelegramError):
    """Too many requests: not before `after_s`."""

    def __init__(self, text: str, after_s: float) -> None:
        super().__init__(text)
        self.after_s = after_s


class ChatClosed(TelegramError):
    """This chat does not take our messages; others may. The operator: invite the bot, or correct the id."""


class MessageGone(TelegramError):
    """The message to be edited is no more."""


class MessageRefused(TelegramError):
    """This message is not taken, and never will be."""


class BadToken(TelegramError):
    """The operator: the token is not valid."""


class Conflict(TelegramError):
    """Another program asks for this bot's updates, or has set a webhook: a second instance, or a stolen token."""


@attrs.frozen(kw_only=True)
class Incoming:
    """One update, as far as it concerns us."""

    update_id: int
    chat: int | None = None
    private: bool = False
    user: int | None = None
    """None as well where no person speaks for himself: bots, channels, anonymous administrators."""
    text: str = ""
    """Of a new message; "" for everything that is not obeyed: edited, forwarded, by way of another bot, in channels."""
    said_at: float | None = None
    """When, s since 1970 UTC, by Telegram's clock."""
    press: str = ""
    """Id of the press, when a button of ours was pressed."""
    button: str = ""
    """What the button carries."""
    message_id: int | None = None


class Api:
    """The Bot API at one URL; `open_api` makes it."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot

    async def send(
        self, chat: int, text: str, *, buttons: Sequence[tuple[str, str]] = (), quiet: bool = False, within_s: float
    ) -> int:
        """Write a message of plain text; its id. `buttons` are (label, what it carries)."""
        told = await _called(
            self._bot.send_message(
                chat,
                cut(text),
                reply_markup=_keyboard(buttons),
                disable_notification=quiet,
                link_preview_options=_NO_PREVIEW,
                read_timeout=within_s,
            )
        )
        return _proven(told, chat)

    async def edit(self, chat: int, message_id: int, text: str, *, within_s: float) -> None:
        """Replace a message's text and take its buttons away; MessageGone when it was deleted."""
        try:
            await _called(
                self._bot.edit_message_text(
                    cut(text), chat, message_id, link_preview_options=_NO_PREVIEW, read_timeout=within_s
                )
            )
        except MessageRefused as error:
            if "not modified" in str(error).lower():
                return  # it reads so already: an earlier edit had got through
            if any(words in str(error).lower() for words in _GONE_WORDS):
                raise MessageGone(str(error)) from None
            raise

    async def note(self, press: str, text: str) -> None:
        """Answer a pressed button with a line that floats for a moment."""
        await _called(self._bot.answer_callback_query(press, cut(text, MOST_NOTE), read_timeout=ANSWER_S))

    async def updates(self, offset: int | None, wait_s: int) -> list[Incoming]:
        """The next updates; the call lasts up to `wait_s` s when there are none."""
        found = await _called(
            self._bot.get_updates(
                offset=offset,
                limit=PAGE,
                timeout=wait_s,
                allowed_updates=["message", "callback_query"],
                read_timeout=ANSWER_S,
            )
        )
        return [_incoming(update) for update in found]

    async def name(self) -> str:
        """The bot's user name, without the @."""
        me = await _called(self._bot.get_me(read_timeout=ANSWER_S))
        return me.username if isinstance(me.username, str) else ""

    async def drop_webhook(self) -> None:
        """Let updates come by polling; what has been waiting is kept."""
        await _called(self._bot.delete_webhook(read_timeout=ANSWER_S))


@asynccontextmanager
async def open_api(url: str, token: Secret, connections: int) -> AsyncIterator[Api]:
    """The Bot API at `url`; connections are made when needed, and closed at the end."""
    request, poll = Request(url, token, connections), Request(url, token, 1)
    try:
        # not `async with Bot`: it would start asyncio's gather; the calls used here need none of what it sets up
        yield Api(Bot(STAND_IN, base_url=f"{url.rstrip('/')}/bot", request=request, get_updates_request=poll))
    finally:
        await request.shutdown()
        await poll.shutdown()


def cut(text: str, most: int = MOST_TEXT) -> str:
    """`text` within Telegram's limit, which counts UTF-16 code units; never empty, which is refused."""
    units = text.encode("utf-16-le", "replace")
    if len(units) > 2 * most:
        return units[: 2 * (most - 1)].decode("utf-16-le", "ignore") + "…"
    return text if text.strip() else "–"


async def _called(call: Awaitable[T]) -> T:
    """What `call` gives; its failure as one of ours, without its origin, which may hold what nobody should read."""
    try:
        return await call
    except Unanswered as error:
        failure: TelegramError = Unreachable(str(error), sent=error.sent)
    except Refusal as error:
        failure = _failure(error)
    except Exception as error:  # the library checks no answer: a lie raises whatever it happens to raise
        failure = Unreachable(f"an answer that cannot be read ({type(error).__name__})", sent=True)
    raise failure


def _failure(error: Refusal) -> TelegramError:
    text = error.text.removeprefix("Bad Request: ").removeprefix("Forbidden: ")
    match error.code:
        case 429:
            return Flooded(text, min(error.retry_after_s or USUAL_HOLD_S, LONGEST_HOLD_S))
        case 401 | 404:
            return BadToken(text)
        case 409:
            return Conflict(text)
    if error.moved_to is not None:
        return ChatClosed(f"the group has become chat {error.moved_to}: put that id into [telegram] chats")
    if error.code == 403 or any(words in text.lower() for words in _CHAT_WORDS):
        return ChatClosed(text)
    if error.code == 400:
        return MessageRefused(text)
    return Unreachable(f"{error.code} {text}", sent=False)


def _proven(told: Message, chat: int) -> int:
    """The id of a message that was written to `chat`; Unreachable when the answer speaks of something else."""
    found = getattr(told, "message_id", None)
    if not isinstance(found, int) or isinstance(found, bool) or told.chat.id != chat:
        raise Unreachable("an answer about another message than was sent", sent=True)
    return found


def _keyboard(buttons: Sequence[tuple[str, str]]) -> InlineKeyboardMarkup | None:
    if not buttons:
        return None
    return InlineKeyboardMarkup([[InlineKeyboardButton(label, callback_data=carries) for label, carries in buttons]])


def _incoming(update: Update) -> Incoming:
    try:
        if update.callback_query is not None:
            return _press(update.update_id, update.callback_query)
        if update.message is not None:
            return _message(update.update_id, update.message)
    except (AttributeError, TypeError, ValueError, OverflowError):
        # the library checks no shapes: a message without a chat is found out by looking; nobody said anything then
        return Incoming(update_id=update.update_id)
    return Incoming(update_id=update.update_id)  # an edited message, a channel's post, or what could not be read


def _press(update_id: int, query: CallbackQuery) -> Incoming:
    person, message = query.from_user, query.message
    return Incoming(
        update_id=update_id,
        chat=message.chat.id if message else None,
        private=message is not None and message.chat.type == "private",
        user=None if person.is_bot else person.id,
        press=query.id,
        button=query.data or "",
        message_id=message.message_id if message else None,
    )


def _message(update_id: int, message: Message) -> Incoming:
    person = message.from_user
    himself = person is not None and not person.is_bot and message.sender_chat is None
    fresh = message.forward_origin is None and message.via_bot is None and message.edit_date is None
    return Incoming(
        update_id=update_id,
        chat=message.chat.id,
        private=message.chat.type == "private",
        user=person.id if himself and person is not None else None,
        text=(message.text or "") if fresh and message.chat.type in ("private", "group", "supergroup") else "",
        said_at=message.date.timestamp(),
        message_id=message.message_id,
    )
