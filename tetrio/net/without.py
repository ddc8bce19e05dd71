"""Importing a library without what it takes along only because it happens to be installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(name: str) -> Iterator[None]:
    """Let the block import as if the module `name` were not installed; nothing changes where it is imported already."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # the import system's word for: there is none
    try:
        yield
    finally:
        del sys.modules[name]
