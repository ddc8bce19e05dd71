"""httpx without its command line: click, rich and pygments, where they are installed, are 5 MB that nobody uses."""

from __future__ import annotations

from tetrio.net.without import without

with without("httpx._main"):
    import httpx

__all__ = ["httpx"]
