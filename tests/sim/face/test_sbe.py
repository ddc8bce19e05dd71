"""SBE streams as a client meets them: real handshakes, binary market data, JSON texts for everything else."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import h11
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock
from trio_websocket import ConnectionClosed, WebSocketConnection

from tests.paths import SHARED
from tests.sim.served import (
    ED_KEY,
    HMAC_KEY,
    KEYS,
    START_MS,
    SYMBOL,
    UPGRADE,
    Line,
    Served,
    quiet,
    record,
    served,
    top,
    trade,
)
from tests.wire.test_sbe import as_schema, by_schema
from tetrio.errors import ConfigError, LinkLost
from tetrio.log import Secret
from tetrio.net import simnet
from tetrio.net.clock import AnchoredClock
from tetrio.net.line import open_line
from tetrio.sim.exchange import Clocks, Exchange, ExchangeConfig
from tetrio.sim.face.beats import DepthFeeds
from tetrio.sim.face.latency import parse_latency
from tetrio.sim.face.sbe import Scale, Units, sbe_depth
from tetrio.sim.face.venue import Venue
from tetrio.sim.market.depth import PublicBook
from tetrio.sim.market.events import Depth
from tetrio.sim.market.tape import open_market
from tetrio.wire import sbe
from tetrio.wire.frames import BINARY, CLOSE, PING, TEXT, FrameReader, close_code
from tetrio.wire.stream import server_shutdown

Levels = Sequence[tuple[int, int]]
START_US = START_MS * 1000
TRADE, BEST, DEPTH, DEPTH20 = (f"{SYMBOL.lower()}@{channel}" for channel in ("trade", "bestBidAsk", "depth", "depth20"))


def messages(name: str) -> Any:
    return json.loads((SHARED / "binance" / "messages" / f"sbe.{name}.json").read_text())


class SbeClient:
    """One connection to the SBE streams."""

    def __init__(self, ws: WebSocketConnection) -> None:
        self.ws = ws
        self.frames: list[bytes] = []
        """Binary frames that came before a text that was waited for."""

    async def message(self) -> str | bytes:
        with trio.fail_after(7200):
            got: str | bytes = await self.ws.get_message()
        return got

    async def event(self) -> sbe.Event:
        """The next binary frame."""
        got = self.frames.pop(0) if self.frames else await self.message()
        assert isinstance(got, bytes), got
        return sbe.decode(got)

    async def say(self, message: object) -> Any:
        """Send a control message; the text that answers it."""
        await self.ws.send_message(message if isinstance(message, str | bytes) else json.dumps(message))
        while isinstance(got := await self.message(), bytes):
            self.frames.append(got)
        return json.loads(got)


async def connect(exchange: Served, target: str) -> SbeClient:
    return SbeClient(await exchange.sbe(target))


async def handshake(stream: trio.abc.Stream, target: str, *headers: tuple[str, str]) -> tuple[int, str, str]:
    """Status, content type and body of the answer to a handshake."""
    http = h11.Connection(h11.CLIENT)
    sent = [line.split(": ", 1) for line in UPGRADE.decode().split("\r\n")[1:] if line]
    request = h11.Request(method="GET", target=target, headers=[*((name, value) for name, value in sent), *headers])
    await stream.send_all(http.send(request) or b"")
    with trio.fail_after(10):
        while (answer := http.next_event()) is h11.NEED_DATA:
            http.receive_data(bytes(await stream.receive_some()))
        assert isinstance(answer, h11.Response | h11.InformationalResponse)
        media, body = dict(answer.headers).get(b"content-type", b"").decode(), b""
        while isinstance(answer, h11.Response) and not isinstance(event := http.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                http.receive_data(bytes(await stream.receive_some()))
            elif isinstance(event, h11.Data):
                body += event.data
    return answer.status_code, media, body.decode()


def decimals(mantissa: int, exponent: int) -> Decimal:
    return Decimal(mantissa).scaleb(exponent)


def prices(event: sbe.Event) -> list[Decimal]:
    """What a best-prices message says, whatever its exponents."""
    assert isinstance(event, sbe.BestBidAsk)
    price, qty = event.price_exponent, event.qty_exponent
    return [
        decimals(event.bid, price),
        decimals(event.bid_qty, qty),
        decimals(event.ask, price),
        decimals(event.ask_qty, qty),
    ]


def rows(event: sbe.Event) -> list[tuple[int, Decimal, Decimal, bool]]:
    """Trade id, price, quantity, buyer is maker; of every trade of a message."""
    assert isinstance(event, sbe.Trades)
    return [
        (each.trade_id, decimals(each.price, event.price_exponent), decimals(each.qty, event.qty_exponent), each[3])
        for each in event.trades
    ]


# -- who may come in --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("target", [f"/ws/{TRADE}", f"/stream?streams={TRADE}", "/ws", "/stream", "/ws/"])
async def test_any_ed25519_key_opens_a_line_and_nothing_is_signed(
    autojump_clock: MockClock, tmp_path: Path, target: str
) -> None:
    async with served(tmp_path) as exchange:
        client = await connect(exchange, target)
        subscribed = [TRADE] if TRADE in target else []
        assert await client.say({"method": "LIST_SUBSCRIPTIONS", "id": 1}) == {"result": subscribed, "id": 1}


REJECTED = '{"code":-2015,"msg":"Invalid API-key, IP, or permissions for action."}'
MALFORMED = '{"code":-2014,"msg":"API-key format invalid."}'
JSON, PLAIN = "application/json;charset=UTF-8", ""
MANY = "/".join(f"{at}@trade" for at in range(1025))
TURNED = {
    "no key": ("/ws", None, (400, PLAIN, "No X-MBX-APIKEY header")),
    "an empty key": ("/ws", "", (400, PLAIN, "No X-MBX-APIKEY header")),
    "an unknown key": ("/ws", "X" * 64, (401, JSON, REJECTED)),
    "an HMAC key": ("/ws", HMAC_KEY, (401, JSON, REJECTED)),
    "what is no key": ("/ws", "key", (401, JSON, MALFORMED)),
    "another path": ("/ws-api/v3", ED_KEY, (404, PLAIN, "not found")),
    "too many streams": (f"/ws/{MANY}", ED_KEY, (400, PLAIN, "too many streams")),
}


@pytest.mark.parametrize("name", TURNED)
async def test_who_has_no_right_to_it_is_turned_away(autojump_clock: MockClock, tmp_path: Path, name: str) -> None:
    target, api_key, answer = TURNED[name]
    headers = [] if api_key is None else [("x-mbx-apikey", api_key)]
    async with served(tmp_path) as exchange:
        assert await handshake(exchange.raw_sbe(), target, *headers) == answer
        assert (await handshake(exchange.raw_sbe(), "/ws", ("x-MBX-apikey", ED_KEY)))[0] == 101


# -- market data ------------------------------------------------------------------------------------------------------
def market() -> list[Line]:
    return [
        *quiet(),
        trade(2, "3412.37", "0.2550", buyer_is_maker=False),
        top(3, "3412.36", "1.8420", "3412.40", "2.0050"),
    ]


async def test_trades_and_best_prices_are_what_the_json_streams_say(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path, market()) as exchange:
        client = await connect(exchange, f"/stream?streams={TRADE}/{BEST}")
        assert isinstance(await client.event(), sbe.BestBidAsk)  # the market begins with it
        line = await exchange.line("trade", "bookTicker")
        for _ in range(4):
            event, told = await client.event(), await line.receive()
            assert event.symbol == told["s"] == SYMBOL
            if "e" in told:
                assert rows(event) == [(told["t"], Decimal(told["p"]), Decimal(told["q"]), told["m"])]
                assert isinstance(event, sbe.Trades)
                assert event.transact_us == told["T"] * 1000
                assert event.event_us >= event.transact_us
            else:
                assert prices(event) == [Decimal(told[each]) for each in "bBaA"]
                assert isinstance(event, sbe.BestBidAsk)
                assert event.update_id == told["u"]
        assert event.event_us == START_US + 3_600_000_000  # of the last one


async def test_what_is_sent_has_the_layout_of_the_examples(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Every kind of message, against the example's bytes and against the schema file."""
    async with served(tmp_path) as exchange:
        client = await connect(exchange, f"/ws/{TRADE}/{BEST}/{DEPTH}/{DEPTH20}")
        sent: dict[str, bytes] = {}
        while len(sent) < 4:
            got = await client.message()
            assert isinstance(got, bytes)
            sent[as_schema(sbe.decode(got))["message"]] = got
    for name, got in sent.items():
        example = messages(name)
        fields = {each["name"]: each for each in example["fields"]}
        assert got[:8].hex() == example["hex"][:16]  # the header
        assert got.endswith(bytes.fromhex(fields["symbol.length"]["hex"] + fields["symbol"]["hex"]))
        members = as_schema(sbe.decode(got))
        assert members.keys() == example["decoded"].keys()
        assert by_schema(members) == got


