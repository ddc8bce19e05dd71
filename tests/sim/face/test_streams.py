"""Market streams as a client meets them: what was recorded comes verbatim, what was not is made, and time is kept."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import trio
from trio.testing import MockClock

from tests.paths import SHARED
from tests.sim.served import KEYS, START_MS, SYMBOL, UPGRADE, Client, Line, Served, quiet, record, served, trade
from tetrio.net import simnet, virtual
from tetrio.net.clock import AnchoredClock
from tetrio.sim.exchange import Clocks, Exchange, ExchangeConfig
from tetrio.sim.face.latency import parse_latency
from tetrio.sim.market.reference import ReferencePrice
from tetrio.sim.market.tape import open_market
from tetrio.wire.frames import TEXT, FrameReader, client_frame
from tetrio.wire.stream import KlineUpdate, MarketDecoder


async def frames(line: Client, count: int) -> list[dict[str, Any]]:
    return [await line.receive() for _ in range(count)]


async def reads(stream: trio.abc.Stream, target: bytes, count: int) -> list[list[bytes]]:
    """Text payloads by read, of the first `count` reads that hold any."""
    await stream.send_all(UPGRADE % target)
    head, _, rest = bytes(await stream.receive_some()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101")
    assert rest == b""
    reader, found = FrameReader(), list[list[bytes]]()
    while len(found) < count:
        texts = [data for opcode, data in reader.feed(await stream.receive_some()) if opcode == TEXT]
        found += [texts] if texts else []
    return found


# -- what was recorded ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("combined", [True, False])
async def test_recorded_frames_come_byte_for_byte(autojump_clock: MockClock, tmp_path: Path, combined: bool) -> None:
    names = [f"{SYMBOL.lower()}@{channel}" for channel in ("bookTicker", "trade")]
    target = f"/stream?streams={'/'.join(names)}" if combined else f"/ws/{'/'.join(names)}"
    async with served(tmp_path, ping_s=1e6) as exchange:
        sent = [data.decode() for read in await reads(exchange.raw(), target.encode(), 3) for data in read]
    recorded = [line.partition(" ")[2] for line in (tmp_path / "market").read_text().splitlines()]
    if not combined:
        recorded = [json.dumps(json.loads(line)["data"], separators=(",", ":")) for line in recorded]
    assert sent == recorded


async def test_all_of_a_market_millisecond_is_one_write(autojump_clock: MockClock, tmp_path: Path) -> None:
    burst: list[Line] = [trade(2 + at / 100_000, "3412.36", "0.0100") for at in range(50)]
    async with served(tmp_path, [*quiet(), *burst]) as exchange:
        stream = f"/ws/{SYMBOL.lower()}@trade".encode()
        assert [len(read) for read in await reads(exchange.raw(), stream, 2)] == [1, 50]


async def test_events_come_at_their_time(autojump_clock: MockClock, tmp_path: Path) -> None:
    lines = [*quiet(), *(trade(at_s, "3412.36", "0.0100") for at_s in (2.5, 2.6, 700.0))]
    async with served(tmp_path, lines) as exchange:
        await trio.sleep(5)  # so much later than the recording begins everything is
        line = await exchange.line("trade")
        came = [(await line.receive(), trio.current_time())[1] for _ in range(4)]
        assert came == pytest.approx([5.001, 7.5, 7.6, 705.0])
        assert exchange.exchange.venue.clock.now_ns() == pytest.approx((START_MS + 700_000) * 1e6, abs=1e6)


async def test_a_market_of_its_own_process_runs_at_its_speed(autojump_clock: MockClock, tmp_path: Path) -> None:
    market = open_market(record(tmp_path / "market", [*quiet(), trade(100, "3412.36", "0.0100")]), SYMBOL)
    wall = AnchoredClock(1_900_000_000 * 10**9)
    clocks = Clocks(wall.now_ns, speed=20)
    exchange = Exchange(ExchangeConfig(market=market, clocks=clocks, keys=KEYS))
    async with trio.open_nursery() as nursery:
        await nursery.start(exchange.run)
        running = Served(exchange, wall, nursery)
        client, line = await running.client(), await running.line("trade")
        await line.receive()
        await line.receive()
        assert trio.current_time() == pytest.approx(5)
        assert (await client.call("time"))["result"]["serverTime"] == pytest.approx(1_900_000_005_000, abs=1)
        kline = (await client.call("klines", symbol=SYMBOL, interval="1m"))["result"][-1]
        assert kline[0] == START_MS + 60_000
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("joined", [False, True])
async def test_a_market_without_end_waits_for_nobody_in_its_own_process(
    autojump_clock: MockClock, joined: bool
) -> None:
    clock = AnchoredClock(open_market("synthetic").first_ns)
    clocks = Clocks(clock.now_ns, joined=joined)
    exchange = Exchange(ExchangeConfig(market=open_market("synthetic"), clocks=clocks, keys=KEYS))
    async with trio.open_nursery() as nursery:
        await nursery.start(exchange.run)
        await trio.sleep(10)
        reply = await Served(exchange, clock, nursery).get(
            "/api/v3/ticker/bookTicker", f"symbol={exchange.venue.symbol}"
        )
        assert (float(reply["body"]["bidPrice"]) > 0) is not joined
        nursery.cancel_scope.cancel()


async def test_latency_delays_market_data(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path, latency=parse_latency("250")) as exchange:
        line = await exchange.line("bookTicker")
        await line.receive()
        assert trio.current_time() == pytest.approx(0.25)


# -- what is made -----------------------------------------------------------------------------------------------------


async def test_agg_trades_are_made_of_trades_where_none_are_recorded(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path) as exchange:
        line = await exchange.line("trade", "aggTrade")
        one, agg = await frames(line, 2)
        assert agg == {
            "e": "aggTrade",
            "E": one["T"],
            "s": SYMBOL,
            "a": one["t"],
            "p": "3412.36000000",
            "q": "0.00010000",
            "f": one["t"],
            "l": one["t"],
            "T": one["T"],
            "m": True,
            "M": True,
        }


async def test_a_clients_trade_is_published_and_shifts_later_ids(autojump_clock: MockClock, tmp_path: Path) -> None:
    later = [trade(at_s, "3412.36", "0.0100") for at_s in (10, 11)]
    async with served(tmp_path, [*quiet(), *later]) as exchange:
        line = await exchange.line("trade", "aggTrade")
        first = (await frames(line, 2))[0]["t"]
        client = await exchange.trader()
        filled = await client.order(type="MARKET", side="BUY", quantity="0.3")
        assert filled["result"]["fills"][0]["tradeId"] == first + 1
        own, own_agg, *rest = await frames(line, 6)
        assert (own["t"], own["q"], own["m"]) == (first + 1, "0.30000000", False)
        assert own_agg["a"] == first + 1
        assert [each["t"] for each in rest if each["e"] == "trade"] == [first + 2, first + 3]
        assert [(each["a"], each["f"], each["l"]) for each in rest if each["e"] == "aggTrade"] == [
            (first + 2, first + 2, first + 2),
            (first + 3, first + 3, first + 3),
        ]
        assert rest[0] == later[0][2] | {"t": first + 2}  # everything else as it was recorded


async def test_one_second_candles_beat_every_second_whether_anybody_trades_or_not(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with served(tmp_path) as exchange:
        line = await exchange.line("kline_1s")
        closed: list[tuple[dict[str, Any], float]] = []
        while len(closed) < 100:
            frame = await line.receive()
            if frame["k"]["x"]:
                closed.append((frame, trio.current_time()))
        assert [frame["k"]["t"] for frame, _ in closed] == [START_MS + 1000 * at for at in range(100)]
        assert [at_s for _, at_s in closed] == pytest.approx([at + 1.25 for at in range(100)])
        first, *empty = (frame["k"] for frame, _ in closed)
        assert (first["n"], first["v"]) == (1, "0.00010000")
        assert {(each["n"], each["v"], each["c"], each["f"]) for each in empty} == {
            (0, "0.00000000", "3412.36000000", -1)
        }


async def test_longer_candles_come_every_two_seconds_and_once_more_when_they_are_over(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with served(tmp_path) as exchange:
        line = await exchange.line("kline_1m")
        seen = [(each["k"]["t"], each["k"]["x"], each["E"]) for each in await frames(line, 62)]
        minute = [each for each in seen if each[0] == START_MS]
        assert [closed for _, closed, _ in minute] == [False] * 30 + [True]
        assert [told - START_MS for _, _, told in minute] == [2000 * at + 250 for at in range(31)]


async def test_candles_agree_with_the_trades_that_were_sent(autojump_clock: MockClock, tmp_path: Path) -> None:
    """On real data, whose recorder's clock was 1.3 s behind the exchange's; also as klines tell them."""
    market = open_market(SHARED / "data" / "capture" / "ethusdt_20240809.gz")
    clock = AnchoredClock(market.first_ns)
    clocks = Clocks(clock.now_ns, joined=True)
    exchange = Exchange(ExchangeConfig(market=market, clocks=clocks, keys=KEYS))
    decoder = MarketDecoder(market.rules)
    trades: list[Any] = []
    closed: list[KlineUpdate] = []
    async with simnet.with_simnet(), trio.open_nursery() as nursery:
        await nursery.start(exchange.run)
        running = Served(exchange, clock, nursery)
        line = await running.client("/ws/ethusdt@trade/ethusdt@kline_1s/ethusdt@kline_1m")
        while len(closed) < 100:
            event = decoder.decode(json.dumps(await line.receive()).encode())
            if isinstance(event, KlineUpdate):
                closed += [event] if event.kline.closed else []
            else:
                trades.append(event)
        klines = (await (await running.client()).call("klines", symbol="ETHUSDT", interval="1s"))["result"]
        nursery.cancel_scope.cancel()
    assert len({event.interval for event in closed}) == 2
    for event in closed:
        span_ms = 1000 if event.interval == "1s" else 60_000
        prices = [each.price for each in trades if 0 <= each.at_ms - event.kline.open_ms < span_ms]
        if prices:
            kline = event.kline
            assert (kline.open, kline.high, kline.low, kline.close) == (
                *(prices[0], max(prices), min(prices), prices[-1]),
            )
    told = {event.kline.open_ms: event.kline for event in closed if event.interval == "1s"}
    again = {each[0]: each for each in klines}
    for open_ms, kline in told.items():
        if open_ms >= klines[0][0]:
            assert market.rules.price_ticks(again[open_ms][4]) == kline.close


async def test_a_market_of_klines_and_a_synthetic_one_have_every_stream(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    for source in (SHARED / "data" / "klines" / "ETHUSDT-1m-2025-06.csv.gz", "synthetic"):
        market = open_market(source, seed=3)
        clock = AnchoredClock(market.first_ns)
        exchange = Exchange(ExchangeConfig(market=market, clocks=Clocks(clock.now_ns, joined=True), keys=KEYS))
        async with trio.open_nursery() as nursery:
            await nursery.start(exchange.run)
            name = market.symbol.lower()
            channels = ("bookTicker", "trade", "aggTrade", "kline_1s", "kline_1m", "avgPrice", "ticker", "miniTicker")
            channels += ("ticker_1h", "depth", "depth@100ms")  # type: ignore[assignment]
            line = await Served(exchange, clock, nursery).client(
                "/ws/" + "/".join(f"{name}@{each}" for each in channels)
            )
            decoder = MarketDecoder(market.rules)
            kinds, others = set(), {"aggTrade", "24hrTicker", "24hrMiniTicker", "1hTicker", "depthUpdate"}
            for _ in range(300):
                frame = await line.receive()
                kind = frame.get("e", "bookTicker")
                kinds.add(kind)
                assert kind in others or decoder.decode(json.dumps(frame).encode()) is not None
            assert kinds == {"bookTicker", "trade", "kline", "avgPrice", *others}
            nursery.cancel_scope.cancel()


async def test_candles_of_the_other_zone_are_told_beside_ours(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path) as exchange:
        line = await exchange.line("kline_1d", "kline_1d@+08:00", "kline_1h@+08:00", combined=True)
        told = {frame["stream"]: frame["data"]["k"] for frame in await frames(line, 3)}
        opened = {name.partition("@")[2]: k["t"] for name, k in told.items()}
        assert opened["kline_1d"] % 86_400_000 == 0
        assert opened["kline_1d@+08:00"] % 86_400_000 == 57_600_000
        assert opened["kline_1h@+08:00"] % 3_600_000 == 0
        assert {k["i"] for k in told.values()} == {"1d", "1h"}
        client = await exchange.client()
        again = (await client.call("klines", symbol=SYMBOL, interval="1d", timeZone="8"))["result"]
        assert again[-1][0] == opened["kline_1d@+08:00"]


@pytest.mark.parametrize("beside", [(), ("avgPrice",)])
async def test_who_comes_later_is_not_told_of_candles_that_were_over(
    autojump_clock: MockClock, tmp_path: Path, beside: tuple[str, ...]
) -> None:
    """Whether or not something else beats meanwhile."""
    async with served(tmp_path) as exchange:
        staying = await exchange.line("bookTicker", *beside)
        first = await exchange.line("kline_1m")
        assert not (await first.receive())["k"]["x"]
        await first.ws.aclose()
        await trio.sleep(200)
        late_ms = exchange.now_ms()
        candle = (await (await exchange.line("kline_1m")).receive())["k"]
        assert not candle["x"] and candle["t"] <= late_ms <= candle["T"] + 2000
        await staying.ws.aclose()


async def test_reference_price_and_block_trades_are_told_once_there_are_any(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with served(tmp_path) as exchange:
        venue, line = exchange.exchange.venue, await exchange.line("referencePrice", "blockTrade")
        await trio.sleep(3.1)
        venue.set_reference(ReferencePrice(341_218, START_MS))
        told = await line.receive()
        assert (told["r"], told["t"]) == ("3412.18000000", START_MS + 3250)
        venue.set_reference(None)
        venue.block_trade(340_000, 5_000, True)
        block = await line.receive()
        assert (block["e"], block["t"], block["p"], block["q"]) == ("blockTrade", 1, "3400.00000000", "0.50000000")
        kept = (await (await exchange.client()).call("blockTrades.historical", symbol=SYMBOL, fromId=1))["result"]
        assert [each["quoteQty"] for each in kept] == ["1700.00000000"]


async def test_what_nobody_wants_is_not_made(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path) as exchange:
        line = await exchange.line("depth20@100ms", "ticker", "kline_1m")
        await frames(line, 3)
        publisher = exchange.exchange._hub
        await line.ws.aclose()
        await trio.sleep(10)
        assert publisher.names == []
        again = await exchange.line("depth20@100ms")
        assert (await again.receive())["lastUpdateId"]


# -- the end of a recording -------------------------------------------------------------------------------------------


async def test_after_the_end_beats_go_on_and_orders_are_served(autojump_clock: MockClock, tmp_path: Path) -> None:
    ended: list[tuple[int, float]] = []
    async with served(tmp_path, on_market_end=lambda count: ended.append((count, trio.current_time()))) as exchange:
        line = await exchange.line("avgPrice")
        client = await exchange.trader()
        await trio.sleep(4000)
        assert [count for count, _ in ended] == [3]
        assert ended[0][1] == pytest.approx(3600)
        beat = line.events[-1] if line.events else await line.receive()
        while beat["E"] < START_MS + 4_100_000:
            beat = await line.receive()
        assert (await client.order(type="MARKET", side="SELL", quantity="0.1"))["result"]["status"] == "FILLED"
        assert (await client.call("ticker.book", symbol=SYMBOL))["result"]["bidPrice"] == "3412.36000000"


# -- subscriptions ----------------------------------------------------------------------------------------------------


async def test_subscriptions_change_while_connected(autojump_clock: MockClock, tmp_path: Path) -> None:
    lines = [*quiet(), *(trade(at_s, "3412.36", "0.0100") for at_s in (5, 6, 7, 8, 9))]
    async with served(tmp_path, lines) as exchange:
        line = await exchange.client("/ws")
        name = f"{SYMBOL.lower()}@trade"

        async def control(method: str, *params: object) -> Any:
            await trio.sleep(1)
            reply = await line.ask(json.dumps({"method": method, "params": params, "id": 7}))
            assert reply["id"] == 7
            return reply["result"]

        assert await control("LIST_SUBSCRIPTIONS") == []
        assert await control("SUBSCRIBE", name) is None
        assert (await line.receive())["t"]
        assert await control("SET_PROPERTY", "combined", True) is None
        assert await control("GET_PROPERTY", "combined") is True
        assert (await line.receive())["stream"] == name
        assert await control("LIST_SUBSCRIPTIONS") == [name]
        assert await control("UNSUBSCRIBE", name) is None
        line.events.clear()
        await trio.sleep(30)
        assert await control("GET_PROPERTY", "combined") is True
        assert line.events == []


async def test_a_dummy_name_or_a_strange_symbol_is_taken_and_yields_nothing(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with served(tmp_path) as exchange:
        dummy = await exchange.client("/ws/123456")
        assert (await dummy.ask('{"method":"LIST_SUBSCRIPTIONS","id":1}'))["result"] == []
        await trio.sleep(100)
        assert exchange.exchange.venue.market.frames == 0  # nobody has subscribed to anything
        strange = await exchange.client("/ws/nothing@trade")
        await trio.sleep(100)
        assert (await strange.ask('{"method":"LIST_SUBSCRIPTIONS","id":1}'))["result"] == ["nothing@trade"]
        assert strange.events == []


async def test_a_name_may_be_percent_encoded(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path) as exchange:
        line = await exchange.client(f"/stream?streams={SYMBOL.lower()}%40bookTicker")
        assert (await line.receive())["data"]["s"] == SYMBOL


async def test_a_name_may_hold_any_letters(autojump_clock: MockClock, tmp_path: Path) -> None:
    """A symbol that is not ASCII: percent-encoded in a path (HTTP takes nothing else), as it is in a message."""
    name = "这是测试币456@trade"
    listed = '{"method":"LIST_SUBSCRIPTIONS","id":1}'
    async with served(tmp_path) as exchange:
        for target in (f"/ws/{quote(name)}", f"/stream?streams={quote(name)}"):
            line = await exchange.client(target)
            assert (await line.ask(listed))["result"] == [name]
        line = await exchange.client("/ws")
        assert (await line.ask(json.dumps({"method": "SUBSCRIBE", "params": [name], "id": 1})))["result"] is None
        assert (await line.ask(listed))["result"] == [name]


async def test_too_many_streams_are_refused(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with served(tmp_path) as exchange:
        line = await exchange.client("/ws")
        names = [f"x{number}@trade" for number in range(1025)]
        reply = await line.ask(json.dumps({"method": "SUBSCRIBE", "params": names, "id": 1}))
        assert reply["error"] == {"code": 4, "msg": "Too many subscriptions"}
        assert (await line.ask('{"method":"LIST_SUBSCRIPTIONS","id":1}'))["result"] == []


@pytest.mark.parametrize("junk", ["", "{}", "[]", "nonsense", b"\x00", b"{}", '{"method":7,"id":1}', "[" * 3000])
async def test_junk_gets_an_error_reply(autojump_clock: MockClock, tmp_path: Path, junk: str | bytes) -> None:
    async with served(tmp_path) as exchange:
        line = await exchange.client("/ws")
        assert (await line.ask(junk))["error"]["code"] in {2, 3}
        assert (await line.ask('{"method":"LIST_SUBSCRIPTIONS","id":1}'))["result"] == []


# -- cuts -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opcode", [1, 9, 10])
async def test_more_than_five_messages_a_second_are_cut(autojump_clock: MockClock, tmp_path: Path, opcode: int) -> None:
    """Control frames, pings and pongs alike."""
    async with served(tmp_path) as exchange:
        line = await exchange.client("/ws")
        message = b'{"method":"LIST_SUBSCRIPTIONS","id":1}'
        await line.ws._stream.send_all(client_frame(opcode, message, b"mask") * 5)
        await trio.sleep(1)
        assert line.ws.closed is None
        await line.ws._stream.send_all(client_frame(opcode, message, b"mask") * 6)
        assert await line.closed() == (1008, "Too many requests")


async def test_a_client_that_does_not_read_is_cut_and_the_others_are_served(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    lines = [*quiet(), *(trade(1 + at / 100, "3412.36", "0.0100") for at in range(3000))]
    market = open_market(record(tmp_path / "market", lines), SYMBOL)
    clock = AnchoredClock(market.first_ns)
    clocks, audit = Clocks(clock.now_ns, joined=True), io.StringIO()
    config = ExchangeConfig(market=market, clocks=clocks, keys=KEYS, outbox_bytes=100_000, audit=audit)
    async with simnet.with_simnet(), trio.open_nursery() as nursery:
        exchange = Exchange(config)
        urls = await nursery.start(exchange.run)
        port = int(urls.stream.rpartition(":")[2])
        deaf = await trio.open_tcp_stream("127.0.0.1", port)
        await deaf.send_all(UPGRADE % f"/ws/{SYMBOL.lower()}@trade".encode())
        await deaf.receive_some()
        deaf.socket.inward.size = 1 << 30  # type: ignore[attr-defined]  # its window is full for good
        good = await Served(exchange, clock, nursery).line("trade")
        ids = [each["t"] for each in await frames(good, 3001)]
        assert ids == list(range(ids[0], ids[0] + 3001))
        nursery.cancel_scope.cancel()
    why = [json.loads(line).get("why") for line in audit.getvalue().splitlines()]
    assert "outbox overflow: the client reads too slowly" in why


# -- determinism ------------------------------------------------------------------------------------------------------


def test_the_same_market_and_seed_give_the_same_bytes(tmp_path: Path) -> None:
    async def run() -> tuple[str, list[bytes]]:
        audit, market = io.StringIO(), open_market("synthetic", seed=11)
        clock = AnchoredClock(market.first_ns)
        config = ExchangeConfig(
            market=market,
            clocks=Clocks(clock.now_ns, joined=True),
            keys=KEYS,
            funds={market.rules.base_asset: "4", market.rules.quote_asset: "9000"},
            audit=audit,
        )
        got: list[bytes] = []
        async with simnet.with_simnet(), trio.open_nursery() as nursery:
            exchange = Exchange(config)
            urls = await nursery.start(exchange.run)
            stream = await trio.open_tcp_stream("127.0.0.1", int(urls.stream.rpartition(":")[2]))
            await stream.send_all(
                UPGRADE % f"/ws/{market.symbol.lower()}@trade/{market.symbol.lower()}@kline_1s".encode()
            )
            client = await Served(exchange, clock, nursery).trader()
            got.extend([bytes(await stream.receive_some()) for _ in range(200)])
            place = {"symbol": market.symbol, "type": "MARKET", "side": "SELL", "quantity": "0.1"}
            for _ in range(3):
                await client.call("order.place", timestamp=clock.now_ns() // 10**6, **place)
            got.extend([bytes(await stream.receive_some()) for _ in range(200)])
            nursery.cancel_scope.cancel()
        return audit.getvalue(), got

    assert virtual.run(run, 5) == virtual.run(run, 5)
