"""Own orders: the table, the ids, and the one action that `plan` chooses."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrio.core.market import Protection, Quote, Reason, Side, Want
from tetrio.core.money import SymbolRules
from tetrio.core.orders import (
    Cancel,
    Names,
    OrderEvent,
    OrderName,
    OrderState,
    OwnOrder,
    Place,
    Replace,
    Sight,
    Wait,
    account_tag,
    bound_ticks,
    escalates,
    event_of,
    plan,
    remnant,
)
from tetrio.core.params import ExitParams

RULES = SymbolRules(
    name="ETHUSDT", base_asset="ETH", quote_asset="USDT", tick_size=Decimal("0.01"), step_size=Decimal("0.0001"),
    min_notional=Decimal(5),
)  # fmt: skip
SELL = Want(Side.SELL, Reason.TAKE_PROFIT, 3)
BUY = Want(Side.BUY, Reason.TAKE_PROFIT, 4)
QUOTE = Quote(260_000, 260_010)
SECOND = 1_000_000_000


def order(**changed: Any) -> OwnOrder:
    made = OwnOrder(
        client_order_id="tt-a1b2c3-k3x9z-3t-1", side=Side.SELL, reason="t", episode=3, price_ticks=260_010,
        qty_lots=10_000, sent_ns=0, order_id=7, state=OrderState.OPEN,
    )  # fmt: skip
    return attrs.evolve(made, **changed)


def sight(**changed: Any) -> Sight:
    seen = Sight(want=SELL, quote=QUOTE, live=None, base_lots=10_000, quote_tick_lots=0, now_ns=100 * SECOND)
    return attrs.evolve(seen, **changed)


def decide(params: ExitParams | None = None, **changed: Any) -> Place | Replace | Cancel | Wait:
    return plan(sight(**changed), params or ExitParams(), RULES)


class TestNames:
    def test_are_known_again_by_their_tag_only(self) -> None:
        tag = account_tag("key", "ETHUSDT")
        name = Names(tag, "k3x9z").next(12, "h")
        assert OrderName.parse(name, tag) == OrderName(tag, "k3x9z", 12, "h", 1)
        assert OrderName.parse(name, account_tag("other", "ETHUSDT")) is None
        assert OrderName.parse("web_4711", tag) is None

    def test_fit_the_exchange_and_never_repeat(self) -> None:
        names = Names("a1b2c3", "k3x9z")
        made = [names.next(999_999_999, "t") for _ in range(1000)]
        assert len(set(made)) == 1000
        assert all(re.fullmatch(r"[a-zA-Z0-9-_]{1,36}", name) for name in made)
        assert len(str(OrderName("a1b2c3", "k3x9z", 99_999_999, "t", 99_999_999))) <= 36


class TestTable:
    @given(st.lists(st.tuples(st.sampled_from(OrderEvent), st.integers(0, 10)), max_size=12))
    def test_final_orders_stay_final_and_fills_only_grow(self, told: list[tuple[OrderEvent, int]]) -> None:
        now = order(qty_lots=10, state=OrderState.SENT)
        for event, filled in told:
            try:
                after = now.after(event, filled_lots=filled)
            except ValueError:
                continue  # not in the table: nothing changed
            assert after.filled_lots >= now.filled_lots
            assert after.filled_lots <= after.qty_lots
            assert not now.state.final or after.state is now.state
            now = after

    def test_a_new_after_the_fill_changes_nothing(self) -> None:
        filled = order().after(OrderEvent.FILL_ALL)
        assert filled.after(OrderEvent.ACCEPT) == filled
        assert filled.filled_lots == 10_000

    def test_a_late_fill_of_a_cancelled_order_is_booked(self) -> None:
        cancelled = order().after(OrderEvent.CANCEL)
        late = cancelled.after(OrderEvent.FILL, filled_lots=4)
        assert (late.state, late.filled_lots) == (OrderState.CANCELED, 4)

    def test_what_the_table_lacks_raises(self) -> None:
        with pytest.raises(ValueError, match="cannot happen"):
            order().after(OrderEvent.ABSENT)
        with pytest.raises(ValueError, match="10001 lots filled of 10000"):
            order().after(OrderEvent.FILL, filled_lots=10_001)

    def test_an_unknown_status_raises(self) -> None:
        assert event_of("EXPIRED_IN_MATCH") is OrderEvent.EXPIRE
        with pytest.raises(ValueError, match="FROZEN"):
            event_of("FROZEN")


class TestPlacing:
    def test_joins_the_best_price_of_its_own_side(self) -> None:
        assert decide() == Place(Side.SELL, "t", 3, 260_010, 10_000)
        bought = decide(want=BUY, base_lots=0, quote_tick_lots=260_000 * 9_999 + 5)
        assert bought == Place(Side.BUY, "t", 4, 260_000, 9_999)

    def test_improves_by_a_tick_where_there_is_room(self) -> None:
        params = ExitParams(chase="improve")
        assert decide(params) == Place(Side.SELL, "t", 3, 260_009, 10_000)
        assert decide(params, quote=Quote(260_009, 260_010)) == Place(Side.SELL, "t", 3, 260_010, 10_000)

    def test_does_not_outbid_itself(self) -> None:
        params = ExitParams(chase="improve")
        assert isinstance(decide(params, live=order(price_ticks=260_010)), Wait)

    def test_touches_the_other_side_when_told(self) -> None:
        assert decide(ExitParams(chase="touch")) == Place(Side.SELL, "t", 3, 260_000, 10_000)

    def test_needs_a_book_and_enough_to_sell(self) -> None:
        assert isinstance(decide(quote=None), Wait)
        assert isinstance(decide(base_lots=19), Wait), "19 lots are worth 4.94"
        assert decide(base_lots=20) == Place(Side.SELL, "t", 3, 260_010, 20)

    def test_waits_while_held_back(self) -> None:
        assert decide(not_before_ns=101 * SECOND, why_not="backing off") == Wait("backing off", 101 * SECOND)

    def test_caps_one_exit(self) -> None:
        assert decide(max_notional_tick_lots=260_010 * 500) == Place(Side.SELL, "t", 3, 260_010, 500)


class TestRequoting:
    def test_replaces_when_the_target_has_moved(self) -> None:
        live = order()
        moved = decide(live=live, quote=Quote(260_020, 260_030))
        assert moved == Replace(live, Place(Side.SELL, "t", 3, 260_030, 10_000), only_if_new=False)

    def test_rests_while_the_target_is_near(self) -> None:
        assert isinstance(decide(live=order()), Wait)
        assert isinstance(decide(ExitParams(requote_ticks=5), live=order(), quote=Quote(260_000, 260_014)), Wait)

    def test_keeps_its_interval(self) -> None:
        said = decide(live=order(), quote=Quote(260_020, 260_030), last_sent_ns=100 * SECOND - 1)
        assert said == Wait("re-quoted a moment ago", 100 * SECOND - 1 + 250_000_000)

    def test_takes_an_order_over_when_the_reason_changes(self) -> None:
        live = order()
        stop = attrs.evolve(SELL, reason=Reason.HARD_STOP)
        assert decide(live=live, want=stop) == Replace(
            live, Place(Side.SELL, "h", 3, 260_010, 10_000), only_if_new=False
        )

    @pytest.mark.fault("F57")
    def test_beside_a_reserve_an_unseen_fill_must_not_be_sold_twice(self) -> None:
        quote = Quote(260_020, 260_030)
        assert decide(live=order(), quote=quote, reserved=True) == Replace(
            order(), Place(Side.SELL, "t", 3, 260_030, 10_000), only_if_new=True
        )
        assert isinstance(decide(live=order(filled_lots=5), quote=quote, reserved=True), Cancel)

    def test_a_capped_exit_counts_what_its_chain_has_traded(self) -> None:
        live = order(qty_lots=500, filled_lots=200, spent_tick_lots=260_010 * 100)
        moved = decide(live=live, quote=Quote(260_020, 260_030), max_notional_tick_lots=260_010 * 600)
        assert isinstance(moved, Replace)
        assert moved.place.qty_lots == 299  # 600 - 100 - 200 lots' worth, at a price 20 ticks higher

    def test_cancels_what_is_not_wanted(self) -> None:
        assert isinstance(decide(live=order(), want=None), Cancel)
        assert isinstance(decide(live=order(), want=BUY), Cancel)


class TestTaking:
    TAKE = attrs.evolve(SELL, reason=Reason.MANUAL, take=True)

    def test_sells_within_the_bound_rounded_to_our_side(self) -> None:
        assert decide(want=self.TAKE) == Place(Side.SELL, "m", 3, 258_700, 10_000, take=True)
        assert bound_ticks(Side.SELL, Quote(999, 1001), 50) == 995  # 994.005 would be below the bound
        assert bound_ticks(Side.BUY, Quote(999, 1001), 50) == 1006  # 1006.005 would be above it
        assert bound_ticks(Side.SELL, Quote(1, 2), 10_000) == 1

    def test_buys_what_the_quote_pays_for_at_the_bound(self) -> None:
        want = attrs.evolve(BUY, take=True)
        price = 261_310
        assert decide(want=want, quote_tick_lots=price * 10_000 + 5) == Place(
            Side.BUY, "t", 4, price, 10_000, take=True
        )

    def test_replaces_what_rests_at_once(self) -> None:
        live = order()
        said = decide(want=self.TAKE, live=live, last_sent_ns=100 * SECOND)
        assert said == Replace(live, Place(Side.SELL, "m", 3, 258_700, 10_000, take=True), only_if_new=False)
        assert isinstance(decide(want=self.TAKE, live=order(filled_lots=5), reserved=True), Cancel)

    def test_takes_what_is_left_a_second_later(self) -> None:
        said = decide(want=self.TAKE, last_taken_ns=100 * SECOND - 1)
        assert said == Wait("took what was there a moment ago", 101 * SECOND - 1)
        assert isinstance(decide(want=self.TAKE, last_taken_ns=99 * SECOND), Place)

    def test_needs_a_book_and_enough_to_sell(self) -> None:
        assert isinstance(decide(want=self.TAKE, quote=None), Wait)
        assert isinstance(decide(want=self.TAKE, base_lots=10), Wait)
        assert decide(want=self.TAKE, not_before_ns=200 * SECOND, why_not="x") == Wait("x", 200 * SECOND)


class TestEscalation:
    """100 s is the present of `decide`; the book is 260 000 / 260 010."""

    STOPPED = attrs.evolve(SELL, reason=Reason.HARD_STOP, since_ns=85 * SECOND, stop=260_100.0)

    def test_after_so_long(self) -> None:
        live = order(reason="h")
        waiting = decide(want=self.STOPPED, live=live, params=ExitParams(escalate_bps=0))
        assert waiting == Wait("it rests where it should", 105 * SECOND), "it says when to look again"
        said = decide(want=self.STOPPED, live=live, now_ns=105 * SECOND, params=ExitParams(escalate_bps=0))
        assert isinstance(said, Replace)
        assert said.place.take

    def test_beyond_so_much(self) -> None:
        quote = Quote(259_320, 259_330)  # 30 bp below the stop are 259 319.7
        assert not escalates(self.STOPPED, quote, 0, ExitParams())
        assert escalates(self.STOPPED, Quote(259_319, 259_330), 0, ExitParams())
        assert not escalates(self.STOPPED, Quote(1, 2), 0, ExitParams(escalate_bps=0))

    def test_once_begun_it_goes_on(self) -> None:
        said = decide(want=self.STOPPED, escalated=True)
        assert isinstance(said, Place)
        assert said.take

    @pytest.mark.parametrize("want", [
        attrs.evolve(STOPPED, reason=Reason.TAKE_PROFIT), attrs.evolve(STOPPED, reason=Reason.MANUAL),
        attrs.evolve(STOPPED, side=Side.BUY), attrs.evolve(STOPPED, since_ns=0, stop=0.0),
    ])  # fmt: skip
    def test_nothing_else_does(self, want: Want) -> None:
        assert not escalates(want, Quote(1, 2), 10**18, ExitParams())


class TestProtecting:
    GUARD = Protection(258_700, 7)
    STOP = Place(Side.SELL, "h", 7, 257_407, 10_000, stop_ticks=258_700)

    def resting(self, **changed: Any) -> OwnOrder:
        return order(**{"reason": "h", "price_ticks": 257_407, "stop_ticks": 258_700, **changed})

    def test_a_stop_for_all_that_is_held_rests_while_nothing_is_wanted(self) -> None:
        assert decide(want=None, protect=self.GUARD) == self.STOP
        assert decide(want=None, protect=self.GUARD, max_notional_tick_lots=10**9) == self.STOP, "no cap of one exit"
        assert isinstance(decide(want=None, protect=self.GUARD, live=self.resting()), Wait)

    def test_it_makes_way_for_an_exit_at_once_and_comes_back_for_it(self) -> None:
        live = self.resting()
        said = decide(live=live, last_sent_ns=100 * SECOND)
        assert said == Replace(live, Place(Side.SELL, "t", 3, 260_010, 10_000), only_if_new=False)
        maker = order()
        assert decide(want=None, live=maker, protect=self.GUARD) == Replace(maker, self.STOP, only_if_new=False)

    def test_it_follows_the_anchor_and_the_holdings(self) -> None:
        live = self.resting()
        moved = decide(want=None, live=live, protect=Protection(258_800, 7))
        assert isinstance(moved, Replace)
        assert moved.place.stop_ticks == 258_800
        assert isinstance(decide(want=None, live=live, protect=self.GUARD, base_lots=10_001), Replace)
        assert isinstance(decide(want=None, live=live, protect=None), Cancel)
        assert isinstance(decide(want=BUY, live=live, quote_tick_lots=10**10), Cancel)

    def test_one_that_trails_is_not_placed_anew_for_another_anchor(self) -> None:
        live = self.resting(stop_ticks=0, trail_bps=50)
        assert isinstance(decide(want=None, live=live, protect=Protection(258_800, 7), trail_bps=50), Wait)
        placed = decide(want=None, protect=self.GUARD, trail_bps=50)
        assert isinstance(placed, Place)
        assert (placed.stop_ticks, placed.trail_bps) == (0, 50)

    def test_once_it_has_triggered_it_is_left_until_the_strategy_has_heard(self) -> None:
        live = self.resting(triggered_ns=100 * SECOND - 1)
        assert decide(want=None, live=live, protect=self.GUARD) == Wait(
            "the protective stop has triggered and is the exit", 101 * SECOND - 1
        )
        wanted = attrs.evolve(SELL, reason=Reason.HARD_STOP, episode=7)
        said = decide(want=wanted, live=live, params=ExitParams(escalate_after_s=0, escalate_bps=0))
        assert isinstance(said, Replace), "what is left of it is chased"
        assert not said.place.take


def test_a_peg_leaves_the_price_to_the_exchange_and_buys_what_the_ask_pays_for() -> None:
    sold = decide(pegs=True)
    assert sold == Place(Side.SELL, "t", 3, 260_010, 10_000, pegged=True)
    bought = decide(want=BUY, pegs=True, quote_tick_lots=260_010 * 9_999 + 1)
    assert isinstance(bought, Place)
    assert (bought.pegged, bought.qty_lots) == (True, 9_999)


class TestRemnants:
    def test_too_small_to_place_again(self) -> None:
        assert remnant(order(filled_lots=9_990), RULES)
        assert not remnant(order(filled_lots=9_000), RULES)
        assert not remnant(order(qty_lots=10), RULES), "untouched"

    @pytest.mark.fault("F74")
    def test_rest_for_a_while_and_then_go_as_dust(self) -> None:
        left = order(filled_lots=9_990, remnant_since_ns=90 * SECOND)
        assert decide(live=left, want=None) == Wait("a remnant too small to re-quote rests", 150 * SECOND)
        assert decide(live=left, want=None, now_ns=150 * SECOND) == Cancel(left, "dust")

    def test_make_way_for_the_other_side(self) -> None:
        left = order(filled_lots=9_990, remnant_since_ns=90 * SECOND)
        assert isinstance(decide(live=left, want=BUY, quote_tick_lots=10**9), Cancel)


@given(
    bid=st.integers(1, 10**7), gap=st.integers(1, 50), base=st.integers(0, 10**9), quote=st.integers(0, 10**15),
    side=st.sampled_from(Side), chase=st.sampled_from(["join", "improve", "touch"]),
)  # fmt: skip
def test_an_order_never_gives_more_than_is_held(
    bid: int, gap: int, base: int, quote: int, side: Side, chase: str
) -> None:
    want = Want(side, Reason.TAKE_PROFIT, 1)
    seen = Sight(want=want, quote=Quote(bid, bid + gap), live=None, base_lots=base, quote_tick_lots=quote, now_ns=0)
    action = plan(seen, ExitParams(chase=chase), RULES)
    if isinstance(action, Place):
        given_away = action.qty_lots if side is Side.SELL else action.qty_lots * action.price_ticks
        assert given_away <= (base if side is Side.SELL else quote)
        assert RULES.sellable(action.qty_lots, action.price_ticks)
