"""Where the executor is, as an onlooker sees it: to aim troubles at, and to count what was met; never to judge by."""

from __future__ import annotations

import msgspec

from tetrio.core.orders import OrderState
from tetrio.live.bot import Bot

IN_FLIGHT = {"order.place": "sent", "order.cancelReplace": "replacing", "order.cancel": "cancelling"}
"""A request that is under way -> the state it is sent in."""
ASKING = "order.status"
"""Of an order in doubt, where the bot is neither coming nor going."""
STATES = ("idle", "sent", "resting", "partial", "replacing", "cancelling", "unknown", "taking", "resyncing", "stopping")


def state_of(bot: Bot) -> str:
    """The executor's state now, as far as it is no request under way."""
    if bot.stop.is_set():
        return "stopping"
    if bot.status.phase != "ready":
        return "resyncing"
    sleeve = bot.sleeve
    unfinished = sleeve.unfinished() if sleeve is not None else []
    if any(order.state is OrderState.UNKNOWN for order in unfinished):
        return "unknown"
    if any(order.take for order in unfinished):
        return "taking"
    if len(unfinished) > 1:
        return "replacing"
    for order in unfinished:
        if order.state is OrderState.SENT:
            return "sent"
        return "partial" if order.filled_lots else "resting"
    return "idle"


def state_of_request(bot: Bot, message: str | bytes) -> str:
    """The state of the executor that has just sent this; "" where it says nothing of it."""
    now = state_of(bot)
    if now in ("resyncing", "stopping"):
        return ""  # last words, and first questions
    asked = msgspec.json.decode(message)
    method = asked.get("method")
    if asked.get("params", {}).get("timeInForce") == "IOC":
        return "taking"
    if method == ASKING:
        return now if now == "unknown" else ""
    return IN_FLIGHT.get(method, "")