def test_a_server_that_shuts_down_says_so_as_the_example_does() -> None:
    assert json.loads(server_shutdown(1784629800000)) == messages("text-frames")[1]


async def test_the_trades_of_one_taker_order_share_a_message(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path, funds={"ETH": "9", "FDUSD": "90000"}) as exchange:
        client = await connect(exchange, f"/ws/{TRADE}")
        line = await exchange.line("trade")
        first = rows(await client.event())[0][0]
        trader = await exchange.trader()
        for qty in ("0.1000", "0.2000"):
            reply = await trader.order(type="LIMIT", side="BUY", price="3412.37", quantity=qty, timeInForce="GTC")
            assert reply["result"]["status"] == "FILLED"
        sent = [row for _ in range(2) for row in rows(await client.event())]
        assert [row[0] for row in sent] == [first + 1, first + 2]
        told = [await line.receive() for _ in range(3)][1:]
        assert sent == [(each["t"], Decimal(each["p"]), Decimal(each["q"]), each["m"]) for each in told]


async def test_latency_delays_market_data_and_not_replies(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path, latency=parse_latency("250")) as exchange:
        client = await connect(exchange, f"/ws/{BEST}")
        assert (await client.say({"method": "LIST_SUBSCRIPTIONS", "id": 1}))["result"] == [BEST]
        assert (client.frames, trio.current_time()) == ([], 0.0)
        await client.event()
        assert trio.current_time() == pytest.approx(0.25)


