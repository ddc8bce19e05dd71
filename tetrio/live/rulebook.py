"""The symbol's rules while an epoch lasts: looked at every half hour, and when a refusal, or a price that does not fit
them, says that they have changed.

Another status takes effect as it stands: while the symbol does not trade nothing is sent but cancels, and its status is
asked for twice a minute. Any other change ends the epoch: the next one reckons by the new rules from the start.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
import trio

from tetrio.core.money import SymbolRules
from tetrio.errors import LinkLost, LinkStale
from tetrio.journal import Journal
from tetrio.live.rest import Rest
from tetrio.live.sleeve import Sleeve

EVERY_S = 1800.0
CLOSED_EVERY_S = 30.0  # also the least time between two looks
TRADING = "TRADING"


class Rulebook:
    """What the exchange says of the symbol, kept up to date; one an epoch.

    wake   called when what may be sent has changed
    """

    def __init__(self, rest: Rest, sleeve: Sleeve, *, journal: Journal, wake: Callable[[], None]) -> None:
        self._rest, self._sleeve, self._journal, self._wake = rest, sleeve, journal, wake
        self._doubted = trio.Event()
        self._refused = ""
        """What the exchange answered when it would not trade, until the rules have been looked at again."""

    @property
    def closed(self) -> str:
        """Why nothing may be sent but cancels; "" while the symbol trades."""
        status = self._sleeve.rules.status
        return self._refused or (f"{self._sleeve.rules.name} does not trade: its status is {status}"
                                 if status != TRADING else "")  # fmt: skip

    def doubt(self) -> None:
        """A refusal or a price says that the rules may be others: look at them."""
        self._doubted.set()

    def refuse(self, why: str) -> None:
        """The exchange said that the market is closed: send nothing until its status has been asked for."""
        if not self.closed:
            self._journal.write("refused", what="market closed", why=f"{why}; its status is asked for twice a minute")
        self._refused = why
        self._doubted.set()

    async def run(self) -> None:
        """Until cancelled. LinkStale when the rules have changed; ConfigError when the symbol is gone."""
        if self.closed:
            self._journal.write("refused", what="market closed", why=self.closed)
        while True:
            await trio.sleep(CLOSED_EVERY_S)
            if not self.closed:
                with trio.move_on_after(EVERY_S - CLOSED_EVERY_S):
                    await self._doubted.wait()
            self._doubted = trio.Event()
            try:
                rules, _ = await self._rest.symbol(self._sleeve.rules.name)
            except LinkLost as error:  # what was known still is; orders do not go this way
                self._journal.write("link", name="rest", state="lost", why=str(error))
            else:
                self._take(rules)

    def _take(self, rules: SymbolRules) -> None:
        before, closed = self._sleeve.rules, self.closed
        if attrs.evolve(rules, status=before.status) != before:
            raise LinkStale(f"the rules of {rules.name} have changed: {difference(before, rules)}")
        self._sleeve.rules, self._refused = rules, ""
        if bool(self.closed) != bool(closed):
            self._journal.write("rebuilt", what="symbol status", source="exchangeInfo", status=rules.status)
        self._wake()


def difference(before: SymbolRules, after: SymbolRules) -> str:
    """What has changed, in words."""
    names = [field.name for field in attrs.fields(SymbolRules)]
    told = [
        f"{name} {getattr(before, name)} is {getattr(after, name)}"
        for name in names
        if getattr(before, name) != getattr(after, name)
    ]
    return ", ".join(told)
