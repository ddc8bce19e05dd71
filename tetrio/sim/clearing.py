"""Moves the money and writes the tale: what a fill, an end or a refusal of an order means for balances and reports.

Every method changes ledger and order together, so that at any moment an account's locked amount is the sum over its
open orders, and each asset's total is what was deposited. Whether and at what price something trades is decided in
`sim.matching`.
"""

from __future__ import annotations

from decimal import Decimal

import attrs

from tetrio.core.market import Side
from tetrio.sim.history import OrderHistory
from tetrio.sim.ledger import FEES, MARKET, Ledger
from tetrio.sim.listing import Listing
from tetrio.sim.orders import (
    Execution,
    Fill,
    Order,
    OrderRequest,
    Position,
    Prevention,
    Rejected,
    Report,
    TradePrint,
    UserEvent,
)


class Happening:
    """What one call brings about, collected in order."""

    def __init__(self, now_ms: int, market_ns: int) -> None:
        self.now_ms, self.market_ns = now_ms, market_ns
        self.events: list[UserEvent] = []
        self.prints: list[TradePrint] = []
        self.fills: list[Fill] = []
        self.preventions: list[Prevention] = []


class Clearing:
    """The ledger and the order history, changed together."""

    def __init__(self, ledger: Ledger, history: OrderHistory, maker: Decimal, taker: Decimal) -> None:
        self._ledger, self._history = ledger, history
        self._rates = {True: maker.as_integer_ratio(), False: taker.as_integer_ratio()}
        self._last_execution_id = 0

    def accept(self, listing: Listing, order: Order, happening: Happening) -> None:
        """Remembers a new order, locks what it needs, reports it."""
        self._history.add(order)
        if order.type != "MARKET":
            self._ledger.lock(order.account, *self._locked(listing, order, order.remaining))
        self._report(happening, Execution.NEW, order)

    def fill(
        self,
        listing: Listing,
        order: Order,
        price: int,
        lots: int,
        trade_id: int,
        maker: bool,
        why: str,
        happening: Happening,
    ) -> Order:
        """Moves the money of one trade of one order, charges it, reports it. The market stands between both parties."""
        rules, account = listing.rules, order.account
        base, quote = lots * listing.lot_units, price * lots * listing.tick_lot_units
        if order.type != "MARKET":
            self._ledger.unlock(account, *self._locked(listing, order, lots))
        given, taken = ((rules.quote_asset, quote), (rules.base_asset, base))
        if order.side is Side.SELL:
            given, taken = taken, given
        self._ledger.move(account, MARKET, *given)
        self._ledger.move(MARKET, account, *taken)
        commission = self._commission(*taken, maker)
        self._ledger.move(account, FEES, taken[0], commission)
        fill = Fill(
            trade_id=trade_id,
            order_id=order.order_id,
            side=order.side,
            price=price,
            qty=lots,
            commission=commission,
            commission_asset=taken[0],
            maker=maker,
            time_ms=happening.now_ms,
        )
        filled = order.filled + lots
        order = attrs.evolve(
            order,
            filled=filled,
            cum_quote=order.cum_quote + price * lots,
            status="FILLED" if filled == order.qty else "PARTIALLY_FILLED",
            update_ms=happening.now_ms,
        )
        self._history.update(order)
        self._history.add_fill(order, fill)
        if not maker:
            happening.fills.append(fill)
        self._report(happening, Execution.TRADE, order, fill=fill, why=why)
        return order

    def _commission(self, asset: str, received: int, maker: bool) -> int:
        numerator, denominator = self._rates[maker]
        grain = self._ledger.grain(asset)
        return received * numerator // (denominator * grain) * grain

    def close(
        self,
        listing: Listing,
        order: Order,
        status: str,
        reason: str,
        happening: Happening,
        cancel_id: str = "",
        prevention: Prevention | None = None,
    ) -> Order:
        """Ends an order that is not filled: frees its lock, reports it."""
        if order.type != "MARKET":
            self._ledger.unlock(order.account, *self._locked(listing, order, order.remaining))
        expiry = reason if status == "EXPIRED" else ""
        order = attrs.evolve(order, status=status, update_ms=happening.now_ms, expiry_reason=expiry)
        self._history.update(order)
        execution = Execution.TRADE_PREVENTION if prevention else Execution(status)
        self._report(
            happening, execution, order, reason=reason, cancel_client_order_id=cancel_id, prevention=prevention
        )
        return order

    def _locked(self, listing: Listing, order: Order, lots: int) -> tuple[str, int]:
        """(asset, units) that `lots` of a limit order lock."""
        if order.side is Side.SELL:
            return listing.rules.base_asset, lots * listing.lot_units
        return listing.rules.quote_asset, order.price * lots * listing.tick_lot_units

    def _report(
        self,
        happening: Happening,
        execution: Execution,
        order: Order,
        *,
        fill: Fill | None = None,
        reason: str = "",
        why: str = "",
        cancel_client_order_id: str = "",
        prevention: Prevention | None = None,
    ) -> None:
        self._last_execution_id += 2  # Binance's rise with gaps as well
        happening.events.append(
            Report(
                execution=execution,
                order=order,
                execution_id=self._last_execution_id,
                now_ms=happening.now_ms,
                market_ns=happening.market_ns,
                balances=self._ledger.balances(order.account),
                cancel_client_order_id=cancel_client_order_id,
                fill=fill,
                prevention=prevention,
                reason=reason,
                why=why,
            )
        )

    def position(self, happening: Happening, listing: Listing, account: str) -> None:
        """Reports an account's balances of the symbol's assets."""
        rules = listing.rules
        happening.events.append(
            Position(
                account=account,
                balances={
                    asset: self._ledger.balance(account, asset) for asset in (rules.base_asset, rules.quote_asset)
                },
                now_ms=happening.now_ms,
            )
        )

    def refusal(
        self,
        refusal: Rejected,
        listing: Listing | None,
        account: str,
        request: OrderRequest,
        now_ms: int,
        market_ns: int,
    ) -> Rejected:
        """The refusal with its REJECTED report; the order in it is on the grid where the request was."""
        report = Report(
            execution=Execution.REJECTED,
            order=Order(
                account=account,
                symbol=request.symbol,
                order_id=-1,
                client_order_id=request.client_order_id,
                side=request.side,
                type=request.type,
                time_in_force=request.time_in_force,
                price=_on_grid(request.price, listing.rules.tick_size) if listing else 0,
                qty=_on_grid(request.quantity, listing.rules.step_size) if listing else 0,
                quote_order_qty=request.quote_order_qty,
                status="REJECTED",
                time_ms=now_ms,
                update_ms=now_ms,
            ),
            execution_id=-1,
            now_ms=now_ms,
            market_ns=market_ns,
            balances=self._ledger.balances(account),
            code=refusal.code,
            reason=refusal.msg,
            request=request,
        )
        return Rejected(refusal.code, refusal.msg, report=report)


def _on_grid(given: Decimal | None, step: Decimal) -> int:
    """Whole steps, 0 where the request had none or was off the grid."""
    if given is None or given % step:
        return 0
    return int(given / step)
