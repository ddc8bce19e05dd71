"""What is used of python-telegram-bot, without the cryptography that it would import for Telegram Passport alone."""

from __future__ import annotations

from tetrio.net.without import without

with without("cryptography"):
    from telegram import (
        Bot,
        CallbackQuery,
        InlineKeyboardButton,
        InlineKeyboardMarkup,
        LinkPreviewOptions,
        Message,
        Update,
    )
    from telegram.error import TelegramError
    from telegram.request import BaseRequest, RequestData

__all__ = [
    "BaseRequest", "Bot", "CallbackQuery", "InlineKeyboardButton", "InlineKeyboardMarkup", "LinkPreviewOptions",
    "Message", "RequestData", "TelegramError", "Update",
]  # fmt: skip
