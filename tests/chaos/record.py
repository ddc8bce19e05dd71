"""What an exchange might have seen, for a referee to judge."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from tetrio.chaos.judge.case import Terms
from tetrio.chaos.referee import Referee

SYNCED = ("userDataStream.subscribe", "account.status", "openOrders.status")
NAME = "tt-abc123-aaaaa-1t-{}"
JUMPSTART = "tt-abc123-aaaaa-0j-1"


class Record:
    """What the exchange might have seen, an event after the other: opening funds, a process, a session in step."""

    def __init__(self, *, synced: bool = True, ready: bool = True, ended: bool = False, **terms: Any) -> None:
        self.referee = Referee(Terms(base="ETH", quote="FDUSD", **terms))
        self.at, self._ids, self._orders = 0.0, 0, 0
        self.held = {"ETH": Decimal(1), "FDUSD": Decimal(1000)}
        for asset, amount in self.held.items():
            self.line("deposit", asset=asset, amount=str(amount))
        self.referee.life(self.at, 1, "started")
        self.connect(1)
        if synced:
            for method in SYNCED:
                self.answered(method)
        if ready:
            self.referee.life(self.at, 1, "ready")

    @property
    def named(self) -> list[str]:
        return [each.invariant for each in self.referee.violations]

    def balances(self) -> dict[str, list[str]]:
        return {asset: [str(amount), "0"] for asset, amount in self.held.items()}

    def line(self, ev: str, **fields: Any) -> None:
        self.referee.audit(self.at, {"ev": ev, **fields})

    def connect(self, number: int, face: str = "ws_api") -> None:
        self.line("connect", connection=number, face=face)

    def sent(self, method: str, connection: int = 1, **params: Any) -> int:
        self._ids += 1
        message = json.dumps({"id": self._ids, "method": method, "params": params})
        self.referee.request(self.at, connection, message)
        return self._ids

    def replied(self, number: int, status: int = 200, connection: int = 1, **error: Any) -> None:
        body: dict[str, Any] = {"id": number, "status": status}
        if error:
            body["error"] = error
        self.referee.reply(self.at, connection, json.dumps(body).encode())

    def answered(self, method: str, connection: int = 1, **params: Any) -> None:
        self.replied(self.sent(method, connection, **params), connection=connection)

    def placed(self, name: str, connection: int = 1) -> int:
        return self.sent("order.place", connection, newClientOrderId=name)

    def reborn(self, number: int = 2) -> None:
        """Another process, the second one, in step on a connection of the same number."""
        self.referee.life(self.at, number, "started")
        self.connect(number)
        for method in SYNCED:
            self.answered(method, number)
        self.referee.life(self.at, number, "ready")

    def accepted(
        self, name: str, *, side: str = "SELL", kind: str = "LIMIT_MAKER", qty: str = "1", price: str = "900"
    ) -> None:
        self._orders += 1
        self.line("accept", client_order_id=name, order_id=self._orders, side=side, type=kind, qty=qty, price=price)

    def filled(
        self, name: str, qty: str, *, maker: bool = True, status: str = "PARTIALLY_FILLED", fee: str = "0"
    ) -> None:
        """A SELL at 900."""
        self.held["ETH"] -= Decimal(qty)
        self.held["FDUSD"] += Decimal(qty) * 900 - Decimal(fee)
        self.line(
            "fill", client_order_id=name, side="SELL", last_qty=qty, last_price="900", commission=fee,
            commission_asset="FDUSD", maker=maker, status=status, balances=self.balances(),
        )  # fmt: skip

    def rested(self, number: int = 1, **how: Any) -> str:
        name = NAME.format(number)
        asked = self.placed(name)
        self.accepted(name, **how)
        self.replied(asked)
        return name
