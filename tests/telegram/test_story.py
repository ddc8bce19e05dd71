"""What a chat is told of a stop that rests on the exchange: nothing while it waits, one message once it is an exit."""

from __future__ import annotations

from typing import Any

from tetrio.journal import Fact
from tetrio.telegram.story import Story

NAME = "tt-a1b2c3-k3x9z-2h-5"


def order(state: str, **fields: Any) -> Fact:
    told = {"client_order_id": NAME, "side": "SELL", "qty": "1", "price": "2570.00", "filled": "0", "state": state}
    return Fact(0, "order", {**told, "stop": "2580.00", **fields})


def fill(qty: str) -> Fact:
    return Fact(0, "fill", {"client_order_id": NAME, "side": "SELL", "qty": qty, "price": "2579.00"})


def test_a_stop_that_waits_is_no_news() -> None:
    story = Story()
    for state in ("sent", "open", "canceled"):
        assert story.take(order(state, waits=True)) == []


def test_what_a_stop_sells_is_told_as_the_hard_stop_that_it_is() -> None:
    story = Story()
    facts = [
        order("open", waits=True), order("open"), fill("0.4"),
        Fact(0, "armed", {"episode": 2, "reason": "h", "bid": "2579.00", "ask": "2579.01"}), fill("0.6"),
    ]  # fmt: skip
    told = [message for fact in facts for message in story.take(fact)]
    assert len({message.key for message in told}) == 1, "one message, edited"
    assert "filled 1 at 2579" in told[-1].text
    assert "earlier process" not in told[-1].text
