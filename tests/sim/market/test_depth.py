"""The public book, by itself and as a client keeps it by Binance's procedure, over the exchange's real faces."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.paths import SHARED
from tests.sim.markets import Pit, depth, top
from tests.sim.served import KEYS, SYMBOL, Client, Line, Served, served
from tests.sim.served import top as quote
from tetrio.core.market import Side
from tetrio.net.clock import AnchoredClock
from tetrio.sim.engine.engine import Engine
from tetrio.sim.exchange import Clocks, Exchange, ExchangeConfig
from tetrio.sim.market.depth import ASKS, BIDS, Changes, MadeBook, PublicBook, Sides
from tetrio.sim.market.events import Depth, MarketEvent, Top
from tetrio.sim.market.tape import open_market

CAPTURES = [SHARED / "data" / "capture" / f"ethusdt_2024080{day}.gz" for day in (8, 9)]
NOBODY: Sides = ({}, {})


# -- by itself --------------------------------------------------------------------------------------------------------


@attrs.define
class Mirror:
    """A book that knows of another one's changes only."""

    changes: Changes
    sides: tuple[dict[int, int], dict[int, int]] = attrs.field(factory=lambda: ({}, {}))
    last_id: int = 0

    def apply(self, book: PublicBook) -> None:
        told = self.changes.take(book.last_id)
        assert told.first_id == self.last_id + 1, "no id is left out"
        self.last_id = told.last_id
        for side, levels in ((BIDS, told.bids), (ASKS, told.asks)):
            for price, lots in levels:
                if lots:
                    self.sides[side][price] = lots
                else:
                    self.sides[side].pop(price, None)

    def equals(self, book: PublicBook) -> bool:
        _, bids, asks = book.snapshot(5000)
        return self.sides == (dict(bids), dict(asks))


def levels(side: str) -> st.SearchStrategy[dict[int, int]]:
    prices = st.integers(90, 100) if side == "bids" else st.integers(101, 110)
    return st.dictionaries(prices, st.integers(0, 3), max_size=4)


clients = st.tuples(*[st.dictionaries(st.integers(90, 110), st.integers(1, 5), max_size=3)] * 2)
moves = st.tuples(
    levels("bids"), levels("asks"), st.integers(95, 100), st.integers(101, 105), st.integers(1, 3), clients, clients
)


@given(st.lists(moves, min_size=1, max_size=12), st.booleans())
def test_a_made_book_is_the_sum_of_its_changes_and_is_never_crossed_or_empty(steps: list[Any], deep: bool) -> None:
    book = MadeBook()
    mirror = Mirror(book.follow())
    for bids, asks, bid, ask, lots, own, taken in steps:
        if deep:
            within = [(price, size) for price, size in bids.items() if price < bid]
            beyond = [(price, size) for price, size in asks.items() if price > ask]
            book.on_depth(Depth(1, 1, 0, [*within, (bid, lots)], [*beyond, (ask, lots)]))
        book.on_top(Top(bid, lots, ask, lots, 1))
        rest_bids = {price: size for price, size in own[BIDS].items() if price < min(own[ASKS], default=999)}
        book.settle((rest_bids, own[ASKS]), taken)
        mirror.apply(book)
        assert mirror.equals(book)
        best_bid, bid_lots, best_ask, ask_lots = book.quote
        assert 0 < best_bid < best_ask
        shown = book.snapshot(5000)
        assert (shown.bids[0], shown.asks[0]) == ((best_bid, bid_lots), (best_ask, ask_lots))
    book.settle(NOBODY, NOBODY)
    assert book.quote[:1] + book.quote[2:3] == (steps[-1][2], steps[-1][3])


def in_pairs(engine: Engine) -> tuple[Sides, Sides]:
    """What clients rest, and what they took."""
    buy, sell = Side.BUY, Side.SELL
    return (
        (engine.resting_levels(SYMBOL, buy), engine.resting_levels(SYMBOL, sell)),
        (engine.taken_levels(SYMBOL, buy), engine.taken_levels(SYMBOL, sell)),
    )


