"""Signals: what was held back while the process came up is heeded from here on."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import trio


@contextmanager
def heed(*numbers: signal.Signals) -> Iterator[AsyncIterator[int]]:
    """Receive these signals; those that were blocked, and have come meanwhile, arrive first."""
    with trio.open_signal_receiver(*numbers) as signals:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
        yield signals
