"""What the account holds, reckoned from own trades and flows, held against what the exchange says it holds.

Every trade of the account on the symbol is taken once, however often it is told. Where the balances that the exchange
tells are not what the trades make them, a report may have been lost: own trades are asked for. What they do not
explain either has come or gone by itself (a deposit, a withdrawal) and is taken as a flow, late enough that a slow
report is not mistaken for one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

import attrs
import trio

from tetrio.core.kernel import Command
from tetrio.core.money import decimal
from tetrio.core.orders import OrderName
from tetrio.core.purse import Flow, OwnTrade, Purse
from tetrio.errors import LinkStale, OrderRejected, WireError
from tetrio.journal import Journal
from tetrio.live.link import Link
from tetrio.live.sleeve import Sleeve
from tetrio.net.clock import machine_s
from tetrio.wire.request import AccountStatus, MyTrade, OrderStatus, fill_of_trade, result_of
from tetrio.wire.user import BalanceUpdate, ExecutionReport, fill_of

PAGE = 1000
FLOWS = 64  # balance updates that are remembered: two links tell each, while one takes over
KNOWN = 2 * PAGE  # own trades that are remembered by id: a page of the newest is looked at again
TRIES = 5
EXPLAINED_S = (0.0, 1.0, 3.0, 8.0)  # a copy that answers queries may be seconds behind
Heard = OwnTrade | Flow | Command
"""What is handed to the strategy once, and lost if it is not taken in."""


@attrs.define
class Known:
    """What outlives an epoch: the own trades that have been heard of; each is folded, or waits for it."""

    ids: dict[int, None] = attrs.Factory(dict)
    newest: int = -1
    floor: int | None = None
    """The newest when it was first asked: what is older was before."""

    def forget(self) -> None:
        """None."""
        self.ids.clear()
        self.newest, self.floor = -1, None

    def new(self, trade_id: int) -> bool:
        """Whether it is told for the first time; it is remembered."""
        if trade_id in self.ids:
            return False
        self.ids[trade_id] = None
        self.newest = max(self.newest, trade_id)
        while len(self.ids) > KNOWN:
            del self.ids[next(iter(self.ids))]
        return True


class Reckoning:
    """The account's own trades and flows, as one epoch's link tells them."""

    def __init__(
        self, link: Link, sleeve: Sleeve, known: Known, heard: deque[Heard], *, journal: Journal, tag: str
    ) -> None:
        """`heard` takes, in their order, what is new to the strategy."""
        self._link, self._sleeve, self._known, self._journal, self._tag = link, sleeve, known, journal, tag
        self._heard = heard
        self._reckoned: Purse | None = None
        self._flows: deque[tuple[str, str, int]] = deque(maxlen=FLOWS)
        self._doubt = trio.Event()
        sleeve.balances_told = self._look

    def move(self, link: Link) -> None:
        """Ask over another link from now on."""
        self._link = link

    # -- at a sync --------------------------------------------------------------------------------------------------
    async def settle(self, reckoned: Purse | None, *, ask: bool = True) -> tuple[Purse, list[OwnTrade]]:
        """What is held, and the own trades since those that are known: they belong together.

        reckoned   what the trades that are known made, and the strategy hears of the others; None: nothing is known,
                   and only the newest trades are told
        ask        for the balances; False: they have just been learned, and are asked for only if there are new trades
        """
        found = list[OwnTrade]()
        for _ in range(TRIES):
            if ask:
                await self._ask_balances()
            new = [trade for trade in await self._newer() if self._known.new(trade.trade_id)]
            found += new
            if reckoned is not None:
                self._heard += new  # at once: what is known and waits nowhere is lost, should this end here
            if not new:  # asked for after the balances: these hold all of them, and no more
                break
            ask = True
        else:
            raise LinkStale("account: own trades and balances do not come to rest")
        if self._known.floor is None:
            self._known.floor = self._known.newest
        held = self._reckoned = self.held()
        if reckoned is not None:
            for trade in found:
                reckoned = reckoned.after(trade)
            self._reckoned = reckoned
            self._look()  # what they do not explain may be a copy that is late, and is looked into
        return held, found

    def held(self) -> Purse:
        """What the exchange has last said that is held."""
        sleeve, totals = self._sleeve, self._sleeve.totals()
        return Purse(
            rules=sleeve.rules, base=totals[0], quote=totals[1],
            reserve_base=sleeve.reserve_base, reserve_quote=sleeve.reserve_quote,
        )  # fmt: skip

    async def _newest(self) -> list[OwnTrade]:
        """The newest own trades, known or not, oldest first: a report that was lost may be older than one that came.

        The sleeve is told too: no event has told of them, and none may.
        """
        page = await self._my_trades({"symbol": self._sleeve.rules.name, "limit": PAGE})
        page = [trade for trade in page if trade.id > (self._known.floor or -1)]
        self._sleeve.take_trades(page)
        return [self._own(trade) for trade in page]

    async def _newer(self) -> list[OwnTrade]:
        """Own trades after the newest that is known, oldest first; the newest page where none is."""
        found, params = list[OwnTrade](), dict[str, object]({"symbol": self._sleeve.rules.name, "limit": PAGE})
        if self._known.newest < 0:
            return [self._own(trade) for trade in await self._my_trades(params)]
        while True:
            from_id = (found[-1].trade_id if found else self._known.newest) + 1
            page = await self._my_trades({**params, "fromId": from_id})
            found += [self._own(trade) for trade in page]
            if len(page) < PAGE:
                return found

    async def older(self, first: OwnTrade) -> list[OwnTrade]:
        """A page of own trades before one, oldest first."""
        params = {"symbol": self._sleeve.rules.name, "limit": PAGE, "endTime": first.at_ms}
        return [own for own in map(self._own, await self._my_trades(params)) if own.trade_id < first.trade_id]

    async def reason(self, trade: OwnTrade) -> str | None:
        """The letter in the client order id of the order that traded; None for an order that is not ours, or gone."""
        params = {"symbol": self._sleeve.rules.name, "orderId": trade.order_id}
        try:
            status = result_of(await self._link.request("order.status", params), OrderStatus)
        except OrderRejected:
            return None
        name = OrderName.parse(status.client_order_id, self._tag)
        return None if name is None else name.reason

    async def _my_trades(self, params: dict[str, object]) -> list[MyTrade]:
        return result_of(await self._link.request("myTrades", params), list[MyTrade])

    def _own(self, trade: MyTrade) -> OwnTrade:
        return OwnTrade.of(fill_of_trade(trade, ""), self._sleeve.rules)

    async def _ask_balances(self) -> None:
        changes = self._sleeve.changes
        self._sleeve.take_account(result_of(await self._link.request("account.status"), AccountStatus), changes)

    # -- following ------------------------------------------------------------------------------------------------
    def take(self, event: object) -> None:
        """One event of the account, after the sleeve has taken it."""
        rules = self._sleeve.rules
        if isinstance(event, ExecutionReport) and event.symbol == rules.name:
            fill = fill_of(event)
            if fill is None or fill.trade_id < 0:
                return
            try:
                trade = OwnTrade.of(fill, rules)
            except ValueError as error:
                raise WireError(f"account: a fill that cannot be read: {error}") from None
            if self._known.new(trade.trade_id):
                self._take(trade)
        elif isinstance(event, BalanceUpdate) and event.asset in (rules.base_asset, rules.quote_asset):
            told = event.asset, event.delta, event.cleared_ms
            if event.cleared_ms <= self._sleeve.balances_ms or told in self._flows:
                return  # the balances hold it already, or another link has told it
            self._flows.append(told)
            try:
                delta = decimal(event.delta)
            except ValueError as error:
                raise WireError(f"account: a balanceUpdate that cannot be read: {error}") from None
            flow = Flow(base=delta) if event.asset == rules.base_asset else Flow(quote=delta)
            self._take(flow)
            self._say_flow(flow, "told by the exchange")

    def _look(self) -> None:
        """Balances were told: by an event, or to whoever asked, such as the executor after it learned of a fill."""
        if self._differs():
            self._doubt.set()

    async def explain(self, send: Callable[[], Awaitable[None]]) -> None:
        """Whenever balances are not what own trades make them: ask, wait, ask again; until cancelled.

        send   has the strategy take in what was heard
        """
        while True:
            await self._doubt.wait()
            self._doubt = trio.Event()
            for delay_s in EXPLAINED_S:
                await trio.sleep(machine_s(delay_s))
                if not self._differs():
                    break
                for trade in await self._newest():
                    if self._known.new(trade.trade_id):
                        self._take(trade)
                await send()
            self._settle_rest()
            await send()

    def _settle_rest(self) -> None:
        """What no own trade explains has come or gone by itself."""
        if self._reckoned is not None and self._differs():
            self._flow(self.held(), self._reckoned)

    def _flow(self, held: Purse, reckoned: Purse) -> None:
        flow = Flow(base=held.base - reckoned.base, quote=held.quote - reckoned.quote)
        if flow != Flow():
            self._take(flow)
            self._reckoned = held
            self._say_flow(flow, "no own trade explains it")

    def _say_flow(self, flow: Flow, why: str) -> None:
        rules = self._sleeve.rules
        amounts = {rules.base_asset: f"{flow.base.normalize():f}", rules.quote_asset: f"{flow.quote.normalize():f}"}
        self._journal.write("balance", flow=amounts, why=why)

    def _take(self, told: OwnTrade | Flow) -> None:
        if self._reckoned is not None:
            self._reckoned = self._reckoned.after(told)
        self._heard.append(told)

    def _differs(self) -> bool:
        if self._reckoned is None:
            return False
        held = self.held()
        return (held.base, held.quote) != (self._reckoned.base, self._reckoned.quote)