async def test_a_market_waits_for_an_sbe_subscriber_as_for_any(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path) as exchange:
        client = await connect(exchange, "/ws")
        await trio.sleep(30)
        assert exchange.exchange.venue.clock.now_ns() == START_MS * 1_000_000
        assert await client.say({"method": "SUBSCRIBE", "params": [BEST], "id": 1}) == {"result": None, "id": 1}
        await client.event()


def test_exponents_are_finer_than_eight_places_only_where_a_step_is() -> None:
    assert (Scale(Decimal("0.01")).exponent, Scale(Decimal("0.01"))(341236)) == (-8, 341236000000)
    assert (Scale(Decimal("1")).exponent, Scale(Decimal("1"))(7)) == (-8, 700000000)
    assert (Scale(Decimal("0.0000000005")).exponent, Scale(Decimal("0.0000000005"))(3)) == (-10, 15)


def test_a_quantity_beyond_the_largest_mantissa_is_this_much_or_more() -> None:
    assert Scale(Decimal("1"))(10**12) == sbe.MOST == 2**63 - 1


# -- depth ------------------------------------------------------------------------------------------------------------
class Feed:
    """Depth of a recorded book, and who wants it."""

    def __init__(self, path: Path) -> None:
        market = open_market(record(path, quiet()), SYMBOL)
        self.venue = Venue(market, now_ns=lambda: START_MS * 1_000_000, keys={}, funds={})
        self.units = Units(market.rules)
        self.sent: list[sbe.Event] = []
        self.feeds = DepthFeeds(self.venue, sbe_depth(market.rules), lambda _, told: self.sent.append(sbe.decode(told)))

    def change(self, last_id: int, bids: Levels = (), asks: Levels = ()) -> None:
        book = self.venue.book
        book.on_depth(Depth(book.last_id + 1, last_id, START_MS, list(bids), list(asks)))
        self.feeds.changed(self.venue.clock.latest_ms)

    def run(self, until_ms: int) -> list[tuple[int, sbe.Event]]:
        """What is told until then, ms after the start, with its time."""
        told: list[tuple[int, sbe.Event]] = []
        while (due_ms := self.feeds.due_ms) is not None and due_ms <= START_MS + until_ms:
            self.feeds.tell(due_ms)
            told += [(due_ms - START_MS, event) for event in self.sent]
            self.sent.clear()
        self.venue.clock.reach((START_MS + until_ms) * 1_000_000)
        return told


