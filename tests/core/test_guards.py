"""The loss guards: exact worth, neutral flows, and the same after a restart as before it."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from tetrio.core.guards import DAY_NS, Change, Guards, Open

D = Decimal
NOON = 20_000 * DAY_NS + DAY_NS // 2
MIDNIGHT = 20_000 * DAY_NS
HOUR = DAY_NS // 24


def guards(daily: float = 0.0, drawdown: float = 0.0, base: str = "1", quote: str = "0") -> Guards:
    return Guards(max_daily_loss=daily, max_drawdown=drawdown, base=D(base), quote=D(quote))


def test_a_daily_loss_is_crossed_at_its_limit_exactly() -> None:
    watched = guards(daily=0.05)
    assert watched.see(D("100"), NOON) is None
    assert watched.see(D("95.01"), NOON) is None
    crossed = watched.see(D("95"), NOON)
    assert crossed is not None
    assert (crossed.guard, crossed.worth, crossed.against, crossed.price) == ("max_daily_loss", D(95), D(100), D(95))


def test_the_day_begins_anew_at_midnight_and_a_drawdown_does_not() -> None:
    watched = guards(daily=0.05, drawdown=0.08)
    for hour, price in ((0, "100"), (6, "96"), (13, "93")):
        assert watched.see(D(price), NOON + hour * HOUR) is None, "4 % on the first day, 3 more on the second"
    crossed = watched.see(D("92"), NOON + 14 * HOUR)
    assert crossed is not None
    assert (crossed.guard, crossed.against) == ("max_drawdown", D(100))


def test_trades_count_and_what_comes_or_goes_beside_them_does_not() -> None:
    watched = guards(daily=0.05, drawdown=0.05)
    watched.see(D("100"), NOON)
    watched.traded(D("-1"), D("98"))  # sold below the bid
    assert not watched.held(D("0"), D("98"))
    assert watched.see(D("100"), NOON) is None, "2 % lost"
    assert watched.held(D("0"), D("9.8")), "nine tenths withdrawn"
    assert watched.see(D("100"), NOON) is None
    assert watched.opening == watched.best == D(10)
    assert watched.held(D("1"), D("9.8")), "a deposit"
    assert watched.see(D("100"), NOON) is None
    crossed = watched.see(D("96"), NOON)
    assert crossed is not None, "3.6 % more on ten elevenths"
    assert round(crossed.loss, 3) == 0.056


@given(
    price=st.decimals("1", "1000", places=2), loss=st.integers(1, 90), base=st.integers(-99, 1000),
    quote=st.integers(0, 100_000),
)  # fmt: skip
def test_no_flow_changes_the_fraction_that_is_lost(price: Decimal, loss: int, base: int, quote: int) -> None:
    watched = guards(base="100")
    watched.see(price, NOON)
    fallen = price * (100 - loss) / 100
    watched.see(fallen, NOON)
    watched.held(D(100 + base), D(quote))
    assert watched.opening is not None
    assert abs(1 - (watched.base * fallen + watched.quote) / watched.opening - D(loss) / 100) < D("1e-20")


def test_a_sleeve_that_was_emptied_begins_anew() -> None:
    watched = guards(daily=0.05)
    watched.see(D("100"), NOON)
    watched.held(D(0), D(0))
    assert watched.see(D("50"), NOON) is None
    watched.held(D(1), D(0))
    assert watched.see(D("50"), NOON) is None
    assert watched.opening == D(50)


def test_a_restart_finds_opening_and_best_again() -> None:
    changes = [Change(MIDNIGHT + 3 * HOUR, D("-1"), D("104")), Change(MIDNIGHT + 9 * HOUR, D("1.04"), D("-104"))]
    prices = {-6: "101", 0: "100", 2: "105", 4: "90", 8: "95", 10: "98"}
    opens = [Open(MIDNIGHT + hour * HOUR, D(price)) for hour, price in prices.items()]
    restarted = guards(daily=0.05, drawdown=0.05)
    restarted.rebuild(D("1.04"), D("0"), changes, opens, NOON)
    assert (restarted.opening, restarted.best) == (D(100), D(105)), "the sold hours are worth what was sold for"
    assert restarted.see(D("97"), NOON) is None
    crossed = restarted.see(D("95.5"), NOON)
    assert crossed is not None
    assert crossed.guard == "max_drawdown"


def test_after_a_resume_nothing_before_it_counts_in_a_restart_too() -> None:
    opens = [Open(MIDNIGHT + hour * HOUR, D(price)) for hour, price in ((0, "100"), (6, "80"), (8, "81"))]
    restarted = guards(daily=0.05)
    restarted.rebuild(D(1), D(0), [], opens, NOON, since_ns=MIDNIGHT + 7 * HOUR)
    assert (restarted.opening, restarted.best) == (D(81), D(81))
    running = guards(daily=0.05)
    running.see(D("100"), NOON)
    running.rebase()
    assert running.see(D("80"), NOON) is None
