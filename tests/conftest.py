"""What the whole suite needs."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Let SIGINT end the processes that tests start, also where the suite runs in a shell's background.

    There a shell has it ignored, and whatever is started inherits that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
