"""A whole bot and its exchange in virtual time, with whatever goes wrong between them, or is said to them."""

from __future__ import annotations

import functools
import io
import itertools
import json
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

import tetrio.live.link
import tetrio.net.line
from tests.scenarios.referee import Verdict, judge
from tests.scenarios.runs import CAPTURES, REPLAY, raw_lines
from tetrio import config
from tetrio.core.money import SymbolRules
from tetrio.journal import Journal, StreamSink
from tetrio.live.bot import Bot, Setup
from tetrio.net import clock, simnet, virtual
from tetrio.net.dial import Address, dial
from tetrio.sim.exchange import Clocks, Exchange, ExchangeConfig
from tetrio.sim.market.tape import open_market
from tetrio.status import Status
from tetrio.wire.frames import FrameReader, text_frame
from tetrio.wire.sign import Signer

FRAMES = 5000  # of a capture: about half a minute
KEY = "embedded"
TEXT = 0x1
Frame = dict[str, Any]


class Tampered(trio.abc.Stream):
    """The bot's end of the account link, with `fault` between it and the exchange."""

    def __init__(self, inner: trio.SocketStream, fault: Fault, nursery: trio.Nursery) -> None:
        self.inner, self._fault, self._nursery = inner, fault, nursery
        self._reader: FrameReader | None = None
        self._head = b""
        self._in, self._out = trio.open_memory_channel[bytes | None](10_000)
        nursery.start_soon(self._pump)

    async def _pump(self) -> None:
        try:
            while data := bytes(await self.inner.receive_some(65536)):
                self._take(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # told as an end, as a connection that was reset is
        self._in.send_nowait(None)

    def _take(self, data: bytes) -> None:
        if self._reader is None:
            self._head += data
            head, found, data = self._head.partition(b"\r\n\r\n")
            if not found:
                return
            self._reader = FrameReader()
            self._in.send_nowait(head + found)
        for opcode, payload in self._reader.feed(data):
            if opcode != TEXT:
                self._in.send_nowait(bytes([0x80 | opcode, len(payload)]) + payload)
                continue
            for delay_s, told in self._fault.told(self, json.loads(payload)):
                frame = text_frame(json.dumps(told).encode())
                if delay_s:
                    self._nursery.start_soon(self._tell, delay_s, frame)
                else:
                    self._in.send_nowait(frame)  # what is not delayed keeps its order

    async def _tell(self, delay_s: float, frame: bytes) -> None:
        await trio.sleep(delay_s)
        self._in.send_nowait(frame)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        data = await self._out.receive()
        if data is None:
            self._in.send_nowait(None)
            raise trio.BrokenResourceError
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.inner.send_all(data)
        if (request := sent_request(bytes(data))) is not None:
            self._fault.asked(self, request)

    async def wait_send_all_might_not_block(self) -> None:
        await self.inner.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self.inner.aclose()

    def cut(self) -> None:
        self.inner.socket.reset()  # type: ignore[attr-defined]  # a simulated socket's


def sent_request(data: bytes) -> Frame | None:
    """The request in a masked text frame; None for a handshake or a control frame."""
    if data[0] != 0x80 | TEXT:
        return None
    begin = 4 if data[1] & 0x7F == 126 else 2
    mask = itertools.cycle(data[begin : begin + 4])
    request = json.loads(bytes(byte ^ key for byte, key in zip(data[begin + 4 :], mask, strict=False)))
    assert isinstance(request, dict)
    return request


class Fault:
    """None; what goes wrong is a subclass's to say."""

    def __init__(self, seed: int = 1) -> None:
        self.rng = random.Random(seed)
        self.count = 0
        self.methods: dict[tuple[int, object], str] = {}
        self.lines: dict[str, trio.abc.Stream] = {}
        self.bot: Bot
        self.stopped_at: float | None = None

    async def run(self) -> None:
        """What happens by itself, beside the run."""

    def asked(self, line: Tampered, request: Frame) -> None:
        """The bot has sent a request."""
        self.methods[id(line), request["id"]] = request["method"]

    def told(self, line: Tampered, frame: Frame) -> list[tuple[float, Frame]]:
        """What becomes of a frame of the exchange: (delay, s; frame) for each copy."""
        return [(0, frame)]

    def method(self, line: Tampered, frame: Frame) -> str:
        return "" if "id" not in frame else self.methods.get((id(line), frame["id"]), "")

    def stop(self) -> None:
        self.stopped_at = trio.current_time()
        self.bot.stop.set()


Beside = Callable[..., Awaitable[None]]
"""(bot, task_status) -> None."""


@attrs.frozen
class Run:
    """How it went."""

    clean: bool
    verdict: Verdict
    facts: list[Frame]
    stop_s: float
    audit: str

    def epochs_ended(self) -> list[str]:
        return [fact["why"] for fact in self.facts if fact["kind"] == "epoch" and fact["state"] == "ended"]


def played(
    fault: Fault,
    market: Path,
    *options: str,
    seed: int = 1,
    state: Path | None = None,
    beside: Beside | None = None,
    takes: str = "",
    faults: Sequence[str] = (),
    lives: int = 1,
) -> Run:
    """Trade the market through `fault`; the audit is judged.

    state    directory of the latch
    beside   a task that runs beside the bot, such as one of its faces
    takes    reasons whose orders may take (referee.judge)
    faults   of the exchange, as `tetrio exchange --fault` has them
    lives    processes, one after the other: the next begins when the one before has stopped
    """
    given = config.load(REPLAY, {}, [config.from_option(text) for text in options])
    audit, journal = io.StringIO(), io.StringIO()
    clean, stop_s = virtual.run(
        functools.partial(_run, fault, market, given, audit, journal, state, beside, faults, lives), seed
    )
    lines = [json.loads(line) for line in audit.getvalue().splitlines()]
    facts = [json.loads(line) for line in journal.getvalue().splitlines()]
    return Run(clean, judge(lines, takes=takes), facts, stop_s, audit.getvalue())


async def _run(
    fault: Fault,
    path: Path,
    given: config.Config,
    audit: io.StringIO,
    journal: io.StringIO,
    state: Path | None,
    beside: Beside | None,
    faults: Sequence[str],
    lives: int,
) -> tuple[bool, float]:
    market = open_market(str(path), None, seed=1)
    signer = Signer.generate(bytes(range(32)))
    async with simnet.with_simnet(), trio.open_nursery() as nursery:
        now = clock.AnchoredClock(market.first_ns - clock.NS)
        exchange = Exchange(
            ExchangeConfig(
                market=market, keys={KEY: signer.verifier}, clocks=Clocks(now.now_ns, joined=True), audit=audit,
                funds=funds(given, market.rules), on_market_end=lambda _: fault.bot.stop.set(),
                faults=faults,
            )
        )  # fmt: skip
        urls = await nursery.start(exchange.run)
        setup = Setup(
            rest=urls.rest, ws_api=urls.ws_api, stream=urls.stream, symbol=market.symbol, api_key=KEY, signer=signer,
            strategy=given.strategy, exit=given.exit, risk=given.risk, jumpstart=given.account.reconcile == "jumpstart",
            reserve_base=given.symbol.reserve_base, reserve_quote=given.symbol.reserve_quote,
            state=state, check_rights=False,
        )  # fmt: skip
        told = Journal([StreamSink(journal)], now.now_ns)
        fault.bot = Bot(setup, clock=now, journal=told, status=Status(), rng=random.Random(1))
        with tampering(fault, nursery):
            nursery.start_soon(fault.run)
            if beside is not None:
                await nursery.start(beside, fault.bot)
            clean = await fault.bot.run()
            for _ in range(1, lives):
                fault.bot = Bot(setup, clock=now, journal=told, status=Status(), rng=random.Random(1))
                clean = await fault.bot.run()
        stop_s = 0.0 if fault.stopped_at is None else trio.current_time() - fault.stopped_at
        nursery.cancel_scope.cancel()
    return clean, stop_s


def funds(given: config.Config, rules: SymbolRules) -> dict[str, str]:
    if given.venue.fund:
        return {asset: f"{amount:f}" for asset, amount in config.parse_funds(given.venue.fund).items()}
    return {rules.base_asset: "1", rules.quote_asset: "0"}


@contextmanager
def tampering(fault: Fault, nursery: trio.Nursery) -> Iterator[None]:
    """Put `fault` on every line that the bot opens."""

    async def account(address: Address, within_s: float) -> trio.abc.Stream:
        stream = await dial(address, within_s)
        assert isinstance(stream, trio.SocketStream)
        fault.lines["account"] = line = Tampered(stream, fault, nursery)
        return line

    async def market(address: Address, within_s: float, *, in_bulk: bool = False) -> trio.abc.Stream:
        fault.lines["market"] = stream = await dial(address, within_s, in_bulk=in_bulk)
        return stream

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tetrio.live.link, "dial", account)
        patch.setattr(tetrio.net.line, "dial", market)
        yield


def cut_market(directory: Path, frames: int = FRAMES) -> Path:
    """The first of a capture: half a minute of it, unless told."""
    path = directory / "ethusdt.txt"
    path.write_text("".join(raw_lines(CAPTURES[0], frames)))
    return path
