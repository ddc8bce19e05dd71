"""Importing a library without what it takes along only because it happens to be installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Let the block import as if these modules were not installed; for those imported already nothing changes."""
    absent = [name for name in names if name not in sys.modules]
    for name in absent:
        sys.modules[name] = None  # type: ignore[assignment]  # the import system's word for: there is none
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]
