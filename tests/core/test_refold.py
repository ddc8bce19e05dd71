"""The fold over what happened, whatever the order in which it is told."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrio.core import kernel
from tetrio.core.kernel import Command, KernelRules, Word
from tetrio.core.market import Fill, Kline, Quote, Regime, Side
from tetrio.core.money import SymbolRules
from tetrio.core.params import GainScale, StrategyParams
from tetrio.core.purse import Flow, OwnTrade, Purse, changes
from tetrio.core.refold import Refold, Said, TooLate
from tetrio.core.state import remembered

RULES = SymbolRules(
    name="ETHFDUSD", base_asset="ETH", quote_asset="FDUSD", tick_size=Decimal("0.01"), step_size=Decimal("0.0001"),
    min_notional=Decimal(5),
)  # fmt: skip
PARAMS = StrategyParams(
    reference="trade", fee=0.0, buffer=0.0, min_gain_base=0.002, min_gain_quote=0.002, hard_stop=0.004,
    gain_scale_base=GainScale(0.005), donchian_window=4, donchian_shift=1, donchian_gain=0.0, kline_history=20,
)  # fmt: skip
PRICE = 200_000
SOLD = Decimal("0.5") * 2000


def purse(base: str = "0.5", quote: str = "1") -> Purse:
    return Purse(rules=RULES, base=Decimal(base), quote=Decimal(quote))


def fold(start: Purse | None = None, *, kept: int = 10_000) -> Refold:
    state = kernel.start(PARAMS, KernelRules.of(RULES), [Kline(-60_000, PRICE, PRICE, PRICE, PRICE)])
    return Refold(state, start or purse(), kept=kept)


def trade(number: int, price: int = PRICE) -> Quote:
    return Quote(price, price, number, number * 1_000_000_000)


def sale(number: int, price: int = PRICE, base: str = "-0.5") -> OwnTrade:
    amount = Decimal(base)
    return OwnTrade(
        trade_id=number, order_id=1, price=price, at_ms=number * 1000, base=amount,
        quote=-amount * price * RULES.tick_size,
    )  # fmt: skip


# -- what own trades do ----------------------------------------------------------------------------


@pytest.mark.fault("F75", "F76")
@pytest.mark.parametrize(
    ("side", "asset", "base", "quote"),
    [
        (Side.SELL, "FDUSD", "-0.5000", "999.999"),
        (Side.SELL, "BNB", "-0.5000", "1000"),
        (Side.BUY, "ETH", "0.4990", "-1000"),
        (Side.BUY, "BNB", "0.5000", "-1000"),
    ],
)
def test_a_commission_is_taken_from_what_it_is_paid_in(side: Side, asset: str, base: str, quote: str) -> None:
    fill = Fill(
        order_id=1, client_order_id="", trade_id=7, side=side, price=Decimal(2000), qty=Decimal("0.5"),
        maker=True, commission="0.001", commission_asset=asset, at_ms=0,
    )  # fmt: skip
    own = OwnTrade.of(fill, RULES)
    assert (own.base, own.quote) == (Decimal(base), Decimal(quote))


def test_holdings_are_floored_less_the_reserve_and_remnants_add_up() -> None:
    held = Purse(rules=RULES, base=Decimal("0.50005"), quote=Decimal(0), reserve_base=Decimal("0.1"))
    assert held.holdings().base == 4000
    more = held.after(Flow(base=Decimal("0.00005")))
    assert more.holdings().base == 4001
    assert more.before(Flow(base=Decimal("0.00005"))) == held
    assert Purse(rules=RULES, base=Decimal("0.05"), quote=Decimal(0), reserve_base=Decimal("0.1")).holdings().base == 0


def test_the_trades_that_changed_the_regime_are_found_backwards() -> None:
    bought = OwnTrade(trade_id=9, order_id=2, price=PRICE, at_ms=0, base=Decimal("0.2"), quote=Decimal(-400))
    rest = OwnTrade(trade_id=11, order_id=2, price=PRICE, at_ms=0, base=Decimal("0.3"), quote=Decimal(-600))
    sold = sale(5)
    now = purse().after(sold).after(bought).after(rest)
    found = list(changes(now, [rest, bought, sold]))
    assert [(change.trade.trade_id, change.before, change.regime) for change in found] == [
        (9, Regime.QUOTE, Regime.BASE),
        (5, Regime.BASE, Regime.QUOTE),
    ]
    assert found[1].purse == purse().after(sold)


# -- places ----------------------------------------------------------------------------------------


def test_the_anchor_of_a_change_is_the_price_of_the_own_trade() -> None:
    whole = fold()
    whole.own(sale(3, 200_100))
    told = whole.trades([trade(1), trade(2), trade(3, 200_100), trade(4, 200_050)])
    assert (whole.state.regime, whole.state.anchor, whole.state.high) == (Regime.QUOTE, 200_100, 200_050)
    assert [decision.kind for decision in told.decisions] == ["regime", "regime"]


def test_an_own_trade_that_the_public_is_never_told_of_is_folded_all_the_same() -> None:
    whole = fold()
    whole.own(sale(3, 200_100))
    whole.trades([trade(1), trade(2), trade(4, 200_050)])
    assert (whole.state.anchor, whole.last_id) == (200_100, 4)


def test_an_own_trade_told_late_takes_back_what_was_decided_since() -> None:
    late = fold()
    late.trades([trade(1), trade(2), trade(3, 200_100), trade(4, 199_000)])
    assert kernel.view(late.state).gate
    told = late.own(sale(3, 200_100))
    assert [decision.kind for decision in told.retracted] == ["gate", "armed"]
    assert [decision.kind for decision in told.decisions] == ["regime"]
    assert not kernel.view(late.state).gate
    assert (late.state.regime, late.state.anchor) == (Regime.QUOTE, 200_100)


def test_what_lies_before_all_that_is_kept_is_too_late() -> None:
    short = fold(kept=3)
    for number in range(1, 10):
        short.trades([trade(number)])
    with pytest.raises(TooLate, match="own trade 2"):
        short.own(sale(2))
    assert short.own(sale(9)).decisions != []


def test_trades_that_come_twice_are_folded_once() -> None:
    whole = fold()
    whole.trades([trade(1), trade(2, 200_500)])
    state = whole.state
    assert whole.trades([trade(1), trade(2, 150_000)]).decisions == []
    assert whole.state is state
    assert whole.own(sale(5)).decisions == whole.own(sale(5)).decisions == []
    assert whole.total == purse().after(sale(5))


def test_a_word_is_obeyed_where_it_was_said() -> None:
    spoken = fold()
    spoken.trades([trade(1), trade(2)])
    spoken.say(Command(Word.PAUSE))
    spoken.trades([trade(3, 190_000)])
    spoken.say(Command(Word.RESUME))
    spoken.trades([trade(4, 199_900)])
    again = fold()
    again.follow([Said(2, 2000, Command(Word.PAUSE)), Said(3, 3000, Command(Word.RESUME))])
    again.trades([trade(1), trade(2), trade(3, 190_000), trade(4, 199_900)])
    assert remembered(again.state) == remembered(spoken.state)
    assert not again.state.gate_closed


def test_a_word_after_the_last_trade_is_obeyed_at_the_end() -> None:
    whole = fold()
    whole.follow([Said(2, 2000, Command(Word.EXIT))])
    whole.trades([trade(1), trade(2)])
    assert not whole.state.manual
    whole.said()
    assert whole.state.manual


def test_a_flow_stays_where_it_came_when_the_fold_goes_back() -> None:
    late = fold()
    late.trades([trade(1), trade(2)])
    late.flow(Flow(base=Decimal("0.1")))
    late.trades([trade(3)])
    late.own(sale(1))
    assert late.purse == purse().after(sale(1)).after(Flow(base=Decimal("0.1")))
    assert late.state.regime is Regime.BASE, "a tenth is enough to sell"


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 10**6), late=st.booleans())
def test_the_order_in_which_things_are_told_has_no_part_in_the_state(seed: int, late: bool) -> None:
    chance = random.Random(seed)
    price, public = PRICE, list[Quote]()
    for number in range(1, 60):
        price += round(chance.gauss(0, 300))
        public.append(trade(number, price))
    own, held = list[OwnTrade](), purse()
    places = sorted(chance.sample(public[5:], 3), key=lambda each: each.update_id)
    for place, part in zip(places, ("-0.5", "0.2", "0.25"), strict=True):  # sold, and bought back in two parts
        own.append(sale(place.update_id, place.bid, part))
        held = held.after(own[-1])
    first = fold()
    for trade_of_ours in own:
        first.own(trade_of_ours)
    first.trades(public)
    told = [*own]
    other = fold()
    at = 0
    while at < len(public) or told:
        if told and (at == len(public) or chance.random() < (0.02 if late else 0.3)):
            other.own(told.pop(chance.randrange(len(told))))
            continue
        size = chance.randrange(1, 9)
        other.trades(public[at : at + size])
        at += size
    assert remembered(other.state) == remembered(first.state)
    assert other.purse == first.purse == held