@pytest.fixture
def feed(tmp_path: Path) -> Feed:
    return Feed(tmp_path / "market")


def test_changes_are_told_every_20_ms_and_the_best_levels_every_50(feed: Feed) -> None:
    feed.feeds.rewant([DEPTH])
    assert feed.run(1) == []
    feed.feeds.rewant([DEPTH, DEPTH20])
    feed.change(7, [(341236, 18420), (341235, 2500)], [(341237, 7714)])
    told = feed.run(200)
    assert [(at_ms, type(event)) for at_ms, event in told] == [(20, sbe.DepthDiff), (50, sbe.DepthSnapshot)]
    diff, snapshot = (event for _, event in told)
    units = feed.units
    bids, asks = units.levels([(341236, 18420), (341235, 2500)]), units.levels([(341237, 7714)])
    assert diff == sbe.DepthDiff(START_US + 20_000, 1, 7, *units.exponents, bids, asks, SYMBOL)
    assert snapshot == sbe.DepthSnapshot(START_US + 50_000, 7, *units.exponents, bids, asks, SYMBOL)
    assert isinstance(snapshot, sbe.DepthSnapshot)
    assert decimals(snapshot.bids[0][0], snapshot.price_exponent) == Decimal("3412.36")
    assert decimals(snapshot.bids[0][1], snapshot.qty_exponent) == Decimal("1.8420")


def test_what_changed_within_20_ms_is_one_message_with_the_last_of_each_level(feed: Feed) -> None:
    feed.change(7, [(100, 5)], [(103, 5)])
    feed.feeds.rewant([DEPTH])
    assert feed.feeds.due_ms is None  # of what was before anybody asked there is nothing to tell
    feed.change(8, [(100, 6)])
    feed.change(11, [(100, 0)], [(102, 1)])
    ((_, diff),) = feed.run(100)
    assert isinstance(diff, sbe.DepthDiff)
    assert (diff.first_id, diff.last_id) == (8, 11)
    assert (diff.bids, diff.asks) == (feed.units.levels([(100, 0)]), feed.units.levels([(102, 1)]))


def test_a_snapshot_has_twenty_levels_a_side_and_comes_once_to_who_joins_a_quiet_market(feed: Feed) -> None:
    feed.change(7, [(100 - at, 1) for at in range(30)], [(101 + at, 1) for at in range(30)])
    assert feed.run(1000) == []
    for from_ms in (1000, 2000):
        feed.feeds.rewant([DEPTH20])
        ((at_ms, snapshot),) = feed.run(from_ms + 1000)
        assert at_ms == from_ms + 50
        assert isinstance(snapshot, sbe.DepthSnapshot)
        assert (len(snapshot.bids), len(snapshot.asks)) == (20, 20)
        feed.feeds.rewant([])
        assert feed.feeds.due_ms is None


class LocalBook:
    """A book kept by Binance's procedure, of mantissas: the snapshot first, then every difference without a gap."""

    def __init__(self, book: PublicBook, units: Units) -> None:
        snapshot = book.snapshot(5000)
        self.last_id = snapshot.last_id
        self.bids, self.asks = dict(units.levels(snapshot.bids)), dict(units.levels(snapshot.asks))

    def apply(self, diff: sbe.DepthDiff) -> None:
        assert diff.first_id == self.last_id + 1
        self.last_id = diff.last_id
        for side, changes in ((self.bids, diff.bids), (self.asks, diff.asks)):
            for price, qty in changes:
                side[price] = qty
                if not qty:
                    del side[price]


SIDES = st.lists(st.tuples(st.integers(90, 110), st.integers(0, 3)), max_size=4)


@settings(deadline=None)
@given(st.lists(st.tuples(SIDES, SIDES, st.integers(0, 60)), min_size=1, max_size=20), st.integers(0, 10))
def test_a_local_book_kept_by_binances_procedure_is_the_book(
    tmp_path_factory: pytest.TempPathFactory, happenings: list[tuple[Levels, Levels, int]], joins: int
) -> None:
    feed, now_ms = Feed(tmp_path_factory.mktemp("market") / "market"), 0
    local: LocalBook | None = None
    for at, (bids, asks, wait_ms) in enumerate(happenings):
        if at == joins:
            feed.feeds.rewant([DEPTH])
            local = LocalBook(feed.venue.book, feed.units)
        feed.change(feed.venue.book.last_id + 3, bids, asks)
        now_ms += wait_ms
        for _, event in feed.run(now_ms):
            assert local is not None
            assert isinstance(event, sbe.DepthDiff)
            local.apply(event)
        if local is not None and feed.feeds.due_ms is None:
            there = LocalBook(feed.venue.book, feed.units)
            assert (local.bids, local.asks) == (there.bids, there.asks)