def test_clients_orders_stand_in_a_made_book_and_what_they_took_is_gone() -> None:
    pit, book = Pit(top(340_000, 20_000, 340_010, 30_000)), MadeBook()

    def market(*events: MarketEvent) -> None:
        for event in events:
            pit.market(event)
            book.on_top(event) if isinstance(event, Top) else book.on_depth(event)  # type: ignore[arg-type]
        settle()

    def settle() -> None:
        book.settle(*in_pairs(pit.engine))

    market(depth(bids=[(340_000, 20_000), (339_990, 5)], asks=[(340_010, 30_000), (340_030, 7)]))
    market(top(340_000, 20_000, 340_010, 30_000))
    assert book.quote == (340_000, 20_000, 340_010, 30_000)
    first = pit.place(Side.BUY, 100, 340_005).order
    second = pit.place(Side.BUY, 50, 339_990).order
    settle()
    assert book.snapshot(5).bids == [(340_005, 100), (340_000, 20_000), (339_990, 55)]
    assert book.quote[:2] == (340_005, 100)
    pit.cancel(first)
    pit.place(Side.BUY, 29_000, None, "MARKET")
    settle()
    assert book.quote == (340_000, 20_000, 340_010, 1000)
    pit.place(Side.BUY, 1000, None, "MARKET")
    settle()
    assert book.snapshot(5).asks == [(340_030, 7)]
    market(top(340_000, 20_000, 340_010, 9))
    assert book.snapshot(5).asks == [(340_010, 9), (340_030, 7)]
    pit.cancel(second)
    settle()
    assert book.snapshot(5).bids == [(340_000, 20_000), (339_990, 5)]


def test_a_side_that_clients_have_taken_whole_shows_its_best_once_more() -> None:
    pit, book = Pit(top(340_000, 20_000, 340_010, 300)), MadeBook()
    book.on_top(top(340_000, 20_000, 340_010, 300))
    pit.place(Side.BUY, 300, None, "MARKET")
    book.settle(*in_pairs(pit.engine))
    assert book.quote == (340_000, 20_000, 340_010, 300)


def test_a_recorded_book_without_differences_is_the_best_prices_under_their_own_ids() -> None:
    book = PublicBook(differences=False)
    assert book.snapshot(5) == (0, [], [])
    book.on_top(Top(100, 5, 101, 6, 70))
    mirror = Mirror(book.follow(), ({100: 5}, {101: 6}), 70)
    book.on_top(Top(99, 4, 101, 6, 75))
    book.on_top(Top(100, 1, 101, 6, 74))  # older
    assert book.snapshot(5) == (75, [(99, 4)], [(101, 6)])
    mirror.apply(book)
    assert mirror.equals(book)


def test_differences_that_come_are_believed_from_then_on() -> None:
    book = PublicBook(differences=False)
    book.on_top(Top(100, 5, 101, 6, 70))
    book.on_depth(Depth(60, 65, 0, [(98, 1)], [(103, 2)]))
    book.on_top(Top(100, 5, 101, 6, 71))
    book.on_depth(Depth(60, 65, 0, [(97, 1)], []))  # known already
    assert book.snapshot(5) == (65, [(98, 1)], [(103, 2)])
    book.forget()
    assert book.snapshot(5) == (0, [], [])


# -- as a client keeps it ---------------------------------------------------------------------------------------------


class LocalBook:
    """Binance's procedure: buffer, snapshot, drop, apply."""

    def __init__(self) -> None:
        self.id = 0
        self.sides: dict[str, dict[str, str]] = {}
        self.applied = 0

    async def open(self, line: Client, client: Client, symbol: str) -> None:
        buffered = [await line.receive()]
        while True:
            snapshot = (await client.call("depth", symbol=symbol, limit=5000))["result"]
            if snapshot["lastUpdateId"] >= buffered[0]["U"]:
                break
            buffered.append(await line.receive())
        self.id = snapshot["lastUpdateId"]
        self.sides = {side: dict(snapshot[side]) for side in ("bids", "asks")}
        for event in [event for event in buffered if event["u"] > self.id]:
            self.apply(event)

    def apply(self, event: dict[str, Any]) -> None:
        if event["u"] <= self.id:
            return
        assert event["U"] <= self.id + 1, "a gap"
        for side, changes in (("bids", event["b"]), ("asks", event["a"])):
            for price, qty in changes:
                if float(qty):
                    self.sides[side][price] = qty
                else:
                    self.sides[side].pop(price, None)
        self.id = event["u"]
        self.applied += 1

    async def agrees(self, client: Client, symbol: str) -> bool:
        """Whether the exchange's snapshot of this very id, should it be at it, is the same; raises if it is not."""
        snapshot = (await client.call("depth", symbol=symbol, limit=5000))["result"]
        if snapshot["lastUpdateId"] != self.id:
            return False
        for side in ("bids", "asks"):
            best_first = sorted(self.sides[side].items(), key=lambda level: float(level[0]), reverse=side == "bids")
            assert [tuple(level) for level in snapshot[side]] == best_first[:5000]
        return True


