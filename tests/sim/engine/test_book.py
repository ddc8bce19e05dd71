from __future__ import annotations

import pytest

from tests.sim.markets import depth, top
from tetrio.core.market import Side
from tetrio.sim.engine.book import MAX_LEVELS, Displayed, Resting, RestingSide, offers


def resting(side: Side, *orders: tuple[int, int, int]) -> RestingSide:
    """Orders as (price, lots, ahead), with ids from 1 in the order given."""
    book = RestingSide(side)
    for order_id, (price, lots, ahead) in enumerate(orders, 1):
        order = Resting(order_id, "a", price, lots)
        order.ahead = ahead
        book.add(order)
    return book


def trade(
    book: RestingSide, price: int, qty: int, model: str = "queue", opposite: bool = True
) -> list[tuple[int, int, str]]:
    return [(met.order_id, lots, why) for met, lots, why in book.fills_by_trade(model, price, qty, opposite)]


def crossing(book: RestingSide, displayed: Displayed, model: str = "queue") -> list[tuple[int, int]]:
    return [(met.order_id, lots) for met, lots in book.fills_by_crossing(model, displayed)]


def shown(*events: object) -> Displayed:
    displayed = Displayed()
    for event in events:
        if hasattr(event, "bid"):
            displayed.on_top(event)  # type: ignore[arg-type]
        else:
            displayed.on_depth(event)  # type: ignore[arg-type]
    return displayed


def test_orders_stand_by_price_then_time() -> None:
    sells = resting(Side.SELL, (102, 1, 0), (101, 1, 0), (102, 1, 0), (100, 1, 0))
    buys = resting(Side.BUY, (98, 1, 0), (99, 1, 0), (98, 1, 0), (100, 1, 0))
    assert [order.order_id for order in sells.orders] == [4, 2, 1, 3]
    assert [order.order_id for order in buys.orders] == [4, 2, 1, 3]


def test_a_trade_uses_up_what_is_ahead_before_it_fills() -> None:
    sells = resting(Side.SELL, (100, 5, 7))
    assert trade(sells, 100, 4) == []
    assert sells.orders[0].ahead == 3
    assert trade(sells, 100, 5) == [(1, 2, "queue")]
    assert sells.orders[0].traded_off == 7


def test_two_orders_of_one_price_stand_at_their_own_places_in_the_queue() -> None:
    sells = resting(Side.SELL, (100, 5, 2), (100, 5, 6))
    assert trade(sells, 100, 4) == [(1, 2, "queue")]
    sells.reduce(1, 2)
    assert [order.ahead for order in sells.orders] == [0, 4]
    assert trade(sells, 100, 8) == [(1, 3, "queue"), (2, 1, "queue")]


def test_only_takers_of_the_other_side_use_up_a_queue() -> None:
    sells = resting(Side.SELL, (100, 5, 2))
    assert trade(sells, 100, 9, opposite=False) == []
    assert sells.orders[0].ahead == 2


def test_a_trade_beyond_fills_at_once_and_no_more_than_it_traded() -> None:
    sells = resting(Side.SELL, (99, 5, 100), (100, 5, 100))
    assert trade(sells, 101, 7) == [(1, 5, "trade through"), (2, 2, "trade through")]
    buys = resting(Side.BUY, (99, 5, 100), (100, 5, 100))
    assert trade(buys, 98, 7) == [(2, 5, "trade through"), (1, 2, "trade through")]


@pytest.mark.parametrize(
    ("model", "price", "filled"),
    [("touch", 100, True), ("touch", 101, True), ("touch", 99, False), ("through", 100, False), ("through", 101, True)],
)
def test_touch_fills_at_the_price_and_through_only_beyond(model: str, price: int, filled: bool) -> None:
    assert bool(trade(resting(Side.SELL, (100, 5, 0)), price, 3, model, opposite=False)) is filled


def test_the_other_sides_best_price_fills_up_to_what_is_displayed() -> None:
    displayed = shown(top(100, 4, 105, 9))
    assert crossing(resting(Side.SELL, (100, 3, 8), (100, 3, 8)), displayed) == [(1, 3), (2, 1)]
    assert crossing(resting(Side.SELL, (100, 3, 0)), displayed) == [], "what was displayed is used up"
    displayed.on_top(top(100, 6, 105, 9))
    assert crossing(resting(Side.SELL, (100, 3, 0)), displayed) == [(1, 3)], "a new size is a new offer"


