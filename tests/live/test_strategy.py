"""The strategy task by trades: what reaches the kernel, and what is told of it."""

from __future__ import annotations

import io
import json
import random
from decimal import Decimal
from typing import Any

import pytest
import trio

from tests.core.test_refold import RULES, fold, sale
from tetrio.core.kernel import Command, Word
from tetrio.core.market import Kline, Quote, Reason, Regime, Side, Trade
from tetrio.core.orders import OrderState, OwnOrder
from tetrio.core.purse import Flow, OwnTrade
from tetrio.core.refold import Refold
from tetrio.core.state import remembered
from tetrio.errors import LinkStale
from tetrio.journal import Journal, StreamSink
from tetrio.live.feed import History, Item
from tetrio.live.mailbox import Mailbox
from tetrio.live.reckoning import Heard
from tetrio.live.strategy import Inbound, Intent, Memory, Ring, Strategy
from tetrio.status import Status
from tetrio.wire.stream import KlineUpdate


class Rig:
    """A strategy over a fold."""

    def __init__(self, refold: Refold | None = None) -> None:
        self.memory = Memory(fold=refold or fold())
        self.text = io.StringIO()
        self.ready = 0
        self.places = list[tuple[Word, int]]()
        self.intents = Mailbox(Intent())
        assert self.memory.fold is not None
        self.fold = self.memory.fold
        self.strategy = Strategy(
            RULES, self.fold.state.params, self.memory, self.intents,
            journal=Journal([StreamSink(self.text)], lambda: 0), status=Status(), on_first=self._first,
            decided=lambda _: None, obeyed=lambda command, number, _: self.places.append((command.word, number)),
        )  # fmt: skip

    def _first(self) -> None:
        self.ready += 1

    async def take(self, *items: Item | Heard) -> None:
        """One after the other, as they are told."""
        for item in items:
            send, inbox = trio.open_memory_channel[Inbound](1)
            with send:
                if isinstance(item, OwnTrade | Flow | Command):
                    self.memory.heard.append(item)
                    send.send_nowait(Ring())
                else:
                    send.send_nowait(item)
            await self.strategy.run(inbox)

    def facts(self, kind: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.text.getvalue().splitlines()]
        return [line for line in lines if line["kind"] == kind]


def trade(number: int, price: int = 200_000) -> Trade:
    return Trade(price, 1, number, number * 1000, buyer_is_maker=True)


@pytest.mark.fault("F89")
async def test_kline_frames_in_whatever_order_change_nothing_by_trades() -> None:
    frames = [
        KlineUpdate("1m", Kline(at * 60_000, 1.0, 900_000.0, 1.0, 2.0, closed), at)
        for at in range(3)
        for closed in (False, True)
    ]
    trades = [trade(number, 200_000 + 40 * number) for number in range(1, 90)]
    plain, mixed = Rig(), Rig()
    await plain.take([*trades])
    chance, batch = random.Random(1), list[Any]()
    for each in trades:
        batch += [each, *chance.sample(frames, 2)]
    await mixed.take(batch, History([Kline(0, 1.0, 1.0, 1.0, 1.0)]))
    assert remembered(mixed.fold.state) == remembered(plain.fold.state)


async def test_it_is_ready_with_a_state_and_a_market_not_before() -> None:
    rig = Rig()
    await rig.take([Quote(200_000, 200_001, 1, 0)])
    assert rig.ready == 0, "no trade has been seen"
    await rig.take([trade(1)], [trade(2)])
    assert rig.ready == 1
    again = Rig(rig.fold)
    await again.take([Quote(200_000, 200_001, 1, 0)])
    assert again.ready == 1, "the fold knows where it stands"


async def test_decisions_that_are_taken_back_are_told() -> None:
    rig = Rig()
    await rig.take([trade(1), trade(2), trade(3, 200_100), trade(4, 199_000)])
    assert rig.intents.value.want is not None
    await rig.take(sale(3, 200_100))
    assert [fact["taken_back"] for fact in rig.facts("rebuilt")] == ["gate", "armed"]
    assert [fact["price"] for fact in rig.facts("regime")] == ["2000.00", "2001.00"]
    assert rig.intents.value.want is None


async def test_an_own_trade_that_is_too_late_ends_the_epoch_and_the_next_one_rebuilds() -> None:
    rig = Rig(fold(kept=2))
    for number in range(1, 9):
        await rig.take([trade(number)])
    with pytest.raises(LinkStale, match="own trade 2"):
        await rig.take(sale(2))
    assert rig.memory.fold is None
    assert rig.memory.known.newest == -1


async def test_words_that_change_something_are_remembered_with_their_places() -> None:
    rig = Rig()
    await rig.take([trade(1), trade(2)], Command(Word.PAUSE), Command(Word.PAUSE), [trade(3)], Command(Word.DISARM))
    assert rig.places == [(Word.PAUSE, 2)]


async def test_a_flow_is_held_from_now_on() -> None:
    rig = Rig()
    await rig.take([trade(1)], Flow(base=Decimal("0.25")))
    assert (rig.fold.state.holdings.base, rig.fold.state.regime) == (7500, Regime.BASE)


async def test_of_what_rests_only_the_operators_exit_is_adopted_by_a_state_that_knows() -> None:
    rig = Rig()
    await rig.take([trade(1)])
    orders = [
        OwnOrder(
            client_order_id=f"tt-0-0-1{letter}-1", side=Side.SELL, reason=letter, episode=1, price_ticks=200_100,
            qty_lots=5000, sent_ns=0, state=OrderState.OPEN,
        )
        for letter in "tm"
    ]  # fmt: skip
    rig.strategy.adopt(orders)
    assert not rig.fold.state.armed
    rig.strategy.adopt_manual(orders)
    assert rig.fold.state.maker is Reason.MANUAL


async def test_what_an_earlier_epoch_heard_is_taken_in_and_words_once_it_is_known_where_it_stands() -> None:
    rig = Rig()
    rig.memory.heard += [Flow(base=Decimal("0.25")), Command(Word.PAUSE), Flow(base=Decimal("0.5"))]
    await rig.take([Quote(200_000, 200_001, 1, 0)])
    assert (rig.ready, [type(each) for each in rig.memory.heard]) == (0, [Command, Flow]), "no trade has been seen"
    await rig.take([trade(1)])
    assert (rig.ready, rig.places, len(rig.memory.heard)) == (1, [(Word.PAUSE, 1)], 0)
    assert rig.fold.state.holdings.base == 17_500 - 10_000 + fold().state.holdings.base
