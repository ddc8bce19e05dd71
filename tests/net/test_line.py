"""What a market line gives out, and when it is over."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tetrio.net.line import Line

PING = b"\x89\x00"


@pytest.mark.fault("F3", "F4")
async def test_pings_are_no_messages(autojump_clock: trio.testing.MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()

    async def ping() -> None:
        while True:
            await theirs.send_all(PING)
            await trio.sleep(2)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ping)
        began = trio.current_time()
        with trio.CancelScope() as patience:
            await Line(ours, b"", "market", patience).receive(began + 5)
        assert patience.cancelled_caught
        assert trio.current_time() - began == 5
        nursery.cancel_scope.cancel()
