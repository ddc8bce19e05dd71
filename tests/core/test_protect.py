"""The stop on the exchange: where it stands, when one is asked for, what a symbol must allow."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrio.core import kernel, trailing
from tetrio.core.kernel import Command, KernelRules, State, Word
from tetrio.core.market import Holdings, Protection, Quote, Regime
from tetrio.core.money import SymbolRules
from tetrio.core.params import ExitParams, StrategyParams
from tetrio.core.protect import limit_ticks, objection, protection, stop_ticks, trail_bps

RULES = SymbolRules(
    name="ETHUSDT", base_asset="ETH", quote_asset="USDT", tick_size=Decimal("0.01"), step_size=Decimal("0.0001"),
    min_notional=Decimal(5),
)  # fmt: skip
STRATEGY = StrategyParams(fee=0.0, hard_stop=0.02)


def holding(base: int, *bids: int, quote: int = 0) -> State:
    state = kernel.on_holdings(kernel.start(STRATEGY, KernelRules.of(RULES)), Holdings(base=base, quote=quote))
    return kernel.fold(state, [Quote(bid, bid + 1) for bid in bids])[0]


@given(anchor=st.integers(1, 10**8), hard_stop=st.floats(0.0001, 1))
def test_the_stop_is_never_looser_than_the_hard_stop_and_less_than_a_tick_tighter(
    anchor: int, hard_stop: float
) -> None:
    stop = stop_ticks(anchor, hard_stop)
    exact = trailing.stop_price(attrs.evolve(STRATEGY, hard_stop=hard_stop), Regime.BASE, anchor)
    assert exact - 1e-6 * anchor <= stop
    assert stop < exact + 1 + 1e-6 * anchor
    assert stop_ticks(10_000, 0.02) == 9_800


@given(stop=st.integers(1, 10**8), slippage=st.integers(0, 10_000))
def test_the_limit_stays_within_the_slippage(stop: int, slippage: int) -> None:
    limit = limit_ticks(stop, slippage)
    assert stop * (10_000 - slippage) <= limit * 10_000
    assert 1 <= limit <= stop


def test_the_base_is_protected_while_nothing_is_armed() -> None:
    state = holding(10_000, 10_000, 9_900)
    assert protection(state) == Protection(9_800, 1)
    stopped, _ = kernel.fold(state, [Quote(9_800, 9_801)])
    assert protection(stopped) is None, "the hard stop is armed"
    assert protection(holding(0, 10_000, quote=10**9)) is None, "nothing protects the quote"


def test_a_higher_anchor_takes_the_stop_along() -> None:
    state, _ = kernel.fold(kernel.on_holdings(holding(0, 10_000, quote=10**9), Holdings(base=9_000, quote=0)),
                           [Quote(11_000, 11_001)])  # fmt: skip
    assert protection(state) == Protection(10_780, 1)


def test_a_forced_disarm_beyond_the_stop_is_not_undone_by_protection() -> None:
    stopped = holding(10_000, 10_000, 9_800)
    disarmed, _ = kernel.on_command(stopped, Command(Word.DISARM, force=True))
    assert protection(disarmed) is None
    above, _ = kernel.fold(disarmed, [Quote(9_801, 9_802)])
    assert protection(above) == Protection(9_800, 2)


def test_what_triggered_on_the_exchange_is_a_hard_stop_here() -> None:
    state, decisions = kernel.on_command(holding(10_000, 10_000, 9_850), Command(Word.STOPPED))
    assert [decision.kind for decision in decisions] == ["gate", "armed"]
    assert (state.gate_closed, state.gate_regime, state.hard_stop, state.stopped_at) == (True, Regime.BASE, True, 9800)
    again, decisions = kernel.on_command(state, Command(Word.STOPPED))
    assert (decisions, again.episode) == ([], 1)
    quote, decisions = kernel.on_command(holding(0, 10_000, quote=10**9), Command(Word.STOPPED))
    assert (decisions, quote.gate_closed) == ([], False)


def test_a_trail_keeps_within_the_filter_and_never_grows_by_rounding() -> None:
    assert trail_bps(0.00505, RULES) == 50
    assert trail_bps(0.5, RULES) == 2000
    assert trail_bps(0.0001, RULES) == 10


@pytest.mark.parametrize(
    ("protect", "rules", "words"),
    [
        (
            "stop",
            {"order_types": frozenset({"LIMIT_MAKER"})},
            "takes no STOP_LOSS_LIMIT orders; set exit.protect",
        ),
        ("trailing", {"trailing_allowed": False}, "takes no trailing stops; set exit.protect = stop"),
        ("trailing", {"min_trailing_bps": 500}, "no trailing stop nearer than 500 basis points"),
    ],
)
def test_a_symbol_that_cannot_is_refused_in_words(protect: str, rules: dict[str, Any], words: str) -> None:
    less = attrs.evolve(RULES, **rules)
    said = objection(ExitParams(protect=protect), STRATEGY, less)
    assert said is not None
    assert words in said
    assert objection(ExitParams(protect=protect), STRATEGY, RULES) is None
    assert objection(ExitParams(), STRATEGY, less) is None
