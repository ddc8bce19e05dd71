"""The operator's words, whoever carries them: the shell, Telegram.

One object obeys them, at once and without waiting, and says in words what becomes of a resting order. It decides
nothing about the market: words that concern the strategy go to the kernel as commands, `halt` to the executor, `stop`
to the bot.
"""

from __future__ import annotations

from typing import Protocol

import attrs

WORDS = ("pause", "resume", "exit", "flatten", "disarm", "halt", "stop")
TRADES = ("exit", "flatten")
"""Words that make an order: they ask for a confirmation where a slip of the thumb could say them."""


@attrs.frozen(kw_only=True)
class Order:
    """One word of the operator's."""

    word: str
    """One of WORDS."""
    by: str
    """Who said it, for the journal: "shell, uid 1000", "telegram, user 123"."""
    force: bool = False
    """disarm: a hard stop too."""


@attrs.frozen
class Answer:
    """What became of it."""

    done: bool
    """False: refused; `text` says why and what would work."""
    text: str
    """For a person, what happens to a resting order included."""


class Obeys(Protocol):
    """What the shell's and Telegram's side need of the bot."""

    def obey(self, order: Order) -> Answer:
        """Obey at once; never blocks, never raises for what a person may say."""
        ...

    def preview(self, word: str) -> str:
        """What `word` would do now, with side, amount and price where it trades: the text of a confirmation."""
        ...