async def test_depth_of_a_generated_market_follows_clients_orders(autojump_clock: MockClock) -> None:
    """Over the wire: the differences keep a local book that the snapshots and the best prices agree with."""
    market = open_market("synthetic", seed=3)
    clock = AnchoredClock(market.first_ns)
    names = [f"{market.symbol.lower()}@{channel}" for channel in ("depth", "depth20", "bestBidAsk")]
    config = ExchangeConfig(
        market=market, clocks=Clocks(clock.now_ns, joined=True), keys=KEYS, funds={market.rules.base_asset: "5"}
    )
    async with simnet.with_simnet(), trio.open_nursery() as nursery:
        exchange = Exchange(config)
        await nursery.start(exchange.run)
        running = Served(exchange, clock, nursery)
        client, trader = SbeClient(await running.sbe(f"/ws/{'/'.join(names)}")), await running.trader()
        book: dict[str, dict[int, int]] = {"bids": {}, "asks": {}}
        seen = dict.fromkeys((sbe.DepthDiff, sbe.DepthSnapshot, sbe.BestBidAsk), 0)
        last_id, tick, order = 0, 0, 0
        while min(seen.values()) < 50 or not order:
            event = await client.event()
            assert not isinstance(event, sbe.Trades)
            seen[type(event)] += 1
            if isinstance(event, sbe.DepthDiff):
                assert event.event_us % 20_000 == 0
                assert not last_id or event.first_id == last_id + 1
                last_id = event.last_id
                for side, changes in (("bids", event.bids), ("asks", event.asks)):
                    book[side] = {price: qty for price, qty in {**book[side], **dict(changes)}.items() if qty}
            elif isinstance(event, sbe.DepthSnapshot):
                assert event.event_us % 50_000 == 0
                if event.update_id == last_id:
                    assert event.bids == tuple(sorted(book["bids"].items(), reverse=True)[:20])
                    assert event.asks == tuple(sorted(book["asks"].items())[:20])
                    tick += 1
            if seen[sbe.DepthDiff] == 20 and not order:
                price = market.rules.price_text(exchange.venue.quote()[2] + 1)
                reply = await trader.call(
                    "order.place",
                    symbol=market.symbol,
                    timestamp=running.now_ms(),
                    type="LIMIT_MAKER",
                    side="SELL",
                    price=price,
                    quantity="0.1234",
                )
                assert reply["status"] == 200
                order = 1
        assert tick > 20
        nursery.cancel_scope.cancel()


# -- control messages -------------------------------------------------------------------------------------------------
async def test_control_messages_are_texts_and_change_what_comes(autojump_clock: MockClock, tmp_path: Path) -> None:
    reply_example, _ = messages("text-frames")
    async with served(tmp_path, market()) as exchange:
        client = await connect(exchange, f"/ws/{BEST}")
        assert await client.say({"method": "SUBSCRIBE", "params": [TRADE], "id": 1}) == reply_example
        assert await client.say({"method": "LIST_SUBSCRIPTIONS", "id": "a"}) == {"result": [BEST, TRADE], "id": "a"}
        assert await client.say({"method": "UNSUBSCRIBE", "params": [BEST], "id": None}) == {"result": None, "id": None}
        client.frames.clear()
        assert isinstance(await client.event(), sbe.Trades)


async def test_there_is_no_wrapper_and_so_no_property(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path) as exchange:
        client = await connect(exchange, f"/stream?streams={BEST}")
        refused = await client.say({"method": "SET_PROPERTY", "params": ["combined", True], "id": 3})
        assert (refused["id"], refused["error"]["code"]) == (3, 2)
        assert "expected one of `SUBSCRIBE`, `UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`" in refused["error"]["msg"]
        assert "PROPERTY`" not in refused["error"]["msg"].partition("expected")[2]
        assert (await client.say(b"\x00"))["error"]["code"] == 3
        assert isinstance(await client.event(), sbe.BestBidAsk)


