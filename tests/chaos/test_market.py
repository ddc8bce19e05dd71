"""A market that is told to misbehave does so once, and goes on without a gap in time or numbers."""

from __future__ import annotations

import itertools

import pytest

from tetrio.chaos.market import RoughMarket
from tetrio.core.market import Side
from tetrio.sim.market.events import Batch, PublicTrade, Top

BEGIN_NS = 1_767_225_600_000_000_000
MS = 1_000_000


def _after(market: RoughMarket, count: int) -> list[Batch]:
    """The next batches; times, update ids and trade ids only grow, by one where they are trades'."""
    batches = list(itertools.islice(market.batches(), count))
    times = [batch.market_ns for batch in batches]
    assert times == sorted(set(times))
    events = [event for batch in batches for event in batch.events]
    updates = [event.update_id for event in events if isinstance(event, Top)]
    assert updates == sorted(set(updates))
    trades = [event.trade_id for event in events if isinstance(event, PublicTrade)]
    assert trades == list(range(trades[0], trades[0] + len(trades))) if trades else True
    return batches


def _tops(batches: list[Batch]) -> list[Top]:
    return [event for batch in batches for event in batch.events if isinstance(event, Top)]


@pytest.fixture
def market() -> RoughMarket:
    return RoughMarket(1, BEGIN_NS, 1.0)


@pytest.mark.fault("F86")
@pytest.mark.parametrize("share", [-0.03, 0.03])
def test_an_outlier_is_one_tick_and_gone_within_5_ms(market: RoughMarket, share: float) -> None:
    market.outlier(share)
    batches = _after(market, 6)
    before, off, again = _tops(batches)[1:4]
    assert off.bid == pytest.approx(before.bid * (1 + share), rel=1e-4)
    assert (again.bid, again.ask) == (before.bid, before.ask)
    assert batches[3].market_ns - batches[2].market_ns == 5 * MS


@pytest.mark.fault("F94")
def test_a_storm_is_so_many_ticks_within_a_second(market: RoughMarket) -> None:
    market.storm(1000)
    storm = _after(market, 1002)[2:]
    assert storm[-1].market_ns - storm[0].market_ns < 1_000_000_000
    assert all(top.bid < top.ask for top in _tops(storm))


@pytest.mark.fault("F87")
@pytest.mark.parametrize("share", [-0.02, 0.02])
def test_a_gap_is_there_at_once_and_stays(market: RoughMarket, share: float) -> None:
    calm = _tops(_after(RoughMarket(1, BEGIN_NS, 1.0), 10))
    market.gap(share)
    gone = _tops(_after(market, 11))
    assert gone[1].bid == calm[1].bid
    assert gone[2].bid == pytest.approx(calm[1].bid * (1 + share), rel=1e-4)
    for there, here in zip(gone[3:], calm[2:], strict=True):
        assert (there.bid / here.bid - 1) / share > 0.5, "the path goes on from there, with draws of its own"


@pytest.mark.parametrize(("side", "beyond"), [(Side.SELL, 1), (Side.BUY, -1)])
def test_the_public_takes_a_part_of_what_rests(market: RoughMarket, side: Side, beyond: int) -> None:
    market.nibble(lambda: (side, 340_000, 900))
    (trade,) = _after(market, 3)[2].events
    assert isinstance(trade, PublicTrade)
    assert (trade.price, trade.qty) == (340_000 + beyond, 300)


def test_where_nothing_rests_nothing_trades(market: RoughMarket) -> None:
    market.nibble(lambda: None)
    assert _after(market, 10) == _after(RoughMarket(1, BEGIN_NS, 1.0), 10)
