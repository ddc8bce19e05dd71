"""httpx, without its command line (click, rich, pygments) and without HTTP/2.

It would import them wherever they are installed: 6 MB that nobody uses here.
"""

from __future__ import annotations

from tetrio.net.without import without

with without("httpx._main", "h2"):
    import httpcore  # noqa: F401 - httpx imports it later, when nothing is hidden any more
    import httpx

__all__ = ["httpx"]