@asynccontextmanager
async def exchanged(source: Path | str, **settings: Any) -> AsyncIterator[Served]:
    market = open_market(source, seed=3)
    clock = AnchoredClock(market.first_ns)
    config: dict[str, Any] = {"keys": KEYS, "funds": {"ETH": "400", "FDUSD": "2000000"}, "ping_s": 1e6} | settings
    exchange = Exchange(ExchangeConfig(market=market, clocks=Clocks(clock.now_ns, joined=True), **config))
    async with trio.open_nursery() as nursery:
        await nursery.start(exchange.run)
        async with trio.open_nursery() as clients:
            yield Served(exchange, clock, clients)
            clients.cancel_scope.cancel()
        nursery.cancel_scope.cancel()


async def trade_about(client: Client, rng: random.Random) -> None:
    """Place, cancel and take, without end; a request every other second."""
    while True:
        best = (await client.call("ticker.book", symbol=SYMBOL))["result"]
        draw, side = rng.random(), rng.choice(("BUY", "SELL"))
        if draw < 0.6:
            away = rng.choice((0, 0.01, 0.05, 0.4, 1.5))
            price = float(best["bidPrice"]) - away if side == "BUY" else float(best["askPrice"]) + away
            await client.maker(side, f"{price:.2f}", f"{rng.uniform(0.01, 3):.4f}")
        elif draw < 0.9:
            await client.order(type="MARKET", side=side, quantity=f"{rng.uniform(0.01, 12):.4f}")
        else:
            await client.order("openOrders.cancelAll")
        client.events.clear()
        client.replies.clear()
        await trio.sleep(2)


@pytest.mark.parametrize("channel", ["depth@100ms", "depth"])
async def test_a_local_book_of_a_generated_market_equals_the_exchanges(autojump_clock: MockClock, channel: str) -> None:
    """After 10,000 differences of 100 ms, and each hundred of them, with a client that trades meanwhile."""
    async with exchanged("synthetic") as exchange, trio.open_nursery() as nursery:
        line, asker, trader = await exchange.line(channel), await exchange.client(), await exchange.trader()
        nursery.start_soon(trade_about, trader, random.Random(7))
        book, compared = LocalBook(), 0
        await book.open(line, asker, SYMBOL)
        until = 10_000 if channel == "depth@100ms" else 300
        while book.applied < until:
            book.apply(await line.receive())
            if book.applied % 100 == 0 or book.applied == until:
                compared += await book.agrees(asker, SYMBOL)
        assert compared > until // 200
        assert all(len(side) >= 40 for side in book.sides.values())
        assert exchange.exchange.venue.engine.trades("main", SYMBOL)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: path.name)
async def test_a_local_book_of_a_recorded_market_equals_the_exchanges(autojump_clock: MockClock, capture: Path) -> None:
    """To the recording's end, by its own differences and by those of a second that are made of them."""
    ended = trio.Event()
    async with exchanged(capture, on_market_end=lambda _: ended.set()) as exchange:
        line = await exchange.client("/stream?streams=ethusdt@depth@100ms/ethusdt@depth")
        asker = await exchange.client()
        books = {"ethusdt@depth@100ms": LocalBook(), "ethusdt@depth": LocalBook()}
        waiting: dict[str, list[Any]] = {name: [] for name in books}
        compared = dict.fromkeys(books, 0)
        while not ended.is_set():
            frame = await line.receive()
            name, book = frame["stream"], books[frame["stream"]]
            if book.id:
                book.apply(frame["data"])
                if book.applied % 50 == 0:
                    compared[name] += await book.agrees(asker, "ETHUSDT")
                continue
            waiting[name].append(frame["data"])
            await book.open(_Buffered(waiting[name]), asker, "ETHUSDT")  # type: ignore[arg-type]
        assert books["ethusdt@depth@100ms"].applied > 3000
        assert all(books[name].applied > 290 and count > 3 for name, count in compared.items()), compared


