"""The session that requests go over: logged on, and able to move to a fresh link without a break.

Whoever asks goes by the session and need not know which link it is on. A mutation holds `turn`; so does a move, for as
long as it takes the new link to learn the account: no mutation is under way across it.
"""

from __future__ import annotations

from collections.abc import Mapping

import trio

from tetrio.latency import Written
from tetrio.live.link import REPLY_S, Link
from tetrio.wire.request import Reply


class Session:
    """Requests over the link that counts."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.turn = trio.Lock()
        self.leaving = trio.Event()
        """The exchange has said that it is about to cut the link."""

    @property
    def alive(self) -> bool:
        """Whether requests can still be sent."""
        return self.link.alive

    async def request(
        self,
        method: str,
        params: Mapping[str, object] | None = None,
        *,
        timed: bool = True,
        within_s: float = REPLY_S,
        written: Written = lambda now: None,
    ) -> Reply:
        """As `Link.request`, over the link of now."""
        return await self.link.request(method, params, timed=timed, within_s=within_s, written=written)

    async def prove(self) -> None:
        """As `Link.prove`, over the link of now."""
        await self.link.prove()

    def leave(self, link: Link) -> None:
        """The exchange has said on `link` that it is about to cut it."""
        if not link.retired.is_set():
            self.leaving.set()

    def move(self, link: Link) -> Link:
        """From now on requests go over `link`; the one of before."""
        old, self.link = self.link, link
        return old
