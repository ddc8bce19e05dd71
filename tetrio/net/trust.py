"""Whom TLS trusts: the machine's authorities, or, on a simulated network, those that were made for it."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import trio

_context: trio.lowlevel.RunVar[ssl.SSLContext | None] = trio.lowlevel.RunVar("trust", default=None)


def client_context() -> ssl.SSLContext:
    """What a client checks its peer's certificate and name by."""
    return _context.get() or ssl.create_default_context()


def given_context() -> ssl.SSLContext | None:
    """The same where this run has been given one; None: the machine's own authorities."""
    return _context.get()


@contextmanager
def trusting(context: ssl.SSLContext) -> Iterator[None]:
    """Trust by `context` in this trio run, for as long as the block lasts."""
    token = _context.set(context)
    try:
        yield
    finally:
        _context.reset(token)
