"""The kernel's state as a function of what happened, whatever the order in which it was told.

What happened is: public trades by their ids; own trades, each of which is one of them; flows; the operator's words,
each said after some trade. When the fold comes to an own trade, the holdings change first and then the trade is folded.
An own trade that is told before the public one waits for it; one that is told after it was folded makes the fold go
back: for a bounded past every state is kept with what was folded on it (states are values), and from there all is
folded again. What that takes back of the decisions is told.

`fold` of the kernel knows nothing of this; who asks the exchange for what is missing is `live.rebuild`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence

import attrs

from tetrio.core import kernel
from tetrio.core.kernel import Command, Decision
from tetrio.core.market import Quote, Trade
from tetrio.core.params import StrategyParams
from tetrio.core.purse import Flow, OwnTrade, Purse
from tetrio.core.state import State

KEPT = 10_000  # trades that can be taken back: a minute of the busiest market known, far longer than a report is late


class TooLate(Exception):
    """An own trade from before all that is remembered."""


@attrs.frozen
class Said:
    """One word of the operator's, in its place."""

    after_id: int
    """It was said when this was the last trade folded."""
    at_ms: int
    """When that trade took place."""
    command: Command


@attrs.frozen
class Told:
    """What a step of the fold decided, and what it took back of what had been decided before."""

    decisions: list[Decision] = attrs.Factory(list)
    retracted: list[Decision] = attrs.Factory(list)


@attrs.frozen
class _Step:
    """What was folded, on what, and what was decided."""

    state: State
    purse: Purse
    last_id: int
    last_ms: int
    event: Sequence[Quote] | Flow | Command | StrategyParams
    decisions: list[Decision]


def observed(trade: Trade) -> Quote:
    """A public trade as the kernel sees it."""
    return Quote(trade.price, trade.price, trade.trade_id, trade.at_ms * 1_000_000)


