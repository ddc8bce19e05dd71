"""Letting go of a stream without losing what went wrong.

trio's `aclose` closes, and then lets others run. Where the scope around it is cancelled that raises Cancelled, which
takes the place of the error that is on its way out: the reason for which everything is being closed would be lost. So
streams are closed behind a shield, and memory channels by `with`, which does not wait, never by `async with`.
"""

from __future__ import annotations

import trio


async def hang_up(stream: trio.abc.AsyncResource) -> None:
    """Close a stream at once, without a goodbye to the peer; an error that is on its way goes on."""
    with trio.CancelScope(shield=True):
        await trio.aclose_forcefully(stream)
