"""Serving a few guests beside trading: an accept loop whose cost is bounded, whatever the guests do.

What a guest may ask, and for how long, is the handler's to say; here they are counted, turned away when they are too
many, and nothing that goes wrong with one of them comes out.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import NoReturn

import trio

from tetrio.net.clock import machine_s
from tetrio.net.closing import hang_up

log = logging.getLogger(__name__)

AGAIN_S = 1.0  # after a connection that could not be accepted, such as for want of file descriptors


async def serve_few(
    listener: trio.SocketListener, handle: Callable[[trio.SocketStream], Awaitable[None]], *, most: int
) -> NoReturn:
    """Hand each connection to a task of its own that runs `handle`; until cancelled.

    most   connections at a time; one more is closed unanswered
    """
    failing = False
    async with listener, trio.open_nursery() as nursery:
        while True:
            try:
                stream = await listener.accept()
            except OSError as error:
                if not failing:
                    log.warning("connections cannot be accepted: %s", error.strerror)
                failing = True
                await trio.sleep(machine_s(AGAIN_S))
                continue
            failing = False
            if len(nursery.child_tasks) >= most:
                await hang_up(stream)
            else:
                nursery.start_soon(_attend, handle, stream)


async def _attend(handle: Callable[[trio.SocketStream], Awaitable[None]], stream: trio.SocketStream) -> None:
    try:
        await handle(stream)
    except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
        return  # the guest has gone
    except Exception:
        log.exception("a connection failed by our fault")
    finally:
        await hang_up(stream)