async def test_the_names_of_json_streams_are_other_streams(autojump_clock: MockClock, tmp_path: Path) -> None:
    """A name is subscribed without a word, known or not, and JSON never goes out on an SBE line, nor the reverse."""
    async with served(tmp_path) as exchange:
        client = await connect(exchange, "/ws")
        names = [f"{SYMBOL.lower()}@{channel}" for channel in ("bookTicker", "kline_1s", "nothing")]
        assert await client.say({"method": "SUBSCRIBE", "params": [*names, TRADE], "id": 1}) == {
            "result": None,
            "id": 1,
        }
        line = await exchange.line("bestBidAsk", "bookTicker", "trade")
        assert [set(await line.receive()) >= {"s"} for _ in range(2)] == [True, True]
        await trio.sleep(5)
        assert isinstance(await client.event(), sbe.Trades)
        assert (await client.say({"method": "LIST_SUBSCRIPTIONS", "id": 2}))["result"] == [*names, TRADE]
        assert client.frames == []


async def test_too_many_streams_are_refused(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path) as exchange:
        client = await connect(exchange, "/ws")
        names = [f"{at}@trade" for at in range(1025)]
        refused = await client.say({"method": "SUBSCRIBE", "params": names, "id": 1})
        assert refused == {"error": {"code": 4, "msg": "Too many subscriptions"}, "id": 1}
        assert (await client.say({"method": "SUBSCRIBE", "params": names[1:], "id": 2}))["result"] is None


# -- the life of a connection -----------------------------------------------------------------------------------------
async def closed(client: SbeClient, within_s: float = 60) -> tuple[int, str | None]:
    with trio.fail_after(within_s), pytest.raises(ConnectionClosed) as caught:
        while True:
            await client.ws.get_message()
    assert caught.value.reason is not None
    return caught.value.reason.code, caught.value.reason.reason


