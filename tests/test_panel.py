from __future__ import annotations

import io
import itertools
import logging

import pytest
import trio
from rich.console import Console

from tetrio import panel
from tetrio.journal import Fact, Journal, describe
from tetrio.status import LiveOrder, Status

WHY = (
    "no take-profit until the bid rises to 2,543.25 (gain 0.11 %, more than 0.20 % needed); armed if it then falls to "
    "2,541.98 (callback 0.050 %); hard stop at 2,030.53"
)


def busy() -> Status:
    """A status with everything in it."""
    journal = Journal([], itertools.count(1_723_161_240_000_000_000).__next__, symbol="ETHUSDT")
    journal.write("armed", reason="take-profit", gain=0.00231)
    journal.write("order", client_order_id="tt-8f3a-k2j9x1-12t-3", side="SELL", price="2541.99", qty="0.3", state="NEW")
    return Status(
        venue="sim",
        symbol="ETHUSDT",
        base_asset="ETH",
        quote_asset="USDT",
        speed="20",
        phase="ready",
        market_ns=1_723_161_243_200_000_000,
        bid="2541.98",
        ask="2541.99",
        spread="0.01 (0.04 bp)",
        upper="2542.61",
        mid="2537.80",
        lower="2533.00",
        regime="BASE",
        anchor="2538.17",
        high="2541.05",
        gain=0.00113,
        drawdown=0.00186,
        loss=-0.0015,
        callback=0.00036,
        min_gain=0.002,
        armed="take-profit",
        want="SELL at the ask",
        order=LiveOrder(
            side="SELL",
            price="2541.99",
            qty="0.37240000",
            filled="0.10000000",
            client_order_id="tt-8f3a-k2j9x1-12t-3",
            placed_ns=1_723_161_240_000_000_000,
        ),
        why=WHY,
        balances={"USDT": "0.00130000", "ETH": "0.37240000"},
        links={"market a": "up", "market b": "stale", "orders": "up"},
        exits={"take-profit": 7, "hard stop": 2},
        frames=46_126,
        frames_per_s=211.4,
        facts=journal.recent,
    )


def drawn(status: Status, width: int = 80, height: int = 24) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    console.print(panel.render(status), height=height)
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue().splitlines()


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 34), (200, 60)])
def test_everything_that_matters_is_on_the_screen_uncut(width: int, height: int) -> None:
    status = busy()
    lines = drawn(status, width, height)
    assert len(lines) == height
    assert all(len(line) <= width for line in lines)
    text = "\n".join(lines)
    for number in (
        *("2541.98", "2541.99", "0.01 (0.04 bp)", "2542.61", "2537.80", "2533.00", "BASE", "2538.17", "2541.05"),
        *("0.113 %", "0.186 %", "-0.150 %", "min 0.200 %", "callback 0.036 %", "gate open", "take-profit"),
        *("SELL 0.37240000 @ 2541.99", "0.10000000", "3.2 s", "0.37240000 ETH", "0.00130000 USDT", "46,126"),
        *(
            "market b stale",
            "orders up",
            "7 take-profit, 2 hard stop",
            "2024-08-08 23:54:03 UTC",
            "×20",
            "ready",
            "211 frames/s",
        ),
        *("NEW SELL 0.3 @ 2541.99", "reason take-profit"),
    ):
        assert number in text, number
    assert WHY in " ".join(" ".join(lines).split())


@pytest.mark.parametrize("price", ["0.00001234", "68123.45", "123456.789"])
def test_prices_of_any_size_fit_a_small_terminal(price: str) -> None:
    status = busy()
    status.bid = status.ask = status.anchor = status.high = status.upper = status.mid = status.lower = price
    assert status.order is not None
    status.order.price, status.order.qty, status.order.filled = price, "123456.00000000", "100000.00000000"
    text = "\n".join(drawn(status))
    assert text.count(price) >= 8
    assert f"SELL 123456.00000000 @ {price}  filled 100000.00000000" in text
    assert "callback 0.036 %" in text


def test_a_bot_that_knows_nothing_yet_shows_what_it_is_doing() -> None:
    text = "\n".join(
        drawn(Status(venue="testnet", symbol="ETHFDUSD", detail="no answer from 10.0.0.1, next try in 4 s"))
    )
    assert "connecting" in text
    assert "no answer from 10.0.0.1, next try in 4 s" in text


def test_latency_is_a_line_once_there_is_some() -> None:
    status = busy()
    assert not any("p50/99" in line for line in drawn(status))
    status.latency.clock(offset_ms=-3.0, error_ms=0.76, rate=1.0)
    status.latency.sample("order", 0.000_512)
    status.latency.sample("feed", 0.012)
    lines = drawn(status)
    assert " p50/99 feed 12/12 order 0.51/0.51 ms, clock -3.0 ±0.8 ms" in [line.rstrip() for line in lines]
    assert len(lines) == 24
    assert WHY in " ".join(" ".join(lines).split())
    assert "reason take-profit" in "\n".join(lines)


