"""What must not be taken for certain: an absence, a last word of an earlier process, an exit that rests still."""

from __future__ import annotations

import attrs
import pytest

from tests.live.test_sleeve import NAME, RULES, make, position, report, sent
from tetrio.core import kernel
from tetrio.core.kernel import KernelRules
from tetrio.core.market import Holdings, Quote, Side
from tetrio.core.orders import OrderEvent, OrderState, OwnOrder
from tetrio.core.params import StrategyParams
from tetrio.errors import WireError
from tetrio.journal import Journal
from tetrio.live.mailbox import Mailbox
from tetrio.live.strategy import Intent, Memory, Strategy
from tetrio.status import Status

OTHERS = "tt-a1b2c3-zzzzz-1t-1"


@pytest.mark.fault("F45")
def test_an_order_taken_for_absent_that_rests_after_all_is_ours_again() -> None:
    sleeve = make()
    sent(sleeve)
    sleeve.learn(NAME, OrderEvent.LOSE)
    sleeve.learn(NAME, OrderEvent.ABSENT)
    assert sleeve.unfinished() == []
    sleeve.take_report(report("NEW"))
    (order,) = sleeve.unfinished()
    assert (order.state, order.order_id) == (OrderState.OPEN, 77)


def test_an_order_that_is_ours_again_is_as_old_as_it_was() -> None:
    """What is oldest makes way, where two rest."""
    sleeve, newer = make(), NAME[:-1] + "9"
    sent(sleeve)
    sleeve.learn(NAME, OrderEvent.LOSE)
    sleeve.learn(NAME, OrderEvent.ABSENT)
    older = sleeve.get(NAME)
    assert older is not None
    sleeve.sent(attrs.evolve(older, client_order_id=newer, state=OrderState.SENT))
    sleeve.take_report(report("NEW"))
    assert [order.client_order_id for order in sleeve.unfinished()] == [NAME, newer]


def test_the_last_word_on_an_earlier_process_s_order_is_no_second_instance() -> None:
    sleeve = make()
    sleeve.sync_ended(0)
    sleeve.take_report(report("CANCELED", client_order_id=OTHERS))
    assert sleeve.unfinished() == []


@pytest.mark.parametrize(("status", "filled"), [("NEVER_HEARD_OF", "0"), ("NEW", "0.00001"), ("NEW", "NaN")])
def test_a_report_that_cannot_be_read_is_an_error_of_the_wire(status: str, filled: str) -> None:
    sleeve = make()
    sent(sleeve)
    with pytest.raises(WireError, match="executionReport cannot be read"):
        sleeve.take_report(report(status, filled))


def test_a_balance_that_is_no_number_is_an_error_of_the_wire() -> None:
    with pytest.raises(WireError, match="outboundAccountPosition cannot be read"):
        make().take_position(position(1, ETH=("NaN", "0")))


def test_an_exit_that_was_disarmed_and_rests_still_is_not_armed_again_by_a_new_epoch() -> None:
    params, rules = StrategyParams(fee=0.0), KernelRules.of(RULES)
    kept = kernel.on_holdings(kernel.start(params, rules), Holdings(base=10_000, quote=0))
    kept, _ = kernel.one_pass(kept, Quote(260_000, 260_001, 1, 0))
    resting = OwnOrder(
        client_order_id=NAME, side=Side.SELL, reason="t", episode=1, price_ticks=260_000, qty_lots=10_000, sent_ns=0
    )
    wanted = []
    for memory in (Memory(), Memory(kept)):
        strategy = Strategy(
            RULES, params, memory, Mailbox(Intent()),
            journal=Journal([], lambda: 0), status=Status(), on_first=lambda: None, decided=lambda _: None,
        )  # fmt: skip
        strategy.hold(Holdings(base=10_000, quote=0))
        strategy.adopt([resting])
        state, _ = kernel.one_pass(strategy._state, Quote(260_000, 260_001, 2, 0))
        wanted.append(kernel.want(state) is not None)
    assert wanted == [True, False], "a fresh kernel adopts what it finds; one that remembers knows better"