async def test_more_than_five_messages_a_second_end_the_connection(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path) as exchange:
        client = await connect(exchange, "/ws")
        for at in range(6):
            await client.ws.send_message(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": at}))
        assert await closed(client) == (1008, "Too many requests")


async def test_a_connection_is_pinged_and_lasts_a_day(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path) as exchange:
        client = await connect(exchange, "/ws/nobody@trade")
        assert (await closed(client, 100_000))[0] == 1001
        assert trio.current_time() == pytest.approx(86400)


async def test_who_answers_no_ping_is_left(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path) as exchange:
        stream = exchange.raw_sbe()
        assert (await handshake(stream, "/ws", ("X-MBX-APIKEY", ED_KEY)))[0] == 101
        reader, got = FrameReader(), list[tuple[int, bytes]]()
        while not reader.over:
            got += reader.feed(await stream.receive_some())
        assert [opcode for opcode, _ in got] == [PING, CLOSE]
        assert close_code(got[-1][1]) == (1008, "no pong within 60 s")
        assert trio.current_time() == pytest.approx(80)


async def test_a_slow_client_is_spared_superseded_best_prices_and_nothing_else(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """ "Auto-culling": of the best prices that wait for it only the newest go out, and it is not cut for them."""
    lines = quiet()
    for at in range(3000):
        lines.append(top(2 + at / 1000, "3412.36", f"{1 + at}.0000", "3412.37", "1.0000"))
        if not at % 100:
            lines.append(trade(2 + at / 1000, "3412.36", "0.0001"))
    market = open_market(record(tmp_path / "market", lines), SYMBOL)
    clock, audit = AnchoredClock(market.first_ns), io.StringIO()
    config = ExchangeConfig(
        market=market, clocks=Clocks(clock.now_ns, joined=True), keys=KEYS, audit=audit, outbox_bytes=8000
    )
    async with simnet.with_simnet(), trio.open_nursery() as nursery:
        urls = await nursery.start(Exchange(config).run)
        slow = await trio.open_tcp_stream("127.0.0.1", int(urls.sbe.rpartition(":")[2]))
        assert (await handshake(slow, f"/ws/{BEST}/{TRADE}", ("X-MBX-APIKEY", ED_KEY)))[0] == 101
        reader, got = FrameReader(), list[sbe.Event]()

        async def read() -> None:
            got.extend(sbe.decode(data) for code, data in reader.feed(await slow.receive_some()) if code == BINARY)

        while len(got) < 2:
            await read()
        window = slow.socket.inward  # type: ignore[attr-defined]
        full, window.size = 1 << 20, window.size + (1 << 20)  # it takes nothing more
        await trio.sleep(10)
        window.size -= full
        window.writers.unpark_all()
        while not (got[-1:] and isinstance(got[-1], sbe.BestBidAsk) and prices(got[-1])[1] == 3000):
            await read()
        nursery.cancel_scope.cancel()
    ids = [row[0] for event in got if isinstance(event, sbe.Trades) for row in rows(event)]
    assert ids == list(range(ids[0], ids[0] + 31))
    best = [event for event in got if isinstance(event, sbe.BestBidAsk)]
    assert len(best) < 10
    assert [event.update_id for event in best] == sorted(event.update_id for event in best)


# -- a line of ours ---------------------------------------------------------------------------------------------------
async def test_our_market_line_reads_it(autojump_clock: MockClock, tmp_path: Path) -> None:
    tape = open_market(record(tmp_path / "market", market()), SYMBOL)
    clocks = Clocks(AnchoredClock(tape.first_ns).now_ns, joined=True)
    async with simnet.with_simnet(), trio.open_nursery() as nursery:
        urls = await nursery.start(Exchange(ExchangeConfig(market=tape, clocks=clocks, keys=KEYS)).run)
        assert len({url.split("/")[2] for url in (urls.rest, urls.stream, urls.sbe)}) == 3
        async with (
            open_line(urls.sbe, [BEST, TRADE], api_key=Secret(ED_KEY)) as line,
            open_line(urls.sbe, [BEST, TRADE], api_key=Secret(ED_KEY)) as another,
        ):
            await line.say(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": 1}))
            got: list[tuple[int, bytes]] = []
            while len(got) < 6:
                got += await line.receive_any(trio.current_time() + 7200)
            with pytest.raises(LinkLost, match="a binary frame on a JSON line"):
                await another.receive(trio.current_time() + 60)
        assert [json.loads(payload) for opcode, payload in got if opcode == TEXT] == [
            {"result": [BEST, TRADE], "id": 1}
        ]
        kinds = [type(sbe.decode(payload)) for opcode, payload in got if opcode == BINARY]
        assert kinds == [sbe.BestBidAsk, sbe.Trades, sbe.Trades, sbe.BestBidAsk, sbe.BestBidAsk]
        with pytest.raises(LinkLost, match="refused with HTTP 400"):
            async with open_line(urls.sbe, [BEST]):
                pass
        nursery.cancel_scope.cancel()


async def test_a_port_in_use_is_a_clear_error_and_leaves_no_other_open(tmp_path: Path) -> None:
    (taken,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    (free,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port, rest_port = (each.socket.getsockname()[1] for each in (taken, free))
    await free.aclose()
    tape = open_market(record(tmp_path / "market", quiet()), SYMBOL)
    clocks = Clocks(AnchoredClock(tape.first_ns).now_ns)
    config = ExchangeConfig(market=tape, clocks=clocks, keys=KEYS, rest_port=rest_port, sbe_port=port)
    async with taken:
        with pytest.raises(ConfigError, match=f"port {port} of 127.0.0.1 is in use"):
            await Exchange(config).run()
    with pytest.raises(OSError, match="failed"):
        await trio.open_tcp_stream("127.0.0.1", rest_port)


# -- where SBE is switched off ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("responseFormat=sbe&sbeSchemaId=3&sbeSchemaVersion=5", '{"code":-1155,"msg":"SBE is not enabled."}'),
        ("responseFormat=SBE", '{"code":-1155,"msg":"SBE is not enabled."}'),
        (
            "responseFormat=json&responseFormat=json",
            '{"code":-1101,"msg":"Duplicate values for a parameter detected."}',
        ),
    ],
)
async def test_the_websocket_api_answers_in_json_only(
    autojump_clock: MockClock, tmp_path: Path, query: str, answer: str
) -> None:
    async with served(tmp_path) as exchange:
        assert await handshake(exchange.raw(), f"/ws-api/v3?{query}") == (400, JSON, answer)
        assert (await handshake(exchange.raw(), "/ws-api/v3?responseFormat=json"))[0] == 101
