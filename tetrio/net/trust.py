"""Whom TLS trusts: the machine's authorities, or, on a simulated network, those that were made for it."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import trio

_context: trio.lowlevel.RunVar[ssl.SSLContext | None] = trio.lowlevel.RunVar("trust", default=None)
_usual: trio.lowlevel.RunVar[ssl.SSLContext | None] = trio.lowlevel.RunVar("usual trust", default=None)


def client_context() -> ssl.SSLContext:
    """What a client checks its peer's certificate and name by.

    The machine's authorities are read once: that takes 1 MB, and some ms in which nothing else runs.
    """
    if (given := _context.get() or _usual.get()) is not None:
        return given
    usual = ssl.create_default_context()
    _usual.set(usual)
    return usual


@contextmanager
def trusting(context: ssl.SSLContext) -> Iterator[None]:
    """Trust by `context` in this trio run, for as long as the block lasts."""
    token = _context.set(context)
    try:
        yield
    finally:
        _context.reset(token)
