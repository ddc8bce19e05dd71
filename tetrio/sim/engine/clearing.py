"""Moves the money and writes the tale: what a fill, an end or a refusal of an order means for balances and reports.

Every method changes ledger and order together, so that at any moment an account's locked amount is what its open orders
need (`Clearing.need`) and what is locked from outside, and each asset's total is what was deposited. Whether and at
what price something trades is decided in `matching`; what it means for an order list in `lists`, which is told of each
fill and each end by `on_fill` and `on_end`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import ROUND_DOWN, Decimal, localcontext

import attrs
import msgspec

from tetrio.core.market import Side
from tetrio.core.money import to_units
from tetrio.sim.engine.history import OrderHistory
from tetrio.sim.engine.ledger import FEES, MARKET, Ledger
from tetrio.sim.engine.listing import Listing
from tetrio.sim.engine.orders import (
    Execution,
    Fill,
    ListReport,
    Order,
    OrderList,
    OrderRequest,
    Position,
    Prevention,
    Rejected,
    Report,
    TradePrint,
    UserEvent,
)

_ZERO = Decimal(0)
_DIGITS = 60


@attrs.frozen(kw_only=True)
class Rate:
    """One kind of commission: fractions of what is received."""

    maker: Decimal = _ZERO
    taker: Decimal = _ZERO
    buyer: Decimal = _ZERO
    seller: Decimal = _ZERO

    def of(self, side: Side, *, maker: bool) -> Decimal:
        """What one trade of one order costs."""
        return (self.maker if maker else self.taker) + (self.buyer if side is Side.BUY else self.seller)


@attrs.frozen(kw_only=True)
class Discount:
    """Paying the standard commission in another asset for less."""

    enabled_for_account: bool = False
    enabled_for_symbol: bool = True
    asset: str = "BNB"
    multiplier: Decimal = Decimal("0.75")
    """What is left of the standard commission."""
    price: Decimal | None = None
    """Quote units for one of `asset`; None: nobody knows, and nothing is charged in it."""

    @property
    def on(self) -> bool:
        """Whether commission is charged in `asset`, where there is enough of it."""
        return self.enabled_for_account and self.enabled_for_symbol and self.price is not None


@attrs.frozen(kw_only=True)
class Rates:
    """All that is charged for a trade."""

    standard: Rate = Rate()
    special: Rate = Rate()
    tax: Rate = Rate()
    discount: Discount = Discount()

    @property
    def kinds(self) -> tuple[Rate, Rate, Rate]:
        """Standard, special, tax."""
        return self.standard, self.special, self.tax

    def check(self) -> None:
        """ValueError when a trade could cost nothing less than all that it brings."""
        for side in Side:
            for maker in (True, False):
                each = [rate.of(side, maker=maker) for rate in self.kinds]
                if any(rate < 0 for rate in each) or sum(each) >= 1:
                    raise ValueError(f"commission rates {', '.join(map(str, each))} must be at least 0 and below 1")


class Happening:
    """What one call brings about, collected in order."""

    def __init__(self, now_ms: int, market_ns: int) -> None:
        self.now_ms, self.market_ns = now_ms, market_ns
        self.events: list[UserEvent] = []
        self.prints: list[TradePrint] = []
        self.fills: list[Fill] = []
        """Of takers."""
        self.preventions: list[Prevention] = []


def _nobody(listing: Listing, order: Order, happening: Happening) -> None:
    """Where nobody wants to be told."""


Hook = Callable[[Listing, Order, Happening], None]


class Clearing:
    """The ledger and the order history, changed together."""

    def __init__(self, ledger: Ledger, history: OrderHistory, rates: Rates) -> None:
        """ValueError for rates that cannot be."""
        rates.check()
        self._ledger, self._history, self.rates = ledger, history, rates
        self._parts = {
            (side, maker): sum((rate.of(side, maker=maker) for rate in rates.kinds), _ZERO).as_integer_ratio()
            for side in Side
            for maker in (True, False)
        }
        self._last_execution_id = 0
        self._locked: dict[int, int] = {}
        self.on_fill: Hook = _nobody
        """Told of an order that traded, after its report."""
        self.on_end: Hook = _nobody
        """Told of an order that ended otherwise, after its report."""

    # -- locks ------------------------------------------------------------------------------------------------------
    def need(self, listing: Listing, orders: Sequence[Order]) -> int:
        """Units that open orders with one lock keep locked: the larger need of a pair."""
        return max([self._need(listing, order) for order in orders], default=0)

    def asset(self, listing: Listing, side: Side) -> str:
        """What an order of that side locks."""
        return listing.rules.base_asset if side is Side.SELL else listing.rules.quote_asset

    def spendable(self, listing: Listing, order: Order) -> int:
        """Units that `order` could lock or pay with: what is free, and what it (or its pair) has locked already."""
        key, _ = self._history.lock_group(order)
        return self._ledger.free(order.account, self.asset(listing, order.side)) + self._locked.get(key, 0)

    def relock(self, listing: Listing, order: Order) -> None:
        """Makes the lock that `order` shares what it must be; the account can afford it."""
        key, group = self._history.lock_group(order)
        if order.filled:  # of a pair the other one is about to go
            group = [order] if order.is_open else []
        target, held = self.need(listing, group), self._locked.get(key, 0)
        asset = self.asset(listing, order.side)
        if target > held:
            self._ledger.lock(order.account, asset, target - held)
        elif target < held:
            self._ledger.unlock(order.account, asset, held - target)
        if target:
            self._locked[key] = target
        else:
            self._locked.pop(key, None)

    def _need(self, listing: Listing, order: Order) -> int:
        if order.status == "PENDING_NEW":
            return self._history.reserved.get(order.list_id, 0)
        if order.side is Side.SELL:
            return order.remaining * listing.lot_units
        if order.at_market and order.is_working:
            return order.budget
        return order.remaining * order.lock_price * listing.tick_lot_units

    # -- orders -----------------------------------------------------------------------------------------------------
    def accept(self, listing: Listing, order: Order, happening: Happening) -> None:
        """Remembers a new order, locks what it needs, reports it."""
        self._history.add(order)
        self.relock(listing, order)
        self._report(happening, Execution.NEW, order)

    def update(self, listing: Listing, order: Order) -> None:
        """An order has other terms now; nobody is told."""
        self._history.update(order)
        self.relock(listing, order)

    def activate(self, listing: Listing, order: Order, happening: Happening) -> None:
        """An order that was accepted before works, or waits for its price, from now on."""
        self.update(listing, order)
        self._report(happening, Execution.NEW, order, activated=True)

    def amend(self, listing: Listing, order: Order, previous_id: str, happening: Happening) -> int:
        """An order whose quantity was reduced; its execution id."""
        self.update(listing, order)
        self._report(happening, Execution.REPLACED, order, previous_client_order_id=previous_id)
        return self._last_execution_id

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
        allocation_id: int | None = None,
    ) -> Order:
        """Moves the money of one trade of one order, charges it, reports it. The market stands between both parties."""
        rules, account = listing.rules, order.account
        base, quote = lots * listing.lot_units, price * lots * listing.tick_lot_units
        filled = order.filled + lots
        order = msgspec.structs.replace(
            order,
            filled=filled,
            cum_quote=order.cum_quote + price * lots,
            status="FILLED" if filled + order.prevented == order.qty else "PARTIALLY_FILLED",
            update_ms=happening.now_ms,
            budget=max(0, order.budget - quote),
        )
        self._history.update(order)
        self.relock(listing, order)
        given, taken = ((rules.quote_asset, quote), (rules.base_asset, base))
        if order.side is Side.SELL:
            given, taken = taken, given
        self._ledger.move(account, MARKET, *given)
        self._ledger.move(MARKET, account, *taken)
        asset, commission = self._charge(listing, order, *taken, quote=quote, maker=maker)
        fill = Fill(
            trade_id=trade_id,
            order_id=order.order_id,
            side=order.side,
            price=price,
            qty=lots,
            commission=commission,
            commission_asset=asset,
            maker=maker,
            time_ms=happening.now_ms,
            allocation_id=allocation_id,
            list_id=order.list_id,
        )
        self._history.add_fill(order, fill)
        if not maker:
            happening.fills.append(fill)
        self._report(happening, Execution.TRADE, order, fill=fill, why=why)
        self.on_fill(listing, order, happening)
        return self._history.get(order.order_id)

    def _charge(
        self, listing: Listing, order: Order, asset: str, received: int, *, quote: int, maker: bool
    ) -> tuple[str, int]:
        """Takes the commission of one trade: (asset, units)."""
        discount = self.rates.discount
        if discount.on:
            units = self._discounted(listing, order.side, quote, maker)
            if self._ledger.free(order.account, discount.asset) >= units:
                self._ledger.move(order.account, FEES, discount.asset, units)
                return discount.asset, units
        numerator, denominator = self._parts[order.side, maker]
        grain = self._ledger.grain(asset)
        units = received * numerator // (denominator * grain) * grain
        self._ledger.move(order.account, FEES, asset, units)
        return asset, units

    def _discounted(self, listing: Listing, side: Side, quote: int, maker: bool) -> int:
        """Units of the discount asset that a trade of `quote` units costs: only the standard part is cheaper."""
        discount, (standard, *others) = self.rates.discount, self.rates.kinds
        assert discount.price is not None, "it is on"
        rate = standard.of(side, maker=maker) * discount.multiplier
        rate += sum((each.of(side, maker=maker) for each in others), _ZERO)
        with localcontext() as context:
            context.prec = _DIGITS
            amount = quote * self._ledger.unit(listing.rules.quote_asset) * rate / discount.price
            return self._ledger.units(discount.asset, amount.quantize(Decimal("1e-8"), ROUND_DOWN))

    def prevent(
        self, listing: Listing, order: Order, lost: int, prevention: Prevention, happening: Happening, *, ends: bool
    ) -> Order:
        """Self-trade prevention takes `lost` lots from one of its two orders, and ends it or not."""
        status = "EXPIRED_IN_MATCH" if ends else order.status
        order = msgspec.structs.replace(
            order,
            prevented=order.prevented + lost,
            match_id=prevention.match_id,
            status=status,
            update_ms=happening.now_ms,
        )
        self._history.update(order)
        self.relock(listing, order)
        self._report(happening, Execution.TRADE_PREVENTION, order, prevention=prevention)
        if ends:
            self.on_end(listing, order, happening)
        return order

    def close(
        self, listing: Listing, order: Order, status: str, reason: str, happening: Happening, cancel_id: str = ""
    ) -> Order:
        """Ends an order that is not filled: frees its lock, reports it."""
        expiry = reason if status == "EXPIRED" else ""
        order = msgspec.structs.replace(order, status=status, update_ms=happening.now_ms, expiry_reason=expiry)
        self._history.update(order)
        self.relock(listing, order)
        self._report(happening, Execution(status), order, reason=reason, cancel_client_order_id=cancel_id)
        self.on_end(listing, order, happening)
        return order

    # -- reports ----------------------------------------------------------------------------------------------------
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
        previous_client_order_id: str = "",
        prevention: Prevention | None = None,
        activated: bool = False,
    ) -> None:
        self._last_execution_id += 2  # Binance's rise with gaps as well
        happening.events.append(
            Report(
                execution=execution,
                order=order,
                execution_id=self._last_execution_id,
                previous_client_order_id=previous_client_order_id,
                now_ms=happening.now_ms,
                market_ns=happening.market_ns,
                balances=self._ledger.balances(order.account),
                cancel_client_order_id=cancel_client_order_id,
                fill=fill,
                prevention=prevention,
                reason=reason,
                why=why,
                activated=activated,
            )
        )

    def tell_list(self, order_list: OrderList, happening: Happening) -> None:
        """Remembers how a list stands, and reports it."""
        self._history.update_list(order_list)
        happening.events.append(ListReport(order_list=order_list, now_ms=happening.now_ms))

    def position(self, happening: Happening, listing: Listing, account: str) -> None:
        """Reports an account's balances of the symbol's assets and of the one that discounts commission."""
        rules = listing.rules
        assets = dict.fromkeys((rules.base_asset, rules.quote_asset, self.rates.discount.asset))
        happening.events.append(self.balances_of(account, assets, happening.now_ms))

    def balances_of(self, account: str, assets: Sequence[str] | dict[str, None], now_ms: int) -> Position:
        """What an account has of some assets, as it is told."""
        balances = {asset: self._ledger.balance(account, asset) for asset in assets}
        return Position(account=account, balances=balances, now_ms=now_ms)

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
                stop_price=_on_grid(request.stop_price, listing.rules.tick_size) if listing else 0,
                iceberg=_on_grid(request.iceberg_qty, listing.rules.step_size) if listing else 0,
                quote_order_qty=request.quote_order_qty,
                trailing_delta=request.trailing_delta or 0,
                stp_mode=request.stp_mode or (listing.filters.default_stp_mode if listing else "NONE"),
                strategy_id=request.strategy_id,
                strategy_type=request.strategy_type,
                peg=request.peg,
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
    try:
        return 0 if given is None else to_units(str(given), step)
    except ValueError:
        return 0
