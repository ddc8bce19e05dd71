"""The referee: reads the exchange's audit, whatever the bot believes, and says what must hold of every run."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs

Line = dict[str, Any]


@attrs.define
class Exit:
    """One episode that traded: all fills whose client order id carries the same episode."""

    episode: str
    side: str
    reason: str
    qty: Decimal


@attrs.define
class Verdict:
    """What the audit shows."""

    exits: list[Exit]
    most_live: int
    left_open: list[str]
    events: dict[str, int]
    end: Line
    last_balances: dict[str, tuple[Decimal, Decimal]]

    def by(self, reason: str) -> int:
        """How many exits had this reason."""
        return sum(1 for each in self.exits if each.reason == reason)


def read(path: Path) -> list[Line]:
    """The audit's lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def judge(lines: Iterable[Line], *, maker: Decimal = Decimal(0), takes: str = "") -> Verdict:
    """Check every invariant, line by line; AssertionError names the line that broke one.

    takes   reasons that may take: `m` where the operator said flatten, `h` where hard stops escalate or are protected
    """
    book = _Book(maker, takes)
    for number, line in enumerate(lines, 1):
        assert line["seq"] == number, f"seq {line['seq']} stands on line {number}"
        assert line["ts"] >= book.ts, f"time runs back at {line}"
        assert book.end is None, f"{line} comes after the end"
        book.ts = line["ts"]
        book.events[line["ev"]] = book.events.get(line["ev"], 0) + 1
        getattr(book, f"on_{line['ev']}", lambda _: None)(line)
        book.check_balances(line)
    assert book.end is not None, "the audit has no end"
    return Verdict(book.exits, book.most_live, sorted(book.open), book.events, book.end, book.told)


class _Book:
    """What must be true after each line, reckoned from the lines before."""

    def __init__(self, maker: Decimal, takes: str) -> None:
        self.maker, self.takes = maker, takes
        self.ts = 0
        self.totals: dict[str, Decimal] = {}
        self.told: dict[str, tuple[Decimal, Decimal]] = {}
        self.open: dict[str, Line] = {}
        self.filled: dict[str, Decimal] = {}
        self.seen: set[str] = set()
        self.trades: set[int] = set()
        self.most_live = 0
        self.exits: list[Exit] = []
        self.events: dict[str, int] = {}
        self.end: Line | None = None
        self.assets: tuple[str, str] = ("", "")
        self.outside: dict[str, Decimal] = {}

    def on_deposit(self, line: Line) -> None:
        for asset, (free, locked) in line["balances"].items():
            self.totals[asset] = Decimal(free) + Decimal(locked)

    on_withdraw = on_deposit

    def on_accept(self, line: Line) -> None:
        name = line["client_order_id"]
        assert name not in self.seen, f"client order id {name} was used twice"
        self.seen.add(name)
        assert line["type"] == "LIMIT_MAKER" or self._may_take(line), f"not post-only: {line}"
        self.open[name] = line
        self.filled[name] = Decimal(0)
        if name.startswith("tt-"):
            live = sum(1 for other in self.open if other.startswith("tt-"))
            self.most_live = max(self.most_live, live)
            assert live <= 1, f"{live} live orders at {line}"
        self._within_holdings(line)

    def _may_take(self, line: Line) -> bool:
        if line["type"] not in ("LIMIT", "STOP_LOSS_LIMIT"):
            return False
        reason: str = line["client_order_id"].split("-")[3][-1]
        return reason in self.takes

    def _within_holdings(self, line: Line) -> None:
        base, quote = self._assets(line)
        qty, price = Decimal(line["qty"]), Decimal(line["price"])
        if line["side"] == "SELL":
            assert qty <= self.totals[base], f"sells more than is held: {line}"
        else:
            assert qty * price <= self.totals[quote], f"spends more than is held: {line}"

    def on_fill(self, line: Line) -> None:
        name, qty, price = line["client_order_id"], Decimal(line["last_qty"]), Decimal(line["last_price"])
        assert line["maker"] is True or self._may_take(line), f"a taker fill: {line}"
        assert line["why"], f"a fill without a reason: {line}"
        assert line["trade_id"] not in self.trades, f"trade {line['trade_id']} twice"
        self.trades.add(line["trade_id"])
        order = self.open[name]
        limit, sells = Decimal(order["price"]), line["side"] == "SELL"
        within = price == limit if line["maker"] else price >= limit if sells else price <= limit
        assert within, f"a maker fills at its own price, a taker within its limit: {line}"
        self.filled[name] += qty
        assert self.filled[name] == Decimal(line["filled"]) <= Decimal(order["qty"]), f"filled beyond its size: {line}"
        base, quote = self._assets(line)
        commission = Decimal(line["commission"])
        received = base if line["side"] == "BUY" else quote
        assert line["commission_asset"] == received, f"commission is taken from what is received: {line}"
        full = (qty if received == base else qty * price) * self.maker
        assert 0 <= full - commission < Decimal("1e-8"), f"commission is {commission}, {full} was due: {line}"
        sign = 1 if line["side"] == "BUY" else -1
        self.totals[base] += sign * qty
        self.totals[quote] -= sign * qty * price
        self.totals[received] -= commission
        self._count(line, qty)
        if line["status"] == "FILLED":
            assert self.filled[name] == Decimal(order["qty"])
            del self.open[name]

    def _count(self, line: Line, qty: Decimal) -> None:
        episode = line["client_order_id"].split("-")[3]
        number, reason = episode[:-1], episode[-1]
        if self.exits and self.exits[-1].episode == number and self.exits[-1].side == line["side"]:
            self.exits[-1].qty += qty
            self.exits[-1].reason = reason
        else:
            self.exits.append(Exit(number, line["side"], reason, qty))

    def on_cancel(self, line: Line) -> None:
        del self.open[line["client_order_id"]]

    on_expire = on_cancel

    def on_lock(self, line: Line) -> None:
        self.outside[line["asset"]] = self.outside.get(line["asset"], Decimal(0)) + Decimal(line["amount"])

    def on_end(self, line: Line) -> None:
        self.end = line

    def check_balances(self, line: Line) -> None:
        for asset, (free, locked) in line.get("balances", {}).items():
            held = (Decimal(free), Decimal(locked))
            assert min(held) >= 0, f"a negative balance: {line}"
            assert sum(held) == self.totals[asset], f"{asset} does not add up: {self.totals[asset]} expected at {line}"
            self.told[asset] = held
        if line.get("balances") and self.assets != ("", ""):
            self._check_locks(line)

    def _check_locks(self, line: Line) -> None:
        base, quote = self.assets
        locked = {asset: self.outside.get(asset, Decimal(0)) for asset in (base, quote)}
        for name, order in self.open.items():
            left = Decimal(order["qty"]) - self.filled[name]
            asset, amount = (base, left) if order["side"] == "SELL" else (quote, left * Decimal(order["price"]))
            locked[asset] += amount
        for asset, amount in locked.items():
            assert self.told[asset][1] == amount, f"{asset} locked is not what the open orders lock: {line}"

    def _assets(self, line: Line) -> tuple[str, str]:
        names = sorted(self.totals, key=len, reverse=True)
        for quote in names:
            if line["symbol"].endswith(quote):
                self.assets = (line["symbol"].removesuffix(quote), quote)
        return self.assets


def alternating(exits: list[Exit]) -> bool:
    """Whether each exit is of the other side than the one before."""
    return all(one.side != other.side for one, other in itertools.pairwise(exits))
