"""Whatever market and clients do: money is conserved, priority holds, nothing fills beyond its limits, lists end whole.

What is done is drawn here; what must hold after each step is said by `referee`.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sim.referee import ACCOUNTS, ASSETS, Referee, Wish
from tetrio.core.market import Side
from tetrio.sim.engine.orders import CONTINGENT, STOPS, TAKES, Peg

models = st.sampled_from(["queue", "touch", "through"])
discounts = st.sampled_from(["BNB", "ETH", "FDUSD"])
prices = st.integers(95, 105)
lots = st.integers(1, 60)
which = st.integers(0, 9)
sides = st.sampled_from(list(Side))
accounts = st.sampled_from(ACCOUNTS)
assets = st.sampled_from(ASSETS)
ids = st.sampled_from(["", "", "", "x", "y"])
pegs = st.sampled_from(
    [
        None,
        Peg(price_type="PRIMARY_PEG"),
        Peg(price_type="MARKET_PEG"),
        Peg(price_type="PRIMARY_PEG", offset_type="PRICE_LEVEL", offset_value=1),
    ]
)
stp_modes = st.sampled_from(["", "NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "DECREMENT", "TRANSFER"])
SIMPLE = ("LIMIT", "LIMIT_MAKER", "MARKET", "QUOTE")


@st.composite
def wishes(draw: st.DrawFn, kinds: tuple[str, ...] = (*SIMPLE, *sorted(CONTINGENT)), plain: bool = False) -> Wish:
    """A new order; a plain one is likely to be accepted as a leg of a list."""
    side, kind = draw(sides), draw(st.sampled_from(kinds))
    return Wish(
        side=side,
        kind=kind,
        tif="GTC" if plain else draw(st.sampled_from(["GTC", "GTC", "GTC", "IOC", "FOK"])),
        qty=draw(lots),
        price=draw(prices),
        stop=draw(prices),
        delta=draw(st.sampled_from([0, 0, 0, 100, 300])),
        iceberg=draw(st.sampled_from([0, 0, 1, 10])),
        stp=draw(stp_modes),
        peg=None if plain else draw(pegs),
        client_id="" if plain else draw(ids),
    )


@st.composite
def order_lists(draw: st.DrawFn) -> tuple[Any, ...]:
    """A list whose prices stand around the market."""
    kind = draw(st.sampled_from(["OCO", "OTO", "OTOCO", "OPO", "OPOCO"]))
    side = Side.SELL if kind.startswith("OP") else draw(sides)
    limits, stops = ("LIMIT_MAKER", *sorted(TAKES)), tuple(sorted(STOPS))
    above, below = (limits, stops) if side is Side.SELL else (stops, limits)
    working = draw(wishes(("LIMIT", "LIMIT_MAKER"), plain=True))
    if kind in {"OTO", "OPO"}:
        upper, lower = draw(wishes(plain=True)), working
    else:
        upper, lower = draw(wishes(above, plain=True)), draw(wishes(below, plain=True))
        upper = upper._replace(price=draw(st.integers(101, 106)), stop=draw(st.integers(101, 106)))
        lower = lower._replace(price=draw(st.integers(94, 99)), stop=draw(st.integers(94, 99)))
    if kind.startswith("OP") or kind == "OCO":
        working = working._replace(side=Side.BUY if kind.startswith("OP") else side)
    legs = (working, upper._replace(side=side), lower._replace(side=side))
    return "list", draw(accounts), kind, legs, draw(st.sampled_from(["", "", "L"]))


trades = st.tuples(st.just("trade"), prices, lots, st.booleans())
tops = st.tuples(st.just("top"), prices, lots, st.integers(1, 3), lots)
orders = st.tuples(st.just("place"), accounts, wishes())
actions = st.one_of(
    trades,
    trades,
    tops,
    st.tuples(st.just("aggregate"), prices, lots, st.booleans(), st.booleans()),
    st.tuples(st.just("depth"), sides, prices, st.integers(0, 60)),
    orders,
    orders,
    order_lists(),
    order_lists(),
    st.tuples(st.just("cancel"), accounts, which, st.sampled_from([None, None, "ONLY_NEW", "ONLY_PARTIALLY_FILLED"])),
    st.tuples(st.just("replace"), accounts, which, wishes(), st.booleans()),
    st.tuples(st.just("amend"), accounts, which, lots, ids),
    st.one_of(
        st.tuples(st.just("cancel_list"), accounts, which),
        st.tuples(st.just("cancel_all"), accounts),
        st.just(("expire_all",)),
    ),
    st.one_of(
        st.tuples(st.just("status"), st.sampled_from(["TRADING", "TRADING", "HALT", "CANCEL_ONLY"])),
        st.tuples(st.just("limits"), st.sampled_from([3, 30]), st.sampled_from([1, 20]), st.sampled_from([0, 3000])),
        st.tuples(st.just("range"), st.sampled_from([None, 100, 102]), st.integers(1, 6)),
        st.tuples(st.just("transfer"), accounts, assets, st.integers(-500_000, 1_000_000)),
        st.tuples(st.just("lock"), accounts, assets, st.integers(-300_000, 300_000)),
    ),
)


@settings(max_examples=250, deadline=None)
@given(models, discounts, st.lists(actions, max_size=40))
def test_money_priority_limits_and_lists_hold_whatever_happens(
    model: str, discount: str, todo: list[tuple[Any, ...]]
) -> None:
    referee = Referee(model, discount)
    for action in todo:
        referee.do(action)


@settings(max_examples=50, deadline=None)
@given(st.lists(actions, max_size=30))
def test_the_same_actions_give_the_same_reports(todo: list[tuple[Any, ...]]) -> None:
    first, second = Referee("queue"), Referee("queue")
    for action in todo:
        first.do(action)
        second.do(action)
    assert first.state() == second.state()
    assert first.told == second.told