def test_known_levels_beyond_the_price_fill_as_well() -> None:
    displayed = shown(top(102, 1, 105, 9), depth(bids=[(101, 2), (100, 4), (99, 50)]))
    assert crossing(resting(Side.SELL, (100, 30, 0)), displayed) == [(1, 1), (1, 2), (1, 4)]


def test_through_wants_the_other_side_beyond_the_price() -> None:
    assert crossing(resting(Side.SELL, (100, 3, 0)), shown(top(100, 4, 105, 9)), "through") == []
    assert crossing(resting(Side.SELL, (99, 3, 0)), shown(top(100, 4, 105, 9)), "through") == [(1, 3)]


def test_what_is_ahead_is_never_more_than_what_is_displayed() -> None:
    sells = resting(Side.SELL, (105, 3, 9), (107, 3, 9))
    displayed = shown(top(100, 4, 105, 6))
    sells.see_top(displayed)
    assert [order.ahead for order in sells.orders] == [6, 9]
    displayed.on_depth(depth(asks=[(107, 2)]))
    sells.see_depth(displayed, [(107, 2)])
    assert [order.ahead for order in sells.orders] == [6, 2]
    displayed.on_top(top(100, 4, 108, 6))
    sells.see_top(displayed)
    assert [order.ahead for order in sells.orders] == [0, 0], "nothing is displayed at or before these prices any more"


def test_the_size_shown_at_a_price() -> None:
    displayed = shown(top(100, 4, 105, 6), depth(asks=[(107, 2), (109, 0)]))
    assert displayed.shown(Side.SELL, 104) == 0, "inside the spread"
    assert displayed.shown(Side.SELL, 105) == 6, "the best price"
    assert displayed.shown(Side.SELL, 107) == 2, "a known level"
    assert displayed.shown(Side.SELL, 109) == 0, "known to be empty"
    assert displayed.shown(Side.SELL, 106) == 6, "unknown: as much as at the best price"
    assert displayed.shown(Side.BUY, 101) == 0
    assert shown(top(0, 0, 105, 6)).shown(Side.BUY, 99) == 0, "an empty side"


def test_a_taker_sees_the_best_price_then_known_levels_and_not_what_was_taken() -> None:
    displayed = shown(top(100, 4, 105, 6), depth(asks=[(107, 2), (106, 1), (104, 50)], bids=[(99, 3)]))
    assert list(displayed.available(Side.SELL)) == [(105, 6), (106, 1), (107, 2)], "104 is gone: the top is fresher"
    displayed.take(Side.SELL, 105, 6)
    displayed.take(Side.SELL, 107, 1)
    assert list(displayed.available(Side.SELL)) == [(106, 1), (107, 1)]
    displayed.on_top(top(99, 3, 105, 6))
    assert list(displayed.available(Side.SELL)) == [(106, 1), (107, 1)], "the ask has not been renewed"
    displayed.on_top(top(99, 3, 105, 7))
    displayed.on_depth(depth(asks=[(107, 2)]))
    assert list(displayed.available(Side.SELL)) == [(105, 7), (106, 1), (107, 2)]


def test_a_clients_order_stands_behind_what_was_there_before_it() -> None:
    sells = resting(Side.SELL, (104, 1, 0), (105, 2, 4), (108, 9, 0))
    displayed = shown(top(100, 4, 105, 6))
    met = [(price, lots, client.order_id if client else None) for price, lots, client in offers(sells, displayed)]
    assert met == [(104, 1, 1), (105, 4, None), (105, 2, 2), (105, 2, None), (108, 9, 3)]


def test_levels_far_away_are_forgotten() -> None:
    displayed = shown(top(1_000_000, 1, 1_000_001, 1))
    displayed.on_depth(depth(bids=[(price, 1) for price in range(900_000, 900_000 + MAX_LEVELS + 1)]))
    known = list(displayed.available(Side.BUY))
    assert len(known) == 1 + MAX_LEVELS // 2
    assert known[1] == (900_000 + MAX_LEVELS, 1)


def test_an_order_leaves_when_all_of_it_has_traded() -> None:
    sells = resting(Side.SELL, (100, 5, 0))
    sells.reduce(1, 3)
    assert sells.orders[0].remaining == 2
    sells.reduce(1, 2)
    assert sells.orders == []
    with pytest.raises(KeyError):
        sells.reduce(1, 1)
    with pytest.raises(KeyError):
        sells.remove(1)


def test_a_later_order_of_the_same_price_is_never_nearer_to_its_turn() -> None:
    sells = resting(Side.SELL, (100, 5, 30), (100, 5, 3))
    assert [order.ahead for order in sells.orders] == [30, 30]