def test_a_closed_gate_and_the_low_of_the_quote_are_named() -> None:
    status = busy()
    status.regime, status.gate_closed, status.gate_regime = "QUOTE", True, "BASE"
    lines = drawn(status)
    assert any("gate closed in BASE" in line for line in lines)
    assert any(line.split()[-3:] == ["low", "2541.05"] or "low      2541.05" in line for line in lines)


def test_markup_in_a_fact_is_text() -> None:
    status = Status(facts=Journal([], lambda: 0).recent)
    status.facts.append(Fact(0, "log", {"level": "warning", "text": "[bold]not markup[/nope]"}))
    status.detail = "[red]detail[/nope]"
    text = "\n".join(drawn(status))
    assert "[bold]not markup[/nope]" in text
    assert "[red]detail[/nope]" in text


def test_a_long_fact_loses_its_end_and_neither_its_time_nor_its_kind() -> None:
    status = Status(facts=Journal([], lambda: 0).recent)
    status.facts.append(
        Fact(0, "gate", {"state": "closed", "balances": {"ETH": "0.10"}, "bid": "1.50", "why": "x" * 99})
    )
    assert any(line.startswith(" 00:00:00.000 gate closed  xxx") for line in drawn(status))


def test_a_long_value_loses_its_end_and_not_its_name() -> None:
    status = busy()
    status.want = "x" * 300
    assert any(line.startswith(" armed  take-profit   want xxxx") and line.endswith("x…") for line in drawn(status))


def test_a_fact_is_told_in_words() -> None:
    fields = {"symbol": "X", "price": "3431.89000000", "state": "NEW", "gain": 1 / 3, "balances": {"ETH": "0.10"}}
    assert describe(Fact(0, "order", fields)) == "NEW @ 3431.89  gain 0.333333 balances 0.1 ETH"


def test_the_last_line_says_what_was_done() -> None:
    assert panel.farewell(busy()) == (
        "tetrio sim ETHUSDT: exits: 7 take-profit, 2 hard stop; frames: 46,126; "
        "holdings: 0.37240000 ETH, 0.00130000 USDT"
    )


async def wait_shown(file: io.StringIO, text: str) -> None:
    while text not in file.getvalue():  # noqa: ASYNC110 - a terminal has no event to wait for
        await trio.sleep(0.001)


@pytest.mark.parametrize("in_thread", [True, False])
async def test_the_terminal_is_taken_over_and_given_back(in_thread: bool) -> None:
    file = io.StringIO()
    console = Console(file=file, width=80, height=24, force_terminal=True)
    status = busy()
    async with trio.open_nursery() as nursery:

        async def show() -> None:
            await panel.show(status, console=console, period_s=0.001, in_thread=in_thread)

        nursery.start_soon(show)
        with trio.fail_after(5):
            await wait_shown(file, "2541.98")
            status.bid = "9999.99"
            await wait_shown(file, "9999.99")
        nursery.cancel_scope.cancel()
    output = file.getvalue()
    assert output.count("\x1b[?1049h") == output.count("\x1b[?1049l") == 1  # the alternate screen
    assert output.rindex("\x1b[?25h") > output.rindex("\x1b[?25l")  # the cursor
    assert output.rstrip().endswith("0.00130000 USDT")


class Gone(io.StringIO):
    """A terminal whose other end has hung up."""

    def write(self, text: str) -> int:
        raise OSError(5, "Input/output error")


async def test_a_terminal_that_has_gone_ends_the_panel_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    with trio.fail_after(5), caplog.at_level(logging.ERROR):
        await panel.show(busy(), console=Console(file=Gone(), width=80, height=24, force_terminal=True))
    assert "the panel has failed" in caplog.text


class Stuck(io.StringIO):
    """A terminal that takes no more output, as after Ctrl-S."""

    def __init__(self) -> None:
        super().__init__()
        self.stuck = True

    def write(self, text: str) -> int:
        while self.stuck:
            trio.from_thread.run(trio.sleep, 0.001)
        return super().write(text)


async def test_a_stuck_terminal_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panel, "STUCK_S", 0.05)
    terminal = Stuck()
    console = Console(file=terminal, width=80, height=24, force_terminal=True)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:

            async def show() -> None:
                await panel.show(busy(), console=console, period_s=0.01)

            nursery.start_soon(show)
            for _ in range(20):
                await trio.sleep(0.005)  # others go on
            nursery.cancel_scope.cancel()
    terminal.stuck = False


def test_the_header_says_what_the_operator_has_said_and_what_ails() -> None:
    status = busy()
    status.paused = status.halted = True
    status.ailing = ("the market's beat is 12 s old",)
    console = Console(file=io.StringIO(), width=160, height=24)
    with console.capture() as capture:
        console.print(panel.render(status))
    header = capture.get().splitlines()[0]
    assert "PAUSED" in header
    assert "HALTED" in header
    assert "not alive: the market's beat is 12 s old" in header
    status.paused = status.halted = False
    status.ailing = ()
    with console.capture() as capture:
        console.print(panel.render(status))
    header = capture.get().splitlines()[0]
    assert not any(word in header for word in ("PAUSED", "HALTED", "not alive"))
