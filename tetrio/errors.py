"""Every error that tetrio raises, and who must act on it.

TetrioError
├── ConfigError        the operator: fix the configuration or the command line, start again      exit 4
├── MarketError        the operator: a recorded market that cannot be read                       exit 4
├── UnsafeError        the operator: key, permission, second instance; never retried             exit 6
│   └── KeyRefused       at a start never retried; once it has traded, tried again every 5 min   exit 6
├── Timeout            nobody: a deadline that the operator gave has passed                      exit 5
├── GaveUp             nobody: the watchdog restarted until it made no sense                     exit 7
├── LinkError          the watchdog: a new epoch
│   ├── LinkLost         the connection closed, or could not be made
│   │   └── LinkBarred     the operator too: the exchange will not have this address (403, 451)
│   ├── LinkStale        it is open and says nothing, or the same again and again
│   └── LinkSlow         a reader of ours fell behind: state would be wrong
├── WireError          us or Binance: bytes that cannot be read; keeps the text
├── OrderRejected      the executor: a definite no, with its code; post-only rejection is normal
└── OrderUnknown       the executor: sent, no answer; ask the exchange, never send again blindly
"""

from __future__ import annotations

from collections.abc import Iterator


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors in a group, however deep; the error itself when it is none."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from leaves(each)
    else:
        yield error


class TetrioError(Exception):
    """Root of the tree; its message is meant for a person."""

    exit_code = 1


class ConfigError(TetrioError):
    """The configuration or the command line is wrong; the message names the key and the remedy."""

    exit_code = 4


class MarketError(TetrioError):
    """A market file cannot be used; the message names the line, or what is missing."""

    exit_code = 4


class UnsafeError(TetrioError):
    """Going on would be unsafe: a key that is refused or readable by others, a second instance."""

    exit_code = 6


class KeyRefused(UnsafeError):
    """The exchange refuses the key, its signature or what it may do. `retry_after_s`: a logon was refused by it."""

    def __init__(self, text: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


class Timeout(TetrioError):
    """A deadline that the operator gave has passed."""

    exit_code = 5


class GaveUp(TetrioError):
    """The watchdog restarted epochs until it made no sense to go on."""

    exit_code = 7


class LinkError(TetrioError):
    """A connection failed in a way that ends the epoch; the watchdog starts the next one."""


class LinkLost(LinkError):
    """The connection closed, or could not be made.

    kind            what failed: dns, tcp, tls, upgrade, unseen (an upgrade that was not answered in HTTP), ban, closed,
                    misbehaved (closed with 1008), budget, or lost for the rest
    retry_after_s   where the peer named a time, or where the failure is one that must not be repeated at once
    """

    def __init__(self, text: str, *, kind: str = "lost", retry_after_s: float | None = None) -> None:
        super().__init__(text)
        self.kind, self.retry_after_s = kind, retry_after_s


class LinkBarred(LinkLost):
    """HTTP 403 or 451: a firewall or the law keeps this address out, and asking again at once makes it worse."""


class LinkStale(LinkError):
    """The connection is open, but what should beat on it has stopped."""


class LinkSlow(LinkError):
    """A reader of ours fell so far behind that what it holds would be wrong."""


class WireError(TetrioError):
    """Bytes from the wire that cannot be read; `text` keeps (the beginning of) them."""

    def __init__(self, why: str, text: str = "") -> None:
        super().__init__(f"{why}: {text[:200]!r}" if text else why)
        self.text = text


class OrderRejected(TetrioError):
    """The exchange said no, for certain. `code` is Binance's, `data` what came with it."""

    def __init__(self, code: int, msg: str, *, status: int = 400, data: object = None) -> None:
        super().__init__(f"{code} {msg}")
        self.code, self.msg, self.status, self.data = code, msg, status, data


class OrderUnknown(TetrioError):
    """A mutation was sent and its outcome is not known."""
