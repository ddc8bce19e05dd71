"""What the security tests share: marked secrets on disk and an exchange that takes them, both made elsewhere."""

from __future__ import annotations

from tests.scenarios.test_secrets import exchange, place

__all__ = ["exchange", "place"]