class Refold:
    """State and purse after the trade `last_id`, and the way there."""

    def __init__(self, state: State, purse: Purse, last_id: int = -1, last_ms: int = 0, *, kept: int = KEPT) -> None:
        """`last_id`, `last_ms`: the last public trade that is in `state`, and its time; -1 before any."""
        self.purse, self.last_id, self.last_ms = purse, last_id, last_ms
        self.state = kernel.on_holdings(state, purse.holdings())
        self._kept = kept
        self._own: dict[int, OwnTrade] = {}
        self._script: list[Said] = []
        self._past: deque[_Step] = deque()
        self._held = 0

    def trades(self, trades: Sequence[Quote]) -> Told:
        """Fold public trades, by id; those that were folded already are passed over."""
        fresh = trades[bisect_left(trades, self.last_id + 1, key=_trade_id) :]
        return Told(self._do(fresh)) if fresh else Told()

    def own(self, trade: OwnTrade) -> Told:
        """An own trade was told, before its public one or after; TooLate when it lies before all that is remembered."""
        if trade.trade_id in self._own:
            return Told()
        if trade.trade_id > self.last_id:
            self._own[trade.trade_id] = trade
            return Told()
        if not self._past or trade.trade_id <= self._past[0].last_id:
            raise TooLate(f"own trade {trade.trade_id} is told after trade {self.last_id} was folded")
        self._own[trade.trade_id] = trade
        return self._again(trade.trade_id)

    def flow(self, flow: Flow) -> Told:
        """Something came or went, now."""
        return Told(self._do(flow))

    def say(self, command: Command) -> Told:
        """The operator spoke, now."""
        return Told(self._do(command))

    def under(self, params: StrategyParams) -> None:
        """Other thresholds from now on, such as a fee that became known."""
        if params != self.state.params:
            self._do(params)

    def follow(self, script: Iterable[Said]) -> None:
        """Words that were said at places that the fold has yet to come to."""
        self._script = sorted(script, key=lambda said: said.after_id)

    def said(self) -> list[Decision]:
        """Obey what was said after the last trade folded, or before."""
        decisions = list[Decision]()
        while self._script and self._script[0].after_id <= self.last_id:
            decisions += self._do(self._script.pop(0).command)
        return decisions

    def set(self, state: State, *, last_id: int | None = None, last_ms: int | None = None) -> None:
        """Go on from `state`, which the caller has taken further; there is no way back behind it."""
        self.state = state
        self.last_id = self.last_id if last_id is None else last_id
        self.last_ms = self.last_ms if last_ms is None else last_ms
        self._past.clear()
        self._held = 0
        self._own = {number: trade for number, trade in self._own.items() if number > self.last_id}

    @property
    def coming(self) -> OwnTrade | None:
        """The first own trade that the fold has yet to come to."""
        number = min((number for number in self._own if number > self.last_id), default=None)
        return None if number is None else self._own[number]

    @property
    def next_word(self) -> Said | None:
        """The first of the operator's words that it has yet to come to."""
        return self._script[0] if self._script else None

    @property
    def total(self) -> Purse:
        """What is held when it will have come to all own trades that were told."""
        purse = self.purse
        for number, trade in self._own.items():
            purse = purse.after(trade) if number > self.last_id else purse
        return purse

    # -- folding --------------------------------------------------------------------------------------------------
    def _do(self, event: Sequence[Quote] | Flow | Command | StrategyParams) -> list[Decision]:
        """Fold one event and remember from where."""
        before = self.state, self.purse, self.last_id, self.last_ms
        decisions = self._apply(event)
        self._past.append(_Step(*before, event, decisions))
        self._held += _size(event)
        while self._held > self._kept and len(self._past) > 1:
            self._held -= _size(self._past.popleft().event)
            oldest = self._past[0].last_id
            if len(self._own) > 64:
                self._own = {number: trade for number, trade in self._own.items() if number > oldest}
        return decisions

    def _apply(self, event: Sequence[Quote] | Flow | Command | StrategyParams) -> list[Decision]:
        match event:
            case Flow():
                self._hold(self.purse.after(event))
            case Command():
                self.state, decisions = kernel.on_command(self.state, event)
                return decisions
            case StrategyParams():
                self.state = kernel.with_params(self.state, event)
            case _:
                return self._fold(event)
        return []

    def _fold(self, trades: Sequence[Quote]) -> list[Decision]:
        """Runs of trades, each begun by what happens just before its first one."""
        decisions, at, newest = list[Decision](), 0, trades[-1].update_id
        for number, what in self._between(newest):
            until = bisect_left(trades, number, lo=at, key=_trade_id)
            decisions += self._run(trades[at:until])
            at = until
            if isinstance(what, Command):
                self.state, told = kernel.on_command(self.state, what)
                decisions += told
                continue
            self._hold(self.purse.after(what))
            if at == len(trades) or trades[at].update_id != number:  # the public was never told of it
                decisions += self._run([what.observation])
        return decisions + self._run(trades[at:])

    def _between(self, newest: int) -> list[tuple[int, OwnTrade | Command]]:
        """What happens just before a trade, by that trade's id, up to `newest`; a word before an own trade."""
        found: list[tuple[int, OwnTrade | Command]] = []
        while self._script and self._script[0].after_id < newest:
            said = self._script.pop(0)
            found.append((max(said.after_id, self.last_id) + 1, said.command))
        found += [(number, trade) for number, trade in self._own.items() if self.last_id < number <= newest]
        return sorted(found, key=lambda each: (each[0], isinstance(each[1], OwnTrade)))

    def _run(self, trades: Sequence[Quote]) -> list[Decision]:
        if not trades:
            return []
        self.state, decisions = kernel.fold(self.state, trades)
        self.last_id, self.last_ms = trades[-1].update_id, trades[-1].at_ns // 1_000_000
        return decisions

    def _hold(self, purse: Purse) -> None:
        self.purse = purse
        self.state = kernel.on_holdings(self.state, purse.holdings())

    def _again(self, trade_id: int) -> Told:
        """Back to before that trade, and forth again."""
        undone = list[_Step]()
        while self._past and (not undone or undone[-1].last_id >= trade_id):
            undone.append(self._past.pop())
            self._held -= _size(undone[-1].event)
        undone.reverse()
        first = undone[0]
        self.state, self.purse, self.last_id, self.last_ms = first.state, first.purse, first.last_id, first.last_ms
        before = [decision for step in undone for decision in step.decisions]
        now = [decision for step in undone for decision in self._do(step.event)]
        same = 0
        while same < min(len(before), len(now)) and before[same] == now[same]:
            same += 1
        return Told(now[same:], before[same:])


def _trade_id(trade: Quote) -> int:
    return trade.update_id


def _size(event: object) -> int:
    return len(event) if isinstance(event, Sequence) else 1
