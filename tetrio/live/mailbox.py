"""A mailbox that holds the latest value only, over a memory channel of size one."""

from __future__ import annotations

from typing import Generic, TypeVar

import trio

T = TypeVar("T")


class Mailbox(Generic[T]):
    """What was put last; whoever waits is woken once for any number of puts. One reader."""

    def __init__(self, value: T) -> None:
        self.value = value
        self._ring, self._rung = trio.open_memory_channel[None](1)

    def put(self, value: T) -> None:
        """Overwrite the value and wake the reader."""
        self.value = value
        self.ring()

    def ring(self) -> None:
        """Wake the reader without a new value: something else that it looks at has changed."""
        try:
            self._ring.send_nowait(None)
        except trio.WouldBlock:
            return  # it has been rung already and will look

    async def wait(self) -> None:
        """Until the next put or ring since the last wait."""
        await self._rung.receive()
