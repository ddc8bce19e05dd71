"""The live panel: what a person sees of a running bot on a terminal, four times a second.

`render` is pure: a `Status` in, something for rich out. `show` is the task that puts it on the alternate screen and
gives the terminal back. It never holds up trading: a terminal that takes no more output (a stalled connection, Ctrl-S)
costs frames of the panel and nothing else, and an error of the panel's ends the panel alone. It reads no keys.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial

import trio
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.layout import Layout
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tetrio import latency
from tetrio.journal import Fact, describe, short, time_of
from tetrio.status import Status

PERIOD_S = 0.25
STUCK_S = 1.0  # how long one frame may take before it is given up
BAR = 20

_PHASE_STYLE = {"connecting": "yellow", "syncing": "yellow", "ready": "green", "stopping": "magenta"}
_LINK_STYLE = {"up": "green", "connecting": "yellow", "stale": "red", "lost": "red"}
_KIND_STYLE = {
    "fill": "bold green",
    "armed": "bold yellow",
    "refused": "red",
    "link": "cyan",
    "regime": "bold",
    "log": "dim",
}


logger = logging.getLogger(__name__)


def render(status: Status) -> RenderableType:
    """The whole panel; it fills the console that it is printed on, 80 by 24 at least."""
    layout = Layout()
    layout.split_column(
        Layout(_header(status), size=1),
        Layout(name="market", size=7),
        Layout(_exit(status), size=3),
        Layout(_account(status), size=4 if latency.line(status.latency) else 3),
        Layout(_section("next decision", Text(status.why or status.detail or "…")), size=4),
        Layout(_Facts(tuple(status.facts)), minimum_size=3),
    )
    layout["market"].split_row(Layout(_market(status), ratio=32), Layout(_Decision(status), ratio=48))
    return layout


async def show(status: Status, *, console: Console, period_s: float = PERIOD_S, in_thread: bool = True) -> None:
    """Keep the panel on the terminal until cancelled, then give the terminal back and print how it ended.

    period_s    on trio's clock: with a clock N times as fast, pass N times as much
    in_thread   False in virtual time, whose clock does not see threads
    """
    screen = _Screen(console)
    stuck_s = STUCK_S * max(1.0, period_s / PERIOD_S)  # on the same clock, however fast it runs
    try:
        try:
            while True:
                await _call(partial(screen.put, render(status)), stuck_s, in_thread)
                await trio.sleep(period_s)
        finally:
            await _call(partial(screen.close, farewell(status)), 2 * stuck_s, in_thread)
    except Exception:
        # A panel that fails must not end trading: said in the log, and the bot goes on without it.
        logger.exception("the panel has failed; trading goes on without it")


def farewell(status: Status) -> str:
    """One line on what was done, for when the panel has gone."""
    held = ", ".join(f"{amount} {asset}" for asset, amount in _balances(status)) or "not known"
    done = _exits(status) or "none"
    return f"tetrio {status.venue} {status.symbol}: exits: {done}; frames: {status.frames:,}; holdings: {held}"


# --- the parts -------------------------------------------------------------------------------------------------------


def _header(status: Status) -> Table:
    line = Table.grid(expand=True, padding=(0, 1))
    line.add_column(no_wrap=True)
    line.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    line.add_column(no_wrap=True, justify="right")
    style = _PHASE_STYLE.get(status.phase, "")
    name = Text.assemble((" tetrio ", "reverse bold"), f" {status.venue} ", (status.symbol, "bold"))
    phase = Text.assemble((f"● {status.phase}", style))
    for word in ("paused", "halted"):
        if getattr(status, word):
            phase.append(f"  {word.upper()}", "bold red")
    phase.append(f" {status.detail}" if status.detail else "")
    if status.phase == "ready" and status.ailing:
        phase.append(f"  not alive: {'; '.join(status.ailing)}", "red")
    if status.epoch > 1:
        phase.append(f"  epoch {status.epoch}", "dim")
    clock = Text(_date(status.market_ns), "bold")
    if status.speed not in ("", "1"):
        clock.append(f"  {'virtual' if status.speed == 'max' else '×' + status.speed}", "dim")
    line.add_row(name, phase, clock)
    return line


def _market(status: Status) -> Group:
    rows: list[tuple[str, str | Text]] = [
        ("ask", Text(status.ask or "–", "bold red")),
        ("bid", Text(status.bid or "–", "bold green")),
        ("spread", status.spread or "–"),
        ("upper", status.upper or "–"),
        ("mid", status.mid or "–"),
        ("lower", status.lower or "–"),
    ]
    return _section("market", _pairs(rows), f"{status.frames:,} frames")


class _Decision:
    """Regime and the numbers that decide; the bars take what width is left."""

    def __init__(self, status: Status) -> None:
        self._status = status

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        status = self._status
        width = max(map(len, (status.regime, status.anchor, status.high, "-00.000 %")))
        bar = min(BAR, max(0, options.max_width - width - len("drawdown    callback 00.000 % ")))
        table = Table.grid(padding=(0, 1))
        table.add_column(style="dim", no_wrap=True, width=len("drawdown"))
        table.add_column(no_wrap=True, width=width)
        table.add_column(no_wrap=True, overflow="ellipsis")
        gain = _towards(status.gain, status.min_gain, bar, "min", "green")
        drawdown = _towards(status.drawdown, status.callback, bar, "callback", "yellow")
        table.add_row("regime", Text(status.regime or "–", "bold"), _gate(status))
        table.add_row("anchor", status.anchor or "–", "")
        table.add_row("low" if status.regime == "QUOTE" else "high", status.high or "–", "")
        table.add_row("gain", _percent(status.gain), gain)
        table.add_row("drawdown", _percent(status.drawdown), drawdown)
        table.add_row("loss", _percent(status.loss), "")
        yield _section("strategy", table)


def _exit(status: Status) -> Group:
    armed = Text(status.armed, "bold yellow") if status.armed else Text("not armed", "dim")
    if status.want:
        armed.append("   want ", "not bold dim").append(status.want, "not bold default")
    order = status.order
    if order is None:
        live = Text("none", "dim")
    else:
        age_s = max(0, status.market_ns - order.placed_ns) / 1e9
        live = Text.assemble(
            (order.side, "green" if order.side == "BUY" else "red"),
            f" {order.qty} @ {short(order.price)}",
            ("  filled ", "dim"),
            order.filled,
            (f"  {age_s:,.1f} s  {order.client_order_id}", "dim"),
        )
    return _section("exit", _pairs([("armed", armed), ("order", live)]), _counts(status))


def _account(status: Status) -> Group:
    held = Text("  ").join(Text.assemble(amount, (f" {asset}", "dim")) for asset, amount in _balances(status))
    if status.exits:
        held.append("   exits ", "dim").append(_exits(status))
    links = Text("  ").join(
        Text.assemble(f"{name} ", (state, _LINK_STYLE.get(state, ""))) for name, state in status.links.items()
    )
    rates = f"{status.frames_per_s:,.0f} frames/s {status.quotes_folded:,} observed"
    rows: list[tuple[str, str | Text]] = [("holds", held or "–"), ("links", links or "–")]
    if delays := latency.line(status.latency):
        rows.append(("p50/99", delays))
    return _section("account", _pairs(rows), rates)


class _Facts:
    """The newest facts, as many as there is room for, the latest at the bottom."""

    def __init__(self, facts: tuple[Fact, ...]) -> None:
        self._facts = facts

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown = self._facts[-max(1, (options.height or 4) - 1) :]
        kind_width = max((len(fact.kind) for fact in shown), default=0)
        lines = [
            _line(
                (f"{time_of(fact.ts)} ", "dim"),
                (f"{fact.kind:{kind_width}} ", _KIND_STYLE.get(fact.kind, "cyan")),
                describe(fact),
            )
            for fact in shown
        ]
        yield _section("journal", Group(*lines))


class _Heading:
    """A rule with a title on its left and a note on its right."""

    def __init__(self, title: str, note: str) -> None:
        self._title, self._note = title, note

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        note = f" {self._note} " if self._note else ""
        free = options.max_width - len(self._title) - len(note) - 6
        if free < 0:
            note, free = "", options.max_width - len(self._title) - 6
        line = Text("── ", "dim", no_wrap=True, overflow="crop")
        line.append(self._title, "bold").append(" " + "─" * free, "dim")
        yield line.append(note, "dim").append("──", "dim")


def _section(title: str, body: RenderableType, note: str = "") -> Group:
    return Group(_Heading(title, note), Padding(body, (0, 0, 0, 1)))


def _pairs(rows: Sequence[tuple[str, str | Text]]) -> Group:
    """Names and values, a line each."""
    return Group(*(_line((f"{name:6} ", "dim"), value) for name, value in rows))


def _line(*parts: str | Text | tuple[str, str]) -> Text:
    """One line that loses its end where there is no room (a rich table would narrow every column instead)."""
    line = Text.assemble(*parts)
    line.no_wrap, line.overflow = True, "ellipsis"
    return line


def _gate(status: Status) -> Text:
    if not status.regime:
        return Text("gate –", "dim")
    if status.gate_closed:
        return Text(f"gate closed in {status.gate_regime}", "bold red")
    return Text("gate open", "dim")


def _towards(value: float | None, goal: float | None, bar: int, name: str, style: str) -> Text:
    """A bar that is full when `value` has reached `goal`, and the goal."""
    if value is None or goal is None:
        return Text("")
    share = 1.0 if value >= goal else max(0.0, value / goal)
    full = int(share * bar)
    line = Text.assemble(("━" * full, style), ("━" * (bar - full), "dim"), " " if bar else "")
    return line.append(f"{name} ", "dim").append(_percent(goal))


def _balances(status: Status) -> list[tuple[str, str]]:
    """Base and quote first, then whatever else is held."""
    order = {status.base_asset: 0, status.quote_asset: 1}
    return [(each, status.balances[each]) for each in sorted(status.balances, key=lambda asset: order.get(asset, 2))]


def _exits(status: Status) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in status.exits.items())


def _counts(status: Status) -> str:
    return f"{status.orders_today:,} orders {status.refused:,} refused"


def _percent(fraction: float | None) -> str:
    return "–" if fraction is None else f"{fraction * 100:.3f} %"


def _date(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns // 10**9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if at_ns else "–"


# --- the screen ------------------------------------------------------------------------------------------------------


class _Screen:
    """rich's alternate screen; its methods may be called from threads, and do nothing where an earlier one sticks."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(
            console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )
        self._writing = threading.Lock()

    def put(self, frame: RenderableType) -> None:
        """Show `frame`, taking the terminal over with the first one."""
        if self._writing.acquire(blocking=False):
            with self._release():
                if not self._live.is_started:
                    self._live.start()
                self._live.update(frame, refresh=True)

    def close(self, last_words: str) -> None:
        """Give the terminal back and print a line on it; a frame that is being written is waited for."""
        if self._writing.acquire(timeout=STUCK_S):
            with self._release():
                self._live.stop()
                self._console.print(last_words, highlight=False, soft_wrap=True)

    @contextmanager
    def _release(self) -> Iterator[None]:
        try:
            yield
        finally:
            self._writing.release()


async def _call(write: Callable[[], None], stuck_s: float, in_thread: bool) -> None:
    """Write where a stuck terminal holds up nobody: given up after `stuck_s`, finished even when cancelled."""
    if not in_thread:
        write()
        return
    with trio.move_on_after(stuck_s, shield=True):
        await trio.to_thread.run_sync(write, abandon_on_cancel=True)