@attrs.define
class _Buffered:
    """What has come of one stream among several."""

    events: list[Any]

    async def receive(self) -> Any:
        return self.events.pop(0)


async def test_differences_follow_each_other_without_a_gap_and_only_when_something_changes(
    autojump_clock: MockClock,
) -> None:
    async with exchanged("synthetic") as exchange:
        line = await exchange.line("depth@100ms", "depth20@100ms", "depth5")
        frames = [await line.receive() for _ in range(400)]
        told = [frame for frame in frames if "e" in frame]
        assert all(after["U"] == before["u"] + 1 for before, after in pairwise(told))
        assert all(after["E"] > before["E"] and after["E"] % 100 == 0 for before, after in pairwise(told))
        assert all(each["b"] or each["a"] for each in told)
        partial = [frame for frame in frames if "lastUpdateId" in frame]
        assert {len(each["bids"]) for each in partial} == {5, 20}
        assert all(float(each["bids"][0][0]) < float(each["asks"][0][0]) for each in partial)
        ids = [each["lastUpdateId"] for each in partial if len(each["bids"]) == 20]
        assert ids == sorted(set(ids))


async def test_best_prices_come_from_the_book_and_share_its_ids(autojump_clock: MockClock) -> None:
    async with exchanged("synthetic") as exchange:
        line, client = await exchange.line("bookTicker", combined=True), await exchange.trader()
        for _ in range(50):
            best = (await line.receive())["data"]
            snapshot = (await client.call("depth", symbol=SYMBOL, limit=5))["result"]
            assert snapshot["lastUpdateId"] == best["u"]
            assert (snapshot["bids"][0], snapshot["asks"][0]) == ([best["b"], best["B"]], [best["a"], best["A"]])
        while float(best["a"]) - float(best["b"]) < 0.02:
            best = (await line.receive())["data"]
        inside = f"{float(best['b']) + 0.01:.2f}"
        assert (await client.maker("BUY", inside, "0.5000"))["status"] == 200
        own = (await line.receive())["data"]
        assert (own["b"], own["B"]) == (f"{inside}000000", "0.50000000")
        assert own["u"] > best["u"]
        top_of = (await client.call("ticker.book", symbol=SYMBOL))["result"]
        assert top_of["bidPrice"] == own["b"]


async def test_clients_orders_do_not_show_in_a_recorded_book(autojump_clock: MockClock, tmp_path: Path) -> None:
    lines: list[Line] = [quote(at_s, "3412.36", "1.8420", "3412.39", "0.7714") for at_s in (0, 1, 2)]
    async with served(tmp_path, lines) as exchange:
        line, client = await exchange.line("bookTicker"), await exchange.trader()
        await line.receive()
        before = (await client.call("depth", symbol=SYMBOL))["result"]
        assert (await client.maker("BUY", "3412.38"))["status"] == 200
        assert (await client.call("depth", symbol=SYMBOL))["result"] == before
        assert before["bids"] == [["3412.36000000", "1.84200000"]]


async def test_a_kline_market_has_a_level_a_side_and_clients_orders_in_between(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    path = tmp_path / "ETHFDUSD-1m.csv"
    rows = [f"{minute * 60},3400.{minute % 7}5,3401.25,3399.15,3400.55,{40 + minute % 3}.4" for minute in range(200)]
    path.write_text("\n".join(["timestamp,open,high,low,close,volume", *rows]) + "\n")
    async with exchanged(path) as exchange:
        line, client = await exchange.line("depth@100ms"), await exchange.trader()
        book = LocalBook()
        await book.open(line, client, SYMBOL)
        best = (await client.call("ticker.book", symbol=SYMBOL))["result"]
        assert (await client.maker("BUY", f"{float(best['bidPrice']) - 10:.2f}", "0.5"))["status"] == 200
        while book.applied < 200:
            book.apply(await line.receive())
        assert await book.agrees(client, SYMBOL)
        assert (len(book.sides["bids"]), len(book.sides["asks"])) == (2, 1)
