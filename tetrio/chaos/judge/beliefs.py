"""What the bot takes for so, and tells its operator, against what is.

S10  own fills are told, and told once
S11  what a bot takes for so is so
S14  no flow is made up
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal

from tetrio.chaos.judge.account import Account
from tetrio.chaos.judge.case import OWN, WINDOW_S, Case, Line
from tetrio.chaos.judge.lives import Roll
from tetrio.chaos.judge.sessions import Sessions
from tetrio.chaos.once import Once

FILL_TOLD_S = 15.0
ASKED_S = 60.0
"""After a trade that nobody was told of: by then a session has asked for it."""
MADE_UP_S = 60.0
"""After copies have caught up: by then what they made a bot think has been told, and put right."""


class Beliefs:
    """Fills, flows and holdings, as they are told and as they are."""

    def __init__(self, case: Case, roll: Roll, account: Account, sessions: Sessions) -> None:
        self._case, self._roll, self._account, self._sessions = case, roll, account, sessions
        self._fills: dict[int, tuple[str, float]] = {}
        """Own trade that happened while there was no session -> its order, and when."""
        self._told = Once(case.remembered)
        """Trades by process."""

    def audit(self, line: Line) -> None:
        """A line of the exchange's record."""
        own = line["ev"] == "fill" and line["client_order_id"].startswith(OWN)
        if own and "trade_id" in line and not self._sessions.open:
            self._fills[line["trade_id"]] = line["client_order_id"], self._case.now_s
            self._case.keep_newest(self._fills)

    def fill_told(self, number: int, trade_id: object) -> None:
        """A process has told its operator of an own trade."""
        assert isinstance(trade_id, int), "trades are numbered"
        if not self._told.add(number, trade_id, trade_id):
            self._case.breach("S10", f"process {number} has told of trade {trade_id} twice")

    def flow_told(self, amounts: Mapping[str, str]) -> None:
        """A process takes it that so much has come or gone without a trade; late copies may have made it think so."""
        now = self._case.now_s
        if self._case.lagged(now - MADE_UP_S, now):
            return
        for asset, amount in amounts.items():
            moved_s = self._account.moved_s.get(asset, -math.inf)
            if Decimal(amount) and now - moved_s > WINDOW_S:
                self._case.breach("S14", f"{amount} {asset} is told to have come by itself, and none has")

    def fills_due(self) -> None:
        """The living process has had time to tell of all that its orders traded while it had no session.

        Not where copies were behind soon after it, which may keep a trade back from who asks for it once, as each
        session does.
        """
        for trade_id, (name, traded_s) in self._fills.items():
            life = self._roll.of(name)
            late = traded_s < self._case.now_s - FILL_TOLD_S
            if self._case.lagged(traded_s, traded_s + ASKED_S):
                continue
            if late and life == self._roll.latest and not self._told.met(life, trade_id, trade_id):
                self._case.breach("S10", f"process {life} has not told of trade {trade_id} of {name}")

    def disagreement(self, base: Decimal, quote: Decimal, open_orders: list[str]) -> str:
        """What is not as a process takes it to be: totals, and own orders that are not finished; "" if nothing."""
        terms, account = self._case.terms, self._account
        held = tuple(account.totals.get(asset, Decimal(0)) for asset in (terms.base, terms.quote))
        if held != (base, quote):
            return f"{held[0]} and {held[1]} are held, taken for {base} and {quote}"
        if sorted(account.open_orders) != open_orders:
            return f"there are open {account.open_orders}, taken for {open_orders}"
        return ""
