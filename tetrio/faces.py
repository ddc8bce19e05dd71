"""The records [log], [telegram], [metrics] and [control]: how tetrio is watched and spoken to.

Plain facts; `tetrio.config` fills and checks them, `tetrio.app` acts on them. All of it is beside trading: whatever is
set here, and whatever becomes of it, no order changes.
"""

from __future__ import annotations

import attrs

from tetrio.core.params import setting


@attrs.frozen(kw_only=True)
class LogParams:
    """[log]: what is written on standard error."""

    level: str = setting(
        "info", "least level of diagnostics that is written", choices=("debug", "info", "warning", "error")
    )
    format: str = setting(
        "auto", "JSON lines or text for people; auto: text on a terminal only", choices=("auto", "json", "text")
    )
    queue: int = setting(10_000, "lines that may wait to be written before one is counted as lost", low=100, high=10**6)


@attrs.frozen(kw_only=True)
class TelegramParams:
    """[telegram]: messages to the operator's phone, and commands from it."""

    token_file: str = setting("", 'path of the file that holds the bot\'s token; "" is no Telegram')
    chats: tuple[int, ...] = setting((), "ids of the chats that are told, and may command; none means nobody")
    users: tuple[int, ...] = setting((), "ids of the users whose commands are obeyed in those chats; none means nobody")
    url: str = setting("https://api.telegram.org", "URL of the Bot API")
    queue: int = setting(200, "messages that may wait before the less important ones are dropped", low=10, high=10_000)


@attrs.frozen(kw_only=True)
class MetricsParams:
    """[metrics]: numbers for Prometheus."""

    listen: str = setting("", 'HOST:PORT of /metrics, /healthz and /readyz, on loopback; "" is none')


@attrs.frozen(kw_only=True)
class ControlParams:
    """[control]: commands from the shell, and what is remembered of them."""

    socket: str = setting(
        "auto", "path of the local socket that `tetrio status` and the other commands use; auto, or off"
    )
    state: str = setting(
        "auto", "directory of the file that remembers a pause or a halt over a restart; auto, or off (sim: always off)"
    )
