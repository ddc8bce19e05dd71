"""Telegram: the operator is told on a phone, and obeyed from it; beside trading, never in its way.

    story      journal facts → what is worth telling (pure)
    outbox     what waits for one chat: bounded, ranked, coalesced (pure)
    desk       commands and confirmations → answers (pure but for the bot's own `Obeys`)
    request    python-telegram-bot's HTTP, on trio
    api        the handful of Bot API methods that are used, their failures as errors of ours
    messenger  the tasks

`messenger` imports python-telegram-bot, which is heavy: it is imported only where Telegram is configured.
"""
