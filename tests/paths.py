"""Where the tests find the data that is shared with the project and not part of it."""

from __future__ import annotations

from pathlib import Path

SHARED = Path(__file__).resolve().parent.parent.parent / "shared"
