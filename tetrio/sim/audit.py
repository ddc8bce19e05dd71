"""The referee's record: what the exchange did, in its own order, whatever any client believes.

JSON lines as the face `--audit FILE` describes them: `seq` from 1 without gaps, `ts` in ns of market time, `ev`, and
what belongs to it; a member that does not apply is absent. Amounts are decimal strings. Each line is flushed when it
is written; what goes wrong with the stream goes up to the caller.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TextIO

import msgspec

from tetrio.core.money import to_text
from tetrio.errors import ConfigError
from tetrio.sim.engine.engine import Engine
from tetrio.sim.engine.orders import Balance, Execution, ExternalLock, Fill, Rejected, Report, Transfer, UserEvent

_EVENTS = {
    Execution.NEW: "accept",
    Execution.TRADE: "fill",
    Execution.CANCELED: "cancel",
    Execution.REPLACED: "amend",
    Execution.EXPIRED: "expire",
    Execution.TRADE_PREVENTION: "expire",
    Execution.REJECTED: "reject",
}


class Audit:
    """Writes the lines of one exchange."""

    def __init__(self, stream: TextIO | None, engine: Engine) -> None:
        """`engine` is asked for balances and for how amounts are written; without a stream there is no record."""
        self._stream, self._engine = stream, engine
        self._seq = 0

    def deposit(self, account: str, asset: str, units: int, market_ns: int) -> None:
        """After a deposit, opening funds too."""
        self._transfer("deposit", account, asset, units, market_ns)

    def withdraw(self, account: str, asset: str, units: int, market_ns: int) -> None:
        """After a withdrawal."""
        self._transfer("withdraw", account, asset, units, market_ns)

    def connect(self, market_ns: int, **facts: object) -> None:
        """A connection opened; facts such as connection=1, face="ws_api"."""
        self._write(market_ns, "connect", facts)

    def logon(self, account: str, market_ns: int, **facts: object) -> None:
        """A session was authenticated."""
        self._write(market_ns, "logon", {**self._holder(account, self._engine.balances(account)), **facts})

    def disconnect(self, market_ns: int, **facts: object) -> None:
        """A connection ended."""
        self._write(market_ns, "disconnect", facts)

    def events(self, events: Iterable[UserEvent]) -> None:
        """Reports become accept, fill, cancel, amend, expire and reject lines, transfers and locks one each; what only
        tells of them anew (positions, lists) is no line of its own.

        Beside the lines of the face: `trigger`, a stop or a pending leg that works from now on; `prevent`, quantity
        that self-trade prevention took from an order that goes on; `lock`, a balance locked or released from outside.
        """
        if self._stream is None:
            return  # without making up what nobody will read
        for event in events:
            if isinstance(event, Report):
                self._report(event)
            elif isinstance(event, Transfer):
                name = "deposit" if event.units >= 0 else "withdraw"
                self._transfer(name, event.account, event.asset, abs(event.units), event.market_ns)
            elif isinstance(event, ExternalLock):
                self._transfer("lock", event.account, event.asset, event.units, event.market_ns)

    def rejected(self, refusal: Rejected) -> None:
        """A refused new order; nothing where the refusal has no report (cancels, queries).

        Not for the new leg of a cancel-replace that was refused after the cancel: its report is among the events.
        """
        if refusal.report is not None:
            self._report(refusal.report)

    def end(self, market_ns: int, frames: int, market_from: int, market_to: int) -> None:
        """The last line: lines of the market consumed, and the market time (ns) from its first to its last event."""
        self._write(market_ns, "end", {"frames": frames, "market_from": market_from, "market_to": market_to})

    def _transfer(self, event: str, account: str, asset: str, units: int, market_ns: int) -> None:
        facts = self._holder(account, self._engine.balances(account))
        self._write(market_ns, event, {**facts, "asset": asset, "amount": self._engine.amount_text(asset, units)})

    def _report(self, report: Report) -> None:
        order = report.order
        facts = {**self._holder(order.account, report.balances), **self._order(report)}
        if report.fill is not None:
            facts |= self._fill(report, report.fill)
        self._write(report.market_ns, _event(report), facts)

    def _order(self, report: Report) -> dict[str, object]:
        order, request = report.order, report.request
        facts: dict[str, object] = {"symbol": order.symbol}
        if order.order_id >= 0:
            facts["order_id"] = order.order_id
        if order.client_order_id:
            facts["client_order_id"] = order.client_order_id
        facts |= {"side": order.side.value, "type": order.type}
        if request is not None:
            asked = {"price": request.price, "qty": request.quantity}
            facts |= {name: _plain(amount) for name, amount in asked.items() if amount is not None}
        else:
            rules = self._engine.rules(order.symbol)
            if order.limit:
                facts["price"] = rules.price_text(order.limit)
            if order.quote_order_qty is None and order.qty:
                facts["qty"] = rules.qty_text(order.qty)
            facts["filled"] = rules.qty_text(order.filled)
        facts["status"] = order.status
        if report.reason:
            facts["reason"] = f"{report.code} {report.reason}" if report.code else report.reason
        return facts

    def _fill(self, report: Report, fill: Fill) -> dict[str, object]:
        rules = self._engine.rules(report.order.symbol)
        return {
            "trade_id": fill.trade_id,
            "last_price": rules.price_text(fill.price),
            "last_qty": rules.qty_text(fill.qty),
            "commission": self._engine.amount_text(fill.commission_asset, fill.commission),
            "commission_asset": fill.commission_asset,
            "maker": fill.maker,
            "why": report.why,
        }

    def _holder(self, account: str, balances: Mapping[str, Balance]) -> dict[str, object]:
        text = self._engine.amount_text
        held = {asset: [text(asset, amount.free), text(asset, amount.locked)] for asset, amount in balances.items()}
        return {"account": account, "balances": held}

    def _write(self, market_ns: int, event: str, facts: Mapping[str, object]) -> None:
        if self._stream is None:
            return
        self._seq += 1
        line = {"seq": self._seq, "ts": market_ns, "ev": event, **facts}
        self._stream.write(msgspec.json.encode(line).decode() + "\n")
        self._stream.flush()


def _event(report: Report) -> str:
    if report.activated:
        return "trigger"
    if report.execution is Execution.TRADE_PREVENTION and report.order.is_open:
        return "prevent"
    return _EVENTS[report.execution]


def _plain(amount: Decimal) -> str:
    """A decimal as the client wrote it, in fixed point with at least 8 decimals."""
    return to_text(1, amount) if amount else "0.00000000"


@contextmanager
def open_audit(path: Path | None) -> Iterator[TextIO | None]:
    """The record's file, begun anew; None for None. ConfigError when it cannot be written."""
    if path is None:
        yield None
        return
    try:
        file = path.open("w", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"the audit {path} cannot be written: {error.strerror}") from error
    with file:
        yield file
