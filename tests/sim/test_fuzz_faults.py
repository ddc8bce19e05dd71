"""Requests while anything goes wrong: once it is healed, the exchange answers, and the books add up."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from typing import Any

import trio
from hypothesis import given
from hypothesis import strategies as st
from trio_websocket import ConnectionClosed

from tests.sim.test_fuzz import Watched, fuzz, orders, run
from tetrio.sim.fault.faults import FaultError

Step = str | tuple[str, dict[str, Any]]
"""A fault to arm, or a request."""


def spec(template: str, *choices: Sequence[str] | range) -> st.SearchStrategy[str]:
    """Faults of one verb, each argument one of its choices."""
    return st.builds(template.format, *map(st.sampled_from, choices))


WHERE = ("all", "rest", "ws_api", "stream", "sbe", "ws_api#2", "stream#1")
EVENTS = ("*", "executionReport", "@*", "@trade")
faults = st.one_of(
    spec("stall:{}:{}s:{}", WHERE, range(1, 90), ("in", "out", "both")),
    spec("half-open:{}:{}s", WHERE, range(1, 90)),
    spec("cut:{}:{}:{}:{}:3", WHERE, ("in", "out"), range(1, 2000), ("rst", "fin")),
    spec("refuse:{}:{}:9s", WHERE, ("rst", "fin", "garbage", "503", "429")),
    spec("delay:{}:{}ms:both:30s", WHERE, range(1, 9000)),
    spec("dribble:{}:{}:10ms:30s", WHERE, range(1, 40)),
    spec("kill:{}:{}s", WHERE, range(20)),
    spec("{}:{}", ("disconnect", "no-ping", "no-pong", "server-shutdown"), WHERE),
    spec("{}:{}:2", ("lose-request", "lose-reply"), ("order.*", "*", "ping")),
    spec("fail:{}:{}:{}:2", ("order.place", "*"), ("-1007", "-1000", "503-unknown"), ("executed", "not")),
    spec("{}:{}:3", ("lose-event", "duplicate-event", "reorder-events"), EVENTS),
    spec("delay-event:{}:{}s:2", EVENTS, range(1, 60)),
    spec("garble-event:{}:{}:2", EVENTS, ("truncated", "utf8", "binary", "deep", "crossed", "zero")),
    st.sampled_from(["replica-lag:2s:20s", "halt:3s", "break:3s", "cancel-only:3s", "resume", "external-lock:ETH:0.5"]),
    st.sampled_from(["change-filters:min_notional=10", "clock-offset:-3s:5s", "ban:memory:5s"]),
)
asks = st.tuples(st.sampled_from(["order.place", "order.cancelReplace"]), orders())


async def suffer(watched: Watched, steps: Sequence[Step]) -> None:
    """Ask while things go wrong; then heal them."""
    exchange = watched.served
    mishaps = exchange.exchange.mishaps
    client, line = await exchange.trader(), await exchange.line("trade", "bookTicker", "depth20")
    for number, step in enumerate(steps):
        if isinstance(step, str):
            with contextlib.suppress(FaultError):  # what cannot be armed now is told
                mishaps.arm(step)
            continue
        method, params = step
        sent = {"timestamp": exchange.now_ms()} | params
        with contextlib.suppress(ConnectionClosed), trio.move_on_after(15):
            await client.ws.send_message(json.dumps({"id": number, "method": method, "params": sent}))
            await client.ws.get_message()
        with contextlib.suppress(ConnectionClosed), trio.move_on_after(1):
            await line.ws.get_message()
    for each in mishaps.listing():
        if each["state"] != "over":
            mishaps.heal(int(str(each["id"])))
    await trio.sleep(150)  # bans pass, and connections that nobody answers for are given up


@fuzz(80)
@given(st.lists(faults | asks, min_size=2, max_size=12))
def test_requests_while_anything_goes_wrong(steps: list[Step]) -> None:
    run(suffer, steps)
